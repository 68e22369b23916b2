"""The site in a reader's hands: lost, searching, by keyboard, on paper; and code that fits its box."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Site, toc_pages
from playwright.sync_api import Browser, Page

FORMULAS_SET = "async () => { await window.MathJax?.startup?.promise }"


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page on a wide screen, whose errors fail the test."""
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    said: list[str] = []
    page.on("console", lambda message: message.type == "error" and said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    yield page
    page.close()
    assert not said


# --- lost ----------------------------------------------------------------------------------------------------------


def test_a_lost_reader_finds_home_from_any_depth(page: Page, site: Site) -> None:
    lost = site.url + "no/such/page/here.html"
    page.route(lost, lambda route: route.fulfill(status=200, path=site.folder / "404.html", content_type="text/html"))
    page.goto(lost)
    assert page.inner_text("article h1") == "No such page"
    assert (
        page.evaluate("getComputedStyle(document.querySelector('.bd-sidebar-primary')).position") == "sticky"
    )  # styled
    page.click("text=Begin at the front page")
    assert page.url == f"{site.url}book/intro.html"


# --- searching -----------------------------------------------------------------------------------------------------


def found(page: Page, site: Site, query: str) -> tuple[list[str], list[str]]:
    """Search; return the addresses of the results, and of the sections listed below them, from the site's root."""
    page.goto(f"{site.url}search.html?q={query}")
    page.wait_for_selector(".search-summary:not(:empty)")
    results = page.locator("#search-results ul.search > li > a")
    for nth in range(results.count()):  # each result fetches its page and then says where in it
        results.nth(nth).locator("xpath=..").locator(":scope > :is(ul, p)").first.wait_for()
    read = "links => links.map((link) => link.href)"
    both = (results.evaluate_all(read), page.locator("#search-results .found-sections a").evaluate_all(read))
    return tuple([address.removeprefix(site.url) for address in each] for each in both)  # type: ignore[return-value]


def test_search_finds_a_section_by_words_of_its_title(page: Page, site: Site) -> None:
    results, _ = found(page, site, "own numbers")
    assert results[0] == "book/further.html#compute-with-your-own-numbers"


def test_search_finds_sections_by_what_they_say(page: Page, site: Site) -> None:
    results, sections = found(page, site, "gradebook lab compressor")
    assert not results and not sections
    results, sections = found(page, site, "compressor indexer")
    assert "book/further.html" in results and "book/further.html#practise" in sections
    for address in sections:
        name, _, anchor = address.partition("#")
        assert f'id="{anchor}"' in (site.folder / name).read_text()
    assert page.locator("#search-results .found-sections mark").first.inner_text().lower() in ("compressor", "index")


# --- by keyboard ---------------------------------------------------------------------------------------------------


def test_no_formula_is_a_stop_for_tab(page: Page, site: Site) -> None:
    formulas = 0
    for name in toc_pages():
        page.goto(site.url + name)
        page.evaluate(FORMULAS_SET)
        formulas += page.locator("mjx-container").count()
        assert not page.locator("mjx-container[tabindex='0']").count(), name
    assert formulas > 20


def test_a_formula_that_scrolls_is_a_stop_for_tab(page: Page, site: Site) -> None:
    wide = "all => all.filter((e) => e.scrollWidth > e.clientWidth).length"
    page.goto(site.url + "book/roofline.html")
    page.evaluate(FORMULAS_SET)
    page.set_viewport_size({"width": 320, "height": 900})
    formulas = page.locator("mjx-container[display='true']")
    assert formulas.evaluate_all(wide) > 0
    page.wait_for_selector("mjx-container[tabindex='0']", state="attached")
    assert page.locator("mjx-container[tabindex='0']").count() == formulas.evaluate_all(wide)


def test_what_has_the_focus_has_a_ring_of_the_accent(page: Page, site: Site) -> None:
    page.goto(site.url + "book/further.html")
    accent = page.evaluate("getComputedStyle(document.documentElement).getPropertyValue('--course-accent').trim()")
    as_rgb = "rgb({}, {}, {})".format(*(int(accent[n : n + 2], 16) for n in (1, 3, 5)))
    page.keyboard.press("Control+k")
    ring = "getComputedStyle(document.activeElement.closest('form') ?? document.body).outlineColor"
    assert page.evaluate(ring) == as_rgb
    page.keyboard.press("Escape")
    page.focus("article a")
    page.keyboard.press("Tab")
    assert page.evaluate("getComputedStyle(document.activeElement).outlineColor") == as_rgb


# --- on paper ------------------------------------------------------------------------------------------------------

PAPER = {"width": 665, "height": 980}  # CSS pixels between the margins of A4 in print.css
CLICKED = ".bd-sidebar-primary, .bd-header-article, .prev-next-footer, .headerlink, .copybtn, .run-offer"
CLICKED += ", .live-row, .live-note"
VISIBLE = (
    "nodes => nodes.filter((e) => e.checkVisibility({checkVisibilityCSS: true})).map((e) => e.outerHTML.slice(0, 80))"
)
TOO_WIDE = """nodes => nodes.filter((e) => e.scrollWidth > e.clientWidth + 1).map((e) => e.textContent.slice(0, 80))"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_paper_shows_what_one_reads_and_not_what_one_clicks(page: Page, site: Site, scheme: str) -> None:
    page.emulate_media(media="print", color_scheme=scheme)
    page.set_viewport_size(PAPER)
    for name in (name for name in toc_pages() if (site.folder / name).read_text().count('class="live"')):
        page.goto(site.url + name)
        page.evaluate(FORMULAS_SET)
        page.evaluate("() => dispatchEvent(new Event('beforeprint'))")
        assert page.locator(CLICKED).evaluate_all(VISIBLE) == [], name
        assert page.locator("article pre").evaluate_all(TOO_WIDE) == [], name
        assert re.match(r"\d+\. ", page.locator("article h1").first.inner_text()), name
        shown = page.locator("article .solution :is(p, pre):not(details *)")
        assert len(shown.evaluate_all(VISIBLE)) == shown.count() > 0, name
        assert page.evaluate("getComputedStyle(document.body).color") == "rgb(17, 17, 17)"


# --- code that fits ------------------------------------------------------------------------------------------------

# Code is written by us and fits. What a program printed, a cell's output or a console's text, may scroll.
CODE = "article :is(.cell_input, div[class*='highlight-']:not(.cell_output *, .highlight-none, .highlight-console)) pre"


def wide_code(page: Page, address: str) -> list[str]:
    """The code on a page that is wider than its box, folded code included; the first line of each."""
    page.goto(address)
    page.evaluate("() => document.querySelectorAll('details').forEach((each) => { each.open = true })")
    page.evaluate(
        "() => document.querySelectorAll('.toggle-hidden').forEach((e) => e.classList.remove('toggle-hidden'))"
    )
    return [str(line) for line in page.locator(CODE).evaluate_all(TOO_WIDE)]


def test_no_line_of_code_is_wider_than_its_box(page: Page, site: Site) -> None:
    wide = {name: wide_code(page, site.url + name) for name in toc_pages()}
    assert not {name: lines for name, lines in wide.items() if lines}


def test_wide_code_can_be_seen(page: Page, tmp_path: Path) -> None:
    style = "<style>pre { width: 200px; overflow: auto }</style>"
    rows = [f"{kind}<pre>{text}</pre></div></details></div>" for kind, text in KINDS]
    (tmp_path / "page.html").write_text(f"<!doctype html>{style}<article>{''.join(rows)}</article>")
    assert wide_code(page, (tmp_path / "page.html").as_uri()) == ["folded" + 50 * "x", "plain" + 50 * "x"]


KINDS = [
    ("<div><details><div class='cell_input'>", "folded" + 50 * "x"),
    ("<div><details open><div class='highlight-python'>", "short"),
    ("<div><details open><div class='highlight-python'>", "plain" + 50 * "x"),
    ("<div class='cell_output'><details open><div class='highlight-none'>", "output" + 50 * "x"),
]
