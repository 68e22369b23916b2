"""Faults that users of other simulators and engines reported, each as a test of ours.

Named by where they were reported. Those of separated pools and of routers stand in `test_layouts.py` and beside it.
"""

import gc
import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving.serving_oracles import Call, Rules, engine, linear, poisson, vllm

from costlab import roofline
from costlab.cache import PrefixCache
from costlab.cache.tiers import Tier
from costlab.roofline.mixed import StepCost
from costlab.serving.blocks import Blocks
from costlab.serving.layouts import WorkerPool, colocated, separated
from costlab.serving.links import Link, SentBytes
from costlab.serving.recorder import Recorder
from costlab.serving.schedulers import Orca, PrefillFirst, Sarathi, VllmV1
from costlab.serving.simulation import WorkerSpec, simulate
from costlab.traces import Request

COST = StepCost.linear(0.004, token_s=1e-4, sequence_s=1e-4, context_s=1e-7)
FREE = Link(math.inf)  # takes no time
NOTHING = SentBytes.per_token(0.0)
SCHEDULERS = [VllmV1(256, 16), VllmV1(256, 16, whole_prompt=True), Sarathi(256, 16), Orca(16), PrefillFirst(256, 16)]


def pool(scheduler=SCHEDULERS[0], tokens=100_000, block=16, workers=1, cost=COST):
    return WorkerPool(WorkerSpec(cost, scheduler, tokens, block), workers, "round robin")


def apart(link=FREE, sent=NOTHING, **how):
    return separated(pool(**how), pool(**how), link, sent)


def run(requests, layout, **how):
    return simulate([Request(*request, ()) for request in requests], layout, recorder=Recorder(records=True), **how)


def crowd(count=120, rate=40.0, prompt=100, answer=150):
    return [(t, 1 + (37 * i) % prompt, 1 + (53 * i) % answer) for i, t in enumerate(poisson(rate, count))]


# --- inference-sim 1091, 1095, 1122, 1138, 1628: a preempted request counted twice, or its first token lost ------


@pytest.mark.parametrize("scheduler", SCHEDULERS, ids=lambda s: type(s).__name__)
@pytest.mark.parametrize("separate", [False, True])
def test_preemptions_neither_add_nor_lose_tokens_gaps_or_first_tokens(scheduler, separate):
    """Answers are as long as asked for, each first token comes once, and first token + gaps = the whole time."""
    requests = crowd()
    tight = {"scheduler": scheduler, "tokens": 640}
    report = run(requests, apart(**tight) if separate else colocated(pool(**tight)))
    overall = report.overall
    assert report.accounts.finished == len(requests)
    assert report.total_output_tokens == overall.output_tokens == sum(answer for _, _, answer in requests)
    assert report.gaps.count == sum(answer - 1 for _, _, answer in requests)
    assert overall.ttft.total + report.gaps.total == pytest.approx(overall.latency.total, rel=1e-9)
    assert overall.ttft.count == overall.latency.count == len(requests)
    assert overall.latency.total == pytest.approx(sum(r.last_s - r.arrival_s for r in report.records), rel=1e-9)
    assert overall.ttft.mean == overall.ttft.total / len(requests)
    assert all(r.arrival_s < r.first_s <= r.last_s for r in report.records)


def test_the_memory_above_is_short():
    """What the test above is about does happen there: vLLM's rules preempt, and Orca's never do."""
    found = [run(crowd(), colocated(pool(s, 640))) for s in SCHEDULERS]
    preemptions = [sum(each.preemptions for each in report.pools) for report in found]
    assert preemptions[0] > 20
    assert preemptions[3] == 0
    assert all(preemptions[i] > 0 for i in (1, 2, 4))


# --- inference-sim 962: the formula of one layout applied to the other -------------------------------------------


def test_alone_a_request_takes_the_closed_form_in_either_layout():
    """Prompt, then steps that grow by a token; a link that takes no time makes no difference."""
    prompt, answer = 1000, 50
    requests = [(100.0 * i, prompt, answer) for i in range(3)]
    scheduler = VllmV1(1000, 16)
    first = 0.004 + 1e-4 * prompt
    steps = sum(0.004 + 1e-4 + 1e-7 * (prompt + token) for token in range(1, answer))
    for layout in (colocated(pool(scheduler)), colocated(pool(scheduler, workers=3)), apart(scheduler=scheduler)):
        for record in run(requests, layout).records:
            assert record.first_s - record.arrival_s == pytest.approx(first, rel=1e-12)
            assert record.last_s - record.first_s == pytest.approx(steps, rel=1e-12)


# --- inference-sim 1513, 1511: answers of one token end before they begin ----------------------------------------


@pytest.mark.parametrize("link", [FREE, Link(1e9, 0.05)])
def test_answers_of_one_and_two_tokens_end_no_earlier_than_they_begin(link):
    """And an answer of one token needs no transfer."""
    report = run([(0.1 * i, 64, 1 + i % 2) for i in range(40)], apart(link, SentBytes.per_token(1e5)))
    for record in report.records:
        assert record.last_s >= record.first_s > record.arrival_s
        assert (record.last_s == record.first_s) == (record.output_tokens == 1)
    assert sum(each.transfers for each in report.links) == 20
    assert sum(each.moved_bytes for each in report.links) == pytest.approx(20 * 64 * 1e5)


# --- inference-sim 349, 293; sched-sim: requests that never fit are polled for ever, or preempt one another for ever


@pytest.mark.parametrize("scheduler", SCHEDULERS, ids=lambda s: type(s).__name__)
@pytest.mark.parametrize("separate", [False, True])
def test_what_never_fits_is_refused_at_once_and_nobody_waits_behind_it(scheduler, separate):
    tight = {"scheduler": scheduler, "tokens": 320}
    layout = apart(**tight) if separate else colocated(pool(**tight))
    report = run([(0.0, 50, 5), (1.0, 400, 5), (1.0, 50, 400), (1.1, 50, 5)], layout)
    assert report.accounts.rejected == {"larger than memory": 2}
    assert report.accounts.finished == 2
    assert max(r.last_s - r.arrival_s for r in report.records) < 0.2


@pytest.mark.parametrize("scheduler", SCHEDULERS, ids=lambda s: type(s).__name__)
def test_requests_that_fill_the_memory_all_end(scheduler):
    """Each may need every block; admitting first chunks and preempting them again must not go on for ever."""
    requests = [(0.001 * i, 200, 120) for i in range(30)]
    report = run(requests, colocated(pool(scheduler, 320)))
    assert report.accounts.finished == 30
    alone = run(requests[:1], colocated(pool(scheduler, 320))).end_s
    assert report.end_s < 3 * 30 * alone


def test_weights_that_do_not_fit_are_an_error():
    """A model of 141 GB on a card of 80: no KV cache of whatever size is left over to poll for."""
    with pytest.raises(ValueError, match="GB"):
        roofline.deployment("llama-3.1-70b", "h100-sxm", 1).require_fit()


# --- inference-sim 492, 1061: a check stricter than the allocation; blocks lost when an allocation fails ---------


def test_blocks_are_given_to_the_last_and_a_failure_changes_nothing():
    blocks = Blocks(10)
    blocks.take("first", 4)
    assert blocks.can_take(6)
    assert not blocks.can_take(7)
    with pytest.raises(ValueError, match="no room for 7"):
        blocks.take("second", 7)
    blocks.check()
    assert (blocks.free, blocks.used) == (6, 4)
    blocks.take("second", 6)
    blocks.check()
    assert (blocks.give("first"), blocks.give("second"), blocks.free) == (4, 6, 10)


@pytest.mark.parametrize("scheduler", SCHEDULERS, ids=lambda s: type(s).__name__)
@pytest.mark.parametrize("block", [1, 16])
def test_a_request_of_exactly_the_memory_is_served_and_one_token_more_is_not(scheduler, block):
    """160 tokens: 100 of the prompt and 60 of the answer, and its last, which is never computed."""
    tight = colocated(pool(scheduler, 160, block))
    assert run([(0.0, 100, 61)], tight).accounts.finished == 1
    assert run([(0.0, 100, 62)], tight).accounts.rejected == {"larger than memory": 1}


@pytest.mark.parametrize("wrong", [math.nan, math.inf, 1.5, True, "ten"])
def test_lengths_that_are_none_are_an_error_that_names_the_request(wrong):
    for lengths in ((wrong, 10), (10, wrong)):
        with pytest.raises(ValueError, match=r"request 1: (in|out)put_tokens .*should be a whole number"):
            run([(0.0, 10, 10), (0.1, *lengths)], colocated(pool()))


def test_an_answer_of_no_tokens_is_a_rejection_that_is_counted():
    report = run([(0.0, 10, 10), (0.1, 10, 0)], colocated(pool()))
    assert (report.accounts.finished, report.accounts.rejected) == (1, {"no output tokens asked for": 1})


# --- inference-sim pull request 325: a server idle while work waits ----------------------------------------------


@given(st.floats(0.1, 4.0), st.sampled_from(SCHEDULERS), st.booleans())
def test_nobody_waits_at_an_idle_worker(until_s, scheduler, jumps):
    """At any instant of a busy time: where somebody is queued, somebody runs."""
    report = run(crowd(), colocated(pool(scheduler, 640)), until_s=until_s, jumps=jumps)
    assert report.accounts.running > 0 or report.accounts.queued == 0


@pytest.mark.parametrize("jumps", [True, False])
def test_steps_follow_one_another_without_a_pause_as_long_as_there_is_work(jumps):
    """All at once, so that the worker is never idle: it ends when its steps, added up, end."""
    requests = [(0.0, prompt, answer) for _, prompt, answer in crowd()]
    step_s = linear(token=1e-4, sequence=1e-4, context=1e-7)
    calls, steps = engine(requests, lambda pieces: 0.004 + step_s(pieces), Rules(40, 16, 256, 16), vllm)
    report = run(requests, colocated(pool(VllmV1(256, 16), 640)), jumps=jumps)
    assert all(isinstance(call, Call) and call.times for call in calls)
    assert report.end_s == pytest.approx(sum(seconds for _, seconds, _ in steps), rel=1e-9)


# --- dynamo pull request 8187: decode timed by blocks instead of tokens; the first token counted as a decode step ---


@pytest.mark.parametrize("separate", [False, True])
def test_the_size_of_a_block_changes_no_time_where_memory_is_ample(separate):
    layouts = [apart(block=b) if separate else colocated(pool(block=b)) for b in (1, 16, 512)]
    times = [[(r.first_s, r.last_s) for r in run(crowd(), layout).records] for layout in layouts]
    for one, other in pairwise(times):
        assert one == [pytest.approx(pair, abs=1e-12) for pair in other]


def test_an_answer_of_n_tokens_takes_n_minus_one_decode_steps():
    cost = StepCost.fixed(1.0, 0.25)
    (record,) = run([(0.0, 10, 9)], colocated(pool(cost=cost))).records
    assert (record.first_s, record.last_s) == (1.0, 1.0 + 8 * 0.25)


# --- nano-vllm 144: a prompt that is cached whole has nothing to compute; one that was preempted counts as a prompt


@pytest.mark.parametrize("prompt", [512, 600, 1024])
def test_a_prompt_that_is_cached_whole_still_computes_a_token(prompt):
    """All blocks are found, the last, open one too; but the last token is computed, as it yields the answer's first."""
    scheduler = VllmV1(2048, 16)
    spec = WorkerSpec(COST, scheduler, 100_000, cache=lambda: PrefixCache([Tier("HBM")], 1.0, page_tokens=512))
    blocks = tuple(range(-(-prompt // 512)))
    requests = [Request(10.0 * i, prompt, 5, blocks) for i in range(3)]
    report = simulate(requests, colocated(WorkerPool(spec)), recorder=Recorder(records=True))
    first, *others = (record.first_s - record.arrival_s for record in report.records)
    assert first == pytest.approx(0.004 + 1e-4 * prompt, rel=1e-12)
    assert others == [pytest.approx(0.004 + 1e-4, rel=1e-9)] * 2
    assert sum(each.cached_tokens for each in report.pools) == 2 * (prompt - 1)


# --- dynamo pull request 10940: a log of steps that nobody empties -----------------------------------------------


@pytest.mark.parametrize("separate", [False, True])
def test_no_object_stays_of_a_request_that_is_done(separate):
    """Objects that exist after 1500 and after 3000 requests, drawn one by one; the benchmark has a million of them."""
    objects = []

    def stream():
        for i in range(3000):
            if i in (1500, 2999):
                gc.collect()
                objects.append(len(gc.get_objects()))
            yield Request(i / 20, 60, 20, ())

    simulate(stream(), apart() if separate else colocated(pool()))
    assert abs(objects[1] - objects[0]) < 150  # one for every tenth request
