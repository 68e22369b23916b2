"""How a cached entry is stored: as tensors of the very dtypes and scales that its layout names.

A layout such as `((448, "fp8"), (64, "bf16"), (7, "ue8m0"), (1, "pad"))` says what one entry holds. Values in FP8
or FP4 are stored in blocks that share a scale; the scales are the later "ue8m0" or "fp32" parts of the layout.
FP4 (e2m1) has no arithmetic on a CPU, so its sixteen values are indexed and two indices packed in a byte.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from costlab.arch import Layout, layout_bytes

#: Storage dtype of each catalog dtype that holds values as they are.
PLAIN = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
#: Largest value of each scaled dtype (OCP Microscaling Formats specification 1.0, sec. 5.3).
LARGEST = {"fp8": 448.0, "fp4": 6.0}
#: The positive values of FP4 e2m1 (same source, table 5); the index is the bit pattern.
FP4_GRID = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)
#: Scales never vanish: an all-zero block keeps this as its largest value (deepseek-ai V4 inference/kernel.py).
LEAST_AMAX = 1e-4

_SCALE_DTYPES = {"ue8m0": torch.float8_e8m0fnu, "fp32": torch.float32}


def fp4_indices(x: Tensor) -> Tensor:
    """Round values to FP4 e2m1, nearest and ties to even, as 4-bit patterns.

    Args:
        x: values within ±6 (beyond: clamped), any shape.

    Source: OCP Microscaling Formats specification 1.0, sec. 5.3.3.
    """
    grid = torch.tensor(FP4_GRID, dtype=x.dtype, device=x.device)
    middle = (grid[1:] + grid[:-1]) / 2
    # bucketize gives the lower neighbour at a tie; every second tie belongs to the upper, even pattern
    up = middle.nextafter(torch.zeros_like(middle))
    even = torch.arange(7, device=x.device) % 2 == 1
    magnitude = torch.bucketize(x.abs().contiguous(), torch.where(even, up, middle))
    return (magnitude + 8 * torch.signbit(x)).to(torch.uint8)


def fp4_values(patterns: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """Return the values of 4-bit FP4 e2m1 patterns, any shape."""
    signed = [*FP4_GRID, *(-v for v in FP4_GRID)]
    return torch.tensor(signed, dtype=dtype, device=patterns.device)[patterns.long()]


@dataclass(frozen=True)
class EntryPart:
    """A run of values of an entry in one dtype."""

    count: int  # values
    dtype: str  # as in the catalog, e.g. "fp8"
    block: int = 0  # values that share a scale; 0: unscaled
    scale: str = ""  # dtype of the scales; "": none

    def empty(self, lead: Sequence[int], device: torch.device) -> list[Tensor]:
        """Return zeroed storage for entries of shape `lead`: values, and scales where there are any."""
        if self.dtype in PLAIN:
            return [torch.zeros(*lead, self.count, dtype=PLAIN[self.dtype], device=device)]
        width, dtype = (self.count // 2, torch.uint8) if self.dtype == "fp4" else (self.count, torch.float8_e4m3fn)
        values = torch.zeros(*lead, width, dtype=dtype, device=device)
        if not self.block:
            return [values]
        scales = torch.zeros(*lead, self.count // self.block, dtype=torch.float32, device=device)
        return [values, scales.to(_SCALE_DTYPES[self.scale])]

    def encode(self, x: Tensor) -> list[Tensor]:
        """Return x, shape (…, count), as it is stored."""
        if self.dtype in PLAIN:
            return [x.to(PLAIN[self.dtype])]
        largest = LARGEST[self.dtype]
        if not self.block:
            return [_narrow(x.clamp(-largest, largest), self.dtype)]
        blocks = x.float().unflatten(-1, (-1, self.block))  # (…, count/block, block)
        scale = blocks.abs().amax(-1).clamp_min(LEAST_AMAX) / largest
        if self.scale == "ue8m0":
            scale = scale.log2().ceil().exp2()
        scaled = (blocks / scale[..., None]).clamp(-largest, largest).flatten(-2)  # (…, count)
        return [_narrow(scaled, self.dtype), scale.to(_SCALE_DTYPES[self.scale])]

    def decode(self, stored: Sequence[Tensor], dtype: torch.dtype) -> Tensor:
        """Return stored values, shape (…, count), in a dtype that computes."""
        values = _wide(stored[0], dtype) if self.dtype == "fp4" else stored[0].to(dtype)
        if not self.block:
            return values
        blocks = values.unflatten(-1, (-1, self.block))  # (…, count/block, block)
        return (blocks * stored[1].to(dtype)[..., None]).flatten(-2)  # (…, count)


class EntryFormat:
    """One entry's layout, ready to encode and decode tensors of its width.

    >>> EntryFormat(((448, "fp8"), (64, "bf16"), (7, "ue8m0"), (1, "pad")), 512).bytes_per_entry
    584
    """

    def __init__(self, layout: Layout, width: int) -> None:
        self.layout = layout
        self.width = width
        self.bytes_per_entry = int(layout_bytes(layout))
        self.padding = sum(count for count, dtype in layout if dtype == "pad")
        self.parts = _merged(_parts(layout))
        held = sum(part.count for part in self.parts)
        if held != width:
            raise ValueError(f"layout {layout} holds {held} values, but an entry of this layer has {width}")

    @property
    def quantised(self) -> bool:
        """Whether any value is stored in 8 bits or fewer."""
        return any(part.dtype in LARGEST for part in self.parts)

    def empty(self, lead: Sequence[int], device: torch.device) -> list[Tensor]:
        """Return zeroed storage for entries of shape `lead`."""
        tensors = [tensor for part in self.parts for tensor in part.empty(lead, device)]
        if self.padding:
            tensors.append(torch.zeros(*lead, self.padding, dtype=torch.uint8, device=device))
        return tensors

    def encode(self, x: Tensor) -> list[Tensor]:
        """Return x, shape (…, width), as stored; padding is left out."""
        pieces = x.split([part.count for part in self.parts], -1)
        return [t for part, piece in zip(self.parts, pieces, strict=True) for t in part.encode(piece)]

    def decode(self, stored: Sequence[Tensor], dtype: torch.dtype) -> Tensor:
        """Return entries, shape (…, width), from what `encode` or the storage holds."""
        rest, pieces = list(stored), []
        for part in self.parts:
            count = 2 if part.block else 1
            pieces.append(part.decode(rest[:count], dtype))
            rest = rest[count:]
        return pieces[0] if len(pieces) == 1 else torch.cat(pieces, -1)

    def round_trip(self, x: Tensor) -> Tensor:
        """Return x as a reader of the cache will see it, shape (…, width), in x's dtype."""
        return self.decode(self.encode(x), x.dtype)


def _parts(layout: Layout) -> list[EntryPart]:
    """Pair each 8- or 4-bit run with the next run of scales."""
    parts: list[EntryPart] = []
    for count, dtype in layout:
        waiting = next((i for i, p in enumerate(parts) if p.dtype in LARGEST and not p.block), None)
        if dtype == "ue8m0" or (dtype == "fp32" and waiting is not None):
            if waiting is None:
                raise ValueError(f"layout {layout}: {count} scales in {dtype} follow no fp8 or fp4 values")
            parts[waiting] = _scaled(parts[waiting], count, dtype, layout)
        elif dtype in PLAIN or dtype in LARGEST:
            parts.append(EntryPart(count, dtype))
        elif dtype != "pad":
            raise ValueError(f"layout {layout}: {dtype!r} should be one of fp32, bf16, fp16, fp8, fp4, ue8m0, pad")
    return [part for part in parts if _even_fp4(part, layout)]


def _scaled(part: EntryPart, scales: int, dtype: str, layout: Layout) -> EntryPart:
    if part.count % scales:
        raise ValueError(f"layout {layout}: {part.count} values don't divide among {scales} scales")
    return EntryPart(part.count, part.dtype, part.count // scales, dtype)


def _even_fp4(part: EntryPart, layout: Layout) -> bool:
    if part.dtype == "fp4" and part.count % 2:
        raise ValueError(f"layout {layout}: {part.count} fp4 values don't fill whole bytes, an even number would")
    return part.count > 0


def _merged(parts: list[EntryPart]) -> list[EntryPart]:
    """Join neighbours of one plain dtype, so that keys and values in BF16 are one tensor."""
    merged: list[EntryPart] = []
    for part in parts:
        if merged and part.dtype in PLAIN and merged[-1].dtype == part.dtype:
            merged[-1] = EntryPart(merged[-1].count + part.count, part.dtype)
        else:
            merged.append(part)
    return merged


def _narrow(x: Tensor, dtype: str) -> Tensor:
    if dtype == "fp8":
        return x.to(torch.float8_e4m3fn)
    patterns = fp4_indices(x)
    return patterns[..., 0::2] | (patterns[..., 1::2] << 4)  # (…, count/2)


def _wide(packed: Tensor, dtype: torch.dtype) -> Tensor:
    nibbles = torch.stack([packed & 15, packed >> 4], -1)
    return fp4_values(nibbles.flatten(-2), dtype)  # (…, count)
