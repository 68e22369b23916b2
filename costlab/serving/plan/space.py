"""What a search looks through: chips, ways of splitting a worker over them, layouts, budgets, drafts.

Chapter: serving
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from costlab import arch, catalog
from costlab.arch import Model
from costlab.checks import count, one_of
from costlab.roofline import Deployment, Efficiency
from costlab.serving.links import LINK_LATENCY_S, Link
from costlab.serving.plan.candidates import LAYOUTS, LayoutKind, PlannedPool
from costlab.serving.plan.workers import Drafting, WorkerKind
from costlab.serving.plan.workload import Demand

#: Sizes of a worker with experts that are tried, from the smallest that holds the weights on.
_SIZES = 2


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
    draftings: tuple[Drafting, ...] = ()  # ways of speculation, tried beside decoding without
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
        count(self.prefill_tokens, "prefill tokens")
        drafted = max((drafting.length for drafting in self.draftings), default=0)
        for budget in self.step_tokens:
            if count(budget, "step tokens") < 2 + drafted:
                beside = f" with the {drafted} drafted behind it" if drafted else ""
                raise ValueError(
                    f"step tokens = {budget} should be at least {2 + drafted}: a piece of a prompt, and an answer's "
                    f"token{beside}"
                )
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

    def usd_per_hour(self, pools: Iterable[PlannedPool]) -> float:
        """Return the rent of all chips of some pools; 1 a chip where none is given, so that chips are counted."""
        return sum(pool.chips * self.rents.get(pool.worker.chip, 1.0) for pool in pools)

    def deployments(self, chip: str) -> Iterator[Deployment]:
        """Yield the ways of splitting a worker over chips: tensor-parallel groups, and with experts several of them.

        Dense models gain nothing from several replicas in one worker: they are workers of their own. With experts a
        worker doubles from one group to the first size that holds the weights, and twice beyond.

        Raises:
            ValueError: no group that the model's heads and the chip's node allow.
        """
        record = catalog.chip(chip)
        groups = [group for group in self.tensor_parallel if group <= record.chips_per_node]
        groups = [group for group in groups if _splits(self.loaded, group)]
        if not groups:
            tried = ", ".join(map(str, self.tensor_parallel))
            raise ValueError(
                f"tensor_parallel = {tried} should divide the heads of {self.model} and stay within a node of "
                f"{record.chips_per_node} {chip}"
            )
        for group in groups:
            one = Deployment(
                self.loaded, record, group, group, memory_share=self.memory_share,
                efficiency=self.efficiency, step_s=self.step_s,
            )  # fmt: skip
            if one.moe is None:
                yield one
            else:
                wider = (dataclasses.replace(one, chips=group * 2**k) for k in range(9))
                yield from itertools.islice((node for node in wider if node.fits()), _SIZES)

    def link_of(self, prefill: WorkerKind, decode: WorkerKind) -> tuple[Link, float]:
        """Return the link between two workers, and its bandwidth per chip: the slower side's network, of a rank."""
        share = self.efficiency.link
        each = self.link_bytes_s or share * min(w.deployment.chip.network for w in (prefill, decode))
        group = min(prefill.deployment.tensor_parallel, decode.deployment.tensor_parallel)
        return Link(each * group, self.link_latency_s), each


def growth_tokens(load: Demand) -> int:
    """Return the tokens that decode keeps free for each sequence that it has, before it takes blocks for another.

    Half an answer, which is what is left of one in the mean; SGLang's `num_reserved_decode_tokens`, 512, at most.
    """
    return min(512, max(1, round(load.mean(lambda mix: mix.decoded_tokens) / 2)))


def _splits(model: Model, group: int) -> bool:
    return all(attention.heads % group == 0 for attention, _ in model.layers)
