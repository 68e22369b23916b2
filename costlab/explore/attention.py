"""Figures of the chapter `attention`: bytes and FLOPs against context.

Chapter: attention
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
from matplotlib.axes import Axes

from costlab import arch
from costlab.arrays import Floats
from costlab.explore.drawing import Words, drawn, say
from costlab.explore.style import COLOURS, colour_key, label_ends, label_inside, log_axis, new_figure
from costlab.text import bytes_text, tokens_text

CONTEXTS = np.floor(2.0 ** np.linspace(10, 20, 61))  # 1K to 1M
_TICKS = [1024.0, 8192.0, 65536.0, 1048576.0]


def _family(model: arch.Model) -> str:
    kinds = {attention.kind for attention, _ in model.layers}
    if kinds & {"csa", "hca"}:
        return "compressed"
    return "sliding" if "sliding" in kinds else "full"


@drawn
def cache_per_model(tokens: int = 1_048_576) -> Words | None:
    """Draw the KV cache of every catalogued model at one context length, smallest last.

    Args:
        tokens: context length, at least 1.

    Raises:
        ValueError: a length below 1.
    """
    sizes = {m.name: (float(m.kv_bytes(tokens).total), _family(m)) for m in arch.models().values()}
    ranked = sorted(sizes.items(), key=lambda item: item[1][0])
    axes = new_figure(
        f"How much does one sequence of {tokens_text(tokens)} tokens keep?", "KV cache", "", wide=(7.2, 4.6)
    )
    names = [name for name, _ in ranked]
    values = [size for _, (size, _) in ranked]
    axes.barh(names, values, color=[COLOURS[family] for _, (_, family) in ranked], height=0.65)
    for row, value in enumerate(values):
        label_inside(axes, bytes_text(value), value, row, fontsize=10)
    log_axis(axes, "x", 10.0 ** np.arange(6, 14), bytes_text)
    axes.set_xlim(min(values) / 2, max(values) * 6)
    axes.grid(axis="y", visible=False)
    for place, family in enumerate(("full", "sliding", "compressed")):
        words = {
            "full": "full, GQA or latent",
            "sliding": "sliding-window hybrid",
            "compressed": "compressed (CSA, HCA)",
        }
        colour_key([(words[family], COLOURS[family])])
    say(f"{names[0]}: {values[0]:.0f} bytes")
    say(f"{names[-1]}: {values[-1]:.0f} bytes, {values[-1] / values[0]:.1f} times as many")


@drawn
def growth(
    models: Sequence[str] = ("deepseek-v3", "deepseek-v3.2", "mimo-v2.5-pro", "deepseek-v4-pro"),
) -> Words | None:
    """Draw KV cache against context length for some models, log-log.

    Raises:
        ValueError: an unknown model.
    """
    axes = new_figure("How does the cache grow with the context?", "context (tokens)", "KV cache of one sequence")
    log_axis(axes, "y", 10.0 ** np.arange(6, 13), bytes_text)
    _against_context(axes, {key: np.asarray(arch.load(key).kv_bytes(CONTEXTS).total) for key in models})


@drawn
def decode_flops(
    models: Sequence[str] = ("deepseek-v3", "deepseek-v3.2", "deepseek-v4-pro", "mimo-v2.5-pro"),
) -> Words | None:
    """Draw the FLOPs of one decoded token against its context, raw count.

    Raises:
        ValueError: an unknown model.
    """
    axes = new_figure("What does one token cost to compute?", "context (tokens)", "GFLOP per decoded token")
    log_axis(axes, "y", [50, 100, 200, 500, 1000, 2000, 5000, 10000, 20000], "{:g}".format)
    flops = {key: np.asarray(arch.load(key).decode_flops(CONTEXTS).total) / 1e9 for key in models}
    _against_context(axes, flops)


def _against_context(axes: Axes, curves: Mapping[str, Floats]) -> None:
    """Draw one curve per model over CONTEXTS, Xiaomi's dashed, and name each at its end."""
    ends = []
    for key, values in curves.items():
        model = arch.load(key)
        colour = COLOURS[_family(model)]
        axes.plot(CONTEXTS, values, color=colour, linestyle="--" if model.record.maker == "Xiaomi" else "-")
        ends.append((float(values[-1]), model.name, colour))
    log_axis(axes, "x", _TICKS, tokens_text)
    axes.set_xlim(1024, 2**22)
    label_ends(axes, CONTEXTS[-1], ends)


@drawn
def which_ratio(
    tokens: int = 1_048_576,
    fp4: float = 0.5,
    bf16: float = 2.0,
    fp32: float = 4.0,
    fp4_weights: float = 1.0,
) -> Words | None:
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
    title = f"FP8-equivalent work of one token at {tokens_text(tokens)}"
    axes = new_figure(title, "TFLOP (FP8-equivalent)", "", wide=(7.2, 3.0))
    keys = ("deepseek-v4-flash", "deepseek-v4-pro", "deepseek-v3.2")
    totals = {key: _stack(axes, row, _in_groups(key, tokens, weights)) for row, key in enumerate(keys)}
    base = totals["deepseek-v3.2"]
    for row, total in enumerate(totals.values()):
        text = f"{total / base:.1%}"
        label_inside(axes, text, total, row, weight="bold")
    axes.set_yticks(range(len(keys)), [arch.load(key).name for key in keys])
    axes.set_xlim(0, base * 1.18)
    axes.grid(axis="y", visible=False)
    for place, (words, colour) in enumerate(_GROUPS.values()):
        colour_key([(words, colour)])
    for key in keys[:2]:
        say(f"{arch.load(key).name} / V3.2 = {totals[key] / base:.12g}")


_GROUPS = {
    "linear": ("matrices", COLOURS["other"]),
    "indexer": ("index scores", COLOURS["miss"]),
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
    for part, value in parts.items():
        axes.barh(row, value, left=left, color=_GROUPS[part][1], height=0.6)
        left += value
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


@drawn
def recall_points(results: Sequence[_Point]) -> Words | None:
    """Draw the share of needles found against the bytes kept, one point per layer and number of entries read.

    Args:
        results: with `variant`, `top_k`, `recall` and `kept_bytes`.
    """
    axes = new_figure("What does compression cost in recall?", "bytes kept", "share of needles found")
    colours = {"full": COLOURS["full"], "HCA": COLOURS["other"], "CSA": COLOURS["compressed"]}
    for found in results:
        colour = colours[found.variant.split()[0]]
        axes.plot(found.kept_bytes, found.recall, "o", color=colour)
        text = found.variant + (f", k={found.top_k}" if found.top_k in (1, 2, 4) else "")
        if found.top_k is None or found.top_k <= 4:
            spot = (found.kept_bytes, found.recall)
            axes.annotate(text, spot, (7, 0), textcoords="offset points", color=colour, va="center", fontsize=9)
    log_axis(axes, "x", [500, 1000, 2000, 4000, 8000], bytes_text)
    axes.set(xlim=(500, 16000), ylim=(0, 1.08))
    axes.set_yticks(np.linspace(0, 1, 6), [f"{share:.0%}" for share in np.linspace(0, 1, 6)])
