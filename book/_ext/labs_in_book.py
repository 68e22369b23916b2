"""The labs in the book: an offer at the end of each chapter that has one, a table of all, and what the links lead to.

A lab belongs to the chapter of its name. All that is said of it is read from its student version, so a lab that is
added to `labs/release` appears by itself. Where the site has Python for the browser, the labs open in a JupyterLite
beside it (`lite.py`); elsewhere they are there to download.
"""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from costlab.lab import without_solutions
from docutils import nodes
from live_sliders import wheel
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

import lite

RELEASE = "labs/release/{0}/{0}.ipynb"  # from the repository's root
SOURCE = "labs/source/{0}/{0}.ipynb"
DOWNLOAD = "labs/{0}.ipynb"  # from the site's root
OPEN = "lite/notebooks/index.html?path={0}.ipynb"
GITHUB = "github.com"


@dataclass(frozen=True)
class Lab:
    """What the book says of a lab."""

    name: str  # also its chapter's
    title: str  # of the notebook, such as "Lab: a mixture of experts, by hand"
    builds: tuple[str, ...]  # what each task has the learner write
    minutes: str  # "60 to 90"
    points: float  # that checks give
    by_hand: float  # that a person gives
    text: str  # the student version

    @property
    def worth(self) -> str:
        """The points that checks give, and those that a person gives."""
        return f"{self.points:g}" + (f" + {self.by_hand:g}" if self.by_hand else "")


def read_labs(root: Path) -> dict[str, Lab]:
    """Return the labs of a repository by name, in the order of their names."""
    paths = sorted(root.glob(RELEASE.format("*")))
    return {path.stem: read_lab(path) for path in paths if path.stem == path.parent.name}


def read_lab(path: Path) -> Lab:
    """Read one from its student version.

    Raises:
        ValueError: naming what its first cell should say and does not.
    """
    text = path.read_text(encoding="utf-8")
    cells = json.loads(text)["cells"]
    head = "".join(cells[0]["source"])
    title = re.search(r"^# (.+)$", head, re.M)
    minutes = re.search(r"\*\*It takes\*\* (?:about )?(\d+(?: to \d+)?) minutes", head)
    tasks = re.findall(r"^\| *\d+ *\| *(.+?) *\|", head, re.M)
    for found, wanted in (
        (title, "# Title"),
        (minutes, "**It takes** about 80 minutes"),
        (tasks, "| task | you write"),
    ):
        if not found:
            raise ValueError(f"{path}: the first cell should say {wanted!r}")
    assert title and minutes
    marks = [(cell, cell["metadata"].get("nbgrader", {})) for cell in cells]
    graded = [(mark["points"], mark["solution"]) for _, mark in marks if mark.get("grade")]
    machine = sum(points for points, answer in graded if not answer)
    by_hand = sum(points for points, answer in graded if answer)
    return Lab(path.stem, title[1], tuple(tasks), minutes[1], machine, by_hand, text)


# -- links ----------------------------------------------------------------------------------------------------------


def links(app: Sphinx, lab: Lab, up: str) -> str:
    """Return the ways to a lab as HTML.

    Args:
        app: the build.
        lab: which.
        up: from the page to the site's root, such as "../".
    """
    ways = [(up + OPEN.format(lab.name), "Open in the browser", "")] if has_python(app) else []
    ways += [(up + DOWNLOAD.format(lab.name), "Download", " download")]
    ways += [(address, name, "") for name, address in elsewhere(app, lab)]
    first, *others = [f'<a href="{escape(address)}"{more}>{text}</a>' for address, text, more in ways]
    return " ".join([first.replace("<a ", '<a class="lab-open" ', 1), *others])


def has_python(app: Sphinx) -> bool:
    """Tell whether the site has Python for the browser."""
    return bool(getattr(app, "live_places", None))


def elsewhere(app: Sphinx, lab: Lab) -> list[tuple[str, str]]:
    """Return names and addresses of services that run a lab from the repository; none where no repository is known.

    Colab installs nothing by itself, so it is offered where the notebook does: see `labs/derive.py`.
    """
    repository = app.config.site_repository
    if not repository:
        return []
    parts = urlsplit(repository)
    place, branch = parts.path.strip("/"), app.config.site_source_path.strip("/").rpartition("/")[2]
    path = RELEASE.format(lab.name)
    kept = f"gh/{place}" if parts.netloc == GITHUB else f"git/{quote(repository.rstrip('/'), safe='')}"
    ways = [("Binder", f"https://mybinder.org/v2/{kept}/{branch}?urlpath=lab/tree/{path}")]
    if parts.netloc == GITHUB and f"git+{repository.rstrip('/')}" in lab.text:
        ways.insert(0, ("Colab", f"https://colab.research.google.com/github/{place}/blob/{branch}/{path}"))
    return ways


# -- at the end of a chapter ----------------------------------------------------------------------------------------


def offer_lab(app: Sphinx, pagename: str, template: str, context: dict[str, Any], doctree: nodes.document) -> None:
    """Offer a chapter's lab below its text."""
    lab = app.labs.get(Path(pagename).name)  # type: ignore[attr-defined]
    if lab and doctree is not None and pagename == f"book/{lab.name}":
        context["body"] += offer(app, lab, "../" * pagename.count("/"))


def offer(app: Sphinx, lab: Lab, up: str) -> str:
    """Return the offer."""
    tasks = "; ".join(lab.builds)
    points = f"{lab.points:g} points" + (f" and {lab.by_hand:g} from a person who reads" if lab.by_hand else "")
    return (
        f'<aside class="lab-offer" aria-label="The lab of this chapter"><p class="lab-title">{escape(lab.title)}</p>'
        f"<p>You write: {escape(tasks)}. {escape(lab.minutes)} minutes, {points}.</p>"
        f'<p class="lab-links">{links(app, lab, up)}</p></aside>'
    )


# -- the table ------------------------------------------------------------------------------------------------------


class LabTable(SphinxDirective):
    """Shows all labs with their chapters and the ways to them, in the order of the chapters."""

    def run(self) -> list[nodes.Node]:
        """Return the table."""
        app, up = self.env.app, "../" * self.env.docname.count("/")
        for name in app.labs:  # type: ignore[attr-defined]
            self.env.note_dependency(str(Path(app.srcdir, RELEASE.format(name))))
        heads = ("lab", "you write", "minutes", "points")
        body = nodes.tbody("", *(self._row(lab, links(app, lab, up)) for lab in in_order(app)))
        columns = [nodes.colspec(colwidth=1) for _ in heads]
        row = nodes.row("", *(nodes.entry("", nodes.paragraph("", head)) for head in heads))
        group = nodes.tgroup("", *columns, nodes.thead("", row), body, cols=len(heads))
        return [nodes.table("", group, classes=["lab-table"])]

    def _row(self, lab: Lab, ways: str) -> nodes.row:
        title = nodes.paragraph("", "", nodes.strong("", lab.title.removeprefix("Lab: ")))
        run = nodes.paragraph("", "", nodes.raw("", f'<span class="lab-links">{ways}</span>', format="html"))
        chapter = nodes.paragraph("", "after: ", self._chapter(lab))
        cells: list[list[nodes.Node]] = [[title, chapter, run]]
        cells += [[nodes.paragraph("", text)] for text in ("; ".join(lab.builds), lab.minutes, lab.worth)]
        return nodes.row("", *(nodes.entry("", *cell) for cell in cells))

    def _chapter(self, lab: Lab) -> nodes.Node:
        where = {"refdomain": "std", "reftype": "doc", "reftarget": f"/book/{lab.name}", "refexplicit": False}
        return addnodes.pending_xref("", nodes.inline("", lab.name), refdoc=self.env.docname, refwarn=True, **where)


def in_order(app: Sphinx) -> list[Lab]:
    """Return the labs in the order of their chapters; those without one last."""
    toc = (Path(app.srcdir) / "_toc.yml").read_text(encoding="utf-8")
    places = {name: place for place, name in enumerate(re.findall(r"file: book/([\w-]+)$", toc, re.M))}
    return sorted(app.labs.values(), key=lambda lab: places.get(lab.name, len(places)))  # type: ignore[attr-defined]


# -- the site -------------------------------------------------------------------------------------------------------


def collect(app: Sphinx) -> None:
    """Read the labs before the pages are."""
    app.labs = read_labs(Path(app.srcdir))  # type: ignore[attr-defined]


def finish(app: Sphinx, error: Exception | None) -> None:
    """Put the notebooks into the site, and the JupyterLite in which they open."""
    if error is not None or app.builder.format != "html" or not app.labs:  # type: ignore[attr-defined]
        return
    site, labs = Path(app.outdir), app.labs  # type: ignore[attr-defined]
    for lab in labs.values():
        path = site / DOWNLOAD.format(lab.name)
        path.parent.mkdir(exist_ok=True)
        path.write_text(lab.text, encoding="utf-8")
    shutil.rmtree(site / "lite", ignore_errors=True)
    if not has_python(app):
        # plain text and no warning: a book built offline is complete, so `-W` must not fail it
        print("labs: no Python for the browser, so the labs are there to download and not to open")
        return
    lite.build(site, python_of(app), notebooks(Path(app.srcdir), labs))


def python_of(app: Sphinx) -> lite.Python:
    """Return what of Python the live sliders have put into the site."""
    places = app.live_places  # type: ignore[attr-defined]
    folders = [Path(app.confdir, folder) for folder in app.config.live_wheels]
    projects = wheel.read_projects(folders, app.config.live_wheel_excludes)
    at = "_static/live_sliders/"
    return lite.Python(
        at + places["runtime"].rstrip("/"), tuple(at + each for each in places["wheels"]), tuple(projects)
    )


def notebooks(root: Path, labs: dict[str, Lab]) -> lite.Files:
    """Return the student versions, and under `checks/` the solved ones without their answers, which scores need."""
    found = {f"{lab.name}.ipynb": lab.text.encode() for lab in labs.values()}
    for name in labs:
        solved = json.loads((root / SOURCE.format(name)).read_text(encoding="utf-8"))
        found[f"checks/{name}.ipynb"] = json.dumps(without_solutions(solved), ensure_ascii=False).encode()
    return found


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directive and connect the steps."""
    app.add_directive("lab-table", LabTable)
    app.connect("builder-inited", collect)
    app.connect("html-page-context", offer_lab, priority=790)  # before the offer to run the page
    app.connect("build-finished", finish, priority=900)  # after the sliders' security policy, which is for pages
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
