"""The lab's checks see mistakes that people make, one at a time, and pass what is right in another way."""

import re
import textwrap
from typing import get_args

import pytest

from costlab import catalog, claims
from labs import course as c

CELLS = c.cells("claims")

PATTERN = r'r"([\d.,]+)\s*(\D*)"'
LAST = '10.0 ** (len(digits) - len(digits.rstrip("0")))'
AGREES = "low - slack <= value <= high + slack"
OFF = "abs(claimed * factor / computed - 1)"
OWN = "own-form own-flips"

#: Each mistake: the checks that should see it, and the changes of the solved answer of that name.
WRONG = {
    "GB for GiB": ("amount", "amount", [("* UNITS[found[2]]", '* UNITS[found[2].replace("i", "")]')]),
    "commas as points": ("amount", "amount", [('.replace(",", "")', '.replace(",", ".", 1).replace(",", "")')]),
    "percent as they stand": ("amount", "amount", [("* UNITS[found[2]]", '* UNITS[found[2].replace("%", "")]')]),
    "fractions upside down": ("amount", "amount", [("amount(above) / amount(below)", "amount(below) / amount(above)")]),
    "one over": ("amount", "amount", [("amount(above) / amount(below)", "1 / amount(below)")]),
    "a KeyError": (
        "amount",
        "amount",
        [(" or found[2] not in UNITS", ""), ("UNITS[found[2]]", "UNITS.get(found[2], 1)")],
    ),
    "units in any case": (
        "amount",
        "amount",
        [
            ("found[2] not in UNITS", "found[2].lower() not in {unit.lower() for unit in UNITS}"),
            ("* UNITS[found[2]]", "* {unit.lower(): size for unit, size in UNITS.items()}[found[2].lower()]"),
        ],
    ),
    "a whole unit of the last digit": ("tolerance", "tolerance", [("last / 2 /", "last /")]),
    "no upper limit": ("tolerance", "tolerance", [("min(0.10, last / 2 / float(digits))", "last / 2 / float(digits)")]),
    "padding as digits": ("tolerance", "tolerance", [(LAST, "1.0")]),
    "zeros after the point as padding": (
        "tolerance",
        "tolerance",
        [('len(digits.split(".")[1])', 'len(digits.rstrip("0").split(".")[1])')],
    ),
    "the number above": ("tolerance", "tolerance", [("[-1].strip()", "[0].strip()")]),
    "commas as zeros": ("tolerance", "tolerance", [('[0].replace(",", "")', '[0].split(",")[0]')]),
    "half a unit, no share": ("tolerance", "tolerance", [("last / 2 / float(digits)", "last / 2")]),
    "active by all": ("shares", "shares", [("counts.total / counts.active", "counts.active / counts.total")]),
    "the prediction module counted": ("shares", "shares", [("counts.total /", "(counts.total + counts.mtp) /")]),
    "times, not a share": ("shares", "shares", [("float(mine / its)", "float(its / mine)")]),
    "a fixed length": ("shares", "shares", [("kv_bytes(tokens)", "kv_bytes(1_048_576)")]),
    "growing bytes alone": ("shares", "shares", [("kv_bytes(tokens).total", "kv_bytes(tokens).growing")]),
    "no exchange": ("dollars", "dollars", [(' * prices.exchange_rate(row.currency, "USD", day)', "")]),
    "the exchange upside down": (
        "dollars",
        "dollars",
        [('(row.currency, "USD", day)', '("USD", row.currency, day)')],
    ),
    "yuan whatever the row says": ("dollars", "dollars", [("(row.currency,", "(currency,")]),
    "the usual list": ("dollars", "dollars", [(", currency=currency)", ")")]),
    "today's price": ("dollars", "dollars", [("(product, day, currency", "(product, currency")]),
    "the list's hit alone": (
        "dollars",
        "dollars",
        [('prices.hit_price(row) if kind == "hit" else getattr(row, kind)', "getattr(row, kind) or 0.0")],
    ),
    "less than the tolerance": ("verdict", "verdict", [(AGREES, "low - slack < value < high + slack")]),
    "a share of the claimed number": ("verdict", "verdict", [("tolerance * abs(value)", "tolerance * abs(low)")]),
    "negative slack": ("verdict", "verdict", [("tolerance * abs(value)", "tolerance * value")]),
    "the middle of a range": ("verdict", "verdict", [(AGREES, "abs((low + high) / 2 - value) <= slack")]),
    "the lower end alone": ("verdict", "verdict", [(AGREES, "low - slack <= value")]),
    "another unit first": (
        "verdict",
        "verdict",
        [
            (
                "if agrees(computed):",
                "if other is not None and agrees(other):\n        return UNIT\n    if agrees(computed):",
            )
        ],
    ),
    "another unit without looking": (
        "verdict",
        "verdict",
        [("other is not None and agrees(other)", "other is not None")],
    ),
    "an assumption saves everything": (
        "verdict",
        "verdict",
        [("if agrees(computed):", "if assumption or agrees(computed):")],
    ),
    "no assumption": ("verdict", "verdict", [("ASSUMED if assumption else REPRODUCED", "REPRODUCED")]),
    "open where another unit fits": (
        "verdict",
        "verdict",
        [("return UNKNOWN", "return UNKNOWN if other is None else UNIT")],
    ),
    "open before wrong": (
        "whole",
        "whole",
        [("(CONTRADICTED, UNIT, UNKNOWN, ASSUMED", "(UNKNOWN, CONTRADICTED, UNIT, ASSUMED")],
    ),
    "a label before a contradiction": ("whole", "whole", [("(CONTRADICTED, UNIT,", "(UNIT, CONTRADICTED,")]),
    "the best of them": ("whole", "whole", [("min(verdicts", "max(verdicts")]),
    "the first of them": ("whole", "whole", [("min(verdicts, key=worst_first.index)", "verdicts[0]")]),
    "the first that changes": (
        "flip",
        "flip",
        [("min(changing, key=lambda factor: abs(math.log(factor)), default=None)", "next(iter(changing), None)")],
    ),
    "the farthest": ("flip", "flip", [("min(changing", "max(changing")]),
    "the number, not the factor": (
        "flip",
        "flip",
        [("[factor for factor in factors if", "[claimed * factor for factor in factors if")],
    ),
    "added, not multiplied": ("flip", "flip", [("settle(claimed * factor)", "settle(claimed + factor)")]),
    "against right, not against itself": ("flip", "flip", [("!= now", "!= REPRODUCED")]),
    "distances of differences": ("flip", "flip", [("abs(math.log(factor))", "abs(factor - 1)")]),
    "1 if none": ("flip", "flip", [("default=None", "default=1.0")]),
    "all at once": (
        "hangs",
        "hangs",
        [("settle(**{**numbers, name: value * factor})", "settle(**{n: v * factor for n, v in numbers.items()})")],
    ),
    "all factors have to": ("hangs", "hangs", [("if any(", "if all(")]),
    "numbers changed for good": (
        "hangs",
        "hangs",
        [
            ("    return {\n", "    numbers_of = numbers.update\n    return {\n"),
            (
                "if any(settle(**{**numbers, name: value * factor})",
                "if any(numbers_of({name: value * factor}) or settle(**numbers)",
            ),
        ],
    ),
    "doubled alone": ("hangs", "hangs", [("for factor in factors)", "for factor in factors[:1])")]),
    "no slip needed, one named": ("slip", "slip", [("abs(claimed / computed - 1) <= tolerance:", "not off:")]),
    "the nearest, however far": ("slip", "slip", [("best if off[best] <= tolerance else None", "best")]),
    "divided": ("slip", "slip", [(OFF, "abs(claimed / factor / computed - 1)")]),
    "the first that fits": (
        "slip",
        "slip",
        [("best = min(off, key=off.get)", "best = next((name for name in off if off[name] <= tolerance), min(off))")],
    ),
    "an absolute tolerance": ("slip", "slip", [(OFF, "abs(claimed * factor - computed)")]),
    "GiB computed": ("article-numbers", "article", [('"cache": kept / 1e9', '"cache": kept / 2**30')]),
    "dollars a million": ("article-numbers", "article", [("ours.output / 1000", "ours.output")]),
    "bytes as bits": ("article-numbers", "article", [("memory_bandwidth_bytes_s * 8", "memory_bandwidth_bytes_s")]),
    "a guess": ("article-numbers", "article", [('"training": None', '"training": 61')]),
    "numbers alone": ("article-numbers article-labels", "article", [("(computed[key], label(key))", "computed[key]")]),
    "no slip looked for": (
        "article-labels",
        "article",
        [("(found and slip(claimed, found, SLIPS, 0.05)) or verdict", "verdict")],
    ),
    "a sentence left out": (
        "article-numbers article-labels",
        "article",
        [("for key in ARTICLE}", "for key in computed if computed[key]}")],
    ),
    "nothing entered": (OWN, "own", [("return {", "return None\n    {")]),
    "no source": (
        OWN,
        "own",
        [('"source": "A. Q. Jiang et al., Mixtral of Experts, arXiv 2401.04088"', '"source": ""')],
    ),
    "a source that nobody finds": (
        "own-form",
        "own",
        [("A. Q. Jiang et al., Mixtral of Experts, arXiv 2401.04088", "the web")],
    ),
    "a date in words": ("own-form", "own", [("2024-01-08", "January 2024")]),
    "generous": (OWN, "own", [('"tolerance": 0.01', '"tolerance": 0.5')]),
    "a number typed in": (OWN, "own", [("'arch.load(\"mixtral-8x7b\").params.total / 1e9'", '"46.7"')]),
    "a formula that does not run": (OWN, "own", [("params.total / 1e9", "parameters / 1e9")]),
    "the other verdict": ("own-form", "own", [('"verdict": REPRODUCED', '"verdict": CONTRADICTED')]),
    "a claim of the ledger": (
        "own-form",
        "own",
        [
            (
                "Each token of Mixtral 8x7B has access to 47 billion parameters",
                "V4-Pro computes like a model one thirtieth its size",
            )
        ],
    ),
    "confirmed whatever the facts": ("own-flips", "own", [("params.active / 1e9", "params.total / 1e9 + 0.01")]),
    "another thing altogether": (
        "own-flips",
        "own",
        [("'arch.load(\"mixtral-8x7b\").params.active / 1e9'", "'catalog.chip(\"h800\").power_w'")],
    ),
}

#: Each other way that is right: the checks that should pass, and the answer.
RIGHT = {
    "letters stripped": (
        "amount",
        """
        def amount(text):
            value = 1.0
            for power, part in zip((1, -1), text.split("/")):
                digits = part.strip().rstrip("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ% ")
                unit = part.strip()[len(digits):].strip()
                if unit not in UNITS:
                    raise ValueError(unit)
                value *= (float(digits.replace(",", "")) * UNITS[unit]) ** power
            return value
        """,
    ),
    "longest unit first": (
        "amount",
        """
        def amount(text):
            if "/" in text:
                return amount(text[: text.index("/")]) / amount(text[text.index("/") + 1 :])
            text = text.replace(",", "").replace(" ", "")
            for unit in sorted(UNITS, key=len, reverse=True):
                if text.endswith(unit) and not text.removesuffix(unit)[-1].isalpha():
                    return float(text.removesuffix(unit)) * UNITS[unit]
            raise ValueError(f"no unit in {text}")
        """,
    ),
    "digits counted": (
        "tolerance",
        """
        def tolerance(text):
            number = "".join(each for each in text.split("/")[-1] if each in "0123456789.")
            whole, point, decimals = number.partition(".")
            zeros = 0
            while not point and whole.endswith("0"):
                whole, zeros = whole[:-1], zeros + 1
            half = 0.5 * 10.0 ** (zeros - len(decimals))
            return half / float(number) if half / float(number) < 0.1 else 0.1
        """,
    ),
    "decimals": (
        "tolerance",
        """
        import re
        from decimal import Decimal

        def tolerance(text):
            number = Decimal(re.search(r"[0-9.,]+", text.split("/")[-1])[0].replace(",", ""))
            exponent = number.as_tuple().exponent
            exponent = exponent if exponent else number.normalize().as_tuple().exponent
            return min(0.1, float(Decimal(5).scaleb(exponent - 1) / number))
        """,
    ),
    "sums of the parts": (
        "shares",
        """
        def times_larger(model):
            counts = arch.load(model).params
            return sum(counts.by_component.values()) / sum(counts.active_by_component.values())

        def kept_share(model, other, tokens):
            return arch.load(model).kv_bytes(tokens).total / arch.load(other).kv_bytes(tokens).total
        """,
    ),
    "yuan in a dollar": (
        "dollars",
        """
        def dollars(product, kind, day, currency):
            row = prices.price_at(product, day, currency=currency)
            price = {"miss": row.miss, "output": row.output, "hit": row.miss if row.hit is None else row.hit}[kind]
            return price if row.currency == "USD" else price / prices.exchange_rate("USD", row.currency, day)
        """,
    ),
    "costlab's own parts": (
        "verdict",
        """
        def verdict(claimed, computed, tolerance, other=None, assumption=False):
            reading = None if other is None else claims.reading("other", float(other))
            part = claims.part("", "", claimed, computed, tolerance, reading=reading)
            return claims.verdict_of([part], "stated" if assumption else None)
        """,
    ),
    "misses counted": (
        "verdict",
        """
        def verdict(claimed, computed, tolerance, other=None, assumption=False):
            ends = claimed if isinstance(claimed, tuple) else (claimed,)

            def missed(value):
                return max(min(ends) - value, value - max(ends), 0.0) > tolerance * abs(value)

            if computed is None:
                return UNKNOWN
            if missed(computed):
                return CONTRADICTED if other is None or missed(other) else UNIT
            return (REPRODUCED, ASSUMED)[int(assumption)]
        """,
    ),
    "one rule after the other": (
        "whole",
        """
        def whole(verdicts):
            for each in (CONTRADICTED, UNIT, UNKNOWN, ASSUMED):
                if each in verdicts:
                    return each
            return REPRODUCED
        """,
    ),
    "sorted by distance": (
        "flip",
        """
        def nearest_flip(settle, claimed, factors):
            for factor in sorted(factors, key=lambda each: max(each, 1 / each)):
                if settle(claimed * factor) != settle(claimed):
                    return factor
        """,
    ),
    "sets of verdicts": (
        "hangs",
        """
        def hangs_on(settle, numbers, factors):
            found = []
            for name in numbers:
                verdicts = [settle(**numbers)]
                for factor in factors:
                    changed = numbers.copy()
                    changed[name] = changed[name] * factor
                    verdicts.append(settle(**changed))
                if len(set(verdicts)) > 1:
                    found.append(name)
            return frozenset(found)
        """,
    ),
    "no slip among the slips": (
        "slip",
        """
        def slip(claimed, computed, slips, tolerance):
            fits = {name: abs(claimed * factor - computed) for name, factor in {None: 1.0, **slips}.items()}
            fits = {name: off for name, off in fits.items() if off <= tolerance * abs(computed)}
            return None if None in fits or not fits else min(fits, key=fits.get)
        """,
    ),
    "the yuan list, and lists for pairs": (
        "article-numbers article-labels",
        """
        def findings():
            yuan = prices.price_at("deepseek-v4-pro", "2026-06-02", currency="CNY")
            rate = prices.exchange_rate("CNY", "USD", "2026-06-02")
            kept = [arch.load(key).kv_bytes(2**20).total for key in ("deepseek-v4-pro", "deepseek-v3.2")]
            return {
                "training": [None, "not checkable from public facts"],
                "size": [1.573, "reproduced"],
                "hit": [yuan.hit * rate, "yuan called dollars"],
                "cache": [kept[0] / 1e9, "GiB called GB"],
                "tenth": [kept[0] / kept[1], "reproduced"],
                "answer": [yuan.output * rate / 1000, "per million called per thousand"],
                "rival": [30 / (yuan.output * rate), "reproduced"],
                "memory": [3.35 * 8, "bytes called bits"],
                "experts": [6 / 384, "contradicted"],
            }
        """,
    ),
    "a price that is wrong": (
        OWN,
        """
        def own():
            return dict(
                says="On the first of June V4-Pro's output cost two dollars a million",
                source="made up for this test", date="2026-06-02", quantity="price", unit="USD per million",
                claimed=2.0, tolerance=0.05, verdict=CONTRADICTED,
                formula='prices.price_at("deepseek-v4-pro", "2026-06-01").output',
                instead='prices.price_at("deepseek-v4-pro", "2026-11-09").output',
            )
        """,
    ),
    "a range under an assumption": (
        OWN,
        """
        def own():
            return {
                "says": "Attention over windows keeps a sixth to a seventh of a long text",
                "source": "https://example.org/a-talk", "date": "2026-05-01", "quantity": "bytes", "unit": "share",
                "claimed": (0.14, 0.17), "tolerance": 0.02, "verdict": ASSUMED,
                "formula": "hybrid.moved_fraction(131072, 10, 60, 128)",
                "instead": "hybrid.moved_fraction(512, 10, 60, 128)",
            }
        """,
    ),
}

#: Cells that call answers, which have to see a changed one.
CALLERS = ("told-of", "entering")


@pytest.mark.parametrize("mistake", WRONG)
def test_checks_see_a_mistake(mistake: str) -> None:
    checks, answer, changes = WRONG[mistake]
    c.failed(CELLS, checks, c.given("claims", f"{answer}-answer", changes))


@pytest.mark.parametrize("way", RIGHT)
def test_checks_pass_another_way(way: str) -> None:
    checks, answer = RIGHT[way]
    c.passed(CELLS, checks, c.with_answer("claims", textwrap.dedent(answer)))


def test_a_forgotten_return_is_told_of() -> None:
    names = dict(c.told("claims"))
    for name in re.findall(r"^def (\w+)", "\n".join(c.solutions("claims").values()), re.M):
        names[name] = lambda *args, **named: None
    for name in CALLERS:
        exec(CELLS[name], names)
    c.failed(CELLS, " ".join(c.checks("claims")), names)


def test_the_verdicts_are_the_ledgers() -> None:
    names = c.told("claims")
    ours = [names[each] for each in ("REPRODUCED", "ASSUMED", "CONTRADICTED", "UNIT", "UNKNOWN")]
    assert ours == list(get_args(claims.Verdict))


def test_the_article_holds_one_of_each_slip_and_what_is_none() -> None:
    """Each slip is made once; right in its own unit, each number is at most 5% off; the wrong one is no slip."""
    names = c.told("claims")
    found = names["findings"]()
    labels = [label for _, label in found.values()]
    assert all(labels.count(each) == 1 for each in names["SLIPS"])
    assert {"reproduced", "contradicted", "not checkable from public facts"} <= set(labels)
    assert len(labels) == 9
    factors = {**names["SLIPS"], "reproduced": 1.0}
    for key, (computed, label) in found.items():
        _, claimed, _ = names["ARTICLE"][key]
        if label in factors:
            assert claimed * factors[label] == pytest.approx(computed, rel=0.05), key
        elif computed is not None:
            assert all(abs(claimed * each / computed - 1) > 0.4 for each in factors.values()), key


def test_the_ledgers_claims_of_the_lab_are_there() -> None:
    """Claims that the lab's text and checks name by their keys stand in the ledger, and hang on a number."""
    keys = set(re.findall(r'"((?:moe|kv|price|swa)-[a-z0-9-]+)"', "\n".join(CELLS.values())))
    assert len(keys) >= 5
    assert keys <= set(catalog.tables().claims)


def test_the_model_answer_is_about_the_solved_claim() -> None:
    """Numbers of the five-point reason come out of the claim's two formulas, its digits and its tolerance."""
    names = c.told("claims")
    claim, answer = names["own"](), CELLS["reason-answer"]
    for formula in ("formula", "instead"):
        assert f"{claims.part('', '', 1.0, claim[formula]).computed:.2f}B" in answer
    assert f"{names['tolerance'](str(claim['claimed'])):.2%}" in answer
    assert f"{claim['tolerance']:.0%}" in answer
    assert all(f"An answer of {points}" in answer for points in (5, 3, 1))
