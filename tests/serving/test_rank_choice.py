"""Which rank of a worker gets a job: the one with the fewest tokens, wherever these are on their way."""

import math
from collections import Counter

import pytest
from serving.checked import ask, serve
from serving.walks import poisson

from costlab.roofline import StepCost
from costlab.serving.layouts import WorkerPool, colocated, separated
from costlab.serving.links import Link, SentBytes
from costlab.serving.recorder import Recorder
from costlab.serving.run import Run
from costlab.serving.schedulers import VllmV1
from costlab.serving.simulation import WorkerSpec, simulate

COST = StepCost.linear(0.01, token_s=1e-5, context_s=1e-6)


def worker_of(ranks, max_running=8):
    run = Run(Recorder())
    spec = WorkerSpec(COST, VllmV1(64, max_running), 4000, ranks=ranks)
    return run, colocated(WorkerPool(spec)).open(run).workers[0]


def arrived(job):
    """A job as it comes with its cache."""
    job.computed, job.generated, job.first_s, job.last_s = job.request.input_tokens, 1, 0.0, 0.0
    return job


def test_caches_on_their_way_are_spread_over_the_ranks():
    run, worker = worker_of(4)
    for tokens in (400, 300, 200, 100, 300, 200, 100):
        worker.reserve(run.arrive(ask(0, tokens, 5)))
    assert [rank.tokens for rank in worker.ranks] == [400, 400, 400, 400]
    assert sum(worker.awaiting.values()) == 1600


def test_what_waits_with_its_cache_counts_like_what_runs():
    run, worker = worker_of(2, max_running=1)
    jobs = [run.arrive(ask(0, tokens, 50)) for tokens in (300, 330, 90, 5)]
    for job in jobs[:3]:
        worker.reserve(job)
    assert [rank.tokens for rank in worker.ranks] == [390, 330]
    for job in jobs[:3]:
        worker.submit(arrived(job))
    run.events.run_before(0.03)
    assert [len(rank.waiting) for rank in worker.ranks] == [1, 0], "the third waits for the first"
    worker.submit(jobs[3])
    assert jobs[3] in worker.ranks[1].waiting, "and counts"
    assert [rank.tokens for rank in worker.ranks] == [300 + 3 + 91, 330 + 3 + 5]
    for job in (jobs[2], jobs[0], jobs[1], jobs[3]):
        worker.take(job)
    assert [rank.tokens for rank in worker.ranks] == [0, 0]


def test_a_prompt_counts_whole_however_much_of_it_is_read():
    run, worker = worker_of(2)
    worker.submit(run.arrive(ask(0, 640, 5)))
    run.events.run_before(0.05)
    assert 0 < worker.pending_tokens < 640
    assert worker.ranks[0].tokens == 640
    worker.submit(run.arrive(ask(0, 600, 5)))
    worker.submit(run.arrive(ask(0, 10, 5)))
    assert [rank.tokens for rank in worker.ranks] == [640, 610]


@pytest.mark.parametrize("leave", ["cancelled", "lost"])
def test_what_goes_while_its_cache_is_on_its_way_counts_no_more(leave):
    run, worker = worker_of(3)
    jobs = [run.arrive(ask(0, 100, 5)) for _ in range(3)]
    for job in jobs:
        worker.reserve(job)
    jobs[0].generated = 1  # the first token came from prefill meanwhile
    if leave == "lost":
        worker.take_all()
    else:
        for job in jobs:
            worker.take(job)
    assert [rank.tokens for rank in worker.ranks] == [0, 0, 0]


def test_ranks_stay_even_behind_a_slow_link():
    """Sixty caches are on their way at once: all of them on one rank would double the step of all others."""
    reads, tpot = WorkerPool(WorkerSpec(StepCost.linear(0.001, token_s=1e-6), VllmV1(4096), 2_000_000)), {}
    for choice in ("tokens", "turns"):
        cost = StepCost.linear(0.01, sequence_s=1e-3)
        decodes = WorkerPool(WorkerSpec(cost, VllmV1(4096), 200_000, ranks=8, choose_rank=choice))
        layout = separated(reads, decodes, Link(1e9, latency_s=1.0), SentBytes.per_token(1e3))
        tpot[choice] = simulate(poisson(60.0, 400, outputs=100), layout).overall.tpot.p90
    assert tpot["tokens"] < 1.1 * tpot["turns"], "alike requests in turn are as even as can be"


def test_the_sums_of_a_rank_are_those_of_its_jobs_at_every_event():
    requests = [ask(0.013 * i, 30 + 7 * i % 90, 1 + i % 40) for i in range(40)]
    cancels = [(0.05 * i, 3 * i) for i in range(1, 12)]
    specs = [WorkerSpec(COST, VllmV1(64, 8), 600, 4, ranks=3)] * 2
    service, report = serve(requests, specs, move_s=0.05, cancels=cancels)
    assert report.accounts.accounted == 40
    assert Counter(rank.tokens for worker in service.workers for rank in worker.ranks) == {0: 6}
    assert math.isfinite(report.end_s)
