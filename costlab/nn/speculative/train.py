"""Train the family of small models on Python's library: `python -m costlab.nn.speculative.train`.

First the target and its MTP modules learn the text together, and the draft learns it by itself. Then the target stays
as it is, and the draft and the modules learn to predict what the target predicts: that decides how many of their tokens
it accepts. Twenty minutes on one core of a quiet machine, six of them for the second part; same Python, PyTorch and
processor: same weights.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import fmean

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from costlab.checks import count
from costlab.nn.experiments.training import save_weights
from costlab.nn.speculative.family import DRAFT_SIZE, FAMILY_WEIGHTS, MTP_DEPTH, TARGET_SIZE, load_family
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


#: The stages of training, in order, and the steps of each.
STEPS = {"target": 1700, "draft": 2600, "distil-draft": 1000, "distil-mtp": 1000}


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


def descend(
    parts: Sequence[nn.Module],
    texts: Iterator[Tensor],
    recipe: Recipe,
    loss: Callable[[Tensor], tuple[Tensor, Tensor]],
) -> Iterator[float]:
    """Lower a loss over batches of text, one step each, and yield what shows how far it is.

    Args:
        parts: changed in place.
        texts: one batch a step.
        recipe: learning rates.
        loss: returns of a batch what to show and what to lower.
    """
    steppers = optimisers(parts, recipe)
    highest = [stepper.param_groups[0]["lr"] for stepper in steppers]
    for step, batch in enumerate(texts):
        for stepper, rate in zip(steppers, highest, strict=True):
            stepper.param_groups[0]["lr"] = rate * recipe.rate(step)
        shown, lowered = loss(batch)
        lowered.backward()
        for stepper in steppers:
            stepper.step()
            stepper.zero_grad()
        yield shown.item()


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
    ahead = 1 + (len(mtp.ahead) if mtp else 0)
    for nats in descend(parts, batches(text, recipe, ahead, seed), recipe, partial(joint_loss, model, mtp)):
        yield nats / math.log(2)


def guesses(student: ByteModel | MTP, target: ByteModel, text: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield a student's laws and the target's of the same next bytes, as logarithms, each (batch, rows, vocabulary).

    Args:
        student: a draft, which gives one pair; or MTP modules, which give one each.
        target: which is asked and does not learn.
        text: bytes, shape (batch, length).
    """
    with torch.no_grad():
        hidden = target.read(text)
        law = target.logits(hidden).log_softmax(-1)
    if isinstance(student, ByteModel):
        yield student(text).log_softmax(-1), law
        return
    for k in range(1, len(student.ahead) + 1):
        hidden = student.read(k, hidden[:, :-1], text[:, k:])
        yield student.logits(k, hidden).log_softmax(-1), law[:, k:]


def distillation_loss(student: ByteModel | MTP, target: ByteModel, text: Tensor) -> tuple[Tensor, Tensor]:
    """Return the share of a student's guesses that the target accepts, the mean of sum min(p, q), and what is lowered.

    That is the mean Kullback-Leibler divergence of the student's law q from the target's law p, in nats. Both are means
    over all rows and, for MTP modules, over these.

    Args:
        student: a draft, or MTP modules.
        target: whose laws are learnt.
        text: bytes, shape (batch, length).

    Source: arXiv 2310.08461 (the forward divergence), arXiv 2211.17192 sec. 3.3 (acceptance).
    """
    pairs = list(guesses(student, target, text))
    accepted = [torch.minimum(q, p).exp().sum(-1).mean() for q, p in pairs]
    lost = [(p.exp() * (p - q)).sum(-1).mean() for q, p in pairs]
    return torch.stack(accepted).mean(), torch.stack(lost).mean()


def distil(student: ByteModel | MTP, target: ByteModel, text: bytes, recipe: Recipe, seed: int) -> Iterator[float]:
    """Train a draft, or MTP modules, on what the target predicts, and yield each step's mean acceptance.

    Args:
        student: changed in place.
        target: whose laws are learnt; its weights stay as they are.
        text: that both read.
        recipe: how.
        seed: of the places in the text.

    Source: arXiv 2310.08461 (drafts), MiMo-V2-Flash Technical Report sec. 2.3.2 (modules, after the model).
    """
    target.requires_grad_(False)  # also where its embedding and head serve the modules
    yield from descend([student], batches(text, recipe, 0, seed), recipe, partial(distillation_loss, student, target))


def run(stage: str, text: bytes, folder: Path, steps: int | None, seed: int) -> None:
    """Run a stage of training, print how it goes, and write weights on the way.

    Args:
        stage: "target", with its MTP modules; "draft"; or "distil-draft" or "distil-mtp", which go on from the weights
            of the folder.
        text: to learn.
        folder: where weights are written.
        steps: of training; None: the recipe's.
        seed: of weights, and of places in the text.

    Raises:
        FileNotFoundError: weights to go on from that are missing.
    """
    recipe = Recipe(STEPS[stage] if steps is None else steps)
    if stage.startswith("distil-"):
        name, family = stage.removeprefix("distil-"), load_family(folder)
        student: ByteModel | MTP = getattr(family, name)
        course = distil(student, family.target, text, recipe, seed + 1)  # other places than before
        tell(stage, course, recipe, "of its law accepted", {name: student}, folder)
        return
    torch.manual_seed(seed)
    model = ByteModel(TARGET_SIZE if stage == "target" else DRAFT_SIZE)
    mtp = MTP(model, MTP_DEPTH) if stage == "target" else None
    kept: dict[str, nn.Module] = {stage: model} if mtp is None else {stage: model, "mtp": mtp}
    tell(stage, train_bytes(model, mtp, text, recipe, seed), recipe, "bits per byte", kept, folder)
    judged = held_out_text("code")[:19_200] + held_out_text("prose")[:9_600]
    print(f"held out: {bits_by_position(model, judged, 384).mean():.3f} bits per byte", flush=True)


def tell(
    name: str, course: Iterator[float], recipe: Recipe, unit: str, kept: Mapping[str, nn.Module], folder: Path
) -> None:
    """Run through a training, print how it goes, and write weights on the way.

    Args:
        name: of the stage.
        course: yields a number at each step.
        recipe: how many steps.
        unit: of the numbers.
        kept: modules to write, by name.
        folder: where.
    """
    began, shown = time.monotonic(), []
    for step, number in enumerate(course, 1):
        shown.append(number)
        last = step == recipe.steps
        if step % 25 == 0 or last:
            print(f"{name}, step {step:5} of {recipe.steps}, {time.monotonic() - began:4.0f} s: ", end="")
            print(f"{fmean(shown[-25:]):.3f} {unit}", flush=True)
        if step % 200 == 0 or last:
            for file, module in kept.items():
                save_weights(folder / f"{file}.npz", {file: module})


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
    for stage in STEPS if given.which == "all" else [given.which]:
        run(stage, text, given.folder, given.steps, given.seed)


if __name__ == "__main__":
    train_family()
