"""What a router knows: of the request that it places, and of each worker, now or some time ago."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol


class WorkerView(Protocol):
    """What a router may know of one worker."""

    @property
    def requests(self) -> int:
        """Sent there and not done: queued, running or moving."""

    @property
    def queued(self) -> int:
        """Of them, those that wait."""

    @property
    def pending_tokens(self) -> int:
        """Prompt tokens sent there and not read yet."""

    @property
    def kv_blocks(self) -> int:
        """Blocks that running requests hold."""

    @property
    def kv_share(self) -> float:
        """The same as a share of all, 0 to 1."""

    @property
    def pending_s(self) -> float:
        """Predicted seconds of the prefills ahead."""

    @property
    def tree_tokens(self) -> int:
        """Tokens of prefixes cached there."""

    @property
    def alive(self) -> bool:
        """Whether it is believed to work."""


@dataclass(slots=True)
class Signals:
    """A worker as it was seen at one time; its attributes are those of `WorkerView`."""

    requests: int = 0  # sent there and not done
    queued: int = 0  # of them, those that wait
    pending_tokens: int = 0  # of prompts, not read yet
    kv_blocks: int = 0  # that running requests hold
    kv_share: float = 0.0  # the same as a share of all, 0 to 1
    pending_s: float = 0.0  # predicted seconds of the prefills ahead
    tree_tokens: int = 0  # of prefixes cached there
    alive: bool = True  # whether it is believed to work

    @classmethod
    def of(cls, seen: WorkerView) -> Signals:
        """Return a worker as it is now."""
        return cls(*[getattr(seen, name) for name in cls.__slots__])


class Ask(NamedTuple):
    """What a router knows of the request that it places."""

    time_s: float  # when it asks
    input_tokens: int  # of the prompt
    matched: Sequence[int] = ()  # prompt tokens cached on each worker; empty: on none

    def matched_on(self, worker: int) -> int:
        """Return the prompt's tokens that a worker has cached."""
        return self.matched[worker] if self.matched else 0


class Aged:
    """Workers that are looked at once in every `age_s`, when first asked for: up to so old is what a router sees.

    Args:
        workers: as they are; with an age of 0 a router sees them themselves.
        age_s: seconds between two looks.

    Raises:
        ValueError: an age that is negative or endless.
    """

    def __init__(self, workers: Sequence[WorkerView], age_s: float = 0.0) -> None:
        if not 0 <= age_s < math.inf:
            raise ValueError(f"age_s = {age_s} should be a finite number of at least 0")
        self.age_s = age_s
        self._workers = workers
        self._seen: Sequence[WorkerView] = workers
        self._tick = -1.0

    def at(self, now: float) -> Sequence[WorkerView]:
        """Return what is known at a time; times never go back."""
        if self.age_s and now // self.age_s != self._tick:
            self._seen, self._tick = [Signals.of(worker) for worker in self._workers], now // self.age_s
        return self._seen
