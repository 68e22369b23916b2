"""What a mixture of experts costs: compute per token, weights read per step, bytes sent between ranks.

Each answer is a closed form; the functions named `simulate_…` and `count_…` count the same thing on routes.

>>> from costlab import moe
>>> round(moe.compute_share("deepseek-v4-pro").share, 4)
0.0311
>>> round(float(moe.touched_share(384, 6, 64)), 3)
0.635

Chapter: moe
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from costlab import arch
from costlab.arrays import ArrayLike, Floats
from costlab.catalog import DTYPE_BYTES
from costlab.checks import indices, pick, whole
from costlab.moe.load import sample_routes, uniform_shares
from costlab.moe.placement import copies_by_load, place, slots_per_rank
from costlab.moe.routing import count_loads, moe_layer
from costlab.roofline import share_of_experts_touched

#: One copy of a token per expert it visits, or per rank that holds some of them.
Copy = Literal["expert", "rank"]


@dataclass(frozen=True)
class ComputeShare:
    """The compute of one token."""

    sparse_flops: float  # FLOPs as the model runs
    dense_flops: float  # FLOPs if every expert ran: a dense model of equal size

    @property
    def share(self) -> float:
        """FLOPs of the sparse model over those of the dense one, 0 to 1."""
        return self.sparse_flops / self.dense_flops


def compute_share(model: arch.Model | str, context: int = 1) -> ComputeShare:
    """Return the compute of one decoded token beside a dense model of equal size and attention.

    Args:
        model: a model or its key in the catalog.
        context: tokens so far; attention reads them in both models alike.

    Raises:
        ValueError: an unknown model; a context below 1.
    """
    loaded = arch.load(model)
    sparse = float(loaded.decode_flops(context).total)
    params = loaded.params
    asleep = params.by_component.get("experts", 0) - params.active_by_component.get("experts", 0)
    return ComputeShare(sparse, sparse + 2.0 * asleep)


def touched_share(experts: int, k: int, batch: ArrayLike, popularity: ArrayLike | None = None) -> Floats:
    """Return the share of a layer's experts that a batch visits: 1 - (1 - k/E)^B when all are equally popular.

    Args:
        experts: E, in the layer.
        k: experts per token.
        batch: B, tokens in one step, any shape; 0 touches nothing.
        popularity: the probability that a token visits each expert (sums to k), for skewed loads.

    Raises:
        ValueError: k outside 1 … experts, a negative batch, or probabilities that don't fit.
    """
    chance = _popularity(experts, k, popularity)
    tokens = np.asarray(batch, dtype=np.float64)
    if not np.isfinite(tokens).all() or (tokens < 0).any():
        raise ValueError(f"batch should be at least 0 tokens, got {batch!r}")
    if popularity is None:
        return np.asarray(share_of_experts_touched(experts, k, tokens))
    missed = (1.0 - chance) ** tokens[..., None]  # [..., experts]: the chance that no token visits the expert
    return np.asarray(1.0 - missed.mean(axis=-1), dtype=np.float64)


def _popularity(experts: int, k: int, popularity: ArrayLike | None) -> Floats:
    experts, k = whole(experts, "experts"), whole(k, "top_k")
    if not 1 <= k <= experts:
        raise ValueError(f"top_k = {k} should lie between 1 and experts = {experts}")
    if popularity is None:
        return np.full(experts, k / experts)
    chance = np.asarray(popularity, dtype=np.float64)
    if chance.shape != (experts,) or not ((chance >= 0) & (chance <= 1)).all() or not math.isclose(chance.sum(), k):
        raise ValueError(f"popularity should be {experts} probabilities that sum to top_k = {k}")
    return chance


def simulate_touched(
    experts: int,
    k: int,
    batch: int,
    rng: np.random.Generator,
    shares: ArrayLike | None = None,
    trials: int = 100,
) -> float:
    """Return the share of experts that a batch visits, as the mean over sampled batches.

    Args:
        experts: in the layer.
        k: experts per token.
        batch: tokens in one step.
        rng: the source of routes.
        shares: how popular each expert is as a first choice; None is uniform.
        trials: batches to sample.

    Raises:
        ValueError: k outside 1 … experts, or counts out of range.
    """
    popular = uniform_shares(experts) if shares is None else np.asarray(shares, dtype=np.float64)
    if popular.shape != (experts,) or whole(trials, "trials") < 1 or whole(batch, "batch") < 0:
        what = f"shares of shape {popular.shape}, {trials} trials, batch {batch}"
        raise ValueError(f"{what}: should be ({experts},), at least 1 and at least 0")
    routes = sample_routes(trials * batch, k, popular, rng).reshape(trials, batch * k)
    hit = np.zeros((trials, experts), dtype=bool)
    np.put_along_axis(hit, routes, True, axis=-1)
    return float(hit.mean())


@dataclass(frozen=True)
class DecodeStep:
    """Weights that one decode step reads, arrays shaped like the batches asked for."""

    batch: Floats  # tokens in the step
    touched: Floats  # share of the routed experts that are read, copies of redundant experts included, 0 to 1
    expert_bytes: Floats  # bytes of those experts, all layers together
    always_bytes: float  # bytes of what every token needs: attention, shared experts, output head

    @property
    def total_bytes(self) -> Floats:
        """Bytes of all weights read."""
        return self.expert_bytes + self.always_bytes

    @property
    def bytes_per_token(self) -> Floats:
        """Bytes of weights read per token produced."""
        return np.asarray(self.total_bytes / self.batch, dtype=np.float64)


def decode_step(
    model: arch.Model | str, batch: ArrayLike, popularity: ArrayLike | None = None, redundant: int = 0
) -> DecodeStep:
    """Return the weight bytes that a decode step reads as the batch grows; caches and activations not counted.

    Args:
        model: a model or its key in the catalog.
        batch: tokens in one step, any shape, at least 1.
        popularity: see `touched_share`; the same in each layer.
        redundant: further copies of experts in each layer; a token goes to one of an expert's copies by chance.

    Raises:
        ValueError: an unknown model; a batch below 1, a negative number of copies, or probabilities that don't fit.
    """
    loaded, tokens = arch.load(model), arch.tokens_array(batch, "batch")
    always = dict(loaded.weight_bytes(active=True))
    always.pop("experts", None)
    read, stored = np.zeros_like(tokens), 0.0
    for ffn, layers in _moe_layers(loaded).items():
        each = layers * _expert_bytes(loaded, ffn)
        chances = _slot_popularity(ffn, popularity, redundant)
        read = read + each * chances.size * touched_share(chances.size, ffn.top_k, tokens, chances)
        stored += each * chances.size
    return DecodeStep(tokens, read / stored if stored else np.zeros_like(tokens), read, sum(always.values()))


def _slot_popularity(ffn: arch.MoE, popularity: ArrayLike | None, redundant: int) -> Floats:
    """Return the chance that a token visits each slot; the copies of an expert share its chance evenly."""
    chance = _popularity(ffn.experts, ffn.top_k, popularity)
    copies = copies_by_load(chance, ffn.experts + whole(redundant, "redundant"))
    return np.repeat(chance / copies, copies.astype(np.intp))


def _moe_layers(model: arch.Model) -> Counter[arch.MoE]:
    return Counter(ffn for _, ffn in model.layers if isinstance(ffn, arch.MoE))


def _expert_bytes(model: arch.Model, ffn: arch.MoE) -> float:
    per_param = model.weight_bytes()["experts"] / model.params.by_component["experts"]
    return ffn.expert_params(model.record.hidden) * per_param


def reached(experts: int, k: int, parts: int, redundant: int = 0) -> float:
    """Return on how many of `parts` ranks (or nodes) a token's experts lie, on average, when routing is uniform.

    A part of E/R experts is missed with chance C(E - E/R, k) / C(E, k): the k experts are distinct. With redundant
    experts the parts are those of `place` on an even load, and a token goes to one of an expert's copies by chance.

    Args:
        experts: E, in the layer.
        k: experts per token.
        parts: R, equal parts that hold the experts.
        redundant: further copies in all.

    Raises:
        ValueError: k outside 1 … experts, or experts that don't divide among the parts.
    """
    experts, k = whole(experts, "experts"), whole(k, "top_k")
    if not 1 <= k <= experts:
        raise ValueError(f"top_k = {k} should lie between 1 and experts = {experts}")
    held = place(np.ones(experts), parts, redundant)
    alike = Counter(tuple(sorted(copies)) for copies in held.copies[held.slots].tolist())
    return parts - sum(count * _missed(experts, k, copies) for copies, count in alike.items())


def _missed(experts: int, k: int, copies: Sequence[int]) -> float:
    """Return the chance that a token misses a part whose experts have so many copies, one of them there."""
    chosen_elsewhere = [1.0]  # by how many of the part's experts are chosen: the chance that other copies serve them
    for count in copies:
        if count > 1:
            chosen_elsewhere = np.convolve(chosen_elsewhere, [1.0, 1.0 - 1.0 / count]).tolist()
    ways = (math.comb(experts - len(copies), k - j) / math.comb(experts, k) for j in range(k + 1))
    return sum(chance * way for chance, way in zip(chosen_elsewhere, ways, strict=False))


def count_reached(chosen: ArrayLike, experts: int, parts: int) -> float:
    """Return the same as `reached`, counted on routes.

    Args:
        chosen: chosen experts, [tokens, top_k].
        experts: in the layer, in order over the parts.
        parts: equal parts that hold them.

    Raises:
        ValueError: experts that don't divide among the parts, or a choice that is none of them.
    """
    experts, parts = whole(experts, "experts"), whole(parts, "parts")
    if parts < 1 or experts < 1 or experts % parts:
        raise ValueError(f"{experts} experts don't divide among {parts} ranks")
    picked = indices(chosen, "chosen experts")
    count_loads(picked, experts)  # raises where one does not exist
    if picked.ndim != 2 and picked.size:
        raise ValueError(f"chosen experts of shape {picked.shape} should be (tokens, top_k)")
    home = picked // (experts // parts)
    hit = np.zeros((len(home), parts), dtype=bool)
    np.put_along_axis(hit, home, True, axis=-1)
    return float(hit.sum(axis=-1).mean()) if len(home) else 0.0


@dataclass(frozen=True)
class Exchange:
    """The all-to-all of expert parallelism: copies of a token leave their rank (dispatch) and come back (combine)."""

    hidden: int  # elements of what a token sends to an expert: its hidden state, or the latent that experts read
    copies: float  # of each token that leave its rank
    dispatch_bytes: float  # bytes per element of what is sent
    combine_bytes: float  # bytes per element of what comes back
    layers: int  # with experts

    def __post_init__(self) -> None:
        sizes = (self.copies, self.dispatch_bytes, self.combine_bytes)
        counts = whole(self.hidden, "hidden") >= 1 and whole(self.layers, "layers") >= 0
        if not counts or not all(0 <= size < math.inf for size in sizes):
            raise ValueError(f"{self} should hold sizes of at least 0, and hidden of at least 1")

    @property
    def bytes_per_token_layer(self) -> float:
        """Bytes that one token sends and gets back in one layer."""
        return self.copies * self.hidden * (self.dispatch_bytes + self.combine_bytes)

    @property
    def bytes_per_token(self) -> float:
        """Bytes that one token sends and gets back in all layers with experts."""
        return self.layers * self.bytes_per_token_layer

    def stage_s(self, tokens: float, link_bytes_s: float) -> float:
        """Return the seconds of dispatch and combine of one layer, for `tokens` tokens of one rank.

        Args:
            tokens: per rank.
            link_bytes_s: what one rank can send per second; latency is not counted.

        Raises:
            ValueError: negative tokens or a link that is not positive.

        Source: arXiv 2505.09343 sec. 2.3.2.
        """
        if not 0 <= tokens < math.inf or not link_bytes_s > 0:
            raise ValueError(f"{tokens} tokens over {link_bytes_s} B/s: should be at least 0, and above 0")
        return tokens * self.bytes_per_token_layer / link_bytes_s

    def step_s(self, tokens: float, link_bytes_s: float, micro_batches: int = 2) -> float:
        """Return the least seconds of one decode step when links never rest and all else hides behind them.

        Args:
            tokens: per rank and micro-batch.
            link_bytes_s: what one rank can send per second.
            micro_batches: that take turns; 2 lets one compute while the other communicates.

        Raises:
            ValueError: negative tokens, a link that is not positive, or no micro-batch.

        Source: arXiv 2505.09343 sec. 2.3.2.
        """
        if whole(micro_batches, "micro_batches") < 1:
            raise ValueError(f"micro_batches = {micro_batches} should be at least 1")
        return self.layers * micro_batches * self.stage_s(tokens, link_bytes_s)


def exchange(
    model: arch.Model | str,
    ranks: int,
    dispatch: str = "fp8",
    combine: str = "bf16",
    copy: Copy = "expert",
    scale_block: int | None = None,
    redundant: int = 0,
) -> Exchange:
    """Return the all-to-all of a model whose experts lie on `ranks` ranks, routing uniformly.

    Args:
        model: a model or its key in the catalog.
        ranks: 1 sends nothing.
        dispatch: precision of what is sent, as in the catalog.
        combine: precision of what comes back.
        copy: "expert" sends a copy for each expert on another rank (k (R-1)/R), "rank" one for each other rank
            that holds any of them.
        scale_block: elements that share one FP32 scale in dispatch, e.g. 128; None leaves scales out.
        redundant: further copies of experts in each layer.

    Raises:
        ValueError: an unknown model or precision, a model without experts, experts that don't divide among the
            ranks, or a block below 1.
    """
    loaded = arch.load(model)
    ffn = moe_layer(loaded)
    sent = pick(DTYPE_BYTES, dispatch, "precision") + _scale_bytes(scale_block)
    back = pick(DTYPE_BYTES, combine, "precision")
    layers = sum(_moe_layers(loaded).values())
    copies = remote_copies(ffn.experts, ffn.top_k, ranks, copy, redundant)
    return Exchange(ffn.expert_width(loaded.record.hidden), copies, sent, back, layers)


def remote_copies(experts: int, k: int, ranks: int, copy: Copy = "expert", redundant: int = 0) -> float:
    """Return how many copies of a token leave its rank, on average, when routing is uniform.

    Args:
        experts: in the layer.
        k: experts per token.
        ranks: that hold the experts.
        copy: one per remote "expert" or per remote "rank".
        redundant: further copies of experts; a token goes to any of them, its own rank's or not.

    Raises:
        ValueError: another word for copy; experts that don't divide among the ranks.
    """
    ranks = whole(ranks, "ranks")
    every = {"expert": float(k), "rank": reached(experts, k, ranks, redundant)}
    return pick(every, copy, "kind of copy") * (ranks - 1) / ranks  # one rank in R is the token's own


def _scale_bytes(block: int | None) -> float:
    if block is None:
        return 0.0
    if whole(block, "scale_block") < 1:
        raise ValueError(f"scale_block = {block} should be at least 1 element")
    return DTYPE_BYTES["fp32"] / block


@dataclass(frozen=True)
class Summary:
    """The experts of a model in numbers, for one batch and one number of ranks."""

    model: str  # key in the catalog
    layers: int  # with experts
    experts: int  # routed experts per layer
    top_k: int  # routed experts that a token visits
    shared: int  # experts per layer that every token visits
    total_params: int  # parameters of the model
    active_params: int  # parameters that one token multiplies
    compute_share: float  # FLOPs of a token over those of a dense model of equal size, 0 to 1
    batch: int  # tokens in one decode step
    touched_share: float  # share of the routed experts that the batch visits, redundant copies included, 0 to 1
    weight_bytes_per_step: float  # bytes of weights that a decode step reads
    weight_bytes_per_token: float  # the same bytes by the tokens of the batch
    ranks: int  # that hold the experts
    redundant: int  # further copies of experts in each layer
    experts_per_rank: int  # experts of a layer that each rank holds, redundant copies included
    ranks_reached: float  # ranks on which a token's experts lie, on average
    sent_bytes_per_token: float  # bytes that one token sends and gets back in all layers

    def rows(self) -> Mapping[str, str]:
        """Return what each figure says, ready to print."""
        routed = f"{self.experts} routed{f' + {self.redundant} redundant' if self.redundant else ''}"
        return {
            "experts per layer": f"{routed}, {self.shared} shared, {self.layers} layers",
            "visited per token": f"{self.top_k} ({self.top_k / self.experts:.2%} of the routed)",
            "parameters": f"{self.total_params / 1e9:.1f}B total, {self.active_params / 1e9:.2f}B active",
            "compute against dense": f"{self.compute_share:.2%}",
            f"experts touched at batch {self.batch}": f"{self.touched_share:.1%}",
            "weights read per step": f"{self.weight_bytes_per_step / 1e9:.1f} GB",
            "weights read per token": f"{self.weight_bytes_per_token / 1e9:.3f} GB",
            f"experts per rank, {self.ranks} ranks": f"{self.experts_per_rank}",
            "ranks a token reaches": f"{self.ranks_reached:.2f}",
            "sent per token, FP8 out, BF16 back": f"{self.sent_bytes_per_token / 1e6:.3f} MB",
        }


def summary(model: arch.Model | str, batch: int = 1, ranks: int = 1, redundant: int = 0) -> Summary:
    """Return the experts of a model in numbers: what a token computes, what a batch reads, what ranks exchange.

    Args:
        model: a model or its key in the catalog.
        batch: tokens in one decode step.
        ranks: that hold the experts.
        redundant: further copies of experts in each layer, spread evenly over experts and ranks.

    Raises:
        ValueError: an unknown model or one without experts, a batch below 1, or experts that don't divide among
            the ranks; the message says how many redundant ones would.
    """
    batch, ranks, redundant = whole(batch, "batch"), whole(ranks, "ranks"), whole(redundant, "redundant")
    loaded = arch.load(model)
    ffn, sent = moe_layer(loaded), exchange(loaded, ranks, redundant=redundant)
    step = decode_step(loaded, batch, redundant=redundant)
    return Summary(
        model=loaded.key,
        layers=sent.layers,
        experts=ffn.experts,
        top_k=ffn.top_k,
        shared=ffn.shared,
        total_params=loaded.params.total,
        active_params=loaded.params.active,
        compute_share=compute_share(loaded).share,
        batch=batch,
        touched_share=float(step.touched),
        weight_bytes_per_step=float(step.total_bytes),
        weight_bytes_per_token=float(step.bytes_per_token),
        ranks=ranks,
        redundant=redundant,
        experts_per_rank=slots_per_rank(ffn.experts, ranks, redundant),
        ranks_reached=reached(ffn.experts, ffn.top_k, ranks, redundant),
        sent_bytes_per_token=sent.bytes_per_token,
    )
