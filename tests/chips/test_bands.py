"""Efficiencies of published runs: shares by hand, none where nobody measured, and runs predicted by the others."""

import dataclasses
import math

import pytest

from costlab import arch, catalog, roofline
from costlab.chips import EfficiencyPoint, as_served, band, bands, efficiency_points, family
from costlab.chips.bands import Band, round_s, run_deployment

RUNS = catalog.tables().runs
DECODED = {key: run for key, run in RUNS.items() if run.computed_tokens_s_chip}


@pytest.mark.parametrize("run", DECODED.values(), ids=DECODED.keys())
def test_rates_follow_from_batch_and_step(run):
    """Tokens per second = batch / time per token / packages, to the digits that are printed."""
    assert run.computed_tokens_s_chip == pytest.approx(run.tokens_s_chip, rel=2e-3)


def test_a_share_by_hand():
    """R1 in INT8 on 910C, 6,144 sequences on 64: the round is one draft and one pass over two tokens of each."""
    run = RUNS["r1-910c"]
    node = run_deployment(run)
    assert node.model == as_served(arch.load("deepseek-v3"), "W8A8C8") and node.chips == run.chips
    ideal = node.draft(6144, 4096, 2).seconds + node.verify(6144, 4096, 1).seconds
    assert round_s(node, 6144, 4096, 1) == pytest.approx(ideal)
    assert round_s(node, 6144, 4096) == node.decode(6144, 4096).seconds
    point = next(p for p in efficiency_points() if p.key == "r1-910c")
    assert point.measured_s == pytest.approx(44.9e-3 * 1.7)


# computed apart from this package, with rounder figures of the chips: shares to expect of Ascend
@pytest.mark.parametrize(
    ("chip", "family", "low", "high"),
    [
        ("ascend-910c", "deepseek-v3", 0.27, 0.40),  # R1; the H800's day has 0.35
        ("ascend-910c", "deepseek-v4", 0.10, 0.15),  # V4-Flash
        ("ascend-950dt", "deepseek-v4", 0.14, 0.50),  # V4-Flash and V4-Pro
    ],
)
def test_shares_of_ascend(chip, family, low, high):
    found = band(chip, family)
    assert low < found.low <= found.high < high


def test_one_efficiency_does_not_carry_over():
    """V4's small layers on the 910C reach a third of what V3's reach there; no band of theirs meets."""
    assert band("ascend-910c", "deepseek-v4").high < band("ascend-910c", "deepseek-v3").low / 2
    spread = band("ascend-950dt", "deepseek-v4")
    assert max(abs(each.error) for each in spread.left_out) > 0.4  # each said beside what it predicts


def test_int8_is_what_the_910c_serves_in():
    """FP8 models run at twice the rate that a silent fall back to BF16 would give."""
    run = RUNS["r1-910c"]
    node = run_deployment(run)
    assert roofline.rate(node.chip, "fp8") == roofline.rate(node.chip, "int8") == 1504e12
    assert roofline.rate(dataclasses.replace(node.chip, serves={}), "fp8") == 707.8e12


def test_a_day_and_a_profile_are_anchors_of_the_h800():
    found = band("h800", "deepseek-v3")
    shares = {point.key: point.share for point in found.points}
    assert shares["deepseek-day"] == pytest.approx(roofline.check_day().decode_efficiency)
    rate = catalog.tables().serving.nodes["deepseek-profile-decode"]
    assert shares["deepseek-profile-decode"] == pytest.approx(roofline.ideal_step(rate).seconds / rate.step_s)
    assert found.low == shares["deepseek-day"] and found.high == shares["deepseek-profile-decode"]
    assert found.middle == pytest.approx(math.prod(shares.values()) ** 0.5)


def test_what_was_simulated_is_no_anchor():
    keys = {point.key for point in efficiency_points()}
    nodes = catalog.tables().serving.nodes
    assert not keys & {key for key, rate in nodes.items() if rate.simulated}
    assert "sglang-prefill-4k" in keys and "sglang-prefill-2000" not in keys  # names no batch


def test_no_run_no_efficiency():
    assert band("b200", "mimo") is None
    assert band("h800", "mimo", "prefill") is None
    assert all(found.points for found in bands.all_bands())


def test_calibration_and_prediction_are_apart():
    """Of a band of two, each run is predicted by the other alone; the errors are reciprocal. One predicts nothing."""
    first, second = band("h800", "deepseek-v3").left_out
    assert (1 + first.error) * (1 + second.error) == pytest.approx(1)
    assert 0.1 < abs(second.error) < 0.3  # a day of users against a benchmark
    assert band("h100-sxm", "deepseek-v3").left_out == ()
    prompts = band("h100-sxm", "deepseek-v3", "prefill")
    assert len(prompts.left_out) == 3 and all(abs(each.error) < 0.05 for each in prompts.left_out)


def test_left_out_by_hand():
    point = EfficiencyPoint("a", "m", "c", "decode", 1.0, 0.2, "s", RUNS["r1-910c"].date)
    more = [dataclasses.replace(point, key=key, ideal_s=ideal) for key, ideal in (("b", 0.4), ("c", 0.1))]
    found = Band("c", "plain", "decode", (point, *more)).left_out[0]
    assert found.predicted_s == pytest.approx(0.2 / 0.2) and found.error == pytest.approx(0)


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("deepseek-v3", "deepseek-v3"),
        ("kimi-k2", "deepseek-v3"),
        ("deepseek-v3.2", "deepseek-v3.2"),
        ("glm-5", "deepseek-v3.2"),
        ("deepseek-v4-flash", "deepseek-v4"),
        ("deepseek-v4-pro", "deepseek-v4"),
        ("mimo-v2-flash", "mimo"),
        ("qwen3-235b-a22b", "plain"),
    ],
)
def test_families(model, name):
    assert family(model) == name


@pytest.mark.parametrize(
    ("ask", "says"),
    [
        (lambda: band("h900", "mimo"), "h900"),
        (lambda: band("h800", "gpt"), "family 'gpt' should be one of deepseek-v4"),
        (lambda: band("h800", "mimo", "train"), "phase 'train'"),
    ],
)
def test_bad_questions_are_refused(ask, says):
    with pytest.raises(ValueError, match=says):
        ask()
