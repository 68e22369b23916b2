"""What the articles say of serving: published factors and their listing, beside figures of others."""

import re
from pathlib import Path

import numpy as np
import pytest

from costlab import catalog, claims, roofline
from costlab.claims import articles

SERVING = catalog.tables().serving


def scheduler(threshold=4096, channel=1000):
    return articles.ArticleScheduler(2, 3, threshold, channel)


# --- the listing -----------------------------------------------------------------------------------------------


def test_the_first_long_prompt_beyond_the_channel_waits_for_ever():
    listing = scheduler(channel=3)
    assert [listing.schedule(5000) is not None for _ in range(5)] == [True, True, True, False, False]
    assert listing.schedule(100) is not None  # short ones have no transfer
    assert listing.read_apart == 3 * 5000


def test_exactly_the_threshold_counts_as_short():
    listing = scheduler()
    node, again = listing.schedule(4096)
    assert node == again >= 2  # one of the nodes that decode
    prefill, decode = listing.schedule(4097)
    assert prefill < 2 <= decode
    assert (listing.read_beside, listing.read_apart, listing.waiting) == (4096, 4097, 1)


def test_nodes_take_turns_whatever_their_load():
    listing = scheduler()
    assert [listing.schedule(5000) for _ in range(4)] == [(0, 2), (1, 3), (0, 4), (1, 2)]
    assert [listing.schedule(1) for _ in range(3)] == [(3, 3), (4, 4), (2, 2)]  # the same counter, so both kinds mix


def test_the_ledger_counts_up_to_the_channels_end():
    found = claims.settle("pd-scheduler-code")
    assert found.verdict == "contradicted"
    assert "2,001 are scheduled" in found.why  # 1,000 long ones, and each time a short one before
    assert "Nothing declares or imports fmt, LoadBalancer, InferenceRequest, SchedulePlan" in found.why
    assert "21 are scheduled" in claims.settle("pd-scheduler-code", channel=10).why


# --- lengths of public traces ------------------------------------------------------------------------------------

TRACES = Path(__file__).parents[3] / "shared" / "traces"
BY_NAME = {lengths.name: lengths for lengths in claims.serving.traffic()}


@pytest.mark.parametrize(
    ("name", "prompts", "tokens"),
    [  # counted in the raw files, apart from the package
        ("azure-conv", 0.0208, 0.0819),
        ("azure-code", 0.1407, 0.4216),
        ("mooncake-conversation", 0.6590, 0.9497),
    ],
)
def test_shares_above_4096_are_those_of_the_raw_traces(name, prompts, tokens):
    """4,096 is the end of a bin, so nothing is lost by counting in bins."""
    assert BY_NAME[name].above(4096) == pytest.approx((prompts, tokens), abs=1e-4)


@pytest.mark.parametrize("name", ["azure-conv", "azure-code"])
@pytest.mark.parametrize("together", [2, 8])
def test_the_longest_of_several_prompts(name, together):
    """Against all prompts of the raw file; a bin's mean stands for its prompts."""
    if not TRACES.is_dir():
        pytest.skip("no raw traces")
    rows = (TRACES / f"{name.replace('-', '_2023_')}.csv").read_text().splitlines()[1:]
    raw = np.sort([int(row.split(",")[1]) for row in rows])
    exact = np.diff((np.arange(1, raw.size + 1) / raw.size) ** together, prepend=0.0) @ raw
    assert BY_NAME[name].longest(together) == pytest.approx(exact, rel=0.02)
    assert BY_NAME[name].mean == pytest.approx(raw.mean(), rel=1e-3)


def test_one_prompt_is_its_own_longest_and_powers_of_two_stay():
    lengths = claims.serving.PromptLengths(
        "two", np.array([512.0, 1448.0]), np.array([512.0, 1400.0]), np.array([0.5, 0.5])
    )
    assert lengths.longest(1) == lengths.mean == 956
    assert lengths.longest(2) == pytest.approx(0.25 * 512 + 0.75 * 1400)
    assert lengths.rounded_up() == (512 + 2048) / 2


def test_chats_are_read_beside_decoding_and_long_conversations_apart():
    found = claims.settle("pd-4096-rule")
    assert found.verdict == "reproduced under a stated assumption"
    assert "0.2% of the prompts and 5% of their tokens (m-mid)" in found.why
    assert "65.9% of the prompts and 95% of their tokens (mooncake-conversation)" in found.why
    assert f"in 2 of {len(BY_NAME)} kinds of traffic" in found.why


def test_how_long_the_channel_lasts():
    """1,000 over share and rate: 7.4 minutes on Mooncake's conversations, 2.4 hours on Azure's."""
    assert "after 7 minutes to 2.4 hours" in claims.settle("pd-scheduler-code").why
    assert "public traces" not in claims.settle("pd-scheduler-code", threshold=10**7).why


def test_buckets_save_what_padding_costs():
    found = claims.settle("serving-ep-buckets")
    padded, bucketed = (tuple(map(float, each)) for each in re.findall(r"(\d\.\d) to (\d\.\d)", found.why))
    assert padded[0] > bucketed[1] > 1
    assert "compute 1.0 times" in claims.settle("serving-ep-buckets", together=1).why


# --- factors and costs -----------------------------------------------------------------------------------------


def test_few_of_the_published_factors_are_two_to_three():
    found = claims.settle("pd-2-3x")
    factors = list(claims.serving.separations())
    inside = sum(2 <= factor <= 3 for factor in factors)
    assert found.verdict == "reproduced under a stated assumption"
    assert 0 < inside < len(factors) / 2
    assert f"{inside} of {len(factors)} published" in found.why
    assert min(factors) < 1 < 5 < max(factors)
    assert "give 2.08 with 2 to 1 and 1.75 with 1 to 1" in found.why  # min(2 x 5.6, 10) / 3 / 1.6, 5.6 / 2 / 1.6


def test_half_the_cost_needs_twice_the_rate():
    right = {"low": 0.1, "high": 10.0}
    assert claims.settle("pd-2-3x", **right).verdict == "reproduced"
    assert claims.settle("pd-2-3x", **right, cost=0.05).verdict != "reproduced"


@pytest.mark.parametrize(
    ("key", "alone", "imbalance", "whole", "deployed"),
    [  # worked out apart from the package: rent x 8 / 3600 over each node's rates
        ("sglang-96-h100", 0.1995, 19.17, 1.899, 5.524),
        ("kimi-k2-128-h200", 0.2130, 25.71, 2.038, 7.301),
    ],
)
def test_published_costs_count_the_decode_nodes_alone(key, alone, imbalance, whole, deployed):
    found = roofline.check_output_price(key)
    assert found.decode_only_usd == pytest.approx(alone, abs=5e-5)
    assert round(found.decode_only_usd, 2) == found.price.usd_per_million
    assert found.imbalance == pytest.approx(imbalance, abs=0.01)
    assert found.balanced_usd == pytest.approx(whole, abs=1e-3)
    assert found.deployed_usd == pytest.approx(deployed, abs=1e-3)
    assert found.decode_only_usd < found.balanced_usd < found.deployed_usd


def test_in_balance_both_kinds_of_nodes_are_busy_all_the_time():
    """With nodes in the ratio of their work the deployed price is the balanced one."""
    found = roofline.check_output_price("sglang-96-h100")
    prefill, decode = found.prefill.tokens_s / 2000, found.decode.tokens_s / 100  # requests per second of a node
    share = decode / (prefill + decode)  # of nodes that prefill
    requests = share * prefill
    assert requests == pytest.approx((1 - share) * decode)
    assert 8 * 2.0 / 3600 / (requests * 100) * 1e6 == pytest.approx(found.balanced_usd)


def test_an_unknown_price_of_output_is_refused():
    with pytest.raises(ValueError, match=r"unknown price of output 'sglang-96-h10'; did you mean 'sglang-96-h100'"):
        roofline.check_output_price("sglang-96-h10")


def test_the_ledger_says_what_the_costs_leave_out():
    why = claims.settle("pd-2-3x").why
    assert "$0.20 and $0.21 per million output tokens count decode nodes alone ($0.199 and $0.213)" in why
    assert "19 to 26 times too fast for the prefill nodes beside them; with both in proportion, a million" in why
    assert "output tokens and the prompts before them come to $1.90 and $2.04" in why


# --- phases ----------------------------------------------------------------------------------------------------


def test_the_phases_are_what_is_said_on_one_node_and_not_where_experts_are_spread():
    found = claims.settle("pd-phases")
    assert "on 8 NVIDIA A100 80 GB SXM4: prefill of 4,096 tokens compute-bound, decode of 64" in found.why
    assert "sequences memory-bound. DeepSeek-V3" in found.why
    assert "prefill link-bound on 32 chips, decode link-bound on 144" in found.why
    assert "(16,384 on a chip of DeepSeek's profile, 128 in decode)" in found.why
    assert "(4 prompts, 128 sequences)" in found.why
    assert "prefill of 16 tokens memory-bound" in claims.settle("pd-phases", input=16).why


def test_who_was_first():
    assert "Splitwise in 2023-11, DistServe in 2024-01, DeepSeek's first report of it in 2024-12" in (
        claims.settle("pd-first").why
    )
    assert "up to 13 months before" in claims.settle("pd-first").why
    assert claims.settle("pd-first", deepseek=2310).verdict == "reproduced"
