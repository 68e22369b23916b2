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
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from costlab.catalog import FrozenDict
from costlab.levers import shapley
from costlab.levers.ladder import Ladder
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
        """Return by which factor a lever makes a kind of token cheaper when its turn comes; below 1 it makes it dearer."""
        at = self.order.index(lever)
        return self.rungs[at].cost(kind) / self.rungs[at + 1].cost(kind)

    def log_factor(self, kind: TokenKind) -> float:
        """Return the logarithm of how many times cheaper all levers together make a kind of token."""
        return math.log(self.rungs[0].cost(kind) / self.rungs[-1].cost(kind))

    @functools.cached_property
    def worths(self) -> Mapping[TokenKind, shapley.Worths]:
        """The logarithm of how many times cheaper each set of levers makes a token, by kind."""
        costs = {found: self.ladder.costs(found) for found in shapley.sets(self.order)}
        base = costs[frozenset()]
        return FrozenDict(
            {
                kind: FrozenDict({s: math.log(float(base.of(kind)) / float(c.of(kind))) for s, c in costs.items()})
                for kind in KINDS
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
