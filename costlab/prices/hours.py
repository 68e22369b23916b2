"""Peak and off-peak: which of a provider's two daily prices holds when, and where one ends."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from typing import Literal

from costlab import catalog
from costlab.catalog import PriceWindow, moment
from costlab.catalog.price_lists import start_of
from costlab.prices.validity import holds

#: The two kinds of hours, each beside the other one.
_OTHER: dict[str, Literal["peak", "off-peak"]] = {"peak": "off-peak", "off-peak": "peak"}


def window_at(provider: str, when: str | date | datetime) -> Literal["peak", "off-peak"]:
    """Return which of a provider's two daily prices applies at a moment; "off-peak" where no window is known."""
    at = moment(when)
    rule = window_rule(provider, at)
    if rule is None:
        return "off-peak"
    return rule.window if _inside(rule, at) else _OTHER[rule.window]


def window_rule(provider: str, at: datetime) -> PriceWindow | None:
    """Return what divides a provider's day at a moment; None where nothing does."""
    rules = catalog.tables().windows
    return next((rule for rule in rules if rule.provider == provider and holds(rule, at)), None)


def holidays_unknown(provider: str, when: str | date | datetime) -> bool:
    """Whether a holiday at that moment would change the price, and the holidays of the time are not known."""
    at = moment(when)
    rule = window_rule(provider, at)
    return bool(
        rule and rule.holidays_known_to and at.date() > rule.holidays_known_to and window_at(provider, at) == "peak"
    )


def window_edges(provider: str, start: datetime, end: datetime) -> Iterator[datetime]:
    """Yield the moments from `start` to before `end` at which a provider's hours may change."""
    day = start.date() - timedelta(days=1)
    while day <= end.date():
        rule = window_rule(provider, datetime.combine(day, time(12), UTC))
        hours = (time(0), *(each for pair in rule.hours for each in pair)) if rule else ()
        for each in dict.fromkeys(hours):
            if start <= (at := datetime.combine(day, each, UTC)) < end:
                yield at
        day += timedelta(days=1)
    for rule in catalog.tables().windows:
        changes = (rule.valid_from, rule.valid_to) if rule.provider == provider else ()
        yield from (at for each in changes if each and start <= (at := start_of(each)) < end)


def near_edge(provider: str, when: str | date | datetime, within: timedelta) -> datetime | None:
    """Return the moment near by at which peak becomes off-peak or the reverse; None where there is none."""
    at = moment(when)
    for edge in window_edges(provider, at - within, at + within + timedelta(seconds=1)):
        before = window_at(provider, edge - timedelta(seconds=1))
        if before != window_at(provider, edge):
            return edge
    return None


def _inside(rule: PriceWindow, at: datetime) -> bool:
    if at.date() in rule.holidays or (rule.weekdays_only and at.weekday() >= 5):
        return False
    return any(
        start <= at.time() < end if start < end else (at.time() >= start or at.time() < end)
        for start, end in rule.hours
    )
