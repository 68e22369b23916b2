"""Prompts first: a step either reads whole prompts or decodes, as in vLLM V0 and DistServe."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from costlab.checks import count, share
from costlab.serving.jobs import Job
from costlab.serving.rank import Batch, Rank


@dataclass(frozen=True)
class PrefillFirst:
    """Read whole prompts, first come first served, as long as any can be admitted; decode otherwise.

    A prompt of more than `budget` tokens is read alone.

    Source: vLLM V0 and LLMServe/DistServe 82831f1; cap of 2048 prompt tokens: Splitwise, arXiv 2311.18677.
    """

    budget: int = 2048  # prompt tokens of a step
    max_running: int = 256  # the most jobs in a batch
    watermark: float = 0.01  # share of the blocks that admission leaves free, where something runs

    takes_whole: ClassVar[bool] = False  # memory for all of the answer when it is admitted

    def __post_init__(self) -> None:
        count(self.budget, "budget")
        count(self.max_running, "max_running")
        share(self.watermark, "watermark")

    def plan(self, rank: Rank) -> Batch:
        """Admit and preempt, and return the next step."""
        chunks = self._admit(rank)
        if chunks:
            return Batch(chunks, decodes=False)
        preempted = rank.make_room()
        return Batch([], steady=not preempted)

    def _admit(self, rank: Rank) -> list[tuple[Job, int]]:
        """Admit jobs while budget and blocks last, and return their prompts."""
        used, chunks = 0, list[tuple[Job, int]]()
        while rank.waiting and len(rank.running) < self.max_running:
            job = rank.waiting[0]
            cached = rank.cached(job)
            tokens = job.left - cached
            blocks = rank.blocks.lacking(job, job.known)
            if not rank.blocks.can_take(blocks, rank.spare(self.watermark)) or (chunks and used + tokens > self.budget):
                break
            if rank.admit(blocks, cached):
                chunks.append((job, tokens))
                used += tokens
        return chunks
