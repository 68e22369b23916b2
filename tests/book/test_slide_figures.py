"""The book's figures for slides: `tools/figures.py` on a page with a chart and a diagram in steps."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
from pypdf import PdfReader

ROOT = Path(__file__).parents[2]
SVG = "{http://www.w3.org/2000/svg}"

HEAD = '<h1><span class="section-number">6. </span>What is a hit worth?<a class="headerlink" href="#">#</a></h1>'
SETTINGS = '<ul class="live-settings"><li>blocks: <b>64</b></li></ul>'
CAPTION = (
    '<figcaption><p><span class="caption-number">Figure {number} </span><span class="caption-text">{text}</span>'
    '<a class="headerlink" href="#">#</a></p></figcaption></figure>'
)


def stored(chapter: str, name: str) -> str:
    """Return what the book shows as a figure that no slider turns."""
    cells = json.loads((ROOT / "book" / f"{chapter}.ipynb").read_text())["cells"]
    (cell,) = [cell for cell in cells if cell["metadata"].get("figure", {}).get("name") == name]
    return "".join(cell["outputs"][0]["data"]["text/html"])


def figure(slug: str, drawing: str, number: str, text: str) -> str:
    """Return a figure as it stands in a built page."""
    return f'<figure id="fig-{slug}">{drawing}' + CAPTION.format(number=number, text=text)


def made(*options: str) -> subprocess.CompletedProcess[str]:
    """Run the tool."""
    command = [sys.executable, str(ROOT / "tools" / "figures.py"), *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=200)


DAY = stored("prices", "fig-prices-discounts")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A built page with one figure that a slider turns and one in steps."""
    folder = tmp_path_factory.mktemp("figures")
    (folder / "book").mkdir()
    chart = figure("cache-curve", SETTINGS + DAY, "6.2", "Hits by <em>capacity</em> &amp; policy.")
    steps = figure("cache-tree", stored("cache", "fig-cache-tree"), "6.1", "A tree.")
    html = f"<!doctype html><h1>Menu</h1>{HEAD}{chart}{steps}<figure id='tab-cache-none'><table></table></figure>"
    (folder / "book" / "cache.html").write_text(html)
    return folder


@pytest.fixture(scope="module")
def out(site: Path) -> Path:
    """The figures of that page."""
    if not any(map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))):
        pytest.skip("no Chromium on this machine (Debian: apt-get install chromium)")
    done = made("--html", str(site), "--out", str(site / "out"))
    assert done.returncode == 0, done.stderr
    return site / "out"


def test_each_drawing_and_each_step_is_an_svg_and_a_pdf(out: Path) -> None:
    steps = [f"cache-tree-{n}" for n in range(1, 6)]
    found = {path.name for path in out.iterdir()} - {"index.html", "all-figures.pdf"}
    assert found == {f"{name}.{kind}" for name in ["cache-curve", *steps] for kind in ("svg", "pdf")}


def test_a_slide_stands_alone(out: Path) -> None:
    for path in out.glob("*.svg"):
        text = path.read_text()
        root = ElementTree.fromstring(text)
        assert root.get("viewBox") == "0 0 960 540"
        assert root[0].tag == f"{SVG}title" and root[0].text and root.find(f"{SVG}desc").text
        assert "currentColor" not in text and "var(--" not in text and "href" not in text and "class=" not in text
        assert root.find(f"{SVG}rect").attrib == {"width": "100%", "height": "100%", "fill": "#ffffff"}
        said = " ".join("".join(each.itertext()) for each in root.iter(f"{SVG}text"))
        assert said.endswith("6. What is a hit worth? · CC BY 4.0") and "Menu" not in said
    chart = ElementTree.parse(out / "cache-curve.svg").getroot()
    said = ["".join(each.itertext()) for each in chart.iter(f"{SVG}text")]
    assert f'<p class="drawing-title">{said[0]}</p>' in DAY and "blocks: 64" in said
    tree = ElementTree.parse(out / "cache-tree-2.svg").getroot()
    assert {"found", "computed"} <= {"".join(each.itertext()) for each in tree.iter(f"{SVG}text")}, "its key"


def test_a_pdf_is_one_slide_whose_text_is_text(out: Path) -> None:
    for path in out.glob("cache-*.pdf"):
        (sheet,) = PdfReader(path).pages
        assert float(sheet.mediabox.width) == pytest.approx(960, abs=1)
        assert float(sheet.mediabox.height) == pytest.approx(540, abs=1)
        assert "CC BY 4.0" in sheet.extract_text()
    deck = PdfReader(out / "all-figures.pdf")
    order = ["6.1"] * 5 + ["6.2"]
    assert [f"Figure {n}" in sheet.extract_text() for n, sheet in zip(order, deck.pages, strict=True)] == [True] * 6


def test_the_list_names_title_caption_chapter_and_licence(out: Path) -> None:
    text = (out / "index.html").read_text()
    assert "Hits by capacity &amp; policy." in text and 'href="../html/book/cache.html"' in text
    assert text.count('<img src="cache-') == 6 and "https://creativecommons.org/licenses/by/4.0/" in text


def test_a_name_that_no_figure_has_is_refused(site: Path) -> None:
    done = made("--html", str(site), "--out", str(site / "none"), "--only", "moe")
    assert done.returncode == 2 and "'moe'" in done.stderr and "begin with cache" in done.stderr
    assert not (site / "none").exists()
