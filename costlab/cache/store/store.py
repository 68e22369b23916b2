"""The store: pages in memory, in RAM behind it and in files behind that, and what moves between them.

A page enters the memory pool. When the pool is full its oldest idle page moves to RAM, from there it drops out; with
a folder, a thread has meanwhile written it to a file. A page that is asked for comes back to the memory pool, and a
page of RAM changes places with the pool's oldest: so memory and RAM together hold the pages used last.

The RAM tier is plain memory of this process. Shared memory would outlive a kill -9, sits in a file system that
containers cap at 64 MB unless told otherwise, and buys nothing where the folder's lock admits one process anyway.

One lock guards all bookkeeping and the copies within memory; reading, checking and writing files happen without it.
A page that somebody reads, or that waits to be written, is pinned in its slot: no copy is made for the queue.

Chapter: tiers
"""

from __future__ import annotations

import errno
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import takewhile
from pathlib import Path
from threading import Condition
from types import TracebackType
from typing import Literal, get_args

import numpy as np

from costlab import checks
from costlab.cache.store.arena import Arena
from costlab.cache.store.disk import Disk, StoreError, explained
from costlab.cache.store.files import Damaged, PageFiles
from costlab.cache.store.pages import Array, Bytes, Geometry, Page, PageKey, canonical
from costlab.cache.store.writer import WriteBack

#: When a page goes to its file: soon after it was put, or not before it must leave RAM.
WritePolicy = Literal["through", "back"]
#: Why a page in memory has no file: nobody asked yet; it is queued; it was tried in vain; its file was evicted.
_Unsaved = Literal["waiting", "queued", "failed", "aged"]


@dataclass(frozen=True)
class Stats:
    """What a store has done since it was opened."""

    served_memory: int  # pages found in the memory pool
    served_ram: int  # pages found in RAM
    served_file: int  # pages read from files
    missed: int  # pages asked for that no tier held
    put: int  # pages that were new
    refused: int  # pages not stored, since every slot was in use
    written: int  # pages that became durable
    failed: int  # attempts to write a page that failed
    lost: int  # pages that left RAM without ever reaching the disk
    evicted_files: int  # files that made room for others
    damaged: int  # files that failed their check and were removed
    waited_s: float  # seconds that `put` and `flush` waited for the disk


@dataclass(frozen=True)
class _Hold:
    """A page that somebody reads: its row, and the pool whose slot is pinned for it, if any."""

    key: bytes
    row: Bytes
    pool: Arena | None


class Store:
    """Pages under keys, in three tiers; `put`, `match` and `load` are what one needs.

    A key names its content (the tokens up to a block's end), so a page is never overwritten: to put it again only
    marks it as used. All methods may be called from several threads.

    Args:
        geometry: the arrays of every page.
        memory_pages: slots of the memory pool, at least 1.
        ram_pages: slots of the RAM tier.
        folder: where files go; None: there are none.
        file_pages: pages to keep in files at most; None: no limit.
        write: "through": a page is queued for its file when it is put; "back": when it leaves RAM, or by `flush`.
        queue_pages: pages that may wait for the disk; one more, and `put` waits.
        disk: the calls on files.

    Raises:
        ValueError: sizes that make no store; an unknown way of writing.
        GeometryMismatch: the folder holds pages of another geometry.
        FolderInUse, ReadOnly, DiskFull, StoreError: the folder is of no use; the message says why and what helps.
    """

    def __init__(
        self,
        geometry: Geometry,
        memory_pages: int,
        ram_pages: int = 0,
        folder: str | Path | None = None,
        file_pages: int | None = None,
        *,
        write: WritePolicy = "through",
        queue_pages: int = 32,
        disk: Disk | None = None,
    ) -> None:
        _check_sizes(memory_pages, ram_pages, file_pages, queue_pages)
        self.geometry = geometry
        self.write: WritePolicy = checks.one_of(get_args(WritePolicy), write, "way of writing")
        self._changed = Condition()
        self._closed = False
        self._counts: Counter[str] = Counter()
        self._failure: StoreError | None = None
        self._loading: set[bytes] = set()
        self._unsaved: dict[bytes, _Unsaved] = {}
        self._files = None if folder is None else PageFiles(Path(folder), geometry, file_pages, disk or Disk())
        try:
            pools = {"memory": memory_pages, "ram": ram_pages}
            self._pools = [Arena(name, slots, geometry.row_bytes) for name, slots in pools.items() if slots]
            batch = min(8, queue_pages, file_pages or 8)
            self._writer = None if folder is None else WriteBack(self._save, queue_pages, batch, self._changed)
        except BaseException:  # e.g. no memory: the folder is free again, though the traceback keeps this store alive
            if self._files is not None:
                self._files.close()
            raise

    def __enter__(self) -> Store:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        try:
            self.close()
        except StoreError:
            if error is None:
                raise

    def __repr__(self) -> str:
        held = ", ".join(f"{tier} {count}" for tier, count in self.pages.items())
        return f"Store({held} pages of {self.geometry.page_bytes:,} bytes)"

    # --- the API ---

    def put(self, keys: Sequence[PageKey], pages: Sequence[Page]) -> int:
        """Store pages and return how many of them were new. Waits while the queue to the disk is full.

        A page whose write fails stays in memory as long as there is room; `error` and `flush` tell.

        Raises:
            ValueError: pages of another geometry, not as many as keys, keys that are none, or a closed store; then
                nothing is stored.
        """
        names, arrays = _names(keys), [self.geometry.accept(page) for page in pages]
        if len(names) != len(arrays):
            raise ValueError(f"{len(names)} keys and {len(arrays)} pages: should be one page for each key")
        return sum(map(self._put, names, arrays))

    def match(self, keys: Sequence[PageKey]) -> int:
        """Return how many leading keys are held in any tier. Files are not read: `load` may find one damaged.

        Raises:
            ValueError: keys that are none, or a closed store.
        """
        names = _names(keys)
        with self._open():
            return sum(1 for _ in takewhile(self._held, names))

    def load(self, keys: Sequence[PageKey]) -> list[dict[str, Array]]:
        """Return the pages of the leading keys that are held and whole, as copies; look at how many came.

        Raises:
            ValueError: keys that are none, or a closed store.
        """
        with self.borrow(keys) as pages:
            return [{name: array.copy() for name, array in page.items()} for page in pages]

    @contextmanager
    def borrow(self, keys: Sequence[PageKey]) -> Iterator[list[dict[str, Array]]]:
        """Give the pages that `load` returns without copying them: read-only, in place, and not evicted meanwhile.

        Raises:
            ValueError: keys that are none, or a closed store.
        """
        names = _names(keys)
        holds: list[_Hold] = []
        try:
            for key in names:
                hold = self._hold(key)
                if hold is None:
                    break
                holds.append(hold)
            with self._changed:
                self._counts["missed"] += len(names) - len(holds)
            yield [self._readable(hold.row) for hold in holds]
        finally:
            with self._changed:
                for hold in holds:
                    if hold.pool is not None:
                        hold.pool.order.unpin(hold.key)
                self._changed.notify_all()

    def durable(self, keys: Sequence[PageKey]) -> int:
        """Return how many leading keys are in files that survive a kill of the process and a power cut.

        What is durable stays so until it is evicted for `file_pages`.

        Raises:
            ValueError: keys that are none, or a closed store.
        """
        names = _names(keys)
        with self._open():
            files = self._files
            return 0 if files is None else sum(1 for _ in takewhile(files.order.__contains__, names))

    def flush(self) -> None:
        """Return once every page that was held when this was called has its file; tries again what has failed.

        Pages whose files were evicted for `file_pages` are not written again.

        Raises:
            DiskFull, ReadOnly, StoreError: some page could not be written. It is still served from memory.
            ValueError: a store without folder, or a closed one.
        """
        with self._open():
            if self._writer is None:
                raise ValueError("a store without folder makes nothing durable: open it with folder=...")
            failures = self._counts["failed"]
            for key in list(self._unsaved):
                self._enqueue(key)
            asked = [key for key, state in self._unsaved.items() if state == "queued"]
            self._changed.wait_for(lambda: all(self._unsaved.get(key) != "queued" for key in asked))
            if self._failure is not None and self._counts["failed"] > failures:
                raise self._failure

    def close(self) -> None:
        """Flush, stop the thread and give the folder back; memory's pages are gone. Closing twice is no error.

        Raises:
            DiskFull, ReadOnly, StoreError: as for `flush`; the store is closed all the same.
        """
        if self._closed:
            return
        try:
            if self._writer is not None:
                self.flush()
        finally:
            self._shut()

    def check(self) -> None:
        """Check that every account agrees with every other, e.g. that no tier is over its capacity.

        Raises:
            AssertionError: two of them differ.
        """
        with self._changed:
            for pool in self._pools:
                pool.check()
            in_pools = [key for pool in self._pools for key in pool.order]
            assert len(set(in_pools)) == len(in_pools), "a page stands in memory and in RAM"
            if self._files is None or self._writer is None:
                assert not self._unsaved, "pages wait for a disk that is not there"
                return
            self._files.check()
            self._writer.check()
            assert self._unsaved.keys() == set(in_pools) - set(self._files.order), "unsaved pages"
            queued = [key for key, state in self._unsaved.items() if state == "queued"]
            assert all(not self._pool_of(key).order.idle(key) for key in queued), "a queued page could be evicted"  # type: ignore[union-attr]

    @property
    def stats(self) -> Stats:
        """What the store has done since it was opened."""
        with self._changed:
            damaged = self._counts["damaged"] + (self._files.damaged_at_opening if self._files else 0)
            names = [name for name in Stats.__annotations__ if name not in ("damaged", "waited_s")]
            counts = {name: self._counts[name] for name in names}
            return Stats(**counts, damaged=damaged, waited_s=0.0 if self._writer is None else self._writer.waited_s)

    @property
    def error(self) -> StoreError | None:
        """Why some page that is held could not be written, or None when there is no such page."""
        with self._changed:
            return self._failure if "failed" in self._unsaved.values() else None

    @property
    def pages(self) -> Mapping[str, int]:
        """Pages in each tier: memory, ram, files. A page in a file may stand in memory or RAM too."""
        with self._changed:
            held = {pool.name: len(pool) for pool in self._pools}
            return held if self._files is None else held | {"files": len(self._files.order)}

    # --- finding ---

    @contextmanager
    def _open(self) -> Iterator[None]:
        """Hold the lock of a store that is not closed."""
        with self._changed:
            if self._closed:
                raise ValueError("the store is closed")
            yield

    def _pool_of(self, key: bytes) -> Arena | None:
        return next((pool for pool in self._pools if key in pool), None)

    def _held(self, key: bytes) -> bool:
        return self._pool_of(key) is not None or (self._files is not None and key in self._files.order)

    def _wait_until_loaded(self, key: bytes) -> None:
        """Wait while another thread reads the key's file."""
        self._changed.wait_for(lambda: key not in self._loading)

    def _readable(self, row: Bytes) -> dict[str, Array]:
        view = row.view()
        view.flags.writeable = False
        return self.geometry.views(view)

    # --- putting ---

    def _put(self, key: bytes, page: Mapping[str, Array]) -> bool:
        with self._open():
            self._wait_until_loaded(key)
            if self._pool_of(key) is not None:
                self._touch(key)
            elif not self._make_room(0):
                self._counts["refused"] += 1
            elif self._pool_of(key) is None and key not in self._loading:  # no other thread was faster
                return self._add(key, page)
            return False

    def _add(self, key: bytes, page: Mapping[str, Array]) -> bool:
        new = not self._held(key)
        self._counts["put"] += new
        self.geometry.pack(page, self._pools[0].add(key))
        self._note_unsaved(key)
        return new

    def _note_unsaved(self, key: bytes) -> None:
        """Note that a page in memory may lack its file."""
        if self._files is None:
            return
        if key in self._files.order:
            self._files.order.touch(key)
            return
        self._unsaved[key] = "waiting"
        if self.write == "through":
            self._enqueue(key)

    def _touch(self, key: bytes) -> Arena:
        """Mark a page in memory or RAM as used, which brings it to memory, and return where it is."""
        pool = self._pool_of(key)
        assert pool is not None
        if pool is not self._pools[0]:
            pool = self._promote(key, pool)
        pool.order.touch(key)
        if self._files is not None:
            self._files.order.touch(key)
        return pool

    def _promote(self, key: bytes, ram: Arena) -> Arena:
        """Let a page of RAM change places with memory's oldest; it stays where one of them is in use."""
        memory = self._pools[0]
        victim = memory.order.oldest_idle()
        if not ram.order.idle(key) or (victim is None and not memory.free):
            return ram
        row = ram.row(key).copy()
        ram.drop(key)
        if not memory.free and victim is not None:
            self._move(victim, memory, ram)
        np.copyto(memory.add(key), row)
        return memory

    @staticmethod
    def _move(key: bytes, source: Arena, target: Arena) -> None:
        np.copyto(target.add(key), source.row(key))
        source.drop(key)

    # --- making room: these may wait for the disk, and then let go of the lock ---

    def _make_room(self, tier: int) -> bool:
        """Free a slot of a pool; False where every page is in use."""
        pool = self._pools[tier]
        while not pool.free:
            victim = pool.order.oldest_idle()
            if victim is None:
                if self._writer is None or not self._writer.pending:  # nothing is being saved that could free a slot
                    return False
                self._writer.wait()
                continue
            below = tier + 1 < len(self._pools) and self._make_room(tier + 1)
            if pool.free or pool.order.oldest_idle() != victim:
                continue  # others were here while that waited
            if below:
                self._move(victim, pool, self._pools[tier + 1])
            elif self._unsaved.get(victim) == "waiting":
                self._save_oldest(pool)
            else:
                self._drop(victim, pool)
        return True

    def _drop(self, key: bytes, pool: Arena) -> None:
        """Drop a page from memory and RAM; its file, where it has one, remains."""
        self._counts["lost"] += self._unsaved.pop(key, "aged") != "aged" and self._files is not None
        pool.drop(key)

    def _save_oldest(self, pool: Arena) -> None:
        """Queue the pages that will have to leave next, and wait until some page was saved."""
        assert self._writer is not None
        for key in pool.order.oldest_idle_of(self._writer.batch):
            if self._unsaved.get(key) == "waiting":
                self._enqueue(key)
        if self._writer.pending:
            self._writer.wait()

    def _enqueue(self, key: bytes) -> None:
        assert self._writer is not None
        self._writer.wait_for_room()
        pool = self._pool_of(key)
        if pool is not None and self._unsaved.get(key) in ("waiting", "failed"):
            self._unsaved[key] = "queued"
            pool.order.pin(key)
            self._writer.add(key)

    # --- the writing thread ---

    def _save(self, keys: list[bytes]) -> None:
        """Write pages that are queued, and note which of them are durable now."""
        assert self._files is not None
        with self._changed:
            rows = [(key, pool.row(key)) for key in keys if (pool := self._pool_of(key)) is not None]
            self._changed.wait_for(partial(self._files.can_make_room, len(rows)))
            gone = self._evict_files(len(rows))
        try:
            for key in gone:
                self._files.discard(key)
            saved, failure = self._files.save(rows)
        except Exception as error:  # a thread that dies would leave everybody waiting
            saved, failure = [], OSError(errno.EIO, repr(error))
        with self._changed:
            self._saved(keys, saved, failure)

    def _evict_files(self, pages: int) -> list[bytes]:
        """Forget the files that must make room, and return their keys."""
        assert self._files is not None
        gone = self._files.make_room(pages)
        self._unsaved.update((key, "aged") for key in gone if self._pool_of(key) is not None)
        self._counts["evicted_files"] += len(gone)
        return gone

    def _saved(self, keys: list[bytes], saved: list[bytes], failure: OSError | None) -> None:
        assert self._files is not None
        for key in keys:
            pool = self._pool_of(key)
            assert pool is not None
            pool.order.unpin(key)
            self._unsaved[key] = "failed"
        for key in saved:
            self._files.order.add(key)
            del self._unsaved[key]
        self._counts["written"] += len(saved)
        self._counts["failed"] += len(keys) - len(saved)
        if failure is not None:
            self._failure = explained(failure, self._files.folder, "write a page in")
        self._changed.notify_all()

    # --- reading ---

    def _hold(self, key: bytes) -> _Hold | None:
        """Pin a page where it is, or read it from its file; None where there is none that is whole."""
        with self._open():
            while True:
                self._wait_until_loaded(key)
                if (found := self._pool_of(key)) is not None:
                    self._counts[f"served_{found.name}"] += 1
                    pool = self._touch(key)
                    pool.order.pin(key)
                    return _Hold(key, pool.row(key), pool)
                if not self._held(key):
                    return None
                room = self._make_room(0)
                if self._pool_of(key) is None and key not in self._loading and self._held(key):
                    hold = self._reserve(key, room)
                    break
        return self._read(hold)

    def _reserve(self, key: bytes, room: bool) -> _Hold:
        """Announce the reading of a file into a slot, or into memory of its own where every slot is in use."""
        assert self._files is not None
        own = None if room else np.zeros(self.geometry.row_bytes, np.uint8)  # may fail: so before the announcement
        self._loading.add(key)
        self._files.order.pin(key)
        if own is not None:
            return _Hold(key, own, None)
        memory = self._pools[0]
        row = memory.add(key)
        memory.order.pin(key)
        return _Hold(key, row, memory)

    def _read(self, hold: _Hold) -> _Hold | None:
        assert self._files is not None
        whole = gone = False
        try:
            self._files.read(hold.key, hold.row)
            whole = True
        except Damaged:
            gone = True
        except OSError as error:  # a passing shortage, e.g. of file handles, is no reason to give the page up
            gone = error.errno in (errno.ENOENT, errno.EIO)
        finally:
            with self._changed:
                self._loaded(hold, whole, gone)
        return hold if whole else None

    def _loaded(self, hold: _Hold, whole: bool, gone: bool) -> None:
        assert self._files is not None
        self._loading.discard(hold.key)
        self._files.order.unpin(hold.key)
        self._files.order.touch(hold.key)
        self._counts["served_file"] += whole
        self._counts["damaged"] += gone
        if not whole and hold.pool is not None:
            hold.pool.order.unpin(hold.key)
            hold.pool.drop(hold.key)
        if gone:
            self._files.order.drop(hold.key)
            self._files.discard(hold.key)
        self._changed.notify_all()

    def _shut(self) -> None:
        with self._changed:
            self._closed = True
            if self._writer is not None:
                self._writer.end()
        if self._writer is not None:
            self._writer.join()
        if self._files is not None:
            self._files.close()


def _names(keys: Sequence[PageKey]) -> list[bytes]:
    """Return keys as bytes, all before any is used: a bad one among them changes nothing."""
    if isinstance(keys, bytes | str):
        raise ValueError(f"keys {keys!r} should be a list of keys; of one: [{keys!r}]")
    return [canonical(key) for key in keys]


def _check_sizes(memory: int, ram: int, files: int | None, queue: int) -> None:
    sizes = (memory, ram, queue, 1 if files is None else files)
    whole = all(isinstance(size, int | np.integer) and not isinstance(size, bool) for size in sizes)
    if not whole or memory < 1 or ram < 0 or queue < 1 or (files is not None and files < 1):
        raise ValueError(
            f"memory_pages = {memory}, ram_pages = {ram}, file_pages = {files}, queue_pages = {queue}: "
            "whole numbers of at least 1, but ram_pages at least 0"
        )
