"""Train the readers of `costlab.nn.experiments.needle` and store their weights beside the code.

python tools/train_needle.py [--steps N] [--only VARIANT] [--dry]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence

import torch

from costlab import arch
from costlab.nn.experiments import needle, training


def main(argv: Sequence[str] | None = None) -> None:
    """Train, compare and store."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--only", help="train one variant, e.g. 'CSA 4'")
    parser.add_argument("--dry", action="store_true", help="store nothing")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args(argv)
    torch.set_num_threads(options.threads)
    task, readers = needle.NeedleTask(), {}
    for name, dims in needle.variants(task).items():
        if options.only in (None, name):
            readers[name] = trained(name, task, dims, options.steps)
    for row in needle.ask_all(readers):
        print(row)
    if not options.dry and options.only is None:
        training.save_weights(needle.NEEDLE_WEIGHTS, readers)
        print(f"{needle.NEEDLE_WEIGHTS}: {needle.NEEDLE_WEIGHTS.stat().st_size:,} bytes")


def trained(name: str, task: needle.NeedleTask, dims: arch.SharedWindow, steps: int) -> needle.NeedleReader:
    """Return a reader after `steps` steps, and print how its loss fell."""
    torch.manual_seed(0)
    reader = needle.NeedleReader(task, dims)
    start = time.perf_counter()
    losses = training.train(reader, steps, batch=32)
    print(f"{name}: {time.perf_counter() - start:.0f} s, {training.course(losses)}", flush=True)
    return reader


if __name__ == "__main__":
    main()
