"""Matplotlib, faster, with the same pictures to the pixel (a test compares them).

A log axis has dozens of minor ticks, and Matplotlib builds each anew from five artists, checking every property,
before it copies the first tick's properties into it: most of a small figure's time. Here each further tick is a
copy of the first from the start. Labels such as 10⁻³ are parsed once, not again after fifty others. A text is
measured once, not ten times per figure: what its box looks like does not depend on where it stands. And an axis is
asked for its ticks once per size, not twenty times: nobody changes a figure while it is drawn.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

TICK_PARTS = ("tick1line", "tick2line", "gridline", "label1", "label2")
REMEMBERED_FORMULAS = 1000
REMEMBERED_LAYOUTS = 4000
MEASURED_BY = ("text.hinting", "text.hinting_factor", "text.kerning_factor", "mathtext.fontset", "mathtext.default")


def hasten() -> None:
    """Replace the slow parts of Matplotlib, where it is loaded and not hastened yet."""
    axis: Any = sys.modules.get("matplotlib.axis")
    if axis is None or hasattr(axis, "live_hastened"):
        return
    axis.live_hastened = True
    for kind in (axis.XAxis, axis.YAxis):
        kind.get_major_ticks = _tick_getter(kind.get_major_ticks, "majorTicks", "get_majorticklocs")
        kind.get_minor_ticks = _tick_getter(kind.get_minor_ticks, "minorTicks", "get_minorticklocs")
    _remember_ticks(axis)
    _remember_formulas()
    _remember_layouts()


#: While a figure is drawn: each axis's last question and answer.
_asked: dict[Any, tuple[Any, list[Any]]] | None = None


@contextmanager
def unchanged() -> Iterator[None]:
    """Have axes asked for their ticks once, while figures are only measured and drawn."""
    global _asked
    _asked = {}
    try:
        yield
    finally:
        _asked = None


def _remember_ticks(module: Any) -> None:
    """Remember ticks: they depend on an axis's limits, its length and the resolution, not on where it stands."""
    plain, kinds = module.Axis._update_ticks, (module.XAxis, module.YAxis)

    def update_ticks(axis: Any) -> list[Any]:
        if _asked is None or type(axis) not in kinds or len(axis._get_shared_axes()) > 1:
            return list(plain(axis))  # axes that share a formatter would see each other's ticks
        question = (*axis.get_view_interval(), *axis.axes.bbox.size, axis.get_figure(root=True).dpi)
        if axis not in _asked or _asked[axis][0] != question:
            _asked[axis] = (question, list(plain(axis)))
        return _asked[axis][1]

    module.Axis._update_ticks = update_ticks


def _tick_getter(plain: Any, kept: str, locations: str) -> Any:
    """Return a stand-in for `plain`, an axis's `get_major_ticks` or `get_minor_ticks`."""

    def get_ticks(axis: Any, numticks: int | None = None) -> list[Any]:
        wanted = len(getattr(axis, locations)()) if numticks is None else numticks
        ticks = getattr(axis, kept)
        while ticks and len(ticks) < wanted and type(ticks[0]).__module__ == "matplotlib.axis":
            ticks.append(_like(ticks[0]))
        return list(plain(axis, wanted))  # the first tick, and those of round axes, are made as ever

    return get_ticks


def _like(tick: Any) -> Any:
    """Return a tick with the properties of another on the same axis, and parts of its own."""
    made = _shallow(tick)
    for name in TICK_PARTS:
        setattr(made, name, _shallow(getattr(tick, name)))
    return made


def _shallow(artist: Any) -> Any:
    made = object.__new__(type(artist))
    made.__dict__.update(artist.__dict__)
    made.stale_callback = None  # nothing here redraws by itself
    return made


def _remember_formulas() -> None:
    """Remember formulas beyond the figure: Matplotlib does so per renderer, which is per figure."""
    from matplotlib import rcParams
    from matplotlib.mathtext import MathTextParser

    kind: Any = MathTextParser  # as what is replaced here is private
    plain = kind._parse_cached.__wrapped__
    parsers: dict[str, Any] = {}

    @functools.lru_cache(REMEMBERED_FORMULAS)
    def remembered(output: str, fonts: tuple[str, ...], *request: Any) -> Any:
        return plain(parsers[output], *request)

    def parse(parser: Any, *request: Any) -> Any:
        parsers.setdefault(parser._output_type, parser)
        return remembered(parser._output_type, (rcParams["mathtext.fontset"], rcParams["mathtext.default"]), *request)

    kind._parse_cached = parse


def _remember_layouts() -> None:
    """Share one layout among equal texts: Matplotlib lays a text out anew whenever somebody asks for its box."""
    from matplotlib import rcParams
    from matplotlib.text import Text

    kind: Any = Text
    plain = kind._get_layout
    layouts: dict[tuple[Any, ...], Any] = {}

    def get_layout(text: Any, renderer: Any) -> Any:
        if text.get_wrap() or type(renderer).__name__ != "RendererAgg":
            return plain(text, renderer)
        place = (text.get_rotation(), text.get_rotation_mode(), text.get_ha(), text.get_va(), text._multialignment)
        look = (text.get_usetex(), text.get_parse_math(), text._linespacing, hash(text.get_fontproperties()))
        settings = (dict.__getitem__(rcParams, name) for name in MEASURED_BY)  # without asking whether each is valid
        size = (renderer.dpi, text.get_figure(root=True).dpi, *settings)
        key = (text.get_text(), *place, *look, *size)
        if key not in layouts:
            if len(layouts) >= REMEMBERED_LAYOUTS:
                layouts.clear()
            layouts[key] = plain(text, renderer)
        return layouts[key]

    kind._get_layout = get_layout
