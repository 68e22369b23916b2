"""A check calls copies, says what came out and what would be right, and knows mistakes by their results."""

from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest

from costlab.lab import check, chosen, seeded


def right(values: np.ndarray, k: int) -> np.ndarray:
    return np.argsort(-values, kind="stable")[:k]


CASES = [(np.array([1.0, 3.0, 2.0]), 1), (np.array([1.0, 3.0, 3.0]), 2)]


def said(function, cases=CASES, *answer, **options) -> str:
    with pytest.raises(AssertionError) as failed:
        check(function, cases, *answer, **options)
    return str(failed.value)


def test_all_right_prints_the_tally(capsys) -> None:
    check(right, CASES, right)
    check(right, CASES, [[1], [1, 2]])
    assert capsys.readouterr().out == "✓ right: 2 of 2 cases\n" * 2


def test_a_failure_shows_input_output_and_right() -> None:
    def first(values, k):
        return list(range(k))

    message = said(first, CASES, right)
    assert "first: 0 of 2 cases are right" in message
    assert "first([1, 3, 2], 1)" in message
    assert "returned [0], should be [1]" in message


def test_a_forgotten_return_is_named_and_no_raw_error_comes_up() -> None:
    for judged in ({"right": right}, {"rule": lambda result, values, k: "no" * len(result)}):
        assert "is a `return` missing?" in said(lambda values, k: None, CASES, **judged)


def test_an_error_of_the_answer_is_told_with_what_should_come() -> None:
    with pytest.raises(AssertionError, match=r"raised IndexError: .*should return \[1\]") as failed:
        check(lambda values, k: values[7], CASES, right)
    assert isinstance(failed.value.__cause__, IndexError)  # the traceback shows the line


def test_no_answer_yet_stays_what_it_is() -> None:
    def open_one(values, k):
        raise NotImplementedError("no answer yet")

    with pytest.raises(NotImplementedError):
        check(open_one, CASES, right)


def test_a_known_mistake_gets_its_hint_only_where_it_fits_all_failures() -> None:
    def ascending(values, k):
        return np.argsort(values, kind="stable")[:k]

    hints = {"the smallest, not the largest": ascending, "the last of equals": lambda v, k: np.argsort(v)[::-1][:k]}
    assert "Hint: the smallest, not the largest" in said(ascending, CASES, right, wrong=hints)
    assert "Hint: the last of equals" in said(lambda v, k: np.argsort(v)[::-1][:k], CASES, right, wrong=hints)
    assert "Hint" not in said(lambda v, k: [9] * k, CASES, right, wrong=hints)
    assert "Hint" not in said(lambda v, k: None, CASES, right, wrong={"breaks": lambda v, k: 1 / 0})


def test_the_answer_gets_copies_and_must_not_change_them() -> None:
    def sorts(values):
        values.sort()
        return sorted(values)

    given = [3, 1, 2]
    assert "changed its argument 1 to [1, 2, 3], should leave it as it was: [3, 1, 2]" in said(
        sorts, [(given,)], sorted
    )
    assert given == [3, 1, 2]
    check(sorts, [(given,)], sorted, unchanged=False)


def test_random_numbers_are_the_same_for_answer_and_right() -> None:
    def draw(rng):
        return rng.random(3)

    check(draw, [np.random.default_rng(5)], draw)


def test_a_rule_judges_where_many_answers_are_right() -> None:
    def even(result, n):
        return f"{result} is odd, should be even" if result % 2 else None

    check(lambda n: 2 * n, [1, 2], rule=even)
    assert "returned 3: 3 is odd, should be even" in said(lambda n: n, [2, 3], rule=even)


def test_a_check_without_answers_is_refused() -> None:
    with pytest.raises(ValueError, match="give `right`, `rule` or both"):
        check(right, CASES)
    with pytest.raises(ValueError, match="2 cases, but 1 right answers"):
        check(right, CASES, [[1]])


def test_a_course_key_changes_what_is_drawn(monkeypatch) -> None:
    monkeypatch.delenv("COSTLAB_COURSE_KEY", raising=False)
    plain = seeded(1).random()
    assert seeded(1).random() == plain != seeded(2).random()
    assert chosen("ranks", [8, 16, 32]) == 8
    monkeypatch.setenv("COSTLAB_COURSE_KEY", "autumn")
    assert seeded(1).random() == seeded(1).random() != plain
    found = set()
    for key in range(30):
        monkeypatch.setenv("COSTLAB_COURSE_KEY", str(key))
        found.add(chosen("ranks", [8, 16, 32]))
    assert found == {8, 16, 32}


class Lie:
    """Says that it equals anything."""

    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = None  # type: ignore[assignment]


class Mute:
    def __repr__(self) -> str:
        raise RuntimeError

    def __array__(self, *_: object, **__: object) -> np.ndarray:
        raise KeyError


@pytest.mark.parametrize("right", ["yes", None, {1, 2}, 3, [1, 2]])
def test_an_answer_that_says_it_is_right_is_not(right: object) -> None:
    for got in (Lie(), Mute(), looped()):
        with pytest.raises(AssertionError, match="should"):
            check(lambda x, got=got: got, [1], [right])


def looped() -> list:
    found: list = [1]
    found.append(found)
    return found


def test_numbers_of_other_kinds_are_right(capsys: pytest.CaptureFixture[str]) -> None:
    check(lambda x: x, [2**70, Fraction(1, 2), Decimal("0.25")], [2**70, 0.5, 0.25])
    with pytest.raises(AssertionError, match="should be 1180591620717411303425"):
        check(lambda x: x, [2**70], [2**70 + 1])


def test_changes_inside_tuples_and_sets_are_seen_and_objects_are_left_alone() -> None:
    for change, case in ((lambda t: t[0].append(1), (([1], 2),)), (lambda s: s.add(5), {1})):
        with pytest.raises(AssertionError, match="should leave it as it was"):
            check(lambda x, c=change: c(x) or 1, [case], [1])
    check(lambda objects: len(objects), [[object()]], [1])
