"""Families that alternate Kimi delta attention with latents: GLM-5.3-Flash and Ling-3.0."""

from __future__ import annotations

from typing import Any

from costlab.arch.configs.blueprint import Blueprint, KindTable, start
from costlab.arch.configs.families.latent import borrowed_indexers
from costlab.arch.configs.fields import MAX_LAYERS, Fields
from costlab.arch.configs.parts import (
    dense,
    dense_first,
    draft_modules,
    every,
    indexed,
    mla,
    moe,
    selection_bias,
    shared_experts,
)

_GLM_WORDS = {
    "linear_attention": "linear",
    "indexed_attention": "full",
    "deepseek_sparse_attention": "full",
    "full_attention": "full",
}
_LING_WORDS = {"linear_attention": "linear", "full_attention": "full"}


def glm5_next(f: Fields) -> Blueprint:
    """GLM-5.3-Flash: delta attention, every fourth layer latents that an indexer of pooled keys picks; four streams."""
    model = start(f, streams=f.size("hc_mult", default=4, least=2, most=64))
    model.streams_joined = False
    _plain(f)
    f.only("mhc", True, why="a plain residual")
    f.only("mla_use_nope", True, why="rotation in the layers of latents")
    f.only("qk_rope_head_dim", 0, why="rotation in the layers of latents")
    f.only("index_kpool_compress", True, why="index keys that are pooled in another way")
    f.neutral("index_kpool_always_select_tail", "hc_sinkhorn_iters", "linear_lower_bound")
    table = indexed(f, ranked(f, mla(f)), index_pool=f.size("index_kpool", most=2**20))
    borrowed = borrowed_indexers(f, model.depth)
    usual = every(model.depth, 4, "full", "linear")
    order = f.words("layer_types", among=_GLM_WORDS, length=model.depth) or usual
    linear = _glm_delta(f, order)
    experts = moe(f, "sigmoid", bias=selection_bias(f), shared=shared_experts(f))
    for kind, shared, has in zip(order, borrowed, dense_first(f, model.depth, 3), strict=True):
        own: KindTable = {**table, "owns_index": False} if shared else table
        model.add(own if kind == "full" else linear, experts if has else dense(f))
    draft_modules(f, "num_nextn_predict_layers")
    return model


def ranked(f: Fields, table: dict[str, Any]) -> dict[str, Any]:
    """Return the table of a family whose queries come from a latent of their own.

    Raises:
        ValueError: a file without its width.
    """
    if not table["q_rank"]:
        f.refuse("q_lora_rank", f.values.get("q_lora_rank"), "a whole number in this family")
    return table


def _plain(f: Fields) -> None:
    f.only("attention_bias", False, why="vectors added in attention")
    f.word("scoring_func", "score_function", among=("sigmoid",), default="sigmoid")


def _glm_delta(f: Fields, order: list[str]) -> KindTable:
    """Return the table of delta attention; `linear_attn_config`, where it is there, counts its layers from 0."""
    inner = f.inner("linear_attn_config")
    if inner is None:
        dim, count = f.size("linear_head_dim"), f.size("linear_num_heads")
        return _kda(count, dim, f.size("linear_conv_kernel_dim"), dim)
    f.neutral("linear_head_dim", "linear_num_heads", "linear_conv_kernel_dim")
    inner.neutral("gate_lower_bound", "safe_gate")
    dim, count = inner.size("head_dim"), inner.size("num_heads")
    width = inner.size("short_conv_kernel_size")
    for name, kind in (("kda_layers", "linear"), ("full_attn_layers", "full")):
        listed = inner.sizes(name, most=MAX_LAYERS)
        if listed is not None and sorted(listed) != [i for i, each in enumerate(order) if each == kind]:
            inner.refuse(name, listed, "the layers, from 0, that layer_types (or every fourth layer) says")
    inner.finish()
    return _kda(count, dim, width, dim)


def _kda(count: int, dim: int, width: int, rank: int) -> KindTable:
    ranks = {"decay_rank": rank, "gate_rank": rank} if rank else {}
    return {"kind": "kda", "heads": count, "head_dim": dim, "conv_width": width, **ranks}


def bailing_hybrid(f: Fields) -> Blueprint:
    """Ling-3.0: delta attention whose gates are whole matrices, in the last layer of each group latents with a gate."""
    model = start(f)
    _plain(f)
    f.only("tie_word_embeddings", False, why="the head is no embedding table in this family")
    f.only("use_qkv_bias", False, why="vectors added in attention")
    f.only("use_bias", False, why="vectors added in attention")
    f.only("linear_attention", "kda", why="another linear attention")
    f.only("no_kda_lora", True, why="low-rank gates of delta attention")
    f.only("gated_attention_proj_granularity_type", "head_wise", why="another output gate")
    f.neutral("kda_safe_gate", "kda_lower_bound", "expert_swiglu_limit_list", "share_expert_swiglu_limit_list")
    f.neutral("use_qk_norm")  # of queries and keys of delta attention, without weights
    dim = f.size("linear_head_dim", default=f.size("head_dim", default=128))
    table = {**mla(f), "gate_dim": 1}
    count = f.size("linear_num_heads", default=table["heads"])
    width = f.size("linear_conv_kernel_dim", default=f.size("short_conv_kernel_size", default=4))
    linear = _kda(count, dim, width, 0)
    experts = moe(f, "sigmoid", bias=_expert_bias(f), **_ling_shared(f))
    for kind, has in zip(_ling_order(f, model.depth), dense_first(f, model.depth, 2), strict=True):
        model.add(table if kind == "full" else linear, experts if has else dense(f))
    draft_modules(f, "num_nextn_predict_layers", "num_mtp_layers")
    return model


def _ling_order(f: Fields, depth: int) -> list[str]:
    group = f.size("layer_group_size", default=6, most=MAX_LAYERS)
    order = f.words("layer_types", among=_LING_WORDS, length=depth)
    if order is None and depth % group:
        raise ValueError(f"{f.where}: layer_types is missing, and layer_group_size = {group} does not divide {depth}")
    return order or every(depth, group, "full", "linear")


def _expert_bias(f: Fields) -> bool:
    chosen = selection_bias(f)
    return f.flag("moe_router_enable_expert_bias", default=chosen)


def _ling_shared(f: Fields) -> dict[str, Any]:
    shared, inner = shared_experts(f), f.optional("moe_shared_expert_intermediate_size")
    if inner and shared != 1:
        f.refuse("num_shared_experts", shared, "1 beside moe_shared_expert_intermediate_size")
    return {"shared": shared, "shared_inner": inner}
