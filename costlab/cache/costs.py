"""What a prefill computes and what a cached prefix moves, in seconds: per layer, in total, and against each other.

>>> from costlab.cache import costs
>>> hit = costs.hit_cost("mimo-v2.5-pro", 32_768, bandwidth_bytes_per_s=50e9, flops_per_s=400e12)
>>> round(hit.recompute_s, 1), round(hit.load_s * 1e3), round(hit.ratio)
(7.7, 34, 224)
"""

from __future__ import annotations

import functools
import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from costlab import arch, catalog, roofline
from costlab.arch import Attention, Model
from costlab.arch.experts import FeedForward
from costlab.cache.windows import Footprint, footprint
from costlab.checks import whole

#: A layer: its attention and its feed-forward part.
Layer = tuple[Attention, FeedForward]


@dataclass(frozen=True)
class LayerCost:
    """Seconds of one layer: per new token, per cached token, and per key that a query reads."""

    new_s: float
    cached_s: float
    reads: tuple[tuple[float, int, int | None], ...]  # (seconds per entry, stride, cap)

    def seconds(self, new: int, prefix: int) -> float:
        """Return the seconds of `new` tokens after `prefix` cached ones.

        Chapter: cache
        """
        total = new * self.new_s + prefix * self.cached_s
        for each_s, stride, cap in self.reads:
            total += each_s * _entries_between(prefix, new, stride, cap)
        return total


def _entries_between(prefix: int, new: int, stride: int, cap: int | None) -> float:
    """Entries that `new` queries after `prefix` tokens read; the two usual cases at once, for speed."""
    if stride == 1 and cap is None:
        return new * (2 * prefix + new + 1) / 2
    if stride == 1 and cap is not None and prefix >= cap:
        return new * cap
    return _entries(prefix + new, stride, cap) - _entries(prefix, stride, cap)


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
    """Compute seconds of prefills of one model at given rates: kinds of layers, which kind each layer is, the head.

    Chapter: cache
    """

    kinds: tuple[LayerCost, ...]
    layers: tuple[int, ...]
    head_s: float

    def total_s(self, new: int, prefix: int = 0) -> float:
        """Return the compute seconds of reading `new` tokens after `prefix` cached ones."""
        return self.head_s + self._stack.seconds(new, prefix)

    def layer_s(self, new: int, prefix: int = 0) -> list[float]:
        """Return the same layer by layer; the head counts with the last layer."""
        each = [kind.seconds(new, prefix) for kind in self.kinds]
        seconds = list(map(each.__getitem__, self.layers))
        seconds[-1] += self.head_s
        return seconds

    @functools.cached_property
    def _stack(self) -> LayerCost:
        """All layers as one."""
        reads: Counter[tuple[int, int | None]] = Counter()
        for layer in self.layers:
            for each_s, stride, cap in self.kinds[layer].reads:
                reads[stride, cap] += each_s  # type: ignore[assignment]  # a Counter adds floats too
        new_s = sum(self.kinds[layer].new_s for layer in self.layers)
        cached_s = sum(self.kinds[layer].cached_s for layer in self.layers)
        return LayerCost(new_s, cached_s, tuple((s, stride, cap) for (stride, cap), s in reads.items()))


def prefill_cost(model: str, seconds_per_flop: Callable[[str], float]) -> PrefillCost:
    """Return the compute seconds of a catalogued model's layers.

    Args:
        model: key in the catalog.
        seconds_per_flop: of a precision, e.g. `flat_rate(400e12)` or `chip_rate("h800", 8, 0.4)`.

    Raises:
        ValueError: an unknown model.

    Source: costlab.arch counts the FLOPs. Chapter: cache
    """
    built = arch.load(model)
    pairs = list(dict.fromkeys(built.layers))
    spread_s = _between_layers_s(built, seconds_per_flop) / len(built.layers)
    kinds = tuple(_layer_cost(built, pair, seconds_per_flop, spread_s) for pair in pairs)
    order = tuple(pairs.index(pair) for pair in built.layers)
    head = 2.0 * built.params.active_by_component["head"] * seconds_per_flop(_precision(built, "head"))
    return PrefillCost(kinds, order, head)


def _layer_cost(model: Model, pair: Layer, seconds_per_flop: Callable[[str], float], spread_s: float) -> LayerCost:
    attention, _ = pair
    new_s = sum(2.0 * n * seconds_per_flop(_precision(model, name)) for name, n in _multiplied(model, pair).items())
    cached_s = attention.reexpansion_flops() * seconds_per_flop(_precision(model, "latent_up"))
    reads = tuple(
        (r.flops_per_entry * seconds_per_flop(_precision(model, r.component)), r.entries.stride, r.entries.cap)
        for r in attention.reads("prefill")
    )
    return LayerCost(new_s + spread_s, cached_s, reads)


def _multiplied(model: Model, pair: Layer) -> Counter[str]:
    """Parameters of a layer that each token multiplies, by component."""
    attention, ffn = pair
    counts = Counter(attention.params(model.record.hidden))
    counts.update(ffn.active(model.record.hidden))
    del counts["norm"]  # vectors multiply nothing that counts
    return counts


def _between_layers_s(model: Model, seconds_per_flop: Callable[[str], float]) -> float:
    """Seconds per token of what belongs to no attention or feed-forward part: the mixing of residual streams."""
    rest = Counter(model.params.active_by_component)
    for pair, count in Counter(model.layers).items():
        rest.subtract({name: n * count for name, n in _multiplied(model, pair).items()})
    del rest["head"]
    return sum(2.0 * n * seconds_per_flop(_precision(model, name)) for name, n in rest.items())


def _precision(model: Model, component: str) -> str:
    math_of: Mapping[str, str] = model.record.math
    return math_of.get(component, math_of["default"])


def flat_rate(flops_per_s: float) -> Callable[[str], float]:
    """Return seconds per FLOP at one stated rate for every precision.

    Raises:
        ValueError: a rate that is not above 0.

    Chapter: cache
    """
    if not flops_per_s > 0:
        raise ValueError(f"flops_per_s should be above 0, got {flops_per_s}")
    return lambda precision: 1.0 / flops_per_s


def chip_rate(chip: str, chips: int = 1, efficiency: float = 1.0) -> Callable[[str], float]:
    """Return seconds per FLOP on catalogued chips, by precision, at the rates of `roofline.rate`.

    Args:
        chip: key in the catalog, e.g. "h800".
        chips: how many share the work evenly.
        efficiency: share of the peak that is reached, above 0 and at most 1.

    Raises:
        ValueError: an unknown chip, chips below 1, an efficiency out of range; when called, a precision without unit.

    Source: catalog/chips.toml. Chapter: cache
    """
    if whole(chips, "chips") < 1 or not 0 < efficiency <= 1:
        raise ValueError(f"chips should be at least 1 and efficiency in (0, 1], got {chips} and {efficiency}")
    record = catalog.chip(chip)
    return lambda precision: 1.0 / (roofline.rate(record, precision) * chips * efficiency)


@dataclass(frozen=True)
class HitCost:
    """A cached prefix against its recomputation, seconds and, where a rent is given, dollars.

    Nothing is hidden behind compute here: this is the worst case of a hit, its whole load waited for.
    """

    tokens: int
    load_bytes: float
    load_s: float
    recompute_s: float
    usd_per_s: float | None = None

    @property
    def ratio(self) -> float:
        """How many times longer recomputing takes; infinite for a hit that moves nothing."""
        return self.recompute_s / self.load_s if self.load_s else math.inf

    @property
    def load_usd(self) -> float | None:
        """What the instance costs while it waits for the load."""
        return None if self.usd_per_s is None else self.load_s * self.usd_per_s

    @property
    def recompute_usd(self) -> float | None:
        """What the instance costs while it recomputes."""
        return None if self.usd_per_s is None else self.recompute_s * self.usd_per_s

    def keep_hours(self, usd_per_gb_hour: float) -> float | None:
        """Return for how many hours keeping the prefix costs less than the recomputation that a hit saves.

        Chapter: cache
        """
        if self.load_usd is None or self.recompute_usd is None:
            return None
        saved, hourly = self.recompute_usd - self.load_usd, self.load_bytes / 1e9 * usd_per_gb_hour
        return saved / hourly if hourly else math.inf


def hit_cost(
    model: str,
    tokens: int,
    *,
    bandwidth_bytes_per_s: float,
    latency_s: float = 0.0,
    flops_per_s: float | None = None,
    chip: str = "h800",
    chips: int = 1,
    efficiency: float = 0.4,
    usd_per_chip_hour: float | None = None,
    feet: Footprint | None = None,
) -> HitCost:
    """Return what loading a cached prefix of `tokens` tokens takes, against computing it again.

    Args:
        model: key in the catalog.
        tokens: length of the prefix, at least 1.
        bandwidth_bytes_per_s: from where it lies to the chip; infinity for HBM.
        latency_s: before the first byte.
        flops_per_s: one rate for everything, as a quick estimate takes it; None: from chip, chips, efficiency.
        chip: key in the catalog.
        chips: how many compute the prefill together.
        efficiency: share of the peak reached.
        usd_per_chip_hour: rent, for the dollars; None leaves them out.
        feet: another footprint, e.g. `footprint(model).everything()`; None: the model's.

    Raises:
        ValueError: an unknown model or chip, a count or rate out of range.

    Chapter: cache
    """
    if tokens < 1 or not bandwidth_bytes_per_s > 0:
        raise ValueError(f"tokens and bandwidth should be above 0, got {tokens} and {bandwidth_bytes_per_s}")
    rate = flat_rate(flops_per_s) if flops_per_s is not None else chip_rate(chip, chips, efficiency)
    moved = prefix_bytes(feet or footprint(model), tokens)
    load_s = 0.0 if math.isinf(bandwidth_bytes_per_s) else latency_s + moved / bandwidth_bytes_per_s
    usd_per_s = None if usd_per_chip_hour is None else usd_per_chip_hour * chips / 3600
    return HitCost(tokens, moved, load_s, prefill_cost(model, rate).total_s(tokens), usd_per_s)


def prefix_bytes(feet: Footprint, tokens: int) -> float:
    """Return the bytes of a cached prefix: full entries of every token and the last tokens of every window.

    Chapter: cache
    """
    return sum(layer_load_bytes(feet, tokens))


def layer_load_bytes(feet: Footprint, tokens: int) -> list[float]:
    """Return the bytes that each layer loads for a cached prefix of `tokens` tokens.

    Chapter: cache
    """
    return [tokens * layer.full + layer.window_bytes * min(tokens, layer.window) for layer in feet.layers]
