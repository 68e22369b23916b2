"""DeepSeek-V4's kinds: one vector per entry as key and value of all heads, a window, and blocks made into entries."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from costlab.arch.attention.base import KeyedAttention, Layout, Phase, indexer_of, layout_bytes, merged
from costlab.arch.entries import CachePart, Entries, Read
from costlab.catalog import DTYPE_BYTES


@dataclass(frozen=True)
class SharedWindow(KeyedAttention):
    """DeepSeek-V4's base: one shared vector as key and value, a window, grouped output (arXiv 2606.19348 sec. 2.3)."""

    head_dim: int  # dims of a head, and of the vector that serves as key and value of all heads
    q_rank: int  # width of the query's latent
    groups: int  # groups of heads in the output projection
    group_dim: int  # dims that each group's heads are projected to
    window: int  # raw tokens that a query sees, itself included

    kind = "shared-window"
    label = "sliding window"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.heads * self.head_dim % self.groups:
            raise ValueError(f"{self.heads} heads of {self.head_dim} don't divide into groups = {self.groups}")

    def params(self, hidden: int) -> Mapping[str, int]:
        """Return query down/up, the window's KV projection and the two steps of the grouped output."""
        width = self.heads * self.head_dim
        return {
            "attention": hidden * self.q_rank + self.q_rank * width + hidden * self.head_dim,
            "output": width * self.group_dim + self.groups * self.group_dim * hidden,
            "norm": self.q_rank + self.head_dim + self.heads,
        }

    def whole_params(self, hidden: int) -> Mapping[str, int]:
        """Return the projections to the query's latent and to the vector that all heads share."""
        return {"attention": hidden * (self.q_rank + self.head_dim)}

    def stores(self) -> tuple[CachePart, ...]:
        """Return the raw entries of the window."""
        return (CachePart("window", layout_bytes(self.entry), Entries(cap=self.window)),)

    def reads(self, phase: Phase) -> tuple[Read, ...]:
        """Return QK and PV products with the window's tokens."""
        return (self._read(Entries(cap=self.window)),)

    def stored_as(self, dtype: str) -> SharedWindow:
        """Return the layer with its entries in one storage type."""
        return dataclasses.replace(self, entry=((self.head_dim, dtype),))

    def _read(self, entries: Entries) -> Read:
        return Read("core", 2.0 * self.heads * 2 * self.head_dim, layout_bytes(self.entry), entries)


@dataclass(frozen=True)
class HCA(SharedWindow):
    """Heavily compressed attention: `block` tokens become one entry, all of them read (arXiv 2606.19348 sec. 2.3.2)."""

    block: int  # tokens that become one entry

    kind = "hca"
    label = "HCA"
    #: Series of (content, gate) projections in the compressor; CSA overlaps blocks and has two.
    series: ClassVar[int] = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.block < 1:
            raise ValueError(f"block = {self.block} should be at least 1 token")

    def params(self, hidden: int) -> Mapping[str, int]:
        """Return the base layer and the compressor."""
        return merged(super().params(hidden), self._compressor(hidden, self.head_dim))

    def whole_params(self, hidden: int) -> Mapping[str, int]:
        """Return the base layer's, the compressors, which make what all heads share, and an indexer if there is one."""
        counts = self.params(hidden)
        compressor = {"compressor": counts.get("compressor", 0)}
        return merged(super().whole_params(hidden), compressor, indexer_of(counts))

    def stores(self) -> tuple[CachePart, ...]:
        """Return one entry per block, the window, and the open blocks' state in FP32."""
        main = CachePart("main", layout_bytes(self.entry), Entries(self.block))
        return (main, *super().stores(), self._state(self.head_dim))

    def reads(self, phase: Phase) -> tuple[Read, ...]:
        """Return attention to every entry and to the window, in one softmax."""
        return (self._read(Entries(self.block)), *super().reads(phase))

    def _compressor(self, hidden: int, width: int) -> Mapping[str, int]:
        projections = 2 * self.series * hidden * width  # content and gate
        return {"compressor": projections, "norm": self.series * self.block * width + width}

    def _state(self, width: int) -> CachePart:
        # content and gate logit of each slot, FP32, for as many series as overlap
        slot = 2 * self.series * width * DTYPE_BYTES["fp32"]
        return CachePart("state", slot, Entries(cap=self.series * self.block))


@dataclass(frozen=True)
class CSA(HCA):
    """Compressed sparse attention: small overlapping blocks, the best `top_k` read (arXiv 2606.19348 sec. 2.3.1)."""

    index_heads: int  # query heads of the indexer
    index_dim: int  # dims of an index head
    top_k: int  # entries that a query attends to
    index_key: Layout  # (count, dtype) pairs of one cached index key

    kind = "csa"
    label = "CSA"
    series = 2

    def params(self, hidden: int) -> Mapping[str, int]:
        """Return the base layer, two compressors (entries and index keys), index query and head weights."""
        index = {
            "index_proj": self.q_rank * self.index_heads * self.index_dim,
            "index_weights": hidden * self.index_heads,
        }
        return merged(super().params(hidden), self._compressor(hidden, self.index_dim), index)

    def stores(self) -> tuple[CachePart, ...]:
        """Return one entry and one index key per block, the window, and both compressors' state."""
        index = CachePart("index", layout_bytes(self.index_key), Entries(self.block))
        return (*super().stores(), index, self._state(self.index_dim))

    def reads(self, phase: Phase) -> tuple[Read, ...]:
        """Return index scores of every entry, then attention to the chosen ones and the window."""
        flops = 2.0 * self.index_heads * self.index_dim
        score = Read("indexer", flops, layout_bytes(self.index_key), Entries(self.block))
        chosen = dataclasses.replace(self._read(Entries(self.block, self.top_k)), chosen=True)
        return (score, chosen, *SharedWindow.reads(self, phase))

    def stored_as(self, dtype: str) -> CSA:
        """Return the layer with its entries and index keys in one storage type."""
        return dataclasses.replace(self, entry=((self.head_dim, dtype),), index_key=((self.index_dim, dtype),))


@dataclass(frozen=True)
class CSA2(CSA):
    """DeepSeek-V4.1-Flash's: entries and index keys made in few layers, chosen from in some more, read in all.

    A layer that makes entries has the compressors; one that chooses has the indexer's queries and scores the index keys
    of the last layer that made some; every layer attends to the entries chosen last and to a window of its own. That
    blocks do not overlap, and that a block of one token is projected without a gate, is assumed: the report of the
    dimensions does not say.
    """

    # whether the layer makes entries and index keys; else it reads those of an earlier layer and stores none
    owns_kv: bool = field(default=True, kw_only=True)
    owns_index: bool = field(default=True, kw_only=True)  # whether it chooses; else it reads what was chosen last

    kind = "csa2"
    label = "CSA2"
    series = 1

    def params(self, hidden: int) -> Mapping[str, int]:
        """Return the base layer, the compressors of a layer that makes entries, the indexer of one that chooses."""
        counts = [SharedWindow.params(self, hidden)]
        if self.owns_kv:
            counts += [self._compressor(hidden, width) for width in (self.head_dim, self.index_dim)]
        if self.owns_index:
            query = self.q_rank * self.index_heads * self.index_dim
            counts.append({"index_proj": query, "index_weights": hidden * self.index_heads})
        return merged(*counts)

    def stores(self) -> tuple[CachePart, ...]:
        """Return the window and, in a layer that makes them, entries, index keys and the open blocks' state."""
        if self.owns_kv:
            parts = super().stores()
            return tuple(part for part in parts if part.part != "state" or self.block > 1)
        return SharedWindow.stores(self)

    def reads(self, phase: Phase) -> tuple[Read, ...]:
        """Return index scores where the layer chooses, then attention to the chosen entries and the window."""
        reads = super().reads(phase)
        return reads if self.owns_index else tuple(read for read in reads if read.component != "indexer")

    def _compressor(self, hidden: int, width: int) -> Mapping[str, int]:
        if self.block > 1:
            return super()._compressor(hidden, width)
        return {"compressor": hidden * width, "norm": width}
