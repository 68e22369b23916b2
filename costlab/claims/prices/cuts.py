"""What was cut by how much, whether it stayed cut, and whether it was raised elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime

from costlab import arch, catalog, prices
from costlab.catalog import PriceRow
from costlab.claims.ledger import MIMO_PRO, V4_PRO, Settled, Values, agrees, graded, ratio, settles
from costlab.claims.prices.days import (
    JUNE,
    NOVEMBER,
    NOW,
    NOW_PEAK,
    POSTS,
    TOKEN_KINDS,
    amounts,
    now_of_v4_pro,
    row,
    span,
)

MIMO, V4_FLASH, FLASH_NOW, MIMO_NOW = "mimo-v2.5", "deepseek-v4-flash", "deepseek-v4.1-flash", "mimo-v2.6-pro"
LIST = "deepseek-v4-pro-list"  # what was struck out while the discount ran
LAUNCH = date(2026, 4, 24)  # V4-Pro's first day
AFTER_RISE = datetime.fromisoformat("2026-08-17T12:00+00:00")  # off-peak, on the first day of DeepSeek's August list


@settles("price-cut-v4pro")
def _price_cut_v4pro(given: Values) -> Settled:
    now, struck, launch = row(V4_PRO, POSTS), row(LIST, POSTS), row(V4_PRO, LAUNCH)
    cuts, since_launch = prices.cut(struck, now), prices.cut(launch, now)
    computed = (
        f"on {POSTS}: {amounts(now)} (hit, miss, output) against {amounts(struck)} on the list: "
        f"{', '.join(f'{kind} -{cut:.1%}' for kind, cut in cuts.items())}; a hit against the launch of {LAUNCH}: "
        f"-{since_launch['hit']:.1%}"
    )
    off, peak = (prices.cut(launch, row(V4_PRO, when)) for when in (NOW, NOW_PEAK))
    why = (
        "The list price of a hit had been lowered like those of all its models before. On "
        f"{NOVEMBER} the cut is gone: against the launch misses cost {_change(off['miss'])} off-peak and "
        f"{_change(peak['miss'])} at peak, output {_change(off['output'])} and {_change(peak['output'])}, a hit still "
        f"{_change(off['hit'])} and {_change(peak['hit'])}"
    )
    return graded(agrees(given["share"], cut, 0.01) for cut in cuts.values()), computed, f"{why}."


def _change(cut: float) -> str:
    return f"{abs(cut):.0%} {'less' if cut > 0 else 'more'}"


@dataclass(frozen=True)
class _Cell:
    """A price of Xiaomi's old list, and by which share it fell."""

    before: PriceRow  # its row
    kind: str  # of token
    cut: float  # share

    @property
    def name(self) -> str:
        """The cell in words."""
        least, most = self.before.min_input_tokens, self.before.max_input_tokens
        tier = f"up to {most:,}" if most else f"from {least:,}"
        return f"{self.kind} of {self.before.product} in {self.before.currency}, prompts {tier}"


def _cells(*kinds: str) -> Iterator[_Cell]:
    """Yield every price of a kind on the old list of MiMo-V2.5, each against the list that followed."""
    for before in catalog.tables().prices:
        if before.product in (MIMO_PRO, MIMO) and before.valid_to and _first_day(before.valid_to) <= POSTS:
            after = row(before.product, POSTS, before.currency)
            for kind, cut in prices.cut(before, after).items():
                if kind in kinds:
                    yield _Cell(before, kind, cut)


def _first_day(moment: date | datetime) -> date:
    return moment.date() if isinstance(moment, datetime) else moment


@settles("price-cut-mimo-max")
def _price_cut_mimo_max(given: Values) -> Settled:
    cells = list(_cells(*TOKEN_KINDS))
    most = max(cells, key=lambda cell: cell.cut)
    reach = [cell for cell in cells if agrees(given["share"], cell.cut, 0.005)]
    short = [cell.cut for cell in cells if cell.kind == "hit" and cell.before.max_input_tokens]
    computed = (
        f"on {POSTS} the prices fell by {span([cell.cut for cell in cells], '.1%')}; most fell the {most.name} "
        f"({most.cut:.1%}); {len(reach)} of {len(cells)} prices fell by {given['share']:.0%}"
    )
    why = (
        f"A hit of a shorter prompt fell by {span(short, '.1%')}. Articles D and E give the greatest cut as the cut. "
        f"On {NOVEMBER} {MIMO_NOW}, which followed, asks the same: {amounts(row(MIMO_NOW, NOW, 'CNY'))} in hit, miss "
        "and output"
    )
    greatest = agrees(given["share"], most.cut, 0.005)
    return graded((greatest, len(reach) == len(cells))), computed, f"{why}."


@settles("price-cut-mimo-miss-out")
def _price_cut_mimo_miss_out(given: Values) -> Settled:
    cells = list(_cells("miss", "output"))
    inside = [round(given["low"], 9) <= round(cell.cut, 9) <= round(given["high"], 9) for cell in cells]
    beyond = [f"{cell.name}: {cell.cut:.0%}" for cell, good in zip(cells, inside, strict=True) if not good]
    computed = (
        f"on {POSTS}, by both lists and tiers, misses and output fell by {span([cell.cut for cell in cells], '.1%')}; "
        f"{sum(inside)} of {len(cells)} prices by {given['low']:.0%} to {given['high']:.0%}"
    )
    why = f"Outside are {'; '.join(beyond)}" if beyond else "None is outside"
    return graded(inside), computed, f"{why}."


@settles("price-permanent")
def _price_permanent(_: Values) -> Settled:
    pro, launch = prices.history(V4_PRO, "USD"), row(V4_PRO, LAUNCH)
    cut = next(each for each in pro if each.valid_to and not each.promotion and each.valid_from != launch.valid_from)
    lasted = (_first_day(cut.valid_to or NOVEMBER) - _first_day(cut.valid_from)).days
    off, peak = row(V4_PRO, NOW), row(V4_PRO, NOW_PEAK)
    kept = [days == days_now for days, days_now in _xiaomi_then_and_now()]
    computed = (
        f"V4-Pro's prices without an end held from {_first_day(cut.valid_from)} for {lasted} days; since "
        f"{_first_day(off.valid_from)} a hit costs {_times(cut, off, peak, 'hit')}, a miss "
        f"{_times(cut, off, peak, 'miss')} and output {_times(cut, off, peak, 'output')} times as much (off-peak and "
        f"peak); Xiaomi's are the same on {NOVEMBER} for {sum(kept)} of {len(kept)} lists"
    )
    why = (
        "V2.5 itself is no longer sold, its successors took over its list. DeepSeek gave an even load and steady "
        "service as the reason of peak prices. What the rise says of cost is an inference, not a fact: the same model "
        "on the same chips was sold for less, and off-peak its input still costs "
        f"{1 - ratio(off.miss, launch.miss):.0%} (miss) and {1 - ratio(off.hit or 0, launch.hit or 0):.0%} (hit) less "
        "than at its launch, which fits scarce capacity better than engineering that did not work"
    )
    return graded((off.output <= cut.output and peak.output <= cut.output, all(kept))), computed, f"{why}."


def _xiaomi_then_and_now() -> Iterator[tuple[object, object]]:
    """Yield Xiaomi's prices after the cut and its successors' in November, for each model and currency."""
    for then, now in ((MIMO_PRO, MIMO_NOW), (MIMO, "mimo-v2.6-flash")):
        for currency in ("USD", "CNY"):
            yield amounts(row(then, POSTS, currency)), amounts(row(now, NOW, currency))


def _times(before: PriceRow, off: PriceRow, peak: PriceRow, kind: str) -> str:
    old, low, high = (float(getattr(each, kind) or 0) for each in (before, off, peak))
    return f"{ratio(low, old):.2f} and {ratio(high, old):.2f}"


@settles("price-follows-cost")
def _price_follows_cost(given: Values) -> Settled:
    june, rise = row(V4_PRO, JUNE), row(V4_PRO, AFTER_RISE)
    old, new = row(V4_FLASH, AFTER_RISE), row(FLASH_NOW, NOW)
    tokens = int(given["tokens"])
    kept = float(arch.load(V4_FLASH).kv_bytes(tokens).total) / tokens
    fell = prices.cut(old, new)
    bytes_fell = 1 - ratio(given["flash_bytes"], kept)
    computed = (
        f"where the model changed the price followed: {FLASH_NOW} keeps {given['flash_bytes']:,.0f} bytes of cache a "
        f"token where {V4_FLASH} kept {kept:,.0f} ({_change(bytes_fell)}), and off-peak its hit cost "
        f"{_change(fell['hit'])}, a miss {_change(fell['miss'])} and output {_change(fell['output'])}; where it did "
        f"not change, V4-Pro's output went from ${june.output:g} on {JUNE} to ${rise.output:g} off-peak on "
        f"{_first_day(AFTER_RISE)}"
    )
    why = (
        "The cost of a model on given chips is a floor under its price, and what lowers the floor lets the price fall. "
        "Demand, capacity and what others ask move the price above it, up as well as down. On "
        f"{NOVEMBER} V4-Pro's output costs {now_of_v4_pro('output')}"
    )
    same_model = agrees(june.output, rise.output, 0.01)
    return graded((same_model, bytes_fell > 0 and fell["hit"] > 0)), computed, f"{why}."
