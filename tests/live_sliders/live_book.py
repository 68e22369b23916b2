"""Builds the small book of this folder, and serves built sites."""

from __future__ import annotations

import functools
import http.server
import os
import shutil
import socketserver
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
REPOSITORY = HERE.parents[1]
RUNTIME_VARIABLE = "COSTLAB_LIVE_RUNTIME"


@dataclass(frozen=True)
class Built:
    """A finished build: where the pages are, what the builder said, how it ended."""

    site: Path
    output: str
    status: int


def runtime_folder() -> Path | None:
    """The folder with the browser's Python: as the environment says, else beside the repository."""
    named = os.environ.get(RUNTIME_VARIABLE)
    folder = Path(named) if named else REPOSITORY.parent / "shared" / "live-runtime"
    return folder if folder.is_dir() else None


def build(folder: Path, *, runtime: Path | None, options: tuple[str, ...] = (), toc: str = "_toc.yml") -> Built:
    """Build the book that was copied to ``folder``, with the network as good as absent."""
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "https_proxy": "http://127.0.0.1:9"}
    environment.pop(RUNTIME_VARIABLE, None)
    if runtime:
        environment[RUNTIME_VARIABLE] = str(runtime)
    command = [Path(sys.executable).with_name("jupyter-book"), "build", str(folder), "--toc", str(folder / toc)]
    done = subprocess.run(
        [*command, *options], env=environment, text=True, capture_output=True, timeout=900, cwd=folder
    )
    return Built(folder / "_build" / "html", done.stdout + done.stderr, done.returncode)


def copy_book(target: Path) -> Path:
    """A copy of the small book; one page becomes an .ipynb, so that both kinds of source are covered."""
    shutil.copytree(HERE / "book", target)
    to_ipynb(target / "figure.md")
    return target


def to_ipynb(page: Path) -> None:
    """Rewrite a MyST notebook as .ipynb."""
    import nbformat
    from myst_nb.core.read import read_myst_markdown_notebook
    from myst_parser.config.main import MdParserConfig

    notebook = read_myst_markdown_notebook(page.read_text(), config=MdParserConfig(), path=page)
    nbformat.write(notebook, page.with_suffix(".ipynb"))
    page.unlink()


def one_page_toc(book: Path, page: str) -> str:
    """Write a table of contents with one chapter; return its name."""
    (book / "_one.yml").write_text(f"format: jb-book\nroot: intro\nchapters:\n  - file: {page}\n")
    return "_one.yml"


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    """Serves files as any plain host does."""

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    """One thread a request, none of which keeps the tests from ending."""

    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """Say nothing: a page that is closed while Python is on its way no longer reads the answer."""


class serve:
    """Serve a folder while the context is open."""

    def __init__(self, folder: Path) -> None:
        self._server = Server(("127.0.0.1", 0), functools.partial(QuietHandler, directory=str(folder)))

    def __enter__(self) -> str:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{self._server.server_address[1]}/"

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
