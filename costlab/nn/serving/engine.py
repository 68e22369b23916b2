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

>>> from costlab.nn.serving.engine import SEPARATED, Engine, TextRequest
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

import contextlib
import multiprocessing
import time
import weakref
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from multiprocessing.connection import wait
from typing import Any, Literal

from costlab import checks
from costlab.nn.processes import start_method
from costlab.nn.serving.pages import PageTable, SharedPages, page_shape
from costlab.nn.serving.worker import Activity, Drop, Fault, Note, PullPages, ReadPrompt, WorkerSetup, work
from costlab.nn.speculative.model import ByteModel

Role = Literal["prefill", "decode", "both"]
#: One process each; and two that do both, for as many cores.
SEPARATED: tuple[Role, ...] = ("prefill", "decode")
COLOCATED: tuple[Role, ...] = ("both", "both")

RequestState = Literal["queued", "prefill", "moving", "decode", "finished", "rejected", "cancelled", "failed"]
_OPEN = ("queued", "prefill", "moving", "decode")

START_S = 300.0  # a process that is not ready by then never will be
STARTS = 3  # processes in a row that may end before they are ready
AHEAD = 4  # prompts that a worker is handed at most before it has read them
BEAT_S = 0.5  # seconds between the signs of life of a worker that has nothing to do


_NOT_STARTED = """worker {!r} does not start ({}); a script should make its engine behind \
`if __name__ == "__main__":`"""


@dataclass(frozen=True)
class TextRequest:
    """A prompt, and how much is to follow it.

    Raises:
        ValueError: an empty prompt, no output, or a time that is negative or no number.
    """

    prompt: bytes  # for a model over bytes
    output_tokens: int  # to emit, the likeliest byte each time
    time_s: float = 0.0  # of its arrival, seconds after the others' start

    def __post_init__(self) -> None:
        if not self.prompt:
            raise ValueError("a prompt needs at least one byte, got b''")
        checks.count(self.output_tokens, "output_tokens")
        if not 0 <= self.time_s < float("inf"):
            raise ValueError(f"time_s = {self.time_s} should be a number of seconds, 0 or more")


@dataclass(frozen=True)
class TextResult:
    """What became of a request."""

    state: RequestState  # at the moment of asking
    tokens: bytes  # emitted so far
    token_s: tuple[float, ...]  # when each was, in seconds after the request's arrival
    tries: int  # how often a worker died that was at work on it
    reason: str  # why it was rejected or failed; else empty

    @property
    def ttft_s(self) -> float:
        """Seconds from arrival to the first token, which prefill emits; NaN without one."""
        return self.token_s[0] if self.token_s else float("nan")

    @property
    def gaps_s(self) -> tuple[float, ...]:
        """Seconds between tokens: one fewer than there are tokens."""
        return tuple(after - before for before, after in pairwise(self.token_s))


@dataclass
class _Job:
    """A request on its way. Its pages are touched by its holder alone."""

    number: int
    request: TextRequest
    arrival_s: float
    state: RequestState = "queued"
    reason: str = ""
    tokens: bytearray = field(default_factory=bytearray)
    token_s: list[float] = field(default_factory=list)
    tries: int = 0
    holder: _Handle | None = None
    reader: int = 0  # worker that reads the prompt
    decoder: int = 0  # worker that decodes
    source: list[int] = field(default_factory=list)  # pages of the reader's pool, only where another decodes
    pages: list[int] = field(default_factory=list)  # of the decoder's pool
    begun: bool = False  # whether the holder is at work on it

    @property
    def text(self) -> bytes:
        """What is to be read before the next token: after a worker's death the tokens emitted before it, too."""
        return self.request.prompt + bytes(self.tokens)

    @property
    def rest(self) -> int:
        return self.request.output_tokens - len(self.tokens)

    @property
    def kept(self) -> int:
        """Tokens whose keys and values are kept in the end: all but the last one emitted."""
        return len(self.request.prompt) + self.request.output_tokens - 1


@dataclass(eq=False)
class _Handle:
    """A worker as the coordinator sees it."""

    number: int
    role: Role
    name: str
    process: Any = None  # both are there once it is started
    connection: Any = None
    life: int = 0  # processes before this one
    stillborn: int = 0  # processes in a row that ended before they were ready
    ready: bool = False
    heard_s: float = 0.0
    words: str = ""  # its last, if it told an error
    served: int = 0  # requests it was given, for ties


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
        faults: Sequence[Fault] = (),
    ) -> None:
        _check_roles(roles)
        for value, what in ((pages, "pages"), (page_tokens, "page_tokens"), (seats, "seats")):
            checks.count(value, what)
        if chunk_tokens is not None:
            checks.count(chunk_tokens, "chunk_tokens")
        if checks.whole(retries, "retries") < 0 or not silence_s > 0:
            raise ValueError(f"retries = {retries} should be at least 0, and silence_s = {silence_s} more")
        self.context, self.shape = model.size.context, page_shape(model, page_tokens)
        self.retries, self.seats, self.silence_s, self.faults = retries, seats, silence_s, faults
        self.table = PageTable([pages] * len(roles))
        self.moved_bytes = 0  # bytes of keys and values copied from worker to worker
        self.deaths: list[str] = []  # which workers died, and of what; each has been replaced
        self.activities: list[Activity] | None = None  # what workers did, where a list is put here
        self._queue: deque[_Job] = deque()
        self._jobs: dict[int, _Job] = {}  # those that workers hold, by number
        self._results: dict[int, _Job] = {}  # all whose result nobody has taken yet
        self._ended: Counter[str] = Counter()
        self._submitted = 0
        names = _names(roles)
        self._workers = [_Handle(number, role, names[number]) for number, role in enumerate(roles)]
        self._pools = [SharedPages(self.shape, pages) for _ in roles]
        self._end = weakref.finalize(self, _end, self._workers, self._pools)  # also at the interpreter's end
        weights = {name: each.numpy() for name, each in model.state_dict().items()}
        self._setup: dict[str, Any] = {"shape": self.shape, "size": model.size, "weights": weights, "beat_s": BEAT_S}
        self._setup |= {"segments": [(name, pages) for name in self.segments], "chunk_tokens": chunk_tokens}
        try:
            for worker in self._workers:
                self._start(worker)
            while not all(worker.ready for worker in self._workers):
                self.step()
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
        job = _Job(self._submitted, request, time.monotonic() if arrival_s is None else arrival_s)
        self._submitted += 1
        self._results[job.number] = job
        prompt, output, room = len(request.prompt), request.output_tokens, self.shape.tokens * self.table.pages
        if prompt + output > self.context:
            self._finish(job, "rejected", f"{prompt} + {output} tokens, but the model reads {self.context}")
        elif job.kept > room:
            self._finish(job, "rejected", f"{prompt} + {output} tokens, but a worker's pages hold {room}")
        else:
            self._queue.append(job)
        return job.number

    def cancel(self, number: int) -> None:
        """End a request as cancelled, unless it has ended; its pages come home once its worker has let go of them."""
        job = self._results.get(number)
        if job is None or job.state not in _OPEN:
            return
        if job.holder is None:
            self._queue.remove(job)
        else:
            _send(job.holder, Drop(number))
        self._finish(job, "cancelled")

    def take(self, number: int) -> TextResult:
        """Return what has become of a request and forget it.

        Raises:
            KeyError: no such request, or one that has been taken.
            ValueError: a request that has not ended.
        """
        found = self.result(number)
        if found.state in _OPEN:
            raise ValueError(f"request {number} has not ended: {found.state}")
        del self._results[number]
        return found

    def result(self, number: int) -> TextResult:
        """Return what has become of a request so far.

        Raises:
            KeyError: no such request, or one that has been taken.
        """
        job = self._results[number]
        since = tuple(at - job.arrival_s for at in job.token_s)
        return TextResult(job.state, bytes(job.tokens), since, job.tries, job.reason)

    def accounts(self) -> Mapping[str, int]:
        """Return how many requests have come, have ended in each way and are in each state: they add up."""
        now: Counter[str] = Counter(job.state for job in (*self._queue, *self._jobs.values()) if job.state in _OPEN)
        ends = ("finished", "rejected", "cancelled", "failed")
        return {"arrived": self._submitted, **{e: self._ended[e] for e in ends}, **{s: now[s] for s in _OPEN}}

    @property
    def processes(self) -> Mapping[str, int]:
        """Process numbers of the workers, by name."""
        return {worker.name: worker.process.pid for worker in self._workers}

    @property
    def segments(self) -> Sequence[str]:
        """Names of the segments of shared memory, one a worker."""
        return [pool.name for pool in self._pools]

    @property
    def idle(self) -> bool:
        """Whether nothing waits and no worker holds anything."""
        return not self._queue and not self._jobs

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
        self._admit()
        by_connection = {worker.connection: worker for worker in self._workers}
        for connection in wait(list(by_connection), max(0.0, timeout_s)):
            worker = by_connection[connection]
            try:
                note = worker.connection.recv()
            except (EOFError, OSError):  # all that it sent has been heard
                self._bury(worker)
            else:
                self._hear(worker, note)
        self._judge()

    # --- handing out ---------------------------------------------------------------------------------------------

    def _admit(self) -> None:
        """Hand out requests, first come first served, as long as pages and seats can be had."""
        while self._queue and self._place(self._queue[0]):
            job = self._queue.popleft()
            reader = self._workers[job.reader]
            job.state, job.holder, job.begun = "prefill", reader, False
            self._jobs[job.number] = job
            rest = job.rest - 1 if job.reader == job.decoder else 0
            _send(reader, ReadPrompt(job.number, job.text, job.source or job.pages, rest))

    def _place(self, job: _Job) -> bool:
        """Choose workers and take pages, or return that there is no room; then nothing has been taken."""
        prompt, all_of_it = self.shape.pages(len(job.text)), self.shape.pages(job.kept)
        apart, alone = self._workers[0].role != "both", job.rest == 1
        reading = Counter(each.reader for each in self._jobs.values() if each.state == "prefill")
        tokens: Counter[int] = Counter()
        seats = Counter(each.decoder for each in self._jobs.values())
        for each in self._jobs.values():
            tokens[each.reader] += len(each.text) if each.state == "prefill" else 0
        readers = [
            worker
            for worker in self._workers
            if worker.role != "decode"
            and reading[worker.number] < AHEAD
            and self.table.can_take(worker.number, prompt if apart else all_of_it)
            and (apart or seats[worker.number] < self.seats)
        ]
        decoders = [
            worker
            for worker in self._workers
            if worker.role == "decode"
            and seats[worker.number] < self.seats
            and self.table.can_take(worker.number, all_of_it)
        ]
        if not readers or (apart and not alone and not decoders):
            return False
        reader = min(readers, key=lambda w: (tokens[w.number], w.served))
        reader.served += 1
        job.reader = job.decoder = reader.number
        if not apart:
            job.pages = self.table.take(reader.number, all_of_it, "prefill")
            return True
        job.source = self.table.take(reader.number, prompt, "prefill")
        if not alone:
            decoder = min(decoders, key=lambda w: (seats[w.number], w.served))
            decoder.served += 1
            job.decoder = decoder.number
            job.pages = self.table.take(decoder.number, all_of_it, "decode")
        return True

    # --- what workers tell ---------------------------------------------------------------------------------------

    def _hear(self, worker: _Handle, note: Note) -> None:
        worker.heard_s = time.monotonic()
        if note.activity and self.activities is not None:
            self.activities.append(note.activity)
        if note.kind == "ready":
            worker.ready = True
        elif note.kind == "broken":
            worker.words = note.text
        for place, number in enumerate(note.requests):
            job = self._jobs.get(number)
            if job is None:
                continue  # it had ended when it was cancelled
            if note.kind == "dropped":
                self._release(job)
            elif job.state != "cancelled":
                self._advance(job, note, place)

    def _advance(self, job: _Job, note: Note, place: int) -> None:
        if note.kind == "began":
            job.begun = True
        elif note.kind == "moved":
            self.moved_bytes += note.nbytes
            self.table.home(job.reader, job.source)
            job.state, job.source = "decode", []
        elif note.kind == "tokens":
            assert note.activity is not None
            job.tokens.append(note.tokens[place])
            job.token_s.append(note.activity.end_s)
            if not job.rest:
                self._finish(job, "finished")
                self._release(job)
            elif job.state == "prefill":
                self._read(job)

    def _read(self, job: _Job) -> None:
        """A prompt is read: its worker goes on with it, or another copies its pages."""
        if job.source:
            job.state, job.holder, job.begun = "moving", self._workers[job.decoder], False
            self.table.hand(job.reader, job.source, "moving")
            self._pull(job)
        else:
            job.state = "decode"
            self.table.hand(job.reader, job.pages, "decode")

    def _pull(self, job: _Job) -> None:
        held = len(job.text) - 1
        order = PullPages(job.number, job.reader, job.source, job.pages, held, job.text[-1], job.rest)
        _send(self._workers[job.decoder], order)

    def _finish(self, job: _Job, state: RequestState, reason: str = "") -> None:
        job.state, job.reason = state, reason
        self._ended[state] += 1

    def _release(self, job: _Job) -> None:
        """Take a request's pages home: nobody touches them any more."""
        self.table.home(job.reader, job.source)
        self.table.home(job.decoder, job.pages)
        self.table.check()
        job.source, job.pages, job.holder = [], [], None
        del self._jobs[job.number]

    # --- life and death ------------------------------------------------------------------------------------------

    def _start(self, worker: _Handle) -> None:
        context: Any = multiprocessing.get_context(start_method([work.__module__]))
        ours, theirs = context.Pipe()
        faults = [each for each in self.faults if each.worker == worker.name and each.lives > worker.life]
        setup = WorkerSetup(worker.name, worker.number, faults=faults, **self._setup)
        worker.process = context.Process(target=work, args=(theirs, setup), daemon=True, name=worker.name)
        worker.connection, worker.ready, worker.words = ours, False, ""
        try:
            worker.process.start()
        except (OSError, EOFError) as error:
            raise RuntimeError(_NOT_STARTED.format(worker.name, repr(error))) from None
        finally:
            theirs.close()  # so that its end is seen here
        worker.heard_s = time.monotonic()

    def _judge(self) -> None:
        """Bury workers that have said nothing for too long."""
        now = time.monotonic()
        for worker in self._workers:
            patience = self.silence_s if worker.ready else START_S
            if now - worker.heard_s > patience and not worker.connection.poll():
                self._bury(worker)

    def _bury(self, worker: _Handle) -> None:
        """Make sure that a worker is dead, bring its requests' pages home, start another and have it do them again."""
        worker.process.kill()  # what is only silent might write to pages that are another's by then
        worker.process.join()
        worker.connection.close()
        words = worker.words or f"exit code {worker.process.exitcode}"
        worker.life, worker.stillborn = worker.life + 1, 0 if worker.ready else worker.stillborn + 1
        if worker.stillborn == STARTS:
            raise RuntimeError(_NOT_STARTED.format(worker.name, words))
        self.deaths.append(f"{worker.name}: {words}")
        self._start(worker)
        for job in [each for each in self._jobs.values() if each.holder is worker]:
            self._rescue(job, f"{worker.name} died at it, as often as it was tried: {words}")

    def _rescue(self, job: _Job, reason: str) -> None:
        job.tries += job.begun
        if job.state == "cancelled":
            self._release(job)
        elif job.tries > self.retries:
            self._finish(job, "failed", reason)
            self._release(job)
        elif job.state == "moving":
            job.begun = False
            self._pull(job)  # the source is whole
        else:
            self._release(job)
            job.state = "queued"
            self._queue = deque(sorted((*self._queue, job), key=lambda each: each.number))


def _check_roles(roles: Sequence[Role]) -> None:
    for role in roles:
        checks.one_of(("prefill", "decode", "both"), role, "role")
    if set(roles) not in ({"both"}, {"prefill", "decode"}):
        raise ValueError(f"roles {list(roles)} should be some 'prefill' and some 'decode', or all 'both'")


def _names(roles: Sequence[Role]) -> list[str]:
    return [f"{role} {roles[:place].count(role)}" for place, role in enumerate(roles)]


def _send(worker: _Handle, order: ReadPrompt | PullPages | Drop) -> None:
    with contextlib.suppress(OSError):  # it is dead, which is about to be seen
        worker.connection.send(order)


def _end(workers: Sequence[_Handle], pools: Sequence[SharedPages]) -> None:
    for worker in workers:
        if worker.process is not None and worker.process.pid:
            worker.process.kill()
            worker.process.join()
            worker.connection.close()
    for pool in pools:
        pool.close()
