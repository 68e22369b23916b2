"""What a captured graph holds and no chip runs: taken out, and counted by kind, before patterns are looked for.

A trace notes checks of types and shapes, casts of a tensor to the type that it has, dropout that evaluation skips, and
results that nobody reads. None of them starts anything on a chip: without them a graph has fewer nodes, and as many
launches but for the results that nobody reads.
"""

from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, fx

_aten = torch.ops.aten
_CASTS = (_aten.to.dtype, _aten.to.dtype_layout, _aten.to.device, _aten.to.other)
_CHECKS = ("_assert_tensor_metadata", "_assert_scalar", "_assert_async", "sym_constrain_range_for_size")

#: Kinds of what is taken out, in words.
CLEANED = {
    "check": "checks of types and shapes",
    "cast": "casts to the type that is there",
    "dropout": "dropout that evaluation skips",
    "alias": "other names of one tensor",
    "unread": "results that nobody reads",
}


def clean_graph(graph: fx.Graph) -> Mapping[str, int]:
    """Take out of a graph what no chip runs, in place, and return how many nodes of each kind of `CLEANED` went.

    Args:
        graph: as torch.export makes it, with the values of its nodes noted.
    """
    found: Counter[str] = Counter()
    for node in list(graph.nodes):
        if node.op == "call_function" and (kind := _kind(node)):
            if kind != "check":
                node.replace_all_uses_with(node.args[0])
            graph.erase_node(node)
            found[kind] += 1
    found["unread"] = _sweep(graph)
    return {kind: found[kind] for kind in CLEANED}


def _kind(node: fx.Node) -> str | None:
    """Return why a node can go, if it can."""
    if str(node.target).split(".")[-2:-1] and any(check in str(node.target) for check in _CHECKS):
        return "check" if not node.users else None
    if node.target in _CASTS:
        return "cast" if _same(node) else None
    if node.target == _aten.dropout.default:
        return "dropout" if node.args[1] == 0 or node.args[2] is False else None
    return "alias" if node.target == _aten.alias.default else None


def _same(node: fx.Node) -> bool:
    """Whether a cast gives the type and device that are there, without a copy."""
    before, after = (each.meta.get("val") for each in (node.args[0], node))
    if not isinstance(before, Tensor) or not isinstance(after, Tensor) or _asks_for_copy(node):
        return False
    return (before.dtype, before.device, before.layout) == (after.dtype, after.device, after.layout)


def _asks_for_copy(node: fx.Node) -> bool:
    given: dict[str, Any] = dict(zip((each.name for each in node.target._schema.arguments), node.args, strict=False))
    given |= node.kwargs
    return bool(given.get("copy"))


def _sweep(graph: fx.Graph) -> int:
    """Erase calls whose results nobody reads and that change nothing."""
    swept = 0
    for node in reversed(list(graph.nodes)):
        if node.op == "call_function" and not node.users and _is_pure(node):
            graph.erase_node(node)
            swept += 1
    return swept


def _is_pure(node: fx.Node) -> bool:
    schema = getattr(node.target, "_schema", None)
    return node.target is operator.getitem or (schema is not None and not schema.is_mutable)
