"""What all routers have in common: whom they may choose, and how ties are broken."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

from costlab.serving.routing.views import Ask, WorkerView


class RequestRouter(ABC):
    """A way to choose a worker; keeps how many requests each was sent, by which ties are broken."""

    #: Whether it looks at cached prefixes, which take time to find.
    looks_at_prefixes: ClassVar[bool] = False

    def __init__(self) -> None:
        self.served: list[int] = []

    def choose(self, ask: Ask, pool: Sequence[WorkerView]) -> int | None:
        """Return the index of the worker that gets a request; None where none is alive, or the router refuses."""
        if len(self.served) < len(pool):
            self.served += [0] * (len(pool) - len(self.served))
        alive = [index for index, signals in enumerate(pool) if signals.alive]
        chosen = self.pick(ask, pool, alive) if alive else None
        if chosen is not None:
            self.served[chosen] += 1
        return chosen

    @abstractmethod
    def pick(self, ask: Ask, pool: Sequence[WorkerView], alive: Sequence[int]) -> int | None:
        """Return one of the indices in `alive`, of which there is at least one, or None to refuse."""

    def least(self, costs: Sequence[float], among: Sequence[int]) -> int:
        """Return the index with the least cost; in a tie the one sent fewest requests, then the first.

        Args:
            costs: of each index in `among`.
            among: indices of workers.
        """
        served, best = self.served, among[0]
        lowest = costs[0]
        for cost, index in zip(costs, among, strict=True):
            if cost < lowest or (cost == lowest and served[index] < served[best]):
                lowest, best = cost, index
        return best
