"""JSON out of a file, a pipe or a stream: an object a line, or one that runs over several lines.

Stricter than `json`: a key that comes twice, NaN and Infinity are refused; fractions are read as `Decimal`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any, NoReturn

from costlab.prices.usage.fields import UsageFault, shown
from costlab.traces.lines import LONGEST_ROW_BYTES, Lines

_SPACE = " \t\n\r"


class Document:
    """An object as it was read.

    Attributes:
        values: what it holds.
        line: where it begins.
        fault: what is wrong instead, if it could not be read.
    """

    def __init__(self, line: int, text: str, values: dict[str, Any] | None, fault: UsageFault | None = None) -> None:
        self.line, self.values, self.fault, self._text = line, values or {}, fault, text

    def line_of(self, name: str) -> int:
        """Return the line of a field: its own in an object that runs over several lines."""
        at = self._text.find(json.dumps(name.rpartition(".")[2].partition("[")[0])) if name else -1
        return self.line + self._text.count("\n", 0, max(at, 0))


def documents(lines: Lines) -> Iterator[Document]:
    """Yield the objects of a file, good and bad ones.

    An object may run over several lines; then the rest of the file is read at once, up to the length of the longest
    row.

    Raises:
        TraceError: the file cannot be read on.
    """
    for line, raw in lines:
        try:
            text = raw.decode()
        except UnicodeDecodeError as error:
            yield Document(line, "", None, UsageFault("", f"byte 0x{raw[error.start]:02x} is not UTF-8"))
            continue
        try:
            yield _document(line, text, *_parsed(text, 0))
        except _Unfinished:
            yield from _several(line, text, lines)
        except UsageFault as fault:
            yield Document(line, text, None, fault)


class _Unfinished(Exception):
    """The text ends before the object does."""


def _document(line: int, text: str, value: object, end: int) -> Document:
    rest = text[end:].strip(_SPACE)
    if rest:
        behind = "stands behind the object; a record is an object on a line of its own"
        raise UsageFault("", f"{shown(rest)} {behind}", f"something {behind}")
    if not isinstance(value, dict):
        hint = "; write each of its objects on a line of its own (jq -c '.[]')" if isinstance(value, list) else ""
        raise UsageFault("", f"{_kind(value)}, should be an object{hint}")
    return Document(line, text, value)


def _several(line: int, text: str, lines: Lines) -> Iterator[Document]:
    """Yield the objects of what is left of the file, in which one runs over several lines."""
    parts, size, last = [text], len(text), line
    for number, raw in lines:
        size += len(raw)
        if size > LONGEST_ROW_BYTES:
            most = f"more than {LONGEST_ROW_BYTES:,} bytes"
            yield Document(line, "", None, UsageFault("", f"{most} without an object on a line of its own"))
            return
        parts.append("\n" * (number - last - 1) + raw.decode(errors="replace"))
        last = number
    whole, start = "".join(parts), 0
    while start < len(whole):
        begin = line + whole.count("\n", 0, start)
        try:
            value, end = _parsed(whole, start)
            yield _document(begin, whole[start:end], value, end - start)
        except _Unfinished:
            yield Document(begin, "", None, UsageFault("", "not JSON: it ends before the object does"))
            return
        except UsageFault as fault:
            yield Document(begin, "", None, fault)
            return
        while end < len(whole) and whole[end] in _SPACE:
            end += 1
        start = end


def _parsed(text: str, start: int) -> tuple[Any, int]:
    """Return the value that begins at a place, and where it ends."""
    while start < len(text) and text[start] in _SPACE:
        start += 1
    try:
        return _DECODER.raw_decode(text, start)
    except json.JSONDecodeError as error:
        if text[start : start + 1] in ("{", "[") and error.pos >= len(text.rstrip(_SPACE)):
            raise _Unfinished from None
        raise UsageFault("", f"not JSON: {error.msg} (column {error.colno})") from None
    except UsageFault:
        raise
    except RecursionError:
        raise UsageFault("", "not a usage record: nested too deep", "nested too deep") from None
    except ValueError as error:  # a whole number of thousands of digits
        raise UsageFault("", f"not a usage record: {error}", str(error)) from None


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        problem = "comes twice in one object"
        raise UsageFault(twice, f"the key {problem}", f"a key {problem}")
    return found


def _constant(name: str) -> NoReturn:
    raise UsageFault("", f"{name} is not JSON: a number should be finite")


_DECODER = json.JSONDecoder(object_pairs_hook=_pairs, parse_constant=_constant, parse_float=Decimal)


def _kind(value: object) -> str:
    names = {list: "a list", str: "text", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")
