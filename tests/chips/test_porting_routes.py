"""Routes, launches and bytes of small graphs, reckoned by hand; and what the catalog says of real operators."""

import pytest
import torch
from chips.catalogue import SMALL
from chips.composed import composed_calls
from chips.graphs import graphs, node, spec
from effort import examples
from hypothesis import given, settings

from costlab import catalog
from costlab.chips.porting import (
    Graph,
    GraphNode,
    LaunchCosts,
    fallback_bytes,
    launch_costs,
    launch_time,
    nearest_fused,
    operator_routes,
    route_changes,
    route_report,
    written_bytes,
)

#: x [4, 8] and w [8, 8] in float32; 128 and 256 bytes.
NODES = (
    node("mm", "aten.mm.default", ["x", "w"], spec("m", 4, 8), module="layers.0", line="a.py:1"),
    node("view", "aten.view.default", ["m"], spec("v", 32, of="m"), module="layers.0"),
    node("hist", "aten.histc.default", ["v"], spec("h", 10), module="layers.0.gate", line="a.py:2"),
    node("check", "aten._assert_tensor_metadata.default", ["m"]),
    node("isin", "aten.isin.Tensor_Tensor", ["v", "h"], spec("i", 32, dtype="bool")),
    node("fill", "aten.masked_fill.Scalar", ["v", "i"], spec("f", 32)),
    node("room", "aten.empty.memory_format", [], spec("e", 100)),
    node("put", "aten.relu_.default", ["f"], spec("r", 32, of="f"), writes=("f",)),
    node("mm_1", "aten.mm.default", ["r", "w"], spec("out", 4, 8), module="layers.1", line="a.py:1"),
)
TOY = Graph("toy", NODES, (spec("x", 4, 8),), (spec("w", 8, 8),), ("out",))


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(catalog, "operators", lambda: SMALL)


@pytest.mark.usefixtures("small")
def test_a_report_by_hand():
    report = route_report(TOY, "2.13.0+cpu")
    rows = {row.op.split(".")[1]: row for row in report.rows}
    assert (report.torch_version, report.nodes) == ("2.13", 9)
    assert {name: (row.count, row.eager, row.graph, row.launches) for name, row in rows.items()} == {
        "mm": (2, "aclnn", "converted", 2),
        "view": (1, "native", "converted", 0),
        "histc": (1, "cpu", "missing", 2),  # one copy down, one up
        "_assert_tensor_metadata": (1, "erased", "erased", 0),
        "isin": (1, "aclnn", "missing", 4),
        "masked_fill": (1, "decomposed", "converted", 2),
        "empty": (1, "unknown", "unknown", 0),
        "relu_": (1, "unknown", "unknown", 1),
    }
    assert report.launches == 11
    assert report.copied_bytes == 128 + 40
    # m, h, i, f, and f once more in place; neither v, which is a view, nor e, which is room, nor out, the caller's
    assert report.written_bytes == 128 + 40 + 32 + 128 + 128
    assert rows["mm"].inputs == ("float32[4, 8], float32[8, 8]", "float32[32], float32[8, 8]")
    assert rows["mm"].outputs == ("float32[4, 8]",)
    assert (rows["mm"].modules, rows["mm"].lines) == (("layers.0", "layers.1"), ("a.py:1",))
    assert [row.op for row in report.unsupported("eager")] == [
        "aten.histc.default", "aten.empty.memory_format", "aten.relu_.default",
    ]  # fmt: skip
    assert "aten._assert_tensor_metadata.default" not in [row.op for row in report.unsupported("graph")]
    assert report.counts("eager") == {"aclnn": 3, "unknown": 2, "native": 1, "cpu": 1, "erased": 1, "decomposed": 1}


@pytest.mark.usefixtures("small")
def test_versions_of_torch_differ():
    """isin had no kernel at first: its operands went to the host (Ascend/pytorch#40)."""
    old, new = route_report(TOY, "2.1"), route_report(TOY, "2.13")
    assert list(route_changes(old, new)) == ["aten.isin.Tensor_Tensor"]
    before, after = route_changes(old, new)["aten.isin.Tensor_Tensor"]
    assert (before.eager, before.copied_bytes, before.launches) == ("cpu", 128 + 40 + 32, 3)
    assert (after.eager, after.copied_bytes, after.launches) == ("aclnn", 0, 4)
    assert old.copied_bytes - new.copied_bytes == 200


@pytest.mark.usefixtures("small")
def test_the_text_says_all_of_it():
    text = repr(route_report(TOY, "2.1"))
    assert "Operators of toy with torch 2.1 and its first plug-in" in text
    assert "9 calls of 8 operators start 10 kernels" in text
    assert "eager has aten.histc.default cpu: 1 call in layers.0.gate" in text
    assert "graph has aten.isin.Tensor_Tensor missing" in text
    assert text.index("aten.histc") < text.index("aten.mm.default")
    with pytest.raises(ValueError, match="unknown route 'both'"):
        route_report(TOY, "2.1").unsupported("both")


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("version", ["2.2", "2", "newest", "", "2.130", "12.1", "2.1x"])
def test_versions_without_a_plug_in_are_refused(version):
    with pytest.raises(ValueError, match=r"should be one that a plug-in is built for: 2\.1, 2\.13"):
        route_report(TOY, version)


@pytest.mark.usefixtures("small")
def test_an_empty_graph_has_an_empty_report():
    report = route_report(Graph("none", (), (), (), ()), "2.13")
    assert (report.nodes, report.launches, report.written_bytes, report.unsupported("graph")) == (0, 0, 0, ())
    assert "0 calls" in repr(report)


@pytest.mark.usefixtures("small")
def test_fused_operators_and_the_nearest_one():
    assert operator_routes("npu.npu_rms_norm.default", "2.1") == ("fused", "fused", ("aclnnRmsNorm",))
    assert operator_routes("npu.npu_grouped_matmul.default", "2.1")[0] == "missing"
    assert operator_routes("mylib.thing.default", "2.13")[0] == "unknown"
    assert nearest_fused("aten._grouped_mm.default") == "npu_grouped_matmul"
    assert nearest_fused("aten.rms_norm.default") == "npu_rms_norm"
    assert nearest_fused("aten.histc.default") is None


@pytest.mark.usefixtures("small")
def test_a_composed_product_of_groups_is_one_for_each():
    made = node("g", "aten._grouped_mm.default", ["x", "w", "o"], spec("y", 9, 4))
    given = (spec("x", 9, 8), spec("w", 6, 8, 4), spec("o", 6, dtype="int32"))
    assert route_report(Graph("g", (made,), given, (), ("y",)), "2.13").launches == 6


@settings(max_examples=examples(100), deadline=None)
@given(graphs())
def test_bytes_of_random_graphs(graph):
    """What is written inside is at most all that is written; a call copies at least what it makes."""
    every = sum(spec.bytes for each in graph.nodes for spec in each.outputs if spec.of is None)
    changed = sum(graph.value(name).bytes for each in graph.nodes for name in each.writes)
    assert 0 <= written_bytes(graph) <= every + changed
    closed = Graph(graph.name, graph.nodes, graph.inputs, graph.weights, ())
    assert written_bytes(closed) >= written_bytes(graph)
    for each in graph.nodes:
        made = sum(spec.bytes for spec in each.outputs if spec.of is None)
        assert fallback_bytes(each, graph) >= made + sum(graph.value(name).bytes for name in {*each.inputs.values()})


# --- launches --------------------------------------------------------------------------------------------------

COSTS = LaunchCosts(5e-6, 2e-6, 10e-6)


@pytest.mark.usefixtures("small")
def test_launch_time_by_hand():
    found = launch_time(TOY, COSTS)
    assert found.launches == {"matrix": 2, "vector": 8, "collective": 0}
    assert found.seconds == pytest.approx(2 * 5e-6 + 8 * 2e-6)
    assert found.share(26e-6) == pytest.approx(0.5)
    assert repr(found) == "toy: 10 launches (2 matrix, 8 vector, 0 collective) take 0.026 ms"
    with pytest.raises(ValueError, match="step_s = 0 should be above 0"):
        found.share(0)
    with pytest.raises(ValueError, match="vector_s = -1 should be seconds"):
        LaunchCosts(0, -1, 0)


@pytest.mark.parametrize(
    ("op", "kind"),
    [
        ("aten.addmm.default", "matrix"), ("aten.linear.default", "matrix"), ("aten.comm.default", "vector"),
        ("aten.scaled_dot_product_attention.default", "matrix"), ("npu.npu_grouped_matmul.default", "matrix"),
        ("_c10d_functional.all_reduce.default", "collective"), ("npu.npu_moe_distribute_combine.default", "collective"),
        ("npu.npu_mm_all_reduce_base.default", "collective"), ("aten.mul.Tensor", "vector"),
        ("aten._softmax.default", "vector"), ("aten.removed.default", "vector"), ("aten._grouped_mm.default", "matrix"),
    ],
)  # fmt: skip
def test_kinds_of_operators(op, kind):
    made = Graph("one", (node("n", op, ["x"], spec("y", 1)),), (spec("x", 1),), (), ("y",))
    assert launch_time(made, COSTS).launches[kind] == 1


@pytest.mark.usefixtures("small")
def test_one_layer_counts_for_many():
    def times(each):
        return 61 if each.module.startswith("layers.0") else 1

    report, one = route_report(TOY, "2.13", times), route_report(TOY, "2.13")
    assert report.nodes == one.nodes + 60 * 3  # mm, view and histc
    assert launch_time(TOY, COSTS, times).launches == {"matrix": 62, "vector": 8 + 60, "collective": 0}
    assert report.launches == one.launches + 60 * (1 + 2)
    assert report.copied_bytes == 61 * one.copied_bytes
    assert report.written_bytes == one.written_bytes + 60 * (128 + 40)


# --- what the catalog says -------------------------------------------------------------------------------------


def test_costs_of_a_launch_are_there():
    found = launch_costs()
    assert 0 < found.vector_s < found.matrix_s < found.collective_s < 1e-4


X, WHERE, AT = torch.randn(4, 4), torch.ones(4, 4, dtype=torch.bool), torch.zeros(4, 4, dtype=torch.int64)
ATEN = torch.ops.aten
CALLS = {
    "masked_fill.Scalar": lambda: ATEN.masked_fill.Scalar(X, WHERE, 0.0),
    "masked_scatter.default": lambda: ATEN.masked_scatter(X, WHERE, X),
    "scatter.value": lambda: ATEN.scatter.value(X, 1, AT, 1.0),
    "scatter.src": lambda: ATEN.scatter.src(X, 1, AT, X),
    "isinf.default": lambda: ATEN.isinf(X),
    "gelu.default": lambda: ATEN.gelu(X),
    "argmax.default": lambda: ATEN.argmax(X, 1),
    "slice_scatter.default": lambda: ATEN.slice_scatter(X, X, 0),
    "select_scatter.default": lambda: ATEN.select_scatter(X, X[0], 0, 0),
    "copy.default": lambda: ATEN.copy(X, X),
    "rms_norm.default": lambda: ATEN.rms_norm(X, [4], X[0], 1e-6),
    "where.ScalarOther": lambda: ATEN.where.ScalarOther(WHERE, X, 0.0),
    "linear.default": lambda: ATEN.linear(X[None], X),
    "full_like.default": lambda: ATEN.full_like(X, 1.0),
    "zeros_like.default": lambda: ATEN.zeros_like(X),
    "new_ones.default": lambda: ATEN.new_ones(X, [2]),
    "any.dims": lambda: ATEN.any.dims(WHERE, [0, 1]),
    "layer_norm.default": lambda: ATEN.layer_norm(X, [4]),
    "to.dtype": lambda: ATEN.to.dtype(X, torch.bfloat16),
    "einsum.default": lambda: ATEN.einsum("bij,bjk->bik", [X[None], X[None]]),
    "square.default": lambda: ATEN.square(X),
    "var.dim": lambda: ATEN.var.dim(X, [1]),
    "diff.default": lambda: ATEN.diff(X),
    "__and__.Tensor": lambda: ATEN.__and__.Tensor(WHERE, WHERE),
}


@pytest.mark.parametrize("op", CALLS)
def test_composed_operators_start_what_torchs_compositions_call(op):
    known = catalog.operators().aten
    composed = {name for name, each in known.items() if each.eager == "decomposed"}
    assert op in composed
    assert known[op].launches == len(composed_calls(CALLS[op], composed))


def test_real_operators_by_version():
    assert operator_routes("aten.mm.default", "2.13")[:2] == ("aclnn", "converted")
    assert operator_routes("aten.sort.stable", "2.13")[:2] == ("aclnn", "refused")
    assert operator_routes("aten._grouped_mm.default", "2.13")[:2] == ("decomposed", "missing")
    assert nearest_fused("aten._grouped_mm.default") == "npu_grouped_matmul"
    assert nearest_fused("aten.relu_.default") is None


def test_isin_by_version():
    """Reported to go to the host with torch 2.1 (Ascend/pytorch#40); a composed kernel came in August 2024."""
    assert operator_routes("aten.isin.Tensor_Tensor", "2.1")[0] == "cpu"
    assert operator_routes("aten.isin.Tensor_Tensor", "2.13")[0] == "aclnn"
    call = node("i", "aten.isin.Tensor_Tensor", ["a", "b"], spec("y", 4096, dtype="bool"))
    graph = Graph("i", (call,), (spec("a", 4096, dtype="int64"), spec("b", 3, dtype="int64")), (), ("y",))
    old, new = route_report(graph, "2.1"), route_report(graph, "2.13")
    assert (old.copied_bytes, old.launches) == (8 * 4096 + 8 * 3 + 4096, 3)
    assert (new.copied_bytes, new.launches) == (0, 4)


def test_what_the_caller_gets_by_a_view_is_not_written_for_another_operator():
    made = node("f", "aten.exp.default", ["x"], spec("y", 4))
    view = node("v", "aten.view.default", ["y"], spec("v", 2, 2, of="y"))
    graph = Graph("v", (made, view), (spec("x", 4),), (), ("v",))
    assert written_bytes(graph) == 0
    assert written_bytes(Graph("v", (made, view), (spec("x", 4),), (), ())) == 16


def test_a_value_read_twice_is_copied_once():
    twice = node("i", "aten.isin.Tensor_Tensor", ["x", "x"], spec("y", 4, dtype="bool"))
    assert fallback_bytes(twice, Graph("i", (twice,), (spec("x", 4),), (), ("y",))) == 16 + 4


def test_literals_are_no_inputs():
    made = GraphNode("f", "aten.full.default", {}, (spec("y", 4),), {"size": [4], "fill_value": 0.0})
    assert written_bytes(Graph("f", (made,), (), (), ())) == 16
