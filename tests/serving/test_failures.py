"""Failures at every stage: nobody is lost, doubled or left waiting, blocks come home, and users see what is said."""

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from serving.walks import LINK, SENT, poisson, pool, requests, walk

from costlab.serving.failures import Failures, Outage, OutageRate, Patience, Recovery
from costlab.serving.jobs import State
from costlab.serving.layouts import colocated, conditionally_separated, mixed_pool, separated
from costlab.serving.links import Link
from costlab.serving.recorder import Recorder
from costlab.serving.rules import Borrowing
from costlab.serving.run import Run
from costlab.serving.simulation import simulate

QUICK = Recovery(detection_s=0.5, retries=1)


def failing(*outages, recovery=QUICK, **rest):
    return Failures(outages, recovery=recovery, **rest)


def apart(prefill=1, decode=1, failures=None, link=LINK, **how):
    return separated(pool(prefill), pool(decode), link, SENT, failures=failures, **how)


def one_record(layout, rows=((0, 1000, 50),)):
    report = simulate(requests(*rows), layout, recorder=Recorder(records=True))
    return report, report.records


# A request of 1,000 tokens: read until 0.110 s, crosses until 0.215 s, decodes 49 steps of 11 ms until 0.754 s.
STAGES = {"reading": 0.05, "crossing": 0.15, "decoding": 0.4}


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("what", ["prefill", "decode", "link"])
def test_whatever_dies_at_whatever_stage_the_request_is_done_once(what, stage):
    """sglang PR 29482, dynamo 13088: one leg failed and the other waited for it half an hour."""
    place = "prefill" if what == "link" else what
    outage = Outage("link" if what == "link" else "worker", STAGES[stage], place, 0, repair_s=0.2)
    layout = apart(failures=failing(outage))
    report, records = one_record(layout)
    assert (report.accounts.finished, report.accounts.rejected) == (1, {})
    hit = {
        "prefill": ("reading", "crossing"),
        "decode": ("reading", "crossing", "decoding"),
        "link": ("reading", "crossing"),
    }
    untouched = one_record(apart())[1][0].last_s
    if stage in hit[what]:
        # decode's death, or the link's, is noticed when the prompt has been read and the user has a token
        seen = "delay" if (what, stage) == ("prefill", "reading") else "gap"
        assert report.failures == {seen: 1}
        assert records[0].last_s > untouched + 0.1
    else:
        assert report.failures == {}
        assert records[0].last_s == pytest.approx(untouched)
    assert records[0].last_s < 3.0, "nobody waits for a dead partner"
    walk(requests((0, 1000, 50)), layout)


def test_decodes_room_is_free_as_soon_as_prefills_death_is_noticed():
    """sglang PR 28651: decode held a slot of each aborted prefill for 300 s. Here: none an event later; run once."""
    outage = Outage("worker", 0.05, "prefill", 0)
    held = []
    trace = requests((0, 1000, 5), (0.01, 1000, 5))
    layout = separated(
        pool(2, "round robin"), pool(1), LINK, SENT, failures=failing(outage), order="together", growth_tokens=0
    )
    service = walk(trace, layout, each=lambda run, s: held.append((run.now, len(s.stations[s.workers[2]].worker.jobs))))
    noticed = 0.55
    assert max(n for t, n in held if t < noticed) == 2
    assert [n for t, n in held if t == noticed][-1] == 1, "the retry waits for its own blocks, the dead one's are free"
    assert service.failures == {"delay": 1}


def test_a_death_that_is_not_noticed_yet_still_draws_requests():
    """With round robin half of what comes in the 0.5 s is sent to a dead worker, and delayed until then."""
    trace = requests(*((1 + i / 10, 100, 1) for i in range(10)))
    layout = colocated(pool(2, "round robin"), failing(Outage("worker", 0.95, index=0)))
    report = simulate(trace, layout, recorder=Recorder(records=True))
    late = [r for r in report.records if r.first_s - r.arrival_s > 0.05]
    assert report.failures == {"delay": 3}
    assert [r.arrival_s for r in late] == pytest.approx([1.0, 1.2, 1.4])
    assert report.accounts.finished == 10


def test_the_retry_budget_ends_in_an_error():
    outages = [Outage("worker", 0.05 + i, repair_s=0.1) for i in range(3)]
    for retries, errors in ((0, 1), (1, 1), (2, 1), (3, 0)):
        recovery = dataclasses.replace(QUICK, retries=retries)
        slow = requests((0, 10_000, 5))  # a second of reading, so that each outage hits it
        layout = colocated(pool(), failing(*outages, recovery=recovery))
        report = simulate(slow, layout)
        assert report.accounts.rejected == ({"worker lost": 1} if errors else {})
        assert report.failures.get("delay", 0) == min(retries, 3)
        walk(slow, layout)


def test_a_user_sees_a_gap_a_restart_or_an_error():
    """Killed in the middle of its answer at 0.4 s, noticed at 0.9 s, and read again."""
    outage = Outage("worker", 0.4, "decode", 0)
    found = {}
    for name, recovery in (
        ("gap", QUICK),
        ("restart", dataclasses.replace(QUICK, resume=False)),
        ("error", dataclasses.replace(QUICK, retries=0)),
    ):
        report, records = one_record(apart(1, 2, failing(outage, recovery=recovery)))
        assert report.failures == {name: 1}
        found[name] = records
    gap, restart = found["gap"][0], found["restart"][0]
    assert found["error"] == ()
    assert gap.first_s == pytest.approx(0.110)
    assert gap.worst_gap_s > 0.5
    assert restart.first_s == pytest.approx(0.9 + 0.110)
    assert restart.worst_gap_s == pytest.approx(0.105 + 0.011)
    assert gap.last_s < restart.last_s, "tokens that the user has are not made again, only read"


def test_tokens_are_counted_once_whatever_happens():
    """inference-sim 1091: output tokens are the lengths of the answers, and gaps and TTFT make up the whole time."""
    outages = [Outage("worker", 1.0 + i, ("prefill", "decode")[i % 2], i % 2, repair_s=0.7) for i in range(6)]
    for resume in (True, False):
        recovery = Recovery(0.2, retries=9, resume=resume)
        report = simulate(poisson(6.0, 60, 800, 40), apart(2, 2, failing(*outages, recovery=recovery)))
        assert report.accounts.finished == 60
        assert report.total_output_tokens == 60 * 40
        assert sum(report.failures.values()) > 0


def test_what_decode_refuses_leaves_no_blocks_in_prefill():
    """vllm PR 41269: decode rejected before admission, and prefill's blocks were stranded for 480 s."""
    layout = separated(pool(), pool(kv_tokens=512), LINK, SENT, order="decode last")
    freed = []
    walk(requests((0, 1000, 5)), layout, each=lambda run, s: freed.append((run.now, s.workers[0].kv_blocks)))
    assert freed[-1] == (pytest.approx(0.110), 0)


@pytest.mark.parametrize("at_s", [0.02, 0.05, 0.15, 0.3])
def test_a_user_who_leaves_frees_everything_at_once(at_s):
    """llm-d PR 1138: the client left between prefill's end and decode's queue. The others' transfer is undisturbed."""
    layout = apart(order="together")
    run = Run(Recorder(), True, np.random.default_rng(0))
    service = layout.open(run)
    first, second = (service.arrive(job) or job for job in map(run.arrive, requests((0, 1000, 50), (0, 1000, 50))))
    run.events.run_before(at_s)
    service.quit(first, run.cancel)
    service.check()
    assert first.state is State.CANCELLED
    assert all(first not in worker.jobs for worker in service.workers)
    run.events.run_before(math.inf)
    assert second.state is State.FINISHED
    assert run.recorder.cancelled == 1


def test_transfers_that_fail_are_computed_again_or_given_up_and_all_add_up():
    """sglang 23272, vllm PR 50754: under load transfers failed, and decode counted them for ever."""
    trace = poisson(3.0, 200, 1000, 5)
    share = 0.3
    for retries in (0, 2):
        failures = Failures(recovery=Recovery(0.2, retries, transfer_loss=share))
        report = simulate(trace, apart(2, 1, failures))
        lost = report.accounts.rejected.get("transfer lost", 0)
        assert report.accounts.finished + lost == 200
        expected = 200 * share ** (retries + 1)
        assert abs(lost - expected) < 4 * math.sqrt(expected * (1 - share ** (retries + 1)))
        walk(trace, apart(2, 1, failures), check=False)


def test_a_link_that_never_comes_back_ends_in_errors_not_in_waiting():
    failures = failing(Outage("link", 0.05, "prefill", 0))
    report = simulate(requests((0, 1000, 5), (1, 1000, 1)), apart(failures=failures))
    assert report.accounts.rejected == {"link lost": 1}
    assert report.accounts.finished == 1, "one token needs no link"
    assert report.end_s < 3


@pytest.mark.parametrize("end", ["prefill", "decode"])
def test_once_a_dead_link_is_noticed_nobody_is_sent_behind_it(end):
    """Only those that were there, or came before it was noticed, are tried again; after the repair all take turns."""
    trace = requests(*((0.4 * i, 1000, 20) for i in range(60)))
    sizes = (2, 1) if end == "prefill" else (1, 2)
    shared_by = "sender" if end == "prefill" else "receiver"
    pools = [pool(each, "round robin") for each in sizes]
    for repair_s in (8.0, math.inf):
        failures = failing(Outage("link", 4.05, end, 0, repair_s))
        service = walk(trace, separated(*pools, LINK, SENT, shared_by=shared_by, failures=failures))
        assert service.failures.total() == 1, "of what came every 0.4 s, within 0.5 s"
        alive = [station.alive for station in service.pools[end == "decode"].stations]
        assert alive == [repair_s < math.inf, True]


def test_very_many_who_wait_for_decode_are_given_up_together_when_nobody_reads():
    """Each one's end freed room for the next, whose end did so again, deeper and deeper."""
    gone = Failures([Outage("worker", 0.5, "prefill")], recovery=Recovery(0.0, 0))
    layout = separated(pool(), pool(kv_tokens=600), LINK, SENT, failures=gone)
    accounts = simulate(requests(*((i / 10_000, 500, 20) for i in range(2000))), layout).accounts
    assert accounts.finished < 5 and accounts.rejected == {"no worker alive": 2000 - accounts.finished}


def test_without_a_worker_there_is_an_error_at_once():
    report = simulate(requests((0, 100, 5), (5, 100, 5)), colocated(pool(), failing(Outage("worker", 1.0))))
    assert report.accounts.rejected == {"no worker alive": 1} or report.accounts.rejected == {"worker lost": 1}
    assert report.accounts.finished == 1


def test_a_node_takes_all_its_workers_with_it():
    failures = Failures([Outage("node", 0.05, index=1)], recovery=QUICK, workers_per_node=2)
    service = walk(requests(*((0, 2000, 5) for _ in range(4))), colocated(pool(4, "round robin"), failures))
    assert [worker.alive for worker in service.workers] == [True, True, False, False]
    assert service.failures == {"delay": 2}


def test_outages_while_nobody_is_there_do_not_keep_a_run_going():
    """They are made up when the next request comes: the worker that is down then is found down."""
    failures = Failures([Outage("worker", 10.0, index=0, repair_s=1000.0)], (OutageRate("worker", 50.0, 5.0),), QUICK)
    trace = requests((0, 100, 5), (500, 100, 5), (501, 100, 5), (502, 100, 5))
    report = simulate(trace, colocated(pool(2, "round robin"), failures))
    assert report.end_s < 510
    assert report.accounts.finished + sum(report.accounts.rejected.values()) == 4


@pytest.mark.parametrize("what", ["worker", "link"])
def test_what_went_out_while_nobody_was_there_is_noticed_by_then(what):
    """A worker and a link alike: 400 s are enough to notice, so who comes then is not sent there."""
    failures = Failures([Outage(what, 100.0, "prefill", 0)], recovery=Recovery(detection_s=2.0))
    trace = requests((0, 100, 5), (500, 100, 5), (500.1, 100, 5))
    service = walk(trace, separated(pool(2, "round robin"), pool(), LINK, SENT, failures=failures))
    assert not service.failures


def test_rates_give_as_many_outages_as_they_say():
    """Mean 20 s up and 5 s down for 4 workers over 10,000 s: 1,600 outages, within 4 standard deviations."""
    rate = OutageRate("worker", 20.0, 5.0)
    counts = []
    for index in range(4):
        outages = rate.outages(index, np.random.default_rng(index))
        counts.append(next(i for i, outage in enumerate(outages) if outage.at_s > 10_000))
    # cycles of 25 s with a deviation of 20 s: renewals deviate by sqrt(t s^2 / m^3)
    assert abs(sum(counts) - 1600) < 4 * math.sqrt(4 * 10_000 * 20**2 / 25**3)


def test_patience_runs_out():
    trace = requests((0, 1000, 500), (0, 1000, 500), (0, 1000, 5))
    by_first = Failures(patience=Patience(first_by_s=0.25))
    report = simulate(trace, colocated(pool(budget=1000), by_first))
    assert report.accounts.expired == 2, "the second and the third are read by 0.33 s"
    report = simulate(trace, colocated(pool(budget=1000), Failures(patience=Patience(done_by_s=2.0))))
    assert (report.accounts.expired, report.accounts.finished) == (2, 1)
    left = simulate(poisson(5.0, 300), apart(failures=Failures(patience=Patience(leave_s=0.5))))
    assert left.accounts.cancelled + left.accounts.finished == 300
    assert 50 < left.accounts.cancelled < 250


# --- any history -----------------------------------------------------------------------------------------------

moments = st.integers(1, 40).map(lambda n: n / 10 + 0.003)
repairs = st.sampled_from([0.05, 0.8, 3.0, math.inf])
pooled_outages = st.lists(
    st.builds(
        Outage,
        st.sampled_from(["worker", "node", "link"]),
        moments,
        st.sampled_from(["prefill", "decode"]),
        st.just(0),
        repairs,
    ),
    max_size=4,
)
recoveries = st.builds(
    Recovery,
    st.sampled_from([0.0, 0.3, 2.0]),
    st.integers(0, 3),
    st.booleans(),
    st.sampled_from([0.0, 0.2, 1.0]),
)
patiences = st.builds(Patience, *[st.sampled_from([math.inf, 0.2, 2.0])] * 3)
rows = st.lists(st.tuples(st.integers(0, 40), st.integers(1, 2500), st.integers(1, 60)), min_size=1, max_size=10)
hows = st.sampled_from(
    [
        {},
        {"order": "decode first", "growth_tokens": 0},
        {"order": "decode last"},
        {"sending": "chunks", "shared_by": "all"},
        {"sending": "layers", "shared_by": "receiver"},
        {"uncached_tokens": 600},
        {"borrowing": Borrowing(500, 0.3)},
        {"borrowing": Borrowing(0, 0.0), "order": "decode last"},
    ]
)


def died(pool, at_s=0.103, repair_s=0.05, what="worker"):
    return Outage(what, at_s, pool, 0, repair_s)


ENDURING, TIED = Patience(), [(0, 1, 1), (0, 1, 1), (0, 90, 2), (0, 608, 2)]


# found by search: a worker came back and served nobody who waited; a lost job was given room; decode read what it had
# room for already; a transfer arrived at the moment of an outage
@example({}, [(12, 1, 2)], [died("decode", repair_s=3.0)], Recovery(5.0, 0), ENDURING, 1, False)
@example(
    {"order": "decode last"},
    [(0, 90, 2), (0, 464, 2), (0, 863, 2), (1, 1, 2)],
    [died("prefill", 0.203, 0.8), died("prefill", 0.103, 0.8, "link")],
    Recovery(0.3, 0),
    ENDURING,
    1,
    False,
)
@example(
    {"borrowing": Borrowing(500, 0.3)},
    [(1, 1408, 2), (1, 2064, 2)],
    [died("decode")],
    Recovery(0.0, 0),
    Patience(done_by_s=0.2),
    1,
    False,
)
@example({}, TIED, [died("prefill", what="link")], Recovery(0.3, 0), ENDURING, 1, False)
@example({}, TIED, [died("decode")], Recovery(0.3, 0), ENDURING, 1, False)
@example({}, TIED, [died("prefill")], Recovery(0.0, 0), ENDURING, 1, False)
@given(hows, rows, pooled_outages, recoveries, patiences, st.integers(1, 2), st.booleans())
def test_any_history_of_failures_balances_at_every_event(how, drawn, outages, recovery, patience, workers, jumps):
    """vllm 46283: after deaths decode leaked until it had no memory. Here free and used make all, and idle uses none.

    tt-inference-server 4081: a bench stood at 990 of 1,000. Here all end, whoever dies.
    """
    failures = Failures(outages, recovery=recovery, patience=patience, workers_per_node=2)
    pools = pool(workers, kv_tokens=4000, budget=700), pool(workers, kv_tokens=3000, budget=300)
    build = mixed_pool if "borrowing" in how else separated
    if "uncached_tokens" in how:
        layout = conditionally_separated(*pools, LINK, SENT, 600, failures=failures)
    else:
        layout = build(*pools, LINK, SENT, failures=failures, **how)
    walk(requests(*((t / 10, i, o) for t, i, o in sorted(drawn))), layout, jumps=jumps)


of_workers = st.builds(Outage, st.sampled_from(["worker", "node"]), moments, st.just(""), st.just(0), repairs)


@given(rows, st.lists(of_workers))
def test_any_history_of_co_located_workers_balances_too(drawn, outages):
    failures = Failures(outages, (OutageRate("worker", 3.0, 0.7),), recovery=Recovery(0.3, 2))
    trace = requests(*((t / 10, i, o) for t, i, o in sorted(drawn)))
    walk(trace, colocated(pool(2, kv_tokens=4000), failures))


def test_the_same_seed_gives_the_same_failures():
    def run(seed):
        failures = Failures((), (OutageRate("worker", 4.0, 1.0, "decode"),), Recovery(0.2, 5), seed=seed)
        report = simulate(poisson(5.0, 200), apart(2, 2, failures), recorder=Recorder(records=True))
        return report.records, report.failures

    assert run(1) == run(1) != run(2)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Outage("rack", 1.0), "kind of outage"),
        (lambda: Outage("worker", math.nan), "at_s = nan"),
        (lambda: Outage("worker", -1.0), "at_s = -1"),
        (lambda: Outage("worker", 1.0, repair_s=0), "repair_s = 0"),
        (lambda: Outage("worker", 1.0, index=-1), "index = -1"),
        (lambda: OutageRate("worker", 0, 1.0), "mean_s = 0"),
        (lambda: OutageRate("worker", 1.0, math.inf), "repair_s = inf"),
        (lambda: Recovery(detection_s=math.inf), "detection_s = inf"),
        (lambda: Recovery(retries=-1), "retries = -1"),
        (lambda: Recovery(transfer_loss=math.nan), "transfer_loss = nan"),
        (lambda: Patience(leave_s=0), "leave_s = 0"),
        (lambda: Patience(done_by_s=math.nan), "done_by_s = nan"),
        (lambda: Failures(workers_per_node=0), "workers_per_node"),
        (lambda: Failures(seed=-1), "seed = -1"),
        (lambda: colocated(pool(), failing(Outage("link", 1.0))), "have no link"),
        (lambda: colocated(pool(), failing(Outage("worker", 1.0, index=1))), "index should be below 1"),
        (lambda: apart(failures=failing(Outage("worker", 1.0, "prefil"))), "did you mean 'prefill'"),
        (lambda: Link(0.0), "bandwidth_bytes_s = 0"),
    ],
)
def test_bad_failures_are_refused(make, words):
    with pytest.raises(ValueError, match=words):
        make()
