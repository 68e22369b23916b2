"""Attention with keys and values for each KV head: over all tokens, a window, a chunk, or the best blocks."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field

from costlab.arch.attention.base import KeyedAttention, Layout, Phase, indexer_of, layout_bytes, merged
from costlab.arch.attention.relative import Relative
from costlab.arch.entries import ALL_TOKENS, CachePart, Entries, Read


@dataclass(frozen=True)
class FullAttention(KeyedAttention):
    """Multi-head, grouped-query or multi-query attention over every token (arXiv 1911.02150, 2305.13245)."""

    kv_heads: int  # heads of keys and values, a divisor of `heads`
    qk_dim: int  # dims of a query or key head
    v_dim: int  # dims of a value head
    qk_norm: bool = False  # whether queries and keys are normed
    inputs: int = 1  # vectors of the model's width that the projections read side by side
    # whether the layer makes its own keys and values; else it reads those of an earlier layer and stores none
    owns_kv: bool = field(default=True, kw_only=True)
    qk_norm_whole: bool = field(default=False, kw_only=True)  # whether one norm spans all heads instead of each head
    gate_dim: int = field(default=0, kw_only=True)  # dims of each head's output gate: 0 (none), 1 or `v_dim`
    sink: bool = field(default=False, kw_only=True)  # whether each head has a learned logit that takes weight
    shares_values: bool = field(default=False, kw_only=True)  # whether keys serve as values: no value projection
    qkv_bias: bool = field(default=False, kw_only=True)  # whether query, key and value projections add a vector
    output_bias: bool = field(default=False, kw_only=True)  # whether the output projection adds a vector
    # what knows of distances in rotation's stead, with short convolutions; None where nothing does
    relative: Relative | None = field(default=None, kw_only=True)

    kind = "full"
    label = "full (GQA)"

    def __post_init__(self) -> None:
        super().__post_init__()
        self._at_least(0, "gate_dim")
        if self.kv_heads < 1 or self.heads % self.kv_heads:
            raise ValueError(f"{self.heads} query heads don't divide among kv_heads = {self.kv_heads}")
        if self.shares_values and self.qk_dim != self.v_dim:
            raise ValueError(f"keys of {self.qk_dim} dims cannot serve as values of {self.v_dim}")

    def params(self, hidden: int) -> Mapping[str, int]:
        """Return query, key and value projections as "attention", the output projection as "output"."""
        each = hidden * (self.heads * (self.qk_dim + self.gate_dim) + self._keys_width)
        norm = self._norm_params() + (self.heads if self.sink else 0)
        if self.qkv_bias:
            norm += self.heads * self.qk_dim + self._keys_width
        norm += hidden if self.output_bias else 0
        own = {"attention": self.inputs * each, "output": self.heads * self.v_dim * hidden, "norm": norm}
        extra = self.relative and self.relative.params(hidden, self.heads, self.kv_heads, self.qk_dim)
        return merged(own, extra) if extra else own

    def stores(self) -> tuple[CachePart, ...]:
        """Return one key and one value per KV head and token."""
        return self._kept("main")

    def reads(self, phase: Phase) -> tuple[Read, ...]:
        """Return QK and PV products of every head with every earlier token."""
        return (self._read(self._seen), *(self.relative.reads(self.heads, self._seen) if self.relative else ()))

    def stored_as(self, dtype: str) -> FullAttention:
        """Return the layer with keys and values in one storage type."""
        return dataclasses.replace(self, entry=((self.qk_dim, dtype), (self.v_dim, dtype)))

    def cache_share(self, group: int) -> float:
        """Return the share of whole KV heads on the chip that holds most; each has one where chips outnumber heads."""
        return -(-self.kv_heads // group) / self.kv_heads

    def params_on_chip(self, hidden: int, group: int) -> Mapping[str, float]:
        """Return an even share of the query heads' matrices, and those of the KV heads that the chip holds."""
        counts = dict(super().params_on_chip(hidden, group))
        keys = self.inputs * hidden * self._keys_width
        counts["attention"] += keys * (self.cache_share(group) - 1 / group)
        return counts

    @property
    def _seen(self) -> Entries:
        """The tokens that a query sees."""
        return ALL_TOKENS

    @property
    def _keys_width(self) -> int:
        """Width of what the layer projects into keys and values."""
        if not self.owns_kv:
            return 0
        return self.kv_heads * (self.qk_dim + (0 if self.shares_values else self.v_dim))

    def _norm_params(self) -> int:
        if self.qk_norm_whole:
            return self.qk_dim * (self.heads + (self.kv_heads if self.owns_kv else 0))
        return (1 + self.owns_kv) * self.qk_dim if self.qk_norm else 0

    def _kept(self, part: str) -> tuple[CachePart, ...]:
        tail = self.relative.stores() if self.relative else ()
        if not self.owns_kv:
            return tail
        own = CachePart(part, self.kv_heads * layout_bytes(self.entry), self._seen)  # type: ignore[arg-type]
        return (own, *tail)

    def _read(self, entries: Entries) -> Read:
        flops = 2.0 * self.heads * (self.qk_dim + self.v_dim)
        return Read("core", flops, self.kv_heads * layout_bytes(self.entry), entries)


@dataclass(frozen=True)
class SlidingWindow(FullAttention):
    """Full attention cut to the last `window` tokens."""

    window: int = 128  # tokens that a query sees, itself included

    kind = "sliding"
    label = "sliding window"

    def __post_init__(self) -> None:
        super().__post_init__()
        self._at_least(1, "window")

    def stores(self) -> tuple[CachePart, ...]:
        """Return keys and values of the window: a part that stops growing."""
        return self._kept("window")

    @property
    def _seen(self) -> Entries:
        return Entries(cap=self.window)


@dataclass(frozen=True)
class ChunkedAttention(FullAttention):
    """Full attention within chunks of `chunk` tokens: a new chunk sees nothing of those before it (Llama 4)."""

    chunk: int = 8192  # tokens of a chunk

    kind = "chunked"
    label = "chunked"

    def __post_init__(self) -> None:
        super().__post_init__()
        self._at_least(1, "chunk")

    def stores(self) -> tuple[CachePart, ...]:
        """Return keys and values of the current chunk, half a chunk in the mean."""
        return self._kept("window")

    @property
    def _seen(self) -> Entries:
        return Entries(cap=self.chunk, restarts=True)


@dataclass(frozen=True)
class BlockSparse(FullAttention):
    """Grouped-query attention over the best `top_k` blocks of `block` tokens, which an indexer picks (MiniMax-M3).

    The indexer scores every token's index key and keeps the best blocks, the query's own always among them, which
    counts as full.
    """

    index_heads: int = field(kw_only=True)  # query heads of the indexer
    index_dim: int = field(kw_only=True)  # dims of an index head
    block: int = field(kw_only=True)  # tokens of a block
    top_k: int = field(kw_only=True)  # blocks that a query attends to
    index_key: Layout = field(kw_only=True)  # (count, dtype) pairs of one cached index key, one per token
    owns_index: bool = field(default=True, kw_only=True)  # whether the layer has an indexer, or uses an earlier one's

    kind = "block-sparse"
    label = "block-sparse"

    def __post_init__(self) -> None:
        super().__post_init__()
        self._at_least(1, "index_heads", "index_dim", "block", "top_k")
        layout_bytes(self.index_key)

    def params(self, hidden: int) -> Mapping[str, int]:
        """Return the projections and the indexer's query and key projections."""
        if not self.owns_index:
            return super().params(hidden)
        index = {"index_proj": hidden * self.index_dim * (self.index_heads + 1), "norm": 2 * self.index_dim}
        return merged(super().params(hidden), index)

    def whole_params(self, hidden: int) -> Mapping[str, int]:
        """Return the indexer: cut by heads, its scores would need a sum over the group."""
        return indexer_of(self.params(hidden))

    def stores(self) -> tuple[CachePart, ...]:
        """Return keys and values, and the indexer's key, all per token."""
        index = (CachePart("index", layout_bytes(self.index_key)),) if self.owns_index else ()
        return (*super().stores(), *index)

    def reads(self, phase: Phase) -> tuple[Read, ...]:
        """Return index scores of every token, then attention to the chosen blocks."""
        chosen = dataclasses.replace(self._read(Entries(cap=self.top_k * self.block)), chosen=True)
        if not self.owns_index:
            return (chosen,)
        flops = 2.0 * self.index_heads * self.index_dim
        return (Read("indexer", flops, layout_bytes(self.index_key)), chosen)

    def stored_as(self, dtype: str) -> BlockSparse:
        """Return the layer with keys, values and index keys in one storage type."""
        entry = ((self.qk_dim, dtype), (self.v_dim, dtype))
        return dataclasses.replace(self, entry=entry, index_key=((self.index_dim, dtype),))
