"""Physics, the energy of operations, and published energies of requests."""

from __future__ import annotations

from costlab import catalog
from costlab.explore.reference.listing import Sourced, sourced
from costlab.text import number_text


def physical_constants() -> Sourced:
    """Return the constants of physics that the chapter on limits rests on."""
    rows = (
        ({"constant": each.says, "symbol": each.symbol, "value": f"{each.value:g} {each.unit}"}, each)
        for each in catalog.tables().constants.values()
    )
    return sourced("constants", rows, "Constants of physics", bold="value")


def operation_energies() -> Sourced:
    """Return what one operation of a circuit takes, by process."""
    rows = (
        (
            {
                "operation": each.says,
                "process, nm": each.process_nm,
                "pJ": _pj(each.joules),
                "range": None if each.high is None else f"{_pj(each.low or each.joules)} to {_pj(each.high)}",
                "bits": each.bits,
                "sure": each.confidence,
            },
            each,
        )
        for each in catalog.tables().operation_energies.values()
    )
    return sourced("operations", rows, "What an operation takes, without what brings its operands", bold="pJ")


def _pj(joules: float) -> str:
    return number_text(round(joules * 1e12, 6))


def published_energies() -> Sourced:
    """Return what was published for the energy of a request."""
    rows = (
        (
            {
                "request": each.says,
                "tokens": None if each.input is None else f"{each.input:,} read, {each.output:,} written",
                "Wh": number_text(each.wh),
                "up to": None if each.high is None else number_text(each.high),
                "sure": each.confidence,
            },
            each,
        )
        for each in catalog.tables().energies.values()
    )
    return sourced("energies", rows, "Energy of a request, as published", bold="Wh")


__all__ = ["operation_energies", "physical_constants", "published_energies"]
