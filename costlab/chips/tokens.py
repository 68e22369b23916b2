"""What a million tokens cost on a chip: at equal speed for each user, in the largest batch that memory holds.

Decode: the largest batch whose step keeps the speed that each user is promised. Prefill: prompts read by compute and
memory within a time to the first token. Both over every deployment of whole servers and every split of attention that
the chip allows; the cheapest is taken. What fits nowhere, or is never fast enough, has a reason and no price.

>>> from costlab import chips
>>> rented = chips.ChipHour("h800", hourly=2.0)
>>> found = chips.token_price("deepseek-v3", rented, "decode", 4096, user_tokens_s=20, basis="roofline")
>>> found.chips, found.batch, round(found.per_million, 3)
(64, 9472, 0.097)

Chapter: chips
"""

from __future__ import annotations

import dataclasses
import functools
import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from costlab import arch, catalog
from costlab.arch import Model
from costlab.arrays import Floats
from costlab.catalog.serving import ServingPhase
from costlab.chips.bands import band, family, round_s
from costlab.chips.formats import OWN, as_served, format_on
from costlab.chips.memory import fit, layouts, sizes
from costlab.chips.quotes import AnswerBasis, Basis, ChipHour, DraftedRound, NoPrice, TokenPrice
from costlab.roofline import Deployment, Efficiency, StepGrid, decode_grid, prefill_grid


def token_price(
    model: str | Model,
    chip_hour: ChipHour,
    phase: ServingPhase,
    context: int,
    *,
    user_tokens_s: float | None = None,
    ttft_s: float | None = None,
    draft: DraftedRound | None = None,
    basis: Basis = "published",
) -> TokenPrice | NoPrice:
    """Return the cheapest price of a million tokens of a phase on a chip, or why there is none.

    A prompt's time leaves out sending between chips and waiting (`roofline.prefill_grid`). Caches of a model and a
    drafter, and weights as served, lie within 0.9 of each chip's memory.

    Args:
        model: key in the catalog, or a model.
        chip_hour: the chip, its hour and how it serves.
        phase: "prefill" or "decode".
        context: tokens of each sequence, or of each prompt.
        user_tokens_s: of decode, tokens per second that each user gets at least.
        ttft_s: of prefill, seconds to the first token at most.
        draft: drafted tokens in decode; None for plain steps.
        basis: where an efficiency comes from that the chip-hour does not state.

    Raises:
        ValueError: an unknown model, chip, format, phase or basis; a number out of range; a limit that is missing.
    """
    limit = limit_of(phase, user_tokens_s, ttft_s)
    shares, answer = shares_of(chip_hour, arch.load(model), phase, basis)
    space = _Space(arch.load(model), chip_hour, phase, context, limit, draft)
    best = space.cheapest(shares[1])
    if isinstance(best, NoPrice):
        return best
    ends = [space.cheapest(share) for share in (shares[2], shares[0])] if shares[0] < shares[2] else [best, best]
    low, high = (end.per_million if isinstance(end, TokenPrice) else None for end in ends)
    return dataclasses.replace(best, basis=answer, low=best.per_million if low is None else low, high=high)


def limit_of(phase: ServingPhase, user_tokens_s: float | None, ttft_s: float | None) -> float:
    """Return the limit of a phase: tokens per second for decode, seconds to the first token for prefill.

    Raises:
        ValueError: another phase, a limit that is missing, is the other phase's, or is not above 0 and finite.
    """
    limits = {"decode": ("user_tokens_s", user_tokens_s), "prefill": ("ttft_s", ttft_s)}
    if phase not in limits:
        raise ValueError(f"phase {phase!r} should be prefill or decode")
    name, limit = limits[phase]
    if limit is None or (user_tokens_s is not None and ttft_s is not None):
        raise ValueError(f"{phase} needs {name} and no other limit: an equal speed is what makes prices comparable")
    if not 0 < limit < math.inf:
        raise ValueError(f"{name} = {limit!r} should be above 0 and finite")
    return float(limit)


def shares_of(
    chip_hour: ChipHour, model: Model, phase: ServingPhase, basis: Basis
) -> tuple[tuple[float, float, float], AnswerBasis]:
    """Return (low, middle, high) shares of the roofline that a chip-hour reaches with a model, and where they are from.

    Raises:
        ValueError: an unknown basis.
    """
    if basis not in ("published", "roofline"):
        raise ValueError(f"basis {basis!r} should be published or roofline")
    if chip_hour.efficiency is not None:
        return (chip_hour.efficiency,) * 3, "stated"
    found = band(chip_hour.chip, family(model), phase) if basis == "published" else None
    if found is None or found.high > 1:  # what is faster than its roofline says that the roofline is wrong
        return (1.0, 1.0, 1.0), "roofline"
    return (found.low, found.middle, found.high), "band"


def deployments_of(
    model: Model, chip_hour: ChipHour, draft: DraftedRound | None = None, efficiency: float = 1.0
) -> list[Deployment]:
    """Return the deployments that are looked at for a model on a chip: sizes by splits, those that hold the weights.

    Raises:
        ValueError: an unknown chip, format or drafter; chips that do not make a deployment.
    """
    chips = chip_hour.chips or sizes(chip_hour.chip)
    asked = (chip_hour.chip, tuple(chips), chip_hour.weights, draft.kind if draft else None)
    known = model.key in catalog.tables().models and arch.load(model.key) is model
    found = _catalogued(model.key, *asked) if known else _layouts(model, *asked)
    same = Efficiency(efficiency, efficiency, efficiency)
    return [dataclasses.replace(node, efficiency=same, layer_s=chip_hour.launch_s) for node in found]


def _layouts(
    model: Model, chip: str, chips: tuple[int, ...], weights: str | None, draft: str | None
) -> tuple[Deployment, ...]:
    """The layouts of each size that hold the weights."""
    record = catalog.chip(chip)
    served = as_served(model, weights or format_on(record, model))  # one model, counted once
    found = (node for each in chips for node in layouts(served, record, each, OWN, draft=draft))
    return tuple(node for node in found if node.fits())


@functools.lru_cache(maxsize=64)
def _catalogued(
    key: str, chip: str, chips: tuple[int, ...], weights: str | None, draft: str | None
) -> tuple[Deployment, ...]:
    """The same of a model of the catalog, laid out once."""
    return _layouts(arch.load(key), chip, chips, weights, draft)


@dataclass(frozen=True)
class _Space:
    """The deployments of one question, priced together."""

    model: Model
    chip_hour: ChipHour
    phase: ServingPhase
    context: int
    limit: float
    draft: DraftedRound | None

    def cheapest(self, share: float) -> TokenPrice | NoPrice:
        """The cheapest deployment at a share of the roofline, or why there is none."""
        nodes = deployments_of(self.model, self.chip_hour, self.draft, share)
        if not nodes:
            return self._no("memory", self._why_no_memory())
        grid = step_grid(nodes, self.phase, [self.context], self.draft)
        each = grid.largest(step_limit(self.phase, self.limit, self.draft))[:, :, 0]
        costs = chip_seconds(nodes, grid, each)[:, 0]
        best = int(np.argmin(costs))
        if not math.isfinite(costs[best]):
            return self._too_slow(nodes, grid)
        found = (self.chip_hour, self.phase, nodes[best], self.context, self.limit, int(each[best, 0]))
        full = each[best, 0] >= grid.most[best, 0]
        return dataclasses.replace(priced(*found, self.draft, share), held_back_by="memory" if full else "speed")

    def _too_slow(self, nodes: list[Deployment], grid: StepGrid) -> NoPrice:
        """Either no replica holds a sequence, or one alone takes too long."""
        if not grid.most.any():
            return self._no("memory", self._why_no_memory())
        fastest_s = float(grid.seconds(1.0)[grid.most > 0].min())
        chips = f"{min(n.chips for n in nodes)} to {max(n.chips for n in nodes)} {self.chip_hour.label}"
        if self.phase == "prefill":
            what = f"reading {self.context:,} tokens takes {fastest_s:.3g} s at least, {self.limit:g} s are allowed"
        else:
            speed = (self.draft.round_tokens if self.draft else 1.0) / fastest_s
            what = f"one sequence alone gets {speed:.3g} tokens/s at most, {self.limit:g} are asked"
        return self._no("speed", f"on {chips} {what}")

    def _why_no_memory(self) -> str:
        chips = max(self.chip_hour.chips or sizes(self.chip_hour.chip))
        kind = self.draft.kind if self.draft else None
        return fit(
            self.model, self.chip_hour.chip, chips, self.context, weights=self.chip_hour.weights, draft=kind
        ).reason  # fmt: skip

    def _no(self, what: Literal["memory", "speed"], reason: str) -> NoPrice:
        return NoPrice(self.chip_hour, self.phase, self.context, self.limit, what, reason)


def priced(
    chip_hour: ChipHour,
    phase: ServingPhase,
    node: Deployment,
    context: int,
    limit: float,
    each: int,
    draft: DraftedRound | None,
    share: float,
) -> TokenPrice:
    """Return the price of a deployment with `each` sequences on each replica, its step counted by `Deployment`."""
    batch = each * node.replicas
    step_s, tokens = step_of(node, phase, batch, context, draft)
    found = TokenPrice(
        chip_hour, phase, node, context, limit, batch, step_s, tokens, share, "roofline", 0.0, None, "speed"
    )
    return dataclasses.replace(found, low=found.per_million, high=found.per_million)


def step_grid(nodes: list[Deployment], phase: ServingPhase, contexts: object, draft: DraftedRound | None) -> StepGrid:
    """Return the steps of a phase of deployments at contexts."""
    tokens = np.asarray(contexts)
    if phase == "prefill":
        return prefill_grid(nodes, tokens)
    return decode_grid(nodes, tokens, draft.length if draft else 0)


def step_limit(phase: ServingPhase, limit: float | Floats, draft: DraftedRound | None) -> Floats:
    """Return the seconds that a step may take: to the first token, or the tokens of a round over the speed."""
    given = np.asarray(limit, dtype=np.float64)
    return given if phase == "prefill" else (draft.round_tokens if draft else 1.0) / given


def chip_seconds(nodes: list[Deployment], grid: StepGrid, each: Floats, tokens: float | Floats = 1.0) -> Floats:
    """Return the seconds of a chip that a token takes, in deployments with so many sequences on each replica.

    Args:
        nodes: the deployments of the grid.
        grid: their steps.
        each: sequences on each replica, (deployment, context, …); 0 where there are none.
        tokens: that each sequence gains in a step; broadcasts with `each`.

    Returns:
        Seconds, the shape of `each`; infinite where there are no sequences.
    """
    chips = np.array([float(node.chips) for node in nodes]) / grid.replicas
    split = chips.reshape(-1, *(1,) * (each.ndim - 1))
    with np.errstate(divide="ignore"):
        found: Floats = np.where(each > 0, grid.seconds(each) * split / (each * tokens), np.inf)
    return found


def step_of(
    node: Deployment, phase: ServingPhase, batch: int, context: int, draft: DraftedRound | None = None
) -> tuple[float, float]:
    """Return the seconds and the tokens of a step, by `Deployment` itself.

    Raises:
        ValueError: a count out of range; a draft without drafter.
    """
    if phase == "prefill":
        step = node.prefill(context, batch=batch)
        terms = (step.compute_s, step.memory_s)
        return step.fixed_s + (max(terms) if node.overlap else sum(terms)), step.tokens
    tokens = batch * (draft.round_tokens if draft else 1.0)
    return round_s(node, batch, context, draft.length if draft else 0), tokens


__all__ = [
    "chip_seconds", "deployments_of", "limit_of",
    "priced",
    "shares_of", "step_grid", "step_limit", "step_of", "token_price",
]  # fmt: skip
