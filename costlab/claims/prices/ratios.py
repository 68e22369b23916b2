"""Ratios between prices and between bills: of one list, of E's own table, of vendors at home and abroad."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from costlab import catalog, prices
from costlab.catalog import PriceRow
from costlab.checks import pick
from costlab.claims.ledger import MIMO_PRO, V4_PRO, Settled, Values, ratio, settles
from costlab.claims.parts import part, reading
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
    row_call,
    span,
)

MIMO, V4_FLASH = "mimo-v2.5", "deepseek-v4-flash"
GPT, GPT_NOW = "gpt-5.5", "gpt-6.1-sol"
OPUS_E, OPUS, OPUS_NOW = "claude-opus-4", "claude-opus-4.8", "claude-opus-5.5"
QWEN, QWEN_NOW = "qwen-plus", "qwen3.8-max"
FLAGSHIPS, SMALL = (V4_PRO, MIMO_PRO), (V4_FLASH, MIMO)
SPREADS_NOW = V4_PRO, "deepseek-v4.1-flash", "mimo-v2.6-pro", GPT_NOW, OPUS_NOW


# --- within one list -------------------------------------------------------------------------------------------


@settles("price-miss-over-hit", "prices#what-was-cut-and-by-how-much")
def _price_miss_over_hit(given: Values) -> Settled:
    call = row_call(MIMO_PRO, POSTS, "CNY")
    found = part(f"hits that a miss of {MIMO_PRO} costs", "times", given["times"], f"{call}.miss / {call}.hit", 0.01,
                 number="times")  # fmt: skip
    rows = [prices.price_at(key, POSTS, currency="CNY") for key in (MIMO_PRO, MIMO)]
    listed = ", ".join(f"{r.miss:g} / {r.hit:g} = {r.miss / r.hit:.3g} for {r.product}" for r in rows if r.hit)
    now = ", ".join(f"{_spread(row(key, NOW)):.3g} for {key}" for key in SPREADS_NOW)
    why = (
        f"By the lists in yuan it is {listed} on {POSTS}. It is a property of one list on one day: on {NOVEMBER} a "
        f"miss costs as many hits as follows, by the lists in dollars: {now}."
    )
    return Settled([found], why)


def _spread(found: PriceRow) -> float:
    return ratio(found.miss, found.hit or 0.0)


@settles("price-hit-shares", "prices#sec-prices-checked")
def _price_hit_shares(given: Values) -> Settled:
    products = {"gpt": GPT, "opus": OPUS_E, "qwen": QWEN}
    parts = [
        part(f"price of a hit over that of a miss at {product}", "share", given[key],
             f"{row_call(product, JUNE)}.hit / {row_call(product, JUNE)}.miss", 0.05, number=key)
        for key, product in products.items()
    ]  # fmt: skip
    listed = ", ".join(f"{each.computed:.0%} of a miss at {product}" for each, product in
                       zip(parts, products.values(), strict=True))  # fmt: skip
    now = ", ".join(f"{1 / _spread(row(key, NOW)):.1%} at {key}" for key in (GPT_NOW, OPUS_NOW, QWEN_NOW))
    table = bills_over_article(GPT, V4_PRO)
    lists = bills_over(GPT, V4_PRO, JUNE, priced_loads())
    why = (
        f"On {JUNE} a hit costs {listed}, by the lists in dollars. E's workloads have many hits, so its table puts "
        f"{GPT} at {span(table, '.0f')} times {V4_PRO} where the lists give {span(lists, '.0f')}. On {NOVEMBER} it is "
        f"{now}."
    )
    return Settled(parts, why)


def bills_over_article(product: str, base: str) -> list[float]:
    """Return what a product costs in units of another one for each of E's workloads, by E's own table in yuan."""
    return [_article(product, load) / _article(base, load) for load in priced_loads()]


def _article(product: str, load: prices.Workload) -> float:
    return prices.bill(product, load, JUNE, currency="CNY", published_by=ARTICLE).total


@settles("price-prompt-reuse", "prices#what-does-the-hit-rate-do")
def _price_prompt_reuse(given: Values) -> Settled:
    at = "claims.prices.ratios.saved"
    known = dict(_shapes())
    own, trace = "agent", "mooncake-tool-agent"
    rows = (
        ("an agent of a public trace, if all its input hits", f'{at}("{trace}", 1.0)', False),
        ("E's own agent, if all its input hits", f'{at}("{own}", 1.0)', True),
        ("an agent of a public trace, with its own hits",
         f'{at}("{trace}", catalog.tables().traces["{trace}"].hit_rate)', True),
    )  # fmt: skip
    parts = [
        part(f"share of the bill that hits save {name}", "share", given["share"], formula, 0.0, relation="at least",
             beyond=beyond, number="share")
        for name, formula, beyond in rows
    ]  # fmt: skip
    found, listed = row(V4_PRO, JUNE), {key: each.name for key, each in catalog.tables().scenarios.items()}
    here = {name: saved(key, 1.0) for key, name in listed.items()}
    least, most = min(here, key=lambda name: here[name]), max(here, key=lambda name: here[name])
    traced = [saved(key, 1.0) for key in known if key not in listed]
    real = [_saved(found, inputs, hits) for _, inputs, hits in _traces()]
    needed = ratio(given["share"], 1 - ratio(found.hit or 0.0, found.miss))
    now = [_saved(row(V4_PRO, NOW), inputs, 1.0) for inputs in known.values()]
    why = (
        f"On {JUNE}, if every input token of {V4_PRO} hit in place of none, the bill of E's workloads would fall by "
        f"{here[least]:.0%} ({least}) to {here[most]:.0%} ({most}) and that of the public traces by "
        f"{span(traced, '.0%')}; with the hits that these traces have it falls by {span(real, '.0%')}. Hits make input "
        f"cheaper and leave output as it is. The input alone costs {given['share']:.0%} less from {needed:.1%} hits "
        f"on; the whole bill only where prompts are far longer than answers. On {NOVEMBER} the most that hits save at "
        f"{V4_PRO} is {span(now, '.0%')}, by the same shapes."
    )
    return Settled(parts, why, "prompts are far longer than answers, and every token of them hits", sought=True)


def saved(shape: str, hit_rate: float) -> float:
    """Return by which share a bill of V4-Pro falls in June if a share of the input hits in place of none.

    Args:
        shape: key of a workload of E or of a public trace.
        hit_rate: share of input tokens that hit.

    Raises:
        ValueError: an unknown shape.
    """
    return _saved(row(V4_PRO, JUNE), pick(dict(_shapes()), shape, "shape"), hit_rate)


def _shapes() -> Iterator[tuple[str, float]]:
    """Yield E's workloads and the public traces: key, input for each output token."""
    for key, each in catalog.tables().scenarios.items():
        yield key, each.input_tokens / each.output_tokens
    for key, inputs, _ in _traces():
        yield key, inputs


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


@settles("price-725x", "prices#sec-prices-checked")
def _price_725x(given: Values) -> Settled:
    ours, cny = row_call(V4_PRO, JUNE), row_call(V4_PRO, JUNE, "CNY")
    table, yuan = (row_call(product, JUNE, "CNY", by=ARTICLE) for product in (GPT, V4_PRO))
    parts = (
        part("price of a hit of V4-Pro", "CNY per million tokens", given["hit"], f"{cny}.hit", 0.01, number="hit"),
        part(f"hits of V4-Pro that a miss of {GPT} costs", "times", given["times"],
             f"{row_call(GPT, JUNE)}.miss / {ours}.hit", 0.05, number="times",
             reading=reading("hit against hit, by E's own table", f"{table}.hit / {yuan}.hit")),
    )  # fmt: skip
    mine, theirs = row(V4_PRO, JUNE), row(GPT, JUNE)
    own, owned = (_article_row(product) for product in (GPT, V4_PRO))
    alike = [ratio(theirs_kind, ours_kind) for theirs_kind, ours_kind in _pairs(theirs, mine)]
    then = [[ratio(a, b) for a, b in _pairs(row(GPT_NOW, NOW), row(V4_PRO, when))] for when in (NOW, NOW_PEAK)]
    why = (
        f"On {JUNE}, by the lists in dollars, a miss of {GPT} costs {ratio(theirs.miss, mine.hit or 0.0):,.0f} hits of "
        f"{V4_PRO}; by E's own table {ratio(own.miss, owned.hit or 0.0):,.0f}, of which "
        f"{ratio(own.hit or 0.0, owned.hit or 0.0):,.0f} is hit against hit. A hit loads what a miss computes: by "
        f"that measure {V4_PRO} is {_spread(mine):.0f} times cheaper than itself. Kind against kind {GPT} asks "
        f"{_words(alike)} times as much. On {NOVEMBER} {GPT_NOW} asks {_words(then[0])} times {V4_PRO} off-peak and "
        f"{_words(then[1])} at peak."
    )
    return Settled(parts, why)


def _article_row(product: str) -> PriceRow:
    return prices.price_at(product, JUNE, currency="CNY", published_by=ARTICLE)


def _pairs(theirs: PriceRow, ours: PriceRow) -> Iterator[tuple[float, float]]:
    for kind in TOKEN_KINDS:
        yield getattr(theirs, kind) or 0.0, getattr(ours, kind) or 0.0


def _words(times: list[float]) -> str:
    return ", ".join(f"{each:.3g} ({kind})" for each, kind in zip(times, TOKEN_KINDS, strict=True))


@settles("price-50-100x", "prices#sec-prices-checked")
def _price_50_100x(given: Values) -> Settled:
    said = given["low"], given["high"]
    parts = [
        part(f"{name} bill of a flagship abroad over that of a {tier} here, for E's workloads", "times", said,
             f'{call}(claims.prices.ratios.bills_abroad("{tier}"))', 0.05, beyond=tier != "small model",
             number="low,high")
        for tier in ("small model", "flagship") for name, call in (("least", "min"), ("greatest", "max"))
    ]  # fmt: skip
    june = {tier: bills_abroad(tier) for tier in TIERS_HERE}
    every = [times for each in june.values() for times in each]
    inside = [said[0] <= times <= said[1] for times in every]
    now = [
        bills_over(product, V4_PRO, when, priced_loads()) for when in (NOW, NOW_PEAK) for product in (GPT_NOW, OPUS_NOW)
    ]
    why = (
        f"On {JUNE}, by E's workloads and the lists in dollars, {GPT} and {OPUS} cost {span(june['flagship'], '.1f')} "
        f"times {' or '.join(FLAGSHIPS)}, and {span(june['small model'], '.1f')} times {' or '.join(SMALL)}; "
        f"{sum(inside)} of {len(inside)} comparisons are from {said[0]:g} to {said[1]:g}. So E's factor is reached "
        "only if a flagship abroad is set against a small model at home. On "
        f"{NOVEMBER} {GPT_NOW} costs {span(now[0], '.1f')} times {V4_PRO} off-peak ({span(now[2], '.1f')} at peak) "
        f"and {OPUS_NOW} {span(now[1], '.1f')} ({span(now[3], '.1f')}), writes to their caches left out. Lists are "
        "compared here, not abilities."
    )
    return Settled(parts, why, "a flagship abroad is set against a small model at home", sought=True)


TIERS_HERE = {"small model": SMALL, "flagship": FLAGSHIPS}


def bills_abroad(tier: str) -> list[float]:
    """Return what flagships abroad cost in units of Chinese models, for each of E's workloads by the lists of June.

    Args:
        tier: of the Chinese models, "small model" or "flagship".

    Raises:
        ValueError: another tier.
    """
    return [
        times
        for base in pick(TIERS_HERE, tier, "tier")
        for product in (GPT, OPUS)
        for times in bills_over(product, base, JUNE, priced_loads())
    ]


@settles("price-scenarios", "prices#sec-prices-checked")
def _price_scenarios(given: Values) -> Settled:
    table = f'claims.prices.ratios.bills_over_article("{{}}", "{V4_PRO}")'
    every = " + ".join(table.format(product) for product in (GPT, OPUS_E))
    parts = [
        part(f"{name} bill abroad over DeepSeek's, by E's own table", "times", given[number], f"{call}({every})", 0.03,
             number=number)
        for number, name, call in (("low", "least", "min"), ("high", "greatest", "max"))
    ]  # fmt: skip
    own = {product: bills_over_article(product, V4_PRO) for product in (GPT, OPUS_E)}
    lists = {product: bills_over(product, V4_PRO, JUNE, priced_loads()) for product in (GPT, OPUS_E, OPUS)}
    now = {product: bills_over(product, V4_PRO, NOW, priced_loads()) for product in (GPT_NOW, OPUS_NOW)}
    peak = {product: bills_over(product, V4_PRO, NOW_PEAK, priced_loads()) for product in (GPT_NOW, OPUS_NOW)}
    written = [_written(OPUS_NOW, load) / prices.bill(V4_PRO, load, NOW).total for load in priced_loads()]
    why = (
        f"By E's own table its workloads cost {_each(own)} times as much as on {V4_PRO}, so the code that E prints "
        f"gives neither end of its range; by the lists of {JUNE} in dollars they cost {_each(lists)} times as much. "
        f"{OPUS} was the current Opus, the one in E's table was about to end. On {NOVEMBER} the factors are "
        f"{_each(now)} off-peak and {_each(peak)} at peak; with every miss written to the cache {OPUS_NOW} comes to "
        f"{span(written, '.1f')}, off-peak."
    )
    return Settled(parts, why)


def _each(times: dict[str, list[float]]) -> str:
    return ", ".join(f"{span(found, '.1f')} ({product})" for product, found in times.items())


def _written(product: str, load: prices.Workload) -> float:
    """Return a bill in which every token that misses is written to the cache."""
    misses = int(load.input_tokens * (1 - load.hit_rate))
    return prices.bill(product, dataclasses.replace(load, write_tokens=misses), NOW).total


@settles("price-qwen", "prices#sec-prices-checked")
def _price_qwen(given: Values) -> Settled:
    rows = (
        ("by E's own table", f'claims.prices.ratios.bills_over_article("{QWEN}", "{V4_PRO}")'),
        ("by the lists in yuan", f'claims.prices.ratios.bills_in_yuan("{QWEN}", "{V4_PRO}")'),
        ("by the lists in dollars", f'claims.prices.ratios.bills_in_dollars("{QWEN}", "{V4_PRO}")'),
    )
    parts = [
        part(f"least bill of {QWEN} over DeepSeek's, {name}", "times", given["dearer"], f"min({formula})", 0.0,
             relation="at least", number="dearer")
        for name, formula in rows
    ]  # fmt: skip
    own, cny, usd = bills_over_article(QWEN, V4_PRO), bills_in_yuan(QWEN, V4_PRO), bills_in_dollars(QWEN, V4_PRO)
    dearer = [sum(times > 1 for times in each) for each in (own, usd, cny)]
    now = {key: bills_over(key, V4_PRO, NOW, [agent()])[0] for key in (QWEN, QWEN_NOW)}
    why = (
        f"In bills {QWEN} costs {span(own, '.2f')} times {V4_PRO} by E's own table (more in {dearer[0]} of {len(own)} "
        f"workloads), {span(usd, '.2f')} by the lists of {JUNE} in dollars (more in {dearer[1]}), {span(cny, '.2f')} "
        f"by those in yuan (more in {dearer[2]}). E ranks by its row of misses and output and puts the model with the "
        f"lower row above. On {NOVEMBER}, for E's agent, "
        f"{', '.join(f'{key} costs {times:.2f}' for key, times in now.items())} times {V4_PRO}, off-peak and in "
        "dollars."
    )
    return Settled(parts, why)


def bills_in_yuan(product: str, base: str) -> list[float]:
    """Return what a product costs in units of another one for each of E's workloads, by the lists of June in yuan."""
    return [_yuan(product, load) / _yuan(base, load) for load in priced_loads()]


def bills_in_dollars(product: str, base: str) -> list[float]:
    """Return what a product costs in units of another one for each of E's workloads, by those in dollars."""
    return bills_over(product, base, JUNE, priced_loads())


def _yuan(product: str, load: prices.Workload) -> float:
    return prices.bill(product, load, JUNE, currency="CNY").total
