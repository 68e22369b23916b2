"""Small services to test, walked event by event with all accounts checked at each."""

import math
from collections import Counter

import numpy as np

from costlab.roofline.mixed import StepCost
from costlab.serving.jobs import State
from costlab.serving.layouts import WorkerPool
from costlab.serving.links import Link, SentBytes
from costlab.serving.recorder import Recorder
from costlab.serving.run import Run
from costlab.serving.schedulers import VllmV1
from costlab.serving.simulation import WorkerSpec, simulate
from costlab.traces import Request

#: 10 ms of a step, 0.1 ms per prompt token, 1 ms per decoding sequence.
COST = StepCost.linear(0.01, token_s=1e-4, sequence_s=1e-3)
#: 100 bytes per token over 1 MB/s: 0.1 ms a token, as reading it takes.
LINK, SENT = Link(1e6, 5e-3), SentBytes.per_token(100.0, layers=4)


def spec(kv_tokens=100_000, budget=2048, cost=COST, **rest):
    return WorkerSpec(cost, VllmV1(budget, max_running=min(256, budget)), kv_tokens, **rest)


def pool(workers=1, router=None, age_s=0.0, **rest):
    return WorkerPool(spec(**rest), workers, router, age_s)


def requests(*rows):
    """Requests from (time, input tokens, output tokens) rows."""
    return [Request(float(t), i, o, ()) for t, i, o in rows]


def poisson(rate, count, inputs=1000, outputs=20, seed=0):
    times = np.cumsum(np.random.default_rng(seed).exponential(1 / rate, count))
    return [Request(float(t), inputs, outputs, ()) for t in times]


def records(trace, layout, **rest):
    """The records of a run in which all finish, in order of arrival."""
    report = simulate(trace, layout, recorder=Recorder(records=True), **rest)
    assert report.accounts.finished == report.accounts.arrived == len(trace)
    return report.records


def walk(trace, layout, seed=0, check=True, jumps=True, each=None):
    """Run a layout event by event, checking all accounts after each; return the service at the end.

    Each request ends once, nothing happens for more than a simulated day after the last arrival, and idle memory is
    free.
    """
    run, ended = Run(Recorder(), jumps, np.random.default_rng(seed)), Counter()
    run.after_end = lambda job: ended.update([job.state])
    at = run.events.at

    def watched(time_s, action, last=False):
        def act():
            action()
            if check:
                service.check()
            if each is not None:
                each(run, service)
            service.events = getattr(service, "events", 0) + 1
            assert service.events < 20_000 * len(trace), "no end in sight"
            assert run.now < trace[-1].time_s + 86_400

        return at(time_s, act, last)

    run.events.at = watched
    service = layout.open(run)
    for request in trace:
        run.events.run_before(request.time_s)
        service.arrive(run.arrive(request))
        if check:
            service.check()
    run.events.run_before(math.inf)
    assert not run.live
    assert ended.total() == len(trace)
    assert ended[State.REJECTED] == sum(run.recorder.rejected.values())
    for worker in service.workers:
        assert all(rank.blocks.used == 0 for rank in worker.ranks)
        assert not worker.jobs
    assert all(station.requests == station.promised_tokens == 0 for station in service.stations.values())
    assert all(not station.waiting and not station.lost for station in service.stations.values())
    assert all(
        not wire.shared.under_way and not wire.lost
        for wire in (service.crossings.wires.values() if service.crossings else ())
    )
    return service
