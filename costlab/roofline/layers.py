"""Compute seconds of a prefill, layer by layer, in plain numbers and so in a microsecond.

Chapter: cache
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from costlab import arch
from costlab.arch import Attention, Model
from costlab.arch.experts import FeedForward

#: Seconds per entry of what is read or held, and its entries: tokens of each, the most there are, whether they restart.
Reads = tuple[tuple[float, int, int | None, bool], ...]
#: A layer: its attention and its feed-forward part.
LayerPair = tuple[Attention, FeedForward]


@dataclass(frozen=True)
class LayerCost:
    """Seconds of one layer: per new token, per cached token, and per key that a query reads."""

    new_s: float  # seconds per new token
    cached_s: float  # seconds per cached token
    reads: Reads  # of what a query reads
    last_only: bool = False  # whether only the last token of a prompt runs it

    def seconds(self, new: int, prefix: int) -> float:
        """Return the seconds of `new` tokens after `prefix` cached ones."""
        if self.last_only:
            new, prefix = 1, prefix + new - 1
        total = new * self.new_s + prefix * self.cached_s
        for each_s, stride, cap, restarts in self.reads:
            total += each_s * entries_between(prefix, new, stride, cap, restarts)
        return total


def entries_between(prefix: int, new: int, stride: int, cap: int | None, restarts: bool = False) -> float:
    """Return the entries that `new` queries after `prefix` tokens read; the two usual cases at once, for speed."""
    if stride == 1 and cap is None:
        return new * (2 * prefix + new + 1) / 2
    if restarts and cap is not None:
        return _in_chunks(prefix + new, cap) - _in_chunks(prefix, cap)
    if stride == 1 and cap is not None and prefix >= cap:
        return new * cap
    return _entries(prefix + new, stride, cap) - _entries(prefix, stride, cap)


def entries_there(tokens: int, stride: int, cap: int | None, restarts: bool = False) -> int:
    """Return the entries that exist after `tokens` tokens, at least 1; `Entries.at` in plain numbers, for speed."""
    if restarts and cap is not None:
        return (tokens - 1) % cap + 1
    entries = tokens // stride
    return entries if cap is None or entries < cap else cap


def _in_chunks(tokens: int, chunk: int) -> float:
    """Sum of (i - 1) % chunk + 1 for i = 1..tokens."""
    whole, rest = divmod(tokens, chunk)
    return (whole * chunk * (chunk + 1) + rest * (rest + 1)) / 2


def _entries(tokens: int, stride: int, cap: int | None) -> float:
    """Sum of min(i // stride, cap) for i = 1..tokens; `costlab.arch.Entries` in plain numbers, for speed."""
    if stride == 1:
        if cap is None or tokens <= cap:
            return tokens * (tokens + 1) / 2
        return cap * (cap + 1) / 2 + (tokens - cap) * cap
    free = tokens if cap is None else min(tokens, cap * stride)
    whole, rest = divmod(free, stride)
    rising = stride * whole * (whole - 1) / 2 + whole * (rest + 1)
    return rising if cap is None else rising + (tokens - free) * cap


@dataclass(frozen=True)
class PrefillCost:
    """Compute seconds of prefills of one model at given rates: kinds of layers, which kind each layer is, the head."""

    kinds: tuple[LayerCost, ...]  # costs of the different layers
    layers: tuple[int, ...]  # index into `kinds` of each layer in order
    head_s: float  # seconds of the output head, once per prefill

    def total_s(self, new: int, prefix: int = 0) -> float:
        """Return the compute seconds of reading `new` tokens after `prefix` cached ones."""
        layers_s = 0.0
        for stack in self._stacks:  # one, as a rule
            layers_s += stack.seconds(new, prefix)
        return self.head_s + layers_s

    def layer_s(self, new: int, prefix: int = 0) -> list[float]:
        """Return the same layer by layer; the head counts with the last layer."""
        each = [kind.seconds(new, prefix) for kind in self.kinds]
        seconds = list(map(each.__getitem__, self.layers))
        seconds[-1] += self.head_s
        return seconds

    @functools.cached_property
    def _stacks(self) -> list[LayerCost]:
        """All layers that run for the same tokens as one."""
        sorts: dict[bool, list[LayerCost]] = {}
        for kind in map(self.kinds.__getitem__, self.layers):
            sorts.setdefault(kind.last_only, []).append(kind)
        return [_stacked(layers, last) for last, layers in sorts.items()]


def _stacked(layers: list[LayerCost], last_only: bool) -> LayerCost:
    reads: dict[tuple[int, int | None, bool], float] = {}
    for layer in layers:
        for each_s, stride, cap, restarts in layer.reads:
            reads[stride, cap, restarts] = reads.get((stride, cap, restarts), 0.0) + each_s
    new_s, cached_s = sum(layer.new_s for layer in layers), sum(layer.cached_s for layer in layers)
    return LayerCost(new_s, cached_s, tuple((s, *kind) for kind, s in reads.items()), last_only)


def prefill_cost(model: str, seconds_per_flop: Callable[[str], float]) -> PrefillCost:
    """Return the compute seconds of a catalogued model's layers.

    Args:
        model: key in the catalog.
        seconds_per_flop: of a precision, e.g. `seconds_per_flop_at(400e12)` or `seconds_per_flop_on("h800", 8, 0.4)`.

    Raises:
        ValueError: an unknown model.

    Source: costlab.arch counts the FLOPs.
    """
    built = arch.load(model)
    first = built.record.prefill_layers or len(built.layers)
    runs = [(pair, i >= first) for i, pair in enumerate(built.layers)]
    sorts = list(dict.fromkeys(runs))
    spread_s = _between_layers_s(built, seconds_per_flop)
    kinds = tuple(_layer_cost(built, pair, seconds_per_flop, spread_s[last], last) for pair, last in sorts)
    order = tuple(sorts.index(run) for run in runs)
    head = 2.0 * built.params.active_by_component["head"] * seconds_per_flop(built.math_precision("head"))
    return PrefillCost(kinds, order, head)


def _layer_cost(
    model: Model, pair: LayerPair, seconds_per_flop: Callable[[str], float], spread_s: float, last_only: bool
) -> LayerCost:
    attention, _ = pair
    new_s = sum(2.0 * n * seconds_per_flop(model.math_precision(name)) for name, n in _multiplied(model, pair).items())
    cached_s = 0.0 if last_only else attention.reexpansion_flops() * seconds_per_flop(model.math_precision("latent_up"))
    reads = tuple(
        (
            r.flops_per_entry * seconds_per_flop(model.math_precision(r.component)),
            r.entries.stride,
            r.entries.cap,
            r.entries.restarts,
        )
        for r in attention.reads("decode" if last_only else "prefill")
    )
    return LayerCost(new_s + spread_s, cached_s, reads, last_only)


def _multiplied(model: Model, pair: LayerPair) -> Counter[str]:
    """Parameters of a layer that each token multiplies, by component."""
    attention, ffn = pair
    counts = Counter(attention.params(model.record.hidden))
    counts.update(ffn.active(model.record.hidden))
    del counts["norm"]  # vectors multiply nothing that counts
    return counts


def _between_layers_s(model: Model, seconds_per_flop: Callable[[str], float]) -> list[float]:
    """Seconds per token and layer of what belongs to no attention or feed-forward part: mixing of residual streams.

    Of the layers that a prompt's tokens run, and of those that only its last one does.
    """
    params, first = model.params, model.record.prefill_layers
    last = Counter(params.active_by_component)
    last.subtract(params.prefill)
    del last["head"]
    found = []
    for rest, pairs in ((Counter(params.prefill), model.layers[:first]), (last, model.layers[first:] if first else ())):
        for pair, count in Counter(pairs).items():
            rest.subtract({name: n * count for name, n in _multiplied(model, pair).items()})
        seconds = sum(2.0 * n * seconds_per_flop(model.math_precision(name)) for name, n in rest.items())
        found.append(seconds / max(1, len(pairs)))
    return found
