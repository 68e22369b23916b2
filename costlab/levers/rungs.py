"""What each lever does to the cost of a token: in the order that is told, and whatever the order.

>>> from costlab import levers
>>> found = levers.waterfall("mimo-v2.5-pro")
>>> round(sum(found.shares["output"].values()), 9) == round(found.log_factor("output"), 9)
True

Chapter: levers
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from costlab import checks
from costlab.arch import Model
from costlab.catalog import FrozenDict
from costlab.levers import shapley
from costlab.levers.products import Ladder, ladder
from costlab.levers.services import KINDS, TokenCosts, TokenKind
from costlab.text import Table


@dataclass(frozen=True)
class Rung:
    """A lever when its turn comes: the costs before and after it."""

    lever: str  # its name; "" for the baseline
    costs: TokenCosts  # with it and all levers before it

    def cost(self, kind: TokenKind) -> float:
        """Dollars of a million tokens of a kind."""
        return float(self.costs.of(kind))


@dataclass(frozen=True)
class Waterfall:
    """The costs of a product's tokens from the baseline to the service with all levers."""

    ladder: Ladder  # the product and its levers
    order: tuple[str, ...]  # in which the levers are told
    rungs: tuple[Rung, ...]  # the baseline, and one for each lever

    def factor(self, kind: TokenKind, lever: str) -> float:
        """Return how many times cheaper a lever makes a kind of token when its turn comes; below 1 it is dearer.

        Raises:
            ValueError: a name that is no lever of the product.
        """
        at = self.order.index(checks.one_of(self.order, lever, "lever"))
        return self.rungs[at].cost(kind) / self.rungs[at + 1].cost(kind)

    def log_factor(self, kind: TokenKind) -> float:
        """Return the logarithm of how many times cheaper all levers together make a kind of token."""
        return math.log(self.rungs[0].cost(kind) / self.rungs[-1].cost(kind))

    @functools.cached_property
    def worths(self) -> Mapping[TokenKind, shapley.Worths]:
        """The logarithm of how many times cheaper each set of levers makes a token, by kind.

        Raises:
            ValueError: a set of levers with which no deployment holds a sequence.
        """
        costs = {found: self.ladder.costs(found) for found in shapley.sets(self.order)}
        logs = {kind: {found: _log_cost(each, kind, found) for found, each in costs.items()} for kind in KINDS}
        return FrozenDict(
            {
                kind: shapley.worths(self.order, lambda found, of=of: of[frozenset()] - of[found])  # type: ignore[misc]
                for kind, of in logs.items()
            }
        )

    @functools.cached_property
    def shares(self) -> Mapping[TokenKind, Mapping[str, float]]:
        """The Shapley value of each lever by kind of token: a logarithm, so that factors multiply."""
        return FrozenDict({kind: shapley.values(worth) for kind, worth in self.worths.items()})

    @functools.cached_property
    def pairs(self) -> Mapping[TokenKind, Mapping[tuple[str, str], float]]:
        """How much two levers make of each other by kind of token, as logarithms."""
        return FrozenDict({kind: shapley.interactions(worth) for kind, worth in self.worths.items()})

    def table(self) -> Table:
        """Return a row for each rung: the cost of each kind of token, and the lever's Shapley factor of the output."""
        rows = []
        for rung in self.rungs:
            costs = {f"USD per million {kind}": rung.cost(kind) for kind in KINDS}
            factor = math.exp(self.shares["output"][rung.lever]) if rung.lever else None
            rows.append({"lever": rung.lever or "none", **costs, "share of the output's fall": factor})
        return Table(rows)


def _log_cost(costs: TokenCosts, kind: TokenKind, found: Iterable[str]) -> float:
    cost = float(costs.of(kind))
    if not 0 < cost < math.inf:
        levers = ", ".join(sorted(found)) or "none"
        raise ValueError(
            f"with levers {levers} a {kind} costs {cost:g}: no deployment holds a sequence of this traffic"
        )
    return math.log(cost)


def waterfall(model: str | Model | Ladder, order: Sequence[str] | None = None, **choices: object) -> Waterfall:
    """Return what each lever does to the cost of a model's tokens, in an order.

    Args:
        model: key in the catalog, the path of a config.json, a model, or a ladder.
        order: the levers, each once; None for the order in which they are told.
        choices: as `ladder` takes them, where no ladder is given.

    Raises:
        ValueError: as `ladder`; an order that is not of the product's levers; choices beside a ladder.
    """
    if choices and isinstance(model, Ladder):
        raise ValueError(f"{', '.join(choices)} should be given to `ladder`, not beside one")
    steps = model if isinstance(model, Ladder) else ladder(model, **choices)  # type: ignore[arg-type]
    told = tuple(steps.levers if order is None else order)
    for each in told:
        checks.one_of(steps.levers, each, "lever")
    if sorted(told) != sorted(steps.levers):
        raise ValueError(f"order {list(told)} should have each lever once: {', '.join(steps.levers)}")
    rungs = [Rung(name, steps.costs(told[:i])) for i, name in enumerate(("", *told))]
    return Waterfall(steps, told, tuple(rungs))


__all__ = ["Rung", "Waterfall", "waterfall"]
