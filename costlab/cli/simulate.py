"""The verb simulate."""

from __future__ import annotations

import argparse
import functools
from collections.abc import Callable
from typing import Any

from costlab import arch, catalog
from costlab.cache import PrefixCache, Tier, footprints
from costlab.cli.arguments import (
    add_verb,
    bandwidth_arg,
    capacity_arg,
    count_arg,
    number_arg,
    positive_arg,
    seconds_arg,
    several,
    share_arg,
    size_arg,
)
from costlab.cli.deployments import add_service, add_step_times, add_tensor_parallel, service_used, shares_reached
from costlab.cli.loads import add_load, load_sources, offered_load
from costlab.cli.output import Answer, sources
from costlab.roofline import Deployment
from costlab.serving.layouts import PooledLayout, WorkerPool, colocated, conditionally_separated, mixed_pool, separated
from costlab.serving.links import LINK_LATENCY_S, SENDINGS, Link, SentBytes
from costlab.serving.metrics import Objective
from costlab.serving.recorder import Classes, Recorder
from costlab.serving.report import ServingReport
from costlab.serving.routing import ROUTERS
from costlab.serving.schedulers import Orca, PrefillFirst, Sarathi, Scheduler, VllmV1
from costlab.serving.simulation import WorkerSpec, simulate

#: What makes the prefix cache of a worker; None for none.
CacheMaker = Callable[[], PrefixCache] | None

BATCHINGS = ("vllm", "sarathi", "orca", "prefill-first")


def _simulate(args: argparse.Namespace) -> Answer:
    load = offered_load(args)
    layout = _layout(args, _cache(args, load.block_tokens))
    recorder = Recorder(
        Objective(args.ttft_s, args.tpot_s, args.worst_gap_s, args.objective_share),
        args.warm_up_s,
        Classes.by_prompt(*args.class_tokens) if args.class_tokens else None,
    )
    report = simulate(load.requests, layout, recorder=recorder, seed=args.seed, until_s=args.until_s)
    row = {"model": args.model, "chip": args.chip, **report.as_dict()}
    used = sources(*service_used(args), *load_sources(args))
    return Answer([row], report.times().rows, _lines(report, layout, args), load.notes(), used)


def _lines(report: ServingReport, layout: PooledLayout, args: argparse.Namespace) -> list[str]:
    tables = [report.by_class() if report.classes else None, report.by_pool(), report.by_link()]
    told = [line for table in tables if table for line in repr(table).splitlines()]
    shares = ", ".join(f"{getattr(args, f'{part}_efficiency'):g} {part}" for part in ("compute", "memory", "link"))
    rank = "a rank" if args.chips > args.tensor_parallel else "a worker"
    room = ", ".join(f"{pool.spec.kv_tokens:,} ({name})" for name, pool in layout.pools.items())
    return [f"{report.layout}", *report.sentences(), *told, f"tokens of cache on {rank}: {room}; efficiency {shares}"]


# --- layout ------------------------------------------------------------------------------------------------------


def _layout(args: argparse.Namespace, cache: CacheMaker) -> PooledLayout:
    """Return the layout that the options describe; `cache` makes the prefix cache of each worker."""
    args.chips = args.chips or args.tensor_parallel
    apart = [args.prefill_workers, args.decode_workers]
    if args.workers is not None and any(apart):
        raise ValueError("--workers is for workers that do all; give it, or --prefill and --decode")
    if not any(apart):
        for option, given in _OF_POOLS.items():
            if not (getattr(args, given) is None or getattr(args, given) is False):
                raise ValueError(f"--{option} is for --prefill and --decode")
        args.workers = args.workers or 1
        return colocated(_pool(args, cache, args.chip, args.workers, args.step_tokens))
    if not all(apart):
        raise ValueError("a separated layout wants both, --prefill and --decode")
    _fill_pools(args)
    if args.threshold_tokens is not None and args.lend:
        raise ValueError("--threshold and --lend are two layouts; give one of them")
    prefill = _pool(args, cache, args.prefill_chip or args.chip, args.prefill_workers, args.prefill_step_tokens)
    decode = _pool(args, cache, args.chip, args.decode_workers, args.step_tokens)
    crossing = (_link(args), SentBytes.of(args.model, args.tensor_parallel))
    if args.threshold_tokens is not None:
        threshold = args.threshold_tokens
        return conditionally_separated(prefill, decode, *crossing, threshold, sending=args.sending)
    make = mixed_pool if args.lend else separated
    return make(prefill, decode, *crossing, sending=args.sending)


#: Options that say something only where pools are apart.
_OF_POOLS = {
    "threshold": "threshold_tokens",
    "lend": "lend",
    "link": "link_bytes_per_second",
    "link-latency": "link_latency_s",
    "sending": "sending",
    "prefill-chip": "prefill_chip",
    "prefill-step-tokens": "prefill_step_tokens",
}


def _fill_pools(args: argparse.Namespace) -> None:
    """Fill in what pools that are apart have where nothing is said."""
    args.prefill_step_tokens = args.prefill_step_tokens or 8192
    args.link_latency_s = LINK_LATENCY_S if args.link_latency_s is None else args.link_latency_s
    args.sending = args.sending or SENDINGS[0]


def _link(args: argparse.Namespace) -> Link:
    """Return the link of a prefill worker: given, or its chips' network."""
    if args.link_bytes_per_second is None:
        chips = (args.chip, args.prefill_chip or args.chip)
        args.link_bytes_per_second = min(catalog.chip(chip).network for chip in chips) * args.chips
    return Link(args.link_bytes_per_second, args.link_latency_s)


def _pool(args: argparse.Namespace, cache: CacheMaker, chip: str, workers: int, step_tokens: int) -> WorkerPool:
    """Return workers, each of one make of chips with the model on them."""
    node = Deployment(
        arch.load(args.model), catalog.chip(chip), args.chips, args.tensor_parallel, shares_reached(args), True,
        args.memory_share, step_s=args.fixed_step_s,
    )  # fmt: skip
    spec = WorkerSpec.of(node, _scheduler(args, step_tokens), args.kv_block_tokens, cache)
    return WorkerPool(spec, workers, args.router, args.signal_age_s)


def _scheduler(args: argparse.Namespace, step_tokens: int) -> Scheduler:
    most = min(args.most_running, step_tokens)
    if args.batching == "vllm":
        return VllmV1(step_tokens, most, watermark=args.watermark_share, whole_prompt=args.whole_prompt)
    if args.whole_prompt:
        raise ValueError(f"--whole-prompt is for vllm; {args.batching} admits whole prompts anyway")
    if args.batching == "sarathi":
        return Sarathi(step_tokens, most, watermark=args.watermark_share)
    if args.watermark_share:
        raise ValueError(f"--watermark is for vllm and sarathi, not for {args.batching}")
    return Orca(most) if args.batching == "orca" else PrefillFirst(step_tokens, most)


def _cache(args: argparse.Namespace, block_tokens: int | None) -> CacheMaker:
    """Return what makes a worker's prefix cache, a page for each block of a prompt; None where there is none."""
    if not args.prefix_cache_bytes:
        return None
    page_tokens = block_tokens or 512  # nothing hits in prompts without block ids
    page_bytes = footprints.footprint(args.model).everything().full_bytes_per_token * page_tokens
    return functools.partial(PrefixCache, [Tier("HBM", args.prefix_cache_bytes)], page_bytes, page_tokens=page_tokens)


# --- options -----------------------------------------------------------------------------------------------------


def add_verbs(verbs: Any) -> None:
    """Add simulate."""
    example = (
        "simulate azure-conv:2000 --rate 4 --model llama-3.1-70b --chip h100-sxm --tensor-parallel 4 --prefill 1 "
        "--decode 1 --ttft 1 --tpot 0.05"
    )
    about = "send requests through a service: waits, gaps, goodput, who is busy"
    verb = add_verb(verbs, "simulate", _simulate, about, example)
    add_load(verb)
    _add_layout(verb)
    _add_workers(verb)
    _add_run(verb)


def _add_layout(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--workers", type=count_arg, metavar="N", help="that read prompts and decode (default 1)")
    verb.add_argument(
        "--prefill", type=count_arg, dest="prefill_workers", metavar="N", help="workers that read prompts"
    )
    verb.add_argument("--decode", type=count_arg, dest="decode_workers", metavar="N", help="workers that decode")
    verb.add_argument(
        "--threshold", type=size_arg, dest="threshold_tokens", metavar="TOKENS",
        help="prompts with at most so many uncached tokens are read where they are decoded",
    )  # fmt: skip
    verb.add_argument("--lend", action="store_true", help="let both pools lend one another workers")
    verb.add_argument(
        "--link", type=bandwidth_arg, dest="link_bytes_per_second", metavar="SIZE",
        help="bytes per second that a prefill worker sends, e.g. 50GB (default: its chips' network)",
    )  # fmt: skip
    verb.add_argument(
        "--link-latency", type=seconds_arg, dest="link_latency_s", metavar="SECONDS",
        help=f"of a transfer before its first byte (default {LINK_LATENCY_S:g})",
    )  # fmt: skip
    verb.add_argument(
        "--sending", type=str.lower, choices=SENDINGS, metavar="HOW",
        help=f"a prompt's cache is sent: {', '.join(SENDINGS)} (default whole)",
    )  # fmt: skip
    verb.add_argument(
        "--router", type=str.lower, default="least pending tokens", metavar="NAME",
        help=f"which worker gets a request: {', '.join(ROUTERS)} (default least pending tokens)",
    )  # fmt: skip
    verb.add_argument(
        "--signal-age", type=seconds_arg, default=0.0, dest="signal_age_s", metavar="SECONDS",
        help="between two looks of the router at the workers (default 0)",
    )  # fmt: skip


def _add_workers(verb: argparse.ArgumentParser) -> None:
    add_service(verb)
    verb.add_argument(
        "--chips", type=count_arg, metavar="CHIPS", help="of each worker (default: those of one tensor-parallel group)"
    )
    add_tensor_parallel(verb)
    add_step_times(verb)
    verb.add_argument(
        "--memory-share", type=share_arg, default=0.9, metavar="SHARE",
        help="of each chip's memory that weights and cache may use (default 0.9)",
    )  # fmt: skip
    verb.add_argument(
        "--batching", type=str.lower, choices=BATCHINGS, default="vllm", metavar="NAME",
        help=f"whose scheduler: {', '.join(BATCHINGS)} (default vllm)",
    )  # fmt: skip
    verb.add_argument(
        "--step-tokens", type=count_arg, default=2048, metavar="TOKENS", help="budget of a step (default 2048)"
    )
    verb.add_argument(
        "--prefill-step-tokens", type=count_arg, metavar="TOKENS",
        help="budget of a step of a prefill worker (default 8192)",
    )  # fmt: skip
    verb.add_argument(
        "--most-running", type=count_arg, default=256, metavar="N", help="sequences in a batch (default 256)"
    )
    verb.add_argument(
        "--watermark", type=share_arg, default=0.0, dest="watermark_share", metavar="SHARE",
        help="of the blocks that admission leaves free (default 0)",
    )  # fmt: skip
    verb.add_argument("--whole-prompt", action="store_true", help="admit a prompt only if all of it fits")
    verb.add_argument(
        "--kv-block", type=count_arg, default=16, dest="kv_block_tokens", metavar="TOKENS",
        help="tokens of a block of cache (default 16)",
    )  # fmt: skip
    verb.add_argument(
        "--prefix-cache", type=capacity_arg, default=0.0, dest="prefix_cache_bytes", metavar="SIZE",
        help="of each worker for prefixes computed before, beside the memory of what runs (default 0: none)",
    )  # fmt: skip


def _add_run(verb: argparse.ArgumentParser) -> None:
    infinite = float("inf")
    first = "longest time to first token"
    verb.add_argument("--ttft", type=positive_arg, default=infinite, dest="ttft_s", metavar="SECONDS", help=first)
    token = "longest time per output token"
    verb.add_argument("--tpot", type=positive_arg, default=infinite, dest="tpot_s", metavar="SECONDS", help=token)
    gap = "longest gap between two tokens"
    verb.add_argument(
        "--worst-gap", type=positive_arg, default=infinite, dest="worst_gap_s", metavar="SECONDS", help=gap
    )
    verb.add_argument(
        "--share", type=share_arg, default=0.9, dest="objective_share", metavar="SHARE",
        help="of requests that should meet all of them (default 0.9)",
    )  # fmt: skip
    verb.add_argument(
        "--warm-up", type=number_arg, default=0.0, dest="warm_up_s", metavar="SECONDS",
        help="arrivals in the first so many seconds are left out (default 0)",
    )  # fmt: skip
    verb.add_argument(
        "--classes", type=several(count_arg), default=[], dest="class_tokens", metavar="TOKENS,...",
        help="tell requests apart by their prompts: up to each of these lengths, and longer ones",
    )  # fmt: skip
    verb.add_argument(
        "--until", type=positive_arg, default=infinite, dest="until_s", metavar="SECONDS",
        help="stop then, whoever is under way (default: when all are served)",
    )  # fmt: skip
    verb.add_argument("--seed", type=size_arg, default=0, help="of all that is drawn (default 0)")
