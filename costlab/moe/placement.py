"""Placement: which rank (one chip of an expert-parallel group) holds which expert, and which experts twice.

A layer waits for its busiest rank, so the measure is balancedness: mean load over maximum load, 1 at best. Popular
experts get further copies ("redundant experts"), which share their load evenly. The problem is the one that DeepSeek
published with its load balancer (github.com/deepseek-ai/EPLB); the method here: copies go where the load per copy is
highest, then ranks are filled heaviest first, then swaps lower the peak as long as one does.

>>> import numpy as np
>>> from costlab import moe
>>> loads = np.array([90, 132, 40, 61, 104, 165, 39, 4, 73, 56, 183, 86])
>>> round(moe.place(loads, ranks=8, redundant=4).balancedness(loads), 3)
0.932
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass

import numpy as np

from costlab.arrays import ArrayLike, Floats, Ints


@dataclass(frozen=True)
class Placement:
    """`slots` is [ranks, slots per rank]: the expert in each slot; an expert in several slots has copies."""

    slots: Ints

    @property
    def ranks(self) -> int:
        """Number of ranks."""
        return len(self.slots)

    @property
    def copies(self) -> Ints:
        """Slots per expert."""
        return np.bincount(self.slots.ravel()).astype(np.int64)

    def rank_loads(self, loads: ArrayLike) -> Floats:
        """Return the load of each rank, an expert's load spread evenly over its copies.

        Args:
            loads: load per expert.

        Raises:
            ValueError: loads for another number of experts.

        Chapter: moe
        """
        values = _checked_loads(loads)
        if values.size != self.copies.size:
            raise ValueError(f"{values.size} loads for a placement of {self.copies.size} experts")
        return np.asarray((values / self.copies)[self.slots].sum(axis=-1), dtype=np.float64)

    def balancedness(self, loads: ArrayLike) -> float:
        """Return mean over maximum rank load: the share of time that the average rank works; 1 without load.

        Args:
            loads: load per expert.

        Raises:
            ValueError: loads for another number of experts.

        Chapter: moe
        """
        per_rank = self.rank_loads(loads)
        return float(per_rank.mean() / per_rank.max()) if per_rank.max() > 0 else 1.0

    def check(self, experts: int) -> None:
        """Raise unless every expert has a slot.

        Raises:
            AssertionError: an expert without slot.

        Chapter: moe
        """
        assert self.copies.size == experts and self.copies.min() >= 1, "an expert has no slot"


def contiguous(experts: int, ranks: int) -> Placement:
    """Return the plain placement: expert 0, 1, … in order, equally many per rank, no copies.

    Raises:
        ValueError: experts that don't divide among the ranks.

    Chapter: moe
    """
    if ranks < 1 or experts < 1 or experts % ranks:
        raise ValueError(f"{experts} experts don't divide among {ranks} ranks")
    return Placement(np.arange(experts, dtype=np.int64).reshape(ranks, -1))


def place(loads: ArrayLike, ranks: int, redundant: int = 0, nodes: int = 1, groups: int = 1) -> Placement:
    """Place experts and `redundant` copies over ranks so that the busiest rank carries little.

    With several nodes and groups that divide among them, whole groups go to one node (hierarchical), so that
    group-limited routing sends a token to few nodes; otherwise every slot is open to every expert (global).

    Args:
        loads: load per expert, e.g. tokens in the last minutes.
        ranks: chips that share the experts.
        redundant: further copies in all.
        nodes: servers that the ranks divide into.
        groups: groups that the experts divide into.

    Raises:
        ValueError: slots that don't divide among ranks, ranks among nodes or experts among groups; a negative or
            endless load; fewer slots than experts.

    Chapter: moe
    """
    values = _checked_loads(loads)
    _check_divides(values.size, ranks, redundant, nodes, groups)
    if nodes == 1 or groups % nodes:
        return Placement(_place_global(values, np.arange(values.size), ranks, values.size + redundant))
    members = np.arange(values.size).reshape(groups, -1)
    node_of_group = _pack(values[members].sum(axis=-1), nodes)
    parts = [members[group_ids].ravel() for group_ids in node_of_group]
    share = (values.size + redundant) // nodes
    return Placement(np.concatenate([_place_global(values[m], m, ranks // nodes, share) for m in parts]))


def copies_by_load(loads: ArrayLike, slots: int) -> Ints:
    """Return copies per expert: one each, and every further slot to the highest load per copy (lower index wins).

    No other split of the slots has a lower highest load per copy.

    Args:
        loads: load per expert.
        slots: how many slots there are in all.

    Raises:
        ValueError: fewer slots than experts.

    Chapter: moe
    """
    values = _checked_loads(loads)
    if slots < values.size:
        raise ValueError(f"{slots} slots are too few for {values.size} experts")
    copies = np.ones(values.size, dtype=np.int64)
    heap = [(-load, expert) for expert, load in enumerate(values.tolist())]
    heapq.heapify(heap)
    for _ in range(slots - values.size):
        expert = heap[0][1]
        copies[expert] += 1
        heapq.heapreplace(heap, (-values[expert] / copies[expert], expert))
    return copies


def _checked_loads(loads: ArrayLike) -> Floats:
    values = np.asarray(loads, dtype=np.float64)
    if values.ndim != 1 or not values.size or not np.isfinite(values).all() or (values < 0).any():
        raise ValueError(f"loads of shape {values.shape} should be one finite number of at least 0 per expert")
    return values


def _check_divides(experts: int, ranks: int, redundant: int, nodes: int, groups: int) -> None:
    slots = experts + redundant
    if redundant < 0 or ranks < 1 or slots % ranks:
        raise ValueError(f"{experts} experts + {redundant} redundant = {slots} slots don't divide among {ranks} ranks")
    if nodes < 1 or ranks % nodes:
        raise ValueError(f"{ranks} ranks don't divide among {nodes} nodes")
    if groups < 1 or experts % groups:
        raise ValueError(f"{experts} experts don't divide into groups = {groups}")


def _place_global(loads: Floats, names: Ints, ranks: int, slots: int) -> Ints:
    copies = copies_by_load(loads, slots)
    owner = np.repeat(np.arange(loads.size), copies)  # the expert of each copy
    bins = _pack((loads / copies)[owner], ranks)
    return np.asarray(names[owner[np.array(bins)]], dtype=np.int64)


def _pack(weights: Floats, bins: int) -> list[list[int]]:
    """Split items into bins of equal count with a low heaviest bin: heaviest first, then swaps."""
    room = weights.size // bins
    filled: list[list[int]] = [[] for _ in range(bins)]
    lightest = [(0.0, b) for b in range(bins)]
    for item in np.argsort(-weights, kind="stable").tolist():
        load, b = heapq.heappop(lightest)
        filled[b].append(item)
        if len(filled[b]) < room:  # a full bin leaves the heap
            heapq.heappush(lightest, (load + weights[item], b))
    return _swap_down(weights, filled)


def _swap_down(weights: Floats, filled: list[list[int]]) -> list[list[int]]:
    """Swap items of the heaviest bin for lighter ones elsewhere while that lowers the higher of the two bins."""
    slots = np.array(filled)  # [bins, room]
    loads = weights[slots].sum(axis=-1)
    while True:
        top = int(np.argmax(loads))
        # gain[i, b, j]: what bin `top` loses when its item i changes places with item j of bin b
        gain = weights[slots[top]][:, None, None] - weights[slots][None]
        peak = np.maximum(loads[top] - gain, loads[None, :, None] + gain)
        peak[:, top] = np.inf
        i, b, j = np.unravel_index(int(np.argmin(peak)), peak.shape)
        if not peak[i, b, j] < loads[top] * (1 - 1e-12):
            return [row.tolist() for row in slots]
        slots[top, i], slots[b, j] = slots[b, j], slots[top, i]
        loads = weights[slots].sum(axis=-1)
