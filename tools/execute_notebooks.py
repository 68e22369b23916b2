"""Execute notebooks in place, so that the outputs stored in them are current.

    python tools/execute_notebooks.py book/prices.ipynb ...

Only what a reader of the file needs is kept: no times, no widget state (a page's build makes its own).
"""

import sys
from pathlib import Path

import nbformat
from jupyter_client.manager import KernelManager
from nbclient import NotebookClient
from nbclient.output_widget import OutputWidget

WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"  # names a live object: new in each run


class OneWayOutput(OutputWidget):
    """An Output widget that shows and does not report back: nbclient may else miss the answer it waits for."""

    def send(self, *_: object, **__: object) -> None:
        """Say nothing."""


def execute(path: Path) -> None:
    """Run one notebook in its own folder and store its outputs; a cell that raises stops the run."""
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(
        notebook,
        timeout=600,
        record_timing=False,
        skip_cells_with_tag="",  # a build keeps the outputs of cells that train or measure: here they are renewed
        resources={"metadata": {"path": str(path.parent)}},
    )
    client.widget_registry = {"@jupyter-widgets/output": {"OutputModel": OneWayOutput}}
    client.execute()
    notebook.metadata.pop("widgets", None)
    notebook.metadata["language_info"] = {"name": "python"}
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            output.get("data", {}).pop(WIDGET_VIEW, None)
    nbformat.write(notebook, path)


if __name__ == "__main__":
    KernelManager.transport_encryption.default_value = "auto"  # off, each kernel warns of it
    for name in sys.argv[1:]:
        print(name, flush=True)
        execute(Path(name))
