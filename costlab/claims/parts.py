"""A claim's numbers, one by one: what is said beside what comes out, and the verdict that follows.

A part holds one claimed number and the computed one in the same unit. What is computed is given as a formula, a call of
costlab as text, and the formula that a reader sees is the one that was run.

>>> from costlab import claims
>>> active = claims.part("active parameters", "parameters", 49e9, 'arch.load("deepseek-v4-pro").params.active', 0.02)
>>> round(active.computed / 1e9, 2), claims.verdict_of([active])
(48.85, 'reproduced')

Chapter: claims
"""

from __future__ import annotations

import importlib
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, get_args

from costlab.text import cell, count_text, digits_text

Verdict = Literal[
    "reproduced",
    "reproduced under a stated assumption",
    "contradicted",
    "unit or label error",
    "not checkable from public facts",
]
#: How a claimed number is meant: as a value, or as a bound of what comes out.
Relation = Literal["equal", "between", "at least", "at most"]

#: What a formula may use: rooms of costlab, by the names that a reader imports.
ROOMS = (
    "arch", "cache", "catalog", "chips", "claims", "hybrid", "levers", "limits", "moe", "prices", "roofline",
    "speculative",
)  # fmt: skip


@dataclass(frozen=True)
class Reading:
    """Another unit or label under which a claimed number would be right."""

    label: str  # the unit or label, in words
    computed: float  # what comes out under it
    formula: str  # the call that gives it; empty where a number was given


@dataclass(frozen=True)
class ClaimPart:
    """One number of a claim beside what costlab computes for it."""

    quantity: str  # what is counted, in words
    unit: str  # of both numbers
    claimed: float  # what is said; the lower end where a range is said
    computed: float | None  # what comes out; None where nothing public gives it
    tolerance: float  # by which share of the computed number the claimed one may miss it
    relation: Relation = "equal"  # how the claimed number is meant
    upto: float | None = None  # upper end of a claimed range
    formula: str = ""  # the call of costlab that gives the computed number; empty where a number was given
    beyond: bool = False  # whether it lies outside of the claim's stated assumption: shown, not needed
    reading: Reading | None = None  # unit or label under which the claimed number may be right
    number: str = ""  # names of the claim's numbers in the catalog, with commas between

    @property
    def agrees(self) -> bool | None:
        """Whether the claimed number is right within the tolerance; None where nothing can be computed."""
        return None if self.computed is None else self._agrees(self.computed)

    @property
    def misread(self) -> bool:
        """Whether the claimed number is wrong, and right under another unit or label."""
        return self.agrees is False and self.reading is not None and self._agrees(self.reading.computed)

    @property
    def off(self) -> float:
        """Claimed number over the computed one, by the nearer end of a range, and 1 within it.

        Not a number for a bound, which a number may keep by any factor, and where one of both is not above 0.
        """
        ours = self.computed
        if ours is None or self.relation not in ("equal", "between"):
            return math.nan
        if self.agrees and self.relation == "between":
            return 1.0
        nearer = self.upto if self.upto is not None and ours > self.upto else self.claimed
        return nearer / ours if ours > 0 and nearer > 0 and math.isfinite(ours) else math.nan

    @property
    def imports(self) -> str:
        """The line of Python that the formula needs before it."""
        return imports_of(self.formula)

    @property
    def claimed_text(self) -> str:
        """The claimed number as it is meant, for people: "at most 0", "10 to 20"."""
        if self.upto is not None:
            return f"{_figure(self.claimed)} to {_figure(self.upto)}"
        return _figure(self.claimed) if self.relation == "equal" else f"{self.relation} {_figure(self.claimed)}"

    @property
    def computed_text(self) -> str:
        """The computed number for people, and a dash where there is none."""
        return "–" if self.computed is None else _figure(self.computed)

    def _agrees(self, computed: float) -> bool:
        slack = self.tolerance * abs(computed)
        if not math.isfinite(slack):
            return False
        least = self.claimed - slack <= computed
        most = computed <= (self.claimed if self.upto is None else self.upto) + slack
        return {"equal": least and most, "between": least and most, "at least": least, "at most": most}[self.relation]


def part(
    quantity: str,
    unit: str,
    claimed: float | tuple[float, float],
    computed: float | str | None,
    tolerance: float = 0.05,
    *,
    relation: Relation | None = None,
    beyond: bool = False,
    reading: Reading | None = None,
    number: str = "",
) -> ClaimPart:
    """Return a claimed number beside the computed one.

    Args:
        quantity: what is counted, in words.
        unit: of both numbers, e.g. "parameters", "bytes", "times".
        claimed: what is said; two numbers for a range.
        computed: what comes out, as a number or as a formula, see `value_of`; None where nothing public gives it.
        tolerance: by which share of the computed number the claimed one may miss it, 0 to below 1.
        relation: how the claimed number is meant; None for "equal", and for "between" where a range is claimed.
        beyond: whether it lies outside of the claim's stated assumption: shown, not needed.
        reading: unit or label under which the claimed number may be right, see `reading`.
        number: names of the claim's numbers in the catalog, with commas between.

    Raises:
        ValueError: a tolerance out of range, a range that falls, a relation that does not fit, a formula that fails.
    """
    low, high = claimed if isinstance(claimed, tuple) else (claimed, None)
    meant: Relation = relation or ("equal" if high is None else "between")
    if not 0 <= tolerance < 1:
        raise ValueError(f"tolerance = {tolerance} should be a share from 0 to below 1")
    if meant not in get_args(Relation) or (meant == "between") != (high is not None):
        raise ValueError(f"relation = {relation!r} should be 'between' for a range, else equal, at least or at most")
    if math.isnan(low) or (high is not None and math.isnan(high)):
        raise ValueError(f"claimed = {claimed} should be a number")
    formula = computed if isinstance(computed, str) else ""
    value = value_of(computed) if isinstance(computed, str) else computed
    return ClaimPart(quantity, unit, float(low), None if value is None else float(value), tolerance, meant,
                None if high is None else float(high), formula, beyond, reading, number)  # fmt: skip


def reading(label: str, computed: float | str) -> Reading:
    """Return another unit or label under which a claimed number may be right.

    Args:
        label: the unit or label, in words.
        computed: what comes out under it, as a number or as a formula.

    Raises:
        ValueError: a formula that fails.
    """
    if isinstance(computed, str):
        return Reading(label, value_of(computed), computed)
    return Reading(label, float(computed), "")


def verdict_of(parts: Iterable[ClaimPart], assumption: str | None = None) -> Verdict:
    """Return the verdict that a claim's parts give.

    All parts are needed but those beyond the stated assumption. A needed part that is wrong makes the claim
    contradicted, unless each that is wrong is right in another unit or under another label. Where all are right the
    claim is reproduced: under the assumption if there is one, as it stands if there is none or if what lies beyond it
    is right as well.

    Args:
        parts: of the claim, at least one that is needed.
        assumption: under which the needed parts are computed; None where none is made.

    Raises:
        ValueError: no needed part; parts beyond an assumption that is not stated.
    """
    every = list(parts)
    needed = [each for each in every if not each.beyond]
    outside = [each for each in every if each.beyond]
    if not needed:
        raise ValueError("a verdict needs at least one part that is not beyond the assumption")
    if outside and not assumption:
        raise ValueError(f"{outside[0].quantity!r} is beyond an assumption, which should be stated")
    if wrong := [each for each in needed if each.agrees is False]:
        return "unit or label error" if all(each.misread for each in wrong) else "contradicted"
    if any(each.agrees is None for each in needed):
        return "not checkable from public facts"
    if assumption and not (outside and all(each.agrees for each in outside)):
        return "reproduced under a stated assumption"
    return "reproduced"


def value_of(formula: str) -> float:
    """Run a formula, a call of costlab as text, and return the number that it gives.

    Args:
        formula: an expression of Python that uses rooms of costlab by name, see `ROOMS`, e.g. `arch.load("...")`.

    Raises:
        ValueError: a formula that does not run or gives no number.
    """
    rooms = {name: importlib.import_module(f"costlab.{name}") for name in _rooms(formula)}
    try:
        return float(eval(formula, rooms))  # a settler's own text, or what a reader types into their own session
    except Exception as error:
        raise ValueError(f"formula {formula!r} should give a number: {type(error).__name__}: {error}") from error


def imports_of(formula: str) -> str:
    """Return the line of Python that a formula needs before it; empty where it needs none."""
    rooms = _rooms(formula)
    return f"from costlab import {', '.join(rooms)}" if rooms else ""


def _figure(value: float) -> str:
    """A number for people: millions in words, thousandths without an exponent."""
    if abs(value) >= 1e6:
        return count_text(value)
    return digits_text(value) if 1e-9 < abs(value) < 1e-3 else cell(float(value))


def _rooms(formula: str) -> list[str]:
    return [name for name in ROOMS if re.search(rf"(?<![\w.]){name}\.", formula)]


def literal(value: float) -> str:
    """Write a number for a formula, whole ones without a point."""
    return f"{value:.0f}" if float(value).is_integer() and abs(value) < 1e15 else repr(float(value))
