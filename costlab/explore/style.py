"""One look for every figure, and one colour for the same thing everywhere."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from costlab.explore.drawing import Swatch, is_narrow, sheet

#: One colour for one thing, no hex twice. Kinds of attention, and hits and misses, have Okabe and Ito's colours
#: (https://jfly.uni-koeln.de/color/); the other families are picked so that colour-blind readers tell them apart.
COLOURS: Mapping[str, str] = {
    # kinds of attention
    "full": "#0072B2",
    "compressed": "#D55E00",
    "sliding": "#009E73",
    "recurrent": "#CC79A7",
    # what else a cache keeps
    "latent": "#8E7CC3",
    "index": "#B8860B",
    # kinds of tokens
    "hit": "#56B4E9",
    "miss": "#E69F00",
    "output": "#8B3A8B",
    # where pages lie
    "hbm": "#5B4FC4",
    "dram": "#B59B1D",
    "ssd": "#3FA79A",
    # terms of the roofline
    "compute": "#C4566B",
    "memory": "#7D8B2A",
    "link": "#4F86C6",
    # who proposes a token, and who decides
    "draft": "#C9822B",
    "target": "#5C6BC0",
    # who reads prompts: the workers that decode, or others
    "together": "#1F7A8C",
    "apart": "#D1603D",
    # what an owned hour of a chip is paid for
    "capital": "#3C5B77",
    "interest": "#EA7E26",
    "energy": "#33B186",
    "maintenance": "#8A431F",
    "room": "#6360D1",
    # chips
    "h20": "#556A37",
    "ascend-910b": "#E08A1C",
    "ascend-910c": "#932A75",
    "ascend-950dt": "#4C39C6",
    "h100-sxm": "#47A8E9",
    # what all levers together make of a price
    "lever": "#2E7D5B",
    # makers
    "DeepSeek": "#3D5AFE",
    "Xiaomi": "#E4572E",
    "Alibaba": "#7A4FBF",
    "OpenAI": "#0E8A7D",
    "Anthropic": "#9C6240",
    "Meta": "#2F7FD0",
    "Mistral": "#C98A00",
    "Moonshot": "#5A6B7B",
    "Z.ai": "#B03A78",
    "Google": "#6E8B12",
    # everything else
    "other": "#767676",
    "dropped": "#A33B3B",
}
INK = "#000000"  # the page's own text colour: dark on white, light on black
DARK = "#010101"  # on a light bar, whatever the page's ground
LIGHT = "#FEFEFE"  # on a dark bar

STYLE = Path(__file__).with_name("costlab.mplstyle")


def new_figure(
    title: str, x: str, y: str, *, wide: tuple[float, float] = (7.2, 3.8), narrow: tuple[float, float] = (3.6, 3.2)
) -> Axes:
    """Return the axes of a new figure in the house style, as wide as the view at hand.

    Args:
        title: the question that the figure answers.
        x: label of the horizontal axis, with unit.
        y: label of the vertical axis, with unit.
        wide: inches, on a desk.
        narrow: inches, on a phone.
    """
    style.use(STYLE)
    done = sheet()
    done.title = title
    done.figure = Figure(figsize=narrow if done.narrow else wide)
    axes: Axes = done.figure.subplots()
    axes.set(xlabel=x, ylabel=y)
    return axes


def colour_key(entries: Iterable[tuple[str, str]], line: str = "area") -> None:
    """Explain colours above the figure.

    Args:
        entries: (what it means, colour).
        line: how the figure shows them: "area", "solid", "dashed" or "dotted".
    """
    sheet().key.extend(Swatch(text, colour, line) for text, colour in entries)


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


def share_axis(axes: Axes, which: str, shares: Iterable[float] | None = None) -> None:
    """Write shares as per cent.

    Args:
        axes: where.
        which: "x" or "y".
        shares: positions; None for every fifth from 0 to 1.
    """
    ticks = np.linspace(0, 1, 6).tolist() if shares is None else list(shares)
    getattr(axes, f"set_{which}ticks")(ticks, [f"{share:.0%}" for share in ticks])


def label_ends(axes: Axes, x: float, ends: Sequence[tuple[float, str, str]], lines: Sequence[str] = ()) -> None:
    """Write each line's name, in ink after a dash of its colour, at its end; on a phone into the key above.

    Call it last: it needs the axes' final scales and limits, and makes room on the right.

    Args:
        axes: where.
        x: where the lines end.
        ends: (y, name, colour) of each line.
        lines: "solid", "dashed" or "dotted", one each; all solid if left out.
    """
    styles = list(lines) or ["solid"] * len(ends)
    sheet().narrow_key.extend(Swatch(text, colour, how) for (_, text, colour), how in zip(ends, styles, strict=True))
    if is_narrow():
        return _end_at(axes, x, 0.0)
    size = float(axes.xaxis.label.get_fontsize())
    _end_at(axes, x, max((len(text) for _, text, _ in ends), default=0) * 0.56 * size + 30)
    place = axes.transData.transform
    heights = [round(float(place((x, y))[1]), 3) for y, _, _ in ends]  # else noise orders those that are equal
    dpi = axes.get_figure(root=True).dpi  # type: ignore[union-attr]
    wanted = _inside(spread_labels(heights, 1.25 * size * dpi / 72), axes)
    for (y, text, colour), height, high, how in zip(ends, heights, wanted, styles, strict=True):
        shift = (high - height) * 72 / dpi
        dash = {"solid": "—", "dashed": "--", "dotted": "··"}[how]
        options: dict[str, Any] = {"textcoords": "offset points", "va": "center", "annotation_clip": False}
        axes.annotate(dash, (x, y), (5, shift), color=colour, weight="bold", in_layout=False, **options)
        axes.annotate(text, (x, y), (20, shift), in_layout=False, **options)


def _inside(heights: Sequence[float], axes: Axes) -> list[float]:
    """Move labels up or down together so that none lies below the axes, nor above them."""
    box, half = axes.get_window_extent(), float(axes.xaxis.label.get_fontsize()) * 0.7
    up = max(box.y0 + half - min(heights, default=box.y1), 0.0)
    down = max(max(heights, default=box.y0) - box.y1 + half, 0.0)
    return [height + up - down for height in heights]


def _end_at(axes: Axes, x: float, points: float) -> None:
    """Put the axes' right end so that x lies that many points left of it."""
    width = axes.get_window_extent().width * 72 / axes.get_figure(root=True).dpi  # type: ignore[union-attr]
    scale = axes.transScale
    left = float(scale.transform((axes.get_xlim()[0], 1))[0])
    end = float(scale.transform((x, 1))[0])
    right = left + (end - left) / max(1 - points / width, 0.3)
    axes.set_xlim(right=float(scale.inverted().transform((right, 1))[0]))


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


def on(colour: str) -> str:
    """Return the ink that reads on a bar of that colour, on either ground."""
    red, green, blue = ((int(colour[i : i + 2], 16) / 255) ** 2.2 for i in (1, 3, 5))
    return DARK if 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.18 else LIGHT  # where both contrasts are equal


def spread_labels(values: Sequence[float], gap: float) -> list[float]:
    """Return positions near the values, in their order and at least `gap` apart, shifted as little up as down."""
    order = np.argsort(values, kind="stable")
    placed = np.array(values, dtype=float)
    for previous, current in itertools.pairwise(order):
        placed[current] = max(placed[current], placed[previous] + gap)
    return [float(p) for p in placed - (placed - np.array(values)).mean()]
