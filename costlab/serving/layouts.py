"""Layouts: workers that do all, pools that read and pools that decode, and what lies between.

>>> from costlab import traces
>>> from costlab.roofline.mixed import StepCost
>>> from costlab.serving import Link, SentBytes, VllmV1, WorkerPool, WorkerSpec, colocated, separated, simulate
>>> spec = WorkerSpec(StepCost.linear(0.01, token_s=1e-4, context_s=1e-8), VllmV1(), kv_tokens=100_000)
>>> requests = [traces.Request(t / 4, 2000, 50, ()) for t in range(40)]
>>> together = simulate(requests, colocated(WorkerPool(spec, 2)))
>>> link, sent = Link(50e9, latency_s=1e-3), SentBytes.per_token(1e5)
>>> apart = simulate(requests, separated(WorkerPool(spec), WorkerPool(spec), link, sent))
>>> together.accounts.finished, apart.accounts.finished
(40, 40)
>>> together.gaps.most > 0.15, apart.gaps.p99 < 0.02
(True, True)

Chapter: serving
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from costlab.serving.failures import Failures
from costlab.serving.links import Link, SentBytes
from costlab.serving.pooled import PooledService
from costlab.serving.pools import WorkerPool
from costlab.serving.rules import Borrowing, DecodeChoice, PoolRules, Separation
from costlab.serving.run import Run


@dataclass(frozen=True)
class PooledLayout(PoolRules):
    """A layout that `simulate` takes; its fields are those of `PoolRules`."""

    def open(self, run: Run) -> PooledService:
        """Return the service of a run."""
        return PooledService(self, run)

    def with_failures(self, failures: Failures) -> PooledLayout:
        """Return the same layout, in which something goes wrong."""
        return dataclasses.replace(self, failures=failures)


def colocated(pool: WorkerPool, failures: Failures | None = None) -> PooledLayout:
    """Return a layout whose workers read prompts and decode.

    Args:
        pool: the workers.
        failures: what goes wrong; None: nothing.
    """
    return PooledLayout(f"{pool.workers} co-located", {"all": pool}, None, failures or Failures())


def separated(
    prefill: WorkerPool,
    decode: WorkerPool,
    link: Link,
    sent: SentBytes,
    *,
    failures: Failures | None = None,
    **how: Any,
) -> PooledLayout:
    """Return a layout in which one pool reads prompts and another decodes, on like or unlike chips.

    Args:
        prefill: the workers that read.
        decode: the workers that decode.
        link: what caches cross.
        sent: their bytes, as decode holds them: `SentBytes.of(model, tensor_parallel)`.
        failures: what goes wrong; None: nothing.
        how: further fields of `Separation`: sending, order, shared_by, growth_tokens.
    """
    name = f"{prefill.workers} prefill + {decode.workers} decode"
    return _apart(name, prefill, decode, Separation(link, sent, **how), failures)


def conditionally_separated(
    prefill: WorkerPool,
    decode: WorkerPool,
    link: Link,
    sent: SentBytes,
    uncached_tokens: int,
    *,
    order: DecodeChoice = "decode first",
    failures: Failures | None = None,
    **how: Any,
) -> PooledLayout:
    """Return a layout in which decode reads short prompts itself, chunk by chunk beside its answers.

    Args:
        prefill: the workers that read.
        decode: the workers that decode, chosen first.
        link: what caches cross.
        sent: their bytes, as decode holds them.
        uncached_tokens: a prompt goes to prefill if decode would have to compute more.
        order: "decode first" or "together".
        failures: what goes wrong; None: nothing.
        how: further fields of `Separation`.

    Source: llm-d's prefix-based decider, nonCachedTokens; conditional disaggregation of NVIDIA Dynamo.
    """
    rules = Separation(link, sent, order=order, uncached_tokens=uncached_tokens, **how)
    name = f"{prefill.workers} prefill + {decode.workers} decode above {uncached_tokens} uncached tokens"
    return _apart(name, prefill, decode, rules, failures)


def mixed_pool(
    prefill: WorkerPool,
    decode: WorkerPool,
    link: Link,
    sent: SentBytes,
    *,
    borrowing: Borrowing | None = None,
    failures: Failures | None = None,
    **how: Any,
) -> PooledLayout:
    """Return a layout whose pools lend one another workers, which serve jobs whole until the last of these is done.

    Args:
        prefill: the workers that read.
        decode: the workers that decode.
        link: what caches cross; a job that is read and decoded by one worker crosses nothing.
        sent: their bytes, as decode holds them.
        borrowing: when; None: at the default loads.
        failures: what goes wrong; None: nothing.
        how: further fields of `Separation`.

    Source: Splitwise, arXiv 2311.18677 sec. IV-A: pools of prompt, token and mixed machines.
    """
    rules = Separation(link, sent, borrowing=borrowing or Borrowing(), **how)
    name = f"{prefill.workers} prefill + {decode.workers} decode, which lend workers"
    return _apart(name, prefill, decode, rules, failures)


def _apart(
    name: str, prefill: WorkerPool, decode: WorkerPool, rules: Separation, failures: Failures | None
) -> PooledLayout:
    return PooledLayout(name, {"prefill": prefill, "decode": decode}, rules, failures or Failures())


__all__ = ["PooledLayout", "WorkerPool", "colocated", "conditionally_separated", "mixed_pool", "separated"]
