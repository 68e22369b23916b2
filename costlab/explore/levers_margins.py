"""Figures of the chapter `levers`: list prices over our costs, and how full the engines must be.

Chapter: levers
"""

from __future__ import annotations

from costlab.explore.drawing import Words, drawn


@drawn
def margin_timeline(product: str = "deepseek-v4-pro") -> Words:
    """Draw a product's list prices from one change to the next over what its tokens cost, and what each list leaves.

    Args:
        product: key of one of `LEVER_MODELS`.

    Raises:
        ValueError: another product.
    """
    raise NotImplementedError


@drawn
def break_even_use(product: str = "deepseek-v4-pro", traffic: str = "coding", chip: str = "h800") -> Words:
    """Draw what each list leaves of a mean request's price, by the share of hours in which chips serve.

    Args:
        product: key of one of `LEVER_MODELS`.
        traffic: kind of use: "coding", "tools" or "chat".
        chip: key of the chip that serves.

    Raises:
        ValueError: another product, use or chip.
    """
    raise NotImplementedError
