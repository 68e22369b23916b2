"""Read a config.json: a file, a folder that holds one, or standard input; nothing of it is trusted."""

from __future__ import annotations

import functools
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

#: What the shell writes for standard input.
STDIN = "-"

#: The largest file read. Published ones have below 0.3 MB, most of it names of layers that are not quantised.
MAX_BYTES = 8_000_000

#: The deepest nesting taken; published files go five deep.
MAX_DEPTH = 32


def is_file(text: str) -> bool:
    """Return whether a text means a file, and no key of the catalog: it is there, or is written as a path."""
    return (
        text == STDIN or text.endswith(".json") or os.sep in text or "/" in text or (bool(text) and Path(text).exists())
    )


def read_text(path: str) -> str:
    """Return the text of a config.json.

    Args:
        path: of the file, of a folder with a file of that name, or "-" for standard input, which is read once.

    Raises:
        ValueError: no such file, no text, or more than `MAX_BYTES`.
    """
    data = _stdin() if path == STDIN else _file_bytes(path)
    if len(data) > MAX_BYTES:
        raise ValueError(f"{path} has more than {MAX_BYTES / 1e6:g} MB, which no config.json has")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: byte {error.start} is not UTF-8; a config.json is JSON text") from None


def _file_bytes(path: str) -> bytes:
    file = Path(path)
    try:
        if file.is_dir():
            file = file / "config.json"
        with file.open("rb") as stream:
            return stream.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise ValueError(f"{file}: no such file; a model is a key of `costlab models` or a config.json") from None
    except (OSError, ValueError) as error:  # a folder without permission, a name with a null byte
        raise ValueError(f"{path} can't be read: {error}") from None


@functools.cache
def _stdin() -> bytes:
    return sys.stdin.buffer.read(MAX_BYTES + 1)


def parse(text: str, where: str) -> Mapping[str, Any]:
    """Return the object that a JSON text holds.

    Args:
        text: of the file.
        where: its name, for messages.

    Raises:
        ValueError: no JSON, no object, a key that stands twice, numbers of thousands of digits, or nesting deeper
            than `MAX_DEPTH`.
    """

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            names = [name for name, _ in pairs]
            twice = next(name for name in names if names.count(name) > 1)
            raise ValueError(f"{where}: {quoted(twice)} stands twice in one object")
        return found

    def number(digits: str) -> int:
        if len(digits) > 30:
            raise ValueError(f"{where}: a number of {len(digits):,} digits")
        return int(digits)

    try:
        found = json.loads(text, object_pairs_hook=once, parse_int=number)
    except json.JSONDecodeError as error:
        raise ValueError(f"{where}: not JSON: {error}") from None
    except RecursionError:
        raise ValueError(f"{where}: objects nested more than {MAX_DEPTH} deep") from None
    if not isinstance(found, dict):
        raise ValueError(f"{where} holds {quoted(found)}; a config.json is an object with a model_type")
    _check_depth(found, where)
    return found


def _check_depth(found: Mapping[str, Any], where: str) -> None:
    level: list[Any] = [found]
    for _ in range(MAX_DEPTH):
        level = [inner for value in level for inner in _inside(value)]
        if not level:
            return
    raise ValueError(f"{where}: objects nested more than {MAX_DEPTH} deep")


def _inside(value: Any) -> list[Any]:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [each for each in inner if isinstance(each, (dict, list))]


def quoted(value: Any, most: int = 60) -> str:
    """Return a value as a message quotes it: as JSON, cut after `most` characters."""
    if isinstance(value, (list, dict)) and len(value) > most:  # long lists need not be written out to be cut
        value = list(value)[:most]
    try:
        text = json.dumps(value)
    except (RecursionError, TypeError, ValueError):
        text = type(value).__name__
    return text if len(text) <= most else f"{text[:most]}…"
