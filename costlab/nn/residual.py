"""A residual of several streams: what a layer reads of them, how they take its output up, how they mix meanwhile.

Manifold-constrained hyper-connections: mixing weights are made doubly stochastic, so that no stream grows on its way.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

#: Added where weights are divided, and to what a layer reads (deepseek-ai/DeepSeek-V4-Flash config.json, hc_eps).
_EPS = 1e-6


class _Weights(nn.Module):
    """Logits that depend on all streams of a token, in groups that share a factor."""

    def __init__(self, hidden: int, streams: int, groups: tuple[int, ...], eps: float) -> None:
        super().__init__()
        self.groups, self.eps = groups, eps
        self.project = nn.Parameter(torch.randn(sum(groups), streams * hidden) / (streams * hidden) ** 0.5)
        self.bias = nn.Parameter(torch.zeros(sum(groups)))
        self.scale = nn.Parameter(torch.ones(len(groups)))

    def logits(self, x: Tensor) -> list[Tensor]:
        """Return a tensor (…, group) per group, of x, shape (…, streams, hidden), in at least float32."""
        flat = x.flatten(-2).to(torch.promote_types(x.dtype, torch.float32))
        raw = F.linear(F.rms_norm(flat, flat.shape[-1:], eps=self.eps), self.project.to(flat.dtype)).split(
            self.groups, -1
        )
        return [r * scale + b for r, scale, b in zip(raw, self.scale, self.bias.split(self.groups), strict=True)]


class HyperConnection(_Weights):
    """The streams around one layer: X' = mixᵀ X + write ⊗ layer(read · X).

    Args:
        hidden: width of a stream.
        streams: how many.
        steps: of the Sinkhorn iteration that makes the mixing weights doubly stochastic.
        eps: of the norm before the projection.

    Source: arXiv 2606.19348 sec. 2.2; the iteration's order as in DeepSeek-V4-Flash inference/model.py.
    """

    def __init__(self, hidden: int, streams: int, steps: int = 20, eps: float = 1e-6) -> None:
        super().__init__(hidden, streams, (streams, streams, streams * streams), eps)
        self.steps = steps

    def forward(self, x: Tensor, layer: Callable[[Tensor], Tensor]) -> Tensor:
        """Return the streams after a layer, shape (batch, tokens, streams, hidden).

        Args:
            x: the streams before it, of the same shape.
            layer: takes and returns (batch, tokens, hidden).
        """
        read, write, mix = (weights.to(x.dtype) for weights in self.weights(x))
        output = layer((read[..., None] * x).sum(-2))
        return write[..., None] * output[..., None, :] + mix.mT @ x

    def weights(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return what is read of each stream and written to it, (…, streams), and mixing weights (…, from, to).

        Args:
            x: shape (…, streams, hidden).
        """
        read, write, mix = self.logits(x)
        square = mix.unflatten(-1, (x.shape[-2], -1))
        return read.sigmoid() + _EPS, 2 * write.sigmoid(), doubly_stochastic(square, self.steps)


def doubly_stochastic(logits: Tensor, steps: int) -> Tensor:
    """Return positive matrices whose columns sum to 1, and whose rows do the closer the more steps are made.

    Args:
        logits: square matrices, shape (…, n, n).
        steps: Sinkhorn steps: divide by the rows' sums, then by the columns'.

    Source: arXiv 2606.19348 eq. 8.
    """
    mix = logits.softmax(-1) + _EPS  # the first division by the rows' sums, safe from overflow
    mix = mix / (mix.sum(-2, keepdim=True) + _EPS)
    for _ in range(steps - 1):
        mix = mix / (mix.sum(-1, keepdim=True) + _EPS)
        mix = mix / (mix.sum(-2, keepdim=True) + _EPS)
    return mix


class Collapse(_Weights):
    """One stream again, read of all as a layer reads them.

    Args:
        hidden: width of a stream.
        streams: how many.
        eps: of the norm before the projection.

    Source: DeepSeek-V4-Flash inference/model.py.
    """

    def __init__(self, hidden: int, streams: int, eps: float = 1e-6) -> None:
        super().__init__(hidden, streams, (streams,), eps)

    def forward(self, x: Tensor) -> Tensor:
        """Return shape (batch, tokens, hidden) of streams (batch, tokens, streams, hidden)."""
        (read,) = self.logits(x)
        return ((read.sigmoid() + _EPS).to(x.dtype)[..., None] * x).sum(-2)


class Plain(nn.Module):
    """The residual of one stream: x + layer(x)."""

    def forward(self, x: Tensor, layer: Callable[[Tensor], Tensor]) -> Tensor:
        """Return x and what the layer adds to it, shape (batch, tokens, hidden)."""
        return x + layer(x)
