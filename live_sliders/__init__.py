"""Live sliders: a Jupyter Book page whose `ipywidgets` recompute in the reader's browser.

The notebooks stay plain: `interact`, `interactive_output` and widgets with `observe`. At build time this
Sphinx extension reads the executed notebook, keeps the saved figure as an ordinary image, and writes beside it
what a browser needs to run the same Python: the statements that a slider depends on, and the packages they
import. It runs those statements once itself and compares what they show with the notebook. In the page, native
inputs replace the widgets; the first touch starts Pyodide in a worker.
A cell tagged `exercise` becomes one that readers do in the page, with the same Python.

Enable it with `extensions = ["live_sliders"]`; the options are in the README.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sphinx.application import Sphinx

__version__ = "0.3.0"


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the extension with Sphinx."""
    from . import extension

    return extension.setup(app)
