"""What all attention kinds share: a softmax over several sets of keys, a top-k that breaks ties, two base classes.

Chapter: attention
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from costlab.nn.attention.kv import Cache, KVTable, RingBuffer
from costlab.nn.attention.rope import Pairing, Rope, rotate

_EPS = 1e-6
Keys = TypeVar("Keys")


@dataclass(frozen=True)
class KeySet:
    """Keys and values that queries read, and which of them each may see."""

    keys: Tensor  # shape (batch, n, width), the same for every query; or (batch, queries, n, width), chosen by each
    values: Tensor  # the same with the values' width
    visible: Tensor | None = None  # shape (queries, n) or (batch, queries, n); None: all


def attend(q: Tensor, sets: Sequence[KeySet], scale: float, sink: Tensor | None = None) -> Tensor:
    """Return softmax-weighted values, one softmax over all sets and the sink.

    Args:
        q: shape (batch, queries, heads, width); heads share the keys.
        sets: what to read; empty sets are left out.
        scale: factor on the dot products.
        sink: one logit per head, shape (heads,) or (batch, 1, heads), that takes weight and gives no value.

    Returns:
        shape (batch, queries, heads, values' width).

    Source: arXiv 2606.19348 eq. 26-27 (sink).
    """
    filled = [s for s in sets if s.keys.shape[-2]]
    shares = weigh(q, filled, scale, sink)
    terms = [_product(share, s.values) for share, s in zip(shares, filled, strict=True)]
    return torch.stack(terms).sum(0) if len(terms) > 1 else terms[0]


def weigh(q: Tensor, sets: Sequence[KeySet], scale: float, sink: Tensor | None = None) -> list[Tensor]:
    """Return the weights that `attend` gives to each set, shape (batch, queries, heads, n); with a sink they miss 1.

    Args:
        q: shape (batch, queries, heads, width).
        sets: what to read.
        scale: factor on the dot products.
        sink: one logit per head, shape (heads,) or (batch, 1, heads).

    Source: arXiv 2606.19348 eq. 26-27 (sink).
    """
    logits = [_logits(q * scale, s) for s in sets]
    if sink is not None:
        logits.append(sink.to(q.dtype)[..., None].expand(*q.shape[:-1], 1))
    joint = torch.cat(logits, -1) if len(logits) > 1 else logits[0]
    weights = joint.softmax(-1, dtype=torch.promote_types(q.dtype, torch.float32)).to(q.dtype)
    return list(weights.split([piece.shape[-1] for piece in logits], -1)[: len(sets)])


def _logits(q: Tensor, keys: KeySet) -> Tensor:
    logits = _product(q, keys.keys.mT)  # (batch, queries, heads, n)
    if keys.visible is None:
        return logits
    return logits.masked_fill(~keys.visible[..., :, None, :], float("-inf"))


def _product(left: Tensor, right: Tensor) -> Tensor:
    """Multiply (batch, queries, heads, a) by (batch, a, b), or by (batch, queries, a, b)."""
    if right.dim() == 4:
        return left @ right
    return (left.flatten(1, 2) @ right).unflatten(1, left.shape[1:3])  # (batch, queries, heads, b)


def unordered_top_k(scores: Tensor, k: int) -> Tensor:
    """Return the places of the k best scores, the earlier place winning a tie; their order is not defined.

    `torch.topk` takes any of equal scores, and which depends on shape and machine. Rows where that matters are
    chosen again, by keys that no two places share; in a graph, which cannot ask whether any does, a stable sort does.

    Args:
        scores: shape (…, n); -inf marks places that are not to be read, and fills up rows with fewer than k others.
        k: how many, at most n.

    Returns:
        whole numbers, shape (…, k).
    """
    if torch.compiler.is_compiling():
        return scores.sort(dim=-1, descending=True, stable=True).indices[..., :k]
    values, places = scores.topk(k, sorted=False)
    least = values.amin(-1, keepdim=True)
    left_out = (scores == least).sum(-1) > (values == least).sum(-1)
    tied = left_out & (least[..., 0] > float("-inf"))
    if tied.any():
        places[tied] = _unique_keys(scores[tied]).topk(k, sorted=False).indices
    return places


def _unique_keys(scores: Tensor) -> Tensor:
    """Return whole numbers that rank as float32 scores do, and equal scores by place."""
    bits = (scores.float() + 0.0).view(torch.int32)  # + 0.0 makes -0.0 equal to 0.0
    ordered = torch.where(bits < 0, bits ^ 0x7FFFFFFF, bits).long()  # whole numbers in the order of the floats
    return (ordered << 32) - torch.arange(scores.shape[-1], device=scores.device)


class RMSNorm(nn.Module):
    """Divides by the root mean square, then scales each channel; `width=None` leaves the scale out."""

    def __init__(self, width: int | None) -> None:
        super().__init__()
        self.weight = None if width is None else nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        """Return x, shape (…, width), normalised in at least float32.

        Source: arXiv 1910.07467 eq. 4.
        """
        return F.rms_norm(x, x.shape[-1:], self.weight, _EPS)


@dataclass(frozen=True)
class Span:
    """Positions start … stop-1 of consecutive tokens, as numbers and as a tensor.

    Numbers read back from the tensor would make a GPU wait, and could not be traced into a graph.
    """

    start: int  # first position
    stop: int  # one after the last position
    at: Tensor  # all of them, shape (stop-start,)

    @staticmethod
    def of(start: int, stop: int, device: torch.device) -> Span:
        """Return the span of two positions."""
        return Span(start, stop, torch.arange(start, stop, device=device))

    @property
    def count(self) -> int:
        """How many positions; `len` of it, or of a tensor, would be one number in a graph for prompts of any length."""
        return self.stop - self.start


@dataclass(frozen=True)
class Window:
    """Entries of recent tokens, some of which each query may read."""

    entries: Tensor  # shape (…, n, width)
    # position of the first entry, the others following in order; None: just the ones to read, in any order
    first: int | None
    size: int  # tokens back that a query looks, itself included

    def near(self, positions: Span) -> tuple[Tensor, Tensor | None]:
        """Return the entries that consecutive queries may read, and which each may see.

        Args:
            positions: of the queries.

        Returns:
            entries, shape (…, n, width), and visibility, shape (queries, n), or None: all.
        """
        if self.first is None:
            return self.entries, None
        low = max(positions.start - self.size + 1, self.first)
        entries = self.entries[..., low - self.first : positions.stop - self.first, :]
        return entries, causal(positions, low, positions.stop, self.size)


def causal(positions: Span, low: int, stop: int, window: int | None = None) -> Tensor | None:
    """Return which keys at positions low … stop-1 each query sees, shape (queries, n); None for a single query.

    Args:
        positions: of the queries.
        low: first key.
        stop: one after the last key.
        window: how many tokens back a query looks, itself included; None: all.
    """
    if positions.count == 1:
        return None
    keys, at = torch.arange(low, stop, device=positions.at.device), positions.at[:, None]
    past = keys <= at
    return past if window is None else past & (keys > at - window)


def remember_window(ring: RingBuffer, new: Tensor) -> Window:
    """Push new entries into a window's ring and return what the queries of these tokens read.

    Args:
        ring: the window.
        new: entries of consecutive tokens, shape (*lead, n, width).
    """
    if new.shape[-2] == 1:
        ring.append(new)
        return Window(ring.read_all(new.dtype), None, ring.slots)
    before = min(ring.length, ring.slots - 1)
    first = ring.length - before
    entries = torch.cat([ring.last(before, new.dtype), ring.format.round_trip(new)], -2)
    ring.append(new)
    return Window(entries, first, ring.slots)


class CachedLayer(nn.Module, ABC):
    """One layer that mixes tokens: `forward` reads new ones, all of a prompt or a single one, and remembers them.

    Args:
        hidden: width of its input and output.

    Attributes:
        query_block: tokens that are worked on at once, at most.
        flags: what of its dimensions that some models have and most don't it runs too.
    """

    query_block: int = 128
    flags: frozenset[str] = frozenset()

    def __init__(self, hidden: int) -> None:
        super().__init__()
        if hidden < 1:
            raise ValueError(f"hidden = {hidden} should be at least 1")
        self.hidden = hidden

    def new_cache(self, batch: int = 1, capacity: int = 4096) -> Cache:
        """Return an empty cache on this layer's device.

        Args:
            batch: sequences, all of one length.
            capacity: tokens to make room for.

        Raises:
            ValueError: no sequence, or no room.
        """
        if batch < 1 or capacity < 1:
            raise ValueError(f"a cache needs batch >= 1 and capacity >= 1, got {batch} and {capacity}")
        device = next(self.parameters()).device
        return Cache(self._tables(batch, capacity, device), batch, capacity)

    def forward(self, hidden: Tensor, cache: Cache | None = None) -> Tensor:
        """Read tokens that follow those in the cache, and return what each attends to.

        Args:
            hidden: shape (batch, tokens, hidden); a prompt, a piece of one, or one new token.
            cache: what came before, updated in place; None: nothing came before and nothing is kept.

        Returns:
            shape (batch, tokens, hidden).

        Raises:
            ValueError: a shape that does not fit, or more tokens than the cache has room for. After any error the
                cache is as it was.
        """
        self._check(hidden, cache)
        if cache is None:
            return self._read(hidden, self.new_cache(hidden.shape[0], hidden.shape[1]))
        with cache.rewindable():
            return self._read(hidden, cache)

    def _check(self, hidden: Tensor, cache: Cache | None) -> None:
        if not isinstance(hidden, Tensor):
            raise ValueError(
                f"hidden should be one tensor (batch, tokens, {self.hidden}), got {type(hidden).__name__}; "
                "sequences of mixed lengths need a cache each"
            )
        if hidden.dim() != 3 or hidden.shape[-1] != self.hidden or not hidden.numel():
            raise ValueError(f"hidden {tuple(hidden.shape)} should be (batch, tokens, {self.hidden}), none of them 0")
        if cache is not None and cache.batch != hidden.shape[0]:
            raise ValueError(f"hidden {tuple(hidden.shape)} has another batch than its cache, {cache.batch}")

    @abstractmethod
    def _tables(self, batch: int, capacity: int, device: torch.device) -> Mapping[str, KVTable]:
        """Return empty storage by part."""

    @abstractmethod
    def _read(self, hidden: Tensor, cache: Cache) -> Tensor:
        """Return the output of new tokens, shape (batch, tokens, hidden), after counting and storing them."""


class AttentionLayer(CachedLayer, Generic[Keys]):
    """A layer whose queries read keys and values of earlier tokens.

    Args:
        hidden: width of its input and output.
        rope: its rotary embedding.

    Attributes:
        float_budget: numbers that the logits and gathered keys of a block of queries may take at once.
    """

    float_budget: int = 2**24

    def __init__(self, hidden: int, rope: Rope) -> None:
        super().__init__(hidden)
        self.rope = rope

    def _read(self, hidden: Tensor, cache: Cache) -> Tensor:
        start = cache.length
        cache.advance(hidden.shape[1])
        positions = Span.of(start, cache.length, hidden.device)
        keys = self._remember(hidden, positions, cache)
        block = max(1, min(self.query_block, self.float_budget // self._floats_per_query(cache.length)))
        if positions.count <= block:
            return self._attend(hidden, positions, keys)
        firsts = range(start, cache.length, block)
        spans = [Span(first, first + len(at), at) for first, at in zip(firsts, positions.at.split(block), strict=True)]
        outputs = [self._attend(h, s, keys) for h, s in zip(hidden.split(block, 1), spans, strict=True)]
        return torch.cat(outputs, 1)  # (batch, tokens, hidden)

    @abstractmethod
    def _remember(self, hidden: Tensor, positions: Span, cache: Cache) -> Keys:
        """Store what new tokens leave behind and return what their queries read."""

    @abstractmethod
    def _attend(self, hidden: Tensor, positions: Span, keys: Keys) -> Tensor:
        """Return the output, shape (batch, queries, hidden), of some consecutive tokens."""

    @abstractmethod
    def _floats_per_query(self, tokens: int) -> int:
        """Return the logits and gathered values that one query needs when `tokens` tokens are there."""

    def _turn(self, x: Tensor, positions: Tensor, width: int, pairing: Pairing, last: bool = True) -> Tensor:
        """Rotate channels of x, shape (batch, n, width) or (batch, n, heads, width)."""
        angles = self.rope.angles(positions, width)
        return rotate(x, angles if x.dim() == 3 else angles[:, None], pairing, last)


def linear(inputs: int, outputs: int) -> nn.Linear:
    """Return a matrix without bias, inputs -> outputs."""
    return nn.Linear(inputs, outputs, bias=False)


def check_rotary(rope_dim: int, width: int, what: str) -> None:
    """Check that a head can rotate `rope_dim` of its `width` channels.

    Raises:
        ValueError: an odd or too large number.
    """
    if rope_dim % 2 or not 0 < rope_dim <= width:
        raise ValueError(f"rope_dim = {rope_dim} should be even and at most {what} = {width}")
