"""A figure as a value: numbers in, one `Drawing` out, which a notebook, a slider and a page show alike.

A function decorated with `drawn` draws on the axes that `new_figure` gives it and returns `Words`: what the picture
shows, for readers who cannot see it, and the numbers under it. It runs twice, for a wide view and for a phone; where
the environment names the width at hand (`LIVE_WIDTH`, CSS pixels), once.

Title, key and numbers are HTML, so that they wrap and can be copied; the axes are SVG whose ink is the text's own
colour and whose ground is transparent, so one drawing reads on white and on black.
"""

from __future__ import annotations

import functools
import hashlib
import io
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from html import escape, unescape
from typing import ParamSpec
from xml.etree import ElementTree

from matplotlib import rc_context
from matplotlib.figure import Figure

NARROW_PX = 480  # a view of fewer CSS pixels gets the narrow drawing
_P = ParamSpec("_P")


@dataclass(frozen=True)
class Words:
    """What a drawing says beside its picture."""

    alt: str  # sentences that stand for the picture, with its main numbers
    note: str = ""  # HTML under the picture: numbers for people, made by `value`


@dataclass(frozen=True)
class Swatch:
    """One entry of a drawing's key."""

    text: str  # what the colour means
    colour: str  # hex
    style: str = "solid"  # solid, dashed or dotted line; "area" for a filled patch


@dataclass(frozen=True)
class Drawing:
    """A finished figure."""

    title: str  # the question that it answers
    words: Words  # what stands for the picture, and below it
    wide: str  # SVG, empty where only the narrow one was asked for
    narrow: str  # SVG for phones, empty where only the wide one was asked for
    key: tuple[Swatch, ...] = ()  # colours that are explained at every width
    narrow_key: tuple[Swatch, ...] = ()  # colours that the narrow drawing has no room to name at the lines' ends

    @property
    def html(self) -> str:
        """The figure as HTML."""
        title = f'<p class="drawing-title">{escape(self.title)}</p>' if self.title else ""
        note = f'<p class="drawing-note">{self.words.note}</p>' if self.words.note else ""
        pictures = _labelled(self.wide, "wide", self.words.alt) + _labelled(self.narrow, "narrow", self.words.alt)
        keys = _key_list(self.key, "") + (_key_list(self.narrow_key, " drawing-key-narrow") if self.narrow else "")
        only = "" if self.wide and self.narrow else " drawing-only"
        return f'<div class="drawing{only}">{title}{keys}{pictures}{note}</div>'

    def __repr__(self) -> str:
        note = unescape(_TAG.sub("", self.words.note.replace("<br>", "\n")))
        return "\n".join(part for part in (self.title, self.words.alt, note) if part)

    def _repr_mimebundle_(self, **_: object) -> dict[str, str]:
        return {"text/html": self.html, "text/plain": repr(self)}


@dataclass(frozen=True)
class Frames:
    """Drawings to step through with buttons or arrow keys; without scripts they stand one below the other."""

    title: str  # the question that the steps answer
    steps: tuple[tuple[Drawing, str], ...]  # each with the sentence that explains it

    @property
    def html(self) -> str:
        """The steps as HTML."""
        steps = "".join(
            f'<div class="drawing-frame">{drawing.html}<p class="drawing-step">{escape(text)}</p></div>'
            for drawing, text in self.steps
        )
        return f'<div class="drawing-frames"><p class="drawing-title">{escape(self.title)}</p>{steps}</div>'

    def __repr__(self) -> str:
        return "\n".join([self.title, *(f"{i}. {text}" for i, (_, text) in enumerate(self.steps, 1))])

    def _repr_mimebundle_(self, **_: object) -> dict[str, str]:
        return {"text/html": self.html, "text/plain": repr(self)}


_TAG = re.compile(r"<[^>]+>")


def value(number: float, text: str, name: str = "") -> str:
    """Return a number as HTML: the text for people, the number itself to 12 digits in an attribute.

    Args:
        number: exact.
        text: as people read it, with its unit: "17,351 tokens".
        name: what the book's prose calls it, where a sentence shows it too.
    """
    mark = f' class="live-{escape(name)}"' if name else ""
    return f'<data{mark} value="{number:.12g}">{escape(text)}</data>'


# -- drawing ----------------------------------------------------------------------------------------------------


@dataclass
class _Sheet:
    """What one run of a drawing function leaves."""

    narrow: bool
    figure: Figure | None = None
    title: str = ""
    svg: str = ""  # of a diagram, which needs no figure
    key: list[Swatch] = field(default_factory=list)
    narrow_key: list[Swatch] = field(default_factory=list)


_sheet: ContextVar[_Sheet] = ContextVar("sheet")


def sheet() -> _Sheet:
    """Return the sheet being drawn on.

    Raises:
        LookupError: outside a function decorated with `drawn`.
    """
    return _sheet.get()


def is_narrow() -> bool:
    """Return whether the drawing under way is the one for phones."""
    return sheet().narrow


def drawn(function: Callable[_P, Words]) -> Callable[_P, Drawing]:
    """Make a function that draws and returns `Words` one that returns a `Drawing`."""

    @functools.wraps(function)
    def draw(*args: _P.args, **kwargs: _P.kwargs) -> Drawing:
        svgs = {False: "", True: ""}
        for narrow in _variants():
            with _new_sheet(narrow) as done:
                words = function(*args, **kwargs)
            svgs[narrow] = done.svg or _svg(done, words.alt)
        return Drawing(done.title, words, svgs[False], svgs[True], tuple(done.key), tuple(done.narrow_key))

    return draw


def _variants() -> tuple[bool, ...]:
    """Return which drawings are wanted: wide (False), narrow (True); the last one's key holds for both."""
    width = os.environ.get("LIVE_WIDTH", "")
    return (int(width) < NARROW_PX,) if width.isdecimal() else (False, True)


@contextmanager
def _new_sheet(narrow: bool) -> Iterator[_Sheet]:
    done = _Sheet(narrow)
    token = _sheet.set(done)
    try:
        yield done
    finally:
        _sheet.reset(token)


def _svg(done: _Sheet, alt: str) -> str:
    assert done.figure is not None, "a drawing function should call new_figure or diagram"
    salt = hashlib.sha256(f"{done.title} {alt} {done.narrow}".encode()).hexdigest()
    text = io.StringIO()
    with rc_context({"svg.hashsalt": salt}):  # ids that are the same in each run, and others in each figure
        done.figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    return tidy(text.getvalue())


# -- SVG as it stands in a page ---------------------------------------------------------------------------------

_SVG = "{http://www.w3.org/2000/svg}"
_LINK = "{http://www.w3.org/1999/xlink}href"
_KEPT = ("d", "x", "y", "width", "height", "transform", "clip-path")
_STYLES = (
    "fill", "fill-opacity", "stroke", "stroke-width", "stroke-dasharray", "stroke-opacity", "opacity",
    "font-size", "font-weight", "font-style", "text-anchor",
)  # fmt: skip
_FONT = re.compile(r"font: (?:(italic) )?(?:(bold|\d+) )?([\d.]+)px")


def tidy(svg: str) -> str:
    """Return matplotlib's SVG as a small one for HTML: plain attributes, ink in the text's colour, no outside ids.

    Args:
        svg: as `savefig` writes it with `svg.fonttype: none`.
    """
    root = ElementTree.fromstring(svg)
    parts = {part.get("id"): part for part in root.iter(f"{_SVG}path") if part.get("id")}
    inner = "".join(_element(child, parts) for child in root)
    return f'<svg viewBox="{root.get("viewBox")}">{inner}</svg>'


def _element(part: ElementTree.Element, parts: dict[str | None, ElementTree.Element]) -> str:
    tag = part.tag.removeprefix(_SVG)
    if tag == "use":
        return _used(part, parts)
    if tag in ("metadata", "style") or (tag == "path" and part.get("id") in parts):
        return ""
    inner = "".join(_element(child, parts) for child in part)
    if tag == "clipPath":
        return f'<clipPath id="{part.get("id")}">{inner}</clipPath>'
    if tag in ("g", "defs") and not part.get("transform"):
        return inner
    look = _attributes(part)
    if tag == "path" and ("d" not in look or look.get("fill") == "none" == look.get("stroke", "none")):
        return ""
    words = escape((part.text or "").strip()) if tag in ("text", "tspan") else ""
    return f"<{tag}{_written(look)}>{words}{inner}</{tag}>"


def _used(part: ElementTree.Element, parts: dict[str | None, ElementTree.Element]) -> str:
    """Return a marker where it stands: a copy of its path, so that the page needs no reference."""
    marker = parts[part.attrib[_LINK].removeprefix("#")]
    look = _attributes(marker) | _attributes(part)
    look.pop("x", ""), look.pop("y", "")
    place = f"translate({_short(part.get('x', '0'))} {_short(part.get('y', '0'))})"
    return f"<path{_written(look | {'transform': place})}></path>"


def _attributes(part: ElementTree.Element) -> dict[str, str]:
    """Return what is kept of an element's attributes and style, as plain attributes."""
    look = {name: _short(part.attrib[name]) for name in _KEPT if name in part.attrib}
    style = part.get("style", "")
    for declaration in style.split(";"):
        name, _, setting = declaration.strip().partition(": ")
        if name in _STYLES:
            look[name] = _INK.get(setting, setting)
    if font := _FONT.search(style):
        slant, weight, size = font.groups()
        look |= {"font-size": size} | ({"font-weight": weight} if weight else {})
        look |= {"font-style": slant} if slant else {}
    if look.get("transform", "").startswith("rotate(-0 "):
        del look["transform"]
    if "font-size" in look:
        look["font-size"] = look["font-size"].removesuffix("px")
    return look


_INK = {"#000000": "currentColor"}
_LONG = re.compile(r"-?\d+\.\d{2,}")


def _short(numbers: str) -> str:
    """Round to a tenth of a point, and drop line breaks."""
    return " ".join(_LONG.sub(lambda found: f"{float(found[0]):.1f}", numbers).split())


def _written(look: dict[str, str]) -> str:
    return "".join(f' {name}="{escape(setting)}"' for name, setting in look.items())


def _labelled(svg: str, width: str, alt: str) -> str:
    """Return an SVG that says what it shows; notebooks, without the book's style, see the wide one alone."""
    size = 'width="0" height="0"' if width == "narrow" else 'width="720"'
    mark = f'<svg class="drawing-{width}" role="img" aria-label="{escape(alt)}" {size} '
    return svg.replace("<svg ", mark, 1)


def _key_list(key: Sequence[Swatch], more: str) -> str:
    shown = [(f"drawing-{entry.style}", _INK.get(entry.colour, entry.colour), escape(entry.text)) for entry in key]
    items = "".join(f'<li><span class="{look}" style="color: {ink}"></span>{text}</li>' for look, ink, text in shown)
    return f'<ul class="drawing-key{more}">{items}</ul>' if items else ""
