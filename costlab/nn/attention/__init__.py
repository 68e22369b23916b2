"""Attention kinds that run: one call prefills, one call appends a token, and what is cached is measured in bytes.

>>> import torch
>>> from costlab import arch
>>> from costlab.nn import attention
>>> dims = arch.MLA(heads=4, rope_dim=8, entry=((40, "fp32"),), nope_dim=16, v_dim=16, q_rank=32, kv_rank=32)
>>> layer = attention.build_layer(dims, hidden=64)
>>> cache = layer.new_cache(capacity=100)
>>> prompt = layer(torch.zeros(1, 99, 64), cache)
>>> layer(torch.zeros(1, 1, 64), cache).shape, cache.nbytes()
(torch.Size([1, 1, 64]), {'main': 16000})

Chapter: attention
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from costlab import arch
from costlab.nn.attention.compressed import CSA, HCA, GroupedOutput, SharedWindow
from costlab.nn.attention.compressor import Compressor
from costlab.nn.attention.core import AttentionLayer, CachedLayer, KeySet, RMSNorm, attend, unordered_top_k, weigh
from costlab.nn.attention.delta import GatedDelta
from costlab.nn.attention.dsa import DSA
from costlab.nn.attention.formats import EntryFormat, fp4_indices, fp4_values
from costlab.nn.attention.full import Full
from costlab.nn.attention.indexer import IndexQuery, hadamard
from costlab.nn.attention.kv import Cache, KVTable, RingBuffer
from costlab.nn.attention.mla import MLA
from costlab.nn.attention.rope import Rope, Yarn, rotate
from costlab.nn.attention.states import Checkpoint, StateTable, checkpoint, resume

__all__ = [
    "CSA", "DSA", "HCA", "LAYERS", "MLA", "AttentionLayer", "Cache", "CachedLayer", "Checkpoint", "Compressor",
    "EntryFormat", "Full", "GatedDelta", "GroupedOutput", "IndexQuery", "KVTable", "KeySet", "RMSNorm", "RingBuffer",
    "Rope", "SharedWindow", "StateTable", "Yarn", "attend", "build_layer", "checkpoint", "fp4_indices", "fp4_values",
    "hadamard", "resume", "rotate", "unordered_top_k", "weigh",
]  # fmt: skip

#: The running layer of each attention kind of `costlab.arch`.
LAYERS: Mapping[type[arch.Attention], type[CachedLayer]] = {
    arch.FullAttention: Full,
    arch.SlidingWindow: Full,
    arch.MLA: MLA,
    arch.DSA: DSA,
    arch.SharedWindow: SharedWindow,
    arch.HCA: HCA,
    arch.CSA: CSA,
    arch.GatedDelta: GatedDelta,
}


def build_layer(dims: arch.Attention, hidden: int, rope: Rope | None = None, **options: Any) -> CachedLayer:
    """Build the running layer of an attention kind, with the dimensions that `costlab.arch` counts.

    Args:
        dims: e.g. `arch.load("deepseek-v4-flash").layers[2][0]`.
        hidden: width of the layer's input and output.
        rope: rotary embedding, for kinds that turn; None: theta 10000.
        options: what the layer's class takes besides, e.g. `form="naive"` for MLA.

    Raises:
        ValueError: dimensions that do not fit together, an option that the running layer lacks, named, or a rotary
            embedding for a kind that turns nothing.
        TypeError: a kind without a running layer.
    """
    if type(dims) not in LAYERS:
        known = ", ".join(kind.__name__ for kind in LAYERS)
        raise TypeError(f"no running layer for {type(dims).__name__}; known: {known}")
    make: Any = LAYERS[type(dims)]
    if left := arch.extras(dims).keys() - make.flags:
        raise ValueError(f"no running layer for {type(dims).__name__} with {', '.join(sorted(left))}")
    if issubclass(make, AttentionLayer):
        options["rope"] = rope or Rope()
    elif rope is not None:
        raise ValueError(f"{type(dims).__name__} has no positions to turn: leave rope out")
    layer: CachedLayer = make(dims, hidden, **options)
    return layer
