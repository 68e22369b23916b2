"""Feed-forward layers: dense, or a mixture of routed and shared experts. Each expert is a SwiGLU of three matrices.

Chapter: moe
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from costlab.catalog import Routing

#: Change per step of the bias that balances experts without a loss: DeepSeek-V3's (arXiv 2412.19437 sec. 4.2) and
#: V4's (arXiv 2606.19348 sec. 4.2.2).
BIAS_SPEED = 0.001


@dataclass(frozen=True)
class Dense:
    """A SwiGLU feed-forward layer `inner` wide."""

    inner: int  # width between the two multiplications
    kind: ClassVar[str] = "dense"

    def __post_init__(self) -> None:
        if self.inner < 1:
            raise ValueError(f"inner = {self.inner} should be at least 1")

    def params(self, hidden: int) -> Mapping[str, int]:
        """Return all parameters by component."""
        return {"dense": 3 * hidden * self.inner}

    def active(self, hidden: int) -> Mapping[str, int]:
        """Return the parameters that one token multiplies, by component."""
        return self.params(hidden)


def check_routing(experts: int, top_k: int, routing: Routing) -> None:
    """Check that a rule can choose `top_k` of `experts` experts, and that nothing of it would go unused.

    Raises:
        ValueError: groups that don't divide the experts or hold too few of them, a scale that is not above 0, or a
            table of token ids beside what steers a choice by score.
    """
    groups, kept = routing.groups, routing.groups_kept
    if not 1 <= top_k <= experts:
        raise ValueError(f"top_k = {top_k} should lie between 1 and experts = {experts}")
    if groups < 1 or experts % groups:
        raise ValueError(f"{experts} experts don't divide into groups = {groups}")
    if not 1 <= kept <= groups:
        raise ValueError(f"groups_kept = {kept} should lie between 1 and groups = {groups}")
    if top_k > (reach := experts // groups * kept):
        raise ValueError(f"top_k = {top_k} exceeds the {reach} experts of {kept} groups kept of {groups}")
    if not 0 < routing.scale < math.inf:
        raise ValueError(f"scale = {routing.scale} should be above 0 and finite")
    if routing.select == "token-table" and (groups > 1 or routing.bias):
        raise ValueError("a table of token ids chooses the experts itself: leave groups and bias out")


@dataclass(frozen=True)
class MoE:
    """`experts` routed experts of which each token visits `top_k`, and `shared` ones that all tokens visit."""

    experts: int  # routed experts of the layer
    top_k: int  # routed experts that a token visits
    inner: int  # width inside an expert
    shared: int = 0  # experts that every token visits
    clamp: float | None = None  # bound on the gate's and up-projection's outputs; None: no bound
    routing: Routing = field(default_factory=lambda: Routing("softmax"))  # how experts are chosen
    kind: ClassVar[str] = "moe"

    def __post_init__(self) -> None:
        check_routing(self.experts, self.top_k, self.routing)
        if self.inner < 1 or self.shared < 0:
            raise ValueError(f"inner = {self.inner} should be at least 1, shared = {self.shared} at least 0")
        if self.clamp is not None and not self.clamp > 0:
            raise ValueError(f"clamp = {self.clamp} should be above 0, or None")

    def expert_params(self, hidden: int) -> int:
        """Return the parameters of one expert."""
        return 3 * hidden * self.inner

    def params(self, hidden: int) -> Mapping[str, int]:
        """Return all parameters by component; a selection bias counts as "norm" (it multiplies nothing)."""
        return self._with(hidden, self.experts)

    def active(self, hidden: int) -> Mapping[str, int]:
        """Return the parameters that one token multiplies, by component."""
        return self._with(hidden, self.top_k)

    def _with(self, hidden: int, routed: int) -> Mapping[str, int]:
        expert = self.expert_params(hidden)
        bias = self.experts if self.routing.bias else 0
        return {
            "experts": routed * expert,
            "shared": self.shared * expert,
            "router": hidden * self.experts,
            "norm": bias,
        }


FeedForward = Dense | MoE

#: Feed-forward classes by the catalog's `kind`.
FFN_KINDS: Mapping[str, type[Dense] | type[MoE]] = {"dense": Dense, "moe": MoE}
