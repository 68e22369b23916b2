"""Rotary position embedding: pairs of channels turn by an angle proportional to the position.

Two ways to pair channels are in use, and mixing them up gives a model that runs and answers badly:
"interleaved" pairs neighbours (0,1), (2,3), …; "halves" pairs channel i with i + width/2.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

Pairing = Literal["interleaved", "halves"]


@dataclass(frozen=True)
class Yarn:
    """Stretches the slow frequencies of a rotary embedding to a longer context.

    Source: arXiv 2309.00071 sec. 3.2.
    """

    factor: float  # by which the slow frequencies are divided
    original_context: int  # tokens of the context that the model was trained on
    beta_fast: float = 32.0  # turns within that context from which a frequency stays as it is
    beta_slow: float = 1.0  # turns within that context up to which a frequency is divided by the whole factor

    def stretch(self, frequencies: Tensor, theta: float) -> Tensor:
        """Return the frequencies, the slow ones divided by `factor`, with a linear ramp between.

        Args:
            frequencies: radians per position, shape (width/2,), float64.
            theta: the base they were made with.

        Source: arXiv 2309.00071 eq. 17-18.
        """
        pairs = len(frequencies)
        low = max(math.floor(self._pair_turning(self.beta_fast, pairs, theta)), 0)
        high = min(math.ceil(self._pair_turning(self.beta_slow, pairs, theta)), 2 * pairs - 1)
        ramp = (torch.arange(pairs, dtype=torch.float64, device=frequencies.device) - low) / max(high - low, 0.001)
        slow = ramp.clamp(0, 1)
        return frequencies / self.factor * slow + frequencies * (1 - slow)

    def _pair_turning(self, turns: float, pairs: int, theta: float) -> float:
        # the pair that makes `turns` full turns within the original context
        return pairs * math.log(self.original_context / (turns * 2 * math.pi)) / math.log(theta)


@dataclass(frozen=True)
class Rope:
    """Which frequencies a layer turns with."""

    theta: float = 10_000.0  # base of the geometric series of wavelengths
    yarn: Yarn | None = None  # stretch for contexts beyond the trained one
    # factor on the softmax scale that goes with `yarn` in some models (DeepSeek-V3: (0.1 ln 40 + 1)**2; DeepSeek-V4:
    # none)
    softmax_gain: float = 1.0

    def frequencies(self, width: int) -> Tensor:
        """Return radians per position of each pair, shape (width/2,), float64.

        Raises:
            ValueError: an odd width.

        Source: arXiv 2104.09864 eq. 15.
        """
        if width % 2 or width < 2:
            raise ValueError(f"rope_dim = {width} should be an even number: rotary embedding turns pairs")
        plain = self.theta ** -(torch.arange(0, width, 2, dtype=torch.float64, device="cpu") / width)
        return self.yarn.stretch(plain, self.theta) if self.yarn else plain

    def angles(self, positions: Tensor, width: int) -> Tensor:
        """Return the angle of each pair at each position, in float64: a float32 angle is off by 0.06 at 1M.

        Args:
            positions: whole numbers, shape (n,).
            width: rotated channels.
        """
        traced = torch.compiler.is_compiling() or type(positions) is not Tensor
        make = _frequencies if traced else _kept_frequencies
        return positions[:, None] * make(self, width, positions.device)  # (n, width/2)


def _frequencies(rope: Rope, width: int, device: torch.device) -> Tensor:
    with torch.inference_mode(False):  # so that training can use what inference made first
        return rope.frequencies(width).to(device)


_kept: dict[tuple[Rope, int, torch.device], Tensor] = {}


def _kept_frequencies(rope: Rope, width: int, device: torch.device) -> Tensor:
    key = (rope, width, device)
    if key not in _kept:
        made = _frequencies(rope, width, device)
        if type(made) is not Tensor:  # a stand-in of a graph that is being traced: of no use to any later call
            return made
        _kept[key] = made
    return _kept[key]


def rotate(x: Tensor, angles: Tensor, pairing: Pairing, last: bool = True) -> Tensor:
    """Turn some channels of x by the given angles and leave the others.

    Args:
        x: shape (…, n, width) with n positions, or (…, n, heads, width) with angles shaped (n, 1, pairs).
        angles: shape (n, pairs) or (n, 1, pairs); negative angles turn back.
        pairing: which channels form a pair.
        last: turn the last 2*pairs channels; otherwise the first.

    Raises:
        ValueError: more channels to turn than x has.
    """
    turned = 2 * angles.shape[-1]
    if turned > x.shape[-1]:
        raise ValueError(f"cannot turn {turned} channels of {x.shape[-1]}: rope_dim should be at most the head width")
    cos, sin = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
    plain, rope = _cut(x, turned, last)
    a, b = (rope[..., 0::2], rope[..., 1::2]) if pairing == "interleaved" else rope.chunk(2, -1)
    pair = (a * cos - b * sin, a * sin + b * cos)
    rotated = torch.stack(pair, -1).flatten(-2) if pairing == "interleaved" else torch.cat(pair, -1)
    return torch.cat([plain, rotated] if last else [rotated, plain], -1)


def _cut(x: Tensor, turned: int, last: bool) -> tuple[Tensor, Tensor]:
    if last:
        return x[..., : x.shape[-1] - turned], x[..., x.shape[-1] - turned :]
    return x[..., turned:], x[..., :turned]
