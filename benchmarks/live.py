"""From opening a page to a figure that Python drew in it: live sliders beside JupyterLite.

    python benchmarks/live.py [--quick] [--json FILE] [--rounds N]

Both show the same notebook, one log-log figure under a slider, from the same Pyodide and the same wheels, to the same
Chromium on loopback, each time with a fresh profile; the rounds alternate. Ours: the page is opened and its slider
moved. JupyterLite: the notebook is opened in its Lab and all cells are run. The clock stops when a new picture stands
in the page. It starts when the page is opened, and the reader moves at once; or, for a reader who has had the page in
view for four seconds, at the move; or at a later move (JupyterLite: all cells run again). Bytes are those of all files
sent for the first figure, uncompressed (a host may compress some). JupyterLite's kernel needs IPython and what that
needs; pip fetches those.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import nbformat
from peers import ROOT, Row, main, peer
from playwright.sync_api import Browser, Page, sync_playwright

sys.path.insert(0, str(ROOT))  # live_sliders is a folder of the project, not installed

from live_sliders import runtime

TIMEOUT_MS = 120_000
PAUSE_MS = 6_000  # a reader's pause before the next page
READING_MS = 4_000  # how long a reader looks before the first move
LATER_MOVES = 5
CELLS = (
    "import matplotlib.pyplot as plt\nimport numpy as np\nfrom ipywidgets import interact",
    "@interact(knee=(8, 512, 8))\n"
    "def show(knee=64):\n"
    "    batches = np.logspace(0, 3, 50)\n"
    "    fig, ax = plt.subplots()\n"
    "    ax.loglog(batches, 1 / np.minimum(batches, knee))\n"
    "    ax.set_xlabel('requests at a time')",
)
# Where constraints.txt has no version of them, it stands here.
KERNEL_WHEELS = """
    micropip==0.11.1 ipython jedi parso matplotlib-inline prompt_toolkit wcwidth pygments stack_data asttokens
    executing pure_eval typing_extensions pexpect ptyprocess ipython_pygments_lexers
    """.split()  # noqa: SIM905
# What is measured, and its unit.
FIGURES = {
    "seconds": ("from opening a page to the first figure", "s"),
    "again": ("the same in a second page", "s"),
    "near": ("from the first move to its figure, after four seconds in view", "s"),
    "later": ("from a later move to its figure", "s"),
    "megabytes": ("bytes sent for the first figure", "MB"),
}
Step = Callable[[Page, str], None]
Side = tuple[Step, Callable[[Page], None]]  # opens the page, and asks for a new figure


class NotMeasured(Exception):
    """This machine lacks something that no package brings."""


class CountingHandler(SimpleHTTPRequestHandler):
    """Serves files and counts the bytes, those asked for by workers too."""

    sent = 0

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def copyfile(self, source: Any, outputfile: Any) -> None:
        """Send a file."""
        data = source.read()
        CountingHandler.sent += len(data)
        outputfile.write(data)


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serve a folder on a free loopback port."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(CountingHandler, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()


def write_notebook(path: Path, kernel_name: str) -> None:
    """The notebook that both show."""
    kernel = {"kernelspec": {"name": kernel_name, "display_name": "Python"}}
    cells = [nbformat.v4.new_code_cell(source) for source in CELLS]
    cells[-1].metadata["mystnb"] = {"image": {"alt": "a figure"}}
    cells.insert(0, nbformat.v4.new_markdown_cell("# A figure"))
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=kernel), path)


def build_ours(work: Path) -> Path:
    """A Jupyter Book of one page."""
    book = work / "book"
    book.mkdir()
    write_notebook(book / "figure.ipynb", "python3")
    (book / "_toc.yml").write_text("format: jb-book\nroot: figure\n")
    cache = ROOT / "_build" / "live-cache"  # what `make book` fetched is not fetched again
    sphinx = {"extra_extensions": ["live_sliders"], "config": {"live_cache": str(cache)}}
    (book / "_config.yml").write_text(json.dumps({"title": "t", "sphinx": sphinx}))
    start = "from jupyter_book.cli.main import main; main()"  # no script of it lies beside this Python
    _run([sys.executable, "-c", start, "build", book, "--quiet"], PYTHONPATH=str(ROOT))
    return book / "_build" / "html"


def build_lite(work: Path, assembled: Path) -> Path:
    """A JupyterLite site with the same notebook and the same runtime."""
    lite = work / "lite"
    (lite / "files").mkdir(parents=True)
    write_notebook(lite / "files" / "figure.ipynb", "python")
    shutil.copytree(assembled, lite / "static" / "pyodide")
    _add_kernel_wheels(lite / "static" / "pyodide")
    settings = {"exposeAppInBrowser": True, "appName": "lite"}
    config = {"jupyter-lite-schema-version": 0, "jupyter-config-data": settings}
    (lite / "jupyter-lite.json").write_text(json.dumps(config))
    options = ["--contents", "files", "--output-dir", "out", "--no-unused-shared-packages"]
    _run([sys.executable, "-m", "jupyterlite_core", "build", *options], cwd=lite)
    return lite / "out"


def _run(command: list[Any], cwd: Path | None = None, **environment: str) -> None:
    done = subprocess.run(
        list(map(str, command)), cwd=cwd, env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(map(str, command))} failed:\n{done.stdout[-3000:]}{done.stderr[-3000:]}")


def _add_kernel_wheels(folder: Path) -> None:
    """Put the wheels that JupyterLite's kernel needs beside ours, and into Pyodide's lock."""
    for_pyodide = ["--no-deps", "--only-binary=:all:", "--python-version", "3.14", "--platform", "any"]
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--constraint", ROOT / "constraints.txt", *for_pyodide]
    try:
        _run([*pip, "--dest", folder, *KERNEL_WHEELS])
    except SystemExit as error:
        raise NotMeasured("pip could not fetch the wheels of JupyterLite's kernel") from error
    path = folder / "pyodide-lock.json"
    lock = json.loads(path.read_text())
    known = {entry["file_name"] for entry in lock["packages"].values()}
    for wheel in sorted(set(folder.glob("*.whl"))):
        if wheel.name not in known:
            entry = _lock_entry(wheel)
            lock["packages"].setdefault(entry["name"], entry)
    names = [re.sub(r"[_.]", "-", name.partition("==")[0]) for name in KERNEL_WHEELS]
    lock["packages"]["ipython"]["depends"] = ["traitlets", *sorted(set(names) - {"ipython", "micropip"})]
    path.write_text(json.dumps(lock))


def _lock_entry(wheel: Path) -> dict[str, Any]:
    name, version = wheel.name.split("-")[:2]
    module = {"ipython": "IPython"}.get(name, name)
    return {
        "name": re.sub(r"[_.]", "-", name).lower(),
        "version": version,
        "file_name": wheel.name,
        "install_dir": "site",
        "sha256": hashlib.sha256(wheel.read_bytes()).hexdigest(),
        "package_type": "package",
        "imports": [module],
        "depends": [],
        "unvendored_tests": False,
    }


SHOWN = """() => { const { liveMove, liveShown } = document.querySelector('[data-live-view]').dataset;
  return liveMove === liveShown; }"""
MOVE = """() => { const input = document.querySelector('.live input[type=range]');
  input.value = input.value === '128' ? '256' : '128'; input.dispatchEvent(new Event('input', {bubbles: true})); }"""


def open_ours(page: Page, site: str) -> None:
    """Open the page."""
    page.goto(site + "figure.html")
    page.wait_for_selector(".live input[type=range]")


def move_ours(page: Page) -> None:
    """Move the slider from where it stands and wait for the figure."""
    page.evaluate(MOVE)
    page.wait_for_function(SHOWN, timeout=TIMEOUT_MS, polling=5)


LITE_READY = "() => globalThis.jupyterapp?.shell?.currentWidget?.sessionContext?.session?.kernel"
LITE_OLD = """() => document.querySelectorAll('.jp-OutputArea-output img').forEach((e) => { e.dataset.old = 1; })"""
LITE_RUN = "() => { globalThis.jupyterapp.commands.execute('notebook:run-all-cells'); }"
LITE_FIGURE = "() => document.querySelector('.jp-OutputArea-output img[src^=\"data:image/png\"]:not([data-old])')"


def open_lite(page: Page, site: str) -> None:
    """Open the notebook and wait for its kernel."""
    page.goto(site + "lab/index.html?path=figure.ipynb")
    page.wait_for_function(LITE_READY, timeout=TIMEOUT_MS)


def run_lite(page: Page) -> None:
    """Run all cells and wait for a new figure."""
    page.evaluate(LITE_OLD)
    page.evaluate(LITE_RUN)
    page.wait_for_function(LITE_FIGURE, timeout=TIMEOUT_MS, polling=5)


def timed(step: Callable[..., None], *arguments: Any) -> float:
    """Return the seconds that a step takes."""
    began = time.perf_counter()
    step(*arguments)
    return time.perf_counter() - began


def one_round(browser: Browser, site: str, side: Side) -> dict[str, float]:
    """Visit with a fresh profile: the page, later moves, after a pause the page again in another tab.

    Then, with another fresh profile, the page for four seconds before the first move.
    """
    show, ask = side
    CountingHandler.sent = 0
    with browser.new_context() as context:
        page = context.new_page()
        seconds = timed(show, page, site) + timed(ask, page)
        sent = CountingHandler.sent
        later = statistics.median(timed(ask, page) for _ in range(LATER_MOVES))
        page.wait_for_timeout(PAUSE_MS)
        page.close()
        page = context.new_page()
        again = timed(show, page, site) + timed(ask, page)
    with browser.new_context() as context:
        page = context.new_page()
        show(page, site)
        page.wait_for_timeout(READING_MS)
        near = timed(ask, page)
    return {"seconds": seconds, "again": again, "near": near, "later": later, "megabytes": sent / 1e6}


def visits(rounds: int) -> tuple[list[dict[str, float]], list[dict[str, float]]]:
    """Build both sites and visit them in turn: ours, JupyterLite's."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        raise NotMeasured("no Chromium on this machine")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        work = Path(folder)
        ours = build_ours(work)
        lock = runtime.read_lock()
        assembled = next((ours / "_static" / "live_sliders").glob(f"pyodide-{lock.pyodide}-*"), None)
        if assembled is None:
            raise NotMeasured(f"no Python for the browser: neither online nor in {runtime.FOLDER_VARIABLE}")
        lite = build_lite(work, assembled)
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        found: tuple[list[dict[str, float]], list[dict[str, float]]] = ([], [])
        with served(ours) as our_site, served(lite) as lite_site:
            for _ in range(rounds):
                found[0].append(one_round(browser, our_site, (open_ours, move_ours)))
                found[1].append(one_round(browser, lite_site, (open_lite, run_lite)))
        browser.close()
    return found


def rows(options: argparse.Namespace) -> Iterator[Row]:
    """Medians over rounds; where something is missing, rows that say what."""
    peer("jupyterlite_core"), peer("jupyterlite_pyodide_kernel")
    try:
        found: Sequence[list[dict[str, float]]] = visits(1 if options.quick else options.rounds)
    except NotMeasured as reason:
        for name, (figure, unit) in FIGURES.items():
            yield Row(name, figure, "JupyterLite", unit, why_not=str(reason))
        return
    for name, (figure, unit) in FIGURES.items():
        ours, theirs = (statistics.median(each[name] for each in side) for side in found)
        yield Row(name, figure, "JupyterLite", unit, ours, theirs)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Take the number of rounds."""
    parser.add_argument("--rounds", type=int, default=3)


if __name__ == "__main__":
    main(rows, __doc__, add_options=add_options)
