"""Tiers: what holds the cache (HBM, DRAM, SSD), how large, how fast, and what keeping bytes there costs.

>>> from costlab.cache import tiers
>>> hbm, dram = tiers.standard("80GB", "1TB")
>>> dram.name, dram.capacity_bytes
('DRAM', 1000000000000.0)

Chapter: tiers
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from costlab import catalog, checks
from costlab.checks import count

_UNITS = {"": 1.0, "K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15}
_SIZE = re.compile(r"\s*([0-9.]+(?:e[+-]?\d+)?)\s*([KMGTP]?)(i?)B?\s*", re.IGNORECASE)


@dataclass(frozen=True)
class Tier:
    """One place for cached pages, of the whole instance."""

    name: str  # of the tier
    capacity_bytes: float = math.inf  # bytes that fit; infinity is unlimited
    # bytes per second towards the next faster tier; infinity for the fastest, without a link
    bandwidth_bytes_per_s: float = math.inf
    latency_s: float = 0.0  # seconds before the first byte
    # US dollars for keeping 1e9 bytes there for an hour; None where nobody stated a price
    usd_per_gb_hour: float | None = None
    # bytes per second from the next faster tier; None: as in the other direction
    write_bytes_per_s: float | None = None

    def __post_init__(self) -> None:
        if not self.capacity_bytes > 0:
            raise ValueError(f"{self.name}: capacity_bytes = {self.capacity_bytes} should be above 0")
        for what in ("bandwidth_bytes_per_s", "write_rate"):
            if not getattr(self, what) > 0:
                raise ValueError(f"{self.name}: {what} = {getattr(self, what)} should be above 0")
        if not 0 <= self.latency_s < math.inf:
            raise ValueError(f"{self.name}: latency_s = {self.latency_s} should be at least 0 and finite")
        if self.usd_per_gb_hour is not None and not 0 <= self.usd_per_gb_hour < math.inf:
            raise ValueError(f"{self.name}: usd_per_gb_hour = {self.usd_per_gb_hour} should be at least 0 and finite")

    @property
    def write_rate(self) -> float:
        """Bytes per second from the next faster tier into this one."""
        return self.bandwidth_bytes_per_s if self.write_bytes_per_s is None else self.write_bytes_per_s

    def read_s(self, count_bytes: float) -> float:
        """Return the seconds that so many bytes take towards the chip, 0 for none."""
        return self.latency_s + count_bytes / self.bandwidth_bytes_per_s if count_bytes else 0.0

    def write_s(self, count_bytes: float) -> float:
        """Return the seconds that so many bytes take into this tier, 0 for none."""
        return self.latency_s + count_bytes / self.write_rate if count_bytes else 0.0


def parse_bytes(size: str | float) -> float:
    """Return a size such as "80GB", "1.5 TB", "64GiB" or "inf" in bytes; a number is taken as bytes.

    GB is 1e9, GiB 2^30.

    Raises:
        ValueError: a size that cannot be read, or not above 0.
    """
    value = _read_size(size) if isinstance(size, str) else float(size)
    if not value > 0:
        raise ValueError(f"a size should be above 0 bytes, got {size!r}")
    return value


def _read_size(size: str) -> float:
    if size.strip().lower() in ("inf", "unlimited"):
        return math.inf
    match = _SIZE.fullmatch(size)
    if match is None or match[1].count(".") > 1:
        raise ValueError(f"cannot read the size {size!r}; write it like 80GB, 1.5TB, 64GiB or inf")
    number, prefix, binary = float(match[1]), match[2].upper(), bool(match[3])
    power = "KMGTP".find(prefix) + 1 if prefix else 0
    return number * (2.0 ** (10 * power) if binary else _UNITS[prefix])


def standard(
    hbm: str | float,
    dram: str | float | None = None,
    ssd: str | float | None = None,
    *,
    chips: int = 16,
    drives: int = 8,
    hbm_usd_per_gb_hour: float | None = None,
) -> tuple[Tier, ...]:
    """Return the usual tiers of one serving instance, fastest first; those not asked for are left out.

    Sizes are of the whole instance and of the part given to the cache. The links add up: one PCIe link per chip
    between DRAM and HBM, `drives` SSDs below.

    Args:
        hbm: cache bytes in the chips' memory, e.g. "80GB".
        dram: the same in host memory.
        ssd: the same on drives.
        chips: chips that share the instance's cache.
        drives: SSDs in the instance.
        hbm_usd_per_gb_hour: price of keeping 1e9 bytes in HBM; there is none in the catalog, since nobody rents
            memory of a chip without the chip.

    Raises:
        ValueError: a size that cannot be read, chips or drives below 1.

    Source: catalog/storage.toml.
    """
    chips, drives = count(chips, "chips"), count(drives, "drives")
    levels = [Tier("HBM", parse_bytes(hbm), usd_per_gb_hour=hbm_usd_per_gb_hour)]
    levels += [medium("dram", dram, chips)] if dram is not None else []
    levels += [medium("ssd", ssd, drives)] if ssd is not None else []
    return tuple(levels)


def medium(key: str, capacity: str | float, units: int = 1) -> Tier:
    """Return a tier of a catalogued medium: "dram" (a unit is one chip's link) or "ssd" (a unit is one drive).

    Raises:
        ValueError: an unknown medium, or a size that cannot be read.

    Source: catalog/storage.toml.
    """
    entry = checks.pick(catalog.tables().media, key, "storage medium")
    return Tier(
        name=key.upper(),
        capacity_bytes=parse_bytes(capacity),
        bandwidth_bytes_per_s=units * entry.read_bytes_s,
        latency_s=entry.latency_s,
        usd_per_gb_hour=entry.usd_per_gb_hour,
        write_bytes_per_s=units * entry.write_bytes_s,
    )
