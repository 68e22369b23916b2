"""LRU curves: a brute-force stack, libcachesim at many capacities, and the replayed conversation trace."""

import itertools
from pathlib import Path

import libcachesim as lcs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from costlab.cache import POLICIES, count_hits, curves
from costlab.traces import Request, generators, read

TRACE = Path(__file__).parents[3] / "shared" / "traces" / "conversation_trace.jsonl"


def brute(keys):
    """Stack distances from an explicit LRU stack."""
    stack, distances = [], []
    for key in keys:
        if key in stack:
            distances.append(stack.index(key))
            stack.remove(key)
        stack.insert(0, key)
    return distances


@given(st.lists(st.integers(-3, 12), max_size=80))
def test_distances_are_those_of_a_stack(keys):
    assert curves.stack_distances(np.array(keys, dtype=np.int64)).tolist() == brute(keys)


@given(st.lists(st.integers(0, 30), max_size=120), st.integers(0, 40))
def test_hits_are_those_of_an_lru_cache(keys, capacity):
    curve = curves.lru_curve(keys)
    assert curve.hits(capacity) == sum(d < capacity for d in brute(keys))
    assert (curve.references, curve.unique) == (len(keys), len(set(keys)))


@given(st.permutations(range(40)))
def test_earlier_greater_counts_inversions(order):
    found = curves.earlier_greater(np.array(order))
    assert found.tolist() == [sum(a > b for a in order[:i]) for i, b in enumerate(order)]


@pytest.mark.parametrize("size", [0, 1, 2, 3, 1023, 1024, 1025, 4097])
def test_sizes_around_powers_of_two(size):
    order = np.random.default_rng(size).permutation(size)
    greater = order[:, None] > order[None, :]
    assert (curves.earlier_greater(order) == np.triu(greater, 1).sum(axis=0)).all()


def libcachesim_hits(keys, capacity):
    cache = lcs.LRU(cache_size=capacity)
    return sum(cache.get(lcs.Request(obj_id=int(key), obj_size=1)) for key in keys)


@pytest.mark.parametrize("exponent", [0.0, 0.7, 1.1])
def test_libcachesim_finds_the_same_hits(exponent):
    keys = generators.zipf(20_000, 3_000, exponent, np.random.default_rng(1))
    curve = curves.lru_curve(keys)
    for capacity in (1, 2, 10, 100, 500, 1_000, 2_000, 2_999, 3_000, 5_000):
        assert curve.hits(capacity) == libcachesim_hits(keys, capacity), capacity


@pytest.mark.skipif(not TRACE.exists(), reason="the conversation trace is not here")
def test_conversation_trace():
    """An independent LRU replay: .366 of the blocks unlimited, .045/.212/.355 in 1,000/10,000/50,000 blocks."""
    keys = curves.block_ids(read(TRACE))
    curve = curves.lru_curve(keys)
    assert (curve.references, curve.unique) == (288_500, 182_790)
    assert curve.hit_rate(np.inf) == pytest.approx(0.366, abs=5e-4)
    assert curve.hit_rate([1_000, 10_000, 50_000]) == pytest.approx([0.045, 0.212, 0.355], abs=1e-3)
    assert curve.hits(10_000) == libcachesim_hits(keys, 10_000)


def used_again(keys):
    """Of the blocks used at least k times, the share used at least k + 1 times; k = 1 to 4."""
    uses = np.unique(keys, return_counts=True)[1]
    least = [np.count_nonzero(uses >= k) for k in range(1, 6)]
    return [more / some for some, more in itertools.pairwise(least)]


def test_in_generated_chats_past_uses_say_little():
    """Why policies that protect used blocks lose to LRU there: a third is used once more, whatever the count."""
    keys = curves.block_ids(generators.generate("chat", 1500, np.random.default_rng(0)))
    shares = used_again(keys)
    assert shares == pytest.approx([0.34, 0.38, 0.36, 0.29], abs=0.01)
    for capacity in (1000, 2000, 4000):
        hits = {name: count_hits(keys.tolist(), name, capacity) for name in POLICIES}
        assert max(hits, key=hits.get) == "lru"


@pytest.mark.parametrize("kind", ["documents", "agent"])
def test_where_use_predicts_use_a_small_s3_fifo_wins(kind):
    """Popular documents and agents' histories: who was used twice is likelier to be used again than who was not."""
    count = {"documents": 1500, "agent": 300}[kind]
    keys = curves.block_ids(generators.generate(kind, count, np.random.default_rng(0))).tolist()
    once, twice, *_ = used_again(keys)
    assert twice > once
    assert count_hits(keys, "s3-fifo", 500) > count_hits(keys, "lru", 500)


@pytest.mark.skipif(not TRACE.exists(), reason="the conversation trace is not here")
def test_on_the_published_trace_use_predicts_use():
    """So S3-FIFO finds more than LRU in small caches, and less in a large one, where LRU has room for both."""
    keys = curves.block_ids(read(TRACE))
    shares = used_again(keys)
    assert all(b > a for a, b in itertools.pairwise(shares))
    flat = keys.tolist()
    more = [count_hits(flat, "s3-fifo", size) > count_hits(flat, "lru", size) for size in (1_000, 5_000, 15_000)]
    assert more == [True, True, False]


def test_requests_touch_their_blocks_in_order():
    requests = [Request(0, 1024, 1, (5, 6)), Request(1, 512, 1, (5,)), Request(2, 10, 1, ())]
    assert curves.block_ids(requests).tolist() == [5, 6, 5]
    curve = curves.lru_curve(requests)
    assert [curve.hits(c) for c in (0, 1, 2, 3)] == [0, 0, 1, 1]


def test_ids_of_64_bits_keep_apart():
    requests = [Request(0, 1, 1, (2**64 - 1, 2**63, 2**63 - 1, 0)), Request(1, 1, 1, (2**64 - 1,))]
    curve = curves.lru_curve(requests)
    assert (curve.unique, curve.hits(np.inf), curve.hits(3)) == (4, 1, 0)


def test_hit_rate_never_falls_and_ends_at_the_repetitions():
    keys = generators.zipf(5_000, 800, 0.9, np.random.default_rng(2))
    curve = curves.lru_curve(keys)
    rates = curve.hit_rate(np.arange(0, 900))
    assert rates[0] == 0 and (np.diff(rates) >= 0).all()
    assert curve.hits(np.inf) == rates[-1] * 5_000 == 5_000 - curve.unique
    needed = curve.capacity_for(0.5)
    assert curve.hit_rate(needed) >= 0.5 > curve.hit_rate(needed - 1)


@given(st.integers(0, 2**32), st.integers(1, 60), st.integers(0, 600))
def test_capacity_for_undoes_hit_rate(seed, unique, references):
    """The fewest blocks that reach a rate that some capacity reaches, the best one included."""
    curve = curves.lru_curve(np.random.default_rng(seed).integers(0, unique, references))
    rates = curve.hit_rate(np.arange(curve.unique + 1))
    for capacity, rate in enumerate(rates):
        needed = curve.capacity_for(float(rate))
        assert needed <= capacity
        assert curve.hit_rate(needed) == rate
        assert needed == 0 or curve.hit_rate(needed - 1) < rate


def test_the_best_rate_of_many_references_is_reached():
    """Ten million references, where the rounding of rate x references reaches a thousand-millionth."""
    for hits in (6_710_801, 6_710_803, 9_999_991):
        curve = curves.LruCurve(10_000_019, 2, np.array([0, hits - 1, hits]))
        assert [curve.capacity_for(h / 10_000_019) for h in (hits - 1, hits)] == [1, 2]


def test_nothing_at_all():
    curve = curves.lru_curve([])
    assert (curve.references, curve.unique, curve.hits(10)) == (0, 0, 0)
    assert curve.hit_rate([0, np.inf]).tolist() == [0, 0]


def test_once_only_and_always_the_same():
    assert curves.lru_curve(range(100)).hits(np.inf) == 0
    same = curves.lru_curve(np.zeros(100, dtype=np.int64))
    assert (same.hits(0), same.hits(1)) == (0, 99)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: curves.lru_curve(np.zeros((2, 2), dtype=int)), "(2, 2)"),
        (lambda: curves.lru_curve([0.5, 1.0]), "whole numbers"),
        (lambda: curves.lru_curve([1]).hits(-1), "-1"),
        (lambda: curves.lru_curve([1]).hit_rate(np.nan), "nan"),
        (lambda: curves.lru_curve([1, 1]).capacity_for(0.9), "0.5000"),
    ],
)
def test_errors(call, words):
    with pytest.raises(ValueError) as caught:
        call()
    assert words in str(caught.value)
