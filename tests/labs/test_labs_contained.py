"""Cells that never end, or kill Python, are failed cells: they cost no other's points, whenever it shows."""

from pathlib import Path
from types import SimpleNamespace

import pytest
from classroom import execute
from classroom.execute import Contained, Stopped
from classroom.sandbox import Limits, Unprotected
from hypothesis import assume, example, given
from hypothesis import strategies as st
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_notebook

pytestmark = pytest.mark.filterwarnings("ignore")


def fates(notebook: NotebookNode) -> list[str]:
    """What each cell came to in the end."""
    found = []
    for cell in notebook.cells:
        kinds = [out.ename if out.output_type == "error" else out.output_type for out in cell.outputs]
        found.append(kinds[-1] if kinds else "quiet")
    return found


# --- real kernels, notebooks of a line or two ------------------------------------------------------------------


@pytest.fixture
def run(tmp_path: Path):
    """A function that runs cells and returns what each came to."""

    def run_cells(*sources: str, **limits: float) -> list[str]:
        notebook = new_notebook(cells=[new_code_cell(text) for text in sources])
        ran = Contained(notebook, Unprotected(), tmp_path / "run", Limits(**limits)).run()
        errors = {i for i, cell in enumerate(notebook.cells) if any(o.output_type == "error" for o in cell.outputs)}
        assert ran.failed == errors
        return fates(notebook)

    return run_cells


def test_each_cell_that_calls_a_crash_fails_and_the_others_go_on(run) -> None:
    cells = ["import os\ndef f(): os._exit(1)", "f()", "a = 1", "f()", "assert a == 1", "1 / 0", "print(a)"]
    assert run(*cells) == [
        "quiet", "DeadKernelError", "quiet", "DeadKernelError", "quiet", "ZeroDivisionError", "stream",
    ]  # fmt: skip


def test_after_too_many_crashes_all_later_cells_fail(run) -> None:
    cells = ["import os\ndef f(): os._exit(1)", "print(1)", "f()", "f()", "a = 1", "b = 1"]
    crash, not_run = "DeadKernelError", "NotRunError"
    assert run(*cells, stops=1) == ["quiet", "stream", crash, crash, not_run, not_run]


def test_a_notebook_has_a_time_as_a_whole(run) -> None:
    cells = ["print(1)", "import time\nwhile True: time.sleep(1)", "print(2)"]
    assert run(*cells, cell_s=60, notebook_s=3) == ["stream", "NotRunError", "NotRunError"]


def test_messages_without_end_are_stopped_and_those_of_a_thread_are_no_trouble(run) -> None:
    flood = "while True: get_ipython().display_pub.publish({'text/plain': 'x' * 100_000})"
    thread = (
        "import threading\ndef f():\n    while True: print('y' * 100)\nthreading.Thread(target=f, daemon=True).start()"
    )
    fates = run(thread, flood, "assert True", flood_bytes=5_000_000)
    assert fates[1] == "OutputError"
    assert fates[2] in ("stream", "quiet")  # whether the thread gets to print meanwhile is chance


def test_a_question_and_a_warning_are_no_trouble(run) -> None:
    cells = ["input()", "import warnings\nwarnings.warn('beware')", ""]
    assert run(*cells) == ["StdinNotImplementedError", "stream", "quiet"]


def test_a_cell_tagged_score_is_left_out(tmp_path: Path) -> None:
    cell = new_code_cell("1 / 0")
    cell.metadata.tags = ["score"]
    notebook = new_notebook(cells=[cell, new_code_cell("1")])
    assert Contained(notebook, Unprotected(), tmp_path / "run", Limits()).run().failed == set()


# --- who did it: kernels that only keep the time -----------------------------------------------------------------


class FakeKernel:
    """A kernel in which a cell's source says how many seconds it takes, and after how many more Python dies."""

    now = 0.0

    def __init__(self, *about: object) -> None:
        self.dies_at, self.watch = float("inf"), SimpleNamespace(peak_bytes=0)

    def close(self) -> None:
        """Nothing to end."""

    def execute(self, cell: NotebookNode, seconds: float, keep_bytes: int) -> tuple[bool, int]:
        """Let the cell's time pass."""
        takes, fuse = map(float, cell.source.split())
        cell.outputs = []
        self.lives(takes)
        self.dies_at = min(self.dies_at, FakeKernel.now + fuse)
        return False, 0

    def lives(self, seconds: float) -> None:
        """Let time pass, or die in it."""
        FakeKernel.now = min(FakeKernel.now + seconds, max(self.dies_at, FakeKernel.now))
        if FakeKernel.now >= self.dies_at:
            raise Stopped("DeadKernelError", "Python ended")


@given(
    takes=st.lists(st.floats(0.01, 1), min_size=1, max_size=12),
    culprits=st.dictionaries(st.integers(0, 11), st.floats(0, 6), max_size=3),
)
@example(takes=[1.0, 1.0, 0.5, 1.0], culprits={0: 4.0, 2: 0.0})
def test_who_stops_python_is_charged_whenever_it_shows(takes: list[float], culprits: dict[int, float]) -> None:
    """Only cells that lit a fuse are charged; if there is one, exactly when Python dies before the notebook's end."""
    inf = float("inf")
    cells = [new_code_cell(f"{seconds} {culprits.get(i, inf)}") for i, seconds in enumerate(takes)]
    notebook = new_notebook(cells=cells)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(execute, "Kernel", FakeKernel)
        patch.setattr(execute, "time", SimpleNamespace(monotonic=lambda: FakeKernel.now))
        FakeKernel.now = 0.0
        ran = Contained(notebook, Unprotected(), Path("nowhere"), Limits(notebook_s=10_000)).run()
    lit = {i: fuse for i, fuse in culprits.items() if i < len(takes)}
    left = {i: sum(takes[i + 1 :]) - fuse for i, fuse in lit.items()}
    assert set(ran.culprits) == ran.failed <= lit.keys()
    assume(all(abs(seconds) > 1e-6 for seconds in left.values()))
    shown = {i for i, seconds in left.items() if seconds > 0}
    assert bool(ran.failed) == bool(shown)
    assert ran.failed == shown or len(lit) > 1
