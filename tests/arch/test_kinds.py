"""The kinds that no model had before: parameters and cached tensors against transformers, sums against brute force."""

import dataclasses
import re

import numpy as np
import pytest
import torch
import transformers
from arch import kinds
from hypothesis import given
from hypothesis import strategies as st

from costlab import arch
from costlab.arch import Entries
from costlab.arch.entries import Read

# --- parameters ------------------------------------------------------------------------------------------------------


def text_model(module, name):
    """A class of transformers that Auto classes do not map."""
    found = __import__(f"transformers.models.{module}.modeling_{module}", fromlist=["*"])
    return lambda config: getattr(found, name)(config)


def config_of(module, name):
    found = __import__(f"transformers.models.{module}.configuration_{module}", fromlist=["*"])
    return getattr(found, name)()


auto = transformers.AutoModelForCausalLM.from_config

#: A model, its configuration, its class; without head where the class is the bare text model.
ORACLES = {
    "qwen3-next": (kinds.qwen3_next, transformers.Qwen3NextConfig, auto, True),
    "kimi-linear": (kinds.kimi_linear, transformers.KimiLinearConfig, auto, True),
    "ling": (kinds.ling, transformers.BailingHybridConfig, auto, True),
    "nemotron": (kinds.nemotron, kinds.nemotron_config, auto, True),
    "nemotron-latent": (kinds.nemotron_latent, kinds.nemotron_latent_config, auto, True),
    "minimax-text": (kinds.minimax_text, transformers.MiniMaxConfig, auto, True),
    "minimax-m3": (kinds.minimax_m3, kinds.minimax_m3_config, auto, True),
    "minimax-m2": (kinds.minimax_m2, kinds.minimax_m2_config, auto, True),
    "gpt-oss": (kinds.gpt_oss, transformers.GptOssConfig, auto, True),
    "gemma4": (kinds.gemma4, kinds.gemma4_config, auto, True),
    "llama4": (kinds.llama4, kinds.llama4_config, auto, True),
    "glm-5.2": (kinds.glm_52, kinds.glm_52_config, auto, True),
    "glm-5.3-flash": (
        kinds.glm_53_flash,
        lambda: config_of("glm5_next", "Glm5NextTextConfig"),
        text_model("glm5_next", "Glm5NextTextModel"),
        False,
    ),
    "mistral-large-4": (
        kinds.mistral_large_4,
        lambda: config_of("mistral_large4", "MistralLarge4TextConfig"),
        text_model("mistral_large4", "MistralLarge4TextModel"),
        False,
    ),
}


@pytest.mark.parametrize("key", list(ORACLES))
def test_every_parameter_is_counted(key):
    """transformers' count to the last digit, but for selection biases (its buffers) and offsets of residual streams."""
    make, config, build, headed = ORACLES[key]
    ours = make()
    with torch.device("meta"):
        module = build(config())
    theirs = sum(p.numel() for p in module.parameters())
    bias = sum(b.numel() for n, b in module.named_buffers() if n.endswith("e_score_correction_bias"))
    offsets = sum(p.numel() for n, p in module.named_parameters() if re.search(r"_hc\.(base|scale)$", n))
    final = ours.params.by_component.get("residual", 0) % (4 * ours.record.hidden) if offsets else 0
    mixed_out = 0 if headed or not offsets else ours.record.residual_streams**2 * ours.record.hidden
    assert final == 0
    total = ours.params.total - (0 if headed else ours.params.by_component["head"]) - mixed_out
    if key == "mistral-large-4":  # its router's bias is no part of the class
        bias = 71 * 128
    if key == "glm-5.3-flash":
        bias = 42 * 288
    assert total == theirs + bias - offsets


@pytest.mark.parametrize(
    ("make", "total", "active", "per_token", "fixed"),
    [  # market.md [10.2]: billions, bytes, megabytes
        (kinds.qwen3_next, 79.7, 3.6, 24_576, 75.5 + 2.4),
        (kinds.kimi_linear, 49.1, 3.1, 6_912, 44 + 2.06),
        (kinds.ling, 124.4, 5.1, 8_064, 73.4 + 3.4),
        (kinds.nemotron, 31.6, 3.2, 6_144, 48 + 1.1),
        (kinds.gpt_oss, 116.83, 5.13, 36_864, 4.7),
        (kinds.llama4, 107.8, 16.1, 49_152, 1_208),
        (kinds.minimax_m2, 228.7, 10.4, 253_952, 0),
        (kinds.glm_52, 743.38, 40.30, 92_628, 0),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_published_sizes(make, total, active, per_token, fixed):
    """Totals, active parameters and cache of newer models, to the digits that the sheet of facts has."""
    ours = make()
    assert ours.params.total / 1e9 == pytest.approx(total, abs=0.06)
    assert ours.params.active / 1e9 == pytest.approx(active, abs=0.06)
    kv = ours.kv_bytes(8192)
    assert float(kv.growing) / 8192 == per_token
    assert float(kv.fixed) / 1e6 == pytest.approx(fixed, abs=0.6)


def test_v41_flash():
    """552B and 196.6B of tables, 16B in decode, 8B in prefill, 890 bytes a token: vllm-project/recipes PR 959, NeMo."""
    flash = arch.load("deepseek-v4.1-flash")
    params, kv = flash.params, flash.kv_bytes(10**6)
    assert params.total / 1e9 == pytest.approx(551.5, abs=0.15)
    assert params.lookup == (384_006_168 + 384_016_682) * 256
    assert round(params.active / 1e9) == 16
    assert round(params.prefill_active / 1e9) == 8
    assert float(kv.growing) == 890 * 10**6
    assert float(kv.window) == 40 * 128 * 288
    owners = [i for i, (a, _) in enumerate(flash.layers) if getattr(a, "owns_kv", False)]
    assert owners == [2, 8, 14, 20]
    assert [i for i, (a, _) in enumerate(flash.layers) if getattr(a, "owns_index", False)] == [*owners, 24, 28, 32, 36]
    v4 = arch.load("deepseek-v4-flash")
    assert float(kv.total / v4.kv_bytes(10**6).total) == pytest.approx(0.25, abs=0.01)  # market.md [10.2]: a quarter


def test_states_in_tokens_of_their_caches():
    """market.md [11]: Kimi-K3's 434 MB equal 15,700 tokens of its KV, Qwen3.5-397B's 189 MB equal 6,140."""
    k3 = arch.KDA(96, head_dim=128, conv_width=4)
    assert 69 * k3.state_elements * 4 / 1e6 == pytest.approx(434, abs=0.5)
    assert 69 * k3.conv_elements * 2 / 1e6 == pytest.approx(20, abs=0.5)
    assert 69 * k3.state_elements * 4 / (24 * 576 * 2) == pytest.approx(15_700, abs=50)
    qwen = arch.GatedDelta(64, key_heads=16, key_dim=128, value_dim=128, conv_width=4)
    assert 45 * qwen.state_elements * 4 / 1e6 == pytest.approx(188.7, abs=0.05)
    assert 45 * qwen.conv_elements * 2 / 1e6 == pytest.approx(4.4, abs=0.05)
    assert 45 * qwen.state_elements * 4 / (15 * 2 * 2 * 256 * 2) == pytest.approx(6_140, abs=10)


# --- a real cache ----------------------------------------------------------------------------------------------------


def tiny(name):
    """A small model of a class, and ours of its dimensions."""
    full = kinds.gqa(4, 2, 16)
    if name == "qwen3-next":
        config = transformers.Qwen3NextConfig(
            vocab_size=100, hidden_size=32, intermediate_size=32, num_hidden_layers=4, num_attention_heads=4,
            num_key_value_heads=2, head_dim=16, linear_key_head_dim=8, linear_value_head_dim=16,
            linear_num_key_heads=2, linear_num_value_heads=4, num_experts=4, num_experts_per_tok=2,
            moe_intermediate_size=16, shared_expert_intermediate_size=16,
        )  # fmt: skip
        layer = {"kind": "gated-delta", "heads": 4, "key_heads": 2, "key_dim": 8, "value_dim": 16, "conv_width": 4}
        runs = [(1, [("delta", "moe")] * 3 + [("full", "moe")])]
        gated = {**full, "qk_norm": True, "gate_dim": 16}
        return config, kinds.model(
            32, 100, runs, {"delta": layer, "full": gated}, {"moe": kinds.moe(4, 2, 16, shared=1, shared_gate=True)}
        )
    if name == "nemotron":
        config = kinds.nemotron_config(
            "M*M", hidden_size=32, num_attention_heads=4, head_dim=16, mamba_num_heads=4, mamba_head_dim=16,
            n_groups=2, ssm_state_size=8, vocab_size=100,
        )  # fmt: skip
        mamba = {"heads": 4, "head_dim": 16, "state_dim": 8, "groups": 2}
        return config, kinds.nemotron(32, 100, "M*M", mamba=mamba, full=full)
    if name == "kimi-linear":
        config = transformers.KimiLinearConfig(
            vocab_size=100, hidden_size=32, intermediate_size=32, moe_intermediate_size=16, num_hidden_layers=2,
            num_attention_heads=2, num_key_value_heads=2, num_experts=4, num_experts_per_token=2, kv_lora_rank=16,
            qk_nope_head_dim=16, qk_rope_head_dim=8, v_head_dim=16, linear_head_dim=16, linear_num_heads=2,
            layer_types=["linear_attention", "full_attention"], mlp_layer_types=["dense", "sparse"], pad_token_id=0,
        )  # fmt: skip
        attention = {"kda": kinds.kda(2, 16, decay_rank=16, gate_rank=16), "mla": kinds.mla(2, 16, 8, 16, 0, 16)}
        ffn = {"dense": {"kind": "dense", "inner": 32}, "moe": kinds.moe(4, 2, 16, bias=True, shared=1)}
        return config, kinds.model(32, 100, [(1, [("kda", "dense"), ("mla", "moe")])], attention, ffn)
    if name == "gpt-oss":
        config = transformers.GptOssConfig(
            vocab_size=100, hidden_size=32, intermediate_size=16, num_hidden_layers=2, num_attention_heads=4,
            num_key_value_heads=2, head_dim=16, num_local_experts=4, num_experts_per_tok=2, sliding_window=8,
            layer_types=["sliding_attention", "full_attention"], pad_token_id=0,
        )  # fmt: skip
        said = {"sink": True, "qkv_bias": True, "output_bias": True}
        attention = {"window": kinds.gqa(4, 2, 16, "sliding", window=7, **said), "full": {**full, **said}}
        return config, kinds.model(
            32, 100, [(1, [("window", "moe"), ("full", "moe")])], attention, {"moe": kinds.moe(4, 2, 16, biases=True)}
        )
    config = kinds.llama4_config(
        vocab_size=100, hidden_size=64, intermediate_size=16, intermediate_size_mlp=16, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, head_dim=16, num_local_experts=4, attention_chunk_size=64,
        layer_types=["chunked_attention", "full_attention"], no_rope_layers=[1, 0], pad_token_id=0,
    )  # fmt: skip
    attention = {"chunked": kinds.gqa(4, 2, 16, "chunked", chunk=64), "full": full}
    return config, kinds.model(
        64, 100, [(1, [("chunked", "moe"), ("full", "moe")])], attention, {"moe": kinds.moe(4, 1, 16, shared=1)}
    )


def tensors(cache):
    """Every tensor that a cache of transformers holds."""
    for layer in cache.layers:
        for name in ("keys", "values", "conv_states", "recurrent_states"):
            held = getattr(layer, name, None)
            for tensor in held.values() if isinstance(held, dict) else [held]:
                if isinstance(tensor, torch.Tensor):
                    yield name, tensor


@pytest.mark.parametrize("name", ["qwen3-next", "nemotron", "kimi-linear", "gpt-oss", "llama4"])
def test_cached_bytes_are_those_of_a_real_pass(name):
    """Elements of each tensor that a forward pass leaves, in our storage: states FP32, all else BF16."""
    config, ours = tiny(name)
    torch.manual_seed(0)
    module = auto(config).eval()
    assert ours.params.total == sum(p.numel() for p in module.parameters()) + sum(
        b.numel() for n, b in module.named_buffers() if n.endswith("e_score_correction_bias")
    )
    for tokens in (11, 29):
        with torch.no_grad():
            cache = module(torch.randint(0, 100, (1, tokens)), use_cache=True).past_key_values
        held = sum(t.numel() * (4 if part == "recurrent_states" else 2) for part, t in tensors(cache))
        assert float(ours.kv_bytes(tokens).total) == held


# --- closed forms against brute force --------------------------------------------------------------------------------

CHUNKS = st.integers(1, 300)


@given(chunk=CHUNKS, tokens=st.integers(1, 2000))
def test_chunks_one_by_one(chunk, tokens):
    """What the token at `tokens` sees: itself and those before it in its chunk."""
    seen = sum(1 for i in range(1, tokens + 1) if (i - 1) // chunk == (tokens - 1) // chunk)
    assert Entries(cap=chunk, restarts=True).at(np.float64(tokens)) == seen


@given(chunk=CHUNKS, prefix=st.integers(0, 1000), new=st.integers(1, 1000))
def test_chunks_summed_is_the_loop(chunk, prefix, new):
    entries = Entries(cap=chunk, restarts=True)
    loop = sum((c - 1) % chunk + 1 for c in range(prefix + 1, prefix + new + 1))
    assert entries.summed(np.float64(prefix), np.float64(new)) == loop


def test_chunks_are_half_full_in_the_mean():
    entries = Entries(cap=8192, restarts=True)
    assert float(entries.summed(np.float64(0), np.float64(8192 * 50))) / (8192 * 50) == (8192 + 1) / 2


@pytest.mark.parametrize("said", [{}, {"stride": 2, "cap": 4}])
def test_entries_that_cannot_restart(said):
    with pytest.raises(ValueError, match="restart need a cap and a stride of 1"):
        Entries(restarts=True, **said)


@given(cap=st.integers(1, 50), context=st.integers(1, 200), rows=st.integers(1, 6))
def test_a_state_is_read_once_for_all_rows(cap, context, rows):
    state = Read("core", 1.0, 1.0, Entries(cap=1), once=True)
    assert float(state.read_once(np.float64(context), rows)) == 1.0
    window = Read("core", 1.0, 1.0, Entries(cap=cap))
    seen = {t for row in range(rows) for t in range(max(1, context + row - cap + 1), context + row + 1)}
    assert float(window.read_once(np.float64(context), rows)) == len(seen)
    chunks = Read("core", 1.0, 1.0, Entries(cap=cap, restarts=True))
    at = [context + row for row in range(rows)]
    seen = {t for c in at for t in range(1, c + 1) if (t - 1) // cap == (c - 1) // cap}
    assert float(chunks.read_once(np.float64(context), rows)) == len(seen)


SOME = (
    kinds.qwen3_next, kinds.nemotron, kinds.minimax_text, kinds.llama4, kinds.gemma4, kinds.gpt_oss, kinds.minimax_m3,
    kinds.glm_53_flash,
)  # fmt: skip
MODELS = {make.__name__: make() for make in SOME}
KEYS = st.sampled_from(sorted(MODELS))


@given(key=KEYS, tokens=st.integers(1, 10**6), more=st.integers(0, 10**6))
def test_bytes_add_up_and_states_stay(key, tokens, more):
    """Total = growing + fixed; a state is as large at any context; what grows is one entry per token and layer."""
    ours = MODELS[key]
    kv, later = ours.kv_bytes(tokens), ours.kv_bytes(tokens + more)
    assert float(kv.recurrent) == float(later.recurrent)
    assert float(kv.total) == float(kv.main + kv.index + kv.window + kv.recurrent)
    by_layer = sum(
        store.bytes_per_entry * float(store.entries.at(np.float64(tokens)))
        for attention, _ in ours.layers
        for store in attention.stores()
    )
    assert float(kv.resident) == pytest.approx(by_layer, rel=1e-12)


@given(key=KEYS, prefix=st.integers(0, 20_000), new=st.integers(1, 3000))
def test_decoding_a_prompt_computes_what_prefill_does(key, prefix, new):
    ours = MODELS[key]
    steps = ours.decode_flops(np.arange(prefix + 1, prefix + new + 1)).by_component
    prompt = ours.prefill_flops(new, prefix).by_component
    for name in ("core", "indexer"):
        assert float(steps[name].sum()) == pytest.approx(float(prompt[name]), rel=1e-12)


@given(tokens=st.integers(1, 10**7), rows=st.integers(1, 8))
def test_recurrent_work_is_constant(tokens, rows):
    """A step's FLOPs, and its bytes whatever it verifies: each state and convolution read and written once."""
    layer = arch.GatedDelta(8, key_heads=4, key_dim=16, value_dim=32, conv_width=4)
    ours = dataclasses.replace(MODELS["qwen3_next"], layers=((layer, arch.NoFeedForward()),))
    state = 8 * 16 * 32 * 4 + 4 * (2 * 4 * 16 + 8 * 32) * 2
    assert float(ours.kv_bytes(tokens).total) == state
    assert float(ours.decode_read_bytes(tokens, rows=rows)) == 2 * state
    assert float(ours.decode_flops(tokens).by_component["core"]) == 6 * 8 * 16 * 32
    assert float(ours.prefill_flops(tokens).by_component["core"]) == 6 * 8 * 16 * 32 * tokens


# --- sharing ---------------------------------------------------------------------------------------------------------


def test_borrowed_keys_count_once_and_are_read_everywhere():
    own = arch.FullAttention(8, 16, kinds.kv(16), kv_heads=2, qk_dim=16, v_dim=16)
    borrow = dataclasses.replace(own, owns_kv=False)
    ffn = arch.NoFeedForward()
    base = MODELS["qwen3_next"]
    alone = dataclasses.replace(base, layers=((own, ffn),))
    four = dataclasses.replace(base, layers=((own, ffn), *((borrow, ffn),) * 3))
    assert float(four.kv_bytes(1000).total) == float(alone.kv_bytes(1000).total) == 1000 * 2 * 32 * 2
    assert float(four.decode_read_bytes(1000)) == 4 * float(alone.decode_read_bytes(1000))
    keys = base.record.hidden * 2 * 32
    parts = (four.params.by_component["attention"], 4 * alone.params.by_component["attention"])
    assert parts[0] == parts[1] - 3 * keys


def test_an_owner_comes_first():
    table = kinds.gqa(4, 2, 16)
    attention = {"borrow": {**table, "owns_kv": False}, "own": table}
    with pytest.raises(ValueError, match=r"layer 0 has owns_kv = false, but no full layer before it"):
        kinds.model(32, 100, [(1, [("borrow", "none"), ("own", "none")])], attention, {"none": kinds.NONE})


# --- tensor parallelism ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", sorted(MODELS))
def test_a_group_of_one_holds_all(key):
    ours = MODELS[key]
    assert float(ours.kv_bytes(5000, 1).total) == float(ours.kv_bytes(5000).total)
    for attention in ours.attention_counts:
        assert attention.params_on_chip(ours.record.hidden, 1) == pytest.approx(attention.params(ours.record.hidden))


def test_states_split_by_value_heads_and_keys_by_groups():
    layer = arch.GatedDelta(32, key_heads=16, key_dim=128, value_dim=128, conv_width=4)
    assert layer.cache_share(16) == pytest.approx(1 / 16)
    state, conv = 32 * 128 * 128 * 4, 4 * 2 * 128
    held = state / 32 + conv * (2 + 1)  # one value head: its state, its values, a copy of its key head
    assert layer.cache_share(32) == pytest.approx(held / layer.state_bytes)
    mine = layer.params_on_chip(2048, 32)
    assert mine["attention"] == 2048 * (2 * 128 + 2 * 128 + 2)  # a key head whole, a value head, gate, decay, rate
    assert mine["conv"] == 4 * 3 * 128
    mamba = arch.Mamba2(64, head_dim=64, state_dim=128, groups=8, conv_width=4)
    assert mamba.cache_share(8) == pytest.approx(1 / 8)
    assert mamba.params_on_chip(100, 16)["attention"] == pytest.approx(100 * (2 * 4 * 64 + 2 * 128 + 4))


# --- refused ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: arch.GatedDelta(4, key_heads=3, key_dim=8, value_dim=8, conv_width=4), "4 value heads.*key_heads = 3"),
        (lambda: arch.KDA(4, head_dim=0, conv_width=4), "head_dim = 0"),
        (lambda: arch.Mamba2(4, head_dim=8, state_dim=8, groups=3, conv_width=4), "4 heads.*groups = 3"),
        (lambda: arch.Lightning(0, head_dim=8), "heads = 0"),
        (lambda: arch.KDA(4, head_dim=8, conv_width=4, state_dtype="fp7"), "state_dtype = 'fp7'"),
        (lambda: arch.NoAttention(4), "heads = 4 in a layer without attention"),
        (lambda: arch.MoE(8, 2, 16, latent=0), "latent = 0"),
        (lambda: arch.MoE(8, 2, 16, latent_norm=True), "latent_norm without latent"),
        (lambda: arch.MoE(8, 2, 16, shared_gate=True), "shared experts, of which there are none"),
    ],
)
def test_bad_sizes_are_named(make, said):
    with pytest.raises(ValueError, match=said):
        make()


def test_one_storage_for_comparison():
    """GLM-5 keeps BF16 latents, V3.2 FP8 ones: alike, they differ by their layers only."""
    glm, v32 = arch.load("glm-5"), arch.load("deepseek-v3.2")
    assert float(glm.kv_bytes(1000).total) / float(v32.kv_bytes(1000).total) == pytest.approx(100_152 / 48_068)
    sizes = [float(m.stored_as("bf16").kv_bytes(1).total) for m in (glm, v32)]
    assert sizes == [78 * (576 + 128) * 2, 61 * (576 + 128) * 2]
    with pytest.raises(ValueError, match="storage 'fp7'"):
        glm.stored_as("fp7")
    states = MODELS["qwen3_next"]
    assert float(states.stored_as("fp8").kv_bytes(1).recurrent) == float(states.kv_bytes(1).recurrent)
