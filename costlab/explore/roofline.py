"""Figures of the chapter `roofline`: what bounds a step, and what a batch does for the price.

Chapter: roofline
"""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes

from costlab import catalog, roofline
from costlab.explore.drawing import Words, drawn, say
from costlab.explore.style import COLOURS, label_ends, log_axis, new_figure
from costlab.text import tokens_text


@drawn
def batch_curve(context: int = 4096, chips: int = 32, model: str = "deepseek-v3", chip: str = "h800") -> Words | None:
    """Draw the decode step's compute, memory and link time against the batch, up to what memory holds.

    Args:
        context: tokens per sequence.
        chips: number of chips; experts spread over all of them.
        model: key in the catalog.
        chip: key in the catalog.

    Raises:
        ValueError: an unknown key, or a context or count below 1.
    """
    node = roofline.deployment(model, chip, chips)
    fits = node.max_batch(context)
    title = f"{node.model.name}, {chips} x {chip.upper()}, context {tokens_text(context)}"
    axes = new_figure(title, "sequences decoded together", "milliseconds per step")
    if not fits:
        _say_it_does_not_fit(axes, node)
        return
    most = max(1, min(fits, 65536) // node.replicas)
    batches = node.replicas * np.unique(np.geomspace(1, most, 40).astype(int))  # every replica equally full
    steps = [node.decode(int(b), context) for b in batches]
    times = {part: [getattr(step, f"{part}_s") * 1e3 for step in steps] for part in ("compute", "memory", "link")}
    times = {part: values for part, values in times.items() if values[-1]}  # one chip has no links
    for part, values in times.items():
        axes.plot(batches, values, color=COLOURS[part])
    log_axis(axes, "x", 4.0 ** np.arange(0, 9), "{:g}".format)
    log_axis(axes, "y", 10.0 ** np.arange(-5, 4), "{:g}".format)
    axes.set_xlim(batches[0], batches[-1] * 2.2)
    label_ends(axes, batches[-1], [(values[-1], part, COLOURS[part]) for part, values in times.items()])
    best = steps[-1]
    cost = node.usd_per_million(best, 2.0)
    say(f"memory holds {fits} sequences; at {batches[-1]} a step takes {best.seconds * 1e3:.12g} ms ({best.bound}),")
    say(
        f"{best.tokens_per_s / chips:.12g} tokens/s per chip, {cost:.12g} USD per million tokens at 2 USD per chip-hour"
    )


def _say_it_does_not_fit(axes: Axes, node: roofline.Deployment) -> None:
    weights, memory = node.weight_bytes_per_chip / 1e9, node.chip.memory_bytes / 1e9
    axes.text(0.5, 0.5, "no room for one sequence", transform=axes.transAxes, ha="center", fontsize=14)
    say(f"memory holds 0 sequences: {weights:.12g} GB of weights on each chip of {memory:.12g} GB")


@drawn
def roofline_chart(model: str = "deepseek-v3", chip: str = "h800", context: int = 4096) -> Words | None:
    """Draw a chip's roofline with a model's prefill and its decode at several batches on it.

    Args:
        model: key in the catalog.
        chip: key in the catalog.
        context: tokens per sequence.

    Raises:
        ValueError: an unknown key, or a context below 1.
    """
    record = catalog.chip(chip)
    node = roofline.deployment(model, chip, 32)
    axes = new_figure(f"Where on the roof of the {record.name}?", "FLOP per byte read", "TFLOP/s per chip")
    x = np.geomspace(0.5, 20000, 100)
    peak = roofline.rate(record, "fp8")
    axes.plot(x, np.minimum(x * record.memory_bandwidth_bytes_s, peak) / 1e12, color="black")
    for batch in (32, 256, 2048, 16384):
        if batch <= node.max_batch(context):
            _mark(
                axes,
                node,
                node.decode(batch, context),
                float(node.model.decode_flops(context).total) * batch,
                f"decode, {batch}",
            )
    step = node.prefill(context, batch=32)
    _mark(axes, node, step, float(node.model.prefill_flops(context).total) * 32, "prefill")
    log_axis(axes, "x", [1, 10, 100, 1000, 10000], "{:g}".format)
    log_axis(axes, "y", [1, 10, 100, 1000], "{:g}".format)
    say(f"ridge at {peak / record.memory_bandwidth_bytes_s:.12g} FLOP per byte")


def _mark(axes: Axes, node: roofline.Deployment, step: roofline.Step, flops: float, text: str) -> None:
    read = step.memory_s * node.chip.memory_bandwidth_bytes_s * node.chips
    x, y = flops / read, flops / step.seconds / node.chips / 1e12
    colour = COLOURS[step.bound]
    axes.plot(x, y, "o", color=colour, markersize=8)
    axes.annotate(f"{text}\n({step.bound}-bound)", (x, y), (8, -4), textcoords="offset points", color=colour, va="top")


@drawn
def published_day() -> Words | None:
    """Draw DeepSeek's published day: where the cost went, and how far its decode was from the roofline."""
    found = roofline.check_day()
    ideal = found.decode_ideal
    axes = new_figure("A decode step of February 2025", "milliseconds", "", wide=(7.2, 2.8))
    rows = {
        "measured (implied)": (found.decode_step_s, COLOURS["other"]),
        "link": (ideal.link_s, COLOURS["link"]),
        "compute": (ideal.compute_s, COLOURS["compute"]),
        "memory": (ideal.memory_s, COLOURS["memory"]),
    }
    for row, (seconds, colour) in enumerate(rows.values()):
        axes.barh(row, seconds * 1e3, color=colour, height=0.6)
        axes.annotate(f"{seconds * 1e3:.1f} ms", (seconds * 1e3, row), (5, 0), textcoords="offset points", va="center")
    axes.set_yticks(range(len(rows)), list(rows))
    axes.set_xlim(0, found.decode_step_s * 1e3 * 1.2)
    axes.grid(axis="y", visible=False)
