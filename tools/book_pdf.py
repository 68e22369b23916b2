"""Join the built book into one PDF: `make pdf`.

Chromium prints each page of `_build/html` as its readers would; then the pages get a cover, a list of contents, page
numbers, bookmarks down to the sections, and links that lead to places of the same file.
"""

import argparse
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from html import escape
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import unquote, urldefrag

from playwright.sync_api import BrowserContext, ViewportSize, sync_playwright
from pypdf import PdfReader, PdfWriter
from pypdf.generic import ArrayObject, DictionaryObject, NameObject, NullObject, NumberObject

ROOT = Path(__file__).parents[1]
TITLE = "Why tokens got cheap"
SUBTITLE = "The engineering behind the 2026 price cuts"
STYLE = """<style>
  @page { size: A4; margin: 18mm 17mm 20mm }
  body { font: 11pt/1.5 system-ui, sans-serif; color: #111; margin: 0 }
  h1 { font-size: 30pt; line-height: 1.15; color: #0f6674; margin: 55mm 0 6mm }
  h2 { font-size: 18pt }
  .cover { break-after: page }
  ol { list-style: none; padding: 0 }
  li { display: flex; gap: 1em; break-inside: avoid }
  li.page { font-weight: 600; margin-top: 2.5mm; break-after: avoid }
  li.section { padding-left: 2em; font-size: 10pt }
  li > :first-child { flex: 1 }
</style>"""
NUMBER_STYLE = """<style>
  @page { margin: 0 }
  div { height: 297mm; break-after: page; position: relative }
  p { position: absolute; bottom: 9mm; right: 17mm; margin: 0; font-size: 9pt; color: #48566b }
</style>"""
NO_FOOT = ".bd-main .bd-footer-content { display: none !important }"  # the cover says it once

# Chromium's outline leaves out the space where a heading is wrapped, so the titles come from the page.
TITLES = r"""() => [...document.querySelectorAll('article :is(h1, h2, h3, h4, h5, h6)')].map((heading) => {
  const copy = heading.cloneNode(true);
  copy.querySelectorAll('.headerlink').forEach((link) => link.remove());
  return [copy.textContent.trim().replace(/\s+/g, ' '), Number(heading.tagName[1]) - 1];
})"""
# Printed tables of commands are wide: a smaller type, to a point, keeps their lines whole; longer lines wrap.
FIT = """() => document.querySelectorAll('article pre').forEach((pre) => {
  pre.style.setProperty('white-space', 'pre', 'important');
  const { fontSize, paddingLeft, paddingRight } = getComputedStyle(pre);
  const padding = parseFloat(paddingLeft) + parseFloat(paddingRight);
  const share = (pre.clientWidth - padding) / (pre.scrollWidth - padding + 2);
  if (share < 1 && share > 0.66) pre.style.fontSize = `${0.99 * share * parseFloat(fontSize)}px`;
  pre.style.removeProperty('white-space');
})"""
SHEET: ViewportSize = {"width": 665, "height": 980}  # CSS pixels between the margins of print.css on A4
LINKS = "() => [...document.querySelectorAll('#pst-primary-sidebar nav a')].map((link) => link.href)"
FOOT = "() => [...document.querySelectorAll('.bd-footer-content p:not(.foot-source)')].map((p) => p.innerText.trim())"


@dataclass(frozen=True)
class Printed:
    """A page of the book on paper."""

    reader: PdfReader  # its sheets
    titles: list[tuple[str, int]]  # its headings in order, and how deep each is: 0 the page's own, 1 a section's
    first: int = 0  # the place of its first sheet in the joined file, from 0


@dataclass(frozen=True)
class Entry:
    """A line of the list of contents."""

    title: str  # as its heading says
    level: int  # 0: a page of the book, 1: a section of it
    sheet: int  # of the joined file, from 0


class Quiet(SimpleHTTPRequestHandler):
    """Serves without a line of log for each file."""

    def log_message(self, *args: object) -> None:
        """Say nothing."""


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serve a folder on a free port of this machine."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()


# -- printing -------------------------------------------------------------------------------------------------------


def pages_and_foot(context: BrowserContext, home: str) -> tuple[list[str], list[str]]:
    """Return the paths of the book's pages in their order, and the lines of every page's foot."""
    page = context.new_page()
    page.goto(f"{home}search.html")  # no page of the book itself, so it links to each of them
    links, foot = page.evaluate(LINKS), page.evaluate(FOOT)
    page.close()
    paths = (urldefrag(link)[0].removeprefix(home) for link in links if link.startswith(home))
    return list(dict.fromkeys(path for path in paths if path not in ("", "search.html"))), list(filter(None, foot))


def printed(context: BrowserContext, address: str) -> Printed:
    """Print a page, with its headings as an outline."""
    page = context.new_page()
    page.goto(address)
    page.evaluate("async () => { await window.MathJax?.startup?.promise; await document.fonts.ready }")
    page.add_style_tag(content=NO_FOOT)
    titles = page.evaluate(TITLES)
    page.emulate_media(media="print")
    page.set_viewport_size(SHEET)
    page.evaluate(FIT)
    data = page.pdf(prefer_css_page_size=True, outline=True, tagged=True)
    page.close()
    return Printed(PdfReader(BytesIO(data)), [(title, level) for title, level in titles])


def printed_html(context: BrowserContext, body: str) -> PdfReader:
    """Print a document of our own."""
    page = context.new_page()
    page.set_content(f'<!doctype html><html lang="en"><title>{TITLE}</title>{STYLE}{body}')
    data = page.pdf(prefer_css_page_size=True)
    page.close()
    return PdfReader(BytesIO(data))


# -- joining --------------------------------------------------------------------------------------------------------


def join(context: BrowserContext, home: str) -> PdfWriter:
    """Return the whole book."""
    paths, foot = pages_and_foot(context, home)
    pages = [printed(context, home + path) for path in paths]
    front = printed_html(context, front_matter(foot, headings(placed(pages, 0))))
    pages = placed(pages, len(front.pages))
    entries = headings(pages)
    front = printed_html(context, front_matter(foot, entries))  # now with the right numbers, on as many sheets
    writer = PdfWriter()
    for reader in (front, *(page.reader for page in pages)):
        writer.append(reader, import_outline=False)
    relink(writer, dict(zip(paths, pages, strict=True)), home)
    number_sheets(context, writer)
    add_bookmarks(writer, entries)
    writer.add_metadata({"/Title": f"{TITLE}: {SUBTITLE}", "/Author": "The costlab authors"})
    writer.compress_identical_objects()
    return writer


def placed(pages: list[Printed], first: int) -> list[Printed]:
    """Return the pages one behind another, the first at a place of the joined file."""
    found = []
    for page in pages:
        found.append(Printed(page.reader, page.titles, first))
        first += len(page.reader.pages)
    return found


def headings(pages: list[Printed]) -> list[Entry]:
    """Return each page's title and its sections, with their places.

    Raises:
        RuntimeError: what Chromium put into a page's outline are not the page's headings.
    """
    entries = []
    for page in pages:
        sheets = [page.reader.get_destination_page_number(item) or 0 for item in flat(page.reader.outline)]
        if len(sheets) != len(page.titles):
            raise RuntimeError(f"{len(sheets)} places in the outline for {len(page.titles)} headings: {page.titles}")
        for (title, level), sheet in zip(page.titles, sheets, strict=True):
            entries += [Entry(title, level, page.first + sheet)] if level < 2 else []
    return entries


def flat(outline: list[Any]) -> Iterator[Any]:
    """Yield an outline's items in order, whatever their depth."""
    for item in outline:
        if isinstance(item, list):
            yield from flat(item)
        else:
            yield item


def front_matter(foot: list[str], entries: list[Entry]) -> str:
    """Return cover and contents as HTML; the number of a sheet is its place in the file, counted from 1."""
    lines = "".join(f"<p>{escape(line)}</p>" for line in (SUBTITLE, *foot))
    rows = "".join(
        f'<li class="{"section" if entry.level else "page"}"><span>{escape(entry.title)}</span>{entry.sheet + 1}</li>'
        for entry in entries
    )
    return f'<div class="cover"><h1>{TITLE}</h1>{lines}</div><h2>Contents</h2><ol>{rows}</ol>'


def number_sheets(context: BrowserContext, writer: PdfWriter) -> None:
    """Write each sheet's number at its foot; the cover has none."""
    rows = "".join(f"<div><p>{n + 1}</p></div>" for n in range(len(writer.pages)))
    for sheet, number in list(zip(writer.pages, printed_html(context, NUMBER_STYLE + rows).pages, strict=False))[1:]:
        sheet.merge_page(number)
        sheet.compress_content_streams()


def add_bookmarks(writer: PdfWriter, entries: list[Entry]) -> None:
    """Give the file the outline that programs show beside it."""
    chapter = None
    for entry in entries:
        parent = chapter if entry.level else None
        item = writer.add_outline_item(title=entry.title, page_number=entry.sheet, parent=parent)
        chapter = chapter if entry.level else item


def relink(writer: PdfWriter, pages: dict[str, Printed], home: str) -> None:
    """Let links between the book's pages lead to places of the file; drop those to files that it does not hold."""
    for path, page in pages.items():
        for n in range(len(page.reader.pages)):
            sheet = writer.pages[page.first + n]
            links = [link.get_object() for link in sheet.get("/Annots", ())]
            if links:
                sheet[NameObject("/Annots")] = ArrayObject(
                    link for link in links if kept(link, path, writer, pages, home)
                )


def kept(link: DictionaryObject, path: str, writer: PdfWriter, pages: dict[str, Printed], home: str) -> bool:
    """Let one link of the page at `path` lead to a place of the file; tell whether it leads anywhere."""
    address = str(link.get("/A", {}).get("/URI", ""))
    if isinstance(link.get("/Dest"), str):
        name = str(link["/Dest"])
    elif address.startswith(home):
        path, name = urldefrag(address.removeprefix(home))
    else:
        return True
    if path not in pages:
        return False
    sheet, top = place_of(pages[path], name)
    spot = [writer.pages[sheet].indirect_reference, NameObject("/XYZ"), NullObject(), top, NullObject()]
    link.pop("/A", None)
    link[NameObject("/Dest")] = ArrayObject(spot)
    return True


def place_of(page: Printed, name: str) -> tuple[int, NumberObject | NullObject]:
    """Return the sheet of the joined file, and the height on it, where a page's anchor lies; else where it begins."""
    places = page.reader.named_destinations  # keys are PDF names, with a slash, in links as in lists
    place = places.get(f"/{unquote(name).removeprefix('/')}")
    if place is None or place.top is None:
        return page.first, NullObject()
    return page.first + (page.reader.get_destination_page_number(place) or 0), NumberObject(int(place.top))


def main() -> int:
    """Print the built book into one file."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--html", type=Path, default=ROOT / "_build" / "html", help="the built book")
    parser.add_argument("--out", type=Path, default=ROOT / "_build" / "why-tokens-got-cheap.pdf", help="where to write")
    given = parser.parse_args()
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        print("no Chromium on this machine (Debian: apt-get install chromium)", file=sys.stderr)
        return 2
    if not (given.html / "search.html").is_file():
        print(f"{given.html} holds no built book; `make book` builds it", file=sys.stderr)
        return 2
    with sync_playwright() as playwright, served(given.html) as home:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        context = browser.new_context(color_scheme="light")
        context.route("**/_static/live_sliders/*.mjs", lambda route: route.abort())  # paper has the saved figures
        writer = join(context, home)
        browser.close()
    given.out.parent.mkdir(parents=True, exist_ok=True)
    writer.write(given.out)
    print(f"{given.out}: {len(writer.pages)} pages, {given.out.stat().st_size / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
