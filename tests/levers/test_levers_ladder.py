"""The levers of a product: each changes what it says and nothing else; falls multiply, in any order."""

import itertools
import math

import pytest
from effort import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from costlab import arch, levers
from costlab.levers import KINDS, LEVERS, shapley
from costlab.levers.deployed import layouts_of

FLASH = levers.ladder("deepseek-v4-flash", traffic="chat")
#: Without a module that drafts: seven levers, whose 5,040 orders are gone through.
SMALL = levers.waterfall("gpt-oss-20b", chip_before="h100-sxm", traffic="tools")
BY_SET = {found: SMALL.ladder.costs(found) for found in shapley.sets(SMALL.order)}


# --- levers ------------------------------------------------------------------------------------------------------


@settings(max_examples=examples(60))
@given(st.sets(st.sampled_from(list(LEVERS))))
def test_each_lever_does_what_it_says(on):
    found = FLASH.service(on)
    assert found.cached is ("cache" in on)
    assert found.drafted == int("speculation" in on)
    assert found.separate is ("separation" in on)
    assert found.batch_per_chip == (None if "batch and use" in on else 8.0)
    assert found.chip == ("h800" if "chip" in on else "a100-80g")
    figures = found.inputs()
    for name, lever in (("utilisation", "batch and use"), ("rent", "chip")):
        assert figures.pop(name) == (FLASH.figures if lever in on else FLASH.before)[name]
    assert figures == {name: each for name, each in FLASH.figures.items() if name in figures}


@pytest.mark.parametrize("on", [on for n in range(4) for on in itertools.combinations(list(LEVERS)[:3], n)])
def test_the_model_has_just_the_levers_that_are_on(on):
    own, model = arch.load("deepseek-v4-flash"), FLASH.service(on).model
    assert (model.params.active < 0.5 * model.params.total) is ("sparsity" in on)
    kinds = {attention.kind for attention, _ in model.layers}
    assert kinds == ({attention.kind for attention, _ in own.layers} if "attention" in on else {"full"})
    bytes_per_param = sum(model.weight_bytes().values()) / model.params.total
    assert (bytes_per_param < 1.2) is ("precision" in on)
    if len(on) == 3:
        assert model.layers == own.layers and model.record.math == own.record.math


def test_all_levers_are_the_service_that_is_served():
    steps = levers.ladder("deepseek-v4-flash", traffic="chat")
    served = levers.served("deepseek-v4-flash", traffic="chat")
    assert steps.service(steps.levers) == served
    assert steps.costs(steps.levers).bill == levers.token_costs(served).bill


def test_a_product_without_a_module_has_no_such_lever():
    assert "speculation" not in levers.ladder("gpt-oss-20b").levers
    assert "speculation" not in levers.ladder("deepseek-v4-flash", drafted=0).levers
    with pytest.raises(ValueError, match="unknown lever 'speculation'"):
        levers.ladder("gpt-oss-20b").service(["speculation"])
    with pytest.raises(ValueError, match="has no module that drafts"):
        levers.ladder("gpt-oss-20b", drafted=1)


def test_longer_drafts_have_the_lengths_that_were_measured():
    one, three = (levers.ladder("deepseek-v4-pro", drafted=n).figures["round tokens"] for n in (1, 3))
    assert 1 < one.value < three.value <= 4
    with pytest.raises(ValueError, match="drafted = 40: accepted lengths are known of 1, "):
        levers.ladder("deepseek-v4-pro", drafted=40)


def test_figures_of_ones_own_reach_every_rung():
    for steps in (FLASH.with_inputs(hit_rate=0.8), levers.ladder("deepseek-v4-flash", given={"hit rate": 0.8})):
        for on in ((), LEVERS):
            assert steps.service(on).inputs()["hit rate"].value == 0.8
    with pytest.raises(ValueError, match="hit rate = 1 should be"):
        FLASH.with_inputs(hit_rate=1)
    with pytest.raises(ValueError, match="unknown input of a service 'hits'"):
        levers.ladder("deepseek-v4-flash", given={"hits": 0.8})


def test_what_the_catalog_lacks_may_be_given():
    """Nobody lists a dollar for an Ascend's hour, nor has a run of such a chip that counts for AMD's."""
    with pytest.raises(ValueError, match="no dollars for an hour of 'ascend-910c': give the rent"):
        levers.ladder("deepseek-v4-flash", "ascend-910c")
    assert levers.ladder("deepseek-v4-flash", "ascend-910c", given={"rent": 1.5}).costs(LEVERS).bill > 0
    with pytest.raises(ValueError, match="no published prefill run on a chip of AMD"):
        levers.ladder("deepseek-v4-flash", "mi300x")
    own = {"prefill share": 0.3, "decode share": 0.3}
    assert levers.ladder("deepseek-v4-flash", "mi300x", given=own).costs(LEVERS).bill > 0


@pytest.mark.parametrize(
    ("choices", "says"),
    [
        ({"model": "deepseek-v9"}, "unknown model 'deepseek-v9'"),
        ({"chip": "h801"}, "unknown chip 'h801'"),
        ({"chip_before": "h801"}, "unknown chip 'h801'"),
        ({"traffic": "poems"}, "unknown kind of use 'poems'; known: chat, coding, tools"),
        ({"batch_before": 0.0}, "batch_per_chip = 0.0"),
        ({"batch_before": math.nan}, "batch_per_chip = nan"),
    ],
)
def test_bad_choices_are_refused(choices, says):
    with pytest.raises(ValueError, match=says):
        levers.ladder(**{"model": "deepseek-v4-flash", **choices})


# --- waterfalls --------------------------------------------------------------------------------------------------


@settings(max_examples=examples(20), deadline=None)
@given(st.permutations(list(SMALL.order)))
def test_falls_multiply_to_the_whole_in_any_order(order):
    found = levers.waterfall(SMALL.ladder, order)
    assert found.order == tuple(order)
    assert [rung.lever for rung in found.rungs] == ["", *order]
    for kind in KINDS:
        whole = math.prod(found.factor(kind, lever) for lever in order)
        assert math.log(whole) == pytest.approx(found.log_factor(kind)) == pytest.approx(SMALL.log_factor(kind))


@pytest.mark.parametrize("kind", KINDS)
def test_shares_are_means_over_every_order_of_the_product(kind):
    cost = {found: math.log(float(each.of(kind))) for found, each in BY_SET.items()}
    added, count = dict.fromkeys(SMALL.order, 0.0), 0
    for order in itertools.permutations(SMALL.order):
        before = frozenset()
        for lever in order:
            after = before | {lever}
            added[lever] += cost[before] - cost[after]
            before = after
        count += 1
    assert dict(SMALL.shares[kind]) == pytest.approx({lever: total / count for lever, total in added.items()})
    assert sum(SMALL.shares[kind].values()) == pytest.approx(SMALL.log_factor(kind))


@pytest.mark.parametrize("pair", [("sparsity", "attention"), ("cache", "separation")])
def test_pairs_are_what_both_do_beyond_each_alone(pair):
    """In the mean over every order of the others, with the two of them as one."""
    one, two = pair
    cost = {found: math.log(float(each.output)) for found, each in BY_SET.items()}
    others = [lever for lever in SMALL.order if lever not in pair]
    total, count = 0.0, 0
    for order in itertools.permutations([*others, pair]):
        before = frozenset(order[: order.index(pair)])
        total += cost[before | {one}] + cost[before | {two}] - cost[before | {one, two}] - cost[before]
        count += 1
    assert SMALL.pairs["output"][pair] == pytest.approx(total / count)
    assert len(SMALL.pairs["output"]) == 7 * 6 / 2


def test_the_table_shows_the_rungs():
    rows = SMALL.table().rows
    assert [row["lever"] for row in rows] == ["none", *SMALL.order]
    assert rows[0]["USD per million output"] == SMALL.rungs[0].cost("output")
    shares = [row["share of the output's fall"] for row in rows[1:]]
    assert math.prod(shares) == pytest.approx(rows[0]["USD per million output"] / rows[-1]["USD per million output"])


def test_a_hit_rate_of_nothing_makes_the_cache_no_lever():
    found = levers.waterfall(SMALL.ladder.with_inputs(hit_rate=0.0))
    assert all(found.factor(kind, "cache") == 1 for kind in KINDS)
    assert all(found.shares[kind]["cache"] == pytest.approx(0, abs=1e-12) for kind in KINDS)


@pytest.mark.parametrize(
    ("order", "says"),
    [
        (["cache"], "should have each lever once"),
        ([], "should have each lever once"),
        ([*SMALL.order, "cache"], "should have each lever once"),
        ([*SMALL.order[:-1], "speculation"], "unknown lever 'speculation'"),
    ],
)
def test_orders_that_leave_out_or_repeat_are_refused(order, says):
    with pytest.raises(ValueError, match=says):
        levers.waterfall(SMALL.ladder, order)


def test_other_bad_waterfalls_are_refused():
    with pytest.raises(ValueError, match="chip should be given to `ladder`, not beside one"):
        levers.waterfall(SMALL.ladder, chip="h20")
    with pytest.raises(ValueError, match="unknown lever 'hops'"):
        SMALL.factor("hit", "hops")
    with pytest.raises(ValueError, match="a hit costs inf: no deployment holds a sequence of this traffic"):
        _ = levers.waterfall("kimi-k3", given={"input": 1e9}).shares


def test_layouts_are_found_again():
    """A second waterfall of a product lays out no deployment anew."""
    one, two = (levers.ladder("deepseek-v4-flash").service(("attention",)) for _ in range(2))
    assert one.model is two.model
    assert layouts_of(one.model, "h800", False) is layouts_of(two.model, "H800", False)
