"""What of a cache does not grow: a recurrent state, and checkpoints from which reading can go on.

A state is replaced, never written in place. So what is kept of an earlier one is a reference to it: going back a few
tokens, undoing a call that failed and keeping a checkpoint copy nothing.

Chapter: attention
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from costlab.arch import Layout
from costlab.nn.attention.kv import Cache, RingBuffer


class StateTable(RingBuffer):
    """One entry that stands for all tokens read so far; entry i is the state after token i, and only the last is held.

    Args:
        layout: what a state holds.
        width: values of a state.
        lead: leading dimensions, (batch, heads).
        device: where it lives.
    """

    def __init__(self, layout: Layout, width: int, lead: tuple[int, ...], device: torch.device) -> None:
        super().__init__(layout, width, lead, 1, device)

    def state(self, dtype: torch.dtype) -> Tensor:
        """Return the state, shape (*lead, width): zeros before the first token."""
        if not self.length:
            return self.stored[0].new_zeros((*self.stored[0].shape[:-2], self.format.width), dtype=dtype)
        return self.format.decode(self.stored, dtype).squeeze(-2)

    def replace(self, state: Tensor, tokens: int = 1) -> None:
        """Hold the state after so many more tokens, shape (*lead, width), in place of the one before them.

        Raises:
            ValueError: another shape.
        """
        entry = state.unsqueeze(-2)
        self._check(entry)
        if 0 < self.length <= self.limit:
            self._keep(self.length - 1, self.length)
        self.stored = self.format.encode(entry)
        self.length += tokens

    def append(self, x: Tensor) -> None:
        """Hold the last of several states, one a token, shape (*lead, n, width).

        Raises:
            ValueError: another shape.
        """
        self._check(x)
        for state in x.unbind(-2):
            self.replace(state)

    def rewind(self, tokens: int) -> None:
        """Hold what it held after `tokens` tokens, as far as it is kept aside; later states are forgotten."""
        for start, pieces in self.aside:
            if start == tokens - 1:
                self.stored = pieces
        self.length = tokens
        self._forget(max(0, tokens - 1))

    def restore(self, start: int, pieces: Sequence[Tensor]) -> None:
        """Put back, as a copy, what `span` has returned, as the states from `start` on."""
        self.stored = [piece[..., -1:, :].clone() for piece in pieces]
        self.length = start + pieces[0].shape[-2]

    def _keep(self, start: int, stop: int) -> None:
        if start < stop:
            self.aside.append((start, self.stored))

    def _places(self, start: int, stop: int) -> slice | Tensor:
        return slice(0, stop - start)  # the last state, or none


@dataclass(frozen=True)
class Checkpoint:
    """What does not grow of some layers' caches after so many tokens: windows, open blocks and recurrent states."""

    length: int  # tokens that had been read
    layers: tuple[Mapping[str, tuple[Tensor, ...]], ...]  # stored tensors by part, of each layer

    @property
    def nbytes(self) -> int:
        """Bytes of all that is kept."""
        return sum(piece.nbytes for parts in self.layers for pieces in parts.values() for piece in pieces)


def checkpoint(caches: Sequence[Cache]) -> Checkpoint:
    """Return what going on from here takes beside the entries that grow: reading on changes none of it.

    A prefix cache holds growing entries of every token, so it could go on anywhere; a recurrent state it can only
    resume where one was kept.

    Args:
        caches: of the layers, all of one length; `DecoderCache.layers` for a whole stack.

    Raises:
        ValueError: no caches, or caches of several lengths.
    """
    lengths = {cache.length for cache in caches}
    if len(lengths) != 1:
        raise ValueError(f"a checkpoint needs layers of one length, got {sorted(lengths)}")
    (length,) = lengths
    return Checkpoint(length, tuple({name: _held(ring) for name, ring in _fixed(cache).items()} for cache in caches))


def resume(caches: Sequence[Cache], kept: Checkpoint) -> None:
    """Leave caches as they were at a checkpoint: the ones it is of, or others that hold the same growing entries.

    Args:
        caches: of the layers, in the same order.
        kept: from `checkpoint`; it can be resumed any number of times.

    Raises:
        ValueError: other layers or another batch, too little room, fewer growing entries than were read then, or within
            `rewindable`. No cache is changed.
    """
    if len(caches) != len(kept.layers):
        raise ValueError(f"a checkpoint of {len(kept.layers)} layers does not fit {len(caches)}")
    for cache, parts in zip(caches, kept.layers, strict=True):
        _check_fit(cache, parts, kept.length)
    with torch.inference_mode():  # tensors made in inference mode may be written in no other
        for cache, parts in zip(caches, kept.layers, strict=True):
            cache.back(kept.length)
            for name, pieces in parts.items():
                cache.ring(name).restore(kept.length - pieces[0].shape[-2], pieces)


def _fixed(cache: Cache) -> dict[str, RingBuffer]:
    return {name: table for name, table in cache.tables.items() if isinstance(table, RingBuffer)}


def _held(ring: RingBuffer) -> tuple[Tensor, ...]:
    pieces = ring.span(max(0, ring.length - ring.slots), ring.length)
    return tuple(pieces if isinstance(ring, StateTable) else [piece.clone() for piece in pieces])


def _check_fit(cache: Cache, parts: Mapping[str, tuple[Tensor, ...]], length: int) -> None:
    """Check that one layer's cache can be as it was at a checkpoint."""
    fixed = _fixed(cache)
    if cache.reach is not None:
        raise ValueError("resume: not within `with cache.rewindable(rows)`, which has its own lengths to go back to")
    if length > cache.capacity:
        raise ValueError(f"a checkpoint after {length} tokens exceeds the cache's capacity of {cache.capacity}")
    if fixed.keys() != parts.keys():
        raise ValueError(f"a checkpoint of parts {sorted(parts)} does not fit a cache of {sorted(fixed)}")
    for name, pieces in parts.items():
        ours, theirs = _shapes(fixed[name].stored), _shapes(pieces)
        if ours != theirs or pieces[0].shape[-2] != min(length, fixed[name].slots):
            raise ValueError(f"{name!r} of the checkpoint holds {theirs}, which should be {ours}")
    for name, table in cache.tables.items():
        if name not in fixed and table.length < length // table.block:
            raise ValueError(f"{name!r} holds {table.length} entries, the checkpoint needs {length // table.block}")


def _shapes(pieces: Sequence[Tensor]) -> list[tuple[tuple[int, ...], int, torch.dtype]]:
    """Return leading dimensions, width and dtype of stored tensors: all but how many entries they hold."""
    return [(tuple(piece.shape[:-2]), piece.shape[-1], piece.dtype) for piece in pieces]
