"""Patterns of operators as models hold them, the longest first, because a short one may be a part of a long one."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from costlab.nn.chips.fusion import ops
from costlab.nn.chips.fusion.attending import ATTENTIONS
from costlab.nn.chips.fusion.pattern import FusionPattern

_aten = torch.ops.aten
_fused = getattr(torch.ops, ops.NAMESPACE)
_END = sys.maxsize  # "to the end" of a slice
_F32 = torch.float32


# --- RMSNorm -----------------------------------------------------------------------------------------------------


def _mean_square(x: Any, square: Any) -> Any:
    squares = _aten.square.default(x) if square == "square" else _aten.pow.Tensor_Scalar(x, 2)
    return _aten.mean.dim(squares, [-1], True)


def _unit(x: Any, eps: Any, square: str = "pow") -> Any:
    """x / sqrt(mean(x^2) + eps), one operator after another."""
    return _aten.mul.Tensor(x, _aten.rsqrt.default(_aten.add.Tensor(_mean_square(x, square), eps)))


def _weight_after(x: Any, weight: Any, eps: Any, low: Any) -> Any:
    return _aten.mul.Tensor(weight, _aten.to.dtype(_unit(_aten.to.dtype(x, _F32), eps), low))


def _weight_before(x: Any, weight: Any, eps: Any, low: Any) -> Any:
    return _aten.to.dtype(_aten.mul.Tensor(weight, _unit(_aten.to.dtype(x, _F32), eps)), low)


def _weight_first(x: Any, weight: Any, eps: Any) -> Any:
    return _aten.mul.Tensor(weight, _unit(x, eps))


def _weight_last(x: Any, weight: Any, eps: Any) -> Any:
    return _aten.mul.Tensor(_unit(x, eps), weight)


def _wide_root(x: Any, eps: Any, low: Any) -> Any:
    root = _aten.rsqrt.default(_aten.add.Tensor(_mean_square(_aten.to.dtype(x, _F32), "square"), eps))
    return _aten.mul.Tensor(x, _aten.to.dtype(root, low))


def _module_norm(x: Any, shape: Any, weight: Any, eps: Any) -> Any:
    return _aten.rms_norm.default(x, shape, weight, eps)


def _norm(x: Any, weight: Any, eps: Any) -> Any:
    return _fused.rms_norm.default(x, weight, eps)


def _bare_norm(x: Any, eps: Any) -> Any:
    return _fused.rms_norm.default(x, None, eps)


_NORMS = (
    FusionPattern("rms_norm", "in float32, the weight after the cast back", _weight_after, _norm),
    FusionPattern("rms_norm", "in float32, the weight before the cast back", _weight_before, _norm),
    FusionPattern("rms_norm", "in one type, the weight first", _weight_first, _norm),
    FusionPattern("rms_norm", "in one type, the weight last", _weight_last, _norm),
    FusionPattern("rms_norm", "no weight, the root in float32", _wide_root, _bare_norm),
    FusionPattern("rms_norm", "no weight", partial(_unit, square="square"), _bare_norm, ("x", "eps")),
    FusionPattern("rms_norm", "torch.nn.RMSNorm", _module_norm, _norm),
)


def _sum_and_norm(x: Any, residual: Any, weight: Any, eps: Any) -> Any:
    total = _aten.add.Tensor(x, residual)
    return total, _fused.rms_norm.default(total, weight, eps)


def _add_norm(x: Any, residual: Any, weight: Any, eps: Any) -> Any:
    made = _fused.add_rms_norm.default(x, residual, weight, eps)
    return made[0], made[1]


_ADD_NORMS = (FusionPattern("add_rms_norm", "a sum and its norm, both read later", _sum_and_norm, _add_norm),)


# --- feed-forward ------------------------------------------------------------------------------------------------


def _clamped(gate: Any, up: Any, high: Any, low: Any, top: Any) -> Any:
    inner = _aten.silu.default(_aten.clamp.default(gate, None, high))
    return _aten.mul.Tensor(inner, _aten.clamp.default(up, low, top))


def _gate_first(gate: Any, up: Any) -> Any:
    return _aten.mul.Tensor(_aten.silu.default(gate), up)


def _gate_last(gate: Any, up: Any) -> Any:
    return _aten.mul.Tensor(up, _aten.silu.default(gate))


def _swiglu(gate: Any, up: Any) -> Any:
    return _fused.swiglu.default(gate, up)


def _limited_swiglu(gate: Any, up: Any, high: Any) -> Any:
    return _fused.swiglu.default(gate, up, high)


_SWIGLUS = (
    FusionPattern("swiglu", "with a limit", _clamped, _limited_swiglu),
    FusionPattern("swiglu", "gate first", _gate_first, _swiglu),
    FusionPattern("swiglu", "gate last", _gate_last, _swiglu),
)


# --- rotary: a table holds an angle's cosine once for a pair, or for each of its channels ------------------------


def _halves(x: Any, cos: Any, sin: Any, axis: Any, half: Any) -> Any:
    first, second = _aten.slice.Tensor(x, axis, 0, half), _aten.slice.Tensor(x, axis, half, _END)
    swapped = _aten.cat.default([_aten.neg.default(second), first], -1)
    return _aten.add.Tensor(_aten.mul.Tensor(x, cos), _aten.mul.Tensor(swapped, sin))


def _turned(a: Any, b: Any, cos: Any, sin: Any, second_first: bool) -> list[Any]:
    first = _aten.sub.Tensor(_aten.mul.Tensor(a, cos), _aten.mul.Tensor(b, sin))
    products = (_aten.mul.Tensor(a, sin), _aten.mul.Tensor(b, cos))
    return [first, _aten.add.Tensor(*(products[::-1] if second_first else products))]


def _chunks(x: Any, cos: Any, sin: Any, second_first: bool) -> Any:
    made = _aten.chunk.default(x, 2, -1)
    return _aten.cat.default(_turned(made[0], made[1], cos, sin, second_first), -1)


def _even_odd(x: Any, axis: Any) -> tuple[Any, Any]:
    return _aten.slice.Tensor(x, axis, 0, _END, 2), _aten.slice.Tensor(x, axis, 1, _END, 2)


def _regrouped(x: Any, cos: Any, sin: Any, axis: Any) -> Any:
    return _aten.cat.default(_turned(*_even_odd(x, axis), cos, sin, True), -1)


def _interleaved(x: Any, cos: Any, sin: Any, axis: Any) -> Any:
    pairs = _aten.stack.default(_turned(*_even_odd(x, axis), cos, sin, False), -1)
    return _aten.flatten.using_ints(pairs, -2)


def _swapped_neighbours(x: Any, axis: Any) -> Any:
    even, odd = _even_odd(x, axis)
    return _aten.flatten.using_ints(_aten.stack.default([_aten.neg.default(odd), even], -1), -2)


def _neighbours(x: Any, cos: Any, sin: Any, axis: Any) -> Any:
    swapped = _swapped_neighbours(x, axis)
    return _aten.add.Tensor(_aten.mul.Tensor(x, cos), _aten.mul.Tensor(swapped, sin))


def _wide_neighbours(x: Any, cos: Any, sin: Any, axis: Any, low: Any) -> Any:
    swapped = _aten.to.dtype(_swapped_neighbours(x, axis), _F32)
    wide = _aten.mul.Tensor(_aten.to.dtype(x, _F32), cos)
    return _aten.to.dtype(_aten.add.Tensor(wide, _aten.mul.Tensor(swapped, sin)), low)


def _rotary(pairing: str) -> Callable[..., Any]:
    def call(x: Any, cos: Any, sin: Any) -> Any:
        return _fused.rotary.default(x, cos, sin, pairing)

    return call


_OF_TABLE = ("x", "cos", "sin")
_ROTARIES = (
    FusionPattern("rotary", "halves, a table over all channels", _halves, _rotary("halves")),
    FusionPattern(
        "rotary", "halves, a table over pairs", partial(_chunks, second_first=False), _rotary("halves"), _OF_TABLE
    ),
    FusionPattern(
        "rotary", "halves, the second product first", partial(_chunks, second_first=True), _rotary("halves"), _OF_TABLE
    ),
    FusionPattern("rotary", "neighbours read, halves written", _regrouped, _rotary("regrouped")),
    FusionPattern("rotary", "neighbours, a table over pairs", _interleaved, _rotary("interleaved")),
    FusionPattern(
        "rotary", "neighbours, in float32, a table over all channels", _wide_neighbours, _rotary("interleaved")
    ),
    FusionPattern("rotary", "neighbours, a table over all channels", _neighbours, _rotary("interleaved")),
)


# --- gating ------------------------------------------------------------------------------------------------------


def _share(picked: Any, total: Any, in_place: bool) -> Any:
    return (_aten.div_ if in_place else _aten.div).Tensor(picked, total)


def _soft_top_k(logits: Any, k: Any, wide: Any, normed: bool) -> Any:
    best = _aten.topk.default(_aten.softmax.int(logits, -1, wide), k)
    picked, chosen = best[0], best[1]
    return (_share(picked, _aten.sum.dim_IntList(picked, [-1], True), True) if normed else picked), chosen


def _top_k_soft(logits: Any, k: Any, axis: Any, wide: Any) -> Any:
    best = _aten.topk.default(logits, k)
    return _aten.softmax.int(best[0], axis, wide), best[1]


def _score(logits: Any, score: str) -> Any:
    return _aten.sigmoid.default(logits) if score == "sigmoid" else _aten.sqrt.default(_aten.softplus.default(logits))


def _weighed(scores: Any, chosen: Any, eps: Any, scale: Any, in_place: bool) -> Any:
    picked = _aten.gather.default(scores, 1, chosen)
    total = _aten.add.Tensor(_aten.sum.dim_IntList(picked, [-1], True), eps)
    return _aten.mul.Tensor(_share(picked, total, in_place), scale), chosen


def _biased(logits: Any, bias: Any, k: Any, ordered: Any, eps: Any, scale: Any, score: str) -> Any:
    scores = _score(logits, score)
    chosen = _aten.topk.default(_aten.add.Tensor(scores, bias), k, -1, True, ordered)[1]
    return _weighed(scores, chosen, eps, scale, in_place=False)


def _grouped(logits: Any, bias: Any, shape: Any, kept: Any, spread: Any, flat: Any, k: Any, **rest: Any) -> Any:
    scores = _aten.sigmoid.default(logits)
    steered = _aten.add.Tensor(scores, bias)
    best_two = _aten.sum.dim_IntList(_aten.topk.default(_aten.view.default(steered, shape), 2)[0], [-1])
    groups = _aten.topk.default(best_two, kept, -1, True, False)[1]
    visited = _aten.scatter_.value(_aten.zeros_like.default(best_two, pin_memory=False), 1, groups, 1)
    wide = _aten.reshape.default(_aten.expand.default(_aten.unsqueeze.default(visited, -1), spread), flat)
    barred = _aten.bitwise_not.default(_aten.to.dtype(wide, torch.bool))
    within = _aten.masked_fill.Scalar(steered, barred, -torch.inf)
    chosen = _aten.topk.default(within, k, -1, True, rest["ordered"])[1]
    return _weighed(scores, chosen, rest["eps"], rest["scale"], in_place=True)


def _gate(score: str, normalise: str) -> Callable[..., Any]:
    def call(logits: Any, k: Any, wide: Any) -> Any:
        made = _fused.gating.default(logits, None, k, score, normalise, wide=wide is not None)
        return made[0], made[1]

    return call


def _biased_gate(score: str) -> Callable[..., Any]:
    def call(logits: Any, bias: Any, k: Any, ordered: Any, eps: Any, scale: Any) -> Any:
        made = _fused.gating.default(logits, bias, k, score, "sum", eps, scale, 1, 1, ordered, False)
        return made[0], made[1]

    return call


def _grouped_gate(logits: Any, bias: Any, shape: Any, kept: Any, k: Any, ordered: Any, eps: Any, scale: Any) -> Any:
    made = _fused.gating.default(logits, bias, k, "sigmoid", "sum", eps, scale, shape[1], kept, ordered, False)
    return made[0], made[1]


_LOGITS = ("logits", "k", "wide")
_BIASED = ("logits", "bias", "k", "ordered", "eps", "scale")
_GROUPED = ("logits", "bias", "shape", "kept", "spread", "flat", "k", "ordered", "eps", "scale")


def _soft(normed: bool) -> FusionPattern:
    form = "softmax, the top k" + (", shares of their sum" if normed else "")
    return FusionPattern(
        "gating", form, partial(_soft_top_k, normed=normed), _gate("softmax", "sum" if normed else "none"), _LOGITS
    )


def _with_bias(score: str) -> FusionPattern:
    form = f"{score}, the top k by a bias, shares of their sum"
    return FusionPattern("gating", form, partial(_biased, score=score), _biased_gate(score), _BIASED)


_GATES = (
    FusionPattern(
        "gating", "sigmoid, the top k within groups by a bias, shares of their sum", _grouped, _grouped_gate, _GROUPED
    ),
    *(_with_bias(score) for score in ("sigmoid", "sqrt-softplus")),
    *(_soft(normed) for normed in (True, False)),
    FusionPattern("gating", "the top k, softmax of them", _top_k_soft, _gate("none", "softmax")),
)


#: All patterns, in the order in which they are tried.
PATTERNS: tuple[FusionPattern, ...] = (*ATTENTIONS, *_ROTARIES, *_NORMS, *_ADD_NORMS, *_SWIGLUS, *_GATES)
