"""Why everyone's price of a hit fell by November 2026, and whether it did.

Chapter: levers
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from datetime import date
from statistics import median

from costlab import arch, prices
from costlab.catalog import FrozenDict, PriceRow
from costlab.catalog.price_lists import start_of
from costlab.levers.answers import AnswerStep, Question, fact, fold, inferred, joined, percent
from costlab.levers.predicting import FITTED_ON, listed_costs
from costlab.text import Table, digits_text, list_text

#: Days that are compared: after the cuts of May, and the newest lists.
IN_MAY, IN_NOVEMBER = date(2026, 6, 1), date(2026, 11, 25)
#: When products came, by the day of their first list: before the cuts, in summer, since September.
CAME: Mapping[str, tuple[date, date]] = FrozenDict(
    {
        "before June": (date(2024, 1, 1), date(2026, 6, 2)),
        "June to August": (date(2026, 6, 2), date(2026, 9, 1)),
        "since September": (date(2026, 9, 1), date(2026, 11, 26)),
    }
)
#: A hit at this share of a miss or less is called cheap: half of what most lists ask.
CHEAP = 0.05
#: A small model and the one that took its place, whose lists and caches are both known.
SMALL_BEFORE, SMALL_AFTER, SMALL_DAY = "deepseek-v4-flash", "deepseek-v4.1-flash", date(2026, 8, 17)
_LISTS = "lists of makers in the catalog, first tier; in yuan where a product has no price in dollars (prices.toml)"


@functools.cache
def hit_shares(day: date) -> Mapping[str, float]:
    """Return the price of a hit over that of a miss of each product that makers sell on a day, in its first tier."""
    found = {}
    for row in prices.rows_on(day, currency="USD"):
        if row.hit is not None and row.miss > 0 and not row.min_input_tokens and not row.host_of:
            found[row.product] = row.hit / row.miss  # the same at peak hours and off them
    return FrozenDict(found)


def shares_by_arrival(day: date = IN_NOVEMBER) -> Mapping[str, Mapping[str, float]]:
    """Return `hit_shares` of a day by when each product's first list began."""
    first = {product: start_of(prices.history(product)[0].valid_from).date() for product in hit_shares(day)}
    return FrozenDict(
        {
            name: FrozenDict({p: share for p, share in hit_shares(day).items() if start <= first[p] < end})
            for name, (start, end) in CAME.items()
        }
    )


def line_changes() -> Mapping[str, Mapping[str, float]]:
    """Return the hit price of each maker's newest product of a class in May and in November, off-peak.

    By line; "hit" in dollars of a million tokens and "share" of a miss, of both days.
    """
    found = {}
    for line in prices.LINES:
        rows = {name: _cheapest(line.newest(day), day) for name, day in (("May", IN_MAY), ("November", IN_NOVEMBER))}
        there = {name: row for name, row in rows.items() if row is not None}
        if len(there) == len(rows):
            cells = {f"hit in {name}": prices.hit_price(row) for name, row in there.items()}
            shares = {f"share in {name}": prices.hit_price(row) / row.miss for name, row in there.items()}
            found[f"{line.maker}{', small' if line.small else ''}"] = FrozenDict({**cells, **shares})
    return FrozenDict(found)


def line_table() -> Table:
    """Return `line_changes` as a table."""
    return Table([{"maker": line, **of} for line, of in line_changes().items()])


def _cheapest(product: str | None, day: date) -> PriceRow | None:
    rows = [r for r in prices.rows_on(day, currency="USD") if r.product == product and not r.min_input_tokens]
    return min((r for r in rows if r.hit is not None), key=lambda r: r.miss, default=None)


@functools.cache
def november_hits() -> Question:
    """Answer why everyone's price of hits fell by November, and whether it did."""
    numbers = {f"median in {name}": median(hit_shares(day).values()) for name, day in _DAYS.items()}
    numbers |= {f"products in {name}": float(len(hit_shares(day))) for name, day in _DAYS.items()}
    for name, of in shares_by_arrival().items():
        cheap = sum(share <= CHEAP * (1 + 1e-9) for share in of.values())
        numbers |= {f"median {name}": median(of.values()), f"products {name}": len(of), f"cheap {name}": cheap}
    lines = line_changes()
    numbers["lines"] = len(lines)
    for what in ("hit", "share"):
        moves = [of[f"{what} in November"] - of[f"{what} in May"] for of in lines.values()]
        numbers |= {f"{what} fell": sum(m < 0 for m in moves), f"{what} rose": sum(m > 0 for m in moves)}
    numbers |= _cost_numbers()
    steps = (*_list_steps(numbers, lines), *_cost_steps(numbers))
    return Question("Why did everyone's price of a hit fall by November?", _answer(numbers), steps, FrozenDict(numbers))


_DAYS: Mapping[str, date] = FrozenDict({"May": IN_MAY, "November": IN_NOVEMBER})


def _cost_numbers() -> dict[str, float]:
    kept = {name: float(arch.load(name).kv_bytes(2**20).total) / 2**20 for name in (SMALL_BEFORE, SMALL_AFTER)}
    rows = [_cheapest(SMALL_BEFORE, SMALL_DAY), _cheapest(SMALL_AFTER, IN_NOVEMBER)]
    hits = [prices.hit_price(row) for row in rows if row is not None]
    found = {f"bytes of {name}": size for name, size in kept.items()}
    found |= {"bytes fall to": kept[SMALL_AFTER] / kept[SMALL_BEFORE], "its hit falls to": hits[1] / hits[0]}
    for name, mine in ((joined(FITTED_ON), True), ("all others", False)):
        found[f"list over cost, {name}"] = median(
            each.over_cost("hit") for each in listed_costs() if (each.company in FITTED_ON) == mine
        )
    return found


def _list_steps(numbers: Mapping[str, float], lines: Mapping[str, Mapping[str, float]]) -> list[AnswerStep]:
    both = "; ".join(
        f"{line} {list_text(of['hit in May'])} ({percent(of['share in May'])}) to"
        f" {list_text(of['hit in November'])} ({percent(of['share in November'])})"
        for line, of in lines.items()
    )
    risen = [line for line, of in lines.items() if of["hit in November"] > of["hit in May"]]
    came = "; ".join(
        f"{name} {percent(numbers[f'median {name}'])}, {numbers[f'cheap {name}']:.0f} of"
        f" {numbers[f'products {name}']:.0f} at {percent(CHEAP)} or less"
        for name in CAME
    )
    return [
        fact(
            f"Over all products on sale the median hit costs {percent(numbers['median in May'])} of a miss in May"
            f" ({numbers['products in May']:.0f} products) and {percent(numbers['median in November'])} in November"
            f" ({numbers['products in November']:.0f}).",
            _LISTS,
        ),
        fact(f"In November, by when a product came, the median is: {came}.", _LISTS),
        fact(
            f"A hit of each maker's newest product, in brackets the share of a miss, May to November: {both}.", _LISTS
        ),
        fact(
            f"Of {numbers['lines']:.0f} makers' lines {numbers['hit fell']:.0f} ask less for a hit than in May and"
            f" {numbers['hit rose']:.0f} more ({joined(risen)}); as a share of a miss {numbers['share fell']:.0f} fell"
            f" and {numbers['share rose']:.0f} rose.",
            _LISTS,
        ),
    ]


def _cost_steps(numbers: Mapping[str, float]) -> list[AnswerStep]:
    ours, others = (numbers[f"list over cost, {name}"] for name in (joined(FITTED_ON), "all others"))
    old, new = (numbers[f"bytes of {name}"] for name in (SMALL_BEFORE, SMALL_AFTER))
    return [
        fact(
            f"At 1M tokens a cached one takes {digits_text(new)} bytes in {SMALL_AFTER} and took {digits_text(old)} in"
            f" {SMALL_BEFORE}: {percent(numbers['bytes fall to'])}. Its hit is listed at"
            f" {percent(numbers['its hit falls to'])} of the older one's, both off-peak.",
            "the models' dimensions (models.toml) and the lists",
        ),
        inferred(
            f"A hit's list over its cost is {fold(ours)} in the median of {joined(FITTED_ON)}'s lists and"
            f" {fold(others)} of all others whose models' build is known: most makers do not price hits by their cost."
        ),
        inferred(
            "A list that stands above its cost leaves room. After two companies had shown a price near cost, others"
            " lowered theirs with new products and left old lists as they were.",
            "that the order in time shows a cause; no company has said why",
        ),
        inferred(
            "Of closed models no cost is known: that their caches shrank too, or that old lists will follow, would be a"
            " guess.",
            "their build is not public",
        ),
    ]


def _answer(numbers: Mapping[str, float]) -> str:
    moved = "stayed at" if numbers["median in May"] == numbers["median in November"] else "went to"
    return (
        f"Not everyone's did: of {numbers['lines']:.0f} makers' lines {numbers['hit fell']:.0f} fell and"
        f" {numbers['hit rose']:.0f} rose, and over all products on sale the median {moved}"
        f" {percent(numbers['median in November'])} of a miss. What fell are new products: the median is"
        f" {percent(numbers['median June to August'])} of those that came from June to August and"
        f" {percent(numbers['median since September'])} of those since September. Lists of other makers stood"
        f" {fold(numbers['list over cost, all others'])} above our cost of a hit; that rivals used this room is our"
        " inference."
    )


__all__ = [
    "CAME", "CHEAP", "IN_MAY", "IN_NOVEMBER", "SMALL_AFTER", "SMALL_BEFORE", "SMALL_DAY", "hit_shares", "line_changes",
    "line_table", "november_hits", "shares_by_arrival",
]  # fmt: skip
