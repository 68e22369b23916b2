"""What every attention kind answers, and the layer that has no attention at all."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from costlab.arch.entries import CachePart, Read
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
    """One layer's mixing of tokens. Parameters are counted by component, so that each can have its own precision."""

    heads: int  # query heads, or heads of the recurrent state; what tensor parallelism divides

    #: Key in the catalog.
    kind: ClassVar[str] = ""
    #: How chapters and figures call it.
    label: ClassVar[str] = ""

    def __post_init__(self) -> None:
        self._at_least(1, "heads")

    @abstractmethod
    def params(self, hidden: int) -> Mapping[str, int]:
        """Return the parameters of the layer by component, for a model `hidden` wide."""

    @abstractmethod
    def stores(self) -> tuple[CachePart, ...]:
        """Return what the layer keeps in its cache."""

    @abstractmethod
    def reads(self, phase: Phase) -> tuple[Read, ...]:
        """Return what one query reads from the cache."""

    @abstractmethod
    def stored_as(self, dtype: str) -> Attention:
        """Return the same layer with every cached number of its growing parts in one storage type, without scales."""

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

    def _at_least(self, least: int, *names: str) -> None:
        for name in names:
            if getattr(self, name) < least:
                raise ValueError(f"{name} = {getattr(self, name)} should be at least {least}")


@dataclass(frozen=True)
class NoAttention(Attention):
    """A layer that is only a feed-forward part, as Nemotron-3's are: it mixes no tokens and stores nothing."""

    heads: int = 0  # none

    kind = "none"
    label = "no attention"

    def __post_init__(self) -> None:
        if self.heads:
            raise ValueError(f"heads = {self.heads} in a layer without attention: leave them out")

    def params(self, hidden: int) -> Mapping[str, int]:
        """Return nothing."""
        return {}

    def stores(self) -> tuple[CachePart, ...]:
        """Return nothing."""
        return ()

    def reads(self, phase: Phase) -> tuple[Read, ...]:
        """Return nothing."""
        return ()

    def stored_as(self, dtype: str) -> NoAttention:
        """Return the layer as it is."""
        return self


@dataclass(frozen=True)
class KeyedAttention(Attention):
    """Attention to cached entries, which a softmax weighs."""

    rope_dim: int  # rotated dims of a head; 0 without rotation
    entry: Layout  # (count, dtype) pairs of one cached entry; of one KV head where there are several

    def __post_init__(self) -> None:
        super().__post_init__()
        self._at_least(0, "rope_dim")
        layout_bytes(self.entry)


def extras(dims: object) -> dict[str, object]:
    """Return what an attention or feed-forward kind has beyond its plain form: options that are not at their default.

    Args:
        dims: a frozen dataclass of this package, e.g. `arch.MoE(experts=8, top_k=2, inner=64, gated=False)`.
    """
    options = [each for each in dataclasses.fields(dims) if each.kw_only]  # type: ignore[arg-type]  # any dataclass
    return {
        each.name: getattr(dims, each.name)
        for each in options
        if each.default is not dataclasses.MISSING and getattr(dims, each.name) != each.default
    }


def merged(*counts: Mapping[str, int]) -> dict[str, int]:
    """Return the sums of several counts by component."""
    total: dict[str, int] = {}
    for part in counts:
        for component, count in part.items():
            total[component] = total.get(component, 0) + count
    return total


def indexer_of(counts: Mapping[str, int]) -> Mapping[str, int]:
    """Return those of the counts that are an indexer's."""
    return {name: n for name, n in counts.items() if name.startswith("index_")}
