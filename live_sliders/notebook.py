"""The code cells of a page, whether it is written as `.ipynb` or as MyST Markdown."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

NOT_LIVE_TAG = "not-live"  # this cell never runs in the browser, and its widgets stay static
WHOLE_CELL_TAG = "live"  # this cell runs whole in the browser, for effects that no name shows
UNCHECKED_TAG = "live-unchecked"  # what this cell's slider shows differs from run to run


@dataclass(frozen=True)
class Cell:
    """One code cell: its index among all cells of the notebook, its source and what its metadata says."""

    index: int
    source: str
    metadata: dict[str, Any] = field(default_factory=dict)

    @property
    def tags(self) -> list[str]:
        """The cell's tags."""
        return list(self.metadata.get("tags", []))

    @property
    def not_live(self) -> bool:
        """Whether the author keeps this cell out of the browser."""
        return NOT_LIVE_TAG in self.tags

    @property
    def whole(self) -> bool:
        """Whether the author wants this cell to run whole in the browser."""
        return WHOLE_CELL_TAG in self.tags

    @property
    def alt(self) -> str:
        """The text for readers who cannot see the figure: `mystnb.image.alt`, empty where missing."""
        image = (self.metadata.get("mystnb") or {}).get("image") or {}
        return str(image.get("alt", "")).strip()


def read_cells(path: Path) -> list[Cell]:
    """Read the code cells of the notebook at `path`."""
    text = path.read_text(encoding="utf-8")
    notebook = json.loads(text) if path.suffix == ".ipynb" else _read_markdown(text, path)
    return [
        Cell(index, "".join(cell["source"]), dict(cell.get("metadata", {})))
        for index, cell in enumerate(notebook["cells"])
        if cell["cell_type"] == "code"
    ]


def _read_markdown(text: str, path: Path) -> dict[str, Any]:
    """Parse a MyST Markdown notebook just as myst-nb does, so that cell indices agree."""
    from myst_nb.core.read import read_myst_markdown_notebook
    from myst_parser.config.main import MdParserConfig

    return dict(read_myst_markdown_notebook(text, config=MdParserConfig(), path=path))
