"""How long a model takes to read tokens on this machine: three constants fitted to a few timed prefills.

seconds = overhead + (FLOPs of matrices) / rate + (FLOPs of attention) / another rate: the FLOPs come from
`costlab.arch`, the constants from the clock. Attention gets its own rate, since it moves more bytes per FLOP.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from time import perf_counter

import numpy as np
import torch

from costlab import arch
from costlab.arrays import ArrayLike, Floats
from costlab.nn.decoder import Decoder

#: (new tokens, tokens before them) that are timed: short and long, behind nothing and behind much.
PROBES = ((64, 0), (256, 0), (1024, 0), (64, 1024), (256, 2048))


@dataclass(frozen=True)
class PrefillSpeed:
    """How fast one model reads tokens on one machine."""

    model: arch.Model  # whose FLOPs are counted
    overhead_s: float  # seconds of any prefill
    linear_s_per_flop: float  # seconds per FLOP of matrices
    core_s_per_flop: float  # seconds per FLOP of attention

    def seconds(self, new: ArrayLike, prefix: ArrayLike = 0) -> Floats:
        """Return the time to read `new` tokens behind `prefix` cached ones.

        Raises:
            ValueError: counts below 1, or a prefix below 0.
        """
        constants = np.array([self.overhead_s, self.linear_s_per_flop, self.core_s_per_flop])
        return np.asarray(_terms(self.model, new, prefix) @ constants, dtype=np.float64)


def measure(model: Decoder, probes: Sequence[tuple[int, int]] = PROBES, repeats: int = 5) -> PrefillSpeed:
    """Time a few prefills and fit the constants, none of them negative, to the least relative error.

    Args:
        model: to be timed where it is.
        probes: (new tokens, tokens before them), at least three different ones.
        repeats: how often each is timed; the shortest counts, for what else runs on the machine only ever adds.

    Raises:
        ValueError: fewer than three probes.
    """
    if len(set(probes)) < 3:
        raise ValueError(f"three constants need three probes at least, got {list(probes)}")
    seconds = np.array([_timed(model, new, prefix, repeats) for new, prefix in probes])
    new, prefix = np.array(probes).T
    constants = _least_squares(_terms(model.model, new, prefix) / seconds[:, None])
    return PrefillSpeed(model.model, *constants.tolist())


def _terms(model: arch.Model, new: ArrayLike, prefix: ArrayLike) -> Floats:
    """Return what the constants multiply: 1, FLOPs of matrices, FLOPs of attention; shape (…, 3)."""
    groups = model.prefill_flops(new, prefix).grouped()
    return np.stack([np.ones_like(groups["core"]), groups["linear"], groups["core"]], -1)


def _least_squares(shares: Floats) -> Floats:
    """Solve shares @ x = 1 for x >= 0: a constant that comes out negative is left out and the others fitted again."""
    kept = np.ones(shares.shape[1], dtype=bool)
    constants = np.zeros(shares.shape[1])
    scale = shares.max(0)
    while kept.any():
        solved = np.linalg.lstsq((shares / scale)[:, kept], np.ones(len(shares)), rcond=None)[0]
        if (solved >= 0).all():
            constants[kept] = solved / scale[kept]
            break
        kept[np.flatnonzero(kept)[np.argmin(solved)]] = False
    return constants


@torch.inference_mode()
def _timed(model: Decoder, new: int, prefix: int, repeats: int) -> float:
    device = model.head.weight.device
    ids = torch.arange(new + prefix, device=device)[None] % model.head.out_features
    times = []
    for turn in range(repeats + 1):
        cache = model.new_cache(capacity=new + prefix)
        if prefix:
            model.read(ids[:, :prefix], cache)
        start = perf_counter()
        logits = model.head(model.read(ids[:, prefix:], cache)[0, -1])
        logits.cpu()  # waits for an accelerator
        if turn:
            times.append(perf_counter() - start)
    return min(times)
