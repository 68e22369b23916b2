"""Figures of the chapter `levers`: the chapters as a map, each with what its lever divides the price by.

Chapter: levers
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from costlab import catalog, prices
from costlab.catalog import FrozenDict
from costlab.explore import shapes
from costlab.explore.drawing import Words, drawn, is_narrow, value
from costlab.explore.levers import (
    factor_text,
    levers_of,
    listed_rows,
    listed_usd,
    model_name,
    per_million,
    request_mix,
    usual_rate,
    where_text,
)
from costlab.explore.levers_shares import lever_factors
from costlab.explore.style import COLOURS

#: Whose price the map divides, and the model whose layers are mostly windows.
MAPPED, HYBRID = "deepseek-v4-pro", "mimo-v2.5-pro"


@dataclass(frozen=True)
class MappedChapter:
    """A chapter on the map."""

    slug: str  # of its page
    title: str  # as the book's contents have it
    says: str  # what the factor is of
    levers: tuple[str, ...] = ()  # whose factors are its own; without any it stands beside the product


#: The chapters by what they change in the price of a token, in the book's order within each.
GROUPS: Mapping[str, tuple[MappedChapter, ...]] = FrozenDict(
    {
        "The question": (
            MappedChapter("prices", "Prices", "of the list, April to June"),
        ),
        "A second costs less": (
            MappedChapter(
                "chips", "Chips", "H800, no A100",
                ("chip",),
            ),
        ),
        "A second yields more": (
            MappedChapter(
                "roofline", "Roofline", "full batches, fewer bits",
                ("batch and use", "precision"),
            ),
            MappedChapter(
                "speculative", "Speculative decoding", "drafted tokens",
                ("speculation",),
            ),
            MappedChapter(
                "serving", "Serving", "prefill and decode apart",
                ("separation",),
            ),
        ),
        "A token takes less": (
            MappedChapter(
                "moe", "Mixture of experts", "few of all experts",
                ("sparsity",),
            ),
            MappedChapter(
                "attention", "Attention", "a smaller cache",
                ("attention",),
            ),
            MappedChapter("hybrid", "Hybrid stacks", "of MiMo's price"),
        ),
        "A token is kept": (
            MappedChapter("cache", "Cache", "hits, not misses", ("cache",)),
            MappedChapter(
                "tiers", "Tiers", "SSD, not memory"
            ),
        ),
        "All of it": (
            MappedChapter("levers", "Levers", "all together"),
            MappedChapter("claims", "Claims", "each number recomputed"),
            MappedChapter("limits", "Limits", "what stays"),
        ),
    }
)  # fmt: skip


@functools.lru_cache(maxsize=1)
def chapter_factors() -> Mapping[str, float]:
    """Return by what each chapter's lever divides the price of a mean request, by slug, for chapters that have one.

    Those of `MappedChapter.levers` are Shapley factors of V4-Pro's cost and multiply to that of `levers`. Beside them
    stand the list price's fall (`prices`), the attention of MiMo's own cost (`hybrid`), and what hits would cost in
    host memory (`tiers`).
    """
    shares = lever_factors(MAPPED)
    own = {each.slug: math.prod(shares[name] for name in each.levers) for each in _chapters() if each.levers}
    beside = {
        "prices": list_cut(),
        "hybrid": lever_factors(HYBRID)["attention"],
        "tiers": memory_over_ssd(),
        "levers": math.prod(shares.values()),
    }
    return FrozenDict({each.slug: (own | beside)[each.slug] for each in _chapters() if each.slug in own | beside})


def _chapters() -> Iterator[MappedChapter]:
    return (each for group in GROUPS.values() for each in group)


def list_cut() -> float:
    """Return by how much V4-Pro's first list divided by that of the lesson's day is, for a mean request."""
    mix = request_mix(MAPPED, usual_rate())
    first, later = (listed_rows(MAPPED, day)[0] for day in (_first_day(), prices.LESSON_DAY))
    return listed_usd(first, "request", mix) / listed_usd(later, "request", mix)


def _first_day() -> str:
    return str(prices.history(MAPPED, "USD")[0].valid_from)


def memory_over_ssd() -> float:
    """Return how many times dearer a mean request of V4-Pro is if its cache lies in host memory as long as on SSD."""
    steps, dram = levers_of(MAPPED), catalog.tables().media["dram"]
    assert dram.price_per == "GiB-hour", dram.price_per
    found = [per_million(steps.costs(steps.levers, given), "request") for given in (_in_memory(dram.price_usd), {})]
    return float(found[0] / found[1])


def _in_memory(usd_per_gib_hour: float) -> dict[str, float]:
    return {"storage": usd_per_gib_hour / 2**30 * 1e9}


@drawn
def factors_map() -> Words:
    """Draw the chapters by what they change in a token's price, each with the factor of its lever."""
    factors = chapter_factors()
    narrow = is_narrow()
    columns, left, height = (1, 0.0, 25.0) if narrow else (2, 140.0, 40.0)
    width = (shapes.across() - left - 8.0 * (columns - 1) - 1) / columns
    parts, y = list[str](), 1.0
    for group, chapters in GROUPS.items():
        parts.append(shapes.text(0, y + (11 if narrow else height / 2 + 4), group, size=11, bold=True))
        y += 17 if narrow else 0
        for place, each in enumerate(chapters):
            x = left + (width + 8) * (place % columns)
            parts += _chapter_box(x, y + (height + 5) * (place // columns), width, height, each, factors)
        y += (height + 5) * -(-len(chapters) // columns) + (7 if narrow else 8)
    shapes.diagram("What does each chapter divide the price of a token by?", y - 6, parts)
    return _map_said(factors)


def _chapter_box(
    x: float, y: float, width: float, height: float, each: MappedChapter, factors: Mapping[str, float]
) -> list[str]:
    """A box with a chapter's name and factor, and a bar as long as the factor's share of all orders of magnitude."""
    factor = factors.get(each.slug, 1.0)
    counted = bool(each.levers) or each.slug == "levers"
    length = max(0.0, math.log(factor)) / math.log(factors["levers"]) * (width - 2)
    bar = COLOURS["lever"] if counted else COLOURS["other"]
    parts = [shapes.box(x + 0.5, y, width, height, edge="currentColor", line=0.8, round=3)]
    if length > 0.5:
        parts.append(shapes.box(x + 1.5, y + height - 5, length, 4, bar))
    parts.append(shapes.text(x + 7, y + 15, each.title, size=11))
    if each.slug in factors:
        words = factor_text(factors[each.slug], 1)
        parts.append(shapes.text(x + width - 6, y + 15, words, anchor="end", size=11, bold=counted))
    if not is_narrow():
        parts.append(shapes.text(x + 7, y + 29, each.says, size=9.5))
    return parts


def _map_said(factors: Mapping[str, float]) -> Words:
    told = "; ".join(
        f"{group}: "
        + ", ".join(
            f"{each.title} {factor_text(factors[each.slug], 1)}" if each.slug in factors else each.title for each in of
        )
        for group, of in GROUPS.items()
    )
    where, total = where_text(MAPPED, usual_rate()), factors["levers"]
    return Words(
        f"The chapters by what they change, each with what its lever divides the price of a mean request by. {where}. "
        f"{told}.",
        f"{where}. Bold factors, whatever the order, multiply to {value(total, f'{total:,.0f}', 'levers_all')}. Beside "
        f"them: Prices is the list's fall, Hybrid stacks the attention of {model_name(HYBRID)}, Tiers what host memory "
        "would cost in place of SSD.",
    )
