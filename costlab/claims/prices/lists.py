"""Rows of price lists as the articles print them, against the lists of their day."""

from __future__ import annotations

from datetime import date

from costlab import catalog, prices
from costlab.claims.ledger import MIMO_PRO, V4_PRO, Settled, Values, off_by, ratio, settles
from costlab.claims.parts import ClaimPart, literal, part, reading
from costlab.claims.prices.days import (
    JUNE,
    NOVEMBER,
    NOW,
    POSTS,
    TOKEN_KINDS,
    amounts,
    now_of_v4_pro,
    row,
    row_call,
    span,
)

MIMO, MIMO_NOW, V4_FLASH = "mimo-v2.5", "mimo-v2.6-pro", "deepseek-v4-flash"
GPT, GPT_BEFORE, GPT_NOW = "gpt-5.5", "gpt-5.4", "gpt-6.1-sol"
OPUS_E, OPUS, OPUS_NOW = "claude-opus-4", "claude-opus-4.8", "claude-opus-5.5"
QWEN, GLM, GLM_NOW = "qwen-plus", "glm-5", "glm-5.3"
DAY_BEFORE = date(2026, 5, 25)  # Xiaomi's old list
YEAR_BEFORE = "2025-05-27"  # a year before article A; a day alone is its noon, in UTC
YEAR_BEFORE_NIGHT = f"{YEAR_BEFORE}T20:00"  # within the night discount of that year


LIST_OF_MAY = "prices#what-was-cut-and-by-how-much"
CHECKED = "prices#sec-prices-checked"


def _prices(given: Values, call: str, unit: str, of: str = "", other: tuple[str, str] | None = None) -> list[ClaimPart]:
    """The claimed prices of hit, miss and output beside a row's; `other` is a label and the row that it means."""
    return [
        part(f"price of {kind}{of}", f"{unit} per million tokens", given[kind], f"{call}.{kind}", 0.01,
             reading=other and reading(other[0], f"{other[1]}.{kind}"), number=kind)
        for kind in TOKEN_KINDS
        if kind in given
    ]  # fmt: skip


def _raised(given: Values, what: str, formula: str) -> ClaimPart:
    """A rise of a price that should be at least the claim's threshold."""
    return part(what, "share", given["raised"], formula, 0.0, relation="at least", number="raised")


@settles("price-v4pro-output", LIST_OF_MAY)
def _price_v4pro_output(given: Values) -> Settled:
    found = part("price of output", "USD per million tokens", given["usd"], f"{row_call(V4_PRO, POSTS)}.output", 0.01,
                 number="usd")  # fmt: skip
    why = (
        f"DeepSeek's list has ${found.computed:g} a million on {POSTS}. On {NOVEMBER} output costs "
        f"{now_of_v4_pro('output')}."
    )
    return Settled([found], why)


@settles("price-v4pro-row", LIST_OF_MAY)
def _price_v4pro_row(given: Values) -> Settled:
    why = (
        f"On {JUNE} hit, miss and output cost {amounts(row(V4_PRO, JUNE, 'CNY'))} by DeepSeek's list in yuan. On "
        f"{NOVEMBER} it has {amounts(row(V4_PRO, NOW, 'CNY'))} off-peak."
    )
    return Settled(_prices(given, row_call(V4_PRO, JUNE, "CNY"), "CNY"), why)


@settles("price-mimo-pro-output", LIST_OF_MAY)
def _price_mimo_pro_output(given: Values) -> Settled:
    usd, cny = row_call(MIMO_PRO, POSTS), row_call(MIMO_PRO, POSTS, "CNY")
    old = row_call(MIMO_PRO, DAY_BEFORE)
    rows = (
        ("usd_a", "USD", usd, reading(f"of the list that ended on {DAY_BEFORE}", f"{old}.output")),
        ("usd_c", "USD", usd, reading("in yuan", f"{cny}.output")),
        ("cny_e", "CNY", cny, None),
    )
    parts = [
        part(f"price of output, as {number[-1].upper()} says", f"{unit} per million tokens", given[number],
             f"{call}.output", 0.01, reading=other, number=number)
        for number, unit, call, other in rows
    ]  # fmt: skip
    before, long = row(MIMO_PRO, DAY_BEFORE), row(MIMO_PRO, DAY_BEFORE, input_tokens=300_000)
    why = (
        f"On {POSTS} it cost ${row(MIMO_PRO, POSTS).output:g} and CNY {row(MIMO_PRO, POSTS, 'CNY').output:g} a "
        f"million. A's figure is the old list's (${before.output:g}, and ${long.output:g} for long prompts), which "
        "ended just before; C's is the new one in yuan with a dollar sign; E's is right. "
        f"{MIMO_NOW} asks ${row(MIMO_NOW, NOW).output:g} on {NOVEMBER}."
    )
    return Settled(parts, why)


@settles("price-mimo-pro-row", LIST_OF_MAY)
def _price_mimo_pro_row(given: Values) -> Settled:
    usd, cny = row_call(MIMO_PRO, POSTS), row_call(MIMO_PRO, POSTS, "CNY")
    parts = [*_prices(given, usd, "USD", ", as C says", ("in yuan", cny)), *_prices(given, cny, "CNY", ", as E says")]
    rows = [row(MIMO_PRO, POSTS, currency) for currency in ("USD", "CNY")]
    times = [ratio(given[kind], getattr(rows[0], kind)) for kind in TOKEN_KINDS]
    why = (
        f"On {POSTS} hit, miss and output cost {' and '.join(amounts(each) for each in rows)}. E's unit is right, and "
        f"C's dollars overstate the list {span(times, '.1f')} times. The figures still hold for {MIMO_NOW} on "
        f"{NOVEMBER}: {amounts(row(MIMO_NOW, NOW, 'CNY'))}."
    )
    return Settled(parts, why)


@settles("price-mimo-row", LIST_OF_MAY)
def _price_mimo_row(given: Values) -> Settled:
    parts = _prices(given, row_call(MIMO, POSTS), "USD", "", ("in yuan", row_call(MIMO, POSTS, "CNY")))
    usd, cny = row(MIMO, POSTS), row(MIMO, POSTS, "CNY")
    slip = "C prints the list in yuan with a dollar sign" if all(each.misread for each in parts) else "C's is neither"
    why = (
        f"On {POSTS} hit, miss and output cost {amounts(usd)}, or {amounts(cny)}. {slip}, so that a miss is off by "
        f"{off_by(given['miss'], usd.miss)}."
    )
    return Settled(parts, why)


@settles("price-mimo-matches-deepseek", LIST_OF_MAY)
def _price_mimo_matches_deepseek(given: Values) -> Settled:
    parts = [
        part(f"price of {kind} in {currency}, {ours} over {theirs}", "times", given["times"],
             f"{row_call(ours, POSTS, currency)}.{kind} / {row_call(theirs, POSTS, currency)}.{kind}", 0.01,
             number="times")
        for ours, theirs in PAIRS for currency in ("USD", "CNY") for kind in TOKEN_KINDS
    ]  # fmt: skip
    both = [(row(ours, POSTS), row(theirs, POSTS)) for ours, theirs in PAIRS]
    listed = " and ".join(f"{amounts(a)} against {amounts(b)} ({a.product}, {b.product})" for a, b in both)
    farthest = max(parts, key=lambda each: abs((each.computed or 0.0) - 1))
    apart = [ratio(getattr(row(V4_PRO, NOW), kind), getattr(row(MIMO_NOW, NOW), kind)) for kind in TOKEN_KINDS]
    why = (
        f"On {POSTS} the lists in dollars ask for hit, miss and output {listed}. Of all {len(parts)} pairs of prices, "
        f"in dollars and in yuan, the farthest apart is the {farthest.quantity}, at {farthest.computed:.3f} times. On "
        f"{NOVEMBER} V4-Pro asks {span(apart, '.1f')} times what {MIMO_NOW} does, off-peak."
    )
    return Settled(parts, why)


PAIRS = (MIMO_PRO, V4_PRO), (MIMO, V4_FLASH)


@settles("price-qwen-row", CHECKED)
def _price_qwen_row(given: Values) -> Settled:
    tiers = [row(QWEN, JUNE, "CNY", tokens) for tokens in (1, 128_001, 256_001)]
    steady = {amounts(row(QWEN, when, "CNY")) for when in (JUNE, NOW)}
    why = (
        f"On {JUNE} hit, miss and output cost {', '.join(amounts(each) for each in tiers)}, by length of prompt; E's "
        f"row is on none of these tiers. {'Stable it is' if len(steady) == 1 else 'It moved'}: {QWEN} asks "
        f"{amounts(row(QWEN, NOW, 'CNY'))} for a short prompt on {NOVEMBER}."
    )
    return Settled(_prices(given, row_call(QWEN, JUNE, "CNY"), "CNY", " for a short prompt"), why)


@settles("price-glm-row", CHECKED)
def _price_glm_row(given: Values) -> Settled:
    usd, call = row(GLM, JUNE), row_call(GLM, JUNE)
    before = [literal(given[f"{kind}_before"]) for kind in ("miss", "output")]
    parts = [
        *_prices(given, row_call(GLM, JUNE, "CNY"), "CNY", " for a short prompt"),
        part("rise of a miss over the model before, in dollars", "share", given["rise"],
             f"{call}.miss / {before[0]} - 1", 0.05, number="rise"),
    ]  # fmt: skip
    tiers = [row(GLM, JUNE, "CNY", tokens) for tokens in (1, 32_001)]
    rises = [ratio(usd.miss, given["miss_before"]) - 1, ratio(usd.output, given["output_before"]) - 1]
    why = (
        f"On {JUNE} hit, miss and output cost {' or '.join(amounts(each) for each in tiers)}, by length of prompt, and "
        f"{amounts(usd)}. E's prices are {span([ratio(given['miss'], each.miss) for each in tiers], '.1f')} times the "
        f"list's for misses and {span([ratio(given['output'], each.output) for each in tiers], '.1f')} times for "
        f"output. Against the model before, misses rose by {rises[0]:.0%} and output by {rises[1]:.0%}, where E has "
        f"{given['rise']:.0%}. On {NOVEMBER} {GLM_NOW} asks {amounts(row(GLM_NOW, NOW))}."
    )
    return Settled(parts, why)


@settles("price-gpt-hike", LIST_OF_MAY)
def _price_gpt_hike(given: Values) -> Settled:
    found, before, now = row(GPT, JUNE), row(GPT_BEFORE, JUNE), row(GPT_NOW, NOW)
    rise = f"{row_call(GPT, JUNE)}.miss / {row_call(GPT_BEFORE, JUNE)}.miss - 1"
    parts = [*_prices(given, row_call(GPT, JUNE), "USD"), _raised(given, f"rise of a miss over {GPT_BEFORE}", rise)]
    why = (
        f"On {JUNE} {GPT} costs {amounts(found)} (hit, miss, output); {GPT_BEFORE}, before it, {amounts(before)}. It "
        f"is a new product at {ratio(found.output, before.output):g} times the price of the one before, which stayed "
        f"on sale. On {NOVEMBER} {GPT_NOW} asks {amounts(now)}, {'less' if now.miss < before.miss else 'more'} than "
        f"{GPT_BEFORE}."
    )
    return Settled(parts, why)


@settles("price-opus-hike", LIST_OF_MAY)
def _price_opus_hike(given: Values) -> Settled:
    found, current = row(OPUS_E, JUNE), row(OPUS, JUNE)
    known = prices.history(OPUS_E)
    first = f'min(each.miss for each in prices.history("{OPUS_E}"))'
    parts = [
        *_prices(given, row_call(OPUS_E, JUNE), "USD"),
        _raised(given, "rise of a miss over its own first price", f"{row_call(OPUS_E, JUNE)}.miss / {first} - 1"),
    ]
    lowered = 1 - ratio(current.miss, found.miss)
    why = (
        f"On {JUNE} {OPUS_E} costs {amounts(found)} (hit, miss, output), as on its first day {known[0].valid_from}; "
        f"the row is on the list, and it was not raised. It ended on {known[-1].valid_to}, and {OPUS}, the current "
        f"one, asks {amounts(current)}, so that its successors cost {lowered:.0%} less. On {NOVEMBER} {OPUS_NOW} asks "
        f"{amounts(row(OPUS_NOW, NOW))}."
    )
    return Settled(parts, why)


@settles("price-table-fx", CHECKED)
def _price_table_fx(given: Values) -> Settled:
    what = ("miss", "output", "opus_miss", "opus_output")
    rate_call = f'prices.exchange_rate("USD", "CNY", "{JUNE}")'
    parts = [
        part(f"${given[f'{each}_usd']:g} in yuan", "CNY", given[f"{each}_cny"],
             f"{literal(given[f'{each}_usd'])} * {rate_call}", 0.02, number=f"{each}_cny")
        for each in what
    ]  # fmt: skip
    rate, now = (prices.exchange_rate("USD", "CNY", when) for when in (JUNE, NOVEMBER))
    used = [ratio(given[f"{each}_cny"], given[f"{each}_usd"]) for each in what]
    market = [each for each in catalog.tables().fx if (each.base, each.quote) == ("USD", "CNY")]
    last = max((each.date for each in market if each.rate >= min(used) and not each.claim), default=None)
    turned = ", ".join(f"${given[f'{each}_usd']:g} are CNY {given[f'{each}_usd'] * rate:.0f}" for each in what)
    why = (
        f"E divides by {span(used, '.2f')} yuan a dollar; the market's rate of {JUNE} is {rate:.4f}, so that {turned}. "
        f"Its rate is {off_by(max(used), rate)} too high at most{f', last seen on {last}' if last else ''}, which "
        "makes every comparison of a dollar list with a yuan list look larger by as much. On "
        f"{NOVEMBER} the dollar is at {now:.4f}, by the last rate known."
    )
    return Settled(parts, why)


@settles("price-sub-dollar", LIST_OF_MAY)
def _price_sub_dollar(given: Values) -> Settled:
    rows = [
        (product, when, "by night" if when == YEAR_BEFORE_NIGHT else "by day")
        for when in (YEAR_BEFORE, YEAR_BEFORE_NIGHT) for product in ("deepseek-v3", "deepseek-r1")
    ]  # fmt: skip
    parts = [
        part(f"price of output of {product} {name}, a year before", "USD per million tokens", given["usd"],
             f"{row_call(product, when)}.output", 0.0, relation="at least", beyond=name == "by night", number="usd")
        for product, when, name in rows
    ]  # fmt: skip
    listed = ", ".join(
        f"${each.computed:g} ({product}, {name})" for each, (product, _, name) in zip(parts, rows, strict=True)
    )
    printed = catalog.model("deepseek-v3").published
    why = (
        f"On {YEAR_BEFORE} a million output tokens cost {listed}. Both are the large model of that year "
        f"({printed.total if printed else '-'} parameters), and neither is distilled. By day the claim is right of "
        "them, at night it is not: the night discount took them below."
    )
    return Settled(parts, why, "the price of a day hour is meant; a discount by night went below it")
