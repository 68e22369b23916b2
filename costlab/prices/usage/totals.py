"""Sums of what calls counted and cost: exact, so that parts and whole agree to the last digit."""

from __future__ import annotations

import decimal
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from decimal import Decimal
from typing import Any, NamedTuple

from costlab.prices.charges import Charge

#: Sums of prices times counts, factors and rates keep all their digits, or it would be an error.
SUMMED = decimal.Context(
    prec=200, traps=[decimal.Inexact, decimal.InvalidOperation, decimal.Overflow, decimal.DivisionByZero]
)

_NONE = Decimal(0)


@dataclass(frozen=True)
class UsageSum:
    """What some of the calls counted and cost."""

    currency: str  # ISO code of the amounts
    calls: int = 0  # how many
    hit_tokens: int = 0  # input found in the cache
    miss_tokens: int = 0  # input neither found nor written
    write_tokens: int = 0  # input written to a cache for the shorter, or only, lifetime
    write_long_tokens: int = 0  # input written for the longer lifetime
    output_tokens: int = 0  # output, thinking included
    thinking_tokens: int = 0  # of it, thinking
    hit: Decimal = _NONE  # amount for input found in the cache
    miss: Decimal = _NONE  # amount for input neither found nor written
    write: Decimal = _NONE  # amount for input written for the shorter lifetime
    write_long: Decimal = _NONE  # amount for input written for the longer lifetime
    output: Decimal = _NONE  # amount for output
    reported_calls: int = 0  # of the calls, those whose records say themselves what they cost
    reported: Decimal = _NONE  # amount that they say
    reported_here: Decimal = _NONE  # amount of the same calls here

    @property
    def total(self) -> Decimal:
        """The sum of the five parts."""
        with decimal.localcontext(SUMMED):
            return self.hit + self.miss + self.write + self.write_long + self.output

    @property
    def difference(self) -> Decimal | None:
        """What the same calls cost here above what their records say; None where none says it."""
        with decimal.localcontext(SUMMED):
            return self.reported_here - self.reported if self.reported_calls else None

    @classmethod
    def of(cls, charge: Charge, reported: Decimal | None = None) -> UsageSum:
        """Return the sum of one call.

        Args:
            charge: what it costs.
            reported: what its record says, in the same currency; None where it says nothing.
        """
        counts = charge.counts
        return cls(
            charge.currency,
            1,
            counts.hit,
            counts.miss,
            counts.write,
            counts.write_long,
            counts.output,
            counts.thinking,
            charge.hit,
            charge.miss,
            charge.write,
            charge.write_long,
            charge.output,
            int(reported is not None),
            _NONE if reported is None else reported,
            _NONE if reported is None else charge.total,
        )

    def plus(self, other: UsageSum, sign: int = 1) -> UsageSum:
        """Return this sum with another one added, or taken away.

        Raises:
            ValueError: another currency.
        """
        if self.currency != other.currency:
            raise ValueError(f"can't add {other.currency} to {self.currency}")
        with decimal.localcontext(SUMMED):
            return UsageSum(self.currency, *(getattr(self, name) + sign * getattr(other, name) for name in ADDED))

    def converted(self, rate: Decimal, currency: str) -> UsageSum:
        """Return this sum with its amounts in another currency.

        Args:
            rate: units of it for one of this sum's.
            currency: its code.
        """
        with decimal.localcontext(SUMMED):
            values = (getattr(self, name) for name in ADDED)
            converted: list[Any] = [v * rate if isinstance(v, Decimal) else v for v in values]
            return UsageSum(currency, *converted)


#: What is added up of a sum.
ADDED = tuple(each.name for each in fields(UsageSum) if each.name != "currency")


class UsageCell(NamedTuple):
    """What calls have in common that are summed up together; every total is a sum of cells."""

    product: str  # whose prices apply
    day: str  # of the calls, in UTC
    window: str  # "peak", "off-peak" or "all day"
    service: str  # "standard", or "batch" and the like
    currency: str  # of the price list


def grouped(cells: Mapping[UsageCell, UsageSum], by: str) -> dict[str, UsageSum]:
    """Return the sums by one of a cell's fields, in alphabetical order."""
    found: dict[str, UsageSum] = {}
    for cell in sorted(cells):
        name = getattr(cell, by)
        found[name] = cells[cell] if name not in found else found[name].plus(cells[cell])
    return dict(sorted(found.items()))


def summed(sums: Iterable[UsageSum], currency: str) -> UsageSum:
    """Return the sum of all."""
    total = UsageSum(currency)
    for each in sums:
        total = total.plus(each)
    return total
