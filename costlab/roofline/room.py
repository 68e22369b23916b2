"""How many tokens of KV cache fit beside the weights: what a paged allocator of a serving engine has to give.

>>> from costlab import roofline
>>> room = roofline.kv_room(roofline.deployment("llama-3.1-70b", "h100-sxm", 4, tensor_parallel=4))
>>> room.tokens(), room.blocks(16)
(448256, 28016)
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from costlab.arch import Model
from costlab.checks import count, whole
from costlab.roofline.deployments import Deployment


@dataclass(frozen=True)
class KVRoom:
    """The memory that a replica has for caches, as its fullest chip sees it.

    A sequence of c tokens keeps at most c x `token_bytes` + `sequence_bytes`: just so once its windows are full and
    its blocks are whole.
    """

    free_bytes: float  # of each chip beside the weights
    token_bytes: float  # on each chip, for each token of a sequence
    sequence_bytes: float  # on each chip, for each sequence: windows, recurrent states, those of open blocks, when full

    def kept_bytes(self, tokens: int, sequences: int = 1) -> float:
        """Return the bytes on each chip of so many sequences of so many tokens, all together."""
        return tokens * self.token_bytes + sequences * self.sequence_bytes

    def tokens(self, sequences: int = 0) -> int:
        """Return the tokens of context that fit on a replica beside the constant parts of so many sequences.

        Raises:
            ValueError: a negative number; a model of which each sequence keeps the same, however long.
        """
        if whole(sequences, "sequences") < 0:
            raise ValueError(f"sequences = {sequences} should be at least 0")
        if not self.token_bytes:
            raise ValueError("the model keeps no bytes per token: sequences are what fits, free_bytes / sequence_bytes")
        free = self.free_bytes - sequences * self.sequence_bytes
        return max(0, math.floor(free / self.token_bytes * (1 + 1e-12)))

    def blocks(self, block_tokens: int, sequences: int = 0) -> int:
        """Return the blocks of so many tokens that fit on a replica beside the constant parts of so many sequences.

        Raises:
            ValueError: a block below 1 token; as `tokens`.
        """
        return self.tokens(sequences) // count(block_tokens, "block_tokens")

    def sequences(self, context: int) -> int:
        """Return the sequences of so many tokens that fit on a replica.

        Raises:
            ValueError: a context below 1.
        """
        return max(0, math.floor(self.free_bytes / self.kept_bytes(count(context, "context")) * (1 + 1e-12)))


def kv_room(deployment: Deployment) -> KVRoom:
    """Return the memory for caches of one replica of a deployment; a drafter's caches count with the model's.

    Raises:
        ValueError: weights that do not fit; the message names the bytes.
    """
    deployment.require_fit()
    split = deployment.tensor_parallel
    parts = [(n * growing, n * full) for n, model in deployment.caching for growing, full in _kept(model, split)]
    return KVRoom(
        max(0.0, deployment.free_bytes_per_chip), sum(growing for growing, _ in parts), sum(full for _, full in parts)
    )


def _kept(model: Model, tensor_parallel: int) -> list[tuple[float, float]]:
    """(bytes per token, most bytes of a sequence) of each part of a model's cache on a chip."""
    found = []
    for attention, layers in model.attention_counts.items():
        share = layers * attention.cache_share(tensor_parallel)
        for store in attention.stores():
            each_bytes, entries = share * store.bytes_per_entry, store.entries
            grows = entries.cap is None
            found.append((each_bytes / entries.stride, 0.0) if grows else (0.0, each_bytes * (entries.cap or 0)))
    return found


__all__ = ["KVRoom", "kv_room"]
