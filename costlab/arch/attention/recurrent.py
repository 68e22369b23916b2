"""Attention without keys: a state of fixed size that each token changes, so that cache and work stop growing.

Each head keeps a matrix of key x value dims in FP32; where a short convolution comes first, its last `conv_width`
inputs are kept beside it. A step reads the state and writes it back once, however many tokens it verifies.

FLOPs are those of the recurrence, a multiply-add as two: the outer product that is added to the state, the product
with the query, and with the delta rule the product with the key: 4 or 6 per element of the state and token. The
decay's product, one more, counts as gating does. Prefill in chunks of C tokens multiplies more, about 2 C (3 dk + 2 dv)
per head and token for gated delta nets (arXiv 2412.06464 sec. 3.3), 83% more at C = 64 and 128 dims; left out, as the
recurrence needs none of it.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from costlab.arch.attention.base import Attention, Phase
from costlab.arch.entries import CachePart, Entries, Read
from costlab.catalog import DTYPE_BYTES

#: One state per sequence, from its first token on.
_ONE = Entries(cap=1)


@dataclass(frozen=True)
class Recurrent(Attention):
    """A layer whose memory of the past is one state per head."""

    state_dtype: str = field(default="fp32", kw_only=True)  # storage of the state
    conv_dtype: str = field(default="bf16", kw_only=True)  # storage of the convolution's last inputs

    #: Products with each element of the state that a token takes, a multiply-add each.
    products: ClassVar[int] = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("state_dtype", "conv_dtype"):
            if (dtype := getattr(self, name)) not in DTYPE_BYTES:
                raise ValueError(f"{name} = {dtype!r} should be one of {', '.join(DTYPE_BYTES)}")

    @property
    @abstractmethod
    def state_elements(self) -> int:
        """Numbers in the state of all heads."""

    @property
    @abstractmethod
    def conv_elements(self) -> int:
        """Numbers kept of the convolution's inputs; 0 without one."""

    @property
    def state_bytes(self) -> float:
        """Bytes that the layer keeps of a sequence, however long."""
        conv = self.conv_elements * DTYPE_BYTES[self.conv_dtype]
        return self.state_elements * DTYPE_BYTES[self.state_dtype] + conv

    def stores(self) -> tuple[CachePart, ...]:
        """Return the state and the convolution's last inputs: one entry per sequence."""
        return (CachePart("recurrent", self.state_bytes, _ONE),)

    def reads(self, phase: Phase) -> tuple[Read, ...]:
        """Return the products with the state, which is read and written back."""
        flops = 2.0 * self.products * self.state_elements
        return (Read("core", flops, 2 * self.state_bytes, _ONE, once=True),)

    def stored_as(self, dtype: str) -> Recurrent:
        """Return the layer as it is: a state that sums over all tokens stays in the precision that it needs."""
        return self

    def cache_share(self, group: int) -> float:
        """Return the share of the chip that holds most: the state splits by its heads, keys' inputs by their groups."""
        heads, keys = _most(self.heads, group), _most(self._key_groups, group)
        copied = self._key_inputs * (keys - heads) * DTYPE_BYTES[self.conv_dtype]
        return heads + copied / self.state_bytes

    def params_on_chip(self, hidden: int, group: int) -> Mapping[str, float]:
        """Return an even share of the heads' matrices, and the keys and queries of all groups that serve its heads."""
        counts = dict(super().params_on_chip(hidden, group))
        more = _most(self._key_groups, group) - 1 / group
        if more and self._key_inputs:
            counts["attention"] += self._key_inputs / self._conv_width * hidden * more
            counts["conv"] += self._key_inputs * more
        return counts

    @property
    def _key_groups(self) -> int:
        """Heads of keys and queries, which several heads of the state may share."""
        return self.heads

    @property
    def _key_inputs(self) -> int:
        """Those of `conv_elements` that are keys and queries shared by several heads."""
        return 0

    @property
    def _conv_width(self) -> int:
        return 1


@dataclass(frozen=True)
class GatedDelta(Recurrent):
    """Gated delta net (arXiv 2412.06464): Qwen3-Next's and Qwen3.5's; each key head serves several value heads."""

    key_heads: int  # heads of queries and keys, a divisor of `heads`, the value heads
    key_dim: int  # dims of a query or key head
    value_dim: int  # dims of a value head
    conv_width: int  # tokens that the convolution reads

    kind = "gated-delta"
    label = "gated delta net"
    products = 3

    def __post_init__(self) -> None:
        super().__post_init__()
        self._at_least(1, "key_heads", "key_dim", "value_dim", "conv_width")
        if self.heads % self.key_heads:
            raise ValueError(f"{self.heads} value heads don't divide among key_heads = {self.key_heads}")

    @property
    def state_elements(self) -> int:
        """Numbers in the state: key x value dims of each value head."""
        return self.heads * self.key_dim * self.value_dim

    @property
    def conv_elements(self) -> int:
        """The last inputs of queries, keys and values."""
        return self.conv_width * self._channels

    def params(self, hidden: int) -> Mapping[str, int]:
        """Return query, key, value, output-gate, decay and rate projections, the convolution and the output."""
        values = self.heads * self.value_dim
        return {
            "attention": hidden * (self._channels + values + 2 * self.heads),
            "conv": self.conv_width * self._channels,
            "output": values * hidden,
            "norm": 2 * self.heads + self.value_dim,
        }

    @property
    def _key_groups(self) -> int:
        return self.key_heads

    @property
    def _key_inputs(self) -> int:
        return self.conv_width * 2 * self.key_heads * self.key_dim

    @property
    def _conv_width(self) -> int:
        return self.conv_width

    @property
    def _channels(self) -> int:
        return 2 * self.key_heads * self.key_dim + self.heads * self.value_dim


@dataclass(frozen=True)
class KDA(Recurrent):
    """Kimi delta attention (arXiv 2510.26692): a gated delta net whose decay differs for each key dim."""

    head_dim: int  # dims of a query, key or value head
    conv_width: int  # tokens that each of the three convolutions reads
    decay_rank: int = 0  # width between the two matrices that make the decay; 0 where it is one matrix
    gate_rank: int = 0  # width between the two matrices that make the output gate; 0 where it is one matrix

    kind = "kda"
    label = "KDA"
    products = 3

    def __post_init__(self) -> None:
        super().__post_init__()
        self._at_least(1, "head_dim", "conv_width")
        self._at_least(0, "decay_rank", "gate_rank")

    @property
    def state_elements(self) -> int:
        """Numbers in the state: a square of each head."""
        return self.heads * self.head_dim**2

    @property
    def conv_elements(self) -> int:
        """The last inputs of queries, keys and values."""
        return 3 * self.conv_width * self.heads * self.head_dim

    def params(self, hidden: int) -> Mapping[str, int]:
        """Return query, key, value, decay, rate and output-gate projections, the convolutions and the output."""
        width = self.heads * self.head_dim
        gates = sum(rank * (hidden + width) if rank else hidden * width for rank in (self.decay_rank, self.gate_rank))
        return {
            "attention": 3 * hidden * width + gates + hidden * self.heads,
            "conv": 3 * self.conv_width * width,
            "output": width * hidden,
            "norm": width + self.heads + self.head_dim,
        }

    def whole_params(self, hidden: int) -> Mapping[str, int]:
        """Return the first matrices of the low-rank gates."""
        return {"attention": hidden * (self.decay_rank + self.gate_rank)}


@dataclass(frozen=True)
class Mamba2(Recurrent):
    """Mamba-2's state-space layer (arXiv 2405.21060): a scalar decay per head, keys and queries shared by groups."""

    head_dim: int  # dims of a head's input and output
    state_dim: int  # dims of the state along the keys
    groups: int  # groups of heads that share keys and queries, a divisor of `heads`
    conv_width: int  # tokens that the convolution reads
    conv_bias: bool = True  # whether the convolution adds a vector

    kind = "mamba2"
    label = "Mamba-2"

    def __post_init__(self) -> None:
        super().__post_init__()
        self._at_least(1, "head_dim", "state_dim", "groups", "conv_width")
        if self.heads % self.groups:
            raise ValueError(f"{self.heads} heads don't divide into groups = {self.groups}")

    @property
    def state_elements(self) -> int:
        """Numbers in the state: input x state dims of each head."""
        return self.heads * self.head_dim * self.state_dim

    @property
    def conv_elements(self) -> int:
        """The last inputs of heads, keys and queries."""
        return self.conv_width * self._channels

    def params(self, hidden: int) -> Mapping[str, int]:
        """Return the joint input projection, the convolution and the output."""
        width = self.heads * self.head_dim
        bias = self._channels if self.conv_bias else 0
        return {
            "attention": hidden * (width + self._channels + self.heads),
            "conv": self.conv_width * self._channels,
            "output": width * hidden,
            "norm": 3 * self.heads + width + bias,
        }

    @property
    def _key_groups(self) -> int:
        return self.groups

    @property
    def _key_inputs(self) -> int:
        return self.conv_width * 2 * self.groups * self.state_dim

    @property
    def _conv_width(self) -> int:
        return self.conv_width

    @property
    def _channels(self) -> int:
        return self.heads * self.head_dim + 2 * self.groups * self.state_dim


@dataclass(frozen=True)
class Lightning(Recurrent):
    """Lightning attention (arXiv 2401.04658, 2501.08313): linear attention with a fixed decay per head."""

    head_dim: int  # dims of a query, key or value head

    kind = "lightning"
    label = "lightning"

    def __post_init__(self) -> None:
        super().__post_init__()
        self._at_least(1, "head_dim")

    @property
    def state_elements(self) -> int:
        """Numbers in the state: a square of each head."""
        return self.heads * self.head_dim**2

    @property
    def conv_elements(self) -> int:
        """None: there is no convolution."""
        return 0

    def params(self, hidden: int) -> Mapping[str, int]:
        """Return query, key, value and output-gate projections, and the output."""
        width = self.heads * self.head_dim
        return {"attention": 4 * hidden * width, "output": width * hidden, "norm": width}


def _most(parts: int, group: int) -> float:
    """The share of so many parts on the chip of a group that holds most; each has one where chips outnumber parts."""
    return -(-parts // group) / parts
