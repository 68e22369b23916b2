"""The lines of a file, pipe or stream: opened once, unpacked by what the first bytes say, and nothing of it lost."""

from __future__ import annotations

import functools
import importlib
import io
import itertools
import os
from collections.abc import Callable, Iterator
from typing import IO, Any, cast

from costlab.traces.requests import TraceError

#: A longer row is not read into memory but refused: a prompt of 16 million tokens in 16-token blocks stays below it.
LONGEST_ROW_BYTES = 1 << 24
_BUFFER_BYTES = 1 << 16

#: How packed data begins.
_MAGIC = {
    b"\x1f\x8b": "gzip",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"BZh": "bzip2",
    b"\xfd7zXZ": "xz",
    b"PK\x03\x04": "zip",
    b"PAR1": "Parquet",
}
_HEAD_BYTES = max(map(len, _MAGIC))
#: What unpacks it: the first of these modules that there is. Each has a function `open`.
_MODULES = {
    "gzip": ("gzip",),
    "zstd": ("compression.zstd", "backports.zstd"),
    "bzip2": ("bz2",),
    "xz": ("lzma",),
}


def _packing(head: bytes) -> str | None:
    if head[1:4] == b"\x2a\x4d\x18" and head[0] >> 4 == 5:  # a frame to skip, with which some writers of zstd begin
        return "zstd"
    return next((name for magic, name in _MAGIC.items() if head.startswith(magic)), None)


class Lines:
    """The lines of a file or stream, unpacked; those that are blank are left out but counted.

    Args:
        source: a path, or an open binary stream.
        name: of the file, for messages.
        row: what a line is, for messages.
    """

    def __init__(self, source: str | IO[bytes], name: str, row: str = "trace row") -> None:
        self.name, self.number, self._row = name, 0, row
        try:
            self._bytes = _Bytes(source)
            self._text = self._unpacked(self._bytes.head(_HEAD_BYTES))
        except OSError as error:
            raise TraceError(f"{name}: cannot be read: {error.strerror or error}") from None
        self._lines = self._read()

    def _unpacked(self, head: bytes) -> IO[bytes]:
        packed, packing = io.BufferedReader(self._bytes, _BUFFER_BYTES), _packing(head)
        if packing is None:
            return cast("IO[bytes]", packed)
        for module in _MODULES.get(packing, ()):
            try:
                return cast("IO[bytes]", importlib.import_module(module).open(packed))
            except ModuleNotFoundError:
                continue
        need = ", or pip install backports.zstd" if packing == "zstd" else ""
        raise TraceError(f"{self.name}: packed as {packing}, which is not read here: unpack it first{need}")

    def peek(self) -> bytes | None:
        """Return the first line, which stays to be read; None if there is none."""
        first = next(self._lines, None)
        if first is None:
            return None
        self._lines = itertools.chain([first], self._lines)
        return first[1]

    def __iter__(self) -> Iterator[tuple[int, bytes]]:
        return self._lines

    def _read(self) -> Iterator[tuple[int, bytes]]:
        line = self._text.readline
        while raw := self._line(line):
            self.number += 1
            if self.number == 1:
                raw = self._without_mark(raw)
            if raw.strip():
                yield self.number, raw

    def _line(self, line: Callable[[int], bytes]) -> bytes:
        try:
            raw = line(LONGEST_ROW_BYTES)
        except Exception as error:  # each packing has errors of its own, and so may a stream
            raise TraceError(f"{self.name}, after line {self.number:,}: cannot be read on: {error}") from None
        if len(raw) == LONGEST_ROW_BYTES and not raw.endswith(b"\n"):
            most = f"{LONGEST_ROW_BYTES:,} bytes"
            raise TraceError(f"{self.name}, line {self.number + 1:,}: longer than {most}, not a {self._row}")
        return raw

    def _without_mark(self, raw: bytes) -> bytes:
        if raw[:2] in (b"\xff\xfe", b"\xfe\xff"):
            raise TraceError(f"{self.name}, line 1, column 1: the file is UTF-16; save it as UTF-8")
        return raw.removeprefix(b"\xef\xbb\xbf")

    def share(self) -> float | None:
        """Return the share of the file's bytes that are read; None where its size is not known."""
        return self._bytes.share()

    def close(self) -> None:
        """Close what was opened here; a stream that was given stays open."""
        self._bytes.close()


class _Bytes(io.RawIOBase):
    """The bytes of a file or stream from the first one on, though the first few were looked at."""

    def __init__(self, source: str | IO[bytes]) -> None:
        self._ahead, self._own = b"", -1
        if isinstance(source, str):
            self._own = os.open(source, os.O_RDONLY | getattr(os, "O_BINARY", 0))
            self._take: Callable[[int], Any] = functools.partial(os.read, self._own)
        else:
            self._take = getattr(source, "read1", source.read)  # what has come, without waiting for more

    def head(self, count: int) -> bytes:
        """Return the first bytes, which stay to be read; fewer only if there are no more."""
        while len(self._ahead) < count and (more := self._taken(count - len(self._ahead))):
            self._ahead += more
        return self._ahead

    def _taken(self, count: int) -> bytes:
        found = self._take(count)
        if not isinstance(found, bytes):
            raise OSError(f"gives {type(found).__name__}, should be a blocking stream of bytes (mode 'rb')")
        return found

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        found = self._ahead or self._taken(len(buffer))
        count = min(len(found), len(buffer))
        buffer[:count], self._ahead = found[:count], found[count:]
        return count

    def share(self) -> float | None:
        size = os.fstat(self._own).st_size if self._own >= 0 else 0
        return min(1.0, os.lseek(self._own, 0, os.SEEK_CUR) / size) if size else None

    def close(self) -> None:
        if self._own >= 0:
            os.close(self._own)
            self._own = -1
        super().close()
