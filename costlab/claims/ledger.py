"""The ledger: every number that the source articles give, recomputed from the catalog, with a verdict.

What an article says stands in catalog/claims.toml; how it is settled stands here, one short function per claim. A
settler gets every number of the claim's entry by name; its verdict and its text follow from these and from costlab.

Chapter: moe
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, TypeVar

from costlab import arch, catalog, checks
from costlab.catalog import ClaimRecord

Verdict = Literal["holds", "holds with a condition", "does not follow", "wrong", "cannot be checked"]

Settled = tuple[Verdict, str, str]

Values = Mapping[str, float]
L = TypeVar("L", bound=arch.Attention)

V4_PRO, MIMO_PRO = "deepseek-v4-pro", "mimo-v2.5-pro"
SHORT, LONG, LONGEST = 4096, 131_072, 1_048_576  # contexts at which claims that name none are looked at


@dataclass(frozen=True)
class Finding:
    """A claim with what costlab computes for it, the verdict, and why in a sentence."""

    key: str  # of the claim
    claim: ClaimRecord  # its entry in the catalog
    verdict: Verdict  # one of five
    computed: str  # what costlab computes for it, in words
    why: str  # the reason in a sentence
    chapter: str  # slug of the chapter that computes it


_SETTLERS: dict[str, Callable[[Values], Settled]] = {}


def settle(key: str, /, **instead: float) -> Finding:
    """Recompute one claim, as its entry in the catalog has it or with other numbers.

    Args:
        key: e.g. "moe-params".
        instead: numbers in place of the entry's, by its names, to see what the verdict hangs on: `times=40`.

    Raises:
        ValueError: a claim that is unknown or that no function settles; a number that the claim does not have.
    """
    claim = checks.pick(catalog.tables().claims, key, "claim")
    for name in instead:
        checks.pick(claim.numbers, name, f"number of {key}")
    settler = checks.pick(_SETTLERS, key, "settled claim")
    verdict, computed, why = settler({**claim.numbers, **instead})
    why = f"{why.rstrip('.')} ({claim.source})." if claim.source else why
    return Finding(key, claim, verdict, computed, why, settler.__module__.split(".")[2])  # after costlab.claims


def findings(prefix: str = "") -> tuple[Finding, ...]:
    """Recompute every claim whose key starts with a prefix, in the catalog's order.

    Raises:
        ValueError: a prefix that no claim has.
    """
    keys = [key for key in catalog.tables().claims if key.startswith(prefix)]
    if not keys:
        raise ValueError(checks.unknown("prefix of claims", prefix, catalog.tables().claims))
    return tuple(settle(key) for key in keys)


def settles(key: str) -> Callable[[Callable[[Values], Settled]], Callable[[Values], Settled]]:
    """Register the decorated function as what settles a claim."""

    def register(settler: Callable[[Values], Settled]) -> Callable[[Values], Settled]:
        _SETTLERS[key] = settler
        return settler

    return register


def agrees(claimed: float, computed: float, share: float) -> bool:
    """Say whether two figures agree to a share of the computed one, which is finite."""
    return abs(claimed - computed) <= share * abs(computed) < math.inf


def graded(parts: Iterable[bool], none: Verdict = "wrong") -> Verdict:
    """Return the verdict on a claim of several parts: all, some or none of them true."""
    found = list(parts)
    return "holds" if all(found) else "holds with a condition" if any(found) else none


def ratio(above: float, below: float) -> float:
    """Return a quotient of claimed figures, infinite where nothing is below."""
    return above / below if below else math.inf


def off_by(claimed: float, computed: float) -> str:
    """Return by how much a claimed figure misses the computed one, in words."""
    return f"{abs(claimed / computed - 1):.1%}"


def layer_of(model: str, kind: type[L]) -> L:
    """Return a model's first attention layer of exactly a kind."""
    return next(attention for attention, _ in arch.load(model).layers if type(attention) is kind)
