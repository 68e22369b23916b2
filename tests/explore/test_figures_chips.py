"""Figures of the chapter `chips`: what they show is what the package computes, and what others published."""

import importlib
import json

import figures
import numpy as np
import pytest

from costlab import catalog, chips, explore
from costlab.chips import NoPrice, TokenPrice
from costlab.explore import chips as owning
from costlab.explore import chips_choice, chips_diagrams

KEYS = list(explore.MACHINES.values())


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        *(("owned_hour_parts", {"machine_key": key}) for key in KEYS),
        ("owned_hour_parts", {"life": 1, "interest": 0, "utilisation": 5, "tariff": 0}),
        ("owned_hour_parts", {"machine_key": "h100", "life": 10, "interest": 20, "utilisation": 100, "tariff": 30}),
        ("bought_or_rented", {}),
        ("bought_or_rented", {"rent": 0.5, "life": 1, "interest": 20}),
        ("bought_or_rented", {"rent": 10, "life": 10, "interest": 0}),
        *(("hour_tornado", {"machine_key": key}) for key in KEYS),
        ("two_yields", {}),
        *(("who_wins", {"model": key}) for key in explore.COMPARED_MODELS.values()),
        ("who_wins", {"price": "tender", "reached": "unknown"}),
        ("who_wins", {"price": "dealers"}),
        *(("chip_map", {"model": key, "phase": "prefill"}) for key in explore.COMPARED_MODELS.values()),
        ("chip_map", {}),
        ("chip_map", {"model": "deepseek-v3", "price": "tender", "context": 2048}),
        ("chip_map", {"model": "deepseek-v4-flash", "price": "dealers", "context": 262_144}),
        ("reached_shares", {}),
        ("operator_fates", {}),
        ("operator_fates", {"torch_version": "2.1"}),
        ("fused_layer", {}),
    ],
)
def test_drawn(name, arguments):
    figures.check(getattr(explore, name)(**arguments))


@pytest.mark.parametrize(
    ("name", "arguments", "words"),
    [
        ("owned_hour_parts", {"machine_key": "tpu"}, "unknown machine 'tpu'"),
        ("owned_hour_parts", {"utilisation": 0}, "utilisation = 0 should be from 5"),
        ("owned_hour_parts", {"tariff": 31}, "tariff = 31 should be from 0 to 30"),
        ("bought_or_rented", {"rent": 0}, r"rent = 0 should be from 0\.5"),
        ("hour_tornado", {"machine_key": "b200"}, "unknown machine 'b200'"),
        ("who_wins", {"model": "gpt-2"}, "unknown model 'gpt-2'"),
        ("who_wins", {"price": "guess"}, "unknown price of a 910B 'guess'"),
        ("who_wins", {"reached": "half"}, "unknown share of the roofline 'half'"),
        ("chip_map", {"phase": "training"}, "phase = 'training' should be decode or prefill"),
        ("chip_map", {"context": 1024}, "context = 1,024 should be from 2,048"),
        ("operator_fates", {"torch_version": "1.0"}, "unknown torch version '1.0'"),
    ],
)
def test_bad_input(name, arguments, words):
    with pytest.raises(ValueError, match=words):
        getattr(explore, name)(**arguments)


# --- an owned hour -----------------------------------------------------------------------------------------------


def test_sliders_begin_at_the_machine_s_own_figures():
    """The chapter's table and its figure agree."""
    hour = owning.machine("h20").hourly()
    owned, *parts, used = figures.numbers(explore.owned_hour_parts())
    assert (owned, used) == pytest.approx((hour.owned, hour.used))
    assert parts == pytest.approx(list(hour.parts.values()))
    assert owned == pytest.approx(sum(parts)) == pytest.approx(0.7 * used)


def test_published_amounts_are_marked():
    amounts = [each.amounts["h100-sxm"] for each in catalog.tables().owning.values() if each.kind == "own"]
    marked = [line[0][0] for line in figures.lines(explore.owned_hour_parts, "h100")]
    assert sorted(marked) == sorted(amounts)
    assert not figures.lines(explore.owned_hour_parts, "h20")


def test_a_price_lies_between_its_two_sources():
    """The tender's with 13% tax is CNY 653,113 (facts of the tender); a card is CNY 120,000 (Reuters)."""
    low, middle, high = owning.price_910b().bounds
    assert low == pytest.approx(653_113 / 1.13, rel=1e-6)
    assert high > 8 * 120_000 and middle == pytest.approx((low + high) / 2)
    assert [owning.price_910b(word).bounds for word in ("tender", "dealers")] == [(low,) * 3, (high,) * 3]


def test_bought_curve_meets_the_rent_where_it_is_said():
    fixed, per_use, above = figures.numbers(explore.bought_or_rented(rent=4.0))
    assert fixed / above + per_use == pytest.approx(4.0)
    bought, rented, always, *_ = figures.lines(explore.bought_or_rented, 4.0)
    assert bought[1] == pytest.approx(fixed / bought[0] + per_use)
    assert (rented[1] == 4.0).all() and always[1] == pytest.approx(4.0 / always[0])
    assert len(figures.numbers(explore.bought_or_rented(rent=1.0))) == 2, "never cheaper: no use is named"


@pytest.mark.parametrize("key", KEYS)
def test_swings_are_of_the_machine(key):
    own = owning.machine(key)
    found = owning.swings(key)
    assert [each.width for each in found] == sorted((each.width for each in found), reverse=True)
    use = next(each for each in found if owning.input_words(each.name) == "use")
    low, _, high = own.utilisation.bounds
    ends = [float(own.used_hour({"utilisation": share})) for share in (low, high)]
    assert [use.at_low, use.at_high] == pytest.approx(ends)
    assert all(": " not in owning.input_words(each.name) for each in found), "each input has a readable name"


# --- yields, wins and the map ------------------------------------------------------------------------------------


def test_the_two_yields_pick_different_chips():
    h20_flop, h20_byte, b_flop, b_byte, *_ = figures.numbers(explore.two_yields())
    assert b_flop < h20_flop and h20_byte < b_byte
    assert chips_choice.per_unit("h20", "TB/s-hour").output.value == pytest.approx(4.0)  # data sheet


def test_wins_add_up_and_hang_on_the_price():
    for bought in chips_choice.BOUGHT:
        assert sum(chips_choice.ranking(bought).wins.values()) == pytest.approx(1)
    shares = [chips_choice.ranking("prefill", price).wins["910B2"] for price in explore.PRICES]
    assert shares[1] > shares[0] > shares[2]  # the tender's price is the lowest
    known, unknown = (chips_choice.ranking("decode", reached=reached).wins["H20"] for reached in explore.REACHED)
    assert known > unknown > 0.5


@pytest.mark.parametrize("model", explore.COMPARED_MODELS.values())
@pytest.mark.parametrize("phase", ["prefill", "decode"])
def test_the_ring_has_the_price_of_a_search(model, phase):
    """Cell by cell the map is what `token_price` finds."""
    shown = figures.numbers(explore.chip_map(model, phase))
    found = [chips_choice.phase_price(model, key, phase) for key in chips_choice.COMPARED]
    hours = [float(owning.machine(key).used_hour()) for key in chips_choice.COMPARED]
    assert not any(isinstance(each, NoPrice) for each in found)
    assert shown == pytest.approx(
        [each.per_million * hour for each, hour in zip(found, hours, strict=True) if isinstance(each, TokenPrice)]
    )


def test_mimo_s_phases_choose_different_chips_and_v3_s_do_not():
    def cheapest(model, phase):
        prices = figures.numbers(explore.chip_map(model, phase))
        return int(np.argmin(prices[:2]))  # of H20 and 910B2

    assert [cheapest("mimo-v2-flash", phase) for phase in ("prefill", "decode")] == [1, 0]
    assert [cheapest("deepseek-v3", phase) for phase in ("prefill", "decode")] == [1, 1]


def test_reached_shares_are_the_published_runs():
    runs, low, high = figures.numbers(explore.reached_shares())
    points = [point.share for band in chips.all_bands() for point in band.points]
    assert (runs, low, high) == pytest.approx((len(points), min(points), max(points)))


# --- operators ---------------------------------------------------------------------------------------------------


def test_fates_are_the_catalog_s():
    core = [each for each in catalog.operators().aten.values() if each.core]
    for counts in chips_diagrams.core_routes().values():
        assert sum(counts.values()) == len(core) == 193  # PyTorch's core set
    lost = [counts["the host, or a break"] for counts in chips_diagrams.core_routes("2.1").values()]
    assert lost[0] == sum(each.eager_at("2.1") == "cpu" for each in core)
    assert lost[1] == sum(each.graph in ("refused", "missing") for each in core)


def test_the_drawn_layer_is_whole():
    story = chips_diagrams.fusion_record()["layer"]
    groups = chips_diagrams.fused_groups(story)
    drawn = [name for group in groups for name in group.before]
    assert len(drawn) == sum(not node["view"] for node in story["before"]["nodes"])
    assert len(groups) == sum(not node["view"] for node in story["after"]["nodes"])
    assert {group.pattern for group in groups} - {""} <= chips_diagrams._PATTERNS.keys()
    before, after, fused = figures.numbers(explore.fused_layer())
    assert (before, after, fused) == (len(drawn), len(groups), sum(bool(group.pattern) for group in groups))


def test_the_record_is_what_a_capture_gives(monkeypatch):
    """`tools/record_fusion.py` would store the same again."""
    pytest.importorskip("transformers")
    monkeypatch.syspath_prepend(str(chips_diagrams.FUSION.parents[2] / "tools"))
    made = importlib.import_module("record_fusion").record()
    assert json.loads(json.dumps(made)) == chips_diagrams.fusion_record()
