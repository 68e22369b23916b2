"""Who is in the next step: the rules of Orca, Sarathi, vLLM and of engines that read prompts first.

A scheduler is a rule without memory: it looks at a rank, admits and preempts there, and returns a batch. All have the
same shape: room for those that decode, then the prompts that are under way, then the queue, until something is full.

Chapter: serving
"""

from typing import Protocol

from costlab.serving.rank import Batch, Rank
from costlab.serving.schedulers.orca import Orca
from costlab.serving.schedulers.prefill_first import PrefillFirst
from costlab.serving.schedulers.sarathi import Sarathi
from costlab.serving.schedulers.vllm import VllmV1


class Scheduler(Protocol):
    """What decides who is in the next step."""

    @property
    def max_running(self) -> int:
        """The most jobs in a batch."""

    @property
    def takes_whole(self) -> bool:
        """Whether a job is admitted only with memory for all of its answer, for which it never waits then."""

    def plan(self, rank: Rank) -> Batch:
        """Admit and preempt jobs of a rank, and return its next step."""


__all__ = ["Orca", "PrefillFirst", "Sarathi", "Scheduler", "VllmV1"]
