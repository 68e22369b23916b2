"""Where a prompt's pages are (`Lookup`), how much can be used (`Match`), and what a sequence holds (`Lease`)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import compress
from operator import not_
from typing import Literal, NamedTuple

from costlab.cache.policies.base import Key


class Lookup(NamedTuple):
    """Where each page of a prompt is.

    Attributes:
        pages: ids of the pages, root first.
        fastest: of each page the index of the fastest tier that has it; the number of tiers where none has.
        held: of each tier the pages that it has, root first.
        lacking: of each tier the pages that it lacks, root first.
    """

    pages: Sequence[Key]
    fastest: list[int]
    held: list[Sequence[Key]]
    lacking: list[Sequence[Key]]

    @property
    def found(self) -> int:
        """How many of the first pages some tier has."""
        nowhere = len(self.held)
        return self.fastest.index(nowhere) if nowhere in self.fastest else len(self.fastest)

    @property
    def resident(self) -> int:
        """How many pages some tier has, wherever they stand."""
        return len(self.fastest) - self.fastest.count(len(self.held))

    def at(self, count: int) -> tuple[int, ...]:
        """Return how many of the first `count` pages each tier is the fastest to have."""
        return tuple(map(self.fastest[:count].count, range(len(self.held))))

    def below(self, level: int, count: int) -> set[Key]:
        """Return those of the first `count` pages that neither this tier nor a faster one has."""
        return {key for key, tier in zip(self.pages[:count], self.fastest, strict=False) if tier > level}


def lookup(tiers: Sequence[Callable[[Key], bool]], pages: Sequence[Key]) -> Lookup:
    """Ask each tier for every page.

    Args:
        tiers: fastest first, each given as the question whether it has a page.
        pages: ids of the pages, root first.
    """
    fastest = [len(tiers)] * len(pages)
    held: list[Sequence[Key]] = []
    lacking: list[Sequence[Key]] = []
    for level in range(len(tiers) - 1, -1, -1):  # a faster tier overwrites what a slower one has said
        there = list(map(tiers[level], pages))
        count = there.count(True)
        if count == len(there) or there.index(False) == count:  # as almost always: the beginning is there, no more
            fastest[:count] = [level] * count
            held.append(pages[:count])
            lacking.append(pages[count:])
        else:
            fastest = [level if here else slower for here, slower in zip(there, fastest, strict=True)]
            held.append(list(compress(pages, there)))
            lacking.append(list(compress(pages, map(not_, there))))
    return Lookup(pages, fastest, held[::-1], lacking[::-1])


class Match(NamedTuple):
    """How far a prompt is cached.

    Attributes:
        pages: how many of the first pages can be used; with windows it may stop short of `found`.
        found: how many of the first pages some tier has.
        at: of the pages that can be used, how many each tier is the fastest to have.
        window_at: index of the fastest tier that has the window behind the last of them; None without windows.
    """

    pages: int
    found: int
    at: tuple[int, ...]
    window_at: int | None = None


#: A match of nothing.
NOTHING = Match(0, 0, ())


@dataclass(slots=True, eq=False)
class Lease:
    """A sequence's hold on its pages: while it runs they are in the first tier and stay there.

    Attributes:
        pages: ids of its pages, root first.
        tokens: length of the sequence, as far as its pages hold it.
        match: what could be used of the cache when it was last admitted or resumed.
        window: the page whose window it uses; None without one.
        state: "running", "preempted" or "released".
        resident: how many of its pages any tier had when it was last admitted or resumed.
        uncached: pages that did not fit and are kept nowhere.
        admitted: how many pages it had when it was last admitted or resumed.
        extended: whether it has grown since it was admitted.
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
