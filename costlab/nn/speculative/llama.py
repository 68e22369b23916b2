"""The same weights under transformers' names, so that its Llama runs them: an oracle, and a peer to measure beside.

>>> from costlab.nn.speculative.model import ByteModel, ByteSize
>>> dimensions, weights = as_llama(ByteModel(ByteSize(layers=1, hidden=32, heads=4, inner=64)))
>>> dimensions["num_attention_heads"], tuple(weights["model.layers.0.mlp.gate_proj.weight"].shape)
(4, (64, 32))
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from costlab.nn.speculative.model import EPSILON, THETA, VOCABULARY, ByteModel


def as_llama(model: ByteModel) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return the arguments of transformers' `LlamaConfig`, and the state that its `LlamaForCausalLM` loads.

    Args:
        model: any; the weights are shared, not copied.
    """
    size = model.size
    dimensions: dict[str, Any] = {"vocab_size": VOCABULARY, "hidden_size": size.hidden, "intermediate_size": size.inner}
    dimensions |= {"num_hidden_layers": size.layers, "num_attention_heads": size.heads, "rms_norm_eps": EPSILON}
    dimensions |= {"max_position_embeddings": size.context, "rope_theta": THETA, "tie_word_embeddings": False}
    weights = {"model.embed_tokens.weight": model.embedding.weight, "model.norm.weight": model.norm.weight}
    weights["lm_head.weight"] = model.head.weight
    state = model.state_dict()
    for layer in range(size.layers):
        weights |= _block({name: state[f"blocks.{layer}.{name}"] for name in _NAMES}, f"model.layers.{layer}")
    return dimensions, {name: weight.detach() for name, weight in weights.items()}


#: Transformers' names of each of ours; several where ours holds several matrices, one below the other.
_NAMES = {
    "attention_norm.weight": ["input_layernorm.weight"],
    "attention.qkv.weight": [f"self_attn.{part}_proj.weight" for part in "qkv"],
    "attention.out.weight": ["self_attn.o_proj.weight"],
    "ffn_norm.weight": ["post_attention_layernorm.weight"],
    "ffn.gate_up": ["mlp.gate_proj.weight", "mlp.up_proj.weight"],
    "ffn.down": ["mlp.down_proj.weight"],
}


def _block(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    named: dict[str, Tensor] = {}
    for name, weight in state.items():
        parts = weight.chunk(len(_NAMES[name]))
        named |= {f"{prefix}.{other}": part for other, part in zip(_NAMES[name], parts, strict=True)}
    return named
