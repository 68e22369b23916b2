"""How many drafted tokens of a batch to check: against brute force over all lengths, and DSpark's own example."""

import itertools
import math

import numpy as np
import pytest
from effort import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from costlab.speculative import goodput, theory

BATCH = st.lists(st.lists(st.floats(0.0, 1.0), min_size=0, max_size=3), min_size=1, max_size=3)
CURVE = st.lists(st.floats(0.05, 1.0), min_size=12, max_size=12)


def by_force(acceptances, rate):
    """(best tokens per second, its rows) over all draft lengths of all requests."""
    every = itertools.product(*(range(len(a) + 1) for a in acceptances))
    found = []
    for lengths in every:
        tokens = sum(
            1 + sum(math.prod(a[: j + 1]) for j in range(n)) for a, n in zip(acceptances, lengths, strict=True)
        )
        rows = sum(lengths) + len(lengths)
        found.append((tokens * rate(rows), rows))
    return max(found, key=lambda each: each[0])


@settings(max_examples=examples(100))
@given(BATCH, CURVE)
def test_no_lengths_are_better(acceptances, rates):
    """Rates in any order: also where a pass of more rows is faster."""
    found = goodput.admit(acceptances, lambda rows: rates[rows - 1])
    assert found.tokens_per_s == pytest.approx(by_force(acceptances, lambda rows: rates[rows - 1])[0])
    assert found.rows == found.lengths.sum() + len(acceptances)


def dsparks_rate(rows):
    """arXiv 2607.05147, appendix A: SPS of 1, 2 and 3 rows."""
    return {1: 1.0, 2: 0.5, 3: 0.45}[rows]


def test_dsparks_example():
    """Appendix A: 1.134 at length 2 in one case, 1.0 at length 0 in the other; stopping early gives 0 in both."""
    surest, worst = goodput.admit([(0.8, 0.9)], dsparks_rate), goodput.admit([(0.8, 0.0)], dsparks_rate)
    assert surest.lengths.tolist() == [2]
    assert surest.tokens_per_s == pytest.approx(1.134)
    assert worst.lengths.tolist() == [0]
    assert worst.tokens_per_s == 1.0
    one = goodput.batch_goodput([(0.8, 0.9)], [1], dsparks_rate)
    assert one.tokens_per_s == pytest.approx(0.9)
    for second in (0.9, 0.0):
        assert goodput.admit([(0.8, second)], dsparks_rate, stop_early=True).lengths.tolist() == [0]


@settings(max_examples=examples(60))
@given(BATCH, CURVE)
def test_stopping_early_looks_no_further_than_the_row_it_decides_on(acceptances, rates):
    """What stands behind the first row that was not admitted changes nothing."""
    early = goodput.admit(acceptances, lambda rows: rates[rows - 1], stop_early=True)
    cut = [a[: n + 1] for a, n in zip(acceptances, early.lengths, strict=True)]
    assert goodput.admit(cut, lambda rows: rates[rows - 1], stop_early=True).lengths.tolist() == early.lengths.tolist()
    free = goodput.admit(acceptances, lambda rows: rates[rows - 1])
    assert early.tokens_per_s <= free.tokens_per_s + 1e-12


def test_load_shortens_drafts():
    """A pass that is free up to 64 rows, then in proportion: few requests draft long, many not at all."""
    curve, means = (0.79, 0.61, 0.46, 0.23), []
    for requests in (4, 16, 32, 64, 128):
        found = goodput.admit([curve] * requests, lambda rows: 100 / max(1, rows / 64))
        means.append(found.lengths.mean())
    assert means[0] == 4
    assert means[-1] == 0
    assert means == sorted(means, reverse=True)
    assert 0 < means[2] < 4


def test_the_likelier_request_is_served_first():
    found = goodput.admit([(0.9,) * 4, (0.3,) * 4, (0.6,) * 4], lambda rows: 1.0 if rows <= 8 else 0.01)
    assert found.lengths.tolist() == [4, 0, 1]
    assert found.tokens == pytest.approx(3 + 0.9 + 0.81 + 0.729 + 0.6561 + 0.6)


def test_equal_requests_share_a_uniform_length():
    """With one length for all, Theta is the batch times the speed of one request's tokens."""
    found = goodput.batch_goodput([[0.8] * 5] * 10, [3] * 10, lambda rows: 1000 / rows)
    assert found.tokens == pytest.approx(10 * theory.expected_tokens(0.8, 3))
    assert found.tokens_per_s == pytest.approx(found.tokens * 1000 / 40)
    assert found.rows == 40


def test_latency_is_the_rounds_time_by_its_tokens():
    assert goodput.latency_per_token(0.8, 3, 0.006, 0.020) == pytest.approx(0.026 / 2.952)
    assert goodput.latency_per_token([0.8, 0.5], 2, 0.006, [0.018, 0.019, 0.020]) == pytest.approx(0.026 / 2.2)
    plain = goodput.latency_per_token(0.8, 0, 0.0, 0.018)
    assert plain == 0.018
    drafted = goodput.latency_per_token(0.8, 3, 0.018 * 3 * 0.05, lambda rows: 0.018)
    assert plain / drafted == pytest.approx(theory.speedup(0.8, 3, 0.05))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: goodput.admit([], lambda rows: 1.0), "no requests"),
        (lambda: goodput.admit([(1.5,)], lambda rows: 1.0), r"acceptance = .*1.5.* should be between 0 and 1"),
        (lambda: goodput.admit([(0.5,)], lambda rows: 0.0), r"steps_per_s\(1\) = 0.0 should be above 0"),
        (lambda: goodput.admit([(0.5,)], lambda rows: math.nan), r"steps_per_s\(1\) = nan"),
        (lambda: goodput.batch_goodput([(0.5,)], [1, 1], lambda rows: 1.0), "2 lengths for 1 requests"),
        (lambda: goodput.batch_goodput([], [], lambda rows: 1.0), "0 lengths for 0 requests"),
        (lambda: goodput.batch_goodput([(0.5,)], [2], lambda rows: 1.0), "length = 2 is more than the 1 positions"),
        (lambda: goodput.batch_goodput([(0.5,)], [-1], lambda rows: 1.0), "length = -1"),
        (lambda: goodput.batch_goodput([(0.5,)], [0.5], lambda rows: 1.0), "lengths should be whole numbers"),
        (lambda: goodput.latency_per_token(0.5, 1, -1.0, 1.0), "draft_s = -1.0"),
        (lambda: goodput.latency_per_token(0.5, 1, 0.0, 0.0), "verify_cost = 0.0 of 2 rows"),
    ],
)
def test_refused(call, words):
    with pytest.raises(ValueError, match=words):
        call()


def test_ties_take_fewer_rows():
    assert goodput.admit([(0.0, 0.0)], lambda rows: 1.0).lengths.tolist() == [0]
    assert np.isclose(goodput.admit([(1.0,)], lambda rows: 1 / rows).rows, 1)


def test_stopping_early_stops_at_a_row_that_gains_nothing():
    """Algorithm 1 of DSpark breaks where throughput does not rise, also where it stays."""
    rates = {1: 1.0, 2: 0.5, 3: 0.5}
    assert goodput.admit([(1.0, 1.0)], rates.__getitem__, stop_early=True).lengths.tolist() == [0]
    assert goodput.admit([(1.0, 1.0)], rates.__getitem__).lengths.tolist() == [2]
