"""A load that comes at all hours pays the mean of them."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from costlab import prices
from costlab.prices import Workload


def hours(product, when, over="week", **kind):
    return {part.row.window: part.hours for part in prices.portions(product, when, over, **kind)}


def test_a_week_of_v4_pro():
    """35 of 168 hours peak: 0.798 / 0.0266 / 2.393 per million, miss, hit and output."""
    parts = prices.portions("deepseek-v4-pro", "2026-11-25")
    mean = prices.mean_prices(parts)
    assert [round(float(each), 4) for each in (mean.miss, mean.hit, mean.output)] == [0.7975, 0.0266, 2.3925]
    assert hours("deepseek-v4-pro", "2026-11-25") == {"off-peak": 133, "peak": 35}
    assert sum(part.share for part in parts) == pytest.approx(1)


@pytest.mark.parametrize(
    ("when", "over", "peak"),
    [
        ("2026-11-25", "day", 7),  # a Wednesday
        ("2026-11-28", "day", 0),  # a Saturday
        ("2026-10-01", "day", 0),  # National Day
        ("2026-09-25", "week", 28),  # Mid-Autumn on a Friday
        ("2026-10-01", "week", 21),  # National Day's Thursday and Friday
        ("2026-10-07", "week", 14),  # its Monday to Wednesday
        ("2026-08-20", "week", 42),  # from Monday; weekends count until Saturday
    ],
)
def test_hours_of_peak(when, over, peak):
    found = hours("deepseek-v4-pro", when, over)
    assert found.get("peak", 0) == peak
    assert sum(found.values()) == (24 if over == "day" else 168)


def test_a_price_that_changes_within_the_week():
    """2026-08-16 16:00 UTC, a Sunday: 160 hours at the old list and 8 at the new, all of them outside peak."""
    parts = prices.portions("deepseek-v4-pro", "2026-08-12")
    assert [(part.row.miss, part.hours) for part in parts] == [(0.435, 160), (0.66, 8)]


def test_an_old_name_within_the_week():
    """deepseek-v4-flash ended on 2026-09-10 04:00 UTC, a Thursday; its calls are billed as V4.1-Flash since."""
    parts = prices.portions("deepseek-v4-flash", "2026-09-08")
    before = sum(part.hours for part in parts if part.row.product == "deepseek-v4-flash")
    assert before == 3 * 24 + 4
    assert sum(part.hours for part in parts) == 168


def test_a_product_that_is_sold_for_a_part_of_the_week():
    """V4-Pro began on 2026-04-24, a Friday."""
    due = prices.bill("deepseek-v4-pro", Workload(10**6, 0), "2026-04-24", over="week")
    assert "sold during 72 of the 168 hours only" in due.notes
    assert due.miss == pytest.approx((24 * 1.74 + 48 * 0.435) / 72)
    with pytest.raises(ValueError, match="no price of 'deepseek-v4-pro' is known"):
        prices.portions("deepseek-v4-pro", "2026-04-15")


@given(st.sampled_from(["deepseek-v4-pro", "deepseek-v4.1-flash", "gpt-5.5"]), st.integers(0, 60))
def test_a_week_is_the_mean_of_its_hours(product, day):
    """Billed hour by hour: no edge of the windows lies within an hour."""
    when = prices.moment("2026-09-14T00:00") + timedelta(days=day)
    load = Workload(1000, 100, 0.5)
    start, end = prices.bounds(when, "week")
    each = [prices.bill(product, load, start + timedelta(hours=h)).total for h in range(168)]
    assert end - start == timedelta(days=7) and start.weekday() == 0
    assert prices.bill(product, load, when, over="week").total == pytest.approx(sum(each) / 168)


def test_a_span_that_is_not_known():
    with pytest.raises(ValueError, match=r"'month'.*week"):
        prices.portions("gpt-5.5", "2026-06-01", "month")
