"""Memory planned by liveness: a tensor between operators keeps its place from its making to its last use.

Planned is what the nodes make. What the caller gives, weights among it, lies elsewhere; what the caller gets stays to
the end. A view has no memory of its own and keeps its owner's alive; a change in place makes none. The inputs and the
outputs of one operator never overlap: none is written over its own operand. Offsets are found greedily, the largest
buffer first, each into the smallest gap that it fits (Pisarchyk & Lee, arXiv 2001.03288).

>>> from costlab.chips.porting.graph import Graph, GraphNode, TensorSpec
>>> a, b, c = (TensorSpec(name, (256,), "float32") for name in "abc")
>>> first = GraphNode("1", "aten.exp.default", {"self": "a"}, (b,))
>>> second = GraphNode("2", "aten.exp.default", {"self": "b"}, (c,))
>>> plan_memory(Graph("toy", (first, second), (a,), (), ("c",))).peak_bytes
2048
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from costlab.arrays import Ints
from costlab.checks import count
from costlab.chips.porting.graph import Graph
from costlab.text import bytes_text


@dataclass(frozen=True)
class Buffer:
    """The memory of one tensor: how much, from when to when, and where."""

    name: str  # the value that owns it
    bytes: int  # rounded up to the alignment
    first: int  # the node, by its place in the graph, that makes it
    last: int  # the last node that reads or changes it or a view of it; the graph's last where the caller gets it
    offset: int = 0  # byte of the arena at which it starts

    @property
    def end(self) -> int:
        """The byte behind it."""
        return self.offset + self.bytes

    def meets(self, other: Buffer) -> bool:
        """Whether there is a node at which both are alive."""
        return self.first <= other.last and other.first <= self.last


@dataclass(frozen=True, repr=False)
class MemoryPlan:
    """Where a graph's intermediate tensors lie, and how much memory they take together."""

    graph: str  # what was planned
    nodes: tuple[str, ...]  # names of the graph's nodes, which the buffers count
    buffers: tuple[Buffer, ...]  # in the order in which they are made

    @property
    def peak_bytes(self) -> int:
        """Bytes of the arena that holds all buffers at their offsets."""
        return max((buffer.end for buffer in self.buffers), default=0)

    @property
    def unshared_bytes(self) -> int:
        """Bytes if no buffer ever took the place of another."""
        return sum(buffer.bytes for buffer in self.buffers)

    @functools.cached_property
    def live_bytes(self) -> Ints:
        """Bytes alive while each node runs, [nodes]."""
        steps = np.zeros(len(self.nodes) + 1, dtype=np.int64)
        for buffer in self.buffers:
            steps[buffer.first] += buffer.bytes
            steps[buffer.last + 1] -= buffer.bytes
        return np.cumsum(steps)[:-1]

    @property
    def least_bytes(self) -> int:
        """The most bytes alive at once: no plan of this order of nodes takes less."""
        return int(self.live_bytes.max(initial=0))

    @property
    def busiest(self) -> str:
        """The node at which most bytes are alive, the first of several; "" of a graph without nodes."""
        return self.nodes[int(self.live_bytes.argmax())] if self.nodes else ""

    def __repr__(self) -> str:
        peak, every, least = map(bytes_text, (self.peak_bytes, self.unshared_bytes, self.least_bytes))
        holds = f"{self.graph}: {peak} hold {len(self.buffers)} tensors of {every}"
        return f"{holds}; {least} are alive at once, at {self.busiest}"


def plan_memory(graph: Graph, align: int = 1) -> MemoryPlan:
    """Return where the tensors between a graph's operators lie.

    Args:
        graph: with its nodes in the order in which they run.
        align: bytes that each buffer's size is a multiple of; torch's allocators take 512.

    Raises:
        ValueError: an alignment below 1.
    """
    found = lifetimes(graph, align)
    placed = {buffer.name: buffer for buffer in assign_offsets(found)}
    buffers = tuple(placed[buffer.name] for buffer in found)
    return MemoryPlan(graph.name, tuple(node.name for node in graph.nodes), buffers)


def lifetimes(graph: Graph, align: int = 1) -> tuple[Buffer, ...]:
    """Return the buffers of what a graph's nodes make, in that order, all at offset 0."""
    align = count(align, "align")
    first: dict[str, int] = {}
    last: dict[str, int] = {}
    for at, node in enumerate(graph.nodes):
        made = [spec.name for spec in node.outputs]
        first.update({name: at for name in made if graph.value(name).of is None})
        for name in (*node.inputs.values(), *node.writes, *made):
            last[graph.owner(name)] = at
    last.update({graph.owner(name): len(graph.nodes) - 1 for name in graph.outputs})
    sizes = {name: -(-graph.value(name).bytes // align) * align for name in first}
    return tuple(Buffer(name, sizes[name], at, last[name]) for name, at in first.items())


def assign_offsets(buffers: Iterable[Buffer]) -> list[Buffer]:
    """Return buffers with offsets at which none overlaps another that is alive with it, the largest first."""
    placed: list[Buffer] = []
    for buffer in sorted(buffers, key=lambda each: (-each.bytes, each.first)):
        rivals = sorted((each for each in placed if each.meets(buffer)), key=lambda each: each.offset)
        placed.append(replace(buffer, offset=_gap(rivals, buffer.bytes)))
    return placed


def _gap(rivals: Sequence[Buffer], size: int) -> int:
    """Return the offset of the smallest gap between rivals that holds `size`; where there is none, their end."""
    gaps, end = [], 0
    for rival in rivals:
        if rival.offset - end >= size:
            gaps.append((rival.offset - end, end))
        end = max(end, rival.end)
    return min(gaps)[1] if gaps else end
