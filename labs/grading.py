"""Two steps of grading that stand in the place of nbgrader's own.

`Contained` runs a notebook. nbgrader by itself interrupts a cell that takes too long, which a cell
can refuse, and gives up on the whole notebook when the kernel dies. Here either is one failed cell:
the kernel is killed, a new one runs the notebook again without that cell, and the others keep their
points.

`Restored` puts back cells that a student deleted. nbgrader's own way fails where the cell before
is missing too, or is not graded.
"""

from pathlib import Path

import nbformat
from nbclient.exceptions import CellTimeoutError, DeadKernelError
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_output
from nbgrader.preprocessors import Execute, OverwriteCells
from traitlets import Bool, Enum, Integer


class Contained(Execute):
    """nbgrader's `Execute`, which a cell can neither hang nor crash.

    Stopped cells take at most `timeout` x (`restarts` + 1) seconds of a notebook together.
    """

    restarts = Integer(4, help="Cells that may stop the kernel before all later cells fail too.")
    restarts.tag(config=True)
    # A cell that takes too long is not asked to end: its kernel is killed.
    interrupt_on_timeout = Bool(False).tag(config=True)
    shutdown_kernel = Enum(["graceful", "immediate"], "immediate").tag(config=True)

    def preprocess(self, nb, resources, km=None):
        """Run all cells, again without a cell each time that it stops the kernel."""
        self.stopped: dict[int, NotebookNode] = {}
        while len(self.stopped) <= self.restarts:
            try:
                return super().preprocess(nb, resources, km)
            except (CellTimeoutError, DeadKernelError) as error:
                self.stopped[self.running] = self._failure(error)
        return self._given_up(nb), resources

    def preprocess_cell(self, cell, resources, index):
        """Run one cell, unless it stopped the kernel before."""
        if index in self.stopped:
            cell.outputs = [self.stopped[index]]
            return cell, resources
        self.running = index
        cell, resources = super().preprocess_cell(cell, resources, index)
        for output in cell.get("outputs", []):
            if output.output_type == "stream":
                output.name = "stdout"  # nbgrader would give no points for a warning on stderr
        return cell, resources

    def _failure(self, error: Exception) -> NotebookNode:
        """Say in the cell's place what became of it."""
        if isinstance(error, CellTimeoutError):
            return _error("CellTimeoutError", f"not done after {self.timeout} s, so it was stopped")
        return _error("DeadKernelError", "Python ended while this cell ran")

    def _given_up(self, nb: NotebookNode) -> NotebookNode:
        """Fail all cells from the last that stopped the kernel on; earlier ones keep theirs."""
        reason = f"not run, because {len(self.stopped)} cells before it stopped Python"
        for index, cell in enumerate(nb.cells):
            if cell.cell_type == "code" and index >= self.running:
                cell.outputs = [self.stopped.get(index) or _error("NotRunError", reason)]
        return nb


def _error(name: str, message: str) -> NotebookNode:
    return new_output("error", ename=name, evalue=message, traceback=[f"{name}: {message}"])


class Restored(OverwriteCells):
    """nbgrader's `OverwriteCells`, which also puts each missing cell back where it was."""

    def add_missing_grade_cells(self, nb, resources):
        """Insert what is missing after the cell that precedes it in the source."""
        here = {_name(cell) for cell in nb.cells}
        place = 0
        for name in self._names_in_order():
            if name not in here:
                nb.cells.insert(place, self._from_gradebook(name))
            place = 1 + next(i for i, cell in enumerate(nb.cells) if _name(cell) == name)
        return nb, resources

    def add_missing_task_cells(self, nb, resources):
        """Do nothing: all kinds of cells are back already."""
        return nb, resources

    def _names_in_order(self) -> list[str]:
        folder = Path(__file__).parent / "source" / self.assignment_id
        source = nbformat.read(folder / f"{self.notebook_id}.ipynb", as_version=4)
        return [name for cell in source.cells if (name := _name(cell))]

    def _from_gradebook(self, name: str) -> NotebookNode:
        """Return a cell as the student had it, with the hidden checks in it."""
        kept = self.gradebook.find_source_cell(name, self.notebook_id, self.assignment_id)
        notebook = self.gradebook.find_notebook(self.notebook_id, self.assignment_id)
        points = {cell.name: cell.max_score for cell in notebook.grade_cells}
        about = {
            "grade_id": name,
            "cell_type": kept.cell_type,
            "checksum": kept.checksum,
            "locked": kept.locked,
            "grade": name in points,
            "solution": name in {cell.name for cell in notebook.solution_cells},
            "task": False,
            "schema_version": 3,
            **({"points": points[name]} if name in points else {}),
        }
        make = new_code_cell if kept.cell_type == "code" else new_markdown_cell
        return make(kept.source, id=name, metadata={"nbgrader": about})


def _name(cell: NotebookNode) -> str | None:
    return cell.metadata.get("nbgrader", {}).get("grade_id")
