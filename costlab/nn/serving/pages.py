"""Pages of keys and values in shared memory, the cache that reads and writes them, and the table of who owns which.

A page holds the keys and values of all layers for a few tokens that follow one another. Every worker has a pool of
pages; a pool is a segment of shared memory, so another process can copy pages out of it. Who may touch a page stands in
one table, which the coordinator keeps: a page is free, prefill's while a prompt is read into it, moving while another
worker copies it, or decode's.

>>> table = PageTable(pools=[4, 4])
>>> source = table.take(0, 2, "prefill")
>>> table.hand(0, source, "moving")
>>> table.counts()
{'free': 6, 'prefill': 0, 'moving': 2, 'decode': 0}
>>> table.home(0, source)
>>> table.counts()["free"]
8
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from multiprocessing.shared_memory import SharedMemory
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from costlab.nn.speculative.cache import RowPlaces
from costlab.nn.speculative.model import ByteModel

PageState = Literal["free", "prefill", "moving", "decode"]
PAGE_STATES: tuple[PageState, ...] = ("free", "prefill", "moving", "decode")

_NUMPY = {torch.float32: np.float32, torch.float64: np.float64}


class PageTable:
    """Which page of which pool is free, and who owns the others.

    Args:
        pools: pages of each pool.
    """

    def __init__(self, pools: Sequence[int]) -> None:
        self.pages, self.total = min(pools), sum(pools)  # of the smallest pool, and of all
        self._owners: list[list[PageState]] = [["free"] * pages for pages in pools]
        # the page that came home last is taken first, so that one given back too early would be noticed soon
        self._free = [list(range(pages))[::-1] for pages in pools]

    def can_take(self, pool: int, count: int) -> bool:
        """Return whether a pool has so many free pages."""
        return len(self._free[pool]) >= count

    def take(self, pool: int, count: int, owner: PageState) -> list[int]:
        """Take free pages of a pool and return their numbers.

        Raises:
            ValueError: fewer are free; nothing has been taken then.
        """
        if not self.can_take(pool, count):
            raise ValueError(f"{count} pages of pool {pool}, of which {len(self._free[pool])} are free")
        pages = [self._free[pool].pop() for _ in range(count)]
        self._give(pool, pages, owner, was_free=True)
        return pages

    def hand(self, pool: int, pages: Sequence[int], owner: PageState) -> None:
        """Give pages that somebody has to another owner.

        Raises:
            RuntimeError: a page that is free.
        """
        self._give(pool, pages, owner, was_free=False)

    def home(self, pool: int, pages: Sequence[int]) -> None:
        """Free pages that nobody reads or writes any more.

        Raises:
            RuntimeError: a page that is free already.
        """
        self._give(pool, pages, "free", was_free=False)
        self._free[pool].extend(pages)

    def counts(self, pool: int | None = None) -> dict[PageState, int]:
        """Return pages by state, of one pool or of all."""
        pools = self._owners if pool is None else [self._owners[pool]]
        found = Counter(owner for owners in pools for owner in owners)
        return {state: found[state] for state in PAGE_STATES}

    def check(self) -> None:
        """Assert that free + prefill's + moving + decode's = total, and that each free page stands once in its list.

        Raises:
            AssertionError: they do not.
        """
        assert sum(self.counts().values()) == self.total
        for owners, free in zip(self._owners, self._free, strict=True):
            assert sorted(free) == [page for page, owner in enumerate(owners) if owner == "free"]

    def _give(self, pool: int, pages: Sequence[int], owner: PageState, was_free: bool) -> None:
        for page in pages:
            if (self._owners[pool][page] == "free") is not was_free:
                raise RuntimeError(f"page {page} of pool {pool} is {self._owners[pool][page]}, and should be {owner}")
            self._owners[pool][page] = owner


@dataclass(frozen=True)
class PageShape:
    """How a page is laid out."""

    layers: int  # of the model
    tokens: int  # that a page holds
    heads: int  # of keys and of values
    width: int  # of a head
    dtype: torch.dtype  # of keys and values

    @property
    def whole(self) -> tuple[int, ...]:
        """Layer, keys or values, token, head, channel: so a page's first tokens of a layer lie side by side."""
        return (self.layers, 2, self.tokens, self.heads, self.width)

    @property
    def nbytes(self) -> int:
        """Bytes of a page."""
        return prod(self.whole) * self.dtype.itemsize

    def pages(self, tokens: int) -> int:
        """Return how many pages so many tokens fill or begin."""
        return -(-tokens // self.tokens)


def page_shape(model: ByteModel, tokens: int) -> PageShape:
    """Return how a model's pages of so many tokens are laid out.

    Raises:
        ValueError: pages without tokens, or weights of another type than float32 and float64.
    """
    size, dtype = model.size, model.head.weight.dtype
    if tokens < 1 or dtype not in _NUMPY:
        raise ValueError(f"pages of {tokens} tokens of {dtype}: at least 1 token of float32 or float64 is needed")
    return PageShape(size.layers, tokens, size.heads, size.hidden // size.heads, dtype)


class SharedPages:
    """A pool of pages in shared memory.

    Args:
        shape: of a page.
        pages: in the pool.
        name: of a segment that another process has made; None makes one, which `close` then removes.
    """

    def __init__(self, shape: PageShape, pages: int, name: str | None = None) -> None:
        self.shape, self._own = shape, name is None
        self._memory = SharedMemory(name, create=self._own, size=pages * shape.nbytes)
        array = np.ndarray((pages, *shape.whole), _NUMPY[shape.dtype], self._memory.buf)
        self.tensor = torch.from_numpy(array)  # (pages, layers, 2, tokens, heads, width)

    @property
    def name(self) -> str:
        """The segment's name."""
        return self._memory.name

    def copy(self, page: int, other: SharedPages, source: int, tokens: int) -> int:
        """Copy a page's first tokens from another pool and return their bytes."""
        rows = other.tensor[source, :, :, :tokens]
        self.tensor[page, :, :, :tokens] = rows
        return rows.nbytes

    def close(self) -> None:
        """Let go of the segment; who made it removes it. Nothing may use the tensor any more."""
        if hasattr(self, "tensor"):
            del self.tensor
            if self._own:
                self._memory.unlink()
            self._memory.close()


class PagedCache:
    """What some sequences have read, in pages of a pool: a byte model reads and writes it as it does a `RaggedCache`.

    Args:
        pool: where the pages lie.
        tables: the pages of each sequence, in order.
        lengths: tokens that each holds.
    """

    def __init__(self, pool: SharedPages, tables: Sequence[Sequence[int]], lengths: Sequence[int]) -> None:
        self.pool, self.tables, self.lengths = pool, tables, list(lengths)
        self.capacity = max(map(len, tables)) * pool.shape.tokens  # of the longest; each is bound by its own pages
        self._pages: Tensor | None = None  # those to be read, (batch, pages of the longest)
        self._slots: tuple[Tensor, Tensor, Tensor, Tensor] | None = None  # of the new rows

    def append(self, layer: int, keys: Tensor, values: Tensor, places: RowPlaces) -> tuple[Tensor, Tensor]:
        """Write a layer's new rows and return all its keys and values, each (batch, heads, keys, width).

        Args:
            layer: its number.
            keys: of the new rows, shape (batch, heads, rows, width).
            values: the same shape.
            places: where the rows stand.
        """
        if self._slots is None:
            self._slots = self._find_slots(places)
        sequence, row, page, slot = self._slots
        for part, new in enumerate((keys, values)):
            self.pool.tensor[page, layer, part, slot] = new[sequence, :, row]
        if places.even and places.starts[0] == 0:
            return keys, values  # of prompts read from their first token on nothing else is there to be read
        return self._gathered(layer, 0, places), self._gathered(layer, 1, places)

    def grow(self, places: RowPlaces) -> None:
        """Count the rows that every layer has written."""
        self.lengths = places.ends
        self._pages = self._slots = None

    def _find_slots(self, places: RowPlaces) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return of each new row its sequence, its row, its page and its place in the page."""
        sequence, row, at = places.kept
        size = self.pool.shape.tokens
        pages = [self.tables[s][token // size] for s, token in zip(sequence.tolist(), at.tolist(), strict=True)]
        return sequence, row, torch.tensor(pages), at % size

    def _gathered(self, layer: int, part: int, places: RowPlaces) -> Tensor:
        if self._pages is None:
            most = self.pool.shape.pages(places.keys)
            # a shorter sequence is filled up with a page of its own, whose rows no query sees a second time
            self._pages = torch.tensor([[*pages, *[pages[0]] * most][:most] for pages in self.tables])
        batch, most = self._pages.shape
        found = self.pool.tensor[:, layer, part].index_select(0, self._pages.flatten())
        return found.view(batch, most * self.pool.shape.tokens, *found.shape[2:])[:, : places.keys].transpose(1, 2)
