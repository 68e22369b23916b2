"""The verb bill: a workload, or the records of one's own calls."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from costlab import prices
from costlab.cli import clock
from costlab.cli.arguments import add_verb, count_arg, moment_arg, size_arg
from costlab.cli.output import Answer, Column, sources, view, with_ratio
from costlab.cli.usage import add_usage_options, usage_answer

Bills = Sequence[tuple[str, prices.Bill]]


class TypedSize(int):
    """A token count that remembers how it was typed."""

    text: str

    @property
    def in_thousands(self) -> int | None:
        """The count that a price list means by the text, whose K is 1,000; None where nothing differs."""
        power = {"K": 3, "M": 6}.get(self.text[-1:].upper())
        if power is None:
            return None
        return int(Decimal(self.text[:-1]) * Decimal(10) ** power)


def _typed_size(text: str) -> TypedSize:
    found = TypedSize(size_arg(text))
    found.text = text
    return found


def _bill(args: argparse.Namespace) -> Answer:
    if args.usage is not None:
        return usage_answer(args)
    args.moment = args.moment or prices.moment(clock.today())
    args.over = args.over or "moment"
    load = _load(args)
    args.product = [name.lower() for name in args.product or compared_on(args.moment)]
    bills = [
        (
            name,
            prices.bill(name, load, args.moment, currency=args.currency, service=args.service, over=args.over),
        )
        for name in args.product
    ]
    rows = with_ratio([_bill_row(name, due) for name, due in bills], "total_amount")
    notes = [_when_note(args), *_bill_notes(bills), *_typed_notes(args, bills)]
    return Answer(rows, _table(rows), [_load_line(load), *_row_lines(bills)], notes, sources(*_used(bills)))


def _load(args: argparse.Namespace) -> prices.Workload:
    """Return the workload that the options describe.

    Raises:
        ValueError: an option that is missing, or hits given twice.
    """
    for option in ("input", "output"):
        if getattr(args, f"{option}_tokens_per_call") is None:
            raise ValueError(f"--{option} is missing: tokens of one call (or give --usage with records)")
    if (args.hit_rate is None) == (args.hit_tokens_per_call is None):
        raise ValueError("give one of --hit-rate, a share of the input, and --hit-tokens, a count")
    return prices.Workload(
        args.input_tokens_per_call,
        args.output_tokens_per_call,
        0.0 if args.hit_rate is None else args.hit_rate,
        args.calls,
        args.write_tokens_per_call,
        args.write_long_tokens_per_call,
        args.thinking_tokens_per_call,
        args.hit_tokens_per_call,
    )


def compared_on(when: datetime) -> Sequence[str]:
    """Return the products that `bill` compares unless told which: of each line the newest that was sold then."""
    newest = (line.newest(when) for line in prices.LINES)
    return [name for name in newest if name] or prices.LINES[0].products[-1:]


def _bill_row(name: str, due: prices.Bill) -> dict[str, Any]:
    """Return the amounts, and what they rest on: the row of the price list and the exchange rate."""
    row = due.row
    windows = {part.row.window for part in due.portions}
    return {
        "product": name,
        "currency": due.currency,
        "hit_amount": due.hit,
        "miss_amount": due.miss,
        "write_amount": due.write,
        "write_long_amount": due.write_long,
        "output_amount": due.output,
        "total_amount": due.total,
        "price_tier": prices.tier_text(row),
        "price_window": row.window if len(windows) == 1 else None,
        "peak_share": None
        if windows == {None}
        else float(sum(part.share for part in due.portions if part.row.window == "peak")),
        "price_since": f"{row.valid_from:%Y-%m-%d}",
        "price_read": row.date.isoformat(),
        "price_source": row.source,
        "billed_as": row.product,
        "list_currency": row.currency,
        "min_input_tokens": row.min_input_tokens,
        "max_input_tokens": row.max_input_tokens,
        "service_factor": due.service and due.service.factor,
        "exchange_rate": due.rate,
        "exchange_date": due.rate_day and due.rate_day.isoformat(),
        "notes": list(due.notes),
    }


def _table(rows: Sequence[dict[str, Any]]) -> Sequence[dict[str, Any]]:
    long_writes = any(row["write_long_amount"] for row in rows)
    parts = ["hit", "miss", "write", *(["write_long"] if long_writes else []), "output", "total"]
    return view(
        rows,
        Column("product", "product"),
        Column("currency", "currency"),
        *(Column(part, f"{part}_amount") for part in parts),
        Column("tier", lambda row: row["price_tier"] and row["price_tier"].removesuffix(" tokens")),
        Column("window", _window_text),
        Column("since", "price_since"),
        Column("read", "price_read"),
        Column("of_first", "of_first"),
    )  # type: ignore[return-value]


def _window_text(row: Any) -> str:
    if row["price_window"]:
        return str(row["price_window"])
    return "all day" if row["peak_share"] is None else f"{row['peak_share']:.1%} peak"


def _when_note(args: argparse.Namespace) -> str:
    at = f"{args.moment:%Y-%m-%d %H:%M} UTC"
    if args.over == "moment":
        return f"prices at {at}"
    start, end = prices.bounds(args.moment, args.over)
    return f"prices of a load spread evenly from {start:%Y-%m-%d} to before {end:%Y-%m-%d}, UTC"


def _load_line(load: prices.Workload) -> str:
    calls = f"{load.calls:,} call{'s' * (load.calls > 1)}"
    written = f", {load.write_tokens:,} written to the cache" if load.write_tokens else ""
    written += f", {load.write_long_tokens:,} for longer" if load.write_long_tokens else ""
    thought = f", {load.thinking_tokens:,} of thinking" if load.thinking_tokens else ""
    return f"{calls} of {load.input_tokens:,} input tokens{written} and {load.output_tokens:,} output tokens{thought}"


def _row_lines(bills: Bills) -> Iterator[str]:
    """Yield where each price stands."""
    for name, due in bills:
        row = due.row
        served = f", {due.service.name} at {due.service.factor:g} of it" if due.service else ""
        yield f"{name}: list in {row.currency}{served}, read {row.date}: {row.source}"


def _bill_notes(bills: Bills) -> list[str]:
    """Return each note once, behind the products that it is about."""
    about: dict[str, list[str]] = {}
    for name, due in bills:
        for note in due.notes:
            about.setdefault(note, []).append(name)
    return [f"{', '.join(names)}: {note}" for note, names in about.items()]


def _typed_notes(args: argparse.Namespace, bills: Bills) -> Iterator[str]:
    """Say where an input typed with K or M is billed in another tier than a price list's K would be."""
    typed = args.input_tokens_per_call
    meant = typed.in_thousands
    for name, due in bills:
        if meant is None or prices.in_tier(due.row, meant):
            continue
        other = prices.price_at(name, args.moment, input_tokens=meant, currency=due.row.currency)
        yield (
            f"{name}: {typed.text} is {typed:,} tokens here, K being 1,024; {meant:,} tokens are in the tier"
            f" {prices.tier_text(other)}: {prices.prices_text(other)}"
        )


def _used(bills: Bills) -> Iterator[tuple[str, str, Any]]:
    for _, due in bills:
        yield from (("price", part.row.product, part.row) for part in due.portions)
    for _, due in bills:
        if due.service:
            yield "service", f"{due.service.provider} {due.service.name}", due.service
    for _, due in bills:
        yield from (("exchange rate", f"{rate.base}/{rate.quote}", rate) for rate in due.rates)


def add_verbs(verbs: Any) -> None:
    """Add bill."""
    example = "bill --input 32K --output 8K --hit-rate 0.5 --calls 10 --date 2026-11-25 deepseek-v4-pro gpt-6.1-sol"
    bill = add_verb(verbs, "bill", _bill, "what a workload costs at list prices", example)
    names = "see `costlab prices` (default: a few that were sold on that day)"
    bill.add_argument("product", nargs="*", metavar="PRODUCT", help=names)
    counts = (
        ("input", None, "input tokens of one call; needed without --usage"),
        ("output", None, "output tokens of one call; needed without --usage"),
        ("hit-tokens", None, "input tokens that hit the cache, as a count"),
        ("write", 0, "input tokens written to a billed cache (default 0)"),
        ("write-long", 0, "of a cache with the longer lifetime, beside --write (default 0)"),
        ("thinking", 0, "output tokens that are thinking (default 0)"),
    )
    bill.add_argument(
        "--hit-rate", type=float, metavar="SHARE", help="share of input tokens that hit the cache, 0 to 1"
    )
    for name, default, text in counts:
        dest = f"{name.replace('-', '_')}_tokens_per_call".replace("tokens_tokens", "tokens")
        bill.add_argument(f"--{name}", type=_typed_size, default=default, dest=dest, metavar="TOKENS", help=text)
    bill.add_argument("--calls", type=count_arg, default=1, help="how often the call is made (default 1)")
    day = "e.g. 2026-09-01 (its noon) or 2026-09-01T02:00, in UTC (default today)"
    bill.add_argument("--date", type=moment_arg, dest="moment", metavar="DATE", help=day)
    spread = "spread the calls evenly over that day or week, its hours of peak and off-peak: day, week"
    bill.add_argument("--over", choices=("day", "week"), metavar="SPAN", help=spread)
    bill.add_argument("--service", type=str.lower, metavar="NAME", help="e.g. batch, flex or priority, where offered")
    bill.add_argument(
        "--currency", default="USD", type=str.upper, help=f"{', '.join(prices.currencies())} (default USD)"
    )
    add_usage_options(bill)
