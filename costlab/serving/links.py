"""The link that KV caches cross on their way from prefill to decode: how many bytes a prompt sends, when they arrive.

A piece takes a set-up time and its bytes over the bandwidth; those that cross at once share the bandwidth evenly. A
prompt is sent whole once it is read, chunk by chunk as each is read, or layer by layer while it is read.

>>> from costlab.serving.links import Link, SentBytes
>>> link = Link(bandwidth_bytes_s=171e9, latency_s=1.84e-3)
>>> sent = SentBytes.of("qwen3-235b-a22b", tensor_parallel=8)
>>> sent(32_768) / 1e9, round(link.alone_s(sent(32_768)) * 1e3, 1)
(12.616466432, 75.6)

Chapter: serving
"""

from __future__ import annotations

import heapq
import math
from collections import Counter, deque
from dataclasses import dataclass
from typing import Any, Literal

from costlab import arch
from costlab.arch import Entries, Model
from costlab.checks import count

#: When a prompt's cache is sent: once it is read, as each chunk is read, or layer by layer while a chunk is read.
Sending = Literal["whole", "chunks", "layers"]
SENDINGS: tuple[Sending, ...] = ("whole", "chunks", "layers")

#: Seconds of set-up of a transfer that planner and command line take: between the two published fits, 0.39 and 1.84 ms.
LINK_LATENCY_S = 1e-3


@dataclass(frozen=True)
class Link:
    """What a KV cache crosses between two workers.

    Raises:
        ValueError: a bandwidth that is not above 0, or a set-up that is negative or endless.
    """

    bandwidth_bytes_s: float  # bytes per second, shared by all that cross at once
    latency_s: float = 0.0  # seconds of set-up before the first byte of a piece
    layer_latency_s: float | None = None  # the same for a piece of one layer; None: as of any piece

    def __post_init__(self) -> None:
        if not 0 < self.bandwidth_bytes_s <= math.inf:
            raise ValueError(f"bandwidth_bytes_s = {self.bandwidth_bytes_s} should be above 0")
        for name in ("latency_s", "layer_latency_s"):
            value = getattr(self, name)
            if value is not None and not 0 <= value < math.inf:
                raise ValueError(f"{name} = {value} should be a finite number of at least 0")

    @property
    def layer_setup_s(self) -> float:
        """Seconds of set-up of one layer's piece."""
        return self.latency_s if self.layer_latency_s is None else self.layer_latency_s

    def alone_s(self, count_bytes: float) -> float:
        """Return the seconds that so many bytes take in one piece with the link to themselves."""
        return self.latency_s + count_bytes / self.bandwidth_bytes_s

    def visible_s(self, count_bytes: float, layers: int, compute_s: float) -> float:
        """Return the seconds from the end of a prefill to the arrival of its last layer, sent layer by layer.

        Args:
            count_bytes: of all layers, which are alike.
            layers: pieces.
            compute_s: of the prefill, during which the pieces become ready one after another.

        Returns:
            max(s, L s - (L-1) p) with s a layer's transfer and p its compute.

        Raises:
            ValueError: fewer than 1 layer.

        Source: the recursion end(l) = max(end(l-1), ready(l)) + s, solved for equal layers.
        """
        pieces = count(layers, "layers")
        each = self.layer_setup_s + count_bytes / pieces / self.bandwidth_bytes_s
        return max(each, pieces * each - (pieces - 1) * compute_s / pieces)


@dataclass(frozen=True)
class SentBytes:
    """Bytes that a prompt sends: what a decode worker's chips have to hold, copies of a KV head included.

    Where chips outnumber KV heads, or a latent lies whole on each chip, every chip gets its own copy: four KV heads on
    eight chips are sent twice. Windows, recurrent states and open blocks are sent as they stand, a cached prefix is
    not sent again.
    """

    growing: tuple[tuple[float, Entries], ...]  # (bytes per entry, entries) of what a prefix cache holds
    fixed: tuple[tuple[float, Entries], ...]  # the same of windows, recurrent states and the state of open blocks
    layers: int  # of the model

    @classmethod
    def of(cls, model: str | Model, tensor_parallel: int = 1) -> SentBytes:
        """Return the bytes of a model, received by a group of `tensor_parallel` chips.

        Raises:
            ValueError: an unknown model; a group that does not divide the query heads.
        """
        loaded = arch.load(model)
        group = count(tensor_parallel, "tensor_parallel")
        loaded.shares_on_chip(group)
        parts: dict[bool, dict[Entries, float]] = {True: {}, False: {}}
        for attention, layers in Counter(attention for attention, _ in loaded.layers).items():
            for store in attention.stores():
                size = layers * attention.cache_share(group) * group * store.bytes_per_entry
                held = parts[store.part in ("main", "index")]
                held[store.entries] = held.get(store.entries, 0.0) + size
        growing, fixed = (tuple((size, entries) for entries, size in parts[kind].items()) for kind in (True, False))
        return cls(growing, fixed, len(loaded.layers))

    @classmethod
    def per_token(cls, bytes_per_token: float, layers: int = 1) -> SentBytes:
        """Return the bytes of a cache that grows by so many per token.

        Raises:
            ValueError: a size that is negative or no finite number; fewer than 1 layer.
        """
        if not 0 <= bytes_per_token < math.inf:
            raise ValueError(f"bytes_per_token = {bytes_per_token} should be a finite number of at least 0")
        return cls(((float(bytes_per_token), Entries()),), (), count(layers, "layers"))

    def __call__(self, tokens: int, prefix: int = 0) -> float:
        """Return the bytes of a prompt of `tokens` tokens, of which decode has the first `prefix` already."""
        return self.between(prefix, tokens, last=True)

    def between(self, start: int, end: int, last: bool) -> float:
        """Return the bytes that a piece of a prompt adds: tokens `start` to `end`; with the last one, what is fixed."""
        size = 0.0
        for each, entries in self.growing:
            size += each * max(_entries(entries, end) - _entries(entries, start), 0)
        if last:
            for each, entries in self.fixed:
                size += each * _entries(entries, end)
        return size


def _entries(entries: Entries, tokens: int) -> int:
    """`Entries.at` of one count, without an array."""
    if entries.restarts and entries.cap is not None:
        return (tokens - 1) % entries.cap + 1 if tokens else 0
    there = tokens // entries.stride
    return there if entries.cap is None else min(there, entries.cap)


class Pieces:
    """Equal pieces that become ready at regular intervals: one whole prompt, one chunk, or the layers of a chunk."""

    __slots__ = ("count", "each_bytes", "interval_s", "ready_s", "setup_s")

    def __init__(
        self, count_bytes: float, ready_s: float, setup_s: float, pieces: int = 1, interval_s: float = 0.0
    ) -> None:
        self.count = pieces
        self.each_bytes = count_bytes / pieces
        self.ready_s, self.interval_s, self.setup_s = ready_s, interval_s, setup_s

    def skip(self, pieces: int) -> None:
        """Take the first `pieces` pieces off."""
        self.count -= pieces
        self.ready_s += pieces * self.interval_s


class Transfer:
    """A prompt's cache on its way; `key` is the caller's."""

    __slots__ = ("begun_s", "draining", "end_s", "key", "left", "live", "open", "total_bytes", "working")

    def __init__(self, key: Any) -> None:
        self.key = key
        self.left: deque[Pieces] = deque()  # pieces to send, the one under way included
        self.total_bytes = 0.0
        self.open = True  # whether more is to come
        self.live = True  # neither arrived nor cancelled
        self.working = False  # whether a piece is under way
        self.draining = False  # whether it draws bandwidth
        self.begun_s = 0.0  # when its latest pieces were posted, s
        self.end_s = math.inf  # when it arrived, or will if nothing else comes, s


class SharedLink:
    """What crosses one link at a time: an exact process of events, re-timed whenever a piece starts or ends.

    With `jumps` a transfer that has the link to itself is summed in closed form; without, piece by piece.

    Bandwidth is shared in virtual time: the bytes that each transfer under way has got since the link was last idle.
    A piece ends when virtual time has grown by its bytes, so a start or an end costs the logarithm of those under way.
    """

    def __init__(self, link: Link, jumps: bool = True) -> None:
        self.link, self.jumps = link, jumps
        self.carried_bytes = 0.0  # of pieces that have arrived
        self._clock = 0.0
        self._virtual = 0.0
        self._crossing = 0  # transfers neither arrived nor cancelled
        self._draining = 0  # of them, those that draw bandwidth now
        self._serial = 0
        self._setting_up: list[tuple[float, int, Transfer]] = []  # (end of set-up, serial, transfer)
        self._sending: list[tuple[float, int, Transfer]] = []  # (virtual time of its end, serial, transfer)
        self._arrived: list[Transfer] = []  # that nobody was told of yet
        self._alone: Transfer | None = None  # the one transfer, whose end is known in closed form

    @property
    def under_way(self) -> int:
        """Transfers that are not cancelled, and of whose arrival nobody was told."""
        return self._crossing + len(self._arrived)

    # --- post, extend, cancel --------------------------------------------------------------------------------

    def post(self, now: float, key: Any, pieces: Pieces, last: bool = True) -> Transfer:
        """Start a transfer at time `now`; with `last`, all of it is known, else `extend` brings more."""
        transfer = Transfer(key)
        self._crossing += 1
        self.extend(now, transfer, pieces, last)
        return transfer

    def extend(self, now: float, transfer: Transfer, pieces: Pieces, last: bool) -> None:
        """Add pieces to a transfer, which are sent after those that it has."""
        self._catch_up(now)
        transfer.total_bytes += pieces.count * pieces.each_bytes
        transfer.open = not last
        transfer.left.append(pieces)
        if self.jumps and self._crossing == 1 and not transfer.working:
            self._alone, transfer.working, transfer.begun_s = transfer, True, now
            transfer.end_s = self._end_alone(pieces, now)
            return
        self._part(now)
        if not transfer.working:
            self._next_piece(transfer, now)

    def cancel(self, now: float, transfer: Transfer) -> None:
        """Take a transfer off the link, also one that arrives at this very moment, if nobody was told."""
        self._catch_up(now)
        if not transfer.live:
            if transfer in self._arrived:
                self._arrived.remove(transfer)
            return
        self._part(now)
        transfer.live = False
        self._crossing -= 1
        if transfer.draining:
            self._draining -= 1
            transfer.draining = False
        if not self._draining:
            self._sending.clear()
            self._virtual = 0.0

    # --- time ------------------------------------------------------------------------------------------------

    def next_s(self) -> float:
        """Return when something happens next on the link, if nothing else comes; infinity if nothing will."""
        if self._arrived:
            return self._clock
        if self._alone is not None:
            return self._alone.end_s
        return min(self._next_set_up(), self._next_sent()) if self._crossing else math.inf

    def advance(self, now: float) -> list[Transfer]:
        """Go on to time `now` and return the transfers that have arrived, in order."""
        self._catch_up(now)
        arrived, self._arrived = self._arrived, []
        return arrived

    def _catch_up(self, now: float) -> None:
        if self._alone is not None:
            self._catch_up_alone(self._alone, now)
            return
        while self._crossing:
            set_up, sent = self._next_set_up(), self._next_sent()
            if min(set_up, sent) > now:
                break
            if sent <= set_up:
                self._end_piece(sent)
            else:
                self._start_piece(set_up)
        self._move(now)

    def _next_set_up(self) -> float:
        heap = self._setting_up
        while heap and not heap[0][2].live:
            heapq.heappop(heap)
        return heap[0][0] if heap else math.inf

    def _next_sent(self) -> float:
        heap = self._sending
        while heap and not heap[0][2].live:
            heapq.heappop(heap)
        if not heap:
            return math.inf
        return self._clock + (heap[0][0] - self._virtual) * self._draining / self.link.bandwidth_bytes_s

    def _move(self, now: float) -> None:
        if now > self._clock:
            if self._draining:
                self._virtual += (now - self._clock) * self.link.bandwidth_bytes_s / self._draining
            self._clock = now

    def _start_piece(self, now: float) -> None:
        self._move(now)
        transfer = heapq.heappop(self._setting_up)[2]
        self._send(transfer, transfer.left[0].each_bytes)

    def _send(self, transfer: Transfer, count_bytes: float) -> None:
        transfer.draining = True
        self._draining += 1
        self._serial += 1
        heapq.heappush(self._sending, (self._virtual + count_bytes, self._serial, transfer))

    def _end_piece(self, now: float) -> None:
        self._move(now)
        self._virtual, _, transfer = heapq.heappop(self._sending)
        transfer.draining = False
        self._draining -= 1
        if not self._draining:
            self._virtual = 0.0
        pieces = transfer.left[0]
        self.carried_bytes += pieces.each_bytes
        pieces.skip(1)
        if not pieces.count:
            transfer.left.popleft()
        self._next_piece(transfer, now)

    def _next_piece(self, transfer: Transfer, now: float) -> None:
        """Set the next piece up as soon as it is ready; without one the transfer has arrived, or waits for more."""
        transfer.working = bool(transfer.left)
        if transfer.left:
            pieces = transfer.left[0]
            self._set_up(transfer, max(now, pieces.ready_s) + pieces.setup_s)
        elif not transfer.open:
            self._arrive(transfer, now)

    def _set_up(self, transfer: Transfer, end_s: float) -> None:
        self._serial += 1
        heapq.heappush(self._setting_up, (end_s, self._serial, transfer))

    def _arrive(self, transfer: Transfer, now: float) -> None:
        transfer.live = transfer.working = False
        transfer.end_s = now
        self._crossing -= 1
        self._arrived.append(transfer)

    # --- one transfer alone, in closed form --------------------------------------------------------------------

    def _catch_up_alone(self, transfer: Transfer, now: float) -> None:
        if transfer.end_s <= now:
            self._alone = None
            pieces = transfer.left.popleft()
            self.carried_bytes += pieces.count * pieces.each_bytes
            self._next_piece(transfer, transfer.end_s)
        self._clock = max(self._clock, now)

    def _end_alone(self, pieces: Pieces, now: float) -> float:
        """Return when the last of equal pieces arrives."""
        return self._start_alone(pieces, now, pieces.count - 1) + self._piece_s(pieces)

    def _piece_s(self, pieces: Pieces) -> float:
        return pieces.setup_s + pieces.each_bytes / self.link.bandwidth_bytes_s

    def _start_alone(self, pieces: Pieces, begun: float, index: int) -> float:
        """When a piece starts: behind all before it without a pause, or as soon as it is ready itself."""
        queued = max(begun, pieces.ready_s) + index * self._piece_s(pieces)
        return max(queued, pieces.ready_s + index * pieces.interval_s)

    def _part(self, now: float) -> None:
        """Give up the closed form: leave the one transfer as it stands at time `now`, its current piece half sent."""
        transfer, self._alone = self._alone, None
        if transfer is None:
            return
        pieces = transfer.left[0]
        sent = self._sent_alone(pieces, transfer.begun_s, now)
        start = self._start_alone(pieces, transfer.begun_s, sent)
        self.carried_bytes += sent * pieces.each_bytes
        pieces.skip(sent)
        if now < start + pieces.setup_s:
            self._set_up(transfer, start + pieces.setup_s)
        else:
            got = (now - start - pieces.setup_s) * self.link.bandwidth_bytes_s
            self._send(transfer, max(0.0, pieces.each_bytes - got))

    def _sent_alone(self, pieces: Pieces, begun: float, now: float) -> int:
        """Return how many pieces of a transfer alone on the link have arrived by `now`; the last has not."""
        each, passed = self._piece_s(pieces), now - max(begun, pieces.ready_s)
        queued = passed / each if each else math.inf
        waited = (now - each - pieces.ready_s) / pieces.interval_s + 1 if pieces.interval_s else math.inf
        return max(0, math.floor(min(queued, waited, pieces.count - 1)))
