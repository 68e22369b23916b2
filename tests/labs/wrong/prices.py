"""A submission that is wrong but plausible: each answer makes a mistake that people make.

Each cell below replaces the answer of that name in the solved notebook. POINTS says what the checks
then give; a check that is not named there gives all its points.
"""

import math
from datetime import UTC, timedelta, timezone

POINTS = {
    "call": 0,
    "bill": 0,
    "peak": 0,
    "history": 0,
    "even": 0,
    "prefix": 0,
    "fall": 0,
    "touched": 0,
    "border": 0,
    "longest": 0,
    "needed": 0,
}


# %% call-answer
def call_usd(call, price):
    """Bill all input as misses, and the hits and what is written besides."""
    hit, write = (price["miss"] if price[kind] is None else price[kind] for kind in ("hit", "write"))
    amounts = call["input"] * price["miss"] + call["hits"] * hit + call["written"] * write
    return (amounts + call["output"] * price["output"]) / 1e6


# %% bill-answer
def bill(calls, tiers, usd):
    """Choose the tier by what has to be computed."""
    return sum(usd(call, next(p for most, p in tiers if call["input"] - call["hits"] <= most)) for call in calls)


# %% peak-answer
BEIJING = timezone(timedelta(hours=8))


def is_peak(moment, holidays):
    """Read the clock at home."""
    works = moment.weekday() < 5 and moment.date() not in holidays
    return works and (9 <= moment.hour < 12 or 14 <= moment.hour < 18)


# %% history-answer
def usd_at(rows, rates, moment):
    """Take the rates as sorted."""
    yuan = next(price for start, end, price in rows if start <= moment and (end is None or moment < end))
    today = moment.astimezone(UTC).date()
    return yuan / [rate for day, rate in rates if day <= today][-1]


# %% even-answer
def even_rate(hit, miss, write):
    """Count reads for each write."""
    return (write - miss) / (miss - hit)


# %% prefix-answer
def prefix_usd(minutes, tokens, life, hit, write):
    """Count the life from the write on."""
    total, since = 0.0, -math.inf
    for minute in minutes:
        if minute - since <= life:
            total += tokens * hit
        else:
            total, since = total + tokens * write, minute
    return total / 1e6


# %% fall-answer
def bill_fall(before, after, tokens):
    """Average the cuts by tokens."""
    cuts = sum(tokens[cell] * (1 - after[cell] / before[cell]) for cell in tokens)
    return cuts / sum(tokens.values())


# %% touched-answer
def touched(before, after, tokens, claim):
    """Give both shares as shares of the tokens."""
    cells = [cell for cell in tokens if 1 - after[cell] / before[cell] >= claim]
    share = sum(tokens[cell] for cell in cells) / sum(tokens.values())
    return share, share


# %% border-answer
def border(one, two, ratio):
    """Leave out what writing costs."""
    at_zero = one["miss"] - two["miss"] + ratio * (one["output"] - two["output"])
    slope = one["hit"] - one["miss"] - two["hit"] + two["miss"]
    rate = -at_zero / slope if slope else math.nan
    return rate if 0 <= rate <= 1 else math.nan


# %% longest-answer
def longest_ratio(hit, miss, output, saving):
    """Ask for a share of the input's bill."""
    return max(0.0, (miss - hit - saving * miss) / output)


# %% needed-answer
def needed_rate(hit, miss, output, ratio, saving):
    """Forget that a rate ends at 1."""
    return saving * (miss + ratio * output) / (miss - hit)
