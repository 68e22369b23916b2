"""Loading a cached prefix layer by layer while the layers compute: what stays visible of the transfer.

Layer l can compute once its own cache is there and layer l-1 has computed. Three ways to order the loads:

- "serial": everything is loaded, then computing starts.
- "streamed": loads run in layer order without waiting for anything; a layer waits only for its own load. A long load
  (a full-attention layer) hides behind the layers before it, which is the cache read overlap of hybrid models.
- "look-ahead": layer l's load starts when layer l-1 starts to compute, so only one layer's compute hides it.

>>> from costlab.cache.sim import loading
>>> loading.timeline([2, 0, 0, 2], [1, 1, 1, 1], "streamed").finish_s
6.0
>>> loading.timeline([2, 0, 0, 2], [1, 1, 1, 1], "look-ahead").finish_s
7.0
>>> prefill = loading.prefill_behind("mimo-v2.5-pro", 65_536, 1024, 50e9, flops_per_s=400e12)
>>> [round(seconds * 1e3) for seconds in (prefill.load_s, prefill.compute_s, prefill.finish_s)]
[68, 345, 352]

Chapter: tiers
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from costlab import checks, roofline
from costlab.arrays import ArrayLike, Floats
from costlab.cache.footprints import footprint
from costlab.cache.sim import costs

LoadingMode = Literal["serial", "streamed", "look-ahead"]
#: Ways to load, in the order of the module's docstring.
MODES: tuple[LoadingMode, ...] = ("serial", "streamed", "look-ahead")


@dataclass(frozen=True)
class Event:
    """When one layer's load and compute start and end, in seconds from the start of the request's service."""

    layer: int  # index of the layer
    load_start_s: float  # when its load starts, s
    load_end_s: float  # when its cache is there, s
    compute_start_s: float  # when it starts to compute, s
    compute_end_s: float  # when it has computed, s


@dataclass(frozen=True)
class Timeline:
    """A prefill behind a cached prefix."""

    mode: LoadingMode  # one of `MODES`
    events: tuple[Event, ...]  # of each layer, in order
    load_s: float  # seconds that all loads take together
    compute_s: float  # seconds that all layers compute together

    @property
    def finish_s(self) -> float:
        """When the last layer has computed."""
        return self.events[-1].compute_end_s

    @property
    def stall_s(self) -> float:
        """Seconds that compute waits for loads."""
        return self.finish_s - self.compute_s

    @property
    def stall_share(self) -> float:
        """The stall as a share of the finish time, as a profile of the GPU shows it; 0 when nothing runs."""
        return self.stall_s / self.finish_s if self.finish_s > 0 else 0.0

    @property
    def slowdown(self) -> float:
        """The stall as a share of the compute: how much longer the load makes the prefill."""
        return self.stall_s / self.compute_s if self.compute_s > 0 else 0.0

    @property
    def hidden_share(self) -> float:
        """The share of the load that compute hides; 1 when there is nothing to load."""
        if self.load_s <= 0:
            return 1.0
        return min(max(1 - self.stall_s / self.load_s, 0.0), 1.0)  # a load of no moment may be lost in rounding


def timeline(load_s: ArrayLike, compute_s: ArrayLike, mode: str = "streamed") -> Timeline:
    """Return the events of a prefill whose layers first load their cached part.

    Args:
        load_s: seconds to load each layer's cache, [layers].
        compute_s: seconds each layer computes, [layers].
        mode: one of `MODES`.

    Raises:
        ValueError: an unknown mode; times that are negative, endless or not one per layer.

    Source: sgl-project/sglang 0.5.23 managers/cache_controller.py (one event per layer: "streamed"); arXiv
    2607.13095 Fig. 3.
    """
    chosen = checks.one_of(MODES, mode, "way to load")
    loads, computes = _seconds(load_s, "load_s"), _seconds(compute_s, "compute_s")
    if loads.shape != computes.shape:
        raise ValueError(f"{loads.size} load times for {computes.size} layers")
    events = _EVENTS[chosen](loads.tolist(), computes.tolist())
    return Timeline(chosen, tuple(events), float(loads.sum()), float(computes.sum()))


def prefill_behind(
    model: str,
    prefix: int,
    new: int,
    bandwidth_bytes_per_s: float,
    *,
    loading: str = "streamed",
    windows: bool = True,
    flops_per_s: float | None = None,
    chip: str = "h800",
    chips: int = 1,
    efficiency: float = 0.4,
) -> Timeline:
    """Return the timeline of computing `new` tokens while the cached prefix is loaded.

    Args:
        model: key in the catalog.
        prefix: cached tokens, at least 1.
        new: tokens to compute, at least 1.
        bandwidth_bytes_per_s: from the tier to the chip.
        loading: one of `MODES`.
        windows: sliding layers load their windows only; False: every token, as a cache does that knows no windows.
        flops_per_s: one rate for everything; None: from chip, chips and efficiency.
        chip: key in the catalog.
        chips: how many compute together.
        efficiency: share of the peak reached.

    Raises:
        ValueError: an unknown model, chip or mode; counts or a bandwidth out of range.

    Source: the setting of arXiv 2607.13095 Fig. 3.
    """
    if prefix < 1 or new < 1 or not bandwidth_bytes_per_s > 0:
        raise ValueError(
            f"prefix, new and bandwidth should be above 0, got {prefix}, {new} and {bandwidth_bytes_per_s}"
        )
    kept = footprint(model) if windows else footprint(model).everything()
    rate = (
        roofline.seconds_per_flop_at(flops_per_s)
        if flops_per_s is not None
        else roofline.seconds_per_flop_on(chip, chips, efficiency)
    )
    loads = [moved / bandwidth_bytes_per_s for moved in costs.layer_load_bytes(kept, prefix)]
    return timeline(loads, roofline.prefill_cost(model, rate).layer_s(new, prefix), loading)


def finish(load_s: Sequence[float], compute_s: Sequence[float], mode: LoadingMode) -> float:
    """Return only `timeline(...).finish_s`, unchecked and quickly: the replay asks once per request."""
    if mode == "serial":
        return sum(load_s) + sum(compute_s)
    loaded = done = start = 0.0
    if mode == "streamed":
        for load, compute in zip(load_s, compute_s, strict=True):
            loaded += load
            done = (loaded if loaded > done else done) + compute
        return done
    for load, compute in zip(load_s, compute_s, strict=True):
        loaded = (start if start > loaded else loaded) + load
        start = loaded if loaded > done else done
        done = start + compute
    return done


def _seconds(values: ArrayLike, what: str) -> Floats:
    seconds = np.asarray(values, dtype=np.float64)
    if seconds.ndim != 1 or not seconds.size or not np.isfinite(seconds).all() or (seconds < 0).any():
        raise ValueError(f"{what} should be one finite number of at least 0 per layer, got {values!r}")
    return seconds


def _serial(loads: list[float], computes: list[float]) -> list[Event]:
    events, loaded, done = [], 0.0, sum(loads)
    for layer, (load, compute) in enumerate(zip(loads, computes, strict=True)):
        events.append(Event(layer, loaded, loaded + load, done, done + compute))
        loaded, done = loaded + load, done + compute
    return events


def _streamed(loads: list[float], computes: list[float]) -> list[Event]:
    events, loaded, done = [], 0.0, 0.0
    for layer, (load, compute) in enumerate(zip(loads, computes, strict=True)):
        start = max(done, loaded + load)
        events.append(Event(layer, loaded, loaded + load, start, start + compute))
        loaded, done = loaded + load, start + compute
    return events


def _look_ahead(loads: list[float], computes: list[float]) -> list[Event]:
    events, loaded, started, done = [], 0.0, 0.0, 0.0
    for layer, (load, compute) in enumerate(zip(loads, computes, strict=True)):
        begin = max(loaded, started)  # not before the layer before it has begun
        started = max(done, begin + load)
        events.append(Event(layer, begin, begin + load, started, started + compute))
        loaded, done = begin + load, started + compute
    return events


_EVENTS = {"serial": _serial, "streamed": _streamed, "look-ahead": _look_ahead}
