"""Multi-head, grouped-query and multi-query attention, over all tokens or a sliding window."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from costlab import arch
from costlab.nn.attention.core import (
    AttentionLayer,
    KeySet,
    RMSNorm,
    Span,
    Window,
    attend,
    check_rotary,
    linear,
    remember_window,
)
from costlab.nn.attention.kv import Cache, KVTable, RingBuffer
from costlab.nn.attention.rope import Rope


class Full(AttentionLayer[Window]):
    """Attention of `heads` query heads to `kv_heads` keys and values per token, rotary on the first channels.

    Keys and values may differ in width, and rotary embedding may cover only part of a head.

    Args:
        dims: `arch.FullAttention`, or `arch.SlidingWindow` for a window with or without sinks.
        hidden: width of input and output.
        rope: rotary embedding; channels pair as halves.
        value_scale: factor on values (MiMo-V2: 0.707).
        fused: decode with torch's fused kernel: the same within rounding and faster, but its FLOPs cannot be counted.
    """

    flags = frozenset({"gate_dim", "sink"})

    def __init__(
        self, dims: arch.FullAttention, hidden: int, rope: Rope, value_scale: float = 1.0, fused: bool = False
    ) -> None:
        super().__init__(hidden, rope)
        check_rotary(dims.rope_dim, dims.qk_dim, "qk_dim")
        self.dims = dims
        self.value_scale = value_scale
        self.fused = fused
        self.query = linear(hidden, dims.heads * dims.qk_dim)
        self.key = linear(hidden, dims.kv_heads * dims.qk_dim)
        self.value = linear(hidden, dims.kv_heads * dims.v_dim)
        self.gate = linear(hidden, dims.heads * dims.gate_dim) if dims.gate_dim else None
        self.output = linear(dims.heads * dims.v_dim, hidden)
        self.query_norm = RMSNorm(dims.qk_dim) if dims.qk_norm else nn.Identity()
        self.key_norm = RMSNorm(dims.qk_dim) if dims.qk_norm else nn.Identity()
        self.window = dims.window if isinstance(dims, arch.SlidingWindow) else None
        self.sink = nn.Parameter(torch.zeros(dims.heads)) if dims.sink else None

    def _tables(self, batch: int, capacity: int, device: torch.device) -> Mapping[str, KVTable]:
        width, lead = self.dims.qk_dim + self.dims.v_dim, (batch, self.dims.kv_heads)
        if self.window is None:
            return {"main": KVTable(self.dims.entry, width, lead, capacity, device)}
        return {"window": RingBuffer(self.dims.entry, width, lead, min(self.window, capacity), device)}

    def _remember(self, hidden: Tensor, positions: Span, cache: Cache) -> Window:
        keys = self.key_norm(self.key(hidden).unflatten(-1, (self.dims.kv_heads, -1)))
        keys = self._turn(keys, positions.at, self.dims.rope_dim, "halves", last=False)
        values = self.value(hidden).unflatten(-1, (self.dims.kv_heads, -1)) * self.value_scale
        entries = torch.cat([keys, values], -1).transpose(1, 2)  # (batch, kv_heads, n, qk_dim + v_dim)
        if self.window is not None:
            return remember_window(cache.ring("window"), entries)
        cache.tables["main"].append(entries)
        return Window(cache.tables["main"].read(cache.length, hidden.dtype), 0, cache.length)

    def _attend(self, hidden: Tensor, positions: Span, keys: Window) -> Tensor:
        dims, (batch, queries, _) = self.dims, hidden.shape
        q = self.query_norm(self.query(hidden).unflatten(-1, (dims.heads, -1)))
        q = self._turn(q, positions.at, dims.rope_dim, "halves", last=False)
        q = q.unflatten(2, (dims.kv_heads, -1)).transpose(1, 2).flatten(0, 1)  # (batch*kv_heads, n, group, qk_dim)
        entries, visible = keys.near(positions)
        k, v = entries.flatten(0, 1).split([dims.qk_dim, dims.v_dim], -1)
        scale = dims.qk_dim**-0.5 * self.rope.softmax_gain
        if self.fused and queries == 1 and self.sink is None:
            # one query: its group's heads can stand where queries stand, and share the keys
            out = F.scaled_dot_product_attention(q, k[:, None], v[:, None], scale=scale)
        else:
            out = attend(q, [KeySet(k, v, visible)], scale, self._sink(batch))
        out = out.unflatten(0, (batch, -1)).transpose(1, 2)  # (batch, queries, kv_heads, group, v_dim)
        if self.gate is not None:
            gate = self.gate(hidden).sigmoid().unflatten(-1, (dims.kv_heads, -1, dims.gate_dim))
            out = out * gate
        return self.output(out.reshape(batch, queries, -1))  # (batch, queries, hidden)

    def _sink(self, batch: int) -> Tensor | None:
        if self.sink is None:
            return None
        return self.sink.view(self.dims.kv_heads, 1, -1).repeat(batch, 1, 1)  # (batch*kv_heads, 1, group)

    def _floats_per_query(self, tokens: int) -> int:
        return self.dims.heads * min(tokens, self.window + self.query_block if self.window else tokens)
