"""The verb roofline."""

from __future__ import annotations

import argparse
from typing import Any

from costlab import catalog, roofline
from costlab.cli.arguments import add_verb, count_arg
from costlab.cli.output import Answer


def _roofline(args: argparse.Namespace) -> Answer:
    node = roofline.deployment(
        args.model,
        args.chip,
        args.gpus,
        tensor_parallel=args.tensor_parallel,
        efficiency=roofline.Efficiency(args.compute_efficiency, args.memory_efficiency, args.link_efficiency),
    )
    node.check_room(args.batch, args.tokens)
    rows = []
    for phase in ("prefill", "decode"):
        prompts = node.prefill(args.tokens, batch=node.replicas)
        step = prompts if phase == "prefill" else node.decode(args.batch, args.tokens)
        rows.append(
            {
                "phase": phase,
                "step_ms": step.seconds * 1e3,
                "compute_ms": step.compute_s * 1e3,
                "memory_ms": step.memory_s * 1e3,
                "link_ms": step.link_s * 1e3,
                "bound": step.bound,
                "tokens_per_s": step.tokens_per_s,
                "usd_per_M_tokens": node.usd_per_million(step, args.rent),
            }
        )
    return Answer(rows, _roofline_notes(args, node))


def _roofline_notes(args: argparse.Namespace, node: roofline.Deployment) -> list[str]:
    gb = node.weight_bytes_per_chip / 1e9
    memory = f"{node.chip.memory_bytes / 1e9:.0f} GB, {node.memory_share:.0%} usable"
    share = f"{gb:.1f} GB of weights on each {node.chip.name} with {memory}"
    on_one = f"{node.replicas} replicas of {node.tensor_parallel} chip{'s' * (node.tensor_parallel > 1)}"
    eff = node.efficiency
    return [
        f"{share}; room for {node.max_batch(args.tokens)} sequences of {args.tokens} tokens",
        f"attention data-parallel on {on_one}, experts over all {node.chips}; prefill: one prompt on each replica",
        f"efficiency {eff.compute:g} compute, {eff.memory:g} memory, {eff.link:g} link; {args.rent:g} USD/chip-h",
    ]


def add_verbs(verbs: Any) -> None:
    """Add roofline."""
    roof = add_verb(verbs, "roofline", _roofline, "seconds, tokens per second and cost on chips")
    roof.add_argument("model", metavar="MODEL", help="see `costlab models`")
    roof.add_argument("--chip", required=True, help=", ".join(catalog.load().chips))
    roof.add_argument("--gpus", type=count_arg, required=True, help="number of chips")
    roof.add_argument("--batch", type=count_arg, required=True, help="sequences decoded together, on all chips")
    roof.add_argument("--tokens", type=count_arg, required=True, help="prompt length and context")
    roof.add_argument(
        "--tensor-parallel",
        type=count_arg,
        default=1,
        help="chips that hold one copy of all but the experts, and a sequence among them",
    )
    roof.add_argument("--rent", type=float, default=2.0, help="USD per chip-hour (default 2)")
    for part in ("compute", "memory", "link"):
        roof.add_argument(f"--{part}-efficiency", type=float, default=1.0, help="share of the peak reached (default 1)")
