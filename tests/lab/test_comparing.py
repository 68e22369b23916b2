"""Two values agree where a teacher would say so, and the words name the first place where they do not."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from costlab.lab import first_difference, said_plainly

NUMBERS = st.floats(-1e6, 1e6) | st.integers(-(10**6), 10**6)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=12,
)


@given(VALUES)
def test_a_value_equals_itself(value) -> None:
    assert first_difference(value, value) is None


@given(arrays.arrays(np.float64, arrays.array_shapes(max_dims=3, max_side=4), elements=st.floats(-1e3, 1e3)), st.data())
def test_one_wrong_number_is_found_at_its_place(right, data) -> None:
    place = tuple(data.draw(st.integers(0, side - 1)) for side in right.shape)
    got = right.copy()
    got[place] += 1 + abs(right[place])
    assert f"[{', '.join(map(str, place))}]" in (first_difference(got, right) or "")
    assert first_difference(got.tolist(), right) is not None
    assert first_difference(right.tolist(), right) is None
    assert first_difference(right.astype(np.float32), right) is None  # the tolerance is that of float32


@pytest.mark.parametrize(
    ("got", "right"),
    [
        (3.0, 3),
        (np.int32(3), 3),
        (np.array(3), 3),
        ((1, 2), [1, 2]),
        ([1, 2], np.array([1.0, 2.0])),
        ([0.1 + 0.2, np.nan], np.array([0.3, np.nan])),
        ((np.array([1]), 2), ([1], 2.0)),
        (1e12 / 3 * 3, 10**12),
        (True, np.True_),
        ({"a": (1,)}, {"a": [1]}),
        (np.inf, np.inf),
    ],
)
def test_the_type_is_no_mistake(got, right) -> None:
    assert first_difference(got, right) is None


@pytest.mark.parametrize(
    ("got", "right", "says"),
    [
        (None, 3, "None, should be 3 (is a `return` missing?)"),
        (4, 3, "4, should be 3"),
        (3.001, 3, "3.001, should be 3"),
        (10**9 + 1, 10**9, "1000000001, should be 1000000000"),  # counts are exact, whatever the tolerance
        ([1, 2], np.array([1, 2, 3]), "shape (2,), should be an array of shape (3,)"),
        ([[1, 2]], np.array([1, 2]), "shape (1, 2), should be an array of shape (2,)"),
        (5, np.array([1, 2]), "one number, 5, should be an array of shape (2,)"),
        ([1, 2], 3, "shape (2,), should be 3"),
        (np.nan, 0.5, "nan, should be 0.5"),
        ([0.0, np.nan], np.array([0.0, 1.0]), "at [1]: nan, should be 1 (1 of 2 numbers differ)"),
        ("three", 3, "'three' (str), should be 3"),
        ([[1], [1, 2]], np.zeros((2, 2)), "is no array, should have shape (2, 2)"),
        ((1,), (1, 2), "1 values, should be 2: (1, 2)"),
        (([1], 2), ([1], 3), "at [1]: 2, should be 3"),
        ((None, 2), (1, 2), "at [0]: None, should be 1"),
        (3, (1, 2), "3 (int), should be (1, 2)"),
        ("ab", ["a", "b"], "'ab' (str), should be ['a', 'b']"),
        ({"a": 1}, {"a": 1, "b": 2}, "no key 'b', should have ['a', 'b']"),
        ({"a": 1, "b": 2}, {"a": 1}, "a key 'b' too many"),
        ({"a": 1}, {"a": 2}, "at ['a']: 1, should be 2"),
        ([1], {"a": 1}, "should be a dictionary"),
        ("a", "b", "'a', should be 'b'"),
        (np.array([1, 2]), "b", "[1, 2], should be 'b'"),
        ({1}, {1, 2}, "{1}, should be {1, 2}"),
    ],
)
def test_a_mistake_is_said_in_plain_words(got, right, says: str) -> None:
    assert says in (first_difference(got, right) or "")


def test_large_values_are_described() -> None:
    assert said_plainly(np.zeros((50, 3))) == "an array of shape (50, 3)"
    assert said_plainly(list(range(100))) == "a list of 100: [0, 1, 2, 3, …]"
    assert said_plainly((np.float32(0.5), np.arange(3), "x")) == "(0.5, [0, 1, 2], 'x')"
    assert len(said_plainly("x" * 1000)) < 320
