"""The few calls on files that the store makes, in one place, and what to say when one of them fails.

Tests put a `Disk` in its place that fails, dies or forgets what was not synced.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO


class StoreError(OSError):
    """The store's files could not be read or written; the message names the folder and what would help."""


class FolderInUse(StoreError):
    """Another store, of this process or another, has the folder open."""


class DiskFull(StoreError):
    """No room for a page: the disk, a quota or a limit on file sizes is used up."""


class ReadOnly(StoreError):
    """The folder cannot be written to."""


_HELP: dict[int, tuple[type[StoreError], str]] = {
    errno.ENOSPC: (DiskFull, "free some space or open the store with a smaller file_pages"),
    errno.EDQUOT: (DiskFull, "free some of your quota or open the store with a smaller file_pages"),
    errno.EFBIG: (DiskFull, "a page exceeds this process's limit on file sizes: raise it (ulimit -f)"),
    errno.EROFS: (ReadOnly, "mount it writable, choose another folder, or folder=None to do without files"),
    errno.EACCES: (ReadOnly, "make it writable for this user, choose another folder, or folder=None to do without"),
    errno.EPERM: (ReadOnly, "make it writable for this user, choose another folder, or folder=None to do without"),
}


def explained(error: OSError, folder: Path, doing: str) -> StoreError:
    """Return an error that names the folder and what would help.

    Args:
        error: as the system gave it.
        folder: of the store.
        doing: what failed, e.g. "write a page in".
    """
    kind, helps = _HELP.get(error.errno or 0, (StoreError, "choose another folder, or folder=None to do without files"))
    reason = error.strerror or str(error)
    return kind(error.errno, f"cannot {doing} {str(folder)!r}: {reason}; {helps}")


class Disk:
    """Files as the store needs them; each call raises OSError when it fails."""

    def write(self, path: Path, parts: Sequence[bytes | memoryview]) -> None:
        """Write a new file and return once its content is on the disk (but not yet its name)."""
        with open(path, "wb", buffering=0) as file:
            for part in parts:
                write_all(file, memoryview(part))
            os.fsync(file.fileno())

    def rename(self, source: Path, target: Path) -> None:
        """Give a file another name, in one step."""
        os.replace(source, target)

    def sync_folder(self, folder: Path) -> None:
        """Return once the names in a folder are on the disk, where the system can say so."""
        if os.name == "nt":  # a folder cannot be opened there; the file system keeps a journal of names
            return
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)

    def remove(self, path: Path) -> None:
        """Remove a file, or do nothing where there is none."""
        with suppress(FileNotFoundError):
            os.unlink(path)


def write_all(file: BinaryIO, data: memoryview) -> None:
    """Write all of a buffer: the system may take it in several pieces."""
    rest = data.cast("B")
    while rest:
        rest = rest[file.write(rest) :]
