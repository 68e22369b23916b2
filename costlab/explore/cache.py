"""Figures of the chapter `cache`: a tree of prefixes as requests come, hit rates, and whole replays.

Chapter: cache
"""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from costlab import cache, traces
from costlab.cache.sim.report import Percentiles, Report
from costlab.explore import shapes
from costlab.explore.drawing import Frames, Words, drawn, is_narrow, value
from costlab.explore.style import COLOURS, STYLE, colour_key, label_ends, log_axis, new_figure, on, share_axis
from costlab.text import bytes_text
from costlab.traces import replacing

_TICKS_S = (10.0 ** np.arange(-4, 8)).tolist()
_Prefix = tuple[str, ...]  # a block's name: itself and all before it

# --- the tree --------------------------------------------------------------------------------------------------

#: Two chats behind one system prompt, the first goes on, a third comes, and the second goes on.
CALLS = ("S A1 A2", "S B1 B2", "S A1 A2 A3", "S C1 C2 C3", "S B1 B2 B3")


def prefix_tree(prompts: Sequence[str] = CALLS, room: int = 7) -> Frames:
    """Draw a tree of prefixes call by call: what is found, what is computed, and what LRU drops when it is full.

    Args:
        prompts: each with the names of its blocks between blanks, at most five; equal beginnings are shared.
        room: blocks that the cache holds.

    Raises:
        ValueError: fewer than two prompts, one without blocks or with more than fit, or a room below 1.
    """
    chains = [tuple(prompt.split()) for prompt in prompts]
    if len(chains) < 2 or not all(1 <= len(chain) <= min(room, 5) for chain in chains):
        raise ValueError(f"prompts = {prompts!r} should be two or more, each of one to {min(room, 5)} blocks")
    held = cache.PrefixCache([cache.Tier("HBM", room)], page_bytes=1.0)
    places, steps = _places(chains), []
    used: dict[_Prefix, int] = {}  # the call that used each block last
    for call, chain in enumerate(chains):
        pages = tuple(chain[: depth + 1] for depth in range(len(chain)))
        before = {page for page in places if held.full.has[0](page)}
        found = held.match(pages).pages
        held.release(held.admit(pages))
        used |= dict.fromkeys(pages, call)
        ages = {page: call - used[page] for page in places if held.full.has[0](page)}
        state = _TreeState(pages, found, ages, before - ages.keys())
        steps.append((_tree(places, state, set(used), room), _said(call, state, len(ages), room)))
    return Frames("What do the calls share, and what is dropped?", tuple(steps))


@dataclass(frozen=True)
class _TreeState:
    """The tree after one call."""

    asked: tuple[_Prefix, ...]  # blocks of the call
    found: int  # how many of them were there
    ages: dict[_Prefix, int]  # of each block that is held: calls since its last use
    dropped: set[_Prefix]  # blocks that had to go for this call


def _places(chains: Sequence[_Prefix]) -> dict[_Prefix, tuple[int, int]]:
    """Return (depth, row) of each block: a child stands right of its parent, a second child in a row of its own."""
    places: dict[_Prefix, tuple[int, int]] = {}
    rows = 0
    for chain in chains:
        for depth in range(len(chain)):
            page = chain[: depth + 1]
            if page not in places:
                parent = places.get(chain[:depth], (-1, -1))
                first = not any(other[:-1] == page[:-1] for other in places)
                rows += not (first and depth)
                places[page] = (depth, parent[1] if first and depth else rows - 1)
    return places


def _said(call: int, state: _TreeState, there: int, room: int) -> str:
    """Return the sentence of one step."""
    asked, computed = " ".join(page[-1] for page in state.asked), len(state.asked) - state.found
    gone = ", ".join(sorted(page[-1] for page in state.dropped))
    drops = f"LRU drops {gone}, used longest ago and last in their chats" if gone else "nothing has to go"
    return (
        f"Call {call + 1} asks for {asked}: {state.found} found, {computed} computed, {drops}. "
        f"{there} of {room} places are taken."
    )


@drawn
def _tree(places: dict[_Prefix, tuple[int, int]], state: _TreeState, seen: set[_Prefix], room: int) -> Words:
    """Draw the blocks seen so far as a tree, in the colours of what the call did to them."""
    colour_key([("found", COLOURS["hit"]), ("computed", COLOURS["miss"]), ("kept, paler the older", COLOURS["other"])])
    depths = max(depth for depth, _ in places.values()) + 1
    step, tall = shapes.across() / depths, 40
    wide, parts = min(step - (14 if is_narrow() else 34), 76), []
    for page, (depth, row) in places.items():
        if page in seen and depth:
            above, y = places[page[:-1]][1] * tall + 17, row * tall + 17
            start, end = (depth - 1) * step + wide, depth * step
            bend = start + (end - start) / 2
            parts.append(shapes.line([(start, above), (bend, above), (bend, y), (end, y)], COLOURS["other"], 1.2))
    for page, (depth, row) in places.items():
        if page in seen:
            parts += _block(depth * step, row * tall + 4, wide, page, state)
    shapes.diagram("", (max(row for _, row in places.values()) + 1) * tall, parts)
    groups = {
        "found": [page[-1] for page in state.asked[: state.found]],
        "computed": [page[-1] for page in state.asked[state.found :]],
        "kept": [page[-1] for page in state.ages if page not in state.asked],
        "dropped": sorted(page[-1] for page in state.dropped),
    }
    return Words(
        f"A tree of blocks in a cache of {room}. "
        + " ".join(f"{name.capitalize()}: {', '.join(blocks)}." for name, blocks in groups.items() if blocks)
    )


def _block(x: float, y: float, wide: float, page: _Prefix, state: _TreeState) -> list[str]:
    """Return one block: filled while it is held, crossed out when it goes, dashed once it is gone."""
    middle = (x + wide / 2, y + 17)
    if page not in state.ages:
        parts = [shapes.box(x, y, wide, 26, edge=COLOURS["other"], dash="3 3", round=4)]
        if page in state.dropped:
            parts += [shapes.line([(x, y + 26), (x + wide, y)], COLOURS["dropped"], 1.6)]
        return [*parts, shapes.text(*middle, page[-1], anchor="middle")]
    at = state.asked.index(page) if page in state.asked else -1
    colour = COLOURS["other" if at < 0 else "hit" if at < state.found else "miss"]
    fade = 1.0 if at >= 0 else max(0.6 - 0.15 * state.ages[page], 0.12)
    edge, ink = (COLOURS["other"], "") if at < 0 else ("", on(colour))
    box = shapes.box(x, y, wide, 26, colour, opacity=fade, round=4, edge=edge)
    return [box, shapes.text(*middle, page[-1], anchor="middle", colour=ink)]


# --- hit rates -------------------------------------------------------------------------------------------------


@functools.lru_cache(maxsize=32)
def _chat_curve(turns: float, requests: int) -> cache.LruCurve:
    shape = dataclasses.replace(traces.CHAT, turns=turns)
    return cache.lru_curve(traces.sessions("chat", requests, np.random.default_rng(0), shape))


@drawn
def hit_curve(turns: float = 1.6, terabytes: float = 0.05, requests: int = 500, model: str = "mimo-v2.5-pro") -> Words:
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
    best, ends, found = float(curve.hit_rate(np.inf)), [], []
    for name, per_token, colour, style in _ways(footprint):
        rates = curve.hit_rate(sizes * 1e12 / (512 * per_token))
        axes.plot(sizes, rates, style, color=colour)
        marked = float(curve.hit_rate(terabytes * 1e12 / (512 * per_token)))
        axes.plot(terabytes, marked, "o", color=colour)
        ends.append((float(rates[-1]), name, colour))
        found.append((name, marked))
    log_axis(axes, "x", [0.01, 0.1, 1.0, 10.0], "{:g}".format)
    axes.set(xlim=(0.01, sizes[-1]), ylim=(0, max(1.08 * best, 0.1)))
    rates_at = np.linspace(0, 1, 11)[np.linspace(0, 1, 11) <= max(1.05 * best, 0.1)]
    share_axis(axes, "y", rates_at)
    label_ends(axes, sizes[-1], ends, [_LINES[style] for _, _, _, style in _ways(footprint)])
    size = bytes_text(terabytes * 1e12)
    told = ", ".join(f"{name} {value(rate, f'{rate:.1%}')}" for name, rate in found)
    return Words(
        f"Share of blocks found against the size of the cache, rising to {best:.0%}. In {size}: "
        + ", ".join(f"{name} {rate:.0%}" for name, rate in found)
        + ".",
        f"Found in {size}: {told}; in an unlimited cache {value(best, f'{best:.1%}')}. "
        f"{requests:,} calls, so a step in a curve is a single long chat.",
    )


_LINES = {"-": "solid", "--": "dashed", ":": "dotted"}


def _ways(footprint: cache.Footprint) -> list[tuple[str, float, str, str]]:
    """(name, bytes per cached token, colour, line) of three ways to keep a hybrid's windows."""
    return [
        ("all layers whole", footprint.all_bytes_per_token, COLOURS["full"], "-"),
        ("a window per 1,920", footprint.bytes_per_token(1 / 15), COLOURS["sliding"], "-"),
        ("no windows", footprint.bytes_per_token(0), COLOURS["sliding"], ":"),
    ]


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
    share_axis(axes, "x", (0, 0.25, 0.5, 0.75, 1))


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
