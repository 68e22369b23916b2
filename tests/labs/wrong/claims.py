"""A submission that is wrong but plausible: each answer makes a mistake that people make.

Each cell below replaces the answer of that name in the solved notebook. POINTS says what the checks
then give; a check that is not named there gives all its points.
"""

from costlab import arch, catalog, prices

POINTS = {
    "amount": 0,
    "tolerance": 0,
    "shares": 0,
    "dollars": 0,
    "verdict": 0,
    "whole": 0,
    "flip": 0,
    "hangs": 0,
    "slip": 0,
    "article-labels": 0,
    "own-flips": 0,
}


# %% amount-answer
def amount(text):
    """Take a unit that is not known for none."""
    import re

    above, _, below = text.partition("/")
    found = re.fullmatch(r"([\d.,]+)\s*(\D*)", above.strip())
    value = float(found[1].replace(",", "")) * UNITS.get(found[2], 1)  # noqa: F821 (the lab's)
    return value / amount(below) if below else value


# %% tolerance-answer
def tolerance(text):
    """Count all zeros as digits."""
    import re

    digits = re.match(r"[\d.,]+", text.split("/")[-1])[0].replace(",", "")
    last = 10.0 ** -len(digits.partition(".")[2])
    return min(0.10, last / 2 / float(digits))


# %% shares-answer
def times_larger(model):
    """Take parameters by those that are active."""
    return arch.load(model).params.total / arch.load(model).params.active


def kept_share(model, other, tokens):
    """Take what a short text leaves for each of its tokens, for any length."""
    return float(arch.load(model).kv_bytes(1).total / arch.load(other).kv_bytes(1).total)


# %% dollars-answer
def dollars(product, kind, day, currency):
    """Trust that the row is in the currency that was asked for."""
    row = prices.price_at(product, day, currency=currency)
    price = prices.hit_price(row) if kind == "hit" else getattr(row, kind)
    return price * prices.exchange_rate(currency, "USD", day)


# %% verdict-answer
def verdict(claimed, computed, tolerance, other=None, assumption=False):
    """Measure the tolerance on the claimed number."""
    low, high = claimed if isinstance(claimed, tuple) else (claimed, claimed)
    if computed is None:
        return UNKNOWN  # noqa: F821 (the lab's)
    if low * (1 - tolerance) <= computed <= high * (1 + tolerance):
        return ASSUMED if assumption else REPRODUCED  # noqa: F821
    if other is not None and low * (1 - tolerance) <= other <= high * (1 + tolerance):
        return UNIT  # noqa: F821
    return CONTRADICTED  # noqa: F821


# %% whole-answer
def whole(verdicts):
    """Keep a claim open as long as one of its numbers is."""
    order = (UNKNOWN, CONTRADICTED, UNIT, ASSUMED, REPRODUCED)  # noqa: F821 (the lab's)
    return min(verdicts, key=order.index)


# %% flip-answer
def nearest_flip(settle, claimed, factors):
    """Measure the distance from 1 by the difference, where 3 is farther than 0.1."""
    changing = [factor for factor in factors if settle(claimed * factor) != settle(claimed)]
    return min(changing, key=lambda factor: abs(factor - 1), default=None)


# %% hangs-answer
def hangs_on(settle, numbers, factors):
    """Change one number after the other and leave them changed."""
    now, found, changed = settle(**numbers), set(), dict(numbers)
    for name in numbers:
        for factor in factors:
            changed[name] = numbers[name] * factor
            if settle(**changed) != now:
                found.add(name)
    return found


# %% slip-answer
def slip(claimed, computed, slips, tolerance):
    """Take the first slip that fits, without asking whether one is needed."""
    for name, factor in slips.items():
        if abs(claimed * factor / computed - 1) <= tolerance:
            return name
    return None


# %% article-answer
def findings():
    """Call everything wrong that is off, without looking for the slip."""
    from costlab import moe

    pro, old = arch.load("deepseek-v4-pro"), arch.load("deepseek-v3.2")
    kept, layer = pro.kv_bytes(1_048_576).total, moe.moe_layer(pro)
    ours, theirs = (prices.price_at(name, "2026-06-02") for name in ("deepseek-v4-pro", "gpt-5.5"))
    bits = 8 * catalog.chip("h800").memory_bandwidth_bytes_s
    numbers = {
        "size": pro.params.total / 1e12,
        "hit": ours.hit,
        "cache": kept / 1e9,
        "tenth": kept / old.kv_bytes(1_048_576).total,
        "answer": ours.output / 1000,
        "rival": theirs.output / ours.output,
        "memory": bits / 1e12,
        "experts": layer.top_k / layer.experts,
    }
    right = ("size", "tenth", "rival")
    found = {key: (each, REPRODUCED if key in right else CONTRADICTED) for key, each in numbers.items()}  # noqa: F821
    return {**found, "training": (None, UNKNOWN)}  # noqa: F821


# %% own-answer
def own():
    """Give a second formula that confirms the claim as well."""
    return {
        "says": "DeepSeek-V3 has 671 billion parameters, 37 billion of them active",
        "source": "arXiv 2412.19437, abstract",
        "date": "2024-12-27",
        "quantity": "parameters",
        "unit": "billion",
        "claimed": 671,
        "tolerance": 0.01,
        "formula": 'arch.load("deepseek-v3").params.total / 1e9',
        "verdict": "reproduced",
        "instead": 'arch.load("deepseek-v3.2").params.total / 1e9',
    }
