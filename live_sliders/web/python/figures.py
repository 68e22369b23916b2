"""Matplotlib figures, drawn to look as in the notebook: same size, same cut, same resolution."""

from __future__ import annotations

import base64
import io
import sys
from typing import Any

from .speed import hasten, unchanged

FORMATS = {"png": "image/png", "svg": "image/svg+xml"}
PACKING: dict[str, Any] = {"png": {"pil_kwargs": {"compress_level": 1}}}  # quickly: a picture travels nowhere


class Figures:
    """Draws figures in the format and resolution that the notebook used."""

    def __init__(self, format: str = "png", scale: float = 1) -> None:
        self.format = format
        self.scale = scale
        self.drawing = True  # off while the cells run: the page has those pictures already

    def is_figure(self, value: Any) -> bool:
        """Return whether a value is a Matplotlib figure, without importing Matplotlib."""
        module = sys.modules.get("matplotlib.figure")
        return module is not None and isinstance(value, module.Figure)

    def take_open(self) -> list[Any]:
        """Close the figures that pyplot has open and return them, as at the end of a notebook's cell."""
        pyplot = sys.modules.get("matplotlib.pyplot")
        if pyplot is None:
            return []
        hasten()
        figures = [pyplot.figure(number) for number in pyplot.get_fignums()]
        pyplot.close("all")
        return [figure for figure in figures if figure.axes or figure.lines]

    def render(self, figure: Any) -> tuple[dict[str, str], dict[str, Any]]:
        """Return a figure as display data and metadata."""
        if not self.drawing:
            return {"text/plain": repr(figure)}, {}
        buffer = io.BytesIO()
        with unchanged():
            figure.savefig(
                buffer,
                format=self.format,
                dpi=figure.dpi * self.scale,
                bbox_inches=_cut(figure),
                facecolor=figure.get_facecolor(),
                edgecolor=figure.get_edgecolor(),
                **PACKING.get(self.format, {}),
            )
        data = buffer.getvalue()
        text = data.decode() if self.format == "svg" else base64.b64encode(data).decode()
        return {FORMATS[self.format]: text, "text/plain": repr(figure)}, self._metadata(data)

    def _metadata(self, data: bytes) -> dict[str, Any]:
        """Return how large a picture of another resolution is to be shown."""
        if self.format != "png" or self.scale == 1:
            return {}
        width, height = (int.from_bytes(data[at : at + 4]) for at in (16, 20))  # of PNG's first chunk
        return {"image/png": {"width": round(width / self.scale), "height": round(height / self.scale)}}


def _cut(figure: Any) -> Any:
    """Return the part of the canvas that the notebook's `bbox_inches="tight"` keeps.

    Asked for "tight", Matplotlib draws the whole figure once for nothing, so that layout engines and round axes
    can arrange themselves. Here the layout is computed without drawing, once, since the figure is closed next.
    """
    if any(axes.name != "rectilinear" for axes in figure.axes):
        return "tight"
    import matplotlib

    engine = figure.get_layout_engine()
    if engine is not None:
        engine.execute(figure)
        figure._layout_engine = None
    renderer = figure.canvas.get_renderer()
    return figure.get_tightbbox(renderer).padded(matplotlib.rcParams["savefig.pad_inches"])
