"""The experts of a costlab model in other forms of the same weights, each of which becomes another graph.

A loop over blocks of rows ("loop") writes every expert into the graph. Torch's grouped matrix product ("grouped") is
one node for all of them, as chips run it. Weights gathered for each token ("gathered") are plain matrix products that
any operator set has; they copy top_k experts' weights for every token, so their bytes say nothing about serving.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor, nn

from costlab.checks import one_of
from costlab.nn.moe import Experts, MoELayer, Multiply, swiglu

#: How the experts of a captured model multiply.
ExpertForm = Literal["gathered", "grouped", "loop"]

#: Each form by the name that transformers has for it.
TRANSFORMERS_FORMS: Mapping[ExpertForm, str] = {"gathered": "batched_mm", "grouped": "grouped_mm", "loop": "eager"}
_MULTIPLY: dict[ExpertForm, Multiply] = {"grouped": "kernel", "loop": "loop"}


class GatheredExperts(nn.Module):
    """Routed experts whose weights are gathered for each token: the same parameters and outputs as `Experts`.

    Args:
        experts: whose weights to share.
    """

    def __init__(self, experts: Experts) -> None:
        super().__init__()
        self.clamp = experts.clamp
        self.gate_up, self.down = experts.gate_up, experts.down

    def forward(self, x: Tensor, experts: Tensor, weights: Tensor) -> Tensor:
        """Return the weighted sum of the chosen experts for each token, [tokens, hidden].

        Args:
            x: [tokens, hidden].
            experts: chosen experts, [tokens, top_k].
            weights: of the same shape.
        """
        gate_up, down = self.gate_up[experts], self.down[experts]  # [tokens, top_k, 2 inner, hidden] and back
        inner = swiglu((gate_up @ x[:, None, :, None]).squeeze(-1), self.clamp)  # [tokens, top_k, inner]
        weighted = inner * weights[..., None].to(x.dtype)
        return (down @ weighted[..., None]).squeeze(-1).sum(1)


def use_experts(module: nn.Module, form: ExpertForm) -> nn.Module:
    """Put all experts of a costlab model into a form, in place, and return the model.

    Args:
        module: whose `MoELayer` parts are changed.
        form: "gathered", "grouped" (BF16 on a CPU), or "loop".

    Raises:
        ValueError: an unknown form.
    """
    form = one_of(TRANSFORMERS_FORMS, form, "form of the experts")
    for layer in [each for each in module.modules() if isinstance(each, MoELayer)]:
        if form != "gathered":
            layer.experts.multiply = _MULTIPLY[form]
        elif isinstance(layer.experts, Experts):
            layer.experts = GatheredExperts(layer.experts)  # type: ignore[assignment]
    return module


def default_form(dtype: torch.dtype) -> ExpertForm:
    """Return the form that chips run, where the CPU here can run it for that type too, else the gathered one."""
    return "grouped" if dtype == torch.bfloat16 else "gathered"
