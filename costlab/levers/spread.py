"""How far a cost can be off: draws of all figures at once, and each figure moved alone.

Figures are drawn from triangular distributions between their least and most, highest at their value, as
`chips.ranking` draws them; no source says more of them than these three numbers. Where least and most lie more than
`TENFOLD` apart it is their logarithm that is drawn so: else nearly all draws would lie above the value.

Chapter: levers
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from costlab import checks
from costlab.arrays import Floats
from costlab.catalog import FrozenDict
from costlab.chips import Assumption, Swing, triangular
from costlab.levers.services import KINDS, Service, TokenCosts, TokenKind, token_costs

#: From how far apart the ends of a figure are its logarithm is drawn.
TENFOLD = 10.0


@dataclass(frozen=True, eq=False)
class CostSpread:
    """Costs over draws of all figures."""

    at_values: TokenCosts  # with each figure at its value
    drawn: TokenCosts  # of each draw
    figures: Mapping[str, Floats]  # the drawn figures by name

    def interval(self, kind: TokenKind, share: float = 0.9) -> tuple[float, float]:
        """Return the middle share of the draws' costs: (least, most) dollars of a million tokens.

        Raises:
            ValueError: a share that is not above 0 and below 1.
        """
        if not 0 < share < 1:
            raise ValueError(f"share = {share} should be above 0 and below 1")
        ends = ((1 - share) / 2, (1 + share) / 2)
        # a draw itself: there is nothing between a number and the infinite cost of a draw that nothing serves
        low, high = np.quantile(self.drawn.of(kind), ends, method="nearest")
        return float(low), float(high)


def spread_of(service: Service, rng: np.random.Generator, draws: int = 2000) -> CostSpread:
    """Draw all figures of a service that are ranges, and return the costs.

    Args:
        service: how the model is served.
        rng: what draws; a seed makes the answer repeatable.
        draws: how many, at least 1.
    """
    size = checks.count(draws, "draws")
    ranges = {name: each for name, each in sorted(service.inputs().items()) if each.is_range}
    figures = {name: _drawn(each, rng.random(size)) for name, each in ranges.items()}
    return CostSpread(token_costs(service), token_costs(service, figures), FrozenDict(figures))


def _drawn(figure: Assumption, shares: Floats) -> Floats:
    """A figure at these shares of its distribution."""
    low, value, high = figure.bounds
    if not high > TENFOLD * low > 0:
        return triangular(figure, shares)
    logs = dataclasses.replace(figure, low=math.log(low), value=math.log(value), high=math.log(high))
    return np.clip(np.exp(triangular(logs, shares)), low, high)


def cost_swings(service: Service, kind: TokenKind) -> tuple[Swing, ...]:
    """Move each figure alone from its least to its most, and return the swings of a cost, the widest first.

    Raises:
        ValueError: a kind that is none of hit, miss and output.
    """
    checks.one_of(KINDS, kind, "kind of token")
    swings = []
    for name, each in service.inputs().items():
        if each.is_range:
            low, high = (float(token_costs(service, {name: each.bounds[end]}).of(kind)) for end in (0, 2))
            swings.append(Swing(name, each, low, high))
    return tuple(sorted(swings, key=lambda swing: (-swing.width, swing.name)))


__all__ = ["CostSpread", "cost_swings", "spread_of"]
