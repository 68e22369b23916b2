"""What a course may draw for itself: the cases of hidden checks, and constants of tasks."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from typing import TypeVar

import numpy as np

KEY = "COSTLAB_COURSE_KEY"  # in the environment; without it, every course has the same cases

T = TypeVar("T")


def seeded(number: int) -> np.random.Generator:
    """Return a generator of random numbers that is the same for everybody with the same course key.

    Args:
        number: which of the course's generators, from 0.
    """
    return np.random.default_rng([number, *os.environ.get(KEY, "").encode()])


def chosen(name: str, options: Sequence[T]) -> T:
    """Return one of some options by the course key; without a key, the first.

    Args:
        name: what is chosen, so that two choices of a course do not go together.
        options: what can be chosen, at least one.
    """
    key = os.environ.get(KEY, "")
    if not key:
        return options[0]
    digest = hashlib.sha256(f"{key}/{name}".encode()).digest()
    return options[int.from_bytes(digest[:8], "big") % len(options)]
