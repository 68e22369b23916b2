"""What a bill says beside its amounts, and that it says it only where it holds."""

from datetime import timedelta

import pytest

from costlab import prices
from costlab.prices import Workload


def notes(product, when, tokens=1000, rate=0.0, **kind):
    return prices.bill(product, Workload(tokens, 10, rate, **kind), when).notes


@pytest.mark.parametrize(
    ("tokens", "said"),
    [
        (263_839, None),
        (263_840, "above 272,000 tokens miss 10, hit 1, output 45 USD per million"),
        (272_000, "above 272,000 tokens miss 10, hit 1, output 45 USD per million"),
        (272_001, "up to 272,000 tokens miss 5, hit 0.5, output 30 USD per million"),
        (280_160, "up to 272,000 tokens miss 5, hit 0.5, output 30 USD per million"),
        (280_161, None),
    ],
)
def test_within_3_percent_of_a_border(tokens, said):
    """GPT-5.5's 272,000 tokens: 8,160 on each side."""
    found = [note for note in notes("gpt-5.5", "2026-11-20", tokens) if "border" in note]
    whole = f"{tokens:,} input tokens are within 3% of a tier's border: {said}"
    assert found == ([whole] if said else [])


def test_a_border_that_belongs_to_the_dear_side():
    """xAI: 200,000 tokens are dear already."""
    cheap, dear = (prices.price_at("grok-4.7", "2026-11-25", input_tokens=n) for n in (199_999, 200_000))
    assert (cheap.miss, dear.miss) == (2, 4)
    assert [prices.tier_text(row) for row in (cheap, dear)] == ["< 200,000 tokens", "≥ 200,000 tokens"]


@pytest.mark.parametrize(
    ("when", "edge"),
    [
        ("2026-11-17T00:49:59", None),
        ("2026-11-17T00:50", "peak hours begin at 01:00 UTC"),
        ("2026-11-17T01:10", "peak hours begin at 01:00 UTC"),
        ("2026-11-17T01:10:01", None),
        ("2026-11-17T03:55", "off-peak hours begin at 04:00 UTC"),
        ("2026-11-17T10:05", "off-peak hours begin at 10:00 UTC"),
        ("2026-11-21T03:55", None),  # a Saturday
        ("2026-10-01T03:55", None),  # National Day
    ],
)
def test_near_the_edge_of_peak_hours(when, edge):
    found = [note.split(": whether")[0] for note in notes("deepseek-v4-pro", when) if "not settled" in note]
    assert found == ([edge] if edge else [])


def test_the_other_price_of_the_day():
    assert notes("deepseek-v4-pro", "2026-11-10")[0] == (
        "off-peak price; peak: miss 1.32, hit 0.044, output 3.96 USD per million"
    )
    assert notes("deepseek-v4-pro", "2026-06-01") == ()


@pytest.mark.parametrize(
    ("when", "said"),
    [
        ("2026-12-31T02:00", False),
        ("2027-01-01T02:00", False),  # New Year is a holiday each year
        ("2027-02-09T02:00", True),  # a Tuesday after the statutory days: peak only if it is a working day
        ("2027-02-09T12:00", False),  # off-peak either way
        ("2027-02-06T02:00", False),  # a Saturday
    ],
)
def test_holidays_that_are_not_known(when, said):
    assert ("holidays after 2026-12-31 unknown: priced as a working day" in notes("deepseek-v4-pro", when)) == said


@pytest.mark.parametrize(
    ("product", "when", "said"),
    [
        ("gemini-4-argon", "2026-11-30", "2026-12-01 00:00 UTC: miss 4, hit 0.2, output 20 USD per million"),
        ("gemini-3.8-flash", "2026-12-30", "2027-01-01 00:00 UTC: miss 1.5, hit 0.15, output 7.5 USD per million"),
    ],
)
def test_an_announced_change(product, when, said):
    assert f"announced to change on {said}" in notes(product, when)


def test_no_change_is_said_before_it_was_announced_or_after_it_came():
    """V4-Pro's rise of 2026-08-16 stood on a page of mid-August."""
    for when in ("2026-06-01", "2026-08-17"):
        assert not any("announced to change" in note for note in notes("deepseek-v4-pro", when))
    assert prices.bill("gemini-4-argon", Workload(10**6, 0), "2026-12-01").miss == 4
    assert not any("announced" in note for note in notes("gemini-4-argon", "2026-12-01"))


def test_an_end_that_is_near():
    assert "sold until 2026-12-01 00:00 UTC" in notes("gemini-2.5-pro", "2026-11-20")
    assert not any("sold until" in note for note in notes("gemini-2.5-pro", "2026-06-05"))


def test_keeping_a_cache_that_costs_by_the_hour():
    said = "keeping a cache costs 0.5 USD per million tokens and hour: not counted"
    assert said in notes("gemini-3.8-flash", "2026-11-25", rate=0.5)
    assert said not in notes("gemini-3.8-flash", "2026-11-25")


def test_thinking_that_is_priced_apart():
    assert "output without thinking; with it 4 instead of 1.2 USD per million" in notes("qwen-plus", "2026-06-01")
    thought = notes("qwen-plus", "2026-06-01", thinking_tokens=5)
    assert "the output of a thinking call costs 4 USD per million, all of it" in thought
    assert notes("deepseek-v4-pro", "2026-06-01", thinking_tokens=5) == ()


def test_long_writes_without_a_price():
    said = "no price listed for a longer lifetime in the cache: billed as other writes"
    assert said in notes("deepseek-v4-pro", "2026-06-01", write_long_tokens=10)
    assert said not in notes("claude-opus-5.5", "2026-11-01", write_long_tokens=10)


def test_a_reading_that_is_older_than_the_day():
    row = prices.price_at("claude-opus-5.5", "2026-11-01")
    said = f"price read on {row.date}; later changes unknown"
    assert said not in notes("claude-opus-5.5", row.date)
    assert said in notes("claude-opus-5.5", row.date + timedelta(days=1))
    # announced is not read: what holds until a day to come may change before it
    assert any("later changes unknown" in note for note in notes("gemini-4-argon", "2026-11-29"))


@pytest.mark.parametrize(
    ("name", "provider"),
    [  # organisations of Hugging Face
        ("deepseek-ai/DeepSeek-V4-Pro", "DeepSeek"),
        (" Qwen/Qwen3.8-Max ", "Alibaba Cloud"),
        ("moonshotai/Kimi-K2.6", "Moonshot AI"),
        ("XiaomiMiMo/MiMo-V2.6-Pro", "Xiaomi"),
        ("zai-org/GLM-5.3", "Zhipu"),
        ("MiniMaxAI/MiniMax-M3", "MiniMax"),
        ("mistralai/mistral-large-4", "Mistral AI"),
        ("inclusionAI/Ling-3.1-Flash", "Ant Group"),
        ("tencent/hy4", "Tencent"),
    ],
)
def test_a_name_of_weights_says_whose_list_was_taken(name, provider):
    said = (
        f"many hosts may sell weights named {name.strip()!r}, at prices of their own: {provider}'s own list was taken"
    )
    assert notes(name, "2026-11-26").count(said) == 1


@pytest.mark.parametrize(
    "name",
    [  # a product's own name, its seller's API, a router's name of it, a host's, and one whose weights nobody else has
        "deepseek-v4-pro", "deepseek/deepseek-v4-pro", "openrouter/moonshotai/kimi-k2.6", "together/deepseek-v4-pro",
        "tencent/deepseek-v4-pro", "openai/gpt-5.5", "anthropic/claude-opus-5",
    ],
)  # fmt: skip
def test_a_name_of_a_sellers_product_does_not(name):
    assert not [note for note in notes(name, "2026-11-26") if "weights" in note]
