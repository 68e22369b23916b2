"""Both layouts under one load, on as many cores: measured times, and what each worker did when.

A separated engine has one process that prefills and one that decodes; a co-located one has two that do both. Each
computes on one thread, so both layouts use two cores. Runs take turns, and medians count, so that whatever else the
machine does falls on all layouts alike.

>>> load = text_load(2, input_tokens=20, output_tokens=3, per_s=100.0)
>>> [(len(each.prompt), each.output_tokens, each.time_s) for each in load][0]
(20, 3, 0.0)

Chapter: serving
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from costlab import checks
from costlab.nn.serving.engine import COLOCATED, SEPARATED, Engine, Role
from costlab.nn.serving.requests import TextRequest, TextResult
from costlab.nn.serving.worker import Activity
from costlab.nn.speculative.model import ByteModel
from costlab.nn.speculative.text import held_out_text

PIECE = 128  # tokens; of the model that ships, pieces of 128 take a quarter longer than the whole prompt

#: Roles of the workers, and tokens of a prompt that are read between two decode steps (None: all of it).
TWO_CORE_LAYOUTS: Mapping[str, tuple[Sequence[Role], int | None]] = {
    "separated": (SEPARATED, None),
    "co-located": (COLOCATED, None),
    "co-located, in pieces": (COLOCATED, PIECE),
}


@dataclass(frozen=True)
class LayoutTimes:
    """What a layout's users saw in one run, or the medians of several."""

    ttft_s: float  # mean seconds from arrival to the first token
    ttft_p90_s: float  # the same, which nine requests of ten do not exceed
    gap_s: float  # mean seconds between two tokens of a request
    gap_p99_s: float  # the same, which 99 gaps of 100 do not exceed
    worst_gap_s: float  # mean over requests of each one's longest gap
    tokens_per_s: float  # tokens emitted, by the time from the first arrival to the last token


def text_load(
    requests: int, input_tokens: int, output_tokens: int, per_s: float | None, seed: int = 0
) -> list[TextRequest]:
    """Return requests that go on with pieces of a held-out text.

    Args:
        requests: how many.
        input_tokens: bytes of each prompt.
        output_tokens: bytes to emit for each.
        per_s: requests a second, the first at 0, the others at random times (Poisson); None: all at once.
        seed: of pieces and times.

    Raises:
        ValueError: numbers that are no counts, a rate that is not above 0, or prompts longer than the text.
    """
    checks.count(requests, "requests")
    checks.count(input_tokens, "input_tokens")
    if per_s is not None and not 0 < per_s < float("inf"):
        raise ValueError(f"per_s = {per_s} should be above 0, or None for all at once")
    text, rng = held_out_text("code"), np.random.default_rng(seed)
    if input_tokens > len(text):
        raise ValueError(f"input_tokens = {input_tokens:,}, but the text has {len(text):,} bytes")
    starts = rng.integers(0, len(text) - input_tokens + 1, requests).tolist()
    gaps = rng.exponential(1 / per_s, requests - 1) if per_s else np.zeros(requests - 1)
    times = [0.0, *np.cumsum(gaps).tolist()]
    prompts = [text[start : start + input_tokens] for start in starts]
    return [TextRequest(prompt, output_tokens, at) for prompt, at in zip(prompts, times, strict=True)]


def measure_layouts(
    model: ByteModel,
    requests: Sequence[TextRequest],
    rounds: int = 5,
    layouts: Mapping[str, tuple[Sequence[Role], int | None]] = TWO_CORE_LAYOUTS,
    **options: Any,
) -> dict[str, LayoutTimes]:
    """Serve the same requests by each layout in turns and return the medians of what was measured.

    Args:
        model: that all workers run.
        requests: with their times.
        rounds: in which each layout serves them once, after one that does not count.
        layouts: roles and pieces, by name.
        options: what `Engine` takes besides.

    Raises:
        ValueError: no rounds, or requests that an engine rejects.
    """
    checks.count(rounds, "rounds")
    runs: dict[str, list[LayoutTimes]] = {name: [] for name in layouts}
    with ExitStack() as stack:
        engines = {
            name: stack.enter_context(Engine(model, roles, chunk_tokens=chunk, **options))
            for name, (roles, chunk) in layouts.items()
        }
        for _ in range(rounds + 1):
            for name, engine in engines.items():
                runs[name].append(times_of(requests, engine.serve(requests)))
    return {name: _medians(each[1:]) for name, each in runs.items()}


def times_of(requests: Sequence[TextRequest], results: Sequence[TextResult]) -> LayoutTimes:
    """Return what the users of one run saw.

    Raises:
        ValueError: a request that was not served to its end.
    """
    for request, result in zip(requests, results, strict=True):
        if result.state != "finished":
            raise ValueError(f"a request of {len(request.prompt)} tokens was {result.state}: {result.reason}")
    ttft = np.array([result.ttft_s for result in results])
    gaps = np.array([gap for result in results for gap in result.gaps_s] or [0.0])
    worst = np.mean([max(result.gaps_s, default=0.0) for result in results])
    ends = [request.time_s + result.token_s[-1] for request, result in zip(requests, results, strict=True)]
    seconds = max(ends) - min(request.time_s for request in requests)
    tokens = sum(len(result.tokens) for result in results)
    p90, p99 = np.quantile(ttft, 0.9), np.quantile(gaps, 0.99)
    return LayoutTimes(*map(float, (ttft.mean(), p90, gaps.mean(), p99, worst, tokens / seconds)))


def _medians(runs: Sequence[LayoutTimes]) -> LayoutTimes:
    return LayoutTimes(**{name: float(np.median([asdict(run)[name] for run in runs])) for name in asdict(runs[0])})


def record_timeline(
    model: ByteModel,
    requests: Sequence[TextRequest],
    roles: Sequence[Role] = SEPARATED,
    chunk_tokens: int | None = None,
    **options: Any,
) -> dict[str, Any]:
    """Serve requests once and return what each worker did when, as plain numbers and words that JSON can hold.

    Args:
        model: that all workers run.
        requests: with their times.
        roles: of the workers.
        chunk_tokens: as `Engine`'s.
        options: what `Engine` takes besides.

    Returns:
        "workers": their names; "requests": of each its "arrival_s", "input_tokens" and "token_s", the moments of its
        tokens; "activities": [worker's place, "prefill", "transfer" or "decode", start, end, places of the requests],
        where decode steps of one batch that follow one another are joined. All moments are seconds after the start.

    Raises:
        ValueError: a request that was not served to its end.
    """
    with Engine(model, roles, chunk_tokens=chunk_tokens, **options) as engine:
        engine.serve(requests)  # a first run loads what the second finds loaded
        first, engine.activities = engine.accounts()["arrived"], []
        times_of(requests, results := engine.serve(requests))
        names, activities = list(engine.processes), engine.activities
    places = sorted(range(len(requests)), key=lambda place: requests[place].time_s)  # as they were numbered
    emitted_s = {each.requests[0]: each.end_s for each in activities if each.kind == "prefill"}  # the first token
    start = emitted_s[first] - requests[places[0]].time_s - results[places[0]].ttft_s
    return {
        "workers": names,
        "requests": [_moments(request, result) for request, result in zip(requests, results, strict=True)],
        "activities": [
            [
                names.index(each.worker),
                each.kind,
                each.start_s - start,
                each.end_s - start,
                [places[number - first] for number in each.requests],
            ]
            for each in _joined(activities)
        ],
    }


def _moments(request: TextRequest, result: TextResult) -> dict[str, Any]:
    tokens = [request.time_s + at for at in result.token_s]
    return {"arrival_s": request.time_s, "input_tokens": len(request.prompt), "token_s": tokens}


def _joined(activities: Sequence[Activity]) -> list[Activity]:
    """Return activities by worker and time, decode steps of one batch that follow one another as one."""
    joined: list[Activity] = []
    for each in sorted(activities, key=lambda each: (each.worker, each.start_s)):
        last = joined[-1] if joined else None
        if last and each.kind == "decode" and last[:2] + last[4:] == each[:2] + each[4:]:
            joined[-1] = last._replace(end_s=each.end_s)
        else:
            joined.append(each)
    return joined
