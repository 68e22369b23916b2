"""How figures of one's own are read: a number or a range, an amount for a chip, loads of a day."""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

from costlab.catalog import currencies
from costlab.chips import Assumption
from costlab.cli.arguments import positive_arg

#: Who says a figure that was typed.
GIVEN = "given on the command line"

#: More than any server costs, in any currency; and the least use that is one, an hour in a hundred years.
MOST_AMOUNT, LEAST_USE = 1e15, 1e-6
#: Least speed, time or salary: divided by it, all the others stay finite.
LEAST_MEASURE = 1e-9

Range = float | tuple[float, float, float]

_AMOUNT = re.compile(r"(?P<chip>[^=]+)=(?P<figure>[-+.:\deE]+)(?P<currency>[A-Za-z]{3})?(?:/(?P<chips>\d+))?")


def figure_arg(text: str) -> Range:
    """Read a number, or a range as LOW:VALUE:HIGH."""
    parts = text.split(":")
    try:
        numbers = [float(part) for part in parts]
    except ValueError:
        numbers = []
    if len(numbers) not in (1, 3) or not all(map(math.isfinite, numbers)):
        raise argparse.ArgumentTypeError(f"{text!r} should be a number such as 0.08, or LOW:VALUE:HIGH")
    if len(numbers) == 1:
        return numbers[0]
    low, value, high = numbers
    if not low <= value <= high:
        raise argparse.ArgumentTypeError(f"{text!r} should rise: LOW:VALUE:HIGH")
    return low, value, high


def measure_arg(text: str) -> float:
    """Read a speed, a time or an amount: above 0, and neither so small nor so large that answers were infinite."""
    value = positive_arg(text)
    if not LEAST_MEASURE <= value <= MOST_AMOUNT:
        raise argparse.ArgumentTypeError(f"{text!r} should be from {LEAST_MEASURE:g} to {MOST_AMOUNT:g}")
    return value


def loads_arg(text: str) -> float | list[float]:
    """Read a utilisation: one number above 0 and at most 1, or the loads of equally long pieces of a day."""
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = [math.nan]
    if not all(0 <= each <= 1 for each in numbers) or not sum(numbers) >= LEAST_USE * len(numbers):
        raise argparse.ArgumentTypeError(
            f"{text!r} should be above 0 and at most 1, or loads of a day's hours with commas between them"
        )
    return numbers[0] if len(numbers) == 1 else numbers


@dataclass(frozen=True)
class Amount:
    """An amount for one chip, as it was typed."""

    text: str  # as typed
    chip: str  # key in the catalog
    figure: Range  # in `currency`
    currency: str | None  # ISO code; None for that of the answer
    chips: int | None  # that it pays; None for those of a server

    def assumption(self, answer_in: str, unit: str) -> Assumption:
        """Return it as a figure that an answer rests on."""
        currency = self.currency or answer_in
        return given(self.figure, f"{currency} {unit}", currency)

    def __str__(self) -> str:
        return self.text


def amount_arg(text: str) -> Amount:
    """Read CHIP=AMOUNT, with a currency behind the amount and the chips that it pays: h20=1.2e6CNY/8."""
    found = _AMOUNT.fullmatch(text)
    if not found:
        raise argparse.ArgumentTypeError(f"{text!r} should look like h20=150000, h20=1.2e6CNY/8 or h20=1e5:1.2e5:2e5")
    currency = found["currency"] and found["currency"].upper()
    if currency and currency not in currencies():
        raise argparse.ArgumentTypeError(f"{text!r}: currency {currency!r} should be one of {', '.join(currencies())}")
    figure = figure_arg(found["figure"])
    low, high = (figure, figure) if isinstance(figure, float) else (figure[0], figure[2])
    if low <= 0:
        raise argparse.ArgumentTypeError(f"{text!r} should be an amount above 0: no placeholders")
    if high > MOST_AMOUNT:
        raise argparse.ArgumentTypeError(f"{text!r} should be an amount of at most {MOST_AMOUNT:g}")
    chips = int(found["chips"]) if found["chips"] else None
    if chips == 0:
        raise argparse.ArgumentTypeError(f"{text!r} pays 0 chips: should be at least 1")
    return Amount(text, found["chip"].lower(), figure, currency, chips)


@dataclass(frozen=True)
class Watts:
    """What a machine draws, as it was typed."""

    text: str  # as typed
    chip: str  # key in the catalog
    figures: Mapping[str, float]  # watts by the names of an ownership's fields: rated_w, load_w, idle_w

    def __str__(self) -> str:
        return self.text


def watts_arg(text: str) -> Watts:
    """Read CHIP=RATED:LOAD:IDLE, in watts."""
    chip, _, numbers = text.partition("=")
    try:
        watts = [float(each) for each in numbers.split(":")]
    except ValueError:
        watts = []
    if not chip or len(watts) != 3 or not 0 <= watts[2] <= watts[1] <= watts[0] < math.inf:
        raise argparse.ArgumentTypeError(
            f"{text!r} should look like h20=8000:6000:600: watts rated, at work and idle, none above the one before it"
        )
    return Watts(text, chip.lower(), dict(zip(("rated_w", "load_w", "idle_w"), watts, strict=True)))


def given(figure: Range, unit: str, currency: str = "", key: str = "") -> Assumption:
    """Return a typed number or range as a figure that an answer rests on."""
    if isinstance(figure, tuple):
        low, value, high = figure
        return Assumption(value, unit, GIVEN, low=low, high=high, currency=currency, key=key)
    return Assumption(figure, unit, GIVEN, currency=currency, key=key)
