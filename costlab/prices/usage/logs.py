"""A log of usage records: a file, a pipe or a stream, read record by record."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing
from typing import IO, Literal, cast

from costlab.prices.usage.documents import documents
from costlab.prices.usage.fields import UsageFault
from costlab.prices.usage.formats import USAGE_FORMATS
from costlab.prices.usage.records import UsageDefaults, UsageRecord, usage_record
from costlab.traces import Noted, TraceError
from costlab.traces.lines import Lines


class UsageLog:
    """The records of a log, in the order of the file; it can be iterated over once.

    Attributes:
        name: of the file, for messages.
        skipped: bad records that were left out, and the first few in words.
    """

    def __init__(self, lines: Lines, name: str, defaults: UsageDefaults, skip: bool) -> None:
        self.name, self.skipped, self._lines = name, Noted(), lines
        self._defaults, self._skip, self._read = defaults, skip, 0

    def __iter__(self) -> Iterator[UsageRecord]:
        with closing(self._lines):
            for document in documents(self._lines):
                try:
                    if document.fault:
                        raise document.fault
                    record = usage_record(document.values, self._defaults, document.line)
                except UsageFault as fault:
                    self.refuse(fault, document.line_of(fault.name))
                else:
                    self._read += 1
                    yield record
        if not self._read:
            first = f"; the first: {self.skipped.first}" if self.skipped.count else ""
            lines = f"{self._lines.number:,} line{'s' * (self._lines.number != 1)}"
            raise TraceError(f"{self.name}: no usage record in {lines}{first}")

    def refuse(self, fault: ValueError, line: int) -> None:
        """Stop at a bad record, or leave it out and count it.

        Raises:
            TraceError: naming file, line and field.
        """
        message = f"{self.name}, line {line:,}: {fault}"
        if not self._skip:
            raise TraceError(message) from None
        self.skipped.note(message)

    def share_read(self) -> float | None:
        """Return the share of the file's bytes that are read; None where its size is not known."""
        return self._lines.share()


def read_usage(
    source: str | bytes | os.PathLike[str] | IO[bytes],
    defaults: UsageDefaults | None = None,
    errors: Literal["raise", "skip"] = "raise",
) -> UsageLog:
    """Open a log of usage records; what is packed (gzip, zstd, bzip2, xz) is unpacked on the way.

    Args:
        source: a file, a pipe, or an open binary stream: an object a line, or objects that run over several lines.
        defaults: for what a record lacks, and the format where its fields are not to tell.
        errors: "raise" stops at the first bad record, "skip" leaves bad ones out and counts them.

    Raises:
        TraceError: the file cannot be read; while iterating, a bad record, or none at all.
        ValueError: an unknown format or way with errors.
    """
    wanted = defaults or UsageDefaults()
    if errors not in ("raise", "skip"):
        raise ValueError(f"errors = {errors!r} should be 'raise' or 'skip'")
    if wanted.format != "auto" and wanted.format not in USAGE_FORMATS:
        raise ValueError(f"unknown usage format {wanted.format!r}; known: auto, {', '.join(USAGE_FORMATS)}")
    where = cast("IO[bytes]", source) if hasattr(source, "read") else os.fsdecode(source)
    name = where if isinstance(where, str) else str(getattr(where, "name", "stream"))
    return UsageLog(Lines(where, name, "usage record"), name, wanted, errors == "skip")
