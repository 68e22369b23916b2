"""A student's marks in a lab: what the record and the gradebook say together, for feedback pages and for the list."""

from __future__ import annotations

from dataclasses import dataclass

from nbgrader.api import Gradebook

from classroom import gradebook
from classroom.lab import Lab, Task
from classroom.records import Record


@dataclass(frozen=True)
class Mark:
    """What one cell gives a student.

    Attributes:
        most: points that it can give.
        machine: points of a check, 0 of an open answer that is empty; None where only a person can tell.
        person: points that a person gave instead; None if nobody did.
        waits: whether a person has to read it.
        comment: what a person wrote.
    """

    most: float
    machine: float | None
    person: float | None = None
    waits: bool = False
    comment: str = ""

    @property
    def points(self) -> float | None:
        """What counts; None while it waits for a person."""
        return self.machine if self.person is None else self.person


@dataclass(frozen=True)
class Marks:
    """All marks of a student in a lab that was graded.

    Attributes:
        lab: the lab.
        cells: by the names of cells.
    """

    lab: Lab
    cells: dict[str, Mark]

    @classmethod
    def of(cls, lab: Lab, record: Record, book: Gradebook) -> Marks:
        """Put together what machines gave, by the record, and people, by the gradebook."""
        given = gradebook.given(book, lab.name, record.student)
        found = dict[str, Mark]()
        for name, machine in record.booked(lab).items():
            told = given.get(name, gradebook.Given(None, None, machine is None))
            waits = name in lab.open and (told.waits or (machine is None and told.person is None))
            found[name] = Mark(lab.points[name], machine, told.person, waits, told.comment)
        return cls(lab, found)

    @property
    def machine(self) -> float:
        """Points that machines gave to checks."""
        return sum(self.cells[name].machine or 0.0 for name in self.lab.checks)

    @property
    def person(self) -> float:
        """Points that people gave to open answers, and added to checks or took from them."""
        return self.points - self.machine

    @property
    def points(self) -> float:
        """All points that there are so far."""
        return sum(mark.points or 0.0 for mark in self.cells.values())

    @property
    def waits(self) -> bool:
        """Whether a person has to read something."""
        return any(mark.waits for mark in self.cells.values())

    def of_task(self, task: Task) -> float | None:
        """Return a task's points; None while a part of it waits for a person."""
        found = [self.cells[name].points for name in task.cells]
        return None if None in found else sum(points or 0.0 for points in found)


def most(lab: Lab, task: Task) -> float:
    """Return the points that a task can give."""
    return sum(lab.points[name] for name in task.cells)
