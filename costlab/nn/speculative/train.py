"""Train the family of small models on Python's library: `python -m costlab.nn.speculative.train`.

The target and its MTP modules learn together, the draft by itself. Quarter of an hour on one core of a quiet machine;
same Python, PyTorch and processor: same weights.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from costlab.checks import count
from costlab.nn.experiments.training import save_weights
from costlab.nn.speculative.family import DRAFT_SIZE, FAMILY_WEIGHTS, MTP_DEPTH, TARGET_SIZE
from costlab.nn.speculative.model import MTP, ByteModel, bits_by_position
from costlab.nn.speculative.text import TRAINED_ON, TRAINING_SHA256, held_out_text, sha256, training_text

MTP_WEIGHT = 0.5  # of the MTP modules' mean loss beside the target's own


@dataclass(frozen=True)
class Recipe:
    """How long a model is trained, and on how much at a time."""

    steps: int  # of the optimisers
    bytes: int = 1536  # read in a step
    lengths: tuple[int, ...] = (384, 384, 384, 768)  # bytes of a sequence, in turn; the last is the models' context
    muon_rate: float = 0.02  # highest learning rate of matrices
    adam_rate: float = 4e-3  # of embedding, head and norms

    def __post_init__(self) -> None:
        count(self.steps, "steps")

    def rate(self, step: int) -> float:
        """Return the share of the highest rate: up over 40 steps, level to two fifths, then down to zero."""
        return min((step + 1) / 40, 1.0, (self.steps - step) / (0.6 * self.steps))


#: Steps that each of the shipped models was trained for.
STEPS = {"target": 1700, "draft": 2600}


def batches(text: bytes, recipe: Recipe, ahead: int, seed: int) -> Iterator[Tensor]:
    """Yield random pieces of a text, each (batch, length + ahead), one batch a step.

    Args:
        text: to cut pieces from.
        recipe: how many, how long.
        ahead: bytes beyond a sequence, which are predicted but not read.
        seed: of the places.
    """
    data = torch.frombuffer(bytearray(text), dtype=torch.uint8)
    generator = torch.Generator().manual_seed(seed)
    for step in range(recipe.steps):
        length = recipe.lengths[step % len(recipe.lengths)]
        starts = torch.randint(len(data) - length - ahead, (recipe.bytes // length,), generator=generator)
        yield torch.stack([data[start : start + length + ahead] for start in starts.tolist()]).long()


def joint_loss(model: ByteModel, mtp: MTP | None, text: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean loss of the next byte, in nats, and what training lowers: with a share of the MTP modules'.

    Args:
        model: to train.
        mtp: its modules, or None.
        text: bytes, shape (batch, length + ahead); ahead is 1, and 1 more for each module.

    Source: arXiv 2412.19437 eq. 24-25.
    """
    depth = 0 if mtp is None else len(mtp.ahead)
    rows = text.shape[1] - 1 - depth
    hidden = model.read(text[:, :rows])
    losses = [F.cross_entropy(model.logits(hidden).flatten(0, 1), text[:, 1 : rows + 1].flatten())]
    for k in range(1, depth + 1):
        assert mtp is not None
        hidden = mtp.read(k, hidden, text[:, k : rows + k])
        losses.append(F.cross_entropy(mtp.logits(k, hidden).flatten(0, 1), text[:, k + 1 : rows + k + 1].flatten()))
    return losses[0], losses[0] + MTP_WEIGHT * sum(losses[1:], torch.zeros(())) / max(depth, 1)


def optimisers(parts: Sequence[nn.Module], recipe: Recipe) -> list[torch.optim.Optimizer]:
    """Return Muon for the matrices within blocks and AdamW for embedding, head and norms.

    Source: arXiv 2502.16982 (Muon), arXiv 1711.05101 (AdamW).
    """
    named = [pair for part in parts for pair in part.named_parameters()]
    matrices = [w for name, w in named if w.dim() == 2 and not name.startswith(("embedding", "head"))]
    others = [w for name, w in named if w.dim() < 2 or name.startswith(("embedding", "head"))]
    return [
        torch.optim.Muon(matrices, recipe.muon_rate, weight_decay=0.0),
        torch.optim.AdamW(others, recipe.adam_rate, betas=(0.9, 0.98), weight_decay=0.0),
    ]


def quieten(part: nn.Module) -> None:
    """Set to zero what each block adds to the residual: training begins at a model of single bytes."""
    for name, weight in part.named_parameters():
        if name.endswith(("attention.out.weight", "ffn.down")):
            nn.init.zeros_(weight)


def train_bytes(model: ByteModel, mtp: MTP | None, text: bytes, recipe: Recipe, seed: int) -> Iterator[float]:
    """Train a model, and its MTP modules with it, and yield the bits per byte of each step.

    Args:
        model: changed in place.
        mtp: changed in place; None: the model learns by itself.
        text: to learn.
        recipe: how.
        seed: of the places in the text.
    """
    parts = [model] if mtp is None else [model, mtp]
    for part in parts:
        quieten(part)
    steppers = optimisers(parts, recipe)
    highest = [stepper.param_groups[0]["lr"] for stepper in steppers]
    ahead = 1 + (len(mtp.ahead) if mtp else 0)
    for step, batch in enumerate(batches(text, recipe, ahead, seed)):
        for stepper, rate in zip(steppers, highest, strict=True):
            stepper.param_groups[0]["lr"] = rate * recipe.rate(step)
        own, loss = joint_loss(model, mtp, batch)
        loss.backward()
        for stepper in steppers:
            stepper.step()
            stepper.zero_grad()
        yield own.item() / math.log(2)


def run(name: str, text: bytes, folder: Path, steps: int | None, seed: int) -> None:
    """Train the target with its MTP modules, or the draft, print how it goes, and write weights on the way.

    Args:
        name: "target" or "draft".
        text: to learn.
        folder: where weights are written.
        steps: of training; None: the recipe's.
        seed: of weights, and of places in the text.
    """
    torch.manual_seed(seed)
    model = ByteModel(TARGET_SIZE if name == "target" else DRAFT_SIZE)
    mtp = MTP(model, MTP_DEPTH) if name == "target" else None
    recipe = Recipe(STEPS[name] if steps is None else steps)
    judged = held_out_text("code")[:19_200] + held_out_text("prose")[:9_600]
    began, bits = time.monotonic(), []
    for step, own in enumerate(train_bytes(model, mtp, text, recipe, seed), 1):
        bits.append(own)
        last = step == recipe.steps
        if step % 25 == 0 or last:
            print(f"{name}, step {step:5} of {recipe.steps}, {time.monotonic() - began:4.0f} s: ", end="")
            print(f"{fmean(bits[-25:]):.2f} bits per byte", flush=True)
        if step % 200 == 0 or last:
            save_weights(folder / f"{name}.npz", {name: model})
            if mtp is not None:
                save_weights(folder / "mtp.npz", {"mtp": mtp})
            print(f"held out: {bits_by_position(model, judged, 384).mean():.3f} bits per byte", flush=True)


def train_family(arguments: Sequence[str] | None = None) -> None:
    """Train what is asked for and write its weights."""
    parser = argparse.ArgumentParser(description="train the small models of bytes on Python's library")
    parser.add_argument("which", nargs="?", choices=("all", *STEPS), default="all")
    parser.add_argument("--folder", type=Path, default=FAMILY_WEIGHTS, help="where weights are written")
    parser.add_argument("--steps", type=int, help="of training, where not as many as the recipe's")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(arguments)
    text = training_text()
    if sha256(text) != TRAINING_SHA256:
        here = sys.version.split()[0]
        print(f"note: the library of this Python {here} is not that of {TRAINED_ON}: the weights will be others")
    given.folder.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    for name in STEPS if given.which == "all" else [given.which]:
        run(name, text, given.folder, given.steps, given.seed)


if __name__ == "__main__":
    train_family()
