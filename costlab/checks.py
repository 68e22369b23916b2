"""One way to refuse: numbers that are no counts, names that are not known.

Chapter: prices
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

import numpy as np

from costlab.arrays import ArrayLike, Floats, Ints

#: The largest count taken: up to here float64 holds every whole number.
MAX_COUNT = 2**53

T = TypeVar("T")
Name = TypeVar("Name", bound=str)


def whole(value: object, what: str) -> int:
    """Return a count as an int; a whole float such as 8.0 and NumPy's integers are taken, True is not.

    Args:
        value: the count.
        what: the word for the message.

    Raises:
        ValueError: quoting what is no whole number.
    """
    if type(value) is int:  # as almost always, and this is asked for each request of a replay
        return value
    if isinstance(value, int | np.integer) and not isinstance(value, bool):
        return int(value)
    if isinstance(value, float | np.floating) and float(value).is_integer():
        return int(value)
    raise ValueError(f"{what} = {value!r} should be a whole number")


def count(value: object, what: str) -> int:
    """Return a count of at least 1 as an int; a whole float such as 8.0 and NumPy's integers are taken, True is not.

    Raises:
        ValueError: quoting what is no whole number from 1 to `MAX_COUNT`.
    """
    try:
        found = whole(value, what)
    except ValueError:
        found = 0
    if not 1 <= found <= MAX_COUNT:
        raise ValueError(f"{what} should be a whole number from 1 to 2**53, got {value!r}")
    return found


def share(value: float, what: str) -> float:
    """Return a share of at least 0 and below 1.

    Raises:
        ValueError: quoting what is none.
    """
    if isinstance(value, bool) or not 0 <= value < 1:
        raise ValueError(f"{what} should be a share of at least 0 and below 1, got {value!r}")
    return value


def indices(values: ArrayLike, what: str) -> Ints:
    """Return an array of indices as int64; whole floats are taken, and an empty array of any type.

    Args:
        values: whole numbers, any shape.
        what: the word for the message.

    Raises:
        ValueError: numbers that are cut, or no numbers at all.
    """
    found = np.asarray(values)
    if not found.size:
        return found.astype(np.int64)
    if found.dtype.kind not in "iuf":
        raise ValueError(f"{what} of type {found.dtype} should be whole numbers")
    cut = ~np.isfinite(found) | (found != np.floor(found))
    if cut.any():
        raise ValueError(f"{what} should be whole numbers, got {found[cut][0]}")
    return found.astype(np.int64)


def tokens_array(tokens: ArrayLike, what: str = "tokens", least: int = 1) -> Floats:
    """Check token counts and return them as float64, which holds whole numbers exactly up to 2**53 (`MAX_COUNT`).

    Args:
        tokens: a count or an array of counts.
        what: the word for the message.
        least: the smallest count allowed.

    Raises:
        ValueError: quoting a count that is negative, too small, too large, fractional or not a number.
    """
    try:
        given = np.asarray(tokens)
        counts = given.astype(np.float64)
        too_large = bool(np.any(given > MAX_COUNT))  # before rounding: 2**53 + 1 becomes 2**53
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"{what} should be whole numbers, got {tokens!r}") from error
    if given.dtype == np.bool_:
        raise ValueError(f"{what} should be whole numbers, got {tokens!r}")
    wrong = counts[~np.isfinite(counts) | (counts < least) | (counts != np.floor(counts))]
    if wrong.size:
        raise ValueError(f"{what} should be whole numbers of at least {least}, got {wrong.flat[0]:g}")
    if too_large:
        raise ValueError(f"{what} should not exceed 2**53, got {np.max(given)}")
    return counts


def pick(table: Mapping[str, T], key: str, what: str) -> T:
    """Look a key up, or fail with a message that names near and known keys.

    Args:
        table: what to look in.
        key: what to look for; case does not matter.
        what: the word for it in the message, e.g. "model".

    Raises:
        ValueError: with one readable sentence.
    """
    if isinstance(key, str) and key.lower() in table:
        return table[key.lower()]
    raise ValueError(unknown(what, key, table))


def one_of(names: Iterable[Name], key: str, what: str) -> Name:
    """Return the word that is meant, or fail with a message that names near and known words.

    Args:
        names: words in small letters, e.g. those of a Literal.
        key: the word given; case does not matter.
        what: the word for it in the message, e.g. "write mode".

    Raises:
        ValueError: with one readable sentence.
    """
    return pick({name: name for name in names}, key, what)


def unknown(what: str, key: str, known: Iterable[str]) -> str:
    """Return the sentence for a key that is not known: it quotes the key, the one it misspells and all others.

    Of very many names those are shown that begin with the same word as the key or as the one that is meant, and where
    there is none the first of each word.
    """
    names = sorted(known)
    meant = near(str(key).lower(), names)
    shown = names if len(names) <= _MANY else _like(meant or str(key).lower(), names)
    more = f" and {len(names) - len(shown)} more" if len(shown) < len(names) else ""
    asked = f"; did you mean {meant!r}? Known" if meant else "; known"
    return f"unknown {what} {key!r}{asked}: {', '.join(shown)}{more}"


def _like(name: str, names: Sequence[str]) -> list[str]:
    """Return the names that begin with the same word, or else the first name of each word."""
    by_word: dict[str, list[str]] = {}
    for each in names:
        by_word.setdefault(each.split("-")[0], []).append(each)
    return by_word.get(name.split("-")[0]) or [found[0] for found in by_word.values()]


#: Names beyond which a message shows only those that begin like the one that is meant.
_MANY = 40


def near(key: str, known: Iterable[str]) -> str | None:
    """Return the known name of which `key` is a misspelling, by at most two characters; None if there is none."""
    closest = "".join(difflib.get_close_matches(key, known, 1))
    steps = difflib.SequenceMatcher(None, key, closest).get_opcodes()
    wrong = sum(max(end - start, to - since) for tag, start, end, since, to in steps if tag != "equal")
    return closest if closest and wrong <= 2 else None
