"""Shapes for diagrams: a few lines of SVG each, in the units of the other figures.

A function decorated with `drawn` joins them with `diagram`. A drawing is 518 units wide on a desk and 259 on a phone,
where text of size 11 is as large as the page's own; ink is the page's text colour.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from math import atan2, cos, pi, sin

from costlab.explore.drawing import sheet

WIDE, NARROW = 518, 259  # units across


def diagram(title: str, height: float, shapes: Sequence[str]) -> None:
    """Put shapes on the sheet being drawn, first ones at the bottom.

    Args:
        title: the question that the diagram answers.
        height: units; the width follows from the view at hand.
        shapes: SVG elements.
    """
    done = sheet()
    done.title = title
    done.svg = f'<svg viewBox="0 0 {across()} {height:g}">{"".join(shapes)}</svg>'


def across() -> int:
    """Return how many units wide the drawing under way is."""
    return NARROW if sheet().narrow else WIDE


def box(
    x: float,
    y: float,
    width: float,
    height: float,
    colour: str = "none",
    *,
    edge: str = "",
    line: float = 1,
    opacity: float = 1,
    dash: str = "",
    round: float = 0,
) -> str:
    """Return a rectangle.

    Args:
        x, y: its left upper corner.
        width, height: its size.
        colour: hex of the filling, "none" for an empty one.
        edge: hex of the outline, "currentColor" for ink; left out, there is none.
        line: width of the outline.
        opacity: of the filling, 0 to 1.
        dash: of the outline, such as "3 2".
        round: radius of the corners.
    """
    fill = f' fill="{colour}"' + (f' fill-opacity="{opacity:g}"' if opacity < 1 else "")
    stroke = f' stroke="{edge}" stroke-width="{line:g}"' if edge else ""
    stroke += f' stroke-dasharray="{dash}"' if dash else ""
    corners = f' rx="{round:g}"' if round else ""
    return f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}"{fill}{stroke}{corners}></rect>'


def circle(x: float, y: float, radius: float, colour: str = "none", *, edge: str = "", line: float = 1) -> str:
    """Return a circle round (x, y); colours as for `box`."""
    stroke = f' stroke="{edge}" stroke-width="{line:g}"' if edge else ""
    return f'<circle cx="{x:g}" cy="{y:g}" r="{radius:g}" fill="{colour}"{stroke}></circle>'


def text(
    x: float, y: float, words: str, *, anchor: str = "start", size: float = 11, bold: bool = False, colour: str = ""
) -> str:
    """Return a line of text whose baseline begins, has its middle or ends at (x, y), in ink unless coloured.

    Args:
        x, y: the place.
        words: one line; diagrams break their lines themselves.
        anchor: "start", "middle" or "end".
        size: 11 reads like the page's text; not below 9.
        bold: or not.
        colour: hex, for text on a coloured box (`style.on`); ink is right everywhere else.
    """
    weight = ' font-weight="bold"' if bold else ""
    return (
        f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}" font-size="{size:g}"{weight} '
        f'fill="{colour or "currentColor"}">{escape(words)}</text>'
    )


def line(points: Sequence[tuple[float, float]], colour: str = "currentColor", width: float = 1, dash: str = "") -> str:
    """Return a line through points."""
    dashes = f' stroke-dasharray="{dash}"' if dash else ""
    places = " ".join(f"{x:g},{y:g}" for x, y in points)
    return f'<polyline points="{places}" fill="none" stroke="{colour}" stroke-width="{width:g}"{dashes}></polyline>'


def arrow(
    points: Sequence[tuple[float, float]], colour: str = "currentColor", width: float = 1.2, head: float = 6
) -> str:
    """Return a line through points with a head at its end."""
    (x0, y0), (x, y) = points[-2:]
    angle = atan2(y - y0, x - x0)
    corners = [(x, y)] + [(x - head * cos(angle + turn), y - head * sin(angle + turn)) for turn in (pi / 7, -pi / 7)]
    places = " ".join(f"{a:.1f},{b:.1f}" for a, b in corners)
    short = [*points[:-1], (x - 0.8 * head * cos(angle), y - 0.8 * head * sin(angle))]
    return line(short, colour, width) + f'<polygon points="{places}" fill="{colour}"></polygon>'
