"""Where a prompt's pages are (`Lookup`), how much can be used (`Match`), and what a sequence holds (`Lease`)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import compress
from operator import not_
from typing import Literal, NamedTuple

from costlab.cache.policies.base import Key


class Lookup(NamedTuple):
    """Where each page of a prompt is."""

    pages: Sequence[Key]  # ids of the pages, root first
    fastest: list[int]  # of each page the index of the fastest tier that has it; the number of tiers where none has
    found: int  # how many of the first pages some tier has
    resident: int  # how many pages some tier has, wherever they stand
    held: list[Sequence[Key]]  # of each tier the pages that it has, root first
    lacking: list[Sequence[Key]]  # of each tier the pages that it lacks, root first

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
    nowhere, counts = len(tiers), [0]
    fastest = [nowhere] * len(pages)
    held: list[Sequence[Key]] = []
    lacking: list[Sequence[Key]] = []
    for level in range(len(tiers) - 1, -1, -1):  # a faster tier overwrites what a slower one has said
        there = list(map(tiers[level], pages))
        count = there.count(True)
        if count == len(there) or there.index(False) == count:  # as almost always: the beginning is there, no more
            fastest[:count] = [level] * count
            held.append(pages[:count])
            lacking.append(pages[count:])
            counts.append(count)
        else:
            fastest = [level if here else slower for here, slower in zip(there, fastest, strict=True)]
            held.append(list(compress(pages, there)))
            lacking.append(list(compress(pages, map(not_, there))))
    found = resident = max(counts)
    if len(counts) <= len(tiers):  # some tier has pages with gaps between them
        found = next((at for at, tier in enumerate(fastest) if tier == nowhere), len(pages))
        resident = len(pages) - fastest.count(nowhere)
    return Lookup(pages, fastest, found, resident, held[::-1], lacking[::-1])


class Match(NamedTuple):
    """How far a prompt is cached."""

    pages: int  # how many of the first pages can be used; with windows or states it may stop short of `found`
    found: int  # how many of the first pages some tier has
    at: tuple[int, ...]  # of the pages that can be used, how many each tier is the fastest to have
    # index of the fastest tier that has the window behind the last of them; None without windows
    window_at: int | None = None
    # index of the fastest tier that has the state there; None without recurrent layers, or where none is kept
    state_at: int | None = None


#: A match of nothing.
NOTHING = Match(0, 0, ())


@dataclass(slots=True, eq=False)
class Lease:
    """A sequence's hold on its pages: while it runs they are in the first tier and stay there."""

    pages: list[Key]  # ids of its pages, root first
    tokens: int  # length of the sequence, as far as its pages hold it
    match: Match = NOTHING  # what could be used of the cache when it was last admitted or resumed
    window: Key | None = None  # the page whose window it uses; None without one
    state: Literal["running", "preempted", "released"] = "running"  # "running", "preempted" or "released"
    resident: int = 0  # how many of its pages any tier had when it was last admitted or resumed
    uncached: int = 0  # pages that did not fit and are kept nowhere
    admitted: int = 0  # how many pages it had when it was last admitted or resumed
    extended: bool = False  # whether it has grown since it was admitted
