"""Builds that must fail, must warn, or must do without."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
from live_book import Built, build, copy_book, one_page_toc


@pytest.fixture
def book(tmp_path: Path) -> Path:
    """A copy of the small book, to spoil."""
    return copy_book(tmp_path / "book")


def share_cache(book: Path, built: Built) -> None:
    """Let a book have what the small book's build has kept: the memory that node made of the same runtime."""
    config = book / "_config.yml"
    cache = built.site.with_name("live-cache")
    assert list(cache.glob("memory-*.bin")) or not shutil.which("node")
    config.write_text(config.read_text().replace("live_wheels:", f"live_cache: {cache}\n    live_wheels:"))


def plan_of(built: Built, page: str) -> dict:
    """The plan that a built page carries."""
    html = (built.site / f"{page}.html").read_text()
    return json.loads(re.search(r'id="live-plan">(.*?)</script>', html, re.DOTALL)[1])


def test_a_page_that_needs_torch_fails_the_build(book: Path, runtime: Path, built: Built) -> None:
    share_cache(book, built)
    result = build(book, runtime=runtime, toc=one_page_toc(book, "torch"))
    assert result.status != 0
    assert "torch: cell 2 needs 'torch' (cell 2 → toycost.nn → torch)" in " ".join(result.output.split())
    assert "not-live" in result.output


def test_a_slice_that_shows_something_else_stops_the_build(book: Path, runtime: Path, built: Built) -> None:
    share_cache(book, built)
    toc = one_page_toc(book, "hidden")
    result = build(book, runtime=runtime, toc=toc)
    assert result.status != 0
    assert "live_sliders: hidden: cell 4: the notebook shows '14', the page '0'. " in result.output
    config = book / "_config.yml"
    config.write_text(config.read_text().replace("live_wheels:", "live_check: false\n    live_wheels:"))
    unchecked = build(book, runtime=runtime, toc=toc)
    assert unchecked.status == 0, unchecked.output


def test_a_file_with_a_wrong_hash_stops_the_build(book: Path, runtime: Path, tmp_path: Path) -> None:
    spoiled = tmp_path / "runtime"
    shutil.copytree(runtime, spoiled, copy_function=shutil.copyfile)
    (spoiled / "pyodide.mjs").write_text("// not the one")
    result = build(book, runtime=spoiled, toc=one_page_toc(book, "errors"))
    assert result.status != 0
    assert f"{spoiled / 'pyodide.mjs'} has SHA-256" in result.output


def test_without_a_runtime_the_book_is_static_and_complete(book: Path) -> None:
    result = build(book, runtime=None, toc=one_page_toc(book, "errors"), options=("-W", "--keep-going", "--quiet"))
    assert result.status == 0, result.output
    assert result.output.count("no Python for the browser") == 1
    html = (result.site / "errors.html").read_text()
    assert "live-plan" not in html
    assert "page.mjs" not in html
    assert "0.5" in html


def test_unsupported_widgets_stay_static_and_are_reported(built: Built) -> None:
    assert re.search(r"unsupported\.md.*cell 2: no live control for ColorPicker", built.output)
    html = (built.site / "unsupported.html").read_text()
    assert html.count('class="live"') == 2
    assert html.count("data-live-view") == 1
    assert "beside it: <b>3</b>" in html


def test_tagged_cells_stay_out_of_the_browser(built: Built) -> None:
    html = (built.site / "static.html").read_text()
    assert 'class="live"' in html
    assert "live-plan" not in html
    assert "4 True" in html


def test_only_what_the_slider_needs_travels(built: Built) -> None:
    plan = plan_of(built, "figure")
    sources = "\n".join(cell["source"] for cell in plan["cells"])
    assert "batches = np.logspace" in sources
    assert "unrelated" not in sources
    assert "ipykernel" not in sources
    assert plan["packages"] == ["ipywidgets", "matplotlib", "numpy"]
    assert [Path(wheel).name for wheel in plan["wheels"]] == ["toycost-0.1.0-py3-none-any.whl"]
    assert plan_of(built, "errors")["packages"] == ["ipywidgets"]


def test_what_only_ipython_reads_stays_at_home(built: Built) -> None:
    sources = [cell["source"] for cell in plan_of(built, "dialect")["cells"]]
    assert sources[:2] == ["hours: list[int] = []", "hours.extend([3, 4])\ntable = sum(range(10))"]
    assert "get_ipython" not in "".join(sources)
    assert "21 135 0" in (built.site / "dialect.html").read_text()


def test_prose_names_numbers_of_outputs(built: Built) -> None:
    html = (built.site / "dialect.html").read_text()
    assert '<p>It takes <span class="live-number" data-live-number="hours">21.0</span> hours, and no ' in html
    assert html.count("data-live-number") == 1
    assert re.search(r"dialect\.md:\d+: WARNING: live number, no output .*'live-days'", built.output)


def test_links_in_javascript_are_reported(built: Built) -> None:
    assert re.search(r"dialect\.md.*cell \d+: the page does not follow jslink between IntSlider 'slider'", built.output)


def test_every_page_has_a_strict_policy_and_nothing_from_elsewhere(built: Built) -> None:
    for page in set(built.site.glob("*.html")) - {built.site / "index.html"}:  # that one only redirects
        html = page.read_text()
        policy = re.search(r'Content-Security-Policy" content="([^"]*)"', html)[1].replace("&#x27;", "'")
        scripts = next(part for part in policy.split("; ") if part.startswith("script-src"))
        assert "'unsafe-inline'" not in scripts
        assert "'unsafe-eval'" not in scripts
        assert not re.search(r'<(script|link|img)[^>]+(src|href)="https?://(?!example)[^"]*\.(js|css|png)', html)
        assert "html-manager" not in html


def test_each_notebook_can_be_downloaded_and_run_at_home(built: Built) -> None:
    html = (built.site / "figure.html").read_text()
    assert 'href="_sources/figure.ipynb" download' in html
    assert "make lab" in html
    assert (built.site / "_sources" / "figure.ipynb").is_file()
    assert "make lab" not in (built.site / "intro.html").read_text()
