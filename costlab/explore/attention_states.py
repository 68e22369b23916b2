"""Figures of the chapter `attention` about layers that keep a state: what is kept, and how long a step takes.

Chapter: attention
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from costlab import arch
from costlab.catalog import DTYPE_BYTES
from costlab.explore.drawing import Words, drawn, is_narrow, value
from costlab.explore.style import COLOURS, INK, label_ends, log_axis, new_figure
from costlab.text import bytes_text, tokens_text

_CONTEXTS = np.round(2.0 ** np.arange(8, 20.01, 0.125))
_TICKS = tuple(2**power for power in range(8, 21, 4))
_BYTES = (1e6, 1e7, 1e8, 1e9, 1e10, 1e11)


@drawn
def state_and_cache(model: str = "qwen3.5-397b-a17b") -> Words:
    """Draw what one sequence keeps against its context: with states in most layers, and with keys in all of them.

    Args:
        model: key in the catalog of a model that has layers with a state.

    Raises:
        ValueError: an unknown model, or one without such layers.
    """
    built = arch.load(model)
    states = {layer: n for layer, n in built.attention_counts.items() if isinstance(layer, arch.Recurrent)}
    if not states:
        raise ValueError(f"{model!r} has no layers with a state")
    state = sum(n * layer.state_elements * DTYPE_BYTES[layer.state_dtype] for layer, n in states.items())
    stateful = sum(states.values())
    full = sum(n for layer, n in built.attention_counts.items() if layer not in states and layer.stores())
    growing = np.asarray(built.kv_bytes(_CONTEXTS).growing)
    token_bytes = float(growing[-1] / _CONTEXTS[-1])
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
        alt=f"Bytes that {built.name} keeps of a sequence against its context, log axes. "
        f"{stateful} layers with states keep "
        f"{bytes_text(state)} at any length; {full} full layers keep as much at {equal:,.0f} tokens. All layers full "
        f"would keep as much as both together at {pays:,.0f} tokens, and more beyond.",
        note=f"{built.name}: states {value(state, bytes_text(state))}, as much as "
        f"{value(equal, f'{equal:,.0f} tokens', 'attention_equal')} of the full layers' cache; smaller than with all "
        f"layers full from {value(pays, f'{pays:,.0f} tokens', 'attention_pays')} on.",
    )


@drawn
def decode_by_kind(rows: Sequence[Mapping[str, Any]], batch: int = 64) -> Words:
    """Draw how long one layer's decode step took on a chip against the context, with a state and with a cache.

    Args:
        rows: of a measurement: kind ("gated-delta" or "full"), batch, context in tokens, step_s in seconds.
        batch: sequences decoded together.

    Raises:
        ValueError: a batch that was not measured.
    """
    batches = sorted({row["batch"] for row in rows})
    if batch not in batches:
        raise ValueError(f"batch = {batch!r} was not measured; those are {', '.join(map(str, batches))}")
    steps = {
        kind: sorted((row["context"], row["step_s"]) for row in rows if (row["kind"], row["batch"]) == (kind, batch))
        for kind in ("gated-delta", "full")
    }
    axes = new_figure("How long does one more token take?", "context (tokens)", "one layer's step (ms)")
    looks = {"gated-delta": ("gated delta net", COLOURS["recurrent"]), "full": ("full attention", COLOURS["full"])}
    ends = []
    for kind, (name, colour) in looks.items():
        contexts, seconds = zip(*steps[kind], strict=True)
        axes.plot(contexts, [1e3 * s for s in seconds], "o-", color=colour, markersize=4)
        ends.append((1e3 * seconds[-1], name, colour))
    last = max(context for of in steps.values() for context, _ in of)
    most = max(1e3 * s for of in steps.values() for _, s in of)
    least = min(1e3 * s for of in steps.values() for _, s in of)
    log_axis(axes, "x", [2**p for p in range(10, 21, 2 if not is_narrow() else 5)], tokens_text)
    log_axis(
        axes, "y", [t for t in (0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50) if least / 2 < t < most * 2], "{:g}".format
    )
    axes.set_xlim(min(context for of in steps.values() for context, _ in of), last)
    label_ends(axes, last, ends)
    told = [
        f"{looks[kind][0]} {value(1e3 * of[0][1], f'{1e3 * of[0][1]:.3g} ms')} at {tokens_text(of[0][0])}, "
        f"{value(1e3 * of[-1][1], f'{1e3 * of[-1][1]:.3g} ms')} at {tokens_text(of[-1][0])}"
        for kind, of in steps.items()
    ]
    plain = [
        f"{looks[kind][0]} {1e3 * of[0][1]:.3g} ms at {tokens_text(of[0][0])}, {1e3 * of[-1][1]:.3g} ms at "
        f"{tokens_text(of[-1][0])}"
        for kind, of in steps.items()
    ]
    many = "one sequence" if batch == 1 else f"{batch} sequences together"
    return Words(
        alt=f"Time of one layer's decode step against the context, {many}, log axes: {'; '.join(plain)}.",
        note=f"{many.capitalize()}: {'; '.join(told)}.",
    )
