"""What waits and runs on one replica of a worker, and the sums from which its steps are timed."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Sequence

from costlab.roofline.mixed import RankWork, StepCost
from costlab.serving.blocks import Blocks
from costlab.serving.events import Events
from costlab.serving.gaps import TokenTimes
from costlab.serving.jobs import Job, State
from costlab.serving.recorder import Recorder

#: More steps than any run takes.
MOST_STEPS = 2**53


class Batch:
    """What a rank does in a step, and in each of the next ones as long as nothing changes."""

    __slots__ = ("chunks", "decodes", "steady")

    def __init__(self, chunks: list[tuple[Job, int]], decodes: bool = True, steady: bool = True) -> None:
        self.chunks = chunks  # prompts, and how many tokens of each are computed
        self.decodes = decodes  # whether all that decode do so, or none
        self.steady = steady  # whether the scheduler would decide the same again, while the chunks last


#: What a rank does that has no prompts to read.
DECODE = Batch([])


class Rank:
    """A replica's queue, batch and memory.

    All that decode advance together, so a rank keeps one count of steps and, by it, when each of them ends. Nothing is
    done for each sequence in each step.

    Args:
        blocks: its memory.
        cost: from which its steps are timed.
        decide: of the scheduler: the next step, after admitting and preempting.
        events: the clock.
        log: who counts gaps.
        cached_tokens: says how many tokens of a job's prompt a prefix cache has; None: there is no cache.
    """

    def __init__(
        self,
        blocks: Blocks,
        cost: StepCost,
        decide: Callable[[Rank], Batch],
        events: Events,
        log: Recorder,
        cached_tokens: Callable[[Job], int] | None = None,
    ) -> None:
        self.blocks, self._decide, self._events, self._cached_tokens = blocks, decide, events, cached_tokens
        self.load, self._nothing = cost.load(), cost.load()  # of those that decode; of a step in which nobody does
        self._leading = cost.leading
        self.rows = cost.rows  # tokens that a step computes for a sequence that decodes
        self.even = cost.even  # whether equal pieces of a prompt may be read in one run of steps
        self.times = TokenTimes(log)
        self.waiting: deque[Job] = deque()  # in the order in which they will be admitted
        self.running: dict[Job, None] = {}  # in the order in which they were admitted
        self.prefilling: dict[Job, None] = {}  # those of them whose prompt is not computed yet
        self.pending_tokens = 0  # tokens that those that wait or prefill have to compute
        self.awaited_tokens = 0  # of those whose cache is on its way
        self.ready_tokens = 0  # of those that wait and whose cache is here
        self.batch = DECODE  # the step in flight
        self.preempted: list[Job] = []  # since the worker looked last
        self.steps = 0  # of decoding that are over
        self.read_tokens = 0  # of prompts that were computed, again after a preemption
        self.cached_tokens = 0  # of prompts that a prefix cache had
        self.emitted_tokens = 0  # of answers, up to when each job began to decode or left
        self.preemptions = 0  # so far
        self.next_end = MOST_STEPS  # the count of steps at which the next job ends, or none any more
        self._ends: list[int] = []  # a heap of these counts
        self._ending: dict[int, list[Job]] = {}  # who

    @property
    def decoding_tokens(self) -> int:
        """Tokens that the jobs which decode take of a step's budget."""
        return self.load.sequences * self.rows

    @property
    def tokens(self) -> int:
        """Tokens that jobs have here, or will have once those that are known are computed or have arrived."""
        here = self.pending_tokens + self.load.context_tokens + sum([job.computed for job in self.prefilling])
        return here + self.ready_tokens + self.awaited_tokens

    # --- the queue ---------------------------------------------------------------------------------------------

    def queue(self, job: Job, front: bool = False) -> None:
        """Put a job into the queue: at its end, or at its front, but behind those that hold a cache already.

        They hold memory: in front of them somebody who lacks it might wait for ever.
        """
        self.pending_tokens += job.left
        self.ready_tokens += job.computed
        if front:
            ahead = 0
            while ahead < len(self.waiting) and self.waiting[ahead].computed:
                ahead += 1
            self.waiting.insert(ahead, job)
        else:
            self.waiting.append(job)

    def unqueue(self, job: Job) -> None:
        """Take a job out of the queue."""
        self.waiting.remove(job)
        self.pending_tokens -= job.left
        self.ready_tokens -= job.computed

    def cached(self, job: Job) -> int:
        """Return how many tokens of a waiting job need not be computed; at least one has to be."""
        if self._cached_tokens is None or job.computed:
            return 0
        return min(self._cached_tokens(job), job.left - 1)

    def spare(self, watermark: float) -> int:
        """Return the blocks that admission leaves free: a share of all where something runs, else none."""
        return int(watermark * self.blocks.total) if watermark and self.running else 0

    def admit(self, blocks: int, cached: int = 0) -> bool:
        """Take the first job of the queue into the batch; return whether it reads its prompt first.

        A job whose cache came with it decodes at once.

        Args:
            blocks: that it takes.
            cached: tokens of it that a prefix cache has.
        """
        job = self.waiting.popleft()
        self.blocks.take(job, blocks)
        self.running[job] = None
        self.ready_tokens -= job.computed
        job.state = State.RUNNING
        if job.admitted_s != job.admitted_s:  # NaN
            job.admitted_s = self._events.now
        if cached:
            job.computed += cached
            job.cached = cached
            self.pending_tokens -= cached
            self.cached_tokens += cached
        if job.decodes:
            self.pending_tokens -= 1
            self.decode(job)
            return False
        self.prefilling[job] = None
        return True

    # --- the batch ---------------------------------------------------------------------------------------------

    def plan(self) -> int:
        """Decide the next step, and return how many are alike, as `alike` does.

        The scheduler is asked, unless there is nobody to admit or preempt, and no prompt to read.
        """
        if self.waiting or self.prefilling or not self.blocks.suffices or self.load.bends:
            self.batch = self._decide(self)
            return self.alike()
        self.batch = DECODE
        self.blocks.clock = self.steps + 1
        return self.next_end - self.steps if self.load.sequences else MOST_STEPS

    def alike(self) -> int:
        """Return how many steps follow in which only contexts grow; `MOST_STEPS` if nothing is to do now or next."""
        batch, steps = self.batch, MOST_STEPS
        if not batch.steady:
            return 1
        for job, tokens in batch.chunks:
            left = job.left
            if left < 2 * tokens or not self.even:
                return 1
            steps = min(steps, left // tokens)
        if self.load.sequences and batch.decodes:
            steps = min(steps, self.next_end - self.steps)
            if self.load.bends:
                steps = int(min(steps, self.load.steps_to_bend))
        if batch.chunks or not self.blocks.suffices:
            while steps > 1 and not self._fits(steps - 1):
                steps //= 2
        return steps

    @property
    def works(self) -> bool:
        """Whether the next step does anything here."""
        return self.load.sequences > 0 or len(self.batch.chunks) > 0

    def _fits(self, steps: int) -> bool:
        """Say whether so many further steps of the batch, whose next one has its blocks, find theirs."""
        batch, blocks = self.batch, self.blocks
        if not batch.chunks:
            return blocks.can_grow(steps)
        lacking = sum([blocks.lacking(job, job.computed + tokens * (steps + 1)) for job, tokens in batch.chunks])
        return blocks.can_grow(steps if batch.decodes else 0, lacking)

    def grow(self, chunks: Sequence[tuple[Job, int]] = ()) -> bool:
        """Take the blocks that the next step needs, those of pieces of prompts too; return whether they were free."""
        blocks = self.blocks
        lacking = [blocks.lacking(job, job.computed + tokens) for job, tokens in chunks] if chunks else ()
        if not blocks.can_grow(1, sum(lacking)):
            return False
        blocks.grow_to(self.steps + 1)
        for (job, _), many in zip(chunks, lacking, strict=True) if chunks else ():
            blocks.take(job, many)
        return True

    def make_room(self) -> bool:
        """Take the blocks that the next decode step needs; return whether jobs were preempted for them."""
        before = len(self.preempted)
        while not self.grow():
            self.preempt_last()
        return len(self.preempted) > before

    def preempt_last(self) -> None:
        """Take the memory of the job that was admitted last, and put it to the front of the queue."""
        job = next(reversed(self.running))
        self.remove(job)
        self.forget(job)
        self.queue(job, front=True)
        self.preempted.append(job)

    def forget(self, job: Job) -> None:
        """Take the memory of a job that is not in the batch, which has to be computed anew."""
        self.blocks.give(job)
        job.computed = job.cached = 0
        job.preemptions += 1
        self.preemptions += 1

    def advance(self, steps: int, more: int, start_s: float, first_s: float, last_s: float, end_s: float) -> None:
        """Note that so many steps of the batch are over, and take the blocks for those and `more`.

        Args:
            steps: that are over.
            more: steps that follow at once.
            start_s: when the first one began.
            first_s: how long it took.
            last_s: how long the last one took; those between rise evenly.
            end_s: when it ended.
        """
        load, sequences = self.load, self.load.sequences
        if sequences and self.batch.decodes:
            self.times.decode(sequences, start_s, steps, first_s, last_s, end_s)
            self.steps = over = self.steps + steps
            if steps + more > 1:
                self.blocks.grow_to(over + more)
            load.advance(steps)
        elif not sequences:
            self.steps = self.blocks.clock  # which may have gone ahead to a step in which nobody decoded
        if self.batch.chunks:
            self._read(steps, more)

    def _read(self, steps: int, more: int) -> None:
        """Note that so many steps have read their pieces of prompts, and take the blocks for `more`."""
        for job, tokens in self.batch.chunks:
            if job in self.prefilling:
                read = tokens * steps
                job.computed += read
                self.pending_tokens -= read
                self.read_tokens += read
                if steps + more > 1:
                    self.blocks.take(job, self.blocks.lacking(job, job.computed + tokens * more))

    def work(self) -> RankWork:
        """Return what the next step does, as `StepCost` takes it."""
        batch = self.batch
        chunks = [(tokens, job.computed) for job, tokens in batch.chunks]
        return self.load if batch.decodes else self._nothing, chunks

    def leading(self, most: int) -> tuple[int, float, float]:
        """Return how many of the next steps lie on one line, as `StepCost.leading` does, where no rank is beside."""
        if self.batch is DECODE:
            return self._leading(self.load, (), most)
        load, chunks = self.work()
        return self._leading(load, chunks, most)

    def decode(self, job: Job) -> None:
        """Let a running job decode with the others from the next step on."""
        ends = job.ends = self.steps + job.request.output_tokens - job.generated
        if ends in self._ending:
            self._ending[ends].append(job)
        else:
            self._ending[ends] = [job]
            heapq.heappush(self._ends, ends)
            self.next_end = self._ends[0]
        self.times.join(job, self.load.sequences > 0)
        self.load.add(job.computed + 1)
        self.blocks.grow_from(job, job.computed + self.blocks.clock - self.steps, job.most)

    def tokens_of(self, job: Job) -> int:
        """Return the tokens of its answer that a job has."""
        decodes = job in self.running and job not in self.prefilling
        return job.request.output_tokens - (job.ends - self.steps) if decodes else job.generated

    @property
    def emitting_tokens(self) -> int:
        """Tokens of answers since each running job began to decode."""
        return sum(self.tokens_of(job) - job.generated for job in self.running)

    def ended(self) -> list[Job]:
        """Take out of the batch, and return, the jobs whose last token is there."""
        found = self._ending.pop(heapq.heappop(self._ends))
        self._find_next_end()
        for job in found:
            self.remove(job)
        return found

    def _find_next_end(self) -> None:
        ends, ending = self._ends, self._ending
        while ends and ends[0] not in ending:
            heapq.heappop(ends)
        self.next_end = ends[0] if ends else MOST_STEPS

    def remove(self, job: Job) -> None:
        """Take a job out of the batch, with all that is computed of it; its blocks are yet to be given back."""
        if job in self.prefilling:
            del self.prefilling[job]
            self.pending_tokens -= job.left
        else:
            tokens = job.request.output_tokens - (job.ends - self.steps)
            job.computed += tokens - job.generated
            self.emitted_tokens += tokens - job.generated
            job.generated = tokens
            self.load.remove(job.computed + 1)
            self.times.leave(job, self.load.sequences > 0)
            if job.ends > self.steps:
                self._forget_end(job)
        del self.running[job]

    def _forget_end(self, job: Job) -> None:
        jobs = self._ending.get(job.ends)
        if jobs:
            jobs.remove(job)
            if not jobs:
                del self._ending[job.ends]
                self._find_next_end()

    def check(self) -> None:
        """Raise AssertionError unless the sums are those of the jobs."""
        self.blocks.check()
        decoding = [job for job in self.running if job not in self.prefilling]
        assert len(decoding) == self.load.sequences
        context = sum(job.computed + 1 + self.tokens_of(job) - job.generated for job in decoding)
        assert context == self.load.context_tokens, f"context {self.load.context_tokens}, should be {context}"
        pending = sum(job.left for job in (*self.waiting, *self.prefilling))
        assert pending == self.pending_tokens, f"{self.pending_tokens} tokens pending, should be {pending}"
        ready = sum(job.computed for job in self.waiting)
        assert ready == self.ready_tokens, f"{self.ready_tokens} tokens of waiting caches, should be {ready}"
