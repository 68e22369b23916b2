"""What operators.toml holds: what runs PyTorch's and ONNX's operators on Ascend chips."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Literal

from costlab.catalog.decoding import FrozenDict

#: What becomes of an operator that is called as it stands. "aclnn": CANN's kernels, by name; "native": a view, an
#: allocation or a copy of torch_npu; "decomposed": PyTorch calls others instead; "cpu": copied to the host and back.
EagerStatus = Literal["aclnn", "native", "decomposed", "cpu"]

#: What becomes of it in a captured graph. "converted": to CANN's operators, by name; "decomposed": into others before;
#: "refused": a converter that raises; "missing": no converter. The last two break the graph.
GraphStatus = Literal["converted", "decomposed", "refused", "missing"]


@dataclass(frozen=True)
class OperatorRoutes:
    """What runs one ATen overload on Ascend, called as it stands and in a captured graph."""

    eager: EagerStatus  # called as it stands
    graph: GraphStatus  # in a graph
    aclnn: tuple[str, ...] = ()  # CANN's kernels that it calls eagerly, alternatives by argument
    ge: tuple[str, ...] = ()  # CANN's graph operators that its converter uses
    since: str = "2.1"  # first torch version whose plug-in had the kernel on its first day
    until: str = ""  # last torch version whose plug-in has it; "" for the newest
    arrived: date | None = None  # day on which the kernel came, for all versions built then; None: there since 2023
    before: EagerStatus = "cpu"  # what becomes of it without the kernel
    core: bool = False  # whether it is of PyTorch's core set
    launches: int = 1  # kernels that one call starts, those of its parts where it is composed; a view starts none

    def has_kernel(self, torch_version: str) -> bool:
        """Whether the plug-in of a torch version such as "2.13" had the kernel on its first day."""
        return _within(self.since, self.until, torch_version)

    def eager_at(self, torch_version: str) -> EagerStatus:
        """Return what becomes of it eagerly with the first plug-in of a torch version such as "2.13"."""
        return self.eager if self.eager == "decomposed" or self.has_kernel(torch_version) else self.before


def _within(since: str, until: str, version: str) -> bool:
    asked = _minor(version)
    return _minor(since) <= asked and (not until or asked <= _minor(until))


def _minor(version: str) -> tuple[int, ...]:
    """(2, 13) of "2.13", "2.13.0" or "2.13.0+cpu"."""
    try:
        return tuple(map(int, version.split("+")[0].split(".")[:2]))
    except ValueError as error:
        raise ValueError(f"torch version {version!r} should look like 2.13") from error


@dataclass(frozen=True)
class OnnxOperator:
    """An ONNX operator that CANN's parser knows, and the opsets that it knows it in."""

    ge: str  # CANN's graph operator that it becomes; "PartitionedCall" is a small graph
    first_opset: int  # first opset that it is registered for
    last_opset: int  # last one
    ort_graph: bool = False  # whether ONNX Runtime's CANN provider takes it in graph mode
    ort_single: bool = False  # whether it takes it one by one


@dataclass(frozen=True)
class ShapeRule:
    """What one argument of a fused operator must be like."""

    size: str  # what is limited: head_width, value_width, query_heads, kv_heads, mask_dtype, rank, weight, dtype
    says: str  # the rule, in words
    source: str  # where it stands
    date: date  # day it was read
    one_of: tuple[int | str, ...] = ()  # values that are taken; () where another form of rule holds
    most: int | None = None  # largest value that is taken
    multiple_of: int | None = None  # of which the value is a multiple
    power_of_two: bool = False  # whether the value must be a power of two


@dataclass(frozen=True)
class FusedOperator:
    """One operator of torch_npu in the place of several."""

    replaces: str  # what it computes, in words
    aclnn: tuple[
        str, ...
    ] = ()  # CANN's kernels that it calls, alternatives by argument; () where the source names none
    since: str = "2.1"  # first torch version whose plug-in had it on its first day
    until: str = ""  # last torch version whose plug-in has it; "" for the newest
    arrived: date | None = None  # day on which it came, for all versions built then; None: there since 2023
    pattern: str = ""  # the pattern of operators that it stands for, by our name; "" where we have none
    rules: tuple[ShapeRule, ...] = ()  # what its arguments must be like

    def has_kernel(self, torch_version: str) -> bool:
        """Whether the plug-in of a torch version such as "2.13" had it on its first day."""
        return _within(self.since, self.until, torch_version)


@dataclass(frozen=True)
class OperatorSource:
    """A repository that names were read from."""

    name: str  # of the repository, with the file
    commit: str  # that was read
    date: date  # of that commit
    source: str  # address
    licence: str  # of the repository
    note: str = ""  # what a reader should know


@dataclass(frozen=True)
class TorchPlugin:
    """Ascend's plug-in for one version of torch."""

    date: date  # first day of its table of kernels


@dataclass(frozen=True)
class OperatorCatalog:
    """What runs operators on Ascend, by name."""

    aten: Mapping[str, OperatorRoutes]  # by ATen overload, such as "add.Tensor"
    onnx: Mapping[str, OnnxOperator]  # by ONNX operator, such as "MatMul"
    fused: Mapping[str, FusedOperator]  # by name, such as "npu_rms_norm"
    sources: Mapping[str, OperatorSource]  # repositories that the names were read from
    # torch versions that the plug-in is built for, oldest first
    torch_versions: tuple[str, ...] = ()
    plugins: Mapping[str, TorchPlugin] = field(default_factory=FrozenDict)  # since when, by torch version
