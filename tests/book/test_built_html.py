"""The files of the built book: links lead somewhere, nothing comes from a third party, no cell failed."""

import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

from conftest import Site

LOADING_RELS = {"stylesheet", "icon", "preload", "modulepreload", "preconnect", "dns-prefetch", "manifest"}


class Page(HTMLParser):
    """One page's anchors, its links, and what a browser loads for it unasked."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.anchors: set[str] = {""}
        self.links: set[str] = set()
        self.loaded: set[str] = set()
        self.feed(file.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.anchors |= {given[name] for name in ("id", "name") if name in given}
        if "src" in given:
            self.loaded.add(given["src"])
        if "srcset" in given:
            self.loaded |= {part.split()[0] for part in given["srcset"].split(",")}
        if "href" in given:
            loads = tag == "link" and LOADING_RELS & set(given.get("rel", "").lower().split())
            (self.loaded if loads else self.links).add(given["href"])
        if given.get("http-equiv", "").lower() == "refresh":
            self.links.add(given["content"].partition("url=")[2])
        self.loaded |= set(re.findall(r"url\([\"']?([^\"')]+)", given.get("style", "")))


def pages_of(folder: Path) -> dict[Path, Page]:
    """Parse every page of a built site."""
    # webpack-macros are templates that the theme leaves among its files
    return {file: Page(file) for file in folder.rglob("*.html") if "_static" not in file.parts}


def is_outside(address: str) -> bool:
    """Tell whether an address names a host."""
    return bool(urlsplit(address).netloc)


def broken_links(folder: Path) -> list[str]:
    """List the links that lead to no file or to no anchor of a file, and files that are loaded but absent."""
    pages = pages_of(folder)
    broken = []
    for file, page in pages.items():
        for link in sorted(page.links | page.loaded):
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            start = folder if parts.path.startswith("/") else file.parent  # of a page that is shown at any depth
            target = (start / unquote(parts.path).lstrip("/")).resolve() if parts.path else file
            known = pages.get(target)
            if not target.is_file() or (known and unquote(parts.fragment) not in known.anchors):
                broken.append(f"{file.relative_to(folder)}: {link}")
    return broken


def third_parties(folder: Path) -> list[str]:
    """List what pages and their styles would load from another host."""
    found = [
        f"{file.relative_to(folder)}: {address}"
        for file, page in pages_of(folder).items()
        for address in sorted(page.loaded)
        if is_outside(address)
    ]
    for style in folder.rglob("*.css"):
        addresses = re.findall(r"(?:url\(|@import )[\"']?([^\"')]+)", style.read_text())
        found += [f"{style.relative_to(folder)}: {address}" for address in addresses if is_outside(address)]
    return found


def failed_cells(folder: Path) -> list[str]:
    """List the pages where a cell raised: also in a slider's callback, which the build itself forgives."""
    pattern = re.compile(r'"output_type":\s*"error"|class="output traceback')
    return [str(file.relative_to(folder)) for file in pages_of(folder) if pattern.search(file.read_text())]


def test_every_link_leads_somewhere(site: Site) -> None:
    assert not broken_links(site.folder)


def test_nothing_comes_from_a_third_party(site: Site) -> None:
    assert not third_parties(site.folder)


def test_no_cell_failed(site: Site) -> None:
    assert not failed_cells(site.folder)


def test_tables_with_menus_get_their_script_and_others_none(site: Site) -> None:
    """The script stands on a page whose tables have menus, and a link to a notebook leads to its page."""
    claims, glossary = ((site.folder / f"book/{page}.html").read_text() for page in ("claims", "reference/glossary"))
    assert "_static/filter.js" in claims
    assert 'href="moe.html#what-a-token-computes">Mixture of experts</a>' in claims
    assert "filter.js" not in glossary


def test_the_checks_can_fail(tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text(
        '<a href="#here">no</a><a href="b.html#there">no</a><a href="c.html">no</a><p id="ok"></p><a href="#ok">yes</a>'
        '<a href="/b.html">yes</a><a href="/d.html">no</a>'
        '<script src="https://example.org/x.js"></script><link rel="stylesheet" href="//example.org/x.css">'
        '<script type="application/json">{"output_type": "error"}</script>'
    )
    (tmp_path / "b.html").write_text('<a href="a.html#ok">yes</a><a href="https://example.org/">yes</a>')
    (tmp_path / "s.css").write_text("@import 'https://example.org/y.css'; p { background: url(b.png) }")
    assert broken_links(tmp_path) == ["a.html: #here", "a.html: /d.html", "a.html: b.html#there", "a.html: c.html"]
    assert third_parties(tmp_path) == [
        "a.html: //example.org/x.css",
        "a.html: https://example.org/x.js",
        "s.css: https://example.org/y.css",
    ]
    assert failed_cells(tmp_path) == ["a.html"]
