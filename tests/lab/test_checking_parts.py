"""Parts of a result that a check leaves out, mistakes told by their values, and results that a rule cannot read."""

import numpy as np
import pytest

from costlab.lab import check, first_difference, said_plainly


def said(function, *answer, **options) -> str:
    with pytest.raises(AssertionError) as failed:
        check(function, *answer, **options)
    return str(failed.value)


def test_three_dots_stand_for_anything() -> None:
    assert first_difference((np.zeros(3), 1), (..., 1)) is None
    assert "at [1]: 2, should be 1" in str(first_difference((None, 2), (..., 1)))
    assert "2 values" in str(first_difference((1, 2), (..., 1, 3)))
    assert "None" in str(first_difference(None, (..., 1)))
    assert said_plainly((..., 1)) == "(..., 1)"
    check(lambda n: (object(), n), [1, 2], lambda n: (..., n))


def test_a_mistake_can_be_told_by_its_values() -> None:
    hints = {"one too many": [2, 3], "twice": lambda n: 2 * n}
    assert "Hint: one too many" in said(lambda n: n + 1, [1, 2], [1, 2], wrong=hints)
    assert "Hint: twice" in said(lambda n: 2 * n, [2, 3], [2, 3], wrong=hints)
    assert "Hint" not in said(lambda n: n - 1, [1, 2], [1, 2], wrong=hints)
    assert "Hint" not in said(lambda n: n + 1, [1, 2], [1, 2], wrong={"shows in the second only": [..., 3]})
    # The value of a mistake belongs to its case: only the second fails here.
    assert "Hint: one too many" in said(lambda n: 3 if n == 2 else n, [1, 2], [1, 2], wrong=hints)


def test_a_result_that_the_rule_cannot_read_is_told_of() -> None:
    message = said(lambda n: n, [1], rule=lambda result, n: None if result[0] else "empty")
    assert "returned 1: no value of the kind that is asked for (TypeError" in message


def test_what_a_harness_asserts_is_said_without_its_type() -> None:
    def played(n):
        raise AssertionError("evict() gave 1, should be a block that is held")

    assert "\n  evict() gave 1, should be a block that is held; should return 5" in said(played, [1], [5])
    assert "raised ValueError: invalid literal" in said(lambda n: int("no"), [1], [5])


def test_a_set_is_said_in_the_same_order_at_every_run() -> None:
    assert said_plainly({"d", "a", "c"}) == "{'a', 'c', 'd'}"
    assert said_plainly({10, 9, 2}) == "{2, 9, 10}"
    assert said_plainly(set()) == "set()"
