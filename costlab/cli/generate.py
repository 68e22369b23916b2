"""The verb generate, the one that needs torch."""

from __future__ import annotations

import argparse
from typing import Any

from costlab.cli.arguments import add_verb, count_arg, size_arg
from costlab.cli.output import Answer, facts


def add_verbs(verbs: Any) -> None:
    """Add generate."""
    example = "generate 'def main(' --method lookup --tokens 60"
    about = "text of a small shipped model by speculative decoding; needs torch"
    text = add_verb(verbs, "generate", _generate, about, example)
    text.add_argument("prompt", metavar="PROMPT", help="what the model goes on with; it knows Python's library")
    methods = "plain, draft (a smaller model), mtp, lookup (copies), ngram (a table), tree (of tokens) (default draft)"
    text.add_argument("--method", type=str.lower, default="draft", metavar="NAME", help=methods)
    text.add_argument("--length", type=count_arg, help="drafted tokens of a round (default: the method's own)")
    text.add_argument("--temperature", type=float, default=0.0, help="0 takes the likeliest byte (default 0)")
    text.add_argument("--seed", type=size_arg, default=0, help="of all random numbers (default 0)")
    text.add_argument(
        "--tokens", type=count_arg, default=100, dest="most_tokens", metavar="N", help="bytes to write (default 100)"
    )
    text.add_argument(
        "--untimed", action="store_true", help="leave out the speed, which differs from run to run and by machine"
    )


def _generate(args: argparse.Namespace) -> Answer:
    try:
        from costlab.nn.speculative import shipped
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise ValueError("it runs a model, which needs torch: pip install 'costlab[nn]'") from None
    found = shipped.continued(
        args.prompt, args.method, args.length, args.temperature, args.seed, args.most_tokens, not args.untimed
    )
    each = found.generation
    row = {
        "method": args.method,
        "length": shipped.LENGTHS[args.method] if args.length is None else args.length,
        "text": each.text,
        "end": each.end,
        "emitted_tokens": len(each.tokens),
        "passes": each.passes,
        "tokens_per_pass": each.tokens_per_pass,
        "draft_steps": each.draft_steps,
        "acceptance": [kept / tried for kept, tried in zip(each.accepted, each.tried, strict=True)],
        "token_s": found.token_s,
        "plain_token_s": found.plain_token_s,
        "speedup": found.speedup,
    }
    return Answer([row], facts(_shown(row)), notes=[*_NOTES, *([_MEASURED] if found.speedup else [])])


_NOTES = ["a model of 0.9 million parameters that reads bytes, trained on Python's library; a token is a byte"]
_MEASURED = (
    "speed of this machine, in turns with plain decoding: what drafts save a processor's small model is overhead, so "
    "it says nothing of a GPU"
)


def _shown(row: dict[str, Any]) -> dict[str, str]:
    """Return a row as people see it."""
    counts = f"{row['emitted_tokens']:,} tokens in {row['passes']:,} passes"
    shown = {"text": repr(row["text"])[1:-1], "tokens per pass": f"{row['tokens_per_pass']:.2f}: {counts}"}
    if row["acceptance"]:
        shown["accepted, by position"] = ", ".join(f"{share:.2f}" for share in row["acceptance"])
    if row["speedup"]:
        both = f"{1e3 * row['token_s']:.2f} ms a token, {1e3 * row['plain_token_s']:.2f} ms plain"
        shown["speed-up"] = f"{row['speedup']:.2f}x: {both}"
    return shown
