"""transformers' speculative sampling, fed with uniforms of ours in place of its own random numbers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from transformers.generation.utils import _speculative_sampling


class Uniforms:
    """What torch.rand_like and torch.multinomial take while a round is played."""

    accept: torch.Tensor  # [g]
    last: torch.Tensor  # a number

    def rand_like(self, like: torch.Tensor) -> torch.Tensor:
        """Give the accept tests' uniforms."""
        return self.accept.to(like.dtype).reshape(like.shape)

    def multinomial(self, law: torch.Tensor, num_samples: int) -> torch.Tensor:
        """Draw where the law's running sum passes the last uniform."""
        sums = law.cumsum(-1)
        return torch.searchsorted(sums, (self.last * sums[..., -1:]).to(law.dtype), right=True)


@contextmanager
def own_uniforms() -> Iterator[Uniforms]:
    """Put uniforms of ours in place of torch's random numbers."""
    uniforms = Uniforms()
    before = torch.rand_like, torch.multinomial
    torch.rand_like, torch.multinomial = uniforms.rand_like, uniforms.multinomial  # type: ignore[assignment]
    try:
        yield uniforms
    finally:
        torch.rand_like, torch.multinomial = before


def play(drafted: Any, q_logits: Any, p_logits: Any, accept: Any, last: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return tokens, -1 behind each round's end, [rounds, g + 1], and how many were kept, [rounds]; all are tensors."""
    length = drafted.shape[1]
    tokens, kept = np.full((len(drafted), length + 1), -1), np.empty(len(drafted), dtype=int)
    with own_uniforms() as uniforms:
        for row in range(len(drafted)):
            uniforms.accept, uniforms.last = accept[row], last[row]
            one = slice(row, row + 1)
            found, matches = _speculative_sampling(drafted[one], q_logits[one], length, p_logits[one])
            tokens[row, : found.shape[1]], kept[row] = found[0], matches
    return tokens, kept
