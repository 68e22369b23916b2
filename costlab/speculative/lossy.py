"""Rules that keep more drafted tokens than the exact one and change the target's law for it.

Each is a `Rule`, so `rule.law(q)` says what it emits, and `distance` how far from the target that is.

>>> import numpy as np
>>> from costlab.speculative import distance, exact, lenient
>>> p, q = np.array([0.7, 0.2, 0.1]), np.array([0.2, 0.5, 0.3])
>>> [round(float(distance(rule.law(q), p)), 3) for rule in (exact(p, q), lenient(p, q, 0.5))]
[0.0, 0.3]

Chapter: speculative
"""

from __future__ import annotations

import numpy as np

from costlab.arrays import ArrayLike, Floats
from costlab.speculative.rules import Rule, check_laws, exact


def distance(law: ArrayLike, p: ArrayLike) -> Floats:
    """Return the total variation distance of two laws: the largest error in any event's probability, [...]."""
    return np.asarray(0.5 * np.abs(np.subtract(law, p)).sum(axis=-1), dtype=np.float64)


def typical(p: ArrayLike, epsilon: float = 0.3, delta: float = 0.09) -> Rule:
    """Return typical acceptance: keep each token whose p exceeds min(epsilon, delta x exp(-entropy)), else draw from p.

    No q and no chance enters: a token is always kept or never. Defaults are Medusa's.

    Args:
        p: the target's laws, [..., vocabulary].
        epsilon: a token of at least this probability is kept whatever the entropy.
        delta: share of exp(-entropy), the probability of each token if all of that entropy were equal.

    Source: Medusa, arXiv 2401.10774 (typical acceptance).
    """
    law = check_laws(p, "p")
    logs = np.log(law, where=law > 0, out=np.zeros_like(law))
    entropy = -(law * logs).sum(axis=-1, keepdims=True)
    threshold = np.minimum(_share(epsilon, "epsilon"), _share(delta, "delta") * np.exp(-entropy))
    return Rule((law > threshold).astype(np.float64), law)


def lenient(p: ArrayLike, q: ArrayLike, lenience: float) -> Rule:
    """Return the exact rule with q scaled down: min(1, p/(lenience x q)), and norm(max(0, p - lenience x q)) instead.

    No token comes more often than p/lenience; lenience 1 is exact.

    Args:
        p: the target's laws, [..., vocabulary].
        q: the draft's, of that shape.
        lenience: above 0, at most 1.

    Source: arXiv 2211.17192 appendix A.5.
    """
    scaled = _share(lenience, "lenience") * check_laws(q, "q")
    return exact(check_laws(p, "p"), scaled)


def ensemble(p: ArrayLike, q: ArrayLike, weight: float) -> Rule:
    """Return the exact rule for the mixture weight x p + (1 - weight) x q in place of p; weight 1 is exact.

    Args:
        p: the target's laws, [..., vocabulary].
        q: the draft's, of that shape.
        weight: above 0, at most 1.

    Source: arXiv 2604.07622 (transformers' `assistant_ensemble_weight`).
    """
    target, drafted, share = check_laws(p, "p"), check_laws(q, "q"), _share(weight, "weight")
    return exact(share * target + (1 - share) * drafted, drafted)


def _share(value: float, what: str) -> float:
    if not 0 < value <= 1:
        raise ValueError(f"{what} = {value} should be above 0 and at most 1")
    return value
