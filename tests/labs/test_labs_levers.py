"""The lab's checks see mistakes that people make, one at a time, and pass what is right in another way."""

import re
import textwrap

import numpy as np
import pytest

from costlab import levers
from labs import course as c

CELLS = c.cells("levers")

SPARSE = '"n_routed_experts": 384,\n        "num_experts_per_tok": 8,\n        "moe_intermediate_size": 1536,'
OWN_LAYERS = '"hybrid_layer_pattern": ([0] + [1] * 9) * 6,'
FEWER_BITS = '"quantization_config": {"quant_method": "fp8"},'
WHOLE = "return both / (cost(()) / cost((one,)) * cost(()) / cost((two,)))"
ORDERS = "list(itertools.permutations(names))"
SHARE = "math.exp(total / len(orders))"
ENDS = "np.quantile(cost(figures), (0.05, 0.95))"
EVEN = "rented * at / (revenue - keeping)"
MEAN = "logs[lever] += math.log(cost(order[:i]) / cost(order[: i + 1]))"
DRAWN = "rng.triangular(*each, draws) if each[0] < each[2] else np.full(draws, each[1])"
DESIGN = "design-rules design-inputs design-output"

#: Each mistake: the checks that should see it, and the changes of the solved answer of that name.
WRONG = {
    "idle hours for nothing": ("cost", "cost", [("(3600 * utilisation * tokens_s)", "(3600 * tokens_s)")]),
    "tokens a minute": ("cost", "cost", [("3600", "60")]),
    "a thousand tokens": ("cost", "cost", [("1e6", "1e3")]),
    "weights for each sequence": (
        "speed",
        "speed",
        [("(weight_bytes + batch * kept_bytes)", "batch * (weight_bytes + kept_bytes)")],
    ),
    "one sequence's work": ("speed", "speed", [("batch * flops / flops_s", "flops / flops_s")]),
    "no arithmetic": ("speed", "speed", [("max(reading, computing)", "reading")]),
    "the tokens of one sequence": ("speed", "speed", [("batch / max", "1 / max")]),
    "dearer for cheaper": ("factors", "factors", [("before / cost(tuple(on))", "cost(tuple(on)) / before")]),
    "factors since the beginning": ("factors", "factors", [("before = cost(tuple(on))", "before = cost(())")]),
    "the factor of both": ("together", "together", [(WHOLE, "return both")]),
    "the other way round": (
        "together",
        "together",
        [(WHOLE, "return cost(()) / cost((one,)) * cost(()) / cost((two,)) / both")],
    ),
    "the told order alone": ("reach", "reach", [("itertools.permutations(names)", "[tuple(names)]")]),
    "orders that begin elsewhere": (
        "reach",
        "reach",
        [("itertools.permutations(names)", "[(*names[i:], *names[:i]) for i in range(len(names))]")],
    ),
    "shares of orders that begin elsewhere": (
        "shares",
        "shares",
        [(ORDERS, "[(*names[i:], *names[:i]) for i in range(len(names))]")],
    ),
    "two orders": ("shares", "shares", [(ORDERS, "[tuple(names), tuple(names)[::-1]]")]),
    "sums of logarithms": ("shares", "shares", [("total / len(orders)", "total")]),
    "logarithms returned": ("shares", "shares", [(SHARE, "total / len(orders)")]),
    "dollars shared": (
        "shares",
        "shares",
        [(MEAN, "logs[lever] += cost(order[:i]) - cost(order[: i + 1])"), (SHARE, "total / len(orders)")],
    ),
    "no sparsity": ("design-inputs", "design", [(SPARSE, "")]),
    "full attention in all layers": ("design-inputs design-output", "design", [(OWN_LAYERS, "")]),
    "sixteen bits": ("design-inputs", "design", [(FEWER_BITS, "")]),
    "a small model": (DESIGN, "design", [('"n_routed_experts": 384', '"n_routed_experts": 128')]),
    "too few active": (DESIGN, "design", [('"num_experts_per_tok": 8', '"num_experts_per_tok": 2')]),
    "windows in all layers": (DESIGN, "design", [(OWN_LAYERS, '"hybrid_layer_pattern": [1] * 60,')]),
    "few layers": (
        DESIGN,
        "design",
        [
            (OWN_LAYERS, '"hybrid_layer_pattern": [0, 1, 1, 1, 1] * 8,'),
            ("**START,", '**START, "num_hidden_layers": 40, "moe_layer_freq": [0] + [1] * 39, "hidden_size": 7680,'),
        ],
    ),
    "short texts": (DESIGN, "design", [(FEWER_BITS, FEWER_BITS + '"max_position_embeddings": 131072,')]),
    "a small vocabulary": (DESIGN, "design", [(FEWER_BITS, FEWER_BITS + '"vocab_size": 32000,')]),
    "a field that nobody reads": (DESIGN, "design", [(FEWER_BITS, FEWER_BITS + '"sliding_windows": 64,')]),
    "no configuration": (DESIGN, "design", [("return {", "return None\n    {")]),
    "what JSON does not know": (
        "design-rules",
        "design",
        [(OWN_LAYERS, '"hybrid_layer_pattern": tuple(([0] + [1] * 9) * 6),')],
    ),
    "uniform draws": ("interval", "interval", [(DRAWN, "rng.uniform(each[0], each[2], draws)")]),
    "the same draws for all": (
        "interval",
        "interval",
        [("rng.triangular(*each, draws) if", "np.random.default_rng(1).triangular(*each, draws) if")],
    ),
    "the middle 80%": ("interval", "interval", [("(0.05, 0.95)", "(0.1, 0.9)")]),
    "standard deviations": (
        "interval",
        "interval",
        [(ENDS, "np.mean(cost(figures)) + np.array([-1, 1]) * np.std(cost(figures))")],
    ),
    "the cheapest and the dearest draw": (
        "interval",
        "interval",
        [(ENDS, "(cost(figures).min(), cost(figures).max())")],
    ),
    "a fixed figure that moves": (
        "interval",
        "interval",
        [(DRAWN, "rng.triangular(each[0], each[1], each[2] + 1, draws)")],
    ),
    "the narrowest first": ("decides", "decides", [(", reverse=True", "")]),
    "falls do not count": ("decides", "decides", [("abs(high - low)", "(high - low)")]),
    "half of a range": ("decides", "decides", [("np.array([least, most]", "np.array([likely[name][0], most]")]),
    "a use of at most 1": ("even", "even", [(EVEN, f"min(1.0, {EVEN})")]),
    "no storage": ("even", "even", [("(revenue - keeping) if", "revenue if")]),
    "negative instead of never": ("even", "even", [("revenue > keeping", "revenue != keeping")]),
    "hits at cost": ("list", "list", [('"hit": hit, "miss"', '"hit": costs["hit"], "miss"')]),
    "hits bring their cost": ("list", "list", [('hit * request["hit"]', 'costs["hit"] * request["hit"]')]),
    "a markup that forgets hits": ("list", "list", [('(revenue - hit * request["hit"]) / borne', "1 / (1 - margin)")]),
}

#: Each other way that is right: the checks that should pass, and the answer.
RIGHT = {
    "tokens of an hour": (
        "cost",
        """
        def token_cost(rent, utilisation, tokens_s):
            hourly = sum([3600 * tokens_s * utilisation])
            return np.float32(1e6 / hourly * rent)
        """,
    ),
    "the smaller of two speeds": (
        "speed",
        """
        def decode_speed(batch, weight_bytes, kept_bytes, flops, bytes_s, flops_s):
            by_memory = bytes_s / (weight_bytes / batch + kept_bytes)
            return min(by_memory, flops_s / flops)
        """,
    ),
    "a list of all rungs": (
        "factors",
        """
        def factors(cost, order):
            rungs = [cost(set(order[:i])) for i in range(len(order) + 1)]
            return dict(zip(order, np.divide(rungs[:-1], rungs[1:])))
        """,
    ),
    "the second after the first": (
        "together",
        """
        def together(cost, one, two):
            alone, after = cost([]) / cost([two]), cost([one]) / cost([one, two])
            return after / alone
        """,
    ),
    "sets before the lever": (
        "reach",
        """
        def reach(cost, names, lever):
            rest = [name for name in names if name != lever]
            sets = [on for size in range(len(names)) for on in itertools.combinations(rest, size)]
            found = sorted(cost(on) / cost((lever, *on)) for on in sets)
            return [found[0], found[-1]]
        """,
    ),
    "products and roots": (
        "shares",
        """
        def shares(cost, names):
            orders, found = list(itertools.permutations(names)), dict.fromkeys(names, 1.0)
            for order in orders:
                for i, lever in enumerate(order):
                    found[lever] *= (cost(order[:i]) / cost(order[: i + 1])) ** (1 / len(orders))
            return found
        """,
    ),
    "sets with weights": (
        "shares",
        """
        def shares(cost, names):
            found = {}
            for one in names:
                rest, total = [name for name in names if name != one], 0.0
                for size in range(len(names)):
                    for on in itertools.combinations(rest, size):
                        gain = math.log(cost(on) / cost((*on, one)))
                        total += gain / math.comb(len(rest), size) / len(names)
                found[one] = math.exp(total)
            return found
        """,
    ),
    "a wider, shallower model": (
        DESIGN,
        """
        def design():
            config = dict(START, num_hidden_layers=48, hidden_size=6144, moe_layer_freq=[0] + [1] * 47)
            config.update(n_routed_experts=400, num_experts_per_tok=8, moe_intermediate_size=1536)
            config.update(hybrid_layer_pattern=([0] + [1] * 7) * 6, num_key_value_heads=4)
            config["quantization_config"] = {"quant_method": "fp8"}
            return config
        """,
    ),
    "delta attention and latents": (
        DESIGN,
        """
        def design():
            return {
                "model_type": "bailing_hybrid", "hidden_size": 5120, "num_hidden_layers": 60, "layer_group_size": 10,
                "num_attention_heads": 32, "num_key_value_heads": 32, "head_dim": 128, "q_lora_rank": 1536,
                "kv_lora_rank": 512, "qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "v_head_dim": 128,
                "intermediate_size": 12288, "first_k_dense_replace": 1, "moe_intermediate_size": 1536,
                "num_experts": 384, "num_experts_per_tok": 8, "num_shared_experts": 1, "vocab_size": 152000,
                "max_position_embeddings": 262144, "quantization_config": {"quant_method": "fp8"},
            }
        """,
    ),
    "indexed latents": (
        DESIGN,
        """
        def design():
            return {
                "model_type": "deepseek_v32", "hidden_size": 5120, "num_hidden_layers": 48, "num_attention_heads": 64,
                "num_key_value_heads": 64, "q_lora_rank": 1536, "kv_lora_rank": 512, "qk_nope_head_dim": 128,
                "qk_rope_head_dim": 64, "v_head_dim": 128, "index_head_dim": 128, "index_n_heads": 32,
                "index_topk": 1024, "intermediate_size": 12288, "first_k_dense_replace": 1,
                "moe_intermediate_size": 1536, "n_routed_experts": 448, "num_experts_per_tok": 8,
                "n_shared_experts": 1, "n_group": 1, "topk_group": 1, "vocab_size": 152000,
                "num_nextn_predict_layers": 1, "max_position_embeddings": 262144,
                "quantization_config": {"quant_method": "fp8"},
            }
        """,
    ),
    "the triangle by hand": (
        "interval",
        """
        def interval(cost, ranges, rng, draws):
            figures = {}
            for name, (low, top, high) in ranges.items():
                turn, width = rng.random(draws), high - low
                rising, falling = np.sqrt(turn * width * (top - low)), np.sqrt((1 - turn) * width * (high - top))
                figures[name] = np.where(turn * width < top - low, low + rising, high - falling)
            found = np.sort(cost(figures))
            return found[draws // 20], found[-draws // 20]
        """,
    ),
    "one number at a time": (
        "decides",
        """
        def decides(cost, ranges):
            def at(name, value):
                figures = {each: np.array([bounds[1]]) for each, bounds in ranges.items()}
                figures[name] = np.array([value])
                return cost(figures)[0]

            names = list(ranges)
            widths = [abs(at(name, ranges[name][2]) - at(name, ranges[name][0])) for name in names]
            return np.array(names)[np.argsort(-np.array(widths))]
        """,
    ),
    "revenue first": (
        "even",
        """
        def break_even(revenue, rented, keeping, at):
            if keeping >= revenue:
                return float("inf")
            return at / ((revenue - keeping) / rented)
        """,
    ),
    "the factor by the missing revenue": (
        "list",
        """
        def price_list(costs, request, margin, hit):
            spent = {kind: costs[kind] * request[kind] for kind in ("hit", "miss", "output")}
            missing = sum(spent.values()) / (1 - margin) - hit * request["hit"]
            return {kind: hit if kind == "hit" else costs[kind] * missing / (spent["miss"] + spent["output"])
                    for kind in costs}
        """,
    ),
}


@pytest.mark.parametrize("mistake", WRONG)
def test_checks_see_a_mistake(mistake: str) -> None:
    checks, answer, changes = WRONG[mistake]
    c.failed(CELLS, checks, c.given("levers", f"{answer}-answer", changes))


@pytest.mark.parametrize("way", RIGHT)
def test_checks_pass_another_way(way: str) -> None:
    checks, answer = RIGHT[way]
    names = dict(c.told("levers"))
    exec(textwrap.dedent(answer), names)
    c.passed(CELLS, checks, names)


def test_a_forgotten_return_is_told_of() -> None:
    names = dict(c.told("levers"))
    for name in re.findall(r"^def (\w+)", "\n".join(c.solutions("levers").values()), re.M):
        names[name] = lambda *args, **named: None
    c.failed(CELLS, " ".join(c.checks("levers")), names)


def test_the_budget_needs_each_of_three_levers() -> None:
    """The model before the levers keeps the rules and no line of the budget; two levers alone never suffice."""
    names = c.told("levers")
    parts = {
        "sparsity": {"n_routed_experts": 384, "num_experts_per_tok": 8, "moe_intermediate_size": 1536},
        "attention": {"num_key_value_heads": 4, "hybrid_layer_pattern": ([0] + [1] * 9) * 6},
        "precision": {"quantization_config": {"quant_method": "fp8"}},
    }
    for without in (*parts, None):
        config = dict(names["START"])
        for part, fields in parts.items():
            config |= fields if part != without else {}
        model = names["built"](config)
        assert names["broken_rules"](model) == []
        dear = [line for traffic in names["BUDGET"] for line in names["too_dear"](model, traffic, levers.KINDS)]
        assert bool(dear) == (without is not None), without
    start = names["built"](names["START"])
    for traffic, most in names["BUDGET"].items():
        assert len(names["too_dear"](start, traffic, levers.KINDS)) == len(most) == 3


def test_the_budget_leaves_room() -> None:
    """The solved design keeps each line by an eighth, so that a renewed figure of the catalog breaks no answer."""
    names = c.told("levers")
    model = names["built"](names["design"]())
    for traffic, most in names["BUDGET"].items():
        costs = names["costs_of"](model, traffic)
        assert all(costs[kind] < most[kind] * 7 / 8 for kind in most), (traffic, costs)


def test_the_laboratory_formula_is_the_first_task() -> None:
    """The three levers of the second task change terms of the first one's division."""
    names = c.told("levers")
    for on in levers.shapley.sets(("batch", "attention", "precision")):
        batch, kept = (64 if "batch" in on else 8), (0.4e9 if "attention" in on else 4e9)
        width = 0.5 if "precision" in on else 1.0
        speed = names["decode_speed"](batch, 24e9 * width, kept * width, 0.0, 3.35e12, np.inf)
        assert names["formula"](on) == pytest.approx(names["token_cost"](2.0, 0.6, speed))


def test_the_model_answer_quotes_what_the_cell_prints(capsys: pytest.CaptureFixture[str]) -> None:
    """Each cost of the open question's answer stands in the cell above it."""
    exec(CELLS["defence-shown"], dict(c.told("levers")))
    shown = capsys.readouterr().out
    answer = CELLS["defence-answer"].partition("To grade")[0]
    quoted = re.findall(r"\d+\.\d{2,}", answer)
    assert len(quoted) >= 10
    for number in quoted:
        known = number in shown or float(number) in {m for t in c.told("levers")["BUDGET"].values() for m in t.values()}
        assert known, number
    low, high = (float(each) for each in re.findall(r"output: 90% of the draws ([\d.]+) to ([\d.]+)", shown)[0])
    assert low < float(re.findall(r"coding: .*output ([\d.]+)", shown)[0]) < high
