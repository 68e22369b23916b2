"""What a prompt finds in the cache, and what a sequence holds of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

from costlab.cache.policies.base import Key


class Match(NamedTuple):
    """How far a prompt is cached: `pages` can be used, `found` are there, `at` counts the usable by fastest tier.

    In a model with windows `pages` may stop short of `found`; `window_at` is the tier that holds the window there.
    """

    pages: int
    found: int
    at: tuple[int, ...]
    window_at: int | None = None


#: A match of nothing.
NOTHING = Match(0, 0, ())


@dataclass(slots=True, eq=False)
class Lease:
    """A sequence's hold on its pages. `uncached` pages did not fit and are kept nowhere.

    `match` says what was usable when it was last admitted, `resident` how many of its pages any tier held then, and
    `window` the page at whose end it found its window; `admitted` how many pages it had then, before it grew.
    """

    pages: list[Key]
    tokens: int
    match: Match = NOTHING
    window: Key | None = None
    state: Literal["running", "preempted", "released"] = "running"
    resident: int = 0
    uncached: int = 0
    admitted: int = 0
    extended: bool = False
