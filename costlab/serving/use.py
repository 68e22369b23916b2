"""What the workers of each pool did, for the report."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from costlab.serving.report import PoolUse
from costlab.serving.worker import Worker


def pool_uses(workers: Iterable[Worker]) -> list[PoolUse]:
    """Return what the workers did, pool by pool."""
    pools: dict[str, list[Worker]] = {}
    for worker in workers:
        pools.setdefault(worker.pool, []).append(worker)
    return [_use(name, members) for name, members in pools.items()]


def _use(name: str, workers: Sequence[Worker]) -> PoolUse:
    ranks = [rank for worker in workers for rank in worker.ranks]
    peaks = [max(rank.blocks.peak, rank.blocks.used) for rank in ranks]
    here = [job.entered_s for worker in workers for job in worker.jobs]
    shares = [peak / rank.blocks.total for peak, rank in zip(peaks, ranks, strict=True)]
    fullest = shares.index(max(shares))
    residence_s = sum(worker.residence_s for worker in workers)
    return PoolUse(
        name=name,
        workers=len(workers),
        chips=sum(worker.chips for worker in workers),
        busy_s=sum(worker.busy_s for worker in workers),
        steps=sum(worker.steps for worker in workers),
        prefill_tokens=sum(rank.read_tokens for rank in ranks),
        cached_tokens=sum(rank.cached_tokens for rank in ranks),
        output_tokens=sum(rank.emitted_tokens + rank.emitting_tokens for rank in ranks),
        preemptions=sum(rank.preemptions for rank in ranks),
        kv_blocks=sum(rank.blocks.total for rank in ranks),
        kv_peak_blocks=peaks[fullest],
        kv_peak_share=shares[fullest],
        entered=sum(worker.left for worker in workers) + len(here),
        left=sum(worker.left for worker in workers),
        residence_s=residence_s,
        area_s=residence_s + sum(workers[0].events.now - entered_s for entered_s in here),
    )
