"""Claims about chips, settled: cost per TFLOPS, what other chips save, operators that a compiler maps and fuses."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date

from costlab import catalog, checks
from costlab.catalog import ChipRecord, Offer
from costlab.chips import ArticleServer, tflops_cost
from costlab.chips.porting import CountedGraph, counted_graphs
from costlab.claims.ledger import V4_PRO, Settled, Values, ratio, settles
from costlab.claims.parts import literal, part, reading

ASCEND, HOPPER, AMPERE = "ascend-910b", "h100-sxm", "a100-80g"
SOLD_THERE = "h20"  # what was sold in China in the place of both
PLACE, PURCHASE_DAY = "China", date(2026, 6, 1)  # of the article's buyer
YEARS, USED_SHARE = 3, 0.7  # of the article, where a claim does not state them again


# --- cost per TFLOPS -------------------------------------------------------------------------------------------


@settles("chip-cost-per-tflops", "chips#sec-chips-article")
def _chip_cost_per_tflops(given: Values) -> Settled:
    names = {"a100": "A100", "h100": "H100", "ascend": "910B"}
    sizes = [given[f"{key}_{what}"] for key in names for what in SIZES]
    possible = min(given["years"], given["used"], *sizes) > 0 and given["chips"] >= 1
    years, used = literal(given["years"]), literal(min(given["used"], 1.0))
    parts = [
        part(f"cost of a TFLOPS-hour on the {name}, by E's own figures", "CNY per TFLOPS-hour", given[key],
             f"chips.tflops_cost({_call(given, key)}, {years}, {used}).per_tflops_hour" if possible else 0.0, 0.05,
             number=key)
        for key, name in names.items()
    ]  # fmt: skip
    if not possible:
        return Settled(parts, "No cost follows from these figures. A price, a size or a time among them is nothing.")
    found = [tflops_cost(_server(given, key), given["years"], min(given["used"], 1.0)) for key in names]
    real = dict(zip(names, (each.per_tflops_hour for each in found), strict=True))
    listed = ", ".join(f"{real[key]:.4f} on the {name}" for key, name in names.items())
    coded, dearer = ", ".join(f"{each.as_coded:.2e}" for each in found), ratio(real["ascend"], real["h100"]) - 1
    why = (
        f"From E's own prices and sizes a TFLOPS-hour costs CNY {listed}. What E prints does not come out of its code "
        f"either, which gives {coded}: it divides the price of {given['chips']:g} chips by the TFLOPS of a single one, "
        f"and by the seconds of an hour once too often. In right units the 910B is {abs(dearer):.0%} "
        f"{'dearer' if dearer > 0 else 'cheaper'} than the H100; by the printed figures it is "
        f"{1 - ratio(given['ascend'], given['h100']):.0%} cheaper. Electricity is left out."
    )
    return Settled(parts, why)


SIZES = ("server", "tflops")


def _server(given: Values, key: str) -> ArticleServer:
    """A server as E's table has it."""
    price, tflops, maintenance = (given[f"{key}_{what}"] for what in (*SIZES, "maintenance"))
    return ArticleServer(price, tflops, maintenance, chips=int(given["chips"]))


def _call(given: Values, key: str) -> str:
    """The same server, as a formula makes it."""
    sizes = ", ".join(literal(given[f"{key}_{what}"]) for what in (*SIZES, "maintenance"))
    return f"chips.ArticleServer({sizes}, chips={literal(int(given['chips']))})"


@dataclass(frozen=True)
class PricedVariant:
    """A 910B as it may be: its variant and its price."""

    name: str  # in words
    per_tflops_hour: float  # CNY


@settles("chip-910b-rank", "chips#sec-chips-article")
def _chip_910b_rank(given: Values) -> Settled:
    of_article = catalog.tables().claims["chip-cost-per-tflops"].numbers
    cost = {key: f'claims.chips.article_hour("{key}")' for key in ("a100", "h100", "ascend")}
    dearest = "max(each.per_tflops_hour for each in claims.chips.priced_variants())"
    rows = (
        ("910B over A100, by E's own figures", f"{cost['ascend']} / {cost['a100']}", "below", False),
        ("910B over H100, by E's own figures", f"{cost['ascend']} / {cost['h100']}", "near", False),
        ("dearest variant and price of a 910B over A100", f"{dearest} / {cost['a100']}", "below", True),
        ("dearest variant and price of a 910B over H100", f"{dearest} / {cost['h100']}", "near", True),
    )
    parts = [
        part(f"cost of a TFLOPS-hour, {name}", "times", given[number], formula, 0.0, relation="at most", beyond=beyond,
             number=number)
        for name, formula, number, beyond in rows
    ]  # fmt: skip
    a100, h100, own = (article_hour(key) for key in ("a100", "h100", "ascend"))
    worlds = list(priced_variants())
    true = [each.per_tflops_hour <= min(a100 * given["below"], h100 * given["near"]) for each in worlds]
    least, most = (find(worlds, key=lambda world: world.per_tflops_hour) for find in (min, max))
    why = (
        f"It is true of {sum(true)} of {len(worlds)} pairs of variant and price: they cost from CNY "
        f"{least.per_tflops_hour:.4f} a TFLOPS-hour ({least.name}) to {most.per_tflops_hour:.4f} ({most.name}), "
        f"against {a100:.4f} on the A100 and {h100:.4f} on the H100 at E's prices. By E's own figures the 910B comes "
        f"to {own:.4f}, while the ones that it prints put it below the H100. E's {of_article['ascend_tflops']:g} "
        f"TFLOPS are those of {_variants(of_article['ascend_tflops'])}, and E names neither the variant nor the source "
        f"of its price. {_may_order(AMPERE, HOPPER)}."
    )
    return Settled(parts, why, "E's price and TFLOPS of a 910B, which no public source gives")


def article_hour(key: str) -> float:
    """Return what a TFLOPS-hour costs on a server of E's table: "a100", "h100" or "ascend", in yuan."""
    return _per_hour(_server(catalog.tables().claims["chip-cost-per-tflops"].numbers, key))


def priced_variants() -> Iterator[PricedVariant]:
    """Yield each 910B at each price: E's own, and what others paid for a chip, with E's server around it."""
    record, of_article = catalog.chip(ASCEND), catalog.tables().claims["chip-cost-per-tflops"].numbers
    chip, server = (_amount(record, "claim-price", unit) for unit in ("chip", "server"))
    prices = {"E's price": server}
    prices |= {f"CNY {each.amount:,.0f} a card": each.amount * ratio(server, chip) for each in _cards(record)}
    share = ratio(of_article["ascend_maintenance"], of_article["ascend_server"])
    for key, variant in catalog.tables().chips.items():
        if key.startswith(ASCEND):
            for name, price in prices.items():
                built = ArticleServer(price, variant.flops["bf16"] / 1e12, share * price)
                yield PricedVariant(f"{variant.name.removeprefix('Huawei Ascend ')}, {name}", _per_hour(built))


def _variants(tflops: float) -> str:
    """The variants that do so many TFLOPS in either 16-bit format."""
    every = [each for key, each in catalog.tables().chips.items() if key.startswith(ASCEND)]
    names = [_short(each) for each in every if tflops * 1e12 in (each.flops["bf16"], each.flops["fp16"])]
    return " and ".join(names) or "no 910B"


def _per_hour(server: ArticleServer) -> float:
    return tflops_cost(server, YEARS, USED_SHARE).per_tflops_hour


def _cards(record: ChipRecord) -> list[Offer]:
    """What single chips were sold for, in the currency of the claims."""
    return [each for each in record.offers if (each.kind, each.unit, each.currency) == ("price", "chip", "CNY")]


def _amount(record: ChipRecord, kind: str, unit: str) -> float:
    """The latest amount of a kind, for a unit, in yuan."""
    found = [each for each in record.offers if (each.kind, each.unit, each.currency) == (kind, unit, "CNY")]
    return max(found, key=lambda each: each.date).amount


def _may_order(*keys: str) -> str:
    """Say which chips a buyer of the article's place may order on its day."""
    closed = []
    for key in keys:
        supply = catalog.chip(key).buyable(PLACE, PURCHASE_DAY)
        if supply and not supply.buyable:
            closed.append(f"{_short(catalog.chip(key))} since {supply.date}")
    listed = ", ".join(closed[:-1]) + (" and " if len(closed) > 1 else "") + "".join(closed[-1:])
    return f"Not for sale in {PLACE} are {listed}" if closed else f"All of these are for sale in {PLACE}"


def _short(chip: ChipRecord) -> str:
    return chip.name.removeprefix(f"{chip.maker} ").removeprefix("Ascend ").split()[0]


# --- what is saved ---------------------------------------------------------------------------------------------


@settles("chip-40-60", "chips#sec-chips-article")
def _chip_40_60(given: Values) -> Settled:
    said, savings = (given["low"], given["high"]), list(savings_of_910b())
    needed = ("the A100's server", "the H20's server")
    parts = [
        part(f"saved against {name}" if name.endswith("server") else f"saved against the H20 for {name}", "share", said,
             f'dict(claims.chips.savings_of_910b())["{name}"]', 0.01, beyond=name not in needed, number="low,high")
        for name, _ in savings
    ]  # fmt: skip
    most = "max(saved for name, saved in claims.chips.savings_of_910b() if name.endswith('server'))"
    parts.append(part("most that a server saves, as the introduction has it", "share", given["introduction"], most,
                      0.0, relation="at least", number="introduction"))  # fmt: skip
    inside = [said[0] <= saved <= said[1] for _, saved in savings]
    above = [saved >= given["introduction"] for _, saved in savings]
    listed = ", ".join(f"{saved:.0%} on {name}" for name, saved in savings)
    why = (
        f"By prices in the catalog a 910B server saves {listed}. {sum(inside)} of {len(inside)} lie between "
        f"{said[0]:.0%} and {said[1]:.0%}, {sum(above)} reach the {given['introduction']:.0%} of the introduction. "
        f"{_may_order(AMPERE, HOPPER, SOLD_THERE)}. Against the H20, which was sold there meanwhile, the 910B saves "
        "where arithmetic counts, as in prefill, and costs more where bandwidth does, as in much of decoding: each "
        "workload chooses its own chip."
    )
    return Settled(parts, why, "whole servers are compared by their price alone, whatever they do")


def savings_of_910b() -> Iterator[tuple[str, float]]:
    """Yield what a 910B server saves, by name: against E's servers by price, against an H20's by what it has too."""
    own, claims = catalog.chip(ASCEND), catalog.tables().claims["chip-cost-per-tflops"].numbers
    for key, name in (("a100", "the A100"), ("h100", "the H100")):
        yield f"{name}'s server", 1 - ratio(claims["ascend_server"], claims[f"{key}_server"])
    other = catalog.chip(SOLD_THERE)
    times = ratio(claims["ascend_server"], _amount(other, "price", "server"))
    yield "the H20's server", 1 - times
    for name, mine, theirs in (
        ("its BF16 FLOPS", own.flops["bf16"], other.flops["bf16"]),
        ("its bandwidth", own.memory_bandwidth_bytes_s, other.memory_bandwidth_bytes_s),
        ("its memory", own.memory_bytes, other.memory_bytes),
    ):
        yield name, 1 - times * theirs / mine


@settles("chip-saving", "chips#sec-chips-article")
def _chip_saving(given: Values) -> Settled:
    bills = ("hardware", "maintenance", "electricity")
    abroad, home = ("(" + " + ".join(literal(given[f"{where}{bill}"]) for bill in bills) + ")"
                    for where in ("abroad_", ""))  # fmt: skip
    whole = f"({abroad} - {home}) * {literal(given['servers'])}"
    highest = "max(claims.chips.tariffs())"
    parts = [
        part("cost of a server abroad", "CNY", given["abroad"], abroad, 0.001, number="abroad"),
        part("cost of a server at home", "CNY", given["at_home"], home, 0.001, number="at_home"),
        part("share that is saved", "share", given["share"], f"1 - {home} / {abroad}" if _total(given, "abroad_") else
             0.0, 0.02, number="share"),
        part(f"saving of {given['servers']:,.0f} servers", "CNY", given["saved"], whole, 0.01, number="saved",
             reading=reading("yi, a hundred million each, printed as billions", f"{whole} * 1e9 / 1e8")),
        *(
            part(f"price of electricity {name}, beside the highest tariff in {PLACE}", "CNY per kWh",
                 ratio(given[f"{where}electricity"], _kwh(given[f"{where}power_w"])), highest, 0.0, relation="at least",
                 beyond=True, number=f"{where}electricity,{where}power_w")
            for where, name in (("abroad_", "abroad"), ("", "at home"))
        ),
    ]  # fmt: skip
    sums = [_total(given, "abroad_"), _total(given, "")]
    saved = sums[0] - sums[1]
    total = saved * given["servers"]
    rates = [ratio(given[f"{where}electricity"], _kwh(given[f"{where}power_w"])) for where in ("abroad_", "")]
    own = catalog.tables().claims["chip-cost-per-tflops"].numbers
    even = 1 - ratio(sums[1] / own["ascend_tflops"], sums[0] / own["a100_tflops"])
    why = (
        f"CNY {sums[0]:,.0f} - {sums[1]:,.0f} = {saved:,.0f} a server, {1 - ratio(sums[1], sums[0]):.1%}, and "
        f"{total / 1e9:.3g} billion for {given['servers']:,.0f} servers. The total that E prints is "
        f"{ratio(given['saved'], total):.3g} times that: {total / 1e8:.3g} yi, a hundred million each, were printed as "
        f"billions. The electricity needs CNY {rates[0]:.2f} and {rates[1]:.2f} a kWh at full load, where tariffs in "
        f"{PLACE} reach {max(tariffs()):.2f}. And the servers do not do the same: for the same TFLOPS, by E's figures, "
        f"{even:.1%} are saved."
    )
    return Settled(parts, why, "electricity at the price that E's figures give, above any tariff in the catalog")


def _total(given: Values, where: str) -> float:
    return sum(given[f"{where}{part}"] for part in ("hardware", "maintenance", "electricity"))


def _kwh(power_w: float) -> float:
    """Energy of a server over E's years, at full load and without cooling, as E counts it."""
    return ArticleServer(1.0, 1.0, 0.0, power_w=power_w).electricity(YEARS, 1.0)


def tariffs() -> Iterator[float]:
    """Yield what a kWh costs in the buyer's country, in yuan: the most that each source names."""
    for figure in catalog.tables().costs.values():
        if figure.what == "tariff" and figure.place == PLACE and figure.currency:
            rate = catalog.exchange_rate(figure.currency, "CNY", figure.date)
            yield (figure.high or figure.value) * rate


# --- operators -------------------------------------------------------------------------------------------------


@settles("chip-cann-ops", "chips#sec-chips-port")
def _chip_cann_ops(given: Values) -> Settled:
    graph = 'claims.chips.graph_of("costlab")'
    parts = (
        part("calls of operators in V4-Pro's graph", "calls", given["mapped"], f"{graph}.whole_calls", 0.05,
             reading=reading("different operators", f"{graph}.operators"), number="mapped"),
        part("times that a fused operator takes the place of several", "operators", given["fused"],
             f"{graph}.whole_matches", 0.05, reading=reading("calls replaced", f"{graph}.whole_replaced"),
             number="fused"),
    )  # fmt: skip
    graphs = [each for each in counted_graphs() if each.model == V4_PRO]
    kinds = sorted(each.operators for each in counted_graphs())
    counts = "; ".join(
        f"{each.maker}'s graph has {each.whole_calls:,} calls of {each.operators} operators in {each.whole_layers} "
        f"layers, {each.whole_matches:,} times a fused operator takes the place of several ({each.whole_replaced:,} "
        "calls)"
        for each in graphs
    )
    why = (
        f"E's numbers stand in its code and come back whatever model is named: the file is never opened. {counts}. As "
        f"calls {given['mapped']:,.0f} would be {ratio(given['mapped'], graphs[0].whole_calls):.0%} of V4-Pro's, "
        "though these are counted with a few of its Sinkhorn steps; as different operators it is far more than the "
        f"{kinds[0]} to {kinds[-1]} of the {len(kinds)} graphs counted here. What is fused depends on the patterns "
        "that one writes."
    )
    return Settled(parts, why)


def graph_of(maker: str) -> CountedGraph:
    """Return what is counted in V4-Pro's graph as costlab or transformers makes it.

    Raises:
        ValueError: another maker.
    """
    return checks.pick({each.maker: each for each in counted_graphs() if each.model == V4_PRO}, maker, "maker")
