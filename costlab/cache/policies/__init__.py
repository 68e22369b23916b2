"""Who leaves when a tier is full: FIFO, LRU, SLRU, LFU, S3-FIFO, SIEVE, and Belady's rule, which knows the future.

Each is the same four methods: add, hit, remove, victim.

A policy only keeps an order; capacity is its owner's business. `victim` names the page to go next and does not remove
it; pages in `pinned` are in use and are passed over. All operations take constant time, amortised, apart from passing
over pinned pages; Belady's also pays a heap.

>>> from costlab.cache import policies
>>> policies.count_hits("abcabd", "lru", capacity=2), policies.count_hits("abcabd", "fifo", capacity=3)
(0, 2)

Chapter: cache
"""

from costlab.cache.policies.base import Key, Policy, replay_keys
from costlab.cache.policies.belady import Belady, Future, belady_hits
from costlab.cache.policies.choice import EVICTIONS, POLICIES, count_hits, make
from costlab.cache.policies.lru import FIFO, LFU, LRU, SLRU
from costlab.cache.policies.sieve import S3FIFO, SIEVE

__all__ = [
    "EVICTIONS", "FIFO", "LFU", "LRU", "POLICIES", "S3FIFO", "SIEVE", "SLRU", "Belady", "Future", "Key", "Policy",
    "belady_hits", "count_hits", "make", "replay_keys",
]  # fmt: skip
