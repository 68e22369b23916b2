"""The verb roofline."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from costlab import catalog, prices, roofline
from costlab.cli.arguments import add_verb, count_arg
from costlab.cli.output import MS, Answer, Column, Row, sources, view


def _roofline(args: argparse.Namespace) -> Answer:
    efficiency = roofline.Efficiency(args.compute_efficiency, args.memory_efficiency, args.link_efficiency)
    parallel = args.tensor_parallel
    node = roofline.deployment(args.model, args.chip, args.chips, tensor_parallel=parallel, efficiency=efficiency)
    node.check_room(args.batch, args.tokens)
    offer = _rent(args.chip) if args.usd_per_chip_hour is None else None
    if offer:
        args.usd_per_chip_hour = offer.amount
    steps = {
        "prefill": node.prefill(args.tokens, batch=node.replicas),
        "decode": node.decode(args.batch, args.tokens),
    }
    rows = [_row(phase, step, node, args) for phase, step in steps.items()]
    table = view(
        rows,
        Column("phase", "phase"),
        *(Column(f"{part}_ms", f"{part}_s", MS) for part in ("step", "compute", "memory", "link")),
        Column("bound", "bound"),
        Column("tokens_per_s", "tokens_per_s"),
        Column("usd_per_M_tokens", "usd_per_million_tokens"),
    )
    used = sources(
        ("model", args.model, node.model.record),
        ("chip", args.chip, node.chip),
        *([("rent", args.chip, offer)] if offer else []),
    )
    return Answer(rows, table, _lines(rows[0], node, offer), _notes(node), used)


def _row(phase: str, step: roofline.Step, node: roofline.Deployment, args: argparse.Namespace) -> dict[str, Any]:
    return {
        "model": args.model,
        "chip": args.chip,
        "chips": node.chips,
        "phase": phase,
        "tokens": args.tokens,
        "batch": node.replicas if phase == "prefill" else args.batch,
        "step_s": step.seconds,
        "compute_s": step.compute_s,
        "memory_s": step.memory_s,
        "link_s": step.link_s,
        "bound": step.bound,
        "tokens_per_s": step.tokens_per_s,
        "usd_per_million_tokens": node.usd_per_million(step, args.usd_per_chip_hour),
        "usd_per_chip_hour": args.usd_per_chip_hour,
        "replicas": node.replicas,
        "max_batch": node.max_batch(args.tokens),
        "weight_bytes_per_chip": node.weight_bytes_per_chip,
        "memory_bytes_per_chip": node.chip.memory_bytes,
        "memory_share": node.memory_share,
    }


def _rent(chip: str) -> catalog.Offer:
    try:
        return prices.chip_rent(chip)
    except ValueError as error:
        raise ValueError(f"{error}; give --rent, in USD per chip-hour") from None


def _lines(row: Row, node: roofline.Deployment, offer: catalog.Offer | None) -> list[str]:
    memory = f"{row['memory_bytes_per_chip'] / 1e9:.0f} GB, {row['memory_share']:.0%} usable"
    weights = f"{row['weight_bytes_per_chip'] / 1e9:.1f} GB of weights on each {node.chip.name} with {memory}"
    eff = node.efficiency
    rent = f"{row['usd_per_chip_hour']:g} USD/chip-h{f', as of {offer.date}' if offer else ''}"
    return [
        f"{weights}; room for {row['max_batch']:,} sequences of {row['tokens']:,} tokens",
        f"efficiency {eff.compute:g} compute, {eff.memory:g} memory, {eff.link:g} link; {rent}",
    ]


def _notes(node: roofline.Deployment) -> Sequence[str]:
    on_one = f"{node.replicas} replicas of {node.tensor_parallel} chip{'s' * (node.tensor_parallel > 1)}"
    return [f"attention data-parallel on {on_one}, experts over all {node.chips}; prefill: one prompt on each replica"]


def add_verbs(verbs: Any) -> None:
    """Add roofline."""
    example = "roofline deepseek-v3 --chip h800 --chips 144 --batch 12672 --tokens 4989 --rent 2"
    roof = add_verb(verbs, "roofline", _roofline, "seconds, tokens per second and cost on chips", example)
    roof.add_argument("model", type=str.lower, metavar="MODEL", help="see `costlab models`")
    roof.add_argument("--chip", type=str.lower, required=True, help=", ".join(catalog.tables().chips))
    roof.add_argument("--chips", type=count_arg, required=True, help="that share the work")
    roof.add_argument("--batch", type=count_arg, required=True, help="sequences decoded together, on all chips")
    roof.add_argument("--tokens", type=count_arg, required=True, help="prompt length and context")
    roof.add_argument(
        "--tensor-parallel",
        type=count_arg,
        default=1,
        metavar="CHIPS",
        help="chips that hold one copy of all but the experts, and a sequence among them (default 1)",
    )
    rent = "USD per chip-hour (default: the catalog's latest offer of the chip, of one day's the lowest)"
    roof.add_argument("--rent", type=float, dest="usd_per_chip_hour", metavar="USD", help=rent)
    for part in ("compute", "memory", "link"):
        peak = "share of the peak reached (default 1)"
        roof.add_argument(f"--{part}-efficiency", type=float, default=1.0, metavar="SHARE", help=peak)
