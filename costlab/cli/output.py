"""How answers are printed: tables for people, JSON and CSV for programs.

A verb builds its rows once, as plain values in base units under the keys that programs read; a table is a view of
these rows, in the units that people like. What each key means stands in the book's page `reference/cli`.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Protocol

from costlab.text import cell, columns, plain

#: Changes when a key changes its name or its meaning.
SCHEMA = 1

Row = Mapping[str, Any]

#: Units that tables show.
MB, GB, GFLOP, MS = 1e6, 1e9, 1e9, 1e-3


@dataclass(frozen=True)
class Answer:
    """What a verb found."""

    rows: Sequence[Row]  # for programs, of one shape
    table: Sequence[Row]  # the same for people
    lines: Sequence[str] = ()  # below the table, about values that stand in the rows
    notes: Sequence[str] = ()  # what both should know, a sentence each
    sources: Sequence[Row] = ()  # of the catalog's entries that it rests on
    status: int = 0  # the exit status


class Stopped(Exception):
    """Ctrl-C, and what was found before it."""

    def __init__(self, message: str, answer: Answer | None = None) -> None:
        super().__init__(message)
        self.answer = answer


@dataclass(frozen=True)
class Column:
    """How people see a value of a row."""

    head: str  # of the column
    value: str | Callable[[Row], Any]  # the row's key, or a function of the row
    unit: float | None = None  # what the value is divided by; None shows it as it is

    def shown(self, row: Row) -> Any:
        """Return the row's value in the column's unit."""
        value = self.value(row) if callable(self.value) else row.get(self.value)
        return value if value is None or self.unit is None else value / self.unit


def view(rows: Sequence[Row], *shown: Column) -> list[Row]:
    """Return rows as a table shows them, without columns that hold nothing."""
    used = [column for column in shown if any(column.shown(row) is not None for row in rows)]
    return [{column.head: column.shown(row) for column in used} for row in rows]


def facts(pairs: Mapping[str, str]) -> list[Row]:
    """Return what-value pairs as a table."""
    return [{"what": what, "value": value} for what, value in pairs.items()]


def with_ratio(rows: list[dict[str, Any]], key: str) -> list[dict[str, Any]]:
    """Add each row's ratio to the first, where there are several to compare."""
    if len(rows) > 1:
        for row in rows:
            row["of_first"] = row[key] / rows[0][key] if rows[0][key] else None
    return rows


class _Dated(Protocol):
    @property
    def source(self) -> str: ...
    @property
    def date(self) -> date: ...


def sources(*used: tuple[str, str, _Dated]) -> list[Row]:
    """Return where figures are from, each entry once; `used` are (kind, name, entry of the catalog)."""
    found = {(kind, what, entry.source, entry.date.isoformat()): None for kind, what, entry in used}
    return [dict(zip(("kind", "what", "source", "date"), each, strict=True)) for each in found]


def inputs(args: argparse.Namespace) -> dict[str, Any]:
    """Return the options as they were understood: plain numbers, null where there is no limit or nothing was given."""
    left_out = ("run", "verb", "json", "csv")
    return {name: plain(value) for name, value in vars(args).items() if name not in left_out}


def printed(answer: Answer, args: argparse.Namespace) -> str:
    """Return an answer as the options want it: JSON, CSV or a table."""
    if args.json:
        return _as_json(answer, args)
    return _as_csv(answer.rows) if getattr(args, "csv", False) else as_table(answer)


def _as_json(answer: Answer, args: argparse.Namespace) -> str:
    document = {
        "schema": SCHEMA,
        "verb": args.verb,
        "inputs": inputs(args),
        "rows": list(answer.rows),
        "notes": list(answer.notes),
        "sources": list(answer.sources),
    }
    return json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False)


def _as_csv(rows: Sequence[Row]) -> str:
    """Return rows under the paths of their JSON keys, e.g. tiers.HBM.hit_rate; a failed plan's row has fewer."""
    flat = [dict(_paths(row)) for row in rows]
    heads = _heads(flat)
    parents = {head for head in heads if any(other.startswith(f"{head}.") for other in heads)}  # null in some rows
    out = io.StringIO()
    writer = csv.DictWriter(out, [h for h in heads if h not in parents], extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(flat)
    return out.getvalue().rstrip("\n")


def _paths(value: Any, above: str = "") -> Iterable[tuple[str, Any]]:
    if not isinstance(value, Mapping):
        yield above, value
        return
    for key, each in value.items():
        yield from _paths(each, f"{above}.{key}" if above else key)


def _heads(rows: Iterable[Row]) -> list[str]:
    """Every row's columns, in the order in which they first appear."""
    return list(dict.fromkeys(head for row in rows for head in row))


def as_table(answer: Answer) -> str:
    """Return an answer as a table for people, its notes below it; columns without words stand to the right."""
    heads = _heads(answer.table)
    texts = [[cell(row.get(h), "-") for h in heads] for row in answer.table]
    right = {i for i, h in enumerate(heads) if not any(isinstance(row.get(h), str) for row in answer.table)}
    below = [f"  {note}".rstrip() for note in (*answer.lines, *answer.notes)]
    return "\n".join([columns([heads, *texts], right), *below])
