"""A captured graph with fused operators in the place of those that they stand for, and what that saves.

Each match of a pattern is cut out and checked by numbers (`checking`); only those that pass are replaced. What a fused
operator of the chip asks of shapes is a second question, answered by the catalog's rules: at small widths of a model
that stands for a large one it says nothing, so it is asked only where wanted.

Saved are launches and the bytes that go to memory between operators. The peak of memory is another matter: it lies
where the largest tensors meet, and stays where fusion does not touch those.

In float32 the fused graph gives what the other one does, up to rounding. In half precision it rounds at fewer places,
and where two experts are all but equal a router may then choose the other one: outputs of small models of experts
differ by up to 0.6 of the largest, and by less than 0.04 with the router's choices held fixed.
"""

from __future__ import annotations

import copy
import dataclasses
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx
from torch._guards import detect_fake_mode
from torch.export import ExportedProgram
from torch.export.graph_signature import ExportGraphSignature, OutputSpec, TensorArgument
from torch.fx import subgraph_rewriter
from torch.fx.passes.utils.matcher_utils import InternalMatch
from torch.utils import _pytree as pytree

from costlab import catalog
from costlab.chips.porting.graph import Graph, GraphNode, TensorSpec
from costlab.chips.porting.launches import launches_of
from costlab.chips.porting.memory import plan_memory
from costlab.chips.porting.routes import written_bytes
from costlab.chips.porting.rules import BrokenRule, broken, call_sizes
from costlab.nn.chips.capture import Captured, difference, largest_number
from costlab.nn.chips.fusion import ops
from costlab.nn.chips.fusion.checking import Judgement, bind_numbers, check_graphs
from costlab.nn.chips.fusion.cleaning import clean_graph
from costlab.nn.chips.fusion.pattern import FusionPattern
from costlab.nn.chips.fusion.patterns import PATTERNS
from costlab.text import bytes_text


@dataclass(frozen=True)
class FusionStage:
    """A graph on its way, counted."""

    name: str  # "captured", "cleaned" or "fused"
    nodes: int  # calls of operators
    launches: int  # of them those that start something on a chip
    written_bytes: int  # bytes that operators write for later ones to read
    peak_bytes: int  # bytes that hold all tensors between operators, planned by liveness

    @classmethod
    def of(cls, name: str, graph: Graph) -> FusionStage:
        """Count a graph."""
        launches = sum(launches_of(node, graph) for node in graph.nodes)
        return cls(name, len(graph.nodes), launches, written_bytes(graph), plan_memory(graph).peak_bytes)


@dataclass(frozen=True)
class Fused:
    """One place in a graph where a pattern matched, and what became of it."""

    judgement: Judgement  # of the check by numbers
    replaced: tuple[str, ...]  # nodes that matched, in the order in which they run
    node: str  # the fused node in their place; "" where the match was refused
    module: str  # path of the module that the last of them is called from
    rules: tuple[BrokenRule, ...] = ()  # what keeps every such operator of the catalog from taking it; () if one does

    @property
    def pattern(self) -> FusionPattern:
        """What matched."""
        return self.judgement.pattern

    @property
    def outcome(self) -> str:
        """One of "fused", "refused by numbers", "refused by shape rule"."""
        if self.node:
            return "fused"
        return "refused by shape rule" if self.judgement.accepted else "refused by numbers"

    def __str__(self) -> str:
        where = f"{len(self.replaced)} nodes at {self.module or self.replaced[-1]}"
        reason = self.judgement.evidence if not self.judgement.accepted else "; ".join(map(str, self.rules))
        return f"{self.pattern}, {where}: {self.outcome}" + (f": {reason}" if not self.node else "")


@dataclass(frozen=True, repr=False)
class Fusion:
    """A graph before and after, and every match on the way."""

    before: Captured  # as captured
    cleaned: Captured  # without what no chip runs
    after: Captured  # with fused operators
    removed: Mapping[str, int]  # nodes that cleaning took out, by kind
    matches: tuple[Fused, ...]  # fused and refused, in the order in which they were tried
    stages: tuple[FusionStage, ...]  # captured, cleaned, fused
    # largest difference of the fused graph's outputs from the cleaned one's on inputs that neither has seen, in
    # relation to the largest output; None: weights without memory, nothing was computed
    fresh_error: float | None

    @property
    def fused(self) -> tuple[Fused, ...]:
        """Matches that were replaced."""
        return tuple(each for each in self.matches if each.node)

    @property
    def refused(self) -> tuple[Fused, ...]:
        """Matches that were not, by numbers or by a rule of shape."""
        return tuple(each for each in self.matches if not each.node)

    @property
    def counts(self) -> Mapping[str, int]:
        """Replaced matches by the pattern's name."""
        return dict(Counter(each.pattern.name for each in self.fused))

    def __repr__(self) -> str:
        first, last = self.stages[0], self.stages[-1]
        counts = ", ".join(f"{number} {name}" for name, number in self.counts.items()) or "nothing"
        written = f"{bytes_text(first.written_bytes)} -> {bytes_text(last.written_bytes)} written"
        nodes = " -> ".join(str(stage.nodes) for stage in self.stages)
        peak = f"peak {bytes_text(first.peak_bytes)} -> {bytes_text(last.peak_bytes)}"
        launches = f"{first.launches} -> {last.launches} launches"
        return f"{self.before.graph.name}: {counts} fused; {nodes} nodes, {launches}, {written}, {peak}"


def fuse(
    captured: Captured, patterns: Sequence[FusionPattern] = PATTERNS, obey_rules: bool = False, seed: int = 0
) -> Fusion:
    """Replace what patterns match, where numbers allow it, and return the graph before and after.

    Args:
        captured: a graph of the calls that eager mode makes.
        patterns: to look for, in order.
        obey_rules: refuse matches of which no fused operator of the catalog takes the shapes too.
        seed: of the inputs that matches are tried with, and of the fresh ones for the whole graph.

    Raises:
        ValueError: a fused graph that gives other outputs than the module, although each match passed.
    """
    graph = copy.deepcopy(captured.exported.graph)
    removed = clean_graph(graph)
    cleaned = captured.with_program(program_of(captured.exported, graph))
    rewriter = _Rewriter(cleaned, obey_rules, seed)
    for pattern in patterns:
        rewriter.apply(pattern)
    after = captured.with_program(rewriter.program())
    stages = (("captured", captured), ("cleaned", cleaned), ("fused", after))
    counted = tuple(FusionStage.of(name, each.graph) for name, each in stages)
    error = None if captured.error is None else fresh_error(cleaned, after, seed + 1)
    matches = tuple(each for each in rewriter.matches if each not in rewriter.absorbed)
    return Fusion(captured, cleaned, after, removed, matches, counted, error)


def program_of(exported: ExportedProgram, graph: fx.Graph) -> ExportedProgram:
    """Return a program with another graph, of the same placeholders and as many outputs.

    Args:
        exported: whose weights and signature to take.
        graph: in place of its own.
    """
    made = graph.output_node().args[0]
    old = exported.graph_signature
    specs = [_named(spec, node) for spec, node in zip(old.output_specs, made, strict=True)]
    module = fx.GraphModule(exported.graph_module, graph)
    return ExportedProgram(
        root=module,
        graph=module.graph,
        graph_signature=ExportGraphSignature(old.input_specs, specs),
        state_dict=exported.state_dict,
        range_constraints=exported.range_constraints,
        module_call_graph=exported.module_call_graph,
        example_inputs=exported.example_inputs,
        constants=exported.constants,
        verifiers=exported.verifiers,
    )


def _named(spec: OutputSpec, node: Any) -> OutputSpec:
    if not isinstance(spec.arg, TensorArgument) or not isinstance(node, fx.Node):
        return spec
    return dataclasses.replace(spec, arg=TensorArgument(name=node.name))


class _Rewriter:
    """Replaces matches in a copy of a program's graph, pattern after pattern."""

    def __init__(self, captured: Captured, obey_rules: bool, seed: int) -> None:
        exported = captured.exported
        self.exported, self.obey_rules, self.seed = exported, obey_rules, seed
        self.module = fx.GraphModule(exported.graph_module, copy.deepcopy(exported.graph))
        self.matches: list[Fused] = []
        self.modules = {node.name: node.module for node in captured.graph.nodes}
        self.absorbed: list[Fused] = []  # fused nodes that became parts of later ones
        self.known: dict[tuple[object, ...], Judgement] = {}  # of matches that are alike in all but their names

    def program(self) -> ExportedProgram:
        """Return the program as it is by now."""
        return program_of(self.exported, self.module.graph)

    def apply(self, pattern: FusionPattern) -> None:
        """Replace the matches of one pattern that pass."""
        shape = pattern.graph()
        if not _targets(shape) <= _targets(self.module.graph):
            return  # torch's matcher asks for one candidate at least of each result
        passed: list[int] = []

        def passes(match: InternalMatch, graph: fx.Graph, _: fx.Graph) -> bool:
            found = self._judged(pattern, match, graph)
            passed.extend([len(self.matches)] if self._fits(found) else [])
            self.matches.append(found)
            return self._fits(found)

        done = subgraph_rewriter.replace_pattern_with_filters(
            self.module,
            shape,
            match_filters=[lambda match, *_: not _changes_inputs(match), passes],
            replacement_callback=lambda match, *_: _replacement(pattern, match),
        )
        for at, made in zip(passed, done, strict=True):
            self.matches[at] = dataclasses.replace(self.matches[at], node=_call(made.replacements).name)
        self._absorb(passed)

    def _fits(self, found: Fused) -> bool:
        return found.judgement.accepted and not (self.obey_rules and found.rules)

    def _judged(self, pattern: FusionPattern, match: InternalMatch, graph: fx.Graph) -> Fused:
        tensors, numbers = _arguments(pattern, match)
        inside = _inside(match, graph)
        key = (pattern, repr(numbers), tuple((name, each.shape, each.dtype) for name, each in tensors.items()))
        if key not in self.known:
            fused = bind_numbers(pattern.replaced(numbers), numbers)
            self.known[key] = check_graphs(pattern, _cut(pattern, match, inside), fused, tensors, self.seed)
        names = tuple(node.name for node in inside)
        where = next((self.modules[name] for name in reversed(names) if name in self.modules), "")
        return Fused(self.known[key], names, "", where, _rules(pattern, tensors, numbers, names[-1]))

    def _absorb(self, passed: Sequence[int]) -> None:
        """Let a fused node that became a part of a later one count as that one's nodes."""
        for at in passed:
            parts = {each.node: each for each in self.matches if each.node in self.matches[at].replaced}
            names = (
                n for name in self.matches[at].replaced for n in (parts[name].replaced if name in parts else [name])
            )
            self.matches[at] = dataclasses.replace(self.matches[at], replaced=tuple(names))
            gone = {id(each) for each in parts.values()}
            self.absorbed += [each for each in self.matches if id(each) in gone]


def _call(nodes: Sequence[fx.Node]) -> fx.Node:
    """Return the fused operator's call among those of a replacement; where there is none, the last."""
    return next((node for node in nodes if str(node.target).startswith(ops.NAMESPACE)), nodes[-1])


def _targets(graph: fx.Graph) -> set[Any]:
    return {node.target for node in graph.nodes if node.op == "call_function"}


def _arguments(pattern: FusionPattern, match: InternalMatch) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return what a match has in the place of a pattern's arguments: tensors, and all else."""
    given = dict(zip(pattern.slots, match.placeholder_nodes, strict=True))
    tensors = {name: each.meta["val"] for name, each in given.items() if isinstance(each, fx.Node)}
    return tensors, {name: each for name, each in given.items() if name not in tensors}


def _inside(match: InternalMatch, graph: fx.Graph) -> list[fx.Node]:
    """Return the nodes that matched, in the order in which they run."""
    matched = {node for part, node in match.nodes_map.items() if part.op not in ("placeholder", "output")}
    return [node for node in graph.nodes if node in matched]


def _cut(pattern: FusionPattern, match: InternalMatch, inside: Sequence[fx.Node]) -> fx.Graph:
    """Return the nodes that matched as a graph of their own."""
    graph = fx.Graph()
    given = zip(pattern.slots, match.placeholder_nodes, strict=True)
    copied = {each: graph.placeholder(name) for name, each in given if isinstance(each, fx.Node)}
    for node in inside:
        copied[node] = graph.node_copy(node, copied.__getitem__)
    graph.output(tuple(copied[node] for node in match.returning_nodes))
    return graph


def _changes_inputs(match: InternalMatch) -> bool:
    """Whether a node that matched changes in place, or through a view, what others may read."""
    inside = {node for part, node in match.nodes_map.items() if part.op not in ("placeholder", "output")}
    changed = (_viewed(node.args[0], inside) for node in inside if _schema(node) and _schema(node).is_mutable)
    return any(node not in inside for node in changed)


def _viewed(node: Any, inside: Collection[fx.Node]) -> Any:
    """Return what a node is a view of, as far as that lies inside."""
    while node in inside and _schema(node) and any(each.alias_info for each in _schema(node).returns):
        node = node.args[0]
    return node


def _schema(node: fx.Node) -> Any:
    return getattr(node.target, "_schema", None)


def _replacement(pattern: FusionPattern, match: InternalMatch) -> fx.Graph:
    """Return the fused call as a graph, its nodes noted as those of the match are."""
    tensors, numbers = _arguments(pattern, match)
    graph = pattern.replaced(numbers)
    last = match.returning_nodes[-1].meta
    notes = {key: last[key] for key in ("nn_module_stack", "stack_trace") if key in last}
    mode = detect_fake_mode(tuple(tensors.values()))
    for node in graph.nodes:
        if node.op == "placeholder":
            node.meta["val"] = tensors.get(node.target, numbers.get(node.target))
        elif node.op == "call_function":
            args, kwargs = fx.node.map_arg((node.args, node.kwargs), lambda each: each.meta["val"])
            with mode or nullcontext():
                node.meta = {**notes, "val": node.target(*args, **kwargs)}
    return graph


def _rules(
    pattern: FusionPattern, tensors: Mapping[str, Tensor], numbers: Mapping[str, Any], where: str
) -> tuple[BrokenRule, ...]:
    """Return what keeps every fused operator of the catalog from taking a call; () if one takes it."""
    call = _call([node for node in pattern.replaced(numbers).nodes if node.op == "call_function"])
    specs = tuple(_spec(name, each) for name, each in tensors.items())
    names = [each.name for each in call.target._schema.arguments]
    reads = {name: each.name for name, each in zip(names, call.args, strict=False) if isinstance(each, fx.Node)}
    node = GraphNode(call.name, str(call.target), {k: v for k, v in reads.items() if v in tensors}, ())
    sizes = call_sizes(node, Graph(pattern.name, (node,), specs, (), ()))
    records = {name: each for name, each in catalog.operators().fused.items() if each.pattern == pattern.name}
    found = [broken(each.rules, sizes, name, where) for name, each in records.items()]
    return tuple(rule for each in found for rule in each) if found and all(found) else ()


def _spec(name: str, x: Tensor) -> TensorSpec:
    return TensorSpec(name, tuple(int(extent) for extent in x.shape), str(x.dtype).removeprefix("torch."))


def fresh_error(before: Captured, after: Captured, seed: int) -> float:
    """Return the largest difference of two graphs' outputs on new inputs, in relation to the largest output.

    Args:
        before: a graph.
        after: another of the same inputs.
        seed: whole numbers among the inputs are shuffled, others drawn anew.
    """
    generator = torch.Generator().manual_seed(seed)
    inputs = [_fresh(each, generator) for each in before.inputs]
    with torch.no_grad():
        wanted, got = (_results(each, inputs) for each in (before, after))
    size = largest_number(wanted)
    return difference(got, wanted) / size if size else 0.0


def _results(captured: Captured, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
    leaves = pytree.tree_leaves(captured.exported.module()(*inputs))
    return tuple(each for each in leaves if isinstance(each, Tensor))


def _fresh(x: Tensor, generator: torch.Generator) -> Tensor:
    if x.is_floating_point():
        return torch.randn(x.shape, generator=generator).to(x.dtype)
    return x.flatten()[torch.randperm(x.numel(), generator=generator)].view(x.shape)
