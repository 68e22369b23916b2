"""Put the real output of the commands that README.md shows into it, and the figures that it quotes about speed.

    python tools/readme_output.py            # rewrite README.md
    python tools/readme_output.py --check    # exit 1 if it is stale

A line `<!-- cli: costlab ... -->` stands above each block that this fills with a command's output; between
`<!-- bench: moe/loop-224 ... -->` and `<!-- /bench -->` stand these rows of benchmarks/results.json.
"""

import contextlib
import io
import re
import shlex
import sys
from pathlib import Path

from costlab.cli.main import main

README = Path(__file__).parents[1] / "README.md"
BLOCK = re.compile(r"<!-- cli: (costlab .*?) -->\n(?:```\n.*?```\n)?", re.S)
QUOTED = re.compile(r"<!-- bench: (.*?) -->\n.*?<!-- /bench -->", re.S)

sys.path.insert(0, str(README.parent / "benchmarks"))
import table  # noqa: E402  (a script beside the benchmarks, not installed)


def output_of(command: str) -> str:
    """Return what a costlab command prints."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        status = main(shlex.split(command)[1:])
    if status:
        raise SystemExit(f"{command!r} failed with status {status}")
    return printed.getvalue()


def filled(text: str) -> str:
    """Return the text with every block renewed."""
    text = BLOCK.sub(lambda found: f"<!-- cli: {found[1]} -->\n```\n$ {found[1]}\n{output_of(found[1])}```\n", text)
    runs = table.read()
    return QUOTED.sub(
        lambda found: f"<!-- bench: {found[1]} -->\n{table.quoted(runs, found[1].split())}<!-- /bench -->", text
    )


if __name__ == "__main__":
    old = README.read_text()
    new = filled(old)
    if "--check" in sys.argv[1:]:
        sys.exit("README.md shows old output; run python tools/readme_output.py" if new != old else 0)
    README.write_text(new)
