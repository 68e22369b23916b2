"""How many drafted tokens of each request to check in one pass of a batch: the most tokens per second.

Each row of the pass takes time from all requests. A pass over B rows is done `steps_per_s(B)` times a second, which is
measured once, or computed by `costlab.roofline`. So a drafted token is worth its row only if it is likely enough to be
emitted, and how likely depends on the load.

The acceptances must be known before the tokens are drawn, from earlier rounds or a published curve. A choice that looks
at a drafted token and then leaves it out changes the law of the output.

>>> from costlab.speculative import goodput
>>> goodput.admit([(0.9, 0.9, 0.9), (0.3, 0.3, 0.3)], lambda rows: 100 / max(rows, 4)).lengths.tolist()
[2, 0]
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from costlab.arrays import ArrayLike, Floats, Ints
from costlab.checks import indices
from costlab.speculative.theory import Cost, expected_tokens, pass_cost, survival


def latency_per_token(acceptance: ArrayLike, length: int, draft_s: float, verify_s: Cost) -> float:
    """Return the mean seconds between two tokens of a request: a round's time by its tokens.

    Args:
        acceptance: conditional, one number or one for each position.
        length: drafted tokens.
        draft_s: seconds of the whole draft.
        verify_s: seconds of the target's pass over length + 1 rows, as `theory.round_cost` takes costs.

    Raises:
        ValueError: as `theory.by_position` and `theory.pass_cost`; a negative `draft_s`.

    Source: DSpark, arXiv 2607.05147, sec. 3.2.
    """
    if not 0 <= draft_s < math.inf:
        raise ValueError(f"draft_s = {draft_s!r} should be at least 0 and finite")
    tokens = expected_tokens(acceptance, length)
    return (draft_s + pass_cost(verify_s, length + 1)) / tokens


@dataclass(frozen=True, eq=False)
class Admission:
    """Which drafted tokens of a batch are checked."""

    lengths: Ints  # drafted tokens to check, of each request
    rows: int  # of the pass: those tokens, and one of each request
    tokens: float  # expected tokens of the pass, all requests
    tokens_per_s: float  # expected tokens per second, all requests


def batch_goodput(
    acceptances: Sequence[ArrayLike], lengths: ArrayLike, steps_per_s: Callable[[int], float]
) -> Admission:
    """Return what a pass over given draft lengths yields: the batch objective Theta is its `tokens_per_s`.

    Args:
        acceptances: conditional, by position, of each request.
        lengths: drafted tokens to check, of each request.
        steps_per_s: passes per second over so many rows.

    Raises:
        ValueError: no requests; other lengths than requests; as `theory.by_position`; a rate that is not above 0.

    Source: DSpark, arXiv 2607.05147, sec. 3.2.
    """
    drafted = indices(lengths, "lengths")
    if not len(acceptances) or drafted.shape != (len(acceptances),):
        raise ValueError(f"{drafted.size} lengths for {len(acceptances)} requests: should be one each, of at least one")
    tokens = sum(expected_tokens(np.atleast_1d(a), int(n)) for a, n in zip(acceptances, drafted, strict=True))
    rows = int(drafted.sum()) + drafted.size
    return Admission(drafted, rows, tokens, tokens * _rate(steps_per_s, rows))


def admit(acceptances: Sequence[ArrayLike], steps_per_s: Callable[[int], float], stop_early: bool = False) -> Admission:
    """Return the draft lengths with the most tokens per second.

    Rows are admitted in the order of their survival, the likeliest first; of each number of rows these are the best, so
    the best of all these batches is the best of all. In a tie the fewer rows win.

    Args:
        acceptances: conditional, by position, of each request; as many positions as it has drafted tokens.
        steps_per_s: passes per second over so many rows.
        stop_early: whether to admit no more once a row brings no gain. That may miss the best where the rate falls in
            steps, but it decides on a token before it looks at the acceptance of those behind it, as an acceptance
            that depends on the tokens drafted requires.

    Raises:
        ValueError: as `batch_goodput`.

    Source: DSpark, arXiv 2607.05147, algorithm 1, which stops early, and appendix A, on what happens if it does not.
    """
    survivals = [survival(np.atleast_1d(acceptance)) for acceptance in acceptances]
    if not survivals:
        raise ValueError("no requests: should be at least one")
    owner = np.repeat(np.arange(len(survivals)), [each.size for each in survivals])
    flat: Floats = np.concatenate(survivals)
    order = np.argsort(-flat, kind="stable")  # stable: equals of one request keep their order
    tokens = len(survivals) + np.concatenate([[0.0], np.cumsum(flat[order])])
    rates = [_rate(steps_per_s, len(survivals) + admitted) for admitted in range(tokens.size)]
    goodputs = tokens * rates
    if stop_early:
        goodputs = goodputs[: 1 + _rising(goodputs)]
    admitted = int(np.argmax(goodputs))
    lengths = np.bincount(owner[order[:admitted]], minlength=len(survivals))
    return batch_goodput(acceptances, lengths, steps_per_s)


def _rising(values: Floats) -> int:
    """Return how many steps of a row rise before the first that does not."""
    stops = np.flatnonzero(np.diff(values) <= 0)
    return int(stops[0]) if stops.size else values.size - 1


def _rate(steps_per_s: Callable[[int], float], rows: int) -> float:
    rate = steps_per_s(rows)
    if not 0 < rate < math.inf:
        raise ValueError(f"steps_per_s({rows}) = {rate!r} should be above 0 and finite")
    return rate
