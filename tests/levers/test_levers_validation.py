"""Costs beside published ones: closed forms of the day, nothing fitted to what it is compared with, and failures."""

import dataclasses

import pytest

from costlab import catalog, chips, levers
from costlab.levers.checked import Check
from costlab.levers.day import runs_of, usual_use
from costlab.levers.validating import SOLD_IN, SURVEYED, SURVEYS

DAY = catalog.tables().days["deepseek-day"]
FOUND = levers.validation()
NAMES = [check.what for check in FOUND.checks]
READ, WROTE = "input tokens of a node that reads", "output tokens of a node that writes"


def day(times=1.0):
    return {check.what.split(": ")[1]: check for check in levers.day_checks(times)}


def test_a_days_request_has_the_published_context():
    """Mean context at an output token is the prompt and half the answer; lengths are in the day's ratio."""
    at = {name: each.value for name, each in levers.day_service().inputs().items()}
    assert at["input"] + at["output"] / 2 == pytest.approx(4989)
    assert at["input"] / at["output"] == pytest.approx(608 / 168)
    assert at["hit rate"] == pytest.approx(342 / 608)
    assert (at["rent"], at["utilisation"]) == (2.0, 1.0)


def test_nodes_and_dollars_follow_from_the_rates():
    found = day()
    nodes = 608e9 / 86400 / found[READ].ours + 168e9 / 86400 / found[WROTE].ours
    assert found["nodes in the mean"].ours == pytest.approx(nodes)
    assert found["cost"].ours == pytest.approx(nodes * 8 * 24 * 2.0)
    assert found["cost, at the use that all costs assume"].ours == pytest.approx(found["cost"].ours / 0.60)


def test_the_published_side_of_the_day():
    """Read at open-infra-index, day 6; its rates and nodes agree with one another."""
    found = day()
    assert found["nodes in the mean"].theirs == 226.75
    assert found["cost"].theirs == 87072
    assert (found[READ].theirs, found[WROTE].theirs) == (73_700, 14_800)
    assert 608e9 / 86400 / found[READ].theirs + 168e9 / 86400 / found[WROTE].theirs == pytest.approx(226.75, rel=1e-3)


def test_the_day_is_predicted_by_other_peoples_runs():
    own = {point.key for point in chips.efficiency_points() if (point.model, point.chip) == (DAY.model, DAY.chip)}
    assert {"deepseek-day", "deepseek-profile-decode", "deepseek-profile-prefill"} <= own == set(runs_of(DAY))
    for check in levers.day_checks():
        assert not any(key in check.fitted for key in own), check.what
    strict = day()[f"{WROTE}, by runs of other models"]
    assert "kimi-k2-decode" in strict.fitted
    assert not any(key in strict.fitted for key in runs_of(DAY, "on any chip"))


def test_usual_use_does_not_reach_to_the_days_own():
    use = levers.service_figures(DAY.model, DAY.chip)["utilisation"]
    assert use.bounds[2] == pytest.approx(DAY.nodes / DAY.nodes_peak, rel=1e-3)
    assert usual_use(use).bounds == pytest.approx((0.4, 0.6, 0.8))


def test_every_check_can_fail():
    """No check holds for costs a hundred times as high and for costs a hundred times as low."""
    dear, cheap = (levers.validation(times).checks for times in (100.0, 0.01))
    for one, other in zip(dear, cheap, strict=True):
        assert not one.ok, one.what
        assert other.ok == (one.rule == "at most"), one.what


def test_costs_three_times_as_high_are_noticed():
    """Of the checks that hold, some of each topic hold no more."""
    held = {check.what for check in FOUND.checks if check.ok}
    failing = {check.what: check.topic for check in levers.validation(3.0).failed if check.what in held}
    assert len(failing) >= 6
    assert set(failing.values()) == {"day", "margin", "host", "owning"}


@pytest.mark.parametrize("at", range(len(NAMES)), ids=NAMES)
def test_what_is_multiplied_scales(at):
    one, two = FOUND.checks[at], levers.validation(2.0).checks[at]
    assert two.ours == pytest.approx(one.ours / 2 if one.unit == "tokens/s" else one.ours * 2)
    assert two.theirs == one.theirs
    assert one.low <= one.high


@pytest.mark.parametrize(("rule", "ours", "ok"), [
    ("inside", 9.0, True), ("inside", 4.0, False), ("at most", 7.0, True), ("at most", 7.1, False),
    ("at least", 7.0, True), ("at least", 6.9, False),
])  # fmt: skip
def test_rules(rule, ours, ok):
    check = Check("day", "a figure", "USD", ours, ours - 2, ours + 2, 7.0, rule, "runs", "the day", "a page", DAY.date)
    assert check.ok is ok
    assert check.factor == pytest.approx(ours / 7)
    assert dataclasses.replace(check, low=1.0, high=2.0).sure


def test_books_are_those_of_the_catalog():
    """Zhipu's cloud business left 24.6% in the first half of 2026, MiniMax 23.3% in nine months of 2025."""
    found = levers.margin_checks()
    assert [check.theirs for check in found] == pytest.approx([0.754, 0.754, 0.767])
    assert all(check.kind == "inference" for check in found)
    assert set(SOLD_IN) <= set(catalog.tables().margins)


def test_the_cheapest_host_is_the_cheapest():
    """Of each kind, by hand from the rows; and hosts are not the maker."""
    rows = [row for row in catalog.tables().prices if row.host_of == "deepseek-v4.1-flash" and row.currency == "USD"]
    found = {
        check.what.split(", ")[1].split(";")[0]: check
        for check in levers.host_checks()
        if check.what.startswith("deepseek-v4.1-flash: a million")
    }
    assert found["hit"].theirs == min(row.hit for row in rows)
    assert found["miss"].theirs == min(row.miss for row in rows) == 0.09
    assert found["output"].theirs == min(row.output for row in rows) == 0.30
    makers = {row.product: row.provider for row in catalog.tables().prices if not row.host_of}
    for product, hosts in levers.hosted().items():
        assert len(hosts) > 1
        assert makers[product] not in {row.provider for row in hosts}


def test_surveys_of_owning():
    """SemiAnalysis, July 2026: an H100 costs a hyperscaler 1.17 and a neocloud 1.55 dollars an hour."""
    found = [check for check in levers.owning_checks() if check.unit == "USD per chip-hour"]
    assert len(found) == len(SURVEYS) * len(SURVEYED)
    assert {check.theirs for check in found if "H100" in check.what} == {1.17, 1.55}


def test_a_table_shows_every_check():
    rows = FOUND.table().rows
    assert [row["what"] for row in rows] == NAMES
    assert [row["what"] for row in rows if row["holds"] == "NO"] == [check.what for check in FOUND.failed]
    assert {row["mark"] for row in rows} == {"fact", "inference"}
    assert len(FOUND.table("day").rows) == len(levers.day_checks())


def test_bad_questions():
    for times in (0, float("inf"), float("nan")):
        with pytest.raises(ValueError, match=f"times = {times} should be above 0"):
            levers.validation(times)
    with pytest.raises(ValueError, match=r"topic.*'night'.*day"):
        FOUND.of("night")
    with pytest.raises(ValueError, match=r"unknown day 'sunday'"):
        levers.day_service("sunday")
    with pytest.raises(ValueError, match=r"unknown day 'sunday'"):
        levers.day_checks(key="sunday")
