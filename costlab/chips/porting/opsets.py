"""Which opset an ONNX file for Ascend may have, and how many of its nodes three lists of operators take.

CANN's parser looks an operator up by its name and the file's opset, whether or not the operator changed in between: a
name that is registered up to opset 18 is unknown in a file of opset 20. ONNX Runtime's CANN provider has two lists of
names more: of those that it hands to CANN as one graph, and of those that it runs one by one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from costlab import catalog
from costlab.catalog import OnnxOperator
from costlab.checks import count
from costlab.text import Table

#: Nodes that hold data and compute nothing: every list takes them.
DATA_NODES = frozenset({"Constant"})


@dataclass(frozen=True)
class OnnxList:
    """How much of an ONNX file one list of operators takes."""

    taker: str  # whose list
    nodes: int  # nodes of the file that compute
    missing: Mapping[str, int]  # operators that the list lacks, with their nodes

    @property
    def taken(self) -> int:
        """Nodes that the list takes."""
        return self.nodes - sum(self.missing.values())


@dataclass(frozen=True, repr=False)
class OnnxCoverage:
    """How much of an ONNX file three lists of operators take."""

    opset: int  # of the file
    lists: tuple[OnnxList, ...]  # CANN's parser, then ONNX Runtime's two

    def __repr__(self) -> str:
        rows = [_row(each) for each in self.lists]
        return repr(Table(rows, bold="taken", caption=f"Nodes that each list takes at opset {self.opset}"))


def _row(found: OnnxList) -> dict[str, object]:
    missing = ", ".join(f"{name} {number}" for name, number in found.missing.items())
    return {"list": found.taker, "nodes": found.nodes, "taken": found.taken, "missing": missing or None}


def last_opset(operators: Mapping[str, OnnxOperator] | None = None) -> int:
    """Return the last opset that CANN's parser knows most of its names in."""
    return Counter(each.last_opset for each in _known(operators).values()).most_common(1)[0][0]


def names_at(opset: int, operators: Mapping[str, OnnxOperator] | None = None) -> frozenset[str]:
    """Return the operators that CANN's parser knows in files of an opset."""
    return frozenset(name for name, each in _known(operators).items() if each.first_opset <= opset <= each.last_opset)


def check_opset(opset: int, nodes: Mapping[str, int] | None = None) -> int:
    """Return the opset of an ONNX file for Ascend, if CANN's parser knows most of its names in it.

    Args:
        opset: of the file.
        nodes: the file's operators, each with its count, for the message.

    Raises:
        ValueError: a later opset; it says how many names are known at it, and in which opset to export.
    """
    last, known, every = last_opset(), names_at(count(opset, "opset")), _known(None)
    if opset <= last:
        return opset
    until = sum(each.last_opset == last for each in every.values())
    own = {name: number for name, number in (nodes or {}).items() if name not in DATA_NODES}
    of_file = f"{sum(n for name, n in own.items() if name in known)} of the file's {sum(own.values())} nodes and "
    raise ValueError(
        f"opset {opset} is above {last}, the last that CANN's parser takes: at {opset} it knows "
        f"{of_file if own else ''}{len(known)} of its {len(every)} names, of which {until} end at {last}; "
        f"export with opset {last}"
    )


def onnx_coverage(nodes: Mapping[str, int], opset: int) -> OnnxCoverage:
    """Return how many nodes of an ONNX file each of three lists takes.

    Args:
        nodes: the file's operators, each with its count.
        opset: of the file; CANN's parser asks for it, ONNX Runtime's lists do not.
    """
    own = {name: number for name, number in nodes.items() if name not in DATA_NODES}
    operators = catalog.operators().onnx
    takers = {
        "CANN's parser": names_at(count(opset, "opset")),
        "ONNX Runtime, as a graph": {name for name, each in operators.items() if each.ort_graph},
        "ONNX Runtime, one by one": {name for name, each in operators.items() if each.ort_single},
    }
    total = sum(own.values())
    lists = (OnnxList(name, total, _without(own, taken)) for name, taken in takers.items())
    return OnnxCoverage(opset, tuple(lists))


def _without(nodes: Mapping[str, int], taken: Collection[str]) -> Mapping[str, int]:
    return {name: number for name, number in nodes.items() if name not in taken}


def _known(operators: Mapping[str, OnnxOperator] | None) -> Mapping[str, OnnxOperator]:
    return catalog.operators().onnx if operators is None else operators
