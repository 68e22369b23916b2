"""Claims about prices: right values from price lists by hand, and from the audit of the catalog of 2026-11-25."""

import re

import pytest

from costlab import catalog, claims
from costlab.claims.prices import days, market

FOUND = {found.key: found for prefix in ("price-", "margin-", "breakeven-") for found in claims.findings(prefix)}

VERDICTS = {
    "price-miss-over-hit": "reproduced",
    "price-cut-v4pro": "reproduced",
    "price-cut-mimo-max": "reproduced under a stated assumption",
    "price-cut-mimo-miss-out": "contradicted",
    "price-permanent": "contradicted",
    "price-follows-cost": "reproduced under a stated assumption",
    "price-v4pro-output": "reproduced",
    "price-v4pro-row": "reproduced",
    "price-mimo-pro-output": "unit or label error",
    "price-mimo-pro-row": "unit or label error",
    "price-mimo-row": "unit or label error",
    "price-mimo-matches-deepseek": "reproduced",
    "price-sub-dollar": "reproduced under a stated assumption",
    "price-qwen-row": "contradicted",
    "price-qwen": "contradicted",
    "price-glm-row": "contradicted",
    "price-gpt-hike": "reproduced",
    "price-opus-hike": "contradicted",
    "price-hike-average": "reproduced under a stated assumption",
    "price-k-shape": "contradicted",
    "price-table-fx": "contradicted",
    "price-hit-shares": "contradicted",
    "price-725x": "unit or label error",
    "price-50-100x": "reproduced under a stated assumption",
    "price-scenarios": "contradicted",
    "price-prompt-reuse": "reproduced under a stated assumption",
    "margin-before-cut": "reproduced under a stated assumption",
    "breakeven-after-cut": "reproduced under a stated assumption",
    "margin-while-cheap": "not checkable from public facts",
}


def test_every_claim_about_prices_has_its_verdict():
    assert {key: found.verdict for key, found in FOUND.items()} == VERDICTS


@pytest.mark.parametrize("key", [key for key in VERDICTS if key.startswith("price-")])
def test_each_finding_names_its_day(key):
    found = FOUND[key]
    assert re.search(r"\d{4}-\d{2}-\d{2}", found.why)
    assert found.chapter == "prices"


#: What must stand in a finding: quotients of list prices by hand, or the audit's figures, each with its arithmetic.
FIGURES = [
    ("price-cut-v4pro", "hit -75.0%, miss -75.0%, output -75.0%"),  # 0.435 / 1.74, 0.87 / 3.48, 0.003625 / 0.0145
    ("price-cut-v4pro", "A hit against the launch of 2026-04-24: -97.5%"),  # 0.003625 / 0.145
    ("price-cut-v4pro", "output 43% less and 14% more"),  # 1.98 and 3.96 over 3.48
    ("price-cut-mimo-max", "by 56.5% to 99.1%"),  # 1 - 0.435 / 1; 1 - 0.025 / 2.8
    ("price-cut-mimo-miss-out", "6 of 14 prices by 60% to 80%"),
    ("price-permanent", "for 77 days"),  # 2026-05-31 to 08-16
    ("price-permanent", "a hit costs 6.07 and 12.14"),  # audit: 6.1 and 12.1
    ("price-permanent", "output 2.28 and 4.55"),  # audit: the same
    ("price-follows-cost", "its hit cost 57% less, a miss 32% less and output 9% less"),  # audit, August to September
    ("price-mimo-pro-row", "overstate the list 6.9 times"),  # 3 / 0.435 = 0.025 / 0.0036 = 6 / 0.87
    ("price-qwen", "1.19 to 1.36 by the lists of 2026-06-01 in dollars (more in 4)"),  # audit: 1.19 to 1.36
    ("price-glm-row", "misses rose by 67% and output by 45%, where E has 60%"),  # 1 / 0.6, 3.2 / 2.2
    ("price-k-shape", "costs 23.5 times as much on gpt-5.5"),  # audit: $3.359 / $0.143
    ("price-k-shape", "4.2 times on gpt-6.1-sol off-peak, 2.1 at peak"),  # audit: $1.163 / 0.274 and 0.548
    ("price-k-shape", "deepseek-v3.2 had cost $0.42"),
    ("price-table-fx", "is 6.7651, so that $5 are CNY 34, $30 are CNY 203"),
    ("price-725x", "costs 1,379 hits"),  # 5 / 0.003625
    ("price-725x", "1,450, of which 725 is hit against hit"),  # 36.25 and 18.13 over 0.025
    ("price-725x", "138 (hit), 11.5 (miss), 34.5 (output)"),  # 0.5 / 0.003625, 5 / 0.435, 30 / 0.87
    ("price-725x", "4.55 (hit), 3.03 (miss), 5.05 (output)"),  # 0.1 / 0.022, 2 / 0.66, 10 / 1.98
    ("price-miss-over-hit", "30 for deepseek-v4-pro, 50 for deepseek-v4.1-flash, 121 for mimo-v2.6-pro"),  # audit
    ("price-miss-over-hit", "20 for gpt-6.1-sol, 20 for claude-opus-5.5"),  # audit
    ("price-scenarios", "7.2 to 8.9 (claude-opus-5.5) off-peak"),
    ("price-sub-dollar", "$1.1 (deepseek-v3, by day), $2.19 (deepseek-r1, by day), $0.55 (deepseek-v3, by night)"),
    ("price-gpt-hike", "at 2 times the price"),  # 5 / 2.5
    ("price-hike-average", "+50% in the mean of the 2 that E names, +10% in that of all 4"),  # 100, 0, 0, -58
    ("breakeven-after-cut", "ask 0.70 to 3.45 times"),  # 0.609 and 3 over 0.87
    ("price-opus-hike", "successors cost 67% less"),  # 1 - 5 / 15
]


@pytest.mark.parametrize(("key", "figure"), FIGURES)
def test_a_finding_has_the_right_figure(key, figure):
    assert figure in FOUND[key].why


def test_agents_bills_are_the_audits():
    """E's agent: $0.143 on V4-Pro and $3.359 on GPT-5.5 in June; $0.274 off-peak in November."""
    agent = days.agent()
    # ten calls: 163,840 hits, 163,840 misses, 81,920 output tokens
    june = (163_840 * 0.003625 + 163_840 * 0.435 + 81_920 * 0.87) / 1e6
    now = (163_840 * 0.022 + 163_840 * 0.66 + 81_920 * 1.98) / 1e6
    gpt = (163_840 * 0.5 + 163_840 * 5 + 81_920 * 30) / 1e6
    assert (round(june, 3), round(gpt, 3), round(now, 3)) == (0.143, 3.359, 0.274)
    assert days.bills_over("gpt-5.5", "deepseek-v4-pro", days.JUNE, [agent]) == pytest.approx([gpt / june])
    ratio = days.bills_over("gpt-5.5", "deepseek-v4-pro", days.NOW, [agent])
    assert ratio == pytest.approx([gpt / now])


def test_of_input_ninety_percent_is_saved_from_so_many_hits():
    """1 - h + h x 0.003625 / 0.435 = 0.1 at h = 0.9 / (1 - 1 / 120)."""
    assert f"from {0.9 / (1 - 1 / 120):.1%} hits on" in FOUND["price-prompt-reuse"].why


@pytest.mark.parametrize(("tokens", "kept"), [(131_072, "3,5"), (1_048_576, "3,5")])
def test_bytes_a_token_hardly_hang_on_the_length(tokens, kept):
    found = claims.settle("price-follows-cost", tokens=tokens)
    assert f"deepseek-v4-flash kept {kept}" in found.why  # 3,514 without the window: audit
    assert found.verdict == FOUND["price-follows-cost"].verdict


def test_a_cache_that_grew_would_not_have_led_the_price():
    assert claims.settle("price-follows-cost", flash_bytes=5000).verdict == "contradicted"


def test_a_mean_needs_no_single_rise():
    assert claims.settle("price-hike-average", low=0.6).verdict == "contradicted"
    assert {line.vendor for line in market.VENDOR_LINES if line.abroad} >= set(market.NAMED)


def test_a_list_in_another_currency_is_refused():
    with pytest.raises(ValueError, match=r"gpt-5\.5 has no list in CNY on 2026-06-01, only in USD"):
        days.row("gpt-5.5", days.JUNE, "CNY")


# --- margins ---------------------------------------------------------------------------------------------------


def test_deepseeks_day_as_a_share_of_its_revenue():
    """545% of the cost are 84.5% of a revenue that it did not have."""
    day = catalog.tables().days["deepseek-day"]
    assert 1 - day.cost_usd / day.revenue_usd == pytest.approx(day.margin / (1 + day.margin), abs=1e-3)


def test_figures_of_books_lie_below_those_of_models():
    stated = catalog.tables().margins.values()
    books = [
        m.margin for m in stated if m.basis == "audited accounts" and m.counts == "company" and m.date.year >= 2025
    ]
    models = [m.margin for m in stated if m.basis == "model of a third party" and m.margin is not None]
    assert max(books) < min(models)


def test_a_margin_is_a_share_of_the_revenue():
    one = catalog.tables().margins["minimax-2025"]
    values = {name: getattr(one, name) for name in one.__dataclass_fields__}
    for wrong in ({"margin": 5.45}, {"low": 0.5, "margin": 0.4}, {"margin": 0.4, "high": 0.3}):
        with pytest.raises(ValueError, match="should rise and stay below 1"):
            catalog.MarginStatement(**{**values, **wrong})
