"""A decoder built from a catalog's explicit list of layers: attention kinds and feed-forward kinds in any order.

A window counts the keys that a query reads, its own token's among them, as transformers' `sliding_window` does. SGLang
counts the tokens before it: a checkpoint's 128 is 129 here, and transformers turns it into 129 too. Between two steps
either needs 128 cached tokens, which is what the catalog's 128 says; reads are counted one key of 129 short.

>>> import torch
>>> from costlab import arch
>>> from costlab.nn.decoder import Decoder, Scale, scaled
>>> toy = scaled(arch.load("mimo-v2.5-pro"), Scale())  # 70 layers, 10 of them full, a window of 16 tokens
>>> model = Decoder(toy)
>>> cache = model.new_cache(capacity=100)
>>> model(torch.zeros(1, 60, dtype=torch.long), cache).shape
torch.Size([1, 60, 4768])
>>> cache.nbytes(filled=True)["window"], cache.nbytes(filled=True)["main"]
(153600, 96000)

Chapter: hybrid
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from costlab import arch
from costlab.arch.experts import FeedForward
from costlab.catalog import Running
from costlab.nn.attention import Cache, CachedLayer, Rope, build_layer
from costlab.nn.attention.kv import rewind, rewindable
from costlab.nn.attention.rope import Yarn
from costlab.nn.moe import MoELayer, SwiGLU
from costlab.nn.residual import Collapse, HyperConnection, Plain


class DecoderCache:
    """One cache per layer; windows are rings that never grow, the others grow with the context."""

    def __init__(self, layers: Sequence[Cache]) -> None:
        self.layers = tuple(layers)

    def __repr__(self) -> str:
        parts = ", ".join(f"{part} {size:,} B" for part, size in self.nbytes().items())
        return f"DecoderCache({self.length} tokens, {len(self.layers)} layers: {parts})"

    @property
    def length(self) -> int:
        """Tokens read so far."""
        return self.layers[0].length

    def nbytes(self, filled: bool = False) -> dict[str, int]:
        """Return measured bytes of all layers by part, named as in `costlab.arch`: "main" grows, "window" does not.

        Args:
            filled: count only what has been written; otherwise all that is allocated.
        """
        sizes: dict[str, int] = {}
        for layer in self.layers:
            for part, size in layer.nbytes(filled).items():
                sizes[part] = sizes.get(part, 0) + size
        return sizes

    def rewindable(self, rows: int = 0) -> AbstractContextManager[None]:
        """Let all layers be rewound to their length now and after each of the next `rows` tokens.

        An error or an interrupt that leaves the block takes back all that was read in it.

        >>> from costlab.nn.serving.prefix import toy
        >>> model = Decoder(toy(hidden=48, layers=4, window=8))
        >>> cache, tokens = model.new_cache(), torch.arange(30)[None]
        >>> with torch.no_grad():
        ...     prompt = model(tokens[:, :25], cache)
        ...     with cache.rewindable(rows=5):
        ...         logits = model(tokens[:, 25:], cache)
        ...         cache.rewind(27)  # two of the five rows were right
        >>> cache.length
        27

        Args:
            rows: tokens to choose among afterwards: all rows of a speculative round.

        Raises:
            ValueError: rows that are no whole number, or a negative one.
        """
        return rewindable(self.layers, rows)

    def rewind(self, length: int) -> None:
        """Leave all layers exactly as if only the first `length` tokens had been read, within `rewindable`.

        Args:
            length: tokens to keep, from the length at the block's start to `rows` more.

        Raises:
            ValueError: outside `rewindable`, a length that it has not announced, or more than has been read. No layer
                is changed.
        """
        rewind(self.layers, length)

    def check(self) -> None:
        """Check that all layers have read the same tokens and that no ring holds more than its window.

        Raises:
            AssertionError: the layer that does not.
        """
        for number, layer in enumerate(self.layers):
            assert layer.length == self.length, f"layer {number} has read {layer.length} tokens, not {self.length}"
            if "window" in layer.tables:
                ring = layer.ring("window")
                assert ring.filled_nbytes <= ring.nbytes, f"layer {number} holds more than its window"


class Block(nn.Module):
    """One layer: attention and feed-forward, each behind a norm and around a residual.

    Args:
        attention: the running attention layer.
        ffn: dimensions of the feed-forward part.
        eps: of the norms.
        streams: of the residual; several are mixed by hyper-connections.
        sinkhorn_steps: of their mixing weights.
        vocabulary: for experts that are chosen by token.
    """

    def __init__(
        self,
        attention: CachedLayer,
        ffn: FeedForward,
        eps: float = 1e-6,
        streams: int = 1,
        sinkhorn_steps: int = 20,
        vocabulary: int | None = None,
    ) -> None:
        super().__init__()
        hidden = attention.hidden

        def residual() -> HyperConnection | Plain:
            return Plain() if streams == 1 else HyperConnection(hidden, streams, sinkhorn_steps, eps)

        self.attention_residual, self.ffn_residual = residual(), residual()
        self.attention_norm = nn.RMSNorm(hidden, eps)
        self.attention = attention
        self.ffn_norm = nn.RMSNorm(hidden, eps)
        self.ffn = _feed_forward(hidden, ffn, vocabulary)

    def forward(self, x: Tensor, cache: Cache | None = None, tokens: Tensor | None = None) -> Tensor:
        """Return x, shape (batch, tokens, hidden) or (batch, tokens, streams, hidden), with what the layer adds to it.

        Args:
            x: the residual.
            cache: what came before, updated in place.
            tokens: token numbers, (batch, tokens), for experts that are chosen by token.
        """
        x = self.attention_residual(x, lambda h: self.attention(self.attention_norm(h), cache))
        read: Tensor = self.ffn_residual(x, lambda h: self._feed(self.ffn_norm(h), tokens))
        return read

    def _feed(self, x: Tensor, tokens: Tensor | None) -> Tensor:
        fed: Tensor = self.ffn(x, tokens) if isinstance(self.ffn, MoELayer) else self.ffn(x)
        return fed


def _feed_forward(hidden: int, ffn: FeedForward, vocabulary: int | None) -> MoELayer | SwiGLU:
    if isinstance(ffn, arch.MoE):
        return MoELayer(hidden, ffn, vocabulary)
    if isinstance(ffn, arch.NoFeedForward) or arch.extras(ffn):
        raise ValueError(f"no running layer for {ffn}: costlab runs experts and dense layers of three matrices")
    return SwiGLU(hidden, ffn.inner)


class DecoderStack(nn.Module):
    """Layers one after another, and a last norm: hidden states in, hidden states out.

    Args:
        layers: (attention, feed-forward) pairs in order, as `arch.Model.layers` lists them.
        hidden: width.
        ropes: rotary embedding by attention kind ("full", "sliding"); kinds left out turn with theta 10000.
        value_scale: factor on the values of full and sliding layers.
        eps: of the norms.
        streams: of the residual; several are mixed by hyper-connections.
        sinkhorn_steps: of their mixing weights.
        vocabulary: for experts that are chosen by token.
    """

    def __init__(
        self,
        layers: Sequence[tuple[arch.Attention, FeedForward]],
        hidden: int,
        ropes: Mapping[str, Rope] | None = None,
        value_scale: float = 1.0,
        eps: float = 1e-6,
        streams: int = 1,
        sinkhorn_steps: int = 20,
        vocabulary: int | None = None,
    ) -> None:
        super().__init__()
        if not layers:
            raise ValueError("a stack needs at least one layer")
        self.hidden = hidden
        self.streams = streams
        self.layers = tuple(layers)
        mixing = (eps, streams, sinkhorn_steps, vocabulary)

        def attention(dims: arch.Attention) -> CachedLayer:
            options = {"value_scale": value_scale} if isinstance(dims, arch.FullAttention) else {}
            return build_layer(dims, hidden, (ropes or {}).get(dims.kind), **options)

        self.blocks = nn.ModuleList(Block(attention(dims), ffn, *mixing) for dims, ffn in layers)
        self.collapse = Collapse(hidden, streams, eps) if streams > 1 else nn.Identity()
        self.norm = nn.RMSNorm(hidden, eps)

    def new_cache(self, batch: int = 1, capacity: int = 4096) -> DecoderCache:
        """Return empty caches, one per layer.

        Args:
            batch: sequences, all of one length.
            capacity: tokens to make room for; a window's ring takes no more than its window.

        Raises:
            ValueError: no sequence, or no room.
        """
        return DecoderCache([block.attention.new_cache(batch, capacity) for block in self.blocks])  # type: ignore[union-attr, operator]

    def forward(self, x: Tensor, cache: DecoderCache | None = None, tokens: Tensor | None = None) -> Tensor:
        """Read tokens that follow those in the cache: a prompt, a piece of one, or one new token.

        Args:
            x: shape (batch, tokens, hidden).
            cache: what came before, updated in place; None: nothing came before and nothing is kept.
            tokens: token numbers, (batch, tokens), for experts that are chosen by token.

        Returns:
            shape (batch, tokens, hidden), normed.

        Raises:
            ValueError: a shape that does not fit, a cache of another stack, or more tokens than it has room for. After
                any error the cache is as it was, in every layer.
        """
        if self.streams > 1:
            x = x[:, :, None].expand(-1, -1, self.streams, -1)  # every stream begins as the embedding
        with _guarded(cache):
            for block, layer_cache in zip(self.blocks, self._caches(cache), strict=True):
                x = block(x, layer_cache, tokens)
            normed: Tensor = self.norm(self.collapse(x))
            return normed

    def _caches(self, cache: DecoderCache | None) -> Sequence[Cache | None]:
        if cache is None:
            return (None,) * len(self.blocks)
        if len(cache.layers) != len(self.blocks):
            raise ValueError(f"a cache of {len(cache.layers)} layers does not fit a stack of {len(self.blocks)}")
        return cache.layers


class Decoder(nn.Module):
    """A whole language model from its catalog entry: embedding, its layers in order, output head.

    Args:
        model: e.g. `arch.load("mimo-v2-flash")`, which fits a large machine or the meta device, or a `scaled` one.

    Raises:
        ValueError: a model whose record does not say how its positions turn, named; one with parts that have no
            running form here.
    """

    def __init__(self, model: arch.Model) -> None:
        super().__init__()
        turning = {attention.kind for attention, _ in model.layers if isinstance(attention, arch.KeyedAttention)}
        if silent := turning - model.record.running.rope_theta.keys():
            kinds = ", ".join(sorted(silent))
            raise ValueError(f"{model.key} can't be run: its record has no running.rope_theta for {kinds}")
        for name in ("norms", "lookup", "prefill_layers", "streams_mixed", "streams_joined"):
            if getattr(model.record, name) not in (1, {}, None):
                raise ValueError(f"{model.key} can't be run: no running form for a record with {name}")
        self.model = model
        hidden, vocab, running = model.record.hidden, model.record.vocab, model.record.running
        mixing = (model.record.residual_streams, running.sinkhorn_steps, vocab)
        self.embedding = nn.Embedding(vocab, hidden)
        self.stack = DecoderStack(model.layers, hidden, _ropes(running), running.value_scale, running.norm_eps, *mixing)
        self.head = nn.Linear(hidden, vocab, bias=False)
        if model.record.tied:
            self.head.weight = self.embedding.weight

    def new_cache(self, batch: int = 1, capacity: int = 4096) -> DecoderCache:
        """Return empty caches, one per layer.

        Raises:
            ValueError: no sequence, or no room.
        """
        return self.stack.new_cache(batch, capacity)

    def forward(self, tokens: Tensor, cache: DecoderCache | None = None) -> Tensor:
        """Return the logits of the token after each, shape (batch, tokens, vocab).

        Args:
            tokens: token numbers, shape (batch, tokens); they follow those in the cache.
            cache: what came before, updated in place.

        Raises:
            ValueError: token numbers that are no matrix, or more tokens than the cache has room for.
        """
        if tokens.dim() != 2:
            raise ValueError(f"tokens {tuple(tokens.shape)} should be (batch, tokens)")
        with _guarded(cache):
            logits: Tensor = self.head(self.read(tokens, cache))
            return logits

    def read(self, tokens: Tensor, cache: DecoderCache | None = None) -> Tensor:
        """Return what the head reads, shape (batch, tokens, hidden): enough where only some logits are wanted.

        Args:
            tokens: token numbers, shape (batch, tokens); they follow those in the cache.
            cache: what came before, updated in place.
        """
        hidden: Tensor = self.stack(self.embedding(tokens), cache, tokens)
        return hidden


def _ropes(running: Running) -> dict[str, Rope]:
    stretches = {kind: Yarn(y.factor, y.original_context, y.fast, y.slow) for kind, y in running.yarn.items()}
    return {kind: Rope(theta, stretches.get(kind)) for kind, theta in running.rope_theta.items()}


def _guarded(cache: DecoderCache | None) -> AbstractContextManager[None]:
    return nullcontext() if cache is None else cache.rewindable()


@torch.no_grad()
def in_pieces(
    model: Decoder | DecoderStack, x: Tensor, sizes: Sequence[int], cache: DecoderCache | None = None
) -> Tensor:
    """Read a prompt in chunks through one cache and return the joined outputs: `[n]` prefills, `[1] * n` decodes.

    Args:
        model: a decoder, or a stack.
        x: its input, (batch, tokens) or (batch, tokens, hidden).
        sizes: lengths of the chunks; they sum to the tokens.
        cache: with room for the tokens; None: a new one.

    Raises:
        ValueError: sizes that do not sum to the tokens.
    """
    if sum(sizes) != x.shape[1]:
        raise ValueError(f"chunks of {list(sizes)} tokens sum to {sum(sizes)}, not to {x.shape[1]}")
    cache = cache or model.new_cache(x.shape[0], x.shape[1])
    with _guarded(cache):
        return torch.cat([model(chunk, cache) for chunk in x.split(list(sizes), 1)], 1)


def allocated_bytes(model: arch.Model, tokens: Sequence[int], batch: int = 1) -> list[dict[str, int]]:
    """Return, by part, the bytes of the cache tensors that a model of full size makes for each context.

    The tensors are made on torch's meta device: real shapes and types, but no memory, so that any machine can ask.

    Args:
        model: e.g. `arch.load("mimo-v2.5-pro")`.
        tokens: contexts.
        batch: sequences.

    Raises:
        ValueError: a context or batch below 1.
    """
    with torch.device("meta"):
        decoder = Decoder(model)
    return [decoder.new_cache(batch, context).nbytes() for context in tokens]


@dataclass(frozen=True)
class Scale:
    """What each kind of dimension is divided by to make a toy; layers, their kinds and their order stay.

    With the defaults a token's cache shrinks 32 times and a window 8 times more.
    """

    hidden: int = 64  # divisor of the model's width
    heads: int = 4  # divisor of the numbers of query heads and of key heads, so 64:4:8 stays 16:1:2
    width: int = 8  # divisor of a head's width, its rotary part and its cached entry
    window: int = 8  # divisor of the tokens in a window
    inner: int = 64  # divisor of the width inside a feed-forward layer
    experts: int = 32  # divisor of the number of routed experts
    top_k: int = 4  # divisor of the experts that a token visits
    vocab: int = 32  # divisor of the vocabulary


def scaled(model: arch.Model, scale: Scale) -> arch.Model:
    """Return a model of full and sliding layers with every dimension divided, the list of layers unchanged.

    Args:
        model: the original.
        scale: divisors; each must divide its dimensions without remainder.

    Raises:
        ValueError: a dimension that does not divide, or a layer that is neither full nor sliding.
    """
    attention = {dims: _scaled_attention(dims, scale) for dims, _ in model.layers}
    ffn = {dims: _scaled_ffn(dims, scale) for _, dims in model.layers}
    rec = model.record
    hidden, vocab = _divided("hidden", rec.hidden, scale.hidden), _divided("vocab", rec.vocab, scale.vocab)
    record = dataclasses.replace(rec, name=f"{rec.name}, scaled down", hidden=hidden, vocab=vocab)
    return arch.Model(f"{model.key}-scaled", record, tuple((attention[a], ffn[f]) for a, f in model.layers))


def _divided(what: str, size: int, by: int) -> int:
    if by < 1 or size % by:
        raise ValueError(f"{what} = {size} does not divide by {by}")
    return size // by


def _scaled_attention(dims: arch.Attention, scale: Scale) -> arch.Attention:
    if not isinstance(dims, arch.FullAttention):
        raise ValueError(f"only full and sliding layers can be scaled down, not {type(dims).__name__}")
    divisors = dict.fromkeys(("qk_dim", "v_dim", "rope_dim"), scale.width)
    divisors |= {"heads": scale.heads, "kv_heads": scale.heads}
    if isinstance(dims, arch.SlidingWindow):
        divisors["window"] = scale.window
    if dims.gate_dim > 1:
        divisors["gate_dim"] = scale.width
    sizes: dict[str, Any] = {name: _divided(name, getattr(dims, name), by) for name, by in divisors.items()}
    entry = tuple((_divided("entry", count, scale.width), dtype) for count, dtype in dims.entry)
    return dataclasses.replace(dims, entry=entry, **sizes)


def _scaled_ffn(dims: FeedForward, scale: Scale) -> FeedForward:
    if isinstance(dims, arch.NoFeedForward):
        return dims
    inner = _divided("inner", dims.inner, scale.inner)
    if isinstance(dims, arch.Dense):
        return dataclasses.replace(dims, inner=inner)
    experts, top_k = _divided("experts", dims.experts, scale.experts), _divided("top_k", dims.top_k, scale.top_k)
    return dataclasses.replace(dims, experts=experts, top_k=top_k, inner=inner)
