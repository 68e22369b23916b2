"""Loading behind compute: the facts' overlap numbers, an event simulation, properties."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from costlab import arch, catalog, roofline
from costlab.cache import footprints
from costlab.cache.sim import costs, loading

# Assumptions of shared/facts/mimo_hicache.md section 3: 50 GB/s from host to device, 400 TFLOP/s, the KV of a request
# on one GPU.
PRO, LINK, RATE = "mimo-v2.5-pro", 50e9, roofline.seconds_per_flop_at(400e12)


def prefill(prefix: int, new: int, mode: str, everything: bool = False) -> loading.Timeline:
    footprint = footprints.footprint(PRO)
    loads = costs.layer_load_bytes(footprint.everything() if everything else footprint, prefix)
    computes = roofline.prefill_cost(PRO, RATE).layer_s(new, prefix)
    return loading.timeline([size / LINK for size in loads], computes, mode)


def test_the_facts_overlap_numbers() -> None:
    """Section 3, overlap: prefix 64K, 1,024 new tokens."""
    streamed = prefill(65_536, 1024, "streamed")
    assert streamed.compute_s == pytest.approx(0.345, abs=5e-4)
    assert streamed.load_s == pytest.approx(0.068, abs=5e-4)
    assert prefill(65_536, 1024, "serial").finish_s == pytest.approx(0.413, abs=5e-4)
    assert streamed.finish_s == pytest.approx(0.352, abs=5e-4)
    assert streamed.stall_share == pytest.approx(0.019, abs=5e-4)
    # 385.5 ms, printed as 386
    assert prefill(65_536, 1024, "look-ahead").finish_s == pytest.approx(0.386, abs=6e-4)
    before = prefill(65_536, 1024, "streamed", everything=True)  # the paper's Fig. 3a: every layer moves all its KV
    assert before.load_s == pytest.approx(0.470, abs=5e-4)
    assert before.finish_s == pytest.approx(0.487, abs=6e-4)
    assert before.stall_share == pytest.approx(0.29, abs=5e-3)


@pytest.mark.parametrize(
    ("everything", "least"),
    [(False, {16_384: 143, 65_536: 400, 262_144: 727}), (True, {16_384: 487, 65_536: 1391, 262_144: 2623})],
)
def test_the_facts_smallest_prefill_that_hides_its_load(everything: bool, least: dict[int, int]) -> None:
    """Section 3: stall under 5 % of the compute needs so many new tokens."""
    for prefix, new in least.items():
        assert prefill(prefix, new, "streamed", everything).slowdown < 0.05
        assert prefill(prefix, new - 1, "streamed", everything).slowdown >= 0.05


def test_what_stays_visible_is_the_first_layer() -> None:
    line = prefill(65_536, 1024, "streamed")
    assert line.stall_s == pytest.approx(line.events[0].load_end_s)


seconds = st.lists(st.tuples(st.floats(0, 10), st.floats(0, 10)), min_size=1, max_size=12)


@given(seconds, st.sampled_from(loading.MODES))
@example([(2.220446049250313e-16, 2.6854155898156855)], "serial")
def test_events_keep_the_rules(layers, mode) -> None:
    loads, computes = (list(each) for each in zip(*layers, strict=True))
    line = loading.timeline(loads, computes, mode)
    for i, event in enumerate(line.events):
        assert event.load_end_s - event.load_start_s == pytest.approx(loads[i])
        assert event.compute_end_s - event.compute_start_s == pytest.approx(computes[i])
        assert event.compute_start_s >= event.load_end_s - 1e-9
        if i:
            before = line.events[i - 1]
            assert event.compute_start_s >= before.compute_end_s - 1e-9
            assert event.load_start_s >= before.load_end_s - 1e-9
            if mode == "look-ahead":
                assert event.load_start_s >= before.compute_start_s - 1e-9
    assert loading.finish(loads, computes, mode) == pytest.approx(line.finish_s)
    assert 0 <= line.hidden_share <= 1


@given(seconds)
def test_more_freedom_never_takes_longer(layers) -> None:
    loads, computes = (list(each) for each in zip(*layers, strict=True))
    serial, streamed, ahead = (loading.timeline(loads, computes, m).finish_s for m in loading.MODES)
    least = max(sum(loads) + computes[-1], loads[0] + sum(computes))
    assert least <= streamed + 1e-9 and streamed <= ahead + 1e-9 and ahead <= serial + 1e-9


@given(seconds)
def test_streaming_is_a_two_machine_flow_shop(layers) -> None:
    """Johnson (1954): the makespan is the longest path, load up to layer k and compute from there on."""
    loads, computes = (np.array(each) for each in zip(*layers, strict=True))
    paths = [loads[: k + 1].sum() + computes[k:].sum() for k in range(len(loads))]
    assert loading.timeline(loads, computes).finish_s == pytest.approx(max(paths))


def test_bad_input_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown way to load 'stream'; did you mean 'streamed'"):
        loading.timeline([1], [1], "stream")
    with pytest.raises(ValueError, match="2 load times for 1 layers"):
        loading.timeline([1, 2], [1])
    for bad in ([], [-1.0], [float("nan")], [[1.0]]):
        with pytest.raises(ValueError, match="load_s should be one finite number"):
            loading.timeline(bad, [1])


# --- what computes and what moves ------------------------------------------------------------------------------


@pytest.mark.parametrize("model", list(arch.models()))
@pytest.mark.parametrize(("new", "prefix"), [(1, 0), (1, 777), (1000, 0), (1024, 65_536), (333, 12_345)])
def test_layers_add_up_to_the_models_flops(model: str, new: int, prefix: int) -> None:
    """The oracle is costlab.arch, which counts in arrays and by component."""
    cost = roofline.prefill_cost(model, roofline.seconds_per_flop_at(1.0))
    total = float(arch.load(model).prefill_flops(new, prefix).total)
    assert cost.total_s(new, prefix) == pytest.approx(total, rel=1e-12)
    assert sum(cost.layer_s(new, prefix)) == pytest.approx(total, rel=1e-12)


@pytest.mark.parametrize("model", list(arch.models()))
@pytest.mark.parametrize("tokens", [1, 127, 128, 4096, 100_000])
def test_layers_add_up_to_the_models_cache(model: str, tokens: int) -> None:
    """Compressed entries exist per whole block only; the footprint spreads them over the block's tokens."""
    kept = arch.load(model).kv_bytes(tokens)
    ours = costs.prefix_bytes(footprints.footprint(model), tokens)
    whole = arch.load(model).kv_bytes(tokens // 128 * 128 + 128)
    assert float(kept.total) <= ours * (1 + 1e-12)
    most = float(whole.total)
    if any(isinstance(attention, arch.ChunkedAttention) for attention, _ in arch.load(model).layers):
        most += float(arch.load(model).kv_bytes(8192).window - whole.window)  # room for a whole chunk is kept
    assert ours <= most * (1 + 1e-12)
    if tokens % 128 == 0:
        assert ours == pytest.approx(float(kept.total), rel=1e-12)


def test_chip_rates_follow_the_data_sheet() -> None:
    h800 = roofline.seconds_per_flop_on("h800", 8, 0.5)
    assert 1 / h800("fp8") == pytest.approx(8 * 0.5 * 2 / h800_bf16_s())
    assert h800("bf16") == 2 * h800("fp8") == 2 * h800("fp4xfp8") == 2 * h800("fp4")
    a100 = roofline.seconds_per_flop_on("a100-80g")
    assert a100("fp8") == a100("bf16") == pytest.approx(1 / 312e12)


def h800_bf16_s() -> float:
    return 1 / catalog.chip("h800").flops["bf16"]


@pytest.mark.parametrize("chip", list(catalog.tables().chips))
def test_a_chip_has_one_speed(chip) -> None:
    """The simulator's prefill of a prompt takes what the roofline's compute does, on every chip in every precision."""
    for model in (PRO, "deepseek-v4-pro"):  # the latter mixes residual streams in FP32
        ours = roofline.prefill_cost(model, roofline.seconds_per_flop_on(chip)).total_s(1000, 500)
        node = roofline.deployment(model, chip, 1)
        assert ours == pytest.approx(node.prefill(1000, 500).compute_s, rel=1e-12)


def test_the_facts_load_against_recompute() -> None:
    """Section 3, load vs recompute: 32K tokens; 50 GB/s from host, 6 GB/s from SSD."""
    host = costs.hit_cost(PRO, 32_768, bandwidth_bytes_per_s=50e9, flops_per_s=400e12, usd_per_chip_hour=2.0)
    disk = costs.hit_cost(PRO, 32_768, bandwidth_bytes_per_s=6e9, flops_per_s=400e12)
    assert host.recompute_s == pytest.approx(7.7, abs=0.05)
    assert host.load_s == pytest.approx(0.034, abs=5e-4) and host.ratio == pytest.approx(224, abs=0.5)
    assert disk.load_s == pytest.approx(0.286, abs=5e-4) and disk.ratio == pytest.approx(27, abs=0.5)
    assert host.recompute_usd == pytest.approx(7.7077 * 2 / 3600, rel=1e-4)
    assert disk.load_usd is None and disk.keep_hours(1.0) is None
    # 1.717 GB at 1 USD per GB and hour cost 1.717 USD an hour; the hit saves 7.67 s of a chip at 2 USD
    assert host.keep_hours(1.0) == pytest.approx((7.70773 - 0.03434) * 2 / 3600 / 1.717043, rel=1e-4)


def test_a_hit_in_hbm_moves_nothing() -> None:
    hit = costs.hit_cost(PRO, 1000, bandwidth_bytes_per_s=float("inf"), latency_s=1.0)
    assert hit.load_s == 0 and hit.ratio == float("inf")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: roofline.seconds_per_flop_at(0), "flops_per_s should be above 0"),
        (lambda: roofline.seconds_per_flop_on("h800", 0), "chips should be a whole number from 1 to 2..53, got 0"),
        (lambda: roofline.seconds_per_flop_on("h800", 1.5), "chips should be a whole number from 1 to 2..53, got 1.5"),
        (
            lambda: roofline.seconds_per_flop_on("h800", True),
            "chips should be a whole number from 1 to 2..53, got True",
        ),
        (lambda: roofline.seconds_per_flop_on("h8000"), "unknown chip 'h8000'"),
        (lambda: roofline.seconds_per_flop_on("h800")("int3"), "no unit for 'int3'"),
        (lambda: costs.hit_cost(PRO, 0, bandwidth_bytes_per_s=1.0), "tokens and bandwidth should be above 0"),
    ],
)
def test_bad_costs_are_refused(call, message) -> None:
    with pytest.raises(ValueError, match=message):
        call()
