"""Texts of a target whose law depends on the context: 20,000 of them tell right rules from wrong ones.

Each text has two tokens, after each of four contexts as often, and is written by rounds of three drafted tokens; its
law is known. A chi-square test at level .001 has 60 degrees of freedom. What wrong rules write is known as well, by
adding up all their drafts and refusals, and so is the test's power against each.
"""

import numpy as np
import pytest
from speculative.measure import mistaken_text_law
from speculative.test_candidates import law_of, ranked, unscaled

from costlab.speculative import (
    Pair,
    Streams,
    best_candidates,
    chi_square,
    choose,
    count_texts,
    distance,
    distinct_candidates,
    draft,
    independent_candidates,
    match,
    one_hot,
    power,
    random_pair,
    text_law,
    until_doubt,
    verify,
    walk,
    while_sure,
    write_texts,
)
from costlab.speculative.faulty import MISTAKES, choose_unchecked, ranked_candidates, unscaled_candidates
from costlab.speculative.simulate import Rounds, closed

TEXTS, TOKENS, LENGTH, LEVEL = 20_000, 2, 3, 0.001
PAIR = random_pair(4, 0.7, np.random.default_rng(1), concentration=1.0)
LAW = text_law(PAIR.target, TOKENS)
CONTEXT = np.arange(TEXTS) % 4
#: Where each round is a call of its own; FEWER, of two positions each, are 20,000 rounds of several candidates.
FEWER = CONTEXT[: TEXTS // 2]
FEWEST = CONTEXT[: TEXTS // 4]


def p_value(context, text) -> float:
    """Chance of counts as far off as these from a right rule; a text that was not finished is off."""
    return chi_square(count_texts(context, text, 4), LAW).p_value if (text >= 0).all() else 0.0


# --- right rules pass ------------------------------------------------------------------------------------------


def each_by(rule):
    """Many rounds, each by a rule for one, with the same uniforms."""

    def decide(drafted, q, p, accept, last) -> Rounds:
        found = [rule(*row) for row in zip(drafted, q, p, accept, last, strict=True)]
        accepted = np.array([each.accepted for each in found])
        return Rounds(closed(drafted, accepted, np.array([each.tokens[-1] for each in found])), accepted)

    return decide


class Given:
    """A generator of uniforms that were drawn before."""

    def __init__(self, uniforms) -> None:
        self.uniforms = uniforms

    def random(self, size=None):
        return self.uniforms


def verify_one(drafted, q, p, accept, last):
    return verify(drafted, q, p, Streams(Given(accept), Given(last)))


def test_verify_writes_the_targets_texts() -> None:
    written = write_texts(PAIR, FEWER, TOKENS, LENGTH, np.random.default_rng(0), each_by(verify_one))
    assert p_value(FEWER, written.text) > LEVEL


def test_match_writes_the_targets_texts() -> None:
    rng = np.random.default_rng(0)

    def match_one(drafted, q, p, accept, last):
        return match(drafted, p, rng)

    written = write_texts(PAIR, FEWER, TOKENS, LENGTH, rng, each_by(match_one))
    assert p_value(FEWER, written.text) > LEVEL


@pytest.mark.parametrize("greedy", [False, True])
@pytest.mark.parametrize("length", [0, 1, 3, 8])
def test_many_rounds_at_once_write_the_targets_texts(length: int, greedy: bool) -> None:
    pair = Pair(PAIR.target, one_hot(PAIR.draft.argmax(-1), 4)) if greedy else PAIR
    written = write_texts(pair, CONTEXT, TOKENS, length, np.random.default_rng(length))
    assert p_value(CONTEXT, written.text) > LEVEL


def test_the_check_is_passed_about_as_often_as_it_should() -> None:
    """Of 100 right runs a fifth lie below .2: the p-values are spread evenly."""
    rng = np.random.default_rng(0)
    found = []
    for _ in range(100):
        text = write_texts(PAIR, CONTEXT[:4000], TOKENS, LENGTH, rng).text
        found.append(p_value(CONTEXT[:4000], text))
    assert 0.08 < np.mean(np.array(found) < 0.2) < 0.32  # three standard errors
    assert 0.35 < np.mean(np.array(found) < 0.5) < 0.65


# --- wrong rules fail ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", MISTAKES)
def test_a_wrong_rule_fails_and_the_test_had_the_power_to_see_it(key: str) -> None:
    mistake = MISTAKES[key]
    wrong = mistaken_text_law(mistake, PAIR, TOKENS, LENGTH)
    assert power(LAW, wrong, TEXTS / 4) > 0.999
    drawn_from = mistake.drawn_from(PAIR.draft)
    rng = np.random.default_rng(0)
    written = write_texts(PAIR, CONTEXT, TOKENS, LENGTH, rng, mistake.decide, drawn_from, most_passes=60)
    assert p_value(CONTEXT, written.text) < LEVEL
    done = (written.text >= 0).all(axis=1)  # those that tried again for sixty rounds and got nothing
    if done.mean() > 0.99:  # what it writes is what adding up says it writes
        assert chi_square(count_texts(CONTEXT[done], written.text[done], 4), wrong).p_value > LEVEL


@pytest.mark.parametrize("key", ["E", "shared"])
def test_two_mistakes_are_seen_only_where_the_law_depends_on_the_context_or_on_the_round(key: str) -> None:
    """With one p and one q everywhere, the wrong row is the right one; and one position uses one uniform."""
    mistake = MISTAKES[key]
    p, q = PAIR.target[0], PAIR.draft[0]
    assert distance(mistake.law(p, q), p) < 1e-12
    fixed = Pair(np.tile(p, (4, 1)), np.tile(q, (4, 1)))
    off = distance(mistaken_text_law(mistake, fixed, TOKENS, LENGTH), text_law(fixed.target, TOKENS)).max()
    assert bool(off < 1e-12) is (key == "E")


# --- several candidates, trees, adaptive drafts ----------------------------------------------------------------


def by_position(contexts, propose, choose_=lambda found, p, rng: choose(*found, p, rng)):
    """Texts written position by position, three candidates each."""
    rng = np.random.default_rng(0)
    text = np.empty((len(contexts), TOKENS), dtype=np.int64)
    for row, context in enumerate(contexts):
        last = context
        for place in range(TOKENS):
            last = text[row, place] = choose_(propose(PAIR.draft[last], 3, rng), PAIR.target[last], rng).token
    return text


PROPOSALS = {
    "independent": independent_candidates,
    "distinct": distinct_candidates,
    "best": lambda q, k, rng: best_candidates(q, k),
}


@pytest.mark.parametrize("name", PROPOSALS)
def test_several_candidates_write_the_targets_texts(name: str) -> None:
    assert p_value(FEWEST, by_position(FEWEST, PROPOSALS[name])) > LEVEL


@pytest.mark.parametrize(
    ("propose", "proposals"),
    [
        pytest.param(unscaled_candidates, unscaled, id="without replacement, q not renormalised"),
        pytest.param(lambda q, k, rng: ranked_candidates(q, k), ranked, id="the k best, tested by p/q"),
    ],
)
def test_candidates_with_the_wrong_law_fail(propose, proposals) -> None:
    table = np.array([law_of(proposals, q, p, 3)[0] for p, q in zip(PAIR.target, PAIR.draft, strict=True)])
    wrong = text_law(table, TOKENS)
    assert power(LAW, wrong, len(FEWER) / 4) > 0.99
    text = by_position(FEWER, propose, choose_unchecked)
    assert p_value(FEWER, text) < LEVEL
    assert chi_square(count_texts(FEWER, text, 4), wrong).p_value > LEVEL


def test_a_tree_writes_the_targets_texts() -> None:
    """Two distinct candidates after the context, two independent ones after the first of them."""
    rng = np.random.default_rng(3)
    text = np.empty((len(FEWEST), TOKENS), dtype=np.int64)
    for row, context in enumerate(FEWEST):
        first = distinct_candidates(PAIR.draft[context], 2, rng)
        below = independent_candidates(PAIR.draft[first.tokens[0]], 2, rng)
        tokens = np.append(first.tokens, below.tokens)
        laws, p = np.vstack([first.laws, below.laws]), PAIR.target[[context, *tokens]]
        found = walk(tokens, [-1, -1, 0, 0], laws, p, rng).tokens
        if len(found) < TOKENS:
            found = np.append(found, verify([], [], PAIR.target[[found[-1]]], rng).tokens)
        text[row] = found[:TOKENS]
    assert p_value(FEWEST, text) > LEVEL


@pytest.mark.parametrize("more", [until_doubt(0.5), while_sure(0.6)], ids=["until_doubt", "while_sure"])
def test_a_draft_whose_length_does_not_look_ahead_writes_the_targets_texts(more) -> None:
    """The one that does is among the mistakes above."""
    rng = np.random.default_rng(0)
    text = np.empty((len(FEWEST), TOKENS), dtype=np.int64)
    for row, context in enumerate(FEWEST):
        found: list[int] = []
        while len(found) < TOKENS:
            seen = [context, *found][-1]
            drafted, q = draft(lambda tokens, s=seen: PAIR.draft[tokens[-1] if len(tokens) else s], more, 3, rng)
            found += verify(drafted, q, PAIR.target[[seen, *drafted]], rng).tokens.tolist()
        text[row] = found[:TOKENS]
    assert p_value(FEWEST, text) > LEVEL
