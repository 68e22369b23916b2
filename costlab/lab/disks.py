"""A disk that forgets what nobody has synced: for trying out what a power cut leaves of a store.

Files have contents, and the folder has names for them; both are written late. A cut leaves of a content that was not
synced nothing, half of it, zeros or all, and of the names those of some moment since the folder was synced.

>>> disk = ForgetfulDisk()
>>> disk.write("a", b"page")
>>> sorted({each.read("a") for each in disk.cuts()}, key=str)
[None, b'', b'\\x00\\x00\\x00\\x00', b'pa', b'page']
>>> disk.sync("a"), disk.sync_folder()
(None, None)
>>> [each.read("a") for each in disk.cuts()]
[b'page']
"""

from __future__ import annotations

import itertools
from collections.abc import Callable


class ForgetfulDisk:
    """One folder of files."""

    def __init__(self) -> None:
        self._names: dict[str, int] = {}  # the folder as it is now: number of each name's file
        self._kept_names: list[dict[str, int]] = [{}]  # the folders that a cut may leave
        self._contents: dict[int, bytes] = {}  # of each file, as it is now
        self._kept: dict[int, tuple[bytes, ...]] = {}  # contents that a cut may leave
        self._seen: list[ForgetfulDisk] | None = None  # what cuts may leave so far, while somebody watches

    def write(self, name: str, data: bytes) -> None:
        """Make a file, or write over the one of that name.

        Raises:
            TypeError: data that are no bytes.
        """
        if not isinstance(data, bytes | bytearray):
            raise TypeError(f"a file holds bytes, got {type(data).__name__}")
        data = bytes(data)
        if name not in self._names:
            self._names[name] = len(self._contents)
            self._kept_names.append(dict(self._names))
        number = self._names[name]
        self._contents[number] = data
        partly = (b"", data[: len(data) // 2], bytes(len(data)), data)
        self._kept[number] = (*self._kept.get(number, ()), *partly)
        self._watch()

    def read(self, name: str) -> bytes | None:
        """Return what is in a file; None where there is no such name."""
        return self._contents[self._names[name]] if name in self._names else None

    def sync(self, name: str) -> None:
        """Wait until the content of a file is safe; its name is not, by that.

        Raises:
            FileNotFoundError: there is no such name.
        """
        number = self._number(name)
        self._kept[number] = (self._contents[number],)
        self._watch()

    def rename(self, old: str, new: str) -> None:
        """Give a file another name; a file that has it already is replaced in the same moment.

        Raises:
            FileNotFoundError: there is no file of the old name.
        """
        number = self._number(old)
        del self._names[old]
        self._names[new] = number
        self._kept_names.append(dict(self._names))
        self._watch()

    def remove(self, name: str) -> None:
        """Remove a file.

        Raises:
            FileNotFoundError: there is no such name.
        """
        self._number(name)
        del self._names[name]
        self._kept_names.append(dict(self._names))
        self._watch()

    def sync_folder(self) -> None:
        """Wait until all names are safe, new ones, other ones and those that are gone; contents are not, by that."""
        self._kept_names = [dict(self._names)]
        self._watch()

    def sync_all(self) -> None:
        """Wait until everything is safe, as a machine does that is left alone for a while."""
        for name in self.names():
            self.sync(name)
        self.sync_folder()

    def names(self) -> list[str]:
        """Return the names in the folder, sorted."""
        return sorted(self._names)

    def copy(self) -> ForgetfulDisk:
        """Return a disk in the same state, whatever was synced."""
        other = ForgetfulDisk()
        other._names, other._contents, other._kept = dict(self._names), dict(self._contents), dict(self._kept)
        other._kept_names = [dict(each) for each in self._kept_names]
        return other

    def cuts(self) -> list[ForgetfulDisk]:
        """Return all disks that a power cut may leave now."""
        return [
            _rebooted(names, dict(zip(names.values(), left, strict=True)))
            for names in self._kept_names
            for left in itertools.product(*(dict.fromkeys(self._kept[number]) for number in names.values()))
        ]

    def during(self, action: Callable[[ForgetfulDisk], object]) -> list[ForgetfulDisk]:
        """Return all disks that a cut may leave at any moment while something is done; this one stays as it is.

        Args:
            action: what is done, with a copy of this disk.
        """
        watched = self.copy()
        watched._seen = watched.cuts()
        action(watched)
        return watched._seen

    def _number(self, name: str) -> int:
        if name not in self._names:
            raise FileNotFoundError(f"no file {name!r}, only {self.names()}")
        return self._names[name]

    def _watch(self) -> None:
        if self._seen is not None:
            self._seen.extend(self.cuts())

    def __repr__(self) -> str:
        files = ", ".join(f"{name}: {len(self._contents[n])} bytes" for name, n in sorted(self._names.items()))
        return f"ForgetfulDisk({files})"


def _rebooted(names: dict[str, int], contents: dict[int, bytes]) -> ForgetfulDisk:
    disk = ForgetfulDisk()
    disk._names = {name: i for i, name in enumerate(names)}
    disk._kept_names = [dict(disk._names)]
    disk._contents = {i: contents[number] for i, number in enumerate(names.values())}
    disk._kept = {i: (data,) for i, data in disk._contents.items()}
    return disk


__all__ = ["ForgetfulDisk"]
