"""A prefill behind its cached prefix, the article's manager, checkpoint spacing, and the ledger's cache verdicts."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from costlab import claims
from costlab.cache import LayerBytes, footprint, prefill_behind, replay, standard
from costlab.cache.footprints import Footprint
from costlab.cache.sim.plan import Plan
from costlab.claims.articles import ArticleManager
from costlab.traces import Request

PRO = "mimo-v2.5-pro"
FAST = {"bandwidth_bytes_per_s": 50e9, "flops_per_s": 400e12}


# --- one prefill behind a cached prefix ------------------------------------------------------------------------


def test_bytes_over_bandwidth_are_the_load() -> None:
    """65,536 tokens of 10 full layers at 5,120 bytes, and 128 tokens of 60 windows at 5,120 bytes."""
    run = prefill_behind(PRO, 65_536, 1024, **FAST)
    assert run.load_s == pytest.approx((65_536 * 10 + 128 * 60) * 5120 / 50e9)
    everything = prefill_behind(PRO, 65_536, 1024, windows=False, **FAST)
    assert everything.load_s == pytest.approx(65_536 * 70 * 5120 / 50e9)
    assert everything.compute_s == run.compute_s


def test_the_order_of_the_ways_to_load() -> None:
    streamed, ahead, serial = (
        prefill_behind(PRO, 65_536, 1024, loading=mode, **FAST) for mode in ("streamed", "look-ahead", "serial")
    )
    assert streamed.finish_s < ahead.finish_s < serial.finish_s
    assert serial.stall_s == pytest.approx(serial.load_s) and serial.hidden_share == pytest.approx(0, abs=1e-12)
    assert streamed.stall_s == pytest.approx(65_536 * 5120 / 50e9, rel=0.01), "the first layer's load cannot hide"


def test_chips_compute_what_a_flat_rate_does_not_say() -> None:
    one, eight = (prefill_behind(PRO, 4096, 1024, 50e9, chips=chips) for chips in (1, 8))
    assert one.compute_s == pytest.approx(8 * eight.compute_s) and one.load_s == eight.load_s


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"prefix": 0}, "should be above 0, got 0, 1 and"),
        ({"new": 0}, "should be above 0, got 1, 0 and"),
        ({"bandwidth_bytes_per_s": math.nan}, "got 1, 1 and nan"),
        ({"model": "mimo-v9"}, "unknown model 'mimo-v9'"),
        ({"chip": "abacus"}, "abacus"),
        ({"loading": "eager"}, "unknown way to load 'eager'"),
    ],
)
def test_bad_prefills_are_refused(change, message) -> None:
    with pytest.raises(ValueError, match=message):
        prefill_behind(**{"model": PRO, "prefix": 1, "new": 1, "bandwidth_bytes_per_s": 1e9} | change)


# --- the article's manager -------------------------------------------------------------------------------------

accesses = st.lists(st.integers(0, 9), max_size=60)


@given(accesses, st.tuples(st.integers(10, 20), st.integers(0, 20), st.integers(0, 20)))
def test_while_nothing_is_full_its_accounts_agree(blocks, capacity) -> None:
    manager = ArticleManager(capacity)
    for block in blocks:
        manager.access(block)
    assert manager.used == manager.held() == [len(set(blocks)), 0, 0]
    assert manager.hits == [len(blocks) - len(set(blocks)), 0, 0]


def test_its_ssd_overflows() -> None:
    manager = ArticleManager((2, 3, 4))
    for block in range(20):
        manager.access(block)
    assert manager.used == manager.held() == [2, 3, 15]


@given(accesses, st.tuples(st.integers(1, 4), st.integers(1, 4), st.integers(1, 4)))
def test_its_eviction_is_never_called(blocks, capacity) -> None:
    """A block moves up only where there is room, so a full HBM never makes any."""
    manager = ArticleManager(capacity)
    for block in blocks:
        manager.access(block)
    assert manager.evicted == 0
    for block in set(blocks):
        assert block in manager.level


def test_an_eviction_into_a_full_dram_loses_count() -> None:
    manager = ArticleManager((2, 3, 4))
    for block in range(5):
        manager.access(block)
    manager.evict()
    assert manager.used[0] == 1 and manager.held()[0] == 2
    roomy = ArticleManager((2, 3, 4))
    for block in range(4):
        roomy.access(block)
    roomy.evict()
    assert roomy.used == roomy.held() == [1, 3, 0]


def test_a_promotion_into_a_full_hbm_evicts_first() -> None:
    manager = ArticleManager((1, 2, 2))
    for block in "ab":
        manager.access(block)
    manager.promote("b")
    assert manager.level == {"a": 1, "b": 0} and manager.evicted == 1


# --- checkpoint spacing ----------------------------------------------------------------------------------------


@given(st.floats(0.05, 6.99))
def test_spacing_inverts_the_multiplier(times) -> None:
    mimo = footprint(PRO)
    assert mimo.multiplier(mimo.window_tokens / mimo.spacing(times)) == pytest.approx(times)


def test_five_times_take_a_window_per_1920_tokens() -> None:
    assert footprint(PRO).spacing(5) == pytest.approx(1920)  # 70 / (10 + 60 r) = 5 at r = 1/15 of 128 tokens


@pytest.mark.parametrize("times", [7, 8, 0, -1, math.nan])
def test_a_multiple_out_of_reach_is_refused(times) -> None:
    with pytest.raises(ValueError, match="should be above 0 and below 7, with window layers"):
        footprint(PRO).spacing(times)


def test_a_model_without_windows_has_no_spacing() -> None:
    with pytest.raises(ValueError, match="with window layers"):
        Footprint((LayerBytes(1.0),)).spacing(0.5)


# --- what a report says ----------------------------------------------------------------------------------------


def test_without_a_link_nothing_stalls() -> None:
    requests = [Request(0.1 * i, 700 * i, 1, tuple(range(i))) for i in range(1, 40)]
    assert replay(requests, Plan(PRO, standard("80GB"))).stall_s == 0.0


def test_an_empty_replay_has_no_multiplier() -> None:
    rows = replay([], Plan(PRO, standard("80GB"))).summary()
    assert {row["what"]: row["value"] for row in rows}["cached tokens per byte, against every layer full"] == "-"


# --- the ledger ------------------------------------------------------------------------------------------------


def test_every_cache_claim_is_settled() -> None:
    assert {finding.key: finding.verdict for finding in claims.findings("cache-")} == {
        "cache-transfer-1-7": "reproduced under a stated assumption",
        "cache-tokens-5x": "reproduced under a stated assumption",
        "cache-read-overlap": "reproduced under a stated assumption",
        "cache-tiers": "contradicted",
        "cache-block-bytes": "contradicted",
        "cache-table": "contradicted",
        "cache-eviction-code": "contradicted",
    }
    assert claims.settle("price-miss-over-hit").verdict == "reproduced"


@pytest.mark.parametrize(
    ("key", "figure"),
    [
        ("cache-transfer-1-7", "0.1437 at 128K"),
        ("cache-tokens-5x", "5 times as many tokens with a window for each 1,920 tokens, and 7 times as many"),
        ("cache-read-overlap", "352 ms instead of 413"),
        ("cache-tiers", "2,039 GB/s, host memory 52.8, an SSD 14 GB/s"),
        ("cache-block-bytes", "3,211,264 bytes per token against 51,200: 62.7 times as many"),
        ("cache-table", "its HBM holds 0.22M tokens of MiMo-V2.5-Pro, all its tiers 86.72M, with windows 607.03M"),
        ("cache-eviction-code", "15 in SSD's 4 places and 0 evictions"),
        ("price-miss-over-hit", "3 / 0.025 = 120 for mimo-v2.5-pro, 1 / 0.02 = 50 for mimo-v2.5"),
    ],
)
def test_each_verdict_rests_on_a_figure(key, figure) -> None:
    assert figure in claims.settle(key).why


@pytest.mark.parametrize(
    ("key", "values", "verdict"),
    [
        ("cache-transfer-1-7", {"share": 0.2}, "contradicted"),
        ("cache-tokens-5x", {"times": 5.0, "saved": 0.9}, "contradicted"),
        ("cache-block-bytes", {"width": 51_200.0, "layers": 1.0, "bytes": 0.5, "window": 2**20}, "reproduced"),
        ("price-miss-over-hit", {"times": 50.0}, "contradicted"),
    ],
)
def test_another_claim_gets_another_verdict(key, values, verdict) -> None:
    assert claims.settle(key, **values).verdict == verdict
