"""Figures of the chapter `tiers`: pages in three tiers, two pools, loads behind compute, a real store, and money.

Chapter: tiers
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes

from costlab import arch, cache, catalog, prices
from costlab.cache import Footprint, Timeline
from costlab.explore import shapes
from costlab.explore.drawing import Frames, Words, drawn, is_narrow, value
from costlab.explore.style import COLOURS, INK, colour_key, label_ends, log_axis, new_figure, on
from costlab.text import bytes_text, tokens_text

# --- three tiers -----------------------------------------------------------------------------------------------

_ROOM = {"HBM": 4, "DRAM": 8, "SSD": 16}  # pages that each tier of the drawing holds
_CALLS = "ABCAC"  # prompts, of four pages each, by name


@dataclass(frozen=True)
class _TiersState:
    """Where pages lie after one call."""

    call: int  # its number, from 1
    asked: str  # name of its prompt
    found: str  # the tier that had the pages; "" where none had
    lie: dict[str, tuple[str, ...]]  # of each tier the pages that it holds, by name


def three_tiers(chip: str = "h800") -> Frames:
    """Draw where pages lie in HBM, DRAM and SSD as calls come, with each link as wide as it is fast.

    Args:
        chip: key in the catalog, for the speed of its memory.

    Raises:
        ValueError: an unknown chip.
    """
    held = cache.PrefixCache([cache.Tier(name, float(room)) for name, room in _ROOM.items()], page_bytes=1.0)
    media = catalog.tables().media
    rates = {"HBM": catalog.chip(chip).memory_bandwidth_bytes_s}
    rates |= {name: media[name.lower()].read_bytes_s for name in ("DRAM", "SSD")}
    steps = []
    for call, prompt in enumerate(_CALLS, 1):
        lease = held.admit([f"{prompt}{number}" for number in range(1, 5)])
        held.release(lease)
        found = next((name for name, pages in zip(_ROOM, lease.match.at, strict=True) if pages), "")
        lie = {name: tuple(sorted(map(str, pool.there))) for name, pool in zip(_ROOM, held.full.pools, strict=True)}
        state = _TiersState(call, prompt, found, lie)
        steps.append((_tiers(state, rates), _told(state)))
    return Frames("Where do the pages of a prompt lie?", tuple(steps))


def _told(state: _TiersState) -> str:
    """Return the sentence of one step."""
    holds = {name: ", ".join(sorted({page[0] for page in pages})) for name, pages in state.lie.items()}
    now = f"Now HBM holds {holds['HBM']}, host memory {holds['DRAM']}, and the SSD {holds['SSD']}."
    if not state.found:
        return f"Call {state.call}: prompt {state.asked} is new. Its pages are computed and written down. {now}"
    where = {"HBM": "in HBM", "DRAM": "in host memory", "SSD": "on the SSD"}[state.found]
    return f"Call {state.call}: prompt {state.asked} is found {where}; its pages move up, nothing is computed. {now}"


@drawn
def _tiers(state: _TiersState, rates: dict[str, float]) -> Words:
    """Draw the tiers one below the other, with pages in them and links between them."""
    colour_key([("computed in this call", COLOURS["miss"]), ("found in this call", COLOURS["hit"])])
    left = 46.0
    parts = [shapes.box(left, 0, shapes.across() - left, 22, COLOURS["compute"], round=3)]
    parts.append(shapes.text(left + 8, 15, "compute", colour=on(COLOURS["compute"])))
    low = list(_ROOM).index(state.found) if state.found else len(_ROOM)
    for level, (name, pages) in enumerate(state.lie.items()):
        y = 22 + level * 66
        parts += _link(left, y, name, rates)
        moves = "↑ 4 pages" if state.found and level <= low else "↓ 4 pages" if not state.found and level else ""
        parts.append(shapes.text(shapes.across(), y + 20, moves, anchor="end", size=10, bold=True))
        parts += _store(left, y + 30, name, pages, state)
    shapes.diagram("", 22 + 66 * len(_ROOM) + 2, parts)
    fast, *slower = (f"{_rate(rates[name])} from {name}" for name in _ROOM)
    return Words(
        f"Compute above three stores, with links as wide as they are fast: {fast}, {' and '.join(slower)}. After call "
        f"{state.call}, of prompt {state.asked}, "
        + ", ".join(f"{name} holds {', '.join(pages)}" for name, pages in state.lie.items())
        + "."
    )


def _link(left: float, y: float, name: str, rates: dict[str, float]) -> list[str]:
    """Return the link above a tier, its width to scale."""
    width = max(80 * rates[name] / rates["HBM"], 0.5)  # what is thinner cannot be seen
    unit = {"HBM": "", "DRAM": " a chip", "SSD": " a drive"}[name] if not is_narrow() else ""
    return [
        shapes.box(left + 48 - width / 2, y, width, 30, COLOURS[name.lower()]),
        shapes.text(left + 98, y + 20, f"{_rate(rates[name])}{unit}", size=10),
    ]


def _rate(bytes_s: float) -> str:
    return f"{bytes_s / 1e9:,.0f} GB/s" if bytes_s > 1e11 else f"{bytes_s / 1e9:.3g} GB/s"


def _store(left: float, y: float, name: str, pages: Sequence[str], state: _TiersState) -> list[str]:
    """Return one tier with the pages that it holds."""
    colour = COLOURS[name.lower()]
    width = (shapes.across() - left - 6) / max(_ROOM.values())
    parts = [
        shapes.text(0, y + 23, name, bold=True),
        shapes.box(left, y, width * _ROOM[name] + 6, 36, edge=colour, line=1.6, round=3),
    ]
    for place, page in enumerate(pages):
        mine, x = page[0] == state.asked, left + 3 + place * width
        fill = COLOURS["hit" if state.found else "miss"] if mine else colour
        parts.append(shapes.box(x + 0.5, y + 5, width - 1, 26, fill, opacity=1 if mine else 0.3, round=2))
        label = page[0] if is_narrow() else page
        ink = on(fill) if mine else ""
        parts.append(shapes.text(x + width / 2, y + 22, label, anchor="middle", size=10, colour=ink))
    return parts


# --- two pools -------------------------------------------------------------------------------------------------

_PAGE, _PAGES = 512, 16  # tokens of a page; pages of a prompt


@drawn
def two_pools(branch: int = 9, every: int = 0, model: str = "mimo-v2.5-pro") -> Words:
    """Draw what a prompt of 16 pages leaves in the two pools, and what a second prompt that branches off it finds.

    Args:
        branch: pages that both prompts begin with, 0 to 16; the second then goes on for 16 pages in all.
        every: tokens from one kept window to the next, beside the one at the prompt's end; 0 for none.
        model: a hybrid of the catalog.

    Raises:
        ValueError: a branch outside 0 … 16, a negative distance, a model without sliding windows.
    """
    footprint = cache.footprint(model)
    if not 0 <= branch <= _PAGES or every < 0 or not footprint.window_bytes:
        raise ValueError(f"branch {branch}, every {every}, {model!r}: should be 0-{_PAGES}, at least 0, and a hybrid")
    found, ends = _matched(branch, every, footprint)
    colour_key([("kept by full layers", COLOURS["full"]), ("kept by sliding layers", COLOURS["sliding"])])
    colour_key([("found", COLOURS["hit"]), ("computed", COLOURS["miss"])])
    left, top = (0.0, 16.0) if is_narrow() else (98.0, 0.0)
    page, step = (shapes.across() - left) / _PAGES, 30 + top
    parts = []
    for row, name in enumerate(("full pages", "window pages", "second prompt")):
        y = row * step + top
        parts.append(shapes.text(0, y - 4 if is_narrow() else y + 16, name))
        for at in range(_PAGES):
            colour = COLOURS["full"] if not row else COLOURS["hit" if at < found else "miss"]
            if row != 1:
                parts.append(shapes.box(left + at * page + 0.5, y, page - 1, 24, colour))
        if row == 1:
            share = footprint.window_tokens / _PAGE
            parts.append(shapes.box(left, y, shapes.across() - left, 24, edge=COLOURS["other"], line=0.6))
            parts += [shapes.box(left + (end - share) * page, y, share * page, 24, COLOURS["sliding"]) for end in ends]
    x, bottom = left + branch * page, 3 * step
    parts.append(shapes.line([(x, 0), (x, bottom)], dash="3 3"))
    words = f"same up to here: {branch * _PAGE:,} tokens"
    parts.append(
        shapes.text(x, bottom + 12, words, anchor="start" if branch < 5 else "end" if branch > 12 else "middle")
    )
    shapes.diagram("How much of the second prompt is found?", bottom + 18, parts)
    share = len(ends) * footprint.window_bytes / (_PAGES * _PAGE * footprint.full_bytes_per_token)
    shared, hit, computed = branch * _PAGE, found * _PAGE, (_PAGES - found) * _PAGE
    return Words(
        f"A first prompt has left {_PAGES} full pages and {len(ends)} window pages, behind pages {_listed(ends)}. A "
        f"second one is the same for {branch} pages. {found} of them are found, up to the last window page before the "
        f"two part; {_PAGES - found} pages are computed.",
        f"{value(shared, f'{shared:,} tokens')} shared, {value(hit, f'{hit:,}')} found, "
        f"{value(computed, f'{computed:,}')} computed. Window pages kept: {value(len(ends), str(len(ends)))}, with "
        f"{value(share, f'{share:.0%}')} of the full pages' bytes.",
    )


def _matched(branch: int, every: int, footprint: Footprint) -> tuple[int, list[int]]:
    """Return how many pages of the second prompt count as found, and behind which pages a window is kept."""
    unlimited = cache.standard("unlimited")
    held = cache.PrefixCache(
        unlimited,
        footprint.full_bytes_per_token * _PAGE,
        footprint.window_bytes,
        page_tokens=_PAGE,
        capacities=[footprint.split(tier.capacity_bytes, _PAGE, 1 / 15) for tier in unlimited],
        checkpoint_tokens=every or None,
    )
    first = tuple(range(_PAGES))
    held.release(held.admit(first))
    match = held.match((*first[:branch], *range(_PAGES, 2 * _PAGES - branch)))
    windows = held.windows.keys() if held.windows is not None else ()
    return match.pages, sorted(place + 1 for place in windows if isinstance(place, int))


def _listed(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers))


@drawn
def more_tokens(spacing: int = 1920, model: str = "mimo-v2.5-pro") -> Words:
    """Draw how many times more tokens a cache holds against how many tokens share one kept window.

    Args:
        spacing: cached tokens per kept window.
        model: a hybrid of the catalog.

    Raises:
        ValueError: an unknown model, or a spacing below 1.
    """
    if spacing < 1:
        raise ValueError(f"spacing = {spacing} should be at least 1 token")
    footprint, claimed = cache.footprint(model), catalog.tables().claims["cache-tokens-5x"].values["times"]
    spacings = 2.0 ** np.linspace(7, 20, 53)
    limit = footprint.multiplier(0)
    axes = new_figure("How many more tokens fit?", "cached tokens per kept window", "times as many tokens")
    axes.plot(spacings, [footprint.multiplier(footprint.window_tokens / s) for s in spacings], color=COLOURS["sliding"])
    axes.hlines(limit, 100, spacings[-1], color=COLOURS["full"], linewidth=1.4, linestyle="--")
    axes.hlines(claimed, 100, spacings[-1], color=COLOURS["Xiaomi"], linewidth=1.4, linestyle=":")
    times = footprint.multiplier(footprint.window_tokens / spacing)
    axes.plot(spacing, times, "o", color=COLOURS["sliding"])
    ticks = [128, 1024, 8192, 65536, 1048576] if not is_narrow() else [128, 4096, 131072]
    log_axis(axes, "x", ticks, "{:,.0f}".format)
    axes.set(xlim=(100, spacings[-1]), ylim=(0, limit * 1.1))
    ends = [(limit, "no window kept", COLOURS["full"]), (claimed, "Xiaomi says", COLOURS["Xiaomi"])]
    label_ends(axes, spacings[-1], ends, ["dashed", "dotted"])
    saved = 1 - 1 / times
    return Words(
        f"How many times as many tokens of {arch.load(model).name} fit if windows are kept at few places, by tokens "
        f"per window: rising towards {limit:.3g}. With one window per {spacing:,} tokens it is {times:.3g} times.",
        f"One window per {value(spacing, f'{spacing:,} tokens')}: {value(times, f'{times:.2f} times', 'tiers_times')} "
        f"as many tokens fit, {value(saved, f'{saved:.0%}')} of the bytes saved. Without any window: "
        f"{value(limit, f'{limit:.3g} times')}.",
    )


# --- seconds ---------------------------------------------------------------------------------------------------

#: How a sentence calls each way to load.
LOADINGS = {
    "streamed": "each layer as soon as the link is free",
    "look-ahead": "one layer ahead",
    "serial": "all before computing",
}


@drawn
def read_overlap(
    prefix: int = 65_536,
    new: int = 1024,
    gb_per_s: float = 50.0,
    loading: str = "streamed",
    windows: bool = True,
    model: str = "mimo-v2.5-pro",
) -> Words:
    """Draw each layer's load, compute and wait of a prefill behind a cached prefix, at 400 TFLOP/s.

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
    axes = new_figure(
        "Does compute hide the load?", "milliseconds since the start", "", wide=(7.2, 2.5), narrow=(3.6, 2.4)
    )
    colour_key(
        [
            ("load from host memory", COLOURS["dram"]),
            ("compute", COLOURS["compute"]),
            ("compute waits", COLOURS["other"]),
        ]
    )
    _lanes(axes, run)
    axes.set_yticks([0, 1], ["chip", "link"])
    axes.set(xlim=(0, run.finish_s * 1e3), ylim=(-0.85, 1.5))
    axes.grid(axis="y", visible=False)
    load, compute, finish, stall = (s * 1e3 for s in (run.load_s, run.compute_s, run.finish_s, run.stall_s))
    return Words(
        f"Loads of a prefix of {tokens_text(prefix)} tokens above the compute of {new:,} new ones, layer by layer, "
        f"loaded {LOADINGS[run.mode]}. Loading takes {load:.3g} ms, computing {compute:.3g} ms, and all is done after "
        f"{finish:.3g} ms: the chip waits {stall:.3g} ms, {run.stall_share:.0%} of the time.",
        f"Load {value(load, f'{load:.0f} ms')}, compute {value(compute, f'{compute:.0f} ms')}, done after "
        f"{value(finish, f'{finish:.0f} ms', 'tiers_finish')}; the chip waits {value(stall, f'{stall:.1f} ms')}, "
        f"{value(run.stall_share, f'{run.stall_share:.1%}')} of the time. Numbers below the chip's lane name layers.",
    )


def _lanes(axes: Axes, run: Timeline) -> None:
    """Draw loads in the upper lane, computes and waits in the lower one; name the layers whose load is long."""
    loads = [(e.load_start_s * 1e3, (e.load_end_s - e.load_start_s) * 1e3) for e in run.events]
    computes = [(e.compute_start_s * 1e3, (e.compute_end_s - e.compute_start_s) * 0.94e3) for e in run.events]
    starts = np.array([e.compute_start_s for e in run.events])
    ends = np.array([0.0, *(e.compute_end_s for e in run.events[:-1])])
    waits = [(end * 1e3, (start - end) * 1e3) for end, start in zip(ends, starts, strict=True) if start - end > 1e-9]
    axes.broken_barh([(x, 0.94 * width) for x, width in loads], (0.65, 0.7), facecolors=COLOURS["dram"])
    axes.broken_barh(computes, (-0.35, 0.7), facecolors=COLOURS["compute"])
    axes.broken_barh(waits, (-0.35, 0.7), facecolors=COLOURS["other"])
    longest = max(width for _, width in loads)
    long = [layer for layer, (_, width) in enumerate(loads) if width > 0.5 * longest]
    for layer in long if len(long) < len(loads) else long[::10]:
        x, (left, width) = starts[layer] * 1e3, loads[layer]
        axes.plot([left + width, x], [0.65, 0.35], color=INK, linewidth=0.7)
        axes.text(x, -0.72, str(layer), fontsize=10, in_layout=False)


@drawn
def store_times(rows: Sequence[tuple[str, float, float | None]]) -> Words:
    """Draw measured times to the first token by where the prefix lay, beside the predicted ones.

    Args:
        rows: (where, measured seconds, predicted seconds or None).
    """
    axes = new_figure(
        "How soon does the first token come?",
        "milliseconds",
        "",
        wide=(7.2, 1.0 + 0.42 * len(rows)),
        narrow=(3.6, 1.2 + 0.5 * len(rows)),
    )
    for place, (where, measured, predicted) in enumerate(rows):
        colour = COLOURS[_LIES.get(where, "other")]
        axes.plot(measured * 1e3, place, "o", color=colour, markersize=9)
        if predicted is not None:
            axes.plot([predicted * 1e3] * 2, [place - 0.3, place + 0.3], color=INK, linewidth=1.6)
        beside = "" if predicted is None else f", predicted {predicted * 1e3:,.0f}"
        late = measured > 0.5 * max(row[1] for row in rows) and len(rows) > 1
        axes.annotate(
            f"{measured * 1e3:,.0f} ms{beside}" if not is_narrow() else f"{measured * 1e3:,.0f}{beside}",
            (measured * 1e3, place),
            (-10 if late else 10, 0),
            textcoords="offset points",
            ha="right" if late else "left",
            va="center",
            fontsize=10,
            in_layout=False,
        )
    log_axis(axes, "x", [30, 100, 300, 1000, 3000, 10_000], "{:,.0f}".format)
    milliseconds = [s * 1e3 for row in rows for s in row[1:] if s is not None]
    axes.set(xlim=(min(milliseconds) * 0.7, max(milliseconds) * 1.4), ylim=(len(rows) - 0.4, -0.6))
    axes.set_yticks(range(len(rows)), [_WHERE.get(where, where) for where, _, _ in rows])
    axes.grid(axis="y", visible=False)
    told = [(_WHERE.get(where, where), s * 1e3, p) for where, s, p in rows]
    return Words(
        "Measured time to the first token as a dot, and the predicted time as a line, by where the prefix lies. "
        + " ".join(f"{where}: {ms:,.0f} ms{_predicted(p)}." for where, ms, p in told),
        "Dots are measured, lines predicted: "
        + "; ".join(f"{where} {value(ms, f'{ms:,.0f} ms')}{_predicted(p)}" for where, ms, p in told),
    )


#: How people call where `make bench` found the prefix.
_WHERE = {
    "no store": "computed anew",
    "memory": "first pool",
    "ram": "second pool",
    "warm file": "file, cached",
    "cold file": "file, on disk",
}
_LIES = {"no store": "miss", "memory": "hbm", "ram": "dram", "warm file": "ssd", "cold file": "ssd"}


def _predicted(seconds: float | None) -> str:
    return "" if seconds is None else f", predicted {seconds * 1e3:,.0f}"


# --- money -----------------------------------------------------------------------------------------------------


@drawn
def keeping(reads_per_hour: float = 10.0, spacing: int = 1920, model: str = "mimo-v2.5-pro") -> Words:
    """Draw the cost of keeping a million tokens per read of them, against reads per hour, beside the list prices.

    Args:
        reads_per_hour: to mark.
        spacing: cached tokens per kept window.
        model: a product of the price list with dollars for hits.

    Raises:
        ValueError: an unknown model, or reads or a spacing that are not above 0.
    """
    if not reads_per_hour > 0 or spacing < 1:
        raise ValueError(f"reads should be above 0 and spacing at least 1, got {reads_per_hour} and {spacing}")
    footprint, row = cache.footprint(model), prices.price_at(model)
    gigabytes = 1e6 * footprint.bytes_per_token(footprint.window_tokens / spacing) / 1e9
    title = "When does the hit price pay for keeping?"
    axes = new_figure(title, "reads per hour", "USD per million tokens read")
    reads, ends, costs = 10.0 ** np.linspace(-2, 3, 51), [], {}
    for name, key in (("host memory", "dram"), ("SSD", "ssd")):
        costs[name] = gigabytes * (cache.medium(key, np.inf).usd_per_gb_hour or 0.0)
        axes.plot(reads, costs[name] / reads, color=COLOURS[key])
        axes.plot(reads_per_hour, costs[name] / reads_per_hour, "o", color=COLOURS[key])
        ends.append((float(costs[name] / reads[-1]), name, COLOURS[key]))
    for name, usd in (("hit", row.hit or 0.0), ("miss", row.miss)):
        axes.plot(reads[[0, -1]], [usd, usd], "--", color=COLOURS[name])
        ends.append((usd, f"{name} price", COLOURS[name]))
    log_axis(axes, "x", [0.01, 0.1, 1, 10, 100, 1000] if not is_narrow() else [0.01, 1, 100], "{:g}".format)
    log_axis(axes, "y", [1e-5, 1e-3, 0.1, 10.0], lambda usd: f"${usd:.5f}".rstrip("0").rstrip("."))
    axes.set(xlim=(0.01, reads[-1]), ylim=(1e-5, 50))
    label_ends(axes, reads[-1], ends, ["solid", "solid", "dashed", "dashed"])
    hourly = {name: f"${cost / reads_per_hour:.2g}" for name, cost in costs.items()}
    pays = {name: cost / row.hit for name, cost in costs.items()} if row.hit else {}
    kept, often = bytes_text(gigabytes * 1e9), f"{reads_per_hour:.3g} reads an hour"
    return Words(
        f"What keeping a million tokens of {arch.load(model).name} costs per read, falling with reads per hour, "
        f"beside the list prices of "
        f"hit and miss. At {often} a read costs {hourly['SSD']} on SSD and {hourly['host memory']} in host memory.",
        f"A million tokens are {value(gigabytes * 1e9, kept)}. At {often} keeping costs, per million tokens read, "
        + " and ".join(f"{value(costs[n] / reads_per_hour, hourly[n])} ({n})" for n in costs)
        + "".join(f"; the hit price pays for {n} from {value(p, f'{p:.2g} an hour')} on" for n, p in pays.items())
        + ".",
    )
