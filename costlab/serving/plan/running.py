"""A candidate as a layout that `simulate` runs: its workers with their memory, caches and routers."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from costlab.cache import PrefixCache, Tier
from costlab.serving.layouts import PooledLayout, WorkerPool, colocated, conditionally_separated, separated
from costlab.serving.links import Link, SentBytes
from costlab.serving.plan.candidates import Candidate, PlannedPool
from costlab.serving.plan.space import Space, growth_tokens
from costlab.serving.plan.workers import WorkerKind
from costlab.serving.plan.workload import BLOCK_TOKENS, Demand
from costlab.serving.routing import Ask, RequestRouter, RouterMaker, WorkerView
from costlab.serving.schedulers import VllmV1
from costlab.serving.simulation import WorkerSpec


def layout_of(candidate: Candidate, space: Space, load: Demand, factor: float = 1.0, lost: str = "") -> PooledLayout:
    """Return a candidate as a layout that `simulate` runs.

    Args:
        candidate: what to build.
        space: of the search that found it.
        load: what will come; its cached tokens lie in a prefix cache of each worker that reads prompts.
        factor: on all step times.
        lost: name of a pool that has a worker less; empty: none.

    Raises:
        ValueError: a pool that loses its only worker.
    """
    if any(pool.name == lost and pool.workers < 2 for pool in candidate.pools):
        raise ValueError(f"{lost} has a single worker")
    cached = any(mix.cached_tokens for mix in load.mixes)
    reads = not candidate.prefill or candidate.threshold_tokens is not None
    decode = _pool([candidate.decode], cached and reads, space.reserve, factor, lost)
    if not candidate.prefill:
        return colocated(decode)
    prefill = _pool(candidate.prefill, cached, space.reserve, factor, lost, load)
    to = candidate.decode.worker.deployment
    sent = SentBytes.of(space.loaded, to.tensor_parallel)
    assert candidate.link is not None
    # ranks send side by side: what the ranks of a worker share is the sum of their links
    wide = candidate.link.bandwidth_bytes_s * candidate.prefill[0].worker.ranks
    link, growth = Link(wide, candidate.link.latency_s), growth_tokens(load)
    if candidate.threshold_tokens is None:
        return separated(prefill, decode, link, sent, growth_tokens=growth)
    return conditionally_separated(prefill, decode, link, sent, candidate.threshold_tokens, growth_tokens=growth)


def _pool(
    pools: Sequence[PlannedPool], cached: bool, reserve: float, factor: float, lost: str, load: Demand | None = None
) -> WorkerPool:
    worker = pools[0].worker
    sizes = [pool.workers - (pool.name == lost and i == 0) for i, pool in enumerate(pools)]
    spec = WorkerSpec(
        worker.cost.scaled(factor) if factor != 1 else worker.cost,
        VllmV1(worker.step_tokens, worker.most_running),
        kv_tokens(worker, reserve, worker.most_running),
        BLOCK_TOKENS,
        ranks=worker.ranks,
        cache=_empty_cache if cached else None,
        chips=worker.deployment.chips,
    )
    router: str | RouterMaker = "least pending tokens"
    if len(pools) > 1 and load is not None:
        router = FixedBuckets.maker([_input_edge(load, pool.most_tokens) for pool in pools[:-1]], sizes)
    return WorkerPool(spec, sum(sizes), router)


def kv_tokens(worker: WorkerKind, reserve: float, sequences: int) -> int:
    """Return the tokens of cache that a rank has room for, a reserve left free, beside what `sequences` always keep."""
    room = dataclasses.replace(worker.room, free_bytes=worker.room.free_bytes * (1 - reserve))
    return room.tokens(min(sequences, room.sequences(1)))


def _empty_cache() -> PrefixCache:
    """Return a cache that keeps all that it has seen."""
    return PrefixCache([Tier("HBM")], page_bytes=1.0, page_tokens=BLOCK_TOKENS)


def _input_edge(load: Demand, most_new: float) -> int:
    """The longest prompt of which at most so many tokens are uncached."""
    return max((mix.input_tokens for mix in load.mixes if mix.new_tokens <= most_new), default=0)


class FixedBuckets(RequestRouter):
    """Workers in groups, each for a range of prompt lengths that does not change; within one the least pending tokens.

    Args:
        edges: longest prompt of each group but the last, rising.
        sizes: workers of each group, in the order in which they stand in the pool.
    """

    def __init__(self, edges: Sequence[int], sizes: Sequence[int]) -> None:
        super().__init__()
        self.edges = tuple(edges)
        ends = np.cumsum(sizes).tolist()
        self.groups = [range(end - size, end) for size, end in zip(sizes, ends, strict=True)]

    @classmethod
    def maker(cls, edges: Sequence[int], sizes: Sequence[int]) -> RouterMaker:
        """Return what makes such a router for a run."""
        return lambda rng: cls(edges, sizes)

    def pick(self, ask: Ask, pool: Sequence[WorkerView], alive: Sequence[int]) -> int:
        """Return the worker of the prompt's group with the fewest pending tokens; of any, if the group is dead."""
        group = self.groups[sum(ask.input_tokens > edge for edge in self.edges)]
        among = [index for index in alive if index in group] or alive
        return self.least([pool[index].pending_tokens for index in among], among)
