"""The day on which a command runs, where tests can set it."""

from __future__ import annotations

from datetime import UTC, date, datetime


def today() -> date:
    """Return the day it is, in UTC."""
    return datetime.now(UTC).date()
