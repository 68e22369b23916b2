"""Which of several chips is the cheapest, when prices, tariffs and lives are known as ranges only.

Each input is drawn from a triangular distribution over its range, highest at its value; no source says more of it than
these three numbers. One draw holds for all candidates: figures of one `key`, such as the tariff of a place, rise and
fall together for all (common random numbers), so that what all share does not blur who is cheaper.

Chapter: chips
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from costlab import checks
from costlab.arrays import ArrayLike, Floats
from costlab.catalog import FrozenDict
from costlab.chips.assumptions import Assumption, Overrides, check_above, check_values
from costlab.chips.owning import Ownership

#: Name of the yield among a contender's inputs.
OUTPUT = "output"


class Priced(Protocol):
    """A chip whose used hour has a price: an `Ownership` or a `Rental`."""

    @property
    def name(self) -> str:
        """Of the candidate."""

    @property
    def currency(self) -> str:
        """ISO code of the price."""

    def inputs(self) -> dict[str, Assumption]:
        """Every figure that the price rests on, by name."""

    def used_hour(self, values: Overrides | None = None) -> Floats:
        """Return the price of a used chip-hour."""


@dataclass(frozen=True)
class Contender:
    """A chip, and what a used hour of it yields of the work that is compared."""

    priced: Priced  # what a used chip-hour costs
    output: Assumption  # units of work of a used chip-hour, such as million tokens or PFLOP-hours

    def __post_init__(self) -> None:
        check_above(self.output, OUTPUT, 0.0, exact=False)

    @property
    def name(self) -> str:
        """Of the candidate."""
        return self.priced.name

    def inputs(self) -> dict[str, Assumption]:
        """Every figure that the cost of a unit of work rests on, by name."""
        return {**self.priced.inputs(), OUTPUT: self.output}

    def cost(self, values: Overrides | None = None) -> Floats:
        """Return the cost of a unit of work, for numbers or arrays in the place of inputs.

        Raises:
            ValueError: a name that is no input; a number that leaves what the input may be.
        """
        given = dict(values or {})
        check_values({OUTPUT: given.get(OUTPUT, self.output.value)}, {})
        work = np.asarray(given.pop(OUTPUT, self.output.value), dtype=float)
        return np.asarray(self.priced.used_hour(given) / work)

    def named(self, name: str) -> str:
        """Return under which name an input is drawn: its key, or the candidate's own."""
        return self.inputs()[name].key or f"{self.name}: {name}"


def triangular(found: Assumption, shares: ArrayLike) -> Floats:
    """Return the values that shares of a triangular distribution lie below: its inverse distribution function.

    Args:
        found: low, value (the mode) and high. The mean is the mean of the three, so it is not the value.
        shares: from 0 to 1.
    """
    low, mode, high = found.bounds
    at = np.asarray(shares, dtype=float)
    rising = low + np.sqrt(at * (high - low) * (mode - low))
    falling = high - np.sqrt((1 - at) * (high - low) * (high - mode))
    return np.clip(np.where(at * (high - low) < mode - low, rising, falling), low, high)  # sums of floats may be off


@dataclass(frozen=True, eq=False)
class Ranking:
    """How often each candidate is the cheapest, over draws of all inputs."""

    currency: str  # ISO code of the costs
    draws: int  # how many
    wins: Mapping[str, float]  # share of the draws in which the candidate is the cheapest; ties are split
    # standard error of that share: of the draws alone, not of the ranges; 0 where each draw has the same winner, which
    # says no more than that another one wins fewer than about 3 of so many draws
    errors: Mapping[str, float]
    at_values: Mapping[str, float]  # cost of a unit of work with each input at its value
    bands: Mapping[str, tuple[float, float, float]]  # cost that 5%, 50% and 95% of the draws lie below
    costs: Mapping[str, Floats]  # cost of each draw


def rank(contenders: Sequence[Contender], rng: np.random.Generator, draws: int = 10_000) -> Ranking:
    """Draw all inputs many times and count who is the cheapest.

    The order of the candidates does not matter: inputs are drawn in the order of their names.

    Args:
        contenders: two or more, of different names, in one currency and of one unit of work.
        rng: what draws; a seed makes the answer repeatable.
        draws: how many, at least 1.

    Raises:
        ValueError: fewer than two candidates, one name twice, two currencies, two units of work.
    """
    check_contenders(contenders)
    drawn = draw_inputs(contenders, rng, checks.count(draws, "draws"))
    costs = {each.name: np.broadcast_to(each.cost(at), draws) for each, at in zip(contenders, drawn, strict=True)}
    table = np.stack(list(costs.values()))
    least = table == table.min(axis=0)
    won = dict(zip(costs, least / least.sum(axis=0), strict=True))  # of each draw: 1, 0, or a part of a tie
    return Ranking(
        contenders[0].priced.currency,
        draws,
        FrozenDict({name: float(share.mean()) for name, share in won.items()}),
        FrozenDict({name: float(share.std() / np.sqrt(draws)) for name, share in won.items()}),
        FrozenDict({each.name: float(each.cost()) for each in contenders}),
        FrozenDict({name: _band(each) for name, each in costs.items()}),
        FrozenDict(costs),
    )


def check_contenders(contenders: Sequence[Contender]) -> None:
    """Refuse candidates that cannot be compared.

    Raises:
        ValueError: fewer than two, one name twice, two currencies, two units of work.
    """
    names = [each.name for each in contenders]
    if len(names) < 2:
        raise ValueError(f"candidates {names!r}: should be two or more")
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"candidates {twice!r} stand twice: each should have a name of its own")
    if len(found := sorted({each.priced.currency for each in contenders})) > 1:
        raise ValueError(f"candidates in {' and '.join(found)}: should be in one currency")
    if len(units := sorted({each.output.unit for each in contenders})) > 1:
        raise ValueError(f"candidates yield {' and '.join(map(repr, units))}: should be of one unit of work")


def draw_inputs(contenders: Sequence[Contender], rng: np.random.Generator, draws: int) -> list[dict[str, Floats]]:
    """Return, for each candidate, draws of its inputs that are ranges; those of one key from the same random shares."""
    ranges = [{name: each for name, each in one.inputs().items() if each.is_range} for one in contenders]
    keys = sorted({one.named(name) for one, found in zip(contenders, ranges, strict=True) for name in found})
    shares = {key: rng.random(draws) for key in keys}
    return [
        {name: triangular(each, shares[one.named(name)]) for name, each in found.items()}
        for one, found in zip(contenders, ranges, strict=True)
    ]


def _band(costs: Floats) -> tuple[float, float, float]:
    low, middle, high = np.quantile(costs, (0.05, 0.5, 0.95))
    return float(low), float(middle), float(high)


@dataclass(frozen=True)
class Swing:
    """What one input does, moved alone from its low to its high."""

    name: str  # the input's key, or its candidate and name
    moved: Assumption  # the figure, with its low and high
    at_low: float  # the answer with the input at its low, all others at their values
    at_high: float  # the answer with the input at its high

    @property
    def width(self) -> float:
        """How far the answer moves."""
        return abs(self.at_high - self.at_low)


def tornado(contender: Contender, against: Contender | None = None) -> tuple[Swing, ...]:
    """Move each input alone from its low to its high, and return the swings of the answer, the widest first.

    Args:
        contender: the candidate; the answer is its cost of a unit of work.
        against: another one; the answer is then the first's cost by the other's, and inputs of one key move for both.

    Raises:
        ValueError: as `check_contenders`.
    """
    both = [contender] if against is None else [contender, against]
    if against is not None:
        check_contenders(both)
    moved = {one.named(name): each for one in both for name, each in one.inputs().items() if each.is_range}
    swings = [Swing(key, each, _moved(both, key, 0), _moved(both, key, 2)) for key, each in moved.items()]
    return tuple(sorted(swings, key=lambda swing: (-swing.width, swing.name)))


def _moved(both: Sequence[Contender], key: str, bound: int) -> float:
    """The answer with the inputs of one key at their low (0) or high (2)."""
    costs = [
        float(one.cost({name: each.bounds[bound] for name, each in one.inputs().items() if one.named(name) == key}))
        for one in both
    ]
    return costs[0] if len(costs) == 1 else costs[0] / costs[1]


def break_even_price(contender: Contender, target: float) -> float:
    """Return the price of a purchase at which its unit of work costs a target, all other inputs at their values.

    Cost is linear in the price, so two prices tell it. The answer is in the price's own currency, for what the price
    buys; it is negative where the candidate costs more than the target even as a gift.

    Args:
        contender: whose `priced` is an `Ownership`.
        target: cost of a unit of work, in the candidate's currency; another's `cost()` for a tie with it.

    Raises:
        ValueError: a rented candidate; a target that is not above 0.
    """
    if not isinstance(contender.priced, Ownership):
        raise ValueError(f"{contender.name} is rented: it has no price to buy at")
    if not 0 < target < np.inf:
        raise ValueError(f"target = {target!r} should be above 0 and finite")
    price = contender.priced.price.value
    one, two = (float(contender.cost({"price": factor * price})) for factor in (1.0, 2.0))
    return price * (1 + (target - one) / (two - one))
