"""Cost of one evaluated point (KV bytes, prefill and decode FLOPs at a context), beside llm-analysis.

    python benchmarks/arch.py [--quick] [--json FILE]

Both sides evaluate the contexts 1 to 1,000 in one process: costlab for every model of its catalog, as arrays; the peer
for Llama-2-7B, which both know, point by point, since it takes one number. It is timed twice: `inference`, the call
that it offers for a model at a context (which adds latencies), and the bare functions inside that count bytes and
FLOPs. Making the models is left out on both sides.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from peers import Row, beside, best, main, peer

from costlab import arch

CONTEXTS = np.arange(1, 1001)
ROUNDS = 9
GOAL = 100.0

Point = tuple[float, float, float]


def ours(models: Sequence[arch.Model]) -> list[tuple[NDArray[np.float64], ...]]:
    """KV bytes, prefill FLOPs and decode FLOPs of each model at every context."""
    return [
        (m.kv_bytes(CONTEXTS).total, m.prefill_flops(CONTEXTS).total, m.decode_flops(CONTEXTS).total) for m in models
    ]


def load_peer() -> Any:
    """Return llm-analysis's Llama-2-7B."""
    logging.disable(logging.WARNING)  # else it writes lines for each call
    config = peer("llm_analysis.config")
    gpu = config.get_gpu_config_by_name("a100-sxm-80gb")
    model = config.get_model_config_by_name("NousResearch_Llama-2-7b-hf")
    return peer("llm_analysis.analysis").LLMAnalysis(model, gpu, flops_efficiency=1.0)


def by_inference(theirs: Any, contexts: Sequence[int]) -> list[Point]:
    """The peer's public call, for a prompt and one token after it: the same three figures, and more."""
    points = []
    for n in contexts:
        found = theirs.inference(batch_size_per_gpu=1, seq_len=n, num_tokens_to_generate=1)
        kv, prefill = found["kv_cache_memory_per_gpu"], found["prefill_num_flops_fwd_total"]
        points.append((kv, prefill, found["decode_num_flops_fwd_total"]))
    return points


def by_functions(theirs: Any, contexts: Sequence[int]) -> list[Point]:
    """Only the peer's arithmetic."""
    layers = theirs.model_config.num_layers
    return [
        (
            theirs.get_memory_kv_cache_per_layer(1, n) * layers,
            theirs.get_num_flops_fwd_total(1, n),
            theirs.get_num_flops_fwd_total(1, 1),
        )
        for n in contexts
    ]


def check(theirs: Any) -> None:
    """Stop unless both sides count the same things but for known conventions."""
    contexts = CONTEXTS.tolist()
    kv, prefill, _ = np.array(by_functions(theirs, contexts)).T
    called = np.array(by_inference(theirs, contexts[:-1:100]))
    if not np.allclose(called[:, :2].T, [kv[1::100], prefill[:-1:100]], rtol=1e-12):  # its cache holds the new token
        sys.exit("the peer's public call and its functions disagree")
    model = arch.load("llama-2-7b")
    if not np.array_equal(kv, model.kv_bytes(CONTEXTS).total):
        sys.exit("the two disagree about the KV cache of Llama-2-7B")
    # It runs the head for every token, attention without causality, and a feed-forward of two matrices 4x as wide.
    count = model.prefill_flops(CONTEXTS)
    core, head = count.by_component["core"], count.by_component["head"]
    same = count.total + core * (CONTEXTS - 1) / (CONTEXTS + 1) + head * (CONTEXTS - 1)
    swiglu, two_matrices = 3 * 11008 * 4096, 2 * 4 * 4096 * 4096
    same += 2.0 * 32 * (two_matrices - swiglu) * CONTEXTS
    if not np.allclose(same, prefill, rtol=1e-12):
        sys.exit("the two disagree about the FLOPs of Llama-2-7B by more than their conventions")


def rows(options: argparse.Namespace) -> Iterator[Row]:
    """Time all sides in turn, per point."""
    theirs = load_peer()
    check(theirs)
    models, contexts = list(arch.models().values()), CONTEXTS.tolist()
    times = best(
        lambda: ours(models),
        lambda: by_inference(theirs, contexts[::10]),
        lambda: by_functions(theirs, contexts),
        rounds=1 if options.quick else ROUNDS,
    )
    points = len(models) * len(contexts), len(contexts) // 10, len(contexts)
    mine, call, functions = (seconds / count for seconds, count in zip(times, points, strict=True))
    what = "KV bytes and FLOPs of a model at a context"
    yield beside("call", what, "llm-analysis, its public call", (mine, call), "us", goal=(GOAL, None))
    yield beside("functions", what, "llm-analysis, its bare functions", (mine, functions), "us")


if __name__ == "__main__":
    main(rows, __doc__)
