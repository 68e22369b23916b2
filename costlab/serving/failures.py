"""What goes wrong, when, and what the service does about it.

An outage takes a worker, a node or a link out at a time, and perhaps brings it back. Until it is noticed, requests
still go there and those that were there wait. Then each is tried again elsewhere, as often as the budget allows: from
the tokens that the user has, who sees a gap; or from the start, who sees the answer begin anew; or not at all, and the
user sees an error.

>>> from costlab.serving.failures import Outage, Recovery
>>> Outage("worker", at_s=30.0, pool="decode", index=1, repair_s=60.0).back_s
90.0
>>> Recovery(detection_s=2.0, retries=1).after_loss(tries=2)
'error'

Chapter: serving
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from costlab import checks
from costlab.checks import count, whole

#: What can go out.
OutageKind = Literal["worker", "node", "link"]
OUTAGE_KINDS: tuple[OutageKind, ...] = ("worker", "node", "link")

#: What a user sees of a failure: the answer pauses and goes on, begins anew, or ends in an error.
Seen = Literal["gap", "restart", "error"]


@dataclass(frozen=True)
class Outage:
    """One thing that stops working at a time.

    Raises:
        ValueError: an unknown kind, a time that is negative or endless, a repair that takes no time, a negative index.
    """

    what: OutageKind  # a worker, a node with all its workers, or the link that leaves a worker
    at_s: float  # when, in seconds from the trace's beginning
    pool: str = ""  # name of the pool; empty: the layout's first
    index: int = 0  # of the worker in its pool, or of the node
    repair_s: float = math.inf  # seconds until it works again; infinity: never

    def __post_init__(self) -> None:
        checks.one_of(OUTAGE_KINDS, self.what, "kind of outage")
        if not 0 <= self.at_s < math.inf:
            raise ValueError(f"at_s = {self.at_s} should be a finite number of at least 0")
        if not self.repair_s > 0:
            raise ValueError(f"repair_s = {self.repair_s} should be above 0")
        if whole(self.index, "index") < 0:
            raise ValueError(f"index = {self.index} should not be negative")

    @property
    def back_s(self) -> float:
        """When it works again; infinity: never."""
        return self.at_s + self.repair_s


@dataclass(frozen=True)
class OutageRate:
    """Outages of every worker (node, link) of a pool, each at random times that do not depend on one another.

    Raises:
        ValueError: an unknown kind, or times that are not above 0 and finite.
    """

    what: OutageKind  # a worker, a node with all its workers, or the link that leaves a worker
    mean_s: float  # mean seconds between the repair and the next outage of one of them
    repair_s: float  # seconds until one works again
    pool: str = ""  # name of the pool; empty: the layout's first

    def __post_init__(self) -> None:
        checks.one_of(OUTAGE_KINDS, self.what, "kind of outage")
        for name in ("mean_s", "repair_s"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} = {getattr(self, name)} should be a finite number above 0")

    def outages(self, index: int, rng: np.random.Generator) -> Iterator[Outage]:
        """Yield the outages of one of them for ever, exponentially spaced."""
        now = float(rng.exponential(self.mean_s))
        while True:
            yield Outage(self.what, now, self.pool, index, self.repair_s)
            now += self.repair_s + float(rng.exponential(self.mean_s))


@dataclass(frozen=True)
class Recovery:
    """How a service gets over a loss.

    Raises:
        ValueError: a detection that is negative or endless, a negative number of retries, a share outside 0 to 1.
    """

    detection_s: float = 1.0  # seconds from an outage until it is noticed
    retries: int = 1  # how often a request is tried again
    resume: bool = True  # go on from the tokens that the user has; False: begin the answer anew
    transfer_loss: float = 0.0  # share of transfers that fail at their end, drawn at random

    def __post_init__(self) -> None:
        if not 0 <= self.detection_s < math.inf:
            raise ValueError(f"detection_s = {self.detection_s} should be a finite number of at least 0")
        if whole(self.retries, "retries") < 0:
            raise ValueError(f"retries = {self.retries} should not be negative")
        if not 0 <= self.transfer_loss <= 1:
            raise ValueError(f"transfer_loss = {self.transfer_loss} should be from 0 to 1")

    def after_loss(self, tries: int) -> Seen:
        """Return what becomes of a request that has been tried so many times, the lost one among them."""
        if count(tries, "tries") > self.retries:
            return "error"
        return "gap" if self.resume else "restart"


@dataclass(frozen=True)
class Patience:
    """How long users and the service wait for an answer.

    Raises:
        ValueError: times that are not above 0.
    """

    leave_s: float = math.inf  # mean seconds after which a user leaves, exponential; infinity: never
    first_by_s: float = math.inf  # seconds from arrival in which the first token has to be there
    done_by_s: float = math.inf  # the same for the last token

    def __post_init__(self) -> None:
        for name in ("leave_s", "first_by_s", "done_by_s"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} = {getattr(self, name)} should be above 0")


@dataclass(frozen=True)
class Failures:
    """All that goes wrong in a run, and what is done about it; the same seed gives the same failures.

    Raises:
        ValueError: a node without workers, or a negative seed.
    """

    outages: Sequence[Outage] = ()  # at given times
    rates: Sequence[OutageRate] = ()  # at random times
    recovery: Recovery = field(default_factory=Recovery)  # what the service does
    patience: Patience = field(default_factory=Patience)  # how long anybody waits
    workers_per_node: int = 1  # workers of a pool that go out together with their node
    seed: int = 0  # of all that is drawn

    def __post_init__(self) -> None:
        count(self.workers_per_node, "workers_per_node")
        if whole(self.seed, "seed") < 0:
            raise ValueError(f"seed = {self.seed} should not be negative")

    @property
    def any(self) -> bool:
        """Whether anything goes out."""
        return bool(self.outages or self.rates)

    def check(self, workers: Mapping[str, int], linked: bool) -> None:
        """Refuse outages of what a layout does not have.

        Args:
            workers: how many each pool has, by its name.
            linked: whether there is a link.

        Raises:
            ValueError: quoting the first such outage.
        """
        expected: list[Outage | OutageRate] = [*self.outages, *self.rates]
        for outage in expected:
            if outage.pool and outage.pool not in workers:
                raise ValueError(f"{outage}: {checks.unknown('pool', outage.pool, workers)}")
            if outage.what == "link" and not linked:
                raise ValueError(f"{outage}: co-located workers have no link")
            there = workers[outage.pool or next(iter(workers))]
            there = -(-there // self.workers_per_node) if outage.what == "node" else there
            if isinstance(outage, Outage) and outage.index >= there:
                raise ValueError(f"{outage}: index should be below {there}")
