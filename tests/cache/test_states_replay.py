"""Replays of a model with recurrent layers: what is found and not resumable, what a state costs to move and keep."""

import dataclasses
import json
import math

import numpy as np
import pytest
from cache.cache_oracles import TRACE
from effort import examples
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from costlab import roofline
from costlab.cache import Plan, Replay, StateRule, Tier, footprints, replay
from costlab.cache.footprints import Footprint, LayerBytes
from costlab.cache.sim import costs, loading
from costlab.cache.sim.rules import compare_rules
from costlab.traces import Request, generators, read

MODEL = "deepseek-v3"
HBM = Tier("HBM")

#: The layers of Qwen3.5-397B: 45 with a state of 64 x 128 x 128 numbers in FP32, 15 with 2 KV heads of 256 in BF16.
#: The model whose computing is timed has one layer more, which here keeps nothing.
LAYERS = ([LayerBytes(0.0, state_bytes=64 * 128 * 128 * 4)] * 3 + [LayerBytes(2 * 2 * 256 * 2)]) * 15
QWEN = Footprint((*LAYERS, LayerBytes(0.0)))
PAGE = QWEN.full_bytes_per_token * 512


@pytest.fixture(autouse=True)
def qwen(monkeypatch):
    """A catalogued model with the cache of Qwen3.5-397B."""
    known = footprints.footprint
    monkeypatch.setattr(footprints, "footprint", lambda model: QWEN if model == MODEL else known(model))


def plan(*tiers: Tier, **rules) -> Plan:
    return Plan(MODEL, tiers or (HBM,), chips=32, **rules)


def prompt(at: float, *blocks: int) -> Request:
    return Request(at, 512 * len(blocks), 1, blocks)


def compute_s(of: Plan, new: int, prefix: int = 0) -> float:
    return roofline.prefill_cost(MODEL, roofline.seconds_per_flop_on(of.chip, of.chips, 0.4)).total_s(new, prefix)


def test_a_state_equals_so_many_tokens() -> None:
    """shared/facts/market.md [11]: 188.7 MB of state, 30,720 bytes a token, so 6,140 tokens."""
    assert QWEN.state_bytes == 188_743_680 and QWEN.full_bytes_per_token == 30_720
    assert round(QWEN.state_tokens, -1) == 6_140
    assert QWEN.everything().state_bytes == QWEN.state_bytes
    assert QWEN.states_in(1e9) == 5 and QWEN.states_in(math.inf) == math.inf
    assert sum(costs.layer_load_bytes(QWEN, 1000)) == 30_720_000 + QWEN.state_bytes
    plain = Footprint((LayerBytes(2.0),))
    assert plain.state_tokens == 0 and Footprint((LayerBytes(0.0, state_bytes=1.0),)).state_tokens == math.inf
    with pytest.raises(ValueError, match="has no state to keep"):
        plain.states_in(1e9)


def test_what_is_found_but_not_resumable_is_counted_apart() -> None:
    requests = [prompt(0, 1, 2, 3, 4), prompt(60, 1, 2, 9), prompt(120, 1, 2, 3, 4, 5), prompt(180, 1, 2, 7)]
    ends = replay(requests, plan())
    assert (ends.hit_tokens, ends.recomputed_for_states_tokens) == (4 * 512, 4 * 512)
    assert ends.recomputed_for_windows_tokens == 0
    both = replay(requests, plan(states="ends+branches"))
    assert (both.hit_tokens, both.recomputed_for_states_tokens) == (6 * 512, 2 * 512)
    none = replay(requests, plan(states="none"))
    assert (none.hit_tokens, none.recomputed_for_states_tokens) == (0, 8 * 512)
    assert {each.page_hit_rate for each in (ends, both, none)} == {8 / 15}
    assert none.tiers[0].state.computed == 0 and both.tiers[0].state.resident == 5


def test_a_prompt_asked_again_resumes_before_its_last_token() -> None:
    twice = [prompt(0, 1, 2, 3, 4), prompt(60, 1, 2, 3, 4)]
    report = replay(twice, plan(states="every:1024+ends"))
    assert report.hit_tokens == 2 * 512 and report.wholly_cached == 0
    assert report.recomputed_for_states_tokens == 2 * 512 - 1
    assert report.page_hit_rate == (4 * 512 - 1) / (8 * 512), "as many as a model without states would find"


@pytest.mark.parametrize("mode", loading.MODES)
def test_a_state_in_dram_is_waited_for_with_its_pages(mode) -> None:
    tiers = Tier("HBM", 5 * PAGE + QWEN.state_bytes), Tier("DRAM", math.inf, 50e9, 1e-3)
    run = Replay(of := plan(*tiers, loading=mode), of.cache())
    for request in (prompt(0, 1, 2, 3), prompt(60, 7, 8, 9, 10, 11), prompt(120, 1, 2, 3, 4)):
        lease = run.serve(request)
    assert (lease.match.pages, lease.match.state_at) == (3, 1)
    loads = [size / 50e9 for size in costs.layer_load_bytes(QWEN, 1536)]
    loads[0] += 1e-3
    cost = roofline.prefill_cost(MODEL, roofline.seconds_per_flop_on(of.chip, of.chips, 0.4))
    assert run.service_s[2] == pytest.approx(loading.timeline(loads, cost.layer_s(512, 1536), mode).finish_s)
    links = {link.name: link.moved_bytes for link in run.report().links}
    up, down = links["DRAM to HBM"], links["HBM to DRAM"]
    assert up == 3 * PAGE + QWEN.state_bytes
    assert down == (3 + 5 + 1) * PAGE + 3 * QWEN.state_bytes


def after_ssd(prefetch: str, rate: float, states: str = "ends") -> Replay:
    """Blocks 1 to 4 and the state behind them lie on SSD only when they are asked for again."""
    room = 4 * PAGE + 2 * QWEN.state_bytes
    tiers = Tier("HBM", room), Tier("DRAM", 2 * room, 1e15), Tier("SSD", math.inf, rate)
    run = Replay(of := plan(*tiers, prefetch=prefetch, states=states), of.cache())
    for first in (1, 11, 21, 31, 41, 51):
        run.serve(prompt(first, *range(first, first + 4)))
    run.serve(prompt(200, 1, 2, 3, 4, 5))
    run.cache.check()
    return run


def test_a_state_on_drives_is_fetched_behind_its_pages() -> None:
    run = after_ssd("wait", 1e9)
    transfer = (4 * PAGE + QWEN.state_bytes) / 1e9
    assert run.hit_tokens == [0, 0, 2048]
    assert run.totals.prefetch_wait_s == pytest.approx(transfer)
    assert run.links[2].busy_s == pytest.approx(transfer)
    report = run.report()
    up = next(link for link in report.links if link.name == "SSD to DRAM")
    assert up.moved_bytes == 4 * PAGE + QWEN.state_bytes and up.busy_s == pytest.approx(transfer)


def test_pages_that_came_without_their_state_are_computed_again() -> None:
    """The time-out passes while the state is on its way: an earlier state that is near would do, and there is none."""
    deadline = 1.0 + 0.25 * 2048 / 1024
    run = after_ssd("timeout", (4 * PAGE + 0.5 * QWEN.state_bytes) / deadline)
    assert run.totals.prefetch_wait_s == pytest.approx(deadline)
    assert run.hit_tokens == [0, 0, 0]
    assert run.totals.recomputed_for_states_tokens == 4 * 512
    assert run.prefetcher.given_up == 0
    patient = after_ssd("timeout", (4 * PAGE + QWEN.state_bytes) / deadline * 1.001)
    assert patient.hit_tokens == [0, 0, 2048]


def test_a_state_alone_on_drives_is_waited_for_too() -> None:
    """Its page lies in DRAM, the state went from there for want of room of its own."""
    tiers = Tier("HBM", 10 * PAGE), Tier("DRAM", 81 * PAGE, 1e15), Tier("SSD", math.inf, 1e9)
    run = Replay(of := plan(*tiers, state_share=0.3), of.cache())
    assert [pool.capacity for pool in run.cache.states.pools] == [0, 2, math.inf]
    for first in (1, 11, 21, 31):
        run.serve(prompt(first, *range(first, first + 4)))
    lease = run.serve(prompt(200, 1, 2, 3, 4, 5))
    assert (lease.match.at, lease.match.state_at) == ((0, 4, 0), 2)
    assert run.totals.prefetch_wait_s == pytest.approx(QWEN.state_bytes / 1e9)


@st.composite
def chats(draw: st.DrawFn) -> list[Request]:
    """Prompts over a small alphabet, prefix-chained, of any length."""
    ids: dict[tuple[int, ...], int] = {}
    out = []
    for i, text in enumerate(draw(st.lists(st.lists(st.integers(0, 1), min_size=1, max_size=6), max_size=25))):
        chain = [ids.setdefault(tuple(text[: j + 1]), len(ids)) for j in range(len(text))]
        out.append(Request(float(i), 512 * (len(chain) - 1) + draw(st.integers(1, 512)), 1, tuple(chain)))
    return out


@given(
    chats(),
    st.lists(st.one_of(st.integers(1, 40), st.just(math.inf)), min_size=1, max_size=3),
    st.sampled_from(["lru", "lfu", "s3-fifo", "sieve", "belady"]),
    st.sampled_from(["through", "selective", "back"]),
    st.sampled_from(["best-effort", "wait", "timeout"]),
    st.sampled_from(["ends", "every:1000", "branches+ends", "none", "every:1+ends+branches"]),
    st.sampled_from([None, 0.0, 0.4]),
)
@settings(max_examples=examples(150), suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_replay_balances(requests, capacities, eviction, write, prefetch, states, share) -> None:
    from costlab.cache.policies.belady import Future

    levels = tuple(Tier(f"T{i}", c * PAGE, 1e8, 1e-3) for i, c in enumerate(capacities))
    of = plan(*levels, eviction=eviction, write=write, prefetch=prefetch, states=states, state_share=share)
    run = Replay(of, of.cache(Future(r.blocks for r in requests) if eviction == "belady" else None))
    for request in requests:
        run.serve(request)
        run.cache.check()
    report = run.report()
    assert report.hit_tokens + report.computed_tokens == report.input_tokens
    assert report.computed_tokens >= len(requests) and report.wholly_cached == 0
    assert report.hit_tokens + report.recomputed_for_states_tokens <= report.input_tokens - len(requests)
    assert run.totals.queue_s >= 0 and report.stall_s >= -1e-9 and run.prefetcher.given_up >= 0
    for tier in report.tiers:
        for pool in (tier.full, tier.state):
            assert pool.computed + pool.loaded + pool.written == pool.evicted + pool.discarded + pool.resident
        resident = tier.full.resident_bytes + tier.state.resident_bytes
        assert 0 <= resident <= tier.capacity_bytes * (1 + 1e-9) and tier.peak_bytes <= tier.capacity_bytes
    assert json.loads(json.dumps(report.as_dict(), allow_nan=False))["tiers"]["T0"]["state_pool"] is not None


@given(chats(), st.integers(1, 6))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_distance_loses_less_than_itself_of_every_prompt(requests, pages) -> None:
    report = replay(requests, plan(states=f"every:{512 * pages}"))
    assert report.recomputed_for_states_tokens <= len(requests) * (512 * pages - 1)


def test_a_rule_for_a_model_without_states_is_refused() -> None:
    for rules, asked in (({"states": "every:4096"}, "states every:4096"), ({"state_share": 0.5}, "state_share = 0.5")):
        with pytest.raises(ValueError, match=f"{asked}: mimo-v2.5-pro has no recurrent layers, so it has no state"):
            Plan("mimo-v2.5-pro", (HBM,), **rules)
    with pytest.raises(ValueError, match="states 'every' should be none, or every:TOKENS"):
        plan(states="every")
    with pytest.raises(ValueError, match=r"state_share should be a share of at least 0 and below 1, got 1\.0"):
        plan(state_share=1.0)
    assert Plan("mimo-v2.5-pro", (HBM,), states="none").state_rule is None
    assert plan().state_rule == plan(states="ends").states == StateRule(ends=True)


def test_a_report_tells_of_states() -> None:
    requests = [prompt(0, 1, 2, 3, 4), prompt(60, 1, 2, 9)]
    report = replay(requests, plan(Tier("HBM", 1e10), Tier("DRAM", math.inf, 50e9), usd_per_chip_hour=2.0))
    told = {row["what"]: row["value"] for row in report.summary()}
    assert told["page hit rate"] == f"{2 / 7:.3f}"
    assert told["found but not resumable"] == "1,024 tokens, 0.286 of the input"
    assert told["states in HBM"] == "2 kept, 0 gone, 2 there: 377 MB"
    assert report.multiplier == pytest.approx(5 * PAGE / (5 * PAGE + 2 * QWEN.state_bytes))
    per_token = QWEN.full_bytes_per_token + 2 * QWEN.state_bytes / (5 * 512)
    assert report.tiers[0].usd_per_million_tokens_hour == pytest.approx(per_token * 1e6 / 1e9 * 2.0 / 80)


# --- rules side by side ----------------------------------------------------------------------------------------


def test_rules_side_by_side() -> None:
    requests = [prompt(0, 1, 2, 3, 4), prompt(60, 1, 2, 9), prompt(120, 1, 2, 3, 4, 5), prompt(180, 1, 2, 7)]
    none, ends, dense = compare_rules(requests, plan(), ("none", "ends", "every:512"))
    assert [row.hit_rate for row in (none, ends, dense)] == [0, 4 / 15, 8 / 15]
    assert [row.states for row in (none, ends, dense)] == [0, 4, 7]
    assert dense.page_hit_rate == none.page_hit_rate == 8 / 15
    assert dense.state_bytes == 7 * QWEN.state_bytes and dense.page_bytes == 7 * PAGE
    assert dense.state_share == pytest.approx(7 * QWEN.state_bytes / (7 * QWEN.state_bytes + 7 * PAGE))
    assert ends.bytes_per_hit_token is not None and none.bytes_per_hit_token is None


def test_an_agents_trace_says_which_rule_pays() -> None:
    """Endless room: nearer checkpoints find more, for bytes; ends find nearly all of an agent's own history."""
    trace = list(generators.generate("agent", 200, np.random.default_rng(0)))
    rows = {row.rule: row for row in compare_rules(trace, plan(), ("every:1K", "every:4K", "every:16K", "ends"))}
    near, middle, far, ends = rows.values()
    assert near.hit_rate > middle.hit_rate > far.hit_rate and near.state_bytes > middle.state_bytes > far.state_bytes
    assert ends.hit_rate > far.hit_rate and ends.state_bytes < near.state_bytes
    assert all(row.page_hit_rate == pytest.approx(near.page_hit_rate) for row in rows.values())


def test_the_public_trace_by_rule() -> None:
    """An independent count over Mooncake's conversations: sets and loops."""
    if not TRACE.is_file():
        pytest.skip("the shared trace is not here")
    requests = list(read(TRACE))[:3000]
    for text, every in (("every:4096", 8), ("ends", None)):
        seen, kept, hits = set(), set(), 0
        for request in requests:
            found = 0
            while found < len(request.blocks) and request.blocks[found] in seen:
                found += 1
            whole = request.input_tokens // 512
            usable = [
                i for i in range(1, found + 1) if request.blocks[i - 1] in kept and i * 512 < request.input_tokens
            ]
            hits += 512 * max(usable, default=0)
            marks = set(range(every, whole + 1, every)) if every else {whole} - {0}
            kept |= {request.blocks[i - 1] for i in marks if i > max(usable, default=0)}
            seen.update(request.blocks)
        report = replay(requests, plan(states=text))
        assert report.hit_tokens == hits and report.tiers[0].state.resident == len(kept)


def test_a_plan_with_a_rule_travels() -> None:
    of = plan(states="every:4K", state_share=0.25)
    assert dataclasses.replace(of) == of and hash(of) == hash(of) and of.states == StateRule(4096)
