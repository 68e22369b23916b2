"""Porting a captured graph: routes of its operators, rules of fused ones, opsets, launches, memory."""

from costlab.chips.porting.graph import ELEMENT_BYTES, Graph, GraphNode, TensorSpec

__all__ = ["ELEMENT_BYTES", "Graph", "GraphNode", "TensorSpec"]
