"""The command `costlab`: gather the verbs, run the one that was asked for, print its answer.

Chapter: prices
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from costlab import __version__
from costlab.cli import (
    cache,
    chips,
    claims,
    generate,
    imports,
    levers,
    listed,
    models,
    moe,
    plan,
    port,
    prices,
    prompts,
    roofline,
    simulate,
    speculative,
)
from costlab.cli.arguments import Parser
from costlab.cli.output import Answer, Stopped, as_table, printed


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status.

    Args:
        argv: arguments without the program's name; None takes the shell's.
    """
    args = build_parser().parse_args(argv)
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


#: The verbs of these modules, by subject.
SUBJECTS = {
    "Models and chips": (models, imports, moe, roofline, speculative),
    "Hardware": (chips, port),
    "Prices": (prices, listed),
    "Cache traffic": (cache, prompts),
    "Serving": (simulate, plan),
    "Text": (generate,),
    "All levers": (levers,),
    "Articles": (claims,),
}

_COUNTS = """\
Counts may be written 131072, 128K or 128k: K is 1024, M is 1024^2. Sizes of
memory: GB is 1e9 bytes, GiB is 2^30. `costlab VERB --help` has the options."""


def build_parser() -> argparse.ArgumentParser:
    """Return what reads the command line; its help lists the verbs by subject."""
    parser = Parser(
        prog="costlab",
        usage="costlab [-h] [--version] VERB ...",
        epilog=_COUNTS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"costlab {__version__}")
    verbs = parser.add_subparsers(
        dest="verb", required=True, metavar="VERB", prog="costlab", parser_class=Parser, help=argparse.SUPPRESS
    )
    about = ["What a language model's token costs, from public facts."]
    for subject, modules in SUBJECTS.items():
        known = set(verbs.choices)
        for module in modules:
            module.add_verbs(verbs)
        new = [(name, verb) for name, verb in verbs.choices.items() if name not in known]
        about += ["", f"{subject}:", *(f"  {name:9} {verb.description}" for name, verb in new)]
    parser.description = "\n".join(about)
    return parser
