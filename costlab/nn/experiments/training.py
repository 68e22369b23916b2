"""Train a small reader of made-up texts and keep its weights: what the course's own experiments share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

#: The folder of trained weights.
WEIGHTS = Path(__file__).parent / "weights"

Module = TypeVar("Module", bound=nn.Module)


class Reader(nn.Module, ABC):
    """A small model that reads random texts and answers the questions in them."""

    @abstractmethod
    def losses(self, texts: int, generator: torch.Generator) -> tuple[Tensor, Tensor | float]:
        """Return how wrong its answers to new texts are, and what training lowers besides.

        Args:
            texts: how many.
            generator: seeded source of chance.
        """


def train(reader: Reader, steps: int, batch: int, seed: int = 0, rate: float = 3e-3) -> list[float]:
    """Train a reader on fresh texts and return the loss of each step.

    AdamW; the learning rate rises to `rate` for a tenth of the steps, then falls to zero; gradients are cut to norm 1.

    Args:
        reader: changed in place.
        steps: of the optimiser, more than 10.
        batch: texts per step.
        seed: of the texts.
        rate: the highest learning rate.

    Raises:
        ValueError: so few steps that a tenth of them leaves the rate no time to rise.

    Source: arXiv 1711.05101 (AdamW), arXiv 1708.07120 (one cycle).
    """
    if steps <= 10:
        raise ValueError(f"steps = {steps} should be more than 10: the learning rate rises for a tenth of them")
    generator = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.AdamW(reader.parameters(), rate, betas=(0.9, 0.98), weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, total_steps=steps, pct_start=0.1)
    losses = []
    for _ in range(steps):
        loss, further = reader.losses(batch, generator)
        losses.append(loss.item())
        optimiser.zero_grad()
        (loss + further).backward()
        nn.utils.clip_grad_norm_(reader.parameters(), 1.0)
        optimiser.step()
        schedule.step()
    return losses


def course(losses: Sequence[float]) -> str:
    """Return in words how a loss fell: means of 20 steps at eight places, and of the last 20."""
    places = range(0, len(losses), max(len(losses) // 8, 1))
    shown = ", ".join(f"{fmean(losses[i : i + 20]):.2f}" for i in places)
    return f"loss {shown}, end {fmean(losses[-20:]):.3f}"


def save_weights(path: Path, modules: Mapping[str, nn.Module], further: Mapping[str, Any] | None = None) -> None:
    """Write modules' weights as float16, each under "module/weight", and further arrays, into one .npz file.

    Args:
        path: where.
        modules: by name.
        further: arrays by name.
    """
    weights = {f"{name}/{key}": w.half().numpy() for name, m in modules.items() for key, w in m.state_dict().items()}
    np.savez_compressed(path, **weights, **(further or {}))


def load_weights(path: Path, modules: Mapping[str, Module]) -> dict[str, Module]:
    """Return modules with the weights stored under their names, set to answer rather than to train.

    Args:
        path: file of `save_weights`.
        modules: by name, changed in place.

    Raises:
        RuntimeError: weights of another shape, or none of that name.
    """
    with np.load(path) as file:
        for name, module in modules.items():
            stored = {key.removeprefix(f"{name}/"): file[key] for key in file.files if key.startswith(f"{name}/")}
            module.load_state_dict({key: torch.from_numpy(value).float() for key, value in stored.items()})
            module.eval()
    return dict(modules)
