"""Several candidates and token trees: the law by enumeration, acceptances of a trial, wrong laws of bug reports."""

from itertools import permutations, product

import numpy as np
import pytest
from effort import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from speculative.measure import Dial, completed, exactly, streams

from costlab.speculative import (
    Candidates,
    acceptance,
    best_candidates,
    choose,
    distance,
    distinct_candidates,
    distinct_laws,
    draw,
    independent_candidates,
    one_hot,
    random_pair,
    residual,
    verify,
    walk,
)
from costlab.speculative.candidates import try_in_turn
from costlab.speculative.faulty import choose_unchecked, ranked_candidates, unscaled_candidates

# --- proposals with their chances ------------------------------------------------------------------------------


def independent(q, k):
    """All ways to draw k candidates, each with its chance."""
    for tokens in product(range(len(q)), repeat=k):
        if chance := np.prod(q[list(tokens)]):
            yield chance, Candidates(np.array(tokens), np.tile(q, (k, 1)))


def distinct(q, k):
    for tokens in permutations(range(len(q)), k):
        laws = distinct_laws(q, tokens)
        yield np.prod(laws[np.arange(k), tokens]), Candidates(np.array(tokens), laws)


def unscaled(q, k):
    """As drawn, but with q's own entries for the ones left."""
    for chance, (tokens, laws) in distinct(q, k):
        yield chance, Candidates(tokens, np.where(laws > 0, q, 0.0))


def best(q, k):
    yield 1.0, best_candidates(q, k)


def ranked(q, k):
    yield 1.0, ranked_candidates(q, k)


def law_of(proposals, q, p, k) -> tuple[np.ndarray, float]:
    """The law of what is emitted, and the chance that a candidate is kept: each test adds its exact share."""
    law, kept = np.zeros(len(p)), 0.0
    for chance, (tokens, laws) in proposals(q, k):
        left, reach = p, chance
        for token, own in zip(tokens, laws, strict=True):
            passes = min(1.0, left[token] / own[token])
            law[token] += reach * passes
            kept += reach * passes
            left, reach = residual(left, own), reach * (1 - passes)
        law += reach * left
    return law, kept


RIGHT = {"independent": independent, "distinct": distinct, "best": best}


@pytest.mark.parametrize("name", RIGHT)
@pytest.mark.parametrize("k", [1, 2])
def test_the_law_of_a_position_is_the_targets(name: str, k: int) -> None:
    """Of `choose` itself: all proposals, each with what its uniforms make of it."""
    rng = np.random.default_rng(k)
    for p, q in [rng.dirichlet([0.7] * 4, 2) for _ in range(2)] + [np.array([[0, 0.5, 0.5, 0], [0.25] * 4])]:
        law, kept = np.zeros(4), 0.0
        for chance, (tokens, laws) in RIGHT[name](q, k):

            def outcome(u, tokens=tokens, laws=laws, p=p):
                found = choose(tokens, laws, p, streams(u, k))
                return found.token, found.candidate is not None

            for (token, was_kept), share in exactly(outcome, k + 1).items():
                law[token] += chance * share
                kept += chance * share * was_kept
        np.testing.assert_allclose(law, p, atol=1e-12)
        assert kept == pytest.approx(law_of(RIGHT[name], q, p, k)[1], abs=1e-12)


def pairs(count: int, size: int = 6):
    """Random laws; the draft's is the target's mixed with two fifths of another."""
    rng = np.random.default_rng(0)
    for p, other in (rng.dirichlet([0.5] * size, 2) for _ in range(count)):
        yield p, 0.6 * p + 0.4 * other


def test_more_candidates_keep_the_law_and_raise_acceptance_in_the_known_order() -> None:
    """The trial that this repeats had 60 pairs of 6 tokens too, k = 1, 2, 3; its pairs were others."""
    found = {name: np.zeros(3) for name in RIGHT}
    for p, q in pairs(60):
        for name, proposals in RIGHT.items():
            for k in (1, 2, 3):
                law, kept = law_of(proposals, q, p, k)
                np.testing.assert_allclose(law, p, atol=1e-12)
                found[name][k - 1] += kept / 60
    np.testing.assert_allclose(found["independent"], [0.777, 0.893, 0.940], atol=0.01)
    np.testing.assert_allclose(found["distinct"], [0.777, 0.920, 0.969], atol=0.01)
    np.testing.assert_allclose(found["best"], [0.471, 0.620, 0.806], atol=0.08)  # varies most from pair to pair


def test_wrong_laws_lose_the_target() -> None:
    """Not renormalised, a total variation of about .01 in the mean; the k best taken as drawn from q, near .5."""
    off = {"unscaled": [], "ranked": []}
    for p, q in pairs(60):
        off["unscaled"].append(distance(law_of(unscaled, q, p, 3)[0], p))
        off["ranked"].append(distance(law_of(ranked, q, p, 3)[0], p))
    assert 0.006 < np.mean(off["unscaled"]) < 0.016
    assert 0.02 < max(off["unscaled"]) < 0.05
    assert 0.43 < np.mean(off["ranked"]) < 0.53


def test_a_second_candidate_is_tested_against_what_the_first_left() -> None:
    p, q = np.array([0.5, 0.3, 0.2]), np.array([0.8, 0.1, 0.1])
    assert acceptance(residual(p, q), q) == pytest.approx(0.2)
    kept, left = try_in_turn(np.array([0, 0]), np.array([q, q]), p, np.array([0.9, 0.9]))
    assert kept is None
    np.testing.assert_allclose(left, residual(residual(p, q), q))


# --- drawing them ----------------------------------------------------------------------------------------------


def test_distinct_candidates_come_with_the_chances_of_their_laws() -> None:
    q = np.array([0.5, 0.3, 0.2])

    def outcome(u):
        return tuple(distinct_candidates(q, 2, Dial2(u)).tokens.tolist())

    for tokens, share in exactly(outcome, 2).items():
        laws = distinct_laws(q, tokens)
        assert share == pytest.approx(laws[0, tokens[0]] * laws[1, tokens[1]], abs=1e-12)


class Dial2(Dial):
    """One that draws its uniforms one by one."""

    def __init__(self, uniforms) -> None:
        super().__init__(*uniforms)


@settings(max_examples=examples(60))
@given(st.lists(st.integers(0, 5), min_size=1, max_size=6).filter(any), st.integers(1, 7), st.integers(0, 2**32 - 1))
def test_proposals_are_distinct_possible_and_carry_laws(weights, k, seed) -> None:
    q = np.array(weights) / sum(weights)
    found = distinct_candidates(q, k, np.random.default_rng(seed))
    assert len(set(found.tokens.tolist())) == len(found.tokens) == min(k, np.count_nonzero(q))
    np.testing.assert_allclose(found.laws.sum(-1), 1)
    assert (found.laws[np.arange(len(found.tokens)), found.tokens] > 0).all()
    top = best_candidates(q, k)
    assert (np.diff(q[top.tokens]) <= 0).all()
    assert (top.laws == one_hot(top.tokens, len(q))).all()
    several = independent_candidates(q, k, np.random.default_rng(seed))
    assert (q[several.tokens] > 0).all() and several.laws.shape == (k, len(q))


# --- trees -----------------------------------------------------------------------------------------------------

PAIR = random_pair(3, 0.6, np.random.default_rng(5))


@given(st.integers(0, 4), st.integers(0, 2**32 - 1))
def test_a_chain_is_walked_as_verify_does_it(length: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    pair = random_pair(7, 0.7, rng)
    drafted, q, p = [], np.zeros((0, 7)), pair.target[[0]]
    for _ in range(length):
        q = np.vstack([q, pair.draft[(0, *drafted)[-1]]])
        drafted.append(int(draw(q[-1], rng.random())))
        p = np.vstack([p, pair.target[drafted[-1]]])
    one = walk(drafted, range(-1, length - 1), q, p, np.random.default_rng(seed + 1))
    other = verify(drafted, q, p, np.random.default_rng(seed + 1))
    assert one.tokens.tolist() == other.tokens.tolist()
    assert one.nodes == tuple(range(other.accepted))


def tree_law(parents, law_of_node, proposals) -> dict[tuple[int, ...], float]:
    """What `walk` emits after token 0 over all trees: `proposals` gives (chance, tokens, laws) of the whole tree."""
    law: dict[tuple[int, ...], float] = {}
    for chance, tokens, laws in proposals:
        p = PAIR.target[[0, *tokens]]

        def outcome(u, tokens=tokens, laws=laws, p=p):
            return tuple(walk(tokens, parents, laws, p, streams(u, len(tokens))).tokens.tolist())

        for emitted, share in exactly(outcome, len(tokens) + 1).items():
            law[emitted] = law.get(emitted, 0.0) + chance * share
    return law


def trees_of(proposals):
    """Two candidates after the context and one after the first of them."""
    for chance, (tokens, laws) in proposals(PAIR.draft[0], 2):
        below = PAIR.draft[tokens[0]]
        if proposals is best:
            below = one_hot(below.argmax(), 3)
        for token in np.flatnonzero(below):
            yield chance * below[token], [*tokens, token], [*laws, below]


@pytest.mark.parametrize("proposals", [independent, distinct, best])
def test_a_tree_emits_the_targets_law(proposals) -> None:
    """Enumerated: a root with two children, the first of which has a child."""
    law = tree_law([-1, -1, 0], None, trees_of(proposals))
    found = completed(law, PAIR.target, 0, 3)
    np.testing.assert_allclose(found, completed({(): 1.0}, PAIR.target, 0, 3), atol=1e-12)


def test_top_children_taken_as_drawn_lose_the_law_in_trees_too() -> None:
    """rtp-llm#1311 and others: the tree's children are the likeliest, and q is the softmax."""

    def proposals():
        tokens = ranked_candidates(PAIR.draft[0], 2).tokens
        below = PAIR.draft[tokens[0]]
        yield 1.0, [*tokens, below.argmax()], [PAIR.draft[0], PAIR.draft[0], below]

    law = tree_law([-1, -1, 0], None, proposals())
    off = completed(law, PAIR.target, 0, 1) - completed({(): 1.0}, PAIR.target, 0, 1)
    assert np.abs(off).sum() / 2 > 0.05


def test_kept_nodes_are_a_path_and_the_bonus_follows_its_leaf() -> None:
    p = one_hot([2, 0, 1, 1, 0], 3)  # behind the root, and behind nodes 0 to 3
    found = walk([1, 2, 0, 1], [-1, -1, 0, 1], one_hot([1, 2, 0, 1], 3), p, np.random.default_rng(0))
    assert found.nodes == (1, 3)
    assert found.tokens.tolist() == [2, 1, 0]


def test_no_nodes_is_one_token_of_the_target() -> None:
    assert walk([], [], [], [[0.0, 1.0]], np.random.default_rng(0)).tokens.tolist() == [1]


# --- what is refused -------------------------------------------------------------------------------------------

Q3 = np.array([0.5, 0.5, 0.0])


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda rng: choose([0, 2], [Q3, Q3], Q3, rng), "token 2 at position 1 was drafted where q = 0"),
        (lambda rng: choose([0], [[0.5, 0.2, 0.0]], Q3, rng), "q: a law sums to 0.7"),
        (lambda rng: choose([0], [Q3], [0.2, 0.2, 0.2], rng), "p: a law sums to 0.6"),
        (lambda rng: choose([0], [Q3[:2]], Q3, rng), r"q of shape \(1, 2\) should be \(1, 3\)"),
        (lambda rng: distinct_laws(Q3, [0, 0]), "should be distinct"),
        (lambda rng: distinct_laws(Q3, [2]), "q = 0"),
        (lambda rng: independent_candidates(Q3, 0, rng), "k should be a whole number from 1"),
        (
            lambda rng: walk([0, 1], [-1, 1], [Q3, Q3], [Q3] * 3, rng),
            "parent 1 of node 1 should be -1 or a node before",
        ),
        (lambda rng: walk([0], [-2], [Q3], [Q3] * 2, rng), "parent -2 of node 0"),
        (lambda rng: walk([0, 1], [-1], [Q3, Q3], [Q3] * 3, rng), "1 parents should be 2"),
        (lambda rng: walk([0], [-1], [Q3], [Q3], rng), r"p of shape \(1, 3\) should be \(2, vocabulary\)"),
    ],
)
def test_bad_candidates_are_refused(call, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        call(np.random.default_rng(0))


def test_the_wrong_choices_run_where_the_right_one_refuses() -> None:
    rng, q = np.random.default_rng(0), np.array([0.5, 0.3, 0.2])
    wrong = unscaled_candidates(q, 2, rng)
    assert wrong.laws[1].sum() < 1
    with pytest.raises(ValueError, match="sums to"):
        choose(*wrong, q, rng)
    assert choose_unchecked(wrong, q, rng).token in (0, 1, 2)
