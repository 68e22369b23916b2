"""The ledger's numbers: each formula gives what stands beside it, and each claimed number can change the verdict."""

import itertools
import math
import re
from pathlib import Path

import pytest
from docutils.nodes import make_id

from costlab import catalog, claims
from costlab.claims import ledger

KNOWN = catalog.tables().claims
ROOT = Path(__file__).parents[2]
SHARED = ROOT.parent / "shared/claims.md"
FOUND = {found.key: found for found in claims.findings()}
PARTS = [(key, part) for key, found in FOUND.items() for part in found.parts]
GOOD = ("reproduced", "reproduced under a stated assumption")
OPEN = "not checkable from public facts"

# --- every claim, with every field -------------------------------------------------------------------------------


def test_every_claim_of_the_list_is_settled():
    if not SHARED.is_file():
        pytest.skip("no list of claims beside the repository")
    listed = re.findall(r"^\| ([a-z0-9-]+) \|", SHARED.read_text(), re.M)
    assert len(listed) > 50
    assert set(listed) - {"id"} <= FOUND.keys()


def test_every_claim_has_its_settler():
    assert KNOWN.keys() == ledger._SETTLERS.keys() == FOUND.keys()


@pytest.mark.parametrize("key", KNOWN)
def test_the_fields_of_a_finding(key):
    found = FOUND[key]
    assert found.verdict in claims.VERDICTS
    assert found.claim.says and set(found.claim.articles) <= catalog.tables().articles.keys()
    assert found.verdict == claims.verdict_of(found.parts, found.assumption)
    for part in found.parts:
        assert part.quantity and part.unit
        assert part.formula or part.computed is None
        assert 0 <= part.tolerance < 0.3
    if found.verdict == "reproduced under a stated assumption":
        assert found.assumption and not found.assumption.endswith(".")


@pytest.mark.parametrize("key", KNOWN)
def test_the_reason_is_a_paragraph(key):
    why = FOUND[key].why
    assert why[0].isupper()
    assert why.endswith(".") and ".." not in why and "  " not in why
    sentences = re.split(r"(?<=[.?!])\s+(?=[A-Z])", why.replace("vs. ", "vs "))
    assert len(why) > 90
    assert 2 <= len(sentences) <= 7, sentences


def test_sections_are_places_of_the_book():
    places = {}
    for notebook in sorted((ROOT / "book").glob("*.ipynb")):
        text = notebook.read_text()
        labels = set(re.findall(r'"\(([a-z0-9-]+)\)=', text))
        heads = {make_id(head) for head in re.findall(r'"#{1,4} (.+?)(?:\\n)?",?$', text, re.M)}
        places[notebook.stem] = labels | heads
    for key, found in FOUND.items():
        page, place = found.section.split("#")
        assert place in places[page], f"{key}: {found.section}"
        assert found.address == f"{page}.html#{place}"


# --- formulas ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", KNOWN)
def test_a_formula_pasted_into_python_gives_the_number_beside_it(key):
    """Nothing but the line of imports and the formula, in a namespace of its own."""
    for part in FOUND[key].parts:
        readings = [(part.reading.formula, part.reading.computed)] if part.reading else []
        for formula, computed in [(part.formula, part.computed), *readings]:
            if computed is not None:
                pasted: dict[str, object] = {}
                exec(f"{claims.imports_of(formula)}\nfound = float({formula})", pasted)
                assert pasted["found"] == computed


#: Sums of what an article itself prints: arithmetic, with nothing for costlab to add.
SUMS = {"moe-qwen", "cache-tokens-5x", "chip-saving", "dense-10-20x"}


def test_formulas_are_calls_of_costlab():
    plain = {key for key, part in PARTS if part.formula and not part.imports}
    assert plain == SUMS


def test_no_formula_reads_the_number_that_it_is_held_against():
    """Another claimed number, alone, changes the claimed side and not the computed one; sums of E's aside."""
    for key, found in FOUND.items():
        for part in found.parts:
            if "," in part.number or not part.formula or key in SUMS:
                continue
            other = claims.settle(key, **{part.number: part.claimed * 1.5 + 0.25})
            same = next(each for each in other.parts if each.formula == part.formula)
            assert same.computed == part.computed, f"{key}: {part.number}"
            assert same.claimed != part.claimed


# --- another number, another verdict -------------------------------------------------------------------------------

#: Numbers that are right where those of the parts are not simply taken over.
RIGHT = {
    "moe-qwen": {"compute": 0.1, "top_k": 1.0},
    "swa-1-to-7": {"sliding": 6.0},
    "cache-block-bytes": {"width": 8 * (192 + 128) / 2, "layers": 10, "bytes": 2, "window": 1_048_576},
    "spec-formula": {"low": 0.0, "high": 0.0},
    "price-k-shape": {"moved": -1.0},
}
#: Claims whose numbers cannot all be right at once, and why.
NEVER = {"price-mimo-pro-row": "one number stands for dollars and for yuan"}


def corrected(key):
    """The claim's numbers with those in their place that its parts give."""
    found, right = FOUND[key], {}
    if found.verdict in GOOD:
        return {}
    if key in RIGHT:
        return RIGHT[key]
    for part in found.parts:
        if part.computed is None or part.beyond:
            continue
        names = part.number.split(",")
        low, high = (names[0], names[1]) if part.relation == "between" else (names[0], names[0])
        if part.relation in ("at least", "between", "equal"):
            right[low] = min(right.get(low, part.computed), part.computed)
        if part.relation in ("at most", "between"):
            right[high] = max(right.get(high, part.computed), part.computed)
    return right


@pytest.mark.parametrize("key", [key for key in KNOWN if key not in NEVER])
def test_right_numbers_make_a_claim_right(key):
    best = claims.settle(key, **corrected(key)).verdict
    unknown = any(part.computed is None for part in FOUND[key].parts)
    assert best == OPEN if unknown else best in GOOD


SMALL = [lambda x: 2 * x, lambda x: x / 2, lambda x: 10 * x]
LARGE = [lambda x: 0.0, lambda x: -x, lambda x: x + 1, lambda x: x - 1, lambda x: x / 1000, lambda x: 1000 * x]


def compared(key):
    """The numbers that stand in a part as claimed, not only in its formula."""
    return {name for part in FOUND[key].parts for name in part.number.split(",")}


def changes_the_verdict(key, name):
    """Whether another value of one number changes the verdict, beside the stated numbers or beside the right ones."""
    for right in (corrected(key), {}):
        numbers = {**KNOWN[key].numbers, **right}
        verdict = claims.settle(key, **numbers).verdict
        for change in [*SMALL, *LARGE] if name in compared(key) else SMALL:
            try:
                if claims.settle(key, **{**numbers, name: change(numbers[name])}).verdict != verdict:
                    return True
            except ValueError:  # a count below nothing is no other claim
                continue
    return False


#: Claims that no number of theirs can settle otherwise, and why.
UNMOVED = {"margin-while-cheap": "no accounts are published that a margin could be held against"}


@pytest.mark.parametrize("key", KNOWN)
def test_a_claims_numbers_can_change_its_verdict(key):
    assert any(changes_the_verdict(key, name) for name in sorted(compared(key))) == (key not in UNMOVED)


#: Numbers that change no verdict, and why.
FREE = {
    ("cache-tiers", "hbm_latency_s"): "no source",
    ("cache-tiers", "hbm_usd_gb"): "no source; cache-table rests on it",
    ("cache-tiers", "dram_bytes"): "a choice; cache-table rests on it",
    ("cache-tiers", "dram_latency_s"): "no source",
    ("cache-tiers", "dram_usd_gb"): "no source; cache-table rests on it",
    ("cache-tiers", "ssd_bytes"): "a choice; cache-table rests on it",
    ("cache-tiers", "ssd_usd_gb"): "no source; cache-table rests on it",
    ("margin-while-cheap", "profit"): UNMOVED["margin-while-cheap"],
    **{
        ("moe-efficiency-score", f"qwen_{name}"): "DeepSeek's score stays below a dense model's"
        for name in ("active", "total", "experts", "top_k")
    },
    ("kv-10-percent", "tokens"): "the share hardly hangs on the length, from 64K on",
    ("csa-article-code", "important"): "one unimportant token is enough",
    ("spec-formula", "tokens"): "any number of drafted tokens",
    ("spec-lossless", "drafted"): "any number of drafted tokens",
    ("chip-saving", "abroad_power_w"): "the tariff that follows is beside the claim",
    ("chip-saving", "power_w"): "the tariff that follows is beside the claim",
}
CLAIMED = [(key, name) for key, claim in KNOWN.items() for name in claim.values]


def test_numbers_without_effect_are_few():
    assert len(UNMOVED) <= 3
    assert set(FREE) <= set(CLAIMED)
    assert len(FREE) < len(CLAIMED) / 9


@pytest.mark.parametrize(("key", "name"), [pair for pair in CLAIMED if pair not in FREE])
def test_each_claimed_number_can_change_the_verdict(key, name):
    assert changes_the_verdict(key, name)


def test_a_number_that_a_claim_does_not_have_is_refused():
    with pytest.raises(ValueError, match="unknown number of moe-one-thirtieth 'time'; did you mean 'times'"):
        claims.settle("moe-one-thirtieth", time=3.0)


# --- parts and verdicts --------------------------------------------------------------------------------------------


def stated(claimed, computed, tolerance=0.1, **more):
    return claims.part("what", "times", claimed, computed, tolerance, **more)


@pytest.mark.parametrize(
    ("claimed", "relation", "computed", "agrees"),
    [
        (10, None, 10.9, True), (10, None, 11.2, False), (10, None, 9.1, True), (10, None, 9.0, False),
        ((2, 3), None, 2.5, True), ((2, 3), None, 1.8, False), ((2, 3), None, 1.9, True), ((2, 3), None, 3.4, False),
        (2, "at least", 5, True), (2, "at least", 1.85, True), (2, "at least", 1.7, False),
        (2, "at most", 0, True), (2, "at most", 2.2, True), (2, "at most", 2.3, False),
        (0, None, 0, True), (0, None, float("inf"), False), (-1, "at most", -2, True),
    ],
)  # fmt: skip
def test_a_part_agrees_within_its_tolerance(claimed, relation, computed, agrees):
    assert stated(claimed, computed, relation=relation).agrees is agrees


def test_the_verdict_follows_from_the_parts():
    right, wrong, open_ = stated(1, 1), stated(1, 2), stated(1, None)
    slip = stated(1, 2, reading=claims.reading("in yuan", 1.0))
    far = stated(1, 2, beyond=True)
    near = stated(1, 1, beyond=True)
    assert claims.verdict_of([right]) == "reproduced"
    assert claims.verdict_of([right], "so") == "reproduced under a stated assumption"
    assert claims.verdict_of([right, far], "so") == "reproduced under a stated assumption"
    assert claims.verdict_of([right, near], "so") == "reproduced"  # the assumption is not needed
    assert claims.verdict_of([right, wrong]) == "contradicted"
    assert claims.verdict_of([slip, right]) == "unit or label error"
    assert claims.verdict_of([slip, wrong]) == "contradicted"
    assert claims.verdict_of([right, open_]) == OPEN
    assert claims.verdict_of([wrong, open_]) == "contradicted"


def test_what_is_no_part_is_refused():
    for wrong, text in (
        (lambda: stated(1, 1, 1.0), "tolerance = 1.0 should be a share"),
        (lambda: stated(1, 1, relation="between"), "relation = 'between' should be"),
        (lambda: stated((1, 2), 1, relation="at least"), "relation = 'at least' should be"),
        (lambda: stated(float("nan"), 1), "claimed = nan should be a number"),
        (lambda: stated(1, "arch.lod('x')"), "formula .* should give a number: AttributeError"),
        (lambda: stated(1, "'text'"), "formula .* should give a number: ValueError"),
        (lambda: claims.verdict_of([]), "needs at least one part"),
        (lambda: claims.verdict_of([stated(1, 1), stated(1, 1, beyond=True)]), "should be stated"),
    ):
        with pytest.raises(ValueError, match=text):
            wrong()


def test_a_factor_stands_between_claimed_and_computed():
    assert stated(20, 10).off == 2
    assert stated((1, 3), 10, 0.0).off == pytest.approx(0.3)
    assert stated((2, 4), 1, 0.0).off == 2
    assert stated((1, 3), 2).off == 1
    assert str(stated(1, 10, relation="at least").off) == str(stated(1, None).off) == str(stated(1, 0).off) == "nan"


def test_the_most_surprising_are_refuted_often_told_and_far_off():
    chosen = claims.most_surprising(5)
    assert len(chosen) == len({each.chapter for each in chosen}) == 5
    assert all(each.verdict in ("contradicted", "unit or label error") for each in chosen)
    ranks = [(len(each.claim.articles), 1.0 if math.isnan(each.off) else each.off) for each in chosen]
    assert ranks == sorted(ranks, reverse=True)
    told = [len(each.claim.articles) for each in FOUND.values() if each.verdict not in (*GOOD, OPEN)]
    assert ranks[0][0] == max(told)
    once = [each.off for each in FOUND.values() if len(each.claim.articles) == 1 and each.verdict not in (*GOOD, OPEN)]
    assert max(off for off in once if off == off) in [off for _, off in ranks]
    assert [each.key for each in claims.most_surprising(2)] == [each.key for each in chosen[:2]]
    with pytest.raises(ValueError, match="count"):
        claims.most_surprising(0)


# --- which ---------------------------------------------------------------------------------------------------------


def test_findings_are_chosen_by_article_and_verdict():
    chosen = claims.findings(article="b", verdict="unit or label error")
    every = [f.key for f in FOUND.values() if "B" in f.claim.articles and f.verdict == "unit or label error"]
    assert [each.key for each in chosen] == every
    assert every
    for wrong, text in (({"article": "F"}, "unknown article 'F'"), ({"verdict": "contradictd"}, "did you mean 'contr"),
                        ({"prefix": "zz"}, "unknown prefix of claims 'zz'")):  # fmt: skip
        with pytest.raises(ValueError, match=text):
            claims.findings(**wrong)


def test_every_verdict_occurs_but_the_ledger_is_not_one_sided():
    counts = {verdict: sum(f.verdict == verdict for f in FOUND.values()) for verdict in claims.VERDICTS}
    assert all(counts.values())
    assert max(counts.values()) < len(FOUND) / 2
    assert len(list(itertools.chain.from_iterable(f.parts for f in FOUND.values()))) == len(PARTS) > 2 * len(FOUND)
