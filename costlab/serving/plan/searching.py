"""Which layouts could serve a load, each with as few workers as meet the objective, in closed form.

A search tries every pair of worker kinds in every layout, finds the least workers of each by the formulas of `sizing`,
and sorts what is found by cost. What cannot serve says why: memory, TTFT, TPOT, link or ratio, with its numbers.

Chapter: serving
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from costlab.serving.links import Link
from costlab.serving.metrics import Objective
from costlab.serving.plan.candidates import Candidate, LayoutKind, PlannedPool, Reason, Refused, plan_name
from costlab.serving.plan.estimate import ClosedForm
from costlab.serving.plan.pareto import front
from costlab.serving.plan.pools import PROMPTS, Answers, Prompts
from costlab.serving.plan.reasons import MOST_WORKERS, Reasons, too_many_chips
from costlab.serving.plan.sizing import smallest
from costlab.serving.plan.space import Space
from costlab.serving.plan.workers import WorkerKind
from costlab.serving.plan.workload import Demand


@dataclass(frozen=True)
class SearchOutcome:
    """What a search found."""

    candidates: tuple[Candidate, ...]  # that meet the objective in closed form, cheapest first
    refused: tuple[Refused, ...]  # those that cannot, and why
    infeasible: Reason | None = None  # why nothing can, however many workers


def search(space: Space, demand: Demand, objective: Objective) -> SearchOutcome:
    """Return every layout of a space that meets an objective in closed form, with its least workers.

    Args:
        space: what to look through.
        demand: the offered load; workers are sized for its peak.
        objective: TTFT and TPOT, and the share of requests that should meet both.

    Raises:
        ValueError: an unknown model or chip.
    """
    return _Search(space, demand, objective).found()


#: Candidates of one layout that a search returns at most.
KEPT = 12


@dataclass(frozen=True, eq=False)
class _Sized:
    """A layout whose least workers are known; its figures are computed only if it is kept."""

    layout: LayoutKind
    prefill: tuple[PlannedPool, ...]
    decode: PlannedPool
    answers: Answers
    queues: tuple[tuple[Prompts, int], ...] = ()
    delays: tuple[float, ...] = ()
    threshold: int | None = None
    link: Link | None = None

    @property
    def pools(self) -> tuple[PlannedPool, ...]:
        return (*self.prefill, self.decode)


class _Search:
    def __init__(self, space: Space, demand: Demand, objective: Objective) -> None:
        self.space, self.demand, self.objective = space, demand, objective
        self.form = ClosedForm(space, demand, objective)
        self.reasons = Reasons(self.form)
        self.refused: dict[Refused, None] = {}  # once each, in order
        # what many layouts have alike, computed once: workers by their budget, decode pools, queues of prompts
        self._kinds_at: dict[tuple[WorkerKind, int], WorkerKind] = {}
        self._decoders: dict[WorkerKind, Answers] = {}
        self._queues: dict[tuple[WorkerKind, int, float], Prompts] = {}
        self.least_ttft_s = self.least_tpot_s = math.inf  # of a single request, by any worker that holds it

    def found(self) -> SearchOutcome:
        decoders, readers = self.space.decode_chips, self.space.prefill_chips or self.space.decode_chips
        kinds = {chip: self._kinds(chip) for chip in dict.fromkeys([*decoders, *readers])}
        plain = [kind for chip in dict.fromkeys(decoders) for kind in kinds[chip]]
        drafts = (dataclasses.replace(kind, drafting=d) for kind in plain for d in self.space.draftings)
        decode = [*plain, *filter(self._holds, drafts)]
        budget = self.space.prefill_tokens
        prefill = [self._at_budget(kind, budget) for chip in dict.fromkeys(readers) for kind in kinds[chip]]
        candidates: list[Candidate] = []
        for layout in self.space.layouts:
            candidates += [self._candidate(one) for one in self._best([*self._layout(layout, prefill, decode)])]
        candidates.sort(key=lambda c: (c.usd_per_hour, c.chips))
        if not (candidates or self.refused):
            alike = "all uncached prompts are of one length, and cannot be parted by it"
            self._refuse(", ".join(self.space.layouts), Reason("load", alike))
        return SearchOutcome(tuple(candidates), tuple(self.refused), None if candidates else self._infeasible())

    def _infeasible(self) -> Reason | None:
        """Why nothing can serve, if a single request alone misses the objective, or nothing holds the model."""
        if math.isinf(self.least_tpot_s):
            memory = (refused.reason for refused in self.refused if refused.reason.constraint == "memory")
            return next(memory, None)
        return self.reasons.alone(self.least_ttft_s, self.least_tpot_s)

    def _best(self, sized: list[_Sized]) -> list[_Sized]:
        """The front of cost, seconds of a token and of a prefill; what is left of `KEPT` goes to the cheapest."""
        costs = {one: (self.space.usd_per_hour(one.pools), *_slowness(one)) for one in sized}
        sized.sort(key=costs.__getitem__)
        best = front(sized, costs.__getitem__)[:KEPT]
        rest = [one for one in sized if one not in best]
        return [*best, *rest[: KEPT - len(best)]]

    def _candidate(self, one: _Sized) -> Candidate:
        figures = self.form.figures(one.answers, one.decode.workers, one.queues, one.delays)
        usd = self.space.usd_per_hour(one.pools)
        return Candidate(one.layout, one.prefill, one.decode, figures, usd, one.threshold, one.link)

    # --- workers -----------------------------------------------------------------------------------------------

    def _kinds(self, chip: str) -> list[WorkerKind]:
        """Workers of a chip that hold the weights and the longest request."""
        found = [*filter(self._holds, (WorkerKind(chip, node) for node in self.space.deployments(chip)))]
        if not found and not any(r.reason.constraint == "memory" for r in self.refused):
            self._refuse(chip, Reason("memory", f"no group of {chip} that divides the heads holds the weights"))
        return found

    def _holds(self, kind: WorkerKind) -> bool:
        """Say whether a kind of worker holds the weights and the longest request; if not the reason is noted."""
        reason = self.reasons.memory(kind)
        if reason:
            self._refuse(kind.name, reason)
        return reason is None

    def _refuse(self, name: str, reason: Reason, usd_per_hour: float = math.nan) -> None:
        self.refused[Refused(name, reason, usd_per_hour)] = None

    # --- layouts -----------------------------------------------------------------------------------------------

    def _layout(self, layout: LayoutKind, prefill: list[WorkerKind], decode: list[WorkerKind]) -> Iterator[_Sized]:
        if layout == "co-located":
            for kind, budget in itertools.product(decode, self.space.step_tokens):
                yield from self._co_located(self._at_budget(kind, budget))
            return
        edges = self._edges()
        if layout == "separated":
            for to in decode:
                yield from self._separated(layout, [(0, math.inf)], prefill, self._decoder(to))
        elif layout == "buckets":
            for to, edge in itertools.product(decode, edges):
                yield from self._separated(layout, [(0, edge), (edge, math.inf)], prefill, self._decoder(to))
        else:
            for kind, budget, edge in itertools.product(decode, self.space.step_tokens, edges):
                answers = self.form.answers(self._at_budget(kind, budget), self.demand.where(0, edge))
                yield from self._separated(layout, [(edge, math.inf)], prefill, answers, edge)

    def _at_budget(self, kind: WorkerKind, step_tokens: int) -> WorkerKind:
        if (kind, step_tokens) not in self._kinds_at:
            self._kinds_at[kind, step_tokens] = dataclasses.replace(kind, step_tokens=step_tokens)
        return self._kinds_at[kind, step_tokens]

    def _decoder(self, kind: WorkerKind) -> Answers:
        """The pool of a kind of worker that only decodes."""
        if kind not in self._decoders:
            self._decoders[kind] = self.form.answers(kind, None)
        return self._decoders[kind]

    def _edges(self) -> list[int]:
        """Uncached lengths between which prompts may be parted: up to three."""
        lengths = sorted({mix.new_tokens for mix in self.demand.mixes})[:-1]
        return lengths if len(lengths) <= 3 else [lengths[len(lengths) * k // 4] for k in (1, 2, 3)]

    def _co_located(self, kind: WorkerKind) -> Iterator[_Sized]:
        answers = self.form.answers(kind, self.demand, apart=False)
        name = f"co-located {kind.name}, {kind.step_tokens} tokens a step"
        if reason := self._limits(answers):
            return self._refuse(name, reason)
        alone = Prompts(kind, self.demand)
        self._note_alone(alone)
        least = max(answers.least_workers, self.demand.peak_per_s / alone.per_worker_s)
        workers = smallest(
            lambda n: self.form.met_together(answers, n) >= self.objective.share, MOST_WORKERS, _whole(least)
        )
        if workers is None:
            return self._refuse(name, self.reasons.unmet(answers, [], MOST_WORKERS))
        yield from self._within(_Sized("co-located", (), _pool("workers", answers, workers), answers))

    def _separated(
        self,
        layout: LayoutKind,
        ranges: Sequence[tuple[float, float]],
        prefill: list[WorkerKind],
        answers: Answers,
        threshold: int | None = None,
    ) -> Iterator[_Sized]:
        """Size decode workers first, then for each kind of prefill worker the least of each range of lengths."""
        name = f"{layout} {answers.worker.name} decode"
        if reason := self._limits(answers):
            return self._refuse(name, reason)
        wanted = self.reasons.decode_share
        least = _whole(answers.least_workers)
        workers = smallest(lambda n: self.form.decode_met(answers, n) >= wanted, MOST_WORKERS, least)
        if workers is None:
            return self._refuse(name, self.reasons.unmet(answers, None, MOST_WORKERS))
        parts = [(int(a), b, load) for a, b in ranges if (load := self.demand.where(int(a), b))]
        for kind in prefill:
            yield from self._with_prefill(layout, parts, kind, answers, workers, threshold)

    def _with_prefill(
        self,
        layout: LayoutKind,
        parts: Sequence[tuple[int, float, Demand]],
        kind: WorkerKind,
        answers: Answers,
        workers: int,
        threshold: int | None,
    ) -> Iterator[_Sized]:
        to = answers.worker
        name = f"{layout} {kind.name} prefill, {to.name} decode"
        if reason := self.reasons.two_prompts(kind, parts[-1][2]):
            return self._refuse(name, reason)
        queues = [self._queue(kind, a, b, load) for a, b, load in parts]
        for queue in queues:
            self._note_alone(queue)
        link, chip_bytes_s = self.space.link_of(kind, to)
        delays = self.form.delays(link, to)
        sizes = self._least(queues, answers, workers, delays)
        if sizes is None:
            return self._refuse(name, self.reasons.unmet(answers, queues, workers, delays))
        if reason := self.reasons.link(
            kind, sum(sizes), answers, workers, chip_bytes_s, [load for _, _, load in parts]
        ):
            return self._refuse(name, reason)
        reader = dataclasses.replace(kind, most_running=min(PROMPTS, kind.step_tokens))
        pools = tuple(
            PlannedPool("prefill", reader, n, queue.busy(n), a, b)
            for (a, b, _), queue, n in zip(parts, queues, sizes, strict=True)
        )
        pairs = tuple(zip(queues, sizes, strict=True))
        pool = _pool("decode", answers, workers)
        yield from self._within(_Sized(layout, pools, pool, answers, pairs, tuple(delays), threshold, link))

    def _queue(self, kind: WorkerKind, least: int, most: float, load: Demand) -> Prompts:
        """The prompts of a range of lengths at a kind of worker, which many pairs have alike."""
        if (kind, least, most) not in self._queues:
            self._queues[kind, least, most] = Prompts(kind, load)
        return self._queues[kind, least, most]

    def _least(
        self, queues: Sequence[Prompts], answers: Answers, workers: int, delays: Sequence[float]
    ) -> list[int] | None:
        """The least workers of each prefill pool, one after another, those that follow unlimited."""
        met = self.form.meeting(answers, workers, queues, delays)
        sizes = [MOST_WORKERS] * len(queues)
        if met(sizes) < self.objective.share:
            return None
        for i in range(len(queues)):
            before, after = sizes[:i], sizes[i + 1 :]

            def enough(n: int, before: list[int] = before, after: list[int] = after) -> bool:
                return met([*before, n, *after]) >= self.objective.share

            least = _whole(queues[i].load.peak_per_s / queues[i].per_worker_s)
            sizes[i] = smallest(enough, MOST_WORKERS, least) or MOST_WORKERS
        return sizes

    def _within(self, sized: _Sized) -> Iterator[_Sized]:
        """Pass on what the chips that there are suffice for."""
        chips, most = sum(pool.chips for pool in sized.pools), self.space.most_chips
        if most is None or chips <= most:
            yield sized
        else:
            self._refuse(
                plan_name(sized.layout, sized.pools, sized.threshold),
                too_many_chips(sized.pools, most),
                self.space.usd_per_hour(sized.pools),
            )

    # --- whether it meets the objective ------------------------------------------------------------------------

    def _limits(self, answers: Answers) -> Reason | None:
        """Why workers of a kind cannot decode this load one by one; the seconds of a token of one alone are noted."""
        self.least_tpot_s = min(self.least_tpot_s, answers.worker.step_s(1, answers.context) if answers.steps else 0.0)
        return self.reasons.one_by_one(answers)

    def _note_alone(self, queue: Prompts) -> None:
        slowest = 0.0
        left = self.objective.share
        for seconds, mix in sorted(zip(queue.alone_s, queue.load.mixes, strict=True), key=lambda each: each[0]):
            slowest = seconds
            left -= mix.share
            if left <= 1e-9:
                break
        self.least_ttft_s = min(self.least_ttft_s, slowest)


def _whole(least: float) -> int:
    """The first number of workers to try: not more than are needed, rounding included."""
    return max(1, min(MOST_WORKERS, math.ceil(least * (1 - 1e-9))))


def _pool(name: str, answers: Answers, workers: int) -> PlannedPool:
    """The pool that decodes, its workers' batch limit set."""
    batch = answers.at(workers)
    assert batch is not None
    kind = dataclasses.replace(answers.worker, most_running=answers.most_running)
    return PlannedPool(name, kind, workers, batch.busy)


def _slowness(sized: _Sized) -> tuple[float, float]:
    """Seconds of a token and of a mean prefill, waits left out."""
    batch = sized.answers.at(sized.decode.workers)
    assert batch is not None
    queues = [queue for queue, _ in sized.queues] or ([batch.prompts] if batch.prompts else [])
    return batch.token_s, max(sum(queue.alone_s) / len(queue.alone_s) for queue in queues)
