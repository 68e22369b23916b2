"""The verb moe."""

from __future__ import annotations

import argparse
import dataclasses
from typing import Any

from costlab import arch, moe
from costlab.cli.arguments import add_verb, count_arg, model_arg, size_arg
from costlab.cli.output import Answer, facts, sources


def add_verbs(verbs: Any) -> None:
    """Add moe."""
    example = "moe deepseek-v3 --batch 128 --ranks 144 --redundant 32"
    experts = add_verb(verbs, "moe", _moe, "experts of a model: what a token computes, reads and sends", example)
    experts.add_argument("model", type=model_arg, metavar="MODEL", help="a model with experts; see `costlab models`")
    experts.add_argument("--batch", type=count_arg, default=1, help="tokens in one decode step (default 1)")
    experts.add_argument("--ranks", type=count_arg, default=1, help="ranks that share the experts (default 1)")
    copies = "further copies of experts per layer (default 0)"
    experts.add_argument(
        "--redundant", type=size_arg, default=0, dest="redundant_experts", metavar="COPIES", help=copies
    )


def _moe(args: argparse.Namespace) -> Answer:
    found = moe.summary(args.model, args.batch, args.ranks, args.redundant_experts)
    row = {_NAMES.get(name, name): value for name, value in dataclasses.asdict(found).items()}
    used = sources(("model", found.model, arch.load(found.model).record))
    return Answer([row], facts(found.rows()), sources=used)


#: Keys that say more than the fields' names do beside those of other verbs.
_NAMES = {
    "layers": "moe_layers",
    "shared": "shared_experts",
    "top_k": "experts_per_token",
    "redundant": "redundant_experts",
}
