"""The models before the levers: as many parameters as they say, Llama's cache, the same work in other pieces."""

import pytest

from costlab import arch, catalog, levers, roofline
from costlab.arch import MoE

MODELS = ("deepseek-v4-pro", "mimo-v2.5-pro", "deepseek-v4.1-flash", "nemotron-3-super", "kimi-k3", "llama-3.1-70b")


@pytest.mark.parametrize("name", list(arch.models()))
def test_a_dense_model_uses_all_its_parameters(name):
    """All but the embedding, which is looked up, and vectors; tied heads multiply the embedding's table."""
    model = arch.load(name)
    dense = levers.without_sparsity(model)
    every, used = dense.params.by_component, dense.params.active_by_component
    passive = {"embedding", "norm"}  # among the vectors are biases of a router that no longer chooses
    assert {k: n for k, n in every.items() if k != "norm"} == {
        k: n for k, n in model.params.by_component.items() if k != "norm"
    }
    assert {part: n for part, n in every.items() if part not in passive} == {
        part: n for part, n in used.items() if part != "head" or not dense.record.tied
    }
    assert dense.params.lookup == 0
    if dense.mtp_module is not None:
        assert dense.mtp_module.params.active_by_component.get("experts") == dense.mtp_module.params.by_component.get(
            "experts"
        )


def test_a_dense_model_is_left_as_it_is():
    llama = arch.load("llama-3.1-70b")
    assert levers.without_sparsity(llama).params == llama.params


@pytest.mark.parametrize("name", MODELS)
def test_full_attention_keeps_what_llama_keeps(name):
    """2 x 8 heads x 128 x 2 bytes a token in each layer that has attention; a recurrent layer has it too."""
    model = arch.load(name)
    full = levers.with_full_attention(model)
    layers = sum(attention.kind != "none" for attention, _ in model.layers)
    for tokens in (1, 1000, 131_072):
        assert float(full.kv_bytes(tokens).total) == layers * 2 * 8 * 128 * 2 * tokens
    assert full.record.prefill_layers is None
    assert [ffn for _, ffn in full.layers] == [ffn for _, ffn in model.layers]


def test_full_attention_of_llama_is_its_own():
    """Its catalogued form has as many bytes, parameters and FLOPs."""
    own = arch.load("llama-3.1-70b")
    full = levers.with_full_attention(own)
    assert full.params == own.params
    assert float(full.kv_bytes(4096).total) == float(own.kv_bytes(4096).total)
    assert float(full.decode_flops(4096).total) == pytest.approx(float(own.decode_flops(4096).total))


def test_transformers_keeps_as_many_bytes():
    """A Llama of one such layer, run for a few tokens: the bytes of its own cache."""
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    config = transformers.LlamaConfig(
        hidden_size=64, intermediate_size=64, num_hidden_layers=1, num_attention_heads=8, num_key_value_heads=8,
        head_dim=128, vocab_size=16,
    )  # fmt: skip
    model = transformers.LlamaForCausalLM(config).to(torch.bfloat16)
    with torch.no_grad():
        cache = model(torch.arange(5)[None], use_cache=True).past_key_values
    tensors = (cache.layers[0].keys, cache.layers[0].values)
    full = levers.with_full_attention(arch.load("deepseek-v4-pro"))
    found = float(full.kv_bytes(5).total) / len(full.layers)
    assert sum(each.numel() * each.element_size() for each in tensors) == found


@pytest.mark.parametrize("name", MODELS)
def test_sixteen_bits_are_two_bytes_everywhere(name):
    wide = levers.in_sixteen_bits(arch.load(name))
    params = sum(wide.params.by_component.values())
    assert sum(wide.weight_bytes().values()) >= 2 * params  # some makers keep a part in 32 bits
    assert sum(wide.weight_bytes().values()) == pytest.approx(2 * params, rel=0.01)
    assert {wide.math_precision(part) for part in wide.params.by_component} <= {"bf16", "fp16", "tf32", "fp32"}
    for attention, _ in wide.layers:
        for _, dtype in getattr(attention, "entry", ()):
            assert catalog.DTYPE_BYTES[dtype] == 2


@pytest.mark.parametrize("name", ["deepseek-v4-pro", "mimo-v2.5-pro", "gpt-oss-20b"])
@pytest.mark.parametrize("count", [8, 32, 256])
def test_a_spread_model_does_the_same_work(name, count):
    """FLOPs, bytes and the share on each chip stay, within the rounding of a part's width; a token visits each chip."""
    dense = levers.without_sparsity(arch.load(name))
    cut = levers.spread_over(dense, count)
    layer = next(ffn for _, ffn in cut.layers if isinstance(ffn, MoE))
    assert layer.experts == layer.top_k == count
    near = 0.5 / layer.inner + 1e-3  # the router has a row for each part
    for what in ("active_by_component", "by_component"):
        before, after = getattr(dense.params, what), getattr(cut.params, what)
        assert after["experts"] == pytest.approx(before["experts"], rel=near)
        others = before.keys() - {"experts", "router", "norm"}  # each part has a row of the router, and vectors
        assert {part: after[part] for part in others} == {part: before[part] for part in others}
    assert float(cut.decode_flops(4096).total) == pytest.approx(float(dense.decode_flops(4096).total), rel=2 * near)
    chip = catalog.chip("h800")
    held = [roofline.Deployment(each, chip, count).weight_bytes_per_chip for each in (dense, cut)]
    if layer.experts <= next(ffn for _, ffn in dense.layers if isinstance(ffn, MoE)).experts:
        assert held[1] == pytest.approx(held[0], rel=0.35)  # experts stay whole, parts are even
    assert held[1] <= held[0] * (1 + 2 * near)


def test_only_dense_models_are_spread():
    model = arch.load("deepseek-v4-pro")
    assert levers.spread_over(model, 32) == model
