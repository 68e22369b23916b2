"""Every slider of every chapter in Firefox: each view's first control to one end, its figure drawn anew."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Site, chapters_with_sliders
from live_firefox import Firefox, installed, move

COUNT = "return document.querySelectorAll('[data-live-view]').length"


@pytest.fixture(scope="module")
def fox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Firefox]:
    """The system's Firefox."""
    yield from installed(Path(tmp_path_factory.mktemp("profile")))


@pytest.mark.parametrize("notebook", chapters_with_sliders(), ids=lambda path: path.stem)
def test_every_view_recomputes(fox: Firefox, site: Site, notebook: Path) -> None:
    if not (site.folder / "_static" / "live_sliders").is_dir():
        pytest.skip("the book was built without the browser's Python: set COSTLAB_LIVE_RUNTIME or go online")
    fox.open(f"{site.url}book/{notebook.stem}.html")
    views = fox.run(COUNT)
    assert views > 0
    for view in range(views):
        move(fox, view, "min")
