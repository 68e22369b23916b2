"""How far costs can be off: draws that have the law which they say, and figures moved alone between their ends."""

import math
from functools import partial

import numpy as np
import pytest
from effort import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from levers.services import service

from costlab import levers
from costlab.levers import KINDS, cost_swings, spread_of, token_costs

LOW, MODE, HIGH = 1.0, 2.0, 5.0
DRAWS = 2000


def quantile(share):
    """Of a triangular law, by its textbook form."""
    rising = (MODE - LOW) / (HIGH - LOW)
    if share < rising:
        return LOW + math.sqrt(share * (HIGH - LOW) * (MODE - LOW))
    return HIGH - math.sqrt((1 - share) * (HIGH - LOW) * (HIGH - MODE))


def off(draws, share):
    """How many standard errors the share of draws below a quantile of that law is from what it should be."""
    found = np.mean(draws < quantile(share))
    return abs(found - share) / math.sqrt(share * (1 - share) / len(draws))


def test_an_interval_holds_its_share_of_a_law_that_is_known():
    """A cost is linear in the rent: its draws are those of a triangular law; another law is told from it.

    State 2,000 draws, level 1 in 16,000 for each quantile (four standard errors); the power against draws that are
    even between the ends is shown below it.
    """
    asked = service(rent=(LOW, MODE, HIGH))
    unit = float(token_costs(asked, {"rent": 1.0}).output)
    found = spread_of(asked, np.random.default_rng(5), DRAWS)
    rents = found.drawn.output / unit
    assert np.allclose(rents, found.figures["rent"])
    assert max(off(rents, share) for share in (0.05, 0.25, 0.5, 0.75, 0.95)) < 4
    even = np.random.default_rng(5).uniform(LOW, HIGH, DRAWS)
    assert max(off(even, share) for share in (0.05, 0.25, 0.5, 0.75, 0.95)) > 4
    for share in (0.5, 0.9):
        low, high = (each / unit for each in found.interval("output", share))
        inside = np.mean((rents >= low) & (rents <= high))
        assert inside == pytest.approx(share, abs=2 / DRAWS)
        for end, at in ((low, (1 - share) / 2), (high, (1 + share) / 2)):
            # a quantile's error: that of its share, by the law's density there
            density = abs(2 * (end - (LOW if end < MODE else HIGH)))
            density /= (HIGH - LOW) * ((MODE - LOW) if end < MODE else (HIGH - MODE))
            assert end == pytest.approx(quantile(at), abs=4 * math.sqrt(at * (1 - at) / DRAWS) / density)


def test_figures_without_a_range_stay():
    found = spread_of(service(), np.random.default_rng(0), 7)
    assert not found.figures
    assert all(float(found.drawn.of(kind)) == float(found.at_values.of(kind)) for kind in KINDS)
    assert found.interval("hit") == (float(found.drawn.hit),) * 2


def test_a_seed_makes_an_answer_repeatable():
    draw = partial(spread_of, levers.served("deepseek-v4-flash"), draws=50)
    one, two, other = (draw(np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert all(np.array_equal(one.drawn.of(kind), two.drawn.of(kind)) for kind in KINDS)
    assert not np.array_equal(one.drawn.output, other.drawn.output)


def test_every_figure_that_is_a_range_is_drawn_within_it():
    asked = levers.served("deepseek-v4-flash")
    found = spread_of(asked, np.random.default_rng(0), 200)
    ranges = {name: each for name, each in asked.inputs().items() if each.is_range}
    assert found.figures.keys() == ranges.keys()
    for name, each in ranges.items():
        low, _, high = each.bounds
        assert low <= found.figures[name].min() < found.figures[name].max() <= high
    low, high = found.interval("output", 0.9)
    assert low < float(found.at_values.output) < high


@settings(max_examples=examples(60))
@given(st.data())
def test_the_ends_of_a_swing_bound_what_lies_between(data):
    """Each figure moved alone; a batch is a whole number, so that costs move in small steps."""
    asked = levers.served("deepseek-v4-flash", traffic="tools")
    kind = data.draw(st.sampled_from(KINDS))
    swings = cost_swings(asked, kind)
    swing = data.draw(st.sampled_from(swings))
    low, _, high = swing.moved.bounds
    at = data.draw(st.floats(low, high))
    cost = float(token_costs(asked, {swing.name: at}).of(kind))
    ends = sorted((swing.at_low, swing.at_high))
    assert ends[0] * 0.99 <= cost <= ends[1] * 1.01


def test_swings_are_what_the_figures_ends_cost():
    asked = service(rent=(1.0, 2.0, 5.0), utilisation=(0.4, 0.5, 0.8), kept=(1.0, 10.0, 20.0))
    found = {swing.name: swing for swing in cost_swings(asked, "output")}
    assert found.keys() == {"rent", "utilisation", "kept"}
    assert [each.name for each in cost_swings(asked, "output")] == ["rent", "utilisation", "kept"]
    plain = float(token_costs(asked).output)
    assert (found["rent"].at_low, found["rent"].at_high) == pytest.approx((0.5 * plain, 2.5 * plain))
    assert (found["utilisation"].at_low, found["utilisation"].at_high) == pytest.approx((1.25 * plain, 0.625 * plain))
    assert found["kept"].width == 0
    assert found["rent"].width >= found["utilisation"].width


def test_wide_figures_are_drawn_by_their_logarithm():
    """Ends a hundredfold apart: the logarithm has the triangular law, so half of the draws lie below its median."""
    asked = service(storage=(1e-6, 1e-5, 1e-4), kept=(1.0, 5.0, 10.0))
    figures = spread_of(asked, np.random.default_rng(3), DRAWS).figures
    logs = np.log10(figures["storage"])
    for share, at in ((0.125, -5.5), (0.5, -5.0), (0.875, -4.5)):  # an even triangle from -6 to -4
        assert abs(np.mean(logs < at) - share) < 4 * math.sqrt(share * (1 - share) / DRAWS)
    assert np.mean(figures["kept"]) == pytest.approx(16 / 3, abs=4 * 1.84 / math.sqrt(DRAWS))  # the mean of the three


@pytest.mark.parametrize("model", ["deepseek-v4-pro", "mimo-v2.5-pro", "glm-5.2", "kimi-k3"])
@pytest.mark.parametrize("traffic", ["chat", "coding"])
def test_what_is_taken_lies_within_the_interval(model, traffic):
    found = spread_of(levers.served(model, traffic=traffic), np.random.default_rng(0), 400)
    for kind in KINDS:
        low, high = found.interval(kind)
        assert low < float(found.at_values.of(kind)) < high


def test_bad_questions_are_refused():
    asked = service(rent=(1.0, 2.0, 5.0))
    found = spread_of(asked, np.random.default_rng(0), 10)
    for share in (0, 1, -0.5, math.nan):
        with pytest.raises(ValueError, match="share"):
            found.interval("hit", share)
    with pytest.raises(ValueError, match="kind of token"):
        cost_swings(asked, "cached")
    for draws in (0, -1, 1.5):
        with pytest.raises(ValueError, match="draws"):
            spread_of(asked, np.random.default_rng(0), draws)
