"""The lab's checks see mistakes that people make, one at a time, and pass what is right in another way."""

import re

import pytest

from costlab import chips
from costlab.catalog.serving import ServingPhase
from labs import course as c

MASKS = "(np.zeros((queries, 6)), causal, bias, bias + causal)"

#: Each mistake: the checks that should see it, and the changes of the solved answer of that name.
WRONG = {
    "payments at the start of the year": (
        "annuity",
        "annuity",
        [("(1 - 1 / grown)", "(1 - 1 / grown) / (1 + interest)")],
    ),
    "the rest at its later value": ("annuity", "annuity", [("paid - left / grown", "paid - left")]),
    "no network": ("hours", "hours", [("machine.price * (1 + machine.network)", "machine.price")]),
    "the network maintained too": (
        "hours",
        "hours",
        [("machine.maintenance * machine.price", "machine.maintenance * paid")],
    ),
    "a rest of the server alone": ("hours", "hours", [("paid * machine.residual", "machine.price * machine.residual")]),
    "no power without work": (
        "hours",
        "hours",
        [("machine.idle_w + machine", "machine"), ("(machine.load_w - machine.idle_w)", "machine.load_w")],
    ),
    "room for what is drawn": ("hours", "hours", [("machine.room * machine.rated_w", "machine.room * machine.load_w")]),
    "a chip's hour without dividing by chips": (
        "hours",
        "hours",
        [("return hourly / machine.chips, hourly / machine.chips", "return hourly, hourly")],
    ),
    "eight chips always": (
        "hours",
        "hours",
        [("return hourly / machine.chips, hourly / machine.chips", "return hourly / 8, hourly / 8")],
    ),
    "a used hour for an owned one": ("hours", "hours", [(" / machine.utilisation\n", " * machine.utilisation\n")]),
    "electricity left out": ("even", "even", [("rent - per_use)", "rent)")]),
    "capped at 1": ("even", "even", [("fixed / (rent - per_use)", "min(1.0, fixed / (rent - per_use))")]),
    "negative instead of never": (
        "even",
        "even",
        [(" if rent > per_use else math.inf", " if rent != per_use else math.inf")],
    ),
    "the peak": ("fleet", "fleet", [("each / len(demand) > even", "each > 0")]),
    "busy hours instead of their share": ("fleet", "fleet", [("each / len(demand)", "each / 8")]),
    "one too few": ("fleet", "fleet", [("range(1, max(demand) + 1)", "range(2, max(demand) + 1)")]),
    "all memory": ("sequences", "sequences", [("0.9 * memory_bytes", "memory_bytes")]),
    "parts of sequences": ("sequences", "sequences", [("math.floor((0.9", "((0.9")]),
    "fewer than none": ("sequences", "sequences", [("max(0, math.floor", "(math.floor")]),
    "the weights on each server": (
        "servers",
        "servers",
        [("weight_bytes, kept_bytes) > 0", "n * weight_bytes, kept_bytes) > 0")],
    ),
    "no place for a sequence": ("servers", "servers", [("weight_bytes, kept_bytes) > 0", "weight_bytes, 1e-9) > 0")]),
    "none is None": ("servers", "servers", [("default=0", "default=None")]),
    "the most servers": ("servers", "servers", [("min(holding", "max(holding")]),
    "a batch beyond memory": ("decode-price", "decode", [("min(room, by_memory", "min(by_memory")]),
    "a batch too slow to read": ("decode-price", "decode", [("min(room, by_memory", "min(room")]),
    "a batch too slow to compute": ("decode-price", "decode", [(", server.flops_s / speed / work))", "))")]),
    "compute and memory one after the other": (
        "decode-price",
        "decode",
        [("max(\n        batch * work / server.flops_s, (", "(\n        batch * work / server.flops_s + (")],
    ),
    "weights for each sequence": (
        "decode-price",
        "decode",
        [("(model.weight_bytes + batch * kept)", "batch * (model.weight_bytes + kept)")],
    ),
    "the price of a thousand tokens": (
        "decode-price",
        "decode",
        [("step_s / batch * 1e6", "step_s / batch * 1e3")],
    ),
    "as much for prompts that do not fit": (
        "prefill-price",
        "prefill",
        [(" or model.weight_bytes + kept > 0.9 * server.memory_bytes", "")],
    ),
    "no limit to the first token": ("prefill-price", "prefill", [("step_s > ttft_s or ", "")]),
    "prompts never read weights": (
        "prefill-price",
        "prefill",
        [("max(work / server.flops_s, model.weight_bytes / server.bytes_s)", "work / server.flops_s")],
    ),
    "the dearest first": ("list", "list", [("key=prices.get", "key=prices.get, reverse=True")]),
    "by name": ("list", "list", [("key=prices.get", "key=lambda name: (prices[name], name)")]),
    "the mean of the values": ("combined", "combined", [("np.median", "np.mean")]),
    "what all agree on": ("combined", "combined", [("min(lows)", "max(lows)"), ("max(highs)", "min(highs)")]),
    "half of the width": ("spread", "spread", [("(high - low) / middle", "(high - low) / 2 / middle")]),
    "in CNY": ("spread", "spread", [("(high - low) / middle", "high - low")]),
    "one life for all draws": ("spread", "spread", [("drawn(rng, life, draws)", "life[1]")]),
    "running costs left out": ("spread", "spread", [(" + quoted.running", "")]),
    "prices that move together": (
        "wins",
        "wins",
        [("drawn(rng, each.price, draws)", "drawn(np.random.default_rng(9), each.price, draws)")],
    ),
    "the wins of the other": ("wins", "wins", [("costs[0] < costs[1]", "costs[0] > costs[1]")]),
    "one order of the last product": ("match", "match", [("both_orders(last.args)", "(last.args,)")]),
    "one order of the inner product": ("match", "match", [("both_orders(makers[unit].args)", "(makers[unit].args,)")]),
    "one order of the sum": ("match", "match", [("both_orders(makers[safe].args)", "(makers[safe].args,)")]),
    "any x": ("match", "match", [(" and makers[sq].args == (x,)", "")]),
    "any axis": ("match", "match", [("axis == -1 and ", "")]),
    "any eps": (
        "match",
        "match",
        [('not is_made_by(ms, "mean") or not isinstance(eps, float)', 'not is_made_by(ms, "mean")')],
    ),
    "an eps of its own": ("match", "match", [("return x, weight, eps,", "return x, weight, 1e-6,")]),
    "outputs forgotten": ("vanish", "private", [("(read | set(outputs))", "read")]),
    "readers forgotten": ("vanish", "private", [("(read | set(outputs))", "set(outputs)")]),
    "never": ("vanish", "private", [("if node.name not in matched ", "")]),
    "causal masks alone": ("refute-bool", "refute", [(MASKS, "(causal,)")]),
    "no unmasked input": ("refute-others", "refute", [(MASKS, "(causal, bias + causal)")]),
    "the usual scale": ("refute-others", "refute", [("(8**-0.5, 0.1)", "(8**-0.5,)")]),
    "small scores": ("refute-others", "refute", [(", (6, 30.0)", "")]),
    "as many queries as keys": ("refute-others", "refute", [(", (1, 1.0)", "")]),
    "everything refused": ("refute-bool refute-others", "refute", [("    return None\n", "    return inputs\n")]),
}

#: Each other way that is right: the checks that should pass, and the changes.
RIGHT = {
    "the annuity as a sum of discounted payments": (
        "annuity hours",
        "annuity",
        [
            (
                "return (paid - left / grown) * interest / (1 - 1 / grown)",
                "back = (1 + interest) ** -life\n    return (paid - left * back) * interest / (1 - back)",
            )
        ],
    ),
    "all numbers of chips tried": (
        "fleet",
        "fleet",
        [
            (
                "return sum(each / len(demand) > even for each in busy)",
                "return min(range(max(demand) + 1), key=lambda n: day_cost(n, demand, fixed, per_use, rent))",
            )
        ],
    ),
    "a NumPy number of chips": (
        "fleet",
        "fleet",
        [("return sum(each", "return np.sum([each"), ("busy)\n    #", "busy])\n    #")],
    ),
    "of equals the larger fleet": ("fleet", "fleet", [("> even", ">= even")]),
    "batches counted up": (
        "decode-price",
        "decode",
        [
            (
                "batch = math.floor(min(room, by_memory, server.flops_s / speed / work))",
                "most = min(by_memory, server.flops_s / speed / work)\n"
                "    batch = max([n for n in range(1, room + 1) if n <= most], default=0)",
            )
        ],
    ),
    "the order of the draws": (
        "spread",
        "spread",
        [
            (
                "prices, lives = drawn(rng, quoted.price, draws), drawn(rng, life, draws)",
                "lives, prices = drawn(rng, life, draws), drawn(rng, quoted.price, draws)",
            )
        ],
    ),
    "a quantile for the median": (
        "combined",
        "combined",
        [("float(np.median(values))", "np.quantile(np.array(values), 0.5)")],
    ),
    "costs compared by NumPy": (
        "wins",
        "wins",
        [("float(np.mean(costs[0] < costs[1]))", "np.less(*costs).sum() / draws")],
    ),
    "inner names as a set": ("match", "match", [("[sq, ms, safe, inv, unit]", "{sq, ms, safe, inv, unit}")]),
    "NumPy's truth": (
        "vanish",
        "private",
        [
            (
                "return not (read | set(outputs)) & set(inner)",
                "return np.logical_not((read | set(outputs)) & set(inner))",
            )
        ],
    ),
    "ALiBi's bias": (
        "refute-bool refute-others",
        "refute",
        [("bias = rng.normal(size=(queries, 6))", "bias = -0.5 * abs(np.arange(queries)[:, None] - np.arange(6))")],
    ),
    "more keys, other widths": (
        "refute-bool refute-others",
        "refute",
        [("(6, 1.0), (1, 1.0), (6, 30.0)", "(3, 2.0), (1, 1.0), (5, 40.0)")],
    ),
}


@pytest.mark.parametrize("mistake", WRONG)
def test_checks_see_a_mistake(mistake: str) -> None:
    checks, answer, changes = WRONG[mistake]
    c.failed(c.cells("chips"), checks, c.given("chips", f"{answer}-answer", changes))


@pytest.mark.parametrize("way", RIGHT)
def test_checks_pass_another_way(way: str) -> None:
    checks, answer, changes = RIGHT[way]
    c.passed(c.cells("chips"), checks, c.given("chips", f"{answer}-answer", changes))


@pytest.mark.parametrize(
    ("phase", "limit", "right"),
    [
        ("decode", {"user_tokens_s": 20}, ["h20", "ascend-910c", "h800", "ascend-910b"]),
        ("prefill", {"ttft_s": 10}, ["h800", "ascend-910c", "ascend-910b", "h20"]),
    ],
)
def test_two_workloads_have_two_rankings(phase: ServingPhase, limit: dict[str, float], right: list[str]) -> None:
    """The chip that writes cheapest reads dearest, by the lab's arithmetic as by costlab's; one holds nothing."""
    names = c.told("chips")
    price = names[f"{phase}_price"]
    prices = {chip: price(each, names["MIMO"], 32768, *limit.values()) for chip, each in names["SERVERS"].items()}
    assert names["ranking"](prices) == right
    for chip in right:
        hour = chips.ChipHour(chip, names["HOURLY"][chip], "CNY", chips=(8,))
        found = chips.token_price("mimo-v2-flash", hour, phase, 32768, basis="roofline", **limit)
        assert isinstance(found, chips.TokenPrice)
        assert prices[chip] == pytest.approx(found.per_million, rel=0.35)


def test_the_model_answer_quotes_what_the_cell_prints(capsys: pytest.CaptureFixture[str]) -> None:
    """Each price and width of the open question's answer stands in the table above it; the rankings are as it says."""
    names = dict(c.told("chips"))
    capsys.readouterr()  # what its cells have printed
    exec(c.cells("chips")["two-sources"], names)
    shown = capsys.readouterr().out
    answer = c.cells("chips")["argument-answer"]
    for number in ("128 to 156", "352 to 430", "128 to 430", "21%", "30%", "32%", "100"):
        assert number in answer
        assert re.search(rf"\b{re.escape(number)}", shown), number
    first, second, both, *h20 = (float(share) for share in re.findall(r"cheaper in +([\d.]+)%", shown))
    assert 20 < first < 80  # an open race
    assert second == 0
    assert both < 1
    assert h20 == [100, 100, 100]
    assert float(re.findall(r"(\d+)% wide", shown)[2]) > 50
