"""What an engine is asked for, what it answers, and a request on its way between the two."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal

from costlab import checks

RequestState = Literal["queued", "prefill", "moving", "decode", "finished", "rejected", "cancelled", "failed"]
OPEN_STATES: tuple[RequestState, ...] = ("queued", "prefill", "moving", "decode")
END_STATES: tuple[RequestState, ...] = ("finished", "rejected", "cancelled", "failed")


@dataclass(frozen=True)
class TextRequest:
    """A prompt, and how much is to follow it.

    Raises:
        ValueError: a prompt that is empty or no bytes, no output, or a time that is negative or no number.
    """

    prompt: bytes  # for a model over bytes
    output_tokens: int  # to emit, the likeliest byte each time
    time_s: float = 0.0  # of its arrival, seconds after the others' start

    def __post_init__(self) -> None:
        if not isinstance(self.prompt, bytes) or not self.prompt:
            raise ValueError(f"a prompt should be bytes, at least one, got {self.prompt!r}")
        object.__setattr__(self, "output_tokens", checks.count(self.output_tokens, "output_tokens"))
        if not 0 <= self.time_s < float("inf"):
            raise ValueError(f"time_s = {self.time_s} should be a number of seconds, 0 or more")


@dataclass(frozen=True)
class TextResult:
    """What became of a request."""

    state: RequestState  # at the moment of asking
    tokens: bytes  # emitted so far
    token_s: tuple[float, ...]  # when each was, in seconds after the request's arrival
    tries: int  # how often a worker died that was at work on it
    reason: str  # why it was rejected or failed; else empty

    @property
    def ttft_s(self) -> float:
        """Seconds from arrival to the first token, which prefill emits; NaN without one."""
        return self.token_s[0] if self.token_s else float("nan")

    @property
    def gaps_s(self) -> tuple[float, ...]:
        """Seconds between tokens: one fewer than there are tokens."""
        return tuple(after - before for before, after in pairwise(self.token_s))


@dataclass
class TextJob:
    """A request on its way. Its pages are touched by nobody but its holder."""

    number: int  # in the order of arrival
    request: TextRequest  # what was asked
    arrival_s: float  # on the machine's monotonic clock
    state: RequestState = "queued"  # where it is, or how it ended
    reason: str = ""  # why it was rejected or failed
    tokens: bytearray = field(default_factory=bytearray)  # emitted so far
    token_s: list[float] = field(default_factory=list)  # when, on the same clock
    tries: int = 0  # how often a worker died that was at work on it
    holder: int | None = None  # worker that may touch its pages
    begun: bool = False  # whether the holder is at work on it
    reader: int = 0  # worker that reads the prompt
    decoder: int = 0  # worker that decodes; the same where it stays
    source: list[int] = field(default_factory=list)  # pages of the reader's pool, where another worker decodes
    pages: list[int] = field(default_factory=list)  # pages of the decoder's pool

    @property
    def text(self) -> bytes:
        """What is to be read before the next token: after a worker's death the tokens emitted before it, too."""
        return self.request.prompt + bytes(self.tokens)

    @property
    def rest(self) -> int:
        """Tokens that are still to be emitted."""
        return self.request.output_tokens - len(self.tokens)

    @property
    def kept_tokens(self) -> int:
        """Tokens whose keys and values are kept in the end: all but the last one emitted."""
        return len(self.request.prompt) + self.request.output_tokens - 1

    @property
    def result(self) -> TextResult:
        """What has become of it so far."""
        since = tuple(at - self.arrival_s for at in self.token_s)
        return TextResult(self.state, bytes(self.tokens), since, self.tries, self.reason)
