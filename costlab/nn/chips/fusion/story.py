"""A fused graph as plain data, before and after: enough to draw it, and to see whether it is still what it was."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from costlab.chips.porting.graph import Graph, GraphNode
from costlab.nn.chips.fusion.rewriting import Fused, Fusion


def fusion_story(fusion: Fusion, module: str = "") -> dict[str, Any]:
    """Return the graph before and after, or a part of it, and what each stage counts, as dictionaries, lists and words.

    `before` and `after` hold `nodes` (name, operator, shape of the first result, `fused`: the fused node that it is a
    part of, or is, "" for none) and `edges` (maker, reader). `stages` holds the counts, `fused` each fused node's
    pattern and parts, `refused` the matches that were not replaced, with the reason.

    Args:
        fusion: of a graph.
        module: path of a part, e.g. "causal.model.layers.0"; "": all. A fused node with parts in it is shown also where
            it belongs to the next part, as that of the sum at a layer's end does.

    Raises:
        ValueError: a path that no node lies under.
    """
    parts = {name: each.node for each in fusion.fused for name in each.replaced}
    before = _drawn(fusion.cleaned.graph, module, parts, ())
    if not before["nodes"]:
        raise ValueError(f"no node of {fusion.before.graph.name} lies under {module!r}")
    reached = {node["fused"] for node in before["nodes"]} - {""}
    after = _drawn(fusion.after.graph, module, {each.node: each.node for each in fusion.fused}, reached)
    shown = {node["fused"] for node in after["nodes"]} - {""}
    return {
        "graph": fusion.before.graph.name,
        "module": module,
        "stages": [vars(stage) for stage in fusion.stages],
        "before": before,
        "after": after,
        "fused": [_told(each) for each in fusion.fused if each.node in shown],
        "refused": [str(each) for each in fusion.refused if _lies_under(each.module, module)],
    }


def _told(fused: Fused) -> dict[str, Any]:
    return {
        "node": fused.node,
        "pattern": fused.pattern.name,
        "form": fused.pattern.form,
        "parts": list(fused.replaced),
    }


def _lies_under(path: str, module: str) -> bool:
    return not module or path == module or path.startswith(f"{module}.")


def _drawn(graph: Graph, module: str, fused: Mapping[str, str], besides: Collection[str]) -> dict[str, Any]:
    kept = [node for node in graph.nodes if _lies_under(node.module, module) or node.name in besides]
    names = {node.name for node in kept}
    nodes = [
        {
            "name": node.name,
            "op": node.op,
            "shape": _shape(node),
            "fused": fused.get(node.name, ""),
            "view": node.is_view,
        }
        for node in kept
    ]
    return {"nodes": nodes, "edges": [list(edge) for edge in _edges(graph, kept, names)]}


def _shape(node: GraphNode) -> list[int]:
    return list(node.outputs[0].shape) if node.outputs else []


def _edges(graph: Graph, kept: list[GraphNode], names: Collection[str]) -> Iterator[tuple[str, str]]:
    for node in kept:
        makers = (graph.makers.get(value) for value in node.inputs.values())
        for name in dict.fromkeys(maker.name for maker in makers if maker):
            if name in names:
                yield name, node.name
