"""A submission that is wrong but plausible: each answer makes a mistake that people make.

Each cell below replaces the answer of that name in the solved notebook. POINTS says what the checks
then give; a check that is not named there gives all its points.
"""

import math

import numpy as np

POINTS = {
    "annuity": 0,
    "hours": 0,
    "even": 0,
    "fleet": 0,
    "stored": 0,
    "sequences": 0,
    "servers": 0,
    "decode-price": 0,
    "prefill-price": 0,
    "list": 0,
    "combined": 0,
    "spread": 0,
    "wins": 0,
    "match": 0,
    "vanish": 0,
    "refute-others": 0,
}


# %% annuity-answer
def annuity(paid, left, life, interest):
    """Take what is left off the price today, as if it were paid back at once."""
    if interest == 0:
        return (paid - left) / life
    return (paid - left) * interest / (1 - (1 + interest) ** -life)


# %% hours-answer
def hours(machine):
    """Let the server draw its full power all the time."""
    paid = machine.price * (1 + machine.network)
    yearly = annuity(paid, paid * machine.residual, machine.life, machine.interest)
    yearly += machine.maintenance * machine.price + machine.room * machine.rated_w / 1000 * 12
    hourly = yearly / 8760 + machine.load_w / 1000 * machine.pue * machine.tariff
    return hourly / machine.chips, hourly / machine.chips / machine.utilisation


# %% even-answer
def break_even(fixed, per_use, rent):
    """Take the electricity of all hours for a fixed cost."""
    return (fixed + per_use) / rent


# %% fleet-answer
def to_own(demand, fixed, per_use, rent):
    """Own what is needed on average."""
    return round(sum(demand) / len(demand))


# %% stored-answer
def stored(parameters, bytes_each):
    """Take one width for all."""
    return sum(parameters.values()) * min(bytes_each.values())


# %% sequences-answer
def sequences(memory_bytes, weight_bytes, kept_bytes):
    """Keep 10% of what is left free, not of all memory."""
    return max(0, math.floor(0.9 * (memory_bytes - weight_bytes) / kept_bytes))


# %% servers-answer
def servers(memory_bytes, weight_bytes, kept_bytes):
    """Take any whole number of servers."""
    needed = math.ceil((weight_bytes + kept_bytes) / (0.9 * memory_bytes))
    return needed if needed <= 8 else 0


# %% decode-answer
def decode_price(server, model, context, speed):
    """Take a step as long as the promise allows, not as long as it takes."""
    kept = model.kept_bytes + model.kept_token_bytes * context
    work = model.flops + model.context_flops * context
    room = (0.9 * server.memory_bytes - model.weight_bytes) / kept
    reads = (server.bytes_s / speed - model.weight_bytes) / kept
    batch = math.floor(min(room, reads, server.flops_s / speed / work))
    return server.hourly / 3600 / speed / batch * 1e6 if batch > 0 else math.inf


# %% prefill-answer
def prefill_price(server, model, prompt, ttft_s):
    """Let each token see the whole prompt."""
    work = prompt * (model.flops + model.context_flops * prompt)
    step_s = max(work / server.flops_s, model.weight_bytes / server.bytes_s)
    return server.hourly / 3600 * step_s / prompt * 1e6 if step_s <= ttft_s else math.inf


# %% list-answer
def ranking(prices):
    """Keep those that have no price, at the end."""
    return sorted(prices, key=prices.get)


# %% combined-answer
def combined(sources):
    """Average what the sources say."""
    return tuple(float(np.mean(each)) for each in zip(*sources, strict=True))


# %% spread-answer
def spread(quoted, life, rng, draws):
    """Take the standard deviation."""
    prices, lives = drawn(rng, quoted.price, draws), drawn(rng, life, draws)  # noqa: F821 (the lab's)
    costs = (prices / (8760 * lives) + quoted.running) / quoted.output
    return costs.std() / costs.mean()


# %% wins-answer
def wins(one, other, life, rng, draws):
    """Draw a life for each of them."""
    costs = [
        (drawn(rng, each.price, draws) / (8760 * drawn(rng, life, draws)) + each.running) / each.output  # noqa: F821
        for each in (one, other)
    ]
    return float(np.mean(costs[0] < costs[1]))


# %% match-answer
def match(last, makers):
    """Look at the operators alone, in the table's order of arguments."""
    inner, args = [], last.args
    for op in ("mul", "rsqrt", "add", "mean", "square"):
        value = args[1] if op == "rsqrt" else args[0]
        if value not in makers or makers[value].op != op:
            return None
        inner, args = [value, *inner], makers[value].args
    return args[0], last.args[1], makers[inner[2]].args[1], inner


# %% private-answer
def may_vanish(inner, last, program, outputs):
    """Forget what the caller wants."""
    others = [node for node in program if node.name not in {*inner, last}]
    return not any(arg in inner for node in others for arg in node.args)


# %% refute-answer
def refute(candidate):
    """Try random masks at the usual scale, with as many queries as keys."""
    rng = np.random.default_rng(0)
    for _ in range(10):
        q, k, v = (rng.normal(size=(5, 4)) for _ in range(3))
        inputs = {"q": q, "k": k, "v": v, "mask": rng.normal(size=(5, 5)), "scale": 0.5}
        if differs(candidate, inputs):  # noqa: F821 (the lab's)
            return inputs
    return None
