"""Corners where somebody once waited for ever, was lost, or fared differently when many steps were one jump."""

import math

import numpy as np
import pytest
from serving.walks import COST, LINK, SENT, pool, requests, spec, walk

from costlab.cache import PrefixCache, Tier
from costlab.roofline import StepCost
from costlab.serving.failures import Failures, Outage, Recovery
from costlab.serving.jobs import State
from costlab.serving.layouts import WorkerPool, colocated, conditionally_separated, mixed_pool, separated
from costlab.serving.links import Link, SentBytes
from costlab.serving.recorder import Recorder
from costlab.serving.rules import Borrowing
from costlab.serving.run import Run
from costlab.serving.schedulers import Orca, VllmV1
from costlab.serving.simulation import WorkerSpec
from costlab.traces import Request


def ends(trace, layout, jumps=True):
    """What became of each request, and when: (state, tokens, first, last, preemptions)."""
    run = Run(Recorder(), jumps, np.random.default_rng(0))
    service, jobs = layout.open(run), []
    for request in trace:
        run.events.run_before(request.time_s)
        jobs.append(run.arrive(request))
        service.arrive(jobs[-1])
    run.events.run_before(math.inf)
    service.check()
    assert not run.live
    return [(job.state, job.generated, job.first_s, job.last_s, job.preemptions) for job in jobs]


def test_a_prompt_that_is_cached_when_it_is_read_again_still_goes_to_decode():
    """All but the user's token is in the prefix cache: prefill emits the next one and sends, and does not decode."""
    cached = WorkerPool(spec(cache=lambda: PrefixCache([Tier("HBM", 100.0)], 1.0, page_tokens=16)))
    outage = Failures([Outage("link", 0.04, repair_s=0.05)], recovery=Recovery(0.1))
    trace = [Request(0.0, 160, 20, tuple(range(10)))]
    service = walk(trace, separated(cached, pool(), LINK, SENT, failures=outage))
    assert service.failures == {"gap": 1}
    prefill, decode = service.workers
    assert prefill.ranks[0].emitted_tokens == 2 and decode.ranks[0].emitted_tokens == 18


def test_orca_is_given_memory_for_whole_answers_before_caches_come():
    """Two prompts fit where two answers do not: each had its prompt there, and waited for the other's memory."""
    decode = WorkerPool(WorkerSpec(COST, Orca(8), 256, 16))
    layout = separated(pool(), decode, LINK, SENT, growth_tokens=0)
    assert [end[:2] for end in ends(requests((0, 100, 100), (0, 100, 100)), layout)] == [(State.FINISHED, 100)] * 2


def test_memory_that_prompts_have_filled_meanwhile_is_not_given_to_a_cache_that_comes():
    """Decode reads a prompt in many alike steps, and was asked for room as if none of them were over."""
    workers = pool(kv_tokens=1500, budget=100, block_tokens=10)
    layout = conditionally_separated(workers, workers, LINK, SENT, 1000, growth_tokens=0)
    trace = requests((0, 1000, 5), (0.115, 1001, 5))
    walk(trace, layout)
    first, second = ends(trace, layout)
    assert first[1] == second[1] == 5 and second[2] > first[3]  # which waits until the first one's memory is free


def test_a_prompt_that_stays_where_it_was_read_does_not_hold_memory_that_another_waits_for():
    """It fills memory beside a cache that comes, lacks a block for its next token, and is in front of it."""
    run = Run(Recorder())
    worker = colocated(pool(kv_tokens=312, block_tokens=4, budget=16)).open(run).workers[0]
    worker.owner = Keeper(run)
    long, moved = run.arrive(Request(0.0, 200, 60, ())), run.arrive(Request(0.0, 108, 2, ()))
    long.prefill_only = True
    worker.submit(long)
    worker.reserve(moved)
    run.events.run_before(1.0)
    assert long.generated == 1 <= long.preemptions
    moved.computed, moved.generated, moved.first_s, moved.last_s = 108, 1, 0.5, 0.5
    worker.submit(moved)
    run.events.run_before(math.inf)
    assert moved.finished_s < long.finished_s and long.generated == 60


class Keeper:
    """Lets each prompt be decoded where it was read."""

    def __init__(self, run):
        self.run = run

    def prefilled(self, job, worker):
        worker.keep(job)

    def finished(self, job, worker):
        self.run.finish(job)

    def first_token(self, job, worker):
        pass

    def preempted(self, job, worker):
        pass


@pytest.mark.parametrize("order", ["together", "decode first", "decode last"])
def test_an_answer_that_fills_memory_to_the_last_token_is_awaited(order):
    layout = separated(pool(), pool(kv_tokens=101, block_tokens=1), LINK, SENT, order=order)
    assert ends(requests((0, 100, 2)), layout)[0][:2] == (State.FINISHED, 2)


@pytest.mark.parametrize("layout", ["co-located", "separated"])
def test_a_router_that_is_late_sends_to_the_dead_and_somebody_notices(layout):
    failures = Failures([Outage("worker", 1.0, "decode" * (layout == "separated"), 0)], recovery=Recovery(0.1, 5))
    pools = [pool(2, "round robin", age_s=4.0) for _ in range(2)]
    made = colocated(pools[0], failures) if layout == "co-located" else separated(*pools, LINK, SENT, failures=failures)
    trace = requests(*((0.5 * i, 50, 5) for i in range(16)))
    assert {end[:2] for end in ends(trace, made)} == {(State.FINISHED, 5)}


def test_a_worker_that_was_borrowed_for_a_refused_request_goes_back():
    layout = mixed_pool(
        pool(2, kv_tokens=160), pool(kv_tokens=160), LINK, SENT, borrowing=Borrowing(10**9, kv_share=0.0)
    )
    service = walk(requests((0, 100, 50), (0.01, 150, 50)), layout)
    assert service.run.recorder.rejected == {"larger than memory": 1}
    assert not any(station.borrowed for station in service.stations.values())


def test_who_was_preempted_is_admitted_in_the_next_step_also_beside_a_rank_that_jumps():
    """One rank decodes on evenly; the other has nothing to do but to try its preempted prompt again."""
    cost = StepCost.linear(0.00131, token_s=1.7e-5, sequence_s=3.1e-5)
    prefill = WorkerPool(
        WorkerSpec(cost, VllmV1(128, 7, long_prefill_tokens=10), 303, 16, ranks=2, choose_rank="turns")
    )
    decode = WorkerPool(WorkerSpec(cost, VllmV1(33, 4), 288, 16))
    slow = separated(prefill, decode, Link(1e5, 0.5), SentBytes.per_token(16.0), shared_by="all", growth_tokens=1)
    trace = requests(*((0.0137 * i, 40 + 37 * i % 130, (20, 1, 60)[i % 3]) for i in range(18)))
    jumped, stepped = ends(trace, slow), ends(trace, slow, jumps=False)
    assert sum(end[4] for end in jumped) > 3
    for mine, its in zip(jumped, stepped, strict=True):
        assert (mine[:2], mine[4]) == (its[:2], its[4])
        assert mine[2:4] == pytest.approx(its[2:4], rel=1e-9, nan_ok=True)


def test_what_is_read_again_after_a_preemption_is_not_sent_again():
    """Each piece has a set-up: a prompt that is preempted again and again would block its own link."""
    slow = Link(1e9, 0.5, layer_latency_s=0.05)
    prefill, sent = pool(kv_tokens=172, budget=16, block_tokens=4), SentBytes.per_token(16.0, layers=4)
    layout = separated(prefill, pool(3), slow, sent, sending="layers", shared_by="all")
    found = ends(requests((0, 110, 3), (0, 127, 3)), layout)
    assert sum(end[4] for end in found) > 3
    assert max(end[3] for end in found) < 3


@pytest.mark.parametrize("jumps", [True, False])
def test_a_transfer_fails_behind_its_prompt_also_where_the_link_costs_nothing(jumps):
    """Layer by layer over a link without latency the last layer arrives with the first token, not before it."""
    failing = Failures(recovery=Recovery(retries=2, transfer_loss=1.0))
    layout = separated(pool(), pool(), Link(math.inf), SENT, sending="layers", failures=failing)
    (end,) = ends(requests((0.0123, 177, 20)), layout, jumps)
    assert end[:2] == (State.REJECTED, 3), "each of three tries emitted a token"
