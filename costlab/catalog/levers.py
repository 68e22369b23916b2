"""What levers.toml holds: what the levers together rest on beside models, chips and prices."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from costlab.catalog.chips import Confidence, check_range


@dataclass(frozen=True)
class LeverFigure:
    """One figure of how a model is served, with the least and most that sources name."""

    input: str  # which figure of a service it is
    says: str  # the figure, in words
    value: float  # in `unit`
    unit: str  # of the three numbers
    source: str  # where it stands, or why it is taken
    date: date  # day that it is of
    low: float | None = None  # least that sources name
    high: float | None = None  # most that they name
    off: bool = False  # whether it is of a service before the lever, not of the one that has it
    confidence: Confidence = "medium"  # how sure the figure is
    note: str = ""  # what a reader should know

    def __post_init__(self) -> None:
        check_range(self.value, self.low, self.high, "value")


@dataclass(frozen=True)
class TrafficKind:
    """A mean request of a kind of use."""

    says: str  # who asks for what
    input: int  # tokens of the prompt, those that were sent before included
    hit_rate: float  # share of them that was sent before
    output: int  # tokens of the answer
    source: str  # where the figures stand
    date: date  # day that they are of
    note: str = ""  # what a reader should know

    def __post_init__(self) -> None:
        if self.input < 1 or self.output < 1:
            raise ValueError(f"input = {self.input} and output = {self.output} should be at least 1 token")
        if not 0 <= self.hit_rate < 1:
            raise ValueError(f"hit_rate = {self.hit_rate} should be at least 0 and below 1")
