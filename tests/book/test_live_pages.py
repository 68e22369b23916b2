"""Every slider of every chapter, in the published page: both ends and back, beside what a kernel computes."""

from pathlib import Path

import pytest
from conftest import Site, chapters_with_sliders
from live_drive import check_page
from playwright.sync_api import BrowserContext


@pytest.mark.parametrize("notebook", chapters_with_sliders(), ids=lambda path: path.stem)
def test_every_slider_computes_what_a_kernel_computes(visitor: BrowserContext, site: Site, notebook: Path) -> None:
    """Text equal to the digit, figures changed and alike, no error, no request to another site."""
    if not (site.folder / "_static" / "live_sliders").is_dir():
        pytest.skip("the book was built without the browser's Python: set COSTLAB_LIVE_RUNTIME or go online")
    assert check_page(visitor, site.url, f"book/{notebook.stem}", notebook) > 0
