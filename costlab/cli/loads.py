"""The load of `simulate`: a trace that is read, or requests that are made, and the options for both."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from costlab import traces
from costlab.catalog.workloads import workloads
from costlab.cli.arguments import count_arg, positive_arg, seconds_arg
from costlab.cli.traced import add_reading, made, read_trace, refuse_reading
from costlab.serving.simulation import WaitingUsers
from costlab.traces import arrivals, generators


@dataclass(frozen=True)
class OfferedLoad:
    """What LOAD and its options name."""

    requests: traces.Trace | WaitingUsers  # that are sent
    block_tokens: int | None  # tokens of one block of their prompts; None where these have no block ids
    notes: Callable[[], Sequence[str]]  # says, after the run, what a reader should know of the load

    @classmethod
    def of(cls, trace: traces.Trace) -> OfferedLoad:
        """Return a trace as a load."""
        return cls(trace, trace.block_tokens, trace.notes)


def offered_load(args: argparse.Namespace) -> OfferedLoad:
    """Return what LOAD and its options name."""
    named = made(args.trace, _names(), "load")
    if named is None:
        _refuse(args, _OPTIONS, f"is for load that is made; {args.trace} is read")
        return OfferedLoad.of(read_trace(args))
    refuse_reading(args)
    rng, (name, requests) = np.random.default_rng(args.seed), named
    if args.users is not None:
        return _closed(args, name, requests, rng)
    if args.think_s:
        raise ValueError("--think is for --users, who wait for their answers")
    return OfferedLoad.of((_shaped if name in generators.SHAPES else _sent)(args, name, requests, rng))


def _names() -> list[str]:
    """Names of load that is made: sessions of generators, lengths and clients of the catalog, and one length."""
    found = workloads()
    return [*generators.SHAPES, *found.workloads, *found.mixtures, "fixed"]


_OPTIONS = {
    "requests_per_second": "--rate",
    "arrival_cv": "--cv",
    "family": "--family",
    "day": "--day",
    "users": "--users",
    "think_s": "--think",
    "input_tokens": "--input",
    "output_tokens": "--output",
}


def _refuse(args: argparse.Namespace, options: Iterable[str], why: str) -> None:
    """Refuse the first of these options that is given."""
    for option in options:
        if getattr(args, option):
            raise ValueError(f"{_OPTIONS[option]} {why}")


def _shaped(args: argparse.Namespace, name: str, requests: int, rng: np.random.Generator) -> traces.Trace:
    """Return sessions of a generator of `traces`, at its own rate or the given one."""
    own = ("arrival_cv", "family", "day", "input_tokens", "output_tokens")
    _refuse(args, own, f"does not go with {name}, whose sessions have their own")
    shape = generators.SHAPES[name]
    if args.requests_per_second:
        shape = dataclasses.replace(shape, requests_per_s=args.requests_per_second)
    args.requests_per_second = shape.requests_per_s
    return traces.sessions(name, requests, rng, shape)


def _sent(args: argparse.Namespace, name: str, requests: int, rng: np.random.Generator) -> traces.Trace:
    """Return requests of clients: of a mixture, or of one client with the lengths of a workload or given ones."""
    if not args.requests_per_second:
        raise ValueError(f"{name} has lengths only: give --rate, in requests a second, or --users")
    if name in workloads().mixtures:
        _refuse(args, ("arrival_cv", "family"), f"does not go with {name}, whose clients have their own")
        clients = arrivals.clients_of(name, args.requests_per_second)
    else:
        cv = 1.0 if args.arrival_cv is None else args.arrival_cv
        if args.family is not None and args.arrival_cv is None:
            raise ValueError(f"--family {args.family} is of gaps of another CV than 1: give --cv")
        family: arrivals.GapFamily = args.family or "gamma" if cv != 1 else "poisson"
        clients = [arrivals.Client(args.requests_per_second, _lengths(args, name), family, cv)]
    curve = arrivals.day_of(args.day) if args.day else None
    return arrivals.open_loop(clients, requests, rng, curve, name)


def _closed(args: argparse.Namespace, name: str, requests: int, rng: np.random.Generator) -> OfferedLoad:
    """Return users who wait for their answers."""
    ways = ("requests_per_second", "arrival_cv", "family", "day")
    _refuse(args, ways, "does not go with --users, who ask when they have an answer")
    if name in workloads().mixtures:
        raise ValueError(f"{name} is a mixture of clients that do not wait: give --rate in the place of --users")
    shape = generators.SHAPES.get(name)
    if shape is not None:
        if args.think_s:
            raise ValueError(f"--think does not go with {name}, whose users have their own pauses")
        sessions = arrivals.talks(shape, rng)
    else:
        sessions = arrivals.single_calls(_lengths(args, name), rng, args.think_s)
    ramp_s = args.think_s or 1.0
    note = f"{args.users:,} users who wait for their answers, beginning within {ramp_s:g} s"
    users = arrivals.ClosedLoop(args.users, requests, sessions, ramp_s)
    return OfferedLoad(users, shape.block_tokens if shape else None, lambda: [note])


def _lengths(args: argparse.Namespace, name: str) -> arrivals.Lengths:
    if name != "fixed":
        if args.input_tokens or args.output_tokens:
            raise ValueError(f"--input and --output are for fixed:N; {name} has lengths of its own")
        return arrivals.lengths_of(name)
    if not args.input_tokens or not args.output_tokens:
        raise ValueError("fixed wants --input and --output, in tokens")
    return arrivals.FixedLengths(args.input_tokens, args.output_tokens)


def load_sources(args: argparse.Namespace) -> list[tuple[str, str, Any]]:
    """Return the entries of the catalog that the load is made from."""
    known: dict[str, Any] = {**workloads().workloads, **workloads().mixtures}
    named = (args.trace.lower().partition(":")[0], args.day)
    names = [each for each in named if each in known and not Path(args.trace).exists()]
    return [("workload", each, known[each]) for each in dict.fromkeys(names)]


def add_load(verb: argparse.ArgumentParser) -> None:
    """Add LOAD and its options."""
    made = ", ".join(_names()[:-1])
    verb.add_argument(
        "trace", metavar="LOAD",
        help=f"a trace as `replay` reads it, or a name and how many requests: {made}, or fixed, e.g. azure-conv:2000",
    )  # fmt: skip
    add_reading(verb)
    verb.add_argument(
        "--rate", type=positive_arg, dest="requests_per_second", metavar="RATE",
        help="requests that arrive a second, on average",
    )  # fmt: skip
    verb.add_argument(
        "--cv", type=positive_arg, dest="arrival_cv", metavar="NUMBER",
        help="coefficient of variation of the gaps between arrivals (default 1, Poisson)",
    )  # fmt: skip
    families = ("gamma", "weibull")
    verb.add_argument(
        "--family", type=str.lower, choices=families, metavar="NAME",
        help=f"of gaps of another CV: {', '.join(families)} (default gamma)",
    )  # fmt: skip
    days = ", ".join(workloads().mixtures)
    verb.add_argument("--day", type=str.lower, metavar="NAME", help=f"let the rate follow the hours of {days}")
    verb.add_argument("--input", type=count_arg, dest="input_tokens", metavar="TOKENS", help="of a prompt of fixed:N")
    verb.add_argument(
        "--output", type=count_arg, dest="output_tokens", metavar="TOKENS", help="of an answer of fixed:N"
    )
    verb.add_argument(
        "--users", type=count_arg, metavar="N", help="so many users who wait for their answers, in the place of a rate"
    )
    verb.add_argument(
        "--think", type=seconds_arg, default=0.0, dest="think_s", metavar="SECONDS",
        help="that users think between answer and question, on average (default 0)",
    )  # fmt: skip
