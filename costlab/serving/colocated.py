"""Equal tasks for all workers: each serves whole requests, which come to them in turn."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle

from costlab.serving.jobs import Job
from costlab.serving.report import LinkUse
from costlab.serving.run import Run
from costlab.serving.simulate import WorkerSpec
from costlab.serving.worker import Worker


class Colocated:
    """Workers that prefill and decode; requests go to each in turn.

    Args:
        specs: of each worker.
    """

    def __init__(self, specs: Sequence[WorkerSpec]) -> None:
        if not specs:
            raise ValueError("specs should name at least one worker")
        self.specs = tuple(specs)
        self.name = f"{len(specs)} co-located workers"

    def open(self, run: Run) -> CoLocatedService:
        """Return the service of a run."""
        return CoLocatedService(self.specs, run)


class CoLocatedService:
    """The workers of a run."""

    def __init__(self, specs: Sequence[WorkerSpec], run: Run) -> None:
        self.run = run
        self.workers = [spec.make(f"worker {i}", run, self) for i, spec in enumerate(specs)]
        self._turns = cycle(self.workers)
        self.failures: dict[str, int] = {}

    def arrive(self, job: Job) -> None:
        """Bring a job to the next worker."""
        worker = next(self._turns)
        reason = worker.refusal(job)
        if reason:
            self.run.reject(job, reason)
        else:
            worker.submit(job)

    def link_uses(self) -> list[LinkUse]:
        """Nothing crosses a link."""
        return []

    def first_token(self, job: Job, worker: Worker) -> None:
        """Nothing to do."""

    def prefilled(self, job: Job, worker: Worker) -> None:
        """Nobody's prompt goes elsewhere."""

    def finished(self, job: Job, worker: Worker) -> None:
        """Write it down."""
        self.run.finish(job)

    def preempted(self, job: Job, worker: Worker) -> None:
        """It waits where it is."""
