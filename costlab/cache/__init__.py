"""The cache lever: prefixes that were computed once, kept in HBM, DRAM and SSD, and loaded instead of computed again.

The story, from the bottom up. A prompt is cut into pages; a page's id stands for its tokens and all before them. Each
tier has a capacity, a link and a price (`tiers`); when it is full, a policy says who goes (`policies`). Models with
sliding windows keep two kinds of pages (`footprints`). A sequence's pages are matched, loaded, pinned and let go,
leaves before what they build on (`prefix`). The simulator (`sim`) sends a trace through a plan: loads hide behind
compute, layer by layer, and a report says what was found where and how long it took. `curves` gives LRU's hit rate at
every capacity at once. A store that holds real tensors is next door in `costlab.cache.store`.

>>> from costlab import cache, traces
>>> plan = cache.Plan("mimo-v2.5-pro", cache.standard("80GB", "1TB"))
>>> twice = [traces.Request(t, 4096, 100, tuple(range(8))) for t in (0.0, 60.0)]
>>> round(cache.replay(twice, plan).token_hit_rate, 3)
0.5

Chapter: cache
"""

from costlab.cache.curves import LruCurve, lru_curve, stack_distances
from costlab.cache.footprints import Footprint, LayerBytes, boundaries, footprint
from costlab.cache.policies import (
    FIFO,
    LFU,
    LRU,
    POLICIES,
    S3FIFO,
    SIEVE,
    SLRU,
    Belady,
    Future,
    Policy,
    belady_hits,
    count_hits,
    replay_keys,
)
from costlab.cache.prefix.manager import PrefixCache
from costlab.cache.prefix.match import Lease, Match
from costlab.cache.prefix.pools import WRITES, LeavesFirst, PageTiers, Pool
from costlab.cache.prefix.states import StateRule
from costlab.cache.sim.costs import HitCost, hit_cost, layer_load_bytes, prefix_bytes
from costlab.cache.sim.loading import MODES, Event, Timeline, prefill_behind, timeline
from costlab.cache.sim.plan import KEEPS, PREFETCHES, Plan
from costlab.cache.sim.report import LinkReport, Percentiles, PoolReport, Report, TierReport
from costlab.cache.sim.rules import RuleRow, compare_rules
from costlab.cache.sim.run import Replay, ReplayTask, replay
from costlab.cache.tiers import Tier, medium, parse_bytes, standard

__all__ = [
    "FIFO", "KEEPS", "LFU", "LRU", "MODES", "POLICIES", "PREFETCHES", "S3FIFO", "SIEVE", "SLRU", "WRITES", "Belady",
    "Event", "Footprint", "Future", "HitCost", "LayerBytes", "Lease", "LeavesFirst", "LinkReport", "LruCurve",
    "Match", "PageTiers", "Percentiles", "Plan", "Policy", "Pool", "PoolReport", "PrefixCache", "Replay",
    "ReplayTask", "Report", "RuleRow", "StateRule", "Tier", "TierReport", "Timeline", "belady_hits", "boundaries",
    "compare_rules", "count_hits",
    "footprint", "hit_cost", "layer_load_bytes", "lru_curve", "medium", "parse_bytes", "prefill_behind",
    "prefix_bytes", "replay", "replay_keys", "stack_distances", "standard", "timeline",
]  # fmt: skip
