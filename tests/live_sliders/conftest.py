"""The small book of this folder: built once, served while the tests run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import one_at_a_time
from live_book import RUNTIME_VARIABLE, Built, build, copy_book, runtime_folder, serve


@pytest.fixture(scope="session")
def runtime() -> Path:
    """The browser's Python, or a skip that says how to get it."""
    folder = runtime_folder()
    if folder is None:
        pytest.skip(f"no Python for the browser: set {RUNTIME_VARIABLE} to a folder with Pyodide's files")
    return folder


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory, worker_id: str, runtime: Path) -> Built:
    """The small book with live sliders, built once for all workers."""
    mine = tmp_path_factory.getbasetemp()
    book = (mine if worker_id == "master" else mine.parent) / "live" / "book"
    with one_at_a_time(book.with_name("output.txt")) as output:
        if not output.read_text():
            result = build(copy_book(book), runtime=runtime)
            assert result.status == 0, result.output
            output.write_text(result.output)
        return Built(book / "_build" / "html", output.read_text(), 0)


@pytest.fixture(scope="session")
def site(built: Built) -> Iterator[str]:
    """The address at which the small book is served."""
    with serve(built.site) as address:
        yield address
