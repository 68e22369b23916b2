"""Figures of the chapter `chips`: what an hour yields, how often each chip is the cheapest, and where on a map.

Chapter: chips
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence

import numpy as np

from costlab import arch, catalog, chips
from costlab.arrays import Floats, Ints
from costlab.catalog.serving import ServingPhase
from costlab.checks import count, one_of, pick
from costlab.chips import Assumption, Band, ChipHour, ChoiceMap, Contender, NoPrice, Ranking, TokenPrice, choice_map
from costlab.explore.chips import PRICES, machine
from costlab.explore.drawing import Words, drawn, is_narrow, value
from costlab.explore.regions import fill_regions
from costlab.explore.style import COLOURS, INK, colour_key, log_axis, new_figure, on, share_axis
from costlab.text import tokens_text

#: The chips of the comparison: keys of the chapter's machines in China.
COMPARED = ("h20", "910b", "910c")
#: Models of the comparison by the names that readers see.
COMPARED_MODELS: Mapping[str, str] = {
    "MiMo-V2-Flash": "mimo-v2-flash",
    "DeepSeek-V3": "deepseek-v3",
    "DeepSeek-V4-Flash": "deepseek-v4-flash",
}
#: A prompt of the comparison, and what users are promised.
COMPARED_CONTEXT, USER_TOKENS_S, TTFT_S = 32_768, 30.0, 10.0
DRAWS = 4000

# --- two yields --------------------------------------------------------------------------------------------------


def per_unit(key: str, unit: str) -> Contender:
    """Return a chip's hour by what it has of a unit, at the data sheet.

    Args:
        key: of a machine.
        unit: "PFLOP-hour" in eight bits, "TB/s-hour" or "GB-hour".

    Raises:
        ValueError: another machine or unit.
    """
    own = machine(key)
    sheet = catalog.chip(own.chip)
    of = {
        "PFLOP-hour": sheet.flops["int8"] / 1e15,
        "TB/s-hour": sheet.memory_bandwidth_bytes_s / 1e12,
        "GB-hour": sheet.memory_bytes / 1e9,
    }
    return Contender(own, Assumption(of[unit], unit, sheet.source, sheet.date))


@drawn
def two_yields() -> Words:
    """Draw what a PFLOP-hour and a TB/s-hour cost on each chip, with the range of nine draws in ten."""
    units = ("PFLOP-hour", "TB/s-hour")
    ranked = {
        unit: chips.rank([per_unit(key, unit) for key in COMPARED], np.random.default_rng(0), DRAWS) for unit in units
    }
    axes = new_figure(
        "What does an hour buy?", "US dollars for a PFLOP-hour, 8 bits", "US dollars for a TB/s-hour",
        wide=(7.2, 3.6), narrow=(3.6, 3.4),
    )  # fmt: skip
    said, noted = [], []
    for key in COMPARED:
        own = machine(key)
        (x_low, x, x_high), (y_low, y, y_high) = (ranked[unit].bands[own.name] for unit in units)
        colour = COLOURS[own.chip]
        axes.plot([x_low, x_high], [y, y], color=colour)
        axes.plot([x, x], [y_low, y_high], color=colour)
        axes.plot(x, y, "o", color=colour, markersize=9)
        up, side = (-16, "right") if key == "910c" else (7, "left")  # the two lie close to each other
        axes.annotate(own.name, (x, y), (-8 if up < 0 else 8, up), textcoords="offset points", ha=side, in_layout=False)
        said.append(
            f"{own.name}: ${x:.2f} for a PFLOP-hour ({x_low:.2f} to {x_high:.2f}), ${y:.2f} for a TB/s-hour "
            f"({y_low:.2f} to {y_high:.2f})"
        )
        noted.append(f"{own.name} {value(x, f'${x:.2f}')} and {value(y, f'${y:.2f}')}")
    log_axis(axes, "x", [0.5, 1, 2, 5, 10, 20], "${:g}".format)
    log_axis(axes, "y", [0.2, 0.5, 1, 2, 5], "${:g}".format)
    axes.set(xlim=(0.4, 22), ylim=(0.15, 4))
    return Words(
        "A point for each chip: what an hour of 10^15 operations a second costs across, and of 10^12 bytes a second "
        f"up, with lines over nine of ten draws. {'; '.join(said)}.",
        "Used hours, middle draw: " + "; ".join(noted) + ". Lines: nine draws in ten.",
    )


# --- how often each wins -----------------------------------------------------------------------------------------

#: What one may buy an hour for, by the names that readers see.
BOUGHT = ("PFLOP-hour", "TB/s-hour", "GB-hour", "prefill", "decode")
#: What one may know of the share of the roofline that a chip reaches.
REACHED = ("equal", "unknown")


@functools.lru_cache(maxsize=64)
def phase_price(model: str, key: str, phase: ServingPhase) -> TokenPrice | NoPrice:
    """Return the cheapest deployment of a chip for a model and phase at the chapter's context and promises.

    At the roofline for all chips: none of them has a published run of each model.

    Args:
        model: key in the catalog.
        key: of a machine.
        phase: "prefill" or "decode".
    """
    one = ChipHour(machine(key).chip, 1.0, name=machine(key).name)
    speed, first = (USER_TOKENS_S, None) if phase == "decode" else (None, TTFT_S)
    return chips.token_price(model, one, phase, COMPARED_CONTEXT, user_tokens_s=speed, ttft_s=first, basis="roofline")


def contenders(
    bought: str, price: str = PRICES[0], model: str = "mimo-v2-flash", reached: str = "equal"
) -> list[Contender]:
    """Return the chips that can do what an hour is bought for, each with what a used hour yields of it.

    Args:
        bought: one of `BOUGHT`; tokens at the chapter's context and promises.
        price: of the 910B, one of `PRICES`.
        model: key in the catalog, for tokens.
        reached: of the roofline, in tokens: "equal" for the same share on all chips, "unknown" for any share that
            published runs of the phase reached, on each chip by itself.

    Raises:
        ValueError: another word; a chip on which the model does not fit or is too slow is left out.
    """
    one_of(PRICES, price, "price of a 910B")
    one_of(REACHED, reached, "share of the roofline")
    if bought not in BOUGHT:
        raise ValueError(f"bought = {bought!r} should be one of {', '.join(BOUGHT)}")
    if bought not in ("prefill", "decode"):
        return [Contender(machine(key, price), per_unit(key, bought).output) for key in COMPARED]
    phase: ServingPhase = "decode" if bought == "decode" else "prefill"
    found = {key: phase_price(model, key, phase) for key in COMPARED}
    return [
        Contender(machine(key, price), _tokens(1 / each.per_million, phase, reached))
        for key, each in found.items()
        if isinstance(each, TokenPrice)
    ]


def _tokens(at_roofline: float, phase: ServingPhase, reached: str) -> Assumption:
    """Million tokens of a used chip-hour, as far as the share of the roofline is known."""
    if reached == "equal":
        return Assumption(at_roofline, "million tokens", "the roofline")
    shares = sorted(point.share for each in chips.all_bands() if each.phase == phase for point in each.points)
    low, middle, high = (at_roofline * share for share in (shares[0], shares[len(shares) // 2], shares[-1]))
    return Assumption(middle, "million tokens", "the roofline by published shares", None, low, high)


@functools.lru_cache(maxsize=64)
def ranking(bought: str, price: str = PRICES[0], model: str = "mimo-v2-flash", reached: str = "equal") -> Ranking:
    """Return how often each chip is the cheapest for what an hour is bought for; arguments as of `contenders`."""
    return chips.rank(contenders(bought, price, model, reached), np.random.default_rng(0), DRAWS)


@drawn
def who_wins(model: str = "mimo-v2-flash", price: str = PRICES[0], reached: str = REACHED[0]) -> Words:
    """Draw how often each chip is the cheapest, for each thing that an hour may be bought for.

    Args:
        model: whose tokens, "mimo-v2-flash", "deepseek-v3" or "deepseek-v4-flash".
        price: of the 910B: "both sources", "tender" or "dealers".
        reached: share of the roofline, in tokens: "equal" on all chips, or "unknown".

    Raises:
        ValueError: another model or word.
    """
    key = pick({each: each for each in COMPARED_MODELS.values()}, model, "model")
    found = {bought: ranking(bought, price, key, reached) for bought in BOUGHT}
    axes = new_figure(
        "How often is each chip the cheapest?", "share of the draws", "", wide=(7.2, 2.9), narrow=(3.6, 3.0)
    )
    names = [machine(each).name for each in COMPARED]
    colours = [COLOURS[machine(each).chip] for each in COMPARED]
    colour_key(zip(names, colours, strict=True))
    for place, ranked in enumerate(found.values()):
        left = 0.0
        for name, colour in zip(names, colours, strict=True):
            share = ranked.wins.get(name, 0.0)
            axes.barh(place, share, left=left, height=0.62, color=colour, linewidth=0)
            if share >= (0.16 if is_narrow() else 0.08):
                axes.text(
                    left + share / 2, place, f"{share:.0%}", ha="center", va="center", color=on(colour), in_layout=False
                )
            left += share
    share_axis(axes, "x")
    axes.set(xlim=(0, 1), ylim=(len(found) - 0.5, -0.5))
    axes.set_yticks(range(len(found)), list(found))
    axes.grid(visible=False)
    return _wins_said(arch.load(key).name, price, reached, found)


def _wins_said(model: str, price: str, reached: str, found: Mapping[str, Ranking]) -> Words:
    listed = "; ".join(
        f"{bought}: " + ", ".join(f"{name} {share:.0%}" for name, share in ranked.wins.items())
        for bought, ranked in found.items()
    )
    promise = f"{USER_TOKENS_S:g} tokens/s for each user, {TTFT_S:g} s to the first"
    tokens = f"{model} at {tokens_text(COMPARED_CONTEXT)}, {promise}"
    source = {
        "both sources": "anywhere between tender and dealers",
        "tender": "the tender's",
        "dealers": "the dealers'",
    }
    tokens += (
        ", at the same share of the roofline" if reached == "equal" else ", at any published share of the roofline"
    )
    wins = found["decode"].wins
    best = max(wins, key=lambda name: wins[name])
    return Words(
        f"Bars of the shares of {DRAWS:,} draws in which each chip is the cheapest. Price of the 910B: "
        f"{source[price]}. "
        f"Tokens: {tokens}. {listed}.",
        f"Price of the 910B: {source[price]}. Tokens: {tokens}. In decode {best} is the cheapest in "
        f"{value(wins[best], f'{wins[best]:.0%}', 'chips_decode_wins')} of {value(DRAWS, f'{DRAWS:,} draws')}.",
    )


# --- the map -----------------------------------------------------------------------------------------------------

_CONTEXTS = np.round(np.geomspace(2048, 262_144, 29))
_LIMITS: Mapping[str, Floats] = {"decode": np.geomspace(5, 120, 21), "prefill": np.geomspace(0.5, 120, 21)}
_CLOSE = 1.05  # of the cheapest price: nearer than any of the assumptions


@functools.lru_cache(maxsize=16)
def cheapest_map(model: str, phase: ServingPhase, price: str = PRICES[0]) -> ChoiceMap:
    """Return the prices of a phase of a model on the compared chips over contexts and promises, at the roofline.

    Args:
        model: key in the catalog.
        phase: "prefill" or "decode".
        price: of the 910B, one of `PRICES`.
    """
    hours = [
        ChipHour(machine(key, price).chip, float(machine(key, price).used_hour()), name=machine(key).name)
        for key in COMPARED
    ]
    return choice_map(model, hours, _CONTEXTS, _LIMITS[phase], phase)


@drawn
def chip_map(
    model: str = "mimo-v2-flash",
    phase: ServingPhase = "decode",
    price: str = PRICES[0],
    context: int = COMPARED_CONTEXT,
) -> Words:
    """Draw which chip makes a token cheapest, by the context and by what each user is promised.

    Args:
        model: "mimo-v2-flash", "deepseek-v3" or "deepseek-v4-flash".
        phase: "decode", whose users are promised tokens a second, or "prefill", with seconds to the first token.
        price: of the 910B: "both sources", "tender" or "dealers".
        context: tokens of each sequence, to mark, 2,048 to 262,144.

    Raises:
        ValueError: another word, a context out of range.
    """
    key = pick({each: each for each in COMPARED_MODELS.values()}, model, "model")
    one_of(PRICES, price, "price of a 910B")
    if phase not in _LIMITS:
        raise ValueError(f"phase = {phase!r} should be decode or prefill")
    if not 2048 <= count(context, "context") <= 262_144:
        raise ValueError(f"context = {context:,} should be from 2,048 to 262,144")
    found = cheapest_map(key, phase, price)
    kinds = _kinds(found)
    names = [machine(each).name for each in COMPARED]
    colours = [COLOURS[machine(each).chip] for each in COMPARED]
    y = "tokens/s promised to each user" if phase == "decode" else "first token within (s)"
    axes = new_figure(f"Which chip is cheapest for {phase}?", "context (tokens)", y)
    fill_regions(axes, kinds.T, _CONTEXTS, found.limits, [*colours, COLOURS["hit"]])
    ticks = [2048, 8192, 32_768, 131_072]
    log_axis(axes, "x", ticks, lambda tokens: tokens_text(int(tokens)))
    log_axis(axes, "y", [5, 10, 20, 50, 100] if phase == "decode" else [1, 3, 10, 30, 100], "{:g}".format)
    axes.set(xlim=(_CONTEXTS[0], _CONTEXTS[-1]), ylim=(found.limits[0], found.limits[-1]))
    limit = USER_TOKENS_S if phase == "decode" else TTFT_S
    axes.plot(context, limit, "o", color=INK, markersize=7, fillstyle="none")
    axes.grid(visible=False)
    colour_key([*zip(names, colours, strict=True), ("within 5%", COLOURS["hit"])])
    return _map_said(found, kinds, names, context, limit)


def _kinds(found: ChoiceMap) -> Ints:
    """The cheapest chip of each cell, one more where the next is within 5%, -1 where none can do it."""
    close = np.where(found.ratio < _CLOSE, len(found.chip_hours), found.cheapest)
    return np.where(found.priced, close, -1)


def _map_said(found: ChoiceMap, kinds: Ints, names: Sequence[str], context: int, limit: float) -> Words:
    at = choice_map(found.model, found.chip_hours, [context], [limit], found.phase)
    prices = [float(price) for price in at.per_million[:, 0, 0]]
    shown = [
        (name, price, f"${price:.3f}" if math.isfinite(price) else "cannot")
        for name, price in zip(names, prices, strict=True)
    ]
    shares = {name: float((kinds == place).mean()) for place, name in enumerate([*names, "two within 5%"])}
    shares["none"] = float((kinds < 0).mean())
    promise = f"{limit:g} tokens/s" if found.phase == "decode" else f"a first token within {limit:g} s"
    model = arch.load(found.model).name
    where = f"{model}, {found.phase}, {tokens_text(context)} of context and {promise}"
    return Words(
        f"A map of contexts from 2K to 256K across and of promises up. {model}, {found.phase}. "
        + ", ".join(f"{name} on {share:.0%}" for name, share in shares.items())
        + f" of it. Marked: {where}; a million tokens cost "
        + ", ".join(f"{text} on {name}" if text != "cannot" else f"{name} cannot" for name, _, text in shown)
        + ".",
        f"{where} (the ring): "
        + ", ".join(
            f"{name} {value(price, text)}" if math.isfinite(price) else f"{name} cannot" for name, price, text in shown
        )
        + " a million tokens, at the roofline. Empty: no deployment of up to 64 chips keeps the promise.",
    )


# --- what was reached --------------------------------------------------------------------------------------------


@drawn
def reached_shares() -> Words:
    """Draw what share of the roofline published runs reached, by chip and family of models."""
    found = sorted(chips.all_bands(), key=lambda each: (each.phase, each.chip, each.family))
    axes = new_figure(
        "How near to the roofline does anybody come?", "share of the roofline's speed", "",
        wide=(7.2, 0.34 * len(found) + 0.9), narrow=(3.6, 0.34 * len(found) + 1.0),
    )  # fmt: skip
    for place, each in enumerate(found):
        colour = COLOURS["output" if each.phase == "decode" else "miss"]
        axes.plot([each.low, each.high], [place, place], color=colour, linewidth=6, alpha=0.35, solid_capstyle="round")
        axes.plot([point.share for point in each.points], [place] * len(each.points), "o", color=colour, markersize=5)
    colour_key([("decode", COLOURS["output"]), ("prefill", COLOURS["miss"])])
    axes.set_yticks(range(len(found)), [_band_name(each) for each in found])
    share_axis(axes, "x", [0, 0.2, 0.4, 0.6, 0.8])
    axes.set(xlim=(0, 0.8), ylim=(len(found) - 0.5, -0.5))
    axes.grid(axis="y", visible=False)
    low, high = min(each.low for each in found), max(each.high for each in found)
    runs = sum(len(each.points) for each in found)
    listed = "; ".join(
        f"{_band_name(each)}, {each.phase}, {len(each.points)} runs, {each.low:.0%} to {each.high:.0%}"
        for each in found
    )
    return Words(
        f"Points for {runs} published runs, by chip and family of models: the roofline's time over the measured one. "
        f"{listed}.",
        f"{value(runs, f'{runs} runs')}, from {value(low, f'{low:.0%}')} to {value(high, f'{high:.0%}')} of the "
        "roofline. A point is the roofline's time over the measured one.",
    )


def _band_name(found: Band) -> str:
    """A band's chip and family, as short as a phone needs."""
    chip = catalog.chip(found.chip).name.split(" (")[0].removeprefix("NVIDIA ").removeprefix("Huawei Ascend ")
    family = {"deepseek-v3": "V3", "deepseek-v3.2": "V3.2", "deepseek-v4": "V4", "mimo": "MiMo"}
    return f"{chip.split(' ')[0]}, {family.get(found.family, found.family)}"
