"""Another order of the same prompts, and what it saves: found by rewriting the requests and replaying them.

Nothing is added to a prompt and nothing left out: what varies goes behind what does not, and what is the same is
written the same way each time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from costlab.prompts.requests import PromptRequest
from costlab.prompts.rewriting import (
    documents_first,
    keys_sorted,
    marked,
    tools_sorted,
    volatile_last,
)

Requests = Sequence[PromptRequest]


class ReplaySums(NamedTuple):
    """What a replay of requests gives."""

    tokens: int  # of all requests, estimated
    hits: int  # of them found in the cache
    misses: int  # of them not found, those written among them
    cost: float  # of all input tokens, in the currency of the prices


@dataclass(frozen=True)
class Change:
    """One way of writing requests otherwise."""

    name: str  # in a few words
    says: str  # what a developer does
    rewrite: Callable[[Requests], list[PromptRequest]]  # the requests written so, in their order
    marks: bool = False  # whether it only marks what is to be kept


#: In the order in which they are made; marks come last, since they go behind what the others have put first.
CHANGES = (
    Change("tools sorted", "send tools in one order, by name", tools_sorted),
    Change("keys sorted", "write the keys of tools and schemas in one order", keys_sorted),
    Change("clock and ids last", "take times and ids out of the system text, to the end of the request", volatile_last),
    Change("documents first", "put documents before the question, in one order", documents_first),
    Change("marks", "mark the end of tools and system and that of the last message", marked, marks=True),
)


@dataclass(frozen=True)
class ProposedChange:
    """A change of a proposal, and what it does by itself."""

    name: str  # in a few words
    says: str  # what a developer does
    requests: int  # that it changes
    alone: ReplaySums  # with this change only
    without: ReplaySums  # with all changes of the proposal but this one
    taken: bool  # whether it is part of the proposal


@dataclass(frozen=True)
class OrderProposal:
    """A way of writing requests that a cache finds more of."""

    changes: tuple[ProposedChange, ...]  # those that change any request, taken or not
    before: ReplaySums  # as logged
    after: ReplaySums  # with all changes that are taken
    requests: tuple[PromptRequest, ...]  # the requests written so

    @property
    def saved(self) -> float:
        """What the taken changes save together."""
        return self.before.cost - self.after.cost


def proposal(
    requests: Requests, outcome: Callable[[Requests], ReplaySums], changes: Sequence[Change] = CHANGES
) -> OrderProposal:
    """Return the changes that together make misses fewer and the bill smaller, each of them needed for it.

    Args:
        requests: in order of time.
        outcome: replays requests and prices them.
        changes: that may be made, in this order.
    """
    requests = tuple(requests)
    counts = {change.name: _changed(requests, _written(requests, [change])) for change in changes}
    helps = [change for change in changes if counts[change.name]]
    known: dict[tuple[str, ...], ReplaySums] = {(): outcome(requests)}

    def found(some: Sequence[Change]) -> ReplaySums:
        key = tuple(change.name for change in some)
        if key not in known:
            known[key] = outcome(_written(requests, some))
        return known[key]

    taken = _needed(helps, found)
    rows = []
    for change in helps:
        others = [each for each in taken if each is not change]
        alone, without = found([change]), found(others)
        rows.append(ProposedChange(change.name, change.says, counts[change.name], alone, without, change in taken))
    return OrderProposal(tuple(rows), found([]), found(taken), _written(requests, taken))


def _needed(changes: Sequence[Change], found: Callable[[Sequence[Change]], ReplaySums]) -> list[Change]:
    """Return the changes without those that do not help the others; none where all together do not help."""
    taken = list(changes)
    for change in reversed(changes):
        others = [each for each in taken if each is not change]
        if not _better(found(taken), found(others)):
            taken = others
    return taken if _better(found(taken), found([])) else []


def _changed(before: Requests, after: Requests) -> int:
    """Return how many requests were written anew: a change leaves those that it does not concern as they are."""
    return sum(a is not b for a, b in zip(before, after, strict=True))


def _better(one: ReplaySums, other: ReplaySums) -> bool:
    return one.misses <= other.misses and one.cost < other.cost


def _written(requests: Requests, changes: Sequence[Change]) -> tuple[PromptRequest, ...]:
    for change in changes:
        requests = change.rewrite(requests)
    return tuple(requests)
