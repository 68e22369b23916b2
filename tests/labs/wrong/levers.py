"""A submission that is wrong but plausible: each answer makes a mistake that people make.

Each cell below replaces the answer of that name in the solved notebook. POINTS says what the checks
then give; a check that is not named there gives all its points.
"""

import itertools
import math

import numpy as np

POINTS = {
    "cost": 0,
    "speed": 0,
    "factors": 0,
    "together": 0,
    "reach": 0,
    "shares": 0,
    "design-inputs": 0,
    "interval": 0,
    "decides": 0,
    "even": 0,
    "list": 0,
}


# %% cost-answer
def token_cost(rent, utilisation, tokens_s):
    """Pay for the hours of work alone."""
    return rent * utilisation / (3600 * tokens_s) * 1e6


# %% speed-answer
def decode_speed(batch, weight_bytes, kept_bytes, flops, bytes_s, flops_s):
    """Read first, then compute."""
    return batch / ((weight_bytes + batch * kept_bytes) / bytes_s + batch * flops / flops_s)


# %% factors-answer
def factors(cost, order):
    """Give each lever the factor that it has alone."""
    return {lever: cost(()) / cost((lever,)) for lever in order}


# %% together-answer
def together(cost, one, two):
    """Compare dollars saved, not factors."""
    saved = [cost(()) - cost(on) for on in ((one, two), (one,), (two,))]
    return saved[0] / (saved[1] + saved[2])


# %% reach-answer
def reach(cost, names, lever):
    """Look at the first and the last turn alone."""
    rest = tuple(name for name in names if name != lever)
    first, last = cost(()) / cost((lever,)), cost(rest) / cost((*rest, lever))
    return min(first, last), max(first, last)


# %% shares-answer
def shares(cost, names):
    """Average factors, which then do not multiply to the whole."""
    orders = list(itertools.permutations(names))
    sums = dict.fromkeys(names, 0.0)
    for order in orders:
        for i, lever in enumerate(order):
            sums[lever] += cost(order[:i]) / cost(order[: i + 1])
    return {lever: total / len(orders) for lever, total in sums.items()}


# %% design-answer
def design():
    """Leave the weights in sixteen bits."""
    sparse = {"n_routed_experts": 384, "num_experts_per_tok": 8, "moe_intermediate_size": 1536}
    return {**START, **sparse, "num_key_value_heads": 4, "hybrid_layer_pattern": ([0] + [1] * 9) * 6}  # noqa: F821 (the lab's)


# %% interval-answer
def interval(cost, ranges, rng, draws):
    """Draw one number for all figures: all of them are high together."""
    turn = rng.random(draws)
    figures = {name: np.interp(turn, (0, 0.5, 1), each) for name, each in ranges.items()}
    return tuple(np.quantile(cost(figures), (0.05, 0.95)))


# %% decides-answer
def decides(cost, ranges):
    """Take the figure that is least known for the one that decides."""
    return sorted(ranges, key=lambda name: ranges[name][2] - ranges[name][0], reverse=True)


# %% even-answer
def break_even(revenue, rented, keeping, at):
    """Let storage get cheaper with use, too."""
    return (rented + keeping) * at / revenue if revenue > 0 else math.inf


# %% list-answer
def price_list(costs, request, margin, hit):
    """Add the margin to the cost."""
    bill = sum(costs[kind] * request[kind] for kind in costs)
    borne = bill - costs["hit"] * request["hit"]
    factor = (bill * (1 + margin) - hit * request["hit"]) / borne
    return {"hit": hit, "miss": factor * costs["miss"], "output": factor * costs["output"]}
