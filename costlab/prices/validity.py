"""Whether something of a price list holds at a moment: from its start on, until before its end."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

from costlab.catalog.price_lists import Moment, start_of


class Dated(Protocol):
    """A row, window, service or name that holds for a time."""

    @property
    def valid_from(self) -> Moment | None:
        """First day or moment; None: from the beginning."""

    @property
    def valid_to(self) -> Moment | None:
        """First day or moment it holds no more; None: it still does."""


def holds(entry: Dated, at: datetime) -> bool:
    """Whether an entry holds at a moment."""
    begun = entry.valid_from is None or start_of(entry.valid_from) <= at
    return begun and (entry.valid_to is None or at < start_of(entry.valid_to))
