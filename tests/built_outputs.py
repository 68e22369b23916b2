"""What nbval compares with a chapter's stored outputs where the run builds the book anyway: what that build just got.

Else each notebook would run twice in the same minutes, by the build and by nbval. Where the tests run in full, or where
they build no book (`pytest book/moe.ipynb`), nbval runs the notebook itself.
"""

from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jupyter_cache import get_cache
from nbformat import NotebookNode


class KernelOfTheBuild:
    """Gives nbval, in place of a kernel, what each cell gave when the book was built."""

    def __init__(self, cells: list[NotebookNode]) -> None:
        self._cells: Iterator[NotebookNode] = iter([cell for cell in cells if cell.cell_type == "code"])
        self._messages: deque[dict[str, Any]] = deque()

    def execute_cell_input(self, source: str, allow_stdin: bool | None = None) -> str:
        """Turn to the next cell with this source, past those that nbval leaves out; return what it is called."""
        cell = next((each for each in self._cells if each.source == source), None)
        if cell is None:
            raise LookupError(f"the book's build ran no further cell that reads\n{source}")
        outputs = [(each.output_type, {"metadata": {}, "execution_count": None, **each}) for each in cell.outputs]
        done = ("status", {"execution_state": "idle"})
        self._messages.extend(
            {"msg_type": kind, "content": content, "parent_header": {"msg_id": "cell"}}
            for kind, content in [*outputs, done]
        )
        return "cell"

    def get_message(self, stream: str, timeout: float | None = None) -> dict[str, Any]:
        """Return the next of the messages that a kernel would send."""
        return self._messages.popleft()

    def await_reply(self, msg_id: str, timeout: float | None = None) -> None:
        """Return at once: the cell has run."""

    def await_idle(self, msg_id: str, timeout: float | None = None) -> None:
        """Skip what is left of the messages."""
        self._messages.clear()

    def is_alive(self) -> bool:
        """Say that cells can be asked for."""
        return True

    def stop(self) -> None:
        """Do nothing: no process waits."""


def kernel_of_the_build(cache: Path, notebook: Path) -> KernelOfTheBuild | None:
    """Return what a notebook gave in the build that filled a cache of Jupyter Book, or None where it did not run."""
    kept = get_cache(cache)
    try:
        record = kept.match_cache_file(str(notebook))
    except KeyError:
        return None
    return KernelOfTheBuild(kept.get_cache_bundle(record.pk).nb.cells)
