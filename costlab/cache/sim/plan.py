"""A plan: one configuration of model, tiers and rules to replay.

Chapter: tiers
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from costlab import arch, catalog, checks, roofline
from costlab.cache import footprints
from costlab.cache.footprints import Footprint
from costlab.cache.policies import EVICTIONS
from costlab.cache.policies.belady import Future
from costlab.cache.prefix.manager import PrefixCache
from costlab.cache.prefix.pools import WRITES, WriteMode
from costlab.cache.prefix.states import ENDS, StateRule
from costlab.cache.sim.loading import MODES, LoadingMode
from costlab.cache.tiers import Tier
from costlab.catalog import PrefetchRule
from costlab.checks import count

PrefetchMode = Literal["best-effort", "wait", "timeout"]
#: How long a request whose turn has come waits for pages still on their way from SSD: not, to the end, to a deadline.
PREFETCHES: tuple[PrefetchMode, ...] = ("best-effort", "wait", "timeout")
#: The rule in the catalog that says when pages are fetched from storage.
PREFETCH_RULE = "hicache"
WindowKeeping = Literal["windows", "everything"]
#: What window layers keep: windows at boundaries, or every token, as a cache does that knows no windows.
KEEPS: tuple[WindowKeeping, ...] = ("windows", "everything")


@dataclass(frozen=True)
class Plan:
    """One configuration to replay; plain data, so that it can be sent to another process.

    Raises:
        ValueError: an unknown name or a count out of range; weights, or the first tier beside them, that the chips'
            memory does not hold; a rule for states of a model that has none.
    """

    model: str  # key in the catalog
    tiers: tuple[Tier, ...]  # fastest first
    block_tokens: int = 512  # tokens of a page: those of the trace's blocks
    eviction: str = "lru"  # one of `POLICIES`, or "belady", the offline bound
    leaves_first: bool = True  # pages go before those they build on; False: plain policy over blocks
    write: WriteMode = "through"  # "through", "selective" or "back"
    prefetch: PrefetchMode = "wait"  # "best-effort", "wait" or "timeout"
    loading: LoadingMode = "streamed"  # "streamed", "look-ahead" or "serial"
    checkpoint_tokens: int | None = None  # distance of window checkpoints besides each prompt's end; None: end only
    branch_points: bool = False  # windows also where a prompt leaves a cached one
    # window tokens per cached token for which tiers are split; 1/15 gives MiMo-V2.5-Pro 5x
    window_ratio: float = 1 / 15
    keep: WindowKeeping = "windows"  # "windows", or "everything": window layers keep every token
    # after which pages a state of recurrent layers is kept, as a rule or its text, e.g. "every:4096+ends"; None: at
    # each prompt's end, for a model that has such layers
    states: StateRule | str | None = None
    state_share: float | None = None  # share of each tier's bytes that only states take; None: they compete with pages
    chip: str = "h800"  # key in the catalog
    chips: int = 16  # chips of the instance: two nodes of eight, which MiMo-V2.5-Pro's weights need
    compute_efficiency: float = 0.4  # share of the chips' peak that prefill reaches: an assumption, stated
    usd_per_chip_hour: float | None = None  # rent, for what a hit saves and for the price of HBM; None leaves both out

    def __post_init__(self) -> None:
        known_here = catalog.tables()
        object.__setattr__(self, "model", arch.load(self.model).key)
        for field, what, known in (
            ("chip", "chip", known_here.chips),
            ("eviction", "eviction policy", EVICTIONS),
            ("write", "write mode", WRITES),
            ("prefetch", "prefetch", PREFETCHES),
            ("loading", "way to load", MODES),
            ("keep", "way to keep windows", KEEPS),
        ):
            word = checks.one_of(known, getattr(self, field), what)
            object.__setattr__(self, field, word)  # as in `known`: case does not matter, here as elsewhere
        for field in ("block_tokens", "chips", *(["checkpoint_tokens"] if self.checkpoint_tokens is not None else [])):
            object.__setattr__(self, field, count(getattr(self, field), field))
        if not self.tiers:
            raise ValueError("a plan needs a tier")
        rent = self.usd_per_chip_hour
        if rent is not None and not 0 <= rent < math.inf:
            raise ValueError(f"usd_per_chip_hour = {rent} should be at least 0 and finite, or None")
        roofline.seconds_per_flop_on(self.chip, self.chips, self.compute_efficiency)
        self._require_room()
        self.footprint.bytes_per_token(self.window_ratio)
        self._require_states()

    def _require_room(self) -> None:
        """Refuse chips whose memory does not hold the weights, and beside them the first tier.

        The chips of a node split attention, all chips share the experts: so the fewest bytes lie twice. A first tier
        without limit asks what would be found, and needs no room.
        """
        group = math.gcd(self.chips, catalog.chip(self.chip).chips_per_node)
        cache = self.tiers[0].capacity_bytes
        served = roofline.deployment(self.model, self.chip, self.chips, tensor_parallel=group)
        served.require_fit(cache / self.chips if math.isfinite(cache) else 0.0)

    def _require_states(self) -> None:
        """Read the rule for states, and refuse one for a model that keeps none."""
        if isinstance(self.states, str):
            object.__setattr__(self, "states", StateRule.parse(self.states))
        if self.state_share is not None:
            checks.share(self.state_share, "state_share")
        asked = f"states {self.states}" if self.states not in (None, StateRule()) else None
        if self.state_share is not None:
            asked = asked or f"state_share = {self.state_share:g}"
        if asked and not self.footprint.state_bytes:
            raise ValueError(f"{asked}: {self.model} has no recurrent layers, so it has no state to keep")

    @property
    def state_rule(self) -> StateRule | None:
        """After which pages a state is kept; None for a model without recurrent layers."""
        if not self.footprint.state_bytes:
            return None
        rule = self.states if self.states is not None else ENDS
        return StateRule.parse(rule) if isinstance(rule, str) else rule

    @property
    def footprint(self) -> Footprint:
        """What the model's layers cache under `keep`."""
        footprint = footprints.footprint(self.model)
        return footprint.everything() if self.keep == "everything" else footprint

    @property
    def prefetch_rule(self) -> PrefetchRule:
        """When pages are fetched from below the second tier, and how often a page is used before it is written."""
        return catalog.tables().prefetch[PREFETCH_RULE]

    def cache(self, future: Future | None = None) -> PrefixCache:
        """Return an empty cache of this configuration."""
        footprint, share = self.footprint, self.state_share
        sizes = [tier.capacity_bytes for tier in self.tiers]
        pages = sizes if share is None else [size * (1 - share) for size in sizes]
        return PrefixCache(
            self.tiers,
            footprint.full_bytes_per_token * self.block_tokens,
            footprint.window_bytes,
            footprint.state_bytes,
            page_tokens=self.block_tokens,
            capacities=[footprint.split(size, self.block_tokens, self.window_ratio) for size in pages],
            state_rule=self.state_rule or StateRule(),
            state_capacities=None
            if share is None
            else [footprint.states_in(size * share if share else 0.0) for size in sizes],
            eviction=self.eviction,
            write=self.write,
            leaves_first=self.leaves_first,
            checkpoint_tokens=self.checkpoint_tokens,
            branch_points=self.branch_points,
            selective_uses=self.prefetch_rule.selective_uses,
            future=future,
        )
