"""One store at a time in a folder: a lock that the system lifts when its process ends, however it ends."""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO

from costlab.cache.store.disk import FolderInUse


class FolderLock:
    """Holds a folder's lock file until `release`.

    The lock belongs to the open file and not to the file's existence, so a file that a killed process left behind
    locks nobody out. Where the system has no such lock (a browser), nothing is locked.

    Raises:
        FolderInUse: another store holds the folder.
        OSError: the file cannot be opened.
    """

    def __init__(self, folder: Path) -> None:
        self._file = open(folder / "lock", "a+b", buffering=0)  # noqa: SIM115  held open for as long as the lock
        try:
            self._acquire(folder)
        except BaseException:  # e.g. a full disk: the file must not stay locked for as long as the traceback lives
            self._file.close()
            raise

    def _acquire(self, folder: Path) -> None:
        if not _locked(self._file):
            self._file.seek(0)
            holder = self._file.read(20).decode(errors="replace").strip()
            raise FolderInUse(
                f"{str(folder)!r} is open in another store (process {holder or 'unknown'}): close it, or choose "
                "another folder"
            )
        self._file.truncate(0)
        self._file.write(f"{os.getpid()}\n".encode())

    def release(self) -> None:
        """Give the folder back: another store may open it."""
        self._file.close()


def _locked(file: BinaryIO) -> bool:
    try:
        import fcntl
    except ImportError:
        return _locked_elsewhere(file)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _locked_elsewhere(file: BinaryIO) -> bool:
    """Lock as Windows does, far behind the process number that others read; no lock at all in a browser."""
    try:
        import msvcrt
    except ImportError:
        return True
    file.seek(1 << 20)
    try:
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined,unused-ignore]
    except OSError:
        return False
    return True
