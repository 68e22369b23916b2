"""Repairs to the pages that the theme and its extensions write.

Each function mends one fault and says which. The templates beside this folder mend the rest.
"""

import re
from importlib.util import find_spec
from pathlib import Path
from shutil import copy2
from typing import Any

from sphinx.application import Sphinx

MATHJAX_ENTRY = "tex-mml-chtml.js"  # reads TeX, writes HTML with the fonts beside it
MATHJAX_FONTS = "output/chtml/fonts/woff-v2"


def without_thebe(context: dict[str, Any]) -> None:
    """Drop thebe, the live-kernel client: unused here, fetched from a third party, and emitted twice.

    The second copy redeclares its constants, which is a page error on every page.
    """
    context["script_files"][:] = [file for file in context["script_files"] if not _is_thebe(file)]
    context["css_files"][:] = [file for file in context["css_files"] if not _is_thebe(file)]
    body = context.get("body")
    if body:
        body = re.sub(r'<script type="text/x-thebe-config">.*?</script>\s*', "", body, flags=re.DOTALL)
        context["body"] = re.sub(r"<script>kernelName = '[^']*'</script>\s*", "", body)


def _is_thebe(file: Any) -> bool:
    inline = getattr(file, "attributes", {}).get("body") or ""
    return "thebe" in f"{getattr(file, 'filename', file)} {inline}".lower()


def valid_bibliography_roles(context: dict[str, Any]) -> None:
    """Drop ARIA roles from bibliographies: a `list` may not hold `doc-biblioentry`, which is deprecated."""
    body = context.get("body")
    if body:
        for role in ("doc-biblioentry", "doc-backlink"):
            body = body.replace(f' role="{role}"', "")
        context["body"] = body.replace('<div role="list" class="citation-list">', '<div class="citation-list">')


def scrolling_tables(context: dict[str, Any]) -> None:
    """Put each table that code printed as HTML into a container that scrolls; the theme does so for the rest.

    A container that scrolls must be reachable by keyboard, hence the tab stop and its name.
    """
    body = context.get("body")
    if body:
        body = re.sub(r"(<table border=.*?</table>)", _SCROLLER + r"\1</div>", body, flags=re.DOTALL)
        context["body"] = re.sub(r'<div class="pst-scrollable-table-container">', _SCROLLER, body)


_SCROLLER = '<div class="pst-scrollable-table-container" tabindex="0" role="group" aria-label="Table">'


def copy_mathjax(app: Sphinx) -> None:
    """Copy the part of MathJax that the pages use (1.7 of 24 MB), so that no page asks a third party."""
    spec = find_spec("sphinx-mathjax-offline")
    if spec is None or spec.origin is None:
        raise RuntimeError("MathJax is missing: pip install sphinx-mathjax-offline")
    source = Path(spec.origin).parent / "static" / "mathjax"
    target = Path(app.outdir) / "_static" / "mathjax"
    for file in [source / MATHJAX_ENTRY, *(source / MATHJAX_FONTS).glob("*.woff")]:
        copy = target / file.relative_to(source)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy2(file, copy)


def repair_page(app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: Any) -> None:
    """Apply the repairs to one page."""
    without_thebe(context)
    valid_bibliography_roles(context)
    scrolling_tables(context)


def finish(app: Sphinx, error: Exception | None) -> None:
    """Complete the built site."""
    if error is None and app.builder.format == "html":
        copy_mathjax(app)


def setup(app: Sphinx) -> dict[str, Any]:
    """Connect the repairs: to each page late, after the extensions have added their scripts."""
    app.connect("html-page-context", repair_page, priority=900)
    app.connect("build-finished", finish)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
