"""The figures of a service: each of the unit that it is read in, from the entries that its source names."""

import math
import statistics

import pytest

from costlab import catalog, chips, levers
from costlab.levers import INPUTS
from costlab.levers.services import INPUT_LIMITS

TABLES = catalog.tables()
RENTED = [key for key, chip in TABLES.chips.items() if chip.maker == "NVIDIA"]


@pytest.mark.parametrize("traffic", list(TABLES.traffic))
@pytest.mark.parametrize("chip", RENTED)
def test_every_figure_has_its_unit_and_a_source(chip, traffic):
    found = levers.service_figures("deepseek-v4-pro", chip, traffic)
    assert list(found) and found.keys() == INPUTS.keys()
    for name, each in found.items():
        assert each.unit == INPUTS[name] and each.source and each.date
        least, most = INPUT_LIMITS.get(name, (0.0, math.inf))
        assert least <= each.bounds[0] and each.bounds[2] <= most


def test_the_catalogs_figures_are_of_a_service():
    for name, each in TABLES.lever_figures.items():
        assert INPUTS[each.input] == each.unit, name
    on = [each.input for each in TABLES.lever_figures.values() if not each.off]
    assert len(on) == len(set(on))
    off = [each.input for each in TABLES.lever_figures.values() if each.off]
    assert sorted([*off, "rent"]) == sorted(levers.before_levers("a100-80g"))


@pytest.mark.parametrize("chip", RENTED)
def test_a_rent_lies_among_the_published_hours(chip):
    """The median of the costs and rents in the catalog, and never above the dearest of them."""
    found = levers.rent(chip)
    like = {"h800": "h100-sxm", "h20": "h100-sxm", "h20-141": "h200"}.get(chip, chip)
    owned = [each.amounts[like] for each in TABLES.owning.values() if like in each.amounts]
    offers = [o for o in TABLES.chips[like].offers if (o.kind, o.unit, o.currency) == ("rent", "chip-hour", "USD")]
    hours = [*owned, *(offer.amount for offer in offers)]
    assert found.value == pytest.approx(statistics.median(hours))
    assert found.bounds[0] == min(hours) and found.value <= found.bounds[2] <= max(hours)
    assert {each.currency for each in TABLES.owning.values()} == {"USD"}


def test_a_share_is_that_of_the_runs_which_may_count():
    runs = [p for p in chips.efficiency_points() if p.phase == "decode" and TABLES.chips[p.chip].maker == "NVIDIA"]
    runs = [p for p in runs if p.share <= 1]
    found = levers.share_reached("h20", "decode")
    assert found.value == pytest.approx(statistics.geometric_mean(p.share for p in runs))
    assert found.bounds[::2] == (min(p.share for p in runs), max(p.share for p in runs))
    first = max(runs, key=lambda p: p.share)
    left = levers.share_reached("h20", "decode", [first.key])
    assert left.value < found.value and first.key not in left.source
    with pytest.raises(ValueError, match="no published decode run on a chip of NVIDIA is left"):
        levers.share_reached("h20", "decode", [p.key for p in runs])


def test_tokens_of_a_round_are_those_measured_of_the_model():
    own = levers.round_tokens("deepseek-v4-pro")
    curves = [c for c in TABLES.curves.values() if c.model == "deepseek-v4-pro" and c.drafter == "MTP"]
    lengths = [c.accepted_lengths[c.draft_lengths.index(1)] for c in curves if 1 in c.draft_lengths]
    assert own.value == pytest.approx(statistics.median(lengths))
    assert own.bounds[::2] == (min(lengths), max(lengths))
    assert levers.round_tokens("deepseek-v4-pro", 0).value == 1
    assert levers.round_tokens("mixtral-8x7b").source != own.source  # of others, where a model has none
    for drafted in (-1, 0.5, True):
        with pytest.raises(ValueError, match="drafted"):
            levers.round_tokens("deepseek-v4-pro", drafted)


def test_a_figure_of_the_catalog_is_checked_as_it_is_read():
    from datetime import date

    plain = {"input": "kept", "says": "a test", "value": 1.0, "unit": "hours", "source": "a test", "date": date.min}
    assert catalog.levers.LeverFigure(**plain).value == 1
    with pytest.raises(ValueError, match="value"):
        catalog.levers.LeverFigure(**{**plain, "low": 2.0, "high": 3.0})
    request = {"says": "a test", "input": 10, "hit_rate": 0.5, "output": 1, "source": "a test", "date": date.min}
    for name, value in (("input", 0), ("output", 0), ("hit_rate", 1.0), ("hit_rate", -0.1)):
        with pytest.raises(ValueError, match=name):
            catalog.levers.TrafficKind(**{**request, name: value})
