"""The tables of the teacher's pages, as directives; what they show is read by `classroom` from the course's own files.

- `course-at-a-glance`: chapters with their minutes, exercises and labs.
- `objective-table`: what readers can do after each chapter, and the tasks of labs in which they do it.
- `class-exercises`: the exercises in the chapters' pages.
- `lab-sheets`: for each lab a sheet with wrong answers and what to say, and the rubric of its open question.

A page that shows them is read again when one of those files changes.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

import classroom


class FromFiles(SphinxDirective):
    """A directive whose content is MyST made from the course's files."""

    def run(self) -> list[nodes.Node]:
        """Return what the text is read as."""
        for path in classroom.files():
            self.env.note_dependency(str(path))
        classroom.forget()
        return self.parse_text_to_nodes(self.text(), allow_section_headings=True)

    def text(self) -> str:
        """Return MyST."""
        raise NotImplementedError


class CourseAtAGlance(FromFiles):
    """Chapters with their minutes, and labs with theirs and their points."""

    def text(self) -> str:
        """Return one table."""
        rows = []
        for chapter in classroom.chapters():
            in_class = classroom.exercises(chapter)
            rows.append(
                (
                    f"{{ref}}`{chapter} <ch-{chapter}>`",
                    f"{classroom.reading_minutes(chapter)}",
                    f"{len(in_class)} of {in_class[0].minutes} min" if in_class else "–",
                    *(lab_figures(chapter) if chapter in classroom.labs() else ("–", "–", "–")),
                )
            )
        heads = ("chapter and lab", "reading, min", "in class", "lab, min", "tasks", "points: machine + reader")
        return table(heads, rows)


def lab_figures(lab: str) -> tuple[str, str, str]:
    """Return a lab's minutes, how many tasks it has, and its points."""
    tasks = classroom.tasks(lab)
    machine = sum(task.points for task in tasks if not task.by_person)
    person = sum(task.points for task in tasks if task.by_person)
    return classroom.lab_minutes(lab), str(len(tasks)), f"{machine} + {person}"


class ObjectiveTable(FromFiles):
    """Each chapter's objectives and the tasks that practise them."""

    def text(self) -> str:
        """Return one table with a row an objective."""
        rows = []
        for chapter in classroom.chapters():
            for place, (objective, tasks) in enumerate(classroom.practised(chapter)):
                name = f"{{ref}}`{chapter} <ch-{chapter}>`" if place == 0 else ""
                rows.append((name, objective, told(tasks) or "exercises of the chapter"))
        return table(("chapter", "after it a student can", "practised in lab: task"), rows)


def told(tasks: Sequence[classroom.Task]) -> str:
    """Return tasks as a reader finds them: "moe: 1, 2; cache: 3"."""
    by_lab: dict[str, list[str]] = {}
    for task in tasks:
        by_lab.setdefault(task.lab, []).append(str(task.number))
    return "; ".join(f"{lab}: {', '.join(numbers)}" for lab, numbers in by_lab.items())


class ClassExercises(FromFiles):
    """The exercises in the chapters' pages."""

    def text(self) -> str:
        """Return one table, or a sentence where no chapter has any."""
        found = [each for chapter in classroom.chapters() for each in classroom.exercises(chapter)]
        rows = [(f"{{ref}}`{each.chapter} <ch-{each.chapter}>`", each.title, str(each.minutes)) for each in found]
        return table(("chapter", "exercise", "min"), rows) if rows else "No chapter has an exercise for class yet."


class LabSheets(FromFiles):
    """A sheet for each lab."""

    def text(self) -> str:
        """Return a section a lab."""
        return "\n\n".join(map(lab_sheet, classroom.labs()))


def lab_sheet(lab: str) -> str:
    """Return a lab's sheet as MyST."""
    slips = [(str(slip.task.number), slip.mistake, slip.say) for slip in classroom.slips(lab)]
    rubric = classroom.rubric(lab)
    answers = [f"**An answer of {points} {plural(points)}.** {text}" for points, text in sorted(rubric.answers.items())]
    return "\n\n".join(
        (
            f"(sheet-{lab})=\n## {lab}: {classroom.heading(classroom.lab_cells(lab))}",
            table(("task", "the wrong answer", "what to say"), slips),
            f"### {lab}, task {rubric.task.number}: {rubric.task.title}",
            rubric.question,
            f"**Points.** {rubric.criteria}",
            *reversed(answers),
        )
    )


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


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directives."""
    app.add_directive("course-at-a-glance", CourseAtAGlance)
    app.add_directive("objective-table", ObjectiveTable)
    app.add_directive("class-exercises", ClassExercises)
    app.add_directive("lab-sheets", LabSheets)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
