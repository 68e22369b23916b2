"""The tables of the teacher's pages, as directives; `teaching_facts` reads what they show.

- `course-at-a-glance`: chapters with their minutes, exercises and labs.
- `objective-table`: what readers can do after each chapter, and the tasks of labs in which they do it.
- `class-exercises`: the exercises in the chapters' pages.
- `lab-sheets`: for each lab a sheet with wrong answers and what to say, and the rubric of its open question.

A page that shows them is read again when one of those files changes.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

import teaching_facts


class FromFiles(SphinxDirective):
    """Shows what the function of its name makes of the course's files."""

    def run(self) -> list[nodes.Node]:
        """Return what the made MyST is read as."""
        for path in teaching_facts.files():
            self.env.note_dependency(str(path))
        teaching_facts.forget()
        return self.parse_text_to_nodes(MADE[self.name](), allow_section_headings=True)


def course_at_a_glance() -> str:
    """Return a table of chapters with their minutes, and labs with theirs and their points."""
    rows = []
    for chapter in teaching_facts.chapters():
        in_class = sum(each.minutes or 0 for each in teaching_facts.exercises(chapter))
        lab = lab_figures(chapter) if chapter in teaching_facts.labs() else ("–", "–", "–")
        rows.append((linked(chapter), f"{teaching_facts.reading_minutes(chapter)}", minutes(in_class), *lab))
    heads = ("chapter and lab", "reading, min", "in class, min", "lab, min", "tasks", "points: machine + reader")
    return table(heads, rows)


def lab_figures(lab: str) -> tuple[str, str, str]:
    """Return a lab's minutes, how many tasks it has, and its points."""
    tasks = teaching_facts.tasks(lab)
    machine = sum(task.points for task in tasks if not task.by_person)
    person = sum(task.points for task in tasks if task.by_person)
    return teaching_facts.lab_minutes(lab), str(len(tasks)), f"{machine} + {person}"


def objective_table() -> str:
    """Return a table of all chapters' objectives with the tasks that practise them."""
    rows = []
    for chapter in teaching_facts.chapters():
        for place, (objective, tasks) in enumerate(teaching_facts.practised(chapter)):
            rows.append((linked(chapter) if place == 0 else "", objective, told(tasks) or elsewhere(chapter)))
    return table(("chapter", "after it a student can", "practised in lab: task"), rows)


def told(tasks: Sequence[teaching_facts.Task]) -> str:
    """Return tasks as a reader finds them: "moe: 1, 2; cache: 3"."""
    by_lab: dict[str, list[str]] = {}
    for task in tasks:
        by_lab.setdefault(task.lab, []).append(str(task.number))
    return "; ".join(f"{lab}: {', '.join(numbers)}" for lab, numbers in by_lab.items())


def elsewhere(chapter: str) -> str:
    """Say where an objective is practised that no lab has."""
    return "the chapter's exercises" if teaching_facts.has_exercises(chapter) else "–"


def class_exercises() -> str:
    """Return a table of the exercises in the chapters' pages, or a sentence where no chapter has any."""
    found = [each for chapter in teaching_facts.chapters() for each in teaching_facts.exercises(chapter)]
    rows = [(linked(each.chapter), each.title, each.ask or "–", minutes(each.minutes or 0)) for each in found]
    heads = ("chapter", "exercise", "what students predict first", "min")
    return table(heads, rows) if rows else "No chapter has an exercise for class yet."


def lab_sheets() -> str:
    """Return a section a lab."""
    return "\n\n".join(map(lab_sheet, teaching_facts.labs()))


def lab_sheet(lab: str) -> str:
    """Return a lab's sheet."""
    slips = [(str(slip.task.number), slip.mistake, slip.say or "–") for slip in teaching_facts.slips(lab)]
    rubric = teaching_facts.rubric(lab)
    answers = [f"**An answer of {points} {plural(points)}.** {text}" for points, text in rubric.answers.items()]
    oral = [f"- {each}" for each in teaching_facts.in_person(lab)]
    return "\n\n".join(
        (
            '<div class="new-sheet"></div>',
            f"## {teaching_facts.heading(teaching_facts.lab_cells(lab))}",
            *([table(("task", "the wrong answer", "what to say"), slips)] if slips else []),
            "\n".join(("**To ask in person**, one of these, with the student's own notebook open:", "", *oral)),
            f"### {lab}, task {rubric.task.number}: {rubric.task.title}",
            rubric.question,
            f"**Points.** {rubric.criteria}",
            *answers,
        )
    )


def linked(chapter: str) -> str:
    """Return a chapter's slug as a link."""
    return f"{{ref}}`{chapter} <ch-{chapter}>`"


def minutes(number: float) -> str:
    """Return minutes, or a dash for none."""
    return f"{number:g}" if number else "–"


def plural(points: int) -> str:
    """Return "point" or "points"."""
    return "point" if points == 1 else "points"


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a MyST table."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(map(in_cell, row)) + " |" for row in lines)


def in_cell(text: str) -> str:
    """Return text that stays in its cell."""
    return text.replace("|", "\\|").replace("\n", " ")


#: What each directive shows, as MyST.
MADE: dict[str, Callable[[], str]] = {
    "course-at-a-glance": course_at_a_glance,
    "objective-table": objective_table,
    "class-exercises": class_exercises,
    "lab-sheets": lab_sheets,
}


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directives."""
    for name in MADE:
        app.add_directive(name, FromFiles)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
