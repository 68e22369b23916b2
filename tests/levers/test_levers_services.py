"""What tokens cost: vectorised beside `Deployment` one by one, nothing lost between the parts, bad figures refused."""

import dataclasses
import math

import numpy as np
import pytest
from effort import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from levers.services import FIGURES, by_hand, figure, service

from costlab import arch, chips, levers
from costlab.chips import ChipHour, DraftedRound
from costlab.chips.memory import sizes
from costlab.levers import KINDS, token_costs

DOLLARS = 2.0 / 3600 / 0.5  # of a chip-second, at the plain figures
SHAPES = [
    {"model": "deepseek-v4-flash"},
    {"model": "deepseek-v4-flash", "drafted": 1},
    {"model": "deepseek-v4-flash", "cached": False, "batch": 8.0},
    {"model": "mimo-v2-flash", "chip": "h20", "drafted": 1, "hit_rate": 0.9, "input": 60_000},
    {"model": "nemotron-3-super", "chip": "b200", "hit_rate": 0.0},
    {"model": "llama-3.1-70b", "chip": "a100-80g", "batch": 0.6},
    {"model": levers.without_sparsity(arch.load("mixtral-8x7b")), "chip": "a100-80g", "input": 2000},
]


def as_numbers(costs):
    return {kind: float(costs.of(kind)) for kind in KINDS}


# --- beside the scalar path --------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: str(getattr(shape["model"], "key", shape["model"])))
def test_costs_are_those_of_deployments_one_by_one(shape):
    asked = service(**shape)
    found, costs = by_hand(asked), token_costs(asked)
    new = float(costs.request["miss"]) + (0 if asked.cached else float(costs.request["hit"]))
    assert float(costs.miss) == pytest.approx(found.misses / new * DOLLARS * 1e6)
    assert float(costs.output) == pytest.approx(found.write / FIGURES["output"] * DOLLARS * 1e6)
    assert (float(costs.batch), float(costs.chips["prefill"]), float(costs.chips["decode"])) == (
        found.batch, *found.chips,
    )  # fmt: skip
    looked = float(costs.hit_parts.get("looking at it", np.array(0.0))) * float(costs.request["hit"]) / 1e6
    assert looked == pytest.approx((found.read - found.misses) * DOLLARS, abs=1e-12)


@pytest.mark.parametrize("hit_rate", [0.0, 0.75])
@pytest.mark.parametrize("batch", [None, 2.0])
def test_mixed_steps_are_those_of_deployments_one_by_one(hit_rate, batch):
    asked = service(
        separate=False, batch=batch, output=1, input=600, hit_rate=hit_rate, prefill_share=0.35, decode_share=0.35,
        user_speed=4.0,
    )  # fmt: skip
    found, costs = by_hand(asked), token_costs(asked)
    assert float(costs.output) == pytest.approx(found.write * DOLLARS * 1e6)
    assert float(costs.miss) == pytest.approx(found.misses / float(costs.request["miss"]) * DOLLARS * 1e6)
    assert (float(costs.batch), float(costs.chips["decode"])) == (found.batch, found.chips[1])


@pytest.mark.parametrize("chip", ["h800", "a100-80g"])
def test_output_and_misses_are_priced_as_chips_prices_them(chip):
    """`chips.token_price` at the same share of the roofline: another search over the same deployments."""
    asked = service(chip=chip, drafted=1, hit_rate=0.0)
    hour = {"chip": chip, "hourly": 2.0 / 0.5, "chips": sizes(chip, 256)}
    write = chips.token_price(
        asked.model, ChipHour(**hour, efficiency=0.4), "decode", 8250, user_tokens_s=20.0, draft=DraftedRound(1, 0.8)
    )
    costs = token_costs(asked)
    assert float(costs.output) == pytest.approx(write.per_million)
    assert float(costs.batch) == write.batch
    read = chips.token_price(asked.model, ChipHour(**hour, efficiency=0.3), "prefill", 8000, ttft_s=4.0)
    assert float(token_costs(service(chip=chip, hit_rate=0.0)).miss) == pytest.approx(read.per_million)


RANDOM = st.fixed_dictionaries(
    {
        "rent": st.floats(0.5, 8),
        "utilisation": st.floats(0.1, 1),
        "prefill share": st.floats(0.05, 1),
        "decode share": st.floats(0.05, 1),
        "user speed": st.floats(5, 60),
        "first token": st.floats(0.5, 20),
        "input": st.integers(1, 100_000),
        "hit rate": st.floats(0, 0.999),
        "output": st.integers(1, 4000),
        "round tokens": st.floats(1, 2),
        "kept": st.floats(0, 100),
        "storage": st.floats(0, 1e-3),
        "load": st.floats(1e9, 60e9),
    }
)
FORMS = [service(drafted=1), service(separate=False, batch=8.0), service(cached=False, separate=False)]


@settings(max_examples=examples(60))
@given(st.lists(RANDOM, min_size=2, max_size=6), st.sampled_from(FORMS))
def test_draws_all_at_once_are_draws_one_by_one(draws, asked):
    together = token_costs(asked, {name: [each[name] for each in draws] for name in FIGURES})
    for i, each in enumerate(draws):
        alone = token_costs(asked, each)
        for kind in KINDS:
            assert together.of(kind)[i] == pytest.approx(float(alone.of(kind)), rel=1e-9)
        assert together.batch[i] == float(alone.batch)
        assert together.first_token[i] == pytest.approx(float(alone.first_token))
        for name, part in alone.hit_parts.items():
            assert together.hit_parts[name][i] == pytest.approx(float(part), rel=1e-9, abs=1e-15)


# --- accounts ----------------------------------------------------------------------------------------------------


@settings(max_examples=examples(60))
@given(RANDOM, st.sampled_from(FORMS))
def test_nothing_is_lost_between_the_parts(figures, asked):
    costs = token_costs(asked, figures)
    cost, tokens = as_numbers(costs), {kind: float(costs.request[kind]) for kind in KINDS}
    assert all(0 <= each < math.inf for each in cost.values())
    assert cost["hit"] == pytest.approx(sum(float(part) for part in costs.hit_parts.values()), rel=1e-12)
    assert float(costs.bill) == pytest.approx(sum(cost[kind] * tokens[kind] for kind in KINDS) / 1e6, rel=1e-12)
    assert tokens["hit"] + tokens["miss"] == figures["input"]
    assert tokens["miss"] >= 1 and tokens["output"] == figures["output"]
    if not asked.cached:
        assert set(costs.hit_parts) == {"reading it again"}
        assert cost["hit"] == cost["miss"]


@settings(max_examples=examples(40))
@given(RANDOM, st.sampled_from(FORMS), st.floats(1.01, 3))
def test_costs_rise_with_rent_and_fall_with_use_and_speed(figures, asked, factor):
    """Linear in the rent, inverse in use, but for what storage takes; no dearer where more of the peak is reached."""
    before = token_costs(asked, figures)
    keeping = float(before.hit_parts.get("keeping", np.array(0.0)))
    for name, by in (("rent", factor), ("utilisation", 1 / factor)):
        after = token_costs(asked, {**figures, name: max(figures[name] * by, 1e-3)})
        times = factor if name == "rent" else figures[name] / max(figures[name] * by, 1e-3)
        assert float(after.miss) == pytest.approx(times * float(before.miss), rel=1e-9)
        assert float(after.output) == pytest.approx(times * float(before.output), rel=1e-9)
        assert float(after.hit) == pytest.approx(times * (float(before.hit) - keeping) + keeping, rel=1e-9)
    if asked.separate:
        quick = token_costs(asked, {**figures, "decode share": min(1.0, factor * figures["decode share"])})
        assert float(quick.output) <= float(before.output) * (1 + 1e-9) or slow(before, figures) or slow(quick, figures)


def slow(costs, figures):
    """Whether the promise is broken: the cheapest of those that break it need not be the same."""
    return float(costs.user_speed) < figures["user speed"] * (1 - 1e-6)


@settings(max_examples=examples(40))
@given(RANDOM, st.sampled_from(FORMS))
def test_promises_are_kept_or_broken_openly(figures, asked):
    """A service slower than promised runs one sequence a replica, and says how slow it is."""
    costs = token_costs(asked, figures)
    if slow(costs, figures):
        assert float(costs.batch) <= float(costs.chips["decode"])
    if not asked.separate:
        return
    slowest = token_costs(asked, {**figures, "user speed": figures["user speed"] / 2})
    assert float(slowest.output) <= float(costs.output) * (1 + 1e-9) or slow(costs, figures)


def test_a_hit_that_never_comes_is_a_miss():
    """At a hit rate of 0, and where a prompt is one token: nothing is kept."""
    for instead in ({"hit_rate": 0.0}, {"input": 1, "hit_rate": 0.9}):
        costs = token_costs(service(**instead))
        assert as_numbers(costs)["hit"] == as_numbers(costs)["miss"]
        assert set(costs.hit_parts) == {"reading it again"} and float(costs.request["hit"]) == 0
    mixed = token_costs(service(), {"hit rate": [0.0, 0.5]})
    assert mixed.hit[0] == mixed.miss[0] == mixed.hit_parts["reading it again"][0]
    assert mixed.hit_parts["reading it again"][1] == 0 < mixed.hit[1] < mixed.miss[1]


def test_what_is_kept_is_paid_by_those_who_hit():
    """Bytes of what a request reads and writes, for as long as they wait, by the hits; by the counts of arch."""
    asked = service(model="llama-3.1-70b", hit_rate=0.25, kept=7.0, storage=1e-4)
    costs = token_costs(asked)
    bytes_ = 327_680 * (8000 - 2000 + 500)
    assert float(costs.hit_parts["keeping"]) == pytest.approx(bytes_ / 1e9 * 7.0 * 1e-4 / 2000 * 1e6)


def test_slow_storage_keeps_chips_waiting():
    """At 1 GB/s loading takes longer than reading; each chip loads its part, so chip-seconds are bytes by speed."""
    fast, slow = (token_costs(service(model="llama-3.1-70b", hit_rate=0.9, load=rate)) for rate in (1e12, 1e8))
    assert float(fast.hit_parts["loading"]) == 0
    read = float(slow.miss) * 800 / 1e6 + float(slow.hit_parts["looking at it"]) * 7200 / 1e6
    waited = 327_680 * 7200 / 1e8 * DOLLARS - read
    assert float(slow.hit_parts["loading"]) == pytest.approx(waited / 7200 * 1e6)


def test_where_no_sequence_fits_costs_are_infinite_and_no_number_is_made_up():
    for asked in (service(input=10**9), service(input=10**9, separate=False)):
        costs = token_costs(asked, {"hit rate": [0.0, 0.5]})
        assert all(np.isinf(costs.of(kind)).all() for kind in KINDS)


# --- what is refused ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value"),
    [("hit rate", 1.0), ("hit rate", -0.1), ("utilisation", 0.0), ("utilisation", 1.2), ("rent", 0.0), ("rent", -1),
     ("output", 0), ("input", 0), ("user speed", 0), ("load", math.inf), ("rent", math.nan), ("round tokens", 0.5),
     ("kept", -1), ("storage", -1e-9), ("prefill share", 2.0)],
)  # fmt: skip
def test_figures_that_cannot_be_are_refused(name, value):
    """In the place of a figure, as a figure, and as an end of its range."""
    with pytest.raises(ValueError, match=f"{name} = "):
        token_costs(service(), {name: value})
    if math.isfinite(value):
        with pytest.raises(ValueError, match=f"{name} = "):
            service(**{name.replace(" ", "_"): value})
        low, high = sorted((value, FIGURES[name]))
        with pytest.raises(ValueError, match=f"{name} = "):
            service().with_inputs(**{name.replace(" ", "_"): figure(name, (low, FIGURES[name], high))})


def test_services_that_cannot_be_are_refused():
    plain = service()
    some = dict(plain.inputs_by_name)
    with pytest.raises(ValueError, match="a service needs load"):
        dataclasses.replace(plain, inputs_by_name={name: each for name, each in some.items() if name != "load"})
    with pytest.raises(ValueError, match="unknown input of a service 'loads'"):
        dataclasses.replace(plain, inputs_by_name={**some, "loads": some["load"]})
    with pytest.raises(ValueError, match="rent in 'CNY per chip-hour' should be in 'USD per chip-hour'"):
        plain.with_inputs(rent=dataclasses.replace(some["rent"], unit="CNY per chip-hour"))
    with pytest.raises(ValueError, match="rent in CNY should be in USD"):
        plain.with_inputs(rent=dataclasses.replace(some["rent"], currency="CNY"))
    with pytest.raises(ValueError, match="unknown input of a service 'speed'"):
        plain.with_inputs(speed=3)
    with pytest.raises(ValueError, match="unknown chip"):
        service(chip="h801")
    with pytest.raises(ValueError, match="Mixtral 8x7B has no module that drafts"):
        service(model="mixtral-8x7b", drafted=1)
    with pytest.raises(ValueError, match="drafted = -1"):
        service(drafted=-1)
    for batch in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(ValueError, match="batch_per_chip"):
            service(batch=batch)
    with pytest.raises(ValueError, match="unknown input 'hits'"):
        token_costs(plain, {"hits": 0.5})
    with pytest.raises(ValueError, match=r"arrays of unlike shapes: rent \(2,\), hit rate \(3,\)"):
        token_costs(plain, {"rent": [1, 2], "hit rate": [0.1, 0.2, 0.3]})


def test_a_model_that_no_deployment_holds_is_refused():
    huge = levers.in_sixteen_bits(levers.without_sparsity(arch.load("kimi-k3")))
    layers = (*huge.layers, *huge.layers, *huge.layers, *huge.layers, *huge.layers)
    with pytest.raises(ValueError, match="no deployment of up to 256 a100-80g holds its weights"):
        token_costs(service(model=dataclasses.replace(huge, layers=layers), chip="a100-80g"))
