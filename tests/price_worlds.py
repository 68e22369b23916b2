"""For the tests of the ledger: claims about prices with right numbers, and what happens on other markets."""

import dataclasses
from datetime import date

from costlab import catalog, prices

#: For each claim the numbers in whose place the right ones lead to the best verdict; by hand from the lists.
RIGHT = {
    "price-cut-mimo-miss-out": {"low": 0.565, "high": 0.93},  # 1 - 0.435/1 and 1 - 0.28/4
    "price-mimo-pro-output": {"usd_a": 0.87, "usd_c": 0.87},
    "price-mimo-row": {"hit": 0.0028, "miss": 0.14, "output": 0.28},
    "price-sub-dollar": {"usd": 0.55},
    "price-qwen-row": {"hit": 0.16, "miss": 0.8, "output": 2.0},
    "price-glm-row": {"miss": 4.0, "output": 18.0},
    "price-table-fx": {
        f"{what}_cny": usd * 6.7651
        for what, usd in (("miss", 5), ("output", 30), ("opus_miss", 15), ("opus_output", 75))
    },
    "price-hit-shares": {"gpt": 0.1, "opus": 0.1, "qwen": 0.2},
    "price-725x": {"times": 5 / 0.003625},
    "price-50-100x": {"low": 16.0},
    "price-scenarios": {"low": 23.9, "high": 76.0},
    "price-prompt-reuse": {"share": 0.49},
    "price-hike-average": {"low": 0.0},
}
#: Claims that no number makes hold without a condition.
CONDITIONAL = {
    "price-cut-mimo-max", "price-permanent", "price-follows-cost", "price-mimo-pro-row", "price-qwen",
    "price-opus-hike", "price-k-shape",
}  # fmt: skip
#: Where a bound is claimed, only numbers beyond it may change the verdict.
BEYOND = {
    ("price-cut-mimo-miss-out", "low"): (2.0, 10.0, 1e3),
    ("price-cut-mimo-miss-out", "high"): (0.0, 1e-3, 0.5),
    ("price-sub-dollar", "usd"): (2.0, 10.0, 1e3),
    ("price-glm-row", "miss_before"): (2.0, 10.0, 1e3),
    ("price-glm-row", "output_before"): (0.5, 1e-3),
    ("price-50-100x", "low"): (2.0, 10.0, 1e3),
    ("price-50-100x", "high"): (0.0, 1e-3, 0.5),
    ("price-prompt-reuse", "share"): (2.0, 10.0, 1e3),
    ("price-hike-average", "high"): (0.0, 1e-3),
}
#: Numbers on which the verdict does not rest, and why.
FREE = {
    ("price-follows-cost", "tokens"): "bytes a token hardly hang on the length; tested apart",
    ("price-follows-cost", "flash_bytes"): "V4-Pro's rise makes it conditional at best; tested apart",
    ("price-hike-average", "low"): "nothing times any factor is nothing; tested apart",
}

PRICE, HISTORY, RATE, BILL = prices.price_at, prices.history, prices.exchange_rate, prices.bill
TABLES = catalog.tables()
BOOKS = dataclasses.replace(TABLES.margins["minimax-2025"], who="Xiaomi")


def listed(only=None, **changes):
    """Every price is changed, or those of the products whose names begin so: `hit=0.5`, or a function of the row."""

    def price_at(product, *args, **kwargs):
        row = PRICE(product, *args, **kwargs)
        if only and not product.startswith(only):
            return row
        return dataclasses.replace(row, **{name: new(row) if callable(new) else new for name, new in changes.items()})

    return ("costlab.prices.price_at", price_at)


def billed(product, factor):
    """The bills of a product are so many times as large."""

    def bill(key, *args, **kwargs):
        found = BILL(key, *args, **kwargs)
        parts = {part: getattr(found, part) * (factor if key == product else 1) for part in ("hit", "miss", "output")}
        return dataclasses.replace(found, **parts)

    return ("costlab.prices.bill", bill)


def first_list(**outputs):
    """The history of some products has another first price of output."""

    def history(product, *args, **kwargs):
        first, *rest = HISTORY(product, *args, **kwargs)
        output = outputs.get(product.replace("-", "_").replace(".", "_"), first.output)
        return (dataclasses.replace(first, output=output), *rest)

    return ("costlab.prices.history", history)


def raised(product, *args, **kwargs):
    """The history of Claude Opus 4 begins with a lower price."""
    first, *rest = HISTORY(product, *args, **kwargs)
    if product != "claude-opus-4":
        return (first, *rest)
    day = date(2026, 1, 1)
    lower = dataclasses.replace(first, miss=10.0, valid_to=day)
    return (lower, dataclasses.replace(first, valid_from=day), *rest)


#: claim: what is changed around it, the verdict then, and a part of the text that follows.
WORLDS = {
    "price-miss-over-hit": ([listed(miss=3.0, hit=0.025)], "reproduced", "3 / 0.025 = 120 for mimo-v2.5 on"),
    "price-cut-v4pro": ([listed("deepseek-v4-pro-list", output=1.74)], "contradicted", "output -50.0%"),
    "price-cut-mimo-max": ([listed("mimo-v2.5-pro", hit=0.1)], "contradicted", "0 of 21 prices fell by 99%"),
    "price-cut-mimo-miss-out": ([listed("mimo", miss=0.3, output=0.9)], "contradicted", "4 of 14 prices by"),
    "price-permanent": (
        [listed("deepseek-v4-pro", output=0.87)],
        "contradicted",
        "output 1.00 and 1.00 times as much",
    ),
    "price-follows-cost": (
        [listed("deepseek-v4.1-flash", hit=0.014)],
        "contradicted",
        "its hit cost 100% more",
    ),
    "price-v4pro-output": ([listed(output=0.5)], "contradicted", "$0.5 a million on 2026-05-27"),
    "price-v4pro-row": ([listed(miss=1.0)], "contradicted", "CNY 0.025 / 1 / 6"),
    "price-mimo-pro-output": ([listed(output=3.0)], "contradicted", "$3 and CNY 3 a million"),
    "price-mimo-pro-row": ([listed(hit=0.025, miss=3.0, output=6.0)], "reproduced", "overstate the list 1.0 times"),
    "price-mimo-row": (
        [listed(hit=0.02, miss=1.0, output=2.0)],
        "reproduced",
        "cost $0.02 / 1 / 2, or CNY 0.02 / 1 / 2",
    ),
    "price-mimo-matches-deepseek": ([listed("mimo", miss=0.5)], "contradicted", "$0.0036 / 0.5 / 0.87 against"),
    "price-sub-dollar": (
        [listed("deepseek-v3", output=1.2)],
        "reproduced under a stated assumption",
        "$1.2 (deepseek-v3, by night)",
    ),
    "price-qwen-row": ([listed(hit=0.5, miss=2.0, output=6.0)], "reproduced", "cost CNY 0.5 / 2 / 6, CNY 0.5 / 2 / 6"),
    "price-qwen": ([billed("qwen-plus", 4.0)], "reproduced", "3.48 to 4.05 times deepseek-v4-pro by E's own table"),
    "price-glm-row": ([listed("glm-5", miss=25.0, output=50.0)], "contradicted", "CNY 1 / 25 / 50 or CNY"),
    "price-gpt-hike": ([listed("gpt-5.4", miss=5.0)], "contradicted", "gpt-5.4, before it, $0.25 / 5 / 15"),
    "price-opus-hike": (
        [
            listed("claude-opus-4.8", miss=3.0),
            ("costlab.prices.history", raised),
        ],
        "reproduced",
        "its successors cost 80% less",
    ),
    "price-hike-average": (
        [first_list(gpt_5_4=20.0, claude_opus_4_7=15.0, gemini_3_1_pro=8.0, grok_4_20=2.0)],
        "reproduced",
        "OpenAI +50%, Anthropic +67%, Google +50%, xAI +25%: +58% in the mean of",
    ),
    "price-k-shape": (
        [first_list(glm_5=10.0, kimi_k2_5=8.0, claude_opus_4_7=15.0, gemini_3_1_pro=8.0, grok_4_20=2.0)],
        "reproduced",
        "Zhipu -56%, Moonshot AI -50%, OpenAI +100%, Anthropic +67%",
    ),
    "price-table-fx": (
        [("costlab.prices.exchange_rate", lambda *_: 7.25)],
        "reproduced",
        "the market's rate of 2026-06-01 is 7.2500, so that $5 are CNY 36",
    ),
    "price-hit-shares": ([listed(hit=lambda row: row.miss / 2)], "contradicted", "50% of a miss at gpt-5.5"),
    "price-725x": ([listed("deepseek-v4-pro", hit=0.025)], "unit or label error", "a miss of gpt-5.5 costs 200 hits"),
    "price-50-100x": ([billed("gpt-5.5", 0.01)], "contradicted", "cost 0.2 to"),
    "price-scenarios": (
        [billed("claude-opus-4", 87 / 76.02)],
        "contradicted",
        "63.3 to 87.0 (claude-opus-4)",
    ),
    "price-prompt-reuse": (
        [listed("deepseek-v4-pro", output=0.01)],
        "reproduced under a stated assumption",
        "98% (Short chat)",
    ),
    "margin-while-cheap": (
        [("costlab.catalog.tables", lambda: dataclasses.replace(TABLES, margins={"xiaomi": BOOKS}))],
        "reproduced",
        "(1 in the catalog)",
    ),
}
