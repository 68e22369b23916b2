"""What a trace is once it is read: requests in order of time, and an account of what was met on the way."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

_MESSAGES_KEPT = 5


class TraceError(ValueError):
    """A trace that cannot be read, with the place of the fault."""


@dataclass(frozen=True, slots=True)
class Request:
    """One call: when it came, how long prompt and answer are, and the ids of the prompt's blocks in order.

    The last block may be partial.
    """

    time_s: float  # seconds from the trace's beginning
    input_tokens: int  # length of the prompt
    output_tokens: int  # length of the answer
    blocks: tuple[int, ...]  # ids of the prompt's blocks in order; empty where the trace carries none
    session: int | None = None  # conversation that the call belongs to; None where not known


@dataclass
class Noted:
    """How often something was met, and the first few times in words."""

    count: int = 0  # how often
    messages: list[str] = field(default_factory=list)  # the first few, in words

    def note(self, message: str, count: int = 1) -> None:
        """Count `count` more."""
        self.count += count
        if len(self.messages) < _MESSAGES_KEPT:
            self.messages.append(message)

    @property
    def first(self) -> str:
        """The first in words; empty where there is none."""
        return self.messages[0] if self.messages else ""

    def clear(self) -> None:
        """Start a new pass."""
        self.count = 0
        self.messages.clear()


@dataclass
class Found:
    """What the latest pass over a trace met."""

    requests: int = 0  # read
    references: int = 0  # block ids read
    without_ids: int = 0  # requests that carry no ids
    unanswered: int = 0  # requests of no output tokens
    delayed: int = 0  # requests whose time follows from a delay
    skipped: Noted = field(default_factory=Noted)  # rows that could not be read
    unchained: Noted = field(default_factory=Noted)  # block ids behind another id than before

    def clear(self) -> None:
        """Start a new pass."""
        self.requests = self.references = self.without_ids = self.unanswered = self.delayed = 0
        self.skipped.clear()
        self.unchained.clear()

    def notes(self) -> list[str]:
        """Return what a reader of the results should know, in sentences."""
        bad, loose = self.skipped, self.unchained
        of_all = f"of {self.requests:,} requests"
        pairs = [
            (bad.count, f"{bad.count:,} bad rows skipped, first: {bad.first}"),
            (loose.count, f"{loose.count:,} of {self.references:,} block ids {_UNCHAINED}; first: {loose.first}"),
            (self.references and self.without_ids, f"{self.without_ids:,} {of_all} carry no block ids, so cannot hit"),
            (self.delayed, f"{self.delayed:,} turns {_DELAYED}"),
            (self.unanswered, f"{self.unanswered:,} {of_all} have no output tokens"),
        ]
        return [text for count, text in pairs if count]


_UNCHAINED = """stand behind another id than before: they are not chained, so hits are an upper bound (--chain, \
chain=True: those of a prefix cache)"""
_DELAYED = "have a delay instead of a time: each is taken to come that long after the turn before it came"


class RequestSource(ABC):
    """Requests that are read anew in each pass.

    Attributes:
        once: whether there can be one pass only.
        found: what the latest pass met.
    """

    once: bool = False
    found: Found

    @abstractmethod
    def __iter__(self) -> Iterator[Request]:
        """Begin a pass."""

    @abstractmethod
    def share_read(self) -> float | None:
        """Return how much of all the running pass has read, 0 to 1; None where that is not known."""


@dataclass(frozen=True)
class Trace:
    """Requests in order of time. Each iteration is a new pass; one over a file holds one row at a time."""

    requests: Iterable[Request]  # what to iterate over
    block_tokens: int | None = 512  # tokens of one block; None where the format has no block ids
    name: str = "trace"  # of the file or generator, for messages
    format: str = "generated"  # one of `FORMATS`, or "generated"

    def __iter__(self) -> Iterator[Request]:
        return iter(self.requests)

    @property
    def is_stream(self) -> bool:
        """Whether there can be one pass only."""
        return self.requests.once if isinstance(self.requests, RequestSource) else isinstance(self.requests, Iterator)

    @property
    def found(self) -> Found:
        """What the latest pass met; empty for requests that no file was read for."""
        return self.requests.found if isinstance(self.requests, RequestSource) else Found()

    @property
    def skipped(self) -> Noted:
        """How many rows were skipped in the latest pass, and why the first few were."""
        return self.found.skipped

    def share_read(self) -> float | None:
        """Return how much of the file the running pass has read, 0 to 1; None where its size is not known."""
        return self.requests.share_read() if isinstance(self.requests, RequestSource) else None

    def notes(self) -> list[str]:
        """Return what was read, and what the latest pass met, in sentences."""
        found = self.found
        ids = self.block_tokens and (found.references or not found.requests)
        blocks = f"blocks of {self.block_tokens} tokens" if ids else "lengths only, so nothing can hit"
        return [f"trace {self.name}: {self.format}, {blocks}", *found.notes()]

    def apart(self) -> Trace:
        """Return the same trace with an account of its own, for a pass beside others; a stream has no second."""
        return copy.deepcopy(self) if isinstance(self.requests, RequestSource) and not self.is_stream else self
