"""Questions and the steps to their answers, each marked as a fact or an inference.

Chapter: levers
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from costlab import prices
from costlab.catalog import PriceRow
from costlab.levers.checked import Mark
from costlab.levers.services import KINDS, TokenKind
from costlab.text import Table, digits_text, list_text

#: What a cost takes for granted.
COSTS_ASSUME = "costs with all levers: chip, use, shares of the roofline and traffic as catalogued"


@dataclass(frozen=True)
class AnswerStep:
    """A step of an answer."""

    kind: Mark  # read or computed from what was read; or concluded with an assumption
    says: str  # the step, in words with its numbers
    source: str  # of a fact where it stands, of an inference what it takes for granted


@dataclass(frozen=True)
class Question:
    """A question, the steps to its answer, and the answer."""

    asks: str  # as a reader asks it
    answer: str  # in a few sentences
    steps: tuple[AnswerStep, ...]  # that lead there
    numbers: Mapping[str, float]  # every number of the steps by name, for figures and prose

    def table(self) -> Table:
        """Return a row for each step."""
        return Table([{"mark": s.kind, "step": s.says, "source or assumption": s.source} for s in self.steps])


def fact(says: str, source: str) -> AnswerStep:
    """Return what was read, or computed from what was read."""
    return AnswerStep("fact", says, source)


def inferred(says: str, assumes: str = COSTS_ASSUME) -> AnswerStep:
    """Return what was concluded, with what it takes for granted."""
    return AnswerStep("inference", says, assumes)


def percent(share: float) -> str:
    """Return a share as people read it: 12.5%."""
    return f"{digits_text(100 * share)}%"


def fold(factor: float) -> str:
    """Return a factor as people read it: 12.1x."""
    return f"{digits_text(factor)}x"


def joined(words: Iterable[str]) -> str:
    """Return words as a list in a sentence: "chat, tools and coding"; "none" of no word."""
    *first, last = list(words) or ["none"]
    return f"{', '.join(first)} and {last}" if first else last


def by_kind(factors: Mapping[TokenKind, float]) -> str:
    """Return a factor of each kind of token: "hit 2x, miss 3x, output 3x"."""
    return ", ".join(f"{kind} {fold(factors[kind])}" for kind in KINDS)


def paid(row: PriceRow) -> dict[TokenKind, float]:
    """Return the price of a million tokens of each kind by a list."""
    return {"hit": prices.hit_price(row), "miss": row.miss, "output": row.output}


def over(row: PriceRow, other: PriceRow) -> dict[TokenKind, float]:
    """Return a list's prices over another's, by kind."""
    return {kind: amount / paid(other)[kind] for kind, amount in paid(row).items()}


def list_of(row: PriceRow) -> str:
    """Return a list's prices in words."""
    return ", ".join(f"{kind} {list_text(amount)}" for kind, amount in paid(row).items())


def where(row: PriceRow) -> str:
    """Return where a list stands."""
    return f"{row.source} ({row.date})"


__all__ = [
    "COSTS_ASSUME", "AnswerStep", "Question", "by_kind", "fact", "fold", "inferred", "joined", "list_of", "over",
    "paid", "percent", "where",
]  # fmt: skip
