"""Families whose attention caches one latent per token."""

from __future__ import annotations

from typing import Any

from costlab.arch.configs.blueprint import CACHED, Blueprint, KindTable, start
from costlab.arch.configs.fields import Fields
from costlab.arch.configs.parts import (
    dense,
    dense_first,
    draft_modules,
    indexed,
    layer_kinds,
    mla,
    moe,
    selection_bias,
    shared_experts,
)


def deepseek_v2(f: Fields) -> Blueprint:
    """DeepSeek-V2: latents, scores by softmax, no selection bias."""
    model = start(f)
    f.only("attention_bias", False, why="vectors added in attention")
    f.only("mlp_bias", False, why="vectors added in the feed-forward layers")
    f.neutral("topk_method")
    f.word("scoring_func", among=("softmax",), default="softmax")
    table = mla(f)
    experts = moe(f, shared=shared_experts(f))
    for has in dense_first(f, model.depth):
        model.add(table, experts if has else dense(f))
    return model


def deepseek_v3(f: Fields) -> Blueprint:
    """DeepSeek-V3, Kimi-K2, V3.2 and GLM-5: latents, from V3.2 on with an indexer, in some layers another's."""
    model_type = f.values.get("model_type")
    model = start(f)
    f.only("attention_bias", False, why="vectors added in attention")
    f.word("scoring_func", among=("sigmoid",), default="sigmoid")
    table = mla(f)
    words = ("full_attention", "deepseek_sparse_attention", "indexed_attention")
    f.only("layer_types", *([word] * model.depth for word in words), why="layers of other kinds")
    sparse = model_type in ("deepseek_v32", "glm_moe_dsa") or f.has("index_topk")
    shares = borrowed_indexers(f, model.depth) if sparse else [False] * model.depth
    default = {"deepseek_v3": 3, "kimi_k2": 3, "deepseek_v32": 3, "glm_moe_dsa": 3, "glm4_moe_lite": 1}
    experts = moe(f, "sigmoid", bias=selection_bias(f), shared=shared_experts(f))
    for has, shared in zip(dense_first(f, model.depth, default.get(str(model_type), 0)), shares, strict=True):
        model.add(_attention(f, table, sparse, shared), experts if has else dense(f))
    modules = f.size("num_nextn_predict_layers", default=0, least=0, most=64)
    model.add_mtp(modules, _attention(f, table, sparse, False), experts)
    return model


def _attention(f: Fields, table: KindTable, sparse: bool, shared: bool) -> KindTable:
    return indexed(f, table, **({"owns_index": False} if shared else {})) if sparse else table


def borrowed_indexers(f: Fields, depth: int) -> list[bool]:
    """Return which layers use the indexer of an earlier one, by `indexer_types`; none where it is absent.

    Raises:
        ValueError: a schedule in other words, or a first layer without an indexer to use.
    """
    f.neutral("index_share_for_mtp_iteration", "index_skip_topk_offset", "index_topk_freq", "index_topk_pattern")
    words = f.words("indexer_types", among={"full": "", "shared": "shared"}, length=depth)
    if words is None:
        if f.values.get("index_topk_freq") not in (None, 1) or f.has("index_topk_pattern"):
            f.refuse("index_topk_freq", f.values.get("index_topk_freq"), "beside indexer_types, one word a layer")
        return [False] * depth
    if words and words[0]:
        raise ValueError(f"{f.where}: indexer_types[0] is shared, but no layer before it has an indexer")
    return [bool(word) for word in words]


def deepseek_v4(f: Fields) -> Blueprint:
    """DeepSeek-V4: a shared key and value vector, windows, compressed entries; several residual streams."""
    f.neutral("num_key_value_heads", "hc_sinkhorn_iters", "qk_nope_head_dim", "intermediate_size")
    model = start(f, streams=f.size("hc_mult", default=4, most=64))
    ratios = f.sizes("compress_ratios", most=1024, length=model.depth, longer=True)
    if ratios is None:
        raise ValueError(f"{f.where}: compress_ratios is missing; the class's fallback is no published model's")
    f.only("attention_bias", False, why="vectors added in attention")
    f.word("scoring_func", among=("sqrtsoftplus",), default="sqrtsoftplus")
    f.only("topk_method", "noaux_tc", why="how experts are chosen")
    hashed = f.size("num_hash_layers", default=3, least=0)
    experts = moe(f, "sqrt-softplus", bias=True, shared=shared_experts(f))
    plain = {name: value for name, value in experts["routing"].items() if name != "bias"}
    by_token = {**experts, "routing": {**plain, "select": "token-table"}}
    for i, ratio in enumerate(ratios):
        model.add(_compressed(f, ratio), by_token if i < hashed else experts)
    modules = f.size("num_nextn_predict_layers", default=0, least=0, most=64)
    model.add_mtp(modules, _compressed(f, 0), experts, projections=2, inputs=1)
    return model


def _compressed(f: Fields, ratio: int) -> KindTable:
    width, count, groups = f.size("head_dim"), f.size("num_attention_heads"), f.size("o_groups")
    if count * width % groups:
        raise ValueError(f"{f.where}: {count} heads of {width} don't divide into o_groups = {groups}")
    table = {
        "kind": "shared-window", "heads": count, "head_dim": width, "rope_dim": f.size("qk_rope_head_dim"),
        "q_rank": f.size("q_lora_rank"), "groups": groups, "group_dim": f.size("o_lora_rank"),
        "window": f.size("sliding_window"), "entry": ((width, CACHED),),
    }  # fmt: skip
    dim, index_heads, top_k = f.size("index_head_dim"), f.size("index_n_heads"), f.size("index_topk")
    if ratio == 0:
        return table
    if ratio == 128:
        return {**table, "kind": "hca", "block": 128}
    if ratio == 4:
        index = {"index_heads": index_heads, "index_dim": dim, "top_k": top_k, "index_key": ((dim, CACHED),)}
        return {**table, "kind": "csa", "block": 4, **index}
    return f.refuse("compress_ratios", ratio, "0 (a window), 4 (CSA) or 128 (HCA)")


def kimi_linear(f: Fields) -> Blueprint:
    """Kimi-Linear and Kimi-K3: Kimi delta attention, every fourth layer latents that rotate nothing."""
    f.only("attention_bias", False, why="vectors added in attention")
    f.only("tie_word_embeddings", False, why="the head is no embedding table in this family")
    f.only("mla_use_nope", True, why="rotation in the layers of latents")
    f.word("moe_router_activation_func", among=("sigmoid",), default="sigmoid")
    f.neutral("activation_situ_beta", "activation_situ_linear_beta", "use_grouped_topk")
    model = start(f)
    if f.optional("attn_res_block_size"):
        f.assumed.append("the vectors by which attn_res_block_size weighs earlier blocks' outputs are left out")
    table = mla(f)
    if f.flag("mla_use_output_gate"):
        table = {**table, "gate_dim": table["v_dim"]}
    linear, order = _delta(f, model.depth)
    latent = f.optional("routed_expert_hidden_size")
    more: dict[str, Any] = {
        "latent": latent,
        "latent_norm": f.flag("latent_moe_use_norm", default=False) and latent is not None,
    }
    experts = moe(f, "sigmoid", bias=selection_bias(f), shared=shared_experts(f), **more)
    for kind, has in zip(layer_kinds(f, model.depth, order), dense_first(f, model.depth, 1), strict=True):
        if kind not in ("full", "linear"):
            raise ValueError(f"{f.where}: layer_types has a layer of kind {kind!r}, which this family has not")
        model.add(table if kind == "full" else linear, experts if has else dense(f))
    draft_modules(f, "num_nextn_predict_layers")
    return model


def _delta(f: Fields, depth: int) -> tuple[KindTable, list[str]]:
    """Return the table of delta attention, and which layers have it by the lists of `linear_attn_config`."""
    usual = ["full" if i and i % 4 == 0 else "linear" for i in range(depth)]
    inner = f.inner("linear_attn_config")
    if inner is None:
        dim = f.size("linear_head_dim", default=128)
        table = {"kind": "kda", "heads": f.size("linear_num_heads", default=32), "head_dim": dim,
                 "conv_width": f.size("linear_conv_kernel_dim", default=4)}  # fmt: skip
        return {**table, "decay_rank": dim, "gate_rank": dim}, usual
    f.neutral("linear_head_dim", "linear_num_heads", "linear_conv_kernel_dim")
    inner.neutral("gate_lower_bound")
    dim = inner.size("head_dim", default=128)
    whole = inner.flag("use_full_rank_gate")
    table = {"kind": "kda", "heads": inner.size("num_heads", default=32), "head_dim": dim, "decay_rank": dim,
             "conv_width": inner.size("short_conv_kernel_size", default=4),
             "gate_rank": 0 if whole else dim}  # fmt: skip
    full = inner.sizes("full_attn_layers", least=1, most=depth)
    delta = inner.sizes("kda_layers", least=1, most=depth)
    inner.finish()
    if full is None or delta is None:
        return table, usual
    if sorted([*full, *delta]) != list(range(1, depth + 1)):
        raise ValueError(f"{inner.where}: full_attn_layers and kda_layers should name each of {depth} layers once")
    return table, ["full" if i + 1 in set(full) else "linear" for i in range(depth)]
