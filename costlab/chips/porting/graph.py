"""A captured graph as plain records: which operator reads and makes which tensors, of which shape, where in the code.

Values are tensors. Each has a name that is unique in its graph; a node reads values by name and makes new ones. A
value that shares another's memory says so in `of`: the result of a view, or of a change in place. So bytes, launches
and memory can be counted without torch, and a graph can be stored as JSON.

>>> x, y = TensorSpec("x", (2, 8), "bfloat16"), TensorSpec("y", (2, 8), "bfloat16")
>>> silu = GraphNode("silu", "aten.silu.default", {"self": "x"}, (y,))
>>> graph = Graph("toy", (silu,), inputs=(x,), weights=(), outputs=("y",))
>>> graph.value("y").bytes, Graph.from_json(graph.to_json()) == graph
(32, True)
"""

from __future__ import annotations

import dataclasses
import functools
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from costlab.checks import pick, whole

T = TypeVar("T")

#: Bytes of one element, by torch's name of its type; float4_e2m1fn_x2 holds two numbers in one.
ELEMENT_BYTES: Mapping[str, int] = {
    "bool": 1, "uint8": 1, "int8": 1, "int16": 2, "int32": 4, "int64": 8, "uint16": 2, "uint32": 4, "uint64": 8,
    "float16": 2, "bfloat16": 2, "float32": 4, "float64": 8, "complex64": 8, "complex128": 16,
    "float8_e4m3fn": 1, "float8_e5m2": 1, "float8_e4m3fnuz": 1, "float8_e5m2fnuz": 1, "float8_e8m0fnu": 1,
    "float4_e2m1fn_x2": 1,
}  # fmt: skip


@dataclass(frozen=True)
class TensorSpec:
    """One value of a graph: a tensor's name, shape and type."""

    name: str  # unique in its graph
    shape: tuple[int, ...]  # extent of each axis; () of a scalar
    dtype: str  # as torch names it: "bfloat16", "int64", "bool"
    of: str | None = None  # the value whose memory it shares, being a view of it or it changed in place; None: its own

    def __post_init__(self) -> None:
        pick(ELEMENT_BYTES, self.dtype, f"dtype of {self.name!r}")
        for extent in self.shape:
            if whole(extent, f"an extent of {self.name!r}") < 0:
                raise ValueError(f"shape {self.shape} of {self.name!r} should have extents of at least 0")

    @property
    def elements(self) -> int:
        """Count of its numbers."""
        return math.prod(self.shape)

    @property
    def bytes(self) -> int:
        """Bytes of its numbers, written one after another."""
        return self.elements * ELEMENT_BYTES[self.dtype]

    def __str__(self) -> str:
        return f"{self.dtype}[{', '.join(map(str, self.shape))}]"


@dataclass(frozen=True)
class GraphNode:
    """One call of an operator."""

    name: str  # unique among the nodes
    op: str  # the operator with its overload: "aten.mm.default", "npu.npu_swiglu.default"
    inputs: Mapping[str, str]  # for each argument that is a tensor the value read; "tensors[1]" of a list's second
    outputs: tuple[TensorSpec, ...]  # values made; () where it makes none, as a check does
    literals: Mapping[str, Any] = field(default_factory=dict)  # arguments that are no tensors, as JSON can hold them
    writes: tuple[str, ...] = ()  # values that it changes in place
    module: str = ""  # path of the module that called it: "layers.0.attention"
    line: str = ""  # where in the source: "attention.py:163"

    @property
    def is_view(self) -> bool:
        """Whether it only looks at memory that is there: what it makes shares memory, and nothing is changed."""
        return all(each.of is not None for each in self.outputs) and not self.writes


@dataclass(frozen=True)
class Graph:
    """A model's operators in the order in which they run."""

    name: str  # what was captured
    nodes: tuple[GraphNode, ...]  # in the order in which they run
    inputs: tuple[TensorSpec, ...]  # what the caller gives
    weights: tuple[TensorSpec, ...]  # parameters, buffers and constants
    outputs: tuple[str, ...]  # values that the caller gets

    def __post_init__(self) -> None:
        seen: dict[str, str] = {}
        for spec in (*self.inputs, *self.weights):
            _enter(spec, "the graph", seen)
        for node in self.nodes:
            for value in (*node.inputs.values(), *node.writes):
                if value not in seen:
                    raise ValueError(f"node {node.name!r} reads {value!r}, which nothing before it makes")
            for spec in node.outputs:
                _enter(spec, f"node {node.name!r}", seen)
        if unknown := [value for value in self.outputs if value not in seen]:
            raise ValueError(f"outputs {unknown} of graph {self.name!r} are made by no node of it")
        if len({node.name for node in self.nodes}) < len(self.nodes):
            raise ValueError(f"nodes of graph {self.name!r} should have names that differ")

    @functools.cached_property
    def values(self) -> Mapping[str, TensorSpec]:
        """All values by name: inputs, weights, and what the nodes make."""
        made = (spec for node in self.nodes for spec in node.outputs)
        return {spec.name: spec for spec in (*self.inputs, *self.weights, *made)}

    def value(self, name: str) -> TensorSpec:
        """Return a value by its name.

        Raises:
            ValueError: a name that the graph lacks.
        """
        if name not in self.values:
            raise ValueError(f"graph {self.name!r} has no value {name!r}")
        return self.values[name]

    def owner(self, name: str) -> str:
        """Return the value that a value's memory belongs to: itself, or what it is a view of a view of."""
        while (of := self.value(name).of) is not None:
            name = of
        return name

    @functools.cached_property
    def makers(self) -> Mapping[str, GraphNode]:
        """For each value that is neither input nor weight the node that makes it."""
        return {spec.name: node for node in self.nodes for spec in node.outputs}

    @functools.cached_property
    def readers(self) -> Mapping[str, tuple[GraphNode, ...]]:
        """For each value the nodes that read it, in the order in which they run."""
        found: dict[str, list[GraphNode]] = {name: [] for name in self.values}
        for node in self.nodes:
            for value in dict.fromkeys(node.inputs.values()):
                found[value].append(node)
        return {name: tuple(nodes) for name, nodes in found.items()}

    def to_json(self) -> str:
        """Return the graph as JSON, from which `from_json` makes it again."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Graph:
        """Return the graph that `to_json` wrote.

        Raises:
            ValueError: text that is no such JSON.
        """
        try:
            found = json.loads(text)
            nodes = tuple(_node(each) for each in found["nodes"])
            return cls(
                name=_as(str, found["name"]),
                nodes=nodes,
                inputs=tuple(_specs(found["inputs"])),
                weights=tuple(_specs(found["weights"])),
                outputs=_texts(found["outputs"]),
            )
        except (KeyError, TypeError, RecursionError, json.JSONDecodeError) as error:
            raise ValueError(f"no graph as Graph.to_json writes it: {error!r} in {text[:60]!r}") from error


def _enter(spec: TensorSpec, maker: str, seen: dict[str, str]) -> None:
    """Note a value and who makes it."""
    if spec.name in seen:
        raise ValueError(f"{maker} makes {spec.name!r}, which {seen[spec.name]} makes already")
    if spec.of is not None and spec.of not in seen:
        raise ValueError(f"{spec.name!r} shares the memory of {spec.of!r}, which nothing before it makes")
    seen[spec.name] = maker


def _as(kind: type[T], value: Any) -> T:
    """Return a value of JSON if it is of a kind."""
    if not isinstance(value, kind):
        raise TypeError(f"{value!r} is no {kind.__name__}")
    return value


def _texts(found: Any) -> tuple[str, ...]:
    return tuple(_as(str, each) for each in _as(list, found))


def _specs(found: Any) -> Iterator[TensorSpec]:
    for each in _as(list, found):
        shape, of = tuple(_as(list, each["shape"])), each.get("of")
        yield TensorSpec(**{**each, "shape": shape, "name": _as(str, each["name"]), "of": of and _as(str, of)})


def _node(found: Any) -> GraphNode:
    given = {word: _as(str, found[word]) for word in ("name", "op", "module", "line")}
    inputs, outputs = _as(dict, found["inputs"]), tuple(_specs(found["outputs"]))
    _texts(list(inputs.values()))
    made = {**found, **given, "literals": _as(dict, found["literals"]), "writes": _texts(found["writes"])}
    return GraphNode(**{**made, "inputs": inputs, "outputs": outputs})
