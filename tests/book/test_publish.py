"""What a published site has beside its chapters: addresses, cards, lost readers' page, citation, lists for machines."""

import importlib
import json
import os
import re
import struct
import subprocess
import sys
import tomllib
from datetime import date
from pathlib import Path
from types import ModuleType
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml
from conftest import Site, toc_pages
from sphinx.errors import ExtensionError

from costlab import catalog

ROOT = Path(__file__).parents[2]
EXTENSIONS = ROOT / "book" / "_ext"
SITE, REPOSITORY = "https://example.org/course/", "https://git.example.org/owner/course/"


@pytest.fixture(scope="module")
def publish() -> ModuleType:
    """The extension, which lies outside of any package."""
    sys.path.insert(0, str(EXTENSIONS))
    try:
        return importlib.import_module("publish")
    finally:
        sys.path.remove(str(EXTENSIONS))


@pytest.fixture(scope="module")
def citing() -> ModuleType:
    """The extension that cites."""
    sys.path.insert(0, str(EXTENSIONS))
    try:
        return importlib.import_module("citing")
    finally:
        sys.path.remove(str(EXTENSIONS))


# --- a small book whose address is known ---------------------------------------------------------------------------

CONFIG = f"""
title: Small
only_build_toc_files: true
execute: {{execute_notebooks: "off"}}
sphinx:
  local_extensions: {{citing: {EXTENSIONS}, publish: {EXTENSIONS}}}
  config:
    templates_path: [{ROOT / "book" / "_templates"}]
    html_theme_options: {{footer_content_items: "foot.html", logo: {{text: Small}}}}
    html_static_path: [{ROOT / "book" / "web"}]
    html_extra_path: [{ROOT / "book" / "icons"}]
"""
ONE = "---\ndescription: Said in the page's own words.\n---\n# One\n\nA first paragraph.\n\n```{cite-this}\n```\n"
ROOT_PAGE = "# Front & centre\n\nThis is **the** first paragraph. It says what follows.\n\n[One](deep/one.md)\n"


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built small book."""
    folder = tmp_path_factory.mktemp("published")
    (folder / "deep").mkdir()
    (folder / "_config.yml").write_text(CONFIG)
    (folder / "_toc.yml").write_text(
        "format: jb-book\nroot: deep/front\nchapters:\n- file: deep/one\n- file: deep/run\n"
    )
    (folder / "deep/front.md").write_text(ROOT_PAGE.replace("deep/one", "one"))
    (folder / "deep/one.md").write_text(ONE)
    (folder / "deep/run.ipynb").write_text(notebook())
    (folder / "CITATION.cff").write_text((ROOT / "CITATION.cff").read_text())
    command = [Path(sys.executable).with_name("jupyter-book"), "build", str(folder), "-W", "-n", "--keep-going"]
    settings = {"COSTLAB_SITE": SITE.rstrip("/"), "COSTLAB_REPOSITORY": REPOSITORY}
    done = subprocess.run(command, env=os.environ | settings, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "_build" / "html"


def notebook() -> str:
    """A notebook with one cell."""
    cell = {"cell_type": "markdown", "source": "# Run\n\nA chapter.", "metadata": {}}
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    return json.dumps({"cells": [cell], "metadata": kernel, "nbformat": 4, "nbformat_minor": 4})


def meta(html: str, name: str) -> list[str]:
    """What a page's meta elements of that name or property say."""
    return re.findall(rf'<meta (?:name|property)="{name}" content="([^"]*)"', html)


def test_a_page_says_what_it_is_and_where(small: Path) -> None:
    front, one = ((small / f"deep/{name}.html").read_text() for name in ("front", "one"))
    assert meta(front, "description") == ["This is the first paragraph. It says what follows."]
    assert meta(one, "description") == meta(one, "og:description") == ["Said in the page&#x27;s own words."]
    assert meta(front, "og:title") == ["Front &amp; centre"]
    assert re.findall(r'rel="canonical" href="([^"]*)"', one) == meta(one, "og:url") == [f"{SITE}deep/one.html"]
    assert re.findall(r'rel="canonical" href="([^"]*)"', front) == meta(front, "og:url") == [SITE]
    assert meta(one, "twitter:card") == ["summary_large_image"] and meta(one, "og:image") == [f"{SITE}_static/card.png"]


def test_the_card_is_a_picture_of_the_size_that_the_page_says(small: Path) -> None:
    page = (small / "deep/one.html").read_text()
    said = tuple(int(meta(page, f"og:image:{side}")[0]) for side in ("width", "height"))
    data = (small / "_static/card.png").read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n" and struct.unpack(">II", data[16:24]) == said == (1200, 630)
    prices = [catalog_price(day) for day in (date(2026, 4, 24), date(2026, 6, 1))]
    for amount in (getattr(price, part) for price in prices for part in ("hit", "miss", "output")):
        assert f"${amount:g}" in meta(page, "og:image:alt")[0]


def catalog_price(day: date) -> catalog.PriceRow:
    """V4-Pro's list price on a day, straight from the catalog."""
    rows = [row for row in catalog.tables().prices if (row.product, row.currency) == ("deepseek-v4-pro", "USD")]
    return max((row for row in rows if str(row.valid_from)[:10] <= f"{day}"), key=lambda row: str(row.valid_from))


def test_the_front_page_is_a_page_and_its_links_lead_where_they_did(small: Path) -> None:
    index = (small / "index.html").read_text()
    assert "http-equiv" not in index and "the</strong> first paragraph" in index
    assert 'href="deep/one.html"' in index and 'href="#front-centre"' in index and 'data-content_root="./"' in index
    assert not [link for link in re.findall(r'(?:href|src)="(?!https:)([^"#?]+)', index) if not (small / link).exists()]


def test_a_lost_reader_finds_styles_and_home_at_any_depth(small: Path) -> None:
    lost = (small / "404.html").read_text()
    links = re.findall(r'(?:href|src|content_root)="([^"#?]+)', lost)
    inside = [link for link in links if not link.startswith("https://")]
    assert inside and all(link.startswith("/course/") for link in inside), inside
    assert not [link for link in inside if not (small / link.removeprefix("/course/")).exists()]
    assert 'rel="canonical"' not in lost


def test_search_engines_get_a_map(small: Path) -> None:
    places = [
        element.text for element in ElementTree.parse(small / "sitemap.xml").iter() if element.tag.endswith("loc")
    ]
    assert places == [SITE, f"{SITE}deep/one.html", f"{SITE}deep/run.html"]
    assert f"Sitemap: {SITE}sitemap.xml" in (small / "robots.txt").read_text()


def test_a_page_links_to_its_source_and_a_notebook_says_how_to_run_it(small: Path) -> None:
    one, run = ((small / f"deep/{name}.html").read_text() for name in ("one", "run"))
    assert f'href="{REPOSITORY}blob/main/deep/one.md"' in one and f'href="{REPOSITORY}blob/main/deep/run.ipynb"' in run
    assert (
        "run-offer" not in one and f'<a href="{REPOSITORY}">the course\'s repository</a>, <code>make lab</code>' in run
    )
    assert 'href="../_sources/deep/run.ipynb" download' in run


def test_a_page_that_moves_keeps_its_links(publish: ModuleType) -> None:
    html = '<html data-content_root="../"> <a href="#x"> <a href="two.html?q=1#y"> <img src="../_static/a.svg">'
    html += ' <a href="https://example.org/"> <a href="mailto:a@example.org"> <a href="/top">'
    outside = ["https://example.org/", "mailto:a@example.org", "/top"]
    front = re.findall(r'="([^"]*)"', publish.moved(html, "deep/one.html"))
    assert front == ["./", "#x", "deep/two.html?q=1#y", "_static/a.svg", *outside]
    lost = re.findall(r'="([^"]*)"', publish.moved(html.replace("../", "./"), "/course/404.html"))
    assert lost == ["/course/", "#x", "/course/two.html?q=1#y", "/course/_static/a.svg", *outside]


@pytest.mark.parametrize("wrong", ["example.org", "ftp://example.org/", "https://", "https://example.org/?a=1"])
def test_an_address_that_is_none_is_refused(publish: ModuleType, wrong: str) -> None:
    with pytest.raises(ExtensionError, match=re.escape(f"site_address (COSTLAB_SITE) is {wrong!r}; it should be like")):
        publish.whole_address(wrong, "site_address (COSTLAB_SITE)")


def test_descriptions_end_with_a_sentence_or_a_word(publish: ModuleType) -> None:
    text = "One sentence. Another, longer one! And a third that does not fit."
    assert publish.shortened(text, 100) == text
    assert publish.shortened(text, 40) == "One sentence. Another, longer one!"
    assert publish.shortened(text, 33) == "One sentence."
    assert publish.shortened("A $0.5 price of words, and more of them", 24) == "A $0.5 price of words …"


# --- the book itself, whose address is not known --------------------------------------------------------------------


def test_each_page_of_the_book_has_its_own_description_and_no_address_that_is_not_known(site: Site) -> None:
    pages = {name: (site.folder / name).read_text() for name in toc_pages()}
    described = {name: meta(html, "description") for name, html in pages.items()}
    assert all(len(each) == 1 and 0 < len(each[0]) <= 240 for each in described.values()), described
    assert len({each[0] for each in described.values()}) == len(pages)
    for html in pages.values():
        assert 'rel="canonical"' not in html and not meta(html, "og:image") and not meta(html, "og:url")
    assert not (site.folder / "sitemap.xml").exists()


def test_each_page_says_what_day_its_data_are_of(site: Site) -> None:
    tables = catalog.tables()
    dates = [row.date for row in tables.prices]
    dates += [row.date for group in (tables.models, tables.chips) for row in group.values()]
    newest = max(dates)
    said = f"Prices and configurations as of {newest.day} {newest.strftime('%B %Y')}."
    assert not [name for name in toc_pages() if said not in (site.folder / name).read_text()]


def test_the_last_chapter_leads_on(site: Site) -> None:
    """To the part that says what to do with what one has read, not into the reference pages."""
    parts = yaml.safe_load((ROOT / "_toc.yml").read_text())["parts"]
    nth = max(n for n, part in enumerate(parts) if part.get("numbered"))
    last, after = parts[nth]["chapters"][-1]["file"], [page["file"] for page in parts[nth + 1]["chapters"]]
    assert "book/further" in after
    onward = re.search(r'class="right-next"\s+href="([^"]*)"', (site.folder / f"{last}.html").read_text())
    assert onward and f"book/{onward[1]}" == f"{after[0]}.html"


# --- citation ------------------------------------------------------------------------------------------------------

PERSONS = {
    "title": "Why it works",
    "authors": [{"family-names": "Noether", "given-names": "Emmy"}, {"name": "The others"}],
    "version": "1.2",
    "date-released": "2026-03-04",
}


def test_a_citation_as_text_and_as_bibtex(citing: ModuleType) -> None:
    assert citing.as_text(PERSONS) == "Noether, Emmy; The others (2026). Why it works. Version 1.2."
    assert citing.as_text(PERSONS, SITE).endswith(f"Version 1.2. {SITE}")
    assert citing.as_bibtex(PERSONS, SITE).splitlines() == [
        "@misc{works2026,",
        "  author       = {Noether, Emmy and {The others}},",
        "  title        = {{Why it works}},",
        "  year         = 2026,",
        "  month        = mar,",
        "  note         = {Version 1.2},",
        f"  howpublished = {{\\url{{{SITE}}}}}",
        "}",
    ]


def test_a_citation_that_says_too_little_is_refused(citing: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "CITATION.cff").write_text("title: A\nversion: 1\n")
    with pytest.raises(ValueError, match=r"CITATION.cff says nothing of authors, date-released"):
        citing.read_citation(tmp_path / "CITATION.cff")


# The Citation File Format 1.2.0: what it demands, and what it knows.
DEMANDED = {"cff-version", "message", "title", "authors"}
KNOWN = DEMANDED | {
    "abstract", "commit", "contact", "date-released", "doi", "identifiers", "keywords", "license", "license-url",
    "preferred-citation", "references", "repository", "repository-artifact", "repository-code", "type", "url",
    "version",
}  # fmt: skip


def test_the_citation_file_keeps_to_its_format_and_to_the_package() -> None:
    given: dict[str, Any] = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert DEMANDED <= given.keys() <= KNOWN
    assert given["cff-version"] == "1.2.0" and given["type"] == "software"
    assert date.fromisoformat(given["date-released"]) <= date.today()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert given["version"] == project["version"]
    assert given["license"] == project["license"].split(" AND ")[0]  # the format knows no AND: that of the code
    assert [author["name"] for author in given["authors"]] == [author["name"] for author in project["authors"]]
    config = yaml.safe_load((ROOT / "_config.yml").read_text())
    assert given["title"] == config["title"] and config["author"] == given["authors"][0]["name"]


def test_the_page_that_cites_says_what_the_file_says(site: Site, citing: ModuleType) -> None:
    citation = citing.read_citation(ROOT / "CITATION.cff")
    html = (site.folder / "book/further.html").read_text()
    text = re.sub(r"<[^>]+>", "", html)
    assert citing.as_text(citation) in text
    assert citing.as_bibtex(citation) in text


# --- chapters to work on -------------------------------------------------------------------------------------------


def test_make_lab_copies_labs_and_chapters_and_overwrites_none(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("torch==2.13.0  # for costlab.nn\n")
    ours = {"labs/release/moe/moe.ipynb": "", "book/moe.ipynb": "", "book/cache.ipynb": "import costlab"}
    ours |= {"book/attention.ipynb": "import numpy\nimport torch"}
    for name, code in ours.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(chapter(code))
    (tmp_path / "tools").mkdir()
    (tmp_path / "tools/lab_copies.py").write_text((ROOT / "tools/lab_copies.py").read_text())
    mine = tmp_path / "labs/work/chapters/moe.ipynb"
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    command = ["make", "--silent", "-C", str(tmp_path), "-f", str(ROOT / "Makefile"), "lab-copies"]
    subprocess.run(command, check=True, capture_output=True)
    work = tmp_path / "labs/work"
    copies = {str(path.relative_to(work)): path.read_text() for path in work.rglob("*.ipynb")}
    noted = copies.pop("chapters/attention.ipynb")
    assert copies == {"chapters/moe.ipynb": "mine", "chapters/cache.ipynb": chapter("import costlab")} | {
        "moe/moe.ipynb": chapter("")
    }
    assert "code cell 1 need" in noted and "%pip install torch==2.13.0" in noted
    assert "def glue" in (work / "chapters/myst_nb.py").read_text()


def chapter(code: str) -> str:
    """A notebook with one code cell, below a heading."""
    cells = [{"cell_type": "markdown", "source": "# One", "metadata": {}}]
    cells += [{"cell_type": "code", "source": code, "metadata": {}}]
    return json.dumps({"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5})
