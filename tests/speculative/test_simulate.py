"""Many rounds at once: decisions equal to `verify`'s, texts and their law, what is refused."""

import numpy as np
import pytest
from effort import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from costlab.speculative import (
    Pair,
    Streams,
    acceptance,
    count_texts,
    draw,
    one_hot,
    random_pair,
    text_law,
    verify,
    verify_many,
    write_texts,
)
from costlab.speculative.simulate import Rounds, draft_texts, play_rounds


class Given:
    """A generator of uniforms that were drawn before."""

    def __init__(self, uniforms) -> None:
        self.uniforms = uniforms

    def random(self, size=None):
        return self.uniforms


@settings(max_examples=examples(60))
@given(st.integers(0, 2**32 - 1), st.integers(1, 9), st.integers(0, 4), st.integers(0, 20))
def test_decisions_are_those_of_verify_by_the_same_uniforms(seed, vocabulary, length, rounds) -> None:
    rng = np.random.default_rng(seed)
    weights = rng.integers(0, 4, (2, rounds, length + 1, vocabulary)) + 1e-3 * (rng.random() < 0.5)
    weights[..., 0] += weights.sum(-1) == 0
    p, q = weights / weights.sum(-1, keepdims=True)
    q = q[:, :length]
    drafted = draw(q, rng.random((rounds, length)))
    accept, last = rng.random((rounds, length)), rng.random(rounds)
    found = verify_many(drafted, q, p, accept, last)
    for row in range(rounds):
        one = verify(drafted[row], q[row], p[row], Streams(Given(accept[row]), Given(last[row])))
        assert found.accepted[row] == one.accepted
        assert found.tokens[row].tolist() == one.tokens.tolist() + [-1] * (length - one.accepted)
    assert (found.emitted == found.accepted + 1).all()


def test_a_million_rounds_of_a_draft_that_is_the_target() -> None:
    """All are kept, no NaN comes up, and the last token follows the target."""
    rng = np.random.default_rng(0)
    p = rng.dirichlet([0.2] * 4, (100_000, 3))
    last = np.zeros(4)
    for _ in range(10):
        drafted = draw(p[:, :2], rng.random((100_000, 2)))
        found = verify_many(drafted, p[:, :2], p, rng.random((100_000, 2)), rng.random(100_000))
        assert (found.accepted == 2).all()
        assert (found.tokens >= 0).all()
        last += np.bincount(found.tokens[:, 2], minlength=4)
    share = p[:, 2].mean(0)
    assert (np.abs(last / 1e6 - share) < 5 * np.sqrt(share / 1e6)).all()


def test_the_share_kept_at_each_position_is_the_acceptance_there() -> None:
    pair = random_pair(6, 0.75, np.random.default_rng(0))
    np.testing.assert_allclose(pair.acceptance, 0.75)
    found = play_rounds(pair, np.arange(60_000) % 6, 4, np.random.default_rng(1))
    reached = 60_000
    for position in range(1, 5):
        kept = int((found.accepted >= position).sum())
        assert abs(kept / reached - 0.75) < 4 * np.sqrt(0.75 * 0.25 / reached)
        reached = kept


def test_a_pair_has_the_acceptance_asked_for_and_laws() -> None:
    for wanted in (0.3, 0.9, 1.0):
        pair = random_pair(16, wanted, np.random.default_rng(0))
        np.testing.assert_allclose(acceptance(pair.target, pair.draft), wanted)
        assert pair.vocabulary == 16
    for wrong in (0.0, 1.01, np.nan):
        with pytest.raises(ValueError, match=f"acceptance = {wrong}"):
            random_pair(4, wrong, np.random.default_rng(0))
    with pytest.raises(ValueError, match="too low for random laws"):
        random_pair(4, 0.001, np.random.default_rng(0), concentration=1000.0)


def test_texts_are_continued_where_the_last_round_ended() -> None:
    """A target that counts upwards: whatever is refused, the text goes on."""
    pair = Pair(np.roll(np.eye(5), 1, axis=1), np.full((5, 5), 0.2))
    written = write_texts(pair, [0, 3], 7, 3, np.random.default_rng(0))
    assert written.text.tolist() == [[1, 2, 3, 4, 0, 1, 2], [4, 0, 1, 2, 3, 4, 0]]
    assert (written.passes > 2).all()
    perfect = write_texts(Pair(pair.target, pair.target), [0, 3], 8, 3, np.random.default_rng(0))
    assert perfect.passes.tolist() == [2, 2]


def test_texts_that_get_nowhere_are_given_up() -> None:
    def nothing(drafted, q, p, accept, last) -> Rounds:
        return Rounds(np.full((len(drafted), drafted.shape[1] + 1), -1), np.zeros(len(drafted), int))

    pair = random_pair(3, 0.5, np.random.default_rng(0))
    written = write_texts(pair, [0, 1], 2, 3, np.random.default_rng(0), nothing, most_passes=7)
    assert (written.text == -1).all() and written.passes.tolist() == [7, 7]
    with pytest.raises(ValueError, match="token -1"):
        count_texts([0, 1], written.text, 3)


def test_the_law_of_texts_is_the_product_of_their_steps() -> None:
    table = random_pair(3, 0.5, np.random.default_rng(0)).target
    law = text_law(table, 3)
    assert law.shape == (3, 27)
    assert law[2, 1 * 9 + 0 * 3 + 2] == pytest.approx(table[2, 1] * table[1, 0] * table[0, 2])
    np.testing.assert_allclose(law.sum(1), 1)
    assert count_texts([2, 2, 0], [[1, 0, 2], [1, 0, 2], [0, 0, 0]], 3)[2, 11] == 2


def test_drafts_follow_their_table() -> None:
    table = np.roll(np.eye(4), 1, axis=1)
    assert draft_texts(table, np.array([0, 2]), 3, np.random.default_rng(0)).tolist() == [[1, 2, 3], [3, 0, 1]]


P = np.full((2, 3, 4), 0.25)


@pytest.mark.parametrize(
    ("drafted", "q", "p", "says"),
    [
        ([[0, 0], [0, 0]], P[:, :2], P[:, :2], r"p of shape \(2, 2, 4\) should be \(2, 3, vocabulary\)"),
        ([[0, 0], [0, 0]], P[:, :1], P, r"q of shape \(2, 1, 4\) should be \(2, 2, 4\)"),
        ([[0, 0], [0, 0]], np.full((2, 2, 5), 0.2), P, r"q of shape \(2, 2, 5\) should be \(2, 2, 4\)"),
        ([0, 0], P[:, :2], P, r"drafted of shape \(2,\) should be \(rounds, g\)"),
        ([[0, 0], [0, 4]], P[:, :2], P, r"token 4 at \[1, 1\]"),
        ([[0, 0], [0, 0]], 2 * P[:, :2], P, r"q: a law sums to 2, at \(0, 0\)"),
        ([[0, 0], [2, 3]], one_hot([[0, 0], [2, 2]], 4), P, r"token 3 at position \[1, 1\] was drafted where q = 0"),
    ],
)
def test_what_are_no_rounds_is_refused(drafted, q, p, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        verify_many(drafted, q, p, np.zeros((2, 2)), np.zeros(2))


def test_tables_that_are_no_laws_make_no_pair() -> None:
    with pytest.raises(ValueError, match=r"draft of shape \(2, 2\) should be \(3, 3\)"):
        Pair(np.eye(3), np.eye(2))
    with pytest.raises(ValueError, match="target: a law sums to"):
        Pair(2 * np.eye(3), np.eye(3))
