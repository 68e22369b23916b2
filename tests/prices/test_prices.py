"""Bills by hand, the right row for every moment and tier, and accounts that balance."""

import dataclasses
from datetime import UTC, date, datetime, timedelta, timezone

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from costlab import catalog, prices
from costlab.catalog.price_lists import start_of
from costlab.prices import Workload

# --- bills by hand ---------------------------------------------------------------------------------------------


def test_v4_pro_by_hand():
    """$0.003625 / 0.435 / 0.87 per million on 2026-06-01."""
    due = prices.bill("deepseek-v4-pro", Workload(32_768, 8_192, hit_rate=0.5, calls=10))
    assert due.hit == pytest.approx(10 * 16_384 * 0.003625e-6)
    assert due.miss == pytest.approx(10 * 16_384 * 0.435e-6)
    assert due.output == pytest.approx(10 * 8_192 * 0.87e-6)
    assert due.write == 0
    assert due.total == pytest.approx(0.1431, abs=5e-5)


def test_a_million_of_each_costs_the_list_price():
    for name, hit, miss, output in (("gpt-5.5", 0.5, 5, 30), ("mimo-v2.5", 0.0028, 0.14, 0.28)):
        row = prices.price_at(name)
        assert (row.hit, row.miss, row.output) == (hit, miss, output)
    due = prices.bill("mimo-v2.5", Workload(10**6, 10**6, hit_rate=1.0))
    assert (due.hit, due.miss, due.output) == pytest.approx((0.0028, 0, 0.28))


def test_cache_writes_are_billed_apart():
    """Claude Opus 4.8: 5 / 0.50 / 25, write 6.25. 100k input: 40k hit, 50k written, 10k plain."""
    due = prices.bill("claude-opus-4.8", Workload(100_000, 1_000, hit_rate=0.4, write_tokens=50_000))
    assert due.hit == pytest.approx(0.04 * 0.5)
    assert due.write == pytest.approx(0.05 * 6.25)
    assert due.miss == pytest.approx(0.01 * 5)
    assert due.output == pytest.approx(0.001 * 25)


def test_writing_costs_a_miss_where_it_is_not_charged_apart():
    plain = prices.bill("deepseek-v4-pro", Workload(1000, 0, hit_rate=0.25))
    written = prices.bill("deepseek-v4-pro", Workload(1000, 0, hit_rate=0.25, write_tokens=500))
    assert written.total == pytest.approx(plain.total)
    assert written.write == pytest.approx(500 * 0.435e-6)


def test_a_hit_costs_a_miss_where_no_hit_price_is_listed_and_the_bill_says_so():
    """Qwen-Plus has none in dollars before 2026-01-29."""
    row = prices.price_at("qwen-plus", "2025-09-01")
    assert row.hit is None
    assert prices.hit_price(row) == row.miss
    hit, miss = (prices.bill("qwen-plus", Workload(10_000, 10, hit_rate=h), "2025-09-01") for h in (1, 0))
    assert hit.total == pytest.approx(miss.total)
    said = "no hit price listed: hits billed as misses"
    assert said in hit.notes
    assert said not in miss.notes  # nothing hit, so nothing is wrong
    assert said in prices.bill("qwen-plus", Workload(10_000, 10, 0.5), "2026-01-28T23:59:59").notes
    assert said not in prices.bill("qwen-plus", Workload(10_000, 10, 0.5), "2026-01-29T00:00").notes
    assert prices.bill("glm-5", Workload(10, 10, 0.5), currency="CNY", published_by="article-e").notes == (said,)


def test_no_hit_price_is_not_a_free_hit():
    row = dataclasses.replace(prices.price_at("gpt-5.5"), hit=0.0)
    assert prices.hit_price(row) == 0
    assert prices.hit_price(dataclasses.replace(row, hit=None)) == row.miss


def test_miss_over_hit():
    """The articles' "120 times": 3 / 0.025 yuan for V4-Pro and MiMo-V2.5-Pro, 50 for MiMo-V2.5."""
    for name, ratio in (("deepseek-v4-pro", 120), ("mimo-v2.5-pro", 120), ("mimo-v2.5", 50)):
        row = prices.price_at(name, currency="CNY")
        assert row.miss / row.hit == pytest.approx(ratio)


def test_blended_price_of_mimo_pro():
    """0.233 yuan at 93% hits and 0.174 at 95%, per million input tokens."""
    row = prices.price_at("mimo-v2.5-pro", currency="CNY")
    np.testing.assert_allclose(prices.blended_input(row, [0, 0.93, 0.95, 1]), [3, 0.233, 0.174, 0.025], atol=5e-4)


def test_cut():
    """V4-Pro: -75% on miss and output from its launch list; the hit price fell to 1/40, -97.5%."""
    before, after = prices.price_at("deepseek-v4-pro", "2026-04-24"), prices.price_at("deepseek-v4-pro")
    assert prices.cut(before, after) == pytest.approx({"hit": 0.975, "miss": 0.75, "output": 0.75})
    august = prices.price_at("deepseek-v4-pro", "2026-08-20")
    rise = prices.cut(after, august)
    assert rise["miss"] == pytest.approx(-0.66 / 0.435 + 1)
    assert all(share < 0 for share in rise.values())
    with pytest.raises(ValueError, match="can't compare USD with CNY"):
        prices.cut(after, prices.price_at("deepseek-v4-pro", currency="CNY"))


def test_mimo_cut_is_the_articles_99_percent_only_for_long_contexts():
    """Hit price in yuan: 1.4 -> 0.025 is 98.2%, above 256K tokens 2.8 -> 0.025 is 99.1%."""
    after = prices.price_at("mimo-v2.5-pro", currency="CNY")
    for tokens, share in ((1000, 0.982), (300_000, 0.991)):
        before = prices.price_at("mimo-v2.5-pro", "2026-05-01", input_tokens=tokens, currency="CNY")
        assert prices.cut(before, after)["hit"] == pytest.approx(share, abs=5e-4)


# --- the four scenarios ----------------------------------------------------------------------------------------

# The article's own arithmetic, repeated from its printed prices: hit, miss, output in yuan.
PRINTED = {
    "deepseek-v4-pro": (0.025, 3.0, 6.0),
    "mimo-v2.5-pro": (0.025, 3.0, 6.0),
    "qwen-plus": (0.5, 2.0, 6.0),
    "gpt-5.5": (18.13, 36.25, 217.5),
    "claude-opus-4": (21.75, 108.75, 543.75),
}
SCENARIOS = {
    "short-chat": (1000, 500, 0.2, 1),
    "document": (100_000, 5_000, 0.6, 1),
    "agent": (32_768, 8_192, 0.5, 10),
    "batch": (8_192, 2_048, 0.7, 1000),
}


def scenario_bill(scenario, product):
    load = Workload.from_scenario(catalog.tables().scenarios[scenario])
    return prices.bill(product, load, "2026-06-01", currency="CNY", published_by="article-e").total


@pytest.mark.parametrize("scenario", list(SCENARIOS))
@pytest.mark.parametrize("product", list(PRINTED))
def test_scenarios_are_the_articles_own_sums(scenario, product):
    hit, miss, output = PRINTED[product]
    tokens, out, rate, calls = SCENARIOS[scenario]
    by_hand = calls * (tokens * (rate * hit + (1 - rate) * miss) + out * output) / 1e6
    assert scenario_bill(scenario, product) == pytest.approx(by_hand)


@pytest.mark.parametrize(
    ("scenario", "gpt", "claude", "qwen"),
    [
        ("short-chat", 26.2, 67.2, 0.870),
        ("document", 23.9, 55.3, 0.924),
        ("agent", 27.1, 66.8, 0.913),
        ("batch", 32.2, 76.0, 1.013),
    ],
)
def test_scenario_ratios(scenario, gpt, claude, qwen):
    """Times DeepSeek's bill. The article says 12x to 87x; its own prices give 24x to 32x (GPT) and 55x to 76x (Claude).

    Qwen-Plus, its "middle of the market", is cheaper than DeepSeek in three of the four.
    """
    base = scenario_bill(scenario, "deepseek-v4-pro")
    assert scenario_bill(scenario, "gpt-5.5") / base == pytest.approx(gpt, abs=0.05)
    assert scenario_bill(scenario, "claude-opus-4") / base == pytest.approx(claude, abs=0.05)
    assert scenario_bill(scenario, "qwen-plus") / base == pytest.approx(qwen, abs=5e-4)


# --- moments ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("when", "moment"),
    [
        ("2026-06-01", datetime(2026, 6, 1, 12, tzinfo=UTC)),
        ("20260601", datetime(2026, 6, 1, 12, tzinfo=UTC)),
        ("2026-06-01T02:30", datetime(2026, 6, 1, 2, 30, tzinfo=UTC)),
        ("2026-06-01T02:30+08:00", datetime(2026, 5, 31, 18, 30, tzinfo=UTC)),
        ("2026-06-01T02:30Z", datetime(2026, 6, 1, 2, 30, tzinfo=UTC)),
        (date(2026, 6, 1), datetime(2026, 6, 1, 12, tzinfo=UTC)),
        (datetime(2026, 6, 1, 5), datetime(2026, 6, 1, 5, tzinfo=UTC)),
        (datetime(2026, 6, 1, 5, tzinfo=timezone(timedelta(hours=8))), datetime(2026, 5, 31, 21, tzinfo=UTC)),
    ],
)
def test_moment(when, moment):
    assert prices.moment(when) == moment


@pytest.mark.parametrize("when", ["", "yesterday", "2026-13-01", "2026-02-30", "01.06.2026", "0001-01-01T00:00+10:00"])
def test_bad_moment(when):
    with pytest.raises(ValueError, match="should look like 2026-06-01") as caught:
        prices.moment(when)
    assert repr(when) in str(caught.value)


@pytest.mark.parametrize(
    ("when", "miss"),
    [  # V4-Pro in dollars; each change one second before and at its instant (UTC)
        ("2026-04-24T00:00", 1.74),
        ("2026-04-24T23:59:59", 1.74),
        ("2026-04-25T00:00", 0.435),
        ("2026-08-16T15:59:59", 0.435),
        ("2026-08-16T16:00", 0.66),
    ],
)
def test_a_price_starts_at_its_instant(when, miss):
    assert prices.price_at("deepseek-v4-pro", when).miss == miss


@pytest.mark.parametrize(
    ("product", "end", "followed"),
    [
        ("mimo-v2.5-pro", "2026-10-21T02:00", "mimo-v2.6-pro"),
        ("mimo-v2.5", "2026-10-21T02:00", "mimo-v2.6-flash"),
        ("claude-opus-4", "2026-06-15T00:00", "claude-opus-4.6"),
        ("deepseek-v3.1", "2025-09-29T00:00", "deepseek-v3.2"),
        ("deepseek-v3", "2025-09-05T16:00", "deepseek-v3.1"),
    ],
)
def test_a_price_ends_before_its_instant(product, end, followed):
    """Switched off: from the end on an error that names it, and what bills the calls since."""
    at = prices.moment(end)
    assert prices.price_at(product, at - timedelta(seconds=1)).product == product
    said = (
        f"no price of '{product}' is known at .* UTC; it ended on {end.replace('T', ' ')} UTC, followed by {followed}$"
    )
    for currency in ("USD", "CNY"):
        with pytest.raises(ValueError, match=said):
            prices.price_at(product, at, currency=currency)


def test_what_followed_is_what_is_sold_then():
    """V3's place went from hand to hand; only those that it had reached by that day are named."""
    for when, names in (
        ("2025-12-01", "deepseek-v3.1, then deepseek-v3.2$"),
        ("2026-06-01", "deepseek-v3.1, then deepseek-v3.2, then deepseek-v4-flash$"),
        ("2026-11-01", "deepseek-v3.2, then deepseek-v4-flash, then deepseek-v4.1-flash$"),
    ):
        with pytest.raises(ValueError, match=names):
            prices.price_at("deepseek-v3", when)


@pytest.mark.parametrize("currency", ["USD", "CNY", "EUR"])
def test_a_name_that_is_still_taken_is_billed_as_its_successor(currency):
    """deepseek-v4-flash since 2026-09-10 04:00 UTC."""
    load = Workload(10_000, 1_000, 0.5)
    last = prices.bill("deepseek-v4-flash", load, "2026-09-10T03:59:59", currency=currency)
    assert last.row.product == "deepseek-v4-flash"
    for when in ("2026-09-10T04:00", "2026-11-17T02:00"):
        old, new = (prices.bill(f"deepseek-{v}-flash", load, when, currency=currency) for v in ("v4", "v4.1"))
        assert (old.row, old.total) == (new.row, new.total)
        said = "ended on 2026-09-10 04:00 UTC; the name is billed as deepseek-v4.1-flash since"
        assert old.notes == (said, *new.notes)
    assert prices.price_at("DeepSeek-V4-Flash", "2026-10-01").product == "deepseek-v4.1-flash"


def test_a_day_after_the_list_was_read_is_said():
    row = prices.price_at("gpt-5.5")
    said = f"price read on {row.date}; later changes unknown"
    on, after = (prices.bill("gpt-5.5", Workload(10, 10), row.date + timedelta(days=d)) for d in (0, 1))
    assert on.notes == ()
    assert after.notes == (said,)


def test_uncounted_writes_are_said():
    opus = [prices.bill("claude-opus-4.8", Workload(1000, 0, 0.5, 1, writes)).notes for writes in (0, 500)]
    assert opus == [("hits were written once, at 6.25 USD per million: no write counted",), ()]


def test_products_of_a_day():
    then = prices.products(when="2026-11-17")
    assert {"mimo-v2.6-pro", "deepseek-v4.1-flash"} <= set(then)
    assert not {"mimo-v2.5-pro", "claude-opus-4", "deepseek-v4-flash"} & set(then)
    assert prices.products(when="2020-01-01") == ()
    assert set(then) < set(prices.products())


def test_the_hit_price_fell_at_12_15():
    """2026-04-26 12:15 UTC: a tenth, for every DeepSeek model."""
    for name in ("deepseek-v4-pro", "deepseek-v4-flash", "deepseek-v4-pro-list"):
        before, after = (prices.price_at(name, f"2026-04-26T{t}") for t in ("12:14:59", "12:15"))
        assert before.hit / after.hit == pytest.approx(10), name
        assert before.miss == after.miss


@pytest.mark.parametrize(
    ("when", "window"),
    [
        # night discount of 2025, 16:30 to 00:30 UTC, across midnight and on weekends too
        ("2025-03-03T16:29:59", "peak"),
        ("2025-03-03T16:30", "off-peak"),
        ("2025-03-03T23:59:59", "off-peak"),
        ("2025-03-04T00:00", "off-peak"),
        ("2025-03-04T00:29:59", "off-peak"),
        ("2025-03-04T00:30", "peak"),
        ("2025-03-08T20:00", "off-peak"),
        ("2025-03-08T12:00", "peak"),
        # August 2026: 01-04 and 06-10 UTC, first every day ...
        ("2026-08-20T00:59:59", "off-peak"),
        ("2026-08-20T01:00", "peak"),
        ("2026-08-20T03:59:59", "peak"),
        ("2026-08-20T04:00", "off-peak"),
        ("2026-08-20T06:00", "peak"),
        ("2026-08-20T10:00", "off-peak"),
        ("2026-08-22T02:00", "peak"),  # a Saturday
        # ... then on weekdays: from Sunday 2026-08-23 00:00 in Beijing
        ("2026-08-23T02:00", "off-peak"),
        ("2026-08-24T02:00", "peak"),
        ("2026-09-05T07:00", "off-peak"),  # Saturday
        # ... and not on Chinese holidays
        ("2026-09-25T02:00", "off-peak"),  # Friday, Mid-Autumn
        ("2026-09-28T02:00", "peak"),
        ("2026-10-01T07:00", "off-peak"),  # Thursday, National Day
        ("2026-10-08T07:00", "peak"),
        # before, between and elsewhere: one price
        ("2025-01-15T20:00", "off-peak"),
        ("2026-06-01T02:00", "off-peak"),
    ],
)
def test_window_at(when, window):
    assert prices.window_at("DeepSeek", when) == window


def test_other_providers_have_no_windows():
    assert prices.window_at("OpenAI", "2026-08-20T02:00") == "off-peak"


@pytest.mark.parametrize(
    ("product", "peak", "off_peak"),
    [
        ("deepseek-v3", (0.07, 0.27, 1.10), (0.035, 0.135, 0.55)),  # half
        ("deepseek-r1", (0.14, 0.55, 2.19), (0.035, 0.135, 0.55)),  # a quarter: V3's
    ],
)
def test_night_discount(product, peak, off_peak):
    """DeepSeek's page of August 2025: V3 -50%, R1 -75%, both to the same price."""
    day, night = (prices.price_at(product, f"2025-03-03T{t}") for t in ("12:00", "20:00"))
    assert (day.hit, day.miss, day.output) == peak
    assert (night.hit, night.miss, night.output) == off_peak


def test_bills_follow_the_window():
    """V4-Pro since August 2026: a weekday's peak is twice the rest."""
    load = Workload(10_000, 1_000, hit_rate=0.5)
    peak, off, weekend = (
        prices.bill("deepseek-v4-pro", load, when).total
        for when in ("2026-09-01T02:00", "2026-09-01T05:00", "2026-09-05T02:00")
    )
    assert peak == pytest.approx(2 * off)
    assert off == weekend


@given(
    st.datetimes(datetime(2025, 1, 21), datetime(2026, 11, 20), timezones=st.just(UTC)),
    st.sampled_from(["USD", "CNY"]),
    st.integers(0, 2_000_000),
)
def test_at_every_moment_one_deepseek_list_holds(when, currency, tokens):
    """From R1's release on DeepSeek always sold something, at exactly one price per product, currency and moment."""
    sold = 0
    for product in ("deepseek-r1", "deepseek-v3.1", "deepseek-v3.2", "deepseek-v4-pro"):
        try:
            row = prices.price_at(product, when, input_tokens=tokens, currency=currency)
        except ValueError:
            continue
        sold += 1
        assert row.currency == currency
        assert row.window in (None, prices.window_at("DeepSeek", when))
    assert sold == 1


# --- tiers, currencies, publishers -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("product", "when", "currency", "tokens", "miss"),
    [
        ("gpt-5.5", "2026-06-01", "USD", 272_000, 5),
        ("gpt-5.5", "2026-06-01", "USD", 272_001, 10),
        ("mimo-v2.5-pro", "2026-05-01", "USD", 256_000, 1),
        ("mimo-v2.5-pro", "2026-05-01", "USD", 256_001, 2),
        ("mimo-v2.5-pro", "2026-06-01", "USD", 1_000_000, 0.435),
        ("qwen-plus", "2026-06-01", "CNY", 128_000, 0.8),
        ("qwen-plus", "2026-06-01", "CNY", 128_001, 2.4),
        ("qwen-plus", "2026-06-01", "CNY", 256_001, 4.8),
        ("glm-5", "2026-06-01", "CNY", 32_001, 6),
        ("glm-5", "2026-06-01", "CNY", 0, 4),
    ],
)
def test_context_tiers(product, when, currency, tokens, miss):
    assert prices.price_at(product, when, input_tokens=tokens, currency=currency).miss == miss


def test_the_whole_call_pays_its_tier():
    due = prices.bill("gpt-5.5", Workload(272_001, 1_000))
    assert due.miss == pytest.approx(272_001 * 10e-6)
    assert due.output == pytest.approx(1_000 * 45e-6)
    # the tier is one call's, not the workload's
    assert prices.bill("gpt-5.5", Workload(1_000, 0, calls=10**6)).miss == pytest.approx(1_000 * 5)


def test_currency_of_the_list_before_conversion():
    usd, cny = (prices.bill("deepseek-v4-pro", Workload(10**6, 0), currency=c) for c in ("USD", "CNY"))
    assert (usd.total, usd.rate) == (0.435, 1)
    assert (cny.total, cny.rate) == (3, 1)  # its own list in yuan, not 0.435 x 6.7651 = 2.94


def test_conversion_where_there_is_no_list():
    """ECB, 2026-06-01: 6.7651 CNY and 0.8587 EUR per USD."""
    for currency, rate in (("CNY", 6.7651), ("EUR", 0.8587)):
        due = prices.bill("gpt-5.5", Workload(10**6 // 10, 0), currency=currency)
        assert due.rate == rate
        assert due.total == pytest.approx(0.5 * rate)
        assert due.currency == currency


def test_rates_by_day():
    assert prices.exchange_rate("USD", "CNY", "2026-06-01") == 6.7651
    assert prices.exchange_rate("USD", "CNY", "2026-08-16") == 6.7526  # the latest on or before: of 2026-08-03
    assert prices.exchange_rate("USD", "CNY", "2026-08-17") == 6.7394
    assert prices.exchange_rate("USD", "CNY", "2020-01-01") == prices.exchange_rate("USD", "CNY", "2021-01-01")
    assert prices.exchange_rate("CNY", "USD", "2026-06-01") == pytest.approx(1 / 6.7651)
    assert prices.exchange_rate("USD", "USD") == 1


def test_an_articles_rate_only_when_asked_for():
    assert prices.exchange_rate("USD", "CNY", "2026-06-01", claims=True) == 7.25
    assert prices.exchange_rate("USD", "CNY", "2026-06-02") == 6.7651


def test_a_cross_rate():
    """Yuan in euros through the dollar: V3's launch list exists in yuan only."""
    expected = 1 / prices.exchange_rate("USD", "CNY") * prices.exchange_rate("USD", "EUR")
    assert prices.exchange_rate("CNY", "EUR") == pytest.approx(expected)
    due = prices.bill("deepseek-v3", Workload(10**6, 0), "2025-01-10", currency="EUR")
    assert due.row.currency == "CNY"
    assert due.total == pytest.approx(1 * due.rate)


@pytest.mark.parametrize(
    ("product", "when", "currency", "day", "said"),
    [
        ("gpt-5.5", "2026-08-16", "CNY", date(2026, 8, 3), "1 USD = 6.7526 CNY, the rate of 2026-08-03"),
        ("gpt-5.5", "2026-06-01", "EUR", date(2026, 6, 1), "1 USD = 0.8587 EUR, the rate of 2026-06-01"),
        ("deepseek-v3", "2025-01-10", "USD", date(2025, 1, 2), "1 CNY = 0.137 USD, the rate of 2025-01-02"),
        # through the dollar, by the older of the two: ECB 7.6169 / 1.0435 of 2024-12-27, 1 / 1.0507 of 2024-12-02
        ("deepseek-v3", "2024-12-28", "EUR", date(2024, 12, 2), "1 CNY = 0.13038 EUR, the rate of 2024-12-02"),
    ],
)
def test_a_bill_says_which_days_rate_it_used(product, when, currency, day, said):
    due = prices.bill(product, Workload(1000, 1000), when, currency=currency)
    assert due.rate_day == day
    assert due.notes[-1] == said
    assert f"{due.rate:.5g}" in said


def test_nothing_converted_no_rate():
    due = prices.bill("deepseek-v4-pro", Workload(1000, 1000), currency="CNY")
    assert (due.rate, due.rate_day, due.notes) == (1.0, None, ())
    assert prices.currencies() == ("CNY", "EUR", "USD")


def test_the_articles_table_is_kept_apart():
    assert prices.price_at("glm-5", published_by="article-e").miss == 25
    assert prices.price_at("glm-5", currency="CNY").miss == 4
    assert set(prices.products("article-e")) < {*prices.products(), "claude-opus-4"}
    assert all(r.published_by == "provider" for name in prices.products() for r in prices.history(name))


def test_history_is_in_order():
    rows = prices.history("deepseek-v4-pro", "USD")
    starts = [start_of(r.valid_from) for r in rows]
    assert starts == sorted(starts)
    assert {r.currency for r in rows} == {"USD"}
    assert len(prices.history("deepseek-v4-pro")) == len(rows) + len(prices.history("deepseek-v4-pro", "CNY"))


# --- accounts --------------------------------------------------------------------------------------------------

DATES = ["2025-01-10", "2025-03-03T20:00", "2025-10-01", "2026-04-25", "2026-06-01", "2026-09-01T02:00"]


def priced(product, when):
    """Whether the product had a price then."""
    try:
        prices.price_at(product, when)
    except ValueError as error:
        assert "no price of" in str(error)
        return False
    return True


#: (product, when)
SOLD = st.sampled_from([(p, w) for p in prices.products() for w in DATES if priced(p, w)])
TOKENS = st.integers(0, 2_000_000)
RATE = st.floats(0, 1)
CURRENCY = st.sampled_from(["USD", "CNY", "EUR"])


@given(SOLD, TOKENS, TOKENS, RATE, st.integers(1, 1000), CURRENCY, st.floats(0, 1))
def test_parts_sum_to_the_total_and_tokens_to_the_input(sold, tokens, out, rate, calls, currency, written):
    load = Workload(tokens, out, rate, calls, write_tokens=int(tokens * (1 - rate) * written))
    due = prices.bill(sold[0], load, sold[1], currency=currency)
    parts = (due.hit, due.miss, due.write, due.output)
    assert all(part >= -1e-12 * max(1, due.total) for part in parts)
    assert sum(parts) == pytest.approx(due.total)
    row, per = due.row, calls * due.rate / 1e6
    billed = [
        due.hit / (prices.hit_price(row) * per),
        due.miss / (row.miss * per),
        due.write / ((row.miss if row.write is None else row.write) * per),
    ]
    assert sum(billed) == pytest.approx(tokens, abs=1e-6 * max(1, tokens))
    assert due.output / (row.output * per) == pytest.approx(out, abs=1e-6 * max(1, out))


@given(st.integers(1, 10**12).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n))))
def test_all_that_missed_may_be_written_and_not_a_token_more(counts):
    """A rate made of counts is rounded; up to 1e12 tokens that neither refuses a legal bill nor lets a token by."""
    tokens, hits = counts
    load = Workload(tokens, 0, hits / tokens, write_tokens=tokens - hits)
    due = prices.bill("claude-opus-4.8", load)
    assert due.miss >= 0
    assert due.total == pytest.approx((hits * 0.5 + (tokens - hits) * 6.25) / 1e6, rel=1e-9)
    with pytest.raises(ValueError, match="input tokens that miss"):
        Workload(tokens, 0, hits / tokens, write_tokens=tokens - hits + 1)


@given(SOLD, TOKENS, TOKENS, RATE, st.integers(1, 10**6))
def test_calls_scale(sold, tokens, out, rate, calls):
    one = prices.bill(sold[0], Workload(tokens, out, rate), sold[1])
    many = prices.bill(sold[0], Workload(tokens, out, rate, calls), sold[1])
    assert many.total == pytest.approx(calls * one.total)
    assert many.row == one.row


@given(SOLD, TOKENS, RATE, RATE)
def test_more_hits_never_cost_more(sold, tokens, a, b):
    low, high = sorted((a, b))
    dear = prices.bill(sold[0], Workload(tokens, 10, low), sold[1]).total
    assert prices.bill(sold[0], Workload(tokens, 10, high), sold[1]).total <= dear * (1 + 1e-12)


@given(SOLD, st.integers(1, 2_000_000), RATE)
def test_blended_is_the_input_of_a_bill(sold, tokens, rate):
    due = prices.bill(sold[0], Workload(tokens, 0, rate), sold[1])
    expected = float(prices.blended_input(due.row, rate)) * tokens / 1e6 * due.rate
    assert due.total == pytest.approx(expected, rel=1e-9)


@given(SOLD, TOKENS, TOKENS, RATE, CURRENCY, CURRENCY)
def test_a_bill_converts_as_its_rate_says(sold, tokens, out, rate, one, other):
    """Where both bills rest on the same row, they differ by the exchange rate alone."""
    a = prices.bill(sold[0], Workload(tokens, out, rate), sold[1], currency=one)
    b = prices.bill(sold[0], Workload(tokens, out, rate), sold[1], currency=other)
    if a.row == b.row:
        assert a.total * b.rate == pytest.approx(b.total * a.rate)


# --- bad input -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [-1, 0.5, float("nan"), float("inf"), 1e300, 10**400, True], ids=repr)
@pytest.mark.parametrize("field", ["input_tokens", "output_tokens", "calls", "write_tokens"])
def test_bad_counts(field, value):
    good = {"input_tokens": 10, "output_tokens": 10}
    with pytest.raises(ValueError, match=f"{field} should be a whole number from [01] to") as caught:
        Workload(**{**good, field: value})
    assert repr(value) in str(caught.value)


@pytest.mark.parametrize("rate", [-0.1, 1.1, 50, float("nan"), float("inf")])
def test_bad_hit_rate(rate):
    with pytest.raises(ValueError, match=f"hit_rate should lie between 0 and 1, got {rate!r}"):
        Workload(1, 1, hit_rate=rate)
    with pytest.raises(ValueError, match="hit_rate should lie between 0 and 1"):
        prices.blended_input(prices.price_at("gpt-5.5"), [0.5, rate])


def test_no_calls_and_too_many_writes():
    with pytest.raises(ValueError, match="calls should be a whole number from 1"):
        Workload(1, 1, calls=0)
    with pytest.raises(ValueError, match="write_tokens = 600 exceed the 500 input tokens that miss"):
        Workload(1000, 0, hit_rate=0.5, write_tokens=600)
    assert prices.bill("gpt-5.5", Workload(0, 0)).total == 0


def test_unknown_product_currency_day():
    load = Workload(10, 10)
    with pytest.raises(ValueError, match=r"unknown product with a price 'gpt-5.7'; `costlab prices` lists"):
        prices.bill("gpt-5.7", load)
    with pytest.raises(ValueError, match="no exchange rate from 'USD' to 'XYZ'; currencies known: CNY, EUR, USD"):
        prices.bill("gpt-5.5", load, currency="XYZ")
    with pytest.raises(ValueError, match=r"no price of 'deepseek-v4-pro' is known at 2020-01-01.*2026-04-24"):
        prices.bill("deepseek-v4-pro", load, "2020-01-01")
    with pytest.raises(ValueError, match="should look like"):
        prices.bill("gpt-5.5", load, "soon")


@pytest.mark.filterwarnings("error")
def test_absurd_sizes_are_finite():
    due = prices.bill("gpt-5.5", Workload(2**53, 2**53, calls=2**53))
    assert np.isfinite(due.total)
