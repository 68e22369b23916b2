"""Drafts of no fixed length: the law by enumeration, the published counter-example, rules that look ahead refused."""

import numpy as np
import pytest
from speculative.measure import Dial, completed, exactly

from costlab.speculative import (
    Streams,
    check_non_anticipating,
    distance,
    draft,
    random_pair,
    until_doubt,
    verify,
    while_likely,
    while_sure,
)
from costlab.speculative.faulty import MISTAKES, anticipating

PAIR = random_pair(3, 0.6, np.random.default_rng(4), concentration=1.0)
RULES = {
    "until doubt": until_doubt(0.4),
    "while sure": while_sure(0.5),
    "while likely": while_likely(0.3),
    "never": lambda chances, law: False,
    "always": lambda chances, law: True,
}


class Loose(Dial):
    """One that need not be used up."""

    def random(self, size=None):
        count = 1 if size is None else size
        given, self.left = np.array(self.left[:count]), self.left[count:]
        return given[0] if size is None else given


@pytest.mark.parametrize("name", RULES)
def test_the_law_is_the_targets_whatever_the_rule(name: str) -> None:
    """Of drafting and verifying together, at most two drafted tokens, after token 0."""

    def outcome(u):
        found = draft(lambda t: PAIR.draft[t[-1] if len(t) else 0], RULES[name], 2, Loose(*u[:2]))
        p = PAIR.target[[0, *found.tokens]]
        return tuple(verify(*found, p, Streams(Loose(*u[2:4]), Loose(u[4]))).tokens.tolist())

    found = completed(exactly(outcome, 5), PAIR.target, 0, 3)
    np.testing.assert_allclose(found, completed({(): 1.0}, PAIR.target, 0, 3), atol=1e-12)


def test_the_published_counter_example() -> None:
    """DSpark, arXiv 2607.05147 appendix A: p = (.7, .3), q = (.5, .5), checked only where token 0 was drawn."""
    wrong = anticipating(lambda q: np.broadcast_to(np.arange(2) == 0, q.shape))
    np.testing.assert_allclose(wrong.law([0.7, 0.3], [0.5, 0.5]), [0.85, 0.15], atol=1e-15)


@pytest.mark.parametrize(("accepted", "published"), [(0.5, 0.11), (0.7, 0.15), (0.8, 0.17), (0.9, 0.18)])
def test_dropping_doubtful_tokens_costs_what_a_trial_found(accepted: float, published: float) -> None:
    """16 tokens, 200 random pairs, those with q below .1 dropped: mean total variation, within the trial's error."""
    rng = np.random.default_rng(0)
    off = []
    for _ in range(200):
        pair = random_pair(16, accepted, rng)
        p, q = pair.target[0], pair.draft[0]
        off.append(distance(MISTAKES["drops doubtful"].law(p, q), p))
    assert np.mean(off) == pytest.approx(published, abs=0.005 + 3.5 * np.std(off) * np.sqrt(2 / 200))


def test_the_doubtful_token_stays_and_the_draft_ends() -> None:
    laws = [np.array([0.9, 0.1]), np.array([0.2, 0.8]), np.array([0.5, 0.5])]
    found = draft(lambda tokens: laws[len(tokens)], until_doubt(0.5), 3, Loose(0.5, 0.1))
    assert found.tokens.tolist() == [0, 0]  # the second had a chance of .2
    np.testing.assert_array_equal(found.q, laws[:2])


def test_a_rule_sees_only_what_is_drawn_and_the_next_law() -> None:
    seen = []

    def more(chances, law):
        seen.append((chances.tolist(), law.tolist()))
        return len(seen) < 3

    found = draft(lambda tokens: np.array([0.75, 0.25]), more, 5, Loose(0.1, 0.9))
    assert found.tokens.tolist() == [0, 1]
    assert seen == [([], [0.75, 0.25]), ([0.75], [0.75, 0.25]), ([0.75, 0.25], [0.75, 0.25])]


def test_no_token_is_drafted_beyond_the_longest_and_the_draft_model_is_asked_no_more() -> None:
    asked = []
    found = draft(lambda tokens: asked.append(len(tokens)) or np.array([1.0]), RULES["always"], 3, Loose(0, 0, 0))
    assert (found.tokens.tolist(), asked) == ([0, 0, 0], [0, 1, 2])
    none = draft(lambda tokens: np.array([1.0, 0.0]), RULES["never"], 3, Loose())
    assert none.tokens.shape == (0,) and none.q.shape == (0, 2)


def test_a_rule_that_looks_ahead_is_refused_and_says_where() -> None:
    check_non_anticipating(lambda drafted: len(drafted) <= 2, 3, 3)
    check_non_anticipating(lambda drafted: 1 not in drafted[:-1], 3, 3)  # stop after token 1: it stays
    with pytest.raises(
        ValueError, match=r"after the drafted tokens \(\), token 0 would be checked and token 1 would not"
    ):
        check_non_anticipating(lambda drafted: drafted[-1] != 1, 3, 2)
    with pytest.raises(
        ValueError, match=r"tokens \(2,\), token 1 would be checked and token 0 would not: decide before"
    ):
        check_non_anticipating(lambda drafted: len(drafted) == 1 or drafted != (2, 0), 3, 2)


def test_a_law_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match=r"the draft's law: a law sums to 1\.2"):
        draft(lambda tokens: np.array([0.6, 0.6]), RULES["always"], 1, Loose(0))
    with pytest.raises(ValueError, match="longest should be a whole number from 1"):
        draft(lambda tokens: np.array([1.0]), RULES["always"], 0, Loose(0))
