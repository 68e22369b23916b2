"""Costs beside list prices: round trips, conversion at the day's rate, both daily prices, products that end."""

import dataclasses
import math

import pytest
from effort import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from levers.services import service

from costlab import catalog, levers, prices
from costlab.levers import KINDS

PRO = levers.served("deepseek-v4-pro", traffic="chat")
ROW = next(row for row in catalog.tables().prices if row.product == "deepseek-v4-pro" and row.currency == "USD")
AMOUNT = st.floats(1e-4, 100)


@settings(max_examples=examples(60))
@given(AMOUNT, AMOUNT, AMOUNT, st.floats(0.05, 1))
def test_at_the_break_even_a_price_leaves_nothing(hit, miss, output, use):
    row = dataclasses.replace(ROW, hit=hit, miss=miss, output=output)
    asked = service(utilisation=use)
    found = levers.margin("deepseek-v4-pro", asked, "2026-06-01", row)
    if not 1e-3 <= found.break_even <= 1:
        assert found.share_left < 0 if found.break_even > 1 else found.share_left > 0
        return
    again = levers.margin("deepseek-v4-pro", asked.with_inputs(utilisation=found.break_even), "2026-06-01", row)
    assert again.share_left == pytest.approx(0, abs=1e-9)
    assert again.break_even == pytest.approx(found.break_even)


@settings(max_examples=examples(40))
@given(AMOUNT, AMOUNT, AMOUNT)
def test_a_request_leaves_what_its_tokens_leave(hit, miss, output):
    """Margins of the kinds weighed by what each brings are the request's."""
    found = levers.margin("x", service(), "2026-06-01", dataclasses.replace(ROW, hit=hit, miss=miss, output=output))
    brought = {kind: found.paid[kind] * float(found.costs.request[kind]) / 1e6 for kind in KINDS}
    assert sum(brought.values()) == pytest.approx(found.revenue)
    left = sum(found.of(kind) * brought[kind] for kind in KINDS)
    assert left == pytest.approx(found.share_left * found.revenue, rel=1e-6, abs=1e-12)


def test_a_price_in_yuan_is_converted_at_the_rate_of_its_day():
    row = dataclasses.replace(ROW, currency="CNY", hit=None, miss=7.0, output=14.0)
    found = levers.margin("x", service(), "2026-06-01", row)
    rate = prices.exchange_rate("CNY", "USD", "2026-06-01")
    assert 0.1 < rate < 0.2
    assert found.paid == {"hit": pytest.approx(7 * rate), "miss": pytest.approx(7 * rate), "output": 14 * rate}
    later = levers.margin("x", service(), "2025-03-01", row)
    assert later.paid["miss"] == pytest.approx(7 * prices.exchange_rate("CNY", "USD", "2025-03-01"))
    assert later.paid["miss"] != found.paid["miss"]


def test_both_daily_prices_stand_beside_the_costs():
    """In September DeepSeek's peak price was twice the other: read from the list itself."""
    low, high = levers.margins_on("deepseek-v4-pro", PRO, "2026-09-15")
    assert (low.row.window, high.row.window) == ("off-peak", "peak")
    rows = {r.window: r for r in prices.rows_on("2026-09-15", currency="USD") if r.product == "deepseek-v4-pro"}
    assert (low.row, high.row) == (rows["off-peak"], rows["peak"])
    assert high.paid["miss"] > low.paid["miss"] and high.share_left > low.share_left
    assert high.break_even < low.break_even
    now = {levers.margin("deepseek-v4-pro", PRO, f"2026-09-15T{hour}:00").row.window for hour in ("02", "12")}
    assert now <= {"off-peak", "peak"} and len(now) == 2
    assert [each.row.window for each in levers.margins_on("deepseek-v4-pro", PRO, "2026-06-01")] == [None]


@pytest.mark.parametrize("day", ["2025-03-01", "2026-05-01", "2026-06-01", "2026-09-15", "2026-11-25"])
def test_the_price_of_a_moment_is_among_those_of_its_day(day):
    """Of every product with a model of ours."""
    for product in {row.product for row in prices.rows_on(day) if row.model and row.host_of is None}:
        try:
            now = levers.margin(product, PRO, day)
        except ValueError as error:  # a list that has no tier for so long a prompt, or no price at that hour
            assert "no price of" in str(error)
            continue
        assert now.row in [each.row for each in levers.margins_on(product, PRO, day)]


def test_the_history_is_that_of_the_list():
    found = levers.margins("deepseek-v4-pro", PRO)
    rows = prices.history("deepseek-v4-pro", "USD")
    assert [each.row for each in found] == list(rows)
    assert all(each.utilisation == PRO.inputs()["utilisation"].value for each in found)
    for each in found:
        alone = levers.margin("deepseek-v4-pro", PRO, each.row.valid_from, each.row)
        assert (alone.share_left, alone.paid) == (each.share_left, each.paid)


def test_what_is_given_away_leaves_less_than_nothing():
    row = dataclasses.replace(ROW, hit=0.0, miss=0.0, output=0.0)
    found = levers.margin("x", service(), "2026-06-01", row)
    assert [found.of(kind) for kind in KINDS] == [-math.inf] * 3
    assert found.share_left == -math.inf and found.break_even == math.inf
    kept = service(kept=1e6, storage=1.0)  # storage alone costs more than the price, however full the chips
    assert levers.margin("x", kept, "2026-06-01", ROW).break_even == math.inf


@pytest.mark.parametrize(
    ("product", "when", "says"),
    [
        ("deepseek-v9", "2026-06-01", "unknown product with a price 'deepseek-v9'"),
        ("deepseek-v4-pro", "2020-01-01", "no price of 'deepseek-v4-pro' is known at 2020-01-01"),
        ("deepseek-v4-pro", "yesterday", "yesterday"),
    ],
)
def test_days_and_products_without_a_price_are_refused(product, when, says):
    for question in (levers.margin, levers.margins_on):
        with pytest.raises(ValueError, match=says):
            question(product, PRO, when)
    with pytest.raises(ValueError, match="unknown product"):
        levers.margins("deepseek-v9", PRO)
