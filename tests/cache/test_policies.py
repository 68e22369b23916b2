"""Eviction policies: equal hit counts with libcachesim, small cases by hand, properties."""

import pytest
from cache.cache_oracles import libcachesim_hits, zipf
from hypothesis import given
from hypothesis import strategies as st

from costlab.cache import policies
from costlab.cache.policies import belady, sieve

# libcachesim refuses tiny S3-FIFO caches (its small queue would hold nothing) and gives SLRU four equal segments, so
# that it leaves room unused unless the capacity divides by four. Elsewhere the hit counts are equal, not close.
PEERS = {
    "lru": ("LRU", (1, 3, 16, 100, 500, 1000)),
    "fifo": ("FIFO", (1, 3, 16, 100, 500, 1000)),
    "lfu": ("LFU", (1, 3, 16, 100, 500, 1000)),
    "sieve": ("Sieve", (1, 3, 16, 100, 500, 1000)),
    "s3-fifo": ("S3FIFO", (20, 50, 100, 500, 1000)),
    "slru": ("SLRU", (4, 16, 100, 500, 1000)),
}
TRACES = [zipf(0, 8000, 1500, 1.0), zipf(1, 8000, 600, 0.6), zipf(2, 8000, 3000, 1.3)]


@pytest.mark.parametrize("name", policies.POLICIES)
@pytest.mark.parametrize("keys", TRACES, ids=["zipf1", "flat", "steep"])
def test_hits_equal_libcachesims(name: str, keys: list[int]) -> None:
    peer, capacities = PEERS[name]
    ours = [policies.count_hits(keys, name, capacity) for capacity in capacities]
    assert ours == [libcachesim_hits(peer, keys, capacity) for capacity in capacities]


@pytest.mark.parametrize("keys", TRACES, ids=["zipf1", "flat", "steep"])
def test_belady_equals_libcachesims_and_bounds_all(keys: list[int]) -> None:
    for capacity in (1, 3, 16, 100, 500):
        best = belady.belady_hits(keys, capacity)
        assert best == libcachesim_hits("Belady", keys, capacity)
        assert all(policies.count_hits(keys, name, capacity) <= best for name in policies.POLICIES)


@given(st.lists(st.integers(0, 5), max_size=9), st.integers(1, 3))
def test_belady_is_the_best_of_all_choices(keys: list[int], capacity: int) -> None:
    assert belady.belady_hits(keys, capacity) == brute_force(tuple(keys), frozenset(), capacity)


def brute_force(keys: tuple[int, ...], held: frozenset[int], capacity: int) -> int:
    """The most hits over every choice of victims."""
    if not keys:
        return 0
    first, rest = keys[0], keys[1:]
    if first in held:
        return 1 + brute_force(rest, held, capacity)
    if len(held) < capacity:
        return brute_force(rest, held | {first}, capacity)
    return max(brute_force(rest, held - {out} | {first}, capacity) for out in held)


@given(
    st.sampled_from(policies.POLICIES),
    st.integers(1, 12),
    st.lists(st.tuples(st.integers(0, 9), st.sampled_from(["use", "evict", "remove"]), st.sets(st.integers(0, 9)))),
)
def test_a_policy_holds_what_came_and_spares_what_is_pinned(name, capacity, steps) -> None:
    policy = policies.make(name, capacity)
    there: set[int] = set()
    for key, what, pinned in steps:
        if what == "use" and key in there:
            policy.hit(key)
        elif what == "use":
            policy.add(key)
            there.add(key)
        elif what == "remove" and key in there:
            policy.remove(key)
            there.remove(key)
        elif what == "evict":
            gone = policy.evict(2, pinned)
            assert len(gone) == min(2, len(there - pinned)) and not set(gone) & pinned
            there -= set(gone)
        assert set(policy.keys()) == there and len(policy) == len(there)
        victim = policy.victim(pinned)
        assert (victim is None) == (not there - pinned) and victim not in pinned


@given(st.sampled_from(policies.POLICIES), st.lists(st.integers(0, 30)))
def test_an_unlimited_cache_misses_only_what_is_new(name: str, keys: list[int]) -> None:
    assert policies.count_hits(keys, name, float("inf")) == len(keys) - len(set(keys))


def test_each_policy_evicts_whom_it_says() -> None:
    """Pages a..d come in, a is used twice, b once: who goes first?"""
    first = {}
    for name in policies.POLICIES:
        policy = policies.make(name, 4)
        policy.add_all("abcd")
        policy.hit_all("aab")
        first[name] = policy.evict(4)
    assert first["fifo"] == list("abcd")
    assert first["lru"] == list("cdab")
    assert first["lfu"] == list("cdba")
    assert first["sieve"] == list("cdab")  # the hand spares a and b once, and comes back to them
    assert first["slru"][0] == "c"  # four segments of one page each: a and b pushed it down
    assert set(first["s3-fifo"][:2]) <= set("bcd")


def test_s3_fifo_remembers_a_page_that_just_left() -> None:
    policy = sieve.S3FIFO(10)
    policy.add("once")
    assert policy.evict(1) == ["once"]
    policy.add("once")  # from the ghost into the main queue
    policy.add("new")
    assert policy.evict(1) == ["new"]


class Counted(int):
    """A key that counts how often somebody looks at it."""

    looks = 0

    def __hash__(self) -> int:
        Counted.looks += 1
        return int.__hash__(self)

    def __eq__(self, other: object) -> bool:
        Counted.looks += 1
        return int.__eq__(self, other)  # type: ignore[arg-type]


def test_no_operation_searches() -> None:
    """Removals from the middle of a large cache look at as many keys as those from a small one, give or take."""

    def looks(name: str, size: int) -> int:
        keys = [Counted(key) for key in range(size)]
        policy = policies.make(name, size)
        policy.add_all(keys)
        Counted.looks = 0
        for key in keys[size // 4 : size // 4 + 400]:
            policy.hit(key)
            policy.remove(key)
        policy.evict(400)
        return Counted.looks

    for name in policies.POLICIES:
        assert looks(name, 1000) >= 800 and looks(name, 40_000) < 2 * looks(name, 1000), name


def test_bad_input_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown eviction policy 'lry'; did you mean 'lru'"):
        policies.make("lry", 3)
    with pytest.raises(ValueError, match="capacity = 0 pages should be at least 1"):
        policies.make("lru", 0)
    with pytest.raises(ValueError, match="segments = 0"):
        policies.lru.SLRU(4, 0)


def test_names_agree() -> None:
    assert tuple(policies.make(name, 4).name for name in policies.POLICIES) == policies.POLICIES
    assert {*PEERS, belady.Belady.name} == set(policies.EVICTIONS)
