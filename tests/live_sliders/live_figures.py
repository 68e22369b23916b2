"""Draws figures as the notebook does and as the page does, and fails where a pixel differs. Run by test_units."""

from __future__ import annotations

import base64
import importlib.util
import io
import sys
from pathlib import Path
from xml.etree import ElementTree

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure


def load_kernel_package(folder: Path) -> None:
    """Import the browser's Python from the folder that the site serves."""
    spec = importlib.util.spec_from_file_location("live_kernel", folder / "__init__.py")
    assert spec is not None
    spec.submodule_search_locations = [str(folder)]
    sys.modules["live_kernel"] = importlib.util.module_from_spec(spec)


X = np.linspace(0.1, 10, 50)


def log_log() -> Figure:
    """Log axes with a legend and a title."""
    figure, axes = plt.subplots()
    axes.loglog(X, X**-3, label="a")
    axes.legend()
    axes.set(title="t", xlabel="x")
    return figure


def two_panels() -> Figure:
    """Two axes, rotated labels, a grid, a figure title."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3))
    left.plot(X, X)
    left.grid(True, which="both")
    right.bar(range(5), range(5))
    right.set_xticks(range(5), list("abcde"), rotation=45)
    figure.suptitle("S")
    return figure


def constrained() -> Figure:
    """A layout engine at work."""
    figure, axes = plt.subplots(layout="constrained")
    figure.colorbar(axes.imshow(np.arange(9).reshape(3, 3)))
    return figure


def constrained_logs() -> Figure:
    """A layout engine with log axes, labels at the lines' ends and a note."""
    figure, axes = plt.subplots(1, 2, layout="constrained")
    axes[0].loglog(X, X**-3)
    axes[1].semilogy(X, X)
    axes[1].annotate("end", (X[-1], X[-1]), xytext=(4, 0), textcoords="offset points")
    axes[0].set(title="a title", xlabel="x")
    figure.legend(["l"])
    return figure


def beyond_the_edge() -> Figure:
    """Texts that stick out, ticks turned inwards, a second axis."""
    figure, axes = plt.subplots()
    axes.semilogx(X, X)
    axes.annotate("out", (10, 10), xytext=(30, 12), arrowprops={})
    axes.legend(["l"], bbox_to_anchor=(1.3, 1))
    axes.tick_params(which="both", direction="in")
    axes.secondary_yaxis("right")
    figure.tight_layout()
    return figure


def polar() -> Figure:
    """Round axes, whose ticks are of another kind."""
    figure, axes = plt.subplots(subplot_kw={"projection": "polar"})
    axes.plot(X, X)
    return figure


def twins() -> Figure:
    """Equal aspect, and two y axes."""
    figure, axes = plt.subplots(subplot_kw={"aspect": "equal"})
    axes.plot(X, X**0.5)
    axes.twinx().semilogy(X, X)
    axes.set_title("long\ntitle", loc="left")
    return figure


CASES = (log_log, two_panels, constrained, constrained_logs, beyond_the_edge, polar, twins)


def as_notebook(figure: Figure, format: str = "png") -> bytes:
    """A figure as IPython's inline backend draws it."""
    buffer = io.BytesIO()
    colours = {"facecolor": figure.get_facecolor(), "edgecolor": figure.get_edgecolor()}
    figure.savefig(buffer, format=format, dpi=figure.dpi, bbox_inches="tight", **colours)
    plt.close("all")
    return buffer.getvalue()


def pixels(picture: bytes) -> np.ndarray:
    """A PNG unpacked; the page packs it faster and larger."""
    return plt.imread(io.BytesIO(picture))


def svg_size(picture: bytes | str) -> list[float]:
    """Width and height of an SVG in points."""
    root = ElementTree.fromstring(picture)
    return [float(root.attrib[side].removesuffix("pt")) for side in ("width", "height")]


def main() -> None:
    """Compare all cases."""
    load_kernel_package(Path(sys.argv[1]))
    from live_kernel.figures import Figures
    from live_kernel.speed import hasten

    expected = [as_notebook(case()) for case in CASES]
    svg_sizes = [svg_size(as_notebook(case(), "svg")) for case in CASES]
    hasten()
    for case, want, size in zip(CASES, expected, svg_sizes, strict=True):
        got = base64.b64decode(Figures().render(case())[0]["image/png"])
        plt.close("all")
        svg = Figures("svg").render(case())[0]["image/svg+xml"]
        plt.close("all")
        # an SVG's text is measured a little otherwise while it is drawn than before
        assert np.allclose(svg_size(svg), size, atol=6), f"{case.__name__} differs as SVG"
        assert np.array_equal(pixels(got), pixels(want)), f"{case.__name__} differs"


main()
