"""What a second of a chip yields: compute, memory and link time of a prefill and of a decode step.

A step takes as long as its slowest part when the parts overlap, or their sum when they do not. At efficiency 1 compute
and memory times are lower bounds; the link's is that of sending each visit to an expert by itself. An efficiency
below 1 is always one that the caller states.

Chapter: roofline
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from costlab import arch, catalog
from costlab.arch import Drafter, Flops, Model, MoE
from costlab.catalog import ChipRecord
from costlab.checks import count
from costlab.roofline.rates import rate
from costlab.roofline.steps import Efficiency, Piece, Step, Work, exchange_bytes, reduce_bytes, share_of_experts_touched


@dataclass(frozen=True)
class Deployment:
    """A model on `chips` chips: attention is data-parallel over replicas, experts are spread over all chips.

    A replica is a group of `tensor_parallel` chips that splits attention, dense and shared parts, and holds whole
    sequences: a batch lies on the replicas as evenly as whole sequences can, and a step takes as long as on the
    fullest one. The default, `tensor_parallel=1`, makes every chip a replica: "attention data-parallel, experts
    parallel", as DeepSeek's published day serves V3. Within a group a cache splits over the KV heads that it has;
    a latent, or the one head that all query heads share, lies whole on each chip, and so does all that belongs to no
    head (`Model.shares_on_chip`). Experts too are whole: a chip holds `ceil(experts / chips)` of each layer, and
    visits are even, unless `balance` says how uneven: the chip that most visits go to computes and receives 1 / balance
    times the mean. `memory_share` of each chip's memory may be used. A drafter runs on the same chips, split alike.
    """

    model: Model  # what is served
    chip: ChipRecord  # on which chip
    chips: int  # how many, all together
    tensor_parallel: int = 1  # chips of a replica
    efficiency: Efficiency = field(default_factory=Efficiency)  # shares of the peaks that are reached
    overlap: bool = True  # whether compute, memory and link times hide behind one another
    memory_share: float = 0.9  # share of each chip's memory that weights and cache may use, 0 to 1
    drafter: Drafter | None = None  # what proposes tokens: its weights and caches take memory too
    balance: float = 1.0  # mean over largest load of the chips that hold experts, above 0; 1 is even
    step_s: float = 0.0  # seconds of each step that hide behind nothing
    layer_s: float = 0.0  # the same for each layer of it

    def __post_init__(self) -> None:
        count(self.chips, "chips")
        count(self.tensor_parallel, "tensor_parallel")
        if self.chips % self.tensor_parallel:
            raise ValueError(f"{self.chips} chips don't divide into groups of tensor_parallel = {self.tensor_parallel}")
        if self.tensor_parallel > self.chip.chips_per_node:
            node = self.chip.chips_per_node
            raise ValueError(f"tensor_parallel = {self.tensor_parallel} should stay within a node of {node} chips")
        self.model.shares_on_chip(self.tensor_parallel)
        if self.drafting:
            self.drafting.model.shares_on_chip(self.tensor_parallel)
        if not 0 < self.memory_share <= 1:
            raise ValueError(f"memory_share should be above 0 and at most 1, got {self.memory_share}")
        if not 0 < self.balance <= 1:
            raise ValueError(f"balance should be above 0 and at most 1, got {self.balance}")
        for name in ("step_s", "layer_s"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} should be a finite number of at least 0, got {getattr(self, name)}")

    # --- what a chip holds -------------------------------------------------------------------------------------

    @property
    def replicas(self) -> int:
        """Groups of `tensor_parallel` chips, each of which holds whole sequences."""
        return self.chips // self.tensor_parallel

    def on_fullest(self, batch: int) -> int:
        """Return the sequences of a batch that the fullest replica holds.

        Raises:
            ValueError: a batch below 1.
        """
        return -(-count(batch, "batch") // self.replicas)

    @functools.cached_property
    def weight_bytes_per_chip(self) -> float:
        """Bytes of weights on each chip, those of the drafter's own included."""
        return sum(self._held.values()) + self._draft_weight_bytes

    @property
    def usable_bytes_per_chip(self) -> float:
        """Bytes of each chip's memory that weights and cache may use."""
        return self.chip.memory_bytes * self.memory_share

    def fits(self, cache_bytes: float = 0.0) -> bool:
        """Return whether the weights fit, with so many bytes of cache beside them on each chip."""
        # a sum of floats may be off in its last places
        return self.weight_bytes_per_chip + cache_bytes <= self.usable_bytes_per_chip * (1 + 1e-9)

    def require_fit(self, cache_bytes: float = 0.0) -> None:
        """Refuse a deployment whose memory does not hold its weights and so many bytes of cache on each chip.

        Raises:
            ValueError: they do not fit; the message names the bytes of weights, cache and memory.
        """
        if self.fits(cache_bytes):
            return
        cache = f" and {cache_bytes / 1e9:,.4g} GB of cache" if self.fits() else ""
        split = f" with tensor_parallel = {self.tensor_parallel}" if self.tensor_parallel > 1 else ""
        raise ValueError(
            f"{self.model.name} does not fit on {self.chips} {self.chip.name}{split}: each chip would hold "
            f"{self.weight_bytes_per_chip / 1e9:,.4g} GB of weights{cache}, and of its "
            f"{self.chip.memory_bytes / 1e9:,.4g} GB of memory {self.usable_bytes_per_chip / 1e9:,.4g} GB may be used"
        )

    def cache_bytes_per_chip(self, context: int) -> float:
        """Return the bytes that one running sequence of `context` tokens keeps on each chip of its replica.

        Raises:
            ValueError: a context below 1.
        """
        split = self.tensor_parallel
        return sum(n * float(model.kv_bytes(context, split).resident) for n, model in self.caching)

    @property
    def caching(self) -> list[tuple[int, Model]]:
        """How many of each model keep a cache of every sequence: the model, and the drafter's modules."""
        if self.drafter is None or self.drafter.model is None:
            return [(1, self.model)]
        return [(1, self.model), (self.drafter.modules, self.drafter.model)]

    def max_batch(self, context: int) -> int:
        """Return the sequences of `context` tokens that fit beside the weights, on all replicas together.

        0 if one sequence does not fit on a replica, however many replicas there are.

        Raises:
            ValueError: a context below 1.
        """
        return self.replicas * max(0, math.floor(self.free_bytes_per_chip / self.cache_bytes_per_chip(context)))

    def check_room(self, batch: int, context: int) -> None:
        """Refuse a batch that memory does not hold.

        Raises:
            ValueError: `batch` sequences of `context` tokens do not fit beside the weights; what would is said.
        """
        fits = self.max_batch(context)
        self.require_fit()
        if batch > fits:
            raise ValueError(
                f"batch {batch} of {context} tokens does not fit on {self.chips} {self.chip.name}, at most {fits} "
                f"would: beside {self.weight_bytes_per_chip / 1e9:.4g} GB of weights a chip has "
                f"{max(0.0, self.free_bytes_per_chip) / 1e9:.4g} GB free, and a sequence keeps "
                f"{self.cache_bytes_per_chip(context) / 1e9:.4g} GB on each chip of its replica"
            )

    @property
    def free_bytes_per_chip(self) -> float:
        """Usable memory of a chip beside the weights; negative where they do not fit."""
        return self.usable_bytes_per_chip - self.weight_bytes_per_chip

    def experts_touched(self, batch: float) -> float:
        """Return the expected share of a layer's experts that `batch` tokens visit, choosing evenly: 1-(1-k/E)^B.

        Raises:
            ValueError: a negative batch.
        """
        if not batch >= 0:
            raise ValueError(f"batch should be at least 0, got {batch!r}")
        layer = self.moe
        return 1.0 if layer is None else share_of_experts_touched(layer.experts, layer.top_k, batch)

    # --- the two phases ----------------------------------------------------------------------------------------

    def decode(self, batch: int, context: int) -> Step:
        """Return the time of one decode step: one new token for each of `batch` sequences.

        A time, also where memory would not hold them: that is refused by `check_room`, and by `usd_per_million`.

        Args:
            batch: sequences in the whole deployment.
            context: tokens each has, the new one included.

        Raises:
            ValueError: a batch or context below 1.

        Source: S. Williams et al., Roofline, CACM 52(4), 2009.
        """
        return self._spread(self._decoding(batch, context))

    def verify(self, batch: int, context: int, length: int) -> Step:
        """Return the time of checking `length` drafted tokens of each of `batch` sequences in one pass.

        The pass reads length + 1 tokens of a sequence, the last one known and the drafted ones; its cache is read once,
        weights once, and the experts that any of these tokens visits. Without drafted tokens it is a decode step.

        Args:
            batch: sequences in the whole deployment.
            context: tokens each has, the last one known included, the drafted ones not.
            length: drafted tokens of a sequence.

        Returns:
            The step; its tokens are those that it reads, accepted or not.

        Raises:
            ValueError: a batch or context below 1, a negative length.
        """
        return self._spread(self._decoding(batch, context, count(length + 1, "length + 1")))

    def draft(self, batch: int, context: int, rows: int = 1) -> Step:
        """Return the time in which the drafter proposes one token for each of `batch` sequences.

        Args:
            batch: sequences in the whole deployment.
            context: tokens each has, the latest included.
            rows: of them, those that the drafter reads now (`Drafter.rows`); its output head runs for the last.

        Raises:
            ValueError: a deployment without drafter; a batch or context below 1; rows not from 1 to `context`.
        """
        if self.drafter is None:
            raise ValueError("the deployment has no drafter: give it one, e.g. drafter=arch.drafter('mtp', model)")
        if not 1 <= rows <= context:
            raise ValueError(f"rows = {rows} should be from 1 to the context of {context}")
        if self.drafting is None:
            return Step(0.0, 0.0, 0.0, tokens=float(count(batch, "batch")), overlap=self.overlap)
        return self.drafting._spread(self.drafting._decoding(batch, context - rows + 1, rows, logits=1))

    def prefill(self, new: int, prefix: int = 0, batch: int = 1) -> Step:
        """Return the time of reading `new` tokens of each of `batch` prompts after `prefix` cached ones.

        A prompt is read by one replica: one takes as long on eight replicas as on one, and so do eight.

        Args:
            new: tokens to read per prompt, at least 1.
            prefix: cached tokens before them.
            batch: prompts read together, in the whole deployment.

        Raises:
            ValueError: a count out of range.
        """
        return self._spread(self._reading(batch, new, prefix))

    def mixed(self, batch: int, context: int, new: int, prefix: int = 0, prompts: int = 1) -> Step:
        """Return the time of a step of continuous batching, which decodes and reads pieces of prompts together.

        Weights are read once for both; compute, cache reads and sending add up.

        Args:
            batch: sequences that get one token each, in the whole deployment.
            context: tokens each of them has, the new one included.
            new: tokens to read per prompt.
            prefix: tokens before them that are cached, or were read in earlier steps.
            prompts: how many prompts are read.

        Raises:
            ValueError: a count out of range.

        Source: chunked prefill, arXiv 2308.16369 sec. 4.
        """
        return self._spread(self._decoding(batch, context), self._reading(prompts, new, prefix))

    def batch_step(self, *ranks: Sequence[Piece]) -> Step:
        """Return the time of a step of unlike sequences, each piece on the replica where it lies.

        The step takes as long as on the slowest replica; experts are visited by the tokens of all.

        Args:
            ranks: the pieces on each replica; replicas that are not named do nothing but hold experts.

        Raises:
            ValueError: no piece at all, more ranks than replicas, a count out of range.

        Source: chunked prefill beside decode, arXiv 2403.02310 sec. 4; the barrier of data-parallel attention before
            the experts, open-infra-index day 6.
        """
        if len(ranks) > self.replicas or not any(ranks):
            raise ValueError(f"{len(ranks)} ranks with {sum(map(len, ranks))} pieces should be 1 to {self.replicas}")
        works = [[self._work(piece) for piece in rank] for rank in ranks]
        return self._step(works, [work for rank in works for work in rank])

    def usd_per_million(self, step: Step, usd_per_chip_hour: float) -> float:
        """Return dollars per million tokens of a step of this deployment, at a rent per chip and hour.

        Raises:
            ValueError: a rent that is negative or no finite number; weights, or the step's cache beside them, that
                memory does not hold: what cannot run has no price.
        """
        usd_per_s = self.usd_per_s(usd_per_chip_hour)
        self.require_fit(step.cache_bytes)
        return usd_per_s / step.tokens_per_s * 1e6

    def usd_per_s(self, usd_per_chip_hour: float) -> float:
        """Return the rent of all chips, in dollars per second.

        Raises:
            ValueError: a rent that is negative or no finite number.
        """
        if not 0 <= usd_per_chip_hour < math.inf:
            raise ValueError(f"rent should be a finite number of at least 0, got {usd_per_chip_hour} USD per chip-hour")
        return usd_per_chip_hour * self.chips / 3600

    # --- the three terms, on the fullest replica ---------------------------------------------------------------

    def _decoding(self, batch: int, context: int, rows: int = 1, logits: int | None = None) -> Work:
        """A pass over `rows` tokens of each sequence, the first of them at `context`."""
        flops = self.model.decode_flops(context, rows, logits)
        read = self.model.decode_read_bytes(context, self.tensor_parallel, rows)
        return Work(batch, rows, flops, float(read), self.cache_bytes_per_chip(context + rows - 1))

    def _reading(self, prompts: int, new: int, prefix: int) -> Work:
        flops = self.model.prefill_flops(new, prefix)
        kept = self.model.kv_bytes(prefix + new, self.tensor_parallel)
        # written once, the cached part read once
        return Work(prompts, new, flops, float(kept.total), float(kept.resident))

    def _work(self, piece: Piece) -> Work:
        sequences, new = count(piece.sequences, "sequences"), count(piece.new, "new")
        if piece.decoding:
            return self._decoding(sequences, piece.prefix + 1, new)
        return self._reading(sequences, new, piece.prefix)

    def _spread(self, *works: Work) -> Step:
        """The step that does all of it at once, each batch spread over the replicas as evenly as it can."""
        return self._step([[work._replace(batch=self.on_fullest(work.batch)) for work in works]], works)

    def _step(self, ranks: Sequence[Sequence[Work]], works: Sequence[Work]) -> Step:
        """The step of the slowest of these replicas, where `works` is what all replicas do together."""
        tokens = float(sum(work.batch * work.new for work in works))
        visits_s = sum(work.batch * float(work.flops.by_component.get("experts", 0.0)) for work in works)
        visits_s *= self.flop_s.get("experts", 0.0) / self.balance
        once_bytes = self._read_once(tokens)
        steps = [self._on_replica(rank, visits_s, once_bytes, tokens) for rank in ranks]
        fullest = max(step.cache_bytes for step in steps)
        return dataclasses.replace(max(steps, key=lambda step: step.seconds), cache_bytes=fullest)

    def _on_replica(self, works: Sequence[Work], visits_s: float, once_bytes: float, tokens: float) -> Step:
        """The step on one replica beside the work for experts, which all replicas share."""
        return Step(
            compute_s=sum(self._own_s(work.flops) * work.batch for work in works) + visits_s,
            memory_s=(once_bytes + sum(work.moved_bytes * work.batch for work in works)) * self.byte_s,
            link_s=sum(float(work.batch) * work.new for work in works) * self.sent_s,
            tokens=tokens,
            overlap=self.overlap,
            fixed_s=self.fixed_s,
            cache_bytes=sum(work.kept_bytes * work.batch for work in works),
        )

    def _own_s(self, flops: Flops) -> float:
        """Seconds in which a replica's chips compute all but the experts."""
        return sum(float(n) * self.flop_s[name] for name, n in flops.by_component.items() if name != "experts")

    @functools.cached_property
    def flop_s(self) -> Mapping[str, float]:
        """Seconds that a FLOP of a replica takes on its chips, by component; of the experts, on all chips together."""
        shares = self.model.shares_on_chip(self.tensor_parallel)
        parts = {*self.model.params.active_by_component, "indexer", "core"}
        speed = {name: rate(self.chip, self.model.math_precision(name)) * self.efficiency.compute for name in parts}
        return {name: (1 / self.chips if name == "experts" else shares[name]) / speed[name] for name in parts}

    @property
    def fixed_s(self) -> float:
        """Seconds of each step that hide behind nothing."""
        return self.step_s + self.layer_s * len(self.model.layers)

    @property
    def byte_s(self) -> float:
        """Seconds in which a chip reads a byte of its memory."""
        return 1 / self.chip.memory_bandwidth_bytes_s / self.efficiency.memory

    def _read_once(self, tokens: float) -> float:
        """Weight bytes that a chip reads in a step, whatever the batch; of its experts those visited, at least one."""
        return self.dense_read_bytes + max(1.0, self.experts_held * self.experts_touched(tokens)) * self.expert_bytes

    @functools.cached_property
    def dense_read_bytes(self) -> float:
        """Weight bytes that a chip reads in every step: all but the experts, and but the embedding's table."""
        return sum(b for name, b in self._split.items() if name != "embedding")

    @functools.cached_property
    def drafting(self) -> Deployment | None:
        """The drafter's model on the same chips; None where it has none."""
        if self.drafter is None or self.drafter.model is None:
            return None
        return dataclasses.replace(self, model=self.drafter.model, drafter=None)

    @property
    def _draft_weight_bytes(self) -> float:
        """Bytes on each chip of what the drafter does not share with the model."""
        if self.drafter is None or self.drafting is None:
            return 0.0
        held = self.drafting._held.items()
        return self.drafter.modules * sum(b for name, b in held if name not in self.drafter.shared)

    @property
    def _held(self) -> Mapping[str, float]:
        """Bytes of the model's weights on each chip, by component."""
        return {**self._split, "experts": self.experts_held * self.expert_bytes}

    @property
    def _split(self) -> Mapping[str, float]:
        """Bytes on each chip of all weights but the routed experts, by component."""
        shares = self.model.shares_on_chip(self.tensor_parallel)
        return {name: b * shares[name] for name, b in self.model.weight_bytes().items() if name != "experts"}

    @property
    def expert_bytes(self) -> float:
        """Bytes of one routed expert of every layer."""
        return self.model.weight_bytes()["experts"] / self.moe.experts if self.moe else 0.0

    @property
    def experts_held(self) -> int:
        """Experts of each layer on a chip: whole ones, so some are there twice where the chips don't divide them."""
        return -(-self.moe.experts // self.chips) if self.moe else 0

    @functools.cached_property
    def sent_s(self) -> float:
        """Seconds of all-to-all (experts) and all-reduce (tensor parallel) for a token of a replica."""
        inside, outside = self._peers()
        link = self.chip.link_bytes_s * self.efficiency.link
        visits = exchange_bytes(self.model) / self.balance
        far = outside * visits / (self.chip.network * self.efficiency.link) if outside else 0.0
        exchange = max(inside * visits / link, far)
        return (exchange + reduce_bytes(self.model, self.tensor_parallel) / link) / self.tensor_parallel

    def _peers(self) -> tuple[float, float]:
        """Share of a token's expert visits that go to other replicas of the node, and to other nodes.

        After an all-reduce each chip of a replica has all its tokens, and the next one sums what its experts made.
        """
        near = min(self.chips, self.chip.chips_per_node)
        return (near - self.tensor_parallel) / self.chips, (self.chips - near) / self.chips

    @property
    def moe(self) -> MoE | None:
        """The feed-forward part of the layers with experts; None where there are none."""
        return next((ffn for _, ffn in self.model.layers if isinstance(ffn, MoE)), None)


def deployment(
    model: str,
    chip: str,
    chips: int,
    *,
    tensor_parallel: int = 1,
    efficiency: Efficiency | None = None,
    overlap: bool = True,
) -> Deployment:
    """Return a deployment of a catalogued model on catalogued chips.

    Args:
        model: key in the catalog, e.g. "deepseek-v4-pro".
        chip: key in the catalog, e.g. "h800".
        chips: how many.
        tensor_parallel: chips that split the non-expert part among them.
        efficiency: shares of the peaks reached; None is the roofline.
        overlap: whether compute, memory and link times hide behind one another.

    Raises:
        ValueError: an unknown model or chip.
        ValueError: counts that do not fit together.
    """
    return Deployment(arch.load(model), catalog.chip(chip), chips, tensor_parallel, efficiency or Efficiency(), overlap)
