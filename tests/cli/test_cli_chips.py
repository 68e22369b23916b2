"""The verb chips: its numbers are the package's, every answer prints what it rests on, bad input ends with status 2."""

import json
import warnings

import pytest
from effort import examples
from hypothesis import HealthCheck, settings
from hypothesis import given as each_of
from hypothesis import strategies as st

from costlab import catalog, chips

OWN = (
    "--price h800=2.8e5USD/8 --price ascend-910b=1e5/8 --life 4 --interest 0.06:0.08:0.1 --tariff 0.09 --pue 1.3 "
    "--maintenance 0.03 --room 100 --network 0.1 --vat 0"
)
TWO = f"chips ascend-910b h800 {OWN}"


@pytest.fixture
def rows(document):
    """A function that gives the rows of a command's JSON by chip."""
    return lambda line, status=0: {row["chip"]: row for row in document(line, status)["rows"]}


def given(**changes):
    """The H800 of `OWN` as the package reckons it."""
    figures = {"life": 4.0, "interest": 0.08, "tariff": 0.09, "pue": 1.3, "maintenance": 0.03, "room": 100.0}
    figures |= {"network": 0.1, "host": 0.0, "vat": 0.0, "price": 280_000.0, "chips": 8, **changes}
    use = figures.pop("utilisation", 0.7)
    return chips.ownership("h800", "China", catalog.LESSON_DAY, "USD", utilisation=use, **figures)


def test_an_hour_is_the_packages(rows):
    row = rows(TWO)["h800"]
    hour = given().hourly()
    assert row["used_hour_amount"] == pytest.approx(hour.used)
    assert row["owned_hour_amount"] == pytest.approx(hour.owned) == pytest.approx(0.7 * hour.used)
    parts = [row[f"{part}_hour_amount"] for part in ("capital", "interest", "energy", "maintenance", "room")]
    assert sum(parts) == pytest.approx(row["owned_hour_amount"])
    assert row["price_amount"] == 35_000
    chip = catalog.chip("h800")
    assert row["pflop_hour_amount"] == row["cost_amount"] == pytest.approx(hour.used / (chip.flops["bf16"] / 1e15))
    assert row["tb_s_hour_amount"] == pytest.approx(hour.used / (chip.memory_bandwidth_bytes_s / 1e12))
    assert row["gb_hour_amount"] == pytest.approx(hour.used / (chip.memory_bytes / 1e9))


@pytest.mark.parametrize(
    ("by", "key"),
    [("chip-hour", "used_hour_amount"), ("tb-s-hour", "tb_s_hour_amount"), ("gb-hour", "gb_hour_amount")],
)
def test_chips_are_ranked_by_what_is_asked(document, by, key):
    found = document(f"{TWO} --by {by}")["rows"]
    costs = [row["cost_amount"] for row in found]
    assert costs == sorted(costs) == [row[key] for row in found]
    assert {row["work"] for row in found} == {by}


def test_ranges_go_through_to_the_ranking(rows):
    found = rows(f"{TWO} --price h800=1e5:2.8e5:4e5/8 --by tb-s-hour")
    assert sum(row["win_share"] for row in found.values()) == pytest.approx(1)
    assert 0 < found["h800"]["win_share"] < 1
    for row in found.values():
        assert row["low_cost_amount"] < row["cost_amount"] < row["high_cost_amount"]
    assert rows(f"{TWO} --price h800=1e5:2.8e5:4e5/8 --by tb-s-hour") == found  # the same seed
    assert rows(f"{TWO} --price h800=1e5:2.8e5:4e5/8 --by tb-s-hour --seed 1") != found


def test_a_tie_is_a_tie(rows):
    """At the price for a tie both cost the same."""
    before = rows(TWO)
    price = before["ascend-910b"]["tie_price_amount"]
    after = rows(f"{TWO.replace('ascend-910b=1e5/8', f'ascend-910b={price}/1')}")
    assert after["ascend-910b"]["price_amount"] == pytest.approx(price)
    assert after["ascend-910b"]["cost_amount"] == pytest.approx(after["h800"]["cost_amount"])


def test_buying_beats_renting_above_a_use(rows):
    row = rows(f"{TWO} --rent h800=2")["h800"]
    at = row["buy_above"]
    assert row["rent_amount"] == 2 and 0 < at < 1
    assert rows(f"{TWO} --rent h800=2 --utilisation {at}")["h800"]["used_hour_amount"] == pytest.approx(2)


def test_what_cannot_be_rented_is_bought(document):
    """Asked for both ways, a chip that nobody is known to rent out stands in one, and the answer says so."""
    found = document("chips ascend-910b --ways buy,rent")
    assert [row["way"] for row in found["rows"]] == ["bought"]
    assert (
        "ascend-910b: no rent of Huawei Ascend 910B2 is catalogued: --rent ascend-910b=AMOUNT takes one"
        in found["notes"]
    )


def test_watts_of_ones_own_take_the_place_of_the_catalogs(rows):
    """A machine that draws nothing costs no electricity; one that draws twice as much costs twice as much."""
    once, twice = (rows(f"{TWO} --watts h800={watts}")["h800"] for watts in ("5000:4000:1000", "10000:8000:2000"))
    energy, room = once["energy_hour_amount"], once["room_hour_amount"]
    assert energy == pytest.approx((0.7 * 4 + 0.3 * 1) * 1.3 * 0.09 / 8)
    assert (twice["energy_hour_amount"], twice["room_hour_amount"]) == pytest.approx((2 * energy, 2 * room))


@pytest.mark.parametrize(("precision", "unit"), [("fp8", "int8"), ("bf16", None)])
def test_the_unit_that_serves_a_precision_is_named(document, precision, unit):
    notes = document(f"chips ascend-910b --precision {precision}")["notes"]
    assert [note for note in notes if "serves it" in note] == (
        [f"ascend-910b: has no fp8: {unit} serves it"] if unit else []
    )


def test_rents_compete_too(document):
    found = document(f"{TWO} --rent h800=1.5 --rent ascend-910b=1 --ways buy,rent")["rows"]
    assert [row["way"] for row in found if row["chip"] == "h800"] == ["rented", "bought"]
    rented = next(row for row in found if (row["chip"], row["way"]) == ("h800", "rented"))
    assert rented["used_hour_amount"] == rented["rent_amount"] == 1.5
    assert rented["price_amount"] is rented["owned_hour_amount"] is rented["tie_price_amount"] is None
    always = document(f"{TWO} --rent h800=1.5 --rent ascend-910b=1 --ways rent --always --utilisation 0.5")["rows"]
    assert {row["chip"]: row["used_hour_amount"] for row in always} == {"h800": 3, "ascend-910b": 2}


def test_a_day_of_loads_is_a_utilisation(rows):
    loads = ",".join(["0.2"] * 8 + ["0.9"] * 16)
    row = rows(f"{TWO} --utilisation {loads}")["h800"]
    assert row["used_hour_amount"] == pytest.approx(
        rows(f"{TWO} --utilisation {(0.2 + 1.8) / 3}")["h800"]["used_hour_amount"]
    )


def test_engineers_are_paid_by_the_saving(rows):
    found = rows(f"{TWO} --by tb-s-hour --replaces h800=800 --engineer-month 5000")
    own, other = found["ascend-910b"], found["h800"]
    bandwidth = catalog.chip("h800").memory_bandwidth_bytes_s / 1e12
    saving = (other["cost_amount"] - own["cost_amount"]) * bandwidth * 800 * 8760 * 0.7
    assert own["engineer_months"] == pytest.approx(chips.port_budget(saving, 4, 0.08, 5000).engineer_months)
    assert other["engineer_months"] == 0


def test_a_tornado_moves_one_input_at_a_time(document):
    found = document(f"{TWO} --tornado h800 --price h800=2e5:2.8e5:4e5/8")
    swings = next(row["swings"] for row in found["rows"] if row["chip"] == "h800")
    widths = [abs(swing["at_high_amount"] - swing["at_low_amount"]) for swing in swings]
    assert widths == sorted(widths, reverse=True) and widths[0] > 0
    assert "price" in swings[0]["what"] and (swings[0]["low"], swings[0]["high"]) == (200_000, 400_000)
    assert next(row["swings"] for row in found["rows"] if row["chip"] == "ascend-910b") is None


def test_every_answer_prints_what_it_rests_on(run, rows):
    """Each input with value, range, unit and source: below the table and in the rows."""
    _, out, _ = run(TWO)
    row = rows(TWO)["h800"]
    names = [each["what"] for each in row["assumptions"]]
    assert names == [*given().inputs(), "output"]
    assert all(each["source"] for each in row["assumptions"])
    below = out[out.index("assumed") :].splitlines()
    for name in names:
        assert any(line.strip().startswith(f"{name} ") for line in below), name
    interest = next(each for each in row["assumptions"] if each["what"] == "interest")
    assert (interest["low"], interest["value"], interest["high"]) == (0.06, 0.08, 0.1)
    assert "given on the command line" in interest["source"]
    assert "0.7 " in next(line for line in below if line.strip().startswith("utilisation"))
    assert "assumed" in next(line for line in below if line.strip().startswith("utilisation"))


# --- tokens ----------------------------------------------------------------------------------------------------


def test_tokens_are_compared_at_equal_speed_and_on_one_basis(rows):
    """No run of DeepSeek-V3 on a 910B is published: then the roofline stands for both."""
    found = rows(f"{TWO} --model deepseek-v3 --context 4K --speed 20")
    for key, row in found.items():
        price = chips.token_price(
            "deepseek-v3", chips.ChipHour(key, row["used_hour_amount"]), "decode", 4096, user_tokens_s=20,
            basis="roofline",
        )  # fmt: skip
        assert row["cost_amount"] == pytest.approx(price.per_million)
        assert (row["batch"], row["chips"]) == (price.batch, price.chips)
        assert row["user_tokens_per_second"] >= 20
        assert (row["work"], row["basis"], row["reason"]) == ("tokens", "roofline", None)
    published = rows(f"{TWO} --model deepseek-v3 --context 4K --basis published")
    assert published["h800"]["basis"] == "band" and 0 < published["h800"]["efficiency"] < 1
    other = published["ascend-910b"]
    assert other["cost_amount"] is None and "no published run" in other["reason"], "no peak beside a measured share"
    prefill = rows(f"{TWO} --model deepseek-v3 --context 4K --phase prefill --ttft 10")
    assert all(row["cost_amount"] > 0 for row in prefill.values())


def test_one_basis_for_all_is_said_with_whom_it_is_for(run):
    _, out, _ = run("chips ascend-910b ascend-910c --model deepseek-v3")
    assert out.count("tokens by the roofline, as for all: no published run of this family on ascend-910b\n") == 2


def test_what_cannot_serve_has_a_reason_and_no_price(run, rows):
    found = rows(f"{TWO} --model deepseek-v3 --speed 100000", status=1)
    assert all(row["cost_amount"] is None and row["reason"] for row in found.values())
    assert all(row["used_hour_amount"] > 0 for row in found.values())
    _, out, _ = run(f"{TWO} --model deepseek-v3 --speed 100000")
    assert "no price: " in out


# --- bad input -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("--price h800=-1", "'h800=-1' should be an amount above 0"),
        ("--price h800=0", "'h800=0' should be an amount above 0: no placeholders"),
        ("--price h800=0.01", "it is a placeholder"),
        ("--rent h800=0.001", "it is a placeholder"),
        ("--price h800=1e5XYZ", "currency 'XYZ' should be one of"),
        ("--price h800=1e5/0", "pays 0 chips"),
        ("--price h800", "'h800' should look like"),
        ("--price h900=1e5", "unknown chip 'h900'"),
        ("--utilisation 0", "'0' should be above 0 and at most 1"),
        ("--utilisation 1.2", "'1.2' should be above 0 and at most 1"),
        ("--utilisation 0,0,0", "'0,0,0' should be above 0 and at most 1"),
        ("--utilisation half", "'half' should be above 0 and at most 1"),
        ("--price h800=2e6CNY", "currencies are mixed without a day"),
        ("--interest 0.1:0.05:0.2", "should rise"),
        ("--interest x", "'x' should be a number"),
        ("--interest -0.1", "interest = -0.1 should be at least 0"),
        ("--pue 0.9", "pue = 0.9 should be at least 1"),
        ("--life 0", "life = 0"),
        ("--method monthly", "invalid choice: 'monthly'"),
        ("--ways lease", "'lease' should be buy or rent"),
        ("--precision fp64", "no unit for 'fp64'"),
        ("--tornado h200", "'h200' should be one of the chips that are compared: ascend-910b, h800"),
        ("--replaces h800=800", "--replaces needs --engineer-month"),
        ("--replaces h200=800 --engineer-month 1", "h200 should be one of the chips that are compared"),
        ("--replaces h800", "'h800' should look like h20=800"),
        ("--currency XYZ", "XYZ"),
        ("--model gpt-9", "unknown model 'gpt-9'"),
        ("--day yesterday", "'yesterday' should look like"),
        ("--price h800=1e16", "'h800=1e16' should be an amount of at most 1e+15"),
        ("--rent h800=1:2:1e308", "'h800=1:2:1e308' should be an amount of at most 1e+15"),
        ("--utilisation 1e-9,0", "'1e-9,0' should be above 0 and at most 1"),
        ("--draws 1000001", "'1000001' should be at most 1,000,000"),
        ("--place=", "'' should be a country"),
        ("--ways rent", "no rent of Huawei Ascend 910B2 is catalogued: --rent ascend-910b=AMOUNT takes one"),
        ("--model deepseek-v3 --speed 1e-320", "'1e-320' should be from 1e-09 to 1e+15"),
        ("--replaces h800=8 --engineer-month 1e300", "'1e300' should be from 1e-09 to 1e+15"),
        ("--draws 0", "'0' should be a whole number from 1"),
    ],
)
def test_bad_input_is_quoted(run, line, says):
    status, out, err = run(f"{TWO} {line}")
    assert (status, out) == (2, "")
    assert says in err
    assert len(err.splitlines()[0]) < 700


def test_an_input_that_nobody_gives_is_named(run):
    """No source, no number: a chip without a catalogued price has none until one is given."""
    status, out, err = run("chips ascend-910b3")
    assert (status, out) == (2, "")
    assert (
        err == "costlab chips: no price of Huawei Ascend 910B3 is catalogued: --price ascend-910b3=AMOUNT takes one\n"
    )
    status, out, err = run("chips ascend-910b3 --price ascend-910b3=5e4")
    assert (
        (status, out) == (2, "")
        and "no power of Huawei Ascend 910B3" in err
        and "--watts ascend-910b3=RATED:LOAD:IDLE" in err
    )
    assert "no chip" in run("chips --ways rent")[2]
    assert "no rent of" in run("chips h20 --ways rent")[2]


def test_only_what_may_be_ordered_is_compared_unless_named(rows):
    found = rows("chips")
    assert set(found) >= {"ascend-910b"} and "h100-sxm" not in found
    assert all(row["may_buy"] is not False for row in found.values())
    named = rows("chips h100-sxm ascend-910b")
    assert named["h100-sxm"]["may_buy"] is False and named["ascend-910b"]["may_buy"] is True
    assert "h100-sxm" in rows("chips --price h100-sxm=2e5")


def test_prefill_and_decode_choose_different_chips(document):
    """By what each buys: FLOPS for prefill, bandwidth for decoding."""
    line = "chips h20 ascend-910b --place China --currency CNY --by"
    assert document(f"{line} pflop-hour")["rows"][0]["chip"] == "ascend-910b"
    assert document(f"{line} tb-s-hour")["rows"][0]["chip"] == "h20"


# --- anything that could be typed ------------------------------------------------------------------------------

NUMBERS = (
    "",
    "-1",
    "0",
    "1",
    "0.5",
    "1e-320",
    "1e-9",
    "1e15",
    "1e308",
    "1e400",
    "nan",
    "inf",
    "é",
    "1:2:3",
    "3:2:1",
    "0:0:0",
    ":",
)
AMOUNTS = ("--price=h800=", "--rent=h800=")
OF_FIGURES = ("life", "residual", "interest", "tariff", "pue", "maintenance", "room", "network", "vat", "utilisation",
              "engineer-month", "speed", "ttft", "context", "draws", "seed", "day", "place", "currency")  # fmt: skip


@settings(max_examples=examples(200), suppress_health_check=[HealthCheck.function_scoped_fixture])
@each_of(
    options=st.lists(st.tuples(st.sampled_from(OF_FIGURES), st.sampled_from(NUMBERS)), max_size=4),
    amounts=st.lists(st.tuples(st.sampled_from(AMOUNTS), st.sampled_from(NUMBERS)), max_size=2),
    rest=st.sampled_from(["", "--model=deepseek-v3", "--ways=buy,rent", "--tornado=h800", "--replaces=h800=8"]),
)  # fmt: skip
def test_whatever_is_typed_gives_numbers_or_one_line_that_says_what_was_wrong(run, options, amounts, rest):
    typed = [*(f"--{name}={value}" for name, value in options), *(f"{name}{value}" for name, value in amounts)]
    with warnings.catch_warnings(action="error"):
        status, out, err = run(" ".join([TWO, "--draws=50", *typed, rest, "--json"]))
    if status == 2:
        assert out == "" and err.startswith("costlab chips: ")
        assert "\n" not in err.strip().partition("\nusage:")[0]
    else:
        assert status in (0, 1) and err == ""
        json.loads(out, parse_constant=pytest.fail)


def test_places_are_read_as_the_catalog_writes_them(document):
    first, second = (document(f"chips h20 ascend-910b --place {place}") for place in ("China", "cHINA"))
    assert first["rows"] == second["rows"] and first["inputs"] == second["inputs"]
    notes = document("chips h20 ascend-910b --place Atlantis")["notes"]
    assert any(note.startswith("no figure of Atlantis is catalogued") for note in notes)
    chip = catalog.chip("h20")
    day = max(each.date for each in chip.supply)
    assert chip.buyable("china", day) == chip.buyable("China", day) is not None


def test_a_day_before_all_days(document):
    notes = document("chips h20 ascend-910b --day 0001-01-01")["notes"]
    assert sum("No offer is as old as the day" in note for note in notes) == 2
