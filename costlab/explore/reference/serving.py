"""What operators publish of their serving, and what holds a cache."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from costlab import catalog
from costlab.explore.reference.listing import Sourced, sourced
from costlab.text import number_text


def serving_days() -> Sourced:
    """Return what operators have published about a day of their serving, figure by figure."""
    rows = ((row, day) for day in catalog.tables().days.values() for row in _figures(day))
    return sourced("days", rows, "Days of serving, as their operators published them", bold="value")


def _figures(day: catalog.ServingDay) -> Iterable[dict[str, Any]]:
    for name in day.__dataclass_fields__:
        if name not in ("what", "source", "date"):
            value = getattr(day, name)
            shown = " to ".join(map(number_text, value)) if isinstance(value, tuple) else value
            yield {"day": day.what, "figure": name.replace("_", " "), "value": shown}


def trace_figures() -> Sourced:
    """Return what publishers of traces say of them: lengths of a request, and how much of its input was seen before."""
    rows = (
        (
            {
                "trace": trace.what,
                "requests": trace.requests,
                "input tokens": trace.input_tokens,
                "output tokens": trace.output_tokens,
                "hit rate": trace.hit_rate,
                "of a session, median": trace.session_hit_median,
                "of a session, mean": trace.session_hit_mean,
                "new tokens": trace.new_tokens,
            },
            trace,
        )
        for trace in catalog.tables().traces.values()
    )
    return sourced("traces", rows, "Traces: mean of a request; hit rate of an endless cache, 0 to 1", bold="trace")


def storage_media() -> Sourced:
    """Return what holds cached pages below a chip's own memory."""
    rows = (
        (
            {
                "medium": medium.name,
                "of one": medium.unit,
                "read, GB/s": number_text(medium.read_bytes_s / 1e9),
                "write, GB/s": number_text(medium.write_bytes_s / 1e9),
                "latency, µs": number_text(medium.latency_s * 1e6) if medium.latency_s else None,
                "price": f"${medium.price_usd:g} per {medium.price_per.replace('-', ' and ')}",
            },
            medium,
        )
        for medium in catalog.tables().media.values()
    )
    return sourced("media", rows, "Storage below a chip's own memory", bold="medium")


def prefetch_rules() -> Sourced:
    """Return when serving engines fetch pages from storage."""
    rows = (
        (
            {
                "engine": rule.name,
                "fetches from, tokens": rule.least_tokens,
                "waits at most": f"{rule.timeout_s:g} s + {rule.timeout_s_per_1024_tokens:g} s for 1,024 tokens",
                "may fill of host memory": f"{rule.host_share:.0%}",
                "writes after uses": rule.selective_uses,
            },
            rule,
        )
        for rule in catalog.tables().prefetch.values()
    )
    return sourced("prefetch", rows, "Rules of serving engines for fetching pages", bold="engine")
