"""Dispatch: nothing lost, nothing doubled, and the waste of each way."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from costlab import moe
from costlab.claims import articles


@st.composite
def routes(draw: st.DrawFn) -> tuple[np.ndarray, int]:
    experts = draw(st.integers(1, 12))
    k = draw(st.integers(1, experts))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shares = moe.zipf_shares(experts, draw(st.floats(0, 2)), rng)
    return moe.sample_routes(draw(st.integers(0, 40)), k, shares, rng), experts


def filled_one_by_one(chosen: np.ndarray, experts: int, rows: int) -> np.ndarray:
    """The rule as a person would follow it: first choices of all tokens in order, then second choices, …"""
    free = [rows] * experts
    kept = np.zeros(chosen.shape, dtype=bool)
    for rank in range(chosen.shape[1]):
        for token in range(chosen.shape[0]):
            expert = chosen[token, rank]
            kept[token, rank] = free[expert] > 0
            free[expert] -= kept[token, rank]
    return kept


@given(routes(), st.integers(0, 30))
def test_capacity_keeps_what_the_rule_says(case, rows: int) -> None:
    chosen, experts = case
    dispatch = moe.dispatch_with_capacity(chosen, experts, rows)
    np.testing.assert_array_equal(dispatch.kept, filled_one_by_one(chosen, experts, rows))


@given(routes(), st.integers(0, 30))
def test_dropped_and_kept_make_routed(case, rows: int) -> None:
    chosen, experts = case
    dispatch = moe.dispatch_with_capacity(chosen, experts, rows)
    kept = moe.count_loads(chosen[dispatch.kept], experts)
    assert dispatch.dropped + kept.sum() == dispatch.routed == dispatch.loads.sum()
    np.testing.assert_array_equal(kept, np.minimum(dispatch.loads, rows))
    assert dispatch.padding == experts * rows - kept.sum()
    assert dispatch.dropped_share == pytest.approx(moe.dropped_share(dispatch.loads, rows))


@given(routes(), st.integers(1, 16))
def test_dropless_keeps_all_and_pads_less_than_a_tile_per_expert(case, tile: int) -> None:
    chosen, experts = case
    dispatch = moe.dispatch_dropless(chosen, experts, tile)
    assert dispatch.dropped == dispatch.residual_only == 0
    assert (dispatch.rows % tile == 0).all()
    assert (dispatch.rows >= dispatch.loads).all() and (dispatch.rows - dispatch.loads < tile).all()


@given(routes(), st.floats(0, 1))
def test_least_factor_is_enough_and_one_row_less_is_not(case, share: float) -> None:
    chosen, experts = case
    if not chosen.size:
        return
    loads = moe.count_loads(chosen, experts)
    rows = round(moe.least_factor(loads, share) * loads.mean())
    assert moe.dropped_share(loads, rows) <= share
    assert rows == 0 or moe.dropped_share(loads, rows - 1) > share


def test_residual_carries_what_is_dropped() -> None:
    # three tokens, both choices on experts 0 and 1, one row each: the first token takes both
    dispatch = moe.dispatch_with_capacity([[0, 1], [0, 1], [1, 0]], 4, 1)
    assert dispatch.kept.tolist() == [[True, False], [False, False], [True, False]]
    assert (dispatch.dropped, dispatch.residual_only, dispatch.padding) == (4, 1, 2)
    np.testing.assert_allclose(dispatch.kept_weight([[0.75, 0.25]] * 3), [0.75, 0, 0.75])


def test_capacity_counts_every_choice_and_the_article_forgets_them() -> None:
    assert moe.capacity(4096, 256, 8, 1.25) == 160
    assert articles.article_capacity(4096, 256) == 20
    assert moe.capacity(10, 10, 1, 1.1) == 2  # 1.1 rows, rounded up
    assert moe.capacity(100, 10, 1, 1.1) == 11  # and not 12, as 11.000000000000002 would give


def test_the_articles_formula_drops_five_sixths_of_a_perfectly_even_load() -> None:
    even = (np.arange(4096 * 8) % 256).reshape(4096, 8)
    dispatch = moe.dispatch_with_capacity(even, 256, articles.article_capacity(4096, 256))
    assert dispatch.dropped_share == 1 - 1.25 / 8
    assert moe.dispatch_with_capacity(even, 256, moe.capacity(4096, 256, 8, 1.25)).dropped == 0


def test_zero_capacity_drops_everything_and_an_empty_batch_nothing() -> None:
    assert moe.dispatch_with_capacity([[0, 1]], 2, 0).dropped_share == 1
    assert moe.dispatch_with_capacity([[0, 1]], 2, 0).padding_share == 0
    empty = moe.dispatch_with_capacity(np.zeros((0, 2)), 4, 3)
    assert (empty.routed, empty.dropped_share, empty.padding_share) == (0, 0, 1)


BAD = {
    "negative capacity": (lambda: moe.dispatch_with_capacity([[0]], 1, -1), "capacity of -1 rows"),
    "negative factor": (lambda: moe.capacity(8, 4, 1, -0.5), "capacity factor -0.5"),
    "NaN factor": (lambda: articles.article_capacity(8, 4, float("nan")), "capacity factor nan"),
    "top-k above experts": (lambda: moe.capacity(8, 4, 5, 1.0), "4 experts, top_k = 5"),
    "expert out of range": (lambda: moe.dispatch_dropless([[4]], 4), "expert 4 should lie between 0 and 3"),
    "tile of nothing": (lambda: moe.dispatch_dropless([[0]], 4, 0), "tile of 0 rows"),
    "flat routes": (lambda: moe.dispatch_dropless([0, 1], 4), r"\(2,\) should be \(tokens, top_k\)"),
    "share above 1": (lambda: moe.least_factor([1, 2], 1.5), "share 1.5"),
    "no load": (lambda: moe.least_factor([0, 0], 0.1), "should not all be 0"),
    "negative load": (lambda: moe.dropped_share([-1], 1), "at least 0"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_quoted(name: str) -> None:
    call, message = BAD[name]
    with pytest.raises(ValueError, match=message):
        call()
