"""A sliding layer token by token, beside PyTorch's attention under a mask."""

import numpy as np
import pytest
import torch

from costlab import attention


@pytest.mark.parametrize(
    ("heads", "kv_heads", "n", "window"), [(1, 1, 9, 4), (6, 3, 20, 7), (4, 1, 5, 1), (2, 2, 6, 99)]
)
def test_a_window_is_attention_under_a_mask(heads: int, kv_heads: int, n: int, window: int) -> None:
    """torch.nn.functional.scaled_dot_product_attention; its mask hides the future and what lies too far back."""
    rng = np.random.default_rng(heads)
    q, k, v = (rng.normal(size=(count, n, width)) for count, width in ((heads, 8), (kv_heads, 8), (kv_heads, 5)))
    back = np.subtract.outer(np.arange(n), np.arange(n))
    mask = torch.from_numpy((back >= 0) & (back < window))
    tensors = [torch.from_numpy(x)[None] for x in (q, k, v)]
    theirs = torch.nn.functional.scaled_dot_product_attention(*tensors, attn_mask=mask, enable_gqa=True)[0]
    np.testing.assert_allclose(attention.attend_window(q, k, v, window), theirs.numpy(), rtol=1e-12)


def test_a_sink_is_one_more_key_whose_value_is_nothing() -> None:
    rng = np.random.default_rng(1)
    q, k, v = rng.normal(size=(3, 1, 6, 4))
    sink = np.array([0.7])
    first = attention.attend_window(q, k, v, 3, sink)[0, 0]
    weight = 1 / (1 + np.exp(0.7 - q[0, 0] @ k[0, 0] / 2))
    np.testing.assert_allclose(first, weight * v[0, 0])
