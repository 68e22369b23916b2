"""Steps of many deployments at many contexts and batches at once: what a map on a slider asks for.

The same sums as `Deployment.decode`, `verify`, `draft` and `prefill`, as arrays; tests hold them equal.

>>> from costlab import roofline
>>> node = roofline.deployment("deepseek-v3", "h800", 32)
>>> grid = roofline.decode_grid([node], [4096, 32768])
>>> grid.largest(0.02)[0].tolist()  # sequences of each replica that a step of 20 ms has time for
[[101.0], [12.0]]
>>> node.decode(101 * 32, 4096).seconds < 0.02 < node.decode(102 * 32, 4096).seconds
True
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np

from costlab.arrays import ArrayLike, Floats
from costlab.checks import tokens_array, whole
from costlab.roofline.deployments import Deployment


@dataclass(frozen=True)
class PassGrid:
    """One pass over each sequence of a replica, or over each prompt: seconds by cause, (deployment, context)."""

    compute_s: Floats  # seconds of arithmetic per sequence
    read_s: Floats  # seconds of reading or writing its cache per sequence
    link_s: Floats  # seconds of sending per sequence
    dense_s: Floats  # seconds of reading the weights that every step reads
    expert_s: Floats  # seconds of reading one expert of every layer
    experts_held: Floats  # experts of each layer on a chip
    log_missed: Floats  # log of the chance that a sequence of each replica, all its tokens, miss an expert
    fixed_s: Floats  # seconds that hide behind nothing
    overlap: Floats  # 1 where the three hide behind one another, else 0

    def seconds(self, sequences: Floats) -> Floats:
        """Return the seconds of the pass with so many sequences on each replica, (deployment, context, …)."""
        more = (1,) * (sequences.ndim - 2)
        compute, read, link, dense, each, held, log_missed, fixed, overlap = (
            part.reshape(part.shape + more) for part in (getattr(self, name.name) for name in fields(self))
        )
        visited = np.maximum(np.minimum(held, 1.0), -held * np.expm1(sequences * log_missed))
        computing, sending = sequences * compute, sequences * link
        reading = dense + visited * each + sequences * read
        longest = np.maximum(np.maximum(computing, reading), sending)
        together: Floats = fixed + np.where(overlap > 0, longest, computing + reading + sending)
        return together


@dataclass(frozen=True)
class StepGrid:
    """Steps of several deployments at several contexts: of decoding, with a drafter's before it, or of prefill."""

    passes: tuple[PassGrid, ...]  # of a step, which follow one another
    most: Floats  # sequences of a context that a replica's memory holds, (deployment, context)
    replicas: Floats  # of each deployment, (deployment,)

    def seconds(self, sequences: ArrayLike) -> Floats:
        """Return the seconds of a step.

        Args:
            sequences: on each replica; (deployment, context, …), or a number for all.
        """
        given = np.asarray(sequences, dtype=np.float64)
        given = given if given.ndim >= 2 else np.broadcast_to(given, self.most.shape)
        total: Floats = np.asarray(sum(each.seconds(given) for each in self.passes))
        return total

    def largest(self, limit_s: ArrayLike) -> Floats:
        """Return the most sequences on a replica that memory holds and whose step takes at most so long; 0 where none.

        A step only grows with its sequences, so the whole grid is halved at once.

        Args:
            limit_s: seconds, a number or (limit,).

        Returns:
            Whole numbers, (deployment, context, limit).
        """
        # a step of just the limit is allowed, and sums of floats may be off in their last places
        limits = np.atleast_1d(np.asarray(limit_s, dtype=np.float64)) * (1 + 1e-9)
        low = np.zeros((*self.most.shape, limits.size))
        high = np.broadcast_to(self.most[..., None], low.shape)
        for _ in range(int(self.most.max(initial=0.0)).bit_length()):
            middle = np.ceil((low + high) / 2)
            fits = self.seconds(middle) <= limits
            low, high = np.where(fits, middle, low), np.where(fits, high, np.maximum(middle - 1, low))
        return low


def decode_grid(deployments: Sequence[Deployment], contexts: ArrayLike, length: int = 0) -> StepGrid:
    """Return the decode steps of deployments at contexts.

    Args:
        deployments: any, each with a drafter where `length` is above 0.
        contexts: tokens of each sequence, (context,).
        length: drafted tokens of a round, as in `Deployment.verify`; 0 is a plain decode step.

    Raises:
        ValueError: no deployment, contexts below 1, a negative length, a draft without drafter.
    """
    tokens = _contexts(deployments, contexts)
    if whole(length, "length") < 0:
        raise ValueError(f"length = {length} should be at least 0")
    if length and any(node.drafter is None for node in deployments):
        raise ValueError("a deployment has no drafter: give it one, e.g. drafter=arch.drafter('mtp', model)")
    counts = _Counts()
    rounds = [[counts.verify(node, tokens, length), *counts.drafts(node, tokens, length)] for node in deployments]
    passes = tuple(_stacked(each) for each in zip(*rounds, strict=True))
    return StepGrid(passes, *_room(deployments, tokens + length))


def prefill_grid(deployments: Sequence[Deployment], contexts: ArrayLike, prefixes: ArrayLike = 0) -> StepGrid:
    """Return the steps in which deployments read prompts: compute and memory, sending left out.

    The roofline's link sends each visit to an expert by itself, which alone takes longer than prefill was measured to
    take; a prompt's time is therefore a bound by arithmetic and memory (see `predict_rate`).

    Args:
        deployments: any.
        contexts: tokens to read of each prompt, (context,).
        prefixes: cached tokens before them; a number, or (context,).

    Raises:
        ValueError: no deployment, contexts below 1, prefixes below 0.
    """
    tokens = _contexts(deployments, contexts)
    cached = np.broadcast_to(tokens_array(prefixes, "prefix", 0), tokens.shape)
    counts = _Counts()
    passes = _stacked([counts.reading(node, tokens, cached) for node in deployments])
    return StepGrid((passes,), *_room(deployments, tokens + cached))


def _contexts(deployments: Sequence[Deployment], contexts: ArrayLike) -> Floats:
    if not deployments:
        raise ValueError("a grid needs at least one deployment")
    return np.atleast_1d(tokens_array(contexts, "context"))


def _room(deployments: Sequence[Deployment], tokens: Floats) -> tuple[Floats, Floats]:
    """Most sequences of each replica, as `Deployment.max_batch` counts them, and the replicas."""
    kept: dict[tuple[int, int], Floats] = {}
    for node in deployments:
        if (key := (id(node.model), node.tensor_parallel)) not in kept:
            kept[key] = np.asarray(sum(n * m.kv_bytes(tokens, node.tensor_parallel).resident for n, m in node.caching))
    rows = [node.free_bytes_per_chip / kept[id(node.model), node.tensor_parallel] for node in deployments]
    return np.maximum(0.0, np.floor(np.stack(rows))), np.array([float(node.replicas) for node in deployments])


class _Counts:
    """FLOPs and bytes of models at contexts, counted once for all deployments of a model."""

    def __init__(self) -> None:
        self.flops: dict[tuple[int, int, bytes], Mapping[str, Floats]] = {}
        self.bytes: dict[tuple[int, int, bytes, int], Floats] = {}

    def verify(self, node: Deployment, tokens: Floats, length: int) -> list[Floats]:
        """The pass of the model over the last known token and the drafted ones."""
        return self._pass(node, tokens, length + 1, None)

    def drafts(self, node: Deployment, tokens: Floats, length: int) -> list[list[Floats]]:
        """The passes of the drafter, one for each drafted token, as `Deployment.draft` counts them."""
        if node.drafting is None or node.drafter is None:
            return [_nothing(tokens)] * length
        rows = [node.drafter.rows(position, length) for position in range(length)]
        return [self._draft(node.drafting, tokens + position, n) for position, n in enumerate(rows)]

    def _draft(self, node: Deployment, tokens: Floats, rows: int) -> list[Floats]:
        """The drafter's pass over its last `rows` tokens; over all that a context has where these are fewer."""
        parts = self._pass(node, np.maximum(tokens - rows + 1, 1.0), rows, 1)
        for few in sorted({int(n) for n in tokens[tokens < rows]}):
            fewer = self._pass(node, np.ones_like(tokens), few, 1)
            parts = [np.where(tokens == few, less, part) for less, part in zip(fewer, parts, strict=True)]
        return parts

    def _pass(self, node: Deployment, tokens: Floats, rows: int, logits: int | None) -> list[Floats]:
        model, split = node.model, node.tensor_parallel
        key = (id(model), rows, tokens.tobytes())
        if key not in self.flops:
            self.flops[key] = model.decode_flops(tokens, rows, logits).by_component
        if (*key, split) not in self.bytes:
            self.bytes[*key, split] = model.decode_read_bytes(tokens, split, rows)
        sent_s = np.full_like(tokens, rows * node.sent_s)
        return _parts(node, self.flops[key], self.bytes[*key, split], sent_s, np.full_like(tokens, rows))

    def reading(self, node: Deployment, tokens: Floats, prefix: Floats) -> list[Floats]:
        """The pass over a prompt's tokens after others that are cached: both are read or written once."""
        model, split = node.model, node.tensor_parallel
        key = (id(model), 0, b"")
        if key not in self.flops:
            self.flops[key] = model.prefill_flops(tokens, prefix).by_component
        if (*key, split) not in self.bytes:
            self.bytes[*key, split] = model.kv_bytes(prefix + tokens, split).total
        return _parts(node, self.flops[key], self.bytes[*key, split], np.zeros_like(tokens), tokens)


def _parts(node: Deployment, flops: Mapping[str, Floats], moved: Floats, sent_s: Floats, rows: Floats) -> list[Floats]:
    """The parts of a pass in the order of `PassGrid`, each (context,)."""
    own_s = np.zeros_like(rows)
    for name in sorted(flops.keys() - {"experts"}):
        own_s = own_s + flops[name] * node.flop_s[name]
    visits_s = flops.get("experts", np.zeros_like(rows)) * node.flop_s.get("experts", 0.0) / node.balance
    layer = node.moe
    missed = 0.0 if layer is None else _log(1 - layer.top_k / layer.experts)
    even = (node.dense_read_bytes * node.byte_s, node.expert_bytes * node.byte_s, float(node.experts_held))
    return [
        own_s + visits_s * node.replicas,
        moved * node.byte_s,
        sent_s,
        *(np.full_like(rows, each) for each in even),
        rows * (missed * node.replicas),
        np.full_like(rows, node.fixed_s),
        np.full_like(rows, float(node.overlap)),
    ]


def _log(chance: float) -> float:
    return math.log(chance) if chance > 0 else -1e3


def _nothing(tokens: Floats) -> list[Floats]:
    """A pass that takes no time: of a drafter that looks tokens up."""
    return [np.zeros_like(tokens)] * (len(fields(PassGrid)) - 1) + [np.ones_like(tokens)]


def _stacked(rows: Sequence[list[Floats]]) -> PassGrid:
    return PassGrid(*(np.stack(column) for column in zip(*rows, strict=True)))


__all__ = ["PassGrid", "StepGrid", "decode_grid", "prefill_grid"]
