"""How many FLOP/s a chip does at each precision: the one table of speeds.

Chapter: roofline
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from costlab import catalog
from costlab.catalog import ChipRecord, FrozenDict
from costlab.checks import count

#: Where a chip has no unit for a precision and states none in its place, the next one in the list runs it.
FALLBACK: Mapping[str, tuple[str, ...]] = FrozenDict(
    {
        "fp4": ("fp4", "fp8", "bf16", "fp16"),
        "fp4xfp8": ("fp8", "bf16", "fp16"),
        "fp8": ("fp8", "bf16", "fp16"),
        "int8": ("int8", "bf16", "fp16"),
        "bf16": ("bf16", "fp16"),
        "fp32": ("tf32", "fp32"),  # no narrower unit computes it
    }
)


def rate(chip: ChipRecord, precision: str) -> float:
    """Return the FLOP/s at which a chip runs a precision, by the unit of `unit_for`.

    Raises:
        ValueError: a precision the chip cannot run at all.

    Source: catalog/chips.toml.
    """
    return chip.flops[unit_for(chip, precision)]


def unit_for(chip: ChipRecord, precision: str) -> str:
    """Return the unit that runs a precision on a chip: its own, the one stated in its place, or the next wider one.

    What is stated is what deployments on the chip do: FP8 work runs in INT8 on an Ascend 910, which has no FP8.

    Raises:
        ValueError: a precision the chip cannot run at all.

    Source: catalog/chips.toml.
    """
    own, *wider = FALLBACK.get(precision, ("",))
    stated = chip.serves.get(precision)
    for unit in (own, stated, *(name for each in (own, *wider) for name in (each, chip.serves.get(each)))):
        if unit in chip.flops:
            return str(unit)
    raise ValueError(f"{chip.name} has no unit for {precision!r}; it has {', '.join(chip.flops)}")


def seconds_per_flop_at(flops_per_s: float) -> Callable[[str], float]:
    """Return seconds per FLOP at one stated rate for every precision.

    Raises:
        ValueError: a rate that is not above 0.
    """
    if not flops_per_s > 0:
        raise ValueError(f"flops_per_s should be above 0, got {flops_per_s}")
    return lambda precision: 1.0 / flops_per_s


def seconds_per_flop_on(chip: str, chips: int = 1, efficiency: float = 1.0) -> Callable[[str], float]:
    """Return seconds per FLOP on catalogued chips, by precision, at the rates of `roofline.rate`.

    Args:
        chip: key in the catalog, e.g. "h800".
        chips: how many share the work evenly.
        efficiency: share of the peak that is reached, above 0 and at most 1.

    Raises:
        ValueError: an unknown chip, chips below 1, an efficiency out of range; when called, a precision without unit.

    Source: catalog/chips.toml.
    """
    record, chips = catalog.chip(chip), count(chips, "chips")
    if not 0 < efficiency <= 1:
        raise ValueError(f"efficiency should be above 0 and at most 1, got {efficiency}")
    return lambda precision: 1.0 / (rate(record, precision) * chips * efficiency)
