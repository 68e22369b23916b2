"""A map whose cells are of a few kinds, drawn as regions on logarithmic axes."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from matplotlib.axes import Axes

from costlab.arrays import Floats, Ints

_T = TypeVar("_T")


def fill_regions(axes: Axes, kinds: Ints, x: Floats, y: Floats, colours: Sequence[str]) -> None:
    """Fill cells by their kind, each row in as few pieces as it has regions, and rows that are equal at once.

    Args:
        axes: where.
        kinds: index into `colours` of each cell, [y, x]; below 0 a cell stays empty.
        x: middles of the cells, each a constant ratio above the one before.
        y: the same upwards.
        colours: hex of each kind.
    """
    edges_x, edges_y = cell_edges(x), cell_edges(y)
    for row, bottom, top in equal_runs([tuple(row) for row in kinds.tolist()]):
        low, high = edges_y[bottom], edges_y[top]
        for kind, start, end in equal_runs(row):
            if kind >= 0:
                across = [(edges_x[start], edges_x[end] - edges_x[start])]
                axes.broken_barh(across, (low, high - low), color=colours[kind], alpha=0.55, linewidth=0)


def cell_edges(middles: Floats) -> Floats:
    """Return the edges of cells that lie around middles of equal ratio; the outer ones are the outer middles."""
    inner = middles[1:] / math.sqrt(middles[1] / middles[0])
    return np.concatenate([middles[:1], inner, middles[-1:]])


def equal_runs(row: Sequence[_T]) -> list[tuple[_T, int, int]]:
    """Return (value, start, end) of neighbours that are equal."""
    found, start = list[tuple[_T, int, int]](), 0
    for kind, group in itertools.groupby(row):
        length = len(list(group))
        found.append((kind, start, start + length))
        start += length
    return found
