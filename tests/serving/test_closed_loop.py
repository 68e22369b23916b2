"""Users who wait for their answers, against a simulated service."""

import numpy as np
import pytest

from costlab.roofline.mixed import StepCost
from costlab.serving.layouts import WorkerPool, colocated
from costlab.serving.recorder import Classes, Recorder
from costlab.serving.schedulers import VllmV1
from costlab.serving.simulation import WorkerSpec, simulate
from costlab.traces import CHAT
from costlab.traces.arrivals import ClosedLoop, FixedLengths, single_calls, talks


def served(loop, workers=1, kv_tokens=100_000, **options):
    spec = WorkerSpec(StepCost.linear(0.01, token_s=1e-4, context_s=1e-8), VllmV1(), kv_tokens=kv_tokens)
    return simulate(loop, colocated(WorkerPool(spec, workers)), **options)


def test_one_user_without_thinking_is_served_at_once_each_time():
    """Then the span is the sum of the latencies, and nobody waits."""
    loop = ClosedLoop(1, 50, single_calls(FixedLengths(1000, 20), np.random.default_rng(0)))
    report = served(loop)
    assert report.accounts.finished == 50
    assert report.span_s == pytest.approx(report.latency_sum_s)
    assert report.overall.latency.most == pytest.approx(report.overall.latency.least)


@pytest.mark.parametrize("think_s", [0.0, 2.0])
def test_users_are_thinking_or_waiting(think_s):
    """The response-time law of a closed loop: users x span = waiting + thinking, exactly, until the last ones end.

    So waiting + thinking fall short of it by no more than what users have left at the end.
    """
    loop = ClosedLoop(20, 2000, single_calls(FixedLengths(1000, 20), np.random.default_rng(1), think_s))
    report = served(loop, recorder=Recorder(records=True))
    records = report.records
    came, went = (np.array([getattr(record, name) for record in records]) for name in ("arrival_s", "last_s"))
    most = max((np.sum((came <= at) & (at < went)) for at in came), default=0)
    assert most <= 20
    assert report.accounts.finished == 2000
    thought = 1980 * think_s
    assert report.latency_sum_s + thought == pytest.approx(20 * report.span_s, rel=0.05)


def test_a_slow_service_is_asked_less():
    def rate(workers):
        loop = ClosedLoop(100, 1500, single_calls(FixedLengths(2000, 50), np.random.default_rng(2), 1.0))
        return 1500 / served(loop, workers).span_s

    assert rate(4) > 1.5 * rate(1)


def test_users_whose_request_is_refused_ask_again():
    """Prompts that do not fit are refused; their users go on, and all requests are accounted for."""
    loop = ClosedLoop(8, 300, talks(CHAT, np.random.default_rng(3)))
    report = served(loop, kv_tokens=20_000)
    assert report.accounts.rejected["larger than memory"] > 10
    assert report.accounts.finished > 100
    assert report.accounts.arrived == report.accounts.accounted == 300


def test_a_run_can_be_cut():
    loop = ClosedLoop(5, 1000, single_calls(FixedLengths(1000, 20), np.random.default_rng(4), 1.0))
    report = served(loop, until_s=20.0)
    assert 0 < report.accounts.finished < 1000
    report.accounts.require_balance()


def test_a_simulation_tells_classes_apart():
    loop = ClosedLoop(5, 200, talks(CHAT, np.random.default_rng(5)))
    report = served(loop, kv_tokens=50_000, recorder=Recorder(classes=Classes.by_prompt(8192)))
    short, long = report.classes
    assert short.requests + long.requests == report.accounts.finished
    assert long.judged - long.requests == report.accounts.rejected["larger than memory"]
    assert short.input_tokens / short.requests < 8192 < long.input_tokens / long.requests
