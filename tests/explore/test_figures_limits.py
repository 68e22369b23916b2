"""Figures of the chapter `limits`: what they show is what the package computes, and what lists ask."""

import figures
import numpy as np
import pytest

from costlab import explore, levers, limits, prices
from costlab.explore import limits as shown


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        *(("floors_and_prices", {"listed": each}) for each in explore.PRICE_LISTS),
        ("floors_and_prices", {"kind": "miss", "context": explore.FLOOR_CONTEXTS[0]}),
        ("floors_and_prices", {"context": explore.FLOOR_CONTEXTS[-1]}),
        *(("from_floor_to_price", {"listed": each}) for each in explore.PRICE_LISTS),
        ("from_floor_to_price", {"chip": "gb200"}),
        *(("sparser_models", {"experts": each}) for each in explore.EXPERT_COUNTS),
        ("sparser_models", {"visits": 6}),
        ("sparser_models", {"visits": 1, "experts": explore.EXPERT_COUNTS[-1], "context": explore.FLOOR_CONTEXTS[-1]}),
        ("sparser_models", {"visits": 1, "context": explore.FLOOR_CONTEXTS[0]}),
        ("joule_scale", {}),
    ],
)
def test_drawn(name, arguments):
    figures.check(getattr(explore, name)(**arguments))


@pytest.mark.parametrize(
    ("name", "arguments", "words"),
    [
        ("floors_and_prices", {"listed": "GPT-9"}, "listed = 'GPT-9' should be one of V4-Pro, June"),
        ("floors_and_prices", {"kind": "hit"}, "unknown kind of token 'hit'"),
        ("floors_and_prices", {"context": 7}, "context = 7 should be one of"),
        ("from_floor_to_price", {"listed": ""}, "listed = '' should be one of"),
        ("from_floor_to_price", {"chip": "tpu"}, "unknown chip 'tpu'"),
        ("sparser_models", {"visits": 7}, "visits = 7 should be from 1 to 6"),
        ("sparser_models", {"experts": 400}, "experts = 400 should be one of"),
        ("sparser_models", {"context": 0}, "context = 0 should be one of"),
    ],
)
def test_bad_input(name, arguments, words):
    with pytest.raises(ValueError, match=words):
        getattr(explore, name)(**arguments)


def test_each_chips_highest_floor_stands_under_the_figure():
    *floors, price, most, least = figures.numbers(explore.floors_and_prices(context=8192))
    row = prices.price_at("deepseek-v4-pro", "2026-11-24T16:00", input_tokens=8192)
    assert price == row.output
    assert most == pytest.approx(price / min(floors))
    assert least == pytest.approx(price / max(floors))
    rented = {
        key: limits.token_floor("deepseek-v4-pro", key, "decode", 8192).per_million(levers.rent(key).value)
        for key in shown.rented_floors("deepseek-v4-pro", 8192)
    }
    assert floors == pytest.approx(sorted(rented.values()))
    assert len(rented) == 10


def test_bars_reach_from_the_floor_to_the_cost():
    axes = figures.axes_of(explore.from_floor_to_price, "V4-Pro, June")
    found = limits.standing("deepseek-v4-pro", when="2026-06-01")
    for place, kind in enumerate(levers.KINDS):
        bars = [bar for bar in axes.patches if round(bar.get_y() + bar.get_height() / 2) == place]
        assert min(bar.get_x() for bar in bars) == pytest.approx(found.floors[kind])
        assert max(bar.get_x() + bar.get_width() for bar in bars) == pytest.approx(found.costs[kind])
    assert [line.get_xdata()[0] for line in axes.lines] == pytest.approx([found.paid[kind] for kind in levers.KINDS])


def test_a_sparser_models_curve_is_its_steps_over_v4_pros():
    """Drawn between batches that were computed; there it is exact."""
    batches, ratios = figures.lines(explore.sparser_models, 3, 384, 8192)[1]
    own, other = shown.sparse_curve(6, 384, 8192), shown.sparse_curve(3, 384, 8192)
    for place in (0, len(batches) // 2, -1):
        wanted = other.costs[list(other.batches).index(batches[place])] / own.at(batches[place])
        assert ratios[place] == pytest.approx(wanted)
    assert ratios[np.searchsorted(batches, 4096)] == pytest.approx(1, abs=1e-3)
    assert figures.numbers(explore.sparser_models(6, 384, 8192))[-3:] == pytest.approx([1, 1, 1])


def test_the_scale_climbs_from_a_bit_to_a_request():
    marks = list(shown.joule_marks().values())
    assert marks == sorted(marks)
    assert figures.numbers(explore.joule_scale()) == pytest.approx(marks)
