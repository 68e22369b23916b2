"""What becomes of each operator of a graph on Ascend by tables of its software, eagerly and captured, and its cost.

Nothing here ran on such a machine: a route is what the plug-in's and the converter's sources say of an operator's name,
and some kernels take only part of its types and shapes. An operator that the tables lack is "unknown", never supported.

An operator has two routes. Called as it stands (eager), it is a kernel of CANN, a view of torch_npu, a composition of
other operators, or it is copied to the host, computed there and copied back. In a captured graph, it is converted to
CANN's operators, decomposed before, or breaks the graph. The answers differ, between the routes and between versions of
torch; a share of FLOPs does not tell them apart, being nearly all of matrix products, which each route has.
"""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from costlab import catalog
from costlab.checks import one_of
from costlab.chips.porting.cautions import cautions_of
from costlab.chips.porting.graph import Graph, GraphNode, TensorSpec
from costlab.chips.porting.launches import Times, is_allocation, launches_of, once
from costlab.chips.porting.rules import BrokenRule, graph_rules, rule_sentences
from costlab.text import Table, bytes_text

Route = Literal["eager", "graph"]
ROUTES: tuple[Route, ...] = get_args(Route)

#: "fused": an operator of torch_npu's own. "erased": a check of shapes and types, which hold once captured. "unknown":
#: no row of the catalog tells. Others as in the catalog.
Status = Literal[
    "aclnn", "native", "decomposed", "cpu", "converted", "refused", "missing", "fused", "erased", "unknown"
]

#: What leaves work undone where it was asked for: on the host, or outside the graph.
UNSUPPORTED: frozenset[Status] = frozenset({"cpu", "refused", "missing", "unknown"})

#: Checks of shapes and types: whoever converts a graph erases them.
ERASED = frozenset({"aten._assert_tensor_metadata.default"})


@dataclass(frozen=True)
class OperatorRow:
    """One operator of a graph: how often it is called, with what, and what runs it."""

    op: str  # with its overload: "aten.mm.default"
    count: int  # calls
    eager: Status  # what runs it as it stands
    graph: Status  # what becomes of it in a captured graph
    names: tuple[str, ...]  # CANN's kernels for it, alternatives by argument; () where there are none
    inputs: tuple[str, ...]  # what its calls read, each kind of call once: "float32[2, 8], float32[8, 4]"
    outputs: tuple[str, ...]  # what they make, each kind once
    modules: tuple[str, ...]  # paths of the modules that call it
    lines: tuple[str, ...]  # where in the source
    launches: int  # what its calls start on the card, eagerly
    copied_bytes: int  # what its calls copy between host and card, both ways
    nearest: str | None  # the fused operator nearest to it, where one is near

    def status(self, route: Route) -> Status:
        """Return what becomes of it on a route."""
        return self.eager if route == "eager" else self.graph

    def is_unsupported(self, route: Route) -> bool:
        """Whether a route does not run it on the card."""
        return self.status(route) in UNSUPPORTED


@dataclass(frozen=True, repr=False)
class RouteReport:
    """What becomes of a graph's operators, and what that costs beside their arithmetic."""

    graph: str  # what was captured
    torch_version: str  # of PyTorch, with the first plug-in that was built for it
    rows: tuple[OperatorRow, ...]  # the most frequent operator first
    written_bytes: int  # what operators write for one another; neither weights nor what the caller gives or gets
    broken: tuple[BrokenRule, ...]  # rules of fused operators that calls do not keep
    cautions: tuple[str, ...]  # what else goes wrong on such a chip, in sentences

    @property
    def nodes(self) -> int:
        """Calls of operators."""
        return sum(row.count for row in self.rows)

    @property
    def launches(self) -> int:
        """What the calls start on the card one by one; views, allocations and checks of shapes start nothing."""
        return sum(row.launches for row in self.rows)

    @property
    def copied_bytes(self) -> int:
        """What operators that fall back to the host copy there, and what they copy back."""
        return sum(row.copied_bytes for row in self.rows)

    def unsupported(self, route: Route) -> tuple[OperatorRow, ...]:
        """Return the operators that a route does not run on the card.

        Raises:
            ValueError: a route that is neither "eager" nor "graph".
        """
        asked = one_of(ROUTES, route, "route")
        return tuple(row for row in self.rows if row.is_unsupported(asked))

    def counts(self, route: Route) -> Mapping[Status, int]:
        """Return the calls of each status on a route, the most frequent first."""
        found: Counter[Status] = Counter()
        for row in self.rows:
            found[row.status(route)] += row.count
        return dict(found.most_common())

    def table(self) -> Table:
        """Return the operators as a table, those that some route lacks first."""
        lacking = sorted(self.rows, key=lambda row: not (row.is_unsupported("eager") or row.is_unsupported("graph")))
        caption = f"Operators of {self.graph} with torch {self.torch_version} and its first plug-in"
        return Table([_shown(row) for row in lacking], caption=caption) if lacking else Table([{"operators": 0}])

    def sentences(self) -> tuple[str, ...]:
        """Return the totals, then what a route lacks, broken rules and cautions, each as a sentence."""
        totals = (
            f"{self.nodes:,} calls of {len(self.rows)} operators start {self.launches:,} kernels",
            f"operators write {bytes_text(self.written_bytes)} for one another",
            f"operators on the host copy {bytes_text(self.copied_bytes)}",
            *(f"{route}: {_counted(self.counts(route))}" for route in ROUTES),
        )
        lacks = (_lacks(row, route) for route in ROUTES for row in self.unsupported(route))
        return (*totals, *lacks, *rule_sentences(self.broken), *self.cautions)

    def __repr__(self) -> str:
        return "\n".join([repr(self.table()), "", *self.sentences()])


#: Letters of a cell that shows tensors.
_WIDEST = 34


def _shown(row: OperatorRow) -> dict[str, object]:
    return {
        "operator": row.op,
        "calls": row.count,
        "eager": row.eager,
        "graph": row.graph,
        "launches": row.launches,
        "reads": _first(row.inputs),
        "makes": _first(row.outputs),
    }


def _first(texts: tuple[str, ...]) -> str | None:
    """Return the first text, short enough for a table, and how many others there are."""
    if not texts:
        return None
    first = texts[0] if len(texts[0]) <= _WIDEST else f"{texts[0][: _WIDEST - 1]}…"
    return f"{first} and {len(texts) - 1} more" if len(texts) > 1 else first


def _counted(counts: Mapping[Status, int]) -> str:
    return ", ".join(f"{number} {status}" for status, number in counts.items())


def _lacks(row: OperatorRow, route: Route) -> str:
    """Say what a route lacks: the operator, its calls, the modules that call it, and what is near."""
    modules = ", ".join(row.modules[:3]) + (f" and {len(row.modules) - 3} more" if len(row.modules) > 3 else "")
    calls = "call" if row.count == 1 else "calls"
    near = f"; nearest fused operator: {row.nearest}" if row.nearest else ""
    return f"{route} has {row.op} {row.status(route)}: {row.count} {calls} in {modules or 'the model itself'}{near}"


# --- the report ------------------------------------------------------------------------------------------------


def route_report(graph: Graph, torch_version: str, times: Times = once) -> RouteReport:
    """Return what becomes of each operator of a graph with a version of torch.

    Args:
        graph: as captured: of eager calls, or decomposed to the core set.
        torch_version: such as "2.13"; with the first plug-in built for it, as later ones had more kernels.
        times: how often the model has a node, where the graph is of a model with one layer for many.

    Raises:
        ValueError: a version that is none, or that no plug-in is built for.
    """
    version = _version(torch_version)
    calls: dict[str, list[GraphNode]] = {}
    for node in graph.nodes:
        calls.setdefault(node.op, []).append(node)
    rows = (_row(op, nodes, graph, version, times) for op, nodes in calls.items())
    ordered = tuple(sorted(rows, key=lambda row: -row.count))
    written = written_bytes(graph, times)
    return RouteReport(graph.name, version, ordered, written, graph_rules(graph), cautions_of(graph))


def route_changes(first: RouteReport, second: RouteReport) -> Mapping[str, tuple[OperatorRow, OperatorRow]]:
    """Return the operators of which some route differs between two reports, as between two versions of torch."""
    before = {row.op: row for row in first.rows}
    both = ((before[row.op], row) for row in second.rows if row.op in before)
    return {old.op: (old, new) for old, new in both if (old.eager, old.graph) != (new.eager, new.graph)}


def _version(asked: str) -> str:
    """Return a version without its patch, if there is a plug-in for it."""
    known = catalog.operators().torch_versions
    found = re.match(r"\d+\.\d+(?=\.|\+|$)", asked)
    if not found or found[0] not in known:
        raise ValueError(f"torch version {asked!r} should be one that a plug-in is built for: {', '.join(known)}")
    return found[0]


def _row(op: str, nodes: list[GraphNode], graph: Graph, version: str, times: Times) -> OperatorRow:
    eager, in_graph, names = operator_routes(op, version)
    is_copied = eager == "cpu"
    copied = sum(times(node) * fallback_bytes(node, graph) for node in nodes) if is_copied else 0
    return OperatorRow(
        op=op,
        count=sum(map(times, nodes)),
        eager=eager,
        graph=in_graph,
        names=names,
        inputs=_each_once(_specs_text(map(graph.value, node.inputs.values())) for node in nodes),
        outputs=_each_once(_specs_text(node.outputs) for node in nodes),
        modules=_each_once(node.module for node in nodes),
        lines=_each_once(node.line for node in nodes),
        launches=sum(times(node) * (_copies(node) if is_copied else launches_of(node, graph)) for node in nodes),
        copied_bytes=copied,
        nearest=nearest_fused(op),
    )


def _each_once(texts: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(filter(None, texts)))


def _specs_text(specs: Iterable[TensorSpec]) -> str:
    return ", ".join(map(str, specs))


# --- one operator ----------------------------------------------------------------------------------------------


def operator_routes(op: str, torch_version: str) -> tuple[Status, Status, tuple[str, ...]]:
    """Return what becomes of an operator eagerly and in a graph, and CANN's kernels for it.

    Args:
        op: with its overload: "aten.mm.default", "npu.npu_swiglu.default".
        torch_version: such as "2.13".
    """
    if op in ERASED:
        return ("erased", "erased", ())
    known = catalog.operators()
    space, _, name = op.partition(".")
    if space == "npu" and (fused := known.fused.get(name.split(".")[0])):
        is_there = fused.has_kernel(torch_version)
        return ("fused", "fused", fused.aclnn) if is_there else ("missing", "missing", ())
    found = known.aten.get(name) if space == "aten" else None
    return (found.eager_at(torch_version), found.graph, found.aclnn) if found else ("unknown", "unknown", ())


def nearest_fused(op: str) -> str | None:
    """Return the fused operator that says it computes an operator, or has nearly its name; None where none does."""
    base = op.split(".")[1] if op.count(".") else op
    fused = catalog.operators().fused
    word = re.compile(rf"(?<!\w){re.escape(base)}(?!\w)")
    if said := [name for name, each in fused.items() if word.search(each.replaces)]:
        return said[0]
    close = difflib.get_close_matches(f"npu_{base.strip('_')}", fused, 1, cutoff=0.86)
    return close[0] if close else None


# --- bytes -----------------------------------------------------------------------------------------------------


def written_bytes(graph: Graph, times: Times = once) -> int:
    """Return what a graph's operators write for one another: what fusion can save.

    Counted is each tensor that an operator makes or changes in place, unless its memory belongs to the caller, as that
    of inputs, weights and outputs does. Views write nothing, nor does making room (`empty`); what is inside of an
    operator that is composed of others is not seen.

    Args:
        graph: as captured.
        times: how often the model has a node, where the graph is of a model with one layer for many.
    """
    kept = {graph.owner(name) for name in graph.outputs}
    inside = {name for name in graph.makers if graph.owner(name) in graph.makers and graph.owner(name) not in kept}
    return sum(
        times(node) * sum(graph.value(name).bytes for name in _written(node) if name in inside) for node in graph.nodes
    )


def _written(node: GraphNode) -> Iterator[str]:
    yield from node.writes
    if not is_allocation(node):
        yield from (spec.name for spec in node.outputs if spec.of is None)


def fallback_bytes(node: GraphNode, graph: Graph) -> int:
    """Return what a call copies that the host computes: all that it reads down, all that it makes or changes up."""
    down = sum(graph.value(name).bytes for name in dict.fromkeys(node.inputs.values()))
    return down + sum(graph.value(name).bytes for name in _written(node))


def _copies(node: GraphNode) -> int:
    """Return the copies of a call that the host computes, one for each tensor and way."""
    return len(set(node.inputs.values())) + sum(1 for _ in _written(node))
