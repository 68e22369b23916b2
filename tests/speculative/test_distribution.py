"""Logits to laws: temperature, top-k and top-p beside transformers' warpers, ties and edges, what is refused."""

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from transformers import TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

from costlab.speculative import distribution


def warped(logits: np.ndarray, temperature: float, top_k: int | None, top_p: float | None) -> np.ndarray:
    """The law that transformers samples from."""
    scores = torch.tensor(logits, dtype=torch.float64)
    scores = TemperatureLogitsWarper(temperature)(None, scores)
    if top_k is not None:
        scores = TopKLogitsWarper(top_k)(None, scores)
    if top_p is not None:
        scores = TopPLogitsWarper(top_p)(None, scores)
    return scores.softmax(-1).numpy()


ROWS = st.lists(st.integers(-12, 12).map(lambda n: n / 4), min_size=1, max_size=9)  # quarters: ties often enough


@given(
    ROWS,
    st.sampled_from([0.25, 1.0, 1.7]),
    st.none() | st.integers(1, 10),
    st.none() | st.floats(0.05, 0.95),
)
def test_laws_are_those_of_transformers(row, temperature, top_k, top_p) -> None:
    """Ties at the top-k border stay; which of equal tokens top-p lets in is ours to say: sorted laws are compared."""
    logits = np.array([row, row[::-1]])
    if top_p is not None:  # a sum that equals top_p but for rounding may fall to either side
        assume(np.abs(np.cumsum(np.sort(distribution(row, temperature, top_k))[::-1]) - top_p).min() > 1e-9)
    ours = distribution(logits, temperature, top_k, top_p)
    theirs = warped(logits, temperature, top_k, top_p)
    np.testing.assert_allclose(np.sort(ours), np.sort(theirs), atol=1e-12)
    if len(set(row)) == len(row):
        np.testing.assert_allclose(ours, theirs, atol=1e-12)


def test_top_k_keeps_ties_as_transformers_does() -> None:
    law = distribution([3.0, 1.0, 1.0, 0.0], top_k=2)
    assert (law > 0).tolist() == [True, True, True, False]
    np.testing.assert_allclose(law, warped(np.array([[3.0, 1.0, 1.0, 0.0]]), 1.0, 2, None)[0], atol=1e-15)


@pytest.mark.parametrize(("top_p", "kept"), [(0.01, 1), (0.25, 1), (0.2500001, 2), (0.75, 3), (0.7500001, 4), (1.0, 4)])
def test_top_p_keeps_the_smallest_set_that_reaches_it(top_p: float, kept: int) -> None:
    """Quarters, which are exact: a sum equal to top_p reaches it."""
    law = distribution(np.zeros(4), top_p=top_p)
    assert (law > 0).sum() == kept == (warped(np.zeros((1, 4)), 1.0, None, top_p) > 0).sum()
    assert law.sum() == pytest.approx(1)
    assert (distribution(np.log([0.1, 0.6, 0.3]), top_p=0.65) > 0).tolist() == [False, True, True]


def test_of_equal_tokens_top_p_lets_the_first_in() -> None:
    assert distribution(np.zeros(4), top_p=0.5).tolist() == [0.5, 0.5, 0, 0]


def test_top_p_counts_what_top_k_left() -> None:
    """Renormalised after top-k: .5 of what is left is reached by one token; of all it takes two."""
    logits = np.log([0.4, 0.35, 0.15, 0.1])
    assert (distribution(logits, top_k=2, top_p=0.5) > 0).sum() == 1
    assert (distribution(logits, top_p=0.5) > 0).sum() == 2


def test_temperature_0_is_the_first_of_the_largest() -> None:
    assert distribution([[1.0, 2.0, 2.0], [0.0, -1.0, -np.inf]], 0.0).tolist() == [[0, 1, 0], [1, 0, 0]]


def test_a_low_temperature_and_large_logits_overflow_nothing() -> None:
    assert distribution([1e308, -1e308], 0.5).tolist() == [1, 0]
    assert distribution([1.0, 0.0], 1e-310).tolist() == [1, 0]
    assert distribution([800.0, 799.0], 1e-6).tolist() == [1, 0]
    np.testing.assert_allclose(distribution([1e4, 1e4, 0.0]), [0.5, 0.5, 0])


def test_logits_are_left_as_they_were() -> None:
    logits = np.array([2.0, 1.0, 0.0])
    distribution(logits, 0.5, 2, 0.9)
    assert logits.tolist() == [2, 1, 0]


def test_minus_infinity_rules_a_token_out() -> None:
    assert distribution([0.0, -np.inf, 0.0], 0.7, 3).tolist() == [0.5, 0, 0.5]


@pytest.mark.parametrize(
    ("logits", "options", "says"),
    [
        ([0.0, np.nan], {}, r"logit nan at \(1,\)"),
        ([[0.0, 1.0], [np.inf, 0.0]], {}, r"logit inf at \(1, 0\)"),
        ([[0.0, 1.0], [-np.inf, -np.inf]], {}, r"every token of row \[1\]"),
        ([], {}, r"shape \(0,\)"),
        (1.0, {}, r"shape \(\)"),
        ([0.0], {"temperature": -1.0}, "temperature = -1.0"),
        ([0.0], {"temperature": np.nan}, "temperature = nan"),
        ([0.0], {"temperature": np.inf}, "temperature = inf"),
        ([0.0], {"top_k": 0}, "top_k = 0 should be at least 1"),
        ([0.0], {"top_k": 1.5}, "top_k = 1.5 should be a whole number"),
        ([0.0], {"top_p": 0.0}, "top_p = 0.0"),
        ([0.0], {"top_p": 1.1}, "top_p = 1.1"),
        ([0.0], {"top_p": np.nan}, "top_p = nan"),
    ],
)
def test_what_gives_no_law_is_refused(logits, options, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        distribution(logits, **options)
