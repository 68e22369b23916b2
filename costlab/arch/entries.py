"""How many keys a query reads, and how many entries a cache holds: one closed form for every attention kind."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from costlab.arrays import Floats

Part = Literal["main", "index", "window", "state", "recurrent"]


@dataclass(frozen=True)
class Entries:
    """One entry per `stride` tokens, at most `cap` of them (None: no limit).

    Full attention is `Entries()`, a window of 128 is `Entries(cap=128)`, a block of 4 with the best 1024
    chosen is `Entries(stride=4, cap=1024)`, a state of fixed size is `Entries(cap=1)`, and chunks of 8,192 tokens that
    see nothing of one another are `Entries(cap=8192, restarts=True)`.
    """

    stride: int = 1  # tokens per entry
    cap: int | None = None  # most entries there are; None: no limit
    restarts: bool = False  # whether the token after the last entry begins anew with one, instead of dropping the first

    def __post_init__(self) -> None:
        if self.restarts and (self.cap is None or self.stride > 1):
            raise ValueError(f"entries that restart need a cap and a stride of 1, got {self}")

    def at(self, tokens: Floats) -> Floats:
        """Return the entries that exist once `tokens` tokens have been read (the last, open block has none yet)."""
        if self.restarts and self.cap is not None:
            last: Floats = np.asarray(tokens) - 1
            return np.where(last < 0, 0.0, last - np.floor(last / self.cap) * self.cap + 1)
        entries: Floats = np.floor(tokens / self.stride)
        return entries if self.cap is None else np.minimum(entries, self.cap)

    def summed(self, prefix: Floats, new: Floats) -> Floats:
        """Return the sum of `at(c)` over contexts c = prefix+1 … prefix+new: the reads of a causal prefill."""
        return self._up_to(prefix + new) - self._up_to(prefix)

    def _up_to(self, tokens: Floats) -> Floats:
        if self.restarts and self.cap is not None:  # so many whole chunks, and the one that is open
            chunks = np.floor(tokens / self.cap)
            rest = tokens - chunks * self.cap
            return np.asarray(chunks * self.cap * (self.cap + 1) / 2 + rest * (rest + 1) / 2)
        # sum of floor(i / m) for i = 1..n is m q(q-1)/2 + q(r+1), with q = floor(n/m), r = n - q m;
        # beyond cap * m tokens every context reads the cap.
        free = tokens if self.cap is None else np.minimum(tokens, float(self.cap * self.stride))
        q = np.floor(free / self.stride)
        r = free - q * self.stride
        rising: Floats = self.stride * q * (q - 1) / 2 + q * (r + 1)
        return rising if self.cap is None else rising + (tokens - free) * self.cap


#: One entry per token, without limit.
ALL_TOKENS = Entries()


@dataclass(frozen=True)
class CachePart:
    """A part of the cache: so many entries of so many bytes each."""

    part: Part  # which part of the cache
    bytes_per_entry: float  # of one entry, all heads together
    entries: Entries = ALL_TOKENS  # how many there are after so many tokens


@dataclass(frozen=True)
class Read:
    """Work per query: so many entries, at so many FLOPs and so many bytes from memory each."""

    component: Literal["core", "indexer"]  # attention proper, or the indexer's scores
    flops_per_entry: float  # of all query heads together
    bytes_per_entry: float  # read from memory
    entries: Entries = ALL_TOKENS  # how many a query reads at a context
    chosen: bool = False  # whether each query chooses its own, or all see the latest ones
    once: bool = False  # whether a pass reads them once, however many queries it has: a recurrent state

    def read_once(self, context: Floats, rows: int = 1) -> Floats:
        """Return the entries that `rows` queries in a row read together, the first of them at `context` tokens.

        Entries that several of them see count once. Each chooses its own anew, up to all there are.
        """
        if self.entries.restarts:
            return self._in_chunks(context, rows)
        there = Entries(self.entries.stride).at(context + (rows - 1))
        most = self.most(rows)
        return there if most is None else np.asarray(np.minimum(there, most), dtype=np.float64)

    def most(self, rows: int = 1) -> int | None:
        """Return the most entries that `rows` queries in a row read together; None: no limit."""
        if self.entries.cap is None or self.once:
            return self.entries.cap
        return self.entries.cap * rows if self.chosen else self.entries.cap + rows - 1

    def _in_chunks(self, context: Floats, rows: int) -> Floats:
        """What rows see together: of the first one's chunk what came before, and every row; none chunks before that."""
        return np.asarray(self.entries.at(context) + (rows - 1), dtype=np.float64)
