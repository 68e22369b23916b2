"""Figures of the chapter `levers`: each lever's share whatever the order, and which levers make each other worth more.

All sets of levers are priced for them, which takes a second on a desk: they are drawn when the book is built.

Chapter: levers
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from itertools import pairwise

from costlab import checks
from costlab.catalog import FrozenDict
from costlab.explore.drawing import Words, drawn, is_narrow, value
from costlab.explore.levers import (
    PRICED,
    TOKEN_WORDS,
    factor_text,
    levers_of,
    name_rows,
    per_million,
    rung_costs,
    usual_rate,
    where_text,
)
from costlab.explore.style import COLOURS, INK, colour_key, label_inside, log_axis, new_figure
from costlab.levers import shapley

_PAIRS = 8  # that are drawn, the strongest first
_FACTORS = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0)


@functools.lru_cache(maxsize=8)
def set_worths(model: str) -> Mapping[str, shapley.Worths]:
    """Return the logarithm of how many times cheaper each set of a model's levers makes what is priced, by `PRICED`.

    Args:
        model: key of one of `LEVER_MODELS`.

    Raises:
        ValueError: another model.
    """
    steps = levers_of(model)
    costs = {found: steps.costs(found) for found in shapley.sets(steps.levers)}
    logs = {each: {found: math.log(float(per_million(of, each))) for found, of in costs.items()} for each in PRICED}
    return FrozenDict(
        {each: FrozenDict({found: of[frozenset()] - log for found, log in of.items()}) for each, of in logs.items()}
    )


@functools.lru_cache(maxsize=32)
def lever_factors(model: str, priced: str = "request") -> Mapping[str, float]:
    """Return by how much each lever divides a cost, whatever the order: the Shapley values as factors.

    Their product is what all levers together divide it by.

    Args:
        model: key of one of `LEVER_MODELS`.
        priced: one of `PRICED`.

    Raises:
        ValueError: another model or kind.
    """
    checks.one_of(PRICED, priced, "kind of token")
    return FrozenDict({name: math.exp(log) for name, log in shapley.values(set_worths(model)[priced]).items()})


def pair_factors(model: str, priced: str = "request") -> Mapping[tuple[str, str], float]:
    """Return by what factor both levers of a pair do more than each alone, in the mean over all orders.

    Args:
        model: key of one of `LEVER_MODELS`.
        priced: one of `PRICED`.

    Raises:
        ValueError: another model or kind.
    """
    checks.one_of(PRICED, priced, "kind of token")
    return FrozenDict({pair: math.exp(log) for pair, log in shapley.interactions(set_worths(model)[priced]).items()})


@drawn
def shapley_shares(model: str = "deepseek-v4-pro", kind: str = "output") -> Words:
    """Draw each lever's factor in the order that is told beside its Shapley factor, which no order changes.

    Args:
        model: key of one of `LEVER_MODELS`.
        kind: of token, "hit", "miss" or "output", or "request" for a mean request.

    Raises:
        ValueError: another model or kind.
    """
    fair = lever_factors(model, kind)
    costs = rung_costs(model, kind, usual_rate())
    told = dict(zip(levers_of(model).levers, (before / after for before, after in pairwise(costs)), strict=True))
    axes = new_figure(
        f"How many times cheaper does each lever make {TOKEN_WORDS[kind]}?", "times cheaper", "",
        wide=(7.2, 4.0), narrow=(3.6, 4.4),
    )  # fmt: skip
    colour_key([("whatever the order", COLOURS["lever"]), ("in the order told", COLOURS["other"])])
    for place, name in enumerate(fair):
        for factors, colour, shift in ((fair, "lever", -0.19), (told, "other", 0.19)):
            fill, edge = COLOURS[colour] if factors[name] >= 1 else "none", COLOURS[colour]
            width = factors[name] - 1
            axes.barh(place + shift, width, left=1, height=0.34, linewidth=1.2, facecolor=fill, edgecolor=edge)
    axes.axvline(1, color=INK, linewidth=1)
    low, high = (end(*fair.values(), *told.values()) for end in (min, max))
    low, high = min(low, 1.0) / 1.2, high * 1.2
    right = float(low * (high / low) ** (2.1 if is_narrow() else 1.3))
    for place, name in enumerate(fair):
        label_inside(axes, factor_text(fair[name], 1), high, place - 0.2, weight="bold")
        label_inside(axes, factor_text(told[name], 1), high, place + 0.2)
    ticks = [tick for tick in _FACTORS if low < tick < high]
    log_axis(axes, "x", [t for t in ticks if not is_narrow() or f"{t:g}".strip("0.") == "1"], "{:g}".format)
    axes.set(xlim=(low, right), ylim=(len(fair) - 0.5, -0.6))
    axes.set_yticks(range(len(fair)), list(fair))
    axes.grid(axis="y", visible=False)
    return _shares_said(model, kind, fair, told)


def _shares_said(model: str, kind: str, fair: Mapping[str, float], told: Mapping[str, float]) -> Words:
    listed = "; ".join(f"{name} {factor_text(fair[name], 1)}, told {factor_text(told[name], 1)}" for name in fair)
    where, product = where_text(model, usual_rate()), math.prod(fair.values())
    first, second = sorted(fair, key=lambda name: -fair[name])[:2]
    return Words(
        f"Two bars for each lever of {TOKEN_WORDS[kind]}: how many times cheaper it makes it whatever the order, and "
        f"in the order told. {where}. {listed}. Either way they multiply to {product:,.0f}.",
        f"{where}: {first} {value(fair[first], factor_text(fair[first], 1))}, {second} "
        f"{value(fair[second], factor_text(fair[second], 1))}; all levers multiply to "
        f"{value(product, f'{product:,.0f}', 'levers_product')} in either account. Hollow: dearer.",
    )


@drawn
def lever_pairs(model: str = "deepseek-v4-pro", kind: str = "output") -> Words:
    """Draw the pairs of levers that change each other's worth most.

    Args:
        model: key of one of `LEVER_MODELS`.
        kind: of token, "hit", "miss" or "output", or "request" for a mean request.

    Raises:
        ValueError: another model or kind.
    """
    every = pair_factors(model, kind)
    found = {pair: every[pair] for pair in sorted(every, key=lambda pair: -abs(math.log(every[pair])))[:_PAIRS]}
    names = [" and ".join(pair) for pair in found]
    axes = new_figure(
        "Which levers make each other worth more, which less?", "factor beyond what each has alone", "",
        wide=(7.2, 3.6), narrow=(3.6, 4.4),
    )  # fmt: skip
    low, high = min(*found.values(), 0.8) / 1.1, max(*found.values(), 1.25) * 1.1
    for place, factor in enumerate(found.values()):
        down, height = (0.16, 0.42) if is_narrow() else (0.0, 0.6)
        fill = COLOURS["lever"] if factor >= 1 else "none"
        axes.barh(place + down, factor - 1, left=1, height=height, facecolor=fill, edgecolor=COLOURS["lever"])
        label_inside(axes, _pair_text(factor), high, place + down)
    axes.axvline(1, color=INK, linewidth=1)
    right = float(low * (high / low) ** (1.35 if is_narrow() else 1.2))
    log_axis(axes, "x", [tick for tick in _FACTORS if low < tick < high], "{:g}".format)
    axes.set(xlim=(low, right), ylim=(len(found) - 0.4, -0.6))
    name_rows(axes, names)
    axes.grid(axis="y", visible=False)
    return _pairs_said(model, kind, dict(zip(names, found.values(), strict=True)))


def _pair_text(factor: float) -> str:
    return f"×{factor:.2g}" if factor < 10 else f"×{factor:.0f}"


def _pairs_said(model: str, kind: str, found: Mapping[str, float]) -> Words:
    listed = "; ".join(f"{name} {_pair_text(factor)}" for name, factor in found.items())
    where, (first, *_) = where_text(model, usual_rate()), found
    more = "more" if found[first] >= 1 else "less"
    return Words(
        f"A bar for each of {len(found)} pairs of levers of {TOKEN_WORDS[kind]}, the strongest on top: by what factor "
        f"both together do more than each alone, in the mean over all orders. {where}. {listed}.",
        f"{where}, {TOKEN_WORDS[kind]}. {first.capitalize()} do {more} together than each alone: "
        f"{value(found[first], _pair_text(found[first]), 'levers_pair')}. Mean over all orders. Hollow: less "
        "together.",
    )
