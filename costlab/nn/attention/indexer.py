"""The lightning indexer: many small heads score every key cheaply, and the best few are read in full.

Score of a key s for a query t: sum over heads of w_th · ReLU(q_th · k_s). ReLU makes exact zeros, and with few heads
many keys tie at zero; `core.unordered_top_k` decides those by place.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from costlab.arch import Layout
from costlab.nn.attention.core import linear
from costlab.nn.attention.formats import EntryFormat


class IndexQuery(nn.Module):
    """Queries and head weights of the indexer.

    Args:
        hidden: width of the layer's input, for the head weights.
        q_rank: width of the query latent that the layer shares with it.
        heads: index heads.
        width: of an index head.
        layout: how index keys are stored; queries are rounded the same way, as the kernels do.

    Source: arXiv 2606.19348 eq. 13-17.
    """

    def __init__(self, hidden: int, q_rank: int, heads: int, width: int, layout: Layout) -> None:
        super().__init__()
        self.heads = heads
        self.format = EntryFormat(layout, width)
        self.query = linear(q_rank, heads * width)
        self.weights = linear(hidden, heads)
        if self.format.quantised and width & (width - 1):
            raise ValueError(f"index_dim = {width} should be a power of two: stored below 16 bits it is mixed first")

    def queries(self, latent: Tensor) -> Tensor:
        """Return queries before rotation, shape (batch, queries, heads, width).

        Args:
            latent: shape (batch, queries, q_rank).
        """
        return self.query(latent).unflatten(-1, (self.heads, -1))

    def scores(self, q: Tensor, hidden: Tensor, keys: Tensor) -> Tensor:
        """Return the index score of every key.

        Args:
            q: rotated queries, shape (batch, queries, heads, width).
            hidden: the layer's input, shape (batch, queries, hidden).
            keys: shape (batch, n, width), as read from the cache.

        Returns:
            shape (batch, queries, n).
        """
        if self.format.quantised:
            q = self.format.round_trip(hadamard(q))
        products = (q.flatten(1, 2) @ keys.mT).unflatten(1, q.shape[1:3]).relu_()  # (batch, queries, heads, n)
        weights = self.weights(hidden) * (self.heads * self.format.width) ** -0.5  # (batch, queries, heads)
        return (weights[:, :, None] @ products).squeeze(2)  # (batch, queries, n)

    def stored(self, keys: Tensor) -> Tensor:
        """Return index keys as they go into the cache: mixed, where they will be rounded.

        Args:
            keys: shape (batch, n, width).
        """
        return hadamard(keys) if self.format.quantised else keys


def hadamard(x: Tensor) -> Tensor:
    """Mix the channels by an orthogonal matrix of ±1/sqrt(width): dot products stay, outliers spread.

    Args:
        x: shape (…, width), width a power of two.

    Source: Sylvester's construction; used before rounding in deepseek-ai/DeepSeek-V3.2-Exp inference/model.py.

    """
    width = x.shape[-1]
    step = 1
    while step < width:
        a, b = x.unflatten(-1, (-1, 2, step)).unbind(-2)  # each (…, width / (2 step), step)
        x = torch.stack([a + b, a - b], -2).flatten(-3)  # (…, width)
        step *= 2
    return x * width**-0.5
