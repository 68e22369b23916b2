"""The verb plan."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from costlab import arch, catalog, prices, roofline, traces
from costlab.catalog import Offer
from costlab.checks import one_of
from costlab.cli.arguments import (
    add_verb,
    count_arg,
    number_arg,
    positive_arg,
    seconds_arg,
    several,
    share_arg,
    size_arg,
)
from costlab.cli.output import MS, Answer, Column, Row, Stopped, sources, view
from costlab.cli.progress import progress_bar
from costlab.serving.metrics import Objective
from costlab.serving.plan.calibrate import Calibration, calibrate, read_runs
from costlab.serving.plan.candidates import LAYOUTS, Figures, PlannedPool, Refused
from costlab.serving.plan.export import ENGINES, commands
from costlab.serving.plan.space import Space
from costlab.serving.plan.verify import MOST_SIMULATED, SPREAD, Planning, SimulatedPlan, plan_serving
from costlab.serving.plan.workers import Drafting
from costlab.serving.plan.workload import Demand, demand, demand_of
from costlab.text import plain

#: Refused layouts that the table tells of; JSON has all.
_TOLD = 6


def _plan(args: argparse.Namespace) -> Answer:
    load, objective = _demand(args), Objective(args.ttft_s, args.tpot_s, share=args.objective_share)
    if args.engine is not None:
        one_of(ENGINES, args.engine, "engine")
    offers = _fill_rents(args)
    fitted = _calibrate(args)
    space = _space(args, fitted)
    _fill_load(args, load)
    try:
        with progress_bar(None, "simulations") as bar:
            found = plan_serving(
                space,
                load,
                objective,
                most_simulated=args.most_simulated,
                requests=args.requests,
                runs=args.runs,
                seed=args.seed,
                jobs=args.jobs,
                scheduler=args.scheduler,
                progress=bar.update if bar is not None else None,
            )
    except KeyboardInterrupt:
        raise Stopped("before a plan was found") from None
    longest = max(mix.last_context for mix in load.mixes)
    told = [_row(each, args, longest) for each in found.plans]
    rows = [*told, *(_refused_row(each) for each in found.refused)]
    notes = [*_notes(args, space, found), *([fitted.note] if fitted else [])]
    lines = [*_lines(found, args, told)]
    return Answer(rows, _table(told, found), lines, notes, _sources(args, offers), status=int(not found.plans))


# --- what was asked for ------------------------------------------------------------------------------------------


def _demand(args: argparse.Namespace) -> Demand:
    """Return the offered load: of a trace, or of the given means."""
    given = {"--rate": args.requests_per_second, "--input": args.input_tokens, "--output": args.output_tokens}
    if args.trace is not None:
        if doubled := [name for name, value in given.items() if value is not None]:
            raise ValueError(f"{doubled[0]} is what --trace {args.trace} says; give one of the two")
        trace = traces.read(args.trace)
        return demand_of(trace, hit_rate=args.hit_rate, peak_factor=args.peak_factor, cv=args.arrival_cv)
    if missing := [name for name, value in given.items() if value is None]:
        raise ValueError(f"give {', '.join(missing)}, or a --trace that has them")
    return demand(
        args.requests_per_second,
        args.input_tokens,
        args.output_tokens,
        hit_rate=args.hit_rate,
        peak_factor=args.peak_factor,
        cv=1.0 if args.arrival_cv is None else args.arrival_cv,
        length_cv=args.length_cv,
    )


def _fill_load(args: argparse.Namespace, load: Demand) -> None:
    """Fill in what the load is, as it was read from a trace."""
    args.requests_per_second, args.arrival_cv = load.rate_per_s, load.cv
    args.input_tokens = round(load.mean(lambda mix: mix.input_tokens))
    args.output_tokens = round(load.mean(lambda mix: mix.output_tokens))


def _fill_rents(args: argparse.Namespace) -> Mapping[str, Offer]:
    """Fill in the rents, and return the offers of the catalog that they are from, by chip."""
    args.prefill_chip = args.prefill_chip or args.chip
    offers = {}
    for chip, name in ((args.chip, "usd_per_chip_hour"), (args.prefill_chip, "usd_per_prefill_chip_hour")):
        if getattr(args, name) is not None:
            continue
        if chip == args.chip and name != "usd_per_chip_hour":
            args.usd_per_prefill_chip_hour = args.usd_per_chip_hour
            continue
        try:
            offers[chip] = prices.chip_rent(chip)
        except ValueError as error:
            option = "--rent" if name == "usd_per_chip_hour" else "--prefill-rent"
            raise ValueError(f"{error}; give {option}, in USD per chip-hour") from None
        setattr(args, name, offers[chip].amount)
    if args.chip == args.prefill_chip and args.usd_per_chip_hour != args.usd_per_prefill_chip_hour:
        raise ValueError("--rent and --prefill-rent differ, but both pools have the same chip")
    return offers


def _space(args: argparse.Namespace, fitted: Calibration | None) -> Space:
    shares = roofline.Efficiency(args.compute_efficiency, args.memory_efficiency, args.link_efficiency)
    return Space(
        args.model,
        (args.chip,),
        (args.prefill_chip,),
        {args.chip: args.usd_per_chip_hour, args.prefill_chip: args.usd_per_prefill_chip_hour},
        tuple(args.layouts),
        tuple(args.tensor_parallel),
        tuple(args.step_tokens),
        draftings=_draftings(args),
        efficiency=fitted.efficiency if fitted else shares,
        step_s=fitted.step_s if fitted else args.fixed_step_s,
        reserve=args.reserve_share,
        most_chips=args.most_chips,
    )


def _draftings(args: argparse.Namespace) -> tuple[Drafting, ...]:
    """Return speculation with one drafted token, two, and so on up to --length."""
    if args.draft is None:
        return ()
    if args.acceptance is None:
        raise ValueError(f"--draft {args.draft} needs --acceptance: how likely a drafted token is accepted")
    accepted = args.acceptance if len(args.acceptance) > 1 else args.acceptance * args.length
    if len(accepted) < args.length:
        raise ValueError(f"--acceptance has {len(accepted)} positions, fewer than --length {args.length}")
    drafter = arch.drafter(args.draft, arch.load(args.model))
    return tuple(Drafting(drafter, length, tuple(accepted[:length])) for length in range(1, args.length + 1))


def _calibrate(args: argparse.Namespace) -> Calibration | None:
    """Return step times fitted to a benchmark's result, and note them as what is assumed; None where none is given."""
    if args.calibrate is None:
        return None
    runs = read_runs(args.calibrate)
    chips = args.calibrate_chips or next((run.chips for run in runs if run.chips), None)
    if chips is None:
        raise ValueError(f"{args.calibrate} does not say on how many chips it was measured; give --calibrate-chips")
    link = roofline.Efficiency(link=args.link_efficiency)
    node = roofline.deployment(args.model, args.chip, chips, tensor_parallel=chips, efficiency=link)
    fitted = calibrate(runs, node)
    args.calibrate_chips = chips
    args.compute_efficiency, args.memory_efficiency = fitted.efficiency.compute, fitted.efficiency.memory
    args.fixed_step_s = fitted.step_s
    return fitted


# --- what was found ----------------------------------------------------------------------------------------------


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


def _sources(args: argparse.Namespace, offers: Mapping[str, Offer]) -> list[Row]:
    known = catalog.tables()
    chips = dict.fromkeys([args.chip, args.prefill_chip])
    return sources(
        ("model", args.model, known.models[args.model]),
        *(("chip", chip, known.chips[chip]) for chip in chips),
        *(("rent", chip, offer) for chip, offer in offers.items()),
    )


# --- options -----------------------------------------------------------------------------------------------------


def add_verbs(verbs: Any) -> None:
    """Add plan."""
    example = (
        "plan --model llama-3.1-70b --chip h100-sxm --rate 8 --input 2K --output 256 --ttft 1 --tpot 0.03 "
        "--compute-efficiency 0.5 --memory-efficiency 0.7 --requests 400 --runs 4"
    )
    about = "chips and layout for a load: sized in closed form, then simulated"
    verb = add_verb(verbs, "plan", _plan, about, example)
    verb.add_argument("--model", type=str.lower, required=True, metavar="MODEL", help="see `costlab models`")
    chips = ", ".join(catalog.tables().chips)
    verb.add_argument("--chip", type=str.lower, required=True, help=chips)
    verb.add_argument("--prefill-chip", type=str.lower, metavar="CHIP", help="of prefill workers (default: the same)")
    _add_load(verb)
    _add_objective(verb)
    _add_space(verb)
    _add_times(verb)
    _add_runs(verb)


def _add_load(verb: argparse.ArgumentParser) -> None:
    verb.add_argument(
        "--rate", type=positive_arg, dest="requests_per_second", metavar="RATE",
        help="requests that arrive a second, on average: the load that is offered, not what an overloaded system ends",
    )  # fmt: skip
    verb.add_argument("--input", type=count_arg, dest="input_tokens", metavar="TOKENS", help="of a prompt, on average")
    verb.add_argument(
        "--output", type=count_arg, dest="output_tokens", metavar="TOKENS", help="of an answer, on average"
    )
    verb.add_argument("--trace", metavar="FILE", help="take rate, lengths and burstiness from a trace instead")
    verb.add_argument(
        "--hit-rate",
        type=share_arg,
        default=0.0,
        metavar="SHARE",
        help="of input tokens that a cache holds (default 0)",
    )
    verb.add_argument(
        "--peak", type=positive_arg, default=1.0, dest="peak_factor", metavar="FACTOR",
        help="rate at the peak that the plan has to bear, by the mean one (default 1)",
    )  # fmt: skip
    verb.add_argument(
        "--cv", type=positive_arg, dest="arrival_cv", metavar="NUMBER",
        help="coefficient of variation of the gaps between arrivals (default 1, Poisson; of a trace, its own)",
    )  # fmt: skip
    verb.add_argument(
        "--length-cv", type=number_arg, default=0.0, metavar="NUMBER",
        help="that of lengths, which are log-normal (default 0: all alike)",
    )  # fmt: skip


def _add_objective(verb: argparse.ArgumentParser) -> None:
    first = "longest time to first token"
    verb.add_argument("--ttft", type=seconds_arg, required=True, dest="ttft_s", metavar="SECONDS", help=first)
    token = "longest time per output token"
    verb.add_argument("--tpot", type=seconds_arg, required=True, dest="tpot_s", metavar="SECONDS", help=token)
    verb.add_argument(
        "--share", type=share_arg, default=0.9, dest="objective_share", metavar="SHARE",
        help="of requests that should meet both (default 0.9)",
    )  # fmt: skip


def _add_space(verb: argparse.ArgumentParser) -> None:
    layouts = f"{', '.join(LAYOUTS)}; several with commas between them (default: all)"
    verb.add_argument("--layouts", type=several(str.lower), default=list(LAYOUTS), metavar="NAME,...", help=layouts)
    verb.add_argument("--most-chips", type=count_arg, metavar="CHIPS", help="that there are (default: no limit)")
    verb.add_argument(
        "--tensor-parallel", type=several(count_arg), default=[1, 2, 4, 8], metavar="CHIPS,...",
        help="chips of a rank that are tried (default 1,2,4,8)",
    )  # fmt: skip
    verb.add_argument(
        "--step-tokens", type=several(count_arg), default=[512, 2048, 8192], metavar="TOKENS,...",
        help="budgets of a step that are tried where prompts are read beside decoding (default 512,2048,8192)",
    )  # fmt: skip
    verb.add_argument(
        "--reserve", type=share_arg, default=0.05, dest="reserve_share", metavar="SHARE",
        help="of the room for caches that stays free at the peak (default 0.05)",
    )  # fmt: skip
    drafts = "speculation in decode pools: mtp, eagle3, lookup, or a smaller model"
    verb.add_argument("--draft", type=str.lower, metavar="NAME", help=drafts)
    chance = "that a drafted token is accepted if those before it were; one for all positions or one for each"
    verb.add_argument("--acceptance", type=several(share_arg), metavar="SHARE,...", help=chance)
    verb.add_argument("--length", type=count_arg, default=1, help="longest draft that is tried (default 1)")


def _add_times(verb: argparse.ArgumentParser) -> None:
    rent = "USD per chip-hour (default: the catalog's latest offer of the chip, of one day's the lowest)"
    verb.add_argument("--rent", type=number_arg, dest="usd_per_chip_hour", metavar="USD", help=rent)
    verb.add_argument(
        "--prefill-rent", type=number_arg, dest="usd_per_prefill_chip_hour", metavar="USD",
        help="the same of the prefill chip",
    )  # fmt: skip
    for part in ("compute", "memory", "link"):
        peak = "share of the peak reached (default 1)"
        verb.add_argument(f"--{part}-efficiency", type=float, default=1.0, metavar="SHARE", help=peak)
    verb.add_argument(
        "--step-seconds", type=seconds_arg, default=0.0, dest="fixed_step_s", metavar="SECONDS",
        help="of each step that hide behind nothing: launches, sampling (default 0)",
    )  # fmt: skip
    verb.add_argument(
        "--calibrate", metavar="FILE",
        help="fit these to a result of `vllm bench serve --save-result` or of SGLang's bench_serving, on the same chip",
    )  # fmt: skip
    verb.add_argument(
        "--calibrate-chips",
        type=count_arg,
        metavar="CHIPS",
        help="on which it was measured, where the file does not say",
    )
    engines = f"print how to start the workers of the cheapest plan: {', '.join(ENGINES.values())}"
    verb.add_argument("--export", type=str.lower, dest="engine", metavar="ENGINE", help=engines)


def _add_runs(verb: argparse.ArgumentParser) -> None:
    verb.add_argument(
        "--simulate", type=count_arg, default=MOST_SIMULATED, dest="most_simulated", metavar="N",
        help=f"layouts that are simulated at most (default {MOST_SIMULATED})",
    )  # fmt: skip
    verb.add_argument(
        "--requests", type=size_arg, default=0, metavar="N",
        help="of a simulation (default 0: those of ten times the longest answer, 1,000 to 20,000)",
    )  # fmt: skip
    verb.add_argument(
        "--runs", type=size_arg, default=8, metavar="N", help="with uncertain step times, of each plan (default 8)"
    )
    verb.add_argument("--seed", type=size_arg, default=0, help="of arrivals and step times (default 0)")
    verb.add_argument("--jobs", type=int, default=1, help="processes; -1 is one per core (default 1)")
    verb.add_argument("--scheduler", metavar="ADDRESS", help="of a Dask cluster to use, e.g. tcp://10.0.0.1:8786")
