"""Each page of the book, opened in a browser as a reader would: wide and narrow, light and dark."""

from collections.abc import Callable
from pathlib import Path

import axe_playwright_python
import pytest
from conftest import Site
from playwright.sync_api import Browser, BrowserContext

AXE = (Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text()

WAIT_FOR_FORMULAS = "async () => { await window.MathJax?.startup?.promise }"

# Elements that reach beyond the screen although nothing around them scrolls.
OVERFLOWING = """() => {
  const root = document.documentElement, width = root.clientWidth;
  const scrolls = (e) => getComputedStyle(e).overflowX !== 'visible';
  const contained = (e) => e && e !== document.body && (scrolls(e) || contained(e.parentElement));
  const beyond = (e) => e.getBoundingClientRect().right > width + 1;
  const elements = [...document.querySelectorAll('main *')].filter((e) => beyond(e) && !contained(e));
  const page = root.scrollWidth > width + 1 ? [`page ${root.scrollWidth} > ${width}`] : [];
  return [...page, ...elements.map((e) => e.outerHTML.slice(0, 100))].slice(0, 3);
}"""

IMAGES_WITHOUT_TEXT = """() => [...document.querySelectorAll('main img')]
  .filter((e) => !e.alt.trim()).map((e) => e.outerHTML.slice(0, 100))"""

# preload: axe would fetch the styles that others import, from wrong addresses.
ACCESSIBILITY = """async () => (await axe.run({resultTypes: ['violations'], preload: false})).violations
  .map((v) => `${v.id}: ${v.help}: ${v.nodes.map((n) => n.html.slice(0, 120)).slice(0, 3).join(' | ')}`)"""


def faults(context: BrowserContext, url: str) -> list[str]:
    """Open a page and list everything that is wrong with it."""
    found: list[str] = []
    page = context.new_page()
    page.on("console", lambda message: message.type == "error" and found.append(f"console: {message.text}"))
    page.on("pageerror", lambda error: found.append(f"page error: {error}"))
    page.on("requestfailed", lambda request: found.append(f"failed request: {request.url}"))
    page.on("response", lambda reply: reply.status >= 400 and found.append(f"{reply.status}: {reply.url}"))
    page.goto(url)
    page.evaluate(WAIT_FOR_FORMULAS)
    found += [f"overflow: {text}" for text in page.evaluate(OVERFLOWING)]
    found += [f"no alternative text: {text}" for text in page.evaluate(IMAGES_WITHOUT_TEXT)]
    page.evaluate(AXE)
    found += [f"accessibility: {text}" for text in page.evaluate(ACCESSIBILITY)]
    page.close()
    return found


def reader(browser: Browser, width: int, scheme: str, home: str) -> BrowserContext:
    """Make a reader with a screen and a colour scheme, who may ask `home` only: other requests fail."""
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    context.route(lambda url: not url.startswith((home, "data:", "blob:")), lambda route: route.abort())
    return context


@pytest.mark.parametrize("turn", [0, 1])
def test_every_page_is_sound(browser: Browser, site: Site, turn: int) -> None:
    """Each page on each screen and in each scheme, once; which goes with which alternates from page to page."""
    readers = [reader(browser, 1280, scheme, site.url) for scheme in ("light", "dark")]
    readers += [reader(browser, 390, scheme, site.url) for scheme in ("dark", "light")]
    pages = [*site.pages, "index.html", "404.html"]
    found = {page: faults(readers[(nth + 2 * turn) % 4], site.url + page) for nth, page in enumerate(pages)}
    for each in readers:
        each.close()
    assert not {page: list_ for page, list_ in found.items() if list_}


BROKEN = """<!doctype html><html lang="en"><title>Broken</title><main><h1>Broken</h1>
<img src="data:image/gif;base64,R0lGODlhAQABAAAAACw="><img src="https://example.org/x.png" alt="elsewhere">
<img src="missing.png" alt="missing"><div style="width: 3000px">wide</div>
<p style="color: #ccc; background: #fff">hard to read</p>
<script>console.error("said"); throw new Error("thrown")</script></main></html>"""

FAULTS_OF_BROKEN = [
    "console: said",
    "page error: thrown",
    "failed request: https://example.org/x.png",
    "404: ",
    "overflow: page",
    "no alternative text: ",
    "accessibility: color-contrast",
    "accessibility: image-alt",
]


def test_the_checks_can_fail(browser: Browser, serve: Callable[[Path], str], tmp_path: Path) -> None:
    (tmp_path / "broken.html").write_text(BROKEN)
    home = serve(tmp_path)
    context = reader(browser, 390, "light", home)
    found = faults(context, home + "broken.html")
    context.close()
    missed = [fault for fault in FAULTS_OF_BROKEN if not any(text.startswith(fault) for text in found)]
    assert not missed, found
