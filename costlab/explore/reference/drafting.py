"""What drafters are measured to yield: tokens of a pass, acceptance by position, speed-ups."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from costlab import catalog
from costlab.catalog import AcceptanceCurve, MeasuredSpeedup, PositionAcceptance
from costlab.explore.reference.listing import Sourced, sourced


def accepted_lengths() -> Sourced:
    """Return the accepted lengths of drafters by draft length: tokens of a target pass, its own among them."""
    curves = catalog.tables().curves.values()
    lengths = sorted({length for curve in curves for length in curve.draft_lengths})
    rows = (({**_who(curve), **_at(curve, lengths), "read": curve.read}, curve) for curve in curves)
    caption = "Tokens of a target pass, by drafted tokens"
    return sourced("curves", rows, caption, ("target", "drafter"), bold="target")


def _who(entry: AcceptanceCurve | PositionAcceptance | MeasuredSpeedup) -> dict[str, Any]:
    mode = f", {entry.mode}" if isinstance(entry, AcceptanceCurve) and entry.mode else ""
    return {
        "target": f"{entry.target}{mode}",
        "drafter": entry.drafter,
        "task": entry.task,
        "temperature": entry.temperature,
    }


def _at(curve: AcceptanceCurve, lengths: Iterable[int]) -> dict[str, Any]:
    known = dict(zip(curve.draft_lengths, curve.accepted_lengths, strict=True))
    return {f"{length} drafted": f"{known[length]:.2f}" if length in known else None for length in lengths}


def accepted_positions() -> Sourced:
    """Return the acceptance of drafted tokens by position, each given that those before it were accepted."""
    rows = (
        (
            {
                **_who(entry),
                "positions": ", ".join(map(str, entry.positions)),
                "acceptance": ", ".join(_shares(entry)),
                "read": entry.read,
            },
            entry,
        )
        for entry in catalog.tables().positions.values()
    )
    return sourced("positions", rows, "Acceptance by position of the drafted token", bold="acceptance")


def _shares(entry: PositionAcceptance) -> Iterable[str]:
    for low, high in zip(entry.acceptance, entry.highest or entry.acceptance, strict=True):
        yield f"{low:.0%}" if low == high else f"{low:.0%} to {high:.0%}"


def entropy_fits() -> Sourced:
    """Return published fits of the accepted length to the entropy of the next token."""
    rows = (
        (
            {
                "target": fit.target,
                "drafter": fit.drafter,
                "drafted": fit.draft_length,
                "tokens of a pass": f"{fit.longest:g} (1 - {fit.factor:g} H^{fit.exponent:g})",
                "R²": fit.r_squared,
                "fitted at H": f"{fit.lowest_entropy:g} to {fit.highest_entropy:g}",
                "read": fit.read,
            },
            fit,
        )
        for fit in catalog.tables().entropy_fits.values()
    )
    return sourced("fits", rows, "Accepted length by the entropy H of the next token", bold="tokens of a pass")


def measured_speedups() -> Sourced:
    """Return what drafting gained, a row for each published figure: output tokens per second over those without."""
    rows = (
        (
            {
                **_who(entry),
                "drafted": _draft(entry),
                "load": f"batch {batch:,}" if batch else entry.load,
                "tokens of a pass": entry.accepted_length,
                "speed-up": f"{gain:.2f}",
                "on": ", ".join(filter(None, [entry.engine, entry.hardware])) or None,
                "read": entry.read,
            },
            entry,
        )
        for entry in catalog.tables().speedups.values()
        for batch, gain in zip(entry.batches or (0,), entry.speedups, strict=True)
    )
    caption = "Output tokens per second with drafting, over those without"
    return sourced("speedups", rows, caption, ("target", "drafter", "load"), bold="speed-up")


def _draft(entry: MeasuredSpeedup) -> str | None:
    if entry.tree_nodes:
        return f"tree of {entry.tree_nodes}"
    return f"{entry.draft_length}" if entry.draft_length else None
