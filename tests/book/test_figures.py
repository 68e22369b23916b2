"""Numbered captions of cells, in a small book: what a page shows, and what stops a build."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]

CONFIG = f"""
title: Small
only_build_toc_files: true
execute: {{execute_notebooks: force}}
sphinx:
  local_extensions: {{figures: {ROOT / "book" / "_ext"}, live_sliders: {ROOT}}}
  config:
    numfig_format: {{figure: "Figure %s", table: "Table %s"}}
    mathjax_path: none.js
    nb_ipywidgets_js: {{}}
"""
TOC = "format: jb-book\nroot: intro\nparts:\n- {caption: All, numbered: 1, chapters: [{file: one}, {file: two}]}\n"
SLIDER = "import ipywidgets\nipywidgets.interact(lambda batch: print('doubled', 2 * batch), batch=(1, 9));"
GLUE = "from myst_nb import glue\nglue('experts', '384', display=False)"
GLUED = "Of {glue:text}`experts`, *all*: $x^2$."
PROSE = "# Two\n\nSee {numref}`fig-two-slider`, {numref}`tab-two-parts`, {numref}`Drawing {number} <fig-two-plain>`."
TABLE = "from IPython.display import HTML\nHTML('<table><tr><td>48.8</td></tr></table>')"


def code(source: str, *tags: str, **metadata: Any) -> dict[str, Any]:
    """A code cell that has not been run."""
    metadata |= {"tags": list(tags)} if tags else {}
    return {"cell_type": "code", "source": source, "metadata": metadata, "outputs": [], "execution_count": None}


def figure(name: str, caption: str) -> dict[str, str]:
    return {"name": name, "caption": caption}


def chapter(*cells: dict[str, Any], title: str = "# Chapter\n\n## Part") -> str:
    """A notebook as JSON."""
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    text = {"cell_type": "markdown", "source": title, "metadata": {}}
    return json.dumps({"cells": [text, *cells], "metadata": kernel, "nbformat": 4, "nbformat_minor": 4})


def build(folder: Path, one: str, two: str) -> subprocess.CompletedProcess[str]:
    """Build the small book with warnings as errors, and no Python for the browser."""
    texts = {"_config.yml": CONFIG, "_toc.yml": TOC, "intro.md": "# Small", "one.ipynb": one, "two.ipynb": two}
    for name, text in texts.items():
        (folder / name).write_text(text)
    command = [Path(sys.executable).with_name("jupyter-book"), "build", str(folder), "-W", "-n", "--keep-going"]
    environment = os.environ | {"COSTLAB_LIVE_RUNTIME": str(folder / "none"), "https_proxy": "http://127.0.0.1:9"}
    (folder / "none").mkdir()
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The second chapter of a sound book."""
    folder = tmp_path_factory.mktemp("figures")
    one = chapter(code("print(1)", figure=figure("fig-one-a", "First.")))
    two = chapter(
        code(GLUE, "remove-cell"),
        code("print('plain')", "hide-input", "not-live", figure=figure("fig-two-plain", GLUED)),
        code(SLIDER, figure=figure("fig-two-slider", "Doubles, as in {numref}`fig-one-a`.")),
        code(TABLE, table=figure("tab-two-parts", "Parts.")),
        title=PROSE,
    )
    done = build(folder, one, two)
    assert done.returncode == 0, done.stdout + done.stderr
    return (folder / "_build/html/two.html").read_text()


def figures(html: str) -> dict[str, str]:
    """The page's figures by their names."""
    return {found[1]: found[0] for found in re.finditer(r'<figure[^>]* id="([^"]+)".*?</figure>', html, re.S)}


def text(html: str) -> str:
    """Text without tags, on one line."""
    return " ".join(re.sub(r"<[^>]+>|¶|#(?=</a>)", "", html).split())


def test_each_captioned_cell_is_a_figure_with_a_number_of_its_chapter(page: str) -> None:
    found = figures(page)
    assert list(found) == ["fig-two-plain", "fig-two-slider", "tab-two-parts"]
    captions = {name: re.search(r"<p><span class=.caption-number.*?</p>", html, re.S) for name, html in found.items()}
    assert {name: caption and text(caption[0]) for name, caption in captions.items()} == {
        "fig-two-plain": r"Figure 2.1 Of 384, all: \(x^2\).",
        "fig-two-slider": "Figure 2.2 Doubles, as in Figure 1.1.",
        "tab-two-parts": "Table 2.1 Parts.",
    }
    assert "<em>all</em>" in found["fig-two-plain"]


def test_prose_refers_to_figures_by_number(page: str) -> None:
    paragraph = re.search(r"<p>See .*?</p>", page, re.S)
    assert paragraph and text(paragraph[0]) == "See Figure 2.2, Table 2.1, Drawing 2.1."
    assert re.findall(r'href="(#[^"]*)"', paragraph[0]) == ["#fig-two-slider", "#tab-two-parts", "#fig-two-plain"]


def test_a_figure_holds_what_the_cell_shows_and_a_caption_at_its_end(page: str) -> None:
    found = figures(page)
    plain, slider, table = found["fig-two-plain"], found["fig-two-slider"], found["tab-two-parts"]
    assert plain.index(">plain\n") < plain.index("<figcaption>") and "print(" not in plain
    assert slider.index('class="live"') < slider.index("doubled 10") < slider.index("<figcaption>")
    assert table.index("Parts.") < table.index("48.8")
    for html in found.values():
        assert html.count("<figcaption>") == html.count("</figcaption>") == 1


WRONG = {
    "figure is 'fig-x', not {": {"figure": "fig-x"},
    "figure without name: ": {"figure": {"caption": "No name."}},
    "figure without caption: ": {"figure": {"name": "fig-x", "caption": "  "}},
    "figure: unknown key 'alt'; known here: name, caption": {"figure": figure("fig-y", "A.") | {"alt": "no"}},
    "table without name and caption: ": {"table": {}},
}


def test_metadata_that_name_no_figure_stop_the_build(tmp_path: Path) -> None:
    cells = [code("1", **metadata) for metadata in WRONG.values()]
    empty = code("x = 1", figure=figure("fig-empty", "Nothing."))
    twice = code("2", figure=figure("fig-one", "Twice."))
    done = build(tmp_path, chapter(code("1", figure=figure("fig-one", "Once."))), chapter(*cells, empty, twice))
    assert done.returncode != 0
    said = " ".join(done.stderr.split())
    wanted = [*WRONG, "figure 'fig-empty': the cell shows nothing", "duplicate label fig-one"]
    assert not [each for each in wanted if each not in said], done.stderr
