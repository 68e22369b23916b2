"""Routers: which worker of a pool gets a request, from what is known of each.

A router is asked with an `Ask` and a view of the pool's workers, and answers with an index, or None to refuse. It draws
on nothing else, so a stale answer comes from stale signals: `Aged` shows a router those of some time ago. Ties go to
the worker that has been sent fewest requests, then to the first; the count is the router's own and never stale.

>>> from costlab.serving.routing import Ask, LeastPendingTokens, Signals
>>> pool = [Signals(pending_tokens=900), Signals(pending_tokens=100), Signals(pending_tokens=100)]
>>> router = LeastPendingTokens()
>>> [router.choose(Ask(0.0, 512), pool) for _ in range(3)]
[1, 2, 1]
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from costlab.serving.routing.loads import LeastPendingTokens, LeastRequests, PowerOfTwo, RoundRobin
from costlab.serving.routing.prefixes import (
    CacheAware,
    DynamoCost,
    LoadWindow,
    MooncakeCost,
    PrefillChoice,
    WeightedScores,
)
from costlab.serving.routing.router import RequestRouter
from costlab.serving.routing.views import Aged, Ask, Signals, WorkerView

#: Makes a router, given what it may draw with.
RouterMaker = Callable[[np.random.Generator], RequestRouter]

#: Routers that need no more than a name.
ROUTERS: Mapping[str, RouterMaker] = {
    "round robin": lambda rng: RoundRobin(),
    "least requests": lambda rng: LeastRequests(),
    "least pending tokens": lambda rng: LeastPendingTokens(),
    "power of two": PowerOfTwo,
    "cache aware": lambda rng: CacheAware(),
    "weighted scores": lambda rng: WeightedScores(),
    "dynamo cost": lambda rng: DynamoCost(),
}

__all__ = [
    "ROUTERS", "Aged", "Ask", "CacheAware", "DynamoCost", "LeastPendingTokens", "LeastRequests", "LoadWindow",
    "MooncakeCost", "PowerOfTwo", "PrefillChoice", "RequestRouter", "RoundRobin", "RouterMaker", "Signals",
    "WeightedScores", "WorkerView",
]  # fmt: skip
