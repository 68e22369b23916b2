"""The cache lever: prefixes that were computed once, kept in HBM, DRAM and SSD, and loaded instead of computed again.

The story, from the bottom up. A prompt is cut into pages; a page's id stands for its tokens and all before them
(`tree`, `traces`). Each tier has a capacity, a link and a price (`tiers`); when it is full, a policy says who goes
(`policies`, `fifos`), leaves before what they build on (`pools`). Models with sliding windows keep two kinds of pages
(`windows`). A sequence's pages are matched, loaded, pinned and let go (`residency`, `manager`). Loads hide behind
compute, layer by layer (`loading`); what both take follows from the model and the chip (`costs`). A plan names one
configuration (`plan`); `replay` sends a trace through it (`run`) and reports (`report`). `curves` gives LRU's hit rate
at every capacity at once, `generators` make traces, and `costlab.sweep` runs a `Replayer` (`run`) over many plans. A
store that holds real tensors is next door in `costlab.cache.store`.

>>> from costlab import cache
>>> plan = cache.Plan("mimo-v2.5-pro", cache.standard("80GB", "1TB"))
>>> twice = [cache.Request(t, 4096, 100, tuple(range(8))) for t in (0.0, 60.0)]
>>> round(cache.replay(twice, plan).token_hit_rate, 3)
0.5
"""

from costlab.cache.article import ArticleManager
from costlab.cache.costs import (
    HitCost,
    PrefillCost,
    chip_rate,
    flat_rate,
    hit_cost,
    layer_load_bytes,
    prefill_cost,
    prefix_bytes,
)
from costlab.cache.curves import LruCurve, lru_curve, stack_distances
from costlab.cache.fifos import S3FIFO, SIEVE, Belady, Future, belady_hits
from costlab.cache.generators import CHAT, Shape, agent, chat, document_qa, generate, sessions
from costlab.cache.leases import Lease, Match
from costlab.cache.loading import MODES, Event, Timeline, timeline
from costlab.cache.manager import PrefixCache
from costlab.cache.overlap import prefill_behind
from costlab.cache.plan import KEEPS, PREFETCHES, Plan
from costlab.cache.policies import FIFO, LFU, LRU, POLICIES, SLRU, Policy, count_hits, replay_keys
from costlab.cache.pools import WRITES, LeavesFirst, Pool, Stack
from costlab.cache.report import LinkReport, PoolReport, Report, Spread, TierReport
from costlab.cache.run import Replayer, Run, replay
from costlab.cache.tiers import Tier, medium, parse_bytes, standard
from costlab.cache.traces import Request, Trace, TraceError, read
from costlab.cache.tree import RadixTree
from costlab.cache.windows import Footprint, LayerBytes, boundaries, footprint

__all__ = [
    "CHAT",
    "FIFO",
    "KEEPS",
    "LFU",
    "LRU",
    "MODES",
    "POLICIES",
    "PREFETCHES",
    "S3FIFO",
    "SIEVE",
    "SLRU",
    "WRITES",
    "ArticleManager",
    "Belady",
    "Event",
    "Footprint",
    "Future",
    "HitCost",
    "LayerBytes",
    "Lease",
    "LeavesFirst",
    "LinkReport",
    "LruCurve",
    "Match",
    "Plan",
    "Policy",
    "Pool",
    "PoolReport",
    "PrefillCost",
    "PrefixCache",
    "RadixTree",
    "Replayer",
    "Report",
    "Request",
    "Run",
    "Shape",
    "Spread",
    "Stack",
    "Tier",
    "TierReport",
    "Timeline",
    "Trace",
    "TraceError",
    "agent",
    "belady_hits",
    "boundaries",
    "chat",
    "chip_rate",
    "count_hits",
    "document_qa",
    "flat_rate",
    "footprint",
    "generate",
    "hit_cost",
    "layer_load_bytes",
    "lru_curve",
    "medium",
    "parse_bytes",
    "prefill_behind",
    "prefill_cost",
    "prefix_bytes",
    "read",
    "replay",
    "replay_keys",
    "sessions",
    "stack_distances",
    "standard",
    "timeline",
]
