"""Figures of the chapter `moe`: what a batch reads, what the link costs, what a capacity wastes, what balances.

Chapter: moe
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from costlab import arch, moe, prices, roofline
from costlab.arrays import Floats, Ints
from costlab.explore.drawing import Words, drawn, is_narrow, value
from costlab.explore.style import COLOURS, colour_key, label_ends, label_inside, log_axis, new_figure, share_axis
from costlab.text import tokens_text

_LARGEST = 4096  # tokens in a step: the right end of the axes and of the sliders
_BATCHES = np.unique(np.round(np.geomspace(1, _LARGEST, 49)))
_SHOWN = ("mixtral-8x7b", "qwen3-235b-a22b", "mimo-v2.5-pro", "deepseek-v4-pro")


def _maker_colour(model: arch.Model) -> str:
    return COLOURS.get(model.record.maker.removesuffix(" AI"), COLOURS["other"])


def _tokens(count: int) -> str:
    return f"{count:,} token{'s' if count > 1 else ''}"


# -- what a batch reads ------------------------------------------------------------------------------------------


@drawn
def experts_touched(batch: int = 64, skew: float = 0.0) -> Words:
    """Draw the share of a layer's experts that a decode step visits against its batch, and mark one batch.

    Args:
        batch: tokens in the step, at least 1.
        skew: how uneven the experts' popularity is: 0 is even, 1 falls as one over the rank.

    Raises:
        ValueError: a batch below 1 or a negative skew.
    """
    axes = new_figure("How many experts does a batch visit?", "tokens in one decode step", "share of experts visited")
    found, ends, styles = {}, [], []
    for key, style in zip(_SHOWN, ("solid", "dotted", "dashed", "solid"), strict=True):
        model, layer = arch.load(key), moe.moe_layer(key)
        popular = _visits(layer.experts, layer.top_k, skew)
        curve = moe.touched_share(layer.experts, layer.top_k, _BATCHES, popular)
        axes.plot(_BATCHES, curve, color=_maker_colour(model), linestyle=style)
        found[model.name] = float(moe.touched_share(layer.experts, layer.top_k, batch, popular))
        axes.plot(batch, found[model.name], "o", color=_maker_colour(model))
        ends.append((float(curve[-1]), model.name, _maker_colour(model)))
        styles.append(style)
    axes.axvline(batch, color=COLOURS["other"], linewidth=1, linestyle=":")
    log_axis(axes, "x", 4.0 ** np.arange(0, 7), "{:g}".format)
    axes.set(xlim=(0.9, _LARGEST), ylim=(0, 1.05 if is_narrow() else 1.22))  # room for names of lines that meet
    share_axis(axes, "y")
    label_ends(axes, _LARGEST, ends, styles)
    listed = "; ".join(f"{name} {share:.1%}" for name, share in found.items())
    marked = found["DeepSeek-V4-Pro"]
    each = " · ".join(f"{name} {value(share, f'{share:.1%}')}" for name, share in found.items() if share != marked)
    return Words(
        f"Share of a layer's experts that a decode step visits, rising with its batch. At {_tokens(batch)}: {listed}.",
        f"DeepSeek-V4-Pro {value(marked, f'{marked:.1%}', name='moe_touched')} · {each}, at "
        f"{value(batch, _tokens(batch), name='moe_batch')}",
    )


@functools.lru_cache(32)  # a move of the batch leaves them as they are
def _visits(experts: int, k: int, skew: float, tokens: int = 2048) -> Floats | None:
    """Return how often each expert is visited per token, from seeded routes; None where all are alike."""
    if skew == 0:
        return None
    routes = moe.sample_routes(tokens, k, moe.zipf_shares(experts, skew), np.random.default_rng(0))
    return np.asarray(moe.count_loads(routes, experts) / tokens, dtype=np.float64)


@drawn
def weights_per_token(model: str = "deepseek-v4-pro", batch: int = 256) -> Words:
    """Draw the weight bytes that each token of a decode step costs to read, split into experts and the rest.

    Args:
        model: a model with experts.
        batch: the batch to mark.

    Raises:
        ValueError: an unknown model or one without experts, or a batch below 1.
    """
    moe.moe_layer(model)  # raises where there are no experts
    name, step, marked = arch.load(model).name, moe.decode_step(model, _BATCHES), moe.decode_step(model, batch)
    axes = new_figure(f"What must {name} read for one token?", "tokens in one decode step", "GB per token")
    parts = {
        "routed experts": (step.expert_bytes / _BATCHES / 1e9, _maker_colour(arch.load(model)), "solid"),
        "all else": (step.always_bytes / _BATCHES / 1e9, COLOURS["other"], "dashed"),
    }
    for gigabytes, colour, style in parts.values():
        axes.plot(_BATCHES, gigabytes, color=colour, linestyle=style)
    axes.axvline(batch, color=COLOURS["other"], linewidth=1, linestyle=":")
    axes.plot(batch, float(marked.expert_bytes) / batch / 1e9, "o", color=_maker_colour(arch.load(model)))
    alone = float(moe.decode_step(model, 1).bytes_per_token) / 1e9
    axes.plot(1, alone, "o", color="black")
    axes.annotate(f"one token alone: {alone:.3g} GB", (1, alone), (8, 0), textcoords="offset points", va="center")
    log_axis(axes, "x", 4.0 ** np.arange(0, 7), "{:g}".format)
    log_axis(axes, "y", 10.0 ** np.arange(-3, 3), "{:g}".format)
    axes.set(xlim=(0.9, _LARGEST), ylim=(5e-4, 110))
    label_ends(
        axes, _LARGEST, [(float(v[-1]), part, c) for part, (v, c, _) in parts.items()], [s for *_, s in parts.values()]
    )
    each, touched = float(marked.bytes_per_token) / 1e9, float(marked.touched)
    return Words(
        f"Weights that {name} reads per token, falling as the batch grows, log axes: {alone:.3g} GB for "
        f"a token alone, {each:.3g} GB at {_tokens(batch)}, where {touched:.0%} of the routed experts are read.",
        f"{_tokens(batch)}: {value(each, f'{each:.3g} GB')} of weights per token, {value(touched, f'{touched:.1%}')} "
        f"of the routed experts read; one token alone: {value(alone, f'{alone:.3g} GB')}",
    )


# -- what the link costs -----------------------------------------------------------------------------------------

_TERMS = {"compute": "arithmetic", "memory": "memory", "link": "link"}


class _Limits(NamedTuple):
    """USD per million tokens by each of three limits, if it were the only one."""

    miss: Mapping[str, float]  # of input tokens that are computed, by limit
    output: Mapping[str, float]  # of output tokens, by limit
    batch: int  # sequences that the output tokens belong to


def _limits(context: int, chips: int) -> _Limits:
    """Return what tokens cost by each limit: prompts one on each chip, output for as many sequences as fit."""
    fleet = roofline.deployment("deepseek-v4-pro", "h800", chips)
    batch = fleet.max_batch(context)
    fleet.check_room(max(batch, 1), context)
    usd_per_s = prices.chip_rent("h800").amount * chips / 3600
    steps = (fleet.prefill(context, batch=chips), fleet.decode(batch, context))
    miss, output = ({t: getattr(s, f"{t}_s") * usd_per_s / s.tokens * 1e6 for t in _TERMS} for s in steps)
    return _Limits(miss, output, batch)


@drawn
def which_limit(context: int = 8192, chips: int = 64) -> Words:
    """Draw what V4-Pro's miss and output tokens cost on H800s by each limit of the roofline; the longest bar binds.

    Prompts are as long as the context, one on each chip; output is written for as many sequences as fit.

    Args:
        context: tokens of a sequence.
        chips: of the deployment, each with attention weights of its own (tensor parallelism 1).

    Raises:
        ValueError: no room for one sequence beside the weights.
    """
    found = _limits(context, chips)
    title = f"Which limit sets the price of V4-Pro on {chips} H800s, at {tokens_text(context)}?"
    by = "USD per million tokens" + ("" if is_narrow() else ", by this limit alone")
    axes = new_figure(title, by, "", wide=(7.2, 3.0), narrow=(3.6, 3.2))
    rows, ticks = [(kind, term) for kind in ("miss", "output") for term in _TERMS], []
    longest = max(*found.miss.values(), *found.output.values())
    for (kind, term), y in zip(rows, (7, 6, 5, 3, 2, 1), strict=True):
        usd = getattr(found, kind)[term]
        sets = usd == max(getattr(found, kind).values())
        axes.barh(y, usd, color=COLOURS[term], height=0.8)
        text = f"${usd:.3g}" if usd >= 0.001 else "below $0.001"
        label_inside(axes, text, usd, y, weight="bold" if sets else "normal", fontsize=10)
        ticks.append((y, f"{kind}: {_TERMS[term]}"))
    axes.set_yticks(*zip(*ticks, strict=True))
    axes.set_xlim(0, longest * (1.55 if is_narrow() else 1.2))
    axes.locator_params("x", nbins=3 if is_narrow() else 8)
    axes.grid(axis="y", visible=False)
    colour_key([(word, COLOURS[term]) for term, word in _TERMS.items()])
    said = [_sentence(kind, getattr(found, kind)) for kind in ("miss", "output")]
    prices = " · ".join(
        f"{kind}: {value(max(usd.values()), f'${max(usd.values()):.4f}', name=f'moe_{kind}')} per million"
        for kind, usd in (("miss", found.miss), ("output", found.output))
    )
    each = value(context, tokens_text(context), name="moe_context")
    hardware = f"{value(chips, f'{chips} H800s', name='moe_chips')}, {each} tokens each"
    sequences = value(found.batch, f"{found.batch:,} sequences")
    return Words(f"Six bars for {chips} H800s. {' '.join(said)}", f"{prices} · {sequences} fit on {hardware}")


def _sentence(kind: str, usd: Mapping[str, float]) -> str:
    most = max(usd, key=lambda term: usd[term])
    parts = ", ".join(f"{_TERMS[term]} ${amount:.3g}" for term, amount in usd.items())
    return f"A million {kind} tokens: {parts}; so {_TERMS[most]} sets the price."


# -- what a capacity wastes, what balancing saves ----------------------------------------------------------------


@drawn
def capacity_waste(factor: float = 1.25, skew: float = 0.5, tokens: int = 4096) -> Words:
    """Draw what a capacity factor drops and what it pads, for 64 experts and top-6 on a skewed load.

    Args:
        factor: the capacity factor to mark; 1 holds exactly a fair share.
        skew: exponent of the experts' popularity, at least 0.
        tokens: in the batch.

    Raises:
        ValueError: a negative factor or skew.
    """
    experts, k, grid = 64, 6, np.linspace(0.25, 4, 46)
    loads = _loads(tokens, k, experts, skew)
    axes = new_figure("What does a capacity factor waste?", "capacity factor", "share")
    curves = np.array([_wasted(loads, tokens, k, at) for at in grid]).T
    looks = (("visits dropped", COLOURS["dropped"], "solid"), ("rows padded", COLOURS["other"], "dashed"))
    for (_, colour, style), curve in zip(looks, curves, strict=True):
        axes.plot(grid, curve, color=colour, linestyle=style)
    axes.axvline(factor, color=COLOURS["other"], linewidth=1, linestyle=":")
    dropped, padded = _wasted(loads, tokens, k, factor)
    for share, (_, colour, _) in zip((dropped, padded), looks, strict=True):
        axes.plot(factor, share, "o", color=colour)
    axes.set(xlim=(0.25, 4), ylim=(-0.03, 1), xticks=range(1, 5))
    share_axis(axes, "y")
    ends = [(float(curve[-1]), name, colour) for (name, colour, _), curve in zip(looks, curves, strict=True)]
    label_ends(axes, grid[-1], ends, [style for *_, style in looks])
    return Words(
        f"Against the capacity factor, the share of visits dropped falls and the share of rows padded rises. At a "
        f"factor of {factor:g}, with skew {skew:g} over {experts} experts, {dropped:.1%} of the visits are dropped "
        f"and {padded:.1%} of the rows computed hold no token.",
        f"factor {factor:g}: {value(dropped, f'{dropped:.1%}')} of visits dropped, {value(padded, f'{padded:.1%}')} of "
        "rows padded",
    )


@functools.lru_cache(32)  # a move of the factor leaves them as they are
def _loads(tokens: int, k: int, experts: int, skew: float) -> Ints:
    routes = moe.sample_routes(tokens, k, moe.zipf_shares(experts, skew), np.random.default_rng(0))
    return moe.count_loads(routes, experts)


def _wasted(loads: Ints, tokens: int, k: int, factor: float) -> tuple[float, float]:
    """Return what is dropped and what is padded at a capacity factor; the loads say it, no need to dispatch."""
    rows = moe.capacity(tokens, len(loads), k, factor)
    return moe.dropped_share(loads, rows), moe.padding_share(loads, rows)


@drawn
def expert_collapse(curves: Mapping[str, Sequence[float]]) -> Words:
    """Draw how evenly a layer's experts are used while it trains; methods with the same course share a line.

    Args:
        curves: load entropy per step (1 is even, 0 is one expert for all) by method; more than 10 steps.
    """
    axes = new_figure("Do the experts stay in use?", "training step", "load entropy (1 = even)")
    looks = zip(("miss", "full", "compressed", "sliding", "recurrent"), ("solid", "dashed", "dotted") * 2, strict=False)
    ends, styles = [], []
    for (name, values), (colour, style) in zip(_merged(curves).items(), looks, strict=False):
        smooth = np.convolve(values, np.ones(10) / 10, mode="valid")
        axes.plot(np.arange(smooth.size), smooth, color=COLOURS[colour], linestyle=style)
        ends.append((float(np.mean(values[-10:])), name, COLOURS[colour]))
        styles.append(style)
    last = max(len(values) for values in curves.values()) - 10
    axes.set(xlim=(0, last), ylim=(0, 1.2), xticks=np.linspace(0, 100 * (last // 100), last // 100 + 1))
    label_ends(axes, last, ends, styles)
    each = " · ".join(f"{name} {value(end, f'{end:.2f}')}" for end, name, _ in ends)
    listed = "; ".join(f"{name} {end:.2f}" for end, name, _ in ends)
    return Words(
        f"Load entropy of a layer over {last + 10} training steps. At the end: {listed}.", f"at the end: {each}"
    )


def _merged(curves: Mapping[str, Sequence[float]]) -> dict[str, Sequence[float]]:
    """Return the curves, those that are equal under one name."""
    names: dict[tuple[float, ...], list[str]] = {}
    for name, values in curves.items():
        names.setdefault(tuple(values), []).append(name)
    return {", ".join(alike): values for values, alike in names.items()}
