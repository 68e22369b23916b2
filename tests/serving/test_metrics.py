"""What is measured of a request, how it is kept, and whether a growing queue is told from a long one."""

import itertools
import json
import math
import tracemalloc

import numpy as np
import pytest
from effort import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from costlab.serving import metrics
from costlab.serving.metrics import Histogram, Objective
from costlab.serving.recorder import Classes, Recorder
from costlab.serving.report import Accounts, LinkUse, PoolUse
from costlab.serving.stability import CRITICAL, Levels
from costlab.traces import Request

SHARES = (0.0, 0.1, 0.5, 0.9, 0.95, 0.99, 0.999, 1.0)


# --- definitions -----------------------------------------------------------------------------------------------


def test_the_definitions_at_one_request():
    """Arrival at 1, tokens at 3, 3.1, 3.5, 3.6: the queue is in TTFT, the first token is not in TPOT."""
    times = [3.0, 3.1, 3.5, 3.6]
    assert metrics.ttft_s(1.0, times[0]) == 2.0
    assert metrics.tpot_s(times[0], times[-1], 4) == pytest.approx(0.2)  # 0.6 s over 3 gaps, not over 4 tokens
    assert metrics.gaps_s(times) == pytest.approx([0.1, 0.4, 0.1])
    assert metrics.worst_gap_s(times) == pytest.approx(0.4)
    assert metrics.ttft_s(1.0, times[0]) + sum(metrics.gaps_s(times)) == pytest.approx(times[-1] - 1.0)


def test_one_token_has_no_time_per_token_and_cannot_miss_it():
    assert math.isnan(metrics.tpot_s(3.0, 3.0, 1))
    assert math.isnan(metrics.worst_gap_s([3.0]))
    assert Objective(ttft_s=1, tpot_s=0.1).met(0.5, math.nan)
    assert not Objective(ttft_s=1, tpot_s=0.1).met(1.5, math.nan)


def test_an_objective_asks_all_of_its_limits():
    asked = Objective(ttft_s=1, tpot_s=0.1, worst_gap_s=0.5)
    assert asked.met(1.0, 0.1, 0.5)
    assert not asked.met(1.01, 0.1, 0.5)
    assert not asked.met(1.0, 0.11, 0.5)
    assert not asked.met(1.0, 0.1, 0.51)


@pytest.mark.parametrize("name", ["ttft_s", "tpot_s", "worst_gap_s"])
@pytest.mark.parametrize("value", [0, -1, math.nan])
def test_an_objective_is_above_nothing(name, value):
    with pytest.raises(ValueError, match=f"{name} = {value}"):
        Objective(**{name: value})


@pytest.mark.parametrize("share", [0, 1.1, math.nan])
def test_a_share_lies_between_0_and_1(share):
    with pytest.raises(ValueError, match="share"):
        Objective(share=share)
    with pytest.raises(ValueError, match="share"):
        metrics.quantile([1.0], 1 + share if share else -0.1)


@settings(max_examples=examples(100), deadline=None)
@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=2000), st.sampled_from(SHARES))
def test_a_percentile_is_numpys_inverted_distribution(values, share):
    assert metrics.quantile(values, share) == np.quantile(values, share, method="inverted_cdf")


def test_999_of_1000_values_are_no_more_than_the_999th():
    assert metrics.quantile(range(1, 1001), 0.999) == 999
    assert metrics.quantile(range(1, 1002), 0.999) == 1000
    assert metrics.quantile(range(1, 101), 0.07) == 7  # 0.07 x 100 is a little above 7 in floating point


# --- histograms ------------------------------------------------------------------------------------------------


@settings(max_examples=examples(60), deadline=None)
@given(st.integers(0, 2**32), st.floats(0.2, 3.0), st.sampled_from([0.005, 0.02]), st.sampled_from([0, 10_000]))
def test_percentiles_are_as_near_as_is_said(seed, spread, error, exact):
    values = np.random.default_rng(seed).lognormal(-3, spread, 3000)
    histogram = Histogram(error, exact)
    histogram.add(values[0])
    histogram.add_many(values[1:1500])
    for value in values[1500:].tolist():
        histogram.add(value)
    true = np.quantile(values, SHARES, method="inverted_cdf")
    found = histogram.quantiles(SHARES)
    assert found == pytest.approx(true, rel=0 if exact else error * (1 + 1e-9))
    assert (histogram.count, histogram.total) == (3000, pytest.approx(values.sum()))
    assert histogram.mean == histogram.total / histogram.count
    spread = histogram.distribution()
    assert (spread.least, spread.most) == (values.min(), values.max())
    assert spread.relative_error == (0 if exact else error)


RUN = st.tuples(st.integers(1, 40), st.floats(1e-4, 1.0), st.floats(0.3, 3.0), st.integers(1, 500))


def expanded(runs):
    return np.concatenate([np.repeat(np.linspace(a, a * f if k > 1 else a, k), n) for n, a, f, k in runs])


@settings(max_examples=examples(80), deadline=None)
@given(st.lists(RUN, min_size=1, max_size=12))
def test_a_stretch_of_steps_counts_like_its_steps(runs):
    """In closed form or one by one: the same values, and in bins the same bins but for values at an edge."""
    kept, binned, each = Histogram(exact=10**6), Histogram(exact=0), Histogram(exact=0)
    for copies, first, factor, steps in runs:
        kept.add_runs([copies, first, first * factor if steps > 1 else first, steps])
        binned.add_runs([copies, first, first * factor if steps > 1 else first, steps])
    values = expanded(runs)
    each.add_many(values)
    assert kept.count == binned.count == values.size
    assert kept.quantiles(SHARES) == pytest.approx(np.quantile(values, SHARES, method="inverted_cdf"))
    assert binned.quantiles(SHARES) == pytest.approx(each.quantiles(SHARES), rel=0.011)  # a neighbouring bin
    assert binned.distribution().most == pytest.approx(values.max())
    assert binned.total == pytest.approx(values.sum())
    assert abs(binned._bins - each._bins).sum() <= 2 * sum(copies for copies, *_ in runs)


@pytest.mark.parametrize("bin_", [100, 777, 1500, 2222])
def test_no_step_is_lost_at_a_bins_edge(bin_):
    """A stretch that ends at the edge of a bin, where rounding decides into which bin its last step falls."""
    histogram = Histogram(exact=0)
    edge = histogram.LEAST * math.exp(bin_ * 2 * math.log1p(0.005))
    for last in (np.nextafter(edge, 0), edge, np.nextafter(edge, 1)):
        histogram.add_runs([1, edge / 2, last, 10])
        histogram.add_runs([1, last, last, 10])
    assert histogram.quantile(1) > 0
    assert histogram._bins.sum() == histogram.count == 60


def test_an_empty_histogram_has_nothing_to_say():
    spread = Histogram().distribution()
    assert spread.count == 0
    assert all(math.isnan(value) for value in (spread.mean, spread.p50, spread.p999, spread.most))


def test_nothing_is_a_time_too():
    histogram = Histogram(exact=0)
    histogram.add_many([0.0, 0.0, 1.0])
    assert histogram.quantiles([0.5, 1.0]) == [0.0, 1.0]
    with pytest.raises(ValueError, match="relative_error = 0"):
        Histogram(0)


# --- the recorder ----------------------------------------------------------------------------------------------


def served(requests, rate, rng, service_s=1.0, decode_s=2.0):
    """Arrivals, first and last tokens of a queue with one server, by Lindley's recursion."""
    gaps = rng.exponential(1 / rate, requests)
    return queue(gaps, np.full(requests, service_s), decode_s)


def queue(gaps, services, decode_s=0.0):
    walk = np.concatenate([[0.0], np.cumsum(services[:-1] - gaps[1:])])
    arrivals = np.cumsum(gaps)
    first = arrivals + walk - np.minimum.accumulate(walk) + services
    return arrivals, first, first + decode_s


def recorded(arrivals, first, last, tokens=5, **options):
    recorder = Recorder(**options)
    for row in zip(arrivals.tolist(), first.tolist(), last.tolist(), strict=True):
        recorder.arrive(row[0])
        recorder.finish(*row, 100, tokens, (row[2] - row[1]) / 4 + 0.01)
        recorder.gaps(1, (row[2] - row[1]) / (tokens - 1), (row[2] - row[1]) / (tokens - 1), tokens - 1, row[2])
    return recorder


def test_a_report_is_taken_over_what_finished_and_came_after_the_warm_up():
    arrivals, first, last = served(2000, 0.8, np.random.default_rng(1))
    report = recorded(arrivals, first, last, objective=Objective(3.0, 1.0), warm_up_s=100.0).report("one", last.max())
    late = arrivals >= arrivals[0] + 100.0
    waits = (first - arrivals)[late]
    assert report.overall.requests == late.sum() < 2000
    assert report.overall.ttft.total == pytest.approx(waits.sum())
    assert report.overall.ttft.mean == report.overall.ttft.total / report.overall.ttft.count
    assert report.overall.ttft.p99 == pytest.approx(metrics.quantile(waits, 0.99), rel=1e-12)
    assert report.overall.tpot.p50 == pytest.approx(0.5)
    assert report.overall.attainment == (waits <= 3.0).mean()
    ends = first + np.arange(1, 5)[:, None] * (last - first) / 4
    assert report.gaps.count == (ends >= arrivals[0] + 100.0).sum() < 8000
    assert report.accounts == Accounts(2000, 2000)
    assert report.total_output_tokens == 10_000
    assert report.output_tokens_per_s == 10_000 / (last.max() - arrivals[0])


def test_waits_and_gaps_sum_to_the_whole():
    """No token's time is lost or doubled: the sums of TTFT and of all gaps make that of the latencies."""
    report = recorded(*served(3000, 0.7, np.random.default_rng(2))).report("one", 1e5)
    assert report.overall.ttft.total + report.gaps.total == pytest.approx(report.latency_sum_s, rel=1e-9)
    assert report.overall.latency.total == pytest.approx(report.latency_sum_s, rel=1e-12)
    assert report.gaps.count + report.overall.requests == report.total_output_tokens


def counted_over_time(arrivals, ends):
    """The integral of how many are there, event by event."""
    events = sorted([(t, 1) for t in arrivals] + [(t, -1) for t in ends])
    area, there = 0.0, 0
    for (time, change), (upto, _) in itertools.pairwise(events):
        there += change
        area += there * (upto - time)
    return area


@pytest.mark.parametrize("requests", [1, 7, 9000])
def test_littles_law_holds_exactly_over_a_finished_run(requests):
    """Mean number x span = sum of the times, and both the integral that is counted event by event."""
    arrivals, first, last = served(requests, 0.9, np.random.default_rng(3))
    report = recorded(arrivals, first, last).report("one", float(last.max()))
    assert report.mean_in_system * report.span_s == pytest.approx(report.latency_sum_s, rel=1e-9)
    assert report.area_s == pytest.approx(counted_over_time(arrivals, last), rel=1e-9)


def test_every_request_is_somewhere():
    recorder = Recorder(Objective(1.0), records=True)
    for time in range(10):
        recorder.arrive(float(time))
    for time in range(4):
        recorder.finish(time, time + 0.5, time + 1, 10, 3)
    recorder.reject("larger than memory", 4.0, 4.0)
    recorder.reject("worker lost", 5.0, 7.0, first_s=6.0, tokens=2)
    recorder.expire(6.0, 8.0)
    recorder.cancel(7.0, 7.5)
    with pytest.raises(ValueError, match="10 requests arrived, but 8 are accounted for"):
        recorder.report("one", 10.0)
    report = recorder.report("one", 10.0, queued=[(8.0, None)], moving=[(9.0, 9.5)], unfinished_tokens=1)
    kept = report.accounts
    assert (kept.finished, kept.expired, kept.cancelled, kept.queued, kept.running, kept.moving) == (4, 1, 1, 1, 0, 1)
    assert kept.rejected == {"larger than memory": 1, "worker lost": 1}
    assert report.total_output_tokens == 4 * 3 + 2 + 1
    assert (report.overall.judged, report.overall.met) == (7, 4)  # who left of his own will is not judged
    assert report.area_s == pytest.approx(4 * 1 + 0 + 2 + 2 + 0.5 + 2 + 1)
    assert [record.arrival_s for record in report.records] == [0, 1, 2, 3]


def test_classes_are_told_apart_and_add_up():
    recorder = Recorder(Objective(1.0), classes=Classes(("short", "long"), lambda request: 0))
    for time in range(10_000):
        recorder.arrive(float(time))
        recorder.finish(
            time, time + (0.5 if time % 4 else 2.0), time + 3.0, 100 if time % 4 else 9000, 2, 0.1, time % 4 == 0
        )
    recorder.arrive(10_000.0)
    recorder.expire(10_000.0, 10_001.0, kind=1)
    report = recorder.report("one", 10_001.0)
    short, long = report.classes
    assert (short.name, short.requests, short.met) == ("short", 7500, 7500)
    assert (long.requests, long.judged, long.met, long.input_tokens) == (2500, 2501, 0, 2500 * 9000)
    assert report.overall.requests == 10_000
    assert report.overall.judged == short.judged + long.judged
    assert report.overall.ttft.total == pytest.approx(short.ttft.total + long.ttft.total)


def test_an_answer_of_one_token_has_a_first_token_only():
    recorder = Recorder(Objective(1.0, 0.1))
    recorder.arrive(0.0)
    recorder.finish(0.0, 0.5, 0.5, 10, 1)
    overall = recorder.report("one", 1.0).overall
    assert (overall.ttft.count, overall.latency.count, overall.tpot.count, overall.worst_gap.count) == (1, 1, 0, 0)
    assert (overall.judged, overall.met) == (1, 1)


def test_classes_by_the_prompts_length():
    """A limit belongs to the class below it."""
    classes = Classes.by_prompt(4096, 32_768)
    assert classes.names == ("up to 4,096", "up to 32,768", "above 32,768")
    lengths = (1, 4096, 4097, 32_768, 32_769)
    assert [classes.index(Request(0.0, tokens, 1, ())) for tokens in lengths] == [0, 0, 1, 1, 2]


@pytest.mark.parametrize(
    "row", [(5.0, 4.0, 6.0, 10, 2), (5.0, 6.0, 5.5, 10, 2), (5.0, 6.0, math.nan, 10, 2), (5.0, 6.0, 6.0, 10, 0)]
)
def test_times_out_of_order_are_an_error(row):
    recorder = Recorder()
    recorder.arrive(5.0)
    recorder.finish(*row)
    with pytest.raises(ValueError, match="out of order"):
        recorder.report("one", 7.0)


def test_bad_input_of_a_recorder():
    with pytest.raises(ValueError, match="warm_up_s = -1"):
        Recorder(warm_up_s=-1)
    for wrong in ((), ("a", "a")):
        with pytest.raises(ValueError, match="all different"):
            Classes(wrong, lambda request: 0)
    for limits in ((), (4, 4), (8, 4)):
        with pytest.raises(ValueError, match="rising"):
            Classes.by_prompt(*limits)
    with pytest.raises(ValueError, match="no request arrived"):
        Recorder().report("one", 1.0)


def test_memory_does_not_grow_with_requests():
    """After the exact values are binned, another 60,000 requests take no more than 3 MB: the buffers."""

    def serve(since, upto):
        for time in range(since, upto):
            recorder.arrive(float(time))
            recorder.finish(time, time + 0.5, time + 3.0, 100, 20, 0.1)
            recorder.gaps(4, 0.1, 0.11, 19, time + 3.0)

    recorder = Recorder()
    serve(0, 20_000)
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    serve(20_000, 80_000)
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert grown < 3e6
    assert recorder.report("one", 1e5).overall.requests == 80_000


# --- a queue that grows ----------------------------------------------------------------------------------------


def verdicts(load, cv, runs, requests, seed=0):
    """What is said of `runs` queues with one server, exponential services and gamma gaps."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(runs):
        gaps = rng.gamma(1 / cv**2, cv**2 / load, requests)
        arrivals, first, _ = queue(gaps, rng.exponential(1, requests))
        levels = Levels()
        levels.add(arrivals - arrivals[0], first - arrivals[0], first - arrivals[0])
        found.append(levels.growth(arrivals[-1] - arrivals[0], True).verdict)
    return np.array(found)


#: Load, CV of the gaps, requests, and the share of 400 runs in which a queue that keeps up may be said to grow.
#: The true shares, of 10,000 runs, are 0, 0, 0.001, 0.002, 0.018: more than allowed is seen with probability < 0.001.
FALSE_ALARMS = [
    (0.5, 1, 500, 0.005),
    (0.8, 1, 2000, 0.005),
    (0.9, 1, 2000, 0.01),
    (0.8, 3, 2000, 0.015),
    (0.9, 3, 2000, 0.045),
]


@pytest.mark.parametrize(("load", "cv", "requests", "level"), FALSE_ALARMS)
def test_a_queue_that_keeps_up_is_seldom_said_to_grow(load, cv, requests, level):
    assert (verdicts(load, cv, 400, requests) == "growing").mean() <= level


#: The same for queues that do not keep up, and the share of 200 runs in which that should be found at least.
#: The true shares, of 4,000 runs (400 of the longest), are 0.83, 0.999, 0.72, 0.98 and 0.999.
POWER = [(1.1, 1, 2000, 0.72), (1.2, 1, 2000, 0.98), (1.2, 3, 2000, 0.6), (1.05, 1, 20_000, 0.93), (1.5, 3, 2000, 0.98)]


@pytest.mark.parametrize(("load", "cv", "requests", "power"), POWER)
def test_a_queue_that_does_not_keep_up_is_found(load, cv, requests, power):
    assert (verdicts(load, cv, 200, requests) == "growing").mean() >= power


def test_the_level_is_that_of_a_walk_without_drift():
    """Student's t with 10 degrees of freedom exceeds `CRITICAL` once in twenty: 200,000 draws, s.e. 0.0005."""
    steps = np.random.default_rng(7).normal(size=(200_000, 11))
    t = steps.mean(1) / (steps.std(1, ddof=1) / math.sqrt(11))
    assert (t > CRITICAL).mean() == pytest.approx(0.05, abs=0.002)


def test_the_growth_is_the_excess_of_what_arrives():
    """At a load of 1.25 a fifth of the arrivals stays in the queue."""
    arrivals, first, last = served(4000, 1.25, np.random.default_rng(4))
    found = recorded(arrivals, first, last).report("one", last.max())
    assert found.stability.verdict == "growing"
    assert found.stability.what == "queue"
    assert found.stability.share == pytest.approx(0.2, abs=0.02)
    assert found.stability.growth_per_s == pytest.approx(0.25, abs=0.03)
    assert not found.meets_objective


def test_a_growing_batch_is_found():
    """First tokens come at once, and answers take longer and longer, as where decode is out of compute."""
    arrivals = np.arange(1.0, 4001.0)
    first = arrivals + 0.1
    last = first + 5 + 0.15 * arrivals
    found = recorded(arrivals, first, last).report("one", last.max()).stability
    assert (found.verdict, found.what) == ("growing", "batch")


def test_a_growth_that_hardly_matters_is_no_growth():
    """A hundredth of the arrivals stays in the queue, as evenly as can be."""
    arrivals = np.arange(1.0, 4001.0)
    found = recorded(arrivals, 1.01 * arrivals, 1.01 * arrivals + 1).report("one", 5000.0).stability
    assert found.verdict == "steady"


def test_those_that_leave_are_in_the_queue_or_in_a_batch():
    """Users leave after their first token, later and later: batches grow, not the queue."""
    recorder = Recorder()
    for time in range(4000):
        recorder.arrive(float(time))
        recorder.cancel(time, 1.15 * time + 1, first_s=time + 0.5)
    assert recorder.report("one", 5000.0).stability.what == "batch"


def test_a_run_shorter_than_its_answers_tells_nothing():
    arrivals = np.arange(1.0, 1001.0)
    report = recorded(arrivals, arrivals + 0.1, arrivals + 900).report("one", 2000.0)
    assert report.stability.verdict == "too short"
    assert not math.isnan(report.as_dict()["ttft"]["mean_s"])
    few = recorded(*served(50, 0.5, np.random.default_rng(0))).report("one", 1e3)
    assert few.stability.verdict == "too short"


def test_levels_widen_their_bins_and_keep_their_areas():
    rng = np.random.default_rng(8)
    arrivals = np.sort(rng.uniform(0, 5e5, 3000))
    ends = arrivals + rng.exponential(200, 3000)
    levels = Levels()
    for part in range(0, 3000, 100):
        levels.add(arrivals[part : part + 100], ends[part : part + 100], ends[part : part + 100])
    assert levels.width_s * Levels.BINS > ends.max()
    assert levels.area_s(ends.max()) == pytest.approx((ends - arrivals).sum(), rel=1e-9)


# --- the report ------------------------------------------------------------------------------------------------


def test_a_report_can_be_read():
    arrivals, first, last = served(2000, 0.8, np.random.default_rng(1))
    pools = [PoolUse("prefill", 2, 2, 500.0, 2000, 200_000, kv_blocks=100, kv_peak_blocks=40, kv_peak_share=0.4)]
    links = [LinkUse("prefill to decode", 2000, 4e12, 100.0)]
    recorder = recorded(arrivals, first, last, objective=Objective(3.0, 1.0, share=0.95))
    text = repr(recorder.report("2 prefill + 2 decode", last.max(), pools=pools, links=links, failures={"error": 3}))
    for words in (
        "2 prefill + 2 decode\n2,000 requests arrived: 2,000 finished",
        "requests met TTFT 3 s, TPOT 1 s (asked: 95%)",
        "over the 2,000 requests that finished",
        "time to first token",
        "p99.9",
        "prefill to decode  2,000      4 TB",
        "3 users saw: error",
        "40%",
    ):
        assert words in text
    assert "unstable" not in text


def test_a_growing_queue_is_said_in_the_place_of_a_mean():
    arrivals, first, last = served(4000, 1.25, np.random.default_rng(4))
    report = recorded(arrivals, first, last).report("one", last.max())
    lines = repr(report).splitlines()
    assert any(line.startswith("unstable: the queue grows by 0.2") for line in lines)
    assert next(line for line in lines if line.startswith("time to first token")).split()[4] == "–"
    document = report.as_dict()
    assert document["ttft"]["mean_s"] is None
    assert document["mean_in_system"] is None
    assert (document["verdict"], document["growing"]) == ("growing", "queue")


def test_a_report_is_json_in_base_units():
    arrivals, first, last = served(300, 0.5, np.random.default_rng(1))
    report = recorded(arrivals, first, last, classes=Classes(("a", "b"), lambda request: 0), records=True).report(
        "one", last.max()
    )
    document = json.loads(json.dumps(report.as_dict(), allow_nan=False))
    assert document["ttft"]["p99_s"] == report.overall.ttft.p99
    assert document["classes"][0]["measured_requests"] == 300
    assert document["classes"][1]["ttft"]["mean_s"] is None
    assert document["growing"] is None


def test_a_report_says_why_no_request_met_the_objective():
    """Each request alone takes longer: more servers would not help."""
    arrivals, first, last = served(200, 0.5, np.random.default_rng(1))
    report = recorded(arrivals, first, last, objective=Objective(ttft_s=0.5)).report("one", last.max())
    assert "no request met the objective: the shortest TTFT is 1 s" in repr(report)
