"""Text that looks like a time or like an id: what changes from request to request though nothing has been said."""

from __future__ import annotations

import re
from typing import Literal

VolatileKind = Literal["clock", "id"]

_MONTH = rb"(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)[a-z]*\.?"
_WEEKDAY = rb"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)[a-z]*"
_HOURS = rb"\d{1,2}:\d{2}(?::\d{2}(?:[.,]\d+)?)?(?:\s?[AaPp]\.?[Mm]\b\.?)?(?:\s?(?:Z|UTC|GMT|[+-]\d{2}:?\d{2}))?"

#: Dates and times as people and programs write them.
_CLOCK = re.compile(
    rb"|".join(
        (
            rb"\b\d{4}[-/]\d{1,2}[-/]\d{1,2}(?:(?:[T ]|,? )" + _HOURS + rb")?",
            rb"\b(?:" + _WEEKDAY + rb",? )?(?:\d{1,2}(?:st|nd|rd|th)? )?" + _MONTH + rb" ?\d{1,4}(?:st|nd|rd|th)?"
            rb"(?:,? \d{4})?(?:,? (?:at )?" + _HOURS + rb")?",
            rb"\b(?:" + _WEEKDAY + rb",? )?\d{1,2}[/.]\d{1,2}[/.]\d{2,4}(?:,? " + _HOURS + rb")?",
            rb"\d{4}" + "年".encode() + rb"\d{1,2}" + "月".encode() + rb"\d{1,2}" + "日".encode(),
            rb"\b(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day\b",
            rb"\b" + _HOURS,
            rb"\b1[4-9]\d{8}(?:\d{3}|\.\d+)?\b",  # seconds or milliseconds after 1970
        )
    )
)

#: UUIDs, long hexadecimal numbers, ids with a prefix, and long words of letters and digits.
_ID = re.compile(
    rb"|".join(
        (
            rb"\b[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\b",
            rb"\b(?=[0-9a-fA-F]*\d)[0-9a-fA-F]{12,}\b",
            rb"\b[A-Za-z]{2,10}[_-](?=[A-Za-z0-9]*\d)[A-Za-z0-9]{6,}\b",
            rb"\b(?=[A-Za-z]*\d)(?=\d*[A-Za-z])[A-Za-z0-9]{12,}\b",
            rb"\b\d{6,}\b",
        )
    )
)

_KINDS: tuple[tuple[VolatileKind, re.Pattern[bytes]], ...] = (("clock", _CLOCK), ("id", _ID))

#: A pattern is looked for so many bytes around a place.
_AROUND = 80


def volatile_at(text: bytes, offset: int) -> dict[tuple[VolatileKind, int], bytes]:
    """Return what around a place looks like a time or an id: by kind and where it begins, the text."""
    low, high = max(0, offset - _AROUND), offset + _AROUND
    piece, at = text[low:high], offset - low
    return {
        (kind, low + match.start()): match[0]
        for kind, pattern in _KINDS
        for match in pattern.finditer(piece)
        if match.start() <= at <= match.end()
    }


def volatile_kind(a: bytes, b: bytes, offset: int) -> VolatileKind | None:
    """Return what differs where two texts part, if both have a time or an id there; None if they do not.

    Args:
        a: a text.
        b: another one, equal to it up to the offset.
        offset: where they part.
    """
    there, here = volatile_at(a, offset), volatile_at(b, offset)
    both = [key for key in there.keys() & here.keys() if there[key] != here[key]]
    if not both:
        return None
    return max(both, key=lambda key: (len(there[key]) + len(here[key]), key[0] == "clock"))[0]


def volatile_values(text: bytes) -> list[bytes]:
    """Return all that looks like a time or an id in a text."""
    return [match[0] for _, pattern in _KINDS for match in pattern.finditer(text)]


def without_volatile(text: bytes) -> bytes:
    """Return a text with all times and ids replaced by one and the same mark."""
    return _ID.sub(b"\x00", _CLOCK.sub(b"\x00", text))
