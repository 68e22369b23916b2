"""Figures of the chapter `levers`: each lever's share whatever the order, and which levers make each other worth more.

Chapter: levers
"""

from __future__ import annotations

from costlab.explore.drawing import Words, drawn


@drawn
def shapley_shares(model: str = "deepseek-v4-pro", kind: str = "output") -> Words:
    """Draw each lever's factor in the order that is told beside its Shapley factor, which no order changes.

    Args:
        model: key of one of `LEVER_MODELS`.
        kind: of token, "hit", "miss" or "output", or "request" for a mean request.

    Raises:
        ValueError: another model or kind.
    """
    raise NotImplementedError


@drawn
def lever_pairs(model: str = "deepseek-v4-pro", kind: str = "output") -> Words:
    """Draw the pairs of levers that change each other's worth most.

    Args:
        model: key of one of `LEVER_MODELS`.
        kind: of token, "hit", "miss" or "output", or "request" for a mean request.

    Raises:
        ValueError: another model or kind.
    """
    raise NotImplementedError
