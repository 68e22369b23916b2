"""Traces that verbs read, or have made as NAME:COUNT: what names which, and the options for reading."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Collection
from pathlib import Path

from costlab import traces
from costlab.checks import one_of
from costlab.cli.arguments import count_arg, seconds_arg


def made(text: str, names: Collection[str], what: str) -> tuple[str, int] | None:
    """Return which load is to be made, and of how many requests, e.g. chat:1000; None for one that is read.

    Args:
        text: the argument, in which a file's name goes before all others.
        names: of what can be made.
        what: the word for them in the message.

    Raises:
        ValueError: an unknown name before a number, or a known one without.
    """
    name, _, number = text.lower().partition(":")
    if Path(text).exists() or not (name in names or number.isdecimal()):
        return None
    one_of(names, name, what)
    if not number.isdecimal() or not 0 < int(number) < 10**9:
        raise ValueError(f"{text!r} wants a number of requests, e.g. {name}:1000")
    return name, int(number)


def read_trace(args: argparse.Namespace) -> traces.Trace:
    """Return the trace that is read from a file, a pipe or standard input, as the options of `add_reading` say."""
    return traces.read(
        sys.stdin.buffer if args.trace == "-" else args.trace,
        args.format,
        "skip" if args.skip_bad else "raise",
        args.block_tokens,
        from_s=args.from_s,
        limit=args.limit_requests,
        sort=args.sort,
        chain=args.chain,
    )


def refuse_reading(args: argparse.Namespace) -> None:
    """Refuse the options for reading where nothing is read."""
    for option, given in (
        ("format", args.format != "auto"),
        ("block-tokens", args.block_tokens),
        ("skip-bad", args.skip_bad),
        ("from", args.from_s),
        ("limit", args.limit_requests),
        ("sort", args.sort),
        ("chain", args.chain),
    ):
        if given:
            raise ValueError(f"--{option} is for a trace that is read; {args.trace} is generated")


def add_reading(verb: argparse.ArgumentParser) -> None:
    """Add the options for reading a trace."""
    verb.add_argument("--format", default="auto", help=f"of the trace: auto, {', '.join(traces.FORMATS)}")
    verb.add_argument(
        "--block-tokens", type=count_arg, metavar="TOKENS", help="tokens of one block, where not the format's own"
    )
    verb.add_argument("--skip-bad", action="store_true", help="skip and count rows that cannot be read")
    verb.add_argument(
        "--from", type=seconds_arg, default=0.0, dest="from_s", metavar="SECONDS",
        help="leave out requests that came less than so many seconds after the first",
    )  # fmt: skip
    verb.add_argument(
        "--limit", type=count_arg, dest="limit_requests", metavar="N", help="take the first N requests of what is left"
    )
    verb.add_argument("--sort", action="store_true", help="put rows in order of time, in memory")
    verb.add_argument("--chain", action="store_true", help="block ids name tokens alone: make them name the prefix")
