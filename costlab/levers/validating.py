"""Costs beside what others published: checks that could fail, each with what its figures rest on.

Nothing here is fitted to what it is compared with. Ours is a cost with every figure at its value, and the middle nine
tenths of draws of all figures that are ranges. What theirs counts beside ours is said; where the two do not count the
same, the comparison is marked as an inference.

- `day`: DeepSeek's published day, by efficiencies of other people's runs;
- `margin`: two listed companies' books, which bear more than the rent of chips, so that ours should be lower;
- `host`: the cheapest independent host's price of the same weights, which its cost should not pass;
- `owning`: the cost of a chip-hour in InferenceX's surveys, and of output in published deployments.

>>> from costlab import levers
>>> len(levers.validation().failed) < len(levers.validation(times=3.0).failed)
True

Chapter: levers
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from datetime import date

import numpy as np

from costlab import catalog
from costlab.arch import load
from costlab.arrays import Floats
from costlab.catalog import FrozenDict, MarginStatement, OutputPrice, PriceRow, PublishedOwning
from costlab.chips import Ownership, efficiency_points, ownership, triangular
from costlab.chips.assumptions import Assumption
from costlab.levers.checked import CHECK_DRAWS, CHECK_SEED, Check, OurFigure, Validation, drawn_costs, drawn_costs_of
from costlab.levers.day import day_checks
from costlab.levers.figures import service_figures
from costlab.levers.products import SERVING_CHIP
from costlab.levers.services import INPUTS, KINDS, Service, TokenCosts, TokenKind
from costlab.text import digits_text

#: A statement of a company's books, and the products that it sold in that period or next to it. Products of earlier
#: statements are of models whose build is not in the catalog.
SOLD_IN: Mapping[str, tuple[str, ...]] = FrozenDict(
    {"zhipu-cloud-2026": ("glm-5", "glm-5.1"), "minimax-2025": ("minimax-m2",)}
)
#: What the books bear beside the rent of chips, as far as one can tell from outside.
BOOKS_BEAR: Mapping[str, str] = FrozenDict(
    {
        "Zhipu": "free use, plans at a flat price, discounts on the list, and hours that nobody asks for",
        "MiniMax": "apps with free users, speech and video; the product's list began after the period",
    }
)
#: The surveys that the cost of owning is compared with, and the day on which the chips are bought.
SURVEYS, SURVEY_DAY = ("july-2026-hyperscaler", "july-2026-neocloud"), date(2026, 7, 1)
#: Chips that both the surveys and the lists of machines have.
SURVEYED = ("h100-sxm", "h200", "b200")
#: Share of its hours that a survey's owner is taken to use; power alone depends on it.
SURVEY_USE = 0.8


def _sold(row: PriceRow) -> bool:
    return (row.published_by, row.currency, row.min_input_tokens) == ("provider", "USD", 0)


def _price(row: PriceRow, kind: TokenKind) -> float:
    """Dollars of a million tokens; hits without a price of their own cost what misses do."""
    hit = row.miss if row.hit is None else row.hit
    return {"hit": hit, "miss": row.miss, "output": row.output}[kind]


def _revenue(row: PriceRow, costs: TokenCosts) -> Floats:
    """Dollars that a mean request brings."""
    return np.asarray(sum(_price(row, kind) * costs.request[kind] for kind in KINDS) / 1e6)


# --- companies' books


def margin_checks(times: float = 1.0) -> tuple[Check, ...]:
    """Put our cost over revenue of two listed companies' products beside that of their books.

    Ours is the mean over the kinds of use at the product's list, for the rent of chips and storage alone; books bear
    more, so that ours should be lower.

    Args:
        times: by which our costs are multiplied.
    """
    said = catalog.tables().margins
    return tuple(_book_check(said[key], product, times) for key, of in SOLD_IN.items() for product in of)


def _book_check(said: MarginStatement, product: str, times: float) -> Check:
    row = next(r for r in catalog.tables().prices if _sold(r) and r.product == product)

    def spent(costs: TokenCosts) -> Floats:
        return np.asarray(times * costs.bill / _revenue(row, costs))

    of_use = [drawn_costs_of(row.model or product, traffic).figure(spent) for traffic in catalog.tables().traffic]
    drawn = np.mean([np.broadcast_to(each.drawn, CHECK_DRAWS) for each in of_use], axis=0)
    ours = OurFigure(float(np.mean([each.value for each in of_use])), np.asarray(drawn))
    what = f"{said.who}, {said.period}: cost over revenue by {said.counts}, {said.basis}; ours of {product}"
    left = digits_text(100 * (said.margin or 0.0))
    return Check(
        "margin", what, "share of revenue", ours.value, ours.low, ours.high, 1 - (said.margin or 0.0), "at most",
        fitted="costs with all levers; rents, shares of the roofline and use as catalogued",
        left_out="every margin and every price", source=said.source, date=said.date, kind="inference",
        note=f"their margin of {left}% also bears {BOOKS_BEAR[said.who]}; ours is the rent of chips and storage alone",
    )  # fmt: skip


# --- independent hosts' prices


@functools.cache
def hosted() -> Mapping[str, tuple[PriceRow, ...]]:
    """Return the rows of independent hosts by the maker's product, of those that several hosts serve."""
    found: dict[str, list[PriceRow]] = {}
    for row in catalog.tables().prices:
        if row.host_of and _sold(row):
            found.setdefault(row.host_of, []).append(row)
    return FrozenDict({product: tuple(rows) for product, rows in found.items() if len(rows) > 1})


def host_checks(times: float = 1.0) -> tuple[Check, ...]:
    """Put our costs beside the cheapest independent host's prices of the same weights, which should lie above.

    The bound is on a whole request: a host may sell one kind of token below its cost and earn on another.

    Args:
        times: by which our costs are multiplied.
    """
    return tuple(check for product, rows in hosted().items() for check in _hosted(product, rows, times))


def _hosted(product: str, rows: tuple[PriceRow, ...], times: float) -> Iterator[Check]:
    model = next(r.model or r.product for r in catalog.tables().prices if r.product == product)
    every = {traffic: drawn_costs_of(model, traffic) for traffic in catalog.tables().traffic}
    for traffic, costs in every.items():
        asked = {row: 1000 * float(_revenue(row, costs.at_values)) for row in rows}
        ours = costs.figure(lambda found: np.asarray(1000 * times * found.bill))
        yield _host_check(product, f"a thousand requests, {traffic}", asked, ours)
    for kind in KINDS:
        means = [np.mean([np.log(each.of(kind)) for each in of], axis=0)
                 for of in ([c.at_values for c in every.values()], [c.drawn for c in every.values()])]  # fmt: skip
        ours = OurFigure(times * float(np.exp(means[0])), np.asarray(times * np.exp(means[1])))
        yield _host_check(product, f"a million tokens, {kind}", {row: _price(row, kind) for row in rows}, ours)


def _host_check(product: str, what: str, asked: Mapping[PriceRow, float], ours: OurFigure) -> Check:
    row = min(asked, key=lambda each: asked[each])
    of_kind = what.startswith("a million")
    return Check(
        "host", f"{product}: {what}; cheapest of {len(asked)} hosts: {row.provider}", "USD", ours.value, ours.low,
        ours.high, asked[row], "at most",
        fitted=f"costs with all levers on {catalog.chip(SERVING_CHIP).name}; rents, shares and use as catalogued",
        left_out="every price", source=row.source, date=row.date, kind="inference" if of_kind else "fact",
        note="a host may sell one kind of token below cost" if of_kind else "the host's own chips are not known",
    )  # fmt: skip


# --- owning, and published costs of output


def owning_checks(times: float = 1.0) -> tuple[Check, ...]:
    """Put our cost of an owned chip-hour, and of output tokens, beside published ones.

    Args:
        times: by which our costs are multiplied.
    """
    surveys = [catalog.tables().owning[key] for key in SURVEYS]
    hours = [_hour_check(survey, chip, times) for survey in surveys for chip in SURVEYED if chip in survey.amounts]
    return (*hours, *(_output_check(price, times) for price in catalog.tables().serving.output_prices.values()))


@functools.cache
def _bought(chip: str, buyer: str) -> tuple[Ownership, Floats]:
    """A purchase on the surveys' day, and its hour over draws; who owns whole rooms rents none."""
    if buyer == "hyperscaler":
        bought = ownership(chip, "US", SURVEY_DAY, "USD", utilisation=SURVEY_USE, room=0.0)
    else:
        bought = ownership(chip, "US", SURVEY_DAY, "USD", utilisation=SURVEY_USE)
    rng = np.random.default_rng(CHECK_SEED)
    ranges = {name: each for name, each in sorted(bought.inputs().items()) if each.is_range}
    return bought, bought.owned_hour({name: triangular(each, rng.random(CHECK_DRAWS)) for name, each in ranges.items()})


def _hour_check(survey: PublishedOwning, chip: str, times: float) -> Check:
    bought, drawn = _bought(chip, survey.buyer)
    ours = OurFigure(times * float(bought.owned_hour()), times * drawn)
    return Check(
        "owning", f"an hour of {catalog.chip(chip).name}, {survey.says}", "USD per chip-hour", ours.value, ours.low,
        ours.high, survey.amounts[chip], "inside", fitted="lists of machines, loans, electricity and rooms",
        left_out="every published cost of owning", source=survey.source, date=survey.date, kind="inference",
        note="ours pays for one machine by its list; theirs buys many, and writes them off by its own years",
    )  # fmt: skip


@functools.cache
def _written(key: str) -> tuple[Service, OurFigure]:
    """The output of a published deployment, by efficiencies of runs of other models or chips."""
    price = catalog.tables().serving.output_prices[key]
    run = catalog.tables().serving.nodes[price.decode]
    own = [point.key for point in efficiency_points() if (point.model, point.chip) == (run.model, run.chip)]
    given = service_figures(run.model, run.chip, leave_out=own, drafted=0)
    said = {
        "rent": price.usd_per_chip_hour,
        "utilisation": 1.0,
        "user speed": 1 / run.step_s,
        "input": price.input_tokens,
        "output": price.output_tokens,
        "hit rate": 0.0,
    }
    for name, value in said.items():
        given[name] = Assumption(float(value), INPUTS[name], price.source, price.date)
    service = Service(load(run.model), run.chip, FrozenDict(given))
    return service, drawn_costs(service).figure(lambda costs: costs.output)


def _output_check(price: OutputPrice, times: float) -> Check:
    key = next(key for key, each in catalog.tables().serving.output_prices.items() if each is price)
    service, ours = _written(key)
    return Check(
        "owning", f"{price.what}: output, nodes that write alone", "USD per million tokens", times * ours.value,
        times * ours.low, times * ours.high, price.usd_per_million, "inside",
        fitted=service.inputs()["decode share"].source,
        left_out=f"every run of {service.model.name} on {catalog.chip(service.chip).name}", source=price.source,
        date=price.date, note="each user gets the speed of that run",
    )  # fmt: skip


#: What is checked, in the order in which it is told.
TOPICS: tuple[Callable[[float], tuple[Check, ...]], ...] = (day_checks, margin_checks, host_checks, owning_checks)


def validation(times: float = 1.0) -> Validation:
    """Return all checks.

    Args:
        times: by which all our costs are multiplied, to see whether the checks would notice.

    Raises:
        ValueError: a factor that is not above 0 and finite.
    """
    if not 0 < times < np.inf:
        raise ValueError(f"times = {times!r} should be above 0 and finite")
    return Validation(tuple(check for topic in TOPICS for check in topic(times)))


__all__ = [
    "BOOKS_BEAR", "SOLD_IN", "SURVEYED", "SURVEYS", "SURVEY_DAY", "SURVEY_USE", "TOPICS", "host_checks", "hosted",
    "margin_checks", "owning_checks", "validation",
]  # fmt: skip
