"""Figures of the chapter `levers`: what each lever does to the cost of a token, from a dense model to the service.

Chapter: levers
"""

from __future__ import annotations

from collections.abc import Mapping

from costlab.catalog import FrozenDict
from costlab.explore.drawing import Words, drawn
from costlab.levers import TokenKind

#: Models of the figures by the names that readers see.
LEVER_MODELS: Mapping[str, str] = FrozenDict(
    {
        "DeepSeek-V4-Pro": "deepseek-v4-pro",
        "MiMo-V2.5-Pro": "mimo-v2.5-pro",
        "DeepSeek-V4.1-Flash": "deepseek-v4.1-flash",
    }
)


@drawn
def lever_waterfall(
    model: str = "deepseek-v4-pro", kind: TokenKind = "output", hit_rate: float = 0.936, day: str = "2026-06-01"
) -> Words:
    """Draw what each lever does to the cost of a kind of token when its turn comes, and the list price beside the end.

    Args:
        model: key in `LEVER_MODELS`' values.
        kind: of token: "hit", "miss" or "output"; the other two are thin lines.
        hit_rate: share of the input that was sent before, 0 to 0.99.
        day: of the list price, as 2026-06-01.

    Raises:
        ValueError: another model or kind, a rate out of range.
    """
    raise NotImplementedError
