"""Porting a captured graph: routes of its operators, rules of fused ones, opsets, launches, memory."""

from costlab.chips.porting.cautions import FAST_PATHS, cautions_of, fast_paths, router_cautions
from costlab.chips.porting.counted import CountedGraph, counted_graphs
from costlab.chips.porting.graph import ELEMENT_BYTES, Graph, GraphNode, TensorSpec
from costlab.chips.porting.launches import (
    LaunchCosts,
    LaunchTime,
    OperatorKind,
    Times,
    is_allocation,
    kind_of,
    launch_costs,
    launch_time,
    launches_of,
    once,
)
from costlab.chips.porting.memory import Buffer, MemoryPlan, assign_offsets, lifetimes, plan_memory
from costlab.chips.porting.opsets import OnnxCoverage, OnnxList, check_opset, last_opset, names_at, onnx_coverage
from costlab.chips.porting.routes import (
    OperatorRow,
    Route,
    RouteReport,
    Status,
    fallback_bytes,
    nearest_fused,
    operator_routes,
    route_changes,
    route_report,
    written_bytes,
)
from costlab.chips.porting.rules import BrokenRule, broken, call_sizes, check_call, graph_rules, rule_sentences

__all__ = [
    "ELEMENT_BYTES", "FAST_PATHS", "BrokenRule", "Buffer", "CountedGraph", "Graph", "GraphNode", "LaunchCosts",
    "LaunchTime", "MemoryPlan", "OnnxCoverage", "OnnxList", "OperatorKind", "OperatorRow", "Route", "RouteReport",
    "Status", "TensorSpec", "Times", "assign_offsets", "broken", "call_sizes", "cautions_of", "check_call",
    "check_opset", "counted_graphs", "fallback_bytes", "fast_paths", "graph_rules", "is_allocation", "kind_of",
    "last_opset", "launch_costs", "launch_time", "launches_of", "lifetimes", "names_at", "nearest_fused", "once",
    "onnx_coverage", "operator_routes", "plan_memory", "route_changes", "route_report", "router_cautions",
    "rule_sentences", "written_bytes",
]  # fmt: skip
