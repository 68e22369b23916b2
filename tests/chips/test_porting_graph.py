"""Captured graphs as records: what is refused, and that JSON holds all of one."""

import json
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


BENT = {
    "argument that is no text": ("nodes", 0, "inputs", {"self": 5}),
    "arguments in a list": ("nodes", 0, "inputs", ["x"]),
    "operator that is no text": ("nodes", 0, "op", None),
    "module that is no text": ("nodes", 0, "module", ["a"]),
    "literals in a list": ("nodes", 0, "literals", [1]),
    "shape that is no list": ("nodes", 0, "outputs", 0, "shape", "2"),
    "extent that is no number": ("nodes", 0, "outputs", 0, "shape", [None]),
    "owner that is no text": ("nodes", 0, "outputs", 0, "of", 7),
    "outputs that are one text": ("outputs", "y"),
    "name that is no text": ("name", 3),
    "unknown word": ("inputs", 0, "colour", "red"),
}


@pytest.mark.parametrize("name", BENT)
def test_json_that_is_bent_is_refused(name):
    *path, last, value = BENT[name]
    found = json.loads(Graph("toy", (node("n", "a", ["x"], spec("y", 1)),), (X,), (), ("y",)).to_json())
    part = found
    for step in path:
        part = part[step]
    part[last] = value
    with pytest.raises(ValueError, match=r"no graph as|whole number"):
        Graph.from_json(json.dumps(found))
    with pytest.raises(ValueError, match="no graph as"):
        Graph.from_json("[" * 100_000)


def test_a_view_of_many_views_has_its_first_owner():
    views = [node(str(i), "aten.view.default", [f"v{i}"], spec(f"v{i + 1}", 2, of=f"v{i}")) for i in range(3000)]
    assert Graph("deep", tuple(views), (spec("v0", 2),), (), ()).owner("v3000") == "v0"


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
