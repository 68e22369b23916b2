"""Parameters: against what the makers print, and exactly against transformers' classes on the meta device."""

import re

import pytest
import torch
import transformers
from torch import nn

from costlab import arch

UNITS = {"B": 1e9, "T": 1e12}


def printed(text):
    """A published count and half a unit of its last digit: "1.6T" -> (1.6e12, 0.05e12)."""
    number, decimals, unit = re.fullmatch(r"(\d+(?:\.(\d+))?)([BT])", text).groups()
    return float(number) * UNITS[unit], 0.5 * 10 ** -len(decimals or "") * UNITS[unit]


def test_printed():
    assert printed("1.6T") == pytest.approx((1.6e12, 0.05e12))
    assert printed("671B") == pytest.approx((671e9, 0.5e9))


PUBLISHED = [key for key, model in arch.models().items() if model.record.published]


@pytest.mark.parametrize("key", PUBLISHED)
def test_total_is_the_published_one(key):
    """To 1%, or to the last digit that the maker prints where that is coarser."""
    model = arch.load(key)
    value, half = printed(model.record.published.total)
    assert model.params.total == pytest.approx(value, abs=max(0.01 * value, half))


@pytest.mark.parametrize("key", [k for k in PUBLISHED if arch.load(k).record.published.active])
def test_active_is_the_published_one(key):
    """Counted the way the maker counts (`active_counts`), to 1% or the last printed digit."""
    model = arch.load(key)
    value, half = printed(model.record.published.active)
    active = model.params.active_counting(model.record.published.active_counts)
    assert active == pytest.approx(value, abs=max(0.01 * value, half))


@pytest.mark.parametrize("key", PUBLISHED)
def test_the_chosen_way_of_counting_is_the_nearest(key):
    """A way of counting that the catalog names must fit the print at least as well as any other (within its digit)."""
    model = arch.load(key)
    if model.record.published.active is None:
        return
    value, half = printed(model.record.published.active)
    errors = {w: abs(model.params.active_counting(w) - value) for w in ("layers", "head", "head+embedding")}
    chosen = errors[model.record.published.active_counts]
    assert chosen <= max(min(errors.values()), half)


@pytest.mark.parametrize(
    ("key", "total", "active"),
    [  # recomputed apart from this code, billions: from the dimensions in the reports named in the catalog
        ("deepseek-v3", 671.03, 36.62),
        ("deepseek-v3.2", 671.88, 37.48),
        ("deepseek-v4-flash", 284.33, 13.27),
        ("deepseek-v4-pro", 1572.99, 48.85),
        ("mimo-v2-flash", 308.8, None),
        ("mimo-v2.5-pro", 1021.2, None),
    ],
)
def test_totals_recomputed_elsewhere(key, total, active):
    params = arch.load(key).params
    assert params.total / 1e9 == pytest.approx(total, abs=0.05 if active is None else 0.01)
    assert active is None or params.active / 1e9 == pytest.approx(active, abs=0.005)


def test_v4_pro_with_and_without_mtp():
    """1.6T as printed (arXiv 2606.19348 Table 1): 1.8% below without the MTP module, 0.1% below with it."""
    params = arch.load("deepseek-v4-pro").params
    assert params.mtp / 1e9 == pytest.approx(25.84, abs=0.005)
    assert (params.total + params.mtp) / 1e9 == pytest.approx(1598.8, abs=0.05)
    assert params.total / 1.6e12 - 1 == pytest.approx(-0.0169, abs=5e-4)
    assert (params.total + params.mtp) / 1.6e12 - 1 == pytest.approx(-0.0007, abs=5e-4)


def test_v4_pro_by_parts():
    """The sum as the report's dimensions give it, billions."""
    by = arch.load("deepseek-v4-pro").params.by_component
    assert by["experts"] / 1e9 == pytest.approx(61 * 384 * 0.06606, rel=1e-4)
    assert by["experts"] == 61 * 384 * 3 * 7168 * 3072
    assert by["shared"] / 1e9 == pytest.approx(4.03, abs=0.005)
    attention = sum(by[c] for c in ("attention", "output", "compressor", "index_proj", "index_weights"))
    assert attention / 1e9 == pytest.approx(19.47, abs=0.01)
    assert (by["embedding"] + by["head"]) / 1e9 == pytest.approx(1.85, abs=0.005)
    assert by["router"] / 1e9 == pytest.approx(0.17, abs=0.005)
    assert by["residual"] / 1e9 == pytest.approx(0.08, abs=0.005)


def test_v3_mtp_is_its_unique_part():
    """DeepSeek-V3's README_WEIGHTS: 11.5B unique parameters in the MTP module (14B with embedding and head)."""
    assert arch.load("deepseek-v3").params.mtp / 1e9 == pytest.approx(11.5, abs=0.15)


def test_layers_of_v4():
    """As shipped (config.json): Pro 30 CSA and 31 HCA, Flash 21 CSA, 20 HCA and 2 windows."""

    def kinds(key):
        return [attention.kind for attention, _ in arch.load(key).layers]

    assert kinds("deepseek-v4-pro") == ["hca", "hca", *["csa", "hca"] * 29, "csa"]
    assert kinds("deepseek-v4-flash") == ["shared-window"] * 2 + ["csa", "hca"] * 20 + ["csa"]


@pytest.mark.parametrize(
    ("key", "full"),
    [
        ("mimo-v2-flash", [0, 5, 11, 17, 23, 29, 35, 41, 47]),
        ("mimo-v2.5", [0, 5, 11, 17, 23, 29, 35, 41, 47]),
        ("mimo-v2.5-pro", [0, 7, 15, 23, 31, 39, 47, 55, 62, 69]),
    ],
)
def test_layers_of_mimo(key, full):
    layers = arch.load(key).layers
    assert [i for i, (attention, _) in enumerate(layers) if attention.kind == "full"] == full
    assert [i for i, (_, ffn) in enumerate(layers) if ffn.kind == "dense"] == [0]


# --- transformers as oracle ------------------------------------------------------------------------------------

CSA, HCA, SWA = "compressed_sparse_attention", "heavily_compressed_attention", "sliding_attention"


def llama_8b():
    return transformers.LlamaConfig(
        vocab_size=128256, intermediate_size=14336, num_key_value_heads=8, hidden_size=4096, num_hidden_layers=32
    )


def llama_70b():
    return transformers.LlamaConfig(
        vocab_size=128256,
        hidden_size=8192,
        intermediate_size=28672,
        num_hidden_layers=80,
        num_attention_heads=64,
        num_key_value_heads=8,
    )


ORACLES = {
    "llama-2-7b": lambda: transformers.LlamaForCausalLM(transformers.LlamaConfig()),
    "llama-3.1-70b": lambda: transformers.LlamaForCausalLM(llama_70b()),
    "llama-3.1-8b": lambda: transformers.LlamaForCausalLM(llama_8b()),
    "mixtral-8x7b": lambda: transformers.MixtralForCausalLM(transformers.MixtralConfig()),
    "qwen3-235b-a22b": lambda: transformers.Qwen3MoeForCausalLM(
        transformers.Qwen3MoeConfig(
            vocab_size=151936,
            hidden_size=4096,
            num_hidden_layers=94,
            num_attention_heads=64,
            num_key_value_heads=4,
            head_dim=128,
            num_experts=128,
            num_experts_per_tok=8,
            moe_intermediate_size=1536,
        )
    ),
    "deepseek-v3": lambda: transformers.DeepseekV3ForCausalLM(transformers.DeepseekV3Config()),
    "kimi-k2": lambda: transformers.DeepseekV3ForCausalLM(
        transformers.DeepseekV3Config(
            vocab_size=163840,
            n_routed_experts=384,
            num_attention_heads=64,
            num_key_value_heads=64,
            first_k_dense_replace=1,
            n_group=1,
            topk_group=1,
        )
    ),
    "deepseek-v3.2": lambda: transformers.DeepseekV32ForCausalLM(transformers.DeepseekV32Config()),
    "glm-5": lambda: transformers.GlmMoeDsaForCausalLM(transformers.GlmMoeDsaConfig()),
    "mimo-v2-flash": lambda: transformers.MiMoV2FlashForCausalLM(transformers.MiMoV2FlashConfig()),
    "deepseek-v4-flash": lambda: transformers.DeepseekV4ForCausalLM(
        transformers.DeepseekV4Config(layer_types=[SWA, SWA, *[CSA, HCA] * 20, CSA])
    ),
    "deepseek-v4-pro": lambda: transformers.DeepseekV4ForCausalLM(
        transformers.DeepseekV4Config(
            layer_types=[HCA, HCA, *[CSA, HCA] * 29, CSA],
            num_hidden_layers=61,
            hidden_size=7168,
            num_attention_heads=128,
            q_lora_rank=1536,
            o_groups=16,
            n_routed_experts=384,
            moe_intermediate_size=3072,
            index_topk=1024,
        )
    ),
}


@pytest.fixture(scope="module")
def oracle():
    """transformers' model of a key, without memory for its weights."""
    made = {}

    def make(key):
        if key not in made:
            with torch.device("meta"):
                made[key] = ORACLES[key]()
        return made[key]

    return make


def hyper_connection_offsets(module):
    """The few bases and scales of V4's residual mixing: per layer 2 x (24 + 3), at the end 4 + 1; we leave them out."""
    return sum(p.numel() for n, p in module.named_parameters() if re.search(r"(base|scale|hc_base|hc_scale)$", n))


@pytest.mark.parametrize("key", list(ORACLES))
def test_every_parameter_is_counted(key, oracle):
    """Exactly transformers' count, plus the routers' selection bias, which it keeps as a buffer.

    Left out by both: frozen token tables of hash routing (int64 buffers). Left out by us: residual offsets, 5 ppb.
    """
    module = oracle(key)
    theirs = sum(p.numel() for p in module.parameters())
    bias = sum(b.numel() for n, b in module.named_buffers() if n.endswith("e_score_correction_bias"))
    offsets = hyper_connection_offsets(module)
    layers = len(arch.load(key).layers)
    assert offsets == (2 * 27 * layers + 5 if "v4" in key else 0)
    assert arch.load(key).params.total == theirs + bias - offsets


@pytest.mark.parametrize("key", list(ORACLES))
def test_every_multiplied_parameter_is_active(key, oracle):
    """Every matrix that a token multiplies, found by shape in transformers' model: all but look-ups and vectors."""
    module = oracle(key)
    config = module.config
    top_k = getattr(config, "num_experts_per_tok", None)
    active = 0
    for name, parameter in module.named_parameters():
        if parameter.dim() == 3:  # stacked experts
            active += parameter.numel() // parameter.shape[0] * top_k
        elif parameter.dim() == 2 and "embed_tokens" not in name and "position_bias" not in name:
            active += parameter.numel()
    assert arch.load(key).params.active == active


# --- how the counts hang together ------------------------------------------------------------------------------


@pytest.mark.parametrize("key", list(arch.models()))
def test_active_is_a_part_of_the_total(key):
    params = arch.load(key).params
    for name, count in params.active_by_component.items():
        held = "embedding" if name == "head" and arch.load(key).record.tied else name
        assert 0 < count <= params.by_component[held], name
    assert params.active_by_component.keys().isdisjoint({"embedding", "norm"})
    assert params.active < params.total
    assert params.active_counting("head+embedding") - params.active == arch.load(key).record.vocab * (
        arch.load(key).record.hidden
    )


def test_a_tied_head_multiplies_but_is_not_counted_twice():
    import dataclasses

    model = arch.load("llama-2-7b")
    tied = dataclasses.replace(model, record=dataclasses.replace(model.record, tied=True))
    table = 32000 * 4096
    assert tied.params.total == model.params.total - table
    assert tied.params.active == model.params.active
    with torch.device("meta"):
        theirs = transformers.LlamaForCausalLM(transformers.LlamaConfig(tie_word_embeddings=True))
    assert isinstance(theirs, nn.Module)
    assert tied.params.total == sum(p.numel() for p in theirs.parameters())


def test_unknown_way_of_counting():
    with pytest.raises(ValueError, match=r"unknown way of counting 'body'.*head"):
        arch.load("llama-2-7b").params.active_counting("body")


@pytest.mark.parametrize(
    ("key", "known"), [("", "llama-2-7b"), ("deepseek", "deepseek-v4-pro"), ("gpt-5.5", "gpt-oss-120b")]
)
def test_unknown_model(key, known):
    with pytest.raises(ValueError, match=f"unknown model {key!r}; known: .*{known}.* more$"):
        arch.load(key)


def test_weight_bytes_follow_the_precisions():
    """Llama-2-7B in BF16 is two bytes each; V4-Pro's experts are MXFP4, 17/32 byte each (OCP MX specification 1.0)."""
    llama = arch.load("llama-2-7b")
    assert sum(llama.weight_bytes().values()) == 2 * llama.params.total
    assert sum(llama.weight_bytes(active=True).values()) == 2 * llama.params.active
    pro = arch.load("deepseek-v4-pro")
    assert pro.weight_bytes()["experts"] == pro.params.by_component["experts"] * 17 / 32
    assert pro.weight_bytes()["attention"] == pro.params.by_component["attention"]
