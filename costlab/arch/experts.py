"""Feed-forward layers: dense, or a mixture of routed and shared experts. Each expert is a SwiGLU of three matrices."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from costlab.catalog import Routing


@dataclass(frozen=True)
class Dense:
    """A SwiGLU feed-forward layer `inner` wide.

    Chapter: moe
    """

    inner: int
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


@dataclass(frozen=True)
class MoE:
    """`experts` routed experts of which each token visits `top_k`, and `shared` ones that all tokens visit.

    Chapter: moe
    """

    experts: int
    top_k: int
    inner: int
    shared: int = 0
    clamp: float | None = None
    routing: Routing = field(default_factory=lambda: Routing("softmax"))
    kind: ClassVar[str] = "moe"

    def __post_init__(self) -> None:
        if not 1 <= self.top_k <= self.experts:
            raise ValueError(f"top_k = {self.top_k} should lie between 1 and experts = {self.experts}")
        if self.experts % self.routing.groups:
            raise ValueError(f"{self.experts} experts don't divide into groups = {self.routing.groups}")

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
