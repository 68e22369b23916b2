"""Figures of the chapter `moe`: how many experts a batch touches, and what a capacity factor wastes.

Chapter: moe
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence

import numpy as np

from costlab import arch, moe
from costlab.arrays import Floats
from costlab.explore.drawing import Words, drawn, say
from costlab.explore.style import COLOURS, label_ends, log_axis, new_figure

_BATCHES = np.unique(np.round(np.geomspace(1, 16384, 57)))
_SHOWN = ("mixtral-8x7b", "deepseek-v3", "deepseek-v4-pro", "mimo-v2.5-pro")


@drawn
def experts_touched(batch: int = 64, skew: float = 0.0) -> Words | None:
    """Draw the share of a layer's experts that a decode step visits against its batch, and mark one batch.

    Args:
        batch: tokens in the step, at least 1.
        skew: how uneven the experts' popularity is: 0 is even, 1 falls as one over the rank.

    Raises:
        ValueError: a batch below 1 or a negative skew.
    """
    axes = new_figure("How many experts does a batch wake?", "tokens in one decode step", "share of experts visited")
    ends, found = [], {}
    for key in _SHOWN:
        layer, name = moe.moe_layer(key), arch.load(key).name
        popular = _visits(layer.experts, layer.top_k, skew)
        curve = moe.touched_share(layer.experts, layer.top_k, _BATCHES, popular)
        colour = COLOURS.get(arch.load(key).record.maker, COLOURS["other"])
        axes.plot(_BATCHES, curve, color=colour, linestyle="--" if key == "deepseek-v3" else "-")
        found[name] = float(moe.touched_share(layer.experts, layer.top_k, batch, popular))
        axes.plot(batch, found[name], "o", color=colour)
        ends.append((float(curve[-1]), name, colour))
    axes.axvline(batch, color="#999999", linewidth=1, linestyle=":")
    log_axis(axes, "x", 4.0 ** np.arange(0, 8), "{:g}".format)
    axes.set(xlim=(1, 16384 * 12), ylim=(0, 1.05))
    axes.set_yticks(np.linspace(0, 1, 6), [f"{share:.0%}" for share in np.linspace(0, 1, 6)])
    label_ends(axes, _BATCHES[-1], ends)
    for name, share in found.items():
        say(f"{name}: {share:.12g} of the experts at batch {batch}")


@functools.lru_cache(32)  # a move of the batch leaves them as they are
def _visits(experts: int, k: int, skew: float, tokens: int = 2048) -> Floats | None:
    """Return how often each expert is visited per token, from seeded routes; None where all are alike."""
    if skew == 0:
        return None
    routes = moe.sample_routes(tokens, k, moe.zipf_shares(experts, skew), np.random.default_rng(0))
    return np.asarray(moe.count_loads(routes, experts) / tokens, dtype=np.float64)


@drawn
def capacity_waste(factor: float = 1.25, skew: float = 0.5, tokens: int = 4096) -> Words | None:
    """Draw what a capacity factor drops and what it pads, for 64 experts and top-6 on a skewed load.

    Args:
        factor: the capacity factor to mark; 1 holds exactly a fair share.
        skew: exponent of the experts' popularity, at least 0.
        tokens: in the batch.

    Raises:
        ValueError: a negative factor or skew.
    """
    experts, k = 64, 6
    routes = moe.sample_routes(tokens, k, moe.zipf_shares(experts, skew), np.random.default_rng(0))
    grid = np.linspace(0.25, 4, 46)
    axes = new_figure("What does a capacity factor waste?", "capacity factor", "share")
    ends: list[tuple[float, str, str]] = []
    loads = moe.count_loads(routes, experts)

    def wasted(at: float) -> tuple[float, float]:
        """What is dropped and what is padded at a capacity factor; the loads say it, no need to dispatch."""
        rows = moe.capacity(tokens, experts, k, at)
        return moe.dropped_share(loads, rows), moe.padding_share(loads, rows)

    curves = np.array([wasted(at) for at in grid]).T
    names = {"dropped": COLOURS["miss"], "padding": COLOURS["full"]}
    for (name, colour), curve in zip(names.items(), curves, strict=True):
        axes.plot(grid, curve, color=colour)
        ends.append((float(curve[-1]), name, colour))
    axes.axvline(factor, color="#999999", linewidth=1, linestyle=":")
    axes.set(xlim=(0.25, 4.8), ylim=(0, 1))
    axes.set_yticks(np.linspace(0, 1, 6), [f"{share:.0%}" for share in np.linspace(0, 1, 6)])
    label_ends(axes, grid[-1], ends)
    dropped, padded = wasted(factor)
    say(f"factor {factor:g}: {dropped:.12g} of assignments dropped")
    say(f"{padded:.12g} of the experts' rows empty")


@drawn
def weights_per_token(model: str = "deepseek-v4-pro", batch: int = 256) -> Words | None:
    """Draw the weight bytes that each token of a decode step costs to read, split into experts and the rest.

    Args:
        model: a model with experts.
        batch: the batch to mark.

    Raises:
        ValueError: an unknown model or one without experts, or a batch below 1.
    """
    step = moe.decode_step(model, _BATCHES)
    axes = new_figure(
        f"What must {arch.load(model).name} read for one token?", "tokens in one decode step", "GB per token"
    )
    parts = {
        "routed experts": (step.expert_bytes / _BATCHES / 1e9, COLOURS["compressed"]),
        "all else": (step.always_bytes / _BATCHES / 1e9, COLOURS["other"]),
    }
    for values, colour in parts.values():
        axes.plot(_BATCHES, values, color=colour)
    axes.axvline(batch, color="#999999", linewidth=1, linestyle=":")
    log_axis(axes, "x", 4.0 ** np.arange(0, 8), "{:g}".format)
    log_axis(axes, "y", 10.0 ** np.arange(-4, 3), "{:g}".format)
    axes.set_xlim(1, 16384 * 8)
    label_ends(axes, _BATCHES[-1], [(float(v[-1]), name, colour) for name, (v, colour) in parts.items()])
    marked = moe.decode_step(model, batch)
    say(f"batch {batch}: {float(marked.bytes_per_token) / 1e9:.12g} GB of weights per token")
    say(f"{float(marked.touched):.12g} of the routed experts read")


@drawn
def expert_collapse(curves: Mapping[str, Sequence[float]]) -> Words | None:
    """Draw how evenly a layer's experts are used while it trains, one line per method.

    Args:
        curves: load entropy per step (1 is even, 0 is one expert for all) by method.
    """
    axes = new_figure("Do the experts stay in use?", "training step", "load entropy (1 = even)")
    palette = dict(zip(curves, ("#6B6B6B", "#0072B2", "#D55E00", "#009E73", "#CC79A7"), strict=False))
    for name, values in curves.items():
        smooth = np.convolve(values, np.ones(10) / 10, mode="valid")
        axes.plot(np.arange(smooth.size), smooth, color=palette[name])
    last = max(len(values) for values in curves.values()) - 10
    axes.set(xlim=(0, last * 1.35), ylim=(0, 1.05))
    label_ends(axes, last, [(float(np.mean(v[-10:])), name, palette[name]) for name, v in curves.items()])
