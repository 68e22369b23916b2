"""Figure of the chapter `speculative`: what decoders that run have gained, by method, batch and temperature.

Chapter: speculative
"""

from __future__ import annotations

from collections.abc import Sequence

from costlab.explore.drawing import Words, drawn, is_narrow, value
from costlab.explore.style import COLOURS, colour_key, new_figure


@drawn
def measured_gains(rows: Sequence[tuple[str, int, float, float]]) -> Words:
    """Draw measured speed-ups by method, for the smallest and the largest batch and each temperature.

    Args:
        rows: (method, batch, temperature, speed-up over plain decoding).

    Raises:
        ValueError: no rows.
    """
    if not rows:
        raise ValueError("rows should hold at least one measurement")
    methods = list(dict.fromkeys(method for method, *_ in rows))
    batches = sorted({batch for _, batch, *_ in rows})
    ends = dict(zip((batches[0], batches[-1]), ("draft", "other"), strict=False))
    height = 1.3 + 0.42 * len(methods)
    axes = new_figure("Which method gains, and where?", "speed-up", "", wide=(7.2, height), narrow=(3.6, height))
    colour_key([(f"batch {batch}", COLOURS[colour]) for batch, colour in ends.items()])
    for method, batch, temperature, gain in rows:
        if batch in ends:
            place = methods.index(method) + (0.14 if batch == batches[-1] else -0.14)
            fill = "none" if temperature else "full"
            axes.plot(gain, place, "o", color=COLOURS[ends[batch]], markersize=8, fillstyle=fill)
    axes.axvline(1, color=COLOURS["other"], linewidth=1.2)
    most = max(gain for *_, gain in rows)
    axes.set(xlim=(0, most * 1.08), ylim=(len(methods) - 0.5, -0.5))
    axes.set_yticks(range(len(methods)), [_short(m) for m in methods] if is_narrow() else methods)
    axes.grid(axis="y", visible=False)
    gains = {(m, b): [g for n, c, _, g in rows if (n, c) == (m, b)] for m in methods for b in ends}
    said = {
        b: "; ".join(f"{m} {' and '.join(value(g, f'{g:.2f}') for g in gains[m, b])}" for m in methods if gains[m, b])
        for b in ends
    }
    plain = "; ".join(f"{m}: {gain:.2f} at batch {b} and temperature {t:g}" for m, b, t, gain in rows if b in ends)
    return Words(
        f"Measured speed-ups over plain decoding. {plain}. Dots are temperature 0, rings temperature 1.",
        "Dots: temperature 0, rings: 1. " + " ".join(f"At batch {b}: {words}." for b, words in said.items()),
    )


def _short(method: str) -> str:
    return method.partition(",")[0]
