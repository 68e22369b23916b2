"""How answers are printed: tables, JSON, CSV."""

from __future__ import annotations

import argparse
import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from costlab.text import cell, columns


@dataclass(frozen=True)
class Answer:
    """What a verb found: rows of one shape, and lines of explanation below them."""

    rows: Sequence[Mapping[str, Any]]
    notes: Sequence[str] = ()
    status: int = 0


class Stopped(Exception):
    """Ctrl-C, and what was found before it."""

    def __init__(self, message: str, answer: Answer | None = None) -> None:
        super().__init__(message)
        self.answer = answer


def facts(pairs: Mapping[str, str]) -> list[dict[str, str]]:
    """Return what-value pairs as rows."""
    return [{"what": what, "value": value} for what, value in pairs.items()]


def with_ratio(rows: list[dict[str, Any]], column: str) -> list[dict[str, Any]]:
    """Add each row's ratio to the first, where there are several to compare."""
    if len(rows) > 1:
        for row in rows:
            row["of_first"] = row[column] / rows[0][column] if rows[0][column] else None
    return rows


def printed(answer: Answer, args: argparse.Namespace) -> str:
    """Return an answer as the options want it: JSON, CSV or a table."""
    if args.json:
        return _as_json(answer)
    return _as_csv(answer) if getattr(args, "csv", False) else as_table(answer)


def _as_csv(answer: Answer) -> str:
    out = io.StringIO()
    writer = csv.DictWriter(out, _heads(answer), lineterminator="\n")
    writer.writeheader()
    writer.writerows(answer.rows)
    return out.getvalue().rstrip("\n")


def _heads(answer: Answer) -> list[str]:
    """Every row's columns, in the order in which they first appear: a failed plan has fewer."""
    return list(dict.fromkeys(head for row in answer.rows for head in row))


def _as_json(answer: Answer) -> str:
    return json.dumps({"rows": list(answer.rows), "notes": list(answer.notes)}, indent=2, ensure_ascii=False)


def as_table(answer: Answer) -> str:
    """Return an answer as a table for people, its notes below it; columns without words stand to the right."""
    heads = _heads(answer)
    texts = [[cell(row.get(h), "-") for h in heads] for row in answer.rows]
    right = {i for i, h in enumerate(heads) if not any(isinstance(row.get(h), str) for row in answer.rows)}
    return "\n".join([columns([heads, *texts], right), *(f"  {note}" for note in answer.notes)])
