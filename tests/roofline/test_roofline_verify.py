"""A pass that checks drafted tokens, and the drafter's own step: a decode step of several rows, in time and memory."""

import dataclasses
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from costlab import arch, catalog, roofline

KEYS = list(arch.models())
CHIPS = [key for key, chip in catalog.tables().chips.items() if chip.chips_per_node >= 8]
MODEL, CHIP = st.sampled_from(KEYS), st.sampled_from(CHIPS)
BATCH, CONTEXT, LENGTH = st.integers(1, 10_000), st.integers(1, 200_000), st.integers(0, 16)
WIDTHS = st.sampled_from([1, 2, 4, 8])


def on(model="llama-2-7b", chip="h100-sxm", chips=1, draft=None, **options):
    node = roofline.deployment(model, chip, chips, **options)
    return node if draft is None else dataclasses.replace(node, drafter=arch.drafter(draft, node.model))


# --- the target's pass -----------------------------------------------------------------------------------------


@given(model=MODEL, chip=CHIP, batch=BATCH, context=CONTEXT, width=WIDTHS, overlap=st.booleans())
def test_without_drafted_tokens_it_is_a_decode_step(model, chip, batch, context, width, overlap):
    node = on(model, chip, 8, tensor_parallel=width, overlap=overlap)
    assert node.verify(batch, context, 0) == node.decode(batch, context)


@given(model=MODEL, chip=CHIP, batch=BATCH, context=CONTEXT, width=WIDTHS, length=LENGTH, more=st.integers(1, 8))
def test_more_drafted_tokens_take_longer(model, chip, batch, context, width, length, more):
    node = on(model, chip, 8, tensor_parallel=width)
    few, many = node.verify(batch, context, length), node.verify(batch, context, length + more)
    for term, seconds in few.terms.items():
        assert seconds <= many.terms[term] * (1 + 1e-12)
    assert few.cache_bytes <= many.cache_bytes
    assert many.tokens == batch * (length + more + 1)


@given(model=MODEL, chip=CHIP, batch=BATCH, context=CONTEXT, width=WIDTHS, length=LENGTH)
def test_it_costs_no_more_than_as_many_decode_steps(model, chip, batch, context, width, length):
    """Compute and links are the sum of length + 1 steps' at growing contexts; memory is read for all at once."""
    node = on(model, chip, 8, tensor_parallel=width)
    together = node.verify(batch, context, length)
    apart = [node.decode(batch, context + i) for i in range(length + 1)]
    assert together.compute_s == pytest.approx(sum(step.compute_s for step in apart), rel=1e-9)
    assert together.link_s == pytest.approx(sum(step.link_s for step in apart), rel=1e-9)
    assert together.memory_s <= sum(step.memory_s for step in apart) * (1 + 1e-12)


def test_by_hand():
    """Llama-2-7B, 4 sequences of 1,000 tokens and 3 drafted: weights once, 1,003 cached tokens of each, 16 rows."""
    step = on().verify(batch=4, context=1000, length=3)
    weights = 2 * (6_738_415_616 - 32_000 * 4096)
    attention = 32 * 2 * 32 * 256 * (1000 + 1001 + 1002 + 1003)
    assert step.memory_s == pytest.approx((weights + 4 * 1003 * 524_288) / 3.35e12)
    assert step.compute_s == pytest.approx(4 * (4 * 2 * 6_607_077_376 + attention) / 989.5e12)
    assert step.tokens == 16
    assert step.cache_bytes == 4 * 1003 * 524_288


def test_experts_by_tokens_routed():
    """Mixtral on 4 chips, two experts on each: 4 sequences with 3 drafted tokens visit as 16 tokens do."""
    node = on("mixtral-8x7b", chips=4)
    experts = node.model.weight_bytes()["experts"] / 8
    rest = sum(b for name, b in node.model.weight_bytes().items() if name not in ("experts", "embedding"))
    cache = float(node.model.kv_bytes(1003).total)
    expected = rest + 2 * (1 - 0.75**16) * experts + cache
    assert node.verify(4, 1000, 3).memory_s == pytest.approx(expected / 3.35e12)


@given(batch=BATCH, context=CONTEXT, length=LENGTH, width=WIDTHS)
def test_all_wait_for_the_fullest_replica(batch, context, length, width):
    """One sequence more on one replica of a dense model takes as long as one more on each."""
    node = on("llama-3.1-70b", "h800", 8, tensor_parallel=width)
    ragged, full = (node.verify(n, context, length) for n in (batch, node.on_fullest(batch) * node.replicas))
    assert ragged.seconds == full.seconds


@pytest.mark.parametrize("length", [-1, 1.5])
def test_lengths_that_are_none(length):
    with pytest.raises(ValueError, match="length"):
        on().verify(1, 1, length)


# --- the drafter's step ----------------------------------------------------------------------------------------


@given(chip=CHIP, batch=BATCH, context=CONTEXT)
def test_a_small_models_step_is_its_decode_step(chip, batch, context):
    node, alone = on("llama-3.1-70b", chip, 8, "llama-3.1-8b"), on("llama-3.1-8b", chip, 8)
    assert node.draft(batch, context) == alone.decode(batch, context)


def test_v3s_module_by_hand():
    """32 H800, 64 sequences, two rows each: one layer's weights, the projection and the shared head are read, and of
    8 experts those that 128 tokens visit; the head multiplies one row."""
    node = on("deepseek-v3", "h800", 32, "mtp")
    step, module = node.draft(64, 1000, rows=2), node.model.mtp_module
    stored = module.weight_bytes()
    rest = sum(b for name, b in stored.items() if name not in ("experts", "embedding"))
    experts = 8 * (1 - (1 - 8 / 256) ** 128) * stored["experts"] / 256
    assert step.memory_s == pytest.approx((rest + experts + 2 * 1000 * 1152) / 3.35e12)
    rates = {"fp8": 1979e12, "bf16": 989.5e12, "fp32": 494.5e12}
    flops = module.decode_flops(999, 2, logits=1)
    seconds = sum(float(f) / rates[flops.precision[name]] for name, f in flops.by_component.items())
    assert step.compute_s == pytest.approx(2 * seconds)
    assert float(flops.by_component["head"]) == 2 * 129280 * 7168


def test_a_lookup_takes_no_time_and_no_memory():
    node, plain = on(draft="lookup"), on()
    assert node.draft(8, 1000).seconds == 0
    assert (node.weight_bytes_per_chip, node.max_batch(1000)) == (plain.weight_bytes_per_chip, plain.max_batch(1000))


def test_a_step_of_no_drafter():
    with pytest.raises(ValueError, match="has no drafter"):
        on().draft(1, 100)
    with pytest.raises(ValueError, match="rows = 3 should be from 1 to the context of 2"):
        on(draft="eagle3").draft(1, 2, rows=3)


# --- memory ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "draft", "width", "own"),
    [
        ("mimo-v2-flash", "mtp", 1, None),
        ("deepseek-v3", "mtp", 1, None),
        ("llama-3.1-70b", "llama-3.1-8b", 8, 16.06e9 / 8),
        ("llama-3.1-8b", "eagle3", 1, 2 * 424_685_568),
    ],
)
def test_a_drafter_takes_memory(model, draft, width, own):
    node, plain = on(model, "h800", 32, draft, tensor_parallel=width), on(model, "h800", 32, tensor_parallel=width)
    added = node.weight_bytes_per_chip - plain.weight_bytes_per_chip
    stored = dict(node.drafter.model.weight_bytes())
    if own is None:  # experts over 32 chips, all else on each; the embedding and the head are the target's
        experts = stored.pop("experts", 0.0) / 32
        own = node.drafter.modules * (experts + sum(b for n, b in stored.items() if n not in ("embedding", "head")))
    assert added == pytest.approx(own, rel=1e-3)
    caches = node.cache_bytes_per_chip(8192) - plain.cache_bytes_per_chip(8192)
    assert caches == node.drafter.modules * float(node.drafter.model.kv_bytes(8192, width).resident)
    free = plain.usable_bytes_per_chip - plain.weight_bytes_per_chip - added
    assert node.max_batch(8192) == node.replicas * math.floor(free / (plain.cache_bytes_per_chip(8192) + caches))
    assert node.max_batch(8192) < plain.max_batch(8192)


def test_what_does_not_fit_with_its_drafter_is_refused():
    """The largest batch that fits without a drafter does not fit with one, and has no price."""
    node = on("llama-3.1-70b", chips=8, tensor_parallel=8, draft="llama-3.1-8b")
    plain = dataclasses.replace(node, drafter=None)
    fits = plain.max_batch(8192)
    plain.check_room(fits, 8192)
    with pytest.raises(ValueError, match=f"at most {node.max_batch(8192)} would"):
        node.check_room(fits, 8192)
    with pytest.raises(ValueError, match="of cache"):
        node.usd_per_million(node.verify(fits, 8192, 3), 2.0)
    tight = dataclasses.replace(node, memory_share=plain.weight_bytes_per_chip / node.chip.memory_bytes)
    assert dataclasses.replace(tight, drafter=None).fits()
    assert not tight.fits()
    with pytest.raises(ValueError, match="does not fit"):
        tight.require_fit()


def test_a_drafter_that_cannot_be_split_is_refused():
    """Llama-3.1-8B has 32 query heads, the 70B 64: a node of 64 chips is not one of them."""
    wide = dataclasses.replace(catalog.chip("h100-sxm"), chips_per_node=64)
    target = arch.load("llama-3.1-70b")
    roofline.Deployment(target, wide, 64, tensor_parallel=64)
    with pytest.raises(ValueError, match="tensor_parallel = 64 should divide the 32 query heads"):
        roofline.Deployment(target, wide, 64, tensor_parallel=64, drafter=arch.drafter("llama-3.1-8b", target))
