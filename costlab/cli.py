"""The command line: each verb is one public function of the package, its result a table or JSON.

Errors go to stderr with exit status 2 and say what was wrong and what would be right.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import decimal
import io
import json
import math
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence, Sized
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from costlab import __version__, arch, catalog, moe, prices, roofline
from costlab.arch.entries import MOST
from costlab.cache import generators, traces
from costlab.cache import tiers as storage
from costlab.cache.loading import MODES
from costlab.cache.plan import PREFETCHES, Plan
from costlab.cache.policies import POLICIES
from costlab.cache.pools import WRITES
from costlab.cache.report import Report, size
from costlab.cache.run import Replayer, replay
from costlab.sweep import Outcome, grid, sweep

_Swept = Outcome[Plan, tuple[Report, tuple[str, ...]]]


@dataclass(frozen=True)
class Answer:
    """What a verb found: rows of one shape, and lines of explanation below them."""

    rows: Sequence[Mapping[str, Any]]
    notes: Sequence[str] = ()
    status: int = 0


class _Stopped(Exception):
    """Ctrl-C, and what was found before it."""

    def __init__(self, message: str, answer: Answer | None = None) -> None:
        super().__init__(message)
        self.answer = answer


class _Parser(argparse.ArgumentParser):
    """Shows the verb's own usage behind the one line that says what was wrong."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}\n{self.format_usage()}")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status.

    Args:
        argv: arguments without the program's name; None takes the shell's.

    Chapter: prices
    """
    parser = _build_parser()
    args = parser.parse_args(argv)
    try:
        answer: Answer = args.run(args)
    except ValueError as error:
        print(f"costlab {args.verb}: {error}", file=sys.stderr)
        return 2
    except (_Stopped, KeyboardInterrupt) as stop:
        return _report_stop(args.verb, stop)
    try:
        print(_printed(answer, args), flush=True)
        for note in answer.notes if getattr(args, "csv", False) else ():  # no place for them among the rows
            print(note, file=sys.stderr)
    except BrokenPipeError:  # the reader (head, less) has seen enough
        sys.stderr.close()
    return answer.status


def _report_stop(verb: str, stop: BaseException) -> int:
    """Say on stderr how far it got, and return the shell's status for an interrupted program."""
    answer = stop.answer if isinstance(stop, _Stopped) else None
    print(f"costlab {verb}: stopped{f' {stop}' if str(stop) else ''}", file=sys.stderr)
    if answer:
        print(_as_table(answer), file=sys.stderr)
    return 130


# --- the verbs -------------------------------------------------------------------------------------------------


def _models(args: argparse.Namespace) -> Answer:
    rows = []
    for key, model in arch.models().items():
        counts = model.params
        rows.append(
            {
                "model": key,
                "layers": len(model.layers),
                "attention": " + ".join(sorted({a.kind for a, _ in model.layers})),
                "total_B": counts.total / 1e9,
                "active_B": counts.active / 1e9,
                "published": f"{model.record.published.total} / {model.record.published.active or '-'}",
                "kv_B_per_token": float(model.kv_bytes(131072).growing) / 131072,
                "context": model.record.context,
            }
        )
    return Answer(
        rows, ["total without multi-token-prediction modules; active with the output head, without embedding"]
    )


def _kv(args: argparse.Namespace) -> Answer:
    rows = []
    for model in _chosen(args.models):
        kv, several = model.kv_bytes(args.tokens), args.batch
        rows.append(
            {
                "model": model.key,
                "tokens": args.tokens,
                "total_GB": several * float(kv.total) / 1e9,
                "growing_GB": several * float(kv.growing) / 1e9,
                "of_which_index_GB": several * float(kv.index) / 1e9,
                "fixed_MB": several * float(kv.fixed) / 1e6,
                "state_MB": several * float(kv.state) / 1e6,
                "bytes_per_token": float(kv.growing) / args.tokens,
            }
        )
    notes = ["GB = 1e9 bytes; total = growing + fixed, at the catalogued storage"]
    notes += [f"all of {args.batch:,} sequences of that length; bytes per token of one"] if args.batch > 1 else []
    return Answer(_with_ratio(rows, "total_GB"), notes)


def _flops(args: argparse.Namespace) -> Answer:
    rows = []
    for model in _chosen(args.models):
        count = model.decode_flops(args.tokens) if args.phase == "decode" else model.prefill_flops(args.tokens)
        rows.append(
            {
                "model": model.key,
                "tokens": args.tokens,
                "phase": args.phase,
                **{f"{name}_GFLOP": float(part) / 1e9 for name, part in count.grouped().items()},
                "total_GFLOP": float(count.total) / 1e9,
                "fp8_equivalent_GFLOP": float(count.weighted()) / 1e9,
            }
        )
    what = "one token at that context" if args.phase == "decode" else "the whole prompt"
    return Answer(_with_ratio(rows, "fp8_equivalent_GFLOP"), [f"FLOPs of {what}; weights {_weights()}"])


def _roofline(args: argparse.Namespace) -> Answer:
    node = roofline.deployment(
        args.model,
        args.chip,
        args.gpus,
        tensor_parallel=args.tensor_parallel,
        efficiency=roofline.Efficiency(args.compute_efficiency, args.memory_efficiency, args.link_efficiency),
    )
    node.check_room(args.batch, args.tokens)
    rows = []
    for phase in ("prefill", "decode"):
        prompts = node.prefill(args.tokens, batch=node.replicas)
        step = prompts if phase == "prefill" else node.decode(args.batch, args.tokens)
        rows.append(
            {
                "phase": phase,
                "step_ms": step.seconds * 1e3,
                "compute_ms": step.compute_s * 1e3,
                "memory_ms": step.memory_s * 1e3,
                "link_ms": step.link_s * 1e3,
                "bound": step.bound,
                "tokens_per_s": step.tokens_per_s,
                "usd_per_M_tokens": node.usd_per_million(step, args.rent),
            }
        )
    return Answer(rows, _roofline_notes(args, node))


def _roofline_notes(args: argparse.Namespace, node: roofline.Deployment) -> list[str]:
    gb = node.weight_bytes_per_chip / 1e9
    memory = f"{node.chip.memory_bytes / 1e9:.0f} GB, {node.memory_share:.0%} usable"
    share = f"{gb:.1f} GB of weights on each {node.chip.name} with {memory}"
    on_one = f"{node.replicas} replicas of {node.tensor_parallel} chip{'s' * (node.tensor_parallel > 1)}"
    eff = node.efficiency
    return [
        f"{share}; room for {node.max_batch(args.tokens)} sequences of {args.tokens} tokens",
        f"attention data-parallel on {on_one}, experts over all {node.chips}; prefill: one prompt on each replica",
        f"efficiency {eff.compute:g} compute, {eff.memory:g} memory, {eff.link:g} link; {args.rent:g} USD/chip-h",
    ]


def _bill(args: argparse.Namespace) -> Answer:
    load = prices.Workload(args.input, args.output, args.hit_rate, args.calls, args.write)
    bills = [
        (name.lower(), prices.bill(name, load, args.date, currency=args.currency))
        for name in args.models or _compared(args.date)
    ]
    rows = _with_ratio([_bill_row(name, due) for name, due in bills], "total")
    if args.json:
        rows = [{**row, **_bill_basis(due)} for row, (_, due) in zip(rows, bills, strict=True)]
    return Answer(rows, [f"prices at {prices.moment(args.date):%Y-%m-%d %H:%M} UTC", *_bill_notes(bills)])


def _compared(when: str) -> Sequence[str]:
    """Return the products that `bill` compares unless told which: those of the list that were sold then."""
    shown = ("deepseek-v4-pro", "mimo-v2.5-pro", "mimo-v2.6-pro", "qwen-plus", "gpt-5.5")
    sold = prices.products(when=when)
    return [name for name in shown if name in sold] or shown[:1]


def _bill_row(name: str, due: prices.Bill) -> dict[str, Any]:
    return {
        "product": name,
        "currency": due.currency,
        "hit": due.hit,
        "miss": due.miss,
        "write": due.write,
        "output": due.output,
        "total": due.total,
        "price_since": f"{due.row.valid_from:%Y-%m-%d}",
        "window": due.row.window or "all day",
    }


def _bill_basis(due: prices.Bill) -> dict[str, Any]:
    """Return what the amounts rest on: the row of the price list, its source, the exchange rate."""
    row = due.row
    return {
        "billed_as": row.product,
        "list_currency": row.currency,
        "tier": {"min_input_tokens": row.min_input_tokens, "max_input_tokens": row.max_input_tokens},
        "source": row.source,
        "source_date": row.date.isoformat(),
        "rate": due.rate,
        "rate_day": due.rate_day and due.rate_day.isoformat(),
        "notes": list(due.notes),
    }


def _bill_notes(bills: Sequence[tuple[str, prices.Bill]]) -> list[str]:
    """Return each note once, behind the products that it is about."""
    about: dict[str, list[str]] = {}
    for name, due in bills:
        for note in due.notes:
            about.setdefault(note, []).append(name)
    return [f"{', '.join(names)}: {note}" for note, names in about.items()]


def _moe(args: argparse.Namespace) -> Answer:
    found = moe.summary(args.model, args.batch, args.ranks, args.redundant)
    return Answer([{"model": found.model, **dataclasses.asdict(found)}] if args.json else _facts(found.rows()))


def _replay(args: argparse.Namespace) -> Answer:
    draw = _drawing(args.plot)
    watched = _Watched(_trace(args))
    plan = _plan(args, watched.trace, {name: getattr(args, name) for name in _AXES})
    with watched.stoppable():
        report = replay(watched, plan)
        answer = _replayed(report, watched.trace, args.json)
        watched.raise_if_stopped(answer)
        if draw:
            _written(draw, report, args.plot)
    return answer


def _replayed(report: Report, trace: traces.Trace, whole: bool) -> Answer:
    notes = trace.notes()
    if whole:
        return Answer([report.as_dict()], notes)
    return Answer(report.rows(), [*(f"{row['what']}: {row['value']}" for row in report.summary()), *notes])


def _sweep(args: argparse.Namespace) -> Answer:
    trace = _trace(args)
    points = grid(**{name: getattr(args, name) for name in _AXES})
    plans = [_plan(args, trace, point) for point in points]
    outcomes = _swept(args, plans, trace)
    varied = [name for name in _AXES if len(getattr(args, name)) > 1] or ["model"]
    names = [tier.name for tier in max((plan.tiers for plan in plans), key=len)]
    rows = [
        {**{name: _point_value(point[name], args) for name in varied}, **_outcome_row(outcome, names, args)}
        for point, outcome in zip(points, outcomes, strict=True)
    ]
    failed = sum(outcome.error is not None for outcome in outcomes)
    notes = next((outcome.result[1] for outcome in outcomes if outcome.result), ())
    failures = [f"{failed} of {len(plans)} plans failed"] if failed else []
    return Answer(rows, [*failures, *notes], status=int(failed > 0))


def _point_value(value: Any, args: argparse.Namespace) -> Any:
    """Return an option's value as a person reads it, or as a program does: sizes in bytes, null where unlimited."""
    if not isinstance(value, float):
        return value
    if args.json or args.csv:
        return value if math.isfinite(value) else None
    return size(value) if value else "none"


def _swept(args: argparse.Namespace, plans: Sequence[Plan], trace: traces.Trace) -> list[_Swept]:
    done = 0

    def progress(count: int) -> None:
        nonlocal done
        done += count
        if bar is not None:
            bar.update(count)

    try:
        with _bar(len(plans), "plans") as bar:
            return sweep(Replayer(trace), plans, jobs=args.jobs, scheduler=args.scheduler, progress=progress)
    except KeyboardInterrupt:
        raise _Stopped(f"after {done} of {len(plans)} plans") from None


def _outcome_row(outcome: _Swept, tiers: Sequence[str], args: argparse.Namespace) -> dict[str, Any]:
    if outcome.result is None:
        return {"error": outcome.error}
    report, _ = outcome.result
    if args.json:
        return report.as_dict()
    found = {tier.name: tier.hit_rate for tier in report.tiers}
    return {
        "hit_rate": report.token_hit_rate,
        **{f"in_{name}": found.get(name) for name in tiers},
        "ttft_p50_s": report.ttft.p50_s,
        "ttft_p99_s": report.ttft.p99_s,
        "service_p50_s": report.service.p50_s,
        "stall_s": report.stall_s,
        "moved_GB": sum(link.moved_bytes for link in report.links) / 1e9,
    }


def _trace(args: argparse.Namespace) -> traces.Trace:
    """Return what TRACE names: standard input, a generator with its count, or a file."""
    name, colon, count = args.trace.partition(":")
    if colon and (name in generators.SHAPES or count.isdigit()) and not Path(args.trace).exists():
        if not count.isdigit() or not 0 < int(count) < 10**9:
            raise ValueError(f"{args.trace!r}: a generator wants a number of requests, e.g. {name}:1000")
        _refuse_file_options(args)
        return generators.generate(name, int(count), np.random.default_rng(args.seed))
    source = sys.stdin.buffer if args.trace == "-" else args.trace
    return traces.read(
        source,
        args.format,
        "skip" if args.skip_bad else "raise",
        args.block_tokens,
        from_s=args.from_s,
        limit=args.limit,
        sort=args.sort,
        chain=args.chain,
    )


def _refuse_file_options(args: argparse.Namespace) -> None:
    for name, given in (("from", args.from_s), ("limit", args.limit), ("sort", args.sort), ("chain", args.chain)):
        if given:
            raise ValueError(f"--{name} is for a trace that is read; {args.trace} is generated")


def _plan(args: argparse.Namespace, trace: traces.Trace, point: Mapping[str, Any]) -> Plan:
    return Plan(
        model=point["model"],
        tiers=_tiers(point, args),
        block_tokens=trace.block_tokens or args.block_tokens or 512,
        eviction=point["policy"],
        write=point["write"],
        prefetch=point["prefetch"],
        loading=point["loading"],
        checkpoint_tokens=point["checkpoint"],
        chip=args.chip,
        chips=args.chips,
    )


def _tiers(point: Mapping[str, Any], args: argparse.Namespace) -> tuple[storage.Tier, ...]:
    """Return the tiers that are not absent."""
    if not point["hbm"]:
        raise ValueError("--hbm should be above 0: the prompt that is being computed lies there")
    dram, ssd = point["dram"] or None, point["ssd"] or None
    return storage.standard(point["hbm"], dram, ssd, chips=args.chips, drives=args.drives)


def _drawing(path: str | None) -> Callable[..., object] | None:
    """Return what draws the figure; say before the replay, not after it, what is in the way."""
    if path is None:
        return None
    if not Path(path).absolute().parent.is_dir():
        raise ValueError(f"--plot {path!r}: there is no such folder")
    if Path(path).suffix not in (".svg", ".png", ".pdf"):
        raise ValueError(f"--plot {path!r} should end in .svg, .png or .pdf")
    try:
        import matplotlib

        matplotlib.use("Agg")
        from costlab.explore.cache import replay_figure
    except ImportError as error:
        raise ValueError(f"--plot needs matplotlib (pip install matplotlib): {error}") from None
    return replay_figure


def _written(draw: Callable[..., object], report: Report, path: str) -> None:
    try:
        draw(report, path)
    except OSError as error:
        raise ValueError(f"--plot {path!r} cannot be written: {error.strerror}") from None


class _Watched:
    """A trace with a progress bar, which ends early on Ctrl-C, so that there is a summary up to there."""

    def __init__(self, trace: traces.Trace) -> None:
        self.trace, self.count, self.stopped, self._waiting = trace, 0, False, False

    def __iter__(self) -> Iterator[traces.Request]:
        self.count, rest = 0, iter(self.trace)
        known = len(self.trace.requests) if isinstance(self.trace.requests, Sized) else None
        with _bar(known, "requests") as bar:
            while not self.stopped and (request := self._next(rest)) is not None:
                self.count += 1
                if bar is not None:
                    self._advance(bar)
                yield request

    def _next(self, rest: Iterator[traces.Request]) -> traces.Request | None:
        self._waiting = True
        try:
            return next(rest, None)
        except KeyboardInterrupt:
            return None
        finally:
            self._waiting = False

    def _advance(self, bar: Any) -> None:
        """Move the bar; how many there will be follows from the share of the file that these took."""
        if self.count % 256 == 0 and (share := self.trace.share_read()):
            bar.total = round(self.count / share)
        bar.update(1)

    @contextmanager
    def stoppable(self) -> Iterator[None]:
        """Take the first Ctrl-C for a wish to end; the second ends at once."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = signal.signal(signal.SIGINT, self._stop)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)

    def _stop(self, *_: object) -> None:
        again, self.stopped = self.stopped, True
        if again or self._waiting:
            raise KeyboardInterrupt

    def raise_if_stopped(self, answer: Answer) -> None:
        if self.stopped:
            raise _Stopped(f"after {self.count:,} requests; so far:", answer)


@contextmanager
def _bar(total: int | None, unit: str) -> Iterator[Any]:
    """Give a progress bar on stderr, or None where nobody is looking or tqdm is missing."""
    try:
        from tqdm import tqdm
    except ImportError:
        tqdm = None
    if tqdm is None or not sys.stderr.isatty():
        yield None
        return
    with tqdm(total=total, unit=f" {unit}", file=sys.stderr, leave=False) as bar:
        yield bar


def _facts(pairs: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"what": what, "value": value} for what, value in pairs.items()]


# --- arguments -------------------------------------------------------------------------------------------------


def _build_parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="costlab", description="What a language model's token costs, from public facts.")
    parser.add_argument("--version", action="version", version=f"costlab {__version__}")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB", parser_class=_Parser)

    _add(verbs, "models", _models, "the models in the catalog, with computed and published sizes")

    kv = _add(verbs, "kv", _kv, "bytes of KV cache at a context length")
    kv.add_argument("models", nargs="+", metavar="MODEL", help="see `costlab models`")
    kv.add_argument("--tokens", type=_count, required=True, help="context length, e.g. 1048576, 128K or 1M")
    kv.add_argument("--batch", type=_count, default=1, help="sequences of that length together (default 1)")

    flops = _add(verbs, "flops", _flops, "FLOPs of one decoded token or of a prompt")
    flops.add_argument("models", nargs="+", metavar="MODEL", help="see `costlab models`")
    flops.add_argument("--tokens", type=_count, required=True, help="context or prompt length")
    flops.add_argument("--phase", choices=("prefill", "decode"), default="decode")

    experts = _add(verbs, "moe", _moe, "experts of a model: what a token computes, reads and sends")
    experts.add_argument("model", metavar="MODEL", help="a model with experts; see `costlab models`")
    experts.add_argument("--batch", type=_count, default=1, help="tokens in one decode step (default 1)")
    experts.add_argument("--ranks", type=_count, default=1, help="ranks that share the experts (default 1)")
    experts.add_argument("--redundant", type=_size, default=0, help="further copies of experts per layer (default 0)")

    _add_roofline(_add(verbs, "roofline", _roofline, "seconds, tokens per second and cost on chips"))
    _add_bill(_add(verbs, "bill", _bill, "what a workload costs at list prices"))
    _add_replay(_add(verbs, "replay", _replay, "replay a trace of requests against tiers of cache"))
    _add_sweep(_add(verbs, "sweep", _sweep, "replay a trace under every combination of the given options"))
    return parser


def _add_roofline(roof: argparse.ArgumentParser) -> None:
    roof.add_argument("model", metavar="MODEL", help="see `costlab models`")
    roof.add_argument("--chip", required=True, help=", ".join(catalog.load().chips))
    roof.add_argument("--gpus", type=_count, required=True, help="number of chips")
    roof.add_argument("--batch", type=_count, required=True, help="sequences decoded together, on all chips")
    roof.add_argument("--tokens", type=_count, required=True, help="prompt length and context")
    roof.add_argument(
        "--tensor-parallel",
        type=_count,
        default=1,
        help="chips that hold one copy of all but the experts, and a sequence among them",
    )
    roof.add_argument("--rent", type=float, default=2.0, help="USD per chip-hour (default 2)")
    for part in ("compute", "memory", "link"):
        roof.add_argument(f"--{part}-efficiency", type=float, default=1.0, help="share of the peak reached (default 1)")


def _add_bill(bill: argparse.ArgumentParser) -> None:
    bill.add_argument("models", nargs="*", metavar="MODEL", help=", ".join(prices.products()))
    bill.add_argument("--input", type=_size, required=True, help="input tokens of one call")
    bill.add_argument("--output", type=_size, required=True, help="output tokens of one call")
    bill.add_argument("--hit-rate", type=float, required=True, help="share of input tokens that hit the cache, 0 to 1")
    bill.add_argument("--write", type=_size, default=0, help="input tokens written to a billed cache")
    bill.add_argument("--calls", type=_count, default=1)
    bill.add_argument("--date", default=prices.LESSON_DAY.isoformat(), help="e.g. 2026-09-01 or 2026-09-01T02:00 (UTC)")
    bill.add_argument(
        "--currency", default="USD", type=str.upper, help=f"{', '.join(prices.currencies())} (default USD)"
    )


_TRACE = f"""a file or pipe ({", ".join(traces.FORMATS)}; packed by gzip, zstd, bzip2 or xz too), - for standard input,
or a generator and how many requests it makes, e.g. chat:1000 ({", ".join(generators.SHAPES)})"""


def _add_replay(verb: argparse.ArgumentParser) -> None:
    _add_trace(verb)
    for name, (default, reader, text) in _AXES.items():
        verb.add_argument(f"--{name}", type=reader, default=default, required=default is ..., help=text)
    verb.add_argument("--plot", metavar="FILE", help="draw hits and waiting times, e.g. into out.svg")


def _add_sweep(verb: argparse.ArgumentParser) -> None:
    _add_trace(verb)
    for name, (default, reader, text) in _AXES.items():
        several = f"{text}; several with commas between them"
        verb.add_argument(f"--{name}", type=_several(reader), default=[default], required=default is ..., help=several)
    verb.add_argument("--jobs", type=int, default=-1, help="processes (default: one per core)")
    verb.add_argument("--scheduler", metavar="ADDRESS", help="of a Dask cluster to use, e.g. tcp://10.0.0.1:8786")
    verb.add_argument("--csv", action="store_true", help="print CSV instead of a table")


def _add_trace(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("trace", metavar="TRACE", help=_TRACE)
    verb.add_argument("--format", default="auto", help=f"of the trace: auto, {', '.join(traces.FORMATS)}")
    verb.add_argument("--block-tokens", type=_count, help="tokens of one block, where not the format's own")
    verb.add_argument("--skip-bad", action="store_true", help="skip and count rows that cannot be read")
    verb.add_argument(
        "--from",
        type=_seconds,
        default=0.0,
        dest="from_s",
        metavar="SECONDS",
        help="leave out requests that came less than so many seconds after the first",
    )
    verb.add_argument("--limit", type=_count, metavar="N", help="take the first N requests of what is left")
    verb.add_argument("--sort", action="store_true", help="put rows in order of time, in memory")
    verb.add_argument("--chain", action="store_true", help="block ids name tokens alone: make them name the prefix")
    verb.add_argument("--seed", type=_size, default=0, help="of a generator (default 0)")
    verb.add_argument("--chip", default="h800", help=f"{', '.join(catalog.load().chips)} (default h800)")
    verb.add_argument("--chips", type=_count, default=8, help="that share the work (default 8)")
    verb.add_argument("--drives", type=_count, default=8, help="SSDs that share the lowest tier (default 8)")


def _add(verbs: Any, name: str, run: Callable[[argparse.Namespace], Answer], help: str) -> argparse.ArgumentParser:
    verb: argparse.ArgumentParser = verbs.add_parser(name, help=help, description=help)
    verb.add_argument("--json", action="store_true", help="print JSON instead of a table")
    verb.set_defaults(run=run)
    return verb


#: Arithmetic that refuses to round: float would take 2**53 + 1 for 2**53.
_EXACT = decimal.Context(prec=60, traps=[decimal.InvalidOperation, decimal.Overflow, decimal.Inexact])


def _size(text: str, least: int = 0) -> int:
    """Read a token count: 4096, 128K (x1024) or 1M (x1024²), at least `least`."""
    unit = {"K": 1024, "M": 1024**2}.get(text[-1:].upper(), 1)
    digits = text[:-1] if unit > 1 else text
    try:
        value = _EXACT.multiply(Decimal(digits), unit)
        fits = least <= value <= MOST and value == int(value)
    except (ValueError, ArithmeticError):
        raise argparse.ArgumentTypeError(f"{text!r} should be a whole number such as 4096, 128K or 1M") from None
    if not fits:
        raise argparse.ArgumentTypeError(f"{text!r} should be a whole number from {least} to 2**53")
    return int(value)


def _count(text: str) -> int:
    """Read a count of at least 1."""
    return _size(text, 1)


def _seconds(text: str) -> float:
    """Read a number of seconds from 0 on."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} should be a number of seconds of at least 0")
    return value


def _capacity(text: str) -> float:
    """Read a tier's size; 0 stands for no such tier."""
    digits = text.strip().rstrip("KMGTPkmgtpiIBb ")
    if digits and not digits.strip("0."):
        return 0.0
    try:
        value = storage.parse_bytes(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    if value < _LEAST_TIER_BYTES:  # the 1 of 1,5TB
        raise argparse.ArgumentTypeError(f"{text!r} is {value:g} bytes, too small for a page; write it like 1.5TB")
    return value


def _several(reader: Callable[[str], Any]) -> Callable[[str], list[Any]]:
    return lambda text: [reader(part) for part in text.split(",")]


#: No page is as small; who gives less has left out the unit, or parted digits by a comma.
_LEAST_TIER_BYTES = 1e4

#: What a plan is made of and a sweep varies: option, its default, its reader, its help.
_AXES: Mapping[str, tuple[Any, Callable[[str], Any], str]] = {
    "model": (..., str, "see `costlab models`"),
    "hbm": (..., _capacity, "cache in the chips' memory, all chips together: e.g. 80GB, 1.5TiB, unlimited"),
    "dram": (0.0, _capacity, "cache in host memory (default 0: none)"),
    "ssd": (0.0, _capacity, "cache on drives (default 0: none)"),
    "policy": (Plan.eviction, str, f"who leaves first: {', '.join(POLICIES)} (default {Plan.eviction})"),
    "write": (Plan.write, str, f"to slower tiers: {', '.join(WRITES)} (default {Plan.write})"),
    "prefetch": (Plan.prefetch, str, f"from drives: {', '.join(PREFETCHES)} (default {Plan.prefetch})"),
    "loading": (Plan.loading, str, f"of layers: {', '.join(MODES)} (default {Plan.loading})"),
    "checkpoint": (None, _count, "keep windows every so many tokens (default: at a prompt's end only)"),
}


def _chosen(names: Sequence[str]) -> list[arch.Model]:
    return [arch.load(name) for name in names]


# --- output ----------------------------------------------------------------------------------------------------


def _with_ratio(rows: list[dict[str, Any]], column: str) -> list[dict[str, Any]]:
    """Add each row's ratio to the first, where there are several to compare."""
    if len(rows) > 1:
        for row in rows:
            row["of_first"] = row[column] / rows[0][column] if rows[0][column] else None
    return rows


def _weights() -> str:
    return ", ".join(f"{name} x{weight:g}" for name, weight in arch.FP8_EQUIVALENTS.items())


def _printed(answer: Answer, args: argparse.Namespace) -> str:
    if args.json:
        return _as_json(answer)
    return _as_csv(answer) if getattr(args, "csv", False) else _as_table(answer)


def _as_csv(answer: Answer) -> str:
    out = io.StringIO()
    writer = csv.DictWriter(out, _heads(answer), lineterminator="\n")
    writer.writeheader()
    writer.writerows(answer.rows)
    return out.getvalue().rstrip("\n")


def _heads(answer: Answer) -> list[str]:
    """Every row's columns, in the order in which they first appear: a failed plan has fewer."""
    return list(dict.fromkeys(head for row in answer.rows for head in row))


def _as_json(answer: Answer) -> str:
    return json.dumps({"rows": list(answer.rows), "notes": list(answer.notes)}, indent=2, ensure_ascii=False)


def _as_table(answer: Answer) -> str:
    heads = _heads(answer)
    texts = [[_cell(row.get(h)) for h in heads] for row in answer.rows]
    widths = [max(len(h), *(len(t[i]) for t in texts)) for i, h in enumerate(heads)]
    right = [not any(isinstance(row.get(h), str) for row in answer.rows) for h in heads]
    lines = [_line(heads, widths, right)] + [_line(t, widths, right) for t in texts]
    return "\n".join(lines + [f"  {note}" for note in answer.notes])


def _line(cells: Sequence[str], widths: Sequence[int], right: Sequence[bool]) -> str:
    padded = (c.rjust(w) if r else c.ljust(w) for c, w, r in zip(cells, widths, right, strict=True))
    return "  ".join(padded).rstrip()


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}"
    if isinstance(value, int):
        return f"{value:,}"
    return "-" if value is None else str(value)


if __name__ == "__main__":
    sys.exit(main())
