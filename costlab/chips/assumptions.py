"""A number that an answer rests on: its value, the bounds between which it lies, its source and its day.

>>> from datetime import date
>>> from costlab.chips.assumptions import Assumption
>>> tariff = Assumption(0.09, "USD/kWh", "US industrial price", date(2026, 1, 1), low=0.083, high=0.093, currency="USD")
>>> tariff.bounds
(0.083, 0.09, 0.093)
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date as Day
from typing import Protocol

import numpy as np

from costlab.arrays import ArrayLike, Floats
from costlab.catalog import exchange_rate
from costlab.checks import unknown
from costlab.text import digits_text

#: Numbers or arrays by the names of inputs, which take the place of their values.
Overrides = Mapping[str, ArrayLike]


@dataclass(frozen=True)
class Assumption:
    """A number that an answer rests on, and who says so."""

    value: float  # what is taken
    unit: str  # of the three numbers, e.g. "CNY per server"; "" for a share
    source: str  # where it stands, or why it is taken
    date: Day | None = None  # day that it holds for; None where it is nobody's figure but a choice
    low: float | None = None  # lowest that it may be; None: the value
    high: float | None = None  # highest that it may be; None: the value
    currency: str = ""  # ISO code where it is an amount of money
    key: str = ""  # figures of one key are one figure: drawn once for all candidates; "" stands alone

    def __post_init__(self) -> None:
        if not self.source.strip():
            raise ValueError(f"{self.value!r} {self.unit} has no source: say where it stands, or why it is taken")
        low, value, high = self.bounds
        if isinstance(self.value, bool) or not all(map(math.isfinite, (low, value, high))):
            raise ValueError(f"{self.unit or 'value'} = {self.value!r}, {self.low!r} to {self.high!r} should be finite")
        if not low <= value <= high:
            raise ValueError(f"{value!r} {self.unit} should lie between its low {low!r} and its high {high!r}")

    @property
    def bounds(self) -> tuple[float, float, float]:
        """(low, value, high)."""
        low, high = self.low, self.high
        return self.value if low is None else low, self.value, self.value if high is None else high

    @property
    def is_range(self) -> bool:
        """Whether low and high differ."""
        low, _, high = self.bounds
        return low < high

    def times(self, factor: float, unit: str, source: str = "") -> Assumption:
        """Return the figure with all three numbers multiplied by one above 0, and a further word on its source."""
        low, value, high = (number * factor for number in self.bounds)
        said = f"{self.source}; {source}" if source else self.source
        return replace(self, value=value, low=low, high=high, unit=unit, source=said)


def assumption(given: float | Assumption, unit: str, source: str = "given by the reader", currency: str = "",
               key: str = "") -> Assumption:  # fmt: skip
    """Return a plain number as an assumption of a source; an assumption as it is."""
    if isinstance(given, Assumption):
        return given
    return Assumption(float(given), unit, source, currency=currency, key=key)


def check_above(found: Assumption, what: str, least: float, most: float = math.inf, exact: bool = True) -> None:
    """Refuse a figure that may leave [least, most], or (least, most] where `exact` is false.

    Raises:
        ValueError: quoting the bound that does.
    """
    for number in found.bounds:
        if not (least <= number if exact else least < number) or number > most:
            reach = f"at least {least:g}" if exact else f"above {least:g}"
            most_text = f" and at most {most:g}" if math.isfinite(most) else ""
            raise ValueError(f"{what} = {number:g} should be {reach}{most_text}")


def check_values(values: Overrides, limits: Mapping[str, tuple[float, float]]) -> None:
    """Refuse numbers in the place of inputs that leave what the inputs may be.

    Args:
        values: numbers or arrays by name.
        limits: least and most by name; a name without any must be above 0.

    Raises:
        ValueError: quoting the number that does, or that is not finite.
    """
    for name, given in values.items():
        numbers = np.atleast_1d(np.asarray(given, dtype=float)).ravel()
        least, most = limits.get(name, (0.0, math.inf))
        good = np.isfinite(numbers) & (numbers >= least) & (numbers <= most) & ((numbers > 0) | (name in limits))
        if not good.all():
            most_text = f" and at most {most:g}" if math.isfinite(most) else " and finite"
            reach = f"at least {least:g}" if name in limits else "above 0"
            raise ValueError(f"{name} = {numbers[~good][0]:g} should be {reach}{most_text}")


def assumption_rows(inputs: Mapping[str, Assumption]) -> list[dict[str, object]]:
    """Return what an answer rests on as rows of a table: input, value, range, unit, source, day.

    Args:
        inputs: figures by name, as `Ownership.inputs` gives them.
    """
    return [
        {
            "input": name,
            "value": digits_text(found.value),
            "range": _range_text(found),
            "unit": found.unit,
            "source": found.source,
            "day": found.date.isoformat() if found.date else "–",
        }
        for name, found in inputs.items()
    ]


def _range_text(found: Assumption) -> str:
    low, _, high = found.bounds
    return f"{digits_text(low)} to {digits_text(high)}" if found.is_range else "–"


class Inputs(Protocol):
    """What rests on assumptions and answers in one currency."""

    @property
    def currency(self) -> str:
        """ISO code of the answer."""

    def inputs(self) -> dict[str, Assumption]:
        """Every figure by name."""


def values_of(found: Inputs, values: Overrides | None = None) -> dict[str, Floats]:
    """Return the values of all inputs by name, with numbers or arrays in the place of some.

    Raises:
        ValueError: a name that is no input; the message lists those that are.
    """
    at = {name: np.asarray(each.value) for name, each in found.inputs().items()}
    for name, instead in (values or {}).items():
        if name not in at:
            raise ValueError(unknown("input", name, at))
        at[name] = np.asarray(instead, dtype=float)
    return at


def in_currency(found: Inputs, name: str, at: Mapping[str, Floats]) -> Floats:
    """Return an input's amount in the currency of the answer."""
    own = found.inputs()[name].currency or found.currency
    return at[name] if own == found.currency else np.asarray(at[name] * at[f"{own} to {found.currency}"])


def check_rates(inputs: Mapping[str, Assumption], rates: Sequence[Assumption], currency: str) -> None:
    """Refuse currencies that no dated rate joins.

    Args:
        inputs: figures by name, some of them amounts.
        rates: units of `currency` for one of the rate's own.
        currency: ISO code of the answer.

    Raises:
        ValueError: quoting the input whose currency has no rate, or the rate that has no day or is not above 0.
    """
    for rate in rates:
        if rate.date is None or rate.bounds[0] <= 0:
            raise ValueError(f"{rate.currency} to {currency} = {rate.value:g} should be above 0 and have its day")
    known = {currency, "", *(rate.currency for rate in rates)}
    for name, found in inputs.items():
        if found.currency not in known:
            raise ValueError(
                f"{name} is in {found.currency}, the answer in {currency}: currencies are mixed without a day, "
                "give the exchange rate of one"
            )


#: A chip for less is a placeholder: none that serves language models is sold below. So is a rent that does not come to
#: as much in a year.
LEAST_CHIP_USD = 100.0


def check_price(price: Assumption, currency: str, what: str, chips: int = 1, hours: float = 1.0) -> None:
    """Refuse a price, or a rent over some hours, that is a placeholder: 0, negative, or below `LEAST_CHIP_USD` a chip.

    Args:
        price: an amount of money.
        currency: ISO code of the amount, where it does not say.
        what: the word for the message.
        chips: that it pays.
        hours: how often it is paid.

    Raises:
        ValueError: quoting the amount; as `catalog.exchange_rate` for a currency that is not catalogued.
    """
    low = price.bounds[0]
    if low <= 0:
        raise ValueError(f"{what} = {low:g} {price.unit} should be above 0: no placeholders")
    usd = low * hours / chips * exchange_rate(price.currency or currency, "USD", price.date or Day.max)
    if usd < LEAST_CHIP_USD:
        over = f" over {hours:g} hours" if hours != 1 else ""
        raise ValueError(
            f"{what} = {low:g} {price.unit} is {usd:.3g} USD a chip{over}: below {LEAST_CHIP_USD:g} it is a placeholder"
        )
