"""What owning costs: a published check, loans paid back year by year, closed forms, and what must hold for any."""

import math
from dataclasses import replace

import numpy as np
import pytest
from chips.purchases import ANY, DAY, figure, published
from effort import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from costlab.chips import assumption_rows, capital_charge, load_curve, purchase
from costlab.chips.owning import HOURS_PER_YEAR, PARTS

MONEY = st.floats(1e4, 1e7)
SHARE = st.floats(0, 0.99)
YEARS = st.floats(0.5, 10)
INTEREST = st.floats(0, 0.3)
ABOUT = {"rel": 1e-9}


def test_published_check():
    """310,000 USD, 11% network, 4 years at 9%, 80% of 10.2 kW, PUE 1.3, 0.09 USD/kWh, 184 USD/kW-month, 3%."""
    cost = published().hourly()
    assert cost.owned == pytest.approx(2.0890, abs=5e-5)
    assert cost.used == pytest.approx(2.6113, abs=5e-5)
    drawn_always = published(load_w=0.8 * 10_200, idle_w=0.8 * 10_200).hourly()
    assert drawn_always.owned == pytest.approx(cost.owned, **ABOUT)


def test_published_check_part_by_part():
    cost, hours = published().hourly(), 8 * 8760
    assert cost.capital + cost.interest == pytest.approx(344_100 * 0.09 / (1 - 1.09**-4) / hours, **ABOUT)
    assert cost.capital == pytest.approx(344_100 / 4 / hours, **ABOUT)
    assert cost.energy == pytest.approx(0.8 * 10.2 * 1.3 * 0.09 / 8, **ABOUT)
    assert cost.maintenance == pytest.approx(0.03 * 310_000 / hours, **ABOUT)
    assert cost.room == pytest.approx(184 * 12 * 10.2 / hours, **ABOUT)


# --- capital and interest --------------------------------------------------------------------------------------


@settings(max_examples=examples(100))
@given(MONEY, SHARE, st.integers(1, 10), INTEREST)
def test_an_annuity_repays_the_loan_but_for_the_residual(paid, share, years, interest):
    capital, interest_part = capital_charge(paid, share * paid, years, interest, "annuity")
    debt = paid
    for _ in range(years):
        debt += debt * interest - (capital + interest_part)
    assert debt == pytest.approx(share * paid, rel=1e-6, abs=1e-6 * paid)


def midpoints(life, pieces=20_000):
    return (np.arange(pieces) + 0.5) / pieces * life


@settings(max_examples=examples(40))
@given(MONEY, st.floats(0.01, 0.99), YEARS, INTEREST)
def test_interest_is_on_the_mean_value(paid, share, life, interest):
    """Against the mean of the value over 20,000 moments."""
    at = midpoints(life) / life
    for method, values in (("straight-line", 1 - (1 - share) * at), ("exponential", share**at)):
        capital, on_it = capital_charge(paid, share * paid, life, interest, method)
        assert float(on_it) == pytest.approx(interest * paid * values.mean(), rel=1e-6)
        assert float(capital) == pytest.approx(paid * (1 - share) / life)


@settings(max_examples=examples(100))
@given(MONEY, st.floats(0.01, 0.99), YEARS)
def test_without_interest_all_methods_are_a_straight_line(paid, share, life):
    for method in ("straight-line", "annuity", "exponential"):
        capital, interest = capital_charge(paid, share * paid, life, 0.0, method)
        assert float(capital) == pytest.approx((1 - share) * paid / life)
        assert float(interest) == pytest.approx(0, abs=1e-6 * paid / life)


@settings(max_examples=examples(100))
@given(MONEY, YEARS, INTEREST)
def test_a_residual_as_large_as_the_price_leaves_interest(paid, life, interest):
    for method in ("straight-line", "annuity", "exponential"):
        capital, on_it = capital_charge(paid, paid, life, interest, method)
        assert capital == 0
        assert float(on_it) == pytest.approx(interest * paid, rel=1e-7, abs=1e-9 * paid)


def test_a_tiny_interest_is_no_division_by_zero():
    plain, tiny = capital_charge(1e6, 0, 4, 0, "annuity"), capital_charge(1e6, 0, 4, 1e-13, "annuity")
    assert sum(map(float, tiny)) == pytest.approx(sum(map(float, plain)), rel=1e-10)


def test_value_never_falls_to_nothing_by_shares():
    with pytest.raises(ValueError, match="residual = 0"):
        capital_charge(1e6, 0, 4, 0.1, "exponential")
    with pytest.raises(ValueError, match="residual = 0"):
        published(method="exponential")
    with pytest.raises(ValueError, match="unknown method 'anuity'; did you mean 'annuity'"):
        capital_charge(1e6, 0, 4, 0.1, "anuity")


def test_a_decline_sets_the_residual():
    """28% a year, as of compute at a given price: after four years 0.72^4 is left."""
    falling = published(method="exponential", decline=0.28)
    same = published(method="exponential", residual=0.72**4)
    assert falling.hourly() == same.hourly()
    assert "decline" in falling.inputs() and "residual" not in falling.inputs()
    longer = float(falling.parts({"life": 8.0})["capital"])
    assert longer == pytest.approx(344_100 * (1 - 0.72**8) / 8 / 8 / 8760)


# --- the whole -------------------------------------------------------------------------------------------------


@settings(max_examples=examples(60))
@given(ANY)
def test_parts_make_the_whole(inputs):
    found = published(**inputs)
    cost = found.hourly()
    assert list(cost.parts) == list(PARTS)
    assert math.fsum(cost.parts.values()) == pytest.approx(cost.owned, **ABOUT)
    assert float(found.owned_hour()) == pytest.approx(cost.owned, **ABOUT)
    assert float(found.used_hour()) == pytest.approx(cost.used, **ABOUT)
    assert cost.used * inputs["utilisation"] == pytest.approx(cost.owned, **ABOUT)
    assert all(part >= -1e-9 for part in cost.parts.values())


@settings(max_examples=examples(60))
@given(ANY, st.floats(1.01, 3))
def test_a_price_moves_capital_interest_and_maintenance_alone(inputs, factor):
    one = published(**inputs).hourly()
    more = published(**{**inputs, "price": factor * inputs["price"]}).hourly()
    for part in ("capital", "interest", "maintenance"):
        assert getattr(more, part) == pytest.approx(factor * getattr(one, part), **ABOUT, abs=1e-9)
    assert (more.energy, more.room) == (one.energy, one.room)


@settings(max_examples=examples(60))
@given(ANY, st.sampled_from(["price", "pue", "tariff", "maintenance", "room", "interest", "idle_w"]), st.floats(0, 1))
def test_more_of_any_input_costs_no_less(inputs, name, more):
    one, other = published(**inputs), published(**{**inputs, name: inputs[name] + more * inputs[name] / 10})
    assert other.hourly().owned >= one.hourly().owned * (1 - 1e-12)


@settings(max_examples=examples(60))
@given(ANY, st.floats(0.05, 1))
def test_a_used_hour_gets_cheaper_the_more_hours_are_used(inputs, use):
    low, high = sorted((use, inputs["utilisation"]))
    few, many = (published(**{**inputs, "utilisation": each}).hourly() for each in (low, high))
    assert many.used <= few.used * (1 + 1e-12)
    assert many.owned >= few.owned * (1 - 1e-12)


@settings(max_examples=examples(30))
@given(ANY)
def test_arrays_give_what_single_numbers_give(inputs):
    found = published(**inputs)
    tariffs = np.array([0.02, 0.2])
    each = [published(**{**inputs, "tariff": t}).hourly().owned for t in tariffs]
    assert found.owned_hour({"tariff": tariffs}) == pytest.approx(each, **ABOUT)
    with pytest.raises(ValueError, match="unknown input 'tarif'; did you mean 'tariff'"):
        found.owned_hour({"tarif": 1.0})


def test_tax_is_paid_or_refunded():
    """653,113 with 13% in it: a refund leaves 577,976."""
    gross = published(price=653_113, vat=0.13, vat_recoverable=False).hourly()
    net = published(price=653_113, vat=0.13).hourly()
    assert gross.capital == pytest.approx(published(price=653_113).hourly().capital)
    assert net.capital == pytest.approx(published(price=577_976.1).hourly().capital, rel=1e-6)


def test_the_rest_of_the_server_carries_maintenance_and_the_network_does_not():
    cost = published(price=200_000, host=0.55).hourly()
    whole = published().hourly()
    assert cost.parts == pytest.approx(whole.parts)
    assert published(network=0.5).hourly().maintenance == whole.maintenance


# --- currencies ------------------------------------------------------------------------------------------------


def test_amounts_in_another_currency_need_a_dated_rate():
    yuan = figure(0.65, unit="CNY per kWh", currency="CNY")
    with pytest.raises(ValueError, match="tariff is in CNY, the answer in USD: currencies are mixed without a day"):
        published(tariff=yuan)
    rate = figure(0.14, unit="USD for one CNY", currency="CNY")
    with pytest.raises(ValueError, match=r"CNY to USD = 0\.14 should be above 0 and have its day"):
        published(tariff=yuan, rates=[replace(rate, date=None)])
    found = published(tariff=yuan, rates=[rate])
    assert found.hourly().energy == pytest.approx(published(tariff=0.65 * 0.14).hourly().energy)
    assert found.inputs()["CNY to USD"].date == DAY
    dearer = found.parts({"CNY to USD": 0.28})
    assert float(dearer["energy"]) == pytest.approx(2 * found.hourly().energy)


@pytest.mark.parametrize("currency", ["USD", "CNY"])
def test_a_currency_changes_the_unit_of_all_parts(currency):
    one = purchase("a", "CNY", 720_000, life=3, utilisation=0.7, tariff=0.65, load_w=5000).hourly()
    rate = figure(0.14, unit="USD for one CNY", currency="CNY")
    price, tariff = figure(720_000.0, currency="CNY"), figure(0.65, currency="CNY")
    other = purchase("a", "USD", price, life=3, utilisation=0.7, tariff=tariff, load_w=5000, rates=[rate]).hourly()
    factor = 0.14 if currency == "USD" else 1.0
    found = other if currency == "USD" else one
    assert found.parts == pytest.approx({name: factor * part for name, part in one.parts.items()})


# --- refusals and words ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"utilisation": 0}, "utilisation = 0.0 should be above 0"),
        ({"utilisation": -0.1}, "utilisation = -0.1 should be above 0"),
        ({"utilisation": 1.01}, "utilisation = 1.01 should be above 0 and at most 1"),
        ({"utilisation": figure(0.5, 0.0, 0.9)}, "utilisation = 0 should be above 0 and at most 1"),
        ({"price": 0}, "price = 0 USD for 8 chips should be above 0"),
        ({"price": -310_000}, "price = -310000 .* should be above 0"),
        ({"price": math.nan}, "nan.* should be finite"),
        ({"price": math.inf}, "inf.* should be finite"),
        ({"price": 799}, "99.9 USD a chip: below 100 it is a placeholder"),
        ({"price": 0.01}, "placeholder"),
        ({"price": figure(5000.0), "currency": "CNY"}, "USD a chip: below 100 it is a placeholder"),
        ({"price": 5000.0, "currency": "XYZ"}, "no exchange rate from 'XYZ'"),
        ({"pue": 0.9}, "pue = 0.9 should be at least 1"),
        ({"interest": 9}, "interest = 9 should be at least 0 and at most 1"),
        ({"tariff": -0.01}, "tariff = -0.01 should be at least 0"),
        ({"life": 0}, "life = 0 should be at least 0.1"),
        ({"residual": 1.2}, "residual = 1.2 should be at least 0 and at most 1"),
        ({"idle_w": 20_000}, "idle_w = 20000 should not exceed load_w = 10200"),
        ({"chips": 0}, "chips should be a whole number"),
        ({"decline": 1.5}, "decline = 1.5"),
        ({"utilisation": 1e-320}, "utilisation = 1e-320 leaves no finite cost"),
    ],
)
def test_refusals(wrong, says):
    with pytest.raises(ValueError, match=says):
        published(**wrong)


@pytest.mark.parametrize(
    ("instead", "says"),
    [
        ({"life": [4.0, 0.0]}, "life = 0 should be at least 0.1"),
        ({"price": -5.0}, "price = -5 should be above 0 and finite"),
        ({"price": math.nan}, "price = nan should be above 0"),
        ({"tariff": math.inf}, "tariff = inf should be at least 0"),
        ({"utilisation": 1.5}, "utilisation = 1.5 should be at least 0 and at most 1"),
        ({"utilisation": 0.0}, "utilisation = 0 should be above 0"),
    ],
)
def test_what_takes_an_inputs_place_is_held_to_its_bounds(instead, says):
    with pytest.raises(ValueError, match=says):
        published().used_hour(instead)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ((1e6, 0, 0, 0.1), "life = 0 should be at least 0.1"),
        ((-1e6, 0, 4, 0.1), r"paid = -1e\+06 should be above 0"),
        ((1e6, 2e6, 4, 0.1), r"residual = 2e\+06 should be at most what is paid, 1e\+06"),
        ((1e6, 0, 4, -0.1), "interest = -0.1 should be at least 0"),
        ((1e6, 0, 4, math.nan), "interest = nan should be at least 0"),
    ],
)
def test_charges_refused(given, says):
    with pytest.raises(ValueError, match=says):
        capital_charge(*given, "annuity")


def test_interest_is_never_below_nothing():
    for interest in (5e-324, 1e-300, 1e-17, 1e-13, 1e-11):
        for life in (0.1, 0.4, 4.0, 50.0):
            capital, on_it = capital_charge(1e6, 3e5, life, interest, "annuity")
            assert float(capital) == pytest.approx(7e5 / life) and 0 <= float(on_it) < 1e-3


def test_a_residual_that_may_be_nothing_has_no_yearly_share():
    """Refused when it is made, not when a figure moves the residual to its low."""
    with pytest.raises(ValueError, match="residual = 0 should be above 0"):
        published(method="exponential", residual=figure(0.2, 0.0, 0.4))


def test_a_figure_has_a_source_and_lies_in_its_range():
    with pytest.raises(ValueError, match="has no source"):
        replace(figure(1.0, unit="USD"), source=" ")
    with pytest.raises(ValueError, match="should lie between its low 2 and its high 3"):
        figure(1.0, 2, 3)


def test_what_an_answer_rests_on():
    rows = assumption_rows(published(tariff=figure(0.09, 0.08, 0.1, "USD per kWh", "USD")).inputs())
    tariff = next(row for row in rows if row["input"] == "tariff")
    assert tariff == {
        "input": "tariff", "value": "0.09", "range": "0.08 to 0.1", "unit": "USD per kWh", "source": "a test",
        "day": "2026-06-01",
    }  # fmt: skip
    assert {row["input"] for row in rows} >= {"price", "life", "pue", "utilisation", "vat", "network"}
    assert next(row for row in rows if row["input"] == "pue")["source"] == "given by the reader"


# --- use as a curve --------------------------------------------------------------------------------------------


@settings(max_examples=examples(60))
@given(st.lists(st.floats(0, 1), min_size=24, max_size=24).filter(lambda day: sum(day) > 0.1))
def test_a_day_costs_what_its_hours_cost(day):
    """The curve's cost is the mean of the hours' costs, each with its own load: idle power outside."""
    found = published(utilisation=day, load_w=8000, idle_w=2000)
    one_by_one = np.mean([float(found.owned_hour({"utilisation": load})) for load in day])
    assert found.hourly().owned == pytest.approx(one_by_one, **ABOUT)
    assert found.hourly().utilisation == pytest.approx(np.mean(day))
    assert found.loads.mean == pytest.approx(np.mean(day))


def test_a_number_is_the_simple_curve():
    assert published(utilisation=0.8).loads == load_curve(0.8)
    assert load_curve(0.8).mean == pytest.approx(0.8)
    assert load_curve([(0.8, 1.0), (0.2, 0.0)]).mean == pytest.approx(published(utilisation=0.8).loads.mean)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ([], "no loads"),
        ([0.0] * 24, "load is 0 in every hour"),
        ([0.5, 1.2], "should be a share of hours and a load"),
        ([(0.5, 1.0), (0.4, 0.0)], "shares of hours sum to 0.9"),
        ([(0.5, 1.0), 0.4], "mixes loads and pairs"),
        (0.0, "utilisation = 0.0"),
        (math.nan, "utilisation = nan"),
    ],
)
def test_curves_refused(wrong, says):
    with pytest.raises(ValueError, match=says):
        load_curve(wrong)


def test_a_curve_and_a_number_must_agree():
    with pytest.raises(ValueError, match=r"mean of 0\.7"):
        replace(published(), curve=load_curve(0.7))
    assert HOURS_PER_YEAR == 365 * 24
