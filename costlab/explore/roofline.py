"""Figures of the chapter `roofline`: what bounds a step, and what a batch does for the price.

Chapter: roofline
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes

from costlab import prices, roofline
from costlab.explore.drawing import Words, drawn, is_narrow, value
from costlab.explore.shapes import across, box, diagram, text
from costlab.explore.style import COLOURS, INK, colour_key, label_ends, label_inside, log_axis, new_figure, on
from costlab.roofline import Deployment, Step, Term
from costlab.text import tokens_text, usd_text

_TERMS: tuple[Term, ...] = ("compute", "memory", "link")


def _chip_text(node: Deployment) -> str:
    """Return a chip's name without maker and form: H800."""
    return node.chip.name.removeprefix("NVIDIA ").split(" SXM")[0]


def _where(node: Deployment, context: int) -> str:
    length = f"{context:,}" if context % 1024 else tokens_text(context)
    return f"{node.model.name} on {node.chips} {_chip_text(node)}, {length} tokens of context"


def _no_room(axes: Axes, node: Deployment, context: int) -> Words:
    """Say that nothing can be drawn, and why."""
    axes.text(0.5, 0.5, "no room for one sequence", transform=axes.transAxes, ha="center", fontsize=14)
    axes.set(xticks=[], yticks=[])
    weights, memory = node.weight_bytes_per_chip / 1e9, node.usable_bytes_per_chip / 1e9
    kept = node.cache_bytes_per_chip(context) / 1e9
    return Words(
        alt=f"{_where(node, context)}: memory holds no sequence, so there is no price. Each chip would hold "
        f"{weights:,.1f} GB of weights, and {memory:,.1f} GB may be used.",
        note=f"{_where(node, context)}: memory holds {value(0, '0 sequences')}. Each chip would hold "
        f"{value(weights, f'{weights:,.1f} GB')} of weights and {value(kept, f'{kept:,.2g} GB')} of cache for each "
        f"sequence, and may use {value(memory, f'{memory:,.1f} GB')}.",
    )


# --- a chip ----------------------------------------------------------------------------------------------------


@drawn
def chip_pipes(
    model: str = "deepseek-v3", chip: str = "h800", chips: int = 144, batch: int = 12_672, context: int = 4989
) -> Words:
    """Draw a chip with the pipes that feed it, as wide as they are fast, and the time that a decode step needs of each.

    Args:
        model: key in the catalog.
        chip: key in the catalog.
        chips: number of chips; experts spread over all of them.
        batch: sequences decoded together, on all chips.
        context: tokens of each.

    Raises:
        ValueError: an unknown key, a count below 1, or a batch that memory does not hold.
    """
    node = roofline.deployment(model, chip, chips)
    node.check_room(batch, context)
    step = node.decode(batch, context)
    done = _done_by_term(node, step, batch, context)
    height = 150.0
    bars = _bars(step, done, height + 36)
    diagram(
        "What does one decode step ask of a chip?", height + (148 if is_narrow() else 118), _pipes(node, height) + bars
    )
    times = node.chip.memory_bandwidth_bytes_s / node.chip.network
    return Words(
        alt=f"A chip, {_chip_text(node)}: a pipe {times:.0f} times as wide as that of its network card joins its "
        f"memory of {node.chip.memory_bytes / 1e9:.0f} GB to its arithmetic. Below, milliseconds of a decode step of "
        f"{batch:,} sequences on {chips} chips: {', '.join(f'{term} {_ms(step, term)}' for term in _TERMS)}. The "
        f"longest, {step.bound}, sets the pace.",
        note=f"{_where(node, context)}, {value(batch, f'{batch:,} sequences')}. A step: "
        + ", ".join(f"{t} {value(step.terms[t] * 1e3, f'{_ms(step, t)} ms')} ({done[t]})" for t in _TERMS)
        + ". Pipes are as wide as they are fast; links count in one direction.",
    )


def _ms(step: Step, term: Term) -> str:
    return f"{step.terms[term] * 1e3:.1f}"


def _done_by_term(node: Deployment, step: Step, batch: int, context: int) -> dict[Term, str]:
    """Return what one chip does in a step: FLOPs, bytes read, bytes sent."""
    flops = float(node.model.decode_flops(context).total) * batch / node.chips
    read = step.memory_s * node.chip.memory_bandwidth_bytes_s
    far = node.chips > node.chip.chips_per_node
    sent = step.link_s * (node.chip.network if far else node.chip.link_bytes_s)
    return {
        "compute": f"{flops / 1e12:.3g} TFLOP",
        "memory": f"{read / 1e9:.3g} GB read",
        "link": f"{sent / 1e9:.2g} GB sent",
    }


def _pipes(node: Deployment, height: float) -> list[str]:
    """Return memory, arithmetic, the node's other chips and the other nodes, with the pipes between them."""
    chip, wide = node.chip, not is_narrow()
    memory_x, maths_x, far_x, end = (0, 190, 400, across()) if wide else (0, 104, 192, across())
    memory_w, maths_w = (112, 116) if wide else (62, 72)
    scale = 92 / chip.memory_bandwidth_bytes_s  # units of width for each byte per second
    middle = height / 2
    near = min(node.chips, chip.chips_per_node)
    ends = {
        "NVLink": (middle - 36, chip.link_bytes_s, f"{near - 1} chips"),
        "network": (middle + 36, chip.network, f"{node.chips - near} chips"),
    }
    hbm, pipe = COLOURS["hbm"], COLOURS["memory"]
    shapes = [
        box(memory_x, 8, memory_w, height - 16, hbm, round=4),
        *_lines(memory_x + memory_w / 2, middle, ["HBM", f"{chip.memory_bytes / 1e9:.0f} GB"], on(hbm)),
        box(memory_x + memory_w, middle - 46, maths_x - memory_x - memory_w, 92, pipe),
        *_lines(
            (memory_x + memory_w + maths_x) / 2,
            middle,
            [f"{chip.memory_bandwidth_bytes_s / 1e9:,.0f}", "GB/s"],
            on(pipe),
        ),
        box(maths_x, 8, maths_w, height - 16, COLOURS["compute"], round=4),
        *_lines(
            maths_x + maths_w / 2,
            middle,
            ["arithmetic", f"{roofline.rate(chip, 'fp8') / 1e12:,.0f}", "TFLOP/s"],
            on(COLOURS["compute"]),
        ),
    ]
    for name, (y, speed, there) in ends.items():
        thick = speed * scale
        shapes += [
            box(maths_x + maths_w, y - thick / 2, far_x - maths_x - maths_w, thick, COLOURS["link"]),
            box(far_x, y - 31, end - far_x, 62, "none", edge="currentColor", round=4),
            *_lines((far_x + end) / 2, y, [name, f"{speed / 1e9:,.0f} GB/s", there]),
        ]
    return shapes


def _lines(x: float, y: float, words: list[str], colour: str = "") -> list[str]:
    """Return lines of text round a point, the first one bold."""
    gap = 14
    top = y + 4 - gap * (len(words) - 1) / 2
    return [
        text(x, top + gap * i, word, anchor="middle", size=10, bold=not i, colour=colour)
        for i, word in enumerate(words)
    ]


def _bars(step: Step, done: Mapping[Term, str], top: float) -> list[str]:
    """Return the three terms of a step as bars, in milliseconds to one scale."""
    wide = not is_narrow()
    left = 150.0 if wide else 0.0
    room = across() - left - 60
    row = 26 if wide else 34
    shapes = [text(0, top - 12, "In one step, for each chip:", size=10, bold=True)]
    for place, term in enumerate(_TERMS):
        y = top + place * row
        seconds = step.terms[term]
        length = room * seconds / max(step.terms.values())
        words = f"{term}: {done[term]}"
        shapes += [
            text(0, y + 12, words, size=10) if wide else text(0, y + 9, words, size=10),
            box(left, y if wide else y + 13, length, 16, COLOURS[term]),
            text(
                left + length + 5, y + (12 if wide else 25), f"{seconds * 1e3:.1f} ms", size=10, bold=term == step.bound
            ),
        ]
    return shapes


# --- the roof --------------------------------------------------------------------------------------------------


@drawn
def roofline_chart(model: str = "deepseek-v3", chip: str = "h800", context: int = 4096, chips: int = 32) -> Words:
    """Draw a chip's roofline with a model's prefill and its decode at several batches under it.

    Args:
        model: key in the catalog.
        chip: key in the catalog.
        context: tokens per sequence.
        chips: number of chips.

    Raises:
        ValueError: an unknown key, or a count below 1.
    """
    node = roofline.deployment(model, chip, chips)
    axes = new_figure(f"How near to its roof does {_the(node)} come?", "FLOP per byte read", "TFLOP/s per chip")
    colour_key((f"{term}-bound", COLOURS[term]) for term in _TERMS)
    fits = node.max_batch(context)
    if not fits:
        return _no_room(axes, node, context)
    peak, bandwidth = roofline.rate(node.chip, "fp8"), node.chip.memory_bandwidth_bytes_s
    ridge = peak / bandwidth
    x = np.array([0.5, ridge, 20_000])
    axes.plot(x, np.minimum(x * bandwidth, peak) / 1e12, color=INK)
    axes.plot([ridge], [peak / 1e12], "|", color=INK, markersize=14)
    axes.annotate(f"ridge {ridge:.0f}", (ridge, peak / 1e12), (-4, 9), textcoords="offset points", ha="right")
    batches = [batch for batch in (32, 256, 2048, 16_384) if batch <= fits] or [node.replicas]
    each = float(node.model.decode_flops(context).total)
    marks = {f"decode {batch:,}": (node.decode(batch, context), each * batch) for batch in batches}
    whole = float(node.model.prefill_flops(context).total)
    marks["prefill"] = (node.prefill(context, batch=node.replicas), whole * node.replicas)
    for name, (step, flops) in marks.items():
        _mark(axes, node, step, flops, name)
    log_axis(axes, "x", [1, 100, 10_000] if is_narrow() else [1, 10, 100, 1000, 10_000], "{:,.0f}".format)
    log_axis(axes, "y", [1, 10, 100, 1000], "{:,.0f}".format)
    axes.set(xlim=(0.5, 200_000 if is_narrow() else 60_000), ylim=(0.5, peak / 1e12 * 3))
    reached = {name: flops / step.seconds / node.chips for name, (step, flops) in marks.items()}
    return Words(
        alt=f"{_where(node, context)}. The roof rises with the bandwidth of memory to {peak / 1e12:,.0f} TFLOP/s at "
        f"{ridge:.0f} FLOP per byte and is flat from there. "
        + " ".join(f"{name}: {_reached(reached[name])}, {step.bound}-bound." for name, (step, _) in marks.items()),
        note=f"{_where(node, context)}: ridge at {value(ridge, f'{ridge:.0f} FLOP per byte')}; "
        + ", ".join(f"{name} {value(flops, _reached(flops))}" for name, flops in reached.items()),
    )


def _the(node: Deployment) -> str:
    name = _chip_text(node)
    return f"an {name}" if name[0] in "AH" and name[1].isdigit() else f"a {name}"


def _reached(flops_per_s: float) -> str:
    return f"{flops_per_s / 1e12:,.3g} TFLOP/s"


def _mark(axes: Axes, node: Deployment, step: Step, flops: float, words: str) -> None:
    """Mark a step; where links hold it under the roof, a dotted line leads up to what memory or compute would allow."""
    read = step.memory_s * node.chip.memory_bandwidth_bytes_s * node.chips
    x, y = flops / read, flops / step.seconds / node.chips / 1e12
    roof = min(x * node.chip.memory_bandwidth_bytes_s, roofline.rate(node.chip, "fp8")) / 1e12
    colour = COLOURS[step.bound]
    if step.bound == "link":
        axes.plot([x, x], [y, roof], ":", color=colour, linewidth=1.5)
    axes.plot(x, y, "o", color=colour, markersize=8)
    words = words.removeprefix("decode ") if is_narrow() else words
    axes.annotate(words, (x, y), (7, -9), textcoords="offset points", va="center", fontsize=9.5)


# --- the batch -------------------------------------------------------------------------------------------------


@drawn
def batch_curve(
    context: int = 4096,
    chips: int = 32,
    model: str = "deepseek-v3",
    chip: str = "h800",
    usd_per_chip_hour: float | None = None,
) -> Words:
    """Draw the price of a million output tokens against the batch, with its three terms, up to what memory holds.

    Args:
        context: tokens per sequence.
        chips: number of chips; experts spread over all of them.
        model: key in the catalog.
        chip: key in the catalog.
        usd_per_chip_hour: rent; None for the catalog's latest.

    Raises:
        ValueError: an unknown key, a count below 1, or a chip without a rent.
    """
    node = roofline.deployment(model, chip, chips)
    rent = prices.chip_rent(chip).amount if usd_per_chip_hour is None else usd_per_chip_hour
    axes = new_figure(
        "What does a larger batch do to the price?", "sequences decoded together", "USD per million output tokens"
    )
    fits = node.max_batch(context)
    if not fits:
        return _no_room(axes, node, context)
    batches = node.replicas * np.unique(np.geomspace(1, fits // node.replicas, 16).astype(int))
    steps = [node.decode(int(batch), context) for batch in batches]
    price = [node.usd_per_million(step, rent) for step in steps]
    terms = {
        t: [p * s.terms[t] / s.seconds for p, s in zip(price, steps, strict=True)] for t in _TERMS if steps[-1].terms[t]
    }
    axes.plot(batches, price, color=INK, linewidth=6, alpha=0.25)
    for term, usd in terms.items():
        axes.plot(batches, usd, color=COLOURS[term], marker="o" if len(batches) == 1 else "")
    _capacity_end(axes, fits, (min(min(usd) for usd in terms.values()), max(price)), model)
    label_ends(axes, float(batches[-1]), [(usd[-1], term, COLOURS[term]) for term, usd in terms.items()])
    return _batch_words(node, context, steps, price, rent)


def _capacity_end(axes: Axes, fits: int, span: tuple[float, float], model: str) -> None:
    """Set the scales round the lowest and the highest price, mark where memory is full, and what the list asks."""
    log_axis(axes, "x", [n for n in 4.0 ** np.arange(0, 10) if n <= fits * 1.5], "{:,.0f}".format)
    log_axis(axes, "y", 10.0 ** np.arange(-3, 5), usd_text)
    axes.set(xlim=(axes.get_xlim()[0] / 1.2, fits), ylim=(span[0] / 1.8, span[1] * 2.5))
    axes.axvline(fits, color=INK, linewidth=1)
    axes.annotate(
        f"memory full: {fits:,}", (fits, span[1] * 1.6), (-5, 0), textcoords="offset points", ha="right", va="center"
    )
    if asked := list_price(model):
        axes.axhline(asked, color=INK, linewidth=1, linestyle=":")
        words = f"list price {usd_text(asked)}"
        axes.annotate(words, (fits, asked), (-5, 7), textcoords="offset points", ha="right", va="center")


def list_price(model: str) -> float | None:
    """Return the list price of a million output tokens in dollars: on the course's day, else the last at full price.

    None where the catalog has none.
    """
    if model not in prices.products():
        return None
    try:
        return prices.price_at(model).output
    except ValueError:  # it was not sold then
        rows = prices.history(model, "USD")
        return max((row.output for row in rows if row.valid_from == rows[-1].valid_from), default=None)


def _batch_words(node: Deployment, context: int, steps: list[Step], price: list[float], rent: float) -> Words:
    first, last = steps[0], steps[-1]
    fits = int(last.tokens)
    per_chip, per_user = last.tokens_per_s / node.chips, 1 / last.seconds
    where = f"{_where(node, context)}, at {usd_text(rent)} a chip-hour"
    return Words(
        alt=f"{where}. A million output tokens cost {usd_text(price[0])} at {int(first.tokens):,} sequences and "
        f"{usd_text(price[-1])} at {fits:,}, where memory is full and the step is {last.bound}-bound.",
        note=f"{where}. Memory holds {value(fits, f'{fits:,} sequences', 'roofline_fits')}. With all of them a step "
        f"takes {value(last.seconds * 1e3, f'{last.seconds * 1e3:.1f} ms')} ({last.bound}-bound): each user gets "
        f"{value(per_user, f'{per_user:.0f} tokens/s')}, a chip yields {value(per_chip, f'{per_chip:,.0f} tokens/s')}, "
        f"a million cost {value(price[-1], usd_text(price[-1]), 'roofline_usd')}.",
    )


# --- a published day -------------------------------------------------------------------------------------------


@drawn
def published_day() -> Words:
    """Draw the time of a decode step of DeepSeek's published day beside the roofline's terms, stacked and apart."""
    found = roofline.check_day()
    took, terms = found.decode_step_s * 1e3, {t: s * 1e3 for t, s in found.decode_ideal.terms.items()}
    total, longest = sum(terms.values()), max(terms.values())
    axes = new_figure("Where does a decode step's time go?", "milliseconds", "", wide=(7.2, 2.9), narrow=(3.6, 3.2))
    colour_key((term, COLOURS[term]) for term in _TERMS)
    names = ["published rates", "three in turn", *_TERMS]
    axes.barh(0, took, color=COLOURS["other"], height=0.64)
    label_inside(axes, f"{took:.1f}", took, 0, weight="bold")
    left = 0.0
    for place, term in enumerate(_TERMS, 2):
        axes.barh(1, terms[term], left=left, color=COLOURS[term], height=0.64)
        axes.barh(place, terms[term], color=COLOURS[term], height=0.64)
        label_inside(axes, f"{terms[term]:.1f}", terms[term], place)
        left += terms[term]
    label_inside(axes, f"{total:.1f}", total, 1)
    axes.set_yticks(range(len(names)), names)
    axes.set(xlim=(0, took * 1.3), ylim=(len(names) - 0.5, -0.5))
    axes.grid(axis="y", visible=False)
    listed = ", ".join(f"{term} {ms:.1f}" for term, ms in terms.items())
    return Words(
        alt=f"A decode step took {took:.1f} ms by the published rates. The terms of the roofline are {listed} ms: "
        f"one after the other {total:.1f} ms, fully overlapped {longest:.1f} ms.",
        note=f"Published rates imply {value(took, f'{took:.1f} ms')} a step. In turn the three terms take "
        f"{value(total, f'{total:.1f} ms')}, the longest alone {value(longest, f'{longest:.1f} ms')}.",
    )
