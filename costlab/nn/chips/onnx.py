"""A module exported to ONNX and run there: a check of the export that any machine can do, no way to serve on a chip.

The file is run in ONNX Runtime on the CPU and compared with the module. Experts export in their gathered form.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from costlab.checks import count, one_of
from costlab.chips.porting.opsets import check_opset
from costlab.nn.chips.capture import Captured, capture, difference, first_line, largest_number, quiet

#: Largest difference of a file's outputs from the module's, relative to the largest output, that is rounding.
ONNX_TOLERANCE = 1e-4

#: What must read the file.
TARGETS = ("ascend", "onnxruntime")


@dataclass(frozen=True)
class OnnxModel:
    """An ONNX file, and how it did beside the module that it was made of."""

    file: bytes  # what to write to a .onnx
    opset: int  # that it asks for
    nodes: Mapping[str, int]  # operators, each with its count
    error: float  # largest difference of its outputs from the module's, in ONNX Runtime on the CPU


def to_onnx(module: nn.Module, inputs: Sequence[Tensor], opset: int = 18, target: str = "ascend") -> OnnxModel:
    """Export a module to ONNX, run the file in ONNX Runtime, and compare.

    Args:
        module: in evaluation mode, in FP32; tensors in, tensors out.
        inputs: examples; the file takes others of their shapes only.
        opset: of the file.
        target: "ascend" refuses opsets that CANN's parser does not know; "onnxruntime" takes any that torch writes.

    Raises:
        ValueError: an opset that the target does not read or torch does not write, an operator that has no ONNX form,
            named, or a file that computes something else.
        ModuleNotFoundError: onnx, onnxscript or onnxruntime are missing.
    """
    opset = count(opset, "opset")
    if one_of(TARGETS, target, "target") == "ascend":
        check_opset(opset)
    captured = capture(module, inputs)
    if captured.wanted is None:
        raise ValueError("weights without memory give no ONNX file: export a model of small size")
    program = _exported(captured, opset)
    if (written := program.model.opset_imports[""]) != opset:
        raise ValueError(f"opset {opset} was asked for, and torch writes {captured.graph.name} in opset {written}")
    file = program.model_proto.SerializeToString()
    nodes = Counter(node.op_type for node in program.model.graph)
    return OnnxModel(file, opset, dict(nodes.most_common()), _error(file, captured.inputs, captured.wanted))


def _exported(captured: Captured, opset: int) -> Any:
    _needed("onnx")
    table = {torch.ops.aten.sort.stable: _stable_sort()}
    try:
        with torch.no_grad(), quiet():
            return torch.onnx.export(
                captured.exported, dynamo=True, opset_version=opset, verbose=False, custom_translation_table=table
            )
    except Exception as error:
        raise ValueError(_why(captured.graph.name, error)) from error


def _stable_sort() -> Any:
    """Return `aten.sort.stable` in ONNX: TopK of all entries, which gives equal ones in their order."""
    onnxscript = _needed("onnxscript")
    op = onnxscript.opset18

    def sort(self: Any, stable: bool = True, dim: int = -1, descending: bool = False) -> Any:
        size = op.Reshape(op.Gather(op.Shape(self), op.Constant(value_ints=[dim])), op.Constant(value_ints=[1]))
        return op.TopK(self, size, axis=dim, largest=int(descending), sorted=1)

    return sort


def _needed(name: str) -> Any:
    try:
        return __import__(name)
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(f"ONNX needs {name}: pip install onnx onnxscript onnxruntime") from error


def _why(name: str, error: Exception) -> str:
    """Say which operator has no ONNX form, as far as torch's messages do."""
    found = re.search(r"target=torch\.ops\.([\w.]+)\]", _chain(error))
    why = f"{found[1]} has no form there" if found else first_line(error)
    of_experts = found and re.search("searchsorted|grouped_mm", found[1])
    advice = '; experts export as experts="gathered"' if of_experts else ""
    return f"{name} cannot be exported to ONNX: {why}{advice}"


def _chain(error: BaseException | None) -> str:
    return "" if error is None else f"{error}\n{_chain(error.__cause__)}"


def _error(file: bytes, inputs: Sequence[Tensor], wanted: Sequence[Tensor]) -> float:
    """Return the largest difference of a file's outputs from those wanted.

    Raises:
        ValueError: one that is more than rounding.
    """
    session = _needed("onnxruntime").InferenceSession(file, providers=["CPUExecutionProvider"])
    feeds = {each.name: tensor.numpy() for each, tensor in zip(session.get_inputs(), inputs, strict=True)}
    outputs = [torch.from_numpy(np.asarray(each)) for each in session.run(None, feeds)]
    error = difference(outputs, wanted)
    if not error <= ONNX_TOLERANCE * max(largest_number(wanted), 1.0):
        raise ValueError(f"the ONNX file gives other outputs than the module: they differ by {error:.3g}")
    return error
