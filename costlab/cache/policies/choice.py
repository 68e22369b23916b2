"""Policies by name.

Chapter: cache
"""

from __future__ import annotations

from collections.abc import Iterable

from costlab import checks
from costlab.cache.policies.base import Key, Policy, replay_keys
from costlab.cache.policies.lru import FIFO, LFU, LRU, SLRU
from costlab.cache.policies.sieve import S3FIFO, SIEVE

_BY_NAME: dict[str, type[Policy]] = {cls.name: cls for cls in (LRU, LFU, SLRU, FIFO, S3FIFO, SIEVE)}
#: Names of the policies that need no knowledge of the future.
POLICIES = tuple(_BY_NAME)
#: What a cache can be told: those, and the offline bound.
EVICTIONS = (*POLICIES, "belady")


def make(policy: str, capacity: float) -> Policy:
    """Return a fresh policy by its name in `POLICIES`.

    Raises:
        ValueError: an unknown policy, or a capacity below 1.
    """
    return checks.pick(_BY_NAME, policy, "eviction policy")(capacity)


def count_hits(keys: Iterable[Key], policy: str, capacity: float) -> int:
    """Return how many references hit a cache of `capacity` pages under a policy named in `POLICIES`.

    Raises:
        ValueError: an unknown policy, or a capacity below 1.
    """
    return sum(replay_keys(keys, make(policy, capacity)))
