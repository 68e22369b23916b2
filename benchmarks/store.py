"""Time to first token with and without the prefix store, by tier, beside what the loading simulator predicts.

A toy model of MiMo's kind reads a long prefix and a short question. The peer is the same model without a store, in
the same run. Predictions use only speeds measured on other work: prefills of other lengths, and loads of other pages.

    python benchmarks/store.py [--quick] [--threads N] [--json FILE]
"""

from __future__ import annotations

import argparse
import hashlib
import json
import statistics
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch

from costlab import arch
from costlab.cache.store import Array, Comparison, Geometry, Speeds, Store, compare, cool, predicted_ttft_s, speeds
from costlab.cache.store.pages import digest
from costlab.nn import prefill
from costlab.nn.prefix import Server, page_examples, randomise_sinks, toy
from costlab.nn.stack import Decoder

BLOCK = 64
QUESTION = 40
TIERS = ("memory", "ram", "warm file", "cold file")


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


def compute_s(speed: prefill.PrefillSpeed, chunks: Sequence[tuple[int, int]]) -> list[float]:
    """Return predicted seconds per layer, spread evenly: serial loading only needs their sum."""
    total = sum(float(speed.seconds(new, prefix)) for new, prefix in chunks)
    return [total / len(speed.model.layers)] * len(speed.model.layers)


def rows(model: Decoder, prefix: int, repeats: int, folder: Path) -> list[Comparison]:
    """Return measured and predicted times to first token, without a store and by tier."""
    rng = np.random.default_rng(0)
    vocab = model.model.record.vocab
    text = rng.integers(0, vocab, prefix).tolist()
    speed = prefill.measure(model)
    per_pool = [speeds(Geometry.of(page), 16, repeats, folder) for page in page_examples(model, BLOCK)]

    def prompt() -> list[int]:
        return [*text, *rng.integers(0, vocab, QUESTION).tolist()]

    cold = predicted_ttft_s([0.0] * len(model.model.layers), 1.0, compute_s(speed, ((prefix, 0), (QUESTION, prefix))))
    with pools(model, "memory", folder, 1) as none:
        found = [compare("no store", cold, lambda: uncached(Server(model, *none, BLOCK), prompt()), repeats)]
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
            predicted = predicted_ttft_s(
                load_bytes(model.model, prefix), per_s, compute_s(speed, ((QUESTION, prefix),))
            )
            found.append(compare(tier, predicted, cached(server, prompt, prefix), repeats, cooling(tier, home)))
    return found


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


def cached(server: Server, prompt: Callable[[], list[int]], prefix: int) -> Callable[[], float]:
    def serve() -> float:
        served = server.serve(prompt())
        assert served.reused_tokens == prefix, f"{served.reused_tokens} of {prefix} tokens were found"
        return served.ttft_s

    return serve


def cooling(tier: str, home: Path) -> Callable[[], object]:
    def cool_both() -> None:
        for pool in ("full", "window"):
            cool(home / pool)

    return cool_both if tier == "cold file" else lambda: None


def checksums() -> dict[str, float]:
    """Return bytes per second of the store's checksum and of two others."""
    data = np.random.default_rng(0).bytes(1 << 24)
    ways: dict[str, Callable[[], object]] = {
        "SHA-256, the store's": lambda: digest(data),
        "BLAKE2b": lambda: hashlib.blake2b(data, digest_size=16).digest(),
        "CRC-32": lambda: zlib.crc32(data),
    }
    return {name: len(data) / statistics.median(_seconds(way) for _ in range(5)) for name, way in ways.items()}


def _seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a short prefix, in some seconds")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="on the disk to measure")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    options = parser.parse_args(argv)
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    model, prefix = randomise_sinks(Decoder(toy())).eval(), 1024 if options.quick else 4096
    kept_bytes = sum(load_bytes(model.model, prefix))
    print(f"{options.threads} threads; prefix {prefix} tokens, {kept_bytes / 1e6:.1f} MB; question {QUESTION} tokens")
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        found = rows(model, prefix, options.repeats, Path(folder))
    print(f"{'':12} {'measured ms':>12} {'predicted ms':>13} {'error':>7} {'no store / this':>16}")
    for row in found:
        ratio = found[0].measured_s / row.measured_s
        times = f"{row.measured_s * 1e3:12.1f} {row.predicted_s * 1e3:13.1f} {row.error:+7.0%}"
        print(f"{row.what:12} {times} {ratio:16.1f}")
    sums = checksums()
    print("\n" + "\n".join(f"{name:22} {speed / 1e9:5.2f} GB/s" for name, speed in sums.items()))
    if options.json:
        options.json.write_text(json.dumps({"ttft": [asdict(row) for row in found], "checksums": sums}, indent=1))


if __name__ == "__main__":
    main()
