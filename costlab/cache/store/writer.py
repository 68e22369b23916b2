"""The thread that brings pages to the disk, behind a queue of limited length."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from threading import Condition, Thread
from time import perf_counter


class WriteBack:
    """A bounded queue of keys and the thread that saves them in batches.

    Args:
        save: saves some keys; called without the lock.
        room: keys that may wait.
        batch: keys saved together, which share one sync of the folder.
        changed: the owner's condition: notified when keys were saved, held by callers of every method but `join`.
    """

    def __init__(self, save: Callable[[list[bytes]], None], room: int, batch: int, changed: Condition) -> None:
        self.room, self.batch = room, batch
        self.waited_s = 0.0
        self._save, self._changed = save, changed
        self._queue: deque[bytes] = deque()
        self._saving: list[bytes] = []
        self._ended = False
        self._thread = Thread(target=self._run, name="costlab store", daemon=True)
        self._thread.start()

    @property
    def pending(self) -> int:
        """Keys that wait or are being saved."""
        return len(self._queue) + len(self._saving)

    def wait_for_room(self) -> None:
        """Wait until the queue has room; the lock is let go meanwhile, so look again at what you knew."""
        start = perf_counter()
        self._changed.wait_for(lambda: len(self._queue) < self.room)
        self.waited_s += perf_counter() - start

    def wait(self) -> None:
        """Wait until something was saved or let go; the lock is let go meanwhile."""
        start = perf_counter()
        self._changed.wait()
        self.waited_s += perf_counter() - start

    def add(self, key: bytes) -> None:
        """Queue a key."""
        self._queue.append(key)
        self._changed.notify_all()

    def end(self) -> None:
        """Let the thread end once the queue is empty."""
        self._ended = True
        self._changed.notify_all()

    def join(self) -> None:
        """Wait for the thread's end, without the lock."""
        self._thread.join()

    def check(self) -> None:
        """Check that the queue keeps its bound.

        Raises:
            AssertionError: it does not.
        """
        assert len(self._queue) <= self.room, "the queue is over its bound"

    def _run(self) -> None:
        while batch := self._next():
            self._save(batch)
            with self._changed:
                self._saving = []
                self._changed.notify_all()

    def _next(self) -> list[bytes]:
        with self._changed:
            self._changed.wait_for(lambda: self._queue or self._ended)
            self._saving = [self._queue.popleft() for _ in range(min(self.batch, len(self._queue)))]
            self._changed.notify_all()
            return self._saving
