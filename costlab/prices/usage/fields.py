"""The counts of one JSON object, each asked for by name; what nobody asked for is found too."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

from costlab.checks import MAX_COUNT


class UsageFault(ValueError):
    """What is wrong with a record, and which field.

    Args:
        name: of the field; "" where it is about the whole.
        message: what is wrong.
        unquoted: the same without any text of the file, field names included; None where nothing is quoted.
    """

    def __init__(self, name: str, message: str, unquoted: str | None = None) -> None:
        super().__init__(f"{name}: {message}" if name else message)
        self.name, self.message = name, message
        self.unquoted = str(self) if unquoted is None else unquoted


class UsageFields:
    """A usage object, or one inside it, whose numbers are taken by name.

    Args:
        values: the object as it was read.
        path: where it stands in the record, for messages.
    """

    def __init__(self, values: Mapping[str, Any], path: str = "") -> None:
        self.values, self.path = values, path
        self._asked: set[str] = set()
        self._inner: list[UsageFields] = []

    def __contains__(self, name: str) -> bool:
        return self.values.get(name) is not None

    def named(self, name: str) -> str:
        """Return a field's whole path."""
        return f"{self.path}.{name}" if self.path else name

    def count(self, *names: str) -> int:
        """Return the count under the first of the names that is there, 0 if none is.

        Raises:
            UsageFault: no whole number from 0 to `MAX_COUNT`.
        """
        return self.optional(*names) or 0

    def needed(self, *names: str) -> int:
        """Return a count that must be there.

        Raises:
            UsageFault: it is missing, or no count.
        """
        value = self.optional(*names)
        if value is None:
            raise UsageFault(self.named(names[0]), "is missing")
        return value

    def optional(self, *names: str) -> int | None:
        """Return a count, None where it is absent or null.

        Raises:
            UsageFault: no whole number from 0 to `MAX_COUNT`.
        """
        self._asked.update(names)
        name = next((name for name in names if name in self), None)
        if name is None:
            return None
        value = self.values[name]
        if not _is_count(value):
            raise UsageFault(self.named(name), f"{shown(value)} should be a whole number from 0 to 2**53")
        return int(value)

    def inner(self, *names: str) -> UsageFields:
        """Return the object under the first of the names that is there, an empty one if none is.

        Raises:
            UsageFault: something else than an object.
        """
        self._asked.update(names)
        name = next((name for name in names if name in self), names[0])
        value = self.values.get(name)
        if value is not None and not isinstance(value, dict):
            raise UsageFault(self.named(name), f"{shown(value)} should be an object")
        found = UsageFields(value or {}, self.named(name))
        self._inner.append(found)
        return found

    def text(self, *names: str) -> str | None:
        """Return the text under the first of the names that is there, None if none is.

        Raises:
            UsageFault: something else than text.
        """
        self._asked.update(names)
        name = next((name for name in names if name in self), None)
        if name is None:
            return None
        value = self.values[name]
        if not isinstance(value, str):
            raise UsageFault(self.named(name), f"{shown(value)} should be text")
        return value

    def items(self, *names: str) -> list[UsageFields]:
        """Return the objects in the list under the first of the names that is there.

        Raises:
            UsageFault: no list, or something else than objects in it.
        """
        self._asked.update(names)
        name = next((name for name in names if name in self), None)
        value = self.values[name] if name else []
        if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
            raise UsageFault(self.named(name or names[0]), f"{shown(value)} should be a list of objects")
        found = [UsageFields(each, f"{self.named(name or '')}[{place}]") for place, each in enumerate(value)]
        self._inner += found
        return found

    def skip(self, *names: str) -> None:
        """Let fields be that change no bill."""
        self._asked.update(names)

    def unknown_counts(self) -> Iterator[str]:
        """Yield the path and value of each count of tokens above 0 that nobody asked for."""
        for name, value in self.values.items():
            if name not in self._asked:
                yield from _counts_in(value, self.named(name))
        for inner in self._inner:
            yield from inner.unknown_counts()


def _counts_in(value: object, path: str) -> Iterator[str]:
    if isinstance(value, dict):
        for name, each in value.items():
            yield from _counts_in(each, f"{path}.{name}")
    elif _counts_tokens(path) and isinstance(value, int | float | Decimal) and value not in (False, 0):
        yield f"{path} = {shown(value)}"


def _counts_tokens(path: str) -> bool:
    """Whether a field's name, or that of an object around it, is that of a count; `tokens_per_second` is none."""
    names = path.split(".")
    return not _LIMIT.search(names[-1]) and any(_COUNT.search(name) for name in names)


_COUNT = re.compile(r"tokens?(_?count)?s?(_?details)?$", re.IGNORECASE)
_LIMIT = re.compile(r"^(max|min)_?", re.IGNORECASE)  # of a request, which is no count


def _is_count(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        return False
    if isinstance(value, Decimal) and not value.is_finite():
        return False
    # the bounds first: of 1e999999999 the whole part would not fit into memory
    return 0 <= value <= MAX_COUNT and value == int(value)


def shown(value: object) -> str:
    """Return a value as a message quotes it: at most 60 characters."""
    text = str(value) if isinstance(value, Decimal) else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
