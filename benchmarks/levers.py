"""All levers together: thousands of draws at once beside one by one, all sets of levers, shares beside all orders.

python benchmarks/levers.py [--quick] [--json FILE]
"""

from __future__ import annotations

import argparse
import itertools
import math
from collections.abc import Iterator, Mapping
from functools import partial

import numpy as np
from peers import Row, beside, best, from_tests, main, timed

from costlab import chips, levers
from costlab.chips.memory import sizes
from costlab.levers import shapley

MODEL, CHIP = "deepseek-v4-pro", "h800"
DRAWS = {False: 2000, True: 20}
#: Who prices a service by trying each deployment with one sequence more, without arrays.
BY_HAND = "Deployment, one batch after another"


def rows(options: argparse.Namespace) -> Iterator[Row]:
    """One service, its draws, the waterfall of a product, and the shares of its levers."""
    few = 1 if options.quick else 5
    service = levers.served(MODEL, CHIP)
    yield one_service(service, few)
    yield of_draws(service, DRAWS[options.quick], few)
    yield of_sets(few, 16 if options.quick else None)
    yield of_orders(few)


def one_service(service: levers.Service, few: int) -> Row:
    """Price a service, its deployments laid out already, beside the scalar sums that a test holds it to."""
    by_hand = from_tests("levers/services.py").by_hand
    seconds = best(partial(levers.token_costs, service), partial(by_hand, service), rounds=few)
    return beside("service", f"the costs of {MODEL}'s tokens on the cheapest deployment", BY_HAND, seconds)


def of_draws(service: levers.Service, count: int, few: int) -> Row:
    """Price draws of all figures in one call, beside a call for each."""
    rng = np.random.default_rng(0)
    drawn = levers.spread_of(service, rng, count).figures

    def each() -> None:
        for i in range(count):
            levers.token_costs(service, {name: values[i] for name, values in drawn.items()})

    ours = best(partial(levers.token_costs, service, drawn), rounds=few)[0]
    return beside("draws", f"{count:,} draws of all figures", "the same call for each draw", (ours, timed(each)[0]))


def of_sets(few: int, most: int | None) -> Row:
    """Price every set of the eight levers, or `most` of them, beside the scalar prices of one set as often."""
    ladder = levers.ladder(MODEL, CHIP)
    sets = list(shapley.sets(ladder.levers))[:most]
    hour = chips.ChipHour(CHIP, 2.0, chips=sizes(CHIP, 256), efficiency=0.4)

    def priced() -> None:
        for _ in sets:
            chips.token_price(MODEL, hour, "decode", 122_260, user_tokens_s=22.0)
            chips.token_price(MODEL, hour, "prefill", 7802, ttft_s=5.0)

    ours = best(lambda: [ladder.costs(found) for found in sets], rounds=few)[0]
    figure, peer = f"all {len(sets)} sets of {MODEL}'s levers", "token_price of both phases, as often"
    return beside("sets", figure, peer, (ours, timed(priced)[0]))


def of_orders(few: int) -> Row:
    """Share a fall among eight levers by sets, beside the mean over every order."""
    names = list(levers.LEVERS)
    rng = np.random.default_rng(0)
    worth = shapley.worths(names, lambda found: float(rng.random()))
    ours = best(partial(shapley.values, worth), rounds=few)[0]
    orders = math.factorial(len(names))
    theirs = timed(partial(by_orders, worth, names))[0]
    return beside("shapley", "Shapley values of eight levers", f"the mean over {orders:,} orders", (ours, theirs))


def by_orders(worth: shapley.Worths, names: list[str]) -> Mapping[str, float]:
    """Return what each lever adds when its turn comes, in the mean over every order."""
    added = dict.fromkeys(names, 0.0)
    for order in itertools.permutations(names):
        before = frozenset[str]()
        for name in order:
            after = before | {name}
            added[name] += worth[after] - worth[before]
            before = after
    return {name: total / math.factorial(len(names)) for name, total in added.items()}


if __name__ == "__main__":
    main(rows, __doc__)
