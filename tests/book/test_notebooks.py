"""The chapters as files. Whether their stored outputs are right, nbval checks; here, whether it had any to check.

Nbval compares them with what the book's build got (`built_outputs.py`), or runs the notebook where no book is built.
A cell that trains or measures gives other numbers in each run, so it is compared with nothing, and costs seconds: a
build keeps its stored outputs, and where the tests run in full it runs with its notebook.
"""

import json
from pathlib import Path

import pytest
from effort import is_full
from live_oracle import run_notebook

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "book").rglob("*.ipynb"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_outputs_are_stored_and_whole(path: Path) -> None:
    """Nbval passes a cell that was never run, so `make execute` must have run each, in order."""
    cells = json.loads(path.read_text())["cells"]
    counts = [cell["execution_count"] for cell in cells if cell["cell_type"] == "code" and cell["source"]]
    assert counts == list(range(1, len(counts) + 1)), "run `make execute`"


def tags(path: Path) -> list[list[str]]:
    """The tags of each cell of a notebook."""
    return [cell["metadata"].get("tags", []) for cell in json.loads(path.read_text())["cells"]]


KEPT = {"nbval-skip", "skip-execution"}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_who_keeps_a_stored_output_is_kept_by_all(path: Path) -> None:
    """Nbval and the book's build leave out the same cells, and no slider can need one of them."""
    assert all(KEPT | {"not-live"} <= set(each) for each in tags(path) if KEPT & set(each))


@pytest.mark.skipif(not is_full(), reason="seconds for each: make test-all")
@pytest.mark.parametrize("path", [path for path in NOTEBOOKS if any(map(KEPT.issubset, tags(path)))])
def test_cells_that_train_or_measure_run(path: Path) -> None:
    with run_notebook(path, left_out=""):
        pass
