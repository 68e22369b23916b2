"""The figures of the chapter on prices: drawn whole at both ends of their arguments, and their numbers."""

import dataclasses
import math
import re

import numpy as np
import pytest
from figures import axes_of, check, lines, numbers

from costlab import catalog, explore, prices, roofline
from costlab.explore.prices import SERVED, SHOWN, list_text, loading_usd, price_periods, usd_text

pytestmark = pytest.mark.filterwarnings("error")

ENDS = [
    ("request_life", {}),
    ("request_life", {"product": "qwen-plus"}),
    ("token_costs", {}),
    ("token_costs", {"context": 1024, "full": 0.01}),
    ("token_costs", {"context": 1_048_576, "model": "deepseek-v4-pro"}),
    ("token_costs", {"context": 131_072, "full": 0.5}),
    ("blended_price", {}),
    ("blended_price", {"hit_rate": 0.0}),
    ("blended_price", {"hit_rate": 1.0}),
    ("bill_parts", {}),
    ("bill_parts", {"input_tokens": 0, "output_tokens": 0, "hit_rate": 0.0}),
    ("bill_parts", {"input_tokens": 1_000_000, "output_tokens": 0, "hit_rate": 1.0}),
    ("bill_parts", {"input_tokens": 1, "output_tokens": 100_000, "hit_rate": 0.0}),
    *(
        ("price_steps", {"product": p})
        for p in ("deepseek-v4-pro", "deepseek-v3", "mimo-v2.5-pro", "gpt-5.5", "qwen-plus")
    ),
]


@pytest.mark.parametrize(("name", "arguments"), ENDS, ids=lambda given: given if isinstance(given, str) else "")
def test_drawn_whole(name, arguments):
    check(getattr(explore, name)(**arguments))


@pytest.mark.parametrize(
    ("name", "arguments", "words"),
    [
        ("token_costs", {"context": 0}, "at least 1"),
        ("token_costs", {"full": 0}, "full should be above 0 and at most 1, got 0"),
        ("token_costs", {"model": "deepseek-v3"}, "deepseek-v4-flash"),
        ("token_costs", {"context": 10**9}, "does not fit"),
        ("blended_price", {"hit_rate": 1.5}, "between 0 and 1"),
        ("bill_parts", {"hit_rate": -1}, "between 0 and 1"),
        ("bill_parts", {"input_tokens": -1}, "input_tokens"),
        ("price_steps", {"product": "nope"}, "'nope'"),
    ],
)
def test_bad_input(name, arguments, words):
    with pytest.raises(ValueError, match=words):
        getattr(explore, name)(**arguments)


# --- what sets a price -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("context", "model", "bounds"),
    [
        (32_768, "deepseek-v4-flash", ("compute", "memory")),  # the chapter's table
        (131_072, "deepseek-v4-flash", ("compute", "memory")),
        (8192, "deepseek-v4-flash", ("compute", "compute")),  # so many short sequences fit that memory is no limit
        (32_768, "deepseek-v4-pro", ("link", "link")),  # over network cards
    ],
)
def test_what_sets_the_price_of_a_miss_and_of_an_output_token(context, model, bounds):
    """Read off the roofline of the same deployment: no term is left out for either kind."""
    node = roofline.deployment(model, "h800", SERVED[model])
    batch = node.max_batch(context)
    steps = node.prefill(context, batch=node.replicas), node.decode(batch, context)
    assert tuple(step.bound for step in steps) == bounds
    drawing = explore.token_costs(context, 1.0, model)
    shown_batch, rent, *_ = numbers(drawing)[0], 2.0
    assert shown_batch == batch
    assert numbers(drawing)[1:] == pytest.approx(
        [loading_usd(node.model, context, rent), *(node.usd_per_million(step, rent) for step in steps)]
    )
    bars = [patch.get_width() for patch in axes_of(explore.token_costs, context, 1.0, model).patches]
    terms = [t * node.chips * rent / 3600 / step.tokens * 1e6 for step in steps for t in step.terms.values()]
    assert bars[1:] == pytest.approx(terms)


def test_a_miss_and_an_output_token_cost_the_same_where_the_link_binds_both():
    """V4-Pro on 64 H800s: 61 layers x 6 experts x 7,168 elements, a byte there and two back, 56 of 64 over 50 GB/s."""
    seconds = 61 * 6 * 7168 * 3 * 56 / 64 / 50e9
    miss, output = numbers(explore.token_costs(8192, 0.25, "deepseek-v4-pro"))[2:]
    assert miss == pytest.approx(output)
    assert miss == pytest.approx(seconds * 2 / 3600 * 1e6)
    assert usd_text(miss) == "$0.0765"


def test_a_hit_is_loaded_from_one_drive():
    """V4-Flash at 32K: cache bytes per token over the catalog's SSD, at two dollars an hour."""
    node = roofline.deployment("deepseek-v4-flash", "h800", 8)
    kept = float(node.model.kv_bytes(32_768).total) / 32_768
    assert 3000 < kept < 4000
    expected = kept / catalog.tables().media["ssd"].read_bytes_s * 2 / 3600 * 1e6
    assert numbers(explore.token_costs())[1] == pytest.approx(expected)


def test_request_life_shows_the_list():
    row = prices.price_at("deepseek-v4-pro")
    shown = explore.request_life()
    assert numbers(shown) == [row.hit, row.miss, row.output]
    for amount in (row.hit, row.miss, row.output):
        assert f">{list_text(amount)}</text>" in shown.wide
        assert f">{list_text(amount)}</text>" in shown.narrow


def test_request_life_needs_a_hit_price(monkeypatch):
    without = dataclasses.replace(prices.price_at("deepseek-v4-pro"), hit=None)
    monkeypatch.setattr(prices, "price_at", lambda product: without)
    with pytest.raises(ValueError, match="'deepseek-v4-pro' has no hit price on 2026-06-01"):
        explore.request_life()


# --- bills -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", [0.0, 0.5, 0.9, 1.0])
def test_blended_price_marks_both_lists_of_qwen(rate):
    shown = numbers(explore.blended_price(rate))
    expected = [float(prices.blended_input(prices.price_at(product), rate)) for product in SHOWN]
    yuan = float(prices.blended_input(prices.price_at("qwen-plus", currency="CNY"), rate))
    place = list(SHOWN).index("qwen-plus") + 1
    expected.insert(place, yuan * prices.exchange_rate("CNY", "USD"))
    assert shown == pytest.approx(expected)
    assert prices.price_at("qwen-plus").hit < prices.price_at("qwen-plus").miss  # no hits billed as misses
    for product in SHOWN:
        assert not any("billed as misses" in n for n in prices.bill(product, prices.Workload(10, 1, 0.5)).notes)


def test_blended_price_falls_to_the_hit_price():
    drawn = [line for line in lines(explore.blended_price, 0.9) if len(line[0]) == 101]
    assert len(drawn) == 6
    for x, y in drawn:
        assert (np.diff(y) < 0).all()
        assert (x[0], x[-1]) == (0, 1)


def test_bill_parts_fill_the_bar():
    load = prices.Workload(32_768, 8_192, 0.5)
    bars = axes_of(explore.bill_parts, 32_768, 8_192, 0.5).patches
    assert sum(bar.get_width() for bar in bars) == pytest.approx(len(SHOWN))
    totals = sorted(prices.bill(product, load).total for product in SHOWN)
    assert numbers(explore.bill_parts(32_768, 8_192, 0.5)) == pytest.approx(totals)


def test_bill_parts_say_what_is_not_counted():
    """Anthropic bills what is written to its cache; a call that only hits would have been preceded by a write."""
    assert "Claude Opus 4.8: what hits was written" in explore.bill_parts(1000, 10, 0.5).words.note
    assert "was written" not in explore.bill_parts(1000, 10, 0.0).words.note


def test_a_long_answer_behind_many_hits_is_the_bill():
    """What the chapter says beside the slider, at its defaults."""
    due = prices.bill("deepseek-v4-pro", prices.Workload(32_768, 8_192, 0.9))
    assert due.output / due.total > 0.8


# --- history ---------------------------------------------------------------------------------------------------


def test_price_steps_show_peak_and_off_peak():
    """Since August 2026: a million output tokens cost 1.98 off-peak and 3.96 at peak."""
    shown = explore.price_steps()
    assert numbers(shown) == [0.022, 0.66, 1.98, 0.044, 1.32, 3.96]
    for picture in (shown.wide, shown.narrow):
        assert "$1.98–3.96" in picture
    bands = axes_of(explore.price_steps).collections
    assert len(bands) == 3
    assert sorted(float(band.get_paths()[0].vertices[:, 1].max()) for band in bands) == [0.044, 1.32, 3.96]


def test_price_steps_draw_no_hit_price_where_none_is_listed():
    """Qwen-Plus before 2026-01-29: a line at the miss price would be an invention."""
    first, last = price_periods("qwen-plus")
    assert first.low.hit is None
    assert last.low.hit == 0.08
    drawn = lines(explore.price_steps, "qwen-plus")
    assert sorted(float(y[0]) for _, y in drawn) == [0.08, 0.4, 0.4, 1.2, 1.2]
    assert re.search(
        r"from 28 July 2025 miss \$0.40, output \$1.20; from 29 January", explore.price_steps("qwen-plus").words.alt
    )


def test_price_steps_end_where_the_product_ended():
    for product, words in (
        ("deepseek-v4-flash", "ended on 10 September 2026"),
        ("mimo-v2.5-pro", "ended on 21 October 2026"),
        ("gpt-5.5", "still so on"),
    ):
        assert words in explore.price_steps(product).words.note


@pytest.mark.parametrize(
    ("amount", "words"),
    [
        (0.0, "$0"),
        (0.0036, "$0.0036"),
        (0.14313, "$0.143"),
        (1.1, "$1.10"),
        (3.4, "$3.40"),
        (12.0, "$12"),
        (1234.5, "$1,234"),
        (6e-5, "$0.00006"),
    ],
)
def test_money_for_people(amount, words):
    assert usd_text(amount) == words
    assert math.isclose(float(words.replace("$", "").replace(",", "")), amount, rel_tol=5e-3)
