"""The cache of a layer: tables of all entries and ring buffers of the last ones, measured in bytes of real tensors.

What has been read can be taken back to any of some announced lengths, exactly as if no later token had been read. A
table only shortens. A ring has overwritten entries by then, so it keeps aside, while that is announced, what it pushes
out. Speculative decoding takes back its rejected rows so; and every call that fails takes back all of its own.

Chapter: attention
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager

import torch
from torch import Tensor

from costlab.arch import Layout
from costlab.checks import whole
from costlab.nn.attention.formats import EntryFormat

#: Tables that `costlab.arch` counts in a part of another name.
_PARTS: Mapping[str, str] = {"index_state": "state", "convolution": "recurrent"}


class KVTable:
    """Entries in stored precision, appended one after another.

    Args:
        layout: what one entry holds.
        width: values per entry.
        lead: leading dimensions, (batch,) or (batch, kv_heads).
        slots: entries it has room for.
        device: where it lives.
        block: tokens per entry.
    """

    def __init__(
        self, layout: Layout, width: int, lead: tuple[int, ...], slots: int, device: torch.device, block: int = 1
    ) -> None:
        self.format = EntryFormat(layout, width)
        self.slots = slots
        self.block = block
        self.length = 0
        self.stored = self.format.empty((*lead, slots), device)  # each (*lead, slots, …)

    def append(self, x: Tensor) -> None:
        """Store new entries, shape (*lead, n, width).

        Raises:
            ValueError: another shape, or more entries than there is room for.
        """
        self._check(x)
        stop = self.length + x.shape[-2]
        if stop > self.slots:
            raise ValueError(f"{x.shape[-2]} entries after {self.length} exceed the table's {self.slots}")
        for tensor, piece in zip(self.stored, self.format.encode(x), strict=False):
            tensor[..., self.length : stop, :] = piece
        self.length = stop

    def _check(self, x: Tensor) -> None:
        lead, width = self.stored[0].shape[:-2], self.format.width
        if x.shape[:-2] != lead or x.shape[-1] != width:  # torch would spread one sequence's entry over a batch
            raise ValueError(f"entries {tuple(x.shape)} should be ({', '.join(map(str, lead))}, n, {width})")

    def rewind(self, tokens: int) -> None:
        """Hold what it held after `tokens` tokens; later entries are forgotten."""
        self.length = tokens // self.block

    def read(self, stop: int, dtype: torch.dtype) -> Tensor:
        """Return entries 0 … stop-1, shape (*lead, stop, width); a view where nothing needs converting."""
        return self.format.decode([tensor[..., :stop, :] for tensor in self.stored], dtype)

    def gather(self, index: Tensor, dtype: torch.dtype) -> Tensor:
        """Return chosen entries, converting only those.

        Args:
            index: entry numbers, shape (batch, queries, k).
            dtype: of the result, shape (batch, queries, k, width).
        """
        batch, queries, k = index.shape
        rows = torch.arange(batch, device=index.device)[:, None] * self.slots + index.flatten(1)  # (batch, queries*k)
        flat = rows.flatten()  # (batch*queries*k,)
        picked = [_floats(_bits(t).flatten(0, 1).index_select(0, flat), t) for t in self.stored]
        return self.format.decode(picked, dtype).unflatten(0, (batch, queries, k))  # (batch, queries, k, width)

    def span(self, start: int, stop: int) -> list[Tensor]:
        """Return entries start … stop-1 as they are stored, each (*lead, stop-start, …): what a prefix cache keeps.

        Raises:
            ValueError: entries that are not held.
        """
        if not self.length - self.slots <= start <= stop <= self.length:
            first = max(0, self.length - self.slots)
            raise ValueError(f"entries {start} … {stop - 1} asked, {first} … {self.length - 1} are held")
        return [_bits(tensor)[..., self._places(start, stop), :] for tensor in self.stored]

    def restore(self, start: int, pieces: Sequence[Tensor]) -> None:
        """Put back what `span` has returned, as the entries from `start` on; the next entry follows them.

        Args:
            start: number of the first entry.
            pieces: one per stored tensor, shape (*lead, n, …).
        """
        stop = start + pieces[0].shape[-2]
        for tensor, piece in zip(self.stored, pieces, strict=True):
            _bits(tensor)[..., self._places(start, stop), :] = piece
        self.length = stop

    def _places(self, start: int, stop: int) -> slice | Tensor:
        """Return the slots of entries start … stop-1."""
        return slice(start, stop)

    @property
    def nbytes(self) -> int:
        """Bytes of the tensors it holds."""
        return sum(tensor.nbytes for tensor in self.stored)

    @property
    def filled_nbytes(self) -> int:
        """Bytes of those entries that have been written."""
        return sum(tensor[..., : self.length, :].nbytes for tensor in self.stored)


def _bits(tensor: Tensor) -> Tensor:
    """View 8-bit floats as bytes, which torch can index on every device."""
    return tensor.view(torch.uint8) if tensor.dtype.itemsize == 1 else tensor


def _floats(bits: Tensor, like: Tensor) -> Tensor:
    """Undo `_bits`; gradients pass where there was nothing to undo."""
    return bits if bits.dtype == like.dtype else bits.view(like.dtype)


class RingBuffer(KVTable):
    """The last `slots` entries, one per token: number i lives in slot i mod slots, over the one it pushes out.

    Attributes:
        limit: entries of lower numbers are kept aside when they are pushed out; 0: none.
        aside: those entries in runs, each the first one's number and what `span` has returned.
    """

    def __init__(self, layout: Layout, width: int, lead: tuple[int, ...], slots: int, device: torch.device) -> None:
        super().__init__(layout, width, lead, slots, device)
        self.limit = 0
        self.aside: list[tuple[int, list[Tensor]]] = []

    def append(self, x: Tensor) -> None:
        """Store new entries, shape (*lead, n, width); only the last `slots` survive.

        Raises:
            ValueError: another shape.
        """
        self._check(x)
        if self.limit > self.length and x.shape[-2] > self.slots:  # some of the new ones are to be kept aside too
            for piece in x.split(self.slots, -2):
                self.append(piece)
            return
        kept, length = min(x.shape[-2], self.slots), self.length + x.shape[-2]
        if self.limit:
            self._keep(max(0, self.length - self.slots), min(self.limit, self.length, length - self.slots))
        places = self._places(length - kept, length)
        for tensor, piece in zip(self.stored, self.format.encode(x[..., x.shape[-2] - kept :, :]), strict=False):
            _bits(tensor)[..., places, :] = _bits(piece)
        self.length = length

    def _keep(self, start: int, stop: int) -> None:
        """Keep entries start … stop-1 aside, which are about to be pushed out."""
        if start < stop:
            self.aside.append((start, [piece.clone() for piece in self.span(start, stop)]))

    def rewind(self, tokens: int) -> None:
        """Hold what it held after `tokens` tokens, as far as it is kept aside; later entries are forgotten."""
        first = max(0, tokens - self.slots)
        for start, pieces in self.aside:
            back = [piece[..., max(0, first - start) : max(0, tokens - start), :] for piece in pieces]
            if back[0].shape[-2]:
                self.restore(max(first, start), back)
        self.length = tokens
        self._forget(first)

    def keep_below(self, limit: int) -> None:
        """Keep aside, from now on, entries of numbers below a limit, and none of those that lie there above it."""
        self.limit = limit
        self._forget(limit)

    def _forget(self, limit: int) -> None:
        """Drop entries of numbers from a limit on from what is kept aside."""
        if self.aside:
            kept = [(start, pieces) for start, pieces in self.aside if start < limit]
            self.aside = [(start, [piece[..., : limit - start, :] for piece in pieces]) for start, pieces in kept]

    def _places(self, start: int, stop: int) -> slice | Tensor:
        if stop - start == 1:  # one token's, as in every decode step
            return slice(start % self.slots, start % self.slots + 1)
        return torch.arange(start, stop, device=self.stored[0].device) % self.slots

    def last(self, count: int, dtype: torch.dtype) -> Tensor:
        """Return the last `count` entries in the order they came, shape (*lead, count, width).

        Raises:
            ValueError: more than it still holds.
        """
        if count > min(self.length, self.slots):
            raise ValueError(f"last {count} entries asked, {min(self.length, self.slots)} are held")
        places = self._places(self.length - count, self.length)
        return self.format.decode([_floats(_bits(t)[..., places, :], t) for t in self.stored], dtype)

    def read_all(self, dtype: torch.dtype) -> Tensor:
        """Return all held entries in slot order, shape (*lead, held, width), which a softmax does not depend on."""
        return self.read(min(self.length, self.slots), dtype)

    @property
    def filled_nbytes(self) -> int:
        """Bytes of those slots that have been written."""
        held = min(self.length, self.slots)
        return sum(tensor[..., :held, :].nbytes for tensor in self.stored)


class Cache:
    """All that one attention layer keeps for a batch of sequences of equal length.

    Args:
        tables: by part: "main", "index", "window", "state" or "index_state", "recurrent" and "convolution".
        batch: sequences.
        capacity: tokens it has room for.
    """

    def __init__(self, tables: Mapping[str, KVTable], batch: int, capacity: int) -> None:
        self.tables = tables
        self.batch = batch
        self.capacity = capacity
        self.length = 0
        self.reach: tuple[int, int] | None = None  # first and last length that it can be rewound to
        self._rings = [table for table in tables.values() if isinstance(table, RingBuffer)]

    def __repr__(self) -> str:
        parts = ", ".join(f"{part} {size:,} B" for part, size in self.nbytes().items())
        return f"Cache({self.length} of {self.capacity} tokens, batch {self.batch}: {parts})"

    def ring(self, part: str) -> RingBuffer:
        """Return a part that is a ring.

        Raises:
            TypeError: a part that grows.
        """
        table = self.tables[part]
        if not isinstance(table, RingBuffer):
            raise TypeError(f"{part!r} is a table that grows, not a ring")
        return table

    def nbytes(self, filled: bool = False) -> dict[str, int]:
        """Return measured bytes by part, named as in `costlab.arch`: main, index, window, state, recurrent.

        Args:
            filled: count only what has been written; otherwise all that is allocated.
        """
        sizes: dict[str, int] = {}
        for name, table in self.tables.items():
            part = _PARTS.get(name, name)
            sizes[part] = sizes.get(part, 0) + (table.filled_nbytes if filled else table.nbytes)
        return sizes

    def advance(self, tokens: int) -> None:
        """Count tokens that are being read.

        Raises:
            ValueError: more than the cache has room for.
        """
        if self.length + tokens > self.capacity:
            raise ValueError(
                f"{tokens} tokens after {self.length} exceed the cache's capacity of {self.capacity} tokens; "
                f"make it with capacity={self.length + tokens} or more"
            )
        self.length += tokens

    def rewindable(self, rows: int = 0) -> AbstractContextManager[None]:
        """Return a context in which the next `rows` tokens, once read, can be taken back; see `rewindable`."""
        return rewindable([self], rows)

    def rewind(self, length: int) -> None:
        """Be as it was after `length` tokens, within `rewindable`; see `rewind`."""
        rewind([self], length)

    def check_reach(self, length: int) -> None:
        """Check that it can be rewound to a length.

        Raises:
            ValueError: a length forward, too far back, or one that nothing has been kept for.
        """
        if self.reach is None:
            raise ValueError(f"rewind to {length} tokens: only within `with cache.rewindable(rows)` is enough kept")
        if length > self.length:
            raise ValueError(f"rewind to {length} tokens: only {self.length} have been read")
        first, last = self.reach
        if not first <= length <= last and length != self.length:
            raise ValueError(f"rewind to {length} tokens: should be from {first} to {last}")

    def announce(self, reach: tuple[int, int] | None) -> None:
        """Keep what going back to lengths takes, from a first to a last one, and nothing else; None: nothing."""
        before, after = self.reach[1] if self.reach else 0, reach[1] if reach else 0
        self.reach = reach
        if before != after:
            for ring in self._rings:
                ring.keep_below(after)

    def back(self, length: int) -> None:
        """Be as it was after `length` tokens, whether or not that is in reach."""
        self.length = length
        for table in self.tables.values():
            table.rewind(length)


@contextmanager
def rewindable(caches: Sequence[Cache], rows: int = 0) -> Iterator[None]:
    """Let caches be rewound to their lengths now and after each of the next `rows` tokens; longer reads are allowed.

    An error or an interrupt that leaves the block takes back all that was read in it. Within another such block, one
    can go back no further than to the inner one's start, and after it to what the outer one has announced.

    Args:
        caches: of the layers that read.
        rows: tokens to choose among afterwards: all rows of a speculative round.

    Raises:
        ValueError: rows that are no whole number, or a negative one.
    """
    rows = whole(rows, "rows")
    if rows < 0:
        raise ValueError(f"rows = {rows} should be at least 0")
    before = [(cache, cache.length, cache.reach) for cache in caches]
    try:
        for cache, length, outer in before:
            cache.announce((length, max(length + rows, outer[1] if outer else 0)))
        yield
    except BaseException:
        _back(caches, [length for _, length, _ in before])
        raise
    finally:
        for cache, _, outer in before:
            cache.announce(outer)


def rewind(caches: Sequence[Cache], length: int) -> None:
    """Leave caches exactly as they would be had they read only their first `length` tokens, within `rewindable`.

    Raises:
        ValueError: a length outside what the innermost block has announced, or more than has been read. No cache is
            changed.
    """
    length = whole(length, "length")
    for cache in caches:
        cache.check_reach(length)
    _back(caches, [length] * len(caches))


def _back(caches: Sequence[Cache], lengths: Sequence[int]) -> None:
    with torch.inference_mode():  # tensors made in inference mode may be written in no other
        for cache, length in zip(caches, lengths, strict=True):
            cache.back(length)
