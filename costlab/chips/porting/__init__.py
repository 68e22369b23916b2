"""Porting a captured graph to other hardware: routes of its operators, rules of fused ones, opsets, launches, memory."""

from costlab.chips.porting.graph import ELEMENT_BYTES, Graph, GraphNode, TensorSpec

__all__ = ["ELEMENT_BYTES", "Graph", "GraphNode", "TensorSpec"]
