"""How price lists of products moved, drawn into a file: what the shell's `prices --plot` makes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter, date2num
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

from costlab import prices
from costlab.catalog import PriceRow, rate_rows
from costlab.explore.prices import product_name
from costlab.explore.style import STYLE
from costlab.traces import replacing

_KINDS = ("hit", "miss", "output")


def moves_figure(
    products: Sequence[str], path: str | os.PathLike[str], *, currency: str = "USD", until: datetime
) -> None:
    """Draw the hit, miss and output prices of products over time, of their lowest context tier, into a file.

    A day that is split into peak and off-peak has two lines; yuan lists are converted at the rate of the day on which a
    row began. The file appears whole or not at all; its ending says the kind: .svg, .png or .pdf.

    Args:
        products: with prices.
        path: of the file.
        currency: of the axes.
        until: where the lines of prices that still hold end, unless a later change is announced.

    Raises:
        OSError: the folder cannot be written to.
        ValueError: an unknown product, or an ending that matplotlib does not know.
    """
    rows = {name: _lowest_tier(name, currency) for name in products}
    with rc_context(fname=STYLE, rc={"savefig.facecolor": "white", "figure.dpi": 100, "svg.hashsalt": "moves"}):
        figure = Figure(figsize=(9.6, 3.8))
        panels = figure.subplots(1, len(_KINDS), sharey=True)
        for axes, kind in zip(panels, _KINDS, strict=True):
            _draw(axes, kind, rows, currency, until)
        panels[0].set_ylabel(f"{currency} per million tokens")
        handles, names = panels[0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside lower center", ncols=min(4, len(names)))
        with replacing(Path(path)) as file:
            figure.savefig(file, format=Path(path).suffix[1:], metadata=_metadata(path))


def _metadata(path: str | os.PathLike[str]) -> dict[str, Any] | None:
    """Leave the day of drawing out of an SVG: equal prices give equal files."""
    return {"Date": None} if Path(path).suffix == ".svg" else None


def _lowest_tier(product: str, currency: str) -> list[PriceRow]:
    """Return a product's rows of the lowest tier, in the currency where it has a list, oldest first."""
    rows = [row for row in prices.history(product) if not row.min_input_tokens]
    return [row for row in rows if row.currency == currency] or rows


def _draw(axes: Axes, kind: str, rows: dict[str, list[PriceRow]], currency: str, until: datetime) -> None:
    for place, (product, listed) in enumerate(rows.items()):
        colour, name = f"C{place}", product_name(product)
        for row in listed:
            price = getattr(row, kind)
            if price is None:
                continue
            amount = price * rate_rows(row.currency, currency, row.valid_from)[0]
            start = prices.moment(row.valid_from)
            end = prices.moment(row.valid_to) if row.valid_to else max(until, start)
            span = [date2num(start), date2num(end)]
            axes.plot(span, [amount, amount], color=colour, label=name, solid_capstyle="butt")
            name = "_"  # one entry of the key a product
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda amount, _: f"{amount:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set_title(kind, loc="left")
    locator = AutoDateLocator(minticks=2, maxticks=4)
    axes.xaxis_date()
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))
