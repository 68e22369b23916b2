"""The simulator beside queueing theory: path by path where there is a recursion, else formulas with their intervals."""

import math
from itertools import accumulate, pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving.serving_oracles import (
    constant_wait,
    deterministic_ttft,
    fluid_batch,
    kiefer_wolfowitz,
    lindley,
    pipeline_ttft,
    poisson,
    pollaczek_khinchine,
    shared_sojourn,
    tensor_ttft,
)

from costlab.roofline.mixed import StepCost
from costlab.serving.layouts import WorkerPool, colocated
from costlab.serving.recorder import Recorder
from costlab.serving.schedulers import VllmV1
from costlab.serving.simulation import WorkerSpec, simulate
from costlab.traces import Request

AMPLE = 10**9  # tokens of memory, where memory is not the point


def served(requests, cost, scheduler, tokens=AMPLE, block=16, workers=1, jumps=True):
    """Serve (arrival, prompt, answer), which come to the workers in turn; arrivals differ."""
    spec = WorkerSpec(cost, scheduler, tokens, block)
    calls = (Request(*request, ()) for request in requests)
    layout = colocated(WorkerPool(spec, workers, "round robin"))
    report = recorded(calls, layout, jumps)
    assert report.accounts.finished == len(requests)
    return report


def recorded(requests, layout, jumps=True):
    return simulate(requests, layout, recorder=Recorder(records=True), jumps=jumps)


def waits_of(report, services):
    return [r.last_s - r.arrival_s - service for r, service in zip(report.records, services, strict=True)]


ONE = VllmV1(budget=10**6, max_running=1)
MANY = VllmV1(budget=10**9, max_running=10**6)


def geometric(mean, count, seed):
    return np.random.default_rng(seed).geometric(1 / mean, count).tolist()


# --- one at a time -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("load", [0.5, 0.9, 1.2])
def test_one_at_a_time_is_lindleys_recursion_path_by_path(load):
    """Prompt and answer as one service, of unlike lengths, up to an overload: each wait to 1e-9."""
    lengths = geometric(20, 2000, seed=1)
    services = [0.2 + 0.01 * (length - 1) for length in lengths]
    arrivals = poisson(load / np.mean(services), 2000)
    requests = [(arrival, 1000, length) for arrival, length in zip(arrivals, lengths, strict=True)]
    report = served(requests, StepCost.fixed(0.2, 0.01), ONE)
    assert waits_of(report, services) == pytest.approx(lindley(arrivals, services), abs=1e-9)
    first = [r.first_s - r.arrival_s - 0.2 for r in report.records]
    assert first == pytest.approx(lindley(arrivals, services), abs=1e-9)


@given(st.lists(st.tuples(st.integers(1, 50), st.integers(1, 40), st.integers(1, 9)), min_size=1, max_size=12))
def test_lindleys_recursion_on_any_path(drawn):
    """Arrivals and ends of steps in the same instant among them; the times are exact in binary."""
    arrivals = [gap / 8 for gap in accumulate(gap for gap, _, _ in drawn)]
    services = [prompt / 4 + (length - 1) / 4 for _, prompt, length in drawn]
    requests = [(t, prompt, length) for t, (_, prompt, length) in zip(arrivals, drawn, strict=True)]
    report = served(requests, StepCost.linear(token_s=0.25, sequence_s=0.25), ONE)
    assert waits_of(report, services) == lindley(arrivals, services)


@pytest.mark.parametrize("servers", [2, 4, 8])
def test_constant_services_in_turns_are_one_queue_for_all_servers(servers):
    """M/D/c path by path: with equal services the k-th customer gets the server of the (k - c)-th."""
    arrivals = poisson(0.8 * servers / 0.5, 3000, seed=servers)
    report = served([(t, 100, 1) for t in arrivals], StepCost.fixed(0.5, 0.0), ONE, workers=servers)
    services = [0.5] * 3000
    assert waits_of(report, services) == pytest.approx(kiefer_wolfowitz(arrivals, services, servers), abs=1e-9)


# --- what the recursion has in the mean --------------------------------------------------------------------------
# The simulator takes these paths exactly, so its mean is theirs; two million customers have a mean within 1%.

CUSTOMERS = 2_000_000


def mean_wait(gaps, services):
    """The mean of Lindley's recursion: the walk of service less gap above the lowest point that it has had."""
    walk = np.concatenate([[0.0], np.cumsum(services[:-1] - gaps[1:])])
    return float(np.mean(walk - np.minimum.accumulate(walk)))


@pytest.mark.parametrize("load", [0.5, 0.8])
def test_the_mean_wait_of_one_server_is_pollaczek_and_khinchines(load):
    """Prefill and a geometric answer: at load 0.8 the mean of two million waits has a standard deviation of 0.5%."""
    rng = np.random.default_rng(2)
    services = 0.2 + 0.01 * (rng.geometric(1 / 20, CUSTOMERS) - 1)
    rate = load / services.mean()
    found = mean_wait(rng.exponential(1 / rate, CUSTOMERS), services)
    assert found == pytest.approx(pollaczek_khinchine(rate, services), rel=0.015)


@pytest.mark.parametrize("load", [0.5, 0.8])
def test_replicas_pipelines_and_tensor_parallel_chips_wait_as_distserve_says(load):
    """Two chips in a row start twice as often and take as long; two that share each layer are as much faster."""
    service = 0.5
    rate = load / service
    gaps = np.random.default_rng(3).exponential(1 / rate, CUSTOMERS)

    def ttft(start_every, takes):
        return takes + mean_wait(gaps, np.full(CUSTOMERS, start_every))

    assert ttft(service, service) == pytest.approx(deterministic_ttft(rate, service), rel=0.01)
    assert ttft(service / 2, service) == pytest.approx(pipeline_ttft(rate, service), rel=0.01)
    assert ttft(service / 1.7, service / 1.7) == pytest.approx(tensor_ttft(rate, service, 1.7), rel=0.01)


@pytest.mark.parametrize("servers", [2, 8])
@pytest.mark.parametrize("load", [0.5, 0.8])
def test_several_servers_wait_as_cosmetatos_says(servers, load):
    """Each server sees every c-th arrival; half of M/M/c alone would be 1 to 20% short."""
    gaps = np.random.default_rng(4).exponential(1 / (load * servers), CUSTOMERS)
    arrivals = np.cumsum(gaps)
    each = [np.diff(arrivals[server::servers], prepend=0.0) for server in range(servers)]
    found = np.mean([mean_wait(own, np.ones(own.size)) for own in each])
    assert found == pytest.approx(constant_wait(load * servers, 1.0, servers), rel=0.02)


# --- batches -----------------------------------------------------------------------------------------------------


def shared_path(step, count=3000, load=0.6):
    """Answers of 50 and of 300 units of work, served in steps of so many seconds a sequence; and shared ideally."""
    rng = np.random.default_rng(5)
    works = np.where(rng.random(count) < 0.8, 0.05, 0.3)
    arrivals = np.cumsum(rng.exponential(0.1 / load, count)).tolist()
    lengths = np.round(works / step).astype(int).tolist()
    requests = [(t, 1, n + 1) for t, n in zip(arrivals, lengths, strict=True)]
    report = served(requests, StepCost.linear(sequence_s=step), MANY)
    took = np.array([r.last_s - r.arrival_s for r in report.records])
    return works, took, np.array(shared(arrivals, works.tolist()))


def test_a_step_that_grows_with_the_batch_shares_the_server():
    """Step time = batch x c: each has an equal share, path by path, but for a part of a step at its ends."""
    off = []
    for step in (0.002, 0.001):
        _, took, ideal = shared_path(step)
        assert took.mean() == pytest.approx(ideal.mean(), rel=0.002)
        off.append(np.quantile(np.abs(took - ideal), 0.99))
    assert off[1] < 0.02
    assert off[1] == pytest.approx(off[0] / 2, rel=0.1)


def test_the_time_in_a_shared_server_is_the_work_over_what_is_left_of_it():
    """x / (1 - load) for short answers and long ones, within three standard errors of 20 batch means."""
    works, took, _ = shared_path(0.001, count=4000)
    for work in (0.05, 0.3):
        slow = (took / work)[works == work]
        means = slow[: slow.size // 20 * 20].reshape(20, -1).mean(axis=1)
        error = 3 * means.std(ddof=1) / math.sqrt(20)
        assert error < 0.5
        assert slow.mean() == pytest.approx(shared_sojourn(1.0, 0.6), abs=error)


def shared(arrivals, works):
    """Time in the system of each customer of a server that all present share equally, from event to event."""
    left, took, now, coming = {}, [0.0] * len(works), 0.0, 0
    while coming < len(works) or left:
        end = now + min(left.values()) * len(left) if left else math.inf
        until = min(end, arrivals[coming] if coming < len(works) else math.inf)
        for name in left:
            left[name] -= (until - now) / len(left)
        now = until
        if now < end:
            left[coming] = works[coming]
            coming += 1
        else:
            name = min(left, key=left.get)
            del left[name]
            took[name] = now - arrivals[name]
    return took


@pytest.mark.parametrize("per_sequence", [1e-4, 5e-4])
def test_an_unlimited_batch_settles_where_the_fluid_limit_has_it(per_sequence):
    """Half the saturation load, and the path's own rate: the limit leaves out that a request also meets itself.

    So it is c / a short, 1% and 5% here; with step + c for the step the batch is within 0.6%, step times within 0.3%.
    """
    tokens, step = 101, 0.01
    arrivals = poisson(0.5 / (100 * per_sequence), 8000, seed=0)
    report = served([(t, 1, tokens) for t in arrivals], StepCost.linear(step, sequence_s=per_sequence), MANY)
    begin, end = 50.0, arrivals[-1]
    warm = [r for r in report.records if r.arrival_s > begin]
    present = sum(max(0.0, min(r.last_s, end) - max(r.first_s, begin)) for r in report.records) / (end - begin)
    decode_step = np.mean([(r.last_s - r.first_s) / (tokens - 1) for r in warm])
    rate = len(warm) / (end - begin)
    batch, step_s = fluid_batch(rate, tokens - 1, step, per_sequence)
    assert present / batch - 1 == pytest.approx(per_sequence / step, abs=0.006)
    batch, step_s = fluid_batch(rate, tokens - 1, step + per_sequence, per_sequence)
    assert present == pytest.approx(batch, rel=0.006)
    assert decode_step == pytest.approx(step_s, rel=0.003)


@pytest.mark.parametrize("geometrical", [True, False])
def test_with_constant_steps_the_batch_is_poisson_whatever_the_lengths(geometrical):
    """M/G/infinity: mean and variance are rate x mean time in decode, within three standard errors of 40 stretches."""
    count, rate, step = 8000, 20.0, 0.01
    lengths = geometric(100, count, seed=7) if geometrical else [100] * count
    arrivals = poisson(rate, count, seed=8)
    requests = [(t, 1, n + 1) for t, n in zip(arrivals, lengths, strict=True)]
    report = served(requests, StepCost.fixed(0.0, step), MANY)
    first, last = (np.sort([getattr(r, name) for r in report.records]) for name in ("first_s", "last_s"))
    times = np.linspace(10.0, arrivals[-1], 4000)
    present = np.searchsorted(first, times, side="right") - np.searchsorted(last, times, side="right")
    mean = rate * np.mean(lengths) * step
    stretches = present.reshape(40, -1)
    for found in (stretches.mean(axis=1), ((stretches - mean) ** 2).mean(axis=1)):
        assert found.mean() == pytest.approx(mean, abs=3 * found.std(ddof=1) / math.sqrt(40))


def test_littles_law_holds_exactly_over_a_finished_run():
    """Requests in the system, integrated from event to event, are all requests' times added up."""
    requests = [(t, n, n) for t, n in zip(poisson(30.0, 500), geometric(40, 500, seed=9), strict=True)]
    report = served(requests, StepCost.linear(0.004, token_s=1e-4, context_s=1e-6), VllmV1(64, 8), tokens=3200)
    events = sorted([(r.arrival_s, 1) for r in report.records] + [(r.last_s, -1) for r in report.records])
    area = present = 0
    for (now, change), (then, _) in pairwise(events):
        present += change
        area += present * (then - now)
    latency = report.overall.latency
    rate = latency.count / report.span_s
    assert report.area_s == pytest.approx(area, rel=1e-9)
    assert report.mean_in_system == pytest.approx(rate * latency.mean, rel=1e-9)
    (pool,) = report.pools
    assert (pool.entered, pool.left) == (500, 500)
    assert pool.residence_s == pytest.approx(latency.total, rel=1e-9)
    assert pool.area_s == pytest.approx(area, rel=1e-9)
