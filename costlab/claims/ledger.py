"""The ledger: every number that the source articles give, recomputed from the catalog, with a verdict.

What an article says stands in catalog/claims.toml; how it is settled stands here, one short function per claim. A
settler gets every number of the claim's entry by name and returns the claim's parts, each with the formula that was
run; the verdict follows from the parts.

Chapter: claims
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from costlab import arch, catalog, checks
from costlab.catalog import ClaimRecord
from costlab.claims.parts import ClaimPart, Verdict, verdict_of

Values = Mapping[str, float]
L = TypeVar("L", bound=arch.Attention)

V4_PRO, MIMO_PRO = "deepseek-v4-pro", "mimo-v2.5-pro"
SHORT, LONG, LONGEST = 4096, 131_072, 1_048_576  # contexts at which claims that name none are looked at


#: What an assumption adds that nothing but the claim speaks for.
SOUGHT = "found by looking for what makes the claim true"


@dataclass(frozen=True)
class Settled:
    """What a settler finds."""

    parts: Sequence[ClaimPart]  # the claim's numbers beside the computed ones
    why: str  # two to four sentences
    assumption: str | None = None  # under which the needed parts are computed
    sought: bool = False  # whether it was found by looking for what makes the claim true, and nothing else backs it


@dataclass(frozen=True)
class Finding:
    """A claim with its numbers recomputed, the verdict, and why."""

    key: str  # of the claim
    claim: ClaimRecord  # its entry in the catalog
    parts: tuple[ClaimPart, ...]  # its numbers beside the computed ones
    verdict: Verdict  # one of five
    why: str  # two to four sentences
    assumption: str | None  # what it is reproduced under; None where nothing is assumed
    section: str  # page and place of the book that derive it: "chips#sec-chips-article"
    sought: bool = False  # whether the assumption is the one that makes it true, with nothing else to back it

    @property
    def chapter(self) -> str:
        """Slug of the chapter that derives it."""
        return self.section.partition("#")[0]

    @property
    def address(self) -> str:
        """Where the book derives it, from one of its pages: "chips.html#sec-chips-article"."""
        return self.section.replace("#", ".html#")

    @property
    def off(self) -> float:
        """By which factor the needed number that is farthest off is off, at least 1; not a number where none is."""
        factors = [each.off for each in self.parts if not each.beyond]
        return max((max(each, 1 / each) for each in factors if not math.isnan(each)), default=math.nan)


@dataclass(frozen=True)
class _Entry:
    """A settler, and where the book derives what it computes."""

    settler: Callable[[Values], Settled]
    section: str


_SETTLERS: dict[str, _Entry] = {}


def settle(key: str, /, **instead: float) -> Finding:
    """Recompute one claim, as its entry in the catalog has it or with other numbers.

    Args:
        key: e.g. "moe-params".
        instead: numbers in place of the entry's, by its names, to see what the verdict hangs on: `times=40`.

    Raises:
        ValueError: a claim that is unknown or that no function settles; a number that the claim does not have.
    """
    claim = checks.pick(catalog.tables().claims, key, "claim")
    for name in instead:
        checks.pick(claim.numbers, name, f"number of {key}")
    entry = checks.pick(_SETTLERS, key, "settled claim")
    found = entry.settler({**claim.numbers, **instead})
    parts = tuple(found.parts)
    why = f"{found.why.rstrip('.')} ({claim.source})." if claim.source else found.why
    assumption = f"{found.assumption}; {SOUGHT}" if found.sought else found.assumption
    verdict = verdict_of(parts, assumption)
    return Finding(key, claim, parts, verdict, why, assumption, entry.section, found.sought)


def findings(prefix: str = "", *, article: str | None = None, verdict: str | None = None) -> tuple[Finding, ...]:
    """Recompute every claim whose key starts with a prefix, in the catalog's order.

    Args:
        prefix: of the keys.
        article: letter of an article that makes the claim; None for all.
        verdict: one of the five; None for all.

    Raises:
        ValueError: a prefix that no claim has, an unknown article or verdict.
    """
    known = catalog.tables()
    keys = [key for key in known.claims if key.startswith(prefix)]
    if not keys:
        raise ValueError(checks.unknown("prefix of claims", prefix, known.claims))
    if article is not None:
        letter = article.upper()
        if letter not in known.articles:
            raise ValueError(checks.unknown("article", article, known.articles))
        keys = [key for key in keys if letter in known.claims[key].articles]
    if verdict is not None:
        verdict = checks.one_of(VERDICTS, verdict, "verdict")
    found = map(settle, keys)
    return tuple(each for each in found if verdict in (None, each.verdict))


#: The verdicts, best first, and what each says.
VERDICTS: Mapping[Verdict, str] = {
    "reproduced": "what comes out agrees with every number of the claim, within the tolerance that stands beside it",
    "reproduced under a stated assumption": "it agrees if one assumes what the row states, and not without",
    "contradicted": "published facts, or the article's own numbers or code, give something else",
    "unit or label error": "the number is right in another unit or of another thing than the article names",
    "not checkable from public facts": "what it would take is not published",
}


def most_surprising(count: int = 5) -> tuple[Finding, ...]:
    """Return the refuted claims that most articles repeat, then those whose numbers are farthest off.

    Refuted are those that are contradicted or that err in the unit or the label. Of each chapter the first alone
    counts, so that one table of one article does not fill the list.

    Args:
        count: how many at most, at least 1.

    Raises:
        ValueError: a count below 1.
    """
    checks.count(count, "count")
    refuted = [each for each in findings() if each.verdict in ("contradicted", "unit or label error")]
    ordered = sorted(refuted, key=lambda each: (len(each.claim.articles), _known(each.off)), reverse=True)
    first = {each.chapter: each for each in reversed(ordered)}
    return tuple(each for each in ordered if each is first[each.chapter])[:count]


def _known(off: float) -> float:
    return 1.0 if math.isnan(off) else off


def as_record(found: Finding) -> dict[str, Any]:
    """Return a finding as JSON holds it: texts, lists and numbers in base units."""
    return {
        "id": found.key,
        "statement": found.claim.says,
        "articles": list(found.claim.articles),
        "verdict": found.verdict,
        "assumption": found.assumption,
        "why": found.why,
        "section": found.address,
        "numbers": [_part_record(each) for each in found.parts],
    }


def number_records(found: Sequence[Finding]) -> list[dict[str, Any]]:
    """Return the numbers of findings, one a row as in a CSV file, each with what holds for its whole claim."""
    rows = []
    for each in found:
        whole = as_record(each)
        for part in whole.pop("numbers"):
            other = part.pop("other_reading") or {"label": None, "computed": None}
            low, high = part["claimed"] if isinstance(part["claimed"], list) else (part["claimed"], None)
            rows.append({
                **whole, "articles": " ".join(each.claim.articles), **part, "claimed": low, "claimed_upto": high,
                "other_label": other["label"], "other_computed": other["computed"],
            })  # fmt: skip
    return rows


def _part_record(each: ClaimPart) -> dict[str, Any]:
    other = each.reading
    return {
        "quantity": each.quantity,
        "unit": each.unit,
        "relation": each.relation,
        "claimed": each.claimed if each.upto is None else [each.claimed, each.upto],
        "computed": each.computed,
        "tolerance": each.tolerance,
        "agrees": each.agrees,
        "beyond_assumption": each.beyond,
        "formula": each.formula,
        "other_reading": other and {"label": other.label, "computed": other.computed, "formula": other.formula},
    }


def settles(key: str, section: str) -> Callable[[Callable[[Values], Settled]], Callable[[Values], Settled]]:
    """Register the decorated function as what settles a claim, and where the book derives it."""

    def register(settler: Callable[[Values], Settled]) -> Callable[[Values], Settled]:
        _SETTLERS[key] = _Entry(settler, section)
        return settler

    return register


def ratio(above: float, below: float) -> float:
    """Return a quotient of claimed figures, infinite where nothing is below."""
    return above / below if below else math.inf


def off_by(claimed: float, computed: float) -> str:
    """Return by how much a claimed figure misses the computed one, in words."""
    return f"{abs(claimed / computed - 1):.1%}"


def layer_of(model: str, kind: type[L]) -> L:
    """Return a model's first attention layer of exactly a kind."""
    return next(attention for attention, _ in arch.load(model).layers if type(attention) is kind)
