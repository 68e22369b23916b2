"""A whole small model of Qwen3-Next's kind: three gated delta nets to one full layer, beside transformers' qwen3_next.

Its full layers have an output gate, normed queries and keys, and rotation on a quarter of a head; its experts a gate on
the shared one. transformers' norms scale by 1 + weight, ours by the weight.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from attention import dims as d
from attention.oracles import delta_weights, qwen3_next, qwen3_next_config
from oracles import randomise
from torch import Tensor
from transformers import DynamicCache

from costlab import arch
from costlab.catalog import Routing
from costlab.nn.attention import checkpoint, resume
from costlab.nn.decoder import Decoder, in_pieces

VOCAB, TOKENS = 64, 90
FULL = arch.FullAttention(4, 8, d.fp32(64), kv_heads=2, qk_dim=32, v_dim=32, qk_norm=True, gate_dim=32)
MOE = arch.MoE(8, 2, 16, 1, routing=Routing("softmax"), shared_inner=24, shared_gate=True)
LAYERS = ("linear_attention", "linear_attention", "linear_attention", "full_attention") * 2
NEAR = {"rtol": 0.0, "atol": 1e-3}  # logits reach 10, and rounding to FP32 grows through eight norms of small answers


def theirs() -> Any:
    config = qwen3_next_config(
        d.DELTA,
        d.HIDDEN,
        num_hidden_layers=len(LAYERS),
        layer_types=list(LAYERS),
        vocab_size=VOCAB,
        num_attention_heads=FULL.heads,
        num_key_value_heads=FULL.kv_heads,
        head_dim=FULL.qk_dim,
        partial_rotary_factor=FULL.rope_dim / FULL.qk_dim,
        num_experts=MOE.experts,
        num_experts_per_tok=MOE.top_k,
        moe_intermediate_size=MOE.inner,
        shared_expert_intermediate_size=MOE.shared_inner,
    )
    return randomise(qwen3_next.Qwen3NextForCausalLM(config))


def ours(theta: float) -> Decoder:
    record = arch.load("qwen3-235b-a22b").record
    attention = {"full": {"kind": "full"}, "gated-delta": {"kind": "gated-delta"}}
    running = dataclasses.replace(record.running, rope_theta={"full": theta}, yarn={}, norm_eps=1e-6)
    record = dataclasses.replace(record, hidden=d.HIDDEN, vocab=VOCAB, attention=attention, running=running, tied=False)
    layers = tuple((FULL if kind == "full_attention" else d.DELTA, MOE) for kind in LAYERS)
    return Decoder(arch.Model("small", record, layers)).eval()


def _full(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    query, gate = weights["q_proj.weight"].unflatten(0, (FULL.heads, 2, -1)).unbind(1)
    plain = {"key": "k_proj", "value": "v_proj", "output": "o_proj"}
    norms = {f"{name}_norm.weight": 1 + weights[f"{name[0]}_norm.weight"] for name in ("query", "key")}
    moved = {f"{name}.weight": weights[f"{other}.weight"] for name, other in plain.items()}
    return {"query.weight": query.flatten(0, 1), "gate.weight": gate.flatten(0, 1), **moved, **norms}


def _experts(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    names = {"gate.weight": "gate.weight", "experts.gate_up": "experts.gate_up_proj"}
    names |= {"experts.down": "experts.down_proj", "shared_gate.weight": "shared_expert_gate.weight"}
    names |= {"shared.down": "shared_expert.down_proj.weight"}
    joint = torch.cat([weights[f"shared_expert.{name}_proj.weight"] for name in ("gate", "up")])
    return {"shared.gate_up": joint, **{name: weights[other] for name, other in names.items()}}


def _under(weights: dict[str, Tensor], lead: str) -> dict[str, Tensor]:
    return {name.removeprefix(lead): weight for name, weight in weights.items() if name.startswith(lead)}


def weights_of(model: Any) -> dict[str, Tensor]:
    """All weights of transformers' model by our names."""
    given = dict(model.state_dict())
    found = {"embedding.weight": given["model.embed_tokens.weight"], "head.weight": given["lm_head.weight"]}
    found["stack.norm.weight"] = 1 + given["model.norm.weight"]
    for number, kind in enumerate(LAYERS):
        layer = _under(given, f"model.layers.{number}.")
        mixer = _full(_under(layer, "self_attn.")) if kind == "full_attention" else None
        parts = {
            "attention.": mixer or delta_weights(_under(layer, "linear_attn."), d.DELTA),
            "ffn.": _experts(_under(layer, "mlp.")),
            "attention_norm.": {"weight": 1 + layer["input_layernorm.weight"]},
            "ffn_norm.": {"weight": 1 + layer["post_attention_layernorm.weight"]},
        }
        found |= {f"stack.blocks.{number}.{a}{b}": w for a, part in parts.items() for b, w in part.items()}
    return found


@pytest.fixture(scope="module")
def pair() -> tuple[Any, Decoder]:
    oracle = theirs()
    model = ours(oracle.config.rope_parameters["rope_theta"])
    model.load_state_dict(weights_of(oracle))  # refuses a name too few or too many
    return oracle, model


def tokens(batch: int = 2) -> Tensor:
    return torch.randint(VOCAB, (batch, TOKENS), generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def test_logits(pair: tuple[Any, Decoder]) -> None:
    oracle, model = pair
    torch.testing.assert_close(model(tokens()), oracle(tokens()).logits, **NEAR)


@torch.no_grad()
@pytest.mark.parametrize("sizes", [[70, *[1] * 20], [64, 1, 1, 24]], ids=["prompt and decode", "pieces"])
def test_decode(pair: tuple[Any, Decoder], sizes: list[int]) -> None:
    oracle, model = pair
    cache = DynamicCache(config=oracle.config)
    pieces = [oracle(x, past_key_values=cache, use_cache=True).logits for x in tokens().split(sizes, 1)]
    torch.testing.assert_close(in_pieces(model, tokens(), sizes), torch.cat(pieces, 1), **NEAR)


@torch.no_grad()
@pytest.mark.parametrize("part", ["gate", "beta", "decay_bias", "shared_gate", "query_norm"])
def test_a_part_left_out_is_seen(pair: tuple[Any, Decoder], part: str) -> None:
    oracle, model = pair
    weights = weights_of(oracle)
    changed = {n: torch.zeros_like(w) if f".{part}" in n and "ffn.gate" not in n else w for n, w in weights.items()}
    try:
        model.load_state_dict(changed)
        with pytest.raises(AssertionError):
            torch.testing.assert_close(model(tokens()), oracle(tokens()).logits, **NEAR)
    finally:
        model.load_state_dict(weights)


@torch.no_grad()
def test_bytes_and_checkpoints(pair: tuple[Any, Decoder]) -> None:
    """What grows is the two full layers'; all the rest is what a checkpoint holds."""
    _, model = pair
    cache = model.new_cache(2, TOKENS)
    model(tokens()[:, :60], cache)
    counted = model.model.kv_bytes(60)
    assert cache.nbytes(filled=True) == {"main": 2 * counted.main, "recurrent": 2 * counted.recurrent}
    point = checkpoint(cache.layers)
    assert point.nbytes == 2 * counted.recurrent == cache.nbytes(filled=True)["recurrent"]
    model(tokens()[:, 30:60], cache)
    resume(cache.layers, point)
    torch.testing.assert_close(model(tokens()[:, 60:], cache), model(tokens())[:, 60:], **NEAR)
    assert model.model.params.total == sum(p.numel() for p in model.parameters())
