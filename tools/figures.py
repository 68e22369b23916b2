"""Write the book's figures for slides: `make figures`.

Each drawing of the built book becomes an SVG and a PDF of its own on a white ground of 16:9, with its question, its
key, its number and its licence; a drawing in steps becomes one for each step, and one that is taller than a slide a
taller one. Text stays text. All of them stand in one PDF too, and `index.html` shows them with their captions. Sliders
stand where they stand when a page is opened.
"""

import argparse
import re
import shutil
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape, unescape
from io import BytesIO
from pathlib import Path
from xml.etree import ElementTree

from playwright.sync_api import Page, sync_playwright
from pypdf import PdfReader, PdfWriter

ROOT = Path(__file__).parents[1]
BOOK = "Why tokens got cheap"
LICENCE = "https://creativecommons.org/licenses/by/4.0/"
FONT = "system-ui, 'Segoe UI', 'Helvetica Neue', Arial, sans-serif"
INK, MUTED = "#1b2733", "#48566b"
WIDTH, HEIGHT, EDGE = 960, 540, 36  # of a slide and its margins, in its own units
CHARACTER = 0.52  # of the type's size: how wide one is, on the average
LEAST_SCALE = 1.0  # of a drawing's own size; below it, the slide grows taller instead

FIGURE = re.compile(r'<figure\b[^>]*\bid="fig-([\w-]+)".*?</figure>', re.S)
DRAWING = re.compile(
    r'<div class="drawing(?: drawing-only)?">.*?(?=<div class="drawing(?: drawing-only)?">|<figcaption|\Z)', re.S
)
PICTURE = re.compile(r'<svg class="drawing-(?:wide|narrow)".*?</svg>', re.S)
TITLE = re.compile(r'<p class="drawing-title">(.*?)</p>', re.S)
STEP = re.compile(r'<p class="drawing-step">(.*?)</p>', re.S)
KEY = re.compile(r'<ul class="drawing-key">(.*?)</ul>', re.S)
ENTRY = re.compile(r'<span class="drawing-(\w+)" style="color:\s*([^"]+)"></span>(.*?)</li>', re.S)
SETTING = re.compile(r'<ul class="live-settings">(.*?)</ul>', re.S)
HEADING = re.compile(r'<h1>((?:(?!</h1>).)*?)<a class="headerlink"', re.S)  # the theme has a title of its own
NUMBER = re.compile(r'<span class="caption-number">(.*?)</span>', re.S)
CAPTION = re.compile(r'<span class="caption-text">(.*?)</span><a class="headerlink"', re.S)


@dataclass(frozen=True)
class Entry:
    """One colour of a key."""

    text: str
    colour: str  # as SVG has it
    style: str  # solid, dashed or dotted line; "area" for a filled patch


@dataclass(frozen=True)
class Figure:
    """A drawing of the book, on its own."""

    slug: str  # its name in the book without "fig-", and the step
    title: str  # the question that it answers
    below: str  # the step's sentence, or where its sliders stand
    key: tuple[Entry, ...]
    picture: str  # SVG
    number: str  # as in "Figure 3.2"
    caption: str
    chapter: str  # the title of its page
    page: str  # the page's file in the built book


# --- from a built page -------------------------------------------------------------------------------------------


def figures(page: str, html: str) -> Iterator[Figure]:
    """Yield the drawings of a built page, in their order.

    Args:
        page: the page's file in the built book.
        html: what stands in it.
    """
    chapter = words(HEADING.search(html))
    for found in FIGURE.finditer(html):
        drawings = [each[0] for each in DRAWING.finditer(found[0]) if PICTURE.search(each[0])]
        settings = re.findall(r"<li>(.*?)</li>", match[1]) if (match := SETTING.search(found[0])) else []
        whole = found[0].partition('<div class="drawing">')[0]  # drawings in steps have a title together
        for place, drawing in enumerate(drawings, 1):
            picture = PICTURE.search(drawing)
            assert picture is not None
            yield Figure(
                slug=found[1] + (f"-{place}" if len(drawings) > 1 else ""),
                title=words(TITLE.search(drawing)) or words(TITLE.search(whole)),
                below=words(STEP.search(drawing)) or " · ".join(map(plain, settings)),
                key=entries(drawing),
                picture=picture[0],
                number=words(NUMBER.search(found[0])),
                caption=words(CAPTION.search(found[0])),
                chapter=chapter,
                page=page,
            )


def entries(drawing: str) -> tuple[Entry, ...]:
    """Return the key that a wide drawing shows."""
    found = KEY.search(drawing)
    return tuple(
        Entry(plain(text), ink(colour), style) for style, colour, text in ENTRY.findall(found[1] if found else "")
    )


def words(found: re.Match[str] | None) -> str:
    """Return what a match holds, as plain text."""
    return plain(found[1]) if found else ""


def plain(html: str) -> str:
    """Return HTML as plain text."""
    return " ".join(unescape(re.sub(r"<[^>]+>", "", html)).split())


def ink(colour: str) -> str:
    """Return a colour that needs no page around it."""
    return colour.strip().replace("currentColor", INK)


# --- as a slide --------------------------------------------------------------------------------------------------


def slide(figure: Figure) -> str:
    """Return a figure as an SVG that needs nothing around it."""
    parts: list[str] = []
    y = lines(parts, figure.title, 26, EDGE + 24, INK, "700")
    y = key_rows(parts, figure.key, y + 8)
    wide, high = view_box(figure.picture)
    below = textwrap.wrap(figure.below, int((WIDTH - 2 * EDGE) / 15 / CHARACTER))
    tail = 22 * len(below) + 46
    scale = min((WIDTH - 2 * EDGE) / wide, max((HEIGHT - y - tail) / high, LEAST_SCALE))
    height = max(HEIGHT, round(y + scale * high + tail))
    x, free = (WIDTH - scale * wide) / 2, height - y - tail - scale * high
    parts.append(placed(figure.picture, x, y + free / 3, scale * wide, scale * high))
    lines(parts, figure.below, 15, height - tail + 26, INK)
    foot = f"{figure.number} · {BOOK}: {figure.chapter} · CC BY 4.0"
    parts.append(f'<text x="{EDGE}" y="{height - 14:.1f}" font-size="11" fill="{MUTED}">{escape(foot)}</text>')
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" '
        f'width="{WIDTH}" height="{height:.0f}" font-family="{FONT}">'
        f"<title>{escape(figure.title or figure.caption)}</title>"
        f"<desc>{escape(described(figure.picture))}</desc><metadata>{escape(foot)}, {LICENCE}</metadata>"
        f'<rect width="100%" height="100%" fill="#ffffff"/>{"".join(parts)}</svg>'
    )


def lines(parts: list[str], text: str, size: float, y: float, colour: str, weight: str = "400") -> float:
    """Add text on as many lines as it needs, the first at `y`; return the height below the last."""
    for line in textwrap.wrap(text, int((WIDTH - 2 * EDGE) / size / CHARACTER)):
        look = f'font-size="{size}" font-weight="{weight}" fill="{colour}"'
        parts.append(f'<text x="{EDGE}" y="{y:.1f}" {look}>{escape(line)}</text>')
        y += 1.25 * size
    return y - 0.6 * size


def key_rows(parts: list[str], key: tuple[Entry, ...], y: float) -> float:
    """Add a key, in rows; return the height below it."""
    if not key:
        return y
    x, size = EDGE, 15.0
    y += size
    for entry in key:
        wide = 34 + CHARACTER * size * len(entry.text) + 18
        if x > EDGE and x + wide > WIDTH - EDGE:
            x, y = EDGE, y + 1.5 * size
        parts.append(swatch(entry, x, y - 0.33 * size))
        parts.append(f'<text x="{x + 34}" y="{y:.1f}" font-size="{size}" fill="{INK}">{escape(entry.text)}</text>')
        x += round(wide)
    return y + 0.8 * size


def swatch(entry: Entry, x: float, y: float) -> str:
    """Return the colour of a key's entry."""
    if entry.style == "area":
        return f'<rect x="{x + 6}" y="{y - 7:.1f}" width="20" height="14" fill="{entry.colour}"/>'
    dashes = {"dashed": ' stroke-dasharray="7 4"', "dotted": ' stroke-dasharray="3 3"'}.get(entry.style, "")
    line = f'<path d="M{x} {y:.1f}h26" fill="none" stroke="{entry.colour}" stroke-width="3"{dashes}/>'
    return line


def view_box(picture: str) -> tuple[float, float]:
    """Return a picture's width and height in its own units."""
    found = re.search(r'viewBox="([^"]+)"', picture)
    assert found is not None, "each drawing says its viewBox"
    _, _, wide, high = map(float, found[1].split())
    return wide, high


def described(picture: str) -> str:
    """Return the sentences that stand for a picture."""
    found = re.search(r'aria-label="([^"]*)"', picture)
    return unescape(found[1]) if found else ""


def placed(picture: str, x: float, y: float, wide: float, high: float) -> str:
    """Return a picture at a place of the slide, with the ink that the page would give it."""
    box = re.search(r'viewBox="[^"]+"', picture)
    inner = picture[picture.index(">") + 1 :].replace("&nbsp;", "\u00a0")
    place = f'x="{x:.1f}" y="{y:.1f}" width="{wide:.1f}" height="{high:.1f}"'
    return f'<svg {place} {box[0] if box else ""} fill="{INK}" color="{INK}" overflow="visible">{ink(inner)}'


# --- as files ----------------------------------------------------------------------------------------------------


def sheet_style(height: float) -> str:
    """Return the style of a sheet of paper as large as a slide, one inch for 72 of its units."""
    return f"@page {{ size: {WIDTH / 72:.4f}in {height / 72:.4f}in; margin: 0 }} body {{ margin: 0 }}"


def printed(page: Page, svg: str) -> bytes:
    """Return a slide as a PDF of one sheet."""
    height = view_box(svg)[1]
    look = f"svg.slide {{ display: block; width: {WIDTH / 72:.4f}in; height: {height / 72 - 0.01:.4f}in }}"
    body = svg.replace("<svg ", '<svg class="slide" ', 1)
    page.set_content(f"<!doctype html><style>{sheet_style(height)} {look}</style>{body}")
    return page.pdf(prefer_css_page_size=True, print_background=True)


def index(found: list[Figure]) -> str:
    """Return the page that lists the figures."""
    items = "".join(
        f'<li><a href="{figure.slug}.svg"><img src="{figure.slug}.svg" alt="" loading="lazy"></a>'
        f"<p><b>{escape(figure.title or figure.caption)}</b><br>{figure.number}, "
        f'<a href="../html/{figure.page}">{escape(figure.chapter)}</a>. {escape(figure.caption)}<br>'
        f'<a href="{figure.slug}.svg">SVG</a> · <a href="{figure.slug}.pdf">PDF</a> · '
        f'<a href="{LICENCE}">CC BY 4.0</a></p></li>'
        for figure in found
    )
    return f"""<!doctype html><html lang="en"><meta charset="utf-8"><title>Figures: {BOOK}</title><style>
body {{ font: 15px/1.45 {FONT}; color: {INK}; margin: 2rem auto; max-width: 1200px; padding: 0 1rem }}
ul {{ list-style: none; padding: 0; display: grid; gap: 1.5rem }}
ul {{ grid-template-columns: repeat(auto-fill, minmax(320px, 1fr)) }}
img {{ width: 100%; border: 1px solid #b9c2ca }} a {{ color: #0f6674 }}</style>
<h1>Figures of "{BOOK}"</h1>
<p>Free to use and change, in class and in print, under <a href="{LICENCE}">CC BY 4.0</a>. Name the source: "{BOOK}, The
costlab authors, CC BY 4.0"; the foot of each figure says it. <a href="all-figures.pdf">All of them as one PDF</a>.</p>
<ul>{items}</ul></html>
"""


def write(found: list[Figure], folder: Path, program: str) -> None:
    """Write figures as SVG and PDF, the PDF of all of them, and the list.

    Raises:
        RuntimeError: a drawing is no SVG that other programs read; it says which.
    """
    folder.mkdir(parents=True, exist_ok=True)
    deck = PdfWriter()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        page = browser.new_page(color_scheme="light")
        for figure in found:
            svg = slide(figure)
            try:
                ElementTree.fromstring(svg)
            except ElementTree.ParseError as error:
                raise RuntimeError(f"{figure.slug}: {error}") from error
            (folder / f"{figure.slug}.svg").write_text(svg, encoding="utf-8")
            data = printed(page, svg)
            (folder / f"{figure.slug}.pdf").write_bytes(data)
            deck.append(PdfReader(BytesIO(data)), outline_item=figure.title or figure.caption)
        browser.close()
    deck.compress_identical_objects()
    deck.write(folder / "all-figures.pdf")
    (folder / "index.html").write_text(index(found), encoding="utf-8")


def main() -> int:
    """Write the built book's figures into a folder."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--html", type=Path, default=ROOT / "_build" / "html", help="the built book")
    parser.add_argument("--out", type=Path, default=ROOT / "_build" / "figures", help="where to write")
    parser.add_argument(
        "--only", default="", metavar="SLUG", help="figures whose name begins so, such as moe or moe-touched"
    )
    given = parser.parse_args()
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        print("no Chromium on this machine (Debian: apt-get install chromium)", file=sys.stderr)
        return 2
    pages = sorted((given.html / "book").glob("*.html"))
    if not pages:
        print(f"{given.html} holds no built book; `make book` builds it", file=sys.stderr)
        return 2
    every = [figure for page in pages for figure in figures(f"book/{page.name}", page.read_text(encoding="utf-8"))]
    found = sorted((figure for figure in every if figure.slug.startswith(given.only)), key=place_in_book)
    if not found:
        begins = sorted({figure.slug.split("-")[0] for figure in every})
        print(f"no figure's name begins with {given.only!r}; they begin with {', '.join(begins)}", file=sys.stderr)
        return 2
    write(found, given.out, program)
    print(f"{given.out}: {len(found)} figures as SVG and PDF; index.html lists them")
    return 0


def place_in_book(figure: Figure) -> tuple[list[int], int]:
    """Return what sorts figures as the book has them: the numbers of figure and step."""
    step = figure.slug.rpartition("-")[2]
    return [int(part) for part in re.findall(r"\d+", figure.number)], int(step) if step.isdigit() else 0


if __name__ == "__main__":
    sys.exit(main())
