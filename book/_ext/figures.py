"""Numbered captions for what a code cell shows.

A cell's metadata names its figure or its table:

    {"figure": {"name": "fig-moe-touched", "caption": "Experts that a batch reads, of *384*."}}
    {"table": {"name": "tab-moe-parts", "caption": "Where V4-Pro's parameters lie."}}

The cell's outputs then stand in an HTML figure with that caption and a number of its chapter, such as "Figure 3.2".
Prose refers to it by ``{numref}`fig-moe-touched` ``. The caption holds inline MyST: emphasis, formulas, roles, glued
numbers. A name or a caption that is missing, a key that is unknown and a cell that shows nothing are warnings.
"""

from collections.abc import Iterable
from typing import Any

import myst_nb.sphinx_
from docutils import nodes
from myst_nb.sphinx_ import SphinxNbRenderer
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.writers.html5 import HTML5Translator

logger = logging.getLogger(__name__)

KEYS = ("name", "caption")


class CaptionedTable(nodes.General, nodes.Element):
    """What a cell shows, numbered among the tables; its caption stands above."""


class TableCaption(nodes.caption):
    """The caption of a cell's table."""


SHELLS: dict[str, type[nodes.Element]] = {"figure": nodes.figure, "table": CaptionedTable}
CAPTIONS: dict[str, type[nodes.Element]] = {"figure": nodes.caption, "table": TableCaption}


def complaint(kind: str, given: Any) -> str:
    """Say what is wrong with a cell's metadata of that kind; "" where nothing is."""
    wanted = f'{{"{kind}": {{"name": "...", "caption": "..."}}}}'
    if not isinstance(given, dict):
        return f"{kind} is {given!r}, not {wanted}"
    unknown = sorted(set(given) - set(KEYS))
    if unknown:
        return f"{kind}: unknown key {unknown[0]!r}; known here: {', '.join(KEYS)}"
    empty = [key for key in KEYS if not (isinstance(given.get(key), str) and given[key].strip())]
    return f"{kind} without {' and '.join(empty)}: {given!r}, not {wanted}" if empty else ""


class CaptioningRenderer(SphinxNbRenderer):
    """The notebook renderer, which puts a captioned cell's outputs into a figure or a table.

    While a page is read is the only time when a caption's roles and glued numbers can be understood.
    """

    def render_nb_cell_code(self, token: Any) -> None:
        """Render a cell; warn of metadata that name no figure or table, and of a caption without anything above it."""
        super().render_nb_cell_code(token)
        for kind in SHELLS.keys() & token.meta["metadata"].keys():
            given = token.meta["metadata"][kind]
            problem = complaint(kind, given)
            if not problem and nodes.fully_normalize_name(given["name"]) not in self.document.nameids:
                problem = f"{kind} {given['name']!r}: the cell shows nothing"
            if problem:
                place = f"{self.sphinx_env.docname}, cell {token.meta['index'] + 1}"
                logger.warning("%s", problem, location=place, type="figures", subtype="metadata")

    def _render_nb_cell_code_outputs(self, token: Any, outputs: Iterable[Any]) -> None:
        metadata = token.meta["metadata"]
        kind = next((kind for kind in SHELLS if kind in metadata and not complaint(kind, metadata[kind])), None)
        if kind is None:
            super()._render_nb_cell_code_outputs(token, outputs)
            return
        shell = SHELLS[kind]()
        caption = CAPTIONS[kind]()
        self.add_line_and_source_path(shell, token)
        self.add_line_and_source_path(caption, token)
        with self.current_node_context(shell, append=True):
            super()._render_nb_cell_code_outputs(token, outputs)
        with self.current_node_context(caption):
            self.nested_render_text(metadata[kind]["caption"].strip(), token.map[0] if token.map else 0, inline=True)
        shell.insert(0 if kind == "table" else len(shell), caption)
        shell["names"].append(nodes.fully_normalize_name(metadata[kind]["name"]))
        self.document.note_explicit_target(shell, shell)


def visit_table(writer: HTML5Translator, node: CaptionedTable) -> None:
    """Open the table's figure."""
    writer.body.append(writer.starttag(node, "figure", CLASS="captioned-table"))


def depart_table(writer: HTML5Translator, node: CaptionedTable) -> None:
    """Close the table's figure."""
    writer.body.append("</figure>\n")


def visit_table_caption(writer: HTML5Translator, node: TableCaption) -> None:
    """Open the caption, which Sphinx does for figures alone."""
    writer.body.append("<figcaption>\n")
    writer.visit_caption(node)


def depart_table_caption(writer: HTML5Translator, node: TableCaption) -> None:
    """Close the caption."""
    writer.depart_caption(node)
    writer.body.append("</figcaption>\n")


def setup(app: Sphinx) -> dict[str, Any]:
    """Number cells' tables among the tables, and have notebooks read by the captioning renderer."""
    app.add_enumerable_node(CaptionedTable, "table", html=(visit_table, depart_table))
    app.add_node(TableCaption, html=(visit_table_caption, depart_table_caption))
    myst_nb.sphinx_.SphinxNbRenderer = CaptioningRenderer  # the parser takes its renderer by this name alone
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
