"""The book as one file: `tools/book_pdf.py` on a small built site, read back."""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pypdf import PdfReader

ROOT = Path(__file__).parents[2]

SIDEBAR = '<div id="pst-primary-sidebar"><nav>{links}</nav></div>'
FOOT = '<div class="bd-footer-content"><p>As of 1 June 2026.</p><p class="foot-source">Source</p></div>'
PAGES = {
    "book/intro.html": "<h1>Front</h1><p>Begin with <a href='one.html#far'>the far part</a>.</p>",
    "book/one.html": "<h1>1. A title that is long enough to be set on two lines of the sheet of paper that it lies on"
    "<a class='headerlink' href='#'>#</a></h1><p>Prose. <a href='#far'>Below</a>.</p>"
    "<h2 style='break-before: page' id='far'>Far part</h2><h3>Deeper</h3>"
    "<p><a href='intro.html'>Back</a> <a href='https://example.org/'>out</a> <a href='data.csv'>data</a></p>"
    "<pre>" + 130 * "x" + "</pre>",
}


@pytest.fixture(scope="module")
def book(tmp_path_factory: pytest.TempPathFactory) -> PdfReader:
    """The small site as one file."""
    if not any(map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))):
        pytest.skip("no Chromium on this machine (Debian: apt-get install chromium)")
    folder = tmp_path_factory.mktemp("pdf")
    (folder / "book").mkdir()
    links = "".join(f'<a href="{name}">page</a>' for name in ("search.html", *PAGES, "https://example.org/"))
    (folder / "search.html").write_text(f"<!doctype html>{SIDEBAR.format(links=links)}{FOOT}")
    for name, html in PAGES.items():
        style = (ROOT / "book/web/print.css").read_text()
        (folder / name).write_text(f"<!doctype html><style>{style}</style><article class='bd-article'>{html}</article>")
    made = pdf("--html", str(folder), "--out", str(folder / "book.pdf"))
    assert made.returncode == 0, made.stderr
    return PdfReader(folder / "book.pdf")


def pdf(*options: str) -> subprocess.CompletedProcess[str]:
    """Run the tool."""
    command = [sys.executable, str(ROOT / "tools" / "book_pdf.py"), *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=200)


def words(text: str) -> str:
    return " ".join(text.split())


def test_cover_contents_and_pages_are_numbered(book: PdfReader) -> None:
    sheets = [words(page.extract_text()) for page in book.pages]
    assert len(sheets) == 5
    assert "Why tokens got cheap" in sheets[0] and "As of 1 June 2026." in sheets[0] and "Source" not in sheets[0]
    assert sheets[1].startswith("Contents Front 3 1. A title that is long enough") and "Far part 5" in sheets[1]
    assert "Deeper" not in sheets[1]
    assert [sheet.split()[-1] for sheet in sheets[1:]] == ["2", "3", "4", "5"]


def test_bookmarks_name_pages_and_sections(book: PdfReader) -> None:
    front, one, parts = book.outline
    title = "1. A title that is long enough to be set on two lines of the sheet of paper that it lies on"
    assert [str(item.title) for item in (front, one, *parts)] == ["Front", title, "Far part"]  # type: ignore[union-attr]
    assert [book.get_destination_page_number(item) for item in (front, one, *parts)] == [2, 3, 4]  # type: ignore[arg-type,list-item]


def targets(book: PdfReader, sheet: int) -> list[Any]:
    """Where a sheet's links lead: the number of a sheet, or an address."""
    links = [link.get_object() for link in book.pages[sheet].get("/Annots", ())]
    sheets = {page.indirect_reference.idnum: n for n, page in enumerate(book.pages) if page.indirect_reference}
    return [
        sheets[list.__getitem__(link["/Dest"], 0).idnum] if "/Dest" in link else str(link["/A"]["/URI"])
        for link in links
    ]


def test_links_lead_within_the_file_or_out_of_it_and_nowhere_else(book: PdfReader) -> None:
    assert targets(book, 2) == [4]
    assert targets(book, 3)[-1] == 4
    assert targets(book, 4) == [2, "https://example.org/"]


def test_a_folder_without_a_book_is_refused(tmp_path: Path) -> None:
    done = pdf("--html", str(tmp_path), "--out", str(tmp_path / "book.pdf"))
    assert done.returncode == 2 and f"{tmp_path} holds no built book; `make book` builds it" in done.stderr
    assert not (tmp_path / "book.pdf").exists()
