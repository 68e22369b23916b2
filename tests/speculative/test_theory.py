"""Tokens of a round, their price and the best length: against the papers' tables, published curves and enumeration."""

import itertools
import math

import numpy as np
import pytest
from effort import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from costlab import catalog
from costlab.speculative import acceptance, theory, verify_many

CATALOG = catalog.tables()
SHARE = st.floats(0.0, 1.0)
BY_POSITION = st.lists(SHARE, min_size=1, max_size=8)
LENGTH = st.integers(0, 12)


# --- the papers' tables ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("acceptance", "length", "speed", "arithmetic"),
    [
        (0.6, 2, 1.96, 1.53),
        (0.7, 3, 2.53, 1.58),
        (0.8, 2, 2.44, 1.23),
        (0.8, 5, 3.69, 1.63),
        (0.9, 2, 2.71, 1.11),
        (0.9, 10, 6.86, 1.60),
    ],
)
def test_leviathans_rows(acceptance, length, speed, arithmetic):
    """arXiv 2211.17192, theorems 3.8 and 3.11 with a draft that costs nothing, to the two digits printed there."""
    assert round(theory.speedup(acceptance, length, 0.0), 2) == speed
    assert round(theory.arithmetic_factor(acceptance, length, 0.0), 2) == arithmetic


@pytest.mark.parametrize(
    ("cost", "lengths"),
    [
        (0.01, [5, 7, 9, 14, 24]),
        (0.02, [4, 6, 8, 11, 19]),
        (0.05, [3, 4, 6, 8, 13]),
        (0.1, [2, 3, 4, 6, 10]),
    ],
)
def test_best_lengths_by_theorem_3_8(cost, lengths):
    """For a = .5 to .9, from a search written apart from this package over the printed formula."""
    found = [theory.best_length(a, cost) for a in (0.5, 0.6, 0.7, 0.8, 0.9)]
    printed = [
        max(range(65), key=lambda g: (1 - a ** (g + 1)) / ((1 - a) * (g * cost + 1))) for a in (0.5, 0.6, 0.7, 0.8, 0.9)
    ]
    assert found == lengths == printed


def test_corollary_3_9():
    """A draft pays if and only if a > c, and then at least (1 + a) / (1 + c)."""
    for a, c in itertools.product(np.linspace(0, 0.95, 20), repeat=2):
        best = theory.best_length(a, c)
        assert (best > 0) == (a > c)
        if a > c:
            assert theory.speedup(a, best, c) >= (1 + a) / (1 + c) - 1e-12


def test_a_draft_without_end_nears_what_one_that_knows_when_to_stop_gives():
    """1 / (1 - a), arXiv 2211.17192 sec. 3.5."""
    assert theory.expected_tokens(0.8, 200) == pytest.approx(1 / (1 - 0.8))
    assert theory.expected_tokens(1.0, 7) == 8


# --- enumeration -----------------------------------------------------------------------------------------------


def enumerated(acceptances):
    """The law of a round's tokens from all outcomes of its accept decisions."""
    law = [0.0] * (len(acceptances) + 1)
    for outcome in itertools.product([True, False], repeat=len(acceptances)):
        chance = math.prod(a if kept else 1 - a for a, kept in zip(acceptances, outcome, strict=True))
        accepted = next((i for i, kept in enumerate(outcome) if not kept), len(outcome))
        law[accepted] += chance
    return law


@settings(max_examples=examples(50))
@given(BY_POSITION)
def test_the_law_of_a_rounds_tokens_is_enumerated(acceptances):
    law = theory.tokens_law(acceptances)
    assert law == pytest.approx(enumerated(acceptances), abs=1e-12)
    assert theory.expected_tokens(acceptances) == pytest.approx(law @ np.arange(1, law.size + 1))


def test_rounds_drawn_at_random_have_these_tokens():
    """100,000 rounds, within five standard errors of the mean."""
    acceptances, rng = np.array([0.9, 0.6, 0.7, 0.2]), np.random.default_rng(3)
    kept = rng.random((100_000, 4)) < acceptances
    tokens = 1 + np.cumprod(kept, axis=1).sum(axis=1)
    law = theory.tokens_law(acceptances)
    error = math.sqrt(law @ np.arange(1, 6) ** 2 - theory.expected_tokens(acceptances) ** 2) / math.sqrt(100_000)
    assert abs(tokens.mean() - theory.expected_tokens(acceptances)) < 5 * error
    assert np.bincount(tokens, minlength=6)[1:] / 100_000 == pytest.approx(law, abs=0.01)


def test_rounds_of_the_rule_yield_these_tokens():
    """50,000 rounds of `verify_many`, another law and another acceptance at each position: five standard errors."""
    rng, rounds, length, vocabulary = np.random.default_rng(5), 50_000, 4, 12
    p, q = rng.dirichlet(np.full(vocabulary, 0.5), (2, length + 1))
    drafted = np.stack([rng.choice(vocabulary, rounds, p=law) for law in q[:-1]], axis=1)
    many = [np.broadcast_to(laws, (rounds, *laws.shape)) for laws in (q[:-1], p)]
    tokens = verify_many(drafted, *many, rng.random((rounds, length)), rng.random(rounds)).emitted
    acceptances = acceptance(p[:-1], q[:-1])
    assert np.ptp(acceptances) > 0.1
    assert abs(tokens.mean() - theory.expected_tokens(acceptances)) < 5 * tokens.std() / math.sqrt(rounds)
    measured = [(tokens > i).sum() / (tokens >= i).sum() for i in range(1, length + 1)]
    assert measured == pytest.approx(acceptances, abs=0.03)


# --- properties ------------------------------------------------------------------------------------------------


@settings(max_examples=examples(100))
@given(SHARE, LENGTH)
def test_a_constant_acceptance_is_the_closed_form(a, length):
    closed = length + 1 if a == 1 else (1 - a ** (length + 1)) / (1 - a)
    assert theory.expected_tokens(a, length) == pytest.approx(closed, rel=1e-9)
    assert theory.expected_tokens(a, length) == pytest.approx(theory.expected_tokens([a] * length, length))


@settings(max_examples=examples(100))
@given(BY_POSITION, st.integers(0, 7), SHARE)
def test_tokens_rise_with_acceptance_and_length_and_have_bounds(acceptances, place, better):
    tokens = theory.expected_tokens(acceptances)
    assert 1 <= tokens <= len(acceptances) + 1 + 1e-12
    raised = list(acceptances)
    raised[place % len(raised)] = max(better, raised[place % len(raised)])
    assert theory.expected_tokens(raised) >= tokens - 1e-12
    by_length = [theory.expected_tokens(acceptances, length) for length in range(len(acceptances) + 1)]
    assert (np.diff(by_length) >= -1e-12).all()  # sums of seven and of eight terms round in another order
    survivors = theory.survival(acceptances)
    assert (np.diff(survivors) <= 0).all()


@settings(max_examples=examples(100))
@given(SHARE, LENGTH, st.floats(0.0, 2.0))
def test_arithmetic_never_falls(a, length, draft):
    assert theory.arithmetic_factor(a, length, draft) >= 1


@settings(max_examples=examples(50))
@given(st.floats(0.0, 1.0), st.integers(1, 10))
def test_the_implied_acceptance_gives_the_tokens_back(a, length):
    tokens = theory.expected_tokens(a, length)
    assert theory.expected_tokens(theory.implied_acceptance(tokens, length), length) == pytest.approx(tokens, abs=1e-12)


@pytest.mark.parametrize("end", [0.0, 1.0])
def test_the_implied_acceptance_of_the_ends(end):
    assert theory.implied_acceptance(theory.expected_tokens(end, 3), 3) == pytest.approx(end, abs=1e-12)


# --- what a pass costs -----------------------------------------------------------------------------------------

ROWS = [1.0, 1.29, 1.34, 1.34, 1.42]


def test_costs_by_rows_are_a_number_a_sequence_or_a_function():
    assert theory.round_cost(3, 0.1, 1.5) == pytest.approx(0.3 + 1.5)
    assert theory.round_cost(3, 0.1, ROWS) == theory.round_cost(3, 0.1, np.array(ROWS)) == pytest.approx(0.3 + 1.34)
    assert theory.round_cost(3, 0.1, lambda rows: rows / 2) == pytest.approx(0.3 + 2)
    assert theory.round_cost(0, 0.1, 1.5) == 1.0  # a plain step, whatever a verifying pass costs
    assert theory.speedup([0.8, 0.6], 2, 0.2, ROWS) == pytest.approx((1 + 0.8 + 0.48) / (0.4 + 1.34))


@settings(max_examples=examples(40))
@given(
    st.lists(SHARE, min_size=4, max_size=4), st.floats(0.0, 1.0), st.lists(st.floats(0.5, 3.0), min_size=5, max_size=5)
)
def test_the_best_length_is_the_best_of_all_and_the_shortest_of_equals(acceptances, draft, rows):
    speeds = [theory.speedup(acceptances, length, draft, rows) for length in range(5)]
    assert theory.best_length(acceptances, draft, rows) == speeds.index(max(speeds))


def test_the_best_length_ends_where_what_is_known_ends():
    assert theory.best_length(1.0, 0.0) == theory.LONGEST_DRAFT
    assert theory.best_length([1.0] * 3, 0.0) == 3
    assert theory.best_length(1.0, 0.0, [1.0] * 5) == 4
    assert theory.best_length([1.0] * 3, 0.0, [1.0] * 3) == 2
    assert theory.best_length(1.0, 0.0, longest=9) == 9
    assert theory.best_length(0.8, 0.0, 3.0) == theory.LONGEST_DRAFT  # up to five tokens for three steps
    assert theory.best_length(0.8, 0.0, 5.0) == 0
    assert theory.best_length(0.2, 0.5) == 0


def test_rows_that_cost_shorten_the_draft():
    """Where a pass grows by a tenth for each row, eight drafted tokens are too many."""
    assert theory.best_length(0.8, 0.05, lambda rows: 1 + 0.1 * (rows - 1)) < theory.best_length(0.8, 0.05)


# --- published curves ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "first", "misses"),
    [
        ("v4-pro-thinking", [0.79, 0.61, 0.46, 0.23], {3: 0.17, 8: 0.62}),
        ("v4-pro", [0.92, 0.75, 0.52], {3: 0.19, 8: 1.12}),
    ],
)
def test_v4_pros_curve_is_not_that_of_one_acceptance(key, first, misses):
    """The i.i.d. formula with the first position's acceptance, against what was measured (InferenceX, 2026-06-26)."""
    curve = CATALOG.curves[key].accepted_lengths
    found = theory.conditional(curve)
    assert found[: len(first)].round(2).tolist() == first
    assert (np.diff(found[:4]) < -0.1).all()
    for length, miss in misses.items():
        predicted = theory.expected_tokens(found[0], length)
        assert predicted / curve[length - 1] - 1 == pytest.approx(miss, abs=0.005)


FULL = [key for key, curve in CATALOG.curves.items() if curve.draft_lengths == tuple(range(1, 9))]


@pytest.mark.parametrize("key", FULL)
def test_acceptance_by_position_predicts_the_measured_curve(key):
    """Within 2% of what was measured as far as the curve is a possible one; within 9% where noise makes it fall."""
    curve = np.array(CATALOG.curves[key].accepted_lengths)
    found = theory.conditional(curve)
    predicted = np.array([theory.expected_tokens(found, length) for length in range(1, 9)])
    assert ((found >= 0) & (found <= 1)).all()
    missed = np.abs(predicted / curve - 1)
    steps = np.diff(curve, prepend=1.0)
    possible = np.cumprod((steps >= 0) & (np.diff(steps, prepend=1.0) <= 1e-9)) > 0
    assert possible[:3].all()
    assert missed[possible].max() < 0.02
    assert missed.max() < 0.09


def test_most_published_curves_are_there():
    assert len(FULL) == 8


def test_mimos_rounds_cost_the_same_whatever_is_accepted():
    """Table 10 of MiMo-V2-Flash: at each batch the accepted length by the speed-up is one number of plain steps."""
    rows = [each for key, each in CATALOG.speedups.items() if key.startswith("mimo-v2-flash-")]
    costs = np.array([[each.accepted_length / s for s in each.speedups] for each in rows])  # [lengths, batches]
    assert costs.shape == (6, 5)
    assert costs.mean(axis=0).round(2).tolist() == [1.51, 1.54, 1.42, 1.41, 1.54]
    assert np.ptp(costs, axis=0).max() < 0.01
    constants = [theory.implied_acceptance(each.accepted_length, 3) for each in rows]
    assert np.round(constants, 3).tolist() == [0.765, 0.811, 0.853, 0.893, 0.930, 0.966]
    for each, a in zip(rows, constants, strict=True):
        assert theory.speedup(a, 3, 0.0, costs[:, 0].mean()) == pytest.approx(each.speedups[0], abs=0.01)


def test_deepseeks_second_token():
    """85 to 90% accepted and 1.8 times the speed: a round of 1.03 to 1.06 plain steps (V3 report sec. 5.4.3)."""
    shares, gain = CATALOG.positions["deepseek-v3"], CATALOG.speedups["deepseek-v3"].speedups[0]
    costs = [theory.expected_tokens([a]) / gain for a in (*shares.acceptance, *shares.highest)]
    assert costs == pytest.approx([1.028, 1.056], abs=1e-3)


# --- noisy curves ----------------------------------------------------------------------------------------------


@settings(max_examples=examples(100))
@given(BY_POSITION)
def test_a_possible_curve_comes_back(acceptances):
    curve = [theory.expected_tokens(acceptances, length) for length in range(1, len(acceptances) + 1)]
    found = theory.conditional(curve)
    again = [theory.expected_tokens(found, length) for length in range(1, len(acceptances) + 1)]
    assert again == pytest.approx(curve, abs=1e-12)
    survivors = theory.survival(acceptances)
    sure = np.concatenate([[1.0], survivors[:-1]]) > 1e-6  # a share of almost nothing is lost in rounding
    assert found[sure] == pytest.approx(np.array(acceptances)[sure], abs=1e-6)


def test_noise_is_shared_out():
    """Steps .5 .1 .3 -.1: .1 and .3 become their mean, and what falls adds nothing."""
    found = theory.conditional([1.5, 1.6, 1.9, 1.8], noise=0.07)
    assert found == pytest.approx([0.5, 0.4, 1.0, 0.0])
    assert theory.conditional([1.0, 1.0]).tolist() == [0.0, 0.0]


@settings(max_examples=examples(50))
@given(st.lists(st.floats(-0.3, 1.0), min_size=1, max_size=7))
def test_no_possible_steps_are_nearer(steps):
    """The fit is the least-squares one: no small move to other possible steps comes nearer."""
    found = np.clip(theory._falling(np.array(steps)), 0, 1)

    def far(values):
        return ((np.array(values) - steps) ** 2).sum()

    rng = np.random.default_rng(len(steps))
    for _ in range(30):
        other = np.sort(np.clip(found + rng.normal(0, 0.05, found.size), 0, 1))[::-1]
        assert far(other) >= far(found) - 1e-12


@pytest.mark.parametrize(
    ("curve", "words"),
    [
        ([], "one number for each draft length"),
        (1.8, "one number for each draft length"),
        ([2.1], "accepted length 2.1 at 1 drafted should be between 1 and 2"),
        ([0.9], "accepted length 0.9 at 1 drafted"),
        ([1.8, math.nan], "accepted length nan at 2 drafted"),
        ([1.9, 1.2], "at 2 drafted the nearest curve that does misses by 58%"),
        ([1.1, 3.0], "should rise ever more slowly"),
    ],
)
def test_curves_that_no_drafter_has(curve, words):
    with pytest.raises(ValueError, match=words):
        theory.conditional(curve)


# --- bad input -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: theory.expected_tokens(1.1, 3), "acceptance = 1.1 should be between 0 and 1"),
        (lambda: theory.expected_tokens(-0.1, 3), "acceptance = -0.1"),
        (lambda: theory.expected_tokens(math.nan, 3), "acceptance = nan"),
        (lambda: theory.expected_tokens([0.5, 1.5]), r"acceptance = \[0.5, 1.5\]"),
        (lambda: theory.expected_tokens([[0.5]]), r"acceptance of shape \(1, 1\)"),
        (lambda: theory.expected_tokens(0.5), "needs a length"),
        (lambda: theory.expected_tokens(0.5, -1), "length = -1 should be at least 0"),
        (lambda: theory.expected_tokens(0.5, 1.5), "length = 1.5 should be a whole number"),
        (lambda: theory.expected_tokens([0.5, 0.4], 3), "length = 3 is more than the 2 positions"),
        (lambda: theory.speedup(0.5, 3, -0.1), "draft_cost = -0.1"),
        (lambda: theory.speedup(0.5, 3, math.inf), "draft_cost = inf"),
        (lambda: theory.speedup(0.5, 3, 0.1, 0.0), "verify_cost = 0.0 of 4 rows should be above 0"),
        (lambda: theory.speedup(0.5, 3, 0.1, math.nan), "verify_cost = nan of 4 rows"),
        (lambda: theory.speedup(0.5, 3, 0.1, lambda rows: -rows), "verify_cost = -4.0 of 4 rows"),
        (lambda: theory.speedup(0.5, 3, 0.1, [1.0, 1.1]), "verify_cost ends at 2 rows, the pass has 4"),
        (lambda: theory.arithmetic_factor(0.5, 3, -1.0), "draft_flops = -1.0"),
        (lambda: theory.best_length([0.5], 0.1, longest=2), "length = 2 is more than the 1 positions"),
        (lambda: theory.best_length(0.5, 0.1, longest=-1), "length = -1"),
        (lambda: theory.implied_acceptance(4.5, 3), "accepted length 4.5 at 3 drafted should be between 1 and 4"),
        (lambda: theory.implied_acceptance(1.5, 0), "length = 0 should be at least 1"),
        (lambda: theory.round_cost(-1, 0.1), "length = -1"),
    ],
)
def test_refused(call, words):
    with pytest.raises(ValueError, match=words):
        call()
