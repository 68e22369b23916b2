"""Figures of the chapter `chips`: what an owned hour is paid for, what decides it, and when a rent is cheaper.

Chapter: chips
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes

from costlab import catalog
from costlab.chips import Ownership, ownership
from costlab.chips.owning import PARTS
from costlab.explore.drawing import Words, drawn, is_narrow, value
from costlab.explore.style import COLOURS, INK, colour_key, label_ends, log_axis, new_figure, on, share_axis

#: The day of the chapter's purchases: that of its newest offer.
DAY = "2026-10-15"
#: Machines of the chapter by name: key of the chip, and where it stands.
MACHINES: Mapping[str, tuple[str, str]] = {
    "H20, China": ("h20", "China"),
    "910B2, China": ("ascend-910b", "China"),
    "H100, United States": ("h100-sxm", "United States"),
}


@functools.lru_cache(maxsize=8)
def machine(name: str) -> Ownership:
    """Return one of the chapter's machines with all its assumptions.

    Raises:
        ValueError: a name that is not in `MACHINES`.
    """
    if name not in MACHINES:
        raise ValueError(f"machine {name!r} should be one of {', '.join(MACHINES)}")
    chip, place = MACHINES[name]
    return ownership(chip, place, DAY, "USD")
