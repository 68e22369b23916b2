"""Repairs to the pages that the theme and its extensions write.

Each function mends one fault and says which. The templates beside this folder mend the rest.
"""

import csv
import re
from contextlib import redirect_stdout
from importlib.util import find_spec
from io import StringIO
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
        body = re.sub(
            r'<script type="text/x-thebe-config">.*?</script>\s*',
            "",
            body,
            flags=re.DOTALL,
        )
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
        context["body"] = body.replace(
            '<div role="list" class="citation-list">',
            '<div class="citation-list">',
        )


def scrolling_tables(context: dict[str, Any]) -> None:
    """Put each table that code printed as HTML into a container that scrolls; the theme does so for the rest.

    A container that scrolls must be reachable by keyboard, hence the tab stop and its name.
    """
    body = context.get("body")
    if body:
        body = re.sub(
            r"(<table (?:border=|class=\"costlab).*?</table>)",
            _SCROLLER + r"\1</div>",
            body,
            flags=re.DOTALL,
        )
        context["body"] = re.sub(r'<div class="pst-scrollable-table-container">', _SCROLLER, body)


_SCROLLER = '<div class="pst-scrollable-table-container" tabindex="0" role="group" aria-label="Table">'


def links_to_pages(context: dict[str, Any]) -> None:
    """Lead links that code printed as HTML to the pages that were built from the notebooks they name."""
    body = context.get("body")
    if body:
        context["body"] = re.sub(r'<a href="([\w/-]+)\.ipynb(#[\w-]+)?">', r'<a href="\1.html\2">', body)


def filters(app: Sphinx, context: dict[str, Any]) -> None:
    """Add the script that filters tables to a page that has one to filter."""
    if "<th " in context.get("body", "") and " data-filter" in context["body"]:
        app.add_js_file("filter.js", loading_method="defer")


def copy_mathjax(app: Sphinx) -> None:
    """Copy the part of MathJax that the pages use (1.7 of 24 MB), so that no page asks a third party."""
    spec = find_spec("sphinx-mathjax-offline")
    if spec is None or spec.origin is None:
        raise RuntimeError("MathJax is missing: pip install sphinx-mathjax-offline")
    source = Path(spec.origin).parent / "static" / "mathjax"
    target = Path(app.outdir) / "_static" / "mathjax"
    for file in [
        source / MATHJAX_ENTRY,
        *(source / MATHJAX_FONTS).glob("*.woff"),
    ]:
        copy = target / file.relative_to(source)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy2(file, copy)


def keep_used_icons(app: Sphinx) -> None:
    """Cut the theme's icon script down to the icons that some page or script names: 2,000 of them weigh 1.5 MB."""
    spec = find_spec("pydata_sphinx_theme")
    if spec is None or spec.origin is None:
        raise RuntimeError("the theme is missing: pip install pydata-sphinx-theme")
    scripts = Path(app.outdir) / "_static" / "scripts"
    complete = Path(spec.origin).parent / "theme/pydata_sphinx_theme/static/scripts" / ICON_SCRIPT
    texts = [
        *Path(app.outdir).glob("*.html"),
        *Path(app.outdir).glob("book/*.html"),
        *scripts.glob("*theme.js"),
    ]
    used = set(re.findall(r"\bfa-([a-z0-9-]+)", " ".join(text.read_text() for text in texts)))

    def kept(icon: re.Match[str]) -> str:
        names = {
            icon["name"].strip('"'),
            *re.findall(r'"([\w-]+)"', icon["aliases"]),
        }
        return icon[0] if names & used else ""

    script, icons = ICON.subn(kept, complete.read_text())
    if not icons:
        raise RuntimeError(f"{complete} holds its icons in a form that is unknown here")
    (scripts / ICON_SCRIPT).write_text(script)
    for sources in scripts.glob("*.map"):  # for debuggers, 2 MB
        sources.unlink()


ICON_SCRIPT = "fontawesome.js"
# name:[width,height,[aliases],"code point","path" or ["path","path"]]
ICON = re.compile(
    r'(?<=[{,])(?P<name>"[\w-]+"|[\w-]+):\[\d+,\d+,\[(?P<aliases>[^\]]*)\],"[0-9a-f]+",(?:"[^"]*"|\[[^\]]*\])\],?'
)


def repair_page(
    app: Sphinx,
    pagename: str,
    templatename: str,
    context: dict[str, Any],
    doctree: Any,
) -> None:
    """Apply the repairs to one page."""
    without_thebe(context)
    valid_bibliography_roles(context)
    scrolling_tables(context)
    links_to_pages(context)
    filters(app, context)


def write_ledger(app: Sphinx) -> None:
    """Write the ledger of claims beside its page, as the command line prints it and as a table of numbers."""
    folder = Path(app.outdir) / "book"
    if not (folder / "claims.html").is_file():
        return
    from costlab import claims  # here, so that a site without that page needs no costlab
    from costlab.cli.main import main

    with redirect_stdout(StringIO()) as printed:
        main(["claims", "--json"])
    (folder / "claims.json").write_text(printed.getvalue(), encoding="utf-8")
    rows = claims.number_records(claims.findings())
    with (folder / "claims.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def finish(app: Sphinx, error: Exception | None) -> None:
    """Complete the built site."""
    if error is None and app.builder.format == "html":
        copy_mathjax(app)
        keep_used_icons(app)
        write_ledger(app)


def setup(app: Sphinx) -> dict[str, Any]:
    """Connect the repairs: to each page late, after the extensions have added their scripts."""
    app.connect("html-page-context", repair_page, priority=900)
    app.connect("build-finished", finish)
    return {
        "version": "1",
        "parallel_read_safe": True,
        "parallel_write_safe": True,
    }
