"""The running of the chapters while the book is built: it says how far it is, and keeps to encrypted connections."""

from collections.abc import Iterator
from itertools import count
from typing import Any

from jupyter_client.manager import KernelManager
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment


class Progress:
    """One line for each page that is read; a chapter's cells run while it is read."""

    def __init__(self) -> None:
        self._pages: list[str] = []
        self._turn: Iterator[int] = count(1)

    def begin(self, app: Sphinx, env: BuildEnvironment, names: list[str]) -> None:
        """Take note of the pages that changed."""
        self._pages, self._turn = names, count(1)

    def read(self, app: Sphinx, name: str, source: list[str]) -> None:
        """Say which page it is."""
        print(
            f"Reading page {next(self._turn)} of {len(self._pages)}: {name}",
            flush=True,
        )

    def write(self, app: Sphinx, env: BuildEnvironment) -> None:
        """Say that all have been read."""
        print("Writing the pages ...", flush=True)


def setup(app: Sphinx) -> dict[str, Any]:
    """Have kernels' connections encrypted: libraries leave that off, and then each kernel warns of it."""
    KernelManager.transport_encryption.default_value = "auto"
    progress = Progress()
    app.connect("env-before-read-docs", progress.begin)
    app.connect("source-read", progress.read)
    app.connect("env-updated", progress.write)
    return {
        "version": "1",
        "parallel_read_safe": True,
        "parallel_write_safe": True,
    }
