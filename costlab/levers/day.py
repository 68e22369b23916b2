"""DeepSeek's published day, predicted with efficiencies of other people's runs.

The page names tokens, nodes and speeds of a day on H800. Nothing of it, and no other run of that model on that chip, is
fitted: efficiencies are those of other engines on other chips of the maker. What it says of the day's load is taken as
given: tokens, the share of hits, the mean context, the speed of a user and the rent.

>>> from costlab import levers
>>> nodes = levers.day_checks()[2]
>>> nodes.theirs, bool(nodes.ours < nodes.theirs)
(226.75, True)

Chapter: levers
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from costlab import catalog, checks
from costlab.arch import load
from costlab.arrays import Floats
from costlab.catalog import FrozenDict, ServingDay
from costlab.chips import efficiency_points
from costlab.chips.assumptions import Assumption
from costlab.levers.checked import Check, DrawnCosts, drawn_costs
from costlab.levers.figures import service_figures
from costlab.levers.services import INPUTS, Service, TokenCosts

#: What may not be fitted on: runs of the day's model on its chip, or the day's model on any chip.
RunsLeftOut = Literal["on that chip", "on any chip"]


def day_service(key: str = "deepseek-day", *, drafted: int = 0, use: Assumption | None = None) -> Service:
    """Return a published day's service with efficiencies of other people's runs.

    Requests are taken to be all alike: with so many input tokens for each output token, the mean context at an output
    token, which is published, gives their lengths: context = input + output / 2.

    Args:
        key: of the day in the catalog.
        drafted: tokens that each round drafts; the page names none.
        use: share of the hours of a node that counts in which it works; None for all, as the nodes are those in use.

    Raises:
        ValueError: an unknown day; no published run that is left.
    """
    day = checks.pick(catalog.tables().days, key, "day")
    ratio = day.input_tokens / day.output_tokens
    written = day.mean_context / (ratio + 0.5)
    slow, fast = day.user_tokens_s
    given = service_figures(day.model, day.chip, leave_out=runs_of(day), drafted=drafted)
    said = {
        "rent": day.usd_per_chip_hour,
        "utilisation": 1.0,
        "input": written * ratio,
        "output": written,
        "hit rate": day.input_hit_tokens / day.input_tokens,
    }
    for name, value in said.items():
        given[name] = Assumption(value, INPUTS[name], day.source, day.date)
    given["user speed"] = Assumption((slow + fast) / 2, INPUTS["user speed"], day.source, day.date, slow, fast)
    if use is not None:
        given["utilisation"] = use
    return Service(load(day.model), day.chip, FrozenDict(given), drafted=drafted)


def runs_of(day: ServingDay, left_out: RunsLeftOut = "on that chip") -> tuple[str, ...]:
    """Return the keys of the published runs of a day's model, on its chip or on any chip that decodes."""
    points = [point for point in efficiency_points() if point.model == day.model]
    if left_out == "on any chip":
        return tuple(point.key for point in points if point.phase == "decode")
    return tuple(point.key for point in points if point.chip == day.chip)


def usual_use(found: Assumption) -> Assumption:
    """Return a share of hours that reaches as far above its value as below it.

    The most that the catalog names for it is the day's own, which may not count where the day is predicted.
    """
    low, value, _ = found.bounds
    return Assumption(value, found.unit, found.source, found.date, low, min(1.0, 2 * value - low))


@dataclass(frozen=True)
class _Day:
    """What a day's costs come to."""

    day: ServingDay
    times: float  # by which costs are multiplied

    @property
    def chip_s(self) -> float:
        """Chip-seconds of a dollar for a million tokens."""
        return self.times / 1e6 / self.day.usd_per_chip_hour * 3600

    def read_s(self, costs: TokenCosts) -> Floats:
        """Chip-seconds of all input tokens; what hits lie in is no chip's."""
        looked = costs.hit_parts["looking at it"] + costs.hit_parts["loading"]
        missed = self.day.input_tokens - self.day.input_hit_tokens
        return np.asarray(self.chip_s * (missed * costs.miss + self.day.input_hit_tokens * looked))

    def write_s(self, costs: TokenCosts) -> Floats:
        """Chip-seconds of all output tokens."""
        return np.asarray(self.chip_s * self.day.output_tokens * costs.output)

    def read_rate(self, costs: TokenCosts) -> Floats:
        return np.asarray(self.day.input_tokens * self.day.chips_per_node / self.read_s(costs))

    def write_rate(self, costs: TokenCosts) -> Floats:
        return np.asarray(self.day.output_tokens * self.day.chips_per_node / self.write_s(costs))

    def nodes(self, costs: TokenCosts) -> Floats:
        return np.asarray((self.read_s(costs) + self.write_s(costs)) / self.day.chips_per_node / (24 * 3600))

    def dollars(self, costs: TokenCosts) -> Floats:
        return self.nodes(costs) * self.day.chips_per_node * 24 * self.day.usd_per_chip_hour


@functools.cache
def _services(key: str) -> dict[str, tuple[Service, DrawnCosts]]:
    """The day as it is served, in four ways, with its costs."""
    full, day = day_service(key), catalog.tables().days[key]
    usual = usual_use(service_figures(day.model, day.chip)["utilisation"])
    strict = service_figures(day.model, day.chip, leave_out=runs_of(day, "on any chip"))["decode share"]
    found = {
        "full": full,
        "drafted": day_service(key, drafted=1),
        "usual": day_service(key, use=usual),
        "strict": full.with_inputs(decode_share=strict),
    }
    return {name: (service, drawn_costs(service)) for name, service in found.items()}


_FULL = "ours fills its nodes as benchmarks do, theirs is the mean of a day and a night"


def day_checks(times: float = 1.0, key: str = "deepseek-day") -> tuple[Check, ...]:
    """Predict a published day with efficiencies of other people's runs.

    Args:
        times: by which our costs are multiplied.
        key: of the day in the catalog.

    Raises:
        ValueError: an unknown day.
    """
    day = checks.pick(catalog.tables().days, key, "day")
    found = _Day(day, times)
    others = "output tokens of a node that writes, by runs of other models"
    told: tuple[tuple[str, str, float, str, Callable[[TokenCosts], Floats], str], ...] = (
        ("input tokens of a node that reads", "tokens/s", day.node_input_tokens_s, "full", found.read_rate, _FULL),
        ("output tokens of a node that writes", "tokens/s", day.node_output_tokens_s, "full", found.write_rate, _FULL),
        ("nodes in the mean", "nodes", day.nodes, "full", found.nodes, _FULL),
        ("cost", "USD", day.cost_usd, "full", found.dollars, "follows from the nodes by the same rent"),
        ("cost, at the use that all costs assume", "USD", day.cost_usd, "usual", found.dollars,
         "the page does not say how full its nodes were"),
        ("nodes in the mean, with a drafted token", "nodes", day.nodes, "drafted", found.nodes,
         "the page does not say whether tokens were drafted"),
        (others, "tokens/s", day.node_output_tokens_s, "strict", found.write_rate, _FULL),
    )  # fmt: skip
    return tuple(
        _check(key, f"{day.what}: {name}", unit, theirs, served, of, note)
        for name, unit, theirs, served, of, note in told
    )


def _check(
    key: str, what: str, unit: str, theirs: float, served: str, of: Callable[[TokenCosts], Floats], note: str
) -> Check:
    day, (service, costs) = catalog.tables().days[key], _services(key)[served]
    ours = costs.figure(of)
    shares = [service.inputs()[name] for name in ("prefill share", "decode share")]
    return Check(
        "day", what, unit, ours.value, ours.low, ours.high, theirs, "inside",
        fitted="; ".join(f"{share.unit} {share.value:.3g}, {share.source}" for share in shares),
        left_out=f"every run of {day.model} {'on any chip (decode)' if served == 'strict' else f'on {day.chip}'}",
        source=day.source, date=day.date, kind="fact" if served in ("full", "strict") else "inference", note=note,
    )  # fmt: skip


__all__ = ["RunsLeftOut", "day_checks", "day_service", "runs_of", "usual_use"]
