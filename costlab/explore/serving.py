"""Figures of the chapter `serving`: what a prompt does to those who decode beside it, queues, chunks, memory.

All of the chapter's own numbers are of one deployment: `worker()` is Llama-3.1-70B on 4 H100, of which there are 4.

Chapter: serving
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np

from costlab import roofline
from costlab.arrays import Floats
from costlab.checks import count
from costlab.explore.drawing import Words, drawn, is_narrow, value
from costlab.explore.style import COLOURS, colour_key, label_ends, label_inside, log_axis, new_figure
from costlab.roofline import Deployment, Efficiency, Piece, StepCost, kv_room, step_cost
from costlab.serving.layouts import PooledLayout, WorkerPool, colocated, separated
from costlab.serving.links import Link, Sending, SentBytes
from costlab.serving.metrics import quantile
from costlab.serving.plan.sizing import queueing
from costlab.serving.report import ServingReport
from costlab.serving.schedulers import Orca, PrefillFirst, Scheduler, VllmV1
from costlab.serving.simulation import WorkerSpec, simulate
from costlab.traces import Request, arrivals

# --- the deployment of the chapter -------------------------------------------------------------------------------

MODEL, SERVED_CHIP = "llama-3.1-70b", "h100-sxm"  # keys in the catalog
CHIPS = 4  # of a worker, which split the model by tensor parallelism
WORKERS = 4  # in all: together, or split 1 + 3, 2 + 2, 3 + 1
EFFICIENCY = Efficiency(compute=0.6, memory=0.8, link=0.8)  # assumed shares of the peaks
STEP_TOKENS = 2048  # tokens of a step at most where workers do both
READ_TOKENS = 8192  # the same where a worker only reads prompts
LINK_BYTES_S = 50e9  # of each prefill worker's link to the decode workers: one port of 400 Gbit/s
LINK_S = 2e-3  # seconds of a transfer's set-up; the tables of `catalog.tables().serving.transfers` give 0.4 and 1.8 ms
PROMPT, ANSWER = 2048, 256  # tokens of the usual request
LOAD = 12.0  # requests a second for all workers


@functools.cache
def served_node() -> Deployment:
    """Return one worker's deployment."""
    return roofline.deployment(MODEL, SERVED_CHIP, CHIPS, tensor_parallel=CHIPS, efficiency=EFFICIENCY)


@functools.cache
def served_cost() -> StepCost:
    """Return the seconds of its steps."""
    return step_cost(served_node())


def worker(scheduler: Scheduler | int = STEP_TOKENS) -> WorkerSpec:
    """Return a worker of the chapter.

    Args:
        scheduler: who is in a step; a number is the token budget of vLLM's rule, which reads prompts in chunks.
    """
    rule = VllmV1(scheduler) if isinstance(scheduler, int) else scheduler
    return WorkerSpec(served_cost(), rule, kv_room(served_node()).tokens(), chips=CHIPS)


def together(scheduler: Scheduler | int = STEP_TOKENS) -> PooledLayout:
    """Return all workers, each of which reads prompts and decodes."""
    return colocated(WorkerPool(worker(scheduler), WORKERS))


def apart(prefill_workers: int = 2, link_bytes_s: float = LINK_BYTES_S, sending: Sending = "layers") -> PooledLayout:
    """Return as many workers in two pools.

    Args:
        prefill_workers: those that read prompts, 1 to WORKERS - 1; the others decode.
        link_bytes_s: bytes a second of each prefill worker's link.
        sending: when a prompt's cache is sent.

    Raises:
        ValueError: a pool without workers.
    """
    if not 1 <= prefill_workers < WORKERS:
        raise ValueError(f"prefill_workers = {prefill_workers} should be from 1 to {WORKERS - 1}, of {WORKERS} in all")
    read, decode = worker(READ_TOKENS), worker()
    link, sent = Link(link_bytes_s, LINK_S, 0.0), SentBytes.of(MODEL, CHIPS)
    pools = (WorkerPool(read, prefill_workers), WorkerPool(decode, WORKERS - prefill_workers))
    return separated(*pools, link, sent, sending=sending)


def load_of(
    requests_s: float, requests: int, prompt: int = PROMPT, answer: int = ANSWER, spread: float = 0.0, seed: int = 0
) -> Sequence[Request]:
    """Return requests that come by chance at a rate.

    Args:
        requests_s: a second.
        requests: how many.
        prompt: tokens of each, in the mean.
        answer: tokens of each, in the mean.
        spread: standard deviation of the lengths' logarithm; 0 makes all equal.
        seed: of the draws.
    """
    lengths = arrivals.SpreadLengths(prompt, answer, spread) if spread else arrivals.FixedLengths(prompt, answer)
    clients = [arrivals.Client(requests_s, lengths)]
    return tuple(arrivals.open_loop(clients, requests, np.random.default_rng(seed)))


def time_text(seconds: float) -> str:
    """Return a time for people: 9.4 ms, 120 ms, 2.40 s, 72 s."""
    if seconds < 0.9995:
        return f"{1e3 * seconds:.2g} ms" if seconds < 0.0995 else f"{1e3 * seconds:.0f} ms"
    return f"{seconds:.2f} s" if seconds < 9.995 else f"{seconds:,.0f} s"


# --- two kinds of work -------------------------------------------------------------------------------------------


@drawn
def interference(prompt_tokens: int = 4096, users: int = 64) -> Words:
    """Draw the seconds of a step in which users decode, by term, without and with a prompt that is read beside them.

    Args:
        prompt_tokens: that the step reads of a prompt.
        users: who get a token in it, each with half an answer behind a usual prompt.

    Raises:
        ValueError: counts below 1, or more than the worker's memory holds.
    """
    decoding = Piece.decode(PROMPT + ANSWER // 2, count(users, "users"))
    node = served_node()
    node.check_room(users, PROMPT + ANSWER)
    reading = Piece(count(prompt_tokens, "prompt_tokens"))
    alone, mixed = node.batch_step([decoding]), node.batch_step([decoding, reading])
    axes = new_figure(
        "What does a prompt do to those who decode?", "time of the step (ms)", "", wide=(7.2, 3.0), narrow=(3.6, 3.2)
    )
    colour_key([(term, COLOURS[term]) for term in mixed.terms])
    for place, step in enumerate((alone, mixed)):
        for row, (term, seconds) in enumerate(step.terms.items()):
            y = 4 * place + row
            axes.barh(y, 1e3 * seconds, 0.8, color=COLOURS[term])
            weight = "bold" if term == step.bound else "normal"
            label_inside(axes, time_text(seconds), 1e3 * seconds, y, fontsize=10, weight=weight)
    names = [f"{users} decode", f"and {prompt_tokens:,}\ntokens are read"]
    axes.set_yticks([1, 5], names if is_narrow() else [f"{users} users decode", names[1].replace("\n", " ")])
    axes.set(xlim=(0, (1.4e3 if is_narrow() else 1.2e3) * mixed.seconds), ylim=(6.7, -0.7))
    axes.grid(axis="y", visible=False)
    times = mixed.seconds / alone.seconds
    told = "; ".join(
        f"{who}: " + ", ".join(f"{term} {time_text(seconds)}" for term, seconds in step.terms.items())
        for who, step in ((f"{users} users decode", alone), (f"with {prompt_tokens:,} tokens of a prompt", mixed))
    )
    return Words(
        f"Time of a step of {node.model.name} on {CHIPS} {node.chip.name}, by term. {told}. The longest bar is the "
        f"step: {time_text(alone.seconds)} and {time_text(mixed.seconds)}, {times:.1f} times as long.",
        f"{value(users, f'{users} users', 'serving_users')} decode in "
        f"{value(alone.seconds, time_text(alone.seconds), 'serving_alone')}. With "
        f"{value(prompt_tokens, f'{prompt_tokens:,} tokens', 'serving_prompt')} of a prompt in the same step all of "
        f"them wait {value(mixed.seconds, time_text(mixed.seconds), 'serving_mixed')}, "
        f"{value(times, f'{times:.1f} times', 'serving_times')} as long. The three terms overlap: the longest is the "
        "step.",
    )


# --- a queue -----------------------------------------------------------------------------------------------------

_LOADS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9)
_QUEUED = 20_000  # requests of each simulated point


def waits_s(times_s: Floats, service_s: float) -> Floats:
    """Return how long each of some requests waits for one worker that takes equally long for each: [requests].

    Lindley's recursion, wait = max(0, wait before + service - gap), is the height of a walk above its lowest point.

    Args:
        times_s: of arrival, rising: [requests].
        service_s: seconds of each.
    """
    walk = np.concatenate([[0.0], np.cumsum(service_s - np.diff(times_s))])
    return np.asarray(walk - np.minimum.accumulate(walk))


@drawn
def queue_wait(load: float = 0.8, prompt_tokens: int = PROMPT) -> Words:
    """Draw the time to first token of a worker that only reads prompts, one after another, against its load.

    Args:
        load: share of the time that it reads, to mark, 0.05 to 0.95.
        prompt_tokens: of each prompt.

    Raises:
        ValueError: a load out of range, a count below 1.
    """
    if not 0.05 <= load <= 0.95:
        raise ValueError(f"load = {load} should be from 0.05 to 0.95")
    alone_s = served_cost().seconds(served_cost().load(), [(count(prompt_tokens, "prompt_tokens"), 0)])
    shares = np.linspace(0.02, 0.95, 60)
    means = np.array([_mean_first_s(share, alone_s) for share in shares])
    points = np.array([_simulated_firsts_s(share, alone_s) for share in _LOADS])
    marked = _mean_first_s(load, alone_s)
    axes = new_figure("How long is the queue?", "load of the worker", "time to first token (s)")
    axes.plot(shares, means, color=COLOURS["miss"])
    axes.plot(_LOADS, points[:, 1], "--", color=COLOURS["dropped"])
    axes.plot(_LOADS, points[:, 0], "o", color=COLOURS["miss"], markersize=5)
    axes.axhline(alone_s, color=COLOURS["other"], linewidth=1.2, linestyle=":")
    axes.plot(load, marked, "o", color=COLOURS["miss"], fillstyle="none", markersize=12)
    axes.set(xlim=(0, 0.95), ylim=(0, 1.05 * float(points[-1, 1])))
    axes.set_xticks([0, 0.2, 0.4, 0.6, 0.8], ["0%", "20%", "40%", "60%", "80%"])
    ends = [(float(means[-1]), "mean", COLOURS["miss"]), (float(points[-1, 1]), "99% of requests", COLOURS["dropped"])]
    label_ends(axes, 0.95, [*ends, (alone_s, "no queue", COLOURS["other"])], ["solid", "dashed", "dotted"])
    rate = load / alone_s
    return Words(
        f"Time to first token of a worker that reads prompts of {prompt_tokens:,} tokens one after another, each in "
        f"{time_text(alone_s)}, against its load. The mean by the formula of M/D/1 is "
        + ", ".join(f"{time_text(_mean_first_s(x, alone_s))} at {x:.0%}" for x in (0.5, 0.8, 0.9))
        + f"; dots, of {_QUEUED:,} simulated requests each, lie on it. 99% of the requests have it within "
        + ", ".join(f"{time_text(points[_LOADS.index(x), 1])} at {x:.0%}" for x in (0.5, 0.8, 0.9))
        + ".",
        f"At {value(load, f'{load:.0%}')} load, {value(rate, f'{rate:.1f} requests/s', 'serving_queue_rate')}: "
        f"{value(alone_s, time_text(alone_s), 'serving_alone_prefill')} to read the prompt and "
        f"{value(marked - alone_s, time_text(marked - alone_s), 'serving_wait')} of waiting, on average "
        f"{value(marked, time_text(marked), 'serving_first')} to the first token. Dots: {_QUEUED:,} simulated "
        "requests each.",
    )


def _mean_first_s(load: float, service_s: float) -> float:
    wait = queueing(1, load / service_s, service_s, 0.0)
    assert wait is not None  # the load is below 1
    return service_s + wait.mean_s


@functools.lru_cache(maxsize=256)
def _simulated_firsts_s(load: float, service_s: float) -> tuple[float, float]:
    """Mean time to first token, and that of 99%, of simulated requests."""
    gaps = np.random.default_rng(0).exponential(service_s / load, _QUEUED)
    firsts = waits_s(np.cumsum(gaps), service_s) + service_s
    return float(firsts.mean()), quantile(firsts, 0.99)


# --- chunks ------------------------------------------------------------------------------------------------------

_CHUNKS = (256, 512, 1024, 2048, 4096, 8192)
_WHOLE: tuple[tuple[str, Scheduler], ...] = (("Orca", Orca(256)), ("prompts first", PrefillFirst()))
_SPREAD = 0.7  # of the lengths' logarithm, so that prompts differ


@functools.lru_cache(maxsize=64)
def chunk_runs(load: float, requests: int = 250) -> tuple[ServingReport, ...]:
    """Return one worker's reports by chunk size, 256 to 8,192 tokens, then with Orca, then with prompts first.

    Args:
        load: requests a second for all `WORKERS`; the one gets its share.
        requests: of each run.
    """
    rules = [*(VllmV1(chunk) for chunk in _CHUNKS), *(rule for _, rule in _WHOLE)]
    trace = load_of(load / WORKERS, requests, spread=_SPREAD)
    return tuple(simulate(trace, colocated(WorkerPool(worker(rule)))) for rule in rules)


@drawn
def chunk_tradeoff(load: float = 16.0) -> Words:
    """Draw time to first token and worst gap against the chunk size, beside two rules that read whole prompts.

    Args:
        load: requests a second for all workers, each of which both reads and decodes, 1 to 32.

    Raises:
        ValueError: a load out of range.
    """
    if not 1 <= load <= 32:
        raise ValueError(f"load = {load} should be from 1 to 32 requests/s")
    runs = chunk_runs(load)
    names = [*(f"{chunk:,}" for chunk in _CHUNKS), *(name for name, _ in _WHOLE)]
    lines = {
        "worst gap, 99%": ([run.overall.worst_gap.p99 for run in runs], "output", "-"),
        "first token, 99%": ([run.overall.ttft.p99 for run in runs], "miss", "-"),
        "first token, 50%": ([run.overall.ttft.p50 for run in runs], "miss", "--"),
    }
    axes = new_figure("What does the chunk size trade?", "tokens of a step", "seconds", narrow=(3.6, 3.6))
    parts = len(_CHUNKS)
    for numbers, colour, style in lines.values():
        axes.plot(range(parts), numbers[:parts], style, color=COLOURS[colour])
        fill = "none" if style == "--" else "full"
        axes.plot(range(parts, len(runs)), numbers[parts:], "o", color=COLOURS[colour], fillstyle=fill)
    every = [number for numbers, *_ in lines.values() for number in numbers]
    log_axis(axes, "y", [0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100], "{:g}".format)
    shown = [name.replace(",", "") if not is_narrow() else _short_name(name) for name in names]
    axes.set_xticks(range(len(names)), shown, fontsize=9.5 if is_narrow() else 11)
    axes.set(xlim=(-0.2, len(names) - 0.6), ylim=(0.8 * min(every), 1.3 * max(every)))
    colour_key([(name, COLOURS[colour]) for name, (_, colour, style) in lines.items() if style == "-"], "solid")
    colour_key([(name, COLOURS[colour]) for name, (_, colour, style) in lines.items() if style == "--"], "dashed")
    return _chunks_said(load, names, runs)


def _short_name(name: str) -> str:
    return {"Orca": "Orca", "prompts first": "first"}.get(name) or f"{int(name.replace(',', '')) / 1024:.2g}K"


def _chunks_said(load: float, names: Sequence[str], runs: Sequence[ServingReport]) -> Words:
    rows = {
        name: (run.overall.ttft.p50, run.overall.ttft.p99, run.overall.worst_gap.p99)
        for name, run in zip(names, runs, strict=True)
    }
    grows = [name for name, run in zip(names, runs, strict=True) if run.stability.growing]
    growing = f" The queue grows with {' and '.join(grows)}." if grows else ""
    shown = ("512", "2,048", "Orca", "prompts first")
    return Words(
        f"Time to first token and worst gap by the tokens of a step, at {load:g} requests/s for {WORKERS} "
        "workers, of which one is simulated. "
        + " ".join(
            f"{name}: first token {time_text(half)} for half of the requests, {time_text(most)} for 99%, worst gap "
            f"{time_text(gap)} for 99%."
            for name, (half, most, gap) in rows.items()
        )
        + growing,
        f"At {value(load, f'{load:g} requests/s')}, first token and worst gap of 99%: "
        + "; ".join(
            f"{name} {value(rows[name][1], time_text(rows[name][1]))} and "
            f"{value(rows[name][2], time_text(rows[name][2]))}"
            for name in shown
        )
        + f".{growing}",
    )
