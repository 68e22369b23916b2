"""Who is in which step, rule by rule, as the schedulers' sources have them."""

from dataclasses import dataclass, field

import pytest
from serving.checked import ask, serve

from costlab import roofline
from costlab.cache import PrefixCache, Tier
from costlab.roofline import StepCost
from costlab.serving.schedulers import Orca, PrefillFirst, Sarathi, VllmV1
from costlab.serving.simulation import WorkerSpec

STEP = StepCost.fixed(0.01, 0.01)  # a step that reads and decodes takes 0.02 s


@dataclass
class Watched:
    """A scheduler that writes down each step it was asked for: pieces of prompts by serial, and who decodes."""

    rule: object
    steps: list = field(default_factory=list)

    @property
    def max_running(self):
        return self.rule.max_running

    def plan(self, rank):
        preempted = len(rank.preempted)
        batch = self.rule.plan(rank)
        decodes = [job.serial for job in rank.running if job not in rank.prefilling] if batch.decodes else []
        pieces = {job.serial: tokens for job, tokens in batch.chunks}
        self.steps.append((pieces, decodes, [job.serial for job in rank.preempted[preempted:]]))
        return batch


def steps_of(rule, requests, kv_tokens=10_000, block_tokens=4, **spec):
    """The steps that a scheduler was asked for, one at a time, and the service."""
    watched = Watched(rule)
    service, report = serve(requests, [WorkerSpec(STEP, watched, kv_tokens, block_tokens, **spec)], jumps=False)
    assert report.accounts.queued == report.accounts.running == 0
    return watched.steps, service


# --- Orca ------------------------------------------------------------------------------------------------------


def test_orca_reads_whole_prompts_beside_those_that_decode():
    steps, _ = steps_of(Orca(), [ask(0, 1000, 5), ask(0.001, 700, 2), ask(0.001, 300, 2)])
    assert steps[0] == ({0: 1000}, [], [])
    assert steps[1] == ({1: 700, 2: 300}, [0], [])


def test_orca_admits_only_what_its_longest_answer_leaves_room_for():
    requests = [ask(0, 40, 41), ask(0, 40, 21), ask(0, 4, 1)]  # 80, 60 and 4 tokens in the end
    steps, service = steps_of(Orca(), requests, kv_tokens=136)
    assert steps[0][0] == {0: 40}, "the second lacks room, and the third waits behind it"
    assert not sum(job.preemptions for job in service.jobs)
    first, second, third = service.jobs
    assert second.admitted_s == third.admitted_s == first.finished_s
    steps, _ = steps_of(Orca(), requests, kv_tokens=144)
    assert steps[0][0] == {0: 40, 1: 40, 2: 4}, "exactly enough is enough"


def test_orca_has_a_largest_batch():
    steps, _ = steps_of(Orca(2), [ask(0, 10, 3)] * 3)
    assert steps[0][0] == {0: 10, 1: 10}


# --- Sarathi ---------------------------------------------------------------------------------------------------


def test_sarathi_fills_its_budget_and_stalls_nobody():
    steps, _ = steps_of(Sarathi(100), [ask(0, 30, 9), ask(0, 250, 9), ask(0, 40, 9)])
    assert [step[0] for step in steps[:4]] == [{0: 30, 1: 70}, {1: 99}, {1: 81, 2: 18}, {2: 22}]
    assert [step[1] for step in steps[:4]] == [[], [0], [0], [0, 1]]


def test_sarathi_stops_at_the_first_that_lacks_room_for_its_whole_prompt():
    steps, service = steps_of(Sarathi(10, watermark=0.0), [ask(0, 50, 2), ask(0, 60, 2), ask(0, 4, 2)], kv_tokens=100)
    assert all(1 not in step[0] and 2 not in step[0] for step in steps[:5])
    assert service.jobs[2].admitted_s >= service.jobs[1].admitted_s >= service.jobs[0].first_s


def test_sarathi_leaves_a_share_of_its_blocks_free_where_something_runs():
    requests = [ask(0, 40, 2), ask(0, 40, 2)]
    for watermark, admitted in ((0.0, 2), (0.19, 2), (0.25, 1)):
        steps, _ = steps_of(Sarathi(100, watermark=watermark), requests, kv_tokens=100)
        assert len(steps[0][0]) == admitted, watermark
    steps, _ = steps_of(Sarathi(100, watermark=0.9), [ask(0, 90, 2)], kv_tokens=100)
    assert steps[0][0] == {0: 90}, "where nothing runs the share is not asked for"


def test_sarathi_reads_nothing_while_those_that_decode_use_up_its_budget():
    steps, service = steps_of(Sarathi(2), [ask(0, 1, 20), ask(0, 1, 20), ask(0.1, 1, 3)])
    assert max(len(step[1]) for step in steps) == 2
    assert service.jobs[2].admitted_s == service.jobs[0].finished_s


def test_sarathi_preempts_the_last():
    steps, service = steps_of(Sarathi(100, watermark=0.0), [ask(0, 20, 30), ask(0, 20, 30)], kv_tokens=60)
    assert next(step for step in steps if step[2])[1:] == ([0], [1])
    assert [job.preemptions > 0 for job in service.jobs] == [False, True]


def test_sarathi_reads_smaller_pieces_further_on():
    rule = Sarathi(100, least_budget=20, stages=3, stage_tokens=100)
    steps, _ = steps_of(rule, [ask(0, 300, 2)])
    assert [step[0][0] for step in steps[:10]] == [100, 60, 60, *[20] * 4]


# --- vLLM V1 ---------------------------------------------------------------------------------------------------


def test_vllm_serves_those_that_run_first_and_in_order():
    steps, _ = steps_of(VllmV1(64, 8), [ask(0, 100, 9), ask(0, 60, 9)])
    assert [step[0] for step in steps[:3]] == [{0: 64}, {0: 36, 1: 28}, {1: 32}]
    assert [step[1] for step in steps[:3]] == [[], [], [0]]


def test_vllm_caps_long_prompts():
    steps, _ = steps_of(VllmV1(64, 8, long_prefill_tokens=16), [ask(0, 40, 9), ask(0, 60, 9)])
    assert [step[0] for step in steps[:4]] == [{0: 16, 1: 16}, {0: 16, 1: 16}, {0: 8, 1: 16}, {1: 12}]


def test_vllm_preempts_the_last_to_the_front_and_admits_nobody_then():
    requests = [ask(0, 16, 40), ask(0, 16, 40), ask(0.001, 4, 3)]
    steps, service = steps_of(VllmV1(16, 2), requests, kv_tokens=60)
    at = next(i for i, step in enumerate(steps) if step[2])
    assert steps[at] == ({}, [0], [1]), "nobody is admitted in that step, though a first piece would find room"
    later = next(step for step in steps[at + 1 :] if step[0])
    assert 1 in later[0], "it waits in front of the third"
    first, second, third = service.jobs
    assert sum(step[0].get(1, 0) for step in steps[at:]) > 16, "prompt and answer are computed again"
    assert (first.preemptions, second.preemptions, third.preemptions) == (0, second.preemptions, 0)
    assert third.admitted_s > second.admitted_s


def test_vllm_admits_by_the_first_piece_or_by_the_whole_prompt():
    requests = [ask(0, 40, 20), ask(0, 50, 2)]
    steps, service = steps_of(VllmV1(50, 8), requests, kv_tokens=80)
    assert steps[0][0] == {0: 40, 1: 10}
    assert service.jobs[1].preemptions > 0, "it was half read when the room ran out"
    steps, service = steps_of(VllmV1(50, 8, whole_prompt=True), requests, kv_tokens=80)
    assert steps[0][0] == {0: 40}
    assert not service.jobs[1].preemptions


def test_vllm_leaves_a_share_of_its_blocks_free_where_something_runs():
    requests = [ask(0, 40, 2), ask(0, 40, 2)]
    for watermark, admitted in ((0.0, 2), (0.2, 2), (0.24, 1)):
        steps, _ = steps_of(VllmV1(200, 8, watermark=watermark), requests, kv_tokens=100)
        assert len(steps[0][0]) == admitted, watermark
    steps, _ = steps_of(VllmV1(200, 8, watermark=0.9), requests[:1], kv_tokens=100)
    assert steps[0][0] == {0: 40}


def test_vllm_has_a_largest_batch():
    steps, service = steps_of(VllmV1(200, 2), [ask(0, 10, 5)] * 5)
    assert max(len(step[0]) + len(step[1]) for step in steps) == 2
    assert all(job.first_s for job in service.jobs)


def test_a_watermark_trades_preemptions_for_waiting():
    """The shape of vLLM pull request 44594: fewer preemptions the more is left free, and never none by chance."""
    requests = [ask(0.03 * i, 40 + i % 7, 60) for i in range(40)]
    counts = []
    for watermark in (0.0, 0.1, 0.3):
        _, service = steps_of(VllmV1(64, 16, watermark=watermark), requests, kv_tokens=400)
        counts.append(sum(job.preemptions for job in service.jobs))
    assert counts[0] > counts[1] > counts[2]


# --- prompts first ---------------------------------------------------------------------------------------------


def test_prompts_first_reads_or_decodes():
    steps, _ = steps_of(PrefillFirst(100), [ask(0, 60, 3), ask(0, 50, 3), ask(0, 300, 3)])
    assert [step[0] for step in steps[:3]] == [{0: 60}, {1: 50}, {2: 300}]
    assert all(not (pieces and decodes) for pieces, decodes, _ in steps)
    steps, _ = steps_of(PrefillFirst(110), [ask(0, 60, 3), ask(0, 50, 3)])
    assert steps[0][0] == {0: 60, 1: 50}


def test_prompts_that_come_stop_those_that_decode():
    _, service = steps_of(PrefillFirst(100), [ask(0, 60, 30), ask(0.105, 50, 3), ask(0.105, 90, 3)])
    assert service.jobs[0].worst_gap_s == pytest.approx(0.03)  # two prompts, and its own step


# --- all -------------------------------------------------------------------------------------------------------

RULES = [Orca(8), Sarathi(64, 8), VllmV1(64, 8), VllmV1(64, 8, whole_prompt=True, watermark=0.05), PrefillFirst(64, 8)]


@pytest.mark.parametrize("rule", RULES, ids=repr)
def test_the_largest_request_that_fits_is_served_and_the_next_refused(rule):
    requests = [ask(0, 50, 15), ask(0, 50, 16), ask(0, 65, 1), ask(0, 64, 1), ask(0, 1, 0), ask(0, 3, 3)]
    _, service = steps_of(rule, requests, kv_tokens=64)
    served = [job.serial for job in service.jobs if job.state == "finished"]
    assert served == [0, 3, 5]
    assert service.run.recorder.rejected == {"larger than memory": 2, "no output tokens asked for": 1}


@pytest.mark.parametrize("rule", RULES, ids=repr)
def test_no_step_is_missed_while_somebody_waits(rule):
    """Work conserving: where the first of the queue could run, the next step begins when the last one ends."""
    _, service = steps_of(rule, [ask(0.001 * i, 20, 12) for i in range(30)], kv_tokens=200)
    worker = service.workers[0]
    assert worker.busy_s == pytest.approx(service.run.now)


@pytest.mark.parametrize("rule", RULES, ids=repr)
def test_a_prompt_that_is_cached_whole_still_computes_a_token(rule):
    cache = PrefixCache([Tier("DRAM", 100.0)], 1.0, page_tokens=16)
    requests = [ask(0, 64, 2, (1, 2, 3, 4)), ask(1, 64, 2, (1, 2, 3, 4)), ask(2, 60, 2, (1, 2, 3, 9))]
    steps, service = steps_of(rule, requests, cache=lambda: cache)
    assert [job.cached for job in service.jobs] == [0, 63, 48]
    assert [pieces for pieces, _, _ in steps if pieces][-2:] == [{1: 1}, {2: 12}]
    assert service.workers[0].ranks[0].cached_tokens == 63 + 48


@pytest.mark.parametrize("rule", RULES, ids=repr)
@pytest.mark.parametrize("size", [1, 16])
def test_the_first_token_comes_from_prefill_and_blocks_cost_no_time(rule, size):
    _, service = steps_of(rule, [ask(0, 48, 1), ask(1, 48, 2), ask(2, 48, 5)], block_tokens=size)
    one, two, five = service.jobs
    assert one.finished_s == one.first_s == pytest.approx(0.01)
    assert two.first_s - 1 == pytest.approx(0.01) and two.last_s - two.first_s == pytest.approx(0.01)
    assert five.last_s - five.first_s == pytest.approx(4 * 0.01)


def test_ranks_step_together_and_share_work():
    cost = StepCost.linear(token_s=0.001, sequence_s=0.001)
    for choice, firsts in (("tokens", [0.1, 0.1, 0.1]), ("turns", [0.11, 0.11, 0.11])):
        requests = [ask(0, 100, 2), ask(0, 20, 2), ask(0, 10, 2)]
        service, _ = serve(requests, [WorkerSpec(cost, VllmV1(), 1000, ranks=2, choose_rank=choice)], jumps=False)
        assert [job.first_s for job in service.jobs] == pytest.approx(firsts), choice


def test_a_deployment_is_a_worker_if_its_weights_fit():
    node = roofline.deployment("llama-3.1-70b", "h100-sxm", 4, tensor_parallel=4)
    spec = WorkerSpec.of(node, VllmV1())
    assert spec.kv_tokens == roofline.kv_room(node).tokens()
    assert serve([ask(0, 2048, 256)] * 3, [spec])[1].accounts.finished == 3
    assert WorkerSpec.of(roofline.deployment("llama-3.1-8b", "h100-sxm", 4), VllmV1()).ranks == 4
    with pytest.raises(ValueError, match="does not fit on 1 "):
        WorkerSpec.of(roofline.deployment("llama-3.1-70b", "h100-sxm", 1), VllmV1())


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Sarathi(0), "budget"),
        (lambda: Sarathi(watermark=1.0), "watermark"),
        (lambda: Sarathi(watermark=float("nan")), "watermark"),
        (lambda: Sarathi(100, least_budget=200), "least_budget = 200"),
        (lambda: VllmV1(100, 200), "budget = 100 should be at least max_running = 200"),
        (lambda: VllmV1(long_prefill_tokens=-1), "long_prefill_tokens"),
        (lambda: Orca(-3), "max_running"),
        (lambda: PrefillFirst(budget=1.5), "budget"),
        (lambda: WorkerSpec(STEP, Orca(), kv_tokens=7, block_tokens=16), "kv_tokens = 7"),
        (lambda: WorkerSpec(STEP, Orca(), kv_tokens=0), "kv_tokens"),
        (lambda: serve([], [WorkerSpec(STEP, Orca(), 64, choose_rank="random")]), "random"),
        (lambda: serve([], [WorkerSpec(STEP, Orca(), 64, ranks=0)]), "ranks"),
    ],
)
def test_numbers_that_are_none_are_refused(make, says):
    with pytest.raises(ValueError, match=says):
        make()
