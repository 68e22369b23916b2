"""One look at where a prompt's pages are: tier by tier, as far as matching and loading need to know."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import compress
from typing import NamedTuple

from costlab.cache.policies import Key


class Look(NamedTuple):
    """For each tier, which of a prompt's pages it has (`has`) and how many (`counts`).

    `whole` says that each tier has the beginning and lacks the rest, as is usual; then the counts say it all.

    Chapter: cache
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
            reached = min(max(count, done), pages)
            at.append(reached - done)
            done = reached
        return tuple(at)

    def share(self, level: int, pages: list[Key]) -> tuple[list[Key], list[Key]]:
        """Return the pages that a tier has and those that it lacks, both in order."""
        count = self.counts[level]
        if self.whole or not count:
            return (pages[:count], pages[count:]) if count else ([], pages)
        has = self.has[level]
        return list(compress(pages, has)), [key for key, there in zip(pages, has, strict=True) if not there]

    def slower(self, level: int, pages: list[Key]) -> list[Key]:
        """Return those of some of the first pages that neither this tier nor a faster one has."""
        faster = [any(there) for there in zip(*self.has[: level + 1], strict=True)]
        return [key for key, there in zip(pages, faster, strict=False) if not there]


def look(tiers: Sequence[Callable[[Key], bool]], pages: Sequence[Key]) -> Look:
    """Ask each tier, given as the question whether it has a page, for every page.

    Chapter: cache
    """
    has = [list(map(tier, pages)) for tier in tiers]
    counts = [there.count(True) for there in has]
    return Look(has, counts, all(False not in there[:count] for there, count in zip(has, counts, strict=True)))
