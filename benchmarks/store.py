"""Time to first token with and without the prefix store, by tier, beside what the loading simulator predicts.

    python benchmarks/store.py [--quick] [--threads N] [--json FILE] [--folder FOLDER]

A toy model of MiMo's kind reads a long prefix and a short question. The peer is the same model without a store, in
the same run. Predictions use only speeds measured on other work: prefills of other lengths, and loads of other pages.
"""

from __future__ import annotations

import argparse
import hashlib
import tempfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from peers import Row, beside, best, main

from costlab import arch
from costlab.cache.store import Array, Geometry, Speeds, Store, cool, predicted_ttft_s, speeds
from costlab.cache.store.pages import digest
from costlab.nn.decoder import Decoder
from costlab.nn.serving import speed
from costlab.nn.serving.prefix import Server, page_examples, randomise_sinks, toy

BLOCK = 64
QUESTION = 40
TIERS = ("memory", "ram", "warm file", "cold file")
QUICK_PROBES = ((16, 0), (64, 0), (16, 64))
#: What was asked of the predictions: at most 30% off.
OFF = 0.3


@contextmanager
def pools(model: Decoder, tier: str, folder: Path, blocks: int) -> Iterator[tuple[Store, Store]]:
    """Open a full pool and a window pool whose pages will be found in one tier."""
    memory = {"memory": blocks + 2}.get(tier, 1)
    ram = blocks + 2 if tier == "ram" else 0
    with ExitStack() as stack:
        full, window = (
            stack.enter_context(Store(Geometry.of(page), memory, ram, folder / name if "file" in tier else None))
            for page, name in zip(page_examples(model, BLOCK), ("full", "window"), strict=True)
        )
        yield full, window


def load_bytes(model: arch.Model, prefix: int) -> list[float]:
    """Return what each layer loads: all of the prefix, or a window."""
    return [sum(store.bytes_per_entry for store in dims.stores()) * kept(dims, prefix) for dims, _ in model.layers]


def kept(dims: arch.Attention, prefix: int) -> int:
    return dims.window if isinstance(dims, arch.SlidingWindow) else prefix


def layer_speeds(model: arch.Model, per_pool: Sequence[Speeds], tier: str) -> list[float]:
    """Return each layer's bytes per second: the pages of the full and of the window pool differ in size."""
    return [per_pool[isinstance(dims, arch.SlidingWindow)].of(tier) for dims, _ in model.layers]


def compute_s(measured: speed.PrefillSpeed, chunks: Sequence[tuple[int, int]]) -> list[float]:
    """Return predicted seconds per layer, spread evenly: serial loading only needs their sum."""
    total = sum(float(measured.seconds(new, prefix)) for new, prefix in chunks)
    return [total / len(measured.model.layers)] * len(measured.model.layers)


def times(model: Decoder, prefix: int, repeats: int, folder: Path) -> Iterator[tuple[str, float, float]]:
    """Yield (where the prefix comes from, measured seconds to the first token, predicted seconds): no store first."""
    rng = np.random.default_rng(0)
    vocab = model.model.record.vocab
    text = rng.integers(0, vocab, prefix).tolist()
    probes = speed.PROBES if prefix > 1024 else QUICK_PROBES
    measured = speed.measure(model, probes, repeats)
    per_pool = [speeds(Geometry.of(page), 16, repeats, folder) for page in page_examples(model, BLOCK)]

    def prompt() -> list[int]:
        return [*text, *rng.integers(0, vocab, QUESTION).tolist()]

    cold = predicted_ttft_s(
        [0.0] * len(model.model.layers), 1.0, compute_s(measured, ((prefix, 0), (QUESTION, prefix)))
    )
    with pools(model, "memory", folder, 1) as none:
        yield "no store", min(uncached(Server(model, *none, BLOCK), prompt()) for _ in range(repeats)), cold
    held = pages_of(model, text)
    for tier in TIERS:
        home = folder / tier
        with pools(model, tier, home, prefix // BLOCK) as both:
            server = Server(model, *both, BLOCK)
            for store, pages in zip(both, held, strict=True):
                store.put(list(pages), list(pages.values()))
                store.put([b"other"], [next(iter(pages.values()))])  # pushes the last page out of a memory of one
                if "file" in tier:
                    store.flush()
            per_s = layer_speeds(model.model, per_pool, tier)
            computes = compute_s(measured, ((QUESTION, prefix),))
            predicted = predicted_ttft_s(load_bytes(model.model, prefix), per_s, computes)
            yield tier, min(cached(server, prompt(), prefix, tier, home) for _ in range(repeats)), predicted


def pages_of(model: Decoder, text: Sequence[int]) -> list[dict[bytes, Mapping[str, Array]]]:
    """Return the pages that a prefix leaves in the full pool and in the window pool, by key."""
    server = Server(model, Keeper(), Keeper(), BLOCK)
    server.serve(text)
    return [pool.pages for pool in (server.full, server.windows) if isinstance(pool, Keeper)]


class Keeper:
    """A pool that only keeps what it is given."""

    def __init__(self) -> None:
        self.pages: dict[bytes, Mapping[str, Array]] = {}

    def put(self, keys: Sequence[bytes], pages: Sequence[Mapping[str, Array]], /) -> int:
        self.pages.update(zip(keys, pages, strict=True))
        return len(keys)

    def match(self, keys: Sequence[bytes], /) -> int:
        return 0

    def borrow(self, keys: Sequence[bytes], /) -> nullcontext[Sequence[Mapping[str, Array]]]:
        return nullcontext([])


def uncached(server: Server, tokens: Sequence[int]) -> float:
    served = server.serve([*reversed(tokens)])  # shares no prefix with what was served before
    assert served.reused_tokens == 0
    return served.ttft_s


def cached(server: Server, prompt: Sequence[int], prefix: int, tier: str, home: Path) -> float:
    if tier == "cold file":
        for pool in ("full", "window"):
            cool(home / pool)
    served = server.serve(prompt)
    assert served.reused_tokens == prefix, f"{served.reused_tokens} of {prefix} tokens were found"
    return served.ttft_s


def checksums(count: int) -> Iterator[Row]:
    """Race the store's checksum against two others."""
    data = np.random.default_rng(0).bytes(count)
    ways = (partial(digest, data), partial(hashlib.blake2b, data, digest_size=16), partial(zlib.crc32, data))
    ours, *others = (count / 1e9 / seconds for seconds in best(*ways, rounds=5))
    for name, theirs in zip(("BLAKE2b", "CRC-32"), others, strict=True):
        yield Row(f"checksum-{name}", "checksum of a page, SHA-256", name, "GB/s", ours, theirs, more=True)


def slug(where: str) -> str:
    return where.replace(" ", "-")


def rows(options: argparse.Namespace) -> Iterator[Row]:
    """Tiers beside no store, predictions beside measurements, checksums."""
    torch.manual_seed(0)
    prefix, repeats, size = (128, 1, 1 << 20) if options.quick else (4096, 5, 1 << 24)
    model = randomise_sinks(Decoder(toy())).eval()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        found = list(times(model, prefix, repeats, Path(folder)))
    _, without, _ = found[0]
    what, at = f"first token behind {prefix:,} stored tokens", {"prefix": prefix}
    for where, seconds, _ in found[1:]:
        whom = "the same model, no store"
        yield beside(f"ttft-{slug(where)}", f"{what}, {where}", whom, (seconds, without), at={**at, "where": where})
    for where, seconds, predicted in found:
        values, goal = (predicted * 1e3, seconds * 1e3), (1 - OFF, 1 + OFF)
        what_else = f"{what}, {where}, as the simulator predicts"
        # "more": so that the ratio is that of the prediction to the measurement
        row = Row(f"predicted-{slug(where)}", what_else, "measured", "ms", *values, more=True, goal=goal)
        yield replace(row, at={**at, "where": where})
    yield from checksums(size)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Take the disk to measure."""
    parser.add_argument("--folder", type=Path, help="on the disk to measure")


if __name__ == "__main__":
    main(rows, __doc__, add_options=add_options)
