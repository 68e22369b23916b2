"""Length buckets: what they buy, and what they no longer do.

A worker for short prompts and one for long ones: short prompts no longer wait behind long ones, and data-parallel
ranks that wait for one another get like work. Padding is what they were for where a batch is one rectangle; packed
kernels compute no padding, so there is none to save.

>>> from costlab.serving import buckets
>>> lengths = [100, 4000, 100, 4000]
>>> buckets.padding_saved(lengths, batch=2, bounds=[100]), buckets.padding_saved(lengths, batch=1, bounds=[100])
(7800, 0)

Chapter: serving
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence

import numpy as np

from costlab.checks import count, whole
from costlab.serving.routing import Ask, LoadWindow, RequestRouter, WorkerView


class LengthBuckets(RequestRouter):
    """SGLang's bucket policy: each worker owns a range of prompt lengths, cut anew from recent load.

    Ranges hold equal shares of the prompt tokens of the last period. They change only where the fullest worker's
    share under the old ranges was above `hysteresis` times the mean. Out of balance, the least loaded worker takes all.

    Args:
        period_s: seconds between cuts.
        hysteresis: fullest over mean load that the old ranges may have.
        window: of pending tokens; beyond it requests go to the least loaded.

    Raises:
        ValueError: a period that is not above 0 or endless, a hysteresis below 1.

    Source: sglang 0.5.23's gateway, policy bucket: a cut every 5 s.
    """

    def __init__(self, period_s: float = 5.0, hysteresis: float = 1.2, window: LoadWindow | None = None) -> None:
        super().__init__()
        if not 0 < period_s < math.inf or not hysteresis >= 1:
            raise ValueError(f"period_s = {period_s} should be above 0 and hysteresis = {hysteresis} at least 1")
        self.period_s, self.hysteresis = period_s, hysteresis
        self.window = window or LoadWindow(32_768, 1.5)
        self.bounds: list[int] | None = None  # the longest prompt of each range but the last; None: nothing seen yet
        self._seen: list[int] = []
        self._next_cut_s = -math.inf

    def pick(self, ask: Ask, pool: Sequence[WorkerView], alive: Sequence[int]) -> int:
        """Return the worker that owns the prompt's length, or the least loaded one."""
        ranges = len(alive)
        if ask.time_s >= self._next_cut_s or (self.bounds is not None and len(self.bounds) != ranges - 1):
            self._cut(ranges)
            self._next_cut_s = ask.time_s + self.period_s
        self._seen.append(ask.input_tokens)
        loads = [pool[i].pending_tokens for i in alive]
        if self.bounds is None or not self.window.holds(max(loads), min(loads)):
            return self.least(loads, alive)
        return alive[bisect_left(self.bounds, ask.input_tokens)]

    def _cut(self, ranges: int) -> None:
        """Cut the ranges anew from what was seen since the last cut; without any load, or with little need, keep."""
        old, seen, self._seen = self.bounds, self._seen, []
        fits = old is not None and len(old) == ranges - 1
        if not seen:
            self.bounds = old if fits else None
        elif old is None or not fits or imbalance(bucket_loads(seen, old)) > self.hysteresis:
            self.bounds = equal_load_bounds(seen, ranges)


def equal_load_bounds(lengths: Sequence[int], ranges: int) -> list[int]:
    """Return the longest length of each range but the last, so that all ranges hold about equally many tokens.

    Raises:
        ValueError: no lengths, a negative one, or fewer than 1 range.
    """
    ranges = count(ranges, "ranges")
    found, counts = np.unique([whole(n, "length") for n in lengths], return_counts=True)
    if not len(found) or found[0] < 0:
        raise ValueError(f"lengths {list(lengths)!r} should be at least one, and none negative")
    loads = np.cumsum(found * counts)  # of all up to each length
    shares = loads[-1] * np.arange(1, ranges) / ranges
    nearest = np.abs(loads[:, None] - shares).argmin(axis=0)
    return [int(found[index]) for index in nearest]


def bucket_loads(lengths: Sequence[int], bounds: Sequence[int]) -> list[int]:
    """Return the tokens that fall into each range; `bounds` are the longest lengths of all but the last."""
    loads = [0] * (len(bounds) + 1)
    for tokens in lengths:
        loads[bisect_left(bounds, tokens)] += tokens
    return loads


def imbalance(loads: Sequence[float]) -> float:
    """Return the largest load over the mean: the factor by which ranks that wait for one another take longer.

    Raises:
        ValueError: no loads, or nothing but zeros.
    """
    if not len(loads) or not sum(loads) > 0:
        raise ValueError(f"loads {list(loads)!r} should be at least one, and not all zero")
    return float(max(loads) * len(loads) / sum(loads))


def rank_loads(lengths: Sequence[int], ranks: int, by_load: bool = True) -> list[int]:
    """Return the tokens on each data-parallel rank when prompts come one after another.

    Args:
        lengths: of the prompts, in order.
        ranks: how many.
        by_load: each prompt goes to the rank with the fewest tokens; False: to each in turn.
    """
    loads = [0] * count(ranks, "ranks")
    for index, tokens in enumerate(lengths):
        loads[loads.index(min(loads)) if by_load else index % ranks] += tokens
    return loads


def padding(lengths: Sequence[int], batch: int) -> int:
    """Return the tokens of padding when so many prompts after one another make a rectangle as wide as the longest."""
    batch = count(batch, "batch")
    groups = [lengths[i : i + batch] for i in range(0, len(lengths), batch)]
    return sum(max(group) * len(group) - sum(group) for group in groups)


def padding_saved(lengths: Sequence[int], batch: int, bounds: Sequence[int]) -> int:
    """Return the tokens of padding that buckets save; with packed kernels, as with a batch of 1, none."""
    ranges: list[list[int]] = [[] for _ in range(len(bounds) + 1)]
    for tokens in lengths:
        ranges[bisect_left(bounds, tokens)].append(tokens)
    return padding(lengths, batch) - sum(padding(each, batch) for each in ranges)
