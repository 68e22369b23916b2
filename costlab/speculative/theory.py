"""How many tokens a round of speculative decoding yields, what it costs, and how many to draft.

A round drafts g tokens, checks them in one pass of the target, and emits those accepted and one more: 1 to g + 1.
Costs are in plain steps: one pass of the target over one row of each sequence is 1.

Each acceptance is conditional: the probability that a drafted token is accepted, given that those before it were. It is
one number for all positions, or a sequence with one number for each; a sequence's first `length` numbers are used.

>>> from costlab.speculative import theory
>>> round(theory.expected_tokens(0.8, 3), 3), round(theory.expected_tokens([0.8, 0.6, 0.4]), 3)
(2.952, 2.472)
>>> theory.best_length(0.8, draft_cost=0.05)
8

Chapter: speculative
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from costlab.arrays import ArrayLike, Floats
from costlab.checks import whole

#: What a pass of the target costs: a number whatever its rows, numbers for 1, 2, 3 … rows, or a function of the rows.
Cost = float | Sequence[float] | Floats | Callable[[int], float]

#: Longest draft that `best_length` looks at where nothing else bounds it, in tokens.
LONGEST_DRAFT = 64

#: Halvings of 0 to 1 that leave nothing between two float64.
_HALVINGS = 60


# --- tokens of a round -----------------------------------------------------------------------------------------


def by_position(acceptance: ArrayLike, length: int | None = None) -> Floats:
    """Return the conditional acceptance of each drafted position.

    Args:
        acceptance: one number for all positions, or one for each.
        length: drafted tokens; None takes every position of a sequence.

    Returns:
        [length].

    Raises:
        ValueError: an acceptance outside 0 to 1; a number without a length; a length that is negative, no whole number
            or beyond the sequence.
    """
    found = np.asarray(acceptance, dtype=np.float64)
    if found.ndim > 1:
        raise ValueError(f"acceptance of shape {found.shape} should be a number, or one number for each position")
    if not ((found >= 0) & (found <= 1)).all():
        raise ValueError(f"acceptance = {acceptance!r} should be between 0 and 1")
    if length is None:
        if not found.ndim:
            raise ValueError(f"acceptance = {acceptance!r} for all positions needs a length")
        return found
    drafted = _length(length)
    if found.ndim and drafted > found.size:
        raise ValueError(f"length = {drafted} is more than the {found.size} positions of acceptance")
    return found[:drafted] if found.ndim else np.full(drafted, float(found))


def survival(acceptance: ArrayLike, length: int | None = None) -> Floats:
    """Return for each position the probability that the drafted token is emitted: it and all before it accepted.

    Args:
        acceptance: conditional, one number or one for each position.
        length: drafted tokens; None takes every position of a sequence.

    Returns:
        [length].

    Raises:
        ValueError: as `by_position`.
    """
    return np.cumprod(by_position(acceptance, length), dtype=np.float64)


def expected_tokens(acceptance: ArrayLike, length: int | None = None) -> float:
    """Return the mean number of tokens that a round emits, the target's own among them: the accepted length.

    For one number a it is (1 - a^(g+1)) / (1 - a); for numbers by position 1 plus the sum of `survival`.

    Raises:
        ValueError: as `by_position`.

    Source: Leviathan et al. 2023, arXiv 2211.17192, equation 1; by position: DSpark, arXiv 2607.05147, sec. 3.2.
    """
    return 1.0 + float(survival(acceptance, length).sum())


def tokens_law(acceptance: ArrayLike, length: int | None = None) -> Floats:
    """Return the probability that a round emits 1, 2, … length + 1 tokens, [length + 1].

    Raises:
        ValueError: as `by_position`.
    """
    reached = np.concatenate([[1.0], survival(acceptance, length), [0.0]])
    return np.asarray(reached[:-1] - reached[1:])


def conditional(accepted_lengths: ArrayLike, noise: float = 0.1) -> Floats:
    """Return the conditional acceptance of each position from accepted lengths measured at each draft length.

    A step of the curve, AL(k) - AL(k-1) with AL(0) = 1, is the survival of position k, if a drafter's first tokens do
    not depend on how many follow. Survivals lie between 0 and 1 and never rise. Measured curves are rounded and noisy:
    late steps turn negative, or rise. The steps are then replaced by the nearest ones, by least squares, that can be
    survivals (neighbours that rise become their mean, a negative rest zero): a negative step would be a negative
    probability, and leaving it out alone would count the noise of one sign. A possible curve is reproduced exactly:
    `expected_tokens` of the result gives it back.

    Args:
        accepted_lengths: tokens per pass, the target's own among them, with drafts of 1, 2, 3 … tokens.
        noise: largest relative miss between the curve given and that of the result.

    Returns:
        [positions]; 0 behind a position that nothing survives.

    Raises:
        ValueError: no curve; an accepted length below 1, or above its draft's length + 1; a curve further than `noise`
            from any that a drafter can have.
    """
    curve = np.asarray(accepted_lengths, dtype=np.float64)
    if curve.ndim != 1 or not curve.size:
        raise ValueError(f"accepted lengths {accepted_lengths!r} should be one number for each draft length from 1 on")
    for length, tokens in enumerate(curve, 1):
        if not 1 <= tokens <= length + 1:
            raise ValueError(f"accepted length {tokens:g} at {length} drafted should be between 1 and {length + 1}")
    survivals = np.clip(_falling(np.diff(curve, prepend=1.0)), 0.0, 1.0)
    missed = np.abs((1 + np.cumsum(survivals)) / curve - 1)
    if (missed > noise).any():
        worst = int(missed.argmax())
        raise ValueError(
            f"accepted lengths {curve.tolist()} should rise ever more slowly; at {worst + 1} drafted the nearest curve "
            f"that does misses by {missed[worst]:.0%}"
        )
    before = np.concatenate([[1.0], survivals[:-1]])
    # Sums of survivals round: a share of the one before it may come out a last bit above 1.
    shares = np.divide(survivals, before, out=np.zeros_like(before), where=before > 0)
    return np.asarray(np.minimum(shares, 1.0))


def _falling(values: Floats) -> Floats:
    """Return the nonincreasing sequence nearest to `values` by least squares: pool what rises into its mean."""
    pools: list[tuple[float, int]] = []  # (mean, members)
    for value in values.tolist():
        mean, members = value, 1
        while pools and pools[-1][0] < mean:
            other, count = pools.pop()
            mean, members = (mean * members + other * count) / (members + count), members + count
        pools.append((mean, members))
    return np.concatenate([np.full(members, mean) for mean, members in pools])


def implied_acceptance(accepted_length: float, length: int) -> float:
    """Return the one acceptance for all positions that gives an accepted length: the inverse of `expected_tokens`.

    Args:
        accepted_length: tokens per pass, the target's own among them.
        length: drafted tokens, at least 1.

    Raises:
        ValueError: an accepted length outside 1 to length + 1, or a length below 1.
    """
    drafted = _length(length, least=1)
    if not 1 <= accepted_length <= drafted + 1:
        raise ValueError(
            f"accepted length {accepted_length} at {drafted} drafted should be between 1 and {drafted + 1}"
        )
    low, high = 0.0, 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if expected_tokens(middle, drafted) < accepted_length else (low, middle)
    return low


# --- what a round costs, and gains -----------------------------------------------------------------------------


def round_cost(length: int, draft_cost: float, verify_cost: Cost = 1.0) -> float:
    """Return what a round costs, in plain steps; a round without a draft is a plain step.

    Args:
        length: drafted tokens.
        draft_cost: one drafted token's; where one pass drafts all tokens, put that into `verify_cost`.
        verify_cost: of the target's pass over length + 1 rows: a number whatever the rows, numbers for 1, 2, 3 … rows,
            or a function of the rows.

    Raises:
        ValueError: a negative length or draft cost; a pass whose cost is not above 0, or not given for so many rows.
    """
    drafted = _length(length)
    if not 0 <= draft_cost < math.inf:
        raise ValueError(f"draft_cost = {draft_cost!r} should be at least 0 and finite")
    return drafted * draft_cost + pass_cost(verify_cost, drafted + 1) if drafted else 1.0


def pass_cost(cost: Cost, rows: int) -> float:
    """Return the cost of a pass over some rows of each sequence, in the unit of `cost`.

    Raises:
        ValueError: a cost that is not above 0, or not given for so many rows.
    """
    if callable(cost):
        return _positive(cost(rows), rows)
    table = np.asarray(cost, dtype=np.float64)
    if table.ndim and rows > table.size:
        raise ValueError(f"verify_cost ends at {table.size} rows, the pass has {rows}")
    return _positive(table[rows - 1] if table.ndim else table, rows)


def _positive(cost: ArrayLike, rows: int) -> float:
    found = float(np.asarray(cost, dtype=np.float64))
    if not 0 < found < math.inf:
        raise ValueError(f"verify_cost = {found!r} of {rows} rows should be above 0 and finite")
    return found


def speedup(acceptance: ArrayLike, length: int, draft_cost: float, verify_cost: Cost = 1.0) -> float:
    """Return how many times faster than plain decoding a round is: its tokens by its cost in plain steps.

    With a constant acceptance and `verify_cost` 1 it is Leviathan's theorem 3.8, (1 - a^(g+1)) / ((1 - a)(g c + 1)).

    Args:
        acceptance: conditional, one number or one for each position.
        length: drafted tokens.
        draft_cost: one drafted token's, in plain steps.
        verify_cost: of the target's pass over length + 1 rows, in plain steps, as in `round_cost`.

    Raises:
        ValueError: as `by_position` and `round_cost`.

    Source: Leviathan et al. 2023, arXiv 2211.17192, theorem 3.8.
    """
    return expected_tokens(acceptance, length) / round_cost(length, draft_cost, verify_cost)


def arithmetic_factor(acceptance: ArrayLike, length: int, draft_flops: float) -> float:
    """Return how many times the FLOPs of plain decoding each token takes; never below 1.

    With a constant acceptance it is (1 - a)(g c + g + 1) / (1 - a^(g+1)).

    Args:
        acceptance: conditional, one number or one for each position.
        length: drafted tokens.
        draft_flops: FLOPs of drafting a token, in units of the target's for one token.

    Raises:
        ValueError: as `by_position`; a negative `draft_flops`.

    Source: Leviathan et al. 2023, arXiv 2211.17192, theorem 3.11.
    """
    if not 0 <= draft_flops < math.inf:
        raise ValueError(f"draft_flops = {draft_flops!r} should be at least 0 and finite")
    return (length * (draft_flops + 1) + 1) / expected_tokens(acceptance, length)


def best_length(acceptance: ArrayLike, draft_cost: float, verify_cost: Cost = 1.0, longest: int | None = None) -> int:
    """Return the draft length with the largest `speedup`, the smallest of equals; 0 where no draft pays.

    Args:
        acceptance: conditional, one number or one for each position.
        draft_cost: one drafted token's, in plain steps.
        verify_cost: of the target's pass, in plain steps, as in `round_cost`.
        longest: draft length to look at most; None: as far as the sequences given reach, at most `LONGEST_DRAFT`.

    Raises:
        ValueError: as `speedup`.
    """
    reach = [LONGEST_DRAFT]
    if np.ndim(acceptance):
        reach.append(np.size(acceptance))
    if not callable(verify_cost) and np.ndim(verify_cost):
        reach.append(np.size(verify_cost) - 1)
    lengths = range((min(reach) if longest is None else _length(longest)) + 1)
    return max(lengths, key=lambda length: speedup(acceptance, length, draft_cost, verify_cost))


def _length(value: object, least: int = 0) -> int:
    drafted = whole(value, "length")
    if drafted < least:
        raise ValueError(f"length = {value!r} should be at least {least}")
    return drafted
