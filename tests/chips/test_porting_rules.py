"""Rules of fused operators with the call that breaks one, opsets of ONNX files, and what else goes wrong."""

import pytest
import torch
from chips.catalogue import DAY, SMALL
from chips.graphs import node, spec

from costlab import catalog
from costlab.catalog import ShapeRule
from costlab.chips.porting import (
    FAST_PATHS,
    Graph,
    GraphNode,
    broken,
    call_sizes,
    cautions_of,
    check_call,
    check_opset,
    fast_paths,
    graph_rules,
    last_opset,
    names_at,
    onnx_coverage,
    route_report,
    router_cautions,
    rule_sentences,
)


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(catalog, "operators", lambda: SMALL)


def attention(width=64, heads=32, mask=None, kv_heads=None, value_width=None, dtype="bfloat16"):
    given = [
        spec("q", 1, heads, 5, width, dtype=dtype),
        spec("k", 1, kv_heads or heads, 5, width, dtype=dtype),
        spec("v", 1, kv_heads or heads, 5, value_width or width, dtype=dtype),
    ]
    inputs = {"query": "q", "key": "k", "value": "v"}
    if mask:
        given.append(spec("m", 5, 5, dtype=mask))
        inputs["attn_mask"] = "m"
    made = spec("y", 1, heads, 5, value_width or width, dtype=dtype)
    call = GraphNode("sdpa", "aten.scaled_dot_product_attention.default", inputs, (made,), module="layers.3.attention")
    return Graph("attention", (call,), tuple(given), (), ("y",))


# --- rules -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("form", "kept", "not_kept"),
    [
        ({"one_of": (64, 128)}, [64, 128], [0, 63, 256]),
        ({"one_of": ("none", "bool")}, ["none", "bool"], ["float32"]),
        ({"most": 512}, [1, 512], [513]),
        ({"multiple_of": 16}, [16, 192], [200, 8]),
        ({"power_of_two": True}, [1, 2, 64], [0, 20, 65]),
        ({"multiple_of": 16, "most": 64}, [64], [80, 60]),
    ],
)
def test_forms_of_rules(form, kept, not_kept):
    rule = ShapeRule("head_width", "so", "s", DAY, **form)
    assert not any(broken((rule,), {"head_width": value}, "npu_x", "here") for value in kept)
    assert all(broken((rule,), {"head_width": value}, "npu_x", "here") for value in not_kept)
    assert broken((rule,), {"rank": 3}, "npu_x", "here") == ()


def test_sizes_of_a_call():
    graph = attention(192, 64, "float32", 4, 128)
    assert call_sizes(graph.nodes[0], graph) == {
        "rank": 4, "dtype": "bfloat16", "head_width": 192, "value_width": 128, "query_heads": 64, "kv_heads": 4,
        "mask_dtype": "float32",
    }  # fmt: skip
    norm = node("n", "aten.rms_norm.default", ["x"], spec("y", 2, 8))
    plain = Graph("n", (norm,), (spec("x", 2, 8),), (), ("y",))
    assert call_sizes(norm, plain)["weight"] == "none"
    assert call_sizes(node("f", "aten.full.default", []), plain) == {}


@pytest.mark.usefixtures("small")
def test_the_counter_example_is_named():
    (found,) = graph_rules(attention(mask="float32"))
    assert str(found) == (
        "npu_fusion_attention at sdpa in layers.3.attention: mask_dtype float32, but no mask, or a boolean one"
    )
    assert (found.fused, found.found, found.rule.size) == ("npu_fusion_attention", "float32", "mask_dtype")
    assert graph_rules(attention()) == graph_rules(attention(mask="bool")) == ()
    assert [each.found for each in graph_rules(attention(512, 20))] == [512, 20]
    assert str(found) in route_report(attention(mask="float32"), "2.13").sentences()


@pytest.mark.usefixtures("small")
def test_a_norm_without_weight_and_a_fused_call_are_looked_at():
    without = Graph("n", (node("n", "aten.rms_norm.default", ["x"], spec("y", 8)),), (spec("x", 8),), (), ("y",))
    assert [each.rule.size for each in graph_rules(without)] == ["weight"]
    call = attention(512).nodes[0]
    fused = GraphNode("f", "npu.npu_fusion_attention.default", call.inputs, call.outputs)
    assert [each.found for each in graph_rules(Graph("f", (fused,), attention(512).inputs, (), ()))] == [512]


def test_rules_that_many_calls_break_are_said_once():
    rule = ShapeRule("weight", "a weight", "s", DAY, one_of=("given",))
    found = [*broken((rule,), {"weight": "none"}, "npu_x", "n1"), *broken((rule,), {"weight": "none"}, "npu_x", "n2")]
    assert rule_sentences(found) == ("npu_x at n1: weight none, but a weight (and 1 more call)",)
    assert rule_sentences(found[:1]) == ("npu_x at n1: weight none, but a weight",)


def test_unknown_fused_operators_are_refused():
    with pytest.raises(ValueError, match="fused operator 'npu_rms_nrom'; did you mean 'npu_rms_norm'"):
        check_call("npu_rms_nrom", {})


# --- the catalog's rules, by reports from people who ported -----------------------------------------------------


def test_widths_of_heads():
    """MiMo's 192 with values of 128 is taken, V4's 512 is not (vllm-ascend#9632); 200 is no multiple of 16."""
    name = "npu_fused_infer_attention_score"
    assert check_call(name, {"head_width": 192, "value_width": 128}) == ()
    assert [each.found for each in check_call(name, {"head_width": 512})] == [512]
    assert check_call(name, {"head_width": 200})


def test_masks_weights_and_heads():
    """A float mask takes the slow path; npu_rms_norm needs a weight; twenty heads are no power of two."""
    assert any(each.rule.size == "mask_dtype" for each in graph_rules(attention(mask="bfloat16")))
    assert not any(each.rule.size == "mask_dtype" for each in graph_rules(attention(mask="bool")))
    assert [each.found for each in check_call("npu_rms_norm", {"weight": "none"})] == ["none"]
    heads = check_call("npu_fused_infer_attention_score", {"query_heads": 20})
    assert [each.found for each in heads] == [20]


# --- opsets ----------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("small")
def test_opsets_by_hand():
    assert last_opset() == 18
    assert names_at(18) == {"MatMul", "Softmax", "LayerNormalization", "AscendQuant"}
    assert names_at(20) == {"AscendQuant"}
    assert check_opset(18) == 18
    nodes = {"MatMul": 3, "Softmax": 2, "LayerNormalization": 1, "Constant": 9, "Einsum": 1}
    with pytest.raises(ValueError, match=r"opset 20 is above 18.* 0 of the file's 7 nodes and 1 of its 5 names"):
        check_opset(20, nodes)
    at_18, at_20 = onnx_coverage(nodes, 18), onnx_coverage(nodes, 20)
    assert [each.taken for each in at_18.lists] == [6, 5, 3]
    assert [each.taken for each in at_20.lists] == [0, 5, 3]
    assert [dict(each.missing) for each in at_18.lists] == [
        {"Einsum": 1}, {"LayerNormalization": 1, "Einsum": 1}, {"Softmax": 2, "LayerNormalization": 1, "Einsum": 1},
    ]  # fmt: skip
    assert "Nodes that each list takes at opset 18" in repr(at_18)


@pytest.mark.parametrize("opset", [0, -1, 17.5, "18"])
def test_opsets_that_are_none_are_refused(opset):
    with pytest.raises(ValueError, match="opset should be a whole number"):
        check_opset(opset)


def test_the_parsers_names_by_opset():
    """Counted in CANN's sources: of 260 names 214 end at opset 18; six, of quantisation, go on."""
    known = {name: each for name, each in catalog.operators().onnx.items() if each.last_opset}
    assert len(known) == 260
    assert sum(each.last_opset == 18 for each in known.values()) == 214
    assert len(names_at(20)) == 6
    since = min(each.first_opset for each in known.values())
    assert names_at(since - 1) == frozenset()
    assert len(names_at(since)) < len(names_at(18))
    assert not names_at(20) & {"MatMul", "Add", "Softmax", "Gather"}
    with pytest.raises(ValueError, match=r"6 of its 260 names, of which 214 end at 18; export with opset 18"):
        check_opset(20)


# --- cautions --------------------------------------------------------------------------------------------------


def router(dtype, module="layers.1.gate", choice="aten.topk.default"):
    nodes = (
        node("logits", "aten.mm.default", ["x", "w"], spec("l", 5, 8, dtype=dtype), module=module),
        node("up", "aten._to_copy.default", ["l"], spec("u", 5, 8), module=module),
        node("p", "aten._softmax.default", ["u"], spec("p", 5, 8), module=module),
        node("top", choice, ["p"], spec("t", 5, 2), spec("i", 5, 2, dtype="int64"), module=module),
    )
    return Graph("router", nodes, (spec("x", 5, 16, dtype=dtype),), (spec("w", 16, 8, dtype=dtype),), ("i",))


def test_router_logits_should_be_float32():
    assert router_cautions(router("float32")) == ()
    assert router_cautions(router("bfloat16")) == (
        "router logits are not float32: logits in layers.1.gate makes bfloat16; rounding flips choices of experts",
    )
    assert len(router_cautions(router("float16", "model.layers.3.mlp.gate", "aten.sort.stable"))) == 1
    assert router_cautions(router("bfloat16", "layers.1.attention.indexer")) == ()


def test_fast_paths_of_pytorch_are_found():
    op = "aten._transformer_encoder_layer_fwd.default"
    graph = Graph("fast", (node("f", op, ["x"], spec("y", 4)),), (spec("x", 4),), (), ("y",))
    (found,) = fast_paths(graph)
    assert "f in the model itself is a fast path" in found
    assert cautions_of(graph) == (found,)
    assert "_transformer_encoder_layer_fwd" in FAST_PATHS


def test_names_of_fast_paths_are_torchs():
    assert all(hasattr(torch.ops.aten, name) for name in FAST_PATHS)
