"""A request on its way through the cluster."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import StrEnum

from costlab.traces import Request


class State(StrEnum):
    """Where a request is; at any instant each is in one of these."""

    QUEUED = "queued"  # waits at a worker, or for one
    RUNNING = "running"  # in a worker's batch
    MOVING = "moving"  # its prompt is computed, and its cache waits for the other worker or is on its way
    FINISHED = "finished"
    REJECTED = "rejected"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


@dataclass(slots=True, eq=False)
class Job:
    """A request on its way through the cluster: what is computed of it, and when each thing happened.

    While it decodes, `computed` and `generated` stand still, and its rank counts for it (`Rank.tokens_of`).
    """

    request: Request  # what was asked
    serial: int  # its place in the order of arrival
    prefill_only: bool = False  # whether it leaves its worker after the prompt, to be decoded elsewhere
    computed: int = 0  # tokens whose keys and values its worker holds
    generated: int = 0  # tokens of the answer that are there
    cached: int = 0  # tokens of the prompt that a prefix cache had, when it was admitted last
    preemptions: int = 0  # how often it lost its memory and was computed anew
    state: State = State.QUEUED  # where it is
    admitted_s: float = math.nan  # when it first got into a batch
    first_s: float = math.nan  # when its first token was there
    last_s: float = math.nan  # when its latest token was there; while it decodes, when that before was
    finished_s: float = math.nan  # when it finished, or was given up
    worst_gap_s: float = 0.0  # longest time between two of its tokens
    entered_s: float = math.nan  # when it came to its present worker
    ends: int = field(default=0, repr=False)  # while it decodes: its rank's count of steps at its last token

    @property
    def known(self) -> int:
        """Tokens of prompt and answer that are known: what has to be computed before the next one comes."""
        return self.request.input_tokens + self.generated

    @property
    def left(self) -> int:
        """Tokens that have to be computed before the next one comes."""
        return self.request.input_tokens + self.generated - self.computed

    @property
    def decodes(self) -> bool:
        """Whether all but its latest token is computed, so that it can decode where it is."""
        return self.generated > 0 and self.left == 1 and not self.prefill_only

    @property
    def most(self) -> int:
        """Tokens that its worker has to hold in the end; an answer's last token is never computed."""
        tokens = self.request.input_tokens
        return tokens if self.prefill_only else tokens + self.request.output_tokens - 1
