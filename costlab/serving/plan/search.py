"""Which layouts could serve a load, each with as few workers as meet the objective, in closed form.

A search tries every pair of worker kinds in every layout, finds the least workers of each by the formulas of `sizing`,
and sorts what is found by cost. What cannot serve says why: memory, TTFT, TPOT, link or ratio, with its numbers.

Chapter: serving
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from costlab import arch, catalog
from costlab.arch import Model
from costlab.checks import count, one_of
from costlab.roofline import Deployment, Efficiency
from costlab.serving.links import Link, SentBytes
from costlab.serving.metrics import Objective
from costlab.serving.plan.pareto import front
from costlab.serving.plan.pools import Answers, Drafting, PoolState, Prompts, WorkerKind
from costlab.serving.plan.sizing import NO_WAIT, below, smallest
from costlab.serving.plan.workload import Demand, Mix

LayoutKind = Literal["co-located", "separated", "conditional", "buckets"]
#: Who reads prompts: the workers that decode; workers of their own; these only above a length; these, by length.
LAYOUTS: tuple[LayoutKind, ...] = ("co-located", "separated", "conditional", "buckets")

Constraint = Literal["memory", "TTFT", "TPOT", "link", "ratio", "load"]

#: Workers of a pool that a search considers at most.
MOST_WORKERS = 4096
#: Share of a link's bandwidth that transfers may use at the peak rate; above it they queue.
LINK_SHARE = 0.7
#: Seconds of set-up of a transfer, unless given: between the two published fits (serving facts: 0.39 and 1.84 ms).
LINK_LATENCY_S = 1e-3


@dataclass(frozen=True)
class Reason:
    """Why a layout cannot serve, by the constraint that binds."""

    constraint: Constraint  # what binds
    words: str  # the same as a sentence with its numbers


@dataclass(frozen=True)
class PlannedPool:
    """Equal workers that do the same."""

    name: str  # "prefill", "decode", or "workers" where they do both
    worker: WorkerKind  # one of them
    workers: int  # how many
    busy: float  # share of their capacity that the peak load uses, 0 to 1
    least_tokens: int = 0  # of uncached prompt: the pool takes requests with more
    most_tokens: float = math.inf  # of uncached prompt: and with at most so many

    @property
    def chips(self) -> int:
        """Chips of all its workers."""
        return self.workers * self.worker.deployment.chips


@dataclass(frozen=True)
class Figures:
    """What a plan yields at the peak rate, by the closed form or by a simulation."""

    ttft_s: float  # time to first token that the objective's share of requests does not exceed
    tpot_s: float  # time per output token that this share does not exceed
    met: float  # share of requests that meet the objective, 0 to 1
    running: float  # mean sequences that decode, on all workers together
    prefill_busy: float  # share of their time that the workers that read prompts spend in steps
    decode_busy: float  # share of the decode slots that is used; NaN where not known
    kv_peak: float = math.nan  # largest share of a worker's cache room in use at once


@dataclass(frozen=True)
class Candidate:
    """A layout with as many workers as the closed form asks for."""

    layout: LayoutKind  # who reads prompts
    prefill: tuple[PlannedPool, ...]  # that read prompts only; none where co-located, several by length with buckets
    decode: PlannedPool  # that decode; where co-located or conditional they read prompts too
    closed: Figures  # by the closed form
    usd_per_hour: float  # of all chips
    threshold_tokens: int | None = None  # conditional: longer uncached prompts go to the prefill pool
    link: Link | None = None  # what caches cross; None where they stay

    @property
    def pools(self) -> tuple[PlannedPool, ...]:
        """All pools."""
        return (*self.prefill, self.decode)

    @property
    def chips(self) -> int:
        """Chips of all pools."""
        return sum(pool.chips for pool in self.pools)

    @property
    def name(self) -> str:
        """The layout in a few words: how many workers of how many chips in each pool."""
        return _name(self.layout, self.pools, self.threshold_tokens)


def _name(layout: str, pools: Iterable[PlannedPool], threshold: int | None = None) -> str:
    *others, last = pools
    above = "" if threshold is None else f" above {threshold}"
    reads = f", {last.worker.step_tokens} tokens a step" if threshold is not None or not others else ""
    return f"{layout}{above} {' + '.join(map(pool_text, [*others, last]))}{reads}"


def pool_text(pool: PlannedPool) -> str:
    """Return a pool in a few words: 2x4 h100-sxm TP4 prefill, two workers of four chips."""
    node = pool.worker.deployment
    split = [f"TP{node.tensor_parallel}"] if node.tensor_parallel > 1 else []
    split += [f"DP{node.replicas}"] if node.replicas > 1 else []
    split += [f"EP{node.chips}"] if node.moe and node.chips > 1 else []
    draft = [f"drafting {pool.worker.drafting.length}"] if pool.worker.drafting else []
    return " ".join([f"{pool.workers}x{node.chips}", pool.worker.chip, *split, pool.name, *draft])


@dataclass(frozen=True)
class Refused:
    """A layout that cannot serve."""

    name: str  # in a few words
    reason: Reason  # why
    usd_per_hour: float = math.nan  # what it would have cost, where it was sized


@dataclass(frozen=True)
class Space:
    """What a search looks through.

    Raises:
        ValueError: an unknown layout; a number out of range.
    """

    model: str  # key in the catalog
    decode_chips: tuple[str, ...]  # keys of chips that decode
    prefill_chips: tuple[str, ...] = ()  # of chips that read prompts in pools of their own; empty: as those that decode
    rents: Mapping[str, float] = field(default_factory=dict)  # USD per chip-hour, by chip; 1 where missing
    layouts: tuple[LayoutKind, ...] = LAYOUTS  # which
    tensor_parallel: tuple[int, ...] = (1, 2, 4, 8)  # chips of a rank
    step_tokens: tuple[int, ...] = (512, 2048, 8192)  # budgets of a step, where prompts are read beside decode
    prefill_tokens: int = 8192  # budget of a step of a prefill worker
    draftings: tuple[Drafting, ...] = ()  # ways of speculation, tried in decode pools of their own
    efficiency: Efficiency = field(default_factory=Efficiency)  # shares of the peaks that are reached
    step_s: float = 0.0  # seconds of each step that hide behind nothing
    memory_share: float = 0.9  # share of each chip's memory that weights and cache may use
    reserve: float = 0.05  # share of the room for caches that stays free, on top
    most_chips: int | None = None  # chips that there are; None: no limit
    link_latency_s: float = LINK_LATENCY_S  # set-up of a transfer
    link_bytes_s: float | None = None  # per chip, from pool to pool; None: the chips' network, at the link efficiency

    def __post_init__(self) -> None:
        for layout in self.layouts:
            one_of(LAYOUTS, layout, "layout")
        for budget in (*self.step_tokens, self.prefill_tokens):
            count(budget, "step tokens")
        if not 0 <= self.reserve < 1:
            raise ValueError(f"reserve = {self.reserve} should be at least 0 and below 1")
        for chip, rent in self.rents.items():
            if not 0 <= rent < math.inf:
                raise ValueError(f"rent of {chip} = {rent} should be a finite number of at least 0")
        if self.most_chips is not None:
            count(self.most_chips, "chips")

    @functools.cached_property
    def loaded(self) -> Model:
        """The model."""
        return arch.load(self.model)

    def rent(self, chip: str) -> float:
        """Return the rent of a chip in USD per hour; 1 where none is given, so that chips are counted."""
        return self.rents.get(chip, 1.0)

    def deployments(self, chip: str) -> Iterator[Deployment]:
        """Yield the ways of splitting a worker over chips: tensor-parallel groups, and with experts several of them.

        Dense models gain nothing from several replicas in one worker: they are workers of their own. With experts a
        worker doubles from one group to the first size that holds the weights, and twice beyond.
        """
        record = catalog.chip(chip)
        for group in self.tensor_parallel:
            if group > record.chips_per_node or not _splits(self.loaded, group):
                continue
            sizes = [1] if not _has_experts(self.loaded) else [2**k for k in range(9)]
            fitting = 0
            for replicas in sizes:
                node = Deployment(
                    self.loaded, record, group * replicas, group, self.efficiency, True, self.memory_share,
                    step_s=self.step_s,
                )  # fmt: skip
                fitting += node.fits()
                if node.fits() or len(sizes) == 1:
                    yield node
                if fitting == _SIZES:
                    break

    def link_of(self, prefill: WorkerKind, decode: WorkerKind) -> tuple[Link, float]:
        """Return the link between two workers, and its bandwidth per chip: the slower side's network, of a rank."""
        share = self.efficiency.link
        each = self.link_bytes_s or share * min(w.deployment.chip.network_bytes_s for w in (prefill, decode))
        group = min(prefill.deployment.tensor_parallel, decode.deployment.tensor_parallel)
        return Link(each * group, self.link_latency_s), each


#: Sizes of a worker with experts that are tried, from the smallest that holds the weights on.
_SIZES = 2


def _splits(model: Model, group: int) -> bool:
    return all(attention.heads % group == 0 for attention, _ in model.layers)


def _has_experts(model: Model) -> bool:
    return any(isinstance(ffn, arch.MoE) for _, ffn in model.layers)


@dataclass(frozen=True)
class Found:
    """What a search found."""

    candidates: tuple[Candidate, ...]  # that meet the objective in closed form, cheapest first
    refused: tuple[Refused, ...]  # those that cannot, and why
    infeasible: Reason | None = None  # why nothing can, however many workers


def search(space: Space, demand: Demand, objective: Objective) -> Found:
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
        self.refused: list[Refused] = []
        self.least_ttft_s = self.least_tpot_s = math.inf  # of a single request, by any worker that holds it

    def found(self) -> Found:
        decode = [*self._kinds(self.space.decode_chips)]
        prefill = [*self._kinds(self.space.prefill_chips or self.space.decode_chips)]
        candidates: list[Candidate] = []
        for layout in self.space.layouts:
            candidates += [self._candidate(one) for one in self._best([*self._layout(layout, prefill, decode)])]
        candidates.sort(key=lambda c: (c.usd_per_hour, c.chips))
        return Found(tuple(candidates), tuple(self.refused), None if candidates else self._infeasible())

    def _best(self, sized: list[_Sized]) -> list[_Sized]:
        """The front of cost, seconds of a token and of a prefill; what is left of `KEPT` goes to the cheapest."""
        sized.sort(key=lambda one: (self._usd(one), *_slowness(one)))
        best = front(sized, lambda one: (self._usd(one), *_slowness(one)))[:KEPT]
        rest = [one for one in sized if one not in best]
        return [*best, *rest[: KEPT - len(best)]]

    def _usd(self, sized: _Sized) -> float:
        return sum(pool.chips * self.space.rent(pool.worker.chip) for pool in sized.pools)

    def _candidate(self, one: _Sized) -> Candidate:
        figures = self._figures(one.answers, one.decode.workers, one.queues, one.delays)
        return Candidate(one.layout, one.prefill, one.decode, figures, self._usd(one), one.threshold, one.link)

    # --- workers -----------------------------------------------------------------------------------------------

    def _kinds(self, chips: Iterable[str]) -> Iterator[WorkerKind]:
        """Workers of these chips that hold the weights and the longest request."""
        for chip in dict.fromkeys(chips):
            none = True
            for node in self.space.deployments(chip):
                kind = WorkerKind(chip, node, self.space.prefill_tokens)
                reason = self._memory(kind)
                if reason:
                    self._refuse(f"{node.chips} {chip}", reason)
                else:
                    none = False
                    yield kind
            if none and not any(r.reason.constraint == "memory" for r in self.refused):
                self._refuse(chip, Reason("memory", f"no group of {chip} that divides the heads holds the weights"))

    def _memory(self, kind: WorkerKind) -> Reason | None:
        node = kind.deployment
        if not node.fits():
            return Reason(
                "memory",
                f"{node.weight_bytes_per_chip / 1e9:.3g} GB of weights on each chip, "
                f"{node.usable_bytes_per_chip / 1e9:.3g} GB usable",
            )
        longest = max(mix.last_context for mix in self.demand.mixes)
        needs, room = kind.room.kept_bytes(longest), kind.room.free_bytes * (1 - self.space.reserve)
        if needs <= room:
            return None
        return Reason(
            "memory",
            f"a request of {longest:,} tokens keeps {needs / 1e9:.3g} GB on each chip, "
            f"{room / 1e9:.3g} GB are free beside the weights and a reserve of {self.space.reserve:.0%}",
        )

    def _refuse(self, name: str, reason: Reason, usd_per_hour: float = math.nan) -> None:
        refused = Refused(name, reason, usd_per_hour)
        if refused not in self.refused:
            self.refused.append(refused)

    # --- layouts -----------------------------------------------------------------------------------------------

    def _layout(self, layout: LayoutKind, prefill: list[WorkerKind], decode: list[WorkerKind]) -> Iterator[_Sized]:
        if layout == "co-located":
            for kind, budget in itertools.product(decode, self.space.step_tokens):
                yield from self._co_located(dataclasses.replace(kind, step_tokens=budget))
            return
        edges = self._edges()
        if layout == "separated":
            drafts = [dataclasses.replace(kind, drafting=d) for kind in decode for d in self.space.draftings]
            for to in [*decode, *drafts]:
                yield from self._separated(layout, [(0, math.inf)], prefill, self._answers(to, None))
        elif layout == "buckets":
            for to, edge in itertools.product(decode, edges):
                yield from self._separated(layout, [(0, edge), (edge, math.inf)], prefill, self._answers(to, None))
        else:
            for kind, budget, edge in itertools.product(decode, self.space.step_tokens, edges):
                to = dataclasses.replace(kind, step_tokens=budget)
                answers = self._answers(to, self.demand.where(0, edge))
                yield from self._separated(layout, [(edge, math.inf)], prefill, answers, edge)

    def _edges(self) -> list[int]:
        """Uncached lengths between which prompts may be parted: up to three."""
        lengths = sorted({mix.new_tokens for mix in self.demand.mixes})[:-1]
        return lengths if len(lengths) <= 3 else [lengths[len(lengths) * k // 4] for k in (1, 2, 3)]

    def _answers(self, kind: WorkerKind, prompts: Demand | None) -> Answers:
        reserve, limit = self.space.reserve, self.objective.tpot_s
        return Answers(kind, self.demand, prompts, reserve=reserve, token_s=limit)

    def _co_located(self, kind: WorkerKind) -> Iterator[_Sized]:
        answers = self._answers(kind, self.demand)
        name = f"co-located {kind.deployment.chips} {kind.chip}, {kind.step_tokens} tokens a step"
        if reason := self._limits(answers):
            return self._refuse(name, reason)
        self._note_alone(Prompts(kind, self.demand))
        workers = smallest(lambda n: self._met(answers, n) >= self.objective.share, MOST_WORKERS)
        if workers is None:
            return self._refuse(name, self._why(answers, [], MOST_WORKERS))
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
        to = answers.worker
        name = f"{layout} {to.deployment.chips} {to.chip} decode"
        if reason := self._limits(answers):
            return self._refuse(name, reason)
        wanted = (2 + self.objective.share) / 3  # a third of the misses may be for want of a slot
        workers = smallest(lambda n: self._decode_met(answers, n) >= wanted, MOST_WORKERS)
        if workers is None:
            return self._refuse(name, self._why(answers, [], MOST_WORKERS))
        for kind in prefill:
            yield from self._with_prefill(layout, ranges, kind, answers, workers, threshold)

    def _with_prefill(
        self,
        layout: LayoutKind,
        ranges: Sequence[tuple[float, float]],
        kind: WorkerKind,
        answers: Answers,
        workers: int,
        threshold: int | None,
    ) -> Iterator[_Sized]:
        to = answers.worker
        name = f"{layout} {kind.deployment.chips} {kind.chip} prefill, {to.deployment.chips} {to.chip} decode"
        parts = [(int(a), b, load) for a, b in ranges if (load := self.demand.where(int(a), b))]
        queues = [Prompts(kind, load) for _, _, load in parts]
        for queue in queues:
            self._note_alone(queue)
        link, chip_bytes_s = self.space.link_of(kind, to)
        delays = self._delays(link, to)
        sizes = self._least(queues, answers, workers, delays)
        if sizes is None:
            return self._refuse(name, self._why(answers, queues, workers, delays))
        if reason := self._link(kind, sum(sizes), answers, workers, chip_bytes_s, [load for _, _, load in parts]):
            return self._refuse(name, reason)
        pools = tuple(
            PlannedPool("prefill", kind, n, queue.busy(n), a, b)
            for (a, b, _), queue, n in zip(parts, queues, sizes, strict=True)
        )
        pairs = tuple(zip(queues, sizes, strict=True))
        pool = _pool("decode", answers, workers)
        yield from self._within(_Sized(layout, pools, pool, answers, pairs, tuple(delays), threshold, link))

    def _least(
        self, queues: Sequence[Prompts], answers: Answers, workers: int, delays: Sequence[float]
    ) -> list[int] | None:
        """The least workers of each prefill pool, one after another, those that follow unlimited."""
        met = self._meeting(answers, workers, queues, delays)
        sizes = [MOST_WORKERS] * len(queues)
        if met(sizes) < self.objective.share:
            return None
        for i in range(len(queues)):
            before, after = sizes[:i], sizes[i + 1 :]

            def enough(n: int, before: list[int] = before, after: list[int] = after) -> bool:
                return met([*before, n, *after]) >= self.objective.share

            sizes[i] = smallest(enough, MOST_WORKERS) or MOST_WORKERS
        return sizes

    def _within(self, sized: _Sized) -> Iterator[_Sized]:
        """Pass on what the chips that there are suffice for."""
        chips, most = sum(pool.chips for pool in sized.pools), self.space.most_chips
        if most is None or chips <= most:
            yield sized
        else:
            self._refuse(_name(sized.layout, sized.pools, sized.threshold), _over(sized, chips, most), self._usd(sized))

    # --- whether it meets the objective ------------------------------------------------------------------------

    def _limits(self, answers: Answers) -> Reason | None:
        """Why workers of a kind cannot decode this load one by one."""
        kind = answers.worker
        self.least_tpot_s = min(self.least_tpot_s, kind.step_s(1, answers.context))
        if answers.memory_running < 1:
            return Reason(
                "memory", f"no sequence of {answers.context:,.0f} tokens fits beside the weights and the reserve"
            )
        if answers.tpot_running < 1:
            alone = kind.step_s(1, answers.context)
            return Reason("TPOT", f"one sequence alone takes {_ms(alone)} a token, above {_ms(self.objective.tpot_s)}")
        return None

    def _note_alone(self, queue: Prompts) -> None:
        slowest = 0.0
        left = self.objective.share
        for seconds, mix in sorted(zip(queue.alone_s, queue.load.mixes, strict=True), key=lambda each: each[0]):
            slowest = seconds
            left -= mix.share
            if left <= 1e-9:
                break
        self.least_ttft_s = min(self.least_ttft_s, slowest)

    def _decode_met(self, answers: Answers, workers: int) -> float:
        """The share of requests that find a slot and meet the TPOT objective, with caches there at once."""
        batch = answers.at(workers)
        if batch is None:
            return 0.0
        mixes = enumerate(self.demand.mixes)
        return (1 - batch.no_slot) * sum(mix.share * answers.meets_tpot(batch, i) for i, mix in mixes)

    def _met(self, answers: Answers, workers: int) -> float:
        """The share of requests that meet both objectives, where those who decode read all prompts."""
        return self._meeting(answers, workers, (), ())(())

    def _meeting(
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
        for at, queue in enumerate(queues):
            if (seconds := queue.reads_s(mix)) is not None:
                return at, seconds
        seconds = batch.prompts.reads_s(mix) if batch.prompts else None
        assert seconds is not None
        return -1, seconds

    def _figures(
        self, answers: Answers, workers: int, pairs: Sequence[tuple[Prompts, int]], delays: Sequence[float]
    ) -> Figures:
        batch = answers.at(workers)
        assert batch is not None
        queues, sizes = [queue for queue, _ in pairs], [n for _, n in pairs]
        paths = [self._path(batch, queues, mix) for mix in self.demand.mixes]
        waits = [*(queue.wait(n) or NO_WAIT for queue, n in pairs), batch.wait]
        tokens = [answers.tpot(batch, i, delays[i] if at >= 0 else 0.0) for i, (at, _) in enumerate(paths)]
        shares = [mix.share for mix in self.demand.mixes]

        def first_by(seconds: float) -> float:
            return sum(share * waits[at].within(seconds - own) for share, (at, own) in zip(shares, paths, strict=True))

        def token_by(seconds: float) -> float:
            return sum(share * below(seconds, *each) for share, each in zip(shares, tokens, strict=True))

        own = sum(queue.busy(n) * n for queue, n in pairs) / sum(sizes) if pairs else math.nan
        return Figures(
            ttft_s=_solve(first_by, self.objective.share),
            tpot_s=_solve(token_by, self.objective.share),
            met=self._meeting(answers, workers, queues, delays)(sizes),
            running=batch.running * workers * answers.worker.ranks,
            prefill_busy=batch.prompts.busy(workers) if batch.prompts and not pairs else own,
            decode_busy=batch.running / answers.most_running,
        )

    # --- why not -----------------------------------------------------------------------------------------------

    def _delays(self, link: Link, to: WorkerKind) -> list[float]:
        sent = SentBytes.of(self.space.loaded, to.deployment.tensor_parallel)
        return [link.alone_s(sent(mix.input_tokens)) for mix in self.demand.mixes]

    def _link(
        self, kind: WorkerKind, prefillers: int, answers: Answers, decoders: int, chip_bytes_s: float,
        loads: Sequence[Demand],
    ) -> Reason | None:  # fmt: skip
        """Egress of prefill and ingress of decode, per chip, against what the link carries (arXiv 2506.05508)."""
        sent = SentBytes.of(self.space.loaded, answers.worker.deployment.tensor_parallel)
        bytes_s = sum(load.peak_per_s * load.mean(lambda mix: sent(mix.input_tokens)) for load in loads)
        for side, workers, node in (
            ("egress of a prefill chip", prefillers, kind.deployment),
            ("ingress of a decode chip", decoders, answers.worker.deployment),
        ):
            each = bytes_s / (workers * node.chips)
            if each > LINK_SHARE * chip_bytes_s:
                words = f"{side} {each / 1e9:.3g} GB/s, above {LINK_SHARE:.0%} of {chip_bytes_s / 1e9:.3g} GB/s"
                return Reason("link", words)
        return None

    def _why(
        self, answers: Answers, queues: Sequence[Prompts], workers: int, delays: Sequence[float] | None = None
    ) -> Reason:
        """The constraint that even very many workers do not meet."""
        batch = answers.at(workers)
        if batch is None:
            most = answers.most_running
            return Reason("TPOT", f"a rank may run {most} sequences, and {MOST_WORKERS:,} workers do not keep up")
        many = [(queue, MOST_WORKERS) for queue in queues]
        objective, share = self.objective, self.objective.share
        figures = self._figures(answers, workers, many, delays or ())
        if figures.ttft_s > objective.ttft_s:
            words = f"{share:.0%} of requests alone take up to {_s(figures.ttft_s)} to the first token"
            return Reason("TTFT", f"{words}, above {_s(objective.ttft_s)}; more workers do not shorten a prefill")
        slow = max(delays) if delays else 0.0
        if delays and figures.tpot_s > objective.tpot_s and batch.token_s <= objective.tpot_s:
            return Reason("link", f"moving a cache takes up to {_s(slow)}, which its answer's tokens have to bear")
        words = f"{share:.0%} of requests take up to {_ms(figures.tpot_s)} a token, prompts read between them included"
        return Reason("TPOT", f"{words}, against {_ms(objective.tpot_s)}")

    def _infeasible(self) -> Reason | None:
        """Why nothing can serve, if a single request alone misses the objective, or nothing holds the model."""
        if math.isinf(self.least_tpot_s):
            words = [refused.reason for refused in self.refused if refused.reason.constraint == "memory"]
            return words[0] if words else None
        if self.least_tpot_s > self.objective.tpot_s:
            words_tpot = f"one sequence alone takes {_ms(self.least_tpot_s)} a token at best"
            return Reason("TPOT", f"{words_tpot}, above {_ms(self.objective.tpot_s)}: no number of workers shortens it")
        if self.least_ttft_s > self.objective.ttft_s:
            share = self.objective.share
            alone = (
                f"the prefill of one request alone takes {_s(self.least_ttft_s)} at best for {share:.0%} of requests"
            )
            return Reason("TTFT", f"{alone}, above {_s(self.objective.ttft_s)}: no number of workers shortens it")
        return None


def _over(sized: _Sized, chips: int, most: int) -> Reason:
    """More chips than there are: because whole workers round the ratio of the pools, or because of the load."""
    exact = sum(pool.chips * pool.busy for pool in sized.pools)
    shares = ", ".join(f"{pool.name} {pool.busy:.0%} busy" for pool in sized.pools)
    if sized.prefill and exact <= most:
        ratio = ":".join(str(pool.workers) for pool in sized.pools)
        return Reason("ratio", f"whole workers make {ratio}, which is {chips} chips ({shares}); there are {most}")
    return Reason("load", f"{chips} chips are needed at the peak ({shares}); there are {most}")


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


def _s(seconds: float) -> str:
    return f"{seconds:.3g} s"


def _ms(seconds: float) -> str:
    return f"{seconds * 1e3:.3g} ms"
