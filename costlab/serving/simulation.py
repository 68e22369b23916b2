"""Send requests through a service, and report what became of them.

>>> from costlab import traces
>>> from costlab.roofline.mixed import StepCost
>>> from costlab.serving import VllmV1, WorkerPool, WorkerSpec, colocated, simulate
>>> spec = WorkerSpec(StepCost.linear(0.01, token_s=1e-5, context_s=1e-8), VllmV1(), kv_tokens=100_000)
>>> done = simulate([traces.Request(t / 10, 1000, 50, ()) for t in range(20)], colocated(WorkerPool(spec, 2)))
>>> done.accounts.finished
20

Chapter: serving
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from costlab.cache import PrefixCache
from costlab.checks import count
from costlab.roofline import Deployment, kv_room, step_cost
from costlab.roofline.mixed import StepCost
from costlab.serving.jobs import Job, State
from costlab.serving.recorder import Recorder
from costlab.serving.report import LinkUse, ServingReport
from costlab.serving.run import LONGEST_S, Run
from costlab.serving.schedulers import Scheduler
from costlab.serving.use import pool_uses
from costlab.serving.worker import Owner, RankChoice, Worker
from costlab.traces import Request


@dataclass(frozen=True)
class WorkerSpec:
    """What a worker is made of; each run makes its own.

    Raises:
        ValueError: sizes that are no counts, or a memory smaller than a block.
    """

    cost: StepCost  # seconds of a step
    scheduler: Scheduler  # who is in it
    kv_tokens: int  # tokens that the memory of each rank holds, in whole blocks
    block_tokens: int = 16  # tokens of a block
    ranks: int = 1  # data-parallel replicas that step together
    choose_rank: RankChoice = "tokens"  # how jobs are given to them: to the fewest tokens, or in turns
    cache: Callable[[], PrefixCache] | None = None  # makes the prefix cache
    chips: int = 1  # of all ranks together

    def __post_init__(self) -> None:
        if count(self.kv_tokens, "kv_tokens") < count(self.block_tokens, "block_tokens"):
            raise ValueError(f"kv_tokens = {self.kv_tokens} should be at least a block of {self.block_tokens}")

    @classmethod
    def of(
        cls,
        deployment: Deployment,
        scheduler: Scheduler,
        block_tokens: int = 16,
        cache: Callable[[], PrefixCache] | None = None,
    ) -> WorkerSpec:
        """Return a worker that is a deployment: its step times, its replicas as ranks, the memory beside its weights.

        What each sequence keeps, however short, is set aside for the most that the scheduler runs, as far as it fits.

        Raises:
            ValueError: weights that do not fit, or leave less than a block; the message names the bytes or tokens.
        """
        room = kv_room(deployment)
        tokens = room.tokens(min(scheduler.max_running, room.sequences(block_tokens)))
        if tokens < block_tokens:
            where = f"{deployment.model.key} on {deployment.chips} x {deployment.chip.name}"
            short = f"{tokens:,} tokens of cache, less than a block of {block_tokens:,}"
            raise ValueError(f"{where} leaves room for {short}")
        cost, replicas = step_cost(deployment), deployment.replicas
        return cls(cost, scheduler, tokens, block_tokens, replicas, cache=cache, chips=deployment.chips)

    def make(self, name: str, run: Run, owner: Owner, pool: str = "workers") -> Worker:
        """Return a worker of a run, which the report counts to a pool."""
        return Worker(
            name,
            self.cost,
            self.scheduler,
            self.kv_tokens // self.block_tokens,
            self.block_tokens,
            events=run.events,
            owner=owner,
            recorder=run.recorder,
            ranks=self.ranks,
            choose_rank=self.choose_rank,
            cache=self.cache and self.cache(),
            jumps=run.jumps,
            pool=pool,
            chips=self.chips,
        )


class RunningService(Protocol):
    """A layout that runs: its workers, and what it does with a request that arrives."""

    @property
    def workers(self) -> Sequence[Worker]:
        """All workers."""

    @property
    def failures(self) -> Mapping[str, int]:
        """What users saw go wrong, by what they saw."""

    def arrive(self, job: Job) -> None:
        """Bring a job to a worker, or reject it."""

    def link_uses(self) -> Sequence[LinkUse]:
        """Return what each link has carried."""


class ServiceLayout(Protocol):
    """What serves: a description, of which each run makes a service."""

    @property
    def name(self) -> str:
        """What serves, in words."""

    def open(self, run: Run) -> RunningService:
        """Return the service of a run."""


class WaitingUsers(Protocol):
    """Users who wait for their answers before they ask again, such as `traces.arrivals.ClosedLoop`."""

    def starts(self) -> Iterable[Request]:
        """Return each user's first request, in order of time."""

    def ended(self, request: Request, now_s: float) -> Request | None:
        """Return what the user asks next whose request has come to its end; None if nothing."""


def simulate(
    requests: Iterable[Request] | WaitingUsers,
    layout: ServiceLayout,
    *,
    recorder: Recorder | None = None,
    jumps: bool = True,
    seed: int = 0,
    until_s: float = math.inf,
) -> ServingReport:
    """Send requests through a layout until all are at their end, and return the report.

    Args:
        requests: in order of time, of which one is read ahead; or users who wait for their answers.
        layout: what serves.
        recorder: objective, warm-up, classes, and whether to keep records; None: the plain one.
        jumps: False takes every decode step by itself; the results are the same up to rounding, and to the order in
            which two workers end a step at exactly the same time.
        seed: of all that is drawn.
        until_s: when to stop, whoever is under way; a run that is over before ends with its last event.

    Raises:
        ValueError: no request at all, one out of order, numbers that are none, or a run of more than `LONGEST_S`.
        RuntimeError: a layout that leaves requests waiting for nothing.
    """
    if not until_s > 0:
        raise ValueError(f"until_s = {until_s} should be a number of seconds above 0")
    run = Run(recorder or Recorder(), jumps, np.random.default_rng(seed))
    service = layout.open(run)
    cut = False
    for request in requests if isinstance(requests, Iterable) else _started(requests, run, service):
        if request.time_s > until_s:
            cut = True
            break
        run.events.run_before(request.time_s)
        service.arrive(run.arrive(request))
    run.events.run_before(until_s, stay=not cut)
    if run.live and until_s == math.inf:
        first = next(iter(run.live))
        raise RuntimeError(
            f"{len(run.live)} requests are under way and nothing is due: request {first.serial}, {first.state}, the "
            f"first; the layout {layout.name!r} leaves them waiting"
        )
    return _report(run, layout, service)


def _started(users: WaitingUsers, run: Run, service: RunningService) -> Iterable[Request]:
    """Return the users' first requests, and let each later one come when its user asks."""

    def follow(job: Job) -> None:
        following = users.ended(job.request, run.now)
        if following is not None:
            run.events.at(following.time_s, lambda: service.arrive(run.arrive(following)))

    run.after_end = follow
    return users.starts()


def _report(run: Run, layout: ServiceLayout, service: RunningService) -> ServingReport:
    """Return the report of a run as it stands."""
    if run.now > LONGEST_S:
        raise ValueError(f"the run lasts {run.now:.3g} s, and should last {LONGEST_S:g} s at most: what is so slow?")
    return run.recorder.report(
        layout.name,
        run.now,
        queued=run.among(State.QUEUED),
        running=run.among(State.RUNNING),
        moving=run.among(State.MOVING),
        pools=pool_uses(service.workers),
        links=service.link_uses(),
        failures=service.failures,
        unfinished_tokens=sum(job.generated for job in run.live),
    )
