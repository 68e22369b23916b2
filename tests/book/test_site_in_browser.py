"""The site in a reader's hands: lost, searching, by keyboard."""

from collections.abc import Iterator

import pytest
from conftest import Site
from playwright.sync_api import BrowserContext, Page

FORMULAS_SET = "async () => { await window.MathJax?.startup?.promise }"


@pytest.fixture
def page(visitor: BrowserContext) -> Iterator[Page]:
    """A page on a wide screen, whose errors fail the test."""
    page = visitor.new_page()
    page.set_viewport_size({"width": 1280, "height": 900})
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
    results, sections = found(page, site, "annuity bubblewrap preemption")
    assert not results and not sections
    results, sections = found(page, site, "compressor indexer")
    assert "book/labs.html" in results and "book/labs.html#labs" in sections, sections
    for address in sections:
        name, _, anchor = address.partition("#")
        assert f'id="{anchor}"' in (site.folder / name).read_text()
    assert page.locator("#search-results .found-sections mark").first.inner_text().lower() in ("compressor", "index")


# --- by keyboard ---------------------------------------------------------------------------------------------------


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
