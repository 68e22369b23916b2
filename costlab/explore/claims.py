"""Figure of the chapter `claims`: each claimed number over the computed one.

Chapter: claims
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes

from costlab import claims
from costlab.claims import Verdict
from costlab.explore.drawing import Words, drawn, is_narrow
from costlab.explore.style import COLOURS, INK, colour_key, log_axis, new_figure

#: Chapters that settle claims, by slug, as people name them.
CHAPTER_NAMES: Mapping[str, str] = {
    "prices": "Prices",
    "roofline": "Roofline",
    "moe": "Mixture of experts",
    "attention": "Attention",
    "hybrid": "Hybrid stacks",
    "tiers": "Tiers",
    "speculative": "Speculative decoding",
    "serving": "Serving",
    "chips": "Chips",
    "levers": "All levers",
    "claims": "Listings",
}
#: How a number came out, and the colour that says so.
_LOOKS: Mapping[str, str] = {
    "agrees": COLOURS["sliding"], "unit or label error": COLOURS["miss"], "does not agree": COLOURS["dropped"],
    "beyond the stated assumption": COLOURS["other"],
}  # fmt: skip
#: Names beside the dots that are farthest off, of each lever and of all on a phone.
_NAMED, _NAMED_NARROW = 1, 3


@dataclass(frozen=True)
class ClaimDot:
    """A claimed number over the computed one."""

    key: str  # of the claim
    chapter: str  # slug of the chapter that settles it
    verdict: Verdict  # of the claim
    factor: float  # claimed over computed
    look: str  # how it came out, in words


def claim_dots() -> tuple[ClaimDot, ...]:
    """Return every number of the ledger that stands in a ratio to the computed one; bounds do not."""
    return tuple(
        ClaimDot(found.key, found.chapter, found.verdict, part.off, _look(part))
        for found in claims.findings()
        for part in found.parts
        if math.isfinite(part.off)
    )


def _look(part: claims.ClaimPart) -> str:
    if part.beyond:
        return "beyond the stated assumption"
    return "agrees" if part.agrees else "unit or label error" if part.misread else "does not agree"


@drawn
def claimed_against_computed() -> Words:
    """Draw each claimed number over the computed one, a row for each lever."""
    dots = claim_dots()
    chapters = [slug for slug in CHAPTER_NAMES if any(dot.chapter == slug for dot in dots)]
    narrow = is_narrow()
    axes = new_figure("How far off are the claimed numbers?", "claimed over computed", "", wide=(7.2, 5.0),
                      narrow=(3.6, 5.2))  # fmt: skip
    colour_key(list(_LOOKS.items()))
    log_axis(axes, "x", (1e-4, 1e-2, 1, 1e2) if narrow else (1e-4, 1e-3, 1e-2, 0.1, 1, 10, 100), _times)
    axes.axvspan(1 / 1.1, 1.1, color=COLOURS["other"], alpha=0.35, linewidth=0)
    axes.axvline(1, color=INK, linewidth=0.8)
    for row, slug in enumerate(chapters):
        _row(axes, row, [dot for dot in dots if dot.chapter == slug])
    _name(axes, dots, chapters, narrow)
    names = [CHAPTER_NAMES[slug].replace(" ", "\n", 1) if narrow else CHAPTER_NAMES[slug] for slug in chapters]
    axes.set_yticks(range(len(chapters)), names)
    axes.set(ylim=(len(chapters) - 0.4, -0.6))
    axes.grid(axis="y", visible=False)
    return _said(dots)


def _row(axes: Axes, row: int, dots: Sequence[ClaimDot]) -> None:
    """Put dots that would lie on one another above and below the row's line."""
    seen: dict[int, int] = {}
    for dot in sorted(dots, key=lambda each: (each.look == "beyond the stated assumption", each.factor)):
        column = round(12 * math.log10(dot.factor))
        stacked = seen[column] = seen.get(column, 0) + 1
        shift = (stacked // 2) * (0.085 if stacked % 2 else -0.085)
        axes.plot(dot.factor, row + max(-0.42, min(0.42, shift)), "o", markersize=4, color=_LOOKS[dot.look])


def _name(axes: Axes, dots: Sequence[ClaimDot], chapters: Sequence[str], narrow: bool) -> None:
    """Name the claims that are farthest off."""
    wrong = [dot for dot in dots if dot.look in ("does not agree", "unit or label error")]
    wrong.sort(key=lambda dot: -abs(math.log(dot.factor)))
    by_claim = {dot.key: dot for dot in reversed(wrong)}
    far = sorted(by_claim.values(), key=lambda dot: -abs(math.log(dot.factor)))
    if narrow:
        named = [dot for slug in chapters for dot in [d for d in far if d.chapter == slug][:1]]
        named = sorted(named, key=lambda dot: -abs(math.log(dot.factor)))[:_NAMED_NARROW]
    else:
        named = [dot for slug in chapters for dot in [d for d in far if d.chapter == slug][:_NAMED]]
    for dot in named:
        left = dot.factor > 1
        axes.annotate(dot.key, (dot.factor, chapters.index(dot.chapter)), (-6 if left else 2, 9),
                      textcoords="offset points", va="center", ha="right" if left else "left", fontsize=9,
                      in_layout=False)  # fmt: skip


def _times(factor: float) -> str:
    return f"{factor:g}×" if factor >= 1 else f"1/{1 / factor:,.0f}"


def _said(dots: Sequence[ClaimDot]) -> Words:
    counts = {look: sum(dot.look == look for dot in dots) for look in _LOOKS}
    names = {"agrees": "agree", "does not agree": "do not"}
    listed = ", ".join(f"{count} {names.get(look, look)}" for look, count in counts.items())
    wrong = max((dot for dot in dots if dot.look != "agrees"), key=lambda dot: abs(math.log(dot.factor)))
    return Words(
        f"A dot for each of {len(dots)} claimed numbers, at claimed over computed, a row for each lever: {listed}. The "
        f"farthest off is of {wrong.key}, {_times(wrong.factor)}.",
        f"{len(dots)} numbers: {listed}. The grey band is within a tenth; each number has a tolerance of its own. "
        "Bounds (at least, at most) are left out, since any factor may keep them.",
    )
