"""Floors: sums by hand from the data sheets, and never above what any service costs."""

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from costlab import arch, catalog, levers, limits, roofline
from costlab.limits import prices as money

PRO = "deepseek-v4-pro"
CHIPS = catalog.tables().chips
#: Every figure of a service that its floor leaves out, at its best.
IDEAL = {"prefill share": 1.0, "decode share": 1.0, "utilisation": 1.0}


def test_a_dense_models_floor_is_two_flops_a_weight_and_its_bytes_once():
    """Llama 3.1 70B on H100s, from the published sheet: 989.5 TFLOP/s in BF16, 3.35 TB/s, 80 GB, 450 GB/s."""
    built = arch.load("llama-3.1-70b")
    found = limits.token_floor(built, "h100-sxm", "decode", 1)
    rec, layer = built.record, built.layers[0][0]
    kv = 2 * layer.kv_heads * 128 * 2 * len(built.layers)  # keys and values of 128 in two bytes
    scores = 4 * rec.hidden * len(built.layers)  # q.k and weights times v, one key
    table = rec.vocab * rec.hidden
    multiplied = built.params.active
    assert found.compute_s == pytest.approx((2 * multiplied + scores) / 989.5e12, rel=1e-4)
    held = 2 * sum(built.params.by_component.values())
    batch = math.floor((256 * 80e9 * 0.9 - held) / kv)
    assert (found.chips, found.batch) == (256, batch)
    assert found.weights_s == pytest.approx((held - 2 * table) / batch / 3.35e12, rel=1e-6)
    assert found.cache_s == pytest.approx(kv / 3.35e12, rel=1e-6)
    assert found.link_s == pytest.approx(2 * rec.hidden / 450e9, rel=1e-9)  # 141 GB lie on two chips: one hop


def test_v4_pros_arithmetic_by_hand():
    """Parameters times two at each component's peak; the rest is attention over what a query reads."""
    found = limits.token_floor(PRO, "h800", "decode", 1)
    active = dict(found.model.params.active_by_component)
    peaks = {"bf16": 989.5e12, "fp8": 1979e12, "fp4": 1979e12, "fp4xfp8": 1979e12, "fp32": 494.5e12}
    linear = sum(2 * n / peaks[found.model.math_precision(name)] for name, n in active.items())
    assert linear < found.compute_s < 1.01 * linear
    assert sum(active.values()) == pytest.approx(49e9, rel=0.01)  # the maker's 49B


@pytest.mark.parametrize(("phase", "drafted"), [("prefill", 0), ("decode", 0), ("decode", 1)])
def test_every_term_is_at_most_that_of_any_deployment(phase, drafted):
    """The roofline's own steps, on every layout of V4-Pro, at the largest batch."""
    for chip in ("h800", "b200", "ascend-910c", "mi300x"):
        floor = limits.token_floor(PRO, chip, phase, 8192, drafted=drafted)
        for split in (1, 2, 8):
            for chips in (16, 64):
                model = floor.model
                node = roofline.Deployment(model, catalog.chip(chip), chips, split)
                batch = node.max_batch(8192) if node.fits() else 0
                if not batch:
                    continue
                if drafted:
                    node = dataclasses.replace(node, drafter=arch.drafter("mtp", model))
                step = node.verify(batch, 8192, 1) if drafted else node.decode(batch, 8192)
                gained = batch * (1 + drafted)
                if phase == "prefill":
                    step, gained = node.prefill(8192, batch=batch), batch * 8192
                per_token = {name: seconds * chips / gained for name, seconds in step.terms.items()}
                assert floor.compute_s <= per_token["compute"] * (1 + 1e-9)
                assert floor.memory_s <= per_token["memory"] * (1 + 1e-9)


MODELS = [PRO, "deepseek-v4-flash", "deepseek-v3", "mimo-v2-flash", "llama-3.1-70b", "qwen3-235b-a22b", "gpt-oss-120b"]


@settings(max_examples=30, deadline=None)
@given(
    model=st.sampled_from([each for each in MODELS if each in catalog.tables().models]),
    chip=st.sampled_from(sorted(CHIPS)),
    context=st.integers(500, 200_000),
    hits=st.floats(0, 0.95),
    output=st.integers(1, 4000),
)
def test_no_service_costs_less_than_its_floor(model, chip, context, hits, output):
    """All shares 1, all hours worked, any speed allowed: still at least the floor."""
    built = arch.load(model)
    figures = levers.ladder(built, "h800").figures
    drafted = int(built.mtp_module is not None)
    service = levers.Service(built, chip, figures, drafted=drafted).with_inputs(
        input=context, hit_rate=hits, output=output
    )
    values = {**IDEAL, "user speed": 1e-6, "first token": 1e9, "round tokens": 1.0 + drafted}
    try:
        costs = levers.token_costs(service, values)
    except ValueError:  # no deployment holds the weights
        return
    for kind, of in (("output", money.output_floor), ("miss", money.miss_floor)):
        if np.isfinite(costs.of(kind)):
            assert of(service).per_million(figures["rent"].value) <= float(costs.of(kind)) * (1 + 1e-9)
    if np.isfinite(costs.hit):
        assert limits.hit_floor(service) <= float(costs.hit) * (1 + 1e-9)


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(sorted(CHIPS)), st.integers(2000, 900_000), st.integers(0, 3))
def test_more_chips_drafts_and_shorter_contexts_only_lower_the_floor(chip, context, drafted):
    """From some thousand tokens on: below, the tokens of a round themselves are much of what each of them reads."""
    try:
        found = limits.token_floor(PRO, chip, "decode", context, drafted=drafted)
    except ValueError:
        return
    further = limits.token_floor(PRO, chip, "decode", context, drafted=drafted + 1)
    longer = limits.token_floor(PRO, chip, "decode", context + 10_000, drafted=drafted)
    assert further.memory_s <= found.memory_s * (1 + 1e-9)
    assert longer.seconds >= found.seconds * (1 - 1e-12)
    try:
        fewer = limits.token_floor(PRO, chip, "decode", context, drafted=drafted, most_chips=64)
    except ValueError:
        return
    assert found.weights_s <= fewer.weights_s * (1 + 1e-9)
    assert fewer.compute_s == found.compute_s
    assert fewer.cache_s == found.cache_s


def test_seconds_are_the_longest_term_and_money_is_rent_times_them():
    found = limits.token_floor(PRO, "h20", "decode", 8192)
    assert found.seconds == max(found.terms.values())
    assert found.terms[found.bound] == found.seconds
    assert found.per_million(3.6) == pytest.approx(found.seconds * 1e3)
    assert found.step_s == pytest.approx(found.seconds * found.batch / found.chips)


def test_every_chip_of_the_table_holds_the_model():
    found = limits.floors_on_chips(PRO, 8192)
    assert set(found) < set(CHIPS)
    assert set(CHIPS) - set(found) == {"ascend-910b4"}  # eight of 32 GB, and no network beyond
    assert len(limits.floor_table(PRO, 8192).rows) == len(found)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("gpt-2", "h800", "decode", 8), "unknown model 'gpt-2'"),
        ((PRO, "tpu", "decode", 8), "unknown chip 'tpu'"),
        ((PRO, "h800", "training", 8), "unknown phase 'training'"),
        ((PRO, "h800", "decode", 0), "context should be a whole number from 1"),
        ((PRO, "ascend-910b4", "decode", 8), "does not fit on 8 Huawei Ascend 910B4"),
    ],
)
def test_bad_input(arguments, words):
    with pytest.raises(ValueError, match=words):
        limits.token_floor(*arguments)


def test_drafts_are_of_decode():
    with pytest.raises(ValueError, match="drafted = 1 should be at least 0, and 0 in prefill"):
        limits.token_floor(PRO, "h800", "prefill", 8, drafted=1)
    with pytest.raises(ValueError, match="drafted = -1"):
        limits.token_floor(PRO, "h800", "decode", 8, drafted=-1)
    with pytest.raises(ValueError, match="hourly = 0 should be above 0"):
        limits.token_floor(PRO, "h800", "decode", 8).per_million(0)


# --- money -------------------------------------------------------------------------------------------------------


def test_a_product_stands_above_its_floors_by_factors_that_multiply():
    found = limits.standing(PRO, when="2026-06-01")
    assert dict(found.paid) == {"hit": 0.003625, "miss": 0.435, "output": 0.87}  # May's list
    for kind in levers.KINDS:
        assert found.floors[kind] < found.costs[kind]
        parts = found.between(kind)
        assert tuple(parts) == limits.BETWEEN
        assert math.prod(parts.values()) == pytest.approx(found.factor(kind))
        assert all(part >= 1 - 1e-9 for name, part in parts.items() if name != "list over cost")
    assert found.between("miss")["hours of use"] == pytest.approx(1 / found.service.inputs()["utilisation"].value)


def test_standing_refuses_what_is_not_there():
    with pytest.raises(ValueError, match="unknown"):
        limits.standing("gpt-2")
    with pytest.raises(ValueError, match=r"no dollars for an hour of 'ascend-950dt'|no published"):
        limits.standing(PRO, "ascend-950dt")
