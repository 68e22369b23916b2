"""What the tests of porting share: small graphs, random ones with views and changes in place."""

from hypothesis import strategies as st

from costlab.chips.porting import Graph, GraphNode, TensorSpec

SIZES = (1, 4, 7, 16, 64)


def spec(name, *shape, dtype="float32", of=None):
    return TensorSpec(name, shape, dtype, of)


def node(name, op, inputs, *outputs, **other):
    return GraphNode(name, op, {f"a{i}": value for i, value in enumerate(inputs)}, outputs, **other)


@st.composite
def graphs(draw, most=12):
    """Random graphs of float32 vectors: sums of some values, halves of two, views, and changes in place."""
    values = [spec("x", 16), spec("w", 64)]
    nodes = []
    for at in range(draw(st.integers(1, most))):
        name, kind = f"n{at}", draw(st.sampled_from(["make", "make", "make", "two", "view", "write"]))
        read = draw(st.lists(st.sampled_from(values), min_size=1, max_size=3, unique_by=lambda v: v.name))
        if kind == "make":
            made = (spec(name, draw(st.sampled_from(SIZES))),)
        elif kind == "two":
            made = (spec(f"{name}a", draw(st.sampled_from(SIZES))), spec(f"{name}b", draw(st.sampled_from(SIZES))))
        else:
            read = read[:1]
            made = (spec(name, *read[0].shape, of=read[0].name),)
        writes = (read[0].name,) if kind == "write" else ()
        nodes.append(node(name, f"test.{kind}", [value.name for value in read], *made, writes=writes))
        values += made
    names = [value.name for value in values]
    outputs = draw(st.lists(st.sampled_from(names), max_size=3, unique=True))
    return Graph("random", tuple(nodes), (values[0],), (values[1],), tuple(outputs))
