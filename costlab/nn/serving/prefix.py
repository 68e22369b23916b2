"""Prompts served through a prefix store: what was read before is loaded, the rest is computed and stored.

Two pools, as hybrid models need them. The full pool holds a page per block of tokens: the keys and values of every
full-attention layer. The window pool holds a page per checkpoint: the last `window` entries of every sliding layer
before a block's end. A prefix can be used only up to a block's end behind which the window is stored too.

Windows are stored at the last whole block of each prompt, at every `checkpoint_blocks`, and where a prompt leaves a
prefix that the full pool knows already but no window stands behind (a branch).

>>> import torch
>>> from costlab.nn.serving.prefix import Server, page_examples, toy
>>> from costlab.nn.decoder import Decoder
>>> model = Decoder(toy(hidden=48, layers=4, window=8))
>>> full, window = page_examples(model, block_tokens=16)
>>> {name: array.shape for name, array in full.items()}
{'layer0.0': (4, 16, 20)}

Chapter: tiers
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import pairwise
from time import perf_counter
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from costlab import arch
from costlab.nn.attention import KVTable
from costlab.nn.decoder import Decoder, DecoderCache

KVArray = np.ndarray[tuple[Any, ...], np.dtype[Any]]
#: What one key of a pool stands for: stored entries of several layers, by name.
KVPage = Mapping[str, KVArray]


class PageStore(Protocol):
    """What a pool must be able to do; `costlab.cache.store.Store` can."""

    def put(self, keys: Sequence[bytes], pages: Sequence[KVPage], /) -> int:
        """Store pages under keys."""

    def match(self, keys: Sequence[bytes], /) -> int:
        """Return how many leading keys are held."""

    def borrow(self, keys: Sequence[bytes], /) -> AbstractContextManager[Sequence[KVPage]]:
        """Give the pages of leading keys for reading."""


@dataclass(frozen=True)
class Served:
    """A prompt's answer and where its time went."""

    logits: Tensor  # of the first new token, shape (vocab,)
    cache: DecoderCache  # after the prompt
    reused_tokens: int  # tokens that came from the store
    chunks: tuple[tuple[int, int], ...]  # (tokens, tokens before them) of each piece that was computed
    loaded_bytes: int  # bytes of the pages that were loaded
    match_s: float  # seconds of finding what is stored
    load_s: float  # seconds of loading it
    compute_s: float  # seconds of reading the rest
    put_s: float  # seconds of storing what is new

    @property
    def ttft_s(self) -> float:
        """Time to the first token: match, load, compute. Putting comes after it."""
        return self.match_s + self.load_s + self.compute_s


def toy(
    hidden: int = 384, layers: int = 8, window: int = 128, full_every: int = 4, dtype: str = "fp32", vocab: int = 1024
) -> arch.Model:
    """Return a small model of MiMo's kind: one full layer in `full_every`, the others sliding, with SwiGLU layers.

    Queries and keys are wider than values, rotary embedding turns a third of a head, windows have sinks and twice
    the key heads of full layers, as in MiMo-V2-Flash, whose record gives rotary bases and value scale.

    Args:
        hidden: width, a multiple of 48.
        layers: how many.
        window: tokens that a sliding layer sees.
        full_every: the first of every so many layers is full.
        dtype: of cached keys and values.
        vocab: tokens in the vocabulary.

    Raises:
        ValueError: a width that makes no heads.
    """
    if hidden % 48 or hidden < 48:
        raise ValueError(f"hidden = {hidden} should be a multiple of 48")
    qk, v, rope = hidden // 4, hidden // 6, hidden // 12  # 192 : 128 : 64 as in MiMo-V2
    record = dataclasses.replace(arch.load("mimo-v2-flash").record, name="toy hybrid", hidden=hidden, vocab=vocab)
    sizes: dict[str, Any] = {"heads": 8, "rope_dim": rope, "qk_dim": qk, "v_dim": v, "entry": ((qk + v, dtype),)}
    full = arch.FullAttention(kv_heads=4, **sizes)
    sliding = arch.SlidingWindow(kv_heads=8, window=window, sink=True, **sizes)
    dense = arch.Dense(inner=hidden * 8 // 3)
    return arch.Model("toy", record, tuple((sliding if n % full_every else full, dense) for n in range(layers)))


def randomise_sinks(model: Decoder, seed: int = 0) -> Decoder:
    """Give every sink a logit of its own: they start at 0, which would hide one that is mixed up with another."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith(".sink"):
                parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return model


def fingerprint(model: Decoder) -> bytes:
    """Return 16 bytes that differ between models of different weights or constants (rotary bases, factor on values).

    So no page of one model serves another.
    """
    state = hashlib.sha256(repr((model.model.layers, model.model.record.running)).encode())
    for name, tensor in model.state_dict().items():
        state.update(name.encode())
        state.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return state.digest()[:16]


def block_keys(tokens: Sequence[int], block_tokens: int, salt: bytes = b"") -> list[bytes]:
    """Return a key per whole block, chained: it names the block and all tokens before it.

    Args:
        tokens: of a prompt.
        block_tokens: tokens per block.
        salt: what else the pages depend on.
    """
    keys, chain = [], hashlib.sha256(salt + b"%d" % block_tokens).digest()
    for start in range(0, len(tokens) - block_tokens + 1, block_tokens):
        block = np.asarray(tokens[start : start + block_tokens], np.int64)
        chain = hashlib.sha256(chain + block.tobytes()).digest()
        keys.append(chain[:16])
    return keys


def page_examples(model: Decoder, block_tokens: int) -> tuple[dict[str, KVArray], dict[str, KVArray]]:
    """Return an empty page of the full pool and one of the window pool: their arrays' names, dtypes and shapes.

    Raises:
        ValueError: a model without full or without sliding layers, or with layers of another kind.
    """
    cache = model.new_cache(capacity=max(block_tokens, _window(model)))
    full = {name: array for n, t in _tables(cache, "main") for name, array in _zeros(n, t, block_tokens)}
    window = {name: array for n, t in _tables(cache, "window") for name, array in _zeros(n, t, t.slots)}
    return full, window


def _zeros(layer: int, table: KVTable, entries: int) -> Iterator[tuple[str, KVArray]]:
    for number, stored in enumerate(table.stored):
        array = _array(stored[:, :, :1])
        yield f"layer{layer}.{number}", np.zeros((array.shape[0], entries, *array.shape[2:]), array.dtype)


def _window(model: Decoder) -> int:
    """Return the longest window of a model that has what two pools need."""
    kinds = {type(dims) for dims, _ in model.model.layers}
    if kinds != {arch.FullAttention, arch.SlidingWindow}:
        names = ", ".join(sorted(kind.__name__ for kind in kinds))
        raise ValueError(f"two pools need a model of both full and sliding layers and no others; this one has {names}")
    return max(dims.window for dims, _ in model.model.layers if isinstance(dims, arch.SlidingWindow))


def _tables(cache: DecoderCache, part: str) -> list[tuple[int, KVTable]]:
    return [(n, layer.tables[part]) for n, layer in enumerate(cache.layers) if part in layer.tables]


def _array(stored: Tensor) -> KVArray:
    """Return stored entries of one sequence, shape (1, kv_heads, n, …), as NumPy has them; other dtypes as bits."""
    plain = stored.detach()[0].cpu()
    bits = {torch.bfloat16: torch.int16}.get(plain.dtype, plain.dtype)
    return plain.contiguous().view(bits).numpy()


def _tensor(array: KVArray, like: Tensor) -> Tensor:
    """Return a page's array as stored entries (1, kv_heads, n, …) like those of a table, without copying on a CPU."""
    alias = array.view()
    alias.flags.writeable = True  # torch has no read-only tensors and warns of them; nothing writes to this one
    bits = torch.from_numpy(alias)[None]
    return bits.view(torch.bfloat16).to(like.device) if like.dtype == torch.bfloat16 else bits.to(like.device)


class Server:
    """A model and its two pools; `serve` answers one prompt after another.

    Args:
        model: of full and sliding layers.
        full: pool of pages as the first of `page_examples`.
        windows: pool of pages as the second.
        block_tokens: tokens per block.
        checkpoint_blocks: blocks between stored windows; None: only at prompts' ends and at branches.

    Raises:
        ValueError: blocks without tokens, or a model of other layers.
    """

    def __init__(
        self,
        model: Decoder,
        full: PageStore,
        windows: PageStore,
        block_tokens: int = 64,
        checkpoint_blocks: int | None = None,
    ) -> None:
        if block_tokens < 1 or (checkpoint_blocks is not None and checkpoint_blocks < 1):
            raise ValueError(f"block_tokens = {block_tokens}, checkpoint_blocks = {checkpoint_blocks}: at least 1")
        self.model, self.full, self.windows = model, full, windows
        self.block_tokens, self.checkpoint_blocks = block_tokens, checkpoint_blocks
        self._window = _window(model)
        self._salt = fingerprint(model)

    @torch.inference_mode()
    def serve(self, tokens: Sequence[int], room: int = 0) -> Served:
        """Return the logits of a prompt's first new token, loading what the pools hold of it and storing the rest.

        At least the last token is computed, even of a prompt that is wholly stored: logits are not kept.

        Args:
            tokens: the prompt.
            room: tokens that the returned cache can take besides.

        Raises:
            ValueError: an empty prompt.
        """
        if not len(tokens):
            raise ValueError("a prompt needs at least one token")
        start = perf_counter()
        keys = block_keys(tokens, self.block_tokens, self._salt)
        cache = self.model.new_cache(capacity=max(len(tokens) + room, self._window))
        known, usable = self._match(keys)
        matched = perf_counter()
        held = self._load(cache, keys, usable, len(tokens))
        loaded = perf_counter()
        logits, windows, chunks = self._compute(cache, tokens, held, known)
        computed = perf_counter()
        self._put(cache, keys, held, windows)
        times = (matched - start, loaded - matched, computed - loaded, perf_counter() - computed)
        reused = min(held * self.block_tokens, len(tokens) - 1)
        return Served(logits, cache, reused, tuple(chunks), self._bytes(cache, held), *times)

    def _match(self, keys: Sequence[bytes]) -> tuple[int, int]:
        """Return how many leading blocks the full pool holds, and up to which of them a window stands."""
        known = self.full.match(keys)
        return known, next((n for n in range(known, 0, -1) if self.windows.match([keys[n - 1]])), 0)

    def _load(self, cache: DecoderCache, keys: Sequence[bytes], usable: int, tokens: int) -> int:
        """Load a prefix into the cache and return its blocks: fewer where a page turned out to be damaged."""
        while usable:
            with self.windows.borrow([keys[usable - 1]]) as window, self.full.borrow(keys[:usable]) as pages:
                if window and len(pages) == usable:
                    self._restore(cache, pages, window[0], min(usable * self.block_tokens, tokens - 1))
                    return usable
                whole = min(len(pages), usable if window else usable - 1)
            usable = self._match(keys[:whole])[1]
        return 0

    def _restore(self, cache: DecoderCache, pages: Sequence[KVPage], window: KVPage, length: int) -> None:
        """Fill all layers as if `length` tokens had been read: all of the pages' tokens, or all but the last."""
        end, block = len(pages) * self.block_tokens, self.block_tokens
        for layer, table in _tables(cache, "main"):
            for number, page in enumerate(pages):
                table.restore(number * block, _pieces(page, layer, table, slice(None)))
            table.length = length
        for layer, table in _tables(cache, "window"):
            oldest = max(0, end - table.slots)
            skipped = table.slots - (end - oldest)  # zeros that a page begins with where fewer were read
            table.restore(oldest, _pieces(window, layer, table, slice(skipped, skipped + length - oldest)))
        for kept in cache.layers:
            kept.length = length

    def _compute(
        self, cache: DecoderCache, tokens: Sequence[int], held: int, known: int
    ) -> tuple[Tensor, dict[int, KVPage], list[tuple[int, int]]]:
        """Read the rest of the prompt, stopping where a window is to be stored."""
        ids = torch.as_tensor(np.asarray(tokens, np.int64), device=self.model.head.weight.device)[None]
        ends = self._checkpoints(len(tokens), held, known)
        stops = [cache.length, *sorted({end * self.block_tokens for end in ends} | {len(tokens)})]
        windows: dict[int, KVPage] = {}
        for start, stop in pairwise(stops):
            hidden = self.model.read(ids[:, start:stop], cache)
            end, rest = divmod(stop, self.block_tokens)
            if end in ends and not rest:
                windows[end] = self._window_page(cache)
        return self.model.head(hidden[0, -1]), windows, [(b - a, a) for a, b in pairwise(stops)]

    def _checkpoints(self, tokens: int, held: int, known: int) -> set[int]:
        """Return the blocks behind whose ends a window is to be stored."""
        last = tokens // self.block_tokens
        every = range(0, last + 1, self.checkpoint_blocks) if self.checkpoint_blocks else ()
        return {n for n in (*every, known, last) if n > held}

    def _window_page(self, cache: DecoderCache) -> KVPage:
        """Return the last entries of every sliding layer; where fewer were read, the page begins with zeros."""
        page: dict[str, KVArray] = {}
        for layer, table in _tables(cache, "window"):
            count = min(table.slots, table.length)
            for number, span in enumerate(table.span(table.length - count, table.length)):
                entries = _array(span)
                lead = np.zeros((entries.shape[0], table.slots - count, *entries.shape[2:]), entries.dtype)
                page[f"layer{layer}.{number}"] = np.concatenate([lead, entries], 1)
        return page

    def _put(self, cache: DecoderCache, keys: Sequence[bytes], held: int, windows: Mapping[int, KVPage]) -> None:
        """Store new blocks, then the windows that make them usable."""
        self.full.put(keys[held:], [self._block_page(cache, number) for number in range(held, len(keys))])
        self.windows.put([keys[end - 1] for end in windows], list(windows.values()))

    def _block_page(self, cache: DecoderCache, number: int) -> KVPage:
        span = (number * self.block_tokens, (number + 1) * self.block_tokens)
        spans = [(n, i, part) for n, table in _tables(cache, "main") for i, part in enumerate(table.span(*span))]
        return {f"layer{n}.{i}": _array(part) for n, i, part in spans}

    def _bytes(self, cache: DecoderCache, blocks: int) -> int:
        """Return the bytes of the pages that a prefix of so many blocks is loaded from."""
        if not blocks:
            return 0
        full = sum(t.nbytes // t.slots for _, t in _tables(cache, "main"))
        return full * blocks * self.block_tokens + sum(t.nbytes for _, t in _tables(cache, "window"))


def _pieces(page: KVPage, layer: int, table: KVTable, entries: slice) -> list[Tensor]:
    return [_tensor(page[f"layer{layer}.{i}"][:, entries], like) for i, like in enumerate(table.stored)]
