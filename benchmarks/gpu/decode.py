"""What a decode step of one layer takes on a GPU: a gated delta net beside full attention, by context and batch.

    python benchmarks/gpu/decode.py [--quick] [--json FILE]

By hand, on one NVIDIA GPU with PyTorch and Triton (they come together); half a minute on an H100. No test runs it, for
the project's machines have no GPU. `decode.json` beside it is one such run, which the book may read: seconds of a step
(median, least and most of 15 samples), bytes that the step must move, and what a plain copy reached on that device.

Both layers are those of Qwen3.5-397B-A17B: 4,096 wide, BF16 weights; 16 key and 64 value heads of 128 with a state in
FP32, or 32 query heads of 256 over 2 keys and values in BF16 with an output gate. A step is a layer's own work: all
its matrices, the short convolution or the rotation, state or cache, norms and gates. Each layer is four or five
launches, captured in one CUDA graph, so that no launch waits for Python. A layer's matrices (236 and 210 MB) exceed the
L2 cache, so each step reads them from HBM, and pushes out what the step before has left there of state or cache.
Before anything is timed, both are compared with plain torch in FP32.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
import triton
import triton.language as tl
from torch import Tensor

K = 1024
HIDDEN, KEY_HEADS, VALUE_HEADS, WIDTH, TAPS = 4096, 16, 64, 128, 4
HEADS, KV_HEADS, HEAD, ROTARY, THETA = 32, 2, 256, 64, 1e7
GROUP = HEADS // KV_HEADS
CHANNELS = (2 * KEY_HEADS + VALUE_HEADS) * WIDTH
SPLIT = 32  # keys that a program reads at once
EPS = 1e-6
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")  # a CPU only with TRITON_INTERPRET=1
HBM_PEAK = {"NVIDIA H100 80GB HBM3": 3.35e12, "NVIDIA H200": 4.8e12}  # bytes/s; NVIDIA's data sheets


def noise(*shape: int, scale: float = 1.0, dtype: torch.dtype = torch.bfloat16) -> Tensor:
    return (torch.randn(*shape, device=DEVICE, dtype=torch.float32) * scale).to(dtype)


# --- gated delta net -------------------------------------------------------------------------------------------


@triton.jit
def convolve(mixed, row, tail, taps, out, CHANNELS: tl.constexpr, TAPS: tl.constexpr, BLOCK: tl.constexpr):
    """Weighted sum of each channel's last tokens, through SiLU; the tail moves on by one token."""
    sequence, c = tl.program_id(0), tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    new = tl.load(mixed + sequence * row + c).to(tl.float32)
    total = new * tl.load(taps + c * TAPS + TAPS - 1).to(tl.float32)
    base = tail + sequence * (TAPS - 1) * CHANNELS + c
    for t in tl.static_range(TAPS - 1):
        old = tl.load(base + t * CHANNELS).to(tl.float32)
        total += old * tl.load(taps + c * TAPS + t).to(tl.float32)
        if t > 0:
            tl.store(base + (t - 1) * CHANNELS, old.to(tail.dtype.element_ty))
    tl.store(base + (TAPS - 2) * CHANNELS, new.to(tail.dtype.element_ty))
    tl.store(out + sequence * CHANNELS + c, total * tl.sigmoid(total))


@triton.jit
def step_state(
    mixed, projected, row, state, rate, bias, scale, out,
    CHANNELS: tl.constexpr, KEY_HEADS: tl.constexpr, HEADS: tl.constexpr, WIDTH: tl.constexpr, EPS: tl.constexpr,
):  # fmt: skip
    """One token of one value head: read its state once, write it once; norm and output gate of what it answers."""
    sequence, head = tl.program_id(0), tl.program_id(1)
    i = tl.arange(0, WIDTH)
    key_head = head // (HEADS // KEY_HEADS)
    base = mixed + sequence * CHANNELS
    q = tl.load(base + key_head * WIDTH + i)
    k = tl.load(base + (KEY_HEADS + key_head) * WIDTH + i)
    v = tl.load(base + (2 * KEY_HEADS + head) * WIDTH + i)
    q = q / tl.sqrt(tl.sum(q * q) + EPS) / tl.sqrt(WIDTH * 1.0)
    k = k / tl.sqrt(tl.sum(k * k) + EPS)
    line = projected + sequence * row + CHANNELS
    gate = tl.load(line + head * WIDTH + i).to(tl.float32)
    beta = tl.sigmoid(tl.load(line + HEADS * WIDTH + head).to(tl.float32))
    speed = tl.load(line + HEADS * WIDTH + HEADS + head).to(tl.float32) + tl.load(bias + head)
    speed = tl.where(speed > 20, speed, tl.log(1 + tl.exp(speed)))
    fade = tl.exp(-tl.exp(tl.load(rate + head)) * speed)
    at = state + (sequence * HEADS + head) * WIDTH * WIDTH + i[:, None] * WIDTH + i[None, :]
    faded = tl.load(at) * fade  # (key width, value width)
    written = beta * (v - tl.sum(faded * k[:, None], 0))
    new = faded + k[:, None] * written[None, :]
    tl.store(at, new)
    answer = tl.sum(new * q[:, None], 0)
    normed = answer / tl.sqrt(tl.sum(answer * answer) / WIDTH + EPS) * tl.load(scale + i).to(tl.float32)
    gated = normed * gate * tl.sigmoid(gate)
    tl.store(out + (sequence * HEADS + head) * WIDTH + i, gated.to(out.dtype.element_ty))


class Delta:
    """One layer's weights and states, and its decode step in four launches."""

    name = "gated-delta"

    def __init__(self, batch: int) -> None:
        rows = CHANNELS + VALUE_HEADS * WIDTH + 2 * VALUE_HEADS
        self.into = noise(rows, HIDDEN, scale=HIDDEN**-0.5)
        self.back = noise(HIDDEN, VALUE_HEADS * WIDTH, scale=(VALUE_HEADS * WIDTH) ** -0.5)
        self.taps = noise(CHANNELS, TAPS, scale=TAPS**-0.5)
        self.rate = noise(VALUE_HEADS, dtype=torch.float32)
        self.bias = noise(VALUE_HEADS, dtype=torch.float32)
        self.scale = 1 + noise(WIDTH, scale=0.1)
        self.x = noise(batch, HIDDEN)
        self.state = noise(batch, VALUE_HEADS, WIDTH, WIDTH, scale=0.1, dtype=torch.float32)
        self.tail = noise(batch, TAPS - 1, CHANNELS)
        self.mixed = torch.empty(batch, CHANNELS, device=DEVICE)
        self.out = torch.empty(batch, VALUE_HEADS * WIDTH, device=DEVICE, dtype=torch.bfloat16)

    def step(self) -> Tensor:
        return F.linear(self.core(F.linear(self.x, self.into)), self.back)

    def core(self, projected: Tensor) -> Tensor:
        batch, row = projected.shape
        block = 512
        convolve[(batch, CHANNELS // block)](
            projected, row, self.tail, self.taps, self.mixed, CHANNELS=CHANNELS, TAPS=TAPS, BLOCK=block
        )
        step_state[(batch, VALUE_HEADS)](
            self.mixed, projected, row, self.state, self.rate, self.bias, self.scale, self.out,
            CHANNELS=CHANNELS, KEY_HEADS=KEY_HEADS, HEADS=VALUE_HEADS, WIDTH=WIDTH, EPS=EPS, num_warps=8,
        )  # fmt: skip
        return self.out

    def bytes(self) -> dict[str, int]:
        """Bytes that a step must move."""
        weights = sum(w.nbytes for w in (self.into, self.back, self.taps))
        return {"weights": weights, "kept": 2 * (self.state.nbytes + self.tail.nbytes)}

    def reference(self) -> tuple[Tensor, Tensor]:
        """The step's output and state in FP32 with plain torch, from what is held now."""
        projected = F.linear(self.x.float(), self.into.float()).bfloat16().float()
        mixed, gate, beta, speed = projected.split([CHANNELS, VALUE_HEADS * WIDTH, VALUE_HEADS, VALUE_HEADS], -1)
        whole = torch.cat([self.tail.float(), mixed[:, None]], 1)
        mixed = F.silu((whole * self.taps.float().T).sum(1))
        q, k, v = mixed.split([KEY_HEADS * WIDTH, KEY_HEADS * WIDTH, VALUE_HEADS * WIDTH], -1)
        q, k, v = (x.unflatten(-1, (-1, WIDTH)) for x in (q, k, v))
        q, k = (x * (x.square().sum(-1, keepdim=True) + EPS).rsqrt() for x in (q, k))
        q, k = (x.repeat_interleave(VALUE_HEADS // KEY_HEADS, 1) for x in (q * WIDTH**-0.5, k))
        fade = (-self.rate.exp() * F.softplus(speed + self.bias)).exp()
        state = self.state * fade[..., None, None]
        missing = beta.sigmoid()[..., None] * (v - torch.einsum("bhk,bhkv->bhv", k, state))
        state = state + k[..., None] * missing[..., None, :]
        out = torch.einsum("bhk,bhkv->bhv", q, state)
        out = F.rms_norm(out, (WIDTH,), self.scale.float(), EPS) * F.silu(gate.unflatten(-1, (-1, WIDTH)))
        return F.linear(out.flatten(1), self.back.float()), state


# --- full attention --------------------------------------------------------------------------------------------


@triton.jit
def place(
    projected, row, position, angles, scales, queries, cache, slots,
    HEADS: tl.constexpr, KV: tl.constexpr, HEAD: tl.constexpr, ROTARY: tl.constexpr, EPS: tl.constexpr,
):  # fmt: skip
    """Norm and turn one head's query or key; keys and values of the new token go into the cache."""
    sequence, head = tl.program_id(0), tl.program_id(1)
    i = tl.arange(0, HEAD)
    # projected: HEADS queries with their gates side by side, KV keys, KV values
    start = tl.where(head < HEADS, head * 2 * HEAD, HEADS * 2 * HEAD + (head - HEADS) * HEAD)
    at = projected + sequence * row + start
    x = tl.load(at + i).to(tl.float32)
    if head < HEADS + KV:
        weights = scales + tl.where(head < HEADS, 0, HEAD)
        r = 1 / tl.sqrt(tl.sum(x * x) / HEAD + EPS)
        x = x * r * tl.load(weights + i).to(tl.float32)
        half: tl.constexpr = ROTARY // 2
        other = tl.where(i < half, i + half, tl.where(i < ROTARY, i - half, i))
        y = tl.load(at + other).to(tl.float32) * r * tl.load(weights + other).to(tl.float32)
        angle = tl.load(angles + i % half) * position
        turned = x * tl.cos(angle) + tl.where(i < half, -y, y) * tl.sin(angle)
        x = tl.where(i < ROTARY, turned, x)
    if head < HEADS:
        tl.store(queries + (sequence * HEADS + head) * HEAD + i, x.to(queries.dtype.element_ty))
    else:
        kv, part = (head - HEADS) % KV, (head - HEADS) // KV
        entry = ((sequence * KV + kv).to(tl.int64) * slots + position) * 2 * HEAD
        tl.store(cache + entry + part * HEAD + i, x.to(cache.dtype.element_ty))


@triton.jit
def attend_part(
    queries, cache, slots, tokens, per, partial, most, total, scale,
    GROUP: tl.constexpr, HEAD: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """One key head's queries over one stretch of the cache: weighted sum, largest logit and sum of weights."""
    pair, part = tl.program_id(0), tl.program_id(1)  # sequence and key head, stretch
    parts = tl.num_programs(1)
    g, i, n = tl.arange(0, GROUP), tl.arange(0, HEAD), tl.arange(0, BLOCK)
    q = tl.load(queries + (pair * GROUP + g[:, None]) * HEAD + i[None, :])
    entries = cache + pair.to(tl.int64) * slots * 2 * HEAD
    high = tl.full((GROUP,), -1e30, tl.float32)
    weight = tl.zeros((GROUP,), tl.float32)
    gathered = tl.zeros((GROUP, HEAD), tl.float32)
    stop = tl.minimum((part + 1) * per, tokens)
    for first in range(part * per, stop, BLOCK):
        at = (first + n).to(tl.int64)
        inside = at < stop
        k = tl.load(entries + at[:, None] * 2 * HEAD + i[None, :], mask=inside[:, None], other=0.0)
        logits = tl.where(inside[None, :], tl.dot(q, tl.trans(k)) * scale, -1e30)
        new = tl.maximum(high, tl.max(logits, 1))
        shrink, shares = tl.exp(high - new), tl.exp(logits - new[:, None])
        v = tl.load(entries + at[:, None] * 2 * HEAD + HEAD + i[None, :], mask=inside[:, None], other=0.0)
        gathered = gathered * shrink[:, None] + tl.dot(shares.to(v.dtype), v)
        weight, high = weight * shrink + tl.sum(shares, 1), new
    place = (pair * parts + part) * GROUP + g
    tl.store(partial + place[:, None] * HEAD + i[None, :], gathered)
    tl.store(most + place, high)
    tl.store(total + place, weight)


@triton.jit
def join(
    partial, most, total, projected, row, out, parts,
    HEADS: tl.constexpr, GROUP: tl.constexpr, HEAD: tl.constexpr, PARTS: tl.constexpr,
):  # fmt: skip
    """Join the stretches of one query head, and let its gate through."""
    sequence, head = tl.program_id(0), tl.program_id(1)
    p, i = tl.arange(0, PARTS), tl.arange(0, HEAD)
    pair = sequence * (HEADS // GROUP) + head // GROUP
    place = (pair * parts + p) * GROUP + head % GROUP
    high = tl.load(most + place, mask=p < parts, other=-1e30)
    share = tl.exp(high - tl.max(high, 0))
    weight = tl.sum(share * tl.load(total + place, mask=p < parts, other=0.0), 0)
    sums = tl.load(partial + place[:, None] * HEAD + i[None, :], mask=p[:, None] < parts, other=0.0)
    mean = tl.sum(sums * share[:, None], 0) / weight
    gate = tl.load(projected + sequence * row + head * 2 * HEAD + HEAD + i).to(tl.float32)
    tl.store(out + (sequence * HEADS + head) * HEAD + i, (mean * tl.sigmoid(gate)).to(out.dtype.element_ty))


class Full:
    """One layer's weights and cache, and its decode step in five launches; the step reads `context` entries."""

    name = "full"

    def __init__(self, batch: int, context: int, pool: Tensor | None = None) -> None:
        self.into = noise((2 * HEADS + 2 * KV_HEADS) * HEAD, HIDDEN, scale=HIDDEN**-0.5)
        self.back = noise(HIDDEN, HEADS * HEAD, scale=(HEADS * HEAD) ** -0.5)
        self.scales = 1 + noise(2, HEAD, scale=0.1)
        self.angles = THETA ** -(torch.arange(0, ROTARY, 2, device=DEVICE, dtype=torch.float32) / ROTARY)
        self.x = noise(batch, HIDDEN)
        self.queries = torch.empty(batch, HEADS, HEAD, device=DEVICE, dtype=torch.bfloat16)
        self.out = torch.empty(batch, HEADS * HEAD, device=DEVICE, dtype=torch.bfloat16)
        size = batch * KV_HEADS * context * 2 * HEAD
        pool = pool if pool is not None else noise(size)
        self.use(pool[:size].view(batch, KV_HEADS, context, 2 * HEAD))

    def use(self, cache: Tensor) -> None:
        """Read this cache, (batch, KV heads, context, key and value), from now on."""
        self.cache, (batch, _, self.context, _) = cache, cache.shape
        # enough programs to fill the chip several times over, each with a stretch of whole blocks
        parts = min(128, max(1, 1024 // (batch * KV_HEADS)), -(-self.context // SPLIT))
        self.per = -(-self.context // (parts * SPLIT)) * SPLIT
        self.parts = -(-self.context // self.per)
        shape = (batch * KV_HEADS, self.parts, GROUP)
        self.partial = torch.empty(*shape, HEAD, device=DEVICE)
        self.most, self.total = torch.empty(2, *shape, device=DEVICE).unbind()

    def step(self) -> Tensor:
        return F.linear(self.core(F.linear(self.x, self.into)), self.back)

    def core(self, projected: Tensor) -> Tensor:
        batch, row = projected.shape
        place[(batch, HEADS + 2 * KV_HEADS)](
            projected, row, self.context - 1, self.angles, self.scales, self.queries, self.cache, self.context,
            HEADS=HEADS, KV=KV_HEADS, HEAD=HEAD, ROTARY=ROTARY, EPS=EPS,
        )  # fmt: skip
        attend_part[(batch * KV_HEADS, self.parts)](
            self.queries, self.cache, self.context, self.context, self.per, self.partial, self.most, self.total,
            HEAD**-0.5, GROUP=GROUP, HEAD=HEAD, BLOCK=SPLIT, num_warps=4, num_stages=3,
        )  # fmt: skip
        join[(batch, HEADS)](
            self.partial, self.most, self.total, projected, row, self.out, self.parts,
            HEADS=HEADS, GROUP=GROUP, HEAD=HEAD, PARTS=triton.next_power_of_2(self.parts), num_warps=8,
        )  # fmt: skip
        return self.out

    def bytes(self) -> dict[str, int]:
        """Bytes that a step must move."""
        return {"weights": self.into.nbytes + self.back.nbytes, "kept": self.cache.nbytes}

    def reference(self) -> tuple[Tensor, Tensor]:
        """The step's output in FP32 with plain torch, and the new token's entry."""
        projected = F.linear(self.x.float(), self.into.float()).bfloat16().float()
        both, k, v = projected.split([2 * HEADS * HEAD, KV_HEADS * HEAD, KV_HEADS * HEAD], -1)
        q, gate = both.unflatten(-1, (HEADS, 2 * HEAD)).split(HEAD, -1)
        q, k = (self._turned(x, s) for x, s in zip((q, k.unflatten(-1, (-1, HEAD))), self.scales.float(), strict=True))
        entry = torch.cat([k, v.unflatten(-1, (-1, HEAD))], -1)
        cache = torch.cat([self.cache[:, :, :-1].float(), entry.bfloat16().float()[:, :, None]], 2)
        keys, values = (x.repeat_interleave(GROUP, 1) for x in cache.split(HEAD, -1))
        out = F.scaled_dot_product_attention(q.bfloat16().float()[:, :, None], keys, values)[:, :, 0]
        return F.linear((out * gate.sigmoid()).flatten(1), self.back.float()), entry

    def _turned(self, x: Tensor, scale: Tensor) -> Tensor:
        x = F.rms_norm(x, (HEAD,), scale, EPS)
        angle = self.angles * (self.context - 1)
        a, b, rest = x.split([ROTARY // 2, ROTARY // 2, HEAD - ROTARY], -1)
        cos, sin = angle.cos(), angle.sin()
        return torch.cat([a * cos - b * sin, a * sin + b * cos, rest], -1)


# --- measuring -------------------------------------------------------------------------------------------------


def error(ours: Tensor, theirs: Tensor) -> float:
    return float((ours.float() - theirs).norm() / theirs.norm())


def check(batch: int, context: int) -> dict[str, float]:
    """Return relative errors against plain torch, or stop at one that rounding to BF16 does not explain."""
    delta, full = Delta(batch), Full(batch, context)
    (out, state), (attended, entry) = delta.reference(), full.reference()
    found = {
        "delta output": error(delta.step(), out),
        "delta state": error(delta.state, state),
        "full output": error(full.step(), attended),
        "full entry": error(full.cache[:, :, -1], entry),
    }
    for what, size in found.items():
        assert size < 2e-2, f"{what} at batch {batch}, context {context}: relative error {size:.2g}"
    return found


def captured(step: Callable[[], Tensor]) -> Callable[[], None]:
    """Return a replay of one step as a CUDA graph."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    replay: Callable[[], None] = graph.replay
    return replay


def seconds(replay: Callable[[], object], samples: int = 15, budget_s: float = 0.02) -> list[float]:
    """Return seconds of a step in each of several samples, each the mean of as many steps as fit a budget."""

    def sample(steps: int) -> float:
        start, stop = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        for _ in range(steps):
            replay()
        stop.record()
        torch.cuda.synchronize()
        return float(start.elapsed_time(stop)) / 1e3 / steps

    sample(3)
    steps = max(3, int(budget_s / sample(3)))
    return sorted(sample(steps) for _ in range(samples))


def row(layer: Delta | Full, batch: int, context: int, samples: int) -> dict[str, Any]:
    """Time one layer and say how fast it moved the bytes it must."""
    found, moved = seconds(captured(layer.step), samples), layer.bytes()
    median = statistics.median(found)
    return {
        "kind": layer.name,
        "batch": batch,
        "context": context,
        "step_s": median,
        "step_s_low": found[0],
        "step_s_high": found[-1],
        "weight_bytes": moved["weights"],
        "kept_bytes": moved["kept"],
        "bytes_per_s": (moved["weights"] + moved["kept"]) / median,
    }


def copy_rate() -> float:
    """Return bytes per second of a copy within the device's memory, bytes read and written both counted."""
    source = torch.empty(2**31, dtype=torch.uint8, device=DEVICE).random_()
    target = torch.empty_like(source)
    return 2 * source.nbytes / statistics.median(seconds(partial(target.copy_, source), 7, 0.05))


def measured(batches: tuple[int, ...], contexts: tuple[int, ...], samples: int) -> list[dict[str, Any]]:
    """Time both layers at every batch and context whose cache the device holds."""
    room = int(torch.cuda.mem_get_info()[0] * 0.8)
    entry = KV_HEADS * 2 * HEAD * 2
    sizes = [b * c * entry for b in batches for c in contexts if b * c * entry < room]
    pool = torch.empty(max(sizes) // 2, dtype=torch.bfloat16, device=DEVICE)
    block = noise(2**24)  # own values everywhere would take long to draw, and change no work
    for piece in pool.split(len(block)):
        piece.copy_(block[: len(piece)])
    rows = []
    for batch in batches:
        delta, full = Delta(batch), Full(batch, contexts[0], pool)
        for context in contexts:
            rows.append(row(delta, batch, context, samples))
            if batch * context * entry < room:
                full.use(pool[: batch * context * entry // 2].view(batch, KV_HEADS, context, 2 * HEAD))
                rows.append(row(full, batch, context, samples))
            for found in rows[-2:]:
                print({k: f"{v:.4g}" if isinstance(v, float) else v for k, v in found.items()}, flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small contexts, few samples")
    parser.add_argument("--json", type=Path, help="where to write the figures")
    options = parser.parse_args()
    if not torch.cuda.is_available():
        sys.exit("no GPU: torch.cuda.is_available() is false")
    torch.manual_seed(0)
    begun = time.perf_counter()
    with torch.inference_mode():
        errors = {f"batch {b}, context {c}": check(b, c) for b, c in ((1, 1000), (3, 4097))}
        print(errors, flush=True)
        contexts = (K, 16 * K) if options.quick else tuple(n * K for n in (1, 4, 16, 64, 128, 256, 512, 1024))
        copied = copy_rate()
        torch.cuda.empty_cache()
        rows = measured((1, 16) if options.quick else (1, 16, 64), contexts, 5 if options.quick else 15)
    name = torch.cuda.get_device_name()
    run = {
        "date": datetime.now(UTC).date().isoformat(),
        "device": name,
        "memory_bytes": torch.cuda.get_device_properties(0).total_memory,
        "hbm_bytes_per_s": HBM_PEAK.get(name),
        "copy_bytes_per_s": copied,
        "versions": {"torch": torch.__version__, "triton": triton.__version__, "Python": platform.python_version()},
        "errors": errors,
        "rows": rows,
    }
    if options.json:
        options.json.write_text(json.dumps(run, indent=1) + "\n")
    print(f"copy {copied:.4g} bytes/s, {time.perf_counter() - begun:.0f} s in all on {name}")


if __name__ == "__main__":
    main()
