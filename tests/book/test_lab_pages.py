"""What the book says of its labs, and where it leads."""

import importlib
import json
import re
import runpy
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from conftest import Site

ROOT = Path(__file__).parents[2]
RELEASED = sorted(path.stem for path in (ROOT / "labs/release").glob("*/*.ipynb"))


@pytest.fixture(scope="module")
def labs() -> ModuleType:
    """The extension, which lies outside of any package."""
    sys.path.insert(0, str(ROOT / "book/_ext"))
    try:
        return importlib.import_module("labs_in_book")
    finally:
        sys.path.remove(str(ROOT / "book/_ext"))


def build(repository: str = "", python: bool = True, **more: Any) -> Any:
    """What the extension asks of Sphinx."""
    config = SimpleNamespace(site_repository=repository, site_source_path="blob/main/")
    return SimpleNamespace(config=config, live_places={"runtime": "x"} if python else None, **more)


def test_a_lab_is_read_from_its_student_version(labs: ModuleType) -> None:
    moe = labs.read_labs(ROOT)["moe"]
    assert (moe.title, moe.minutes, moe.points, moe.by_hand) == (
        "Lab: a mixture of experts, by hand",
        "80",
        35,
        5,
    )
    assert moe.builds[0] == "a router" and len(moe.builds) == 8


def test_a_lab_that_does_not_say_its_minutes_is_named(labs: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "one.ipynb"
    path.write_text(json.dumps({"cells": [{"cell_type": "markdown", "source": ["# Lab: one"], "metadata": {}}]}))
    with pytest.raises(ValueError, match=r"one\.ipynb: the first cell should say .*It takes"):
        labs.read_lab(path)


def addresses(labs: ModuleType, app: Any, text: str = "") -> dict[str, str]:
    """Where each link of a lab leads, by its text."""
    lab = labs.Lab("moe", "Lab: moe", ("a router",), "60", 35, 5, text)
    return {name: to for to, name in re.findall(r'<a [^>]*?href="([^"]*)"[^>]*>([^<]*)<', labs.links(app, lab, "../"))}


def test_a_lab_opens_in_the_browser_where_the_site_has_python(labs: ModuleType) -> None:
    assert addresses(labs, build()) == {
        "Open in the browser": "../lite/notebooks/index.html?path=moe.ipynb",
        "Download": "../labs/moe.ipynb",
    }
    assert list(addresses(labs, build(python=False))) == ["Download"]


def test_services_are_offered_where_they_can_work(labs: ModuleType) -> None:
    github, other = "https://github.com/owner/course/", "https://git.example.org/owner/course/"
    binder = "https://mybinder.org/v2/gh/owner/course/main?urlpath=lab/tree/labs/release/moe/moe.ipynb"
    assert addresses(labs, build(github))["Binder"] == binder
    elsewhere = addresses(labs, build(other), text=f"git+{other}")
    assert "/v2/git/https%3A%2F%2Fgit.example.org%2Fowner%2Fcourse/main" in elsewhere["Binder"]
    assert "Colab" not in elsewhere and "Colab" not in addresses(labs, build(github))  # which installs nothing itself
    installs = addresses(labs, build(github), text='"%pip install --quiet git+https://github.com/owner/course"')
    assert installs["Colab"].endswith("/github/owner/course/blob/main/labs/release/moe/moe.ipynb")


def test_the_first_cell_of_code_installs_costlab_where_the_repository_is_known(tmp_path: Path) -> None:
    derive = runpy.run_path(str(ROOT / "labs/derive.py"))
    config = tmp_path / "_config.yml"
    config.write_text('sphinx:\n  config:\n    site_repository: "https://github.com/owner/course/" # here\n')
    assert derive["repository"](config) == "https://github.com/owner/course"
    assert derive["repository"](tmp_path / "none.yml") == ""
    path = tmp_path / "moe.ipynb"
    path.write_text((ROOT / "labs/release/moe/moe.ipynb").read_text())
    derive["add_install"](path, "https://github.com/owner/course")
    cells = [cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "code"]
    assert "    %pip install --quiet git+https://github.com/owner/course\n" in cells[0]["source"]


def test_without_python_the_labs_are_there_to_download(
    labs: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "lite").mkdir()  # of an earlier build
    app = build(python=False, outdir=tmp_path, builder=SimpleNamespace(format="html"), labs=labs.read_labs(ROOT))
    labs.finish(app, None)
    assert sorted(path.stem for path in (tmp_path / "labs").iterdir()) == RELEASED
    assert not (tmp_path / "lite").exists() and "no Python for the browser" in capsys.readouterr().out


@pytest.mark.parametrize("lab", RELEASED)
def test_each_chapter_with_a_lab_offers_it_and_the_page_of_labs_lists_it(site: Site, lab: str) -> None:
    chapter, listed = ((site.folder / f"book/{page}.html").read_text() for page in (lab, "labs"))
    assert chapter.count('<aside class="lab-offer"') == 1
    for page in (chapter, listed):
        assert f'href="../labs/{lab}.ipynb" download' in page
    assert f'href="{lab}.html"' in listed.partition('class="lab-table')[2]
    assert (site.folder / f"labs/{lab}.ipynb").read_text() == (ROOT / f"labs/release/{lab}/{lab}.ipynb").read_text()
