"""Orca: iteration by iteration, whole prompts, memory for the longest answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from costlab.checks import count
from costlab.serving.rank import Batch, Rank


@dataclass(frozen=True)
class Orca:
    """Admit, first come first served, while prompt and answer fit; read whole prompts beside those that decode.

    Nobody is ever preempted: each has memory for all it may need from the beginning.

    Source: G.-I. Yu et al., Orca, OSDI 2022.
    """

    max_running: int = 128  # the most jobs in a batch

    takes_whole: ClassVar[bool] = True  # memory for all of the answer when it is admitted

    def __post_init__(self) -> None:
        count(self.max_running, "max_running")

    def plan(self, rank: Rank) -> Batch:
        """Admit what fits, and return the next step."""
        chunks = []
        while rank.waiting and len(rank.running) < self.max_running:
            job = rank.waiting[0]
            blocks = rank.blocks.lacking(job, job.most)
            if not rank.blocks.can_take(blocks):
                break
            if rank.admit(blocks, rank.cached(job)):
                chunks.append((job, job.left))
        return Batch(chunks)
