"""Seeded loads: how popular experts are, and gate logits that make them so.

Chapter: moe
"""

from __future__ import annotations

import numpy as np

from costlab.arrays import ArrayLike, Floats, Ints
from costlab.checks import whole
from costlab.moe.routing import top_k


def uniform_shares(experts: int) -> Floats:
    """Return the same popularity for every expert.

    Raises:
        ValueError: fewer than one expert.
    """
    return zipf_shares(experts, 0.0)


def zipf_shares(experts: int, exponent: float, rng: np.random.Generator | None = None) -> Floats:
    """Return popularities that fall as 1 / rank^exponent and sum to 1.

    Args:
        experts: how many.
        exponent: 0 is uniform; 1 is the law of words in a text.
        rng: shuffles which expert is popular; None leaves expert 0 the most popular.

    Raises:
        ValueError: fewer than one expert, or a negative or endless exponent.
    """
    experts = whole(experts, "experts")
    if experts < 1 or not 0 <= exponent < np.inf:
        raise ValueError(f"{experts} experts, exponent {exponent}: should be at least 1 and at least 0")
    weights = np.arange(1, experts + 1, dtype=np.float64) ** -exponent
    shares: Floats = weights / weights.sum()
    return shares if rng is None else rng.permutation(shares)


def skewed_logits(tokens: int, shares: ArrayLike, rng: np.random.Generator) -> Floats:
    """Return gate logits, [tokens, experts], by which an expert comes first as often as its share says.

    Log-shares plus Gumbel noise: the k best are then a draw without replacement (Gumbel-top-k, arXiv 1903.06059).

    Args:
        tokens: how many rows.
        shares: popularity of each expert, positive.
        rng: the source of noise.

    Raises:
        ValueError: a negative count, or a share that is not positive.
    """
    popularity = np.asarray(shares, dtype=np.float64)
    tokens = whole(tokens, "tokens")
    if tokens < 0:
        raise ValueError(f"tokens = {tokens} should be at least 0")
    if popularity.ndim != 1 or not popularity.size or not ((popularity > 0) & (popularity < np.inf)).all():
        raise ValueError("shares should be one positive number per expert")
    return np.log(popularity) + rng.gumbel(size=(tokens, popularity.size))


def sample_routes(tokens: int, k: int, shares: ArrayLike, rng: np.random.Generator) -> Ints:
    """Return k distinct experts per token, [tokens, k], drawn by popularity.

    Args:
        tokens: how many tokens.
        k: experts per token.
        shares: popularity of each expert.
        rng: the source of noise.

    Raises:
        ValueError: k outside 1 … experts, or counts and shares out of range.
    """
    return top_k(skewed_logits(tokens, shares, rng), k)
