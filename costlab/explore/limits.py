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
from costlab.explore.style import COLOURS, INK, colour_key, label_inside, log_axis, new_figure
from costlab.levers import KINDS, TokenKind
from costlab.limits import Standing, TokenFloor
from costlab.roofline import Deployment, Term
from costlab.text import digits_text, tokens_text, usd_text

#: Price lists of the figures, by the words that readers see: (product and model, a moment at which the list holds).
PRICE_LISTS: Mapping[str, tuple[str, str]] = FrozenDict(
    {
        "V4-Pro, June": ("deepseek-v4-pro", "2026-06-01"),
        "V4-Pro, November": ("deepseek-v4-pro", "2026-11-24T16:00"),
        "V4.1-Flash, November": ("deepseek-v4.1-flash", "2026-11-24T16:00"),
        "MiMo-V2.5-Pro, June": ("mimo-v2.5-pro", "2026-06-01"),
    }
)
#: The chip and the contexts of these figures.
FLOOR_CHIP, FLOOR_CONTEXTS = "h800", (1024, 8192, 32_768, 131_072, 524_288)
_TERMS: tuple[Term, ...] = ("compute", "memory", "link")
_SHAPES: Mapping[Term, str] = {"compute": "o", "memory": "s", "link": "^"}


def chip_name(key: str) -> str:
    """Return how readers call a chip: H800."""
    return limits.short_name(catalog.chip(key))


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


def product_and_day(name: str) -> tuple[str, str]:
    """Return product and moment of a price list of the figures.

    Raises:
        ValueError: another name.
    """
    if name not in PRICE_LISTS:
        raise ValueError(f"listed = {name!r} should be one of {', '.join(PRICE_LISTS)}")
    return PRICE_LISTS[name]


def list_usd(name: str, kind: TokenKind, context: int) -> float:
    """Return the dollars of a million tokens by a price list of the figures.

    Raises:
        ValueError: another name.
    """
    product, when = product_and_day(name)
    row = prices.price_at(product, when, input_tokens=context)
    rate = prices.exchange_rate(row.currency, "USD", when)
    return {"hit": prices.hit_price(row), "miss": row.miss, "output": row.output}[kind] * rate


@drawn
def floors_and_prices(listed: str = "V4-Pro, November", kind: str = "output", context: int = 131_072) -> Words:
    """Draw the three floors of a token on each chip whose hour has a price, and the product's list price.

    Args:
        listed: one of `PRICE_LISTS`.
        kind: "output" for a token that is written, "miss" for one that is read.
        context: one of `FLOOR_CONTEXTS`.

    Raises:
        ValueError: another list, kind or context.
    """
    product, _ = product_and_day(listed)
    which: TokenKind = checks.pick({"output": "output", "miss": "miss"}, kind, "kind of token")
    if context not in FLOOR_CONTEXTS:
        raise ValueError(f"context = {context!r} should be one of {FLOOR_CONTEXTS}")
    found, price = rented_floors(product, context), list_usd(listed, which, context)
    axes = new_figure(
        "How far is a token's price above its floors?", "US dollars of a million tokens", "",
        wide=(7.2, 4.0), narrow=(3.6, 4.0),
    )  # fmt: skip
    colour_key([(word, COLOURS[term]) for term, word in zip(_TERMS, ("arithmetic", "memory", "sending"), strict=True)])
    rows, lowest = [], float("inf")
    for place, (key, (hourly, read, written)) in enumerate(found.items()):
        floor = written if which == "output" else read
        usd = {term: seconds / 3600 * hourly * 1e6 for term, seconds in floor.terms.items() if seconds}
        axes.plot([usd[floor.bound], price], [place, place], color=INK, linewidth=0.8, alpha=0.4)
        for term, amount in usd.items():
            axes.plot(amount, place, _SHAPES[term], color=COLOURS[term], markersize=7)
        lowest = min(lowest, *usd.values())
        rows.append((key, usd[floor.bound], floor.bound))
    axes.plot([price, price], [-0.5, len(rows) - 0.5], color=INK, linewidth=1.4)
    axes.text(price, -0.6, f"list {usd_text(price)}", ha="right", va="bottom", in_layout=False)
    ticks = [1e-4, 1e-2, 1] if is_narrow() else [1e-5, 1e-4, 1e-3, 1e-2, 0.1, 1, 10]
    log_axis(axes, "x", ticks, lambda each: f"${each:g}" if each >= 1e-4 else "$0.00001")
    axes.set(xlim=(lowest / 2, max(price, *(each for _, each, _ in rows)) * 2), ylim=(len(rows) - 0.4, -1.4))
    axes.set_yticks(range(len(rows)), [chip_name(key) for key, _, _ in rows])
    axes.grid(axis="y", visible=False)
    return _floors_said(listed, which, context, rows, price)


def _floors_said(
    listed: str, kind: TokenKind, context: int, rows: Sequence[tuple[str, float, Term]], price: float
) -> Words:
    done = "written" if kind == "output" else "read"
    where = f"{listed}: a token that is {done}, {tokens_text(context)} tokens"
    bounds = ", ".join(f"{chip_name(key)} {usd_text(usd)} ({bound})" for key, usd, bound in rows)
    most, least = max(price / usd for _, usd, _ in rows), min(price / usd for _, usd, _ in rows)
    noted = ", ".join(f"{chip_name(key)} {value(usd, usd_text(usd))} ({bound})" for key, usd, bound in rows)
    return Words(
        f"{where}. A row for each chip, with three floors in dollars of a million tokens; the highest of each chip: "
        f"{bounds}. A line at the list price, {usd_text(price)}.",
        f"{where}. Highest floor of each chip: {noted}. The list price, {value(price, usd_text(price))}, is "
        f"{value(most, f'{most:.0f} times', 'limits_most')} the lowest of them and "
        f"{value(least, f'{least:.1f} times', 'limits_least')} the highest.",
    )


# --- from the floor to the price ---------------------------------------------------------------------------------

_BETWEEN_COLOURS = {"layout": "link", "share of peaks": "compute", "hours of use": "room", "list over cost": "other"}


@functools.lru_cache(maxsize=32)
def stands(listed: str, chip: str) -> Standing:
    """Return where a price list of the figures stands above the floors on a chip.

    Raises:
        ValueError: another list, a chip without rent or published runs.
    """
    product, when = product_and_day(listed)
    return limits.standing(product, chip, when=when)


@drawn
def from_floor_to_price(listed: str = "V4-Pro, November", chip: str = FLOOR_CHIP) -> Words:
    """Draw, for each kind of token, the factors that lie between its floor and its list price.

    Args:
        listed: one of `PRICE_LISTS`.
        chip: key of a chip with a rent and with published runs of its maker.

    Raises:
        ValueError: another list, a chip without rent.
    """
    found = stands(listed, chip)
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
    where = f"{listed} on {chip_name(chip)}, coding traffic"
    return Words(
        f"{where}. For each kind of token a bar from its floor to its cost, in three parts, and a line at its list "
        f"price. {'; '.join(said)}.",
        f"{where}. {'; '.join(noted)}. Black lines: list prices.",
    )


# --- sparser models ----------------------------------------------------------------------------------------------

#: Chips, and how many experts a layer of the sparser model may have.
SPARSE_CHIPS, EXPERT_COUNTS = 128, (384, 512, 768, 1152)


@functools.lru_cache(maxsize=64)
def _sparse_node(visits: int, experts: int) -> Deployment:
    built = arch.load("deepseek-v4-pro")
    model = built if experts == 384 else limits.wider(built, experts)
    model = model if visits == 6 else limits.fewer(model, visits)
    node = roofline.deployment("deepseek-v4-pro", FLOOR_CHIP, SPARSE_CHIPS)
    return dataclasses.replace(node, model=model)


@dataclasses.dataclass(frozen=True, eq=False)
class SparseCurve:
    """What an output token of a model takes by batch, in chip-microseconds."""

    share: float  # of the parameters that a token multiplies
    batches: Floats  # sequences on all chips
    costs: Floats  # chip-microseconds of a token
    binds: int | None  # the batch from which arithmetic binds; None where memory holds none

    def at(self, batch: float) -> float:
        """Chip-microseconds at a batch between those that were computed, as straight lines on logarithms."""
        return float(np.exp(np.interp(np.log(batch), np.log(self.batches), np.log(self.costs))))


@functools.lru_cache(maxsize=64)
def sparse_curve(visits: int, experts: int, context: int) -> SparseCurve:
    """Return what an output token of a relative of V4-Pro takes by batch, arithmetic and memory alone.

    Args:
        visits: experts that a token visits.
        experts: of each layer.
        context: tokens of each sequence.
    """
    node = _sparse_node(visits, experts)
    most = node.max_batch(context) // node.replicas
    each = np.unique(np.geomspace(1, max(1, most), 64).astype(int))
    batches = each * node.replicas
    costs = [limits.sparse_step(node, int(batch), context).chip_s * 1e6 for batch in batches]
    share = limits.activated_share(node.model)
    return SparseCurve(share, batches.astype(float), np.array(costs), limits.compute_binds_at(node, context))


@drawn
def sparser_models(visits: int = 3, experts: int = 384, context: int = 8192) -> Words:
    """Draw what a token of V4-Pro and of a sparser relative costs by batch, in chip-microseconds on 128 H800s.

    Args:
        visits: experts that a token of the relative visits, 1 to 6.
        experts: that a layer of it has, one of `EXPERT_COUNTS`.
        context: one of `FLOOR_CONTEXTS`.

    Raises:
        ValueError: a number out of range.
    """
    if not 1 <= visits <= 6:
        raise ValueError(f"visits = {visits} should be from 1 to 6")
    if experts not in EXPERT_COUNTS:
        raise ValueError(f"experts = {experts} should be one of {EXPERT_COUNTS}")
    if context not in FLOOR_CONTEXTS:
        raise ValueError(f"context = {context!r} should be one of {FLOOR_CONTEXTS}")
    own, other = sparse_curve(6, 384, context), sparse_curve(visits, experts, context)
    axes = new_figure("At which batch does a sparser model pay?", "sequences on 128 H800s", "times V4-Pro's seconds")
    both = min(own.batches[-1], other.batches[-1])
    batches = other.batches[other.batches <= both]
    ratios = np.array([other.at(each) / own.at(each) for each in batches])
    axes.axhline(1, color=INK, linewidth=1)
    axes.plot(batches, ratios, color=COLOURS["compute"])
    for curve, colour in ((own, "other"), (other, "compute")):
        if curve.binds and curve.binds <= both:
            axes.axvline(curve.binds, color=COLOURS[colour], linestyle="--", linewidth=1.4)
    largest = other.costs[-1] / own.costs[-1]
    axes.plot(other.batches[-1], largest, "D", color=COLOURS["compute"], markersize=8, clip_on=False)
    log_axis(axes, "x", [128, 1024, 8192, 65_536], lambda each: f"{each:,.0f}")
    axes.set(xlim=(120, 80_000), ylim=(0.5, max(1.5, 1.08 * largest, 1.05 * float(ratios.max()))))
    colour_key([("arithmetic binds V4-Pro from here", COLOURS["other"]), ("the other", COLOURS["compute"])], "dashed")
    return _sparser_said(f"{visits} of {experts}", context, own, other, ratios)


def _sparser_said(name: str, context: int, own: SparseCurve, other: SparseCurve, ratios: Floats) -> Words:
    said = [
        f"{label}: activation {value(curve.share, f'{curve.share:.2%}')}, "
        + (f"bound by arithmetic from {value(curve.binds, f'{curve.binds:,} sequences')}" if curve.binds
           else f"bound by memory at every batch that fits ({value(0, 'never')} by arithmetic)")
        + f", at most {value(curve.batches[-1], f'{curve.batches[-1]:,.0f} sequences')}"
        for label, curve in (("V4-Pro, 6 of 384", own), (name, other))
    ]  # fmt: skip
    first, last = float(ratios[0]), float(other.costs[-1] / own.costs[-1])
    middle = float(ratios[len(ratios) // 2])
    return Words(
        f"Seconds of a chip for an output token of a relative of V4-Pro whose tokens visit {name} experts, over "
        f"V4-Pro's own, by batch at {tokens_text(context)} tokens: {first:.2f} at 128 sequences, {middle:.2f} in the "
        f"middle, and {last:.2f} with each at its largest batch.",
        f"{tokens_text(context)} tokens. {'; '.join(said)}. Times V4-Pro's seconds: {value(first, f'{first:.2f}')} at "
        f"128 sequences, {value(middle, f'{middle:.2f}')} in the middle of the axis, "
        f"{value(last, f'{last:.2f}', 'limits_sparse')} with each at its largest batch (diamond). Sending is left out.",
    )


# --- joules ------------------------------------------------------------------------------------------------------


@functools.lru_cache(maxsize=1)
def joule_marks() -> Mapping[str, float]:
    """Return joules from a lost bit to a request: the chapter's scale."""
    operations = catalog.tables().operation_energies
    service = stands("V4-Pro, November", FLOOR_CHIP).service
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
        if is_narrow():
            axes.text(2e-22, place - 0.18, f"{name}: {_joules_text(joules)}", va="bottom", in_layout=False)
        else:
            label_inside(axes, f" {_joules_text(joules)}", joules, place)
    ticks = [1e-21, 1e-15, 1e-9, 1e-3, 1e3] if is_narrow() else [1e-21, 1e-18, 1e-15, 1e-12, 1e-9, 1e-6, 1e-3, 1, 1e3]
    log_axis(axes, "x", ticks, _power_text)
    axes.set(xlim=(1e-22, 1e6 if is_narrow() else 1e9), ylim=(len(found) - 0.4, -0.9))
    axes.set_yticks([] if is_narrow() else range(len(found)), [] if is_narrow() else list(found))
    axes.grid(axis="y", visible=False)
    listed_marks = "; ".join(f"{name} {_joules_text(joules)}" for name, joules in found.items())
    noted = "; ".join(f"{name} {value(joules, _joules_text(joules))}" for name, joules in found.items())
    return Words(
        f"Joules on a logarithmic scale. {listed_marks}.", f"{noted}. Tokens: V4-Pro on H800s, 122,260 tokens."
    )


def _power_text(number: float) -> str:
    """10⁻²¹, in characters: what a smaller raised text would say, nobody reads on a phone."""
    return "10" + str(round(np.log10(number))).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))


_JOULES = (
    ("kJ", 1e3),
    ("J", 1.0),
    ("mJ", 1e-3),
    ("µJ", 1e-6),
    ("nJ", 1e-9),
    ("pJ", 1e-12),
    ("fJ", 1e-15),
    ("zJ", 1e-21),
)


def _joules_text(joules: float) -> str:
    for unit, scale in _JOULES:
        if joules >= scale:
            return f"{digits_text(joules / scale)} {unit}"
    return f"{joules:.2g} J"


__all__ = [
    "EXPERT_COUNTS",
    "FLOOR_CHIP",
    "FLOOR_CONTEXTS",
    "PRICE_LISTS",
    "SPARSE_CHIPS",
    "SparseCurve",
    "chip_name",
    "floors_and_prices",
    "from_floor_to_price",
    "joule_marks",
    "joule_scale",
    "list_usd",
    "product_and_day",
    "rented_floors",
    "sparse_curve",
    "sparser_models",
    "stands",
]  # fmt: skip
