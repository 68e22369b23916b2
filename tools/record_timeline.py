"""Serve a few requests by each layout of `costlab.nn.serving`, and store what each worker did when, for a picture.

python tools/record_timeline.py [--requests N] [--input N] [--output N] [--rate R] [--tries N]

Of several tries the one is kept whose last tokens come soonest: what else the machine does only ever adds time.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from typing import Any

from costlab.explore.serving_diagrams import TIMELINES
from costlab.nn.serving.compare import record_timeline, text_load
from costlab.nn.serving.engine import COLOCATED, SEPARATED
from costlab.nn.speculative import load_family
from costlab.serving.metrics import worst_gap_s

LAYOUTS = {"together": COLOCATED, "apart": SEPARATED}
DIGITS = 4  # of seconds that are stored


def main(argv: Sequence[str] | None = None) -> None:
    """Record and store."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--requests", type=int, default=6)
    parser.add_argument("--input", type=int, default=384, help="tokens of each prompt")
    parser.add_argument("--output", type=int, default=16, help="tokens of each answer")
    parser.add_argument("--rate", type=float, default=30.0, help="requests a second")
    parser.add_argument("--tries", type=int, default=5)
    options = parser.parse_args(argv)
    model = load_family().target
    requests = text_load(options.requests, options.input, options.output, options.rate)
    tries = [
        {name: record_timeline(model, requests, roles) for name, roles in LAYOUTS.items()} for _ in range(options.tries)
    ]
    kept = {name: min((each[name] for each in tries), key=_end_s) for name in LAYOUTS}
    load = {name: getattr(options, name) for name in ("requests", "input", "output", "rate")}
    text = json.dumps({"load": load, **{name: _short(run) for name, run in kept.items()}}, separators=(",", ":"))
    TIMELINES.write_text(text + "\n")
    print(f"{TIMELINES}: {len(text):,} bytes, last tokens at {[round(_end_s(run), 3) for run in kept.values()]} s")


def _end_s(run: Mapping[str, Any]) -> float:
    return max(float(end) for *_, end, _ in run["activities"])


def _short(run: Mapping[str, Any]) -> dict[str, Any]:
    """The same with times to a tenth of a millisecond; each request's first and last token in place of all."""
    return {
        "workers": run["workers"],
        "requests": [
            [round(each["arrival_s"], DIGITS), *(round(each["token_s"][place], DIGITS) for place in (0, -1))]
            for each in run["requests"]
        ],
        "worst_gap_s": [round(worst_gap_s(each["token_s"]), DIGITS) for each in run["requests"]],
        "activities": [
            [worker, kind[0], round(start, DIGITS), round(end, DIGITS), places]
            for worker, kind, start, end, places in run["activities"]
        ],
    }


if __name__ == "__main__":
    main()
