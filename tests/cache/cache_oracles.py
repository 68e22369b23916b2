"""What the tests of the simulator share: an outside simulator, traces, brute force."""

import warnings
from collections import OrderedDict
from pathlib import Path

import numpy as np

TRACE = Path(__file__).parents[2].parent / "shared" / "traces" / "conversation_trace.jsonl"


def zipf(seed: int, count: int, pages: int, skew: float) -> list[int]:
    """References whose popularity falls as rank^-skew."""
    weights = np.arange(1, pages + 1) ** -skew
    return np.random.default_rng(seed).choice(pages, size=count, p=weights / weights.sum()).tolist()


def libcachesim_hits(name: str, keys: list[int], capacity: int, **params) -> int:
    """Hits of libcachesim's cache of that class name."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import libcachesim
    cache = getattr(libcachesim, name)(capacity, hashpower=14, **params)
    last_use: dict[int, int] = {}
    following = [-1] * len(keys)
    for i in range(len(keys) - 1, -1, -1):
        following[i] = last_use.get(keys[i], 2**62)
        last_use[keys[i]] = i
    hits = 0
    for i, (key, after) in enumerate(zip(keys, following, strict=True)):
        request = libcachesim.Request(obj_id=key, obj_size=1, clock_time=i, next_access_vtime=after)
        hits += cache.get(request)
    return hits


def plain_lru_hits(blocks: list[int], capacity: float) -> int:
    """LRU as one writes it on a napkin."""
    order: OrderedDict[int, None] = OrderedDict()
    hits = 0
    for block in blocks:
        if block in order:
            hits += 1
            order.move_to_end(block)
        else:
            order[block] = None
            if len(order) > capacity:
                order.popitem(last=False)
    return hits
