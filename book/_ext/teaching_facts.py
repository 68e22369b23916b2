"""What the course's files say to a teacher: objectives, tasks, slips, rubrics and exercises, read where they stand.

Objectives are the list that a chapter begins with; tasks are a lab's headings; slips are the wrong answers that the
labs' checks are proven against; a rubric is the solution of a lab's open question. What no other file says, such as the
tasks behind an objective, stands in `teaching.toml`.
"""

import ast
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from costlab.lab.notebooks import Cell, mark, read_notebook, source_of

ROOT = Path(__file__).parents[2]
BOOK = ROOT / "book"
LABS = ROOT / "labs" / "source"
WRONG = ROOT / "tests" / "labs" / "wrong"
NOTES = BOOK / "teaching.toml"
WORDS_A_MINUTE = 150  # of a text with formulas and tables


@dataclass(frozen=True)
class Task:
    """A task of a lab, as its heading says."""

    lab: str  # slug
    number: int  # from 1
    title: str  # without number and points
    points: int
    by_person: bool  # whether a person reads it, not a machine


@dataclass(frozen=True)
class Slip:
    """A plausible wrong answer that a lab's checks are proven against."""

    task: Task  # where it is made
    answer: str  # the answer cell's id
    mistake: str  # what it does, one sentence
    say: str  # what to say to its author


@dataclass(frozen=True)
class Rubric:
    """How a lab's open question is read."""

    task: Task  # the open question
    question: str  # MyST
    answers: dict[int, str]  # model answers in MyST, by their points
    criteria: str  # what each point is for


@dataclass(frozen=True)
class Exercise:
    """An exercise in a chapter's page, for class."""

    chapter: str  # slug
    title: str
    minutes: float | None  # None where nobody says
    ask: str  # what students predict first; "" without a prediction


def chapters() -> list[str]:
    """Return the slugs of the chapters in their order, the primer first."""
    files = re.findall(r"file: book/(\w+)$", (ROOT / "_toc.yml").read_text(encoding="utf-8"), flags=re.M)
    return [slug for slug in files if (BOOK / f"{slug}.ipynb").exists()]


def labs() -> list[str]:
    """Return the slugs of the labs, in the order of the chapters."""
    return [slug for slug in chapters() if (LABS / slug / f"{slug}.ipynb").exists()]


# --- chapters ----------------------------------------------------------------------------------------------------


def objectives(chapter: str) -> list[str]:
    """Return what a reader can do after a chapter, as MyST: the list after "After this chapter you can"."""
    text = "\n\n".join(
        source_of(cell) for cell in cells(BOOK / f"{chapter}.ipynb")[:4] if cell["cell_type"] == "markdown"
    )
    found = re.search(r"^After [^\n]*you can[^\n]*\n\n((?:- [^\n]+\n?)+)", text, flags=re.M)
    return [line[2:].rstrip(" ,.;") for line in found[1].splitlines()] if found else []


def practised(chapter: str) -> list[tuple[str, list[Task]]]:
    """Return a chapter's objectives, each with the tasks of labs that practise it, from `teaching.toml`.

    Raises:
        ValueError: for an objective that stands in one of both places only, and a task that no lab has.
    """
    noted: dict[str, list[str]] = notes()["objectives"].get(chapter, {})
    stated = objectives(chapter)
    beginnings = {words: [each for each in stated if plain(each).startswith(words)] for words in noted}
    if odd := [words for words, found in beginnings.items() if len(found) != 1]:
        raise ValueError(f"{NOTES.name}: {chapter} states no objective, or two, that begin with {odd[0]!r}: {stated}")
    found = []
    for objective in stated:
        mine = [words for words, (only,) in beginnings.items() if only == objective]
        if len(mine) != 1:
            raise ValueError(f"{NOTES.name}: {chapter} has {len(mine)} entries for {objective!r}, should have one")
        found.append((objective, [find_task(name) for name in noted[mine[0]]]))
    return found


def find_task(name: str) -> Task:
    """Return the task that "moe 3" names.

    Raises:
        ValueError: no lab has it.
    """
    lab, _, number = name.rpartition(" ")
    known = {str(task.number): task for task in tasks(lab)} if lab in labs() else {}
    if number not in known:
        has = f"{lab} has tasks {', '.join(known)}" if known else f"the labs are {', '.join(labs())}"
        raise ValueError(f"no lab has the task {name!r}: {has}")
    return known[number]


def plain(text: str) -> str:
    """Return MyST without the marks of its roles: "{term}`batch`" is "batch"."""
    return re.sub(r"\{\w+\}`([^`<]*?)(?: <[^`]*>)?`", r"\1", text)


def title(chapter: str) -> str:
    """Return a chapter's title."""
    return heading(cells(BOOK / f"{chapter}.ipynb"))


def reading_minutes(chapter: str) -> int:
    """Return how long a chapter's prose takes to read, to five minutes; exercises and code come on top."""
    prose = " ".join(source_of(cell) for cell in cells(BOOK / f"{chapter}.ipynb") if cell["cell_type"] == "markdown")
    return max(5, 5 * round(len(prose.split("```{exercise", 1)[0].split()) / WORDS_A_MINUTE / 5))


def exercises(chapter: str) -> list[Exercise]:
    """Return a chapter's exercises for class: its cells with the tag `exercise`, which say their title and minutes."""
    tagged = [each["metadata"] for each in cells(BOOK / f"{chapter}.ipynb") if "exercise" in tags(each)]
    return [
        Exercise(chapter, str(about["title"]), about.get("minutes"), str(about.get("predict", {}).get("ask", "")))
        for about in tagged
    ]


def has_exercises(chapter: str) -> bool:
    """Return whether a chapter has exercises, in class or at its end."""
    return any("exercise" in tags(cell) or "{exercise}" in source_of(cell) for cell in cells(BOOK / f"{chapter}.ipynb"))


# --- labs --------------------------------------------------------------------------------------------------------

TASK = re.compile(r"^## Task (\d+): (.+?) \((\d+) points?(, read by a person)?\)", flags=re.M)


def tasks(lab: str) -> list[Task]:
    """Return a lab's tasks in their order."""
    found = TASK.findall("\n".join(source_of(cell) for cell in lab_cells(lab) if cell["cell_type"] == "markdown"))
    return [Task(lab, int(number), words, int(points), bool(person)) for number, words, points, person in found]


def lab_minutes(lab: str) -> str:
    """Return how long a lab says that it takes, such as "60-90"."""
    text = "\n".join(source_of(cell) for cell in lab_cells(lab) if cell["cell_type"] == "markdown")
    found = re.search(r"\*\*It takes\*\*\D*(\d+)(?: to (\d+))? minutes", text)
    return "-".join(filter(None, found.groups())) if found else ""


def slips(lab: str) -> list[Slip]:
    """Return the wrong answers that a lab's checks are proven against, each with what to say to its author.

    What to say stands in the notes, else it is the hint that the lab's check gives, else it is "".
    """
    noted = notes()["say"].get(lab, {})
    hints = hints_of(lab)
    places = {mark(cell, "grade_id"): task for task, cell in answers(lab)}
    return [
        Slip(places[answer], answer, mistake, noted.get(answer, hints.get(answer, "")))
        for answer, mistake in mistakes(lab).items()
    ]


def mistakes(lab: str) -> dict[str, str]:
    """Return by answer what the lab's wrong submission does there: the first sentence of each function's docstring."""
    path = WRONG / f"{lab}.py"
    parts = re.split(r"^# %% (\S+)\n", path.read_text(encoding="utf-8") if path.exists() else "", flags=re.M)
    said = {}
    for answer, code in zip(parts[1::2], parts[2::2], strict=True):
        bodies = [node for node in ast.parse(code).body if isinstance(node, ast.FunctionDef | ast.ClassDef)]
        said[answer] = " ".join((ast.get_docstring(node) or "").split("\n")[0] for node in bodies).strip()
    return said


def hints_of(lab: str) -> dict[str, str]:
    """Return by answer the hints that a lab's checks give to known mistakes: the keys of `check(..., wrong={...})`."""
    found: dict[str, list[str]] = {}
    answer = ""
    for cell in lab_cells(lab):
        if mark(cell, "solution"):
            answer = mark(cell, "grade_id")
        elif mark(cell, "grade"):
            found.setdefault(answer, []).extend(hints_in(source_of(cell)))
    return {answer: "; ".join(dict.fromkeys(hints)).replace(".;", ".") for answer, hints in found.items() if hints}


def hints_in(code: str) -> Iterator[str]:
    """Yield the hints of each call of `check` in a cell: a dictionary's keys, written there or under a name."""
    nodes = list(ast.walk(ast.parse(code)))
    named = {ast.unparse(node.targets[0]): node.value for node in nodes if isinstance(node, ast.Assign)}
    for node in nodes:
        if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] == "check":
            given = [keyword.value for keyword in node.keywords if keyword.arg == "wrong"]
            inside = [part for value in given for part in ast.walk(value)]
            inside += [named[part.id] for part in inside if isinstance(part, ast.Name) and part.id in named]
            for part in inside:
                if isinstance(part, ast.Dict):
                    yield from (key.value for key in part.keys if isinstance(key, ast.Constant))


def rubric(lab: str) -> Rubric:
    """Return how a lab's open question is read, from its solution.

    It has the form "*An answer of 5 points.* ...", the same of 3 and of 1, "To grade: ..."; an answer that it lacks is
    missing here too.
    """
    ((task, cell),) = [(task, cell) for task, cell in answers(lab) if task.by_person]
    text = source_of(cell).replace("### BEGIN SOLUTION", "").replace("### END SOLUTION", "").strip()
    body, _, criteria = text.partition("To grade:")
    parts = re.split(r"\*An answer of (\d) points?\.\*", body)
    given = {int(points): words.strip() for points, words in zip(parts[1::2], parts[2::2], strict=True)}
    return Rubric(task, question(lab), given, criteria.strip())


def question(lab: str) -> str:
    """Return the text of a lab's open question, without its heading and its hints."""
    (text,) = [
        source_of(cell) for cell in lab_cells(lab) if re.search(TASK.pattern[:-2] + ".*by a person", source_of(cell))
    ]
    without = re.sub(r"<details>.*?</details>|</?span[^>]*>", "", TASK.sub("", text), flags=re.S)
    return without.strip()


def in_person(lab: str) -> list[str]:
    """Return questions that only the author of a lab's answers can answer at once."""
    found: list[str] = notes()["ask"].get(lab, [])
    return found


def answers(lab: str) -> list[tuple[Task, Cell]]:
    """Return the cells that a student fills in, each with its task."""
    by_number = {task.number: task for task in tasks(lab)}
    found, now = [], 0
    for cell in lab_cells(lab):
        if heading_of_task := TASK.search(source_of(cell)):
            now = int(heading_of_task[1])
        if mark(cell, "solution"):
            found.append((by_number[now], cell))
    return found


# --- files -------------------------------------------------------------------------------------------------------


@cache
def notes() -> dict[str, Any]:
    """Return what stands in `teaching.toml`."""
    return tomllib.loads(NOTES.read_text(encoding="utf-8"))


def files() -> list[Path]:
    """Return the files that the teacher's pages are made from."""
    read = [*BOOK.glob("*.ipynb"), *LABS.glob("*/*.ipynb"), *WRONG.glob("*.py")]
    return [NOTES, ROOT / "_toc.yml", *sorted(read)]


def forget() -> None:
    """Read all files anew: one of them may have changed since the last time."""
    notes.cache_clear()
    cells.cache_clear()


def lab_cells(lab: str) -> list[Cell]:
    """Return the cells of a solved lab."""
    return cells(LABS / lab / f"{lab}.ipynb")


@cache
def cells(path: Path) -> list[Cell]:
    """Return the cells of a notebook."""
    found: list[Cell] = read_notebook(path)["cells"]
    return found


def tags(cell: Cell) -> list[str]:
    """Return a cell's tags."""
    found: list[str] = cell["metadata"].get("tags", [])
    return found


def heading(found: list[Cell]) -> str:
    """Return a notebook's title."""
    match = re.search(r"^# (.+)$", source_of(found[0]), flags=re.M)
    return match[1] if match else ""
