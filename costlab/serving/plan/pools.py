"""What pools of one kind of worker do with a load, in closed form: waits, batches, spreads, limits.

`Prompts` is a pool that only reads prompts; `Answers` one that decodes, and may read prompts between, in chunks. Both
answer for any number of workers in microseconds; the formulas stand in `sizing`.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

from costlab.serving.plan.sizing import NO_WAIT, Waiting, below, largest, no_slot, queueing
from costlab.serving.plan.workers import WorkerKind
from costlab.serving.plan.workload import Demand, Mix

#: Prompts that a rank which only reads has in a step at most.
PROMPTS = 256
#: Rounds in which steps lengthen one another until a closed form has settled; it may go on by the 1% of `_like`.
ROUNDS = 50

# --- a pool that reads prompts -----------------------------------------------------------------------------------


class Prompts:
    """A pool of workers that only read prompts, as a queue.

    Args:
        worker: of which the pool is made.
        load: at its peak rate.
    """

    def __init__(self, worker: WorkerKind, load: Demand) -> None:
        self.worker, self.load = worker, load
        #: Seconds of each shape's prefill when it starts at once.
        self.alone_s = [self._alone_s(mix) for mix in load.mixes]
        self._by_shape = {mix.shape: alone for mix, alone in zip(load.mixes, self.alone_s, strict=True)}
        taken = [self._taken_s(mix, alone) for mix, alone in zip(load.mixes, self.alone_s, strict=True)]
        shares = [mix.share for mix in load.mixes]
        self.mean_s = sum(s * t for s, t in zip(shares, taken, strict=True))
        self.cv2 = max(0.0, sum(s * t * t for s, t in zip(shares, taken, strict=True)) / self.mean_s**2 - 1)

    def reads_s(self, mix: Mix) -> float | None:
        """Return the seconds of a shape's prefill when it starts at once; None for one that this pool does not read."""
        return self._by_shape.get(mix.shape)

    @property
    def per_worker_s(self) -> float:
        """Requests a second that one worker reads at most."""
        return self.worker.ranks / self.mean_s

    def wait(self, workers: int) -> Waiting | None:
        """Return the wait at the peak rate, with work shared among so many workers; None where it grows for ever."""
        ranks, busy = self.worker.ranks, self.busy(workers)
        if ranks == 1 or busy >= 1:
            return self._queue(workers)
        step_s = self.mean_s * max(1.0, 0.5 / (1 - busy))
        return Waiting(0.0, 0.0, 1 - (1 - busy) ** ranks, step_s, step_s - self.mean_s)

    def _queue(self, workers: int) -> Waiting | None:
        servers = workers * self.worker.ranks
        return queueing(servers, self.load.peak_per_s, self.mean_s, self.cv2, self.load.cv**2)

    def busy(self, workers: int) -> float:
        """Return the share of their time that workers read at the peak rate."""
        return self.load.peak_per_s / (workers * self.per_worker_s)

    @property
    def _budget(self) -> int:
        """Prompt tokens of a full step."""
        return self.worker.step_tokens

    def _chunk_s(self, tokens: int, before: int) -> float:
        """Seconds of a step that reads so many tokens of one prompt behind so many others."""
        return self.worker.step_s(0, 0, [(tokens, before)])

    def _alone_s(self, mix: Mix) -> float:
        budget = self._budget
        full, rest = divmod(mix.new_tokens, budget)
        seconds = self._chunk_s(rest, mix.input_tokens - rest) if rest else 0.0
        if full:  # a chunk's time grows linearly with what is before it: the middle one's is the mean
            first = self._chunk_s(budget, mix.cached_tokens)
            last = self._chunk_s(budget, mix.cached_tokens + (full - 1) * budget)
            seconds += full * (first + last) / 2
        return seconds

    def _taken_s(self, mix: Mix, alone_s: float) -> float:
        """Seconds of a rank that a prompt takes when steps are full."""
        many = min(PROMPTS, self.worker.step_tokens // mix.new_tokens)
        if many < 2:
            return alone_s
        return self.worker.step_s(0, 0, [(mix.new_tokens, mix.cached_tokens)] * many) / many


# --- a pool that decodes -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class PoolState:
    """How a pool of so many workers runs at the peak rate."""

    running: float  # mean sequences of a rank
    token_s: float  # mean seconds of a step that decodes
    extra_s: float  # seconds by which a chunk lengthens a step
    chunked: float  # share of the steps that carry a chunk
    chunks2: float  # mean square of the chunks of a prompt that is read between
    busy: float  # share of its slots (or, where prompts are read, of its step budget) that is used
    no_slot: float  # chance that a request finds no slot free
    prompts_per_s: float  # prompts a second that a worker reads, all ranks together
    prompts: Prompts | None  # the prompts read between, as a queue
    wait: Waiting  # their wait for a step


class Answers:
    """A pool of workers that decode, and may read prompts in chunks between.

    Args:
        worker: of which the pool is made.
        answers: the load whose answers it makes, at its peak rate.
        prompts: the part of the load whose prompts it reads too; None for none.
        reserve: share of the room for caches that stays free.
        token_s: longest mean seconds of a step: the objective's TPOT.
        growth_tokens: of cache that are kept free for each sequence that runs, before another is let in.
    """

    def __init__(
        self,
        worker: WorkerKind,
        answers: Demand,
        prompts: Demand | None,
        *,
        reserve: float,
        token_s: float,
        growth_tokens: int = 0,
    ) -> None:
        self.worker, self.answers, self.prompts = worker, answers, prompts
        self.limit_s = token_s
        self._known: dict[int, PoolState | None] = {}
        steps = [mix.share * mix.decoded_tokens for mix in answers.mixes]
        self.steps = sum(steps)  # decode steps of a request, in the mean
        self._new = prompts.mean(lambda mix: mix.new_tokens) if prompts else 0.0
        self._cached = prompts.mean(lambda mix: mix.cached_tokens) if prompts else 0.0
        weights = [
            step / self.steps if self.steps else mix.share for step, mix in zip(steps, answers.mixes, strict=True)
        ]
        contexts = [mix.input_tokens + max(1, mix.output_tokens / 2) for mix in answers.mixes]
        self.context = sum(w * c for w, c in zip(weights, contexts, strict=True))
        kept = [worker.room.kept_bytes(round(context) + growth_tokens) for context in contexts]
        mean = sum(w * k for w, k in zip(weights, kept, strict=True))
        deviation = math.sqrt(max(0.0, sum(w * k * k for w, k in zip(weights, kept, strict=True)) - mean**2))
        #: Sequences of a rank for which memory has room, the reserve left free.
        self.memory_running = worker.running_limit(mean, deviation, reserve)
        #: Bytes on each chip of the longest sequence at its end.
        self.longest_bytes = max(worker.room.kept_bytes(mix.last_context) for mix in answers.mixes)
        if self.longest_bytes > worker.room.free_bytes * (1 - reserve):
            self.memory_running = 0

    @functools.cached_property
    def tpot_running(self) -> int:
        """Sequences of a rank at which a step without chunks takes the objective's TPOT; 0 where one alone misses.

        Answers of one token have no TPOT to miss.
        """
        if not self.steps:
            return self.worker.most_running
        return largest(lambda n: self.worker.step_s(n, self.context) <= self.limit_s, self.worker.most_running)

    @property
    def most_running(self) -> int:
        """Sequences that a rank runs at most: the batch limit of the plan."""
        worker = self.worker
        # a chunk has a token at least
        beside = (worker.step_tokens - 1) // worker.rows if self.prompts else worker.most_running
        return min(self.memory_running, self.tpot_running, beside)

    @property
    def least_workers(self) -> float:
        """Workers, in fractions, that decode as fast as answers are asked for, with full batches and no chunks."""
        if not self.steps:
            return 0.0
        running = self.most_running
        each = self.worker.ranks * running / self.worker.step_s(running, self.context)
        return self.answers.peak_per_s * self.steps / each

    def at(self, workers: int) -> PoolState | None:
        """Return how so many workers run; None where they cannot keep up."""
        if workers not in self._known:
            self._known[workers] = self._at(workers)
        return self._known[workers]

    def _at(self, workers: int) -> PoolState | None:
        ranks = workers * self.worker.ranks
        running = self._running(self.answers.peak_per_s * self.steps / ranks, ranks)
        if running is None or self.most_running < 1:
            return None
        token_s, extra_s, chunked = self._token(running, ranks)
        queue, wait = self._reading(running, ranks, token_s)
        if wait is None:
            return None
        share = max(running / self.most_running, queue.busy(workers) if queue else 0.0)
        full = no_slot(ranks * self.most_running, ranks * running)
        come = self.prompts.peak_per_s / workers if self.prompts else 0.0
        chunks2 = self._chunks2(running)
        return PoolState(running, token_s, extra_s, chunked, chunks2, share, full, come, queue, wait)

    def _running(self, wanted: float, ranks: int) -> float | None:
        """Sequences of a rank by Little's law, n = wanted x seconds of a step with n; None where there are too many.

        Newton's steps from below: the seconds rise ever steeper with n, so no step goes beyond the least solution.
        """
        running = 1e-6  # a step without any sequence is none
        for _ in range(50):
            asked, more = (wanted * self._token(n, ranks)[0] for n in (running, running + 1e-3))
            if asked <= running:
                break
            slope = (more - asked) / 1e-3
            if not (asked <= self.most_running and slope < 1):  # nor where neither is a number
                return None
            last, running = running, running + (asked - running) / (1 - slope)
            if running > self.most_running:
                return None
            if running - last <= 1e-6 * running:
                break
        return running

    def token_s(self, running: float, ranks: int) -> float:
        """Return the mean seconds of a step of `ranks` ranks that run so many sequences each, chunks included."""
        return self._token(running, ranks)[0]

    def _token(self, running: float, ranks: int) -> tuple[float, float, float]:
        """Mean seconds of a step, seconds that a chunk adds, share of steps of a rank with a chunk."""
        plain = self.worker.step_s(running, self.context)
        if self.prompts is None:
            return plain, 0.0, 0.0
        found = self._long_steps(running, ranks, plain, plain)
        for _ in range(ROUNDS):
            if found is None or abs(found[0] - found[1]) <= 1e-4 * found[0]:
                break
            first = found
            found = self._long_steps(running, ranks, plain, first[0])
            if found is None:
                break
            bend = found[0] - 2 * first[0] + first[1]  # Aitken's: where steps that shrink in proportion lead
            ahead = first[1] - (first[0] - first[1]) ** 2 / bend if bend else found[0]
            found = self._long_steps(running, ranks, plain, ahead if ahead > plain else found[0])
        return (math.inf, 0.0, 1.0) if found is None else (found[0], found[2], found[3])

    def _long_steps(
        self, running: float, ranks: int, plain: float, token_s: float
    ) -> tuple[float, float, float, float] | None:
        """Seconds of a step that follow from those taken, both; what a chunk adds; share of a rank's steps with one.

        None where more prompts come than steps can read.
        """
        assert self.prompts is not None
        chunk, before = self._chunk(running)
        mine = self.prompts.peak_per_s / ranks * self._new * token_s / chunk
        if mine > 1:
            return None
        any_rank = 1 - (1 - mine) ** self.worker.ranks
        busy = self.worker.ranks * mine / any_rank if any_rank > 0 else 1.0
        extra = max(0.0, self.worker.chunk_step_s(running, self.context, chunk, before, busy) - plain)
        if self.worker.ranks > 1:
            return plain + any_rank * extra, token_s, extra, mine
        left = 1 - mine / token_s * extra  # of one rank at once: the share of long steps grows with them
        return (plain / left, token_s, extra, mine / token_s * plain / left) if left > 0 else None

    def _chunk(self, running: float) -> tuple[float, float]:
        """Tokens of a chunk and tokens before it, in the mean: no whole numbers, so that times have no steps."""
        assert self.prompts is not None
        chunk = max(1.0, min(self.worker.step_tokens - self.worker.rows * running, self._new))
        return chunk, self._cached + max(0.0, self._new - chunk) / 2

    def _chunks2(self, running: float) -> float:
        if self.prompts is None:
            return 0.0
        chunk, _ = self._chunk(running)
        return self.prompts.mean(lambda mix: (mix.new_tokens / chunk) ** 2)

    def _reading(self, running: float, ranks: int, token_s: float) -> tuple[Prompts | None, Waiting | None]:
        if self.prompts is None:
            return None, NO_WAIT
        between = _Between(self, running, token_s, ranks)
        return between, between.wait(ranks // self.worker.ranks)

    def meets_tpot(self, batch: PoolState, index: int, delay_s: float = 0.0) -> float:
        """Return the chance that a request of a shape has a TPOT within the objective; arguments as of `tpot`."""
        return below(self.limit_s, *self.tpot(batch, index, delay_s))

    def tpot(self, batch: PoolState, index: int, delay_s: float = 0.0) -> tuple[float, float]:
        """Return mean and standard deviation of a shape's TPOT; (0, 0) for answers of one token.

        Args:
            batch: how the pool runs.
            index: of the shape.
            delay_s: seconds from its first token to its cache's arrival.
        """
        steps = self.answers.mixes[index].decoded_tokens
        if not steps:
            return 0.0, 0.0
        mean = batch.token_s + delay_s / steps
        if self.prompts is None:
            return mean, 0.0
        come = batch.prompts_per_s * steps * batch.token_s  # prompts that the worker begins while the answer is made
        return mean, math.sqrt(come * batch.chunks2) * batch.extra_s / steps


class _Between(Prompts):
    """Prompts read in chunks beside `running` decoding sequences; a step takes as long as both."""

    def __init__(self, pool: Answers, running: float, token_s: float, ranks: int) -> None:
        assert pool.prompts is not None
        self._running, self._context, self._token_s = running, pool.context, token_s
        self._busy = 1.0  # ranks that read at the same time: one, then as many as the load keeps busy
        super().__init__(pool.worker, pool.prompts)
        self._busy = max(1.0, min(1.0, pool.prompts.peak_per_s * self.mean_s / ranks) * pool.worker.ranks)
        if self._busy > 1:
            super().__init__(pool.worker, pool.prompts)

    def wait(self, workers: int) -> Waiting | None:
        """Return the wait of a queue: each rank goes on with its own prompt, a chunk in each step."""
        return self._queue(workers)

    @property
    def _budget(self) -> int:
        return max(1, round(self.worker.step_tokens - self.worker.rows * self._running))

    def _chunk_s(self, tokens: int, before: int) -> float:
        return self.worker.chunk_step_s(self._running, self._context, tokens, before, self._busy)

    def _alone_s(self, mix: Mix) -> float:
        return super()._alone_s(mix) + self._token_s / 2  # the step in flight ends first

    def _taken_s(self, mix: Mix, alone_s: float) -> float:
        many = self._budget // mix.new_tokens
        if many < 2:
            return alone_s - self._token_s / 2
        return self._chunk_s(mix.new_tokens * many, mix.cached_tokens) / many
