"""How many keys a query reads, and how many entries a cache holds: one closed form for every attention kind."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from costlab.arrays import ArrayLike, Floats

#: The largest count taken: up to here float64 holds every whole number.
MOST = 2**53


def tokens_array(tokens: ArrayLike, what: str = "tokens", least: int = 1) -> Floats:
    """Check token counts and return them as float64, which holds whole numbers exactly up to 2**53 (`MOST`).

    Args:
        tokens: a count or an array of counts.
        what: the word for the message.
        least: the smallest count allowed.

    Raises:
        ValueError: quoting a count that is negative, too small, too large, fractional or not a number.

    Chapter: attention
    """
    try:
        given = np.asarray(tokens)
        counts = given.astype(np.float64)
        too_large = bool(np.any(given > MOST))  # before rounding: 2**53 + 1 becomes 2**53
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"{what} should be whole numbers, got {tokens!r}") from error
    if given.dtype == np.bool_:
        raise ValueError(f"{what} should be whole numbers, got {tokens!r}")
    wrong = counts[~np.isfinite(counts) | (counts < least) | (counts != np.floor(counts))]
    if wrong.size:
        raise ValueError(f"{what} should be whole numbers of at least {least}, got {wrong.flat[0]:g}")
    if too_large:
        raise ValueError(f"{what} should not exceed 2**53, got {np.max(given)}")
    return counts


@dataclass(frozen=True)
class Entries:
    """One entry per `stride` tokens, at most `cap` of them (None: no limit).

    Full attention is `Entries()`, a window of 128 is `Entries(cap=128)`, a block of 4 with the best 1024
    chosen is `Entries(stride=4, cap=1024)`.

    Chapter: attention
    """

    stride: int = 1
    cap: int | None = None

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
