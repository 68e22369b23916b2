"""The teacher's pages: what they show of chapters and labs is whole, and names nothing that is not there."""

import re
from collections import Counter
from pathlib import Path

import pytest
import teaching
import teaching_facts

ROOT = Path(__file__).parents[2]
CHAPTERS, LABS = teaching_facts.chapters(), teaching_facts.labs()
GUIDE = (ROOT / "book" / "teaching.md").read_text()


# --- chapters and labs -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_a_chapter_says_what_a_reader_can_do_afterwards_and_where_it_is_practised(chapter: str) -> None:
    """An objective that the chapter states and the map lacks, or the other way round, is an error that says so."""
    assert len(teaching_facts.practised(chapter)) >= 3


def test_each_task_of_each_lab_practises_an_objective() -> None:
    every = {(task.lab, task.number) for lab in LABS for task in teaching_facts.tasks(lab)}
    mapped = {
        (task.lab, task.number)
        for chapter in CHAPTERS
        for _, tasks in teaching_facts.practised(chapter)
        for task in tasks
    }
    assert mapped == every


def test_the_map_names_no_chapter_and_no_lab_that_is_not_there() -> None:
    noted = teaching_facts.notes()
    assert list(noted["objectives"]) == CHAPTERS
    assert noted["say"].keys() <= set(LABS) and noted["ask"].keys() >= set(LABS)


def test_a_task_that_no_lab_has_is_refused() -> None:
    with pytest.raises(ValueError, match=r"no lab has the task 'moe 9': moe has tasks 1, 2, 3, 4, 5, 6, 7, 8"):
        teaching_facts.find_task("moe 9")
    with pytest.raises(ValueError, match=r"no lab has the task 'mow 1': the labs are"):
        teaching_facts.find_task("mow 1")


# --- the sheets --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lab", LABS)
def test_a_lab_has_a_word_for_each_known_mistake(lab: str) -> None:
    slips = teaching_facts.slips(lab)
    assert len(slips) >= 5
    assert [slip.answer for slip in slips if not slip.say or not slip.mistake] == []
    assert teaching_facts.notes()["say"].get(lab, {}).keys() <= {slip.answer for slip in slips}, (
        "said of no known mistake"
    )


@pytest.mark.parametrize("lab", LABS)
def test_an_open_question_has_three_model_answers_and_says_what_each_point_is_for(lab: str) -> None:
    rubric = teaching_facts.rubric(lab)
    assert sorted(rubric.answers) == [1, 3, 5], "*An answer of 5 points.* and so on"
    lengths = [len(rubric.answers[points].split()) for points in (5, 3, 1)]
    assert lengths == sorted(lengths, reverse=True) and lengths[2] >= 10
    assert rubric.criteria and rubric.task.points == 5
    assert len(teaching_facts.in_person(lab)) >= 2


def test_points_of_criteria_add_up() -> None:
    """Where the criteria count single points, they count five."""
    for lab in LABS:
        found = re.findall(r"(?:^|[;,.] )(\d)(?: points?)? for", teaching_facts.rubric(lab).criteria)
        assert sum(map(int, found)) in (0, 5), lab


def test_hints_are_read_from_checks() -> None:
    code = 'from costlab import lab\nlab.check(f, [1], g, wrong={"Half of it.": h, "And more.": k})\ncheck(f, [2], g)'
    assert list(teaching_facts.hints_in(code)) == ["Half of it.", "And more."]


# --- the pages ---------------------------------------------------------------------------------------------------


def test_the_syllabus_of_twelve_weeks_has_every_chapter_once() -> None:
    six, twelve = (section.split("\n## ")[0] for section in GUIDE.split("weeks\n", 2)[1:])
    assert Counter(re.findall(r"<ch-(\w+)>", twelve)) == Counter(CHAPTERS)
    assert set(re.findall(r"<ch-(\w+)>", six)) < set(CHAPTERS)
    assert [len(re.findall(r"^\| \d+ \|", text, flags=re.M)) for text in (six, twelve)] == [6, 12]


def test_tables_are_whole() -> None:
    rows = teaching.course_at_a_glance().splitlines()
    assert len(rows) == 2 + len(CHAPTERS)
    moe = next(row for row in rows if "ch-moe" in row)
    assert moe.endswith("| 8 | 35 + 5 |")
    objectives = teaching.objective_table()
    assert "write the router of any model in the catalog, from Mixtral to V4 | moe: 1, 2 |" in objectives
    assert all(text.count("|") == 4 for text in objectives.splitlines())
    sheet = teaching.lab_sheet("moe")
    assert "| 2 | Weigh by the biased scores. | The bias decides who is chosen" in sheet
    places = [
        sheet.index(text) for text in ("## Lab: a mixture", "**Points.**", "of 5 points", "of 3 points", "of 1 point.")
    ]
    assert places == sorted(places)


def test_a_cell_of_a_table_keeps_its_bars_and_lines() -> None:
    assert teaching.table(("a", "b"), [("x|y", "1\n2")]).splitlines()[-1] == r"| x\|y | 1 2 |"


def test_commands_that_the_guide_names_are_there() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.M))
    assert set(re.findall(r"`make ([a-z-]+)", GUIDE)) <= targets
