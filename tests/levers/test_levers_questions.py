"""The three questions: each step is marked, published figures come out, and numbers follow from lists and costs."""

from datetime import date
from statistics import median

import pytest

from costlab import catalog, levers, prices
from costlab.catalog.price_lists import start_of
from costlab.levers.answers import COSTS_ASSUME, joined, percent
from costlab.levers.hits import CHEAP, IN_MAY, IN_NOVEMBER

ASKED = levers.questions()
MAY_ABOVE, AUGUST, HITS = ASKED


@pytest.mark.parametrize("question", ASKED, ids=lambda question: question.asks)
def test_facts_and_inferences_are_told_apart(question):
    assert {step.kind for step in question.steps} == {"fact", "inference"}
    assert all(step.says.endswith(".") and step.source.strip() for step in question.steps)
    assert [row["mark"] for row in question.table().rows] == [step.kind for step in question.steps]
    assert question.asks.endswith("?") and question.answer


def test_costs_are_never_facts():
    assert all(step.kind == "inference" for asked in ASKED for step in asked.steps if step.source == COSTS_ASSUME)


@pytest.mark.parametrize("traffic", catalog.tables().traffic)
@pytest.mark.parametrize("product", ["deepseek-v4-pro", "mimo-v2.5-pro"])
def test_at_the_break_even_use_nothing_is_left(product, traffic):
    row = prices.price_at(product, IN_MAY)
    found = levers.shares_left(product, row, traffic)
    use = found["break-even use"]
    assert 0 < use < 1
    service = levers.served(product, traffic=traffic).with_inputs(utilisation=use)
    assert levers.margin(product, service, IN_MAY, row).share_left == pytest.approx(0, abs=1e-9)
    assert (found["request"] > 0) == (use < found["use"])
    assert MAY_ABOVE.numbers[f"{product}, {traffic}: request"] == found["request"]


def test_what_is_left_by_hand():
    """V4-Pro in coding: 0.435 dollars a miss, 0.87 an output."""
    costs = levers.token_costs(levers.served("deepseek-v4-pro", traffic="coding"))
    assert MAY_ABOVE.numbers["deepseek-v4-pro, coding: miss"] == pytest.approx(1 - float(costs.miss) / 0.435)
    assert MAY_ABOVE.numbers["deepseek-v4-pro, coding: output"] == pytest.approx(1 - float(costs.output) / 0.87)


def test_the_rise_of_august():
    """Peak output 4.55 times May's, peak hit 12.1, off-peak output 2.28, off-peak hit 6.1: public reports of August."""
    at = AUGUST.numbers
    assert at["peak, output"] == pytest.approx(4.55, abs=0.005)
    assert at["peak, hit"] == pytest.approx(12.1, abs=0.05)
    assert at["off-peak, output"] == pytest.approx(2.28, abs=0.005)
    assert at["off-peak, hit"] == pytest.approx(6.1, abs=0.05)
    assert at["peak, miss"] == pytest.approx(2 * at["off-peak, miss"])
    assert all(at[f"least since, {kind}"] == at[f"off-peak, {kind}"] for kind in levers.KINDS)


def test_the_cost_is_the_same_on_both_days_and_the_margin_is_not():
    at, service = AUGUST.numbers, levers.served("deepseek-v4-pro")
    for day in (IN_MAY, date(2026, 8, 17)):
        costs = levers.margin("deepseek-v4-pro", service, day).costs
        assert [float(costs.of(kind)) for kind in levers.KINDS] == [at[f"cost, {kind}"] for kind in levers.KINDS]
    assert at["left in May"] < at["left in August, off-peak"] < at["left in August, peak"]


def test_launch_prices_were_up_to_twelve_times_the_small_models():
    ratios = {kind: AUGUST.numbers[f"over deepseek-v4-flash at launch, {kind}"] for kind in levers.KINDS}
    assert ratios == pytest.approx({"hit": 0.145 / 0.028, "miss": 1.74 / 0.14, "output": 3.48 / 0.28})
    said = catalog.tables().serving.figures["deepseek-v4-scarce"].values["pro_over_flash"]
    assert round(max(ratios.values())) == said == 12


def test_rents_that_rose():
    at = AUGUST.numbers
    assert at["rent of h200"] == pytest.approx(2.90 / 2.05)
    assert at["most that rents rose"] == at["rent of gb200"] == pytest.approx(4.00 / 2.60)
    assert "explain miss (off-peak) and not" in AUGUST.answer


def test_hits_over_misses_by_hand():
    """From the rows themselves: makers' lists, first tier, in force on the day; yuan where a product has no dollars."""
    dollars = {row.product for row in catalog.tables().prices if row.currency == "USD"}
    for name, day in (("May", IN_MAY), ("November", IN_NOVEMBER)):
        at = start_of(day)
        shares = {
            row.product: row.hit / row.miss
            for row in catalog.tables().prices
            if (row.published_by, row.min_input_tokens) == ("provider", 0) and not row.host_of
            if row.currency == "USD" or row.product not in dollars
            if row.hit is not None and start_of(row.valid_from) <= at
            if row.valid_to is None or at < start_of(row.valid_to)
        }
        assert dict(levers.hit_shares(day)) == pytest.approx(shares)
        assert HITS.numbers[f"median in {name}"] == pytest.approx(median(shares.values()))


def test_products_are_grouped_by_their_first_list():
    groups = levers.shares_by_arrival()
    assert sum(map(len, groups.values())) == len(levers.hit_shares(IN_NOVEMBER))
    assert "gpt-6.1-sol" in groups["since September"] and "deepseek-v4-pro" in groups["before June"]
    since = groups["since September"].values()
    assert HITS.numbers["cheap since September"] == sum(share <= CHEAP + 1e-9 for share in since)
    assert HITS.numbers["median since September"] < HITS.numbers["median June to August"]


def test_makers_lines():
    """Published misses over hits: OpenAI and Anthropic 10 in May and 20 in November, V4-Pro 120 and 30."""
    lines = levers.line_changes()
    for maker in ("OpenAI", "Anthropic"):
        assert 1 / lines[maker]["share in May"] == pytest.approx(10)
        assert 1 / lines[maker]["share in November"] == pytest.approx(20)
    assert 1 / lines["DeepSeek"]["share in May"] == pytest.approx(120)
    assert 1 / lines["DeepSeek"]["share in November"] == pytest.approx(30)
    assert len(levers.line_table().rows) == len(lines) == HITS.numbers["lines"]


def test_the_small_models_cache_and_its_price():
    """890 bytes a token by its maker, three quarters less; the hit fell by 57%."""
    at = HITS.numbers
    assert at["bytes of deepseek-v4.1-flash"] == pytest.approx(890, rel=5e-3)
    assert at["bytes fall to"] == pytest.approx(0.25, abs=0.01)
    assert at["its hit falls to"] == pytest.approx(1 - 0.57, abs=0.005)


def test_words():
    assert joined(["a"]) == "a"
    assert joined(["a", "b", "c"]) == "a, b and c"
    assert joined([]) == "none"
    assert percent(0.1234) == "12.3%"
