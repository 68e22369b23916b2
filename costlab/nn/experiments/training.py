"""Train a small module and keep its weights: what the course's own experiments share."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn


def descent(module: nn.Module, steps: int, rate: float) -> Iterator[Callable[[Tensor], None]]:
    """Yield, for each step, a function that takes the step's loss and moves the weights.

    AdamW; the learning rate rises to `rate` for a tenth of the steps, then falls to zero; gradients are cut to norm 1.

    Args:
        module: changed in place.
        steps: how many.
        rate: the highest learning rate.

    Source: arXiv 1711.05101 (AdamW), arXiv 1708.07120 (one cycle).
    """
    optimiser = torch.optim.AdamW(module.parameters(), rate, betas=(0.9, 0.98), weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, total_steps=steps, pct_start=0.1)

    def descend(loss: Tensor) -> None:
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(module.parameters(), 1.0)
        optimiser.step()
        schedule.step()

    for _ in range(steps):
        yield descend


def packed(modules: Mapping[str, nn.Module]) -> dict[str, Any]:
    """Return the modules' weights as float16, each under "module/weight", ready for `numpy.savez_compressed`."""
    return {f"{name}/{key}": w.half().numpy() for name, m in modules.items() for key, w in m.state_dict().items()}


def unpack(module: nn.Module, name: str, file: Mapping[str, Any]) -> None:
    """Give a module the weights that `packed` stored under its name, and set it to answer rather than to train.

    Raises:
        RuntimeError: weights of another shape, or none of that name.
    """
    mine = {key.removeprefix(f"{name}/"): np.asarray(file[key]) for key in file if key.startswith(f"{name}/")}
    module.load_state_dict({key: torch.from_numpy(value).float() for key, value in mine.items()})
    module.eval()
