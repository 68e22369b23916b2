"""Families with keys and values for each KV head, and experts."""

from __future__ import annotations

from typing import Any

from costlab.arch.configs.blueprint import Blueprint, start
from costlab.arch.configs.families.plain import qwen_kinds, window_of
from costlab.arch.configs.fields import MAX_LAYERS, Fields
from costlab.arch.configs.parts import (
    biases,
    dense,
    dense_first,
    draft_modules,
    every,
    gqa,
    head_sizes,
    layer_kinds,
    moe,
    selection_bias,
    shared_experts,
    state_dtype,
)


def mixtral(f: Fields) -> Blueprint:
    """Mixtral: experts in every layer, as wide as `intermediate_size`."""
    model, window = start(f), f.optional("sliding_window")
    sizes = head_sizes(f, model.hidden)
    for _ in range(model.depth):
        model.add(gqa(sizes, window), moe(f, inner=("intermediate_size",)))
    return model


def qwen_moe(f: Fields) -> Blueprint:
    """Qwen2-MoE, Qwen3-MoE and Qwen3-VL-MoE's text part: experts in the layers that no field makes dense."""
    second = f.values.get("model_type") == "qwen2_moe"
    model = start(f)
    sizes = head_sizes(f, model.hidden)
    more: dict[str, Any] = {"qk_norm": True, **biases(f)} if not second else {}
    if second:
        more = {"qkv_bias": f.flag("qkv_bias", default=True)}
    shared = _gated_shared(f) if second else {}
    for kind, has in zip(qwen_kinds(f, model.depth), sparse_layers(f, model.depth), strict=True):
        attention = gqa(sizes, window_of(f, f.optional("sliding_window", least=0), kind), **more)
        model.add(attention, moe(f, **shared) if has else dense(f))
    f.neutral("intermediate_size")
    return model


def sparse_layers(f: Fields, depth: int) -> list[bool]:
    """Return which layers have experts by Qwen's fields."""
    step = f.size("decoder_sparse_step", default=1, most=MAX_LAYERS)
    plain = set(f.sizes("mlp_only_layers", most=MAX_LAYERS) or ())
    return [i not in plain and (i + 1) % step == 0 for i in range(depth)]


def _gated_shared(f: Fields) -> dict[str, Any]:
    return {"shared": 1, "shared_inner": f.size("shared_expert_intermediate_size"), "shared_gate": True}


def qwen_next(f: Fields) -> Blueprint:
    """Qwen3-Next and Qwen3.5: gated delta nets, every fourth layer full attention with an output gate."""
    model = start(f)
    sizes = head_sizes(f, model.hidden, dim=256)
    f.only("attn_output_gate", True, why="the output gate of full attention")
    f.word("output_gate_type", among=("swish", "silu", "sigmoid"), default="sigmoid")
    f.only("mtp_use_dedicated_embeddings", False, why="draft modules with an embedding of their own")
    f.only("attention_bias", False, why="vectors added in attention")
    full = gqa(sizes, qk_norm=True, gate_dim=sizes["qk_dim"])
    linear = {
        "kind": "gated-delta", "heads": f.size("linear_num_value_heads"), "key_heads": f.size("linear_num_key_heads"),
        "key_dim": f.size("linear_key_head_dim"), "value_dim": f.size("linear_value_head_dim"),
        "conv_width": f.size("linear_conv_kernel_dim"), "state_dtype": state_dtype(f, "mamba_ssm_dtype"),
    }  # fmt: skip
    step = f.size("full_attention_interval", default=4, most=MAX_LAYERS)
    has_experts = "moe" in str(f.values.get("model_type")) or f.values.get("model_type") == "qwen3_next"
    sparse = sparse_layers(f, model.depth) if has_experts else [False] * model.depth
    for kind, has in zip(layer_kinds(f, model.depth, every(model.depth, step, "full", "linear")), sparse, strict=True):
        if kind not in ("full", "linear"):
            raise ValueError(f"{f.where}: layer_types has a layer of kind {kind!r}, which this family has not")
        model.add(full if kind == "full" else linear, moe(f, **_gated_shared(f)) if has else dense(f))
    if has_experts:
        f.neutral("intermediate_size")
    draft_modules(f, "mtp_num_hidden_layers")
    return model


def gpt_oss(f: Fields) -> Blueprint:
    """gpt-oss: windows and full attention in turn, a sink in each head, vectors added everywhere."""
    model = start(f)
    sizes = head_sizes(f, model.hidden, dim=64)
    window = f.size("sliding_window", default=128)
    more = {"sink": True, **biases(f, default=True)}
    for kind in layer_kinds(f, model.depth, every(model.depth, 2, "full", "sliding")):
        model.add(gqa(sizes, window_of(f, window, kind), **more), moe(f, inner=("intermediate_size",), biases=True))
    return model


def llama4(f: Fields) -> Blueprint:
    """Llama 4: chunks in three of four layers, the fourth sees all without rotation; experts in every n-th layer."""
    model = start(f)
    sizes = head_sizes(f, model.hidden)
    f.neutral("use_qk_norm", "attention_chunk_size", "no_rope_layers", "no_rope_layer_interval", "moe_layers")
    chunk = f.size("attention_chunk_size", default=8192)
    rope = f.sizes("no_rope_layers", most=1, length=model.depth)
    step = f.size("no_rope_layer_interval", default=4, most=MAX_LAYERS)
    rope = rope or [int((i + 1) % step != 0) for i in range(model.depth)]
    usual = ["chunked" if each else "full" for each in rope]
    apart = f.size("interleave_moe_layer_step", default=1, least=1, most=MAX_LAYERS)
    listed = f.sizes("moe_layers", most=MAX_LAYERS)
    sparse = set(range(apart - 1, model.depth, apart) if listed is None else listed)
    experts = moe(f, "sigmoid", inner=("intermediate_size",), shared=1)
    for i, kind in enumerate(layer_kinds(f, model.depth, usual)):
        table = gqa({**sizes, "rope_dim": sizes["rope_dim"] if rope[i] else 0}, **biases(f))
        if kind == "chunked":
            table = {**table, "kind": "chunked", "chunk": chunk}
        elif kind != "full":
            raise ValueError(f"{f.where}: layer_types has a layer of kind {kind!r}, which this family has not")
        plain = {"kind": "dense", "inner": f.size("intermediate_size_mlp", default=16384)}
        model.add(table, experts if i in sparse else plain)
    return model


def gemma4(f: Fields) -> Blueprint:
    """Gemma 4: other head sizes in full layers, whose keys may serve as values; experts beside a dense layer."""
    model = start(f, tied=True, norms=2)
    f.neutral("use_bidirectional_attention")
    f.only("num_kv_shared_layers", 0, why="layers that read the keys and values of earlier ones")
    f.only("hidden_size_per_layer_input", 0, why="an embedding of each layer")
    f.only("use_double_wide_mlp", False, why="wider feed-forward parts in layers that share keys and values")
    f.neutral("vocab_size_per_layer_input")
    if "hidden_size_per_layer_input" not in f.values:
        raise ValueError(f"{f.where}: hidden_size_per_layer_input is missing; the class's default of 256 is not known")
    sizes, bias = head_sizes(f, model.hidden, dim=256), biases(f)
    same = f.flag("attention_k_eq_v")
    wide = _wide_heads(f, sizes, same)
    window = f.size("sliding_window", default=512)
    usual = every(model.depth, 6, "full", "sliding")
    usual[-1] = "full"
    ffn = dense(f)
    if f.flag("enable_moe_block"):
        ffn = moe(f, beside=ffn["inner"], scales=True)
    order = layer_kinds(f, model.depth, usual)
    if order[-1] != "full":
        raise ValueError(f"{f.where}: the last of layer_types should be full_attention in this family")
    for kind in order:
        cut = window_of(f, window, kind)
        table = gqa(wide if cut is None else sizes, cut, qk_norm=True, **bias)
        model.add({**table, "shares_values": True} if same and cut is None else table, ffn)
    return model


def _wide_heads(f: Fields, sizes: dict[str, Any], same: bool) -> dict[str, Any]:
    width = f.size("global_head_dim", default=512)
    listed = f.optional("num_global_key_value_heads")
    kv = (listed or sizes["kv_heads"]) if same else sizes["kv_heads"]
    if sizes["heads"] % kv:
        raise ValueError(
            f"{f.where}: num_attention_heads = {sizes['heads']} don't divide among num_global_key_value_heads = {kv}"
        )
    return {**sizes, "qk_dim": width, "v_dim": width, "kv_heads": kv}


def minimax_m2(f: Fields) -> Blueprint:
    """MiniMax-M2: one norm over all heads of queries and one over all of keys; experts everywhere."""
    model = start(f)
    sizes = head_sizes(f, model.hidden, dim=128)
    f.only("use_qk_norm", True, why="norms of queries and keys")
    f.only("qk_norm_type", "per_layer", why="norms of queries and keys")
    f.only("shared_intermediate_size", 0, why="an expert that every token visits")
    f.word("scoring_func", among=("sigmoid",), default="sigmoid")
    experts = moe(f, "sigmoid", inner=("intermediate_size",), bias=f.flag("use_routing_bias", default=True))
    for _ in range(model.depth):
        model.add(gqa(sizes, qk_norm_whole=True), experts)
    f.only("layer_types", ["full_attention"] * model.depth, why="all layers see all tokens")
    f.only("attn_type_list", [1] * model.depth, why="all layers see all tokens")
    f.neutral("use_mtp", "mtp_transformer_layers")
    draft_modules(f, "num_mtp_modules")
    return model


def mimo_v2(f: Fields) -> Blueprint:
    """MiMo-V2: windows with sinks beside full layers, each kind with heads of its own."""
    model = start(f)
    old = f.values.get("model_type") == "mimo_v2_flash"
    sizes = _value_heads(f, head_sizes(f, model.hidden), "")
    swa = _value_heads(f, {**sizes, **_swa(f, sizes, old)}, "swa_")
    f.only("add_full_attention_sink_bias", False, why="a sink in each head of full layers")
    sink = f.flag("add_swa_attention_sink_bias", default=True)
    f.neutral("attention_chunk_size")
    bias = biases(f, output=False)
    window = f.size("sliding_window", "sliding_window_size", default=128)
    pattern = f.sizes("hybrid_layer_pattern", most=1, length=model.depth)
    if pattern is None and not f.has("layer_types"):
        raise ValueError(f"{f.where}: hybrid_layer_pattern (or layer_types) is missing")
    usual = ["sliding" if each else "full" for each in pattern or ()]
    f.word("scoring_func", among=("sigmoid",), default="sigmoid")
    experts = moe(f, "sigmoid", bias=selection_bias(f), shared=shared_experts(f))
    for kind, has in zip(layer_kinds(f, model.depth, usual), dense_first(f, model.depth), strict=True):
        cut = window_of(f, window, kind)
        table = gqa(sizes, **bias) if cut is None else gqa(swa, cut, sink=sink, **bias)
        model.add(table, experts if has else dense(f))
    return model


def _swa(f: Fields, sizes: dict[str, Any], old: bool) -> dict[str, Any]:
    kv = f.size("swa_num_key_value_heads", default=2 * sizes["kv_heads"] if old else sizes["kv_heads"])
    count = f.size("swa_num_attention_heads", default=sizes["heads"])
    if count % kv:
        raise ValueError(f"{f.where}: swa_num_attention_heads = {count} don't divide among {kv} KV heads")
    return {"kv_heads": kv, "heads": count, "qk_dim": f.size("swa_head_dim", default=sizes["qk_dim"])}


def _value_heads(f: Fields, sizes: dict[str, Any], prefix: str) -> dict[str, Any]:
    known = f.size("v_head_dim", default=sizes["v_dim"])
    return {**sizes, "v_dim": f.size(f"{prefix}v_head_dim", default=known)}


def glm4_moe(f: Fields) -> Blueprint:
    """GLM-4.5 to 4.7, dots.llm1 and Hy3: dense layers first, then experts with one that all tokens visit."""
    model_type = f.values.get("model_type")
    model = start(f)
    sizes = head_sizes(f, model.hidden)
    norm = f.flag("use_qk_norm") if model_type == "glm4_moe" else True
    bias = biases(f, output=model_type != "glm4_moe")
    default = {"glm4_moe": 1, "hy_v3": 1}.get(str(model_type), 0)
    f.only("mlp_bias", False, why="vectors added in the feed-forward layers")
    f.word("scoring_func", among=("sigmoid",), default="sigmoid")
    table = gqa(sizes, qk_norm=norm, **bias)
    experts = moe(f, "sigmoid", bias=selection_bias(f), shared=shared_experts(f))
    for has in dense_first(f, model.depth, default):
        model.add(table, experts if has else dense(f))
    model.add_mtp(f.size("num_nextn_predict_layers", default=0, least=0, most=64), table, experts)
    return model


def ernie_moe(f: Fields) -> Blueprint:
    """ERNIE 4.5: experts from one layer to another, every n-th; shared ones side by side."""
    f.only("use_bias", False, why="vectors added in all matrices")
    model = start(f, tied=True)
    sizes = head_sizes(f, model.hidden)
    first = f.size("moe_layer_start_index", default=1, least=0, most=MAX_LAYERS)
    last = f.size("moe_layer_end_index", default=-1, least=-1, most=MAX_LAYERS)
    last = model.depth - 1 if last == -1 else last
    step = f.size("moe_layer_interval", default=1, most=MAX_LAYERS)
    shared = f.size("moe_num_shared_experts", default=2, least=0, most=MAX_LAYERS)
    f.neutral("moe_use_aux_free", "moe_capacity", "moe_gate", "moe_norm_gate_logits")
    experts = moe(f, bias=True, shared=shared)
    for i in range(model.depth):
        has = (i + 1) % step == 0 and first <= i <= last
        model.add(gqa(sizes), experts if has else dense(f))
    return model
