"""The layer as its definition reads: one token and one expert at a time. For tests and benchmarks only."""

import torch
from torch import Tensor

from costlab.nn.moe import MoELayer, swiglu


def naive_forward(layer: MoELayer, x: Tensor, token_ids: Tensor | None = None) -> Tensor:
    """Return what `layer(x)` should be, [tokens, hidden]."""
    choice = layer.gate(x, token_ids)
    rows = []
    for token, (experts, weights) in enumerate(zip(choice.experts.tolist(), choice.weights, strict=True)):
        row = torch.zeros_like(x[token]) if layer.shared is None else layer.shared(x[token])
        for expert, weight in zip(experts, weights, strict=True):
            inner = swiglu(layer.experts.gate_up[expert] @ x[token], layer.experts.clamp)
            row = row + weight * (layer.experts.down[expert] @ inner)
        rows.append(row)
    return torch.stack(rows)
