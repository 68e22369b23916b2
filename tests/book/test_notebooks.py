"""The chapters as files. Whether their stored outputs are right, nbval checks; here, whether it had any to check."""

import json
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "book").rglob("*.ipynb"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_outputs_are_stored_and_whole(path: Path) -> None:
    """Nbval passes a cell that was never run, so `make execute` must have run each, in order."""
    cells = json.loads(path.read_text())["cells"]
    counts = [cell["execution_count"] for cell in cells if cell["cell_type"] == "code" and cell["source"]]
    assert counts == list(range(1, len(counts) + 1)), "run `make execute`"
