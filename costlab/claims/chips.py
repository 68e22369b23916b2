"""Claims about chips, settled: cost per TFLOPS, what other chips save, operators that a compiler maps and fuses."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date

from costlab import catalog
from costlab.catalog import ChipRecord, Offer
from costlab.chips import ArticleServer, tflops_cost
from costlab.chips.porting import counted_graphs
from costlab.claims.ledger import V4_PRO, Settled, Values, agrees, graded, ratio, settles

ASCEND, HOPPER, AMPERE = "ascend-910b", "h100-sxm", "a100-80g"
SOLD_THERE = "h20"  # what was sold in China in the place of both
PLACE, PURCHASE_DAY = "China", date(2026, 6, 1)  # of the article's buyer
YEARS, USED_SHARE = 3, 0.7  # of the article, where a claim does not state them again


# --- cost per TFLOPS -------------------------------------------------------------------------------------------


@settles("chip-cost-per-tflops")
def _chip_cost_per_tflops(given: Values) -> Settled:
    names = {"a100": "A100", "h100": "H100", "ascend": "910B"}
    sizes = [given[f"{key}_{what}"] for key in names for what in SIZES]
    if not (min(given["years"], given["used"], *sizes) > 0 and given["chips"] >= 1):
        return "wrong", "no cost follows from these figures", "A price, a size or a time is nothing."
    found = {key: tflops_cost(_server(given, key), given["years"], min(given["used"], 1.0)) for key in names}
    real = {key: cost.per_tflops_hour for key, cost in found.items()}
    listed = ", ".join(f"{real[key]:.4f} on the {name}" for key, name in names.items())
    computed = f"from E's own figures a TFLOPS-hour costs CNY {listed}"
    coded = ", ".join(f"{found[key].as_coded:.2e}" for key in names)
    dearer = ratio(real["ascend"], real["h100"]) - 1
    why = (
        f"What E prints does not come out of its code, which gives {coded}: it divides the price of "
        f"{given['chips']:g} chips by the TFLOPS of a single one, and by the seconds of an hour once too often. In "
        f"right units the 910B is {abs(dearer):.0%} {'dearer' if dearer > 0 else 'cheaper'} than the H100; by the "
        f"printed figures it is {1 - ratio(given['ascend'], given['h100']):.0%} cheaper. Electricity is left out"
    )
    return graded(agrees(given[key], real[key], 0.05) for key in names), computed, f"{why}."


SIZES = ("server", "tflops")


def _server(given: Values, key: str) -> ArticleServer:
    """A server as E's table has it."""
    price, tflops, maintenance = (given[f"{key}_{what}"] for what in (*SIZES, "maintenance"))
    return ArticleServer(price, tflops, maintenance, chips=int(given["chips"]))


@dataclass(frozen=True)
class _World:
    """A 910B as it may be: its variant and its price."""

    name: str  # in words
    per_tflops_hour: float  # CNY


@settles("chip-910b-rank")
def _chip_910b_rank(given: Values) -> Settled:
    of_article = catalog.tables().claims["chip-cost-per-tflops"].numbers
    a100, h100 = (_per_hour(_server(of_article, key)) for key in ("a100", "h100"))
    worlds = list(_worlds(of_article))
    true = [world.per_tflops_hour < a100 and world.per_tflops_hour <= h100 * (1 + given["near"]) for world in worlds]
    least, most = (find(worlds, key=lambda world: world.per_tflops_hour) for find in (min, max))
    computed = (
        f"true of {sum(true)} of {len(worlds)} pairs of variant and price: from CNY {least.per_tflops_hour:.4f} a "
        f"TFLOPS-hour ({least.name}) to {most.per_tflops_hour:.4f} ({most.name}), against {a100:.4f} on the A100 and "
        f"{h100:.4f} on the H100 at E's prices"
    )
    own = _per_hour(_server(of_article, "ascend"))
    why = (
        f"E's {of_article['ascend_tflops']:g} TFLOPS are those of {_variants(of_article['ascend_tflops'])}, its price "
        "is one of several; both decide the rank, and E names neither the variant nor the source. By its own figures "
        f"the 910B comes to {own:.4f}; the ones that it prints contradict its text, since they put the 910B below the "
        f"H100. {_may_order(AMPERE, HOPPER)}"
    )
    return graded(true), computed, f"{why}."


def _worlds(of_article: Values) -> Iterator[_World]:
    """Each variant of the 910B at each price: E's own, and what others paid for a chip, with E's server around it."""
    record = catalog.chip(ASCEND)
    chip, server = (_amount(record, "claim-price", unit) for unit in ("chip", "server"))
    prices = {"E's price": server}
    prices |= {f"CNY {each.amount:,.0f} a card": each.amount * ratio(server, chip) for each in _cards(record)}
    share = ratio(of_article["ascend_maintenance"], of_article["ascend_server"])
    for key, variant in catalog.tables().chips.items():
        if key.startswith(ASCEND):
            for name, price in prices.items():
                built = ArticleServer(price, variant.flops["bf16"] / 1e12, share * price)
                yield _World(f"{variant.name.removeprefix('Huawei Ascend ')}, {name}", _per_hour(built))


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


@settles("chip-40-60")
def _chip_40_60(given: Values) -> Settled:
    savings = dict(_savings())
    inside = [given["low"] <= saved <= given["high"] for saved in savings.values()]
    above = [saved >= given["introduction"] for saved in savings.values()]
    computed = "saved: " + ", ".join(f"{saved:.0%} on {name}" for name, saved in savings.items())
    why = (
        f"{sum(inside)} of {len(inside)} lie between {given['low']:.0%} and {given['high']:.0%}, {sum(above)} reach "
        f"the {given['introduction']:.0%} of the introduction. {_may_order(AMPERE, HOPPER, SOLD_THERE)}. Against the "
        "H20, which was sold there meanwhile, the 910B saves where arithmetic counts, as in prefill, and costs more "
        "where bandwidth does, as in much of decoding: each workload chooses its own chip"
    )
    return graded((*inside, all(above))), computed, f"{why}."


def _savings() -> Iterator[tuple[str, float]]:
    """What a 910B server saves: against those of E by the server and by its TFLOPS, against an H20's by what it has."""
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


@settles("chip-saving")
def _chip_saving(given: Values) -> Settled:
    sums = [_total(given, "abroad_"), _total(given, "")]
    saved, share = sums[0] - sums[1], 1 - ratio(sums[1], sums[0])
    whole = saved * given["servers"]
    tariffs = [ratio(given[f"{where}electricity"], _kwh(given[f"{where}power_w"])) for where in ("abroad_", "")]
    highest = max(_tariffs())
    own = catalog.tables().claims["chip-cost-per-tflops"].numbers
    even = 1 - ratio(sums[1] / own["ascend_tflops"], sums[0] / own["a100_tflops"])
    computed = (
        f"CNY {sums[0]:,.0f} - {sums[1]:,.0f} = {saved:,.0f} a server, {share:.1%}; {whole / 1e9:.3g} billion for "
        f"{given['servers']:,.0f} servers"
    )
    why = (
        f"The total is {ratio(given['saved'], whole):.3g} times what follows: {whole / 1e8:.3g} yi, a hundred million "
        f"each, were printed as billions. The electricity needs CNY {tariffs[0]:.2f} and {tariffs[1]:.2f} a kWh at "
        f"full load, where tariffs in {PLACE} reach {highest:.2f}. The servers do not do the same: for the same "
        f"TFLOPS, by E's figures, {even:.1%} are saved. Model size and queries are arguments that nothing reads"
    )
    parts = [agrees(given["abroad"], sums[0], 0.001), agrees(given["at_home"], sums[1], 0.001)]
    parts += [agrees(given["share"], share, 0.02), agrees(given["saved"], whole, 0.01)]
    parts += [0 < tariff <= highest for tariff in tariffs]
    return graded(parts), computed, f"{why}."


def _total(given: Values, where: str) -> float:
    return sum(given[f"{where}{part}"] for part in ("hardware", "maintenance", "electricity"))


def _kwh(power_w: float) -> float:
    """Energy of a server over E's years, at full load and without cooling, as E counts it."""
    return ArticleServer(1.0, 1.0, 0.0, power_w=power_w).electricity(YEARS, 1.0)


def _tariffs() -> Iterator[float]:
    """What a kWh costs in the buyer's country, in yuan: the most that each source names."""
    for figure in catalog.tables().costs.values():
        if figure.what == "tariff" and figure.place == PLACE and figure.currency:
            rate = catalog.exchange_rate(figure.currency, "CNY", figure.date)
            yield (figure.high or figure.value) * rate


# --- operators -------------------------------------------------------------------------------------------------


@settles("chip-cann-ops")
def _chip_cann_ops(given: Values) -> Settled:
    graphs = [each for each in counted_graphs() if each.model == V4_PRO]
    mapped = [agrees(given["mapped"], n, 0.05) for each in graphs for n in (each.whole_calls, each.operators)]
    fused = [agrees(given["fused"], n, 0.05) for each in graphs for n in (each.whole_matches, each.whole_replaced)]
    computed = "; ".join(
        f"of {each.maker}'s graph {each.whole_calls:,} calls of {each.operators} operators in {each.whole_layers} "
        f"layers; {each.whole_matches:,} times a fused operator took the place of several, {each.whole_replaced:,} "
        "calls"
        for each in graphs
    )
    kinds = sorted(each.operators for each in counted_graphs())
    why = (
        f"E's numbers stand in its code and come back whatever model is named: the file is never opened. As calls "
        f"{given['mapped']:,.0f} would be {ratio(given['mapped'], graphs[0].whole_calls):.0%} of V4-Pro's, though "
        "these are counted with a few of its Sinkhorn steps; as different operators it is far more than the "
        f"{kinds[0]} to {kinds[-1]} of the {len(kinds)} graphs counted here. What is fused depends on the "
        "patterns that one writes"
    )
    return graded((any(mapped), any(fused))), computed, f"{why}."
