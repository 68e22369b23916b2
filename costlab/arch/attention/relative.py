"""Distances by a learned table and short convolutions, in the stead of rotation (Inkling-2)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

from costlab.arch.entries import CachePart, Entries, Read
from costlab.catalog import DTYPE_BYTES

#: One set of last inputs per sequence, from its first token on.
_ONE = Entries(cap=1)


@dataclass(frozen=True)
class Relative:
    """What a layer has that knows of distances: a table that each head's query meets, and short convolutions.

    The convolutions stand behind keys and values and behind the layer's two parts; what they last read is kept in bf16.
    A matrix makes each head's sink from the token, and each head scales its query.
    """

    dim: int  # dims of a head's vector that meets the table
    extent: int  # distances in the table
    conv_width: int  # tokens that each convolution reads
    conv_channels: int  # channels of all the layer's convolutions
    # whether keys and values read mixtures of their own, each with its norm, which also steer their convolutions
    own_inputs: bool = False

    def __post_init__(self) -> None:
        for each in fields(self):
            if each.name != "own_inputs" and getattr(self, each.name) < 1:
                raise ValueError(f"relative.{each.name} = {getattr(self, each.name)} should be at least 1")

    def params(self, hidden: int, heads: int, kv_heads: int, qk_dim: int) -> Mapping[str, int]:
        """Return the parameters that come to those of the plain layer; table, scales and mixtures count as "norm"."""
        steered = 2 * hidden * kv_heads * self.conv_width if self.own_inputs else 0
        return {
            "attention": hidden * heads * (self.dim + 1),
            "conv": self.conv_width * self.conv_channels + steered,
            "norm": heads * (qk_dim + self.dim) + self.dim * self.extent + 4 * hidden * self.own_inputs,
        }

    def stores(self) -> tuple[CachePart, ...]:
        """Return the convolutions' last inputs."""
        return (CachePart("recurrent", self.state_bytes, _ONE),)

    def reads(self, heads: int, seen: Entries) -> tuple[Read, ...]:
        """Return each head's product with the table, for tokens as far as it reaches, and the convolutions' inputs."""
        reach = Entries(cap=min(self.extent, seen.cap or self.extent))
        return (
            Read("core", 2.0 * heads * self.dim, 0.0, reach),
            Read("core", 0.0, 2 * self.state_bytes, _ONE, once=True),
        )

    @property
    def state_bytes(self) -> float:
        """Bytes of the convolutions' last inputs, which are read and written back."""
        return self.conv_width * self.conv_channels * DTYPE_BYTES["bf16"]
