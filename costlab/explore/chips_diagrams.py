"""Diagrams of the chapter `chips`: what becomes of operators on another maker's chip, and a layer before and after.

Chapter: chips
"""

from __future__ import annotations

import functools
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from costlab import catalog
from costlab.checks import one_of
from costlab.explore import shapes
from costlab.explore.drawing import Words, drawn, is_narrow, value
from costlab.explore.style import COLOURS, colour_key, on

#: What `tools/record_fusion.py` stored of `costlab.nn.chips.fusion`.
FUSION = Path(__file__).with_name("chips_fusion.json")

# --- routes ------------------------------------------------------------------------------------------------------

#: What becomes of an operator: words, colour, and the statuses that mean it, eagerly or in a graph.
_FATES: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("a kernel of the chip", "hit", ("aclnn", "converted")),
    ("a view, a copy, memory", "other", ("native",)),
    ("made of other operators", "dram", ("decomposed",)),
    ("the host, or a break", "dropped", ("cpu", "refused", "missing")),
)


def core_routes(torch_version: str = "2.13") -> Mapping[str, Mapping[str, int]]:
    """Return how many of PyTorch's core operators meet each fate, on either route.

    Args:
        torch_version: such as "2.13"; the routes of a graph do not depend on it.

    Raises:
        ValueError: a version that no plug-in is built for.
    """
    version = one_of(catalog.operators().torch_versions, torch_version, "torch version")
    core = [each for each in catalog.operators().aten.values() if each.core]
    routes: Mapping[str, Counter[str]] = {
        "eager": Counter(each.eager_at(version) for each in core),
        "graph": Counter(each.graph for each in core),
    }
    return {
        route: {words: sum(counts[status] for status in of) for words, _, of in _FATES}
        for route, counts in routes.items()
    }


@drawn
def operator_fates(torch_version: str = "2.13") -> Words:
    """Draw what becomes of PyTorch's core operators on Ascend, called one by one and in a captured graph.

    Args:
        torch_version: such as "2.13".

    Raises:
        ValueError: a version that no plug-in is built for.
    """
    found = core_routes(torch_version)
    total = sum(found["eager"].values())
    names = {"eager": "one by one (eager)", "graph": "in a captured graph"}
    colour_key([(words, COLOURS[colour]) for words, colour, _ in _FATES])
    left, right = 1.0, shapes.across() - 1.0
    parts = []
    for place, (route, counts) in enumerate(found.items()):
        y, x = 6.0 + 56 * place, left
        parts.append(shapes.text(left, y + 11, names[route], size=10.5))
        for words, colour, _ in _FATES:
            width = (right - left) * counts[words] / total
            if width:
                parts.append(shapes.box(x, y + 17, width, 24, COLOURS[colour]))
            if width > 14:
                ink = on(COLOURS[colour])
                number = f"{counts[words]}"
                parts.append(shapes.text(x + width / 2, y + 33, number, size=10, anchor="middle", colour=ink))
            x += width
    shapes.diagram(f"What becomes of PyTorch's {total} core operators?", 116, parts)
    said = "; ".join(
        f"{names[route]}: " + ", ".join(f"{number} {words}" for words, number in counts.items())
        for route, counts in found.items()
    )
    lost = {route: counts[_FATES[-1][0]] for route, counts in found.items()}
    return Words(
        f"Two bars of {total} operators each, with torch {torch_version}. {said}.",
        f"With torch {torch_version}: {value(lost['eager'], str(lost['eager']))} go to the host when called one by "
        "one; "
        f"{value(lost['graph'], str(lost['graph']))} break a captured graph.",
    )


# --- a layer before and after ------------------------------------------------------------------------------------

#: Colours of the fused operators, by pattern.
_PATTERNS = {
    "rms_norm": "latent",
    "add_rms_norm": "index",
    "rotary": "ssd",
    "attention": "full",
    "swiglu": "compute",
    "gating": "link",
}


@dataclass(frozen=True)
class FusedGroup:
    """Operators of a layer that one fused operator takes the place of, or one operator that stays."""

    before: tuple[str, ...]  # names of what runs before, views left out
    after: str  # name of what runs after
    pattern: str  # the pattern that matched; "" for an operator that stays


@functools.lru_cache(maxsize=1)
def fusion_record() -> Mapping[str, Any]:
    """Return what was stored of a fusion: a layer's operators before and after, and counts of the whole graph."""
    found: Mapping[str, Any] = json.loads(FUSION.read_text(encoding="utf-8"))
    return found


def fused_groups(story: Mapping[str, Any]) -> list[FusedGroup]:
    """Return a layer's operators in the order in which the fused layer runs them, without views.

    Args:
        story: as `costlab.nn.chips.fusion.fusion_story` makes it.
    """
    parts: dict[str, list[str]] = {}
    for node in story["before"]["nodes"]:
        if not node["view"]:
            parts.setdefault(node["fused"] or node["name"], []).append(_short_name(node["op"]))
    patterns = {each["node"]: each["pattern"] for each in story["fused"]}
    return [
        FusedGroup(tuple(parts.get(node["name"], ())), _short_name(node["op"]), patterns.get(node["fused"], ""))
        for node in story["after"]["nodes"]
        if not node["view"]
    ]


def _short_name(op: str) -> str:
    """ "aten.mul.Tensor" as mul, "costlab_fused.rms_norm.default" as rms_norm."""
    return op.split(".")[1]


@drawn
def fused_layer() -> Words:
    """Draw the operators of one captured layer, and those of the same layer after fusion, group by group."""
    groups = fused_groups(fusion_record()["layer"])
    narrow = is_narrow()
    columns, wide, gap, right_x = (3, 50.0, 3.0, 178.0) if narrow else (4, 74.0, 4.0, 374.0)
    row, size, right_width = 20.0, 9.0 if narrow else 9.5, shapes.across() - right_x - 1
    heads = ((1.0, "captured"), (right_x, "fused"))
    parts = [shapes.text(x, 11, head, size=10.5, bold=True) for x, head in heads]
    y = 20.0
    for group in groups:
        colour = COLOURS[_PATTERNS[group.pattern]] if group.pattern else ""
        rows = max(1, -(-len(group.before) // columns))
        height = rows * row
        for place, name in enumerate(group.before):
            x, top = 1 + (wide + gap) * (place % columns), y + row * (place // columns)
            parts += _operator(x, top, wide, row - 4, name, colour, size)
        end = 1 + (wide + gap) * min(columns, len(group.before)) - gap
        middle = y + height / 2 - 2
        parts.append(shapes.arrow([(end + 4, middle), (right_x - 3, middle)], width=0.8, head=5))
        parts += _operator(right_x, middle - row / 2 + 2, right_width, row - 4, group.after, colour, size)
        y += height + 3
    shapes.diagram("What is left of a layer after fusion?", y, parts)
    return _layer_said(groups)


def _operator(x: float, y: float, width: float, height: float, name: str, colour: str, size: float) -> list[str]:
    """A box with an operator's name: filled where it is part of a fused one."""
    look = shapes.box(x, y, width, height, colour or "none", edge="" if colour else "currentColor", line=0.6, round=3)
    ink = on(colour) if colour else ""
    return [look, shapes.text(x + width / 2, y + height - 4.2, name, size=size, anchor="middle", colour=ink)]


def _layer_said(groups: Sequence[FusedGroup]) -> Words:
    before = sum(len(group.before) for group in groups)
    fused = [group for group in groups if group.pattern]
    listed = "; ".join(f"{', '.join(group.before)} become {group.after}" for group in fused)
    where = fusion_record()["where"]
    return Words(
        f"The operators of {where} that start something on a chip, in the order in which they run: {before} as "
        f"captured, on the left, and {len(groups)} after fusion, on the right. {listed}. The others stay.",
        f"Of {where}, views left out: {value(before, f'{before} operators')} before, "
        f"{value(len(groups), str(len(groups)))} after. Filled: what "
        f"{value(len(fused), f'{len(fused)} fused operators')} take the place of.",
    )
