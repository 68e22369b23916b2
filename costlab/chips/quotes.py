"""What is asked of a chip, an hour of it and how it serves, and what is answered: a price, or why there is none."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from costlab import catalog
from costlab.catalog import ChipRecord
from costlab.catalog.serving import ServingPhase
from costlab.chips.assumptions import Assumption
from costlab.roofline import Deployment, Efficiency

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
    chips: tuple[int, ...] = ()  # deployments that are looked at, in chips; () for 1, 2, 4 … servers (`sizes`)
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
class DraftedRound:
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


__all__ = ["AnswerBasis", "Basis", "ChipHour", "DraftedRound", "NoPrice", "TokenPrice"]
