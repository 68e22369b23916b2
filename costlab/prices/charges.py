"""What counted tokens cost at a row of a price list: exact, in the row's currency."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Context, Decimal, localcontext

from costlab.catalog import PriceRow, ServiceTier
from costlab.prices.workload import Counts

#: Counts up to 2**53 times prices and factors as lists print them, and sums of many calls, keep all their digits.
EXACT = Context(prec=100)

_MILLION = Decimal(10) ** 6


@dataclass(frozen=True)
class UnitPrices:
    """What a million tokens of each kind cost, exactly as listed, a service's factor applied."""

    hit: Decimal  # input tokens found in the cache; as a miss where the list has no price for them
    miss: Decimal  # input tokens neither found nor written
    write: Decimal  # input tokens written to a cache; as a miss where writing is not charged apart
    write_long: Decimal  # those written for the longer lifetime; as `write` where the list has no price for them
    output: Decimal  # output tokens, those of a thinking call where they are priced apart


@dataclass(frozen=True)
class Charge:
    """What one call costs, by kind of token, in the row's currency."""

    row: PriceRow  # of the price list
    counts: Counts  # what was billed
    service: ServiceTier | None  # how it was served; None: the standard way
    hit: Decimal  # amount for tokens found in the cache
    miss: Decimal  # amount for the other input tokens
    write: Decimal  # amount for tokens written to the cache
    write_long: Decimal  # amount for tokens written for the longer lifetime
    output: Decimal  # amount for output tokens

    @property
    def currency(self) -> str:
        """ISO code of the amounts."""
        return self.row.currency

    @property
    def total(self) -> Decimal:
        """The sum of the five parts."""
        with localcontext(EXACT):
            return self.hit + self.miss + self.write + self.write_long + self.output


def unit_prices(row: PriceRow, service: ServiceTier | None = None, thinking: bool = False) -> UnitPrices:
    """Return what a million tokens of each kind cost.

    Args:
        row: of a price list.
        service: whose factors apply; None for the standard way.
        thinking: whether the call thinks. Where a list prices thinking apart, the whole output of such a call is
            billed at that price, the answer with the thoughts (Alibaba's lists print one price a mode).
    """
    factor = _exact(service.factor) if service else Decimal(1)
    hit_factor = _exact(service.hit_factor) if service and service.hit_factor is not None else factor
    output = row.output if row.thinking_output is None or not thinking else row.thinking_output
    write = row.miss if row.write is None else row.write
    with localcontext(EXACT):
        return UnitPrices(
            hit=_exact(row.miss) * factor if row.hit is None else _exact(row.hit) * hit_factor,
            miss=_exact(row.miss) * factor,
            write=_exact(write) * factor,
            write_long=_exact(write if row.write_long is None else row.write_long) * factor,
            output=_exact(output) * factor,
        )


def charge(row: PriceRow, counts: Counts, service: ServiceTier | None = None) -> Charge:
    """Return what one call costs at a row of a price list; all its amounts are exact.

    Args:
        row: the one that applies, see `price_at`, which needs the call's `input_tokens` to choose the tier.
        counts: tokens of the call.
        service: whose factors apply; None for the standard way.
    """
    per_million = unit_prices(row, service, counts.thinking > 0)
    with localcontext(EXACT):
        return Charge(
            row=row,
            counts=counts,
            service=service,
            hit=counts.hit * per_million.hit / _MILLION,
            miss=counts.miss * per_million.miss / _MILLION,
            write=counts.write * per_million.write / _MILLION,
            write_long=counts.write_long * per_million.write_long / _MILLION,
            output=counts.output * per_million.output / _MILLION,
        )


def _exact(price: float) -> Decimal:
    """Return a listed number with the digits that the list has."""
    return Decimal(repr(price))
