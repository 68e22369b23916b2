"""Claims about all levers and about limits, against figures worked out apart from the package."""

import pytest

from costlab import arch, catalog, claims, levers


def parts(key):
    return {part.quantity: part for part in claims.settle(key).parts}


def test_a_dense_model_multiplies_every_parameter():
    """2,000 over E's 48; by published counts 4,000 GFLOP over twice 49, 42 and 37 and some attention."""
    found = claims.settle("dense-10-20x")
    own, pro, mimo, v3, unknown = (part.computed for part in found.parts)
    assert own == pytest.approx(2000 / 48)
    assert 2000 / 49 * 0.85 < pro < 2000 / 49
    assert 2000 / 42 * 0.9 < mimo < 2000 / 42 * 1.05
    assert v3 < 2000 / 37
    assert unknown is None
    assert found.verdict == "contradicted"
    assert claims.settle("dense-10-20x", low=25, high=50).verdict == "not checkable from public facts"


def test_levers_multiply_as_their_costs_say():
    """From the ladder's own bills, product by product."""
    steps = levers.ladder("deepseek-v4-pro")
    none, one, other, both = (
        float(steps.costs(on).bill)
        for on in ((), ("sparsity",), ("attention", "cache"), ("sparsity", "attention", "cache"))
    )
    sparse, cached, chip, compound = claims.settle("compound-levers").parts
    assert sparse.computed == pytest.approx(one / none)
    assert cached.computed == pytest.approx(other / none)
    assert compound.computed == pytest.approx(both * none / (one * other))
    assert chip.computed == pytest.approx(720_000 / 1_300_000)  # E's own two servers
    assert claims.settle("compound-levers", compound=3.0).verdict == "contradicted"


def test_of_all_experts_fewer_are_visited_than_the_article_says():
    found = claims.settle("limit-activation")
    now, soon = found.parts
    assert (now.computed, now.reading.computed, soon.computed) == (6 / 384, 8 / 256, 6 / 384)
    assert found.verdict == "unit or label error"
    assert claims.settle("limit-activation", now=6 / 384).verdict == "reproduced"
    assert claims.settle("limit-activation", now=0.05).verdict == "contradicted"


def test_the_floor_of_arithmetic_by_hand():
    """Operations in FP8-equivalents over the chip's FP8 rate, at two dollars an hour; the step spreads it unevenly."""
    work = float(arch.load("deepseek-v4-pro").decode_flops(131_072).weighted())
    by_hand = work / catalog.chip("h800").flops["fp8"] * 2.0 / 3600 * 1e6
    assert claims.levers.floor_usd("compute") == pytest.approx(by_hand, rel=0.35)
    for term in ("compute", "memory", "link"):
        assert 0 < claims.levers.floor_usd(term) < 0.87
    assert claims.settle("limit-floors", felt=0.5).verdict == "contradicted"
