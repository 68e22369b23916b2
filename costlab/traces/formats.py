"""The formats: how a row of each becomes a request, and what is wrong with one that does not.

A format is a class. Its object reads the rows of one pass in order, for it remembers what rows refer back to: the
names of the columns, the first moment, the turns of a session.
"""

from __future__ import annotations

import csv
import json
import math
from abc import ABC, abstractmethod
from array import array
from collections import OrderedDict
from collections.abc import Hashable, Mapping, Sequence
from datetime import UTC, datetime
from hashlib import blake2b
from pathlib import Path
from typing import Any, ClassVar, NoReturn, TypeVar

from costlab.traces.chains import chained
from costlab.traces.requests import Found, Request

#: What refers back to an earlier row (a chat to its parent, a turn to the one before) finds it among so many.
CHATS_REMEMBERED = 1 << 17
#: A larger number of tokens is a fault of the file.
MOST_TOKENS = 10**15
_MOST_ID = 2**64 - 1
_WHOLE = "a whole number of at least 0"
_IDS = "whole numbers of 64 bits"


class Fault(Exception):
    """What is wrong with a row, and where in it. A fatal one spoils the rows that follow too."""

    def __init__(self, column: str | int, message: str, fatal: bool = False) -> None:
        super().__init__(message)
        self.column, self.message, self.fatal = str(column), message, fatal


class TraceFormat(ABC):
    """What all formats share.

    Args:
        block_tokens: tokens of one block; None: the format's own.
        chain: make ids that name a block's tokens into ids that name the prefix up to its end.
        found: where turns without a time are counted.
    """

    block_tokens: int | None = 512
    columns: ClassVar[Sequence[str]]
    time: ClassVar[str]
    ids: ClassVar[str] = ""
    unit: ClassVar[str] = ""

    def __init__(self, block_tokens: int | None = None, chain: bool = False, found: Found | None = None) -> None:
        self.block_tokens = self.block_tokens if block_tokens is None else block_tokens
        self.found = Found() if found is None else found
        self.when: object = None  # the latest row's time, as it stands in the file
        self._chain = chain
        self._latest: OrderedDict[int, Any] = OrderedDict()  # what later rows refer back to, by session or chat
        self._at: dict[str, int] = {}  # where a CSV has each column
        self._start: datetime | None = None

    def takes_header(self, text: str) -> bool:
        """Whether the first row is no request but names the columns."""
        return False

    @abstractmethod
    def request(self, text: str) -> Request:
        """Return the request that a row stands for.

        Raises:
            Fault: a row that does not fit.
        """

    def wrong(self, text: str, name: str, value: object, right: str) -> NoReturn:
        """Refuse the value of a column."""
        raise Fault(self._place(text, name), f"{_shown(value)} should be {right}")

    def back(self, text: str, before: object) -> NoReturn:
        """Refuse a row that came before the one ahead of it."""
        right = f"{before}{self.unit} or later: time goes back (--sort, sort=True puts rows in order)"
        raise Fault(self._place(text, self.time), f"{self.when}{self.unit} should be {right}")

    @abstractmethod
    def _place(self, text: str, name: str) -> str:
        """Say where in the row a column stands."""

    def _prompt(self, text: str, ids: list[int] | tuple[int, ...], tokens: int) -> tuple[int, ...]:
        """Return a prompt's ids, as many as its tokens want."""
        wanted = -(-tokens // (self.block_tokens or 1))
        if len(ids) != wanted:
            problem = f"{len(ids)} ids for {tokens:,} tokens, should be {wanted} blocks of {self.block_tokens}"
            raise Fault(self._place(text, self.ids), problem)
        return chained(ids) if self._chain else tuple(ids)

    def twice(self, text: str, block: int) -> NoReturn:
        """Refuse a prompt with an id twice."""
        problem = f"id {block} comes twice in one prompt: it names tokens, not the whole prefix (--chain, chain=True)"
        raise Fault(self._place(text, self.ids), problem)


# --- JSON lines ------------------------------------------------------------------------------------------------

_ALIASES = {
    "timestamp": "created_time",
    "input_length": "input_tokens",
    "output_length": "output_tokens",
    "delay": "delay_ms",
}


class _Json(TraceFormat):
    """Rows that are JSON objects; `hash_ids` may be missing."""

    columns: ClassVar[Sequence[str]] = ("timestamp", "input_length", "output_length")
    time = "timestamp"
    ids = "hash_ids"
    units_per_s: ClassVar[float] = 1e3

    def request(self, text: str) -> Request:
        row = self._row(text)
        session = self._session(text, row)
        tokens = self._whole(text, row, "input_length")
        output = self._whole(text, row, "output_length")
        time_s = self._time(text, row, session) / self.units_per_s
        return Request(time_s, tokens, output, self._blocks(text, row, tokens), session)

    def _row(self, text: str) -> dict[str, Any]:
        try:
            row = _parsed(text)
        except json.JSONDecodeError as error:
            hint = "; a row is an object of its own, not part of an array" if text.strip() == "[" else ""
            raise Fault(error.colno, f"not JSON: {error.msg}{hint}") from None
        except (ValueError, RecursionError) as error:
            raise Fault(1, f"not a row of a trace: {error}") from None
        if not isinstance(row, dict):
            raise Fault(1, f"a {type(row).__name__}, should be an object with {', '.join(self.columns)}, hash_ids")
        return row

    def _session(self, text: str, row: Mapping[str, Any]) -> int | None:
        raise NotImplementedError

    def _time(self, text: str, row: Mapping[str, Any], session: int | None) -> float:
        self.when = time = self._number(text, row, "timestamp")
        return time

    def _key(self, row: Mapping[str, Any], name: str) -> str:
        """Return the name under which the row has a column."""
        alias = name if name in row else _ALIASES.get(name, name)
        if alias not in row:
            raise Fault(1, f"no {name!r}; a row has {', '.join(self.columns)}, and hash_ids if you like")
        return alias

    def _whole(self, text: str, row: Mapping[str, Any], name: str, least: int = 0, most: int = MOST_TOKENS) -> int:
        name = name if name in row else self._key(row, name)
        value = row[name]
        if type(value) is float and value.is_integer():  # 512.0, as tables with holes are written
            value = int(value)
        if type(value) is not int or not least <= value <= most:
            self.wrong(text, name, value, _WHOLE.replace("0", str(least)))
        return value

    def _number(self, text: str, row: Mapping[str, Any], name: str) -> int | float:
        name = name if name in row else self._key(row, name)
        value: int | float = row[name]
        if type(value) not in (int, float) or not 0 <= value < math.inf:
            self.wrong(text, name, value, "a number of at least 0")
        return value

    def _blocks(self, text: str, row: Mapping[str, Any], tokens: int) -> tuple[int, ...]:
        ids = row.get("hash_ids")
        if ids is None:
            return ()
        fit = isinstance(ids, list) and _are_ids(ids)
        if not fit or (("true" in text or "false" in text) and bool in map(type, ids)):
            self.wrong(text, "hash_ids", ids, f"a list of {_IDS}")
        return self._prompt(text, ids, tokens)

    def _place(self, text: str, name: str) -> str:
        at = max(text.find(json.dumps(name)), text.find(json.dumps(_ALIASES.get(name))), 0)
        return f"{at + 1} ({name})"


class _Mooncake(_Json):
    """Times in ms. A later turn of a session may have a delay after the turn before instead of a time."""

    unit = " ms"

    def _session(self, text: str, row: Mapping[str, Any]) -> int | None:
        value = row.get("session_id")
        if value is None:
            return None
        if type(value) is not int and not isinstance(value, str):
            self.wrong(text, "session_id", value, "a name or a whole number")
        return _session_number(str(value))

    def _time(self, text: str, row: Mapping[str, Any], session: int | None) -> float:
        delay = None if row.get("timestamp") is not None else _delay(row)
        time = self._after_turn(text, row, delay, session) if delay else super()._time(text, row, session)
        if session is not None:
            _remember(self._latest, session, time)
        return time

    def _after_turn(self, text: str, row: Mapping[str, Any], delay: str, session: int | None) -> float:
        before = None if session is None else self._latest.get(session)
        if before is None:
            raise Fault(self._place(text, delay), "a delay, but no earlier turn of its session_id; give a timestamp")
        time: float = before + self._number(text, row, delay)
        if time == math.inf:
            self.wrong(text, delay, row[delay], "a number of ms that leads to one")
        self.when = f"{time:.15g}"
        self.found.delayed += 1
        return time


class _Bailian(_Json):
    """Times in s. A chat names its parent."""

    block_tokens = 16
    columns = ("chat_id", "parent_chat_id", "timestamp", "input_length", "output_length")
    unit = " s"
    units_per_s = 1.0

    def _session(self, text: str, row: Mapping[str, Any]) -> int:
        """Return the chat that the conversation began with, as far as the latest chats tell."""
        chat = self._whole(text, row, "chat_id", most=_MOST_ID)
        parent = self._whole(text, row, "parent_chat_id", -1, _MOST_ID)
        root = chat if parent == -1 else self._latest.get(parent, parent)
        _remember(self._latest, chat, root)
        return root


# --- CSV -------------------------------------------------------------------------------------------------------


class _Csv(TraceFormat):
    """Rows of CSV: columns found by the names in the first row, in any order, others let be."""

    time: ClassVar[str] = "time_s"
    lengths: ClassVar[tuple[str, str]] = ("input_tokens", "output_tokens")
    session: ClassVar[str] = ""
    _width = 0

    def takes_header(self, text: str) -> bool:
        heads = [head.strip() for head in _cells(text)]
        twice = any(heads.count(name) > 1 for name in (self.ids, self.session) if name)
        if twice or any(heads.count(name) != 1 for name in self.columns):
            raise Fault(1, f"{_shown(text)}: the first row should name each of {','.join(self.columns)} once", True)
        self._at = {name: heads.index(name) for name in heads}
        self._width = len(heads)  # not that of _at: others may be named alike
        return True

    def request(self, text: str) -> Request:
        row = _cells(text)
        if len(row) != self._width:
            raise Fault(min(len(row), self._width) + 1, f"{len(row)} cells, the first row has {self._width}")
        tokens, output = (self._whole(text, name, row[self._at[name]]) for name in self.lengths)
        self.when = row[self._at[self.time]].strip()
        time_s = self._seconds(text, self.when)
        return Request(time_s, tokens, output, self._blocks(text, row, tokens), self._session(text, row))

    def _seconds(self, text: str, cell: str) -> float:
        try:
            value = float(cell)
        except ValueError:
            value = math.nan
        if not 0 <= value < math.inf:
            self.wrong(text, self.time, cell, "a number of seconds of at least 0")
        return value

    def _whole(self, text: str, name: str, cell: str) -> int:
        digits, _, zeros = cell.strip().partition(".")  # 512.0, as tables with holes are written
        whole = digits.isascii() and digits.isdigit() and not zeros.strip("0") and len(digits) < 17
        if not (whole and int(digits) <= MOST_TOKENS):
            self.wrong(text, name, cell.strip(), _WHOLE)
        return int(digits)

    def _optional(self, row: Sequence[str], name: str) -> str:
        return row[self._at[name]].strip() if name in self._at else ""

    def _blocks(self, text: str, row: Sequence[str], tokens: int) -> tuple[int, ...]:
        cell = self._optional(row, self.ids)
        if not cell:
            return ()
        try:
            ids = tuple(map(int, cell.split()))
        except ValueError:
            ids = ()
        if not ids or not _are_ids(ids):
            self.wrong(text, self.ids, cell, f"{_IDS} with a space between them")
        return self._prompt(text, ids, tokens)

    def _session(self, text: str, row: Sequence[str]) -> int | None:
        cell = self._optional(row, self.session)
        return _session_number(cell) if cell else None

    def _place(self, text: str, name: str) -> str:
        return f"{self._at[name] + 1} ({name})"


class _Generic(_Csv):
    columns = ("time_s", "input_tokens", "output_tokens")
    unit = " s"
    ids, session = "blocks", "session"


class _Vidur(_Csv):
    block_tokens = None
    columns = ("arrived_at", "num_prefill_tokens", "num_decode_tokens")
    time = "arrived_at"
    lengths = ("num_prefill_tokens", "num_decode_tokens")
    unit = " s"


class _BurstGpt(_Csv):
    block_tokens = None
    columns = ("Timestamp", "Request tokens", "Response tokens")
    time = "Timestamp"
    lengths = ("Request tokens", "Response tokens")
    session = "Session ID"
    unit = " s"


class _Azure(_Csv):
    block_tokens = None
    columns = ("TIMESTAMP", "ContextTokens", "GeneratedTokens")
    time = "TIMESTAMP"
    lengths = ("ContextTokens", "GeneratedTokens")

    def _seconds(self, text: str, cell: str) -> float:
        try:
            moment = datetime.fromisoformat(cell)
        except ValueError:
            self.wrong(text, self.time, cell, "a date and time such as 2023-11-16 18:15:46.6805900")
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        self._start = self._start or moment
        return (moment - self._start).total_seconds()


FORMATS: Mapping[str, type[TraceFormat]] = {
    "mooncake": _Mooncake,
    "bailian": _Bailian,
    "azure": _Azure,
    "burstgpt": _BurstGpt,
    "vidur": _Vidur,
    "csv": _Generic,
}


# --- which format ----------------------------------------------------------------------------------------------


def of_row(text: str) -> str | None:
    """Return the format that a file's first row speaks for; None where it could be anything."""
    if text.lstrip().startswith("{"):
        if '"chat_id"' in text:
            return "bailian"
        names = ("hash_ids", "input_length", "input_tokens")
        return "mooncake" if any(f'"{name}"' in text for name in names) else None
    heads = {head.strip().strip('"') for head in text.split(",")}
    return next((name for name, kind in FORMATS.items() if issubclass(kind, _Csv) and heads >= {*kind.columns}), None)


def of_name(name: str) -> str | None:
    """Return the format that a file's name speaks for."""
    path = Path(name.lower())
    base = path.stem if path.suffix in (".gz", ".zst", ".bz2", ".xz") else path.name
    if base.endswith(".csv"):
        return next((kind for kind in ("azure", "burstgpt", "vidur") if kind in base), "csv")
    if base.endswith((".jsonl", ".json")):
        return "bailian" if base.startswith("qwen") or "bailian" in base else "mooncake"
    return None


# --- small parts -----------------------------------------------------------------------------------------------

_Name = TypeVar("_Name", bound=Hashable)
_Value = TypeVar("_Value")


def decoded(raw: bytes) -> str:
    """Return a row's text without its line end.

    Raises:
        Fault: bytes that are not UTF-8.
    """
    try:
        return raw.decode().rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise Fault(error.start + 1, f"byte 0x{raw[error.start]:02x} is not UTF-8") from None


def _delay(row: Mapping[str, Any]) -> str | None:
    """Return under which name a turn has a delay instead of a time."""
    timed = row.get("created_time") is not None
    return None if timed else next((name for name in ("delay", "delay_ms") if row.get(name) is not None), None)


def _remember(latest: OrderedDict[_Name, _Value], name: _Name, value: _Value) -> None:
    latest[name] = value
    latest.move_to_end(name)
    if len(latest) > CHATS_REMEMBERED:
        latest.popitem(last=False)


def _session_number(name: str) -> int:
    """Return a session's number; of one that has a name, a digest of it, so that names need no memory."""
    if name.isascii() and name.isdigit() and len(name) < 20:
        return int(name)
    return int.from_bytes(blake2b(name.encode(errors="backslashreplace"), digest_size=8).digest(), "little")


_decode = json.JSONDecoder().raw_decode


def _parsed(text: str) -> Any:
    """Return what json.loads would, a quarter faster where nothing stands around the value."""
    try:
        value, end = _decode(text)
    except ValueError:
        end = -1
    return value if end == len(text) else json.loads(text)


def _cells(text: str) -> list[str]:
    try:
        return next(csv.reader([text], strict=True), [])
    except csv.Error as error:
        raise Fault(1, f"not CSV: {error}") from None


def _are_ids(ids: Sequence[Any]) -> bool:
    """Whether all are whole numbers of 64 bits, with or without sign; True and False pass for 1 and 0."""
    try:
        array("Q", ids)  # the fastest way to look at each
    except OverflowError:
        return all(type(each) is int and -(2**63) <= each < 2**64 for each in ids)
    except TypeError:
        return False
    return True


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
