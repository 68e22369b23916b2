"""Figures of the chapter `limits`: floors below prices, what lies between, sparser models, and joules.

Chapter: limits
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence

import numpy as np

from costlab import arch, catalog, checks, levers, limits, prices, roofline
from costlab.arrays import Floats
from costlab.catalog import FrozenDict
from costlab.explore.drawing import Words, drawn, is_narrow, value
from costlab.explore.style import COLOURS, INK, colour_key, label_ends, label_inside, log_axis, new_figure
from costlab.levers import KINDS, TokenKind
from costlab.limits import Standing, TokenFloor
from costlab.roofline import Deployment, Term
from costlab.text import digits_text, tokens_text, usd_text

#: Models of the figures by the names that readers see; their keys are those of their price lists too.
FLOOR_MODELS: Mapping[str, str] = FrozenDict(
    {
        "DeepSeek-V4-Pro": "deepseek-v4-pro",
        "DeepSeek-V4.1-Flash": "deepseek-v4.1-flash",
        "MiMo-V2.5-Pro": "mimo-v2.5-pro",
    }
)
#: Days of the price lists by the words that readers see; the hour is off-peak.
FLOOR_DAYS: Mapping[str, str] = FrozenDict(
    {
        "1 June 2026": "2026-06-01T16:00",
        "1 September 2026": "2026-09-01T16:00",
        "24 November 2026": "2026-11-24T16:00",
    }
)
#: The chip and the contexts of these figures.
FLOOR_CHIP, FLOOR_CONTEXTS = "h800", (1024, 8192, 32_768, 131_072, 524_288)
_TERMS: tuple[Term, ...] = ("compute", "memory", "link")
_SHAPES: Mapping[Term, str] = {"compute": "o", "memory": "s", "link": "^"}


def chip_name(key: str) -> str:
    """Return a chip's name without maker and form: H800."""
    name = catalog.chip(key).name.split(" (")[0]
    for maker in ("NVIDIA ", "Huawei ", "AMD Instinct "):
        name = name.removeprefix(maker)
    return name.split(" SXM")[0]


# --- floors and prices -------------------------------------------------------------------------------------------


@functools.lru_cache(maxsize=64)
def rented_floors(model: str, context: int) -> Mapping[str, tuple[float, TokenFloor, TokenFloor]]:
    """Return (dollars of a chip-hour, floor of a token that is read, that is written) by chip, the cheapest first.

    Args:
        model: key in the catalog.
        context: tokens.

    Raises:
        ValueError: an unknown model, a context below 1.
    """
    found = {}
    for key, both in limits.floors_on_chips(model, context).items():
        try:
            hourly = levers.rent(key).value
        except ValueError:  # nobody lists an hour of it
            continue
        found[key] = (hourly, both["prefill"], both["decode"])
    return FrozenDict(dict(sorted(found.items(), key=lambda item: item[1][0] * item[1][2].seconds)))


def listed(model: str, day: str, kind: TokenKind, context: int) -> float | None:
    """Return the dollars of a million tokens by a product's list; None where it is not listed on the day."""
    try:
        row = prices.price_at(model, day, input_tokens=context)
    except ValueError:
        return None
    rate = prices.exchange_rate(row.currency, "USD", day)
    return {"hit": prices.hit_price(row), "miss": row.miss, "output": row.output}[kind] * rate


@drawn
def floors_and_prices(
    model: str = "deepseek-v4-pro", kind: str = "output", context: int = 131_072, day: str = "2026-11-24T16:00"
) -> Words:
    """Draw the three floors of a token on each chip whose hour has a price, and the product's list price.

    Args:
        model: key of one of `FLOOR_MODELS`.
        kind: "output" for a token that is written, "miss" for one that is read.
        context: one of `FLOOR_CONTEXTS`.
        day: of the list, one of `FLOOR_DAYS`.

    Raises:
        ValueError: another model, kind, context or day.
    """
    name = _named(model)
    checks.pick({"output": 0, "miss": 0}, kind, "kind of token")
    if context not in FLOOR_CONTEXTS:
        raise ValueError(f"context = {context!r} should be one of {FLOOR_CONTEXTS}")
    said_day = _day_words(day)
    found = rented_floors(model, context)
    paid = listed(model, day, "output" if kind == "output" else "miss", context)
    axes = new_figure(
        "How far is a token's price above its floors?", "US dollars of a million tokens", "",
        wide=(7.2, 4.0), narrow=(3.6, 4.0),
    )  # fmt: skip
    colour_key([(word, COLOURS[term]) for term, word in zip(_TERMS, ("arithmetic", "memory", "sending"), strict=True)])
    rows, lowest = [], float("inf")
    for place, (key, (hourly, read, written)) in enumerate(found.items()):
        floor = written if kind == "output" else read
        usd = {term: seconds / 3600 * hourly * 1e6 for term, seconds in floor.terms.items()}
        axes.plot([usd[floor.bound], paid or usd[floor.bound]], [place, place], color=INK, linewidth=0.8, alpha=0.4)
        for term in _TERMS:
            axes.plot(usd[term], place, _SHAPES[term], color=COLOURS[term], markersize=7)
        lowest = min(lowest, *(each for each in usd.values() if each > 0))
        rows.append((key, usd[floor.bound], floor.bound))
    _price_line(axes, paid, len(rows))
    log_axis(axes, "x", [1e-4, 1e-3, 1e-2, 0.1, 1, 10], lambda each: f"${each:g}")
    most = max([paid or 0.0, *(each for _, each, _ in rows)])
    axes.set(xlim=(lowest / 2, most * 3), ylim=(len(rows) - 0.4, -1.1))
    axes.set_yticks(range(len(rows)), [chip_name(key) for key, _, _ in rows])
    axes.grid(axis="y", visible=False)
    return _floors_said(name, kind, context, said_day, rows, paid)


def _day_words(day: str) -> str:
    """How readers see a day of the figures."""
    words = next((said for said, each in FLOOR_DAYS.items() if each == day), None)
    if words is None:
        raise ValueError(f"day = {day!r} should be one of {', '.join(FLOOR_DAYS.values())}")
    return words


def _named(model: str) -> str:
    return checks.pick({key: name for name, key in FLOOR_MODELS.items()}, model, "model")


def _price_line(axes: object, paid: float | None, rows: int) -> None:
    """The list price as a line down the whole figure."""
    if paid is None:
        return
    axes.plot([paid, paid], [-0.5, rows - 0.5], color=INK, linewidth=1.4)  # type: ignore[attr-defined]
    axes.text(paid, -0.6, f"list {usd_text(paid)}", ha="center", va="bottom", in_layout=False)  # type: ignore[attr-defined]


def _floors_said(
    name: str, kind: str, context: int, day: str, rows: Sequence[tuple[str, float, Term]], paid: float | None
) -> Words:
    done = "written" if kind == "output" else "read"
    where = f"{name}, a token that is {done}, {tokens_text(context)} tokens"
    bounds = ", ".join(f"{chip_name(key)} {usd_text(usd)} ({bound})" for key, usd, bound in rows)
    price = f"The list price on {day} is {usd_text(paid)}." if paid else f"It has no list price on {day}."
    above = ""
    if paid:
        factors = [paid / usd for _, usd, _ in rows]
        above = (
            f" The price is {value(max(factors), f'{max(factors):.0f} times', 'limits_most')} the lowest floor and "
            f"{value(min(factors), f'{min(factors):.1f} times', 'limits_least')} the highest."
        )
    noted = ", ".join(f"{chip_name(key)} {value(usd, usd_text(usd))} ({bound})" for key, usd, bound in rows)
    return Words(
        f"{where}. A row for each chip, with three floors in dollars of a million tokens; the highest of each chip: "
        f"{bounds}. {price}",
        f"{where}. Highest floor of each chip: {noted}. {price}{above}",
    )


# --- from the floor to the price ---------------------------------------------------------------------------------

_BETWEEN_COLOURS = {"layout": "link", "share of peaks": "compute", "hours of use": "room", "list over cost": "other"}


@functools.lru_cache(maxsize=32)
def stands(model: str, chip: str, day: str) -> Standing:
    """Return where a product's price stands, kept."""
    return limits.standing(model, chip, when=day)


@drawn
def from_floor_to_price(model: str = "deepseek-v4-pro", chip: str = FLOOR_CHIP, day: str = "2026-11-24T16:00") -> Words:
    """Draw, for each kind of token, the factors that lie between its floor and its list price.

    Args:
        model: key of one of `FLOOR_MODELS`.
        chip: key of a chip with a rent and with published runs of its maker.
        day: of the list, one of `FLOOR_DAYS`.

    Raises:
        ValueError: another model or day, a chip without rent.
    """
    name = _named(model)
    said_day = _day_words(day)
    found = stands(model, chip, day)
    axes = new_figure(
        "What lies between the floor and the price?", "US dollars of a million tokens", "",
        wide=(7.2, 2.8), narrow=(3.6, 3.2),
    )  # fmt: skip
    colour_key([(part, COLOURS[_BETWEEN_COLOURS[part]]) for part in limits.BETWEEN[:3]])
    said, noted = [], []
    for place, kind in enumerate(KINDS):
        parts, left = found.between(kind), found.floors[kind]
        for part in limits.BETWEEN[:3]:
            right = left * parts[part]
            axes.barh(place, right - left, left=left, height=0.5, color=COLOURS[_BETWEEN_COLOURS[part]], linewidth=0)
            left = right
        axes.plot([found.paid[kind]] * 2, [place - 0.36, place + 0.36], color=INK, linewidth=1.6)
        factors = ", ".join(f"{part} {factor:.3g} times" for part, factor in parts.items())
        said.append(f"{kind}: floor {usd_text(found.floors[kind])}, {factors}, list {usd_text(found.paid[kind])}")
        noted.append(
            f"{kind} {value(found.floors[kind], usd_text(found.floors[kind]))} to "
            f"{value(found.paid[kind], usd_text(found.paid[kind]))}, "
            f"{value(found.factor(kind), f'{found.factor(kind):.1f} times')} ("
            + ", ".join(f"{part} {value(factor, f'{factor:.2f}')}" for part, factor in parts.items())
            + ")"
        )
    log_axis(axes, "x", [1e-4, 1e-3, 1e-2, 0.1, 1, 10], lambda each: f"${each:g}")
    least, most = min(found.floors.values()), max(*found.paid.values(), *found.costs.values())
    axes.set(xlim=(least / 1.6, most * 2), ylim=(len(KINDS) - 0.4, -0.6))
    axes.set_yticks(range(len(KINDS)), KINDS)
    axes.grid(axis="y", visible=False)
    where = f"{name} on {chip_name(chip)}, coding traffic, {said_day}"
    return Words(
        f"{where}. For each kind of token a bar from its floor to its cost, in three parts, and a line at its list "
        f"price. {'; '.join(said)}.",
        f"{where}. {'; '.join(noted)}. Black lines: list prices.",
    )


# --- sparser models ----------------------------------------------------------------------------------------------

#: Chips, and how many experts a layer of the sparser model may have.
SPARSE_CHIPS, EXPERTS = 128, (384, 512, 768, 1152)


@functools.lru_cache(maxsize=64)
def _sparse_node(visits: int, experts: int) -> Deployment:
    built = arch.load("deepseek-v4-pro")
    model = built if experts == 384 else limits.wider(built, experts)
    model = model if visits == 6 else limits.fewer(model, visits)
    node = roofline.deployment("deepseek-v4-pro", FLOOR_CHIP, SPARSE_CHIPS)
    return dataclasses.replace(node, model=model)


@functools.lru_cache(maxsize=64)
def sparse_curve(visits: int, experts: int, context: int) -> tuple[Floats, Floats, int | None]:
    """Return batches, chip-microseconds of a token at each, and the batch from which arithmetic binds.

    Args:
        visits: experts that a token visits.
        experts: of each layer.
        context: tokens of each sequence.
    """
    node = _sparse_node(visits, experts)
    most = node.max_batch(context) // node.replicas
    each = np.unique(np.geomspace(1, max(1, most), 40).astype(int)) if most else np.array([], dtype=int)
    batches = each * node.replicas
    costs = [limits.sparse_step(node, int(batch), context).chip_s * 1e6 for batch in batches]
    return batches.astype(float), np.array(costs), limits.compute_binds_at(node, context)


@drawn
def sparser_models(visits: int = 3, experts: int = 384, context: int = 8192) -> Words:
    """Draw what a token of V4-Pro and of a sparser relative costs by batch, in chip-microseconds on 128 H800s.

    Args:
        visits: experts that a token of the relative visits, 1 to 6.
        experts: that a layer of it has, one of `EXPERTS`.
        context: one of `FLOOR_CONTEXTS`.

    Raises:
        ValueError: a number out of range.
    """
    if not 1 <= visits <= 6:
        raise ValueError(f"visits = {visits} should be from 1 to 6")
    if experts not in EXPERTS:
        raise ValueError(f"experts = {experts} should be one of {EXPERTS}")
    if context not in FLOOR_CONTEXTS:
        raise ValueError(f"context = {context!r} should be one of {FLOOR_CONTEXTS}")
    shown = {"6 of 384": (6, 384, "other"), f"{visits} of {experts}": (visits, experts, "compute")}
    axes = new_figure(
        "At which batch does a sparser model pay?", "sequences on 128 H800s", "chip-microseconds per output token"
    )
    ends, noted, lowest = [], [], float("inf")
    for name, (k, held, colour) in shown.items():
        batches, costs, binds = sparse_curve(k, held, context)
        share = limits.activated_share(_sparse_node(k, held).model)
        if not len(batches):
            noted.append(f"{name}: activation {value(share, f'{share:.2%}')}, memory holds {value(0, '0 sequences')}")
            continue
        axes.plot(batches, costs, color=COLOURS[colour])
        if binds:
            axes.plot(binds, np.interp(binds, batches, costs), "o", color=COLOURS[colour], markersize=8)
        ends.append((float(costs[-1]), name, COLOURS[colour]))
        lowest = min(lowest, float(costs[-1]))
        from_batch = f"from {value(binds, f'{binds:,} sequences')}" if binds else f"at no batch ({value(0, 'never')})"
        noted.append(
            f"{name}: activation {value(share, f'{share:.2%}')}, bound by arithmetic {from_batch}, at the largest "
            f"batch {value(batches[-1], f'{batches[-1]:,.0f}')} a token takes {value(costs[-1], f'{costs[-1]:.1f} µs')}"
        )
    log_axis(axes, "x", [128, 1024, 8192, 65_536], lambda each: f"{each:,.0f}")
    log_axis(axes, "y", [30, 100, 300, 1000, 3000, 10_000], lambda each: f"{each:,.0f}")
    axes.set(xlim=(100, 100_000), ylim=(lowest / 1.4, 30_000))
    label_ends(axes, 100_000, ends)
    plain = "; ".join(noted)
    return Words(
        f"Chip-microseconds of an output token by batch, {tokens_text(context)} tokens of context: V4-Pro and a "
        f"relative whose tokens visit {visits} of {experts} experts. Both fall with the batch; points mark where "
        "arithmetic begins to bind.",
        f"{tokens_text(context)} tokens. {plain}. Points: from here on arithmetic binds. Sending is left out.",
    )


# --- joules ------------------------------------------------------------------------------------------------------


@functools.lru_cache(maxsize=1)
def joule_marks() -> Mapping[str, float]:
    """Return joules from a lost bit to a request: the chapter's scale."""
    operations = catalog.tables().operation_energies
    service = stands("deepseek-v4-pro", FLOOR_CHIP, "2026-11-24T16:00").service
    energy = limits.token_energy(service)
    return FrozenDict(
        {
            "a bit is erased": limits.landauer_j(),
            "8-bit product, 7 nm": operations["multiply-int8-7nm"].joules,
            "16-bit product, 7 nm": operations["multiply-fp16-7nm"].joules,
            "64 bits from SRAM, 1 MB": operations["sram-1mb-7nm"].joules,
            "64 bits from HBM2": operations["hbm2"].joules,
            "a token, all sums erased": limits.landauer_j() * limits.bits_erased(service.model, 122_260)["sums"],
            "a token, its products alone": _products_j(service.model),
            "a token at its floor": limits.floor_energy(limits.output_floor(service)),
            "a token as served": energy.joules["output"],
            "a request of 122,000 tokens": energy.request_j,
        }
    )


def _products_j(model: arch.Model) -> float:
    """Joules of an output token's 8-bit products on a process of 7 nm, and of nothing else."""
    flops = float(model.decode_flops(122_260).total)
    return flops / 2 * catalog.tables().operation_energies["multiply-int8-7nm"].joules


@drawn
def joule_scale() -> Words:
    """Draw the energies of a bit, of operations, of a token and of a request on one logarithmic scale."""
    found = joule_marks()
    axes = new_figure("How far is a token from Landauer's bound?", "joules", "", wide=(7.2, 3.6), narrow=(3.6, 3.8))
    colour_key([("bound or circuit", COLOURS["memory"]), ("token of V4-Pro", COLOURS["energy"])])
    for place, (name, joules) in enumerate(found.items()):
        colour = COLOURS["energy" if name.startswith(("a token", "a request")) else "memory"]
        axes.plot([1e-22, joules], [place, place], color=colour, linewidth=1)
        axes.plot(joules, place, "o", color=colour, markersize=8)
        label_inside(axes, f" {_joules_text(joules)}", joules, place)
    ticks = [1e-21, 1e-15, 1e-9, 1e-3, 1e3] if is_narrow() else [1e-21, 1e-18, 1e-15, 1e-12, 1e-9, 1e-6, 1e-3, 1, 1e3]
    log_axis(axes, "x", ticks, lambda each: f"$10^{{{round(np.log10(each))}}}$")
    axes.set(xlim=(1e-22, 1e11 if is_narrow() else 1e8), ylim=(len(found) - 0.4, -0.6))
    axes.set_yticks(range(len(found)), list(found))
    axes.grid(axis="y", visible=False)
    listed_marks = "; ".join(f"{name} {_joules_text(joules)}" for name, joules in found.items())
    noted = "; ".join(f"{name} {value(joules, _joules_text(joules))}" for name, joules in found.items())
    return Words(
        f"Joules on a logarithmic scale. {listed_marks}.", f"{noted}. Tokens: V4-Pro on H800s, 122,260 tokens."
    )


def _joules_text(joules: float) -> str:
    for unit, scale in (("kJ", 1e3), ("J", 1.0), ("mJ", 1e-3), ("µJ", 1e-6), ("nJ", 1e-9), ("pJ", 1e-12), ("fJ", 1e-15), ("zJ", 1e-21)):
        if joules >= scale:
            return f"{digits_text(joules / scale)} {unit}"
    return f"{joules:.2g} J"


__all__ = [
    "EXPERTS", "FLOOR_CHIP", "FLOOR_CONTEXTS", "FLOOR_DAYS", "FLOOR_MODELS", "SPARSE_CHIPS", "chip_name",
    "floors_and_prices", "from_floor_to_price", "joule_marks", "joule_scale", "listed", "rented_floors",
    "sparse_curve", "sparser_models", "stands",
]  # fmt: skip
