"""Fusion of whole models: counted beside the modules that the models are made of, and run beside the unfused graphs."""

from __future__ import annotations

import functools
import json
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from effort import is_full, some
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from costlab.nn.chips.capture import Captured, capture
from costlab.nn.chips.fusion import PATTERNS, WRONG, Fusion, fuse, fusion_story
from costlab.nn.chips.small import small_model

# What a module's class, by the end of its name, should become one of.
MODULES = {
    "RMSNorm": "norm",
    "MLP": "swiglu",
    "Experts": "swiglu",
    "SwiGLU": "swiglu",
    "Attention": "attention",
    "TopkRouter": "gating",
    "TopKRouter": "gating",
    "Gate": "gating",
}
MODELS = {
    "llama, written out": {"rotary": 4},
    "deepseek-v3 transformers": {"rotary": 4, "attention": 0},  # torch's own, without groups: one operator already
    "mimo-v2-flash transformers": {"rotary": 6},
    "mixtral-8x7b transformers": {"rotary": 4},
    # costlab writes attention with heads beside the queries, and a gate by a stable sort: no pattern of ours
    "llama-3.1-8b costlab": {"rotary": 4, "attention": 0},
    "mimo-v2-flash costlab": {"rotary": 6, "attention": 0, "gating": 0},
}
RUN = some([*MODELS], 2)


class Logits(nn.Module):
    """A model of transformers as token numbers in, logits out."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, tokens: Tensor) -> Tensor:
        return self.model(input_ids=tokens, use_cache=False).logits


def written_out() -> tuple[nn.Module, tuple[Tensor, ...]]:
    transformers = pytest.importorskip("transformers")
    config = transformers.LlamaConfig(
        vocab_size=128, hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=128,
    )  # fmt: skip
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(config, attn_implementation="eager")
    return Logits(model).eval(), (torch.randint(0, 128, (2, 12)),)


@functools.cache
def fused(name: str) -> tuple[nn.Module, Fusion]:
    if name == "llama, written out":
        module, inputs = written_out()
    else:
        key, maker = name.split()
        if maker == "transformers":
            pytest.importorskip("transformers")
        small = small_model(key, of=maker)
        module, inputs = small.module, small.inputs
    return module, fuse(capture(module, inputs, name))


def wanted(module: nn.Module, name: str) -> Counter[str]:
    """What the classes of a model's modules let expect."""
    found: Counter[str] = Counter()
    for each in module.modules():
        found.update(kind for end, kind in MODULES.items() if type(each).__name__.endswith(end))
    if "costlab" in name:
        found["swiglu"] = sum(type(each).__name__ in ("SwiGLU", "GatheredExperts") for each in module.modules())
    return found


@pytest.mark.parametrize("name", RUN)
def test_each_module_becomes_one_operator(name):
    module, fusion = fused(name)
    counts = Counter(fusion.counts)
    counts["norm"] = counts.pop("rms_norm") + counts.pop("add_rms_norm")
    expected = {**wanted(module, name), **MODELS[name]}
    assert {kind: counts[kind] for kind in expected} == expected
    assert not fusion.refused


@pytest.mark.parametrize("name", RUN)
def test_a_fused_model_gives_what_the_model_gives_on_inputs_it_has_not_seen(name):
    _, fusion = fused(name)
    assert fusion.fresh_error < 2e-6
    assert any("costlab_fused" in str(node.target) for node in fusion.after.exported.graph.nodes)


@pytest.mark.parametrize("name", RUN)
def test_nodes_launches_and_bytes_fall_and_the_peak_stays_or_falls(name):
    _, fusion = fused(name)
    first, cleaned, last = fusion.stages
    there = {node.name for node in fusion.cleaned.graph.nodes}
    parts = [part for each in fusion.fused for part in each.replaced if part in there]
    assert len(parts) == len(set(parts))
    assert last.nodes == cleaned.nodes - len(parts) + len(fusion.fused)
    assert cleaned.nodes < first.nodes and first.launches - cleaned.launches <= fusion.removed["unread"]
    assert last.launches < 0.85 * cleaned.launches
    assert last.written_bytes < cleaned.written_bytes <= first.written_bytes
    assert last.peak_bytes <= cleaned.peak_bytes <= first.peak_bytes


def test_the_peak_of_a_model_of_experts_is_where_their_weights_are_gathered():
    """Fusion saves bytes that are written, and leaves the peak where no pattern is."""
    _, fusion = fused("mimo-v2-flash transformers")
    _, cleaned, last = fusion.stages
    assert last.peak_bytes == cleaned.peak_bytes
    assert last.written_bytes < 0.8 * cleaned.written_bytes


def test_what_a_fused_node_stands_for():
    _, fusion = fused("llama, written out")
    found = {each.pattern.name: each for each in fusion.fused}
    ops = {node.name: node.op for node in fusion.cleaned.graph.nodes}
    both = [ops[name] for name in found["add_rms_norm"].replaced]
    assert both[0] == "aten.add.Tensor" and Counter(both)["aten.mul.Tensor"] == 2 and "aten.rsqrt.default" in both
    attention = [ops[name] for name in found["attention"].replaced]
    assert Counter(attention)["aten.matmul.default"] == 2 and Counter(attention)["aten.expand.default"] == 2
    assert found["attention"].module.endswith("layers.1.self_attn")
    assert "accepted on 9 inputs" in str(found["attention"].judgement)


def test_a_mask_read_as_bool_is_refused_in_a_model_whose_own_masks_would_not_show_it():
    _, fusion = fused("llama, written out")
    wrong = fuse(fusion.before, WRONG["a float mask read as bool"])
    assert not wrong.fused and {each.outcome for each in wrong.refused} == {"refused by numbers"}
    assert all("biased" in each.judgement.refuted_by for each in wrong.refused)
    assert all(
        each.judgement.trial(kind).accepted for each in wrong.refused for kind in ("random", "unmasked", "masked")
    )


def test_a_story_is_plain_data_that_fits_together():
    _, fusion = fused("llama, written out")
    story = fusion_story(fusion, "model.model.layers.0")
    assert json.loads(json.dumps(story)) == story
    assert [stage["name"] for stage in story["stages"]] == ["captured", "cleaned", "fused"]
    for side in ("before", "after"):
        names = {node["name"] for node in story[side]["nodes"]}
        assert all(set(edge) <= names for edge in story[side]["edges"])
    parts = {part for each in story["fused"] for part in each["parts"]}
    assert {node["name"] for node in story["before"]["nodes"] if node["fused"]} <= parts
    assert "add_9" in parts  # the layer's last sum, which one operator adds and norms for the next layer
    after = {node["name"]: node["op"] for node in story["after"]["nodes"] if node["fused"]}
    assert after.keys() == {each["node"] for each in story["fused"]}
    assert all(op.startswith("costlab_fused.") for op in after.values())
    with pytest.raises(ValueError, match="no node of llama, written out lies under 'layers'"):
        fusion_story(fusion, "layers")


@pytest.mark.skipif(not is_full(), reason="two seconds to draw inputs of real widths")
def test_shapes_of_the_large_model_are_checked_too():
    """At real widths weights take no memory; the checks draw inputs of those widths all the same."""
    pytest.importorskip("transformers")
    small = small_model("deepseek-v3", of="transformers", size="real", batch=1, tokens=8)
    norms = [each for each in PATTERNS if "norm" in each.name]
    fusion = fuse(capture(small.module, small.inputs, small.name), norms, obey_rules=True)
    assert fusion.fresh_error is None and fusion.counts.keys() == {"rms_norm", "add_rms_norm"}
    assert {trial.dtype for each in fusion.fused for trial in each.judgement.trials} == {"bfloat16", "float32"}
    assert fusion.stages[2].written_bytes < 0.85 * fusion.stages[1].written_bytes


class Held(torch.fx.Interpreter):
    """Runs a graph, noting what its gates choose, or with choices of another in their place."""

    def __init__(self, captured: Captured, choices: Sequence[Tensor] = ()) -> None:
        super().__init__(captured.exported.module())
        self.chosen: list[Tensor] = []
        self.held = list(choices)

    @torch.no_grad()
    def logits(self, tokens: Tensor) -> Tensor:
        return next(each for each in pytree.tree_leaves(self.run(tokens)) if isinstance(each, Tensor))

    def call_function(self, target: Any, args: Any, kwargs: Any) -> Any:
        made = super().call_function(target, args, kwargs)
        if target == torch.ops.costlab_fused.gating.default:
            self.chosen.append(made[1])
        if target == torch.ops.aten.topk.default and self.held:
            chosen = self.held.pop(0)
            return args[0].gather(-1, chosen), chosen
        return made


@pytest.mark.skipif(not is_full(), reason="four seconds to capture another model")
def test_in_half_precision_a_fused_router_may_choose_other_experts_and_nothing_else_differs_by_more_than_rounding():
    """With the choices of the fused graph held fixed in the other one, both agree to a few bfloat16 roundings."""
    small = small_model("mixtral-8x7b", of="transformers")
    fusion = fuse(capture(small.module.bfloat16(), small.inputs, small.name))
    assert fusion.counts["gating"] == 2 and not fusion.refused
    free, held = [], []
    for seed in range(6):
        order = torch.randperm(small.inputs[0].numel(), generator=torch.Generator().manual_seed(seed))
        tokens = small.inputs[0].flatten()[order].view(small.inputs[0].shape)
        after = Held(fusion.after)
        got = after.logits(tokens)
        wanted = [Held(fusion.cleaned, choices).logits(tokens) for choices in ((), after.chosen)]
        free, held = (
            [*found, float((got - each).abs().max() / each.abs().max())]
            for found, each in zip((free, held), wanted, strict=True)
        )
    assert max(held) < 16 * torch.finfo(torch.bfloat16).eps / 2 < max(free)


@pytest.mark.skipif(not is_full(), reason="five seconds of matching")
def test_v4_has_every_pattern_but_the_sum_and_its_norm():
    _, fusion = fused("deepseek-v4-flash transformers")
    assert fusion.counts.keys() == {"attention", "rotary", "rms_norm", "swiglu", "gating"}
    assert fusion.fresh_error < 2e-6
