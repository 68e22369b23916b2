"""Figures of the chapter `serving` beside what others published: transfers, gains, lengths, a watermark.

Chapter: serving
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from costlab import catalog
from costlab.arrays import Floats
from costlab.catalog import ServingGain, ServingTable, TransferTable
from costlab.explore.drawing import Words, drawn, is_narrow, value
from costlab.explore.serving import time_text
from costlab.explore.style import COLOURS, colour_key, label_ends, log_axis, new_figure, share_axis
from costlab.roofline import StepCost
from costlab.serving.layouts import WorkerPool, colocated
from costlab.serving.links import Link
from costlab.serving.report import ServingReport
from costlab.serving.schedulers import VllmV1
from costlab.serving.simulation import WorkerSpec, simulate
from costlab.text import tokens_text
from costlab.traces import Request, arrivals

# --- transfers ---------------------------------------------------------------------------------------------------

_TRANSFERS = {"qwen3-235b": ("Qwen3-235B, H20", "Alibaba", "o"), "qwen3-8b": ("Qwen3-8B, H800", "link", "s")}


def fitted_link(table: TransferTable) -> Link:
    """Return the set-up time and bandwidth that fit a table of transfer times with the least relative squares."""
    seconds, moved = np.array(table.transfer_s), np.array(table.moved_bytes)
    terms = np.stack([np.ones_like(moved), moved / moved.max()], axis=1) / seconds[:, None]
    setup_s, longest_s = np.linalg.lstsq(terms, np.ones_like(seconds), rcond=None)[0].tolist()
    return Link(float(moved.max()) / longest_s, setup_s)


@drawn
def transfer_times() -> Words:
    """Draw two published tables of transfer times against the prompt, and a set-up time plus bytes over bandwidth."""
    axes = new_figure("How long does a prompt's cache travel?", "tokens of the prompt", "time of the transfer (ms)")
    ends, told, notes = [], [], []
    for key, (name, colour, marker) in _TRANSFERS.items():
        table = catalog.tables().serving.transfers[key]
        link, moved = fitted_link(table), np.array(table.moved_bytes)
        ours = np.array([link.alone_s(size) for size in table.moved_bytes])
        axes.plot(table.input_tokens, 1e3 * np.array(table.transfer_s), marker, color=COLOURS[colour])
        axes.plot(table.input_tokens, 1e3 * ours, color=COLOURS[colour])
        axes.plot(table.input_tokens, 1e3 * moved / link.bandwidth_bytes_s, "--", color=COLOURS[colour], linewidth=1.2)
        ends.append((1e3 * float(ours[-1]), name, COLOURS[colour]))
        worst = float(np.abs(ours / np.array(table.transfer_s) - 1).max())
        short = table.transfer_s[0] * link.bandwidth_bytes_s / moved[0]
        told.append(
            f"{table.model}: from {1e3 * table.transfer_s[0]:.2f} ms at {table.input_tokens[0]} tokens to "
            f"{1e3 * table.transfer_s[-1]:.1f} ms at {table.input_tokens[-1]:,}; {1e3 * link.latency_s:.2f} ms plus "
            f"bytes over {link.bandwidth_bytes_s / 1e9:.0f} GB/s is within {worst:.0%} of each."
        )
        notes.append(
            f"{name}: {value(link.latency_s, f'{1e3 * link.latency_s:.2f} ms')} + bytes / "
            f"{value(link.bandwidth_bytes_s, f'{link.bandwidth_bytes_s / 1e9:.0f} GB/s')}, at most "
            f"{value(worst, f'{worst:.1%}')} off. Bandwidth alone (dashed) is {value(short, f'{short:.1f} times')} too "
            f"short at {table.input_tokens[0]} tokens."
        )
    log_axis(axes, "x", [128, 1024, 8192, 32_768] if is_narrow() else [128, 512, 2048, 8192, 32_768], tokens_text)
    log_axis(axes, "y", [0.1, 0.3, 1, 3, 10, 30, 100], "{:g}".format)
    axes.set(xlim=(110, 36_000))
    label_ends(axes, 32_768, ends)
    return Words(
        "Measured times of moving a prompt's keys and values, as dots, against its tokens, both axes logarithmic. "
        + " ".join(told)
        + " Dashed: bytes over bandwidth alone, which falls far below the dots at short prompts.",
        "<br>".join(notes),
    )


# --- the article's threshold -------------------------------------------------------------------------------------

_TRAFFIC = {
    "azure-conv": "Azure, chat",
    "azure-code": "Azure, code",
    "m-mid": "Qwen, middle model",
    "m-large": "Qwen, large model",
    "deepseek-r1": "DeepSeek-R1",
    "mooncake-conversation": "Mooncake, chat",
}
#: Thresholds, in tokens, that lie between the bins of all stored lengths.
THRESHOLDS = (1024, 2048, 4096, 8192, 16_384, 32_768)
ARTICLE_TOKENS = 4096  # of article E's rule, which the ledger quotes


@drawn
def length_rule(threshold: int = ARTICLE_TOKENS) -> Words:
    """Draw which share of the requests, and of the prompt tokens, a length rule sends to the prefill pool.

    Args:
        threshold: longer prompts go there; one of `THRESHOLDS`.

    Raises:
        ValueError: another threshold.
    """
    if threshold not in THRESHOLDS:
        raise ValueError(f"threshold = {threshold} should be one of {', '.join(map(str, THRESHOLDS))}")
    axes = new_figure(
        f"What is longer than {threshold:,} tokens?", "share above it", "", wide=(7.2, 3.0), narrow=(3.6, 3.0)
    )
    colour_key([("of the requests", COLOURS["other"]), ("of the prompt tokens", COLOURS["miss"])])
    shares = {name: arrivals.lengths_of(key).longer_than(threshold) for key, name in _TRAFFIC.items()}
    for place, (requests, tokens) in enumerate(shares.values()):
        axes.plot([requests, tokens], [place, place], color=COLOURS["other"], linewidth=1.5)
        axes.plot(requests, place, "o", color=COLOURS["other"], markersize=8)
        axes.plot(tokens, place, "o", color=COLOURS["miss"], markersize=8)
    names = [name.replace(", ", "\n").replace(" model", "") if is_narrow() else name for name in shares]
    axes.set_yticks(range(len(shares)), names, fontsize=9.5 if is_narrow() else 11)
    share_axis(axes, "x", [0, 0.5, 1] if is_narrow() else None)
    axes.set(xlim=(-0.02, 1.02), ylim=(len(shares) - 0.5, -0.5))
    axes.grid(axis="y", visible=False)
    of_article = " (article E's rule)" if threshold == ARTICLE_TOKENS else ""
    return Words(
        f"Share of requests, and of prompt tokens, with prompts longer than {threshold:,} tokens. "
        + " ".join(f"{name}: {r:.1%} of the requests, {t:.0%} of the tokens." for name, (r, t) in shares.items()),
        f"Longer than {value(threshold, f'{threshold:,} tokens', 'serving_threshold')}{of_article}: "
        + "; ".join(
            f"{name} {value(r, f'{r:.1%}')} of the requests with {value(t, f'{t:.0%}')} of the prompt tokens"
            for name, (r, t) in shares.items()
        )
        + ".",
    )


# --- what separation gained --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Gain:
    """One line of the figure."""

    name: str  # on a desk
    short: str  # on a phone
    factors: tuple[float, ...]  # one, or the ends of a range
    simulated: bool  # not measured


_GAIN_NAMES = {
    "distserve-code": ("DistServe, code, over vLLM", "code, vLLM"),
    "distserve-chat": ("DistServe, chat, over vLLM", "chat, vLLM"),
    "distserve-chat-chunked": ("DistServe, chat, over chunks", "chat, chunks"),
    "distserve-summaries": ("DistServe, summaries, over vLLM", "summaries"),
    "distserve-code-chunked": ("DistServe, code, over chunks", "code, chunks"),
    "splitwise-power": ("Splitwise, 70 A100 machines", "70 A100"),
    "splitwise-aa-code-130": ("Splitwise, code, A100", "code, A100"),
    "splitwise-hh-code-130": ("Splitwise, code, H100", "code, H100"),
    "aiconfigurator-v3": ("aiconfigurator, V3, 32 H200", "V3, H200"),
    "vllm-6170": ("vLLM 6170, two of TP2 over TP4", "vLLM 6170"),
    "mooncake-a10-2048": ("Mooncake, A10, 2,048 tokens", "A10, 2K"),
    "mooncake-a10-8192": ("Mooncake, A10, 8,192 tokens", "A10, 8K"),
    "sglang-24488": ("SGLang 24488, GLM-5.1, H200", "GLM, H200"),
}


def _gains() -> list[_Gain]:
    serving = catalog.tables().serving
    found = []
    for key, names in _GAIN_NAMES.items():
        gain: ServingGain | None = serving.gains.get(key)
        if gain is None:  # a cluster's, whose scripts size it and its rival for one load
            size = serving.clusters[key].gain
            assert size is not None
            found.append(_Gain(*names, (size,), True))
        else:
            found.append(_Gain(*names, gain.factors, gain.simulated))
    return sorted(found, key=lambda one: -max(one.factors))


@drawn
def published_gains() -> Words:
    """Draw each published factor that separation gained or lost with equal chips, and the range from 2 to 3."""
    gains = _gains()
    axes = new_figure("Two to three times?", "separated over co-located", "", wide=(7.2, 4.2), narrow=(3.6, 4.4))
    axes.axvspan(2, 3, color=COLOURS["hit"], alpha=0.3, linewidth=0)
    axes.axvline(1, color=COLOURS["other"], linewidth=1.2)
    for place, one in enumerate(gains):
        colour = COLOURS["apart" if max(one.factors) > 1 else "dropped"]
        axes.plot(one.factors, [place] * len(one.factors), color=colour, linewidth=1.5)
        fill = "none" if one.simulated else "full"
        axes.plot(one.factors, [place] * len(one.factors), "o", color=colour, markersize=7, fillstyle=fill)
    log_axis(axes, "x", [0.25, 0.5, 1, 2, 3, 5, 8], "{:g}".format)
    axes.set(xlim=(0.28, 9), ylim=(len(gains) - 0.4, -0.6))
    names = [one.short if is_narrow() else one.name for one in gains]
    axes.set_yticks(range(len(gains)), names, fontsize=9.5 if is_narrow() else 11)
    axes.grid(axis="y", visible=False)
    colour_key(
        [("2 to 3 times", COLOURS["hit"]), ("a gain", COLOURS["apart"]), ("none, or a loss", COLOURS["dropped"])]
    )
    factors = [factor for one in gains for factor in one.factors]
    inside, none, all_ = sum(2 <= f <= 3 for f in factors), sum(f <= 1 for f in factors), len(factors)
    return Words(
        f"{len(factors)} published factors of separate pools over workers that do both, on equal chips. "
        + "; ".join(f"{one.name}: {' to '.join(f'{f:.3g}' for f in one.factors)}" for one in gains)
        + ". Rings are simulated.",
        f"Of {value(all_, f'{all_} factors', 'serving_factors')} {value(inside, str(inside), 'serving_inside')} lie "
        f"from 2 to 3 and {value(none, str(none), 'serving_losses')} are no gain; all are from "
        f"{value(min(factors), f'{min(factors):.2f}')} to {value(max(factors), f'{max(factors):.1f}')}. Rings: "
        "simulated. DistServe and Splitwise count requests within objectives, Mooncake and SGLang tokens per second.",
    )


# --- a watermark -------------------------------------------------------------------------------------------------

#: A step of a small model on a large chip: nothing of it is fitted to the table that it stands beside.
_SMALL_STEP = StepCost.linear(0.004, token_s=8e-6, context_s=1e-8)
_RANGE = 0.2  # by which lengths differ from their mean, as in the table


@functools.cache
def watermark_runs(seed: int = 0) -> Mapping[float, ServingReport]:
    """Return our runs of vLLM's table, by watermark: 450 answers of about 5,000 tokens, of which 128 run at a time."""
    table = catalog.tables().serving.tables["vllm-watermark"]
    return {row.value or 0.0: _watermarked(table, row.value or 0.0, seed) for row in table.rows}


def _watermarked(table: ServingTable, watermark: float, seed: int) -> ServingReport:
    """All requests wait from the beginning: who is admitted follows whoever ends, as users would ask again."""
    assert table.requests and table.input_tokens and table.output_tokens and table.concurrency and table.kv_tokens
    rng = np.random.default_rng(seed)
    means = (table.input_tokens, table.output_tokens)
    lengths = [
        rng.integers(round((1 - _RANGE) * mean), round((1 + _RANGE) * mean), table.requests).tolist() for mean in means
    ]
    requests = [Request(1e-9 * i, given, made, ()) for i, (given, made) in enumerate(zip(*lengths, strict=True))]
    rule = VllmV1(8192, table.concurrency, watermark=watermark)
    return simulate(requests, colocated(WorkerPool(WorkerSpec(_SMALL_STEP, rule, table.kv_tokens))))


@drawn
def watermark_shape() -> Words:
    """Draw what a watermark does by vLLM's table and by our simulation, each over its value without one."""
    rows = catalog.tables().serving.tables["vllm-watermark"].rows
    runs = list(watermark_runs().values())
    lines: dict[str, tuple[str, Sequence[float | None], Sequence[float]]] = {
        "preemptions": ("dropped", [row.preemptions for row in rows], [_preemptions(run) for run in runs]),
        "gap, 99%": ("output", [row.gap_p99_s for row in rows], [run.gaps.p99 for run in runs]),
        "output tokens/s": ("link", [row.output_tokens_s for row in rows], [run.output_tokens_per_s for run in runs]),
    }
    axes = new_figure("What does keeping memory free buy?", "share kept free at admission", "over the value at 0%")
    for colour, published, ours in lines.values():
        theirs = _over_first(published)
        axes.plot(range(len(theirs)), theirs, "o-", color=COLOURS[colour])
        axes.plot(range(len(ours)), _over_first(ours), "--", color=COLOURS[colour])
    axes.set_xticks(range(len(rows)), [f"{row.value or 0:.0%}" for row in rows])
    axes.set(ylim=(0, 1.15), yticks=[0, 0.5, 1])
    colour_key([(name, COLOURS[colour]) for name, (colour, *_) in lines.items()], "solid")
    colour_key([("simulated here", COLOURS["other"])], "dashed")
    told = [
        f"{name}, published: {', '.join(_figure(x) for x in published if x is not None)}; simulated: "
        f"{', '.join(_figure(x) for x in ours)}."
        for name, (_, published, ours) in lines.items()
    ]
    (_, preempted, ours), best = lines["preemptions"], max(rows, key=lambda row: row.output_tokens_s or 0)
    most = max(range(len(runs)), key=lambda i: runs[i].output_tokens_per_s)
    fewest, first = preempted[-1], preempted[0]
    assert first is not None and fewest is not None
    return Words(
        "What happens as 0%, 2%, 5%, 10% and 15% of the cache's memory are kept free when a request is admitted, dots "
        "from vLLM's table, dashed from our simulation. " + " ".join(told),
        f"Preemptions fall from {value(first, f'{first:,}')} to {value(fewest, f'{fewest:,}')} in the table and from "
        f"{value(ours[0], f'{ours[0]:,.0f}')} to {value(ours[-1], f'{ours[-1]:,.0f}')} here. Most tokens a second come "
        f"at {value(best.value or 0, f'{best.value or 0:.0%}')} in the table and at "
        f"{value(rows[most].value or 0, f'{rows[most].value or 0:.0%}')} here. Our step times are those of a small "
        "model on a large chip, not fitted to the table.",
    )


def _preemptions(run: ServingReport) -> float:
    return float(sum(pool.preemptions for pool in run.pools))


def _over_first(numbers: Sequence[float | None]) -> Floats:
    """Numbers over the first; those that are left out at the end are left out here."""
    known = [number for number in numbers if number is not None]
    return np.array(known) / known[0]


def _figure(number: float) -> str:
    return time_text(number) if number < 1 else f"{number:,.0f}"
