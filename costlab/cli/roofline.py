"""The verb roofline."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from costlab import catalog, roofline
from costlab.cli.arguments import add_verb
from costlab.cli.deployments import add_deployment, assumed, deployed, fill_rent
from costlab.cli.output import MS, Answer, Column, Row, sources, view


def _roofline(args: argparse.Namespace) -> Answer:
    node = deployed(args)
    node.check_room(args.batch, args.tokens)
    offer = fill_rent(args)
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


def _lines(row: Row, node: roofline.Deployment, offer: catalog.Offer | None) -> list[str]:
    memory = f"{row['memory_bytes_per_chip'] / 1e9:.0f} GB, {row['memory_share']:.0%} usable"
    weights = f"{row['weight_bytes_per_chip'] / 1e9:.1f} GB of weights on each {node.chip.name} with {memory}"
    return [
        f"{weights}; room for {row['max_batch']:,} sequences of {row['tokens']:,} tokens",
        assumed(node, row["usd_per_chip_hour"], offer),
    ]


def _notes(node: roofline.Deployment) -> Sequence[str]:
    on_one = f"{node.replicas} replicas of {node.tensor_parallel} chip{'s' * (node.tensor_parallel > 1)}"
    return [f"attention data-parallel on {on_one}, experts over all {node.chips}; prefill: one prompt on each replica"]


def add_verbs(verbs: Any) -> None:
    """Add roofline."""
    example = "roofline deepseek-v3 --chip h800 --chips 144 --batch 12672 --tokens 4989 --rent 2"
    roof = add_verb(verbs, "roofline", _roofline, "seconds, tokens per second and cost on chips", example)
    add_deployment(roof, "prompt length and context")
