"""The cache of a layer: tables of all entries and ring buffers of the last ones, measured in bytes of real tensors.

Chapter: attention
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from costlab.arch import Layout
from costlab.nn.attention.formats import EntryFormat


class KVTable:
    """Entries in stored precision, appended one after another.

    Args:
        layout: what one entry holds.
        width: values per entry.
        lead: leading dimensions, (batch,) or (batch, kv_heads).
        slots: entries it has room for.
        device: where it lives.
    """

    def __init__(self, layout: Layout, width: int, lead: tuple[int, ...], slots: int, device: torch.device) -> None:
        self.format = EntryFormat(layout, width)
        self.slots = slots
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

    def undo(self, entries: int) -> Callable[[], None]:
        """Return a call that takes back what is appended from now on, `entries` entries at most."""
        length = self.length

        def back() -> None:
            self.length = length

        return back

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
    """The last `slots` entries: entry number i lives in slot i mod slots, over the one it pushes out."""

    def append(self, x: Tensor) -> None:
        """Store new entries, shape (*lead, n, width); only the last `slots` survive.

        Raises:
            ValueError: another shape.
        """
        self._check(x)
        kept, length = min(x.shape[-2], self.slots), self.length + x.shape[-2]
        places = self._places(length - kept, length)
        for tensor, piece in zip(self.stored, self.format.encode(x[..., x.shape[-2] - kept :, :]), strict=False):
            _bits(tensor)[..., places, :] = _bits(piece)
        self.length = length

    def undo(self, entries: int) -> Callable[[], None]:
        """Return a call that takes back what is appended from now on; until then it holds what that overwrites."""
        length, first = self.length, max(0, self.length - self.slots)
        stop = min(length, length + entries - self.slots)
        if stop <= first:  # nothing is overwritten before the ring is full
            return super().undo(entries)
        lost = [piece.clone() for piece in self.span(first, stop)]

        def back() -> None:
            self.restore(first, lost)
            self.length = length

        return back

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
        tables: by part: "main", "index", "window", "state" or "index_state".
        batch: sequences.
        capacity: tokens it has room for.
    """

    def __init__(self, tables: Mapping[str, KVTable], batch: int, capacity: int) -> None:
        self.tables = tables
        self.batch = batch
        self.capacity = capacity
        self.length = 0
        self.guarded = False  # whether a caller takes back what fails

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
        """Return measured bytes by part, named as in `costlab.arch`: main, index, window, state.

        Args:
            filled: count only what has been written; otherwise all that is allocated.
        """
        sizes: dict[str, int] = {}
        for name, table in self.tables.items():
            part = "state" if name.endswith("state") else name
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

    def undo(self, tokens: int) -> list[Callable[[], None]]:
        """Return calls that take back what is read from now on, `tokens` tokens at most."""
        length = self.length

        def back() -> None:
            self.length = length

        return [back, *(table.undo(tokens) for table in self.tables.values())]


@contextmanager
def all_or_nothing(caches: Sequence[Cache], tokens: int) -> Iterator[None]:
    """Read into caches, or, after an error or an interrupt, leave all of them as they were.

    Within another such block the outer one takes everything back.

    Args:
        caches: of the layers that read.
        tokens: how many they read, at most.
    """
    mine = [cache for cache in caches if not cache.guarded]
    undo = [back for cache in mine for back in cache.undo(tokens)]
    for cache in mine:
        cache.guarded = True
    try:
        yield
    except BaseException:
        with torch.inference_mode():  # tensors made in inference mode may be written in no other
            for back in undo:
                back()
        raise
    finally:
        for cache in mine:
            cache.guarded = False
