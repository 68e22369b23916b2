"""Prefill and decode in two processes beside two processes that do both: what users see, under three loads.

python benchmarks/engine.py [--quick] [--json FILE]

Each process computes on one thread, a coordinator beside them hands out and collects. Layouts take turns. Rates follow
from what a single request takes on this machine, so that the load is the same on a slow one.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import asdict

import numpy as np
from peers import Row, beside, main

from costlab.nn.serving.compare import PIECE, measure_layouts, record_timeline, text_load
from costlab.nn.serving.engine import SEPARATED
from costlab.nn.speculative import ByteModel, load_family

#: Requests, tokens in and out, and requests a second from the seconds that a request alone takes: prefill, and a gap.
LOADS: dict[str, tuple[int, int, int, Callable[[float, float], float] | None]] = {
    "long": (32, 512, 32, lambda prefill_s, _: 0.7 / prefill_s),
    "short": (32, 32, 96, lambda _, gap_s: 6 / (96 * gap_s)),
    "burst": (12, 512, 32, None),
}
#: What a try serves: each load starts six processes.
TINY: dict[str, tuple[int, int, int, None]] = {"burst": (3, 40, 4, None)}
#: How a row names them.
WORDS = {
    "long": "512 in, 32 out, at 70% of what one process can read",
    "short": "32 in, 96 out, 6 answers at once if each were alone",
    "burst": "512 in, 32 out, 12 requests at once",
}
ROUNDS = 5
#: What is told of a load: the field, its words, unit and factor, and whether more is better.
TOLD = {
    "ttft": ("ttft_s", "mean time to the first token", "ms", 1e3, False),
    "gap": ("gap_s", "mean gap between tokens", "ms", 1e3, False),
    "p99": ("gap_p99_s", "99th percentile of gaps", "ms", 1e3, False),
    "rate": ("tokens_per_s", "tokens emitted", "tokens/s", 1.0, True),
}
PEERS = {"co-located": "co-located", "co-located, in pieces": f"co-located, prompts in pieces of {PIECE}"}
MOVED = 384  # tokens of the prompts whose keys and values are copied


def rows(options: argparse.Namespace) -> Iterator[Row]:
    """Separated beside co-located, whole prompts and in pieces; and what a transfer takes."""
    model = load_family().target
    for name, (count, given, asked, rate_of) in (TINY if options.quick else LOADS).items():
        rounds = 1 if options.quick else ROUNDS
        rate = None if rate_of is None else rate_of(*alone(model, given, asked))
        at = {} if rate is None else {"requests_per_s": round(rate, 1)}
        found = measure_layouts(model, text_load(count, given, asked, rate), rounds)
        ours = asdict(found.pop("separated"))
        for layout, times in found.items():
            for short, (field, what, unit, factor, more) in TOLD.items():
                values = ours[field] * factor, asdict(times)[field] * factor
                key = f"{name}-{short}" + ("-pieces" if "pieces" in layout else "")
                yield Row(key, f"{what}, separated: {WORDS[name]}", PEERS[layout], unit, *values, more=more, at=at)
    yield transfer(model, 40 if options.quick else MOVED)


def alone(model: ByteModel, given: int, asked: int) -> tuple[float, float]:
    """Return the seconds of a prefill, and of a gap, of a request that has both processes for itself."""
    times = measure_layouts(model, text_load(1, given, asked, None), ROUNDS, {"separated": (SEPARATED, None)})[
        "separated"
    ]
    return times.ttft_s, times.gap_s


def transfer(model: ByteModel, tokens: int) -> Row:
    """Return a transfer beside the prefill before it: the medians of a few requests."""
    done = record_timeline(model, text_load(6, tokens, 16, 30.0))["activities"]
    seconds = [
        float(np.median([end - start for _, each, start, end, _ in done if each == kind]))
        for kind in ("transfer", "prefill")
    ]
    what = f"copying the keys and values of {tokens} tokens to another process"
    return beside("transfer", what, "prefill of these tokens", seconds)


if __name__ == "__main__":
    main(rows, __doc__)
