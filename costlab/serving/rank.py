"""What waits and runs on one replica of a worker, and the sums from which its steps are timed."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable

from costlab.roofline.decoding import DecodeLoad
from costlab.serving.blocks import Blocks
from costlab.serving.gaps import TokenClock
from costlab.serving.jobs import Job


class Batch:
    """What a rank does in a step, and in each of the next ones as long as nothing changes."""

    __slots__ = ("chunks", "decodes", "steady")

    def __init__(self, chunks: list[tuple[Job, int]], decodes: int, steady: bool = True) -> None:
        self.chunks = chunks  # prompts, and how many tokens of each are computed
        self.decodes = decodes  # sequences that decode: all of the rank's, or none
        self.steady = steady  # whether the scheduler would decide the same again, while the chunks last

    def __bool__(self) -> bool:
        return bool(self.chunks) or self.decodes > 0


class Rank:
    """A replica's queue, batch and memory.

    All that decode advance together, so a rank keeps one count of steps and, by it, when each of them ends. Nothing is
    done for each sequence in each step.

    Args:
        blocks: its memory.
        load: the running sums from which a step is timed, `StepCost.load()`.
        step_tokens: tokens that a decoding sequence yields a step, on average; above 1 with speculation.
        rows: tokens that a step computes for it: one, and those that are verified.
        cached_tokens: says how many tokens of a job's prompt a prefix cache has; None: there is no cache.
    """

    def __init__(
        self,
        blocks: Blocks,
        load: DecodeLoad,
        step_tokens: float = 1.0,
        rows: int = 1,
        cached_tokens: Callable[[Job], int] | None = None,
    ) -> None:
        self.blocks, self.load, self.step_tokens, self.rows = blocks, load, step_tokens, rows
        self._cached_tokens = cached_tokens
        self.clock = TokenClock()
        self.waiting: deque[Job] = deque()  # in the order in which they will be admitted
        self.running: dict[Job, None] = {}  # in the order in which they were admitted
        self.prefilling: dict[Job, None] = {}  # those of them whose prompt is not computed yet
        self.pending_tokens = 0  # tokens that those that wait or prefill have to compute
        self.admitted: list[Job] = []  # since the worker looked last
        self.preempted: list[Job] = []  # since the worker looked last
        self._steps = 0  # of decoding
        self._reached = 0  # tokens that a sequence has yielded that decoded in all of them
        self._provided = 0  # tokens beyond them for which there are blocks already
        self._ends: list[int] = []  # a heap of the counts at which somebody ends
        self._ending: dict[int, list[Job]] = {}  # who

    @property
    def decoding(self) -> int:
        """Running jobs whose prompt is computed."""
        return self.load.sequences

    # --- the queue ---------------------------------------------------------------------------------------------

    def queue(self, job: Job, front: bool = False) -> None:
        """Put a job into the queue: at its end, or at its front."""
        self.pending_tokens += job.left
        if front:
            self.waiting.appendleft(job)
        else:
            self.waiting.append(job)

    def queue_in_order(self, job: Job) -> None:
        """Put a job into the queue where it would be, had it waited there since it came."""
        self.pending_tokens += job.left
        at = next((i for i, other in enumerate(self.waiting) if other.serial > job.serial), len(self.waiting))
        self.waiting.insert(at, job)

    def unqueue(self, job: Job) -> None:
        """Take a job out of the queue."""
        self.waiting.remove(job)
        self.pending_tokens -= job.left

    def cached(self, job: Job) -> int:
        """Return how many tokens of a waiting job need not be computed; at least one has to be."""
        if self._cached_tokens is None or job.computed:
            return 0
        return min(self._cached_tokens(job), job.left - 1)

    def admit(self, cached: int = 0) -> Job:
        """Take the first job of the queue into the batch; it decodes at once if its cache came with it."""
        job = self.waiting.popleft()
        self.running[job] = None
        self.admitted.append(job)
        if cached:
            job.cached = cached
            job.computed += cached
            self.pending_tokens -= cached
        if job.decodes:
            self.pending_tokens -= 1
            self.decode(job)
        else:
            self.prefilling[job] = None
        return job

    def preempt_last(self) -> Job:
        """Take the memory of the job that was admitted last, and put it to the front of the queue."""
        job = next(reversed(self.running))
        self.remove(job)
        self.blocks.give(job)
        job.computed = job.cached = 0
        job.preemptions += 1
        self.queue(job, front=True)
        self.preempted.append(job)
        return job

    def remove(self, job: Job) -> None:
        """Take a job out of the batch; it keeps its blocks."""
        del self.running[job]
        if job in self.prefilling:
            del self.prefilling[job]
            self.pending_tokens -= job.left
        else:
            self._stop(job)

    def still(self, batch: Batch) -> Batch:
        """Return a batch without the jobs that have left since it was made."""
        chunks = [chunk for chunk in batch.chunks if chunk[0] in self.prefilling]
        return Batch(chunks, self.decoding if batch.decodes else 0, batch.steady)

    # --- the batch ---------------------------------------------------------------------------------------------

    def compute(self, job: Job, tokens: int) -> bool:
        """Note that so many tokens of a prompt are computed; return whether these were all."""
        job.computed += tokens
        self.pending_tokens -= tokens
        if job.left:
            return False
        del self.prefilling[job]
        return True

    def decode(self, job: Job) -> None:
        """Let a running job decode with the others from the next step on."""
        job.began, job.ends = self._steps, self._reached + job.request.output_tokens - job.generated
        if job.ends in self._ending:
            self._ending[job.ends].append(job)
        else:
            self._ending[job.ends] = [job]
            heapq.heappush(self._ends, job.ends)
        self.load.add(job.computed + 1)
        self.clock.join(job)
        self.blocks.grow_from(job, job.computed + self._provided, self.most(job))

    @property
    def ahead(self) -> int:
        """Tokens beyond the next one for which a job that decodes in the coming step needs blocks: with speculation."""
        return max(self._provided - 1, 0)

    def spare(self, watermark: float) -> int:
        """Return the blocks that admission leaves free: a share of all where something runs, else none."""
        return int(watermark * self.blocks.total) if self.running else 0

    def most(self, job: Job) -> int:
        """Return the tokens for which a job needs blocks in the end: with speculation a step may yield too many."""
        return job.most if self.step_tokens == 1 or job.prefill_only else job.most + int(self.step_tokens)

    def tokens_of(self, job: Job) -> int:
        """Return the tokens of its answer that a running job has."""
        return job.generated if job in self.prefilling else job.request.output_tokens - (job.ends - self._reached)

    def steps_to_end(self) -> int:
        """Return after how many decode steps the next job ends."""
        while self._ends[0] not in self._ending:
            heapq.heappop(self._ends)
        tokens = self._ends[0] - self._reached
        if self.step_tokens == 1:
            return tokens
        steps = max(int((self._ends[0] - 1) / self.step_tokens) - self._steps, 1)
        while self._after(steps) < self._ends[0]:
            steps += 1
        return steps

    def steps_that_fit(self, steps: int, spare: int = 0) -> int:
        """Return how many of `steps` decode steps, of which the first has its blocks, find blocks for the others."""
        reached = self._reached + self._provided
        fit = reached + self.blocks.most_growth(self._after(steps) - reached, spare)
        while self._after(steps) > fit:
            steps -= 1
        return steps

    def step_growth(self) -> int:
        """Return the blocks that the next decode step needs."""
        return self.blocks.growth(self._after(1) - self._reached)

    def make_room(self) -> bool:
        """Take the blocks that the next decode step needs; return whether jobs were preempted for them."""
        before = len(self.preempted)
        while self.step_growth() > self.blocks.free:
            self.preempt_last()
        self.provide(1)
        return len(self.preempted) > before

    def provide(self, steps: int) -> None:
        """Take the blocks that so many decode steps need."""
        tokens = self._after(steps) - self._reached - self._provided
        self.blocks.grow(tokens)
        self._provided += tokens

    def forgo(self) -> None:
        """Note that a step is over in which nobody decoded: the blocks that were provided for it are nobody's."""
        if not self.decoding:
            self._provided = 0

    def advance(self, steps: int) -> None:
        """Note that all that decode have done so many steps."""
        reached = self._after(steps)
        self._provided -= reached - self._reached
        self._reached = reached
        self._steps += steps
        self.load.advance(steps * self.step_tokens)

    def ended(self) -> list[Job]:
        """Take out of the batch, and return, the jobs whose last token is there."""
        found: list[Job] = []
        while self._ends and self._ends[0] <= self._reached:
            for job in self._ending.get(heapq.heappop(self._ends), ())[:]:
                self.remove(job)
                found.append(job)
        return found

    def _after(self, steps: int) -> int:
        """Return the count of tokens after so many further steps."""
        if self.step_tokens == 1:
            return self._reached + steps
        return int((self._steps + steps) * self.step_tokens + 1e-9)

    def _stop(self, job: Job) -> None:
        self.load.remove(job.computed + 1 + (self._steps - job.began) * self.step_tokens)
        self.clock.leave(job, self.decoding)
        generated = min(self.tokens_of(job), job.request.output_tokens)
        job.computed += generated - job.generated
        job.generated = generated
        self._ending[job.ends].remove(job)
        if not self._ending[job.ends]:
            del self._ending[job.ends]
        self.blocks.stop(job)

    def check(self) -> None:
        """Raise AssertionError unless the sums are those of the jobs."""
        self.blocks.check()
        decoding = [job for job in self.running if job not in self.prefilling]
        assert len(decoding) == self.decoding
        context = sum(job.computed + 1 + (self._steps - job.began) * self.step_tokens for job in decoding)
        assert context == self.load.context_tokens, f"context {self.load.context_tokens}, should be {context}"
        pending = sum(job.left for job in (*self.waiting, *self.prefilling))
        assert pending == self.pending_tokens, f"{self.pending_tokens} tokens pending, should be {pending}"
