"""Figures of the chapter `levers`: predicted list prices beside the real ones.

Chapter: levers
"""

from __future__ import annotations

from costlab.explore.drawing import Words, drawn


@drawn
def predicted_prices() -> Words:
    """Draw predicted against listed prices of hits, misses and output, with the band of twice and half."""
    raise NotImplementedError
