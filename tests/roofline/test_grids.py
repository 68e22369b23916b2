"""Grids of steps against the steps of `Deployment`, one at a time."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from costlab import arch, catalog, roofline
from costlab.roofline import Deployment, Efficiency, decode_grid, prefill_grid

MODELS = ("deepseek-v3", "deepseek-v3.2", "deepseek-v4-flash", "mimo-v2-flash", "llama-3.1-70b")
CONTEXTS = [64, 4096, 131_072]


def node(model="deepseek-v3", chip="h800", chips=32, split=1, draft=False, **more):
    built = arch.load(model)
    drafter = arch.drafter("mtp" if built.record.mtp else "eagle3", built) if draft else None
    return Deployment(built, catalog.chip(chip), chips, split, drafter=drafter, **more)


def round_seconds(each, batch, context, length):
    drafts = [
        each.draft(batch, context + i, each.drafter.rows(i, length)) if each.drafter else None for i in range(length)
    ]
    return each.verify(batch, context, length).seconds + sum(step.seconds for step in drafts)


@pytest.mark.parametrize("length", [0, 1, 3])
@pytest.mark.parametrize("model", MODELS)
def test_decode_takes_what_a_deployment_takes(model, length):
    """Several deployments at once: sizes, splits, efficiencies, without overlap, with launches."""
    shares = Efficiency(0.5, 0.7, 0.3)
    nodes = [
        node(model, draft=length > 0),
        node(model, "h200", 64, 4, length > 0, efficiency=shares, overlap=False, balance=0.8),
        node(model, "b200", 8, 8, length > 0, step_s=1e-3, layer_s=1e-5),
    ]
    grid = decode_grid(nodes, CONTEXTS, length)
    for each in (1, 7, 500):
        found = grid.seconds(each)
        wanted = [[round_seconds(n, each * n.replicas, c, length) for c in CONTEXTS] for n in nodes]
        np.testing.assert_allclose(found, wanted, rtol=1e-12)
    np.testing.assert_array_equal(
        grid.most * grid.replicas[:, None], [[n.max_batch(c + length) for c in CONTEXTS] for n in nodes]
    )


def test_a_drafter_reads_no_more_than_a_context_has():
    """Contexts shorter than what it reads in a round: of one token it reads one."""
    one, contexts = node(draft=True), [1, 2, 3, 4, 64]
    rows = [one.drafter.rows(i, 4) for i in range(4)]
    wanted = [
        sum(one.draft(32 * 7, c + i, min(n, c + i)).seconds for i, n in enumerate(rows))
        + one.verify(32 * 7, c, 4).seconds
        for c in contexts
    ]
    assert max(rows) > 1
    np.testing.assert_allclose(decode_grid([one], contexts, 4).seconds(7)[0], wanted, rtol=1e-12)


@pytest.mark.parametrize("model", MODELS)
def test_prefill_takes_a_deployments_compute_and_memory(model):
    nodes = [node(model), node(model, "h200", 64, 4, efficiency=Efficiency(0.5, 0.7, 0.3)), node(model, "b200", 8, 8)]
    grid = prefill_grid(nodes, CONTEXTS)
    for each in (1, 5):
        steps = [[n.prefill(c, batch=each * n.replicas) for c in CONTEXTS] for n in nodes]
        wanted = [[max(s.compute_s, s.memory_s) for s in row] for row in steps]
        np.testing.assert_allclose(grid.seconds(each), wanted, rtol=1e-12)


@pytest.mark.parametrize("model", MODELS)
def test_prefill_after_a_prefix_counts_it_as_a_deployment_does(model):
    """What is looked at, and the cache that must lie there: whole prompts fill the memory."""
    nodes = [node(model), node(model, "b200", 8, 8)]
    prefixes = [7 * context for context in CONTEXTS]
    grid = prefill_grid(nodes, CONTEXTS, prefixes)
    steps = [[n.prefill(c, p, 3 * n.replicas) for c, p in zip(CONTEXTS, prefixes, strict=True)] for n in nodes]
    np.testing.assert_allclose(grid.seconds(3), [[max(s.compute_s, s.memory_s) for s in row] for row in steps])
    most = [[n.max_batch(8 * c) // n.replicas for c in CONTEXTS] for n in nodes]
    np.testing.assert_array_equal(grid.most, most)
    with pytest.raises(ValueError, match="prefix should be whole numbers of at least 0, got -1"):
        prefill_grid(nodes, CONTEXTS, -1)


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(MODELS),
    st.sampled_from([(8, 8), (32, 1), (64, 4)]),
    st.integers(10, 200_000),
    st.floats(1e-4, 1.0),
    st.booleans(),
)
def test_the_largest_batch_is_the_largest(model, size, context, limit_s, draft):
    one = node(model, "h200", *size, draft)
    grid = decode_grid([one], [context], int(draft))
    found, most = float(grid.largest(limit_s)[0, 0, 0]), float(grid.most[0, 0])
    assert found == int(found) and 0 <= found <= most
    if found:
        assert grid.seconds(found)[0, 0] <= limit_s * (1 + 1e-8)
    if found < most:
        assert grid.seconds(found + 1)[0, 0] > limit_s


def test_a_look_up_takes_no_time():
    plain = node("llama-3.1-70b", "h200", 8, 8)
    looked = dataclasses.replace(plain, drafter=arch.LOOKUP)
    grid = decode_grid([looked], [4096], 2)
    assert grid.seconds(3)[0, 0] == pytest.approx(plain.verify(3, 4096, 2).seconds, rel=1e-12)


@pytest.mark.parametrize(
    ("ask", "says"),
    [
        (lambda: decode_grid([], [1]), "at least one deployment"),
        (lambda: decode_grid([node()], [0]), "at least 1, got 0"),
        (lambda: decode_grid([node()], [9], -1), "length = -1"),
        (lambda: decode_grid([node()], [9], 1), "no drafter"),
    ],
)
def test_bad_grids_are_refused(ask, says):
    with pytest.raises(ValueError, match=says):
        ask()


def test_int8_runs_what_a_chip_states():
    """What is stated goes before the wider unit, and a chip's own unit before both."""
    ascend = dataclasses.replace(
        catalog.chip("h800"),
        flops={"bf16": 1.0, "fp16": 1.1, "int8": 2.0, "fp32": 0.5},
        serves={"fp8": "int8", "fp4xfp8": "int8"},
    )
    wanted = {"fp8": "int8", "fp4xfp8": "int8", "fp4": "int8", "int8": "int8", "bf16": "bf16", "fp32": "fp32"}
    assert {precision: roofline.unit_for(ascend, precision) for precision in wanted} == wanted
    silent = dataclasses.replace(ascend, serves={})
    assert roofline.unit_for(silent, "fp8") == "bf16"
    assert roofline.rate(catalog.chip("h800"), "fp8") == catalog.chip("h800").flops["fp8"]
    with pytest.raises(ValueError, match="no unit for 'int3'"):
        roofline.rate(ascend, "int3")
