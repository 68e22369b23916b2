"""Figures of the chapter `serving`: what a prompt does to those who decode beside it, queues, chunks, memory.

All of the chapter's own numbers are of one deployment: `worker()` is Llama-3.1-70B on 4 H100, of which there are 4.

Chapter: serving
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np

from costlab import roofline
from costlab.roofline import Deployment, Efficiency, StepCost, kv_room, step_cost
from costlab.serving.layouts import PooledLayout, WorkerPool, colocated, separated
from costlab.serving.links import Link, Sending, SentBytes
from costlab.serving.schedulers import Scheduler, VllmV1
from costlab.serving.simulate import WorkerSpec
from costlab.traces import Request, arrivals

# --- the deployment of the chapter -------------------------------------------------------------------------------

MODEL, CHIP = "llama-3.1-70b", "h100-sxm"  # keys in the catalog
CHIPS = 4  # of a worker, which split the model by tensor parallelism
WORKERS = 4  # in all: together, or split 1 + 3, 2 + 2, 3 + 1
EFFICIENCY = Efficiency(compute=0.6, memory=0.8, link=0.8)  # assumed shares of the peaks
STEP_TOKENS = 2048  # tokens of a step at most where workers do both
READ_TOKENS = 8192  # the same where a worker only reads prompts
LINK_BYTES_S = 50e9  # of each prefill worker's link to the decode workers: one port of 400 Gbit/s
LINK_S = 2e-3  # seconds of a transfer's set-up; the tables of `catalog.tables().serving.transfers` give 0.4 and 1.8 ms
PROMPT, ANSWER = 2048, 256  # tokens of the usual request
LOAD = 12.0  # requests a second for all workers


@functools.cache
def served() -> Deployment:
    """Return one worker's deployment."""
    return roofline.deployment(MODEL, CHIP, CHIPS, tensor_parallel=CHIPS, efficiency=EFFICIENCY)


@functools.cache
def served_cost() -> StepCost:
    """Return the seconds of its steps."""
    return step_cost(served())


def worker(scheduler: Scheduler | int = STEP_TOKENS) -> WorkerSpec:
    """Return a worker of the chapter.

    Args:
        scheduler: who is in a step; a number is the token budget of vLLM's rule, which reads prompts in chunks.
    """
    rule = VllmV1(scheduler) if isinstance(scheduler, int) else scheduler
    return WorkerSpec(served_cost(), rule, kv_room(served()).tokens(), chips=CHIPS)


def together(scheduler: Scheduler | int = STEP_TOKENS) -> PooledLayout:
    """Return all workers, each of which reads prompts and decodes."""
    return colocated(WorkerPool(worker(scheduler), WORKERS))


def apart(prefill_workers: int = 2, link_bytes_s: float = LINK_BYTES_S, sending: Sending = "layers") -> PooledLayout:
    """Return as many workers in two pools.

    Args:
        prefill_workers: those that read prompts, 1 to WORKERS - 1; the others decode.
        link_bytes_s: bytes a second of each prefill worker's link.
        sending: when a prompt's cache is sent.

    Raises:
        ValueError: a pool without workers.
    """
    if not 1 <= prefill_workers < WORKERS:
        raise ValueError(f"prefill_workers = {prefill_workers} should be from 1 to {WORKERS - 1}, of {WORKERS} in all")
    read, decode = worker(READ_TOKENS), worker()
    link, sent = Link(link_bytes_s, LINK_S, 0.0), SentBytes.of(MODEL, CHIPS)
    pools = (WorkerPool(read, prefill_workers), WorkerPool(decode, WORKERS - prefill_workers))
    return separated(*pools, link, sent, sending=sending)


def load_of(
    requests_s: float, requests: int, prompt: int = PROMPT, answer: int = ANSWER, spread: float = 0.0, seed: int = 0
) -> Sequence[Request]:
    """Return requests that come by chance at a rate.

    Args:
        requests_s: a second.
        requests: how many.
        prompt: tokens of each, in the mean.
        answer: tokens of each, in the mean.
        spread: standard deviation of the lengths' logarithm; 0 makes all equal.
        seed: of the draws.
    """
    lengths = arrivals.SpreadLengths(prompt, answer, spread) if spread else arrivals.FixedLengths(prompt, answer)
    return arrivals.open_loop([arrivals.Client(requests_s, lengths)], requests, np.random.default_rng(seed)).requests
