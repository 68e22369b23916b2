"""The simulator's schedulers beside the same rules over plain lists, a step at a time, with memory short.

Of vLLM's rules those plain lists have the same times as NVIDIA's replay, which `benchmarks/serving.py` checks.
"""

import math
from itertools import accumulate, pairwise

import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from serving.serving_oracles import Rules, engine, linear, orca, prefill_first, sarathi, vllm
from serving.serving_oracles import separated as separated_engines

from costlab.roofline.mixed import StepCost
from costlab.serving.layouts import WorkerPool, colocated, separated
from costlab.serving.links import Link, SentBytes
from costlab.serving.recorder import Recorder
from costlab.serving.schedulers import Orca, PrefillFirst, Sarathi, VllmV1
from costlab.serving.simulation import WorkerSpec, simulate
from costlab.traces import Request
from costlab.traces.arrivals import ClosedLoop

SECONDS = {"token": 2e-5, "pair": 1e-9, "sequence": 1e-5, "context": 1e-7}
COST = StepCost.linear(
    prefill_step_s=0.01, decode_step_s=0.002, **{f"{name}_s": value for name, value in SECONDS.items()}
)
SCHEDULERS = {
    "vllm": (vllm, lambda r: VllmV1(r.budget, min(r.running, r.budget), r.long_prefill, r.watermark, r.whole_prompt)),
    "sarathi": (sarathi, lambda r: Sarathi(r.budget, r.running, r.watermark)),
    "orca": (orca, lambda r: Orca(r.running)),
    "prefill first": (prefill_first, lambda r: PrefillFirst(r.budget, r.running, r.watermark)),
}
few = st.integers(1, 60)


def worker(scheduler, rules, **how):
    return WorkerSpec(COST, scheduler, rules.blocks * rules.block, rules.block, **how)


def sent(requests):
    return (Request(*request, ()) for request in requests)


def recorded(requests, layout, jumps):
    return simulate(requests, layout, recorder=Recorder(records=True), jumps=jumps)


@st.composite
def crowds(draw):
    """Rules with little memory, and requests that fit it one at a time, no two of which come at once."""
    rules = Rules(
        draw(st.integers(4, 60)),
        draw(st.sampled_from([1, 4, 16])),
        draw(st.sampled_from([8, 32, 256])),
        draw(st.sampled_from([2, 8])),
        draw(st.sampled_from([0.0, 0.1])),
        draw(st.sampled_from([0, 0, 5])),
        draw(st.booleans()),
    )
    most = rules.blocks * rules.block
    drawn = draw(st.lists(st.tuples(st.integers(1, 400), few, few), min_size=1, max_size=25))
    arrivals = accumulate(gap * 1.37e-4 for gap, _, _ in drawn)
    return rules, [(t, min(p, most // 2), min(n, most // 2)) for t, (_, p, n) in zip(arrivals, drawn, strict=True)]


@pytest.mark.parametrize("jumps", [True, False])
@pytest.mark.parametrize("name", SCHEDULERS)
@given(crowds())
@example((Rules(19, 1, 32, 8), [(0.0, 1, 1), (0.001, 8, 4), (0.002, 8, 4)]))  # two prompts end where nobody decodes
@example((Rules(4, 1, 8, 2), [(1e-4, 1, 1), (0.0103, 2, 2), (0.0104, 2, 1)]))  # the same behind an idle time
def test_a_scheduler_takes_the_steps_of_its_short_form(name, jumps, drawn):
    """First tokens, last tokens, worst gaps and preemptions."""
    rules, requests = drawn
    choose, ours = SCHEDULERS[name]
    calls, _ = engine(requests, linear(0.01, 0.002, **SECONDS), rules, choose)
    report = recorded(sent(requests), colocated(WorkerPool(worker(ours(rules), rules))), jumps)
    for call, record in zip(calls, report.records, strict=True):
        gaps = np.diff(call.times)
        assert (record.first_s, record.last_s) == pytest.approx((call.times[0], call.times[-1]), abs=1e-9)
        assert record.worst_gap_s == pytest.approx(gaps.max() if gaps.size else math.nan, abs=1e-9, nan_ok=True)
    assert sum(each.preemptions for each in report.pools) == sum(call.preempted for call in calls)


@pytest.mark.parametrize("jumps", [True, False])
@given(crowds(), st.integers(2, 3))
def test_ranks_that_step_together_are_as_slow_as_the_slowest(jumps, drawn, ranks):
    rules, requests = drawn
    calls, _ = engine(requests, linear(0.01, 0.002, **SECONDS), rules, vllm, ranks)
    spec = worker(SCHEDULERS["vllm"][1](rules), rules, ranks=ranks, choose_rank="turns")
    report = recorded(sent(requests), colocated(WorkerPool(spec)), jumps)
    for call, record in zip(calls, report.records, strict=True):
        assert (record.first_s, record.last_s) == pytest.approx((call.times[0], call.times[-1]), abs=1e-9)


@pytest.mark.parametrize("jumps", [True, False])
@given(crowds(), st.integers(1, 4))
def test_users_who_wait_for_answers_ask_when_they_have_them(jumps, drawn, users):
    rules, requests = drawn
    requests = [(0.0, prompt, answer) for _, prompt, answer in requests]
    calls, _ = engine(requests, linear(0.01, 0.002, **SECONDS), rules, vllm, users=users)
    loop = ClosedLoop(users, len(requests), ([Request(*request, ())] for request in requests))
    report = recorded(loop, colocated(WorkerPool(worker(SCHEDULERS["vllm"][1](rules), rules))), jumps)
    theirs, ours = (sorted(each) for each in ([c.times[-1] for c in calls], [r.last_s for r in report.records]))
    assert ours == pytest.approx(theirs, abs=1e-9)
    assert report.overall.ttft.total == pytest.approx(sum(c.times[0] - c.arrival for c in calls), abs=1e-9)


@pytest.mark.parametrize("jumps", [True, False])
@given(crowds(), st.sampled_from([0.0, 0.003, 0.2]))
def test_separated_phases_are_two_engines_and_a_delay(jumps, drawn, latency):
    """Prefill's times make decode's arrivals, a set-up time and bytes later; with ample memory nothing pushes back."""
    _, requests = drawn
    rules = Rules(budget=64, running=8)
    calls = separated_engines(requests, linear(0.01, 0.002, **SECONDS), rules, lambda prompt: latency + prompt * 1e-5)
    pool = WorkerPool(worker(VllmV1(64, 8), rules))
    layout = separated(pool, pool, Link(1e8, latency), SentBytes.per_token(1000.0), shared_by="receiver")
    links = len({call.times[0] for call in calls})
    report = recorded(sent(requests), layout, jumps)
    assume(links == len(calls) and no_two_at_once(calls, latency))
    for call, record in zip(calls, report.records, strict=True):
        assert (record.first_s, record.last_s) == pytest.approx((call.times[0], call.times[-1]), abs=1e-9)


def no_two_at_once(calls, latency):
    """Whether no two transfers share the link."""
    spans = sorted((call.times[0], call.times[0] + latency + call.prompt * 1e-5) for call in calls if call.output > 1)
    return all(end <= start for (_, end), (start, _) in pairwise(spans))
