"""vLLM V1: no phases; each job has tokens that are known and tokens that are computed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from costlab.checks import count, share
from costlab.serving.jobs import Job
from costlab.serving.rank import Batch, Rank


@dataclass(frozen=True)
class VllmV1:
    """Those that run come first, in order; where blocks lack, the last one is preempted and waits at the front.

    A preempted job loses all that is computed. Nobody is admitted in a step in which somebody was preempted.

    Raises:
        ValueError: numbers that are no counts, a watermark outside 0 to 1, a budget below `max_running`.

    Source: vllm-project/vllm 00024d3, vllm/v1/core/sched/scheduler.py; watermark: pull request 44594; whole prompts:
        pull request 37307.
    """

    budget: int = 2048  # tokens of a step (max_num_batched_tokens)
    max_running: int = 256  # the most jobs in a batch (max_num_seqs)
    long_prefill_tokens: int = 0  # the most tokens of a prompt in a step; 0: no limit (long_prefill_token_threshold)
    watermark: float = 0.0  # share of the blocks that admission leaves free, where something runs
    whole_prompt: bool = False  # whether all of a prompt has to fit when it is admitted, or only its first chunk

    takes_whole: ClassVar[bool] = False  # memory for all of the answer when it is admitted

    def __post_init__(self) -> None:
        if count(self.budget, "budget") < count(self.max_running, "max_running"):
            raise ValueError(f"budget = {self.budget} should be at least max_running = {self.max_running}")
        if self.long_prefill_tokens:
            count(self.long_prefill_tokens, "long_prefill_tokens")
        share(self.watermark, "watermark")

    def plan(self, rank: Rank) -> Batch:
        """Admit and preempt, and return the next step."""
        (chunks, left), preempted = self._under_way(rank), False
        while not rank.grow(chunks):
            rank.preempt_last()
            (chunks, left), preempted = self._under_way(rank), True
        if rank.waiting and not preempted:
            self._admit(rank, chunks, left)
        return Batch(chunks, steady=not preempted)

    def _under_way(self, rank: Rank) -> tuple[list[tuple[Job, int]], int]:
        """Return what the prompts that are under way get of the budget, and what remains."""
        left, chunks = self.budget - rank.decoding_tokens, []
        for job in rank.prefilling:
            tokens = self._chunk(job.left, left)
            if tokens > 0:
                chunks.append((job, tokens))
                left -= tokens
        return chunks, left

    def _admit(self, rank: Rank, chunks: list[tuple[Job, int]], left: int) -> None:
        """Admit jobs while so much budget, and blocks, last."""
        while rank.waiting and left > 0 and len(rank.running) < self.max_running:
            job = rank.waiting[0]
            cached = rank.cached(job)
            tokens = self._chunk(job.left - cached, left)
            blocks = rank.blocks.lacking(job, job.computed + cached + tokens)
            asked = rank.blocks.lacking(job, job.known) if self.whole_prompt else blocks
            if not rank.blocks.can_take(asked, rank.spare(self.watermark)):
                break
            if rank.admit(blocks, cached):
                chunks.append((job, tokens))
            left -= tokens

    def _chunk(self, tokens: int, left: int) -> int:
        """Return how many of a prompt's tokens the next step computes."""
        if 0 < self.long_prefill_tokens < tokens:
            tokens = self.long_prefill_tokens
        return tokens if tokens < left else left
