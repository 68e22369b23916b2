"""Graphs of running modules, against the modules themselves, and what a model's few layers say of all of them."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

import pytest
import torch
from effort import some
from torch import Tensor, nn
from torch._subclasses import FakeTensor

from costlab import arch
from costlab.chips.porting.graph import Graph
from costlab.nn.chips import architectures, cutting
from costlab.nn.chips.capture import capture, difference
from costlab.nn.chips.experts import GatheredExperts, use_experts
from costlab.nn.chips.small import randomise_weights, small_model
from costlab.nn.moe import MoELayer

LLAMA = {"model_type": "llama", "num_hidden_layers": 7, "hidden_size": 1024, "intermediate_size": 2048}
LLAMA |= {"num_attention_heads": 16, "num_key_value_heads": 4, "vocab_size": 32000, "max_position_embeddings": 4096}


class Sharing(nn.Module):
    """A view, a view of it, a copy, a change in place, and a result of two parts."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        copy = x.t().contiguous()
        copy.view(-1)[2:4].mul_(2.0)
        values, places = copy.topk(2)
        return values, places


def owners(graph: Graph) -> dict[str, str]:
    return {name: graph.owner(name) for node in graph.nodes for name in (spec.name for spec in node.outputs)}


def test_a_graph_says_what_shares_memory_and_what_is_changed() -> None:
    graph = capture(Sharing().eval(), (torch.arange(12.0).reshape(3, 4),), "shares").graph
    ops = {node.op.removeprefix("aten."): node for node in graph.nodes}
    found = owners(graph)
    assert found[ops["t.default"].name] == "x"
    copy = ops["contiguous.default"].name
    assert found[copy] == copy
    assert ops["mul_.Tensor"].writes == (ops["slice.Tensor"].name,)
    assert {found[ops[name].name] for name in ("view.default", "slice.Tensor", "mul_.Tensor")} == {copy}
    assert [str(spec) for spec in ops["topk.default"].outputs] == ["float32[4, 2]", "int64[4, 2]"]
    assert graph.outputs == ("topk.0", "topk.1")
    assert ops["topk.default"].literals == {"k": 2}
    assert Graph.from_json(graph.to_json()) == graph


def test_another_program_is_judged_in_single_precision_and_measured_in_half() -> None:
    x = torch.randn(3, 8, generator=torch.Generator().manual_seed(0))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        one, other = nn.Linear(8, 4).eval(), nn.Linear(8, 4).eval()
    found, wrong = capture(one, (x,)), capture(other, (x,))
    with pytest.raises(ValueError, match="the graph of Linear gives other outputs than the module"):
        found.with_program(wrong.exported)
    half = capture(one.bfloat16(), (x.bfloat16(),))
    error = half.with_program(capture(other.bfloat16(), (x.bfloat16(),)).exported).error
    assert error is not None and error > 0.1


def test_a_number_that_is_none_differs_from_any() -> None:
    nan, one = torch.tensor([torch.nan, 1.0]), torch.ones(2)
    assert difference([nan], [one]) == difference([one], [nan]) == torch.inf
    assert difference([nan], [nan]) == difference([torch.ones(0)], [torch.ones(0)]) == 0
    assert difference([torch.tensor([torch.inf])], [torch.tensor([-torch.inf])]) == torch.inf


def test_tables_of_numbers_are_no_weights_and_biases_are() -> None:
    module = nn.Linear(2, 2)
    module.register_buffer("table", torch.ones(2))
    module.register_buffer("bias_of_choice", torch.zeros(2))
    randomise_weights(module)
    assert torch.equal(module.get_buffer("table"), torch.ones(2))
    assert module.get_buffer("bias_of_choice").abs().min() > 0


def test_decomposing_keeps_what_is_computed() -> None:
    module = randomise_weights(nn.Sequential(nn.RMSNorm(8), nn.Linear(8, 4), nn.SiLU())).eval()
    found = capture(module, (torch.randn(3, 8, generator=torch.Generator().manual_seed(0)),))
    core = found.decomposed()
    assert [n.op for n in found.graph.nodes] == ["aten.rms_norm.default", "aten.linear.default", "aten.silu.default"]
    assert found.error == 0
    assert core.error is not None and core.error < 1e-6
    assert {"aten.addmm.default", "aten.rsqrt.default", "aten.sigmoid.default"} <= {n.op for n in core.graph.nodes}
    assert [w.name for w in core.graph.weights] == ["0.weight", "1.weight", "1.bias"]
    modules = Counter(node.module for node in core.graph.nodes)
    assert set(modules) == {"0", "1", "2"}


SMALL = [(key, of) for of in ("costlab", "transformers") for key in architectures.MODEL_TYPES if "v4" not in key]


@pytest.mark.parametrize(("key", "of"), some(SMALL, 8))
def test_the_graph_of_a_small_model_computes_what_it_does(key: str, of: Any) -> None:
    """Run once more as torch's own program, whose operators are those that were noted."""
    small = small_model(key, of)
    found = capture(small.module, small.inputs, small.name)
    with torch.no_grad():
        again = found.exported.module()(*small.inputs)
    assert found.wanted is not None and found.error is not None
    assert difference([again], found.wanted) == pytest.approx(found.error, abs=1e-5)
    assert found.error < 1e-5
    calls = [n for n in found.exported.graph.nodes if isinstance(n.target, torch._ops.OpOverload)]
    assert [node.op for node in found.graph.nodes] == [str(call.target) for call in calls]
    assert [tuple(s.shape for s in n.outputs) for n in found.graph.nodes] == [shapes(call) for call in calls]
    assert all(node.line and node.module for node in found.graph.nodes if node.line.startswith("costlab"))
    assert not any(node.line.startswith("/") for node in found.graph.nodes)


def shapes(call: torch.fx.Node) -> tuple[tuple[int, ...], ...]:
    made = call.meta.get("val")
    made = made if isinstance(made, tuple | list) else [made]
    return tuple(tuple(each.shape) for each in made if isinstance(each, Tensor))


@pytest.mark.parametrize(
    ("key", "of"), some([("deepseek-v4-flash", "costlab"), ("deepseek-v4-pro", "transformers")], 2)
)
def test_v4_keeps_each_of_its_kinds_of_layer(key: str, of: Any) -> None:
    small = small_model(key, of, tokens=16)
    assert len(small.layers) == 4
    assert sum(small.stands_for) == len(arch.load(key).layers)
    found = capture(small.module, small.inputs, small.name)
    assert found.error is not None and found.error < 1e-5
    assert any("Sinkhorn" in remark for remark in small.remarks)


def test_few_layers_count_the_operators_of_all() -> None:
    """Of seven layers two stay; what they stand for is what seven of them have."""
    small = small_model(LLAMA, "transformers")
    assert (small.layers, small.stands_for) == ((0, 1), (1, 6))
    assert small.reduced["num_attention_heads"] == (16, 4)
    few = capture(small.module, small.inputs).graph
    narrow = {**cutting.cut_config(LLAMA, narrow=True).config, "num_hidden_layers": 7}
    whole = capture(architectures.build_model(narrow, "eager", torch.float32), small.inputs).graph
    counted: Counter[str] = Counter()
    for node in few.nodes:
        counted[node.op] += small.times(node)
    assert counted == Counter(node.op for node in whole.nodes)


@pytest.mark.parametrize("key", some(["mimo-v2-flash", "deepseek-v3", "deepseek-v4-flash"], 3))
def test_real_size_has_the_weights_that_the_catalog_counts(key: str) -> None:
    """Of the layers that stay; nothing is computed and nothing takes memory."""
    small = small_model(key, "costlab", "real", tokens=4)
    found = capture(small.module, small.inputs, small.name)
    whole = arch.load(key)
    kept = arch.Model(key, whole.record, tuple(whole.layers[i] for i in small.layers))
    uncounted = re.compile(r"gate.table$|(_residual|collapse)\.(bias|scale)$")  # choices, and a few numbers a layer
    counted = (w.elements for w in found.graph.weights if not uncounted.search(w.name))
    assert sum(counted) == kept.params.total
    assert found.error is None
    assert found.graph.value(found.graph.outputs[0]).shape == (2, 4, whole.record.vocab)
    assert torch.get_default_dtype() == torch.float32


def test_a_seed_makes_a_model_and_leaves_torch_as_it_was() -> None:
    before = torch.random.get_rng_state()
    one, same, other = (small_model("llama-2-7b", seed=seed) for seed in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), before)
    weights = [torch.cat([p.flatten() for p in each.module.parameters()]) for each in (one, same, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


@pytest.mark.parametrize("clamp", [None, 0.5])
def test_gathered_experts_are_the_same_experts(clamp: float | None) -> None:
    torch.manual_seed(0)
    layer = MoELayer(16, arch.MoE(experts=8, top_k=3, inner=8, shared=1, clamp=clamp)).eval()
    x = torch.randn(50, 16)
    with torch.no_grad():
        wanted = layer(x)
        before = sum(p.numel() for p in layer.parameters())
        gathered = use_experts(layer, "gathered")
        assert isinstance(layer.experts, GatheredExperts)
        assert sum(p.numel() for p in layer.parameters()) == before
        torch.testing.assert_close(gathered(x), wanted, rtol=0, atol=1e-6)


EVERY_OTHER = {"model_type": "llama4_text", "num_hidden_layers": 8, "interleave_moe_layer_step": 2}
KINDS = {
    "every other has experts": EVERY_OTHER,
    "all have experts": {**EVERY_OTHER, "interleave_moe_layer_step": 1},
    "numbers of those without": {"model_type": "qwen3_moe", "num_hidden_layers": 6, "mlp_only_layers": [1, 4]},
    "by a step": {"model_type": "qwen3_moe", "num_hidden_layers": 6, "decoder_sparse_step": 2},
    "the first without": {"model_type": "deepseek_v3", "num_hidden_layers": 5},
    "other words for sizes": {"model_type": "gpt2"},
}


@pytest.mark.parametrize("name", KINDS)
def test_each_kind_of_layer_stays_and_counts_for_its_like(name: str) -> None:
    """Weights of all layers, narrow, beside those of the layers that stay, times what they stand for."""
    cut = cutting.cut_config(KINDS[name], narrow=True)
    whole = {**architectures.completed(KINDS[name]), **{k: v for k, v in cut.config.items() if is_size(v)}}
    whole |= {k: v for k, v in architectures.completed(KINDS[name]).items() if k in OF_LAYERS}
    few, every = weights(cut.config), weights(whole)
    assert len(few) < len(every)
    assert few[-1] == every[-1]
    assert sum(few[i] * n for i, n in enumerate(cut.stands_for)) + few[-1] == sum(every.values())


OF_LAYERS = ("num_hidden_layers", "first_k_dense_replace")


def is_size(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def weights(config: Any) -> Counter[int]:
    with torch.device("meta"):
        module = architectures.build_model(config, "eager", torch.float32)
    found: Counter[int] = Counter()
    for name, weight in module.named_parameters():
        at = cutting.layer_number(name)
        found[-1 if at is None else at] += weight.numel()
    return found


def test_layers_that_cannot_be_left_out_are_refused() -> None:
    odd = {"model_type": "qwen3_moe", "num_hidden_layers": 6, "decoder_sparse_step": 4}
    with pytest.raises(ValueError, match="layers of qwen3_moe cannot be left out"):
        cutting.cut_config(odd, narrow=True)
    with pytest.raises(ValueError, match="layers of bart cannot be left out: its class makes other layers"):
        cutting.cut_config({"model_type": "bart"}, narrow=True)


def test_words_are_taken_in_any_case() -> None:
    small = small_model("Mixtral-8x7B", "CostLab", "Small", "Loop")  # type: ignore[arg-type]
    assert small.reduced["hidden"] == (4096, 64)
    assert not any(parameter.is_meta or isinstance(parameter, FakeTensor) for parameter in small.module.parameters())


class ByValue(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        if x.sum() > 0:
            return x
        return -x


def test_a_step_that_depends_on_data_is_named_with_its_line(capfd: pytest.CaptureFixture[str]) -> None:
    line = ByValue.forward.__code__.co_firstlineno + 1
    with pytest.raises(ValueError, match=rf"test_capture.py:{line} \(if x.sum\(\) > 0:\).*torch.where"):
        capture(ByValue().eval(), (torch.ones(3),))
    assert capfd.readouterr() == ("", "")


def test_experts_that_look_at_their_tokens_are_named_with_the_option_that_helps() -> None:
    small = small_model("mixtral-8x7b", "transformers", experts="loop")
    with pytest.raises(ValueError, match=r"modeling_mixtral.py:\d+ .*experts_implementation=.batched_mm"):
        capture(small.module, small.inputs)


BAD = {
    "training": (lambda: capture(nn.Dropout(), (torch.ones(3),)), "Dropout is in training mode"),
    "no model": (lambda: small_model("nothing-1"), "nothing-1"),
    "no maker": (lambda: small_model("llama-2-7b", "jax"), "jax"),  # type: ignore[arg-type]
    "no size": (lambda: small_model("llama-2-7b", size="tiny"), "tiny"),  # type: ignore[arg-type]
    "no form": (lambda: small_model("llama-2-7b", experts="sorted"), "sorted"),  # type: ignore[arg-type]
    "costlab of a configuration": (lambda: small_model(LLAMA), "'llama' needs of='transformers'"),
    "an architecture that nobody knows": (lambda: small_model({"model_type": "abc"}, "transformers"), "'abc' is none"),
    "no layers": (lambda: small_model({**LLAMA, "num_hidden_layers": 0}, "transformers"), "num_hidden_layers"),
    "no tokens": (lambda: small_model("llama-2-7b", tokens=0), "tokens"),
    "too many tokens": (
        lambda: small_model("llama-2-7b", tokens=10**9),
        "1,000,000,000 tokens are too many to compute",
    ),
    "examples that do not fit": (lambda: capture(nn.Linear(2, 2).eval(), (torch.ones(3),)), "Linear does not run"),
    "no architecture": (lambda: small_model({}, "transformers"), "None is none of the"),
}
SIZES = {
    "num_hidden_layers": [-1, 10**9, "12", 1.5, True],
    "hidden_size": [-1, 0, 10**7, 10**30, "x", [1]],
    "num_attention_heads": [-4, 0, 10**12],
    "num_key_value_heads": [3, -1],
    "vocab_size": [-1, None],
    "hidden_act": ["situ"],
    "model_type": [["llama"], "zzz"],
    "layer_types": [["full_attention"] * 2, 5],
    "rope_scaling": [5],
}


@pytest.mark.parametrize(("name", "value"), some([(k, value) for k, values in SIZES.items() for value in values], 4))
def test_configurations_that_make_no_model_are_refused_at_once(name: str, value: Any) -> None:
    """Before anything takes memory, with a sentence and no traceback of torch's."""
    with pytest.raises(ValueError, match=r"llama|zzz|model_type") as caught:
        cut = cutting.cut_config({**LLAMA, name: value}, narrow=True)
        small_model(cut.config, "transformers")
    assert not str(caught.value).endswith(":")


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_quoted(name: str) -> None:
    call, message = BAD[name]
    with pytest.raises(ValueError, match=message):
        call()
    assert torch.get_default_dtype() == torch.float32


@pytest.mark.parametrize(
    ("text", "message"), [("{", r"config\.json"), ("[]", "model_type"), ('{"a": 1}', "model_type")]
)
def test_a_file_that_is_no_configuration_is_refused(tmp_path: Any, text: str, message: str) -> None:
    file = tmp_path / "config.json"
    with pytest.raises(ValueError, match=r"config\.json"):
        architectures.read_config(file)
    file.write_text(text)
    with pytest.raises(ValueError, match=message):
        architectures.read_config(file)
    file.write_bytes(b"\xff\xfe{")
    with pytest.raises(ValueError, match=r"config\.json"):
        architectures.read_config(file)
    file.write_text('{"model_type": "vision", "text_config": {"model_type": "llama"}}')
    assert architectures.read_config(file) == {"model_type": "llama"}
