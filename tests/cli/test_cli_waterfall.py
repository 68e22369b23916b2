"""The verb waterfall: its numbers are the package's, its accounts add up, bad input ends with status 2."""

import json
import math

import numpy as np
import pytest

from costlab import levers, prices
from costlab.levers import KINDS
from tests.arch.configs.published import published

PLAIN = "waterfall deepseek-v4-flash --traffic chat --draws 50"


@pytest.fixture(scope="module")
def found():
    return levers.waterfall("deepseek-v4-flash", traffic="chat")


ROWS = []


@pytest.fixture
def plain(document):
    """The rows of the plain line, which is run once."""
    if not ROWS:
        ROWS.extend(document(PLAIN)["rows"])
    return ROWS


def test_the_rows_are_the_packages(plain, found):
    rows = plain
    assert [row["lever"] for row in rows] == [None, *found.order]
    for i, (row, rung) in enumerate(zip(rows, found.rungs, strict=True)):
        for kind in KINDS:
            assert row[f"{kind}_usd_per_million"] == rung.cost(kind)
            if i:
                assert row[f"told_{kind}_factor"] == pytest.approx(
                    rows[i - 1][f"{kind}_usd_per_million"] / row[f"{kind}_usd_per_million"]
                )
                assert row[f"shapley_{kind}_factor"] == pytest.approx(math.exp(found.shares[kind][row["lever"]]))
        assert sum(part["usd_per_million_tokens"] for part in row["hit_parts"]) == pytest.approx(rung.cost("hit"))
        figures = {each["what"]: each["value"] for each in row["assumptions"]}
        assert figures.keys() == levers.INPUTS.keys()
        assert figures["utilisation"] == (0.6 if i > rows_until(rows, "batch and use") else 0.3)


def rows_until(rows, lever):
    return [row["lever"] for row in rows].index(lever) - 1


def test_factors_multiply_to_the_whole_fall(plain):
    rows = plain
    for kind in KINDS:
        whole = rows[0][f"{kind}_usd_per_million"] / rows[-1][f"{kind}_usd_per_million"]
        for name in ("told", "shapley"):
            assert math.prod(row[f"{name}_{kind}_factor"] for row in rows[1:]) == pytest.approx(whole)


def test_an_order_changes_the_turns_and_not_the_shares(document, plain):
    told = plain
    other = ["chip", "batch and use", "separation", "speculation", "cache", "precision", "attention", "sparsity"]
    rows = document(f"{PLAIN} --order {','.join(other).replace(' ', '-')}")["rows"]
    assert [row["lever"] for row in rows[1:]] == other
    shares = {row["lever"]: row["shapley_output_factor"] for row in told[1:]}
    assert {row["lever"]: row["shapley_output_factor"] for row in rows[1:]} == pytest.approx(shares)
    assert rows[-1]["output_usd_per_million"] == told[-1]["output_usd_per_million"]


def test_an_interval_is_that_of_the_seed(document, plain, found):
    row = document(f"{PLAIN} --seed 3")["rows"][-1]
    service = found.ladder.service(found.order)
    spread = levers.spread_of(service, np.random.default_rng(3), 50)
    for kind in KINDS:
        assert (row[f"low_{kind}_usd_per_million"], row[f"high_{kind}_usd_per_million"]) == spread.interval(kind)
    assert row != plain[-1]


def test_what_decides_comes_first(plain, found):
    """By what it moves of a mean request's bill."""
    row = plain[-1]
    tokens = [row[f"{kind}_tokens_per_call"] for kind in KINDS]

    def moved(each):
        ends = ([each[end][f"{kind}_usd_per_million"] for kind in KINDS] for end in ("at_low", "at_high"))
        low, high = (np.dot(costs, tokens) for costs in ends)
        return abs(high - low)

    widths = [moved(each) for each in row["swings"]]
    assert widths == sorted(widths, reverse=True)
    ranges = {name for name, each in found.ladder.figures.items() if each.is_range}
    assert {each["what"] for each in row["swings"]} == ranges
    by_name = {swing.name: swing for swing in levers.cost_swings(found.ladder.service(found.order), "miss")}
    for each in row["swings"]:
        assert each["at_low"]["miss_usd_per_million"] == by_name[each["what"]].at_low


def test_the_strongest_pairs_are_shown(plain, found):
    pairs = plain[-1]["pairs"]
    for kind in KINDS:
        shown = [each for each in pairs if each["token_kind"] == kind]
        assert len(shown) == 5
        worth = sorted(map(abs, found.pairs[kind].values()), reverse=True)[:5]
        assert [abs(math.log(each["factor"])) for each in shown] == pytest.approx(worth)


def test_both_daily_prices_stand_beside_the_costs(document):
    row = document("waterfall deepseek-v4-pro --when 2026-09-15 --draws 10")["rows"][-1]
    low, high = row["list_prices"]
    assert (low["price_window"], high["price_window"]) == ("off-peak", "peak")
    assert low["miss_margin"] == pytest.approx(1 - row["miss_usd_per_million"] / low["miss_price"])
    assert 0 < high["break_even_use"] < low["break_even_use"] < 1
    even = document(
        f"waterfall deepseek-v4-pro --when 2026-09-15 --draws 10 --figure utilisation={low['break_even_use']}"
    )["rows"][-1]["list_prices"][0]
    assert even["request_margin"] == pytest.approx(0, abs=1e-9)


def test_another_product_and_other_figures(document):
    line = "waterfall deepseek-v4-flash --product mimo-v2.5-pro --when 2026-06-01 --figure rent=1:1.5:2 --hit-rate 0.5"
    answer = document(f"{line} --figure first-token=3 --draws 10")
    assert answer["inputs"]["figure"] == ["rent=1:1.5:2", "first token=3"]
    assert answer["inputs"]["hit_rate"] == 0.5
    row = answer["rows"][-1]
    assert [each["product"] for each in row["list_prices"]] == ["mimo-v2.5-pro"]
    figures = {each["what"]: each for each in row["assumptions"]}
    assert (figures["rent"]["low"], figures["rent"]["value"], figures["rent"]["high"]) == (1, 1.5, 2)
    assert figures["hit rate"]["value"] == 0.5 and figures["first token"]["value"] == 3


def test_a_model_without_a_list_has_costs_all_the_same(document):
    answer = document("waterfall mixtral-8x7b --draws 10")
    assert answer["rows"][-1]["list_prices"] == [] and answer["inputs"]["product"] is None
    assert [each["kind"] for each in answer["sources"]] == ["model", "chip", "chip"]


def test_a_config_is_a_model(document, tmp_path):
    path = tmp_path / "config.json"
    row = published()["openai/gpt-oss-120b"]
    path.write_text(json.dumps(row["config"]))
    own, catalogued = (document(f"waterfall {model} --draws 10")["rows"][-1] for model in (path, "gpt-oss-120b"))
    assert own["output_usd_per_million"] == pytest.approx(catalogued["output_usd_per_million"], rel=0.05)


def test_broken_promises_are_said(document):
    answer = document("waterfall deepseek-v4-pro --draws 10")
    late = [row["lever"] or "none" for row in answer["rows"] if row["prompt_s"] > 5.00001]
    assert late
    assert any(f"no deployment reads a prompt in 5 s at: {', '.join(late)};" in note for note in answer["notes"])
    quick = document("waterfall deepseek-v4-pro --draws 10 --figure user-speed=2000")
    assert any("no deployment gives each user 2000 tokens/s at: none," in note for note in quick["notes"])


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("deepseek-v9", "unknown model 'deepseek-v9'"),
        ("deepseek-v4-pro --chip h801", "unknown chip 'h801'"),
        ("deepseek-v4-pro --chip-before h801", "unknown chip 'h801'"),
        ("deepseek-v4-pro --traffic poems", "unknown kind of use 'poems'; known: chat, coding, tools"),
        ("deepseek-v4-pro --order cache,chip", "should have each lever once"),
        ("deepseek-v4-pro --order cache,cache,chip", "should have each lever once"),
        ("deepseek-v4-pro --order cache,hops", "unknown lever 'hops'"),
        ("gpt-oss-20b --order speculation", "unknown lever 'speculation'"),
        ("deepseek-v4-pro --hit-rate 1", "'1' should be a number from 0 to 0.999"),
        ("deepseek-v4-pro --hit-rate 0.7 --figure hit-rate=0.5", "both say the hit rate"),
        ("deepseek-v4-pro --hit-rate nan", "'nan' should be a number from 0 to 0.999"),
        ("deepseek-v4-pro --batch-before 0", "'0' should be a finite number above 0"),
        ("deepseek-v4-pro --figure rent", "'rent' should look like rent=2"),
        ("deepseek-v4-pro --figure hops=3", "'hops=3' should look like rent=2"),
        ("deepseek-v4-pro --figure rent=0", "rent = 0 should be above 0"),
        ("deepseek-v4-pro --figure rent=3:2:1", "'3:2:1' should rise"),
        ("deepseek-v4-pro --draws 0", "'0' should be a whole number from 1"),
        ("deepseek-v4-pro --draws 1000001", "should be at most 100,000"),
        ("deepseek-v4-pro --when 2020-01-01", "no price of 'deepseek-v4-pro' is known at 2020-01-01"),
        ("mixtral-8x7b --when 2026-06-01", "Mixtral 8x7B has no price on 2026-06-01"),
        ("mixtral-8x7b --product hops", "unknown product with a price 'hops'"),
        ("deepseek-v4-pro --chip ascend-910c", "no dollars for an hour of 'ascend-910c': give the rent"),
        ("deepseek-v4-pro --chip mi300x", "no published prefill run on a chip of AMD"),
        ("deepseek-v4-pro --figure input=1e9", "no deployment holds a sequence of this traffic"),
    ],
)
def test_bad_input_ends_with_status_2(run, line, says):
    status, out, err = run(f"waterfall {line}")
    assert (status, out) == (2, "")
    assert says in err


def test_the_table_has_a_line_for_each_lever(run, found):
    status, out, err = run("waterfall deepseek-v4-pro --when 2026-09-15 --draws 10")
    assert (status, err) == (0, "")
    lines = out.splitlines()
    assert [line.split("  ")[0] for line in lines[1:10]] == ["none", *levers.LEVERS]
    price = prices.price_at("deepseek-v4-pro", "2026-09-15T12:00")
    assert any(line.strip().startswith("deepseek-v4-pro, USD") and f"{price.miss:g}" in line for line in lines)
    for word in ("90% of 10 draws", "pairs that change what the other is worth, output:", "moved alone", "assumed"):
        assert any(line.strip().startswith(word) for line in lines)
