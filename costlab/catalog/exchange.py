"""Days, and the exchange rate of a day.

Chapter: prices
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, time

from costlab.catalog.records import FxRate

#: The course's tables are dated by this day: after the cuts of May 2026, before the rises of August.
LESSON_DAY = date(2026, 6, 1)


def moment(when: str | date | datetime) -> datetime:
    """Return a moment in UTC; a day alone means its noon.

    Noon is off-peak in the windows of 2026; in the night discount of 2025 it is the full price, then called "peak".

    Args:
        when: a date, a datetime, or ISO text such as "2026-06-01" or "2026-09-01T02:00"; without zone it is UTC.

    Raises:
        ValueError: a text that is no date, quoted.
    """
    if isinstance(when, str):
        try:
            when = _parsed(when)
        except (ValueError, OverflowError) as error:
            raise ValueError(f"date {when!r} should look like 2026-06-01 or 2026-09-01T02:00") from error
    if isinstance(when, datetime):
        return when.astimezone(UTC) if when.tzinfo else when.replace(tzinfo=UTC)
    return datetime.combine(when, time(12), UTC)


def _parsed(text: str) -> date | datetime:
    try:
        return date.fromisoformat(text)
    except ValueError:
        return moment(datetime.fromisoformat(text))


def currencies_of(rows: Sequence[FxRate]) -> tuple[str, ...]:
    """Return the currencies that rows of rates name, in alphabetical order."""
    return tuple(sorted({c for r in rows for c in (r.base, r.quote)}))


def convert(
    rows: Sequence[FxRate], base: str, quote: str, day: date, claims: bool = False
) -> tuple[float, tuple[FxRate, ...]]:
    """Return a rate and the rows behind it: one, two that were multiplied, or none for the same currency.

    Args:
        rows: known rates.
        base: currency code.
        quote: currency code.
        day: the latest rate on or before it is taken, else the first after.
        claims: prefer a rate that only an article uses, where it is the latest.

    Raises:
        ValueError: a pair that the rows do not join; the message lists the currencies that they name.
    """
    if base == quote:
        return 1.0, ()
    if direct := _pair_rate(rows, base, quote, day, claims):
        return direct[0], (direct[1],)
    known = currencies_of(rows)
    for middle in known:
        first, second = _pair_rate(rows, base, middle, day, claims), _pair_rate(rows, middle, quote, day, claims)
        if first and second:
            return first[0] * second[0], (first[1], second[1])
    raise ValueError(f"no exchange rate from {base!r} to {quote!r}; currencies known: {', '.join(known)}")


def _pair_rate(rows: Sequence[FxRate], base: str, quote: str, day: date, claims: bool) -> tuple[float, FxRate] | None:
    """Return the rate of a pair that the rows hold in either direction, and its row, or None."""
    rates = [r for r in rows if {r.base, r.quote} == {base, quote} and r.claim <= claims and not r.implied]
    if not rates:
        return None
    before = [r for r in rates if r.date <= day]
    # of one day's rates an article's comes last, so that `claims` finds it
    best = max(before, key=lambda r: (r.date, r.claim)) if before else min(rates, key=lambda r: r.date)
    return best.rate if best.base == base else 1 / best.rate, best
