"""The labs in the reader's browser: JupyterLite beside the book, the site's own Python, and nobody else."""

import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from conftest import Site, served
from nbformat.v4 import new_code_cell
from playwright.sync_api import Browser, BrowserContext, Page

from costlab.lab.notebooks import is_check
from labs import course as c

LAB = "moe"  # opened and run as a reader does; the others are scored in its kernel
# Below the solved lab: the points of all of them, from the files that the reader has in the browser.
SCORES = """
from costlab import lab
for name in {labs}:
    found = lab.score(f"{{name}}.ipynb")
    failed = [each.failed for each in found.tasks if each.failed]
    print(f"SCORED {{name}} {{found.points:g}} {{found.of:g}}", failed)
"""
DONE = """() => {
  const said = [...document.querySelectorAll(".jp-CodeCell .jp-InputPrompt")].map((each) => each.textContent.trim())
  return said.length > 0 && said.every((each) => /^\\[\\d+\\]:$/.test(each))
}"""


@dataclass(frozen=True)
class Visited:
    """The lab as it stands after *Run All Cells*, the page's context, and what was asked of other hosts."""

    page: Page
    context: BrowserContext
    elsewhere: list[str]


@pytest.fixture(scope="module")
def solved_site(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site's labs, linked, with solved notebooks in place of the students'."""
    if not (site.folder / "lite").is_dir():
        pytest.skip("the book was built without Python for the browser")
    folder = tmp_path_factory.mktemp("solved")
    for part in ("lite", "_static/live_sliders"):
        shutil.copytree(site.folder / part, folder / part, copy_function=os.link)
    for lab in c.LABS:
        notebook = c.source(lab)
        if lab == LAB:
            marked = {"id": "all", "metadata": {"tags": ["score"]}}  # else it would score itself, without an end
            notebook.cells.append(new_code_cell(SCORES.format(labs=c.LABS), **marked))
        path = folder / f"lite/files/{lab}.ipynb"
        path.unlink()  # a link to the site's own
        path.write_text(json.dumps(notebook))
    return folder


@pytest.fixture(scope="module")
def visited(browser: Browser, solved_site: Path) -> Iterator[Visited]:
    """A visit to one lab: opened, all cells run."""
    context = browser.new_context()
    elsewhere: list[str] = []
    with served(solved_site) as url:
        context.on("request", lambda request: request.url.startswith((url, "data:")) or elsewhere.append(request.url))
        page = context.new_page()
        page.set_default_timeout(120_000)
        page.goto(f"{url}lite/notebooks/index.html?path={LAB}.ipynb")
        ready(page)
        page.get_by_role("menuitem", name="Run", exact=True).click()
        page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
        page.wait_for_function(DONE)
    # here the server has ended
    yield Visited(page, context, elsewhere)
    context.close()


def ready(page: Page) -> None:
    """Wait until the notebook has a kernel: before that JupyterLab runs nothing."""
    page.locator(".jp-Toolbar-kernelName", has_text="Python").wait_for()


def outputs(page: Page) -> str:
    """All that the notebook's cells printed."""
    return "\n".join(page.locator(".jp-OutputArea-output").all_inner_texts())


def test_a_lab_runs_to_its_end_and_asks_no_other_host(visited: Visited) -> None:
    assert not visited.elsewhere
    assert "Traceback" not in outputs(visited.page)


@pytest.mark.parametrize("lab", c.LABS)
def test_each_solved_lab_has_all_its_points(visited: Visited, lab: str) -> None:
    (line,) = [line for line in outputs(visited.page).splitlines() if line.startswith(f"SCORED {lab} ")]
    of = sum(cell["metadata"]["nbgrader"]["points"] for cell in c.source(lab).cells if is_check(cell))
    assert line == f"SCORED {lab} {of:g} {of:g} []"


def test_another_lab_opens_and_runs_without_a_network(visited: Visited) -> None:
    """The first visit has kept all that the labs have in common, and the notebooks; the server is gone."""
    page, other = visited.page, "hybrid"
    page.goto(page.url.replace(f"{LAB}.ipynb", f"{other}.ipynb"))
    ready(page)
    page.locator(".jp-CodeCell .cm-content").first.click()
    page.keyboard.press("Shift+Enter")
    page.get_by_text("[1]:", exact=True).wait_for()
    assert "Traceback" not in outputs(page)
    assert "a stack of full and sliding layers" in page.inner_text(".jp-Notebook")
