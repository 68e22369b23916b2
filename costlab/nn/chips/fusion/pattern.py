"""A pattern of operators, and the fused operator that could take their place.

A pattern is a function of tensors and numbers, traced into a graph of `torch.fx`: its arguments stand for whatever the
model's graph has in their place. So a number such as eps is an argument and no part of the pattern. The replacement is
a function of some of the same arguments, by name. A model's authors write one thing in several ways; each is a pattern
of its own (`patterns`).

That a pattern matches says nothing of whether its replacement computes the same: `checking` asks that of each match.

>>> import torch
>>> aten, fused = torch.ops.aten, torch.ops.costlab_fused
>>> gated = FusionPattern(
...     "swiglu", "gate first",
...     lambda gate, up: aten.mul.Tensor(aten.silu.default(gate), up),
...     lambda gate, up: fused.swiglu.default(gate, up),
... )
>>> gated.slots, [node.name for node in gated.graph().nodes]
(('gate', 'up'), ['gate', 'up', 'silu_default', 'mul_tensor', 'output'])
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import fx


@dataclass(frozen=True)
class FusionPattern:
    """Operators as they stand in graphs, and what could stand in their place."""

    name: str  # what they compute: "rms_norm", "add_rms_norm", "rotary", "swiglu", "attention", "gating"
    form: str  # how they are written, in words
    matched: Callable[..., Any]  # the operators, of tensors and numbers
    replacement: Callable[..., Any]  # the call in their place, of some of the same arguments, by name
    given: tuple[str, ...] = ()  # the arguments' names; (): those that `matched` declares

    def __str__(self) -> str:
        return f"{self.name} ({self.form})"

    @property
    def slots(self) -> tuple[str, ...]:
        """Names of the arguments, in order."""
        return self.given or tuple(inspect.signature(self.matched).parameters)

    def graph(self) -> fx.Graph:
        """Return the operators as a graph, its placeholders in the order of `slots`."""
        return _traced(self.slots, self.matched)

    def replaced(self, numbers: Mapping[str, Any] | None = None) -> fx.Graph:
        """Return the call in their place as a graph with the same placeholders.

        Args:
            numbers: arguments that are no tensors, as a match found them.
        """
        wanted = inspect.signature(self.replacement).parameters
        every = any(each.kind == inspect.Parameter.VAR_KEYWORD for each in wanted.values())
        return _traced(self.slots, self.replacement, numbers, None if every else tuple(wanted))


def _traced(
    slots: tuple[str, ...],
    function: Callable[..., Any],
    numbers: Mapping[str, Any] | None = None,
    wanted: tuple[str, ...] | None = None,
) -> fx.Graph:
    graph = fx.Graph()
    tracer = fx.proxy.GraphAppendingTracer(graph)
    given: dict[str, Any] = {name: fx.Proxy(graph.placeholder(name), tracer) for name in slots}
    given |= numbers or {}
    made = function(**{name: each for name, each in given.items() if wanted is None or name in wanted})
    graph.output(fx.node.map_aggregate(made, lambda each: each.node if isinstance(each, fx.Proxy) else each))
    return graph
