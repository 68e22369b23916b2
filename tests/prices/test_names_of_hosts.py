"""A name with a host in front, or of a checkpoint from before a product's prices, is no name of the maker's product."""

import pytest

from costlab import prices


@pytest.mark.parametrize(
    ("name", "seller"),
    [  # as LiteLLM and gateways write who serves it
        ("together_ai/deepseek-ai/DeepSeek-V4-Pro", "together_ai"),
        ("deepinfra/deepseek-ai/DeepSeek-R1", "deepinfra"),
        ("bedrock/anthropic/claude-opus-4-8", "bedrock"),
        ("azure/openai/gpt-5.5", "azure"),
        ("azure/gpt-5.5", "azure"),
        ("deepseek/openrouter/deepseek-v4-pro", "openrouter"),
    ],
)
def test_a_host_before_the_maker_is_not_passed_over(name, seller):
    with pytest.raises(ValueError, match=f"no prices of the seller '{seller}' are known"):
        prices.resolve(name)


def test_a_router_passes_prices_on():
    assert prices.resolve("openrouter/deepseek/deepseek-v4-pro") == "deepseek-v4-pro"
    assert prices.resolve("together/deepseek-v4-pro") == "together/deepseek-v4-pro"  # a host with a list here


@pytest.mark.parametrize("name", ["qwen-plus-2025-01-25", "qwen/qwen-plus-2025-01-25", "gpt-5.5-20250807"])
def test_a_checkpoint_older_than_the_list_is_refused(name):
    """The list of Qwen-Plus begins with the checkpoint of 2025-07-28."""
    with pytest.raises(ValueError, match="is older than the prices of"):
        prices.resolve(name)


@pytest.mark.parametrize(
    ("name", "product"),
    [
        ("gpt-4o-2024-08-06", "gpt-4o"),
        ("gpt-5.5-2026-04-23", "gpt-5.5"),
        ("claude-opus-4-20250514", "claude-opus-4"),  # dated eight days before its release
        ("claude-opus-4-8@20260528", "claude-opus-4.8"),
        ("claude-haiku-4-5-20251001", "claude-haiku-4.5"),
    ],
)
def test_a_checkpoint_of_the_time_is_its_product(name, product):
    assert prices.resolve(name) == product


def test_the_first_checkpoint_of_gpt_4o_kept_its_price():
    """OpenAI's list of 2026 has it at 5 and 15 USD still, twice the later ones' miss, and no hit price."""
    load = prices.Workload(1_000_000, 1_000_000, hit_rate=0.5)
    first, later = (prices.bill(name, load, "2025-06-01") for name in ("gpt-4o-2024-05-13", "gpt-4o-2024-08-06"))
    assert (first.total, later.total) == (20, 0.5 * 2.5 + 0.5 * 1.25 + 10)
    assert "no hit price listed: hits billed as misses" in first.notes
    batch, priority = (prices.bill("gpt-4o-2024-05-13", load, "2026-06-01", service=s) for s in ("batch", "priority"))
    assert (batch.miss, batch.output, priority.output) == (1.25, 7.5, 26.25)
    with pytest.raises(ValueError, match=r"ended on 2026-10-23 00:00 UTC, followed by gpt-4o$"):
        prices.price_at("gpt-4o-2024-05-13", "2026-10-23")
