"""Figures of the chapter `serving` that are computed while a slider moves: both layouts, their regimes, plans.

Chapter: serving
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from matplotlib.axes import Axes

from costlab import catalog
from costlab.arrays import Floats
from costlab.checks import count
from costlab.explore.drawing import Words, drawn, value
from costlab.explore.regions import fill_regions
from costlab.explore.serving import (
    ANSWER,
    CHIPS,
    LINK_BYTES_S,
    LINK_S,
    LOAD,
    MODEL,
    PROMPT,
    READ_TOKENS,
    SERVED_CHIP,
    STEP_TOKENS,
    WORKERS,
    apart,
    load_of,
    served_cost,
    served_node,
    time_text,
    together,
)
from costlab.explore.style import COLOURS, INK, colour_key, log_axis, new_figure
from costlab.serving.links import Link, SentBytes
from costlab.serving.plan.pools import Answers, Prompts
from costlab.serving.plan.sizing import Waiting
from costlab.serving.plan.workers import WorkerKind
from costlab.serving.plan.workload import Demand, demand
from costlab.serving.report import ServingReport
from costlab.serving.simulation import simulate

# --- two layouts -------------------------------------------------------------------------------------------------

_REQUESTS = 300  # of a run: few, so that it is drawn at once
_MEASURES = ("first token", "per token", "worst gap")


def both_layouts(
    load: float, prompt: int, answer: int, prefill_workers: int, link_bytes_s: float
) -> tuple[ServingReport, ServingReport]:
    """Return the reports of all workers together and of the same split in two, for the same requests.

    Args:
        load: requests a second, for all workers.
        prompt: tokens of each.
        answer: tokens of each.
        prefill_workers: of the split.
        link_bytes_s: bytes a second of each prefill worker's link.
    """
    return _run(load, prompt, answer), _run(load, prompt, answer, (prefill_workers, link_bytes_s))


@functools.lru_cache(maxsize=128)
def _run(load: float, prompt: int, answer: int, split: tuple[int, float] | None = None) -> ServingReport:
    """A layout's report, kept: what does not hang on the split is not simulated again when that moves."""
    return simulate(load_of(load, _REQUESTS, prompt, answer), apart(*split) if split else together())


@drawn
def two_layouts(
    load: float = LOAD,
    prompt: int = PROMPT,
    answer: int = ANSWER,
    prefill_workers: int = 2,
    link: float = LINK_BYTES_S / 1e9,
) -> Words:
    """Draw what users wait for in both layouts on the same chips, by simulation of the same requests.

    Args:
        load: requests a second, 1 to 40.
        prompt: tokens of each prompt, 128 to 16,384.
        answer: tokens of each answer, 2 to 2,048.
        prefill_workers: of 4, 1 to 3.
        link: GB a second of each prefill worker's link, above 0.

    Raises:
        ValueError: a number out of range.
    """
    for name, number, low, high in (
        ("load", load, 1, 40), ("prompt", prompt, 128, 16_384), ("answer", answer, 2, 2048), ("link", link, 0.1, 1000),
    ):  # fmt: skip
        if not low <= number <= high:
            raise ValueError(f"{name} = {number:g} should be from {low:g} to {high:g}")
    runs = both_layouts(load, prompt, answer, prefill_workers, 1e9 * link)
    split = f"{prefill_workers} read, {WORKERS - prefill_workers} decode"
    names, colours = (f"{WORKERS} do both", split), (COLOURS["together"], COLOURS["apart"])
    shown = [_users_wait(run) for run in runs]
    axes = new_figure(
        "Which layout do users wait longer for?", "seconds, for 99% of the requests", "",
        wide=(7.2, 2.6), narrow=(3.6, 2.8),
    )  # fmt: skip
    colour_key(zip(names, colours, strict=True))
    for place, pair in enumerate(zip(*shown, strict=True)):
        axes.plot(pair, [place, place], color=COLOURS["other"], linewidth=1.5)
        for seconds, colour, run, up in zip(pair, colours, runs, (0.27, -0.27), strict=True):
            fill = "none" if place == 0 and run.stability.growing else "full"
            axes.plot(seconds, place, "o", color=colour, markersize=10, fillstyle=fill)
            text = time_text(seconds) + (", growing" if fill == "none" else "")
            side = "right" if fill == "none" else "center"
            axes.text(seconds, place - up, text, ha=side, va="center", fontsize=10, in_layout=False)
    every = [seconds for row in shown for seconds in row]
    log_axis(axes, "x", [0.01, 0.1, 1, 10, 100], "{:g}".format)
    axes.set(xlim=(0.4 * min(every), 3 * max(every)), ylim=(2.6, -0.6))
    axes.set_yticks(range(3), _MEASURES)
    axes.grid(axis="y", visible=False)
    return _layouts_said(load, prompt, answer, names, runs)


def _users_wait(run: ServingReport) -> tuple[float, float, float]:
    """Time to first token, per token, and worst gap that 99% of the requests do not exceed."""
    overall = run.overall
    return overall.ttft.p99, overall.tpot.p99, overall.worst_gap.p99


def _layouts_said(load: float, prompt: int, answer: int, names: Sequence[str], runs: Sequence[ServingReport]) -> Words:
    told, notes = [], []
    for name, run, key in zip(names, runs, ("together", "apart"), strict=True):
        numbers = _users_wait(run)
        grows = f", and its {run.stability.what or 'queue'} grows" if run.stability.growing else ""
        told.append(
            f"{name}: " + ", ".join(f"{m} {time_text(x)}" for m, x in zip(_MEASURES, numbers, strict=True)) + grows
        )
        notes.append(
            f"{name}: "
            + ", ".join(
                f"{m} {value(x, time_text(x), f'serving_{key}_{i}')}"
                for i, (m, x) in enumerate(zip(_MEASURES, numbers, strict=True))
            )
            + grows
        )
    return Words(
        f"What 99% of the requests do not exceed at {load:g} requests/s, prompts of {prompt:,} and answers of "
        f"{answer:,} tokens on {WORKERS} workers of {CHIPS} chips. {'; '.join(told)}.",
        f"{value(load, f'{load:g} requests/s', 'serving_load')} of {value(prompt, f'{prompt:,}')} + "
        f"{value(answer, f'{answer:,} tokens')}, {_REQUESTS} simulated. {'. '.join(notes)}.",
    )


# --- which layout is better when ---------------------------------------------------------------------------------

_SHARE = 0.9  # of the requests that should meet each objective
_DEVIATIONS = NormalDist().inv_cdf(_SHARE)  # standard deviations that this share of a normal variable lies below
_RATES = 24  # rates at which each layout is computed, from a hundredth of what it can do
_HALVINGS = 16  # of the range in which the highest rate is looked for
_FIRST, _TOKEN = np.geomspace(0.1, 30, 41), np.geomspace(0.01, 0.3, 31)  # objectives of the map, seconds
_EQUAL = 1.05  # two rates that differ by less are called equal


@dataclass(frozen=True)
class LatencyCurve:
    """What a layout's users wait for as its load rises, by the planner's closed form."""

    rates_s: Floats  # requests a second
    ttft_s: Floats  # that 90% of the requests do not exceed
    tpot_s: Floats  # that 90% of the requests do not exceed

    def most_per_s(self, ttft_s: Floats, tpot_s: Floats) -> Floats:
        """Return the highest rate within each pair of objectives, 0 where there is none: [TPOT, TTFT]."""
        return np.minimum(self._most(tpot_s, self.tpot_s)[:, None], self._most(ttft_s, self.ttft_s))

    def _most(self, objectives_s: Floats, times_s: Floats) -> Floats:
        found = np.interp(np.log(objectives_s), np.log(times_s), self.rates_s)
        return np.where(objectives_s < times_s[0], 0.0, found)


def _time_within(wait: Waiting) -> float:
    """Seconds within which `_SHARE` of the requests have waited."""
    missed = 1 - _SHARE
    return 0.0 if wait.chance <= missed else math.log(wait.chance / missed) * wait.mean_s / wait.chance


def _kind(step_tokens: int) -> WorkerKind:
    return WorkerKind(SERVED_CHIP, served_node(), step_tokens)


def _together_at(load: Demand, step_tokens: int) -> tuple[float, float] | None:
    answers = Answers(_kind(step_tokens), load, load, reserve=0.0, token_s=math.inf)
    state = answers.at(WORKERS)
    if state is None or state.prompts is None:
        return None
    mean, deviation = answers.tpot(state, 0)
    return state.prompts.alone_s[0] + _time_within(state.wait), mean + _DEVIATIONS * deviation


def _apart_at(load: Demand, prefill_workers: int) -> tuple[float, float] | None:
    prompts = Prompts(_kind(READ_TOKENS), load)
    answers = Answers(_kind(STEP_TOKENS), load, None, reserve=0.0, token_s=math.inf)
    wait, state = prompts.wait(prefill_workers), answers.at(WORKERS - prefill_workers)
    if wait is None or state is None:
        return None
    mix = load.mixes[0]
    moved = SentBytes.of(MODEL, CHIPS)(mix.input_tokens)
    link = Link(LINK_BYTES_S, LINK_S, 0.0)
    late = link.visible_s(moved, len(served_node().model.layers), prompts.alone_s[0])
    return prompts.alone_s[0] + _time_within(wait), answers.tpot(state, 0, late)[0]


@functools.lru_cache(maxsize=32)
def latency_curves(prompt: int, answer: int) -> tuple[Sequence[LatencyCurve], Sequence[LatencyCurve]]:
    """Return the curves of the chapter's deployment: together in chunks of 512 and 2,048, and of each split."""
    read_per_s = WORKERS * Prompts(_kind(READ_TOKENS), demand(1.0, prompt, answer)).per_worker_s

    def curve(times_at: Callable[[Demand, int], tuple[float, float] | None], setting: int) -> LatencyCurve:
        return _curve(lambda rate: times_at(demand(rate, prompt, answer), setting), read_per_s)

    both = [curve(_together_at, tokens) for tokens in (512, STEP_TOKENS)]
    return both, [curve(_apart_at, prefill) for prefill in range(1, WORKERS)]


def _curve(times_at: Callable[[float], tuple[float, float] | None], above_s: float) -> LatencyCurve:
    """A layout's curve up to the highest rate that it keeps up with, which lies below `above_s`."""
    low, high = above_s / 2**10, above_s
    for _ in range(_HALVINGS):
        middle = math.sqrt(low * high)
        low, high = (middle, high) if times_at(middle) else (low, middle)
    rates = low * (1 - np.geomspace(0.99, 1e-4, _RATES))  # close to each other where times rise steeply
    known = [(rate, *times) for rate in rates.tolist() if (times := times_at(rate))]
    columns = np.array(known or [(0.0, math.inf, math.inf)]).T
    return LatencyCurve(columns[0], *(np.maximum.accumulate(column) for column in columns[1:]))


def regimes(prompt: int, answer: int, ttft_s: Floats = _FIRST, tpot_s: Floats = _TOKEN) -> tuple[Floats, Floats]:
    """Return the highest rate within each pair of objectives: together, and with the best split, each [TPOT, TTFT].

    Args:
        prompt: tokens of each.
        answer: tokens of each.
        ttft_s: objectives for the first token: [TTFT].
        tpot_s: objectives per token: [TPOT].
    """
    both, split = (
        np.max([curve.most_per_s(ttft_s, tpot_s) for curve in curves], axis=0)
        for curves in latency_curves(prompt, answer)
    )
    return both, split


def served_within(prompt: int, answer: int, ttft_s: float, tpot_s: float) -> tuple[float, float]:
    """Return the highest rate within two objectives: together, and with the best split."""
    both, split = regimes(prompt, answer, np.array([ttft_s]), np.array([tpot_s]))
    return float(both[0, 0]), float(split[0, 0])


#: Objectives whose rates are told: for the first token in prefills of a prompt alone, per token in seconds.
_TOLD = ((8.0, 0.02), (4.0, 0.06))


def _told_objectives(prompt: int) -> list[tuple[float, float]]:
    """Objectives for TTFT, to one digit, and TPOT, in seconds."""
    alone_s = served_cost().seconds(served_cost().load(), [(prompt, 0)])
    return [(float(f"{times * alone_s:.1g}"), token) for times, token in _TOLD]


_REGIMES = {"together": "co-located", "apart": "separated", "equal": "within 5%", "neither": "neither"}
_REGIME_COLOURS = {"together": "together", "apart": "apart", "equal": "hit", "neither": "other"}


@drawn
def regime_map(prompt: int = PROMPT, answer: int = ANSWER) -> Words:
    """Draw which layout serves more requests a second, by the objectives for first token and time per token.

    By the planner's closed form, within 15% of simulations of the usual request: for each layout the highest load at
    which 90% of the requests meet each objective, with the better of two chunk sizes and the best of three splits.

    Args:
        prompt: tokens of each prompt, 128 to 16,384.
        answer: tokens of each answer, 2 to 2,048.

    Raises:
        ValueError: a number out of range.
    """
    for name, number, low, high in (("prompt", prompt, 128, 16_384), ("answer", answer, 2, 2048)):
        if not low <= count(number, name) <= high:
            raise ValueError(f"{name} = {number} should be from {low} to {high:,}")
    both, split = regimes(prompt, answer)
    kinds = np.where(both > _EQUAL * split, 0, np.where(split > _EQUAL * both, 1, 2))
    kinds = np.where((both == 0) & (split == 0), 3, kinds)
    axes = new_figure("Which layout serves more?", "objective: first token (s)", "objective: per token (ms)")
    fill_regions(axes, kinds, _FIRST, 1e3 * _TOKEN, _REGION_COLOURS)
    log_axis(axes, "x", [0.1, 0.3, 1, 3, 10, 30], "{:g}".format)
    log_axis(axes, "y", [10, 20, 50, 100, 200], "{:g}".format)
    axes.set(xlim=(_FIRST[0], _FIRST[-1]), ylim=(1e3 * _TOKEN[0], 1e3 * _TOKEN[-1]))
    axes.grid(visible=False)
    colour_key([(name, COLOURS[_REGIME_COLOURS[kind]]) for kind, name in _REGIMES.items()])
    shares = {name: float((kinds == place).mean()) for place, name in enumerate(_REGIMES.values())}
    return _regimes_said(prompt, answer, shares, _published_marks(axes))


def _regimes_said(prompt: int, answer: int, shares: Mapping[str, float], marks: str) -> Words:
    told = [(first, token, *served_within(prompt, answer, first, token)) for first, token in _told_objectives(prompt)]
    return Words(
        f"A map of objectives: first token from 0.1 to 30 seconds across, time per token from 10 to 300 ms up, for "
        f"prompts of {prompt:,} and answers of {answer:,} tokens. "
        + ", ".join(f"{name} on {share:.0%}" for name, share in shares.items())
        + " of it. "
        + " ".join(
            f"Within {first:g} s and {time_text(token)} co-located workers serve {a:.1f} requests/s and separated ones "
            f"{b:.1f}."
            for first, token, a, b in told
        )
        + f" Marked: {marks}",
        f"Prompts of {value(prompt, f'{prompt:,}')} and answers of {value(answer, f'{answer:,} tokens')}. "
        + " ".join(
            f"Within {value(first, f'{first:g} s')} and {value(token, time_text(token))}: "
            f"{value(a, f'{a:.1f}')} requests/s co-located, {value(b, f'{b:.1f}')} separated."
            for first, token, a, b in told
        )
        + " Closed form (simulated rates are within 15%), 90% of the requests within each objective.",
    )


_REGION_COLOURS = [COLOURS[_REGIME_COLOURS[kind]] for kind in _REGIMES]


_SAID = {"both together": ("together", "o"), "separated": ("apart", "s"), "mixed": ("other", "D")}


def _published_marks(axes: Axes) -> str:
    """Mark what studies say, where they name objectives, and return it in words."""
    told = []
    for key, regime in catalog.tables().serving.regimes.items():
        values = regime.values or {}
        if "ttft_s" not in values or regime.best not in _SAID:
            continue
        colour, marker = _SAID[regime.best]
        study = "TaiChi" if key.startswith("taichi") else "NVIDIA"
        first = min(values["ttft_s"], 0.97 * float(_FIRST[-1]))
        token = 1e3 * values.get("tpot_s", 0.17)
        axes.plot(first, token, marker, color=COLOURS[colour], markeredgecolor=INK, markersize=8)
        left = token > 200  # near the top
        axes.annotate(
            study, (first, token), (-8, 0) if left else (0, 8), textcoords="offset points",
            ha="right" if left else "center", va="center" if left else "baseline", fontsize=10, in_layout=False,
        )  # fmt: skip
        where = f"{values['ttft_s']:g} s" + (f" and {time_text(values['tpot_s'])}" if "tpot_s" in values else "")
        told.append(f"{study} at {where}, {regime.best}")
    return "; ".join(told) + "."
