"""The least heat of erasing a bit, and how far above it an operation, a read and a token are.

Landauer's bound is about erasing: k T ln 2 for each bit of information that is lost, whatever the machine. It is no
bound of a multiplication. A computation that keeps its inputs, or can be run backwards, need not erase anything
(Bennett 1973), so the number depends on what one counts as erased; `bits_erased` names two counts that lie far apart.

>>> from costlab import limits
>>> f"{limits.landauer_j(300):.3g}"
'2.87e-21'

Source: R. Landauer, IBM Journal of Research and Development 5 (1961) 183; C. H. Bennett, ibid. 17 (1973) 525.

Chapter: limits
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from costlab import arch, catalog
from costlab.arch import Model
from costlab.catalog import FrozenDict
from costlab.text import Table, digits_text

#: Temperature at which the bound is quoted.
ROOM_K = 300.0
#: Bits of a partial sum in the units that multiply matrices.
ACCUMULATOR_BITS = 32


def landauer_j(kelvin: float = ROOM_K) -> float:
    """Return k T ln 2, the least heat in joules of erasing one bit.

    Args:
        kelvin: absolute temperature.

    Raises:
        ValueError: a temperature that is not above 0 and finite.
    """
    if not 0 < kelvin < math.inf:
        raise ValueError(f"kelvin = {kelvin!r} should be above 0 and finite: it is an absolute temperature")
    return catalog.tables().constants["boltzmann"].value * kelvin * math.log(2)


def orders_above(joules: float, bits: float = 1.0, kelvin: float = ROOM_K) -> float:
    """Return by how many powers of ten an energy exceeds the bound of erasing so many bits; negative below it.

    Raises:
        ValueError: joules or bits that are not above 0 and finite; as `landauer_j`.
    """
    for name, given in (("joules", joules), ("bits", bits)):
        if not 0 < given < math.inf:
            raise ValueError(f"{name} = {given!r} should be above 0 and finite")
    return math.log10(joules / (bits * landauer_j(kelvin)))


def bits_erased(model: str | Model, context: int) -> Mapping[str, float]:
    """Return two counts of the bits that an output token loses, for the question which of them is its floor.

    Args:
        model: key in the catalog, or a model.
        context: tokens of its sequence, itself included.

    Returns:
        "answer": the bits of one choice from the vocabulary, all that a reader gets. "sums": each multiplication's
        old partial sum, overwritten.

    Raises:
        ValueError: an unknown model, a context below 1.
    """
    built = arch.load(model)
    flops = float(built.decode_flops(context).total)
    return FrozenDict({"answer": math.log2(built.record.vocab), "sums": flops / 2 * ACCUMULATOR_BITS})


def operation_table(kelvin: float = ROOM_K) -> Table:
    """Return the catalog's operations: their energy, that of a bit, and how many million times the bound.

    Raises:
        ValueError: as `landauer_j`.
    """
    bound = landauer_j(kelvin)
    rows = [
        {
            "operation": each.says,
            "process": f"{each.process_nm} nm" if each.process_nm else "–",
            "pJ": digits_text(each.joules * 1e12),
            "pJ a bit": digits_text(each.joules / each.bits * 1e12),
            "millions of bounds a bit": digits_text(each.joules / each.bits / bound / 1e6),
        }
        for each in catalog.tables().operation_energies.values()
    ]
    return Table(rows, "pJ")


__all__ = ["ACCUMULATOR_BITS", "ROOM_K", "bits_erased", "landauer_j", "operation_table", "orders_above"]
