"""One look for every figure, and one colour for the same thing everywhere."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

#: Okabe and Ito's colours (https://jfly.uni-koeln.de/color/), which colour-blind readers can tell apart.
COLOURS: Mapping[str, str] = {
    "full": "#0072B2",
    "compressed": "#D55E00",
    "sliding": "#009E73",
    "hit": "#56B4E9",
    "miss": "#E69F00",
    "output": "#CC79A7",
    "hbm": "#D55E00",
    "dram": "#E69F00",
    "ssd": "#56B4E9",
    "compute": "#0072B2",
    "memory": "#E69F00",
    "link": "#009E73",
    "DeepSeek": "#0072B2",
    "Xiaomi": "#D55E00",
    "other": "#6B6B6B",
}

STYLE = Path(__file__).with_name("costlab.mplstyle")


def new_figure(title: str, x: str, y: str, *, size: tuple[float, float] = (7.2, 4.0)) -> Axes:
    """Return the axes of a new figure in the house style.

    Args:
        title: the question that the figure answers.
        x: label of the horizontal axis, with unit.
        y: label of the vertical axis, with unit.
        size: inches.
    """
    plt.style.use(STYLE)
    axes: Axes = plt.figure(figsize=size).subplots()
    axes.set(title=title, xlabel=x, ylabel=y)
    return axes


def log_axis(axes: Axes, which: str, ticks: Iterable[float], text: Callable[[float], str]) -> None:
    """Make an axis logarithmic with given round ticks, and nothing between them (minor ticks are slow to draw).

    Args:
        axes: where.
        which: "x" or "y".
        ticks: positions.
        text: the label of a position.
    """
    getattr(axes, f"set_{which}scale")("log")
    axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_major_locator(FixedLocator(list(ticks)))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: text(value)))


def label_ends(axes: Axes, x: float, ends: Sequence[tuple[float, str, str]]) -> None:
    """Write each line's name beside its end instead of into a legend, moved apart where names would overlap.

    Call it last: it needs the axes' final scales and limits.

    Args:
        axes: where.
        x: where the lines end.
        ends: (y, name, colour) of each line.
    """
    place = axes.transData.transform
    heights = [float(place((x, y))[1]) for y, _, _ in ends]
    line_height = 1.25 * plt.rcParams["font.size"] * axes.figure.dpi / 72
    for (y, text, colour), height, wanted in zip(ends, heights, spread_labels(heights, line_height), strict=True):
        shift = (wanted - height) * 72 / axes.figure.dpi
        options: dict[str, Any] = {"va": "center", "annotation_clip": False, "color": colour}
        axes.annotate(text, (x, y), xytext=(7, shift), textcoords="offset points", **options)


def label_inside(axes: Axes, text: str, x: float, y: float, **look: Any) -> None:
    """Write a text just right of a point that lies well within the axes.

    The layout need not make room for it, so nobody measures it: with a text per bar that is a third of the time.

    Args:
        axes: where.
        text: what.
        x: the point's position.
        y: the point's position.
        look: font size, weight, colour.
    """
    axes.annotate(text, (x, y), (5, 0), textcoords="offset points", va="center", in_layout=False, **look)


def colour_key(axes: Axes, height: float, text: str, colour: str) -> None:
    """Say in the right margin, in a colour, what that colour means.

    Args:
        axes: where.
        height: 0 at the axes' bottom, 1 at their top.
        text: what the colour means.
        colour: which.
    """
    axes.text(0.99, height, text, color=colour, transform=axes.transAxes, ha="right", in_layout=False)


def spread_labels(values: Sequence[float], gap: float) -> list[float]:
    """Return positions near the values, in their order and at least `gap` apart, shifted as little up as down."""
    order = np.argsort(values, kind="stable")
    placed = np.array(values, dtype=float)
    for previous, current in itertools.pairwise(order):
        placed[current] = max(placed[current], placed[previous] + gap)
    return [float(p) for p in placed - (placed - np.array(values)).mean()]
