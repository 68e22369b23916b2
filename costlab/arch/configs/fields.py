"""The fields of a config.json, each read by its type and once understood; what nobody understood is refused by name."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, NoReturn

from costlab.arch.configs.neutral import NEUTRAL, is_neutral
from costlab.arch.configs.source import quoted

#: The largest size taken, in elements, heads or tokens, and the most layers: far above what has been built, and small
#: enough that no answer about it takes a noticeable time.
MAX_SIZE, MAX_LAYERS = 2**31, 2000

_MISSING: Any = object()


class Fields:
    """What one object of a config.json says. Readers take synonyms: those that are present must agree."""

    def __init__(self, values: Mapping[str, Any], where: str) -> None:
        self.values = values  # as JSON gave them
        self.where = where  # name of the file, for messages
        self.assumed: list[str] = []  # sentences about what the file leaves open
        self._read: set[str] = set()

    def size(self, *names: str, default: int = _MISSING, least: int = 1, most: int = MAX_SIZE, why: str = "") -> int:
        """Return a whole number.

        Args:
            names: of the field, synonyms of one another.
            default: where none of them is there or all are null; without one that is refused.
            least: the smallest number taken.
            most: the largest.
            why: where a default stands for an absent field, the sentence that is told about it.

        Raises:
            ValueError: naming field and value, and what would be right.
        """
        name, value = self._value(names, default)
        if not any(self.has(each) for each in names) and why:
            self.assumed.append(f"{names[0]} is absent: {quoted(default)}, {why}")
        return self._whole(name, value, least, most)

    def optional(self, *names: str, least: int = 1, most: int = MAX_SIZE) -> int | None:
        """Return a whole number, or None where the field is absent or null."""
        name, value = self._value(names, None)
        return None if value is None else self._whole(name, value, least, most)

    def flag(self, *names: str, default: bool = False) -> bool:
        """Return true or false."""
        name, value = self._value(names, default)
        if not isinstance(value, bool):
            self.refuse(name, value, "true or false")
        return value

    def number(self, *names: str, default: float = _MISSING, least: float = 0.0, most: float = 1e12) -> float:
        """Return a finite number."""
        name, value = self._value(names, default)
        fits = isinstance(value, (int, float)) and not isinstance(value, bool) and least <= value <= most
        if not fits:
            self.refuse(name, value, f"a number from {least:g} to {most:g}")
        return float(value)

    def word(self, *names: str, among: Collection[str], default: str = _MISSING) -> str:
        """Return a text that is one of `among`."""
        name, value = self._value(names, default)
        if not isinstance(value, str) or value not in among:
            self.refuse(name, value, f"one of {', '.join(sorted(among))}")
        return value

    def items(self, *names: str, length: int | None = None, longer: bool = False) -> Sequence[Any] | None:
        """Return a list, or None where it is absent or null.

        Args:
            names: of the field, synonyms of one another.
            length: how many items it should have; None for any number.
            longer: whether further items may follow, e.g. those of draft modules.
        """
        name, value = self._value(names, None)
        if value is None:
            return None
        if not isinstance(value, list):
            self.refuse(name, value, "a list")
        if length is not None and (len(value) < length or (len(value) > length and not longer)):
            raise ValueError(f"{self.where}: {name} has {len(value)} items, the model {length} layers")
        return value if length is None else value[:length]

    def words(self, *names: str, among: Mapping[str, str], length: int, longer: bool = False) -> list[str] | None:
        """Return a list of words by their meaning in `among`, or None where it is absent."""
        found = self.items(*names, length=length, longer=longer)
        if found is None:
            return None
        for i, each in enumerate(found):
            if not isinstance(each, str) or each not in among:
                self.refuse(f"{self._present(names)}[{i}]", each, f"one of {', '.join(sorted(among))}")
        return [among[each] for each in found]

    def sizes(self, *names: str, least: int = 0, most: int = MAX_SIZE, **options: Any) -> list[int] | None:
        """Return a list of whole numbers, or None where it is absent."""
        found = self.items(*names, **options)
        if found is None:
            return None
        return [self._whole(f"{self._present(names)}[{i}]", each, least, most) for i, each in enumerate(found)]

    def inner(self, *names: str) -> Fields | None:
        """Return an object inside as fields of its own, or None where it is absent."""
        name, value = self._value(names, None)
        if value is None:
            return None
        if not isinstance(value, dict):
            self.refuse(name, value, "an object")
        return Fields(value, f"{self.where}: {name}")

    def only(self, name: str, *understood: Any, why: str) -> None:
        """Take a field at the values that are understood, or absent; others change the count in a way that is not.

        Raises:
            ValueError: another value, quoted.
        """
        self._read.add(name)
        value = self.values.get(name)
        if value is not None and not any(value == each and type(value) is type(each) for each in understood):
            text = " or ".join(quoted(each) for each in understood)
            raise ValueError(f"{self.where}: {name} = {quoted(value)} is not understood, only {text}: {why}")

    def neutral(self, *names: str) -> None:
        """Say that fields change no count of this family."""
        self._read.update(names)

    def has(self, name: str) -> bool:
        """Return whether a field is there and not null; that does not read it."""
        return self.values.get(name) is not None

    def refuse(self, name: str, value: Any, right: str) -> NoReturn:
        """Refuse a value.

        Raises:
            ValueError: always, quoting name and value and what would be right.
        """
        raise ValueError(f"{self.where}: {name} = {quoted(value)} should be {right}")

    def finish(self, leave: Iterable[str] = ()) -> None:
        """Refuse what nobody read, unless it is known to change no count or says that something is not there.

        Args:
            leave: fields that someone else reads.

        Raises:
            ValueError: naming the first field that is not understood, and its value.
        """
        known = self._read | NEUTRAL | set(leave)
        for name, value in self.values.items():
            if name not in known and not is_neutral(name) and not _says_nothing(value):
                raise ValueError(
                    f"{self.where}: {quoted(name).strip(chr(34))} = {quoted(value)} is not understood, and may change "
                    "the count"
                )

    def _value(self, names: tuple[str, ...], default: Any) -> tuple[str, Any]:
        self._read.update(names)
        found = {name: self.values[name] for name in names if self.has(name)}
        name, value = next(iter(found.items()), (names[0], default))
        for other, second in found.items():
            if second != value:
                raise ValueError(f"{self.where}: {name} = {quoted(value)}, but {other} = {quoted(second)}")
        if value is _MISSING:
            also = f" (or {', '.join(names[1:])})" if names[1:] else ""
            raise ValueError(f"{self.where}: {names[0]}{also} is missing")
        return name, value

    def _present(self, names: tuple[str, ...]) -> str:
        return next((name for name in names if self.has(name)), names[0])

    def _whole(self, name: str, value: Any, least: int, most: int) -> int:
        whole = isinstance(value, int) or (isinstance(value, float) and math.isfinite(value) and value == int(value))
        if isinstance(value, bool) or not whole or not least <= value <= most:
            self.refuse(name, value, f"a whole number from {least} to {most}")
        return int(value)


def _says_nothing(value: Any) -> bool:
    return value is None or value is False or (isinstance(value, (list, dict, str)) and not value)
