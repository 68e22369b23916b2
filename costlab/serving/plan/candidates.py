"""What a search finds: layouts with their pools and figures, and why others cannot serve."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from costlab.serving.links import Link
from costlab.serving.plan.workers import WorkerKind

LayoutKind = Literal["co-located", "separated", "conditional", "buckets"]
#: Who reads prompts: the workers that decode; workers of their own; these only above a length; these, by length.
LAYOUTS: tuple[LayoutKind, ...] = ("co-located", "separated", "conditional", "buckets")

Constraint = Literal["memory", "TTFT", "TPOT", "link", "ratio", "load"]


@dataclass(frozen=True)
class Reason:
    """Why a layout cannot serve, by the constraint that binds."""

    constraint: Constraint  # what binds
    words: str  # the same as a sentence with its numbers


@dataclass(frozen=True)
class PlannedPool:
    """Equal workers that do the same."""

    name: str  # "prefill", "decode", or "workers" where they do both
    worker: WorkerKind  # one of them
    workers: int  # how many
    busy: float  # share of their capacity that the peak load uses, 0 to 1
    least_tokens: int = 0  # of uncached prompt: the pool takes requests with more
    most_tokens: float = math.inf  # of uncached prompt: and with at most so many

    @property
    def chips(self) -> int:
        """Chips of all its workers."""
        return self.workers * self.worker.deployment.chips


@dataclass(frozen=True)
class Figures:
    """What a plan yields at the peak rate, by the closed form or by a simulation."""

    ttft_s: float  # time to first token that the objective's share of requests does not exceed
    tpot_s: float  # time per output token that this share does not exceed; NaN where all answers have one token
    met: float  # share of requests that meet the objective, 0 to 1
    running: float  # mean sequences that decode, on all workers together
    prefill_busy: float  # share of their time that the workers that read prompts spend in steps
    decode_busy: float  # share of the decode slots that is used; NaN where not known
    kv_peak: float = math.nan  # largest share of a worker's cache room in use at once


@dataclass(frozen=True)
class Candidate:
    """A layout with as many workers as the closed form asks for."""

    layout: LayoutKind  # who reads prompts
    prefill: tuple[PlannedPool, ...]  # that read prompts only; none where co-located, several by length with buckets
    decode: PlannedPool  # that decode; where co-located or conditional they read prompts too
    closed: Figures  # by the closed form
    usd_per_hour: float  # of all chips
    threshold_tokens: int | None = None  # conditional: longer uncached prompts go to the prefill pool
    link: Link | None = None  # what caches cross; None where they stay

    @property
    def pools(self) -> tuple[PlannedPool, ...]:
        """All pools."""
        return (*self.prefill, self.decode)

    @property
    def chips(self) -> int:
        """Chips of all pools."""
        return sum(pool.chips for pool in self.pools)

    @property
    def name(self) -> str:
        """The layout in a few words: how many workers of how many chips in each pool."""
        return plan_name(self.layout, self.pools, self.threshold_tokens)


def plan_name(layout: str, pools: Iterable[PlannedPool], threshold: int | None = None) -> str:
    """Return a layout in a few words: its pools, what parts their work, and the budget of steps that do both."""
    *others, last = pools
    above = "" if threshold is None else f" above {threshold}"
    reads = f", {last.worker.step_tokens} tokens a step" if threshold is not None or not others else ""
    return f"{layout}{above} {' + '.join(map(pool_text, [*others, last]))}{reads}"


def pool_text(pool: PlannedPool) -> str:
    """Return a pool in a few words: 2x4 h100-sxm TP4 prefill, two workers of four chips."""
    node = pool.worker.deployment
    split = [f"TP{node.tensor_parallel}"] if node.tensor_parallel > 1 else []
    split += [f"DP{node.replicas}"] if node.replicas > 1 else []
    split += [f"EP{node.chips}"] if node.moe and node.chips > 1 else []
    draft = [f"drafting {pool.worker.drafting.length}"] if pool.worker.drafting else []
    return " ".join([f"{pool.workers}x{node.chips}", pool.worker.chip, *split, pool.name, *draft])


@dataclass(frozen=True)
class Refused:
    """A layout that cannot serve."""

    name: str  # in a few words
    reason: Reason  # why
    usd_per_hour: float = math.nan  # what it would have cost, where it was sized
