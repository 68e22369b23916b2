"""A small transformer that reads bytes, and heads that predict further ahead.

The transformer is Llama in small: RMSNorm, rotary positions, SwiGLU, no biases, an output head of its own.

>>> import torch
>>> model = ByteModel(ByteSize(layers=2, hidden=32, heads=4, inner=64, context=100)).eval()
>>> cache = model.new_cache(batch=2)
>>> texts = torch.tensor([[*b"cost"], [*b"lab "]])
>>> model(texts, cache, counts=[4, 3]).shape  # the second sequence brings three rows and a row of padding
torch.Size([2, 4, 256])
>>> cache.rewind([2, 3])  # the first takes back "st"
>>> cache.lengths
[2, 3]
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from costlab.nn.moe import SwiGLU
from costlab.nn.speculative.cache import RaggedCache, RowCache, RowPlaces

VOCABULARY = 256  # a token is a byte
THETA = 10_000.0  # base of the rotary wavelengths
EPSILON = 1e-6  # of the norms


@dataclass(frozen=True)
class ByteSize:
    """The dimensions of a transformer over bytes."""

    layers: int  # blocks
    hidden: int  # width of the residual
    heads: int  # of attention, each hidden / heads wide, with keys and values of its own
    inner: int  # width inside a feed-forward part
    context: int = 768  # tokens that it can read

    def __post_init__(self) -> None:
        if self.hidden % (2 * self.heads):
            raise ValueError(f"hidden = {self.hidden} should divide into {self.heads} heads of an even width")


class ByteAttention(nn.Module):
    """Causal attention with rotary positions, every head with keys and values of its own.

    Args:
        size: dimensions.
    """

    def __init__(self, size: ByteSize) -> None:
        super().__init__()
        self.heads = size.heads
        self.qkv = nn.Linear(size.hidden, 3 * size.hidden, bias=False)  # queries, keys and values in one product
        self.out = nn.Linear(size.hidden, size.hidden, bias=False)

    def forward(
        self, x: Tensor, turn: tuple[Tensor, Tensor], places: RowPlaces, cache: RowCache | None, layer: int
    ) -> Tensor:
        """Return what each row reads from the rows that it sees, shape (batch, rows, hidden).

        Args:
            x: normed rows, the same shape.
            turn: cosines and sines of the rows' rotary angles, each (batch or 1, 1, rows, width of a head).
            places: where the rows stand.
            cache: what came before; the rows are written to it.
            layer: which of the cache's layers this is.
        """
        batch, rows, hidden = x.shape
        qkv = self.qkv(x).view(batch, rows, 3, self.heads, -1).permute(2, 0, 3, 1, 4)  # (3, batch, heads, rows, width)
        (q, k), v = _turned(qkv[:2], *turn), qkv[2]
        if cache is not None:
            k, v = cache.append(layer, k, v, places)
        first = places.sees is None and rows > 1  # a prompt, or training
        read = F.scaled_dot_product_attention(q, k, v, places.sees, is_causal=first)
        return self.out(read.transpose(1, 2).reshape(batch, rows, hidden))


def _turned(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    # channel i makes a pair with channel i + width / 2
    left, right = x.chunk(2, -1)
    return x * cos + torch.cat([-right, left], -1) * sin


def rotary(size: ByteSize) -> tuple[Tensor, Tensor]:
    """Return cosine and sine of each position's angles, each (context, width of a head).

    Computed in float32 and in transformers' order of operations, so that the two agree to the last bit.

    Source: arXiv 2104.09864 eq. 34.
    """
    width = size.hidden // size.heads
    frequencies = 1.0 / THETA ** (torch.arange(0, width, 2).float() / width)
    angles = torch.arange(size.context).float()[:, None] * frequencies
    angles = torch.cat([angles, angles], -1)
    return angles.cos(), angles.sin()


class ByteBlock(nn.Module):
    """One layer: attention and feed-forward, each behind a norm and added to the residual.

    Args:
        size: dimensions.
    """

    def __init__(self, size: ByteSize) -> None:
        super().__init__()
        self.attention_norm = nn.RMSNorm(size.hidden, EPSILON)
        self.attention = ByteAttention(size)
        self.ffn_norm = nn.RMSNorm(size.hidden, EPSILON)
        self.ffn = SwiGLU(size.hidden, size.inner)

    def forward(
        self, x: Tensor, turn: tuple[Tensor, Tensor], places: RowPlaces, cache: RowCache | None, layer: int = 0
    ) -> Tensor:
        """Return the residual with what the layer adds, shape (batch, rows, hidden); arguments as `ByteAttention`'s."""
        x = x + self.attention(self.attention_norm(x), turn, places, cache, layer)
        return x + self.ffn(self.ffn_norm(x))


class Positioned(nn.Module):
    """What reads rows that follow those in a cache: it finds where they stand and refuses those that find no room.

    Args:
        size: dimensions.
    """

    cos: Tensor
    sin: Tensor

    def __init__(self, size: ByteSize) -> None:
        super().__init__()
        self.size = size
        for name, table in zip(("cos", "sin"), rotary(size), strict=True):
            self.register_buffer(name, table, persistent=False)

    def place(
        self,
        shape: tuple[int, int],
        cache: RowCache | None,
        counts: Sequence[int] | None,
        parents: Sequence[Sequence[int]] | None,
    ) -> RowPlaces:
        """Return where new rows stand.

        Args:
            shape: batch and rows of the input.
            cache: what came before.
            counts: rows of each sequence that are no padding; None: all.
            parents: of a tree's rows, one list per sequence; None: rows follow one another.

        Raises:
            ValueError: shapes that do not fit one another, or a row beyond the context or the cache's capacity.
        """
        batch, rows = shape
        starts = [0] * batch if cache is None else cache.lengths
        counts = [rows] * batch if counts is None or cache is None else counts  # without a cache all rows are alike
        if len(starts) != batch or len(counts) != batch or not all(0 <= count <= rows for count in counts):
            raise ValueError(f"{batch} x {rows} rows fit neither counts {list(counts)} nor {len(starts)} sequences")
        if parents is not None and (len(parents) != batch or any(len(tree) != rows for tree in parents)):
            raise ValueError(f"trees of {[len(tree) for tree in parents]} rows don't fit {batch} x {rows} rows")
        places = RowPlaces(starts, counts, rows, parents)
        room = self.size.context if cache is None else min(self.size.context, cache.capacity)
        if (end := max(places.ends)) > room:
            raise ValueError(f"the last row would be token {end:,}, but there is room for {room:,} tokens")
        return places

    def turn(self, places: RowPlaces) -> tuple[Tensor, Tensor]:
        """Return cosines and sines of the rows' angles, each (batch or 1, 1, rows, width of a head)."""
        if places.even and places.trees is None:
            at = slice(places.starts[0], places.starts[0] + places.rows)
            return self.cos[at], self.sin[at]
        positions = places.positions.clamp(max=self.size.context - 1)  # padding may stand beyond the last
        return self.cos[positions][:, None], self.sin[positions][:, None]


class ByteModel(Positioned):
    """A language model over bytes.

    Args:
        size: dimensions.
    """

    def __init__(self, size: ByteSize) -> None:
        super().__init__(size)
        self.embedding = nn.Embedding(VOCABULARY, size.hidden)
        self.blocks = nn.ModuleList(ByteBlock(size) for _ in range(size.layers))
        self.norm = nn.RMSNorm(size.hidden, EPSILON)
        self.head = nn.Linear(size.hidden, VOCABULARY, bias=False)

    def new_cache(self, batch: int = 1, capacity: int | None = None) -> RaggedCache:
        """Return an empty cache.

        Args:
            batch: sequences.
            capacity: tokens to make room for; None: the context.

        Raises:
            ValueError: no sequence, or no room.
        """
        return _new_cache(self.size, self.size.layers, batch, capacity, self.head.weight)

    def forward(
        self,
        tokens: Tensor,
        cache: RowCache | None = None,
        counts: Sequence[int] | None = None,
        parents: Sequence[Sequence[int]] | None = None,
    ) -> Tensor:
        """Return the logits of the token after each row, shape (batch, rows, vocabulary); arguments as `read`'s."""
        return self.logits(self.read(tokens, cache, counts, parents))

    def read(
        self,
        tokens: Tensor,
        cache: RowCache | None = None,
        counts: Sequence[int] | None = None,
        parents: Sequence[Sequence[int]] | None = None,
    ) -> Tensor:
        """Return the residual after the last block, shape (batch, rows, hidden): what the heads read.

        Args:
            tokens: bytes, shape (batch, rows); each sequence's follow those that it has in the cache.
            cache: what came before, updated; None: nothing came before and nothing is kept.
            counts: rows of each sequence that are no padding; None: all. Results of padding mean nothing.
            parents: the row above each row of a token tree, -1 where that is the cache's last token, one list per
                sequence; None: each row follows the one before it. A row stands as deep as its parent, plus one.

        Raises:
            ValueError: shapes that do not fit one another, or a row beyond the context or the cache's capacity; the
                cache is then as it was.
        """
        batch, rows = tokens.shape
        places = self.place((batch, rows), cache, counts, parents)
        turn = self.turn(places)
        x = self.embedding(tokens)
        for layer, block in enumerate(self.blocks):
            x = block(x, turn, places, cache, layer)
        if cache is not None:
            cache.grow(places)
        return x

    def logits(self, hidden: Tensor) -> Tensor:
        """Return the logits of the token after each row, shape (…, vocabulary).

        Args:
            hidden: from `read`, shape (…, hidden).
        """
        return self.head(self.norm(hidden))


def _new_cache(size: ByteSize, layers: int, batch: int, capacity: int | None, like: Tensor) -> RaggedCache:
    shape = (batch, size.heads, size.context if capacity is None else capacity, size.hidden // size.heads)
    return RaggedCache(layers, shape, like)


class MTPModule(Positioned):
    """The part that predicts one token further: two norms, a projection, one block and a last norm.

    Args:
        size: of the model that it belongs to.

    Source: arXiv 2412.19437 eq. 21-22.
    """

    def __init__(self, size: ByteSize) -> None:
        super().__init__(size)
        self.hidden_norm = nn.RMSNorm(size.hidden, EPSILON)
        self.token_norm = nn.RMSNorm(size.hidden, EPSILON)
        self.project = nn.Linear(2 * size.hidden, size.hidden, bias=False)
        self.block = ByteBlock(size)
        self.norm = nn.RMSNorm(size.hidden, EPSILON)

    def new_cache(self, batch: int = 1, capacity: int | None = None) -> RaggedCache:
        """Return an empty cache of its one block; arguments as `ByteModel.new_cache`'s."""
        return _new_cache(self.size, 1, batch, capacity, self.project.weight)

    def forward(
        self,
        hidden: Tensor,
        embedded: Tensor,
        cache: RaggedCache | None = None,
        counts: Sequence[int] | None = None,
    ) -> Tensor:
        """Return the rows' residual one depth further, shape (batch, rows, hidden).

        Args:
            hidden: the rows' residual from the model, or from the module of one depth less.
            embedded: the embedding of the token one further than that residual has read, the same shape.
            cache: the rows before, updated.
            counts: rows of each sequence that are no padding; None: all.

        Raises:
            ValueError: as `ByteModel.read`.
        """
        places = self.place((hidden.shape[0], hidden.shape[1]), cache, counts, None)
        x = self.project(torch.cat([self.hidden_norm(hidden), self.token_norm(embedded)], -1))
        x = self.block(x, self.turn(places), places, cache)
        if cache is not None:
            cache.grow(places)
        return x


class MTP(nn.Module):
    """Modules that predict two, three, … tokens ahead, one after another, with the model's own embedding and head.

    Row i of the model has read token i and predicts token i + 1. Module 1 joins that row's residual with token i + 1
    and predicts token i + 2; module 2 joins module 1's residual with token i + 2 and predicts token i + 3; and so on.

    Args:
        model: whose embedding and head they share; its weights are not part of this module's.
        depth: modules.

    Source: arXiv 2412.19437 sec. 2.2.
    """

    def __init__(self, model: ByteModel, depth: int = 3) -> None:
        super().__init__()
        if depth < 1:
            raise ValueError(f"depth = {depth} should be at least 1")
        self._model = (model,)  # a tuple hides it from PyTorch, or its weights would be saved twice
        self.ahead = nn.ModuleList(MTPModule(model.size) for _ in range(depth))

    @property
    def model(self) -> ByteModel:
        """The model whose embedding and head they share."""
        return self._model[0]

    def new_caches(self, batch: int = 1, capacity: int | None = None) -> list[RaggedCache]:
        """Return an empty cache per module; arguments as `ByteModel.new_cache`'s."""
        return [module.new_cache(batch, capacity) for module in self.ahead]  # type: ignore[operator]

    def read(
        self,
        depth: int,
        hidden: Tensor,
        tokens: Tensor,
        cache: RaggedCache | None = None,
        counts: Sequence[int] | None = None,
    ) -> Tensor:
        """Return the rows' residual after the module of a depth, shape (batch, rows, hidden).

        Args:
            depth: 1 for the first module.
            hidden: the rows' residual, of depth - 1: from `ByteModel.read` or from here.
            tokens: for row i token i + depth, shape (batch, rows).
            cache: of this module, updated.
            counts: rows of each sequence that are no padding; None: all.

        Raises:
            ValueError: as `ByteModel.read`.
        """
        return self.ahead[depth - 1](hidden, self.model.embedding(tokens), cache, counts)

    def logits(self, depth: int, hidden: Tensor) -> Tensor:
        """Return the logits of token i + depth + 1 for each row i, shape (…, vocabulary).

        Args:
            depth: 1 for the first module.
            hidden: that module's residual, shape (…, hidden).
        """
        return self.model.head(self.ahead[depth - 1].norm(hidden))  # type: ignore[operator]


@torch.no_grad()
def bits_by_position(model: ByteModel, text: bytes, length: int) -> Tensor:
    """Return the bits that a model needs for each byte of a text cut into pieces, shape (pieces, length - 1).

    Each piece is read by itself: column i is the byte after i + 1 bytes of context.

    Args:
        model: any.
        text: cut into whole pieces; what is left over is not read.
        length: bytes of a piece.

    Raises:
        ValueError: a text shorter than one piece.
    """
    if len(text) < length:
        raise ValueError(f"a text of {len(text):,} bytes is shorter than one piece of {length:,}")
    data = torch.frombuffer(bytearray(text), dtype=torch.uint8).long()
    pieces = data[: len(data) // length * length].view(-1, length).split(4)
    nats = [F.cross_entropy(model(piece[:, :-1]).transpose(1, 2), piece[:, 1:], reduction="none") for piece in pieces]
    return torch.cat(nats) / math.log(2)
