"""Attention kinds: each says what it stores per token, what a query reads, and which matrices it owns.

Adding a kind means adding one class with three short methods; every count of bytes and FLOPs follows from them.
A multiply-add counts as two FLOPs. Softmax, norms, rotary embedding and gating are not counted: they are linear
in the width and below 1% of the matrix work.

Chapter: attention
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from costlab.arch.entries import ALL_TOKENS, CachePart, Entries, Read
from costlab.catalog import DTYPE_BYTES

Layout = tuple[tuple[int, str], ...]
Phase = Literal["prefill", "decode"]


def layout_bytes(layout: Layout) -> float:
    """Return the bytes of one cached entry, given as (count, dtype) pairs.

    Raises:
        ValueError: a negative count or an unknown dtype, quoted.
    """
    for count, dtype in layout:
        if count < 0 or dtype not in DTYPE_BYTES:
            raise ValueError(f"cached part ({count}, {dtype!r}): count >= 0 and a dtype of {', '.join(DTYPE_BYTES)}")
    return sum(count * DTYPE_BYTES[dtype] for count, dtype in layout)


@dataclass(frozen=True)
class Attention(ABC):
    """One attention layer. Parameters are counted by component, so that each can have its own precision."""

    heads: int  # query heads
    rope_dim: int  # rotated dims of a head
    entry: Layout  # (count, dtype) pairs of one cached entry; of one KV head where there are several

    #: Key in the catalog.
    kind: ClassVar[str] = ""
    #: How chapters and figures call it.
    label: ClassVar[str] = ""

    def __post_init__(self) -> None:
        for name in ("heads", "rope_dim"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} = {getattr(self, name)} should be at least 1")
        layout_bytes(self.entry)

    @abstractmethod
    def params(self, hidden: int) -> Mapping[str, int]:
        """Return the parameters of the layer by component, for a model `hidden` wide."""

    @abstractmethod
    def stores(self) -> tuple[CachePart, ...]:
        """Return what the layer keeps in its cache."""

    @abstractmethod
    def reads(self, phase: Phase) -> tuple[Read, ...]:
        """Return what one query reads from the cache."""

    def cache_share(self, group: int) -> float:
        """Return the share of the layer's cache that lies on each chip of a tensor-parallel group of `group` chips.

        All of it, unless there are KV heads to split: a latent, a vector that all query heads share and an index
        key lie whole on each chip.
        """
        return 1.0

    def whole_params(self, hidden: int) -> Mapping[str, int]:
        """Return the parameters by component that belong to no head: all chips of a tensor-parallel group have them."""
        return {}

    def params_on_chip(self, hidden: int, group: int) -> Mapping[str, float]:
        """Return the parameters by component on each chip of a group of `group` chips, which divide the heads."""
        whole = self.whole_params(hidden)
        counts = self.params(hidden).items()
        return {name: whole.get(name, 0) + (n - whole.get(name, 0)) / group for name, n in counts}

    def reexpansion_flops(self) -> float:
        """Return the FLOPs per cached token to rebuild keys and values for a prefill that continues a prefix."""
        return 0.0


@dataclass(frozen=True)
class FullAttention(Attention):
    """Multi-head, grouped-query or multi-query attention over every token (arXiv 1911.02150, 2305.13245)."""

    kv_heads: int  # heads of keys and values, a divisor of `heads`
    qk_dim: int  # dims of a query or key head
    v_dim: int  # dims of a value head
    qk_norm: bool = False  # whether queries and keys are normed
    inputs: int = 1  # vectors of the model's width that the projections read side by side

    kind = "full"
    label = "full (GQA)"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.kv_heads < 1 or self.heads % self.kv_heads:
            raise ValueError(f"{self.heads} query heads don't divide among kv_heads = {self.kv_heads}")

    def params(self, hidden: int) -> Mapping[str, int]:
        """Return query, key and value projections as "attention", the output projection as "output"."""
        each = hidden * (self.heads * self.qk_dim + self.kv_heads * (self.qk_dim + self.v_dim))
        norm = 2 * self.qk_dim if self.qk_norm else 0
        return {"attention": self.inputs * each, "output": self.heads * self.v_dim * hidden, "norm": norm}

    def stores(self) -> tuple[CachePart, ...]:
        """Return one key and one value per KV head and token."""
        return (CachePart("main", self.kv_heads * layout_bytes(self.entry)),)

    def reads(self, phase: Phase) -> tuple[Read, ...]:
        """Return QK and PV products of every head with every earlier token."""
        return (self._read(ALL_TOKENS),)

    def cache_share(self, group: int) -> float:
        """Return the share of whole KV heads on the chip that holds most; each has one where chips outnumber heads."""
        return -(-self.kv_heads // group) / self.kv_heads

    def params_on_chip(self, hidden: int, group: int) -> Mapping[str, float]:
        """Return an even share of the query heads' matrices, and those of the KV heads that the chip holds."""
        counts = dict(super().params_on_chip(hidden, group))
        keys = self.inputs * hidden * self.kv_heads * (self.qk_dim + self.v_dim)
        counts["attention"] += keys * (self.cache_share(group) - 1 / group)
        return counts

    def _read(self, entries: Entries) -> Read:
        flops = 2.0 * self.heads * (self.qk_dim + self.v_dim)
        return Read("core", flops, self.kv_heads * layout_bytes(self.entry), entries)


@dataclass(frozen=True)
class SlidingWindow(FullAttention):
    """Full attention cut to the last `window` tokens, optionally with one learned sink per head."""

    window: int = 128  # tokens that a query sees, itself included
    sink: bool = False  # whether each head has a learned logit that takes weight from all tokens

    kind = "sliding"
    label = "sliding window"

    def params(self, hidden: int) -> Mapping[str, int]:
        """Return the projections and, as "norm", one sink per head."""
        counts = dict(super().params(hidden))
        counts["norm"] += self.heads if self.sink else 0
        return counts

    def stores(self) -> tuple[CachePart, ...]:
        """Return keys and values of the window: a part that stops growing."""
        return (CachePart("window", self.kv_heads * layout_bytes(self.entry), Entries(cap=self.window)),)

    def reads(self, phase: Phase) -> tuple[Read, ...]:
        """Return QK and PV products with the tokens of the window."""
        return (self._read(Entries(cap=self.window)),)


@dataclass(frozen=True)
class MLA(Attention):
    """Multi-head latent attention: one 512-wide latent and one rotary key per token (arXiv 2412.19437 sec. 2.1.1).

    Decode multiplies in the latent space ("absorbed"); prefill expands the latents to full heads, which is
    cheaper per key (320 against 1088 dims in DeepSeek-V3) but must be redone for a cached prefix.
    """

    nope_dim: int  # dims of a query or key head without rotation
    v_dim: int  # dims of a value head
    q_rank: int  # width of the query's latent
    kv_rank: int  # width of the latent that is cached

    kind = "mla"
    label = "MLA"

    def params(self, hidden: int) -> Mapping[str, int]:
        """Return down- and up-projections; the latent's up-projection stands apart as "latent_up"."""
        query = hidden * self.q_rank + self.q_rank * self.heads * (self.nope_dim + self.rope_dim)
        return {
            "attention": query + hidden * (self.kv_rank + self.rope_dim),
            "latent_up": self.kv_rank * self.heads * (self.nope_dim + self.v_dim),
            "output": self.heads * self.v_dim * hidden,
            "norm": self.q_rank + self.kv_rank,
        }

    def stores(self) -> tuple[CachePart, ...]:
        """Return one latent and one rotary key per token, shared by all heads."""
        return (CachePart("main", layout_bytes(self.entry)),)

    def whole_params(self, hidden: int) -> Mapping[str, int]:
        """Return the down-projections: to the query's latent, and to the latent and rotary key that are cached."""
        return {"attention": hidden * (self.q_rank + self.kv_rank + self.rope_dim)}

    def reads(self, phase: Phase) -> tuple[Read, ...]:
        """Return expanded heads in prefill, absorbed heads in decode."""
        flops = self._expanded() if phase == "prefill" else self._absorbed()
        return (Read("core", flops, layout_bytes(self.entry)),)

    def reexpansion_flops(self) -> float:
        """Return the up-projection of one cached latent."""
        return 2.0 * self.kv_rank * self.heads * (self.nope_dim + self.v_dim)

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

    kind = "dsa"
    label = "DSA"

    def params(self, hidden: int) -> Mapping[str, int]:
        """Return MLA's matrices and the indexer's query, key and head-weight projections."""
        query = self.q_rank * self.index_heads * self.index_dim
        extra = {
            "index_proj": query + hidden * self.index_dim,
            "index_weights": hidden * self.index_heads,
            "norm": 2 * self.index_dim,
        }
        return _merged(super().params(hidden), extra)

    def whole_params(self, hidden: int) -> Mapping[str, int]:
        """Return MLA's down-projections and the indexer: cut by heads, its scores would need a sum over the group."""
        return _merged(super().whole_params(hidden), _indexer_of(self.params(hidden)))

    def stores(self) -> tuple[CachePart, ...]:
        """Return MLA's latent and the indexer's key, both per token."""
        return (*super().stores(), CachePart("index", layout_bytes(self.index_key)))

    def reads(self, phase: Phase) -> tuple[Read, ...]:
        """Return index scores of every token, then absorbed attention to the chosen ones, in both phases."""
        score = Read("indexer", 2.0 * self.index_heads * self.index_dim, layout_bytes(self.index_key))
        chosen = Read("core", self._absorbed(), layout_bytes(self.entry), Entries(cap=self.top_k), True)
        return (score, chosen)

    def reexpansion_flops(self) -> float:
        """Return nothing: the absorbed form reads latents as they are."""
        return 0.0


@dataclass(frozen=True)
class SharedWindow(Attention):
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
        return _merged(super().params(hidden), self._compressor(hidden, self.head_dim))

    def whole_params(self, hidden: int) -> Mapping[str, int]:
        """Return the base layer's, the compressors, which make what all heads share, and an indexer if there is one."""
        counts = self.params(hidden)
        return _merged(super().whole_params(hidden), {"compressor": counts["compressor"]}, _indexer_of(counts))

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
        return _merged(super().params(hidden), self._compressor(hidden, self.index_dim), index)

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


def _indexer_of(counts: Mapping[str, int]) -> Mapping[str, int]:
    return {name: n for name, n in counts.items() if name.startswith("index_")}


def _merged(*counts: Mapping[str, int]) -> dict[str, int]:
    total: dict[str, int] = {}
    for part in counts:
        for component, count in part.items():
            total[component] = total.get(component, 0) + count
    return total


#: Attention classes by the catalog's `kind`.
KINDS: Mapping[str, type[Attention]] = {
    cls.kind: cls for cls in (FullAttention, SlidingWindow, MLA, DSA, SharedWindow, CSA, HCA)
}
