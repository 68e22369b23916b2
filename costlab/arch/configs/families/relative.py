"""Inkling-2: windows and full attention that know distances by a table, short convolutions everywhere."""

from __future__ import annotations

from typing import Any

from costlab.arch.configs.blueprint import Blueprint, KindTable, start
from costlab.arch.configs.fields import Fields
from costlab.arch.configs.parts import every, gqa, head_sizes, moe

_WORDS = {"hybrid": "full", "hybrid_sliding": "sliding"}


def inkling2(f: Fields) -> Blueprint:
    """Inkling-2: five windows, then full attention whose keys and values have inputs of their own; experts only."""
    model = start(f, norms=2)  # each norm has beside it the vector that weighs earlier blocks
    f.only("tie_word_embeddings", False, why="the head is no embedding table in this family")
    f.only("number_of_conv_states", 4, why="more short convolutions in a layer")
    f.word("scoring_func", among=("sigmoid",), default="sigmoid")
    f.neutral("unpadded_vocab_size", "log_scaling_n_floor", "log_scaling_alpha", "qk_l2_clip_threshold", "route_scale",
              "rel_l2_clip_threshold", "n_layers_per_attn_res_block", "mlp_gate_softcap", "mlp_up_softcap")  # fmt: skip
    window = f.size("sliding_window_size", "sliding_window")
    tables = {
        "full": _attention(f, model.hidden, head_sizes(f, model.hidden), None),
        "sliding": _attention(f, model.hidden, head_sizes(f, model.hidden, prefix="swa_"), window),
    }
    experts = moe(f, "sigmoid", inner=("moe_intermediate_size", "intermediate_size"), bias=True)
    usual = every(model.depth, 6, "full", "sliding")
    for kind in f.words("layer_types", among=_WORDS, length=model.depth) or usual:
        model.add(tables[kind], experts)
    f.assumed.append("the work of weighing earlier blocks' outputs is left out; their vectors count as norms")
    return model


def _attention(f: Fields, hidden: int, sizes: dict[str, Any], window: int | None) -> KindTable:
    keys = 2 * sizes["kv_heads"] * sizes["qk_dim"]
    relative: dict[str, Any] = {
        "dim": f.size("d_rel"), "extent": window or f.size("rel_extent"),
        "conv_width": f.size("conv_kernel_size", "sconv_kernel_size", most=4096), "conv_channels": keys + 2 * hidden,
    }  # fmt: skip
    own = {"own_inputs": True} if window is None else {}
    return gqa({**sizes, "rope_dim": 0}, window, gate_dim=sizes["v_dim"], relative={**relative, **own})
