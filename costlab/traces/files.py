"""Traces in files and pipes: one door for all formats.

What is read is opened once and nothing of it is lost: the first bytes tell how it is packed, the first row tells the
format, and both go on to who reads the rows. Then all rows pass the same checks: each row's own (`formats`), the
order of times, ids that are chained. A file can be read again, a pipe or stream cannot.

Chapter: tiers
"""

from __future__ import annotations

import dataclasses
import itertools
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import IO, Any, Literal, cast

from costlab.traces.chains import Broken, Links
from costlab.traces.formats import FORMATS, Fault, TraceFormat, decoded, of_name, of_row
from costlab.traces.lines import Lines
from costlab.traces.requests import Found, Request, RequestSource, Trace, TraceError


def read(
    path: str | bytes | os.PathLike[str] | IO[bytes],
    format: str = "auto",
    errors: Literal["raise", "skip"] = "raise",
    block_tokens: int | None = None,
    *,
    from_s: float = 0.0,
    limit: int | None = None,
    sort: bool = False,
    chain: bool = False,
) -> Trace:
    """Open a trace for reading row by row; what is packed (gzip, zstd, bzip2, xz) is unpacked on the way.

    Args:
        path: a file, a pipe, or an open binary stream; the last two can be iterated over once.
        format: one of `FORMATS`; "auto" guesses from the first row and, failing that, the name.
        errors: "raise" stops at the first bad row, "skip" leaves bad rows out and counts them in `Trace.skipped`.
        block_tokens: tokens of one block where they differ from the format's own (512; 16 for `bailian`).
        from_s: leave out requests that came less than so many seconds after the first; times stay as they are.
        limit: stop after so many requests; what follows is not read, but for `sort`.
        sort: put the rows in order of time, in memory; rows of one time stay as they were.
        chain: the ids name the tokens of one block alone: make each name the prefix up to its end, so that hits are
            those of a prefix cache.

    Raises:
        TraceError: the file cannot be read, is empty or of no known format; while iterating, a bad row.
        ValueError: an unknown format or way with errors, a block below one token, no seconds, no requests.

    Source: kvcache-ai/Mooncake, alibaba-edu/qwen-bailian-usagetraces-anon, Azure/AzurePublicDataset, HPMLL/BurstGPT,
    microsoft/vidur, ai-dynamo/dynamo (delays and other names of Mooncake's columns).
    """
    if errors not in ("raise", "skip"):
        raise ValueError(f"errors = {errors!r} should be 'raise' or 'skip'")
    for name, value in (("block_tokens", block_tokens), ("limit", limit)):
        if value is not None and value < 1:
            raise ValueError(f"{name} = {value} should be at least 1")
    if not 0 <= from_s < math.inf:
        raise ValueError(f"from_s = {from_s} should be a number of seconds of at least 0")
    if format != "auto" and format not in FORMATS:
        raise ValueError(f"unknown trace format {format!r}; known: auto, {', '.join(FORMATS)}")
    where = cast("IO[bytes]", path) if hasattr(path, "read") else os.fsdecode(path)
    source = _File(where, format, errors == "skip", block_tokens, from_s, limit, sort, chain)
    if format == "auto":
        source.format = source.guess()
    tokens = FORMATS[source.format].block_tokens
    return Trace(source, tokens and (block_tokens or tokens), source.name, source.format)


# --- a file's rows as requests ---------------------------------------------------------------------------------


@dataclass
class _File(RequestSource):
    """The requests of a file; picklable unless it can be read once only, so that a sweep's workers can each read it."""

    path: str | IO[bytes]
    format: str
    skip: bool
    block_tokens: int | None
    from_s: float
    limit: int | None
    sort: bool
    chain: bool
    found: Found = field(default_factory=Found)
    once: bool = False
    _again: str | None = None
    _ahead: Lines | None = None
    _running: Lines | None = None
    _spent: bool = False
    _expected: int | None = None

    def __post_init__(self) -> None:
        self._again = _lasting(self.path) if isinstance(self.path, str) else None
        self.once = self._again is None

    @property
    def name(self) -> str:
        return self.path if isinstance(self.path, str) else str(getattr(self.path, "name", "stream"))

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_ahead": None, "_running": None}

    def _open(self) -> Lines:
        """Open what is read again; of what is read once give what there is."""
        lines, self._ahead = self._ahead, None
        if lines is None:
            if self._spent:
                raise TraceError(f"{self.name}: a stream can be read once; save it to a file to read it again")
            self._spent = self.once
            lines = Lines(self._again or self.path, self.name)
        return lines

    def guess(self) -> str:
        """Return the format that the first row, or failing that the name, speaks for. The row stays to be read."""
        lines = self._open()
        first = lines.peek()
        if self.once:
            self._ahead = lines
        else:
            lines.close()
        if first is None:
            raise TraceError(f"{self.name}: the file is empty")
        found = of_row(first.decode(errors="replace")) or of_name(self.name)
        if found is None:
            shown = first[:60].decode(errors="replace").strip()
            known = ", ".join(FORMATS)
            raise TraceError(f"{self.name}, line 1: {shown!r} is of no known format; give one (--format): {known}")
        return found

    def __iter__(self) -> Iterator[Request]:
        self.found.clear()
        self._running = lines = self._open()
        try:
            rows = self._in_order(lines) if self.sort else self._rows(lines)
            yield from self._counted(self._cut(rows) if self.from_s or self.limit else rows)
        finally:
            self._running = None
            lines.close()
        if not self.found.requests:
            skipped = self.found.skipped.messages
            first = f"; first: {skipped[0]}" if skipped else ""
            late = f", or none {self.from_s:g} s after the first" if self.from_s else ""
            raise TraceError(f"{self.name}: no request in {lines.number:,} lines{late}{first}")

    def _rows(self, lines: Lines) -> Iterator[Request]:
        """Yield the good rows' requests."""
        parser = FORMATS[self.format](self.block_tokens, self.chain, self.found)
        links = Links()
        before, when, header = -math.inf, None, True
        for line, raw in lines:
            try:
                text = decoded(raw)
                if header:
                    header = False
                    if parser.takes_header(text):
                        continue
                request = parser.request(text)
                if request.time_s < before and not self.sort:
                    parser.back(text, when)
                if request.blocks:
                    self.found.references += len(request.blocks)
                    if not self.chain and (broken := links.broken(request.blocks)):
                        self._unchained(line, text, parser, broken)
            except Fault as fault:
                self._bad(line, fault)
            else:
                before, when = request.time_s, parser.when
                yield request

    def _unchained(self, line: int, text: str, parser: TraceFormat, broken: Broken) -> None:
        if broken.twice is not None:
            parser.twice(text, broken.twice)
        self.found.unchained.note(f"{self.name}, line {line:,}: {broken.first}", broken.count)

    def _bad(self, line: int, fault: Fault) -> None:
        message = f"{self.name}, line {line:,}, column {fault.column}: {fault.message}"
        if fault.fatal or not self.skip:
            raise TraceError(message)
        self.found.skipped.note(message)

    def _in_order(self, lines: Lines) -> Iterator[Request]:
        """Yield all requests, read to the end and put in order; times that count from the first row stay positive."""
        requests = sorted(self._rows(lines), key=lambda request: request.time_s)
        self._expected = len(requests)
        early = min(requests[0].time_s, 0.0) if requests else 0.0
        for request in requests:
            yield dataclasses.replace(request, time_s=request.time_s - early) if early else request

    def _cut(self, requests: Iterator[Request]) -> Iterator[Request]:
        """Yield the requests from `from_s` after the first on, and no more than `limit`."""
        first = next(requests, None)
        if first is not None:
            start = first.time_s + self.from_s
            late = itertools.dropwhile(lambda request: request.time_s < start, itertools.chain([first], requests))
            yield from itertools.islice(late, self.limit)

    def _counted(self, rows: Iterator[Request]) -> Iterator[Request]:
        found = self.found
        for request in rows:
            found.requests += 1
            found.without_ids += not request.blocks and request.input_tokens > 0
            found.unanswered += not request.output_tokens
            yield request

    def share_read(self) -> float | None:
        """Return the share of the file's bytes that the pass has taken, or of the requests that it will give."""
        if self._running is None:
            return None
        if self.sort:
            return self.found.requests / self._expected if self._expected else None
        share = self._running.share()
        return share if share is None or self.limit is None else max(share, self.found.requests / self.limit)


def _lasting(path: str) -> str | None:
    """Return under which path any process finds the file again; None for a pipe or a terminal, which is read once."""
    real = os.path.realpath(path) if path.startswith(("/dev/", "/proc/")) else path
    return None if os.path.exists(path) and not os.path.isfile(real) and not os.path.isdir(real) else real
