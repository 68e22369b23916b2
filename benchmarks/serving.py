"""The serving simulator beside NVIDIA's replay (`ai-dynamo`): the same requests, workers, memory and step times.

    python benchmarks/serving.py [--quick] [--json FILE]

Requests a second of simulation, prompts in chunks, memory in blocks, histograms on; as plain Python, and with the inner
loop compiled (`make wheel`). On an equal case each request's times must be equal, or the run stops. NVIDIA's seconds
are what its Rust core says of itself, without reading the trace; ours are the whole call.
"""

from __future__ import annotations

import argparse
import functools
import json
import math
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from peers import ROOT, Row, main, peer, timed

from costlab import roofline
from costlab.cache import PrefixCache
from costlab.cache.tiers import Tier
from costlab.roofline.compiled import step_cost
from costlab.roofline.mixed import StepCost
from costlab.serving import (
    Link,
    PooledLayout,
    Recorder,
    SentBytes,
    VllmV1,
    WorkerPool,
    WorkerSpec,
    colocated,
    separated,
    simulate,
)
from costlab.traces import Request, generators

PROMPT, ANSWER, WORKERS = 2048, 256, 4
BUDGET, RUNNING, BLOCK, BLOCKS = 2048, 256, 16, 16_384
PREFILL_S, DECODE_S = 0.04, 0.012  # of a step that reads, and of one that decodes; of one that does both, both
SCHEDULER = VllmV1(BUDGET, RUNNING, whole_prompt=True)
CACHE_BLOCK = 512  # tokens of a block that requests may share, as in Mooncake's traces
CHAT_RATE = 3  # requests/s of the trace of chats, which is taken so much faster
FLOORS = {"co-located": 30_000, "separated": 10_000}  # requests a second that were asked for
MEMORY_MB = 300  # the same for a million requests
TIMES = {False: 5, True: 1}  # in turns; the shortest counts


def arrivals(rate: float, count: int, seed: int = 0) -> list[float]:
    """Return Poisson arrivals, the first at 0, for the peer counts from it."""
    gaps = np.random.default_rng(seed).exponential(1 / rate, count)
    gaps[0] = 0.0
    found: list[float] = np.cumsum(gaps).tolist()
    return found


def alike(rate: float, count: int, prompt: int = PROMPT, answer: int = ANSWER) -> list[Request]:
    """Return requests of one length."""
    return [Request(time_s, prompt, answer, ()) for time_s in arrivals(rate, count)]


def worker(cost: StepCost, blocks: int = BLOCKS, cached: bool = False) -> WorkerSpec:
    """Return what both sides serve with."""
    pages = BLOCKS * BLOCK // CACHE_BLOCK

    def cache() -> PrefixCache:
        return PrefixCache([Tier("HBM")], CACHE_BLOCK, page_tokens=CACHE_BLOCK, capacities=[(pages, 0)])

    return WorkerSpec(cost, SCHEDULER, blocks * BLOCK, BLOCK, cache=cache if cached else None)


def together(cost: StepCost) -> PooledLayout:
    """Return workers that do all."""
    return colocated(WorkerPool(worker(cost), WORKERS, "round robin"))


def replayed(
    requests: Sequence[Request], *, answer_more: int = 0, blocks: int = BLOCKS, cached: bool = False, **layout: Any
) -> Any:
    """Return NVIDIA's report of the same.

    Args:
        requests: the first at 0.
        answer_more: tokens by which its answers are longer.
        blocks: of each worker's memory.
        cached: whether it keeps prefixes.
        layout: how many workers of which kind; records or not.
    """
    os.environ["DYN_LOG"] = "off"  # it would write down each step
    engine = {
        "timing_model": {"type": "fixed", "prefill_ms": 1e3 * PREFILL_S, "decode_ms": 1e3 * DECODE_S},
        "max_num_seqs": RUNNING,
        "max_num_batched_tokens": BUDGET,
        "num_gpu_blocks": blocks,
        "block_size": BLOCK,
        "enable_prefix_caching": cached,
    }
    kinds = [f"{kind}_engine_args" for kind in ("prefill", "decode")] if "num_decode_workers" in layout else []
    engines: dict[str, Any] = {name: {"engine": {**engine, "worker_type": name.split("_")[0]}} for name in kinds}
    unshared = iter(range(10**9))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace.jsonl"
        with path.open("w") as file:
            for request in requests:
                ids = request.blocks or [next(unshared) for _ in range(-(-request.input_tokens // CACHE_BLOCK))]
                row = {
                    "timestamp": 1e3 * request.time_s,
                    "input_length": request.input_tokens,
                    "output_length": request.output_tokens + answer_more,
                    "hash_ids": list(ids),
                }
                file.write(json.dumps(row) + "\n")
        shared = engines or {"extra_engine_args": {"engine": engine}}
        run = peer("dynamo.replay").run_trace_replay
        return run(str(path), trace_format="mooncake", trace_block_size=CACHE_BLOCK, **shared, **layout)


FIXED = StepCost.fixed(PREFILL_S, DECODE_S)


def check_together(requests: Sequence[Request], workers: int = WORKERS, blocks: int = BLOCKS) -> None:
    """Stop unless each request's first and last token come at the same time in both."""
    layout = colocated(WorkerPool(worker(FIXED, blocks), workers, "round robin"))
    theirs = replayed(requests, blocks=blocks, num_workers=workers, capture_per_request=True)
    compare(requests, layout, theirs, "first_token_ms")


def check_apart(requests: Sequence[Request]) -> None:
    """The same with one worker for each phase and a link that takes no time.

    There decode emits the first token, so its answers have a token less behind prefill's.
    """
    pool = WorkerPool(worker(FIXED))
    layout = separated(pool, pool, Link(math.inf), SentBytes.per_token(0.0))
    workers = {"num_prefill_workers": 1, "num_decode_workers": 1}
    compare(requests, layout, replayed(requests, answer_more=-1, capture_per_request=True, **workers), "source_held_ms")


def compare(requests: Sequence[Request], layout: PooledLayout, theirs: Any, first: str) -> None:
    """Stop unless both have the same times; `first` is the peer's name for when the first token is there."""
    ours = simulate(requests, layout, recorder=Recorder(records=True)).records
    assert ours is not None
    for own, its in zip(ours, sorted(theirs.per_request, key=lambda row: row["arrival_time_ms"]), strict=True):
        same(own.first_s, its[first])
        same(own.last_s, its["last_token_ms"])


def same(own_s: float, its_ms: float) -> None:
    """Stop unless both are the same to a microsecond."""
    assert abs(1e3 * own_s - its_ms) < 1e-3, f"{1e3 * own_s} ms here, {its_ms} ms in NVIDIA's replay"


# --- speed -------------------------------------------------------------------------------------------------------


def together_case(rate: float, count: int, kind: str) -> tuple[list[Request], PooledLayout]:
    """Return requests, and workers that do all with the peer's step times ("fixed") or a model's on chips."""
    node = roofline.deployment("llama-3.1-70b", "h100-sxm", 4, tensor_parallel=4)
    return alike(rate, count), together(FIXED if kind == "fixed" else step_cost(node))


def apart_case(count: int) -> tuple[list[Request], PooledLayout]:
    """Return chats whose turns share their beginning, and two workers for each phase with a link and prefix caches."""
    chats = list(generators.generate("chat", count, np.random.default_rng(0)))
    start, faster = chats[0].time_s, (chats[-1].time_s - chats[0].time_s) * CHAT_RATE / count
    chats = [
        Request((r.time_s - start) / faster, r.input_tokens, max(2, r.output_tokens), r.blocks, r.session)
        for r in chats
    ]
    pool = WorkerPool(worker(FIXED, cached=True), WORKERS // 2)
    return chats, separated(pool, pool, Link(50e9, 1e-3), SentBytes.per_token(327_680.0))


CASES = {"together": together_case, "apart": apart_case}


def seconds_of(case: str, *args: Any) -> float:
    """Return the seconds of simulating a case, and see that all requests are served."""
    requests, layout = CASES[case](*args)
    seconds, report = timed(lambda: simulate(requests, layout))
    assert report.accounts.finished == len(requests), report.accounts
    return seconds


def compiled_seconds_of(package: Path, case: str, *args: Any) -> float:
    """Return the same with the package that lies in a folder, in a process of its own."""
    return float(elsewhere(package, f"print(serving.seconds_of({case!r}, *{args!r}))"))


def elsewhere(package: Path, code: str) -> str:
    """Return what code prints that uses this module, in a process of its own with the package of a folder."""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(package), str(Path(__file__).parent)])}
    command = [sys.executable, "-c", f"import serving\n{code}"]
    return subprocess.run(command, check=True, capture_output=True, text=True, cwd=package, env=env).stdout


def compiled(folder: str) -> Path:
    """Compile the package into a folder, and return where it lies."""
    subprocess.run([sys.executable, str(ROOT / "tools/compiled_wheel.py"), folder, "--unpack"], check=True)
    return Path(folder)


def speed_rows(name: str, what: str, floor: int, goal: float | None, sides: Sequence[Callable[[], float]],
               count: int, quick: bool) -> Iterator[Row]:  # fmt: skip
    """Yield speeds beside NVIDIA's, and of the compiled package beside what was asked for.

    Args:
        name: of the rows.
        what: is simulated.
        floor: requests a second that were asked for.
        goal: how many times NVIDIA's, or None.
        sides: return seconds, of the plain files, the compiled ones, NVIDIA's; in turns, the shortest of each counts.
        count: requests of each.
        quick: one turn.
    """
    times = [[side() for side in sides] for _ in range(TIMES[quick])]
    plain, fast, theirs = (count / min(each) for each in zip(*times, strict=True))
    least, peer_name = goal and (goal, None), "NVIDIA's replay (Rust)"
    yield Row(name, f"{what}, plain Python", peer_name, "requests/s", plain, theirs, more=True)
    yield Row(f"{name}-compiled", f"{what}, compiled", peer_name, "requests/s", fast, theirs, more=True, goal=least)
    asked = f"{floor:,} asked for"
    yield Row(
        f"{name}-floor", f"{what}, compiled", asked, "requests/s", fast, float(floor), more=True, goal=(1.0, None)
    )


def together_rows(rate: int, package: Path, quick: bool) -> Iterator[Row]:
    """Four workers that do all: with the peer's step times, and with those of a model on chips."""
    count = 500 if quick else 20_000
    for kind in ("fixed", "roofline"):
        case = ("together", rate, count, kind)
        requests, _ = together_case(rate, count, kind)
        sides = (
            functools.partial(seconds_of, *case),
            functools.partial(compiled_seconds_of, package, *case),
            lambda requests=requests: their_seconds(requests, num_workers=WORKERS),
        )
        what = f"{count:,} requests at {rate}/s, {PROMPT:,} in and {ANSWER} out, {WORKERS} workers, {kind} times"
        yield from speed_rows(f"together-{rate}-{kind}", what, FLOORS["co-located"], 10.0, sides, count, quick)


def apart_rows(package: Path, quick: bool) -> Iterator[Row]:
    """Two workers for each phase, with a link and prefix caches."""
    count = 300 if quick else 10_000
    chats, _ = apart_case(count)
    workers = {"num_prefill_workers": WORKERS // 2, "num_decode_workers": WORKERS // 2}
    sides = (
        functools.partial(seconds_of, "apart", count),
        functools.partial(compiled_seconds_of, package, "apart", count),
        lambda: their_seconds(chats, cached=True, **workers),
    )
    what = f"{count:,} chats at {CHAT_RATE}/s, 2 prefill + 2 decode workers, prefix caches, link"
    yield from speed_rows("apart-cached", what, FLOORS["separated"], None, sides, count, quick)


def their_seconds(requests: Sequence[Request], **layout: Any) -> float:
    """Return what NVIDIA's replay says it took."""
    return float(replayed(requests, **layout).summary["wall_time_ms"]) / 1e3


def streamed(count: int) -> Iterator[Request]:
    """Yield so many requests at 10 a second, none of which is held."""
    rng, time_s = np.random.default_rng(0), 0.0
    for _ in range(0, count, 1000):
        for gap in rng.exponential(0.1, 1000).tolist():
            time_s += gap
            yield Request(time_s, PROMPT, ANSWER, ())


def many_rows(quick: bool) -> Iterator[Row]:
    """A million requests, each of both sizes in a process of its own: peak memory, and whether time is linear."""
    sizes = (4_000, 1_000) if quick else (1_000_000, 250_000)
    large, small = (alone(size) for size in sizes)
    what = f"{sizes[0]:,} requests at 10/s, peak memory of the process"
    yield Row("many-memory", what, f"{MEMORY_MB} MB asked for", "MB", large[1], float(MEMORY_MB), goal=(1.0, None))
    what = f"{sizes[0]:,} requests at 10/s"
    yield Row("many-time", what, f"4 times the time of {sizes[1]:,}", "s", large[0], 4 * small[0], goal=(0.8, None))


def alone(count: int) -> tuple[float, float]:
    """Return seconds and megabytes of a run in a process of its own.

    Its peak is read from Linux's account of its address space: what `getrusage` gives begins with the parent's.
    """
    seconds, kilobytes = map(float, elsewhere(ROOT, f"print(*serving.streamed_run({count}))").split())
    return seconds, kilobytes * 1024 / 1e6


def streamed_run(count: int) -> tuple[float, int]:
    """Return the seconds of simulating a stream of requests, and the most kilobytes that this process has held."""
    seconds, report = timed(lambda: simulate(streamed(count), together(FIXED)))
    assert report.accounts.finished == count, report.accounts
    (peak,) = re.findall(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return seconds, int(peak)


def rows(options: argparse.Namespace) -> Iterator[Row]:
    """Equal cases first, then speed at two loads and in two layouts, then many requests."""
    some = 300 if options.quick else 3000
    for rate in (10, 30):
        check_together(alike(rate, some))
    check_together(alike(2, some, 100, 300), workers=1, blocks=60)  # of which three fit: they preempt one another
    check_apart(alike(4, some))
    with tempfile.TemporaryDirectory() as folder:
        package = compiled(folder)
        for rate in (10, 30):
            yield from together_rows(rate, package, options.quick)
        yield from apart_rows(package, options.quick)
    yield from many_rows(options.quick)


if __name__ == "__main__":
    main(rows, __doc__)
