"""Seeded traces: what chats, agents and questions about documents ask of a cache.

All are sessions. A session begins behind one of several shared prefixes (a system prompt, a tool list, a document),
picked by Zipf's law, and goes on turn by turn: each prompt is the one before, its answer, and something new. When a
prompt would outgrow the context, its history is replaced by a summary, and only the shared prefix still matches.

The shapes below are fitted: where a figure of the fit is published, it stands in `catalog/published.toml` under
`traces`, and the tests hold the generator to it.

Chapter: cache
"""

from __future__ import annotations

import copy
import heapq
import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from costlab.arrays import Floats, Ints
from costlab.checks import pick
from costlab.traces.requests import Request, Trace


@dataclass(frozen=True)
class Shape:
    """What sessions look like. Lengths are in tokens; each is drawn from a lognormal of the stated mean."""

    turns: float  # mean number of calls in a session, geometric
    first_tokens: float  # mean of what the first prompt holds behind the prefix
    later_tokens: float  # mean of what each later turn adds: a question, a tool's output
    output_tokens: float  # mean length of an answer
    prefix_tokens: float  # mean length of a shared prefix
    prefixes: int = 1  # how many there are
    popularity: float = 1.0  # Zipf's exponent of how often each prefix is picked; 0 is evenly
    spread: float = 1.0  # standard deviation of the logarithm of what is new; 0 makes all lengths equal
    prefix_spread: float = 0.0  # the same of the prefixes
    think_s: float = 60.0  # mean pause between a session's calls, exponential
    requests_per_s: float = 3.4  # mean rate of calls; sessions arrive by a Poisson process
    longest_tokens: int = 131_072  # of a prompt; beyond it the history becomes a summary
    summary_tokens: int = 0  # length of that summary
    block_tokens: int = 512  # tokens of one block

    def __post_init__(self) -> None:
        for name, least in _LEAST.items():
            value = getattr(self, name)
            if not least <= value < math.inf:
                raise ValueError(f"{name} = {value} should be a finite number of at least {least}")
        if not self.requests_per_s > 0:
            raise ValueError(f"requests_per_s = {self.requests_per_s} should be above 0")
        if self.summary_tokens + self.prefix_tokens >= self.longest_tokens:
            raise ValueError(f"longest_tokens = {self.longest_tokens} leaves no room behind prefix and summary")


_LEAST: Mapping[str, float] = {
    "turns": 1,
    "first_tokens": 1,
    "later_tokens": 1,
    "output_tokens": 1,
    "prefix_tokens": 0,
    "prefixes": 1,
    "popularity": 0,
    "spread": 0,
    "prefix_spread": 0,
    "think_s": 0,
    "requests_per_s": 0,
    "longest_tokens": 1,
    "summary_tokens": 0,
    "block_tokens": 1,
}

#: Chats: Mooncake's conversation trace (published `mooncake-conversation`), whose prompts all share one first block.
CHAT = Shape(
    turns=1.57, first_tokens=7_900, later_tokens=6_800, output_tokens=343, prefix_tokens=512, think_s=260, spread=1.1
)
#: Calls of tools under long, fixed system prompts: Mooncake's tool&agent trace (`mooncake-tool-agent`).
TOOLS = Shape(
    turns=1.2,
    first_tokens=3_400,
    later_tokens=1_500,
    output_tokens=182,
    prefix_tokens=5_000,
    prefixes=60,
    prefix_spread=0.1,
    think_s=30,
    requests_per_s=6.6,
)
#: Coding agents: tool loops of many turns, each adding a tool's output (`weka-claude-code`).
AGENT = Shape(
    turns=175,
    first_tokens=5_300,
    later_tokens=4_150,
    output_tokens=250,
    prefix_tokens=14_900,
    think_s=20,
    requests_per_s=2,
    longest_tokens=245_000,
    summary_tokens=5_300,
    spread=1.2,
)
#: Questions about shared documents (`mooncake-synthetic`, two thirds of it long documents with several questions).
DOCUMENTS = Shape(
    turns=1.3,
    first_tokens=1_850,
    later_tokens=300,
    output_tokens=149,
    prefix_tokens=13_400,
    prefixes=1_200,
    popularity=0.58,
    prefix_spread=0.5,
    requests_per_s=1.1,
)
#: Chats of a consumer service in small blocks (`bailian-a`).
BAILIAN_A = Shape(
    turns=2.4, first_tokens=900, later_tokens=500, output_tokens=400, prefix_tokens=300, prefixes=20, block_tokens=16
)
#: Calls of an interface for developers: few turns, much repeated prompt text (`bailian-b`).
BAILIAN_B = Shape(
    turns=1.05, first_tokens=770, later_tokens=400, output_tokens=200, prefix_tokens=900, prefixes=50, block_tokens=16
)

SHAPES: Mapping[str, Shape] = {
    "chat": CHAT,
    "tools": TOOLS,
    "agent": AGENT,
    "documents": DOCUMENTS,
    "bailian-a": BAILIAN_A,
    "bailian-b": BAILIAN_B,
}


def generate(name: str, requests: int, rng: np.random.Generator) -> Trace:
    """Return the trace of a shape by its name in `SHAPES`, e.g. `generate("tools", 1000, rng)`.

    Raises:
        ValueError: an unknown name, or a negative number of requests.
    """
    return sessions(name, requests, rng, pick(SHAPES, name, "generator"))


def sessions(name: str, requests: int, rng: np.random.Generator, shape: Shape) -> Trace:
    """Return a trace of sessions of one shape. The same seed gives the same trace, in every pass over it.

    Sessions are whole: new ones begin until all requests are planned, then the last ones run out.

    Args:
        name: of the trace.
        requests: how many calls, in all sessions together.
        rng: the seed's generator; it spawns one of its own for the trace.
        shape: what the sessions look like.

    Raises:
        ValueError: a negative number of requests.
    """
    if requests < 0:
        raise ValueError(f"requests = {requests} should be at least 0")
    return Trace(_Generated(shape, requests, rng.spawn(1)[0]), shape.block_tokens, name)


def session_calls(shape: Shape, rng: np.random.Generator) -> Iterator[list[Request]]:
    """Yield sessions of one shape without end, each a list of calls, for users who wait for each answer.

    The first call comes a pause after time 0, each later one a pause after the one before it.
    """
    world = _World(shape, rng)
    while True:
        yield list(world.session(float(rng.exponential(shape.think_s)), world.turns()))


def zipf(references: int, keys: int, exponent: float, rng: np.random.Generator) -> Ints:
    """Return references to independent keys whose popularity falls as 1 / rank^exponent.

    Args:
        references: how many.
        keys: how many there are; key 0 is the most popular.
        exponent: 0 is uniform.
        rng: the source of randomness.

    Raises:
        ValueError: a negative count or exponent, or no keys.
    """
    if references < 0:
        raise ValueError(f"references = {references} should be at least 0")
    return _cumulative(keys, exponent).searchsorted(rng.random(references), side="right")


def _cumulative(keys: int, exponent: float) -> Floats:
    if keys < 1 or not 0 <= exponent < math.inf:
        raise ValueError(f"{keys} keys, exponent {exponent}: should be at least 1 and at least 0")
    total = np.cumsum(np.arange(1, keys + 1, dtype=np.float64) ** -exponent)
    return np.asarray(total / total[-1])  # the last is exactly 1, and a draw is below it


# --- sessions, one call after the other ------------------------------------------------------------------------


@dataclass(frozen=True)
class _Generated:
    """Requests made anew in each pass, always the same ones."""

    shape: Shape
    requests: int
    rng: np.random.Generator

    def __len__(self) -> int:
        return self.requests

    def __iter__(self) -> Iterator[Request]:
        """Merge the sessions by time, holding those that have begun."""
        world = _World(self.shape, copy.deepcopy(self.rng))
        waiting: list[tuple[float, int, Iterator[Request], Request]] = []
        planned, start_s = 0, world.gap_s()
        while planned < self.requests or waiting:
            if planned < self.requests and (not waiting or start_s <= waiting[0][0]):
                turns = min(world.turns(), self.requests - planned)
                planned += turns
                calls = world.session(start_s, turns)
                start_s += world.gap_s()
            else:
                _, _, calls, request = heapq.heappop(waiting)
                yield request
            if upcoming := next(calls, None):
                heapq.heappush(waiting, (upcoming.time_s, upcoming.session or 0, calls, upcoming))


@dataclass
class _World:
    """Prefixes, their popularity, and the counters of sessions and blocks."""

    shape: Shape
    rng: np.random.Generator
    blocks: Iterator[int] = field(default_factory=itertools.count)
    serial: Iterator[int] = field(default_factory=itertools.count)

    def __post_init__(self) -> None:
        shape = self.shape
        self.popular = _cumulative(shape.prefixes, shape.popularity)
        lengths = [self.tokens(shape.prefix_tokens, shape.prefix_spread) for _ in range(shape.prefixes)]
        room = shape.longest_tokens - shape.summary_tokens - 1
        self.lengths = [min(length, room) for length in lengths]
        self.prefixes = [self.fresh(length // shape.block_tokens) for length in self.lengths]

    def fresh(self, count: int) -> list[int]:
        return list(itertools.islice(self.blocks, count))

    def tokens(self, mean: float, spread: float | None = None) -> int:
        """Draw a length; a lognormal's mean is exp(mu + sigma²/2)."""
        if mean == 0:
            return 0
        sigma = self.shape.spread if spread is None else spread
        return max(1, round(mean * math.exp(self.rng.normal(-sigma * sigma / 2, sigma))))

    def turns(self) -> int:
        return int(self.rng.geometric(1 / self.shape.turns))

    def gap_s(self) -> float:
        """Draw the time to the next session; each brings `turns` requests."""
        return float(self.rng.exponential(self.shape.turns / self.shape.requests_per_s))

    def session(self, time_s: float, turns: int) -> Iterator[Request]:
        """Yield the calls of one session."""
        shape, session = self.shape, next(self.serial)
        picked = int(self.popular.searchsorted(self.rng.random(), side="right"))
        prefix = self.lengths[picked]
        blocks = list(self.prefixes[picked])
        length = prefix + self.tokens(shape.first_tokens)
        for _ in range(turns):
            if length > shape.longest_tokens:
                length = prefix + max(shape.summary_tokens, 1)
                del blocks[prefix // shape.block_tokens :]
            output = self.tokens(shape.output_tokens)
            yield Request(time_s, length, output, self.prompt(blocks, length), session)
            length += output + self.tokens(shape.later_tokens)
            time_s += float(self.rng.exponential(shape.think_s))

    def prompt(self, blocks: list[int], tokens: int) -> tuple[int, ...]:
        """Extend a session's whole blocks to `tokens`; a partial block at the end is no one else's, nor kept."""
        whole, partial = divmod(tokens, self.shape.block_tokens)
        blocks.extend(self.fresh(whole - len(blocks)))
        return (*blocks, next(self.blocks)) if partial else tuple(blocks)
