"""The verb plan."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Mapping
from typing import Any

from costlab import arch, roofline, traces
from costlab.catalog import Offer
from costlab.checks import one_of
from costlab.cli.arguments import (
    add_verb,
    count_arg,
    model_arg,
    number_arg,
    positive_arg,
    seconds_arg,
    several,
    share_arg,
    size_arg,
)
from costlab.cli.deployments import (
    RENT,
    add_service,
    add_step_times,
    fill_rent,
    rent_offer,
    service_used,
    shares_reached,
)
from costlab.cli.output import Answer, Stopped, sources
from costlab.cli.planned import planned
from costlab.cli.progress import progress_bar
from costlab.serving.metrics import Objective
from costlab.serving.plan.calibrate import Calibration, calibrate, read_runs
from costlab.serving.plan.candidates import LAYOUTS
from costlab.serving.plan.export import ENGINES
from costlab.serving.plan.space import Space
from costlab.serving.plan.verify import MOST_SIMULATED, plan_serving
from costlab.serving.plan.workers import MOST_DRAFTED, Drafting
from costlab.serving.plan.workload import Demand, demand, demand_of


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
    answer = planned(args, space, load, found)
    notes = [*answer.notes, *([fitted.note] if fitted else [])]
    rents = [("rent", chip, offer) for chip, offer in offers.items()]
    return dataclasses.replace(answer, notes=notes, sources=sources(*service_used(args), *rents))


# --- what was asked for ------------------------------------------------------------------------------------------


def _demand(args: argparse.Namespace) -> Demand:
    """Return the offered load: of a trace, or of the given means."""
    given = {"--rate": args.requests_per_second, "--input": args.input_tokens, "--output": args.output_tokens}
    if args.trace is not None:
        if doubled := [name for name, value in given.items() if value is not None]:
            raise ValueError(f"{doubled[0]} is what --trace {args.trace} says; give one of the two")
        if args.length_cv:
            raise ValueError(f"--length-cv is for lengths that are made; --trace {args.trace} has its own")
        trace = traces.read(args.trace, sort=args.sort)
        return demand_of(trace, hit_rate=args.hit_rate, peak_factor=args.peak_factor, cv=args.arrival_cv)
    if args.sort:
        raise ValueError("--sort is for --trace")
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
    offer, alike = fill_rent(args), args.prefill_chip == args.chip
    offers = {args.chip: offer} if offer else {}
    if args.usd_per_prefill_chip_hour is not None:
        if alike and args.usd_per_chip_hour != args.usd_per_prefill_chip_hour:
            raise ValueError("--rent and --prefill-rent differ, but both pools have the same chip")
    elif alike:
        args.usd_per_prefill_chip_hour = args.usd_per_chip_hour
    else:
        offers[args.prefill_chip] = rent_offer(args.prefill_chip, "--prefill-rent")
        args.usd_per_prefill_chip_hour = offers[args.prefill_chip].amount
    return offers


def _space(args: argparse.Namespace, fitted: Calibration | None) -> Space:
    return Space(
        args.model,
        (args.chip,),
        (args.prefill_chip,),
        {args.chip: args.usd_per_chip_hour, args.prefill_chip: args.usd_per_prefill_chip_hour},
        tuple(args.layouts),
        tuple(args.tensor_parallel),
        tuple(args.step_tokens),
        draftings=_draftings(args),
        efficiency=fitted.efficiency if fitted else shares_reached(args),
        step_s=fitted.step_s if fitted else args.fixed_step_s,
        reserve=args.reserve_share,
        most_chips=args.most_chips,
    )


def _draftings(args: argparse.Namespace) -> tuple[Drafting, ...]:
    """Return speculation with one drafted token, two, and so on up to --length."""
    if args.length > MOST_DRAFTED:
        raise ValueError(f"--length {args.length} should be at most {MOST_DRAFTED}")
    if args.draft is None:
        if args.acceptance is not None or args.length != 1:
            raise ValueError("--acceptance and --length are for --draft")
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
        if args.calibrate_chips is not None:
            raise ValueError("--calibrate-chips is for --calibrate")
        return None
    if (args.compute_efficiency, args.memory_efficiency, args.fixed_step_s) != (1, 1, 0):
        raise ValueError(
            f"--calibrate {args.calibrate} finds the efficiencies and the seconds of a step: give no others"
        )
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


# --- options -----------------------------------------------------------------------------------------------------


def add_verbs(verbs: Any) -> None:
    """Add plan."""
    example = (
        "plan --model llama-3.1-70b --chip h100-sxm --rate 8 --input 2K --output 256 --ttft 1 --tpot 0.03 "
        "--compute-efficiency 0.5 --memory-efficiency 0.7 --requests 400 --runs 4"
    )
    about = "chips and layout for a load: sized in closed form, then simulated"
    verb = add_verb(verbs, "plan", _plan, about, example)
    add_service(verb)
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
    verb.add_argument("--sort", action="store_true", help="put its rows in order of time, in memory")
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
    drafts = "speculation, tried beside decoding without: mtp, eagle3, lookup, or a smaller model"
    verb.add_argument("--draft", type=model_arg, metavar="NAME", help=drafts)
    chance = "that a drafted token is accepted if those before it were; one for all positions or one for each"
    verb.add_argument("--acceptance", type=several(share_arg), metavar="SHARE,...", help=chance)
    verb.add_argument("--length", type=count_arg, default=1, help="longest draft that is tried (default 1)")


def _add_times(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--rent", type=number_arg, dest="usd_per_chip_hour", metavar="USD", help=RENT)
    verb.add_argument(
        "--prefill-rent", type=number_arg, dest="usd_per_prefill_chip_hour", metavar="USD",
        help="the same of the prefill chip",
    )  # fmt: skip
    add_step_times(verb)
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
