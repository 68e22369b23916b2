"""Figures of the chapter `levers`: the book's opening figure, from a dense model to the price that a reader pays.

Chapter: levers
"""

from __future__ import annotations

from collections.abc import Mapping

from costlab.catalog import FrozenDict
from costlab.explore.drawing import Words, drawn

#: Steps of the slider of hit rates, and the days whose lists may be chosen, by the words that readers see.
HIT_RATES: tuple[float, ...] = tuple(round(0.02 * place, 2) for place in range(50))
LANDING_DAYS: Mapping[str, str] = FrozenDict({"1 June 2026": "2026-06-01"})


@drawn
def landing(model: str = "deepseek-v4-pro", hit_rate: float = 0.94, day: str = "2026-06-01") -> Words:
    """Draw how the cost of a million tokens of a mean request falls lever by lever, and what a day's price list leaves.

    Args:
        model: key of one of `LEVER_MODELS`.
        hit_rate: one of `HIT_RATES`.
        day: one of `LANDING_DAYS`.

    Raises:
        ValueError: another model, rate or day.
    """
    raise NotImplementedError
