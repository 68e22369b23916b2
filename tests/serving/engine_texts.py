"""What the engine's tests share: requests, and what one process answers to them."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator, Sequence
from functools import cache

import numpy as np

from costlab.nn.serving.engine import Engine
from costlab.nn.serving.requests import TextRequest
from costlab.nn.speculative import ByteModel, generate_texts, held_out_text, load_family
from costlab.nn.speculative.counted import counted

LIMIT_S = 200.0


@cache
def model() -> ByteModel:
    """The shipped model in float64."""
    return load_family().target.double()


def requests_of(sizes: Sequence[tuple[int, int]], seed: int = 0) -> list[TextRequest]:
    """Requests of so many bytes in and out, each a piece of a held-out text of its own."""
    text, rng = held_out_text("code"), np.random.default_rng(seed)
    starts = rng.integers(0, len(text) - 800, len(sizes)).tolist()
    return [TextRequest(text[at : at + size], out) for at, (size, out) in zip(starts, sizes, strict=True)]


@cache
def alone(request: TextRequest) -> bytes:
    """What one process emits that has nothing else to do."""
    (text,) = generate_texts(model(), [request.prompt], tokens=request.output_tokens)
    return bytes(text.tokens)


def arch_bytes(requests: Sequence[TextRequest]) -> float:
    """What arch counts for the prompts' keys and values, of those that need a second token."""
    counts = counted(model().size, "fp64")
    return sum(float(counts.kv_bytes(len(each.prompt)).total) for each in requests if each.output_tokens > 1)


def check_idle(engine: Engine) -> None:
    """Nothing is lost: all pages are home, and all requests that came have ended."""
    engine.table.check()
    assert engine.idle
    assert engine.table.counts() == {"free": engine.table.total, "prefill": 0, "moving": 0, "decode": 0}
    check_accounts(engine)


def check_accounts(engine: Engine) -> None:
    arrived, *others = engine.accounts().values()
    assert arrived == sum(others)
    assert sum(engine.table.counts().values()) == engine.table.total


def steps(engine: Engine, timeout_s: float = 0.5) -> Iterator[None]:
    """Step until nothing is left to do, and give control after each; the limit only ends a hang."""
    start = time.monotonic()
    while not engine.idle:
        assert time.monotonic() - start < LIMIT_S, engine.accounts()
        engine.step(timeout_s)
        yield


def until(engine: Engine, number: int, *states: str) -> None:
    """Step until a request is in one of some states."""
    stepping = steps(engine)
    while engine.result(number).state not in states:
        next(stepping)


def finish(engine: Engine) -> None:
    """Step until nothing is left to do."""
    for _ in steps(engine):
        pass


def resume(engine: Engine, worker: str) -> None:
    """Let a worker that has stopped itself, or is about to, go on until nothing is left to do."""
    for _ in steps(engine, timeout_s=0.01):
        os.kill(engine.processes[worker], signal.SIGCONT)
