"""Calls whose counts, indices and shapes are arrays, for the comparison of two Pythons; plain numbers come back."""

import importlib
import pkgutil

import numpy as np

import costlab
from costlab import arch, hybrid, moe
from costlab.cache import Plan, lru_curve, replay, stack_distances, standard
from costlab.traces import generators

RANKS, LOADS = 8, [90, 132, 40, 61, 104, 165, 39, 4, 73, 56, 183, 86]


def modules():
    """Import every module that needs NumPy at most and return how many there are."""
    # the other packages are found and cannot be imported, which is no error here
    names = [found.name for found in pkgutil.walk_packages(costlab.__path__, "costlab.", onerror=lambda name: None)]
    light = [name for name in names if not name.startswith(("costlab.nn", "costlab.explore"))]
    return len([importlib.import_module(name) for name in light])


def placed():
    hot = moe.zipf_shares(256, 1.0)
    spread = moe.place(hot, 32, redundant=32, nodes=4, groups=8)
    loads = [moe.place(LOADS, RANKS, redundant=4).balancedness(LOADS), spread.balancedness(hot)]
    return [*loads, *spread.copies.tolist(), *moe.contiguous(12, 6).copies.tolist()]


def routed():
    rng = np.random.default_rng(0)
    routes = moe.router("deepseek-v3").route(rng.normal(size=(64, 256)))
    rows = moe.capacity(64, 256, 8, 1.25)
    kept, all_of_them = (
        moe.dispatch_with_capacity(routes.experts, 256, rows),
        moe.dispatch_dropless(routes.experts, 256, 16),
    )
    table = moe.token_table(100, 16, 4, rng)
    shares = [kept.dropped_share, all_of_them.padding_share, moe.count_reached(routes.experts, 256, 8)]
    return [*shares, moe.load_entropy(routes.loads), moe.least_factor(routes.loads, 0.1), *table.ravel().tolist()]


def exchanged():
    found = moe.summary("deepseek-v3", batch=128, ranks=144, redundant=32)
    copied = float(moe.touched_share(256, 8, 64)), moe.simulate_touched(64, 6, 32, np.random.default_rng(0))
    return [found.touched_share, found.weight_bytes_per_step, found.ranks_reached, *copied]


def reused():
    rng = np.random.default_rng(0)
    keys = generators.zipf(5_000, 800, 0.9, rng)
    curve = lru_curve(keys)
    wide = lru_curve(np.array([2**40, 2**62, 2**40, -(2**50), 2**62]))
    ends = [curve.hits(100), curve.capacity_for(0.5), wide.unique, wide.hits(2)]
    return [*ends, *curve.hit_rate([1, 10, np.inf]).tolist(), *stack_distances(keys).tolist()]


def replayed():
    trace = generators.generate("chat", 200, np.random.default_rng(0))
    report = replay(trace, Plan("mimo-v2.5-pro", standard("2GB", "20GB", "1TB"), eviction="s3-fifo"))
    return [report.hit_tokens, report.computed_tokens, report.ttft.p99_s, *(link.moved_bytes for link in report.links)]


def counted():
    model, tokens = arch.load("deepseek-v4-pro"), np.array([1, 5_000, 2**20, 2**40])
    found = [model.kv_bytes(tokens).total, model.decode_flops(tokens).total, model.prefill_flops(tokens).total]
    return [*np.concatenate(found).tolist(), model.params.total, *hybrid.moved_fraction(tokens).tolist()]


NUMBERS = {
    "bits of a count": lambda: np.dtype(np.intp).itemsize * 8,
    "modules": modules,
    "placed": placed,
    "routed": routed,
    "exchanged": exchanged,
    "reused": reused,
    "replayed": replayed,
    "counted": counted,
}


def numbers():
    """Return all of them by name."""
    return {name: find() for name, find in NUMBERS.items()}
