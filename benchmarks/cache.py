"""The cache room beside libcachesim: one LRU cache, the whole LRU curve, and what the tiered replay gets through.

    python benchmarks/cache.py [--quick] [--json FILE] [TRACE]

Two million Zipf references, and a trace if one is given. libcachesim reads them from a binary file by its own C++
reader, the fastest way it has. Hit counts must be equal, or the run stops.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from peers import Row, beside, main, peer, timed
from tqdm import tqdm

from costlab.arrays import Ints
from costlab.cache import curves, policies, tiers
from costlab.cache.sim.plan import Plan
from costlab.cache.sim.run import replay
from costlab.traces import Request, Trace, generators, read

lcs = peer("libcachesim")

#: libcachesim's binary trace: time, id, size, next use (which LRU does not need).
ROW = np.dtype([("time", "<u4"), ("id", "<u8"), ("size", "<u4"), ("next", "<i8")])
EXPONENT, CAPACITIES = 0.9, 100
#: Its hash table begins with 2^24 places, 134 MB to clear for every replay; with fewer it is faster.
HASH_BITS = 16
#: (model, sizes of HBM, DRAM and SSD) that traffic is replayed with.
TIERS = (
    ("mimo-v2.5-pro", ("640GB", None, None)),
    ("mimo-v2.5-pro", ("80GB", "1TB", None)),
    ("mimo-v2.5-pro", ("80GB", "1TB", "30TB")),
    ("deepseek-v3", ("80GB", "1TB", "30TB")),
)


@contextmanager
def libcachesim_reader(keys: Ints) -> Iterator[Any]:
    """Give the references as libcachesim reads them fastest."""
    rows = np.zeros(keys.size, dtype=ROW)
    rows["time"], rows["id"], rows["size"], rows["next"] = np.arange(keys.size) // 1000, keys + 1, 1, 1
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace.bin"
        rows.tofile(path)
        options = lcs.ReaderInitParam(ignore_obj_size=True)
        yield lcs.TraceReader(str(path), lcs.TraceType.ORACLE_GENERAL_TRACE, options)


def libcachesim_hits(reader: Any, references: int, capacity: int) -> int:
    """Return the hits of libcachesim's LRU."""
    reader.reset()
    missed: float = lcs.LRU(capacity, hashpower=HASH_BITS).process_trace(reader)[0]
    return round((1 - missed) * references)


def one_cache(name: str, keys: Ints, reader: Any) -> Row:
    """Race one LRU cache for a twentieth of the blocks, reference by reference."""
    listed, capacity = keys.tolist(), max(1, np.unique(keys).size // 20)
    ours_s, ours = timed(lambda: policies.count_hits(listed, "lru", capacity))
    theirs_s, theirs = timed(lambda: libcachesim_hits(reader, keys.size, capacity))
    assert ours == theirs, f"{name}: {ours} hits, libcachesim finds {theirs}"
    what = f"one LRU of {capacity:,}, {keys.size:,} references, {name}"
    return beside(f"lru-{name}", what, "libcachesim", (ours_s, theirs_s), "s")


def whole_curve(name: str, keys: Ints, reader: Any) -> Row:
    """Race the hit rate at many capacities: one pass of ours against one replay of theirs for each."""
    ours_s, curve = timed(lambda: curves.lru_curve(keys))
    capacities = np.unique(np.geomspace(10, curve.unique, CAPACITIES).astype(int)).tolist()
    theirs_s = 0.0
    for capacity in tqdm(capacities, desc="libcachesim", leave=False, disable=not sys.stderr.isatty()):
        took, hits = timed(partial(libcachesim_hits, reader, keys.size, capacity))
        theirs_s += took
        assert hits == curve.hits(capacity), f"{name}, {capacity}: {curve.hits(capacity)}, libcachesim finds {hits}"
    what = f"LRU at {len(capacities)} capacities, {keys.size:,} references, {name}"
    return beside(f"curve-{name}", what, "libcachesim", (ours_s, theirs_s), "s")


def tiered(name: str, trace: Trace, reader: Any, keys: Ints) -> Iterator[Row]:
    """Race the tiered replay, which does more, against one plain LRU: block references per second."""
    held, block = list(trace), trace.block_tokens or 512
    capacity = max(1, np.unique(keys).size // 20)
    theirs_s, _ = timed(lambda: libcachesim_hits(reader, keys.size, capacity))
    for model, sizes in TIERS:
        configuration = Plan(model=model, tiers=tiers.standard(*sizes), block_tokens=block, chips=64)
        took, _ = timed(partial(replay, held, configuration))
        given = [size for size in sizes if size]
        name_of_row = "-".join(["replay", name, model, *given])
        what = f"tiered replay of {name}: {model}, {' + '.join(given)}"
        speeds = keys.size / took, keys.size / theirs_s
        yield Row(name_of_row, what, "libcachesim, one LRU", "references/s", *speeds, more=True)


def peak_bytes(call: Callable[[], Any]) -> float:
    """Return the largest memory that Python and NumPy took during a call."""
    tracemalloc.start()
    try:
        call()
        return float(tracemalloc.get_traced_memory()[1])
    finally:
        tracemalloc.stop()


def memory(keys: Ints) -> Iterator[Row]:
    """Measure peak memory beside the references themselves, of the curve and of the tiered replay."""
    configuration = Plan(model="mimo-v2.5-pro", tiers=tiers.standard("80GB", "1TB", "30TB"), block_tokens=512)
    lone = [Request(i / 100, 512, 1, (key,)) for i, key in enumerate(keys.tolist())]
    calls = {"LRU curve": lambda: curves.lru_curve(keys), "tiered replay": lambda: replay(lone, configuration)}
    for name, call in calls.items():
        megabytes = peak_bytes(call) / 1e6, keys.nbytes / 1e6
        what = f"{name}, {keys.size:,} references, peak memory"
        yield Row(f"memory-{name.split()[1]}", what, "the references alone, 8 bytes each", "MB", *megabytes)


def rows(options: argparse.Namespace) -> Iterator[Row]:
    """Single references first, then traffic, then memory."""
    count = 5_000 if options.quick else 2_000_000
    zipf = generators.zipf(count, count // 5, EXPONENT, np.random.default_rng(0))
    chats = generators.generate("chat", count // 100, np.random.default_rng(0))
    trace = read(options.trace) if options.trace else None
    traffic = {"chats": chats} | ({Path(trace.name).stem[:20]: trace} if trace else {})
    with libcachesim_reader(zipf) as reader:
        yield one_cache("Zipf", zipf, reader)
        yield whole_curve("Zipf", zipf, reader)
    for name, requests in traffic.items():
        keys = curves.block_ids(requests)
        with libcachesim_reader(keys) as reader:
            if name != "chats":
                yield one_cache(name, keys, reader)
                yield whole_curve(name, keys, reader)
            yield from tiered(name, requests, reader, keys)
    yield from memory(zipf[: count // 5])


def add_options(parser: argparse.ArgumentParser) -> None:
    """Take a trace."""
    parser.add_argument("trace", nargs="?", help="a trace that costlab reads, e.g. conversation_trace.jsonl")


if __name__ == "__main__":
    main(rows, __doc__, add_options=add_options)
