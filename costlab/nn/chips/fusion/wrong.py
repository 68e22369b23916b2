"""Replacements that match and are wrong, as test subjects: each has been made by somebody, or could easily be.

Their patterns are those of `patterns`, so that no comparison of graphs tells them from the right ones. Numbers do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch

from costlab.nn.chips.fusion import ops
from costlab.nn.chips.fusion.patterns import PATTERNS, Pattern

_aten = torch.ops.aten
_fused = getattr(torch.ops, ops.NAMESPACE)


def _bool_mask(query: Any, key: Any, value: Any, mask: Any, scale: Any) -> Any:
    """As torchair's pattern does: what the mask adds is taken for "hidden" wherever it is not 0."""
    seen = _aten.logical_not.default(_aten.to.dtype(mask, torch.bool))
    return _fused.attention.default(query, key, value, seen, None, scale)


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


def _biased_weights(logits: Any, bias: Any, k: Any, ordered: Any, eps: Any, scale: Any) -> Any:
    """The bias steers the choice and should not weigh: here it does."""
    scores = _aten.logit.default(_aten.add.Tensor(_aten.sigmoid.default(logits), bias))
    made = _fused.gating.default(scores, None, k, "sigmoid", "sum", eps, scale, 1, 1, ordered)
    return made[0], made[1]


def _swapped(gate: Any, up: Any) -> Any:
    return _fused.swiglu.default(up, gate)


def _like(name: str, replacement: Callable[..., Any], says: str, needs: tuple[str, ...]) -> tuple[Pattern, ...]:
    """Return the patterns of one name that have certain arguments, each with a wrong replacement."""
    found = (each for each in PATTERNS if each.name == name and set(needs) <= set(each.slots))
    return tuple(replace(each, form=f"{each.form}; {says}", replacement=replacement) for each in found)


def _rotaries() -> tuple[Pattern, ...]:
    found = _like("rotary", _other_pairing, "neighbours paired", ("x", "cos", "sin"))
    return tuple(each for each in found if each.form.startswith("halves"))


def _gates(normed: bool) -> tuple[Pattern, ...]:
    if not normed:
        return tuple(each for each in _like("gating", _biased_weights, "weighed with the bias", ("bias",)) if "within" not in each.form and "sigmoid" in each.form)
    return tuple(each for each in _like("gating", _no_shares, "not normalised after the choice", ("wide",)) if "shares" in each.form)


#: Wrong replacements by what is wrong with them.
WRONG: Mapping[str, tuple[Pattern, ...]] = {
    "a float mask read as bool": tuple(e for e in _like("attention", _bool_mask, "mask to bool", ("mask", "wide")) if "sink" not in e.slots),
    "the mask left out": tuple(e for e in _like("attention", _uniform, "no mask", ("mask",)) if "sink" not in e.slots),
    "the norm's weight left out": _like("rms_norm", _no_weight, "no weight", ("x", "weight")),
    "eps left out": _like("rms_norm", _no_eps, "no eps", ("x", "weight")),
    "other channels paired": _rotaries(),
    "normalised before the choice": _gates(normed=True),
    "weighed with the bias": _gates(normed=False),
    "gate and up exchanged": _like("swiglu", _swapped, "gate and up exchanged", ("gate", "up")),
}
