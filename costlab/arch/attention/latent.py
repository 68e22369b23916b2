"""Attention to one latent vector per token, which stands for the keys and values of all heads."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field

from costlab.arch.attention.base import KeyedAttention, Layout, Phase, indexer_of, layout_bytes, merged
from costlab.arch.entries import CachePart, Entries, Part, Read
from costlab.catalog import DTYPE_BYTES


@dataclass(frozen=True)
class MLA(KeyedAttention):
    """Multi-head latent attention: one 512-wide latent and one rotary key per token (arXiv 2412.19437 sec. 2.1.1).

    Decode multiplies in the latent space ("absorbed"); prefill expands the latents to full heads, which is
    cheaper per key (320 against 1088 dims in DeepSeek-V3) but must be redone for a cached prefix.
    """

    nope_dim: int  # dims of a query or key head without rotation
    v_dim: int  # dims of a value head
    q_rank: int  # width of the query's latent; 0 where one matrix makes the queries
    kv_rank: int  # width of the latent that is cached
    # whether the layer makes its own latents; else it reads those of an earlier layer and stores none
    owns_kv: bool = field(default=True, kw_only=True)
    gate_dim: int = field(default=0, kw_only=True)  # dims of each head's output gate: 0 (none), 1 or `v_dim`
    head_scale: bool = field(default=False, kw_only=True)  # whether each head learns its softmax's scale and offset
    sink: bool = field(default=False, kw_only=True)  # whether each head has a learned logit that takes weight
    rope_norm: bool = field(default=False, kw_only=True)  # whether the rotary key is normed
    window: int = field(default=0, kw_only=True)  # tokens that a query sees, itself included; 0: all

    kind = "mla"
    label = "MLA"

    def __post_init__(self) -> None:
        super().__post_init__()
        self._at_least(0, "nope_dim", "q_rank", "gate_dim", "window")
        self._at_least(1, "v_dim", "kv_rank")

    def params(self, hidden: int) -> Mapping[str, int]:
        """Return down- and up-projections; the latent's up-projection stands apart as "latent_up"."""
        width = self.heads * (self.nope_dim + self.rope_dim)
        query = self.q_rank * (hidden + width) if self.q_rank else hidden * width
        gate = hidden * self.heads * self.gate_dim
        latent = hidden * (self.kv_rank + self.rope_dim) if self.owns_kv else 0
        cached = self.kv_rank + self.rope_norm * self.rope_dim if self.owns_kv else 0
        norm = self.q_rank + cached + (2 * self.head_scale + self.sink) * self.heads
        return {
            "attention": query + latent + gate,
            "latent_up": self.kv_rank * self.heads * (self.nope_dim + self.v_dim),
            "output": self.heads * self.v_dim * hidden,
            "norm": norm,
        }

    def stores(self) -> tuple[CachePart, ...]:
        """Return one latent and one rotary key per token, shared by all heads; of a window's tokens if it has one."""
        part: Part = "window" if self.window else "main"
        return (CachePart(part, layout_bytes(self.entry), self._seen),) if self.owns_kv else ()

    def whole_params(self, hidden: int) -> Mapping[str, int]:
        """Return the down-projections: to the query's latent, and to the latent and rotary key that are cached."""
        latent = self.kv_rank + self.rope_dim if self.owns_kv else 0
        return {"attention": hidden * (self.q_rank + latent)}

    def reads(self, phase: Phase) -> tuple[Read, ...]:
        """Return expanded heads in prefill, absorbed heads in decode."""
        flops = self._expanded() if phase == "prefill" else self._absorbed()
        return (Read("core", flops, layout_bytes(self.entry), self._seen),)

    def stored_as(self, dtype: str) -> MLA:
        """Return the layer with latent and rotary key in one storage type."""
        return dataclasses.replace(self, entry=self._entry_in(dtype))

    def reexpansion_flops(self) -> float:
        """Return the up-projection of one cached latent; nothing with a window, which holds few of the prefix."""
        if self.window:
            return 0.0
        return 2.0 * self.kv_rank * self.heads * (self.nope_dim + self.v_dim)

    @property
    def _seen(self) -> Entries:
        """The tokens that a query sees."""
        return Entries(cap=self.window or None)

    def _entry_in(self, dtype: str) -> Layout:
        return ((self.kv_rank, dtype), (self.rope_dim, dtype)) if self.rope_dim else ((self.kv_rank, dtype),)

    def _expanded(self) -> float:
        return 2.0 * self.heads * (self.nope_dim + self.rope_dim + self.v_dim)

    def _absorbed(self) -> float:
        return 2.0 * self.heads * (2 * self.kv_rank + self.rope_dim)


@dataclass(frozen=True)
class DSA(MLA):
    """MLA over the `top_k` tokens that a lightning indexer picks (DeepSeek-V3.2-Exp report, sec. 1)."""

    index_heads: int  # query heads of the indexer
    index_dim: int  # dims of an index head
    top_k: int  # tokens that a query attends to
    index_key: Layout  # (count, dtype) pairs of one cached index key
    owns_index: bool = field(default=True, kw_only=True)  # whether the layer has an indexer, or uses an earlier one's
    index_pool: int = field(default=1, kw_only=True)  # tokens that share one index key (GLM-5.3-Flash: 4)
    index_extras: bool = field(default=False, kw_only=True)  # norm of the indexer's input, scale and offset of heads

    kind = "dsa"
    label = "DSA"

    def __post_init__(self) -> None:
        super().__post_init__()
        self._at_least(1, "index_heads", "index_dim", "top_k", "index_pool")
        if self.window:
            raise ValueError(f"window = {self.window} in a layer whose indexer chooses among all tokens: leave it out")
        layout_bytes(self.index_key)

    def params(self, hidden: int) -> Mapping[str, int]:
        """Return MLA's matrices and the indexer's query, key and head-weight projections."""
        if not self.owns_index:
            return super().params(hidden)
        pooled = self.index_pool > 1
        query = (self.q_rank or hidden) * self.index_heads * self.index_dim
        norm = 2 * self.index_dim + (self.index_pool * self.index_dim if pooled else 0)
        norm += 2 * (hidden + self.index_heads) if self.index_extras else 0
        extra = {
            "index_proj": query + (1 + pooled) * hidden * self.index_dim,
            "index_weights": hidden * self.index_heads,
            "norm": norm,
        }
        return merged(super().params(hidden), extra)

    def whole_params(self, hidden: int) -> Mapping[str, int]:
        """Return MLA's down-projections and the indexer: cut by heads, its scores would need a sum over the group."""
        return merged(super().whole_params(hidden), indexer_of(self.params(hidden)))

    def stores(self) -> tuple[CachePart, ...]:
        """Return MLA's latent and the indexer's key, both per token; with pools, what is pooled of the open one."""
        if not self.owns_index:
            return super().stores()
        index = CachePart("index", layout_bytes(self.index_key), Entries(self.index_pool))
        slot = 2 * self.index_dim * DTYPE_BYTES["fp32"]  # content and gate
        open_pool = (CachePart("state", slot, Entries(cap=self.index_pool)),) if self.index_pool > 1 else ()
        return (*super().stores(), index, *open_pool)

    def reads(self, phase: Phase) -> tuple[Read, ...]:
        """Return index scores of every index key, then absorbed attention to the chosen tokens, in both phases."""
        chosen = Read("core", self._absorbed(), layout_bytes(self.entry), Entries(cap=self.top_k), True)
        if not self.owns_index:
            return (chosen,)
        flops = 2.0 * self.index_heads * self.index_dim
        return (Read("indexer", flops, layout_bytes(self.index_key), Entries(self.index_pool)), chosen)

    def stored_as(self, dtype: str) -> DSA:
        """Return the layer with latent, rotary key and index key in one storage type."""
        return dataclasses.replace(self, entry=self._entry_in(dtype), index_key=((self.index_dim, dtype),))

    def reexpansion_flops(self) -> float:
        """Return nothing: the absorbed form reads latents as they are."""
        return 0.0
