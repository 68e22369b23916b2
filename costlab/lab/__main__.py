"""`python -m costlab.lab FILE`: the points of a lab's notebook, all checks included."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys

from costlab.lab.scoring import score


def main(arguments: list[str] | None = None) -> int:
    """Print what a notebook scores; 0 when all points are there, 1 when not, 2 when it cannot be scored.

    Args:
        arguments: of the command line, without the program's name.
    """
    parser = argparse.ArgumentParser(prog="python -m costlab.lab", description=__doc__)
    parser.add_argument("file", help="your notebook, saved")
    parser.add_argument("--source", help="the lab's solved notebook, where it is not found by itself")
    parser.add_argument("--seconds", type=float, default=30, help="what one cell may take (default: 30)")
    parser.add_argument("--json", action="store_true", help="print it as JSON, with all that failed checks say")
    asked = parser.parse_args(arguments)
    os.environ.setdefault("MPLBACKEND", "Agg")  # figures need no window
    try:
        found = score(asked.file, asked.source, seconds=asked.seconds)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if asked.json:
        told = {**dataclasses.asdict(found), "points": found.points, "of": found.of}
        print(json.dumps(told, indent=2))
    else:
        print(found.report())
    return 0 if found.points == found.of else 1


if __name__ == "__main__":
    sys.exit(main())
