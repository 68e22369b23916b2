"""What fused operators ask of their arguments, and the call of a graph that does not fit.

That a pattern of operators matches says nothing of shapes: a fused operator takes some widths of a head and not others.
The rules stand in the catalog, each with its source. A call is looked at through its sizes, by name:

    head_width, value_width   numbers of a query's and of a value's head
    query_heads, kv_heads     heads of each
    rank                      axes of the first tensor
    dtype                     of the first tensor, as torch names it
    mask_dtype                of the mask: "bool", "float32", ...; "none" without one
    weight                    "given" or "none"

>>> from datetime import date
>>> rule = ShapeRule("head_width", "a head of 64 or 128", "its documentation", date(2026, 1, 1), one_of=(64, 128))
>>> broken((rule,), {"head_width": 512}, "npu_x", "attention")
(BrokenRule(npu_x at attention: head_width 512, but a head of 64 or 128),)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from costlab import catalog
from costlab.catalog import ShapeRule
from costlab.checks import pick
from costlab.chips.porting.graph import Graph, GraphNode, TensorSpec

#: The pattern that an operator is by itself, by its name without overload: torch's, and what fusion leaves.
PATTERN_OF: Mapping[str, str] = {
    "scaled_dot_product_attention": "attention",
    "_scaled_dot_product_flash_attention_for_cpu": "attention",
    "_scaled_dot_product_efficient_attention": "attention",
    "rms_norm": "rms_norm",
    "_fused_rms_norm": "rms_norm",
}


@dataclass(frozen=True, repr=False)
class BrokenRule:
    """A rule of a fused operator, and the call that does not keep it."""

    fused: str  # the fused operator
    where: str  # the node, and its module where known
    rule: ShapeRule  # that is not kept
    found: int | str  # what the call has in its place

    def __repr__(self) -> str:
        return f"BrokenRule({self})"

    def __str__(self) -> str:
        return f"{self.fused} at {self.where}: {self.rule.size} {self.found}, but {self.rule.says}"


def keeps(rule: ShapeRule, value: int | str) -> bool:
    """Whether a value keeps a rule."""
    if rule.one_of and value not in rule.one_of:
        return False
    if isinstance(value, str):
        return True
    small = rule.most is None or value <= rule.most
    even = rule.multiple_of is None or value % rule.multiple_of == 0
    return small and even and (not rule.power_of_two or (value > 0 and value & (value - 1) == 0))


def broken(
    rules: Iterable[ShapeRule], sizes: Mapping[str, int | str], fused: str, where: str
) -> tuple[BrokenRule, ...]:
    """Return the rules that a call does not keep; a rule about a size that is not given is not judged.

    Args:
        rules: of the fused operator.
        sizes: of the call, by the names that rules use.
        fused: name of the operator, for the answer.
        where: name of the call, for the answer.
    """
    judged = ((rule, sizes[rule.size]) for rule in rules if rule.size in sizes)
    return tuple(BrokenRule(fused, where, rule, value) for rule, value in judged if not keeps(rule, value))


def check_call(fused: str, sizes: Mapping[str, int | str], where: str = "a call") -> tuple[BrokenRule, ...]:
    """Return the catalog's rules of a fused operator that a call of these sizes does not keep.

    Raises:
        ValueError: an operator that the catalog lacks.
    """
    return broken(pick(catalog.operators().fused, fused, "fused operator").rules, sizes, fused, where)


def call_sizes(node: GraphNode, graph: Graph) -> Mapping[str, int | str]:
    """Return the sizes of a call that rules ask for, as far as its arguments' names tell them."""
    given = {name: graph.value(value) for name, value in node.inputs.items()}
    first = next(iter(given.values()), None)
    found: dict[str, int | str] = {"rank": len(first.shape), "dtype": first.dtype} if first else {}
    if "query" in given and "key" in given:
        found |= _attention(given)
    elif "rms_norm" in node.op:
        found["weight"] = "given" if {"weight", "gamma"} & given.keys() else "none"
    return found


def _attention(given: Mapping[str, TensorSpec]) -> dict[str, int | str]:
    """Return the sizes of attention over [..., heads, tokens, width]."""
    query, key, mask = given["query"], given["key"], given.get("attn_mask") or given.get("mask")
    found: dict[str, int | str] = {"head_width": query.shape[-1], "mask_dtype": mask.dtype if mask else "none"}
    if "value" in given:
        found["value_width"] = given["value"].shape[-1]
    if len(query.shape) > 3 and len(key.shape) > 3:
        found |= {"query_heads": query.shape[-3], "kv_heads": key.shape[-3]}
    return found


def rule_sentences(found: Iterable[BrokenRule]) -> tuple[str, ...]:
    """Return a sentence for each rule and value that breaks it, with the first call that has it and their number."""
    groups: dict[tuple[str, str, int | str], list[BrokenRule]] = {}
    for each in found:
        groups.setdefault((each.fused, each.rule.says, each.found), []).append(each)
    return tuple(f"{group[0]}{_more(len(group) - 1)}" for group in groups.values())


def _more(others: int) -> str:
    return f" (and {others} more {'call' if others == 1 else 'calls'})" if others else ""


def graph_rules(graph: Graph) -> tuple[BrokenRule, ...]:
    """Return each rule of a fused operator that a call of a graph, which it could take the place of, does not keep."""
    return tuple(each for node in graph.nodes for each in _node_rules(node, graph))


def _node_rules(node: GraphNode, graph: Graph) -> Iterable[BrokenRule]:
    space, _, rest = node.op.partition(".")
    name = rest.split(".")[0]
    where = f"{node.name} in {node.module}" if node.module else node.name
    sizes = call_sizes(node, graph)
    for fused, record in catalog.operators().fused.items():
        if (space == "npu" and fused == name) or (record.pattern and PATTERN_OF.get(name) == record.pattern):
            yield from broken(record.rules, sizes, fused, where)
