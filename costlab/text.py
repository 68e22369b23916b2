"""One way to print: numbers, sizes and tables, for the shell, the chapters and the figures.

Chapter: attention
"""

from __future__ import annotations

import math
import re
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


def usd_text(amount: float) -> str:
    """Return an amount as people read it, to three digits: $0.0036, $0.87, $3.36."""
    return _cents(digits_text(amount))


def digits_text(number: float) -> str:
    """Return a number to three digits, without an exponent; – where there is none."""
    if math.isnan(number):
        return "–"
    return f"{number:,.0f}" if number >= 1000 else f"{float(f'{number:.3g}'):.10f}".rstrip("0").rstrip(".")


def list_text(amount: float) -> str:
    """Return a list price with all its digits: $0.003625."""
    return _cents(f"{amount:g}")


def _cents(digits: str) -> str:
    whole, dot, rest = digits.partition(".")
    return f"${whole}{dot}{rest.ljust(2, '0') if rest else ''}"


def number_text(value: float) -> str:
    """Return a figure of the catalog with all its digits, up to ten."""
    return f"{value:,.10g}"


def _scaled(number: float) -> tuple[str, str]:
    """Return a number's first three digits and the prefix of a thousand's power that goes with them."""
    if math.isinf(number):
        return "unlimited", ""
    prefixes = ("", "k", "M", "G", "T", "P", "E", "Z", "Y")
    power = 0
    while power + 1 < len(prefixes) and abs(float(f"{number / 1000**power:.3g}")) >= 1000:  # as printed: 999.9 G is 1 T
        power += 1
    return f"{number / 1000**power:.3g}", prefixes[power]


#: What of a source's text a page makes a link: addresses, and papers by their number.
_ADDRESS = re.compile(
    r"https?://[^\s;,)]*[^\s;,).]|(?:github\.com|huggingface\.co)/[\w.-]+/[\w.-]+\w|arXiv \d{4}\.\d{4,5}(?:v\d+)?"
)


@dataclass(frozen=True)
class Anchor:
    """A cell that leads somewhere; as text it is what it shows."""

    text: str  # what is shown
    address: str  # where it leads: a file beside the page's, a place in it, or an address on the web

    def __str__(self) -> str:
        return self.text


def linked(text: str) -> str:
    """Return a text as HTML in which addresses and arXiv numbers are links."""
    parts, end = [], 0
    for found in _ADDRESS.finditer(text):
        parts += [escape(text[end : found.start()]), _anchor(Anchor(found[0], _address(found[0])))]
        end = found.end()
    return "".join([*parts, escape(text[end:])])


def _address(found: str) -> str:
    paper = found.removeprefix("arXiv ")
    return found if found.startswith("http") else f"https://{f'arxiv.org/abs/{paper}' if paper != found else found}"


def _anchor(link: Anchor) -> str:
    return f'<a href="{escape(link.address)}">{escape(link.text)}</a>'


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
    stacked: bool = False  # whether a narrow page shows each row as a card, its cells below one another
    filters: Sequence[str] = ()  # columns by whose values the page's reader may choose rows; a cell "A, B" has two

    def __post_init__(self) -> None:
        if not self.rows:
            raise ValueError("a table needs at least one row")
        for row in self.rows:
            if list(row) != self._heads:
                raise ValueError(f"row {dict(row)!r} should have the columns {self._heads}")
        if self.bold is not None and self.bold not in self._heads:
            raise ValueError(f"bold = {self.bold!r} should be one of {self._heads}")
        if unknown := [head for head in self.filters if head not in self._heads]:
            raise ValueError(f"filters = {unknown!r} should be among {self._heads}")

    @property
    def _heads(self) -> list[str]:
        return list(self.rows[0])

    def __repr__(self) -> str:
        texts = [[cell(row[h]) for h in self._heads] for row in self.rows]
        body = columns([self._heads, *texts])
        return f"{self.caption}\n{body}" if self.caption else body

    def _repr_html_(self) -> str:
        caption = f"<caption>{escape(self.caption)}</caption>" if self.caption else ""
        head = "".join(f'<th scope="col"{self._head_says(h)}>{escape(h)}</th>' for h in self._heads)
        body = "".join(
            f"<tr{self._role('row')}>{''.join(self._cell(h, row[h]) for h in self._heads)}</tr>" for row in self.rows
        )
        group, kind = self._role("rowgroup"), "costlab stacked" if self.stacked else "costlab"
        heads = f"<thead{group}><tr{self._role('row')}>{head}</tr></thead>"
        return f'<table class="{kind}"{self._role("table")}>{caption}{heads}<tbody{group}>{body}</tbody></table>'

    def _role(self, name: str) -> str:
        """Cells below one another are no table to a screen reader, unless each part says what it is."""
        return f' role="{name}"' if self.stacked else ""

    def _head_says(self, head: str) -> str:
        return self._role("columnheader") + (" data-filter" if head in self.filters else "")

    def _cell(self, head: str, value: Any) -> str:
        text = _anchor(value) if isinstance(value, Anchor) else linked(cell(value))
        inner = f"<strong>{text}</strong>" if head == self.bold else text
        start = f"<td{' class=num' if _is_number(value) else ''}"
        if not self.stacked:
            return f"{start}>{inner}</td>"
        empty = " data-empty" if value is None else ""  # a card leaves it out
        return f'{start} role="cell" data-label="{escape(head)}"{empty}><span>{inner}</span></td>'


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) or (isinstance(value, str) and value[:1] in "0123456789$¥-−")
