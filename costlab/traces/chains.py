"""Chained ids: each stands for its block and all before it, so it always follows the same id.

Ids that name the tokens of one block alone break that, for a block may follow others elsewhere. In a prefix cache it
is another block there: its keys and values depend on what is before it.
"""

from __future__ import annotations

import operator
from dataclasses import dataclass
from hashlib import blake2b

#: Whether ids are chained is checked against so many of the latest, which takes about 100 MB at most.
IDS_REMEMBERED = 1 << 20


def chained(ids: list[int] | tuple[int, ...]) -> tuple[int, ...]:
    """Return ids that stand for the whole prefix: each a digest of 64 bits of the id and the digest ahead of it."""
    digest, found = b"", []
    for each in ids:
        digest = blake2b(digest + each.to_bytes(9, "little", signed=True), digest_size=8).digest()
        found.append(int.from_bytes(digest, "little"))
    return tuple(found)


@dataclass(frozen=True)
class Broken:
    """What is wrong with a prompt's ids."""

    count: int  # ids that follow another id than before
    first: str  # the first of them, in words
    twice: int | None  # an id that comes twice; None if all differ


class Links:
    """Which id each id followed where it was seen first; None stands for a prompt's beginning."""

    def __init__(self) -> None:
        self._ahead: dict[int, int | None] = {}

    def broken(self, ids: tuple[int, ...]) -> Broken | None:
        """Return what is wrong with a prompt's ids; None if they are chained, and so differ.

        A prompt with an id twice leaves no trace, for no request comes of it.
        """
        if len(self._ahead) > IDS_REMEMBERED:
            self._ahead.clear()
        known, ahead = len(self._ahead), (None, *ids[:-1])
        before = tuple(map(self._ahead.setdefault, ids, ahead))
        if before == ahead:
            return None
        twice = _twice(ids)
        while twice is not None and len(self._ahead) > known:
            self._ahead.popitem()
        broken = list(map(operator.ne, before, ahead))
        at = broken.index(True)
        words = [f"behind {each}" if each is not None else "first" for each in (ahead[at], before[at])]
        return Broken(sum(broken), f"id {ids[at]} stands {words[0]}, before it stood {words[1]}", twice)


def _twice(ids: tuple[int, ...]) -> int | None:
    seen: set[int] = set()
    for each in ids:
        if each in seen:
            return each
        seen.add(each)
    return None
