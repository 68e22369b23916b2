"""Watts and joules beside published figures, and Landauer's bound beside its textbook value."""

import math
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from costlab import catalog, levers, limits
from costlab.chips import ownership

PRO = "deepseek-v4-pro"


def test_landauers_bound_is_the_textbooks():
    """2.87 zJ at 300 K, 0.0175 eV at 293.15 K: textbook values."""
    assert limits.landauer_j() == pytest.approx(2.87e-21, rel=1e-3)
    assert limits.landauer_j(293.15) / 1.602176634e-19 == pytest.approx(0.0175, rel=2e-3)
    assert catalog.tables().constants["boltzmann"].value == 1.380649e-23  # exact since 2019


@given(st.floats(1e-3, 1e4), st.floats(1e-20, 1e6), st.floats(1, 1e15))
def test_orders_above_is_a_logarithm(kelvin, joules, bits):
    above = limits.orders_above(joules, bits, kelvin)
    assert bits * limits.landauer_j(kelvin) * 10**above == pytest.approx(joules)


def test_a_read_outweighs_a_multiplication_as_horowitz_said():
    """640 pJ for 32 bits of DRAM, 0.2 for an 8-bit product, at 45 nm: the ratio that everybody quotes."""
    found = catalog.tables().operation_energies
    assert found["dram-45nm"].low / 64 * 32 == pytest.approx(640e-12, rel=0.02)
    assert found["dram-45nm"].joules / found["multiply-int8-45nm"].joules > 1000
    assert found["multiply-fp16-45nm"].joules / found["multiply-fp16-7nm"].joules == pytest.approx(3.2, rel=0.02)
    assert found["hbm2"].joules / found["hbm2"].bits == pytest.approx(3.92e-12, rel=0.01)  # O'Connor et al.


def test_an_h100_server_draws_what_was_measured():
    """8.4 kW at most, for eight chips, before the room's share (arXiv 2412.08602)."""
    found = limits.chip_power("h100-sxm")
    at_machine = 8 * found.machine_w.value * found.load.value
    low, high = (8 * found.machine_w.value * each for each in (0.7, 0.83))
    assert low < at_machine < high
    assert at_machine == pytest.approx(0.76 * 10_200)
    assert found.wall_w == pytest.approx(at_machine / 8 * found.pue.value)


def test_electricity_is_the_line_of_the_owners_bill():
    """The chapter on chips counts the same hour, all of it worked."""
    day = date(2026, 9, 15)
    found = limits.chip_power("h100-sxm", "US", day)
    owned = ownership("h100-sxm", "US", day, "USD", utilisation=1.0).hourly()
    assert found.usd_per_hour == pytest.approx(owned.energy)
    assert found.share_of(2.0) == pytest.approx(found.usd_per_hour / 2)
    assert found.usd_per_watt_year == pytest.approx(8.76 * found.pue.value * found.usd_per_kwh)


def test_idle_hours_cost_energy_too():
    found = limits.chip_power("h100-sxm")
    assert found.joules(2.0) == pytest.approx(2 * found.wall_w)
    assert found.joules(2.0, 0.5) == pytest.approx(2 * (found.wall_w + found.idle_wall_w))
    with pytest.raises(ValueError, match="utilisation = 0 should be above 0"):
        found.joules(1.0, 0)
    with pytest.raises(ValueError, match="hourly = -1 should be above 0"):
        found.share_of(-1)


def test_electricity_of_a_token_is_its_hours_times_their_watts():
    service = levers.served(PRO)
    energy, costs = limits.token_energy(service), levers.token_costs(service)
    at = service.inputs()
    seconds = float(costs.output) / 1e6 / at["rent"].value * 3600 * at["utilisation"].value
    assert energy.joules["output"] > seconds * energy.power.wall_w
    assert energy.kwh_per_million("output") == pytest.approx(energy.joules["output"] / 3.6)
    assert energy.usd_per_million("output") < 0.15 * float(costs.output)
    assert energy.joules["output"] > limits.floor_energy(limits.output_floor(service))


def test_r1s_energy_is_of_the_order_that_inferencex_found():
    """0.96 to 3.74 Wh for 8,192 tokens read and 1,024 written in FP8, all machines at work: ours is below, within 3."""
    published = catalog.tables().energies["r1-fp8-8k-1k"]
    service = levers.served("deepseek-v3", "b200").with_inputs(input=8192, output=1024, hit_rate=0, utilisation=1)
    found = limits.token_energy(service).request_wh
    assert published.low / 3 < found < published.high
    floor = (
        limits.floor_energy(limits.output_floor(service)) * 1024
        + limits.floor_energy(limits.miss_floor(service)) * 8192
    )
    assert floor / 3600 < found
    assert limits.published_joules(published) == pytest.approx(0.96 * 3600 / 9216)
    assert limits.published_joules(catalog.tables().energies["gemini-median"]) is None


def test_the_two_counts_of_lost_bits_lie_far_apart():
    found = limits.bits_erased(PRO, 8192)
    assert found["answer"] == pytest.approx(math.log2(129_280))
    assert found["sums"] / found["answer"] > 1e10


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: limits.landauer_j(0), "kelvin = 0 should be above 0"),
        (lambda: limits.orders_above(-1), "joules = -1 should be above 0"),
        (lambda: limits.orders_above(1, 0), "bits = 0 should be above 0"),
        (lambda: limits.chip_power("h100-sxm", "Mars"), "no tariff of 'Mars' is catalogued"),
        (lambda: limits.chip_power("ascend-950dt"), "no power of Huawei Ascend 950DT"),
        (lambda: limits.chip_power("tpu"), "unknown chip 'tpu'"),
    ],
)
def test_bad_input(call, words):
    with pytest.raises(ValueError, match=words):
        call()


def test_tables():
    assert len(limits.operation_table().rows) == len(catalog.tables().operation_energies)
    rows = limits.power_table("China").rows
    assert all(float(row["cents an hour"]) > 0 for row in rows)
    assert any(row["share"] is None for row in rows)  # a chip that nobody lists an hour of
