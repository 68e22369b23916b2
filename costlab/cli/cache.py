"""The verbs replay and sweep."""

from __future__ import annotations

import argparse
import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from costlab import arch, catalog, traces
from costlab.arch.configs import STDIN
from costlab.cache import tiers as storage
from costlab.cache.policies import POLICIES
from costlab.cache.prefix.pools import WRITES
from costlab.cache.prefix.states import StateRule
from costlab.cache.sim.loading import MODES
from costlab.cache.sim.plan import PREFETCH_RULE, PREFETCHES, Plan
from costlab.cache.sim.report import Report
from costlab.cache.sim.run import ReplayTask, replay
from costlab.cli.arguments import (
    MODEL_HELP,
    add_verb,
    capacity_arg,
    count_arg,
    model_arg,
    several,
    share_arg,
    size_arg,
)
from costlab.cli.output import GB, Answer, Column, Row, Stopped, sources, view
from costlab.cli.plots import add_plot, plotter
from costlab.cli.progress import Watched, progress_bar
from costlab.cli.traced import add_reading, made, read_trace, refuse_reading
from costlab.sweep import Outcome, grid, sweep
from costlab.text import bytes_text, plain
from costlab.traces import generators

_Swept = Outcome[Plan, tuple[Report, tuple[str, ...]]]


def _replay(args: argparse.Namespace) -> Answer:
    draw = plotter(args.plot, "cache.replay_figure")
    watched = Watched(_trace(args))
    plan = _plan(args, watched.trace, {name: getattr(args, name) for name in _AXES})
    args.block_tokens = plan.block_tokens
    with watched.stoppable():
        report = replay(watched, plan, watched.served)
        answer = _replayed(report, watched.trace, plan)
        watched.raise_if_stopped(answer)
        if draw:
            draw(report)
    return answer


def _replayed(report: Report, trace: traces.Trace, plan: Plan) -> Answer:
    lines = [f"{row['what']}: {row['value']}" for row in report.summary()]
    lines += [f"windows kept every {plan.checkpoint_tokens:,} tokens"] if plan.checkpoint_tokens else []
    lines += [f"states kept by the rule {plan.state_rule}"] if plan.state_rule is not None else []
    return Answer([report.as_dict()], report.rows(), lines, trace.notes(), sources(*_used([plan])))


def _sweep(args: argparse.Namespace) -> Answer:
    if STDIN in args.model:  # its text is read once, by one process
        raise ValueError("a sweep runs in several processes: give the path of a config.json instead of -")
    trace = _trace(args)
    points = grid(**{name: getattr(args, name) for name in _AXES})
    plans = [_plan(args, trace, point) for point in points]
    args.block_tokens = plans[0].block_tokens
    outcomes = _run_plans(args, plans, trace)
    varied = [name for name in _AXES if len(getattr(args, name)) > 1] or ["model"]
    rows = [
        {**plain({name: point[name] for name in ("model", *varied)}), **_outcome_row(outcome)}
        for point, outcome in zip(points, outcomes, strict=True)
    ]
    tiers = [tier.name for tier in max((plan.tiers for plan in plans), key=len)]
    failed = sum(outcome.error is not None for outcome in outcomes)
    notes = next((outcome.result[1] for outcome in outcomes if outcome.result), ())
    failures = [f"{failed} of {len(plans)} plans failed"] if failed else []
    table = view(rows, *map(_point_column, varied), *_report_columns(tiers))
    return Answer(rows, table, (), [*failures, *notes], sources(*_used(plans)), status=int(failed > 0))


def _point_column(name: str) -> Column:
    """Return how people see what a sweep varies: sizes with their unit, null as a size without limit."""
    if not name.endswith("_bytes"):
        return Column(_option(name), name)
    return Column(_option(name), lambda row: _size_text(row[name]))


def _size_text(size: float | None) -> str:
    return bytes_text(math.inf if size is None else size) if size != 0 else "none"


def _report_columns(tiers: Sequence[str]) -> list[Column]:
    """Return how people see a report among others."""
    return [
        Column("hit_rate", "hit_rate"),
        Column("page_hit_rate", _with_states("page_hit_rate")),
        Column("states_GB", _state_bytes, GB),
        Column("states_kept", functools.partial(_states, ("computed",))),
        Column("states_gone", functools.partial(_states, ("evicted", "discarded"))),
        *(Column(f"in_{name}", functools.partial(_tier_hit_rate, name)) for name in tiers),
        *(Column(key, key) for key in ("ttft_p50_s", "ttft_p99_s", "service_p50_s", "stall_s")),
        Column("moved_GB", "moved_bytes", GB),
        Column("error", "error"),
    ]


def _with_states(key: str) -> Callable[[Row], Any]:
    """Return what reads a key of a report on a model with recurrent layers; None of all others."""
    return lambda row: row[key] if _state_pools(row) else None


def _state_pools(row: Row) -> list[Mapping[str, Any]]:
    """Return the accounts of kept states in each tier of a report; none without recurrent layers."""
    return [tier["state_pool"] for tier in row.get("tiers", {}).values() if tier.get("state_pool")]


def _state_bytes(row: Row) -> float | None:
    """Return the bytes of states in all tiers together at the end; None without recurrent layers."""
    pools = _state_pools(row)
    return sum(pool["resident_states"] * pool["kept_state_bytes"] for pool in pools) if pools else None


def _states(counts: Sequence[str], row: Row) -> int | None:
    """Return how many states were counted so in all tiers together; None without recurrent layers."""
    pools = _state_pools(row)
    return sum(pool[f"{count}_states"] for pool in pools for count in counts) if pools else None


def _tier_hit_rate(name: str, row: Row) -> float | None:
    """Return a tier's share of the input tokens; None where there was no such tier, or no report."""
    tier = row.get("tiers", {}).get(name)
    return float(tier["hit_rate"]) if tier else None


def _used(plans: Sequence[Plan]) -> list[tuple[str, str, Any]]:
    """Return the entries of the catalog that replays of these plans rest on."""
    known, found = catalog.tables(), []
    for plan in plans:
        media = [tier.name.lower() for tier in plan.tiers[1:]]
        found += [("model", plan.model, arch.load(plan.model).record), ("chip", plan.chip, known.chips[plan.chip])]
        found += [("storage medium", medium, known.media[medium]) for medium in media]
        found += [("prefetch rule", PREFETCH_RULE, plan.prefetch_rule)] if len(media) > 1 else []
    return found


def _run_plans(args: argparse.Namespace, plans: Sequence[Plan], trace: traces.Trace) -> list[_Swept]:
    done = 0

    def progress(count: int) -> None:
        nonlocal done
        done += count
        if bar is not None:
            bar.update(count)

    try:
        with progress_bar(len(plans), "plans") as bar:
            return sweep(ReplayTask(trace), plans, jobs=args.jobs, scheduler=args.scheduler, progress=progress)
    except KeyboardInterrupt:
        raise Stopped(f"after {done} of {len(plans)} plans") from None


def _outcome_row(outcome: _Swept) -> dict[str, Any]:
    return {"error": outcome.error} if outcome.result is None else outcome.result[0].as_dict()


def _trace(args: argparse.Namespace) -> traces.Trace:
    """Return what TRACE names: standard input, a generator with its count, or a file."""
    named = made(args.trace, generators.SHAPES, "generator")
    if named is None:
        return read_trace(args)
    refuse_reading(args)
    return generators.generate(*named, np.random.default_rng(args.seed))


def _plan(args: argparse.Namespace, trace: traces.Trace, point: Mapping[str, Any]) -> Plan:
    return Plan(
        model=point["model"],
        tiers=_tiers(point, args),
        block_tokens=trace.block_tokens or args.block_tokens or 512,
        eviction=point["policy"],
        write=point["write"],
        prefetch=point["prefetch"],
        loading=point["loading"],
        checkpoint_tokens=point["checkpoint_tokens"],
        states=point["states"],
        state_share=point["state_share"],
        chip=args.chip,
        chips=args.chips,
    )


def _tiers(point: Mapping[str, Any], args: argparse.Namespace) -> tuple[storage.Tier, ...]:
    """Return the tiers that are not absent."""
    hbm, dram, ssd = (point[f"{name}_bytes"] for name in ("hbm", "dram", "ssd"))
    if not hbm:
        raise ValueError("--hbm should be above 0: the prompt that is being computed lies there")
    return storage.standard(hbm, dram or None, ssd or None, chips=args.chips, drives=args.drives)


_TRACE = f"""a file or pipe ({", ".join(traces.FORMATS)}; packed by gzip, zstd, bzip2 or xz too), - for standard input,
or a generator and how many requests it makes, e.g. chat:1000 ({", ".join(generators.SHAPES)})"""


def add_verbs(verbs: Any) -> None:
    """Add replay and sweep."""
    example = "replay chat:1000 --model mimo-v2.5-pro --hbm 20GB --dram 200GB --ssd 2TB"
    _add_replay(add_verb(verbs, "replay", _replay, "replay a trace of requests against tiers of cache", example))
    example = "sweep chat:200 --model mimo-v2.5-pro --hbm 20GB --dram 0,200GB --policy lru,sieve"
    _add_sweep(add_verb(verbs, "sweep", _sweep, "replay a trace under every combination of the given options", example))


def _add_replay(verb: argparse.ArgumentParser) -> None:
    _add_trace(verb)
    for name, (default, reader, text) in _AXES.items():
        verb.add_argument(
            f"--{_option(name)}",
            type=reader,
            default=default,
            required=default is ...,
            dest=name,
            metavar=_METAVARS.get(reader, "NAME"),
            help=text,
        )
    add_plot(verb, "draw hits and waiting times, e.g. into out.svg")


def _add_sweep(verb: argparse.ArgumentParser) -> None:
    _add_trace(verb)
    for name, (default, reader, text) in _AXES.items():
        verb.add_argument(
            f"--{_option(name)}",
            type=several(reader),
            default=[default],
            required=default is ...,
            dest=name,
            metavar=f"{_METAVARS.get(reader, 'NAME')},...",
            help=f"{text}; several with commas between them",
        )
    verb.add_argument("--jobs", type=int, default=-1, help="processes (default: one per core)")
    verb.add_argument("--scheduler", metavar="ADDRESS", help="of a Dask cluster to use, e.g. tcp://10.0.0.1:8786")
    verb.add_argument("--csv", action="store_true", help="print CSV instead of a table")


def _add_trace(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("trace", metavar="TRACE", help=_TRACE)
    add_reading(verb)
    verb.add_argument("--seed", type=size_arg, default=0, help="of a generator (default 0)")
    verb.add_argument(
        "--chip", type=str.lower, default="h800", help=f"{', '.join(catalog.tables().chips)} (default h800)"
    )
    verb.add_argument("--chips", type=count_arg, default=16, help="that share the work (default 16)")
    verb.add_argument("--drives", type=count_arg, default=8, help="SSDs that share the lowest tier (default 8)")


def _rule_arg(text: str) -> str:
    """Read a rule for kept states, and return it as it is written in full."""
    try:
        return str(StateRule.parse(text))
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


_METAVARS: Mapping[Callable[[str], Any], str] = {
    capacity_arg: "SIZE",
    count_arg: "TOKENS",
    _rule_arg: "RULE",
    share_arg: "SHARE",
}


def _option(name: str) -> str:
    """Return an axis's name as an option, without its unit: hbm of hbm_bytes, state-share of state_share."""
    return name.removesuffix("_bytes").removesuffix("_tokens").replace("_", "-")


#: What a plan is made of and a sweep varies, by JSON key: its default, its reader, its help.
_AXES: Mapping[str, tuple[Any, Callable[[str], Any], str]] = {
    "model": (..., model_arg, MODEL_HELP),
    "hbm_bytes": (..., capacity_arg, "cache in the chips' memory, all chips together: e.g. 80GB, 1.5TiB, unlimited"),
    "dram_bytes": (0.0, capacity_arg, "cache in host memory (default 0: none)"),
    "ssd_bytes": (0.0, capacity_arg, "cache on drives (default 0: none)"),
    "policy": (
        Plan.eviction,
        str,
        f"who leaves first: {', '.join(POLICIES)}, or belady, which knows the future (default {Plan.eviction})",
    ),
    "write": (Plan.write, str, f"to slower tiers: {', '.join(WRITES)} (default {Plan.write})"),
    "prefetch": (Plan.prefetch, str, f"from drives: {', '.join(PREFETCHES)} (default {Plan.prefetch})"),
    "loading": (Plan.loading, str, f"of layers: {', '.join(MODES)} (default {Plan.loading})"),
    "checkpoint_tokens": (None, count_arg, "keep windows every so many tokens (default: at a prompt's end only)"),
    "states": (
        None,
        _rule_arg,
        "keep states of recurrent layers every so many tokens, at ends, at branches, or none: e.g. every:4K+ends "
        "(default for models that have them: ends)",
    ),
    "state_share": (None, share_arg, "of each tier that only states take (default: they compete with pages)"),
}
