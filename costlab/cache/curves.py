"""The hit rate of LRU at every capacity, from one pass over the references.

LRU is a stack: what a cache of n blocks holds, one of n + 1 blocks holds too. So each reference has one number, its
stack distance: how many other blocks were touched since it was touched last. It hits in every cache that holds more
blocks than that, and misses in the others. Counting the distances gives the whole curve (Mattson et al. 1970).

Chapter: cache
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from costlab.arrays import ArrayLike, Bools, Floats, Ints
from costlab.traces import Request


@dataclass(frozen=True, eq=False)
class LruCurve:
    """Hits of an LRU cache at all capacities."""

    references: int  # references to blocks
    unique: int  # different blocks among them
    within: Ints  # of each capacity c in blocks, how many references hit where c blocks fit, [largest distance + 2]

    def hits(self, capacity: float) -> int:
        """Return how many references hit in a cache of `capacity` blocks; math.inf is unlimited.

        Raises:
            ValueError: a negative capacity.
        """
        return int(self._hits(capacity))

    def hit_rate(self, capacities: ArrayLike) -> Floats:
        """Return the share of references that hit, for each capacity in blocks; 0 of no references is 0.

        Raises:
            ValueError: a negative capacity.
        """
        return self._hits(capacities) / max(self.references, 1)

    def capacity_for(self, hit_rate: float) -> int:
        """Return the fewest blocks c for which `hit_rate(c)` reaches a hit rate.

        Raises:
            ValueError: a rate that no capacity reaches.
        """
        rates = self.hit_rate(np.arange(self.within.size))  # compared as they are reported: counts would round anew
        if not 0 <= hit_rate <= rates[-1]:
            found = f"{self.within[-1]} of {self.references} references in an unlimited cache"
            raise ValueError(f"hit rate {hit_rate}: should be between 0 and {rates[-1]:.4f}, {found}")
        return int(np.searchsorted(rates, hit_rate))

    def _hits(self, capacities: ArrayLike) -> Ints:
        blocks = np.asarray(capacities, dtype=np.float64)
        if not (blocks >= 0).all():
            raise ValueError(f"capacity {capacities!r} should be a number of blocks of at least 0")
        return np.asarray(self.within[np.minimum(blocks, self.within.size - 1).astype(np.int64)])


def lru_curve(references: ArrayLike | Iterable[Request]) -> LruCurve:
    """Return the hits of LRU at all capacities.

    Args:
        references: ids of the blocks in the order in which they are touched, or requests, whose prompts' blocks are
            touched in order.

    Raises:
        ValueError: ids that are not whole numbers in one row.

    Source: Mattson, Gecsei, Slutz, Traiger, "Evaluation techniques for storage hierarchies", IBM Systems Journal
    9(2), 1970.
    """
    keys = references if isinstance(references, np.ndarray) else _keys(references)
    distances = stack_distances(keys)
    within = np.concatenate([[0], np.cumsum(np.bincount(distances))]).astype(np.int64)
    return LruCurve(keys.size, keys.size - distances.size, within)


def block_ids(requests: Iterable[Request]) -> Ints:
    """Return the ids of all blocks of all prompts, in the order in which they are touched.

    Ids of 64 bits without a sign, as hashes often are, keep their bits: only which of them are equal matters.
    """
    flat = itertools.chain.from_iterable(request.blocks for request in requests)
    return np.fromiter((each if each < 2**63 else each - 2**64 for each in flat), dtype=np.int64)


def stack_distances(keys: ArrayLike) -> Ints:
    """Return, for each reference to a key touched before, how many other keys were touched in between.

    First touches have no distance and are left out; the others keep their order.

    Args:
        keys: whole numbers, in the order of the references.

    Raises:
        ValueError: keys that are not whole numbers in one row.

    Source: Mattson et al. 1970, their definition.
    """
    found = np.asarray(keys)
    if found.ndim != 1 or not (found.size == 0 or np.issubdtype(found.dtype, np.integer)):
        raise ValueError(
            f"references of shape {found.shape} and type {found.dtype}: should be whole numbers in one row"
        )
    last = _previous(found)
    again = last >= 0
    now, last = np.flatnonzero(again), last[again]
    # Between two touches of a key lie now - last - 1 references; those whose own last touch lies in between, too, are
    # repetitions of keys already counted. As last touches differ, only their order matters: rank them.
    is_last = np.zeros(found.size, dtype=bool)
    is_last[last] = True
    rank = np.cumsum(is_last)[last] - 1
    return np.asarray(now - last - 1 - earlier_greater(rank), dtype=np.int64)


def earlier_greater(permutation: Ints) -> Ints:
    """Return for each element of a permutation of 0 … n-1 how many elements before it are greater.

    Radix passes from the highest bit down, each a stable partition of aligned groups that agree in all higher bits:
    an element with bit 0 is preceded, within its group, by so many greater ones as ones have passed. n log n in all,
    and no loop over elements.

    Args:
        permutation: each of 0 … n-1 once.
    """
    n = permutation.size
    narrow: Any = np.int32 if n < 2**31 else np.int64  # half the memory traffic
    values = permutation.astype(narrow)
    greater = np.zeros(n, dtype=narrow)
    place = np.arange(n, dtype=narrow)
    for bit in reversed(range(max(n - 1, 0).bit_length())):
        one = (values >> bit & 1).astype(bool)
        values, greater = _partition(values, greater, one, bit, place)
    return greater[permutation].astype(np.int64)


def _partition(values: Ints, greater: Ints, one: Bools, bit: int, place: Ints) -> tuple[Ints, Ints]:
    """Return values and counts after the stable partition by one bit, counts raised by the ones passed by."""
    passed = np.cumsum(one, dtype=values.dtype)
    passed -= one
    start = values >> (bit + 1) << (bit + 1)  # a permutation's groups are aligned: the first place is the first value
    passed -= passed[start]
    target = np.where(one, start + passed + values.dtype.type(1 << bit), place - passed)
    moved, counts = np.empty_like(values), np.empty_like(greater)
    moved[target] = values
    greater += np.where(one, values.dtype.type(0), passed)
    counts[target] = greater
    return moved, counts


def _previous(keys: Ints) -> Ints:
    """Return where each reference's key was touched before, -1 for a first touch."""
    order = np.argsort(keys, kind="stable")
    same = keys[order[1:]] == keys[order[:-1]]
    last = np.full(keys.size, -1, dtype=np.int64)
    last[order[1:][same]] = order[:-1][same]
    return last


def _keys(references: Any) -> Ints:
    """Return the references as an array, whether they come as requests or as ids."""
    items = iter(references)
    first = next(items, None)
    if first is None:
        return np.zeros(0, dtype=np.int64)
    rest = itertools.chain([first], items)
    return block_ids(rest) if isinstance(first, Request) else np.asarray(list(rest))
