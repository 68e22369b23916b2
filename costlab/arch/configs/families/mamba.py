"""Families of Mamba-2 layers that each have a feed-forward part too: Granite 4 and Bamba."""

from __future__ import annotations

from costlab.arch.configs.blueprint import Blueprint, KindTable, start
from costlab.arch.configs.fields import MAX_LAYERS, Fields
from costlab.arch.configs.parts import biases, dense, gqa, head_sizes, moe

_WORDS = {"linear_attention": "linear", "mamba": "linear", "full_attention": "full", "attention": "full"}


def granite_hybrid(f: Fields) -> Blueprint:
    """Granite 4: Mamba-2, some layers of attention; a part that all tokens visit, with or without experts."""
    model = start(f)
    rotates = f.word("position_embedding_type", among=("rope", "nope"), default="nope") == "rope"
    sizes = head_sizes(f, model.hidden)
    full = gqa({**sizes, "rope_dim": sizes["rope_dim"] if rotates else 0}, **biases(f))
    tables = {"full": full, "linear": _mamba(f, model.hidden)}
    ffn = _granite_experts(f)
    words = f.words("layer_types", "layers_block_type", among=_WORDS, length=model.depth)
    for kind in words or ["linear"] * model.depth:
        model.add(tables[kind], ffn)
    return model


def _granite_experts(f: Fields) -> KindTable:
    if f.optional("num_local_experts", least=0):
        shared = f.size("shared_intermediate_size")
        return moe(f, inner=("intermediate_size",), shared=1, shared_inner=shared)
    f.neutral("intermediate_size", "num_experts_per_tok")
    return dense(f, "shared_intermediate_size")


def bamba(f: Fields) -> Blueprint:
    """Bamba: Mamba-2, attention in the layers that the file lists; a dense part in each."""
    model = start(f)
    f.only("mlp_bias", False, why="vectors added in the feed-forward layers")
    tables = {"full": gqa(head_sizes(f, model.hidden), **biases(f)), "linear": _mamba(f, model.hidden)}
    listed = set(f.sizes("attn_layer_indices", most=MAX_LAYERS) or ())
    usual = ["full" if i in listed else "linear" for i in range(model.depth)]
    for name in ("layers_block_type", "layer_types"):
        found = f.words(name, among=_WORDS, length=model.depth)
        if found is not None and found != usual:
            f.refuse(name, f.values[name], "what attn_layer_indices says")
    for kind in usual:
        model.add(tables[kind], dense(f))
    return model


def _mamba(f: Fields, hidden: int) -> KindTable:
    """Return the table of a Mamba-2 layer, `mamba_expand` times as wide as the model.

    Raises:
        ValueError: heads that do not make that width, or that don't divide into groups.
    """
    f.only("mamba_proj_bias", False, why="vectors added in matrices")
    width, count, groups = hidden * f.size("mamba_expand"), f.size("mamba_n_heads"), f.size("mamba_n_groups")
    given = f.values.get("mamba_d_head", "auto")
    dim = width // count if given == "auto" else f.size("mamba_d_head")
    f.neutral("mamba_d_head")
    if dim * count != width:
        f.refuse("mamba_d_head", given, f"such that mamba_n_heads = {count} of them make {width}, or auto")
    if count % groups:
        f.refuse("mamba_n_groups", groups, f"a divisor of mamba_n_heads = {count}")
    return {
        "kind": "mamba2", "heads": count, "head_dim": dim, "state_dim": f.size("mamba_d_state"), "groups": groups,
        "conv_width": f.size("mamba_d_conv"), "conv_bias": f.flag("mamba_conv_bias", default=True),
    }  # fmt: skip
