"""Families whose layers are mostly recurrent states, each layer one part only."""

from __future__ import annotations

from typing import Any

from costlab.arch.configs.blueprint import Blueprint, start
from costlab.arch.configs.fields import MAX_LAYERS, Fields
from costlab.arch.configs.parts import draft_modules, gqa, head_sizes, layer_kinds, moe, shared_experts, state_dtype

_NONE = {"kind": "none"}


def nemotron_h(f: Fields) -> Blueprint:
    """Nemotron-H and Nemotron-3: each layer is Mamba-2, attention, a dense part or experts; two matrices an expert."""
    letters = {"M": "mamba", "*": "full", "E": "moe", "-": "mlp"}
    words = {"linear_attention": "mamba", "mamba": "mamba", "full_attention": "full", "attention": "full",
             "moe": "moe", "mlp": "mlp"}  # fmt: skip
    pattern = f.values.get("hybrid_override_pattern")
    f.neutral("hybrid_override_pattern", "mtp_hybrid_override_pattern", "mtp_layers_block_type")
    if isinstance(pattern, str) and set(pattern) <= set(letters) and 0 < len(pattern) <= MAX_LAYERS:
        order = [letters[letter] for letter in pattern]
    elif pattern is not None:
        f.refuse("hybrid_override_pattern", pattern, "a text of M, E, * and -, a letter a layer")
    else:
        order = [words[w] for w in f.words("layers_block_type", among={w: w for w in words}, length=_count(f)) or ()]
    if not order:
        raise ValueError(f"{f.where}: hybrid_override_pattern (or layers_block_type) is missing")
    if f.size("num_hidden_layers", default=len(order), most=MAX_LAYERS) != len(order):
        raise ValueError(f"{f.where}: num_hidden_layers should be the {len(order)} of hybrid_override_pattern")
    f.values = {**f.values, "num_hidden_layers": len(order)}
    model = start(f)
    f.only("tie_word_embeddings", False, why="the head is no embedding table in this family")
    f.only("n_shared_experts", 1, 0, why="several experts that every token visits")
    for name in ("use_bias", "attention_bias", "mlp_bias", "mamba_proj_bias"):
        f.only(name, False, why="vectors added in matrices")
    f.neutral("sliding_window", "expand", "moe_shared_expert_overlap", "n_groups")
    parts = _parts(f, model.hidden)
    for each in order:
        model.add(*parts[each]())
    draft_modules(f, "num_nextn_predict_layers")
    for name in ("intermediate_size", "moe_intermediate_size", "n_routed_experts"):
        f.neutral(name)
    return model


def _count(f: Fields) -> int:
    listed = f.values.get("layers_block_type")
    return len(listed) if isinstance(listed, list) else 0


def _parts(f: Fields, hidden: int) -> dict[str, Any]:
    groups = f.size("n_groups")
    mamba: dict[str, Any] = {
        "kind": "mamba2", "heads": f.size("mamba_num_heads"), "head_dim": f.size("mamba_head_dim"),
        "state_dim": f.size("ssm_state_size"), "groups": groups, "conv_width": f.size("conv_kernel"),
        "conv_bias": f.flag("use_conv_bias", default=True), "state_dtype": state_dtype(f, "mamba_ssm_cache_dtype"),
    }  # fmt: skip
    if mamba["heads"] % groups:
        raise ValueError(f"{f.where}: mamba_num_heads = {mamba['heads']} don't divide into n_groups = {groups}")
    full = gqa(head_sizes(f, hidden))

    def experts() -> Any:
        shared = shared_experts(f)
        inner = f.size("moe_shared_expert_intermediate_size") if shared else 0
        latent = f.optional("moe_latent_size")
        table = moe(f, "sigmoid", bias=True, latent=latent, shared=shared, shared_inner=inner)
        return {**table, "gated": False}

    return {
        "mamba": lambda: (mamba, _NONE),
        "full": lambda: (full, _NONE),
        "mlp": lambda: (_NONE, {"kind": "dense", "inner": f.size("intermediate_size"), "gated": False}),
        "moe": lambda: (_NONE, experts()),
    }


def minimax(f: Fields) -> Blueprint:
    """MiniMax-Text-01: lightning attention, in some layers full attention; experts everywhere."""
    model = start(f)
    sizes = head_sizes(f, model.hidden)
    f.neutral("block_size")
    for name in ("full_attn", "linear_attn", "mlp"):
        f.neutral(f"{name}_alpha_factor", f"{name}_beta_factor")
    usual = ["full" if (i + 1) % 2 else "linear" for i in range(model.depth)]
    linear = {"kind": "lightning", "heads": sizes["heads"], "head_dim": sizes["qk_dim"]}
    for kind in layer_kinds(f, model.depth, usual):
        if kind not in ("full", "linear"):
            raise ValueError(f"{f.where}: layer_types has a layer of kind {kind!r}, which this family has not")
        model.add(gqa(sizes) if kind == "full" else linear, moe(f, inner=("intermediate_size",)))
    return model
