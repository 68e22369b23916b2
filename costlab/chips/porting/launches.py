"""What starting operators one by one costs: a launch each, beside the time that the hardware needs for their work.

In eager mode the host starts each operator by itself. Where a step's arithmetic takes less than that, the launches are
its time; graph mode records them once and replays them together. Huawei's own model adds a fixed time to every
operator, by its kind.

>>> from costlab.chips.porting.graph import Graph, GraphNode, TensorSpec
>>> x, y = TensorSpec("x", (2, 8), "bfloat16"), TensorSpec("y", (2, 8), "bfloat16")
>>> graph = Graph("toy", (GraphNode("silu", "aten.silu.default", {"self": "x"}, (y,)),), (x,), (), ("y",))
>>> launch_time(graph, LaunchCosts(matrix_s=5e-6, vector_s=2e-6, collective_s=10e-6))
toy: 1 launch (0 matrix, 1 vector, 0 collective) takes 0.002 ms
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from costlab import catalog
from costlab.chips.porting.graph import Graph, GraphNode

OperatorKind = Literal["matrix", "vector", "collective"]
#: How often a model has a node of the graph that stands for it.
Times = Callable[[GraphNode], int]

#: Words of operators' names that tell matrix products, and parts that tell an exchange between cards.
_MATRIX = frozenset(
    {
        "addmm", "addmv", "attention", "baddbmm", "batchmatmul", "bmm", "conv1d", "conv2d", "convolution", "einsum",
        "ffn", "indexer", "linear", "matmul", "mm", "mv", "prolog",
    }
)  # fmt: skip
_COLLECTIVE = ("all_reduce", "all_gather", "reduce_scatter", "all_to_all", "broadcast", "distribute_")

#: The product of many groups of rows, each with a matrix of its own: the experts of a layer.
GROUPED = "_grouped_mm.default"


@dataclass(frozen=True)
class LaunchCosts:
    """Seconds that one operator takes whatever its size, by kind."""

    matrix_s: float  # a matrix product or attention
    vector_s: float  # anything else on one card
    collective_s: float  # an exchange between cards

    def __post_init__(self) -> None:
        for kind in get_args(OperatorKind):
            if not self.of(kind) >= 0:
                raise ValueError(f"{kind}_s = {self.of(kind)!r} should be seconds of at least 0")

    def of(self, kind: OperatorKind) -> float:
        """Return the seconds of one kind."""
        return {"matrix": self.matrix_s, "vector": self.vector_s, "collective": self.collective_s}[kind]


@dataclass(frozen=True, repr=False)
class LaunchTime:
    """Launches of a graph in eager mode, and what they take."""

    graph: str  # what was counted
    launches: Mapping[OperatorKind, int]  # launches of each kind
    costs: LaunchCosts  # what one takes

    @property
    def count(self) -> int:
        """Launches of all kinds."""
        return sum(self.launches.values())

    @property
    def seconds(self) -> float:
        """Time of all launches, one after another."""
        return sum(number * self.costs.of(kind) for kind, number in self.launches.items())

    def share(self, step_s: float) -> float:
        """Return the launches' share of a step that takes `step_s` on the hardware, launches added to it.

        Raises:
            ValueError: a step of no time.
        """
        if not step_s > 0:
            raise ValueError(f"step_s = {step_s!r} should be above 0")
        return self.seconds / (self.seconds + step_s)

    def __repr__(self) -> str:
        kinds = ", ".join(f"{number} {kind}" for kind, number in self.launches.items())
        word, takes = ("launch", "takes") if self.count == 1 else ("launches", "take")
        return f"{self.graph}: {self.count:,} {word} ({kinds}) {takes} {self.seconds * 1e3:.3g} ms"


def once(node: GraphNode) -> int:
    """Return 1: the graph is of the whole model."""
    return 1


def kind_of(node: GraphNode) -> OperatorKind:
    """Return the kind that an operator is of, by its name."""
    name = node.op.split(".")[1] if node.op.count(".") > 1 else node.op
    if any(part in name for part in _COLLECTIVE) or node.op.startswith("_c10d_functional."):
        return "collective"
    return "matrix" if _MATRIX & set(name.split("_")) else "vector"


def is_allocation(node: GraphNode) -> bool:
    """Whether a call only makes room for a tensor."""
    return node.op.removeprefix("aten.").startswith(("empty", "new_empty"))


def launches_of(node: GraphNode, graph: Graph) -> int:
    """Return how often a call starts something on the card.

    Views, allocations and checks of shapes start nothing; an operator that is composed of others starts each of them,
    as the catalog counts them. A product of many groups that is composed is one product for each of them.
    """
    if node.is_view or is_allocation(node):
        return 0
    name = node.op.removeprefix("aten.")
    if name == GROUPED:
        shapes = (graph.value(value).shape for value in node.inputs.values())
        return max((shape[0] for shape in shapes if len(shape) == 3), default=1)
    found = catalog.operators().aten.get(name)
    return found.launches if found else 1


def launch_costs() -> LaunchCosts:
    """Return what one launch of each kind takes on Ascend, as the catalog has it."""
    found = {figure.part: figure.value for figure in catalog.tables().costs.values() if figure.what == "launch"}
    return LaunchCosts(**{f"{kind}_s": found[kind] for kind in get_args(OperatorKind)})


def launch_time(graph: Graph, costs: LaunchCosts | None = None, times: Times = once) -> LaunchTime:
    """Return the launches of a graph in eager mode by kind, and their time.

    Args:
        graph: as captured.
        costs: of one launch of each kind; None: the catalog's, of Ascend.
        times: how often the model has a node, where the graph is of a model with one layer for many: launches depend
            on the number of layers and not on their width.
    """
    found: dict[OperatorKind, int] = dict.fromkeys(get_args(OperatorKind), 0)
    for node in graph.nodes:
        found[kind_of(node)] += times(node) * launches_of(node, graph)
    return LaunchTime(graph.name, found, costs or launch_costs())
