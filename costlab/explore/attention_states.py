"""Figures of the chapter `attention` about layers that keep a state: what is kept, and how long a step takes.

Chapter: attention
"""

from __future__ import annotations

import numpy as np

from costlab.explore.drawing import Words, drawn, is_narrow, value
from costlab.explore.style import COLOURS, INK, label_ends, log_axis, new_figure
from costlab.text import bytes_text, tokens_text

_CONTEXTS = 2.0 ** np.arange(8, 20.01, 0.125)
_TICKS = tuple(2**power for power in range(8, 21, 4))
_BYTES = (1e6, 1e7, 1e8, 1e9, 1e10, 1e11)


@drawn
def state_and_cache(
    state_mb: float = 189.0, token_bytes: float = 30_720.0, stateful: int = 45, full: int = 15
) -> Words:
    """Draw what one sequence keeps against its context: with states in most layers, and with keys in all of them.

    Args:
        state_mb: of all layers with a state together, in MB (1e6 bytes).
        token_bytes: that the full layers together keep of a token.
        stateful: layers with a state.
        full: layers that keep keys and values.

    Raises:
        ValueError: a number that is not above 0.
    """
    for name, number in (("state_mb", state_mb), ("token_bytes", token_bytes), ("stateful", stateful), ("full", full)):
        if not number > 0:
            raise ValueError(f"{name} should be above 0, got {number!r}")
    state = state_mb * 1e6
    growing = token_bytes * _CONTEXTS
    all_full = growing * (stateful + full) / full
    axes = new_figure("When does a state pay?", "context (tokens)", "kept of one sequence")
    axes.plot(_CONTEXTS, all_full, color=COLOURS["full"], linestyle=(0, (3, 3)))
    axes.plot(_CONTEXTS, growing, color=COLOURS["full"])
    axes.plot(_CONTEXTS, np.full_like(_CONTEXTS, state), color=COLOURS["recurrent"])
    axes.plot(_CONTEXTS, growing + state, color=INK)
    equal, pays = state / token_bytes, state / token_bytes * full / stateful
    for tokens, kept in ((equal, state), (pays, state + token_bytes * pays)):
        if _CONTEXTS[0] <= tokens <= _CONTEXTS[-1]:
            axes.plot(tokens, kept, "o", color=INK, markersize=6)
    log_axis(axes, "x", _TICKS, tokens_text)
    log_axis(axes, "y", _BYTES, bytes_text)
    low = min(float(growing[0]), state) / 2
    axes.set(xlim=(_CONTEXTS[0], _CONTEXTS[-1]), ylim=(low, float(all_full[-1]) * 2))
    names = ("all layers full", "full layers", "states", "both") if is_narrow() else (
        f"all {stateful + full} layers full", f"{full} full layers", f"{stateful} states", "both together"
    )  # fmt: skip
    ends = [
        (float(all_full[-1]), names[0], COLOURS["full"]),
        (float(growing[-1]), names[1], COLOURS["full"]),
        (state, names[2], COLOURS["recurrent"]),
        (float(growing[-1] + state), names[3], INK),
    ]
    label_ends(axes, float(_CONTEXTS[-1]), ends, ["dashed", "solid", "solid", "solid"])
    return Words(
        alt=f"Bytes kept of a sequence against its context, log axes. {stateful} layers with states keep "
        f"{bytes_text(state)} at any length; {full} full layers keep as much at {equal:,.0f} tokens. All layers full "
        f"would keep as much as both together at {pays:,.0f} tokens, and more beyond.",
        note=f"States {value(state, bytes_text(state))}, as much as "
        f"{value(equal, f'{equal:,.0f} tokens', 'attention_equal')} of the full layers' cache; smaller than with all "
        f"layers full from {value(pays, f'{pays:,.0f} tokens', 'attention_pays')} on.",
    )
