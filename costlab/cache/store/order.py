"""The order in which keys were used, and which of them are in use now: what every tier needs to evict.

>>> order = Order()
>>> for key in (b"a", b"b", b"c"):
...     order.add(key)
>>> order.touch(b"a")
>>> order.pin(b"b")
>>> order.oldest_idle()
b'c'
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterable, Iterator
from itertools import islice


class Order:
    """Keys, the longest unused first; pinned ones are stepped over by `oldest_idle` and cannot be dropped."""

    def __init__(self, keys: Iterable[bytes] = ()) -> None:
        self._keys: OrderedDict[bytes, None] = OrderedDict.fromkeys(keys)
        self._pins: Counter[bytes] = Counter()

    def __len__(self) -> int:
        return len(self._keys)

    def __contains__(self, key: bytes) -> bool:
        return key in self._keys

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._keys)

    def add(self, key: bytes) -> None:
        """Take in a key as the one used last."""
        self._keys[key] = None

    def drop(self, key: bytes) -> None:
        """Forget a key that is not in use.

        Raises:
            AssertionError: it is in use.
        """
        assert self.idle(key), f"{key!r} is in use"
        del self._keys[key]

    def touch(self, key: bytes) -> None:
        """Note that a key was used, if it is here."""
        if key in self._keys:
            self._keys.move_to_end(key)

    def pin(self, key: bytes) -> None:
        """Keep a key until as many calls of `unpin`."""
        self._pins[key] += 1

    def unpin(self, key: bytes) -> None:
        """Take one `pin` back."""
        self._pins[key] -= 1
        if not self._pins[key]:
            del self._pins[key]

    @property
    def in_use(self) -> int:
        """Keys that somebody has pinned."""
        return len(self._pins)

    def idle(self, key: bytes) -> bool:
        """Return whether nobody has pinned a key."""
        return key not in self._pins

    def oldest_idle(self) -> bytes | None:
        """Return the key unused for longest that nobody has pinned; it steps over the pinned ones, which are few."""
        return next(filter(self.idle, self._keys), None)

    def oldest_idle_of(self, count: int) -> list[bytes]:
        """Return up to `count` keys that nobody has pinned, the longest unused first."""
        return list(islice(filter(self.idle, self._keys), max(count, 0)))

    def check(self) -> None:
        """Check that what is pinned is there.

        Raises:
            AssertionError: it is not.
        """
        assert all(count > 0 for count in self._pins.values()), "a pin was taken back twice"
        assert self._pins.keys() <= self._keys.keys(), "a pinned key is gone"
