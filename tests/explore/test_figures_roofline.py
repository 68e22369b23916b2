"""The figures of the chapter on the roofline: drawn whole at both ends of their arguments, and their numbers."""

import re

import numpy as np
import pytest
from figures import axes_of, check, lines, numbers, rises

from costlab import catalog, explore, prices, roofline
from costlab.explore.roofline import list_price

pytestmark = pytest.mark.filterwarnings("error")

ENDS = [
    ("chip_pipes", {}),
    ("chip_pipes", {"model": "llama-2-7b", "chip": "b200", "chips": 1, "batch": 1, "context": 1}),
    ("chip_pipes", {"chip": "ascend-910b", "chips": 64, "batch": 64}),
    ("roofline_chart", {}),
    ("roofline_chart", {"context": 1024}),
    ("roofline_chart", {"context": 1_048_576}),
    ("roofline_chart", {"model": "llama-2-7b", "chip": "ascend-910b", "chips": 1}),
    ("roofline_chart", {"model": "deepseek-v4-pro", "chip": "b200", "context": 65_536}),
    ("batch_curve", {}),
    ("batch_curve", {"context": 1024, "chips": 320}),
    ("batch_curve", {"context": 131_072, "chips": 16}),
    ("batch_curve", {"context": 1, "chips": 1, "model": "llama-2-7b", "chip": "a100-80g"}),
    ("batch_curve", {"model": "deepseek-v4-pro", "chip": "b200", "context": 131_072, "chips": 64}),
    ("batch_curve", {"model": "mimo-v2.5-pro", "chip": "h800", "context": 131_072, "chips": 16}),
    ("published_day", {}),
]


@pytest.mark.parametrize(("name", "arguments"), ENDS, ids=lambda given: given if isinstance(given, str) else "")
def test_drawn_whole(name, arguments):
    check(getattr(explore, name)(**arguments))


@pytest.mark.parametrize(
    ("name", "arguments", "words"),
    [
        ("chip_pipes", {"batch": 100_000}, "at most 19584 would"),
        ("chip_pipes", {"chips": 8}, "does not fit"),
        ("roofline_chart", {"model": "nope"}, "unknown model 'nope'"),
        ("batch_curve", {"context": 0}, "at least 1"),
        ("batch_curve", {"chip": "nope"}, "unknown chip 'nope'"),
        ("batch_curve", {"chip": "ascend-910b"}, "no rent"),
    ],
)
def test_bad_input(name, arguments, words):
    with pytest.raises(ValueError, match=words):
        getattr(explore, name)(**arguments)


def test_pipes_are_as_wide_as_they_are_fast():
    """Height of the pipe from memory over those of the links: 3,350 to 200 to 50 GB/s on an H800."""
    h800 = catalog.chip("h800")
    for picture in (explore.chip_pipes().wide, explore.chip_pipes().narrow):
        heights = [
            float(h) for h in re.findall(r'<rect [^>]*height="([\d.]+)"[^>]*fill="#(?:7D8B2A|4F86C6)"></rect>', picture)
        ]
        pipe, nvlink, network, *_ = heights
        assert pipe / nvlink == pytest.approx(h800.memory_bandwidth_bytes_s / h800.link_bytes_s, rel=1e-3)
        assert pipe / network == pytest.approx(h800.memory_bandwidth_bytes_s / h800.network_bytes_s, rel=1e-3)


def test_pipes_show_the_step():
    step = roofline.deployment("deepseek-v3", "h800", 144).decode(12_672, 4989)
    assert numbers(explore.chip_pipes()) == pytest.approx([12_672, *(seconds * 1e3 for seconds in step.terms.values())])


def test_the_roof_bends_at_the_ridge():
    """1,979 TFLOP/s over 3.35 TB/s: 591 FLOP per byte; no dot lies above the roof."""
    ridge, *reached = numbers(explore.roofline_chart())
    assert ridge == pytest.approx(1979e12 / 3.35e12)
    assert max(reached) <= 1979e12
    axes = axes_of(explore.roofline_chart)
    dots = [line.get_data() for line in axes.lines if line.get_marker() == "o"]
    assert len(dots) == len(reached)
    for (x,), (y,) in dots:
        assert y <= min(x * 3.35, 1979) * (1 + 1e-9)


def test_a_prefill_that_links_hold_back_is_tied_to_the_roof():
    """The prefill dot of V3 on 32 H800s hangs below the roof: a dotted line says how far."""
    drop = [line.get_data() for line in axes_of(explore.roofline_chart).lines if line.get_linestyle() == ":"]
    ((x, _), (low, high)) = drop[0]
    step = roofline.deployment("deepseek-v3", "h800", 32).prefill(4096, batch=32)
    assert step.bound == "link"
    assert high == 1979
    assert x > 1979 / 3.35
    model = roofline.deployment("deepseek-v3", "h800", 32).model
    assert low == pytest.approx(float(model.prefill_flops(4096).total) / step.seconds / 1e12)


def test_roofline_chart_draws_nothing_that_does_not_fit():
    shown = explore.roofline_chart(chips=8)
    assert "no room" in shown.wide
    assert "prefill" not in shown.wide
    assert numbers(shown)[0] == 0


def test_batch_curve_is_the_largest_term_up_to_where_memory_is_full():
    node = roofline.deployment("deepseek-v3", "h800", 32)
    fits = node.max_batch(100_000)
    drawn = [line for line in lines(explore.batch_curve, context=100_000) if len(line[0]) > 2]
    price, *terms = (y for _, y in drawn)
    assert len(terms) == 3
    assert price == pytest.approx(np.max(terms, axis=0))
    assert rises(-price)
    assert {x[-1] for x, _ in drawn} == {fits}
    shown = numbers(explore.batch_curve(context=100_000))
    step = node.decode(fits, 100_000)
    expected = [fits, step.seconds * 1e3, 1 / step.seconds, step.tokens_per_s / 32, node.usd_per_million(step, 2.0)]
    assert shown == pytest.approx(expected)


def test_batch_curve_takes_the_chips_own_rent():
    own, stated = explore.batch_curve(chip="b200"), explore.batch_curve(chip="b200", usd_per_chip_hour=1.0)
    assert numbers(own)[-1] == pytest.approx(numbers(stated)[-1] * prices.chip_rent("b200").amount)
    assert "at $1 a chip-hour" in stated.words.note


def test_batch_curve_says_when_nothing_fits():
    shown = explore.batch_curve(chips=8)
    assert "no room for one sequence" in shown.wide
    assert "no room for one sequence" in shown.narrow
    assert numbers(shown)[:2] == [0, pytest.approx(100.8, abs=0.05)]
    assert "$" not in shown.words.note


def test_the_list_price_is_the_courses_days_or_the_last_full_one():
    assert list_price("deepseek-v4-pro") == 0.87
    assert list_price("deepseek-v3") == 1.1  # ended; its night price is half of that
    assert list_price("llama-2-7b") is None


def test_published_day_stacks_its_terms():
    found = roofline.check_day()
    terms = [seconds * 1e3 for seconds in found.decode_ideal.terms.values()]
    bars = axes_of(explore.published_day).patches
    stacked = [bar for bar in bars if abs(bar.get_y() + bar.get_height() / 2 - 1) < 1e-9]
    assert [bar.get_width() for bar in stacked] == pytest.approx(terms)
    assert [bar.get_x() for bar in stacked] == pytest.approx([0, terms[0], terms[0] + terms[1]])
    assert numbers(explore.published_day()) == pytest.approx([found.decode_step_s * 1e3, sum(terms), max(terms)])
