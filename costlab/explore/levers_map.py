"""Figures of the chapter `levers`: the chapters as a map, each with what its lever divides the price by.

Chapter: levers
"""

from __future__ import annotations

from costlab.explore.drawing import Words, drawn
from costlab.text import Table


@drawn
def factors_map() -> Words:
    """Draw the chapters in their order, each with the factor of its lever in the price of a mean request of V4-Pro."""
    raise NotImplementedError


def chapters_table() -> Table:
    """Return the chapters with their questions, their factors and links, for beside the map."""
    raise NotImplementedError
