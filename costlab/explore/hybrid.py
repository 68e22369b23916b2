"""Figures of the chapter `hybrid`: what windows save in cache and compute, the stack itself, and recall.

Chapter: hybrid
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
from matplotlib.axes import Axes

from costlab import arch, hybrid
from costlab.arrays import Floats
from costlab.explore.drawing import Words, drawn, say
from costlab.explore.style import COLOURS, label_ends, label_inside, log_axis, new_figure
from costlab.text import bytes_text, tokens_text

_CONTEXTS = np.floor(2.0 ** np.linspace(6, 20, 57))  # 64 to 1M
_PROMPTS = np.floor(2.0 ** np.linspace(10, 20, 41))  # 1K to 1M
_SHARES = np.linspace(0, 1, 6)
_FALL = 0.75


@drawn
def window_saving(full: int = 10, window: int = 128, context: int = 131_072, layers: int = 70) -> Words | None:
    """Draw how many times smaller a hybrid's cache is, against context, with its limit and where it comes within 5%.

    Args:
        full: full layers, 1 to `layers`; the others slide.
        window: tokens that a sliding layer keeps.
        context: the context to mark.
        layers: of the stack, all with equal heads.

    Raises:
        ValueError: counts that make no stack, or a context below 1.
    """
    if not 1 <= full <= layers:
        raise ValueError(f"full = {full} should lie between 1 and layers = {layers}")
    ratios = 1 / hybrid.moved_fraction(_CONTEXTS, full, layers - full, window)
    marked = float(1 / hybrid.moved_fraction(context, full, layers - full, window))
    limit, close = layers / full, hybrid.close_from(full, layers - full, window)
    axes = new_figure("How much smaller does the window make the cache?", "context (tokens)", "times smaller")
    axes.plot(_CONTEXTS, ratios, color=COLOURS["sliding"])
    axes.hlines(limit, 64, _CONTEXTS[-1], color=COLOURS["other"], linewidth=1, linestyle="--")
    axes.plot(context, marked, "o", color=COLOURS["sliding"])
    if _CONTEXTS[0] <= close <= _CONTEXTS[-1]:
        axes.plot(close, limit / 1.05, "s", color=COLOURS["miss"])
        label = f"within 5%\nfrom {close:,.0f}"
        axes.annotate(label, (close, limit / 1.05), (4, -30), textcoords="offset points", color=COLOURS["miss"])
    log_axis(axes, "x", [64, 1024, 16384, 131072, 1048576], tokens_text)
    axes.set(xlim=(64, 2**23), ylim=(0, limit * 1.12))
    ends = [(float(ratios[-1]) - 0.05 * limit, "hybrid", COLOURS["sliding"])]
    label_ends(axes, _CONTEXTS[-1], [*ends, (limit, f"{layers} / {full} layers", COLOURS["other"])])
    say(f"{context} tokens: {marked:.12g} times smaller, {1 / marked:.12g} of the all-full cache")
    say(f"limit {limit:.12g}; within 5% of {full}/{layers} from {close:.12g} tokens")


@drawn
def ten_layers(context: int = 32_768, model: str = "mimo-v2.5-pro") -> Words | None:
    """Draw a hybrid's prefill over that of its full layers alone: attention only, and with the matrix work.

    Args:
        context: the prompt to mark.
        model: a hybrid of the catalog.

    Raises:
        ValueError: an unknown model, or a prompt below 1.
    """
    ratio, here = hybrid.prefill_ratio(model, _PROMPTS), hybrid.prefill_ratio(model, context)
    order = hybrid.pattern(model)
    title = f"Does a prompt cost {len(order.kinds)} layers what it costs {order.full}?"
    axes = new_figure(title, "prompt (tokens)", f"times the work of {order.full} layers")
    ends = []
    curves = (
        ("all work", "with_matrices", COLOURS["compute"]),
        ("attention only", "attention_only", COLOURS["sliding"]),
    )
    for name, part, colour in curves:
        values = getattr(ratio, part)
        axes.plot(_PROMPTS, values, color=colour)
        axes.plot(context, getattr(here, part), "o", color=colour)
        ends.append((float(values[-1]), name, colour))
    axes.hlines(1, 1024, _PROMPTS[-1], color=COLOURS["other"], linewidth=1, linestyle="--")
    log_axis(axes, "x", [1024, 8192, 65536, 1048576], tokens_text)
    axes.set(xlim=(1024, 2**22.3), ylim=(0, 7.5))
    label_ends(axes, _PROMPTS[-1], ends)
    say(f"{context} tokens: attention {float(here.attention_only):.12g} times, all {float(here.with_matrices):.12g}")
    say(f"attention is {float(here.hybrid.attention_share):.12g} of the work")


@drawn
def layer_stack(models: Sequence[str] = ("mimo-v2.5-pro", "mimo-v2-flash")) -> Words | None:
    """Draw each model's layers as squares in reading order, a new row at each full layer.

    Args:
        models: hybrids of the catalog.

    Raises:
        ValueError: an unknown model, or one with other layers.
    """
    patterns = {arch.load(key).name: hybrid.pattern(key) for key in models}
    rows = max(p.full for p in patterns.values())
    axes = new_figure("Which layers see everything?", "", "number of the full layer", wide=(7.2, 0.8 + 0.36 * rows))
    left, at, names = 0.0, [], []
    for name, order in patterns.items():
        at.append(left + _squares(axes, order, left) / 2)
        names.append(f"{name}\n{order.full} full, {order.sliding} sliding")
        left = at[-1] * 2 - left + 2.5
    axes.set(xlim=(-1.4, left - 2.0), ylim=(rows - 0.3, -0.7), aspect="equal")
    axes.set_xticks(at, names)
    axes.set_yticks([])
    axes.grid(visible=False)
    for side in axes.spines.values():
        side.set_visible(False)
    for name, order in patterns.items():
        say(f"{name}: full at {', '.join(map(str, order.full_at))}; {_counts(order.gaps)} sliding between")


def _squares(axes: Axes, order: hybrid.Pattern, left: float) -> float:
    """Draw one model's squares from x = left on, each row beginning with a full layer's number; return its width."""
    starts = np.array(order.full_at)
    layers = np.arange(starts[0], len(order.kinds))
    rows = np.searchsorted(starts, layers, side="right") - 1
    columns = layers - starts[rows]
    for full, colour in ((True, COLOURS["full"]), (False, COLOURS["sliding"])):
        chosen = (columns == 0) == full
        axes.barh(rows[chosen], 0.84, 0.84, left + columns[chosen], color=colour)
    for row, start in enumerate(starts):
        axes.text(left - 0.2, row, str(start), ha="right", va="center", fontsize=10, in_layout=False)
    return float(columns.max() + 1)


def _counts(gaps: Sequence[int]) -> str:
    found: Mapping[int, int] = {gap: gaps.count(gap) for gap in sorted(set(gaps))}
    return ", ".join(f"{count} x {gap}" for gap, count in found.items())


class _Kind(Protocol):
    """What the recall figures need of a variant."""

    @property
    def pattern(self) -> str: ...
    @property
    def window(self) -> int: ...


class _Found(Protocol):
    """What the recall figures need of a result."""

    @property
    def variant(self) -> _Kind: ...
    @property
    def steps(self) -> int: ...
    @property
    def back(self) -> tuple[int, int]: ...
    @property
    def recall(self) -> float: ...
    @property
    def kept_bytes(self) -> int: ...


@drawn
def recall_by_distance(results: Sequence[_Found]) -> Words | None:
    """Draw the share of facts found against how far back they lie, one line per stack.

    Args:
        results: with `variant`, `back` and `recall`; named by window W, or by full layers if there are any.
    """
    axes = new_figure("How far back does a stack still find a fact?", "tokens back, up to", "share found")
    ticks = sorted({found.back[1] for found in results})
    log_axis(axes, "x", ticks, "{:g}".format)
    axes.set(xlim=(ticks[0] * 0.9, ticks[-1] * 2.5), ylim=(0, 1.08))
    axes.set_yticks(_SHARES, [f"{share:.0%}" for share in _SHARES])
    ends = []
    for kind in dict.fromkeys(found.variant for found in results):
        rows = [found for found in results if found.variant == kind]
        back, shares = np.array([row.back[1] for row in rows]), np.array([row.recall for row in rows])
        name, colour = _recall_name(kind), _recall_colour(kind)
        axes.plot(back, shares, "o-", color=colour)
        if shares[-1] > _FALL:
            ends.append((float(shares[-1]), name, colour))
        else:  # named where it falls: at their ends such lines lie on one another
            label_inside(axes, name, _falls_at(back, shares), _FALL, color=colour)
    if ends:
        label_ends(axes, ticks[-1], ends)
    for found in results:
        say(f"{_recall_name(found.variant)}: {found.back[0]}-{found.back[1]} back {found.recall:.12g}")


def _falls_at(back: Floats, shares: Floats) -> float:
    """Return where a line first falls through _FALL, on a logarithmic axis."""
    after = int(np.argmax(shares <= _FALL))
    piece = slice(max(after - 1, 0), after + 1)
    return float(np.exp(np.interp(-_FALL, -shares[piece], np.log(back[piece]))))


def _recall_colour(kind: _Kind) -> str:
    return COLOURS["sliding" if "F" not in kind.pattern else "miss" if "S" in kind.pattern else "full"]


def _recall_name(kind: _Kind) -> str:
    full, layers = kind.pattern.count("F"), len(kind.pattern)
    return f"W = {kind.window}" if not full else f"{full} full of {layers}" if full < layers else "all full"


@drawn
def recall_by_ratio(results: Sequence[_Found]) -> Words | None:
    """Draw the share of far questions answered against the number of full layers, one line per look-ups in a row.

    Args:
        results: with `variant`, `steps`, `recall` and `kept_bytes`; of stacks with one window and one depth.
    """
    axes = new_figure("How many far look-ups in a row can a stack do?", "full layers, and bytes kept", "share answered")
    palette, ends = (COLOURS["hit"], COLOURS["compute"], COLOURS["output"], COLOURS["other"]), []
    sizes = {found.variant.pattern.count("F"): found.kept_bytes for found in results}
    for steps in sorted({found.steps for found in results}):
        rows = {found.variant.pattern.count("F"): found.recall for found in results if found.steps == steps}
        full, colour = sorted(rows), palette[(steps - 1) % len(palette)]
        axes.plot(full, [rows[count] for count in full], "o-", color=colour)
        ends.append((rows[full[-1]], "one look-up" if steps == 1 else f"{steps} in a row", colour))
    axes.set_xticks(sorted(sizes), [f"{full}\n{bytes_text(sizes[full])}" for full in sorted(sizes)])
    last = max(sizes)
    axes.set(xlim=(min(sizes) - 0.3, last + 0.3 * max(last, 1)), ylim=(0, 1.08))
    axes.set_yticks(_SHARES, [f"{share:.0%}" for share in _SHARES])
    label_ends(axes, last, ends)
    for found in results:
        name = f"{found.variant.pattern.count('F')} full, {found.steps} in a row"
        say(f"{name}: {found.recall:.12g} answered, {found.kept_bytes} bytes kept")
