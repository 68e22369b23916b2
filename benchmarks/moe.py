"""The MoE layer beside its peers: the per-token loop, transformers' experts, and the plain expert placement.

    python benchmarks/moe.py [--quick] [--threads N] [--json FILE]

With CUDA, in float32 and bfloat16 there too.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
from peers import Row, beside, best, from_tests, main, peer
from torch import Tensor

from costlab import arch, moe
from costlab.nn.moe import MoELayer

naive_forward = from_tests("moe/naive.py").naive_forward
qwen = peer("transformers.models.qwen3_moe.modeling_qwen3_moe")

HIDDEN, TOP_K = 512, 6
# The wider an expert, the better the loop's products feed the processor, so the smaller the ratio to it can be.
INNER = {128: "a quarter of hidden, near DeepSeek-V3's 2048 of 7168", 224: "as DeepSeek-V4-Pro's 3072 of 7168"}
# Experts, redundant copies, ranks.
PROBLEMS = ((256, 0, 64), (256, 64, 64), (256, 32, 32), (256, 32, 144), (384, 64, 64))


def transformers_block(layer: MoELayer, ffn: arch.MoE, implementation: str) -> Any:
    """Return transformers' Qwen3-MoE block (the same routing) with the layer's weights."""
    config = qwen.Qwen3MoeConfig(
        hidden_size=HIDDEN,
        moe_intermediate_size=ffn.inner,
        num_experts=ffn.experts,
        num_experts_per_tok=ffn.top_k,
        norm_topk_prob=True,
    )
    config._experts_implementation = implementation
    block = qwen.Qwen3MoeSparseMoeBlock(config).to(layer.gate.weight.device, layer.gate.weight.dtype)
    block.gate.weight.data = layer.gate.weight.data
    block.experts.gate_up_proj.data = layer.experts.gate_up.data
    block.experts.down_proj.data = layer.experts.down.data
    return block


def races(device: str, dtype: torch.dtype, inner: int, tokens: int, experts: int, rounds: int) -> Iterator[Row]:
    """Time a forward pass, and one with its backward pass, beside each peer."""
    torch.manual_seed(0)
    ffn = arch.MoE(experts=experts, top_k=TOP_K, inner=inner)
    layer = MoELayer(HIDDEN, ffn).to(device, dtype)
    x = torch.randn(tokens, HIDDEN, device=device, dtype=dtype)
    where = [] if device == "cpu" else [device, str(dtype).removeprefix("torch.")]

    def row(name: str, figure: str, peer: str, call: Callable[[], object], ours: Callable[[], object], few: int) -> Row:
        size = ", ".join([f"{figure}, {tokens:,} tokens, {experts} experts {inner} wide", *where])
        return beside("-".join([name, str(inner), *where]), size, peer, best(ours, call, rounds=few))

    forward = partial(layer, x)
    with torch.no_grad():
        loop = partial(naive_forward, layer, x)
        yield row("loop", "MoE forward", "a loop over tokens and experts", loop, forward, min(rounds, 2))
        yield row("dense", "MoE forward", "dense products of equal FLOPs", dense(layer, x, ffn), forward, rounds)
    for name in ("eager", "grouped_mm"):
        block = transformers_block(layer, ffn, name)
        check_equal(block, layer, x)
        whom = f"transformers, {name}"
        with torch.no_grad():
            yield row(f"forward-{name}", "MoE forward", whom, partial(block, x[None]), forward, rounds)
        theirs, ours = partial(backward, block, x[None]), partial(backward, layer, x)
        yield row(f"training-{name}", "MoE forward and backward", whom, theirs, ours, min(rounds, 3))


def dense(layer: MoELayer, x: Tensor, ffn: arch.MoE) -> Callable[[], object]:
    """Return a call of two dense products with the FLOPs of the routed experts: what no layer can beat."""
    rows = x.repeat(ffn.top_k, 1)
    first, second = layer.experts.gate_up[0].detach().T, layer.experts.down[0].detach().T
    inner = torch.randn(len(rows), ffn.inner, device=x.device, dtype=x.dtype)
    return lambda: (rows @ first, inner @ second)


@torch.no_grad()
def check_equal(block: Any, layer: MoELayer, x: Tensor) -> None:
    """Raise unless both compute the same: a race between different things says nothing."""
    error = (block(x[None])[0] - layer(x)).abs().max() / layer(x).abs().max()
    assert error < (1e-5 if x.dtype == torch.float32 else 0.05), f"outputs differ by {error:.1e}"


def backward(module: Any, x: Tensor) -> None:
    """Run a forward and a backward pass."""
    module(x).square().sum().backward()


def greedy(loads: np.ndarray, ranks: int, redundant: int) -> moe.Placement:
    """Return the published recipe without our swaps: heaviest copy first onto the lightest rank with room."""
    copies = moe.copies_by_load(loads, loads.size + redundant)
    owner = np.repeat(np.arange(loads.size), copies)
    each, room = (loads / copies)[owner], owner.size // ranks
    slots: list[list[int]] = [[] for _ in range(ranks)]
    carried = np.zeros(ranks)
    for item in np.argsort(-each, kind="stable"):
        rank = min((r for r in range(ranks) if len(slots[r]) < room), key=lambda r: carried[r])
        slots[rank].append(int(owner[item]))
        carried[rank] += each[item]
    return moe.Placement(np.array(slots))


def placements(seeds: int) -> Iterator[Row]:
    """Compare how evenly loads of Zipf(0.5) are spread over ranks, and how long that takes; means over seeds."""
    for experts, redundant, ranks in PROBLEMS:
        loads = [moe.zipf_shares(experts, 0.5, np.random.default_rng(seed)) for seed in range(seeds)]
        problem = f"{experts} experts + {redundant} on {ranks} ranks"
        name = f"{experts}-{redundant}-{ranks}"
        ours, theirs = (
            float(np.mean([place(each, ranks, redundant).balancedness(each) for each in loads]))
            for place in (moe.place, greedy)
        )
        whom = "greedy, without swaps"
        yield Row(f"balance-{name}", f"balancedness, {problem}", whom, "mean / max", ours, theirs, more=True)
        calls = [partial(place, loads[0], ranks, redundant) for place in (moe.place, greedy)]
        yield beside(f"place-{name}", f"placing {problem}", whom, best(*calls, rounds=3))


def rows(options: argparse.Namespace) -> Iterator[Row]:
    """Layers on each device that there is, then placements."""
    tokens, experts, rounds = (16, 8, 1) if options.quick else (4096, 64, 7)
    devices = [("cpu", torch.float32)]
    if torch.cuda.is_available():
        devices += [("cuda", torch.float32), ("cuda", torch.bfloat16)]
    for inner in INNER:
        for device, dtype in devices:
            yield from races(device, dtype, inner, tokens, experts, rounds)
    yield from placements(1 if options.quick else 10)


if __name__ == "__main__":
    main(rows, __doc__)
