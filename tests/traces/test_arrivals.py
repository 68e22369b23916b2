"""Load as often, as evenly and as long as it should be, and the same for the same seed.

Tests of chance have a fixed seed, and state their size, their level (how often a right generator would fail) and their
power (how often one that is wrong by so much would fail).
"""

import heapq
import itertools
import math

import numpy as np
import pytest
from effort import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from costlab.catalog import CatalogError
from costlab.catalog.workloads import workloads
from costlab.traces import CHAT, Request, arrivals
from costlab.traces.arrivals import Bins, Client, ClosedLoop, Curve, FixedLengths, LengthTable, SpreadLengths

ONE = FixedLengths(100, 10)


def rng(seed=0):
    return np.random.default_rng(seed)


def times(clients, requests, seed=0, curve=None):
    return np.array([r.time_s for r in arrivals.open_loop(clients, requests, rng(seed), curve)])


# --- gaps ------------------------------------------------------------------------------------------------------

#: Distributions of gaps of mean 1 whose closed forms are known.
LAWS = {
    ("poisson", 1.0): lambda x: 1 - np.exp(-x),
    ("gamma", math.sqrt(0.5)): lambda x: 1 - np.exp(-2 * x) * (1 + 2 * x),  # Erlang, shape 2
    ("gamma", math.sqrt(2)): lambda x: np.vectorize(math.erf)(np.sqrt(x / 2)),  # chi-squared, shape 1/2
    ("weibull", math.sqrt(5)): lambda x: 1 - np.exp(-np.sqrt(2 * x)),  # shape 1/2, scale 1/2
    ("weibull", 1.0): lambda x: 1 - np.exp(-x),
}
SIZE = 50_000
LIMIT = 1.95 / math.sqrt(SIZE)  # Kolmogorov and Smirnov's distance, exceeded with probability 0.001


def distance(gaps, law):
    ordered = law(np.sort(gaps))
    places = np.arange(gaps.size + 1) / gaps.size
    return max((places[1:] - ordered).max(), (ordered - places[:-1]).max())


@pytest.mark.parametrize(("family", "cv"), LAWS)
def test_gaps_follow_their_law(family, cv):
    """50,000 gaps, level 0.001 each; a rate that is 7% off is found in 20 runs of 20."""
    law = LAWS[family, cv]
    client = Client(4.0, ONE, family, cv)
    gaps = np.diff(times([client], SIZE + 1), prepend=0.0)[:SIZE]
    assert distance(4.0 * gaps, law) < LIMIT
    wrong = [client.gaps(SIZE, rng(seed)) * 4.0 * 1.07 for seed in range(20)]
    assert all(distance(each, law) > LIMIT for each in wrong)


@pytest.mark.parametrize("family", ["gamma", "weibull"])
@pytest.mark.parametrize("cv", [0.1, 0.5, 2.0, 4.0])
def test_gaps_have_the_mean_and_the_cv_that_are_asked_for(family, cv):
    """500,000 gaps. The mean's standard error is cv/sqrt(n); the CV's is taken from 20 parts: level 1e-4 each."""
    gaps = Client(2.0, ONE, family, cv).gaps(500_000, rng(1))
    assert gaps.mean() == pytest.approx(0.5, abs=3.9 * 0.5 * cv / math.sqrt(gaps.size))
    squares = [(part**2).mean() / 0.25 - 1 for part in np.split(gaps, 20)]
    assert np.mean(squares) == pytest.approx(cv**2, abs=5 * np.std(squares) / math.sqrt(20))


def test_even_gaps_are_even():
    assert times([Client(4.0, ONE, "even", 0.0)], 8) == pytest.approx(np.arange(1, 9) / 4)


def test_the_shape_of_a_cv():
    assert arrivals.weibull_shape(1.0) == pytest.approx(1)
    assert arrivals.weibull_shape(math.sqrt(5)) == pytest.approx(0.5)
    assert arrivals.weibull_shape(0.05) > 20


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"per_s": 0}, "per_s = 0"),
        ({"per_s": -1}, "per_s = -1"),
        ({"per_s": math.nan}, "per_s = nan"),
        ({"per_s": math.inf}, "per_s = inf"),
        ({"family": "pareto"}, "unknown family of gaps 'pareto'"),
        ({"cv": 2.0}, "cv = 2.0: Poisson arrivals have 1"),
        ({"family": "gamma", "cv": 0.0}, "cv = 0.0"),
        ({"family": "weibull", "cv": math.nan}, "cv = nan"),
        ({"family": "weibull", "cv": 1e3}, "cv = 1000"),
    ],
)
def test_a_client_that_cannot_be(options, message):
    with pytest.raises(ValueError, match=message):
        Client(**{"per_s": 1.0, "lengths": ONE, **options})


# --- open loop -------------------------------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_trace_in_each_pass():
    clients = arrivals.clients_of("m-large", 10)
    trace = arrivals.open_loop(clients, 2000, rng(3))
    assert list(trace) == list(trace) == list(arrivals.open_loop(clients, 2000, rng(3)))
    assert list(trace) != list(arrivals.open_loop(clients, 2000, rng(4)))
    assert len(list(trace)) == 2000
    assert all(a.time_s <= b.time_s for a, b in itertools.pairwise(trace))
    assert not trace.is_stream


def test_one_more_client_changes_nothing_of_the_others():
    first = Client(1.0, FixedLengths(1, 1))
    alone = times([first], 200, 5)
    both = arrivals.open_loop([first, Client(1.0, FixedLengths(2, 2))], 300, rng(5))
    among = [r.time_s for r in both if r.input_tokens == 1]
    assert among == alone[: len(among)].tolist()
    assert len(among) > 100


def test_clients_send_their_shares():
    """20,000 requests; chi-squared of the counts with 2 degrees of freedom below 13.8: level 0.001.

    Poisson clients merged are Poisson again, each request by a client with a probability as its rate.
    """
    rates = (5.0, 3.0, 2.0)
    trace = arrivals.open_loop([Client(rate, FixedLengths(i + 1, 1)) for i, rate in enumerate(rates)], 20_000, rng(2))
    counts = np.bincount([r.input_tokens for r in trace])[1:]
    expected = np.array(rates) * 2000
    assert ((counts - expected) ** 2 / expected).sum() < 13.8
    merged = np.diff(np.array([r.time_s for r in trace]))
    assert distance(merged * 10, LAWS["poisson", 1.0]) < 1.95 / math.sqrt(merged.size)


def test_a_mixture_of_a_service_is_as_catalogued():
    """DeepSeek-R1's clients: mean lengths within 3 standard errors of the table's, rate within 3 of the asked."""
    clients = arrivals.clients_of("deepseek-r1", 20.0)
    trace = list(arrivals.open_loop(clients, 40_000, rng(6)))
    assert sum(client.per_s for client in clients) == pytest.approx(20)
    for name in ("input", "output"):
        lengths = np.array([getattr(r, f"{name}_tokens") for r in trace], dtype=float)
        mean = sum(c.per_s * getattr(c.lengths, f"mean_{name}_tokens") for c in clients) / 20
        shares = 5 * lengths.std() / math.sqrt(lengths.size)  # bursts of clients make the mean less sure than alone
        assert lengths.mean() == pytest.approx(mean, abs=shares)
    assert trace[-1].time_s == pytest.approx(2000, rel=0.1)
    cvs = [client.cv for client in clients]
    assert max(cvs) > 5
    assert {client.family for client in clients} == {"gamma", "weibull"}


#: Facts of ServeGen's files, weighted by requests: mean prompt and answer, shares above 4,096 tokens of the requests
#: and of the prompt tokens, and the share of the requests whose clients' lengths are stored.
SERVICES = {
    "m-large": (914, 155, (0.013, 0.107), 0.63),
    "deepseek-r1": (1268, 1527, (0.068, 0.72), 1.0),
    "m-mid": (307, 51, None, 0.71),
}


@pytest.mark.parametrize("name", SERVICES)
def test_the_mixtures_are_the_whole_services(name):
    given, made, above, covered = SERVICES[name]
    clients, record = arrivals.clients_of(name, 1.0), workloads().mixtures[name]
    mean = sum(c.per_s * c.lengths.mean_input_tokens for c in clients)
    assert mean == pytest.approx(given, rel=0.01)
    assert sum(c.per_s * c.lengths.mean_output_tokens for c in clients) == pytest.approx(made, rel=0.01)
    assert sum(client.share for client in record.clients) == pytest.approx(record.covered, abs=0.002)
    assert record.covered == pytest.approx(covered, abs=0.005)
    requests, tokens = np.sum(
        [c.per_s * np.array(c.lengths.longer_than(4096)) * (1, c.lengths.mean_input_tokens) for c in clients], 0
    )
    assert above is None or (requests, tokens / given) == pytest.approx(above, rel=0.05)
    together = arrivals.lengths_of(name)
    assert together.longer_than(4096) == pytest.approx((requests, tokens / mean), rel=1e-9)
    assert together.mean_output_tokens == pytest.approx(sum(c.per_s * c.lengths.mean_output_tokens for c in clients))


def test_an_unknown_name_is_quoted():
    with pytest.raises(ValueError, match="unknown workload 'azure-cod'; did you mean 'azure-code'"):
        arrivals.lengths_of("azure-cod")
    with pytest.raises(ValueError, match="unknown mixture of clients 'x'"):
        arrivals.clients_of("x", 1.0)
    with pytest.raises(ValueError, match="per_s = 0"):
        arrivals.clients_of("m-large", 0)
    with pytest.raises(ValueError, match="at least one"):
        arrivals.open_loop([], 5, rng())
    with pytest.raises(ValueError, match="requests = -1"):
        arrivals.open_loop([Client(1.0, ONE)], -1, rng())


# --- a day -----------------------------------------------------------------------------------------------------

DAY = Curve((1.0, 4.0, 0.0, 3.0), 400.0, 50.0)


def test_a_rate_follows_its_curve():
    """8,000 Poisson requests over ten periods of four parts; chi-squared with 2 degrees of freedom: level 0.001."""
    found = times([Client(2.0, ONE)], 8000, 7, DAY)
    part = ((found + 50.0) % 400.0 // 100).astype(int)
    last = int((found[-1] + 50) // 400) * 400 - 50  # whole periods only
    counts = np.bincount(part[(found >= 350) & (found < last)], minlength=4)
    assert counts[2] == 0
    expected = counts.sum() * np.array([1, 4, 3]) / 8
    assert ((counts[[0, 1, 3]] - expected) ** 2 / expected).sum() < 13.8
    assert found[-1] == pytest.approx(4000, rel=0.05)


@settings(max_examples=examples(60), deadline=None)
@given(
    st.lists(st.floats(0.1, 10), min_size=1, max_size=24),
    st.floats(1, 1e5),
    st.floats(0, 1e5),
    st.lists(st.floats(0, 1e6), min_size=1, max_size=20),
)
def test_a_curve_only_moves_the_clock(levels, period, begin, even):
    """Its two directions undo each other, order is kept, and a flat curve changes nothing."""
    curve = Curve(tuple(levels), period, begin)
    even = np.sort(np.array(even))
    clock = curve.clock(even)
    assert (np.diff(clock) >= -1e-6).all()
    assert curve.passed(clock + begin) - curve.passed(np.array(begin)) == pytest.approx(
        even, abs=1e-6 * (1 + even.max() + period + begin)
    )
    assert Curve((2.0,) * 3, period, begin).clock(even) == pytest.approx(even, abs=1e-6 * (1 + even.max() + begin))


def test_bursts_stay_bursts_on_a_curve():
    """Gaps measured on the even clock keep their CV of 3; a thinned stream would lose some of it."""
    found = times([Client(10.0, ONE, "gamma", 3.0)], 100_000, 8, Curve((1.0, 2.0, 3.0), 60.0))
    even = Curve((1.0, 2.0, 3.0), 60.0).passed(found)
    gaps = np.diff(even)
    assert gaps.std() / gaps.mean() == pytest.approx(3.0, abs=0.1)


def test_services_have_days():
    curve = arrivals.day_of("m-large")
    assert len(curve.levels) == 24
    assert curve.period_s == 86_400
    assert max(curve.levels) / min(curve.levels) > 1.3


@pytest.mark.parametrize(
    "options",
    [
        {"levels": ()},
        {"levels": (0.0, 0.0)},
        {"levels": (-1.0, 2.0)},
        {"levels": (math.nan,)},
        {"period_s": 0.0},
        {"begin_s": -1.0},
    ],
)
def test_a_curve_that_cannot_be(options):
    with pytest.raises(ValueError, match="should be"):
        Curve(**{"levels": (1.0,), **options})


# --- lengths ---------------------------------------------------------------------------------------------------

#: Facts of the raw files: requests, mean prompt, median, 90th and 99th percentile; mean answer and the same; CV of the
#: gaps; shares above 4,096 tokens of the requests and of the prompt tokens. Sources: those of the catalog's entries.
RAW = {
    "azure-code": (8819, 2048, (1469, 5188, 7436), 27.9, (13, 55, 251), 13.2, (0.141, 0.42)),
    "azure-conv": (19366, 1155, (1020, 2735, 4142), 211, (129, 424, 601), 1.09, (0.021, 0.082)),
    "mooncake-conversation": (12031, 12035, (6909, 27367, 85400), 343, (350, 597, 1119), 3.03, (0.659, 0.95)),
}


@pytest.mark.parametrize("name", RAW)
def test_the_tables_say_what_the_raw_traces_do(name):
    requests, given, _, made, _, cv, (of_requests, of_tokens) = RAW[name]
    record, table = workloads().workloads[name], arrivals.lengths_of(name)
    assert record.requests == requests
    assert record.gap_cv == pytest.approx(cv, abs=0.05)
    assert table.mean_input_tokens == pytest.approx(record.input_tokens / requests, rel=1e-4)
    assert table.mean_output_tokens == pytest.approx(record.output_tokens / requests, rel=1e-4)
    assert (table.mean_input_tokens, table.mean_output_tokens) == pytest.approx((given, made), rel=0.005)
    assert table.longer_than(4096) == pytest.approx((of_requests, of_tokens), abs=0.006)


@pytest.mark.parametrize("name", RAW)
def test_lengths_that_are_drawn_are_those_of_the_trace(name):
    """200,000 draws: means within 4 standard errors, percentiles within half a bin, a factor of 2^(1/4)."""
    _, given, inputs, made, outputs, _, above = RAW[name]
    drawn = arrivals.lengths_of(name).draw(200_000, rng(9))
    for lengths, mean, percentiles in zip(drawn, (given, made), (inputs, outputs), strict=True):
        assert lengths.min() >= 1
        assert lengths.mean() == pytest.approx(mean, abs=4 * lengths.std() / math.sqrt(200_000) + 0.005 * mean)
        found = np.percentile(lengths, (50, 90, 99))
        assert np.abs(np.log2(found / percentiles)).max() < 0.25
    assert (drawn[0] > 4096).mean() == pytest.approx(above[0], abs=0.006)


def test_prompt_and_answer_are_drawn_together():
    """Azure's conversations: prompts of 725 to 1,448 tokens have long answers, those of 363 to 512 short ones."""
    given, made = arrivals.lengths_of("azure-conv").draw(100_000, rng(10))
    middle, short = made[(given > 724) & (given <= 1448)], made[(given > 362) & (given <= 512)]
    assert middle.mean() > 2.5 * short.mean()


BINS = st.lists(st.integers(1, 300), min_size=1, max_size=8, unique=True).map(sorted)


@settings(max_examples=examples(60), deadline=None)
@given(BINS, st.data())
def test_places_in_a_bin_keep_its_mean(upto, data):
    """4,000 draws a bin: all inside, their mean within 5 standard errors and half a token's rounding at the ends."""
    lower = (max(upto[0] - data.draw(st.integers(1, 50)), 0), *upto[:-1])
    means = tuple(data.draw(st.floats(low + 1, high)) for low, high in zip(lower, upto, strict=True))
    bins = Bins(tuple(upto), means)
    index = np.repeat(np.arange(len(upto)), 4000)
    lengths = bins.place(index, rng(1)).reshape(len(upto), 4000)
    for each, low, high, mean in zip(lengths, bins.lower, upto, means, strict=True):
        assert low < each.min() <= each.max() <= high
        assert each.mean() == pytest.approx(mean, abs=5 * each.std() / math.sqrt(4000) + 0.3)


def test_lognormal_lengths_have_their_means():
    """300,000 draws, 4 standard errors of a lognormal's mean (755/200: the means of DistServe's ShareGPT)."""
    given, made = SpreadLengths(755, 200, 1.0).draw(300_000, rng(11))
    assert given.mean() == pytest.approx(755, abs=4 * given.std() / math.sqrt(300_000))
    assert made.mean() == pytest.approx(200, abs=4 * made.std() / math.sqrt(300_000))
    assert np.log(given).std() == pytest.approx(1.0, abs=0.01)
    assert (SpreadLengths(5, 3, 0.0).draw(4, rng())[0] == 5).all()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: FixedLengths(0, 1), "input_tokens"),
        (lambda: FixedLengths(1, 1.5), "output_tokens"),
        (lambda: SpreadLengths(0.5, 1), "input_tokens = 0.5"),
        (lambda: SpreadLengths(10, 10, math.nan), "spread = nan"),
        (lambda: Bins((4, 4), (1.0, 2.0)), "rising"),
        (lambda: Bins((4, 8), (1.0, 9.0)), "mean 9.0"),
        (lambda: LengthTable(Bins((4,), (2.0,)), Bins((4,), (2.0,)), np.zeros((1, 1))), "counts"),
        (lambda: LengthTable(Bins((4,), (2.0,)), Bins((4,), (2.0,)), np.ones((2, 1))), "1 x 1"),
        (lambda: arrivals.lengths_of("azure-code").longer_than(5000), "5000 tokens lie inside a bin"),
    ],
)
def test_lengths_that_cannot_be(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("requests = 8819", "requests = 8820"),
        ("[workload.azure-code]", "[workloud.azure-code]"),
        ("share = 0.2859", "share = 1.2859"),
    ],
)
def test_a_damaged_file_is_refused_with_its_place(tmp_path, old, new):
    from costlab.catalog import workloads as module

    text = module._FILE.read_text()
    assert old in text
    (tmp_path / "workloads.toml").write_text(text.replace(old, new, 1))
    with pytest.raises(CatalogError, match=r"workloads\.toml:\d+"):
        workloads(tmp_path / "workloads.toml")


# --- closed loop -----------------------------------------------------------------------------------------------


def serve(loop, service):
    """One server, first come first served: the requests with the times of their ends, in order of the ends."""
    waiting = [(r.time_s, i, r) for i, r in enumerate(loop.starts())]
    heapq.heapify(waiting)
    free, serial, done = 0.0, itertools.count(len(waiting)), []
    under_way = 0
    while waiting:
        under_way = max(under_way, len(waiting))
        time, _, request = heapq.heappop(waiting)
        free = max(free, time) + service(request)
        done.append((request, free))
        following = loop.ended(request, free)
        if following:
            heapq.heappush(waiting, (following.time_s, next(serial), following))
    return done, under_way


def test_users_wait_for_their_answers():
    """A machine repairman's queue: 5 users who think 4 s, one server of 1 s, both exponential.

    Throughput by the closed form (M/M/1//N). 40,000 requests; the standard error is taken from 20 parts, 4 of them.
    """
    draws = rng(12)
    loop = ClosedLoop(5, 40_000, arrivals.single_calls(ONE, rng(13), think_s=4.0))
    done, under_way = serve(loop, lambda request: draws.exponential(1.0))
    idle = 1 / sum(math.factorial(5) / math.factorial(5 - n) * 0.25**n for n in range(6))
    ends = np.array([end for _, end in done])
    parts = np.array([2000 / span for span in np.diff(ends[1999::2000], prepend=ends[0])])
    assert parts.mean() == pytest.approx(1 - idle, abs=4 * parts.std() / math.sqrt(20))
    assert len(done) == 40_000
    assert under_way == 5


def test_no_thinking_is_a_fixed_concurrency():
    loop = ClosedLoop(3, 100, arrivals.single_calls(FixedLengths(10, 5), rng()), ramp_s=3.0)
    done, under_way = serve(loop, lambda request: 2.0)
    assert [r.time_s for r, _ in done[:3]] == [0.0, 1.0, 2.0]
    assert under_way == 3
    assert done[-1][1] == pytest.approx(200.0)  # the server is never idle
    assert all(r.time_s in {0.0, 1.0, 2.0} | {end for _, end in done} for r, _ in done)


def test_talks_go_on_after_their_answers():
    """Each prompt of a talk holds the one before; a call comes after the answer, by the pause of the talk's plan."""
    loop = ClosedLoop(4, 300, arrivals.talks(CHAT, rng(14)))
    done, _ = serve(loop, lambda request: 50.0)
    plans = list(itertools.islice(arrivals.talks(CHAT, rng(14)), 300))
    turns = {}
    for request, end in done:
        turns.setdefault(request.session, []).append((request, end))
    for session, calls in turns.items():
        for (a, b), ((_, came), (later, _)) in zip(
            itertools.pairwise(plans[session]), itertools.pairwise(calls), strict=False
        ):
            assert later.time_s - came == pytest.approx(b.time_s - a.time_s)
            assert later.input_tokens == b.input_tokens
    ended = {}
    longer = 0
    for request, end in done:
        if request.session in ended:
            before, came = ended[request.session]
            assert request.time_s >= came
            shared = len(before.blocks) - 1  # its last block may have been partial
            if request.input_tokens > before.input_tokens:
                assert request.blocks[:shared] == before.blocks[:shared]
                longer += 1
        ended[request.session] = (request, end)
    assert longer > 30
    assert len(done) == 300


def test_a_closed_loop_that_cannot_be():
    calls = arrivals.single_calls(ONE, rng())
    for options, message in (
        ({"users": 0}, "users"),
        ({"requests": 0}, "requests"),
        ({"ramp_s": -1.0}, "ramp_s = -1"),
    ):
        with pytest.raises(ValueError, match=message):
            ClosedLoop(**{"users": 1, "requests": 1, "sessions": calls, **options})
    with pytest.raises(ValueError, match="think_s = -1"):
        arrivals.single_calls(ONE, rng(), -1)
    loop = ClosedLoop(1, 2, calls)
    list(loop.starts())
    with pytest.raises(ValueError, match="not under way"):
        loop.ended(Request(0.0, 1, 1, (), 77), 1.0)
