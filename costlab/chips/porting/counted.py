"""Graphs that were counted once, so that their numbers can be told where torch is missing.

`tools/count_graphs.py` captures each with torch, fuses what patterns match, and stores the counts in counted.json. A
small model has one layer of each kind; the whole model's figures count a layer as often as it stands for one.

Chapter: chips
"""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from pathlib import Path

#: Where the counts are stored.
COUNTS = Path(__file__).with_name("counted.json")


@dataclass(frozen=True)
class CountedGraph:
    """What was counted in one captured graph, and what follows for the whole model."""

    model: str  # key in the catalog
    maker: str  # whose modules: "costlab" or "transformers"
    layers: int  # captured, one of each kind
    whole_layers: int  # of the model
    calls: int  # of operators in the captured layers
    whole_calls: int  # the same in all layers
    operators: int  # different operators among them
    launches: int  # that the calls start one by one
    fused_launches: int  # the same after fusion
    matches: int  # places in the captured layers where a fused operator took the place of several
    whole_matches: int  # the same in all layers
    whole_replaced: int  # calls in all layers that fused operators took the place of
    written_bytes: int  # that operators write for one another
    fused_written_bytes: int  # the same after fusion
    peak_bytes: int  # of the memory between operators
    fused_peak_bytes: int  # the same after fusion


@functools.cache
def counted_graphs() -> tuple[CountedGraph, ...]:
    """Return every graph that was counted."""
    return tuple(CountedGraph(**each) for each in json.loads(COUNTS.read_text(encoding="utf-8")))
