"""Figures of the chapter `levers` over all orders of the levers, the map of the chapters, and predicted prices."""

import itertools
import math
import re

import figures
import numpy as np
import pytest
from live_book import REPOSITORY

from costlab import arch, catalog, explore, levers, prices
from costlab.explore import levers as falls
from costlab.explore import levers_map, levers_shares
from costlab.explore.levers_map import GROUPS
from costlab.levers import KINDS

FLASH = "deepseek-v4.1-flash"  # seven levers: half the sets of the others


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        *(("shapley_shares", {"kind": kind}) for kind in explore.PRICED),
        ("shapley_shares", {"model": FLASH, "kind": "request"}),
        *(("lever_pairs", {"kind": kind}) for kind in explore.PRICED),
        ("lever_pairs", {"model": FLASH, "kind": "hit"}),
        ("factors_map", {}),
        ("predicted_prices", {}),
    ],
)
def test_drawn(name, arguments):
    figures.check(getattr(explore, name)(**arguments))


@pytest.mark.parametrize(
    ("name", "arguments", "words"),
    [
        ("shapley_shares", {"kind": "write"}, "unknown kind of token 'write'"),
        ("shapley_shares", {"model": "gpt-2"}, "unknown model 'gpt-2'"),
        ("lever_pairs", {"kind": "all"}, "unknown kind of token 'all'"),
        ("lever_pairs", {"model": "kimi-k2"}, "unknown model 'kimi-k2'"),
    ],
)
def test_bad_input(name, arguments, words):
    with pytest.raises(ValueError, match=words):
        getattr(explore, name)(**arguments)


# --- shares ------------------------------------------------------------------------------------------------------


def test_shares_are_those_of_the_waterfall():
    found = levers.waterfall(FLASH)
    for kind in KINDS:
        assert np.log(list(explore_factors(kind).values())) == pytest.approx(list(found.shares[kind].values()))
    for pair, log in found.pairs["miss"].items():
        assert levers_shares.pair_factors(FLASH, "miss")[pair] == pytest.approx(math.exp(log))


def explore_factors(priced):
    return levers_shares.lever_factors(FLASH, priced)


def test_a_request_s_shares_are_the_mean_over_all_orders():
    """Against the definition: what each lever divides the bill by when its turn comes, over all 5,040 orders."""
    worths = levers_shares.set_worths(FLASH)["request"]
    names = list(explore_factors("request"))
    total = dict.fromkeys(names, 0.0)
    orders = list(itertools.permutations(names))
    for order in orders:
        for place, name in enumerate(order):
            total[name] += worths[frozenset(order[: place + 1])] - worths[frozenset(order[:place])]
    means = {name: math.exp(each / len(orders)) for name, each in total.items()}
    assert explore_factors("request") == pytest.approx(means)
    costs = falls.rung_costs(FLASH, "request", falls.usual_rate())
    assert math.prod(means.values()) == pytest.approx(costs[0] / costs[-1])


def test_bars_are_both_accounts_and_hollow_where_dearer():
    bars = figures.axes_of(explore.shapley_shares, FLASH, "miss").patches
    fair = levers_shares.lever_factors(FLASH, "miss")
    costs = falls.rung_costs(FLASH, "miss", falls.usual_rate())
    told = costs[:-1] / costs[1:]
    drawn = [1 + bar.get_width() for bar in bars]
    assert drawn[::2] == pytest.approx(list(fair.values())) and drawn[1::2] == pytest.approx(told)
    assert [bar.get_facecolor()[3] == 0 for bar in bars] == [factor < 1 for factor in drawn]
    assert any(factor < 1 for factor in drawn)


def test_the_strongest_pairs_are_on_top():
    bars = figures.axes_of(explore.lever_pairs, FLASH, "output").patches
    strength = [abs(math.log(1 + bar.get_width())) for bar in bars]
    assert strength == sorted(strength, reverse=True)
    rest = [abs(math.log(f)) for f in levers_shares.pair_factors(FLASH, "output").values()]
    assert strength == pytest.approx(sorted(rest, reverse=True)[: len(strength)])


# --- the map -----------------------------------------------------------------------------------------------------


def test_bold_factors_multiply_to_all():
    factors = levers_map.chapter_factors()
    own = [each for group in GROUPS.values() for each in group if each.levers]
    assert math.prod(factors[each.slug] for each in own) == pytest.approx(factors["levers"])
    assert sorted(name for each in own for name in each.levers) == sorted(levers.LEVERS)
    costs = falls.rung_costs("deepseek-v4-pro", "request", falls.usual_rate())
    assert factors["levers"] == pytest.approx(costs[0] / costs[-1])


def test_every_chapter_is_on_the_map_once():
    slugs = [each.slug for group in GROUPS.values() for each in group]
    toc = (REPOSITORY / "_toc.yml").read_text()
    numbered = toc[toc.index("numbered:") : toc.index("After the chapters")]
    assert sorted(slugs) == sorted(re.findall(r"file: book/([a-z]+)$", numbered, re.M))


def test_what_stands_beside_the_product_is_what_it_says():
    kind = catalog.tables().traffic["coding"]
    load = prices.Workload(kind.input, kind.output, round(kind.input * kind.hit_rate) / kind.input)
    first, later = (prices.bill("deepseek-v4-pro", load, day).total for day in ("2026-04-24", prices.LESSON_DAY))
    assert levers_map.list_cut() == pytest.approx(first / later)
    pro = levers.served("deepseek-v4-pro")
    whole = kind.input + kind.output
    kept = arch.load("deepseek-v4-pro").kv_bytes(whole)
    new = whole - round(kind.input * kind.hit_rate)
    stored = float(kept.growing) * new / whole + float(kept.fixed)  # bytes that a request adds
    per_hour = catalog.tables().media["dram"].price_usd / 2**30 - pro.inputs()["storage"].value / 1e9
    more = stored * per_hour * pro.inputs()["kept"].value  # dollars of a request, by hand
    bill = float(levers.token_costs(pro).bill)
    assert levers_map.memory_over_ssd() == pytest.approx((bill + more) / bill, rel=1e-6)


# --- predictions -------------------------------------------------------------------------------------------------


def test_points_are_the_predictions_and_misses_have_rings():
    found = levers.predictions()
    lines = figures.axes_of(explore.predicted_prices).lines
    points = {tuple(np.ravel(line.get_data())) for line in lines if line.get_fillstyle() == "full"}
    rings = {tuple(np.ravel(line.get_data())) for line in lines if line.get_fillstyle() == "none"}
    every = {(each.found.listed[k], each.predicted[k]): each.within(k) for each in found.predicted for k in KINDS}
    assert set(every) <= points and rings == {point for point, within in every.items() if not within}
    note = explore.predicted_prices().words.note
    assert all(each.found.row.product in note for each in found.missed)
    assert len(figures.numbers(explore.predicted_prices())) == 5
