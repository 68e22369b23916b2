"""Turn TOML tables into frozen dataclasses, read-only all through, and say what is wrong with one that does not fit.

Chapter: prices
"""

from __future__ import annotations

import dataclasses
import functools
import re
import tomllib
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from costlab.checks import near

T = TypeVar("T")


K = TypeVar("K")


V = TypeVar("V")


class FrozenDict(dict[K, V]):
    """A dict that refuses every change; it pickles and copies, so that records travel to other processes."""

    def _refuse(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise TypeError("a record of the catalog can't be changed; dataclasses.replace makes another one")

    __setitem__ = __delitem__ = __ior__ = _refuse
    clear = pop = popitem = setdefault = update = _refuse

    def __reduce__(self) -> tuple[type[FrozenDict[K, V]], tuple[dict[K, V]]]:
        return FrozenDict, (dict(self),)


class CatalogError(ValueError):
    """A catalog file that cannot be read or does not say what it must."""


@dataclass(frozen=True)
class Place:
    """Where a table stands: the file, its dotted path, and the line of its header."""

    file: str  # name of the file
    path: tuple[str, ...]  # names of the table's header
    line: int  # of the header, from 1

    def __str__(self) -> str:
        return f"{self.file}:{self.line} [{'.'.join(self.path)}]"


@dataclass(frozen=True)
class TomlFile:
    """The parsed text of one catalog file, able to find the line of any table in it."""

    file: str  # name of the file
    text: str  # as it stands there
    data: Mapping[str, Any]  # as TOML reads it

    def place(self, *path: str | int) -> Place:
        """Return the place of a table; an integer picks the n-th `[[table]]` of that name."""
        names = tuple(p for p in path if isinstance(p, str))
        index = next((p for p in path if isinstance(p, int)), 0)
        for depth in range(len(names), 0, -1):
            if lines := _header_lines(self.text).get(names[:depth]):
                return Place(self.file, names, lines[min(index, len(lines) - 1)])
        return Place(self.file, names, 1)


_HEADER = re.compile(r"\s*\[\[?([^\]]*)\]")
_KEY = re.compile(r'"([^"]*)"|([\w-]+)')


@functools.cache
def _header_lines(text: str) -> Mapping[tuple[str, ...], list[int]]:
    """Return the lines of each table's headers, by the names in them."""
    found: dict[tuple[str, ...], list[int]] = {}
    for line, words in enumerate(text.splitlines(), 1):
        if header := _HEADER.match(words):
            names = tuple(quoted or bare for quoted, bare in _KEY.findall(header[1]))
            found.setdefault(names, []).append(line)
    return found


def read_toml(path: Path) -> TomlFile:
    """Parse a catalog file.

    Args:
        path: a TOML file.

    Raises:
        CatalogError: the file is missing or not valid TOML; the message names the file and, for bad
            TOML, the line and column.
    """
    try:
        text = path.read_text(encoding="utf-8")
        return TomlFile(path.name, text, tomllib.loads(text))
    except FileNotFoundError as error:
        raise CatalogError(f"{path}: no such catalog file") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise CatalogError(f"{path.name}: not valid TOML: {error}") from error


def decode(cls: type[T], table: Mapping[str, Any], place: Place) -> T:
    """Build a dataclass from a table, checking every key and type.

    Args:
        cls: a dataclass; its field types are the schema, fields without default are required.
        table: what TOML gave.
        place: where the table stands, for the error.

    Raises:
        CatalogError: an unknown or missing key, or a value of the wrong type or range. The message
            quotes the key and value, file and line, and what would be right.
    """
    hints = _hints(cls)  # type: ignore[arg-type]
    fields = {f.name: f for f in dataclasses.fields(cls) if f.init}  # type: ignore[arg-type]
    _check_keys(cls, table, fields, place)
    values = {k: _convert(v, hints[k], k, place) for k, v in table.items()}
    try:
        return cls(**values)
    except ValueError as error:
        raise CatalogError(f"{place}: {error}") from error


@functools.cache
def _hints(cls: type[Any]) -> dict[str, Any]:
    """Return a class's field types; a file holds many tables of one class."""
    return typing.get_type_hints(cls)


def _check_keys(
    cls: type, table: Mapping[str, Any], fields: Mapping[str, dataclasses.Field[Any]], place: Place
) -> None:
    for key in table:
        if key not in fields:
            meant = near(key, fields)
            hint = f"did you mean {meant!r}?" if meant else f"known keys: {', '.join(sorted(fields))}"
            raise CatalogError(f"{place}: unknown key {key!r} for {cls.__name__}; {hint}")
    for name, field in fields.items():
        required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        if required and name not in table:
            raise CatalogError(f"{place}: missing key {name!r} for {cls.__name__}")
    if "source" in fields and table.get("source") == "":
        raise CatalogError(f"{place}: source = '' should say where the figures stand")


def _convert(value: Any, hint: Any, key: str, place: Place) -> Any:
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return _convert_union(value, args, key, place)
    if dataclasses.is_dataclass(hint) and isinstance(value, Mapping):
        return decode(typing.cast(type, hint), value, dataclasses.replace(place, path=(*place.path, key)))
    if origin is tuple and isinstance(value, (list, tuple)):
        return _convert_tuple(value, args, key, place)
    if origin in (dict, Mapping) and isinstance(value, Mapping):
        return FrozenDict({k: _convert(v, args[1], f"{key}.{k}", place) for k, v in value.items()})
    if origin is typing.Literal and value in args:
        return value
    if hint is Any:
        return _frozen(value)
    if _is_plain(value, hint):
        return float(value) if hint is float else value
    raise CatalogError(f"{place}: {key} = {value!r} should be {_describe(hint)}")


def _convert_union(value: Any, args: tuple[Any, ...], key: str, place: Place) -> Any:
    tables = [option for option in args if dataclasses.is_dataclass(option)]
    if tables and isinstance(value, Mapping):  # its own error says more than "should be a ..."
        return _convert(value, tables[0], key, place)
    for option in args:
        try:
            return _convert(value, option, key, place)
        except CatalogError:
            continue
    wanted = " or ".join(_describe(a) for a in args if a is not type(None))
    raise CatalogError(f"{place}: {key} = {value!r} should be {wanted}")


def _frozen(value: Any) -> Any:
    """Return a value as TOML gives it, its tables and lists made read-only."""
    if isinstance(value, Mapping):
        return FrozenDict({k: _frozen(v) for k, v in value.items()})
    return tuple(map(_frozen, value)) if isinstance(value, list) else value


def _convert_tuple(value: Sequence[Any], args: tuple[Any, ...], key: str, place: Place) -> tuple[Any, ...]:
    if len(args) == 2 and args[1] is Ellipsis:
        return tuple(_convert(v, args[0], f"{key}[{i}]", place) for i, v in enumerate(value))
    if len(value) != len(args):
        raise CatalogError(f"{place}: {key} = {value!r} should have {len(args)} items")
    return tuple(_convert(v, a, f"{key}[{i}]", place) for i, (v, a) in enumerate(zip(value, args, strict=True)))


def _is_plain(value: Any, hint: Any) -> bool:
    if hint is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if hint is date:
        return isinstance(value, date) and not isinstance(value, datetime)
    return isinstance(hint, type) and isinstance(value, hint)


def _describe(hint: Any) -> str:
    if typing.get_origin(hint) is typing.Literal:
        return "one of " + ", ".join(map(repr, typing.get_args(hint)))
    words = {str: "a text", int: "a whole number", float: "a number", bool: "true or false", date: "a date"}
    words |= {datetime: "a date with time", time: "a time of day"}
    return words.get(hint, getattr(hint, "__name__", str(hint)))
