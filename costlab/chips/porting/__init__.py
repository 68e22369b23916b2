"""Porting a captured graph: routes of its operators, rules of fused ones, opsets, launches, memory."""

from costlab.chips.porting.graph import ELEMENT_BYTES, Graph, GraphNode, TensorSpec
from costlab.chips.porting.launches import LaunchCosts, LaunchTime, layer_launches, launch_time
from costlab.chips.porting.memory import Buffer, MemoryPlan, assign_offsets, lifetimes, plan_memory

__all__ = [
    "ELEMENT_BYTES", "Buffer", "Graph", "GraphNode", "LaunchCosts", "LaunchTime", "MemoryPlan", "TensorSpec",
    "assign_offsets", "launch_time", "layer_launches", "lifetimes", "plan_memory",
]  # fmt: skip
