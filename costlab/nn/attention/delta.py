"""A gated delta net: a layer whose cache does not grow, since all it remembers is a state of fixed size.

>>> import torch
>>> from costlab import arch
>>> from costlab.nn import attention
>>> dims = arch.GatedDelta(heads=4, key_heads=2, key_dim=8, value_dim=8, conv_width=4)
>>> layer = attention.build_layer(dims, hidden=32)
>>> cache = layer.new_cache(capacity=1000)
>>> layer(torch.zeros(1, 9, 32), cache).shape, cache.nbytes(filled=True)
(torch.Size([1, 9, 32]), {'recurrent': 1536})
>>> layer(torch.zeros(1, 990, 32), cache).shape, cache.nbytes(filled=True)
(torch.Size([1, 990, 32]), {'recurrent': 1536})

Chapter: attention
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from costlab import arch
from costlab.checks import one_of
from costlab.nn.attention import delta_rule
from costlab.nn.attention.core import CachedLayer, RMSNorm, linear
from costlab.nn.attention.kv import Cache, KVTable, RingBuffer
from costlab.nn.attention.states import StateTable

DeltaForm = Literal["auto", "recurrent", "chunked"]


class GatedDelta(CachedLayer):
    """Short convolution, unit queries and keys, the gated delta rule, and an output gate behind a norm per head.

    Args:
        dims: `arch.GatedDelta`.
        hidden: width of input and output.
        form: "recurrent", "chunked", or "auto": chunked for several tokens at once, recurrent for one.
        chunk: tokens of a chunk.

    Attributes:
        query_block: tokens that are projected at once, at most; whole chunks.

    Source: arXiv 2412.06464 sec. 3.4; transformers' qwen3_next.
    """

    query_block = 1024
    flags = frozenset({"state_dtype", "conv_dtype"})

    def __init__(self, dims: arch.GatedDelta, hidden: int, form: DeltaForm = "auto", chunk: int = 64) -> None:
        super().__init__(hidden)
        if chunk < 1:
            raise ValueError(f"chunk = {chunk} should be at least 1 token")
        self.dims = dims
        self.form: DeltaForm = one_of(get_args(DeltaForm), form, "form")
        self.chunk = chunk
        self.channels = 2 * dims.key_heads * dims.key_dim + dims.heads * dims.value_dim
        self.mixed = linear(hidden, self.channels)  # queries, keys and values, which share the convolution
        self.convolution = nn.Parameter(torch.randn(self.channels, dims.conv_width) / dims.conv_width**0.5)
        self.beta = linear(hidden, dims.heads)
        self.decay = linear(hidden, dims.heads)
        self.decay_bias = nn.Parameter(torch.ones(dims.heads))
        self.decay_log_rate = nn.Parameter(torch.empty(dims.heads).uniform_(0.01, 16).log())  # as Qwen3-Next starts
        self.gate = linear(hidden, dims.heads * dims.value_dim)
        self.norm = RMSNorm(dims.value_dim)
        self.output = linear(dims.heads * dims.value_dim, hidden)

    def _tables(self, batch: int, capacity: int, device: torch.device) -> Mapping[str, KVTable]:
        dims = self.dims
        state, inputs = ((dims.key_dim * dims.value_dim, dims.state_dtype),), ((self.channels, dims.conv_dtype),)
        return {
            "recurrent": StateTable(state, dims.key_dim * dims.value_dim, (batch, dims.heads), device),
            # as many as counted; the oldest is not read again
            "convolution": RingBuffer(inputs, self.channels, (batch,), dims.conv_width, device),
        }

    def _read(self, hidden: Tensor, cache: Cache) -> Tensor:
        cache.advance(hidden.shape[1])
        pieces = [self._piece(piece, cache) for piece in hidden.split(self.query_block, 1)]
        return torch.cat(pieces, 1) if len(pieces) > 1 else pieces[0]

    def _piece(self, hidden: Tensor, cache: Cache) -> Tensor:
        steps = self.steps(hidden, cache.ring("convolution"))
        table = cache.ring("recurrent")
        assert isinstance(table, StateTable)
        out = self._advance(steps, table)  # (batch, tokens, heads, value_dim)
        gate = self.gate(hidden).unflatten(-1, (self.dims.heads, -1))
        out = self.norm(out.to(hidden.dtype)) * F.silu(gate)
        return self.output(out.flatten(-2))

    def steps(self, hidden: Tensor, tail: RingBuffer) -> delta_rule.Steps:
        """Return what tokens, shape (batch, n, hidden), do to the state, in at least float32.

        Args:
            hidden: the tokens.
            tail: what the convolution keeps of the tokens before them; they are appended.
        """
        dims, wide = self.dims, torch.promote_types(hidden.dtype, torch.float32)
        width = dims.key_heads * dims.key_dim
        mixed = F.silu(self._convolved(self.mixed(hidden), tail)).to(wide)
        q, k, v = mixed.split([width, width, dims.heads * dims.value_dim], -1)
        q, k = (delta_rule.unit(x.unflatten(-1, (dims.key_heads, -1)).transpose(1, 2)) for x in (q, k))
        rate = F.softplus(self.decay(hidden).to(wide) + self.decay_bias) * -self.decay_log_rate.to(wide).exp()
        return delta_rule.Steps(
            q * dims.key_dim**-0.5,
            k,
            v.unflatten(-1, (dims.key_heads, -1, dims.value_dim)).movedim(
                1, 3
            ),  # (batch, key_heads, group, n, value_dim)
            self._by_head(rate),
            self._by_head(self.beta(hidden).to(wide).sigmoid()),
        )

    def _by_head(self, x: Tensor) -> Tensor:
        """Return a number per token and head, (batch, n, heads), as (batch, key_heads, group, n)."""
        return x.unflatten(-1, (self.dims.key_heads, -1)).movedim(1, 3)

    def _convolved(self, x: Tensor, tail: RingBuffer) -> Tensor:
        """Return each channel's weighted sum over the last `conv_width` tokens, shape (batch, n, channels)."""
        taps, n = self.convolution.shape[1], x.shape[1]
        new = tail.format.round_trip(x)  # what is stored is rounded before it is used, whichever call uses it
        before = tail.last(min(tail.length, taps - 1), x.dtype)
        whole = F.pad(torch.cat([before, new], 1), (0, 0, taps - 1 - before.shape[1], 0))
        tail.append(x)
        total = whole[:, :n] * self.convolution[:, 0]
        for t in range(1, taps):
            total = torch.addcmul(total, whole[:, t : t + n], self.convolution[:, t])
        return total

    def _advance(self, steps: delta_rule.Steps, table: StateTable) -> Tensor:
        """Return what the state answers to each token, shape (batch, n, heads, value_dim), and replace the state."""
        dims = self.dims
        state = table.state(steps.v.dtype).unflatten(-1, (dims.key_dim, -1)).unflatten(1, (dims.key_heads, -1))
        outputs = []
        # within a round that may be taken back, the state after each token of it is kept
        singly = min(steps.count, max(0, table.limit - table.length))
        for start, stop in [(t, t + 1) for t in range(singly)] + [(singly, steps.count)]:
            if start < stop:
                output, state = self._rule(state, steps.cut(start, stop))
                table.replace(state.flatten(1, 2).flatten(2), stop - start)
                outputs.append(output)
        return torch.cat(outputs, -2).flatten(1, 2).transpose(1, 2)

    def _rule(self, state: Tensor, steps: delta_rule.Steps) -> tuple[Tensor, Tensor]:
        if self.form == "recurrent" or (self.form == "auto" and steps.count == 1):
            return delta_rule.recurrent(state, steps)
        return delta_rule.chunked(state, steps, self.chunk)
