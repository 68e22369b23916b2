"""Figures of the chapter `levers`: how far a cost can be off, and which figure decides.

Chapter: levers
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.ticker import FuncFormatter, MaxNLocator

from costlab import checks
from costlab.chips import Assumption, Swing
from costlab.explore.drawing import Words, drawn, is_narrow, value
from costlab.explore.levers import TOKEN_WORDS, cost_bands, levers_of, name_rows, rung_costs, usual_rate, where_text
from costlab.explore.style import COLOURS, INK, colour_key, label_inside, new_figure
from costlab.levers import KINDS, TokenKind, cost_swings
from costlab.text import digits_text, usd_text

_LEAST = 0.005  # of the cost: what moves it less is left out


@functools.lru_cache(maxsize=16)
def moved_costs(model: str, kind: TokenKind) -> tuple[Swing, ...]:
    """Return what each figure of a service does to a cost, moved alone over its range, the widest first.

    Args:
        model: key of one of `LEVER_MODELS`.
        kind: of token.

    Raises:
        ValueError: another model or kind.
    """
    checks.one_of(KINDS, kind, "kind of token")
    steps = levers_of(model)
    return cost_swings(steps.service(steps.levers), kind)


@drawn
def cost_tornado(model: str = "deepseek-v4-pro", kind: TokenKind = "output") -> Words:
    """Draw how far the cost of a kind of token moves with each figure alone, and the range of nine draws in ten.

    Args:
        model: key of one of `LEVER_MODELS`.
        kind: of token: "hit", "miss" or "output".

    Raises:
        ValueError: another model or kind.
    """
    every = moved_costs(model, kind)
    cost, rate = float(rung_costs(model, kind, usual_rate())[-1]), usual_rate()
    low, high = cost_bands(model, rate)[kind]
    found = [swing for swing in every if swing.width >= _LEAST * cost]
    names = [*(_row_name(swing) for swing in found), "all at once"]
    axes = new_figure(
        f"Which figure decides what {TOKEN_WORDS[kind]} costs?", "USD per million tokens", "",
        wide=(7.2, 0.36 * len(names) + 0.9), narrow=(3.6, 0.55 * len(names) + 0.9),
    )  # fmt: skip
    colour_key([("at its lowest", COLOURS["energy"]), ("at its highest", COLOURS["maintenance"])])
    down, height = (0.16, 0.42) if is_narrow() else (0.0, 0.6)  # on a phone a row's name stands above its bar
    for place, swing in enumerate(found):
        for end, colour in ((swing.at_low, "energy"), (swing.at_high, "maintenance")):
            axes.barh(place + down, end - cost, left=cost, height=height, color=COLOURS[colour], linewidth=0)
    last = len(found) + down
    axes.plot([low, high], [last, last], color=COLOURS[kind], linewidth=7, solid_capstyle="butt")
    rows = np.arange(len(names)) + down
    axes.vlines([cost] * len(names), rows - height / 2 - 0.06, rows + height / 2 + 0.06, color=INK, linewidth=1)
    ends = [*(sorted((swing.at_low, swing.at_high)) for swing in found), [low, high]]
    for place, (least, most) in enumerate(ends):
        label_inside(axes, usd_text(most), most, place + down)
        beside: dict[str, Any] = {"textcoords": "offset points", "ha": "right", "va": "center", "in_layout": False}
        axes.annotate(usd_text(least), (least, place + down), (-5, 0), **beside)
    least, most = min(least for least, _ in ends), max(most for _, most in ends)
    room = (most - least) * (0.6 if is_narrow() else 0.4)
    axes.set(xlim=(least - room, most + room), ylim=(len(found) + 0.6, -0.6))
    name_rows(axes, names)
    axes.xaxis.set_major_locator(MaxNLocator(3 if is_narrow() else 6))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda amount, _: usd_text(amount)))
    axes.grid(axis="y", visible=False)
    return _tornado_said(model, kind, cost, (low, high), found, [s for s in every if s not in found])


def figure_range(found: Assumption) -> str:
    """Return a figure's least and most as people read them: 1.17 to 3.20 USD an hour."""
    low, _, high = found.bounds
    if found.unit.startswith("share"):
        return f"{low:.0%} to {high:.0%}"
    unit, scale = _UNITS.get(found.unit, (f" {found.unit}", 1.0))
    return f"{digits_text(low * scale)} to {digits_text(high * scale)}{unit}"


#: How a unit is written, and what a number in it is multiplied by.
_UNITS = {
    "USD per chip-hour": (" USD an hour", 1.0),
    "USD per GB-hour": (" USD a TB-month", 730e3),
    "bytes/s": (" GB/s", 1e-9),
    "hours": (" h", 1.0),
}


#: What readers call a figure whose name is not plain.
_WORDS = {"rent": "rent of a chip", "utilisation": "use", "kept": "cache kept", "load": "loading", "storage": "SSD"}


def _row_name(swing: Swing) -> str:
    return f"{_WORDS.get(swing.name, swing.name)}, {figure_range(swing.moved)}"


def _tornado_said(
    model: str, kind: str, cost: float, band: tuple[float, float], found: Sequence[Swing], small: Sequence[Swing]
) -> Words:
    def name(swing: Swing) -> str:
        return _WORDS.get(swing.name, swing.name)

    listed = "; ".join(
        f"{name(s)} {figure_range(s.moved)}: {usd_text(s.at_low)} to {usd_text(s.at_high)}" for s in found
    )
    where, (low, high) = where_text(model, usual_rate()), band
    first = found[0]
    rest = f" Hardly anything: {', '.join(map(name, small))}." if small else ""
    return Words(
        f"A bar for each figure, the widest on top, around {usd_text(cost)} for a million {kind} tokens; {where}. "
        f"{listed}. All figures drawn at once: nine draws in ten from {usd_text(low)} to {usd_text(high)}.{rest}",
        f"{where}, a million {kind} tokens: {value(cost, usd_text(cost), 'levers_cost')}. "
        f"With the {name(first)} at its least and most: {value(first.at_low, usd_text(first.at_low))} to "
        f"{value(first.at_high, usd_text(first.at_high))}. All at once, nine draws in ten: "
        f"{value(low, usd_text(low), 'levers_low')} to {value(high, usd_text(high), 'levers_high')}.{rest}",
    )
