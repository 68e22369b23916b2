"""Capture a small model's graph, fuse it, and store one layer before and after and the graph's counts, for a picture.

python tools/record_fusion.py
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from costlab.explore.chips_diagrams import FUSION
from costlab.nn.chips.capture import capture
from costlab.nn.chips.fusion import fuse, fusion_story
from costlab.nn.chips.small import small_model

MODEL, LAYER = "mimo-v2-flash", "causal.model.layers.0"
WHERE = "layer 0 of a small MiMo-V2-Flash of transformers"


def record() -> Mapping[str, Any]:
    """Return what is stored."""
    small = small_model(MODEL, of="transformers")
    fusion = fuse(capture(small.module, small.inputs, small.name))
    return {"where": WHERE, "layer": _slim(fusion_story(fusion, LAYER))}


def _slim(story: dict[str, Any]) -> dict[str, Any]:
    """Leave out what the picture does not show: edges, shapes, forms."""
    kept = ("name", "op", "fused", "view")
    sides = {
        side: {"nodes": [{key: node[key] for key in kept} for node in story[side]["nodes"]]}
        for side in ("before", "after")
    }
    return {**sides, "fused": [{key: each[key] for key in ("node", "pattern")} for each in story["fused"]]}


if __name__ == "__main__":
    FUSION.write_text(json.dumps(record(), indent=1) + "\n", encoding="utf-8")
