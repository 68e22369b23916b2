"""In which numbers a model is served: weights, multiplications and cache as a name such as W4A8C16 says.

>>> from costlab import arch, chips
>>> flash = arch.load("deepseek-v4-flash")
>>> round(sum(flash.weight_bytes().values()) / 1e9)  # experts in MXFP4, as published
156
>>> round(sum(chips.as_served(flash, "W8A8").weight_bytes().values()) / 1e9)
286
"""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass

from costlab import arch, catalog
from costlab.arch import Attention, Model
from costlab.arch.attention import FullAttention, KeyedAttention, Layout
from costlab.catalog import DTYPE_BYTES, ChipRecord, FrozenDict, PublishedRun

#: What a quantised model keeps in few bits where its published form has none: matrices of the layers.
MATRICES = frozenset({"attention", "output", "latent_up", "index_proj", "dense", "shared", "experts"})
#: The published form, whatever it is.
OWN = "own"
#: Integers of so many bits.
_INTEGERS = {4: "int4", 8: "int8"}
_NAME = re.compile(r"w(4|8|16)a(8|16)(?:c(8|16))?")
_OWN_NAMES = frozenset({OWN, "mxfp8-mxfp4", "fp8", "bf16"})
#: Parts of a cached entry that say how its values are scaled.
_SCALES = frozenset({"ue8m0", "pad", "fp32"})


@dataclass(frozen=True)
class Format:
    """Bits in which a model is served; None leaves a part as the model's maker published it."""

    name: str  # as written, e.g. "W8A8C16"
    weights: int | None = None  # bits of the routed experts' weights; with 4, all other matrices have 8
    math: int | None = None  # bits of what multiplies them
    cache: int | None = None  # bits of a cached value


def format_named(name: str | Format) -> Format:
    """Return the format that a name stands for: bits of weights (W), activations (A) and cache (C), or "own".

    W8A8 stores each matrix that is published in few bits, an MXFP4 expert among them, as one byte a weight, and
    multiplies in INT8. W4A8 keeps the routed experts at half a byte, all else at one. Without C the cache keeps the
    published width; C8 and C16 store 1 and 2 bytes a value. "MXFP8-MXFP4", "FP8" and "BF16" name what is published.

    Raises:
        ValueError: another name, quoted.

    Source: names as in github.com/Ascend/msmodelslim and cann-recipes-infer.
    """
    if isinstance(name, Format):
        return name
    if name.lower() in _OWN_NAMES:
        return Format(name)
    found = _NAME.fullmatch(name.lower())
    if not found:
        raise ValueError(f"format {name!r} should be own, or look like W8A8, W4A8, W8A8C8 or W16A16")
    weights, math, cache = (int(bits) if bits else None for bits in found.groups())
    return Format(name, weights, math, cache)


def format_of(run: PublishedRun) -> Format:
    """Return the format of a published run; what it has in FP8 or FP4 is how its model is published."""
    bits = {"int4": 4, "int8": 8, "bf16": 16, "fp16": 16}
    return Format(f"{run.weights}, cache {run.cache}", *(bits.get(each) for each in (run.weights, run.math, run.cache)))


def format_on(chip: ChipRecord, model: Model, asked: str | Format | None = None) -> Format:
    """Return the format in which a chip serves a model: its own, or W8A8 where the chip multiplies INT8 in its place.

    A cache that is published in FP8 such a chip does not read either. Where the format leaves the cache open, the chip
    keeps it as published runs of the same attention on chips with the same substitutions do (V4's in 16 bits, V3.2's in
    8), else in 16 bits.

    Args:
        chip: the chip, which states what replaces FP8.
        model: as published.
        asked: a format; None for the chip's.

    Raises:
        ValueError: an unknown format.

    Source: the substitutions stated in catalog/chips.toml, the runs in catalog/ownership.toml.
    """
    found = format_named(_usual(chip, model) if asked is None else asked)
    if found.weights is None or found.cache is not None or chip.serves.get("fp8") != "int8":
        return found
    if not any(dtype == "fp8" for each in model.attention_counts for _, dtype in getattr(each, "entry", ())):
        return found
    kinds = frozenset(each.kind for each in model.attention_counts)
    bits = _cache_bits(kinds, tuple(sorted(chip.serves.items())))
    return dataclasses.replace(found, name=f"{found.name}C{bits}", cache=bits)


def _usual(chip: ChipRecord, model: Model) -> str:
    asked = {model.math_precision(name) for name in ("experts", "dense", "attention")}
    return "W8A8" if "int8" in {chip.serves.get(precision) for precision in asked} else OWN


@functools.cache
def _cache_bits(kinds: frozenset[str], serves: tuple[tuple[str, str], ...]) -> int:
    """The most bits of a cached value in published runs of a kind of attention, on chips of the same substitutions."""
    found = [
        format_of(run).cache
        for run in catalog.tables().runs.values()
        if tuple(sorted(catalog.chip(run.chip).serves.items())) == serves
        and kinds & {each.kind for each in arch.load(run.model).attention_counts}
    ]
    return max((bits for bits in found if bits), default=16)


def as_served(model: Model, format: str | Format) -> Model:
    """Return a model with its weights, multiplications and cache in a format; layers and parameters stay.

    Embedding, output head, router, norms and whatever else is published in 16 bits or more stays, unless all is.

    Raises:
        ValueError: an unknown format.
    """
    wanted, record = format_named(format), model.record
    parts = {*model.params.by_component, "index_proj", "indexer"}
    weights = {**record.weights, **_stored(record.weights, parts, wanted.weights)}
    math = {**record.math, **_multiplied(record.math, parts, wanted.math)}
    changed = dataclasses.replace(record, weights=FrozenDict(weights), math=FrozenDict(math))
    layers = tuple((_cached(attention, wanted.cache), ffn) for attention, ffn in model.layers)
    mtp = model.mtp_layer and (_cached(model.mtp_layer[0], wanted.cache), model.mtp_layer[1])
    return dataclasses.replace(model, record=changed, layers=layers, mtp_layer=mtp)


def _stored(table: Mapping[str, str], parts: set[str], bits: int | None) -> Mapping[str, str]:
    """Stored precision of the parts that a format changes."""
    if bits is None:
        return {}
    chosen = _narrow(table, parts)
    if bits == 16:
        return dict.fromkeys(chosen, "bf16")
    return {name: _INTEGERS[bits if name == "experts" else 8] for name in chosen}


def _multiplied(table: Mapping[str, str], parts: set[str], bits: int | None) -> Mapping[str, str]:
    """Precision of the multiplications that a format changes."""
    if bits is None:
        return {}
    return dict.fromkeys(_narrow(table, parts), "int8" if bits == 8 else "bf16")


def _narrow(table: Mapping[str, str], parts: set[str]) -> list[str]:
    """The components below 16 bits; of a table that has none, all matrices of the layers."""
    found = [name for name in parts if _is_narrow(table.get(name, table["default"]))]
    return found or [name for name in parts if name in MATRICES]


def _is_narrow(precision: str) -> bool:
    return DTYPE_BYTES.get(precision, 1.0) < 2  # of the multiplications "fp4xfp8" has no stored size


def _cached(attention: Attention, bits: int | None) -> Attention:
    """The same attention with cached values of so many bits."""
    if bits is None or not isinstance(attention, KeyedAttention):
        return attention
    changes: dict[str, Layout] = {"entry": _entry(attention, bits)}
    if key := getattr(attention, "index_key", None):
        changes["index_key"] = _index_key(key)
    return dataclasses.replace(attention, **changes)  # type: ignore[arg-type]  # of the classes that have the part


def _entry(attention: KeyedAttention, bits: int) -> Layout:
    """A cached entry: of 16 bits without scales; of 8 bits all but the rotary part of a vector that heads share."""
    values = [(n, dtype) for n, dtype in attention.entry if dtype not in _SCALES]
    if bits == 16:
        return ((sum(n for n, _ in values), "bf16"),)
    shared = not isinstance(attention, FullAttention)
    kept = attention.rope_dim if shared and len(values) > 1 else None
    return tuple((n, "bf16" if n == kept else "int8") for n, _ in values)


def _index_key(key: Layout) -> Layout:
    """An index key in INT8 with one FP32 scale, whatever the entries have: its scores need no more."""
    return ((sum(n for n, dtype in key if dtype not in _SCALES), "int8"), (1, "fp32"))


__all__ = ["MATRICES", "OWN", "Format", "as_served", "format_named", "format_of", "format_on"]
