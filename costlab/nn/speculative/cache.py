"""Keys and values of sequences of unlike lengths, appended row by row and taken back.

A decoding round writes a row for each drafted token and keeps as many as the target accepts: four of one sequence and
none of its neighbour. So each sequence of a batch has a length of its own, and taking rows back means a smaller length.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import torch
from torch import Tensor


def depths(parents: Sequence[int]) -> list[int]:
    """Return how many rows of a tree stand above each row.

    Args:
        parents: the row above each row, an earlier one; -1: none, it follows what the cache holds.

    Raises:
        ValueError: a parent that is no earlier row.
    """
    found: list[int] = []
    for row, parent in enumerate(parents):
        if not -1 <= parent < row:
            raise ValueError(f"row {row} has parent {parent}, which should be an earlier row, or -1")
        found.append(found[parent] + 1 if parent >= 0 else 0)
    return found


def ancestors(parents: Sequence[int]) -> Tensor:
    """Return which rows of a tree each row sees, its own and those above it: shape (rows, rows), true where it does.

    Args:
        parents: the row above each row, an earlier one; -1: none.
    """
    sees = torch.eye(len(parents), dtype=torch.bool)
    for row, parent in enumerate(parents):
        if parent >= 0:
            sees[row] |= sees[parent]
    return sees


@dataclass(frozen=True)
class RowPlaces:
    """Where the new rows of a call stand and what they see: found once a call, used by every layer."""

    starts: Sequence[int]  # tokens that each sequence holds before the call
    counts: Sequence[int]  # rows that each sequence brings; rows of the batch beyond them are padding, never kept
    rows: int  # of each sequence in the batch, padding included
    trees: Sequence[Sequence[int]] | None = None  # parents of the rows, one list per sequence; None: one after another

    @cached_property
    def even(self) -> bool:
        """Whether all sequences stand at one place and none is padded."""
        return len(set(self.starts)) == 1 and set(self.counts) == {self.rows}

    @cached_property
    def positions(self) -> Tensor:
        """Tokens before each row in its own sequence, shape (batch, rows)."""
        steps = [range(self.rows)] * len(self.starts) if self.trees is None else [depths(tree) for tree in self.trees]
        return torch.tensor([[start + step for step in each] for start, each in zip(self.starts, steps, strict=True)])

    @cached_property
    def kept(self) -> tuple[Tensor, Tensor, Tensor]:
        """Sequence, row and slot in the cache of every row that is no padding."""
        pairs = [(sequence, row) for sequence, count in enumerate(self.counts) for row in range(count)]
        places = [(sequence, row, self.starts[sequence] + row) for sequence, row in pairs]
        sequence, row, slot = torch.tensor(places, dtype=torch.long).reshape(-1, 3).T
        return sequence, row, slot

    @cached_property
    def sees(self) -> Tensor | None:
        """Which keys each row sees, shape (batch or 1, 1, rows, keys); None: all of them, or of a prompt those before.

        A row sees what its sequence held before the call, and of the new rows its own and those before or above it.
        """
        if self.trees is None and self.even and (self.rows == 1 or self.starts[0] == 0):
            return None
        starts = self.starts[:1] if self.trees is None and self.even else self.starts
        behind = torch.arange(self.keys) - torch.tensor(starts)[:, None]  # (batch, keys): which new row a key is
        if self.trees is None:
            return (behind[:, None] <= torch.arange(self.rows)[:, None])[:, None]
        above = torch.stack([ancestors(tree) for tree in self.trees])  # (batch, rows, rows)
        row = behind.clamp(0, self.rows - 1)[:, None].expand(-1, self.rows, -1)
        return ((behind < 0)[:, None] | above.gather(2, row) & (behind < self.rows)[:, None])[:, None]

    @cached_property
    def keys(self) -> int:
        """Keys of the longest sequence, with its new rows."""
        return max(*self.ends, 1)

    @property
    def ends(self) -> list[int]:
        """Tokens that each sequence holds after the call."""
        return [start + count for start, count in zip(self.starts, self.counts, strict=True)]


class RowCache(Protocol):
    """What a byte model needs of a cache while it reads."""

    capacity: int  # tokens that each sequence has room for
    lengths: list[int]  # tokens that each sequence holds

    def append(self, layer: int, keys: Tensor, values: Tensor, places: RowPlaces) -> tuple[Tensor, Tensor]:
        """Write a layer's new rows and return all its keys and values, each (batch, heads, keys, width)."""

    def grow(self, places: RowPlaces) -> None:
        """Count the rows that every layer has written."""


class RaggedCache:
    """Keys and values of what each sequence of a batch has read, per layer.

    Args:
        layers: of the model that writes it.
        shape: batch, heads, capacity in tokens, width of a head.
        like: a weight of that model, for type and device.
    """

    def __init__(self, layers: int, shape: tuple[int, int, int, int], like: Tensor) -> None:
        if min(shape) < 1:
            raise ValueError(f"a cache needs a sequence and room for a token, not {shape[0]} and {shape[2]}")
        self.capacity = shape[2]  # tokens that each sequence has room for
        self.lengths = [0] * shape[0]  # tokens that each sequence holds
        self.starts = [0] * shape[0]  # tokens that each held before the last call
        # a list of tensors, one per layer: of a stacked one a compiled step would copy the whole
        self.keys = [like.new_zeros(shape) for _ in range(layers)]
        self.values = [like.new_zeros(shape) for _ in range(layers)]

    def __repr__(self) -> str:
        return f"RaggedCache({self.lengths} of {self.capacity} tokens, {len(self.keys)} layers, {self.nbytes:,} B)"

    @property
    def nbytes(self) -> int:
        """Bytes of all tensors, filled or not."""
        return sum(each.nbytes for each in (*self.keys, *self.values))

    def append(self, layer: int, keys: Tensor, values: Tensor, places: RowPlaces) -> tuple[Tensor, Tensor]:
        """Write a layer's new rows and return all its keys and values, each (batch, heads, keys, width).

        Args:
            layer: its number.
            keys: of the new rows, shape (batch, heads, rows, width).
            values: the same shape.
            places: where the rows stand.
        """
        tables = self.keys[layer], self.values[layer]
        for table, new in zip(tables, (keys, values), strict=True):
            if places.even:
                start = places.starts[0]
                table[:, :, start : start + places.rows] = new
            else:
                sequence, row, slot = places.kept
                table[sequence, :, slot] = new[sequence, :, row]
        return tables[0][:, :, : places.keys], tables[1][:, :, : places.keys]

    def grow(self, places: RowPlaces) -> None:
        """Count the rows that every layer has written."""
        self.starts = list(places.starts)
        self.lengths = places.ends

    def rewind(self, lengths: Sequence[int]) -> None:
        """Take back each sequence's last tokens, so that these lengths remain.

        Args:
            lengths: tokens to keep, one number per sequence.

        Raises:
            ValueError: another number of sequences, or a length that is negative or beyond what is held.
        """
        fits = len(lengths) == len(self.lengths)
        if not fits or any(not 0 <= kept <= held for kept, held in zip(lengths, self.lengths, strict=True)):
            raise ValueError(f"sequences of {self.lengths} tokens can't be taken back to {list(lengths)}")
        self.lengths = list(lengths)

    def keep(self, rows: Sequence[Sequence[int]]) -> None:
        """Of the rows that the last call wrote keep some of each sequence: the accepted path down a tree.

        Args:
            rows: per sequence the numbers of the rows to keep, rising; 0 is the call's first.

        Raises:
            ValueError: another number of sequences, rows that the last call did not write, or not in rising order.
        """
        if len(rows) != len(self.lengths):
            raise ValueError(f"rows of {len(rows)} sequences to keep, but the cache holds {len(self.lengths)}")
        for start, length, kept in zip(self.starts, self.lengths, rows, strict=True):
            if list(kept) != sorted(set(kept)) or not all(0 <= row < length - start for row in kept):
                raise ValueError(f"rows {list(kept)} should rise within the {length - start} that were written last")
        for sequence, (start, kept) in enumerate(zip(self.starts, rows, strict=True)):
            if list(kept) != list(range(len(kept))):
                for table in (*self.keys, *self.values):
                    table[sequence, :, start : start + len(kept)] = table[sequence, :, [start + row for row in kept]]
        self.lengths = [start + len(kept) for start, kept in zip(self.starts, rows, strict=True)]

    def only(self, sequences: Sequence[int]) -> None:
        """Keep these sequences of the batch, in this order, and drop the others.

        Args:
            sequences: their numbers.
        """
        chosen = list(sequences)
        self.keys = [each[chosen] for each in self.keys]
        self.values = [each[chosen] for each in self.values]
        self.lengths = [self.lengths[each] for each in chosen]
        self.starts = [self.starts[each] for each in chosen]
