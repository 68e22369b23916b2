"""What a graph shows that goes wrong on other chips though each of its operators runs there.

A router whose logits are not float32 chooses other experts than it was trained to where rounding differs; PyTorch's
fast paths for its own transformer layers are operators without a kernel elsewhere. People who ported reported both.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from costlab.chips.porting.graph import Graph, GraphNode

#: PyTorch's fast paths for torch.nn's own layers, taken unasked; without a kernel on Ascend (Ascend/pytorch#51).
FAST_PATHS = frozenset(
    {
        "_native_multi_head_attention",
        "_nested_tensor_from_mask",
        "_transform_bias_rescale_qkv",
        "_transformer_encoder_layer_fwd",
    }
)

#: Parts of a module's path that name a router, and operators that choose.
_ROUTER = re.compile(r"(^|[._])(gate|router|moe|mlp|ffn|experts)($|[._])")
_CHOICES = frozenset({"topk", "sort"})
_PRODUCTS = frozenset({"mm", "addmm", "bmm", "baddbmm", "matmul", "linear"})


def cautions_of(graph: Graph) -> tuple[str, ...]:
    """Return what goes wrong, each as a sentence with its node and module."""
    return (*router_cautions(graph), *fast_paths(graph))


def router_cautions(graph: Graph) -> tuple[str, ...]:
    """Return a sentence for each router whose logits are computed in less than float32 (sglang#34861).

    A router is a choice of the largest (`topk`, `sort`) in a module named as one; its logits are of the nearest matrix
    product above it.
    """
    choices = (node for node in graph.nodes if _base(node) in _CHOICES and _ROUTER.search(node.module))
    products = {each.name: each for node in choices for each in _logits(node, graph)}
    return tuple(_in_less(node) for node in products.values() if node.outputs[0].dtype not in ("float32", "float64"))


def _in_less(node: GraphNode) -> str:
    where, dtype = node.module or "the model itself", node.outputs[0].dtype
    return f"router logits are not float32: {node.name} in {where} makes {dtype}; rounding flips choices of experts"


def _logits(choice: GraphNode, graph: Graph) -> Iterator[GraphNode]:
    """Yield the matrix products nearest above a choice."""
    seen, open_nodes = {choice.name}, [choice]
    while open_nodes:
        above = (graph.makers.get(value) for value in open_nodes.pop().inputs.values())
        for node in above:
            if node is None or node.name in seen:
                continue
            seen.add(node.name)
            if _base(node) in _PRODUCTS:
                yield node
            else:
                open_nodes.append(node)


def fast_paths(graph: Graph) -> tuple[str, ...]:
    """Return a sentence for each call of a fast path of PyTorch's."""
    found = (node for node in graph.nodes if _base(node) in FAST_PATHS)
    return tuple(
        f"{node.name} in {node.module or 'the model itself'} is a fast path of PyTorch without a kernel on Ascend; "
        "torch.backends.mha.set_fastpath_enabled(False) takes the plain operators"
        for node in found
    )


def _base(node: GraphNode) -> str:
    return node.op.split(".")[1] if node.op.count(".") else node.op
