"""The lab's checks see mistakes that people make, one at a time, and pass what is right in another way."""

import textwrap
from functools import cache
from typing import Any

import numpy as np
import pytest

from costlab import prices
from labs import course as c

CELLS = {cell.id: cell.source for cell in c.source("prices").cells}
MISSES = 'call["input"] - call["hits"] - call["written"]'
LATEST = "max((day, rate) for day, rate in rates if day <= today)"

#: Each mistake: the check that should see it, and the changes of the solved answer of that name.
WRONG = {
    "hits billed twice": ("call", [(MISSES, 'call["input"] - call["written"]')]),
    "written tokens billed twice": ("call", [(MISSES, 'call["input"] - call["hits"]')]),
    "writing free where it has no price": (
        "call",
        [('price["miss"] if price["write"] is None', '0.0 if price["write"] is None')],
    ),
    "a free hit billed as a miss": ("call", [('price["hit"] is None', 'not price["hit"]')]),
    "no answer": ("call", [('call["output"] * price["output"]', "0")]),
    "prices of a thousand": ("call", [("1e6", "1e3")]),
    "the border is dear": ("bill", [('call["input"] <= most', 'call["input"] < most')]),
    "hits do not count for the tier": ("bill", [('call["input"] <= most', 'call["input"] - call["hits"] <= most')]),
    "the answer counts for the tier": (
        "bill",
        [('call["input"] <= most', 'call["input"] + call.get("output", 0) <= most')],
    ),
    "what is written does not count for the tier": (
        "bill",
        [('call["input"] <= most', 'call["input"] - call.get("written", 0) <= most')],
    ),
    "the last call alone": ("bill", [("total += usd", "total = usd")]),
    "one tier for the log": ("bill", [('if call["input"] <= most', 'if sum(each["input"] for each in calls) <= most')]),
    "the clock at home": ("peak", [("moment.astimezone(BEIJING)", "moment")]),
    "the clock of UTC": ("peak", [("moment.astimezone(BEIJING)", "moment.astimezone(UTC)")]),
    "weekends too": ("peak", [("there.weekday() < 5", "True")]),
    "a Saturday of work": ("peak", [("there.weekday() < 5", "there.weekday() < 6")]),
    "holidays too": ("peak", [("there.date() not in holidays", "True")]),
    "holidays by the date at home": ("peak", [("there.date() not in", "moment.date() not in")]),
    "an hour too many": ("peak", [("there.hour < 12", "there.hour <= 12")]),
    "no lunch": ("peak", [("(9 <= there.hour < 12 or 14 <= there.hour < 18)", "9 <= there.hour < 18")]),
    "the first row that began": ("history", [("start <= moment and (end is None or moment < end)", "start <= moment")]),
    "the end still belongs": ("history", [("moment < end", "moment <= end")]),
    "the start does not": ("history", [("start <= moment", "start < moment"), ("moment < end", "moment <= end")]),
    "multiplied": ("history", [("yuan / rate", "yuan * rate")]),
    "the day at home": ("history", [("moment.astimezone(UTC).date()", "moment.date()")]),
    "the newest rate of all": ("history", [("if day <= today", "")]),
    "the rate before": ("history", [("day <= today", "day < today")]),
    "the last listed": ("history", [(LATEST, "[each for each in rates if each[0] <= today][-1]")]),
    "the highest rate": ("history", [(LATEST, "max(each[::-1] for each in rates if each[0] <= today)[::-1]")]),
    "reads for each write": ("even", [("(write - hit)", "(miss - hit)")]),
    "the share that is written": ("even", [("(write - miss)", "(miss - hit)")]),
    "a fee on top": ("even", [("(write - miss) / (write - hit)", "write / (miss + write - hit)")]),
    "exactly its life is too late": ("prefix", [("gaps <= life", "gaps < life")]),
    "the first call hits": ("prefix", [("(len(minutes) - found)", "(len(gaps) - found)")]),
    "every call writes": ("prefix", [("(len(minutes) - found)", "len(minutes)")]),
    "life from the first write": ("prefix", [("np.diff(minutes)", "np.array(minutes[1:]) - minutes[0]")]),
    "a mean of cuts": ("fall", [("1 - new / old", "np.mean([1 - after[cell] / before[cell] for cell in tokens])")]),
    "what is left": ("fall", [("1 - new / old", "new / old")]),
    "of the new bill": ("fall", [("1 - new / old", "old / new - 1")]),
    "dearer is no cut": ("fall", [("1 - new / old", "max(0.0, 1 - new / old)")]),
    "per cent": ("fall", [("1 - new / old", "100 - 100 * new / old")]),
    "of the new bill's cells": ("touched", [("before[cell] * tokens[cell]", "after[cell] * tokens[cell]")]),
    "cells counted": (
        "touched",
        [("sum(tokens[cell] for cell in cells) / sum(tokens.values())", "len(cells) / len(tokens)")],
    ),
    "fell to, not by": ("touched", [("(1 - claim) * before", "claim * before")]),
    "more than the claim": ("touched", [("after[cell] <= (1", "after[cell] < (1")]),
    "the other way round": ("touched", [("count, sum(", "sum(tokens[cell] for cell in cells), sum(")]),
    "misses for what is written": (
        "cheapest",
        [('price["miss"] if price["write"] is None else price["write"]', 'price["miss"]')],
    ),
    "the answer left out": ("cheapest", [('ratio * price["output"]', "0")]),
    "an answer for new tokens only": ("cheapest", [("+ ratio *", "+ (1 - hit_rate) * ratio *")]),
    "a hit for every token": ("cheapest", [("hit_rate * price", "price")]),
    "the dearest": ("cheapest", [("min(lists", "max(lists")]),
    "a border without fees": (
        "border",
        [('price["miss"] if price["write"] is None else price["write"]', 'price["miss"]')],
    ),
    "a border outside the map": ("border", [("rate if 0 <= rate <= 1 else math.nan", "rate")]),
    "borders pushed in": ("border", [("rate if 0 <= rate <= 1 else math.nan", "min(1.0, max(0.0, rate))")]),
    "the sign of the slope": ("border", [("-at_zero / slope", "at_zero / slope")]),
    "a border of equal lists": ("border", [("return math.nan\n", "return 0.0\n")]),
    "a saving of the input": ("longest", [("(miss - hit) / saving - miss", "miss - hit - saving * miss")]),
    "below nothing": (
        "longest",
        [("max(0.0, ((miss - hit) / saving - miss) / output)", "((miss - hit) / saving - miss) / output")],
    ),
    "what is left of it": ("longest", [("/ saving", "/ (1 - saving)")]),
    "hits for nothing": ("longest", [("(miss - hit)", "miss")]),
    "input alone": ("needed", [("(miss + ratio * output)", "miss")]),
    "more than all": ("needed", [("rate if rate <= 1 else math.nan", "rate")]),
    "all at most": ("needed", [("rate if rate <= 1 else math.nan", "min(rate, 1.0)")]),
    "free hits": ("needed", [("(miss - hit)", "miss")]),
}

#: Each other way that is right: the check that should pass, and the answer.
RIGHT = {
    "single precision": (
        "call",
        """
        def call_usd(call, price):
            listed = [price["miss"] if price[kind] is None else price[kind] for kind in KINDS]
            plain = call["input"] - (call["hits"] + call["written"])
            counts = np.array([call["hits"], plain, call["written"], call["output"]], dtype=np.float32)
            return (counts / np.float32(1e6)) @ np.array(listed, dtype=np.float32)
        """,
    ),
    "savings on a bill of misses": (
        "call",
        """
        def call_usd(call, price):
            total = call["input"] * price["miss"] + call["output"] * price["output"]
            for count, kind in (("hits", "hit"), ("written", "write")):
                if price[kind] is not None:
                    total -= call[count] * (price["miss"] - price[kind])
            return total / 1_000_000
        """,
    ),
    "the tiers from the end": (
        "bill",
        """
        def bill(calls, tiers, usd):
            costs = []
            for call in calls:
                for most, price in reversed(tiers):
                    if call["input"] <= most:
                        chosen = price
                costs.append(usd(call, chosen))
            return np.float32(sum(costs))
        """,
    ),
    "minutes of UTC": (
        "peak",
        """
        def is_peak(moment, holidays):
            there = moment.astimezone(UTC) + timedelta(hours=8)
            minutes = there.hour * 60 + there.minute
            if there.isoweekday() > 5 or there.date() in holidays:
                return 0
            return np.bool_(540 <= minutes < 720 or 840 <= minutes < 1080)
        """,
    ),
    "a table of rates": (
        "history",
        """
        def usd_at(rows, rates, moment):
            began = [row for row in sorted(rows, key=lambda row: row[0]) if row[0] <= moment]
            day, table = moment.astimezone(UTC).date(), dict(rates)
            while day not in table:
                day -= timedelta(days=1)
            return began[-1][2] / np.float32(table[day])
        """,
    ),
    "reads and then their share": (
        "even",
        """
        def even_rate(hit, miss, write):
            reads = (write - miss) / (miss - hit)
            return reads / (1 + reads)
        """,
    ),
    "a loop over the calls": (
        "prefix",
        """
        def prefix_usd(minutes, tokens, life, hit, write):
            until, total = -1.0, 0.0
            for minute in minutes:
                total += tokens / 1e6 * (hit if minute <= until else write)
                until = minute + life
            return total
        """,
    ),
    "weights of the old bill": (
        "fall",
        """
        def bill_fall(before, after, tokens):
            paid = np.array([before[cell] * tokens[cell] for cell in tokens], dtype=np.float32)
            return float(np.average([1 - after[cell] / before[cell] for cell in tokens], weights=paid))
        """,
    ),
    "an array of two": (
        "touched",
        """
        def touched(before, after, tokens, claim):
            was, now, count = (np.array([table[cell] for cell in tokens]) for table in (before, after, tokens))
            fell = (was - now) / was >= claim
            return np.array([count[fell].sum() / count.sum(), (was * count)[fell].sum() / (was * count).sum()])
        """,
    ),
    "costs in a list": (
        "cheapest",
        """
        def cheapest(lists, hit_rate, ratio):
            names, best, least = list(lists), None, math.inf
            for name in names:
                hit, miss, write, output = lists[name].values()
                cost = np.float32(hit_rate * hit + (1 - hit_rate) * (miss if write is None else write) + ratio * output)
                if cost < least:
                    best, least = name, cost
            return best
        """,
    ),
    "two ends of a line": (
        "border",
        """
        def border(one, two, ratio):
            def cost(price, rate):
                new = price["write"] if price["write"] is not None else price["miss"]
                return rate * price["hit"] + (1 - rate) * new + ratio * price["output"]

            none, all_ = (cost(one, rate) - cost(two, rate) for rate in (0, 1))
            if none == all_ or none * all_ > 0:
                return float("nan")
            return np.float64(none / (none - all_))
        """,
    ),
    "the bill that is left": (
        "longest",
        """
        def longest_ratio(hit, miss, output, saving):
            left = 1 - saving  # hit + r output = left (miss + r output)
            ratio = (left * miss - hit) / (output * (1 - left))
            return ratio if ratio > 0 else 0
        """,
    ),
    "the price that is left": (
        "needed",
        """
        def needed_rate(hit, miss, output, ratio, saving):
            before = miss + ratio * output
            input_left = (1 - saving) * before - ratio * output
            rate = (miss - input_left) / (miss - hit)
            return float("nan") if input_left < hit else rate
        """,
    ),
}


@cache
def told() -> dict[str, Any]:
    """What the lab's cells define that an answer or a check may use."""
    names: dict[str, Any] = {}
    for name in ("setup", "some"):
        exec(CELLS[name], names)
    return names


@pytest.mark.parametrize("mistake", WRONG)
def test_checks_see_a_mistake(mistake: str) -> None:
    check, changes = WRONG[mistake]
    names = dict(told())
    exec(c.changed(CELLS[f"{check}-answer"], changes), names)
    c.failed(CELLS, check, names)


@pytest.mark.parametrize("way", RIGHT)
def test_checks_pass_another_way(way: str) -> None:
    check, answer = RIGHT[way]
    names = dict(told(), np=np)
    exec(textwrap.dedent(answer), names)
    c.passed(CELLS, check, names)


def test_the_bill_of_a_log_is_the_package_s() -> None:
    """Reports of wrong bills, each at the tier and the day of its call."""
    names = dict(told())
    for name in ("call-answer", "bill-answer"):
        exec(CELLS[name], names)
    log = [{"input": 278_476, "hits": 7_936, "written": 0, "output": 630}]
    tiers = [
        (272_000, names["listed"]("gpt-5.5", "2026-07-12")),
        (1e9, names["listed"]("gpt-5.5", "2026-07-12", 300_000)),
    ]
    load = prices.Workload(278_476, 630, hit_tokens=7_936)
    right = prices.bill("gpt-5.5", load, "2026-07-12").total
    assert names["bill"](log, tiers, names["call_usd"]) == pytest.approx(right) == pytest.approx(2.741686)
