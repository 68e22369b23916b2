"""Every attention kind as a graph of torch.export: any prompt's length, a step with a cache, and no trace left behind.

Oracle: the same layer run eagerly. A graph sorts where eager code asks whether scores tie, and adds in another order.
"""

from __future__ import annotations

import importlib
import pkgutil
from dataclasses import replace
from typing import Any

import pytest
import torch
from attention import dims as d
from effort import some
from oracles import randomise
from torch import Tensor, nn
from torch._subclasses import FakeTensorMode
from torch.export import Dim, export

import costlab.nn
from costlab import arch
from costlab.nn.attention import Cache, Rope, build_layer, rope, unordered_top_k

_V4_ENTRY: arch.Layout = ((24, "fp8"), (8, "bf16"), (3, "ue8m0"), (1, "pad"))
PROMPTS = {name: dims for name, dims in d.KINDS.items() if name not in ("MHA", "MQA")}
STEPS = {
    **{(name, 39): dims for name, dims in PROMPTS.items()},
    ("CSA", 40): d.CSA,
    ("CSA in FP8 and FP4", 39): replace(d.CSA, entry=_V4_ENTRY, index_key=((16, "fp4"), (1, "ue8m0"))),
}
ATOL = 2e-6


@torch.no_grad()
@pytest.mark.parametrize("name", some([*PROMPTS], 2))
def test_a_prompt_of_any_length(name):
    """One graph, traced at 40 tokens, for lengths that fill blocks and that do not, and for batches of 2."""
    layer = randomise(build_layer(PROMPTS[name], d.HIDDEN))
    graph = export(
        layer,
        (d.hidden_states(40),),
        dynamic_shapes=({1: Dim("tokens", min=17, max=128)},),
        prefer_deferred_runtime_asserts_over_guards=True,
    ).module()
    for tokens in (17, 32, 40, 101, 128):
        hidden = d.hidden_states(tokens, seed=tokens)
        torch.testing.assert_close(graph(hidden), layer(hidden), rtol=0, atol=ATOL)


class Step(nn.Module):
    """One token after those in a cache, whose tensors go in and come out."""

    def __init__(self, layer: Any, cache: Cache) -> None:
        super().__init__()
        self.layer, self.tokens, self.capacity = layer, cache.length, cache.capacity
        self.lengths = {name: table.length for name, table in cache.tables.items()}

    def forward(self, token: Tensor, stored: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        cache, rest = self.layer.new_cache(len(token), self.capacity), list(stored)
        for name, table in cache.tables.items():
            table.stored, rest = [t.clone() for t in rest[: len(table.stored)]], rest[len(table.stored) :]
            table.length = self.lengths[name]
        cache.length = self.tokens
        return self.layer(token, cache), tensors(cache)


def tensors(cache: Cache) -> list[Tensor]:
    return [tensor for table in cache.tables.values() for tensor in table.stored]


@torch.no_grad()
@pytest.mark.parametrize(("name", "before"), some([*STEPS], 2))
def test_a_step_with_a_cache(name, before):
    """After 39 tokens the step closes a block of 4 and one of 8, after 40 it does not."""
    layer, hidden = randomise(build_layer(STEPS[name, before], d.HIDDEN)), d.hidden_states(before + 1)
    cache = layer.new_cache(2, before + 1)
    layer(hidden[:, :before], cache)
    token, stored = hidden[:, before:], [t.clone() for t in tensors(cache)]
    graph = export(Step(layer, cache), (token, stored)).module()
    output, after = graph(token, stored)
    torch.testing.assert_close(output, layer(token, cache), rtol=0, atol=ATOL)
    assert all(torch.equal(bits(a), bits(b)) for a, b in zip(after, tensors(cache), strict=True))


def bits(tensor: Tensor) -> Tensor:
    return tensor.view(torch.uint8) if tensor.dtype.itemsize == 1 else tensor


@torch.no_grad()
def test_a_graph_breaks_ties_as_eager_code_does():
    class Best(nn.Module):
        def forward(self, scores: Tensor) -> Tensor:
            return unordered_top_k(scores, 3)

    scores = torch.randint(-1, 2, (50, 9), generator=torch.Generator().manual_seed(0)).float()
    scores[::3, 5:] = float("-inf")
    graph = export(Best(), (scores,)).module()
    assert torch.equal(graph(scores).sort().values, unordered_top_k(scores, 3).sort().values)


@torch.no_grad()
@pytest.mark.parametrize("first", ["graph", "fake", "eager"])
def test_tracing_leaves_nothing_behind(first, monkeypatch):
    """Whatever runs first in a process, eager calls, graphs and stand-ins without memory work after it."""
    monkeypatch.setattr(rope, "_kept", {})
    layer, hidden = randomise(build_layer(d.HCA, d.HIDDEN, Rope(123.0))), d.hidden_states(20)
    if first == "graph":
        export(layer, (hidden,))
    elif first == "fake":
        fake()
    output = layer(hidden)
    torch.testing.assert_close(export(layer, (hidden,)).module()(hidden), output)
    fake()
    assert torch.equal(layer(hidden), output)
    for module in modules():
        for name, value in vars(module).items():
            kept = value.values() if isinstance(value, dict) and not name.startswith("__") else [value]
            assert all(type(x) is Tensor for x in kept if isinstance(x, Tensor)), f"{module.__name__}.{name}"


def fake() -> None:
    with FakeTensorMode():
        build_layer(d.HCA, d.HIDDEN, Rope(123.0))(torch.zeros(1, 20, d.HIDDEN))


def modules() -> list[Any]:
    return [importlib.import_module(m.name) for m in pkgutil.walk_packages(costlab.nn.__path__, "costlab.nn.")]


def test_no_cache_of_functools_holds_tensors():
    """What it keeps cannot be looked at, and a stand-in among it breaks every later call."""
    cached = [
        f
        for module in modules()
        for f in vars(module).values()
        if hasattr(f, "cache_info") and hasattr(f, "__wrapped__")
    ]
    assert not [f.__qualname__ for f in cached if "Tensor" in str(f.__wrapped__.__annotations__.get("return"))]


def test_angles_are_made_on_the_cpu_whatever_the_default_device(monkeypatch):
    monkeypatch.setattr(rope, "_kept", {})
    positions = torch.arange(5)
    with torch.device("meta"):
        made = Rope(1e4).angles(positions, 8)
    torch.testing.assert_close(made, Rope(1e4).angles(positions, 8))
