"""The price of a token at equal speed: against every batch tried one by one, and against reports of users."""

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from costlab import arch, catalog
from costlab.chips import ChipHour, DraftedRound, NoPrice, TokenPrice, as_served, band, fit, layouts, token_price
from costlab.chips.bands import round_s
from costlab.roofline import Deployment, Efficiency

H800 = ChipHour("h800", 2.0)


def by_trying(model, hour, context, speed, draft=None, share=1.0):
    """The cheapest of all layouts and of all batches that fill the replicas alike, one step after the other."""
    best = math.inf
    kind = draft.kind if draft else None
    length, gained = (draft.length, 1 + draft.accepted) if draft else (0, 1.0)
    for chips in hour.chips:
        for node in layouts(model, hour.chip, chips, draft=kind):
            node = dataclasses.replace(node, efficiency=Efficiency(share, share, share))
            for each in range(1, node.max_batch(context + length) // node.replicas + 1):
                seconds = round_s(node, each * node.replicas, context, length)
                if seconds <= gained / speed * (1 + 1e-9):
                    tokens_s = each * node.replicas * gained / seconds
                    best = min(best, hour.hourly * chips / 3600 / tokens_s * 1e6)
    return best


@pytest.mark.parametrize(
    ("model", "chips", "context", "speed", "draft"),
    [
        ("deepseek-v3", (16, 32), 32_768, 60, None),
        ("deepseek-v3", (16, 32), 32_768, 100, DraftedRound(1, 0.7)),
        ("mimo-v2-flash", (8,), 131_072, 100, None),
        ("llama-3.1-70b", (8,), 32_768, 30, None),
        ("llama-3.1-70b", (8,), 32_768, 5000, None),  # nobody is so fast
    ],
)
def test_decode_is_the_cheapest_of_all_batches(model, chips, context, speed, draft):
    hour = dataclasses.replace(H800, chips=chips)
    found = token_price(model, hour, "decode", context, user_tokens_s=speed, draft=draft, basis="roofline")
    wanted = by_trying(model, hour, context, speed, draft)
    if isinstance(found, NoPrice):
        assert wanted == math.inf and found.what == "speed" and "tokens/s at most" in found.reason
    else:
        assert found.per_million == pytest.approx(wanted, rel=1e-9)
        assert found.user_tokens_s >= speed * (1 - 1e-9)


@settings(max_examples=25, deadline=None)
@given(
    st.sampled_from(["deepseek-v3", "deepseek-v4-flash", "mimo-v2-flash", "llama-3.1-8b"]),
    st.sampled_from(["h800", "h200", "b200"]),
    st.integers(512, 100_000),
    st.floats(1, 200),
    st.floats(0.1, 10),
)
def test_money_in_proportion_and_speed_never_cheaper(model, chip, context, speed, hourly):
    hour = ChipHour(chip, hourly)
    slow, fast, dear = (
        token_price(model, h, "decode", context, user_tokens_s=s, basis="roofline")
        for h, s in ((hour, speed), (hour, 2 * speed), (dataclasses.replace(hour, hourly=3 * hourly), speed))
    )
    if isinstance(slow, NoPrice):
        assert isinstance(fast, NoPrice) and isinstance(dear, NoPrice)
        return
    assert dear.per_million == pytest.approx(3 * slow.per_million)
    assert isinstance(fast, NoPrice) or fast.per_million >= slow.per_million * (1 - 1e-9)
    node = slow.deployment
    assert slow.batch <= node.max_batch(context) and slow.batch % node.replicas == 0
    assert slow.per_million == pytest.approx(node.usd_per_million(node.decode(slow.batch, context), hourly))


def test_prefill_by_hand():
    """By FLOPs: chip-seconds of a prompt's arithmetic at the price of an hour; the limit of one second bounds it."""
    hour = dataclasses.replace(H800, chips=(32,))
    found = token_price("deepseek-v3", hour, "prefill", 4096, ttft_s=1.0, basis="roofline")
    model, node = arch.load("deepseek-v3"), found.deployment
    rates = {"fp8": 1979e12, "bf16": 989.5e12, "fp32": 494.5e12}
    flops = model.prefill_flops(4096)
    shares = {**node.model.shares_on_chip(node.tensor_parallel), "experts": 1 / node.tensor_parallel}
    seconds = sum(
        float(n) / rates[flops.precision[c]] * shares[c] * node.tensor_parallel for c, n in flops.by_component.items()
    )
    assert found.per_million == pytest.approx(seconds / 4096 * 2.0 / 3600 * 1e6)
    assert found.step_s <= 1.0 and found.held_back_by == "speed"
    assert found.tokens == found.batch * 4096


def test_a_tighter_first_token_needs_a_wider_split():
    long, short = (token_price("deepseek-v3", H800, "prefill", 131_072, ttft_s=s, basis="roofline") for s in (60, 10))
    assert long.deployment.tensor_parallel < short.deployment.tensor_parallel
    assert long.per_million < short.per_million
    none = token_price("deepseek-v3", H800, "prefill", 131_072, ttft_s=4, basis="roofline")
    assert isinstance(none, NoPrice) and "4 s are allowed" in none.reason


def test_a_band_becomes_a_range():
    found = token_price("deepseek-v3", H800, "decode", 4096, user_tokens_s=20)
    known = band("h800", "deepseek-v3")
    assert found.basis == "band" and found.efficiency == known.middle
    assert found.low < found.per_million < found.high
    ends = [
        token_price("deepseek-v3", dataclasses.replace(H800, efficiency=s), "decode", 4096, user_tokens_s=20)
        for s in (known.high, known.low)
    ]
    assert [end.per_million for end in ends] == [found.low, found.high] and ends[0].basis == "stated"
    made = found.output()
    assert made.value == pytest.approx(2.0 / found.per_million) and made.low < made.value < made.high
    assert "published runs" in made.source


def test_no_run_is_marked():
    found = token_price("mimo-v2-flash", H800, "decode", 4096, user_tokens_s=20)
    assert found.basis == "roofline" and found.efficiency == 1 and found.low == found.high == found.per_million
    assert "no published run" in found.basis_text


def test_a_range_ends_where_the_lowest_share_is_too_slow():
    """At 57 tokens/s the day's efficiency no longer serves 128K on H800s; the profile's does."""
    speeds = np.arange(20, 200, 1.0)
    found = [token_price("deepseek-v3", H800, "decode", 131_072, user_tokens_s=float(s)) for s in speeds[::20]]
    priced = [each for each in found if isinstance(each, TokenPrice)]
    assert priced and len(priced) < len(found)
    for each in priced:
        assert each.high is None or each.high >= each.per_million >= each.low
        assert (each.output().low is None) is (each.high is None)


def test_memory_is_asked_before_money():
    tiny = dataclasses.replace(H800, chips=(8,))
    none = token_price("deepseek-v4-pro", tiny, "decode", 4096, user_tokens_s=1)
    assert isinstance(none, NoPrice) and none.what == "memory"
    assert none.reason == fit("deepseek-v4-pro", "h800", 8, 4096).reason and "does not fit" in none.reason
    long = dataclasses.replace(H800, chips=(16,))
    none = token_price("deepseek-v3", long, "decode", 10_000_000, user_tokens_s=1)
    assert isinstance(none, NoPrice) and none.what == "memory" and "10000000 tokens" in none.reason


def test_launches_can_take_longer_than_the_step():
    """A DeepSeek model, eager, on 910B2 gave one user 7 tokens/s (vllm-ascend issue 362, which names no layout).

    V3 on two servers: 150 launches a layer, about what a captured graph of V3 has, of 5 us each (Huawei's performance
    model) take 46 ms a token. The roofline's step is seven times shorter, so the launches decide; graph mode removes
    them. They alone leave 19 tokens/s: the rest of the way to 7 is the host's, which no count of launches tells.
    """
    each_s = catalog.tables().costs["launch-matrix"].value
    eager = ChipHour("ascend-910b", 1.0, chips=(16,), launch_s=150 * each_s)
    graph = dataclasses.replace(eager, launch_s=0.0)
    prices = [token_price("deepseek-v3", h, "decode", 2048, user_tokens_s=5, basis="roofline") for h in (eager, graph)]
    assert prices[0].per_million > prices[1].per_million
    node = Deployment(prices[0].deployment.model, catalog.chip("ascend-910b"), 16, 8)
    launching = dataclasses.replace(node, layer_s=eager.launch_s)
    step, longer = (each.decode(1, 2048).seconds for each in (node, launching))
    assert longer - step == pytest.approx(61 * 150 * 5e-6)
    assert longer > 5 * step and 1 / step > 100
    assert 7 < 1 / longer < 25
    fast = token_price("deepseek-v3", eager, "decode", 2048, user_tokens_s=30, basis="roofline")
    assert isinstance(fast, NoPrice) and fast.what == "speed"  # no batch undoes a launch


def test_one_stream_goes_by_bandwidth():
    """GLM-4.5V on four 910B4 ran 3-4 times slower than on four H20 (vllm-ascend issue 4120). Reads of weights say 4.5
    (5 with 0.8 TB/s, as the B4 is often quoted); a ranking by TFLOPS says the opposite."""
    b4, h20 = catalog.chip("ascend-910b4"), catalog.chip("h20")
    model = arch.load("qwen3-235b-a22b")
    model = as_served(model, "W8A8")  # four B4 hold no 16 bits of it; a time, whether it fits or not
    slow, fast = (Deployment(model, each, 4, 4).decode(1, 4096) for each in (b4, h20))
    assert slow.bound == fast.bound == "memory"
    ratio = slow.seconds / fast.seconds
    assert ratio == pytest.approx(h20.memory_bandwidth_bytes_s / b4.memory_bandwidth_bytes_s)
    assert 4.5 < ratio < 4.6
    assert ratio * b4.memory_bandwidth_bytes_s / 0.8e12 == pytest.approx(5.0)
    assert b4.flops["bf16"] > 1.6 * h20.flops["bf16"]


@pytest.mark.parametrize(
    ("ask", "says"),
    [
        (lambda: ChipHour("h800", 0), "hourly = 0 USD of h800 should be above 0"),
        (lambda: ChipHour("h800", -1), "hourly = -1"),
        (lambda: ChipHour("h800", 1, efficiency=1.2), "efficiency"),
        (lambda: ChipHour("h800", 1, launch_s=-1), "launch_s"),
        (lambda: DraftedRound(1, 1.5), "accepted = 1.5"),
        (lambda: token_price("deepseek-v3", H800, "decode", 4096), "needs user_tokens_s"),
        (lambda: token_price("deepseek-v3", H800, "prefill", 4096, user_tokens_s=3), "needs ttft_s"),
        (lambda: token_price("deepseek-v3", H800, "decode", 4096, user_tokens_s=0), "above 0"),
        (lambda: token_price("deepseek-v3", H800, "train", 4096, user_tokens_s=1), "phase 'train'"),
        (lambda: token_price("deepseek-v3", H800, "decode", 0, user_tokens_s=1), "at least 1, got 0"),
        (lambda: token_price("deepseek-v3", H800, "decode", 9, user_tokens_s=1, basis="best"), "basis 'best'"),
        (lambda: token_price("deepseek-v3", ChipHour("h900", 1), "decode", 9, user_tokens_s=1), "h900"),
    ],
)
def test_bad_questions_are_refused(ask, says):
    with pytest.raises(ValueError, match=says):
        ask()
