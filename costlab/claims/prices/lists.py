"""Rows of price lists as the articles print them, against the lists of their day."""

from __future__ import annotations

from datetime import date

from costlab import catalog, prices
from costlab.catalog import PriceRow
from costlab.claims.ledger import MIMO_PRO, V4_PRO, Settled, Values, agrees, graded, off_by, ratio, settles
from costlab.claims.prices.days import JUNE, NOVEMBER, NOW, POSTS, TOKEN_KINDS, amounts, now_of_v4_pro, row, span

MIMO, MIMO_NOW, V4_FLASH = "mimo-v2.5", "mimo-v2.6-pro", "deepseek-v4-flash"
GPT, GPT_BEFORE, GPT_NOW = "gpt-5.5", "gpt-5.4", "gpt-6.1-sol"
OPUS_E, OPUS, OPUS_NOW = "claude-opus-4", "claude-opus-4.8", "claude-opus-5.5"
QWEN, GLM, GLM_NOW = "qwen-plus", "glm-5", "glm-5.3"
DAY_BEFORE = date(2026, 5, 25)  # Xiaomi's old list
YEAR_BEFORE = "2025-05-27"  # a year before article A; a day alone is its noon, in UTC
YEAR_BEFORE_NIGHT = f"{YEAR_BEFORE}T20:00"  # within the night discount of that year


def _matches(given: Values, found: PriceRow) -> bool:
    """Say whether the claimed prices of hit, miss and output are a row's, to a hundredth."""
    return all(agrees(given[kind], getattr(found, kind) or 0.0, 0.01) for kind in TOKEN_KINDS if kind in given)


@settles("price-v4pro-output")
def _price_v4pro_output(given: Values) -> Settled:
    found = row(V4_PRO, POSTS)
    computed = f"${found.output:g} a million on {POSTS}"
    why = f"So it stood on DeepSeek's list. On {NOVEMBER} output costs {now_of_v4_pro('output')}"
    return "holds" if agrees(given["usd"], found.output, 0.01) else "wrong", computed, f"{why}."


@settles("price-v4pro-row")
def _price_v4pro_row(given: Values) -> Settled:
    found = row(V4_PRO, JUNE, "CNY")
    computed = f"on {JUNE} hit, miss and output cost {amounts(found)}"
    why = f"So DeepSeek's list in yuan has it. On {NOVEMBER} it has {amounts(row(V4_PRO, NOW, 'CNY'))} off-peak"
    return "holds" if _matches(given, found) else "wrong", computed, f"{why}."


@settles("price-mimo-pro-output")
def _price_mimo_pro_output(given: Values) -> Settled:
    usd, cny = row(MIMO_PRO, POSTS), row(MIMO_PRO, POSTS, "CNY")
    old, long = row(MIMO_PRO, DAY_BEFORE), row(MIMO_PRO, DAY_BEFORE, input_tokens=300_000)
    computed = f"on {POSTS} ${usd.output:g} and CNY {cny.output:g} a million"
    why = (
        f"A's figure is the old list's (${old.output:g}, and ${long.output:g} for long prompts), which ended the day "
        f"before; C's is the new one in yuan with a dollar sign. {MIMO_NOW} asks ${row(MIMO_NOW, NOW).output:g} on "
        f"{NOVEMBER}"
    )
    right = agrees(given["usd_a"], usd.output, 0.01), agrees(given["usd_c"], usd.output, 0.01)
    return graded((*right, agrees(given["cny_e"], cny.output, 0.01))), computed, f"{why}."


@settles("price-mimo-pro-row")
def _price_mimo_pro_row(given: Values) -> Settled:
    rows = [row(MIMO_PRO, POSTS, currency) for currency in ("USD", "CNY")]
    computed = f"on {POSTS} hit, miss and output cost {' and '.join(amounts(each) for each in rows)}"
    true = [each.currency for each in rows if _matches(given, each)]
    why = (
        f"The figures are those of {' and '.join(true) or 'neither list'}: E's unit is right, and C's dollars "
        f"overstate the list {span([ratio(given[kind], getattr(rows[0], kind)) for kind in TOKEN_KINDS], '.1f')} "
        f"times. They still hold for {MIMO_NOW} on {NOVEMBER}: {amounts(row(MIMO_NOW, NOW, 'CNY'))}"
    )
    return graded(_matches(given, each) for each in rows), computed, f"{why}."


@settles("price-mimo-row")
def _price_mimo_row(given: Values) -> Settled:
    usd, cny = row(MIMO, POSTS), row(MIMO, POSTS, "CNY")
    computed = f"on {POSTS} hit, miss and output cost {amounts(usd)}, or {amounts(cny)}"
    why = (
        "The list in yuan with a dollar sign"
        if _matches(given, cny)
        else f"As a miss in dollars it is off by {off_by(given['miss'], usd.miss)}"
    )
    return "holds" if _matches(given, usd) else "wrong", computed, f"{why}."


@settles("price-mimo-matches-deepseek")
def _price_mimo_matches_deepseek(_: Values) -> Settled:
    pairs = (MIMO_PRO, V4_PRO), (MIMO, V4_FLASH)
    both = [(row(ours, POSTS, c), row(theirs, POSTS, c)) for ours, theirs in pairs for c in ("USD", "CNY")]
    computed = f"on {POSTS}: " + ", ".join(f"{amounts(a)} against {amounts(b)} ({a.product})" for a, b in both)
    apart = [ratio(getattr(row(V4_PRO, NOW), kind), getattr(row(MIMO_NOW, NOW), kind)) for kind in TOKEN_KINDS]
    why = (
        f"Hit, miss and output agree in both currencies, but for the rounding of a hit. On {NOVEMBER} V4-Pro asks "
        f"{span(apart, '.1f')} times what {MIMO_NOW} does, off-peak"
    )
    return graded(_matches(dict(zip(TOKEN_KINDS, _three(a), strict=True)), b) for a, b in both), computed, f"{why}."


def _three(found: PriceRow) -> tuple[float, float, float]:
    return found.hit or 0.0, found.miss, found.output


@settles("price-qwen-row")
def _price_qwen_row(given: Values) -> Settled:
    tiers = [row(QWEN, JUNE, "CNY", tokens) for tokens in (1, 128_001, 256_001)]
    computed = f"on {JUNE} hit, miss and output cost {', '.join(amounts(each) for each in tiers)}, by length of prompt"
    steady = {amounts(row(QWEN, when, "CNY")) for when in (JUNE, NOW)}
    why = (
        f"E's row is on none of the list's tiers. {'Stable it is' if len(steady) == 1 else 'It moved'}: {QWEN} asks "
        f"{amounts(row(QWEN, NOW, 'CNY'))} for a short prompt on {NOVEMBER}"
    )
    return "holds" if any(_matches(given, each) for each in tiers) else "wrong", computed, f"{why}."


@settles("price-glm-row")
def _price_glm_row(given: Values) -> Settled:
    tiers = [row(GLM, JUNE, "CNY", tokens) for tokens in (1, 32_001)]
    usd = row(GLM, JUNE)
    rises = [ratio(usd.miss, given["miss_before"]) - 1, ratio(usd.output, given["output_before"]) - 1]
    computed = (
        f"on {JUNE} hit, miss and output cost {' or '.join(amounts(each) for each in tiers)}, by length of prompt, and "
        f"{amounts(usd)}; against the model before, misses +{rises[0]:.0%} and output +{rises[1]:.0%}"
    )
    why = (
        f"E's prices are {span([ratio(given['miss'], each.miss) for each in tiers], '.1f')} times the list's for "
        f"misses and {span([ratio(given['output'], each.output) for each in tiers], '.1f')} times for output; the size "
        f"of the rise is about right. On {NOVEMBER} {GLM_NOW} asks {amounts(row(GLM_NOW, NOW))}"
    )
    listed = any(_matches(given, each) for each in tiers)
    return graded((listed, min(rises) <= given["rise"] <= max(rises))), computed, f"{why}."


@settles("price-gpt-hike")
def _price_gpt_hike(given: Values) -> Settled:
    found, before, now = row(GPT, JUNE), row(GPT_BEFORE, JUNE), row(GPT_NOW, NOW)
    computed = f"on {JUNE} {GPT} costs {amounts(found)} (hit, miss, output); {GPT_BEFORE}, before it, {amounts(before)}"
    why = (
        f"A new product at {ratio(found.output, before.output):g} times the price of the one before, which stayed on "
        f"sale. On {NOVEMBER} {GPT_NOW} asks {amounts(now)}, {'less' if now.miss < before.miss else 'more'} than "
        f"{GPT_BEFORE}"
    )
    return "holds" if _matches(given, found) and found.miss > before.miss else "wrong", computed, f"{why}."


@settles("price-opus-hike")
def _price_opus_hike(given: Values) -> Settled:
    found, current = row(OPUS_E, JUNE), row(OPUS, JUNE)
    known = prices.history(OPUS_E)
    raised = any(each.miss < found.miss for each in known)
    computed = (
        f"on {JUNE} {OPUS_E} costs {amounts(found)} (hit, miss, output), as on its first day {known[0].valid_from}; "
        f"{OPUS}, the current one, {amounts(current)}"
    )
    why = (
        f"The row is on the list, and it was not raised: it ended on {known[-1].valid_to}, and its successors cost "
        f"{1 - ratio(current.miss, found.miss):.0%} less. On {NOVEMBER} {OPUS_NOW} asks {amounts(row(OPUS_NOW, NOW))}"
    )
    return graded((_matches(given, found), raised)), computed, f"{why}."


@settles("price-table-fx")
def _price_table_fx(given: Values) -> Settled:
    pairs = [(given[f"{what}_usd"], given[f"{what}_cny"]) for what in ("miss", "output", "opus_miss", "opus_output")]
    rate, now = (prices.exchange_rate("USD", "CNY", when) for when in (JUNE, NOVEMBER))
    used = [ratio(cny, usd) for usd, cny in pairs]
    computed = (
        f"E divides by {span(used, '.2f')} yuan a dollar; the market's rate of {JUNE} is {rate:.4f}, so that "
        + ", ".join(f"${usd:g} are CNY {usd * rate:.0f}" for usd, _ in pairs)
    )
    market = [each for each in catalog.tables().fx if (each.base, each.quote) == ("USD", "CNY")]
    last = max((each.date for each in market if each.rate >= min(used) and not each.claim), default=None)
    why = (
        f"Its rate is {off_by(max(used), rate)} too high at most"
        f"{f', last seen on {last}' if last else ''}, which makes every comparison of a dollar list with a yuan list "
        f"look larger by as much. On {NOVEMBER} the dollar is at {now:.4f}, by the last rate known"
    )
    return graded(agrees(found, rate, 0.02) for found in used), computed, f"{why}."


@settles("price-sub-dollar")
def _price_sub_dollar(given: Values) -> Settled:
    rows = [
        row(product, when) for product in ("deepseek-v3", "deepseek-r1") for when in (YEAR_BEFORE, YEAR_BEFORE_NIGHT)
    ]
    computed = f"on {YEAR_BEFORE} a million output tokens cost " + ", ".join(
        f"${each.output:g} ({each.product}, {'by night' if each.window == 'off-peak' else 'by day'})" for each in rows
    )
    why = (
        f"Both are the large model of that year ({catalog.model('deepseek-v3').published.total} parameters), and "
        "neither is distilled. By day the claim is right of them, at night it is not: the night discount took them "
        "below"
    )
    return graded(each.output >= given["usd"] for each in rows), computed, f"{why}."
