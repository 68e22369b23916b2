"""Claims about what is left of a price, settled: what a mean request brings beside what serving it costs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from costlab import catalog, checks, levers, prices
from costlab.claims.ledger import MIMO_PRO, Settled, Values, settles
from costlab.claims.parts import ClaimPart, Relation, literal, part

OLD_DAY, NEW_DAY = "2026-05-20", "2026-06-01"  # before Xiaomi's cut, and after it
#: Kinds of use, as the ledger calls their requests; the one that sends most comes first.
USES: Mapping[str, str] = {"coding": "a coding agent", "chat": "a chat", "tools": "an agent with tools"}
_AGENT = "coding"  # whose requests the assumption of the new list's claim is about
_MIDDLE = 0.05, 0.95  # ends of the middle 90% of the draws
_PLACE = "levers#sec-levers-lists"


@settles("margin-before-cut", _PLACE)
def _margin_before_cut(given: Values) -> Settled:
    said, load = (given["low"], given["high"]), given["load"]
    parts = [
        part(f"revenue over cost of a request of {name}, old list, chips at work in {use:.0%} of the hours", "times",
             said, _call(kind, use, OLD_DAY), 0.05, beyond=use != load, number="low,high")
        for use in (load, assumed_use(), catalog.tables().claims["breakeven-after-cut"].numbers["full"])
        for kind, name in USES.items()
    ]  # fmt: skip
    computed = [each.computed or 0.0 for each in parts]
    mine, usual = computed[: len(USES)], computed[len(USES) : 2 * len(USES)]
    why = (
        f"At the use that the course assumes, {assumed_use():.0%}, the old list brings {_span(usual, '.1f')} times the "
        f"cost of a request, so a margin of {said[0]:g} to {said[1]:g} times takes engines that stand idle most of the "
        f"time: at {load:.0%} it is {_span(mine, '.1f')} times. {_fuller(load)}"
    )
    assumption = f"{_chip()} at work in {load:.0%} of their hours, a use that nobody has published"
    return Settled(parts, why, assumption, sought=True)


@settles("breakeven-after-cut", _PLACE)
def _breakeven_after_cut(given: Values) -> Settled:
    full, name = given["full"], USES[_AGENT]
    ends: tuple[tuple[float, Relation], ...] = ((_MIDDLE[0], "at most"), (_MIDDLE[1], "at least"))
    parts: list[ClaimPart] = [
        part(f"revenue over cost of a request of {name}, new list, that {share:.0%} of the draws lie below", "times",
             given["even"], _call(_AGENT, full, NEW_DAY, share), 0.0, relation=relation, number="even")
        for share, relation in ends
    ]  # fmt: skip
    parts += [
        part(f"revenue over cost of a request of {other}, new list, each figure at its value", "times", given["even"],
             _call(kind, full, NEW_DAY), 0.05, beyond=True, number="even")
        for kind, other in USES.items()
    ]  # fmt: skip
    low, high, value, *others = (each.computed or 0.0 for each in parts)
    why = (
        f"By the new list a request of {name} brings {value:.2f} times its cost with chips at work in {full:.0%} of "
        f"their hours, and {low:.2f} to {high:.2f} times in the middle {_MIDDLE[1] - _MIDDLE[0]:.0%} of the draws, so "
        f"that breaking even is within what is known. Requests of chats and of agents with tools bring "
        f"{_span(others, '.1f')} times their cost: more of their tokens are misses and output, whose prices fell less "
        f"than that of a hit. {_fuller(full)} {_hosts()}"
    )
    assumption = f"requests as long as those of {name}, {_chip()} at work in {full:.0%} of their hours"
    return Settled(parts, why, assumption, sought=True)


def revenue_over_cost(use: str, utilisation: float, day: str, below: float | None = None) -> float:
    """Return what a mean request to MiMo-V2.5-Pro brings by its list over what serving it costs.

    Args:
        use: kind of use, e.g. "coding".
        utilisation: share of hours in which the chips work.
        day: of the list, e.g. "2026-06-01".
        below: share of 2,000 draws of all other figures that lie below what is returned; None for each at its value.

    Raises:
        ValueError: an unknown kind of use, a share out of its range, a day without price.
    """
    service = _service(use, utilisation)
    found = levers.margin(MIMO_PRO, service, when=day)
    if below is None:
        return found.revenue / float(found.costs.bill)
    share = checks.share(below, "below")
    drawn = levers.spread_of(service, np.random.default_rng(0), 2000).drawn.bill
    return float(np.quantile(found.revenue / drawn, share))


def assumed_use() -> float:
    """Return the share of hours in which chips work, as the course assumes."""
    return levers.served(MIMO_PRO, traffic=_AGENT).inputs()["utilisation"].value


def _service(use: str, utilisation: float) -> levers.Service:
    return levers.served(MIMO_PRO, traffic=use).with_inputs(utilisation=utilisation)


def _call(use: str, utilisation: float, day: str, below: float | None = None) -> str:
    """The formula of `revenue_over_cost`."""
    drawn = "" if below is None else f", below={literal(below)}"
    return f'claims.margins.revenue_over_cost("{use}", {literal(utilisation)}, "{day}"{drawn})'


def _fuller(use: float) -> str:
    """Say what both lists together tell of the engines, whatever a request costs."""
    paid = {
        kind: revenue_over_cost(kind, use, OLD_DAY) / revenue_over_cost(kind, use, NEW_DAY) for kind in (_AGENT, "chat")
    }
    return (
        f"For a request of {USES[_AGENT]} the old list asked {paid[_AGENT]:.1f} times what the new one asks, for one "
        f"of {USES['chat']} {paid['chat']:.1f} times, so a margin then and none now fit engines that were mostly idle "
        "before the cut and are nearly full after it. Xiaomi publishes neither its costs nor its load."
    )


def _hosts() -> str:
    """Say what others ask who serve the same weights: a bound from above on what that costs them."""
    last = prices.price_at(MIMO_PRO).output
    asked = [each for each in catalog.tables().prices if (each.host_of, each.currency) == (MIMO_PRO, "USD")]
    if not asked:
        return ""
    day = max(each.date for each in asked)
    return (
        f"Who hosts the same weights, which Xiaomi no longer sells, need not lose on them: on {day} {len(asked)} hosts "
        f"ask {_span([each.output / last for each in asked], '.2f')} times that price for output."
    )


def _chip() -> str:
    return catalog.chip(levers.served(MIMO_PRO, traffic=_AGENT).chip).name


def _span(values: Iterable[float], form: str) -> str:
    found = list(values)
    low, high = format(min(found), form), format(max(found), form)
    return low if low == high else f"{low} to {high}"
