"""Attention as models write it: each way is put together from what it does and does not do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from costlab.nn.chips.fusion import ops
from costlab.nn.chips.fusion.pattern import FusionPattern

_aten = torch.ops.aten
_fused = getattr(torch.ops, ops.NAMESPACE)


@dataclass(frozen=True)
class _Written:
    """How attention is written."""

    repeats: bool  # keys and values once for each head of their group
    masks: bool
    sinks: bool
    centres: bool  # the largest score subtracted
    casts: bool  # weights back to the type of the values

    def __str__(self) -> str:
        parts = {"groups": self.repeats, "mask": self.masks, "sinks": self.sinks, "maximum": self.centres}
        parts["cast"] = self.casts
        return ", ".join(["written out", *(word for word, there in parts.items() if there)])

    @property
    def slots(self) -> tuple[str, ...]:
        wanted = {"mask": self.masks, "low": self.casts}
        wanted |= dict.fromkeys(("key_spread", "key_flat", "value_spread", "value_flat"), self.repeats)
        wanted |= dict.fromkeys(("sink", "sink_column", "sink_spread"), self.sinks)
        return ("query", "key", "value", "scale", "wide", *(name for name, there in wanted.items() if there))

    def matched(self, query: Any, key: Any, value: Any, scale: Any, **rest: Any) -> Any:
        keys, values = self._spread("key", key, rest), self._spread("value", value, rest)
        scores = _aten.mul.Tensor(_aten.matmul.default(query, _aten.transpose.int(keys, 2, 3)), scale)
        if self.masks:
            scores = _aten.add.Tensor(scores, rest["mask"])
        if self.sinks:
            column = _aten.reshape.default(rest["sink"], rest["sink_column"])
            scores = _aten.cat.default([scores, _aten.expand.default(column, rest["sink_spread"])], -1)
        weights = _softmax(scores, self.centres, rest["wide"])
        if self.sinks:
            weights = _aten.slice.Tensor(weights, 3, 0, -1)
        return _aten.matmul.default(_aten.to.dtype(weights, rest["low"]) if self.casts else weights, values)

    def _spread(self, what: str, x: Any, rest: Mapping[str, Any]) -> Any:
        return _repeated(x, rest[f"{what}_spread"], rest[f"{what}_flat"]) if self.repeats else x

    def pattern(self) -> FusionPattern:
        return FusionPattern("attention", str(self), self.matched, _attention, self.slots)


def _repeated(x: Any, spread: Any, flat: Any) -> Any:
    return _aten.reshape.default(_aten.expand.default(_aten.unsqueeze.default(x, 2), spread), flat)


def _softmax(scores: Any, centres: bool, wide: Any) -> Any:
    if centres:
        scores = _aten.sub.Tensor(scores, _aten.max.dim(scores, -1, True)[0])
    return _aten.softmax.int(scores, -1, wide)


def _attention(query: Any, key: Any, value: Any, scale: Any, **rest: Any) -> Any:
    return _fused.attention.default(query, key, value, rest.get("mask"), rest.get("sink"), scale)


def _grouped_sdpa(query: Any, key: Any, value: Any, mask: Any, scale: Any, **rest: Any) -> Any:
    keys = _repeated(key, rest["key_spread"], rest["key_flat"])
    values = _repeated(value, rest["value_spread"], rest["value_flat"])
    return _aten.scaled_dot_product_attention.default(query, keys, values, mask, scale=scale)


_SPREAD = ("key_spread", "key_flat", "value_spread", "value_flat")
_WAYS = [
    _Written(repeats, masks, sinks, sinks or centres, casts)
    for repeats in (True, False)
    for sinks, centres in ((True, True), (False, True), (False, False))
    for masks in (True, False)
    for casts in (True, False)
]
#: Attention, the ways that hold most operators first.
ATTENTIONS: tuple[FusionPattern, ...] = (
    *(way.pattern() for way in _WAYS),
    FusionPattern(
        "attention", "torch's, groups", _grouped_sdpa, _attention, ("query", "key", "value", "mask", "scale", *_SPREAD)
    ),
)
