"""The gated delta rule: a state of fixed size per head that forgets, corrects and answers, token by token or by chunks.

Each value head keeps a matrix S, (key width, value width). A token fades it by a factor a, looks up what it answers to
the token's key, and writes a share b of what is missing:

    S <- a S,  S <- S + k (b (v - S^T k))^T,  o = S^T q

`recurrent` does that one token after another, as decoding must. `chunked` finds all that a chunk's tokens write at
once, by one triangular system, and touches the state once a chunk: a prompt becomes products of matrices.

Source: arXiv 2412.06464 eq. 10 (the rule) and sec. 3.3 (chunks).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

_EPS = 1e-6


@dataclass(frozen=True)
class Steps:
    """What some consecutive tokens ask of the state and do to it; several value heads share a key head."""

    q: Tensor  # queries, shape (batch, key_heads, n, key width)
    k: Tensor  # keys of unit length, the same shape
    v: Tensor  # values, shape (batch, key_heads, group, n, value width)
    log_decay: Tensor  # ln of the factor that fades the state, at most 0; shape (batch, key_heads, group, n)
    beta: Tensor  # share of the correction that is written, 0 to 1; the same shape

    @property
    def count(self) -> int:
        """How many tokens."""
        return self.q.shape[2]

    def cut(self, start: int, stop: int) -> Steps:
        """Return tokens start … stop-1."""
        rows, numbers = (..., slice(start, stop), slice(None)), (..., slice(start, stop))
        return Steps(self.q[rows], self.k[rows], self.v[rows], self.log_decay[numbers], self.beta[numbers])

    def chunks(self, size: int) -> Iterator[Steps]:
        """Yield the tokens in chunks of a size, the last one shorter where they don't divide."""
        return (self.cut(start, min(start + size, self.count)) for start in range(0, self.count, size))


def unit(x: Tensor) -> Tensor:
    """Return vectors, shape (…, width), of length 1: a longer key would make the rule overshoot what it corrects."""
    return x * (x.square().sum(-1, keepdim=True) + _EPS).rsqrt()


def recurrent(state: Tensor, steps: Steps) -> tuple[Tensor, Tensor]:
    """Return outputs and the state after them, one token after another.

    Args:
        state: shape (batch, key_heads, group, key width, value width).
        steps: of n tokens.

    Returns:
        outputs, shape (batch, key_heads, group, n, value width), and a new state.
    """
    outputs = []
    for token in steps.chunks(1):
        output, state = _step(state, token)
        outputs.append(output)
    return (torch.cat(outputs, -2) if len(outputs) > 1 else outputs[0]), state


def _step(state: Tensor, token: Steps) -> tuple[Tensor, Tensor]:
    """Return one token's output and the state after it.

    Query and key read the state as it was, in one pass; fading and the token's own writing are added to the answers.
    """
    fade, beta = token.log_decay.exp()[..., None], token.beta[..., None]  # (batch, key_heads, group, 1, 1)
    both = torch.cat([token.q, token.k], -2)[:, :, None] @ state  # (batch, key_heads, group, 2, value width)
    asked, recalled = both.split(1, -2)
    written = beta * (token.v - fade * recalled)  # (batch, key_heads, group, 1, value width)
    itself = (token.q * token.k).sum(-1, keepdim=True)[:, :, None]  # (batch, key_heads, 1, 1, 1)
    return fade * asked + itself * written, torch.addcmul(state * fade, token.k.mT[:, :, None], written)


def chunked(state: Tensor, steps: Steps, size: int = 64) -> tuple[Tensor, Tensor]:
    """Return what `recurrent` returns, a chunk of tokens at a time.

    Args:
        state: shape (batch, key_heads, group, key width, value width).
        steps: of n tokens.
        size: tokens of a chunk; within one, work and memory grow with its square.
    """
    outputs = []
    for chunk in steps.chunks(size):
        output, state = _chunk(state, chunk)
        outputs.append(output)
    return torch.cat(outputs, -2), state


def _chunk(state: Tensor, chunk: Steps) -> tuple[Tensor, Tensor]:
    """Return a chunk's outputs and the state after it.

    Token i writes w_i = b_i (v_i - A_i S^T k_i - sum_{j<i} (A_i / A_j) (k_i k_j) w_j), with A_i the product of the
    factors up to i: a triangular system for all w, and everything else follows from them.
    """
    n, log_fade, k = chunk.count, chunk.log_decay.cumsum(-1), chunk.k[:, :, None]
    fade = log_fade.exp()[..., None]  # from the chunk's start to each token, (batch, key_heads, group, n, 1)
    later = torch.ones(n, n, dtype=torch.bool, device=k.device).triu(1)
    between = (log_fade[..., :, None] - log_fade[..., None, :]).masked_fill(later, float("-inf")).exp()
    both = torch.cat([chunk.q, chunk.k], -2)  # (batch, key_heads, 2n, key width)
    asked, recalled = (both[:, :, None] @ state).split(n, -2)  # (batch, key_heads, group, n, value width)
    to_keys, own_keys = (both @ chunk.k.mT)[:, :, None].split(n, -2)  # (batch, key_heads, 1, n, n)
    beta = chunk.beta[..., None]
    missing = beta * (chunk.v - fade * recalled)
    # the solver takes ones for the diagonal and reads nothing above it
    written = torch.linalg.solve_triangular(beta * own_keys * between, missing, upper=False, unitriangular=True)
    output = fade * asked + (to_keys * between) @ written
    rest = (log_fade[..., -1:] - log_fade).exp()[..., None]  # from each token to the chunk's end
    return output, state * fade[..., -1:, :] + k.mT @ (rest * written)
