"""Dispatch: handing tokens to experts, with a fixed capacity that drops the excess, or without dropping.

A fixed capacity gives every expert the same number of rows. Rows nobody fills are padding, tokens that find no row
are dropped: the residual connection carries them past the layer. Dropless dispatch computes each expert's true rows,
rounded up to the tile of the matrix kernel.

Priority when an expert is full: all first choices before all second choices, and earlier tokens before later ones
(as GShard does, arXiv 2006.16668 sec. 2.2). The weights of what is kept are not renormalised (as Switch does).

Chapter: moe
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from costlab.arrays import ArrayLike, Bools, Floats, Ints
from costlab.checks import indices, whole
from costlab.moe.routing import count_loads


def capacity(tokens: int, experts: int, k: int, factor: float) -> int:
    """Return the rows per expert at a capacity factor: factor x fair share, rounded up.

    Args:
        tokens: in the batch.
        experts: that they may visit.
        k: experts per token; each assignment needs a row.
        factor: 1.0 is the fair share, 0 drops everything.

    Raises:
        ValueError: a negative or endless factor, or counts out of range.

    Source: arXiv 2101.03961 eq. 3, times k.
    """
    check_capacity(tokens, experts, k, factor)
    return math.ceil(round(tokens * k * factor / experts, 9))  # round: 1.1 x 10 is 11, not 11.000000000000002


def check_capacity(tokens: int, experts: int, k: int, factor: float) -> None:
    """Refuse numbers that no capacity follows from.

    Raises:
        ValueError: a count or factor out of range.
    """
    for what, count in {"tokens": tokens, "experts": experts, "top_k": k}.items():
        whole(count, what)
    if not 0 <= factor < math.inf:
        raise ValueError(f"capacity factor {factor} should be a finite number of at least 0")
    if tokens < 0 or experts < 1 or not 1 <= k <= experts:
        raise ValueError(f"{tokens} tokens, {experts} experts, top_k = {k}: should be >= 0, >= 1, 1 to experts")


@dataclass(frozen=True)
class Dispatch:
    """What an assignment of tokens to experts costs."""

    loads: Ints  # assignments that each expert was asked for, [experts]
    rows: Ints  # rows that each expert computes, [experts]
    kept: Bools  # whether an assignment found a row, [tokens, top_k]

    @property
    def routed(self) -> int:
        """Assignments the router asked for."""
        return self.kept.size

    @property
    def dropped(self) -> int:
        """Assignments that found no row: routed = kept + dropped."""
        return self.routed - int(self.kept.sum())

    @property
    def dropped_share(self) -> float:
        """Dropped assignments of all routed ones; 0 for an empty batch."""
        return self.dropped / max(self.routed, 1)

    @property
    def residual_only(self) -> int:
        """Tokens that lost every expert: only the residual (and a shared expert) carries them."""
        return int((~self.kept.any(axis=-1)).sum())

    @property
    def padding(self) -> int:
        """Rows that no token fills."""
        return int(self.rows.sum()) - int(self.kept.sum())

    @property
    def padding_share(self) -> float:
        """Padding of all rows computed; 0 where there are none."""
        return self.padding / max(int(self.rows.sum()), 1)

    def kept_weight(self, weights: ArrayLike) -> Floats:
        """Return the share of its routing weight that each token keeps.

        Args:
            weights: routing weights, [tokens, top_k].
        """
        w = np.asarray(weights, dtype=np.float64)
        return np.asarray((w * self.kept).sum(axis=-1) / w.sum(axis=-1), dtype=np.float64)


def dispatch_with_capacity(experts: ArrayLike, total: int, rows: int) -> Dispatch:
    """Fill `rows` rows per expert and drop the rest.

    Args:
        experts: chosen experts, [tokens, top_k], best first.
        total: number of experts.
        rows: the capacity; see `capacity`.

    Raises:
        ValueError: a negative capacity, or an expert out of range.
    """
    rows = whole(rows, "rows")
    if rows < 0:
        raise ValueError(f"capacity of {rows} rows should be at least 0")
    chosen = _two_dimensional(experts)
    loads = count_loads(chosen, total)
    queue = chosen.T.ravel()  # all first choices, then all second choices
    kept = (_place_in_line(queue, loads) < rows).reshape(chosen.T.shape).T
    return Dispatch(loads, np.full(total, rows, dtype=np.int64), kept)


def dispatch_dropless(experts: ArrayLike, total: int, tile: int = 1) -> Dispatch:
    """Keep every token; each expert's rows are rounded up to a kernel tile (MegaBlocks, arXiv 2211.15841: 128).

    Args:
        experts: chosen experts, [tokens, top_k].
        total: number of experts.
        tile: rows that a kernel computes at once.

    Raises:
        ValueError: a tile below 1, or an expert out of range.
    """
    tile = whole(tile, "tile")
    if tile < 1:
        raise ValueError(f"tile of {tile} rows should be at least 1")
    chosen = _two_dimensional(experts)
    loads = count_loads(chosen, total)
    return Dispatch(loads, -(-loads // tile) * tile, np.ones(chosen.shape, dtype=bool))


def dropped_share(loads: ArrayLike, rows: int) -> float:
    """Return the share of assignments that a capacity of `rows` per expert drops: the sum of excess over all.

    Raises:
        ValueError: a negative capacity or load.
    """
    counts = _counts(loads, rows)
    return float(np.maximum(counts - rows, 0).sum() / (counts.sum() or 1.0))


def padding_share(loads: ArrayLike, rows: int) -> float:
    """Return the share of the experts' rows that stay empty when each has `rows`; 0 where there are none.

    Raises:
        ValueError: a negative capacity or load.
    """
    counts = _counts(loads, rows)
    return float(np.maximum(rows - counts, 0).sum() / max(rows * counts.size, 1))


def _counts(loads: ArrayLike, rows: int) -> Floats:
    counts = np.asarray(loads, dtype=np.float64)
    if whole(rows, "rows") < 0 or not ((counts >= 0) & (counts < math.inf)).all():
        raise ValueError(f"capacity {rows} and loads should be at least 0, and finite")
    return counts


def least_factor(loads: ArrayLike, share: float) -> float:
    """Return the smallest capacity factor that drops at most `share` of the assignments.

    Args:
        loads: assignments per expert.
        share: what may be dropped, 0 to 1.

    Raises:
        ValueError: a share outside 0 … 1, or no load at all.
    """
    counts = indices(loads, "loads")
    if not 0 <= share <= 1 or counts.sum() < 1 or counts.min() < 0:
        raise ValueError(f"share {share} should lie between 0 and 1, and the loads should not all be 0")
    low, high = 0, int(counts.max())  # at `high` rows nothing is dropped
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if dropped_share(counts, middle) <= share else (middle + 1, high)
    return float(low / counts.mean())


def _two_dimensional(experts: ArrayLike) -> Ints:
    chosen = indices(experts, "experts")
    if chosen.ndim != 2:
        raise ValueError(f"chosen experts of shape {chosen.shape} should be (tokens, top_k)")
    return chosen


def _place_in_line(queue: Ints, loads: Ints) -> Ints:
    """How many earlier entries of the queue want the same expert."""
    order = np.argsort(queue, kind="stable")
    starts = np.cumsum(loads) - loads  # where each expert's run begins in the sorted queue
    place = np.empty_like(queue)
    place[order] = np.arange(queue.size) - starts[queue[order]]
    return place
