"""The cache room beside libcachesim: one LRU cache, the whole LRU curve, and what the tiered replay gets through.

    python benchmarks/cache.py [--quick] [TRACE]

Five million Zipf references, and a trace if one is given. libcachesim reads them from a binary file by its own C++
reader, the fastest way it has. Hit counts must be equal, or the run stops. Ratios above 1 mean that we are faster.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import libcachesim as lcs
import numpy as np
from tqdm import tqdm

from costlab import __version__
from costlab.arrays import Ints
from costlab.cache import curves, generators, policies, tiers
from costlab.cache.plan import Plan
from costlab.cache.run import replay
from costlab.cache.traces import Request, read

#: libcachesim's binary trace: time, id, size, next use (which LRU does not need).
ROW = np.dtype([("time", "<u4"), ("id", "<u8"), ("size", "<u4"), ("next", "<i8")])
EXPONENT, CAPACITIES = 0.9, 100
#: Its hash table begins with 2^24 places, 134 MB to clear for every replay; with fewer it is faster.
HASH_BITS = 16


def seconds(call: Callable[[], Any]) -> tuple[float, Any]:
    """Return the seconds of a call and its result."""
    start = time.perf_counter()
    result = call()
    return time.perf_counter() - start, result


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


def one_cache(name: str, keys: Ints, reader: Any, capacity: int) -> None:
    """Print the race of one LRU cache, reference by reference."""
    listed = keys.tolist()
    ours_s, ours = seconds(lambda: policies.count_hits(listed, "lru", capacity))
    theirs_s, theirs = seconds(lambda: libcachesim_hits(reader, keys.size, capacity))
    assert ours == theirs, f"{name}: {ours} hits, libcachesim finds {theirs}"
    row(f"{name}: one LRU of {capacity:,}", theirs_s, ours_s, f"{ours / keys.size:.3f} hit in both")


def whole_curve(name: str, keys: Ints, reader: Any) -> None:
    """Print the race of the hit rate at many capacities: one pass of ours against one replay of theirs for each."""
    ours_s, curve = seconds(lambda: curves.lru_curve(keys))
    capacities = np.unique(np.geomspace(10, curve.unique, CAPACITIES).astype(int)).tolist()
    theirs_s = 0.0
    for capacity in tqdm(capacities, desc="libcachesim", leave=False, disable=not sys.stderr.isatty()):
        took, hits = seconds(partial(libcachesim_hits, reader, keys.size, capacity))
        theirs_s += took
        assert hits == curve.hits(capacity), f"{name}, {capacity}: {curve.hits(capacity)}, libcachesim finds {hits}"
    row(f"{name}: LRU at {len(capacities)} capacities", theirs_s, ours_s, "equal hits at each")


def row(what: str, theirs_s: float, ours_s: float, note: str) -> None:
    """Print one line of the race."""
    print(f"{what:44} {theirs_s:9.2f} {ours_s:9.2f} {theirs_s / ours_s:7.2f}  {note}", flush=True)


def peak_bytes(call: Callable[[], Any]) -> float:
    """Return the largest memory that Python and NumPy took during a call."""
    tracemalloc.start()
    try:
        call()
        return float(tracemalloc.get_traced_memory()[1])
    finally:
        tracemalloc.stop()


def plan(model: str, sizes: Sequence[str | None], block_tokens: int) -> Plan:
    """Return a plan of the usual tiers: sizes of HBM, DRAM and SSD."""
    hbm, dram, ssd = sizes
    return Plan(model=model, tiers=tiers.standard(hbm or "inf", dram, ssd), block_tokens=block_tokens)


def tiered(name: str, requests: Iterable[Request], references: int, block_tokens: int) -> None:
    """Print how many block references per second the tiered replay gets through, by number of tiers."""
    held = list(requests)
    for model, sizes in (
        ("mimo-v2.5-pro", ("640GB", None, None)),
        ("mimo-v2.5-pro", ("80GB", "1TB", None)),
        ("mimo-v2.5-pro", ("80GB", "1TB", "30TB")),
        ("deepseek-v3", ("80GB", "1TB", "30TB")),
    ):
        configuration = plan(model, sizes, block_tokens)
        took, _ = seconds(partial(replay, held, configuration))
        shown = " + ".join(size for size in sizes if size)
        print(f"{f'{name}: {model}, {shown}':64} {took:9.2f} {references / took:14,.0f}", flush=True)


def memory(keys: Ints, block_tokens: int) -> None:
    """Print the peak memory for a million references, of the curve and of the tiered replay."""
    million = keys[:1_000_000]
    scale = 1e6 / million.size / 1e6
    print(f"{'LRU curve':44} {peak_bytes(lambda: curves.lru_curve(million)) * scale:9.0f}")
    configuration = plan("mimo-v2.5-pro", ("80GB", "1TB", "30TB"), block_tokens)
    lone = [Request(i / 100, block_tokens, 1, (key,)) for i, key in enumerate(million.tolist())]
    print(f"{'tiered replay, beside its requests':44} {peak_bytes(lambda: replay(lone, configuration)) * scale:9.0f}")


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("trace", nargs="?", help="a trace that costlab reads, e.g. conversation_trace.jsonl")
    parser.add_argument("--quick", action="store_true", help="a hundredth of the references")
    args = parser.parse_args()
    count = 50_000 if args.quick else 5_000_000
    zipf = generators.zipf(count, count // 5, EXPONENT, np.random.default_rng(0))
    chats = generators.chat(count // 100, np.random.default_rng(0))
    runs = [(f"Zipf {EXPONENT}", zipf)]
    trace = read(args.trace) if args.trace else None
    if trace:
        runs.append((Path(trace.name).stem[:20], curves.block_ids(trace)))

    print(f"costlab {__version__}, NumPy {np.__version__}, libcachesim; seconds\n")
    print(f"{'':44} {'theirs':>9} {'ours':>9} {'ratio':>7}")
    for name, keys in runs:
        with libcachesim_reader(keys) as reader:
            one_cache(name, keys, reader, max(1, np.unique(keys).size // 20))
            whole_curve(name, keys, reader)
    print(f"\n{'tiered replay':64} {'seconds':>9} {'references/s':>14}")
    tiered("chats", chats, curves.block_ids(chats).size, chats.block_tokens or 512)
    if trace:
        tiered(runs[-1][0], trace, runs[-1][1].size, trace.block_tokens or 512)
    print(f"\n{'peak MB for a million references':44} {'MB':>9}")
    memory(zipf, 512)


if __name__ == "__main__":
    main()
