"""MiniMax-M3 and Step: keys and values for each KV head, blocks or windows of them, and a shared expert."""

from __future__ import annotations

from typing import Any

from costlab.arch.configs.blueprint import CACHED, Blueprint, KindTable, start
from costlab.arch.configs.families.plain import window_of
from costlab.arch.configs.fields import MAX_LAYERS, MAX_SIZE, Fields
from costlab.arch.configs.parts import biases, draft_modules, gqa, head_sizes, layer_kinds, moe

_M3_WORDS = {"full_attention": "", "minimax_m3_sparse": "sparse"}


def minimax_m3(f: Fields) -> Blueprint:
    """MiniMax-M3: blocks of keys that an indexer picks, full attention in the first layers."""
    model = start(f)
    sizes = head_sizes(f, model.hidden, dim=128)
    f.only("use_qk_norm", True, why="norms of queries and keys")
    f.only("qk_norm_type", "per_head", why="norms of queries and keys")
    f.only("use_gemma_norm", True, False, why="norms")
    f.only("attention_output_gate", False, why="an output gate")
    f.word("scoring_func", among=("sigmoid",), default="sigmoid")
    index, order = _blocks(f, model.depth)
    shared = f.size("shared_intermediate_size", default=3072, least=0)
    count = f.size("n_shared_experts", "num_shared_experts", default=1 if shared else 0, least=0, most=MAX_LAYERS)
    more = {"shared": count, "shared_inner": shared} if shared and count else {}
    bias = f.flag("use_routing_bias", default=True)
    experts = moe(f, "sigmoid", inner=("intermediate_size",), bias=bias, **more)
    plain = {"kind": "dense", "inner": f.size("dense_intermediate_size", default=12288)}
    full = gqa(sizes, qk_norm=True)
    for sparse, has in zip(order, _with_experts(f, model.depth), strict=True):
        model.add({**full, "kind": "block-sparse", **index} if sparse else full, experts if has else plain)
    f.neutral("use_mtp", "mtp_transformer_layers", "num_mtp_modules", "num_nextn_predict_layers")
    f.assumed.append("modules for multi-token prediction, if there are any, are left out")
    return model


def _with_experts(f: Fields, depth: int) -> list[bool]:
    words = f.words("mlp_layer_types", among={"dense": "", "sparse": "moe"}, length=depth)
    listed = f.sizes("moe_layer_freq", most=1, length=depth)
    return [bool(each) for each in words or listed or [1] * depth]


def _blocks(f: Fields, depth: int) -> tuple[dict[str, Any], list[bool]]:
    """Return the indexer's sizes, and which layers have one."""
    inner = f.inner("sparse_attention_config") or Fields({}, f.where)
    names = {
        "index_heads": ("sparse_num_index_heads", "index_n_heads", 4),
        "index_dim": ("sparse_index_dim", "index_head_dim", 128),
        "block": ("sparse_block_size", "index_block_size", 128),
        "top_k": ("sparse_topk_blocks", "index_topk_blocks", 16),
    }
    found = {key: inner.size(old, default=f.size(new, default=usual)) for key, (old, new, usual) in names.items()}
    f.neutral("index_local_blocks")
    inner.neutral("sparse_local_block", "sparse_init_block", "use_sparse_attention", "sparse_score_type")
    inner.neutral("sparse_disable_index_value")
    freq = inner.sizes("sparse_attention_freq", most=1, length=depth)
    inner.finish()
    words = f.words("layer_types", among=_M3_WORDS, length=depth)
    index = {**found, "index_key": ((found["index_dim"], CACHED),)}
    return index, [bool(each) for each in words or freq or [0] * depth]


def step3(f: Fields) -> Blueprint:
    """Step-3.5 and 3.7: windows with more heads beside full layers, gates by head, an expert that all visit."""
    model = start(f)
    sizes = _step_heads(f, model.hidden)
    f.neutral("use_moe_router_bias", "moe_router_scaling_factor", "moe_router_activation", "norm_expert_weight",
              "need_fp32_gate", "swiglu_limits", "swiglu_limits_shared", "rope_theta", "yarn_only_types",
              "use_rope_layers", "mtp_layer_types", "mtp_mlp_layer_types", "zero_centered", "sink")  # fmt: skip
    f.only("use_moe", True, why="experts")
    f.only("n_shared_experts", 1, why="more experts that all visit")
    f.only("scoring_func", "sigmoid", why="how experts are scored")
    f.only("use_qk_norm", True, why="norms of queries and keys")
    f.only("mlp_bias", False, why="vectors added in the feed-forward layers")
    f.only("use_mfa", False, why="another attention")
    f.only("use_bidirectional_attention", False, why="attention to later tokens")
    gate = f.flag("use_head_wise_attn_gate", "gating", default=True)
    swa = _step_window_heads(f, sizes)
    window = f.optional("sliding_window")
    draft_modules(f, "num_nextn_predict_layers", "num_mtp_layers")
    shared = f.size("share_expert_dim", "share_expert_dims", default=1280)
    sigmoid = f.flag("use_moe_router_bias", default=True)
    experts = moe(f, "sigmoid", bias=sigmoid, shared=1, shared_inner=shared)
    more = {"qk_norm": True, "gate_dim": int(gate), **biases(f)}
    sparse = _step_experts(f, model.depth)
    order = _step_kinds(f, model.depth)
    for i, kind in enumerate(order):
        cut = window_of(f, window, kind)
        plain: KindTable = {"kind": "dense", "inner": f.size("intermediate_size")}
        model.add(gqa(sizes if cut is None else swa, cut, **more), experts if i in sparse else plain)
    return model


def _step_heads(f: Fields, hidden: int) -> dict[str, Any]:
    groups = f.values.get("num_attention_groups", f.values.get("num_key_value_heads"))
    f.size("num_key_value_heads", "num_attention_groups", default=8)
    f.values = {**f.values, "num_key_value_heads": 8 if groups is None else groups}
    return head_sizes(f, hidden, dim=128)


def _step_window_heads(f: Fields, sizes: dict[str, Any]) -> dict[str, Any]:
    inner = f.inner("attention_other_setting")
    count = f.size("num_sliding_attention_heads", default=sizes["heads"])
    if inner is None:
        if not f.has("num_sliding_attention_heads"):
            f.assumed.append("windows with as many query heads as full layers: attention_other_setting is absent")
        return {**sizes, "heads": count}
    found = {
        "heads": inner.size("num_attention_heads", default=count),
        "kv_heads": inner.size("num_attention_groups", "num_key_value_heads", default=sizes["kv_heads"]),
    }
    width = inner.size("head_dim", default=sizes["qk_dim"])
    inner.neutral("attention_type", "true_head_dim")
    inner.finish()
    return {**sizes, **found, "qk_dim": width, "v_dim": width}


def _step_experts(f: Fields, depth: int) -> set[int]:
    words = f.words("mlp_layer_types", among={"dense": "", "sparse": "moe"}, length=depth, longer=True)
    listed = f.values.get("moe_layers_enum")
    first = f.size("first_k_dense_replace", default=3, least=0)
    f.neutral("moe_layers_enum")
    if words is not None:
        return {i for i, word in enumerate(words) if word}
    if listed is None:
        return set(range(first, depth))
    items = listed.split(",") if isinstance(listed, str) else listed
    if not isinstance(items, list) or not all(str(each).strip().isdecimal() for each in items if str(each).strip()):
        f.refuse("moe_layers_enum", listed, "numbers of layers with commas between them")
    found = {int(each) for each in items if str(each).strip()}
    if any(each > MAX_SIZE for each in found):
        f.refuse("moe_layers_enum", listed, "numbers of layers")
    return found


def _step_kinds(f: Fields, depth: int) -> list[str]:
    listed = f.values.get("layer_types")
    if isinstance(listed, list) and len(listed) > depth:
        f.values = {**f.values, "layer_types": listed[:depth]}
    return layer_kinds(f, depth, ["full"] * depth)
