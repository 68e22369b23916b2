"""Train the readers of `costlab.nn.experiments.recall` and store their weights beside the code.

python tools/train_recall.py [--steps N] [--only VARIANT] [--seeds N ...] [--jobs N] [--out FILE] [--dry]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import torch

from costlab.nn.experiments import recall, training


def main(argv: Sequence[str] | None = None) -> None:
    """Train, compare and store."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--only", help="train one variant, e.g. 'FSSSSS 16'; implies --dry")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1], help="first: all, stored; others: decisive")
    parser.add_argument("--jobs", type=int, default=1, help="variants trained at once, one thread each")
    parser.add_argument("--out", type=Path, default=recall.RECALL_WEIGHTS)
    parser.add_argument("--dry", action="store_true", help="store nothing")
    options = parser.parse_args(argv)
    chosen = [v for v in recall.VARIANTS if options.only in (None, v.name)]
    with ProcessPoolExecutor(options.jobs) as pool:
        wanted = [
            (seed, chosen if not i else set(chosen) & set(recall.DECISIVE)) for i, seed in enumerate(options.seeds)
        ]
        jobs = [{v: pool.submit(trained, v, options.steps, seed) for v in some} for seed, some in wanted]
        seeds = [{variant: job.result() for variant, job in each.items()} for each in jobs]
    for readers in seeds:
        for row in (*recall.by_steps(readers), *recall.by_distance(readers)):
            print(row)
    if not options.dry and options.only is None:
        recall.save_stacks(seeds, options.out)
        print(f"{options.out}: {options.out.stat().st_size:,} bytes")


def trained(variant: recall.Variant, steps: int, seed: int) -> recall.RecallReader:
    """Return a reader after `steps` steps, and print how its loss fell."""
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    reader = recall.RecallReader(recall.RecallTask(), variant.layers())
    start, worked = time.perf_counter(), time.process_time()
    losses = training.train(reader, steps, batch=16, seed=seed)
    spent = f"{time.perf_counter() - start:.0f} s, {time.process_time() - worked:.0f} s of CPU"
    print(f"{variant.name}, seed {seed}: {spent}, {training.course(losses)}", flush=True)
    return reader


if __name__ == "__main__":
    main()
