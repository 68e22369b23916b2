"""What the money for a used hour of a chip buys: arithmetic, bandwidth and memory, at the data sheet's figures.

Chapter: chips
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from costlab.catalog import ChipRecord, FrozenDict


@dataclass(frozen=True)
class UnitCosts:
    """What a chip's peak costs for each thing that it has; a chip is bought for one of them and brings the others."""

    chip_hour: float  # amount per used chip-hour
    pflop_hour: Mapping[str, float]  # per hour of 1e15 dense FLOP/s, by precision that the chip has a unit for
    tb_s_hour: float  # per hour of 1e12 bytes/s from memory
    gb_hour: float  # per hour of 1e9 bytes of memory


def unit_costs(chip_hour: float, chip: ChipRecord) -> UnitCosts:
    """Return what the hour of a unit costs, by dividing the chip-hour by what the chip has of it.

    Args:
        chip_hour: amount per used chip-hour, in any currency.
        chip: the data sheet; its peaks count in full, which no program reaches.

    Raises:
        ValueError: an amount that is not above 0 and finite.
    """
    if not 0 < chip_hour < math.inf:
        raise ValueError(f"chip_hour = {chip_hour!r} should be above 0 and finite")
    by_precision = {name: chip_hour / (rate / 1e15) for name, rate in chip.flops.items()}
    bandwidth, memory = chip.memory_bandwidth_bytes_s / 1e12, chip.memory_bytes / 1e9
    return UnitCosts(chip_hour, FrozenDict(by_precision), chip_hour / bandwidth, chip_hour / memory)
