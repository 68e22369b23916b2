"""Feed-forward layers: dense, or a mixture of routed and shared experts, or none.

Each is a SwiGLU of three matrices, or has two where nothing gates it (squared ReLU).

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
    """A feed-forward layer `inner` wide."""

    inner: int  # width between the two multiplications
    gated: bool = field(default=True, kw_only=True)  # whether a third matrix gates it, as in SwiGLU
    kind: ClassVar[str] = "dense"

    def __post_init__(self) -> None:
        if self.inner < 1:
            raise ValueError(f"inner = {self.inner} should be at least 1")

    def params(self, hidden: int) -> Mapping[str, int]:
        """Return all parameters by component."""
        return {"dense": matrices(self.gated) * hidden * self.inner}

    def active(self, hidden: int) -> Mapping[str, int]:
        """Return the parameters that one token multiplies, by component."""
        return self.params(hidden)


@dataclass(frozen=True)
class NoFeedForward:
    """A layer that is only attention, as Nemotron-3's are."""

    kind: ClassVar[str] = "none"

    def params(self, hidden: int) -> Mapping[str, int]:
        """Return nothing."""
        return {}

    def active(self, hidden: int) -> Mapping[str, int]:
        """Return nothing."""
        return {}


def matrices(gated: bool) -> int:
    """Return the matrices of a feed-forward layer or an expert."""
    return 3 if gated else 2


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
    gated: bool = field(default=True, kw_only=True)  # whether a third matrix gates each expert, as in SwiGLU
    latent: int | None = field(
        default=None, kw_only=True
    )  # width that routed experts read and write, between two matrices; None: the model's
    latent_norm: bool = field(default=False, kw_only=True)  # whether what the experts read in that width is normed
    shared_inner: int | None = field(
        default=None, kw_only=True
    )  # width inside a shared expert; None: that of a routed one
    shared_gate: bool = field(default=False, kw_only=True)  # whether a learned scalar gates the shared experts
    beside: int | None = field(
        default=None, kw_only=True
    )  # width inside a dense layer that runs beside the experts; None without one
    biases: bool = field(default=False, kw_only=True)  # whether router and experts add vectors
    scales: bool = field(
        default=False, kw_only=True
    )  # whether router and experts have learned scales, and norms of their own (Gemma 4)
    kind: ClassVar[str] = "moe"

    def __post_init__(self) -> None:
        check_routing(self.experts, self.top_k, self.routing)
        if self.inner < 1 or self.shared < 0:
            raise ValueError(f"inner = {self.inner} should be at least 1, shared = {self.shared} at least 0")
        if self.clamp is not None and not self.clamp > 0:
            raise ValueError(f"clamp = {self.clamp} should be above 0, or None")
        for name in ("latent", "shared_inner", "beside"):
            width = getattr(self, name)
            if width is not None and width < 1:
                raise ValueError(f"{name} = {width} should be at least 1, or None")
        if self.latent_norm and self.latent is None:
            raise ValueError("latent_norm without latent: give the width of the experts' latent")
        if (self.shared_gate or self.shared_inner) and not self.shared:
            raise ValueError("shared_gate and shared_inner describe shared experts, of which there are none")

    def expert_width(self, hidden: int) -> int:
        """Return the width of what an expert reads and writes, which is what is sent to it and back."""
        return hidden if self.latent is None else self.latent

    def expert_params(self, hidden: int) -> int:
        """Return the parameters of one routed expert."""
        return matrices(self.gated) * self.expert_width(hidden) * self.inner

    def shared_params(self, hidden: int) -> int:
        """Return the parameters of one shared expert."""
        return matrices(self.gated) * hidden * (self.shared_inner or self.inner)

    def params(self, hidden: int) -> Mapping[str, int]:
        """Return all parameters by component; biases, scales and norms count as "norm" (they multiply nothing)."""
        return self._with(hidden, self.experts)

    def active(self, hidden: int) -> Mapping[str, int]:
        """Return the parameters that one token multiplies, by component."""
        return self._with(hidden, self.top_k)

    def _with(self, hidden: int, routed: int) -> Mapping[str, int]:
        counts = {
            "experts": routed * self.expert_params(hidden),
            "shared": self.shared * self.shared_params(hidden),
            "router": hidden * (self.experts + self.shared_gate),
            "norm": self._vectors(hidden),
        }
        if self.latent is not None:
            counts["latent_experts"] = 2 * hidden * self.latent
        if self.beside is not None:
            counts["dense"] = matrices(self.gated) * hidden * self.beside
        return counts

    def _vectors(self, hidden: int) -> int:
        count = self.experts if self.routing.bias else 0
        if self.biases:
            inner = (matrices(self.gated) - 1) * self.inner
            count += self.experts * (1 + inner + self.expert_width(hidden))
        if self.scales:  # the router's input and each expert; norms behind both parts and before the experts
            count += self.experts + hidden + 3 * hidden
        return count + (self.latent or 0) * self.latent_norm


FeedForward = Dense | MoE | NoFeedForward

#: Feed-forward classes by the catalog's `kind`.
FFN_KINDS: Mapping[str, type[Dense] | type[MoE] | type[NoFeedForward]] = {
    "dense": Dense,
    "moe": MoE,
    "none": NoFeedForward,
}
