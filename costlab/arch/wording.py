"""What a model's config.json says of its attention, written from the model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from costlab.arch.attention import CSA, MLA, Attention, FullAttention, SlidingWindow
from costlab.arch.loading import load
from costlab.arch.model import Model


def attention_config(model: Model | str) -> dict[str, Any]:
    """Return the sizes of a model's attention, in the words of configuration files and the same for all makers.

    Args:
        model: one of grouped queries, with or without windows (Llama, MiMo), of latent attention (DeepSeek-V3), or of
            compressed attention (DeepSeek-V4).

    Raises:
        ValueError: a model whose attention is of another kind.
    """
    loaded = load(model)
    kinds = [attention for attention, _ in loaded.layers]
    said: dict[str, Any] = {"num_hidden_layers": len(kinds)}
    latent, csa = (next((kind for kind in kinds if isinstance(kind, of)), None) for of in (MLA, CSA))
    if isinstance(latent, MLA) and all(kind == latent for kind in kinds):
        return said | _latent(latent)
    shapes = {type(kind): kind for kind in kinds}
    if shapes.keys() <= {FullAttention, SlidingWindow} and all(kind == shapes[type(kind)] for kind in kinds):
        grouped = [kind for kind in shapes.values() if isinstance(kind, FullAttention)]
        if len({(kind.heads, kind.qk_dim, kind.v_dim) for kind in grouped}) == 1:  # only key-value heads may differ
            return said | _grouped(kinds)
    if not isinstance(csa, CSA) or loaded.mtp_layer is None:
        labels = ", ".join(dict.fromkeys(kind.label for kind in kinds))
        raise ValueError(
            f"{loaded.name}: attention of kind {labels}, should be grouped, latent or compressed of one size"
        )
    ratios = [getattr(kind, "block", 0) for kind in [*kinds, loaded.mtp_layer[0]]]
    return said | _compressed(csa) | {"compress_ratios": ratios}


def _latent(kind: MLA) -> dict[str, Any]:
    return {
        "num_attention_heads": kind.heads,
        "kv_lora_rank": kind.kv_rank,
        "qk_nope_head_dim": kind.nope_dim,
        "qk_rope_head_dim": kind.rope_dim,
        "v_head_dim": kind.v_dim,
    }


def _grouped(kinds: Sequence[Attention]) -> dict[str, Any]:
    windows = [kind for kind in kinds if isinstance(kind, SlidingWindow)]
    full = next(kind for kind in kinds if type(kind) is FullAttention)
    words = ["sliding_attention" if kind in windows else "full_attention" for kind in kinds]
    return {
        "num_attention_heads": full.heads,
        "num_key_value_heads": full.kv_heads,
        "swa_num_key_value_heads": windows[0].kv_heads if windows else None,
        "head_dim": full.qk_dim,
        "v_head_dim": full.v_dim,
        "sliding_window": windows[0].window if windows else None,
        "layer_types": words,
    }


def _compressed(kind: CSA) -> dict[str, Any]:
    return {
        "num_attention_heads": kind.heads,
        "head_dim": kind.head_dim,
        "qk_rope_head_dim": kind.rope_dim,
        "sliding_window": kind.window,
        "index_n_heads": kind.index_heads,
        "index_head_dim": kind.index_dim,
        "index_topk": kind.top_k,
    }
