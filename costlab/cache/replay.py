"""The replay: requests in order of arrival through one prefill instance with a tiered prefix cache.

One request is served at a time, in order (a FIFO server). Its turn: match; wait for what the prefetch still brings
from SSD; load layer by layer from DRAM while the layers compute; write new pages down in the background. Links carry
one transfer at a time. A request is matched when its turn comes; the prefetch of its SSD pages starts at its arrival.
Bytes move in whole pages. Writes delay nobody; a link that they keep busy for more than the whole time cannot keep up.

>>> from costlab.cache import Plan, Request, replay, standard
>>> plan = Plan("mimo-v2.5-pro", standard("80GB", "1TB"))
>>> report = replay([Request(0, 1024, 1, (1, 2)), Request(9, 1536, 1, (1, 2, 3))], plan)
>>> report.hit_tokens, report.computed_tokens
(1024, 1536)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from costlab.cache.fifos import Future
from costlab.cache.plan import Plan
from costlab.cache.report import Report
from costlab.cache.run import Run
from costlab.cache.traces import Request


def replay(requests: Iterable[Request], plan: Plan, progress: Callable[[int], object] | None = None) -> Report:
    """Replay requests through a plan and report hit rates, bytes, seconds and money.

    Args:
        requests: in order of arrival.
        plan: the configuration.
        progress: called with the number of requests served so far, every 256 and at the end.

    Raises:
        ValueError: a request that arrives before its predecessor, or names a block twice.

    Chapter: cache
    """
    future = None
    if plan.eviction == "belady":
        requests = list(requests)
        future = Future(request.blocks for request in requests)
    run = Run(plan, plan.cache(future))
    for served, request in enumerate(requests, 1):
        run.serve(request)
        if progress is not None and not served % 256:
            progress(served)
    if progress is not None:
        progress(run.requests)
    return run.report()
