"""Routers that weigh cached prefixes against load: those of SGLang, Mooncake, llm-d and Dynamo."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from costlab.checks import count
from costlab.serving.routing.router import RequestRouter
from costlab.serving.routing.views import Ask, WorkerView


@dataclass(frozen=True)
class LoadWindow:
    """How far loads may lie apart: beyond both bounds the pool counts as out of balance.

    Raises:
        ValueError: an absolute bound below 0 or a relative one below 1.
    """

    absolute: float = 64  # most minus least
    relative: float = 1.5  # most over least

    def __post_init__(self) -> None:
        if not (self.absolute >= 0 and self.relative >= 1):
            raise ValueError(f"{self} should have absolute >= 0 and relative >= 1")

    def holds(self, load: float, least: float) -> bool:
        """Say whether a load is still in balance with the least one."""
        return load - least <= self.absolute or load <= self.relative * least


class CacheAware(RequestRouter):
    """SGLang's cache_aware: the best prefix match if it is long enough and loads are in balance.

    Args:
        window: of requests; beyond it the pool is out of balance. The gateway's defaults; older ones were 32 and 1.1.
        match_share: of the prompt that has to be cached for a match to decide; older: 0.5.
        misses_to_smallest_tree: a prompt without a match goes to the worker with the fewest cached tokens, as older
            versions did; the smallest tree may be that of the busiest worker.
        within_window: the match is sought among the workers within the window, rather than given up for all as soon
            as one is outside: one stuck worker then costs the others no hits.

    Raises:
        ValueError: a share outside 0 to 1.

    Source: sglang 0.5.23's gateway, policies cache_aware; its pull requests 14532 and 32195.
    """

    looks_at_prefixes = True

    def __init__(
        self,
        window: LoadWindow | None = None,
        match_share: float = 0.3,
        *,
        misses_to_smallest_tree: bool = False,
        within_window: bool = False,
    ) -> None:
        super().__init__()
        if not 0 <= match_share <= 1:
            raise ValueError(f"match_share = {match_share} should be from 0 to 1")
        self.window, self.match_share = window or LoadWindow(), match_share
        self.misses_to_smallest_tree, self.within_window = misses_to_smallest_tree, within_window

    def pick(self, ask: Ask, pool: Sequence[WorkerView], alive: Sequence[int]) -> int:
        """Return the least loaded worker when out of balance, else the best match, else where misses go."""
        loads = [pool[i].requests for i in alive]
        least = min(loads)
        near = [i for i, load in zip(alive, loads, strict=True) if self.window.holds(load, least)]
        if len(near) < len(alive) and not self.within_window:
            return self.least(loads, alive)
        matched = [ask.matched_on(i) for i in near]
        if max(matched) > self.match_share * ask.input_tokens:
            return self.least([-n for n in matched], near)
        if self.misses_to_smallest_tree:
            return self.least([pool[i].tree_tokens for i in near], near)
        return self.least([pool[i].requests for i in near], near)


@dataclass(frozen=True, slots=True)
class PrefillChoice:
    """Where Mooncake's Algorithm 1 puts a prompt."""

    worker: int  # that reads it
    ttft_s: float  # predicted: queue, transfer and prefill
    fetched_from: int | None  # worker whose longer prefix is copied first; None: its own suffices
    fetched_tokens: int  # of that prefix


class MooncakeCost(RequestRouter):
    """Mooncake's Algorithm 1: the least predicted TTFT, own prefix or fetched one; no worker in time, no service.

    Args:
        prefill_s: seconds of a prefill of so many tokens behind so many cached ones.
        fetch_s: seconds to fetch so many cached tokens from another worker.
        balance: a worker whose prefix is longer than the best one divided by this uses its own.
        ttft_s: the objective; a prompt that no worker can serve by then is refused.

    Raises:
        ValueError: a balance below 1, or an objective that is not above 0.

    Source: arXiv 2407.00079 sec. 6, Algorithm 1.
    """

    looks_at_prefixes = True

    def __init__(
        self,
        prefill_s: Callable[[int, int], float],
        fetch_s: Callable[[int], float],
        balance: float = 4.0,
        ttft_s: float = math.inf,
    ) -> None:
        super().__init__()
        if not balance >= 1 or not ttft_s > 0:
            raise ValueError(f"balance = {balance} should be at least 1 and ttft_s = {ttft_s} above 0")
        self.prefill_s, self.fetch_s, self.balance, self.ttft_s = prefill_s, fetch_s, balance, ttft_s

    def pick(self, ask: Ask, pool: Sequence[WorkerView], alive: Sequence[int]) -> int | None:
        """Return the worker of the least predicted TTFT, None beyond the objective."""
        options = [self.option(ask, pool, alive, i) for i in alive]
        chosen = self.least([option.ttft_s for option in options], alive)
        fastest = options[alive.index(chosen)]
        return None if fastest.ttft_s > self.ttft_s else fastest.worker

    def option(self, ask: Ask, pool: Sequence[WorkerView], alive: Sequence[int], worker: int) -> PrefillChoice:
        """Return what putting a prompt on one worker would mean."""
        best = max(alive, key=ask.matched_on)
        longest, own = ask.matched_on(best), ask.matched_on(worker)
        queue_s = pool[worker].pending_s
        if longest < self.balance * own or longest == own:
            return PrefillChoice(worker, queue_s + self.prefill_s(ask.input_tokens - own, own), None, 0)
        fetched = longest - own
        ttft_s = queue_s + self.fetch_s(fetched) + self.prefill_s(ask.input_tokens - longest, longest)
        return PrefillChoice(worker, ttft_s, best, fetched)


class WeightedScores(RequestRouter):
    """llm-d's scheduler: a weighted sum of scores from 0 to 1 for cached prefix, queue and free KV memory.

    Args:
        prefix: weight of the share of the prompt that is cached.
        queue: weight of the queue, 1 for the shortest and 0 for the longest.
        memory: weight of the free share of KV blocks.

    Raises:
        ValueError: a negative weight.

    Source: llm-d-inference-scheduler @520af47, its default plug-ins and weights; it draws among equals, here the one
    sent fewest requests is taken.
    """

    looks_at_prefixes = True

    def __init__(self, prefix: float = 2.0, queue: float = 1.0, memory: float = 1.0) -> None:
        super().__init__()
        if not min(prefix, queue, memory) >= 0:
            raise ValueError(f"weights {prefix}, {queue}, {memory} should not be negative")
        self.weights = prefix, queue, memory

    def pick(self, ask: Ask, pool: Sequence[WorkerView], alive: Sequence[int]) -> int:
        """Return the worker with the highest sum."""
        prefix, queue, memory = self.weights
        queues = [pool[i].queued for i in alive]
        longest, spread = max(queues), max(queues) - min(queues)
        costs = []
        for i, waiting in zip(alive, queues, strict=True):
            short = (longest - waiting) / spread if spread else 1.0
            cached = ask.matched_on(i) / ask.input_tokens
            costs.append(-(prefix * cached + queue * short + memory * (1 - pool[i].kv_share)))
        return self.least(costs, alive)


class DynamoCost(RequestRouter):
    """NVIDIA Dynamo's KV router: prefill blocks to compute, weighed against blocks that decode would hold.

    cost = weight x (pending tokens + prompt - cached prefix) / block + decode blocks if the request came there.

    Args:
        block_tokens: tokens of a block.
        overlap_weight: more helps TTFT and hurts the gaps between tokens; 0 looks at load alone.
        temperature: 0 takes the least cost; above, workers are drawn by the softmax of -cost / (range x temperature).
        rng: draws; needed above temperature 0.

    Raises:
        ValueError: a weight or temperature that is negative or endless, or a temperature without `rng`.

    Source: ai-dynamo's kv-router documentation and its selector, softmax over costs divided by their range.
    """

    looks_at_prefixes = True

    def __init__(
        self,
        block_tokens: int = 64,
        overlap_weight: float = 1.0,
        temperature: float = 0.0,
        rng: np.random.Generator | None = None,
    ) -> None:
        super().__init__()
        if not (0 <= overlap_weight < math.inf and 0 <= temperature < math.inf):
            raise ValueError(f"overlap_weight = {overlap_weight} and temperature = {temperature} should be at least 0")
        if temperature and rng is None:
            raise ValueError(f"temperature = {temperature} needs a Generator to draw with")
        self.block_tokens = count(block_tokens, "block_tokens")
        self.overlap_weight, self.temperature, self._rng = overlap_weight, temperature, rng

    def cost(self, ask: Ask, signals: WorkerView, matched: int) -> float:
        """Return the cost of sending a request to one worker, in blocks."""
        prefill = (signals.pending_tokens + ask.input_tokens - matched) / self.block_tokens
        decode = signals.kv_blocks + -(-ask.input_tokens // self.block_tokens)
        return self.overlap_weight * prefill + decode

    def pick(self, ask: Ask, pool: Sequence[WorkerView], alive: Sequence[int]) -> int:
        """Return the worker of least cost, or one drawn by cost."""
        costs = [self.cost(ask, pool[i], ask.matched_on(i)) for i in alive]
        spread = max(costs) - min(costs)
        if self._rng is None or not self.temperature or not spread:
            return self.least(costs, alive)
        chances = np.exp(-(np.array(costs) - min(costs)) / (spread * self.temperature))
        return alive[int(self._rng.choice(len(alive), p=chances / chances.sum()))]
