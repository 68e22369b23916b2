"""What a real kernel answers when the widgets of a notebook are moved: the measure for the page."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from html import unescape
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from nbclient.output_widget import OutputWidget

WIDGET = "application/vnd.jupyter.widget-view+json"
NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")


class OneWayOutput(OutputWidget):
    """An Output widget that does not report back to the kernel.

    nbclient reports on the socket where it waits for the kernel's answer, and may then miss that answer until its
    timeout. No answer depends on the report.
    """

    def send(self, *_: Any, **__: Any) -> None:
        """Send nothing."""


class Oracle:
    """A notebook that has run in its kernel, whose widgets can be moved."""

    def __init__(self, client: NotebookClient) -> None:
        self._client = client

    def view(self, cell: int, nth: int) -> str:
        """The model id of the nth widget that a cell shows."""
        outputs = self._client.nb.cells[cell].outputs
        return [o.data[WIDGET]["model_id"] for o in outputs if WIDGET in o.get("data", {})][nth]

    def models(self, model_id: str) -> Iterator[str]:
        """A model and all inside it, depth first."""
        yield model_id
        for child in self._client.widget_state[model_id].get("children", []):
            yield from self.models(child.removeprefix("IPY_MODEL_"))

    def set(self, model_id: str, state: dict[str, Any]) -> None:
        """Move a widget as a browser would."""
        code = f"from ipywidgets.widgets.widget import _instances as _i; _i[{model_id!r}].set_state({state!r})"
        cell = nbformat.v4.new_code_cell(code)
        self._client.nb.cells.append(cell)
        self._client.execute_cell(cell, len(self._client.nb.cells) - 1)

    def text(self, view: str) -> str:
        """All text that a view shows."""
        return "\n".join(part for model in self.models(view) for part in self._texts(model))

    def pictures(self, view: str) -> list[str]:
        """All pictures that a view shows, in base64."""
        outputs = [o for m in self.models(view) for o in self._client.widget_state[m].get("outputs", [])]
        return [o["data"]["image/png"].strip() for o in outputs if "image/png" in o.get("data", {})]

    def drawings(self, view: str) -> list[str]:
        """All drawings that a view shows: SVG inside HTML."""
        outputs = [o for m in self.models(view) for o in self._client.widget_state[m].get("outputs", [])]
        return [svg for o in outputs for svg in re.findall(r"<svg.*?</svg>", o.get("data", {}).get("text/html", ""))]

    def _texts(self, model: str) -> Iterator[str]:
        state = self._client.widget_state[model]
        for output in state.get("outputs", []):
            data = output.get("data", {})
            if "image/png" not in data:
                yield output.get("text") or plain(data.get("text/html", "")) or data.get("text/plain", "")
        if state["_model_name"] in ("HTMLModel", "LabelModel"):
            yield plain(state["value"])


@contextmanager
def run_notebook(path: Path, left_out: str = "not-live") -> Iterator[Oracle]:
    """Execute the notebook at ``path`` and keep its kernel while the context is open.

    What has the tag `left_out` is not run: no slider of a page can need what is `not-live`, and that is the slow part.
    """
    notebook = read_notebook(path)
    book = {"metadata": {"path": str(path.parent)}}
    client = NotebookClient(notebook, timeout=600, skip_cells_with_tag=left_out, resources=book)
    with client.setup_kernel(env=os.environ | {"LIVE_WIDTH": "720"}):  # as in a wide page
        client.widget_registry = {"@jupyter-widgets/output": {"OutputModel": OneWayOutput}}
        for index, cell in enumerate(notebook.cells):
            client.execute_cell(cell, index)
        yield Oracle(client)


def read_notebook(path: Path) -> nbformat.NotebookNode:
    """Read either kind of notebook source."""
    if path.suffix == ".ipynb":
        return nbformat.read(path, as_version=4)
    from myst_nb.core.read import read_myst_markdown_notebook
    from myst_parser.config.main import MdParserConfig

    return read_myst_markdown_notebook(path.read_text(), config=MdParserConfig(), path=path)


def plain(html: str) -> str:
    """HTML without its tags."""
    return unescape(re.sub(r"<[^>]*>", " ", html))


def assert_same_text(page: str, kernel: str, where: str) -> None:
    """The same words, and the same numbers to 1e-9 of their size."""
    words = [NUMBER.sub("#", text).split() for text in (page, kernel)]
    assert words[0] == words[1], f"{where}: the page says {page!r}, the kernel {kernel!r}"
    for mine, theirs in zip(NUMBER.findall(page), NUMBER.findall(kernel), strict=True):
        assert abs(float(mine) - float(theirs)) <= 1e-9 * abs(float(theirs)), f"{where}: {mine} but kernel {theirs}"
