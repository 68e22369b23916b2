"""Claims about all levers and about limits, against figures worked out apart from the package."""

import numpy as np
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
    sparse, cached, chip, compound, *beyond = claims.settle("compound-levers").parts
    assert sparse.computed == pytest.approx(one / none)
    assert cached.computed == pytest.approx(other / none)
    assert compound.computed == pytest.approx(both * none / (one * other))
    assert chip.computed == pytest.approx(720_000 / 1_300_000)  # E's own two servers
    assert all(part.beyond and part.agrees is False for part in beyond)
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


# --- Xiaomi's margin -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("use", ["coding", "chat", "tools"])
def test_the_old_list_over_the_new_one_by_hand(use):
    """Dollars of a million hits, misses and output tokens, $0.2, 1, 3 before and 0.0036, 0.435, 0.87 after the cut."""
    traffic = catalog.tables().traffic[use]
    hits, misses = traffic.input * traffic.hit_rate, traffic.input * (1 - traffic.hit_rate)
    asked = (hits * 0.2 + misses * 1.0 + traffic.output * 3.0) / (
        hits * 0.0036 + misses * 0.435 + traffic.output * 0.87
    )
    old, new = (
        claims.margins.revenue_over_cost(use, 0.9, day) for day in (claims.margins.OLD_DAY, claims.margins.NEW_DAY)
    )
    assert old / new == pytest.approx(asked, rel=1e-3)  # in whole tokens
    assert (old / new > 7) == (use == "coding")


def test_a_margin_grows_with_use_but_for_what_keeping_costs():
    """Rent is paid for idle hours too: twice the use nearly halves the cost, since what keeps the cache is not rented
    by the chip."""
    quarter, half = (claims.margins.revenue_over_cost("coding", use, "2026-05-20") for use in (0.25, 0.5))
    assert 1.9 < half / quarter < 2
    found = levers.served("mimo-v2.5-pro", traffic="coding").with_inputs(utilisation=0.25)
    margin = levers.margin("mimo-v2.5-pro", found, when="2026-05-20")
    assert quarter == pytest.approx(1 / (1 - margin.share_left))


def test_the_ends_of_the_draws_enclose_the_value():
    """Every draw is of the cost alone: what is asked and how long requests are stays."""
    low, middle, high = (
        claims.margins.revenue_over_cost("coding", 0.9, "2026-06-01", below=share) for share in (0.05, 0.5, 0.95)
    )
    assert low < 1 < middle < high
    assert low < claims.margins.revenue_over_cost("coding", 0.9, "2026-06-01") < high
    with pytest.raises(ValueError, match="below should be a share"):
        claims.margins.revenue_over_cost("coding", 0.9, "2026-06-01", below=1.5)
    with pytest.raises(ValueError, match="unknown kind of use 'code'"):
        claims.margins.revenue_over_cost("code", 0.9, "2026-06-01")


@pytest.mark.parametrize(("key", "wrong"), [
    ("breakeven-after-cut", {"even": 0.5}),
    ("breakeven-after-cut", {"even": 2.0}),
    ("breakeven-after-cut", {"full": 0.3}),
    ("margin-before-cut", {"load": 0.4}),
    ("margin-before-cut", {"load": 0.1}),
])  # fmt: skip
def test_what_is_said_of_the_margin_holds_at_one_use_alone(key, wrong):
    assert claims.settle(key).verdict == "reproduced under a stated assumption"
    assert claims.settle(key, **wrong).verdict == "contradicted"


def test_the_use_that_makes_the_old_margin_true_was_looked_for():
    """By a search: all three kinds of use lie from 2 to 3 between about a fifth and a quarter of the hours."""
    fitting = [
        use
        for use in np.linspace(0.1, 0.4, 31)
        if all(2 <= claims.margins.revenue_over_cost(kind, use, "2026-05-20") <= 3 for kind in claims.margins.USES)
    ]
    assert 0.18 < min(fitting) < 0.2 and 0.22 < max(fitting) < 0.25
    assert "nobody has published; found by looking for" in claims.settle("margin-before-cut").assumption


def test_each_assumption_that_was_looked_for_says_so():
    """And lies beside numbers that are outside of it and wrong, or beside what was not published."""
    sought = [found for found in claims.findings() if found.sought]
    assert {"margin-before-cut", "pd-2-3x", "pd-4096-rule", "price-50-100x", "price-prompt-reuse"} <= {
        found.key for found in sought
    }
    for found in sought:
        assert found.assumption.endswith("found by looking for what makes the claim true")
        outside = [part for part in found.parts if part.beyond and part.agrees is False]
        assert outside or "not published" in found.assumption
    for found in claims.findings():
        assert found.sought or "found by looking" not in (found.assumption or "")
