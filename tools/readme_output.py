"""Put the real output of the commands that README.md and the book's page on the command line show into them.

    python tools/readme_output.py            # rewrite both
    python tools/readme_output.py --check    # exit 1 if one is stale

A line `<!-- cli: costlab ... -->` stands above each block that this fills with a command's output; between
`<!-- options: kv -->` and `<!-- /options -->` stand a verb's options; between `<!-- bench: moe/loop-224 ... -->` and
`<!-- /bench -->` these rows of benchmarks/results.json.
"""

import argparse
import contextlib
import io
import re
import shlex
import sys
from pathlib import Path

from costlab.cli.main import build_parser, main

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "book" / "reference" / "cli.md"]
BLOCK = re.compile(r"<!-- cli: (costlab .*?) -->\n(?:```console\n.*?```\n)?", re.S)
OPTIONS = re.compile(r"<!-- options: (\w+) -->\n.*?<!-- /options -->", re.S)
QUOTED = re.compile(r"<!-- bench: (.*?) -->\n.*?<!-- /bench -->", re.S)


def output_of(command: str) -> str:
    """Return what a costlab command prints."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        status = main(shlex.split(command)[1:])
    if status:
        raise SystemExit(f"{command!r} failed with status {status}")
    return printed.getvalue()


def verbs() -> dict[str, argparse.ArgumentParser]:
    """Return the parser of each verb, by name."""
    return next(a.choices for a in build_parser()._actions if isinstance(a, argparse._SubParsersAction))


def options_of(verb: str) -> str:
    """Return a verb's options as a table in Markdown, those that all verbs have left out."""
    actions = [a for a in verbs()[verb]._actions if not {"-h", "--json"} & set(a.option_strings)]
    rows = [f"| {_option(action)} | {_meaning(action)} |" for action in actions]
    return "\n".join(["| option | meaning |", "|---|---|", *rows]) if rows else "No options."


def _option(action: argparse.Action) -> str:
    value = "" if action.nargs == 0 else str(action.metavar or action.dest.upper())
    many = " ..." if action.nargs in ("+", "*") else ""
    return f"`{' '.join(filter(None, [*action.option_strings, value]))}{many}`"


def _meaning(action: argparse.Action) -> str:
    """Return an option's help on one line; an address is no link."""
    words = re.sub(r"(\w+://[\w.:]+)", r"`\1`", " ".join((action.help or "").split()))
    return f"{words}{'; required' if action.required and action.nargs != '*' else ''}"


def quoted(keys: str) -> str:
    """Return rows of the benchmarks' results as a table in Markdown."""
    sys.path.insert(0, str(ROOT / "benchmarks"))
    try:
        import table  # a script beside the benchmarks, not installed
    finally:
        sys.path.pop(0)  # a benchmark has the name of the folder that it measures
    return table.quoted(table.read(), keys.split())


def filled(text: str) -> str:
    """Return the text with every block renewed."""
    text = BLOCK.sub(
        lambda found: f"<!-- cli: {found[1]} -->\n```console\n$ {found[1]}\n{output_of(found[1])}```\n", text
    )
    text = OPTIONS.sub(lambda found: f"<!-- options: {found[1]} -->\n{options_of(found[1])}\n<!-- /options -->", text)
    return QUOTED.sub(lambda found: f"<!-- bench: {found[1]} -->\n{quoted(found[1])}<!-- /bench -->", text)


if __name__ == "__main__":
    for page in PAGES:
        old = page.read_text()
        new = filled(old)
        if "--check" in sys.argv[1:] and new != old:
            sys.exit(f"{page.relative_to(ROOT)} shows old output; run python tools/readme_output.py")
        if "--check" not in sys.argv[1:]:
            page.write_text(new)
