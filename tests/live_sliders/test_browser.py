"""The built pages in a browser: answers, failures, interruptions, accessibility, safety."""

from __future__ import annotations

import re

import pytest
from live_book import Built
from live_drive import METERED, Visit, check_page, visit
from live_hostile import HARMLESS, HOSTILE
from playwright.sync_api import Browser, BrowserContext

from live_sliders.sanitize import sanitize

PAGES = ("figure", "controls")
FIRST_LOAD_BYTES = 1_500_000


PYTHON = "document.documentElement.dataset.livePython"
COUNT_WORKERS = """window.workers = 0;
window.Worker = class extends Worker { constructor(...more) { super(...more); window.workers += 1; } };"""
# Whether some view is less than a screen away, asked after the page has asked the same.
NEAR_SEEN = """() => new Promise((resolve) => {
  const tell = (seen) => resolve(seen.some((each) => each.isIntersecting));
  const eye = new IntersectionObserver(tell, {rootMargin: '100% 0px'});
  document.querySelectorAll('[data-live-view]').forEach((view) => eye.observe(view));
})"""


def move_first(opened: Visit, **state: object) -> dict:
    """Move the first slider of a page's first view."""
    view = opened.plan()["views"][0]["model"]
    return opened.move(view, sliders(opened)[0], "IntSlider", state)


def sliders(opened: Visit) -> list[str]:
    """The models of the page's range inputs."""
    rows = opened.page.locator("[data-live-model]:has(> input[type=range])").all()
    return [row.get_attribute("data-live-model") or "" for row in rows]


@pytest.mark.parametrize("page", PAGES)
def test_every_control_answers_as_the_kernel_does(visitor: BrowserContext, site: str, built: Built, page: str) -> None:
    book = built.site.parents[1]
    notebook = next(path for path in book.glob(f"{page}.*") if path.suffix in (".md", ".ipynb"))
    assert check_page(visitor, site, page, notebook) >= 4


def test_buttons_observers_and_html(visitor: BrowserContext, site: str) -> None:
    with visit(visitor, site) as opened:
        opened.open("controls.html")
        view = opened.plan()["views"][2]["model"]
        for _ in range(2):
            opened.page.get_by_role("button", name="Add a row").click()
            answer = opened.answer(view)
        assert answer["text"].split()[-2:] == ["2", "2.0"] or "22.0" in answer["text"]
        manual = opened.plan()["views"][3]["model"]
        opened.page.get_by_role("button", name="Run Interact").click()
        assert opened.answer(manual)["text"].strip() == "6"
        opened.assert_clean()


def test_keyboard_moves_a_slider(visitor: BrowserContext, site: str) -> None:
    with visit(visitor, site) as opened:
        opened.open("controls.html")
        view = opened.plan()["views"][0]["model"]
        opened.page.get_by_role("slider", name="whole").focus()
        opened.page.keyboard.press("ArrowRight")
        assert opened.answer(view)["text"].startswith("6 ")
        for key, value in (("End", "10 "), ("Home", "0 ")):
            opened.page.keyboard.press(key)
            assert opened.answer(view)["text"].startswith(value)


def test_light_before_the_first_touch_where_each_byte_is_paid_for(browser: Browser, site: str) -> None:
    with visit(browser, site) as opened:
        opened.page.add_init_script(METERED)
        opened.open("figure.html")
        opened.page.evaluate(NEAR_SEEN)
        assert opened.weight() < FIRST_LOAD_BYTES
        status = opened.page.get_by_role("status").first
        assert "Move a control" in status.inner_text()
        assert (opened.page.locator(".live img").get_attribute("alt") or "").startswith("Price of a token")
        assert not [
            url
            for url in opened.page.evaluate("performance.getEntriesByType('resource').map(e => e.name)")
            if "pyodide" in url
        ]


def test_python_starts_once_when_a_view_comes_near(browser: Browser, site: str) -> None:
    with visit(browser, site, viewport={"width": 1280, "height": 60}) as opened:
        opened.page.add_init_script(COUNT_WORKERS)
        opened.open("slow.html")
        assert not opened.page.evaluate(NEAR_SEEN)
        assert opened.page.evaluate(PYTHON) == "off"
        view = opened.page.locator("[data-live-view]").first
        view.scroll_into_view_if_needed()
        opened.page.wait_for_function(f"() => {PYTHON} === 'idle'")
        assert view.get_attribute("data-live-status") == "saved"
        opened.page.evaluate("scrollTo(0, 0)")
        assert move_first(opened, value=1)["text"].strip() == "1 s, run 2"
        assert opened.page.evaluate("window.workers") == 1
        opened.assert_clean()


def test_an_error_keeps_the_last_good_result_and_offers_another_try(visitor: BrowserContext, site: str) -> None:
    with visit(visitor, site) as opened:
        opened.open("errors.html")
        assert move_first(opened, value=3)["text"].strip() == "1.0"
        failed = move_first(opened, value=4)
        assert failed["status"] == "failed"
        assert failed["text"].strip() == "1.0"
        opened.page.get_by_text("What Python said").click()
        said = opened.page.locator(".live details pre").inner_text()
        assert "ZeroDivisionError" in said
        assert "ipywidgets" not in said
        assert move_first(opened, value=4)["status"] == "failed"  # the same again is not done either
        opened.page.get_by_role("button", name="Try again").click()
        assert opened.answer(opened.plan()["views"][0]["model"])["status"] == "failed"
        assert move_first(opened, value=0)["text"].strip() == "0.25"
        opened.assert_clean()


def test_a_failed_start_can_be_tried_again(browser: Browser, site: str) -> None:
    with visit(browser, site) as opened:
        opened.page.context.route("**/pyodide.mjs", lambda route: route.abort())
        opened.open("errors.html")
        assert move_first(opened, value=3)["status"] == "failed"
        opened.page.context.unroute("**/pyodide.mjs")
        view = opened.plan()["views"][0]["model"]
        opened.page.get_by_role("button", name="Try again").click()
        assert opened.answer(view)["text"].strip() == "1.0"


# Holds back what the browser says of each decoded picture, and counts what the page asks of Python.
HOLD_PICTURES = """
window.held = []; window.asked = 0;
HTMLImageElement.prototype.decode = function () { return new Promise((resolve) => window.held.push(resolve)); };
const post = Worker.prototype.postMessage;
Worker.prototype.postMessage = function (message, ...more) {
  if (message.kind === 'run') window.asked += 1;
  return post.call(this, message, ...more);
};
"""
HELD = "(count) => window.held.length === count"
# Lets go of one picture, and of whatever the page does then before it waits for something else.
LET_GO = "(nth) => { window.held[nth](); return new Promise((next) => setTimeout(next)); }"
# Not the markup: the theme gives elements attributes of its own, some time after they have come.
WORDS_AND_PICTURES = "(area) => [area.textContent, ...[...area.querySelectorAll('img')].map((picture) => picture.src)]"
STATE = "(view) => [view.dataset.liveMove, view.dataset.liveShown, view.ariaBusy]"


def test_a_move_is_shown_once_its_picture_is(visitor: BrowserContext, site: str) -> None:
    with visit(visitor, site) as opened:
        opened.page.add_init_script(HOLD_PICTURES)
        opened.open("figure.html")
        view, knee = opened.page.locator("[data-live-view]"), opened.page.get_by_role("slider", name="knee")

        def seen() -> tuple[list[str], list[str]]:
            return view.evaluate(STATE), opened.page.locator(".live-output").evaluate(WORDS_AND_PICTURES)

        counted, saved = seen()
        assert counted == [None, "0", "false"]
        knee.fill("128")
        opened.page.wait_for_function(HELD, arg=1)
        assert seen() == (["1", "0", "true"], saved)
        knee.fill("256")
        opened.page.wait_for_function(HELD, arg=2)
        assert seen() == (["2", "0", "true"], saved)
        opened.page.evaluate(LET_GO, 1)
        counted, newest = seen()
        assert counted == ["2", "2", "false"]
        assert newest != saved
        opened.page.evaluate(LET_GO, 0)  # the older picture, decoded after the newer one
        assert seen() == (["2", "2", "false"], newest)


def test_equal_values_need_no_second_run(visitor: BrowserContext, site: str) -> None:
    with visit(visitor, site) as opened:
        opened.page.add_init_script(HOLD_PICTURES)
        opened.open("slow.html")
        assert move_first(opened, value=0)["answer"] == "shown"  # as saved
        for value in (10, 10, 10):
            assert move_first(opened, value=value)["text"].strip() == "10 s, run 2"
        assert opened.page.evaluate("window.asked") == 1
        opened.page.evaluate(
            """() => {
              const input = document.querySelector('.live input[type=range]');
              for (const value of [25, 25]) {
                input.value = value;
                input.dispatchEvent(new Event('input', {bubbles: true}));
              }
            }"""
        )
        assert opened.answer(opened.plan()["views"][0]["model"])["text"].strip() == "25 s, run 3"
        assert opened.page.evaluate("window.asked") == 2


def test_a_view_hears_of_its_move_while_another_one_is_touched(visitor: BrowserContext, site: str) -> None:
    with visit(visitor, site) as opened:
        opened.open("slow.html")
        slow, quick = (view["model"] for view in opened.plan()["views"])
        opened.page.evaluate(
            """() => {
              const [slow, quick] = document.querySelectorAll('.live input[type=range]');
              slow.value = 25;
              slow.dispatchEvent(new Event('input', {bubbles: true}));
              quick.dispatchEvent(new Event('pointerdown', {bubbles: true}));
            }"""
        )
        assert opened.answer(slow)["status"] == "done"
        assert opened.read(quick)["status"] == "saved"
        assert opened.move(quick, sliders(opened)[1], "IntSlider", {"value": 4})["text"].strip() == "4 of 25 s"


def test_only_the_latest_of_overtaking_moves_is_computed(visitor: BrowserContext, site: str) -> None:
    with visit(visitor, site) as opened:
        opened.open("slow.html")
        move_first(opened, value=1)
        opened.page.evaluate(
            """() => {
              const input = document.querySelector('.live input[type=range]');
              for (const value of [25, 2, 3, 4, 5, 6]) {
                input.value = value;
                input.dispatchEvent(new Event('input', {bubbles: true}));
              }
            }"""
        )
        answer = opened.answer(opened.plan()["views"][0]["model"])
        assert "6 s, run 4" in answer["text"]  # the start, 1, 25 and 6


def test_a_long_computation_can_be_stopped(visitor: BrowserContext, site: str) -> None:
    """The next move is computed after it, also one that sets a value back to where the new Python begins."""
    with visit(visitor, site) as opened:
        opened.open("slow.html")
        assert "1 s" in move_first(opened, value=1)["text"]
        opened.page.locator(".live input[type=range]").first.fill("60")
        opened.page.get_by_role("button", name="Stop").click()
        assert "Stopped" in opened.page.get_by_role("status").first.inner_text()
        assert "1 s" in opened.page.locator(".live-output").first.inner_text()
        assert "2 s" in move_first(opened, value=2)["text"]
        opened.page.locator(".live input[type=range]").first.fill("60")
        opened.page.get_by_role("button", name="Stop").click()
        assert "0 s" in move_first(opened, value=0)["text"]
        opened.assert_clean()


def test_hostile_output_is_harmless(visitor: BrowserContext, site: str) -> None:
    with visit(visitor, site) as opened:
        opened.open("hostile.html")
        for value in (1, 3):
            assert str(value) in move_first(opened, value=value)["text"]
            inside = opened.page.locator(".live-output")
            assert (
                inside.locator("script, iframe, form, button, use, image, [onload], [onerror], [src], a[href]").count()
                == 0
            )
            assert opened.page.evaluate("window.hit") is None
        assert not opened.outside
        assert all("event handler" in complaint for complaint in opened.complaints)  # refused, and said so


# What is found in some HTML: parsed but not in the page, put into the page, or cleaned by the page first.
FIND = """async ([how, html]) => {
  let box = document.createElement('div');
  if (how === 'parsed') box = new DOMParser().parseFromString(html, 'text/html').documentElement;
  else if (how === 'put') box.innerHTML = html;
  else box.append((await import(how)).sanitize(html));
  if (how !== 'parsed') document.body.append(box);
  const declared = (style, name) => [name, style.getPropertyValue(name), style.getPropertyPriority(name)].join(' ');
  const style = (e) => [...e.style].map((name) => declared(e.style, name)).sort().join('; ');
  const value = (e, { name, value }) => name === 'style' && how !== 'parsed' ? style(e) : value.trim();
  const found = (e) => [e.localName, ...[...e.attributes].map((a) => `${e.localName} ${a.name}=${value(e, a)}`)];
  return { text: box.textContent, found: [...box.querySelectorAll('*')].flatMap(found).sort() };
}"""
ACTS = re.compile(
    r"(script|style|use|image|animate|set|math|iframe|object|embed|base|meta|link|form|template|noscript|title|xmp)$"
    r"|(?!clipPath id=[\w-]+$)\S+ (on|id=|name=|data-|srcset=|src=(?!data:image/)|href=(?!https://example|#|mailto))"
    r"|.*(url\((?!#p1\)$)|URL|\\\\|expression|position|z-index|var\(|evil|hit\(|]>)"
)


def test_both_sanitizers_agree_and_leave_nothing_that_acts(visitor: BrowserContext, site: str) -> None:
    in_page = f"{site}_static/live_sliders/sanitize.mjs"
    with visit(visitor, site) as opened:

        def find(how: str, html: str) -> dict:
            return opened.page.evaluate(FIND, [how, html])

        opened.open("intro.html")
        cleaned = {html: find("put", sanitize(html)) for html in HOSTILE | HARMLESS}
        opened.assert_clean()  # the browser was asked for nothing that the policy would have had to refuse
        for html, words in (HOSTILE | HARMLESS).items():
            assert cleaned[html]["text"].strip() == words, html
            assert not list(filter(ACTS.match, cleaned[html]["found"])), html
            assert find(in_page, html) == cleaned[html], html
        assert not opened.outside
        assert all(any(map(ACTS.match, find("parsed", html)["found"])) for html in HOSTILE)


# Whether the theme has followed the system's colours.
THEMED = "(scheme) => document.documentElement.dataset.theme === scheme"


@pytest.mark.parametrize("page", [*PAGES, "numbers"])
def test_accessible_and_inside_the_window(browser: Browser, site: str, page: str) -> None:
    from axe_playwright_python.sync_playwright import Axe

    with visit(browser, site, bypass_csp=True) as opened:
        opened.page.add_init_script(METERED)
        for width, scheme in ((1280, "light"), (390, "dark")):
            opened.page.set_viewport_size({"width": width, "height": 900})
            opened.page.emulate_media(color_scheme=scheme)
            opened.open(f"{page}.html")
            assert opened.page.evaluate(THEMED, scheme)
            options = {"resultTypes": ["violations"]}
            found = Axe().run(opened.page, context=".live", options=options).response["violations"]
            serious = [(v["id"], v["nodes"][0]["html"]) for v in found if v["impact"] in ("serious", "critical")]
            assert not serious
            widest = opened.page.evaluate(
                "Math.max(...[...document.querySelectorAll('.live')].map((e) => e.getBoundingClientRect().right))"
            )
            assert widest <= width
            assert opened.page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize(("width", "scheme"), [(1280, "dark"), (390, "light")])
def test_accessible_while_python_starts_and_a_value_is_put_right(
    browser: Browser, site: str, width: int, scheme: str
) -> None:
    from axe_playwright_python.sync_playwright import Axe

    with visit(browser, site, viewport={"width": width, "height": 900}, color_scheme=scheme, bypass_csp=True) as opened:
        held: list = []
        opened.page.context.route("**/pyodide.mjs", lambda route: held.append(route))
        opened.open("numbers.html")
        opened.page.get_by_label("Type a value for cache").fill("9")
        opened.page.get_by_label("Type a value for cache").press("Enter")
        opened.page.locator(".live-card").first.wait_for(state="visible")
        assert opened.page.locator(".live-hint").first.is_visible()
        found = Axe().run(opened.page, context=".live", options={"resultTypes": ["violations"]}).response["violations"]
        assert not [(v["id"], v["nodes"][0]["html"]) for v in found]
        assert opened.page.evaluate("document.documentElement.scrollWidth") <= width


def test_accessible_while_an_error_is_shown(browser: Browser, site: str) -> None:
    from axe_playwright_python.sync_playwright import Axe

    with visit(browser, site, color_scheme="dark", bypass_csp=True) as opened:
        opened.open("errors.html")
        move_first(opened, value=4)
        opened.page.get_by_text("What Python said").click()
        found = Axe().run(opened.page, context=".live", options={"resultTypes": ["violations"]}).response["violations"]
        assert not [v["id"] for v in found if v["impact"] in ("serious", "critical")]


def test_without_scripts_the_saved_figure_stays(browser: Browser, site: str) -> None:
    with visit(browser, site, java_script_enabled=False) as opened:
        opened.page.goto(site + "figure.html")
        picture = opened.page.locator(".live img")
        assert picture.is_visible()
        assert "Price of a token" in (picture.get_attribute("alt") or "")
        assert "$ per hour" in opened.page.inner_text(".live")


def test_from_a_file_the_saved_figure_stays(browser: Browser, built: Built) -> None:
    with visit(browser, built.site.as_uri()) as opened:
        opened.page.goto((built.site / "figure.html").as_uri())
        assert opened.page.locator(".live img").is_visible()
        assert "Saved figure" in opened.page.inner_text(".live")


# Waits until the browser has stored something.
KEPT = """async () => {
  const kept = async () => (await (await caches.open('live-sliders-memory')).keys()).length;
  while (!(await kept())) await new Promise((next) => setTimeout(next, 50));
}"""


def test_the_second_page_starts_from_kept_memory(browser: Browser, site: str) -> None:
    with visit(browser, site) as opened:
        opened.page.context.route("**/memory-*.bin", lambda route: route.fulfill(body="no memory"))
        opened.open("errors.html")
        move_first(opened, value=1)
        opened.page.evaluate(KEPT)
        opened.open("controls.html")
        assert move_first(opened, value=1)["status"] == "done"
        assert opened.page.evaluate("performance.getEntriesByName('live:restored').length") == 1
        opened.assert_clean()
