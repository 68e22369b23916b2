"""The small part of IPython that ipywidgets and notebooks call, without the megabytes of the rest."""

from __future__ import annotations

import base64
import sys
import traceback
import types
from collections.abc import Callable, Iterator
from typing import Any

Emit = Callable[[dict[str, Any]], None]
Bundle = tuple[dict[str, Any], dict[str, Any]]  # data by MIME type, and metadata

# Richest first: the page shows the first form that it knows.
REPRS = {
    "_repr_html_": "text/html",
    "_repr_svg_": "image/svg+xml",
    "_repr_png_": "image/png",
    "_repr_markdown_": "text/markdown",
    "_repr_latex_": "text/latex",
}


class Rich:
    """An object that shows itself as one MIME type: IPython's HTML, Markdown, SVG, Latex."""

    mime = "text/html"

    def __init__(self, data: str = "") -> None:
        self.data = data

    def _repr_mimebundle_(self, **_: Any) -> dict[str, Any]:
        return {self.mime: self.data, "text/plain": repr(self)}


def rich(name: str, mime: str) -> type[Rich]:
    """Make one of IPython's display classes."""
    return type(name, (Rich,), {"mime": mime})


class Events:
    """IPython's hooks; Matplotlib registers one, and nothing here ever fires."""

    def register(self, *_: Any) -> None:
        """Take a callback."""

    unregister = trigger = register


class Shell:
    """Stands in for the running IPython shell: it only takes errors."""

    kernel = None
    events = Events()

    def __init__(self) -> None:
        self.error: str | None = None

    def showtraceback(self, exc_tuple: Any = None, **_: Any) -> None:
        """Remember the current error; the first one of a computation counts."""
        error = (exc_tuple or sys.exc_info())[1]
        if self.error is None and error is not None:
            self.error = readable_traceback(error)


def readable_traceback(error: BaseException) -> str:
    """Return the traceback as the notebook's author would read it: without the frames of our own machinery."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if not _is_machinery(frame.filename)]
    text = traceback.format_list(own) + traceback.format_exception_only(error)
    return ("Traceback (most recent call last):\n" if own else "") + "".join(text)


def _is_machinery(filename: str) -> bool:
    return any(name in filename for name in ("live_kernel/", "ipywidgets/", "traitlets/"))


def describe(value: Any) -> Bundle:
    """Return all the forms in which a value can show itself."""
    data: dict[str, Any] = {}
    if hasattr(value, "_repr_mimebundle_"):
        bundle = value._repr_mimebundle_(include=None, exclude=None) or {}
        data.update(bundle[0] if isinstance(bundle, tuple) else bundle)
    data.update((mime, shown) for mime, shown in _own_reprs(value) if mime not in data)
    data.setdefault("text/plain", repr(value))
    return data, {}


def _own_reprs(value: Any) -> Iterator[tuple[str, Any]]:
    for method, mime in REPRS.items():
        shown = getattr(value, method, lambda: None)() if not isinstance(value, type) else None
        if isinstance(shown, bytes):
            shown = base64.b64encode(shown).decode()
        if shown is not None:
            yield mime, shown


def install(shell: Shell, display: Callable[..., None], clear_output: Callable[..., None]) -> None:
    """Put the stand-ins where `import IPython` and `from myst_nb import glue` find them."""
    _module("IPython", get_ipython=lambda: shell, version_info=(9, 0), __version__="9.0", display=display)
    _module(
        "IPython.display",
        display=display,
        clear_output=clear_output,
        HTML=rich("HTML", "text/html"),
        Markdown=rich("Markdown", "text/markdown"),
        Latex=rich("Latex", "text/latex"),
        Math=rich("Math", "text/latex"),
        SVG=rich("SVG", "image/svg+xml"),
        set_matplotlib_formats=lambda *_, **__: None,
    )
    _module("IPython.core")
    interactive = type("InteractiveShell", (), {"_showtraceback": None, "showtraceback": None})
    _module("IPython.core.interactiveshell", InteractiveShell=interactive)
    _module("matplotlib_inline")
    _module("matplotlib_inline.backend_inline", set_matplotlib_formats=lambda *_, **__: None)
    _module("myst_nb", glue=lambda *_, **__: None)  # glued values are in the built page already


def _module(name: str, **members: Any) -> None:
    module = types.ModuleType(name)
    module.__dict__.update(members)
    module.__path__ = []
    parent, _, child = name.rpartition(".")
    if parent and not hasattr(sys.modules[parent], child):
        setattr(sys.modules[parent], child, module)
    sys.modules[name] = module
