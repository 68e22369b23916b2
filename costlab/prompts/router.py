"""Which model a task goes to, judged on money at a stated quality.

A cheap model tries, something checks its answer, and what the check refuses goes to a dear model. The check itself can
err: it lets a wrong answer pass, or sends a right one on. Whether that pays, and how good the check must be, follows in
closed form from how often each model solves each kind of task.

>>> from costlab.prompts import Attempt, TaskKind, Verifier, always, cascade
>>> kinds = [TaskKind("easy", 0.7, cheap=0.95, dear=0.98), TaskKind("hard", 0.3, cheap=0.30, dear=0.90)]
>>> cheap, dear = Attempt("small", 0.001), Attempt("large", 0.02)
>>> tried, alone = cascade(kinds, cheap, dear, Verifier(0.9, 0.1)), always(kinds, dear, "dear")
>>> round(tried.quality, 3), round(alone.quality, 3), round(tried.cost_per_solved / alone.cost_per_solved, 2)
(0.954, 0.956, 0.35)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

ModelRole = Literal["cheap", "dear"]


@dataclass(frozen=True)
class TaskKind:
    """Tasks of one difficulty, and how often each model solves one."""

    name: str  # in words
    share: float  # of all tasks, 0 to 1
    cheap: float  # share of them that the cheap model solves
    dear: float  # share of them that the dear model solves, whether or not the cheap one did

    def __post_init__(self) -> None:
        for what in ("share", "cheap", "dear"):
            _check_share(getattr(self, what), what)


@dataclass(frozen=True)
class Attempt:
    """One try at a task by one model."""

    model: str  # its name
    cost: float  # of one try: tokens read and written at the model's prices

    def __post_init__(self) -> None:
        if not 0 <= self.cost < math.inf:
            raise ValueError(f"cost = {self.cost!r} should be a finite amount of at least 0")


@dataclass(frozen=True)
class Verifier:
    """What checks an answer of the cheap model."""

    passes_right: float  # share of right answers that it lets pass
    passes_wrong: float  # share of wrong answers that it lets pass
    cost: float = 0.0  # of one check

    def __post_init__(self) -> None:
        _check_share(self.passes_right, "passes_right")
        _check_share(self.passes_wrong, "passes_wrong")
        if not 0 <= self.cost < math.inf:
            raise ValueError(f"cost = {self.cost!r} should be a finite amount of at least 0")

    @classmethod
    def of(cls, accuracy: float, cost: float = 0.0) -> Verifier:
        """Return a check that is as often right about right answers as about wrong ones."""
        return cls(accuracy, 1 - accuracy, cost)


@dataclass(frozen=True)
class RoutedTasks:
    """What a way of routing costs and achieves, per task."""

    policy: str  # in words
    cost: float  # of a task on average
    quality: float  # share of tasks that are solved in the end
    dear_share: float  # share of tasks that reach the dear model

    @property
    def cost_per_solved(self) -> float:
        """Cost of a solved task; infinite where none is."""
        return float(self.cost) / float(self.quality) if self.quality else math.inf


def always(kinds: Sequence[TaskKind], attempt: Attempt, model: ModelRole) -> RoutedTasks:
    """Return what it is to give every task to one model.

    Args:
        kinds: of tasks; their shares sum to 1.
        attempt: a try of that model.
        model: whose success counts: "cheap" or "dear".

    Raises:
        ValueError: shares that do not sum to 1, or an unknown model.
    """
    _check_kinds(kinds)
    if model not in ("cheap", "dear"):
        raise ValueError(f"model = {model!r} should be 'cheap' or 'dear'")
    quality = sum(kind.share * getattr(kind, model) for kind in kinds)
    return RoutedTasks(f"always {attempt.model}", attempt.cost, quality, float(model == "dear"))


def cascade(kinds: Sequence[TaskKind], cheap: Attempt, dear: Attempt, verifier: Verifier) -> RoutedTasks:
    """Return what it is to try the cheap model, check, and fall back to the dear one.

    Given its kind, whether the dear model solves a task is taken as independent of whether the cheap one did.

    Args:
        kinds: of tasks; their shares sum to 1.
        cheap: a try of the cheap model.
        dear: a try of the dear model.
        verifier: checks the cheap model's answer.

    Raises:
        ValueError: shares that do not sum to 1.
    """
    _check_kinds(kinds)
    quality = refused = 0.0
    for kind in kinds:
        kept = kind.cheap * verifier.passes_right
        sent = 1 - kept - (1 - kind.cheap) * verifier.passes_wrong
        refused += kind.share * sent
        quality += kind.share * (kept + sent * kind.dear)
    cost = cheap.cost + verifier.cost + refused * dear.cost
    return RoutedTasks(f"{cheap.model}, checked, then {dear.model}", cost, quality, refused)


def threshold(kinds: Sequence[TaskKind], cheap: Attempt, dear: Attempt, hardest: float) -> RoutedTasks:
    """Return what it is to know a task's kind beforehand, and give the cheap model those that it solves often enough.

    Args:
        kinds: of tasks; their shares sum to 1.
        cheap: a try of the cheap model.
        dear: a try of the dear model.
        hardest: the least success of the cheap model, by the dear one's, at which it still gets the kind.

    Raises:
        ValueError: shares that do not sum to 1, or a threshold below 0.
    """
    _check_kinds(kinds)
    if not hardest >= 0:
        raise ValueError(f"hardest = {hardest!r} should be a ratio of at least 0")
    mine = [kind.cheap >= hardest * kind.dear for kind in kinds]
    quality = sum(k.share * (k.cheap if easy else k.dear) for k, easy in zip(kinds, mine, strict=True))
    dear_share = sum(k.share for k, easy in zip(kinds, mine, strict=True) if not easy)
    cost = (1 - dear_share) * cheap.cost + dear_share * dear.cost
    return RoutedTasks(f"{cheap.model} from {hardest:g} on, else {dear.model}", cost, quality, dear_share)


def break_even_accuracy(
    kinds: Sequence[TaskKind], cheap: Attempt, dear: Attempt, check_cost: float = 0.0
) -> float | None:
    """Return the accuracy of a check from which on a cascade costs less per solved task than the dear model alone.

    The check is as often right about right answers as about wrong ones (`Verifier.of`). Cost and quality are straight
    lines in its accuracy s, so C(s) q - d Q(s) = 0, with the dear model's cost d and quality q, has one root.

    Returns:
        0 where any check pays, None where even one that never errs does not.
    """
    alone = always(kinds, dear, "dear")

    def excess(accuracy: float) -> float:
        tried = cascade(kinds, cheap, dear, Verifier.of(accuracy, check_cost))
        return tried.cost * alone.quality - alone.cost * tried.quality

    return _first_root(excess)


def equal_quality_accuracy(kinds: Sequence[TaskKind], cheap: Attempt, dear: Attempt) -> float | None:
    """Return the accuracy of a check from which on a cascade solves at least as many tasks as the dear model alone.

    Returns:
        0 where any check does, None where even one that never errs does not.
    """
    alone = always(kinds, dear, "dear")
    return _first_root(lambda accuracy: alone.quality - cascade(kinds, cheap, dear, Verifier.of(accuracy)).quality)


def cheapest(ways: Sequence[RoutedTasks], quality: float) -> RoutedTasks:
    """Return the way that costs least per task among those that solve at least a share of them.

    Raises:
        ValueError: no way reaches the quality; the message has the best one's.
    """
    good = [way for way in ways if way.quality >= quality]
    if not good:
        best = max((way.quality for way in ways), default=0.0)
        raise ValueError(f"quality = {quality!r} is reached by no way; the best solves {best:.4g} of the tasks")
    return min(good, key=lambda way: way.cost)


def simulate_cascade(
    kinds: Sequence[TaskKind],
    cheap: Attempt,
    dear: Attempt,
    verifier: Verifier,
    tasks: int,
    rng: np.random.Generator,
) -> RoutedTasks:
    """Return what a cascade cost and achieved over so many tasks that were drawn one by one.

    Raises:
        ValueError: shares that do not sum to 1, or no task.
    """
    _check_kinds(kinds)
    if tasks < 1:
        raise ValueError(f"tasks = {tasks!r} should be at least 1")
    drawn = rng.choice(len(kinds), size=tasks, p=[kind.share for kind in kinds])
    solves = {name: np.array([getattr(kind, name) for kind in kinds])[drawn] for name in ("cheap", "dear")}
    right = rng.random(tasks) < solves["cheap"]
    passed = rng.random(tasks) < np.where(right, verifier.passes_right, verifier.passes_wrong)
    rescued = ~passed & (rng.random(tasks) < solves["dear"])
    sent = float(np.mean(~passed))
    quality = float(np.mean((passed & right) | rescued))
    return RoutedTasks("simulated", cheap.cost + verifier.cost + sent * dear.cost, quality, sent)


def _first_root(excess: Callable[[float], float]) -> float | None:
    """Return from where on a straight line over 0 to 1 is at most 0 up to 1; None if it ends above."""
    at = excess(0.0), excess(1.0)
    if at[1] > 0:
        return None
    return float(at[0] / (at[0] - at[1])) if at[0] > 0 else 0.0


def _check_kinds(kinds: Sequence[TaskKind]) -> None:
    total = sum(kind.share for kind in kinds)
    if not math.isclose(total, 1, abs_tol=1e-9):
        raise ValueError(f"the kinds' shares should sum to 1, they sum to {total:g}")


def _check_share(value: float, what: str) -> None:
    if isinstance(value, bool) or not 0 <= value <= 1:
        raise ValueError(f"{what} = {value!r} should be a share from 0 to 1")
