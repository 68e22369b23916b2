"""The planner's closed forms: against textbooks' formulas, a simulated queue, and the fluid limit of decoding."""

import dataclasses
import heapq
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from costlab import roofline, traces
from costlab.roofline import StepCost
from costlab.serving.plan.pools import Answers, Prompts
from costlab.serving.plan.sizing import Waiting, below, erlang_c, largest, no_slot, queueing, smallest
from costlab.serving.plan.workers import WorkerKind
from costlab.serving.plan.workload import BLOCK_TOKENS, Demand, Mix, demand, demand_of

# --- waiting ---------------------------------------------------------------------------------------------------


def erlang_sum(servers, load):
    """Erlang's C from its sum, A. O. Allen, Probability, Statistics, and Queueing Theory, 1990, 5.2.1."""
    last = load**servers / math.factorial(servers) * servers / (servers - load)
    return last / (sum(load**k / math.factorial(k) for k in range(servers)) + last)


@given(st.integers(1, 60), st.floats(0.01, 0.99))
def test_erlang_c_is_its_sum(servers, used):
    assert erlang_c(servers, used * servers) == pytest.approx(erlang_sum(servers, used * servers), rel=1e-9)


def test_many_servers_go_over_into_the_limit():
    """Halfin and Whitt's chance beside Erlang's, where the code changes over: within a tenth of it."""
    for used in (0.9, 0.95, 0.98):
        assert no_slot(200, 200 * used) == pytest.approx(erlang_c(200, 200 * used), rel=0.1)
    assert erlang_c(201, 190) == no_slot(201, 190)


def test_one_server_is_pollaczek_and_khinchine():
    """M/G/1: rate x E[S^2] / 2 / (1 - load), exactly; W. Feller, An Introduction to Probability Theory II, XII.5."""
    for rate, mean, cv2 in ((0.5, 1.0, 0.0), (4.0, 0.2, 1.0), (0.9, 1.0, 0.4), (2.0, 0.3, 3.0)):
        wait = queueing(1, rate, mean, cv2)
        assert wait.mean_s == pytest.approx(rate * mean**2 * (1 + cv2) / 2 / (1 - rate * mean), rel=1e-12)
        assert wait.chance == pytest.approx(rate * mean)


def simulated_wait(servers, rate, services, rng):
    """Mean wait of a first-come queue: each request goes to the server that is free first."""
    free = [0.0] * servers
    now = total = 0.0
    for gap, service in zip(rng.exponential(1 / rate, len(services)).tolist(), services, strict=True):
        now += gap
        begin = max(now, heapq.heappop(free))
        total += begin - now
        heapq.heappush(free, begin + service)
    return total / len(services)


@pytest.mark.parametrize(("servers", "used"), [(2, 0.8), (4, 0.7), (8, 0.8), (8, 0.5)])
def test_constant_service_on_several_servers(servers, used):
    """M/D/c after Cosmetatos within 8% of 60,000 simulated requests; their own spread is about 3%."""
    found = simulated_wait(servers, used * servers, [1.0] * 60_000, np.random.default_rng(7))
    assert queueing(servers, used * servers, 1.0, 0.0).mean_s == pytest.approx(found, rel=0.08)


def test_a_queue_that_grows_has_no_wait():
    assert queueing(2, 2.0, 1.0, 0.0) is None
    assert queueing(2, 1.999, 1.0, 0.0).mean_s > 100


def test_the_wait_as_a_distribution():
    wait = Waiting(0.5, 2.0)
    assert wait.within(-1) == 0 and wait.within(0) == 0.5
    steps = np.linspace(0, 200, 400_001)
    left = [1 - wait.within(t) for t in steps]
    assert np.trapezoid(left, steps) == pytest.approx(2.0, rel=1e-3)  # the mean is the area over the distribution


def test_searches_in_whole_numbers():
    assert [largest(lambda n, m=m: n <= m, 100) for m in (0, 1, 57, 100, 200)] == [0, 1, 57, 100, 100]
    assert [smallest(lambda n, m=m: n >= m, 100) for m in (0, 1, 57, 100, 101)] == [1, 1, 57, 100, None]
    assert (below(1.0, 1.0, 0.0), below(0.9, 1.0, 0.0), below(1.0, 1.0, 0.5)) == (1.0, 0.0, 0.5)


# --- the load --------------------------------------------------------------------------------------------------


def test_lengths_keep_their_means():
    load = demand(3, 2000, 300, length_cv=1.0, hit_rate=0.5)
    assert len(load.mixes) == 16
    assert load.mean(lambda mix: mix.input_tokens) == pytest.approx(2000, rel=1e-3)
    assert load.mean(lambda mix: mix.output_tokens) == pytest.approx(300, rel=5e-3)
    assert all(mix.cached_tokens % BLOCK_TOKENS == 0 and mix.new_tokens >= 1 for mix in load.mixes)
    assert load.hit_rate == pytest.approx(0.5, abs=0.01)


def test_a_whole_hit_still_computes_a_token():
    assert demand(1, 64, 2, hit_rate=1.0).mixes[0].new_tokens == 16
    assert demand(1, 65, 2, hit_rate=1.0).mixes[0].new_tokens == 1


def test_parts_of_a_load_add_up():
    load = demand(3, 2000, 300, length_cv=1.0)
    edge = sorted({mix.new_tokens for mix in load.mixes})[1]
    short, long = load.where(0, edge), load.where(edge)
    assert short.rate_per_s + long.rate_per_s == pytest.approx(3)
    assert load.where(10**9) is None


def test_requests_come_at_the_peak_rate_with_their_burstiness():
    load = demand(10, 100, 10, peak_factor=2.0, cv=3.0, hit_rate=0.5)
    drawn = list(load.requests(40_000, np.random.default_rng(3)))
    gaps = np.diff([request.time_s for request in drawn])
    assert 1 / gaps.mean() == pytest.approx(20, rel=0.06)
    assert gaps.std() / gaps.mean() == pytest.approx(3.0, rel=0.06)
    assert len(drawn[0].blocks) * BLOCK_TOKENS == load.mixes[0].cached_tokens


def test_a_trace_offers_what_arrives(tmp_path):
    """Demand is arrivals: the same rows with half of the answers missing offer half, not what was completed."""
    path = tmp_path / "rows.csv"
    rows = [f"{i / 5},{1000 + 10 * (i % 7)},{50 + i % 3}" for i in range(200)]
    path.write_text("time_s,input_tokens,output_tokens\n" + "\n".join(rows))
    load = demand_of(traces.read(str(path)))
    assert load.rate_per_s == pytest.approx(5)
    assert load.cv == pytest.approx(0.01)
    assert load.mean(lambda mix: mix.input_tokens) == pytest.approx(1030, rel=0.01)
    with pytest.raises(ValueError, match="two answered requests"):
        demand_of(traces.Trace([traces.Request(0, 1, 1, ())]))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"rate_per_s": 0}, "rate = 0"),
        ({"rate_per_s": -1}, "rate = -1"),
        ({"rate_per_s": math.nan}, "rate = nan"),
        ({"rate_per_s": math.inf}, "rate = inf"),
        ({"input_tokens": 0}, "input tokens .* got 0"),
        ({"output_tokens": 0}, "output tokens .* got 0"),
        ({"hit_rate": 1.5}, "hit rate = 1.5"),
        ({"hit_rate": math.nan}, "hit rate = nan"),
        ({"peak_factor": 0.9}, "peak factor = 0.9"),
        ({"peak_factor": math.nan}, "peak factor = nan"),
        ({"cv": 0}, "cv = 0"),
        ({"cv": math.nan}, "cv = nan"),
        ({"length_cv": -1}, "length cv = -1"),
        ({"length_cv": math.nan}, "length cv = nan"),
    ],
)
def test_a_load_that_is_none(change, says):
    with pytest.raises(ValueError, match=says):
        demand(**{"rate_per_s": 1, "input_tokens": 10, "output_tokens": 10, **change})


# --- pools -----------------------------------------------------------------------------------------------------


def kind(cost, **changes):
    """A worker whose steps take what a table says; its memory is that of a small model on a large chip."""
    node = roofline.deployment("llama-3.1-8b", "h100-sxm", 1)
    return WorkerKind("h100-sxm", node, **{"measured": cost, **changes})


def answers(cost, load, prompts=None, **changes):
    return Answers(kind(cost, **changes), load, prompts, reserve=0.05, token_s=0.1)


def test_decode_pool_is_the_fluid_limit():
    """Step a + c n: n = rate L a / (1 - rate L c), TPOT a + c n; saturated at rate L c = 1."""
    a, c = 0.01, 1e-4
    load = demand(20, 100, 201)
    pool = answers(StepCost.linear(decode_step_s=a, sequence_s=c), load)
    state = pool.at(1)
    assert state.running == pytest.approx(20 * 200 * a / (1 - 20 * 200 * c), rel=1e-5)
    assert state.token_s == pytest.approx(a + c * state.running, rel=1e-9)
    assert pool.at(2).running < state.running / 2
    assert answers(StepCost.linear(decode_step_s=a, sequence_s=c), demand(50, 100, 201)).at(1) is None


def test_the_batch_keeps_tpot_and_memory():
    pool = answers(StepCost.linear(decode_step_s=0.01, sequence_s=1e-3), demand(1, 1000, 200))
    assert pool.tpot_running == 90  # 0.01 + 90 x 0.001 = 0.1
    tight = Answers(pool.worker, demand(1, 60_000, 200), None, reserve=0.05, token_s=0.1)
    room = pool.worker.room
    most = tight.memory_running
    assert most * room.kept_bytes(60_100) <= 0.95 * room.free_bytes < (most + 1) * room.kept_bytes(60_100)
    assert tight.most_running == most < 90


def test_prompts_between_are_the_fluid_limit_too():
    """A chunk of g tokens adds d to a step: steps are T0 / (1 - rate u d / g) long."""
    load = demand(5, 1000, 101)
    pool = answers(StepCost.linear(decode_step_s=0.01, token_s=1e-4), load, load, step_tokens=1200)
    state = pool.at(1)
    chunk, added = 1000, 1000 * 1e-4
    assert state.token_s == pytest.approx(0.01 / (1 - 5 * 1000 * added / chunk), rel=1e-6)
    assert state.running == pytest.approx(5 * 100 * state.token_s, rel=1e-5)
    assert state.chunked == pytest.approx(5 * 1000 * state.token_s / chunk)
    assert pool.tpot(state, 0)[1] > 0  # prompts come by chance
    assert (
        answers(StepCost.linear(decode_step_s=0.01, token_s=1e-4), demand(11, 1000, 101), demand(11, 1000, 101)).at(1)
        is None
    )


def test_a_prefill_pool_is_an_m_d_1_queue():
    """DistServe, arXiv 2401.09670 sec. 3.1: mean TTFT = D + R D^2 / 2 (1 - R D)."""
    queue = Prompts(kind(StepCost.linear(token_s=1e-4), step_tokens=1000), demand(4, 2000, 2))
    assert queue.alone_s == pytest.approx([0.2])
    assert queue.wait(1).mean_s == pytest.approx(4 * 0.04 / 2 / (1 - 0.8))
    assert queue.per_worker_s == pytest.approx(5)
    assert queue.busy(2) == pytest.approx(0.4)


def test_short_prompts_share_a_step():
    queue = Prompts(kind(StepCost.linear(step_s=0.1, token_s=1e-5), step_tokens=1000), demand(4, 100, 2))
    assert queue.alone_s == pytest.approx([0.101])
    assert queue.mean_s == pytest.approx((0.1 + 0.01) / 10)


def test_shapes_that_differ_in_what_is_cached_are_two():
    """Of 5,000 tokens some have a half cached: they take half the time, and are read where longer ones are not."""
    load = Demand(1.0, (Mix(5000, 2, 0.5), Mix(5000, 2, 0.5, 2500)))
    whole, half = load.mixes
    worker = kind(StepCost.linear(token_s=1e-4), step_tokens=5000)
    both, short = Prompts(worker, load), Prompts(worker, load.where(0, 2500))
    assert (both.reads_s(whole), both.reads_s(half)) == pytest.approx((0.5, 0.25))
    assert (short.reads_s(whole), short.reads_s(half)) == (None, pytest.approx(0.25))


def test_a_chunked_prompt_takes_its_chunks():
    """Attention grows from chunk to chunk; the closed form sums them exactly where it grows linearly."""
    cost = StepCost.linear(step_s=0.001, token_s=1e-5, pair_s=1e-9)
    worker = kind(cost, step_tokens=512)
    mix = Mix(5000, 2, 1.0, 512)
    steps = [(512, 512 + 512 * i) for i in range(8)] + [(392, 4608)]
    exact = sum(cost.seconds(cost.load(), [step]) for step in steps)
    assert Prompts(worker, Demand(1.0, (mix,))).alone_s[0] == pytest.approx(exact, rel=1e-12)


def test_ranks_are_servers():
    """Two data-parallel ranks read two prompts at once: twice the rate at the same time of each."""
    cost = StepCost.linear(token_s=1e-4)
    one = Prompts(kind(cost), demand(4, 2000, 2))
    node = dataclasses.replace(roofline.deployment("llama-3.1-8b", "h100-sxm", 2))
    two = Prompts(WorkerKind("h100-sxm", node, measured=cost), demand(4, 2000, 2))
    assert (two.worker.ranks, two.alone_s) == (2, one.alone_s)
    assert two.per_worker_s == pytest.approx(2 * one.per_worker_s)
