"""Names as lists, APIs and logs write them, and those that mean nothing."""

import pytest

from costlab import catalog, prices
from costlab.prices.names import VENDORS


@pytest.mark.parametrize(
    ("name", "product"),
    [
        ("deepseek-v4-pro", "deepseek-v4-pro"),
        ("DeepSeek-V4-Pro", "deepseek-v4-pro"),
        (" gpt-5.5 ", "gpt-5.5"),
        ("deepseek/deepseek-v4-pro", "deepseek-v4-pro"),
        ("deepseek-ai/DeepSeek-V4-Pro", "deepseek-v4-pro"),
        ("claude-opus-4-8", "claude-opus-4.8"),
        ("anthropic/claude-opus-4-8", "claude-opus-4.8"),
        ("openrouter/anthropic/claude-opus-4.8", "claude-opus-4.8"),
        ("claude-opus-4-20250514", "claude-opus-4"),
        ("gpt-5.5-2026-04-23", "gpt-5.5"),
        ("deepseek-v4-pro-0813", "deepseek-v4-pro"),
        ("models/gemini-4-argon", "gemini-4-argon"),
        ("mistralai/mistral-large-4", "mistral-large-4"),
        ("together/deepseek-v4-pro", "together/deepseek-v4-pro"),
    ],
)
def test_a_name_means_a_product(name, product):
    assert prices.resolve(name) == product


@pytest.mark.parametrize(
    ("when", "product"),
    [
        ("2025-01-10", "deepseek-v3"),
        ("2025-09-10", "deepseek-v3.1"),
        ("2025-11-01", "deepseek-v3.2"),
        ("2026-06-01", "deepseek-v4-flash"),
    ],
)
def test_what_deepseek_chat_meant(when, product):
    """The name of DeepSeek's API stayed, and what it served changed."""
    assert prices.resolve("deepseek-chat", when) == product
    due = prices.bill("deepseek-chat", prices.Workload(1000, 10), when)
    assert due.row.product == product
    assert due.notes[0] == f"the name means {product}"


@pytest.mark.parametrize(
    ("name", "words", "absent"),
    [
        ("gemini-2.5-po", ["'gemini-2.5-po'; did you mean 'gemini-2.5-pro'?"], "mimo"),
        ("deepsek-v4-pro", ["did you mean 'deepseek-v4-pro'?"], ""),
        ("gpt-6", ["did you mean", "'gpt-6-sol'"], "gpt-5"),
        ("gpt-5.7", ["costlab prices"], "did you mean"),  # another number is another product
        ("gpt-7.5", ["costlab prices"], "did you mean"),
        ("", ["''", "costlab prices"], "did you mean"),
        ("azure/gpt-5.5", ["seller 'azure'"], ""),
        ("openai/claude-opus-4.8", ["sold by Anthropic, not by OpenAI"], ""),
        ("claude-opus-4-1", ["costlab prices"], ""),  # not the fourth version of 1 January
    ],
)
def test_a_name_of_no_product(name, words, absent):
    with pytest.raises(ValueError, match=r"price|sold") as caught:
        prices.resolve(name)
    assert all(word in str(caught.value) for word in words)
    assert not absent or absent not in str(caught.value)


def test_a_name_that_meant_something_once():
    with pytest.raises(ValueError, match=r"'deepseek-chat' meant .* at another time"):
        prices.resolve("deepseek-chat", "2026-11-25")


def test_every_product_and_alias_is_understood():
    for name in prices.products():
        assert prices.resolve(name) == name
    for alias in catalog.tables().aliases:
        assert prices.resolve(alias.name, alias.valid_from) == alias.product


def test_sellers_in_front_of_names_sell():
    assert set(VENDORS.values()) <= {row.provider for row in catalog.tables().prices}
