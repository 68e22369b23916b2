"""The hybrid lever: a few full layers among many sliding-window ones. Closed forms for what that saves, and when.

>>> from costlab import hybrid
>>> saving = hybrid.kv_saving("mimo-v2.5-pro", 131_072)
>>> round(float(saving.ratio), 2), round(float(saving.fraction) * 7, 3)
(6.96, 1.006)

Chapter: hybrid
"""

from __future__ import annotations

import dataclasses
import itertools
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from costlab import arch
from costlab.arch import tokens_array
from costlab.arrays import ArrayLike, Floats
from costlab.checks import one_of, whole

#: What a hybrid is held against: its window layers keep every token with their own heads, or they are full layers.
Against = Literal["own heads", "full layers"]


@dataclass(frozen=True)
class Pattern:
    """Which layers of a model are full and which sliding."""

    kinds: str  # of the layers in order, "F" full, "S" sliding

    @property
    def full(self) -> int:
        """Full layers."""
        return self.kinds.count("F")

    @property
    def sliding(self) -> int:
        """Sliding-window layers."""
        return self.kinds.count("S")

    @property
    def full_at(self) -> tuple[int, ...]:
        """Indices of the full layers."""
        return tuple(i for i, kind in enumerate(self.kinds) if kind == "F")

    @property
    def gaps(self) -> tuple[int, ...]:
        """Sliding layers between one full layer and the next."""
        return tuple(after - before - 1 for before, after in itertools.pairwise(self.full_at))


def pattern(model: str | arch.Model) -> Pattern:
    """Return the order of a hybrid's layers.

    Args:
        model: key in the catalog, or a model.

    Raises:
        ValueError: an unknown model, or one that has other layers than full and sliding ones.

    Source: layer lists in catalog/models.toml.
    """
    found = _model(model)
    return Pattern("".join("S" if isinstance(a, arch.SlidingWindow) else "F" for a, _ in found.layers))


def _model(model: str | arch.Model) -> arch.Model:
    found = arch.load(model)
    kinds = {type(attention) for attention, _ in found.layers}
    if not kinds <= {arch.FullAttention, arch.SlidingWindow}:
        raise ValueError(
            f"{found.name} has layers of {', '.join(sorted(k.label for k in kinds))}, not full and sliding"
        )
    return found


def only_full(model: str | arch.Model) -> arch.Model:
    """Return a model's full layers alone, each with its feed-forward part: of 70 layers the 10-layer GQA model.

    Raises:
        ValueError: an unknown model, or one without full layers.
    """
    found = _model(model)
    layers = tuple((a, f) for a, f in found.layers if not isinstance(a, arch.SlidingWindow))
    if not layers:
        raise ValueError(f"{found.name} has no full layer")
    return dataclasses.replace(found, layers=layers)


def all_full(model: str | arch.Model, against: Against = "own heads") -> arch.Model:
    """Return the same model without windows.

    Args:
        model: key in the catalog, or a model.
        against: "own heads": window layers keep their heads and see every token; "full layers": they become like the
            model's first full layer.

    Raises:
        ValueError: an unknown model or word, or no full layer to become like.
    """
    found = _model(model)
    word = one_of(get_args(Against), against, "comparison")
    like = only_full(found).layers[0][0] if word == "full layers" else None

    def widened(attention: arch.Attention) -> arch.Attention:
        return (like or _without_window(attention)) if isinstance(attention, arch.SlidingWindow) else attention

    return dataclasses.replace(found, layers=tuple((widened(a), f) for a, f in found.layers))


def _without_window(attention: arch.SlidingWindow) -> arch.FullAttention:
    names = (field.name for field in dataclasses.fields(arch.FullAttention))
    return arch.FullAttention(**{name: getattr(attention, name) for name in names})


# --- cache -----------------------------------------------------------------------------------------------------


def moved_fraction(tokens: ArrayLike, full: int = 10, sliding: int = 60, window: int = 128) -> Floats:
    """Return the share of an all-full cache that a hybrid of equal heads keeps (and moves).

    Args:
        tokens: context lengths, any shape.
        full: full layers.
        sliding: sliding-window layers.
        window: tokens that a sliding layer keeps.

    Raises:
        ValueError: a length below 1, or counts that make no stack.

    Source: (full L + sliding min(L, window)) / ((full + sliding) L).
    """
    context = tokens_array(tokens)
    full, sliding, window = whole(full, "full"), whole(sliding, "sliding"), whole(window, "window")
    if full < 0 or sliding < 0 or full + sliding < 1 or window < 1:
        raise ValueError(f"{full} full and {sliding} sliding layers of {window} tokens make no stack")
    kept = full * context + sliding * np.minimum(context, window)
    return np.asarray(kept / ((full + sliding) * context))


def close_from(full: int = 10, sliding: int = 60, window: int = 128, share: float = 0.05) -> float:
    """Return the context from which `moved_fraction` is within a share of its limit full / (full + sliding).

    Beyond the window the fraction is the limit times 1 + sliding window / (full L), which solves for L.

    Raises:
        ValueError: no full layer (then there is no limit but zero), or a share of zero or less.
    """
    if full < 1 or share <= 0:
        raise ValueError(f"a limit needs full >= 1 and share > 0, got {full} and {share}")
    return max(sliding * window / (full * share), 1.0)


@dataclass(frozen=True)
class KVSaving:
    """Cache of a hybrid beside the same stack without windows; arrays shaped like the contexts asked for.

    Once the windows are full, fraction = limit + excess_tokens / context.
    """

    tokens: Floats  # contexts asked for
    hybrid_bytes: Floats  # bytes of the hybrid's cache at each context
    full_bytes: Floats  # bytes of the other stack's cache at each context
    limit: float  # what the fraction comes to in the long run
    excess_tokens: float  # tokens of the other stack whose cache is as large as the full windows

    @property
    def fraction(self) -> Floats:
        """What the hybrid keeps, as a share of the other."""
        return np.asarray(self.hybrid_bytes / self.full_bytes)

    @property
    def ratio(self) -> Floats:
        """How many times as much the other keeps."""
        return np.asarray(self.full_bytes / self.hybrid_bytes)

    def close_from(self, share: float = 0.05) -> float:
        """Return the context from which the fraction is within a share of its limit.

        Raises:
            ValueError: a share of zero or less.
        """
        if share <= 0:
            raise ValueError(f"share = {share} should be above 0")
        return self.excess_tokens / (self.limit * share)


def kv_saving(model: str | arch.Model, tokens: ArrayLike, against: Against = "own heads") -> KVSaving:
    """Return what a model's windows save in cache.

    Args:
        model: key in the catalog, or a model of full and sliding layers.
        tokens: context lengths, any shape.
        against: as in `all_full`; the same for MiMo-V2.5-Pro, whose layers all have 8 KV heads.

    Raises:
        ValueError: an unknown model, a length below 1.
    """
    ours, other = _model(model), all_full(model, against)
    context = tokens_array(tokens)
    slope = float(other.kv_bytes(1).total)  # bytes per token
    grows, fixed = float(ours.kv_bytes(1).growing), float(ours.kv_bytes(windows_full_at(ours)).fixed)
    sizes = ours.kv_bytes(context).total, other.kv_bytes(context).total
    return KVSaving(context, *sizes, limit=grows / slope, excess_tokens=fixed / slope)


def windows_full_at(model: arch.Model) -> int:
    """Return the context at which every window of a model is full."""
    return max((a.window for a, _ in model.layers if isinstance(a, arch.SlidingWindow)), default=1)


# --- compute ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Prefill:
    """FLOPs of reading a prompt without cache, arrays shaped like the lengths asked for."""

    attention: Floats  # FLOPs of queries with keys and values, indexer included
    matrices: Floats  # FLOPs of the layers' matrices; the output head is left out

    @property
    def total(self) -> Floats:
        """FLOPs of attention and matrices together."""
        return np.asarray(self.attention + self.matrices)

    @property
    def attention_share(self) -> Floats:
        """Share of attention in the total, 0 to 1."""
        return np.asarray(self.attention / self.total)


def prefill(model: str | arch.Model, tokens: ArrayLike) -> Prefill:
    """Return what a cold, causal prefill computes.

    Args:
        model: key in the catalog, or a model.
        tokens: prompt lengths, any shape.

    Raises:
        ValueError: an unknown model, a length below 1.
    """
    found = arch.load(model)
    flops = found.prefill_flops(tokens)
    parts = flops.grouped()
    return Prefill(parts["core"] + parts["indexer"], parts["linear"] - flops.by_component["head"])


@dataclass(frozen=True)
class PrefillRatio:
    """A hybrid's prefill beside that of its full layers alone, and that of the same stack without windows."""

    tokens: Floats  # prompt lengths asked for
    hybrid: Prefill  # FLOPs of the model
    full_layers: Prefill  # FLOPs of its full layers alone
    no_windows: Prefill  # FLOPs of all its layers, seeing every token

    @property
    def attention_only(self) -> Floats:
        """Attention over the full layers' attention: near one is what "a 10-layer GQA model" means."""
        return np.asarray(self.hybrid.attention / self.full_layers.attention)

    @property
    def with_matrices(self) -> Floats:
        """FLOPs of the whole prefill over those of the full layers' prefill."""
        return np.asarray(self.hybrid.total / self.full_layers.total)

    @property
    def attention_saved(self) -> Floats:
        """How many times as much attention the stack without windows computes."""
        return np.asarray(self.no_windows.attention / self.hybrid.attention)

    @property
    def saved(self) -> Floats:
        """How many times as much the stack without windows computes in all."""
        return np.asarray(self.no_windows.total / self.hybrid.total)


def prefill_ratio(model: str | arch.Model, tokens: ArrayLike) -> PrefillRatio:
    """Return a hybrid's prefill beside its full layers alone and beside the stack without windows.

    Args:
        model: key in the catalog, or a model of full and sliding layers.
        tokens: prompt lengths, any shape.

    Raises:
        ValueError: an unknown model, a length below 1.
    """
    context = tokens_array(tokens)
    sides = (prefill(each, context) for each in (_model(model), only_full(model), all_full(model)))
    return PrefillRatio(context, *sides)


def uncausal_attention_flops(model: str | arch.Model, tokens: ArrayLike) -> Floats:
    """Return attention FLOPs of a prompt if every query read as many keys as the last one: nothing halved for order.

    Source: how arXiv 2607.13095 Fig. 1a counts; a causal kernel computes half of it.
    """
    context, found = tokens_array(tokens), _model(model)
    reads = (read for attention, _ in found.layers for read in attention.reads("prefill"))
    return np.asarray(sum(read.flops_per_entry * read.entries.at(context) * context for read in reads))


def equal_keys(model: str | arch.Model) -> float:
    """Return the keys per full layer at which one query's attention computes as much as the layers' matrices.

    What the windows read is left out; the output head too.

    Raises:
        ValueError: an unknown model, or one without full layers.
    """
    found = _model(model)
    per_key = sum(r.flops_per_entry for a, _ in only_full(found).layers for r in a.reads("prefill"))
    return float(prefill(found, 1).matrices) / per_key
