"""Bills that people who account for token costs got wrong, from public threads, against each day's list by hand."""

import pytest

from costlab import catalog, prices
from costlab.prices import Workload

#: (thread, product, when, currency, workload, right amount); a rate is made of the thread's own counts.
BILLED = [
    # writes counted twice: usage of 3 plain, 12,304 written, 550 out
    (
        "BerriAI/litellm 9812",
        "claude-opus-4.8",
        "2026-07-12",
        "USD",
        Workload(12_307, 550, write_tokens=12_304),
        (3 * 5 + 12_304 * 6.25 + 550 * 25) / 1e6,
    ),
    # 98,805 prompt tokens, of which 66,360 read and 32,435 written
    (
        "BerriAI/litellm 11364",
        "claude-opus-4.7",
        "2026-07-12",
        "USD",
        Workload(98_805, 5_120, 66_360 / 98_805, write_tokens=32_435),
        (10 * 5 + 66_360 * 0.5 + 32_435 * 6.25 + 5_120 * 25) / 1e6,
    ),
    # written tokens charged twice
    (
        "browser-use 5305",
        "claude-opus-4.8",
        "2026-07-25",
        "USD",
        Workload(2_000, 0, 500 / 2_000, write_tokens=300),
        (1_200 * 5 + 500 * 0.5 + 300 * 6.25) / 1e6,
    ),
    # the cached part added to an input that holds it already
    (
        "langfuse/codex-observability-plugin 22",
        "gpt-5.5",
        "2026-07-04",
        "USD",
        Workload(117_231, 225, 115_584 / 117_231),
        (1_647 * 5 + 115_584 * 0.5 + 225 * 30) / 1e6,
    ),
    (
        "langfuse 10592",
        "gpt-5.5",
        "2026-06-01",
        "USD",
        Workload(17_903, 0, 17_817 / 17_903),
        (86 * 5 + 17_817 * 0.5) / 1e6,
    ),
    # each part is below the tier's border, the request is not
    (
        "junhoyeo/tokscale 862",
        "gpt-5.5",
        "2026-07-12",
        "USD",
        Workload(278_476, 630, 7_936 / 278_476),
        (270_540 * 10 + 7_936 * 1 + 630 * 45) / 1e6,
    ),
    # the tier chosen without the written tokens
    (
        "synthetic-sciences/openscience 121",
        "gpt-5.5",
        "2026-07-07",
        "USD",
        Workload(272_001, 0, write_tokens=272_001),
        272_001 * 10 / 1e6,
    ),
    # weekends billed at the peak, or the rule applied backwards
    ("mnfst/llm-gateway 2755", "deepseek-v4-pro", "2026-08-22T02:00", "USD", Workload(10**6, 0), 1.32),
    ("ginlix-ai/LangAlpha 364", "deepseek-v4-pro", "2026-08-23T01:30", "USD", Workload(10**6, 0), 0.66),
    ("defog 298", "deepseek-v4-pro", "2026-08-23T07:00", "USD", Workload(10**6, 0), 0.66),
    ("feiyang-dev/dsh-usage-plugin 9", "deepseek-v4-pro", "2026-08-24T01:30", "USD", Workload(10**6, 0), 1.32),
    ("feiyang-dev/dsh-usage-plugin 9", "deepseek-v4-pro", "2026-08-28T16:30", "USD", Workload(10**6, 0), 0.66),
    # the peak price in hours of a July that had none
    ("pydantic/genai-prices 582", "deepseek-v4-pro", "2026-07-15T02:00", "USD", Workload(10**6, 0), 0.435),
    # the hit price of before the April cut
    ("esengine/DeepSeek-Reasonix 949", "deepseek-v4-flash", "2026-05-15", "USD", Workload(10**6, 0, 1.0), 0.0028),
    # a balance fell by CNY 0.36 on a Saturday; the tool used dollars at 7.2
    (
        "Han-1413141/dsh-cost-meter 157",
        "deepseek-v4.1-flash",
        "2026-09-19T04:00",
        "CNY",
        Workload(357_030, 0),
        0.357030,
    ),
    # hit prices that were missing and billed as misses: 1.2 and 1.384
    ("headroomlabs-ai/headroom 3032", "qwen-plus", "2026-11-17", "USD", Workload(10**6, 0, 1.0), 0.24),
    (
        "anomalyco/opencode 20801",
        "mimo-v2.5",
        "2026-04-25",
        "USD",
        Workload(38_876, 0, 1.0, calls=89),
        89 * 38_876 * 0.08 / 1e6,
    ),
    # the tier above 200,000 tokens ignored
    (
        "comet-ml/opik 6982, metadist/synaplan 1319",
        "gemini-2.5-pro",
        "2026-06-05",
        "USD",
        Workload(300_000, 1_000),
        (300_000 * 2.5 + 1_000 * 15) / 1e6,
    ),
    # the old name, still taken, billed as V4.1-Flash; a Saturday
    ("yologdev/yoagent v0.25.6", "deepseek-v4-flash", "2026-09-12T02:00", "USD", Workload(10**6, 0), 0.15),
]


@pytest.mark.parametrize(("thread", "product", "when", "currency", "load", "right"), BILLED)
def test_a_case_is_billed_as_the_list_of_its_day_says(thread, product, when, currency, load, right):
    assert prices.bill(product, load, when, currency=currency).total == pytest.approx(right, rel=1e-9)


@pytest.mark.parametrize(
    ("thread", "product", "when", "words", "not_words"),
    [
        ("theopenco/llmgateway 4173", "mimo-v2.5-pro", "2026-11-17", ["2026-10-21 02:00 UTC", "mimo-v2.6-pro"], ""),
        ("gone on 2026-12-01", "gemini-2.5-pro", "2026-12-02", ["ended on 2026-12-01", "gemini-2.5-pro"], "mean"),
    ],
)
def test_a_case_that_has_no_bill_is_refused_with_what_would_be_right(thread, product, when, words, not_words):
    with pytest.raises(ValueError, match="price") as caught:
        prices.bill(product, Workload(300_000, 1_000), when)
    assert all(word in str(caught.value) for word in words)
    assert not not_words or not_words not in str(caught.value)


def test_counts_of_tens_of_millions_are_legal():
    """13,391,157 of 45,651,931 tokens hit and the others were written: refused while the tolerance was absolute."""
    tokens, hits, writes = 45_651_931, 13_391_157, 32_260_774
    due = prices.bill("claude-opus-4.8", Workload(tokens, 0, hits / tokens, write_tokens=writes), "2026-07-12")
    assert due.total == pytest.approx((hits * 0.5 + writes * 6.25) / 1e6)


@pytest.mark.parametrize(
    ("scenario", "ratio"), [("short-chat", 1.19), ("document", 1.22), ("agent", 1.24), ("batch", 1.36)]
)
def test_qwen_plus_over_v4_pro_by_the_dollar_lists(scenario, ratio):
    """1.28, 2.09, 1.60 and 2.00 while its hits were billed as misses."""
    load = Workload.from_scenario(catalog.tables().scenarios[scenario])
    bills = [prices.bill(name, load, "2026-06-01").total for name in ("qwen-plus", "deepseek-v4-pro")]
    assert bills[0] / bills[1] == pytest.approx(ratio, abs=0.005)
