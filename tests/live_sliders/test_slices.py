"""What a slider keeps of the cells above it, tried by running it; and how a notebook's dialect is read."""

from __future__ import annotations

import ast
import random
from typing import Any

import pytest

from live_sliders.dialect import magics, plain_python
from live_sliders.notebook import Cell
from live_sliders.slicing import LiveCell, SliceError, slice_cells

ASKED = "answer = "


def kept(*sources: str, tags: dict[int, str] | None = None, absent: str = "torch") -> list[LiveCell]:
    """What the last cell needs, itself included, where the browser lacks one module."""
    cells = [Cell(i, source, {"tags": (tags or {}).get(i, "").split()}) for i, source in enumerate(sources)]
    return slice_cells(cells, [len(cells) - 1], lambda node: absent in ast.unparse(node))


def answer(*sources: str, **options: Any) -> Any:
    """What the last cell computes with no more than the slice."""
    namespace: dict[str, Any] = {}
    for cell in kept(*sources[:-1], ASKED + sources[-1], **options):
        exec(compile(cell.source, f"cell {cell.index + 1}", "exec"), namespace)
    return namespace["answer"]


def indices(*sources: str, **options: Any) -> list[int]:
    """Which of the cells above the last are kept, at least in part."""
    return [cell.index for cell in kept(*sources, **options)[:-1]]


SHUFFLED = [1, 2, 3, 4, 5]
random.Random(0).shuffle(SHUFFLED)
SEEDED = random.Random(1)
SEEDED.random()
MODEL = """
class Model:
    def fit(self, x, y):
        self.slope = y[0] / x[0]
        x.append(0)
"""

CHANGES = {
    "in another cell": (["hours = []", "hours.extend([3, 4])", "3 * sum(hours)"], 21),
    "sorted": (["rows = [2, 3, 1]", "rows.sort()", "rows"], [1, 2, 3]),
    "an argument, shuffled": (
        ["import random\nx = [1, 2, 3, 4, 5]\nrng = random.Random(0)", "rng.shuffle(x)", "x"],
        SHUFFLED,
    ),
    "fitted": ([MODEL + "x, y = [2], [6]", "model = Model()", "model.fit(x, y)", "model.slope"], 3),
    "an argument of a method": ([MODEL + "x, y = [2], [6]", "model = Model()", "model.fit(x, y)", "x"], [2, 0]),
    "in a loop": (["seen = set()", "for i in range(3):\n    seen.add(i)", "seen"], {0, 1, 2}),
    "filled": (["import numpy as np\nx = np.zeros(2)", "x.fill(7)", "x.tolist()"], [7, 7]),
    "annotated": (["hours: list[int] = []\nhours.extend([3, 4])", "sum(hours)"], 7),
    "annotated in another cell": (["hours: list[int] = []", "hours.extend([3, 4])", "sum(hours)"], 7),
    "an argument of a function": (["table = {}", "def fill(t):\n    t[1] = 2", "fill(table)", "table"], {1: 2}),
    "an argument, with a result": (["x = []", "def put(t):\n    t.append(1)\n    return 1", "n = put(x)", "x"], [1]),
    "by a function": (["rows = []", "def add(n):\n    rows.append(n)", "add(3)", "rows"], [3]),
    "by a function's function": (
        ["rows = []", "def add(n):\n    put(n)\ndef put(n):\n    rows.append(n)", "add(3)", "rows"],
        [3],
    ),
    "what a function finds when called": (
        ["k = 1\ndef f():\n    return k * g()", "def g():\n    return k", "k = 2", "f()"],
        4,
    ),
    "by a method": (["rows = []", "class C:\n    def go(self):\n        rows.append(1)", "C().go()", "rows"], [1]),
    "by a lambda": (["rows = []", "add = lambda n: rows.append(n)", "add(3)", "rows"], [3]),
    "by a passed method": (["rows = []", "list(map(rows.append, [3]))", "rows"], [3]),
    "a global": (["n = 0", "def step():\n    global n\n    n += 1", "step()", "n"], 1),
    "by a decorator": (["names = []", "@names.append\ndef f(): ...", "len(names)"], 1),
    "by a decorator of a function's own": (
        [
            "from functools import singledispatch\n@singledispatch\ndef f(x):\n    return 1",
            "@f.register\ndef _(x: int):\n    return 2",
            "f(0)",
        ],
        2,
    ),
    "unpacked": (["a, (b, *c) = [], ([], [])", "b.append(1)", "c[0].append(2)", "a, b, c"], ([], [1], [[2]])),
    "by walrus": (["if (x := []) is not None:\n    y = 1", "x.append(1)", "x"], [1]),
    "with": (
        ["from contextlib import nullcontext\nrows = []", "with nullcontext(rows) as r:\n    r.append(1)", "rows"],
        [1],
    ),
    "through a part": (["rows = [[]]", "first = rows[0]", "first.append(2)", "rows"], [[2]]),
    "through the whole": (["rows = [[]]", "first = rows[0]", "rows[0].append(2)", "first"], [2]),
    "through a loop": (["rows = [[], []]", "for row in rows:\n    row.append(2)", "rows"], [[2], [2]]),
    "through a call": (["rows = {}", "x = rows.setdefault('a', [])", "x.append(2)", "rows"], {"a": [2]}),
    "of what was appended": (["rows = []", "row = []\nrows.append(row)", "row.append(2)", "rows"], [[2]]),
    "of a returned list": (["x = []", "def it():\n    return x", "it().append(2)", "x"], [2]),
    "in place": (["x = [1]", "y = x", "y += [2]", "x"], [1, 2]),
    "random numbers drawn in between": (
        ["import random\nrandom.seed(1)", "unused = random.random()", "x = random.random()", "x"],
        SEEDED.random(),
    ),
    "numpy's numbers drawn in between": (
        ["import numpy as np\nx = [1, 2, 3, 4]\nnp.random.seed(0)", "np.random.rand(3)", "np.random.shuffle(x)", "x"],
        [2, 1, 3, 4],
    ),
    "a name in a comprehension": (["k = 2", "x = [k for k in range(3)]", "k, x"], (2, [0, 1, 2])),
    "a name without a value": (["x = 3", "x: int", "x"], 3),
    "a caught name": (
        ["try:\n    1 / 0\nexcept ZeroDivisionError as e:\n    kind = type(e)", "kind.__name__"],
        "ZeroDivisionError",
    ),
    "a matched name": (["match [1, [2]]:\n    case [a, b]: pass", "b.append(a)", "b"], [2, 1]),
    "all of a module": (["from math import *", "floor(2.5)"], 2),
}
SEEDED_NUMPY = "numpy's numbers drawn in between"


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_above_the_slider_is_kept(name: str) -> None:
    sources, value = CHANGES[name]
    if name == SEEDED_NUMPY:
        np = pytest.importorskip("numpy")
        state = np.random.RandomState(0)
        state.rand(3)
        value = [1, 2, 3, 4]
        state.shuffle(value)
    assert answer(*sources) == value


UNCHANGED = [
    ("rows = [1]", "print(rows)\nlen(rows)\n'; '.join(map(str, rows))"),
    ("import matplotlib.pyplot as plt\nrows = [1]", "fig, ax = plt.subplots()\nax.plot(rows)\nplt.plot(rows)"),
    ("from IPython.display import display\nrows = [1]", "display(rows)"),
    ("import numpy as np\nrows = [1]", "other = np.sort(rows)\nnp.testing.assert_equal(rows, rows)"),
    ("def f(x):\n    return x\nrows = f([])", "x = expensive()"),
    ("rows = [1]", "n = len(rows)\nm = sum(rows) + n"),
]


@pytest.mark.parametrize(("first", "second"), UNCHANGED)
def test_what_changes_nothing_is_left_out(first: str, second: str) -> None:
    names = ["rows", "plt", "f", "np"]
    used = ", ".join(name for name in names if f"{name} =" in first or f"as {name}" in first or f"def {name}" in first)
    assert indices(first, second, used) == [0]


def test_what_the_browser_cannot_run_is_not_pulled_in_where_it_only_may_change_something() -> None:
    above = ["import torch\nnet = torch.net()", "x = [1]", "net.fit(x)", "x"]
    assert indices(*above) == [1]
    assert indices("x = [1]", "measure(x)", "x", tags={1: "not-live"}) == [0]
    assert indices("x = [1]", "files = !ls\nmeasure(x, files)", "x") == [0]
    assert indices("x = [1]", "import torch\nx.append(torch.one)", "x") == [0, 1]  # the plan then says what is missing
    with pytest.raises(SliceError, match=r"needs 'x' from cell 2, which is tagged 'not-live'"):
        kept("x = [1]", "x.append(2)", "x", tags={1: "not-live"})


# -- the dialect ------------------------------------------------------------------------------------------------

DIALECT = {
    "a line that begins with %": (["n = 7", "x = (100\n% n)", "x"], 2),
    "a text with such lines": (["x = '''\n%time x\n!ls\n'''", "x"], "\n%time x\n!ls\n"),
    "another cell magic": (["x = 3", "%%bash\nfor f in *; do", "x"], 3),
    "shell and help": (["x = 3", "files = !ls\n!ls\nlen?\n?len\nx += 1", "x"], 4),
    "%time": (["%time table = sum(range(10))", "k = 3", "k * table"], 135),
    "%time for its value": (["x = %time sum(range(10))", "x"], 45),
    "%time in a block": (["for i in range(3):\n    %time x = i\n    !ls", "x"], 2),
    "a command alone in a block": (["x = 3\nif x:\n    !ls", "x"], 3),
    "%prun": (["%prun -l 5 x = 3", "x"], 3),
    "%timeit": (["x = 3", "%timeit x = 4", "x"], 3),
    "%%time": (["%%time\nx = [1]\n%time y = 2\nx.append(y)", "x"], [1, 2]),
    "%%capture": (["%%capture out\nx = [1]", "x"], [1]),
    "prompts": ([">>> x = 1\n>>> y = x + 1", "y"], 2),
    "a command without %": (["x = 3", "cd ..", "x"], 3),
    "a magic in the slider's own cell": (["x = 3", "%time x\nanswer = x\nfiles = !ls\nx"], 3),
}


@pytest.mark.parametrize("name", DIALECT)
def test_the_dialect_of_notebooks_is_read(name: str) -> None:
    sources, value = DIALECT[name]
    if "answer" in sources[-1]:
        namespace: dict[str, Any] = {}
        for cell in kept(*sources):
            exec(cell.source, namespace)
        assert namespace["answer"] == value
    else:
        assert answer(*sources) == value


@pytest.mark.parametrize(
    ("sources", "message"),
    [
        (["n = 1\nfiles = !ls", "files"], "needs 'files' from cell 1, line 2: '!ls' cannot run in a browser; "),
        (["x = %sql select 1", "x"], "needs 'x' from cell 1, line 1: '%sql select 1' cannot"),
        (["%%bash --out text\nls", "text"], "needs 'text' from cell 1, line 1: '%%bash --out text' cannot"),
        (["%%capture out\nx = 1", "out"], "needs 'out' from cell 1, line 1: '%%capture out' cannot"),
        (["def f():\n    x = !ls\n    return x", "f()"], "needs 'f' from cell 1, line 1: '!ls' cannot"),
        (["n = 1", "\n\nfiles = !ls -l\nfiles"], "needs 'files' from cell 2, line 3: '!ls -l' cannot"),
    ],
)
def test_what_only_a_shell_can_give_is_refused_where_it_is_needed(sources: list[str], message: str) -> None:
    with pytest.raises(SliceError) as error:
        kept(*sources)
    assert message in str(error.value)
    assert "not-live" in str(error.value)


def test_a_sliders_own_cell_may_not_give_what_only_a_shell_can_to_the_next() -> None:
    with pytest.raises(SliceError, match="needs 'files' from cell 1, line 1"):
        kept("files = !ls\nshow(1)", "files", tags={0: "live"})
    assert kept("files = !ls\nshow(1)", "x", tags={0: "live"})[0].source == "\nshow(1)"


def test_tags_count_before_the_source_is_read() -> None:
    assert indices("x = 3", "x = = 1", "x", tags={1: "not-live"}) == [0]
    assert indices("x = 3", "x = = 1", "x", tags={1: "raises-exception"}) == [0]
    with pytest.raises(SliceError, match="cell 2 is not Python"):
        kept("x = 3", "x = = 1", "x")


def test_lines_and_comments_of_the_sliders_cell_stay() -> None:
    source = "# why\n%matplotlib inline\n\nx = 'é'\ny = !ls é\nshow(x)  # so"
    assert kept("1", source)[-1].source == "# why\n\n\nx = 'é'\n\nshow(x)  # so"


def test_magics_are_found_as_written_and_not_in_texts() -> None:
    assert magics("%matplotlib   inline\nx = '''\n%matplotlib agg\n'''") == ["%matplotlib inline"]
    assert plain_python("x = 1  # as it is\n") == "x = 1  # as it is"
