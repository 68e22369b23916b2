"""The half of `bill` that reads usage records: what the calls of one's own logs cost."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from costlab.cli.output import Answer, Column, Stopped, sources, view
from costlab.cli.progress import progress_bar
from costlab.prices.usage import (
    USAGE_FORMATS,
    UsageBill,
    UsageDefaults,
    UsageLog,
    UsageRecord,
    UsageSum,
    bill_usage,
    read_usage,
)

#: What describes a workload, which records have instead: option, attribute, values where it was not given.
_DESCRIBED: tuple[tuple[str, str, tuple[object, ...]], ...] = (
    ("PRODUCT", "product", (None, [])),
    ("--input", "input_tokens_per_call", (None,)),
    ("--output", "output_tokens_per_call", (None,)),
    ("--hit-rate", "hit_rate", (None,)),
    ("--hit-tokens", "hit_tokens_per_call", (None,)),
    ("--write", "write_tokens_per_call", (None, 0)),
    ("--write-long", "write_long_tokens_per_call", (None, 0)),
    ("--thinking", "thinking_tokens_per_call", (None, 0)),
    ("--calls", "calls", (None, 1)),
    ("--over", "over", (None,)),
)


def usage_answer(args: argparse.Namespace) -> Answer:
    """Return what the calls of a log cost: in all, by product and day, and by what else they differ in.

    Args:
        args: the options of `bill`; `moment`, `service` and what describes a workload are None unless given.

    Raises:
        ValueError: a record that cannot be read or priced, with file, line and field; options that describe a
            workload.
    """
    for option, name, absent in _DESCRIBED:
        if getattr(args, name, None) not in absent:
            raise ValueError(f"{option} describes a workload; with --usage the records say what was used")
    log = read_usage(
        sys.stdin.buffer if args.usage == "-" else args.usage,
        UsageDefaults(args.format, args.model, args.moment, args.service, args.currency),
        "skip" if args.skip_bad else "raise",
    )
    try:
        return _answer(bill_usage(log, args.currency, _watched(log)), log)
    except KeyboardInterrupt:
        raise Stopped("before the end of the log") from None


def _watched(log: UsageLog) -> Iterator[UsageRecord]:
    """Yield a log's records and show how far it is read."""
    with progress_bar(None, "records") as bar:
        for count, record in enumerate(log, 1):
            if bar is not None:
                if count % 256 == 0 and (share := log.share_read()):
                    bar.total = round(count / share)
                bar.update(1)
            yield record


def _answer(bill: UsageBill, log: UsageLog) -> Answer:
    groups: dict[str, Mapping[Any, UsageSum]] = {
        "product": bill.by_product,
        "day": bill.by_day,
        "window": bill.by_window,
        "service": bill.by_service,
        "list_currency": bill.by_currency,
        "all": {None: bill.total},
    }
    shown = {by: group for by, group in groups.items() if _parts(by, group, bill.currency)}
    rows = [_row(by, name, amount) for by, group in shown.items() for name, amount in group.items()]
    longs = any(row["write_long_tokens"] for row in rows)
    kinds = ("hit", "miss", "write", *(("write_long",) if longs else ()), "output")
    table = view(
        rows,
        Column("by", "by"),
        Column("name", lambda row: row["name"] or {"window": "all day"}.get(row["by"])),
        Column("calls", "calls"),
        *(Column(f"{kind}_tokens", f"{kind}_tokens") for kind in kinds),
        *(Column(kind, f"{kind}_amount") for kind in (*kinds, "total")),
        Column("currency", "currency"),
        Column("reported", "reported_amount"),
        Column("difference", "reported_difference"),
    )
    span = f"{bill.first:%Y-%m-%d %H:%M} to {bill.last:%Y-%m-%d %H:%M} UTC"
    lines = [f"{bill.total.calls:,} call{'s' * (bill.total.calls != 1)} in {log.name}, {span}"]
    return Answer(rows, table, lines, bill.notes, sources(*_used(bill)))


def _row(by: str, name: str | None, amount: UsageSum) -> dict[str, Any]:
    kinds = ("hit", "miss", "write", "write_long", "output")
    return {
        "by": by,
        "name": None if name == "all day" else name,
        "currency": amount.currency,
        "calls": amount.calls,
        **{f"{kind}_tokens": getattr(amount, f"{kind}_tokens") for kind in (*kinds, "thinking")},
        **{f"{kind}_amount": float(getattr(amount, kind)) for kind in kinds},
        "total_amount": float(amount.total),
        "reported_calls": amount.reported_calls,
        "reported_amount": float(amount.reported) if amount.reported_calls else None,
        "reported_difference": None if amount.difference is None else float(amount.difference),
    }


def _parts(by: str, group: Mapping[Any, UsageSum], currency: str) -> bool:
    """Whether calls differ in hours, service or list currency, or all have another one than most have."""
    plain = {"window": "all day", "service": "standard", "list_currency": currency}
    return by not in plain or set(group) != {plain[by]}


def _used(bill: UsageBill) -> list[tuple[str, str, Any]]:
    listed = [("price", row.product, row) for row in bill.rows]
    served = [("service", f"{each.provider} {each.name}", each) for each in bill.services]
    return [*listed, *served, *(("exchange rate", f"{rate.base}/{rate.quote}", rate) for rate in bill.rates)]


def add_usage_options(verb: argparse.ArgumentParser) -> None:
    """Add the options for bills from usage records to `bill`; `--service` is its own."""
    files = "bill the calls of usage records instead, as providers return them: JSON, one or one a line; - reads stdin"
    verb.add_argument("--usage", metavar="FILE", help=files)
    formats = f"of the usage records: auto, {', '.join(USAGE_FORMATS)}"
    verb.add_argument("--format", default="auto", choices=("auto", *USAGE_FORMATS), metavar="NAME", help=formats)
    verb.add_argument("--model", metavar="NAME", help="product of usage records that name none")
    verb.add_argument("--skip-bad", action="store_true", help="skip and count usage records that cannot be billed")
