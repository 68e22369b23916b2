"""The map of cheapest chips against `token_price`, cell by cell, and the questions turned around."""

import dataclasses
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from costlab import arch, catalog
from costlab.chips import (
    ChipHour,
    DraftedRound,
    NoPrice,
    TokenPrice,
    choice_map,
    rated_w,
    speed_at_price,
    token_price,
    under_power,
)
from costlab.roofline import Deployment

PAIR = (ChipHour("h800", 2.0), ChipHour("h200", 3.5), ChipHour("a100-80g", 1.3), ChipHour("b200", 6.0))
CONTEXTS = [2048, 32_768, 131_072]
SPEEDS = [10.0, 40.0, 160.0, 1000.0]


def slow(model, hour, phase, context, limit, draft=None, basis="roofline"):
    name = "user_tokens_s" if phase == "decode" else "ttft_s"
    return token_price(model, hour, phase, context, **{name: limit}, draft=draft, basis=basis)


@pytest.mark.parametrize("draft", [None, DraftedRound(1, 0.85), DraftedRound(3, 1.44)])
@pytest.mark.parametrize("model", ["deepseek-v3", "deepseek-v4-pro", "mimo-v2-flash"])
def test_each_cell_is_a_price(model, draft):
    found = choice_map(model, PAIR, CONTEXTS, SPEEDS, draft=draft)
    for i, hour in enumerate(PAIR):
        for j, context in enumerate(CONTEXTS):
            for k, speed in enumerate(SPEEDS):
                one = slow(model, hour, "decode", context, speed, draft)
                if isinstance(one, NoPrice):
                    assert np.isnan(found.per_million[i, j, k]) and not found.batch[i, j, k]
                else:
                    assert found.per_million[i, j, k] == pytest.approx(one.per_million, rel=1e-9)
                    assert (found.chips[i, j, k], found.batch[i, j, k]) == (one.chips, one.batch)


def test_prefill_cells_too():
    limits = [0.2, 2.0, 60.0]
    found = choice_map("mimo-v2-flash", PAIR, CONTEXTS, limits, "prefill")
    for (i, j, k), price in np.ndenumerate(found.per_million):
        one = slow("mimo-v2-flash", PAIR[i], "prefill", CONTEXTS[j], limits[k])
        assert (isinstance(one, NoPrice) and np.isnan(price)) or price == pytest.approx(one.per_million, rel=1e-9)
    assert np.isnan(found.per_million).any() and not np.isnan(found.per_million).all()


def test_who_is_cheapest_and_by_how_much():
    found = choice_map("deepseek-v3", PAIR, CONTEXTS, SPEEDS)
    for (j, k), best in np.ndenumerate(found.cheapest):
        prices = sorted(p for p in found.per_million[:, j, k] if not np.isnan(p))
        if not prices:
            assert best == -1 and np.isnan(found.ratio[j, k]) and not found.priced[j, k]
            continue
        assert found.per_million[best, j, k] == prices[0]
        assert found.ratio[j, k] == (pytest.approx(prices[1] / prices[0]) if prices[1:] else np.inf)
    rows = found.table().rows
    assert len(rows) == len(CONTEXTS) * len(SPEEDS) and rows[0]["context"] == "2K"
    assert {row["cheapest"] for row in rows} >= {"none"}
    alone = choice_map("deepseek-v3", PAIR[:1], CONTEXTS, SPEEDS)
    assert set(alone.ratio[alone.priced]) == {np.inf}


def test_faster_is_never_cheaper_on_the_map():
    found = choice_map("deepseek-v4-flash", PAIR, CONTEXTS, SPEEDS)
    prices = np.where(np.isnan(found.per_million), np.inf, found.per_million)
    assert (prices[:, :, 1:] >= prices[:, :, :-1] * (1 - 1e-9)).all()


def test_a_slider_can_ask_for_it():
    """Ten by ten cells of four chips in 0.1 s; the best of three, since another job may run beside."""
    contexts, speeds = np.geomspace(2048, 131_072, 10).astype(int), np.linspace(5, 100, 10)
    took = []
    for _ in range(3):
        start = time.perf_counter()
        choice_map("mimo-v2-flash", PAIR, contexts, speeds)
        took.append(time.perf_counter() - start)
    assert min(took) < 0.1


def test_published_shares_compare_like_with_like():
    known = (PAIR[0], ChipHour("h100-sxm", 2.5))
    found = choice_map("deepseek-v3", known, [4096], [20.0], basis="published")
    assert all(0.3 < share < 0.6 for share in found.shares)
    one = slow("deepseek-v3", known[0], "decode", 4096, 20.0, basis="published")
    assert found.per_million[0, 0, 0] == pytest.approx(one.per_million)
    with pytest.raises(ValueError, match="no published decode run of a model like DeepSeek-V3 on NVIDIA B200"):
        choice_map("deepseek-v3", PAIR[3:], [4096], [20.0], basis="published")
    stated = dataclasses.replace(PAIR[3], efficiency=0.4)
    assert choice_map("deepseek-v3", [stated], [4096], [20.0], basis="published").shares == (0.4,)


@pytest.mark.parametrize(
    ("ask", "says"),
    [
        (lambda: choice_map("deepseek-v3", [], [1], [1]), "0 chips priced in"),
        (lambda: choice_map("deepseek-v3", [PAIR[0], ChipHour("h200", 9, "CNY")], [1], [1]), "one currency"),
        (lambda: choice_map("deepseek-v3", PAIR, [0], [1]), "at least 1, got 0"),
        (lambda: choice_map("deepseek-v3", PAIR, [1], [-5]), "user_tokens_s = -5"),
        (lambda: choice_map("deepseek-v3", PAIR, [1], [float("nan")], "prefill"), "ttft_s = nan"),
        (lambda: choice_map("deepseek-v9", PAIR, [1], [1]), "deepseek-v9"),
    ],
)
def test_bad_maps_are_refused(ask, says):
    with pytest.raises(ValueError, match=says):
        ask()


# --- the questions turned around -------------------------------------------------------------------------------


def test_tokens_under_a_power_cap():
    """1 MW at PUE 1.54 feeds whole deployments: what is left over is not used."""
    price = slow("mimo-v2-flash", PAIR[1], "decode", 8192, 20.0)
    found = under_power(price, 1e6, 1.54)
    each_w = price.chips * 10_200 / 8 * 1.54
    assert found.deployments == int(1e6 // each_w) and found.chips == found.deployments * price.chips
    assert found.tokens_s == found.deployments * price.tokens_s
    assert found.joules_per_token == pytest.approx(each_w / price.tokens_s)
    assert under_power(price, each_w).deployments >= 1
    assert under_power(price, each_w * (1 - 1e-6), 1.54).tokens_s == 0
    assert under_power(price, price.chips * 700.0, chip_w=700.0).deployments == 1
    assert rated_w(catalog.chip("h800")) == 700 and rated_w(catalog.chip("h200")) == 1275


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(["deepseek-v3", "mimo-v2-flash"]), st.integers(1024, 65_536), st.floats(0.01, 10))
def test_the_speed_at_a_price(model, context, per_million):
    """At that speed the cheapest price is no dearer than what was allowed; a little faster, and it is."""
    found = speed_at_price(model, PAIR[1], context, per_million, basis="roofline")
    if isinstance(found, NoPrice):
        cheapest = slow(model, PAIR[1], "decode", context, 1e-3)
        assert cheapest.per_million > per_million and "costs" in found.reason
        return
    assert found.per_million <= per_million * (1 + 1e-9)
    assert found.user_tokens_s == pytest.approx(found.limit)
    again = slow(model, PAIR[1], "decode", context, found.limit * (1 - 1e-9))
    assert isinstance(again, TokenPrice) and again.per_million <= per_million * (1 + 1e-6)
    faster = slow(model, PAIR[1], "decode", context, found.limit * 1.0001)
    assert isinstance(faster, NoPrice) or faster.per_million > per_million


@pytest.mark.parametrize(
    ("ask", "says"),
    [
        (lambda p: under_power(p, 0), "watts = 0"),
        (lambda p: under_power(p, 1e6, 0.9), "pue = 0.9"),
        (lambda p: under_power(p, 1e6, chip_w=-1), "chip_w = -1"),
        (lambda p: speed_at_price("deepseek-v3", PAIR[0], 4096, 0), "per_million = 0 USD"),
    ],
)
def test_bad_inverses_are_refused(ask, says):
    with pytest.raises(ValueError, match=says):
        ask(slow("mimo-v2-flash", PAIR[1], "decode", 8192, 20.0))


# --- the 910B against what a Chinese buyer can order ------------------------------------------------------------

#: An hour in proportion to a server's price: CNY 0.72M for eight 910B (article E), 1.2M for eight H20 (Huxiu, 2024).
B2, H20 = ChipHour("ascend-910b", 720.0, "CNY"), ChipHour("h20", 1200.0, "CNY")


def test_the_ends_are_ratios_of_peaks():
    """Where arithmetic alone takes time, prices go as the price of a TFLOPS, 4.0; where memory does, as that of a GB/s.

    The latter is 1.36 with the 1.76 TB/s of Huawei's performance model, 1.5 with 1.6 TB/s as it is often quoted.
    """
    llama, wide = "llama-3.1-70b", {"weights": "own", "efficiency": 1.0, "chips": (8,)}
    b2, h20 = (dataclasses.replace(each, **wide) for each in (B2, H20))
    prefill = [slow(llama, each, "prefill", 16_384, 60.0).per_million for each in (b2, h20)]
    per_tflops = (1200 / 148) / (720 / 353.9)
    assert prefill[1] / prefill[0] == pytest.approx(per_tflops, rel=2e-3) and 3.9 < per_tflops < 4.05
    records = [catalog.chip(each.chip) for each in (b2, h20)]
    nodes = [Deployment(arch.load(llama), record, 8, 8) for record in records]
    alone = [n.usd_per_million(n.decode(1, 1024), h.hourly) for n, h in zip(nodes, (b2, h20), strict=True)]
    per_byte = (720 / records[0].memory_bandwidth_bytes_s) / (1200 / records[1].memory_bandwidth_bytes_s)
    assert alone[0] / alone[1] == pytest.approx(per_byte, rel=1e-2) and per_byte == pytest.approx(1.364, abs=1e-3)
    assert per_byte * records[0].memory_bandwidth_bytes_s / 1.6e12 == pytest.approx(1.5)


def test_prefill_and_decode_choose_different_chips_of_mimo():
    """At 32K prefill is several times cheaper on the 910B and decode on the H20: windows leave reads, few FLOPs."""
    decode = choice_map("mimo-v2-flash", [B2, H20], [4096, 32_768], [20.0, 50.0])
    prefill = choice_map("mimo-v2-flash", [B2, H20], [32_768], [5.0], "prefill")
    assert decode.cheapest.tolist() == [[0, 0], [1, 1]] and (decode.ratio[1] > 1.3).all()
    assert prefill.cheapest.tolist() == [[0]] and prefill.ratio[0, 0] > 3


def test_latents_turn_decode_into_arithmetic():
    """DeepSeek-V3 is the exception: 128 heads share each latent, so decode too goes by FLOPs, unless users are fast."""
    found = choice_map("deepseek-v3", [B2, H20], [4096, 32_768], [20.0, 75.0])
    assert found.cheapest.tolist() == [[0, 1], [0, 1]]
    node = token_price("deepseek-v3", H20, "decode", 32_768, user_tokens_s=20, basis="roofline")
    step = node.deployment.decode(node.batch, 32_768)
    assert step.bound == "compute"


def test_a_chip_of_unknown_power_is_asked_for():
    with pytest.raises(ValueError, match=r"no power of Huawei Ascend 950DT .* give chip_w"):
        rated_w(catalog.chip("ascend-950dt"))
    assert rated_w(catalog.chip("ascend-910c")) == pytest.approx(559_000 / 384)  # 1,456 W a package
