"""DeepSeek sparse attention: MLA's latents, of which an indexer picks the best `top_k` tokens for each query.

Chapter: attention
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from costlab import arch
from costlab.nn.attention.core import AttentionLayer, KeySet, Span, causal, linear, unordered_top_k
from costlab.nn.attention.indexer import IndexQuery
from costlab.nn.attention.kv import Cache, KVTable
from costlab.nn.attention.mla import MLA
from costlab.nn.attention.rope import Rope


@dataclass(frozen=True)
class TokenKeys:
    """What DSA's queries read."""

    index: Tensor  # index keys of all tokens, shape (batch, n, index_dim)
    latents: KVTable  # table to take chosen latents from


class DSA(AttentionLayer[TokenKeys]):
    """MLA in its absorbed form over the tokens that the lightning indexer picks.

    Args:
        dims: `arch.DSA`.
        hidden: width of input and output.
        rope: rotary embedding; neighbours pair in the latents, halves in the index keys' first channels.

    Source: DeepSeek-V3.2-Exp report sec. 1; deepseek-ai/DeepSeek-V3.2-Exp inference/model.py.
    """

    def __init__(self, dims: arch.DSA, hidden: int, rope: Rope) -> None:
        super().__init__(hidden, rope)
        if not 0 < dims.rope_dim <= dims.index_dim:
            raise ValueError(f"rope_dim = {dims.rope_dim} should be at most index_dim = {dims.index_dim}")
        if dims.top_k < 1:
            raise ValueError(f"top_k = {dims.top_k} should be at least 1")
        self.dims = dims
        self.mla = MLA(dims, hidden, rope, "absorbed")
        self.index = IndexQuery(hidden, dims.q_rank, dims.index_heads, dims.index_dim, dims.index_key)
        self.index_key = linear(hidden, dims.index_dim)
        self.index_norm = nn.LayerNorm(dims.index_dim, eps=1e-6)

    def _tables(self, batch: int, capacity: int, device: torch.device) -> Mapping[str, KVTable]:
        index = KVTable(self.dims.index_key, self.dims.index_dim, (batch,), capacity, device)
        return {**self.mla._tables(batch, capacity, device), "index": index}

    def _remember(self, hidden: Tensor, positions: Span, cache: Cache) -> TokenKeys:
        self.mla._store_latents(hidden, positions, cache)
        keys = self._turn_index(self.index_norm(self.index_key(hidden)), positions)
        cache.tables["index"].append(self.index.stored(keys))
        return TokenKeys(cache.tables["index"].read(cache.length, hidden.dtype), cache.tables["main"])

    def _turn_index(self, x: Tensor, positions: Span) -> Tensor:
        return self._turn(x, positions.at, self.dims.rope_dim, "halves", last=False)

    def index_scores(self, hidden: Tensor, latent: Tensor, positions: Span, keys: Tensor) -> Tensor:
        """Return the indexer's scores, shape (batch, queries, n), -inf for later tokens.

        Args:
            hidden: the layer's input, shape (batch, queries, hidden).
            latent: query latents, shape (batch, queries, q_rank).
            positions: of the queries.
            keys: index keys of tokens 0 … n-1, shape (batch, n, index_dim).
        """
        scores = self.index.scores(self._turn_index(self.index.queries(latent), positions), hidden, keys)
        visible = causal(positions, 0, keys.shape[1])
        return scores if visible is None else scores.masked_fill(~visible, float("-inf"))

    def _attend(self, hidden: Tensor, positions: Span, keys: TokenKeys) -> Tensor:
        seen = positions.stop
        latent = self.mla.query_norm(self.mla.query_down(hidden))
        scores = self.index_scores(hidden, latent, positions, keys.index[:, :seen])
        latents = self._chosen(scores, positions, keys.latents, hidden.dtype)
        q = self.mla._queries(latent, positions)
        return self.mla.output(self.mla._absorbed(q, latents).flatten(2))

    def _chosen(self, scores: Tensor, positions: Span, latents: KVTable, dtype: torch.dtype) -> KeySet:
        seen = scores.shape[-1]
        if seen <= self.dims.top_k:  # every token is read, whatever its score
            entries = latents.read(seen, dtype)
            return KeySet(entries, entries[..., : self.dims.kv_rank], causal(positions, 0, seen))
        places = unordered_top_k(scores, self.dims.top_k)  # (batch, queries, top_k)
        entries = latents.gather(places, dtype)
        return KeySet(entries, entries[..., : self.dims.kv_rank], places <= positions.at[:, None])

    def _floats_per_query(self, tokens: int) -> int:
        width = self.dims.kv_rank + self.dims.rope_dim + self.dims.heads
        return (self.dims.index_heads + 4) * tokens + width * min(self.dims.top_k, tokens)
