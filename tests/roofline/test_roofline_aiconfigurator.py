"""Cache, attention, weights and all-reduce per chip against NVIDIA AIConfigurator's speed of light, recorded as data.

Recorded on 2026-11-25 with aiconfigurator-core 0.12.0 (PyPI), system h100_sxm, backend trtllm 1.3.0rc20, BF16 cache:
`get_model(path, ModelConfig(...))`, then `get_kvcache_bytes_per_sequence(context)` of the model, the sum of its
operations' `get_weights()`, and `EngineHandle.evaluate_ops_sol_json` of one operation: its compute and memory in
milliseconds. One node of 8 chips: tensor_parallel T is tp_size=T, attention_dp_size=8/T, moe_ep_size=8.
"""

import dataclasses

import pytest

from costlab import arch, catalog
from costlab.roofline import Deployment

#: With AIConfigurator's rounded peaks (systems/h100_sxm.yaml), so that only counts can differ.
CHIP = dataclasses.replace(catalog.chip("h100-sxm"), flops={"tf32": 494.5e12, "bf16": 989e12, "fp8": 1978e12})


def node(model, group):
    return Deployment(arch.load(model), CHIP, 8, group)


@pytest.mark.parametrize(
    ("model", "group", "context", "kept"),
    [
        ("llama-3.1-70b", 8, 8192, 335_544_320),
        ("qwen3-235b-a22b", 4, 131_072, 6_308_233_216),
        ("qwen3-235b-a22b", 8, 131_072, 6_308_233_216),  # 4 KV heads on 8 chips: each lies on two
        ("deepseek-v3", 1, 8192, 575_668_224),
        ("deepseek-v3", 8, 8192, 575_668_224),  # the latent lies whole on each
        ("glm-5", 8, 8192, 820_445_184),  # the index key too
    ],
)
def test_cache_of_a_sequence_on_each_chip(model, group, context, kept):
    assert node(model, group).cache_bytes_per_chip(context) == kept


@pytest.mark.parametrize(
    ("model", "group", "context", "compute_ms", "memory_ms", "query_bytes"),
    [
        ("llama-3.1-70b", 8, 8192, 0.17368829152679477, 6.415876585074627, 2 * 2 * 8 * 128),
        ("qwen3-235b-a22b", 8, 8192, 0.20408374254398384, 7.538654987462687, 2 * 2 * 8 * 128),
        ("deepseek-v3", 8, 4096, 0.5629273364448938, 5.538151469850747, 2 * 16 * 1088),
        ("deepseek-v3", 1, 4096, 4.50341869155915, 5.822166887164179, 2 * 128 * 1088),
    ],
)
def test_decode_attention(model, group, context, compute_ms, memory_ms, query_bytes):
    """64 sequences per replica. AIConfigurator reads all but the new token, and counts queries and outputs besides."""
    chips = node(model, group)
    long, short = (chips.decode(64 * 8 // group, tokens) for tokens in (context, 1))
    queries = 64 * query_bytes * len(chips.model.layers) / CHIP.memory_bandwidth_bytes_s
    assert long.memory_s - short.memory_s + queries == pytest.approx(memory_ms / 1e3, rel=1e-9)
    assert long.compute_s - short.compute_s == pytest.approx(compute_ms / 1e3, rel=2 / context)


@pytest.mark.parametrize(
    ("model", "group", "new", "prefix", "compute_ms"),
    [
        ("llama-3.1-70b", 8, 8192, 0, 11.117407763154702),
        ("qwen3-235b-a22b", 8, 8192, 0, 13.062954121706776),
        ("deepseek-v3", 1, 4096, 0, 42.385117097027305),
        ("deepseek-v3", 8, 1024, 3072, 2.3179360912436806),
    ],
)
def test_prefill_attention(model, group, new, prefix, compute_ms):
    """AIConfigurator takes half the square, n^2 for our n (n + 1)."""
    core = float(node(model, group).model.prefill_flops(new, prefix).by_component["core"])
    assert core / group / 989e12 == pytest.approx(compute_ms / 1e3, rel=2 / new)


def test_a_dense_model_whole():
    """Weights (AIConfigurator's without norms), all matrices and attention, and the ring all-reduces."""
    llama = node("llama-3.1-70b", 8)
    assert llama.weight_bytes_per_chip == pytest.approx(17_638_096_896, rel=2e-4)
    assert llama.decode(64, 8192).compute_s == pytest.approx(1.2980840760687562e-3, rel=2 / 8192)
    assert llama.prefill(8192).compute_s == pytest.approx(152.86462233315268e-3, rel=2 / 8192)
    once_more = 1 + 1 / 160  # two in each of 80 layers are AIConfigurator's figure, one after the embedding its other
    assert llama.decode(64, 8192).link_s == pytest.approx(2 * 0.32622364444444446e-3 * once_more, rel=1e-9)
    assert llama.prefill(8192).link_s == pytest.approx(2 * 41.75662648888889e-3 * once_more, rel=1e-9)


def test_experts_within_one_group_send_nothing_more():
    """V3, TP 8, EP 8: the all-reduces of 61 layers, and the one after the embedding."""
    expected = 0.4353046755555556e-3 * (1 + 1 / 122)
    assert node("deepseek-v3", 8).decode(64, 4096).link_s == pytest.approx(expected, rel=1e-9)
