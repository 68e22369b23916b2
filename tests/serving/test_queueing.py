"""The simulator beside queueing theory: path by path where there is a recursion, else formulas with computed intervals."""

import math
from itertools import accumulate

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving.serving_oracles import (
    Rules,
    constant_wait,
    deterministic_ttft,
    engine,
    fluid_batch,
    lindley,
    linear,
    orca,
    pipeline_ttft,
    poisson,
    pollaczek_khinchine,
    sarathi,
    shared_sojourn,
    tensor_ttft,
    vllm,
)

from costlab.roofline.mixed import StepCost
from costlab.serving.colocated import Colocated
from costlab.serving.recorder import Recorder
from costlab.serving.schedulers import Orca, Sarathi, VllmV1
from costlab.serving.simulate import WorkerSpec, simulate
from costlab.traces import Request

AMPLE = 10**9  # tokens of memory, where memory is not the point


def served(requests, cost, scheduler, tokens=AMPLE, block=16, workers=1, jumps=True):
    """Serve (arrival, prompt, answer), which come to the workers in turn; arrivals differ."""
    spec = WorkerSpec(cost, scheduler, tokens, block)
    calls = (Request(*request, ()) for request in requests)
    report = simulate(calls, Colocated([spec] * workers), recorder=Recorder(records=True), jumps=jumps)
    assert report.accounts.finished == len(requests)
    return report


def waits_of(report, services):
    return [r.last_s - r.arrival_s - service for r, service in zip(report.records, services, strict=True)]


ONE = VllmV1(budget=10**6, max_running=1)
MANY = VllmV1(budget=10**9, max_running=10**6)


def geometric(mean, count, seed):
    return np.random.default_rng(seed).geometric(1 / mean, count).tolist()


# --- one at a time -------------------------------------------------------------------------------------------------


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
    free, expected = [0.0] * servers, []
    for arrival in arrivals:
        first = free.index(min(free))
        expected.append(max(0.0, free[first] - arrival))
        free[first] = arrival + expected[-1] + 0.5
    assert waits_of(report, [0.5] * 3000) == pytest.approx(expected, abs=1e-9)


# --- what the recursion has in the mean ------------------------------------------------------------------------------
# The simulator takes these paths exactly, so its mean is theirs; two million customers have a mean within 1%.

CUSTOMERS = 2_000_000


def mean_wait(gaps, services):
    """The mean of Lindley's recursion: the walk of service less gap above the lowest point that it has had."""
    walk = np.concatenate([[0.0], np.cumsum(services[:-1] - gaps[1:])])
    return float(np.mean(walk - np.minimum.accumulate(walk)))


@pytest.mark.parametrize("load", [0.5, 0.8])
def test_the_mean_wait_of_one_server_is_pollaczek_and_khinchines(load):
    """Prefill and a geometric answer: at load 0.8 two million waits have a mean within 0.5% (one standard deviation)."""
    rng = np.random.default_rng(2)
    services = 0.2 + 0.01 * (rng.geometric(1 / 20, CUSTOMERS) - 1)
    rate = load / services.mean()
    found = mean_wait(rng.exponential(1 / rate, CUSTOMERS), services)
    assert found == pytest.approx(pollaczek_khinchine(rate, services), rel=0.015)


@pytest.mark.parametrize("load", [0.5, 0.8])
def test_replicas_pipelines_and_tensor_parallel_chips_wait_as_distserve_says(load):
    """Two chips in a row start twice as often and take as long; two that share each layer are faster by their factor."""
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


# --- batches ------------------------------------------------------------------------------------------------------


def test_a_step_that_grows_with_the_batch_shares_the_server_whatever_the_lengths():
    """Step time = batch x c: each has an equal share, and waits for its work / (1 - load), short answers or long.

    Path by path beside the ideal sharing of infinitely short steps: nobody differs by more than a few steps; and the
    mean within the interval of 40 batch means.
    """
    rng = np.random.default_rng(5)
    count, step, load = 4000, 0.001, 0.6
    lengths = np.where(rng.random(count) < 0.8, 50, 300)
    arrivals = np.cumsum(rng.exponential(100 * step / load, count))
    requests = [(t, 1, int(n) + 1) for t, n in zip(arrivals.tolist(), lengths, strict=True)]
    report = served(requests, StepCost.linear(sequence_s=step), MANY)
    took = np.array([r.last_s - r.arrival_s for r in report.records])
    ideal = np.array(shared(arrivals.tolist(), (lengths * step).tolist()))
    batch = np.array([most_present(arrivals, arrivals + took, start) for start in arrivals])
    assert np.all(np.abs(took - ideal) < 3 * step * (batch + 1))
    for length in (50, 300):
        slow = (took / (lengths * step))[lengths == length]
        means = slow[: slow.size // 20 * 20].reshape(20, -1).mean(axis=1)
        error = 3 * means.std(ddof=1) / math.sqrt(20)
        assert slow.mean() == pytest.approx(shared_sojourn(1.0, load), abs=error)
        assert error < 0.5


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


def most_present(arrivals, ends, at):
    return np.count_nonzero((arrivals <= at) & (ends > at))
