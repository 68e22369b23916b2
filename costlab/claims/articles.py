"""Listings of a source article, rule by rule, so that what they do can be checked: its cache manager, its scheduler.

Written anew from the article. Two functions of the manager are called but not printed: to release a block, taken here
as giving its bytes back, and to lift one from SSD to DRAM, taken as the one it prints for HBM, one tier below. The
scheduler's load balancer isn't printed either; it is called with the nodes alone and can take no more than turns.

Chapter: claims
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass, field

import numpy as np

from costlab.arrays import ArrayLike, Floats
from costlab.moe.balance import load_shares
from costlab.moe.dispatch import check_capacity

L1, L2, L3 = range(3)


@dataclass
class ArticleManager:
    """Blocks of one size, each in one of three tiers, moved as the article's listing moves them."""

    capacity: tuple[int, int, int]  # blocks that each tier takes
    used: list[int] = field(default_factory=lambda: [0, 0, 0])  # blocks in each tier, as the listing counts them
    # tier in which the listing says that each block is, least recently used first
    level: OrderedDict[Hashable, int] = field(default_factory=OrderedDict)
    hits: list[int] = field(default_factory=lambda: [0, 0, 0])  # blocks found in each tier
    evicted: int = 0  # blocks that the listing counts as gone

    def access(self, block: Hashable) -> None:
        """Look a block up; move it a tier up where there is room, or put a new one where there is room."""
        if block not in self.level:
            self._insert(block)
            return
        self.level.move_to_end(block)
        at = self.level[block]
        self.hits[at] += 1
        if at != L1 and self.used[at - 1] < self.capacity[at - 1]:
            self.promote(block)

    def _insert(self, block: Hashable) -> None:
        room = (tier for tier in (L1, L2) if self.used[tier] < self.capacity[tier])
        self._put(block, next(room, L3))  # into SSD unasked: the listing checks no room there

    def promote(self, block: Hashable) -> None:
        """Move a block a tier up, after evictions from HBM where that is full."""
        target = self.level[block] - 1
        while target == L1 and self.used[L1] >= self.capacity[L1]:
            self.evict()
        self.used[self.level[block]] -= 1
        self._put(block, target)

    def evict(self) -> None:
        """Move HBM's least recently used block to DRAM; where DRAM is full the listing forgets to move it."""
        coldest = next((block for block, tier in self.level.items() if tier == L1), None)
        if coldest is None:
            return
        self.evicted += 1
        self.used[L1] -= 1
        if self.used[L2] < self.capacity[L2]:
            self.level[coldest] = L2
            self.used[L2] += 1

    def _put(self, block: Hashable, tier: int) -> None:
        self.level[block] = tier
        self.used[tier] += 1

    def held(self) -> list[int]:
        """Return how many blocks each tier holds by their own labels; `used` should say the same."""
        labels = list(self.level.values())
        return [labels.count(tier) for tier in (L1, L2, L3)]


@dataclass(frozen=True)
class ManagerRun:
    """What the article's manager has done after a run, and after one eviction more."""

    in_ssd: int  # blocks in SSD
    over: int  # of these, beyond its places
    evicted: int  # evictions of its own accord
    held: int  # blocks in HBM after one eviction by hand
    counted: int  # blocks that it counts there then

    @property
    def uncounted(self) -> int:
        """Blocks in HBM that it does not count."""
        return abs(self.held - self.counted)


def run_manager(hbm: int, dram: int, ssd: int, blocks: int) -> ManagerRun:
    """Ask the article's manager for blocks, one after another, and then for the same again.

    Args:
        hbm: blocks that HBM takes.
        dram: blocks that DRAM takes.
        ssd: blocks that SSD takes.
        blocks: how many different ones are asked for.
    """
    manager = ArticleManager((hbm, dram, ssd))
    for block in [*range(blocks), *range(blocks)]:
        manager.access(block)
    in_ssd, evicted = manager.used[L3], manager.evicted
    manager.evict()
    return ManagerRun(in_ssd, max(0, in_ssd - ssd), evicted, manager.held()[L1], manager.used[L1])


@dataclass
class ArticleScheduler:
    """Requests given to nodes that prefill and nodes that decode, as the article's listing gives them."""

    prefill_nodes: int  # how many, at least 1
    decode_nodes: int  # how many, at least 1
    threshold: int  # input tokens; a longer prompt goes to a prefill node
    channel: int  # transfers that wait at most: the channel's size
    undefined: tuple[str, ...] = ("fmt", "LoadBalancer", "InferenceRequest", "SchedulePlan")  # used, nowhere declared
    waiting: int = 0  # transfers in the channel, from which the listing never takes one
    moved_bytes: int = 0  # of keys and values, by the size that the listing notes: none
    read_apart: int = 0  # prompt tokens read on prefill nodes
    read_beside: int = 0  # prompt tokens read on decode nodes, beside others' decoding
    turns: list[int] = field(default_factory=lambda: [0, 0])  # calls of either balancer

    def schedule(self, input_tokens: int) -> tuple[int, int] | None:
        """Return the nodes for both phases, prefill nodes first; None where the listing waits for ever.

        Args:
            input_tokens: length of the whole prompt; what is cached of it is not asked.
        """
        if input_tokens <= self.threshold:
            node = self._next(1)
            self.read_beside += input_tokens
            return node, node
        nodes = self._next(0), self._next(1)
        if self.waiting >= self.channel:
            return None
        self.waiting += 1
        self.read_apart += input_tokens
        return nodes

    def _next(self, pool: int) -> int:
        """Return the node whose turn it is in a pool: no load, no memory, no failure is looked at."""
        self.turns[pool] += 1
        turn = self.turns[pool] - 1
        return self.prefill_nodes + turn % self.decode_nodes if pool else turn % self.prefill_nodes


@dataclass(frozen=True)
class SchedulerRun:
    """What the article's scheduler has done after a run."""

    scheduled: int  # requests that got their nodes before it stopped
    beside: float  # share of their prompts' tokens read on nodes that decode
    moved_bytes: int  # of keys and values
    undefined: tuple[str, ...]  # names that it uses and nothing declares


def run_scheduler(scheduler: ArticleScheduler, requests: int, *lengths: int) -> SchedulerRun:
    """Give the article's scheduler requests until it waits for ever.

    Args:
        scheduler: that is given them.
        requests: how many there are.
        lengths: tokens of the prompts, by turns.
    """
    served = 0
    while served < requests and scheduler.schedule(lengths[served % len(lengths)]) is not None:
        served += 1
    read = scheduler.read_apart + scheduler.read_beside
    beside = scheduler.read_beside / read if read else 0.0
    return SchedulerRun(served, beside, scheduler.moved_bytes, scheduler.undefined)


@dataclass(frozen=True)
class ArticleLoss:
    """A loss of article E."""

    text: float  # as its text defines it
    code: float  # as its code computes it
    at_balance: float  # the text's value at perfect balance


@dataclass
class ArticleRouter:
    """The counters of article E's router, as its listing writes and reads them; the routing itself is left out."""

    experts: int  # how many
    load_count: Floats = field(init=False)  # assignments to each expert, in the expert's own field
    expert_loads: Floats = field(init=False)  # assignments to each expert, as the balance loss reads them
    total_routes: float = 0.0  # all assignments, as the balance loss reads them

    def __post_init__(self) -> None:
        self.load_count, self.expert_loads = np.zeros(self.experts), np.zeros(self.experts)

    def route(self, loads: ArrayLike) -> None:
        """Count a batch's assignments per expert where the listing counts them."""
        self.load_count += np.asarray(loads, dtype=np.float64)

    def loss(self) -> float:
        """Return E x variance of the load shares, from the counters that the listing reads."""
        if self.total_routes == 0:
            return 0.0
        return float(self.experts * (self.expert_loads / self.total_routes).var())


def article_variance(loads: ArrayLike) -> ArticleLoss:
    """Return article E's variance loss: E x variance of the load shares.

    Its code is run on an `ArticleRouter` that has routed these loads. Even repaired it is made of counts, so it trains
    nothing.

    Args:
        loads: assignments per expert.

    Raises:
        ValueError: no load, or a negative one.
    """
    shares = load_shares(loads)
    router = ArticleRouter(shares.size)
    router.route(loads)
    even = np.full(shares.size, shares.mean())
    return ArticleLoss(
        text=float(shares.size * shares.var()), code=router.loss(), at_balance=float(even.size * even.var())
    )


def article_kl(loads: ArrayLike, routes: int | None = None) -> ArticleLoss:
    """Return article E's KL loss: the divergence of the load shares from uniform, times E.

    The sign is right. The factor E is not a normalisation (the divergence is 0 at balance without it, and log E at
    collapse), it only inflates. If `routes` counts tokens and not assignments, as "total routes" of a top-k router
    may be read, the shares sum to k and perfect balance costs E k log k in place of 0.

    Args:
        loads: assignments per expert.
        routes: what the code divides by; None takes the assignments, as the text means.

    Raises:
        ValueError: no load, a negative one, or fewer than one route.
    """
    counts, shares = np.asarray(loads, dtype=np.float64), load_shares(loads)
    total = counts.sum() if routes is None else float(routes)
    if not 1 <= total < np.inf:
        raise ValueError(f"routes = {routes} should be at least 1")
    even = np.full(shares.size, counts.sum() / total / shares.size)
    return ArticleLoss(_kl(shares), _kl(counts / total, 1e-10), _kl(even, 1e-10))


def _kl(shares: Floats, guard: float = 0.0) -> float:
    busy = shares[shares > 0]  # 0 log 0 is 0
    return float(shares.size * (busy * np.log(busy * shares.size + guard)).sum())


def article_capacity(tokens: int, experts: int, factor: float = 1.25) -> int:
    """Return the capacity by article E's formula, which leaves top-k out: 1/k of the rows that are needed.

    Args:
        tokens: in the batch.
        experts: that they may visit.
        factor: the article's 1.25.

    Raises:
        ValueError: a negative or endless factor, or counts out of range.
    """
    check_capacity(tokens, experts, 1, factor)
    return int(tokens / experts * factor)
