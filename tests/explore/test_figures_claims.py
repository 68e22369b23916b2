"""The figure of claims: a dot for each number, where the ledger has it."""

import math

import figures
import pytest

from costlab import claims
from costlab.explore import claims as drawn


def test_the_figure_keeps_the_house_rules():
    figures.check(drawn.claimed_against_computed())


def test_each_comparable_number_has_its_dot():
    """All but bounds, numbers without a computed one, and those that are not above nothing."""
    dots = drawn.claim_dots()
    every = [(found, part) for found in claims.findings() for part in found.parts]
    left_out = [part for _, part in every if not math.isfinite(part.off)]
    assert len(dots) == len(every) - len(left_out)
    assert all(
        part.relation in ("at least", "at most") or part.computed is None or part.computed <= 0 or part.claimed <= 0
        for part in left_out
    )
    lines = [line for line in figures.lines(drawn.claimed_against_computed) if line.shape == (2, 1)]
    assert sorted(float(line[0, 0]) for line in lines) == pytest.approx(sorted(dot.factor for dot in dots))


def test_a_dot_stands_at_claimed_over_computed():
    """6 experts where 8 are claimed, 2,000 over 3,000 and so on: by hand from published figures."""
    by_key = {}
    for dot in drawn.claim_dots():
        by_key.setdefault(dot.key, []).append(dot)
    assert 256 / 384 in [dot.factor for dot in by_key["moe-256-experts"]]
    assert [dot.factor for dot in by_key["swa-1-to-7"]] == pytest.approx([7 / 6])
    assert 10.0 in [round(dot.factor, 6) for dot in by_key["chip-saving"]]  # 7.88 billion over 788 million
    assert {dot.look for dot in by_key["price-mimo-row"]} == {"unit or label error"}


def test_every_chapter_that_settles_a_claim_has_its_row():
    assert {found.chapter for found in claims.findings()} <= drawn.CHAPTER_NAMES.keys()
