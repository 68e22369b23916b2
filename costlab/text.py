"""One way to print: numbers, sizes and tables, for the shell, the chapters and the figures.

Chapter: attention
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from html import escape
from typing import Any


def tokens_text(tokens: float) -> str:
    """Return a token count as people write it: 4K, 128K, 1M (powers of 1024)."""
    for unit, letter in ((1024**2, "M"), (1024, "K")):
        if tokens >= unit:
            return f"{tokens / unit:g}{letter}"
    return f"{tokens:g}"


def bytes_text(size: float) -> str:
    """Return a size with a decimal unit: 70.3 KB, 5.28 GB, unlimited."""
    number, prefix = _scaled(size)
    return f"{number} {prefix.upper()}B" if math.isfinite(size) else number


def count_text(number: float) -> str:
    """Return a count in powers of a thousand: 950, 1.95 M, unlimited."""
    return " ".join(filter(None, _scaled(number)))


def _scaled(number: float) -> tuple[str, str]:
    """Return a number's first three digits and the prefix of a thousand's power that goes with them."""
    if math.isinf(number):
        return "unlimited", ""
    prefixes = ("", "k", "M", "G", "T", "P", "E", "Z", "Y")
    power = 0
    while power + 1 < len(prefixes) and abs(float(f"{number / 1000**power:.3g}")) >= 1000:  # as printed: 999.9 G is 1 T
        power += 1
    return f"{number / 1000**power:.3g}", prefixes[power]


def cell(value: Any, missing: str = "–") -> str:
    """Return a value as it stands in a table: four digits of a float, commas between thousands."""
    if value is None:
        return missing
    if isinstance(value, float):
        return f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def plain(value: Any) -> Any:
    """Return a value as JSON can hold it: dates as ISO text, None for what is infinite or not a number."""
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, date):
        return value.isoformat()
    return None if isinstance(value, float) and not math.isfinite(value) else value


def columns(lines: Sequence[Sequence[str]], right: Collection[int] = ()) -> str:
    """Return lines of cells as text in columns, those of the given indices aligned to the right."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join("  ".join(_padded(line, widths, right)).rstrip() for line in lines)


def _padded(line: Sequence[str], widths: Sequence[int], right: Collection[int]) -> list[str]:
    return [c.rjust(w) if i in right else c.ljust(w) for i, (c, w) in enumerate(zip(line, widths, strict=True))]


@dataclass(frozen=True, repr=False)
class Table:
    """Rows of one shape; numbers stand to the right, and the column that the table is read for is bold."""

    rows: Sequence[Mapping[str, Any]]  # mappings with the same keys, already rounded or formatted as they should appear
    bold: str | None = None  # the key of the column to stress, or None
    caption: str = ""  # one sentence above the table

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
        texts = [[cell(row[h]) for h in self._heads] for row in self.rows]
        body = columns([self._heads, *texts])
        return f"{self.caption}\n{body}" if self.caption else body

    def _repr_html_(self) -> str:
        caption = f"<caption>{escape(self.caption)}</caption>" if self.caption else ""
        head = "".join(f'<th scope="col">{escape(h)}</th>' for h in self._heads)
        body = "".join(f"<tr>{''.join(self._cell(h, row[h]) for h in self._heads)}</tr>" for row in self.rows)
        return f'<table class="costlab">{caption}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'

    def _cell(self, head: str, value: Any) -> str:
        text = escape(cell(value))
        inner = f"<strong>{text}</strong>" if head == self.bold else text
        return f"<td{' class=num' if _is_number(value) else ''}>{inner}</td>"


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) or (isinstance(value, str) and value[:1] in "0123456789$¥-−")
