"""Learned compression: the tokens of a block become one entry, each channel by weights of its own.

A token gives a content and a gate logit per channel. An entry is the content averaged over its slots by the softmax
of the gates, taken channel by channel. With one series (HCA) the slots are the block's tokens; with two (CSA) the
tokens of the block before join through a second series, so that neighbouring entries overlap.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from costlab.nn.attention.core import RMSNorm, Span, linear
from costlab.nn.attention.kv import RingBuffer


class Compressor(nn.Module):
    """Turns blocks of tokens into entries, and keeps what open blocks need.

    Channels of content and gate are series side by side: for two series, first what a token gives to the next
    block's entry, then what it gives to its own block's.

    Args:
        hidden: width of the layer's input.
        width: of an entry.
        block: tokens per entry.
        series: 1, or 2 for overlapping blocks.

    Source: arXiv 2606.19348 eq. 9-12 (two series), 20-23 (one).
    """

    def __init__(self, hidden: int, width: int, block: int, series: int) -> None:
        super().__init__()
        self.width, self.block, self.series = width, block, series
        self.content = linear(hidden, series * width)
        self.gate = linear(hidden, series * width)
        self.bias = nn.Parameter(torch.zeros(block, series * width))
        self.norm = RMSNorm(width)

    def new_state(self, batch: int, capacity: int, device: torch.device) -> RingBuffer:
        """Return room for content and gate of the open block, and of the one before if blocks overlap."""
        width = 2 * self.series * self.width
        slots = min(self.series * self.block, capacity)
        return RingBuffer(((width, "fp32"),), width, (batch,), slots, device)

    def forward(self, hidden: Tensor, positions: Span, state: RingBuffer) -> tuple[Tensor, Tensor]:
        """Read tokens and return the entries of the blocks that they close.

        Args:
            hidden: shape (batch, n, hidden).
            positions: of the tokens.
            state: of the open block, updated.

        Returns:
            entries, shape (batch, closed, width), normalised, not yet rotated; and each block's first position,
            shape (closed,).
        """
        first, closed = positions.start // self.block, positions.stop // self.block
        slots = state.format.round_trip(self._slots(hidden, positions))  # float64 as a later call would read it
        if first == closed:  # the block stays open
            state.append(slots)
            return hidden.new_zeros(len(hidden), 0, self.width), positions.at[:0]
        known = self._known(slots, positions, state)
        state.append(slots)
        entries = self._mix(known.unflatten(1, (-1, self.block)), first > 0)
        return self.norm(entries.to(hidden.dtype)), torch.arange(first, closed, device=hidden.device) * self.block

    def _slots(self, hidden: Tensor, positions: Span) -> Tensor:
        gate = self.gate(hidden) + self.bias[positions.at % self.block]
        slots = torch.cat([self.content(hidden), gate], -1)  # (batch, n, 2*series*width)
        return slots.to(torch.promote_types(slots.dtype, torch.float32))

    def _known(self, slots: Tensor, positions: Span, state: RingBuffer) -> Tensor:
        """Return the slots of whole blocks: those that the state has kept, and the new ones."""
        first, closed = positions.start // self.block, positions.stop // self.block
        # a copy: whether a slice is contiguous hangs on the length, which a graph leaves open
        new = slots.index_select(1, torch.arange(closed * self.block - positions.start, device=slots.device))
        kept = positions.start - self._needed_from(first)
        return torch.cat([state.last(kept, slots.dtype), new], 1) if kept else new

    def _needed_from(self, block: int) -> int:
        return max(block - (self.series - 1), 0) * self.block

    def _mix(self, blocks: Tensor, has_previous: bool) -> Tensor:
        """Return entries, shape (batch, closed, width), of blocks (batch, blocks, block, 2*series*width)."""
        content, gate = blocks.chunk(2, -1)
        if self.series == 2:
            content = _overlapped(content, has_previous, 0.0)
            gate = _overlapped(gate, has_previous, float("-inf"))
        return (content * gate.softmax(2)).sum(2)


def _overlapped(blocks: Tensor, has_previous: bool, nothing: float) -> Tensor:
    """Put each block's own series behind the other series of the block before: (batch, closed, 2*block, width)."""
    for_next, own = blocks.chunk(2, -1)
    if has_previous:
        return torch.cat([for_next[:, :-1], own[:, 1:]], 2)
    before = torch.cat([torch.full_like(for_next[:, :1], nothing), for_next[:, :-1]], 1)
    return torch.cat([before, own], 2)
