"""What was cut by how much, whether it stayed cut, and whether it was raised elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime

from costlab import arch, catalog, prices
from costlab.catalog import PriceRow
from costlab.claims.ledger import MIMO_PRO, V4_PRO, Settled, Values, ratio, settles
from costlab.claims.parts import ClaimPart, literal, part
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
    row_call,
    span,
)

MIMO, V4_FLASH, FLASH_NOW, MIMO_NOW = "mimo-v2.5", "deepseek-v4-flash", "deepseek-v4.1-flash", "mimo-v2.6-pro"
LIST = "deepseek-v4-pro-list"  # what was struck out while the discount ran
LAUNCH = date(2026, 4, 24)  # V4-Pro's first day
AFTER_RISE = datetime.fromisoformat("2026-08-17T12:00+00:00")  # off-peak, on the first day of DeepSeek's August list


@settles("price-cut-v4pro", "prices#what-was-cut-and-by-how-much")
def _price_cut_v4pro(given: Values) -> Settled:
    struck, now = row_call(LIST, POSTS), row_call(V4_PRO, POSTS)
    parts = [
        part(f"cut of a million {_plural(kind)}", "share", given["share"], f'prices.cut({struck}, {now})["{kind}"]',
             0.01, number="share")
        for kind in TOKEN_KINDS
    ]  # fmt: skip
    launch = row(V4_PRO, LAUNCH)
    off, peak = (prices.cut(launch, row(V4_PRO, when)) for when in (NOW, NOW_PEAK))
    fell = ", ".join(f"{kind} -{each.computed:.1%}" for kind, each in zip(TOKEN_KINDS, parts, strict=True))
    why = (
        f"On {POSTS} DeepSeek asked {amounts(row(V4_PRO, POSTS))} (hit, miss, output) against "
        f"{amounts(row(LIST, POSTS))} on the list: {fell}. A hit against the launch of {LAUNCH}: "
        f"-{prices.cut(launch, row(V4_PRO, POSTS))['hit']:.1%}, since its list price had been lowered before. On "
        f"{NOVEMBER} the cut is gone: against the launch misses cost {_change(off['miss'])} off-peak and "
        f"{_change(peak['miss'])} at peak, output {_change(off['output'])} and {_change(peak['output'])}, a hit still "
        f"{_change(off['hit'])} and {_change(peak['hit'])}."
    )
    return Settled(parts, why)


def _plural(kind: str) -> str:
    return {"hit": "hits", "miss": "misses"}.get(kind, "output tokens")


def _change(cut: float) -> str:
    return f"{abs(cut):.0%} {'less' if cut > 0 else 'more'}"


@dataclass(frozen=True)
class ListCut:
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


def mimo_cuts(*kinds: str) -> Iterator[ListCut]:
    """Yield every price of a kind on the old list of MiMo-V2.5, each against the list that followed."""
    for before in catalog.tables().prices:
        if before.product in (MIMO_PRO, MIMO) and before.valid_to and _first_day(before.valid_to) <= POSTS:
            after = row(before.product, POSTS, before.currency)
            for kind, cut in prices.cut(before, after).items():
                if kind in kinds:
                    yield ListCut(before, kind, cut)


def _first_day(moment: date | datetime) -> date:
    return moment.date() if isinstance(moment, datetime) else moment


@settles("price-cut-mimo-max", "prices#what-was-cut-and-by-how-much")
def _price_cut_mimo_max(given: Values) -> Settled:
    cuts = 'each.cut for each in claims.prices.cuts.mimo_cuts("hit", "miss", "output")'
    parts = (
        part("greatest cut of a price", "share", given["share"], f"max({cuts})", 0.005, number="share"),
        part("least cut of a price", "share", given["share"], f"min({cuts})", 0.005, beyond=True, number="share"),
    )
    cells = list(mimo_cuts(*TOKEN_KINDS))
    most = max(cells, key=lambda cell: cell.cut)
    short = [cell.cut for cell in cells if cell.kind == "hit" and cell.before.max_input_tokens]
    reach = sum(round(cell.cut, 2) == round(given["share"], 2) for cell in cells)
    why = (
        f"On {POSTS} the prices fell by {span([cell.cut for cell in cells], '.1%')}. The largest cut is {most.cut:.1%} "
        f"({most.name}), and {reach} of {len(cells)} prices fell by {given['share']:.0%}. A hit of a shorter prompt "
        f"fell by {span(short, '.1%')}. On {NOVEMBER} {MIMO_NOW}, which followed, asks the same: "
        f"{amounts(row(MIMO_NOW, NOW, 'CNY'))} in hit, miss and output."
    )
    return Settled(parts, why, "the figure is the greatest of all cuts, as A to C have it; D and E give it as the cut")


@settles("price-cut-mimo-miss-out", "prices#what-was-cut-and-by-how-much")
def _price_cut_mimo_miss_out(given: Values) -> Settled:
    said, cuts = (given["low"], given["high"]), 'each.cut for each in claims.prices.cuts.mimo_cuts("miss", "output")'
    parts = [
        part(f"{name} cut of a miss or of output", "share", said, f"{call}({cuts})", 1e-6, number="low,high")
        for name, call in (("least", "min"), ("greatest", "max"))
    ]
    cells = list(mimo_cuts("miss", "output"))
    inside = [round(said[0], 9) <= round(cell.cut, 9) <= round(said[1], 9) for cell in cells]
    least, most = (call(cells, key=lambda cell: cell.cut) for call in (min, max))
    less = sum(cell.cut < said[0] for cell, good in zip(cells, inside, strict=True) if not good)
    more = len(cells) - sum(inside) - less
    why = (
        f"On {POSTS}, by both lists and tiers, misses and output fell by "
        f"{span([cell.cut for cell in cells], '.1%')}; {sum(inside)} of {len(cells)} prices by {said[0]:.0%} to "
        f"{said[1]:.0%}. {less} fell less than that and {more} more. The smallest cut is {least.cut:.0%} "
        f"({least.name}), the largest {most.cut:.0%} ({most.name})."
    )
    return Settled(parts, why)


@settles("price-permanent", "prices#sec-prices-november")
def _price_permanent(given: Values) -> Settled:
    held, times = row_call(V4_PRO, JUNE), given["times"]
    rows = [
        (f"price of V4-Pro's {kind} {name} over that of June", f"{row_call(V4_PRO, when)}.{kind} / {held}.{kind}")
        for name, when in (("off-peak", NOW), ("at peak", NOW_PEAK)) for kind in TOKEN_KINDS
    ]  # fmt: skip
    rows += [
        (f"price of output of {now} in {currency} over that of {then} in May",
         f"{row_call(now, NOW, currency)}.output / {row_call(then, POSTS, currency)}.output")
        for then, now in SUCCESSORS for currency in ("USD", "CNY")
    ]  # fmt: skip
    parts = [part(name, "times", times, formula, 0.01, relation="at most", number="times") for name, formula in rows]
    pro, launch = prices.history(V4_PRO, "USD"), row(V4_PRO, LAUNCH)
    cut = next(each for each in pro if each.valid_to and not each.promotion and each.valid_from != launch.valid_from)
    lasted = (_first_day(cut.valid_to or NOVEMBER) - _first_day(cut.valid_from)).days
    off, peak = row(V4_PRO, NOW), row(V4_PRO, NOW_PEAK)
    kept = [days == days_now for days, days_now in _xiaomi_then_and_now()]
    why = (
        f"V4-Pro's prices without an end held from {_first_day(cut.valid_from)} for {lasted} days; since "
        f"{_first_day(off.valid_from)} a hit costs {_times(cut, off, peak, 'hit')}, a miss "
        f"{_times(cut, off, peak, 'miss')} and output {_times(cut, off, peak, 'output')} times as much (off-peak and "
        f"peak). Xiaomi's are the same on {NOVEMBER} for {sum(kept)} of {len(kept)} lists, those of the successors, "
        "since V2.5 itself is no longer sold. What the rise says of cost is an inference, not a fact: the same model "
        "on the same chips was sold for less, and off-peak its input still costs "
        f"{1 - ratio(off.miss, launch.miss):.0%} (miss) and {1 - ratio(off.hit or 0, launch.hit or 0):.0%} (hit) less "
        "than at its launch, which fits scarce capacity better than engineering that did not work."
    )
    return Settled(parts, why)


#: Xiaomi's models of May, and those that took over their lists.
SUCCESSORS = (MIMO_PRO, MIMO_NOW), (MIMO, "mimo-v2.6-flash")


def _xiaomi_then_and_now() -> Iterator[tuple[object, object]]:
    """Yield Xiaomi's prices after the cut and its successors' in November, for each model and currency."""
    for then, now in SUCCESSORS:
        for currency in ("USD", "CNY"):
            yield amounts(row(then, POSTS, currency)), amounts(row(now, NOW, currency))


def _times(before: PriceRow, off: PriceRow, peak: PriceRow, kind: str) -> str:
    old, low, high = (float(getattr(each, kind) or 0) for each in (before, off, peak))
    return f"{ratio(low, old):.2f} and {ratio(high, old):.2f}"


@settles("price-follows-cost", "prices#does-the-august-rise-refute-the-engineering")
def _price_follows_cost(given: Values) -> Settled:
    june, rise = row(V4_PRO, JUNE), row(V4_PRO, AFTER_RISE)
    old, new = row(V4_FLASH, AFTER_RISE), row(FLASH_NOW, NOW)
    tokens, stamp = literal(given["tokens"]), AFTER_RISE.isoformat()
    hits = f"{row_call(FLASH_NOW, NOW)}.hit / {row_call(V4_FLASH, stamp)}.hit"
    parts: list[ClaimPart] = [
        part("bytes that a hit loads, V4.1-Flash over V4-Flash", "times", given["times"],
             f'{literal(given["flash_bytes"])} * {tokens} / arch.load("{V4_FLASH}").kv_bytes({tokens}).total', 0.01,
             relation="at most", number="times"),
        part("price of a hit, V4.1-Flash over V4-Flash", "times", given["times"], hits, 0.01, relation="at most",
             number="times"),
        part("price of V4-Pro's output, August over June, with the same model and chips", "times", given["times"],
             f"{row_call(V4_PRO, stamp)}.output / {row_call(V4_PRO, JUNE)}.output", 0.01, relation="at most",
             beyond=True, number="times"),
    ]  # fmt: skip
    kept = float(arch.load(V4_FLASH).kv_bytes(int(given["tokens"])).total) / int(given["tokens"])
    fell = prices.cut(old, new)
    why = (
        f"Where the model changed the price followed: {FLASH_NOW} keeps {given['flash_bytes']:,.0f} bytes of cache a "
        f"token where {V4_FLASH} kept {kept:,.0f} ({_change(1 - ratio(given['flash_bytes'], kept))}), and off-peak its "
        f"hit cost {_change(fell['hit'])}, a miss {_change(fell['miss'])} and output {_change(fell['output'])}. Where "
        f"it did not change, V4-Pro's output went from ${june.output:g} on {JUNE} to ${rise.output:g} off-peak on "
        f"{_first_day(AFTER_RISE)}, and on {NOVEMBER} it costs {now_of_v4_pro('output')}. Cost is a floor under a "
        "price; demand, capacity and what others ask move the price above it, up as well as down."
    )
    return Settled(parts, why, "there is capacity to spare, so that nothing but cost moves the price")
