"""A worker: one engine's queue, batch, memory and clock, many steps at a time.

Between two events a worker repeats the same step, and only the contexts grow. So it sums steps in closed form (a jump)
up to the first of: a job ends, a prompt's piece is done, blocks run out. What comes in between cuts the jump: the step
in flight ends, and the scheduler looks again. With `jumps=False` a jump is one step, and all else is the same.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Literal, Protocol

from costlab import checks
from costlab.cache import PrefixCache
from costlab.roofline.decoding import lead
from costlab.roofline.mixed import StepCost
from costlab.serving.blocks import Blocks
from costlab.serving.events import Events
from costlab.serving.jobs import Job, State
from costlab.serving.lines import seconds_of, steps_before
from costlab.serving.rank import MOST_STEPS, Rank
from costlab.serving.recorder import Recorder
from costlab.serving.schedulers import Scheduler

#: How jobs are given to the ranks of a worker.
RankChoice = Literal["tokens", "turns"]


#: Told of each prompt of which a step begins to read a piece: job, tokens, end of the step, worker.
PieceListener = Callable[[Job, int, float, "Worker"], None]


class Owner(Protocol):
    """Whom a worker tells what has happened to a job. Each call may submit, take or release jobs at any worker."""

    def first_token(self, job: Job, worker: Worker) -> None:
        """The first token is there, and the job goes on to decode here."""

    def prefilled(self, job: Job, worker: Worker) -> None:
        """The prompt of a job is computed that goes on elsewhere; its blocks stay until `Worker.release`."""

    def finished(self, job: Job, worker: Worker) -> None:
        """The last token is there; its blocks are free."""

    def preempted(self, job: Job, worker: Worker) -> None:
        """Its memory went to others; it waits at the front of the worker's queue to be computed anew."""


class Worker:
    """One engine: ranks that take their steps together, as long as the slowest of them.

    A job comes by `submit`, or by `reserve`, a transfer and then `submit`. It goes when it finishes, by `release` after
    its prompt, or by `take`.

    Args:
        name: for reports.
        cost: seconds of a step, from what it does.
        scheduler: who is in it.
        blocks: of each rank's memory.
        block_tokens: tokens of a block.
        events: the clock.
        owner: whom to tell.
        recorder: who counts gaps.
        ranks: data-parallel replicas that step together.
        choose_rank: "tokens": a job goes to the rank with the fewest; "turns": to each in turn.
        cache: prefixes computed before, beside the memory of what runs; None: there is none.
        jumps: False: one step at a time.
        pool: in whose name the report counts it.
        chips: of all ranks together, for the report.

    Raises:
        ValueError: sizes that are no counts.
    """

    def __init__(
        self,
        name: str,
        cost: StepCost,
        scheduler: Scheduler,
        blocks: int,
        block_tokens: int = 16,
        *,
        events: Events,
        owner: Owner,
        recorder: Recorder,
        ranks: int = 1,
        choose_rank: RankChoice = "tokens",
        cache: PrefixCache | None = None,
        jumps: bool = True,
        pool: str = "workers",
        chips: int = 0,
    ) -> None:
        self.name, self.pool, self.chips = name, pool, chips
        self.cost, self.scheduler, self.jumps = cost, scheduler, jumps
        self.events, self.owner, self.recorder, self.cache = events, owner, recorder, cache
        cached = None if cache is None else self.cached_tokens
        self.ranks = [
            Rank(Blocks(blocks, block_tokens), cost, scheduler.plan, events, recorder, cached)
            for _ in range(checks.count(ranks, "ranks"))
        ]
        self.choose_rank: RankChoice = checks.one_of(("tokens", "turns"), choose_rank, "choice of rank")
        self.awaiting: dict[Job, int] = {}  # have blocks here for so many tokens, and their cache is on its way
        self.prefilled: dict[Job, None] = {}  # are computed, and keep their blocks until they are released
        self.alive = True
        self._reading: PieceListener | None = None
        self._leading = self.ranks[0].leading if len(self.ranks) == 1 else self._leading_of_all
        self._most_tokens = blocks * block_tokens
        self.steps = 0  # that are over
        self.busy_s = 0.0  # seconds of all of them together
        self.left = 0  # jobs that have come and gone
        self.residence_s = 0.0  # seconds that these were here, together
        self._rank_of: dict[Job, Rank] = {}  # of all jobs that are here
        self._turn = 0  # jobs that have come, for those that go to the ranks in turns
        self._steps = 0  # alike ones ahead, the one in flight among them; 0: the worker is idle
        self._start_s = self._first_s = self._rise_s = 0.0  # of them: the start, how long the first is, how they rise
        self._due = 0  # the number of the event at which they end
        self._awake = False  # whether the scheduler will look anyway, at this instant

    def tell_readings(self, reader: PieceListener) -> None:
        """Tell somebody of each step that reads prompts; no two of them are summed then."""
        self._reading = reader
        for rank in self.ranks:
            rank.even = False

    # --- jobs come ---------------------------------------------------------------------------------------------

    def refusal(self, job: Job) -> str:
        """Return why a job can never be served here; empty if it can."""
        if job.request.output_tokens < 1:
            return "no output tokens asked for"
        if job.most > self._most_tokens:
            return "larger than memory"
        return ""

    def submit(self, job: Job) -> None:
        """Put a job that is not refused (`refusal`) into the queue.

        One whose cache came by transfer goes to its front, behind others of its kind.

        Raises:
            ValueError: a job that is here already, or a dead worker.
        """
        if job in self.awaiting:
            rank = self._rank_of[job]
            rank.awaited_tokens -= self.awaiting.pop(job)
            rank.queue(job, front=True)
        else:
            self._expect(job)
            rank = self._choose()
            self._enter(job, rank)
            rank.queue(job)
        job.state = State.QUEUED
        if rank.waiting[0] is job and len(rank.running) < self.scheduler.max_running:
            self._look()

    def can_reserve(self, job: Job, spare: int = 0) -> bool:
        """Say whether a job's prompt finds blocks here now, and `spare` remain."""
        rank = self._choose()
        blocks, needed = rank.blocks, rank.blocks.needed(self._reserved(job))
        if not rank.prefilling and blocks.spares(needed + spare):
            return True
        self._settle()
        return blocks.can_take(needed, spare)

    def reserve(self, job: Job) -> None:
        """Give a job blocks for its prompt and the token after, or all its tokens, before its cache arrives.

        Raises:
            ValueError: no room, a job that is here already, or a dead worker.
        """
        self._expect(job)
        rank = self._choose()
        rank.blocks.take(job, rank.blocks.needed(self._reserved(job)))
        self._enter(job, rank)
        self._await(job, rank)
        if rank.prefilling or not rank.blocks.suffices:  # else the steps ahead have their blocks all the same
            self._look()

    def _reserved(self, job: Job) -> int:
        """Return the tokens for which a job is given blocks before its cache arrives."""
        most = job.request.input_tokens + job.request.output_tokens - 1
        return most if self.scheduler.takes_whole else min(job.known + 1, most)

    def _await(self, job: Job, rank: Rank) -> None:
        self.awaiting[job] = job.known
        rank.awaited_tokens += job.known

    def _expect(self, job: Job) -> None:
        if job in self._rank_of or not self.alive:
            reason = "it is here already" if self.alive else "it is dead"
            raise ValueError(f"request {job.serial} cannot come to worker {self.name}: {reason}")

    def _enter(self, job: Job, rank: Rank) -> None:
        self._rank_of[job] = rank
        self._turn += 1
        job.entered_s = self.events.now

    def _choose(self) -> Rank:
        """Return the rank for the next job."""
        if len(self.ranks) == 1:
            return self.ranks[0]
        if self.choose_rank == "turns":
            return self.ranks[self._turn % len(self.ranks)]
        self._settle()
        return min(self.ranks, key=lambda rank: rank.tokens)

    # --- jobs go -----------------------------------------------------------------------------------------------

    def release(self, job: Job) -> None:
        """Free the blocks of a job whose prompt was computed here, now that its cache was read."""
        del self.prefilled[job]
        if self._go(job).waiting:
            self._look()

    def keep(self, job: Job) -> None:
        """Let a job whose prompt was computed here, to be decoded elsewhere, be decoded here after all.

        Without a block for its next token it gives back all blocks: two that hold memory may wait for one another.
        """
        del self.prefilled[job]
        job.prefill_only = False
        rank = self._rank_of[job]
        lacking = rank.blocks.lacking(job, self._reserved(job))
        if rank.blocks.can_take(lacking):
            rank.blocks.take(job, lacking)
        else:
            rank.forget(job)
        self._await(job, rank)
        self.submit(job)

    def take(self, job: Job) -> None:
        """Take a job away, wherever it is here, and free its blocks: its user left, or it goes on elsewhere."""
        self._settle()
        rank = self._rank_of[job]
        if job in rank.running:
            rank.remove(job)
        elif job in self.awaiting or job in self.prefilled:
            rank.awaited_tokens -= self.awaiting.pop(job, 0)
            self.prefilled.pop(job, None)
        else:
            rank.unqueue(job)
        self._leave(job)

    def take_all(self) -> list[Job]:
        """Die: the step in flight is lost, and all jobs go, with whatever was computed of them here."""
        self._settle()
        jobs = list(self._rank_of)
        for job in jobs:
            self.take(job)
        self.events.cancel(self._due)
        self._steps, self._awake, self.alive = 0, False, False
        return jobs

    def revive(self) -> None:
        """Work again, with nothing in memory."""
        self.alive = True

    def _leave(self, job: Job) -> None:
        rank = self._go(job)
        if self._steps or rank.waiting:
            self._look()

    def _go(self, job: Job) -> Rank:
        """Note that a job is gone, and return the rank where it was."""
        rank = self._rank_of.pop(job)
        rank.blocks.give(job)
        self.left += 1
        self.residence_s += self.events.now - job.entered_s
        return rank

    # --- signals -----------------------------------------------------------------------------------------------

    @property
    def jobs(self) -> Collection[Job]:
        """All jobs that are here, or have blocks here."""
        return self._rank_of.keys()

    @property
    def running(self) -> int:
        """Jobs in the batch."""
        return sum(len(rank.running) for rank in self.ranks)

    @property
    def queued(self) -> int:
        """Jobs that wait for the batch; not those whose cache is on its way."""
        return sum(len(rank.waiting) for rank in self.ranks)

    @property
    def pending_tokens(self) -> int:
        """Tokens that jobs here have to compute before their next one comes, queue and batch together."""
        if any(rank.batch.chunks for rank in self.ranks):
            self._settle()
        return sum([rank.pending_tokens for rank in self.ranks])

    @property
    def kv_blocks(self) -> int:
        """Blocks that somebody holds."""
        self._settle()
        return sum(rank.blocks.used for rank in self.ranks)

    @property
    def kv_share(self) -> float:
        """The same as a share of all blocks."""
        return self.kv_blocks / sum(rank.blocks.total for rank in self.ranks)

    @property
    def pending_s(self) -> float:
        """Predicted seconds of the prefills ahead, each alone."""
        self._settle()
        jobs = [job for rank in self.ranks for job in (*rank.waiting, *rank.prefilling) if not job.decodes]
        return sum(self.cost.seconds(self.cost.load(), [(job.left, job.computed)]) for job in jobs)

    def cached_tokens(self, job: Job) -> int:
        """Return how many tokens of a job's prompt the prefix cache has."""
        if self.cache is None or not job.request.blocks:
            return 0
        return min(self.cache.match(job.request.blocks).pages * self.cache.page_tokens, job.request.input_tokens)

    # --- steps -------------------------------------------------------------------------------------------------

    def _look(self) -> None:
        """Let the scheduler look as soon as the step in flight ends, or at the end of this instant."""
        if self._awake:
            return
        if not self._steps:
            self._awake = True
            self._due = self.events.at(self.events.now, self._plan, last=True)
        elif self._steps > 1:
            left = self.events.now - self._start_s
            steps = 1 + steps_before(left, self._steps - 1, self._first_s, self._rise_s)
            if steps < self._steps:
                self._steps = steps
                self.events.cancel(self._due)
                end_s = self._start_s + seconds_of(steps, self._first_s, self._rise_s)
                self._due = self.events.at(end_s, self._end, last=True)

    def _settle(self) -> None:
        """Account for the steps that are over by now; the one in flight and those after remain."""
        if self._steps > 1:
            left = self.events.now - self._start_s
            over = steps_before(left, self._steps - 1, self._first_s, self._rise_s)
            if over:
                end_s = self._start_s + seconds_of(over, self._first_s, self._rise_s)
                self._advance(over, 1, end_s)
                self._start_s, self._steps = end_s, self._steps - over
                self._first_s += over * self._rise_s

    def _advance(self, steps: int, more: int, end_s: float) -> None:
        """Account for steps that are over at `end_s`, and of which `more` follow."""
        start_s, first_s = self._start_s, self._first_s
        last_s = first_s + (steps - 1) * self._rise_s
        self.busy_s += end_s - start_s
        self.steps += steps
        for rank in self.ranks:
            rank.advance(steps, more, start_s, first_s, last_s, end_s)

    def _end(self) -> None:
        """End the steps ahead, tell what they have brought, and plan the next."""
        now = self.events.now
        self._advance(self._steps, 0, now)
        self._steps, self._awake = 0, True
        for rank in self.ranks:
            if rank.next_end <= rank.steps:
                for job in rank.ended():
                    if job in self._rank_of:
                        self._finish(job, now)
            for job, _ in rank.batch.chunks:
                if job in rank.prefilling and not job.left:
                    self._prefilled(rank, job, now)
        self._plan()

    def _prefilled(self, rank: Rank, job: Job, now: float) -> None:
        """A prompt is computed, and so the next token is there."""
        del rank.prefilling[job]
        job.generated += 1
        rank.emitted_tokens += 1
        if job.generated == 1:
            job.first_s = job.last_s = now
            if self.cache is not None:
                self.keep_prefix(job)
        else:  # after a preemption
            gap_s = now - job.last_s
            self.recorder.gap(gap_s, now)
            job.worst_gap_s, job.last_s = max(job.worst_gap_s, gap_s), now
        if job.generated >= job.request.output_tokens:
            del rank.running[job]
            self._finish(job, now)
        elif job.prefill_only:
            del rank.running[job]
            self.prefilled[job] = None
            self.owner.prefilled(job, self)
        else:
            rank.decode(job)
            if job.generated == 1:
                self.owner.first_token(job, self)

    def keep_prefix(self, job: Job) -> None:
        """Keep a job's prompt, which is here now, in the prefix cache."""
        if self.cache is not None and job.request.blocks:
            self.cache.remember(job.request.blocks)

    def _finish(self, job: Job, now: float) -> None:
        self._go(job)
        job.last_s = now
        self.owner.finished(job, self)

    def _plan(self) -> None:
        """Let the scheduler look, and begin as many steps as are alike."""
        most, preempted = MOST_STEPS, False
        for rank in self.ranks:
            steps = rank.plan()
            if rank.preempted:
                self._tell_preempted(rank)
                preempted = True
            if steps < most:
                most = steps
        if preempted:  # their owner may have taken them
            most = min([rank.alike() for rank in self.ranks])
        if preempted and not any(rank.works for rank in self.ranks):
            self._plan()
        elif most < MOST_STEPS:
            self._begin(*self._leading(1 if preempted or not self.jumps else most))
        else:
            self._awake = False

    def _tell_preempted(self, rank: Rank) -> None:
        preempted, rank.preempted = rank.preempted, []
        for job in preempted:
            job.state = State.QUEUED
            self.owner.preempted(job, self)
        rank.batch.chunks = [chunk for chunk in rank.batch.chunks if chunk[0] in rank.prefilling]

    def _leading_of_all(self, most: int) -> tuple[int, float, float]:
        """Return how many of the next steps of the slowest rank lie on one line, and that line."""
        return lead(self.cost.lines_of([rank.work() for rank in self.ranks]), most)

    def _begin(self, steps: int, first_s: float, rise_s: float) -> None:
        """Begin so many steps, the first of `first_s` seconds, each later one longer by `rise_s`."""
        self._start_s = start_s = self.events.now
        self._steps, self._first_s, self._rise_s, self._awake = steps, first_s, rise_s, False
        end_s = start_s + steps * (first_s + (steps - 1) * rise_s / 2)
        self._due = self.events.at(end_s, self._end, True)
        if self._reading is not None:
            for rank in self.ranks:
                for job, tokens in rank.batch.chunks:
                    self._reading(job, tokens, end_s, self)
