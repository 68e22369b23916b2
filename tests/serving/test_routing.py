"""Routers on signals alone: their published rules, fair ties, stale signals, length buckets."""

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from costlab.serving import buckets
from costlab.serving.buckets import LengthBuckets
from costlab.serving.routing import (
    Aged,
    Ask,
    CacheAware,
    DynamoCost,
    LeastPendingTokens,
    LeastRequests,
    LoadWindow,
    MooncakeCost,
    PowerOfTwo,
    RoundRobin,
    Signals,
    WeightedScores,
)


def pool(**columns):
    """Signals of a pool from one list per signal."""
    return [Signals(**dict(zip(columns, row, strict=True))) for row in zip(*columns.values(), strict=True)]


def every_router():
    return [
        RoundRobin(),
        LeastRequests(),
        LeastPendingTokens(),
        PowerOfTwo(np.random.default_rng(0)),
        CacheAware(),
        CacheAware(misses_to_smallest_tree=True),
        CacheAware(within_window=True),
        MooncakeCost(lambda new, prefix: new * 1e-4, lambda tokens: tokens * 1e-6),
        WeightedScores(),
        DynamoCost(),
        DynamoCost(temperature=0.5, rng=np.random.default_rng(0)),
        LengthBuckets(),
    ]


@pytest.mark.parametrize("router", every_router(), ids=lambda r: type(r).__name__)
def test_counters_that_never_move_starve_nobody(router):
    """vllm router 198, smg PR 1714: all loads read as equal, and worker 0 took all. Ties go to the least served."""
    rng = np.random.default_rng(1)
    chosen = Counter(router.choose(Ask(i / 10, int(rng.integers(1, 9000))), pool(requests=[0] * 4)) for i in range(800))
    drawn = isinstance(router, PowerOfTwo) or (isinstance(router, DynamoCost) and router.temperature)
    if isinstance(router, LengthBuckets):  # ranges hold equal tokens, not equal requests
        assert min(chosen.values()) > 50
    else:
        assert max(chosen.values()) - min(chosen.values()) <= (80 if drawn else 1)


@pytest.mark.parametrize("router", every_router(), ids=lambda r: type(r).__name__)
def test_dead_workers_get_nothing_and_no_worker_is_no_answer(router):
    dead = pool(alive=[False, True, False, True])
    assert {router.choose(Ask(float(i), 100 + i), dead) for i in range(50)} == {1, 3}
    assert router.choose(Ask(99.0, 100), pool(alive=[False] * 4)) is None


def test_the_least_is_taken_by_its_own_measure():
    signals = pool(requests=[5, 2, 3], pending_tokens=[10, 900, 20])
    assert LeastRequests().choose(Ask(0.0, 1), signals) == 1
    assert LeastPendingTokens().choose(Ask(0.0, 1), signals) == 0
    assert [RoundRobin().choose(Ask(0.0, 1), signals)] == [0]


def test_two_choices_beat_one():
    """Queues of equal work: the longest of 64 after 64 sent grows as log log n with two choices, faster with one."""

    def longest(router):
        loads = [0] * 64
        for i in range(640):
            loads[router.choose(Ask(float(i), 1), pool(requests=loads))] += 1
        return max(loads)

    one = np.bincount(np.random.default_rng(0).integers(0, 64, 640), minlength=64).max()
    assert longest(PowerOfTwo(np.random.default_rng(0))) <= 13 < one
    assert PowerOfTwo(np.random.default_rng(0)).choose(Ask(0.0, 1), pool(requests=[7])) == 0


# --- cache_aware -------------------------------------------------------------------------------------------------


def test_cache_aware_follows_a_long_match_while_loads_are_in_balance():
    router = CacheAware(LoadWindow(64, 1.5))
    matched = Ask(0.0, 1000, (0, 400, 0))
    assert router.choose(matched, pool(requests=[0, 60, 0])) == 1
    assert router.choose(matched, pool(requests=[0, 65, 0])) in (0, 2)
    assert router.choose(matched, pool(requests=[200, 264, 201])) == 1, "within the absolute bound"
    assert router.choose(matched, pool(requests=[200, 300, 201])) == 1, "within the relative bound"
    assert router.choose(Ask(0.0, 1000, (0, 300, 0)), pool(requests=[3, 9, 4])) == 0, "a match of 0.3 does not decide"


def test_a_miss_need_not_go_to_the_smallest_tree():
    """sglang PR 14532: the smallest tree was that of the busiest worker."""
    signals = pool(requests=[9, 1, 5], tree_tokens=[10, 5000, 4000])
    assert CacheAware(misses_to_smallest_tree=True).choose(Ask(0.0, 100), signals) == 0
    assert CacheAware().choose(Ask(0.0, 100), signals) == 1


def test_one_stuck_worker_need_not_turn_affinity_off():
    """sglang 32195, vllm router 238: a worker that finishes nothing put the whole pool out of balance."""
    stuck = pool(requests=[500, 3, 2])
    ask = Ask(0.0, 1000, (0, 900, 0))
    assert CacheAware().choose(ask, stuck) == 2, "as published: affinity off for all"
    assert CacheAware(within_window=True).choose(ask, stuck) == 1
    assert CacheAware(within_window=True).choose(Ask(0.0, 1000, (900, 0, 0)), stuck) == 2, "the stuck one gets none"


# --- costs --------------------------------------------------------------------------------------------------------


def test_mooncake_fetches_a_prefix_that_is_worth_it():
    router = MooncakeCost(lambda new, prefix: new * 1e-3, lambda tokens: 0.1 + tokens * 1e-5, balance=4.0)
    signals = pool(pending_s=[5.0, 0.0])
    options = [router.option(Ask(0.0, 1000, (800, 100)), signals, [0, 1], i) for i in (0, 1)]
    assert options[0].ttft_s == pytest.approx(5.2)
    assert options[0].fetched_from is None
    assert options[1].ttft_s == pytest.approx(0.1 + 700e-5 + 0.2)
    assert (options[1].fetched_from, options[1].fetched_tokens) == (0, 700)
    assert router.choose(Ask(0.0, 1000, (800, 100)), signals) == 1
    near = router.option(Ask(0.0, 1000, (800, 201)), signals, [0, 1], 1)
    assert (near.ttft_s, near.fetched_from) == (pytest.approx(0.799), None)
    assert router.option(Ask(0.0, 1000), signals, [0, 1], 1).ttft_s == pytest.approx(1.0)


def test_mooncake_refuses_what_nobody_serves_in_time():
    router = MooncakeCost(lambda new, prefix: 1.0, lambda tokens: 0.0, ttft_s=3.0)
    assert router.choose(Ask(0.0, 10), pool(pending_s=[2.5, 2.0])) == 1
    assert router.choose(Ask(0.0, 10), pool(pending_s=[2.5, 2.1])) is None
    assert sum(router.served) == 1


def test_weighted_scores_are_llm_ds():
    """Prefix 2, queue 1, memory 1, each from 0 to 1."""
    router = WeightedScores()
    signals = pool(queued=[4, 0, 2], kv_share=[0.0, 0.5, 0.5])
    # 0: 2 x 0.3 + 0 + 1 = 1.6 · 1: 0 + 1 + 0.5 = 1.5 · 2: 0 + 0.5 + 0.5 = 1
    assert router.choose(Ask(0.0, 100, (30, 0, 0)), signals) == 0
    assert router.choose(Ask(0.0, 100, (20, 0, 0)), signals) == 1
    assert router.choose(Ask(0.0, 100, (20, 0, 30)), signals) == 2


def test_dynamo_weighs_prefill_blocks_against_decode_blocks():
    signals = pool(pending_tokens=[0, 640], kv_blocks=[30, 0])
    ask = Ask(0.0, 640, (320, 0))
    assert [DynamoCost(64).cost(ask, s, m) for s, m in zip(signals, ask.matched, strict=True)] == [5 + 40, 20 + 10]
    assert DynamoCost(64).choose(ask, signals) == 1
    assert DynamoCost(64, overlap_weight=3.0).choose(ask, signals) == 0


def test_dynamos_temperature_draws_by_softmax_over_the_range():
    """Costs 10, 20, 30 over a range of 20 at temperature 0.5: weights 1, e^-1, e^-2."""
    router = DynamoCost(1, 0.0, 0.5, np.random.default_rng(3))
    signals = pool(kv_blocks=[9, 19, 29])
    drawn = np.bincount([router.choose(Ask(0.0, 1), signals) for _ in range(20_000)]) / 20_000
    weights = np.exp([0.0, -1.0, -2.0])
    assert drawn == pytest.approx(weights / weights.sum(), abs=4 * 0.5 / math.sqrt(20_000))


# --- age ----------------------------------------------------------------------------------------------------------


def test_signals_are_as_old_as_said():
    worker = Signals()
    aged, fresh, seen = Aged([worker], 0.1), Aged([worker]), []
    for worker.requests, now in enumerate((0.0, 0.05, 0.099, 0.1, 0.25, 0.29)):
        seen.append(aged.at(now)[0].requests)
        assert fresh.at(now)[0].requests == worker.requests
    assert seen == [0, 0, 0, 3, 4, 4]


def waits(age_s, router):
    """Mean wait of 3,000 prompts of 0.1 s at 0.8 load on four workers, the router's signals `age_s` old."""
    rng, free, starts = np.random.default_rng(7), [0.0] * 4, []
    now = 0.0

    class Queue(Signals):
        __slots__ = ("ends",)

        @property
        def pending_tokens(self):
            return sum(t > now for t in self.ends)

        @pending_tokens.setter
        def pending_tokens(self, value):
            self.ends = []

    queues = [Queue() for _ in range(4)]
    aged = Aged(queues, age_s)
    for _ in range(3000):
        now += rng.exponential(0.1 / 4 / 0.8)
        chosen = router.choose(Ask(now, 1), aged.at(now))
        start = max(now, free[chosen])
        free[chosen] = start + 0.1
        queues[chosen].ends = [t for t in queues[chosen].ends if t > now] + [free[chosen]]
        starts.append(start - now)
    return float(np.mean(starts))


class ByIndex(LeastPendingTokens):
    """Ties to the first, as routers without a count of their own have it."""

    def least(self, costs, among):
        return among[int(np.argmin(costs))]


def test_stale_signals_send_a_herd_to_one_worker_unless_ties_are_fair():
    """A second of age is 32 arrivals on one worker's turn; with fair ties it costs a third less."""
    fresh, stale = (waits(age_s, LeastPendingTokens()) for age_s in (0.0, 1.0))
    herd = waits(1.0, ByIndex())
    assert fresh < 0.1 < stale < 0.67 * herd


# --- length buckets -----------------------------------------------------------------------------------------------


def test_ranges_hold_equal_load_and_change_only_when_it_pays():
    router, level = LengthBuckets(period_s=5.0, hysteresis=1.2), pool(pending_tokens=[0, 0])
    for i in range(10):
        router.choose(Ask(i * 0.5, 100 if i % 2 else 900), level)
    assert router.bounds is None, "nothing learned in the first period"
    assert [router.choose(Ask(5.0, n), level) for n in (100, 101, 950)] == [0, 1, 1]
    first = router.bounds
    for i in range(10):
        router.choose(Ask(6.0 + i / 10, 120 if i % 2 else 940), level)
    router.choose(Ask(10.0, 1), level)
    assert router.bounds != first, "its fuller range had nearly all"


def test_hysteresis_keeps_ranges_that_are_good_enough():
    level = pool(pending_tokens=[0, 0])
    ranges = []
    for hysteresis in (1.0, 1.5):
        router = LengthBuckets(hysteresis=hysteresis)
        router.bounds = [1000]
        for i in range(20):
            router.choose(Ask(i * 0.2, 600 if i % 2 else 1400), level)
        router.choose(Ask(20.0, 10), level)
        ranges.append(router.bounds)
    assert ranges == [[600], [1000]]


def test_out_of_balance_the_least_loaded_takes_all():
    router = LengthBuckets(window=LoadWindow(1000, 1.5))
    router.bounds, router._next_cut_s = [500], math.inf
    assert router.choose(Ask(0.0, 100), pool(pending_tokens=[900, 0])) == 0
    assert router.choose(Ask(0.0, 100), pool(pending_tokens=[5000, 0])) == 1


lengths = st.lists(st.integers(1, 100_000), min_size=1, max_size=200)


@given(lengths, st.integers(1, 6))
def test_cut_ranges_are_ordered_and_no_range_exceeds_its_share_by_more_than_a_value(found, ranges):
    bounds = buckets.equal_load_bounds(found, ranges)
    loads = buckets.bucket_loads(found, bounds)
    assert bounds == sorted(bounds)
    assert len(bounds) == ranges - 1
    assert sum(loads) == sum(found)
    heaviest = max(Counter({n: n * c for n, c in Counter(found).items()}).values())
    assert max(loads) <= sum(found) / ranges + heaviest


def test_ranks_in_turn_wait_for_one_another_more_than_ranks_by_load():
    """Conversation-like lengths on 8 ranks: the factor by which a layer's barrier makes the step longer."""
    found = np.random.default_rng(0).lognormal(6.9, 1.0, 256).astype(int).tolist()
    turn, load = (buckets.imbalance(buckets.rank_loads(found, 8, by)) for by in (False, True))
    assert turn > 1.4 > 1.2 > load
    inside = sorted(found)[80:88]  # one bucket's prompts: in turn is good enough
    assert buckets.imbalance(buckets.rank_loads(inside, 8, False)) < 1.2


@given(lengths, st.integers(1, 8))
def test_packed_kernels_have_no_padding_to_save(found, batch):
    bounds = buckets.equal_load_bounds(found, 3)
    assert buckets.padding_saved(found, 1, bounds) == buckets.padding(found, 1) == 0
    assert buckets.padding(sorted(found), batch) <= buckets.padding(found, batch) or len(found) % batch


def test_padding_saved_is_counted():
    assert buckets.padding([1, 5, 2, 2, 9], 2) == 4
    assert buckets.padding_saved([100, 4000, 100, 4000], 2, [100]) == 7800


# --- numbers that are none ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: LoadWindow(-1), "absolute >= 0"),
        (lambda: LoadWindow(math.nan), "absolute >= 0"),
        (lambda: CacheAware(match_share=1.5), "match_share = 1.5"),
        (lambda: CacheAware(match_share=math.nan), "match_share = nan"),
        (lambda: MooncakeCost(max, abs, balance=0.5), "balance = 0.5"),
        (lambda: MooncakeCost(max, abs, ttft_s=math.nan), "ttft_s = nan"),
        (lambda: WeightedScores(queue=-1), "should not be negative"),
        (lambda: DynamoCost(0), "block_tokens"),
        (lambda: DynamoCost(temperature=-1), "temperature = -1"),
        (lambda: DynamoCost(temperature=1.0), "needs a Generator"),
        (lambda: LengthBuckets(period_s=0), "period_s = 0"),
        (lambda: LengthBuckets(hysteresis=math.nan), "hysteresis = nan"),
        (lambda: Aged([], math.nan), "age_s = nan"),
        (lambda: buckets.equal_load_bounds([], 2), "at least one"),
        (lambda: buckets.imbalance([0, 0]), "not all zero"),
    ],
)
def test_bad_numbers_are_quoted(make, words):
    with pytest.raises(ValueError, match=words):
        make()
