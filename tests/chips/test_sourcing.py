"""Purchases and rents out of the catalog: which figure stands for each input, and in which range."""

from datetime import date
from statistics import median

import numpy as np
import pytest
from chips.purchases import figure

from costlab import catalog
from costlab.chips import Contender, buy_or_rent, cost_figure, ownership, rank, rental, tornado
from costlab.chips.figures import YEAR, day_rate, offers_on, residual_after

DAY = date(2026, 6, 1)


def owned(chip="h100-sxm", place="US", currency="USD", **instead):
    return ownership(chip, place, DAY, currency, **({"utilisation": 0.8} | instead))


def costs(what, **fields):
    return [
        each
        for each in catalog.tables().costs.values()
        if each.what == what and all(getattr(each, name) == value for name, value in fields.items())
    ]


def test_the_published_check_out_of_the_catalog():
    """Price, network, power and room are catalogued; with the check's other inputs the cost is the published one."""
    given = {
        "life": 4, "residual": 0, "interest": 0.09, "load_w": 10_200, "idle_w": 0, "pue": 1.3, "tariff": 0.09,
        "maintenance": 0.03, "room": 184, "network": 0.11,
    }  # fmt: skip
    found = owned(**given)
    assert found.price.value == 310_000
    assert found.rated_w.value == 10_200
    assert found.hourly().owned == pytest.approx(2.0890, abs=5e-5)


def bounds(found):
    """The cost of an owned hour with all inputs at their cheapest, and with all at their dearest."""
    cheap = {name: each.bounds[2 if name in ("life", "residual") else 0] for name, each in found.inputs().items()}
    dear = {name: each.bounds[0 if name in ("life", "residual") else 2] for name, each in found.inputs().items()}
    return float(found.owned_hour(cheap)), float(found.owned_hour(dear))


@pytest.mark.parametrize("chip", ["h100-sxm", "h200", "b200"])
@pytest.mark.parametrize(("buyer", "given"), [("neocloud", {}), ("hyperscaler", {"room": 0})])
def test_a_survey_of_owning_lies_within_the_ranges(chip, buyer, given):
    """Clouds that rent out chips pay for rooms; the largest own theirs."""
    rows = [row for row in catalog.tables().owning.values() if row.kind == "own" and row.buyer == buyer]
    least, most = bounds(owned(chip, **given))
    assert rows
    assert all(least < row.amounts[chip] < most for row in rows)


def test_each_input_has_a_source_and_its_day_is_not_after_the_purchase():
    for name, each in owned().inputs().items():
        assert each.source
        assert each.date is None or each.date <= DAY, name


def test_a_tariff_of_a_place_and_a_maker():
    china, own = (owned(chip, "China", "CNY", chips=8).tariff for chip in ("h20", "ascend-910b"))
    assert own.value == costs("tariff", place="China", maker="Huawei")[0].value
    assert china.value == costs("tariff", place="China", maker=None)[0].value
    assert owned().tariff.value == costs("tariff", place="US")[0].value
    assert len({china.key, own.key, owned().tariff.key}) == 3


def test_several_companies_are_a_median_and_a_range():
    chip = catalog.chip("h100-sxm")
    life = cost_figure("life", chip, "h100-sxm", "US", DAY)
    latest = {each.part: each for each in sorted(costs("life"), key=lambda each: each.date) if each.date <= DAY}
    assert life.value == median(each.value for each in latest.values())
    assert life.bounds[0] == min(each.low or each.value for each in costs("life"))
    assert cost_figure("nothing", chip, "h100-sxm", "US", DAY) is None


def test_a_figure_of_elsewhere_says_so():
    room = owned("h20", "China", "CNY").room
    assert room.currency == "USD"
    assert "no figure of China is catalogued" in room.source
    assert "no figure" not in owned().room.source


def test_sources_that_disagree_are_a_range():
    """A supernode of 384: 8.2 million dollars, and 150 million yuan."""
    price = owned("ascend-910c", "China", "CNY").price
    assert price.bounds[2] == 150e6
    assert price.bounds[0] == pytest.approx(8.2e6 * catalog.exchange_rate("USD", "CNY", DAY))
    assert price.value == pytest.approx((price.bounds[0] + price.bounds[2]) / 2)
    whole = owned("ascend-910c", "China", "CNY")
    assert (whole.chips, whole.rated_w.value) == (384, 559_000)
    assert whole.network.value == whole.host.value == 0  # the price holds both


def test_the_tender_counts_where_its_chips_are_said():
    """It names no chips to a server; a reader who says 8 gets its price, with the tax that it contains."""
    tender = owned("ascend-910b", "China", "CNY", chips=8)
    assert tender.price.value == pytest.approx(653_113, abs=1)
    assert tender.vat.value == 0.13
    assert not any("assumed" in note for note in tender.notes)


def test_a_tender_that_does_not_say_its_chips_is_one_end_of_a_range():
    """Eight are assumed; the other end are cards of 2024 with what H20 servers add to theirs, 59% to 71%."""
    found = owned("ascend-910b", "China", "CNY")
    assert found.chips == 8 and found.host.value == 0 and found.vat.value == 0.13
    assert found.price.bounds[0] == 653_113
    rate = catalog.exchange_rate("USD", "CNY", date(2024, 7, 1))
    host = [1_400_000 / (8 * 110_000), 1_200_000 / (8 * 12_000 * rate)]
    net = [each / 1.13 for each in found.price.bounds]
    assert net[2] == pytest.approx(960_000 * max(host))
    assert net[1] == pytest.approx((653_113 / 1.13 + 960_000 * sum(host) / 2) / 2)
    assert "8 are assumed" in found.notes[1] and "120,000" not in found.notes[1]
    assert "for a chip, with the rest of a server" in found.price.source
    cards = owned("ascend-910b", "China", "CNY", unit="chip")
    assert cards.price.value == 960_000 and cards.host.is_range and len(cards.notes) == 2
    assert "The price is of 2024-02-01" in cards.notes[1]


def test_one_new_price_does_not_shut_out_older_ones():
    """Two servers with H20s: 1.4 million in February 2024, and 1.2 million in July, which alone is within two years."""
    price = owned("h20", "China", "CNY").price
    assert price.bounds == (1.2e6, 1.3e6, 1.4e6)
    offers = [each for each in catalog.chip("h20").offers if each.unit == "server"]
    assert [len(offers_on(offers, DAY, 2 * YEAR, least)) for least in (1, 2, 3)] == [1, 2, 2]


def test_a_tax_that_is_not_named_may_be_contained():
    assert owned("h20", "China", "CNY").vat.bounds == (0.0, 0.0, 0.13)
    assert "up to 13% may be contained" in owned("h20", "China", "CNY").vat.source
    assert owned().vat.bounds == (0.0, 0.0, 0.0)


def test_what_is_drawn_has_the_range_of_what_is_rated():
    found = owned("h20", "China", "CNY")
    assert found.load_w.bounds == pytest.approx(
        [a * b for a, b in zip(found.rated_w.bounds, (0.76, 0.76, 0.82), strict=True)]
    )
    assert found.rated_w.is_range
    assert owned().load_w.bounds == pytest.approx((0.76 * 10_200, 0.76 * 10_200, 0.82 * 10_200))


def test_a_place_may_be_written_small():
    small, large = (owned("h20", place, "CNY") for place in ("china", "China"))
    assert small == large and small.notes[0] == catalog.chip("h20").buyable("China", DAY).says


def test_amounts_of_several_places_come_into_one_currency():
    """No salary of Japan is catalogued: China's and that of the US stand for it, neither in the other's number."""
    day = date(2026, 10, 1)
    rate = catalog.exchange_rate("CNY", "USD", day)
    found = cost_figure("salary", catalog.chip("h20"), "h20", "Japan", day)
    assert {each.currency for each in costs("salary")} == {"CNY", "USD"} and found.currency == "USD"
    assert found.bounds[2] == max(each.high for each in costs("salary", currency="USD"))
    assert found.bounds[0] == pytest.approx(min(each.low for each in costs("salary", currency="CNY")) * rate)
    assert "no figure of Japan is catalogued" in found.source


def test_second_hand_chips():
    used = owned("h100-sxm", kinds=("used",))
    assert used.price.bounds[0] == 8 * 22_000
    with pytest.raises(ValueError, match="the catalog has no price for Huawei Ascend 910B2 in China"):
        owned("ascend-910b", "China", kinds=("used",))


@pytest.mark.parametrize("day", [date(2020, 1, 1), date(2025, 1, 1), date(2026, 10, 1), date(2030, 1, 1)])
def test_any_day_has_offers(day):
    offers = catalog.chip("h100-sxm").offers
    found = offers_on(offers, day)
    assert found
    early = [each for each in offers if each.date <= day]
    assert set(map(id, found)) <= set(map(id, early or offers))
    if day.year == 2020:
        assert "later ones stand for it" in ownership("h100-sxm", "US", day, "USD", utilisation=0.5).notes[1]


def test_a_conversion_says_its_day():
    found = owned("h20", "China", "USD")
    rate = found.inputs()["CNY to USD"]
    assert rate.date <= DAY
    assert rate.value == pytest.approx(catalog.exchange_rate("CNY", "USD", DAY))
    rows = [row for row in catalog.tables().fx if (row.base, row.quote) == ("USD", "CNY")]
    market = [row for row in rows if not row.claim and not row.implied]
    year = [1 / row.rate for row in market if date(2025, 6, 1) < row.date <= DAY]
    assert rate.bounds == (min(year), rate.value, max(year))
    assert any(1 / row.rate < rate.bounds[0] for row in market)  # earlier ones, which do not count
    assert day_rate("EUR", "CNY", DAY).value == pytest.approx(catalog.exchange_rate("EUR", "CNY", DAY))
    yuan = owned("h20", "China", "CNY").hourly().capital
    assert found.hourly().capital == pytest.approx(yuan * rate.value)


def test_a_residual_follows_the_life():
    curve = {each.after_years: each.value for each in costs("residual")}
    for years in (3.0, 4.0):
        assert owned(life=years).residual.bounds == (0.0, 0.0, curve[years])
    between = residual_after(figure(3.5), "h100-sxm", DAY).bounds[2]
    assert between == pytest.approx((curve[3.0] + curve[4.0]) / 2)
    falling = owned(method="exponential")
    assert falling.decline.value == costs("decline")[0].value


def test_supply_is_told():
    assert owned("h100-sxm", "China", "CNY").notes[0] == catalog.chip("h100-sxm").buyable("China", DAY).says
    assert "does not say whether" in owned().notes[0]


def test_what_is_missing_must_be_given():
    with pytest.raises(ValueError, match=r"no idle_w and no load_w .*for Huawei Ascend 910B3 in China: should be"):
        owned("ascend-910b3", "China")
    given = owned("ascend-910b3", "China", "CNY", price=720_000, rated_w=5600, load_w=4200, idle_w=800)
    assert given.chips == 8
    assert given.host.value == 0
    with pytest.raises(ValueError, match="unknown chip 'h1000'"):
        owned("h1000")
    with pytest.raises(ValueError, match="placeholder"):
        owned(price=0.01)
    with pytest.raises(ValueError, match="utilisation = 0"):
        owned(utilisation=0)
    with pytest.raises(TypeError, match="utilization"):
        owned(utilization=0.8)


def test_rents():
    found = rental("h100-sxm", "US", DAY, "USD", paid="always", utilisation=0.5)
    rents = [o for o in catalog.chip("h100-sxm").offers if o.kind == "rent" and o.date <= DAY]
    year = [o.amount for o in rents if (DAY - o.date).days < 365]
    assert found.rent.value == median(year)
    assert float(found.used_hour()) == pytest.approx(2 * found.rent.value)
    with pytest.raises(ValueError, match="no rent of Huawei Ascend 910B2 is catalogued: should be given"):
        rental("ascend-910b", "China", DAY, "CNY")
    assert rental("ascend-910b", "China", DAY, "CNY", rent=6.0).rent.value == 6.0
    assert buy_or_rent(owned(), found).buy_above > 0


def test_ranges_reach_the_ranking():
    """Prefill by arithmetic: figures that both chips share are drawn once, prices each for itself."""
    both = [
        Contender(owned(key, "China", "CNY", chips=8, name=key), figure(rate, unit="PFLOP-hours"))
        for key, rate in (("ascend-910b", 0.7), ("h20", 0.296))
    ]
    found = rank(both, np.random.default_rng(0), 2000)
    assert found.wins["ascend-910b"] > 0.9
    names = {swing.name for swing in tornado(*both)}
    assert {"life", "residual", "interest, China"} <= names
    assert not any(name.startswith("h20: life") for name in names)
