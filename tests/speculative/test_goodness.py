"""The chi-square test beside tables and torch, its level and power beside counts of runs, and what it refuses."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from costlab.speculative import chi_square, power
from costlab.speculative.goodness import chi_square_tail, critical


@given(st.integers(1, 3000), st.floats(0.01, 4))
def test_the_tail_is_torchs_incomplete_gamma_function(freedom: int, ratio: float) -> None:
    value = ratio * freedom
    half = torch.tensor([freedom / 2, value / 2], dtype=torch.float64)
    assert chi_square_tail(value, freedom) == pytest.approx(float(torch.special.gammaincc(*half)), rel=1e-7, abs=1e-12)


@pytest.mark.parametrize(("freedom", "value"), [(1, 10.828), (2, 13.816), (10, 29.588), (30, 59.703), (100, 149.449)])
def test_critical_values_are_those_of_printed_tables(freedom: int, value: float) -> None:
    """NIST/SEMATECH e-Handbook of Statistical Methods, 1.3.6.7.4, upper-tail probability .001."""
    assert critical(0.001, freedom) == pytest.approx(value, abs=6e-4)


def test_one_degree_of_freedom_is_a_shifted_normal_squared() -> None:
    """The noncentral tail in closed form: both tails of a normal variable of mean sqrt(shift)."""
    for value in (0.5, 4.0, 30.0):
        for shift in (0.1, 3.0, 25.0):
            tails = [0.5 * math.erfc((math.sqrt(value) + s * math.sqrt(shift)) / math.sqrt(2)) for s in (1, -1)]
            assert chi_square_tail(value, 1, shift) == pytest.approx(sum(tails), abs=1e-12)


def test_the_power_of_four_fifths_is_where_books_put_it() -> None:
    """J. Cohen, Statistical Power Analysis, table 7.4: w = .3, 3 degrees of freedom, level .05, .80 at 121 draws."""
    law = np.full(4, 0.25)
    wrong = law * (1 + 0.3 * np.array([1, -1, 1, -1]))
    assert power(law, wrong, 121, level=0.05) == pytest.approx(0.80, abs=0.005)


def test_power_is_the_share_of_runs_that_are_rejected() -> None:
    rng, runs = np.random.default_rng(0), 1000
    law = np.array([[0.5, 0.3, 0.2], [0.2, 0.2, 0.6]])
    wrong = np.array([[0.53, 0.28, 0.19], [0.2, 0.22, 0.58]])
    for true, expected in ((law, 0.05), (wrong, power(law, wrong, [1000, 1000], level=0.05))):
        found = [chi_square([rng.multinomial(1000, row) for row in true], law).p_value < 0.05 for _ in range(runs)]
        error = math.sqrt(expected * (1 - expected) / runs)
        assert abs(np.mean(found) - expected) < 3.5 * error + 0.01


def test_rare_outcomes_are_counted_together() -> None:
    law = [0.9, 0.06, 0.02, 0.02]  # 90, 6, 2 and 2 of 100
    found = chi_square([88, 6, 3, 3], law)
    assert found.freedom == 2
    assert found.statistic == pytest.approx(4 / 90 + 0 + 4 / 4)


def test_what_the_law_rules_out_is_proof() -> None:
    assert chi_square([99, 1], [1.0, 0.0]).p_value == 0
    assert power([1.0, 0.0], [0.9999, 0.0001], 10) == 1
    assert chi_square([100, 0], [1.0, 0.0]).p_value == 1


def test_shapes_and_laws_are_checked() -> None:
    with pytest.raises(ValueError, match=r"counts of shape \(3,\) should have the law's, \(2,\)"):
        chi_square([1, 2, 3], [0.5, 0.5])
    with pytest.raises(ValueError, match="law: a law sums to"):
        chi_square([1, 2], [0.5, 0.4])
