"""One look at where a prompt's pages are: tier by tier, as far as matching and loading need to know.

Chapter: cache
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import compress
from operator import not_
from typing import NamedTuple

from costlab.cache.policies.base import Key

#: Of a sequence's pages, those that a tier has and those that it lacks.
Share = tuple[list[Key], list[Key]]


class Look(NamedTuple):
    """For each tier, which of a prompt's pages it has (`has`) and how many (`counts`).

    `whole` says that each tier has the beginning and lacks the rest, as is usual; then the counts say it all.
    """

    has: list[list[bool]]
    counts: list[int]
    whole: bool

    @property
    def found(self) -> int:
        """How many of the first pages some tier has."""
        if self.whole:
            return max(self.counts)
        return next((i for i, there in enumerate(zip(*self.has, strict=True)) if not any(there)), len(self.has[0]))

    @property
    def resident(self) -> int:
        """How many pages some tier has, wherever they stand."""
        return max(self.counts) if self.whole else sum(map(any, zip(*self.has, strict=True)))

    def at(self, pages: int) -> tuple[int, ...]:
        """Return how many of the first `pages` pages each tier is the fastest to have."""
        if not self.whole:
            fastest = [there.index(True) for there in zip(*(has[:pages] for has in self.has), strict=True)]
            return tuple(map(fastest.count, range(len(self.has))))
        at, done = [], 0
        for count in self.counts:
            more = (count if count < pages else pages) - done
            if more <= 0:
                at.append(0)
                continue
            at.append(more)
            done += more
        return tuple(at)

    def shares(self, pages: list[Key]) -> list[Share]:
        """Return for each tier the pages that it has and those that it lacks, all in order."""
        if not self.whole:
            return [(list(compress(pages, has)), list(compress(pages, map(not_, has)))) for has in self.has]
        return [(pages[:count], pages[count:]) for count in self.counts]

    def slower(self, level: int, pages: list[Key]) -> list[Key]:
        """Return those of some of the first pages that neither this tier nor a faster one has."""
        faster = [any(there) for there in zip(*self.has[: level + 1], strict=True)]
        return [key for key, there in zip(pages, faster, strict=False) if not there]


def look(tiers: Sequence[Callable[[Key], bool]], pages: Sequence[Key]) -> Look:
    """Ask each tier, given as the question whether it has a page, for every page."""
    has, counts, whole = [], [], True
    for tier in tiers:
        there = list(map(tier, pages))
        count = there.count(True)
        if 0 < count < len(there) and there.index(False) != count:
            whole = False
        has.append(there)
        counts.append(count)
    return Look(has, counts, whole)
