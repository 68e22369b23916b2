"""What owning chips costs, and published runs: units, ranges, and sources that disagree left side by side."""

import dataclasses
from datetime import date

import pytest

from costlab import catalog
from costlab.catalog import COST_UNITS, CostFigure, FrozenDict, Offer, PublishedOwning, PublishedRun

TABLES = catalog.tables()
CHIPS, COSTS, OWNING, RUNS = TABLES.chips, TABLES.costs, TABLES.owning, TABLES.runs
OFFERS = [(key, offer) for key, chip in CHIPS.items() for offer in chip.offers]
DAY = date(2026, 1, 1)


def of(what, **fields):
    """The figures of one kind, by key."""
    known = {key: figure for key, figure in COSTS.items() if figure.what == what}
    return {k: f for k, f in known.items() if all(getattr(f, name) == wanted for name, wanted in fields.items())}


# --- offers ----------------------------------------------------------------------------------------------------


def test_two_prices_of_one_supernode_stand_side_by_side():
    """USD 8.2M (capacitymedia, July 2025) against CNY 150M (udn, February 2026) for a CloudMatrix-384: 2.5 times."""
    low, high = (o for o in CHIPS["ascend-910c"].offers if o.unit == "supernode")
    assert low.per_chip == pytest.approx(21_354, abs=0.5)
    assert high.per_chip == 390_625
    usd = high.per_chip * catalog.exchange_rate("CNY", "USD", high.date)
    assert usd / low.per_chip == pytest.approx(2.6, abs=0.1)


def test_a_tender_contains_its_tax_and_says_of_how_many_it_knows():
    (tender,) = (o for _, o in OFFERS if o.kind == "tender")
    assert tender.amount == pytest.approx(3.4517e9 / 5285, rel=1e-5)
    assert tender.net_amount == pytest.approx(tender.amount / 1.13)
    assert tender.per_chip is None


@pytest.mark.parametrize(("key", "offer"), OFFERS)
def test_offers_are_whole(key, offer):
    assert offer.currency in ("USD", "CNY")
    assert (offer.kind == "rent") == (offer.unit == "chip-hour")
    if offer.unit in ("module", "server"):
        assert offer.chips in (8, None)
    if offer.unit == "supernode":
        assert offer.chips == CHIPS[key].chips_per_node
    if "without source" in offer.source or "dealer" in offer.source:
        assert offer.confidence == "low"


def test_prices_of_one_thing_lie_within_what_makes_sense():
    """A chip bought alone or by the server: from 10,000 to 60,000 dollars, whatever the source and the day."""
    for key, offer in OFFERS:
        if offer.unit != "chip-hour" and offer.per_chip and offer.kind != "claim-price":
            usd = offer.per_chip * catalog.exchange_rate(offer.currency, "USD", offer.date)
            assert 10_000 < usd < 60_000, (key, offer)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"amount": 0.0}, "no placeholders"),
        ({"amount": -3.0}, "should be above 0"),
        ({"low": 20.0}, "low = 20"),
        ({"high": 5.0}, "high = 5"),
        ({"chips": 0}, "chips = 0"),
        ({"vat": 13.0}, "such as 0.13"),
    ],
)
def test_bad_offers_are_refused(change, words):
    good = Offer("price", 10.0, "USD", "server", DAY, "somewhere", chips=8)
    assert good.per_chip == 1.25
    with pytest.raises(ValueError, match=words):
        dataclasses.replace(good, **change)


# --- supply ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "day", "buyable"),
    [
        ("a100-80g", date(2026, 6, 1), False),  # article E's day, when its A100 had not been sold there for years
        ("h20", date(2024, 6, 1), True),
        ("h20", date(2025, 5, 1), False),
        ("h20", date(2025, 8, 1), True),
        ("h20", date(2026, 6, 1), False),
        ("ascend-910b", date(2026, 6, 1), True),
        ("ascend-950dt", date(2026, 6, 1), False),
    ],
)
def test_what_a_chinese_buyer_may_order(key, day, buyable):
    assert CHIPS[key].buyable("China", day).buyable is buyable


def test_of_other_places_and_times_nothing_is_said():
    assert CHIPS["h20"].buyable("China", date(2023, 1, 1)) is None
    assert CHIPS["h20"].buyable("US", date(2026, 1, 1)) is None


# --- costs -----------------------------------------------------------------------------------------------------


def test_every_kind_of_cost_has_a_figure_in_its_unit():
    assert {figure.what for figure in COSTS.values()} == COST_UNITS.keys()
    for key, figure in COSTS.items():
        assert figure.unit in COST_UNITS[figure.what], key
        assert figure.chip is None or figure.chip in CHIPS, key
        assert figure.maker is None or figure.maker in {chip.maker for chip in CHIPS.values()}, key
        if figure.unit == "share" or figure.unit.startswith("share"):
            assert 0 <= figure.value <= 1, key


@pytest.mark.parametrize(
    ("key", "value"),
    [  # divided again from what the sources print
        ("failures-h100", 148 / 16_384 * 365 / 54),
        ("network-share", (1.728 + 2.621) / 39.7),
        ("price-training-server", 19.1e9 / 7994),
        ("price-cuda-like-server", 1.687e9 / 2214),
        ("decline-epoch", 1 - 10**-0.14),
        ("tariff-china-domestic", 0.056 * catalog.exchange_rate("USD", "CNY", date(2025, 11, 1))),
    ],
)
def test_divided_figures_are_the_divisions(key, value):
    assert COSTS[key].value == pytest.approx(value, rel=0.02 if "tariff" in key or "decline" in key else 1e-3)


def test_what_is_particular_says_so():
    """A tariff for domestic chips alone, interest by country, residuals by age that fall."""
    assert COSTS["tariff-china-domestic"].maker == "Huawei"
    assert {figure.place for figure in of("interest").values()} == {"US", "China"}
    by_age = sorted((f.after_years, f.value) for f in of("residual").values())
    assert by_age == [(1, 0.78), (2, 0.6), (3, 0.46), (4, 0.35)]
    assert sorted({f.value for f in of("life").values()}) == [4, 5, 5.5, 6]


def test_launches_cost_what_huaweis_model_has():
    """StaticCost of ATLAS_800: 5, 2 and 10 microseconds."""
    found = {figure.part: figure.value * 1e6 for figure in of("launch").values()}
    assert found == pytest.approx({"matrix": 5, "vector": 2, "collective": 10})
    assert {f.part: f.value for f in of("efficiency").values()} == {"compute": 0.7, "memory": 0.6, "link": 0.7}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"unit": "EUR"}, r"unit = 'EUR' should be per kWh"),
        ({"currency": None}, "money alone has one"),
        ({"value": 0.5}, "high = 0.2"),
        ({"what": "pue"}, "should be ratio"),
    ],
)
def test_bad_figures_are_refused(change, words):
    good = CostFigure("tariff", "power", 0.1, "per kWh", "here", DAY, low=0.1, high=0.2, currency="USD")
    with pytest.raises(ValueError, match=words):
        dataclasses.replace(good, **change)


# --- owning ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "h100", "h200", "b200", "gb200", "mi300x"),
    [  # USD for a chip-hour, typed again from InferenceX's constants of July and April 2026
        ("july-2026-hyperscaler", 1.17, 1.22, 1.73, 1.86, 0.95),
        ("july-2026-retail", 2.00, 2.90, 3.70, 4.00, 1.30),
        ("july-2026-neocloud", 1.55, 1.59, 2.07, 2.26, 1.16),
        ("april-2026-hyperscaler", 1.30, 1.41, 1.95, 2.21, 1.12),
        ("april-2026-neocloud", 1.69, 1.74, 2.34, 2.75, 1.40),
        ("april-2026-three-years", 1.30, 1.60, 2.90, 3.30, 1.55),
    ],
)
def test_published_owning(key, h100, h200, b200, gb200, mi300x):
    amounts = OWNING[key].amounts
    names = ("h100-sxm", "h200", "b200", "gb200", "mi300x")
    assert [amounts[name] for name in names] == [h100, h200, b200, gb200, mi300x]
    assert amounts.keys() <= CHIPS.keys()
    assert OWNING[key].chip_kw.keys() <= amounts.keys()


def test_owning_costs_less_at_a_hyperscaler_and_less_than_renting():
    for month in ("july", "april"):
        large, small = (OWNING[f"{month}-2026-{buyer}"].amounts for buyer in ("hyperscaler", "neocloud"))
        assert all(large[chip] < small[chip] for chip in large)
    retail = OWNING["july-2026-retail"].amounts
    assert all(amount < retail[chip] for chip, amount in OWNING["july-2026-hyperscaler"].amounts.items())


def test_power_of_machines_is_above_the_chips_and_below_the_rooms():
    machines, utility = (OWNING[f"{month}-2026-hyperscaler"] for month in ("july", "april"))
    assert (machines.kw_of, utility.kw_of) == ("machines", "utility")
    for chip, kw in utility.chip_kw.items():
        assert CHIPS[chip].power_w / 1000 < machines.chip_kw[chip] < kw


def test_a_placeholder_among_owning_costs_is_refused():
    good = OWNING["july-2026-hyperscaler"]
    with pytest.raises(ValueError, match="no placeholders"):
        dataclasses.replace(good, amounts=FrozenDict({"h100-sxm": 0.0}))
    with pytest.raises(ValueError, match="should say what chip_kw"):
        dataclasses.replace(good, kw_of=None)
    assert isinstance(good, PublishedOwning)


# --- runs ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", list(RUNS))
def test_runs_are_of_known_models_and_print_their_own_division(key):
    """Tokens per second = batch / time of a token / packages; the sources round to a token."""
    run = RUNS[key]
    assert run.model in TABLES.models
    assert run.chip in CHIPS
    assert {run.weights, run.math, run.cache} <= catalog.DTYPE_BYTES.keys()
    if run.computed_tokens_s_chip is not None:
        assert run.computed_tokens_s_chip == pytest.approx(run.tokens_s_chip, rel=0.005, abs=0.5)


@pytest.mark.parametrize(
    ("key", "chips", "batch", "context", "ms", "tokens_s", "drafted", "accepted"),
    [  # typed again from cann-recipes-infer's tables
        ("r1-910c", 64, 6144, 4096, 44.9, 2138, 1, 0.7),
        ("v32-910c-512-128k", 64, 512, 131072, 25.8, 310, 3, 1.44),
        ("v4-flash-910c-8192", 64, 8192, 8192, 29.17, 4388, 1, 0.7),
        ("v4-flash-950dt-2880-8k", 16, 2880, 8192, 25.54, 7047.44, 1, 0.7),
        ("v4-flash-950dt-64-1024k", 16, 64, 1048576, 9.46, 422.88, 3, 1.44),
        ("v4-pro-950dt-3072-8k", 64, 3072, 8192, 27.79, 1727.24, 1, 0.7),
    ],
)
def test_runs_say_what_was_printed(key, chips, batch, context, ms, tokens_s, drafted, accepted):
    run = RUNS[key]
    assert (run.chips, run.batch, run.context) == (chips, batch, context)
    assert run.step_s == pytest.approx(ms / 1e3)
    assert (run.tokens_s_chip, run.drafted, run.accepted) == (tokens_s, drafted, accepted)


def test_bad_runs_are_refused():
    good = RUNS["r1-910c"]
    assert isinstance(good, PublishedRun)
    with pytest.raises(ValueError, match="accepted = 2"):
        dataclasses.replace(good, accepted=2.0)
    with pytest.raises(ValueError, match="chips = 0"):
        dataclasses.replace(good, chips=0)
