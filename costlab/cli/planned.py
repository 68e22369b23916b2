"""What `plan` answers: plans and refused layouts as rows, a table that people read, and lines that explain it."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from costlab.cli.output import MS, Answer, Column, Row, view
from costlab.serving.plan.candidates import Figures, PlannedPool, Refused
from costlab.serving.plan.export import commands
from costlab.serving.plan.space import Space
from costlab.serving.plan.verify import SPREAD, Planning, SimulatedPlan
from costlab.serving.plan.workload import Demand
from costlab.text import plain

#: Refused layouts that the table tells of; JSON has all.
_TOLD = 6


def planned(args: argparse.Namespace, space: Space, load: Demand, found: Planning) -> Answer:
    """Return the answer of a search, its sources still to be named.

    Args:
        args: the options of `plan`, filled in.
        space: what was looked through.
        load: the offered load.
        found: what was found.
    """
    longest = max(mix.last_context for mix in load.mixes)
    told = [_row(each, args, longest) for each in found.plans]
    rows = [*told, *(_refused_row(each) for each in found.refused)]
    lines, notes = _lines(found, args, told), _notes(args, space, found)
    if args.engine and told and len(load.mixes) > 1:
        notes.append(
            f"commands allow {longest:,} tokens, the mean of the longest group: raise it to your longest request"
        )
    return Answer(rows, _table(told, found), lines, notes, status=int(not found.plans))


def _row(each: SimulatedPlan, args: argparse.Namespace, longest: int) -> dict[str, Any]:
    plan, money = each.candidate, each.money
    return {
        "status": "plan",
        "name": plan.name,
        "layout": plan.layout,
        "chips": plan.chips,
        "threshold_tokens": plan.threshold_tokens,
        "pools": [_pool_row(pool, each.one_lost) for pool in plan.pools],
        "closed": _figures_row(plan.closed),
        "simulated": _figures_row(each.simulated),
        "simulated_requests": each.requests,
        "runs": each.runs,
        "met_runs": each.met_runs,
        "usd_per_hour": plan.usd_per_hour,
        "usd_per_month": money and money.usd_per_month,
        "usd_per_million_tokens": money and money.usd_per_million,
        "miss_usd_per_million_tokens": money and plain(money.miss_usd_per_million),
        "hit_usd_per_million_tokens": money and plain(money.hit_usd_per_million),
        "output_usd_per_million_tokens": money and plain(money.output_usd_per_million),
        "used_share": money and money.utilisation,
        "commands": commands(plan, args.engine, longest, args.draft or "") if args.engine else None,
        "constraint": None,
        "reason": None,
    }


def _pool_row(pool: PlannedPool, one_lost: Mapping[str, float]) -> dict[str, Any]:
    node = pool.worker.deployment
    return {
        "name": pool.name,
        "workers": pool.workers,
        "chip": pool.worker.chip,
        "chips": node.chips,
        "tensor_parallel": node.tensor_parallel,
        "replicas": node.replicas,
        "step_tokens": pool.worker.step_tokens,
        "most_running": pool.worker.most_running,
        "length": pool.worker.drafting.length if pool.worker.drafting else 0,
        "above_tokens": pool.least_tokens,
        "up_to_tokens": plain(pool.most_tokens),
        "used_share": min(1.0, pool.busy),
        "one_lost_met_share": one_lost.get(pool.name),
    }


def _figures_row(figures: Figures) -> dict[str, Any]:
    return {
        "ttft_at_share_s": plain(figures.ttft_s),
        "tpot_at_share_s": plain(figures.tpot_s),
        "met_share": figures.met,
        "mean_decoding": plain(figures.running),
        "kv_peak_share": plain(figures.kv_peak),
    }


def _refused_row(refused: Refused) -> dict[str, Any]:
    row: dict[str, Any] = dict.fromkeys(_KEYS)
    return row | {
        "status": "refused",
        "name": refused.name,
        "usd_per_hour": plain(refused.usd_per_hour),
        "constraint": refused.reason.constraint,
        "reason": refused.reason.words,
    }


_KEYS = (
    "status", "name", "layout", "chips", "threshold_tokens", "pools", "closed", "simulated", "simulated_requests",
    "runs", "met_runs", "usd_per_hour", "usd_per_month", "usd_per_million_tokens", "miss_usd_per_million_tokens",
    "hit_usd_per_million_tokens", "output_usd_per_million_tokens", "used_share", "commands", "constraint", "reason",
)  # fmt: skip


def _table(rows: list[dict[str, Any]], found: Planning) -> list[Row]:
    """The plans as people see them, simulated figures beside those of the closed form; what was refused if none is."""
    if not rows:
        return view(
            [_refused_row(each) for each in found.refused[:_TOLD]],
            Column("refused", "name"), Column("constraint", "constraint"), Column("reason", "reason"),
        )  # fmt: skip
    return view(
        rows,
        Column("plan", "name"),
        Column("chips", "chips"),
        *(
            Column(f"{key}_{unit}{head}", _inside(where, f"{key}_at_share_s"), scale)
            for key, unit, scale in (("ttft", "s", 1.0), ("tpot", "ms", MS))
            for where, head in (("simulated", ""), ("closed", "_closed"))
        ),
        Column("met", lambda row: f"{row['simulated']['met_share']:.1%}"),
        Column("one_lost", _least_lost),
        Column("+-20%", lambda row: f"{row['met_runs']}/{row['runs']}"),
        Column("usd_month", "usd_per_month"),
        *(Column(f"usd_M_{kind}", f"{kind}_usd_per_million_tokens") for kind in ("miss", "hit", "output")),
    )


def _inside(where: str, key: str) -> Any:
    return lambda row: row[where][key]


def _least_lost(row: Row) -> str:
    """The pool whose lost worker is felt most, and the share that meets the objective then."""
    pool = min(row["pools"], key=lambda each: each["one_lost_met_share"])
    return f"{pool['one_lost_met_share']:.0%} ({pool['name']})"


def _lines(found: Planning, args: argparse.Namespace, rows: list[dict[str, Any]]) -> list[str]:
    if not rows:
        reason = found.infeasible
        why = f"infeasible because of {reason.constraint}: {reason.words}" if reason else "no plan meets the objective"
        return [why]
    lines = [
        f"{found.simulated} layouts simulated at the peak; {len(found.beaten)} more can serve, but a plan above is at "
        "least as good in cost, TTFT and TPOT",
        f"ttft and tpot: what {args.objective_share:.0%} of requests do not exceed, simulated and in closed form; "
        f"one_lost: share that meets the objective at the mean load with a worker gone; +-{SPREAD:.0%}: seeded runs in "
        "which it is met, with all step times longer or shorter by a common factor",
        *(f"refused {each.name} ({each.reason.constraint}): {each.reason.words}" for each in found.refused[:_TOLD]),
    ]
    if len(found.refused) > _TOLD:
        lines.append(f"and {len(found.refused) - _TOLD} more refused, which --json has")
    return [*lines, *(line for row in rows[:1] for line in row["commands"] or [])]


def _notes(args: argparse.Namespace, space: Space, found: Planning) -> list[str]:
    eff, unlike = space.efficiency, args.prefill_chip != args.chip
    prefill = f", {args.usd_per_prefill_chip_hour:g} of a prefill chip" if unlike else ""
    assumed = (
        f"efficiency {eff.compute:.3g} compute, {eff.memory:.3g} memory, {eff.link:.3g} link, "
        f"{space.step_s * 1e3:.3g} ms a step beside; {args.reserve_share:.0%} of the cache room in reserve; "
        f"{args.usd_per_chip_hour:g} USD/chip-h{prefill}"
    )
    ideal = (eff.compute, eff.memory) == (1, 1)
    roof = ["no engine reaches the roofline: state efficiencies, or --calibrate with a benchmark of yours"]
    brief = ["simulations too short to tell whether a queue grows: give more --requests"]
    short = any(plan.short for plan in found.plans)
    return [assumed, *(roof if ideal and found.plans else []), *(brief if short else [])]
