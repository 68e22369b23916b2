"""How options are read: counts, sizes, capacities, lists."""

from __future__ import annotations

import argparse
import decimal
import math
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from typing import Any, NoReturn

from costlab import catalog, prices
from costlab.arch import configs
from costlab.cache import tiers as storage
from costlab.checks import MAX_COUNT
from costlab.cli.output import Answer


class Parser(argparse.ArgumentParser):
    """Shows the verb's own usage behind the one line that says what was wrong."""

    def error(self, message: str) -> NoReturn:
        """Say what was wrong, then how the verb is used."""
        self.exit(2, f"{self.prog}: {message}\n{self.format_usage()}")


def add_verb(
    verbs: Any, name: str, run: Callable[[argparse.Namespace], Answer], about: str, example: str
) -> argparse.ArgumentParser:
    """Add a verb that answers by `run`, with the options that all verbs have; its help ends with an example."""
    verb: argparse.ArgumentParser = verbs.add_parser(
        name,
        description=about,
        epilog=f"example:\n  costlab {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verb.add_argument("--json", action="store_true", help="print JSON instead of a table")
    verb.set_defaults(run=run)
    return verb


#: Arithmetic that refuses to round: float would take 2**53 + 1 for 2**53.
_EXACT = decimal.Context(prec=60, traps=[decimal.InvalidOperation, decimal.Overflow, decimal.Inexact])


def size_arg(text: str, least: int = 0) -> int:
    """Read a token count: 4096, 128K (x1024) or 1M (x1024²), at least `least`."""
    unit = {"K": 1024, "M": 1024**2}.get(text[-1:].upper(), 1)
    digits = text[:-1] if unit > 1 else text
    try:
        value = _EXACT.multiply(Decimal(digits), unit)
        fits = least <= value <= MAX_COUNT and value == int(value)
    except (ValueError, ArithmeticError):
        raise argparse.ArgumentTypeError(f"{text!r} should be a whole number such as 4096, 128K or 1M") from None
    if not fits:
        raise argparse.ArgumentTypeError(f"{text!r} should be a whole number from {least} to 2**53")
    return int(value)


def count_arg(text: str) -> int:
    """Read a count of at least 1."""
    return size_arg(text, 1)


#: What an argument for a model says of itself.
MODEL_HELP = "see `costlab models`; or a config.json, a folder with one, or - for standard input"


def model_arg(text: str) -> str:
    """Read a model: a key of the catalog in small letters, which wins, or the path of a config.json as it stands."""
    known = text.lower() in catalog.tables().models
    return text if configs.is_file(text) and not known else text.lower()


def moment_arg(text: str) -> datetime:
    """Read a day, which means its noon, or a moment."""
    try:
        return prices.moment(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _float(text: str) -> float:
    """The number that a text is; no number compares with any."""
    try:
        return float(text)
    except ValueError:
        return math.nan


def seconds_arg(text: str) -> float:
    """Read a number of seconds from 0 on."""
    return _at_least_0(text, "a number of seconds")


def number_arg(text: str) -> float:
    """Read a finite number of at least 0."""
    return _at_least_0(text, "a finite number")


def _at_least_0(text: str, what: str) -> float:
    value = _float(text)
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} should be {what} of at least 0")
    return value


def positive_arg(text: str) -> float:
    """Read a finite number above 0."""
    value = _float(text)
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} should be a finite number above 0")
    return value


def capacity_arg(text: str) -> float:
    """Read a tier's size; 0 stands for no such tier."""
    digits = text.strip().rstrip("KMGTPkmgtpiIBb ")
    if digits and not digits.strip("0."):
        return 0.0
    return _bytes(text, "bytes, too small for a page", "1.5TB")


def bandwidth_arg(text: str) -> float:
    """Read bytes per second as a size: 50GB."""
    return _bytes(text.removesuffix("/s"), "bytes a second, which nobody has", "50GB")


def _bytes(text: str, what: str, like: str) -> float:
    try:
        value = storage.parse_bytes(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    if value < _LEAST_BYTES:  # the 1 of 1,5TB
        raise argparse.ArgumentTypeError(f"{text!r} is {value:g} {what}; write it like {like}")
    return value


def share_arg(text: str) -> float:
    """Read a share, 0 to 1."""
    value = _float(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} should be a number between 0 and 1")
    return value


def several(reader: Callable[[str], Any]) -> Callable[[str], list[Any]]:
    """Return what reads values with commas between them."""
    return lambda text: [reader(part) for part in text.split(",")]


#: No page is as small, no link as slow; who gives less has left out the unit, or parted digits by a comma.
_LEAST_BYTES = 1e4
