"""List prices predicted from costs, with the products that were fitted kept apart from those that are predicted.

Chapter: levers
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from costlab.catalog import PriceRow
from costlab.levers.services import TokenKind
from costlab.text import Table


@dataclass(frozen=True)
class ListedCost:
    """A row of a price list, and what the tokens cost."""

    row: PriceRow  # the list
    model: str  # key of the model behind it
    listed: Mapping[TokenKind, float]  # dollars of a million tokens by the list
    costs: Mapping[TokenKind, float]  # what they cost, in dollars

    @property
    def company(self) -> str:
        """Who sells it."""
        return self.row.provider

    @property
    def family(self) -> str:
        """Models of one name: "kimi", "glm"."""
        raise NotImplementedError


@dataclass(frozen=True)
class Markup:
    """How many times its cost a token is listed at, by kind: the geometric mean over products."""

    of: Mapping[TokenKind, float]  # list price over cost
    rows: tuple[ListedCost, ...]  # that it was fitted on


@dataclass(frozen=True)
class Prediction:
    """A predicted list price of each kind of token, beside the list."""

    found: ListedCost  # what is predicted: its list was not looked at
    predicted: Mapping[TokenKind, float]  # dollars of a million tokens

    def factor(self, kind: TokenKind) -> float:
        """Return the predicted price over the list's."""
        raise NotImplementedError

    def within(self, kind: TokenKind, times: float = 2.0) -> bool:
        """Return whether the prediction lies within a factor of the list."""
        raise NotImplementedError


@dataclass(frozen=True)
class Predictions:
    """Predicted prices, each of a product that the markup never saw."""

    predicted: tuple[Prediction, ...]  # every one, hit or miss
    fitted: tuple[ListedCost, ...]  # what they rest on

    def share_within(self, kind: TokenKind, times: float = 2.0) -> float:
        """Return the share of predictions of a kind that lie within a factor of the list."""
        raise NotImplementedError

    def table(self) -> Table:
        """Return a row for each prediction."""
        raise NotImplementedError

    def compared(self) -> Table:
        """Return the share within 2x by kind: of the predictions, and of guesses that know no cost."""
        raise NotImplementedError


def listed_costs() -> tuple[ListedCost, ...]:
    """Return all list prices of models whose build is known, in dollars, with what their tokens cost."""
    raise NotImplementedError


def markup(rows: Iterable[ListedCost]) -> Markup:
    """Return the markup of each kind: the geometric mean, each product counted once."""
    raise NotImplementedError


def predictions() -> Predictions:
    """Fit the markups on the lists of two companies before the lesson's day, and predict all other companies'."""
    raise NotImplementedError


def cross_validation() -> Predictions:
    """Predict every row from the rows of other companies."""
    raise NotImplementedError


__all__ = [
    "ListedCost", "Markup", "Prediction", "Predictions", "cross_validation", "listed_costs", "markup", "predictions",
]  # fmt: skip
