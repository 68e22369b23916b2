"""Figures of the chapter `levers`: what they show is what the package computes, and what lists say."""

import re
from itertools import pairwise

import figures
import numpy as np
import pytest

from costlab import catalog, explore, levers, prices
from costlab.explore import levers as falls
from costlab.explore import levers_landing, levers_margins, levers_spread
from costlab.levers import KINDS

MODELS = list(explore.LEVER_MODELS.values())
USUAL = falls.usual_rate()


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        *(("lever_waterfall", {"model": model, "kind": kind}) for model, kind in zip(MODELS, KINDS, strict=True)),
        ("lever_waterfall", {"hit_rate": 0.0, "day": "2026-11-25"}),
        ("lever_waterfall", {"kind": "hit", "hit_rate": explore.HIT_RATES[-1], "day": "2020-01-01"}),
        ("landing", {}),
        *(
            ("landing", {"model": model, "hit_rate": rate})
            for model, rate in zip(MODELS, (0.0, 0.98, 0.5), strict=True)
        ),
        *(("landing", {"model": model, "day": "2026-04-24"}) for model in MODELS),
        *(("landing", {"model": model, "day": "2026-11-25"}) for model in MODELS),
        *(("cost_tornado", {"model": model, "kind": kind}) for model, kind in zip(MODELS, KINDS, strict=True)),
        *(("margin_timeline", {"product": model}) for model in MODELS),
        *(("break_even_use", {"product": model}) for model in MODELS),
        *(("break_even_use", {"product": "mimo-v2.5-pro", "chip": chip}) for chip in ("h20", "gb200")),
        *(("break_even_use", {"traffic": traffic}) for traffic in ("chat", "tools")),
    ],
)
def test_drawn(name, arguments):
    figures.check(getattr(explore, name)(**arguments))


@pytest.mark.parametrize(
    ("name", "arguments", "words"),
    [
        ("lever_waterfall", {"model": "gpt-2"}, "unknown model 'gpt-2'"),
        ("lever_waterfall", {"kind": "write"}, "unknown kind of token 'write'"),
        ("lever_waterfall", {"hit_rate": 0.33}, r"hit_rate = 0\.33 should be 0 to 0\.98 in steps of 0\.02, or 0\.936"),
        ("lever_waterfall", {"day": "June"}, "date 'June' should look like"),
        ("landing", {"model": "deepseek-v3"}, "unknown model 'deepseek-v3'"),
        ("landing", {"hit_rate": 1.0}, r"hit_rate = 1\.0 should be"),
        ("landing", {"day": "2026-01-01"}, "unknown day '2026-01-01'"),
        ("cost_tornado", {"kind": "request"}, "unknown kind of token 'request'"),
        ("margin_timeline", {"product": "gpt-5.5"}, "unknown model 'gpt-5.5'"),
        ("break_even_use", {"chip": "tpu"}, "unknown chip 'tpu'"),
        ("break_even_use", {"traffic": "games"}, "unknown kind of use 'games'"),
    ],
)
def test_bad_input(name, arguments, words):
    with pytest.raises(ValueError, match=words):
        getattr(explore, name)(**arguments)


# --- falls -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", MODELS)
def test_rungs_are_those_of_the_waterfall(model):
    found = levers.waterfall(model)
    for kind in KINDS:
        assert falls.rung_costs(model, kind, USUAL) == pytest.approx([rung.cost(kind) for rung in found.rungs])
    tokens = sum(float(count) for count in found.rungs[0].costs.request.values())
    bills = [float(rung.costs.bill) * 1e6 / tokens for rung in found.rungs]
    assert falls.rung_costs(model, "request", USUAL) == pytest.approx(bills)


@pytest.mark.parametrize("rate", [0.0, 0.5, 0.98])
def test_rungs_of_a_rate_are_those_of_a_service_with_it(rate):
    """All rates at once are each rate alone, and a request is its three kinds in their mix."""
    steps = levers.ladder("deepseek-v4-pro")
    for turn in (0, 4, len(steps.levers)):
        alone = levers.token_costs(steps.service(steps.levers[:turn]).with_inputs(hit_rate=rate))
        costs = {kind: falls.rung_costs("deepseek-v4-pro", kind, rate)[turn] for kind in KINDS}
        assert [costs[kind] for kind in KINDS] == pytest.approx([float(alone.of(kind)) for kind in KINDS])
        mix = falls.request_mix("deepseek-v4-pro", rate)
        assert sum(mix.values()) == pytest.approx(1)
        mean = sum(costs[kind] * mix[kind] for kind in KINDS)
        assert falls.rung_costs("deepseek-v4-pro", "request", rate)[turn] == pytest.approx(mean)


def test_bars_and_lines_stand_at_the_costs():
    costs = {kind: falls.rung_costs("deepseek-v4-pro", kind, USUAL) for kind in KINDS}
    axes = figures.axes_of(explore.lever_waterfall, kind="miss")
    ends = [sorted((bar.get_x(), bar.get_x() + bar.get_width())) for bar in axes.patches]
    assert ends == [pytest.approx(sorted(pair)) for pair in pairwise(costs["miss"])]
    hollow = [bar.get_facecolor()[3] == 0 for bar in axes.patches]
    assert hollow == [after > before for before, after in pairwise(costs["miss"])] and any(hollow)
    stairs = [line.get_xdata() for line in axes.lines if len(line.get_xdata()) == 2 * len(costs["hit"]) + 2]
    for kind, line in zip(("hit", "output"), stairs, strict=True):
        assert line[::2] == pytest.approx([*costs[kind], costs[kind][-1]])
    (listed,) = (line.get_xdata() for line in axes.lines if line.get_marker() == "D")
    assert listed == 0.435  # DeepSeek's list of May


def test_a_lever_that_costs_is_said_so():
    words = [text.get_text() for text in figures.axes_of(explore.lever_waterfall, kind="miss").texts]
    costs = falls.rung_costs("deepseek-v4-pro", "miss", USUAL)
    for text, (before, after) in zip(words[1:-2], pairwise(costs), strict=True):
        assert text.startswith("dearer ×" if after > 1.005 * before else "÷" if before > 1.005 * after else "no change")
    assert falls.factor_text(10, 2) == "÷5" and falls.factor_text(2, 3) == "dearer ×1.5"
    assert falls.factor_text(1, 1.001) == "no change" and falls.factor_text(1.07, 1) == "÷1.07"


# --- the landing page's figure -----------------------------------------------------------------------------------


def test_a_list_leaves_what_bills_leave():
    """The share that is left is that of a bill by `costlab.prices` over the cost of the same request."""
    kind = catalog.tables().traffic["coding"]
    dense, cost, _, listed, left = figures.numbers(explore.landing())
    hits = round(0.94 * kind.input) / kind.input
    due = prices.bill("deepseek-v4-pro", prices.Workload(kind.input, kind.output, hits))
    assert listed == pytest.approx(due.total / (kind.input + kind.output) * 1e6, rel=1e-9)
    assert left == pytest.approx(1 - cost / listed) and dense > 1000 * cost


@pytest.mark.parametrize("model", MODELS)
def test_every_list_can_be_seen_on_a_day(model):
    shown = [falls.listed_rows(model, day) for day in explore.LANDING_DAYS.values()]
    every = [row for row in prices.history(model, "USD") if not row.min_input_tokens]
    assert {id(row) for rows in shown for row in rows} == {id(row) for row in every}
    unlisted = [day for day, rows in zip(explore.LANDING_DAYS.values(), shown, strict=True) if not rows]
    for day in unlisted:
        assert "is not listed on" in explore.landing(model, day=day).words.note


def test_a_loss_is_said_so():
    """MiMo's price of May lies below its cost at long contexts and the assumed use."""
    shown = explore.landing("mimo-v2.5-pro", day="2026-06-01")
    *_, listed, left = figures.numbers(shown)
    cost = falls.rung_costs("mimo-v2.5-pro", "request", 0.94)[-1]
    assert left == pytest.approx(1 - cost / listed)
    assert ("is lost" in shown.words.note) == (left < 0)


def test_bands_hold_nine_draws_in_ten():
    steps = levers.ladder("deepseek-v4-pro")
    found = levers.spread_of(steps.service(steps.levers), np.random.default_rng(1), 4000)
    for kind in KINDS:
        low, high = falls.cost_bands("deepseek-v4-pro", USUAL)[kind]
        inside = np.mean((found.drawn.of(kind) >= low) & (found.drawn.of(kind) <= high))
        assert 0.87 < inside < 0.93  # other draws than the figure's
        assert low < falls.rung_costs("deepseek-v4-pro", kind, USUAL)[-1] < high


# --- what decides ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_bars_of_the_tornado_are_costs_with_one_figure_moved(kind):
    steps = levers.ladder("deepseek-v4-pro")
    service = steps.service(steps.levers)
    bars = figures.axes_of(explore.cost_tornado, kind=kind).patches
    for place, swing in enumerate(s for s in levers_spread.moved_costs("deepseek-v4-pro", kind)[: len(bars) // 2]):
        low, _, high = service.inputs()[swing.name].bounds
        ends = [float(levers.token_costs(service, {swing.name: end}).of(kind)) for end in (low, high)]
        drawn = [bar.get_x() + bar.get_width() for bar in bars[2 * place : 2 * place + 2]]
        assert drawn == pytest.approx(ends)
    assert "all at once" in explore.cost_tornado(kind=kind).wide


def test_every_range_has_words():
    for swing in levers_spread.moved_costs("deepseek-v4-pro", "hit"):
        assert re.fullmatch(r"[\d.]+%? to [\d.]+.*", levers_spread.figure_range(swing.moved)), swing
    service = levers.served("deepseek-v4-pro").inputs()
    assert levers_spread.figure_range(service["rent"]) == "1.17 to 3.2 USD an hour"
    assert levers_spread.figure_range(service["utilisation"]) == "40% to 82%"


# --- margins -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("product", MODELS)
def test_lines_are_the_lists(product):
    spans = levers_margins.list_spans(product)
    drawn = [line.get_ydata()[0] for line in figures.axes_of(explore.margin_timeline, product).lines]
    assert drawn == [each.paid[kind] for kind in KINDS for span in spans for each in span]
    rows = [row for row in prices.history(product, "USD") if not row.min_input_tokens]
    asked = {(row.hit, row.miss, row.output) for row in rows}
    assert asked == {tuple(each.paid[kind] for kind in KINDS) for span in spans for each in span}
    for before, after in pairwise(spans):
        assert [each.paid for each in before] != [each.paid for each in after]


@pytest.mark.parametrize(("product", "chip"), [("deepseek-v4-pro", "h800"), ("mimo-v2.5-pro", "h20")])
def test_at_the_use_that_pays_nothing_is_left(product, chip):
    """With that use in place of the assumed one, `margins` itself leaves nothing; above full use it cannot be had."""
    for each in levers_margins.list_margins(product, "coding", chip):
        if each.break_even <= 1:
            service = levers.served(product, chip).with_inputs(utilisation=each.break_even)
            again = levers.margin(product, service, each.row.valid_from, each.row)
            assert again.share_left == pytest.approx(0, abs=1e-9)
        else:
            service = levers.served(product, chip).with_inputs(utilisation=1.0)
            assert levers.margin(product, service, each.row.valid_from, each.row).share_left < 0
            assert "never" in explore.break_even_use(product, chip=chip).wide
    found = levers_margins.list_margins(product, "coding", chip)
    for each, (low, high) in zip(found, levers_margins.use_spread(product, "coding", chip), strict=True):
        assert low < each.break_even < high


def test_days_are_in_words():
    assert next(iter(explore.LANDING_DAYS)) == "24 April 2026"
    assert levers_landing.LANDING_DAYS["1 June 2026"] == str(prices.LESSON_DAY)
