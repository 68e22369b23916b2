"""The chip lever beside its peers: a graph as records beside torch.export alone, its memory, draws beside NumPy's.

python benchmarks/chips.py [--quick] [--threads N] [--json FILE]

Nothing here is a speed of Ascend: fused operators run as plain references, and no such chip is at hand.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
from peers import Row, beside, best, main
from torch.distributed._tools.mem_tracker import MemTracker

from costlab.chips import Assumption, triangular
from costlab.chips.porting import plan_memory
from costlab.nn.chips.capture import Captured, capture, quiet
from costlab.nn.chips.small import SmallModel, small_model

MODELS = ("llama-3.1-8b", "mimo-v2-flash", "deepseek-v3", "deepseek-v4-flash")
MAKER = "transformers"
DRAWS = {False: 1_000_000, True: 10_000}
#: An input of a cost: its low, its value and its high.
TARIFF = Assumption(0.6, "CNY per kWh", "an example", low=0.4, high=1.0)


def rows(options: argparse.Namespace) -> Iterator[Row]:
    """Captures and plans of small models, then draws."""
    few = 1 if options.quick else 5
    for model in MODELS[:1] if options.quick else MODELS:
        yield from of_model(model, few)
    yield draws(DRAWS[options.quick], few)


def of_model(model: str, few: int) -> Iterator[Row]:
    """Time a capture beside the export in it, and plan the memory that running it takes."""
    made = small_model(model, MAKER)
    seconds = best(partial(capture, made.module, made.inputs), exporting(made), rounds=few, warm=1)
    found = capture(made.module, made.inputs)
    at = {"operators": len(found.graph.nodes)}
    yield beside(
        f"capture-{model}", f"a graph of {model} as records, small", "torch.export alone", seconds, at=at,
    )  # fmt: skip
    plan = plan_memory(found.graph)
    yield Row(
        f"memory-{model}", f"memory between the operators of {model}, small: planned", "torch's tracker, run eagerly",
        "KB", plan.peak_bytes / 1e3, tracked_bytes(found) / 1e3, at={"unshared_kb": round(plan.unshared_bytes / 1e3)},
    )  # fmt: skip


def exporting(made: SmallModel) -> Callable[[], Any]:
    """Return a call of torch's export alone."""

    def export() -> Any:
        with torch.no_grad(), quiet():
            return torch.export.export(made.module, made.inputs, strict=False)

    return export


def tracked_bytes(captured: Captured) -> int:
    """Return the most bytes that torch counts beside weights and inputs while the exported program runs."""
    module = captured.exported.module()
    held = [*module.parameters(), *module.buffers(), *captured.inputs]
    tracker = MemTracker()
    tracker.track_external(*held)
    with torch.no_grad(), tracker:
        module.forward(*captured.inputs)  # without the hooks of a call, which want gradients
        peak = max(snapshot["Total"] for snapshot in tracker.get_tracker_snapshot("peak").values())
    storages = {each.untyped_storage().data_ptr(): each.untyped_storage().nbytes() for each in held}
    return int(peak) - sum(storages.values())


def draws(count: int, few: int) -> Row:
    """Time draws of an input within its range: ours go through shares, which all candidates have in common."""
    low, mode, high = TARIFF.bounds
    rng = np.random.default_rng(0)
    theirs = partial(rng.triangular, low, mode, high, count)
    seconds = best(lambda: triangular(TARIFF, rng.random(count)), theirs, rounds=few)
    return beside("draws", f"{count:,} draws of an input within its range", "NumPy's Generator.triangular", seconds)


if __name__ == "__main__":
    main(rows, __doc__)
