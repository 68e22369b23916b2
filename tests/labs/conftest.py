"""What the tests of the labs look at: each lab's student version, derived anew, and three submissions of it, scored."""

import shutil
from pathlib import Path

import pytest

from labs import course as c


@pytest.fixture(scope="module", params=c.LABS)
def lab(request: pytest.FixtureRequest) -> str:
    """The name of a lab."""
    return str(request.param)


@pytest.fixture(scope="session")
def releases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the student version of each lab, derived from its source as `make labs` does."""
    folder = tmp_path_factory.mktemp("course") / "labs"
    folder.mkdir()
    shutil.copy(c.ROOT / "_config.yml", folder.parent)  # says whether labs install costlab, and from where
    for each in c.CONFIGURATION:
        shutil.copy(c.ROOT / "labs" / each, folder)
    shutil.copytree(c.ROOT / "labs" / "source", folder / "source")
    c.in_fresh_process(c.derive_all, folder)
    return folder / "release"


@pytest.fixture(scope="module")
def scored(lab: str, releases: Path) -> c.Scored:
    """Three submissions, scored: nothing done, everything solved, mistakes made."""
    return c.Scored.of(lab, releases / lab / f"{lab}.ipynb")
