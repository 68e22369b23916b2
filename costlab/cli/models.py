"""The verbs models, kv and flops."""

from __future__ import annotations

import argparse
from typing import Any

from costlab import arch
from costlab.cli.arguments import add_verb, chosen, count_arg
from costlab.cli.output import Answer, with_ratio


def add_verbs(verbs: Any) -> None:
    """Add models, kv and flops."""
    add_verb(verbs, "models", _models, "the models in the catalog, with computed and published sizes")

    kv = add_verb(verbs, "kv", _kv, "bytes of KV cache at a context length")
    kv.add_argument("models", nargs="+", metavar="MODEL", help="see `costlab models`")
    kv.add_argument("--tokens", type=count_arg, required=True, help="context length, e.g. 1048576, 128K or 1M")
    kv.add_argument("--batch", type=count_arg, default=1, help="sequences of that length together (default 1)")

    flops = add_verb(verbs, "flops", _flops, "FLOPs of one decoded token or of a prompt")
    flops.add_argument("models", nargs="+", metavar="MODEL", help="see `costlab models`")
    flops.add_argument("--tokens", type=count_arg, required=True, help="context or prompt length")
    flops.add_argument("--phase", choices=("prefill", "decode"), default="decode")


def _models(args: argparse.Namespace) -> Answer:
    rows = []
    for key, model in arch.models().items():
        counts = model.params
        rows.append(
            {
                "model": key,
                "layers": len(model.layers),
                "attention": " + ".join(sorted({a.kind for a, _ in model.layers})),
                "total_B": counts.total / 1e9,
                "active_B": counts.active / 1e9,
                "published": f"{model.record.published.total} / {model.record.published.active or '-'}",
                "kv_B_per_token": float(model.kv_bytes(131072).growing) / 131072,
                "context": model.record.context,
            }
        )
    return Answer(
        rows, ["total without multi-token-prediction modules; active with the output head, without embedding"]
    )


def _kv(args: argparse.Namespace) -> Answer:
    rows = []
    for model in chosen(args.models):
        kv, several = model.kv_bytes(args.tokens), args.batch
        rows.append(
            {
                "model": model.key,
                "tokens": args.tokens,
                "total_GB": several * float(kv.total) / 1e9,
                "growing_GB": several * float(kv.growing) / 1e9,
                "of_which_index_GB": several * float(kv.index) / 1e9,
                "fixed_MB": several * float(kv.fixed) / 1e6,
                "state_MB": several * float(kv.state) / 1e6,
                "bytes_per_token": float(kv.growing) / args.tokens,
            }
        )
    notes = ["GB = 1e9 bytes; total = growing + fixed, at the catalogued storage"]
    notes += [f"all of {args.batch:,} sequences of that length; bytes per token of one"] if args.batch > 1 else []
    return Answer(with_ratio(rows, "total_GB"), notes)


def _flops(args: argparse.Namespace) -> Answer:
    rows = []
    for model in chosen(args.models):
        count = model.decode_flops(args.tokens) if args.phase == "decode" else model.prefill_flops(args.tokens)
        rows.append(
            {
                "model": model.key,
                "tokens": args.tokens,
                "phase": args.phase,
                **{f"{name}_GFLOP": float(part) / 1e9 for name, part in count.grouped().items()},
                "total_GFLOP": float(count.total) / 1e9,
                "fp8_equivalent_GFLOP": float(count.weighted()) / 1e9,
            }
        )
    what = "one token at that context" if args.phase == "decode" else "the whole prompt"
    return Answer(with_ratio(rows, "fp8_equivalent_GFLOP"), [f"FLOPs of {what}; weights {_weights()}"])


def _weights() -> str:
    return ", ".join(f"{name} x{weight:g}" for name, weight in arch.FP8_EQUIVALENTS.items())
