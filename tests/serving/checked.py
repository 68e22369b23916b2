"""A small service for tests of the simulator: all accounts are checked after every event."""

from collections import Counter
from dataclasses import dataclass, field

from costlab import traces
from costlab.serving.events import Events
from costlab.serving.jobs import State
from costlab.serving.recorder import Recorder
from costlab.serving.run import Run


class CheckedEvents(Events):
    """Calls `check` after each event."""

    check = None

    def at(self, time_s, action, last=False):
        def checked():
            action()
            self.check()

        return super().at(time_s, checked, last)


@dataclass
class Service:
    """Workers of which each request goes to the next; some are prefilled by the first and moved, some are cancelled."""

    run: Run
    workers: list
    move_s: float | None = None  # seconds of a transfer from the first worker to the next; None: nothing moves
    finishes: int = 0  # jobs whose last token is there
    first_tokens: Counter = field(default_factory=Counter)
    jobs: list = field(default_factory=list)

    def arrive(self, job):
        self.jobs.append(job)
        moves = self.move_s is not None and job.serial % 3 == 0 and job.request.output_tokens > 1
        worker = self.workers[0] if moves else self.workers[job.serial % len(self.workers)]
        reason = worker.refusal(job)
        if reason:
            self.run.reject(job, reason)
            return
        job.prefill_only = moves
        worker.submit(job)

    def prefilled(self, job, worker):
        other = self.workers[-1]
        job.state = State.MOVING
        job.prefill_only = False
        if other is worker or other.refusal(job):
            worker.release(job)
            self.run.reject(job, "nowhere to go")
        elif other.can_reserve(job):
            other.reserve(job)
            self.run.events.at(self.run.now + self.move_s, lambda: self.arrived(job, worker, other))
        else:
            self.run.events.at(self.run.now + 0.0173, lambda: job in self.run.live and self.prefilled(job, worker))

    def arrived(self, job, worker, other):
        if job in self.run.live:
            worker.release(job)
            other.submit(job)

    def cancel(self, serial):
        job = self.jobs[serial] if serial < len(self.jobs) else None
        if job in self.run.live:
            for worker in self.workers:
                if job in worker.jobs:
                    worker.take(job)
            self.run.cancel(job)

    def first_token(self, job, worker):
        self.first_tokens[job] += 1

    def finished(self, job, worker):
        self.finishes += 1
        self.run.finish(job)

    def preempted(self, job, worker):
        assert job in worker.jobs

    def check(self):
        """Assert that every request is in one place, and that all sums are those of the jobs."""
        run = self.run
        where = Counter()
        for worker in self.workers:
            assert sum(rank.awaited_tokens for rank in worker.ranks) == sum(worker.awaiting.values())
            for rank in worker.ranks:
                rank.check()
                where[State.QUEUED] += len(rank.waiting)
                where[State.RUNNING] += len(rank.running)
                arrived = [job for job in rank.waiting if job.computed]  # with their cache
                holders = {*rank.running, *worker.awaiting, *worker.prefilled, *arrived}
                assert set(rank.blocks.holders) <= holders, "somebody who is not there has blocks"
        where[State.MOVING] = len({job for worker in self.workers for job in (*worker.awaiting, *worker.prefilled)})
        recorder = run.recorder
        assert Counter(job.state for job in run.live) == +where
        ended = self.finishes + sum(recorder.rejected.values()) + recorder.cancelled + recorder.expired
        assert recorder.arrived == ended + sum(where.values())


def opened(run, *specs, move_s=None):
    """A `Service` of a run, with a worker of each spec."""
    service = Service(run, [], move_s)
    service.workers = [spec.make(f"worker {i}", run, service) for i, spec in enumerate(specs)]
    return service


def serve(requests, specs, *, jumps=True, cancels=(), move_s=None, check=True, records=True):
    """Run requests through a `Service` and return it and its report; `cancels` are (seconds, serial)."""
    run = Run(Recorder(records=records), jumps)
    run.events = CheckedEvents() if check else Events()
    service = opened(run, *specs, move_s=move_s)
    if check:
        run.events.check = service.check
    for time_s, serial in cancels:
        run.events.at(time_s, lambda serial=serial: service.cancel(serial))
    for request in requests:
        run.events.run_before(request.time_s)
        service.arrive(run.arrive(request))
    run.events.run_before(float("inf"))
    return service, run.recorder.report("test", run.now)


def ask(time_s, given, asked, blocks=()):
    """A request."""
    return traces.Request(time_s, given, asked, blocks)
