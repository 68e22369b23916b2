"""Sparser models: parameters and batches in closed form, and steps beside the roofline's own."""

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from costlab import arch, limits, roofline

PRO = "deepseek-v4-pro"
NODE = roofline.deployment(PRO, "h800", 64)


def test_the_articles_share_and_what_is_left_of_it():
    """49B of 1.6T, as the maker has them; 3.125% in the article."""
    assert limits.activated_share(PRO) == pytest.approx(49 / 1600, rel=0.02)
    assert limits.least_activation(PRO) == pytest.approx(
        limits.activated_share(limits.fewer(PRO, 1)) - _one_expert(), rel=1e-9
    )


def _one_expert():
    """One of 384 experts of 3 x 7168 x 3072 parameters in 61 layers, over all parameters."""
    return 61 * 3 * 7168 * 3072 / arch.load(PRO).params.total


@given(st.floats(0.016, 0.05))
def test_visits_and_experts_at_an_activation(share):
    """Both are solved for; a model built with the nearest whole numbers is near the activation."""
    visits = limits.visits_at(PRO, share)
    assert limits.least_activation(PRO) + visits * _one_expert() == pytest.approx(share)
    experts = limits.experts_at(PRO, share)
    if experts >= 6:
        assert limits.activated_share(limits.wider(PRO, round(experts))) == pytest.approx(share, rel=2e-3)


def test_one_per_cent_is_out_of_reach_without_more_parameters():
    assert limits.visits_at(PRO, 0.01) < 0
    assert limits.visits_at(PRO, limits.activated_share(PRO)) == pytest.approx(6)
    assert limits.experts_at(PRO, limits.activated_share(PRO)) == pytest.approx(384)


def test_parts_of_experts_hold_the_same_parameters():
    halves = limits.finer(PRO, 2, 12)
    assert halves.params.by_component["experts"] == arch.load(PRO).params.by_component["experts"]
    assert halves.params.active_by_component["experts"] == arch.load(PRO).params.active_by_component["experts"]
    assert halves.params.by_component["shared"] == arch.load(PRO).params.by_component["shared"]
    assert halves.params.by_component["router"] == 2 * arch.load(PRO).params.by_component["router"]


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 300))
def test_a_step_is_the_rooflines_and_each_expert_gets_its_share(each):
    batch = each * NODE.replicas
    found, step = limits.sparse_step(NODE, batch, 8192), NODE.decode(batch, 8192)
    assert found.tokens_per_expert == pytest.approx(batch * 6 / 384)
    assert found.touched == pytest.approx(1 - (1 - 6 / 384) ** batch)
    assert found.chip_s * batch / 64 == pytest.approx(max(step.compute_s, step.memory_s))


@pytest.mark.parametrize("top_k", [1, 3, 6])
def test_compute_binds_from_the_first_batch_that_it_does(top_k):
    """By trying each batch around the answer."""
    node = dataclasses.replace(NODE, model=limits.fewer(PRO, top_k))
    at = limits.compute_binds_at(node, 8192)
    assert limits.sparse_step(node, at, 8192).bound == "compute"
    assert limits.sparse_step(node, at - node.replicas, 8192).bound == "memory"


def test_sparser_models_need_larger_batches():
    at = [
        limits.compute_binds_at(dataclasses.replace(NODE, model=limits.fewer(PRO, k)), 8192) for k in (6, 5, 4, 3, 2, 1)
    ]
    assert at == sorted(at)
    assert at[0] < at[-1]
    assert limits.compute_binds_at(NODE, 122_260) is None  # caches leave no room for so many


def test_where_it_helps_and_where_not():
    """In the middle every expert is read whatever a token visits; at the largest batch arithmetic counts."""
    half = dataclasses.replace(NODE, model=limits.fewer(PRO, 3))

    def ratio(batch):
        return limits.sparse_step(half, batch, 8192).chip_s / limits.sparse_step(NODE, batch, 8192).chip_s

    assert ratio(4096) == pytest.approx(1, abs=1e-6)
    assert ratio(64) < 0.95
    assert ratio(NODE.max_batch(8192)) == pytest.approx(
        float(half.model.decode_flops(8192).total / NODE.model.decode_flops(8192).total), rel=0.05
    )
    double = dataclasses.replace(NODE, model=limits.wider(PRO, 768))
    assert limits.sparse_step(double, 4096, 8192).chip_s > 1.2 * limits.sparse_step(NODE, 4096, 8192).chip_s
    assert double.max_batch(8192) < 0.6 * NODE.max_batch(8192)


def test_the_table_shows_what_does_not_fit_as_missing():
    table = limits.activation_table(NODE, 8192, [64, 30_000])
    assert [row["activation"] for row in table.rows] == ["3.11%", "2.34%", "1.82%", "2.35%", "1.57%"]
    assert table.rows[-1]["batch 30,000"] == "–"


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: limits.fewer("llama-3.1-70b", 1), "has no experts"),
        (lambda: limits.fewer(PRO, 0), "top_k should be a whole number from 1"),
        (lambda: limits.fewer(PRO, 385), "top_k = 385 should lie between 1 and experts = 384"),
        (lambda: limits.finer(PRO, 5, 6), "parts = 5 should divide the 3072 wide experts"),
        (lambda: limits.wider(PRO, 5), "top_k = 6 should lie between 1 and experts = 5"),
        (lambda: limits.visits_at(PRO, 0), "share = 0 should be above 0"),
        (lambda: limits.experts_at(PRO, 1.5), r"share = 1\.5 should be above 0 and at most 1"),
        (lambda: limits.sparse_step(NODE, 10**6, 8192), "batch 1000000 of 8192 tokens does not fit"),
    ],
)
def test_bad_input(call, words):
    with pytest.raises(ValueError, match=words):
        call()
