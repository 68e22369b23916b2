"""The ledger as a page shows it: a table that a reader filters and sorts, each claim with a place of its own."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

from costlab import claims
from costlab.claims import ClaimPart, Finding
from costlab.explore.claims import CHAPTER_NAMES
from costlab.text import Anchor, Table, cell, columns

_HEADS = ("claim", "article", "lever", "quantity", "verdict", "off by")
_FILTERS = ("article", "verdict", "lever", "quantity")
_SORTS = ("claim", "lever", "verdict", "off by")

#: What is counted, by the units of a claim's numbers.
QUANTITIES = {
    "prices and costs": ("USD per", "CNY"),
    "parameters and experts": ("parameters", "experts"),
    "bytes and tokens": ("bytes", "tokens", "blocks", "entries", "dimensions"),
    "speed and work": ("bytes per second", "seconds", "requests", "calls", "operators"),
    "shares": ("share",),
    "factors": ("times",),
}


@dataclass(frozen=True, repr=False)
class Ledger:
    """Every claim with its verdict, numbers and reason; repr is text, the page's form is a table of cards."""

    findings: tuple[Finding, ...]  # in the catalog's order

    @property
    def rows(self) -> list[dict[str, str]]:
        """Cells as text, by column."""
        return [dict(zip(_HEADS, _texts(each), strict=True)) for each in self.findings]

    def __repr__(self) -> str:
        lines = [[row[head] for head in _HEADS[1:]] for row in self.rows]
        return columns([["id", *_HEADS[1:]], *([each.key, *line] for each, line in
                                                zip(self.findings, lines, strict=True))])  # fmt: skip

    def _repr_html_(self) -> str:
        uses = {head: " data-filter" * (head in _FILTERS) + " data-sort" * (head in _SORTS) for head in _HEADS}
        heads = "".join(f'<th scope="col" role="columnheader"{uses[head]}>{escape(head)}</th>' for head in _HEADS)
        body = "".join(map(_row, self.findings))
        files = " and ".join(f'<a href="claims.{kind}" download>{kind.upper()}</a>' for kind in ("csv", "json"))
        return (
            '<table class="costlab stacked ledger" role="table"><caption>The ledger</caption><thead role="rowgroup">'
            f'<tr role="row">{heads}</tr></thead><tbody role="rowgroup">{body}</tbody></table>'
            f'<p class="downloads">The same as {files}.</p>'
        )


def ledger() -> Ledger:
    """Return every claim that the ledger settles: who makes it, the verdict, its numbers, the reason, the chapter."""
    return Ledger(claims.findings())


def surprising_claims(count: int = 5) -> Table:
    """Return the refuted claims that are told most and farthest off: a row each, with its place in the ledger."""
    rows = []
    for found in claims.most_surprising(count):
        part = max((each for each in found.parts if each.agrees is False), key=_factor_off)
        rows.append(
            {
                "claim": Anchor(found.claim.says, f"claims.ipynb#claim-{found.key}"),
                "article": ", ".join(found.claim.articles),
                "for example": part.quantity,
                "claimed": f"{part.claimed_text} {part.unit}",
                "computed": f"{part.computed_text} {part.unit}",
                "verdict": found.verdict,
            }
        )
    return Table(rows, "computed", "The five most surprising verdicts", stacked=True)


def _factor_off(part: ClaimPart) -> float:
    """By which factor a number misses what comes out, whichever is larger; 1 where none stands between them."""
    ours = part.computed
    if ours is None or ours <= 0 or part.claimed <= 0:
        return 1.0
    return max(part.claimed / ours, ours / part.claimed)


def quantities_of(found: Finding) -> list[str]:
    """Return what a claim's numbers count, in words; those of the units alone that `QUANTITIES` names."""
    units = [each.unit for each in found.parts]
    named = [
        what
        for what, starts in QUANTITIES.items()
        if any(unit == start or (unit.startswith(start) and start in ("USD per", "CNY"))
               for unit in units for start in starts)
    ]  # fmt: skip
    return named or ["counts of code"]


def _texts(found: Finding) -> tuple[str, ...]:
    off = "–" if math.isnan(found.off) else f"{cell(float(found.off))}×"
    return (
        found.claim.says, ", ".join(found.claim.articles), CHAPTER_NAMES[found.chapter],
        ", ".join(quantities_of(found)), found.verdict, off,
    )  # fmt: skip


def _row(found: Finding) -> str:
    place = f"claim-{found.key}"
    says, article, lever, quantity, verdict, off = _texts(found)
    # a table's own numbers sort it; what has none comes last
    order = "" if math.isnan(found.off) else f' data-value="{found.off:.6g}"'
    sign = f'<a class="place" href="#{place}" aria-label="Link to this claim, {escape(found.key)}">#</a>'
    cells = (
        ("claim", f"{escape(says)} {sign}{_details(found)}", ""),
        ("article", escape(article), ""),
        ("lever", f'<a href="{escape(found.section.replace("#", ".ipynb#"))}">{escape(lever)}</a>', ""),
        ("quantity", escape(quantity), ""),
        ("verdict", f"<strong>{escape(verdict)}</strong>", ""),
        ("off by", off, order),
    )  # fmt: skip
    return f'<tr id="{place}" role="row">' + "".join(
        f'<td role="cell" data-label="{head}"{more}><span>{inner}</span></td>' for head, inner, more in cells
    ) + "</tr>"  # fmt: skip


def _details(found: Finding) -> str:
    needed = [each for each in found.parts if not each.beyond]
    first = next((each for each in needed if each.agrees is False), needed[0])
    summary = f"{first.claimed_text} claimed, {first.computed_text} computed ({first.unit})"
    assumed = f"<p>Assumed: {escape(found.assumption)}.</p>" if found.assumption else ""
    items = "".join(f"<li>{line}</li>" for line in _lines(found.parts))
    return (
        f"<details><summary>{escape(summary)}</summary>{assumed}<p>{escape(found.why)}</p><ul>{items}</ul>"
        f"<p><code>costlab claims {escape(found.key)}</code></p></details>"
    )


def _lines(parts: Sequence[ClaimPart]) -> Iterator[str]:
    for each in parts:
        mark = {True: "agrees", False: "does not agree", None: "cannot be compared"}[each.agrees]
        outside = ", beyond the assumption" if each.beyond else ""
        other = each.reading
        read = f"; {escape(other.label)}: {cell(other.computed)}" if other else ""
        formula = f"<br><code>{escape(each.formula)}</code>" if each.formula else ""
        yield (
            f"{escape(each.quantity)}{outside}: {each.claimed_text} claimed, {each.computed_text} computed, in "
            f"{escape(each.unit)}, {mark} to {each.tolerance:.3g}{read}{formula}"
        )
