"""From opening a page to a figure that Python drew in it: live sliders beside JupyterLite.

    pip install jupyterlite-core==0.8.6 jupyterlite-pyodide-kernel==0.8.6 jupyter_server
    COSTLAB_LIVE_RUNTIME=… python benchmarks/live.py [--rounds N]

The peer is needed here alone. Both show the same notebook, one log-log figure under a slider, from the same Pyodide
and the same wheels, to the same Chromium on loopback, each time with a fresh profile; the rounds alternate. Ours: the
page is opened and its slider moved at once. JupyterLite: the notebook is opened in its Lab and all cells are run at
once. The clock stops when a new picture stands in the page; ours says so. Bytes are those of all files sent for the
first figure, uncompressed (a host may compress some). JupyterLite's kernel needs IPython and what that needs; pip
fetches those.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
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
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import nbformat
from playwright.sync_api import Browser, Page, sync_playwright

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))  # live_sliders is a folder of the project, not installed

from live_sliders import runtime  # noqa: E402

PEER = ("jupyterlite-core==0.8.6", "jupyterlite-pyodide-kernel==0.8.6", "jupyter_server")
TIMEOUT_MS = 120_000
PAUSE_MS = 6_000  # a reader's pause before the next page
CELLS = (
    "import matplotlib.pyplot as plt\nimport numpy as np\nfrom ipywidgets import interact",
    "@interact(knee=(8, 512, 8))\n"
    "def show(knee=64):\n"
    "    batches = np.logspace(0, 3, 50)\n"
    "    fig, ax = plt.subplots()\n"
    "    ax.loglog(batches, 1 / np.minimum(batches, knee))\n"
    "    ax.set_xlabel('requests at a time')",
)
KERNEL_WHEELS = """
    micropip ipython jedi parso decorator matplotlib-inline prompt_toolkit wcwidth pygments stack_data asttokens
    executing pure_eval typing_extensions pexpect ptyprocess ipython_pygments_lexers
    """.split()  # noqa: SIM905
Measure = Callable[[Page, str], tuple[float, list[float]]]


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
    (book / "_config.yml").write_text("title: t\nsphinx: {extra_extensions: [live_sliders]}\n")
    command = [Path(sys.executable).with_name("jupyter-book"), "build", str(book), "--quiet"]
    _run(command, PYTHONPATH=str(ROOT))
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
    command = [Path(sys.executable).with_name("jupyter"), "lite", "build", "--contents", "files", "--output-dir", "out"]
    _run([*command, "--no-unused-shared-packages"], cwd=lite)
    return lite / "out"


def _run(command: list[Any], cwd: Path | None = None, **environment: str) -> None:
    done = subprocess.run(
        list(map(str, command)), cwd=cwd, env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(map(str, command))} failed:\n{done.stdout[-3000:]}{done.stderr[-3000:]}")


def _add_kernel_wheels(folder: Path) -> None:
    """Put the wheels that JupyterLite's kernel needs beside ours, and into Pyodide's lock."""
    target = [
        "--no-deps",
        "--only-binary=:all:",
        "--python-version",
        "3.14",
        "--platform",
        "any",
        "--dest",
        str(folder),
    ]
    _run([sys.executable, "-m", "pip", "download", "--quiet", *target, *KERNEL_WHEELS])
    path = folder / "pyodide-lock.json"
    lock = json.loads(path.read_text())
    known = {entry["file_name"] for entry in lock["packages"].values()}
    for wheel in sorted(set(folder.glob("*.whl"))):
        if wheel.name not in known:
            entry = _lock_entry(wheel)
            lock["packages"].setdefault(entry["name"], entry)
    names = [re.sub(r"[_.]", "-", name) for name in KERNEL_WHEELS]
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
MOVE = """(value) => { const input = document.querySelector('.live input[type=range]');
  input.value = value; input.dispatchEvent(new Event('input', {bubbles: true})); }"""


def measure_ours(page: Page, site: str) -> tuple[float, list[float]]:
    """Seconds from opening to the first new figure, and of each later move."""
    began = time.perf_counter()
    page.goto(site + "figure.html")
    page.wait_for_selector(".live input[type=range]")
    _move(page, 128)
    total = time.perf_counter() - began
    return total, [_move(page, value) for value in (256, 384, 448, 320, 192)]


def _move(page: Page, value: int) -> float:
    began = time.perf_counter()
    page.evaluate(MOVE, value)
    page.wait_for_function(SHOWN, timeout=TIMEOUT_MS, polling=5)
    return time.perf_counter() - began


LITE_READY = "() => globalThis.jupyterapp?.shell?.currentWidget?.sessionContext?.session?.kernel"
LITE_FIGURE = "() => document.querySelector('.jp-OutputArea-output img[src^=\"data:image/png\"]')"


def measure_lite(page: Page, site: str) -> tuple[float, list[float]]:
    """Seconds from opening to the first figure."""
    began = time.perf_counter()
    page.goto(site + "lab/index.html?path=figure.ipynb")
    page.wait_for_function(LITE_READY, timeout=TIMEOUT_MS)
    page.evaluate("() => { globalThis.jupyterapp.commands.execute('notebook:run-all-cells'); }")
    page.wait_for_function(LITE_FIGURE, timeout=TIMEOUT_MS)
    return time.perf_counter() - began, []


def one_round(browser: Browser, site: str, measure: Measure) -> dict[str, Any]:
    """One visit with a fresh profile: the page, and after a pause the page again in another tab."""
    context = browser.new_context()
    CountingHandler.sent = 0
    page = context.new_page()
    seconds, later = measure(page, site)
    sent = CountingHandler.sent
    page.wait_for_timeout(PAUSE_MS)
    page.close()
    again, _ = measure(context.new_page(), site)
    context.close()
    return {"seconds": seconds, "again": again, "later": later, "megabytes": sent / 1e6}


def report(name: str, rounds: list[dict[str, Any]]) -> None:
    """One line of the table."""
    columns = [f"{_median(rounds, key):.1f}" for key in ("seconds", "again", "megabytes")]
    later = [each for one in rounds for each in one["later"]]
    moves = f"{statistics.median(later):.2f}" if later else "-"
    print(f"| {name} | {' | '.join(columns)} | {moves} |")


def main() -> None:
    """Build both, measure in turn, print the table."""
    if importlib.util.find_spec("jupyterlite_core") is None:
        print(f"the peer is not here: pip install {' '.join(PEER)}")
        return
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        work = Path(folder)
        ours = build_ours(work)
        lock = runtime.read_lock()
        assembled = next((ours / "_static" / "live_sliders").glob(f"pyodide-{lock.pyodide}-*"), None)
        if assembled is None:
            raise SystemExit(f"no Python for the browser: set {runtime.FOLDER_VARIABLE}")
        lite = build_lite(work, assembled)
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        results: dict[str, list[dict[str, Any]]] = {"live_sliders": [], "JupyterLite": []}
        with served(ours) as our_site, served(lite) as lite_site:
            for _ in range(rounds):
                results["live_sliders"].append(one_round(browser, our_site, measure_ours))
                results["JupyterLite"].append(one_round(browser, lite_site, measure_lite))
        browser.close()
    print("| | s to first figure | s, second page | MB | s per later move |\n|---|---|---|---|---|")
    for name, measured in results.items():
        report(name, measured)
    ratio = _median(results["JupyterLite"], "seconds") / _median(results["live_sliders"], "seconds")
    print(f"\nJupyterLite takes {ratio:.1f} times as long to the first figure.")


def _median(rounds: list[dict[str, Any]], key: str) -> float:
    return statistics.median(each[key] for each in rounds)


if __name__ == "__main__":
    main()
