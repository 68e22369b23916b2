"""The figures about the market of 2026 and about layers with a state: whole at their ends, and their numbers."""

import json
from datetime import date
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from figures import axes_of, check, lines, numbers

from costlab import catalog, explore, prices
from costlab.explore.prices_calculator import BILLED, COMPARED, charges_writes, monthly_usd
from costlab.explore.prices_market import (
    AGENT_CALL,
    CLASSES,
    DISCOUNTS,
    MAKER_FLAGSHIPS,
    MAKER_SMALL,
    agent_usd,
    maker_spans,
    miss_over_hit,
    spread,
)

pytestmark = pytest.mark.filterwarnings("error")

MEASURED = json.loads(Path(__file__).parents[2].joinpath("benchmarks/gpu/decode.json").read_text())["rows"]
JUNE, NOVEMBER = date(2026, 6, 1), date(2026, 11, 25)
OFF_PEAK, PEAK = "2026-11-25T12:00", "2026-11-25T02:00"
AGENT = prices.Workload(32_768, 8_192, 0.5, calls=10)

ENDS = [
    *(
        ("price_map", {"what": what, "products": products})
        for what in ("the agent's bill", "misses", "hits", "output")
        for products in CLASSES
    ),
    ("hit_discounts", {}),
    ("price_calculator", {}),
    ("price_calculator", {"calls": 1, "input_tokens": 1, "output_tokens": 0}),
    ("price_calculator", {"input_tokens": 0, "output_tokens": 0}),
    ("price_calculator", {"hit_rate": 0.0, "written": 0.0, "peak_share": 0.0, "day": "2026-06-01"}),
    ("price_calculator", {"hit_rate": 1.0, "written": 1.0, "peak_share": 1.0, "input_tokens": 250_000}),
    ("price_calculator", {"calls": 20_000, "input_tokens": 250_000, "output_tokens": 20_000, "day": "2026-06-01"}),
    ("state_and_cache", {}),
    *(
        ("state_and_cache", {"model": key})
        for key in ("qwen3-next-80b", "kimi-linear-48b", "kimi-k3", "nemotron-3-super")
    ),
    *(("decode_by_kind", {"rows": MEASURED, "batch": batch}) for batch in (1, 16, 64)),
]


@pytest.mark.parametrize(("name", "arguments"), ENDS, ids=lambda given: given if isinstance(given, str) else "")
def test_drawn_whole(name, arguments):
    check(getattr(explore, name)(**arguments))


@pytest.mark.parametrize(
    ("name", "arguments", "words"),
    [
        ("price_map", {"what": "writes"}, "'writes'"),
        ("price_map", {"products": "tiny"}, "'tiny'"),
        ("price_calculator", {"day": "2026-07-01"}, "'2026-07-01'"),
        ("price_calculator", {"hit_rate": 1.5}, "1.5"),
        ("price_calculator", {"written": -0.1}, "written should lie between 0 and 1, got -0.1"),
        ("price_calculator", {"peak_share": 2}, "peak_share should lie between 0 and 1, got 2"),
        ("price_calculator", {"calls": 0}, "calls should be a whole number from 1 to .*, got 0"),
        ("state_and_cache", {"model": "deepseek-v3"}, "'deepseek-v3' has no layers with a state"),
        ("state_and_cache", {"model": "nope"}, "'nope'"),
        ("decode_by_kind", {"rows": MEASURED, "batch": 2}, "batch = 2 was not measured; those are 1, 16, 64"),
    ],
)
def test_bad_input(name, arguments, words):
    with pytest.raises(ValueError, match=words):
        getattr(explore, name)(**arguments)


def test_a_product_without_a_hit_price_is_refused(monkeypatch):
    row = prices.history("qwen-plus", "USD")[0]
    assert row.hit is None
    monkeypatch.setattr(prices, "price_at", lambda product, day: row)
    with pytest.raises(ValueError, match="'qwen-plus' lists no hit price on 2026-06-01"):
        miss_over_hit("qwen-plus", JUNE)


# --- the map ---------------------------------------------------------------------------------------------------

# miss, hit and output in dollars per million, as the vendors' pages and two public price packages give them
LISTED = {
    ("deepseek-v4-pro", JUNE): (0.435, 0.003625, 0.87),
    ("gpt-5.5", JUNE): (5, 0.5, 30),
    ("claude-opus-4.8", JUNE): (5, 0.5, 25),
    ("deepseek-v4-pro", NOVEMBER): (0.66, 0.022, 1.98),
    ("gpt-6.1-sol", NOVEMBER): (2, 0.1, 10),
    ("claude-opus-5.5", NOVEMBER): (4, 0.2, 20),
    ("gpt-6-luna", NOVEMBER): (0.1, 0.01, 0.5),
    ("claude-haiku-5.5", NOVEMBER): (0.1, 0.01, 0.5),
    ("mimo-v2.6-flash", NOVEMBER): (0.14, 0.0028, 0.28),
    ("deepseek-v4.1-flash", NOVEMBER): (0.15, 0.003, 0.60),
}


def run(product, day):
    """Ten calls, 16,384 hits, as many misses and 8,192 tokens of output each."""
    miss, hit, output = LISTED[product, day]
    return 10 * (16_384 * hit + 16_384 * miss + 8_192 * output) / 1e6


def drawn_usd(makers, maker, day):
    """The price that the map draws on a day: off-peak and peak."""
    (span,) = (s for s in maker_spans(makers[maker], agent_usd) if s.start.date() <= day <= s.end.date())
    return span.low, span.high


@pytest.mark.parametrize(("product", "day"), LISTED, ids=str)
def test_the_map_draws_what_a_run_costs_by_the_lists(product, day):
    makers = MAKER_FLAGSHIPS if any(product in of for of in MAKER_FLAGSHIPS.values()) else MAKER_SMALL
    maker = next(m for m, of in makers.items() if product in of)
    assert drawn_usd(makers, maker, day)[0] == pytest.approx(run(product, day))


@pytest.mark.parametrize(
    ("maker", "day", "off_peak", "peak"),
    [
        ("OpenAI", JUNE, 23.5, 23.5),
        ("OpenAI", NOVEMBER, 4.2, 2.1),
        ("Anthropic", JUNE, 20.6, 20.6),
        ("Anthropic", NOVEMBER, 8.5, 4.2),
    ],
)
def test_flagships_lie_as_far_apart_as_the_fact_sheet_of_november_says(maker, day, off_peak, peak):
    theirs, (low, high) = drawn_usd(MAKER_FLAGSHIPS, maker, day)[0], drawn_usd(MAKER_FLAGSHIPS, "DeepSeek", day)
    assert theirs / low == pytest.approx(off_peak, abs=0.05)
    assert theirs / high == pytest.approx(peak, abs=0.05)


def test_the_map_says_the_cheapest_and_the_dearest_of_both_days():
    june = run("gpt-5.5", JUNE) / (10 * (16_384 * 0.0036 + 16_384 * 0.435 + 8_192 * 0.87) / 1e6)
    told = numbers(explore.price_map())
    assert told[1:3] == pytest.approx([run("gpt-5.5", JUNE), june])
    assert told[4] == pytest.approx(run("claude-opus-5.5", NOVEMBER))
    small = numbers(explore.price_map(products="small models"))
    assert small[3:5] == pytest.approx([run("mimo-v2.6-flash", NOVEMBER), run("deepseek-v4.1-flash", NOVEMBER)])
    spans = {maker: maker_spans(of, agent_usd) for maker, of in MAKER_FLAGSHIPS.items()}
    assert [s.product for s in spread(spans, NOVEMBER)] == ["mimo-v2.6-pro", "claude-opus-5.5"]


def test_spans_follow_one_another_up_to_the_last_day_and_never_overlap():
    for makers in CLASSES.values():
        for of in makers.values():
            spans = maker_spans(of, agent_usd)
            assert all(before.end <= after.start for before, after in pairwise(spans))
            assert all(s.start < s.end and s.low <= s.high and s.product in of for s in spans)
            assert spans[-1].end.date() == NOVEMBER
            assert spans[-1].product == of[-1]


def test_the_map_shows_no_day_that_has_not_come():
    axes = axes_of(explore.price_map, "the agent's bill", "flagships")
    right = max(float(line.get_xdata()[-1]) for line in axes.lines)
    assert all(tick <= right for tick in axes.get_xticks())
    assert len(axes_of(explore.price_map, "the agent's bill", "small models").get_yticks()) >= 3


# --- hits ------------------------------------------------------------------------------------------------------

# how many hits cost a miss, from the lists as printed: June, November
OF_A_MISS = {
    "DeepSeek": (0.435 / 0.003625, 0.66 / 0.022),
    "Xiaomi": (0.435 / 0.0036, 0.435 / 0.0036),
    "Anthropic": (5 / 0.5, 4 / 0.2),
    "OpenAI": (5 / 0.5, 2 / 0.1),
    "Google": (2 / 0.2, 2 / 0.1),
    "Moonshot": (0.95 / 0.16, 2 / 0.2),
    "Alibaba": (2.5 / 0.5, 2 / 0.25),
    "Z.ai": (1.4 / 0.26, 1.4 / 0.26),
}


def test_hits_of_a_miss_are_those_of_the_lists():
    assert set(OF_A_MISS) == set(DISCOUNTS)
    for maker, both in DISCOUNTS.items():
        found = [miss_over_hit(product, day) for product, day in zip(both, (JUNE, NOVEMBER), strict=True)]
        assert found == pytest.approx(OF_A_MISS[maker]), maker
    drawn = [line.get_xdata() for line in axes_of(explore.hit_discounts).lines if len(line.get_xdata()) == 2]
    assert np.array(drawn) == pytest.approx(np.array(list(OF_A_MISS.values())))


def test_hours_do_not_change_how_many_hits_cost_a_miss():
    off, peak = (prices.price_at("deepseek-v4-pro", at) for at in (OFF_PEAK, PEAK))
    assert off.miss / off.hit == pytest.approx(peak.miss / peak.hit) == pytest.approx(30)


# --- the calculator --------------------------------------------------------------------------------------------


def test_a_month_by_hand():
    """30 days of 1,000 calls: 16,000 hits, 4,000 misses, 1,000 tokens of output; a fifth of the calls at peak."""
    pro = 30 * 1000 / 1e6 * (16_000 * 0.022 + 4_000 * 0.66 + 1_000 * 1.98) * (0.8 + 0.2 * 2)
    opus = 30 * 1000 / 1e6 * (16_000 * 0.2 + 4_000 * 5 + 1_000 * 20)  # each miss is written, at 5 and not at 4
    mimo = 30 * 1000 / 1e6 * (16_000 * 0.0028 + 4_000 * 0.14 + 1_000 * 0.28)  # writing is free
    drawing = explore.price_calculator()
    shown = dict(zip(ordered(), numbers(drawing), strict=True))
    assert shown["deepseek-v4-pro"] == pytest.approx(pro)
    assert shown["claude-opus-5.5"] == pytest.approx(opus)
    assert shown["mimo-v2.6-flash"] == pytest.approx(mimo)
    assert f"{pro:.0f}" == "179"
    assert "prices_month" in drawing.words.note  # the number that the text shows


def ordered():
    """Products as the figure orders them: names on its axis, cheapest first."""
    return [text.get_text() for text in axes_of(explore.price_calculator).get_yticklabels()]


def test_every_month_equals_the_bill_of_its_calls():
    load = prices.Workload(20_000, 1_000, 0.8, 1000)
    stored = prices.Workload(20_000, 1_000, 0.8, 1000, write_tokens=4_000)
    for product, shown in zip(ordered(), numbers(explore.price_calculator()), strict=True):
        of = stored if charges_writes(product, NOVEMBER) else load
        off, peak = (prices.bill(product, of, at).total for at in (OFF_PEAK, PEAK))
        assert shown == pytest.approx(30 * (0.8 * off + 0.2 * peak)), product


def test_half_of_the_misses_written():
    """Haiku 5.5 below its tier of 100K tokens: 2,000 misses at 0.1 and 2,000 written at 0.125."""
    by_hand = 30 * 1000 / 1e6 * (16_000 * 0.01 + 2_000 * 0.1 + 2_000 * 0.125 + 1_000 * 0.5)
    axes = axes_of(explore.price_calculator, written=0.5)
    place = [text.get_text() for text in axes.get_yticklabels()].index("claude-haiku-5.5")
    bars = axes.patches[place * len(BILLED) : (place + 1) * len(BILLED)]
    assert sum(bar.get_width() for bar in bars) == pytest.approx(by_hand)


def test_a_longer_prompt_moves_to_its_tier_whole():
    """Haiku 5.5 beyond 100,000 tokens: five times the price of every kind."""
    load = prices.Workload(200_000, 1_000, 0.5, 10)
    month = monthly_usd("claude-haiku-5.5", load)
    assert sum(month.values()) == pytest.approx(30 * 10 / 1e6 * (100_000 * 0.05 + 100_000 * 0.5 + 1_000 * 2.5))


def test_an_even_load_pays_the_mean_of_the_week():
    """35 of 168 hours are peak, at twice the price."""
    load = prices.Workload(1_000_000, 0, 0.0, 1)
    assert sum(monthly_usd("deepseek-v4-pro", load).values()) / 30 == pytest.approx(0.66 * (1 + 35 / 168))
    with pytest.raises(ValueError, match=r"peak_share should lie between 0 and 1, got -0\.5"):
        monthly_usd("deepseek-v4-pro", load, peak_share=-0.5)


def test_the_calculator_compares_only_what_is_sold_on_its_day():
    for day, products in COMPARED.items():
        assert len(set(products)) == len(products)
        for product in products:
            assert prices.price_at(product, day).hit is not None, (product, day)


def test_prompts_of_the_agent_lie_in_the_lowest_tier():
    assert AGENT_CALL.input_tokens == AGENT.input_tokens == 32_768
    for of in MAKER_FLAGSHIPS.values():
        last = prices.price_at(of[-1], OFF_PEAK)
        assert agent_usd(last) == pytest.approx(prices.bill(of[-1], AGENT, OFF_PEAK).total)


# --- states ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "state", "token_bytes", "stateful", "full"),
    [
        ("qwen3.5-397b-a17b", 45 * 64 * 128 * 128 * 4, 30_720, 45, 15),
        ("kimi-k3", 69 * 96 * 128 * 128 * 4, 27_648, 69, 24),
        ("kimi-linear-48b", 21 * 32 * 128 * 128 * 4, 6_912, 21, 6),
        ("qwen3-next-80b", 36 * 32 * 128 * 128 * 4, 24_576, 36, 12),
    ],
)
def test_where_a_state_pays(model, state, token_bytes, stateful, full):
    """As much as S / t tokens of cache; both together less than all layers full beyond S / t x full / stateful."""
    kept, equal, pays = numbers(explore.state_and_cache(model))
    assert (kept, equal) == pytest.approx((state, state / token_bytes))
    assert state + token_bytes * pays == pytest.approx(token_bytes / full * (full + stateful) * pays)
    all_full, growing, states, together = lines(explore.state_and_cache, model)[:4]
    assert (states[1] == state).all()
    assert together[1] == pytest.approx(growing[1] + states[1])
    longer = all_full[0] > pays
    assert (all_full[1][longer] > together[1][longer]).all()
    assert (all_full[1][~longer] <= together[1][~longer] * (1 + 1e-12)).all()


def test_ink_in_a_key_follows_the_page():
    """A swatch in the ink's own black cannot be seen on a dark page."""
    keys = explore.state_and_cache().html.split("drawing-key-narrow")[1].split("</ul>")[0]
    assert "currentColor" in keys and "#000000" not in keys


def test_the_states_of_qwen_and_kimi_equal_the_tokens_that_the_fact_sheet_names():
    assert numbers(explore.state_and_cache())[1] == pytest.approx(6140, rel=1e-3)
    assert numbers(explore.state_and_cache("kimi-k3"))[1] == pytest.approx(15_700, rel=1e-3)


@pytest.mark.parametrize("batch", [1, 16, 64])
def test_measured_steps_are_drawn_as_they_are_stored(batch):
    delta, full = lines(explore.decode_by_kind, MEASURED, batch)
    for kind, (contexts, milliseconds) in (("gated-delta", delta), ("full", full)):
        stored = {r["context"]: r["step_s"] for r in MEASURED if (r["kind"], r["batch"]) == (kind, batch)}
        assert dict(zip(contexts, milliseconds / 1e3, strict=True)) == pytest.approx(stored)
    assert numbers(explore.decode_by_kind(MEASURED, batch)) == pytest.approx(
        [delta[1][0], delta[1][-1], full[1][0], full[1][-1]]
    )
    words = explore.decode_by_kind(MEASURED, batch).words
    assert words.note.startswith("One sequence:" if batch == 1 else f"{batch} sequences together:")
    assert ("one sequence" if batch == 1 else f"{batch} sequences") in words.alt


def test_a_state_loses_at_1k_and_wins_beyond_the_crossings_that_the_chapter_names():
    for batch, equal in ((1, 14_000), (64, 5_000)):
        delta, full = lines(explore.decode_by_kind, MEASURED, batch)
        common = len(full[0])
        slower = full[1] - delta[1][:common]
        assert slower[0] < 0 < slower[-1]
        assert np.interp(0, slower, full[0]) == pytest.approx(equal, rel=0.1)
        assert delta[1].max() / delta[1].min() < 1.01  # whatever the context


# --- margins ---------------------------------------------------------------------------------------------------


def test_the_margins_that_the_chapter_sets_beside_one_another():
    """DeepSeek's profit over cost and its share of the revenue are one figure; the others are shares."""
    day, margins = catalog.tables().days["deepseek-day"], catalog.tables().margins
    assert day.revenue_usd / day.cost_usd - 1 == pytest.approx(day.margin, abs=0.01)
    assert 1 - day.cost_usd / day.revenue_usd == pytest.approx(day.margin / (1 + day.margin), abs=0.001)
    assert margins["zhipu-cloud-2024"].margin < margins["minimax-2025"].margin < margins["zhipu-cloud-2026"].margin
    assert margins["openai-company-2026"].margin < margins["openai-compute-2025"].margin
