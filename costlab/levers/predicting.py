"""List prices predicted from costs, with the products that were fitted kept apart from those that are predicted.

One number is fitted for each kind of token: the markup, list price over cost, as the geometric mean over products. It
stands for all that chips do not cost: staff, training, free use, taxes, profit. What is told apart:

- fitted: products of the two companies that the source articles are about, at lists in force before the lesson's day;
- predicted: every product of every other company whose model's build is known, at its newest list. No price of these
  companies, or of a model of these families, was looked at.

Other fits say how far the answer hangs on that choice (`choices_compared`): `forecasts`, each product from what others'
lists said the day before it; `cross_validation`, every list from those of all other companies.

The cost is that of a mean request of each kind of use, averaged: nobody publishes what a provider's users do.

>>> from costlab import levers
>>> found = levers.predictions()
>>> {each.company for each in found.fitted} & {each.found.company for each in found.predicted}
set()

Chapter: levers
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from statistics import fmean, median
from typing import Any

from costlab import arch, catalog, prices
from costlab.catalog import FrozenDict, PriceRow
from costlab.catalog.price_lists import start_of
from costlab.levers.products import served
from costlab.levers.services import KINDS, TokenKind, token_costs
from costlab.text import Table

#: Who is fitted: the companies whose price cuts the source articles tell. All others are predicted.
FITTED_ON = ("DeepSeek", "Xiaomi")
#: A list that nobody was billed by: the price that a promotion was a discount of.
NOT_BILLED = frozenset({"deepseek-v4-pro-list"})
#: The day on which DeepSeek's price of hits fell to a tenth: the first of the cuts that the articles tell.
HIT_CUT = date(2026, 4, 26)
#: What is called a good prediction: within this factor of the list.
TIMES = 2.0

Amounts = Mapping[TokenKind, float]
_OVER: Mapping[TokenKind, str] = FrozenDict({kind: f"{kind}, list over cost" for kind in KINDS})


@dataclass(frozen=True)
class ListedCost:
    """A row of a price list, and what the tokens cost."""

    row: PriceRow  # the list
    model: str  # key of the model behind it
    listed: Amounts  # dollars of a million tokens by the list
    costs: Amounts  # what they cost, in dollars: the geometric mean over the kinds of use

    @property
    def company(self) -> str:
        """Who sells it."""
        return self.row.provider

    @property
    def family(self) -> str:
        """What its models are called: the letters that the key begins with, e.g. "kimi", "glm"."""
        return "".join(itertools.takewhile(str.isalpha, self.model))

    def over_cost(self, kind: TokenKind) -> float:
        """Return the list price of a kind over its cost."""
        return self.listed[kind] / self.costs[kind]


@functools.cache
def model_costs(model: str, traffic: str | None = None) -> Amounts:
    """Return the dollars of a million tokens of a model with all levers.

    Args:
        model: key in the catalog.
        traffic: kind of use; None for the geometric mean over all kinds.

    Raises:
        ValueError: an unknown model or kind of use.
    """
    kinds = tuple(catalog.tables().traffic) if traffic is None else (traffic,)
    found = [token_costs(served(model, traffic=each)) for each in kinds]
    return FrozenDict({kind: _mean([float(each.of(kind)) for each in found]) for kind in KINDS})


def _mean(numbers: Iterable[float]) -> float:
    """The geometric mean."""
    return math.exp(fmean(map(math.log, numbers)))


@functools.cache
def listed_costs(traffic: str | None = None) -> tuple[ListedCost, ...]:
    """Return all list prices in dollars of models whose build is known, with what their tokens cost, oldest first.

    Rows for longer prompts, of hosts that serve another maker's weights, without a price of hits, and those that nobody
    was billed by are left out.

    Args:
        traffic: kind of use that the costs are of; None for the geometric mean over all kinds.

    Raises:
        ValueError: an unknown kind of use.
    """
    found = []
    for row in sorted(catalog.tables().prices, key=lambda row: (start_of(row.valid_from), row.product)):
        if row.model is None or row.hit is None or row.host_of or row.product in NOT_BILLED:
            continue
        if (row.currency, row.published_by, row.min_input_tokens) == ("USD", "provider", 0):
            listed: Amounts = FrozenDict({"hit": row.hit, "miss": row.miss, "output": row.output})
            found.append(ListedCost(row, row.model, listed, model_costs(row.model, traffic)))
    return tuple(found)


@dataclass(frozen=True)
class Markup:
    """How many times its cost a token is listed at, by kind: the geometric mean over products, each counted once."""

    times: Amounts  # list price over cost
    rows: tuple[ListedCost, ...]  # that it was fitted on

    def price(self, costs: Amounts) -> Amounts:
        """Return the list prices of tokens of a cost."""
        return FrozenDict({kind: self.times[kind] * costs[kind] for kind in KINDS})

    def table(self) -> Table:
        """Return a row for each product that was fitted, and the markups."""
        rows = [
            {
                "fitted on": product,
                **{f"{kind}, list over cost": _mean(e.over_cost(kind) for e in of) for kind in KINDS},
            }
            for product, of in _by_product(self.rows).items()
        ]
        return Table([*rows, {"fitted on": "all", **{f"{kind}, list over cost": self.times[kind] for kind in KINDS}}])


def markup(rows: Iterable[ListedCost]) -> Markup:
    """Return the markup of each kind: of a product the geometric mean of its rows, and of all products of theirs.

    Raises:
        ValueError: no row.
    """
    given = tuple(rows)
    if not given:
        raise ValueError("rows = [] should be at least one list price to fit a markup on")
    products = _by_product(given).values()
    times = {kind: _mean(_mean(each.over_cost(kind) for each in of) for of in products) for kind in KINDS}
    return Markup(FrozenDict(times), given)


def _by_product(rows: Iterable[ListedCost]) -> dict[str, list[ListedCost]]:
    found: dict[str, list[ListedCost]] = {}
    for each in rows:
        found.setdefault(each.row.product, []).append(each)
    return found


@dataclass(frozen=True)
class Prediction:
    """A predicted list price of each kind of token, beside the list."""

    found: ListedCost  # what is predicted: its list was not looked at
    predicted: Amounts  # dollars of a million tokens

    def factor(self, kind: TokenKind) -> float:
        """Return the predicted price over the list's."""
        return self.predicted[kind] / self.found.listed[kind]

    def within(self, kind: TokenKind, times: float = TIMES) -> bool:
        """Return whether the prediction lies within a factor of the list."""
        return abs(math.log(self.factor(kind))) <= math.log(times)

    @property
    def missed(self) -> tuple[TokenKind, ...]:
        """The kinds that the prediction misses."""
        return tuple(kind for kind in KINDS if not self.within(kind))


@dataclass(frozen=True)
class Predictions:
    """Predicted prices, each of a product of a company and a family that its markup never saw."""

    predicted: tuple[Prediction, ...]  # every one, whether it came true or not
    fitted: tuple[ListedCost, ...]  # what the markups rest on; of a cross-validation all rows, each time less some
    says: str  # what was fitted and what was predicted, in words

    def share_within(self, kind: TokenKind, times: float = TIMES) -> float:
        """Return the share of predictions of a kind that lie within a factor of the list."""
        return fmean(each.within(kind, times) for each in self.predicted)

    def typical_factor(self, kind: TokenKind) -> float:
        """Return by which factor half of the predictions of a kind are off at most."""
        return math.exp(median(abs(math.log(each.factor(kind))) for each in self.predicted))

    @property
    def all_within(self) -> tuple[str, ...]:
        """The products of which a list has all three prices within the factor, each once."""
        return tuple(dict.fromkeys(each.found.row.product for each in self.predicted if not each.missed))

    @property
    def missed(self) -> tuple[Prediction, ...]:
        """The predictions that miss some kind."""
        return tuple(each for each in self.predicted if each.missed)

    def table(self) -> Table:
        """Return a row for each prediction: list, prediction and their ratio by kind, and which kinds it misses."""
        rows = []
        for each in self.predicted:
            row = each.found.row
            start = start_of(row.valid_from).date()
            cells: dict[str, Any] = {"product": row.product, "company": row.provider, "list of": str(start)}
            for kind in KINDS:
                cells[f"{kind}, list"] = each.found.listed[kind]
                cells[f"{kind}, predicted"] = each.predicted[kind]
                cells[f"{kind}, times"] = each.factor(kind)
            rows.append({**cells, "misses": ", ".join(each.missed) or "none"})
        return Table(rows, caption=self.says)

    def compared(self) -> Table:
        """Return how many prices are within the factor, by kind: of the predictions, and of guesses that know no cost.

        "typical" is the factor by which half of them are off at most.
        """
        rows = [_scores("cost with a markup", self.predicted)]
        rows += [_scores(name, guess(self)) for name, guess in GUESSES.items()]
        return Table(rows, caption=f"Share of {len(self.predicted)} predictions within {TIMES:g}x of the list")


def _scores(name: str, found: Sequence[Prediction]) -> dict[str, Any]:
    both = Predictions(tuple(found), (), "")
    shares = {f"{kind}, share within": both.share_within(kind) for kind in KINDS}
    typical = {f"{kind}, typical": both.typical_factor(kind) for kind in KINDS}
    return {"prediction": name, **shares, "all three within": fmean(not each.missed for each in found), **typical}


def _same_for_all(found: Predictions) -> list[Prediction]:
    """The median list price of the fitted products, whatever the product."""
    products = _by_product(found.fitted).values()
    guess = {kind: median(_mean(each.listed[kind] for each in of) for of in products) for kind in KINDS}
    return [Prediction(each.found, FrozenDict(guess)) for each in found.predicted]


def _by_parameters(found: Predictions) -> list[Prediction]:
    """So many dollars for each active parameter, as the fitted products take."""
    products = _by_product(found.fitted).values()
    each_takes = {
        kind: _mean(_mean(row.listed[kind] / _active(row.model) for row in of) for of in products) for kind in KINDS
    }
    return [
        Prediction(e.found, FrozenDict({kind: each_takes[kind] * _active(e.found.model) for kind in KINDS}))
        for e in found.predicted
    ]


def _active(model: str) -> float:
    return arch.load(model).params.active


def _share_of_misses(found: Predictions) -> list[Prediction]:
    """Misses and output as predicted; of hits the share of a miss that the fitted products ask."""
    products = _by_product(found.fitted).values()
    share = _mean(_mean(each.listed["hit"] / each.listed["miss"] for each in of) for of in products)
    return [
        Prediction(each.found, FrozenDict({**each.predicted, "hit": share * each.predicted["miss"]}))
        for each in found.predicted
    ]


def _exchanged(found: Predictions) -> list[Prediction]:
    """Each product's prediction given to each other product: what the right prices in the wrong places are worth."""
    pairs = itertools.permutations(found.predicted, 2)
    return [Prediction(one.found, other.predicted) for one, other in pairs]


#: Guesses that predictions have to beat.
GUESSES: Mapping[str, Callable[[Predictions], list[Prediction]]] = FrozenDict(
    {
        "median list of the fitted": _same_for_all,
        "by active parameters": _by_parameters,
        "hits as a share of misses": _share_of_misses,
        "predictions exchanged": _exchanged,
    }
)


@functools.cache
def predictions(traffic: str | None = None, before: date | None = None) -> Predictions:
    """Fit the markups on two companies' lists before a day, and predict the newest list of every other company.

    Args:
        traffic: kind of use that the costs are of; None for all kinds together.
        before: first day whose lists are not fitted; None for the lesson's day, that of the prices that the source
            articles tell: this was set before anything was predicted.

    Raises:
        ValueError: an unknown kind of use; a day before the first list.
    """
    day, rows = start_of(prices.moment(before or prices.LESSON_DAY)), listed_costs(traffic)
    known = [each for each in rows if each.company in FITTED_ON and start_of(each.row.valid_from) < day]
    others = [each for each in rows if each.company not in FITTED_ON and not each.row.promotion]
    newest = [of[-1] for of in _by_product(others).values()]
    fitted = markup(known)
    says = f"Fitted on {' and '.join(FITTED_ON)} before {day.date()}; predicted: the newest list of all others"
    return Predictions(tuple(Prediction(each, fitted.price(each.costs)) for each in newest), fitted.rows, says)


def choices_compared() -> Table:
    """Return how many products each fit predicts within the factor: what the answer owes to the choice of a fit.

    Only the first was set before its result was known. That without the cuts of hits tells why the first misses them.
    """
    cuts = {"before the hit cut": HIT_CUT, "all lists": None}
    found = {"as set at first": predictions()}
    found |= {f"first, costs of {traffic}": predictions(traffic) for traffic in catalog.tables().traffic}
    found |= {name: predictions(before=day or date.max) for name, day in cuts.items()}
    found |= {"others' lists of the day": forecasts(), "all other companies": cross_validation()}
    return Table([_counts(name, each) for name, each in found.items()])


def _counts(name: str, found: Predictions) -> dict[str, Any]:
    within = {f"{kind}, within": sum(each.within(kind) for each in found.predicted) for kind in KINDS}
    products = {"products": len(_by_product(each.found for each in found.predicted))}
    counts = {"lists": len(found.predicted), **within, **products, "products with all three": len(found.all_within)}
    return {"fit": name, **counts}


@functools.cache
def forecasts() -> Predictions:
    """Predict each product's first list price from what other companies' lists said on the day before.

    Products before which fewer than two others had a price are left out: nothing could be fitted.
    """
    found, first = [], {product: of[0] for product, of in _by_product(listed_costs()).items()}
    for each in first.values():
        start = start_of(each.row.valid_from)
        rest = [o for o in _strangers(each) if start_of(o.row.valid_from) < start <= _end(o.row)]
        if len(_by_product(rest)) > 1:
            found.append(Prediction(each, markup(rest).price(each.costs)))
    return Predictions(tuple(found), listed_costs(), "Each first list price predicted from others' lists of that day")


def _end(row: PriceRow) -> datetime:
    return start_of(row.valid_to) if row.valid_to else datetime.max.replace(tzinfo=UTC)


def _strangers(found: ListedCost) -> list[ListedCost]:
    """The lists of other companies, and of models of other families."""
    return [each for each in listed_costs() if each.company != found.company and each.family != found.family]


@functools.cache
def cross_validation() -> Predictions:
    """Predict every list price from those of other companies and other families of models, all days together."""
    found = [Prediction(each, markup(_strangers(each)).price(each.costs)) for each in listed_costs()]
    return Predictions(tuple(found), listed_costs(), "Each list price predicted from those of all other companies")


__all__ = [
    "FITTED_ON", "GUESSES", "HIT_CUT", "NOT_BILLED", "TIMES", "ListedCost", "Markup", "Prediction", "Predictions",
    "choices_compared", "cross_validation", "forecasts", "listed_costs", "markup", "model_costs", "predictions",
]  # fmt: skip
