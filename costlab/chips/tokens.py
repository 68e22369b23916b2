"""What a million tokens cost on a chip: at equal speed for each user, in the largest batch that memory holds.

Decode: the largest batch whose step keeps the speed that each user is promised. Prefill: prompts read by compute and
memory within a time to the first token. Both over every deployment of whole nodes and every split of attention that
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
from costlab.catalog import ChipRecord
from costlab.catalog.serving import ServingPhase
from costlab.chips.assumptions import Assumption
from costlab.chips.bands import band, family, round_s
from costlab.chips.formats import OWN, as_served, format_on
from costlab.chips.memory import fit, layouts, sizes
from costlab.roofline import Deployment, Efficiency, StepGrid, decode_grid, prefill_grid

#: Where the share of the roofline comes from. "published": the middle of the band of published runs, the roofline where
#: there is none; "roofline": 1 for all, an equal basis where some chips have no run. A stated efficiency goes before.
Basis = Literal["published", "roofline"]
#: The same of an answer: "stated" by the chip_hour, a "band" of runs, or the "roofline" itself.
AnswerBasis = Literal["stated", "band", "roofline"]


@dataclass(frozen=True)
class ChipHour:
    """A chip that could serve: what an hour of it costs, in which format, on how many, at which share of its peaks."""

    chip: str  # key in the catalog
    hourly: float  # cost of a chip-hour in which it works, owned or rented
    currency: str = "USD"  # ISO code of `hourly`
    name: str = ""  # how figures call it; "" for the chip's name
    weights: str | None = None  # format that it serves in, e.g. "W4A8"; None for the chip's (`format_on`)
    chips: tuple[int, ...] = ()  # deployments that are looked at, in chips; () for 1, 2, 4 … nodes (`sizes`)
    efficiency: float | None = None  # stated share of the roofline's speed; None to take it from published runs
    launch_s: float = 0.0  # seconds of launches for each layer of a step, which hide behind nothing; 0 in graph mode

    def __post_init__(self) -> None:
        if not 0 < self.hourly < math.inf:
            raise ValueError(f"hourly = {self.hourly!r} {self.currency} of {self.chip} should be above 0 and finite")
        if self.efficiency is not None:
            Efficiency(self.efficiency)
        if not 0 <= self.launch_s < math.inf:
            raise ValueError(f"launch_s = {self.launch_s!r} should be a finite number of at least 0")

    @property
    def record(self) -> ChipRecord:
        """The chip in the catalog.

        Raises:
            ValueError: an unknown chip.
        """
        return catalog.chip(self.chip)

    @property
    def label(self) -> str:
        """How tables and figures call it."""
        return self.name or self.record.name


@dataclass(frozen=True)
class Draft:
    """Drafted tokens in each round of decoding, and how many of them the model accepts."""

    length: int  # drafted tokens of a round
    accepted: float  # of them accepted, in the mean
    kind: str = "mtp"  # what drafts, as `arch.drafter` names it

    def __post_init__(self) -> None:
        if not 0 <= self.accepted <= self.length:
            raise ValueError(f"accepted = {self.accepted} should be from 0 to length = {self.length}")

    @property
    def round_tokens(self) -> float:
        """Tokens that a sequence gains in a round."""
        return 1 + self.accepted


@dataclass(frozen=True)
class TokenPrice:
    """What a million tokens of one phase cost on a chip-hour's chips, and the deployment that makes them."""

    chip_hour: ChipHour  # the chip and its hour
    phase: ServingPhase  # prefill or decode
    deployment: Deployment  # the model as served, at the efficiency taken
    context: int  # tokens of each sequence, or of a prompt
    limit: float  # tokens per second that each user is promised, or seconds to the first token at most
    batch: int  # sequences, or prompts, in the whole deployment
    step_s: float  # seconds of a round of decoding, or of reading the prompts
    tokens: float  # that the step yields, on all chips
    efficiency: float  # share of the roofline's speed that was taken
    basis: AnswerBasis  # where that share comes from
    low: float  # per million at the highest share of the band; without a band as `per_million`
    high: float | None  # per million at the lowest; None where it is then too slow
    held_back_by: Literal["memory", "speed"]  # what a larger batch would break

    @property
    def per_million(self) -> float:
        """Cost of a million tokens, in the chip-hour's currency."""
        return self.chip_hour.hourly * self.chips / 3600 / self.tokens_s * 1e6

    def output(self) -> Assumption:
        """Return million tokens for each used hour of a chip, from the lowest to the highest share of the band.

        Without a low end where the lowest share is too slow for the limit.
        """
        ends = [None if price is None else self.chip_hour.hourly / price for price in (self.high, self.low)]
        made = self.chip_hour.hourly / self.per_million
        return Assumption(made, "million tokens", self.basis_text, low=ends[0], high=ends[1])

    @property
    def chips(self) -> int:
        """Chips of the deployment."""
        return self.deployment.chips

    @property
    def tokens_s(self) -> float:
        """Tokens per second of the whole deployment."""
        return self.tokens / self.step_s

    @property
    def user_tokens_s(self) -> float:
        """Tokens per second of each sequence; of prefill, of each prompt."""
        return self.tokens_s / self.batch

    @property
    def basis_text(self) -> str:
        """Where the speed comes from, in a clause."""
        if self.basis == "roofline":
            return "the roofline itself: no published run of this family on this chip was used"
        said = "stated" if self.basis == "stated" else "the middle of published runs"
        return f"{self.efficiency:.0%} of the roofline, {said}"


@dataclass(frozen=True)
class NoPrice:
    """Why a chip-hour has no price for a model and phase."""

    chip_hour: ChipHour  # the chip and its hour
    phase: ServingPhase  # prefill or decode
    context: int  # tokens of each sequence, or of a prompt
    limit: float  # as in `TokenPrice`
    what: Literal["memory", "speed"]  # what it lacks
    reason: str  # a sentence with numbers


def token_price(
    model: str | Model,
    chip_hour: ChipHour,
    phase: ServingPhase,
    context: int,
    *,
    user_tokens_s: float | None = None,
    ttft_s: float | None = None,
    draft: Draft | None = None,
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
    model: Model, chip_hour: ChipHour, draft: Draft | None = None, efficiency: float = 1.0
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
    draft: Draft | None

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
        return self._price(nodes[best], int(each[best, 0]), float(grid.most[best, 0]), share)

    def _price(self, node: Deployment, each: int, most: float, share: float) -> TokenPrice:
        batch = each * node.replicas
        step_s, tokens = step_of(node, self.phase, batch, self.context, self.draft)
        held: Literal["memory", "speed"] = "memory" if each >= most else "speed"
        found = TokenPrice(
            self.chip_hour, self.phase, node, self.context, self.limit, batch, step_s, tokens, share, "roofline",
            0.0, None, held,
        )  # fmt: skip
        return dataclasses.replace(found, low=found.per_million, high=found.per_million)

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


def step_grid(nodes: list[Deployment], phase: ServingPhase, contexts: object, draft: Draft | None) -> StepGrid:
    """Return the steps of a phase of deployments at contexts."""
    tokens = np.asarray(contexts)
    if phase == "prefill":
        return prefill_grid(nodes, tokens)
    return decode_grid(nodes, tokens, draft.length if draft else 0)


def step_limit(phase: ServingPhase, limit: float | Floats, draft: Draft | None) -> Floats:
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
    node: Deployment, phase: ServingPhase, batch: int, context: int, draft: Draft | None = None
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
    "AnswerBasis", "Basis", "ChipHour", "Draft", "NoPrice", "TokenPrice", "chip_seconds", "deployments_of", "limit_of",
    "shares_of", "step_grid", "step_limit", "step_of", "token_price",
]  # fmt: skip
