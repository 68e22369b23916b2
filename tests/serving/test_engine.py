"""The engine in good health: outputs of one process, bytes as arch counts them, pages with one owner, cancelling."""

import signal
from collections.abc import Iterator

import pytest
import torch
from effort import FULL_EXAMPLES
from hypothesis import given, settings
from hypothesis import strategies as st
from serving.engine_texts import (
    alone,
    arch_bytes,
    check_accounts,
    check_idle,
    finish,
    model,
    requests_of,
    resume,
    steps,
    until,
)

from costlab.nn.serving.engine import COLOCATED, SEPARATED, Engine
from costlab.nn.serving.pages import PageTable, page_shape
from costlab.nn.serving.requests import TextRequest
from costlab.nn.serving.worker import WorkerFault
from costlab.nn.speculative.counted import counted

EXAMPLES = FULL_EXAMPLES // 25
PAGES, TOKENS = 14, 8  # of a worker's pool, so small that requests wait for one another

LAYOUTS = {
    "separated": (SEPARATED, None),
    "separated, two decode": (("prefill", "decode", "decode"), 13),
    "co-located": (COLOCATED, None),
    "co-located, pieces": (COLOCATED, 13),
}


@pytest.fixture(scope="module", params=LAYOUTS)
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    roles, chunk = LAYOUTS[request.param]
    with Engine(model(), roles, pages=PAGES, page_tokens=TOKENS, chunk_tokens=chunk, seats=5) as started:
        yield started


@pytest.fixture(scope="module")
def separated() -> Iterator[Engine]:
    with Engine(model(), SEPARATED, pages=PAGES, page_tokens=TOKENS) as started:
        yield started


# --- outputs, bytes ------------------------------------------------------------------------------------------------


@settings(max_examples=EXAMPLES)
@given(
    sizes=st.lists(st.tuples(st.integers(1, 90), st.integers(1, 16)), min_size=1, max_size=7),
    seed=st.integers(0, 1000),
)
def test_a_batch_equals_one_process_token_for_token(engine: Engine, sizes: list[tuple[int, int]], seed: int) -> None:
    """Float64 on both sides. What is moved is what arch counts, to the byte, and nothing for a single token."""
    requests, before = requests_of(sizes, seed), engine.moved_bytes
    results = engine.serve(requests)
    assert [each.state for each in results] == ["finished"] * len(sizes)
    assert [each.tokens for each in results] == [alone(each) for each in requests]
    apart = "prefill 0" in engine.processes
    assert engine.moved_bytes - before == (arch_bytes(requests) if apart else 0)
    check_idle(engine)
    for result in results:
        assert len(result.token_s) == len(result.tokens)
        assert result.ttft_s > 0 and all(gap > 0 for gap in result.gaps_s)
        assert result.ttft_s + sum(result.gaps_s) == pytest.approx(result.token_s[-1])


def test_the_counted_model_is_the_one_that_runs() -> None:
    counts, shape = counted(model().size, "fp64"), page_shape(model(), TOKENS)
    assert counts.params.total == sum(each.numel() for each in model().parameters())
    assert counts.kv_bytes(TOKENS).total == shape.nbytes


def test_what_pages_held_before_is_not_read(engine: Engine) -> None:
    """Rows behind a sequence's last are hidden, whatever they hold."""
    for pool in engine._pools:
        pool.tensor.fill_(1e3)
    requests = requests_of([(3, 9), (50, 9), (17, 9)], seed=1)
    assert [each.tokens for each in engine.serve(requests)] == [alone(each) for each in requests]


def test_whole_floats_are_counts(separated: Engine) -> None:
    (request,) = requests_of([(9, 3)])
    (result,) = separated.serve([TextRequest(request.prompt, 3.0)])  # type: ignore[arg-type]
    assert result.tokens == alone(request)


def test_requests_come_at_their_times(separated: Engine) -> None:
    """Tokens are timed from the arrival; a request is not begun before it, in whatever order they are given."""
    late, early = requests_of([(20, 3), (20, 3)], seed=2)
    late = TextRequest(late.prompt, late.output_tokens, time_s=0.05)
    separated.activities = []
    results = separated.serve([late, early])
    starts = [each.start_s for each in separated.activities if each.kind == "prefill"]
    separated.activities = None
    assert [each.tokens for each in results] == [alone(TextRequest(e.prompt, 3)) for e in (late, early)]
    first = starts[0] - results[1].ttft_s
    assert starts[1] > first + 0.04
    assert min(each.ttft_s for each in results) > 0


def test_a_request_joins_the_batch_and_leaves_it_between_two_steps() -> None:
    """Decode stops in the third step of the first request until the second has been read: then both decode."""
    requests = requests_of([(30, 9), (30, 12)], seed=3)
    stop = WorkerFault("decode 0", "decode", 0, at=3, signal=signal.SIGSTOP)
    with Engine(model(), SEPARATED, faults=[stop]) as engine:
        engine.activities = []
        numbers = [engine.submit(requests[0])]
        while len(engine.result(0).tokens) < 3:
            engine.step()
        numbers.append(engine.submit(requests[1]))
        until(engine, 1, "moving")
        resume(engine, "decode 0")
        steps = [set(each.requests) for each in engine.activities if each.kind == "decode"]
        first = steps.index({0, 1})  # 2 where the copy was there before the third step began
        assert first in (2, 3)
        assert steps == [{0}] * first + [{0, 1}] * (8 - first) + [{1}] * (3 + first)
        assert [engine.take(number).tokens for number in numbers] == [alone(each) for each in requests]
        check_idle(engine)


# --- memory --------------------------------------------------------------------------------------------------------


def test_too_long_is_rejected_and_counted(separated: Engine) -> None:
    """Beyond the context, and beyond a pool; what fits to the last token is served. After sglang #30233."""
    before, room = separated.accounts(), PAGES * TOKENS
    context = model().size.context
    requests = requests_of([(context - 9, 10), (room, 2), (room, 1), (1, room), (room - 4, 5)], seed=4)
    results = separated.serve(requests)
    assert [each.state for each in results] == ["rejected", "rejected", "finished", "finished", "finished"]
    assert [each.tokens for each in results[:2]] == [b"", b""]
    assert f"the model reads {context}" in results[0].reason
    assert f"a worker's pages hold {room}" in results[1].reason
    assert [each.tokens for each in results[2:]] == [alone(each) for each in requests[2:]]
    after = separated.accounts()
    assert (after["rejected"] - before["rejected"], after["finished"] - before["finished"]) == (2, 3)
    check_idle(separated)


def test_accounts_and_pages_balance_at_every_step(separated: Engine) -> None:
    """Ten requests through pools that hold a few: those that find no room wait, and none is lost."""
    requests = requests_of([(60, 8)] * 10, seed=5)
    numbers = [separated.submit(each) for each in requests]
    seen = set()
    for _ in steps(separated):
        check_accounts(separated)
        separated.table.check()
        seen |= {separated.result(number).state for number in numbers}
    assert seen >= {"queued", "prefill", "moving", "decode", "finished"}
    assert [separated.take(number).tokens for number in numbers] == [alone(each) for each in requests]
    check_idle(separated)


def test_a_result_is_taken_once(separated: Engine) -> None:
    number = separated.submit(requests_of([(9, 2)])[0])
    with pytest.raises(ValueError, match="has not ended"):
        separated.take(number)
    until(separated, number, "finished")
    separated.take(number)
    with pytest.raises(KeyError):
        separated.take(number)


@settings(max_examples=20)
@given(data=st.data())
def test_the_table_of_pages_keeps_its_promises(data: st.DataObject) -> None:
    """Whatever is taken, handed on and brought home: each page has one owner, none is taken twice."""
    table, held = PageTable([3, 7]), list[tuple[int, list[int]]]()
    for _ in range(data.draw(st.integers(1, 30))):
        if held and data.draw(st.booleans()):
            pool, pages = held.pop(data.draw(st.integers(0, len(held) - 1)))
            table.hand(pool, pages, "moving")
            assert table.counts(pool)["moving"] >= len(pages)
            table.home(pool, pages)
            with pytest.raises(RuntimeError, match="is free") if pages else pytest.raises(ZeroDivisionError):
                table.home(pool, pages) if pages else 1 // 0
        else:
            pool, count = data.draw(st.integers(0, 1)), data.draw(st.integers(0, 8))
            free = table.counts(pool)["free"]
            assert table.can_take(pool, count) is (count <= free)
            if count > free:
                with pytest.raises(ValueError, match=f"of which {free} are free"):
                    table.take(pool, count, "prefill")
            else:
                held.append((pool, table.take(pool, count, "decode")))
        table.check()
        for pool, size in enumerate((3, 7)):
            own = [page for at, pages in held if at == pool for page in pages]
            assert len(set(own)) == len(own) == size - table.counts(pool)["free"]


def test_a_table_that_lost_a_page_is_noticed() -> None:
    table = PageTable([4])
    table._owners[0][2] = "decode"
    with pytest.raises(AssertionError):
        table.check()


# --- cancelling ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["queued", "prefill", "moving", "decode"])
def test_a_cancelled_request_gives_its_pages_back(separated: Engine, state: str) -> None:
    """In whichever state: also between prefill's end and decode, where nobody else would free them (vllm PR #41269)."""
    requests = requests_of([(60, 40), (50, 20), (30, 30)], seed=6)
    numbers = [separated.submit(each) for each in requests]
    until(separated, numbers[0], state)
    before = separated.accounts()["cancelled"]
    separated.cancel(numbers[0])
    assert separated.result(numbers[0]).state == "cancelled"
    check_accounts(separated)
    separated.cancel(numbers[0])  # a second time says nothing new
    finish(separated)
    assert separated.accounts()["cancelled"] == before + 1
    results = [separated.take(number) for number in numbers]
    assert alone(requests[0]).startswith(results[0].tokens)
    assert [each.tokens for each in results[1:]] == [alone(each) for each in requests[1:]]
    separated.cancel(numbers[1])  # nor does one that has ended
    check_idle(separated)


@pytest.mark.parametrize("cancelled", [True, False])
def test_pages_are_another_s_only_after_their_reader_has_let_go(cancelled: bool) -> None:
    """Decode stops half-way through a copy, for as long as it likes: nobody gets the pages before it has gone on.

    The second request needs pages of the first in both pools. Had it got them, it would have been read by now, and
    decode would have copied its keys for the first request's (vllm #21570), or written the first's over its own (sglang
    #24527).
    """
    requests = requests_of([(60, 20), (60, 20)], seed=7)
    stop = WorkerFault("decode 0", "transfer", 0, signal=signal.SIGSTOP)
    with Engine(model(), SEPARATED, pages=PAGES, page_tokens=TOKENS, faults=[stop]) as engine:
        numbers = [engine.submit(each) for each in requests]
        until(engine, 0, "moving")
        while not engine._jobs[0].begun:
            engine.step()
        if cancelled:
            engine.cancel(0)
        for _ in range(20):
            engine.step(0.01)
            assert engine.result(1).state == "queued"
            assert engine.table.counts(0)["moving"] == 8
        resume(engine, "decode 0")
        results = [engine.take(number) for number in numbers]
        assert [each.state for each in results] == ["cancelled" if cancelled else "finished", "finished"]
        assert results[1].tokens == alone(requests[1])
        assert cancelled or results[0].tokens == alone(requests[0])
        check_idle(engine)


# --- bad input -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"prompt": b""}, "at least one, got b''"),
        ({"prompt": "text"}, "should be bytes"),
        ({"output_tokens": 0}, "output_tokens"),
        ({"output_tokens": float("nan")}, "output_tokens"),
        ({"output_tokens": 1.5}, "output_tokens"),
        ({"time_s": -1.0}, "time_s = -1.0"),
        ({"time_s": float("nan")}, "time_s = nan"),
        ({"time_s": float("inf")}, "time_s = inf"),
    ],
)
def test_requests_that_ask_for_nothing_are_refused(values: dict[str, object], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        TextRequest(**{"prompt": b"a", "output_tokens": 1} | values)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"roles": ("prefill",)}, "some 'prefill' and some 'decode', or all 'both'"),
        ({"roles": ("prefill", "decode", "both")}, "or all 'both'"),
        ({"roles": ()}, "or all 'both'"),
        ({"roles": ("prefil", "decode")}, "did you mean 'prefill'"),
        ({"pages": 0}, "pages"),
        ({"page_tokens": -1}, "page_tokens"),
        ({"chunk_tokens": 0}, "chunk_tokens"),
        ({"seats": float("nan")}, "seats"),
        ({"retries": -1}, "retries = -1"),
        ({"silence_s": 0}, "silence_s = 0"),
        ({"silence_s": float("nan")}, "silence_s = nan"),
    ],
)
def test_engines_that_could_serve_nothing_are_refused(values: dict[str, object], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Engine(model(), **values)  # type: ignore[arg-type]


def test_a_model_of_another_type_is_refused() -> None:
    with pytest.raises(ValueError, match=r"torch\.bfloat16"):
        page_shape(type(model())(model().size).to(torch.bfloat16), TOKENS)


def test_what_does_not_end_is_told(separated: Engine) -> None:
    with pytest.raises(TimeoutError, match="'arrived'"):
        separated.serve(requests_of([(9, 20)]), limit_s=0)
    finish(separated)
