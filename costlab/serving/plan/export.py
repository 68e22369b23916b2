"""A plan as command lines of vLLM and SGLang: how each worker is started.

Only flags that exist are written: those of vllm 0.33.0 (`vllm/engine/arg_utils.py`) and sglang 0.5.23
(`sglang/srt/arg_groups/fields`), read on 2026-11-26. What is decided elsewhere, such as the router's threshold of a
conditional layout, stands in a comment.

A model's weights are named by MODEL: the planner knows its dimensions, not where they lie.
"""

from __future__ import annotations

import json
import math
from typing import Literal

from costlab.checks import one_of
from costlab.serving.plan.candidates import Candidate, PlannedPool
from costlab.serving.plan.workload import BLOCK_TOKENS

EngineName = Literal["vllm", "sglang"]
#: Engines that a plan can be written for, with the version whose flags are used.
ENGINES: dict[EngineName, str] = {"vllm": "vllm 0.33.0", "sglang": "sglang 0.5.23"}

#: How an engine calls what drafts: the model's own module, a head, another model, text copied from before.
_VLLM_METHODS = {"mtp": "mtp", "eagle3": "eagle3", "lookup": "ngram"}
_SGLANG_METHODS = {"mtp": "NEXTN", "eagle3": "EAGLE3", "lookup": "NGRAM"}


def commands(candidate: Candidate, engine: str, longest_tokens: int, draft: str = "") -> list[str]:
    """Return the command lines that start each kind of worker of a plan, a comment above each.

    Args:
        candidate: the plan.
        engine: "vllm" or "sglang".
        longest_tokens: longest request, prompt and answer: the context length to allow.
        draft: how the drafter was named, where there is one: "mtp", "eagle3", "lookup", or a model.

    Raises:
        ValueError: another engine.
    """
    chosen: EngineName = one_of(ENGINES, engine, "engine")
    write = _vllm if chosen == "vllm" else _sglang
    lines = [f"# {ENGINES[chosen]}, {candidate.layout}; MODEL is where the weights lie, or their name"]
    if candidate.threshold_tokens is not None:
        lines.append(f"# router: prompts of more than {candidate.threshold_tokens} uncached tokens to prefill workers")
    for pool in candidate.pools:
        lines.append(f"# {pool.workers} x {pool.name}, {pool.worker.deployment.chips} chips each{_range(pool)}")
        lines.append(" ".join(write(pool, bool(candidate.prefill), longest_tokens, draft)))
    return lines


def _range(pool: PlannedPool) -> str:
    if pool.most_tokens == math.inf:
        return f", prompts above {pool.least_tokens} uncached tokens" if pool.least_tokens else ""
    return f", prompts of {pool.least_tokens + 1} to {pool.most_tokens:.0f} uncached tokens"


def _vllm(pool: PlannedPool, moves: bool, longest: int, draft: str) -> list[str]:
    worker, node = pool.worker, pool.worker.deployment
    found = ["vllm serve MODEL", f"--tensor-parallel-size {node.tensor_parallel}"]
    if node.replicas > 1:
        found.append(f"--data-parallel-size {node.replicas}")
    if node.moe and node.chips > 1:
        found.append("--enable-expert-parallel")
    found += [
        f"--max-num-seqs {worker.most_running}",
        f"--max-num-batched-tokens {worker.step_tokens}",
        f"--max-model-len {longest}",
        f"--gpu-memory-utilization {node.memory_share:g}",
        f"--block-size {BLOCK_TOKENS}",
    ]
    if moves:
        config = {"kv_connector": "NixlConnector", "kv_role": "kv_both"}
        found.append(f"--kv-transfer-config '{json.dumps(config)}'")
    if worker.drafting:
        method = _VLLM_METHODS.get(draft, "draft_model")
        spec = {"method": method, "num_speculative_tokens": worker.drafting.length}
        found.append(
            f"--speculative-config '{json.dumps(spec if method != 'draft_model' else spec | {'model': draft})}'"
        )
    return found


def _sglang(pool: PlannedPool, moves: bool, longest: int, draft: str) -> list[str]:
    """SGLang counts all chips as tensor-parallel; ranks of attention are cut out of them, and budgets are per rank."""
    worker, node = pool.worker, pool.worker.deployment
    found = ["python -m sglang.launch_server --model-path MODEL", f"--tp-size {node.chips}"]
    if node.replicas > 1:
        found.append(f"--attn-dp-size {node.replicas}")
    if node.moe and node.chips > 1:
        found.append(f"--ep-size {node.chips}")
    found += [
        f"--max-running-requests {worker.most_running * node.replicas}",
        f"--chunked-prefill-size {worker.step_tokens * node.replicas}",
        f"--context-length {longest}",
        f"--mem-fraction-static {node.memory_share:g}",
        f"--page-size {BLOCK_TOKENS}",
    ]
    if moves:
        mode = "prefill" if pool.name == "prefill" else "decode"
        found.append(f"--disaggregation-mode {mode}")
    elif pool.name == "workers":
        found.append("--enable-mixed-chunk")
    if worker.drafting:
        length = worker.drafting.length
        found += [
            f"--speculative-algorithm {_SGLANG_METHODS.get(draft, 'STANDALONE')}",
            f"--speculative-num-steps {length}",
            "--speculative-eagle-topk 1",
            f"--speculative-num-draft-tokens {length + 1}",
        ]
        if draft not in _SGLANG_METHODS:
            found.append(f"--speculative-draft-model-path {draft}")
    return found
