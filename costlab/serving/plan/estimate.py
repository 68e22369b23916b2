"""The closed form of a whole layout: which share of the requests meets the objective, and at which times."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence

from costlab.serving.links import Link, SentBytes
from costlab.serving.metrics import Objective
from costlab.serving.plan.candidates import Candidate, Figures
from costlab.serving.plan.pools import Answers, PoolState, Prompts
from costlab.serving.plan.sizing import NO_WAIT, below
from costlab.serving.plan.space import Space, growth_tokens
from costlab.serving.plan.workers import WorkerKind
from costlab.serving.plan.workload import Demand, Mix


class ClosedForm:
    """The formulas of pools, put together for a load and an objective.

    Args:
        space: for the reserve and the model.
        demand: the offered load, at its peak.
        objective: what requests should meet.
    """

    def __init__(self, space: Space, demand: Demand, objective: Objective) -> None:
        self.space, self.demand, self.objective = space, demand, objective
        self._sent = functools.cache(lambda group: SentBytes.of(space.loaded, group))
        self._sizes = functools.cache(lambda group: [self._sent(group)(mix.input_tokens) for mix in demand.mixes])

    def answers(self, kind: WorkerKind, prompts: Demand | None, apart: bool = True) -> Answers:
        """Return the pool of a kind of worker that decodes, and reads these prompts; `apart` from a prefill pool."""
        reserve, limit = self.space.reserve, self.objective.tpot_s
        growth = growth_tokens(self.demand) if apart else 0
        return Answers(kind, self.demand, prompts, reserve=reserve, token_s=limit, growth_tokens=growth)

    def decode_met(self, answers: Answers, workers: int) -> float:
        """Return the share of requests that find a slot and meet the TPOT objective, with caches there at once."""
        batch = answers.at(workers)
        if batch is None:
            return 0.0
        mixes = enumerate(self.demand.mixes)
        return (1 - batch.no_slot) * sum(mix.share * answers.meets_tpot(batch, i) for i, mix in mixes)

    def met_together(self, answers: Answers, workers: int) -> float:
        """Return the share of requests that meet both objectives, where those who decode read all prompts."""
        return self.meeting(answers, workers, (), ())(())

    def meeting(
        self, answers: Answers, workers: int, queues: Sequence[Prompts], delays: Sequence[float]
    ) -> Callable[[Sequence[int]], float]:
        """Return the share of requests that meet both objectives, as a function of the workers of each prefill pool."""
        batch = answers.at(workers)
        if batch is None:
            return lambda sizes: 0.0
        paths = [self._path(batch, queues, mix) for mix in self.demand.mixes]
        token_met = [
            mix.share * (1 - batch.no_slot) * answers.meets_tpot(batch, i, delays[i] if path[0] >= 0 else 0.0)
            for i, (mix, path) in enumerate(zip(self.demand.mixes, paths, strict=True))
        ]

        def met(sizes: Sequence[int]) -> float:
            waits = [*(queue.wait(n) for queue, n in zip(queues, sizes, strict=True)), batch.wait]
            if None in waits:
                return 0.0
            firsts = (waits[at].within(self.objective.ttft_s - seconds) for at, seconds in paths)  # type: ignore[union-attr]
            return sum(first * token for first, token in zip(firsts, token_met, strict=True))

        return met

    def _path(self, batch: PoolState, queues: Sequence[Prompts], mix: Mix) -> tuple[int, float]:
        """Which pool reads a shape's prompt, -1 for those who decode, and the seconds that it takes once it starts."""
        at = self._reader(queues, mix)
        reader = queues[at] if at >= 0 else batch.prompts
        assert reader is not None
        seconds = reader.reads_s(mix)
        assert seconds is not None
        return at, seconds

    def _reader(self, queues: Sequence[Prompts], mix: Mix) -> int:
        """Which of the queues reads a shape's prompt; -1 for none of them."""
        return next((at for at, queue in enumerate(queues) if queue.reads_s(mix) is not None), -1)

    def figures(
        self, answers: Answers, workers: int, pairs: Sequence[tuple[Prompts, int]], delays: Sequence[float]
    ) -> Figures:
        """Return the figures of a layout: pools that decode and that read prompts, with so many workers each.

        Args:
            answers: the pool that decodes.
            workers: how many it has.
            pairs: each pool that reads prompts, and how many workers it has.
            delays: seconds of moving each shape's cache.
        """
        batch = answers.at(workers)
        assert batch is not None
        queues, sizes = [queue for queue, _ in pairs], [n for _, n in pairs]
        own = sum(queue.busy(n) * n for queue, n in pairs) / sum(sizes) if pairs else math.nan
        return Figures(
            ttft_s=self.ttft_s(batch, pairs),
            tpot_s=self.tpot_s(answers, batch, queues, delays) if answers.steps else math.nan,
            met=self.meeting(answers, workers, queues, delays)(sizes),
            running=batch.running * workers * answers.worker.ranks,
            prefill_busy=batch.prompts.busy(workers) if batch.prompts and not pairs else own,
            decode_busy=batch.running / answers.most_running,
        )

    def ttft_s(self, batch: PoolState, pairs: Sequence[tuple[Prompts, int]]) -> float:
        """Return the TTFT that the objective's share of the requests does not exceed; arguments as of `figures`."""
        queues = [queue for queue, _ in pairs]
        waits = [*(queue.wait(n) or NO_WAIT for queue, n in pairs), batch.wait]
        shaped = [(mix.share, *self._path(batch, queues, mix)) for mix in self.demand.mixes]
        rows = [(share, waits[at].within, own) for share, at, own in shaped]
        return _solve(lambda s: sum([share * within(s - own) for share, within, own in rows]), self.objective.share)

    def tpot_s(
        self,
        answers: Answers,
        batch: PoolState,
        queues: Sequence[Prompts],
        delays: Sequence[float],
        share: float | None = None,
    ) -> float:
        """Return the TPOT that a share of the requests does not exceed, the objective's where none is given."""
        rows = []
        for i, mix in enumerate(self.demand.mixes):
            delay_s = delays[i] if self._reader(queues, mix) >= 0 else 0.0
            rows.append((mix.share, *answers.tpot(batch, i, delay_s)))
        return _solve(
            lambda s: sum([part * below(s, *each) for part, *each in rows]),
            self.objective.share if share is None else share,
        )

    def sent(self, to: WorkerKind) -> SentBytes:
        """Return the bytes of a prompt's cache that a kind of worker receives."""
        return self._sent(to.deployment.tensor_parallel)

    def delays(self, link: Link, to: WorkerKind) -> list[float]:
        """Return the seconds in which each shape's cache crosses a link to a kind of worker."""
        return [link.alone_s(size) for size in self._sizes(to.deployment.tensor_parallel)]


def closed_form(candidate: Candidate, space: Space, demand: Demand, objective: Objective) -> Figures:
    """Return the figures of a candidate whose workers may not be those that a search gave it.

    Its times are infinite where the closed form says that its queue or its batch grows for ever.
    """
    form, apart = ClosedForm(space, demand, objective), bool(candidate.prefill)
    threshold = candidate.threshold_tokens
    prompts = demand.where(0, threshold) if threshold is not None else None if apart else demand
    answers = form.answers(candidate.decode.worker, prompts, apart)
    loads = [demand.where(pool.least_tokens, pool.most_tokens) for pool in candidate.prefill]
    pairs = [(Prompts(p.worker, load), p.workers) for p, load in zip(candidate.prefill, loads, strict=True) if load]
    delays = form.delays(candidate.link, candidate.decode.worker) if candidate.link else []
    if answers.at(candidate.decode.workers) is None or any(queue.wait(n) is None for queue, n in pairs):
        return Figures(math.inf, math.inf, 0.0, math.inf, 1.0, 1.0)
    return form.figures(answers, candidate.decode.workers, pairs, delays)


def _solve(share_by: Callable[[float], float], share: float) -> float:
    """The least time by which a share is reached; infinity where none is."""
    high = 1e-3
    while share_by(high) < share:
        high *= 2
        if high > 1e6:
            return math.inf
    low = 0.0
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (low, middle) if share_by(middle) >= share else (middle, high)
    return high
