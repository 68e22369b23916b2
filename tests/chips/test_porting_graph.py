"""Captured graphs as records: what is refused, and that JSON holds all of one."""

import math

import pytest
import torch
from chips.graphs import graphs, node, spec
from effort import examples
from hypothesis import given, settings

from costlab.chips.porting import ELEMENT_BYTES, Graph, GraphNode, TensorSpec

X = spec("x", 2, 8)


@settings(max_examples=examples(50), deadline=None)
@given(graphs())
def test_json_holds_all_of_a_graph(graph):
    assert Graph.from_json(graph.to_json()) == graph


def test_json_keeps_arguments_modules_and_lines():
    made = GraphNode(
        "c", "aten.cat.default", {"tensors[0]": "x", "tensors[1]": "x"}, (spec("c", 2, 16),),
        literals={"dim": -1, "low": -math.inf, "sizes": [1, None, True, "mean"]}, module="layers.0", line="a.py:3",
    )  # fmt: skip
    graph = Graph("toy", (made,), (X,), (), ("c",))
    assert Graph.from_json(graph.to_json()) == graph


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"name": "x", "nodes": [3]}', '"graph"'])
def test_what_is_no_graph_is_refused(text):
    with pytest.raises(ValueError, match="no graph as"):
        Graph.from_json(text)


def test_sizes_of_elements_are_torchs():
    assert {name: getattr(torch, name).itemsize for name in ELEMENT_BYTES} == ELEMENT_BYTES


def test_bytes_and_readable_form():
    assert spec("s", dtype="int64").bytes == 8
    assert spec("e", 3, 0).bytes == 0
    assert str(spec("x", 2, 8, dtype="bfloat16")) == "bfloat16[2, 8]"


def test_owners_makers_and_readers():
    view, changed = spec("v", 16, of="x"), spec("u", 16, of="v")
    graph = Graph(
        "toy",
        (
            node("1", "aten.view.default", ["x"], view),
            node("2", "aten.add_.Tensor", ["v", "v"], changed, writes=("v",)),
        ),
        (X,),
        (),
        ("u",),
    )
    assert graph.owner("u") == "x"
    assert graph.makers["u"].name == "2"
    assert [each.name for each in graph.readers["v"]] == ["2"]
    assert [each.is_view for each in graph.nodes] == [True, False]
    with pytest.raises(ValueError, match="no value 'z'"):
        graph.value("z")


@pytest.mark.parametrize(
    ("nodes", "outputs", "message"),
    [
        ((node("1", "a", ["y"], spec("z", 1)),), (), "node '1' reads 'y', which nothing before it makes"),
        ((node("1", "a", [], writes=("y",)),), (), "reads 'y'"),
        ((node("1", "a", ["x"], spec("x", 1)),), (), "makes 'x', which the graph makes already"),
        ((node("1", "a", ["x"], spec("z", 1, of="q")),), (), "shares the memory of 'q'"),
        ((node("1", "a", ["x"]), node("1", "a", ["x"])), (), "names that differ"),
        ((), ("q",), r"outputs \['q'\] of graph 'toy'"),
    ],
)
def test_graphs_that_do_not_hold_together_are_refused(nodes, outputs, message):
    with pytest.raises(ValueError, match=message):
        Graph("toy", nodes, (X,), (), outputs)


def test_tensors_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match="dtype of 'x' 'float23'; did you mean 'float32'"):
        TensorSpec("x", (1,), "float23")
    with pytest.raises(ValueError, match="extents of at least 0"):
        TensorSpec("x", (2, -1), "int8")
