"""The byte model as `costlab.arch` counts it: its parameters, its FLOPs, the bytes of its cache.

>>> from costlab.nn.speculative.family import TARGET_SIZE
>>> model = counted(TARGET_SIZE)
>>> float(model.kv_bytes(100).total) / 100  # 8 layers x (key + value) x 96 channels x 4 bytes
6144.0
"""

from __future__ import annotations

import dataclasses

from costlab import arch
from costlab.nn.speculative.model import VOCABULARY, ByteSize


def counted(size: ByteSize, dtype: str = "fp32") -> arch.Model:
    """Return a byte model's dimensions as a model that can be counted.

    Args:
        size: its dimensions.
        dtype: of cached keys and values.
    """
    base = arch.load("deepseek-v3").record  # for what the counts below do not depend on
    record = dataclasses.replace(
        base, name="byte model", hidden=size.hidden, vocab=VOCABULARY, context=size.context, tied=False, mtp=None
    )
    width = size.hidden // size.heads
    attention = arch.FullAttention(
        heads=size.heads, rope_dim=width, entry=((2 * width, dtype),), kv_heads=size.heads, qk_dim=width, v_dim=width
    )
    return arch.Model("byte model", record, ((attention, arch.Dense(inner=size.inner)),) * size.layers)
