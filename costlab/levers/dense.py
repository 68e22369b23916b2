"""The models before the levers: every parameter used, full attention in every layer, sixteen bits everywhere.

>>> from costlab import arch, levers
>>> pro = arch.load("deepseek-v4-pro")
>>> dense = levers.without_sparsity(pro)
>>> round(dense.params.active / pro.params.active)  # each token multiplies what few tokens did
32

Chapter: levers
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from costlab import arch, chips
from costlab.arch import Attention, FullAttention, Model, MoE
from costlab.arch.drafters import HEAD_DIM, KV_HEADS
from costlab.arch.experts import FeedForward
from costlab.catalog import FrozenDict, Routing


def without_sparsity(model: Model) -> Model:
    """Return a model whose tokens visit every expert: a dense model of the same parameters.

    Look-up tables, which multiply nothing, are left out.
    """
    layers = tuple((attention, _dense(ffn)) for attention, ffn in model.layers)
    record = dataclasses.replace(model.record, lookup=FrozenDict())
    mtp = model.mtp_layer and (model.mtp_layer[0], _dense(model.mtp_layer[1]))
    return dataclasses.replace(model, record=record, layers=layers, mtp_layer=mtp)


def _dense(ffn: FeedForward) -> FeedForward:
    if not isinstance(ffn, MoE):
        return ffn
    return dataclasses.replace(ffn, top_k=ffn.experts, routing=Routing("softmax"))


def spread_over(model: Model, chips: int) -> Model:
    """Return a dense model with each feed-forward layer cut into as many parts as there are chips.

    A part does the work of an expert that every token visits, so that a token is sent to each chip once and not once
    for each of the experts that lie there. A model whose tokens choose experts stays as it is.
    """

    def cut(ffn: FeedForward) -> FeedForward:
        if not isinstance(ffn, MoE) or ffn.top_k < ffn.experts or ffn.experts == chips:
            return ffn
        inner = max(1, round(ffn.experts * ffn.inner / chips))
        shared = (ffn.shared_inner or ffn.inner) if ffn.shared else None
        return dataclasses.replace(ffn, experts=chips, top_k=chips, inner=inner, shared_inner=shared)

    return _with_ffn(model, cut)


def _with_ffn(model: Model, change: Callable[[FeedForward], FeedForward]) -> Model:
    mtp = model.mtp_layer and (model.mtp_layer[0], change(model.mtp_layer[1]))
    return dataclasses.replace(model, layers=tuple((a, change(f)) for a, f in model.layers), mtp_layer=mtp)


def with_full_attention(model: Model) -> Model:
    """Return a model with grouped-query attention over all tokens in every layer that has attention.

    Heads of 128 dimensions, as many as make up the model's width, and eight of keys and values in sixteen bits: the
    form of Llama 3.1. All layers run for a prompt's tokens.
    """
    heads = max(1, model.record.hidden // HEAD_DIM // KV_HEADS) * KV_HEADS
    entry = ((HEAD_DIM, "bf16"), (HEAD_DIM, "bf16"))
    full = FullAttention(heads, rope_dim=HEAD_DIM, entry=entry, kv_heads=KV_HEADS, qk_dim=HEAD_DIM, v_dim=HEAD_DIM)

    def changed(attention: Attention) -> Attention:
        return attention if attention.kind == "none" else full

    record = dataclasses.replace(model.record, prefill_layers=None)
    mtp = model.mtp_layer and (changed(model.mtp_layer[0]), model.mtp_layer[1])
    return dataclasses.replace(
        model, record=record, layers=tuple((changed(a), f) for a, f in model.layers), mtp_layer=mtp
    )


def in_sixteen_bits(model: Model) -> Model:
    """Return a model whose weights, multiplications and cached entries have sixteen bits.

    An indexer's keys keep eight, as published runs keep them beside such entries; recurrent states stay as they are.
    """
    return chips.as_served(arch.load(model), "W16A16C16")


__all__ = ["in_sixteen_bits", "spread_over", "with_full_attention", "without_sparsity"]
