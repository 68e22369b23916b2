"""Who is in the next step: the rules of Orca, Sarathi, vLLM and of engines that read prompts first.

A scheduler is a rule without memory: it looks at a rank, admits and preempts there, and returns a batch. All have the
same shape: room for those that decode, then the prompts that are under way, then the queue, until something is full.
"""

from costlab.serving.rank import Batch, Scheduler
from costlab.serving.schedulers.orca import Orca
from costlab.serving.schedulers.prefill_first import PrefillFirst
from costlab.serving.schedulers.sarathi import Sarathi
from costlab.serving.schedulers.vllm import VllmV1

__all__ = ["Batch", "Orca", "PrefillFirst", "Sarathi", "Scheduler", "VllmV1"]
