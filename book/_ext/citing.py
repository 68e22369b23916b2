"""The course as a source: text and BibTeX of CITATION.cff, by the directive `cite-this`.

Where the site's address is set it stands in both, as it would in a bibliography.
"""

import re
import textwrap
from pathlib import Path
from typing import Any

import yaml
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

FILE = "CITATION.cff"


def read_citation(path: Path) -> dict[str, Any]:
    """Return what a citation file says.

    Raises:
        ValueError: it lacks what a reader of the citation needs.
    """
    given: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    missing = [key for key in ("title", "authors", "version", "date-released") if not given.get(key)]
    if missing:
        raise ValueError(f"{path.name} says nothing of {', '.join(missing)}")
    return given


def author_names(citation: dict[str, Any]) -> list[str]:
    """Return the authors, persons as "Family, Given"."""
    persons = (
        author.get("name") or ", ".join(author[key] for key in ("family-names", "given-names") if key in author)
        for author in citation["authors"]
    )
    return list(persons)


def as_text(citation: dict[str, Any], address: str = "") -> str:
    """Return the citation as one line of a bibliography."""
    year = str(citation["date-released"])[:4]
    parts = [f"{'; '.join(author_names(citation))} ({year})", citation["title"], f"Version {citation['version']}"]
    return ". ".join([*parts, *([address] if address else [])]) + ("" if address else ".")


def as_bibtex(citation: dict[str, Any], address: str = "") -> str:
    """Return the citation as a BibTeX entry, which every style since the first can set."""
    year, month = str(citation["date-released"]).split("-")[:2]
    word = next(word for word in re.findall(r"[a-z]+", citation["title"].lower()) if len(word) > 3)
    names = " and ".join(name if "," in name else f"{{{name}}}" for name in author_names(citation))
    fields = {
        "author": f"{{{names}}}",
        "title": f"{{{{{citation['title']}}}}}",
        "year": year,
        "month": MONTHS[int(month) - 1],
        "note": f"{{Version {citation['version']}}}",
    }
    fields |= {"howpublished": f"{{\\url{{{address}}}}}"} if address else {}
    rows = ",\n".join(wrapped(f"  {key:<12} = {value}") for key, value in fields.items())
    return f"@misc{{{word}{year},\n{rows}\n}}"


def wrapped(row: str) -> str:
    """Return a row on as many lines as it needs, with its words and addresses whole."""
    return textwrap.fill(row, WIDTH, subsequent_indent=18 * " ", break_long_words=False, break_on_hyphens=False)


WIDTH = 72  # characters: what the page's column holds; BibTeX takes the end of a line for a space
MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")


class CiteThis(SphinxDirective):
    """Shows the course's citation as text and as BibTeX."""

    def run(self) -> list[nodes.Node]:
        """Return both, made from the citation file."""
        path = Path(self.env.app.srcdir, FILE)
        self.env.note_dependency(str(path))
        citation = read_citation(path)
        address = self.config.site_address
        bibtex = as_bibtex(citation, address)
        return [
            nodes.paragraph("", as_text(citation, address), classes=["cite-this"]),
            nodes.literal_block(bibtex, bibtex, language="bibtex"),
        ]


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directive."""
    app.add_directive("cite-this", CiteThis)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
