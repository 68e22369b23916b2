"""Shares of a change that several causes make together, whatever the order in which they are told.

A cause's Shapley value is the mean, over all orders, of what it adds when its turn comes; the values add up to the
whole change. How two causes interact is the mean, over what else is already there, of what both add together beyond
what each adds alone: above 0 each makes the other worth more.

>>> from costlab.levers import shapley
>>> both = shapley.worths(["wings", "engine"], lambda found: 10.0 * ({"wings", "engine"} <= found))
>>> {name: float(value) for name, value in shapley.values(both).items()}
{'wings': 5.0, 'engine': 5.0}
>>> float(shapley.interactions(both)["wings", "engine"])
10.0

Source: L. S. Shapley, A Value for n-Person Games (1953); interaction index of M. Grabisch and M. Roubens, Int. J. of
    Game Theory 28 (1999), which at two causes is Owen's.

Chapter: levers
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence

from costlab.catalog import FrozenDict

Causes = frozenset[str]
#: What each set of causes is worth.
Worths = Mapping[Causes, float]

#: Most causes: sets double with each.
MOST_CAUSES = 12


def worths(names: Sequence[str], worth: Callable[[Causes], float]) -> Worths:
    """Return what every set of causes is worth.

    Args:
        names: of the causes, each once.
        worth: of a set of them.

    Raises:
        ValueError: no name, one name twice, more than `MOST_CAUSES`, a worth that is no finite number.
    """
    if not names or len(set(names)) != len(names) or len(names) > MOST_CAUSES:
        raise ValueError(f"{list(names)!r} should be 1 to {MOST_CAUSES} different names")
    found = {each: float(worth(each)) for each in sets(names)}
    for each, value in found.items():
        if not math.isfinite(value):
            raise ValueError(f"{' with '.join(sorted(each)) or 'none'} is worth {value}: should be a finite number")
    return FrozenDict(found)


def values(worth: Worths) -> Mapping[str, float]:
    """Return the Shapley value of each cause; together they are the worth of all less that of none."""
    names = _names(worth)
    size = len(names)
    found = dict.fromkeys(names, 0.0)
    for name in names:
        for rest in sets([other for other in names if other != name]):
            weight = 1 / (size * math.comb(size - 1, len(rest)))
            found[name] += weight * (worth[rest | {name}] - worth[rest])
    return FrozenDict(found)


def interactions(worth: Worths) -> Mapping[tuple[str, str], float]:
    """Return the interaction index of each pair of causes, in the causes' order."""
    names = _names(worth)
    found = {}
    for pair in itertools.combinations(names, 2):
        rests = list(sets([other for other in names if other not in pair]))
        found[pair] = sum(_together(worth, pair, rest) / math.comb(len(names) - 2, len(rest)) for rest in rests)
        found[pair] /= len(names) - 1
    return FrozenDict(found)


def _together(worth: Worths, pair: tuple[str, str], rest: Causes) -> float:
    """What two causes add to others beyond what each adds alone."""
    one, two = pair
    return worth[rest | {one, two}] - worth[rest | {one}] - worth[rest | {two}] + worth[rest]


def _names(worth: Worths) -> list[str]:
    """The causes, in the order in which their single sets stand."""
    return [next(iter(each)) for each in worth if len(each) == 1]


def sets(names: Sequence[str]) -> Iterator[Causes]:
    """Yield every set of names, small ones first."""
    for size in range(len(names) + 1):
        yield from map(frozenset, itertools.combinations(names, size))


__all__ = ["MOST_CAUSES", "Causes", "Worths", "interactions", "sets", "values", "worths"]
