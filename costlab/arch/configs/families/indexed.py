"""Families of latents with an indexer that have more than DeepSeek-V3.2: Mistral-Large-4, Hy4 and dots3."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from costlab.arch.configs.blueprint import CACHED, Blueprint, KindTable, start
from costlab.arch.configs.families.hybrid import ranked
from costlab.arch.configs.families.latent import borrowed_indexers
from costlab.arch.configs.fields import MAX_LAYERS, Fields
from costlab.arch.configs.parts import (
    dense,
    dense_first,
    draft_modules,
    indexed,
    mla,
    moe,
    selection_bias,
    shared_experts,
)

#: Words for a layer whose indexer picks its tokens.
_SPARSE = ("indexed_attention", "deepseek_sparse_attention", "full_attention")


def mistral_large4(f: Fields) -> Blueprint:
    """Mistral-Large-4: queries by one matrix, no rotation in every fourth layer, latents that layers may share."""
    model = start(f)
    _no_bias(f)
    if f.has("q_lora_rank"):
        f.refuse("q_lora_rank", f.values["q_lora_rank"], "absent: this family makes queries by one matrix")
    f.only("layer_types", *([word] * model.depth for word in _SPARSE), why="layers of other kinds")
    rotated = {**indexed(f, mla(f)), "head_scale": True, "index_extras": True}
    rotates = _rotates(f, model.depth)
    sources = _sources(f, rotates)
    experts = moe(f, shared=shared_experts(f))
    borrowed = borrowed_indexers(f, model.depth)
    for i, has in enumerate(dense_first(f, model.depth, 1)):
        table = rotated if rotates[i] else _unrotated(rotated)
        model.add(_lent(table, sources[i] != i, borrowed[i]), experts if has else dense(f))
    return model


def _no_bias(f: Fields) -> None:
    f.only("attention_bias", False, why="vectors added in attention")


def _rotates(f: Fields, depth: int) -> list[bool]:
    step = f.size("no_rope_layer_interval", default=4, most=MAX_LAYERS)
    listed = f.sizes("no_rope_layers", most=1, length=depth, longer=True)
    return [bool(each) for each in listed or [(i + 1) % step != 0 for i in range(depth)]]


def _sources(f: Fields, rotates: list[bool]) -> list[int]:
    """Return for each layer the one whose latents it reads, which is itself or one before it of its kind."""
    depth = len(rotates)
    sources = f.sizes("kv_source_layers", most=depth - 1, length=depth) or list(range(depth))
    for i, source in enumerate(sources):
        if source > i or sources[source] != source or rotates[source] != rotates[i]:
            f.refuse(f"kv_source_layers[{i}]", source, "itself, or a layer before it that makes latents of its kind")
    return sources


def _unrotated(table: Mapping[str, Any]) -> KindTable:
    width = table["nope_dim"] + table["rope_dim"]
    return {**table, "nope_dim": width, "rope_dim": 0, "entry": ((table["kv_rank"], CACHED),)}


def _lent(table: KindTable, reads_kv: bool, reads_index: bool) -> KindTable:
    flags = {"owns_kv": False} if reads_kv else {}
    return {**table, **flags, **({"owns_index": False} if reads_index else {})}


def hy_v4(f: Fields) -> Blueprint:
    """Hy4: latents with an output gate and sinks, indexers that later layers share, streams that do not mix."""
    model = start(f, streams=f.size("hc_mult", default=4, least=2, most=64))
    model.streams_mixed = False
    _no_bias(f)
    for name in ("enable_ihc", "gated_mla", "learnable_sink", "use_mla", "use_dsa"):
        f.only(name, True, why="a part that all files of this family have")
    f.only("gating_type", "elementwise", why="another output gate")
    f.only("layer_types", *([word] * model.depth for word in _SPARSE), why="layers of other kinds")
    f.word("scoring_func", among=("sigmoid",), default="sigmoid")
    f.neutral("hc_magnitude", "learnable_sink_init", "enable_lm_head_fp32", "bitwise_backward_align", "mtp_loss_factor")
    if not f.has("indexer_types"):
        raise ValueError(f"{f.where}: indexer_types is missing")
    table = ranked(f, mla(f))
    table = {**indexed(f, table), "gate_dim": table["v_dim"], "sink": True}
    experts = moe(f, "sigmoid", bias=selection_bias(f), shared=shared_experts(f))
    for shared, has in zip(borrowed_indexers(f, model.depth), dense_first(f, model.depth, 1), strict=True):
        model.add(_lent(table, False, shared), experts if has else dense(f))
    draft_modules(f, "num_nextn_predict_layers")
    return model


_DOTS_WORDS = {"indexed_attention": "indexed", "full_attention": "full", "sliding_attention": "sliding"}

#: What a layer with a window has of its own: the name in a file, its name here, transformers' default.
_DOTS_OWN = {
    "num_attention_heads": ("heads", 64),
    "q_lora_rank": ("q_rank", 1024),
    "kv_lora_rank": ("kv_rank", 1024),
    "qk_nope_head_dim": ("nope_dim", 192),
    "qk_rope_head_dim": ("rope_dim", 64),
    "v_head_dim": ("v_dim", 128),
}


def dots3(f: Fields) -> Blueprint:
    """dots3: latents that an indexer picks, and windows over latents with sizes of their own; a gate for each head."""
    model = start(f)
    _no_bias(f)
    f.only("mlp_bias", False, why="vectors added in the feed-forward layers")
    f.word("scoring_func", among=("sigmoid",), default="sigmoid")
    f.neutral("vision_config", "audio_config", "swa_rope_theta", "mtp_layer_types")
    whole = {**ranked(f, mla(f)), "gate_dim": 1, "rope_norm": True}
    order = _dots_order(f, model.depth)
    cut = {**whole, **_dots_window(f, order, whole)}
    shared, inner = shared_experts(f), f.optional(*_DOTS_SHARED)
    experts = moe(f, "sigmoid", bias=selection_bias(f), shared=shared, shared_inner=inner if shared else None)
    kinds = {"full": whole, "indexed": indexed(f, whole), "sliding": cut}
    for kind, has in zip(order, dense_first(f, model.depth, 1), strict=True):
        model.add(kinds[kind], experts if has else dense(f))
    draft_modules(f, "num_nextn_predict_layers")
    return model


_DOTS_SHARED = ("shared_experts_intermediate_size", "moe_shared_expert_intermediate_size")


def _dots_order(f: Fields, depth: int) -> list[str]:
    """Return each layer's kind: "full_attention" has an indexer unless `use_dsa` or `per_layer_config` says not."""
    sparse = f.flag("use_dsa", default=not f.has("per_layer_config"))
    f.only("use_sliding_window", True, why="layers without windows")
    words = f.words("layer_types", among=_DOTS_WORDS, length=depth)
    if words is None:
        words = ["full" if i < 2 or i % 4 == 1 else "sliding" for i in range(depth)]
    plain = {"full": "indexed"} if sparse else {"indexed": "full"} if f.has("use_dsa") else {}
    return [plain.get(word, word) for word in words]


def _dots_window(f: Fields, order: list[str], whole: Mapping[str, Any]) -> dict[str, Any]:
    window = f.size("sliding_window", "sliding_window_size", default=512, why="transformers' default")
    f.neutral("swa_num_key_value_heads", "swa_head_dim")
    listed = f.inner("per_layer_config")
    if listed is None:
        found = {ours: f.size(f"swa_{theirs}", default=usual) for theirs, (ours, usual) in _DOTS_OWN.items()}
    else:
        f.neutral(*(f"swa_{theirs}" for theirs in _DOTS_OWN))
        found = _dots_listed(listed, order, whole)
    kv, rope = found["kv_rank"], found["rope_dim"]
    return {**found, "entry": ((kv, CACHED), (rope, CACHED)), "window": window}


def _dots_listed(listed: Fields, order: list[str], whole: Mapping[str, Any]) -> dict[str, Any]:
    """Return what layers with a window have of their own; what is left out is as in the other layers."""
    at = {i for i, kind in enumerate(order) if kind == "sliding"}
    if not all(name.isdecimal() for name in listed.values) or {int(name) for name in listed.values} != at:
        raise ValueError(f"{listed.where} should name the layers of sliding attention, and no others")
    found: list[dict[str, Any]] = []
    for name in listed.values:
        inner = listed.inner(name) or Fields({}, listed.where)
        inner.neutral("num_key_value_heads", "head_dim")
        found.append({ours: inner.size(theirs, default=whole[ours]) for theirs, (ours, _) in _DOTS_OWN.items()})
        inner.finish()
    if any(each != found[0] for each in found):
        raise ValueError(f"{listed.where} should give all layers of sliding attention the same sizes")
    return found[0] if found else {ours: whole[ours] for ours, _ in _DOTS_OWN.values()}
