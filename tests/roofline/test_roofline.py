"""Seconds of a chip: single terms by hand, monotone where hardware is, and DeepSeek's published day."""

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from costlab import arch, catalog, roofline
from costlab.arch import attention
from costlab.roofline import Deployment, Efficiency

KEYS = list(arch.models())
# those that can stand in groups of 8, and have a network that is known
CHIPS = [key for key, chip in catalog.tables().chips.items() if chip.network_bytes_s and chip.chips_per_node >= 8]
H800 = catalog.chip("h800")


def on(model="llama-2-7b", chip="h100-sxm", chips=1, **options):
    return roofline.deployment(model, chip, chips, **options)


# --- by hand ---------------------------------------------------------------------------------------------------

LLAMA_READ = 2 * (6_738_415_616 - 32_000 * 4096)  # BF16 weights but for the embedding table, of which one row is read
LLAMA_MULTIPLIED = 6_607_077_376  # of these, matrices (transformers' count, see tests/arch)
LLAMA_CACHE = 524_288  # bytes per token


def test_decode_of_llama_on_one_chip():
    """H100: 989.5 TFLOP/s BF16 dense, 3.35 TB/s (NVIDIA's data sheet). One chip sends nothing."""
    step = on().decode(batch=4, context=1000)
    attention = 32 * 2 * 32 * (128 + 128) * 1000
    assert step.compute_s == pytest.approx(4 * (2 * LLAMA_MULTIPLIED + attention) / 989.5e12)
    assert step.memory_s == pytest.approx((LLAMA_READ + 4 * 1000 * LLAMA_CACHE) / 3.35e12)
    assert step.link_s == 0
    assert step.bound == "memory"
    assert step.seconds == step.memory_s
    assert step.tokens_per_s == pytest.approx(4 / step.memory_s)


def test_prefill_of_llama_on_one_chip():
    step = on().prefill(new=2048)
    attention = 32 * 2 * 32 * 256 * 2048 * 2049 / 2
    matrices = 2 * (2048 * (LLAMA_MULTIPLIED - 32_000 * 4096) + 32_000 * 4096)
    assert step.compute_s == pytest.approx((matrices + attention) / 989.5e12)
    assert step.memory_s == pytest.approx((LLAMA_READ + 2048 * LLAMA_CACHE) / 3.35e12)
    assert step.bound == "compute"
    assert step.tokens == 2048


def test_the_ridge():
    """Decode turns compute-bound where the FLOPs outweigh the bytes: without cache, at peak/bandwidth tokens."""
    ridge = 989.5e12 / 3.35e12
    below, above = on().decode(int(0.9 * ridge), 1), on().decode(int(1.15 * ridge), 1)
    assert (below.bound, above.bound) == ("memory", "compute")


def test_precisions_run_on_their_units():
    """V3 mixes FP8 and BF16: the compute time is the sum of each component at its own rate; FP32 runs as TF32."""
    count = arch.load("deepseek-v3").decode_flops(4096)
    rates = {"fp8": 1979e12, "bf16": 989.5e12, "fp32": 494.5e12}
    seconds = sum(float(f) / rates[count.precision[name]] for name, f in count.by_component.items())
    assert on("deepseek-v3", "h800", 8).decode(16, 4096).compute_s == pytest.approx(seconds * 16 / 8)


@pytest.mark.parametrize(
    ("chip", "precision", "tflops"),
    [
        ("a100-80g", "fp8", 312),  # no FP8 unit: BF16
        ("h800", "fp4", 1979),
        ("h800", "fp4xfp8", 1979),
        ("b200", "fp4", 9000),
        ("b200", "fp4xfp8", 4500),  # FP4 weights gain nothing with FP8 activations
        ("h800", "fp32", 494.5),
        ("ascend-910b", "fp32", 99.5),  # HF32; its BF16 unit, 353.9, does not compute FP32
    ],
)
def test_fallback(chip, precision, tflops):
    assert roofline.rate(catalog.chip(chip), precision) == tflops * 1e12


def test_a_precision_that_a_chip_lacks():
    with pytest.raises(ValueError, match=r"no unit for 'fp2'.*bf16"):
        roofline.rate(H800, "fp2")
    only_int = dataclasses.replace(H800, flops={"int8": 1e12})
    for precision in ("bf16", "fp32"):
        with pytest.raises(ValueError, match=f"no unit for '{precision}'"):
            roofline.rate(only_int, precision)
    no_fp32 = dataclasses.replace(H800, flops={"bf16": 1e12})
    with pytest.raises(ValueError, match="no unit for 'fp32'"):
        roofline.rate(no_fp32, "fp32")


def test_links_by_hand():
    """V3 on 32 H800: 58 layers x 8 experts x 7168 x 3 bytes per token; 7 of 32 in the node, 24 over the network."""
    step = on("deepseek-v3", "h800", 32).decode(3200, 100)
    sent = 58 * 8 * 7168 * 3 * 100  # 100 tokens of each chip
    assert step.link_s == pytest.approx(max(sent * 7 / 32 / 200e9, sent * 24 / 32 / 50e9))


def test_all_reduce_by_hand():
    """Llama-2-7B on 2 chips, tensor parallel: a ring sends 2 (T-1)/T of 4096 x 2 bytes per token, twice per layer and
    once after the embedding."""
    step = on(chips=2, tensor_parallel=2).decode(64, 100)
    assert step.link_s == pytest.approx(64 * (2 * 32 + 1) * 4096 * 2 * 2 * (2 - 1) / 2 / 450e9)
    halves, whole = on(chips=2).decode(64, 100), on(chips=1).decode(32, 100)
    assert halves.seconds == pytest.approx(whole.seconds)  # two replicas, no link


def test_published_bound_of_the_link():
    """arXiv 2505.09343 sec. 2.3.2: 32 tokens x 9 experts x 7000 x 3 bytes at 50 GB/s are 120.96 us per layer.

    Same formula with 8 routed experts and 7168 wide (the shared one is at home): everything over the network.
    """
    node = on("deepseek-v3", "h800", 32 * 256)
    per_layer = node.decode(32 * 32 * 256, 10).link_s / 58
    outside = 1 - 8 / (32 * 256)
    assert per_layer == pytest.approx(120.96e-6 * 8 / 9 * 7168 / 7000 * outside, rel=1e-6)


def test_overlap_or_not():
    parts = (0.3, 0.2, 0.1)
    together, apart = roofline.Step(*parts, tokens=6, overlap=True), roofline.Step(*parts, tokens=6, overlap=False)
    assert together.seconds == 0.3
    assert apart.seconds == pytest.approx(0.6)
    assert together.bound == apart.bound == "compute"
    assert apart.tokens_per_s == pytest.approx(10)
    assert on(overlap=False).decode(1, 10).seconds > on().decode(1, 10).seconds


def test_efficiency_stretches_its_own_term():
    ideal, real = on(chips=8).decode(8, 100), on(chips=8, efficiency=Efficiency(0.5, 0.8, 0.4)).decode(8, 100)
    assert real.compute_s == pytest.approx(ideal.compute_s / 0.5)
    assert real.memory_s == pytest.approx(ideal.memory_s / 0.8)
    tp = on(chips=8, tensor_parallel=8).decode(8, 100).link_s
    assert on(chips=8, tensor_parallel=8, efficiency=Efficiency(link=0.4)).decode(8, 100).link_s == pytest.approx(
        tp / 0.4
    )


def test_money():
    """8 chips at 2 USD an hour that yield 1000 tokens/s: 16/3600 USD for 1000 tokens, 4.44 per million."""
    node = on(chips=8)
    step = roofline.Step(compute_s=1.0, memory_s=0.5, link_s=0.0, tokens=1000)
    assert node.usd_per_million(step, 2.0) == pytest.approx(16 / 3600 * 1000)
    assert node.usd_per_million(step, 0) == 0


# --- monotone --------------------------------------------------------------------------------------------------

MODEL, CHIP = st.sampled_from(KEYS), st.sampled_from(CHIPS)
BATCH, CONTEXT = st.integers(1, 10_000), st.integers(1, 200_000)


WIDTHS = st.sampled_from([1, 2, 4, 8])


@given(model=MODEL, chip=CHIP, batch=BATCH, more=BATCH, context=CONTEXT, width=WIDTHS)
def test_a_larger_batch_takes_longer_and_yields_more(model, chip, batch, more, context, width):
    """It yields more where every replica gets more; one sequence more on one of them makes all others wait for it."""
    node = on(model, chip, 8, tensor_parallel=width)
    assert node.decode(batch + more, context).seconds >= node.decode(batch, context).seconds
    small, large = (node.decode(n * node.replicas, context) for n in (batch, batch + more))
    assert large.tokens_per_s >= small.tokens_per_s * (1 - 1e-12)


@given(model=MODEL, chip=CHIP, batch=BATCH, context=CONTEXT, more=CONTEXT)
def test_a_longer_context_takes_longer(model, chip, batch, context, more):
    """Llama 4's layers forget at each chunk's end: there a decoded token behind a longer context may read less."""
    node = on(model, chip, 8)
    chunks = [layer.chunk for layer, _ in node.model.layers if isinstance(layer, attention.ChunkedAttention)]
    if all(context // chunk == (context + more) // chunk for chunk in chunks):
        assert node.decode(batch, context + more).seconds >= node.decode(batch, context).seconds
    assert node.prefill(context + more).seconds >= node.prefill(context).seconds
    assert node.max_batch(context + more) <= node.max_batch(context)


@given(model=MODEL, chip=CHIP, context=CONTEXT, cached=CONTEXT)
def test_a_cached_prefix_saves_compute(model, chip, context, cached):
    """Reading the rest after a hit computes no more than reading all - the reason why a hit is cheap."""
    node = on(model, chip, 8)
    assert node.prefill(context, prefix=cached).compute_s <= node.prefill(context + cached).compute_s * (1 + 1e-12)


@given(model=MODEL, batch=BATCH, context=CONTEXT, chips=st.sampled_from([1, 2, 4, 8, 16, 32]), width=WIDTHS)
def test_more_chips_are_never_slower_at_compute_and_memory(model, batch, context, chips, width):
    few, many = (on(model, "h800", n * width, tensor_parallel=width) for n in (chips, 2 * chips))
    before, after = few.decode(batch, context), many.decode(batch, context)
    assert before.compute_s / 2 * (1 - 1e-12) <= after.compute_s <= before.compute_s * (1 + 1e-12)
    assert after.memory_s <= before.memory_s
    assert before.tokens == after.tokens == batch
    whole = batch * many.replicas  # divides among the replicas of both
    assert many.decode(whole, context).compute_s == pytest.approx(few.decode(whole, context).compute_s / 2)


@given(
    model=MODEL, chip=CHIP, chips=st.sampled_from([8, 64]), batch=BATCH, context=CONTEXT, new=CONTEXT, prefix=CONTEXT
)
def test_a_mixed_step_shares_only_the_reading_of_weights(model, chip, chips, batch, context, new, prefix):
    node, prompts = on(model, chip, chips), 3
    both = node.mixed(batch, context, new, prefix, prompts)
    alone = node.decode(batch, context), node.prefill(new, prefix, prompts)
    assert both.tokens == sum(step.tokens for step in alone)
    assert both.compute_s == pytest.approx(sum(step.compute_s for step in alone))
    assert both.link_s == pytest.approx(sum(step.link_s for step in alone))
    assert max(step.memory_s for step in alone) <= both.memory_s * (1 + 1e-12)
    assert both.memory_s < sum(step.memory_s for step in alone)


def test_a_mixed_step_by_hand():
    """The weights of a dense model are read once: decode, prefill and one reading of them too many."""
    node = on()
    both, decode, prefill = node.mixed(4, 1000, 512, 100), node.decode(4, 1000), node.prefill(512, 100)
    assert decode.memory_s + prefill.memory_s - both.memory_s == pytest.approx(LLAMA_READ / 3.35e12)


def test_a_mixed_step_visits_experts_once_for_all_its_tokens():
    """Mixtral on 4 chips, two experts on each: 4 + 12 tokens visit one with probability 1 - (1 - 2/8)^16."""
    node = on("mixtral-8x7b", "h100-sxm", 4)
    both = node.mixed(4, 1000, 12)
    experts = node.model.weight_bytes()["experts"] / 8
    rest = sum(b for name, b in node.model.weight_bytes().items() if name not in ("experts", "embedding"))
    cache = float(node.model.decode_read_bytes(1000)) + float(node.model.kv_bytes(12).total)  # of the fullest chip
    assert both.memory_s == pytest.approx((rest + 2 * (1 - 0.75**16) * experts + cache) / 3.35e12)


@given(model=MODEL, chip=CHIP, chips=st.sampled_from([8, 64]), context=CONTEXT, width=WIDTHS)
def test_max_batch_fits_and_one_more_does_not(model, chip, chips, context, width):
    node = on(model, chip, chips, tensor_parallel=width)
    fits = node.max_batch(context)
    room = node.chip.memory_bytes * node.memory_share

    def needed(batch):
        return node.weight_bytes_per_chip + node.on_fullest(batch) * node.cache_bytes_per_chip(context)

    assert fits % node.replicas == 0  # as many on each
    if fits:
        assert needed(fits) <= room * (1 + 1e-12)
    assert needed(fits + 1) > room * (1 - 1e-12)


# --- what lies whole on a chip ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "fits", "if_weights_split"),
    [
        ("deepseek-v3", 332, 340),
        ("kimi-k2", 256, 264),
        ("deepseek-v4-pro", 2456, 2648),
        ("qwen3-235b-a22b", 564, 564),
    ],
)
def test_a_latent_is_not_split_by_tensor_parallelism(model, fits, if_weights_split):
    """8,192 tokens on 32 H800 in groups of 8: MLA's latent, V4's shared vectors and index keys lie whole on each chip
    (vLLM and SGLang duplicate MLA's cache under tensor parallelism); Qwen3-235B's 4 KV heads split at most 4 ways.
    Router, down-projections and compressors lie whole too: were they split, the last number would fit."""
    node = on(model, "h800", 32, tensor_parallel=8)
    assert node.max_batch(8192) == fits
    stored = dict(node.model.weight_bytes())
    experts = stored.pop("experts")
    free = 0.9 * H800.memory_bytes - sum(stored.values()) / 8 - experts / 32
    assert 4 * math.floor(free / node.cache_bytes_per_chip(8192)) == if_weights_split


@pytest.mark.parametrize(
    ("model", "width", "context", "fits"),
    [
        ("deepseek-v3", 8, 131_072, 4),  # 10.8 GB free beside a share of all weights, 9.21 GB a sequence, as below
        ("deepseek-v3", 1, 131_072, 16),  # 8 x floor(26.08 GB / 9.21 GB)
        ("deepseek-v3.2", 1, 1_048_576, 0),  # 25.2 GB free on a chip, 50.4 GB a sequence: eight halves are no room
        ("qwen3-235b-a22b", 8, 131_072, 10),
    ],
)
def test_a_replica_holds_whole_sequences(model, width, context, fits):
    assert on(model, "h200", 8, tensor_parallel=width).max_batch(context) == fits


def test_heads_split_layer_kind_by_layer_kind():
    """MiMo-V2-Flash: full layers have 4 KV heads, windows 8; on 8 chips a quarter and an eighth."""
    mimo = arch.load("mimo-v2-flash")
    whole, part = mimo.kv_bytes(4096), mimo.kv_bytes(4096, 8)
    assert part.main == whole.main / 4
    assert part.window == whole.window / 8
    for kind, _ in mimo.layers:
        assert kind.cache_share(3) == math.ceil(kind.kv_heads / 3) / kind.kv_heads  # whole heads: 2 of 4, 3 of 8


@pytest.mark.parametrize("model", KEYS)
def test_a_group_holds_the_cache_at_least_once(model):
    loaded = arch.load(model)
    for context in (1, 1000, 200_000):
        whole, read = float(loaded.kv_bytes(context).resident), float(loaded.decode_read_bytes(context))
        for width in range(1, 17):
            assert whole / width <= float(loaded.kv_bytes(context, width).resident) * (1 + 1e-12)
            assert float(loaded.kv_bytes(context, width).resident) <= whole
            assert read / width <= float(loaded.decode_read_bytes(context, width)) * (1 + 1e-12)
            assert float(loaded.decode_read_bytes(context, width)) <= read
    latents = {"mla", "dsa", "csa", "hca", "shared-window"}
    if {kind.kind for kind, _ in loaded.layers} <= latents:
        assert loaded.kv_bytes(1000, 8) == loaded.kv_bytes(1000)


def test_decode_under_tensor_parallelism_reads_latents_whole():
    """V3 on 8 H200, TP 8, 32 sequences of 128K: each chip reads an eighth of the weights and 32 whole latents."""
    node = on("deepseek-v3", "h200", 8, tensor_parallel=8)
    expert = node.model.weight_bytes()["experts"] / 256
    once = node.weight_bytes_per_chip - 32 * expert - 129_280 * 7168 * 2 / 8  # a look-up is not a read of the table
    read = once + 32 * expert * node.experts_touched(32) + 32 * 131_072 * 70_272
    assert node.decode(32, 131_072).memory_s == pytest.approx(read / 4.8e12)
    assert node.decode(32, 131_072).memory_s == pytest.approx(72.9e-3, rel=1e-3)


def test_what_belongs_to_no_head_lies_whole_on_each_chip():
    """V3 on one group of 8: both down-projections of 61 layers and the routers of 58; all else is split."""
    whole = 61 * 7168 * (1536 + 512 + 64) * 1 + 58 * 7168 * 256 * 2
    v3 = on("deepseek-v3", "h800", 8, tensor_parallel=8)
    stored = v3.model.weight_bytes()
    norms = stored["norm"]
    rest = sum(stored.values()) - whole - norms
    assert v3.weight_bytes_per_chip == pytest.approx(rest / 8 + whole + norms)


@pytest.mark.parametrize("model", KEYS)
def test_shares_lie_between_an_even_one_and_all(model):
    loaded = arch.load(model)
    components = {*loaded.params.by_component, *loaded.decode_flops(1).by_component} - {"experts"}
    assert all(share == 1 for share in loaded.shares_on_chip(1).values())
    for width in (2, 4, 8):
        shares = loaded.shares_on_chip(width)
        assert components <= shares.keys()
        assert all(1 / width * (1 - 1e-12) <= share <= 1 for share in shares.values())
        assert shares["core"] == 1 / width


def test_a_group_has_as_many_chips_as_divide_the_heads():
    with pytest.raises(ValueError, match="tensor_parallel = 3 should divide the 128 query heads"):
        on("deepseek-v3", "h800", 9, tensor_parallel=3)


def test_one_prompt_takes_as_long_on_eight_replicas_as_on_one():
    """Llama-2-7B, 4,096 tokens on H800s without tensor parallelism: 58 ms, whether one replica reads or eight do."""
    alone, eight = on(chip="h800"), on(chip="h800", chips=8)
    assert alone.prefill(4096).seconds == pytest.approx(58.06e-3, rel=1e-3)
    for batch in (1, 5, 8):
        assert eight.prefill(4096, batch=batch).seconds == alone.prefill(4096).seconds
        assert eight.prefill(4096, batch=batch).tokens == 4096 * batch
    assert eight.prefill(4096, batch=9).seconds == pytest.approx(alone.prefill(4096, batch=2).seconds)
    split = on(chip="h800", chips=8, tensor_parallel=8)
    assert split.prefill(4096).compute_s == pytest.approx(alone.prefill(4096).compute_s / 8)


@given(model=MODEL, batch=BATCH, context=CONTEXT, width=WIDTHS)
def test_a_replica_of_a_dense_model_is_a_deployment_of_its_own(model, batch, context, width):
    """With the fullest replica's sequences alone a dense model takes the same step; experts shared by all take less."""
    fleet, one = on(model, "h800", 8, tensor_parallel=width), on(model, "h800", width, tensor_parallel=width)
    mine = one.decode(fleet.on_fullest(batch), context)
    if fleet.model.params.by_component.get("experts"):
        assert fleet.decode(batch, context).compute_s <= mine.compute_s * (1 + 1e-12)
        assert fleet.decode(batch, context).memory_s <= mine.memory_s * (1 + 1e-12)
    else:
        assert fleet.decode(batch, context) == dataclasses.replace(mine, tokens=batch)


def test_experts_lie_whole_on_chips():
    """V3's decode unit of 144 chips holds 2 experts a chip, 288 with 32 copies (open-infra-index day 6), not 1.78."""
    expert = 58 * 3 * 7168 * 2048
    rest = on("deepseek-v3", "h800", 256).weight_bytes_per_chip - expert
    for chips, held in ((144, 2), (256, 1), (320, 1), (40, 7), (32, 8)):
        assert on("deepseek-v3", "h800", chips).weight_bytes_per_chip == pytest.approx(rest + held * expert)
    few, none = on("deepseek-v3", "h800", 256).decode(1, 10), on("deepseek-v3", "h800", 320).decode(1, 10)
    assert few.memory_s == none.memory_s  # eight visits: a chip that has one reads that expert whole


def test_weights_too_large_leave_no_room():
    node = on("deepseek-v4-pro", "h800", 1)
    assert node.weight_bytes_per_chip > H800.memory_bytes
    assert node.max_batch(1000) == 0


def test_what_does_not_fit_has_no_price():
    """V4-Pro on 8 H800: 851 GB of weights, of which each chip holds 822 / 8 GB of experts and the other 29 GB whole."""
    node = on("deepseek-v4-pro", "h800", 8)
    words = (
        r"DeepSeek-V4-Pro does not fit on 8 NVIDIA H800 SXM5: each chip would hold 131.4 GB of weights, "
        r"and of its 80 GB of memory 72 GB may be used"
    )
    assert not node.fits()
    for step in (node.decode(8, 1000), node.prefill(1000, batch=8), roofline.Step(1.0, 1.0, 0.0, tokens=1)):
        with pytest.raises(ValueError, match=words):
            node.usd_per_million(step, 2.0)
    with pytest.raises(ValueError, match=words):
        node.check_room(1, 1000)
    assert on("deepseek-v4-pro", "h800", 64).fits()


@pytest.mark.parametrize("width", [1, 8])
@pytest.mark.parametrize("model", ["deepseek-v3", "mimo-v2.5-pro", "llama-3.1-70b"])
def test_a_batch_that_does_not_fit_has_no_price(model, width):
    """The largest batch that fits has a price, one sequence more has none: its cache is the reason."""
    node = on(model, "b200", 32, tensor_parallel=width)
    fits = node.max_batch(50_000)
    assert node.usd_per_million(node.decode(fits, 50_000), 2.0) > 0
    with pytest.raises(ValueError, match=r"GB of weights and \S+ GB of cache, and of its 1\d\d GB of memory"):
        node.usd_per_million(node.decode(fits + 1, 50_000), 2.0)
    with pytest.raises(ValueError, match="GB of cache"):
        node.usd_per_million(node.prefill(1, 49_999, batch=fits + 1), 2.0)
    with pytest.raises(ValueError, match="GB of cache"):  # neither part alone is too much
        node.usd_per_million(node.mixed(fits, 50_000, 500, 49_500, prompts=node.replicas), 2.0)
    with pytest.raises(ValueError, match=f"at most {fits} would"):
        node.check_room(fits + 1, 50_000)


def test_weights_that_fill_the_usable_memory_fit():
    model = arch.load("llama-2-7b")
    weights = sum(model.weight_bytes().values())
    exact = Deployment(model, H800, 1, memory_share=weights / H800.memory_bytes)
    assert exact.fits()
    assert not exact.fits(1e6)
    with pytest.raises(ValueError, match=r"13.48 GB of weights and 0.001 GB of cache, .* 13.48 GB may be used"):
        exact.require_fit(1e6)


def test_weights_per_chip_by_hand():
    """V3: experts over all chips, the rest whole on each."""
    weights = dict(arch.load("deepseek-v3").weight_bytes())
    experts = weights.pop("experts")
    assert experts == 58 * 256 * 3 * 7168 * 2048
    rest = sum(weights.values())
    assert on("deepseek-v3", "h800", 32).weight_bytes_per_chip == pytest.approx(rest + experts / 32)


# --- experts ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("model", "experts", "top_k"), [("mixtral-8x7b", 8, 2), ("deepseek-v3", 256, 8)])
@pytest.mark.parametrize("batch", [1, 7, 100])
def test_experts_touched_against_draws(model, experts, top_k, batch):
    """2000 simulated batches whose tokens choose evenly, without repeats: within four standard errors."""
    rng = np.random.default_rng(0)
    draws = np.argsort(rng.random((2000, batch, experts)), axis=-1)[..., :top_k] if experts < 100 else None
    if draws is None:  # less memory: one batch at a time
        draws = (np.argpartition(rng.random((batch, experts)), top_k, axis=-1)[:, :top_k] for _ in range(2000))
    shares = np.array([np.unique(chosen).size / experts for chosen in draws])
    error = max(shares.std(), 1e-9) / math.sqrt(len(shares))
    assert on(model).experts_touched(batch) == pytest.approx(shares.mean(), abs=4 * error + 1e-9)


def test_experts_touched_at_the_ends():
    assert on("mixtral-8x7b").experts_touched(0) == 0
    assert on("mixtral-8x7b").experts_touched(1) == 2 / 8
    assert on("mixtral-8x7b").experts_touched(10**6) == 1
    assert on("llama-2-7b").experts_touched(1) == 1  # dense: all of it, always


def test_an_unvisited_expert_is_not_read():
    one, many = on("deepseek-v3", "h800", 8).decode(1, 10), on("deepseek-v3", "h800", 8).decode(10_000, 10)
    experts_s = arch.load("deepseek-v3").weight_bytes()["experts"] / 8 / 3.35e12
    cache_s = (10_000 / 8 - 1) * 10 * 70_272 / 3.35e12  # one sequence alone lies whole on its replica
    assert many.memory_s - one.memory_s == pytest.approx(experts_s * (1 - 8 / 256) + cache_s, rel=1e-9)


# --- DeepSeek's day --------------------------------------------------------------------------------------------


def test_published_day():
    """deepseek-ai/open-infra-index day 6: $87,072 a day, revenue $562,027, margin 545%, 226.75 nodes on average."""
    found = roofline.check_day()
    assert found.cost_usd == 87_072  # exactly 226.75 x 8 x 24 x 2
    # 342e9 x 0.14 + 266e9 x 0.55 + 168e9 x 2.19, per million; token counts are printed to 1e9, so $100 off
    assert found.revenue_usd == pytest.approx(562_100, abs=0.01)
    assert found.revenue_usd == pytest.approx(found.day.revenue_usd, rel=2e-4)
    assert found.margin == pytest.approx(5.45, abs=0.01)
    assert found.day.margin == 5.45
    # 73.7k and 14.8k tokens/s per node: the two pools sum to the average number of nodes
    assert found.prefill_nodes == pytest.approx(95.5, abs=0.05)
    assert found.decode_nodes == pytest.approx(131.4, abs=0.05)
    assert found.prefill_nodes + found.decode_nodes == pytest.approx(found.day.nodes, rel=1e-3)
    assert found.day.input_hit_tokens / found.day.input_tokens == pytest.approx(0.563, abs=5e-4)
    assert found.computed_tokens_s / 1e3 == pytest.approx(32.2, abs=0.05)


def test_the_day_implies_an_efficiency_that_hardware_can_have():
    """Shown, not tuned: the efficiencies of the check must be those of a roofline with all factors 1, and below 1."""
    found = roofline.check_day()
    assert 0 < found.prefill_mfu < 1
    assert 0 < found.decode_efficiency < 1
    assert found.decode_step_s == pytest.approx(1 / 21)  # 20 to 22 tokens/s per user
    assert found.decode_batch_per_chip == pytest.approx(14_800 / 21 / 8)
    assert found.decode_efficiency == pytest.approx(found.decode_ideal.seconds / found.decode_step_s)
    unit = on("deepseek-v3", "h800", 32)
    again = unit.prefill(4989, batch=32).compute_s / 4989 * found.computed_tokens_s / 8
    assert found.prefill_mfu == pytest.approx(again)


def test_unknown_day():
    with pytest.raises(ValueError, match=r"unknown day 'monday'.*deepseek-day"):
        roofline.check_day("monday")


# --- bad input -------------------------------------------------------------------------------------------------

BAD_COUNTS = [0, -1, 1.5, float("nan"), float("inf"), 1e300, True, "8", None]


@pytest.mark.parametrize("batch", BAD_COUNTS, ids=repr)
def test_bad_batch(batch):
    with pytest.raises(ValueError, match="batch should be a whole number"):
        on().decode(batch, 10)
    with pytest.raises(ValueError, match="batch should be a whole number"):
        on().prefill(10, batch=batch)


@pytest.mark.parametrize("tokens", [0, -1, 1.5, float("nan"), float("inf"), 1e300, True, 2**53 + 1])
def test_bad_context(tokens):
    node = on()
    for ask in (node.max_batch, node.prefill, lambda n: node.decode(1, n)):
        with pytest.raises(ValueError, match=r"whole numbers|2\*\*53"):
            ask(tokens)


@pytest.mark.parametrize("prefix", [-1, 0.5, float("nan")])
def test_bad_prefix(prefix):
    with pytest.raises(ValueError, match="whole numbers"):
        on().prefill(10, prefix=prefix)


@pytest.mark.parametrize("share", [0, -0.1, 1.1, float("nan"), float("inf")])
@pytest.mark.parametrize("part", ["compute", "memory", "link"])
def test_bad_efficiency(part, share):
    with pytest.raises(ValueError, match=f"{part} efficiency should be above 0 and at most 1, got"):
        Efficiency(**{part: share})


@pytest.mark.parametrize(
    ("chips", "tensor_parallel", "words"),
    [
        (0, 1, r"chips should be a whole number from 1 to 2\*\*53, got 0"),
        (-8, 1, "chips should be a whole number .*, got -8"),
        (8, 0, "tensor_parallel should be a whole number .*, got 0"),
        ("8", 1, "chips should be a whole number .*, got '8'"),
        (True, 1, "chips should be a whole number .*, got True"),
        (8, 3, "8 chips don't divide into groups of tensor_parallel = 3"),
        (32, 16, "tensor_parallel = 16 should stay within a node of 8 chips"),
        (1.5, 1, "chips should be a whole number .*, got 1.5"),
        (float("nan"), 1, "chips should be a whole number .*, got nan"),
    ],
)
def test_bad_counts_of_chips(chips, tensor_parallel, words):
    with pytest.raises(ValueError, match=words):
        on(chips=chips, tensor_parallel=tensor_parallel)


def test_bad_share_and_rent():
    for share in (0, -1, 1.01, float("nan")):
        with pytest.raises(ValueError, match="memory_share should be above 0 and at most 1"):
            Deployment(arch.load("llama-2-7b"), H800, 1, memory_share=share)
    for rent in (-1, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="rent should be a finite number of at least 0"):
            on().usd_per_million(on().decode(1, 10), rent)
    for batch in (-1, float("nan")):
        with pytest.raises(ValueError, match="batch"):
            on("mixtral-8x7b").experts_touched(batch)


def test_unknown_names():
    with pytest.raises(ValueError, match=r"unknown model 'llama'.*llama-2-7b"):
        on("llama")
    with pytest.raises(ValueError, match="unknown chip 'h80'; did you mean 'h800'"):
        on(chip="h80")


@pytest.mark.parametrize("model", KEYS)
@pytest.mark.filterwarnings("error")
def test_absurd_sizes_are_finite(model):
    node = on(model, "b200", 8)
    for step in (node.decode(10**15, 10**15), node.prefill(10**15), node.prefill(10, 10**15)):
        assert math.isfinite(step.seconds)
        assert step.tokens_per_s > 0
    assert node.max_batch(10**15) == 0


def test_experts_of_a_replica_need_no_exchange():
    """V3 on 32 H800 in groups of 8: what an all-reduce has brought everywhere travels to the other groups only."""
    step = on("deepseek-v3", "h800", 32, tensor_parallel=8).decode(3200, 100)
    exchange = 100 * 58 * 8 * 7168 * 3 * 24 / 32 / 50e9
    reduce = 100 * (2 * 61 + 1) * 7168 * 2 * 2 * 7 / 200e9
    assert step.link_s == pytest.approx(exchange + reduce)


def test_links_within_a_node_by_hand():
    """V3 on 8 H800: nothing leaves the node, and one expert visit in eight stays on its own chip."""
    step = on("deepseek-v3", "h800", 8).decode(800, 100)
    assert step.link_s == pytest.approx(58 * 8 * 7168 * 3 * 100 * 7 / 8 / 200e9)
