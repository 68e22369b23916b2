"""The figures of a service, each from the catalog with the least and the most that its sources name.

Efficiencies are those of published runs on chips of one maker, of all families together: the least and the most of them
bound it, the geometric mean is taken. A chip's hour costs from what a hyperscaler pays for its own to what a tenant
pays.

Chapter: levers
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Collection, Iterable, Mapping

from costlab import arch, catalog, checks
from costlab.arch import Model
from costlab.catalog.serving import ServingPhase
from costlab.chips import EfficiencyPoint, efficiency_points
from costlab.chips.assumptions import Assumption, assumption
from costlab.levers.services import INPUTS

#: Chips whose hour nobody lists, and the one that does the same work: H800 and H20 are cut from the H100's silicon.
RENTED_AS = {"h800": "h100-sxm", "h20": "h100-sxm", "h20-141": "h200"}


def service_figures(
    model: str | Model,
    chip: str,
    traffic: str = "coding",
    *,
    leave_out: Collection[str] = (),
    drafted: int = 1,
    given: Mapping[str, float | Assumption] | None = None,
) -> dict[str, Assumption]:
    """Return the figures of a service with all levers.

    Args:
        model: key in the catalog, or a model.
        chip: key in the catalog.
        traffic: kind of use in the catalog, e.g. "coding".
        leave_out: keys of published runs that the efficiencies may not rest on, so that they can be predicted.
        drafted: tokens that are drafted in a round; of 0 a round yields one.
        given: figures by name in the place of the catalog's, which need not have them then.

    Raises:
        ValueError: an unknown model, chip, kind of use or figure; no published run that is left; as `rent`,
            `round_tokens`.
    """
    catalog.chip(chip)
    kind = checks.pick(catalog.tables().traffic, traffic, "kind of use")
    said = f"{kind.says} ({kind.source})"
    known: dict[str, Callable[[], Assumption]] = {
        "rent": lambda: rent(chip),
        "prefill share": lambda: share_reached(chip, "prefill", leave_out),
        "decode share": lambda: share_reached(chip, "decode", leave_out),
        "input": lambda: Assumption(kind.input, INPUTS["input"], said, kind.date),
        "hit rate": lambda: Assumption(kind.hit_rate, INPUTS["hit rate"], said, kind.date),
        "output": lambda: Assumption(kind.output, INPUTS["output"], said, kind.date),
        "round tokens": lambda: round_tokens(model, drafted),
    }
    stored = {each.input: name for name, each in catalog.tables().lever_figures.items() if not each.off}
    known |= {name: functools.partial(_figure, key) for name, key in stored.items()}
    own = {
        name: assumption(each, checks.pick(INPUTS, name, "input of a service")) for name, each in (given or {}).items()
    }
    return {name: own[name] if name in own else look() for name, look in known.items()}


def _figure(name: str) -> Assumption:
    """A figure of levers.toml."""
    each = checks.pick(catalog.tables().lever_figures, name, "figure")
    return Assumption(each.value, each.unit, each.source, each.date, each.low, each.high, key=each.input)


def before_levers(chip: str) -> dict[str, Assumption]:
    """Return the figures that differ where their lever is off: the hours of use, and the rent of an older chip."""
    off = {each.input: _figure(name) for name, each in catalog.tables().lever_figures.items() if each.off}
    return {**off, "rent": rent(chip)}


def rent(chip: str) -> Assumption:
    """Return what a chip-hour costs: from a large owner's cost to a tenant's rent, at the middle of all figures.

    Raises:
        ValueError: an unknown chip, or one of which the catalog has no hour.
    """
    key = chip.lower()
    catalog.chip(key)
    like = RENTED_AS.get(key, key)
    hours = [
        (each.amounts[like], each.source, each.date)
        for each in catalog.tables().owning.values()
        if like in each.amounts and each.currency == "USD"
    ]
    offers = [o for o in catalog.chip(like).offers if (o.kind, o.unit, o.currency) == ("rent", "chip-hour", "USD")]
    hours += [(offer.amount, offer.source, offer.date) for offer in offers]
    if not hours:
        raise ValueError(f"the catalog has no dollars for an hour of {chip!r}: give the rent")
    amounts = sorted(amount for amount, _, _ in hours)
    as_other = f", as those of {catalog.chip(like).name}" if like != key else ""
    source = f"median of {len(hours)} published costs and rents of an hour{as_other}"
    return Assumption(
        _median(amounts),
        INPUTS["rent"],
        source,
        max(day for _, _, day in hours),
        amounts[0],
        _upper(amounts),
        key=f"rent of {key}",
    )


def _median(amounts: list[float]) -> float:
    middle = len(amounts) // 2
    return amounts[middle] if len(amounts) % 2 else (amounts[middle - 1] + amounts[middle]) / 2


def _upper(amounts: list[float]) -> float:
    """The upper quartile: the dearest offers are hours by the piece, which nobody serves from."""
    return amounts[(3 * (len(amounts) - 1) + 3) // 4]


def share_reached(chip: str, phase: ServingPhase, leave_out: Collection[str] = ()) -> Assumption:
    """Return the share of the roofline that published runs of a phase reach on chips of a chip's maker.

    Args:
        chip: key in the catalog.
        phase: prefill or decode.
        leave_out: keys of runs that may not count.

    Raises:
        ValueError: an unknown chip or phase; a maker without a run that counts.
    """
    maker = catalog.chip(chip).maker
    points = [p for p in efficiency_points() if p.phase == phase and catalog.chip(p.chip).maker == maker]
    points = [p for p in points if p.key not in leave_out and p.share <= 1]
    if not points:
        raise ValueError(f"no published {phase} run on a chip of {maker} is left: give the share that {chip!r} reaches")
    return _of_points(points, phase)


def _of_points(points: Iterable[EfficiencyPoint], phase: ServingPhase) -> Assumption:
    found = list(points)
    shares = [point.share for point in found]
    middle = math.exp(sum(map(math.log, shares)) / len(shares))
    runs = ", ".join(point.key for point in found)
    return Assumption(
        middle, INPUTS[f"{phase} share"], f"geometric mean of published runs ({runs})", max(p.date for p in found),
        min(shares), max(shares), key=f"{phase} share",
    )  # fmt: skip


def round_tokens(model: str | Model, drafted: int = 1) -> Assumption:
    """Return the tokens that a round of drafted tokens yields, as measured for the model or for others.

    Args:
        model: key in the catalog, or a model.
        drafted: tokens that the model's own modules draft in a round; without any it yields one.

    Raises:
        ValueError: an unknown model; a number of drafted tokens that nobody measured.

    Source: catalog/acceptance.toml; lengths of modules for multi-token prediction.
    """
    key, unit = arch.load(model).key, INPUTS["round tokens"]
    if checks.whole(drafted, "drafted") == 0:
        return Assumption(1.0, unit, "a plain step yields one token")
    curves = [c for c in catalog.tables().curves.values() if c.drafter == "MTP"]
    measured = [c for c in curves if drafted in c.draft_lengths]
    if not measured:
        known = sorted({length for c in curves for length in c.draft_lengths})
        raise ValueError(f"drafted = {drafted}: accepted lengths are known of {', '.join(map(str, known))}, or 0")
    own = [c for c in measured if c.model == key] or measured
    lengths = sorted(c.accepted_lengths[c.draft_lengths.index(drafted)] for c in own)
    source = "; ".join(dict.fromkeys(c.source for c in own))
    return Assumption(_median(lengths), unit, source, max(c.date for c in own), lengths[0], lengths[-1])


__all__ = ["RENTED_AS", "before_levers", "rent", "round_tokens", "service_figures", "share_reached"]
