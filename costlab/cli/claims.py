"""The verb claims: what source articles say, recomputed, with a verdict."""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from costlab import catalog
from costlab.cli.arguments import add_verb
from costlab.cli.output import Answer, Row, sources
from costlab.text import cell

if TYPE_CHECKING:
    from costlab.claims import Finding

#: Columns of text that a long sentence is broken into.
WIDTH = 96


def add_verbs(verbs: Any) -> None:
    """Add claims."""
    about = "what source articles claim, recomputed, with a verdict"
    verb = add_verb(verbs, "claims", _claims, about, "claims moe-params")
    verb.add_argument("claim", nargs="?", metavar="ID", help="one claim, with all its numbers; without it, the list")
    verb.add_argument("--article", metavar="LETTER", help="claims of one article, A to E")
    verb.add_argument("--verdict", metavar="VERDICT", help="claims with one verdict, e.g. contradicted")


def _claims(args: argparse.Namespace) -> Answer:
    from costlab import claims  # here, since it imports most of costlab, and other verbs need not wait for that

    chosen = claims.findings(article=args.article, verdict=args.verdict)
    if args.claim is not None:
        one = claims.settle(args.claim.lower())
        if one.key not in {each.key for each in chosen}:
            raise ValueError(_elsewhere(one, args))
        chosen = (one,)
    if not chosen:
        raise ValueError(f"article {args.article.upper()} makes no claim with the verdict {args.verdict!r}")
    rows = [claims.as_record(each) for each in chosen]
    letters = sorted({letter for each in chosen for letter in each.claim.articles})
    articles = catalog.tables().articles
    used = sources(*(("article", letter, articles[letter]) for letter in letters))
    if args.claim is None:
        counts = [f"{sum(each.verdict == verdict for each in chosen)} {verdict}" for verdict in claims.VERDICTS]
        return Answer(rows, [_line(each) for each in chosen], [f"{len(chosen)} claims: {', '.join(counts)}"], [], used)
    return Answer(rows, list(_page(chosen[0])), sources=used)


def _elsewhere(found: Finding, args: argparse.Namespace) -> str:
    articles = " and ".join(found.claim.articles)
    asked = [f"article {args.article.upper()}"] if args.article else []
    asked += [f"verdict {args.verdict!r}"] if args.verdict else []
    return f"{found.key!r} is a claim of {articles} with the verdict {found.verdict!r}, not of {' and '.join(asked)}"


def _line(found: Finding) -> dict[str, Any]:
    """A claim in a line: of its numbers the one that decides."""
    needed = [each for each in found.parts if not each.beyond]
    part = next((each for each in needed if each.agrees is False), needed[0])
    return {
        "claim": found.key,
        "article": " ".join(found.claim.articles),
        "verdict": found.verdict,
        "claimed": part.claimed_text,
        "computed": part.computed_text,
        "unit": part.unit,
    }


def _page(found: Finding) -> Iterator[Row]:
    yield from _fact("claim", f"{found.key}: {found.claim.says}")
    yield from _fact("articles", ", ".join(found.claim.articles))
    yield from _fact("verdict", found.verdict)
    if found.assumption:
        yield from _fact("assumption", found.assumption)
    for part in found.parts:
        yield from _fact("number", part.quantity + (", beyond the assumption" if part.beyond else ""))
        agrees = {True: "agrees", False: "does not agree", None: "cannot be compared"}[part.agrees]
        ours = "nothing public" if part.computed is None else part.computed_text
        yield from _fact(
            "", f"claimed {part.claimed_text}, computed {ours} {part.unit}: {agrees} to {part.tolerance:.3g}"
        )
        if part.formula:
            yield from _fact("", part.formula, keep=True)
        if part.reading:
            yield from _fact("", f"{part.reading.label}: {cell(part.reading.computed)}")
    yield from _fact("why", found.why)
    yield from _fact("derived in", found.address)


def _fact(what: str, text: str, keep: bool = False) -> Iterator[Row]:
    """A fact in lines of some width; a formula stays whole, so that it can be copied."""
    first, *rest = [text] if keep else textwrap.wrap(text, WIDTH, break_long_words=False, break_on_hyphens=False)
    yield {"what": what, "value": first}
    yield from ({"what": "", "value": line} for line in rest)
