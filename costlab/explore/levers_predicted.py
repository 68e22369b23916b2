"""Figures of the chapter `levers`: predicted list prices beside the real ones.

Chapter: levers
"""

from __future__ import annotations

import numpy as np

from costlab.explore.drawing import Words, drawn, is_narrow, value
from costlab.explore.style import COLOURS, INK, colour_key, log_axis, new_figure
from costlab.levers import KINDS, Prediction, Predictions, predictions
from costlab.text import list_text, usd_text

_TICKS = (0.001, 0.01, 0.1, 1.0, 10.0)
#: Marks of the kinds, for readers who do not see colours.
_MARKS = {"hit": "o", "miss": "s", "output": "D"}


@drawn
def predicted_prices() -> Words:
    """Draw predicted against listed prices of hits, misses and output, with the band of twice and half.

    The products are those of companies whose lists nothing was fitted on; those that are missed have a ring.
    """
    found = predictions()
    axes = new_figure(
        "How near do predicted prices come?", "list price (USD per million tokens)", "predicted",
        wide=(7.2, 4.6), narrow=(3.6, 3.6),
    )  # fmt: skip
    listed = [each.found.listed[kind] for each in found.predicted for kind in KINDS]
    ends = np.array([min(listed) / 1.6, max(listed) * 1.6])
    axes.fill_between(ends, ends / 2, ends * 2, color=COLOURS["other"], alpha=0.2, linewidth=0)
    axes.plot(ends, ends, color=INK, linewidth=1)
    colour_key([(f"{kind} ({_SHAPES[kind]})", COLOURS[kind]) for kind in KINDS])
    made = []
    for kind in KINDS:
        for each in found.predicted:
            at = each.found.listed[kind], each.predicted[kind]
            made.append(at[1])
            axes.plot(*at, _MARKS[kind], color=COLOURS[kind], markersize=5.5, zorder=3)
            if not each.within(kind):
                axes.plot(*at, "o", color=INK, fillstyle="none", markersize=11, markeredgewidth=0.9)
    log_axis(axes, "x", _TICKS[:: 2 if is_narrow() else 1], list_text)
    log_axis(axes, "y", _TICKS[:: 2 if is_narrow() else 1], list_text)
    axes.set(xlim=ends, ylim=(min(*made, ends[0]) / 1.3, max(*made, ends[1]) * 1.3))
    return _predicted_said(found)


_SHAPES = {"hit": "dots", "miss": "squares", "output": "diamonds"}


def _predicted_said(found: Predictions) -> Words:
    shares = {kind: found.share_within(kind) for kind in KINDS}
    total = len(found.predicted)
    missed = "; ".join(_missed_text(each) for each in found.missed)
    told = "; ".join(
        f"{each.found.row.product}: "
        + ", ".join(
            f"{kind} {list_text(each.found.listed[kind])}, predicted {usd_text(each.predicted[kind])}" for kind in KINDS
        )
        for each in found.predicted
    )
    whole = value(len(found.all_within), str(len(found.all_within)), "levers_all_within")
    return Words(
        f"Predicted against listed prices of {total} products, dollars of a million tokens; the band reaches from half "
        f"to twice the list. {told}.",
        f"{found.says}. Within twice and half of the list: "
        + ", ".join(f"{kind} {value(share, f'{share:.0%}', f'levers_within_{kind}')}" for kind, share in shares.items())
        + f" of {value(total, f'{total} products')}; all three prices: {whole}. "
        f"Ringed, by predicted over list: {missed or 'none'}.",
    )


def _missed_text(each: Prediction) -> str:
    kinds = ", ".join(f"{kind} {_times(each.factor(kind))}" for kind in each.missed)
    return f"{each.found.row.product} {kinds}"


def _times(factor: float) -> str:
    return f"×{factor:.2g}" if factor < 10 else f"×{factor:.0f}"
