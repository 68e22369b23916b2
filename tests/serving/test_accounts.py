"""Nobody is lost and nobody counted twice, whatever is preempted, cancelled, moved or killed; and memory stays flat."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving.checked import ask, opened, serve

from costlab.roofline import StepCost
from costlab.serving.layouts import PooledLayout, WorkerPool, colocated
from costlab.serving.recorder import Recorder
from costlab.serving.run import Run
from costlab.serving.schedulers import Orca, PrefillFirst, Sarathi, VllmV1
from costlab.serving.simulation import WorkerSpec, simulate
from costlab.serving.use import pool_uses

COST = StepCost.linear(0.00731, token_s=1.1e-4, context_s=3.3e-7, sequence_s=1.7e-5)
SCHEDULERS = st.sampled_from(
    [VllmV1(64, 16), VllmV1(96, 8, whole_prompt=True), Sarathi(48, 16), Orca(6), PrefillFirst(96, 8)]
)
REQUEST = st.tuples(st.floats(0, 0.2), st.integers(1, 150), st.integers(1, 60))


def in_turn(spec, workers=1):
    """Workers that get requests in turn."""
    return colocated(WorkerPool(spec, workers, "round robin"))


@given(
    st.lists(REQUEST, min_size=1, max_size=20), SCHEDULERS, st.integers(220, 500), st.booleans(),
    st.lists(st.tuples(st.floats(0.01, 2), st.integers(0, 19)), max_size=6), st.sampled_from([None, 0.0311]),
)  # fmt: skip
def test_accounts_balance_at_every_event(drawn, scheduler, kv_tokens, jumps, cancels, move_s):
    """`Service.check` runs after each event; what is left here are the sums over the whole run."""
    now, requests = 0.0, []
    for gap_s, given_tokens, asked in drawn:
        now += gap_s
        requests.append(ask(now, given_tokens, asked))
    specs = [WorkerSpec(COST, scheduler, kv_tokens, 4)] * 2
    service, report = serve(requests, specs, jumps=jumps, cancels=cancels, move_s=move_s)
    accounts, pools = report.accounts, pool_uses(service.workers)
    assert accounts.arrived == len(requests)
    assert accounts.queued == accounts.running == accounts.moving == 0, "somebody waits for ever"
    finished = [job for job in service.jobs if job.state == "finished"]
    assert accounts.finished == len(finished)
    assert sum(pool.output_tokens for pool in pools) == sum(job.generated for job in service.jobs)
    assert all(job.generated == job.request.output_tokens for job in finished)
    assert report.total_output_tokens == sum(job.generated for job in service.jobs)
    for worker in service.workers:
        assert not worker.jobs
        assert worker.kv_blocks == 0, "idle, and blocks are held"
        assert all(rank.pending_tokens == 0 for rank in worker.ranks)
    for job in finished:
        assert job.request.time_s < job.first_s <= job.last_s == job.finished_s
        assert job.worst_gap_s <= job.last_s - job.first_s + 1e-12
        assert service.first_tokens[job] <= 1
    # the gaps of an answer add up to what lies between its first token and its last
    emitted = sum(max(job.generated - 1, 0) for job in service.jobs)
    assert report.gaps.count == emitted
    if not cancels:
        answering_s = sum(job.last_s - job.first_s for job in finished)
        assert report.gaps.total == pytest.approx(answering_s)
        assert report.overall.latency.total == pytest.approx(report.overall.ttft.total + report.gaps.total)
        total_s = math.fsum(job.finished_s - job.request.time_s for job in finished)
        assert report.overall.latency.total == pytest.approx(total_s)
    for pool in pools:  # Little's law: what has gone stayed as long as the area under those who were there says
        assert pool.entered == pool.left
        assert pool.area_s == pytest.approx(pool.residence_s)


@pytest.mark.parametrize("jumps", [True, False])
@pytest.mark.parametrize("stage", ["waiting", "reading", "decoding"])
def test_a_worker_that_dies_gives_everything_back(stage, jumps):
    requests = [ask(0.0, 400, 50), ask(0.0, 300, 50), ask(0.0, 100, 50)]
    at = {"waiting": 1e-9, "reading": 0.05, "decoding": 0.3}[stage]
    run = Run(Recorder(records=True), jumps)
    layout = opened(run, *[WorkerSpec(COST, VllmV1(64, 8), 2000)] * 2)
    dead, other = layout.workers
    jobs = [run.arrive(request) for request in requests]
    for job in jobs:
        dead.submit(job)

    def die():
        taken = dead.take_all()
        assert set(taken) == set(jobs)
        assert dead.kv_blocks == dead.pending_tokens == dead.running == dead.queued == 0
        dead.ranks[0].check()
        with pytest.raises(ValueError, match="dead"):
            dead.submit(taken[0])
        for job in taken:
            job.computed = 0
            other.submit(job)

    run.events.at(at, die)
    run.events.run_before(math.inf)
    assert run.recorder.report("", run.now).accounts.finished == 3
    assert all(job.generated == 50 for job in jobs)
    if stage == "decoding":
        assert jobs[0].first_s < at < jobs[0].last_s, "what was emitted stays emitted"
        assert jobs[0].worst_gap_s > COST.seconds(COST.load(), [(64, 0)])


def test_signals_are_those_of_single_steps():
    """What a router reads between two steps does not depend on how many are summed at once."""
    seen = []
    for jumps in (True, False):
        run = Run(Recorder(), jumps)
        worker = opened(run, WorkerSpec(COST, VllmV1(64, 8), 2000, 4)).workers[0]
        found = []
        for i in range(60):
            run.events.run_before(i * 0.0217)
            if i % 9 == 0:
                worker.submit(run.arrive(ask(run.now, 90 + i, 40)))
            found.append((worker.pending_tokens, worker.kv_blocks, worker.running, worker.queued, worker.pending_s))
        seen.append(found)
    for one, other in zip(*seen, strict=True):
        assert one == pytest.approx(other)
    assert len({signals[1] for signals in seen[0]}) > 20


def test_reserved_blocks_are_held_and_let_go():
    run = Run(Recorder())
    worker = opened(run, WorkerSpec(COST, VllmV1(64, 8), 64, 4)).workers[0]
    one, two = run.arrive(ask(0, 39, 5)), run.arrive(ask(0, 39, 5))
    assert worker.can_reserve(one)
    worker.reserve(one)
    assert worker.kv_blocks == 10 and not worker.can_reserve(two)
    with pytest.raises(ValueError, match="no room"):
        worker.reserve(two)
    assert two not in worker.jobs and worker.kv_blocks == 10
    with pytest.raises(ValueError, match="here already"):
        worker.reserve(one)
    worker.take(one)
    assert worker.kv_blocks == 0 and worker.can_reserve(two)


def test_one_that_comes_with_its_cache_keeps_its_place_and_decodes_at_once():
    run = Run(Recorder())
    layout = opened(run, WorkerSpec(StepCost.fixed(0.01, 0.001), VllmV1(64, 1), 1000))
    worker = layout.workers[0]
    moved, first, second = [run.arrive(ask(0, 30, 5)) for _ in range(3)]
    worker.reserve(moved)
    worker.submit(first)
    worker.submit(second)
    moved.computed, moved.generated, moved.first_s, moved.last_s = 30, 1, 0.0, 0.0
    run.events.at(0.002, lambda: worker.submit(moved))
    run.events.run_before(math.inf)
    assert first.last_s <= moved.admitted_s < second.admitted_s, "it came before the second"
    assert moved.last_s - moved.admitted_s == pytest.approx(4 * 0.001)
    assert moved.worst_gap_s == pytest.approx(moved.admitted_s + 0.001)


@pytest.mark.parametrize(
    ("requests", "says"),
    [
        ([ask(1, 5, 5), ask(0.5, 5, 5)], "request 1: time_s = 0.5 .* sort the trace"),
        ([ask(math.nan, 5, 5)], "request 0: time_s = nan"),
        ([ask(math.inf, 5, 5)], "request 0: time_s = inf"),
        ([ask(-1, 5, 5)], "request 0: time_s = -1"),
        ([ask(0, 0, 5)], "request 0: input_tokens"),
        ([ask(0, 5, 5), ask(0, math.nan, 5)], "request 1: input_tokens"),
        ([ask(0, 5, math.nan)], "request 0: output_tokens"),
        ([], "no request arrived"),
    ],
)
def test_bad_traces_are_refused_by_the_place_of_the_fault(requests, says):
    with pytest.raises(ValueError, match=says):
        simulate(requests, in_turn(WorkerSpec(COST, VllmV1(), 1000)))


def test_requests_are_read_one_ahead_and_nothing_is_kept_of_those_that_are_done():
    class Watched(PooledLayout):
        def open(self, run):
            services.append(super().open(run))
            return services[0]

    services, most = [], []

    def trickle():
        for i in range(3000):
            assert not services or services[0].run.recorder.arrived == i, "more than one request was read ahead"
            yield ask(i * 0.05, 100, 20)
            run, ranks = services[0].run, [worker.ranks[0] for worker in services[0].workers]
            kept = [run.live, run.events._heap, run.events._cancelled]
            for rank in ranks:
                kept += [
                    rank.running,
                    rank._ends,
                    rank._ending,
                    rank.times.late,
                    rank.times.worst._falling,
                ]
                kept += [rank.blocks.holders, rank.preempted]
            most.append(max(map(len, kept)))

    layout = in_turn(WorkerSpec(COST, VllmV1(), 10_000), 2)
    simulate(trickle(), Watched(layout.name, layout.pools, None, layout.failures))
    assert max(most) < 40


def test_the_same_run_twice_is_the_same():
    requests = [ask(0.01 * i, 50 + i % 17, 1 + i % 23) for i in range(200)]
    reports = [simulate(requests, in_turn(WorkerSpec(COST, VllmV1(64, 8), 160, 4), 3)).as_dict() for _ in range(2)]
    assert reports[0] == reports[1]
    assert reports[0]["pools"][0]["preemptions"] > 0
