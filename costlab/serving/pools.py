"""Pools of workers: what they are made of, what a router sees of each, and who waits for whom."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Literal

from costlab import checks
from costlab.checks import count
from costlab.serving.jobs import Job
from costlab.serving.links import SharedLink, Transfer
from costlab.serving.routing import ROUTERS, Aged, Ask, RequestRouter, RouterMaker
from costlab.serving.run import Run
from costlab.serving.simulation import WorkerSpec
from costlab.serving.worker import Owner, Worker

#: Workers of a pool at most: each takes memory and time to make.
LARGEST_POOL = 65_536


@dataclass(frozen=True)
class WorkerPool:
    """Workers of one make behind one router.

    Raises:
        ValueError: no worker or more than `LARGEST_POOL`, an age that is negative or endless, an unknown router.
    """

    spec: WorkerSpec  # of each worker
    workers: int = 1  # how many
    # a name of `routing.ROUTERS`, or what makes a router from a Generator; None: the fewest pending tokens where
    # prompts are read, the fewest requests where they are only decoded
    router: str | RouterMaker | None = None
    age_s: float = 0.0  # seconds between two looks of the router at the workers; 0: it always knows

    def __post_init__(self) -> None:
        if count(self.workers, "workers") > LARGEST_POOL:
            raise ValueError(f"workers = {self.workers} should be at most {LARGEST_POOL:,}")
        Aged([], self.age_s)
        self.router_maker()

    def router_maker(self, default: str = "least pending tokens") -> RouterMaker:
        """Return what makes its router, or the one of the name `default` where none is given.

        Raises:
            ValueError: a name that is not known.
        """
        router = self.router or default
        return checks.pick(ROUTERS, router, "router") if isinstance(router, str) else router

    @property
    def chips(self) -> int:
        """Chips of all workers."""
        return self.workers * self.spec.chips


#: What makes somebody lose patience: the user leaves, the first token is late, or the last one is.
Ending = Literal["leaves", "first late", "last late"]


class Wire:
    """A link of a run: what crosses it, and what keeps it from working."""

    def __init__(self, end: Station | None, shared: SharedLink) -> None:
        self.end, self.shared = end, shared  # the end whose transfers share it; None: all do
        self.lost: list[Job] = []  # whose transfers broke, which nobody has noticed yet
        self.due = 0  # number of the event at which something happens on it
        self.outages = 0  # that keep it down
        self.transfers = self.failed = 0

    @property
    def name(self) -> str:
        """What reports call it."""
        return "prefill to decode" if self.end is None else f"link of {self.end.worker.name}"


class Trip:
    """Where a job is on its way through the pools, beside what the workers know."""

    prefill: Station | None = None  # who reads its prompt
    decode: Station | None = None  # who goes on with it
    at_prefill = False  # whether the first has it
    at_decode = False  # whether the second has blocks for it, or has it
    transfer: Transfer | None = None
    wire: Wire | None = None  # on which it crosses, or was meant to
    sent_tokens = 0  # tokens that the second has, or that were posted to it
    promised = 0  # tokens that the first is told to expect
    arrived = False  # whether all has crossed
    whole = False  # whether the first goes on with it too
    tries = 0  # that have failed


class Station:
    """One worker of a pool, as routers and the layout see it (`WorkerView`)."""

    def __init__(self, worker: Worker, pool: RunningPool, index: int) -> None:
        self.worker, self.pool, self.index = worker, pool, index
        self.requests = 0  # sent there and not done
        self.promised_tokens = 0  # of prompts that will come once decode has room for them
        self.waiting: deque[Job] = deque()  # for blocks here, in order
        self.granting = False  # whether blocks are being given to them, at this moment
        self.lost: list[Job] = []  # that were here when it died, or came since, which nobody has noticed yet
        self.works = True  # whether it is believed to work
        self.linked = True  # whether its link is believed to
        self.borrowed = False  # whether it does the other pool's work too
        self.foreign = 0  # jobs that it has from beginning to end
        self.outages = 0  # that keep it down

    @property
    def alive(self) -> bool:
        """Whether it gets requests: it works, and its link does, if any link of the pool does."""
        return self.works and (self.linked or not any(other.linked for other in self.pool.stations))

    @property
    def queued(self) -> int:
        """Requests that wait here."""
        return self.worker.queued + len(self.waiting)

    @property
    def pending_tokens(self) -> int:
        """Prompt tokens to read here, promised ones among them."""
        return self.worker.pending_tokens + self.promised_tokens

    @property
    def kv_blocks(self) -> int:
        """Blocks that somebody holds."""
        return self.worker.kv_blocks

    @property
    def kv_share(self) -> float:
        """The same as a share of all."""
        return self.worker.kv_share

    @property
    def pending_s(self) -> float:
        """Predicted seconds of the prefills ahead."""
        return self.worker.pending_s

    @property
    def tree_tokens(self) -> int:
        """Tokens of cached prefixes."""
        cache = self.worker.cache
        return 0 if cache is None else cache.full.pools[0].pages * cache.page_tokens

    def has_room(self, job: Job, growth_tokens: int) -> bool:
        """Say whether a job finds blocks here beside what those that are here need before long.

        Those in the queue come first with what they lack; each that is here may grow by `growth_tokens`.
        """
        worker, ranks, here = self.worker, self.worker.ranks, len(self.worker.awaiting)
        for rank in ranks:
            here += len(rank.running) + len(rank.waiting)
        spare = -(-here * ranks[0].blocks.needed(growth_tokens) // len(ranks))
        for rank in ranks:
            for other in rank.waiting:
                spare += rank.blocks.lacking(other, other.known + 1)
                if spare > rank.blocks.free:
                    return False
        return worker.can_reserve(job, spare)


class RunningPool:
    """The workers of a pool in a run, and its router."""

    def __init__(self, name: str, pool: WorkerPool, run: Run, owner: Owner, router: str) -> None:
        self.name, self.run = name, run
        named = (f"{name} {index}" for index in range(pool.workers))
        self.stations = [Station(pool.spec.make(n, run, owner, name), self, i) for i, n in enumerate(named)]
        self.router: RequestRouter = pool.router_maker(router)(run.rng)
        self._seen = Aged(self.stations, pool.age_s)

    def choose(self, job: Job) -> Station | None:
        """Return the station that gets a job; None where none is alive, or the router refuses."""
        router, stations = self.router, self.stations
        if not router.looks_at_prefixes:
            if len(stations) == 1:
                return stations[0] if stations[0].alive else None
            matched: list[int] = []
        else:
            matched = [station.worker.cached_tokens(job) for station in stations]
        now = self.run.now
        chosen = router.choose(Ask(now, job.known, matched), self._seen.at(now))
        return None if chosen is None else stations[chosen]
