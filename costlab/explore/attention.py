"""Figures of the chapter `attention`: bytes and FLOPs against context, and what compression costs in recall.

Chapter: attention
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol

import numpy as np
from matplotlib.axes import Axes

from costlab import arch, prices, roofline
from costlab.arrays import Floats
from costlab.checks import one_of
from costlab.explore.drawing import Frames, Words, drawn, is_narrow, value
from costlab.explore.style import COLOURS, colour_key, label_ends, label_inside, log_axis, new_figure, share_axis
from costlab.text import bytes_text, tokens_text, usd_text

CONTEXTS = np.floor(2.0 ** np.linspace(10, 20, 61))  # 1K to 1M
_TICKS = [1024.0, 8192.0, 65536.0, 1048576.0]
_FAMILIES = {
    "full": "key and value per head (MHA, GQA)",
    "latent": "a latent per token (MLA, DSA)",
    "sliding": "mostly windows or chunks (hybrid)",
    "compressed": "an entry per block (CSA, HCA)",
    "recurrent": "a state in most layers",
}


def _family(model: arch.Model) -> str:
    kinds = {attention.kind for attention, _ in model.layers}
    if any(isinstance(attention, arch.Recurrent) for attention, _ in model.layers):
        return "recurrent"
    if kinds & {"csa", "csa2", "hca"}:
        return "compressed"
    if kinds & {"mla", "dsa"}:
        return "latent"
    return "sliding" if kinds & {"sliding", "chunked"} else "full"


@drawn
def cache_per_model(tokens: int = 1_048_576) -> Words:
    """Draw the KV cache of every catalogued model at one context length, smallest last; pale beyond its own context.

    Args:
        tokens: context length, at least 1.

    Raises:
        ValueError: a length below 1.
    """
    ranked = sorted(arch.models().values(), key=lambda model: float(model.kv_bytes(tokens).total))
    sizes = [float(model.kv_bytes(tokens).total) for model in ranked]
    title = f"How much does one sequence of {tokens_text(tokens)} tokens keep?"
    height = 0.28 * len(ranked) + 0.7  # inches: a line of text for each
    axes = new_figure(title, "KV cache", "", wide=(7.2, height), narrow=(3.6, height))
    for row, (model, size) in enumerate(zip(ranked, sizes, strict=True)):
        beyond = tokens > model.record.context
        axes.barh(row, size, color=COLOURS[_family(model)], height=0.65, alpha=0.35 if beyond else 1)
        label_inside(axes, bytes_text(size) + ("*" if beyond else ""), size, row, fontsize=10)
    axes.set_yticks(range(len(ranked)), [model.name for model in ranked])
    axes.set_ylim(-0.7, len(ranked) - 0.3)
    log_axis(axes, "x", 10.0 ** np.arange(4, 14, 3 if is_narrow() else 1), bytes_text)
    axes.set_xlim(min(sizes) / 2, max(sizes) * (60 if is_narrow() else 6))
    axes.grid(axis="y", visible=False)
    colour_key([(text, COLOURS[name]) for name, text in _FAMILIES.items()])
    times = sizes[-1] / sizes[0]
    v4 = float(arch.load("deepseek-v4-pro").kv_bytes(tokens).total)
    pale = "; * longer than the context that the model is made for" if tokens > min(_contexts(ranked)) else ""
    return Words(
        f"KV cache of one sequence of {tokens_text(tokens)} tokens for {len(ranked)} models, {ranked[0].name} with "
        f"{bytes_text(sizes[0])} to {ranked[-1].name} with {bytes_text(sizes[-1])}, {times:.3g} times as much.",
        f"DeepSeek-V4-Pro {value(v4, bytes_text(v4), name='attention_v4')}; from {ranked[0].name} "
        f"{value(sizes[0], bytes_text(sizes[0]))} to {ranked[-1].name} {value(sizes[-1], bytes_text(sizes[-1]))}, at "
        f"{value(tokens, tokens_text(tokens), name='attention_context')} tokens{pale}",
    )


def _contexts(models: Sequence[arch.Model]) -> list[int]:
    return [model.record.context for model in models]


@drawn
def bytes_per_token(
    models: Sequence[str] = ("llama-3.1-70b", "deepseek-v3", "mimo-v2.5-pro", "deepseek-v3.2", "deepseek-v4-pro"),
) -> Words:
    """Draw KV cache over context length for some models: what each token keeps, parts of fixed size shared out.

    Raises:
        ValueError: an unknown model.
    """
    axes = new_figure("What does each token of a context keep?", "context (tokens)", "KV cache per token")
    log_axis(axes, "y", [2e3, 5e3, 1e4, 2e4, 5e4, 1e5, 2e5, 5e5], bytes_text)
    curves = {key: np.asarray(arch.load(key).kv_bytes(CONTEXTS).total) / CONTEXTS for key in models}
    _against_context(axes, curves)
    ends = {arch.load(key).name: (float(curve[0]), float(curve[-1])) for key, curve in curves.items()}
    alt = "; ".join(f"{name} {bytes_text(a)} at 1K, {bytes_text(b)} at 1M" for name, (a, b) in ends.items())
    each = " · ".join(f"{name} {value(b, f'{b:,.0f} bytes')}" for name, (_, b) in ends.items())
    return Words(f"KV cache per token against context, log axes: {alt}.", f"per token at 1M: {each}")


@drawn
def decode_flops(
    models: Sequence[str] = ("deepseek-v3", "deepseek-v3.2", "deepseek-v4-pro", "mimo-v2.5-pro"),
) -> Words:
    """Draw the FLOPs of one decoded token against its context, raw count.

    Raises:
        ValueError: an unknown model.
    """
    axes = new_figure("What does one token cost to compute?", "context (tokens)", "GFLOP per decoded token")
    log_axis(axes, "y", [50, 100, 200, 500, 1000, 2000, 5000, 10000, 20000], "{:g}".format)
    curves = {key: np.asarray(arch.load(key).decode_flops(CONTEXTS).total) / 1e9 for key in models}
    if {"deepseek-v3.2", "deepseek-v4-pro"} <= set(models):
        high, low = (float(curves[key][-1]) for key in ("deepseek-v3.2", "deepseek-v4-pro"))
        axes.annotate("", (CONTEXTS[-1], low), (CONTEXTS[-1], high), arrowprops={"arrowstyle": "<->", "shrinkA": 0})
        words: Mapping[str, Any] = {"textcoords": "offset points", "ha": "right", "weight": "bold"}
        axes.annotate(f"{low / high:.0%} of V3.2", (CONTEXTS[-1], low), (-4, -48), **words)
    _against_context(axes, curves)
    ends = {arch.load(key).name: (float(curve[0]), float(curve[-1])) for key, curve in curves.items()}
    alt = "; ".join(f"{name} {a:,.0f} at 1K, {b:,.0f} at 1M" for name, (a, b) in ends.items())
    each = " · ".join(f"{name} {value(b, f'{b:,.0f} GFLOP')}" for name, (_, b) in ends.items())
    return Words(f"GFLOP of one decoded token against its context, log axes: {alt}.", f"one token at 1M: {each}")


def _against_context(axes: Axes, curves: Mapping[str, Floats]) -> None:
    """Draw one curve per model over CONTEXTS and name each at its end; the second of a family is dashed."""
    ends, styles, seen = [], [], list[str]()
    for key, values in curves.items():
        model = arch.load(key)
        family = _family(model)
        style = ("solid", "dashed", "dotted")[min(seen.count(family), 2)]
        axes.plot(CONTEXTS, values, color=COLOURS[family], linestyle=style)
        ends.append((float(values[-1]), model.name, COLOURS[family]))
        styles.append(style)
        seen.append(family)
    log_axis(axes, "x", _TICKS, tokens_text)
    axes.set_xlim(1024, CONTEXTS[-1])
    label_ends(axes, CONTEXTS[-1], ends, styles)


@drawn
def two_models(first: str = "deepseek-v3", second: str = "deepseek-v4-pro", context: int = 131_072) -> Words:
    """Draw what a million output tokens cost with two models on 64 H800s against the context, memory full.

    A curve ends where the model's own context does, or where not one sequence fits any more.

    Args:
        first: key in the catalog.
        second: key in the catalog.
        context: tokens of a sequence, to mark.

    Raises:
        ValueError: an unknown model, or a context below 1.
    """
    rent = prices.chip_rent("h800").amount
    axes = new_figure("Which costs more, and from where on?", "context (tokens)", "USD per million output tokens")
    log_axis(axes, "y", 10.0 ** np.arange(-2, 3), usd_text)
    log_axis(axes, "x", _TICKS, tokens_text)
    axes.set_xlim(_TICKS[0], _TICKS[-1])
    looks = ((first, COLOURS["full"], "solid"), (second, COLOURS["compressed"], "dashed"))
    costs, ends = [], []
    for key, colour, style in looks:
        node = roofline.deployment(key, "h800", 64)
        curve = [_usd_when_full(node, int(n), rent) for n in CONTEXTS[::3]]
        shown = [usd for usd in curve if usd is not None]
        axes.plot(CONTEXTS[::3][: len(shown)], shown, color=colour, linestyle=style)
        costs.append((node.model.name, _usd_when_full(node, context, rent)))
        if (cost := costs[-1][1]) is not None:
            axes.plot(context, cost, "o", color=colour)
        if shown:
            ends.append((shown[-1], node.model.name, colour, style))
    label_ends(axes, CONTEXTS[-1], [end[:3] for end in ends], [end[3] for end in ends])
    return _two_words(costs, context, rent)


def _usd_when_full(node: roofline.Deployment, context: int, rent: float) -> float | None:
    """Return the price of a million output tokens with as many sequences as fit; None where there can be none."""
    fits = node.max_batch(context) if context <= node.model.record.context else 0
    return node.usd_per_million(node.decode(fits, context), rent) if fits else None


def _two_words(costs: Sequence[tuple[str, float | None]], context: int, rent: float) -> Words:
    where = f"64 H800s at {usd_text(rent)} a chip-hour, memory full, {tokens_text(context)} tokens of context"
    none = "none of that length"
    told = [f"{name} {usd_text(usd)}" if usd else f"{name}: {none}" for name, usd in costs]
    noted = [f"{name} {value(usd, usd_text(usd))}" if usd else f"{name}: {none}" for name, usd in costs]
    (_, one), (_, other) = costs
    compared = ""
    if one and other:
        dear, cheap = sorted(costs, key=lambda cost: -(cost[1] or 0))
        times = (dear[1] or 0) / (cheap[1] or 1)
        compared = f". {dear[0]} costs {value(times, f'{times:.3g}')} times as much"
        told[-1] += f", {times:.3g} times apart"
    return Words(
        f"Price of a million output tokens against the context, two curves on {where}: {'; '.join(told)}.",
        f"On {where}: {'; '.join(noted)}{compared}.",
    )


@drawn
def which_ratio(
    tokens: int = 1_048_576,
    fp4: float = 0.5,
    bf16: float = 2.0,
    fp32: float = 4.0,
    fp4_weights: float = 1.0,
) -> Words:
    """Draw one token's FLOPs in FP8-equivalents, V3.2 beside V4-Pro and V4-Flash, under stated weights.

    Args:
        tokens: context length.
        fp4: weight of an FP4 operation (the indexer's scores in V4).
        bf16: weight of a BF16 operation (attention to the keys, the output head).
        fp32: weight of an FP32 operation (compressors, router, residual mixing).
        fp4_weights: weight of FP4 weights times FP8 activations (V4's experts).

    Raises:
        ValueError: a context below 1.
    """
    weights = {"fp4": fp4, "fp4xfp8": fp4_weights, "fp8": 1.0, "bf16": bf16, "fp32": fp32}
    title = f"What does a token cost at {tokens_text(tokens)}, in FP8-equivalents?"
    axes = new_figure(title, "TFLOP (FP8-equivalent)", "", wide=(7.2, 2.6), narrow=(3.6, 2.6))
    keys = ("deepseek-v4-flash", "deepseek-v4-pro", "deepseek-v3.2")
    totals = {key: _stack(axes, row, _in_groups(key, tokens, weights)) for row, key in enumerate(keys)}
    base = totals["deepseek-v3.2"]
    for row, total in enumerate(totals.values()):
        label_inside(axes, f"{total / base:.1%}", total, row, weight="bold")
    axes.set_yticks(range(len(keys)), [arch.load(key).name.removeprefix("DeepSeek-") for key in keys])
    axes.set_xlim(0, max(totals.values()) * (1.42 if is_narrow() else 1.15))
    axes.locator_params("x", nbins=4 if is_narrow() else 8)
    axes.grid(axis="y", visible=False)
    colour_key(_GROUPS.values())
    pro, flash = (totals[key] / base for key in ("deepseek-v4-pro", "deepseek-v4-flash"))
    return Words(
        f"Stacked bars of one token's work at {tokens_text(tokens)}: V3.2 {base:.3g} TFLOP in FP8-equivalents, V4-Pro "
        f"{pro:.1%} of it, V4-Flash {flash:.1%}. Parts: matrices, index scores, attention to keys.",
        f"of V3.2's work: V4-Pro {value(pro, f'{pro:.2%}', name='attention_ratio')} · "
        f"V4-Flash {value(flash, f'{flash:.2%}')}, at {value(tokens, tokens_text(tokens), name='attention_at')} tokens",
    )


_GROUPS = {
    "linear": ("matrices", COLOURS["other"]),
    "indexer": ("index scores", COLOURS["index"]),
    "core": ("attention to keys", COLOURS["full"]),
}


def _in_groups(key: str, tokens: int, weights: Mapping[str, float]) -> Mapping[str, float]:
    """Return weighted TFLOP of one decoded token as matrices, index scores and attention."""
    count = arch.load(key).decode_flops(tokens)
    parts = dict.fromkeys(_GROUPS, 0.0)
    for name, flops in count.by_component.items():
        parts[name if name in parts else "linear"] += float(flops) * weights[count.precision[name]] / 1e12
    return parts


def _stack(axes: Axes, row: int, parts: Mapping[str, float]) -> float:
    """Draw one stacked bar and return its length."""
    left = 0.0
    for part, work in parts.items():
        axes.barh(row, work, left=left, color=_GROUPS[part][1], height=0.6)
        left += work
    return left


class _Point(Protocol):
    """What `recall_points` needs of a result."""

    @property
    def variant(self) -> str: ...
    @property
    def top_k(self) -> int | None: ...
    @property
    def recall(self) -> float: ...
    @property
    def kept_bytes(self) -> int: ...
    @property
    def read_bytes(self) -> int: ...


def recall_points(results: Sequence[_Point]) -> Frames:
    """Return the share of needles found against the bytes kept, then against the bytes that a question reads.

    Args:
        results: with `variant`, `top_k`, `recall`, `kept_bytes` and `read_bytes`.
    """
    steps = (
        "By memory: what each layer keeps. However many entries CSA reads, it keeps the same, so its points stand one "
        "above the other.",
        "By traffic: what one question reads. CSA's points now spread to the left: it reads a part of what it keeps.",
    )
    by: tuple[Literal["kept", "read"], ...] = ("kept", "read")
    pictures = tuple((recall_against(results, bytes_are), text) for bytes_are, text in zip(by, steps, strict=True))
    return Frames("What does compression cost in recall?", pictures)


@drawn
def recall_against(results: Sequence[_Point], bytes_are: Literal["kept", "read"]) -> Words:
    """Draw the share of needles found against bytes, one point per layer and number of entries read.

    Args:
        results: as for `recall_points`.
        bytes_are: "kept" in the cache, or "read" by one question.

    Raises:
        ValueError: another word for bytes_are.
    """
    one_of(("kept", "read"), bytes_are, "bytes_are")
    axes = new_figure(f"Recall against bytes {bytes_are}", f"bytes {bytes_are}", "share of needles found")
    for family, look in _LOOKS.items():
        _points(axes, [r for r in results if r.variant.split()[0] == family], bytes_are, **look)
    log_axis(axes, "x", [500, 1000, 2000, 4000, 8000], bytes_text)
    axes.set(xlim=(330, 10500), ylim=(0, 1.1))
    share_axis(axes, "y")
    names = ("every token (full)", "HCA, by block", "CSA, by entries read k")
    colour_key([(text, look["colour"]) for text, look in zip(names, _LOOKS.values(), strict=True)])
    each = [f"{_named(r)} {r.recall:.0%} at {getattr(r, f'{bytes_are}_bytes'):,}" for r in results]
    return Words(f"Share of needles found against bytes {bytes_are}: {'; '.join(each)}.")


_LOOKS: Mapping[str, Mapping[str, str]] = {
    "full": {"colour": COLOURS["full"], "marker": "s", "line": "none"},
    "HCA": {"colour": COLOURS["other"], "marker": "D", "line": "--"},
    "CSA": {"colour": COLOURS["compressed"], "marker": "o", "line": "-"},
}


def _named(found: _Point) -> str:
    return found.variant + (f" k={found.top_k}" if found.top_k else "")


def _points(axes: Axes, results: Sequence[_Point], bytes_are: str, colour: str, marker: str, line: str) -> None:
    """Draw one family's points, those of one block size (CSA) or of all (HCA) joined, and name some of them."""
    groups: dict[str, list[_Point]] = {}
    for found in results:
        groups.setdefault(found.variant if found.top_k else found.variant.split()[0], []).append(found)
    for members in groups.values():
        places = [(getattr(r, f"{bytes_are}_bytes"), r.recall) for r in members]
        axes.plot(*zip(*places, strict=True), color=colour, marker=marker, linestyle=line)
        for found, place in zip(members, places, strict=True):
            _name_point(axes, found, place, first=found is members[0])


def _name_point(axes: Axes, found: _Point, place: tuple[float, float], first: bool) -> None:
    """Name a point where there is room: HCA and full on the left, CSA on the right, no k above 4."""
    small = found.variant == "CSA 16"
    if found.top_k is None:
        text, offset, side = found.variant, (-7, 4), "right"
    elif first:
        text, offset, side = _named(found), (0 if small else 7, -21 if small else -3), "left"
    elif found.top_k in (2, 4) and not small:
        text, offset, side = f"k={found.top_k}", (7, -11 if found.top_k == 4 else -3), "left"
    else:
        return
    axes.annotate(text, place, offset, textcoords="offset points", ha=side, fontsize=9)
