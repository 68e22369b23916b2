"""Families of which transformers' class defaults, not a published file, are at hand: each count against its class."""

import copy
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from costlab.arch import configs
from tests.arch.configs.test_published import selection_biases
from tests.arch.configs.test_refusals import VALUES
from tests.arch.configs.test_transformers import compared, shortened

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

#: Module, class, and whether that class holds the output head, by `model_type`.
CLASSES = {
    "glm5_next_text": ("glm5_next", "Glm5NextTextModel", False),
    "bailing_hybrid": ("bailing_hybrid", "BailingHybridForCausalLM", True),
    "mistral_large4_text": ("mistral_large4", "MistralLarge4TextModel", False),
    "hy_v4": ("hy_v4", "HYV4ForCausalLM", True),
    "dots3_note_text": ("dots3_note", "Dots3NoteForCausalLM", True),
    "inkling2_text": ("inkling2", "Inkling2ForCausalLM", True),
    "granitemoehybrid": ("granitemoehybrid", "GraniteMoeHybridForCausalLM", True),
    "bamba": ("bamba", "BambaForCausalLM", True),
}


def held(config):
    """Parameters of the class that a configuration describes, with an output head."""
    module, name, headed = CLASSES[config["model_type"]]
    found = __import__(f"transformers.models.{module}.modeling_{module}", fromlist=[name])
    given = {name: value for name, value in config.items() if name != "model_type"}
    with torch.device("meta"):
        model = getattr(found, name)(transformers.CONFIG_MAPPING[config["model_type"]](**given))
    head = 0 if headed or config.get("tie_word_embeddings") else config["vocab_size"] * config["hidden_size"]
    return sum(p.numel() for p in model.parameters()) + head


def counted(config):
    """Our parameters, without selection biases: the classes hold them as buffers or leave them out."""
    model = configs.parsed(config).model
    return model.params.total - selection_biases(model)


def whole(model_type):
    return json.loads(json.dumps(transformers.CONFIG_MAPPING[model_type]().to_dict(), default=str))


@pytest.mark.parametrize("model_type", CLASSES)
def test_defaults_are_counted_as_the_class_does(model_type):
    config = whole(model_type)
    assert counted(config) == pytest.approx(held(config), rel=1e-7)


@pytest.mark.parametrize("model_type", CLASSES)
def test_each_mutation_is_counted_or_refused(model_type):
    base = shortened(model_type)
    assert counted(base) == pytest.approx(held(base), rel=1e-6)
    found = list(compared(base, held))
    for changed, model, total in found:
        assert model.params.total - selection_biases(model) == pytest.approx(total, rel=1e-6), changed
    assert len(found) > 15


#: Files as their makers spell them, small: names that transformers' classes rename or leave out.
GLM = {
    "model_type": "glm5_next_text", "vocab_size": 1000, "hidden_size": 256, "intermediate_size": 512,
    "num_hidden_layers": 8, "num_attention_heads": 4, "num_key_value_heads": 4, "q_lora_rank": 64, "kv_lora_rank": 32,
    "qk_nope_head_dim": 32, "qk_rope_head_dim": 0, "qk_head_dim": 32, "v_head_dim": 32, "mla_use_nope": True,
    "mhc": True, "hc_mult": 4, "hc_eps": 1e-6, "hc_sinkhorn_iters": 20, "index_n_heads": 2, "index_head_dim": 16,
    "index_topk": 32, "index_kpool": 4, "index_kpool_compress": True, "index_kpool_always_select_tail": True,
    "indexer_rope_interleave": True, "index_share_for_mtp_iteration": True, "indexer_types": ["full"] * 8,
    "layer_types": (["linear_attention"] * 3 + ["deepseek_sparse_attention"]) * 2,
    "mlp_layer_types": ["dense"] * 3 + ["sparse"] * 5, "first_k_dense_replace": 3,
    "linear_attn_config": {"num_heads": 2, "head_dim": 64, "short_conv_kernel_size": 4, "gate_lower_bound": -5.0,
                           "kda_layers": [0, 1, 2, 4, 5, 6], "full_attn_layers": [3, 7]},
    "n_routed_experts": 8, "num_experts_per_tok": 2, "n_shared_experts": 1, "moe_intermediate_size": 64,
    "scoring_func": "sigmoid", "topk_method": "noaux_tc", "moe_router_dtype": "float32", "swiglu_limit": 10.0,
    "n_group": 1, "topk_group": 1, "norm_topk_prob": True, "routed_scaling_factor": 2.5,
    "num_nextn_predict_layers": 1, "pad_token_id": 0, "tie_word_embeddings": False, "max_position_embeddings": 4096,
}  # fmt: skip
LING = {
    "model_type": "bailing_hybrid", "vocab_size": 1000, "hidden_size": 256, "intermediate_size": 512,
    "num_hidden_layers": 8, "num_attention_heads": 4, "num_key_value_heads": 4, "head_dim": 64, "layer_group_size": 4,
    "first_k_dense_replace": 1, "short_conv_kernel_size": 4, "no_kda_lora": True, "kda_safe_gate": True,
    "kda_lower_bound": -5.0, "q_lora_rank": None, "kv_lora_rank": 32, "qk_rope_head_dim": 16, "qk_nope_head_dim": 32,
    "qk_head_dim": 48, "v_head_dim": 32, "rope_interleave": True, "use_qkv_bias": False, "use_qk_norm": True,
    "gated_attention_proj_granularity_type": "head_wise", "num_experts": 8, "num_experts_per_tok": 2,
    "num_shared_experts": 1, "moe_intermediate_size": 64, "moe_shared_expert_intermediate_size": 64,
    "n_group": 2, "topk_group": 1, "scoring_func": "sigmoid", "topk_method": "noaux_tc",
    "moe_router_enable_expert_bias": True, "routed_scaling_factor": 2.5, "expert_swiglu_limit_list": [0.0] * 7 + [4.0],
    "num_nextn_predict_layers": 1, "pad_token_id": 0, "tie_word_embeddings": False, "max_position_embeddings": 4096,
}  # fmt: skip
HY4 = {
    "model_type": "hy_v4", "vocab_size": 1000, "hidden_size": 256, "intermediate_size": 512, "num_hidden_layers": 6,
    "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16, "q_lora_rank": 64, "kv_lora_rank": 32,
    "qk_nope_head_dim": 32, "qk_rope_head_dim": 16, "qk_head_dim": 48, "v_head_dim": 32, "gated_mla": True,
    "gating_type": "elementwise", "learnable_sink": True, "learnable_sink_init": 0.0, "use_mla": True, "use_dsa": True,
    "index_n_heads": 2, "index_head_dim": 16, "index_topk": 32, "enable_ihc": True, "hc_mult": 4, "hc_magnitude": 2.0,
    "indexer_types": ["full", "full", "shared", "shared", "shared", "full"], "enable_lm_head_fp32": True,
    "layer_types": ["deepseek_sparse_attention"] * 6, "mlp_layer_types": ["dense"] + ["sparse"] * 5,
    "moe_intermediate_size": 64, "n_routed_experts": 8, "n_shared_experts": 1, "num_experts_per_tok": 2,
    "norm_topk_prob": True, "routed_scaling_factor": 2.827, "swiglu_limit": 10.0, "n_group": 1, "topk_group": 1,
    "num_nextn_predict_layers": 1, "mtp_loss_factor": 0.1, "bitwise_backward_align": False,
    "pad_token_id": 0, "tie_word_embeddings": False, "max_position_embeddings": 4096,
}  # fmt: skip


@pytest.mark.parametrize("config", [GLM, LING, HY4], ids=lambda config: config["model_type"])
def test_files_in_their_makers_words(config):
    """The classes' own offsets of residual streams, a few a layer, are the difference that is allowed."""
    assert counted(config) == pytest.approx(held(config), abs=2 * 27 * config["num_hidden_layers"] + 10)


def test_a_query_latent_is_counted_though_the_class_has_none():
    """Ling-3.0-tiny's: a matrix to 16 dims, one back to 4 heads of 48, a norm, for the one matrix of each group."""
    wide = counted({**LING, "q_lora_rank": 16}) - counted(LING)
    assert wide == 2 * (16 * (256 + 192) + 16 - 256 * 192)


@pytest.mark.parametrize(
    ("config", "change", "word"),
    [
        (GLM, {"index_kpool": None}, "index_kpool"),
        (GLM, {"qk_rope_head_dim": 16}, "qk_rope_head_dim"),
        (GLM, {"mhc": False}, "mhc"),
        (GLM, {"linear_attn_config": {**GLM["linear_attn_config"], "kda_layers": [1, 2, 3]}}, "kda_layers"),
        (GLM, {"linear_attn_config": {**GLM["linear_attn_config"], "rank": 3}}, "rank"),
        (GLM, {"layer_types": ["sliding_attention"] * 8}, "sliding_attention"),
        (GLM, {"indexer_types": ["full"] * 3}, "indexer_types"),
        (GLM, {"q_lora_rank": None}, "q_lora_rank"),
        (LING, {"no_kda_lora": False}, "no_kda_lora"),
        (LING, {"linear_attention": "lightning"}, "lightning"),
        (LING, {"group_norm_size": 4}, "group_norm_size"),
        (LING, {"num_hidden_layers": 9}, "layer_group_size"),
        (LING, {"gated_attention_proj_granularity_type": "element_wise"}, "element_wise"),
        (LING, {"num_shared_experts": 2}, "num_shared_experts"),
        (HY4, {"gated_mla": False}, "gated_mla"),
        (HY4, {"indexer_types": None}, "indexer_types"),
        (HY4, {"indexer_types": ["shared"] * 6}, "indexer_types"),
    ],
)
def test_refused_by_name(config, change, word):
    with pytest.raises(ValueError, match=word):
        configs.parsed({**config, **change})


#: Granite 4 and Bamba with both kinds of layers, in the words of published files.
GRANITE = {
    "model_type": "granitemoehybrid", "vocab_size": 1000, "hidden_size": 256, "intermediate_size": 64,
    "shared_intermediate_size": 128, "num_hidden_layers": 4, "num_attention_heads": 4, "num_key_value_heads": 2,
    "layer_types": ["mamba", "mamba", "attention", "mamba"], "num_local_experts": 8, "num_experts_per_tok": 2,
    "mamba_n_heads": 8, "mamba_d_head": 64, "mamba_expand": 2, "mamba_n_groups": 1, "mamba_d_state": 32,
    "mamba_d_conv": 4, "mamba_conv_bias": True, "mamba_proj_bias": False, "position_embedding_type": "nope",
    "tie_word_embeddings": True, "max_position_embeddings": 4096, "attention_multiplier": 0.01,
}  # fmt: skip
BAMBA = {
    "model_type": "bamba", "vocab_size": 1000, "hidden_size": 256, "intermediate_size": 512, "num_hidden_layers": 4,
    "num_attention_heads": 4, "num_key_value_heads": 2, "attn_layer_indices": [2], "mamba_n_heads": 8,
    "mamba_d_head": "auto", "mamba_expand": 2, "mamba_n_groups": 2, "mamba_d_state": 32, "mamba_d_conv": 4,
    "mamba_conv_bias": True, "mamba_proj_bias": False, "tie_word_embeddings": False, "max_position_embeddings": 4096,
}  # fmt: skip


@pytest.mark.parametrize("config", [GRANITE, {**GRANITE, "num_local_experts": 0}, BAMBA], ids=("moe", "dense", "bamba"))
def test_mamba_layers_beside_attention(config):
    assert counted(config) == held(config)
    kinds = [attention.kind for attention, _ in configs.parsed(config).model.layers]
    assert kinds == ["mamba2", "mamba2", "full", "mamba2"]


@pytest.mark.parametrize(
    ("config", "change", "word"),
    [
        (GRANITE, {"mamba_d_head": 32}, "mamba_d_head"),
        (GRANITE, {"mamba_proj_bias": True}, "mamba_proj_bias"),
        (GRANITE, {"position_embedding_type": "alibi"}, "alibi"),
        (GRANITE, {"mamba_n_groups": 3}, "mamba_n_groups"),
        (BAMBA, {"layer_types": ["mamba"] * 4}, "attn_layer_indices"),
        (BAMBA, {"mlp_bias": True}, "mlp_bias"),
    ],
)
def test_mamba_layers_refused_by_name(config, change, word):
    with pytest.raises(ValueError, match=word):
        configs.parsed({**config, **change})


def short(model_type, **change):
    return {**shortened(model_type), **change}


@pytest.mark.parametrize(
    ("config", "word"),
    [
        (("mistral_large4_text", {"kv_source_layers": [0, 0, 0, 3]}), None),
        (("mistral_large4_text", {"kv_source_layers": [0, 0, 0, 0]}), r"kv_source_layers\[3\]"),  # rotates, does not
        (("mistral_large4_text", {"kv_source_layers": [0, 0, 1, 3]}), r"kv_source_layers\[2\]"),
        (("mistral_large4_text", {"q_lora_rank": 64}), "q_lora_rank"),
        (("dots3_note_text", {"per_layer_config": {"1": {"kv_lora_rank": 64}}}), "per_layer_config"),
        (("dots3_note_text", {"per_layer_config": {"2": {"kv_lora_rank": 64}, "3": {}}}), "same sizes"),
        (("dots3_note_text", {"per_layer_config": {"2": {"bits": 64}, "3": {}}}), "bits"),
        (("dots3_note_text", {"layer_types": ["full_attention"] * 4, "use_dsa": False}), None),
        (("inkling2_text", {"number_of_conv_states": 5}), "number_of_conv_states"),
        (("inkling2_text", {"layer_types": ["sliding_attention"] * 4}), "sliding_attention"),
        (("inkling2_text", {"n_shared_experts": 1}), "n_shared_experts"),
    ],
    ids=str,
)
def test_shared_latents_and_sizes_by_layer(config, word):
    """What the class counts is counted, what it cannot run is refused."""
    config = short(config[0], **config[1])
    if word:
        with pytest.raises(ValueError, match=word):
            configs.parsed(config)
    else:
        assert counted(config) == pytest.approx(held(config), rel=1e-6)


def test_layers_with_a_window_may_be_given_one_by_one():
    """dots3's own way of writing: each layer with a window by its number, with what differs from the others."""
    config = whole("dots3_note_text")
    assert config["per_layer_config"]
    assert counted(config) == counted({**config, "per_layer_config": None, "use_dsa": True})


def test_a_file_with_the_text_at_the_top_level():
    """As dots3's and GLM-5.3-Flash's text-only files have it."""
    flat = {**short("dots3_note_text"), "model_type": "dots3_note", "vision_config": {"hidden_size": 8}}
    found = configs.parsed(flat)
    assert any("vision_config" in each for each in found.assumed)
    nested = {"model_type": "dots3_note", "text_config": short("dots3_note_text"), "vision_config": {"hidden_size": 8}}
    assert found.model.params.total == configs.parsed(nested).model.params.total
    glm = configs.parsed({**GLM, "model_type": "glm5_next"}).model
    assert glm.params.total == configs.parsed(GLM).model.params.total


SMALL = (
    GLM, LING, HY4, GRANITE, BAMBA,
    *(short(name) for name in ("mistral_large4_text", "dots3_note_text", "inkling2_text")),
    {**short("dots3_note_text"), "per_layer_config": {"2": {"kv_lora_rank": 64}, "3": {"kv_lora_rank": 64}}},
)  # fmt: skip


@given(st.data())
def test_no_value_breaks_it(data):
    config = copy.deepcopy(data.draw(st.sampled_from(SMALL)))
    inner = config.get("linear_attn_config", config.get("per_layer_config", config))
    for _ in range(data.draw(st.integers(1, 3))):
        place = config if data.draw(st.booleans()) else inner
        name = data.draw(st.sampled_from(sorted(place)))
        if data.draw(st.booleans()):
            place[name] = data.draw(VALUES)
        elif len(place) > 1:
            del place[name]
    try:
        model = configs.parsed(config, "file").model
    except ValueError as error:
        assert 0 < len(str(error)) < 2000
    else:
        assert model.params.total > 0
        assert float(model.kv_bytes(1024).total) >= 0
