"""Links: bytes as the models have them, times as closed forms and a slow fluid simulation have them."""

import math

import pytest
from arch import kinds
from hypothesis import given
from hypothesis import strategies as st

from costlab import arch
from costlab.serving.links import Link, Pieces, SentBytes, SharedLink, Transfer

# --- bytes -----------------------------------------------------------------------------------------------------


def test_replicated_heads_are_sent_as_often_as_chips_hold_them():
    """Qwen3-235B's 4 KV heads on 8 chips, twice what 4 chips get; `test_published` has it beside a measured table."""
    once, twice = (SentBytes.of("qwen3-235b-a22b", group)(32_768) for group in (4, 8))
    assert once == 192_512 * 32_768
    assert twice == 2 * once


@pytest.mark.parametrize("make", [kinds.qwen3_next, kinds.llama4], ids=lambda make: make.__name__)
@pytest.mark.parametrize("tokens", [1, 8191, 8192, 8193, 20_000])
def test_states_and_chunks_are_sent_as_they_stand(make, tokens):
    """What a sequence keeps: a state whatever the prompt, and of chunks the open one; a prefix's states go anew."""
    model = make()
    sent = SentBytes.of(model)
    assert sent(tokens) == float(model.kv_bytes(tokens).resident)
    fixed, growing = float(model.kv_bytes(tokens).fixed), float(model.kv_bytes(1).growing)
    assert sent(tokens, tokens - 1) == pytest.approx(fixed + growing)


@pytest.mark.parametrize("model", ["deepseek-v4-pro", "deepseek-v3.2", "mimo-v2.5", "qwen3-235b-a22b"])
@pytest.mark.parametrize("tokens", [1, 127, 4096, 100_003])
def test_a_model_sends_what_it_keeps(model, tokens):
    """Windows, compressed entries, index keys and open blocks: all that a running sequence occupies, on each chip."""
    kept = arch.load(model).kv_bytes(tokens, 8).resident
    assert SentBytes.of(model, 8)(tokens) == pytest.approx(8 * float(kept), rel=1e-12)


def test_a_prefix_that_decode_has_is_not_sent_again_but_windows_are():
    sent = SentBytes.of("mimo-v2.5")
    kept = arch.load("mimo-v2.5").kv_bytes(8192)
    assert sent(8192, 8192) == pytest.approx(float(kept.window), rel=1e-12)
    half = sent(8192, 4096) - sent(8192, 8192)
    assert half == pytest.approx(float(kept.growing) / 2, rel=1e-12)
    assert SentBytes.per_token(100.0)(10, 4) == 600.0


def test_sizes_that_are_none_are_refused():
    with pytest.raises(ValueError, match="bandwidth_bytes_s = 0 should be above 0"):
        Link(0)
    with pytest.raises(ValueError, match="bandwidth_bytes_s = nan"):
        Link(math.nan)
    with pytest.raises(ValueError, match="latency_s = -1 should be"):
        Link(1e9, -1)
    with pytest.raises(ValueError, match="layer_latency_s = nan"):
        Link(1e9, 0, math.nan)
    with pytest.raises(ValueError, match="bytes_per_token = nan"):
        SentBytes.per_token(math.nan)


# --- times -----------------------------------------------------------------------------------------------------


def run(link, posts, jumps=True):
    """Post (time, pieces) in order and return the times of arrival, by index."""
    shared, ends = SharedLink(link, jumps), {}

    def go(until):
        while (at := shared.next_s()) <= until and at < math.inf:
            ends.update({done.key: done.end_s for done in shared.advance(at)})

    for index, (now, pieces) in enumerate(posts):
        go(now)
        shared.post(now, index, pieces)
    go(math.inf)
    assert shared.under_way == 0
    total = sum(pieces.total for _, pieces in posts)
    assert shared.carried_bytes == pytest.approx(total, rel=1e-9, abs=1e-6)
    return [ends[index] for index in range(len(posts))]


class Whole(Pieces):
    """Pieces that remember their size."""

    __slots__ = ("pieces", "total")

    def __init__(self, size, ready, setup=0.0, pieces=1, interval=0.0):
        super().__init__(size, ready, setup, pieces, interval)
        self.total, self.pieces = size, pieces


def test_alone_a_transfer_takes_set_up_and_bytes_over_bandwidth():
    link = Link(100.0, 0.5)
    assert run(link, [(2.0, Whole(300.0, 2.0, 0.5))]) == [2.0 + link.alone_s(300.0)] == [5.5]


def test_two_at_once_share_and_are_timed_again_when_one_starts_or_ends():
    """100 B/s: the first has 1 s alone, then both get 50 B/s; the second ends last, alone again."""
    ends = run(Link(100.0), [(0.0, Whole(200.0, 0.0)), (1.0, Whole(200.0, 1.0))])
    assert ends == [3.0, 4.0]


@pytest.mark.parametrize(("layers", "compute_s"), [(1, 3.0), (4, 4.0), (4, 100.0), (61, 0.5), (10, 0.0)])
def test_layer_by_layer_is_the_closed_form(layers, compute_s):
    """max(s, L s - (L-1) p) behind the prefill, whether the link or the chip is the slower."""
    link = Link(100.0, 7.0, 0.01)
    each = compute_s / layers
    pieces = Whole(200.0, each, link.layer_setup_s, layers, each)
    visible = link.visible_s(200.0, layers, compute_s)
    for jumps in (True, False):
        pieces = Whole(200.0, each, link.layer_setup_s, layers, each)
        assert run(link, [(0.0, pieces)], jumps) == [pytest.approx(compute_s + visible, rel=1e-12)]
    s = 0.01 + 200.0 / layers / 100.0
    assert visible == pytest.approx(max(s, layers * s - (layers - 1) * each))


def fluid(link, posts):
    """The same by brute force: from event to event, every transfer looked at each time."""
    now = 0.0
    state = [{"at": at, "p": p, "index": 0, "left": p.total / p.count, "begin": None, "end": None} for at, p in posts]
    while any(s["end"] is None for s in state):
        for s in state:
            if s["begin"] is None and s["end"] is None:
                start = max(s["at"], s["p"].ready_s + s["index"] * s["p"].interval_s)
                s["begin"] = start + s["p"].setup_s
        live = [s for s in state if s["end"] is None]
        active = [s for s in live if s["begin"] <= now]
        to_come = [s["begin"] for s in live if s["begin"] > now]
        rate = link.bandwidth_bytes_s / max(len(active), 1)
        step = min([s["left"] / rate for s in active] + [t - now for t in to_come])
        ended = [s for s in active if s["left"] / rate <= step * (1 + 1e-12)]
        now = min([now + step, *to_come]) if not ended else now + step
        for s in active:
            s["left"] -= rate * step
        for s in ended:
            s["index"] += 1
            s["left"], s["begin"], s["at"] = s["p"].total / s["p"].pieces, None, now
            if s["index"] == s["p"].pieces:
                s["end"] = now
    return [s["end"] for s in state]


times = st.integers(0, 40).map(lambda n: n / 8)
posts = st.lists(st.tuples(times, times, st.integers(1, 40), st.integers(1, 6), times, st.booleans()), max_size=7)


@given(posts)
def test_jumps_pieces_and_a_slow_fluid_simulation_agree(drawn):
    link = Link(10.0)

    def made():
        found = []
        for at, wait, size, count, interval, setup in sorted(drawn):
            found.append((at, Whole(float(size), at + wait, 0.3 if setup else 0.0, count, interval)))
        return found

    slow = fluid(link, made())
    for jumps in (True, False):
        assert run(link, made(), jumps) == pytest.approx(slow, rel=1e-9, abs=1e-9)


def test_a_cancelled_transfer_leaves_its_share_to_the_others():
    shared = SharedLink(Link(100.0))
    first = shared.post(0.0, "a", Pieces(200.0, 0.0, 0.0))
    shared.post(0.0, "b", Pieces(200.0, 0.0, 0.0))
    assert shared.advance(1.0) == []
    shared.cancel(1.0, first)
    assert (shared.next_s(), shared.under_way) == (2.5, 1)
    assert [done.key for done in shared.advance(2.5)] == ["b"]
    shared.cancel(3.0, first)
    assert (shared.next_s(), shared.under_way) == (math.inf, 0)


def test_a_transfer_grows_chunk_by_chunk_and_waits_open_in_between():
    for jumps in (True, False):
        shared = SharedLink(Link(100.0), jumps)
        transfer = shared.post(0.0, "a", Pieces(100.0, 0.0, 0.5), last=False)
        assert isinstance(transfer, Transfer)
        assert shared.advance(1.5) == []
        assert shared.next_s() == math.inf or shared.advance(shared.next_s()) == []
        shared.extend(4.0, transfer, Pieces(100.0, 4.0, 0.5), last=True)
        assert shared.next_s() <= 5.5
        arrived = [*shared.advance(4.6), *shared.advance(5.5)]
        assert [done.end_s for done in arrived] == [5.5]
        assert (transfer.total_bytes, shared.carried_bytes) == (200.0, 200.0)


def test_a_transfer_cancelled_as_it_arrives_has_not_arrived():
    """Another's post at that instant brings the link up to it, before anybody was told."""
    shared = SharedLink(Link(100.0))
    first = shared.post(0.0, "a", Pieces(100.0, 0.0, 0.0))
    shared.post(1.0, "b", Pieces(100.0, 1.0, 0.0))
    assert shared.under_way == 2
    shared.cancel(1.0, first)
    assert shared.under_way == 1
    assert [done.key for done in shared.advance(2.0)] == ["b"]
