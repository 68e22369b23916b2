"""Buying against renting: break-even by bisection, mixtures by brute force."""

import math

import numpy as np
import pytest
from chips.purchases import ANY, figure, published, rent, zero_of
from effort import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from costlab.chips import Rental, buy_or_rent, load_curve, own_share


@settings(max_examples=examples(60))
@given(ANY, st.floats(0.2, 20))
def test_break_even_use_against_bisection(inputs, amount):
    bought, rented = published(**inputs), rent(amount)
    found = buy_or_rent(bought, rented)

    def dearer(use):
        return float(bought.used_hour({"utilisation": use})) - amount

    if found.buy_above <= 1:
        assert found.buy_above == pytest.approx(zero_of(dearer, 1e-9, 1.0), rel=1e-6)
    else:
        assert dearer(1.0) > 0
    assert found.bought == pytest.approx(bought.hourly().used)


@settings(max_examples=examples(60))
@given(ANY, st.floats(0.2, 20), st.floats(0.01, 1))
def test_a_rent_for_all_hours(inputs, amount, use):
    """Up to the use found a purchase is cheaper than a rent that is always paid, above it is not."""
    bought, rented = published(**inputs), rent(amount, "always", use)
    found = buy_or_rent(bought, rented)
    difference = float(bought.owned_hour({"utilisation": use})) - amount
    if abs(use - found.buy_up_to) > 1e-6:
        assert (difference < 0) == (use < found.buy_up_to) or abs(difference) < 1e-9
    assert float(rented.used_hour()) == pytest.approx(amount / use)


def test_published_server_against_a_rent_of_two_dollars():
    """Owned hours cost 2.09: buying never beats 2.00 for used hours alone, and never 2.00 for all hours in full use."""
    found = buy_or_rent(published(), rent(2.0))
    assert found.buy_above > 1
    assert found.buy_up_to < 0.8
    assert found.bought == pytest.approx(2.6113, abs=5e-5)
    assert (found.rented, found.rented_always) == (2.0, pytest.approx(2.5))
    cheap = buy_or_rent(published(load_w=0), rent(2.0))
    assert cheap.per_use == 0
    assert cheap.buy_up_to == 1.0
    assert buy_or_rent(published(tariff=20.0), rent(2.0)).buy_above == math.inf


CURVES = st.lists(st.integers(0, 20).map(lambda load: load / 20), min_size=2, max_size=6).filter(any)


@settings(max_examples=examples(60))
@given(CURVES, st.floats(0.5, 6))
def test_no_other_share_of_the_fleet_is_better(loads, amount):
    bought, curve = published(idle_w=3000), load_curve(loads)
    choice = buy_or_rent(bought, rent(amount))
    found = own_share(curve, choice)
    levels = np.linspace(0, 1, 301)
    for level in levels:
        own = np.minimum(loads, level)
        fleet = [
            choice.fixed * level + choice.per_use * o + amount * (load - o) for o, load in zip(own, loads, strict=True)
        ]
        assert found.cost <= sum(fleet) / sum(loads) + 1e-9
    assert found.cost <= min(found.all_owned, found.all_rented) + 1e-12
    assert found.all_rented == pytest.approx(amount)


@settings(max_examples=examples(60))
@given(CURVES, st.floats(1.0, 6))
def test_the_last_chip_owned_is_busy_for_the_break_even_share(loads, amount):
    curve = load_curve(loads)
    choice = buy_or_rent(published(idle_w=3000), rent(amount))
    level = own_share(curve, choice).level
    busy = [curve.busy_above(level - 1e-9), curve.busy_above(level)]
    if level > 0 and abs(busy[0] - choice.buy_above) > 1e-6:
        assert busy[0] > choice.buy_above
    if level < 1 and abs(busy[1] - choice.buy_above) > 1e-6:
        assert busy[1] < choice.buy_above


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: rent(0), "rent = 0 .* should be above 0"),
        (lambda: rent(-2.0), "rent = -2"),
        (lambda: rent(0.01), "over 8760 hours: below 100 it is a placeholder"),
        (lambda: rent(2.0, "sometimes"), "unknown paid hours 'sometimes'"),
        (lambda: rent(2.0, use=1.5), "utilisation = 1.5"),
        (lambda: buy_or_rent(published(currency="CNY", price=2e6), rent(2.0)), "should be in one currency"),
    ],
)
def test_refusals(make, says):
    with pytest.raises(ValueError, match=says):
        make()


def test_a_rent_in_another_currency():
    yuan = Rental("r", "USD", figure(15.0, currency="CNY"), figure(1.0), rates=(figure(0.14, currency="CNY"),))
    assert float(yuan.used_hour()) == pytest.approx(2.1)
    assert list(yuan.inputs()) == ["rent", "CNY to USD"]
