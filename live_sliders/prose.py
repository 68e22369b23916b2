"""Numbers of a page's outputs in its prose: the role {live}.

A view marks a number as `<data class="live-price" value="0.103">$0.103</data>`. Where the text says {live}`price`, it
shows what the first such number of the page's saved outputs shows; the page's script keeps it so after each move.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from html import escape
from html.parser import HTMLParser
from typing import Any

from docutils import nodes
from sphinx.transforms import SphinxTransform
from sphinx.util import logging

from . import widgets
from .widgets import State

logger = logging.getLogger(__name__)

PREFIX = "live-"


class live_number(nodes.inline):
    """A number that the prose names, until the page's outputs are read."""


def live_role(
    name: str, rawtext: str, text: str, lineno: int, inliner: Any, *_: Any
) -> tuple[list[nodes.Node], list[Any]]:
    """Make a place for a named number."""
    place = live_number(rawtext, text, number=text.strip())
    place.line = lineno
    return [place], []


class LiveNumbers(SphinxTransform):
    """Fills in the numbers that a page's prose names."""

    default_priority = 850  # all outputs are there, each still in all its forms

    def apply(self, **kwargs: Any) -> None:
        """Replace each place by its number; warn of a name that no output has."""
        places = list(self.document.findall(live_number))
        if not places:
            return
        numbers = named_numbers(_html_outputs(self.document, saved_state(self.app, self.env.docname)))
        for place in places:
            name = place["number"]
            if name not in numbers:
                logger.warning(
                    "live number, no output of this page has <data class=%r>",
                    f"{PREFIX}{name}",
                    location=place,
                    type="live_sliders",
                    subtype="number",
                )
            place.replace_self(_shown(name, numbers.get(name, "")) if name in numbers else nodes.literal(name, name))


def _shown(name: str, text: str) -> list[nodes.Node]:
    """Return a number as nodes: its text for every builder, and marks around it for HTML."""
    start = f'<span class="live-number" data-live-number="{escape(name)}">'
    return [nodes.raw("", start, format="html"), nodes.Text(text), nodes.raw("", "</span>", format="html")]


def saved_state(app: Any, docname: str) -> State:
    """Return the widget models that myst-nb keeps for a page."""
    from myst_nb.sphinx_ import NbMetadataCollector

    files = NbMetadataCollector.get_js_files(app.env, docname)
    _, attributes = files.get("ipywidgets_state", (None, {"body": '{"state": {}}'}))
    return dict(json.loads(attributes["body"])["state"])


def _html_outputs(document: nodes.document, state: State) -> Iterator[str]:
    """Yield the HTML of a page's outputs in the order of the page, of widgets what they show."""
    for node in document.findall(nodes.raw):
        if node.get("format") != "html":
            continue
        text = node.astext()
        if "application/vnd.jupyter.widget-view+json" in text and '"model_id"' in text:
            yield from _widget_html(state, _model_id(text))
        else:
            yield text


def _model_id(script: str) -> str:
    return str(json.loads(script[script.index("{") : script.rindex("}") + 1])["model_id"])


def _widget_html(state: State, model_id: str) -> Iterator[str]:
    for each in widgets.reachable(state, model_id) if model_id in state else ():
        if widgets.kind(state, each) in widgets.SHOWN_TEXTS:
            yield str(state[each]["state"].get("value", ""))
        for output in widgets.outputs(state, each):
            html = output.get("data", {}).get("text/html", "")
            yield html if isinstance(html, str) else "".join(html)


class _Numbers(HTMLParser):
    """Collects the texts of named `<data>` elements, the first of each name."""

    def __init__(self) -> None:
        super().__init__()
        self.found: dict[str, str] = {}
        self._open: list[list[str]] = []  # the names of the elements that are open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "data":
            classes = (dict(attrs).get("class") or "").split()
            names = [each.removeprefix(PREFIX) for each in classes if each.startswith(PREFIX)]
            self._open.append([name for name in names if name not in self.found])
            self.found.update(dict.fromkeys(self._open[-1], ""))

    def handle_data(self, data: str) -> None:
        for name in (name for names in self._open for name in names):
            self.found[name] += data

    def handle_endtag(self, tag: str) -> None:
        if tag == "data" and self._open:
            self._open.pop()


def named_numbers(htmls: Iterable[str]) -> dict[str, str]:
    """Return the text of the first `<data class="live-NAME">` of each name."""
    found: dict[str, str] = {}
    for html in htmls:
        if PREFIX in html:
            parser = _Numbers()
            parser.feed(html)
            found = {name: " ".join(text.split()) for name, text in parser.found.items()} | found
    return found
