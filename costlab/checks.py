"""One way to refuse numbers that are no counts."""

from __future__ import annotations

import numpy as np

from costlab.arrays import ArrayLike, Ints


def whole(value: float, what: str) -> int:
    """Return a count as an int; a whole float such as 8.0 and NumPy's integers are taken, True is not.

    Args:
        value: the count.
        what: the word for the message.

    Raises:
        ValueError: quoting what is no whole number.

    Chapter: prices
    """
    if isinstance(value, int | np.integer) and not isinstance(value, bool):
        return int(value)
    if isinstance(value, float | np.floating) and float(value).is_integer():
        return int(value)
    raise ValueError(f"{what} = {value!r} should be a whole number")


def indices(values: ArrayLike, what: str) -> Ints:
    """Return an array of indices as int64; whole floats are taken, and an empty array of any type.

    Args:
        values: whole numbers, any shape.
        what: the word for the message.

    Raises:
        ValueError: numbers that are cut, or no numbers at all.

    Chapter: prices
    """
    found = np.asarray(values)
    if not found.size:
        return found.astype(np.int64)
    if found.dtype.kind not in "iuf":
        raise ValueError(f"{what} of type {found.dtype} should be whole numbers")
    cut = ~np.isfinite(found) | (found != np.floor(found))
    if cut.any():
        raise ValueError(f"{what} should be whole numbers, got {found[cut][0]}")
    return found.astype(np.int64)


__all__ = ["indices", "whole"]
