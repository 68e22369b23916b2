"""Small dimensions of every attention kind, and how tests run a layer in pieces."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from costlab import arch
from costlab.nn import attention

HIDDEN = 48
#: How near one another two ways of reading come in FP32; a delta net's norm divides by answers that may be small.
NEAR = {"delta": {"rtol": 0, "atol": 1e-4}}


def fp32(count: int) -> arch.Layout:
    return ((count, "fp32"),)


_FULL: dict[str, Any] = {"heads": 4, "rope_dim": 16, "qk_dim": 16, "v_dim": 16, "entry": fp32(32)}
_MLA: dict[str, Any] = {"heads": 4, "rope_dim": 8, "nope_dim": 16, "v_dim": 16, "q_rank": 32, "kv_rank": 32}
_V4: dict[str, Any] = {"heads": 4, "rope_dim": 8, "head_dim": 32, "q_rank": 24, "groups": 2, "group_dim": 16}
_V4 |= {"window": 6, "entry": fp32(32)}
_INDEX: dict[str, Any] = {"index_heads": 8, "index_dim": 16, "index_key": fp32(16)}

MHA = arch.FullAttention(kv_heads=4, **_FULL)
GQA = arch.FullAttention(kv_heads=2, **_FULL)
MQA = arch.FullAttention(kv_heads=1, **_FULL)
SLIDING = arch.SlidingWindow(
    heads=4, kv_heads=2, rope_dim=8, qk_dim=24, v_dim=16, entry=((24, "fp32"), (16, "fp32")), window=5, sink=True
)
MLA = arch.MLA(entry=fp32(40), **_MLA)
DSA = arch.DSA(entry=fp32(40), top_k=6, **_MLA, **_INDEX)
WINDOW = arch.SharedWindow(**_V4)
HCA = arch.HCA(block=8, **_V4)
DELTA = arch.GatedDelta(heads=4, key_heads=2, key_dim=16, value_dim=12, conv_width=4, conv_dtype="fp32")
CSA = arch.CSA(block=4, top_k=3, **_V4, **_INDEX)

KINDS: dict[str, arch.Attention] = {
    "MHA": MHA,
    "GQA": GQA,
    "MQA": MQA,
    "sliding": SLIDING,
    "MLA": MLA,
    "DSA": DSA,
    "window": WINDOW,
    "HCA": HCA,
    "CSA": CSA,
    "delta": DELTA,
}


def hidden_states(tokens: int, batch: int = 2, seed: int = 1, hidden: int = HIDDEN) -> Tensor:
    return torch.randn(batch, tokens, hidden, generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def in_pieces(layer: Any, hidden: Tensor, sizes: Sequence[int]) -> Tensor:
    """Read hidden states in chunks of the given sizes, through one cache, and join the outputs."""
    ours = isinstance(layer, attention.CachedLayer)
    cache = layer.new_cache(hidden.shape[0], hidden.shape[1]) if ours else layer.new_cache()
    return torch.cat([layer(chunk, cache) for chunk in hidden.split(list(sizes), 1)], 1)


@torch.no_grad()
def decoded(layer: Any, hidden: Tensor) -> Tensor:
    return in_pieces(layer, hidden, [1] * hidden.shape[1])
