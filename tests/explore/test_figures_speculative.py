"""Figures of the chapter `speculative`: what they show is what the package computes, and what others published."""

import re

import figures
import numpy as np
import pytest

from costlab import arch, catalog, explore, prices, roofline, speculative
from costlab.explore import COLOURS
from costlab.speculative import theory
from costlab.speculative.faulty import MISTAKES

CURVES = list(explore.ACCEPTED_CURVES.values())
SERVED = list(explore.SERVED.values())


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("one_round", {}),
        ("accepted_parts", {}),
        ("accepted_parts", {"second": 0.0}),
        ("accepted_parts", {"second": 1.0}),
        *(("first_is_not_all", {"curve": curve}) for curve in CURVES),
        ("published_lengths", {}),
        ("draft_length", {}),
        ("draft_length", {"acceptance": 0.3, "length": 0, "draft_cost": 0.5}),
        ("draft_length", {"acceptance": 0.95, "length": 16, "draft_cost": 0.0}),
        ("variant_bias", {}),
        ("variant_bias", {"acceptance": 0.4}),
        ("variant_bias", {"acceptance": 0.95}),
        ("gain_by_batch", {}),
        *(("gain_by_batch", {"served": key, "batch": 1, "context": 4096}) for key in SERVED),
        *(("gain_by_batch", {"served": key, "batch": 4096, "context": 65_536}) for key in SERVED),
        ("eagle_by_batch", {}),
    ],
)
def test_drawn(name, arguments):
    figures.check(getattr(explore, name)(**arguments))


# --- one round -------------------------------------------------------------------------------------------------


def test_the_first_round_loses_one_draft_and_the_second_none():
    steps = [drawing for drawing, _ in explore.one_round().steps]
    assert "3 of 4 drafted words stay. The target itself adds hardware." in steps[3].words.alt
    assert "4 of 4 drafted words stay. The target itself adds it." in steps[4].words.alt
    for svg, drafts in ((steps[3].wide, 6), (steps[4].wide, 8)):  # each kept draft twice: proposed, and given
        assert len(re.findall(rf'fill="{COLOURS["draft"]}" rx', svg)) == drafts
        assert len(re.findall(rf'fill="{COLOURS["target"]}" rx', svg)) == 1


def test_each_word_stays_where_its_number_is_below_the_ratio():
    text = explore.one_round().steps[2][0].wide
    shown = [float(x) for x in re.findall(r">(0\.\d\d)<", text)]
    rows = np.array(shown).reshape(4, 3)  # q, p, u
    assert ((rows[:, 2] * rows[:, 0] < rows[:, 1]) == [True, True, True, False]).all()


def test_other_seeds_tell_another_story():
    with pytest.raises(ValueError, match="seed 0 gives"):
        explore.one_round(0)


# --- the rule and its lengths ----------------------------------------------------------------------------------


@pytest.mark.parametrize("second", [0.0, 0.3, 0.7, 1.0])
def test_the_parts_add_up_to_the_target(second):
    p, q = np.array([0.5, 0.3, 0.2]), np.array([2 * (1 - second) / 3, second, (1 - second) / 3])
    kept, refused, *residual = figures.numbers(explore.accepted_parts(second))
    assert (kept, refused) == pytest.approx((float(speculative.acceptance(p, q)), 1 - speculative.acceptance(p, q)))
    assert residual == pytest.approx(speculative.residual(p, q))
    assert np.minimum(p, q) + refused * np.array(residual) == pytest.approx(p)


def test_the_numbers_of_the_proof():
    assert figures.numbers(explore.accepted_parts()) == pytest.approx([0.6, 0.4, 0.75, 0, 0.25])


def test_the_first_position_promises_too_much():
    """V4-Pro with thinking: 17% too many tokens with 3 drafted, 62% with 8 (facts of the published curve)."""
    _, _, three, _, _, eight, *positions = figures.numbers(explore.first_is_not_all())
    assert (round(three, 2), round(eight, 2)) == (0.17, 0.62)
    assert positions == pytest.approx([0.79, 0.48 / 0.79, 0.22 / 0.48, 0.05 / 0.22])


@pytest.mark.parametrize("curve", CURVES)
def test_published_points_are_drawn(curve):
    constant, measured = figures.lines(explore.first_is_not_all, curve)
    published = catalog.tables().curves[curve].accepted_lengths
    assert measured[1].tolist() == [1.0, *published]
    assert constant[1] == pytest.approx([theory.expected_tokens(published[0] - 1, k) for k in range(9)])
    assert any(line[1].tolist() == [1.0, *published] for line in figures.lines(explore.published_lengths))


@pytest.mark.parametrize(("acceptance", "length", "cost"), [(0.8, 3, 0.05), (0.5, 0, 0.1), (0.9, 16, 0.02)])
def test_best_length(acceptance, length, cost):
    shown = figures.numbers(explore.draft_length(acceptance, length, cost))
    best = theory.best_length(acceptance, cost, longest=16)
    gains = [theory.speedup(acceptance, k, cost) for k in (length, best)]
    assert shown == pytest.approx([length, theory.expected_tokens(acceptance, length), gains[0], best, gains[1]])


# --- what goes wrong -------------------------------------------------------------------------------------------


def test_only_the_rule_keeps_the_law():
    _, *wrong, right = figures.numbers(explore.variant_bias(0.8))
    assert right < 1e-12 < 0.03 < min(wrong)
    pair = speculative.random_pair(16, 0.8, np.random.default_rng(0))
    laws = np.array([MISTAKES["D"].law(p, q) for p, q in zip(pair.target, pair.draft, strict=True)])
    assert wrong[3] == pytest.approx(0.5 * np.abs(laws - pair.target).sum(axis=1).mean())


def test_better_drafts_hide_two_mistakes_and_worsen_two():
    bad, good = (dict(zip("_ABCDFG", figures.numbers(explore.variant_bias(a)), strict=False)) for a in (0.5, 0.9))
    assert good["C"] < bad["C"] and good["D"] < bad["D"]
    assert good["B"] > bad["B"] and good["F"] > bad["F"]


# --- on a chip -------------------------------------------------------------------------------------------------


def v4_pro(length, batch, context=4096):
    node = roofline.deployment("deepseek-v4-pro", "b200", 8)
    known = theory.conditional(catalog.tables().curves["v4-pro-thinking"].accepted_lengths)
    return speculative.speculate(node, arch.drafter("mtp", node.model), known.tolist(), length, batch, context)


@pytest.mark.parametrize("batch", [1, 512, 2048])
def test_gain_and_prices_are_those_of_the_plan(batch):
    found, rent = v4_pro(3, batch), prices.chip_rent("b200").amount
    shown = figures.numbers(explore.gain_by_batch(batch=batch))
    wanted = [batch, found.tokens_per_round, found.round_cost, found.speedup]
    wanted += [found.plain_usd_per_million(rent), found.usd_per_million(rent)]
    assert shown[:6] == pytest.approx(wanted)


def test_valley_hump_and_fall():
    lines = figures.lines(explore.gain_by_batch)
    batches, gains = lines[1]  # three drafted tokens
    valley, hump = gains[:8].argmin(), gains.argmax()
    assert 0 < valley < hump < len(gains) - 1
    assert gains[valley] < 1.3 < 2.2 < gains[hump]
    assert gains[-1] < 1
    assert batches[-1] == v4_pro(3, 1).deployment.max_batch(4096)
    losing = v4_pro(3, 1).losing_batch
    assert v4_pro(3, losing - 8).speedup > 1 > v4_pro(3, losing + 8).speedup


def test_long_contexts_never_lose():
    """A dense model at 64K: each sequence brings its cache, which is read once for all rows."""
    long, short = (figures.lines(explore.gain_by_batch, "llama-70b", 1, n)[2][1] for n in (65_536, 4096))
    assert figures.rises(long)
    assert not figures.rises(short)


def test_a_batch_that_does_not_fit_is_marked_where_memory_ends():
    shown = figures.numbers(explore.gain_by_batch("llama-70b", 4096, 65_536))
    assert shown[0] == shown[-2] < 100


def test_eagle_beside_the_two_bounds():
    """Published EAGLE-3: 1.81 at 2 sequences to 1.38 at 64, 76% (arXiv 2503.01840 table 3)."""
    first, last, *_, share, low, high = figures.numbers(explore.eagle_by_batch())
    assert (first, last) == (1.81, 1.38)
    assert share == pytest.approx(1.38 / 1.81)
    assert low < share < high
    assert low == pytest.approx(0.74, abs=0.01)  # one after another: 1.19 plain steps at 2 sequences, 1.61 at 64


@pytest.mark.parametrize(
    ("name", "arguments", "words"),
    [
        ("accepted_parts", {"second": 1.1}, "between 0 and 1"),
        ("first_is_not_all", {"curve": "nope"}, "unknown curve 'nope'"),
        ("draft_length", {"length": 17}, "between 0 and 16"),
        ("draft_length", {"acceptance": 1.5}, "between 0 and 1"),
        ("variant_bias", {"acceptance": 0.3}, "between 0.4 and 0.95"),
        ("gain_by_batch", {"served": "nope"}, "unknown deployment 'nope'"),
        ("gain_by_batch", {"batch": 0}, "batch"),
        ("gain_by_batch", {"context": 0}, "context"),
    ],
)
def test_bad_input(name, arguments, words):
    with pytest.raises(ValueError, match=words):
        getattr(explore, name)(**arguments)


# --- measured --------------------------------------------------------------------------------------------------

MEASURED = [
    ("small model, 3", 1, 0.0, 1.5),
    ("small model, 3", 1, 1.0, 1.2),
    ("small model, 3", 8, 0.0, 1.1),
    ("small model, 3", 32, 0.0, 0.7),
    ("lookup, 5", 1, 0.0, 2.5),
]


def test_measured_gains_of_the_smallest_and_the_largest_batch():
    shown = explore.measured_gains(MEASURED)
    figures.check(shown)
    assert figures.numbers(shown) == [1.5, 1.2, 2.5, 0.7]
    dots = [x for x, _ in figures.lines(explore.measured_gains, MEASURED) if len(x) == 1]
    assert sorted(float(x[0]) for x in dots) == [0.7, 1.2, 1.5, 2.5]
    figures.check(explore.measured_gains(MEASURED[:1]))
    with pytest.raises(ValueError, match="at least one"):
        explore.measured_gains([])
