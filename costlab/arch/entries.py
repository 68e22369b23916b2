"""How many keys a query reads, and how many entries a cache holds: one closed form for every attention kind."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from costlab.arrays import Floats


@dataclass(frozen=True)
class Entries:
    """One entry per `stride` tokens, at most `cap` of them (None: no limit).

    Full attention is `Entries()`, a window of 128 is `Entries(cap=128)`, a block of 4 with the best 1024
    chosen is `Entries(stride=4, cap=1024)`.
    """

    stride: int = 1  # tokens per entry
    cap: int | None = None  # most entries there are; None: no limit

    def at(self, tokens: Floats) -> Floats:
        """Return the entries that exist once `tokens` tokens have been read (the last, open block has none yet)."""
        entries: Floats = np.floor(tokens / self.stride)
        return entries if self.cap is None else np.minimum(entries, self.cap)

    def summed(self, prefix: Floats, new: Floats) -> Floats:
        """Return the sum of `at(c)` over contexts c = prefix+1 … prefix+new: the reads of a causal prefill."""
        return self._up_to(prefix + new) - self._up_to(prefix)

    def _up_to(self, tokens: Floats) -> Floats:
        # sum of floor(i / m) for i = 1..n is m q(q-1)/2 + q(r+1), with q = floor(n/m), r = n - q m;
        # beyond cap * m tokens every context reads the cap.
        free = tokens if self.cap is None else np.minimum(tokens, float(self.cap * self.stride))
        q = np.floor(free / self.stride)
        r = free - q * self.stride
        rising: Floats = self.stride * q * (q - 1) / 2 + q * (r + 1)
        return rising if self.cap is None else rising + (tokens - free) * self.cap
