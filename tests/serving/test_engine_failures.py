"""Workers that die at each stage: no request is lost, none emits a token twice, pages come home, outputs stay."""

import gc
import multiprocessing
import os
import signal
import subprocess
import sys
from dataclasses import replace
from multiprocessing import Pipe
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path

import numpy as np
import pytest
from serving.engine_texts import alone, arch_bytes, check_accounts, check_idle, finish, model, requests_of, steps

from costlab.nn.serving.engine import COLOCATED, SEPARATED, Engine
from costlab.nn.serving.worker import PullPages, ReadPrompt, WorkerFault

ROOT = Path(__file__).parents[2]
SIZES = [(60, 9), (45, 12), (70, 1), (20, 15), (52, 7)]
SMALL = {"pages": 24, "page_tokens": 8, "chunk_tokens": 16}  # requests wait for pages, prompts are read in pieces

STAGES = [
    (SEPARATED, "prefill 0", "arrived"),
    (SEPARATED, "prefill 0", "prefill"),
    (SEPARATED, "prefill 0", "prefilled"),
    (SEPARATED, "decode 0", "arrived"),
    (SEPARATED, "decode 0", "transfer"),
    (SEPARATED, "decode 0", "decode"),
    (COLOCATED, "both 1", "prefill"),
    (COLOCATED, "both 1", "decode"),
]


@pytest.mark.parametrize(("roles", "worker", "stage"), STAGES)
def test_a_worker_killed_at_a_stage_loses_and_doubles_nothing(roles, worker, stage) -> None:
    """The second request's worker kills itself there, and another takes its place.

    What was at work is charged with a try; what was only waiting is not. A prompt that was read is copied although its
    reader is dead: only what a dead decode worker held is copied a second time. After sglang PR #29482 and
    tt-inference-server #4081.
    """
    requests = requests_of(SIZES)
    fault = WorkerFault(worker, stage, 1, at=3 if stage == "decode" else 1)
    with Engine(model(), roles, faults=[fault], **SMALL) as engine:
        numbers = [engine.submit(each) for each in requests]
        for _ in steps(engine):
            check_accounts(engine)
        results = [engine.take(number) for number in numbers]
        assert engine.deaths == [f"{worker}: exit code {-signal.SIGKILL}"]
        assert [each.state for each in results] == ["finished"] * len(SIZES)
        assert [each.tokens for each in results] == [alone(each) for each in requests]
        assert all(len(each.token_s) == len(each.tokens) for each in results)
        assert all(gap > 0 for each in results for gap in (each.ttft_s, *each.gaps_s))
        assert results[1].tries == (stage in ("prefill", "transfer", "decode"))
        if roles == SEPARATED:
            again = engine.moved_bytes - arch_bytes(requests)
            assert again > 0 if stage == "decode" else again >= 0 if worker == "decode 0" else again == 0
        check_idle(engine)


def test_a_request_that_kills_each_worker_fails_and_the_others_do_not() -> None:
    """Once too often; its pages come home like any other's."""
    fault = WorkerFault("prefill 0", "prefill", 1, lives=9)
    requests = requests_of(SIZES)
    with Engine(model(), SEPARATED, faults=[fault], **SMALL) as engine:
        results = engine.serve(requests)
        assert [each.state for each in results] == ["finished", "failed", "finished", "finished", "finished"]
        assert results[1].tries == len(engine.deaths) == 2
        assert results[1].reason == "a worker died at it 2 times, the last as prefill 0: exit code -9"
        assert [each.tokens for each in results if each.tokens] == [
            alone(each) for each in (requests[0], *requests[2:])
        ]
        assert engine.accounts()["failed"] == 1
        check_idle(engine)


def test_a_dead_prefill_worker_holds_no_place_in_decode() -> None:
    """What decode had reserved is free by the time that the death is known, and taken once more (sglang PR #28651)."""
    request = requests_of(SIZES)[0]
    with Engine(model(), SEPARATED, faults=[WorkerFault("prefill 0", "prefill", 0)], **SMALL) as engine:
        engine.submit(request)
        stepping = steps(engine)
        while not engine.deaths:
            next(stepping)
        assert engine.table.counts()["free"] == engine.table.total
        assert engine.result(0).state == "queued"
        finish(engine)
        result = engine.take(0)
        assert (result.state, result.tokens, result.tries) == ("finished", alone(request), 1)
        check_idle(engine)


def test_what_decode_refuses_gives_prefill_its_pages_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """An order that it cannot carry out, each time: the request fails, the others are served (vllm PR #41269)."""
    requests = requests_of(SIZES)
    with Engine(model(), SEPARATED, **SMALL) as engine:
        send = engine._fleet.send

        def garbled(worker: int, order: object) -> None:
            bad = isinstance(order, PullPages) and order.request == 1
            send(worker, replace(order, pages=[10**6] * 9) if bad else order)

        monkeypatch.setattr(engine._fleet, "send", garbled)
        results = engine.serve(requests)
        assert [each.state for each in results] == ["finished", "failed", "finished", "finished", "finished"]
        assert "IndexError" in results[1].reason
        assert [each.tokens for each in results if each.state == "finished"] == [
            alone(each) for each in (requests[0], *requests[2:])
        ]
        check_idle(engine)


def test_no_retries() -> None:
    with Engine(model(), SEPARATED, faults=[WorkerFault("decode 0", "decode", 0, at=2)], retries=0, **SMALL) as engine:
        (result,) = engine.serve(requests_of(SIZES[:1]))
        assert (result.state, result.tries) == ("failed", 1)
        assert result.tokens == alone(requests_of(SIZES[:1])[0])[:2]
        check_idle(engine)


def test_a_silent_worker_is_killed_before_its_pages_are_anybody_s() -> None:
    """It is stopped, not dead; whoever is slow by mistake is only tried again, as often as that takes."""
    fault = WorkerFault("decode 0", "transfer", 1, signal=signal.SIGSTOP)
    requests = requests_of(SIZES)
    with Engine(model(), SEPARATED, faults=[fault], silence_s=0.7, retries=1000, **SMALL) as engine:
        results = engine.serve(requests)
        assert [each.tokens for each in results] == [alone(each) for each in requests]
        assert f"decode 0: exit code {-signal.SIGKILL}" in engine.deaths
        check_idle(engine)


def test_an_error_in_a_worker_is_told() -> None:
    """A worker that raises is replaced, and what it raised is kept."""
    requests = requests_of(SIZES[:2])
    with Engine(model(), SEPARATED, **SMALL) as engine:
        engine._fleet.send(0, ReadPrompt(99, b"x", [10**6], 0))
        assert [each.tokens for each in engine.serve(requests)] == [alone(each) for each in requests]
        (told,) = engine.deaths
        assert told.startswith("prefill 0: ") and "IndexError" in told
        check_idle(engine)


@pytest.mark.parametrize("seed", range(2))
def test_whatever_dies_and_whoever_leaves_all_pages_come_home(seed: int) -> None:
    """Random deaths at random stages, random cancellings: what comes ends once, nothing stays taken (vllm #46283)."""
    rng = np.random.default_rng(seed)
    requests = requests_of([(int(rng.integers(1, 90)), int(rng.integers(1, 15))) for _ in range(7)], seed)
    kinds = [("prefill 0", s) for s in ("arrived", "prefill", "prefilled")]
    kinds += [("decode 0", s) for s in ("arrived", "transfer", "decode")]
    picked = [(kinds[int(rng.integers(len(kinds)))], int(rng.integers(7))) for _ in range(4)]
    faults = [WorkerFault(*kind, number, lives=4) for kind, number in picked]
    leaves = {int(step): int(rng.integers(7)) for step in rng.integers(1, 60, 2)}
    with Engine(model(), SEPARATED, faults=faults, retries=2, **SMALL) as engine:
        numbers = [engine.submit(each) for each in requests]
        for step, _ in enumerate(steps(engine)):
            check_accounts(engine)
            if step in leaves:
                engine.cancel(leaves[step])
        results = [engine.take(number) for number in numbers]
        assert {each.state for each in results} <= {"finished", "cancelled", "failed"}
        for result, request in zip(results, requests, strict=True):
            assert alone(request).startswith(result.tokens)
            assert (len(result.tokens) == request.output_tokens) is (result.state == "finished")
        check_idle(engine)


# --- the end of the coordinator ------------------------------------------------------------------------------------


def gone(name: str) -> bool:
    try:
        SharedMemory(name).close()
    except FileNotFoundError:
        return True
    return False


def test_segments_end_with_their_engine() -> None:
    """When it is left, in health or in error, and when it is forgotten."""
    with pytest.raises(KeyboardInterrupt), Engine(model(), COLOCATED, **SMALL) as engine:
        names = engine.segments
        assert len(names) == 2 and not any(map(gone, names))
        engine.submit(requests_of(SIZES)[0])
        engine.step()
        raise KeyboardInterrupt
    assert all(map(gone, names))
    assert all(not each.process.is_alive() for each in engine._fleet._members)
    forgotten = Engine(model(), COLOCATED, **SMALL)
    names = forgotten.segments
    del forgotten
    gc.collect()
    assert all(map(gone, names))


KILLED = """
import os, signal
from costlab.nn.serving.engine import Engine
from costlab.nn.serving.requests import TextRequest
from costlab.nn.speculative import load_family
if __name__ == "__main__":
    engine = Engine(load_family().draft)
    engine.submit(TextRequest(b"import os", 700))
    while not engine.result(0).tokens:
        engine.step()
    print(*engine.segments, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_nothing_outlives_a_killed_coordinator(tmp_path: Path) -> None:
    """Its workers end, or the pipe that they have inherited would stay open; then its segments are gone."""
    script = tmp_path / "killed.py"
    script.write_text(KILLED)
    done = subprocess.run(
        [sys.executable, script], env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    names = done.stdout.split()
    assert len(names) == 2 and all(map(gone, names))


def test_workers_that_do_not_start_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a script without the guard, which each process would run again; the segments are gone."""
    made = []

    class Broken:
        pid = None

        def Pipe(self):
            return Pipe()

        def Process(self, **how):
            made.extend(name for name, _ in how["args"][1].segments)
            return self

        def start(self):
            raise BrokenPipeError

    monkeypatch.setattr(multiprocessing, "get_context", lambda method: Broken())
    with pytest.raises(RuntimeError, match=r'prefill 0.* does not start .*behind `if __name__ == "__main__":`'):
        Engine(model(), SEPARATED, **SMALL)
    assert len(made) == 2 and all(map(gone, made))


def test_a_worker_that_always_dies_while_it_starts_is_told() -> None:
    """Three times in a row: here for want of weights."""
    with Engine(model(), SEPARATED, **SMALL) as engine:
        member = engine._fleet._members[1]
        member.setup = replace(member.setup, weights={})
        with pytest.raises(RuntimeError, match=r"(?s)decode 0.* does not start .*Missing key"):
            os.kill(engine.processes["decode 0"], signal.SIGKILL)
            engine.submit(requests_of(SIZES)[0])
            finish(engine)
        assert len(engine.deaths) == 3
    assert all(map(gone, engine.segments))
