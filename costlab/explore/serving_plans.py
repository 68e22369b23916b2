"""Figure of the chapter `serving`: what plans cost, and what they yield.

Chapter: serving
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

from costlab import prices
from costlab.explore.drawing import Words, drawn, value
from costlab.explore.serving import (
    ANSWER,
    CHIPS,
    EFFICIENCY,
    LINK_BYTES_S,
    LINK_S,
    LOAD,
    MODEL,
    PROMPT,
    SERVED_CHIP,
    time_text,
)
from costlab.explore.style import COLOURS, colour_key, log_axis, new_figure
from costlab.serving.metrics import Objective
from costlab.serving.plan.candidates import Candidate, Refused
from costlab.serving.plan.search import SearchOutcome, search
from costlab.serving.plan.space import Space
from costlab.serving.plan.workload import demand

MET_SHARE = 0.9  # of the requests that should meet both objectives
_LAYOUT_COLOURS = {"co-located": "together", "separated": "apart"}


@functools.lru_cache(maxsize=64)
def plans_for(load: float, prompt: int, answer: int, ttft_s: float, tpot_s: float) -> SearchOutcome:
    """Return what the planner's closed form finds for a load on the chapter's chips, cheapest first."""
    space = Space(
        MODEL,
        (SERVED_CHIP,),
        rents={SERVED_CHIP: prices.chip_rent(SERVED_CHIP).amount},
        layouts=("co-located", "separated"),
        tensor_parallel=(2, 4, 8),
        efficiency=EFFICIENCY,
        link_bytes_s=LINK_BYTES_S / CHIPS,
        link_latency_s=LINK_S,
    )
    return search(space, demand(load, prompt, answer), Objective(ttft_s, tpot_s, share=MET_SHARE))


@drawn
def plan_front(
    load: float = LOAD, ttft_ms: float = 1000, tpot_ms: float = 25, prompt: int = PROMPT, answer: int = ANSWER
) -> Words:
    """Draw what plans cost against the time per token that they yield, by the planner's closed form.

    Args:
        load: requests a second.
        ttft_ms: objective for the first token, milliseconds.
        tpot_ms: objective for the time per token, milliseconds.
        prompt: tokens of each prompt.
        answer: tokens of each answer.

    Raises:
        ValueError: a number that is not above 0.
    """
    found = plans_for(load, prompt, answer, ttft_ms / 1e3, tpot_ms / 1e3)
    axes = new_figure("Which plans are worth their rent?", "time per token, 90% (ms)", "rent (USD per hour)")
    for plan in found.candidates:
        look = "o" if plan.layout == "co-located" else "s"
        axes.plot(1e3 * plan.closed.tpot_s, plan.usd_per_hour, look, color=COLOURS[_LAYOUT_COLOURS[plan.layout]])
    front = _cheapest_front(found.candidates)
    axes.plot(
        [1e3 * plan.closed.tpot_s for plan in front], [plan.usd_per_hour for plan in front], ":", color=COLOURS["other"]
    )
    axes.axvline(tpot_ms, color=COLOURS["dropped"], linewidth=1.2, linestyle="--")
    most = max((plan.usd_per_hour for plan in found.candidates), default=1.0)
    log_axis(axes, "y", [10, 20, 30, 50, 100, 200, 500, 1000, 2000, 5000], "${:,.0f}".format)
    least = min((plan.usd_per_hour for plan in found.candidates), default=1.0)
    axes.set(xlim=(0, 1.08 * tpot_ms), ylim=(0.8 * least, 1.3 * most))
    colour_key([("co-located", COLOURS["together"]), ("separated", COLOURS["apart"])])
    colour_key([("objective", COLOURS["dropped"])], "dashed")
    return _plans_said(found, front, load)


def _cheapest_front(plans: Sequence[Candidate]) -> list[Candidate]:
    """The plans than which none is both cheaper and faster per token, fastest last."""
    front: list[Candidate] = []
    for plan in sorted(plans, key=lambda one: (one.usd_per_hour, one.closed.tpot_s)):
        if not front or plan.closed.tpot_s < front[-1].closed.tpot_s:
            front.append(plan)
    return front


def _short_name(name: str) -> str:
    """A plan's name with its chip as people call it."""
    return name.replace(SERVED_CHIP, "H100")


def _plans_said(found: SearchOutcome, front: Sequence[Candidate], load: float) -> Words:
    refused = _refused_said(found.refused)
    if not found.candidates:
        why = found.infeasible.words if found.infeasible else "nothing meets the objective"
        return Words(f"No plan serves {load:g} requests/s within the objective: {why}.", f"No plan: {why}.{refused}")
    plans = "; ".join(
        f"{_short_name(plan.name)}: {value(plan.usd_per_hour, f'${plan.usd_per_hour:.2f} an hour')}, first token "
        f"{value(plan.closed.ttft_s, time_text(plan.closed.ttft_s))}, per token "
        f"{value(plan.closed.tpot_s, time_text(plan.closed.tpot_s))}"
        for plan in front
    )
    return Words(
        f"{len(found.candidates)} plans for {load:g} requests/s, rent against time per token. From the cheapest to the "
        "fastest: "
        + "; ".join(
            f"{_short_name(plan.name)}, ${plan.usd_per_hour:.2f} an hour, {time_text(plan.closed.tpot_s)} a token"
            for plan in front
        )
        + ".",
        f"Of {value(len(found.candidates), f'{len(found.candidates)} plans')}, those on the dotted line: {plans}."
        f"{refused}",
    )


def _refused_said(refused: Sequence[Refused]) -> str:
    """Each reason once, with the first layout that it refuses."""
    reasons: dict[str, str] = {}
    for one in refused:
        reasons.setdefault(one.reason.words, f"{_short_name(one.name)} ({one.reason.constraint}: {one.reason.words})")
    return f" Refused: {'; '.join(list(reasons.values())[:3])}." if reasons else ""
