"""Who is the cheapest under ranges: against closed forms, with common draws, whatever the order of the candidates."""

import math
from dataclasses import replace

import numpy as np
import pytest
from chips.purchases import ANY, figure, published, rent, zero_of
from effort import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from costlab.chips import Contender, break_even_price, rank, tornado, triangular

RANGE = st.lists(st.floats(0.1, 100), min_size=3, max_size=3).map(sorted).filter(lambda each: each[0] < each[2])


def contender(name, price=310_000, work=1.0, **instead):
    return Contender(published(name=name, price=price, **instead), as_figure(work))


def as_figure(work):
    return replace(work, unit="units") if not isinstance(work, float) else figure(work, unit="units")


def below(low, mode, high, at):
    """The distribution function of a triangular distribution, by its textbook form."""
    if at <= low or at >= high:
        return float(at >= high)
    if at < mode:
        return (at - low) ** 2 / (high - low) / (mode - low)
    return 1 - (high - at) ** 2 / (high - low) / (high - mode) if mode < high else (at - low) ** 2 / (high - low) ** 2


@settings(max_examples=examples(100))
@given(RANGE, st.floats(0.001, 0.999))
def test_draws_are_triangular(bounds, share):
    low, mode, high = bounds
    at = float(triangular(figure(mode, low, high), share))
    assert low <= at <= high
    if high - low > 1e-6 * high:  # a narrower range has too few numbers between its ends to tell a law
        assert below(low, mode, high, at) == pytest.approx(share, abs=1e-6)


def test_draws_are_those_of_numpys_generator_in_law():
    ours = np.sort(triangular(figure(2.0, 1.0, 5.0), np.random.default_rng(1).random(40_000)))
    numpys = np.sort(np.random.default_rng(2).triangular(1.0, 2.0, 5.0, 40_000))
    assert np.abs(ours - numpys).max() < 0.15
    assert ours.mean() == pytest.approx((1 + 2 + 5) / 3, abs=0.02)  # not the mode


def test_a_win_share_has_its_closed_form():
    """One price is a range, the other is fixed: the first wins where its price lies below the break-even."""
    price = figure(300_000.0, 200_000.0, 500_000.0, "USD for 8 chips", "USD")
    first, second = contender("a", price), contender("b", 320_000)
    found = rank([first, second], np.random.default_rng(0), 20_000)
    tie = break_even_price(first, float(second.cost()))
    assert tie == pytest.approx(320_000)
    assert abs(found.wins["a"] - below(200_000, 300_000, 500_000, tie)) < 4 * found.errors["a"]
    assert found.errors["a"] == pytest.approx(math.sqrt(found.wins["a"] * found.wins["b"] / 20_000))
    for at, cost in zip((0.05, 0.5, 0.95), found.bands["a"], strict=True):
        exact = float(first.cost({"price": float(triangular(price, at))}))
        assert cost == pytest.approx(exact, rel=0.005)
    assert found.bands["b"] == (pytest.approx(found.at_values["b"]),) * 3


def tariffs(key_a, key_b):
    """Two servers that differ by a hundredth of the price, under a tariff that no one knows."""
    wide = figure(0.2, 0.01, 2.0, "USD per kWh", "USD")
    pair = (contender("a", tariff=replace(wide, key=key_a)), contender("b", 313_100, tariff=replace(wide, key=key_b)))
    return rank(pair, np.random.default_rng(0), 2000)


def test_what_candidates_share_is_drawn_once():
    """One tariff for both: the cheaper server always wins. Two tariffs: chance decides, and this test would fail."""
    assert tariffs("tariff", "tariff").wins == {"a": 1.0, "b": 0.0}
    alone = tariffs("tariff of a", "tariff of b")
    assert 0.4 < alone.wins["a"] < 0.7
    assert tariffs("", "").wins["a"] == pytest.approx(alone.wins["a"], abs=0.1)


def test_ranges_of_one_key_may_differ():
    """A tariff per maker: both rise and fall together."""
    a = contender("a", tariff=figure(0.1, 0.05, 0.2, "", "USD", "tariff"))
    b = contender("b", tariff=figure(0.2, 0.1, 0.4, "", "USD", "tariff"))
    assert rank([a, b], np.random.default_rng(0), 500).wins == {"a": 1.0, "b": 0.0}


def many():
    tariff = figure(0.09, 0.05, 0.2, "USD per kWh", "USD", "tariff")
    life = figure(4.0, 3.0, 6.0, "years", key="life")
    price = figure(310_000.0, 250_000.0, 400_000.0, "USD for 8 chips", "USD")
    cheap = figure(200_000.0, 100_000.0, 400_000.0, "USD for 8 chips", "USD")
    return [
        contender("a", price, as_figure(figure(1.0, 0.8, 1.2)), tariff=tariff, life=life),
        contender("b", cheap, as_figure(figure(0.7, 0.4, 0.9)), tariff=tariff, life=life),
        Contender(replace(rent(2.9), name="c"), figure(1.1, unit="units")),
    ]


@settings(max_examples=examples(30))
@given(st.permutations(range(3)), st.integers(0, 2**32 - 1))
def test_the_order_of_candidates_does_not_matter(order, seed):
    every = many()
    one = rank(every, np.random.default_rng(seed), 300)
    other = rank([every[i] for i in order], np.random.default_rng(seed), 300)
    assert dict(one.wins) == dict(other.wins)
    assert math.fsum(one.wins.values()) == pytest.approx(1)
    assert all(np.array_equal(one.costs[name], other.costs[name]) for name in one.wins)


def test_a_seed_repeats_the_answer():
    one, again, other = (rank(many(), np.random.default_rng(seed), 1000) for seed in (5, 5, 6))
    assert dict(one.wins) == dict(again.wins) != dict(other.wins)
    for name in one.wins:
        assert abs(one.wins[name] - other.wins[name]) < 5 * math.hypot(one.errors[name], other.errors[name]) + 1e-9


def test_ties_are_split():
    found = rank([contender("a"), contender("b")], np.random.default_rng(0), 10)
    assert found.wins == {"a": 0.5, "b": 0.5}
    assert found.errors == {"a": 0.0, "b": 0.0}  # each draw is a tie: no further draw would move the share


def test_the_standard_error_holds_its_level_and_shrinks_with_the_draws():
    """Of 400 rankings 95% lie within 1.96 errors of the true share; with four times the draws errors halve."""
    first, second = contender("a", figure(300_000.0, 200_000.0, 500_000.0, "USD", "USD")), contender("b", 320_000)
    truth = below(200_000, 300_000, 500_000, 320_000)
    found = [rank([first, second], np.random.default_rng(seed), 400) for seed in range(400)]
    inside = np.mean([abs(each.wins["a"] - truth) < 1.96 * each.errors["a"] for each in found])
    assert 0.95 - 3 * math.sqrt(0.95 * 0.05 / 400) < inside < 0.95 + 3 * math.sqrt(0.95 * 0.05 / 400)
    more = rank([first, second], np.random.default_rng(0), 1600)
    assert more.errors["a"] == pytest.approx(found[0].errors["a"] / 2, rel=0.02)


@settings(max_examples=examples(30))
@given(RANGE)
def test_draws_have_a_triangles_mean_and_variance(bounds):
    """Evenly spread shares: (a+b+c)/3 and (a²+b²+c²-ab-ac-bc)/18."""
    a, c, b = bounds
    at = triangular(figure(c, a, b), (np.arange(20_000) + 0.5) / 20_000)
    assert at.mean() == pytest.approx((a + b + c) / 3, rel=1e-4)
    assert at.var() == pytest.approx((a * a + b * b + c * c - a * b - a * c - b * c) / 18, rel=1e-3)


# --- tornado ---------------------------------------------------------------------------------------------------


def test_each_swing_is_the_cost_with_one_input_replaced():
    found = tornado(many()[0])
    assert [swing.name for swing in found] == sorted(
        (swing.name for swing in found), key=lambda n: -next(s.width for s in found if s.name == n)
    )
    by_name = {swing.name: swing for swing in found}
    assert set(by_name) == {"a: price", "a: output", "tariff", "life"}
    for price, cost in ((250_000, by_name["a: price"].at_low), (400_000, by_name["a: price"].at_high)):
        assert cost == pytest.approx(published(price=price).hourly().used)
    assert by_name["life"].at_low == pytest.approx(published(life=3).hourly().used)
    assert by_name["a: output"].at_high == pytest.approx(published().hourly().used / 1.2)
    assert by_name["tariff"].moved.bounds == (0.05, 0.09, 0.2)


def test_a_shared_input_moves_both():
    a, b, _ = many()
    found = {swing.name: swing for swing in tornado(a, b)}
    assert set(found) == {"a: price", "a: output", "b: price", "b: output", "tariff", "life"}
    both = float(a.cost({"life": 6.0}) / b.cost({"life": 6.0}))
    assert found["life"].at_high == pytest.approx(both)
    assert found["b: price"].at_low == pytest.approx(float(a.cost() / b.cost({"price": 100_000.0})))
    same = {s.name: s for s in tornado(a, Contender(replace(a.priced, name="a2"), a.output))}
    assert same["tariff"].width == pytest.approx(0, abs=1e-12)


# --- break-even price ------------------------------------------------------------------------------------------


@settings(max_examples=examples(60))
@given(ANY, st.floats(1.0, 30), st.floats(0.1, 10))
def test_break_even_price_against_bisection(inputs, target, work):
    one = contender("a", work=work, **inputs)
    price = break_even_price(one, target)
    if price > 1e-6 * inputs["price"]:
        by_halves = zero_of(lambda p: target - float(one.cost({"price": p})), 1e-9, 4 * price)
        assert price == pytest.approx(by_halves, rel=1e-6)
        assert float(one.cost({"price": price})) == pytest.approx(target, rel=1e-6)
    else:
        assert float(one.cost({"price": 1e-6})) >= target * (1 - 1e-4)


def test_break_even_price_is_in_the_prices_own_currency():
    rate = figure(0.14, unit="USD for one CNY", currency="CNY")
    yuan = contender("a", figure(2e6, unit="CNY", currency="CNY"), rates=[rate])
    assert break_even_price(yuan, float(contender("b").cost())) == pytest.approx(310_000 / 0.14)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: rank([contender("a")], np.random.default_rng(0)), "should be two or more"),
        (lambda: rank([contender("a")] * 2, np.random.default_rng(0)), r"\['a'\] stand twice"),
        (lambda: rank([contender("a"), contender("b", 2e6, currency="CNY")], np.random.default_rng(0)), "CNY and USD"),
        (
            lambda: rank([contender("a"), Contender(published(name="b"), figure(1.0, unit="tokens"))], None),
            "'tokens' and 'units'",
        ),
        (lambda: rank(many(), np.random.default_rng(0), 0), "draws should be a whole number"),
        (lambda: Contender(published(), figure(0.0)), "output = 0 should be above 0"),
        (lambda: contender("a").cost({"output": 0.0}), "output = 0 should be above 0"),
        (lambda: many()[2].cost({"rent": -1.0}), "rent = -1 should be above 0"),
        (lambda: break_even_price(many()[2], 2.0), "c is rented"),
        (lambda: break_even_price(many()[0], 0.0), "target = 0.0"),
    ],
)
def test_refusals(make, says):
    with pytest.raises(ValueError, match=says):
        make()
