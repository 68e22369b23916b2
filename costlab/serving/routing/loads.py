"""Routers that look at loads alone: in turn, fewest requests, fewest pending tokens, the better of two."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

import numpy as np

from costlab.serving.routing.router import RequestRouter
from costlab.serving.routing.views import Ask, WorkerView


class RoundRobin(RequestRouter):
    """Each in turn; one that is dead is passed over."""

    def __init__(self) -> None:
        super().__init__()
        self._next = 0

    def pick(self, ask: Ask, pool: Sequence[WorkerView], alive: Sequence[int]) -> int:
        """Return the first that is alive from the one whose turn it is."""
        chosen = alive[bisect_left(alive, self._next) % len(alive)]
        self._next = (chosen + 1) % len(pool)
        return chosen


class LeastRequests(RequestRouter):
    """Fewest requests sent and not done."""

    def pick(self, ask: Ask, pool: Sequence[WorkerView], alive: Sequence[int]) -> int:
        """Return the worker with the fewest requests."""
        return self.least([pool[i].requests for i in alive], alive)


class LeastPendingTokens(RequestRouter):
    """Fewest prompt tokens not read yet: the shortest queue as Splitwise measures it (arXiv 2311.18677 sec. IV-A)."""

    def pick(self, ask: Ask, pool: Sequence[WorkerView], alive: Sequence[int]) -> int:
        """Return the worker with the fewest pending tokens."""
        return self.least([pool[i].pending_tokens for i in alive], alive)


class PowerOfTwo(RequestRouter):
    """The one with fewer requests of two drawn at random.

    Args:
        rng: draws the two.

    Source: M. Mitzenmacher, IEEE TPDS 12(10), 2001; SGLang's gateway has it as power_of_two.
    """

    def __init__(self, rng: np.random.Generator) -> None:
        super().__init__()
        self._rng = rng

    def pick(self, ask: Ask, pool: Sequence[WorkerView], alive: Sequence[int]) -> int:
        """Return the better of two different workers."""
        if len(alive) == 1:
            return alive[0]
        first = int(self._rng.integers(len(alive)))
        second = (first + 1 + int(self._rng.integers(len(alive) - 1))) % len(alive)
        two = [alive[first], alive[second]]
        return self.least([pool[i].requests for i in two], two)
