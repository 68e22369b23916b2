"""Fit efficiencies to what an engine's own benchmark measured, and say how far off the fit is.

Read are the results of `vllm bench serve --save-result` (and of `benchmark_serving.py` before it) and of SGLang's
`bench_serving --output-file`: one JSON object, several one per line, or a list of them. Three numbers are fitted: the
shares of peak compute and of memory bandwidth that are reached, and the seconds of each step that hide behind nothing.

A run is compared by what it measured, not by the rate that was asked for: by Little's law a run of x output tokens per
second at a mean TPOT of t had x t sequences in its batch. Left out are runs that were mostly filling and draining, in
which a request took more than a tenth of the duration, as in an overloaded one. A TTFT is compared where prefill was
less than half busy; beyond, it is queueing.

Formats: vllm 0.33.0, vllm/benchmarks/serve.py; sglang 0.5.23, sglang/benchmark/serving.py.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from costlab.arrays import Floats
from costlab.roofline import Deployment, Efficiency
from costlab.serving.plan.pools import Answers, Prompts
from costlab.serving.plan.workers import WorkerKind
from costlab.serving.plan.workload import Demand, Mix

#: Completed requests per second x TTFT of a run whose TTFT is compared, at most; prefill was no busier than that.
_QUIET = 0.5
#: Seconds of a request over those of a steady run, at most.
_STEADY = 0.1
#: Smallest efficiency and smallest constant seconds of a step that a fit may find.
_LEAST_SHARE, _LEAST_S = 0.02, 1e-6


@dataclass(frozen=True)
class BenchmarkRun:
    """One run of an engine's serving benchmark."""

    name: str  # file and place in it
    engine: str  # "vllm" or "sglang"
    duration_s: float  # seconds of the run
    completed: int  # requests
    input_tokens: float  # mean of a request
    output_tokens: float  # mean of a request
    tpot_s: float  # mean time per output token
    ttft_s: float | None  # median time to first token; None where not given
    chips: int | None = None  # tensor-parallel size of the server, where the file says it

    @property
    def rate_per_s(self) -> float:
        """Completed requests per second: what the server did, whatever was offered."""
        return self.completed / self.duration_s

    @property
    def running(self) -> float:
        """Mean sequences that decode, by Little's law."""
        return self.rate_per_s * (self.output_tokens - 1) * self.tpot_s

    @property
    def steady(self) -> bool:
        """Whether the run was long beside one of its requests."""
        latency_s = (self.ttft_s or 0.0) + (self.output_tokens - 1) * self.tpot_s
        return latency_s <= _STEADY * self.duration_s

    @property
    def quiet(self) -> bool:
        """Whether its TTFT is that of a prefill, not of a queue."""
        return self.ttft_s is not None and self.rate_per_s * self.ttft_s <= _QUIET


def read_runs(path: str | Path) -> list[BenchmarkRun]:
    """Return the runs in a result file of vLLM's or SGLang's serving benchmark.

    Raises:
        ValueError: a file that cannot be read, is no such JSON, lacks a figure, or holds no completed run.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{str(path)!r} cannot be read: {getattr(error, 'strerror', None) or error}") from None
    found = _objects(text, str(path))
    if not found:
        raise ValueError(f"{str(path)!r} holds no run")
    return [_run(document, f"{Path(path).name}:{number}") for number, document in enumerate(found, 1)]


def _objects(text: str, path: str) -> list[Mapping[str, Any]]:
    """The objects of a file: one, a list, or one per line."""
    try:
        whole = json.loads(text)
        found = whole if isinstance(whole, list) else [whole]
    except json.JSONDecodeError:
        found = [_line(line, path, number) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
    if not all(isinstance(each, dict) for each in found):
        raise ValueError(f"{path!r} should hold JSON objects, as vllm bench serve --save-result writes them")
    return found


def _line(line: str, path: str, number: int) -> Any:
    try:
        return json.loads(line)
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}:{number}: no JSON: {error.msg}") from None


def _run(document: Mapping[str, Any], name: str) -> BenchmarkRun:
    completed = int(_number(document, "completed", name))
    inputs, outputs = (_number(document, f"total_{kind}_tokens", name) / completed for kind in ("input", "output"))
    duration = _number(document, "duration", name)
    if outputs <= 1:
        raise ValueError(f"{name}: {outputs:g} output tokens a request; a TPOT needs more than one")
    ttft = document.get("median_ttft_ms", document.get("mean_ttft_ms"))
    return BenchmarkRun(
        name=name,
        engine="sglang" if "total_output_tokens_retokenized" in document else "vllm",
        duration_s=duration,
        completed=completed,
        input_tokens=inputs,
        output_tokens=outputs,
        tpot_s=_tpot_s(document, outputs, name),
        ttft_s=ttft / 1e3 if isinstance(ttft, int | float) and 0 < ttft < math.inf else None,
        chips=_chips(document),
    )


def _tpot_s(document: Mapping[str, Any], outputs: float, name: str) -> float:
    """The mean TPOT: given, or of old SGLang files what is left of the mean latency behind the first token."""
    if "mean_tpot_ms" in document:
        return _number(document, "mean_tpot_ms", name) / 1e3
    latency, first = (_number(document, key, name) for key in ("mean_e2e_latency_ms", "median_ttft_ms"))
    return (latency - first) / (outputs - 1) / 1e3


def _number(document: Mapping[str, Any], key: str, name: str) -> float:
    value = document.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise ValueError(f"{name}: {key} = {value!r} should be a number above 0")
    return float(value)


def _chips(document: Mapping[str, Any]) -> int | None:
    """The tensor-parallel size: SGLang's server tells it, vLLM's --metadata may."""
    server = document.get("server_info")
    for source, keys in ((server if isinstance(server, dict) else {}, ("tp_size",)), (document, _TP_KEYS)):
        for key in keys:
            if str(source.get(key, "")).isdigit():
                return int(source[key])
    return None


_TP_KEYS = ("tp", "tp_size", "tensor_parallel_size")


@dataclass(frozen=True)
class Compared:
    """A measured time beside the fitted one."""

    run: str  # which
    what: str  # "TPOT" or "TTFT"
    measured_s: float  # by the benchmark
    fitted_s: float  # by the fitted step times

    @property
    def error(self) -> float:
        """Fitted over measured, less 1."""
        return self.fitted_s / self.measured_s - 1


@dataclass(frozen=True)
class Calibration:
    """Fitted step times, and how well they repeat the figures that they were fitted to."""

    efficiency: Efficiency  # shares of peak compute and of memory bandwidth; the link's is as given
    step_s: float  # seconds of each step that hide behind nothing
    compared: tuple[Compared, ...]  # every figure of the fit
    free: int  # numbers that were fitted
    left_out: tuple[str, ...]  # runs that were not steady

    @property
    def rms_error(self) -> float:
        """Root mean square of the relative errors."""
        return math.sqrt(sum(each.error**2 for each in self.compared) / len(self.compared))

    @property
    def note(self) -> str:
        """What the fit rests on, in a sentence."""
        figures = len(self.compared)
        eff = self.efficiency
        found = (
            f"{self.free} numbers fitted to {figures} measured times: {eff.compute:.3g} of peak compute, "
            f"{eff.memory:.3g} of bandwidth, {self.step_s * 1e3:.3g} ms a step; residual {self.rms_error:.1%} (rms)"
        )
        tested = "" if figures > self.free else "; as many numbers as figures: the residual proves nothing"
        out = f"; left out, not steady: {', '.join(self.left_out)}" if self.left_out else ""
        return f"{found}{tested}{out}"


def calibrate(runs: Sequence[BenchmarkRun], deployment: Deployment, step_tokens: int = 8192) -> Calibration:
    """Return the efficiencies at which a deployment's step times repeat a benchmark best.

    Args:
        runs: of one server.
        deployment: that server: model, chips, split; its efficiencies for compute and memory, and its `step_s`, are
            fitted anew, the link's is kept.
        step_tokens: budget of its steps.

    Raises:
        ValueError: no run, or a single figure.
    """
    points = [_Point(run) for run in runs if run.steady]
    figures = sum(2 if point.run.quiet else 1 for point in points)
    if figures < 2:
        names = ", ".join(run.name for run in runs if not run.steady)
        raise ValueError(
            f"a fit needs two figures of steady runs, there are {figures}"
            + (f"; not steady, their requests took over a tenth of the run: {names}" if names else "")
        )
    free = 3 if figures > 3 else 2

    def compared(values: Floats) -> list[Compared]:
        kind = _kind(deployment, values, step_tokens)
        return [each for point in points for each in point.compared(kind)]

    def errors(values: Floats) -> Floats:
        return np.array([math.log(each.fitted_s / each.measured_s) for each in compared(values)])

    shortest = min(point.run.tpot_s for point in points)
    starts = [np.log([c, m, shortest / 10][:free]) for c in (0.3, 0.7) for m in (0.4, 0.8)]
    lower = np.log([_LEAST_SHARE, _LEAST_SHARE, _LEAST_S][:free])
    upper = np.log([1.0, 1.0, shortest][:free])
    best = min((_least_squares(errors, start, lower, upper) for start in starts), key=lambda at: _square(errors(at)))
    node = _kind(deployment, best, step_tokens).deployment
    left_out = tuple(run.name for run in runs if not run.steady)
    return Calibration(node.efficiency, node.step_s, tuple(compared(best)), free, left_out)


class _Point:
    """A run as the closed form sees it."""

    def __init__(self, run: BenchmarkRun) -> None:
        self.run = run
        mix = Mix(max(1, round(run.input_tokens)), max(2, round(run.output_tokens)), 1.0)
        self.demand = Demand(run.rate_per_s, (mix,))

    def compared(self, kind: WorkerKind) -> list[Compared]:
        """Its figures beside those of a kind of worker."""
        token_s = min(self._token_s(kind), 1e3 * self.run.tpot_s)  # finite also where the fit could not keep up
        found = [Compared(self.run.name, "TPOT", self.run.tpot_s, token_s)]
        if self.run.quiet and self.run.ttft_s is not None:
            first_s = Prompts(kind, self.demand).alone_s[0] + token_s / 2
            found.append(Compared(self.run.name, "TTFT", self.run.ttft_s, first_s))
        return found

    def _token_s(self, kind: WorkerKind) -> float:
        """Seconds of a token: vLLM reads chunks beside the batch, SGLang (by default) in steps of their own."""
        running = self.run.running / kind.ranks
        if self.run.engine == "sglang":
            mix = self.demand.mixes[0]
            plain_s = kind.step_s(running, mix.input_tokens + mix.output_tokens / 2)
            left = 1 - Prompts(kind, self.demand).busy(1)
            return plain_s / left if left > 0 else math.inf
        return Answers(kind, self.demand, self.demand, reserve=0.0, token_s=math.inf).token_s(running, kind.ranks)


def _kind(deployment: Deployment, values: Floats, step_tokens: int) -> WorkerKind:
    compute, memory, *step = np.exp(values).tolist()
    shares = Efficiency(min(compute, 1.0), min(memory, 1.0), deployment.efficiency.link)
    node = dataclasses.replace(deployment, efficiency=shares, step_s=step[0] if step else deployment.step_s)
    return WorkerKind("", node, step_tokens)


def _square(errors: Floats) -> float:
    return float(errors @ errors)


def _least_squares(errors: Callable[[Floats], Floats], start: Floats, lower: Floats, upper: Floats) -> Floats:
    """Levenberg's and Marquardt's steps within bounds; K. Levenberg, 1944, D. Marquardt, SIAM J. 11(2), 1963."""
    at, damping = np.clip(start, lower, upper), 1e-2
    now = errors(at)
    for _ in range(40):
        away = np.where(at > (lower + upper) / 2, -1e-4, 1e-4)  # within the bounds
        slopes = np.array([(errors(at + shift) - now) / shift.sum() for shift in np.diag(away)]).T
        normal = slopes.T @ slopes
        step = np.linalg.solve(normal + damping * (np.diag(np.diag(normal)) + 1e-9 * np.eye(len(at))), -slopes.T @ now)
        tried = np.clip(at + step, lower, upper)
        then = errors(tried)
        if _square(then) < _square(now):
            gain = _square(now) - _square(then)
            at, now, damping = tried, then, damping / 4
            if gain < 1e-10:
                break
        else:
            damping *= 8
            if damping > 1e8:
                break
    return at
