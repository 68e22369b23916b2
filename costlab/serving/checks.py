"""Numbers that a serving plan refuses: shares, and seconds that are none."""

from __future__ import annotations

import math


def share(value: float, what: str) -> float:
    """Return a share of 0 to below 1.

    Raises:
        ValueError: quoting what is none.
    """
    if isinstance(value, bool) or not 0 <= value < 1:
        raise ValueError(f"{what} should be a share from 0 to below 1, got {value!r}")
    return value


def seconds(value: float, what: str) -> float:
    """Return a finite number of at least 0.

    Raises:
        ValueError: quoting what is none.
    """
    if isinstance(value, bool) or not 0 <= value < math.inf:
        raise ValueError(f"{what} should be a finite number of at least 0, got {value!r}")
    return value
