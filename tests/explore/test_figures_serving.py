"""Figures of the chapter `serving`: what they show is what the package computes, and what others published."""

import json
import re
from itertools import pairwise

import figures
import numpy as np
import pytest

from costlab import catalog, explore, roofline
from costlab.explore import serving, serving_diagrams, serving_live, serving_published
from costlab.roofline import Piece, StepCost
from costlab.serving.layouts import WorkerPool, colocated
from costlab.serving.metrics import Objective, gaps_s
from costlab.serving.recorder import Recorder
from costlab.serving.schedulers import PrefillFirst
from costlab.serving.simulation import WorkerSpec, simulate
from costlab.traces import arrivals

CATALOG = catalog.tables().serving


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("request_times", {}),
        ("engine_gantt", {}),
        ("interference", {}),
        ("interference", {"prompt_tokens": 128, "users": 1}),
        ("interference", {"prompt_tokens": 8192, "users": 190}),
        ("queue_wait", {}),
        ("queue_wait", {"load": 0.05, "prompt_tokens": 128}),
        ("queue_wait", {"load": 0.95, "prompt_tokens": 16_384}),
        ("chunk_tradeoff", {}),
        ("chunk_tradeoff", {"load": 4}),
        ("chunk_tradeoff", {"load": 32}),
        ("watermark_shape", {}),
        ("transfer_times", {}),
        *(("length_rule", {"threshold": tokens}) for tokens in serving_published.THRESHOLDS),
        ("published_gains", {}),
        ("two_layouts", {}),
        ("two_layouts", {"load": 1, "prompt": 128, "answer": 2, "prefill_workers": 1, "link": 1}),
        ("two_layouts", {"load": 40, "prompt": 8192, "answer": 1024, "prefill_workers": 3, "link": 200}),
        ("regime_map", {}),
        ("regime_map", {"prompt": 128, "answer": 2048}),
        ("regime_map", {"prompt": 16_384, "answer": 2}),
    ],
)
def test_drawn(name, arguments):
    figures.check(getattr(explore, name)(**arguments))


@pytest.mark.parametrize(
    ("name", "arguments", "words"),
    [
        ("interference", {"users": 0}, "users"),
        ("interference", {"users": 500}, "does not fit"),
        ("queue_wait", {"load": 1.0}, "load = 1.0 should be from 0.05"),
        ("chunk_tradeoff", {"load": 0}, "load = 0 should be from 1"),
        ("length_rule", {"threshold": 5000}, "threshold = 5000 should be one of 1024"),
        ("two_layouts", {"load": 41}, "load = 41 should be from 1 to 40"),
        ("two_layouts", {"prefill_workers": 4}, "prefill_workers = 4 should be from 1 to 3"),
        ("regime_map", {"prompt": 64}, "prompt = 64 should be from 128"),
    ],
)
def test_bad_input(name, arguments, words):
    with pytest.raises(ValueError, match=words):
        getattr(explore, name)(**arguments)


# --- one request, one step, one queue ----------------------------------------------------------------------------


def test_a_request_s_times_follow_from_its_moments():
    moments = serving_diagrams.request_moments()
    ttft, queued, read, tpot, gaps, worst, times = figures.numbers(explore.request_times())
    assert ttft == pytest.approx(queued + read) == pytest.approx(moments.token_s[0])
    assert read == pytest.approx(2 * queued) == pytest.approx(worst)  # it comes in the middle of such a step
    assert gaps == len(moments.token_s) - 1
    assert tpot == pytest.approx((moments.token_s[-1] - moments.token_s[0]) / gaps)
    assert worst == pytest.approx(max(gaps_s(moments.token_s))) == pytest.approx(times * tpot)


def test_a_prompt_of_4096_tokens_makes_a_step_of_64_users_compute_bound():
    node = serving.served_node()
    context = serving.PROMPT + serving.ANSWER // 2
    alone, mixed = (node.batch_step([Piece.decode(context, 64), *more]) for more in ([], [Piece(4096)]))
    users, alone_s, tokens, mixed_s, times = figures.numbers(explore.interference())
    assert (users, tokens) == (64, 4096)
    assert (alone_s, mixed_s, times) == pytest.approx((alone.seconds, mixed.seconds, mixed.seconds / alone.seconds))
    assert alone.seconds == alone.memory_s > alone.compute_s and mixed.seconds == mixed.compute_s > mixed.memory_s
    bars = [bar.get_width() for bar in figures.axes_of(explore.interference).patches]
    assert bars == pytest.approx(
        [1e3 * s for step in (alone, mixed) for s in (step.compute_s, step.memory_s, step.link_s)]
    )


def test_the_queue_s_waits_are_those_of_the_simulator_request_by_request():
    service_s = 0.12
    trace = serving.load_of(0.9 / service_s, 3000, answer=1)
    spec = WorkerSpec(StepCost.fixed(service_s, 1.0), PrefillFirst(1), 100_000)
    run = simulate(trace, colocated(WorkerPool(spec)), recorder=Recorder(records=True))
    firsts = [record.first_s - record.arrival_s for record in sorted(run.records, key=lambda each: each.arrival_s)]
    waits = serving.waits_s(np.array([request.time_s for request in trace]), service_s)
    assert firsts == pytest.approx((waits + service_s).tolist(), abs=1e-9)


def test_the_queue_s_mean_is_that_of_m_d_1():
    load, rate, alone, wait, first = figures.numbers(explore.queue_wait(0.8))
    assert rate * alone == pytest.approx(load)
    assert wait == pytest.approx(load * alone / (2 * (1 - load))) == pytest.approx(first - alone)
    curve, _, dots, *_ = figures.lines(explore.queue_wait)
    assert dots[1] == pytest.approx(np.interp(dots[0], *curve), rel=0.05)  # 2.5 standard errors at a load of 0.8


# --- chunks and memory -------------------------------------------------------------------------------------------


def test_larger_chunks_mean_longer_gaps_and_whole_prompts_the_longest():
    runs = serving.chunk_runs(16.0)
    gaps = [run.overall.worst_gap.p99 for run in runs]
    assert all(a < b for a, b in pairwise(gaps))
    assert gaps[-1] > 15 * gaps[3] > 100 * gaps[0]  # prompts first, chunks of 2,048 and of 256
    assert all(run.accounts.finished == 250 for run in runs)
    load, *shown = figures.numbers(explore.chunk_tradeoff())
    wanted = [(runs[i].overall.ttft.p99, runs[i].overall.worst_gap.p99) for i in (1, 3, 6, 7)]
    assert (load, *shown) == pytest.approx((16, *(x for pair in wanted for x in pair)))


def test_our_watermark_has_the_shape_of_vllm_s_table():
    first, last, ours_first, ours_last, best, ours_best = figures.numbers(explore.watermark_shape())
    assert (first, last, best) == (1065, 168, 0.05)
    assert (ours_first, ours_last) == pytest.approx((first, last), rel=0.35)  # as in tests/serving/test_published.py
    assert 0 < ours_best < 0.15
    published = figures.lines(explore.watermark_shape)[0][1]
    rows = CATALOG.tables["vllm-watermark"].rows
    assert published.tolist() == pytest.approx([row.preemptions / rows[0].preemptions for row in rows])


# --- transfers ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("key", "setup_ms", "gb_s"), [("qwen3-235b", 1.84, 171), ("qwen3-8b", 0.39, 146)])
def test_two_published_tables_are_a_set_up_and_a_bandwidth(key, setup_ms, gb_s):
    table = CATALOG.transfers[key]
    link = serving_published.fitted_link(table)
    assert (1e3 * link.latency_s, link.bandwidth_bytes_s / 1e9) == pytest.approx((setup_ms, gb_s), rel=0.015)
    for moved, seconds in zip(table.moved_bytes, table.transfer_s, strict=True):
        assert link.alone_s(moved) == pytest.approx(seconds, rel=0.08)
    drawn = [line for line in figures.lines(explore.transfer_times) if line.shape[1] == 9]
    assert any(line[1].tolist() == pytest.approx([1e3 * s for s in table.transfer_s]) for line in drawn)


# --- what others published ---------------------------------------------------------------------------------------


def test_all_factors_of_separation_are_drawn_once():
    """The ledger's claim `pd-2-3x` counts the same."""
    factors = [
        factor
        for gain in CATALOG.gains.values()
        if gain.lever == "separation" and gain.equal_chips
        for factor in dict.fromkeys((gain.low, gain.high))
    ]
    factors += [cluster.gain for cluster in CATALOG.clusters.values() if cluster.gain is not None]
    dots = np.concatenate(
        [line.get_xdata() for line in figures.axes_of(explore.published_gains).lines if line.get_marker() == "o"]
    )
    assert sorted(dots) == pytest.approx(sorted(factors))
    count, inside, losses, low, high = figures.numbers(explore.published_gains())
    assert (count, low, high) == (16, min(factors), max(factors))
    assert (inside, losses) == (sum(2 <= f <= 3 for f in factors), sum(f <= 1 for f in factors)) == (2, 5)


def test_the_article_s_threshold_on_real_traffic():
    """Shares counted from the raw traces: requests and prompt tokens above 4,096 (serving facts, section 4)."""
    counted = {
        "azure-conv": (0.021, 0.082),
        "azure-code": (0.141, 0.42),
        "mooncake-conversation": (0.659, 0.95),
        "m-large": (0.013, 0.107),
        "deepseek-r1": (0.068, 0.72),
    }
    for name, shares in counted.items():
        assert arrivals.lengths_of(name).longer_than(4096) == pytest.approx(shares, abs=0.006)
    threshold, *shares = figures.numbers(explore.length_rule())
    assert threshold == 4096 == serving_published.ARTICLE_TOKENS
    assert shares[:2] == pytest.approx(arrivals.lengths_of("azure-conv").longer_than(4096))
    middle = arrivals.lengths_of("m-mid")
    for before, after in pairwise(serving_published.THRESHOLDS):
        assert middle.longer_than(after) <= middle.longer_than(before)


# --- both layouts ------------------------------------------------------------------------------------------------


def test_at_the_default_each_layout_wins_something():
    """As in Mooncake's table on A10: separated, first tokens come later and the worst gap is shorter."""
    together, apart = serving_live.both_layouts(12.0, 2048, 256, 2, 50e9)
    assert together.overall.ttft.p99 < apart.overall.ttft.p99 / 2
    assert together.overall.tpot.p99 > 1.3 * apart.overall.tpot.p99
    assert together.overall.worst_gap.p99 > 3 * apart.overall.worst_gap.p99
    shown = figures.numbers(explore.two_layouts())
    assert shown[:3] == [12, 2048, 256]
    wanted = [getattr(run.overall, name).p99 for run in (together, apart) for name in ("ttft", "tpot", "worst_gap")]
    assert shown[3:] == pytest.approx(wanted)


def test_a_wrong_split_s_queue_grows_and_a_slow_link_shows():
    wrong = explore.two_layouts(16.0, prefill_workers=1)
    assert "its queue grows" in wrong.words.note and "growing" in wrong.wide
    assert "grows" not in explore.two_layouts(16.0, prefill_workers=3).words.note
    fast, slow = (serving_live.both_layouts(8.0, 2048, 256, 2, link)[1] for link in (50e9, 2e9))
    assert slow.overall.worst_gap.p99 > 5 * fast.overall.worst_gap.p99
    assert slow.overall.ttft.p50 == pytest.approx(fast.overall.ttft.p50, rel=0.1)


@pytest.mark.parametrize(
    ("ttft_s", "tpot_s", "layouts"),
    [
        (1.0, 0.02, {"together": serving.together(512), "apart": serving.apart(3)}),
        (0.5, 0.06, {"together": serving.together(), "apart": serving.apart(3)}),
        (5.0, 0.25, {"together": serving.together(), "apart": serving.apart(3)}),
    ],
)
def test_the_map_s_rates_are_those_of_simulations(ttft_s, tpot_s, layouts):
    """Below the closed form's highest rate both objectives are met by 90% each, 15% above it they are not."""
    rates = dict(zip(layouts, serving_live.served_within(2048, 256, ttft_s, tpot_s), strict=True))
    assert rates["apart"] > 1.2 * rates["together"] or tpot_s > 0.03
    assert rates["together"] > 1.1 * rates["apart"] or tpot_s < 0.03
    for name, layout in layouts.items():
        for factor, met in ((0.85, True), (1.15, False)):
            recorder = Recorder(Objective(ttft_s, tpot_s, share=0.9), warm_up_s=10.0)
            run = simulate(serving.load_of(factor * rates[name], 1000), layout, recorder=recorder)
            kept_up = run.overall.attainment >= 0.8 and not run.stability.growing
            assert kept_up == met, (name, factor, run.overall.attainment)


def test_the_map_s_cells_are_what_it_tells():
    both, split = serving_live.regimes(2048, 256)
    assert (both >= 0).all() and all(figures.rises(row) for row in both) and all(figures.rises(row) for row in split.T)
    for ttft_s, tpot_s in ((0.3, 0.1), (10.0, 0.02)):
        place = (int(np.abs(serving_live._TOKEN - tpot_s).argmin()), int(np.abs(serving_live._FIRST - ttft_s).argmin()))
        told = serving_live.served_within(
            2048, 256, float(serving_live._FIRST[place[1]]), float(serving_live._TOKEN[place[0]])
        )
        assert told == pytest.approx((both[place], split[place]))
    marks = {tuple(np.ravel(line.get_data()).tolist()) for line in figures.axes_of(explore.regime_map).lines}
    for key in ("taichi-both", "taichi-separated", "taichi-mixed"):
        values = CATALOG.regimes[key].values
        assert (values["ttft_s"], 1e3 * values["tpot_s"]) in marks


# --- the engine's runs -------------------------------------------------------------------------------------------


def test_recorded_runs_are_whole_and_small():
    stored = serving_diagrams.recorded_runs()
    assert serving_diagrams.TIMELINES.stat().st_size < 10_000
    assert stored == json.loads(serving_diagrams.TIMELINES.read_text())
    for name in ("together", "apart"):
        run = stored[name]
        assert len(run["requests"]) == len(run["worst_gap_s"]) == stored["load"]["requests"]
        for place in range(len(run["workers"])):
            spans = sorted((start, end) for worker, _, start, end, _ in run["activities"] if worker == place)
            assert all(before[1] <= after[0] + 2e-4 for before, after in pairwise(spans))  # nobody does two things
        for place, (arrival, first, last) in enumerate(run["requests"]):
            kinds = [
                kind for _, kind, _, _, requests in sorted(run["activities"], key=lambda a: a[2]) if place in requests
            ]
            assert kinds[0] == "p" and kinds[-1] == "d" and ("t" in kinds) == (name == "apart")
            assert arrival < first < last
    sizes = {name: [kind for _, kind, *_ in stored[name]["activities"]].count("p") for name in ("together", "apart")}
    assert set(sizes.values()) == {stored["load"]["requests"]}


def test_the_gantt_shows_each_prefill():
    drawn = explore.engine_gantt().wide
    prefills = len(re.findall(rf'fill="{explore.COLOURS["miss"]}"', drawn))
    assert prefills == 2 * serving_diagrams.recorded_runs()["load"]["requests"]
    first, gap, last, *apart = figures.numbers(explore.engine_gantt())
    run = serving_diagrams.recorded_runs()["together"]
    assert first == pytest.approx(np.mean([b - a for a, b, _ in run["requests"]]))
    assert (gap, last) == (max(run["worst_gap_s"]), max(last for *_, last in run["requests"]))
    assert len(apart) == 3


def test_the_deployment_fits_and_its_room_is_the_worker_s():
    assert serving.worker().kv_tokens == roofline.kv_room(serving.served_node()).tokens() > 400_000
    assert [serving.apart(n).chips for n in (1, 2, 3)] == [serving.together().chips] * 3 == [16] * 3
