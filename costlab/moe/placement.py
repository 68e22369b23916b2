"""Placement: which rank (one chip of an expert-parallel group) holds which expert, and which experts twice.

A layer waits for its busiest rank, so the measure is balancedness: mean load over maximum load, 1 at best. Popular
experts get further copies ("redundant experts"), which share their load evenly. The problem is the one that DeepSeek
published with its load balancer (github.com/deepseek-ai/EPLB); the method here: copies go where the load per copy is
highest, they are dealt to the ranks in turn, the heaviest first, then changes of single slots lower the peak as long
as one does. Unlike there, no rank gets an expert twice: a second copy takes a slot and adds no place that could help.

>>> import numpy as np
>>> from costlab import moe
>>> loads = np.array([90, 132, 40, 61, 104, 165, 39, 4, 73, 56, 183, 86])
>>> round(moe.place(loads, ranks=8, redundant=4).balancedness(loads), 3)
0.932

Chapter: moe
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass

import numpy as np

from costlab.arrays import ArrayLike, Bools, Floats, Ints
from costlab.checks import whole


@dataclass(frozen=True)
class Placement:
    """Which expert each slot of each rank holds; an expert in several slots has copies."""

    slots: Ints  # expert in each slot, [ranks, slots per rank]

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
            ValueError: loads for another number of experts, or an expert without slot.
        """
        values = _checked_loads(loads)
        if values.size != self.copies.size:
            raise ValueError(f"{values.size} loads for a placement of {self.copies.size} experts")
        if not self.copies.all():
            raise ValueError(f"expert {int(np.argmin(self.copies))} has no slot: its load would be lost")
        return np.asarray((values / self.copies)[self.slots].sum(axis=-1), dtype=np.float64)

    def balancedness(self, loads: ArrayLike) -> float:
        """Return mean over maximum rank load: the share of time that the average rank works; 1 without load.

        Args:
            loads: load per expert.

        Raises:
            ValueError: loads for another number of experts.
        """
        per_rank = self.rank_loads(loads)
        return float(per_rank.mean() / per_rank.max()) if per_rank.max() > 0 else 1.0

    def check(self, experts: int) -> None:
        """Raise unless every expert has a slot.

        Raises:
            AssertionError: an expert without slot.
        """
        assert self.copies.size == experts and self.copies.min() >= 1, "an expert has no slot"


def contiguous(experts: int, ranks: int) -> Placement:
    """Return the plain placement: expert 0, 1, … in order, equally many per rank, no copies.

    Raises:
        ValueError: experts that don't divide among the ranks.
    """
    experts, ranks = whole(experts, "experts"), whole(ranks, "ranks")
    if ranks < 1 or experts < 1 or experts % ranks:
        raise ValueError(f"{experts} experts don't divide among {ranks} ranks")
    return Placement(np.arange(experts, dtype=np.int64).reshape(ranks, -1))


def place(loads: ArrayLike, ranks: int, redundant: int = 0, nodes: int = 1, groups: int = 1) -> Placement:
    """Place experts and `redundant` copies over ranks so that the busiest rank carries little.

    With several nodes and groups that divide among them, whole groups go to one node (hierarchical), so that
    group-limited routing sends a token to few nodes; otherwise every slot is open to every expert (global). No rank
    holds an expert twice.

    Args:
        loads: load per expert, e.g. tokens in the last minutes; all 0 where none is known yet.
        ranks: chips that share the experts.
        redundant: further copies in all.
        nodes: servers that the ranks divide into.
        groups: groups that the experts divide into.

    Raises:
        ValueError: slots that don't divide among ranks, ranks among nodes or experts among groups; a negative or
            endless load; more slots on a rank than experts that it may hold.
    """
    values = _checked_loads(loads)
    ranks, redundant = whole(ranks, "ranks"), whole(redundant, "redundant")
    nodes, groups = whole(nodes, "nodes"), whole(groups, "groups")
    per_rank = slots_per_rank(values.size, ranks, redundant)
    _check_nodes(values.size, ranks, nodes, groups)
    hierarchical = nodes > 1 and groups % nodes == 0
    if per_rank > (reach := values.size // (nodes if hierarchical else 1)):
        raise ValueError(f"{per_rank} slots per rank for {reach} experts: a rank needs each expert only once")
    if not hierarchical:
        return Placement(_place_global(values, np.arange(values.size), ranks, values.size + redundant))
    members = np.arange(values.size).reshape(groups, -1)
    groups_of_node = _pack(values[members].sum(axis=-1), np.ones(groups, dtype=np.int64), nodes)
    parts = members[groups_of_node].reshape(nodes, -1)
    share = per_rank * (ranks // nodes)
    return Placement(np.concatenate([_place_global(values[m], m, ranks // nodes, share) for m in parts]))


def slots_per_rank(experts: int, ranks: int, redundant: int = 0) -> int:
    """Return how many experts each rank holds, copies included.

    Args:
        experts: in the layer.
        ranks: chips that share them.
        redundant: further copies in all.

    Raises:
        ValueError: slots that don't divide among the ranks; the message says how many redundant experts would.
    """
    experts, ranks, redundant = whole(experts, "experts"), whole(ranks, "ranks"), whole(redundant, "redundant")
    if experts < 1 or ranks < 1 or redundant < 0:
        raise ValueError(f"{experts} experts + {redundant} redundant among {ranks} ranks: at least 1, 0 and 1")
    slots = experts + redundant
    if slots % ranks:
        what = f"{experts} experts + {redundant} redundant = {slots} slots" if redundant else f"{experts} experts"
        would = f"{redundant + -slots % ranks} redundant ones would make it {slots + -slots % ranks}"
        raise ValueError(f"{what} don't divide among {ranks} ranks; {would}")
    return slots // ranks


def copies_by_load(loads: ArrayLike, slots: int, most: int | None = None) -> Ints:
    """Return copies per expert: one each, and every further slot to the highest load per copy.

    Of equal loads per copy the expert with fewer copies wins, then the lower index. No other split of the slots has
    a lower highest load per copy.

    Args:
        loads: load per expert.
        slots: how many slots there are in all.
        most: copies that one expert may have: the ranks that can hold one. None: any number.

    Raises:
        ValueError: fewer slots than experts, or more than they may fill.
    """
    values, slots = _checked_loads(loads), whole(slots, "slots")
    if slots < values.size:
        raise ValueError(f"{slots} slots are too few for {values.size} experts")
    if most is not None and slots > values.size * most:
        raise ValueError(f"{slots} slots are too many for {values.size} experts of at most {most} copies each")
    copies = np.ones(values.size, dtype=np.int64)
    heap = [(-load, 1, expert) for expert, load in enumerate(values.tolist())]
    heapq.heapify(heap)
    while slots > copies.sum():
        _, count, expert = heapq.heappop(heap)
        if count != most:  # an expert that has a copy on every rank leaves the heap
            copies[expert] = count + 1
            heapq.heappush(heap, (-values[expert] / (count + 1), count + 1, expert))
    return copies


def _checked_loads(loads: ArrayLike) -> Floats:
    values = np.asarray(loads, dtype=np.float64)
    if values.ndim != 1 or not values.size or not np.isfinite(values).all() or (values < 0).any():
        raise ValueError(f"loads of shape {values.shape} should be one finite number of at least 0 per expert")
    return values


def _check_nodes(experts: int, ranks: int, nodes: int, groups: int) -> None:
    if nodes < 1 or ranks % nodes:
        raise ValueError(f"{ranks} ranks don't divide among {nodes} nodes")
    if groups < 1 or experts % groups:
        raise ValueError(f"{experts} experts don't divide into groups = {groups}")


def _place_global(loads: Floats, names: Ints, ranks: int, slots: int) -> Ints:
    return np.asarray(names[_pack(loads, copies_by_load(loads, slots, ranks), ranks)], dtype=np.int64)


def _pack(loads: Floats, copies: Ints, bins: int) -> Ints:
    """Spread each item's copies over different bins of equal room with a low heaviest bin; return [bins, room]."""
    order = np.argsort(-(loads / copies), kind="stable")
    line = np.repeat(order, copies[order].astype(np.intp))  # every copy, the heaviest first
    dealt = line.reshape(-1, bins).T  # in turn: an item's copies stand side by side, so they come to different bins
    return np.sort(_lower_peak(dealt, loads), axis=-1)


def _lower_peak(slots: Ints, loads: Floats) -> Ints:
    """Change slots of the heaviest bin while that lowers the highest load of the bins that a change makes heavier."""
    slots = slots.copy()
    while True:
        copies = np.bincount(slots.ravel()).astype(np.int64)
        each = loads / copies
        held = np.zeros((len(slots), loads.size), dtype=bool)
        np.put_along_axis(held, slots, True, axis=-1)
        weight = each[slots].sum(axis=-1)
        top = int(np.argmax(weight))
        swap = _peaks_of_swaps(slots, each, held, weight, top)
        give = _peaks_of_giving(slots, loads, copies, held, weight, top)
        if not min(swap.min(), give.min()) < weight[top] * (1 - 1e-12):
            return slots
        if swap.min() <= give.min():
            i, b, j = np.unravel_index(int(np.argmin(swap)), swap.shape)
            slots[top, i], slots[b, j] = slots[b, j], slots[top, i]
        else:
            i, item = np.unravel_index(int(np.argmin(give)), give.shape)
            slots[top, i] = item


def _peaks_of_swaps(slots: Ints, each: Floats, held: Bools, weight: Floats, top: int) -> Floats:
    """Return the higher load of two bins, [i, b, j], if slot i of bin `top` changes places with slot j of bin b."""
    mine = slots[top]
    gain = each[mine][:, None, None] - each[slots][None]
    peak = np.maximum(weight[top] - gain, weight[None, :, None] + gain)
    barred = held[:, mine].T[:, :, None] | held[top][slots][None]  # the other bin has that item already
    return np.where(barred, np.inf, peak)


def _peaks_of_giving(slots: Ints, loads: Floats, copies: Ints, held: Bools, weight: Floats, top: int) -> Floats:
    """Return the highest load that rises, [i, item], if slot i of bin `top` goes from a copy to another item."""
    mine = slots[top]
    fewer = np.maximum(copies[mine] - 1, 1)  # copies that share the load then
    others = np.where(held[:, mine] & (np.arange(len(slots)) != top)[:, None], weight[:, None], -np.inf).max(axis=0)
    risen = others + loads[mine] / fewer - (loads / copies)[mine]
    here = weight[top] - (loads / copies)[mine][:, None] + (loads / (copies + 1))[None]
    barred = (copies[mine] < 2)[:, None] | held[top][None]
    return np.where(barred, np.inf, np.maximum(here, risen[:, None]))
