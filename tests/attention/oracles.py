"""transformers' attention layers with the dimensions of `costlab.arch`, and our layers with the same weights.

Oracle: transformers 5.23 (deepseek_v4, deepseek_v32, deepseek_v3, llama, qwen3_next), eager attention.
"""

from __future__ import annotations

from typing import Any

import torch
from oracles import Oracle, copy_weights, randomise
from torch import Tensor, nn
from transformers import DynamicCache
from transformers.models.deepseek_v3 import modeling_deepseek_v3 as v3
from transformers.models.deepseek_v4 import modeling_deepseek_v4 as v4
from transformers.models.deepseek_v32 import modeling_deepseek_v32 as v32
from transformers.models.llama import modeling_llama as llama
from transformers.models.qwen3_next import modeling_qwen3_next as qwen3_next

from costlab import arch
from costlab.nn import attention

V4_TYPES = {
    arch.SharedWindow: "sliding_attention",
    arch.CSA: "compressed_sparse_attention",
    arch.HCA: "heavily_compressed_attention",
}


def v4_angles(rotary: nn.Module, hidden: Tensor, at: Tensor) -> Any:
    """What V4's layers turn by: their windows and their compressed entries, each in its own way."""
    return {kind: rotary(hidden, position_ids=at, layer_type=kind) for kind in ("main", "compress")}


def _compressor(ours: str, theirs: str) -> dict[str, str]:
    parts = {"content.weight": "kv_proj.weight", "gate.weight": "gate_proj.weight", "bias": "position_bias"}
    return {f"{ours}.{a}": f"{theirs}.{b}" for a, b in {**parts, "norm.weight": "kv_norm.weight"}.items()}


V4_NAMES = {
    "query_down.weight": "q_a_proj.weight",
    "query_norm.weight": "q_a_norm.weight",
    "query_up.weight": "q_b_proj.weight",
    "window.weight": "kv_proj.weight",
    "window_norm.weight": "kv_norm.weight",
    "sink": "sinks",
    "output.down": "o_a_proj.weight",
    "output.up.weight": "o_b_proj.weight",
    **_compressor("compressor", "compressor"),
    **_compressor("index_compressor", "compressor.indexer"),
    "index.query.weight": "compressor.indexer.q_b_proj.weight",
    "index.weights.weight": "compressor.indexer.scorer.weights_proj.weight",
}
MLA_NAMES = {
    "query_down.weight": "q_a_proj.weight",
    "query_norm.weight": "q_a_layernorm.weight",
    "query_up.weight": "q_b_proj.weight",
    "latent_down.weight": "kv_a_proj_with_mqa.weight",
    "latent_norm.weight": "kv_a_layernorm.weight",
    "latent_up.weight": "kv_b_proj.weight",
    "output.weight": "o_proj.weight",
}
DSA_NAMES = {
    **{f"mla.{ours}": theirs for ours, theirs in MLA_NAMES.items()},
    "index.query.weight": "indexer.wq_b.weight",
    "index.weights.weight": "indexer.weights_proj.weight",
    "index_key.weight": "indexer.wk.weight",
    "index_norm.weight": "indexer.k_norm.weight",
    "index_norm.bias": "indexer.k_norm.bias",
}
LLAMA_NAMES = {f"{ours}.weight": f"{ours[0]}_proj.weight" for ours in ("query", "key", "value", "output")}


def v4_config(dims: arch.SharedWindow, hidden: int, rope: dict[str, Any] | None = None) -> Any:
    block, csa = getattr(dims, "block", 4), isinstance(dims, arch.CSA)
    return v4.DeepseekV4Config(
        hidden_size=hidden,
        num_hidden_layers=1,
        num_attention_heads=dims.heads,
        head_dim=dims.head_dim,
        q_lora_rank=dims.q_rank,
        partial_rotary_factor=dims.rope_dim / dims.head_dim,
        layer_types=[V4_TYPES[type(dims)]],
        compress_rates={"compressed_sparse_attention": block, "heavily_compressed_attention": block},
        compress_rope_theta=160_000.0,
        rope_parameters=rope,
        sliding_window=dims.window,
        o_groups=dims.groups,
        o_lora_rank=dims.group_dim,
        index_n_heads=dims.index_heads if csa else 1,
        index_head_dim=dims.index_dim if csa else 16,
        index_topk=dims.top_k if csa else 1,
        attn_implementation="eager",
    )


def v4_oracle(dims: arch.SharedWindow, hidden: int, rope: dict[str, Any] | None = None, seed: int = 0) -> Oracle:
    config = v4_config(dims, hidden, rope)
    layer = randomise(v4.DeepseekV4Attention(config, 0), seed)
    return Oracle(layer, v4.DeepseekV4RotaryEmbedding(config), config, True, v4_angles).eval()


def v4_pair(dims: arch.SharedWindow, hidden: int, seed: int = 0) -> tuple[Oracle, attention.AttentionLayer[Any]]:
    oracle = v4_oracle(dims, hidden, seed=seed)
    theta = 10_000.0 if type(dims) is arch.SharedWindow else 160_000.0
    ours = attention.build_layer(dims, hidden, attention.Rope(theta))
    copy_weights(oracle.layer, ours, V4_NAMES)
    return oracle, ours.eval()


def mla_pair(
    dims: arch.MLA, hidden: int, seed: int = 0, **options: Any
) -> tuple[Oracle, attention.AttentionLayer[Any]]:
    sparse = isinstance(dims, arch.DSA)
    module = v32 if sparse else v3
    make = module.DeepseekV32Config if sparse else module.DeepseekV3Config
    index = {}
    if isinstance(dims, arch.DSA):
        index = {"index_n_heads": dims.index_heads, "index_head_dim": dims.index_dim, "index_topk": dims.top_k}
    config = make(
        hidden_size=hidden,
        num_hidden_layers=1,
        num_attention_heads=dims.heads,
        num_key_value_heads=dims.heads,
        q_lora_rank=dims.q_rank,
        kv_lora_rank=dims.kv_rank,
        qk_nope_head_dim=dims.nope_dim,
        qk_rope_head_dim=dims.rope_dim,
        v_head_dim=dims.v_dim,
        attn_implementation="eager",
        **index,
    )
    layer = (module.DeepseekV32Attention if sparse else module.DeepseekV3Attention)(config, 0)
    rotary = (module.DeepseekV32RotaryEmbedding if sparse else module.DeepseekV3RotaryEmbedding)(config)
    oracle = Oracle(randomise(layer, seed), rotary, config, False).eval()
    ours = attention.build_layer(dims, hidden, attention.Rope(), **options)
    copy_weights(oracle.layer, ours, DSA_NAMES if sparse else MLA_NAMES)
    return oracle, ours.eval()


def llama_pair(dims: arch.FullAttention, hidden: int, seed: int = 0) -> tuple[Oracle, attention.AttentionLayer[Any]]:
    config = llama.LlamaConfig(
        hidden_size=hidden,
        num_hidden_layers=1,
        num_attention_heads=dims.heads,
        num_key_value_heads=dims.kv_heads,
        head_dim=dims.qk_dim,
        attn_implementation="eager",
    )
    layer = randomise(llama.LlamaAttention(config, 0), seed)
    oracle = Oracle(layer, llama.LlamaRotaryEmbedding(config), config, False).eval()
    ours = attention.build_layer(dims, hidden, attention.Rope())
    copy_weights(oracle.layer, ours, LLAMA_NAMES)
    return oracle, ours.eval()


class DeltaOracle(nn.Module):
    """transformers' gated delta net, called as ours is."""

    def __init__(self, layer: nn.Module, config: Any) -> None:
        super().__init__()
        self.layer, self.config = layer, config

    def new_cache(self) -> DynamicCache:
        return DynamicCache(config=self.config)

    def forward(self, hidden: Tensor, cache: DynamicCache | None = None) -> Tensor:
        return self.layer(hidden, cache_params=cache)


def qwen3_next_config(dims: arch.GatedDelta, hidden: int, **more: Any) -> Any:
    return qwen3_next.Qwen3NextConfig(
        hidden_size=hidden,
        linear_num_key_heads=dims.key_heads,
        linear_num_value_heads=dims.heads,
        linear_key_head_dim=dims.key_dim,
        linear_value_head_dim=dims.value_dim,
        linear_conv_kernel_dim=dims.conv_width,
        attn_implementation="eager",
        **{"num_hidden_layers": 1, "layer_types": ["linear_attention"], **more},
    )


def delta_weights(theirs: dict[str, Tensor], dims: arch.GatedDelta) -> dict[str, Tensor]:
    """transformers' weights by our names: they stand key head by key head there, and side by side with the gate."""
    group = dims.heads // dims.key_heads
    values = group * dims.value_dim
    joint = theirs.pop("in_proj_qkvz.weight").unflatten(0, (dims.key_heads, -1))
    q, k, v, gate = (x.flatten(0, 1) for x in joint.split([dims.key_dim, dims.key_dim, values, values], 1))
    rates = theirs.pop("in_proj_ba.weight").unflatten(0, (dims.key_heads, -1))
    beta, decay = (x.flatten(0, 1) for x in rates.split(group, 1))
    ours = {"mixed.weight": torch.cat([q, k, v]), "gate.weight": gate, "beta.weight": beta, "decay.weight": decay}
    names = {"convolution": "conv1d.weight", "decay_bias": "dt_bias", "decay_log_rate": "A_log"}
    names |= {"norm.weight": "norm.weight", "output.weight": "out_proj.weight"}
    ours |= {name: theirs.pop(other) for name, other in names.items()}
    ours["convolution"] = ours["convolution"].flatten(1)
    assert not theirs, f"weights of the oracle that ours lack: {sorted(theirs)}"
    return ours


def delta_pair(dims: arch.GatedDelta, hidden: int, seed: int = 0, **options: Any) -> tuple[DeltaOracle, Any]:
    config = qwen3_next_config(dims, hidden)
    oracle = DeltaOracle(randomise(qwen3_next.Qwen3NextGatedDeltaNet(config, 0), seed), config).eval()
    ours = attention.build_layer(dims, hidden, **options)
    ours.load_state_dict(delta_weights(dict(oracle.layer.state_dict()), dims))
    return oracle, ours.eval()
