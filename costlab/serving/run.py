"""A run: the clock, the requests that are under way, and who writes down what becomes of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import numpy as np

from costlab.serving.events import Events
from costlab.serving.jobs import Job, State
from costlab.serving.recorder import Recorder
from costlab.traces import Request

#: Seconds that a run lasts at most, 300 years: beyond, floating-point times lie further apart than steps may be short.
LONGEST_S = 1e10


class Run:
    """What all parts of a simulated service share.

    Args:
        recorder: who writes down what happens.
        jumps: whether workers sum alike steps in closed form.
        rng: for routers and failures.
    """

    def __init__(self, recorder: Recorder, jumps: bool = True, rng: np.random.Generator | None = None) -> None:
        self.recorder, self.jumps = recorder, jumps
        self.rng = rng or np.random.default_rng(0)
        self._kind = recorder.classes.index if recorder.classes else lambda request: 0
        self.events = Events()
        self.live: dict[Job, None] = {}  # have arrived and are not at their end
        #: Told of each job that has come to its end: a source whose users wait for their answers.
        self.after_end: Callable[[Job], None] | None = None
        self._latest_s = 0.0

    @property
    def now(self) -> float:
        """Seconds since the run began."""
        return self.events.now

    def arrive(self, request: Request) -> Job:
        """Take in a request, now.

        Raises:
            ValueError: a request out of order, or with numbers that are none, named by its place.
        """
        serial = self.recorder.arrived
        if not self._latest_s <= request.time_s < math.inf:
            raise ValueError(
                f"request {serial}: time_s = {request.time_s} should be a number, not before {self._latest_s}, when "
                "the request before it came: sort the trace by time"
            )
        if request.time_s > LONGEST_S:
            raise ValueError(f"request {serial}: time_s = {request.time_s:g} should be at most {LONGEST_S:g} s")
        given, asked = request.input_tokens, request.output_tokens
        if type(given) is not int or type(asked) is not int or given < 1 or asked < 0:
            what, tokens, least = ("output", asked, 0) if type(given) is int and given >= 1 else ("input", given, 1)
            raise ValueError(
                f"request {serial}: {what}_tokens = {tokens!r} should be a whole number of at least {least}"
            )
        self._latest_s = request.time_s
        job = Job(request, serial)
        self.live[job] = None
        self.recorder.arrive(request.time_s)
        return job

    def finish(self, job: Job) -> None:
        """Write down that a job's last token is there."""
        self._end(job, State.FINISHED)
        request = job.request
        worst_s = job.worst_gap_s if request.output_tokens > 1 else math.nan
        self.recorder.finish(
            request.time_s,
            job.first_s,
            job.last_s,
            request.input_tokens,
            request.output_tokens,
            worst_s,
            self._kind(request),
        )

    def reject(self, job: Job, reason: str) -> None:
        """Write down that a job is refused or given up."""
        self._end(job, State.REJECTED)
        self.recorder.reject(reason, job.request.time_s, self.now, _first(job), job.generated, self._kind(job.request))

    def cancel(self, job: Job) -> None:
        """Write down that a job's user has left; whoever has the job takes it from its worker."""
        self._end(job, State.CANCELLED)
        self.recorder.cancel(job.request.time_s, self.now, _first(job), job.generated)

    def expire(self, job: Job) -> None:
        """Write down that a job's deadline has passed; whoever has the job takes it from its worker."""
        self._end(job, State.EXPIRED)
        self.recorder.expire(job.request.time_s, self.now, _first(job), job.generated, self._kind(job.request))

    def _end(self, job: Job, state: State) -> None:
        del self.live[job]
        job.state, job.finished_s = state, self.now
        if self.after_end:
            self.after_end(job)

    def among(self, state: State) -> Iterable[tuple[float, float | None]]:
        """Return arrival and first token of the jobs in a state that are not at their end."""
        return [(job.request.time_s, _first(job)) for job in self.live if job.state == state]


def _first(job: Job) -> float | None:
    """When a job's first token was there; None if it is not."""
    return None if math.isnan(job.first_s) else job.first_s
