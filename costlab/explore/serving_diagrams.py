"""Diagrams of the chapter `serving`: one request's times, and two layouts that ran.

Chapter: serving
"""

from __future__ import annotations

import functools
import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from costlab.explore import shapes
from costlab.explore.drawing import Words, drawn, is_narrow, value
from costlab.explore.serving import ANSWER, PROMPT, served_cost, time_text
from costlab.explore.style import COLOURS, colour_key, on
from costlab.serving import metrics

#: What `tools/record_timeline.py` stored of two runs of `costlab.nn.serving`.
TIMELINES = Path(__file__).with_name("serving_timelines.json")

# --- one request -------------------------------------------------------------------------------------------------

_BESIDE = 32  # users who decode in the same steps
_TOKENS, _LONG = 8, 4  # of the answer; the gap, from 0, in which another's prompt is read


@dataclass(frozen=True)
class RequestMoments:
    """When what happens to one request, in seconds after its arrival."""

    admitted_s: float  # its prompt begins to be read
    token_s: tuple[float, ...]  # each of its tokens is there


def request_moments() -> RequestMoments:
    """Return the moments of a short request of the chapter's deployment, which arrives in the middle of a step."""
    cost = served_cost()
    load = cost.mean_load(_BESIDE, PROMPT + ANSWER / 2)
    reading, plain = cost.seconds(load, [(PROMPT, 0)]), cost.seconds(load)
    gaps = [reading if gap == _LONG else plain for gap in range(_TOKENS - 1)]
    first = reading / 2 + reading
    return RequestMoments(reading / 2, tuple((first + np.cumsum([0.0, *gaps])).tolist()))


@drawn
def request_times() -> Words:
    """Draw one request's times to scale: arrival, queue, prefill, first token, gaps, last token."""
    moments = request_moments()
    tokens = moments.token_s
    first, last = tokens[0], tokens[-1]
    ttft, tpot = metrics.ttft_s(0.0, first), metrics.tpot_s(first, last, _TOKENS)
    worst = metrics.worst_gap_s(tokens)
    left, right = 4.0, shapes.across() - 8.0

    def at(seconds: float) -> float:
        return left + (right - left) * seconds / last

    colour_key([("its prompt is read", COLOURS["miss"]), ("its answer is decoded", COLOURS["output"])])
    parts = [
        shapes.text(left, 12, "arrival", size=10),
        shapes.text(at(first), 12, "first token", size=10, anchor="middle"),
        shapes.text(right, 12, "last token", size=10, anchor="end"),
    ]
    parts += [shapes.line([(x, 17), (x, 60)], width=1) for x in (left, at(first), right)]
    parts.append(shapes.box(left, 26, at(moments.admitted_s) - left, 26, edge=COLOURS["other"], dash="3 2"))
    parts += _boxed(left, at(moments.admitted_s), "queue", "none")
    parts += _boxed(at(moments.admitted_s), at(first), "prefill", COLOURS["miss"])
    for place, (start, end) in enumerate(itertools.pairwise(tokens)):
        words = ("another's prompt too" if not is_narrow() else "and another's") if place == _LONG else ""
        parts += _boxed(at(start) + 0.6, at(end), words, COLOURS["output"])
    parts += [shapes.circle(at(moment), 62, 3, COLOURS["output"]) for moment in tokens]
    parts += _span(left, at(first), 84, f"TTFT {time_text(ttft)}")
    parts += _span(at(first), right, 84, f"{_TOKENS - 1} gaps, TPOT {time_text(tpot)}")
    parts += _span(at(tokens[_LONG]), at(tokens[_LONG + 1]), 110, f"worst gap {time_text(worst)}")
    shapes.diagram("What does a user wait for?", 128, parts)
    queued, read = moments.admitted_s, first - moments.admitted_s
    return Words(
        f"A request of {PROMPT:,} tokens on a line of time, to scale. It waits {time_text(queued)} in the queue; its "
        f"prompt is read in {time_text(read)}; its first token is there after {time_text(ttft)}, the TTFT. "
        f"{_TOKENS - 1} gaps follow, together {time_text(last - first)}, in the mean {time_text(tpot)}, the TPOT. In "
        f"one of them another prompt is read: it takes {time_text(worst)}, the worst gap; the others take "
        f"{time_text(tokens[1] - first)}.",
        f"TTFT {value(ttft, time_text(ttft), 'serving_ttft')}: {value(queued, time_text(queued))} in the queue and "
        f"{value(read, time_text(read))} of prefill. TPOT {value(tpot, time_text(tpot), 'serving_tpot')}: the mean of "
        f"{value(_TOKENS - 1, f'{_TOKENS - 1} gaps')}, of which the worst, "
        f"{value(worst, time_text(worst), 'serving_worst')}, is {value(worst / tpot, f'{worst / tpot:.1f} times')} as "
        "long.",
    )


def _boxed(start: float, end: float, words: str, colour: str) -> list[str]:
    """A part of the line of time with its name."""
    box = shapes.box(start, 26, end - start, 26, colour)
    ink = on(colour) if colour != "none" else ""
    return [box, shapes.text((start + end) / 2, 43, words, size=10, anchor="middle", colour=ink)] if words else [box]


def _span(start: float, end: float, y: float, words: str) -> list[str]:
    """A bracket from start to end with words under it."""
    return [
        shapes.line([(start + 1, y - 5), (start + 1, y), (end - 1, y), (end - 1, y - 5)], width=1),
        shapes.text((start + end) / 2, y + 13, words, size=10, anchor="middle"),
    ]


# --- two layouts that ran ----------------------------------------------------------------------------------------

_KINDS = {"p": ("prefill", "miss"), "t": ("transfer", "link"), "d": ("decode", "output")}
_RUNS = {"together": "co-located: both processes read and decode", "apart": "separated: one reads, one decodes"}


@functools.cache
def recorded_runs() -> Mapping[str, Any]:
    """Return two runs of the engine, as the tool stored them, and under "load" what they served."""
    found: dict[str, Any] = json.loads(TIMELINES.read_text())
    return found


def _seen(run: Mapping[str, Any]) -> tuple[float, float, float]:
    """Mean time to first token, longest gap, and last token of a run."""
    firsts = [first - arrival for arrival, first, _ in run["requests"]]
    return sum(firsts) / len(firsts), max(run["worst_gap_s"]), max(last for *_, last in run["requests"])


@drawn
def engine_gantt() -> Words:
    """Draw what each process of `costlab.nn.serving` did when, in a recorded run of each layout."""
    stored = recorded_runs()
    load = stored["load"]
    end = max(_seen(stored[name])[2] for name in _RUNS)
    left, right = 2.0, shapes.across() - 6.0

    def at(seconds: float) -> float:
        return left + (right - left) * seconds / end

    colour_key([(what, COLOURS[colour]) for what, colour in _KINDS.values()])
    parts, top, told, notes = list[str](), 12.0, [], []
    for name, title in _RUNS.items():
        run = stored[name]
        words = title if not is_narrow() else title.partition(":")[0]
        parts.append(shapes.text(left, top, words, size=11, bold=True))
        for place, worker in enumerate(run["workers"]):
            y = top + 6 + 34 * place
            parts.append(shapes.text(left, y + 10, _worker_text(worker), size=9.5))
            mine = [each for each in run["activities"] if each[0] == place]
            for _, kind, start, stop, requests in mine:
                parts += _activity(at(start), at(stop), y + 14, kind, requests)
        top += 96
        first, gap, last = _seen(run)
        short = title.partition(":")[0]
        told.append(
            f"{title}; first token after {time_text(first)} in the mean, longest gap {time_text(gap)}, all done after "
            f"{time_text(last)}"
        )
        notes.append(
            f"{short}: first token {value(first, time_text(first))} in the mean, longest gap "
            f"{value(gap, time_text(gap))}, all done after {value(last, time_text(last))}"
        )
    parts += _axis(at, end, top - 14)
    shapes.diagram("What does each process do when?", top + 6, parts)
    return Words(
        f"Two recorded runs of {load['requests']} requests, {load['input']} tokens in and {load['output']} out, as "
        f"bars of time for each of two processes. {'. '.join(told)}. Separated, no prefill stands between the decode "
        "steps, and prompts wait for one reader.",
        f"Numbers are requests. {'. '.join(notes)}. One run each, on a machine in use.",
    )


def _worker_text(name: str) -> str:
    """The name of a process without its number, where it is alone of its kind."""
    what, _, number = name.partition(" ")
    return f"process {int(number) + 1}, both" if what == "both" else what


def _activity(start: float, stop: float, y: float, kind: str, requests: Sequence[int]) -> list[str]:
    """A bar, with the request that is read, or those that decode where there is room."""
    colour = COLOURS[_KINDS[kind][1]]
    if kind == "t":
        return [shapes.box(start, y - 3, max(stop - start, 2), 21, colour)]
    parts = [shapes.box(start, y, max(stop - start - 0.6, 0.6), 15, colour)]
    words = ",".join(str(request + 1) for request in requests)
    if stop - start > 6 * len(words) + 4:
        parts.append(shapes.text((start + stop) / 2, y + 11, words, size=9, anchor="middle", colour=on(colour)))
    return parts


def _axis(at: Any, end: float, y: float) -> list[str]:
    """A line of time with a tick at each half second."""
    parts = [shapes.line([(at(0), y), (at(end), y)])]
    for tick in np.arange(0, end, 0.5).tolist():
        parts.append(shapes.line([(at(tick), y), (at(tick), y + 4)]))
        anchor = "middle" if tick else "start"
        parts.append(shapes.text(at(tick), y + 15, f"{tick:g} s", size=9.5, anchor=anchor))
    return parts
