"""Traces: what a server was asked, as requests in order of time, read row by row.

A trace names no words. It names blocks: the prompt is cut every `block_tokens` tokens, and a block's id stands for its
tokens and all before them, so that two prompts share a prefix as far as their ids agree. Four formats are read:

- `mooncake`: JSON lines with timestamp (ms), input_length, output_length, hash_ids of 512-token blocks;
- `bailian`: JSON lines with chat_id, parent_chat_id, timestamp (s), lengths, type, turn, hash_ids of 16-token blocks;
- `azure`: CSV with TIMESTAMP, ContextTokens, GeneratedTokens: lengths only, so nothing in it can hit;
- `csv`: CSV with time_s, input_tokens, output_tokens, blocks (ids with a space between them; may be empty) and, if
  you like, session.

A row that does not fit is an error that names file, line and column, or is skipped and counted.
"""

from __future__ import annotations

import csv
import gzip
import json
import math
import os
import tempfile
import zlib
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, ClassVar, Literal, NoReturn, Protocol

#: A longer row is not read into memory but refused: a prompt of 16 million tokens in 16-token blocks stays below it.
LONGEST_ROW_BYTES = 1 << 24
#: Bailian names each chat's parent only; this many of the latest chats are remembered to find where a session began.
CHATS_REMEMBERED = 1 << 17
_MESSAGES_KEPT = 5
_IDS = "whole numbers of 64 bits"


class TraceError(ValueError):
    """A trace that cannot be read, with the place of the fault."""


@dataclass(frozen=True, slots=True)
class Request:
    """One call: when it came, how long prompt and answer are, and the ids of the prompt's blocks in order.

    The last block may be partial. `blocks` is empty where the trace carries no ids; `session` names the conversation
    that the call belongs to, where the trace does.
    """

    time_s: float
    input_tokens: int
    output_tokens: int
    blocks: tuple[int, ...]
    session: int | None = None


@dataclass
class Skipped:
    """How many rows were skipped in the latest pass, and why the first few were."""

    count: int = 0
    messages: list[str] = field(default_factory=list)

    def note(self, message: str) -> None:
        """Count one more row. Chapter: cache."""
        self.count += 1
        if len(self.messages) < _MESSAGES_KEPT:
            self.messages.append(message)

    def clear(self) -> None:
        """Start a new pass. Chapter: cache."""
        self.count = 0
        self.messages.clear()


@dataclass(frozen=True)
class Trace:
    """Requests in order of time. Each iteration is a new pass; one over a file holds one row at a time.

    Args:
        requests: what to iterate over.
        block_tokens: tokens of one block; None where the trace carries no block ids.
        name: of the file or generator, for messages.
        format: one of `FORMATS`, or "generated".
        skipped: counts the bad rows of the latest pass.

    Chapter: cache
    """

    requests: Iterable[Request]
    block_tokens: int | None = 512
    name: str = "trace"
    format: str = "generated"
    skipped: Skipped = field(default_factory=Skipped, compare=False)

    def __iter__(self) -> Iterator[Request]:
        return iter(self.requests)

    @property
    def is_stream(self) -> bool:
        """Whether there can be one pass only."""
        return isinstance(self.requests, Iterator) or (
            isinstance(self.requests, _File) and not isinstance(self.requests.path, str)
        )

    def share_read(self) -> float | None:
        """Return how much of the file the running pass has read, 0 to 1; None where its size is not known."""
        return self.requests.share_read() if isinstance(self.requests, _File) else None


def read(
    path: str | os.PathLike[str] | IO[bytes],
    format: str = "auto",
    errors: Literal["raise", "skip"] = "raise",
    block_tokens: int | None = None,
) -> Trace:
    """Open a trace for reading row by row; `.gz` files are unpacked on the way.

    Args:
        path: a file, or an open binary stream, which can be iterated over once.
        format: one of `FORMATS`; "auto" guesses from name and first row (a stream is taken for `mooncake`).
        errors: "raise" stops at the first bad row, "skip" leaves bad rows out and counts them in `Trace.skipped`.
        block_tokens: tokens of one block where they differ from the format's own (512; 16 for `bailian`).

    Raises:
        TraceError: the file cannot be read, is empty or of no known format; while iterating, a bad row.
        ValueError: an unknown format or way with errors, or a block below one token.

    Source: kvcache-ai/Mooncake, alibaba-edu/qwen-bailian-usagetraces-anon, Azure/AzurePublicDataset. Chapter: cache
    """
    if errors not in ("raise", "skip"):
        raise ValueError(f"errors = {errors!r} should be 'raise' or 'skip'")
    if block_tokens is not None and block_tokens < 1:
        raise ValueError(f"block_tokens = {block_tokens} should be at least 1")
    if format != "auto" and format not in FORMATS:
        raise ValueError(f"unknown trace format {format!r}; known: auto, {', '.join(FORMATS)}")
    source = _File(path if _is_stream(path) else os.fspath(path), format, errors, block_tokens)  # type: ignore[arg-type]
    if format == "auto":
        source.format = source.guess()
    tokens = FORMATS[source.format].block_tokens if block_tokens is None else block_tokens
    return Trace(source, tokens if source.format != "azure" else None, source.name, source.format, source.skipped)


def write(requests: Iterable[Request], path: str | os.PathLike[str], block_tokens: int = 512) -> int:
    """Write requests as Mooncake JSON lines and return how many; the file appears whole or not at all.

    Args:
        requests: in order of time, each with the ids of all its blocks; sessions have no place in the format.
        path: of the file; `.gz` at its end packs it.
        block_tokens: tokens of one block; the format's own are 512.

    Raises:
        ValueError: a request without its block ids, or before the one ahead of it.
        OSError: the folder cannot be written to, or is full.

    Chapter: cache
    """
    count, before = 0, -math.inf
    with replacing(Path(path)) as out:
        for count, request in enumerate(requests, 1):
            if len(request.blocks) != -(-request.input_tokens // block_tokens) or request.time_s < before:
                raise ValueError(
                    f"request {count}: {request.input_tokens} tokens with {len(request.blocks)} blocks of "
                    f"{block_tokens} at {request.time_s} s after {before} s does not make a Mooncake row"
                )
            before = request.time_s
            out.write(_mooncake_row(request))
    return count


def _mooncake_row(request: Request) -> bytes:
    milliseconds = round(request.time_s * 1e3, 6)
    row = {
        "timestamp": int(milliseconds) if milliseconds.is_integer() else milliseconds,
        "input_length": request.input_tokens,
        "output_length": request.output_tokens,
        "hash_ids": list(request.blocks),
    }
    return json.dumps(row).encode() + b"\n"


@contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """Give a file that takes the place of `path` once all is written, and vanishes if anything fails.

    Args:
        path: of the file; one that ends in .gz is packed.

    Raises:
        OSError: the folder cannot be written to.

    Chapter: cache
    """
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as raw:
            if path.suffix == ".gz":
                with gzip.GzipFile(fileobj=raw, mode="wb", filename="", mtime=0) as packed:
                    yield packed  # type: ignore[misc]
            else:
                yield raw
            raw.flush()
            os.fsync(raw.fileno())
        os.chmod(name, 0o666 & ~_umask())  # mkstemp's 0600 would shut out whom the folder lets in
        os.replace(name, path)
    except BaseException:  # Ctrl-C too: no half-written file stays behind
        Path(name).unlink(missing_ok=True)
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


# --- a file, row by row ----------------------------------------------------------------------------------------


def _is_stream(path: object) -> bool:
    return hasattr(path, "readline")


@dataclass
class _File:
    """The rows of a file as requests; picklable, so that a sweep's workers can each read it."""

    path: str | IO[bytes]
    format: str
    errors: str
    block_tokens: int | None
    skipped: Skipped = field(default_factory=Skipped)
    _raw: IO[bytes] | None = None
    _spent: bool = False

    @property
    def name(self) -> str:
        return self.path if isinstance(self.path, str) else str(getattr(self.path, "name", "stream"))

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_raw": None}

    def __iter__(self) -> Iterator[Request]:
        self.skipped.clear()
        maker = FORMATS[self.format]
        parser = maker(maker.block_tokens if self.block_tokens is None else self.block_tokens)
        with self._open() as source:
            yield from self._requests(parser, self._lines(source))

    def _requests(self, parser: _Parser, lines: Iterator[tuple[int, bytes]]) -> Iterator[Request]:
        line, good, before, header = 0, 0, -math.inf, True
        for line, raw in lines:
            try:
                text = _decoded(raw)
                if header:
                    header = False
                    if parser.takes_header(text):
                        continue
                request = parser.request(text)
                if request.time_s < before:
                    parser.wrong(text, parser.time, request.time_s, f"{before:.9g} s or later, time goes back")
            except _Fault as fault:
                self._bad(line, fault)
            else:
                good, before = good + 1, request.time_s
                yield request
        if not good:
            first = f"; first: {self.skipped.messages[0]}" if self.skipped.messages else ""
            raise TraceError(f"{self.name}: no request in {line:,} lines{first}")

    def _bad(self, line: int, fault: _Fault) -> None:
        message = f"{self.name}, line {line:,}, column {fault.column}: {fault.message}"
        if self.errors == "raise" or fault.fatal:
            raise TraceError(message)
        self.skipped.note(message)

    def _lines(self, source: IO[bytes]) -> Iterator[tuple[int, bytes]]:
        """Yield the number and bytes of each line that is not blank."""
        number = 0
        while True:
            try:
                raw = source.readline(LONGEST_ROW_BYTES)
            except (OSError, EOFError, zlib.error) as error:
                raise TraceError(f"{self.name}, after line {number:,}: cannot be read on: {error}") from None
            if not raw:
                return
            number += 1
            if len(raw) == LONGEST_ROW_BYTES and not raw.endswith(b"\n"):
                raise TraceError(
                    f"{self.name}, line {number:,}: longer than {LONGEST_ROW_BYTES:,} bytes, not a trace row"
                )
            if number == 1:
                raw = self._without_mark(raw)
            if raw.strip():
                yield number, raw

    def _without_mark(self, raw: bytes) -> bytes:
        if raw[:2] in (b"\xff\xfe", b"\xfe\xff"):
            raise TraceError(f"{self.name}, line 1, column 1: the file is UTF-16; save it as UTF-8")
        return raw.removeprefix(b"\xef\xbb\xbf")

    @contextmanager
    def _open(self) -> Iterator[IO[bytes]]:
        if not isinstance(self.path, str):
            if self._spent:
                raise TraceError(f"{self.name}: a stream can be read once; save it to a file to read it again")
            self._spent = True
            yield self.path
            return
        try:
            raw = open(self.path, "rb")  # noqa: SIM115 - closed below
        except OSError as error:
            raise TraceError(f"{self.path}: cannot be read: {error.strerror}") from None
        with raw:
            self._raw = raw
            try:
                yield gzip.GzipFile(fileobj=raw) if self.path.endswith(".gz") else raw  # type: ignore[misc]
            finally:
                self._raw = None

    def share_read(self) -> float | None:
        """Return the share of the file's bytes that the pass has taken."""
        if self._raw is None:
            return None
        size = os.fstat(self._raw.fileno()).st_size
        return min(1.0, self._raw.tell() / size) if size else None

    def guess(self) -> str:
        """Return the format that the first row, or failing that the name, speaks for."""
        if not isinstance(self.path, str):
            return "mooncake"
        with self._open() as source:
            first = next((raw for _, raw in self._lines(source)), None)
        if first is None:
            raise TraceError(f"{self.name}: the file is empty")
        found = _format_of_row(first.decode(errors="replace")) or _format_of_name(self.name)
        if found is None:
            shown = first[:60].decode(errors="replace").strip()
            raise TraceError(f"{self.name}, line 1: {shown!r} is of no known format; give one of {', '.join(FORMATS)}")
        return found


def _format_of_row(text: str) -> str | None:
    if text.lstrip().startswith("{"):
        if '"chat_id"' in text:
            return "bailian"
        return "mooncake" if '"hash_ids"' in text else None
    heads = {head.strip().strip('"') for head in text.split(",")}
    return next((name for name in ("azure", "csv") if heads >= set(FORMATS[name].columns)), None)


def _format_of_name(name: str) -> str | None:
    base = Path(name.removesuffix(".gz")).name.lower()
    if base.endswith(".csv"):
        return "azure" if "azure" in base else "csv"
    if base.endswith((".jsonl", ".json")):
        return "bailian" if base.startswith("qwen") or "bailian" in base else "mooncake"
    return None


# --- a row -----------------------------------------------------------------------------------------------------


class _Fault(Exception):
    """What is wrong with a row, and where in it."""

    def __init__(self, column: str | int, message: str, fatal: bool = False) -> None:
        super().__init__(message)
        self.column, self.message, self.fatal = str(column), message, fatal


def _decoded(raw: bytes) -> str:
    try:
        return raw.decode().rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise _Fault(error.start + 1, f"byte 0x{raw[error.start]:02x} is not UTF-8") from None


class _Parser(Protocol):
    time: ClassVar[str]

    def takes_header(self, text: str) -> bool: ...

    def request(self, text: str) -> Request: ...

    def wrong(self, text: str, name: str, value: object, right: str) -> NoReturn: ...


class _Json:
    """What both kinds of JSON lines share."""

    block_tokens: int = 512
    columns: ClassVar[Sequence[str]] = ("timestamp", "input_length", "output_length", "hash_ids")
    time: ClassVar[str] = "timestamp"
    time_units_per_s: ClassVar[float] = 1e3

    def __init__(self, block_tokens: int) -> None:
        self.block_tokens = block_tokens

    def takes_header(self, text: str) -> bool:
        return False

    def request(self, text: str) -> Request:
        row = self._row(text)
        tokens = self._whole(text, row, "input_length")
        return Request(
            self._seconds(text, row),
            tokens,
            self._whole(text, row, "output_length"),
            self._blocks(text, row, tokens),
            self._session(text, row),
        )

    def _session(self, text: str, row: Mapping[str, Any]) -> int | None:
        return None

    def _row(self, text: str) -> dict[str, Any]:
        try:
            row = json.loads(text)
        except json.JSONDecodeError as error:
            raise _Fault(error.colno, f"not JSON: {error.msg}") from None
        except (ValueError, RecursionError) as error:
            raise _Fault(1, f"not a row of a trace: {error}") from None
        if not isinstance(row, dict):
            raise _Fault(1, f"a {type(row).__name__}, should be an object with {', '.join(self.columns)}")
        for name in self.columns:
            if name not in row:
                raise _Fault(1, f"no {name!r}; a row has {', '.join(self.columns)}")
        return row

    def _seconds(self, text: str, row: Mapping[str, Any]) -> float:
        value = row["timestamp"]
        if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value < math.inf:
            self.wrong(text, "timestamp", value, "a number of at least 0")
        return value / self.time_units_per_s

    def _whole(self, text: str, row: Mapping[str, Any], name: str, least: int = 0) -> int:
        value = row[name]
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            self.wrong(text, name, value, f"a whole number of at least {least}")
        return value

    def _blocks(self, text: str, row: Mapping[str, Any], tokens: int) -> tuple[int, ...]:
        ids = row["hash_ids"]
        if not isinstance(ids, list) or not _are_ids(ids):
            self.wrong(text, "hash_ids", ids, f"a list of {_IDS}")
        if problem := _count_problem(len(ids), tokens, self.block_tokens):
            raise _Fault(self._place(text, "hash_ids"), problem)
        return tuple(ids)

    def wrong(self, text: str, name: str, value: object, right: str) -> NoReturn:
        raise _Fault(self._place(text, name), f"{_shown(value)} should be {right}")

    @staticmethod
    def _place(text: str, name: str) -> str:
        return f"{text.find(json.dumps(name)) + 1} ({name})"


class _Mooncake(_Json):
    pass


class _Bailian(_Json):
    block_tokens = 16
    columns = ("chat_id", "parent_chat_id", "timestamp", "input_length", "output_length", "hash_ids")
    time_units_per_s = 1.0

    def __init__(self, block_tokens: int) -> None:
        super().__init__(block_tokens)
        self._root: OrderedDict[int, int] = OrderedDict()

    def _session(self, text: str, row: Mapping[str, Any]) -> int:
        """Return the chat that the conversation began with, as far as the latest chats tell."""
        chat = self._whole(text, row, "chat_id")
        parent = self._whole(text, row, "parent_chat_id", -1)
        self._root[chat] = chat if parent == -1 else self._root.get(parent, parent)
        if len(self._root) > CHATS_REMEMBERED:
            self._root.popitem(last=False)
        return self._root[chat]


class _Csv:
    """What both kinds of CSV share: columns found by the names in the first row, in any order, others let be."""

    block_tokens: int = 512
    columns: ClassVar[Sequence[str]] = ("time_s", "input_tokens", "output_tokens", "blocks")
    time: ClassVar[str] = "time_s"

    def __init__(self, block_tokens: int) -> None:
        self.block_tokens = block_tokens
        self._at: dict[str, int] = {}
        self._width = 0

    def takes_header(self, text: str) -> bool:
        heads = [head.strip() for head in _cells(text)]
        for name in self.columns:
            if heads.count(name) != 1:
                raise _Fault(1, f"{_shown(text)}: the first row should name each of {','.join(self.columns)}", True)
        self._at = {name: heads.index(name) for name in heads}
        self._width = len(heads)
        return True

    def _row(self, text: str) -> list[str]:
        row = _cells(text)
        if len(row) != self._width:
            raise _Fault(min(len(row), self._width) + 1, f"{len(row)} cells, the first row has {self._width}")
        return row

    def _whole(self, row: Sequence[str], name: str, least: int = 0) -> int:
        text = row[self._at[name]].strip()
        if not (text.isascii() and text.isdigit() and len(text) < 16 and int(text) >= least):
            self.wrong(text, name, text, f"a whole number of at least {least}")
        return int(text)

    def wrong(self, text: str, name: str, value: object, right: str) -> NoReturn:
        raise _Fault(self._place(name), f"{_shown(value)} should be {right}")

    def _place(self, name: str) -> str:
        return f"{self._at[name] + 1} ({name})"


class _Generic(_Csv):
    def request(self, text: str) -> Request:
        row = self._row(text)
        tokens = self._whole(row, "input_tokens")
        session = "session" in self._at and row[self._at["session"]].strip() != ""
        return Request(
            self._seconds(row),
            tokens,
            self._whole(row, "output_tokens"),
            self._blocks(row, tokens),
            self._whole(row, "session") if session else None,
        )

    def _seconds(self, row: Sequence[str]) -> float:
        text = row[self._at["time_s"]]
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not 0 <= value < math.inf:
            self.wrong(text, "time_s", text, "a number of seconds of at least 0")
        return value

    def _blocks(self, row: Sequence[str], tokens: int) -> tuple[int, ...]:
        text = row[self._at["blocks"]]
        try:
            ids = tuple(map(int, text.split()))
        except ValueError:
            ids = (math.inf,)  # type: ignore[assignment] # no id
        if not _are_ids(ids):
            self.wrong(text, "blocks", text, f"{_IDS} with a space between them")
        if problem := ids and _count_problem(len(ids), tokens, self.block_tokens):
            raise _Fault(self._place("blocks"), problem)
        return ids


class _Azure(_Csv):
    columns = ("TIMESTAMP", "ContextTokens", "GeneratedTokens")
    time = "TIMESTAMP"

    def __init__(self, block_tokens: int) -> None:
        super().__init__(block_tokens)
        self._start: datetime | None = None

    def request(self, text: str) -> Request:
        row = self._row(text)
        tokens, output = self._whole(row, "ContextTokens"), self._whole(row, "GeneratedTokens")
        return Request(self._seconds(row[self._at["TIMESTAMP"]].strip()), tokens, output, ())

    def _seconds(self, text: str) -> float:
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            self.wrong(text, "TIMESTAMP", text, "a date and time such as 2023-11-16 18:15:46.6805900")
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        self._start = self._start or moment
        return (moment - self._start).total_seconds()


def _cells(text: str) -> list[str]:
    try:
        return next(csv.reader([text], strict=True), [])
    except csv.Error as error:
        raise _Fault(1, f"not CSV: {error}") from None


def _are_ids(ids: Sequence[object]) -> bool:
    return all(type(each) is int for each in ids) and (not ids or (min(ids) >= -(2**63) and max(ids) < 2**64))  # type: ignore[type-var, operator]


def _count_problem(count: int, tokens: int, block_tokens: int) -> str | None:
    wanted = -(-tokens // block_tokens)
    if count == wanted:
        return None
    return f"{count} ids for {tokens:,} tokens, should be {wanted} blocks of {block_tokens}"


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


FORMATS: Mapping[str, Any] = {"mooncake": _Mooncake, "bailian": _Bailian, "azure": _Azure, "csv": _Generic}
