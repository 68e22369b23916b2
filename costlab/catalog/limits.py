"""What limits.toml holds: a constant of physics, the energy of operations, and published energies of requests."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Literal

from costlab.catalog.chips import Confidence, check_range

#: What an operation does.
OperationKind = Literal["multiply", "add", "read"]


@dataclass(frozen=True)
class PhysicalConstant:
    """A constant of physics."""

    says: str  # what it is, in words
    symbol: str  # how formulas write it
    value: float  # in `unit`
    unit: str  # SI
    source: str  # who fixed it
    date: date  # since when


@dataclass(frozen=True)
class OperationEnergy:
    """What one operation of a circuit takes, without what brings its operands."""

    kind: OperationKind  # what it does
    says: str  # the same in words
    bits: int  # of an operand, or of what is read
    joules: float  # of one operation
    source: str  # where it stands
    date: date  # of the publication
    process_nm: int | None = None  # the manufacturing process, by its name; None where it is no circuit of one process
    low: float | None = None  # least that the source names, in joules
    high: float | None = None  # most that it names
    confidence: Confidence = "medium"  # how sure the figure is
    note: str = ""  # what a reader should know

    def __post_init__(self) -> None:
        if self.bits < 1:
            raise ValueError(f"bits = {self.bits} should be at least 1")
        if not self.joules > 0:
            raise ValueError(f"joules = {self.joules} should be above 0")
        check_range(self.joules, self.low, self.high, "joules")


@dataclass(frozen=True)
class PublishedEnergy:
    """What somebody published for the energy of a request."""

    says: str  # what was counted, in words
    wh: float  # watt-hours of a request
    source: str  # where it stands
    date: date  # of the publication
    low: float | None = None  # least that the source names, in watt-hours
    high: float | None = None  # most that it names
    model: str | None = None  # key of a model of the same architecture in the catalog; None where it is not said
    input: int | None = None  # tokens of the prompt; None where they are not said
    output: int | None = None  # tokens of the answer; None where they are not said
    confidence: Confidence = "medium"  # how sure the figure is
    note: str = ""  # what a reader should know

    def __post_init__(self) -> None:
        if not self.wh > 0:
            raise ValueError(f"wh = {self.wh} should be above 0")
        check_range(self.wh, self.low, self.high, "wh")
