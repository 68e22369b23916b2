"""Published config.json files: parameters, cache and what is refused."""

import pytest

from costlab import arch, catalog
from costlab.arch import configs
from costlab.catalog import CatalogError, ModelRecord, Place, decode
from tests.arch.configs.published import every, published

ROWS = every()


def selection_biases(model: arch.Model) -> int:
    """Vectors that transformers' classes hold as buffers."""
    return sum(f.experts for _, f in model.layers if isinstance(f, arch.MoE) and f.routing.bias)


@pytest.mark.parametrize("name", [name for name, row in ROWS.items() if row["hf_total"]])
def test_parameters_are_those_of_transformers(name):
    row = ROWS[name]
    found = configs.parsed(row["config"], name).model
    total = found.params.total
    within = min(abs(total - row["hf_total"]), abs(total - selection_biases(found) - row["hf_total"]))
    assert within <= 1e-6 * row["hf_total"]


@pytest.mark.parametrize(
    ("name", "total_b", "active_b"),
    # model cards: 2.8T with 104B active; 1T with 32B; 235B; 284B with 13B; 7B
    [
        ("moonshotai/Kimi-K3", (2750, 2850), (103.5, 104.5)),
        ("moonshotai/Kimi-K2-Instruct", (1000, 1050), (31.5, 32.5)),
        ("Qwen/Qwen3-VL-235B-A22B-Instruct", (234.5, 235.5), (21.5, 22.5)),
        ("sgl-project/DeepSeek-V4-Flash-FP8", (283.5, 284.5), (12.5, 13.5)),
        ("XiaomiMiMo/MiMo-7B-Base", (7, 8), (6.5, 7.5)),
    ],
)
def test_what_has_no_class_agrees_with_its_model_card(name, total_b, active_b):
    if name not in ROWS:
        pytest.skip("not among the configurations at hand")
    counts = configs.parsed(ROWS[name]["config"], name).model.params
    assert total_b[0] <= counts.total / 1e9 <= total_b[1]
    assert active_b[0] <= counts.active / 1e9 <= active_b[1]


# bytes per token and fixed bytes: the fact sheet's table of November 2026, from the dimensions by its author
@pytest.mark.parametrize(
    ("name", "per_token", "fixed_mb"),
    [
        ("moonshotai/Kimi-K3", 27_648, 434 + 20),
        ("Qwen/Qwen3.5-397B-A17B", 30_720, 188.7 + 4.4),
        ("openai/gpt-oss-120b", 36_864, 4.7),
        ("google/gemma-4-26B-A4B", 20_480, 209.7),
        ("nvidia/NVIDIA-Nemotron-3-Super-120B-A12B-FP8", 8_192, 168 + 4.1),
        ("meta-llama/Llama-4-Maverick-17B-128E-Instruct", 49_152, 1_208),
        ("MiniMaxAI/MiniMax-M2.5", 253_952, 0),
        ("XiaomiMiMo/MiMo-V2-Flash", 23_040, 25.6),
    ],
)
def test_cache(name, per_token, fixed_mb):
    kv = configs.parsed(ROWS[name]["config"], name).model.kv_bytes(131_072)
    assert float(kv.growing) / 131_072 == pytest.approx(per_token, rel=1e-9)
    assert float(kv.fixed) / 1e6 == pytest.approx(fixed_mb, rel=0.02, abs=0.1)


@pytest.mark.parametrize("name", list(published()))
def test_toml_reads_back_as_the_same_model(name):
    import tomllib

    model = configs.parsed(published()[name]["config"], name).model
    table = tomllib.loads(configs.to_toml("new.1", model.record))["new.1"]
    place = Place("models.toml", ("new.1",), 1)
    again = decode(ModelRecord, table, place)
    assert again == model.record
    built = arch.build(name, again, place)
    assert built.layers == model.layers
    assert built.params == model.params


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("deepseek-ai/DeepSeek-V3", "deepseek-v3"),
        ("deepseek-ai/DeepSeek-V4-Flash", "deepseek-v4-flash"),
        ("Qwen/Qwen3-235B-A22B-FP8", "qwen3-235b-a22b"),
        ("mistralai/Mixtral-8x7B-v0.1", "mixtral-8x7b"),
        ("meta-llama/Meta-Llama-3.1-8B", "llama-3.1-8b"),
        ("XiaomiMiMo/MiMo-V2-Flash", "mimo-v2-flash"),
    ],
)
def test_a_file_gives_the_model_that_the_catalog_has(name, key):
    ours, known = configs.parsed(ROWS[name]["config"], name).model, arch.load(key)
    assert ours.params.by_component == known.params.by_component
    assert ours.params.active_by_component == known.params.active_by_component
    assert [a.kind for a, _ in ours.layers] == [a.kind for a, _ in known.layers]


def test_precision_stands_in_the_file():
    def weights(name):
        return configs.parsed(ROWS[name]["config"], name).model.record.weights

    assert weights("openai/gpt-oss-120b") == {"default": "bf16", "experts": "mxfp4"}
    assert weights("deepseek-ai/DeepSeek-V4-Flash")["experts"] == "mxfp4"
    assert weights("deepseek-ai/DeepSeek-V3")["default"] == "fp8"
    assert weights("deepseek-ai/DeepSeek-V3")["embedding"] == "bf16"
    k3 = weights("moonshotai/Kimi-K3")
    assert (k3["default"], k3["attention"], k3["shared"]) == ("mxfp4", "bf16", "bf16")


def test_assumptions_are_said():
    found = configs.parsed(published()["google/gemma-4-26B-A4B"]["config"])
    assert any("bf16" in each for each in found.assumed)
    assert any("text part" in each for each in found.assumed)


#: stepfun-ai/Step-3.7-Flash as aiconfigurator-core 0.12.0 copies it, which leaves out that windows have 96 heads.
STEP = {
    "model_type": "step3p7", "num_hidden_layers": 45, "hidden_size": 4096, "num_attention_heads": 64,
    "num_key_value_heads": 8, "head_dim": 128, "vocab_size": 128_896, "intermediate_size": 11_264,
    "sliding_window": 512, "layer_types": ["full_attention", *["sliding_attention"] * 3] * 11 + ["full_attention"],
    "first_k_dense_replace": 3, "num_experts": 288, "num_experts_per_tok": 8, "moe_intermediate_size": 1280,
    "share_expert_dim": 1280, "n_shared_experts": 1, "scoring_func": "sigmoid", "use_moe_router_bias": True,
}  # fmt: skip
SLIDING = {"attention_other_setting": {"num_attention_heads": 96, "num_attention_groups": 8, "head_dim": 128}}


def test_steps_windows_have_heads_of_their_own():
    """195,844,496,640 with 64 heads, 196,956,118,272 with 96: transformers 5.24.0 and the output head."""
    short, whole = configs.parsed(STEP), configs.parsed({**STEP, **SLIDING})
    biases = selection_biases(whole.model)
    assert short.model.params.total - biases == 195_844_496_640
    assert whole.model.params.total - biases == 196_956_118_272
    assert any("attention_other_setting is absent" in each for each in short.assumed)
    assert not any("attention_other_setting" in each for each in whole.assumed)
    assert {a.kind: a.heads for a, _ in whole.model.layers} == {"full": 64, "sliding": 96}
    fewer = configs.parsed({**STEP, "first_k_dense_replace": 1}).model
    assert [f.kind for _, f in fewer.layers] == ["dense"] + ["moe"] * 44


@pytest.mark.parametrize(("name", "value"), [("n_shared_experts", 2), ("scoring_func", "softmax")])
def test_step_refuses_what_its_class_does_not_have(name, value):
    with pytest.raises(ValueError, match=f"{name} = .*is not understood, only"):
        configs.parsed({**STEP, name: value})


def test_what_gates_an_output_changes_no_count():
    base = published()["Qwen/Qwen3.5-397B-A17B"]["config"]
    text = {**base["text_config"], "output_gate_type": "swish"}
    assert configs.parsed({**base, "text_config": text}).model.params == configs.parsed(base).model.params
    with pytest.raises(ValueError, match=r"output_gate_type = .* should be one of"):
        configs.parsed({**base, "text_config": {**text, "output_gate_type": "softmax"}})


def test_int4_in_groups_carries_its_scales():
    """Moonshot's K2.5: groups of 32, each with a scale of 16 bits."""
    base = published()["deepseek-ai/DeepSeek-V3"]["config"]
    weights = {"num_bits": 4, "type": "int", "group_size": 32}
    groups = {"group_0": {"weights": weights, "input_activations": None, "targets": ["Linear"]}}
    method = {"quant_method": "compressed-tensors", "config_groups": groups, "ignore": []}
    record = configs.parsed({**base, "quantization_config": method}).model.record
    assert (record.weights["default"], record.math["default"]) == ("int4-g32", "bf16")
    assert catalog.DTYPE_BYTES["int4-g32"] * 32 == 16 + 2


def test_catalog_errors_are_value_errors():
    assert issubclass(CatalogError, ValueError)
    assert "none" not in catalog.tables().models
