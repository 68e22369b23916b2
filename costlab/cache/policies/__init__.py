"""Who leaves when a tier is full: FIFO, LRU, SLRU, LFU, S3-FIFO, SIEVE, and Belady's rule, which knows the future."""

from costlab.cache.policies.base import Key, Policy, replay_keys
from costlab.cache.policies.belady import Belady, Future, belady_hits
from costlab.cache.policies.choice import EVICTIONS, POLICIES, count_hits, make
from costlab.cache.policies.lru import FIFO, LFU, LRU, SLRU
from costlab.cache.policies.sieve import S3FIFO, SIEVE

__all__ = [
    "EVICTIONS", "FIFO", "LFU", "LRU", "POLICIES", "S3FIFO", "SIEVE", "SLRU", "Belady", "Future", "Key", "Policy",
    "belady_hits", "count_hits", "make", "replay_keys",
]  # fmt: skip
