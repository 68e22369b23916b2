"""The figures of serving agree with one another, and with what their sources print beside them."""

import dataclasses

import pytest

from costlab import arch, catalog

SERVING = catalog.tables().serving


def test_every_table_is_full():
    for field in dataclasses.fields(SERVING):
        assert getattr(SERVING, field.name), field.name


def test_distserves_three_numbers_make_twice_the_rate():
    rates = SERVING.rates["distserve-13b"]
    each = rates.separated_requests_s(2, 1)
    assert each == pytest.approx(10 / 3)  # two that prefill feed one that decodes
    assert each / rates.both_requests_s == pytest.approx(2.083, abs=1e-3)
    assert rates.separated_requests_s(1, 1) == pytest.approx(5.6 / 2)
    with pytest.raises(ValueError, match="prefill = 2 and decode = 0 chips should be at least 1"):
        rates.separated_requests_s(2, 0)


@pytest.mark.parametrize(
    ("key", "printed", "unit"),
    [
        ("qwen3-235b", (0.049, 1.58, 3.15, 6.31, 12.62), 1e9),
        ("qwen3-8b", (20 / 1024, 578 / 1024, 1.13, 2.25, 4.5), 2**30),
    ],
)
def test_bytes_moved_are_those_that_the_tables_print(key, printed, unit):
    """The 235B's are decimal and count heads that two chips share twice; the 8B's are binary."""
    table = SERVING.transfers[key]
    moved = [table.moved_bytes[i] / unit for i in (0, 5, 6, 7, 8)]
    assert moved == pytest.approx(printed, rel=0.1 if unit == 2**30 else 0.01, abs=0.002)
    assert moved[-1] == pytest.approx(printed[-1], rel=1e-3)


def test_the_catalogued_model_moves_as_many_bytes():
    table = SERVING.transfers["qwen3-235b"]
    model = arch.load("qwen3-235b-a22b")
    assert model.kv_bytes(1000).main == 1000 * table.bytes_per_token


@pytest.mark.parametrize("key", list(SERVING.transfers))
def test_transfers_stay_below_the_line_rate_and_the_time_to_first_token(key):
    table = SERVING.transfers[key]
    for moved, seconds, ttft in zip(table.moved_bytes, table.transfer_s, table.ttft_s, strict=True):
        assert moved / seconds < table.line_bytes_s
        assert seconds < ttft


def test_a_cluster_gains_by_the_machines_that_it_saves():
    """113 machines with A100 that do both, or 54 and 10; 51 with H100, or 23 and 10 (the simulator's scripts)."""
    gains = {key: cluster.gain for key, cluster in SERVING.clusters.items()}
    assert gains["splitwise-aa-code-130"] == pytest.approx(1.766, abs=1e-3)
    assert gains["splitwise-hh-code-130"] == pytest.approx(1.545, abs=1e-3)
    assert gains["splitwise-ha-code-130"] is gains["splitwise-hh-code"] is None  # unlike chips; no such number


def test_rows_say_what_their_gains_say():
    for key in ("mooncake-a10-2048", "mooncake-a10-8192"):
        table, gain = SERVING.tables[key], SERVING.gains[key]
        ratio = table.row("separated").total_tokens_s / table.row("both together").total_tokens_s
        assert gain.low == gain.high == pytest.approx(ratio, abs=1e-4)


def test_an_unknown_setting_is_quoted():
    with pytest.raises(ValueError, match=r"unknown setting '0\.03'; known: off, 0\.02"):
        SERVING.tables["vllm-watermark"].row("0.03")


def test_models_and_chips_are_catalogued():
    tables = catalog.tables()
    for node in SERVING.nodes.values():
        assert node.model in tables.models
        assert node.chip in tables.chips
    for cluster in SERVING.clusters.values():
        assert {cluster.prefill_chip, cluster.decode_chip} <= tables.chips.keys()


def test_a_step_is_the_batch_over_the_rate():
    assert SERVING.nodes["sglang-decode-2000"].step_s == pytest.approx(0.0919, abs=1e-4)  # the page says about 100 ms
    assert SERVING.nodes["deepseek-profile-decode"].step_s == pytest.approx(0.0551, abs=1e-4)
    with pytest.raises(ValueError, match="names no batch_per_chip"):
        _ = SERVING.nodes["deepseek-day-decode"].step_s


def test_the_days_rates_are_those_of_published_toml():
    day = catalog.tables().days["deepseek-day"]
    assert SERVING.nodes["deepseek-day-decode"].tokens_s == day.node_output_tokens_s
    missed = day.node_input_tokens_s * (1 - day.input_hit_tokens / day.input_tokens)
    assert SERVING.nodes["deepseek-day-prefill"].tokens_s == pytest.approx(missed, rel=0.002)


def test_prices_of_output_count_the_nodes_that_decode():
    """Rent over the decode rate is the printed price, so nothing is left to pay the prefill nodes with."""
    for price in SERVING.output_prices.values():
        decode = SERVING.nodes[price.decode]
        usd = decode.chips_per_node * price.usd_per_chip_hour / (decode.tokens_s * 3600) * 1e6
        assert usd == pytest.approx(price.usd_per_million, abs=0.005)
