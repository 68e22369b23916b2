"""The lab's test of a loop sees every wrong rule that it is there for, and passes the right one."""

from collections.abc import Callable
from functools import cache
from typing import Any

import pytest

from labs import course as c

CELLS = {cell.id: cell.source for cell in c.source("speculative").cells}

#: Changes of the solved round: the wrong rules of costlab.speculative.faulty, and what else a mender may overlook.
DRAWN, REDRAWN = "draw(q[-1], rng.random())", "draw(more, rng.random())"
TESTED = "rng.random() * q[i][token] >= p[i][token]"
WRONG = {
    "B: argmax draft, softmax ratio": [(DRAWN, "q[-1].index(max(q[-1]))")],
    "C: nothing after a rejection": [(f"[*drafted[:i], {REDRAWN}]", "drafted[:i]")],
    "D: the target after a rejection": [(REDRAWN, "draw(p[i], rng.random())")],
    "F: match, else a fresh draw": [
        (TESTED, "draw(p[i], rng.random()) != token"),
        (REDRAWN, "draw(p[i], rng.random())"),
    ],
    "G: always the residual": [(TESTED, "True")],
    "a row late": [("[len(text) - 1 :]", "[len(text) :]")],
    "a row early": [("[len(text) - 1 :]", "[len(text) - 2 :]")],
    "one uniform for a round": [
        ("    for i, token", "    u = rng.random()\n    for i, token"),
        ("rng.random() *", "u *"),
    ],
    "ratio the wrong way round": [(TESTED, "rng.random() * p[i][token] >= q[i][token]")],
    "bonus from the draft": [("draw(p[-1]", "draw(q[-1]")],
    "residual of the wrong sign": [("a - b", "b - a")],
    "right row, but another one for the residual": [("zip(p[i],", "zip(p[i + 1],")],
}
#: Rules that keep the law and yield fewer tokens.
FEWER = {
    "no token after an accepted draft": [("return [*drafted, draw(p[-1], rng.random())]", "return drafted")],
    "match and emit": [(TESTED, "(own := draw(p[i], rng.random())) != token"), (REDRAWN, "own")],
    "plain decoding": [
        ("for i, token in enumerate(drafted):", "for i in (0,):"),
        (TESTED, "True"),
        ("more, ", "p[0], "),
    ],
}


@cache
def told() -> dict[str, Any]:
    """What the lab's cells define before the answer."""
    names: dict[str, Any] = {}
    for name in ("setup", "draw", "article", "play"):
        exec(CELLS[name], names)
    return names


def given(changes: list[tuple[str, str]]) -> dict[str, Any]:
    """What the lab's cells define, with a changed answer."""
    names = dict(told())
    exec(c.changed(CELLS["mended-answer"], changes), names)
    return names


@pytest.mark.parametrize("name", WRONG)
def test_the_law_test_sees_wrong_rules(name: str) -> None:
    names = given(WRONG[name])
    with pytest.raises(AssertionError, match=r"p-value|should be"):
        exec(CELLS["mended-law"], names)


@pytest.mark.parametrize("name", FEWER)
def test_the_count_of_tokens_sees_rules_that_waste_a_pass(name: str) -> None:
    names = given(FEWER[name])
    with pytest.raises(AssertionError, match="tokens per pass"):
        exec(CELLS["mended-tokens"], names)


def test_the_articles_round_fails_every_check() -> None:
    names = given([])
    names["mended"] = names["article_round"]
    for check in ("mended-forward", "mended-law", "mended-tokens"):
        with pytest.raises(AssertionError):
            exec(CELLS[check], names)


def test_the_right_round_passes_on_every_seed() -> None:
    """A right round falls below .001 once in a thousand runs; a first run that does has a second."""
    names = given([])
    test: Callable[..., tuple[float, str]] = names["law_test"]
    values = [test(names["mended"], names["PAIR"], 3, 5000, seed)[0] for seed in range(20)]
    assert min(values) >= 0.001
    assert max(values) > 0.5, "p-values of a right rule are spread over 0 to 1"
