"""Lines on logarithmic axes, as SVG."""

import re
from xml.etree import ElementTree

import pytest

from costlab.lab.plots import log_lines


def test_points_lie_where_their_logarithms_are() -> None:
    """A line straight in the logarithms is straight in the drawing, and its ends are the ends of the axes."""
    found = log_lines("a & b", {"cube": ([1, 10, 100], [1, 1e3, 1e6])}, "x", "y")
    root = ElementTree.fromstring(found._repr_svg_())
    (line,) = [part for part in root.iter() if part.tag.endswith("polyline")]
    points = [tuple(map(float, pair.split(","))) for pair in line.attrib["points"].split()]
    (left, low), middle, (right, high) = points
    assert middle == pytest.approx(((left + right) / 2, (low + high) / 2), abs=0.1)
    assert left < right and low > high
    assert root.attrib["aria-label"] == "a & b"
    ticks = [part.text for part in root.iter() if part.tag.endswith("text")]
    assert {"1", "10", "100", "1,000", "1,000,000", "cube"} <= set(ticks)


def test_names_at_one_height_are_moved_apart() -> None:
    svg = log_lines("t", {name: ([1, 2], [3, 3]) for name in "abcd"}, "x", "y").svg
    heights = [float(y) for y in re.findall(r'y="([\d.]+)" fill="#', svg)]
    assert len(heights) == 4
    assert all(b - a >= 13.9 for a, b in zip(sorted(heights), sorted(heights)[1:], strict=False))


@pytest.mark.parametrize(("xs", "ys"), [([], []), ([1], [0]), ([1, 2], [1]), ([1], [float("inf")])])
def test_what_cannot_be_drawn_is_named(xs: list[float], ys: list[float]) -> None:
    with pytest.raises(ValueError, match="'bad'"):
        log_lines("t", {"bad": (xs, ys)}, "x", "y")
    with pytest.raises(ValueError, match="a line to draw"):
        log_lines("t", {}, "x", "y")
