"""The replay: the trace's fixed points, an independent count of window-safe matches, times by hand, reports."""

import dataclasses
import itertools
import json
import math
import pickle

import numpy as np
import pytest
from cache.cache_oracles import TRACE, libcachesim_hits, plain_lru_hits
from effort import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from costlab import arch, catalog, roofline
from costlab.cache import footprints, tiers
from costlab.cache.prefix.manager import PrefixCache
from costlab.cache.sim import costs, loading
from costlab.cache.sim.plan import Plan
from costlab.cache.sim.run import Replay, ReplayTask, replay
from costlab.cache.tiers import Tier
from costlab.traces import Request, Trace, TraceError, read

PRO = "mimo-v2.5-pro"
HBM = Tier("HBM")


@pytest.fixture(scope="module")
def conversation() -> list[Request]:
    if not TRACE.is_file():
        pytest.skip("the shared trace is not here")
    return list(read(TRACE))


def blocks_of(model: str, count: float, **rules) -> Plan:
    """A plan with one tier that holds so many blocks, every layer keeping every token."""
    page = footprints.footprint(model).all_bytes_per_token * 512
    return Plan(model, (Tier("HBM", count * page),), keep="everything", chips=256, **rules)


# --- the trace -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("capacity", "rate"), [(math.inf, 0.366), (1000, 0.045), (10_000, 0.212), (50_000, 0.355)])
def test_plain_lru_gives_the_facts_fixed_points(conversation, capacity, rate) -> None:
    """shared/facts/mimo_hicache.md section 4: an LRU replay over blocks."""
    report = replay(conversation, blocks_of(PRO, capacity, leaves_first=False))
    assert report.references == 288_500 and report.requests == 12_031
    assert report.block_hit_rate == pytest.approx(rate, abs=0.001)
    flat = [block for request in conversation for block in request.blocks]
    assert report.block_hit_rate == pytest.approx(plain_lru_hits(flat, capacity) / len(flat), abs=0.001)
    if capacity == 1000:
        assert report.block_hit_rate == pytest.approx(libcachesim_hits("LRU", flat, 1000) / len(flat), abs=0.001)


@pytest.mark.parametrize(
    ("rules", "hit", "ratio"),
    [
        ({}, 0.350, 6.49),
        ({"branch_points": True}, 0.359, 6.45),
        ({"checkpoint_tokens": 4096}, 0.367, 5.65),
        ({"checkpoint_tokens": 2048}, 0.370, 4.91),
    ],
)
def test_window_safe_matching_gives_the_facts_table(conversation, rules, hit, ratio) -> None:
    """Section 3, window-safe matching at unlimited capacity.

    The reading that gives the facts' numbers: the end of a prompt is its last whole block; tokens of partial last
    blocks count as hits where the block is found; bytes are counted in whole blocks.
    """
    report = replay(conversation, Plan(PRO, (HBM,), **rules))
    assert report.token_hit_rate == pytest.approx(hit, abs=0.005)
    assert report.multiplier == pytest.approx(ratio, rel=0.02)
    full = report.token_hit_rate + report.recomputed_for_windows_tokens / report.input_tokens
    assert full == pytest.approx(0.374, abs=0.001)


def test_full_reuse_of_the_trace(conversation) -> None:
    """Section 3: full-KV token hit 0.374; section 4: mean input 12,035."""
    report = replay(conversation, Plan(PRO, (HBM,), keep="everything"))
    assert report.token_hit_rate == pytest.approx(0.374, abs=0.001)
    assert report.input_tokens / report.requests == pytest.approx(12_035, abs=1)


def test_equal_bytes_hold_more_tokens(conversation) -> None:
    """Section 3, equal bytes, plain LRU: 1 TB keeps 0.124 with all layers full, 0.319 at 5x, 0.349 at 7x."""
    full, five = (
        replay(conversation[:4000], Plan(PRO, (Tier("HBM", 1e12),), keep=keep, chips=64))
        for keep in ("everything", "windows")
    )
    assert five.tiers[0].capacity_tokens / full.tiers[0].capacity_tokens == pytest.approx(5, rel=0.002)
    assert five.token_hit_rate > 1.5 * full.token_hit_rate


@pytest.mark.parametrize(("size", "hit"), [(0.5e12, 0.061), (1e12, 0.124), (2e12, 0.220)])
def test_equal_bytes_with_every_layer_full(conversation, size, hit) -> None:
    """Section 3, equal bytes, first column; the facts' replay counts tokens of a plain LRU."""
    report = replay(conversation, Plan(PRO, (Tier("HBM", size),), keep="everything", chips=64))
    assert report.token_hit_rate == pytest.approx(hit, abs=0.005)


# --- an independent count --------------------------------------------------------------------------------------


@st.composite
def chats(draw: st.DrawFn) -> list[Request]:
    """Prompts over a small alphabet, prefix-chained, of any length."""
    ids: dict[tuple[int, ...], int] = {}
    out = []
    for i, prompt in enumerate(draw(st.lists(st.lists(st.integers(0, 1), min_size=1, max_size=6), max_size=25))):
        chain = [ids.setdefault(tuple(prompt[: j + 1]), len(ids)) for j in range(len(prompt))]
        tokens = 128 * (len(chain) - 1) + draw(st.integers(1, 128))
        out.append(Request(float(i), tokens, 1, tuple(chain)))
    return out


@given(chats(), st.one_of(st.none(), st.integers(1, 400)), st.booleans())
def test_hits_equal_a_plain_count(requests, checkpoint, branch) -> None:
    plan = Plan(PRO, (HBM,), block_tokens=128, checkpoint_tokens=checkpoint, branch_points=branch)
    assert replay(requests, plan).hit_tokens == count_hits(requests, checkpoint, branch)


def count_hits(requests, checkpoint, branch, page=128) -> int:
    """Sets and loops: which blocks and which windows have been seen."""
    seen, kept, hits = set(), set(), 0
    for request in requests:
        blocks, tokens = request.blocks, request.input_tokens
        found = len(list(itertools.takewhile(seen.__contains__, blocks)))
        usable = max([i for i in range(found + 1) if i == 0 or blocks[i - 1] in kept])
        hits += min(usable * page, tokens - 1)
        seen.update(blocks)
        ends = {tokens // page}
        if checkpoint:
            ends |= set(range(0, tokens // page + 1, math.ceil(checkpoint / page)))
        if branch:
            ends.add(found)
        kept |= {blocks[end - 1] for end in ends if end > usable}  # of what it computes
    return hits


@given(chats(), st.integers(1, 20), st.sampled_from(["lru", "fifo", "lfu", "slru", "sieve", "s3-fifo"]))
def test_belady_bounds_every_policy_on_flat_traces(requests, capacity, eviction) -> None:
    """On prompts of one block there are no prefixes to mind, so MIN is the bound."""
    single = [Request(r.time_s, 100, 1, r.blocks[-1:]) for r in requests]
    rates = [replay(single, blocks_of(PRO, capacity, eviction=e)).block_hit_rate for e in (eviction, "belady")]
    assert rates[0] <= rates[1]


def test_belady_beats_lru_on_the_trace(conversation) -> None:
    some = conversation[:3000]
    lru, best = (replay(some, blocks_of(PRO, 2000, eviction=e)).block_hit_rate for e in ("lru", "belady"))
    assert lru < best < replay(some, blocks_of(PRO, math.inf)).block_hit_rate


# --- accounts --------------------------------------------------------------------------------------------------

sizes = st.one_of(st.integers(1, 30), st.just(math.inf))


@given(
    chats(),
    st.lists(sizes, min_size=1, max_size=3),
    st.sampled_from(["lru", "lfu", "slru", "fifo", "s3-fifo", "sieve", "belady"]),
    st.sampled_from(["through", "selective", "back"]),
    st.sampled_from(["best-effort", "wait", "timeout"]),
    st.sampled_from(["serial", "streamed", "look-ahead"]),
    st.sampled_from([PRO, "deepseek-v3", "deepseek-v4-pro", "deepseek-v4-flash"]),
)
@settings(max_examples=examples(150))
def test_any_replay_balances(requests, capacities, eviction, write, prefetch, mode, model) -> None:
    page = footprints.footprint(model).bytes_per_token(1 / 15) * 128
    levels = tuple(Tier(f"T{i}", c * page, 1e7, 1e-3) for i, c in enumerate(capacities))
    plan = Plan(model, levels, 128, eviction=eviction, write=write, prefetch=prefetch, loading=mode, branch_points=True)
    from costlab.cache.policies.belady import Future

    run = Replay(plan, plan.cache(Future(r.blocks for r in requests) if eviction == "belady" else None))
    for request in requests:
        run.serve(request)
        run.cache.check()
    report = run.report()
    assert report.hit_tokens + report.computed_tokens == report.input_tokens == sum(r.input_tokens for r in requests)
    assert report.computed_tokens >= len(requests)
    assert report.hit_tokens == sum(tier.hit_tokens for tier in report.tiers)
    for tier in report.tiers:
        for pool in (tier.full, tier.window):
            if pool is not None:
                assert pool.computed + pool.loaded + pool.written == pool.evicted + pool.discarded + pool.resident
                assert pool.peak * pool.page_bytes <= tier.capacity_bytes * (1 + 1e-9)
    assert report.stall_s >= -1e-9 and report.queue_s >= 0
    whole = report.compute_s + report.stall_s + report.queue_s
    assert sum(run.ttft_s) == pytest.approx(whole)
    json.dumps(report.as_dict(), allow_nan=False)


# --- times by hand ---------------------------------------------------------------------------------------------


def prompt(at: float, *blocks: int) -> Request:
    return Request(at, 512 * len(blocks), 1, blocks)


def compute_s(plan: Plan, new: int, prefix: int = 0) -> float:
    flops = arch.load(plan.model).prefill_flops(new, prefix)
    rates = catalog.chip(plan.chip).flops
    units = {"fp8": "fp8", "fp4xfp8": "fp8", "bf16": "bf16", "fp32": "tf32"}
    seconds = sum(float(f) / rates[units[flops.precision[n]]] for n, f in flops.by_component.items())
    return seconds / plan.chips / plan.compute_efficiency


def test_requests_queue_for_one_server() -> None:
    plan = Plan(PRO, (HBM,), keep="everything")
    run = Replay(plan, plan.cache())
    for request in (prompt(5, 1, 2), prompt(5, 3, 4), prompt(99, 5, 6)):
        run.serve(request)
    one = compute_s(plan, 1024)
    assert run.ttft_s == pytest.approx([one, 2 * one, one])
    assert run.service_s == pytest.approx([one, one, one])
    assert run.report().makespan_s == pytest.approx(94 + one)


def test_a_wholly_cached_prompt_computes_its_last_token() -> None:
    plan = Plan(PRO, (HBM,))
    run = Replay(plan, plan.cache())
    run.serve(prompt(0, 1, 2))
    run.serve(prompt(99, 1, 2))
    report = run.report()
    assert report.wholly_cached == 1 and report.hit_tokens == 1023 and report.computed_tokens == 1025
    assert run.service_s[1] == pytest.approx(compute_s(plan, 1, 1023))


@pytest.mark.parametrize("mode", ["serial", "streamed", "look-ahead"])
def test_a_hit_in_dram_waits_for_its_layers(mode: str) -> None:
    page = footprints.footprint(PRO).all_bytes_per_token * 512
    plan = Plan(PRO, (Tier("HBM", 4 * page), Tier("DRAM", math.inf, 50e9, 1e-3)), keep="everything", loading=mode)
    run = Replay(plan, plan.cache())
    for request in (prompt(0, 1, 2, 3), prompt(50, 7, 8, 9, 10), prompt(99, 1, 2, 3, 4)):
        run.serve(request)
    footprint = footprints.footprint(PRO).everything()
    loads = [size / 50e9 for size in costs.layer_load_bytes(footprint, 1536)]
    loads[0] += 1e-3
    cost = roofline.prefill_cost(PRO, roofline.seconds_per_flop_on(plan.chip, plan.chips, 0.4))
    assert run.service_s[2] == pytest.approx(loading.timeline(loads, cost.layer_s(512, 1536), mode).finish_s)
    down, up = page * (3 + 4 + 1), page * 3
    assert [link.moved_bytes for link in run.report().links] == [up, down]
    assert run.report().tiers[1].hit_tokens == 1536


def ssd_plan(prefetch: str, rate: float = 1e9) -> Plan:
    page = footprints.footprint(PRO).all_bytes_per_token * 512
    levels = (Tier("HBM", 4 * page), Tier("DRAM", 8 * page, 1e15), Tier("SSD", math.inf, rate))
    return Plan(PRO, levels, keep="everything", prefetch=prefetch)


def after_ssd(prefetch: str, rate: float = 1e9, wait_behind: bool = False) -> Replay:
    """Blocks 1..4 lie on SSD only when they are asked for again."""
    plan = ssd_plan(prefetch, rate)
    run = Replay(plan, plan.cache())
    fill = [prompt(0, 1, 2, 3, 4), *(prompt(i, *range(10 * i, 10 * i + 4)) for i in (1, 2, 3))]
    for request in fill:
        run.serve(request)
    if wait_behind:  # something long in front, so that the prefetch has time
        run.serve(Request(100, 512 * 500, 1, ()))
    run.serve(prompt(100, 1, 2, 3, 4, 5))
    return run


def test_prefetch_waits_for_all_of_it() -> None:
    run = after_ssd("wait")
    transfer = 4 * footprints.footprint(PRO).all_bytes_per_token * 512 / 1e9
    assert run.hit_tokens == [0, 0, 2048]
    assert run.totals.prefetch_wait_s == pytest.approx(transfer)
    assert run.service_s[-1] == pytest.approx(transfer + compute_s(run.plan, 512, 2048), rel=1e-3)


def test_links_are_busy_with_all_that_crosses_them() -> None:
    run = after_ssd("wait")
    for request in [*(prompt(200 + i, *range(100 * i, 100 * i + 4)) for i in (1, 2, 3)), prompt(300, 1, 2, 3, 4, 5)]:
        run.serve(request)  # 1..4 come from SSD once more
    twice = 2 * 4 * footprints.footprint(PRO).all_bytes_per_token * 512 / 1e9
    report = run.report()
    links = {link.name: link for link in report.links}
    assert run.links[2].busy_s == links["SSD to DRAM"].busy_s == pytest.approx(twice)
    assert links["SSD to DRAM"].busy_share == pytest.approx(twice / report.makespan_s)
    assert links["DRAM to HBM"].busy_s == pytest.approx(links["DRAM to HBM"].moved_bytes / 1e15)
    assert links["SSD to DRAM"].moved_bytes == links["DRAM to HBM"].moved_bytes == pytest.approx(twice * 1e9)


def two_after_ssd(prefetch: str, rate: float, behind: int = 0) -> Replay:
    """Two prompts whose blocks lie on SSD arrive together, perhaps behind a third of so many tokens."""
    run = Replay(plan := ssd_plan(prefetch, rate), plan.cache())
    for time, first in enumerate((1, 101, 201, 301, 401)):
        run.serve(prompt(time, *range(first, first + 4)))
    run.serve(Request(100, behind, 1, ()))
    for first in (1, 101):
        run.serve(prompt(100, *range(first, first + 4), 9))
    return run


def test_a_second_prefetch_begins_when_the_link_is_free() -> None:
    page_bytes = footprints.footprint(PRO).all_bytes_per_token * 512
    run = two_after_ssd("wait", 1e9)
    transfer, compute = 4 * page_bytes / 1e9, compute_s(run.plan, 512, 2048)
    assert compute < transfer
    assert run.totals.prefetch_wait_s == pytest.approx(2 * transfer - compute, rel=1e-3)
    assert two_after_ssd("wait", 1e9, 512 * 500).totals.prefetch_wait_s == 0  # both come while the long one computes
    rate = 2.5 * page_bytes / compute_s(run.plan, 2560)
    given_up = two_after_ssd("best-effort", rate)  # the first gives up at once: the link is free for the second
    assert given_up.hit_tokens == [0, 0, 1024] and given_up.prefetcher.given_up == 4 + 2


def test_best_effort_prefetch_gets_what_comes_while_it_queues() -> None:
    assert after_ssd("best-effort").hit_tokens == [0, 0, 0]
    assert after_ssd("best-effort").totals.prefetch_wait_s == 0
    queued = after_ssd("best-effort", wait_behind=True)
    assert queued.hit_tokens == [0, 0, 2048] and queued.totals.prefetch_wait_s == 0
    page_s = footprints.footprint(PRO).all_bytes_per_token * 512 / 1e9
    behind = compute_s(queued.plan, 512 * 500)
    part = after_ssd("best-effort", rate=1e9 * page_s * 2.5 / behind, wait_behind=True)
    assert part.hit_tokens == [0, 0, 1024] and part.prefetcher.given_up == 2


def test_prefetch_gives_up_at_its_timeout() -> None:
    rule = catalog.tables().prefetch["hicache"]
    assert (rule.timeout_s, rule.timeout_s_per_1024_tokens) == (1.0, 0.25)  # facts, section 2
    patient = after_ssd("timeout")
    assert patient.hit_tokens == [0, 0, 2048]
    page_bytes = footprints.footprint(PRO).all_bytes_per_token * 512
    deadline = 1.0 + 0.25 * 2048 / 1024
    slow = after_ssd("timeout", rate=2.5 * page_bytes / deadline)
    assert slow.totals.prefetch_wait_s == pytest.approx(deadline)
    assert slow.hit_tokens == [0, 0, 1024] and slow.prefetcher.given_up == 2


def test_a_prefetch_holds_at_most_half_of_dram() -> None:
    page = footprints.footprint(PRO).all_bytes_per_token * 512
    plan = ssd_plan("wait")
    small = dataclasses.replace(plan, tiers=(plan.tiers[0], Tier("DRAM", 4 * page, 1e15), plan.tiers[2]))
    run = Replay(small, small.cache())
    for request in (prompt(0, 1, 2, 3, 4), prompt(1, 10, 11, 12, 13), prompt(2, 20, 21, 22, 23)):
        run.serve(request)
    run.serve(prompt(100, 1, 2, 3, 4, 5))
    assert run.hit_tokens == [0, 0, 1024]


def test_a_request_larger_than_hbm_is_served_and_counted() -> None:
    plan = blocks_of(PRO, 3)
    report = replay([prompt(0, 1, 2, 3, 4, 5), prompt(99, 1, 2, 3, 4, 5)], plan)
    assert report.oversize == 2 and report.uncached_pages == 4
    assert report.hit_tokens == 3 * 512


def test_requests_without_ids_are_all_computed() -> None:
    report = replay([Request(0, 1000, 5, ()), Request(0, 1000, 5, ())], Plan(PRO, (HBM,)))
    assert report.computed_tokens == 2000 and report.block_hit_rate == 0


# --- plans and reports -----------------------------------------------------------------------------------------


def test_a_report_reads_well() -> None:
    plan = Plan(PRO, tiers.standard("80GB", "1TB", "30TB"), usd_per_chip_hour=2.0)
    requests = [prompt(float(i), *range(i % 7 * 100, i % 7 * 100 + 40 + i % 3)) for i in range(60)]
    calls: list[int] = []
    report = replay(requests, plan, calls.append)
    assert calls == [60]
    assert [row["tier"] for row in report.rows()] == ["HBM", "DRAM", "SSD", "all"]
    assert report.rows()[1]["capacity"] == "1 TB"
    assert {"what": "requests", "value": "60"} in report.summary()
    plain = report.as_dict()
    assert plain["hit_rate"] == report.token_hit_rate and list(plain["tiers"]) == ["HBM", "DRAM", "SSD"]
    assert plain["tiers"]["DRAM"]["full_pool"]["peak_pages"] == report.tiers[1].full.peak
    assert plain["moved_bytes"] == sum(link["moved_bytes"] for link in plain["links"].values()) > 0
    assert (plain["ttft_p99_s"], plain["prefill_compute_s"]) == (report.ttft.p99_s, report.compute_s)
    assert json.loads(json.dumps(plain, allow_nan=False)) == plain
    # 80 GB of HBM for 2 USD an hour: 71.68 GB of tokens cost 1.792 USD
    assert report.tiers[0].usd_per_million_tokens_hour == pytest.approx(71.68 * 2 / 80)
    bare = replay(requests, dataclasses.replace(plan, usd_per_chip_hour=None))
    assert bare.tiers[0].usd_per_million_tokens_hour is None
    hit = plain["tiers"]["HBM"]["mean_hit"]
    assert hit["load_usd"] == 0 < hit["recompute_usd"] and hit["ratio"] is None  # nothing moved: infinite
    # 1M tokens at 5x: 71.68 GB; DRAM at the catalogued price
    dram = catalog.tables().media["dram"].usd_per_gb_hour
    assert report.tiers[1].usd_per_million_tokens_hour == pytest.approx(71.68 * dram)


def test_the_price_of_a_million_cached_tokens() -> None:
    """Section 3, price: 1M cached Pro tokens are 51.2 GB with windows at r = 0, 358 GB with every layer full."""
    footprint = footprints.footprint(PRO)
    assert footprint.bytes_per_token(0) * 1e6 == pytest.approx(51.2e9)
    assert footprint.everything().bytes_per_token(0) * 1e6 == pytest.approx(358.4e9)


def test_an_empty_replay_reports_zeros() -> None:
    report = replay([], Plan(PRO, (HBM,)))
    assert report.token_hit_rate == report.block_hit_rate == report.ttft.p99_s == 0
    json.dumps(report.as_dict(), allow_nan=False)


def test_a_plan_travels() -> None:
    plan = Plan(PRO, tiers.standard("80GB", "1TB"))
    assert pickle.loads(pickle.dumps(plan)) == plan and hash(plan) == hash(plan)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": "mimo-v3"}, "unknown model 'mimo-v3'"),
        ({"eviction": "mru"}, "unknown eviction policy 'mru'"),
        ({"write": "later"}, "unknown write mode 'later'"),
        ({"prefetch": "never"}, "unknown prefetch 'never'"),
        ({"loading": "stream"}, "unknown way to load 'stream'; did you mean 'streamed'"),
        ({"keep": "all"}, "unknown way to keep windows 'all'"),
        ({"tiers": ()}, "a plan needs a tier"),
        ({"block_tokens": 0}, "block_tokens should be a whole number from 1 .*, got 0"),
        ({"checkpoint_tokens": 0}, "checkpoint_tokens should be a whole number from 1 .*, got 0"),
        ({"window_ratio": -1.0}, "should be at least 0"),
        ({"chip": "h8000"}, "unknown chip"),
        ({"compute_efficiency": 0.0}, "efficiency should be above 0"),
    ],
)
def test_bad_plans_are_refused(change, message) -> None:
    with pytest.raises(ValueError, match=message):
        Plan(**{"model": PRO, "tiers": (HBM,), **change})


@pytest.mark.parametrize(
    ("chips", "hbm", "message"),
    [
        # 8 x 80 GB for 1,031 GB of weights, as the first example of this course once had it
        (
            8,
            HBM,
            r"MiMo-V2.5-Pro does not fit on 8 .*H800.*: each chip would hold 129.4 GB of weights, .* 72 GB may be",
        ),
        (
            16,
            Tier("HBM", 100e9),
            r"hold 66.89 GB of weights and 6.25 GB of cache, and of its 80 GB of memory 72 GB may",
        ),
    ],
)
def test_a_plan_that_memory_does_not_hold_is_refused(chips, hbm, message) -> None:
    with pytest.raises(ValueError, match=message):
        Plan(PRO, (hbm,), chips=chips)


def test_a_plan_may_fill_what_the_weights_leave() -> None:
    """5 GB of each of 16 chips beside 66.9 GB of weights; a tier below, or one without limit, takes nothing of it."""
    for levels in ((Tier("HBM", 80e9),), (Tier("HBM", 20e9), Tier("DRAM", 1e13)), (HBM,)):
        assert Plan(PRO, levels).chips == 16
    served = roofline.deployment(PRO, "h800", 16, tensor_parallel=8)
    free = served.usable_bytes_per_chip - served.weight_bytes_per_chip
    Plan(PRO, (Tier("HBM", 16 * free),))
    with pytest.raises(ValueError, match="GB of cache"):
        Plan(PRO, (Tier("HBM", 16 * free + 1e6),))


def test_words_are_taken_in_any_case() -> None:
    """By a plan as by the cache that it makes, and one plan is equal to the other."""
    words = {"eviction": "LRU", "write": "Through", "prefetch": "WAIT", "loading": "Look-Ahead", "keep": "Windows"}
    loud, quiet = (Plan(PRO, (HBM,), **w) for w in (words, {name: word.lower() for name, word in words.items()}))
    assert loud == quiet
    twice = [prompt(0, 1, 2), prompt(60, 1, 2)]
    assert replay(twice, loud) == replay(twice, quiet)
    with_future = Plan(PRO, (HBM,), eviction="Belady")
    assert replay(twice, with_future) == replay(twice, Plan(PRO, (HBM,), eviction="belady"))
    cache = PrefixCache([HBM], 1.0, eviction="LRU", write="Through")
    assert cache.write == "through"


def test_requests_out_of_order_are_refused() -> None:
    with pytest.raises(ValueError, match=r"in order of time: 1 s after 2 s"):
        replay([prompt(2, 1), prompt(1, 2)], Plan(PRO, (HBM,)))


def test_sizes_are_read() -> None:
    assert [tiers.parse_bytes(s) for s in ("80GB", "1.5 TB", "64GiB", "2k", 7, "3e3")] == [
        80e9,
        1.5e12,
        64 * 2**30,
        2000,
        7,
        3000,
    ]
    assert tiers.parse_bytes("inf") == math.inf
    for bad in ("80 gigs", "1.2.3GB", "", "-1GB"):
        with pytest.raises(ValueError, match="cannot read the size"):
            tiers.parse_bytes(bad)
    with pytest.raises(ValueError, match="above 0 bytes"):
        tiers.parse_bytes("0GB")


def test_tiers_come_from_the_catalog() -> None:
    hbm, dram, ssd = tiers.standard("80GB", "1TB", "30TB", chips=4, drives=2)
    assert math.isinf(hbm.bandwidth_bytes_per_s) and hbm.usd_per_gb_hour is None
    assert dram.bandwidth_bytes_per_s == 4 * 52.77e9 and ssd.bandwidth_bytes_per_s == 28e9
    assert ssd.write_rate == 20e9 and ssd.read_s(28e9) == pytest.approx(1 + 280e-6)
    assert dram.usd_per_gb_hour == pytest.approx(0.004237 / 1.073741824)
    assert ssd.usd_per_gb_hour == pytest.approx(0.17 / 730 / 1.073741824)
    for bad in ({"capacity_bytes": 0}, {"bandwidth_bytes_per_s": -1}, {"latency_s": -1}, {"usd_per_gb_hour": -1}):
        with pytest.raises(ValueError, match="should be"):
            Tier("X", **bad)


# --- windows ---------------------------------------------------------------------------------------------------


def test_the_facts_multiplier() -> None:
    """Section 3, 5x: 70 / (10 + 60 r); section 2: SGLang's default ratio of 0.8 gives only 1.21x."""
    footprint = footprints.footprint(PRO)
    for ratio, times in ((0, 7.0), (1 / 15, 5.0), (0.8, 1.21)):
        assert footprint.multiplier(ratio) == pytest.approx(70 / (10 + 60 * ratio), rel=1e-12)
        assert footprint.multiplier(ratio) == pytest.approx(times, abs=0.005)
    # section 1, KV bytes: 51,200 growing, 358,400 if all layers keep everything, 37.5 MiB fixed
    assert (footprint.full_bytes_per_token, footprint.all_bytes_per_token) == (51_200, 358_400)
    assert footprint.window_bytes / 2**20 == 37.5


@pytest.mark.parametrize("model", list(arch.models()))
def test_every_catalogued_model_can_be_cached(model: str) -> None:
    footprint = footprints.footprint(model)
    full, kept = footprint.split(1e12, 512, 1 / 15)
    used = full * 512 * footprint.full_bytes_per_token + kept * footprint.window_bytes
    assert 0.98 * 1e12 < used <= 1e12
    assert (kept > 0) == (footprint.window_tokens > 0)
    report = replay([prompt(0, 1, 2), prompt(9, 1, 2, 3)], Plan(model, tiers.standard("80GB", "1TB"), chips=128))
    assert report.hit_tokens == 1024


def test_boundaries() -> None:
    assert footprints.boundaries(511, 512) == ()
    assert footprints.boundaries(1100, 512) == (2,)
    assert footprints.boundaries(5 * 512, 512, 1024) == (2, 4, 5)
    assert footprints.boundaries(4 * 512, 512, 1000) == (2, 4)
    with pytest.raises(ValueError, match=r"page_tokens should be a whole number from 1 .*, got 0"):
        footprints.boundaries(5, 0)


def test_five_and_seven_follow_from_what_is_kept() -> None:
    """Section 3: one window per 1,920 cached tokens gives 5x; a distance of d tokens keeps r = 128 / d."""
    footprint = footprints.footprint(PRO)
    assert footprint.multiplier(128 / 1920) == pytest.approx(5)
    many = np.array([footprint.multiplier(128 / d) for d in (512, 2048, 8192, 10**9)])
    assert (np.diff(many) > 0).all() and many[-1] == pytest.approx(7, abs=1e-4)


# --- replays side by side --------------------------------------------------------------------------------------


def test_a_replayer_counts_apart(tmp_path):
    """What one replay meets in the trace is not counted by another that shares it."""
    path = tmp_path / "t.jsonl"
    path.write_text('oops\n{"timestamp": 1, "input_length": 1024, "output_length": 5, "hash_ids": [1, 2]}\n')
    trace = read(path, errors="skip")
    plan = Plan(PRO, (HBM,))
    report, notes = ReplayTask(trace)(plan)
    assert report == replay(trace, plan) and "1 bad rows skipped" in notes[1]
    trace.found.clear()
    assert ReplayTask(trace)(plan) == (report, notes) and not trace.skipped.count


def test_a_replayer_wants_more_than_one_pass(tmp_path):
    path = tmp_path / "t.jsonl"
    path.write_text('{"timestamp": 1, "input_length": 1024, "output_length": 5, "hash_ids": [1, 2]}\n')
    with open(path, "rb") as stream, pytest.raises(TraceError, match=r"t\.jsonl: .* save the stream to a file first"):
        ReplayTask(read(stream))
    with pytest.raises(TraceError, match="save the stream"):
        ReplayTask(Trace(iter([Request(0, 1024, 1, (1, 2))])))
