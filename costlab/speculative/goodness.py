"""Whether counts follow a law: Pearson's chi-square test, and its power against a law that is wrong.

A test at level .001 rejects a right sampler once in a thousand runs; its power is the chance that it rejects a wrong
one. Distances between counts and law alone say little: 20,000 draws from 256 tokens lie .04 off their own law.

>>> from costlab.speculative import chi_square, power
>>> round(chi_square([520, 480], [0.5, 0.5]).p_value, 3), round(power([0.5, 0.5], [0.52, 0.48], 20_000), 3)
(0.206, 0.991)

Chapter: speculative
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from costlab.arrays import ArrayLike, Floats
from costlab.speculative.rules import check_laws

#: Cells that expect fewer draws are taken together: below this the chi-square law is no good approximation.
LEAST_EXPECTED = 5.0


@dataclass(frozen=True)
class Goodness:
    """What the test finds."""

    statistic: float  # sum of (counted - expected)^2 / expected; inf: something came that the law rules out
    freedom: int  # cells, less one for each row
    p_value: float  # chance of so large a statistic if the law is right


def chi_square(counts: ArrayLike, law: ArrayLike) -> Goodness:
    """Test counts against a law; rows are separate experiments, such as contexts of a text, each with its own law.

    Args:
        counts: draws of each outcome, [..., outcomes].
        law: probability of each, of that shape.

    Raises:
        ValueError: laws that are none, or of another shape.
    """
    found, law = np.asarray(counts, dtype=np.float64), check_laws(law, "law")
    if found.shape != law.shape:
        raise ValueError(f"counts of shape {found.shape} should have the law's, {law.shape}")
    draws = found.sum(axis=-1, keepdims=True)
    if (found[law == 0] > 0).any():
        return Goodness(math.inf, 0, 0.0)
    cells, freedom = _pooled(found, law * draws)
    statistic = float(((cells[0] - cells[1]) ** 2 / cells[1]).sum())
    return Goodness(statistic, freedom, chi_square_tail(statistic, freedom) if freedom else 1.0)


def power(law: ArrayLike, wrong: ArrayLike, draws: ArrayLike, level: float = 0.001) -> float:
    """Return the chance that `chi_square` against `law` rejects draws from another law: a noncentral chi-square's tail.

    Args:
        law: what is tested against, [..., outcomes].
        wrong: what the draws come from, of that shape.
        draws: how many each row has, [...].
        level: chance of rejecting `law` where it is right.

    Raises:
        ValueError: laws that are none.
    """
    law, wrong = check_laws(law, "law"), check_laws(wrong, "wrong")
    if (wrong[law == 0] > 0).any():
        return 1.0
    each = np.asarray(draws, dtype=np.float64)[..., None]
    cells, freedom = _pooled(wrong * each, law * each)
    shift = float(((cells[0] - cells[1]) ** 2 / cells[1]).sum())
    return chi_square_tail(critical(level, freedom), freedom, shift)


def _pooled(counted: Floats, expected: Floats) -> tuple[Floats, int]:
    """Return counted and expected of the cells that are tested, [2, cells], and their degrees of freedom."""
    cells, freedom = [], 0
    for own, theirs in zip(*(each.reshape(-1, each.shape[-1]) for each in (counted, expected)), strict=True):
        rare = theirs < LEAST_EXPECTED
        rest = [[own[rare].sum()], [theirs[rare].sum()]] if theirs[rare].sum() else [[], []]
        cells.append(np.hstack([[own[~rare], theirs[~rare]], rest]))
        freedom += max(0, cells[-1].shape[1] - 1)
    return np.hstack(cells), freedom


def critical(level: float, freedom: int) -> float:
    """Return what a chi-square variable exceeds with chance `level`."""
    low, high = 0.0, freedom + 100.0 * math.sqrt(freedom) + 100.0
    while high - low > 1e-9 * high:
        middle = (low + high) / 2
        low, high = (middle, high) if chi_square_tail(middle, freedom) > level else (low, middle)
    return high


def chi_square_tail(value: float, freedom: int, shift: float = 0.0) -> float:
    """Return the chance that a chi-square variable exceeds a value.

    Args:
        value: at least 0.
        freedom: degrees of freedom.
        shift: noncentrality: the statistic's excess under the law that the draws come from. The variable then is one
            of freedom + 2 j degrees with j from a Poisson law of mean shift / 2.
    """
    if not shift:
        return _upper_gamma(freedom / 2, value / 2)
    mean, reach = shift / 2, 12 * math.sqrt(shift / 2) + 30
    terms = range(max(0, int(mean - reach)), int(mean + reach))
    weights = (math.exp(j * math.log(mean) - mean - math.lgamma(j + 1)) for j in terms)
    return min(1.0, sum(w * _upper_gamma(freedom / 2 + j, value / 2) for w, j in zip(weights, terms, strict=True)))


def _upper_gamma(a: float, x: float) -> float:
    """Return the regularised incomplete gamma function Q(a, x): its series, or beyond a + 1 its continued fraction."""
    if x <= 0:
        return 1.0
    if math.isinf(x):
        return 0.0
    front = math.exp(a * math.log(x) - x - math.lgamma(a))
    if x < a + 1:
        term = total = 1 / a
        n = a
        while term > 1e-17 * total:
            n += 1
            term *= x / n
            total += term
        return max(0.0, 1 - front * total)
    b = x + 1 - a
    c, d = 1e300, 1 / b
    fraction, i = d, 0
    while True:  # modified Lentz
        i += 1
        b, step = b + 2, -i * (i - a)
        d = 1 / (b + step * d)
        c = b + step / c
        fraction *= c * d
        if abs(c * d - 1) < 1e-15:
            return front * fraction
