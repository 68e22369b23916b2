"""A graded notebook that can be looked at: Formgrader shows it in the teacher's browser, where a script could grade.

Formgrader puts HTML of outputs and of written answers on its own pages as it stands. So outputs keep their plain text
and their pictures of dots, and tags and links in a written answer are spelled so that they stay text. What was handed
in is kept as it was in `submitted`.
"""

from __future__ import annotations

import re
from copy import deepcopy

from nbformat import NotebookNode

DOTS = re.compile(r"[A-Za-z0-9+/\s]+={0,2}\s*")  # base64: nothing that ends an attribute
TAG = re.compile(r"<(?=[A-Za-z/!?])")
LINK = re.compile(r"\](?=\(|:)(?!(?:\(|:\s*)https?://)")


def harmless(notebook: NotebookNode) -> NotebookNode:
    """Return a copy without what a browser would run."""
    shown = deepcopy(notebook)
    for cell in shown.cells:
        if cell.cell_type == "markdown":
            cell.source = LINK.sub("] ", TAG.sub("< ", cell.source))
        for output in cell.get("outputs", []):
            if output.output_type in ("display_data", "execute_result"):
                output.data, output.metadata = _plain(output.data), NotebookNode()
    return shown


def _plain(data: NotebookNode) -> NotebookNode:
    """Return the text and the picture of an output."""
    kept = {kind: "".join(told) if isinstance(told, list) else told for kind, told in data.items()}
    text, picture = kept.get("text/plain"), kept.get("image/png")
    found = NotebookNode()
    if isinstance(text, str):
        found["text/plain"] = text
    if isinstance(picture, str) and DOTS.fullmatch(picture):
        found["image/png"] = picture
    return found
