"""Shapley values and interactions: beside all orders one by one, closed forms, and the axioms that define them."""

import itertools
import math

import pytest
from effort import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from costlab.levers import shapley

NAMES = ("a", "b", "c", "d")


def game(numbers, names=NAMES):
    return dict(zip(shapley.sets(names), numbers, strict=True))


GAMES = st.lists(st.floats(-10, 10), min_size=16, max_size=16).map(game)


def by_orders(worth, names=NAMES):
    """What each adds when its turn comes, in the mean over every order."""
    added = dict.fromkeys(names, 0.0)
    orders = list(itertools.permutations(names))
    for order in orders:
        for i, name in enumerate(order):
            added[name] += worth[frozenset(order[: i + 1])] - worth[frozenset(order[:i])]
    return {name: total / len(orders) for name, total in added.items()}


@settings(max_examples=examples(100))
@given(GAMES)
def test_values_are_means_over_all_orders(worth):
    assert dict(shapley.values(worth)) == pytest.approx(by_orders(worth), abs=1e-9)


@settings(max_examples=examples(100))
@given(GAMES, GAMES)
def test_values_are_efficient_and_additive(one, two):
    of_one, of_two = shapley.values(one), shapley.values(two)
    assert sum(of_one.values()) == pytest.approx(one[frozenset(NAMES)] - one[frozenset()], abs=1e-9)
    both = shapley.values({found: one[found] + two[found] for found in one})
    assert dict(both) == pytest.approx({name: of_one[name] + of_two[name] for name in NAMES}, abs=1e-9)


@settings(max_examples=examples(50))
@given(GAMES)
def test_alike_causes_share_alike(worth):
    """A game that does not tell a from b gives them the same, and one where d adds nothing gives it nothing."""

    def swapped(found):
        return frozenset({"a": "b", "b": "a"}.get(name, name) for name in found)

    even = {found: worth[found] + worth[swapped(found)] for found in worth}
    found = shapley.values(even)
    assert found["a"] == pytest.approx(found["b"], abs=1e-9)
    without = {found: worth[found - {"d"}] for found in worth}
    assert shapley.values(without)["d"] == pytest.approx(0, abs=1e-9)
    assert all(
        value == pytest.approx(0, abs=1e-9) for pair, value in shapley.interactions(without).items() if "d" in pair
    )


@settings(max_examples=examples(50))
@given(st.lists(st.floats(-10, 10), min_size=5, max_size=5))
def test_what_adds_up_interacts_with_nothing(numbers):
    base, *each = numbers
    alone = dict(zip(NAMES, each, strict=True))
    worth = shapley.worths(NAMES, lambda found: base + sum(alone[name] for name in found))
    assert dict(shapley.values(worth)) == pytest.approx(alone, abs=1e-9)
    assert all(value == pytest.approx(0, abs=1e-9) for value in shapley.interactions(worth).values())


def test_the_glove_game():
    """One left glove and two right ones, a pair worth 1: 4/6, 1/6, 1/6 (Shapley 1953; Owen, Game Theory, 1995)."""
    pair = shapley.worths(["left", "right", "other"], lambda found: float("left" in found and len(found) > 1))
    assert dict(shapley.values(pair)) == pytest.approx({"left": 4 / 6, "right": 1 / 6, "other": 1 / 6})


def test_the_majority_of_a_council():
    """A law passes with three of four votes, of which one has a veto: (1/2, 1/6, 1/6, 1/6)."""
    law = shapley.worths(NAMES, lambda found: float("a" in found and len(found) >= 3))
    assert dict(shapley.values(law)) == pytest.approx({"a": 0.5, "b": 1 / 6, "c": 1 / 6, "d": 1 / 6})


@settings(max_examples=examples(50))
@given(GAMES)
def test_interactions_are_what_the_definition_says(worth):
    """The mean over every order of the pair as one: what both add together beyond what each adds to those before."""
    for (one, two), found in shapley.interactions(worth).items():
        others = [name for name in NAMES if name not in (one, two)]
        total, orders = 0.0, list(itertools.permutations([*others, (one, two)]))
        for order in orders:
            before = frozenset(order[: order.index((one, two))])
            total += worth[before | {one, two}] - worth[before | {one}] - worth[before | {two}] + worth[before]
        assert found == pytest.approx(total / len(orders), abs=1e-9)


def test_one_cause_takes_all():
    alone = shapley.worths(["a"], lambda found: 3.0 * len(found))
    assert dict(shapley.values(alone)) == {"a": 3.0}
    assert not shapley.interactions(alone)


@pytest.mark.parametrize("names", [[], ["a", "a"], list("abcdefghijklm")])
def test_what_are_no_causes_is_refused(names):
    with pytest.raises(ValueError, match="different names"):
        shapley.worths(names, len)


@pytest.mark.parametrize("worth", [math.inf, math.nan])
def test_a_worth_that_is_no_number_is_refused(worth):
    with pytest.raises(ValueError, match=r"a with b is worth (inf|nan): should be a finite number"):
        shapley.worths(["a", "b"], lambda found: worth if len(found) == 2 else 0.0)
