"""The planner's search: least workers, plans that fit, and the constraint that binds where none does."""

import dataclasses
import math

import pytest
from effort import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from costlab import arch, catalog, roofline
from costlab.roofline import Efficiency
from costlab.serving.metrics import Objective
from costlab.serving.plan.candidates import LAYOUTS
from costlab.serving.plan.export import ENGINES, commands
from costlab.serving.plan.money import HOURS_PER_MONTH, price
from costlab.serving.plan.pareto import front
from costlab.serving.plan.pools import Answers
from costlab.serving.plan.searching import search
from costlab.serving.plan.space import Space
from costlab.serving.plan.workers import Drafting, WorkerKind
from costlab.serving.plan.workload import Demand, Mix, demand

REAL = Efficiency(0.5, 0.7, 0.8)
LOAD = demand(8, 2048, 256, length_cv=1.0, peak_factor=1.5)
GOAL = Objective(ttft_s=1.0, tpot_s=0.05)


def space(**changes):
    return Space(**{"model": "llama-3.1-70b", "decode_chips": ("h100-sxm",), "efficiency": REAL, **changes})


@pytest.fixture(scope="module")
def found():
    return search(space(rents={"h100-sxm": 2.0}), LOAD, GOAL)


def of(found, layout):
    return [each for each in found.candidates if each.layout == layout]


def test_every_layout_is_sized_and_cheapest_comes_first(found):
    assert {each.layout for each in found.candidates} == set(LAYOUTS)
    costs = [each.usd_per_hour for each in found.candidates]
    assert costs == sorted(costs)
    for each in found.candidates:
        assert each.usd_per_hour == 2.0 * each.chips == 2.0 * sum(pool.chips for pool in each.pools)
        assert each.closed.met >= GOAL.share and each.closed.ttft_s <= GOAL.ttft_s and each.closed.tpot_s <= GOAL.tpot_s
        assert all(0 < pool.busy < 1 for pool in each.pools)


def test_one_worker_less_is_too_few(found):
    """The counts are the least: with the chips of one worker less, the same kind of worker is no candidate."""
    tight = space(rents={"h100-sxm": 2.0})
    for each in found.candidates[:6]:
        if each.layout == "co-located" and each.decode.workers > 1:
            most = each.decode.chips - each.decode.worker.deployment.chips
            less = search(dataclasses.replace(tight, most_chips=most, layouts=("co-located",)), LOAD, GOAL)
            same = each.decode.worker
            kinds = [(c.decode.worker.deployment.chips, c.decode.worker.step_tokens) for c in less.candidates]
            assert (same.deployment.chips, same.step_tokens) not in kinds


def test_plans_fit_with_the_reserve(found):
    """Every pool holds its longest request, and its full batch of mean ones, in what the reserve leaves."""
    longest = max(mix.last_context for mix in LOAD.mixes)
    for each in found.candidates:
        for pool in each.pools:
            worker = pool.worker
            assert worker.deployment.fits()
            assert worker.room.kept_bytes(longest) <= 0.95 * worker.room.free_bytes
        decode = each.decode.worker
        steps = sum(mix.share * mix.decoded_tokens for mix in LOAD.mixes)
        context = sum(m.share * m.decoded_tokens * (m.input_tokens + m.output_tokens / 2) for m in LOAD.mixes) / steps
        if decode.most_running < decode.step_tokens - 1:
            assert decode.most_running * decode.room.kept_bytes(round(context)) <= 0.95 * decode.room.free_bytes


def test_a_batch_is_no_larger_than_a_steps_budget():
    """The budget of prefill workers is theirs alone: those that decode have room in a step for all that they run."""
    found = search(space(prefill_tokens=64, layouts=("separated",)), LOAD, Objective(3.0, 0.05)).candidates
    assert max(each.decode.worker.most_running for each in found) > 64
    for each in found:
        assert all(pool.worker.step_tokens == 64 for pool in each.prefill)
        assert all(pool.worker.most_running <= pool.worker.step_tokens for pool in each.pools)


def test_buckets_part_the_prompts(found):
    for each in of(found, "buckets"):
        short, long = each.prefill
        assert short.least_tokens == 0 and short.most_tokens == long.least_tokens and math.isinf(long.most_tokens)


def test_conditional_reads_short_prompts_where_they_are_answered(found):
    for each in of(found, "conditional"):
        (prefill,) = each.prefill
        assert prefill.least_tokens == each.threshold_tokens
        assert str(each.threshold_tokens) in each.name


def test_a_heavier_load_needs_no_fewer_chips():
    chips = [
        min(c.chips for c in search(space(layouts=("separated",)), demand(rate, 2048, 256), GOAL).candidates)
        for rate in (1, 4, 16, 64)
    ]
    assert chips == sorted(chips) and chips[-1] > chips[0]


def test_hits_save_prefill_workers():
    cold, warm = (
        search(space(layouts=("separated",)), demand(30, 8192, 64, hit_rate=h), GOAL).candidates for h in (0.0, 0.9)
    )
    assert min(sum(p.chips for p in c.prefill) for c in warm) < min(sum(p.chips for p in c.prefill) for c in cold)


def test_unlike_chips():
    """Splitwise's idea: prompts on fast chips, answers on old ones; each pool has its own."""
    mixed = search(space(decode_chips=("a100-80g",), prefill_chips=("h100-sxm",), layouts=("separated",)), LOAD, GOAL)
    for each in mixed.candidates:
        assert {pool.worker.chip for pool in each.prefill} == {"h100-sxm"} and each.decode.worker.chip == "a100-80g"
        assert each.link.bandwidth_bytes_s <= 8 * 0.8 * catalog.chip("a100-80g").network_bytes_s


def test_experts_are_spread_over_a_worker():
    found = search(Space("deepseek-v3", ("h800",), efficiency=REAL), demand(20, 2048, 256), Objective(3.0, 0.08))
    nodes = [pool.worker.deployment for each in found.candidates for pool in each.pools]
    assert nodes and all(node.fits() and node.chips >= 16 for node in nodes)
    assert any(node.replicas > 1 for node in nodes)


DRAFT = Drafting(arch.drafter("mtp", arch.load("deepseek-v3")), 1, (0.85,))
SPECULATING = {"model": "deepseek-v3", "decode_chips": ("h800",), "efficiency": REAL, "draftings": (DRAFT,)}


@pytest.mark.parametrize("layout", ["co-located", "separated", "conditional"])
def test_speculation_is_tried_where_answers_are_made(layout):
    load = Demand(20, (Mix(512, 512, 0.5), Mix(2048, 512, 0.5)))
    found = search(Space(**SPECULATING, layouts=(layout,)), load, Objective(3.0, 0.04)).candidates
    node = next(each.decode.worker for each in found if each.decode.worker.drafting)
    plain = dataclasses.replace(node, drafting=None)
    gain = plain.step_s(32, 768) / node.step_s(32, 768)
    round_cost = 1.85 / gain  # a round yields 1.85 tokens; it takes at least one pass, and less than two
    assert 1 <= round_cost < 1.5
    assert layout == "conditional" or any(not each.decode.worker.drafting for each in found)  # of which the best stay
    assert not any(pool.worker.drafting for each in found for pool in each.prefill)


def test_drafted_tokens_take_part_of_a_steps_budget():
    """Of 64 tokens 31 sequences take 62, and a chunk at least one: a 32nd would leave none for prompts."""
    node = roofline.deployment("deepseek-v3", "h800", 16)
    load = demand(1, 512, 8)
    plain, drafting = (
        Answers(WorkerKind("h800", node, 64, drafting=d), load, load, reserve=0.0, token_s=1.0) for d in (None, DRAFT)
    )
    assert (plain.most_running, drafting.most_running) == (63, 31)


# --- why not ---------------------------------------------------------------------------------------------------


def test_a_single_prefill_that_is_too_slow_is_said_so_and_adds_no_workers():
    """dynamo PR 11624: more replicas cannot shorten one prefill."""
    found = search(space(), demand(0.001, 8192, 16), Objective(ttft_s=0.01, tpot_s=1.0))
    assert not found.candidates and found.infeasible.constraint == "TTFT"
    assert "no number of workers" in found.infeasible.words and "0.01 s" in found.infeasible.words


def test_a_token_that_is_too_slow_is_said_so():
    found = search(space(), demand(0.001, 64, 16), Objective(ttft_s=10.0, tpot_s=1e-4))
    assert not found.candidates and found.infeasible.constraint == "TPOT"
    assert "no number of workers" in found.infeasible.words


def test_weights_that_do_not_fit_are_about_memory_not_the_objective():
    """aiconfigurator #1396: what does not fit is not told to relax its objective."""
    found = search(space(tensor_parallel=(1,)), LOAD, GOAL)
    assert not found.candidates and found.infeasible.constraint == "memory"
    assert "GB of weights" in found.infeasible.words


def test_a_request_larger_than_memory_is_about_memory():
    found = search(space(tensor_parallel=(2,)), demand(1, 100_000, 16), GOAL)
    assert not found.candidates and found.infeasible.constraint == "memory"
    assert "100,016 tokens" in found.infeasible.words


def test_a_prefill_worker_holds_two_prompts():
    """One is read while another is sent: two chips hold a 70B model and 8,800 tokens, one prompt of 5,000."""
    found = search(space(tensor_parallel=(2, 4), layouts=("separated",)), demand(1, 5000, 16), GOAL)
    assert {pool.worker.deployment.chips for each in found.candidates for pool in each.prefill} == {4}
    assert any(each.reason.constraint == "memory" and "one sent" in each.reason.words for each in found.refused)


def test_a_slow_link_is_about_the_link():
    found = search(space(layouts=("separated",), link_bytes_s=1e6), LOAD, GOAL)
    assert not found.candidates
    assert {each.reason.constraint for each in found.refused} == {"memory", "link"}


def test_a_full_link_is_about_the_link():
    """Egress and ingress per chip, arXiv 2506.05508: bytes of the prompts over the chips that hold them."""
    load = demand(40, 8192, 4)
    wide = search(space(layouts=("separated",), tensor_parallel=(8,)), load, GOAL).candidates
    pool = wide[0].decode
    ingress = 40 * 8192 * 327_680 / pool.chips
    narrow = space(layouts=("separated",), tensor_parallel=(8,), link_bytes_s=ingress * 1.1)
    refused = [each.reason for each in search(narrow, load, GOAL).refused]
    assert any(each.constraint == "link" and "ingress of a decode chip" in each.words for each in refused)


def test_whole_workers_that_do_not_part_the_chips_are_about_the_ratio():
    """Loads that fill 1.2 + 1.2 workers of 8 chips need 4 of them; 3 would hold the work."""
    wide = search(space(layouts=("separated",), tensor_parallel=(8,)), demand(30, 2048, 256), GOAL).candidates
    chips = min(each.chips for each in wide)
    found = search(
        space(layouts=("separated",), tensor_parallel=(8,), most_chips=chips - 1), demand(30, 2048, 256), GOAL
    )
    assert not found.candidates
    assert all(each.reason.constraint in ("ratio", "load") for each in found.refused)
    ratio = next(each for each in found.refused if each.reason.constraint == "ratio")
    assert f"there are {chips - 1}" in ratio.reason.words and "busy" in ratio.reason.words


def test_too_heavy_a_load_is_about_the_load():
    found = search(space(most_chips=8, layouts=("co-located",)), demand(500, 2048, 256), GOAL)
    assert not found.candidates and "load" in {each.reason.constraint for each in found.refused}
    assert found.infeasible is None


LENGTHS = st.tuples(st.sampled_from([1, 16, 300, 2048, 30_000]), st.sampled_from([1, 2, 256, 2048]), st.integers(1, 9))
HEAD = Drafting(arch.drafter("eagle3", arch.load("llama-3.1-70b")), 2, (0.7, 0.5))
SPACES = st.fixed_dictionaries(
    {
        "decode_chips": st.sampled_from([("h100-sxm",), ("a100-80g", "h100-sxm")]),
        "layouts": st.lists(st.sampled_from(LAYOUTS), min_size=1, max_size=2, unique=True).map(tuple),
        "tensor_parallel": st.sampled_from([(2,), (4, 8)]),
        "step_tokens": st.sampled_from([(4,), (64, 8192), (65_536,)]),
        "prefill_tokens": st.sampled_from([1, 512, 10**6]),
        "draftings": st.sampled_from(
            [(), (Drafting(arch.drafter("eagle3", arch.load("llama-3.1-70b")), 2, (0.7, 0.5)),)]
        ),
        "step_s": st.sampled_from([0.0, 0.01]),
        "memory_share": st.sampled_from([0.9, 1.0]),
        "most_chips": st.sampled_from([None, 16]),
    }
)
GOALS = st.builds(Objective, st.sampled_from([0.05, 1.0, 30.0]), st.sampled_from([0.01, 0.05]), share=st.just(0.9))


def test_short_prompts_that_even_very_many_cannot_read_beside_answers():
    """Nobody has been asked to read the long ones then, so first tokens are no reason, here or for the whole space."""
    load = Demand(5000, (Mix(30_000, 2, 0.5), Mix(30_001, 2, 0.5)))
    given = space(efficiency=Efficiency(), layouts=("conditional",), tensor_parallel=(4,), step_tokens=(8192,))
    found = search(given, load, Objective(30.0, 0.4))
    (reason,) = {each.reason for each in found.refused}
    assert reason.constraint == "TPOT" and "prompts read between them included" in reason.words
    assert reason.words.startswith("97% of requests take up to 46")
    assert found.infeasible is None


@settings(max_examples=examples(150))
@given(SPACES, st.lists(LENGTHS, min_size=1, max_size=3), st.sampled_from([0.01, 1.0, 30.0, 5000.0]), GOALS)
def test_any_space_gives_layouts_or_says_why_not(how, drawn, rate, goal):
    """Found by search: steps without a number of seconds; a drafter that does not fit beside the model."""
    total = sum(weight for *_, weight in drawn)
    load = Demand(rate, tuple(Mix(given, made, weight / total) for given, made, weight in drawn))
    found = search(Space("llama-3.1-70b", **how), load, goal)
    assert found.candidates or found.infeasible or found.refused
    for each in found.candidates:
        assert each.closed.met >= goal.share and each.closed.ttft_s <= goal.ttft_s
        assert not load.mean(lambda mix: mix.decoded_tokens) or each.closed.tpot_s <= goal.tpot_s * (1 + 1e-9)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"layouts": ("apart",)}, "unknown layout 'apart'"),
        ({"draftings": (DRAFT,), "step_tokens": (2,)}, "step tokens = 2 should be at least 3: .* the 1 drafted behind"),
        ({"reserve": 1.0}, "reserve = 1.0"),
        ({"reserve": math.nan}, "reserve = nan"),
        ({"step_tokens": (0,)}, "step tokens .* got 0"),
        ({"most_chips": 0}, "chips .* got 0"),
        ({"rents": {"h100-sxm": -1.0}}, "rent of h100-sxm = -1"),
        ({"rents": {"h100-sxm": math.nan}}, "rent of h100-sxm = nan"),
    ],
)
def test_a_space_that_is_none(change, says):
    with pytest.raises(ValueError, match=says):
        space(**change)


def test_unknown_names():
    with pytest.raises(ValueError, match="unknown model"):
        search(space(model="llama"), LOAD, GOAL)
    with pytest.raises(ValueError, match="unknown chip"):
        search(space(decode_chips=("h900",)), LOAD, GOAL)


# --- money, front, flags ---------------------------------------------------------------------------------------


def test_the_tokens_bear_the_rent(found):
    """Price times tokens of each class, over a month at the mean rate, is the month's rent."""
    load = demand(8, 2048, 256, hit_rate=0.5, peak_factor=1.5)
    for each in search(space(rents={"h100-sxm": 2.0}), load, GOAL).candidates[:10]:
        money = price(each, load, {"h100-sxm": 2.0})
        seconds = HOURS_PER_MONTH * 3600
        bill = (
            seconds
            * 8
            / 1e6
            * (
                money.miss_usd_per_million * 1024
                + money.hit_usd_per_million * 1024
                + money.output_usd_per_million * 256
            )
        )
        assert bill == pytest.approx(money.usd_per_month, rel=1e-9)
        assert money.usd_per_month == pytest.approx(2.0 * each.chips * HOURS_PER_MONTH)
        # attention to what is cached is computed, and nothing else of it
        assert 0 < money.hit_usd_per_million < 0.2 * money.miss_usd_per_million < money.output_usd_per_million
        assert 0 < money.utilisation < 1 / 1.5


def test_pools_of_their_own_bear_their_own_rent(found):
    each = of(found, "separated")[0]
    money = price(each, LOAD, {"h100-sxm": 2.0})
    read = 2.0 / 3600 * sum(pool.chips for pool in each.prefill) / (8 * LOAD.mean(lambda mix: mix.new_tokens)) * 1e6
    assert money.miss_usd_per_million == pytest.approx(read)
    assert math.isnan(money.hit_usd_per_million)
    with pytest.raises(ValueError, match="no rent of h100-sxm"):
        price(each, LOAD, {})


def test_the_front():
    points = [(4, 4), (3, 1), (1, 3), (2, 2), (3, 3), (2, 2), (1, 4)]
    assert front(points, lambda each: each) == [(3, 1), (1, 3), (2, 2)]


@pytest.mark.parametrize("engine", list(ENGINES))
def test_flags_are_known_and_say_the_plan(engine, found):
    """Each flag is one of the engine's own, as its arguments are defined; and carries the plan's number."""
    for layout in LAYOUTS:
        each = of(found, layout)[0]
        lines = commands(each, engine, 9000)
        runs = [line for line in lines if not line.startswith("#")]
        assert len(runs) == len(each.pools) and ENGINES[engine] in lines[0]
        flags = {word for line in runs for word in line.split() if word.startswith("--")}
        assert flags <= KNOWN[engine]
        assert str(each.decode.worker.most_running if engine == "sglang" else 9000) in runs[-1]
        assert ("transfer" in runs[0] or "disaggregation" in runs[0]) == bool(each.prefill)
    with pytest.raises(ValueError, match="unknown engine 'tgi'"):
        commands(found.candidates[0], "tgi", 9000)


#: Read from vllm 0.33.0, vllm/engine/arg_utils.py, and sglang 0.5.23, sglang/srt/arg_groups/fields, on 2026-11-26.
KNOWN = {
    "vllm": {
        "--tensor-parallel-size", "--data-parallel-size", "--enable-expert-parallel", "--max-num-seqs",
        "--max-num-batched-tokens", "--max-model-len", "--gpu-memory-utilization", "--block-size",
        "--kv-transfer-config", "--speculative-config",
    },
    "sglang": {
        "--model-path", "--tp-size", "--attn-dp-size", "--ep-size", "--max-running-requests", "--chunked-prefill-size",
        "--context-length", "--mem-fraction-static", "--page-size", "--disaggregation-mode", "--enable-mixed-chunk",
        "--speculative-algorithm", "--speculative-num-steps", "--speculative-eagle-topk",
        "--speculative-num-draft-tokens", "--speculative-draft-model-path",
    },
}  # fmt: skip


def test_flags_of_a_wide_worker_with_drafts():
    draft = Drafting(arch.drafter("mtp", arch.load("deepseek-v3")), 2, (0.85, 0.7))
    given = Space("deepseek-v3", ("h800",), efficiency=REAL, layouts=("separated",), draftings=(draft,))
    each = next(
        c for c in search(given, demand(20, 512, 512), Objective(3.0, 0.05)).candidates if c.decode.worker.drafting
    )
    ranks = each.decode.worker.ranks
    vllm, sglang = (commands(each, engine, 1024, "mtp")[-1] for engine in ("vllm", "sglang"))
    assert f"--data-parallel-size {ranks}" in vllm and "--enable-expert-parallel" in vllm
    assert '"method": "mtp", "num_speculative_tokens": 2' in vllm
    assert f"--tp-size {each.decode.worker.deployment.chips} --attn-dp-size {ranks}" in sglang
    assert "--speculative-algorithm NEXTN --speculative-num-steps 2" in sglang
    assert "--speculative-num-draft-tokens 3" in sglang
