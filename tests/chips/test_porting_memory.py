"""Memory planned by liveness: beside torch's tracker, networkx's heaviest clique, and all plans of small graphs."""

import itertools

import networkx
import pytest
import torch
from chips.graphs import graphs, node, spec
from effort import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import fx
from torch.distributed._tools.mem_tracker import MemTracker

from costlab.chips.porting import Buffer, Graph, assign_offsets, lifetimes, plan_memory
from costlab.nn.chips.capture import capture
from costlab.nn.chips.small import small_model

BUFFERS = st.lists(
    st.tuples(st.integers(0, 9), st.integers(0, 4), st.integers(0, 6)).map(lambda t: (t[0], t[1], t[1] + t[2])),
    max_size=14,
).map(lambda found: [Buffer(str(i), *each) for i, each in enumerate(found)])


def apart(buffers):
    """Whether no two buffers that are alive together share a byte."""
    pairs = itertools.combinations(buffers, 2)
    return all(a.end <= b.offset or b.end <= a.offset for a, b in pairs if a.meets(b) and a.bytes and b.bytes)


@settings(max_examples=examples(200), deadline=None)
@given(graphs(), st.sampled_from([1, 64]))
def test_plans_hold_what_they_must(graph, align):
    plan = plan_memory(graph, align)
    assert apart(plan.buffers)
    assert plan.least_bytes <= plan.peak_bytes <= plan.unshared_bytes
    assert all(buffer.bytes % align == 0 and buffer.offset % align == 0 for buffer in plan.buffers)
    spans = {buffer.name: buffer for buffer in plan.buffers}
    for at, each in enumerate(graph.nodes):
        for name in (*each.inputs.values(), *each.writes, *(made.name for made in each.outputs)):
            owner = graph.owner(name)
            if owner in graph.makers:
                assert spans[owner].first <= at <= spans[owner].last, "freed before its last use"
    for name in map(graph.owner, graph.outputs):
        if name in graph.makers:
            assert spans[name].last == len(graph.nodes) - 1


@settings(max_examples=examples(100), deadline=None)
@given(graphs(), st.integers(0, 3))
def test_the_lower_bound_is_the_heaviest_clique(graph, extra):
    """Buffers alive together pairwise form a clique of their graph of overlaps; networkx finds the heaviest."""
    buffers = lifetimes(graph)
    overlaps = networkx.Graph()
    overlaps.add_nodes_from((buffer.name, {"weight": buffer.bytes}) for buffer in buffers)
    overlaps.add_edges_from((a.name, b.name) for a, b in itertools.combinations(buffers, 2) if a.meets(b))
    _, weight = networkx.max_weight_clique(overlaps)
    assert plan_memory(graph).least_bytes == weight


def run(graph):
    """Run a graph on real tensors, dropping each value after its last use; return torch's count of the peak."""
    given = {"x": torch.ones(16), "w": torch.ones(64)}
    made = dict(given)
    last = {value: at for at, each in enumerate(graph.nodes) for value in each.inputs.values()}
    tracker = MemTracker()
    tracker.track_external(*given.values())
    with torch.no_grad(), tracker:
        for at, each in enumerate(graph.nodes):
            for out in each.outputs:
                if out.of is None:
                    made[out.name] = torch.empty(out.shape)
                else:
                    made[out.name] = (made[out.of].add_(1.0) if each.writes else made[out.of]).view(-1)
            for name in [name for name in made if last.get(name, -1) <= at and name not in (*graph.outputs, *given)]:
                del made[name]
        peak = max(snapshot["Total"] for snapshot in tracker.get_tracker_snapshot("peak").values())
    return peak - sum(tensor.nbytes for tensor in given.values())


@settings(max_examples=examples(40), deadline=None)
@given(graphs())
def test_torchs_tracker_counts_the_same_peak(graph):
    """The most bytes alive are those that MemTracker sees when the graph runs on tensors that are dropped in time."""
    assert run(graph) == plan_memory(graph).least_bytes


def every_plan(buffers):
    """The least arena over all orders in which buffers can be put, each as low as it goes: one of them is optimal."""
    best = sum(buffer.bytes for buffer in buffers)
    for order in itertools.permutations(buffers):
        ends: list = []
        for each in order:
            taken = sorted((start, end) for start, end, other in ends if other.meets(each))
            offset = 0
            for start, end in taken:
                if start - offset >= each.bytes:
                    break
                offset = max(offset, end)
            ends.append((offset, offset + each.bytes, each))
        best = min(best, max((end for _, end, _ in ends), default=0))
    return best


@settings(max_examples=examples(60), deadline=None)
@given(BUFFERS.map(lambda found: found[:6]))
def test_small_graphs_beside_every_plan(buffers):
    best = every_plan(buffers)
    placed = assign_offsets(buffers)
    assert apart(placed)
    assert best <= max((buffer.end for buffer in placed), default=0)


def chain(count, size=8):
    nodes = [node(str(i), "aten.exp.default", [f"v{i}"], spec(f"v{i + 1}", size)) for i in range(count)]
    return Graph("chain", tuple(nodes), (spec("v0", size),), (), (f"v{count}",))


def test_a_chain_needs_two_buffers_whatever_its_length():
    plan = plan_memory(chain(9))
    assert (plan.peak_bytes, plan.least_bytes, plan.unshared_bytes) == (64, 64, 9 * 32)
    assert repr(plan) == "chain: 64 B hold 9 tensors of 288 B; 64 B are alive at once, at 1"


def test_a_graph_of_views_takes_nothing():
    plan = plan_memory(
        Graph("v", (node("1", "aten.view.default", ["x"], spec("y", 2, of="x")),), (spec("x", 2),), (), ("y",))
    )
    assert (plan.peak_bytes, plan.least_bytes, plan.unshared_bytes, plan.buffers) == (0, 0, 0, ())
    assert plan_memory(Graph("none", (), (), (), ())).busiest == ""


def test_a_view_keeps_what_it_looks_at():
    nodes = (
        node("1", "exp", ["x"], spec("a", 8)),
        node("2", "view", ["a"], spec("v", 2, 4, of="a")),
        node("3", "exp", ["x"], spec("b", 8)),
        node("4", "add", ["v"], spec("c", 8)),
    )
    (a, b, c) = plan_memory(Graph("view", nodes, (spec("x", 8),), (), ("c",))).buffers
    assert (a.first, a.last) == (0, 3)
    assert (b.first, b.last) == (2, 2)
    assert c.offset not in (a.offset,)


def test_an_alignment_below_one_is_refused():
    with pytest.raises(ValueError, match="align should be a whole number"):
        plan_memory(chain(1), 0)


def test_torchs_tracker_counts_the_same_peak_of_a_model():
    """A small MiMo-V2-Flash in core ATen, run by torch.fx, which drops each value after its last use: to the byte."""
    small = small_model("mimo-v2-flash")
    found = capture(small.module, small.inputs, small.name).decomposed()
    module = found.exported.module(check_guards=False)
    given = [*found.inputs, *found.exported.state_dict.values(), *found.exported.constants.values()]
    tracker = MemTracker()
    tracker.track_external(*given)
    with torch.no_grad(), tracker:
        fx.Interpreter(module).run(*found.inputs)
        peak = max(snapshot["Total"] for snapshot in tracker.get_tracker_snapshot("peak").values())
    storages = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in given}
    plan = plan_memory(found.graph)
    assert peak - sum(storages.values()) == plan.least_bytes == plan.peak_bytes
    assert plan.peak_bytes < plan.unshared_bytes / 2
