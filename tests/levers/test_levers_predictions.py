"""Predicted list prices: what is fitted is kept apart from what is predicted, and every prediction is shown."""

import itertools
import math
from datetime import date

import pytest
from effort import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from costlab import catalog, levers
from costlab.catalog import PriceRow
from costlab.catalog.price_lists import start_of
from costlab.levers.predicting import FITTED_ON, GUESSES, HIT_CUT, ListedCost, Prediction, Predictions, model_costs

KINDS = levers.KINDS
FITS = {"as set at first": levers.predictions, "before the cuts": lambda: levers.predictions(before=HIT_CUT)}
AMOUNT = st.floats(1e-3, 1e2)


def three(amounts):
    return dict(zip(KINDS, amounts, strict=True))


def listed(product, costs, times):
    """A product whose list is a factor of its cost, by kind."""
    amounts = {kind: costs[kind] * factor for kind, factor in three(times).items()}
    day = date(2026, 1, 1)
    row = PriceRow(product, "A", "USD", amounts["miss"], amounts["output"], day, "a list", day, hit=amounts["hit"])
    return ListedCost(row, f"{product}-1", amounts, costs)


@pytest.mark.parametrize("name", FITS)
def test_fitted_and_predicted_share_no_product_company_or_family(name):
    found = FITS[name]()
    for what in ("company", "family", "model"):
        fitted = {getattr(each, what) for each in found.fitted}
        assert not fitted & {getattr(each.found, what) for each in found.predicted}, what
    assert not {each.row.product for each in found.fitted} & {each.found.row.product for each in found.predicted}
    assert {each.company for each in found.fitted} == set(FITTED_ON)


def test_what_is_fitted_was_listed_before_the_lessons_day():
    for before, found in ((date(2026, 6, 1), levers.predictions()), (HIT_CUT, levers.predictions(before=HIT_CUT))):
        assert max(start_of(each.row.valid_from).date() for each in found.fitted) < before


def test_every_product_of_another_company_is_predicted():
    """From the catalog's rows: who sells a known model in dollars and prices hits stands in the table, once."""
    wanted = {
        row.product
        for row in catalog.tables().prices
        if (row.published_by, row.currency) == ("provider", "USD") and row.provider not in FITTED_ON
        if row.model and row.hit is not None and not row.host_of
    }
    found = levers.predictions()
    assert sorted(each.found.row.product for each in found.predicted) == sorted(wanted)
    assert len(wanted) >= 6
    rows = found.table().rows
    assert [row["product"] for row in rows] == [each.found.row.product for each in found.predicted]
    missed = {each.found.row.product for each in found.missed}
    assert {row["product"] for row in rows if row["misses"] != "none"} == missed
    assert missed | set(found.all_within) == wanted


def test_the_newest_list_is_predicted():
    newest = {each.found.row.product: each.found.row for each in levers.predictions().predicted}
    assert newest["minimax-m3"].miss == 0.3  # halved for good in July
    assert newest["mistral-large-4"].output == 2.1  # doubled, and cut back
    assert newest["glm-5.3-flash"].miss == 0.15  # not the promotion


def test_each_list_is_predicted_by_strangers_alone():
    every = levers.listed_costs()
    found = levers.cross_validation().predicted
    assert [each.found for each in found] == list(every)
    for each in found[::7]:
        rest = [o for o in every if o.company != each.found.company and o.family != each.found.family]
        assert each.predicted == levers.markup(rest).price(each.found.costs)


def test_a_forecast_knows_no_later_list():
    """Moonshot's first forecast rests on DeepSeek's lists of that day: V3 and R1, by day and by night."""
    first = next(each for each in levers.forecasts().predicted if each.found.row.product == "kimi-k2")
    then = [e for e in levers.listed_costs() if e.row.product in ("deepseek-v3", "deepseek-r1") and e.row.window]
    assert len(then) == 4
    assert first.predicted == pytest.approx(levers.markup(then).price(first.found.costs))


def test_a_markup_is_the_geometric_mean_of_products():
    costs = three((1.0, 2.0, 4.0))
    a, b = listed("a", costs, (2.0, 2.0, 2.0)), listed("b", costs, (8.0, 8.0, 8.0))
    assert levers.markup([a, b]).times == pytest.approx(three((4.0, 4.0, 4.0)))
    again = listed("a", costs, (2.0, 2.0, 2.0))
    assert levers.markup([a, again, b]).times == pytest.approx(three((4.0, 4.0, 4.0)))  # a product counts once
    assert levers.markup([a, b]).table().rows[-1]["miss, list over cost"] == pytest.approx(4.0)


@settings(max_examples=examples(60))
@given(st.lists(st.tuples(AMOUNT, AMOUNT, AMOUNT), min_size=2, max_size=6), st.tuples(AMOUNT, AMOUNT, AMOUNT), AMOUNT)
def test_one_markup_for_all_predicts_exactly_and_the_unit_of_cost_does_not_matter(costs, times, unit):
    rows = [listed(f"p{chr(97 + i)}", three(each), times) for i, each in enumerate(costs)]
    assert levers.markup(rows[:-1]).price(rows[-1].costs) == pytest.approx(rows[-1].listed)
    other = [ListedCost(e.row, e.model, e.listed, {k: unit * cost for k, cost in e.costs.items()}) for e in rows]
    assert levers.markup(other[:-1]).price(other[-1].costs) == pytest.approx(rows[-1].listed)


@settings(max_examples=examples(60))
@given(st.lists(st.floats(0.1, 10.0), min_size=2, max_size=9))
def test_shares_count_what_lies_within(factors):
    each = listed("a", three((1.0, 1.0, 1.0)), (1.0, 1.0, 1.0))
    found = Predictions(tuple(Prediction(each, three((f, f, f))) for f in factors), (), "made up")
    off = sorted(max(f, 1 / f) for f in factors)
    assert found.share_within("miss", 3.0) == pytest.approx(sum(f <= 3 for f in off) / len(off), abs=1e-9)
    assert off[0] * (1 - 1e-9) <= found.typical_factor("hit") <= off[-1] * (1 + 1e-9)


def test_twice_and_half_are_within():
    found = Prediction(listed("a", three((1.0, 1.0, 1.0)), (1.0, 1.0, 1.0)), three((2.0, 0.5, 2.01)))
    assert found.missed == ("output",)


def test_guesses_know_no_cost():
    found = levers.predictions()
    same = GUESSES["median list of the fitted"](found)
    assert len({tuple(each.predicted.values()) for each in same}) == 1
    pairs = list(itertools.permutations(found.predicted, 2))
    assert len(GUESSES["predictions exchanged"](found)) == len(pairs)
    inside = [abs(math.log(b.predicted["miss"] / a.found.listed["miss"])) <= math.log(2) for a, b in pairs]
    row = next(row for row in found.compared().rows if row["prediction"] == "predictions exchanged")
    assert row["miss, share within"] == pytest.approx(sum(inside) / len(inside))


def test_hits_as_a_share_of_misses_change_hits_alone():
    found = levers.predictions()
    for guess, own in zip(GUESSES["hits as a share of misses"](found), found.predicted, strict=True):
        assert (guess.predicted["miss"], guess.predicted["output"]) == (own.predicted["miss"], own.predicted["output"])


def test_costs_predict_misses_and_output_better_than_guesses_do():
    """In the fit that was set first: better than one price for all, than parameters, than prices exchanged."""
    rows = {row["prediction"]: row for row in levers.predictions().compared().rows}
    for kind in ("miss", "output"):
        for guess in ("median list of the fitted", "by active parameters", "predictions exchanged"):
            assert rows["cost with a markup"][f"{kind}, share within"] > rows[guess][f"{kind}, share within"]


def test_costs_are_the_mean_over_the_kinds_of_use():
    one = [model_costs("glm-5", traffic) for traffic in catalog.tables().traffic]
    for kind in KINDS:
        product = math.prod(each[kind] for each in one)
        assert model_costs("glm-5")[kind] == pytest.approx(product ** (1 / len(one)))


def test_each_fit_has_its_line():
    rows = {row["fit"]: row for row in levers.choices_compared().rows}
    first = levers.predictions()
    assert rows["as set at first"]["miss, within"] == sum(each.within("miss") for each in first.predicted)
    assert rows["as set at first"]["lists"] == rows["as set at first"]["products"] == len(first.predicted)
    assert rows["all other companies"]["lists"] == len(levers.listed_costs())


def test_bad_input():
    with pytest.raises(ValueError, match=r"rows = \[\] should be at least one list price"):
        levers.markup([])
    with pytest.raises(ValueError, match="unknown kind of use 'poetry'"):
        levers.predictions("poetry")
    with pytest.raises(ValueError, match="at least one list price"):
        levers.predictions(before=date(2020, 1, 1))
