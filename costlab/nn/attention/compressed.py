"""DeepSeek-V4's three layers: a window of raw tokens, alone or beside heavily (HCA) or sparsely (CSA) read entries.

All heads share one vector per entry, which is key and value at once. Because it carries a rotary embedding as a key,
the output is turned back by the query's position: each term then depends on the distance alone.

Chapter: attention
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from costlab import arch
from costlab.nn.attention.compressor import Compressor
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
    unordered_top_k,
)
from costlab.nn.attention.indexer import IndexQuery
from costlab.nn.attention.kv import Cache, KVTable, RingBuffer
from costlab.nn.attention.rope import Rope


@dataclass(frozen=True)
class SharedKeys:
    """What the queries of a call read."""

    window: Window  # raw entries of recent tokens
    entries: KVTable | None = None  # compressed entries; None: a layer without them
    # index keys of the compressed entries, shape (batch, n, index_dim); None: a layer without indexer
    index: Tensor | None = None


class GroupedOutput(nn.Module):
    """Projects groups of heads down one by one, then all of them together to the layer's width.

    Args:
        inputs: width of all heads together.
        groups: how many groups it is cut into.
        group_dim: width that each group is projected to.
        hidden: width of the output.

    Source: arXiv 2606.19348 sec. 2.3.1.
    """

    def __init__(self, inputs: int, groups: int, group_dim: int, hidden: int) -> None:
        super().__init__()
        self.down = nn.Parameter(torch.empty(groups, group_dim, inputs // groups))
        nn.init.normal_(self.down, std=(inputs // groups) ** -0.5)
        self.up = linear(groups * group_dim, hidden)

    def forward(self, heads: Tensor) -> Tensor:
        """Return the output, shape (batch, n, hidden), of heads, shape (batch, n, heads, width)."""
        groups = heads.flatten(2).unflatten(2, (self.down.shape[0], -1))  # (batch, n, groups, inputs/groups)
        return self.up(torch.einsum("bngi,goi->bngo", groups, self.down).flatten(2))  # (batch, n, hidden)


class SharedWindow(AttentionLayer[SharedKeys]):
    """V4's base layer: shared key-value heads over the last `window` tokens, with sinks.

    Args:
        dims: `arch.SharedWindow`.
        hidden: width of input and output.
        rope: rotary embedding of the last `rope_dim` channels; neighbours pair.

    Source: arXiv 2606.19348 sec. 2.3; deepseek-ai/DeepSeek-V4-Flash inference/model.py.
    """

    def __init__(self, dims: arch.SharedWindow, hidden: int, rope: Rope) -> None:
        super().__init__(hidden, rope)
        check_rotary(dims.rope_dim, dims.head_dim, "head_dim")
        self.dims = dims
        self.query_down = linear(hidden, dims.q_rank)
        self.query_norm = RMSNorm(dims.q_rank)
        self.query_up = linear(dims.q_rank, dims.heads * dims.head_dim)
        self.head_norm = RMSNorm(None)
        self.window = linear(hidden, dims.head_dim)
        self.window_norm = RMSNorm(dims.head_dim)
        self.sink = nn.Parameter(torch.zeros(dims.heads))
        self.output = GroupedOutput(dims.heads * dims.head_dim, dims.groups, dims.group_dim, hidden)

    def _tables(self, batch: int, capacity: int, device: torch.device) -> Mapping[str, KVTable]:
        slots = min(self.dims.window, capacity)
        return {"window": RingBuffer(self.dims.entry, self.dims.head_dim, (batch,), slots, device)}

    def _remember(self, hidden: Tensor, positions: Span, cache: Cache) -> SharedKeys:
        raw = self._rotated(self.window_norm(self.window(hidden)), positions.at)
        return SharedKeys(remember_window(cache.ring("window"), raw))

    def _rotated(self, x: Tensor, positions: Tensor) -> Tensor:
        return self._turn(x, positions, self.dims.rope_dim, "interleaved")

    def _attend(self, hidden: Tensor, positions: Span, keys: SharedKeys) -> Tensor:
        latent, q = self.queries(hidden, positions)
        window, visible = keys.window.near(positions)
        sets = [KeySet(window, window, visible), *self._compressed(hidden, latent, positions, keys)]
        out = attend(q, sets, self.scale, self.sink)
        return self.output(self._rotated(out, -positions.at))

    @property
    def scale(self) -> float:
        """Factor on the dot products."""
        return self.dims.head_dim**-0.5 * self.rope.softmax_gain

    def queries(self, hidden: Tensor, positions: Span) -> tuple[Tensor, Tensor]:
        """Return query latents, (batch, n, q_rank), and rotated heads, (batch, n, heads, head_dim).

        Args:
            hidden: the layer's input, shape (batch, n, hidden).
            positions: of the queries.
        """
        latent = self.query_norm(self.query_down(hidden))
        heads = self.head_norm(self.query_up(latent).unflatten(-1, (self.dims.heads, -1)))
        return latent, self._rotated(heads, positions.at)

    def _compressed(self, hidden: Tensor, latent: Tensor, positions: Span, keys: SharedKeys) -> list[KeySet]:
        """Return the compressed entries that queries read besides the window."""
        return []

    def _floats_per_query(self, tokens: int) -> int:
        return self.dims.heads * (self.dims.window + self.query_block)


class HCA(SharedWindow):
    """V4's layer that reads every entry of heavily compressed blocks, and the window, in one softmax.

    Args:
        dims: `arch.HCA`.
        hidden: width of input and output.
        rope: rotary embedding; an entry stands at its block's first token.

    Source: arXiv 2606.19348 sec. 2.3.2.
    """

    dims: arch.HCA

    def __init__(self, dims: arch.HCA, hidden: int, rope: Rope) -> None:
        super().__init__(dims, hidden, rope)
        self.compressor = Compressor(hidden, dims.head_dim, dims.block, dims.series)

    def _tables(self, batch: int, capacity: int, device: torch.device) -> Mapping[str, KVTable]:
        block = self.dims.block
        entries = KVTable(self.dims.entry, self.dims.head_dim, (batch,), capacity // block, device, block)
        state = self.compressor.new_state(batch, capacity, device)
        return {"main": entries, **super()._tables(batch, capacity, device), "state": state}

    def _remember(self, hidden: Tensor, positions: Span, cache: Cache) -> SharedKeys:
        entries, at = self.compressor(hidden, positions, cache.ring("state"))
        cache.tables["main"].append(self._rotated(entries, at))
        return replace(super()._remember(hidden, positions, cache), entries=cache.tables["main"])

    def closed(self, positions: Span) -> Tensor:
        """Return how many entries each query may see: those whose last token is not after it.

        Args:
            positions: of the queries.
        """
        return (positions.at + 1) // self.dims.block

    def _compressed(self, hidden: Tensor, latent: Tensor, positions: Span, keys: SharedKeys) -> list[KeySet]:
        return [self._all_entries(positions, keys, hidden.dtype)]

    def _all_entries(self, positions: Span, keys: SharedKeys, dtype: torch.dtype) -> KeySet:
        assert keys.entries is not None
        entries = keys.entries.read(positions.stop // self.dims.block, dtype)
        return KeySet(entries, entries, _first(self.closed(positions), entries.shape[-2]))

    def _floats_per_query(self, tokens: int) -> int:
        return super()._floats_per_query(tokens) + self.dims.heads * (tokens // self.dims.block)


class CSA(HCA):
    """V4's layer that reads the `top_k` best entries of small overlapping blocks, and the window, in one softmax.

    Args:
        dims: `arch.CSA`.
        hidden: width of input and output.
        rope: rotary embedding, also of the last channels of index queries and keys.

    Source: arXiv 2606.19348 sec. 2.3.1.
    """

    dims: arch.CSA

    def __init__(self, dims: arch.CSA, hidden: int, rope: Rope) -> None:
        super().__init__(dims, hidden, rope)
        check_rotary(dims.rope_dim, dims.index_dim, "index_dim")
        if dims.top_k < 1:
            raise ValueError(f"top_k = {dims.top_k} should be at least 1")
        self.index = IndexQuery(hidden, dims.q_rank, dims.index_heads, dims.index_dim, dims.index_key)
        self.index_compressor = Compressor(hidden, dims.index_dim, dims.block, dims.series)

    def _tables(self, batch: int, capacity: int, device: torch.device) -> Mapping[str, KVTable]:
        block = self.dims.block
        index = KVTable(self.dims.index_key, self.dims.index_dim, (batch,), capacity // block, device, block)
        state = self.index_compressor.new_state(batch, capacity, device)
        return {**super()._tables(batch, capacity, device), "index": index, "index_state": state}

    def _remember(self, hidden: Tensor, positions: Span, cache: Cache) -> SharedKeys:
        keys, at = self.index_compressor(hidden, positions, cache.ring("index_state"))
        table = cache.tables["index"]
        table.append(self.index.stored(self._rotated(keys, at)))
        return replace(super()._remember(hidden, positions, cache), index=table.read(table.length, hidden.dtype))

    def index_scores(self, hidden: Tensor, latent: Tensor, positions: Span, keys: Tensor) -> Tensor:
        """Return the indexer's scores of compressed entries, shape (batch, queries, n), -inf for open blocks.

        Args:
            hidden: the layer's input, shape (batch, queries, hidden).
            latent: query latents, shape (batch, queries, q_rank).
            positions: of the queries.
            keys: index keys of entries 0 … n-1, shape (batch, n, index_dim).
        """
        q = self._rotated(self.index.queries(latent), positions.at)
        scores = self.index.scores(q, hidden, keys)
        visible = _first(self.closed(positions), keys.shape[1])
        return scores if visible is None else scores.masked_fill(~visible, float("-inf"))

    def _compressed(self, hidden: Tensor, latent: Tensor, positions: Span, keys: SharedKeys) -> list[KeySet]:
        assert keys.entries is not None and keys.index is not None
        scores = self.index_scores(hidden, latent, positions, keys.index[:, : positions.stop // self.dims.block])
        if scores.shape[-1] <= self.dims.top_k:  # every entry is read, whatever its score
            return [self._all_entries(positions, keys, hidden.dtype)]
        places = unordered_top_k(scores, self.dims.top_k)  # (batch, queries, top_k)
        entries = keys.entries.gather(places, hidden.dtype)
        return [KeySet(entries, entries, places < self.closed(positions)[:, None])]

    def _floats_per_query(self, tokens: int) -> int:
        entries = tokens // self.dims.block
        chosen = min(self.dims.top_k, entries) * (self.dims.head_dim + self.dims.heads)
        return SharedWindow._floats_per_query(self, tokens) + (self.dims.index_heads + 4) * entries + chosen


def _first(counts: Tensor, n: int) -> Tensor | None:
    """Return whether each query sees each of n entries, shape (queries, n), seeing the first `counts`; None: all."""
    if counts.shape[0] == 1:
        return None
    return torch.arange(n, device=counts.device) < counts[:, None]
