"""Patterns of operators, and the fused operator that could take the place of each.

A pattern is a function of tensors and numbers, traced into a graph of `torch.fx`: its arguments stand for whatever the
model's graph has in their place. So a number such as eps is an argument and no part of the pattern. The replacement is
a function of some of the same arguments, by name. A model's authors write one thing in several ways; each is a pattern
of its own, the longest first, because a short one may be a part of a long one.

That a pattern matches says nothing of whether its replacement computes the same: `checking` asks that of each match.

>>> import torch
>>> aten, fused = torch.ops.aten, torch.ops.costlab_fused
>>> gated = Pattern(
...     "swiglu", "gate first",
...     lambda gate, up: aten.mul.Tensor(aten.silu.default(gate), up),
...     lambda gate, up: fused.swiglu.default(gate, up),
... )
>>> gated.slots, [node.name for node in gated.graph().nodes]
(('gate', 'up'), ['gate', 'up', 'silu_default', 'mul_tensor', 'output'])
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import fx

from costlab.nn.chips.fusion import ops

_aten = torch.ops.aten
_fused = getattr(torch.ops, ops.NAMESPACE)
_END = sys.maxsize  # "to the end" of a slice
_F32 = torch.float32


@dataclass(frozen=True)
class Pattern:
    """Operators as they stand in graphs, and what could stand in their place."""

    name: str  # what they compute: "rms_norm", "add_rms_norm", "rotary", "swiglu", "attention", "gating"
    form: str  # how they are written, in words
    matched: Callable[..., Any]  # the operators, of tensors and numbers
    replacement: Callable[..., Any]  # the call in their place, of some of the same arguments, by name
    given: tuple[str, ...] = ()  # the arguments' names; (): those that `matched` declares

    def __str__(self) -> str:
        return f"{self.name} ({self.form})"

    @property
    def slots(self) -> tuple[str, ...]:
        """Names of the arguments, in order."""
        return self.given or tuple(inspect.signature(self.matched).parameters)

    def graph(self) -> fx.Graph:
        """Return the operators as a graph, its placeholders in the order of `slots`."""
        return _traced(self.slots, self.matched)

    def replaced(self, numbers: Mapping[str, Any] | None = None) -> fx.Graph:
        """Return the call in their place as a graph with the same placeholders.

        Args:
            numbers: arguments that are no tensors, as a match found them.
        """
        wanted = inspect.signature(self.replacement).parameters
        every = any(each.kind == inspect.Parameter.VAR_KEYWORD for each in wanted.values())
        return _traced(self.slots, self.replacement, numbers, None if every else tuple(wanted))


def _traced(
    slots: tuple[str, ...],
    function: Callable[..., Any],
    numbers: Mapping[str, Any] | None = None,
    wanted: tuple[str, ...] | None = None,
) -> fx.Graph:
    graph = fx.Graph()
    tracer = fx.proxy.GraphAppendingTracer(graph)
    given: dict[str, Any] = {name: fx.Proxy(graph.placeholder(name), tracer) for name in slots}
    given |= numbers or {}
    made = function(**{name: each for name, each in given.items() if wanted is None or name in wanted})
    graph.output(fx.node.map_aggregate(made, lambda each: each.node if isinstance(each, fx.Proxy) else each))
    return graph


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
    Pattern("rms_norm", "in float32, the weight after the cast back", _weight_after, _norm),
    Pattern("rms_norm", "in float32, the weight before the cast back", _weight_before, _norm),
    Pattern("rms_norm", "in one type, the weight first", _weight_first, _norm),
    Pattern("rms_norm", "in one type, the weight last", _weight_last, _norm),
    Pattern("rms_norm", "no weight, the root in float32", _wide_root, _bare_norm),
    Pattern("rms_norm", "no weight", partial(_unit, square="square"), _bare_norm, ("x", "eps")),
    Pattern("rms_norm", "torch.nn.RMSNorm", _module_norm, _norm),
)


def _sum_and_norm(x: Any, residual: Any, weight: Any, eps: Any) -> Any:
    total = _aten.add.Tensor(x, residual)
    return total, _fused.rms_norm.default(total, weight, eps)


def _add_norm(x: Any, residual: Any, weight: Any, eps: Any) -> Any:
    made = _fused.add_rms_norm.default(x, residual, weight, eps)
    return made[0], made[1]


_ADD_NORMS = (Pattern("add_rms_norm", "a sum and its norm, both read later", _sum_and_norm, _add_norm),)


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
    Pattern("swiglu", "with a limit", _clamped, _limited_swiglu),
    Pattern("swiglu", "gate first", _gate_first, _swiglu),
    Pattern("swiglu", "gate last", _gate_last, _swiglu),
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
    Pattern("rotary", "halves, a table over all channels", _halves, _rotary("halves")),
    Pattern("rotary", "halves, a table over pairs", partial(_chunks, second_first=False), _rotary("halves"), _OF_TABLE),
    Pattern("rotary", "halves, the second product first", partial(_chunks, second_first=True), _rotary("halves"), _OF_TABLE),
    Pattern("rotary", "neighbours read, halves written", _regrouped, _rotary("regrouped")),
    Pattern("rotary", "neighbours, a table over pairs", _interleaved, _rotary("interleaved")),
    Pattern("rotary", "neighbours, in float32, a table over all channels", _wide_neighbours, _rotary("interleaved")),
    Pattern("rotary", "neighbours, a table over all channels", _neighbours, _rotary("interleaved")),
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
    def call(logits: Any, k: Any) -> Any:
        made = _fused.gating.default(logits, None, k, score, normalise)
        return made[0], made[1]

    return call


def _biased_gate(score: str) -> Callable[..., Any]:
    def call(logits: Any, bias: Any, k: Any, ordered: Any, eps: Any, scale: Any) -> Any:
        made = _fused.gating.default(logits, bias, k, score, "sum", eps, scale, 1, 1, ordered)
        return made[0], made[1]

    return call


def _grouped_gate(logits: Any, bias: Any, shape: Any, kept: Any, k: Any, ordered: Any, eps: Any, scale: Any) -> Any:
    made = _fused.gating.default(logits, bias, k, "sigmoid", "sum", eps, scale, shape[1], kept, ordered)
    return made[0], made[1]


_LOGITS = ("logits", "k", "wide")
_BIASED = ("logits", "bias", "k", "ordered", "eps", "scale")
_GROUPED = ("logits", "bias", "shape", "kept", "spread", "flat", "k", "ordered", "eps", "scale")


def _soft(normed: bool) -> Pattern:
    form = "softmax, the top k" + (", shares of their sum" if normed else "")
    return Pattern("gating", form, partial(_soft_top_k, normed=normed), _gate("softmax", "sum" if normed else "none"), _LOGITS)


def _with_bias(score: str) -> Pattern:
    form = f"{score}, the top k by a bias, shares of their sum"
    return Pattern("gating", form, partial(_biased, score=score), _biased_gate(score), _BIASED)


_GATES = (
    Pattern("gating", "sigmoid, the top k within groups by a bias, shares of their sum", _grouped, _grouped_gate, _GROUPED),
    *(_with_bias(score) for score in ("sigmoid", "sqrt-softplus")),
    *(_soft(normed) for normed in (True, False)),
    Pattern("gating", "the top k, softmax of them", _top_k_soft, _gate("none", "softmax")),
)


# --- attention ---------------------------------------------------------------------------------------------------


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

    def pattern(self) -> Pattern:
        return Pattern("attention", str(self), self.matched, _attention, self.slots)


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
_ATTENTIONS = (
    *(way.pattern() for way in _WAYS),
    Pattern("attention", "torch's, groups", _grouped_sdpa, _attention, ("query", "key", "value", "mask", "scale", *_SPREAD)),
)

#: All patterns, in the order in which they are tried.
PATTERNS: tuple[Pattern, ...] = (*_ATTENTIONS, *_ROTARIES, *_NORMS, *_ADD_NORMS, *_SWIGLUS, *_GATES)
