"""Serving: requests, queues, batches and pools, simulated step by step and planned.

The story, from the inside out. One worker: its memory in blocks (`blocks`); the queue and the batch of each of its
data-parallel ranks (`rank`); the rule that says who is in the next step (`schedulers`); when tokens come (`gaps`); and
the engine that takes steps, many at once where nothing happens between them (`worker`, `lines`). How long a step takes,
`costlab.roofline.mixed` says.

Many workers: a layout says which pools there are (`layouts`, with their fields in `rules` and `pools`), a router which
worker gets a request (`routing`, `buckets`), a link when its cache has moved (`links`, `crossings`), `failures` what
goes wrong (`breakdowns` brings it about). `pooled` leads each request through all of this, `assignments` finds a worker
for it, `accounts` checks that none is lost.

A run: `simulation` sends requests through a layout; each is a job (`jobs`), and what all parts share, the clock too,
is in `run` and `events`. What is measured is defined in `metrics`, written down by `recorder`, `use` and `stability`
(does the queue grow?), and told by `report`. `plan` looks for the layout that serves a load at the least cost.

What most uses need has its name here: layouts, schedulers, links and failures, what is asked of a service and written
down of it, a worker's make, and `simulate`. For the rest, import from the module.

>>> from costlab import roofline, traces
>>> from costlab.serving import VllmV1, WorkerPool, WorkerSpec, colocated, simulate
>>> node = roofline.deployment("llama-3.1-8b", "h100-sxm", 1)
>>> load = [traces.Request(t / 4, 2000, 50, ()) for t in range(40)]
>>> report = simulate(load, colocated(WorkerPool(WorkerSpec.of(node, VllmV1()), workers=2)))
>>> report.accounts.finished, report.overall.ttft.p50 < 0.04, report.overall.tpot.p50 < 0.005
(40, True, True)

Chapter: serving
"""

from costlab.serving.buckets import LengthBuckets
from costlab.serving.failures import Failures, Outage, OutageRate, Patience, Recovery
from costlab.serving.layouts import (
    PooledLayout,
    WorkerPool,
    colocated,
    conditionally_separated,
    mixed_pool,
    separated,
)
from costlab.serving.links import Link, SentBytes
from costlab.serving.metrics import Objective
from costlab.serving.recorder import Classes, Recorder
from costlab.serving.report import ServingReport
from costlab.serving.schedulers import Orca, PrefillFirst, Sarathi, Scheduler, VllmV1
from costlab.serving.simulation import WorkerSpec, simulate

__all__ = [
    "Classes", "Failures", "LengthBuckets", "Link", "Objective", "Orca", "Outage", "OutageRate", "Patience",
    "PooledLayout", "PrefillFirst", "Recorder", "Recovery", "Sarathi", "Scheduler", "SentBytes", "ServingReport",
    "VllmV1", "WorkerPool", "WorkerSpec", "colocated", "conditionally_separated", "mixed_pool", "separated", "simulate",
]  # fmt: skip
