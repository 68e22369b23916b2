"""Every slider of every chapter, in the published page: both ends and back, beside what a kernel computes."""

from pathlib import Path

import pytest
from conftest import Site, chapters_with_sliders
from live_drive import check_page, visit
from playwright.sync_api import Browser, BrowserContext


@pytest.mark.parametrize("notebook", chapters_with_sliders(), ids=lambda path: path.stem)
def test_every_slider_computes_what_a_kernel_computes(visitor: BrowserContext, site: Site, notebook: Path) -> None:
    """Text equal to the digit, figures changed and alike, no error, no request to another site."""
    if not (site.folder / "_static" / "live_sliders").is_dir():
        pytest.skip("the book was built without the browser's Python: set COSTLAB_LIVE_RUNTIME or go online")
    assert check_page(visitor, site.url, f"book/{notebook.stem}", notebook) > 0


FIRST_LOAD_BYTES = 1_500_000
# The theme's script puts a drawing in the place of each icon's element; an icon that it lacks stays without a path.
ICONS_WITHOUT_DRAWING = """() => [...document.querySelectorAll('i[class*="fa-"], svg.svg-inline--fa')]
  .filter((e) => !e.querySelector('path')).map((e) => e.outerHTML.slice(0, 100))"""


def test_light_before_the_first_touch(browser: Browser, site: Site) -> None:
    """Each page, with text sent compressed, as public hosts do; and every icon is there."""
    for name in site.pages:
        with visit(browser, site.url) as opened:
            opened.open(name)
            assert opened.weight() < FIRST_LOAD_BYTES, name
            assert not opened.page.evaluate(ICONS_WITHOUT_DRAWING), name
