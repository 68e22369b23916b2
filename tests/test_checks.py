"""Numbers that are no counts, loads or sizes are refused: each of these calls once gave a wrong number, or none."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from costlab import arch, cache, checks, hybrid, moe
from costlab.checks import indices, one_of, whole
from costlab.claims import articles

NAN, INF = math.nan, math.inf
PRO, HBM = "mimo-v2.5-pro", cache.Tier("HBM", 4.0)


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def plan(**changes):
    return cache.Plan(PRO, (HBM,), **changes)


def prefix_cache(**changes):
    return cache.PrefixCache([HBM], 1.0, **changes)


REFUSED = {
    # counts
    "place: ranks": lambda: moe.place([1, 2, 3, 4], 1.5),
    "place: True": lambda: moe.place([1, 2, 3, 4], True),
    "copies: slots": lambda: moe.copies_by_load([1, 2], 3.5),
    "capacity: tokens": lambda: moe.capacity(10.5, 4, 2, 1.25),
    "capacity: experts": lambda: moe.capacity(10, 4.5, 2, 1),
    "article_capacity": lambda: articles.article_capacity(10.5, 4, 1),
    "rows": lambda: moe.dispatch_with_capacity([[0, 1]], 2, NAN),
    "rows cut": lambda: moe.dispatch_with_capacity([[0, 1]], 2, 1.5),
    "tile": lambda: moe.dispatch_dropless([[0, 1]], 2, 1.5),
    "touched_share: top_k": lambda: moe.touched_share(8, 2.5, 2),
    "redundant": lambda: moe.decode_step("deepseek-v3", 1, redundant=1.5),
    "batch": lambda: moe.summary("deepseek-v3", True),
    "simulate: no trials": lambda: moe.simulate_touched(8, 2, 4, rng(), trials=0),
    "simulate: shares": lambda: moe.simulate_touched(8, 2, 4, rng(), shares=[1] * 7),
    "uniform_shares": lambda: moe.uniform_shares(2.5),
    "router": lambda: moe.Router(8, 2.5, moe.router("mixtral-8x7b").routing),
    "top_k": lambda: moe.top_k([1, 2, 3], True),
    "micro-batches": lambda: moe.Exchange(7, 1, 1, 1, 1).step_s(1, 1, 1.5),
    "scale block": lambda: moe.exchange("deepseek-v3", 8, scale_block=1.5),
    "hybrid: layers": lambda: hybrid.moved_fraction(10, full=1.5),
    "hybrid: window": lambda: hybrid.moved_fraction(10, window=NAN),
    "plan: block_tokens": lambda: plan(block_tokens=1.5),
    "plan: chips": lambda: plan(chips=True),
    "plan: checkpoint_tokens": lambda: plan(checkpoint_tokens=1.5),
    "plan: rent": lambda: plan(usd_per_chip_hour=NAN),
    "plan: negative rent": lambda: plan(usd_per_chip_hour=-1),
    "pages in part": lambda: cache.count_hits([1, 2, 1], "lru", 1.5),
    "pages in part, Belady": lambda: cache.belady_hits([1, 2, 1], 1.5),
    "page_tokens": lambda: prefix_cache(page_tokens=1.5),
    "checkpoint_tokens": lambda: prefix_cache(checkpoint_tokens=0),
    "selective_uses": lambda: prefix_cache(selective_uses=0),
    "boundaries": lambda: cache.boundaries(NAN, 1),
    "boundaries: negative": lambda: cache.boundaries(-1, 1),
    "split": lambda: cache.footprint(PRO).split(-1, 1, 0),
    "split: page": lambda: cache.footprint(PRO).split(1e9, 0, 0),
    "drives": lambda: cache.standard("1GB", "1GB", chips=1.5),
    # indices
    "cut expert": lambda: moe.count_loads([0.5, 1], 2),
    "true expert": lambda: moe.count_loads([True], 2),
    "cut choice": lambda: moe.dispatch_with_capacity([[0.5, 1]], 2, 1),
    "cut table": lambda: moe.look_up([[0.5, 1]], [0], 2, 2, 1),
    "cut chosen": lambda: moe.switch_loss([[0.5, 0.5]], [[0.7]]),
    "cut loads": lambda: moe.least_factor([1.7, 2.9], 0.1),
    "negative loads": lambda: moe.least_factor([-5, 10], 0.1),
    "negative chosen": lambda: moe.count_reached([[0, -1]], 8, 2),
    "chosen beyond": lambda: moe.count_reached([[0, 9]], 8, 2),
    # loads, sizes and scores
    "endless load": lambda: moe.load_entropy([INF, 1]),
    "NaN dropped": lambda: moe.dropped_share([NAN, 1], 1),
    "NaN padded": lambda: moe.padding_share([NAN, 1], 1),
    "rows NaN": lambda: moe.dropped_share([1, 2], NAN),
    "NaN scores": lambda: moe.switch_loss([[NAN, 1]], [[0]]),
    "scores that cancel": lambda: moe.switch_loss([[-1, 1]], [[0]]),
    "no scores": lambda: moe.switch_loss([[0, 0], [1, 1]], [[0], [1]]),
    "NaN bias": lambda: moe.update_bias([0, 0], [NAN, 1]),
    "no bias": lambda: moe.update_bias([], []),
    "NaN speed": lambda: moe.update_bias([0, 0], [1, 2], NAN),
    "endless share": lambda: moe.skewed_logits(3, [1, INF], rng()),
    "NaN copies": lambda: moe.Exchange(7, NAN, 1, 1, 1),
    "NaN tokens": lambda: moe.Exchange(7, 1, 1, 1, 1).stage_s(NAN, 1),
    "lost load": lambda: moe.Placement(np.array([[0, 2]])).balancedness([1, 2, 3]),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name):
    with pytest.raises(ValueError):
        REFUSED[name]()


def test_a_share_of_shares():
    """Loads may be shares that sum to less than 1: all of them are dropped where nothing has room."""
    assert moe.dropped_share([0.2, 0.2], 0) == 1
    assert moe.dropped_share([0, 0], 0) == 0


@given(st.integers(-(2**53), 2**53))
def test_whole_numbers_of_any_type(value):
    for kind in (int, float, np.int64, np.float64):
        found = whole(kind(value), "count")
        assert (found, type(found)) == (value, int)
    assert indices([value, float(value)], "indices").tolist() == [value, value]


def test_numpys_small_counts_do_not_overflow():
    """256 experts do not fit the int8 of their copies."""
    small = moe.summary("deepseek-v3", np.int8(4), np.int16(144), np.int8(32))
    assert small == moe.summary("deepseek-v3", 4, 144, 32)
    assert all(type(n) is int for n in (small.batch, small.ranks, small.redundant, small.experts_per_rank))
    assert plan(chips=np.int8(16)) == plan()


def test_one_of_a_few_words():
    assert one_of(("own heads", "full layers"), "Own Heads", "comparison") == "own heads"
    with pytest.raises(ValueError, match="unknown comparison 'ful layers'; did you mean 'full layers'"):
        one_of(("own heads", "full layers"), "ful layers", "comparison")


def test_a_model_is_its_own_answer():
    model = arch.load("Mixtral-8x7B")
    assert arch.load(model) is model is arch.load("mixtral-8x7b")


@pytest.mark.parametrize("value", [1.5, NAN, INF, True, np.True_, "8", None, [8], np.float32(0.1)])
def test_what_is_no_count_is_quoted(value):
    with pytest.raises(ValueError, match=r"count = .* should be a whole number"):
        whole(value, "count")


@pytest.mark.parametrize("values", [[0.5], [NAN], [-INF], [True], ["0"], [None]])
def test_what_is_no_index_is_quoted(values):
    with pytest.raises(ValueError, match=r"experts .*should be whole numbers"):
        indices(values, "experts")
    assert indices(np.zeros((0, 2)), "experts").shape == (0, 2)


def test_of_many_names_those_alike_are_shown():
    known = [f"{maker}-{n}" for maker in ("one", "two", "six") for n in range(10, 25)]
    text = checks.unknown("thing", "two-17x", known)
    assert text.startswith("unknown thing 'two-17x'; did you mean 'two-17'?")
    assert text.endswith("two-23, two-24 and 30 more")
    assert "one-10" not in text
    assert "six-10" in checks.unknown("thing", "two-17x", known[10:])
    assert checks.unknown("thing", "else", known).endswith("known: one-10, six-10, two-10 and 42 more")
    assert checks.unknown("thing", "six", known).endswith("six-24 and 30 more")
    assert all(name in checks.unknown("thing", "else", known[10:]) for name in known[10:])
