"""The catalog's models of 2026: parameters, active ones and cache, against figures that were computed elsewhere.

Source: the fact sheet of 2026-11-25, which counted the makers' configurations with transformers 5.24.0 on the meta
device and read cached elements from its caches; recurrent states in FP32, convolutions in bf16.
"""

import pytest
import torch
import transformers

from costlab import arch, prices

# total and active in billions, cache bytes a token, fixed MB of a sequence
FIGURES = {
    "kimi-k3": (2780, 104, 27_648, 454),
    "qwen3.5-397b-a17b": (396.35, 16.3, 30_720, 193.1),
    "qwen3.5-122b-a10b": (122.1, 9.0, 24_576, None),
    "qwen3.5-27b": (26.9, 25.6, 65_536, None),
    "qwen3.6-35b-a3b": (34.7, 2.95, 20_480, None),
    "gpt-oss-120b": (116.83, 5.13, 36_864, 4.7),
    "gemma-4-26b-a4b": (25.2, 3.1 + 0.74, 20_480, 209.7),  # 3.1 and the tied head
    "llama-4-maverick": (400.7, 16.2, 49_152, 1208),
    "llama-4-scout": (107.8, 16.1, 49_152, 1208),
    "minimax-m2.5": (228.7, 10.4, 253_952, 0),
    "minimax-m3": (426.2, 24.7, 122_880 + 57 * 128 * 2, 0),  # and one index key in bf16 in each of 57 layers
    "glm-5.2": (743.38, 40.30, 92_628, 0),
    "nemotron-3-super": (120.7, 12.2, 8_192, 171.0),
    "nemotron-3-nano": (31.6, 3.2, 6_144, 49.4),
    "qwen3-next-80b": (79.7, 3.6, 24_576, 77.9),
    "kimi-linear-48b": (49.1, 3.1, 6_912, None),
    "hy3-preview": (295.0, 20.2, 327_680, 0),
    "mimo-v2.6-pro": (1021, 41, 51_200, 39.3),
    "mimo-v2.6-flash": (308.8, 14.8, 23_040, 25.6),
    "gpt-oss-20b": (20.91, 3.61, 24_576, 3.1),
    "nemotron-3-ultra": (549.3, 55.0, 12_288, 409.7),  # the sheet's 403 MB of state and the convolutions' tails
    "kimi-k2.5": (1026.4, 31.7, 70_272, 0),
    "kimi-k2.6": (1026.4, 31.7, 70_272, 0),
    "kimi-k2.7-code": (1026.4, 31.7, 70_272, 0),
    "qwen3.8-27b": (26.9, 25.6, 65_536, None),
    "qwen3.8-2.4t-a95b": (2419.8, 93.25, 94_208, None),  # the class of qwen3_5_moe with its fields, see below
    "mistral-small-4-119b": (119.0, 6.1, 23_040, 0),
    # the sheet's 195.8 and 10.3 with 64 heads in each of 33 windows, which have 96; see below
    "step-3.7-flash": (195.8 + 1.11, 10.3 + 1.11, 49_152, 69.2),
}


@pytest.mark.parametrize("key", list(FIGURES))
def test_parameters_and_cache(key):
    total, active, per_token, fixed = FIGURES[key]
    model = arch.load(key)
    kv = model.kv_bytes(131_072)
    assert model.params.total / 1e9 == pytest.approx(total, rel=5e-3)
    assert model.params.active / 1e9 == pytest.approx(active, rel=2e-2)
    assert float(kv.growing) / 131_072 == pytest.approx(per_token, rel=1e-9)
    if fixed is not None:
        assert float(kv.fixed) / 1e6 == pytest.approx(fixed, rel=5e-3, abs=0.05)


def test_the_storage_of_each_cache_is_stated():
    for key in FIGURES:
        assert "stored" in arch.load(key).record.note.lower(), key


# --- against transformers' classes on the meta device ----------------------------------------------------------


def class_of(module, name):
    """A class of transformers by its module, whether or not it is exported."""
    return getattr(__import__(f"transformers.models.{module}", fromlist=["*"]), name)


def qwen(module, name, **dimensions):
    """Qwen3.5's text classes: every fourth layer full, 16 key heads, heads of 128 and 256 in the two kinds."""
    same = {
        "vocab_size": 248_320, "head_dim": 256, "num_key_value_heads": 4, "linear_num_key_heads": 16,
        "linear_key_head_dim": 128, "linear_value_head_dim": 128, "tie_word_embeddings": False,
    }  # fmt: skip
    return class_of(module, f"{name}ForCausalLM")(class_of(module, f"{name}TextConfig")(**same, **dimensions))


def step(sliding_heads):
    """Step-3.7's text model, which has no head; every fourth layer is full, the first three are dense."""
    kinds = ["full_attention" if i % 4 == 0 else "sliding_attention" for i in range(45)]
    config = class_of("step3p7", "Step3p7TextConfig")(
        vocab_size=128_896, layer_types=kinds, sliding_window=512, num_sliding_attention_heads=sliding_heads
    )
    return class_of("step3p7.modeling_step3p7", "Step3p7TextModel")(config)


#: Ultra's 108 layers by nvidia's config.json: mamba, experts, attention.
ULTRA = "MEMEMEM*EMEMEM*EMEMEMEM*EMEMEMEM*EMEMEM*EMEMEMEM*EMEMEMEM*EMEMEM*EMEMEMEM*EMEMEMEM*EMEMEM*EMEMEMEM*EMEMEMEME"


def ultra():
    words = {"M": "mamba", "E": "moe", "*": "attention"}
    return transformers.NemotronHForCausalLM(
        transformers.NemotronHConfig(
            hidden_size=8192, layers_block_type=[words[c] for c in ULTRA], vocab_size=131_072,
            num_attention_heads=64, num_key_value_heads=2, head_dim=128, mamba_num_heads=256, mamba_head_dim=64,
            ssm_state_size=128, n_groups=8, conv_kernel=4, n_routed_experts=512, num_experts_per_tok=22,
            moe_intermediate_size=5120, moe_latent_size=2048, moe_shared_expert_intermediate_size=10_240,
            n_shared_experts=1, tie_word_embeddings=False,
        )
    )  # fmt: skip


CLASSES = {
    "gpt-oss-20b": lambda: transformers.GptOssForCausalLM(
        transformers.GptOssConfig(num_hidden_layers=24, num_local_experts=32)
    ),
    "mistral-small-4-119b": lambda: class_of("mistral4", "Mistral4ForCausalLM")(
        class_of("mistral4", "Mistral4Config")()
    ),
    "nemotron-3-ultra": ultra,
    "qwen3.8-27b": lambda: qwen(
        "qwen3_5", "Qwen3_5", hidden_size=5120, intermediate_size=17_408, num_hidden_layers=64,
        num_attention_heads=24, linear_num_value_heads=48,
    ),
    "qwen3.8-2.4t-a95b": lambda: qwen(
        "qwen3_5_moe", "Qwen3_5Moe", hidden_size=8192, num_hidden_layers=92, num_attention_heads=64,
        linear_num_value_heads=128, num_experts=512, num_experts_per_tok=10, moe_intermediate_size=2048,
        shared_expert_intermediate_size=2048,
    ),
    "step-3.7-flash": lambda: step(96),
}  # fmt: skip


def held(make):
    with torch.device("meta"):
        return sum(p.numel() for p in make().parameters())


def selection_biases(model):
    """Vectors that the classes hold as buffers."""
    return sum(f.experts for _, f in model.layers if isinstance(f, arch.MoE) and f.routing.bias)


@pytest.mark.parametrize("key", list(CLASSES))
def test_every_parameter_is_counted(key):
    model = arch.load(key)
    head = 128_896 * 4096 if key == "step-3.7-flash" else 0
    assert model.params.total == held(CLASSES[key]) + head + selection_biases(model)


def test_step_has_more_heads_in_its_windows():
    """The sheet's 195.8B is the class with 64 heads everywhere: q and o of 32 more heads, and their gates, apart."""
    more = 33 * 32 * 4096 * (2 * 128 + 1)
    assert held(lambda: step(96)) - held(lambda: step(64)) == more == 1_111_621_632
    assert held(lambda: step(64)) + 128_896 * 4096 == pytest.approx(195.8e9, rel=1e-3)


def test_qwen_with_its_module_is_the_checkpoint():
    """Parameters in the index of Qwen3.8-2.4T-A95B: all of ours, and the two norms before its module's projection."""
    params = arch.load("qwen3.8-2.4t-a95b").params
    assert params.total + params.mtp + 2 * 8192 == 2_446_182_725_504


@pytest.mark.parametrize("key", ["kimi-k2.5", "kimi-k2.6", "kimi-k2.7-code"])
def test_kimi_kept_its_shape(key):
    ours, first = arch.load(key), arch.load("kimi-k2")
    assert ours.layers == first.layers
    assert ours.record.context == 262_144
    assert sum(ours.weight_bytes().values()) / 1e9 == pytest.approx(595, rel=0.01)  # unsloth's lossless file, in GB


@pytest.mark.parametrize(
    ("key", "like", "files_gb"),
    # JustVugg/colibri docs/mimo.md: an expert of Flash in 12.75 MiB, and the GB that an engine loads of Pro; the index
    # of Flash-RL counts its encoders too
    [("mimo-v2.6-pro", "mimo-v2.5-pro", 563.6), ("mimo-v2.6-flash", "mimo-v2-flash", 172.9)],
)
def test_mimo_kept_its_shape_and_packed_its_experts(key, like, files_gb):
    ours = arch.load(key)
    assert ours.layers == arch.load(like).layers
    stored = ours.weight_bytes()
    assert sum(stored.values()) / 1e9 == pytest.approx(files_gb, rel=0.02)
    if key == "mimo-v2.6-flash":
        assert stored["experts"] == 47 * 256 * 12.75 * 2**20
        qkv = {a.kind: a.heads * a.qk_dim + a.kv_heads * (a.qk_dim + a.v_dim) for a, _ in ours.layers}
        assert qkv == {"full": 13_568, "sliding": 14_848}


def test_products_name_the_models_that_they_run():
    for product in ("mimo-v2.6-pro", "mimo-v2.6-flash", "kimi-k2.6", "kimi-k2.7-code", "kimi-k3", "glm-5.2"):
        assert {row.model for row in prices.history(product)} == {product}
    assert prices.price_at("qwen3.8-max", "2026-11-25").model == "qwen3.8-2.4t-a95b"
