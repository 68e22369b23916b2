"""What a decoded token and a prompt cost by attention kind and context, beside full attention and transformers.

One layer each, same input width, in one run. On a CPU: float32, a quarter of V4-Flash's widths and an eighth of its
heads, while windows, blocks and top-k are as shipped; decode beside transformers has V4-Flash's own widths. With CUDA:
BF16 and own widths throughout. For decode, caches are filled with random entries (their values do not change the
work); prefill starts empty. Peak memory is sampled and excludes the weights.

    python benchmarks/attention.py [--quick] [--threads N] [--json FILE]
"""

from __future__ import annotations

import argparse
import ctypes
import json
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor

from costlab import arch
from costlab.nn import attention
from costlab.nn.attention import Cache, Layer

# the oracle's layers are built as in the tests
sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "attention"))
from oracles import randomise, v4_oracle  # type: ignore[import-not-found]

ON_GPU = torch.cuda.is_available()
DEVICE, DTYPE = (torch.device("cuda"), torch.bfloat16) if ON_GPU else (torch.device("cpu"), torch.float32)
STORED = "bf16" if ON_GPU else "fp32"
BATCHES = (1, 4)
OWN_HIDDEN = arch.load("deepseek-v4-flash").record.hidden
HIDDEN = OWN_HIDDEN if ON_GPU else OWN_HIDDEN // 4
K = 1024
# DeepSeek-V4-Pro's layers: 30 CSA and 31 HCA (arXiv 2606.19348 sec. 4.2.1)
PRO = [attention for attention, _ in arch.load("deepseek-v4-pro").layers]
CSA_SHARE = sum(isinstance(layer, arch.CSA) for layer in PRO) / len(PRO)


def plain(width: int) -> arch.Layout:
    return ((width, STORED),)


def own_widths() -> tuple[arch.Attention, arch.Attention, arch.Attention, arch.Attention]:
    """Return GQA of V4-Flash's width, DeepSeek-V3.2's DSA and V4-Flash's CSA and HCA."""
    flash = {type(layer): layer for layer, _ in arch.load("deepseek-v4-flash").layers}
    full = arch.FullAttention(32, 128, plain(256), 8, 128, 128)
    return full, arch.load("deepseek-v3.2").layers[0][0], flash[arch.CSA], flash[arch.HCA]


def scaled_widths() -> tuple[arch.Attention, arch.Attention, arch.Attention, arch.Attention]:
    """Return the same four at a quarter of the widths and an eighth of the heads."""
    v4: dict[str, Any] = {"heads": 8, "rope_dim": 16, "head_dim": 128, "q_rank": 256, "groups": 2, "group_dim": 256}
    v4 |= {"entry": plain(128), "window": 128}
    index: dict[str, Any] = {"index_heads": 16, "index_dim": 32, "index_key": plain(32)}
    full = arch.FullAttention(8, 128, plain(256), 2, 128, 128)
    dsa = arch.DSA(8, 16, plain(144), 128, 128, 256, 128, top_k=2048, **index)
    return full, dsa, arch.CSA(block=4, top_k=512, **v4, **index), arch.HCA(block=128, **v4)


def layers(own: bool = ON_GPU) -> dict[str, arch.Attention]:
    """Return the attention kinds with unscaled storage."""
    full, dsa, csa, hca = own_widths() if own else scaled_widths()
    assert isinstance(dsa, arch.DSA) and isinstance(csa, arch.CSA) and isinstance(hca, arch.HCA)
    dsa = replace(dsa, entry=plain(dsa.kv_rank + dsa.rope_dim), index_key=plain(dsa.index_dim))
    mla = arch.MLA(dsa.heads, dsa.rope_dim, dsa.entry, dsa.nope_dim, dsa.v_dim, dsa.q_rank, dsa.kv_rank)
    csa = replace(csa, entry=plain(csa.head_dim), index_key=plain(csa.index_dim))
    return {"full": full, "MLA": mla, "DSA": dsa, "CSA": csa, "HCA": replace(hca, entry=plain(hca.head_dim))}


def noise(*shape: int) -> Tensor:
    return torch.randn(*shape, device=DEVICE, dtype=DTYPE)


def built(dims: arch.Attention, hidden: int = HIDDEN) -> Layer[Any]:
    options = {"fused": True} if isinstance(dims, arch.FullAttention) else {}
    layer = randomise(attention.build(dims, hidden, **options))
    assert isinstance(layer, Layer)
    return layer.to(DEVICE, DTYPE)


def filled(layer: Layer[Any], tokens: int, room: int, batch: int = 1) -> Cache:
    """Return a cache as if `tokens` tokens had been read, with random entries."""
    cache = layer.new_cache(batch, tokens + room)
    for name, table in cache.tables.items():
        block = layer.dims.block if name in ("main", "index") and hasattr(layer.dims, "block") else 1
        count = tokens // block if name in ("main", "index") else min(table.slots, tokens)
        lead = table.stored[0].shape[:-2]
        table.append(noise(*lead, count, table.format.width))
        table.length = count if name in ("main", "index") else tokens
    cache.length = tokens
    return cache


def seconds(call: Callable[[], object], repeats: int, warm: int = 2) -> float:
    """Return the seconds of a call, the best of several: what else runs on the machine only ever adds."""
    times = []
    for turn in range(warm + repeats):
        start = time.perf_counter()
        call()
        if ON_GPU:
            torch.cuda.synchronize()
        if turn >= warm:
            times.append(time.perf_counter() - start)
    return min(times)


class Peak:
    """Peak memory above that at entry: of the device, or resident pages sampled every 2 ms."""

    def __enter__(self) -> Peak:
        if sys.platform == "linux":
            ctypes.CDLL(None).malloc_trim(0)  # free memory that the allocator keeps would hide what comes next
        self.before, self.bytes, self.done = self._now(), 0, threading.Event()
        if ON_GPU:
            torch.cuda.reset_peak_memory_stats()
        self.thread = threading.Thread(target=self._watch)
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.done.set()
        self.thread.join()
        if ON_GPU:
            self.bytes = torch.cuda.max_memory_allocated() - self.before

    def _watch(self) -> None:
        while not self.done.wait(0.002):
            self.bytes = max(self.bytes, self._now() - self.before)

    @staticmethod
    def _now() -> int:
        if ON_GPU:
            return torch.cuda.memory_allocated()
        pages = Path("/proc/self/statm")
        return int(pages.read_text().split()[1]) * 4096 if pages.exists() else 0


def decode_seconds(layer: Layer[Any], context: int, repeats: int, batch: int = 1) -> float:
    cache = filled(layer, context, repeats + 2, batch)
    token = noise(batch, 1, layer.hidden)
    return seconds(lambda: layer(token, cache), repeats)


def index_seconds(layer: Layer[Any], context: int, repeats: int) -> float:
    """Return the part of a CSA token that scores all entries and picks the best."""
    index, dims = layer.index, layer.dims
    keys = noise(1, context // dims.block, dims.index_dim)
    q = noise(1, 1, dims.index_heads, dims.index_dim)
    hidden = noise(1, 1, HIDDEN)
    k = min(dims.top_k, context // dims.block)
    return seconds(lambda: attention.top_k(index.scores(q, hidden, keys), k), repeats)


def prefill(layer: Layer[Any], context: int) -> tuple[float, int]:
    """Return seconds and peak bytes, cache included, of reading a prompt."""
    prompt = noise(1, context, HIDDEN)
    layer(prompt[:, :256])
    with Peak() as peak:
        took = seconds(lambda: layer(prompt, layer.new_cache(1, context)), 1, warm=0)
    return took, peak.bytes


def mix(rows: dict[str, dict[int, float]], context: int) -> float:
    """Return V4-Pro's average layer: 30 CSA to 31 HCA."""
    return CSA_SHARE * rows["CSA"][context] + (1 - CSA_SHARE) * rows["HCA"][context]


def by_kind(contexts: Sequence[int], limit_s: float, repeats: int) -> dict[str, dict[str, dict[int, float]]]:
    tables: dict[str, dict[str, dict[int, float]]] = {"decode_s": {}, "prefill_s": {}, "peak_bytes": {}}
    for name, dims in layers().items():
        print(f"measuring {name} …", file=sys.stderr)
        layer = built(dims)
        for table in tables.values():
            table[name] = {}
        tables["decode_s"][name] = {n: decode_seconds(layer, n, repeats) for n in contexts}
        if name == "CSA":
            tables["decode_s"]["CSA: index alone"] = {n: index_seconds(layer, n, repeats) for n in contexts}
        took, before = 0.0, contexts[0]
        for n in contexts:
            if took * (n / before) ** 2 > limit_s:
                break
            took, tables["peak_bytes"][name][n] = prefill(layer, n)
            tables["prefill_s"][name][n], before = took, n
    for table in tables.values():
        both = table["CSA"].keys() & table["HCA"].keys()
        table["V4 mix"] = {n: mix(table, n) for n in contexts if n in both}
    return tables


def prefill_beside_transformers(dims: arch.SharedWindow, prompt: int) -> dict[str, float]:
    """Return seconds and peak bytes of one layer, ours and transformers' deepseek_v4."""
    oracle, ours = v4_oracle(dims, HIDDEN).to(DEVICE, DTYPE), built(dims)
    text = noise(1, prompt, HIDDEN)
    row: dict[str, float] = {}
    row["prefill_ours_s"], row["prefill_ours_bytes"] = prefill(ours, prompt)
    oracle(text[:, :256])
    with Peak() as peak:
        row["prefill_theirs_s"] = seconds(lambda: oracle(text, oracle.new_cache()), 1, warm=0)
    return {**row, "prefill_theirs_bytes": peak.bytes}


def decode_beside_transformers(dims: arch.HCA, context: int, repeats: int) -> dict[str, float]:
    """Return seconds of one layer with V4-Flash's own widths, ours and transformers' deepseek_v4.

    One sequence spends most of its time on reading weights, which is the same for both; four share that.
    """
    oracle, ours = v4_oracle(dims, OWN_HIDDEN).to(DEVICE, DTYPE), built(dims, OWN_HIDDEN)
    row: dict[str, float] = {}
    for batch in BATCHES:
        cache, token = their_filled(oracle, dims, context, batch), noise(batch, 1, OWN_HIDDEN)
        row[f"decode_x{batch}_ours_s"] = decode_seconds(ours, context, repeats, batch)
        row[f"decode_x{batch}_theirs_s"] = seconds(lambda t=token, c=cache: oracle(t, c), repeats)  # type: ignore[misc]
    return row


def their_filled(oracle: Any, dims: arch.HCA, context: int, batch: int) -> Any:
    """Return transformers' cache as if `context` tokens, a multiple of the block, had been read."""
    cache = oracle.new_cache()
    oracle(noise(batch, 2 * dims.window, OWN_HIDDEN), cache)
    layer = cache.layers[0]
    for name, entries in layer.compressed_kv.items():
        layer.compressed_kv[name] = noise(batch, context // dims.block, entries.shape[-1])
        layer.entry_count[name] = context // dims.block
    layer.cumulative_length = context
    return cache


def against_transformers(prompt: int, context: int, repeats: int) -> dict[str, dict[str, float]]:
    """Return figures beside transformers for CSA, HCA and their mix."""
    rows: dict[str, dict[str, float]] = {}
    for name in ("CSA", "HCA"):
        print(f"measuring {name} beside transformers …", file=sys.stderr)
        small, own = layers()[name], layers(own=True)[name]
        assert isinstance(small, arch.HCA) and isinstance(own, arch.HCA)
        rows[name] = prefill_beside_transformers(small, prompt) | decode_beside_transformers(own, context, repeats)
    rows["V4 mix"] = {k: CSA_SHARE * rows["CSA"][k] + (1 - CSA_SHARE) * rows["HCA"][k] for k in rows["CSA"]}
    return rows


def shown(title: str, table: dict[str, dict[int, float]], scale: float, contexts: Sequence[int]) -> None:
    print(f"\n{title}\n{'context':20}" + "".join(f"{n // K:>9}K" for n in contexts))
    for name, row in table.items():
        cells = (f"{row[n] * scale:10.2f}" if n in row else f"{'–':>10}" for n in contexts)
        print(f"{name:20}" + "".join(cells))


def report(tables: dict[str, Any], peers: dict[str, dict[str, float]], args: dict[str, Any]) -> dict[str, float]:
    contexts = args["contexts"]
    shown("Decode: milliseconds per token and layer", tables["decode_s"], 1e3, contexts)
    shown("Prefill: seconds per layer (–: over the time limit)", tables["prefill_s"], 1, contexts)
    shown("Prefill: peak MB, cache included", tables["peak_bytes"], 1e-6, contexts)
    decode, far = tables["decode_s"], contexts[-1]
    ratios = {f"decode at {n // K}K: full / V4 mix": decode["full"][n] / decode["V4 mix"][n] for n in contexts}
    near = contexts[-2]
    for name in ("full", "MLA", "DSA", "CSA", "HCA"):
        slope = (decode[name][far] - decode[name][near]) / (far - near)
        ratios[f"decode, growth from {near // K}K to {far // K}K, {name}: ns per token of context"] = slope * 1e9
    core = {n: decode["CSA"][n] - decode["CSA: index alone"][n] for n in (near, far)}
    ratios[f"CSA without index: {far // K}K / {near // K}K"] = core[far] / core[near]
    for name, row in peers.items():
        for key in (k for k in row if k.endswith("_theirs_s")):
            phase = key.removesuffix("_theirs_s")
            n = args["prompt"] if phase == "prefill" else args["context"]
            what = phase.replace("_x", ", sequences: ")
            ratios[f"{what} at {n // K}K, {name}: transformers / ours"] = row[key] / row[f"{phase}_ours_s"]
        memory = row["prefill_theirs_bytes"] / max(row["prefill_ours_bytes"], 1)
        ratios[f"prefill at {args['prompt'] // K}K, {name}: transformers' peak memory / ours"] = memory
    print(f"\nBeside transformers {transformers.__version__}: milliseconds")
    for name, row in peers.items():
        print(f"{name:10}" + "".join(f"{k}: {v * 1e3:.1f}  " for k, v in row.items() if k.endswith("_s")))
    print("\nRatios")
    for name, value in ratios.items():
        print(f"{value:10.2f}  {name}")
    return ratios


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="short contexts, in under a minute")
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    parser.add_argument("--limit", type=float, default=30.0, help="seconds that one prefill may be expected to take")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads; one is steady on a shared machine")
    options = parser.parse_args(argv)
    torch.set_num_threads(options.threads)
    contexts = [K, 4 * K, 8 * K, 32 * K, 128 * K] if not ON_GPU else [8 * K, 32 * K, 128 * K, 512 * K, 1024 * K]
    if options.quick:
        contexts = contexts[:3]
    prompt, context = (2 * K, 4 * K) if options.quick else (8 * K, 16 * K)
    repeats, limit = (10, min(options.limit, 3.0)) if options.quick else (20, options.limit)
    print(f"{DEVICE} {torch.get_num_threads()} threads, {DTYPE}, hidden {HIDDEN}, torch {torch.__version__}")
    for name, dims in layers().items():
        print(f"  {name}: {dims}")
    with torch.inference_mode():
        torch.manual_seed(0)
        tables = by_kind(contexts, limit, repeats)
        peers = against_transformers(prompt, context, 5)
    ratios = report(tables, peers, {"contexts": contexts, "prompt": prompt, "context": context})
    if options.json:
        figures = {"device": str(DEVICE), "dtype": str(DTYPE), "hidden": HIDDEN, "tables": tables}
        options.json.write_text(json.dumps({**figures, "transformers": peers, "ratios": ratios}, indent=1))


if __name__ == "__main__":
    main()
