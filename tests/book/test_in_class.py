"""The exercises for class in the chapters' pages: each by itself, in one process.

That the page's own Python runs them, the build checks; what a reader can do with one, a test of live_sliders.
"""

import io
import json
import re
from contextlib import redirect_stdout
from pathlib import Path

import pytest

from live_sliders.exercises import Exercise, read_exercises
from live_sliders.notebook import read_cells

ROOT = Path(__file__).parents[2]
CHAPTERS = [
    "prices", "roofline", "moe", "attention", "hybrid", "cache", "tiers", "speculative", "serving", "chips", "levers",
    "claims", "limits",
]  # fmt: skip


def exercise(chapter: str) -> Exercise:
    """A chapter's exercise for class, of which it has one."""
    (found,) = read_exercises(read_cells(ROOT / "book" / f"{chapter}.ipynb"))
    return found


def run(code: str, check: str) -> str:
    """Run code and check among no other names; return what they print."""
    with redirect_stdout(io.StringIO()) as printed:
        exec(f"{code}\n\n{check}", {"__name__": "__main__"})
    return printed.getvalue()


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_the_answer_passes_and_the_starter_does_not(chapter: str) -> None:
    """The answer prints what the chapter stores, so it says the same without the cells above."""
    mine = exercise(chapter)
    cells = json.loads((ROOT / "book" / f"{chapter}.ipynb").read_text())["cells"]
    (stored,) = cells[mine.cell.index]["outputs"]
    assert run(mine.solution, mine.check) == "".join(stored["text"])
    with pytest.raises(AssertionError) as error:
        run(mine.starter, mine.check)
    words = str(error.value)
    assert re.search(r"^\w+: \d of \d cases are right", words), words
    assert "returned" in words


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_who_reads_it_knows_what_to_do_and_for_how_long(chapter: str) -> None:
    """Heading and metadata agree, a prediction comes first, an answer with a follow-up after it."""
    mine = exercise(chapter)
    cells = json.loads((ROOT / "book" / f"{chapter}.ipynb").read_text())["cells"]
    texts = {i: "".join(cell["source"]) for i, cell in enumerate(cells) if cell["cell_type"] == "markdown"}
    before = texts[mine.cell.index - 1]
    title = mine.title[0].lower() + mine.title[1:]
    assert before.startswith(f"### In class: {title} ({mine.minutes} minutes)\n")
    assert mine.minutes and 5 <= mine.minutes <= 10
    assert mine.question.endswith("?") and mine.predict
    after = next(text for i, text in texts.items() if i > mine.cell.index)
    assert after.startswith("```{container} exercise-answer\n") and after.count("**Follow-up.**") == 1
    assert "lab.check(" in mine.check and mine.check.count("lab.check(") == 1
