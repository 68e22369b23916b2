"""Closed forms against arch, brute force and the paper's own figures (arXiv 2607.13095)."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from costlab import arch, hybrid

PRO, FLASH, V25 = "mimo-v2.5-pro", "mimo-v2-flash", "mimo-v2.5"
CONTEXTS = np.array([1024, 2048, 8192, 32_768, 131_072, 1_048_576])


# --- order -----------------------------------------------------------------------------------------------------


def test_patterns():
    pro = hybrid.pattern(PRO)
    assert (pro.full, pro.sliding) == (10, 60)
    assert pro.gaps == (6, 7, 7, 7, 7, 7, 7, 6, 6)
    for key in (FLASH, V25):
        assert hybrid.pattern(key).gaps == (4, 5, 5, 5, 5, 5, 5, 5)
        assert hybrid.pattern(key).full_at == (0, 5, 11, 17, 23, 29, 35, 41, 47)
    assert hybrid.pattern("llama-3.1-70b").gaps == (0,) * 79


# --- cache -----------------------------------------------------------------------------------------------------


def test_ratio_at_each_context():
    """Worked by hand: (70 L) / (10 L + 60 min(L, 128))."""
    saving = hybrid.kv_saving(PRO, CONTEXTS)
    assert saving.ratio.round(2).tolist() == [4.00, 5.09, 6.40, 6.84, 6.96, 6.99]
    assert saving.fraction == pytest.approx(1 / 7 + 109.714 / CONTEXTS, rel=1e-5)
    assert saving.limit == pytest.approx(1 / 7)
    assert saving.excess_tokens == pytest.approx(128 * 60 / 70)
    assert saving.fraction == pytest.approx(hybrid.moved_fraction(CONTEXTS))


def test_one_seventh_holds_from_15k_on():
    saving = hybrid.kv_saving(PRO, [15_359, 15_361])
    assert saving.close_from() == pytest.approx(15_360) == hybrid.close_from()
    before, after = abs(saving.fraction * 7 - 1)
    assert before > 0.05 > after


def test_nothing_is_saved_inside_the_window():
    assert hybrid.kv_saving(PRO, [1, 64, 128]).ratio.tolist() == [1, 1, 1]
    assert hybrid.kv_saving(PRO, 129).ratio > 1


@pytest.mark.parametrize("key", [FLASH, V25])
def test_about_six_fits_neither_way_of_counting(key):
    """Twice the KV heads in window layers: 9.67-fold against those kept whole, 5.33-fold against 48 full layers."""
    own, full = (hybrid.kv_saving(key, CONTEXTS, against) for against in ("own heads", "full layers"))
    assert 1 / own.limit == pytest.approx(9.67, abs=0.005)
    assert 1 / full.limit == pytest.approx(5.33, abs=0.005)
    assert not any(abs(1 / saving.limit - 6) < 0.5 for saving in (own, full))
    assert (own.ratio > full.ratio).all()


def test_sglang_pool_sizes():
    """SGLang PR 15464, V2-Flash, one of four ranks: pools of 1,496,958 tokens, 69.6 GB for windows, 8.03 GB for full.

    It prints GiB as GB, and divides K and V of 192 and 128.
    """
    tokens, ranks = 1_496_958, 4
    flash = arch.load(FLASH)
    everything = float(hybrid.all_full(flash).kv_bytes(tokens).total) / ranks / 2**30
    grows = float(flash.kv_bytes(tokens).growing) / ranks / 2**30
    assert grows == pytest.approx(4.82 + 3.21, abs=0.01)
    assert everything - grows == pytest.approx(41.76 + 27.84, abs=0.02)


@given(tokens=st.integers(1, 2**21), full=st.integers(1, 80), sliding=st.integers(0, 80), window=st.integers(1, 4096))
def test_fraction_is_what_layers_keep(tokens, full, sliding, window):
    """Layer by layer, counted: each keeps all tokens or at most its window."""
    kept = sum([tokens] * full + [min(tokens, window)] * sliding)
    fraction = float(hybrid.moved_fraction(tokens, full, sliding, window))
    assert fraction == pytest.approx(kept / (tokens * (full + sliding)))
    assert full / (full + sliding) * (1 - 1e-12) <= fraction <= 1
    close = hybrid.close_from(full, sliding, window)
    if close >= window:
        at = np.ceil(close)
        assert hybrid.moved_fraction(at, full, sliding, window) <= 1.05 * full / (full + sliding) * (1 + 1e-9)


# --- prefill ---------------------------------------------------------------------------------------------------


def test_ten_layers_are_ten_layers_for_attention():
    ratio = hybrid.prefill_ratio(PRO, [8192, 32_768, 131_072, 1_048_576])
    assert ratio.attention_only == pytest.approx([1.187, 1.047, 1.012, 1.001], abs=0.0015)
    assert ratio.attention_saved == pytest.approx([5.89, 6.68, 6.92, 6.99], abs=0.015)
    assert ratio.saved == pytest.approx([1.23, 1.85, 3.39, 6.05], abs=0.005)
    assert ratio.hybrid.attention_share == pytest.approx([0.047, 0.149, 0.404, 0.843], abs=0.001)


def test_ten_layers_with_their_matrices():
    ratio = hybrid.prefill_ratio(PRO, [8192, 65_536, 1_048_576])
    assert ratio.with_matrices == pytest.approx([5.7, 2.8, 1.16], abs=0.05)


def test_attention_weighs_as_much_as_the_matrices():
    """80.0 GFLOP of matrices per token, 81,920 FLOPs per key and layer: 97.7K keys in 10 layers, 14.0K in 70."""
    assert float(hybrid.prefill(PRO, 1).matrices) == pytest.approx(80.0e9, rel=0.001)
    assert hybrid.equal_keys(PRO) == pytest.approx(97.7e3, rel=0.001)
    assert hybrid.equal_keys(hybrid.all_full(PRO)) == pytest.approx(14.0e3, rel=0.005)
    (read,) = arch.load(PRO).layers[0][0].reads("prefill")
    assert read.flops_per_entry == 81_920


@given(tokens=st.integers(1, 300))
def test_attention_of_a_prompt_is_the_sum_over_its_queries(tokens):
    keys = sum(10 * t + 60 * min(t, 128) for t in range(1, tokens + 1))
    assert float(hybrid.prefill(PRO, tokens).attention) == 81_920 * keys


def test_figure_1a_counts_what_no_query_may_see():
    """arXiv 2607.13095 Fig. 1a: 6.3e18 and 0.9e18 FLOPs at 1M tokens; a causal prompt needs half of either."""
    whole, ours = (float(hybrid.uncausal_attention_flops(m, 1_048_576)) for m in (hybrid.all_full(PRO), PRO))
    assert whole == pytest.approx(6.305e18, rel=1e-4)
    assert ours == pytest.approx(9.01e17, rel=1e-3)
    causal = hybrid.prefill_ratio(PRO, 1_048_576)
    assert float(causal.no_windows.attention) / whole == pytest.approx(0.5, rel=1e-5)
    assert float(causal.hybrid.attention) / ours == pytest.approx(0.5, rel=1e-3)


# --- other models, bad input -----------------------------------------------------------------------------------


def test_without_windows_there_is_nothing_to_save():
    llama = "llama-3.1-70b"
    assert hybrid.kv_saving(llama, CONTEXTS).ratio.tolist() == [1.0] * len(CONTEXTS)
    assert hybrid.prefill_ratio(llama, CONTEXTS).with_matrices.tolist() == [1.0] * len(CONTEXTS)


def test_only_windows_have_no_limit_but_zero():
    pro = arch.load(PRO)
    sliding = dataclasses.replace(pro, layers=tuple(x for x in pro.layers if isinstance(x[0], arch.SlidingWindow)))
    assert hybrid.kv_saving(sliding, 1_048_576).limit == 0
    with pytest.raises(ValueError, match="has no full layer"):
        hybrid.only_full(sliding)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: hybrid.pattern("nope"), "unknown model 'nope'"),
        (lambda: hybrid.pattern("deepseek-v3"), "has layers of MLA, not full and sliding"),
        (lambda: hybrid.kv_saving(PRO, 0), "at least 1"),
        (lambda: hybrid.kv_saving(PRO, 1, "Own head"), "did you mean 'own heads'"),
        (lambda: hybrid.kv_saving(PRO, 1, "both"), "unknown comparison 'both'; known: full layers, own heads"),
        (lambda: hybrid.kv_saving(PRO, 1).close_from(0), "share = 0 should be above 0"),
        (lambda: hybrid.moved_fraction(1, 0, 0), "make no stack"),
        (lambda: hybrid.moved_fraction(1, window=0), "make no stack"),
        (lambda: hybrid.close_from(0), "a limit needs full >= 1"),
        (lambda: hybrid.prefill_ratio(PRO, 1.5), "whole numbers"),
    ],
)
def test_bad_input(call, words):
    with pytest.raises(ValueError, match=words):
        call()
