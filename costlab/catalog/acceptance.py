"""What acceptance.toml holds: how many drafted tokens are accepted, and what that gains, as measured by others."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from datetime import date
from typing import Literal

#: Where a figure was read: where it was published, or in a note or summary that cites it.
ReadIn = Literal["source", "second hand"]


@dataclass(frozen=True)
class AcceptanceCurve:
    """Accepted lengths of a drafter on one kind of text, by draft length."""

    target: str  # the model that decides, as the source writes it
    drafter: str  # what drafts: MTP, EAGLE-3, ...
    task: str  # the text that was generated
    draft_lengths: tuple[int, ...]  # drafted tokens, rising
    accepted_lengths: tuple[float, ...]  # mean tokens of a target pass at each, the target's own among them
    read: ReadIn  # where the figures were read
    source: str  # where they stand
    date: date  # day of publication; second hand: day they were read
    model: str | None = None  # key of the target, where we have it
    mode: str = ""  # of the target: thinking on or off
    temperature: float | None = None  # of sampling; 0 is greedy; None where not named
    top_p: float | None = None  # of sampling; None where not named
    engine: str = ""  # software that served, where named
    hardware: str = ""  # where named
    note: str = ""  # what a reader should know

    def __post_init__(self) -> None:
        _matching(self.draft_lengths, self.accepted_lengths, "draft_lengths", "accepted_lengths")
        for length, tokens in zip(self.draft_lengths, self.accepted_lengths, strict=True):
            if not 1 <= tokens <= length + 1:
                raise ValueError(f"accepted length {tokens} at {length} drafted should be between 1 and {length + 1}")


@dataclass(frozen=True)
class PositionAcceptance:
    """Acceptance of drafted tokens by position, each given that those before it were accepted."""

    target: str  # the model that decides, as the source writes it
    drafter: str  # what drafts
    task: str  # the text that was generated
    positions: tuple[int, ...]  # of the drafted tokens, 1 for the first, rising
    acceptance: tuple[float, ...]  # at each, 0 to 1; the lowest where a range is published
    read: ReadIn  # where the figures were read
    source: str  # where they stand
    date: date  # day of publication; second hand: day they were read
    highest: tuple[float, ...] = ()  # highest acceptance at each, where a range is published
    model: str | None = None  # key of the target, where we have it
    temperature: float | None = None  # of sampling; 0 is greedy; None where not named
    note: str = ""  # what a reader should know

    def __post_init__(self) -> None:
        _matching(self.positions, self.acceptance, "positions", "acceptance")
        if self.highest:
            _matching(self.positions, self.highest, "positions", "highest")
        for share in (*self.acceptance, *self.highest):
            if not 0 <= share <= 1:
                raise ValueError(f"acceptance = {share} should be between 0 and 1")


@dataclass(frozen=True)
class EntropyFit:
    """A published fit of the accepted length: longest x (1 - factor x entropy ^ exponent)."""

    target: str  # the model that decides, as the source writes it
    drafter: str  # what drafts
    draft_length: int  # drafted tokens
    longest: float  # accepted length where the next token is certain
    factor: float  # of the entropy's power
    exponent: float  # of the entropy
    r_squared: float  # of the fit
    lowest_entropy: float  # of a next token, where the fitted points begin
    highest_entropy: float  # where they end
    read: ReadIn  # where the figures were read
    source: str  # where they stand
    date: date  # day of publication
    model: str | None = None  # key of the target, where we have it
    note: str = ""  # what a reader should know

    def accepted_length(self, entropy: float) -> float:
        """Return the fitted mean tokens of a target pass at an entropy of the next token.

        Raises:
            ValueError: a negative entropy.
        """
        if not 0 <= entropy < math.inf:
            raise ValueError(f"entropy = {entropy} should be at least 0 and finite")
        return self.longest * (1 - self.factor * math.pow(entropy, self.exponent))


@dataclass(frozen=True)
class MeasuredSpeedup:
    """Output tokens per second with a drafter over those without, by batch."""

    target: str  # the model that decides, as the source writes it
    drafter: str  # what drafts
    task: str  # the text that was generated
    speedups: tuple[float, ...]  # at each batch; below 1 where drafting costs throughput
    read: ReadIn  # where the figures were read
    source: str  # where they stand
    date: date  # day of publication; second hand: day they were read
    batches: tuple[int, ...] = ()  # sequences at once, rising; none where the source names no batch
    load: str = ""  # what is said of the load where no batch is named
    model: str | None = None  # key of the target, where we have it
    draft_length: int | None = None  # drafted tokens of a chain; None where not named
    tree_nodes: int | None = None  # drafted tokens of a tree; None where it is none, or not named
    accepted_length: float | None = None  # mean tokens of a target pass; None where not named
    acceptance: float | None = None  # of a drafted token, 0 to 1; None where not named
    input_tokens: int | None = None  # of the prompt; None where not named
    temperature: float | None = None  # of sampling; 0 is greedy; None where not named
    engine: str = ""  # software that served, where named
    hardware: str = ""  # where named
    note: str = ""  # what a reader should know

    def __post_init__(self) -> None:
        if self.batches:
            _matching(self.batches, self.speedups, "batches", "speedups")
        elif len(self.speedups) != 1 or not self.load:
            raise ValueError(f"speedups = {self.speedups} without batches should be one, with its load")
        for speedup in self.speedups:
            if not 0 < speedup < math.inf:
                raise ValueError(f"speed-up {speedup} should be above 0 and finite")
        if self.acceptance is not None and not 0 <= self.acceptance <= 1:
            raise ValueError(f"acceptance = {self.acceptance} should be between 0 and 1")
        if self.accepted_length is not None and not 1 <= self.accepted_length < math.inf:
            raise ValueError(f"accepted_length = {self.accepted_length} should be at least 1")


def _matching(at: tuple[int, ...], values: tuple[float, ...], places: str, what: str) -> None:
    """Refuse figures whose places are not rising counts from 1 on, one for each."""
    if not at or len(at) != len(values):
        raise ValueError(f"{what} = {values} should be one for each of {places} = {at}")
    if at[0] < 1 or any(later <= earlier for earlier, later in itertools.pairwise(at)):
        raise ValueError(f"{places} = {at} should rise from 1 or more")
