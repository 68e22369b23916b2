"""The source articles, and the ledger of what they claim."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from costlab import catalog, claims
from costlab.catalog import Article
from costlab.explore.reference.listing import Sourced, sourced
from costlab.text import Anchor, Table

#: Chapters that settle claims, by slug.
CHAPTERS: Mapping[str, str] = {
    "prices": "Prices",
    "moe": "Mixture of experts",
    "attention": "Attention",
    "hybrid": "Hybrid stacks",
    "tiers": "Tiers",
    "speculative": "Speculative decoding",
    "serving": "Serving",
    "chips": "Chips",
    "levers": "All levers",
    "limits": "Limits",
}


def article_list() -> Table:
    """Return the source articles by letter, with title, day and address."""
    rows = [{"letter": letter, **_article(article)} for letter, article in catalog.tables().articles.items()]
    return Table(rows, "letter", "The source articles", stacked=True)


def _article(article: Article) -> dict[str, Any]:
    online = article.source.startswith("http")
    return {
        "article": Anchor(article.title, article.source) if online else article.title,
        "author": article.author,
        "day": str(article.date),
        "note": "; ".join(filter(None, ["" if online else article.source, article.note])) or None,
    }


def ledger() -> Table:
    """Return every claim that the ledger settles: who makes it, the verdict, what is computed, and the chapter."""
    rows = [
        {
            "claim": found.claim.says,
            "article": ", ".join(found.claim.articles),
            "lever": Anchor(CHAPTERS[found.chapter], f"{found.chapter}.ipynb"),
            "verdict": found.verdict,
            "computed": f"{found.computed}. {found.why}",
        }
        for found in claims.findings()
    ]
    return Table(rows, "verdict", "The ledger", stacked=True, filters=("lever", "article", "verdict"))


def article_models() -> Sourced:
    """Return the models as the articles describe them, which nothing is computed from."""
    rows = (
        (
            {
                "model": claimed.says,
                "parameters": f"{claimed.total}, {claimed.active} active",
                "experts visited": f"{claimed.top_k} of {claimed.experts}",
                "width": claimed.hidden,
                "expert's width": claimed.expert_inner,
                "expert's size": claimed.expert_params,
                "capacity factor": claimed.capacity_factor,
            },
            claimed,
        )
        for claimed in catalog.tables().claimed_models.values()
    )
    return sourced("claimed", rows, "Models as an article describes them", bold="model")


def article_workloads() -> Sourced:
    """Return the workloads that an article prices."""
    rows = (
        (
            {
                "workload": each.name,
                "calls": each.calls,
                "input tokens": each.input_tokens,
                "output tokens": each.output_tokens,
                "hit rate": each.hit_rate,
            },
            each,
        )
        for each in catalog.tables().scenarios.values()
    )
    return sourced("workloads", rows, "Workloads that article E prices, tokens of one call", bold="workload")
