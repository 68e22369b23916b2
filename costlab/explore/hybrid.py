"""Figures of the chapter `hybrid`: a window's ring, what windows save in cache and compute, the stack, and recall.

Chapter: hybrid
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import cos, pi, sin
from typing import Protocol

import numpy as np

from costlab import arch, hybrid
from costlab.arrays import Floats
from costlab.checks import count
from costlab.explore import shapes
from costlab.explore.drawing import Frames, Swatch, Words, drawn, is_narrow, sheet, value
from costlab.explore.style import (
    COLOURS,
    INK,
    colour_key,
    label_ends,
    label_inside,
    log_axis,
    new_figure,
    on,
    share_axis,
)
from costlab.text import bytes_text, tokens_text

_CONTEXTS = np.floor(2.0 ** np.linspace(6, 20, 57))  # 64 to 1M
_PROMPTS = np.floor(2.0 ** np.linspace(10, 20, 41))  # 1K to 1M
_FALL = 0.75


# --- one window ------------------------------------------------------------------------------------------------


def ring(places: int = 8, layers: int = 3) -> Frames:
    """Draw the cache of a sliding layer as a text advances, and how far a stack of such layers sees.

    Args:
        places: tokens of the window, 4 to 8.
        layers: of the stack in the last step, 2 to 4.

    Raises:
        ValueError: counts out of range.
    """
    places, layers = count(places, "places"), count(layers, "layers")
    if not 4 <= places <= 8 or not 2 <= layers <= 4:
        raise ValueError(f"places = {places} should lie between 4 and 8, layers = {layers} between 2 and 4")
    text = places + 4
    reach = layers * (places - 1)
    steps = [
        (
            _ring(3, places, text),
            f"Three tokens have been read. Their keys and values take three of the ring's {places} places.",
        ),
        (
            _ring(places, places, text),
            f"After {places} tokens the ring is full. Each new token reads all {places} places, its own included.",
        ),
        (
            _ring(places + 1, places, text),
            f"Token {places + 1} overwrites the place of token 1, which no later token will read in this layer.",
        ),
        (
            _ring(text, places, text),
            f"After {text} tokens the ring holds the last {places}. It would be as large after a million.",
        ),
        (
            _reach(layers, places),
            f"Through {layers} such layers something can travel {layers} times {places - 1} = {reach} tokens, if each "
            "layer passes it on.",
        ),
    ]
    return Frames("What does a sliding layer keep?", tuple(steps))


@drawn
def _ring(read: int, places: int, text: int) -> Words:
    """Draw the ring after `read` tokens, and above it the text with the tokens that the ring holds filled."""
    middle, radius = shapes.across() / 2, 56
    held = range(max(read - places, 0) + 1, read + 1)
    parts = [shapes.text(middle, 12, f"text, {read} of {text} tokens read", anchor="middle")]
    width = min((shapes.across() - 4) / text, 30)
    for token in range(1, text + 1):
        parts += _token(middle + (token - 1 - text / 2) * width, 20, width, token, token in held, token > read)
    centre = 124
    for place in range(places):
        angle = 2 * pi * place / places - pi / 2
        across, down = cos(angle), sin(angle)
        kept = next((token for token in held if (token - 1) % places == place), None)
        parts += _place(middle + radius * across, centre + radius * down, kept)
        if kept == read:
            parts.append(shapes.arrow([(middle + r * across, centre + r * down) for r in (12, 38)]))
    parts.append(shapes.text(middle, centre + radius + 34, f"ring of {places} places", anchor="middle"))
    shapes.diagram("", centre + radius + 40, parts)
    return Words(
        f"A text of {text} tokens above a ring of {places} places. {read} tokens have been read; the ring holds tokens "
        f"{held[0]} to {held[-1]}, and an arrow points at token {read}, written last."
    )


def _token(left: float, top: float, width: float, token: int, held: bool, unread: bool) -> list[str]:
    """Return one token of the text: filled while the ring holds it, dotted before it is read."""
    colour, dash = COLOURS["sliding"], "2 3" if unread else ""
    return [
        shapes.box(left + 1, top, width - 2, 24, colour if held else "none", edge=colour, dash=dash, round=3),
        shapes.text(
            left + width / 2, top + 16, str(token), anchor="middle", size=10, colour=on(colour) if held else ""
        ),
    ]


def _place(x: float, y: float, token: int | None) -> list[str]:
    """Return one place of the ring, with the token that it holds."""
    colour = COLOURS["sliding"]
    if token is None:
        return [shapes.circle(x, y, 15, edge=colour, line=1.2)]
    return [shapes.circle(x, y, 15, colour), shapes.text(x, y + 4, str(token), anchor="middle", colour=on(colour))]


@drawn
def _reach(layers: int, places: int) -> Words:
    """Draw which tokens of each layer can reach the last token of the top layer through windows."""
    back = layers * (places - 1)
    last, step, top = back + 2, 46, 22
    margin = 0 if is_narrow() else 92
    width = (shapes.across() - margin - 2) / (last + 1)
    places_at = [margin + (token + 0.5) * width for token in range(last + 1)]
    size, parts = min(width - 1, 14), []
    for row in range(layers + 1):
        y, seen = top + row * step, last - row * (places - 1)
        name = f"layer {layers - row}" if row < layers else "text"
        parts.append(shapes.text(0, y - 11 if is_narrow() else y + 4, name, size=10))
        for token, x in enumerate(places_at):
            fill = COLOURS["sliding"] if token >= seen else "none"
            parts.append(shapes.box(x - size / 2, y - size / 2, size, size, fill, edge=COLOURS["sliding"], round=2))
        if row < layers:
            for above, below in ((seen, seen - places + 1), (last, last)):
                ends = [(places_at[above], y + size / 2), (places_at[below], y + step - size / 2)]
                parts.append(shapes.line(ends, COLOURS["sliding"]))
    bottom = top + layers * step + 12
    left, right = places_at[last - back], places_at[last]
    parts.append(shapes.line([(left, bottom), (left, bottom + 6), (right, bottom + 6), (right, bottom)]))
    parts.append(shapes.text((left + right) / 2, bottom + 20, f"{back} tokens back", anchor="middle"))
    shapes.diagram("", bottom + 26, parts)
    return Words(
        f"{layers} layers above a text of {last + 1} tokens. The last token of the top layer reads {places} tokens of "
        f"the layer below, those read {places} each, and so on: a fan that ends {back} tokens back in the text."
    )


# --- cache and compute -----------------------------------------------------------------------------------------


@drawn
def window_saving(full: int = 10, window: int = 128, context: int = 131_072, layers: int = 70) -> Words:
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
    axes = new_figure("How much smaller do windows make the cache?", "context (tokens)", "times smaller")
    axes.plot(_CONTEXTS, ratios, color=COLOURS["sliding"])
    axes.hlines(limit, 64, _CONTEXTS[-1], color=COLOURS["full"], linewidth=1.4, linestyle="--")
    axes.plot(context, marked, "o", color=COLOURS["sliding"])
    if _CONTEXTS[0] <= close <= _CONTEXTS[-1]:
        axes.plot(close, limit / 1.05, "s", color=INK, markersize=6)
        label = f"within 5%\nfrom {close:,.0f}"
        axes.annotate(label, (close, limit / 1.05), (4, -32), textcoords="offset points", in_layout=False)
    log_axis(
        axes, "x", [64, 1024, 16384, 131072, 1048576] if not is_narrow() else [64, 2048, 65536, 1048576], tokens_text
    )
    axes.set(xlim=(64, _CONTEXTS[-1]), ylim=(0, limit * 1.12))
    ends = [(float(ratios[-1]) - 0.04 * limit, "hybrid", COLOURS["sliding"])]
    ends.append((limit + 0.02 * limit, f"limit {layers}/{full}", COLOURS["full"]))
    label_ends(axes, _CONTEXTS[-1], ends, ["solid", "dashed"])
    text = tokens_text(context)
    return Words(
        f"How many times smaller the cache of {full} full and {layers - full} sliding layers is than that of {layers} "
        f"full ones, by context: it rises to {limit:.3g}. At {text} tokens it is {marked:.3g} times smaller; it is "
        f"within 5% of the limit from {close:,.0f} tokens on.",
        f"At {text} tokens {value(marked, f'{marked:.2f} times smaller', 'hybrid_times')}, "
        f"{value(1 / marked, f'{1 / marked:.1%}', 'hybrid_share')} of the cache of {layers} full layers. Limit: "
        f"{value(limit, f'{limit:.3g} times')}, within 5% of it from {value(close, f'{close:,.0f} tokens')} on.",
    )


@drawn
def ten_layers(context: int = 32_768, model: str = "mimo-v2.5-pro") -> Words:
    """Draw a hybrid's prefill over that of its full layers alone: attention only, and with the matrix work.

    Args:
        context: the prompt to mark.
        model: a hybrid of the catalog.

    Raises:
        ValueError: an unknown model, or a prompt below 1.
    """
    ratio, here = hybrid.prefill_ratio(model, _PROMPTS), hybrid.prefill_ratio(model, context)
    order, name = hybrid.pattern(model), arch.load(model).name
    title = f"Does a prompt cost {len(order.kinds)} layers what it costs {order.full}?"
    axes = new_figure(title, "prompt (tokens)", f"times the work of {order.full} layers")
    ends = []
    curves = (
        ("all work", "with_matrices", COLOURS["compute"], "-"),
        ("attention only", "attention_only", COLOURS["full"], "--"),
    )
    for label, part, colour, style in curves:
        values = getattr(ratio, part)
        axes.plot(_PROMPTS, values, style, color=colour)
        axes.plot(context, getattr(here, part), "o", color=colour)
        ends.append((float(values[-1]), label, colour))
    axes.hlines(1, 1024, _PROMPTS[-1], color=INK, linewidth=1, linestyle=":")
    log_axis(axes, "x", [1024, 8192, 65536, 1048576], tokens_text)
    axes.set(xlim=(1024, _PROMPTS[-1]), ylim=(0, 7.5))
    label_ends(axes, _PROMPTS[-1], ends, ["solid", "dashed"])
    attention, everything = float(here.attention_only), float(here.with_matrices)
    share, text = float(here.hybrid.attention_share), tokens_text(context)
    return Words(
        f"Prefill work of {name} over that of its {order.full} full layers alone, by the length of the prompt: all "
        f"work falls from {float(ratio.with_matrices[0]):.2g} times towards 1, attention alone is soon near 1. At "
        f"{text} tokens: {everything:.3g} and {attention:.3g} times.",
        f"{name}, {text} tokens: attention {value(attention, f'{attention:.2f} times')}, all work "
        f"{value(everything, f'{everything:.2f} times', 'hybrid_all_work')}; attention is "
        f"{value(share, f'{share:.0%}')} of the work.",
    )


@drawn
def layer_stack(models: Sequence[str] = ("mimo-v2.5-pro", "mimo-v2-flash")) -> Words:
    """Draw each model's layers in reading order: full ones large and numbered, a new row at each, sliding ones small.

    Args:
        models: hybrids of the catalog.

    Raises:
        ValueError: an unknown model, or one with other layers.
    """
    patterns = {arch.load(key).name: hybrid.pattern(key) for key in models}
    colour_key([("full: reads everything", COLOURS["full"]), ("sliding: reads its window", COLOURS["sliding"])])
    cell = (
        24
        if is_narrow()
        else min(26.0, (shapes.across() - 20) / sum(max(p.gaps or (0,)) + 2 for p in patterns.values()))
    )
    parts: list[str] = []
    left = top = bottom = 0.0
    for name, order in patterns.items():
        parts.append(shapes.text(left, top + 11, name, bold=True))
        parts.append(shapes.text(left, top + 25, f"{order.full} full, {order.sliding} sliding"))
        drawn_parts, wide = _squares(order, left, top + 34, cell)
        parts += drawn_parts
        bottom = max(bottom, top + 34 + order.full * cell)
        if is_narrow():
            top = bottom + 16
        else:
            left += wide + 30
    shapes.diagram("Which layers see everything?", bottom + 2, parts)
    return Words(
        " ".join(
            f"{name} has {len(order.kinds)} layers. The full ones are numbers {_listed(order.full_at)}; between them "
            f"lie {_counts(order.gaps)} sliding layers, and after the last {len(order.kinds) - 1 - order.full_at[-1]}."
            for name, order in patterns.items()
        )
    )


def _squares(order: hybrid.Pattern, left: float, top: float, cell: float) -> tuple[list[str], float]:
    """Return one model's squares, each row beginning with a full layer, and how wide they are together."""
    starts, parts, widest = np.array(order.full_at), [], 0
    for layer in range(int(starts[0]), len(order.kinds)):
        row = int(np.searchsorted(starts, layer, side="right")) - 1
        column = layer - int(starts[row])
        x, y = left + column * cell, top + row * cell
        widest = max(widest, column + 1)
        if column:
            size = 0.5 * cell
            parts.append(shapes.box(x + 0.25 * cell, y + 0.25 * cell, size, size, COLOURS["sliding"]))
        else:
            parts.append(shapes.box(x, y + 1, cell - 2, cell - 2, COLOURS["full"], round=2))
            number = shapes.text(
                x + cell / 2 - 1, y + cell / 2 + 4, str(layer), anchor="middle", size=10, colour=on(COLOURS["full"])
            )
            parts.append(number)
    return parts, widest * cell


def _listed(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers))


def _counts(gaps: Sequence[int]) -> str:
    found: Mapping[int, int] = {gap: gaps.count(gap) for gap in sorted(set(gaps))}
    return " and ".join(f"{count} times {gap}" for gap, count in found.items())


# --- recall ----------------------------------------------------------------------------------------------------


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
def recall_by_distance(results: Sequence[_Found]) -> Words:
    """Draw the share of facts found against how far back they lie, one line per stack.

    Args:
        results: with `variant`, `back` and `recall`; named by window w, or by full layers if there are any.
    """
    axes = new_figure("How far back does a stack still find a fact?", "tokens back, up to", "share found")
    ticks = sorted({found.back[1] for found in results})
    log_axis(axes, "x", ticks, "{:g}".format)
    axes.set(xlim=(ticks[0] * 0.9, ticks[-1]), ylim=(0, 1.08))
    share_axis(axes, "y")
    ends, told = [], []
    windows = sorted({found.variant.window for found in results if "F" not in found.variant.pattern})
    for kind in dict.fromkeys(found.variant for found in results):
        rows = [found for found in results if found.variant == kind]
        back, shares = np.array([row.back[1] for row in rows]), np.array([row.recall for row in rows])
        name, colour = _recall_name(kind), COLOURS["sliding" if "F" not in kind.pattern else "full"]
        style = _STYLES[windows.index(kind.window) % len(_STYLES)] if "F" not in kind.pattern else "-"
        axes.plot(back, shares, f"o{style}", color=colour)
        if shares[-1] > _FALL:
            ends.append((float(shares[-1]), name, colour))
        else:  # named where it falls: at their ends such lines lie on one another
            short = name.removeprefix("w = ") if is_narrow() else name  # on a phone the number alone has room
            label_inside(axes, short, _falls_at(back, shares), _FALL)
        told.append(f"{name}: " + ", ".join(value(s, f"{s:.0%} to {b}") for s, b in zip(shares, back, strict=True)))
    sheet().narrow_key.append(Swatch("a window of w tokens, with w at its curve", COLOURS["sliding"]))
    if ends:
        label_ends(axes, ticks[-1], ends)
    return Words(
        "The share of facts found against how far back they lie. "
        + " ".join(_falling(results, kind) for kind in dict.fromkeys(found.variant for found in results)),
        "<br>".join(told),
    )


_STYLES = (":", "--", "-.", "-")


def _falling(results: Sequence[_Found], kind: _Kind) -> str:
    """Say between which shares one stack's line falls."""
    rows = [found for found in results if found.variant == kind]
    near, far = rows[0], rows[-1]
    end = f"{far.recall:.0%} up to {far.back[1]}"
    return f"{_recall_name(kind)}: {near.recall:.0%} up to {near.back[1]} tokens back, {end}."


def _falls_at(back: Floats, shares: Floats) -> float:
    """Return where a line first falls through _FALL, on a logarithmic axis."""
    after = int(np.argmax(shares <= _FALL))
    piece = slice(max(after - 1, 0), after + 1)
    return float(np.exp(np.interp(-_FALL, -shares[piece], np.log(back[piece]))))


def _recall_name(kind: _Kind) -> str:
    full, layers = kind.pattern.count("F"), len(kind.pattern)
    return f"w = {kind.window}" if not full else f"{full} full of {layers}" if full < layers else "all full"


@drawn
def recall_by_ratio(results: Sequence[_Found]) -> Words:
    """Draw the share of far questions answered against the number of full layers, one line per look-ups in a row.

    Args:
        results: with `variant`, `steps`, `recall` and `kept_bytes`; of stacks with one window and one depth.
    """
    title = "How many far look-ups in a row can a stack do?"
    axes = new_figure(title, "full layers, and cache kept", "share answered")
    sizes = {found.variant.pattern.count("F"): found.kept_bytes for found in results}
    ends, styles, told, spoken = [], [], [], []
    for steps in sorted({found.steps for found in results}):
        rows = {found.variant.pattern.count("F"): found.recall for found in results if found.steps == steps}
        full, name = sorted(rows), "one look-up" if steps == 1 else f"{steps} in a row"
        styles.append(("solid", "dashed", "dotted")[(steps - 1) % 3])
        colour = COLOURS["full"] if steps == 1 else COLOURS["compute"]
        axes.plot(full, [rows[n] for n in full], "o", linestyle=styles[-1], color=colour)
        ends.append((rows[full[-1]] + (0.03 if steps == 1 else -0.03), name, colour))
        told.append(f"{name}: " + ", ".join(f"{value(rows[n], f'{rows[n]:.0%}')} with {n} full" for n in full))
        spoken.append(f"{name}: " + ", ".join(f"{rows[n]:.0%} with {n} full" for n in full))
    text = bytes_text if not is_narrow() else lambda size: f"{size / 1000:.0f}K"
    axes.set_xticks(sorted(sizes), [f"{full}\n{text(sizes[full])}" for full in sorted(sizes)])
    axes.set(xlim=(min(sizes) - 0.3, max(sizes)), ylim=(0, 1.1))
    share_axis(axes, "y")
    label_ends(axes, max(sizes), ends, styles)
    kept = ", ".join(f"{n} full keep {value(sizes[n], bytes_text(sizes[n]))}" for n in sorted(sizes))
    return Words(
        f"The share of far questions answered, against full layers of the stack. {'; '.join(spoken)}.",
        "<br>".join([*told, kept]),
    )
