"""Exercises on the build side: what a solved cell gives, what is refused, what the page and other builders show."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from docutils import nodes, utils

from live_sliders import check, exercise_nodes, plan, runtime
from live_sliders.exercises import ExerciseError, Prediction, read_exercise, read_exercises
from live_sliders.notebook import Cell
from live_sliders.web.python import attempts

SOLVED = '''import math

def half(n):
    """Half of n."""
    ### BEGIN SOLUTION
    # divide
    return n / 2
    ### END SOLUTION


### CHECK
assert half(4) == 2, f"half(4) is {half(4)}"
'''


def solved(source: str = SOLVED, **metadata: Any) -> Cell:
    """A cell with an exercise."""
    return Cell(2, source, {"tags": ["exercise"], "title": "What is half?", "minutes": 5, **metadata})


def test_a_solved_cell_gives_starter_answer_and_check() -> None:
    found = read_exercise(solved(question=" And why? ", predict={"ask": "Half of 4?", "unit": "things"}))
    assert found.starter == 'import math\n\ndef half(n):\n    """Half of n."""\n    ...'
    assert found.solution == 'import math\n\ndef half(n):\n    """Half of n."""\n    # divide\n    return n / 2'
    assert found.check == 'assert half(4) == 2, f"half(4) is {half(4)}"'
    assert (found.name, found.minutes, found.question) == ("exercise-what-is-half", 5, "And why?")
    assert found.predict == Prediction("Half of 4?", (), "things")
    assert read_exercise(solved(predict={"ask": "?", "choices": [1, 2]})).predict == Prediction("?", ("1", "2"))
    two = (
        "### BEGIN SOLUTION\na = 1\n### END SOLUTION\nb = 2\n### BEGIN SOLUTION\nc = 3\n### END SOLUTION\n### CHECK\nc"
    )
    assert read_exercise(solved(two)).starter == "...\nb = 2\n..."


@pytest.mark.parametrize(
    ("cell", "words"),
    [
        (solved(title=" "), "cell 3: an exercise needs a 'title'"),
        (solved("x = 1\n### CHECK\nx"), "needs its answer between"),
        (solved("### BEGIN SOLUTION\nx = 1\n### CHECK\nx"), "needs its answer between"),
        (solved("### END SOLUTION\nx = 1\n### CHECK\nx"), "'### END SOLUTION' without its partner"),
        (solved("### BEGIN SOLUTION\n### BEGIN SOLUTION\n### CHECK\nx"), "'### BEGIN SOLUTION' without its partner"),
        (solved(SOLVED.split("assert", maxsplit=1)[0]), "needs one line '### CHECK'"),
        (solved(SOLVED + "### CHECK\nx"), "needs one line '### CHECK'"),
        (solved(minutes="5"), "'minutes' is '5'; it should be a number above 0"),
        (solved(minutes=0), "'minutes' is 0"),
        (solved(predict="what?"), "'predict' is 'what\\?'; it should have 'ask'"),
        (solved(predict={"ask": "?", "choices": ["one"]}), "two choices or more"),
        (solved(predict={"ask": "?", "choices": ["a", "b"], "unit": "m"}), "or else a unit"),
        (solved(predict={"ask": "?", "choice": ["a", "b"]}), "should have 'ask'"),
    ],
)
def test_what_no_reader_could_do_is_refused(cell: Cell, words: str) -> None:
    with pytest.raises(ExerciseError, match=words):
        read_exercise(cell)


def test_two_exercises_of_a_page_have_two_titles() -> None:
    assert len(read_exercises([Cell(0, "x"), solved(), solved(title="Another")])) == 2
    with pytest.raises(ExerciseError, match="another exercise of the page has the title 'What is half\\?', too"):
        read_exercises([solved(), solved()])


def page_of(*cells: Cell) -> plan.Page:
    """A page without widgets."""
    return plan.Page("page", list(cells), {}, [], read_exercises(cells))


def planned(page: plan.Page) -> plan.Plan | None:
    """What the page needs of the browser."""
    return plan.make_plan(page, plan.Available(runtime.read_lock().modules))


def test_a_page_with_exercises_alone_is_planned_with_what_they_import() -> None:
    found = planned(page_of(solved(SOLVED.replace("import math", "import numpy"), predict={"ask": "?", "unit": "m"})))
    assert found
    assert (found.packages, found.cells, found.views) == (["ipywidgets", "numpy"], [], [])
    (exercise,) = json.loads(found.to_json(runtime="r/"))["exercises"]
    assert exercise["predict"] == {"ask": "?", "choices": [], "unit": "m"}
    assert "n / 2" not in json.dumps(exercise)
    assert planned(page_of(Cell(0, "x = 1"))) is None
    with pytest.raises(plan.PageError, match="cell 3 needs 'torch'"):
        planned(page_of(solved(SOLVED.replace("import math", "import torch"))))


def test_the_build_runs_each_answer_and_each_starter(tmp_path: Path) -> None:
    """By itself: without the cells above."""
    checker = check.Checker(plan.Available(runtime.read_lock().modules), [], tmp_path, 60)

    def run(*cells: Cell) -> None:
        page = page_of(*cells)
        found = planned(page)
        assert found
        checker.check(page, found)

    run(solved())
    with pytest.raises(plan.PageError, match=r"'What is half\?': its own answer does not pass .* 'two' is not defined"):
        run(Cell(0, "two = 2"), solved(SOLVED.replace("n / 2", "n / two")))
    with pytest.raises(plan.PageError, match="exercise 'Given': the check takes the starter for an answer"):
        run(solved(), solved(SOLVED.replace("== 2", "!= 3"), title="Given"))
    elsewhere = page_of(solved(SOLVED.replace("import math", "import elsewhere")))
    there = plan.Available({**runtime.read_lock().modules, "elsewhere": "elsewhere"})
    found = plan.make_plan(elsewhere, there)
    assert found
    with pytest.raises(check.NotComparable, match="'elsewhere' is not installed"):
        replace(checker, available=there).check(elsewhere, found)


class Executor:
    """What `attempts` needs of the page's kernel."""

    def __init__(self) -> None:
        self.figures = self

    def display(self, *_: Any) -> None:
        """Show nothing."""

    def take_open(self) -> list[Any]:
        """Have no figures."""
        return []

    def execute(self, name: str, source: str, namespace: dict[str, Any]) -> None:
        """Run source."""
        exec(compile(source, name, "exec"), namespace)


@pytest.mark.parametrize(
    ("code", "judge", "kind", "text", "line"),
    [
        ("x = 1", "assert x == 2, 'x is 1'", "wrong", "x is 1", None),
        ("x = 1", "\nassert x == 2", "wrong", "this does not hold: assert x == 2", None),
        ("def f():\n    return 1 / 0", "f()", "error", "ZeroDivisionError: division by zero", 2),
        ("x = 1\nassert x == 2, 'mine'", "x", "error", "AssertionError: mine", 2),
        ("raise NotImplementedError", "", "unanswered", "", 1),
        ("x = (1", "", "error", "SyntaxError: '(' was never closed", 1),
        ("exit()", "", "error", "SystemExit: None", 1),
        (
            "def f():\n    return [][0]",
            "try:\n    f()\nexcept IndexError as e:\n    raise AssertionError('f raised') from e",
            "wrong",
            "f raised",
            2,
        ),
    ],
)
def test_trouble_is_told_with_the_readers_line(code: str, judge: str, kind: str, text: str, line: int | None) -> None:
    found = attempts.trouble(Executor(), code, judge)
    assert found is not None
    if "this does not hold" not in text:  # only the page keeps the source of its cells
        assert found["text"] == text
    assert (found["kind"], found["line"]) == (kind, line)
    assert found["source"] == (code.splitlines()[line - 1].strip() if line else "")
    assert attempts.trouble(Executor(), "x = 2", "assert x == 2") is None


def test_text_of_a_run_is_joined_and_cut() -> None:
    def stream(text: str, name: str = "stdout") -> dict[str, Any]:
        return {"kind": "display", "output": {"output_type": "stream", "name": name, "text": text}}

    shown = attempts.outputs([stream("a"), stream("b"), stream("c", "stderr"), {"kind": "open"}, stream("d" * 30_000)])
    assert [each["text"][:2] for each in shown] == ["ab", "c", "dd"]
    assert len(shown[-1]["text"]) < 21_000 and shown[-1]["text"].endswith("… and more.")


def document(exercise: dict[str, Any], *after: nodes.Node) -> nodes.document:
    """A document with one solved cell as myst-nb leaves it."""
    made = utils.new_document("page")
    source = nodes.container(
        "", nodes.literal_block(SOLVED, SOLVED, language="ipython3"), nb_element="cell_code_source"
    )
    output = nodes.container("", nodes.literal_block("2", "2"), nb_element="cell_code_output")
    cell = nodes.container("", source, output, nb_element="cell_code", cell_index=0, cell_metadata=exercise)
    made += nodes.section("", cell, *after, ids=["here"])
    return made


def test_every_builder_has_starter_check_and_answer_in_order() -> None:
    prose = nodes.container("", nodes.paragraph("", "Because."), classes=["exercise-answer"])
    made = document(
        solved(predict={"ask": "Half?", "choices": ["one", "two"]}).metadata, prose, nodes.paragraph("", "On.")
    )
    exercise_nodes.Exercises(made).run()
    text = made.astext()
    places = [
        text.index(part) for part in ("Half?", "    ...", "assert half", "return n / 2", "\n\n2", "Because.", "On.")
    ]
    assert places == sorted(places)
    assert text.count("return n / 2") == 1 and "###" not in text
    task = next(iter(made.findall(nodes.container)))
    assert (task["ids"], "tag_exercise" in task["classes"]) == (["exercise-what-is-half"], False)
    fold = [node.astext() for node in made.findall(nodes.raw)]
    assert fold == ['<details class="live-answer"><summary>Answer</summary>', "</details>"]
    assert not exercise_nodes.found(made)


def test_prose_that_is_no_answer_stays() -> None:
    made = document(solved().metadata, nodes.container("", nodes.paragraph("", "Next."), classes=["price-line"]))
    exercise_nodes.Exercises(made).run()
    assert made.children[0].children[-1].astext() == "Next."
    assert isinstance(made.children[0].children[-2], nodes.raw)
