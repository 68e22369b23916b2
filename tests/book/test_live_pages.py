"""Sliders of chapters in the published page: each of a chapter's, both ends and back, beside what a kernel computes.

The build has compared every page's Python with its notebook, each view as it was saved, and `tests/live_sliders` turns
every kind of control. So every seventh chapter is opened here, and every chapter where the tests run in full.
"""

from pathlib import Path

import pytest
from conftest import Site, chapters_with_sliders
from effort import some
from live_drive import check_page
from playwright.sync_api import BrowserContext

CHAPTERS = some(chapters_with_sliders(), 7)


@pytest.mark.parametrize("notebook", CHAPTERS, ids=lambda path: path.stem)
def test_every_slider_computes_what_a_kernel_computes(visitor: BrowserContext, site: Site, notebook: Path) -> None:
    """Text equal to the digit, figures changed and alike, no error, no request to another site."""
    if not (site.folder / "_static" / "live_sliders").is_dir():
        pytest.skip("the book was built without the browser's Python: set COSTLAB_LIVE_RUNTIME or go online")
    assert check_page(visitor, site.url, f"book/{notebook.stem}", notebook) > 0
