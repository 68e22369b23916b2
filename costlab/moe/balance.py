"""Balance: how even a load is, and the losses and the bias that make it so.

Auxiliary losses are differentiable through the gate's scores; counts alone are not (a count does not change when a
weight changes a little), so a loss of counts only measures. The auxiliary-loss-free method moves a bias instead.
Both losses here come without their coefficient and equal 1 at perfect balance.
"""

from __future__ import annotations

import numpy as np

from costlab.arch.experts import BIAS_SPEED
from costlab.arrays import ArrayLike, Floats
from costlab.checks import indices, whole
from costlab.moe.routing import count_loads


def load_entropy(loads: ArrayLike) -> float:
    """Return the entropy of the load shares over its maximum: 1 is even, 0 is one expert doing everything.

    Args:
        loads: assignments per expert, not all 0.

    Raises:
        ValueError: no load, a negative one, or fewer than two experts.
    """
    shares = load_shares(loads)
    if shares.size < 2:
        raise ValueError("load entropy needs at least 2 experts")
    busy = shares[shares > 0]
    return float(-(busy * np.log(busy)).sum() / np.log(shares.size))


def load_shares(loads: ArrayLike) -> Floats:
    """Return each expert's share of all assignments.

    Raises:
        ValueError: no load, or a negative one.
    """
    counts = np.asarray(loads, dtype=np.float64)
    if counts.ndim != 1 or (counts < 0).any() or not 0 < counts.sum() < np.inf:
        raise ValueError("loads should be one number of at least 0 per expert, not all 0")
    return np.asarray(counts / counts.sum(), dtype=np.float64)


def switch_loss(scores: ArrayLike, experts: ArrayLike) -> float:
    """Return the Switch auxiliary loss: E x sum over experts of (share of assignments x mean score share).

    Args:
        scores: softmax scores or others, [tokens, E]; each row is normalised to 1.
        experts: chosen experts, [tokens, top_k].

    Raises:
        ValueError: no tokens, or shapes that don't fit.

    Source: arXiv 2101.03961 eqs. 4-6, with assignments in the place of tokens.
    """
    return sequence_loss(scores, experts, sequences=1)


def sequence_loss(scores: ArrayLike, experts: ArrayLike, sequences: int) -> float:
    """Return DeepSeek's sequence-wise balance loss: the same product within each sequence, then the mean.

    Args:
        scores: unbiased scores, [tokens, E], sequences of equal length one after the other.
        experts: chosen experts, [tokens, top_k].
        sequences: how many.

    Raises:
        ValueError: no tokens, tokens that don't divide into sequences, or shapes that don't fit.

    Source: arXiv 2412.19437 eqs. 17-20.
    """
    s, chosen = np.asarray(scores, dtype=np.float64), indices(experts, "experts")
    if s.ndim != 2 or chosen.ndim != 2 or len(s) != len(chosen) or not len(s):
        raise ValueError(f"scores {s.shape}, experts {chosen.shape}: should be (tokens, E), (tokens, top_k)")
    sequences = whole(sequences, "sequences")
    if sequences < 1 or len(s) % sequences:
        raise ValueError(f"{len(s)} tokens don't divide into {sequences} sequences")
    if not ((s >= 0) & (s < np.inf)).all() or not s.any(axis=-1).all():
        raise ValueError("scores should be finite, at least 0, and not all 0 in a row")
    probability = s / s.sum(axis=-1, keepdims=True)
    pairs = zip(np.split(probability, sequences), np.split(chosen, sequences), strict=True)
    return float(np.mean([_product(p, c) for p, c in pairs]))


def _product(probability: Floats, chosen: ArrayLike) -> float:
    shares = load_shares(count_loads(chosen, probability.shape[-1]))
    return float(probability.shape[-1] * (shares * probability.mean(axis=0)).sum())


def update_bias(bias: ArrayLike, loads: ArrayLike, speed: float = BIAS_SPEED) -> Floats:
    """Return the selection bias after one step: down by `speed` where overloaded, up where underloaded.

    Args:
        bias: one number per expert.
        loads: assignments per expert in the step.
        speed: change per step.

    Raises:
        ValueError: shapes that differ, or a negative speed.

    Source: arXiv 2412.19437 sec. 2.1.2, arXiv 2408.15664 algorithm 1.
    """
    b, counts = np.asarray(bias, dtype=np.float64), np.asarray(loads, dtype=np.float64)
    if b.shape != counts.shape or not b.size or not 0 <= speed < np.inf:
        raise ValueError(f"bias {b.shape}, loads {counts.shape}, speed {speed}: same shape, speed >= 0")
    if not (np.isfinite(b).all() and np.isfinite(counts).all()):
        raise ValueError("bias and loads should be finite numbers")
    return np.asarray(b + speed * np.sign(counts.mean() - counts), dtype=np.float64)
