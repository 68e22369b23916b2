"""Routing of tasks: closed forms against simulation, break-evens where the bill says so, bounds for any numbers."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from costlab import prompts
from costlab.prompts import Attempt, TaskKind, Verifier

RNG = np.random.default_rng(0)
CHEAP, DEAR = Attempt("small", 0.002), Attempt("large", 0.05)
SHARES = st.floats(0, 1)


@st.composite
def some_kinds(draw):
    weights = draw(st.lists(st.integers(1, 9), min_size=1, max_size=4))
    return [
        TaskKind(f"kind {i}", weight / sum(weights), draw(SHARES), draw(SHARES)) for i, weight in enumerate(weights)
    ]


KINDS = [TaskKind("easy", 0.6, 0.95, 0.99), TaskKind("hard", 0.3, 0.4, 0.9), TaskKind("very hard", 0.1, 0.05, 0.6)]


@pytest.mark.parametrize(
    "verifier", [Verifier(0.9, 0.2, 0.001), Verifier.of(0.7), Verifier(1.0, 0.0), Verifier(0.5, 0.5)]
)
def test_a_cascade_is_what_a_simulation_finds(verifier):
    """200,000 tasks, a fixed seed, 4.5 standard errors: each of the 8 figures lies beyond once in 147,000 seeds."""
    tasks = 200_000
    exact = prompts.cascade(KINDS, CHEAP, DEAR, verifier)
    drawn = prompts.simulate_cascade(KINDS, CHEAP, DEAR, verifier, tasks, np.random.default_rng(16))
    for name in ("quality", "dear_share"):
        p = getattr(exact, name)
        assert abs(getattr(drawn, name) - p) < 4.5 * math.sqrt(p * (1 - p) / tasks), name
    assert drawn.cost == pytest.approx(CHEAP.cost + verifier.cost + drawn.dear_share * DEAR.cost)
    assert exact.cost_per_solved == exact.cost / exact.quality


def test_by_hand():
    """Half easy: 8 of 10 solved by the small model, the check right 3 times of 4; the large one solves all."""
    kinds = [TaskKind("all", 1.0, 0.8, 1.0)]
    found = prompts.cascade(kinds, Attempt("s", 1.0), Attempt("l", 10.0), Verifier(0.75, 0.25, 0.5))
    kept, passed_wrong = 0.8 * 0.75, 0.2 * 0.25
    assert found.dear_share == pytest.approx(1 - kept - passed_wrong)  # 0.35
    assert found.cost == pytest.approx(1.0 + 0.5 + 3.5)
    assert found.quality == pytest.approx(0.6 + 0.35)


@given(some_kinds(), SHARES, SHARES)
def test_bounds(kinds, right, wrong):
    found = prompts.cascade(kinds, CHEAP, DEAR, Verifier(right, wrong))
    cheap, dear = prompts.always(kinds, CHEAP, "cheap"), prompts.always(kinds, DEAR, "dear")
    assert -1e-12 <= found.quality <= 1 + 1e-12
    assert CHEAP.cost - 1e-12 <= found.cost <= CHEAP.cost + DEAR.cost + 1e-12
    perfect = prompts.cascade(kinds, CHEAP, DEAR, Verifier(1.0, 0.0))
    assert perfect.quality >= max(cheap.quality, dear.quality) - 1e-12 and perfect.quality >= found.quality - 1e-12
    assert prompts.cascade(kinds, CHEAP, DEAR, Verifier(1, 1)).quality == pytest.approx(cheap.quality)
    assert prompts.cascade(kinds, CHEAP, DEAR, Verifier(0, 0)).quality == pytest.approx(dear.quality)


@given(some_kinds(), st.floats(0, 0.06), st.floats(0.001, 1.0))
def test_the_break_even_splits_the_checks_that_pay(kinds, check_cost, dear_cost):
    """Below it a solved task costs at least as much as with the dear model alone, above it at most."""
    dear = Attempt("large", dear_cost)
    alone = prompts.always(kinds, dear, "dear").cost_per_solved
    even = prompts.break_even_accuracy(kinds, CHEAP, dear, check_cost)
    for accuracy in np.linspace(0, 1, 11):
        tried = prompts.cascade(kinds, CHEAP, dear, Verifier.of(accuracy, check_cost)).cost_per_solved
        if even is None:
            assert accuracy < 1 or tried >= alone * (1 - 1e-6)
        elif accuracy < even - 1e-9:
            assert tried >= alone * (1 - 1e-6)
        elif accuracy > even + 1e-9:
            assert tried <= alone * (1 + 1e-6)


def test_equal_quality_asks_for_a_better_check_than_equal_money():
    money = prompts.break_even_accuracy(KINDS, CHEAP, DEAR)
    quality = prompts.equal_quality_accuracy(KINDS, CHEAP, DEAR)
    assert money is not None and quality is not None and 0 <= money < quality < 1
    at = prompts.cascade(KINDS, CHEAP, DEAR, Verifier.of(quality))
    assert at.quality == pytest.approx(prompts.always(KINDS, DEAR, "dear").quality)
    assert prompts.break_even_accuracy(KINDS, Attempt("as dear", 0.05), DEAR) is None


def test_a_threshold_gives_each_kind_to_one_model():
    ways = [prompts.threshold(KINDS, CHEAP, DEAR, hardest) for hardest in (0.0, 0.9, 2.0)]
    assert [way.dear_share for way in ways] == pytest.approx([0.0, 0.4, 1.0])
    assert ways[0].quality == pytest.approx(prompts.always(KINDS, CHEAP, "cheap").quality)
    assert ways[2].quality == pytest.approx(prompts.always(KINDS, DEAR, "dear").quality)
    assert ways[1].quality == pytest.approx(0.6 * 0.95 + 0.3 * 0.9 + 0.1 * 0.6)
    assert ways[1].cost == pytest.approx(0.6 * 0.002 + 0.4 * 0.05)


def test_the_cheapest_way_at_a_quality():
    ways = [
        prompts.always(KINDS, CHEAP, "cheap"),
        prompts.always(KINDS, DEAR, "dear"),
        prompts.cascade(KINDS, CHEAP, DEAR, Verifier.of(0.95)),
    ]
    assert prompts.cheapest(ways, 0.5) is ways[0]
    assert prompts.cheapest(ways, 0.85) is ways[2]
    with pytest.raises(ValueError, match=r"quality = 0\.999 is reached by no way; the best solves 0\.9"):
        prompts.cheapest(ways, 0.999)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: TaskKind("a", 1.5, 0, 0), r"share = 1\.5"),
        (lambda: TaskKind("a", 1.0, float("nan"), 0), "cheap = nan"),
        (lambda: Attempt("a", -1.0), r"cost = -1\.0"),
        (lambda: Verifier(0.5, 2.0), r"passes_wrong = 2\.0"),
        (lambda: Verifier(0.5, 0.5, float("inf")), "cost = inf"),
        (lambda: prompts.cascade(KINDS[:1], CHEAP, DEAR, Verifier.of(0.9)), r"should sum to 1, they sum to 0\.6"),
        (lambda: prompts.always(KINDS, CHEAP, "large"), "model = 'large'"),
        (lambda: prompts.threshold(KINDS, CHEAP, DEAR, float("nan")), "hardest = nan"),
        (
            lambda: prompts.simulate_cascade(KINDS, CHEAP, DEAR, Verifier.of(1), 0, np.random.default_rng(0)),
            "tasks = 0",
        ),
    ],
)
def test_bad_numbers_are_refused(call, says):
    with pytest.raises(ValueError, match=says):
        call()
