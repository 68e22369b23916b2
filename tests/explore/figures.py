"""What every drawing keeps to, whatever it shows."""

import re
from collections.abc import Callable
from itertools import pairwise
from xml.etree import ElementTree

import numpy as np

from costlab.explore import COLOURS, Drawing, Frames
from costlab.explore.style import DARK, LIGHT
from live_sliders.sanitize import sanitize

INKS = {"currentColor", "none", *(c.lower() for c in (*COLOURS.values(), DARK, LIGHT))}
TEXT = re.compile(r"<text[^>]*>|<tspan[^>]*>")


def check(shown: Drawing | Frames) -> None:
    """Assert that a drawing says what it shows, in both widths, in the palette's colours, and survives cleaning."""
    if isinstance(shown, Frames):
        assert shown.title.endswith("?")
        assert len(shown.steps) > 1
        for drawing, words in shown.steps:
            assert len(words) > 20
            check_pictures(drawing)
        return
    assert shown.title
    check_pictures(shown)


def check_pictures(drawing: Drawing) -> None:
    """Assert what holds for the two pictures of a drawing and their words."""
    assert len(drawing.words.alt) > 40, "the alternative text should stand for the picture"
    for svg, widest in ((drawing.wide, 520), (drawing.narrow, 262)):
        check_svg(svg, widest)
    assert not re.search(r"\b(nan|inf)\b", drawing.html)
    assert whole(drawing.html) == whole(sanitize(drawing.html)), "the page's allow-list should leave it whole"


def check_svg(svg: str, widest: float) -> None:
    """Assert that one picture is sound."""
    root = ElementTree.fromstring(svg)
    assert float(root.attrib["viewBox"].split()[2]) <= widest
    assert len(list(root.iter())) > 5
    for part in root.iter():
        for name in ("fill", "stroke"):
            assert part.get(name, "none").lower() in {c.lower() for c in INKS}, part.get(name)
        assert float(part.get("font-size", 11)) >= 8.9, "text should be read on a phone"
        assert "style" not in part.attrib
        assert "id" not in part.attrib or part.tag == "clipPath"


def whole(html: str) -> list[str]:
    """Return a page's elements with their attributes."""
    html = re.sub(r'style="color: (#\w+|currentColor)"', r'style="color:\1"', html)
    return sorted(re.findall(r"<[^/][^>]*>", html.replace("&quot;", '"').replace("&#x27;", "'")))


def numbers(drawing: Drawing) -> list[float]:
    """Return the exact numbers under a drawing, in order."""
    return [float(n) for n in re.findall(r'<data[^>]* value="([^"]*)"', drawing.words.note)]


def lines(function: Callable[..., Drawing], *args: object, **kwargs: object) -> list[np.ndarray]:
    """Return the data (x and y) of each line that a figure function draws on its wide axes."""
    return [np.asarray(line.get_data(), dtype=float) for line in axes_of(function, *args, **kwargs).lines]


def axes_of(function: Callable[..., Drawing], *args: object, **kwargs: object):
    """Return the wide matplotlib axes that a figure function fills."""
    from costlab.explore import drawing

    with drawing._new_sheet(narrow=False) as done:
        function.__wrapped__(*args, **kwargs)
    (axes,) = done.figure.axes
    return axes


def rises(values: np.ndarray) -> bool:
    """Return whether values never fall."""
    return all(a <= b for a, b in pairwise(values))
