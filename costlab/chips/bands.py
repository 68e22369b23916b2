"""How close published runs come to the roofline, by chip and family of models: a band, and none where nobody measured.

A share is the roofline's step over the measured one; of prefill, the roofline's compute time over the time taken. What
was measured is kept apart from what it predicts: `Band.left_out` says how far off the other runs are on each run.

>>> from costlab import chips
>>> band = chips.band("h800", "deepseek-v3", "decode")
>>> [round(each, 2) for each in (band.low, band.high)]
[0.35, 0.43]

Chapter: chips
"""

from __future__ import annotations

import datetime
import functools
import math
from collections.abc import Iterator
from dataclasses import dataclass

from costlab import arch, catalog, roofline
from costlab.arch import Model
from costlab.catalog import NodeRate, PublishedRun
from costlab.catalog.serving import ServingPhase
from costlab.chips.formats import as_served, format_of
from costlab.roofline import Deployment

#: Families by the kinds of attention that a model of them has; the first that fits. One family's kernels are shared.
FAMILIES = (
    ("deepseek-v4", frozenset({"csa", "hca"})),  # compressed attention
    ("deepseek-v3.2", frozenset({"dsa"})),  # latents, chosen by an indexer
    ("deepseek-v3", frozenset({"mla"})),  # latents, all of them read
    ("mimo", frozenset({"sliding"})),  # windows beside full attention
    ("plain", frozenset({"full"})),  # full attention alone
)


@dataclass(frozen=True)
class EfficiencyPoint:
    """One published run beside the roofline's time for it."""

    key: str  # of the run in the catalog
    model: str  # key of the model
    chip: str  # key of the chip
    phase: ServingPhase  # prefill or decode
    measured_s: float  # seconds of a round of decoding, or chip-seconds of a prompt token
    ideal_s: float  # the same by the roofline
    source: str  # where the measurement stands
    date: datetime.date  # day of publication
    note: str = ""  # what a reader should know

    @property
    def share(self) -> float:
        """Share of the roofline's speed that was reached, 0 to 1."""
        return self.ideal_s / self.measured_s


@dataclass(frozen=True)
class LeftOut:
    """A run predicted by the other runs of its band."""

    key: str  # of the run
    predicted_s: float  # by the geometric mean of the others' shares
    measured_s: float  # as published

    @property
    def error(self) -> float:
        """(predicted - measured) / measured."""
        return self.predicted_s / self.measured_s - 1


@dataclass(frozen=True)
class Band:
    """The shares of the roofline that published runs of one family reach on one chip."""

    chip: str  # key of the chip
    family: str  # of models
    phase: ServingPhase  # prefill or decode
    points: tuple[EfficiencyPoint, ...]  # at least one run

    @property
    def low(self) -> float:
        """The smallest share."""
        return min(point.share for point in self.points)

    @property
    def high(self) -> float:
        """The largest share."""
        return max(point.share for point in self.points)

    @property
    def middle(self) -> float:
        """The geometric mean of the shares, one for each run."""
        return math.exp(sum(math.log(point.share) for point in self.points) / len(self.points))

    @property
    def left_out(self) -> tuple[LeftOut, ...]:
        """Each run as the others predict it; none of a single run, which predicts nothing of itself."""
        if len(self.points) < 2:
            return ()
        return tuple(self._predicted(point) for point in self.points)

    def _predicted(self, point: EfficiencyPoint) -> LeftOut:
        rest = Band(self.chip, self.family, self.phase, tuple(each for each in self.points if each is not point))
        return LeftOut(point.key, point.ideal_s / rest.middle, point.measured_s)


def family(model: str | Model) -> str:
    """Return the family of a model, which is named after the first one of its kind: by the attention that it has.

    Raises:
        ValueError: an unknown model.
    """
    kinds = {attention.kind for attention in arch.load(model).attention_counts}
    return next(name for name, marks in FAMILIES if kinds & marks)


def band(chip: str, family: str, phase: ServingPhase = "decode") -> Band | None:
    """Return what published runs of a family of models reach on a chip; None where the catalog has no such run.

    Args:
        chip: key in the catalog.
        family: see `FAMILIES`, or the function `family`.
        phase: prefill or decode.

    Raises:
        ValueError: an unknown chip, family or phase.

    Source: catalog/ownership.toml (runs), catalog/serving.toml (nodes), catalog/published.toml (days).
    """
    catalog.chip(chip)
    if family not in dict(FAMILIES):
        raise ValueError(f"family {family!r} should be one of {', '.join(dict(FAMILIES))}")
    if phase not in ("prefill", "decode"):
        raise ValueError(f"phase {phase!r} should be prefill or decode")
    found = tuple(p for p in efficiency_points() if (p.chip, p.phase) == (chip, phase) and _of(p.model) == family)
    return Band(chip, family, phase, found) if found else None


def _of(model: str) -> str:
    return family(model)


def all_bands() -> tuple[Band, ...]:
    """Return every band that published runs make, by chip, family and phase."""
    wanted = sorted({(p.chip, _of(p.model), p.phase) for p in efficiency_points()})
    return tuple(found for chip, name, phase in wanted if (found := band(chip, name, phase)))


@functools.cache
def efficiency_points() -> tuple[EfficiencyPoint, ...]:
    """Return every published run that names enough to compute its roofline, and that was not simulated in part."""
    tables = catalog.tables()
    found = [_of_run(key, run) for key, run in tables.runs.items() if _says_enough(run)]
    return (*found, *_of_nodes(), *_of_days())


def _says_enough(run: PublishedRun) -> bool:
    known = run.batch is not None and run.step_s is not None
    return run.context is not None and (run.phase == "prefill" or known)


def run_deployment(run: PublishedRun) -> Deployment:
    """Return the deployment of a published run: its model as it was served, with the model's own drafter if it drafts.

    Raises:
        ValueError: an unknown model or chip.
    """
    model = as_served(arch.load(run.model), format_of(run))
    drafter = arch.drafter("mtp", model) if run.drafted else None
    return Deployment(model, catalog.chip(run.chip), run.chips, drafter=drafter)


def _of_run(key: str, run: PublishedRun) -> EfficiencyPoint:
    node, context = run_deployment(run), run.context or 0
    if run.phase == "prefill":
        step = node.prefill(context, batch=node.replicas)
        measured, ideal = 1 / run.tokens_s_chip, step.compute_s * node.chips / step.tokens
    else:
        measured = (run.step_s or 0.0) * (1 + run.accepted)
        ideal = round_s(node, run.batch or 0, context, run.drafted)
    return EfficiencyPoint(key, run.model, run.chip, run.phase, measured, ideal, run.source, run.date, run.note)


def round_s(node: Deployment, batch: int, context: int, length: int = 0) -> float:
    """Return the seconds of a round of decoding: the drafter's steps, if tokens are drafted, and the model's pass.

    Args:
        node: with a drafter where `length` is above 0.
        batch: sequences on all replicas together.
        context: tokens of each, the last one known included.
        length: drafted tokens of a round; 0 is a plain decode step.

    Raises:
        ValueError: a count out of range; a draft without drafter.
    """
    rows = [node.drafter.rows(position, length) if node.drafter else 1 for position in range(length)]
    drafts = [node.draft(batch, context + i, min(n, context + i)) for i, n in enumerate(rows)]
    return sum(step.seconds for step in drafts) + node.verify(batch, context, length).seconds


def _of_nodes() -> Iterator[EfficiencyPoint]:
    for key, rate in catalog.tables().serving.nodes.items():
        if not rate.simulated and _names_step(rate):
            step = roofline.ideal_step(rate)
            ideal = step.seconds if rate.phase == "decode" else step.compute_s
            took = step.tokens / (rate.tokens_s * rate.nodes)
            yield EfficiencyPoint(
                key, rate.model, rate.chip, rate.phase, took, ideal, rate.source, rate.date, rate.note
            )


def _names_step(rate: NodeRate) -> bool:
    if rate.phase == "decode":
        return rate.batch_per_chip is not None and rate.context is not None
    return rate.tokens_per_chip is not None and rate.input_tokens is not None


def _of_days() -> Iterator[EfficiencyPoint]:
    for key, day in catalog.tables().days.items():
        found = roofline.check_day(key)
        ideal = found.decode_ideal.seconds
        yield EfficiencyPoint(key, day.model, day.chip, "decode", found.decode_step_s, ideal, day.source, day.date)


__all__ = [
    "FAMILIES", "Band", "EfficiencyPoint", "LeftOut", "all_bands", "band", "efficiency_points", "family", "round_s",
    "run_deployment",
]  # fmt: skip
