"""A small table for chapters: readable as text in a terminal and as HTML in a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any


@dataclass(frozen=True, repr=False)
class Table:
    """Rows of one shape; numbers stand to the right, and the column that the table is read for is bold.

    Args:
        rows: mappings with the same keys, already rounded or formatted as they should appear.
        bold: the key of the column to stress, or None.
        caption: one sentence above the table.
    """

    rows: Sequence[Mapping[str, Any]]
    bold: str | None = None
    caption: str = ""

    def __post_init__(self) -> None:
        if not self.rows:
            raise ValueError("a table needs at least one row")
        for row in self.rows:
            if list(row) != self._heads:
                raise ValueError(f"row {dict(row)!r} should have the columns {self._heads}")
        if self.bold is not None and self.bold not in self._heads:
            raise ValueError(f"bold = {self.bold!r} should be one of {self._heads}")

    @property
    def _heads(self) -> list[str]:
        return list(self.rows[0])

    def __repr__(self) -> str:
        texts = [[_text(row[h]) for h in self._heads] for row in self.rows]
        widths = [max(map(len, column)) for column in zip(self._heads, *texts, strict=True)]
        lines = [self._heads, *texts]
        body = "\n".join("  ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)).rstrip() for line in lines)
        return f"{self.caption}\n{body}" if self.caption else body

    def _repr_html_(self) -> str:
        caption = f"<caption>{escape(self.caption)}</caption>" if self.caption else ""
        head = "".join(f'<th scope="col">{escape(h)}</th>' for h in self._heads)
        body = "".join(f"<tr>{''.join(self._cell(h, row[h]) for h in self._heads)}</tr>" for row in self.rows)
        return f'<table class="costlab">{caption}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'

    def _cell(self, head: str, value: Any) -> str:
        text = escape(_text(value))
        inner = f"<strong>{text}</strong>" if head == self.bold else text
        return f"<td{' class=num' if _is_number(value) else ''}>{inner}</td>"


def _text(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) or (isinstance(value, str) and value[:1] in "0123456789$¥-−")
