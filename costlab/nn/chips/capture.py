"""A running module captured as a graph of operators, as records that need no torch.

`torch.export` traces the module with its example inputs. The traced graph is then run node by node: that gives shapes,
says which values share memory, and shows that it computes what the module does. Two forms answer two questions: as
traced, a node is a call as eager mode makes it; decomposed to core ATen, it is what a graph compiler is given. Code
that asks whether it is traced may take another path: transformers writes out masks that its eager mode leaves away, a
tenth more kernels in a small Llama; costlab's checks of values are not traced.

>>> import torch
>>> from costlab.nn.chips.capture import capture
>>> found = capture(torch.nn.Sequential(torch.nn.Linear(8, 4), torch.nn.SiLU()).eval(), (torch.ones(2, 8),), "two")
>>> [(node.op, str(node.outputs[0]), node.module) for node in found.graph.nodes]
[('aten.linear.default', 'float32[2, 4]', '0'), ('aten.silu.default', 'float32[2, 4]', '1')]
>>> found.error
0.0
"""

from __future__ import annotations

import io
import logging
import operator
import re
import traceback
import warnings
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, redirect_stderr
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch._subclasses import FakeTensor, FakeTensorMode
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind, OutputKind, OutputSpec
from torch.utils import _pytree as pytree

from costlab.chips.porting.graph import Graph, GraphNode, TensorSpec

#: Largest difference of a graph's outputs from the module's, relative to the largest output, that is rounding.
GRAPH_TOLERANCE = 1e-5

#: What a module gave, if anything was computed.
Wanted = tuple[Tensor, ...] | None

#: What to do about a model whose graph depends on its data.
_ADVICE = (
    "write the choice as a tensor (torch.where, a mask, topk with a fixed k, gathered weights), or capture the part "
    "before it and the part after it"
)
_EXPERTS_ADVICE = 'build a transformers model with experts_implementation="batched_mm" or "grouped_mm", not "eager"'


@dataclass(frozen=True)
class Captured:
    """A module's graph, and the exported program that it was read from."""

    graph: Graph  # its operators as records
    exported: ExportedProgram  # torch's own form, which runs: `exported.module()(*inputs)`
    inputs: tuple[Tensor, ...]  # the examples that it was traced with
    wanted: Wanted  # what the module gives for them; None: weights without memory, nothing was computed
    # largest difference of the graph's outputs from the module's; None: nothing was computed
    error: float | None

    def decomposed(self) -> Captured:
        """Return the graph in core ATen, as a graph compiler gets it: matrix products, sums and products one by one.

        In half precision it rounds at other places than the module, and a router may choose other experts: its `error`
        is measured there, and not judged.

        Raises:
            ValueError: a graph of single precision that computes something else.
        """
        with quiet():
            exported = self.exported.run_decompositions()
        return self.with_program(exported)

    def with_program(self, exported: ExportedProgram) -> Captured:
        """Return the record of another program of the same inputs, which should compute the same up to rounding.

        Args:
            exported: this one's program with another graph, such as a fused one.

        Raises:
            ValueError: a graph of single precision that computes something else.
        """
        given = (*exported.state_dict.values(), *self.inputs)
        half = any(each.dtype in (torch.bfloat16, torch.float16) for each in given)
        return _recorded(exported, self.inputs, self.wanted, self.graph.name, exact=not half)


def capture(module: nn.Module, inputs: Sequence[Tensor], name: str = "") -> Captured:
    """Trace a module into a graph of the calls that eager mode makes, run it once, and return it as records.

    Args:
        module: in evaluation mode; tensors in, tensors out.
        inputs: examples; the graph has their shapes.
        name: of the graph; "": the module's class.

    Raises:
        ValueError: a module in training mode; one whose steps depend on its data, with the line and what helps; a
            graph that computes something else.
    """
    name = name or type(module).__name__
    if module.training:
        raise ValueError(f"{name} is in training mode: call its eval() before it is captured")
    args = tuple(inputs)
    with torch.no_grad(), _mode(args) as mode:
        try:
            wanted = None if mode else _tensors(module(*args))
        except Exception as error:
            raise ValueError(f"{name} does not run with its examples: {_where(error)}: {first_line(error)}") from error
        try:
            with quiet():
                exported = torch.export.export(module, args, strict=False)
        except Exception as error:
            raise ValueError(_why(name, error)) from error
    return _recorded(exported, args, wanted, name)


def _recorded(
    exported: ExportedProgram, args: tuple[Tensor, ...], wanted: Wanted, name: str, exact: bool = True
) -> Captured:
    with torch.no_grad(), _mode(args) as mode:
        recorder = _Recorder(exported)
        try:
            outputs = recorder.run(*_lifted(exported, args, mode))
        except Exception as failed:
            where = _line(recorder.at) if recorder.at else "an unknown line"
            raise ValueError(f"{name} cannot be captured: at {where}: {first_line(failed)}; {_ADVICE}") from failed
    got = [each for each, spec in zip(outputs, exported.graph_signature.output_specs, strict=True) if _given(spec)]
    error = None if wanted is None else difference(_tensors(got), wanted)
    if exact and error is not None and not error <= GRAPH_TOLERANCE * max(largest_number(wanted or ()), 1.0):
        raise ValueError(f"the graph of {name} gives other outputs than the module: they differ by {error:.3g}")
    return Captured(recorder.recorded(name), exported, args, wanted, error)


@contextmanager
def quiet() -> Iterator[None]:
    """Keep what torch prints of a trace that fails, and its own warnings, off the screen: the error says it."""
    before = logging.root.manager.disable
    try:
        logging.disable(logging.WARNING)
        with warnings.catch_warnings(action="ignore"), redirect_stderr(io.StringIO()):
            yield
    finally:
        logging.disable(before)


def _mode(args: tuple[Tensor, ...]) -> AbstractContextManager[Any]:
    """Return the mode of tensors without memory, if these are such."""
    fakes = [each.fake_mode for each in args if isinstance(each, FakeTensor)]
    return fakes[0] if fakes else nullcontext()


def _tensors(tree: Any) -> tuple[Tensor, ...]:
    return tuple(each for each in pytree.tree_leaves(tree) if isinstance(each, Tensor))


def _given(spec: OutputSpec) -> bool:
    return spec.kind == OutputKind.USER_OUTPUT


def _why(name: str, error: Exception) -> str:
    """Say where in the model the trace ended, why, and what helps."""
    own = _own_frames(error)
    experts = own and "transformers" in Path(own[-1].filename).parts
    advice = _EXPERTS_ADVICE if experts else _ADVICE
    return f"{name} cannot be captured: {_where(error)}: {first_line(error)}; {advice}"


def _where(error: Exception) -> str:
    own = _own_frames(error)
    return f"at {short_path(own[-1].filename)}:{own[-1].lineno} ({own[-1].line})" if own else "at an unknown line"


def _own_frames(error: Exception) -> list[traceback.FrameSummary]:
    """Return the frames of the model's own code."""
    frames = traceback.extract_tb(error.__traceback__)
    return [frame for frame in frames if not _of_torch(frame.filename) and Path(frame.filename) != Path(__file__)]


def _of_torch(filename: str) -> bool:
    return filename.startswith(str(Path(torch.__file__).parent)) or not filename.endswith(".py")


def short_path(filename: str) -> str:
    """Return a source file's path from its package on: "transformers/models/llama/modeling_llama.py"."""
    path = Path(filename)
    parents = [parent for parent in path.parents if (parent / "__init__.py").exists()]
    return str(path.relative_to(parents[-1].parent)) if parents else path.name


def _lifted(exported: ExportedProgram, args: Sequence[Tensor], mode: FakeTensorMode | None) -> Iterator[Any]:
    """Yield what the graph's placeholders stand for, in order."""
    given = iter(args)
    for spec in exported.graph_signature.input_specs:
        if spec.kind == InputKind.USER_INPUT:
            yield next(given)
            continue
        held = exported.state_dict.get(str(spec.target), exported.constants.get(str(spec.target)))
        real = mode is not None and isinstance(held, Tensor) and not isinstance(held, FakeTensor)
        yield mode.from_tensor(held) if mode is not None and real else held


class _Recorder(fx.Interpreter):
    """Runs an exported graph and notes what each node reads, makes and shares."""

    def __init__(self, exported: ExportedProgram) -> None:
        super().__init__(exported.graph_module, garbage_collect_values=False)
        self.exported = exported
        signature = exported.graph_signature
        self.targets = {spec.arg.name: spec for spec in signature.input_specs}
        self.names: dict[fx.Node, Any] = {}  # the value of each node that makes one, or a tuple of them
        self.owners: dict[int, str] = {}  # the first value of each storage
        self.inputs: list[TensorSpec] = []
        self.weights: list[TensorSpec] = []
        self.nodes: list[GraphNode] = []
        self.results: tuple[str, ...] = ()
        self.at: fx.Node | None = None  # the node that runs

    def run_node(self, n: fx.Node) -> Any:
        """Run a node and note it."""
        self.at = n
        result = super().run_node(n)
        if n.op == "placeholder":
            self._placeholder(n, result)
        elif n.op == "call_function":
            self._call(n, result)
        elif n.op == "output":
            self._output(n)
        return result

    def recorded(self, name: str) -> Graph:
        """Return what was noted."""
        return Graph(name, tuple(self.nodes), tuple(self.inputs), tuple(self.weights), self.results)

    def _placeholder(self, node: fx.Node, value: Any) -> None:
        spec = self.targets[node.name]
        if not isinstance(value, Tensor):
            return
        given = spec.kind == InputKind.USER_INPUT
        made = self._spec(node.name if given else str(spec.target), value)
        self.names[node] = made.name
        (self.inputs if given else self.weights).append(made)

    def _call(self, node: fx.Node, result: Any) -> None:
        if node.target is operator.getitem and node.args[0] in self.names:
            self.names[node] = self.names[node.args[0]][node.args[1]]
            return
        if not isinstance(node.target, torch._ops.OperatorBase):
            return  # arithmetic on sizes, which the host does
        reads, literals, writes = self._arguments(node)
        outputs = self._outputs(node, result)
        path, line = _module(node), _line(node)
        self.nodes.append(GraphNode(node.name, str(node.target), reads, outputs, literals, writes, path, line))

    def _outputs(self, node: fx.Node, result: Any) -> tuple[TensorSpec, ...]:
        if isinstance(result, Tensor):
            self.names[node] = node.name
            return (self._spec(node.name, result),)
        if not isinstance(result, tuple | list):
            return ()  # a check, or a number for the host
        named = [f"{node.name}.{i}" if isinstance(each, Tensor) else None for i, each in enumerate(result)]
        self.names[node] = named
        return tuple(self._spec(name, each) for name, each in zip(named, result, strict=True) if name)

    def _spec(self, name: str, value: Tensor) -> TensorSpec:
        storage = value.untyped_storage()._cdata
        owner = self.owners.setdefault(storage, name)
        shape = tuple(int(extent) for extent in value.shape)
        return TensorSpec(name, shape, str(value.dtype).removeprefix("torch."), None if owner == name else owner)

    def _arguments(self, node: fx.Node) -> tuple[dict[str, str], dict[str, Any], tuple[str, ...]]:
        """Return the tensors that a node reads, its other arguments, and the tensors that it changes."""
        reads: dict[str, str] = {}
        literals: dict[str, Any] = {}
        writes: list[str] = []
        for name, value, changed in _named(node):
            found = dict(self._tensors(name, value))
            reads |= found
            writes += found.values() if changed else ()
            if not found and value is not None:
                literals[name] = self._literal(value)
        return reads, literals, tuple(writes)

    def _tensors(self, name: str, value: Any) -> Iterator[tuple[str, str]]:
        if isinstance(value, fx.Node) and isinstance(self.names.get(value), str):
            yield name, self.names[value]
        elif isinstance(value, tuple | list):
            for i, each in enumerate(value):
                yield from self._tensors(f"{name}[{i}]", each)

    def _literal(self, value: Any) -> Any:
        if isinstance(value, fx.Node):
            value = self.env[value]
        if isinstance(value, tuple | list):
            return [self._literal(each) for each in value]
        return value if isinstance(value, bool | int | float | str) else str(value)

    def _output(self, node: fx.Node) -> None:
        specs = self.exported.graph_signature.output_specs
        given = [arg for arg, spec in zip(node.args[0], specs, strict=True) if _given(spec)]
        self.results = tuple(self.names[each] for each in given if each in self.names)


def _named(node: fx.Node) -> Iterator[tuple[str, Any, bool]]:
    """Yield a node's arguments: name, value, and whether it is changed in place."""
    schema = getattr(node.target, "_schema", None)
    declared = schema.arguments if schema else ()
    changed = {each.name: bool(each.alias_info and each.alias_info.is_write) for each in declared}
    for i, value in enumerate(node.args):
        name = declared[i].name if i < len(declared) else f"arg{i}"
        yield name, value, changed.get(name, False)
    for name, value in node.kwargs.items():
        yield name, value, changed.get(name, False)


def _module(node: fx.Node) -> str:
    """Return the path of the module that made a node: "stack.blocks.0.attention"."""
    stack = list(node.meta.get("nn_module_stack", {}).values())
    return re.sub(r"^L\['self'\]\.?", "", str(stack[-1][0])) if stack else ""


def _line(node: fx.Node) -> str:
    """Return where in the model's source a node was made; a line of torch's own only where there is no other."""
    frames = re.findall(r'File "(.+?)", line (\d+)', node.meta.get("stack_trace") or "")
    own = [frame for frame in frames if not _of_torch(frame[0])] or frames
    return f"{short_path(own[-1][0])}:{own[-1][1]}" if own else ""


def difference(outputs: Sequence[Tensor], wanted: Sequence[Tensor]) -> float:
    """Return the largest difference of a graph's outputs from the module's; infinite where only one of two is NaN.

    Args:
        outputs: of the graph.
        wanted: of the module, in the same order.
    """
    pairs = zip(outputs, wanted, strict=True)
    return max((_apart(a.double(), b.double()) for a, b in pairs if b.numel()), default=0.0)


def _apart(a: Tensor, b: Tensor) -> float:
    same = (a == b) | (a.isnan() & b.isnan())
    return float(torch.where(same, 0.0, (a - b).abs()).nan_to_num(torch.inf, torch.inf).max())


def largest_number(outputs: Sequence[Tensor]) -> float:
    """Return the largest finite number among some tensors, without its sign; 0 where there is none."""
    finite = (each.double().abs().nan_to_num(0.0, 0.0, 0.0).max() for each in outputs if each.numel())
    return max(map(float, finite), default=0.0)


def first_line(error: object) -> str:
    """Return what an error says in its first line, and in the next where that ends in a colon, without what follows."""
    lines = [line.strip() for line in str(error).strip().splitlines()]
    return " ".join(lines[: 2 if lines[0].endswith(":") else 1]) if lines else type(error).__name__
