"""Four labs' checks see wrong answers that once passed, pass right ones that once failed, and speak plainly of None."""

import re
from functools import cache
from typing import Any

import numpy as np
import pytest

from costlab.lab import scoring
from labs import course as c
from labs import placers

LABS = ("moe", "prices", "roofline")

#: Wrong answers that kept all their points once: lab, check, answer, and the changes of the solved one.
HOLES = {
    "padding of one idle expert only": (
        "moe",
        "dispatch-counts",
        "dispatch-answer",
        [("int(total * rows - kept.sum())", "int(rows * min(total, 1 + chosen.max() + 1) - kept.sum())")],
    ),
    "less than the share, not at most": ("moe", "factor-least", "factor-answer", [("sum() > share", "sum() >= share")]),
    "one visit to each other chip at most": (
        "moe",
        "exchange-bytes",
        "exchange-answer",
        [("k * (ranks - 1) / ranks", "min(k * (ranks - 1) / ranks, ranks - 1)")],
    ),
    "a bias that is changed in place": (
        "moe",
        "bias-step",
        "bias-step-answer",
        [("return bias +", "bias += speed * np.sign(loads.mean() - loads)\n    return bias + 0 *")],
    ),
    "nothing drawn": (
        "moe",
        "simulate",
        "simulate-answer",
        [("rng.random((batch", "np.random.default_rng(experts).random((batch")],
    ),
}
#: Right answers that lost points once.
RIGHT = {
    "float32 in the router": (
        "moe",
        "router-example router-large",
        "router",
        [("(0, logits)", "(0, np.float32(logits))")],
    ),
}


@cache
def cells(lab: str) -> dict[str, str]:
    """A solved lab's cells, by name."""
    return {cell.id: cell.source for cell in c.source(lab).cells}


@cache
def told(lab: str) -> dict[str, Any]:
    """What a lab's cells define, the solved answers among it; cells that only show something are left out."""
    names: dict[str, Any] = {"__name__": "lab"}
    for cell in c.source(lab).cells:
        if cell.cell_type == "code" and "raises-exception" not in cell.metadata.get("tags", []):
            exec(cell.source, names)
    return names


def given(lab: str, answer: str, changes: list[tuple[str, str]]) -> dict[str, Any]:
    """What a lab's cells define, with a changed answer."""
    names = dict(told(lab))
    exec(c.changed(cells(lab)[answer], changes), names)
    return names


@pytest.mark.parametrize("mistake", HOLES)
def test_a_wrong_answer_that_once_passed_fails(mistake: str) -> None:
    lab, checks, answer, changes = HOLES[mistake]
    c.failed(cells(lab), checks, given(lab, answer, changes))


@pytest.mark.parametrize("way", RIGHT)
def test_a_right_answer_that_once_failed_passes(way: str) -> None:
    lab, checks, answer, changes = RIGHT[way]
    c.passed(cells(lab), checks, given(lab, answer, changes))


@pytest.mark.parametrize("way", placers.WAYS)
def test_each_sensible_placement_passes_with_any_course_key(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Copies in proportion to the load reach 0.8998 on EPLB's example: less than the text asks for."""
    names = {**told("moe"), "place": placers.WAYS[way]}
    checks = "place-valid place-skewed" + " place-example" * way.startswith("to_the_neediest")
    for key in ("", "autumn", "spring"):
        monkeypatch.setenv("COSTLAB_COURSE_KEY", key)
        c.passed(cells("moe"), checks, names)


def answered(lab: str, change: str) -> list[dict[str, Any]]:
    """A lab's cells but those that only show something, with each solution changed by a pattern's replacement."""
    found = []
    for cell in c.source(lab).cells:
        shows = "raises-exception" in cell.metadata.get("tags", []) and not c.marked(cell, "grade")
        if cell.cell_type == "code" and not shows:
            text = re.sub(r"([ \t]*)### BEGIN SOLUTION\n.*?### END SOLUTION", change, cell.source, flags=re.S)
            found.append({**cell, "source": text})
    return found


@pytest.mark.parametrize("lab", LABS)
def test_a_forgotten_return_is_said_in_plain_words(lab: str) -> None:
    failed = scoring.run_cells(answered(lab, r"\1return None"))
    assert set(failed) == set(c.checks(lab))
    for check, said in failed.items():
        assert said.startswith("AssertionError: "), (check, said)
        assert "None" in said, (check, said)
        assert "Error" not in said.removeprefix("AssertionError: "), (check, said)


@pytest.mark.parametrize("lab", LABS)
def test_the_solution_passes_with_a_course_key_too(lab: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COSTLAB_COURSE_KEY", "autumn")
    assert scoring.run_cells(answered(lab, r"\g<0>")) == {}


@pytest.mark.parametrize("lab", LABS)
def test_the_time_is_told_by_words_and_answers(lab: str) -> None:
    """150 words a minute and six minutes an answer, within ten; nobody has clocked a class yet."""
    texts = [
        cell.source for cell in c.source(lab).cells if cell.cell_type == "markdown" and not c.marked(cell, "grade")
    ]
    words = len(re.sub(r"<details>.*?</details>", "", "\n".join(texts), flags=re.S).split())
    answers = sum(
        cell.source.startswith(("def ", "class ")) for cell in c.source(lab).cells if c.marked(cell, "solution")
    )
    stated = [
        float(n.replace(",", "")) for n in re.findall(r"about (\d+) minutes: ([\d,]+) words.* and (\d+)", texts[0])[0]
    ]
    assert stated == pytest.approx([words / 150 + 6 * answers, words, answers], abs=10, rel=0.06)


def test_the_wrong_answers_of_the_placement_are_wrong() -> None:
    """The measure that the placements above are judged by: EPLB's loads laid out in order miss 0.90."""
    names = told("moe")
    in_order = np.arange(16).reshape(8, 2) % 12
    assert "should be at least 0.90" in names["unbalanced"](in_order, names["LOADS"], 8, 4)
