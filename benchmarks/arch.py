"""Cost of one evaluated point (KV bytes, prefill and decode FLOPs at a context), beside llm-analysis.

    python benchmarks/arch.py

The peer is needed here alone, and its pins (transformers < 5) do not fit the course's. Its arithmetic needs none of
what it pins, so this is enough, in the course's environment or in another one:

    pip install --no-deps llm-analysis==0.2.2 fire==0.5.0 six==1.17.0 termcolor==2.5.0

Both sides evaluate the contexts 1 to 1,000 in one process: costlab for every model of its catalog, as arrays; the peer
for Llama-2-7B, which both know, point by point, since it takes one number. It is timed twice: `inference`, the call
that it offers for a model at a context (which adds latencies), and the bare functions inside that count bytes and
FLOPs. Making the models is left out on both sides. A ratio is the median over rounds that time all sides in turn.
"""

from __future__ import annotations

import logging
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from costlab import arch

CONTEXTS = np.arange(1, 1001)
ROUNDS = 9
GOAL = 100.0
INSTALL = "pip install --no-deps llm-analysis==0.2.2 fire==0.5.0 six==1.17.0 termcolor==2.5.0"

Point = tuple[float, float, float]


def ours(models: Sequence[arch.Model]) -> list[tuple[NDArray[np.float64], ...]]:
    """KV bytes, prefill FLOPs and decode FLOPs of each model at every context."""
    return [
        (m.kv_bytes(CONTEXTS).total, m.prefill_flops(CONTEXTS).total, m.decode_flops(CONTEXTS).total) for m in models
    ]


def load_peer() -> Any:
    """llm-analysis's Llama-2-7B."""
    logging.disable(logging.WARNING)  # else it writes lines for each call
    try:
        from llm_analysis.analysis import LLMAnalysis
        from llm_analysis.config import get_gpu_config_by_name, get_model_config_by_name
    except ImportError:
        print(f"skipped: llm-analysis is not installed, so there is no ratio to show. Install it with\n    {INSTALL}")
        sys.exit(0)
    config = get_model_config_by_name("NousResearch_Llama-2-7b-hf")
    return LLMAnalysis(config, get_gpu_config_by_name("a100-sxm-80gb"), flops_efficiency=1.0)


def by_inference(peer: Any, contexts: Sequence[int]) -> list[Point]:
    """The peer's public call, for a prompt and one token after it: the same three figures, and more."""
    points = []
    for n in contexts:
        found = peer.inference(batch_size_per_gpu=1, seq_len=n, num_tokens_to_generate=1)
        kv, prefill = found["kv_cache_memory_per_gpu"], found["prefill_num_flops_fwd_total"]
        points.append((kv, prefill, found["decode_num_flops_fwd_total"]))
    return points


def by_functions(peer: Any, contexts: Sequence[int]) -> list[Point]:
    """Only the peer's arithmetic."""
    layers = peer.model_config.num_layers
    return [
        (
            peer.get_memory_kv_cache_per_layer(1, n) * layers,
            peer.get_num_flops_fwd_total(1, n),
            peer.get_num_flops_fwd_total(1, 1),
        )
        for n in contexts
    ]


def check(peer: Any) -> str:
    """Check that both sides count the same things, and say where they differ and why."""
    contexts = CONTEXTS.tolist()
    kv, prefill, _ = np.array(by_functions(peer, contexts)).T
    called = np.array(by_inference(peer, contexts[:-1:100]))
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
    off = prefill[-1] / count.total[-1]
    return f"same KV bytes; prefill FLOPs differ by convention only ({off:.3f}x at 1,000 tokens)"


def seconds(run: Callable[[], object]) -> float:
    """Time one call."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def main() -> None:
    """Time all sides in turn and print the ratios."""
    peer = load_peer()
    models = list(arch.models().values())
    print(f"llm-analysis 0.2.2 and costlab on Llama-2-7B: {check(peer)}")
    contexts = CONTEXTS.tolist()
    ours(models)  # first use fills the models' parameter counts
    sides: dict[str, tuple[Callable[[], object], int]] = {
        "costlab": (lambda: ours(models), len(models) * len(contexts)),
        "inference": (lambda: by_inference(peer, contexts[::10]), len(contexts) // 10),
        "functions": (lambda: by_functions(peer, contexts), len(contexts)),
    }
    rounds = [{name: seconds(run) / points * 1e6 for name, (run, points) in sides.items()} for _ in range(ROUNDS)]
    us = {name: statistics.median(r[name] for r in rounds) for name in sides}
    print(f"costlab, {len(models)} models x {len(contexts):,} contexts: {us['costlab']:.3f} us per point")
    ratio = {}
    for name, what in (("inference", "its public call, inference()"), ("functions", "its bare counting functions")):
        ratios = [r[name] / r["costlab"] for r in rounds]
        ratio[name] = statistics.median(ratios)
        print(
            f"llm-analysis, {what}: {us[name]:.1f} us per point; costlab is {ratio[name]:,.0f}x faster "
            f"({min(ratios):,.0f} to {max(ratios):,.0f} over {ROUNDS} rounds)"
        )
    reached = ratio["inference"] >= GOAL
    print(f"goal of {GOAL:.0f}x per evaluated point, against the public call: {'reached' if reached else 'MISSED'}")
    sys.exit(0 if reached else 1)


if __name__ == "__main__":
    main()
