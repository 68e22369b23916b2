"""Figures of the chapter on mixtures of experts: sound at their ends, and true to `costlab.moe` and the roofline."""

import numpy as np
import pytest
from figures import axes_of, check, lines, numbers, rises

from costlab import explore, moe, prices, roofline
from costlab.explore.moe_diagrams import one_token, visited_grid
from costlab.explore.style import COLOURS

pytestmark = pytest.mark.filterwarnings("error")

V4 = moe.moe_layer("deepseek-v4-pro")


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("experts_touched", {}),
        ("experts_touched", {"batch": 1, "skew": 0.0}),
        ("experts_touched", {"batch": 4096, "skew": 2.0}),
        ("weights_per_token", {}),
        ("weights_per_token", {"model": "mixtral-8x7b", "batch": 4096}),
        ("weights_per_token", {"model": "deepseek-v3", "batch": 1}),
        ("which_limit", {}),
        ("which_limit", {"context": 1024, "chips": 384}),
        ("which_limit", {"context": 131_072, "chips": 32}),
        ("capacity_waste", {}),
        ("capacity_waste", {"factor": 0.25, "skew": 0.0, "tokens": 64}),
        ("capacity_waste", {"factor": 4.0, "skew": 2.0, "tokens": 8192}),
        ("expert_collapse", {"curves": {"free": [0.9, 0.5] * 20, "balanced": [1.0] * 40}}),
        ("expert_collapse", {"curves": {"one": [0.5] * 12}}),
        ("experts_light_up", {}),
        ("experts_light_up", {"batches": (3, 4096)}),
    ],
)
def test_it_is_sound(name, arguments):
    check(getattr(explore, name)(**arguments))


@pytest.mark.parametrize(("batch", "skew"), [(1, 0.0), (64, 0.0), (64, 1.0)])
def test_experts_touched_marks_what_the_formula_says(batch, skew):
    shown = explore.experts_touched(batch, skew)
    if not skew:
        assert numbers(shown)[0] == pytest.approx(1 - (1 - 6 / 384) ** batch)
    assert f"DeepSeek-V4-Pro {numbers(shown)[0]:.1%}" in shown.words.alt
    assert numbers(shown)[-1] == batch
    for line in lines(explore.experts_touched, batch, skew)[:-1:2]:
        assert rises(line[1])


def test_skew_meets_at_fewer_experts():
    assert numbers(explore.experts_touched(64, 1.0))[0] < numbers(explore.experts_touched(64, 0.0))[0] - 0.1


def test_the_grid_shows_the_experts_that_routes_visit():
    routes = moe.router("deepseek-v4-pro").route(np.random.default_rng(0).normal(size=(8, 384)))
    shown = visited_grid(8)
    reached = len(np.unique(routes.experts))
    assert numbers(shown) == pytest.approx([reached, 1 - (1 - 6 / 384) ** 8, 48 / reached])
    assert shown.wide.count(f'fill="{COLOURS["DeepSeek"]}"') == reached + 3  # and three in the key
    assert shown.narrow.count(f'fill="{COLOURS["DeepSeek"]}"') == reached + 3
    assert shown.title == f"8 tokens visit {reached} of 384 experts"


def test_one_token_visits_six_whose_weights_sum_to_the_scale():
    shown = one_token()
    weights = [float(part.split(" ×")[0]) for part in shown.wide.split(">") if " × expert" in part]
    assert len(weights) == 6
    assert sum(weights) == pytest.approx(2.5, abs=0.02)
    assert shown.wide.count(f'fill="{COLOURS["DeepSeek"]}"') == 6


def test_steps_say_how_many_tokens_an_expert_serves():
    shown = explore.experts_light_up((64,))
    reached = int(numbers(shown.steps[1][0])[0])
    assert f"{384 / reached:.2f} tokens" in shown.steps[1][1]
    assert len(shown.steps) == 2


@pytest.mark.parametrize(("context", "chips"), [(8192, 64), (131_072, 32), (1024, 384)])
def test_which_limit_names_the_price_at_the_roofline(context, chips):
    fleet, rent = roofline.deployment("deepseek-v4-pro", "h800", chips), prices.chip_rent("h800").amount
    miss = fleet.prefill(context, batch=chips)
    output = fleet.decode(fleet.max_batch(context), context)
    shown = explore.which_limit(context, chips)
    expected = [fleet.usd_per_million(step, rent) for step in (miss, output)]
    assert numbers(shown) == pytest.approx([*expected, fleet.max_batch(context), chips, context])
    word = {"compute": "arithmetic"}.get(output.bound, output.bound)
    assert f"so {word} sets the price." in shown.words.alt.split("output tokens")[1]


def test_a_miss_and_an_output_token_cost_the_same_on_64_chips():
    """6 x 7,168 x 3 bytes x 61 layers x 56/64 over 50 GB/s, at 2 USD an hour: counted by hand."""
    by_hand = 6 * 7168 * 3 * 61 * 56 / 64 / 50e9 * 2 / 3600 * 1e6
    miss, output, *_ = numbers(explore.which_limit())
    assert (miss, output) == pytest.approx((by_hand, by_hand), rel=1e-9)
    assert f"{by_hand:.4f}" == "0.0765"


def test_weights_per_token_marks_batch_and_one_token():
    shown = explore.weights_per_token("deepseek-v4-pro", 256)
    step, alone = (moe.decode_step("deepseek-v4-pro", batch) for batch in (256, 1))
    expected = [float(step.bytes_per_token) / 1e9, float(step.touched), float(alone.bytes_per_token) / 1e9]
    assert numbers(shown) == pytest.approx(expected)


@pytest.mark.parametrize("factor", [0.0, 0.25, 1.25, 4.0])
def test_capacity_waste_is_what_dispatching_finds(factor):
    routes = moe.sample_routes(1024, 6, moe.zipf_shares(64, 0.5), np.random.default_rng(0))
    done = moe.dispatch_with_capacity(routes, 64, moe.capacity(1024, 64, 6, factor))
    shown = explore.capacity_waste(factor, 0.5, 1024)
    assert numbers(shown) == pytest.approx([done.dropped_share, done.padding_share], abs=1e-12)


def test_equal_courses_share_a_line():
    curves = {"none": [0.9, 0.5] * 20, "article": [0.9, 0.5] * 20, "loss": [1.0] * 40}
    assert len(lines(explore.expert_collapse, curves)) == 2
    assert "none, article 0.70" in repr(explore.expert_collapse(curves))


def test_each_maker_has_its_colour():
    colours = {line.get_color() for line in axes_of(explore.experts_touched).lines}
    assert {COLOURS[maker] for maker in ("DeepSeek", "Xiaomi", "Alibaba", "Mistral")} <= colours


@pytest.mark.parametrize(
    ("name", "arguments", "words"),
    [
        ("experts_touched", {"batch": -1}, "at least 0"),
        ("experts_touched", {"skew": -1.0}, "-1.0"),
        ("weights_per_token", {"model": "llama-2-7b"}, "experts"),
        ("weights_per_token", {"batch": 0}, "at least 1"),
        ("which_limit", {"chips": 16}, "does not fit|not fit"),
        ("capacity_waste", {"factor": -1.0}, "-1.0"),
        ("experts_light_up", {"batches": (2, 0)}, "whole number from 1"),
    ],
)
def test_bad_input(name, arguments, words):
    with pytest.raises(ValueError, match=words):
        getattr(explore, name)(**arguments)
