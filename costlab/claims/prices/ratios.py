"""Ratios between prices and between bills: of one list, of E's own table, of vendors at home and abroad."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from costlab import catalog, prices
from costlab.catalog import PriceRow
from costlab.claims.ledger import MIMO_PRO, V4_PRO, Settled, Values, agrees, graded, ratio, settles
from costlab.claims.prices.days import (
    ARTICLE,
    JUNE,
    NOVEMBER,
    NOW,
    NOW_PEAK,
    POSTS,
    TOKEN_KINDS,
    agent,
    bills_over,
    priced_loads,
    row,
    span,
)

MIMO, V4_FLASH = "mimo-v2.5", "deepseek-v4-flash"
GPT, GPT_NOW = "gpt-5.5", "gpt-6.1-sol"
OPUS_E, OPUS, OPUS_NOW = "claude-opus-4", "claude-opus-4.8", "claude-opus-5.5"
QWEN, QWEN_NOW = "qwen-plus", "qwen3.8-max"
FLAGSHIPS, SMALL = (V4_PRO, MIMO_PRO), (V4_FLASH, MIMO)
SPREADS_NOW = V4_PRO, "deepseek-v4.1-flash", "mimo-v2.6-pro", GPT_NOW, OPUS_NOW


# --- within one list -------------------------------------------------------------------------------------------


@settles("price-miss-over-hit")
def _price_miss_over_hit(given: Values) -> Settled:
    rows = [prices.price_at(key, POSTS, currency="CNY") for key in (MIMO_PRO, MIMO)]
    times = {each.product: each.miss / each.hit for each in rows if each.hit}
    computed = ", ".join(f"{r.miss:g} / {r.hit:g} = {times[r.product]:.3g} for {r.product}" for r in rows if r.hit)
    true = [name for name, found in times.items() if agrees(given["times"], found, 0.01)]
    now = ", ".join(f"{_spread(row(key, NOW)):.3g} for {key}" for key in SPREADS_NOW)
    why = (
        f"True of {', '.join(true) or 'neither'} on {POSTS}, in yuan. It is a property of one list on one day: on "
        f"{NOVEMBER} a miss costs as many hits as follows, by the lists in dollars: {now}"
    )
    return "holds" if rows[0].product in true else "wrong", f"{computed} on {POSTS}", f"{why}."


def _spread(found: PriceRow) -> float:
    return ratio(found.miss, found.hit or 0.0)


@settles("price-hit-shares")
def _price_hit_shares(given: Values) -> Settled:
    products = {"gpt": GPT, "opus": OPUS_E, "qwen": QWEN}
    shares = {key: 1 / _spread(row(product, JUNE)) for key, product in products.items()}
    computed = f"on {JUNE} a hit costs " + ", ".join(
        f"{shares[key]:.0%} of a miss at {products[key]}" for key in products
    )
    now = ", ".join(f"{1 / _spread(row(key, NOW)):.1%} at {key}" for key in (GPT_NOW, OPUS_NOW, QWEN_NOW))
    table = bills_over_article(GPT, V4_PRO)
    lists = bills_over(GPT, V4_PRO, JUNE, priced_loads())
    why = (
        f"E's workloads have many hits, so its table puts {GPT} at {span(table, '.0f')} times {V4_PRO} where the lists "
        f"give {span(lists, '.0f')}. On {NOVEMBER} it is {now}"
    )
    return graded(agrees(given[key], share, 0.05) for key, share in shares.items()), computed, f"{why}."


def bills_over_article(product: str, base: str) -> list[float]:
    """Return what a product costs in units of another one for each of E's workloads, by E's own table in yuan."""
    return [_article(product, load) / _article(base, load) for load in priced_loads()]


def _article(product: str, load: prices.Workload) -> float:
    return prices.bill(product, load, JUNE, currency="CNY", published_by=ARTICLE).total


@settles("price-prompt-reuse")
def _price_prompt_reuse(given: Values) -> Settled:
    shapes = [(f"E's {each.name}", each.input_tokens / each.output_tokens) for each in _scenarios()]
    shapes += [(key, inputs) for key, inputs, _ in _traces()]
    saved = [_saved(row(V4_PRO, JUNE), inputs, 1.0) for _, inputs in shapes]
    reaches = [share >= given["share"] for share in saved]
    real = [(key, _saved(row(V4_PRO, JUNE), inputs, hits)) for key, inputs, hits in _traces()]
    computed = (
        f"on {JUNE}, if every input token of {V4_PRO} hit in place of none, the bill would fall by "
        f"{', '.join(f'{share:.0%} ({name})' for share, (name, _) in zip(saved, shapes, strict=True))}; with the hits "
        f"of the public traces it falls by {', '.join(f'{share:.0%} ({key})' for key, share in real)}"
    )
    inputs = row(V4_PRO, JUNE)
    needed = ratio(given["share"], 1 - ratio(inputs.hit or 0.0, inputs.miss))
    now = [_saved(row(V4_PRO, NOW), inputs, 1.0) for _, inputs in shapes]
    why = (
        f"Hits make input cheaper and leave output as it is. The input alone costs {given['share']:.0%} less from "
        f"{needed:.1%} hits on; the whole bill only where prompts are far longer than answers. On {NOVEMBER} the most "
        f"that hits save at {V4_PRO} is {span(now, '.0%')}, by the same shapes"
    )
    return graded(reaches), computed, f"{why}."


def _scenarios() -> list[catalog.Scenario]:
    return list(catalog.tables().scenarios.values())


def _traces() -> Iterator[tuple[str, float, float]]:
    """Yield the public traces with published lengths and hits: name, input for each output token, share of hits."""
    for key, trace in catalog.tables().traces.items():
        if trace.input_tokens and trace.output_tokens and trace.hit_rate:
            yield key, trace.input_tokens / trace.output_tokens, trace.hit_rate


def _saved(found: PriceRow, inputs: float, hit_rate: float) -> float:
    """Return by which share a bill falls if so many of `inputs` tokens before each output token hit, not none."""
    before, after = (inputs * float(prices.blended_input(found, rate)) + found.output for rate in (0.0, hit_rate))
    return 1 - after / before


# --- between vendors -------------------------------------------------------------------------------------------


@settles("price-725x")
def _price_725x(given: Values) -> Settled:
    ours, cny, theirs = row(V4_PRO, JUNE), row(V4_PRO, JUNE, "CNY"), row(GPT, JUNE)
    table, yuan = (_article_row(product) for product in (GPT, V4_PRO))
    unlike = ratio(theirs.miss, ours.hit or 0.0)
    alike = [ratio(theirs_kind, ours_kind) for theirs_kind, ours_kind in _pairs(theirs, ours)]
    computed = (
        f"on {JUNE}, by the lists in dollars, a miss of {GPT} costs {unlike:,.0f} hits of {V4_PRO}; by E's own table "
        f"{ratio(table.miss, yuan.hit or 0.0):,.0f}, of which {ratio(table.hit or 0.0, yuan.hit or 0.0):,.0f} is hit "
        "against hit"
    )
    then = [[ratio(a, b) for a, b in _pairs(row(GPT_NOW, NOW), row(V4_PRO, when))] for when in (NOW, NOW_PEAK)]
    why = (
        f"A hit loads what a miss computes: by that measure {V4_PRO} is {_spread(ours):.0f} times cheaper than itself. "
        f"Kind against kind {GPT} asks {_words(alike)} times as much. On {NOVEMBER} {GPT_NOW} asks {_words(then[0])} "
        f"times {V4_PRO} off-peak and {_words(then[1])} at peak"
    )
    right = agrees(given["hit"], cny.hit or 0.0, 0.01) and agrees(given["times"], unlike, 0.05)
    return "holds" if right else "wrong", computed, f"{why}."


def _article_row(product: str) -> PriceRow:
    return prices.price_at(product, JUNE, currency="CNY", published_by=ARTICLE)


def _pairs(theirs: PriceRow, ours: PriceRow) -> Iterator[tuple[float, float]]:
    for kind in TOKEN_KINDS:
        yield getattr(theirs, kind) or 0.0, getattr(ours, kind) or 0.0


def _words(times: list[float]) -> str:
    return ", ".join(f"{each:.3g} ({kind})" for each, kind in zip(times, TOKEN_KINDS, strict=True))


@settles("price-50-100x")
def _price_50_100x(given: Values) -> Settled:
    june = {
        tier: [
            times
            for base in products
            for product in (GPT, OPUS)
            for times in bills_over(product, base, JUNE, priced_loads())
        ]
        for tier, products in (("flagship", FLAGSHIPS), ("small", SMALL))
    }
    every = [*june["flagship"], *june["small"]]
    inside = [given["low"] <= times <= given["high"] for times in every]
    computed = (
        f"on {JUNE}, by E's workloads and the lists in dollars, {GPT} and {OPUS} cost {span(june['flagship'], '.1f')} "
        f"times {' or '.join(FLAGSHIPS)}, and {span(june['small'], '.1f')} times {' or '.join(SMALL)}; {sum(inside)} "
        f"of {len(inside)} comparisons are from {given['low']:g} to {given['high']:g}"
    )
    now = [
        bills_over(product, V4_PRO, when, priced_loads()) for when in (NOW, NOW_PEAK) for product in (GPT_NOW, OPUS_NOW)
    ]
    why = (
        "E's factor is reached only if a flagship abroad is set against a small model at home; flagship against "
        f"flagship it is not. On {NOVEMBER} {GPT_NOW} costs {span(now[0], '.1f')} times {V4_PRO} off-peak "
        f"({span(now[2], '.1f')} at peak) and {OPUS_NOW} {span(now[1], '.1f')} ({span(now[3], '.1f')}), writes to "
        "their caches left out. Lists are compared here, not abilities; whether it paid is another claim"
    )
    return graded(inside), computed, f"{why}."


@settles("price-scenarios")
def _price_scenarios(given: Values) -> Settled:
    own = {product: bills_over_article(product, V4_PRO) for product in (GPT, OPUS_E)}
    every = [times for each in own.values() for times in each]
    lists = {product: bills_over(product, V4_PRO, JUNE, priced_loads()) for product in (GPT, OPUS_E, OPUS)}
    computed = f"by E's own table {_each(own)} times {V4_PRO}; by the lists of {JUNE} in dollars {_each(lists)}"
    now = {product: bills_over(product, V4_PRO, NOW, priced_loads()) for product in (GPT_NOW, OPUS_NOW)}
    peak = {product: bills_over(product, V4_PRO, NOW_PEAK, priced_loads()) for product in (GPT_NOW, OPUS_NOW)}
    written = [_written(OPUS_NOW, load) / prices.bill(V4_PRO, load, NOW).total for load in priced_loads()]
    why = (
        f"The code that E prints gives neither end of its range. {OPUS} was the current Opus, the one in E's table was "
        f"about to end. On {NOVEMBER} it is {_each(now)} off-peak and {_each(peak)} at peak; with every miss written "
        f"to the cache {OPUS_NOW} comes to {span(written, '.1f')}, off-peak"
    )
    ends = agrees(given["low"], min(every), 0.03), agrees(given["high"], max(every), 0.03)
    return graded(ends, none="does not follow"), computed, f"{why}."


def _each(times: dict[str, list[float]]) -> str:
    return ", ".join(f"{span(found, '.1f')} ({product})" for product, found in times.items())


def _written(product: str, load: prices.Workload) -> float:
    """Return a bill in which every token that misses is written to the cache."""
    misses = int(load.input_tokens * (1 - load.hit_rate))
    return prices.bill(product, dataclasses.replace(load, write_tokens=misses), NOW).total


@settles("price-qwen")
def _price_qwen(_: Values) -> Settled:
    own = bills_over_article(QWEN, V4_PRO)
    usd = bills_over(QWEN, V4_PRO, JUNE, priced_loads())
    cny = [_yuan(QWEN, load) / _yuan(V4_PRO, load) for load in priced_loads()]
    dearer = [sum(times > 1 for times in each) for each in (own, usd, cny)]
    computed = (
        f"{QWEN} costs {span(own, '.2f')} times {V4_PRO} by E's own table (more in {dearer[0]} of {len(own)} "
        f"workloads), {span(usd, '.2f')} by the lists of {JUNE} in dollars (more in {dearer[1]}), {span(cny, '.2f')} "
        f"by those in yuan (more in {dearer[2]})"
    )
    now = {key: bills_over(key, V4_PRO, NOW, [agent()])[0] for key in (QWEN, QWEN_NOW)}
    why = (
        "E ranks by its row of misses and output and puts the model with the lower row above. On "
        f"{NOVEMBER}, for E's agent, {', '.join(f'{key} costs {times:.2f}' for key, times in now.items())} times "
        f"{V4_PRO}, off-peak and in dollars"
    )
    return graded(each == len(own) for each in dearer), computed, f"{why}."


def _yuan(product: str, load: prices.Workload) -> float:
    return prices.bill(product, load, JUNE, currency="CNY").total
