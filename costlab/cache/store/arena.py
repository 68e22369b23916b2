"""A pool of slots of equal size in memory that was taken beforehand.

>>> pool = Arena("memory", slots=2, row_bytes=4)
>>> pool.add(b"a")[:] = 1
>>> pool.add(b"b")[:] = 2
>>> pool.order.touch(b"a")
>>> pool.free, pool.order.oldest_idle()
(0, b'b')
"""

from __future__ import annotations

import numpy as np

from costlab.cache.store.order import Order
from costlab.cache.store.pages import Bytes


class Arena:
    """`slots` rows of `row_bytes` bytes, each the page of one key; `order` says which was used when, and by whom.

    Nothing here waits or locks: the store that owns it does.
    """

    def __init__(self, name: str, slots: int, row_bytes: int) -> None:
        self.name = name
        self.order = Order()
        self._rows = np.empty((slots, row_bytes), np.uint8)
        self._rows.fill(0)  # takes the memory now: else the first page in each slot would pay for it
        self._free = list(range(slots - 1, -1, -1))
        self._slot: dict[bytes, int] = {}

    def __len__(self) -> int:
        return len(self._slot)

    def __contains__(self, key: bytes) -> bool:
        return key in self._slot

    @property
    def slots(self) -> int:
        """Pages it has room for."""
        return len(self._rows)

    @property
    def free(self) -> int:
        """Slots that hold nothing."""
        return len(self._free)

    def row(self, key: bytes) -> Bytes:
        """Return the row of a page, for reading and writing."""
        row: Bytes = self._rows[self._slot[key]]
        return row

    def add(self, key: bytes) -> Bytes:
        """Give a new key a free slot, as the one used last, and return its row."""
        self._slot[key] = self._free.pop()
        self.order.add(key)
        return self.row(key)

    def drop(self, key: bytes) -> None:
        """Free the slot of a page that nobody uses.

        Raises:
            AssertionError: somebody uses it.
        """
        self.order.drop(key)
        self._free.append(self._slot.pop(key))

    def check(self) -> None:
        """Check that each slot is free or holds one page, and that what is in use is there.

        Raises:
            AssertionError: it is not so.
        """
        assert sorted([*self._free, *self._slot.values()]) == list(range(self.slots)), f"{self.name}: slots"
        assert set(self.order) == self._slot.keys(), f"{self.name}: order"
        self.order.check()
