"""What a reader does beside dragging: types, resets, shares an address, waits; and the prose that follows."""

from __future__ import annotations

import re

import pytest
from live_book import Built
from live_drive import ALIVE, METERED, Visit, visit
from playwright.sync_api import Browser, BrowserContext, Locator

PAGE = "numbers.html"
BYTES = "[data-live-number=bytes]"
MOVED = "(id) => document.querySelector(`[data-live-view='${id}']`).dataset.liveMove"
# Where each part of the view lies in the document, but for the veil's own.
PLACES = """() => [...document.querySelectorAll('.live *')]
  .filter((each) => each.getClientRects().length && !each.closest('.live-veil'))
  .map((each) => each.getBoundingClientRect().top + scrollY)"""
# A clipboard that takes a text where it may.
CLIPBOARD = """Object.defineProperty(navigator, 'clipboard', { value: { writeText: async (text) => {
  if (!window.mayCopy) throw new Error('no');
  window.copied = text;
} } })"""
# How far the veil begins below the figure, and by how much it is higher.
OFF = """() => {
  const [veil, area] = ['.live-veil', '.live-output']
    .map((each) => document.querySelector(each).getBoundingClientRect());
  return [veil.top - area.top, veil.height - area.height];
}"""


def first_view(opened: Visit) -> str:
    """The model of the page's first view."""
    return opened.plan()["views"][0]["model"]


def field(opened: Visit, name: str) -> Locator:
    """The field beside a slider."""
    return opened.page.get_by_label(f"Type a value for {name}").first


def type_in(opened: Visit, name: str, text: str) -> str:
    """Type into the field beside a slider and return what the first view answers."""
    field(opened, name).fill(text)
    field(opened, name).press("Enter")
    return opened.answer(first_view(opened))["text"]


def hash_is(opened: Visit, text: str) -> None:
    """Wait for the page's address to say this."""
    opened.page.wait_for_function("(text) => decodeURIComponent(location.hash) === text", arg=text)


def hint(opened: Visit) -> str:
    """What the page says of the value typed last."""
    return " ".join(opened.page.locator(".live-hint:visible").all_inner_texts())


def test_python_begins_where_the_saved_page_stands(visitor: BrowserContext, site: str) -> None:
    """The cells make the slider at 1; the page was saved with it at 7."""
    with visit(visitor, site) as opened:
        opened.open(PAGE)
        view = opened.plan()["views"][2]["model"]
        assert opened.read(view)["text"].strip() == "digits 72"
        opened.page.get_by_role("slider", name="second digit").fill("5")
        assert opened.answer(view)["text"].strip() == "digits 75"
        opened.assert_clean()


def test_a_value_can_be_typed_with_its_unit_and_is_kept_in_bounds(visitor: BrowserContext, site: str) -> None:
    with visit(visitor, site) as opened:
        opened.open(PAGE)
        assert [field(opened, name).input_value() for name in ("cache (TB)", "hit rate")] == ["0.05", "90%"]
        assert opened.page.locator(".live-unit").first.inner_text() == "TB"
        assert opened.page.get_by_role("slider", name="cache (TB)").get_attribute("aria-valuetext") == "0.05 TB"
        assert "1.3 TB, 0.9 hits" in type_in(opened, "cache (TB)", " 1.3TB")
        assert "1.3 TB, 0.85 hits" in type_in(opened, "hit rate", "85")
        assert not hint(opened)
        assert "2 TB, 0.85 hits" in type_in(opened, "cache (TB)", "1,000")
        assert hint(opened) == "The most here is 2.00 TB."
        assert field(opened, "cache (TB)").input_value() == "2.00"
        assert "2 TB" in type_in(opened, "cache (TB)", "much")
        assert hint(opened) == "“much” is no number; the value stays 2.00 TB."
        assert "0.5 TB" in type_in(opened, "cache (TB)", "0.5")
        assert not hint(opened)
        opened.assert_clean()


def test_reset_goes_back_to_the_saved_values_in_one_computation(visitor: BrowserContext, site: str) -> None:
    with visit(visitor, site) as opened:
        opened.open(PAGE)
        type_in(opened, "cache (TB)", "1")
        assert "run 3" in type_in(opened, "hit rate", "0.5")
        hash_is(opened, "#cache=1&hit-rate=0.5")
        opened.page.get_by_role("button", name="Reset").first.click()
        assert re.search(r"run 4, \d+ px, 0.05 TB, 0.9 hits, small", opened.answer(first_view(opened))["text"])
        hash_is(opened, "")


def test_the_address_carries_what_was_changed_and_brings_it_back(visitor: BrowserContext, site: str) -> None:
    with visit(visitor, site) as opened:
        opened.open(PAGE + "#the-end")
        type_in(opened, "cache (TB)", "1.5")
        opened.page.get_by_label("model", exact=True).select_option("large & wide")
        hash_is(opened, "#the-end&cache=1.5&model=large+&+wide")
        address = opened.page.url
    with visit(visitor, site) as opened:
        opened.page.goto(address)
        opened.page.wait_for_function(ALIVE)
        assert re.search(r"run 2, \d+ px, 1.5 TB, 0.9 hits, large", opened.answer(first_view(opened))["text"])
        assert opened.page.locator("#the-end").evaluate("(e) => e.getBoundingClientRect().top < innerHeight")
        second = opened.plan()["views"][1]["model"]
        assert opened.read(second)["status"] == "saved"
        opened.page.evaluate("location.hash = 'hit-rate-2=7'")
        opened.page.wait_for_function(MOVED, arg=second)
        assert opened.answer(second)["text"].strip() == "14"
        opened.assert_clean()


WRONG = ("cache=3", "cache=", "cache=x", "cache=1&cache=1", "hit-rate-2=1.5", "model=tiny", "other=1", "the-end")
# Changes what follows "#", and waits until the page, which listens since before, has heard of it.
GO_TO = """(hash) => new Promise((heard) => {
  addEventListener('hashchange', heard, { once: true });
  location.hash = hash;
})"""


def test_what_no_control_could_be_set_to_is_passed_over(visitor: BrowserContext, site: str) -> None:
    """In the address that the page is opened with, and in those that it is led to afterwards."""
    with visit(visitor, site) as opened:
        opened.page.add_init_script(METERED)
        opened.page.goto(f"{site}{PAGE}#{WRONG[0]}")
        opened.page.wait_for_function(ALIVE)
        for wrong in WRONG:
            if wrong != WRONG[0]:
                opened.page.evaluate(GO_TO, wrong)
            assert opened.page.locator("[data-live-move]").count() == 0, wrong
        opened.page.evaluate(GO_TO, "hit-rate-2=7")  # what it could be set to is heard of in the same way
        assert opened.page.locator("[data-live-move]").count() == 1
        opened.assert_clean()


def test_links_inside_the_page_still_lead_there(browser: Browser, site: str) -> None:
    with visit(browser, site, viewport={"width": 1280, "height": 200}) as opened:
        opened.page.add_init_script(METERED)
        opened.open(PAGE)
        opened.page.get_by_role("link", name="the end", exact=True).click()
        assert opened.page.url.endswith("#the-end")
        opened.page.wait_for_function("() => scrollY > 0")
        assert opened.page.locator("[data-live-move]").count() == 0


def test_a_link_to_the_view_is_copied_or_offered(visitor: BrowserContext, site: str) -> None:
    with visit(visitor, site) as opened:
        opened.page.add_init_script(CLIPBOARD)
        opened.open(PAGE)
        type_in(opened, "cache (TB)", "1")
        offered = opened.page.get_by_label("Link to this view as it is set").first
        for clipboard in (True, False):
            opened.page.evaluate("(clipboard) => { window.mayCopy = clipboard; }", clipboard)
            opened.page.get_by_role("button", name="Copy link").first.click()
            said = opened.page.get_by_role("status").first
            said.filter(has_text="copied." if clipboard else "Copy this link").wait_for()
            link = opened.page.evaluate("window.copied") if clipboard else offered.input_value()
            assert link == f"{site}{PAGE}#numbers-with-units-in-prose-and-in-the-address&cache=1"
            assert offered.is_visible() is not clipboard


def test_prose_and_figures_follow_the_page(browser: Browser, site: str) -> None:
    with visit(browser, site, viewport={"width": 1280, "height": 900}) as opened:
        opened.open(PAGE)
        assert opened.page.inner_text(BYTES) == "50 GB"
        for size in ({"width": 1280, "height": 900}, {"width": 390, "height": 844}):
            opened.page.set_viewport_size(size)
            width = opened.page.locator(".live-output").first.evaluate("(e) => e.clientWidth")
            assert f"{width} px" in type_in(opened, "cache (TB)", f"{width / 1000}")
            assert opened.page.inner_text(BYTES) == f"{width:,} GB"
        opened.assert_clean()


def test_progress_lies_on_the_figure_and_moves_nothing(browser: Browser, site: str) -> None:
    with visit(browser, site) as opened:
        held: list = []
        opened.page.context.route("**/pyodide.mjs", lambda route: held.append(route))
        opened.open("figure.html")
        area, line = opened.page.locator(".live-output"), opened.page.locator(".live-status")
        assert line.bounding_box()["y"] < area.bounding_box()["y"]  # type: ignore[index]
        before = opened.page.evaluate(PLACES)
        opened.page.get_by_role("slider", name="knee").fill("128")
        opened.page.locator(".live-card").wait_for(state="visible")
        for motion in ("no-preference", "reduce"):
            opened.page.emulate_media(reduced_motion=motion)
            assert opened.page.evaluate(PLACES) == before
            assert "First move: about" in opened.page.locator(".live-card").inner_text()
            assert "Starting Python" in opened.page.locator(".live-card").inner_text()
            assert opened.page.evaluate(OFF) == [0, 0]
            name = opened.page.locator(".live-fill").evaluate("(e) => getComputedStyle(e).animationName")
            assert name == ("none" if motion == "reduce" else "live-fill")
        held[0].continue_()
        opened.answer(first_view(opened))
        opened.page.locator(".live-card").wait_for(state="hidden")
        opened.assert_clean()


def test_a_shipped_memory_is_what_python_starts_from(browser: Browser, site: str, built: Built) -> None:
    if not list(built.site.glob("_static/live_sliders/memory-*.bin")):
        pytest.skip("the book was built without node, and so without a memory")
    with visit(browser, site) as opened:
        opened.open(PAGE)
        assert "1 TB" in type_in(opened, "cache (TB)", "1")
        assert opened.page.evaluate("performance.getEntriesByName('live:restored').length") == 1
        opened.assert_clean()
