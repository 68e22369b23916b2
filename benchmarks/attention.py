"""What a decoded token and a prompt cost by attention kind and context, beside full attention and transformers.

    python benchmarks/attention.py [--quick] [--threads N] [--json FILE]

One layer each, same input width. On a CPU: float32, a quarter of V4-Flash's widths and an eighth of its heads, while
windows, blocks and top-k are as shipped; decode beside transformers has V4-Flash's own widths. With CUDA: BF16 and own
widths throughout. For decode, caches are filled with random entries (their values do not change the work); prefill
starts empty. Peak memory is sampled and excludes the weights.
"""

from __future__ import annotations

import argparse
import ctypes
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from peers import Row, beside, best, from_tests, main, peer, timed
from torch import Tensor

from costlab import arch
from costlab.nn import attention
from costlab.nn.attention import AttentionLayer, Cache

peer("transformers")
oracles = from_tests("attention/oracles.py")  # the peer's layers are built as in the tests

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


def built(dims: arch.Attention, hidden: int = HIDDEN) -> AttentionLayer[Any]:
    options = {"fused": True} if isinstance(dims, arch.FullAttention) else {}
    layer = oracles.randomise(attention.build_layer(dims, hidden, **options))
    assert isinstance(layer, AttentionLayer)
    return layer.to(DEVICE, DTYPE)


def filled(layer: AttentionLayer[Any], tokens: int, room: int, batch: int = 1) -> Cache:
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


def decoding(layer: AttentionLayer[Any], context: int, rounds: int, batch: int = 1) -> Callable[[], Tensor]:
    """Return a call that reads one more token; the cache has room for `rounds` of them."""
    cache, token = filled(layer, context, rounds, batch), noise(batch, 1, layer.hidden)
    return lambda: layer(token, cache)


def scanning(layer: AttentionLayer[Any], context: int) -> Callable[[], Tensor]:
    """Return a call of the part of a CSA token that scores all entries and picks the best."""
    index, dims = layer.index, layer.dims
    keys = noise(1, context // dims.block, dims.index_dim)
    q = noise(1, 1, dims.index_heads, dims.index_dim)
    hidden = noise(1, 1, HIDDEN)
    k = min(dims.top_k, context // dims.block)
    return lambda: attention.unordered_top_k(index.scores(q, hidden, keys), k)


def prefill(
    call: Callable[[Tensor, Any], Tensor], new_cache: Callable[[], Any], context: int, hidden: int = HIDDEN
) -> tuple[float, float]:
    """Return seconds and peak bytes, cache included, of reading a prompt once."""
    prompt = noise(1, context, hidden)
    call(prompt[:, :256], new_cache())
    with Peak() as peak:
        took, _ = timed(lambda: call(prompt, new_cache()))
    return took, max(peak.bytes, 1)


def mix(values: Mapping[str, float]) -> float:
    """Return V4-Pro's average layer: 30 CSA to 31 HCA."""
    return CSA_SHARE * values["CSA"] + (1 - CSA_SHARE) * values["HCA"]


def label(tokens: int) -> str:
    """Return a context as it is written: 128K."""
    return f"{tokens // K}K" if tokens >= K else str(tokens)


def by_context(contexts: tuple[int, ...], rounds: int) -> Iterator[Row]:
    """Time a decoded token of each kind beside full attention's."""
    kinds = {name: built(dims) for name, dims in layers().items()}
    core: dict[int, float] = {}
    for n in contexts:
        calls = [decoding(layer, n, rounds + 2) for layer in kinds.values()]
        *each, scan = best(*calls, scanning(kinds["CSA"], n), rounds=rounds, warm=2)
        took = dict(zip(kinds, each, strict=True))
        core[n] = took["CSA"] - scan
        for name, seconds in {**took, "V4-mix": mix(took)}.items():
            if name != "full":
                what, at = f"decode at {label(n)}, {name}", {"kind": name, "context": n}
                yield beside(f"decode-{name}-{label(n)}", what, "full attention", (seconds, took["full"]), at=at)
    near, far = contexts[-2:]
    what = f"decode at {label(far)}, CSA without its index scan"
    yield beside("decode-core", what, f"the same at {label(near)}", (core[far], core[near]))


def prompts(context: int) -> Iterator[Row]:
    """Time reading a prompt with V4's mix beside full attention, and measure the peak memory of both."""
    kinds = {name: built(dims) for name, dims in layers().items() if name in ("full", "CSA", "HCA")}
    found = {name: prefill(layer, partial(layer.new_cache, 1, context), context) for name, layer in kinds.items()}
    seconds, peak = ({name: values[i] for name, values in found.items()} for i in (0, 1))
    what = f"prefill of {label(context)}, V4-mix"
    yield beside("prefill", what, "full attention", (mix(seconds), seconds["full"]), "s")
    yield memory("prefill-memory", what, "full attention", mix(peak), peak["full"])


def memory(name: str, what: str, peer: str, ours: float, theirs: float) -> Row:
    """Return a row of peak memory."""
    return Row(name, f"{what}, peak memory", peer, "MB", ours / 1e6, theirs / 1e6)


def beside_transformers(name: str, prompt: int, context: int, rounds: int, width: int) -> Iterator[Row]:
    """Time one kind beside transformers' deepseek_v4: a prompt, then a token with an input of the width.

    One sequence spends most of its time on reading weights, which is the same for both; four share that.
    """
    small, wide = layers()[name], layers(own=width == OWN_HIDDEN)[name]
    theirs, ours = oracles.v4_oracle(small, HIDDEN).to(DEVICE, DTYPE), built(small)
    (s, b), (their_s, their_b) = (
        prefill(ours, partial(ours.new_cache, 1, prompt), prompt),
        prefill(theirs, theirs.new_cache, prompt),
    )
    what = f"prefill of {label(prompt)}, {name}"
    yield beside(f"transformers-prefill-{name}", what, "transformers", (s, their_s), "s")
    yield memory(f"transformers-memory-{name}", what, "transformers", b, their_b)
    theirs, ours = oracles.v4_oracle(wide, width).to(DEVICE, DTYPE), built(wide, width)
    for batch in BATCHES:
        cache, token = their_filled(theirs, wide, context, batch), noise(batch, 1, width)
        calls = decoding(ours, context, rounds + 2, batch), partial(theirs, token, cache)
        what = f"decode at {label(context)}, {name}, {width:,} wide, sequences: {batch}"
        yield beside(f"transformers-decode-{name}-{batch}", what, "transformers", best(*calls, rounds=rounds, warm=2))


def their_filled(oracle: Any, dims: arch.HCA, context: int, batch: int) -> Any:
    """Return transformers' cache as if `context` tokens, a multiple of the block, had been read."""
    cache = oracle.new_cache()
    oracle(noise(batch, 2 * dims.window, oracle.config.hidden_size), cache)
    layer = cache.layers[0]
    for name, entries in layer.compressed_kv.items():
        layer.compressed_kv[name] = noise(batch, context // dims.block, entries.shape[-1])
        layer.entry_count[name] = context // dims.block
    layer.cumulative_length = context
    return cache


def rows(options: argparse.Namespace) -> Iterator[Row]:
    """All kinds by context, then CSA and HCA beside transformers."""
    torch.manual_seed(0)
    far = (8, 32, 128, 1024) if ON_GPU else (1, 8, 32, 128)
    contexts = (256, 512) if options.quick else tuple(n * K for n in far)
    prompt, context, width = (256, 256, HIDDEN) if options.quick else (8 * K, 16 * K, OWN_HIDDEN)
    with torch.inference_mode():
        yield from by_context(contexts, 1 if options.quick else 20)
        yield from prompts(prompt)
        for name in ("CSA", "HCA"):
            yield from beside_transformers(name, prompt, context, 1 if options.quick else 3, width)


if __name__ == "__main__":
    main(rows, __doc__)
