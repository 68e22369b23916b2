"""Many steps at once give what one step at a time gives, whatever is scheduled, cancelled, moved or preempted."""

import dataclasses
import math

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from serving.checked import ask, serve

from costlab import roofline
from costlab.cache import PrefixCache, Tier
from costlab.roofline import StepCost, step_cost
from costlab.roofline.coefficients import Coefficients
from costlab.serving.gaps import WorstGaps
from costlab.serving.layouts import WorkerPool, colocated
from costlab.serving.lines import seconds_of, steps_before
from costlab.serving.recorder import Recorder
from costlab.serving.schedulers import Orca, PrefillFirst, Sarathi, VllmV1
from costlab.serving.simulation import WorkerSpec, simulate

#: Compute, memory and link take over from one another as a batch grows; times have no common measure with arrivals.
CROSSING = StepCost(
    Coefficients(step_s=0.0011, token_s=1.3e-5, pairs=((1.7e-9, 1, None, False),), sequence_s=3.1e-5),
    Coefficients(step_s=0.0017, held=((2.3e-8, 1, None, False),), context_s=1.9e-6),
    Coefficients(step_s=0.0003, token_s=2e-6, sequence_s=2.9e-4),
)
COSTS = {
    "crossing": CROSSING,
    "in turn": dataclasses.replace(CROSSING, overlap=False),
    "fixed": StepCost.fixed(math.pi / 85, math.e / 240),
    "windows": step_cost(roofline.deployment("mimo-v2-flash", "h800", 8)),
    "speculative": dataclasses.replace(CROSSING, rows=3, round_tokens=2.2, drafts=(StepCost.linear(0.0007),)),
}
SCHEDULERS = st.sampled_from([
    VllmV1(64, 16), VllmV1(256, 32), VllmV1(128, 8, long_prefill_tokens=24), VllmV1(64, 16, watermark=0.1),
    VllmV1(64, 16, whole_prompt=True), Sarathi(48, 16), Sarathi(96, 4, watermark=0.0),
    Sarathi(96, 16, least_budget=24, stages=4, stage_tokens=32), Orca(6), Orca(32), PrefillFirst(96, 16),
    PrefillFirst(48, 3, watermark=0.0),
])  # fmt: skip
REQUEST = st.tuples(st.floats(0, 0.4), st.integers(1, 180), st.integers(0, 70), st.integers(0, 3))


def requests_of(drawn):
    """Draws of (gap, prompt, answer, whose prefix) as requests that share prefixes of 16-token pages."""
    now = 0.0
    for gap_s, given_tokens, asked, whose in drawn:
        now += gap_s
        pages = tuple(100 * whose + page for page in range(-(-given_tokens // 16)))
        yield ask(now + math.pi * 1e-4, given_tokens, asked, pages)


@given(
    st.lists(REQUEST, min_size=1, max_size=25), SCHEDULERS, st.sampled_from(sorted(COSTS)), st.integers(260, 900),
    st.sampled_from([1, 4, 16]), st.integers(1, 3), st.booleans(),
    st.lists(st.tuples(st.floats(0.01, 3), st.integers(0, 24)), max_size=6), st.sampled_from([None, 0.0211]),
)  # fmt: skip
@example(  # a rank that has preempted all it had looks again after a step of the others
    drawn=[*[(0.0, 1, 0, 0)] * 3, (0.0, 159, 2, 0), (0.0, 1, 0, 0), (0.0, 1, 19, 0), (0.0, 97, 4, 0)],
    scheduler=VllmV1(64, 16, watermark=0.1), cost="crossing", kv_tokens=260, block_tokens=1, ranks=2, cached=False,
    cancels=[], move_s=0.0211,
)  # fmt: skip
def test_jumps_equal_single_steps(drawn, scheduler, cost, kv_tokens, block_tokens, ranks, cached, cancels, move_s):
    cache = (lambda: PrefixCache([Tier("DRAM", 12.0)], 1.0, page_tokens=16)) if cached else None
    spec = WorkerSpec(COSTS[cost], scheduler, kv_tokens, block_tokens, ranks=ranks, cache=cache)
    # of equal workers two steps may end at the same instant, which the last bit of a sum would put in order
    slower = dataclasses.replace(spec, cost=spec.cost.scaled(1.0317))
    requests = list(requests_of(drawn))
    (one, jumped), (other, stepped) = [
        serve(requests, [spec, slower], jumps=jumps, cancels=cancels, move_s=move_s, check=jumps)
        for jumps in (True, False)
    ]
    assert jumped.accounts == stepped.accounts
    assert jumped.gaps.count == stepped.gaps.count
    for name in ("total", "most", "p50", "p99"):
        assert getattr(jumped.gaps, name) == pytest.approx(getattr(stepped.gaps, name), rel=1e-9, nan_ok=True)
    for mine, its in zip(one.jobs, other.jobs, strict=True):
        assert (mine.state, mine.generated, mine.preemptions, mine.cached) == (
            its.state, its.generated, its.preemptions, its.cached,
        )  # fmt: skip
        for name in ("first_s", "last_s", "finished_s", "admitted_s", "worst_gap_s"):
            assert getattr(mine, name) == pytest.approx(getattr(its, name), rel=1e-9, abs=1e-9, nan_ok=True), name


def test_small_memories_preempt_and_crossings_happen():
    """The test above meets what it is about: else it would prove little."""
    requests = [ask(0.01 * i, 100, 60) for i in range(12)]
    service, _ = serve(requests, [WorkerSpec(CROSSING, VllmV1(64, 16), 500, 4)])
    assert sum(job.preemptions for job in service.jobs) > 3
    load = CROSSING.load()
    for _ in range(8):
        load.add(40)
    assert 1 < CROSSING.leading(load, (), 60)[0] < 60, "no term takes over from another"
    service, jumped = serve([ask(0.0, 100, 60)], [WorkerSpec(CROSSING, VllmV1(64, 16), 500, 4)])
    assert jumped.pools == ()
    assert service.workers[0].steps == 2 + 59


@pytest.mark.parametrize("warm_up_s", [0.5, 1.23, 2.5, 3.717, 60.0])
def test_the_warm_up_ends_in_the_middle_of_a_jump(warm_up_s):
    """A gap counts if its step ended after the warm-up, however many steps were summed at once."""
    layout = colocated(WorkerPool(WorkerSpec(CROSSING, VllmV1(64, 16), 900), 2))
    requests = [ask(0.19 * i, 40 + i, 60) for i in range(40)]
    gaps = [simulate(requests, layout, recorder=Recorder(warm_up_s=warm_up_s), jumps=j).gaps for j in (True, False)]
    assert gaps[0].count == gaps[1].count < 40 * 59
    assert gaps[0].total == pytest.approx(gaps[1].total, rel=1e-9)


def test_a_jump_costs_few_events():
    events = []
    for jumps in (True, False):
        service, _ = serve([ask(0.0, 10, 5000)], [WorkerSpec(StepCost.linear(0.01), VllmV1(), 10_000)], jumps=jumps)
        events.append(service.run.events._serial)
    assert events[0] <= 4 and events[1] >= 5000


@given(st.integers(1, 500), st.floats(1e-6, 10), st.floats(0, 1), st.floats(0, 1.2))
@settings(max_examples=200)
def test_steps_before_is_the_most_that_are_over(most, first_s, rise, share):
    rise_s = rise * first_s
    seconds = share * seconds_of(most, first_s, rise_s)
    steps = steps_before(seconds, most, first_s, rise_s)
    assert steps == 0 or seconds_of(steps, first_s, rise_s) < seconds
    assert steps == most or seconds_of(steps + 1, first_s, rise_s) >= seconds


@given(st.lists(st.floats(0, 9), max_size=40), st.integers(0, 45))
def test_worst_gaps_are_those_of_a_plain_list(gaps, since):
    worst = WorstGaps()
    for began, gap_s in enumerate(gaps):
        worst.begin(float(began))
        worst.add(gap_s)
    worst.begin(float(len(gaps)))
    assert worst.since(float(since)) == max(gaps[since:], default=0.0)
