"""The plans that no other plan beats in all of cost, TTFT and TPOT."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

Item = TypeVar("Item")


def front(items: Iterable[Item], costs: Callable[[Item], Sequence[float]]) -> list[Item]:
    """Return the items that no other is at least as good as in every cost, and better in one; in their order.

    Of items with equal costs the first is kept.

    Args:
        items: what to choose from.
        costs: of an item, the smaller the better, e.g. (USD, TTFT, TPOT).
    """
    kept: list[tuple[Item, tuple[float, ...]]] = []
    for item in items:
        mine = tuple(costs(item))
        if any(_covers(other, mine) for _, other in kept):
            continue
        kept = [(each, other) for each, other in kept if not _covers(mine, other)]
        kept.append((item, mine))
    return [item for item, _ in kept]


def _covers(first: Sequence[float], second: Sequence[float]) -> bool:
    """Whether the first is at least as good in every cost."""
    return all(a <= b for a, b in zip(first, second, strict=True))
