"""One prefill behind a cached prefix, layer by layer: how much of the load does compute hide?

>>> from costlab.cache.sim.overlap import prefill_behind
>>> run = prefill_behind("mimo-v2.5-pro", 65_536, 1024, 50e9, flops_per_s=400e12)
>>> [round(seconds * 1e3) for seconds in (run.load_s, run.compute_s, run.finish_s)]
[68, 345, 352]

Chapter: cache
"""

from __future__ import annotations

from costlab import roofline
from costlab.cache.footprints import footprint
from costlab.cache.sim import costs
from costlab.cache.sim.loading import Timeline, timeline


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
        loading: one of `loading.MODES`.
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
    feet = footprint(model) if windows else footprint(model).everything()
    rate = roofline.flat_rate(flops_per_s) if flops_per_s is not None else roofline.chip_rate(chip, chips, efficiency)
    loads = [moved / bandwidth_bytes_per_s for moved in costs.layer_load_bytes(feet, prefix)]
    return timeline(loads, roofline.prefill_cost(model, rate).layer_s(new, prefix), loading)
