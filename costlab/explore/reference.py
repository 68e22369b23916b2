"""The catalog as tables that a page shows: every entry, with the day and the source of each.

>>> from costlab.explore import reference
>>> reference.chip_sheets().table.rows[0]["chip"]
'NVIDIA A100 80 GB SXM4'
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from costlab import arch, catalog, checks, claims
from costlab.catalog import Article, ModelRecord, PriceRow
from costlab.catalog.records import Day, Moment
from costlab.text import Anchor, Table, linked, tokens_text

#: Chapters that settle claims, by slug.
CHAPTERS: Mapping[str, str] = {
    "prices": "Prices",
    "moe": "Mixture of experts",
    "attention": "Attention",
    "hybrid": "Hybrid stacks",
    "cache": "Cache",
}
CONTEXT = 131_072  # tokens at which the page on models gives the cache of each


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


def _sourced(
    slug: str,
    rows: Iterable[tuple[Mapping[str, Any], _Entry]],
    caption: str,
    filters: Sequence[str] = (),
    bold: str | None = None,
) -> Sourced:
    """The table of (cells, entry) pairs, to which each entry's day and source are added; its note goes below, columns without values go."""
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


# --- models ----------------------------------------------------------------------------------------------------


def model_sizes() -> Sourced:
    """Return what each catalogued model is: its size as counted and as printed, its attention, experts and cache."""
    return _sourced(
        "models",
        ((_size(model), model.record) for model in arch.models().values()),
        f"Models of the catalog; in brackets what the maker prints; cache bytes of a token at {tokens_text(CONTEXT)}",
        bold="model",
    )


def _size(model: arch.Model) -> dict[str, Any]:
    record, printed = model.record, model.record.published
    moe = next((ffn for _, ffn in model.layers if isinstance(ffn, arch.MoE)), None)
    return {
        "model": record.name,
        "parameters": f"{model.params.total / 1e9:,.1f}B ({printed.total})",
        "a token multiplies": f"{model.params.active / 1e9:.1f}B" + (f" ({printed.active})" if printed.active else ""),
        "layers": f"{len(model.layers)}: {', '.join(dict.fromkeys(attention.label for attention, _ in model.layers))}",
        "experts visited": f"{moe.top_k} of {moe.experts}" if moe else None,
        "cache, bytes": round(float(model.kv_bytes(CONTEXT).total) / CONTEXT),
    }


def model_dimensions() -> Table:
    """Return each model's parts with all their dimensions, as the catalog holds them."""
    rows = [row for record in catalog.tables().models.values() for row in _parts(record)]
    return Table(rows, "part", "Dimensions of each part, by the names that the catalog gives them", True, ("model",))


def _parts(record: ModelRecord) -> list[dict[str, Any]]:
    whole = {
        "hidden": record.hidden, "vocab": record.vocab, "context": record.context, "tied": record.tied,
        "residual_streams": record.residual_streams,
    }  # fmt: skip
    runs = "; ".join(f"{run.repeat} x ({', '.join(' + '.join(pair) for pair in run.pairs)})" for run in record.layers)
    parts = [("model", _fields(whole)), ("layers", runs)]
    parts += [(f"attention {name}", _fields(table)) for name, table in record.attention.items()]
    parts += [(f"feed-forward {name}", _fields(table)) for name, table in record.ffn.items()]
    parts += [("weights stored in", _fields(record.weights)), ("multiplied in", _fields(record.math))]
    return [{"model": record.name, "part": part, "dimensions": text} for part, text in parts]


def _fields(table: Mapping[str, Any]) -> str:
    """A table of the catalog in one line: heads 64, kv_heads 4, entry 128 bf16 + 128 bf16."""
    return ", ".join(f"{name} {_field(value)}" for name, value in table.items() if name != "kind")


def _field(value: Any) -> str:
    if isinstance(value, Mapping):
        return f"({_fields(value)})"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return " + ".join(" ".join(map(str, pair)) for pair in value)
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)


# --- chips -----------------------------------------------------------------------------------------------------


def chip_sheets() -> Sourced:
    """Return the data sheet of each chip: memory, links and power."""
    rows = (
        (
            {
                "chip": chip.name,
                "memory, GB": round(chip.memory_bytes / 1e9),
                "memory, TB/s": _number(chip.memory_bandwidth_bytes_s / 1e12),
                "link in the node, GB/s": _number(chip.link_bytes_s / 1e9),
                "network, GB/s": _number(chip.network_bytes_s / 1e9),
                "chips in a node": chip.chips_per_node,
                "power, W": chip.power_w,
                "node's power, W": chip.node_power_w,
            },
            chip,
        )
        for chip in catalog.tables().chips.values()
    )
    return _sourced("chips", rows, "One chip: its memory, its links in one direction, its power", bold="chip")


def chip_speeds() -> Table:
    """Return the dense arithmetic of each chip by precision, from the same data sheets."""
    names = ("fp4", "fp8", "int8", "bf16", "fp16", "tf32", "fp32")
    rows = [
        {"chip": chip.name, **{name.upper(): _tera(chip.flops.get(name)) for name in names}}
        for chip in catalog.tables().chips.values()
    ]
    return Table(rows, "chip", "Dense TFLOP/s of one chip by precision; – where it has no such unit", stacked=True)


def _tera(value: float | None) -> str | None:
    return None if value is None else _number(value / 1e12)


def _number(value: float) -> str:
    return f"{value:,.10g}"


def chip_offers() -> Sourced:
    """Return what each chip was rented or sold for, and what an article says that it costs."""
    kinds = {"rent": "rent", "price": "price", "claim-price": "price, an article's claim"}
    rows = (
        (
            {
                "chip": chip.name,
                "offer": kinds[offer.kind],
                "amount": f"{_number(offer.amount)} {offer.currency}",
                "per": offer.unit.replace("-", " and "),
            },
            offer,
        )
        for chip in catalog.tables().chips.values()
        for offer in chip.offers
    )
    return _sourced("offers", rows, "What a chip was offered for", filters=("chip", "offer"), bold="amount")


# --- prices ----------------------------------------------------------------------------------------------------


def price_list(provider: str) -> Sourced:
    """Return every row of a provider's price lists, per million tokens.

    Args:
        provider: as the catalog names it, e.g. "DeepSeek".

    Raises:
        ValueError: a provider without prices.
    """
    if provider not in price_providers():
        raise ValueError(checks.unknown("provider", provider, price_providers()))
    rows = [row for row in catalog.tables().prices if row.provider == provider]
    return _sourced(
        f"prices-{provider.lower().replace(' ', '-')}",
        ((_priced(row), row) for row in sorted(rows, key=lambda row: (row.product, row.currency))),
        f"{provider}: money per million tokens",
        filters=("product", "in"),
        bold="product",
    )


def _priced(row: PriceRow) -> dict[str, Any]:
    return {
        "product": row.product,
        "in": row.currency,
        "valid": _validity(row.valid_from, row.valid_to),
        "for": _condition(row),
        **{kind: _amount(getattr(row, kind)) for kind in ("hit", "miss", "write", "output")},
    }


def _amount(price: float | None) -> str | None:
    return None if price is None else _number(price)


def _validity(start: Moment, end: Moment | None) -> str:
    return f"from {_moment(start)}" if end is None else f"{_moment(start)} to {_moment(end)}"


def _moment(when: Moment) -> str:
    return f"{when:%Y-%m-%d %H:%M} UTC" if isinstance(when, datetime) else f"{when}"


def _condition(row: PriceRow) -> str | None:
    low, high = row.min_input_tokens, row.max_input_tokens
    tier = f"prompts from {low:,}" if high is None else f"prompts of {f'{low:,} to' if low else 'at most'} {high:,}"
    words = [
        tier if low or high else None,
        row.window and f"{row.window} hours",
        "announced as temporary" if row.promotion else None,
        None if row.published_by == "provider" else "as article E prints it",
    ]
    return ", ".join(filter(None, words)) or None


def price_providers() -> tuple[str, ...]:
    """Return the providers whose prices the catalog holds, in its order."""
    return tuple(dict.fromkeys(row.provider for row in catalog.tables().prices))


def price_hours() -> Sourced:
    """Return when peak and off-peak prices apply."""
    rows = (
        (
            {
                "provider": window.provider,
                "name": window.name,
                "hours, UTC": ", ".join(f"{start:%H:%M} to {end:%H:%M} {window.window}" for start, end in window.hours),
                "days": "Monday to Friday" if window.weekdays_only else "every day",
                "holidays": ", ".join(map(str, window.holidays)) or None,
                "valid": _validity(window.valid_from, window.valid_to),
            },
            window,
        )
        for window in catalog.tables().windows
    )
    return _sourced("hours", rows, "Hours of the day with a price of their own; all others have the other price")


def price_successions() -> Sourced:
    """Return what took the place of a product whose prices have ended."""
    rows = (
        (
            {
                "product": entry.product,
                "superseded by": entry.superseded_by,
                "billed as it": "yes" if entry.name_billed else "no",
            },
            entry,
        )
        for entry in catalog.tables().successions
    )
    return _sourced("successions", rows, "Products that were withdrawn, and what took their place")


def exchange_rates() -> Sourced:
    """Return every exchange rate, with what it is good for."""
    rows = (
        (
            {
                "day": str(rate.date),
                "rate": f"1 {rate.base} = {_number(rate.rate)} {rate.quote}",
                "kind": "an article's" if rate.claim else "implied by a price list" if rate.implied else "market",
            },
            rate,
        )
        for rate in catalog.tables().fx
    )
    caption = "Exchange rates. Money is converted at market rates only"
    return _sourced("rates", rows, caption, filters=("kind",), bold="rate")


# --- what operators publish, and what holds a cache --------------------------------------------------------------


def serving_days() -> Sourced:
    """Return what operators have published about a day of their serving, figure by figure."""
    rows = ((row, day) for day in catalog.tables().days.values() for row in _figures(day))
    return _sourced("days", rows, "Days of serving, as their operators published them", bold="value")


def _figures(day: catalog.ServingDay) -> Iterable[dict[str, Any]]:
    for name in day.__dataclass_fields__:
        if name not in ("what", "source", "date"):
            value = getattr(day, name)
            shown = " to ".join(map(_number, value)) if isinstance(value, tuple) else value
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
    return _sourced("traces", rows, "Traces: mean of a request; hit rate of an endless cache, 0 to 1", bold="trace")


def storage_media() -> Sourced:
    """Return what holds cached pages below a chip's own memory."""
    rows = (
        (
            {
                "medium": medium.name,
                "of one": medium.unit,
                "read, GB/s": _number(medium.read_bytes_s / 1e9),
                "write, GB/s": _number(medium.write_bytes_s / 1e9),
                "latency, µs": _number(medium.latency_s * 1e6) if medium.latency_s else None,
                "price": f"${medium.price_usd:g} per {medium.price_per.replace('-', ' and ')}",
            },
            medium,
        )
        for medium in catalog.tables().media.values()
    )
    return _sourced("media", rows, "Storage below a chip's own memory", bold="medium")


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
    return _sourced("prefetch", rows, "Rules of serving engines for fetching pages", bold="engine")


# --- articles --------------------------------------------------------------------------------------------------


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
    return _sourced("claimed", rows, "Models as an article describes them", bold="model")


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
    return _sourced("workloads", rows, "Workloads that article E prices, tokens of one call", bold="workload")
