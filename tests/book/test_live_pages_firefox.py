"""Sliders of chapters in Firefox: each view's first control to one end, its figure drawn anew.

What a chapter's page computes, Chromium shows; what Firefox does otherwise, it does on every page. So one chapter in
eight is opened here, none that Chromium turns by default, and every chapter where the tests run in full.
"""

from pathlib import Path

import pytest
from conftest import Site, chapters_with_sliders
from effort import some
from live_firefox import Firefox, move

COUNT = "return document.querySelectorAll('[data-live-view]').length"
CHAPTERS = some(chapters_with_sliders(), 8, first=1)


@pytest.mark.parametrize("notebook", CHAPTERS, ids=lambda path: path.stem)
def test_every_view_recomputes(fox: Firefox, site: Site, notebook: Path) -> None:
    if not (site.folder / "_static" / "live_sliders").is_dir():
        pytest.skip("the book was built without the browser's Python: set COSTLAB_LIVE_RUNTIME or go online")
    fox.open(f"{site.url}book/{notebook.stem}.html")
    views = fox.run(COUNT)
    assert views > 0
    for view in range(views):
        move(fox, view, "min")
