"""The MoE layer beside its peers: the per-token loop, transformers' experts, and the plain expert placement.

    python benchmarks/moe.py

Every ratio is peer time over our time in the same run: above 1 we are faster. Times are the best of several.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
import transformers
from torch import Tensor
from transformers.models.qwen3_moe import Qwen3MoeConfig
from transformers.models.qwen3_moe import modeling_qwen3_moe as qwen

from costlab import arch, moe
from costlab.nn.moe import MoELayer, swiglu

TOKENS, HIDDEN = 4096, 512
# The wider an expert, the better the loop's products feed the processor, so the smaller the ratio to it can be.
INNER = {128: "a quarter of hidden, near DeepSeek-V3's 2048 of 7168", 224: "as DeepSeek-V4-Pro's 3072 of 7168"}


def race(peer: Callable[[], object], ours: Callable[[], object], device: str, rounds: int = 7) -> tuple[float, float]:
    """Return the shortest time of each, in seconds; they take turns, so that a busy machine slows both."""
    peer(), ours()
    times = [(_seconds(peer, device), _seconds(ours, device)) for _ in range(rounds)]
    return min(t for t, _ in times), min(t for _, t in times)


def _seconds(call: Callable[[], object], device: str) -> float:
    _wait(device)
    start = time.perf_counter()
    call()
    _wait(device)
    return time.perf_counter() - start


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def naive(layer: MoELayer, x: Tensor) -> Tensor:
    """Return the layer's output by a loop over tokens and their experts."""
    choice = layer.gate(x)
    output = torch.zeros_like(x)
    for token, (experts, weights) in enumerate(zip(choice.experts.tolist(), choice.weights, strict=True)):
        for expert, weight in zip(experts, weights, strict=True):
            inner = swiglu(layer.experts.gate_up[expert] @ x[token], layer.experts.clamp)
            output[token] += weight.to(x.dtype) * (layer.experts.down[expert] @ inner)
    return output


def transformers_block(layer: MoELayer, ffn: arch.MoE, implementation: str) -> Any:
    """Return transformers' Qwen3-MoE block (the same routing) with the layer's weights."""
    config = Qwen3MoeConfig(
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


def layers(device: str, dtype: torch.dtype, ffn: arch.MoE) -> Iterator[tuple[str, float, float]]:
    """Yield (peer, its seconds, our seconds) of one forward pass, and of one with its backward pass."""
    torch.manual_seed(0)
    layer = MoELayer(HIDDEN, ffn).to(device, dtype)
    x = torch.randn(TOKENS, HIDDEN, device=device, dtype=dtype)
    with torch.no_grad():
        yield "forward: loop over tokens", *race(lambda: naive(layer, x), lambda: layer(x), device, 3)
        yield "forward: dense products of equal FLOPs", *race(dense(layer, x, ffn), lambda: layer(x), device)
    for name in ("eager", "grouped_mm"):
        block = transformers_block(layer, ffn, name)
        check_equal(block, layer, x)
        with torch.no_grad():
            forward = race(partial(block, x[None]), partial(layer, x), device)
        both = race(partial(backward, block, x[None]), partial(backward, layer, x), device, 4)
        yield f"forward: transformers {name}", *forward
        yield f"forward+backward: transformers {name}", *both


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


def placements() -> Iterator[tuple[str, float, float, float, float]]:
    """Yield (problem, balancedness in order, greedy, ours, seconds), means over ten Zipf(0.5) loads."""
    for experts, redundant, ranks in ((256, 0, 64), (256, 64, 64), (256, 32, 32), (256, 32, 144), (384, 64, 64)):
        rows = []
        for seed in range(10):
            loads = moe.zipf_shares(experts, 0.5, np.random.default_rng(seed))
            start = time.perf_counter()
            ours = moe.place(loads, ranks, redundant)
            took = time.perf_counter() - start
            plain = moe.contiguous(experts, ranks).balancedness(loads) if experts % ranks == 0 else float("nan")
            rows.append((plain, greedy(loads, ranks, redundant).balancedness(loads), ours.balancedness(loads), took))
        plain, lpt, best, took = np.mean(rows, axis=0).tolist()
        yield f"{experts} experts + {redundant} on {ranks} ranks", plain, lpt, best, took


def main() -> None:
    """Print the tables."""
    devices = [("cpu", torch.float32)]
    if torch.cuda.is_available():
        devices += [("cuda", torch.float32), ("cuda", torch.bfloat16)]
    print(f"torch {torch.__version__} ({torch.get_num_threads()} threads), transformers {transformers.__version__}")
    for inner, words in INNER.items():
        ffn = arch.MoE(experts=64, top_k=6, inner=inner)
        print(f"\n{TOKENS} tokens, {ffn.experts} experts, top-{ffn.top_k}, hidden {HIDDEN}, inner {inner}: {words}")
        print(f"{'device':14} {'peer':42} {'peer ms':>9} {'ours ms':>9} {'ratio':>7}")
        for device, dtype in devices:
            for peer, theirs, ours in layers(device, dtype, ffn):
                where = f"{device} {str(dtype).removeprefix('torch.')}"
                print(f"{where:14} {peer:42} {theirs * 1e3:9.1f} {ours * 1e3:9.1f} {theirs / ours:7.2f}", flush=True)
    print(f"\n{'placement, balancedness':32} {'in order':>9} {'greedy':>9} {'ours':>9} {'ms':>7}")
    for problem, plain, lpt, best, took in placements():
        print(f"{problem:32} {plain:9.4f} {lpt:9.4f} {best:9.4f} {took * 1e3:7.2f}")


if __name__ == "__main__":
    main()
