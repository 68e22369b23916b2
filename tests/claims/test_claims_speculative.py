"""The article's speed-up formula beside the tokens that a pass yields: its ceiling, its blind spot, its miss."""

import numpy as np
import pytest

from costlab import catalog, claims
from costlab.claims import speculative
from costlab.speculative import expected_tokens
from costlab.speculative.faulty import article_speedup


@pytest.mark.parametrize(
    ("drafted", "acceptance", "tokens", "own_rate", "acceptance_as_rate"),
    [  # worked out apart from the package
        (5, 0.5, 1.969, 1.183, 1.667),
        (5, 0.7, 2.941, 1.451, 2.273),
        (5, 0.8, 3.689, 1.755, 2.778),
        (5, 0.9, 4.686, 2.437, 3.571),
        (3, 0.9, 3.439, 2.183, 2.500),
        (8, 0.8, 4.329, 1.573, 3.333),
    ],
)
def test_the_formula_is_too_low_whatever_it_is_fed_with(drafted, acceptance, tokens, own_rate, acceptance_as_rate):
    found = speculative.both(acceptance, drafted)
    assert found == pytest.approx((tokens, own_rate), abs=6e-4)
    assert article_speedup(acceptance, drafted) == pytest.approx(acceptance_as_rate, abs=6e-4)
    assert own_rate < acceptance_as_rate < tokens


@pytest.mark.parametrize("rate", np.linspace(0, 1, 6))
def test_with_a_single_drafted_token_it_gains_nothing(rate):
    """Where DeepSeek measured 1.8 times the speed with one (catalog)."""
    assert article_speedup(rate, 1) == 1.0
    assert catalog.tables().speedups["deepseek-v3"].speedups == (1.8,)


@pytest.mark.parametrize("drafted", [1, 3, 8])
def test_its_ceiling_leaves_out_the_targets_own_token(drafted):
    assert article_speedup(1.0, drafted) == pytest.approx(drafted)
    assert expected_tokens(1.0, drafted) == drafted + 1


def test_the_ledger_says_so():
    found = claims.settle("spec-formula")
    assert found.verdict == "contradicted"
    assert "off by 40% to 52%" in found.why
    assert "it says 1.00 where 1.50 to 1.90 follow; where all is accepted it reaches 5, not 6" in found.why
    assert "reaches 8, not 9" in claims.settle("spec-formula", tokens=8).why


def test_two_to_three_times_is_a_matter_of_the_batch():
    found = claims.settle("spec-2-3x")
    rows = [gain for row in catalog.tables().speedups.values() for gain in row.speedups]
    inside = sum(2 <= gain <= 3 for gain in rows)
    assert found.verdict == "reproduced under a stated assumption"
    assert 0 < inside < len(rows)
    assert f"{inside} of {len(rows)} are from" in found.why
    batches = [each for row in catalog.tables().speedups.values() for each in (row.batches or (0,))]
    single = np.median([gain for batch, gain in zip(batches, rows, strict=True) if batch == 1])
    assert f"The middle is {single:.2f} for a single sequence and 1." in found.why
