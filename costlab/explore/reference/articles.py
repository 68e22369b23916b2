"""The source articles, and models and workloads as they describe them."""

from __future__ import annotations

from typing import Any

from costlab import catalog
from costlab.catalog import Article
from costlab.explore.reference.listing import Sourced, sourced
from costlab.text import Anchor, Table


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
