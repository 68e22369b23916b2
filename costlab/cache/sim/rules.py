"""Rules for kept states side by side: what each finds, and the bytes that it takes.

A state is large: 193 MB for Qwen3.5-397B, as much as 6,290 tokens of its keys and values. So a dense row of checkpoints
can take more room than all pages, and room is what a cache lacks.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from costlab.cache.sim.plan import Plan
from costlab.cache.sim.run import replay
from costlab.traces import Request

#: Distances and places that are worth a look beside one another.
RULES = ("every:1K", "every:4K", "every:16K", "ends", "branches", "ends+branches")


@dataclass(frozen=True)
class RuleRow:
    """What a rule for kept states finds, and what that takes in the slowest tier."""

    rule: str  # as it was asked for
    hit_rate: float  # input tokens that were not computed, as a share of all
    page_hit_rate: float  # input tokens whose pages were found, resumable or not, as a share of all
    states: int  # states that the slowest tier holds at the end
    evicted_states: int  # states that went from there, for want of room or with their page
    state_bytes: float  # bytes of the states that are there at the end
    page_bytes: float  # bytes of the full pages that are there at the end
    hit_tokens: int  # input tokens that were not computed
    compute_s: float  # seconds that prefills computed
    stall_s: float  # seconds that they waited for loads
    # US dollars of rent and storage per million input tokens while prefills run; None without a rent
    usd_per_million_tokens: float | None

    @property
    def state_share(self) -> float:
        """Bytes of states as a share of all that is kept; 0 of nothing."""
        kept = self.state_bytes + self.page_bytes
        return self.state_bytes / kept if kept else 0.0

    @property
    def bytes_per_hit_token(self) -> float | None:
        """Bytes of states kept at the end per input token that was not computed; None without a hit."""
        return self.state_bytes / self.hit_tokens if self.hit_tokens else None


def compare_rules(requests: Iterable[Request], plan: Plan, rules: Sequence[str] = RULES) -> tuple[RuleRow, ...]:
    """Replay the same requests under each rule for kept states.

    Args:
        requests: in order of arrival.
        plan: the configuration; its own rule does not count.
        rules: as `StateRule.parse` reads them.

    Raises:
        ValueError: a rule that cannot be read, or a model without recurrent layers.
    """
    plans = [dataclasses.replace(plan, states=rule) for rule in rules]
    held = list(requests)
    return tuple(_row(rule, held, each) for rule, each in zip(rules, plans, strict=True))


def _row(rule: str, requests: Sequence[Request], plan: Plan) -> RuleRow:
    report = replay(requests, plan)
    slowest = report.tiers[-1]
    if slowest.state is None:
        raise ValueError(f"{plan.model} has no recurrent layers, so it has no state to keep")
    return RuleRow(
        rule=rule,
        hit_rate=report.token_hit_rate,
        page_hit_rate=report.page_hit_rate,
        states=slowest.state.resident,
        evicted_states=slowest.state.evicted + slowest.state.discarded,
        state_bytes=slowest.state.resident_bytes,
        page_bytes=slowest.full.resident_bytes,
        hit_tokens=report.hit_tokens,
        compute_s=report.compute_s,
        stall_s=report.stall_s,
        usd_per_million_tokens=_usd(plan, report.compute_s + report.stall_s, report.input_tokens),
    )


def _usd(plan: Plan, seconds: float, tokens: int) -> float | None:
    """Return rent of chips, and of tiers that have a price, while prefills run, per million input tokens."""
    if plan.usd_per_chip_hour is None or not tokens:
        return None
    tiers = [tier for tier in plan.tiers if tier.usd_per_gb_hour is not None]
    hourly = plan.usd_per_chip_hour * plan.chips
    hourly += sum(tier.capacity_bytes / 1e9 * (tier.usd_per_gb_hour or 0.0) for tier in tiers)
    return hourly * seconds / 3600 / tokens * 1e6
