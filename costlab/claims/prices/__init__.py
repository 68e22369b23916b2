"""Claims about list prices, settled: cuts, rows of the lists, ratios between them, and how the market moved.

A claim is settled on the day that its article is of, and where it says something of the market in general, on a day of
November 2026 as well (`days.NOW`); the finding names both.

Chapter: prices
"""

from costlab.claims.prices import cuts, days, lists, market, ratios  # each but `days` registers its settlers

__all__ = ["cuts", "days", "lists", "market", "ratios"]
