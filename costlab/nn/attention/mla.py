"""Multi-head latent attention: the cache holds one latent per token, and two ways of reading it agree.

The naive form expands every latent to keys and values of all heads. The absorbed form moves the up-projections to
the other side of the dot product, q·(W k) = (Wᵀ q)·k, and attends to the latents as they are.

Chapter: attention
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, get_args

import torch
from torch import Tensor

from costlab import arch
from costlab.checks import one_of
from costlab.nn.attention.core import AttentionLayer, KeySet, RMSNorm, Span, attend, causal, check_rotary, linear
from costlab.nn.attention.kv import Cache, KVTable
from costlab.nn.attention.rope import Rope

Form = Literal["auto", "naive", "absorbed"]


class MLA(AttentionLayer[KeySet]):
    """Attention over latents, in the naive or the absorbed form.

    Args:
        dims: `arch.MLA`.
        hidden: width of input and output.
        rope: rotary embedding of the separate rotary key; neighbours pair.
        form: "naive", "absorbed", or "auto": naive for several tokens at once, absorbed for one.

    Source: arXiv 2412.19437 sec. 2.1.1.
    """

    def __init__(self, dims: arch.MLA, hidden: int, rope: Rope, form: Form = "auto") -> None:
        super().__init__(hidden, rope)
        check_rotary(dims.rope_dim, dims.rope_dim, "rope_dim")
        if dims.q_rank < 1:
            raise ValueError(f"q_rank = {dims.q_rank}: no running layer for queries without a latent")
        self.dims = dims
        self.form: Form = one_of(get_args(Form), form, "form")
        self.query_down = linear(hidden, dims.q_rank)
        self.query_norm = RMSNorm(dims.q_rank)
        self.query_up = linear(dims.q_rank, dims.heads * (dims.nope_dim + dims.rope_dim))
        self.latent_down = linear(hidden, dims.kv_rank + dims.rope_dim)
        self.latent_norm = RMSNorm(dims.kv_rank)
        self.latent_up = linear(dims.kv_rank, dims.heads * (dims.nope_dim + dims.v_dim))
        self.output = linear(dims.heads * dims.v_dim, hidden)

    @property
    def scale(self) -> float:
        """Factor on the dot products: the naive form's key width decides in both forms."""
        return (self.dims.nope_dim + self.dims.rope_dim) ** -0.5 * self.rope.softmax_gain

    def _tables(self, batch: int, capacity: int, device: torch.device) -> Mapping[str, KVTable]:
        return {"main": KVTable(self.dims.entry, self.dims.kv_rank + self.dims.rope_dim, (batch,), capacity, device)}

    def _remember(self, hidden: Tensor, positions: Span, cache: Cache) -> KeySet:
        self._store_latents(hidden, positions, cache)
        entries = cache.tables["main"].read(cache.length, hidden.dtype)  # (batch, n, kv_rank + rope_dim)
        if self.form == "absorbed" or (self.form == "auto" and positions.count == 1):
            return KeySet(entries, entries[..., : self.dims.kv_rank])
        return self._expanded(entries)

    def _store_latents(self, hidden: Tensor, positions: Span, cache: Cache) -> None:
        latent, key = self.latent_down(hidden).split([self.dims.kv_rank, self.dims.rope_dim], -1)
        key = self._turn(key, positions.at, self.dims.rope_dim, "interleaved")
        cache.tables["main"].append(torch.cat([self.latent_norm(latent), key], -1))

    def _expanded(self, entries: Tensor) -> KeySet:
        dims = self.dims
        latent, shared = entries.split([dims.kv_rank, dims.rope_dim], -1)
        heads = self.latent_up(latent).unflatten(-1, (dims.heads, -1)).transpose(1, 2)  # (batch, heads, n, nope + v)
        plain, values = heads.split([dims.nope_dim, dims.v_dim], -1)
        keys = torch.cat([plain, shared[:, None].expand(-1, dims.heads, -1, -1)], -1)
        return KeySet(keys.flatten(0, 1), values.flatten(0, 1))  # (batch*heads, n, …)

    def _attend(self, hidden: Tensor, positions: Span, keys: KeySet) -> Tensor:
        naive = keys.values.shape[-1] != self.dims.kv_rank or len(keys.values) != len(hidden)
        latent = self.query_norm(self.query_down(hidden))
        seen = positions.stop
        near = KeySet(keys.keys[:, :seen], keys.values[:, :seen], causal(positions, 0, seen))
        q = self._queries(latent, positions)
        return self.output((self._naive(q, near) if naive else self._absorbed(q, near)).flatten(2))

    def _queries(self, latent: Tensor, positions: Span) -> Tensor:
        q = self.query_up(latent).unflatten(-1, (self.dims.heads, -1))  # (batch, queries, heads, nope + rope)
        return self._turn(q, positions.at, self.dims.rope_dim, "interleaved")

    def _naive(self, q: Tensor, keys: KeySet) -> Tensor:
        batch = q.shape[0]
        each = q.transpose(1, 2).flatten(0, 1)[:, :, None]  # (batch*heads, queries, 1, nope + rope)
        return attend(each, [keys], self.scale).squeeze(2).unflatten(0, (batch, -1)).transpose(1, 2)

    def _absorbed(self, q: Tensor, keys: KeySet) -> Tensor:
        dims = self.dims
        up = self.latent_up.weight.unflatten(0, (dims.heads, -1))  # (heads, nope + v, kv_rank)
        key_up, value_up = up.split([dims.nope_dim, dims.v_dim], 1)
        plain, rope = q.split([dims.nope_dim, dims.rope_dim], -1)
        in_latent = torch.einsum("bqhn,hnr->bqhr", plain, key_up)
        out = attend(torch.cat([in_latent, rope], -1), [keys], self.scale)  # (batch, queries, heads, kv_rank)
        return torch.einsum("bqhr,hvr->bqhv", out, value_up)

    def _floats_per_query(self, tokens: int) -> int:
        return self.dims.heads * tokens
