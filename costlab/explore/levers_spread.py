"""Figures of the chapter `levers`: how far a cost can be off, and which figure decides.

Chapter: levers
"""

from __future__ import annotations

from costlab.explore.drawing import Words, drawn
from costlab.levers import TokenKind


@drawn
def cost_tornado(model: str = "deepseek-v4-pro", kind: TokenKind = "output") -> Words:
    """Draw how far the cost of a kind of token moves with each figure alone, and the range of nine draws in ten.

    Args:
        model: key of one of `LEVER_MODELS`.
        kind: of token: "hit", "miss" or "output".

    Raises:
        ValueError: another model or kind.
    """
    raise NotImplementedError
