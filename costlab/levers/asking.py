"""Three questions about the price lists of 2026, answered in steps that are facts or inferences.

A fact was read, or computed from what was read alone. An inference takes something for granted: how DeepSeek serves,
what moves a price. Costs are of that kind throughout, for no provider says what its tokens cost.

>>> from costlab import levers
>>> found = levers.may_above_cost()
>>> sorted({step.kind for step in found.steps})
['fact', 'inference']

Chapter: levers
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from datetime import date

import numpy as np

from costlab import catalog, prices
from costlab.arrays import Floats
from costlab.catalog import FrozenDict, PriceRow
from costlab.catalog.price_lists import start_of
from costlab.levers.answers import (
    AnswerStep,
    Question,
    by_kind,
    fact,
    fold,
    inferred,
    joined,
    list_of,
    over,
    percent,
    where,
)
from costlab.levers.beside import margin
from costlab.levers.checked import drawn_costs_of
from costlab.levers.day import day_checks
from costlab.levers.hits import IN_MAY, IN_NOVEMBER, november_hits
from costlab.levers.products import served
from costlab.levers.services import KINDS
from costlab.text import usd_text

#: A day after the rise of August.
IN_AUGUST = date(2026, 8, 17)
#: The products whose cuts the articles tell.
CUT_IN_MAY = ("deepseek-v4-pro", "mimo-v2.5-pro")
#: The product whose price rose, and the maker's small one of that time.
RISEN, SMALL_OF_APRIL = "deepseek-v4-pro", "deepseek-v4-flash"


# --- could May's prices be above cost?


@functools.cache
def may_above_cost() -> Question:
    """Answer whether May's prices of V4-Pro and MiMo-V2.5-Pro could be above cost."""
    numbers: dict[str, float] = {}
    steps = []
    for product in CUT_IN_MAY:
        row = prices.price_at(product, IN_MAY)
        steps.append(fact(f"{product} is listed at {list_of(row)}.", where(row)))
        for traffic in catalog.tables().traffic:
            found = shares_left(product, row, traffic)
            numbers |= {f"{product}, {traffic}: {name}": value for name, value in found.items()}
            steps.append(inferred(_left_text(product, traffic, found)))
    said = catalog.tables().margins["xiaomi-after-cut"]
    steps.append(fact(f"{said.who}: {said.says}.", f"{said.source} ({said.date})"))
    day = next(check for check in day_checks() if check.unit == "nodes")
    numbers["use of the published day"] = day.factor
    says = (
        f"DeepSeek's published day took {fold(1 / day.factor)} the nodes that full nodes at other people's speed would"
        f" have been, as if {percent(day.factor)} of the hours had been full."
    )
    steps.append(inferred(says, "that the whole gap is use, and that the published runs' speed is DeepSeek's"))
    return Question("Could May's prices be above cost?", _may_answer(numbers), tuple(steps), FrozenDict(numbers))


def shares_left(product: str, row: PriceRow, traffic: str) -> Mapping[str, float]:
    """Return what a list leaves of each kind's price and of a mean request, with the middle nine tenths of draws.

    Args:
        product: whose list.
        row: of it, in dollars.
        traffic: kind of use.

    Returns:
        Shares of the price by "hit", "miss", "output" and "request", each with "…, least" and "…, most"; "break-even
        use" and "use", shares of hours.

    Raises:
        ValueError: a kind of use that the catalog does not have.
    """
    model = row.model or product
    at, costs = margin(product, served(model, traffic=traffic), IN_MAY, row), drawn_costs_of(model, traffic).drawn
    revenue = sum(at.paid[kind] * costs.request[kind] for kind in KINDS) / 1e6
    shares: dict[str, tuple[float, Floats]] = {
        kind: (at.of(kind), 1 - costs.of(kind) / at.paid[kind]) for kind in KINDS
    }
    shares["request"] = at.share_left, 1 - costs.bill / revenue
    found: dict[str, float] = {}
    for name, (value, of) in shares.items():
        low, high = np.quantile(of, (0.05, 0.95), method="nearest")
        found |= {name: value, f"{name}, least": float(low), f"{name}, most": float(high)}
    return FrozenDict({**found, "break-even use": at.break_even, "use": at.utilisation})


def _left_text(product: str, traffic: str, found: Mapping[str, float]) -> str:
    kinds = ", ".join(
        f"{kind} {percent(found[kind])} ({percent(found[f'{kind}, least'])} to {percent(found[f'{kind}, most'])})"
        for kind in (*KINDS, "request")
    )
    return (
        f"{product}, {traffic}: of each price and of a mean request is left: {kinds}; it breaks even at"
        f" {percent(found['break-even use'])} of the hours, where {percent(found['use'])} are assumed."
    )


def _may_answer(numbers: Mapping[str, float]) -> str:
    uses = tuple(catalog.tables().traffic)
    parts = []
    for product in CUT_IN_MAY:
        of = {use: {k: numbers[f"{product}, {use}: {k}"] for k in ("request", "hit", "break-even use")} for use in uses}
        paying = [use for use in uses if of[use]["request"] > 0]
        said = f"{product}'s list pays for its chips in {joined(paying)}"
        if losing := [use for use in uses if use not in paying]:
            said += f", not in {joined(losing)}"
        even = joined(f"{percent(of[use]['break-even use'])} ({use})" for use in uses)
        below = [use for use in uses if of[use]["hit"] < 0]
        parts.append(f"{said}; it breaks even at {even} of the hours; hits alone lie below cost in {joined(below)}.")
    return " ".join([*parts, "Staff, training and free use are not counted."])


# --- why did DeepSeek's price rise in August?


@functools.cache
def august_rise() -> Question:
    """Answer why V4-Pro's price rose in August when its cost did not."""
    before = prices.price_at(RISEN, IN_MAY)
    after = {str(r.window): r for r in prices.rows_on(IN_AUGUST, currency="USD") if r.product == RISEN}
    numbers = {f"{name}, {kind}": rise for name, row in after.items() for kind, rise in over(row, before).items()}
    rises = "; ".join(f"{name} {by_kind(over(row, before))} ({list_of(row)})" for name, row in after.items())
    steps = [fact(f"{RISEN}, the list of August over that of May: {rises}.", where(after["peak"]))]
    steps += _same_cost(before, after, numbers) + _scarce(numbers) + _since(before, numbers)
    asks = "Why did DeepSeek's price rise in August when its cost did not?"
    return Question(asks, _august_answer(numbers), tuple(steps), FrozenDict(numbers))


def _same_cost(before: PriceRow, after: Mapping[str, PriceRow], numbers: dict[str, float]) -> list[AnswerStep]:
    """The cost on both days, and what each list leaves."""
    models = {str(row.model) for row in (before, *after.values())}
    service = served(str(before.model))
    rows = {"May": before, **{f"August, {name}": row for name, row in after.items()}}
    left = {name: margin(RISEN, service, IN_MAY, row) for name, row in rows.items()}
    numbers |= {f"left in {name}": each.share_left for name, each in left.items()}
    numbers |= {f"break-even use in {name}": each.break_even for name, each in left.items()}
    costs = left["May"].costs
    numbers |= {f"cost, {kind}": float(costs.of(kind)) for kind in KINDS}
    money = ", ".join(f"{kind} {usd_text(float(costs.of(kind)))}" for kind in KINDS)
    shares = "; ".join(
        f"{name} {percent(each.share_left)}, break-even at {percent(each.break_even)} of the hours"
        for name, each in left.items()
    )
    rent = catalog.tables().serving.figures["rents-july-2026"]
    dearer = {name: rent.values[name] / rent.values[f"{name}_before"] for name in rent.values if "_" not in name}
    numbers |= {f"rent of {name}": rise for name, rise in dearer.items()}
    numbers["most that rents rose"] = max(dearer.values())
    told = ", ".join(f"{name.upper()} {fold(rise)}" for name, rise in dearer.items())
    return [
        fact(
            f"Both lists are of one architecture, {joined(sorted(models))}: August's weights were trained on.",
            "docs.apiyi.com/live/2026-08/deepseek-v4-flash-ga-launch.md, and models.toml",
        ),
        inferred(f"A million tokens cost the same on both days, in coding: {money}."),
        inferred(f"What is left of a mean request, in coding: {shares}."),
        fact(f"In July retail rents of a chip-hour rose: {told}.", f"{rent.source} ({rent.date})"),
    ]


def _scarce(numbers: dict[str, float]) -> list[AnswerStep]:
    """What is known of supply, and what one may conclude."""
    figures = catalog.tables().serving.figures
    scarce, limits, plan = (figures[f"deepseek-{name}"] for name in ("v4-scarce", "v4-limits", "peak-plan"))
    first = {name: prices.history(name, "USD")[0] for name in (RISEN, SMALL_OF_APRIL)}
    launch, later = (
        over(first[RISEN], first[SMALL_OF_APRIL]),
        over(*(prices.price_at(n, IN_AUGUST) for n in (RISEN, SMALL_OF_APRIL))),
    )
    cost = [margin(name, served(name), start_of(row.valid_from), row).costs for name, row in first.items()]
    costs = {kind: float(cost[0].of(kind)) / float(cost[1].of(kind)) for kind in KINDS}
    for name, of in (("at launch", launch), ("in cost", costs), ("in August", later)):
        numbers |= {f"over {SMALL_OF_APRIL} {name}, {kind}": factor for kind, factor in of.items()}
    return [
        fact(
            f"At launch {RISEN} was listed at up to {fold(scarce.values['pro_over_flash'])} {SMALL_OF_APRIL}'s price:"
            f" {by_kind(launch)}."
            " DeepSeek named too little high-end compute as the reason, and announced a much lower price for when"
            " Ascend 950 supernodes come in numbers, in the second half of 2026.",
            f"{scarce.source} ({scarce.date})",
        ),
        inferred(
            f"In cost it is over {SMALL_OF_APRIL}, in coding: {by_kind(costs)}; in August's lists: {by_kind(later)}."
        ),
        fact(
            f"An account may run {limits.values['pro']:,.0f} requests of V4-Pro at once and"
            f" {limits.values['flash']:,.0f} of V4-Flash; more are refused.",
            f"{limits.source} ({limits.date})",
        ),
        fact(
            f"Peak prices of {fold(plan.values['peak_over_off_peak'])} the others were announced in June for better"
            " distributed resources and steadier service.",
            f"{plan.source} ({plan.date})",
        ),
        inferred(
            "A list that doubles in busy hours, beside limits on requests, rations chips that are short: an hour of a"
            " chip costs the same by day and by night.",
            "that DeepSeek can't add chips as fast as requests come; it speaks of distribution, not of a shortage",
        ),
    ]


def _since(before: PriceRow, numbers: dict[str, float]) -> list[AnswerStep]:
    """What came of the lower price that was announced."""
    rows = [r for r in prices.history(RISEN, "USD") if start_of(r.valid_from) >= start_of(IN_AUGUST).replace(day=16)]
    least = min((over(row, before) for row in rows), key=lambda of: of["output"])
    numbers |= {f"least since, {kind}": factor for kind, factor in least.items()}
    says = f"Of all its lists from August to {IN_NOVEMBER:%B} the lowest is over May's: {by_kind(least)}."
    return [fact(says, where(rows[-1]))]


def _august_answer(numbers: Mapping[str, float]) -> str:
    rents = numbers["most that rents rose"]
    left = [numbers[f"left in {name}"] for name in ("May", "August, off-peak", "August, peak")]
    rises = {f"{kind} ({name})": numbers[f"{name}, {kind}"] for name in ("off-peak", "peak") for kind in KINDS}
    covered, beyond = ([what for what, rise in rises.items() if (rise <= rents) == inside] for inside in (True, False))
    return (
        "Not for its cost: the same model costs the same to serve. Had all of July's rise of rents come on top, of"
        f" {fold(rents)} at most, it would explain {joined(covered)} and not {joined(beyond)}, which rose up to"
        f" {fold(max(rises.values()))}. Of a coding request {percent(left[0])} was left in May, {percent(left[1])} is"
        f" off-peak and {percent(left[2])} at peak hours. That"
        " high-end chips were short is DeepSeek's own word of April; that August's list rations them is our inference."
    )


def questions() -> tuple[Question, ...]:
    """Return the three answers."""
    return may_above_cost(), august_rise(), november_hits()


__all__ = [
    "CUT_IN_MAY",
    "IN_AUGUST",
    "RISEN",
    "SMALL_OF_APRIL",
    "august_rise",
    "may_above_cost",
    "questions",
    "shares_left",
]
