"""The tier that outlives the process: a folder with one file per page.

One file per page, and not one growing segment, because evicting a page then gives its bytes back at once, a damaged
page harms no other, and the file system already keeps the index. The price is one sync per page and one per batch
for the folder's names.

A file is never changed: it is written under a temporary name, synced, renamed, and then the folder is synced. Only
after that is the page durable. Whatever the moment of a crash, a name ending in `.page` is a whole page or (after a
power cut) one whose checksum fails, and a name ending in `.tmp` is rubbish that the next opening removes.

    page file   "costlab1" · length of header (4 bytes) · digest of header (16 bytes) · header · row
    header      JSON: the key, name, dtype and shape of each array, the row's digest
    store.json  the same geometry for a person to read, and for folders without a page
    lock        held by the store that has the folder open

The header's digest and the file's length are checked at opening, the row's digest whenever a page is read.
"""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from costlab.cache.store.disk import Disk, StoreError, explained
from costlab.cache.store.lock import FolderLock
from costlab.cache.store.order import Order
from costlab.cache.store.pages import DIGEST_BYTES, Bytes, Geometry, digest

MAGIC = b"costlab1"
_PREFIX = struct.Struct(f"<8sI{DIGEST_BYTES}s")
_RECORD = "store.json"


class GeometryMismatch(ValueError):
    """A folder holds pages of another geometry than the store that opens it."""


class Damaged(Exception):
    """A page file is not what was written."""


@dataclass(frozen=True)
class Header:
    """What a page file says of itself."""

    key: bytes  # of the page
    arrays: list[Any]  # name, dtype and shape of each array
    digest: bytes  # of the page's row, 128 bits

    def encode(self) -> bytes:
        """Return the bytes that stand before the row."""
        fields = {"key": self.key.hex(), "arrays": self.arrays, "digest": self.digest.hex()}
        text = json.dumps(fields).encode()
        return _PREFIX.pack(MAGIC, len(text), digest(text)) + text

    @classmethod
    def read(cls, file: BinaryIO) -> Header:
        """Read what `encode` has written and leave the file at its row.

        Raises:
            Damaged: anything else.
        """
        start = file.read(_PREFIX.size)
        if len(start) < _PREFIX.size:
            raise Damaged("it is shorter than a header")
        magic, length, expected = _PREFIX.unpack(start)
        if magic != MAGIC or length > os.fstat(file.fileno()).st_size:
            raise Damaged("it does not begin as a page file does")
        text = file.read(length)
        if digest(text) != expected:
            raise Damaged("its header's digest differs")
        fields = json.loads(text)
        return cls(bytes.fromhex(fields["key"]), fields["arrays"], bytes.fromhex(fields["digest"]))


class PageFiles:
    """The pages of a folder. `order` names those that are whole as far as opening could tell, and durable.

    `save`, `read` and `discard` touch files and no bookkeeping, so that they can run without the store's lock.

    Args:
        folder: made if it is not there; locked until `close`.
        geometry: of every page.
        capacity: pages to keep at most; None: no limit.
        disk: the calls on files.

    Raises:
        GeometryMismatch: the folder holds other pages.
        StoreError: the folder is in use, or cannot be read or written.
    """

    def __init__(self, folder: Path, geometry: Geometry, capacity: int | None, disk: Disk) -> None:
        self.folder, self.geometry, self.capacity, self.disk = folder, geometry, capacity, disk
        self.damaged_at_opening = 0
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._lock = FolderLock(folder)
        except StoreError:
            raise
        except OSError as error:
            raise explained(error, folder, "open") from error
        try:
            self._open()
        except BaseException:
            self._lock.release()
            raise

    def _open(self) -> None:
        try:
            for leftover in self.folder.glob("*.tmp"):
                self.disk.remove(leftover)
            recorded = self._recorded()
            self._compare((recorded or self.geometry).as_rows())
            self.order = Order(self._scan())
            if recorded is None:
                self._record()
            for key in self.order.oldest_idle_of(self._excess(0)):
                self.order.drop(key)
                self.disk.remove(self.path(key))
        except OSError as error:
            raise explained(error, self.folder, "open") from error

    def close(self) -> None:
        """Let another store have the folder."""
        self._lock.release()

    def path(self, key: bytes) -> Path:
        """Return the file of a key: its name is a digest, so that any key makes a name."""
        return self.folder / f"{digest(key).hex()}.page"

    # --- bookkeeping: the store's lock is held ---

    def make_room(self, pages: int) -> list[bytes]:
        """Forget as many pages as new ones need, and return them: their files are to be discarded."""
        gone = self.order.oldest_idle_of(self._excess(pages))
        for key in gone:
            self.order.drop(key)
        return gone

    def can_make_room(self, pages: int) -> bool:
        """Return whether so many new pages fit once pages that nobody reads are gone."""
        return self._excess(pages) <= len(self.order) - self.order.in_use

    def check(self) -> None:
        """Check that there are not too many files, and that what is in use is there.

        Raises:
            AssertionError: it is not so.
        """
        assert self._excess(0) <= 0, "more files than file_pages"
        self.order.check()

    def _excess(self, pages: int) -> int:
        return 0 if self.capacity is None else len(self.order) + pages - self.capacity

    # --- files: no lock is held ---

    def save(self, batch: Sequence[tuple[bytes, Bytes]]) -> tuple[list[bytes], OSError | None]:
        """Write new pages and return the keys that are durable now, and what went wrong with the others."""
        staged: list[bytes] = []
        failure = None
        for key, row in batch:
            try:
                self.disk.write(self._temporary(key), (self._header(key, row).encode(), row.data))
                staged.append(key)
            except OSError as error:
                failure = error
                self._remove_quietly(self._temporary(key))
                break
        return self._commit(staged, failure)

    def _commit(self, staged: list[bytes], failure: OSError | None) -> tuple[list[bytes], OSError | None]:
        try:
            for key in staged:
                self.disk.rename(self._temporary(key), self.path(key))
            if staged:
                self.disk.sync_folder(self.folder)
        except OSError as error:
            for key in staged:
                self._remove_quietly(self._temporary(key))
                self._remove_quietly(self.path(key))
            return [], error
        return staged, failure

    def read(self, key: bytes, row: Bytes) -> None:
        """Read a page into a row of memory and check it.

        Raises:
            Damaged: it is not the page that was written under this key.
            OSError: it cannot be read.
        """
        with open(self.path(key), "rb", buffering=0) as file:
            header = Header.read(file)
            self._check_length(file)
            if header.key != key or header.arrays != self.geometry.as_rows():
                raise Damaged("it is another key's page, or of other arrays")
            if file.readinto(row.data) != row.nbytes or digest(row.data) != header.digest:
                raise Damaged("its row's digest differs")

    def discard(self, key: bytes) -> None:
        """Remove the file of a page that is evicted or damaged; what cannot be removed will not be served either."""
        self._remove_quietly(self.path(key))

    def _remove_quietly(self, path: Path) -> None:
        with suppress(OSError):
            self.disk.remove(path)

    def _temporary(self, key: bytes) -> Path:
        return self.path(key).with_suffix(".tmp")

    def _header(self, key: bytes, row: Bytes) -> Header:
        return Header(key, self.geometry.as_rows(), digest(row.data))

    def _check_length(self, file: BinaryIO) -> None:
        """Check a file that stands at its row."""
        if os.fstat(file.fileno()).st_size != file.tell() + self.geometry.row_bytes:
            raise Damaged("its length differs")

    # --- opening ---

    def _scan(self) -> list[bytes]:
        """Return the keys of whole pages, the longest unwritten first, and remove files that are damaged."""
        found = sorted((os.stat(path).st_mtime_ns, path) for path in self.folder.glob("*.page"))
        return [key for _, path in found if (key := self._adopted(path)) is not None]

    def _adopted(self, path: Path) -> bytes | None:
        try:
            with open(path, "rb", buffering=0) as file:
                header = Header.read(file)
                self._compare(header.arrays)
                self._check_length(file)
            if self.path(header.key) == path:
                return header.key
        except Damaged:
            pass
        self.damaged_at_opening += 1
        self._remove_quietly(path)
        return None

    def _compare(self, arrays: list[Any]) -> None:
        if arrays != self.geometry.as_rows():
            raise GeometryMismatch(
                f"{str(self.folder)!r} holds pages of {Geometry.from_rows(arrays)}; this store's are {self.geometry}: "
                "choose another folder, or empty this one"
            )

    def _recorded(self) -> Geometry | None:
        """Return the folder's geometry, or None where it was never written or is damaged: the pages know theirs."""
        with suppress(FileNotFoundError, ValueError, KeyError, TypeError):
            record = json.loads((self.folder / _RECORD).read_bytes())
            rows = record["arrays"]
            if _record_digest(rows) == record["digest"]:
                return Geometry.from_rows(rows)
        return None

    def _record(self) -> None:
        rows = self.geometry.as_rows()
        text = json.dumps({"arrays": rows, "digest": _record_digest(rows)}).encode()
        temporary = self.folder / f"{_RECORD}.tmp"
        self.disk.write(temporary, (text,))
        self.disk.rename(temporary, self.folder / _RECORD)
        self.disk.sync_folder(self.folder)


def _record_digest(rows: list[Any]) -> str:
    return digest(json.dumps(rows).encode()).hex()
