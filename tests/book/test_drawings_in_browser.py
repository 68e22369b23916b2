"""The drawings in the built pages: whole and legible at every width, and stepped through by buttons and keys."""

from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import ROOT, Site
from playwright.sync_api import Browser, Page

# Texts that leave their drawing, lie on one another, or are too small: of the drawings that are shown now.
ILLEGIBLE = """(root) => [...(root ?? document).querySelectorAll('.drawing svg')].flatMap((svg) => {
  const frame = svg.getBoundingClientRect();
  if (!frame.width) return [];
  const title = svg.closest('.drawing').querySelector('.drawing-title')?.textContent ?? svg.getAttribute('aria-label');
  const texts = [...svg.querySelectorAll('text')].map((e) => ({
    words: e.textContent, box: e.getBoundingClientRect(),
    size: parseFloat(getComputedStyle(e).fontSize) * frame.width / svg.viewBox.baseVal.width,
  })).filter(({ words }) => words.trim());
  const outside = texts.filter(({ box }) => box.left < frame.left - 2 || box.right > frame.right + 2
    || box.top < frame.top - 2 || box.bottom > frame.bottom + 2).map(({ words }) => `outside: ${words}`);
  const small = texts.filter(({ size }) => size < 11.5).map(({ words, size }) => `${size.toFixed(1)} px: ${words}`);
  const across = (a, b) => Math.min(a.right, b.right) - Math.max(a.left, b.left);
  const down = (a, b) => Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
  const upon = texts.flatMap((a, i) => texts.slice(i + 1)
    .filter((b) => across(a.box, b.box) > 2 && down(a.box, b.box) > 4)
    .map((b) => `one on another: ${a.words} | ${b.words}`));
  return [...outside, ...small, ...upon].slice(0, 3).map((text) => `${title.slice(0, 50)}: ${text}`);
})"""

SHOWN = """() => [...document.querySelectorAll('.drawing svg')]
  .filter((e) => e.getBoundingClientRect().width).map((e) => e.classList[0])"""


def opened(browser: Browser, url: str, width: int, **how: object) -> Page:
    """Open a page in a window of its own."""
    page = browser.new_context(viewport={"width": width, "height": 900}, **how).new_page()
    page.goto(url, wait_until="domcontentloaded")  # style and scripts are there; formulas need not be
    return page


def pages_with(site: Site, mark: str) -> list[str]:
    """Return the book's pages whose source holds a mark."""
    return [page for page in site.pages if mark in (site.folder / page).read_text()]


@pytest.mark.parametrize(("width", "variant"), [(1280, "drawing-wide"), (390, "drawing-narrow")])
def test_every_drawing_is_legible(browser: Browser, site: Site, width: int, variant: str) -> None:
    found, shown = {}, set()
    for name in pages_with(site, 'class="drawing'):
        page = opened(browser, site.url + name, width)
        found[name] = page.evaluate(ILLEGIBLE)
        shown |= set(page.evaluate(SHOWN))
        page.context.close()
    assert not {name: faults for name, faults in found.items() if faults}
    assert shown == {variant}


def test_frames_step_by_button_and_key(browser: Browser, site: Site) -> None:
    """Each step of each row of frames, at both widths: one is shown, and it is legible."""
    names = pages_with(site, "drawing-frames")
    assert names
    for name, width in [(name, width) for name in names for width in (1280, 390)]:
        page = opened(browser, site.url + name, width)
        for host in page.locator(".drawing-frames").all():
            steps = host.locator(".drawing-frame")
            back, forth = host.get_by_role("button", name="Back"), host.get_by_role("button", name="Next")
            assert back.is_disabled()
            for step in range(1, steps.count() + 1):
                assert host.get_attribute("data-step") == str(step)
                assert [each.is_visible() for each in steps.all()].count(True) == 1
                assert f"Step {step} of {steps.count()}" in host.inner_text()
                assert not host.evaluate(ILLEGIBLE), name
                if step < steps.count():
                    forth.click() if step % 2 else host.press("ArrowRight")
            assert forth.is_disabled()
            host.press("ArrowLeft")
            assert host.get_attribute("data-step") == str(steps.count() - 1)
        page.context.close()


def test_without_scripts_all_frames_stand_in_the_page(browser: Browser, site: Site) -> None:
    name = pages_with(site, "drawing-frames")[0]
    page = opened(browser, site.url + name, 1280, java_script_enabled=False)
    assert all(frame.is_visible() for frame in page.locator(".drawing-frame").all())
    page.context.close()


BAD = """<!doctype html><html lang="en"><title>Bad</title><link rel="stylesheet" href="custom.css"><div class="drawing">
<p class="drawing-title">What is wrong?</p><svg class="drawing-wide" viewBox="0 0 100 50">
<text x="10" y="20" font-size="11">one name</text><text x="12" y="21" font-size="11">another</text>
<text x="90" y="40" font-size="11">too far right</text>
<text x="1" y="48" font-size="1">tiny</text></svg></div></html>"""


def test_the_checks_can_fail(browser: Browser, serve: Callable[[Path], str], tmp_path: Path) -> None:
    (tmp_path / "bad.html").write_text(BAD)
    (tmp_path / "custom.css").write_text((ROOT / "book/web/custom.css").read_text())
    page = opened(browser, serve(tmp_path) + "bad.html", 1280)
    found = page.evaluate(ILLEGIBLE)
    page.context.close()
    for fault in ("outside: too far right", "px: tiny", "one on another: one name | another"):
        assert any(fault in each for each in found), found
