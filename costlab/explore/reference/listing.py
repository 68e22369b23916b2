"""A table of the catalog's entries with the sources below it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from costlab.catalog.records import Day
from costlab.text import Anchor, Table, linked


class _Entry(Protocol):
    """What every entry of the catalog has."""

    @property
    def source(self) -> str: ...

    @property
    def date(self) -> Day: ...


@dataclass(frozen=True, repr=False)
class Sourced:
    """A table whose last column names each row's source by number, and the sources, which a page lists below it."""

    table: Table  # the rows
    sources: tuple[str, ...]  # the source with number 1 first
    slug: str  # begins the names of the places that the numbers lead to

    def __repr__(self) -> str:
        return "\n".join([repr(self.table), *(f"[{i}] {text}" for i, text in enumerate(self.sources, 1))])

    def _repr_html_(self) -> str:
        items = "".join(
            f'<li id="{_place(self.slug, i)}">{linked(text)}</li>' for i, text in enumerate(self.sources, 1)
        )
        return f'{self.table._repr_html_()}<ol class="sources" aria-label="Sources">{items}</ol>'


def _place(slug: str, number: int) -> str:
    return f"{slug}-source-{number}"


def sourced(
    slug: str,
    rows: Iterable[tuple[Mapping[str, Any], _Entry]],
    caption: str,
    filters: Sequence[str] = (),
    bold: str | None = None,
) -> Sourced:
    """Return the table of (cells, entry) pairs with each entry's day and source; notes stand with the sources.

    Columns without any value are left out.

    Args:
        slug: begins the names of the places of the sources, once a page.
        rows: cells by column, and the entry that they show.
        caption: one sentence above the table.
        filters: columns by whose values a reader may choose rows.
        bold: the column to stress.
    """
    listed, cells, texts = list(rows), [], list[str]()
    empty = {head for head in listed[0][0] if all(row[head] is None for row, _ in listed)}
    for row, entry in listed:
        note = getattr(entry, "note", "")
        text = f"{entry.source}. Note: {note}" if note else entry.source
        if text not in texts:
            texts.append(text)
        number = texts.index(text) + 1
        kept = {head: value for head, value in row.items() if head not in empty}
        cells.append({**kept, "source": Anchor(f"{entry.date} [{number}]", f"#{_place(slug, number)}")})
    return Sourced(Table(cells, bold, caption, stacked=True, filters=filters), tuple(texts), slug)
