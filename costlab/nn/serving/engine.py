"""An engine of several processes: prefill and decode apart, or both in each, over pages in shared memory.

The coordinator, this process, holds the queue, the results and the table of pages; workers compute. A request takes the
pages for its prompt on a prefill worker, and those for prompt and output on a decode worker, before anything is read:
so decode always has room for what arrives. Prefill reads the prompt, emits the first token and is done; the decode
worker copies the pages, and says so; only then do the first pages come home. Where workers do both, a request stays
where it is and nothing moves.

A worker that dies, or is silent for too long, is killed, which ends its reads and writes; then its requests' pages come
home, and they are read again, with what they have emitted, by the process that takes its place. Pages that a dead
prefill worker had finished are copied all the same, since the segments are the coordinator's. A request that was at
work in a worker that died more often than it may be retried has failed.

Outputs are those of one process, token for token, where the model computes in float64: a batch adds in another order
than a single sequence, which changes the last of a logit's 16 digits, and the largest logit leads by far more. Of
float32's 7 digits it changes the last, too, and there now and then two logits differ by no more than that.

>>> from costlab.nn.serving.engine import SEPARATED, Engine
>>> from costlab.nn.serving.requests import TextRequest
>>> from costlab.nn.speculative import load_family
>>> with Engine(load_family().target.double(), SEPARATED) as engine:
...     results = engine.serve([TextRequest(b"import os", 3), TextRequest(b"def ", 600), TextRequest(b"x" * 700, 99)])
>>> [(result.state, len(result.tokens)) for result in results]
[('finished', 3), ('finished', 600), ('rejected', 0)]
>>> engine.moved_bytes, results[2].reason
(159744, '700 + 99 tokens, but the model reads 768')

Chapter: serving
"""

from __future__ import annotations

import time
import weakref
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from typing import Literal

from costlab import checks
from costlab.nn.serving.fleet import Fleet
from costlab.nn.serving.pages import PageShape, PageTable, SharedPages, page_shape
from costlab.nn.serving.requests import END_STATES, OPEN_STATES, RequestState, TextJob, TextRequest, TextResult
from costlab.nn.serving.worker import BEAT_S, Activity, Drop, Note, PullPages, ReadPrompt, WorkerFault, WorkerSetup
from costlab.nn.speculative.model import ByteModel

Role = Literal["prefill", "decode", "both"]
ROLES: tuple[Role, ...] = ("prefill", "decode", "both")
#: One process each; and two that do both, for as many cores.
SEPARATED: tuple[Role, ...] = ("prefill", "decode")
COLOCATED: tuple[Role, ...] = ("both", "both")

AHEAD = 4  # prompts that a worker is handed at most before it has read them


class Engine:
    """Workers and what they share; a context manager, whose end stops the workers and removes the segments.

    It runs while one of its methods does, in the thread of its caller.

    Args:
        model: over bytes, in float32 or float64; each worker has a copy.
        roles: of the workers: some "prefill" and some "decode", or all "both".
        pages: of each worker's pool.
        page_tokens: tokens of a page.
        chunk_tokens: most tokens of a prompt that are read between two decode steps; None: the whole prompt.
        seats: sequences that a worker decodes at once, at most.
        retries: how often a request is read again after a worker died that was at work on it.
        silence_s: seconds after which a worker without a sign of life is taken for dead; longer than any step.
        faults: where workers are to die, for tests.

    Raises:
        ValueError: numbers that are no counts, or roles that leave a request without a worker.
        RuntimeError: a worker that does not start.
    """

    def __init__(
        self,
        model: ByteModel,
        roles: Sequence[Role] = SEPARATED,
        *,
        pages: int = 256,
        page_tokens: int = 16,
        chunk_tokens: int | None = None,
        seats: int = 16,
        retries: int = 1,
        silence_s: float = 60.0,
        faults: Sequence[WorkerFault] = (),
    ) -> None:
        _check(roles)
        pages, page_tokens = checks.count(pages, "pages"), checks.count(page_tokens, "page_tokens")
        seats, retries = checks.count(seats, "seats"), checks.whole(retries, "retries")
        if chunk_tokens is not None:
            chunk_tokens = checks.count(chunk_tokens, "chunk_tokens")
        if retries < 0 or not silence_s > 0:
            raise ValueError(f"retries = {retries} should be at least 0, and silence_s = {silence_s} above it")
        self.context, self.shape = model.size.context, page_shape(model, page_tokens)
        self.apart, self.retries, self.seats = "both" not in roles, retries, seats
        self.table = PageTable([pages] * len(roles))
        self.moved_bytes = 0  # bytes of keys and values copied from worker to worker
        self.activities: list[Activity] | None = None  # what workers did, once a list is put here
        self._readers = [number for number, role in enumerate(roles) if role != "decode"]
        self._decoders = [number for number, role in enumerate(roles) if role != "prefill"]
        self._served = [0] * len(roles)  # requests that each worker was given
        self._queue: deque[TextJob] = deque()
        self._jobs: dict[int, TextJob] = {}  # those that workers hold, by number
        self._results: dict[int, TextJob] = {}  # all whose result nobody has taken yet
        self._ended: Counter[RequestState] = Counter()
        self._submitted = 0
        self._pools = [SharedPages(self.shape, pages) for _ in roles]
        segments = [(pool.name, pages) for pool in self._pools]
        self._fleet = Fleet(_setups(model, roles, segments, self.shape, chunk_tokens, faults), silence_s)
        self._end = weakref.finalize(self, _end, self._fleet, self._pools)  # also at the interpreter's end
        try:
            self._fleet.start()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """End the workers, whatever they do, and remove the segments."""
        self._end()

    # --- requests ------------------------------------------------------------------------------------------------

    def submit(self, request: TextRequest, arrival_s: float | None = None) -> int:
        """Take a request and return its number; one that no worker could ever hold is rejected, and counted so.

        Args:
            request: what to read and how much to emit.
            arrival_s: on the machine's monotonic clock; None: now.
        """
        job = TextJob(self._submitted, request, time.monotonic() if arrival_s is None else arrival_s)
        self._submitted += 1
        self._results[job.number] = job
        prompt, output, room = len(request.prompt), request.output_tokens, self.shape.tokens * self.table.pages
        if prompt + output > self.context:
            self._finish(job, "rejected", f"{prompt} + {output} tokens, but the model reads {self.context}")
        elif job.kept_tokens > room:
            self._finish(job, "rejected", f"{prompt} + {output} tokens, but a worker's pages hold {room}")
        else:
            self._queue.append(job)
        return job.number

    def cancel(self, number: int) -> None:
        """End a request as cancelled, unless it has ended; its pages come home once its worker has let go of them."""
        job = self._results.get(number)
        if job is None or job.state not in OPEN_STATES:
            return
        if job.holder is None:
            self._queue.remove(job)
        else:
            self._fleet.send(job.holder, Drop(number))
        self._finish(job, "cancelled")

    def result(self, number: int) -> TextResult:
        """Return what has become of a request so far.

        Raises:
            KeyError: no such request, or one that has been taken.
        """
        return self._results[number].result

    def take(self, number: int) -> TextResult:
        """Return what has become of a request and forget it.

        Raises:
            KeyError: no such request, or one that has been taken.
            ValueError: a request that has not ended.
        """
        found = self.result(number)
        if found.state in OPEN_STATES:
            raise ValueError(f"request {number} has not ended: {found.state}")
        del self._results[number]
        return found

    def accounts(self) -> Mapping[str, int]:
        """Return how many requests have come, have ended in each way and are in each state: they add up."""
        now = Counter(job.state for job in (*self._queue, *self._jobs.values()))
        counts = {"arrived": self._submitted} | {str(state): self._ended[state] for state in END_STATES}
        return counts | {str(state): now[state] for state in OPEN_STATES}

    @property
    def idle(self) -> bool:
        """Whether nothing waits and no worker holds anything."""
        return not self._queue and not self._jobs

    @property
    def deaths(self) -> Sequence[str]:
        """Which workers died, and of what; each has been replaced."""
        return self._fleet.deaths

    @property
    def processes(self) -> Mapping[str, int]:
        """Process numbers of the workers, by name."""
        return self._fleet.processes

    @property
    def segments(self) -> Sequence[str]:
        """Names of the segments of shared memory, one a worker."""
        return [pool.name for pool in self._pools]

    # --- running -------------------------------------------------------------------------------------------------

    def serve(self, requests: Sequence[TextRequest], limit_s: float = 600.0) -> list[TextResult]:
        """Submit each request at its time, wait for all to end and return their results in order.

        Args:
            requests: any order of times.
            limit_s: seconds after which to give up.

        Raises:
            TimeoutError: requests that have not ended by then.
        """
        start = time.monotonic()
        numbers: dict[int, int] = {}
        waiting = deque(sorted(range(len(requests)), key=lambda each: requests[each].time_s))
        while waiting or not self.idle:
            now = time.monotonic() - start
            if now > limit_s:
                raise TimeoutError(f"after {limit_s:g} s: {dict(self.accounts())}")
            while waiting and requests[waiting[0]].time_s <= now:
                place = waiting.popleft()
                numbers[place] = self.submit(requests[place], start + requests[place].time_s)
            self.step(requests[waiting[0]].time_s - now if waiting else BEAT_S)
        return [self.take(numbers[place]) for place in range(len(requests))]

    def step(self, timeout_s: float = BEAT_S) -> None:
        """Hand out what can be handed out, and hear one note of each worker that has one.

        Args:
            timeout_s: how long to wait for a note.

        Raises:
            RuntimeError: a worker that does not start.
        """
        while self._queue and self._place(self._queue[0]):
            self._hand_out(self._queue.popleft())
        for worker, note in self._fleet.listen(timeout_s):
            if note is None:
                self._rescue_all(worker)
            else:
                self._hear(note)

    # --- handing out ---------------------------------------------------------------------------------------------

    def _place(self, job: TextJob) -> bool:
        """Choose workers and take pages, or return that there is no room; then nothing has been taken."""
        prompt, all_of_it = self.shape.pages(len(job.text)), self.shape.pages(job.kept_tokens)
        held = self._jobs.values()
        ahead = Counter(each.reader for each in held if each.state == "prefill")
        seats = Counter(each.decoder for each in held)

        def can_decode(worker: int) -> bool:
            return seats[worker] < self.seats and self.table.can_take(worker, all_of_it)

        def can_read(worker: int) -> bool:
            return ahead[worker] < AHEAD and (self.table.can_take(worker, prompt) if self.apart else can_decode(worker))

        readers = list(filter(can_read, self._readers))
        moves = self.apart and job.rest > 1
        decoders = list(filter(can_decode, self._decoders)) if moves else readers
        if not readers or not decoders:
            return False
        waiting = {worker: sum(len(e.text) for e in held if e.holder == e.reader == worker) for worker in readers}
        job.reader = job.decoder = self._least(readers, waiting)
        if moves:
            job.decoder = self._least(decoders, seats)
            job.pages = self.table.take(job.decoder, all_of_it, "decode")
        taken = self.table.take(job.reader, prompt if self.apart else all_of_it, "prefill")
        job.source, job.pages = (taken, job.pages) if self.apart else ([], taken)
        return True

    def _least(self, workers: Sequence[int], load: Mapping[int, int]) -> int:
        """Return the worker with the least load, among several that which has been given the fewest requests."""
        found = min(workers, key=lambda worker: (load[worker], self._served[worker]))
        self._served[found] += 1
        return found

    def _hand_out(self, job: TextJob) -> None:
        job.state, job.holder, job.begun = "prefill", job.reader, False
        self._jobs[job.number] = job
        rest = 0 if self.apart else job.rest - 1
        self._fleet.send(job.reader, ReadPrompt(job.number, job.text, job.source or job.pages, rest))

    # --- what workers tell ---------------------------------------------------------------------------------------

    def _hear(self, note: Note) -> None:
        if note.activity and self.activities is not None:
            self.activities.append(note.activity)
        for place, number in enumerate(note.requests):
            job = self._jobs.get(number)
            if job is None:
                continue  # told before the worker heard of its end
            if note.kind == "dropped":
                self._release(job)
            elif job.state != "cancelled":
                self._advance(job, note, place)

    def _advance(self, job: TextJob, note: Note, place: int) -> None:
        if note.kind == "began":
            job.begun = True
        elif note.kind == "moved":
            self.moved_bytes += note.nbytes
            self.table.home(job.reader, job.source)
            job.state, job.source = "decode", []
        elif note.kind == "tokens" and note.activity:
            job.tokens.append(note.tokens[place])
            job.token_s.append(note.activity.end_s)
            if not job.rest:
                self._finish(job, "finished")
                self._release(job)
            elif job.state == "prefill":
                self._go_on(job)

    def _go_on(self, job: TextJob) -> None:
        """A prompt is read: its worker decodes on, or another copies its pages first."""
        if self.apart:
            job.state, job.holder, job.begun = "moving", job.decoder, False
            self.table.hand(job.reader, job.source, "moving")
            self._pull(job)
        else:
            job.state = "decode"
            self.table.hand(job.reader, job.pages, "decode")

    def _pull(self, job: TextJob) -> None:
        held = len(job.text) - 1
        order = PullPages(job.number, job.reader, job.source, job.pages, held, job.text[-1], job.rest)
        self._fleet.send(job.decoder, order)

    def _finish(self, job: TextJob, state: RequestState, reason: str = "") -> None:
        job.state, job.reason = state, reason
        self._ended[state] += 1

    def _release(self, job: TextJob) -> None:
        """Take a request's pages home: nobody touches them any more."""
        self.table.home(job.reader, job.source)
        self.table.home(job.decoder, job.pages)
        self.table.check()
        job.source, job.pages, job.holder = [], [], None
        del self._jobs[job.number]

    # --- after a death -------------------------------------------------------------------------------------------

    def _rescue_all(self, worker: int) -> None:
        for job in [each for each in self._jobs.values() if each.holder == worker]:
            job.tries += job.begun and job.state != "cancelled"
            if job.state == "moving" and job.tries <= self.retries:
                job.begun = False
                self._pull(job)  # its source is whole
            else:
                self._begin_anew(job)

    def _begin_anew(self, job: TextJob) -> None:
        """Put a request back into the queue, in its place, unless it has ended or has been tried often enough."""
        self._release(job)
        if job.tries > self.retries:
            self._finish(job, "failed", f"a worker died at it {job.tries} times, the last as {self.deaths[-1]}")
        elif job.state != "cancelled":
            job.state = "queued"
            self._queue = deque(sorted((*self._queue, job), key=lambda each: each.number))


def _check(roles: Sequence[Role]) -> None:
    for role in roles:
        checks.one_of(ROLES, role, "role")
    if set(roles) not in ({"both"}, {"prefill", "decode"}):
        raise ValueError(f"roles {list(roles)} should be some 'prefill' and some 'decode', or all 'both'")


def _setups(
    model: ByteModel,
    roles: Sequence[Role],
    segments: Sequence[tuple[str, int]],
    shape: PageShape,
    chunk_tokens: int | None,
    faults: Sequence[WorkerFault],
) -> list[WorkerSetup]:
    """Return what each worker is started with."""
    names = [f"{role} {roles[:number].count(role)}" for number, role in enumerate(roles)]
    weights = {name: each.numpy() for name, each in model.state_dict().items()}
    common = (segments, shape, model.size, weights, chunk_tokens)
    return [
        WorkerSetup(name, number, *common, [fault for fault in faults if fault.worker == name])
        for number, name in enumerate(names)
    ]


def _end(fleet: Fleet, pools: Sequence[SharedPages]) -> None:
    fleet.close()
    for pool in pools:
        pool.close()
