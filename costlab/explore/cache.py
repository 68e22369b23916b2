"""Figures of the chapter `cache`: the prefix tree, hit rates, loads behind compute, money, and whole replays.

Chapter: cache
"""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from costlab import cache, prices, traces
from costlab.arrays import Floats
from costlab.cache.sim.report import Percentiles, Report
from costlab.explore.drawing import Words, drawn, say
from costlab.explore.style import COLOURS, STYLE, label_ends, log_axis, new_figure
from costlab.text import bytes_text
from costlab.traces import replacing

_TICKS_S = (10.0 ** np.arange(-4, 8)).tolist()


@drawn
def prefix_tree(
    prompts: Sequence[Sequence[int]] = ((0, 1, 2, 3), (0, 1, 2, 4, 5), (0, 1, 6), (0, 7, 8, 9)),
) -> Words | None:
    """Draw prompts as paths of a tree: each block stands once, in the row of the prompt that first brought it.

    Args:
        prompts: ids of each prompt's blocks; an id names its whole prefix, so one id has one parent.

    Raises:
        ValueError: no prompt, or a prompt without blocks.
    """
    if not prompts or not all(prompts):
        raise ValueError(f"prompts = {prompts!r} should be at least one, each of at least one block")
    axes = new_figure("What do the prompts share?", "block of the prompt", "", wide=(7.2, 0.9 + 0.5 * len(prompts)))
    row_of: dict[int, int] = {}
    hits = 0
    for row, blocks in enumerate(prompts):
        new = [place for place, block in enumerate(blocks) if block not in row_of]
        hits += len(blocks) - len(new)
        row_of |= {blocks[place]: row for place in new}
        if new and new[0]:
            above = row_of[blocks[new[0] - 1]]
            axes.plot([new[0] - 0.5, new[0]], [above, row], color=COLOURS["other"], linewidth=1.2, zorder=0)
        axes.barh([row] * len(new), 0.84, 0.62, [place - 0.42 for place in new], color=COLOURS["miss"])
        for place in new:
            axes.text(place, row, str(blocks[place]), ha="center", va="center", in_layout=False)
    longest = max(map(len, prompts))
    axes.set(xlim=(-0.6, longest - 0.4), ylim=(len(prompts) - 0.4, -0.6))
    axes.set_xticks(range(longest), [str(place + 1) for place in range(longest)])
    axes.set_yticks(range(len(prompts)), [f"prompt {row + 1}" for row in range(len(prompts))])
    axes.grid(visible=False)
    say(f"{sum(map(len, prompts))} blocks asked for, {len(row_of)} computed, {hits} found")


# --- hit rates -------------------------------------------------------------------------------------------------


@functools.lru_cache(maxsize=32)
def _chat_curve(turns: float, requests: int) -> cache.LruCurve:
    shape = dataclasses.replace(traces.CHAT, turns=turns)
    return cache.lru_curve(traces.sessions("chat", requests, np.random.default_rng(0), shape))


@drawn
def hit_curve(
    turns: float = 1.6, terabytes: float = 0.05, requests: int = 500, model: str = "mimo-v2.5-pro"
) -> Words | None:
    """Draw LRU hit rates at all capacities for chats, with window layers kept whole, at boundaries, and not at all.

    Args:
        turns: mean calls per chat.
        terabytes: the capacity to mark.
        requests: how many calls.
        model: key in the catalog.

    Raises:
        ValueError: an unknown model, fewer than one turn, a capacity that is not above 0.
    """
    if not terabytes > 0:
        raise ValueError(f"terabytes = {terabytes} should be above 0")
    curve, footprint = _chat_curve(turns, requests), cache.footprint(model)
    sizes = 10.0 ** np.linspace(-2, 1.5, 71)
    axes = new_figure("What does a larger cache find?", "cache (TB)", "share of blocks found")
    best, ends = float(curve.hit_rate(np.inf)), []
    for name, per_token, colour in _ways(footprint):
        rates = curve.hit_rate(sizes * 1e12 / (512 * per_token))
        axes.plot(sizes, rates, color=colour)
        marked = float(curve.hit_rate(terabytes * 1e12 / (512 * per_token)))
        axes.plot(terabytes, marked, "o", color=colour)
        ends.append((float(rates[-1]), name, colour))
        say(f"{name}: {marked:.12g} found in {terabytes:g} TB")
    log_axis(axes, "x", [0.01, 0.1, 1.0, 10.0], "{:g}".format)
    axes.set(xlim=(0.01, 300), ylim=(0, max(1.05 * best, 0.1)))
    label_ends(axes, sizes[-1], ends)
    say(f"unlimited: {best:.12g}")


def _ways(footprint: cache.Footprint) -> list[tuple[str, float, str]]:
    """(name, bytes per cached token, colour) of three ways to keep a hybrid's windows."""
    return [
        ("every layer whole", footprint.all_bytes_per_token, COLOURS["full"]),
        ("a window per 1,920", footprint.bytes_per_token(1 / 15), COLOURS["miss"]),
        ("no windows", footprint.bytes_per_token(0), COLOURS["sliding"]),
    ]


@drawn
def two_pools(branch: int = 9, every: int = 0, model: str = "mimo-v2.5-pro") -> Words | None:
    """Draw what a prompt of 16 pages leaves in the two pools, and what a second prompt that branches off it finds.

    Args:
        branch: pages that both prompts begin with, 0 to 16; the second then goes on for 16 pages in all.
        every: tokens from one kept window to the next, beside the one at the prompt's end; 0 for none.
        model: a hybrid of the catalog.

    Raises:
        ValueError: a branch outside 0 … 16, a negative distance, a model without sliding windows.
    """
    page, pages, footprint = 512, 16, cache.footprint(model)
    if not 0 <= branch <= pages or every < 0 or not footprint.window_bytes:
        raise ValueError(f"branch {branch}, every {every}, {model!r}: should be 0-{pages}, at least 0, and a hybrid")
    held = cache.Plan(model, cache.standard("unlimited"), checkpoint_tokens=every or None).cache()
    first = tuple(range(pages))
    held.release(held.admit(first))
    match = held.match((*first[:branch], *range(pages, 2 * pages - branch)))
    windows = held.windows.keys() if held.windows is not None else ()
    ends = sorted(place + 1 for place in windows if isinstance(place, int))
    axes = new_figure("How much of the second prompt is found?", "tokens", "", wide=(7.2, 2.6))
    _row(axes, 0, [at * page for at in first], page, COLOURS["full"])
    _row(axes, 1, [at * page - footprint.window_tokens for at in ends], footprint.window_tokens, COLOURS["sliding"])
    _row(axes, 2, [at * page for at in first[: match.pages]], page, COLOURS["hit"])
    _row(axes, 2, [at * page for at in first[match.pages :]], page, COLOURS["miss"])
    for start, stop, text in ((0, match.pages, "found"), (match.pages, pages, "computed")):
        if start < stop:
            axes.text((start + stop) / 2 * page, 2, text, ha="center", va="center", in_layout=False)
    axes.axvline(branch * page, color=COLOURS["other"], linewidth=1, linestyle=":")
    axes.set_yticks(range(3), ["full pages", "window pages", "second prompt"])
    axes.set_xticks([at * page for at in range(0, pages + 1, 4)])
    axes.set(xlim=(0, pages * page), ylim=(2.6, -0.6))
    axes.grid(visible=False)
    say(f"{match.found * page} tokens shared, {match.pages * page} found, {(pages - match.pages) * page} computed")
    share = len(ends) * footprint.window_bytes / (pages * page * footprint.full_bytes_per_token)
    say(f"{len(ends)} windows kept, {share:.12g} of the full pages' bytes")


def _row(axes: Axes, row: int, starts: list[int], width: int, colour: str) -> None:
    """Draw bars of one width in one row."""
    axes.broken_barh(
        [(start, width) for start in starts], (row - 0.35, 0.7), facecolors=colour, edgecolor="white", linewidth=0.8
    )


@drawn
def more_tokens(spacing: int = 1920, model: str = "mimo-v2.5-pro") -> Words | None:
    """Draw how many times more tokens a cache holds against how many tokens share one kept window.

    Args:
        spacing: cached tokens per kept window.
        model: a hybrid of the catalog.

    Raises:
        ValueError: an unknown model, or a spacing below 1.
    """
    if spacing < 1:
        raise ValueError(f"spacing = {spacing} should be at least 1 token")
    footprint = cache.footprint(model)
    spacings = 2.0 ** np.linspace(7, 20, 53)
    limit = footprint.multiplier(0)
    axes = new_figure("How many more tokens fit?", "cached tokens per kept window", "times as many")
    axes.plot(spacings, [footprint.multiplier(footprint.window_tokens / s) for s in spacings], color=COLOURS["sliding"])
    axes.axhline(limit, color=COLOURS["other"], linewidth=1, linestyle="--")
    times = footprint.multiplier(footprint.window_tokens / spacing)
    axes.plot(spacing, times, "o", color=COLOURS["sliding"])
    log_axis(axes, "x", [128, 1024, 8192, 65536, 1048576], "{:,.0f}".format)
    axes.set(xlim=(100, 2**22), ylim=(0, limit * 1.1))
    label_ends(axes, spacings[-1], [(limit, "no window kept", COLOURS["other"])])
    say(f"one window per {spacing} tokens: {times:.12g} times as many, {1 - 1 / times:.12g} saved; limit {limit:.12g}")


# --- seconds ---------------------------------------------------------------------------------------------------


@drawn
def read_overlap(
    prefix: int = 65_536,
    new: int = 1024,
    gb_per_s: float = 50.0,
    loading: str = "streamed",
    windows: bool = True,
    model: str = "mimo-v2.5-pro",
) -> Words | None:
    """Draw each layer's load and compute of a prefill behind a cached prefix, at 400 TFLOP/s.

    Args:
        prefix: cached tokens.
        new: tokens to compute.
        gb_per_s: from the tier to the chip, 1e9 bytes a second.
        loading: "serial", "streamed" or "look-ahead".
        windows: sliding layers load their window only; False: every token.
        model: key in the catalog.

    Raises:
        ValueError: an unknown model or way to load; counts below 1.
    """
    run = cache.prefill_behind(model, prefix, new, gb_per_s * 1e9, loading=loading, windows=windows, flops_per_s=400e12)
    events = run.events
    axes = new_figure("Does compute hide the load?", "milliseconds since the start", "", wide=(7.2, 2.6))
    loads = [(e.load_start_s * 1e3, (e.load_end_s - e.load_start_s) * 1e3) for e in events]
    computes = [(e.compute_start_s * 1e3, (e.compute_end_s - e.compute_start_s) * 1e3) for e in events]
    style = {"edgecolor": "white", "linewidth": 0.4}
    axes.broken_barh(loads, (0.6, 0.8), facecolors=COLOURS["dram"], **style)
    axes.broken_barh(computes, (-0.4, 0.8), facecolors=COLOURS["compute"], **style)
    axes.set_yticks([0, 1], ["compute", "load"])
    axes.set(xlim=(0, run.finish_s * 1e3), ylim=(-0.6, 1.6))
    axes.grid(axis="y", visible=False)
    say(f"load {run.load_s * 1e3:.12g} ms, compute {run.compute_s * 1e3:.12g} ms")
    say(f"done after {run.finish_s * 1e3:.12g} ms; waiting is {run.stall_share:.12g} of it")


# --- money -----------------------------------------------------------------------------------------------------


@drawn
def keeping(reads_per_hour: float = 10.0, spacing: int = 1920, model: str = "mimo-v2.5-pro") -> Words | None:
    """Draw the cost of keeping a million tokens per reading of them, against readings per hour, beside the list prices.

    Args:
        reads_per_hour: to mark.
        spacing: cached tokens per kept window.
        model: a product of the price list with dollars for hits.

    Raises:
        ValueError: an unknown model, or readings or a spacing that are not above 0.
    """
    if not reads_per_hour > 0 or spacing < 1:
        raise ValueError(f"readings should be above 0 and spacing at least 1, got {reads_per_hour} and {spacing}")
    footprint, row = cache.footprint(model), prices.price_at(model)
    gigabytes = 1e6 * footprint.bytes_per_token(footprint.window_tokens / spacing) / 1e9
    axes = new_figure("When does the hit price pay for keeping?", "readings per hour", "USD per million tokens read")
    reads = 10.0 ** np.linspace(-2, 3, 51)
    ends = []
    for key in ("dram", "ssd"):
        hourly = gigabytes * (cache.medium(key, np.inf).usd_per_gb_hour or 0.0)
        axes.plot(reads, hourly / reads, color=COLOURS[key])
        axes.plot(reads_per_hour, hourly / reads_per_hour, "o", color=COLOURS[key])
        ends.append((float(hourly / reads[-1]), key.upper(), COLOURS[key]))
        pays = f"; pays from {hourly / row.hit:.12g} readings" if row.hit else ""
        say(f"{key.upper()}: {hourly / reads_per_hour:.12g} USD{pays}")
    _prices(
        axes, reads, {"hit price": (row.hit or 0.0, COLOURS["hit"]), "miss price": (row.miss, COLOURS["miss"])}, ends
    )
    log_axis(axes, "x", [0.01, 0.1, 1.0, 10.0, 100.0, 1000.0], "{:g}".format)
    log_axis(axes, "y", [1e-5, 1e-4, 1e-3, 1e-2, 0.1, 1.0, 10.0], "{:g}".format)
    axes.set(xlim=(0.01, 3e4), ylim=(1e-5, 50))
    label_ends(axes, reads[-1], ends)
    say(f"{bytes_text(gigabytes * 1e9)} per million tokens")


def _prices(axes: Axes, reads: Floats, lines: dict[str, tuple[float, str]], ends: list[tuple[float, str, str]]) -> None:
    """Draw list prices as level lines and note their ends."""
    for name, (usd, colour) in lines.items():
        axes.plot(reads[[0, -1]], [usd, usd], color=colour, linestyle="--")
        ends.append((usd, name, colour))


@drawn
def store_times(rows: Sequence[tuple[str, float, float | None]]) -> Words | None:
    """Draw measured times to the first token by where the prefix lay, with the predicted ones as marks.

    Args:
        rows: (where, measured seconds, predicted seconds or None).
    """
    axes = new_figure("How soon does the first token come?", "milliseconds", "", wide=(7.2, 0.8 + 0.45 * len(rows)))
    names = [name for name, _, _ in rows]
    measured = [seconds * 1e3 for _, seconds, _ in rows]
    axes.barh(names, measured, color=COLOURS["compute"], height=0.6)
    for place, (_, _, predicted) in enumerate(rows):
        if predicted is not None:
            axes.plot([predicted * 1e3] * 2, [place - 0.38, place + 0.38], color=COLOURS["miss"], linewidth=3)
    axes.grid(axis="y", visible=False)
    axes.invert_yaxis()
    axes.set_xlim(0, max(measured) * 1.1)


# --- a whole replay --------------------------------------------------------------------------------------------


def replay_figure(report: Report, path: str | os.PathLike[str]) -> None:
    """Draw where a replay found its input tokens and how long requests waited for their first token, into a file.

    The file appears whole or not at all; its ending says the kind: .svg, .png or .pdf.

    Args:
        report: of `costlab.cache.replay`.
        path: of the file.

    Raises:
        OSError: the folder cannot be written to.
        ValueError: an ending that matplotlib does not know.
    """
    with rc_context(fname=STYLE, rc={"savefig.facecolor": "white", "figure.dpi": 100}):
        figure = Figure(figsize=(9.6, 3.6))
        left, right = figure.subplots(1, 2)
        _hits(left, report)
        _waits(right, report)
        with replacing(Path(path)) as file:
            figure.savefig(file, format=Path(path).suffix[1:])


def _hits(axes: Axes, report: Report) -> None:
    """Draw one bar of all input tokens: found in each tier, or computed."""
    parts = [(tier.name, tier.hit_rate, COLOURS.get(tier.name.lower(), COLOURS["other"])) for tier in report.tiers]
    parts.append(("computed", 1 - report.token_hit_rate if report.input_tokens else 0.0, "#D9D9D9"))
    for row, (_, share, colour) in enumerate(parts):
        axes.barh(row, share, color=colour)
        axes.annotate(f" {share:.1%}", (share, row), va="center", annotation_clip=False)
    axes.set_yticks(range(len(parts)), [name for name, _, _ in parts])
    axes.invert_yaxis()
    axes.set(title="Where were the input tokens?", xlabel="share of input tokens", xlim=(0, 1.15))
    axes.set_xticks(np.linspace(0, 1, 5), [f"{share:.0%}" for share in np.linspace(0, 1, 5)])


def _waits(axes: Axes, report: Report) -> None:
    """Draw percentiles of the time to first token, with and without the queue before it."""
    for row, (times, colour) in enumerate(((report.ttft, COLOURS["miss"]), (report.service, COLOURS["full"]))):
        _percentiles(axes, row, times, colour)
    axes.set_yticks([0, 1], ["from arrival", "from its turn"])
    axes.set(title="How long until the first token?", xlabel="seconds", ylim=(1.6, -0.6))
    low, high = _limits(report)
    log_axis(axes, "x", [tick for tick in _TICKS_S if low <= tick <= high], "{:g}".format)
    axes.set_xlim(low, high)


def _percentiles(axes: Axes, row: int, times: Percentiles, colour: str) -> None:
    points = {"p50": times.p50_s, "p90": times.p90_s, "p99": times.p99_s}
    axes.plot([max(s, _TICKS_S[0]) for s in points.values()], [row] * 3, "o-", color=colour)
    for height, (name, seconds) in zip((-16, 9, -16), points.items(), strict=True):
        place = (max(seconds, _TICKS_S[0]), row)
        text = f"{name}\n{seconds:.3g}" if height < 0 else f"{name} {seconds:.3g}"
        axes.annotate(text, place, xytext=(0, height), textcoords="offset points", ha="center", va="center", fontsize=8)


def _limits(report: Report) -> tuple[float, float]:
    """Return whole powers of ten around all percentiles."""
    seconds = [max(s, _TICKS_S[0]) for t in (report.ttft, report.service) for s in (t.p50_s, t.p90_s, t.p99_s)]
    low, high = np.floor(np.log10(min(seconds) * 0.8)), np.ceil(np.log10(max(seconds) * 1.25))
    return float(10.0**low), float(10.0 ** max(high, low + 1))
