"""The command `costlab`: gather the verbs, run the one that was asked for, print its answer.

Chapter: prices
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from costlab import __version__
from costlab.cli import cache, models, moe, prices, roofline
from costlab.cli.arguments import Parser
from costlab.cli.output import Answer, Stopped, as_table, printed


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status.

    Args:
        argv: arguments without the program's name; None takes the shell's.
    """
    parser = _build_parser()
    args = parser.parse_args(argv)
    try:
        answer: Answer = args.run(args)
    except ValueError as error:
        print(f"costlab {args.verb}: {error}", file=sys.stderr)
        return 2
    except (Stopped, KeyboardInterrupt) as stop:
        return _report_stop(args.verb, stop)
    try:
        print(printed(answer, args), flush=True)
        for note in answer.notes if getattr(args, "csv", False) else ():  # no place for them among the rows
            print(note, file=sys.stderr)
    except BrokenPipeError:  # the reader (head, less) has seen enough
        sys.stderr.close()
    return answer.status


def _report_stop(verb: str, stop: BaseException) -> int:
    """Say on stderr how far it got, and return the shell's status for an interrupted program."""
    answer = stop.answer if isinstance(stop, Stopped) else None
    print(f"costlab {verb}: stopped{f' {stop}' if str(stop) else ''}", file=sys.stderr)
    if answer:
        print(as_table(answer), file=sys.stderr)
    return 130


def _build_parser() -> argparse.ArgumentParser:
    parser = Parser(prog="costlab", description="What a language model's token costs, from public facts.")
    parser.add_argument("--version", action="version", version=f"costlab {__version__}")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB", parser_class=Parser)
    for subject in (models, moe, roofline, prices, cache):
        subject.add_verbs(verbs)
    return parser
