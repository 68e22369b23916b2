"""Sarathi-Serve: a budget of tokens a step, so that no prompt stalls those that decode."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from costlab.checks import count, share
from costlab.serving.rank import Batch, Rank


@dataclass(frozen=True)
class Sarathi:
    """All that decode are in each step; what they leave of the budget goes to prompts, first come first served.

    A prompt gets the memory for all of it when it is admitted. Where a sequence that decodes finds no block, the one
    that was admitted last is preempted, if need be itself. With `least_budget` the budget is smaller for later parts
    of a prompt, whose attention takes longer.

    Raises:
        ValueError: numbers that are no counts, a watermark outside 0 to 1, a least budget above the budget.

    Source: A. Agrawal et al., Sarathi-Serve, arXiv 2403.02310; microsoft/sarathi-serve 96f9911, sarathi_scheduler.py.
    """

    budget: int = 512  # tokens of a step; those that decode may exceed it
    max_running: int = 128  # the most jobs in a batch
    watermark: float = 0.01  # share of the blocks that admission leaves free, where something runs
    least_budget: int | None = None  # what the budget falls to along a prompt; None: it does not
    stages: int = 16  # equal steps in which it falls
    stage_tokens: int = 512  # tokens of a prompt after which the next stage begins

    takes_whole: ClassVar[bool] = False  # memory for all of the answer when it is admitted

    def __post_init__(self) -> None:
        for name in ("budget", "max_running", "stages", "stage_tokens"):
            count(getattr(self, name), name)
        share(self.watermark, "watermark")
        if self.least_budget is not None and count(self.least_budget, "least_budget") > self.budget:
            raise ValueError(f"least_budget = {self.least_budget} should not exceed the budget of {self.budget}")

    def plan(self, rank: Rank) -> Batch:
        """Admit and preempt, and return the next step."""
        rank.make_room()
        used, chunks = rank.decoding_tokens, []
        for job in rank.prefilling:
            tokens = min(job.left, self._budget_at(job.computed) - used)
            if tokens > 0:
                chunks.append((job, tokens))
                used += tokens
        while rank.waiting and len(rank.running) < self.max_running:
            job = rank.waiting[0]
            cached = rank.cached(job)
            blocks, left = rank.blocks.lacking(job, job.known), self._budget_at(job.computed + cached) - used
            if left <= 0 or not rank.blocks.can_take(blocks, rank.spare(self.watermark)):
                break
            tokens = min(job.left - cached, left)
            if rank.admit(blocks, cached):
                chunks.append((job, tokens))
            used += tokens
        return Batch(chunks, steady=self.least_budget is None or not chunks)

    def _budget_at(self, computed: int) -> int:
        """Return the budget for a prompt of which so much is computed."""
        if self.least_budget is None:
            return self.budget
        stage = min(computed // self.stage_tokens, self.stages - 1)
        return self.budget - (self.budget - self.least_budget) * stage // max(self.stages - 1, 1)
