"""Replacements that match and are wrong, as test subjects: each has been made by somebody, or could easily be.

Their patterns are those of `patterns`, so that no comparison of graphs tells them from the right ones. Numbers do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch

from costlab.nn.chips.fusion import ops
from costlab.nn.chips.fusion.pattern import FusionPattern
from costlab.nn.chips.fusion.patterns import PATTERNS

_aten = torch.ops.aten
_fused = getattr(torch.ops, ops.NAMESPACE)


def _bool_mask(query: Any, key: Any, value: Any, mask: Any, scale: Any, **rest: Any) -> Any:
    """As torchair's pattern does: what the mask adds is taken for "hidden" wherever it is not 0."""
    seen = _aten.logical_not.default(_aten.to.dtype(mask, torch.bool))
    return _fused.attention.default(query, key, value, seen, rest.get("sink"), scale)


def _uniform(query: Any, key: Any, value: Any) -> Any:
    """As an operator called without its mask was seen to do: the average of all values, whatever the scores."""
    return _fused.attention.default(_aten.mul.Scalar(query, 0.0), key, value, None, None, 1.0)


def _no_weight(x: Any, weight: Any, eps: Any) -> Any:
    return _fused.rms_norm.default(x, None, eps)


def _no_eps(x: Any, weight: Any, eps: Any) -> Any:
    return _fused.rms_norm.default(x, weight, 0.0)


def _other_pairing(x: Any, cos: Any, sin: Any) -> Any:
    return _fused.rotary.default(x, cos, sin, "interleaved")


def _no_shares(logits: Any, k: Any) -> Any:
    """Normalised before the choice, by the softmax over all experts, and not after it."""
    made = _fused.gating.default(logits, None, k, "softmax", "none")
    return made[0], made[1]


def _biased_weights(logits: Any, bias: Any, k: Any, ordered: Any, eps: Any, scale: Any, **rest: Any) -> Any:
    """The bias steers the choice and should not weigh: here it does."""
    groups, kept = (rest["shape"][1], rest["kept"]) if "shape" in rest else (1, 1)
    chosen = _fused.gating.default(logits, bias, k, "sigmoid", "none", eps, scale, groups, kept, ordered)[1]
    picked = _aten.gather.default(_aten.add.Tensor(_aten.sigmoid.default(logits), bias), 1, chosen)
    total = _aten.add.Tensor(_aten.sum.dim_IntList(picked, [-1], True), eps)
    return _aten.mul.Tensor(_aten.div.Tensor(picked, total), scale), chosen


def _swapped(gate: Any, up: Any) -> Any:
    return _fused.swiglu.default(up, gate)


def _like(name: str, replacement: Callable[..., Any], needs: str, says: str = "") -> tuple[FusionPattern, ...]:
    """Return the patterns of one name that have some arguments and words, each with another replacement."""
    named = (each for each in PATTERNS if each.name == name and set(needs.split()) <= set(each.slots))
    return tuple(replace(each, replacement=replacement) for each in named if says in each.form)


#: Wrong replacements by what is wrong with them.
WRONG: Mapping[str, tuple[FusionPattern, ...]] = {
    "a float mask read as bool": _like("attention", _bool_mask, "mask wide"),
    "the mask left out": _like("attention", _uniform, "mask"),
    "the norm's weight left out": _like("rms_norm", _no_weight, "x weight"),
    "eps left out": _like("rms_norm", _no_eps, "x weight"),
    "other channels paired": _like("rotary", _other_pairing, "x cos sin", "halves, "),
    "normalised before the choice": _like("gating", _no_shares, "wide", "shares"),
    "weighed with the bias": _like("gating", _biased_weights, "bias", "sigmoid"),
    "gate and up exchanged": _like("swiglu", _swapped, "gate up"),
}
