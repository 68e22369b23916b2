"""An article's cost per TFLOPS: what its own expression gives, and right units; its figures are the oracle."""

import pytest
from chips.purchases import published

from costlab import catalog
from costlab.chips import ArticleServer, port_budget, server_saving, tflops_cost, unit_costs

A100 = ArticleServer(1_300_000, 312, 130_000, power_w=6500)
H100 = ArticleServer(2_600_000, 989, 300_000, power_w=14_000)
ASCEND = ArticleServer(720_000, 256, 72_000, power_w=5200)
PRINTED = {A100: 0.0023, H100: 0.0018, ASCEND: 0.0014}


def test_the_articles_expression_does_not_give_what_it_prints():
    found = {server: tflops_cost(server).as_coded for server in PRINTED}
    assert list(found.values()) == pytest.approx([8.18e-5, 5.34e-5, 5.52e-5], rel=1e-3)
    assert all(cost < printed / 20 for cost, printed in zip(found.values(), PRINTED.values(), strict=True))
    assert found[ASCEND] > found[H100]  # printed the other way round


def test_in_right_units_with_eight_chips():
    found = [tflops_cost(server).per_tflops_hour for server in (A100, H100, ASCEND)]
    assert found == pytest.approx([0.0368, 0.0240, 0.0248], abs=5e-5)
    assert found[2] / found[1] == pytest.approx(1.03, abs=5e-3)


@pytest.mark.parametrize(("tflops", "cost"), [(353.9, 0.0180), (294.9, 0.0216), (245.8, 0.0259)])
def test_the_variant_decides_the_rank(tflops, cost):
    assert tflops_cost(ArticleServer(720_000, tflops, 72_000)).per_tflops_hour == pytest.approx(cost, abs=5e-5)


def test_a_reported_price_a_chip():
    """CNY 120,000 a chip by the article's server to its chips, with its variant of 353.9."""
    server = ArticleServer(8 * 120_000 * 720 / 640, 353.9, 0.1 * 1_080_000)
    assert tflops_cost(server).per_tflops_hour == pytest.approx(0.0270, abs=5e-5)


def test_electricity_that_the_article_leaves_out():
    found = [tflops_cost(server, tariff=0.65, pue=1.3) for server in (A100, H100, ASCEND)]
    assert [each.electricity_share for each in found] == pytest.approx([0.056, 0.059, 0.079], abs=6e-4)
    assert [each.with_electricity for each in found[1:]] == pytest.approx([0.0255, 0.0270], abs=1e-4)


def test_three_years_saving():
    """170,000 and 136,000 for electricity are 6.5 and 5.2 kW at CNY 1.00, full load and a PUE of 1."""
    assert A100.implied_tariff(170_000) == pytest.approx(0.995, abs=1e-3)
    assert ASCEND.implied_tariff(136_000) == pytest.approx(0.995, abs=1e-3)
    saving = server_saving(A100, ASCEND, 3, A100.implied_tariff(170_000))
    assert saving.amount == pytest.approx(788_000, abs=50)
    assert saving.share == pytest.approx(0.424, abs=5e-4)
    assert saving.share_per_tflops == pytest.approx(0.298, abs=5e-4)
    assert saving.amount * 1000 / 1e9 == pytest.approx(0.788, abs=1e-4)  # billions; printed 7.9
    assert 1 - ASCEND.price / A100.price == pytest.approx(0.446, abs=5e-4)
    half = ArticleServer(720_000, 256, 72_000, chips=4, power_w=5200)
    assert server_saving(A100, half, 3, 1.0).share_per_tflops == pytest.approx(
        1 - 2 * (1 - server_saving(A100, ASCEND, 3, 1.0).share_per_tflops)
    )


def test_against_what_a_buyer_in_china_can_order():
    """A server of H20 at CNY 1.2M: dearer by four for arithmetic, cheaper by a third for bandwidth."""
    sheet = {
        "date": None, "source": "", "maker": "", "name": "", "link_bytes_s": 1, "network_bytes_s": 1,
        "chips_per_node": 8, "power_w": 1,
    }  # fmt: skip
    b2 = catalog.ChipRecord(memory_bytes=64e9, memory_bandwidth_bytes_s=1.6e12, flops={"bf16": 353.9e12}, **sheet)
    h20 = catalog.ChipRecord(memory_bytes=96e9, memory_bandwidth_bytes_s=4e12, flops={"bf16": 148e12}, **sheet)
    ascend, other = unit_costs(720_000 / 8, b2), unit_costs(1_200_000 / 8, h20)
    assert other.pflop_hour["bf16"] / ascend.pflop_hour["bf16"] == pytest.approx(4.0, abs=0.05)
    assert (ascend.tb_s_hour / 1000, other.tb_s_hour / 1000) == pytest.approx((56.2, 37.5), abs=0.1)
    assert ascend.gb_hour / other.gb_hour == pytest.approx(0.9, abs=0.01)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: ArticleServer(0, 312, 0), "price = 0 should be above 0"),
        (lambda: ArticleServer(1e6, 312, -1), "maintenance_year = -1"),
        (lambda: tflops_cost(A100, utilisation=0), "utilisation = 0 should be above 0"),
        (lambda: tflops_cost(A100, pue=0.5), "pue = 0.5"),
        (lambda: ArticleServer(1e6, 312, 0).implied_tariff(1.0), "power_w = 0"),
        (lambda: unit_costs(0.0, catalog.chip("h100-sxm")), "chip_hour = 0.0"),
    ],
)
def test_refusals(make, says):
    with pytest.raises(ValueError, match=says):
        make()


def test_units_of_a_catalogued_chip():
    chip, used = catalog.chip("h100-sxm"), published().hourly().used
    found = unit_costs(used, chip)
    assert set(found.pflop_hour) == set(chip.flops)
    assert found.pflop_hour["bf16"] * chip.flops["bf16"] / 1e15 == pytest.approx(used)
    assert found.gb_hour * chip.memory_bytes / 1e9 == pytest.approx(used)
    assert found.tb_s_hour * chip.memory_bandwidth_bytes_s / 1e12 == pytest.approx(used)


# --- what a port may cost --------------------------------------------------------------------------------------


def test_a_saving_pays_engineers():
    found = port_budget(1_000_000, 4, 0.09, 20_000)
    assert found.present == pytest.approx(sum(1_000_000 / 1.09**year for year in (1, 2, 3, 4)))
    assert found.engineer_months == pytest.approx(found.present / 20_000)
    assert port_budget(1_000_000, 4, 0.0, 20_000).engineer_months == pytest.approx(200)
    assert port_budget(0, 4, 0.09, 20_000).engineer_months == 0


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ((-1, 4, 0.1, 1), "a port that costs more"),
        ((1, 0, 0.1, 1), "years = 0"),
        ((1, 4, 9, 1), "interest = 9"),
        ((1, 4, 0.1, 0), "salary = 0"),
    ],
)
def test_budgets_refused(wrong, says):
    with pytest.raises(ValueError, match=says):
        port_budget(*wrong)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [({"years": float("inf")}, "years = inf"), ({"tariff": float("inf")}, "tariff = inf"), ({"pue": 0.9}, "pue = 0.9")],
)
def test_sums_over_no_years_or_all_are_refused(wrong, says):
    with pytest.raises(ValueError, match=says):
        tflops_cost(A100, **wrong)
    with pytest.raises(ValueError, match="years = 0"):
        server_saving(A100, ASCEND, 0, 1.0)
    with pytest.raises(ValueError, match="chip_hour = inf"):
        unit_costs(float("inf"), catalog.chip("h20"))
    with pytest.raises(ValueError, match="no finite number of months"):
        port_budget(1e308, 4, 0.0, 1e-9)
