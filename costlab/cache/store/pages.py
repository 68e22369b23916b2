"""Pages: what one block of tokens leaves behind, as named arrays of fixed shapes that lie in one row of bytes.

A page is checked by the first 128 bits of SHA-256. A CRC of 32 bits lets one damaged page in four thousand million
through and nothing at all against a page that stands under another's name; a digest of 128 bits lets none. It costs
one pass over the bytes: `benchmarks/results.md` says how fast beside BLAKE2b and CRC-32. Chips of the last years
compute SHA-256 in hardware.

>>> import numpy as np
>>> geometry = Geometry.of({"layer0": np.zeros((2, 16, 80), np.float32), "layer4": np.zeros((2, 16, 80), np.float32)})
>>> print(geometry)
2 arrays, 20,480 bytes: layer0 float32 2x16x80, layer4 float32 2x16x80

Chapter: tiers
"""

from __future__ import annotations

import hashlib
import operator
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Any

import numpy as np

#: A block's name, chained over all tokens before it: a digest, or a whole number as traces have them.
PageKey = bytes | int
Array = np.ndarray[tuple[Any, ...], np.dtype[Any]]
Bytes = np.ndarray[tuple[Any, ...], np.dtype[np.uint8]]
#: What is stored under a key: named arrays, or bytes where the geometry is `Geometry.raw`.
Page = Mapping[str, Array] | bytes

DIGEST_BYTES = 16
#: Each array of a row starts at a multiple of this: a cache line.
ALIGNMENT = 64
_RAW = "bytes"


def digest(*parts: bytes | memoryview) -> bytes:
    """Return 128 bits of SHA-256 over some buffers, one after another."""
    state = hashlib.sha256()
    for part in parts:
        state.update(part)
    return state.digest()[:DIGEST_BYTES]


def canonical(key: PageKey) -> bytes:
    """Return a key as bytes; a number and bytes that spell it differ.

    Raises:
        ValueError: neither bytes nor a whole number.
    """
    if isinstance(key, bytes):
        return b"b" + key
    try:
        return b"i%d" % operator.index(key)
    except TypeError:
        raise ValueError(f"key {key!r} should be bytes or a whole number") from None


@dataclass(frozen=True)
class Spec:
    """One array of a page."""

    name: str  # of the array
    dtype: str  # NumPy's name of its type
    shape: tuple[int, ...]  # its shape

    def __post_init__(self) -> None:
        try:
            plain = not np.dtype(self.dtype).hasobject
        except TypeError:
            plain = False
        if not plain or any(n < 1 for n in self.shape):
            raise ValueError(f"{self}: should be a dtype of plain numbers and sizes of at least 1")

    def __str__(self) -> str:
        return f"{self.name} {self.dtype} {'x'.join(map(str, self.shape))}"

    @property
    def nbytes(self) -> int:
        """Bytes of the array."""
        return np.dtype(self.dtype).itemsize * prod(self.shape)


@dataclass(frozen=True)
class Geometry:
    """What every page of one store looks like; `pack` and `views` turn a page into a row of bytes and back."""

    arrays: tuple[Spec, ...]  # the arrays of a page, in order

    def __post_init__(self) -> None:
        names = [spec.name for spec in self.arrays]
        if not names or len(set(names)) < len(names):
            raise ValueError(f"a page needs arrays of different names, got {names}")

    def __str__(self) -> str:
        count = f"{len(self.arrays)} array{'s' * (len(self.arrays) > 1)}"
        return f"{count}, {self.page_bytes:,} bytes: {', '.join(map(str, self.arrays))}"

    @classmethod
    def of(cls, page: Mapping[str, Array]) -> Geometry:
        """Return the geometry of an example page."""
        return cls(tuple(Spec(name, array.dtype.name, array.shape) for name, array in page.items()))

    @classmethod
    def raw(cls, nbytes: int) -> Geometry:
        """Return the geometry of pages that are `nbytes` bytes; they come back as an array named "bytes"."""
        return cls((Spec(_RAW, "uint8", (nbytes,)),))

    @classmethod
    def from_rows(cls, rows: Iterable[Sequence[Any]]) -> Geometry:
        """Return what `as_rows` has written down.

        Raises:
            ValueError: rows that are no geometry.
        """
        try:
            return cls(tuple(Spec(str(n), str(d), tuple(map(operator.index, s))) for n, d, s in rows))
        except (TypeError, ValueError) as error:
            raise ValueError(f"no page geometry: {rows!r}") from error

    def as_rows(self) -> list[list[Any]]:
        """Return (name, dtype, shape) of each array, in types that JSON knows."""
        return [[spec.name, spec.dtype, list(spec.shape)] for spec in self.arrays]

    @property
    def page_bytes(self) -> int:
        """Bytes of a page's arrays."""
        return sum(spec.nbytes for spec in self.arrays)

    @cached_property
    def offsets(self) -> tuple[int, ...]:
        """Where each array starts in a row, and last the row's length."""
        starts = [0]
        for spec in self.arrays:
            starts.append(starts[-1] + -(-spec.nbytes // ALIGNMENT) * ALIGNMENT)
        return tuple(starts)

    @property
    def row_bytes(self) -> int:
        """Bytes of a row: the arrays, each filled up to whole cache lines."""
        return self.offsets[-1]

    def views(self, row: Bytes) -> dict[str, Array]:
        """Return the arrays that lie in a row, without copying."""
        return {
            spec.name: row[start : start + spec.nbytes].view(spec.dtype).reshape(spec.shape)
            for spec, start in zip(self.arrays, self.offsets, strict=False)
        }

    def pack(self, page: Page, row: Bytes) -> None:
        """Copy a page that `accept` has returned into a row.

        Args:
            page: what to copy.
            row: `row_bytes` bytes.
        """
        arrays = self.accept(page)
        for name, view in self.views(row).items():
            np.copyto(view, arrays[name])

    def accept(self, page: Page) -> Mapping[str, Array]:
        """Return a page's arrays after a look at their names, dtypes and shapes.

        Raises:
            ValueError: other arrays than this geometry's.
        """
        arrays = {_RAW: np.frombuffer(page, np.uint8)} if isinstance(page, bytes) else page
        if not isinstance(arrays, Mapping) or not all(isinstance(a, np.ndarray) for a in arrays.values()):
            raise ValueError(f"page {type(page).__name__} should be named NumPy arrays; this store's pages are {self}")
        got = tuple(Spec(n, a.dtype.name, a.shape) for n, a in arrays.items() if a.size)
        if sorted(map(str, got)) != sorted(map(str, self.arrays)):
            raise ValueError(f"page of {', '.join(map(str, got)) or 'nothing'}; this store's pages are {self}")
        return arrays
