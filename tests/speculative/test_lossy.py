"""Lossy rules: how far they are from the target, what they promise, and where they are exact."""

import numpy as np
import pytest
from effort import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from costlab.speculative import acceptance, distance, ensemble, exact, lenient, one_hot, random_pair, typical

WEIGHTS = arrays(float, 5, elements=st.integers(0, 8).map(float)).filter(np.any)


@given(WEIGHTS, WEIGHTS, st.sampled_from([0.1, 0.5, 0.9, 1.0]))
def test_each_rule_emits_a_law_and_keeps_more_the_more_it_gives_up(p, q, share) -> None:
    p, q = p / p.sum(), q / q.sum()
    for rule in (lenient(p, q, share), ensemble(p, q, share), typical(p)):
        law = rule.law(q)
        assert law.sum() == pytest.approx(1) and (law >= -1e-15).all()
        assert ((rule.chance >= 0) & (rule.chance <= 1)).all()
    kept = [float((q * rule(p, q, share).chance).sum()) for rule in (lenient, ensemble)]
    assert min(kept) >= acceptance(p, q) - 1e-12


@given(WEIGHTS, WEIGHTS)
def test_at_1_lenience_and_ensemble_are_exact(p, q) -> None:
    p, q = p / p.sum(), q / q.sum()
    for rule in (lenient(p, q, 1.0), ensemble(p, q, 1.0)):
        np.testing.assert_allclose(rule.law(q), p, atol=1e-12)


@settings(max_examples=examples(100))
@given(WEIGHTS, WEIGHTS, st.floats(0.05, 1))
def test_lenience_emits_no_token_above_p_over_lenience(p, q, lenience) -> None:
    """arXiv 2211.17192 appendix A.5, and its acceptance: the sum of min(p / l, q)."""
    p, q = p / p.sum(), q / q.sum()
    rule = lenient(p, q, lenience)
    assert (rule.law(q) <= p / lenience + 1e-12).all()
    assert (q * rule.chance).sum() == pytest.approx(np.minimum(p / lenience, q).sum())


@given(WEIGHTS, WEIGHTS, st.floats(0.05, 1))
def test_the_ensemble_emits_the_mixture(p, q, weight) -> None:
    p, q = p / p.sum(), q / q.sum()
    np.testing.assert_allclose(ensemble(p, q, weight).law(q), weight * p + (1 - weight) * q, atol=1e-12)


def test_they_are_off_by_a_known_distance() -> None:
    rng = np.random.default_rng(0)
    off = {"lenient": [], "ensemble": [], "typical": [], "exact": []}
    for _ in range(100):
        pair = random_pair(16, 0.7, rng)
        p, q = pair.target[0], pair.draft[0]
        rules = {"lenient": lenient(p, q, 0.9), "ensemble": ensemble(p, q, 0.9), "typical": typical(p)}
        for name, rule in {**rules, "exact": exact(p, q)}.items():
            off[name].append(distance(rule.law(q), p))
    assert np.mean(off["exact"]) < 1e-15
    assert 0.01 < np.mean(off["lenient"]) < 0.025  # a trial with other pairs found .015
    assert np.mean(off["ensemble"]) == pytest.approx(0.1 * 0.3)
    assert np.mean(off["typical"]) > 0.05


def test_typical_acceptance_by_hand() -> None:
    """Half on one token, the rest on 8: the entropy is 1.73 nats, and .09 e^-1.73 = .016 is below each."""
    p = np.array([0.5, *[0.0625] * 8])
    assert typical(p).chance.tolist() == [1.0] * 9
    assert typical(p, epsilon=0.3, delta=1.0).chance.tolist() == [1.0] + [0.0] * 8
    assert typical(one_hot(1, 3)).chance.tolist() == [0, 1, 0]
    np.testing.assert_allclose(typical(p, delta=1.0).law(one_hot(0, 9)), one_hot(0, 9))  # whatever p says of it


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda p: lenient(p, p, 0.0), "lenience = 0.0 should be above 0"),
        (lambda p: lenient(p, p, 1.5), "lenience = 1.5"),
        (lambda p: ensemble(p, p, np.nan), "weight = nan"),
        (lambda p: typical(p, epsilon=0), "epsilon = 0"),
        (lambda p: typical(p, delta=2.0), "delta = 2.0"),
        (lambda p: typical(2 * p), "p: a law sums to 2"),
        (lambda p: lenient(p, 2 * p, 0.5), "q: a law sums to 2"),
    ],
)
def test_what_makes_no_rule_is_refused(call, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        call(np.array([0.5, 0.5]))
