"""Figures of the chapter `levers`: list prices over our costs, and how full the engines must be.

Chapter: levers
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from datetime import datetime

import numpy as np

from costlab import catalog, checks
from costlab.catalog import FrozenDict
from costlab.catalog.price_lists import start_of
from costlab.explore.drawing import Words, drawn, is_narrow, value
from costlab.explore.levers import TRAFFIC, cost_bands, model_name, usual_rate, where_text
from costlab.explore.style import COLOURS, INK, colour_key, label_inside, log_axis, new_figure
from costlab.levers import KINDS, ListMargin, margins, served, spread_of
from costlab.text import list_text, usd_text

# --- prices over costs -------------------------------------------------------------------------------------------


@functools.lru_cache(maxsize=64)
def list_margins(product: str, traffic: str = TRAFFIC, chip: str = "h800") -> tuple[ListMargin, ...]:
    """Return what each of a product's lists leaves, the oldest first, off-peak before peak.

    Args:
        product: key of one of `LEVER_MODELS`.
        traffic: kind of use.
        chip: key of the chip that serves.

    Raises:
        ValueError: another product, use or chip.
    """
    model_name(product)
    found = margins(product, served(product, chip, traffic=traffic))
    return tuple(sorted(found, key=lambda each: (start_of(each.row.valid_from), each.row.miss)))


@drawn
def margin_timeline(product: str = "deepseek-v4-pro") -> Words:
    """Draw a product's list prices from one change to the next over what its tokens cost, and what each list leaves.

    Args:
        product: key of one of `LEVER_MODELS`.

    Raises:
        ValueError: another product.
    """
    spans = list_spans(product)
    bands = cost_bands(product, usual_rate())
    axes = new_figure(
        f"What do the lists of {model_name(product)} leave?", "price list from (not to scale)",
        "USD per million tokens", wide=(7.2, 4.4), narrow=(3.6, 4.0),
    )  # fmt: skip
    colour_key([(f"{kind}: list and cost", COLOURS[kind]) for kind in KINDS])
    top = 0.0
    for kind in KINDS:
        axes.fill_between([0, len(spans)], *bands[kind], color=COLOURS[kind], alpha=0.3, linewidth=0)
        for place, span in enumerate(spans):
            for each in span:
                axes.plot([place + 0.02, place + 0.94], [each.paid[kind]] * 2, color=COLOURS[kind])
                top = max(top, each.paid[kind])
    amounts = [*(end for low_high in bands.values() for end in low_high), *(e.paid["hit"] for s in spans for e in s)]
    low = min(amounts) / 1.5
    room = (top / low) ** (0.3 if is_narrow() else 0.24)  # above the lines, for what is left
    log_axis(axes, "y", [tick for tick in (0.001, 0.01, 0.1, 1.0, 10.0) if low < tick < top * 1.5], list_text)
    axes.set(xlim=(-0.02, len(spans)), ylim=(low, top * room))
    words = [_left_text(span, brief=is_narrow()) for span in spans]
    for place, text in enumerate(words):
        axes.annotate(
            text, (place + 0.47, top * room**0.4), ha="center", va="center", weight="bold", in_layout=False,
            fontsize=9.5 if is_narrow() else 11,
        )  # fmt: skip
    axes.annotate(
        "left of a request's price:", (0.02, top * room**0.86), va="center", in_layout=False,
        fontsize=9.5 if is_narrow() else 11,
    )  # fmt: skip
    axes.set_xticks(range(len(spans)), [_date_words(span, place) for place, span in enumerate(spans)], ha="left")
    axes.grid(axis="x", visible=False)
    return _timeline_said(product, spans, bands)


def list_spans(product: str, traffic: str = TRAFFIC, chip: str = "h800") -> tuple[tuple[ListMargin, ...], ...]:
    """Return a product's lists, each day's off-peak and peak together, lists that ask the same only once.

    Args:
        product: key of one of `LEVER_MODELS`.
        traffic: kind of use.
        chip: key of the chip that serves.

    Raises:
        ValueError: another product, use or chip.
    """
    found: dict[datetime, list[ListMargin]] = {}
    for each in list_margins(product, traffic, chip):
        found.setdefault(start_of(each.row.valid_from), []).append(each)
    spans = list[tuple[ListMargin, ...]]()
    for now in found.values():
        if not spans or [each.paid for each in spans[-1]] != [each.paid for each in now]:
            spans.append(tuple(now))
    return tuple(spans)


def _left_text(span: Sequence[ListMargin], *, brief: bool = False) -> str:
    return ("–" if brief else " to ").join(_share_text(each.share_left) for each in span)


def _share_text(share: float) -> str:
    return f"{share:.0%}".replace("-", "−")


def _date_words(span: Sequence[ListMargin], place: int) -> str:
    start = start_of(span[0].row.valid_from)
    split = "peak hours" if len(span) > 1 else ""
    return f"{start:%-d}\n{start:%b}" if is_narrow() else f"{start:%-d %b} {'' if place else f'{start:%Y}'}\n{split}"


def _timeline_said(
    product: str, spans: Sequence[Sequence[ListMargin]], bands: Mapping[str, tuple[float, float]]
) -> Words:
    def listed(span: Sequence[ListMargin]) -> str:
        start = start_of(span[0].row.valid_from)
        asked = "; ".join(
            (f"{each.row.window} " if each.row.window else "")
            + ", ".join(f"{kind} {list_text(each.paid[kind])}" for kind in KINDS)
            for each in span
        )
        return f"from {start:%-d %B %Y} {asked}: {_left_text(span)} left"

    where = where_text(product, usual_rate())
    cost = ", ".join(f"{kind} {usd_text(bands[kind][0])} to {usd_text(bands[kind][1])}" for kind in KINDS)
    marked = ", ".join(
        f"{kind} {value(bands[kind][0], usd_text(bands[kind][0]))} to {value(bands[kind][1], usd_text(bands[kind][1]))}"
        for kind in KINDS
    )
    last = spans[-1]
    left = " to ".join(value(each.share_left, _share_text(each.share_left)) for each in last)
    return Words(
        f"List prices as lines over bands of cost, dollars of a million tokens. {where}. Cost, nine draws in ten: "
        f"{cost}. Of a mean request's price is left: {'; '.join(map(listed, spans))}.",
        f"{where}. Bands: cost, nine draws in ten: {marked}. Two lines of a colour: off-peak and peak. The last list "
        f"leaves {left} of a mean request's price.",
    )


# --- how full the engines must be --------------------------------------------------------------------------------

#: Chips of the figure by the names that readers see: those with published runs and hours in dollars.
RENTED_CHIPS: Mapping[str, str] = FrozenDict(
    {"H800": "h800", "H20": "h20", "H200": "h200", "B200": "b200", "B300": "b300", "GB200": "gb200"}
)
_USES = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)


@functools.lru_cache(maxsize=64)
def use_spread(product: str, traffic: str, chip: str) -> tuple[tuple[float, float], ...]:
    """Return the use that breaks even in nine draws in ten of all other figures, for each of `list_margins`.

    Args:
        product: key of one of `LEVER_MODELS`.
        traffic: kind of use.
        chip: key of the chip that serves.
    """
    drawn_costs = spread_of(served(product, chip, traffic=traffic), np.random.default_rng(0), 1000)
    of, use = drawn_costs.drawn, drawn_costs.figures["utilisation"]
    keeping = of.hit_parts["keeping"] * of.request["hit"] / 1e6
    rented = (of.bill - keeping) * use
    ends = []
    for each in list_margins(product, traffic, chip):
        low, high = np.quantile(rented / np.maximum(each.revenue - keeping, 1e-12), (0.05, 0.95))
        ends.append((float(low), float(high)))
    return tuple(ends)


@drawn
def break_even_use(product: str = "deepseek-v4-pro", traffic: str = "coding", chip: str = "h800") -> Words:
    """Draw the share of hours in which chips must serve for each list to pay their rent, and where it earns.

    Args:
        product: key of one of `LEVER_MODELS`.
        traffic: kind of use: "coding", "tools" or "chat".
        chip: key of one of `RENTED_CHIPS`.

    Raises:
        ValueError: another product, use or chip.
    """
    checks.one_of(RENTED_CHIPS.values(), chip, "chip")
    checks.one_of(catalog.tables().traffic, traffic, "kind of use")
    ends = dict(zip(map(id, list_margins(product, traffic, chip)), use_spread(product, traffic, chip), strict=True))
    rows = [each for span in list_spans(product, traffic, chip) for each in span]
    axes = new_figure(
        "How full must the engines be for a list to pay?", "share of hours that are used", "",
        wide=(7.2, 0.42 * len(rows) + 1.0), narrow=(3.6, 0.5 * len(rows) + 1.0),
    )  # fmt: skip
    colour = COLOURS[rows[0].row.provider]
    for place, each in enumerate(rows):
        look = {"color": colour, "linewidth": 0} if each.break_even <= 1 else {"facecolor": "none", "edgecolor": INK}
        axes.barh(place, 1 - each.break_even, left=each.break_even, height=0.5, **look)
        axes.plot(np.minimum(ends[id(each)], _USES[-1]), [place, place], color=INK, linewidth=1.2)
        axes.plot(min(each.break_even, _USES[-1]), place, "o", color=INK, markersize=6)
        label_inside(axes, _use_text(each.break_even), 14, place, weight="bold")
    use = rows[0].utilisation
    axes.axvline(use, color=INK, linewidth=1, linestyle=":")
    log_axis(axes, "x", _USES[:-1:2] if is_narrow() else _USES[:-1], "{:.0%}".format)
    axes.set(xlim=(0.01, 250 if is_narrow() else 45), ylim=(len(rows) - 0.5, -0.6))
    axes.set_yticks(range(len(rows)), [_list_words(each) for each in rows])
    axes.grid(axis="y", visible=False)
    return _use_said(product, traffic, chip, rows, [ends[id(each)] for each in rows])


def _use_text(use: float) -> str:
    return f"{use:.0%}" if use <= 1 else "never"


def _list_words(each: ListMargin) -> str:
    start = start_of(each.row.valid_from)
    return f"{start:%-d %b}{f', {each.row.window}' if each.row.window else ''}"


def _use_said(
    product: str, traffic: str, chip: str, rows: Sequence[ListMargin], ends: Sequence[tuple[float, float]]
) -> Words:
    name = catalog.chip(chip).name.removeprefix("NVIDIA ").split(" ")[0]
    kind, use = catalog.tables().traffic[traffic], rows[0].utilisation
    where = f"{model_name(product)} on {name}, {traffic}: {kind.input:,} tokens in "
    where += f"with {kind.hit_rate:.1%} hits, {kind.output:,} out"
    told = "; ".join(
        f"list of {_list_words(each)}: {_use_text(each.break_even)} (nine draws in ten: {low:.0%} to {high:.0%})"
        for each, (low, high) in zip(rows, ends, strict=True)
    )
    last = rows[-1]
    pays = value(last.break_even, _use_text(last.break_even), "levers_use")
    pays = f"it pays from {pays} on" if last.break_even <= 1 else f"it {pays} pays"
    return Words(
        f"A row for each list: the share of rented hours in which chips must serve for a mean request to pay their "
        f"rent. {where}. {told}. Dotted: {use:.0%}, the use that the costs assume.",
        f"{where}. Dots: the use that pays, lines: nine draws in ten; bars: uses that earn, hollow where even full "
        f"engines lose. Dotted: {use:.0%}, what the costs assume; there the last list leaves "
        f"{value(last.share_left, _share_text(last.share_left), 'levers_left')}, and {pays}.",
    )
