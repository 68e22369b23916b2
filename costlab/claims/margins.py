"""Claims about what is left of a price, settled: revenue at a load beside the rent of the chips."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from costlab import catalog, prices, roofline
from costlab.catalog import PriceRow
from costlab.claims.ledger import MIMO_PRO, Settled, Values, settles
from costlab.claims.parts import literal, part

_CHIP = "h800"  # what DeepSeek's day was served on; the efficiencies come from there
OLD_DAY = "2026-05-20"  # before Xiaomi's cut


@dataclass(frozen=True)
class FullEngines:
    """A kind of traffic on a deployment that runs as full as its memory allows, for each million output tokens."""

    name: str  # whose lengths it has
    batch_per_chip: float  # sequences that decode at once
    cost_usd: float  # rent of the chips
    before_usd: float  # at the list before the cut
    after_usd: float  # at the list after it

    @property
    def margins(self) -> tuple[float, float]:
        """What is paid over the rent, before and after."""
        return self.before_usd / self.cost_usd, self.after_usd / self.cost_usd


@settles("margin-before-cut", "prices#margins-by-who-counts-what")
def _margin_before_cut(given: Values) -> Settled:
    said, sizes = (given["low"], given["high"]), f"{literal(given['chips'])}, {literal(given['hit_rate'])}"
    revenue = f"claims.margins.revenue_over_rent({sizes})"
    load = literal(given["load"])
    rows = [
        (f"{word} revenue over rent at the old list, {at}", f"{call}({revenue}[0]){factor}", beyond)
        for at, factor, beyond in ((f"at {given['load']:.0%} of a full load", f" * {load}", False),
                                   ("with full engines", "", True))
        for word, call in (("least", "min"), ("greatest", "max"))
    ]  # fmt: skip
    found = list(full_engines(given["chips"], given["hit_rate"]))
    parts = [part(name, "times", said, formula if found else 0.0, 0.05, beyond=beyond, number="low,high")
             for name, formula, beyond in rows]  # fmt: skip
    assumption = f"the engines ran at about {given['load']:.0%} of what they can, on {given['chips']:g} {_chip()}"
    if not found:
        return Settled(parts, _no_room(given), assumption)
    before = [each.margins[0] for each in found]
    loads = [(said[0] / margin, said[1] / margin) for margin in before]
    fell = _span([each.before_usd / each.after_usd for each in found], ".1f")
    why = (
        f"At the old list full engines take in {_span(before, '.1f')} times the rent of their {given['chips']:g} "
        f"{_chip()}, at {given['hit_rate']:.0%} hits and the efficiencies of DeepSeek's day; {said[0]:g} to "
        f"{said[1]:g} times at {min(loads)[0]:.0%} to {max(loads)[1]:.0%} of that load. Xiaomi publishes neither its "
        f"costs nor its load. By its old list the same traffic paid {fell} times as much as by the new one, so a "
        f"margin of {said[0]:g} to {said[1]:g} then and none now would need costs that fell too, or engines that now "
        "run fuller."
    )
    return Settled(parts, why, assumption)


@settles("breakeven-after-cut", "prices#margins-by-who-counts-what")
def _breakeven_after_cut(given: Values) -> Settled:
    few, chips, hits = given["chips"] / 2, given["chips"], given["hit_rate"]
    calls = [f"claims.margins.revenue_over_rent({literal(size)}, {literal(hits)})[1]" for size in (few, chips)]
    found, cramped = list(full_engines(chips, hits)), list(full_engines(few, hits))
    rows = ((few, calls[0], cramped), (chips, calls[1], found))
    parts = [
        part(f"mean revenue over rent at the new list, full engines of {size:g} chips", "times", given["even"],
             f"sum({call}) / len({call})" if there else 0.0, 0.1, beyond=size != few, number="even")
        for size, call, there in rows
    ]  # fmt: skip
    assumption = (
        f"few chips serve the model, {few:g} {_chip()} here, so that its weights leave little room for a batch; rent "
        "is the only cost"
    )
    if not found:
        return Settled(parts, _no_room(given), assumption)
    loads = [1 / each.margins[1] for each in found]
    less = f" On {few:g} it is {_span([each.margins[1] for each in cramped], '.2f')} times." if cramped else ""
    why = (
        f"At the new list full engines take in {_span([each.margins[1] for each in found], '.2f')} times the rent of "
        f"their {chips:g} {_chip()} ({_span([each.batch_per_chip for each in found], '.0f')} sequences on each), at "
        f"{hits:.0%} hits and the efficiencies of DeepSeek's day; the rent is earned from {_span(loads, '.0%')} of "
        f"that load on. The batch decides, and with it the room that memory has beside the weights.{less} Staff, "
        f"training, free use and idle hours come on top, and Xiaomi's own figures are not published{_hosts()}."
    )
    return Settled(parts, why, assumption)


def revenue_over_rent(chips: float, hit_rate: float) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return what full engines of MiMo-V2.5-Pro take in over the rent of their chips, for each kind of traffic.

    Args:
        chips: of a deployment.
        hit_rate: share of input tokens that hit.

    Returns:
        by the list before the cut, and by the one after it.
    """
    found = [each.margins for each in full_engines(chips, hit_rate)]
    return tuple(before for before, _ in found), tuple(after for _, after in found)


def _hosts() -> str:
    """Say what others ask who serve the same weights: a bound from above on what that costs them."""
    last = prices.price_at(MIMO_PRO).output
    asked = [each for each in catalog.tables().prices if (each.host_of, each.currency) == (MIMO_PRO, "USD")]
    if not asked:
        return ""
    day = max(each.date for each in asked)
    return (
        f". Who hosts the same weights, which Xiaomi no longer sells, need not lose on them: on {day} {len(asked)} "
        f"hosts ask {_span([each.output / last for each in asked], '.2f')} times that price for output"
    )


def full_engines(chips: float, hit_rate: float) -> Iterator[FullEngines]:
    """Yield MiMo-V2.5-Pro on so many chips with traffic of published lengths, where memory holds it.

    Args:
        chips: of a deployment.
        hit_rate: share of input tokens that hit.
    """
    day, tables = roofline.check_day(), catalog.tables()
    unit = roofline.deployment(MIMO_PRO, _CHIP, max(1, int(chips)))
    rent = prices.chip_rent(_CHIP).amount
    old, new = prices.price_at(MIMO_PRO, OLD_DAY), prices.price_at(MIMO_PRO)
    lengths = [("DeepSeek's day", day.day.input_tokens / day.day.output_tokens, day.day.mean_context)]
    lengths += [
        (key, trace.input_tokens / trace.output_tokens, round(trace.input_tokens + trace.output_tokens / 2))
        for key, trace in tables.traces.items()
        if trace.input_tokens and trace.output_tokens
    ]
    for name, inputs, context in lengths:
        if batch := unit.max_batch(context):
            reading = unit.prefill(context, batch=unit.replicas)
            read_usd = reading.compute_s * unit.usd_per_s(rent) / reading.tokens / day.prefill_mfu * 1e6
            written_usd = unit.usd_per_million(unit.decode(batch, context), rent) / day.decode_efficiency
            cost = inputs * (1 - hit_rate) * read_usd + written_usd
            paid = (_paid(row, inputs, hit_rate) for row in (old, new))
            yield FullEngines(name, batch / unit.chips, cost, *paid)


def _paid(row: PriceRow, inputs: float, hit_rate: float) -> float:
    """Return what a million output tokens and the input before them bring."""
    return inputs * float(prices.blended_input(row, hit_rate)) + row.output


def _no_room(given: Values) -> str:
    return (
        f"No sequence fits: {given['chips']:g} {_chip()} hold nothing beside the weights. Without a request there is "
        "nothing to earn and only rent to pay."
    )


def _chip() -> str:
    return catalog.chip(_CHIP).name


def _span(values: Iterable[float], form: str) -> str:
    found = list(values)
    low, high = format(min(found), form), format(max(found), form)
    return low if low == high else f"{low} to {high}"
