"""Transformers' MoE blocks with random weights, and our layer with the same ones."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from transformers.models.deepseek_v3 import modeling_deepseek_v3 as v3
from transformers.models.deepseek_v4 import modeling_deepseek_v4 as v4
from transformers.models.mimo_v2_flash import modeling_mimo_v2_flash as mimo
from transformers.models.mixtral import modeling_mixtral as mixtral
from transformers.models.qwen3_moe import modeling_qwen3_moe as qwen

from costlab import arch, moe
from costlab.nn.moe import MoELayer

HIDDEN, INNER, VOCABULARY, TOKENS = 32, 12, 64, 96


@dataclass
class Oracle:
    """A block of transformers and the same layer of ours."""

    router: moe.Router
    block: nn.Module
    layer: MoELayer
    x: Tensor
    token_ids: Tensor | None

    def theirs(self) -> Tensor:
        """Return the block's output, [tokens, hidden]."""
        x = self.x[None]
        return (self.block(x) if self.token_ids is None else self.block(x, self.token_ids[None]))[0]

    def their_choice(self) -> tuple[Tensor, Tensor]:
        """Return chosen experts and weights, sorted by expert: transformers leaves their order open."""
        gate = self.block.gate
        _, weights, experts = gate(self.x) if self.token_ids is None else gate(self.x, self.token_ids)
        order = experts.argsort(dim=-1)
        return experts.gather(1, order), weights.gather(1, order)


def _mixtral(ffn: arch.MoE) -> nn.Module:
    config = mixtral.MixtralConfig(
        hidden_size=HIDDEN, intermediate_size=INNER, num_local_experts=ffn.experts, num_experts_per_tok=ffn.top_k
    )
    return mixtral.MixtralSparseMoeBlock(_eager(config))


def _qwen(ffn: arch.MoE) -> nn.Module:
    config = qwen.Qwen3MoeConfig(
        hidden_size=HIDDEN,
        moe_intermediate_size=INNER,
        num_experts=ffn.experts,
        num_experts_per_tok=ffn.top_k,
        norm_topk_prob=True,  # as Qwen3-235B-A22B's config.json says
    )
    return qwen.Qwen3MoeSparseMoeBlock(_eager(config))


def _deepseek_sizes(ffn: arch.MoE) -> dict[str, Any]:
    return {
        "hidden_size": HIDDEN,
        "moe_intermediate_size": INNER,
        "n_routed_experts": ffn.experts,
        "num_experts_per_tok": ffn.top_k,
        "routed_scaling_factor": ffn.routing.scale,
    }


def _v3(ffn: arch.MoE) -> nn.Module:
    limits = {"n_group": ffn.routing.groups, "topk_group": ffn.routing.groups_kept, "norm_topk_prob": True}
    return v3.DeepseekV3MoE(_eager(v3.DeepseekV3Config(**_deepseek_sizes(ffn), **limits, n_shared_experts=ffn.shared)))


def _mimo(ffn: arch.MoE) -> nn.Module:
    limits = {"n_group": 1, "topk_group": 1, "norm_topk_prob": True}
    return mimo.MiMoV2FlashMoE(_eager(mimo.MiMoV2FlashConfig(**_deepseek_sizes(ffn), **limits)))


def _v4(ffn: arch.MoE) -> nn.Module:
    kind = "hash_moe" if ffn.routing.select == "token-table" else "moe"
    config = v4.DeepseekV4Config(
        **_deepseek_sizes(ffn),
        vocab_size=VOCABULARY,
        num_hidden_layers=1,
        layer_types=["heavily_compressed_attention"],
        mlp_layer_types=[kind],
        swiglu_limit=ffn.clamp,
    )
    return v4.DeepseekV4SparseMoeBlock(_eager(config), 0)


def _eager(config: Any) -> Any:
    config._experts_implementation = "eager"
    return config


#: (model, layer): who else implements it.
BLOCKS = {
    ("mixtral-8x7b", -1): _mixtral,
    ("qwen3-235b-a22b", -1): _qwen,
    ("deepseek-v3", -1): _v3,
    ("deepseek-v3.2", -1): _v3,
    ("deepseek-v4-pro", -1): _v4,
    ("deepseek-v4-pro", 0): _v4,
    ("deepseek-v4-flash", -1): _v4,
    ("deepseek-v4-flash", 2): _v4,
    ("mimo-v2.5-pro", -1): _mimo,
}


def oracle(model: str, layer: int, seed: int = 0) -> Oracle:
    """Return a block of transformers for a model's layer, `HIDDEN` wide, with all its experts, beside our layer."""
    torch.manual_seed(seed)
    ffn = replace(moe.moe_layer(model, layer), inner=INNER)
    block = BLOCKS[model, layer](ffn)
    for parameter in block.parameters():
        # wide enough that V4's clamp at 10 bites
        nn.init.normal_(parameter, std=1.0)
    ids = None
    if ffn.routing.bias:
        block.gate.e_score_correction_bias.copy_(0.1 * torch.randn(ffn.experts))
    if ffn.routing.select == "token-table":
        block.gate.tid2eid.copy_(torch.rand(VOCABULARY, ffn.experts).topk(ffn.top_k).indices)
        ids = torch.randint(VOCABULARY, (TOKENS,))
    return Oracle(
        moe.Router(ffn.experts, ffn.top_k, ffn.routing), block, _ours(ffn, block), torch.randn(TOKENS, HIDDEN), ids
    )


@torch.no_grad()
def _ours(ffn: arch.MoE, block: Any) -> MoELayer:
    layer = MoELayer(HIDDEN, ffn, VOCABULARY)
    layer.gate.weight.copy_(block.gate.weight)
    if ffn.routing.bias:
        layer.gate.bias.copy_(block.gate.e_score_correction_bias)
    if ffn.routing.select == "token-table":
        layer.gate.table.copy_(block.gate.tid2eid)
    layer.experts.gate_up.copy_(block.experts.gate_up_proj)
    layer.experts.down.copy_(block.experts.down_proj)
    if layer.shared is not None:
        shared = block.shared_experts
        layer.shared.gate_up.copy_(torch.cat([shared.gate_proj.weight, shared.up_proj.weight]))
        layer.shared.down.copy_(shared.down_proj.weight)
    return layer
