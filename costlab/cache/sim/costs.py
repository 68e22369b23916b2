"""What a prefill computes and what a cached prefix moves, in seconds: per layer, in total, and against each other.

>>> from costlab.cache.sim import costs
>>> hit = costs.hit_cost("mimo-v2.5-pro", 32_768, bandwidth_bytes_per_s=50e9, flops_per_s=400e12)
>>> round(hit.recompute_s, 1), round(hit.load_s * 1e3), round(hit.ratio)
(7.7, 34, 224)

Chapter: cache
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from costlab.cache import footprints
from costlab.cache.footprints import Footprint
from costlab.roofline.layers import prefill_cost
from costlab.roofline.rates import seconds_per_flop_at, seconds_per_flop_on


@dataclass(frozen=True)
class HitCost:
    """A cached prefix against its recomputation, in seconds and, where a rent is given, dollars.

    Nothing is hidden behind compute here: this is the worst case of a hit, its whole load waited for.
    """

    tokens: int  # length of the prefix
    load_bytes: float  # bytes that are loaded
    load_s: float  # seconds that loading takes
    recompute_s: float  # seconds that computing the prefix again takes
    usd_per_s: float | None = None  # rent of the chips in US dollars per second; None where none is given

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
        """Return for how many hours keeping the prefix costs less than the recomputation that a hit saves."""
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
    footprint: Footprint | None = None,
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
        footprint: another one, e.g. `footprint(model).everything()`; None: the model's.

    Raises:
        ValueError: an unknown model or chip, a count or rate out of range.
    """
    if tokens < 1 or not bandwidth_bytes_per_s > 0:
        raise ValueError(f"tokens and bandwidth should be above 0, got {tokens} and {bandwidth_bytes_per_s}")
    rate = seconds_per_flop_at(flops_per_s) if flops_per_s is not None else seconds_per_flop_on(chip, chips, efficiency)
    moved = prefix_bytes(footprint or footprints.footprint(model), tokens)
    load_s = 0.0 if math.isinf(bandwidth_bytes_per_s) else latency_s + moved / bandwidth_bytes_per_s
    usd_per_s = None if usd_per_chip_hour is None else usd_per_chip_hour * chips / 3600
    return HitCost(tokens, moved, load_s, prefill_cost(model, rate).total_s(tokens), usd_per_s)


def prefix_bytes(footprint: Footprint, tokens: int) -> float:
    """Return the bytes of a cached prefix: full entries of every token, the last ones of windows, a recurrent state."""
    return sum(layer_load_bytes(footprint, tokens))


def layer_load_bytes(footprint: Footprint, tokens: int) -> list[float]:
    """Return the bytes that each layer loads for a cached prefix of `tokens` tokens."""
    return [
        tokens * layer.full + layer.window_bytes * min(tokens, layer.window) + layer.state_bytes
        for layer in footprint.layers
    ]
