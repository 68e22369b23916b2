"""Grading a class: each submission is a job of its own, in a sandbox, and its result is written in one step.

A reading order, from one file to a class:

    lab.py          what a lab asks: its cells, checks, points and tasks, all from the solved notebook
    collect.py      whose file is which: a folder, or what a learning platform exports
    mend.py         a student's file made whole: the lab's own cells, the student's answers
    sandbox.py      where students' code runs: bubblewrap, a container, or without protection
    container.py    the second of these
    choose.py       which of them there is
    kernel.py       the Python that runs there
    execute.py      cells run one by one; one that stops Python costs its own points only
    harmless.py     what ran, without what a browser would run when a teacher looks at it
    job.py          the five above on one submission
    records.py      a result on disk and in nbgrader's gradebook, whole or not at all
    gradebook.py    the part of it that nbgrader keeps
    grade.py        the class: many jobs side by side
    marks.py        what machines and people gave
    feedback.py     a page a student
    table.py        the list of points
    commands.py     what a teacher types

nbgrader keeps the gradebook, and its Formgrader is where open answers are read.
"""
